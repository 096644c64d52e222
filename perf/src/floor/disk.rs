//! What the disk can do at best: durable writes in the ways a log can make them, and reading in order. The command `floor` shows it.
//!
//! A durable write is bounded by the device's own latency and the kernel's way to it. Over blocks that were written before, the file system
//! has nothing to note, and one write with DSYNC is one request to the device; over unwritten or new blocks it writes its journal as well.

use super::Line;
use super::store::create_direct;
use crate::PerfError;
use crate::ring::Memory;
use crate::systems::Scratch;
use hdrhistogram::Histogram;
use rustix::fs::FallocateFlags;
use rustix::io::ReadWriteFlags;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes of the file that is written over.
const FILE_BYTES: u64 = 128 << 20;
/// Bytes that one read in order asks for.
pub(super) const READ_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Zeroed,
    Unwritten,
    Extending,
    WriteThenSync,
}

const WAYS: [(Way, &str); 4] = [
    (Way::Zeroed, "DSYNC over blocks written before"),
    (Way::Unwritten, "DSYNC over allocated, unwritten blocks"),
    (Way::Extending, "DSYNC that extends the file"),
    (
        Way::WriteThenSync,
        "write, then fdatasync, over blocks written before",
    ),
];
const SIZES: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// Durable writes at each size in each way, `time` for each.
///
/// # Errors
/// The operating system's.
pub(super) fn durable_writes(
    folder: &Path,
    time: Duration,
    stop: &AtomicBool,
    show: &mut dyn FnMut(Line),
) -> Result<(), PerfError> {
    let scratch = Scratch::new(folder, "floor")?;
    for (way, words) in WAYS {
        for bytes in SIZES {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let name = format!("{way:?}-{bytes}");
            let failed = |error: io::Error| PerfError::network(format!("writing ({words})"), error);
            let (latency, seconds) =
                writes(&scratch.path.join(name), way, bytes, time).map_err(failed)?;
            let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
            show(Line::new(
                &format!("durable write, {} KiB: {words}", bytes >> 10),
                &[
                    ("p50 us", at(0.5)),
                    ("p99 us", at(0.99)),
                    ("MB/s", latency.len() as f64 * bytes as f64 / 1e6 / seconds),
                ],
            ));
        }
    }
    Ok(())
}

fn writes(
    path: &Path,
    way: Way,
    bytes: usize,
    time: Duration,
) -> io::Result<(Histogram<u64>, f64)> {
    let file = create_direct(path)?;
    let memory = Memory::new(1 << 20)?;
    match way {
        Way::Zeroed | Way::WriteThenSync => {
            for position in (0..FILE_BYTES).step_by(memory.len()) {
                file.write_all_at(&memory, position)?;
            }
        }
        Way::Unwritten => {
            rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES)?;
        }
        Way::Extending => {}
    }
    file.sync_all()?;
    let mut latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)?;
    let began = Instant::now();
    let mut position = 0;
    // Unwritten blocks are unwritten once only: such a file is not begun again.
    while began.elapsed() < time && (way != Way::Unwritten || position < FILE_BYTES) {
        if way != Way::Extending && position + bytes as u64 > FILE_BYTES {
            position = 0;
        }
        let at = Instant::now();
        durable_write(&file, &memory[..bytes], position, way)?;
        latency.saturating_record(at.elapsed().as_nanos() as u64);
        position += bytes as u64;
    }
    Ok((latency, began.elapsed().as_secs_f64()))
}

fn durable_write(file: &File, bytes: &[u8], position: u64, way: Way) -> io::Result<()> {
    if way == Way::WriteThenSync {
        file.write_all_at(bytes, position)?;
        return file.sync_data();
    }
    let slices = [IoSlice::new(bytes)];
    match rustix::io::pwritev2(file, &slices, position, ReadWriteFlags::DSYNC)? {
        written if written == bytes.len() => Ok(()),
        written => Err(io::Error::other(format!(
            "{written} of {} bytes",
            bytes.len()
        ))),
    }
}

/// Reads `bytes` of a fresh file in order, directly, one request of 1 MiB at a time: 10^6 bytes each second. What a reader of cold history is
/// held against: no server can take the bytes off the disk sooner without more requests under way.
///
/// # Errors
/// The operating system's.
pub fn sequential_read(folder: &Path, bytes: u64) -> Result<f64, PerfError> {
    let failed = |error: io::Error| PerfError::network("reading in order", error);
    let scratch = Scratch::new(folder, "floor-read")?;
    let bytes = bytes.next_multiple_of(READ_BYTES as u64);
    let (file, mut memory) = cold_file(&scratch, bytes).map_err(failed)?;
    let began = Instant::now();
    for position in (0..bytes).step_by(READ_BYTES) {
        file.read_exact_at(&mut memory, position).map_err(failed)?;
    }
    Ok(bytes as f64 / 1e6 / began.elapsed().as_secs_f64())
}

/// A file of `bytes`, whole reads, which only the disk has, and memory for one read.
pub(super) fn cold_file(scratch: &Scratch, bytes: u64) -> io::Result<(File, Memory)> {
    let file = create_direct(&scratch.path.join("read"))?;
    let mut memory = Memory::new(READ_BYTES)?;
    // Not zeros: a device may know those without looking.
    memory
        .iter_mut()
        .enumerate()
        .for_each(|(index, byte)| *byte = (index.wrapping_mul(2_654_435_761) >> 13) as u8);
    for position in (0..bytes).step_by(READ_BYTES) {
        file.write_all_at(&memory, position)?;
    }
    file.sync_all()?;
    Ok((file, memory))
}
