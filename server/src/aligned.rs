//! Memory for direct I/O where no pool is at hand: address and length multiples of a block, made once in a while.

use bytes::Bytes;
use odradek_wal::{BLOCK_BYTES, Disk, FileName, IoFailure};

/// A copy at an aligned address, filled up with zeroes to whole blocks.
pub fn copy(bytes: &[u8]) -> Bytes {
    let (mut memory, skip) = allocate(bytes.len());
    memory[skip..skip + bytes.len()].copy_from_slice(bytes);
    Bytes::from(memory).slice(skip..skip + bytes.len().next_multiple_of(BLOCK_BYTES))
}

/// Reads whole blocks of a file.
pub fn read(
    disk: &mut dyn Disk,
    file: FileName,
    position: u64,
    length: usize,
) -> Result<Bytes, IoFailure> {
    let (mut memory, skip) = allocate(length);
    disk.read_at(file, position, &mut memory[skip..skip + length])?;
    Ok(Bytes::from(memory).slice(skip..skip + length))
}

fn allocate(length: usize) -> (Vec<u8>, usize) {
    let memory = vec![0; length.next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES];
    let skip = memory.as_ptr().align_offset(BLOCK_BYTES);
    (memory, skip)
}
