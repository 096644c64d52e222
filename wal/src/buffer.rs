//! Aligned memory: chunks of a pool, from which writes are cut one after another and frozen to `Bytes` without a copy. When the last
//! slice of a chunk goes, its memory returns to the pool. The only module of the crate with `unsafe`.
#![allow(unsafe_code)]

use crate::io::BLOCK_BYTES;
use bytes::Bytes;
use rustix::mm::{Advice, madvise};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// A page of this size takes the place of 512 small ones, which the kernel looks up one after the other for each write. The allocator of the server
/// gives small ones.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Owned aligned memory, `bytes` long. Whole huge pages of it lie on huge pages where the kernel gives them.
#[derive(Debug)]
struct Memory {
    pointer: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory is owned by this value alone and has no thread affinity.
unsafe impl Send for Memory {}
// SAFETY: shared access only ever reads, through slices that `AlignedBuffer` and `Frozen` hand out over disjoint ranges.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(bytes: usize) -> Self {
        let layout = Self::layout(bytes);
        // SAFETY: the layout has a non-zero size, see `layout`.
        let pointer = unsafe { alloc_zeroed(layout) };
        let Some(pointer) = NonNull::new(pointer) else {
            handle_alloc_error(layout)
        };
        if layout.align() == HUGE_PAGE_BYTES {
            // SAFETY: whole pages of an allocation of ours; only a hint, so a refusal changes nothing.
            let _ = unsafe { madvise(pointer.as_ptr().cast(), bytes, Advice::LinuxHugepage) };
        }
        Self { pointer, bytes }
    }

    fn layout(bytes: usize) -> Layout {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES) && bytes < isize::MAX as usize / 2);
        let alignment = match bytes.is_multiple_of(HUGE_PAGE_BYTES) {
            true => HUGE_PAGE_BYTES,
            false => BLOCK_BYTES,
        };
        Layout::from_size_align(bytes, alignment)
            .expect("the alignment is a power of two, and the size below isize::MAX")
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout, freed once.
        unsafe { dealloc(self.pointer.as_ptr(), Self::layout(self.bytes)) }
    }
}

type FreeList = Mutex<Vec<Memory>>;

/// A chunk and the pool it returns to.
#[derive(Debug)]
struct Chunk {
    memory: Option<Memory>,
    pool: Option<(Arc<FreeList>, usize)>,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let (Some(memory), Some((pool, free_max))) = (self.memory.take(), self.pool.take()) {
            let mut free = pool.lock().unwrap_or_else(PoisonError::into_inner);
            if free.len() < free_max {
                free.push(memory);
            }
        }
    }
}

impl Chunk {
    fn memory(&self) -> &Memory {
        self.memory.as_ref().expect("taken only by drop")
    }
}

/// Recycles chunks of one size. At most `free_max` idle ones are kept; the rest goes back to the allocator.
#[derive(Clone, Debug)]
pub struct BufferPool {
    free: Arc<FreeList>,
    chunk_bytes: usize,
    free_max: usize,
}

impl BufferPool {
    /// A pool of chunks of `chunk_bytes` (rounded up to 4096).
    #[must_use]
    pub fn new(chunk_bytes: usize, free_max: usize) -> Self {
        let chunk_bytes = chunk_bytes.next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES);
        Self {
            free: Arc::default(),
            chunk_bytes,
            free_max,
        }
    }

    /// A buffer of at least `bytes`: a pooled chunk when they fit one, else memory of its own. Its content is not defined.
    #[must_use]
    pub fn take(&self, bytes: usize) -> AlignedBuffer {
        if bytes > self.chunk_bytes {
            return AlignedBuffer::new(bytes);
        }
        let free = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let memory = free.unwrap_or_else(|| Memory::new(self.chunk_bytes));
        let end = memory.bytes;
        let chunk = Chunk {
            memory: Some(memory),
            pool: Some((Arc::clone(&self.free), self.free_max)),
        };
        AlignedBuffer {
            chunk: Arc::new(chunk),
            start: 0,
            end,
        }
    }

    /// Bytes of a pooled chunk.
    #[must_use]
    pub fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }
}

/// Writable bytes `[start, end)` of a chunk, held by nobody else; `start` is a multiple of 4096.
#[derive(Debug)]
pub struct AlignedBuffer {
    chunk: Arc<Chunk>,
    start: usize,
    end: usize,
}

impl AlignedBuffer {
    /// Zeroed memory of its own, `bytes` rounded up to 4096.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let memory = Memory::new(bytes.next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES));
        let end = memory.bytes;
        Self {
            chunk: Arc::new(Chunk {
                memory: Some(memory),
                pool: None,
            }),
            start: 0,
            end,
        }
    }

    /// Cuts the first `bytes` (a multiple of 4096) off; this buffer keeps the rest.
    #[must_use]
    pub fn split_front(&mut self, bytes: usize) -> Self {
        assert!(bytes.is_multiple_of(BLOCK_BYTES) && bytes <= self.len());
        let front = Self {
            chunk: Arc::clone(&self.chunk),
            start: self.start,
            end: self.start + bytes,
        };
        self.start += bytes;
        front
    }

    /// All of it as immutable `Bytes`.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(Frozen {
            chunk: self.chunk,
            start: self.start,
            end: self.end,
        })
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        let memory = self.chunk.memory();
        // SAFETY: `[start, end)` lies in the chunk, is initialised (zeroed once), and nobody else holds it: `split_front` moves `start`
        // past what it gives away.
        unsafe {
            std::slice::from_raw_parts(
                memory.pointer.as_ptr().add(self.start),
                self.end - self.start,
            )
        }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let memory = self.chunk.memory();
        // SAFETY: as above, and `&mut self` makes the access exclusive.
        unsafe {
            std::slice::from_raw_parts_mut(
                memory.pointer.as_ptr().add(self.start),
                self.end - self.start,
            )
        }
    }
}

/// Bytes `[start, end)` of a chunk that are never written again while this lives.
struct Frozen {
    chunk: Arc<Chunk>,
    start: usize,
    end: usize,
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        let memory = self.chunk.memory();
        // SAFETY: the range lies in the chunk and no writable buffer covers it any more, see `split_front` and `freeze`.
        unsafe {
            std::slice::from_raw_parts(
                memory.pointer.as_ptr().add(self.start),
                self.end - self.start,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_returns_to_its_pool_when_the_last_slice_goes() {
        let pool = BufferPool::new(4 * BLOCK_BYTES, 4);
        let mut buffer = pool.take(100);
        buffer[0] = 7;
        let first = buffer.split_front(BLOCK_BYTES).freeze();
        buffer[0] = 8;
        let second = buffer.split_front(BLOCK_BYTES).freeze();
        assert_eq!((first[0], second[0], buffer.len()), (7, 8, 2 * BLOCK_BYTES));
        assert_eq!(second.as_ptr() as usize % BLOCK_BYTES, 0);
        drop(buffer);
        drop(first);
        assert_eq!(pool.free.lock().unwrap().len(), 0);
        drop(second);
        assert_eq!(pool.free.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_large_buffer_has_memory_of_its_own() {
        let pool = BufferPool::new(BLOCK_BYTES, 4);
        let buffer = pool.take(BLOCK_BYTES + 1);
        assert_eq!(buffer.len(), 2 * BLOCK_BYTES);
        drop(buffer.freeze());
        assert_eq!(pool.free.lock().unwrap().len(), 0);
    }
}
