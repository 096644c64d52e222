//! All connections of one core: opening, reading, sending, limits, ends.
//!
//! Between the ring's completions (`data_loop.rs` hands them in) and the machine's events (it takes them out). Nothing here allocates or sets a
//! timer per connection or per request: idle connections are found at the head of one list ordered by last use, those that cannot be read for
//! lack of memory or must be re-armed stand in small lists of slots.
//!
//! Bounds: connections in total and per address (the socket is closed at once, counted), descriptors (a quarter of them is
//! kept for data files), bytes of frames held per core (reading pauses; one
//! unfinished frame at a time is let through, so that the core never locks itself up), bytes queued per connection (its reading pauses; cut after
//! a time without progress), idle time.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::net::{Shutdown, shutdown, sockopt};
use slab::Slab;

use super::connection::{Connection, Life, ReceiveState};
use super::frames::HeldBytes;
use super::limits::{ConnectionCounts, ConnectionLimits};
use super::loop_metrics::SocketMetrics;
use super::ring::{ReceiveEnd, Ring};
use crate::machine::{ConnectionId, Segments};

/// What the machine is to be told, besides frames.
pub(super) enum SocketEvent {
    Closed(ConnectionId),
    Drained(ConnectionId),
}

pub(super) struct Connections {
    core: u16,
    slots: Slab<Connection>,
    next_generation: u32,
    pub(super) limits: ConnectionLimits,
    counts: Arc<ConnectionCounts>,
    pub(super) metrics: SocketMetrics,
    held: HeldBytes,
    oldest: Option<u32>,
    newest: Option<u32>,
    /// Slots with bytes to send and no send in flight.
    to_send: Vec<u32>,
    /// Slots with frames for the machine, in the order they came.
    ready: VecDeque<u32>,
    /// Slots whose receive ended for lack of buffers.
    to_receive: Vec<u32>,
    /// Slots not read for lack of memory.
    memory_stopped: Vec<u32>,
    /// The one unfinished frame that may go on above the memory bound, and when it last did.
    let_through: Option<(u32, u64)>,
    /// Slots whose peer must take bytes within `stalled_ms`.
    watched: BTreeSet<u32>,
    next_watch_us: u64,
    /// Bytes of zero-copy sends that the kernel still reads.
    unreleased_bytes: usize,
    /// Bytes queued or in flight to all peers.
    queued_bytes: usize,
    pub(super) events: VecDeque<SocketEvent>,
    now_us: u64,
}

impl Connections {
    pub(super) fn new(
        core: u16,
        limits: ConnectionLimits,
        counts: Arc<ConnectionCounts>,
        metrics: SocketMetrics,
    ) -> Self {
        Self {
            core,
            slots: Slab::new(),
            next_generation: 1,
            limits,
            counts,
            metrics,
            held: HeldBytes::default(),
            oldest: None,
            newest: None,
            to_send: Vec::new(),
            ready: VecDeque::new(),
            to_receive: Vec::new(),
            memory_stopped: Vec::new(),
            let_through: None,
            watched: BTreeSet::new(),
            next_watch_us: 0,
            unreleased_bytes: 0,
            queued_bytes: 0,
            events: VecDeque::new(),
            now_us: 0,
        }
    }

    pub(super) fn set_now(&mut self, now_us: u64) {
        self.now_us = now_us;
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.held.get()
    }

    /// True when frames wait for the machine.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Bytes queued or in flight to all peers.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Takes over an admitted socket and begins to read it.
    pub(super) fn open(
        &mut self,
        ring: &mut Ring,
        socket: OwnedFd,
        peer: SocketAddr,
    ) -> ConnectionId {
        // Answers leave in one send anyway; waiting for more would only delay them.
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        // A peer whose machine is gone is found in the end even where idle connections may stay.
        let _ = sockopt::set_socket_keepalive(&socket, true);
        let entry = self.slots.vacant_entry();
        let slot = entry.key() as u32;
        let id = ConnectionId(u64::from(self.next_generation) << 32 | u64::from(slot));
        self.next_generation = self.next_generation.wrapping_add(1);
        let connection = entry.insert(Connection::new(socket, peer, id, self.now_us));
        connection.zero_copy |= self.limits.zero_copy.loopback;
        self.link_newest(slot);
        self.metrics.opened.add(1);
        self.metrics.open.add(1);
        self.update_receive(ring, slot);
        id
    }

    fn slot_of(&self, id: ConnectionId) -> Option<u32> {
        let slot = id.0 as u32;
        let connection = self.slots.get(slot as usize)?;
        (connection.id == id && connection.life != Life::Dead).then_some(slot)
    }

    fn get(&mut self, slot: u32) -> &mut Connection {
        self.slots
            .get_mut(slot as usize)
            .expect("a slot stays while an operation or a list names it")
    }

    // Receiving.

    /// Bytes came. Gives the buffer back before it returns.
    pub(super) fn received(
        &mut self,
        ring: &mut Ring,
        slot: u32,
        buffer: u16,
        length: usize,
        armed: bool,
    ) {
        self.metrics.received_bytes.add(length as u64);
        let limit = self.limits.frame_bytes_max;
        let held = self.held.clone();
        let connection = self.get(slot);
        if !armed {
            connection.receive = ReceiveState::Idle;
        }
        if connection.life != Life::Open {
            ring.give_back(buffer);
            self.free_when_done(slot);
            return;
        }
        let in_place = connection
            .assembly
            .brings_whole_produce(ring.received(buffer, length));
        let lent = in_place.then(|| ring.lend(buffer, length)).flatten();
        let input = lent
            .as_deref()
            .unwrap_or_else(|| ring.received(buffer, length));
        let fed =
            connection
                .assembly
                .feed((input, lent.as_ref()), limit, &held, &mut connection.frames);
        if lent.is_none() {
            ring.give_back(buffer);
        }
        self.touch(slot);
        if fed.is_err() {
            self.metrics.closed_bad_size.add(1);
            // Frames before the bad size are whole and are answered; then the connection ends.
            self.end_of_stream(ring, slot);
            return;
        }
        self.check_memory(slot);
        self.list_ready(slot);
        self.update_receive(ring, slot);
    }

    /// The receive of a slot is over.
    pub(super) fn receive_ended(&mut self, ring: &mut Ring, slot: u32, end: ReceiveEnd) {
        let connection = self.get(slot);
        connection.receive = ReceiveState::Idle;
        if connection.life == Life::Dead {
            self.free_when_done(slot);
            return;
        }
        match end {
            // A reset, too: a producer with acks=0 may have left unread answers behind, and its frames count all the same.
            ReceiveEnd::EndOfStream | ReceiveEnd::Failed(_) => self.end_of_stream(ring, slot),
            ReceiveEnd::Cancelled => self.update_receive(ring, slot),
            ReceiveEnd::NoBuffers => {
                self.metrics.receive_buffers_exhausted.add(1);
                self.to_receive.push(slot);
            }
        }
    }

    /// The stream is over, or not to be understood from here on: deliver what is whole, then close.
    fn end_of_stream(&mut self, ring: &mut Ring, slot: u32) {
        let connection = self.get(slot);
        if connection.life != Life::Open {
            return;
        }
        connection.life = Life::EndOfStream;
        if connection.frames.is_empty() {
            self.close_slot(ring, slot);
        } else {
            self.list_ready(slot);
            self.update_receive(ring, slot);
        }
    }

    fn list_ready(&mut self, slot: u32) {
        let connection = self.get(slot);
        if !connection.ready_listed && connection.can_deliver() {
            connection.ready_listed = true;
            self.ready.push_back(slot);
        }
    }

    /// The next frame for the machine; connections with several take turns of up to `FRAMES_PER_TURN`.
    pub(super) fn next_ready(&mut self) -> Option<u32> {
        let slot = self.ready.pop_front()?;
        self.get(slot).ready_listed = false;
        Some(slot)
    }

    /// Takes one frame of a slot that was ready, unless it has been stopped or closed meanwhile.
    pub(super) fn take_frame(&mut self, slot: u32) -> Option<(ConnectionId, Bytes)> {
        let connection = self.slots.get_mut(slot as usize)?;
        if !connection.can_deliver() {
            return None;
        }
        let frame = connection.frames.pop_front()?;
        self.metrics.frames.add(1);
        Some((connection.id, frame))
    }

    /// After a slot's turn: come again, read on, or end.
    pub(super) fn after_frames(&mut self, ring: &mut Ring, slot: u32) {
        let Some(connection) = self.slots.get_mut(slot as usize) else {
            return;
        };
        if connection.life == Life::Dead {
            self.free_when_done(slot);
            return;
        }
        if connection.life == Life::EndOfStream && connection.frames.is_empty() {
            self.close_slot(ring, slot);
            return;
        }
        self.list_ready(slot);
        self.update_receive(ring, slot);
    }

    /// Arms or cancels the receive as the state demands.
    fn update_receive(&mut self, ring: &mut Ring, slot: u32) {
        let connection = self.get(slot);
        match connection.receive {
            ReceiveState::Idle if connection.wants_receive() => {
                connection.receive = ReceiveState::Armed;
                let descriptor = connection.socket.as_raw_fd();
                ring.receive(descriptor, slot);
            }
            ReceiveState::Armed if connection.life != Life::Open || connection.stops.any() => {
                connection.receive = ReceiveState::Cancelling;
                ring.cancel_receive(slot);
            }
            _ => {}
        }
    }

    // Sending.

    /// Queues an answer.
    pub(super) fn send(&mut self, ring: &mut Ring, id: ConnectionId, segments: Segments) {
        let Some(slot) = self.slot_of(id) else { return };
        let high = self.limits.queued_bytes_high;
        let now_us = self.now_us;
        let connection = self.get(slot);
        if connection.life == Life::Closing {
            return;
        }
        let before = connection.queued_bytes;
        connection.enqueue(segments);
        let added = connection.queued_bytes - before;
        let stop = connection.queued_bytes > high && !connection.stops.queue;
        if stop {
            connection.stops.queue = true;
            connection.progress_us = now_us;
        }
        self.queued_bytes += added;
        if stop {
            self.watch(slot);
            self.metrics.queue_stops.add(1);
            self.update_receive(ring, slot);
        }
        self.list_send(slot);
    }

    fn list_send(&mut self, slot: u32) {
        let connection = self.get(slot);
        if !connection.sending && !connection.send_listed && !connection.queue.is_empty() {
            connection.send_listed = true;
            self.to_send.push(slot);
        }
    }

    /// Submits one send per connection that has something to send and none in flight.
    pub(super) fn flush_sends(&mut self, ring: &mut Ring) {
        let mut listed = std::mem::take(&mut self.to_send);
        for slot in listed.drain(..) {
            let connection = self.get(slot);
            connection.send_listed = false;
            if connection.life == Life::Dead {
                self.free_when_done(slot);
                continue;
            }
            if connection.sending || connection.queue.is_empty() {
                continue;
            }
            let mut segments = ring.segments_buffer();
            let bytes = connection.gather(&mut segments);
            connection.sending = true;
            let (descriptor, id) = (connection.socket.as_raw_fd(), connection.id.0);
            let zero_copy = ring.features().zero_copy_send && self.may_lend(slot, bytes);
            self.get(slot).sending_zero_copy = zero_copy;
            ring.send(descriptor, slot, segments, zero_copy.then_some(id));
            self.metrics.sends.add(1);
        }
        self.to_send = listed;
    }

    /// Whether a send of so many bytes leaves without a copy; counts them then.
    fn may_lend(&mut self, slot: u32, bytes: usize) -> bool {
        let limits = self.limits.zero_copy;
        let unreleased_bytes = self.unreleased_bytes + bytes;
        let connection = self.get(slot);
        let lend = connection.zero_copy
            && bytes >= limits.bytes_min
            && unreleased_bytes <= limits.bytes_max
            && connection.unreleased_bytes + bytes <= limits.connection_bytes_max;
        if lend {
            connection.unreleased_bytes += bytes;
            self.unreleased_bytes = unreleased_bytes;
            self.metrics.sends_zero_copy.add(1);
        }
        lend
    }

    /// The kernel no longer reads what was lent to it.
    pub(super) fn released(&mut self, owner: u64, bytes: usize, copied: bool) {
        self.unreleased_bytes -= bytes;
        let loopback = self.limits.zero_copy.loopback;
        if copied {
            self.metrics.sends_zero_copy_copied.add(1);
        }
        if let Some(slot) = self.slot_of(ConnectionId(owner)) {
            let connection = self.get(slot);
            connection.unreleased_bytes -= bytes;
            connection.zero_copy &= !copied || loopback;
        }
    }

    /// A send ended; what of its segments was not sent goes back to the queue. With `lent`, [`Connections::released`] follows.
    pub(super) fn sent(
        &mut self,
        ring: &mut Ring,
        slot: u32,
        result: Result<usize, i32>,
        (mut segments, lent): (Vec<Bytes>, bool),
    ) {
        let now_us = self.now_us;
        let connection = self.get(slot);
        connection.sending = false;
        let zero_copy = std::mem::take(&mut connection.sending_zero_copy);
        if zero_copy && !lent {
            let bytes: usize = segments.iter().map(Bytes::len).sum();
            connection.unreleased_bytes -= bytes;
            self.unreleased_bytes -= bytes;
        }
        let connection = self.get(slot);
        if connection.life == Life::Dead {
            self.free_when_done(slot);
            return;
        }
        match result {
            Ok(bytes) if bytes > 0 => {
                connection.sent(bytes, &mut segments);
                ring.keep_segments(segments);
                connection.progress_us = now_us;
                self.queued_bytes -= bytes;
                self.metrics.sent_bytes.add(bytes as u64);
                self.touch(slot);
                let low = self.limits.queued_bytes_low;
                let connection = self.get(slot);
                if connection.stops.queue && connection.queued_bytes <= low {
                    self.drained(ring, slot);
                }
                self.go_on_sending(ring, slot);
            }
            Err(libc::EINTR | libc::EAGAIN) => {
                connection.sent(0, &mut segments);
                self.list_send(slot);
            }
            // Too little memory may be locked or lent to a socket, or it lends none: with a copy, then.
            Err(libc::ENOMEM | libc::ENOBUFS | libc::EOPNOTSUPP | libc::EINVAL) if zero_copy => {
                connection.zero_copy = false;
                connection.sent(0, &mut segments);
                self.list_send(slot);
            }
            _ => self.die(ring, slot),
        }
    }

    fn drained(&mut self, ring: &mut Ring, slot: u32) {
        let connection = self.get(slot);
        connection.stops.queue = false;
        let id = connection.id;
        if connection.life != Life::Closing {
            self.watched.remove(&slot);
        }
        if !self.get(slot).closed_told {
            self.events.push_back(SocketEvent::Drained(id));
        }
        self.list_ready(slot);
        self.update_receive(ring, slot);
    }

    fn go_on_sending(&mut self, ring: &mut Ring, slot: u32) {
        let connection = self.get(slot);
        if !connection.queue.is_empty() {
            self.list_send(slot);
        } else if connection.life == Life::Closing {
            self.die(ring, slot);
        }
    }

    // What the machine asks.

    pub(super) fn stop_reading(&mut self, ring: &mut Ring, id: ConnectionId) {
        if let Some(slot) = self.slot_of(id) {
            self.get(slot).stops.machine = true;
            self.update_receive(ring, slot);
        }
    }

    pub(super) fn resume_reading(&mut self, ring: &mut Ring, id: ConnectionId) {
        if let Some(slot) = self.slot_of(id) {
            self.get(slot).stops.machine = false;
            self.after_frames(ring, slot);
        }
    }

    /// Closes after what is queued.
    pub(super) fn close(&mut self, ring: &mut Ring, id: ConnectionId) {
        if let Some(slot) = self.slot_of(id) {
            self.close_slot(ring, slot);
        }
    }

    pub(super) fn abort(&mut self, ring: &mut Ring, id: ConnectionId) {
        if let Some(slot) = self.slot_of(id) {
            self.die(ring, slot);
        }
    }

    /// Closes every connection after what is queued for it, when the core leaves.
    pub(super) fn close_all(&mut self, ring: &mut Ring) {
        let open: Vec<ConnectionId> = self.slots.iter().map(|(_, one)| one.id).collect();
        for id in open {
            self.close(ring, id);
        }
    }

    // Ends.

    fn close_slot(&mut self, ring: &mut Ring, slot: u32) {
        let now_us = self.now_us;
        let connection = self.get(slot);
        if matches!(connection.life, Life::Closing | Life::Dead) {
            return;
        }
        connection.life = Life::Closing;
        connection.progress_us = now_us;
        connection.frames.clear();
        self.tell_closed(slot);
        let connection = self.get(slot);
        if connection.queue.is_empty() && !connection.sending {
            self.die(ring, slot);
        } else {
            self.watch(slot);
            self.update_receive(ring, slot);
            self.list_send(slot);
        }
    }

    fn tell_closed(&mut self, slot: u32) {
        let connection = self.get(slot);
        if !connection.closed_told {
            connection.closed_told = true;
            let id = connection.id;
            self.events.push_back(SocketEvent::Closed(id));
        }
    }

    /// Shuts the socket down, which also brings its operations back, and frees the slot once they are.
    fn die(&mut self, ring: &mut Ring, slot: u32) {
        if self.get(slot).life == Life::Dead {
            return;
        }
        self.tell_closed(slot);
        let connection = self.get(slot);
        connection.life = Life::Dead;
        let unsent = connection.queued_bytes;
        connection.drop_contents();
        let _ = shutdown(&connection.socket, Shutdown::Both);
        let address = connection.peer.ip();
        self.queued_bytes -= unsent;
        self.update_receive(ring, slot);
        self.unlink(slot);
        self.watched.remove(&slot);
        self.memory_stopped.retain(|stopped| *stopped != slot);
        self.to_receive.retain(|waiting| *waiting != slot);
        if self.let_through.is_some_and(|(through, _)| through == slot) {
            self.let_through = None;
        }
        self.counts.leave(address, self.core);
        self.metrics.closed.add(1);
        self.metrics.open.add(-1);
        self.free_when_done(slot);
    }

    fn free_when_done(&mut self, slot: u32) {
        let connection = self.get(slot);
        let free = connection.life == Life::Dead
            && connection.receive == ReceiveState::Idle
            && !connection.sending
            && !connection.send_listed
            && !connection.ready_listed;
        if free {
            self.slots.remove(slot as usize);
        }
    }

    // Housekeeping, once a turn.

    /// Re-arms, resumes, closes the idle and cuts the stalled. Returns the next time it wants to be called.
    pub(super) fn housekeeping(&mut self, ring: &mut Ring) -> Option<u64> {
        for slot in std::mem::take(&mut self.to_receive) {
            self.update_receive(ring, slot);
        }
        let memory = self.resume_for_memory(ring);
        let idle = self.close_idle(ring);
        let stalled = self.cut_stalled(ring);
        [memory, idle, stalled].into_iter().flatten().min()
    }

    fn check_memory(&mut self, slot: u32) {
        let over = self.held.get() > self.limits.held_bytes_max;
        let now_us = self.now_us;
        if let Some((through, progress_us)) = &mut self.let_through
            && *through == slot
        {
            *progress_us = now_us;
            if over && self.get(slot).assembly.partial_bytes() > 0 {
                return;
            }
            self.let_through = None;
        }
        let connection = self.get(slot);
        if over && !connection.stops.memory {
            connection.stops.memory = true;
            self.memory_stopped.push(slot);
            self.metrics.memory_stops.add(1);
        }
    }

    fn resume_for_memory(&mut self, ring: &mut Ring) -> Option<u64> {
        if self.memory_stopped.is_empty() && self.let_through.is_none() {
            return None;
        }
        let limit = self.limits.held_bytes_max;
        if self.held.get() <= limit - limit / 8 {
            self.let_through = None;
            for slot in std::mem::take(&mut self.memory_stopped) {
                self.get(slot).stops.memory = false;
                self.update_receive(ring, slot);
            }
            return None;
        }
        match self.let_through {
            None => self.let_one_through(ring),
            Some((slot, progress_us)) if self.now_us > progress_us + 10_000_000 => {
                // It holds the door and sends nothing: the others have waited long enough.
                self.metrics.closed_stalled.add(1);
                self.die(ring, slot);
            }
            Some(_) => {}
        }
        Some(self.now_us + 10_000)
    }

    /// Lets the largest unfinished frame go on, unless the machine holds most of the bound: it will let go of that, and all can go on.
    fn let_one_through(&mut self, ring: &mut Ring) {
        let partial = |slot: &u32| self.slots[*slot as usize].assembly.partial_bytes();
        let unfinished: usize = self
            .slots
            .iter()
            .map(|(_, connection)| connection.assembly.partial_memory())
            .sum();
        let Some(slot) = self.memory_stopped.iter().copied().max_by_key(partial) else {
            return;
        };
        let with_machine = self.held.get().saturating_sub(unfinished as u64);
        if with_machine > self.limits.held_bytes_max / 2 || partial(&slot) == 0 {
            return;
        }
        self.memory_stopped.retain(|stopped| *stopped != slot);
        self.let_through = Some((slot, self.now_us));
        self.get(slot).stops.memory = false;
        self.update_receive(ring, slot);
    }

    fn close_idle(&mut self, ring: &mut Ring) -> Option<u64> {
        let idle_us = u64::try_from(self.limits.idle_ms)
            .ok()
            .filter(|ms| *ms > 0)?
            * 1000;
        while let Some(slot) = self.oldest {
            let due_us = self.get(slot).last_active_us + idle_us;
            if due_us > self.now_us {
                return Some(due_us);
            }
            self.metrics.closed_idle.add(1);
            self.die(ring, slot);
        }
        None
    }

    fn watch(&mut self, slot: u32) {
        self.watched.insert(slot);
    }

    fn cut_stalled(&mut self, ring: &mut Ring) -> Option<u64> {
        if self.watched.is_empty() {
            return None;
        }
        let stalled_us = self.limits.stalled_ms * 1000;
        if self.now_us >= self.next_watch_us {
            let now_us = self.now_us;
            self.next_watch_us = now_us + (stalled_us / 8).clamp(1_000, 1_000_000);
            let slots = &self.slots;
            let stalled: Vec<u32> = self
                .watched
                .iter()
                .copied()
                .filter(|slot| now_us >= slots[*slot as usize].progress_us + stalled_us)
                .collect();
            for slot in stalled {
                self.metrics.closed_stalled.add(1);
                self.die(ring, slot);
            }
        }
        Some(self.next_watch_us)
    }

    // The list ordered by last use.

    /// Moves a used connection to the young end; at most eight times within its idle time, so that busy ones cost nothing.
    fn touch(&mut self, slot: u32) {
        let granularity_us = (self.limits.idle_ms.max(0) as u64 * 1000 / 8).min(1_000_000);
        let now_us = self.now_us;
        if now_us >= self.get(slot).last_active_us + granularity_us {
            self.unlink(slot);
            self.get(slot).last_active_us = now_us;
            self.link_newest(slot);
        }
    }

    fn link_newest(&mut self, slot: u32) {
        let newest = self.newest.replace(slot);
        let connection = self.get(slot);
        connection.older = newest;
        connection.newer = None;
        match newest {
            Some(newest) => self.get(newest).newer = Some(slot),
            None => self.oldest = Some(slot),
        }
    }

    fn unlink(&mut self, slot: u32) {
        let connection = self.get(slot);
        let (older, newer) = (connection.older.take(), connection.newer.take());
        match older {
            Some(older) => self.get(older).newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.get(newer).older = older,
            None => self.newest = older,
        }
    }
}
