//! Memory that the kernel reads and writes by address: page-aligned buffers for direct I/O, and the ring of provided receive buffers.
//!
//! One of the places with `unsafe` (`ring.rs` submits, `disk.rs` maps files, `memory.rs` feeds the allocator). Buffers of writes come from `wal`; this
//! file only checks them.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ffi::CStr;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use io_uring::types::BufRingEntry;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Direct I/O wants addresses, positions and lengths in multiples of this; every device we know of takes it.
pub const ALIGNMENT_BYTES: usize = 4096;

/// What jemalloc, the allocator of the binary, is told at its start (`memory.rs` tells it more). Freed memory that lies together goes back to the kernel
/// at once only from 64 MiB on, not from 8 MiB: regions of segments are freed in the order they were read in, so what a cold reader leaves behind grew
/// to that size again and again, and the kernel cleared all of it anew.
/// Purging on a thread of the allocator's own (`background_thread`) was tried: a million topics then took a seventh more memory and a fifth
/// more time to make, and a tenant beside them waited three times as long.
// SAFETY: jemalloc looks for this symbol, a pointer to a C string, and reads it once; nothing else has that name.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8; 28] = b"oversize_threshold:67108864\0";

/// Gives the pages of freed memory back to the kernel, which jemalloc by itself does over ten seconds of activity. What threads keep at
/// hand for their next allocations stays.
pub fn give_back_memory() {
    // `arena.N.purge` with the N that stands for all.
    const PURGE_ALL: &CStr = c"arena.4096.purge";
    // SAFETY: the name ends with a zero byte, and this command reads and writes nothing of ours. It fails where the program has
    // another allocator, and then there is nothing to give back.
    let _ = unsafe {
        tikv_jemalloc_sys::mallctl(
            PURGE_ALL.as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            0,
        )
    };
}

/// A heap buffer on a 4096-byte address, written by the kernel from its start on.
pub struct AlignedBuffer {
    start: NonNull<u8>,
    capacity: usize,
    filled: usize,
    /// Set when it is a slot there, and not an allocation.
    slots: Option<Arc<ReadSlots>>,
}

// SAFETY: the memory is owned by the value alone and freed once; nothing about it belongs to a thread.
unsafe impl Send for AlignedBuffer {}
// SAFETY: shared access only reads the filled part.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// Room for at least `bytes`, rounded up to whole pages; nothing of it is filled.
    pub fn with_capacity(bytes: usize) -> Self {
        let capacity = bytes.max(1).next_multiple_of(ALIGNMENT_BYTES);
        let layout = Self::layout(capacity);
        // SAFETY: the layout has a size above zero.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        Self {
            start,
            capacity,
            filled: 0,
            slots: None,
        }
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, ALIGNMENT_BYTES)
            .expect("a buffer's size is far below the address space")
    }

    /// Bytes there is room for, in whole pages.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes filled so far.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// The address at `offset`, for the kernel to write to.
    pub(super) fn pointer_at(&mut self, offset: usize) -> *mut u8 {
        assert!(offset <= self.capacity);
        // SAFETY: inside the allocation, or one past its end.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// Says that the kernel wrote up to `bytes`.
    ///
    /// # Safety
    /// The first `bytes` must have been written.
    pub(super) unsafe fn set_filled(&mut self, bytes: usize) {
        assert!(bytes <= self.capacity);
        self.filled = bytes;
    }

    /// Appends a copy; what does not fit is an error of the caller.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        assert!(self.filled + bytes.len() <= self.capacity);
        // SAFETY: the range was just checked to lie inside the allocation, which nobody else refers to.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.start.as_ptr().add(self.filled),
                bytes.len(),
            );
        }
        self.filled += bytes.len();
    }

    /// The filled part, without a copy.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the first `filled` bytes were written, and are not written again while borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.filled) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if let Some(slots) = self.slots.take() {
            return slots.give_back(self.start);
        }
        // SAFETY: allocated with the same layout.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.capacity)) }
    }
}

/// One long read.
const SLOT_BYTES: usize = 1 << 20;
/// What is much shorter comes from the allocator.
const SLOT_USED_MIN: usize = SLOT_BYTES / 4;

/// Memory of long reads, used again and again: a cold reader goes through as much memory as it reads bytes, and the kernel clears what it has not
/// given out before. It lies on huge pages: the device then gets a read in one piece, and not in 256. Its size is its bound; what finds no slot is
/// allocated. Nothing of it is touched before the first long read.
pub(super) struct ReadSlots {
    memory: Region,
    /// By number; the last one is the warmest.
    free: Mutex<Vec<usize>>,
}

impl ReadSlots {
    /// Room for `count` reads.
    ///
    /// # Errors
    /// When the kernel gives no address space.
    pub(super) fn new(count: usize) -> io::Result<Arc<Self>> {
        let memory = Region::untouched(count * SLOT_BYTES)?;
        let free = Mutex::new((0..count).rev().collect());
        Ok(Arc::new(Self { memory, free }))
    }

    /// A buffer for so many bytes.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> AlignedBuffer {
        let slot = (SLOT_USED_MIN..=SLOT_BYTES)
            .contains(&bytes)
            .then(|| {
                self.free
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop()
            })
            .flatten();
        let Some(slot) = slot else {
            return AlignedBuffer::with_capacity(bytes);
        };
        // SAFETY: the slot lies inside the region.
        let start = unsafe { self.memory.start.add(slot * SLOT_BYTES) };
        AlignedBuffer {
            start,
            capacity: SLOT_BYTES,
            filled: 0,
            slots: Some(Arc::clone(self)),
        }
    }

    fn give_back(&self, start: NonNull<u8>) {
        let offset = start.as_ptr() as usize - self.memory.start.as_ptr() as usize;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(offset / SLOT_BYTES);
    }
}

/// From this size on memory may lie on huge pages.
pub(super) const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Anonymous memory straight from the kernel, on huge pages where there are any.
struct Region {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping is owned by the value alone and unmapped once, by whichever thread drops it; nothing about it belongs to a thread.
unsafe impl Send for Region {}
// SAFETY: a shared region is only read, in the parts that its owner lent; the kernel writes to others.
unsafe impl Sync for Region {}

impl Region {
    /// Memory whose pages are there.
    fn new(bytes: usize) -> io::Result<Self> {
        let region = Self::untouched(bytes)?;
        if region.bytes >= HUGE_PAGE_BYTES {
            // All of it now, and not page by page under the first requests.
            let address = region.start.as_ptr().cast();
            // SAFETY: our own new mapping, whose pages hold zeroes either way.
            let _ = unsafe { madvise(address, region.bytes, Advice::LinuxPopulateWrite) };
        }
        Ok(region)
    }

    /// Memory whose pages are made when they are first written.
    fn untouched(bytes: usize) -> io::Result<Self> {
        let bytes = bytes.next_multiple_of(ALIGNMENT_BYTES);
        let start = map(bytes)?;
        if bytes >= HUGE_PAGE_BYTES {
            // SAFETY: the whole of our own mapping; only a hint, so a refusal changes nothing.
            let _ = unsafe { madvise(start.as_ptr().cast(), bytes, Advice::LinuxHugepage) };
        }
        Ok(Self { start, bytes })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and unmapped once.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// New memory straight from the kernel, whose pages are made when they are first written.
pub(super) fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new private mapping that overlaps nothing.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, protection, flags)? };
    Ok(NonNull::new(start.cast::<u8>()).expect("a mapping is never at address 0"))
}

/// Zeroes to be written, on a huge page: the device gets each write in one piece, and not in one for every 4 KiB.
pub(super) struct Zeroes(Region);

impl Zeroes {
    /// A huge page of them.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub(super) fn new() -> io::Result<Self> {
        Region::new(HUGE_PAGE_BYTES).map(Self)
    }
}

impl AsRef<[u8]> for Zeroes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: all of our own mapping, which nobody writes to: the kernel made it of zeroes.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.bytes) }
    }
}

/// Receive buffers that the kernel is offered at the least, and at first.
const OFFERED_MIN: u16 = 8;

/// Turns of the loop after which buffers that were not needed are no longer offered.
const TURNS_LOOKED_AT: u16 = 1024;

/// The ring through which the kernel takes receive buffers and the buffers themselves. Must outlive the `IoUring` it is registered with.
///
/// The kernel takes them in the order in which they were offered, so the more are offered, the longer each lies idle and the colder it is when it is
/// written: as many are as the turns of late have needed, and the rest is kept back.
pub(super) struct ReceiveBuffers {
    entries: Region,
    data: Arc<Region>,
    count: u16,
    buffer_bytes: u32,
    /// Buffers that the kernel has.
    offered: u16,
    /// Buffers that it should have between two turns.
    offered_goal: u16,
    /// The fewest that it had of late: what nobody needed.
    offered_least: u16,
    /// Turns since `offered_goal` was looked at.
    turns: u16,
    /// Buffers that are not offered; the last one is the warmest.
    kept_back: Vec<u16>,
    /// Our copy of the tail that the kernel reads.
    tail: u16,
    /// Buffers that others read in place.
    lent: u16,
    returned: Arc<Returned>,
}

/// Buffers that were lent and that nobody reads any more.
type Returned = Mutex<Vec<u16>>;

/// A receive buffer while others read what came in it; it returns when the last of them lets go, on whatever thread.
struct LentBuffer {
    data: Arc<Region>,
    start: usize,
    length: usize,
    id: u16,
    returned: Arc<Returned>,
}

impl AsRef<[u8]> for LentBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: inside the region (`lend` checked it), and the kernel does not get the buffer before this is dropped.
        unsafe { std::slice::from_raw_parts(self.data.start.as_ptr().add(self.start), self.length) }
    }
}

impl Drop for LentBuffer {
    fn drop(&mut self) {
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        returned.push(self.id);
    }
}

impl ReceiveBuffers {
    /// `count` (a power of two) buffers of `buffer_bytes` each, not yet offered to the kernel.
    pub(super) fn new(count: u16, buffer_bytes: u32) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 32_768);
        let entries = Region::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let data = Region::new(usize::from(count) * buffer_bytes as usize)?;
        Ok(Self {
            entries,
            data: Arc::new(data),
            count,
            buffer_bytes,
            offered: 0,
            offered_goal: count.min(OFFERED_MIN),
            offered_least: 0,
            turns: 0,
            kept_back: (0..count).rev().collect(),
            tail: 0,
            lent: 0,
            returned: Arc::default(),
        })
    }

    pub(super) fn ring_address(&self) -> u64 {
        self.entries.start.as_ptr() as u64
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Offers the first buffers, after registration.
    pub(super) fn offer_first(&mut self) {
        self.offer_up_to_goal();
        self.offered_least = self.offered;
    }

    /// The kernel took a buffer, which is ours until it is given back or lent. More are offered when few are left.
    pub(super) fn taken(&mut self) {
        self.offered -= 1;
        self.offered_least = self.offered_least.min(self.offered);
        if self.offered < self.offered_goal / 4 {
            self.offer_more();
        }
    }

    /// There were too few: twice as many are offered, up to all there are.
    pub(super) fn offer_more(&mut self) {
        self.offered_goal = (self.offered_goal * 2).min(self.count);
        self.offer_up_to_goal();
    }

    fn offer_up_to_goal(&mut self) {
        while self.offered < self.offered_goal {
            let Some(id) = self.kept_back.pop() else {
                break;
            };
            self.offer(id);
        }
        self.publish();
    }

    /// Counts a turn of the loop. When half of what was offered was not needed for long, half is kept back as it returns.
    fn count_turn(&mut self) {
        self.turns += 1;
        if self.turns < TURNS_LOOKED_AT {
            return;
        }
        if self.offered_least > self.offered_goal / 2 && self.offered_goal > OFFERED_MIN {
            self.offered_goal /= 2;
        }
        self.turns = 0;
        self.offered_least = self.offered;
    }

    /// Gives one buffer back to the kernel.
    pub(super) fn give_back(&mut self, id: u16) {
        self.put(id);
        self.publish();
    }

    /// What the kernel put into a buffer, to be read in place for as long as it takes. None when half of the buffers are lent: whoever keeps
    /// them must not keep the sockets from being read. A buffer that was lent is not given back.
    pub(super) fn lend(&mut self, id: u16, length: usize) -> Option<Bytes> {
        assert!(id < self.count && length <= self.buffer_bytes as usize);
        if self.lent >= self.count / 2 {
            return None;
        }
        self.lent += 1;
        Some(Bytes::from_owner(LentBuffer {
            data: Arc::clone(&self.data),
            start: usize::from(id) * self.buffer_bytes as usize,
            length,
            id,
            returned: Arc::clone(&self.returned),
        }))
    }

    /// Gives the kernel what was lent and came back; once in each turn of the loop.
    pub(super) fn take_back(&mut self) {
        self.count_turn();
        if self.lent == 0 {
            return;
        }
        let returned = Arc::clone(&self.returned);
        let mut returned = returned.lock().unwrap_or_else(PoisonError::into_inner);
        if returned.is_empty() {
            return;
        }
        for id in returned.drain(..) {
            self.put(id);
            self.lent -= 1;
        }
        self.publish();
    }

    /// Takes a buffer that nobody reads: offers it, unless enough are.
    fn put(&mut self, id: u16) {
        assert!(id < self.count, "the kernel names only buffers we gave it");
        if self.offered < self.offered_goal {
            self.offer(id);
        } else {
            self.kept_back.push(id);
        }
    }

    fn offer(&mut self, id: u16) {
        self.offered += 1;
        let index = usize::from(self.tail & (self.count - 1));
        let base = self.entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: `index` is below the count the region was sized for; the kernel reads an entry only after `publish`.
        let entry = unsafe { &mut *base.add(index) };
        entry.set_addr(
            self.data.start.as_ptr() as u64 + u64::from(id) * u64::from(self.buffer_bytes),
        );
        entry.set_len(self.buffer_bytes);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        let base = self.entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the region starts with entry 0, whose reserved field is the tail the kernel reads, aligned for u16 and alive as long as self.
        unsafe {
            let tail = BufRingEntry::tail(base).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    /// What the kernel put into a buffer that it named in a completion.
    pub(super) fn received(&self, id: u16, length: usize) -> &[u8] {
        assert!(id < self.count && length <= self.buffer_bytes as usize);
        // SAFETY: inside the region; the buffer is ours from its completion until `give_back`, which needs `&mut self`.
        unsafe {
            std::slice::from_raw_parts(
                self.data
                    .start
                    .as_ptr()
                    .add(usize::from(id) * self.buffer_bytes as usize),
                length,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_buffers_are_lent_and_come_back() {
        let mut buffers = ReceiveBuffers::new(4, 4096).expect("memory is there");
        let first = buffers.lend(0, 10).expect("none is lent");
        let second = buffers.lend(1, 4096).expect("a quarter is lent");
        assert_eq!((first.len(), second.len()), (10, 4096));
        assert!(buffers.lend(2, 1).is_none(), "half of them are lent");
        let slice = first.slice(2..4);
        drop(first);
        buffers.take_back();
        assert!(buffers.lend(2, 1).is_none(), "a slice is still read");
        std::thread::spawn(move || drop(slice))
            .join()
            .expect("dropping does not panic");
        buffers.take_back();
        assert!(buffers.lend(2, 1).is_some());
    }

    #[test]
    fn as_many_buffers_are_offered_as_are_needed() {
        let mut buffers = ReceiveBuffers::new(64, 4096).expect("memory is there");
        buffers.offer_first();
        assert_eq!((buffers.offered, buffers.kept_back.len()), (8, 56));
        for _ in 0..7 {
            buffers.taken();
        }
        assert_eq!(buffers.offered, 16, "few were left");
        for id in 0..7 {
            buffers.give_back(id);
        }
        assert_eq!((buffers.offered, buffers.kept_back.len()), (16, 48));
        for _ in 0..10 {
            buffers.offer_more();
        }
        assert_eq!(buffers.offered, 64, "all there are");
        for _ in 0..4 * TURNS_LOOKED_AT {
            buffers.taken();
            buffers.give_back(0);
            buffers.take_back();
        }
        assert_eq!(buffers.offered_goal, 8, "one a turn was needed");
        assert_eq!(
            usize::from(buffers.offered) + buffers.kept_back.len(),
            64,
            "none is lost"
        );
    }

    #[test]
    fn memory_of_long_reads_is_used_again_and_no_more_than_there_is() {
        let slots = ReadSlots::new(2).expect("there is address space");
        let first = slots.take(SLOT_BYTES);
        let address = first.start;
        let second = slots.take(600_000);
        let third = slots.take(SLOT_BYTES);
        assert!(first.slots.is_some() && second.slots.is_some());
        assert!(third.slots.is_none(), "there are two slots");
        assert!(second.start != address && third.capacity() == SLOT_BYTES);
        // The last reader of the bytes gives the memory back, whichever thread that is.
        let bytes = first.into_bytes();
        std::thread::spawn(move || drop(bytes))
            .join()
            .expect("dropping does not panic");
        assert_eq!(slots.take(SLOT_BYTES).start, address);
        for other in [ALIGNMENT_BYTES, SLOT_BYTES + 1] {
            assert!(slots.take(other).slots.is_none(), "{other} bytes");
        }
    }

    #[test]
    fn an_aligned_buffer_keeps_what_was_appended() {
        let mut buffer = AlignedBuffer::with_capacity(5000);
        assert_eq!(buffer.capacity(), 8192);
        buffer.extend_from_slice(b"spool ");
        buffer.extend_from_slice(b"of thread");
        let bytes = buffer.into_bytes();
        assert_eq!(&bytes[..], b"spool of thread");
        assert_eq!(bytes.as_ptr() as usize % ALIGNMENT_BYTES, 0);
    }
}
