//! The least that a server of cold history does: reads a file directly and in order, and sends it to a peer that drops it, both at the same time.
//! No protocol, no check of what was read, no index. Beside the disk alone it says what sending costs on a machine where both take the same
//! processors, and what it costs that a consumer asks for the next only when it has what it asked for.

use super::disk::{READ_BYTES, cold_file};
use super::network::{pair, serve_blocking};
use crate::PerfError;
use crate::ring::Memory;
use crate::systems::Scratch;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

/// Reads that lie between the disk and the socket.
const READS_AHEAD: usize = 4;
/// Bytes of a question: about those of a Fetch of one partition.
const QUESTION_BYTES: usize = 100;

/// When the next read is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As soon as the socket takes it.
    Stream,
    /// When the peer has all of the one before and asks, as a consumer of one partition does.
    Asked,
}

/// 10^6 bytes each second of a fresh file of `bytes`, from disk to peer.
///
/// # Errors
/// The operating system's.
pub fn read_and_send(folder: &Path, bytes: u64, pace: Pace) -> Result<f64, PerfError> {
    let failed = |error: io::Error| PerfError::network("reading and sending", error);
    let scratch = Scratch::new(folder, "floor-fetch")?;
    let bytes = bytes.next_multiple_of(READ_BYTES as u64);
    let (file, memory) = cold_file(&scratch, bytes).map_err(failed)?;
    let (mut ours, theirs) = pair().map_err(failed)?;
    let (free, free_reads) = sync_channel::<Memory>(READS_AHEAD);
    let (done, done_reads) = sync_channel(READS_AHEAD);
    for _ in 1..READS_AHEAD {
        let _ = free.send(Memory::new(READ_BYTES).map_err(failed)?);
    }
    let _ = free.send(memory);
    let began = Instant::now();
    let received = std::thread::scope(|scope| {
        let receiving = scope.spawn(move || match pace {
            Pace::Stream => serve_blocking(theirs, false),
            Pace::Asked => ask(theirs, bytes),
        });
        let reading = scope.spawn(move || {
            for position in (0..bytes).step_by(READ_BYTES) {
                let Ok(mut memory) = free_reads.recv() else {
                    break;
                };
                file.read_exact_at(&mut memory, position)?;
                if done.send(memory).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let mut question = [0; QUESTION_BYTES];
        for memory in done_reads {
            if pace == Pace::Asked {
                ours.read_exact(&mut question)?;
            }
            ours.write_all(&memory)?;
            // After the last read nobody waits for memory.
            let _ = free.send(memory);
        }
        ours.shutdown(Shutdown::Write)?;
        let read: io::Result<()> = reading.join().expect("a reader does not panic");
        read.and_then(|()| receiving.join().expect("a receiver does not panic"))
    });
    let seconds = began.elapsed().as_secs_f64();
    match received.map_err(failed)? {
        received if received == bytes => Ok(bytes as f64 / 1e6 / seconds),
        received => Err(failed(io::Error::other(format!(
            "{received} of {bytes} bytes came"
        )))),
    }
}

/// Asks for `bytes`, a read's worth at a time, and drops them. Gives how many came.
fn ask(mut stream: TcpStream, bytes: u64) -> io::Result<u64> {
    let mut answer = vec![0; READ_BYTES];
    for _ in (0..bytes).step_by(READ_BYTES) {
        stream.write_all(&[7; QUESTION_BYTES])?;
        stream.read_exact(&mut answer)?;
    }
    Ok(bytes)
}
