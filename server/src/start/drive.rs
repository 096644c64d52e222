//! Runs a log's requests at once against a blocking disk: for the few steps that need a log before a loop runs it.

use odradek_wal::{Disk, Event, Io, IoResult, Log, Now, Output};

/// Steps the log until it asks for nothing more; other outputs are given back.
pub fn drive(log: &mut Log, disk: &mut dyn Disk, now: Now, outputs: Vec<Output>) -> Vec<Output> {
    let mut told = Vec::new();
    let mut todo = outputs;
    while !todo.is_empty() {
        let mut next = Vec::new();
        for output in todo {
            match output {
                Output::Io(io) => {
                    let id = io.id();
                    let result = perform(disk, io);
                    log.step(now, Event::IoDone { id, result }, &mut next);
                }
                other => told.push(other),
            }
        }
        todo = next;
    }
    told
}

fn perform(disk: &mut dyn Disk, io: Io) -> IoResult {
    let done = |result: Result<(), odradek_wal::IoFailure>| match result {
        Ok(()) => IoResult::Done,
        Err(failure) => IoResult::Failed(failure),
    };
    match io {
        Io::Write {
            file,
            position,
            buffer,
            durable,
            ..
        } => done(disk.write_at(file, position, &buffer, durable)),
        Io::Read {
            file,
            position,
            length,
            ..
        } => match crate::aligned::read(disk, file, position, length) {
            Ok(data) => IoResult::Data(data),
            Err(failure) => IoResult::Failed(failure),
        },
        Io::Create {
            file, bytes, zero, ..
        } => done(disk.create(file, bytes, zero)),
        Io::Sync { file, .. } => done(disk.sync(file)),
        Io::Remove { file, .. } => done(disk.remove(file)),
    }
}
