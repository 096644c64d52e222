//! What a ring is asked for and what it says: its sizes, its features, its completions. `ring.rs` makes them, `data_loop.rs` takes them.

use std::os::fd::OwnedFd;

use bytes::Bytes;

use super::buffers::AlignedBuffer;

/// Sizes of one ring.
#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// Submission queue entries; completions get four times as many.
    pub entries: u32,
    /// Provided receive buffers, a power of two. When all are full the receives pause until some are given back.
    pub receive_buffers: u16,
    /// Bytes of one receive buffer: the most that one receive completion brings.
    pub receive_buffer_bytes: u32,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            entries: 1024,
            receive_buffers: 64,
            receive_buffer_bytes: 256 << 10,
        }
    }
}

/// What the kernel gave of what was asked for; a line of the start-up report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingFeatures {
    /// Completions are worked off only when the loop waits (6.1): no interrupts of running code.
    pub defer_taskrun: bool,
    /// The kernel may skip locks, since one thread submits (6.0).
    pub single_issuer: bool,
    /// Doorbells between loops without a file descriptor write (5.18).
    pub message_ring: bool,
    /// One receive brings many completions (6.0). Without it each receive is armed anew.
    pub multishot_receive: bool,
    /// A sleep that takes what comes within some time together (6.12); without it every completion wakes the loop.
    pub minimum_wait: bool,
    /// Large sends read the log's own memory instead of a copy, and the kernel says when it copied after all (6.2).
    pub zero_copy_send: bool,
}

/// What passed through a ring since it was made, and what is under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RingCounts {
    /// Operations asked for.
    pub(super) submitted: u64,
    /// Completions taken.
    pub(super) completed: u64,
    /// Times the kernel was entered: the loop's only system call while it is busy.
    pub(super) enters: u64,
    /// Times completions lay beyond the queue, where the kernel keeps them until the next entry.
    pub(super) overflows: u64,
    /// Sends and disk operations under way.
    pub(super) in_flight: u64,
}

/// What a completion says. Sockets are named by the slot their caller gave, disk operations by the caller's tag.
pub(super) enum Completion {
    Accepted {
        listener: u16,
        socket: OwnedFd,
        armed: bool,
    },
    /// The accept is no longer armed; `error` is an errno.
    AcceptEnded {
        listener: u16,
        error: i32,
    },
    /// Bytes of a socket lie in a receive buffer, to be read with [`Ring::received`] and given back with [`Ring::give_back`].
    Received {
        slot: u32,
        buffer: u16,
        length: usize,
        armed: bool,
    },
    /// The receive of a slot is no longer armed: 0 = the peer will send no more, `ENOBUFS`, `ECANCELED`, or another errno.
    ReceiveEnded {
        slot: u32,
        error: ReceiveEnd,
    },
    /// A send ended; the bytes sent may be fewer than asked. `segments` is what was asked, for the caller to trim.
    Sent {
        slot: u32,
        result: Result<usize, i32>,
        segments: Vec<Bytes>,
        /// Of a zero-copy send: [`Completion::Released`] follows.
        lent: bool,
    },
    /// The kernel let go of the memory of a zero-copy send, which [`Completion::Sent`] told of before.
    Released {
        /// As the sender named it; its slot may belong to another connection by now.
        owner: u64,
        bytes: usize,
        /// The kernel copied the bytes after all, as it does towards this machine itself.
        copied: bool,
    },
    Disk {
        tag: u64,
        outcome: DiskOutcome,
    },
    /// Another loop rang, by message.
    Woken,
    /// Another thread rang through the eventfd, which is to be emptied.
    EventFdRang,
    /// The eventfd is no longer watched.
    EventFdEnded,
    /// The doorbell to this core did not get through.
    DoorbellFailed {
        core: u16,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReceiveEnd {
    EndOfStream,
    NoBuffers,
    Cancelled,
    Failed(i32),
}

/// How a disk operation ended: bytes moved or errno, with the memory it worked on.
pub(super) enum DiskOutcome {
    Read {
        result: Result<usize, i32>,
        buffer: AlignedBuffer,
    },
    Written {
        result: Result<usize, i32>,
        buffer: Bytes,
    },
    Synced {
        result: Result<(), i32>,
    },
}
