//! One `io_uring` and every operation in flight on it: submits, keeps the memory the kernel works on, and turns completions into values.
//!
//! The only file that names the `io-uring` crate besides `buffers.rs` and `probe.rs`. It knows sockets and files only as descriptors; what a
//! completion means is decided in `data_loop.rs`. Everything the kernel may still touch (buffers, message headers, file descriptors) is owned
//! here until its completion came, so that dropping a connection or cancelling never frees memory under the kernel.
#![allow(unsafe_code)]

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use slab::Slab;

use super::buffers::{ALIGNMENT_BYTES, AlignedBuffer, ReceiveBuffers};
pub(super) use super::completion::{Completion, DiskOutcome, ReceiveEnd, RingCounts};
pub use super::completion::{RingFeatures, RingOptions};

/// A send in flight: the kernel reads `header` and what it points to. Boxed, so that the addresses hold.
struct SendOperation {
    header: libc::msghdr,
    vectors: Vec<libc::iovec>,
    segments: Vec<Bytes>,
    /// Who is to hear when a zero-copy send lets go of the segments; `None` for a send that copies.
    owner: Option<u64>,
}

enum DiskOperation {
    Read {
        tag: u64,
        buffer: AlignedBuffer,
        asked_at: usize,
        _file: Arc<OwnedFd>,
    },
    Write {
        tag: u64,
        buffer: Bytes,
        _file: Arc<OwnedFd>,
    },
    Sync {
        tag: u64,
        _file: Arc<OwnedFd>,
    },
}

const KIND_SHIFT: u32 = 56;
const KIND_ACCEPT: u64 = 1;
const KIND_RECEIVE: u64 = 2;
const KIND_SEND: u64 = 3;
const KIND_DISK: u64 = 4;
const KIND_WAKE: u64 = 5;
const KIND_EVENTFD: u64 = 6;
const KIND_IGNORED: u64 = 7;
const KIND_DOORBELL: u64 = 8;

const RECEIVE_GROUP: u16 = 0;

/// Send operations, and vectors of segments, that are kept for later sends.
const IDLE_MAX: usize = 256;

/// In `ioprio` of a zero-copy send (linux/io_uring.h: IORING_SEND_ZC_REPORT_USAGE): its last completion says whether bytes were copied.
const SEND_ZC_REPORT_USAGE: u16 = 1 << 3;
/// That completion's answer (IORING_NOTIF_USAGE_ZC_COPIED).
const ZERO_COPY_COPIED: i32 = i32::MIN;

fn user_data(kind: u64, index: u64) -> u64 {
    debug_assert!(index < 1 << KIND_SHIFT);
    kind << KIND_SHIFT | index
}

pub(super) struct Ring {
    io: IoUring,
    features: RingFeatures,
    receive: ManuallyDrop<ReceiveBuffers>,
    sends: Slab<Box<SendOperation>>,
    /// Send operations not in use, kept for their allocations.
    #[allow(clippy::vec_box)]
    // The kernel is told where an operation lies, so it must not move.
    idle_sends: Vec<Box<SendOperation>>,
    idle_segments: Vec<Vec<Bytes>>,
    disk: Slab<DiskOperation>,
    /// Sends and disk operations under way.
    in_flight: usize,
    /// Zero-copy sends that ended and whose memory the kernel still reads: until the peer acknowledged the bytes.
    unreleased: usize,
    /// Accepts, receives and eventfd watches under way.
    armed: usize,
    /// Sends since the last submission.
    sends_new: u32,
    counts: RingCounts,
}

impl Ring {
    /// Builds the ring in the thread that will use it (the kernel holds it to that). Errors are the kernel's: `EPERM` or `ENOSYS` where
    /// io_uring is forbidden, `ENOMEM` where memlock is too small on old kernels.
    pub(super) fn new(options: &RingOptions) -> io::Result<Self> {
        let (io, mut features) = build(options)?;
        features.minimum_wait = io.params().is_feature_min_timeout();
        let mut probe = io_uring::Probe::new();
        if io.submitter().register_probe(&mut probe).is_ok() {
            features.message_ring = probe.is_supported(opcode::MsgRingData::CODE);
            // Multishot receive came with the zero-copy send.
            features.multishot_receive = probe.is_supported(opcode::SendZc::CODE);
            features.zero_copy_send = probe.is_supported(opcode::SendMsgZc::CODE);
        }
        let receive = ReceiveBuffers::new(options.receive_buffers, options.receive_buffer_bytes)?;
        let mut ring = Self {
            io,
            features,
            receive: ManuallyDrop::new(receive),
            sends: Slab::with_capacity(256),
            idle_sends: Vec::new(),
            idle_segments: Vec::new(),
            disk: Slab::with_capacity(64),
            in_flight: 0,
            unreleased: 0,
            armed: 0,
            sends_new: 0,
            counts: RingCounts::default(),
        };
        // SAFETY: the entries live in `receive`, which is dropped after `io` closed the ring.
        unsafe {
            ring.io.submitter().register_buf_ring_with_flags(
                ring.receive.ring_address(),
                ring.receive.count(),
                RECEIVE_GROUP,
                0,
            )?;
        }
        ring.receive.offer_first();
        ring.features.zero_copy_send &= ring.try_zero_copy_report()?;
        Ok(ring)
    }

    /// Whether the kernel knows the flag that asks it to say when it copied: it refuses the flag before it looks at the descriptor, which is
    /// none.
    fn try_zero_copy_report(&mut self) -> io::Result<bool> {
        if !self.features.zero_copy_send {
            return Ok(false);
        }
        // SAFETY: a message header of zeroes is a valid one without parts; it outlives the submission, with which the kernel reads it.
        let header: libc::msghdr = unsafe { std::mem::zeroed() };
        let entry = opcode::SendMsgZc::new(Fd(-1), &raw const header)
            .ioprio(SEND_ZC_REPORT_USAGE)
            .build()
            .user_data(user_data(KIND_IGNORED, 0));
        self.push(entry);
        self.io.submit_and_wait(1)?;
        let completion = self.io.completion().next();
        Ok(completion.is_some_and(|entry| entry.result() == -libc::EBADF))
    }

    pub(super) fn features(&self) -> RingFeatures {
        self.features
    }

    /// What passed through the ring, and what is under way.
    pub(super) fn counts(&self) -> RingCounts {
        RingCounts {
            in_flight: self.in_flight as u64,
            ..self.counts
        }
    }

    /// The descriptor that other loops send doorbells to.
    pub(super) fn descriptor(&self) -> RawFd {
        self.io.as_raw_fd()
    }

    fn push(&mut self, entry: squeue::Entry) {
        self.counts.submitted += 1;
        loop {
            // SAFETY: whatever the entry points to is owned by `self` until its completion was seen, or is a descriptor, which the kernel checks.
            if unsafe { self.io.submission().push(&entry) }.is_ok() {
                return;
            }
            // The queue is full: hand over what is there. Failing that (completions overflowed), the kernel keeps them until the next drain.
            self.counts.enters += 1;
            if let Err(error) = self.io.submit() {
                match error.raw_os_error() {
                    Some(libc::EINTR | libc::EBUSY | libc::EAGAIN) => {}
                    _ => panic!("io_uring_enter refuses to submit: {error}"),
                }
            }
        }
    }

    /// Accepts one connection on a listening socket. One at a time: a multishot accept would take every descriptor of the process before the
    /// limits are asked.
    pub(super) fn accept(&mut self, listener_descriptor: RawFd, listener: u16) {
        let nowhere = std::ptr::null_mut();
        let entry = opcode::Accept::new(Fd(listener_descriptor), nowhere, nowhere.cast())
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(user_data(KIND_ACCEPT, u64::from(listener)));
        self.armed += 1;
        self.push(entry);
    }

    pub(super) fn cancel_accept(&mut self, listener: u16) {
        self.cancel(user_data(KIND_ACCEPT, u64::from(listener)));
    }

    /// Receives from a socket into the provided buffers until [`Completion::ReceiveEnded`] or a `Received` that is not armed any more.
    pub(super) fn receive(&mut self, descriptor: RawFd, slot: u32) {
        let data = user_data(KIND_RECEIVE, u64::from(slot));
        let entry = if self.features.multishot_receive {
            opcode::RecvMulti::new(Fd(descriptor), RECEIVE_GROUP).build()
        } else {
            opcode::Recv::new(Fd(descriptor), std::ptr::null_mut(), 0)
                .buf_group(RECEIVE_GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        };
        self.armed += 1;
        self.push(entry.user_data(data));
    }

    pub(super) fn cancel_receive(&mut self, slot: u32) {
        self.cancel(user_data(KIND_RECEIVE, u64::from(slot)));
    }

    fn cancel(&mut self, data: u64) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::user_data(data))
            .build()
            .user_data(user_data(KIND_IGNORED, 0));
        self.push(entry);
    }

    /// The bytes of a [`Completion::Received`].
    pub(super) fn received(&self, buffer: u16, length: usize) -> &[u8] {
        self.receive.received(buffer, length)
    }

    /// The bytes of a [`Completion::Received`] as a value of their own, whose end gives the buffer back; none when too many are out.
    pub(super) fn lend(&mut self, buffer: u16, length: usize) -> Option<Bytes> {
        self.receive.lend(buffer, length)
    }

    /// Lets the kernel use the buffer again. Once per `Received`, unless it was lent.
    pub(super) fn give_back(&mut self, buffer: u16) {
        self.receive.give_back(buffer);
    }

    /// A vector to fill for the next [`Ring::send`], empty, kept from an earlier one where there is any.
    pub(super) fn segments_buffer(&mut self) -> Vec<Bytes> {
        self.idle_segments
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(16))
    }

    /// Keeps the vector of a [`Completion::Sent`] for a later send.
    pub(super) fn keep_segments(&mut self, mut segments: Vec<Bytes>) {
        segments.clear();
        if self.idle_segments.len() < IDLE_MAX {
            self.idle_segments.push(segments);
        }
    }

    /// Sends the segments, one after the other, in one operation. The caller sends on a socket only after the send before it ended. With
    /// `zero_copy` (only where the features have it) the kernel reads the segments until [`Completion::Released`] names that owner.
    pub(super) fn send(
        &mut self,
        descriptor: RawFd,
        slot: u32,
        segments: Vec<Bytes>,
        zero_copy: Option<u64>,
    ) {
        assert!(!segments.is_empty());
        let mut operation = self.idle_sends.pop().unwrap_or_else(|| {
            Box::new(SendOperation {
                // SAFETY: a message header of zeroes is a valid one without parts.
                header: unsafe { std::mem::zeroed() },
                vectors: Vec::with_capacity(16),
                segments: Vec::new(),
                owner: None,
            })
        });
        operation.owner = zero_copy;
        operation.segments = segments;
        operation.vectors.clear();
        for segment in &operation.segments {
            operation.vectors.push(libc::iovec {
                iov_base: segment.as_ptr().cast_mut().cast(),
                iov_len: segment.len(),
            });
        }
        operation.header.msg_iov = operation.vectors.as_mut_ptr();
        operation.header.msg_iovlen = operation.vectors.len();
        let header: *const libc::msghdr = &raw const operation.header;
        let index = self.sends.insert(operation);
        let data = user_data(KIND_SEND, (slot as u64) << 24 | index as u64);
        assert!(index < 1 << 24, "a connection has few sends at most");
        let (socket, flags) = (Fd(descriptor), libc::MSG_NOSIGNAL as u32);
        let entry = if zero_copy.is_some() {
            opcode::SendMsgZc::new(socket, header)
                .ioprio(SEND_ZC_REPORT_USAGE)
                .flags(flags)
                .build()
        } else {
            opcode::SendMsg::new(socket, header).flags(flags).build()
        };
        self.in_flight += 1;
        self.sends_new += 1;
        self.push(entry.user_data(data));
    }

    /// Reads `length` bytes at `position` into the buffer, behind what is filled.
    pub(super) fn read(
        &mut self,
        file: Arc<OwnedFd>,
        position: u64,
        length: usize,
        mut buffer: AlignedBuffer,
        tag: u64,
    ) {
        let asked_at = buffer.filled();
        assert!(asked_at + length <= buffer.capacity());
        let pointer = buffer.pointer_at(asked_at);
        let descriptor = Fd(file.as_raw_fd());
        let index = self.disk.insert(DiskOperation::Read {
            tag,
            buffer,
            asked_at,
            _file: file,
        });
        let length = u32::try_from(length).expect("a read is far below 4 GiB");
        let entry = opcode::Read::new(descriptor, pointer, length)
            .offset(position)
            .build()
            .user_data(user_data(KIND_DISK, index as u64));
        self.in_flight += 1;
        self.push(entry);
    }

    /// Writes the buffer at `position`; with `durable`, completes only when the bytes are on stable storage.
    pub(super) fn write(
        &mut self,
        file: Arc<OwnedFd>,
        position: u64,
        buffer: Bytes,
        durable: bool,
        tag: u64,
    ) {
        debug_assert!((buffer.as_ptr() as usize).is_multiple_of(ALIGNMENT_BYTES));
        let descriptor = Fd(file.as_raw_fd());
        let length = u32::try_from(buffer.len()).expect("a write is far below 4 GiB");
        let entry = opcode::Write::new(descriptor, buffer.as_ptr(), length)
            .offset(position)
            .rw_flags(if durable { libc::RWF_DSYNC } else { 0 });
        let index = self.disk.insert(DiskOperation::Write {
            tag,
            buffer,
            _file: file,
        });
        self.in_flight += 1;
        self.push(entry.build().user_data(user_data(KIND_DISK, index as u64)));
    }

    /// Makes what was written to the file durable (data and what is needed to read it back).
    pub(super) fn sync(&mut self, file: Arc<OwnedFd>, tag: u64) {
        let descriptor = Fd(file.as_raw_fd());
        let index = self.disk.insert(DiskOperation::Sync { tag, _file: file });
        let entry = opcode::Fsync::new(descriptor)
            .flags(io_uring::types::FsyncFlags::DATASYNC)
            .build()
            .user_data(user_data(KIND_DISK, index as u64));
        self.in_flight += 1;
        self.push(entry);
    }

    /// Watches an eventfd; each write to it brings [`Completion::Woken`].
    pub(super) fn watch_eventfd(&mut self, descriptor: RawFd) {
        let entry = opcode::PollAdd::new(Fd(descriptor), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(user_data(KIND_EVENTFD, 0));
        self.armed += 1;
        self.push(entry);
    }

    /// Wakes the loop whose ring that is, with this turn's submission.
    pub(super) fn doorbell(&mut self, ring_descriptor: RawFd, core: u16) {
        let entry = opcode::MsgRingData::new(Fd(ring_descriptor), 0, user_data(KIND_WAKE, 0), None)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(user_data(KIND_DOORBELL, u64::from(core)));
        self.push(entry);
    }

    /// Hands over what is queued, so that a device works on it while the rest of the turn is done. An error comes again with what is submitted
    /// next.
    pub(super) fn hand_over(&mut self) {
        self.counts.enters += 1;
        let _ = self.io.submit();
    }

    /// Submits what was queued and, unless `timeout` is zero, sleeps until a completion, a doorbell or the end of the time. True when it was the
    /// end of the time. With `company`, the peers of the sends are expected to send again within so many microseconds, and are taken together.
    pub(super) fn submit(
        &mut self,
        timeout: Duration,
        company_us: Option<u32>,
    ) -> io::Result<bool> {
        self.receive.take_back();
        let sends = std::mem::take(&mut self.sends_new);
        let (idle, work_deferred, overflow) = {
            let queue = self.io.submission();
            (queue.is_empty(), queue.taskrun(), queue.cq_overflow())
        };
        self.counts.overflows += u64::from(overflow);
        let result = if timeout.is_zero() {
            if idle && !work_deferred && !overflow {
                return Ok(false);
            }
            self.counts.enters += 1;
            self.io.submit()
        } else {
            self.counts.enters += 1;
            let time = Timespec::new()
                .sec(timeout.as_secs())
                .nsec(timeout.subsec_nanos());
            // Sends complete as they are submitted; then each peer's next request. A timer is not worth it for one.
            let (wanted, within_us) = match company_us {
                Some(company_us) if self.features.minimum_wait && sends > 1 => {
                    (2 * sends, company_us)
                }
                _ => (1, 0),
            };
            let arguments = SubmitArgs::new().timespec(&time).min_wait_usec(within_us);
            self.io
                .submitter()
                .submit_with_args(wanted as usize, &arguments)
        };
        match result {
            Ok(_) => Ok(false),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME) => Ok(true),
                // A signal, or completions to be taken first: each is answered by the next drain.
                Some(libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Takes what has completed, in order.
    pub(super) fn drain(&mut self, mut take: impl FnMut(Completion)) {
        loop {
            let entry = self.io.completion().next();
            let Some(entry) = entry else { return };
            self.counts.completed += 1;
            if let Some(completion) = self.completion(&entry) {
                take(completion);
            }
        }
    }

    fn completion(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let data = entry.user_data();
        let index = data & ((1 << KIND_SHIFT) - 1);
        let armed = cqueue::more(entry.flags());
        if !armed
            && matches!(
                data >> KIND_SHIFT,
                KIND_ACCEPT | KIND_RECEIVE | KIND_EVENTFD
            )
        {
            self.armed -= 1;
        }
        match data >> KIND_SHIFT {
            KIND_ACCEPT => Some(accepted(entry.result(), index as u16, armed)),
            KIND_RECEIVE => {
                let buffer = cqueue::buffer_select(entry.flags());
                Some(self.received_completion(entry.result(), index as u32, buffer, armed))
            }
            KIND_SEND => Some(self.send_completion(entry, index)),
            KIND_DISK => {
                self.in_flight -= 1;
                let operation = self.disk.remove(index as usize);
                Some(disk_completion(operation, checked(entry.result())))
            }
            KIND_WAKE => Some(Completion::Woken),
            KIND_EVENTFD if armed => Some(Completion::EventFdRang),
            KIND_EVENTFD => Some(Completion::EventFdEnded),
            KIND_DOORBELL if entry.result() < 0 => {
                Some(Completion::DoorbellFailed { core: index as u16 })
            }
            _ => None,
        }
    }

    /// A send has one completion, a zero-copy one a second when the kernel no longer reads its memory.
    fn send_completion(&mut self, entry: &cqueue::Entry, data: u64) -> Completion {
        let (slot, index) = ((data >> 24) as u32, (data & 0xff_ffff) as usize);
        if cqueue::notif(entry.flags()) {
            self.unreleased -= 1;
            let operation = self.sends.remove(index);
            let completion = Completion::Released {
                owner: operation.owner.expect("only zero-copy sends notify"),
                bytes: operation.segments.iter().map(Bytes::len).sum(),
                copied: entry.result() & ZERO_COPY_COPIED != 0,
            };
            self.keep_idle(operation);
            return completion;
        }
        self.in_flight -= 1;
        let lent = cqueue::more(entry.flags());
        let segments = if lent {
            self.unreleased += 1;
            self.sends[index].segments.clone()
        } else {
            let mut operation = self.sends.remove(index);
            let segments = std::mem::take(&mut operation.segments);
            self.keep_idle(operation);
            segments
        };
        Completion::Sent {
            slot,
            result: checked(entry.result()),
            segments,
            lent,
        }
    }

    fn keep_idle(&mut self, mut operation: Box<SendOperation>) {
        operation.segments.clear();
        if self.idle_sends.len() < IDLE_MAX {
            self.idle_sends.push(operation);
        }
    }

    fn received_completion(
        &mut self,
        result: i32,
        slot: u32,
        buffer: Option<u16>,
        armed: bool,
    ) -> Completion {
        if buffer.is_some() {
            self.receive.taken();
        }
        match (checked(result), buffer) {
            (Ok(length), Some(buffer)) if length > 0 => Completion::Received {
                slot,
                buffer,
                length,
                armed,
            },
            (outcome, buffer) => {
                if let Some(buffer) = buffer {
                    self.receive.give_back(buffer);
                }
                let error = match outcome {
                    Ok(_) => ReceiveEnd::EndOfStream,
                    Err(libc::ENOBUFS) => {
                        self.receive.offer_more();
                        ReceiveEnd::NoBuffers
                    }
                    Err(libc::ECANCELED) => ReceiveEnd::Cancelled,
                    Err(errno) => ReceiveEnd::Failed(errno),
                };
                Completion::ReceiveEnded { slot, error }
            }
        }
    }
}

/// Tries the best set-up first and gives up one feature at a time.
fn build(options: &RingOptions) -> io::Result<(IoUring, RingFeatures)> {
    let full = RingFeatures {
        defer_taskrun: true,
        single_issuer: true,
        ..RingFeatures::default()
    };
    let issuer = RingFeatures {
        defer_taskrun: false,
        ..full
    };
    let mut refused = None;
    // Where memory may hardly be locked, a smaller ring does; what an earlier one held is given back a little after its end.
    for entries in [options.entries, options.entries / 4, options.entries / 16] {
        for features in [full, issuer, RingFeatures::default()] {
            match build_with(features, entries.max(8)) {
                Ok(io) => return Ok((io, features)),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINVAL) => refused = Some(error),
                    Some(libc::ENOMEM) => {
                        refused = Some(error);
                        std::thread::sleep(Duration::from_millis(20));
                        break;
                    }
                    _ => return Err(error),
                },
            }
        }
    }
    Err(refused.expect("every attempt failed with an error"))
}

fn build_with(features: RingFeatures, entries: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_clamp()
        .setup_submit_all()
        .setup_cqsize(entries * 4);
    if features.defer_taskrun {
        builder.setup_defer_taskrun().setup_taskrun_flag();
    }
    if features.single_issuer {
        builder.setup_single_issuer();
    }
    builder.build(entries)
}

fn checked(result: i32) -> Result<usize, i32> {
    usize::try_from(result).map_err(|_| -result)
}

fn accepted(result: i32, listener: u16, armed: bool) -> Completion {
    match checked(result) {
        Ok(descriptor) => {
            // SAFETY: the kernel made this descriptor for us with the completion, and nobody else knows it.
            let socket = unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) };
            Completion::Accepted {
                listener,
                socket,
                armed,
            }
        }
        Err(error) => Completion::AcceptEnded { listener, error },
    }
}

fn disk_completion(operation: DiskOperation, result: Result<usize, i32>) -> Completion {
    match operation {
        DiskOperation::Read {
            tag,
            mut buffer,
            asked_at,
            ..
        } => {
            if let Ok(bytes) = result {
                // SAFETY: the kernel wrote `bytes` behind `asked_at`, up to where earlier reads had filled it.
                unsafe { buffer.set_filled(asked_at + bytes) };
            }
            Completion::Disk {
                tag,
                outcome: DiskOutcome::Read { result, buffer },
            }
        }
        DiskOperation::Write { tag, buffer, .. } => Completion::Disk {
            tag,
            outcome: DiskOutcome::Written { result, buffer },
        },
        DiskOperation::Sync { tag, .. } => Completion::Disk {
            tag,
            outcome: DiskOutcome::Synced {
                result: result.map(drop),
            },
        },
    }
}

/// Lets the calling thread sleep for as long as it asks, and not up to 50 µs longer: a write may wait for less than that.
pub(super) fn wake_on_time() {
    // SAFETY: the call takes a plain value and concerns the calling thread only; a refusal changes nothing.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1_000 as libc::c_ulong);
    }
}

/// Puts the calling thread behind the data loops: batch scheduling and nice 10. Threads it starts inherit both.
pub(super) fn lower_thread_priority() {
    // SAFETY: both calls take plain values and concern the calling thread only; a refusal changes nothing.
    unsafe {
        let parameters: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters);
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
    }
}

/// Gives the calling thread the processor only while no other thread wants it.
pub(super) fn run_when_idle() {
    // SAFETY: the call takes plain values and concerns the calling thread only; a refusal changes nothing.
    unsafe {
        let parameters: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Closing a ring does not wait for what is in flight: buffers would be freed under the kernel. So cancel all and wait for the ends.
        let entry = opcode::AsyncCancel2::new(CancelBuilder::any())
            .build()
            .user_data(user_data(KIND_IGNORED, 0));
        self.push(entry);
        let mut rounds = 0;
        while self.in_flight + self.armed > 0 && rounds < 500 {
            let _ = self.submit(Duration::from_millis(10), None);
            self.drain(drop);
            rounds += 1;
        }
        if self.in_flight + self.armed > 0 {
            // A device that does not answer: leak what the kernel may still touch rather than free it.
            std::mem::forget(std::mem::take(&mut self.disk));
            std::mem::forget(std::mem::take(&mut self.sends));
            return;
        }
        if self.unreleased > 0 {
            // Zero-copy sends end when a peer acknowledges, which may be never: not waited for, but not freed either.
            std::mem::forget(std::mem::take(&mut self.sends));
        }
        // SAFETY: dropped once, here; nothing is armed that could still take a buffer.
        unsafe { ManuallyDrop::drop(&mut self.receive) }
    }
}
