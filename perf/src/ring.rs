//! One `io_uring` for the floors, with all the memory that the kernel works on. The only file of this crate with `unsafe`.
//!
//! What is in flight is owned here until its completion was seen, so no caller can free memory under the kernel. `floor::ring_server` and
//! `floor::network` say what to do with what arrives; the server under test has a ring of its own, which this one is the yardstick for.
#![allow(unsafe_code)]

use io_uring::types::{BufRingEntry, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::io;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Direct I/O wants addresses, positions and lengths in multiples of this.
pub const ALIGNMENT_BYTES: usize = 4096;

const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Zeroed memory straight from the kernel, aligned for direct I/O and on huge pages where there are any: a large write then
/// costs half the CPU, since the kernel finds one page instead of 256.
#[derive(Debug)]
pub struct Memory {
    mapped: NonNull<u8>,
    mapped_bytes: usize,
    offset: usize,
    bytes: usize,
}

// SAFETY: the mapping is owned by the value alone and unmapped once; nothing about it belongs to a thread.
unsafe impl Send for Memory {}

impl Memory {
    /// So many bytes.
    ///
    /// # Errors
    /// The kernel's, when there is no memory.
    pub fn new(bytes: usize) -> io::Result<Memory> {
        let mapped_bytes = bytes.next_multiple_of(HUGE_PAGE_BYTES) + HUGE_PAGE_BYTES;
        // SAFETY: a new private mapping that overlaps nothing.
        let address = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                mapped_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )?
        };
        // SAFETY: advice about our own mapping; a kernel without huge pages refuses it, and nothing is lost.
        let _ = unsafe { madvise(address, mapped_bytes, Advice::LinuxHugepage) };
        let mapped = NonNull::new(address.cast::<u8>()).expect("a mapping is not at address 0");
        Ok(Memory {
            mapped,
            mapped_bytes,
            offset: mapped.as_ptr().align_offset(HUGE_PAGE_BYTES),
            bytes,
        })
    }

    fn address(&self) -> *mut u8 {
        // SAFETY: the mapping is longer than its useful part by the most that aligning can take.
        unsafe { self.mapped.as_ptr().add(self.offset) }
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped, zeroed by the kernel, and borrowed with the value.
        unsafe { std::slice::from_raw_parts(self.address(), self.bytes) }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.address(), self.bytes) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and nobody refers to it any more.
        let _ = unsafe { munmap(self.mapped.as_ptr().cast(), self.mapped_bytes) };
    }
}

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// A connection came in.
    Accepted {
        /// Its socket.
        socket: OwnedFd,
        /// Whether the next one will be accepted without asking.
        armed: bool,
    },
    /// Bytes lie in a provided buffer, which is to be given back.
    Received {
        /// Whose.
        connection: u32,
        /// Which buffer.
        buffer: u16,
        /// How many.
        bytes: usize,
        /// Whether more will come without asking.
        armed: bool,
    },
    /// Nothing more comes without asking: the peer closed (0), or the kernel's error (below 0; ENOBUFS when all buffers are taken).
    ReceiveEnded {
        /// Whose.
        connection: u32,
        /// What the kernel said.
        result: i32,
    },
    /// A send ended.
    Sent {
        /// Whose.
        connection: u32,
        /// What was sent, for its allocation.
        bytes: Vec<u8>,
        /// How much went out, or the kernel's error below 0.
        result: i32,
    },
    /// A durable write ended.
    Written {
        /// What was written.
        memory: Memory,
        /// How much, or the kernel's error below 0.
        result: i32,
    },
}

enum Operation {
    Send { connection: u32, bytes: Vec<u8> },
    Write { memory: Memory },
}

const KIND_SHIFT: u32 = 56;
const KIND_ACCEPT: u64 = 1;
const KIND_RECEIVE: u64 = 2;
const KIND_OPERATION: u64 = 3;
const RECEIVE_GROUP: u16 = 0;

/// The ring, its provided buffers and what is in flight.
pub struct Ring {
    io: ManuallyDrop<IoUring>,
    entries: ManuallyDrop<Memory>,
    buffers: ManuallyDrop<Memory>,
    buffer_bytes: usize,
    buffer_count: u16,
    tail: u16,
    operations: ManuallyDrop<Vec<Option<Operation>>>,
    idle: Vec<usize>,
}

impl Ring {
    /// A ring of the calling thread, with `buffer_count` (a power of 2) provided buffers of `buffer_bytes` each.
    ///
    /// # Errors
    /// The kernel's: EPERM or ENOSYS where io_uring is forbidden.
    pub fn new(buffer_count: u16, buffer_bytes: usize) -> io::Result<Ring> {
        let io = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(8192)
            .build(1024)?;
        let ring_bytes = usize::from(buffer_count) * size_of::<BufRingEntry>();
        let mut ring = Ring {
            io: ManuallyDrop::new(io),
            entries: ManuallyDrop::new(Memory::new(ring_bytes)?),
            buffers: ManuallyDrop::new(Memory::new(usize::from(buffer_count) * buffer_bytes)?),
            buffer_bytes,
            buffer_count,
            tail: 0,
            operations: ManuallyDrop::new(Vec::new()),
            idle: Vec::new(),
        };
        // SAFETY: the entries are never freed while the ring is open (see Drop).
        unsafe {
            ring.io.submitter().register_buf_ring_with_flags(
                ring.entries.address() as u64,
                buffer_count,
                RECEIVE_GROUP,
                0,
            )?;
        }
        (0..buffer_count).for_each(|buffer| ring.give_back(buffer));
        Ok(ring)
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what the entry points to is owned by `self` until its completion was seen.
        while unsafe { self.io.submission().push(entry) }.is_err() {
            // The queue is full; the kernel takes it, or asks for its completions to be taken first, which `wait` does.
            let _ = self.io.submit();
        }
    }

    /// Lets the kernel fill the buffer again. Once for each [`Event::Received`].
    pub fn give_back(&mut self, buffer: u16) {
        let index = usize::from(self.tail & (self.buffer_count - 1));
        let start = self.entries.address().cast::<BufRingEntry>();
        let offset = usize::from(buffer) * self.buffer_bytes;
        assert!(offset < self.buffers.len());
        // SAFETY: the index is below the count of entries, the buffer's range lies in `buffers`; the kernel reads an entry only
        // after the tail passed it.
        unsafe {
            let entry = &mut *start.add(index);
            entry.set_addr(self.buffers.address().add(offset) as u64);
            entry.set_len(self.buffer_bytes as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(start).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    /// The bytes of an [`Event::Received`].
    pub fn received(&self, buffer: u16, bytes: usize) -> &[u8] {
        let start = usize::from(buffer) * self.buffer_bytes;
        &self.buffers[start..start + bytes]
    }

    /// Accepts connections from now on, each as an [`Event::Accepted`].
    pub fn accept(&mut self, listener: BorrowedFd<'_>) {
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(KIND_ACCEPT << KIND_SHIFT);
        self.push(&entry);
    }

    /// Receives from now on, until the events say otherwise.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, connection: u32) {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), RECEIVE_GROUP)
            .build()
            .user_data(KIND_RECEIVE << KIND_SHIFT | u64::from(connection));
        self.push(&entry);
    }

    /// Sends all of `bytes`; one at a time on a connection, or they mingle.
    pub fn send(&mut self, socket: BorrowedFd<'_>, connection: u32, bytes: Vec<u8>) {
        let (address, length) = (bytes.as_ptr(), bytes.len() as u32);
        let data = self.keep(Operation::Send { connection, bytes });
        let entry = opcode::Send::new(Fd(socket.as_raw_fd()), address, length)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .user_data(data);
        self.push(&entry);
    }

    /// Writes the first `bytes` of `memory` at `position`, complete when they are on stable storage.
    pub fn write_durably(
        &mut self,
        file: BorrowedFd<'_>,
        position: u64,
        memory: Memory,
        bytes: usize,
    ) {
        assert!(bytes <= memory.len());
        let address = memory.as_ptr();
        let data = self.keep(Operation::Write { memory });
        let entry = opcode::Write::new(Fd(file.as_raw_fd()), address, bytes as u32)
            .offset(position)
            .rw_flags(libc::RWF_DSYNC)
            .build()
            .user_data(data);
        self.push(&entry);
    }

    fn keep(&mut self, operation: Operation) -> u64 {
        let index = self.idle.pop().unwrap_or_else(|| {
            self.operations.push(None);
            self.operations.len() - 1
        });
        self.operations[index] = Some(operation);
        KIND_OPERATION << KIND_SHIFT | index as u64
    }

    /// Submits what was asked for, sleeps until something happened or the time is over, and puts what happened into `events`.
    ///
    /// # Errors
    /// The kernel's, when it does not take the ring's call at all.
    pub fn wait(&mut self, time_max: Duration, events: &mut Vec<Event>) -> io::Result<()> {
        let time = Timespec::new()
            .sec(time_max.as_secs())
            .nsec(time_max.subsec_nanos());
        let arguments = SubmitArgs::new().timespec(&time);
        if let Err(error) = self.io.submitter().submit_with_args(1, &arguments) {
            match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => {}
                _ => return Err(error),
            }
        }
        let (operations, idle) = (&mut self.operations, &mut self.idle);
        let completions = self.io.completion();
        events.extend(completions.filter_map(|entry| event(&entry, operations, idle)));
        Ok(())
    }
}

fn event(
    entry: &cqueue::Entry,
    operations: &mut [Option<Operation>],
    idle: &mut Vec<usize>,
) -> Option<Event> {
    let (result, low) = (entry.result(), entry.user_data() & !(0xFF << KIND_SHIFT));
    match entry.user_data() >> KIND_SHIFT {
        // A failed accept is one connection less; the peer sees it.
        KIND_ACCEPT if result < 0 => None,
        KIND_ACCEPT => Some(Event::Accepted {
            // SAFETY: the kernel has just made this descriptor for us alone.
            socket: unsafe { OwnedFd::from_raw_fd(result as RawFd) },
            armed: cqueue::more(entry.flags()),
        }),
        KIND_RECEIVE => {
            let connection = low as u32;
            Some(match cqueue::buffer_select(entry.flags()) {
                Some(buffer) if result > 0 => Event::Received {
                    connection,
                    buffer,
                    bytes: result as usize,
                    armed: cqueue::more(entry.flags()),
                },
                _ => Event::ReceiveEnded { connection, result },
            })
        }
        KIND_OPERATION => {
            idle.push(low as usize);
            let operation = operations[low as usize].take();
            Some(match operation.expect("a completion comes once") {
                Operation::Send { connection, bytes } => Event::Sent {
                    connection,
                    bytes,
                    result,
                },
                Operation::Write { memory } => Event::Written { memory, result },
            })
        }
        _ => None,
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: dropped once, here. Closing the ring ends its operations only after a while, and meanwhile the kernel may write to
        // the provided buffers and read what was being sent: their memory is left to the end of the process on purpose.
        unsafe { ManuallyDrop::drop(&mut self.io) };
    }
}
