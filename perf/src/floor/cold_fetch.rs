//! The least that a server of cold history does: reads a file directly and in order, and sends it to a peer that drops it, both at the same time.
//! No protocol, no check of what was read, no index. Beside the disk alone it says what sending costs on a machine where both take the same
//! processors.

use super::disk::{READ_BYTES, cold_file};
use super::network::{pair, serve_blocking};
use crate::PerfError;
use crate::ring::Memory;
use crate::systems::Scratch;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

/// Reads that lie between the disk and the socket.
const READS_AHEAD: usize = 4;

/// 10^6 bytes each second of a fresh file of `bytes`, from disk to peer.
///
/// # Errors
/// The operating system's.
pub fn read_and_send(folder: &Path, bytes: u64) -> Result<f64, PerfError> {
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
        let receiving = scope.spawn(|| serve_blocking(theirs, false));
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
        for memory in done_reads {
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
