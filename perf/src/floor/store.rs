//! The floors' disk: one file of blocks that were written with zeros once and are written over in turn, and the buffer that one durable
//! write takes. `sync_server` writes it blocking, `ring_server` through the ring; `disk` measures what such a write costs by itself.

use crate::PerfError;
use crate::ring::{ALIGNMENT_BYTES, Memory};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The most that one durable write holds; the same bound that a server's group commit has (design, "The shard log").
pub const WRITE_BYTES_MAX: usize = 1 << 20;

/// A file of zeroed blocks, opened for direct I/O.
#[derive(Debug)]
pub struct ZeroedFile {
    /// The open file.
    pub file: File,
    bytes: u64,
    position: u64,
}

impl ZeroedFile {
    /// Makes the file in `folder` and writes zeros over all of it, so that no later write finds a block that was never written: those
    /// take two to three times as long, since the file system has to note them.
    ///
    /// # Errors
    /// The operating system's, with the path.
    pub fn create(folder: &Path, name: &str, bytes: u64) -> Result<ZeroedFile, PerfError> {
        let path = folder.join(name);
        let failed = |error: io::Error| PerfError::Options(format!("{}: {error}", path.display()));
        let file = create_direct(&path).map_err(failed)?;
        let memory = Memory::new(WRITE_BYTES_MAX).map_err(failed)?;
        let mut position = 0;
        while position < bytes {
            let length = (bytes - position).min(WRITE_BYTES_MAX as u64) as usize;
            file.write_all_at(&memory[..length], position)
                .map_err(failed)?;
            position += length as u64;
        }
        file.sync_all().map_err(failed)?;
        Ok(ZeroedFile {
            file,
            bytes,
            position: 0,
        })
    }

    /// Where the next `length` bytes go: after the last ones, or at the start again.
    pub fn advance(&mut self, length: usize) -> u64 {
        if self.position + length as u64 > self.bytes {
            self.position = 0;
        }
        let position = self.position;
        self.position += length as u64;
        position
    }
}

/// A new file for direct I/O.
pub(super) fn create_direct(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::DIRECT | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(
        path,
        flags,
        Mode::from(0o644),
    )?))
}

/// What one durable write takes, being filled.
#[derive(Debug)]
pub struct WriteBuffer {
    /// The memory, [`WRITE_BYTES_MAX`] of it.
    pub memory: Memory,
    filled: usize,
}

impl WriteBuffer {
    /// An empty one.
    ///
    /// # Errors
    /// The kernel's, when there is no memory.
    pub fn new() -> io::Result<WriteBuffer> {
        Ok(WriteBuffer {
            memory: Memory::new(WRITE_BYTES_MAX)?,
            filled: 0,
        })
    }

    /// Over memory that was written before.
    pub fn reuse(memory: Memory) -> WriteBuffer {
        WriteBuffer { memory, filled: 0 }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// How much more fits.
    pub fn room(&self) -> usize {
        self.memory.len() - self.filled
    }

    /// Appends a copy: the one copy that the floors make. The caller looked at [`WriteBuffer::room`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.memory[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// Bytes to write: whole blocks.
    pub fn padded_bytes(&self) -> usize {
        self.filled.next_multiple_of(ALIGNMENT_BYTES)
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.filled = 0;
    }
}
