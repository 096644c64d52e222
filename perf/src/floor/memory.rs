//! What the processor can do at best with bytes that it must look at once: the checksum and the one copy. The command `floor` shows it.

use super::Line;
use crate::PerfError;
use crate::ring::Memory;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Checksum and copy of blocks of these sizes, out of more memory than the caches hold for the largest.
const SIZES: [usize; 3] = [1 << 10, 16 << 10, 1 << 20];
const MEMORY_BYTES: usize = 64 << 20;

/// Runs both for `time` at each size.
///
/// # Errors
/// When there is no memory.
pub(super) fn checksum_and_copy(
    time: Duration,
    show: &mut dyn FnMut(Line),
) -> Result<(), PerfError> {
    let failed = |error| PerfError::network("taking memory", error);
    let mut from = Memory::new(MEMORY_BYTES).map_err(failed)?;
    let mut to = Memory::new(MEMORY_BYTES).map_err(failed)?;
    from.fill(0xA5);
    to.fill(0x5A);
    for bytes in SIZES {
        let rate = rate(time, bytes, |position| {
            black_box(crc32c::crc32c(&from[position..position + bytes]));
        });
        show(Line::new(
            &format!("CRC-32C, blocks of {} KiB", bytes >> 10),
            &[("MB/s", rate)],
        ));
    }
    for bytes in SIZES {
        let rate = rate(time, bytes, |position| {
            to[position..position + bytes].copy_from_slice(&from[position..position + bytes]);
            black_box(&to[position]);
        });
        show(Line::new(
            &format!("copy, blocks of {} KiB", bytes >> 10),
            &[("MB/s", rate)],
        ));
    }
    Ok(())
}

/// 10^6 bytes each second of `work` on block after block.
fn rate(time: Duration, bytes: usize, mut work: impl FnMut(usize)) -> f64 {
    let (began, mut blocks, mut position) = (Instant::now(), 0_u64, 0);
    while began.elapsed() < time {
        for _ in 0..64 {
            if position + bytes > MEMORY_BYTES {
                position = 0;
            }
            work(position);
            position += bytes;
            blocks += 1;
        }
    }
    blocks as f64 * bytes as f64 / 1e6 / began.elapsed().as_secs_f64()
}
