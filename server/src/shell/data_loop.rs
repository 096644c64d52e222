//! The data loop of one core: the turn that joins ring, mailboxes, background thread, clock and machine.
//!
//! A turn: disk completions, background results, mail, the tick when it is due, sockets for at most 500 µs, the machine's `end_turn`, then
//! everything that came of it goes out in one submission: sends, disk operations, mail with at most one doorbell per sleeping core. The loop
//! sleeps only in the ring's own wait, and only when a turn left nothing to do.
//!
//! Who waits for whom: when another core's mailbox is full, frames of this core's sockets are not taken until the mail has gone; when too many
//! bytes of requests are held, sockets are not read (`connections.rs`); jobs beyond the background thread's bound wait here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use odradek_wal::Io;
use tracing::{debug, error, info, warn};

use super::background::{BackgroundPort, Job, JobEnd};
use super::clock::Clock;
use super::connections::{Connections, SocketEvent};
use super::limits::ConnectionCounts;
use super::loop_disk::{Begun, DiskEnd, LoopDisk};
use super::loop_metrics::LoopMetrics;
use super::mailbox::{Letter, Order, Ports};
use super::ring::{Completion, DiskOutcome, Ring};
use crate::machine::{LogLevel, Machine, MachineAction, MachineEvent, Now};

/// Sockets get at most this long before disk and mail are looked at again.
const SOCKET_SLICE_US: u64 = 500;
/// Mail gets at most this long.
const MAIL_SLICE_US: u64 = 500;
/// Frames of one connection before the next has its turn.
const FRAMES_PER_TURN: usize = 32;
/// A turn longer than this counts as a stall.
const STALL_US: u64 = 10_000;
/// The longest sleep: the machine is promised a tick a second.
const SLEEP_US_MAX: u64 = 1_000_000;
/// How long accepting rests after an error such as too many open files.
const ACCEPT_REST_US: u64 = 100_000;
/// A core that exits sends what is queued for at most this long.
const LEAVE_US_MAX: u64 = 1_000_000;

/// What the loops of a node share.
pub(super) struct Shared {
    pub(super) counts: Arc<ConnectionCounts>,
    /// Cores whose machine exists; sockets are accepted once all do.
    pub(super) ready: AtomicUsize,
    pub(super) cores: usize,
}

/// How a loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopEnd {
    pub code: u8,
    pub reason: String,
}

/// Listening sockets of the core that accepts.
pub(super) struct Acceptor {
    pub(super) listeners: Vec<OwnedFd>,
    /// Listeners not armed, and when to try again.
    pub(super) resting: Vec<(u16, u64)>,
    pub(super) started: bool,
    pub(super) next_log_us: u64,
    pub(super) errors_unlogged: u64,
}

impl Acceptor {
    pub(super) fn new(listeners: Vec<OwnedFd>) -> Self {
        Self {
            listeners,
            resting: Vec::new(),
            started: false,
            next_log_us: 0,
            errors_unlogged: 0,
        }
    }

    /// Counts a refusal; every ten seconds, gives how many there were since it last did.
    fn times_to_log(&mut self, now_us: u64) -> Option<u64> {
        self.errors_unlogged += 1;
        if now_us < self.next_log_us {
            return None;
        }
        self.next_log_us = now_us + 10_000_000;
        Some(std::mem::take(&mut self.errors_unlogged))
    }
}

pub(super) struct DataLoop<M: Machine> {
    pub(super) core: u16,
    pub(super) machine: M,
    pub(super) ring: Ring,
    pub(super) clock: Clock,
    pub(super) connections: Connections,
    pub(super) disk: LoopDisk,
    pub(super) ports: Ports<M::Mail>,
    pub(super) background: BackgroundPort,
    pub(super) acceptor: Acceptor,
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: LoopMetrics,
    pub(super) work: Work<M::Mail>,
}

/// What a loop has in hand between the stages of a turn.
pub(super) struct Work<Mail> {
    now: Now,
    actions: Vec<MachineAction<Mail>>,
    sockets: VecDeque<Completion>,
    disk: VecDeque<(u64, DiskOutcome)>,
    disk_ends: VecDeque<DiskEnd>,
    /// Reads of disks are queued that the kernel does not have.
    reads_queued: bool,
    doorbells_failed: Vec<u16>,
    /// Mail taken while looking whether the loop may sleep.
    early: VecDeque<(u16, Letter<Mail>)>,
    mail_left: bool,
    last_tick_us: u64,
    housekeeping_due_us: Option<u64>,
    eventfd_ended: bool,
    /// Set by `Exit`: the end, and until when queued bytes may still leave.
    leaving: Option<(LoopEnd, u64)>,
    stopped: bool,
}

impl<Mail> Work<Mail> {
    pub(super) fn new(now: Now) -> Self {
        Self {
            now,
            actions: Vec::with_capacity(256),
            sockets: VecDeque::new(),
            disk: VecDeque::new(),
            disk_ends: VecDeque::new(),
            reads_queued: false,
            doorbells_failed: Vec::new(),
            early: VecDeque::new(),
            mail_left: false,
            last_tick_us: 0,
            housekeeping_due_us: None,
            eventfd_ended: false,
            leaving: None,
            stopped: false,
        }
    }
}

impl<M: Machine> DataLoop<M> {
    /// Runs until the machine exits or another core ends the process.
    pub(super) fn run(mut self) -> LoopEnd {
        self.ring
            .watch_eventfd(self.ports.doorbell.eventfd_descriptor());
        self.refresh_now();
        self.tick();
        loop {
            let begun_us = self.work.now.monotonic_us;
            self.turn();
            if let Some(end) = self.ended() {
                self.ports.doorbell.set_ring(-1);
                return end;
            }
            self.refresh_now();
            let turn_us = self.work.now.monotonic_us - begun_us;
            self.metrics.turns.add(1);
            self.metrics.turn_time.record_us(turn_us);
            if turn_us > STALL_US {
                self.metrics.stalls.add(1);
            }
            if let Err(error) = self.submit_and_sleep() {
                let reason = format!("the io_uring of core {} failed: {error}", self.core);
                return LoopEnd { code: 1, reason };
            }
            self.refresh_now();
            self.collect();
        }
    }

    fn refresh_now(&mut self) {
        self.work.now = self.clock.now();
        self.connections.set_now(self.work.now.monotonic_us);
    }

    fn turn(&mut self) {
        self.take_disk();
        self.hand_over_reads();
        self.take_background();
        self.take_orders();
        self.take_mail();
        self.tick_when_due();
        self.take_sockets();
        self.finish_turn();
    }

    fn step(&mut self, event: MachineEvent<M::Mail>) {
        if self.work.leaving.is_some() {
            return;
        }
        self.work.now = self.clock.refresh_monotonic(self.work.now);
        self.connections.set_now(self.work.now.monotonic_us);
        let mut actions = std::mem::take(&mut self.work.actions);
        self.machine.step(self.work.now, event, &mut actions);
        self.carry_out(actions);
    }

    fn carry_out(&mut self, mut actions: Vec<MachineAction<M::Mail>>) {
        for action in actions.drain(..) {
            self.act(action);
        }
        self.work.actions = actions;
    }

    fn act(&mut self, action: MachineAction<M::Mail>) {
        let ring = &mut self.ring;
        match action {
            MachineAction::Send {
                connection,
                segments,
            } => {
                self.connections.send(ring, connection, segments);
            }
            MachineAction::Close { connection } => self.connections.close(ring, connection),
            MachineAction::Abort { connection } => self.connections.abort(ring, connection),
            MachineAction::StopReading { connection } => {
                self.connections.stop_reading(ring, connection);
            }
            MachineAction::ResumeReading { connection } => {
                self.connections.resume_reading(ring, connection);
            }
            MachineAction::Disk { log, io } => {
                self.metrics.disk_operations.add(1);
                let now_us = self.work.now.monotonic_us;
                self.work.reads_queued |= matches!(io, Io::Read { .. });
                match self.disk.begin(ring, log, io, now_us) {
                    Begun::Ring => {}
                    Begun::Background(name, work) => self.background.give(Job::Disk { name, work }),
                    Begun::Ended(end) => self.work.disk_ends.push_back(end),
                }
            }
            MachineAction::Mail { to, mail } => {
                self.ports.out[usize::from(to)].push(Letter::Mail(mail));
            }
            MachineAction::Background { token, work } => {
                self.background.give(Job::Work { token, work });
            }
            MachineAction::Exit { code, reason } => self.leave(code, reason),
            MachineAction::Log { level, message } => log(level, &message),
        }
    }

    // The stages of a turn.

    fn take_disk(&mut self) {
        while let Some((tag, outcome)) = self.work.disk.pop_front() {
            let now_us = self.work.now.monotonic_us;
            if let Some(end) = self.disk.completed(&mut self.ring, tag, outcome, now_us) {
                self.tell_disk_end(end);
            }
        }
        while let Some(end) = self.work.disk_ends.pop_front() {
            self.tell_disk_end(end);
        }
    }

    /// A long send is copied while it is submitted, and the kernel keeps the reads of that submission back until then.
    fn hand_over_reads(&mut self) {
        if std::mem::take(&mut self.work.reads_queued) {
            self.ring.hand_over();
        }
    }

    fn tell_disk_end(&mut self, end: DiskEnd) {
        if let Some(took_us) = end.took_us {
            self.metrics.disk_time.record_us(took_us);
            if end.durable_write {
                self.metrics.durable_time[usize::from(end.name.log)].record_us(took_us);
            }
        }
        if matches!(end.result, odradek_wal::IoResult::Failed(_)) {
            self.metrics.disk_errors.add(1);
        }
        let (log, id) = (end.name.log, end.name.id);
        let result = end.result;
        self.step(MachineEvent::Disk { log, id, result });
    }

    fn take_background(&mut self) {
        while let Some(end) = self.background.take() {
            match end {
                JobEnd::Disk { name, result, made } => {
                    if let Some((file, descriptor)) = made {
                        self.disk.created(name.log, file, descriptor);
                    }
                    self.tell_disk_end(DiskEnd {
                        name,
                        result,
                        took_us: None,
                        durable_write: false,
                    });
                }
                JobEnd::Work { token, result } => {
                    self.step(MachineEvent::Background { token, result });
                }
            }
        }
    }

    fn take_orders(&mut self) {
        while let Ok(order) = self.ports.orders.try_recv() {
            match order {
                Order::ShutDown { immediately } => {
                    self.step(MachineEvent::ShutdownRequested { immediately });
                }
                Order::Stop => self.work.stopped = true,
            }
        }
    }

    fn take_mail(&mut self) {
        let until_us = self.work.now.monotonic_us + MAIL_SLICE_US;
        while let Some((from, letter)) = self.work.early.pop_front() {
            self.take_letter(from, letter);
        }
        self.work.mail_left = false;
        for from in 0..self.ports.incoming.len() {
            while let Ok(letter) = self.ports.incoming[from].try_recv() {
                self.take_letter(from as u16, letter);
                if self.work.now.monotonic_us > until_us {
                    // The rest, and the other cores, at the next turn; nobody starves, since sockets wait for mail and not the reverse.
                    self.work.mail_left = true;
                    break;
                }
            }
        }
    }

    fn take_letter(&mut self, from: u16, letter: Letter<M::Mail>) {
        self.metrics.letters.add(1);
        match letter {
            Letter::Mail(mail) => self.step(MachineEvent::Mail { from, mail }),
            Letter::Socket {
                socket,
                peer,
                listener,
            } => self.open(socket, peer, listener),
        }
    }

    fn open(&mut self, socket: OwnedFd, peer: SocketAddr, listener: u16) {
        if self.work.leaving.is_some() {
            self.shared.counts.leave(peer.ip(), self.core);
            return;
        }
        let connection = self.connections.open(&mut self.ring, socket, peer);
        self.step(MachineEvent::ConnectionOpened {
            connection,
            peer,
            listener,
        });
    }

    fn tick(&mut self) {
        self.work.last_tick_us = self.work.now.monotonic_us;
        self.step(MachineEvent::Tick);
    }

    fn tick_when_due(&mut self) {
        let now_us = self.work.now.monotonic_us;
        let asked = self.machine.next_deadline_us();
        let due_us = (self.work.last_tick_us + SLEEP_US_MAX).min(asked.unwrap_or(u64::MAX));
        if now_us >= due_us {
            self.tick();
        }
    }

    fn take_sockets(&mut self) {
        let until_us = self.work.now.monotonic_us + SOCKET_SLICE_US;
        while let Some(completion) = self.work.sockets.pop_front() {
            self.take_socket(completion);
            self.tell_socket_events();
            if self.connections.has_ready() && !self.mail_waits() {
                self.deliver_frames(until_us);
            }
            if self.work.now.monotonic_us > until_us {
                break;
            }
        }
        while self.connections.has_ready()
            && !self.mail_waits()
            && self.work.now.monotonic_us <= until_us
        {
            self.deliver_frames(until_us);
        }
    }

    fn take_socket(&mut self, completion: Completion) {
        let ring = &mut self.ring;
        match completion {
            Completion::Received {
                slot,
                buffer,
                length,
                armed,
            } => {
                self.connections.received(ring, slot, buffer, length, armed);
            }
            Completion::ReceiveEnded { slot, error } => {
                self.connections.receive_ended(ring, slot, error);
            }
            Completion::Sent {
                slot,
                result,
                segments,
                lent,
            } => {
                self.connections.sent(ring, slot, result, (segments, lent));
            }
            Completion::Released {
                owner,
                bytes,
                copied,
            } => self.connections.released(owner, bytes, copied),
            Completion::Accepted {
                listener,
                socket,
                armed,
            } => {
                self.accepted(listener, socket);
                if !armed {
                    self.rest_accept(listener, 0);
                }
            }
            Completion::AcceptEnded { listener, error } => self.accept_failed(listener, error),
            // The rest was sorted out by `collect`.
            _ => {}
        }
    }

    /// Gives the machine frames of the first ready connection.
    fn deliver_frames(&mut self, until_us: u64) {
        let Some(slot) = self.connections.next_ready() else {
            return;
        };
        for _ in 0..FRAMES_PER_TURN {
            let Some((connection, frame)) = self.connections.take_frame(slot) else {
                break;
            };
            self.step(MachineEvent::Frame { connection, frame });
            if self.work.now.monotonic_us > until_us {
                break;
            }
        }
        self.connections.after_frames(&mut self.ring, slot);
        self.tell_socket_events();
    }

    fn tell_socket_events(&mut self) {
        while let Some(event) = self.connections.events.pop_front() {
            self.step(match event {
                SocketEvent::Closed(connection) => MachineEvent::ConnectionClosed { connection },
                SocketEvent::Drained(connection) => MachineEvent::SendQueueDrained { connection },
            });
        }
    }

    fn mail_waits(&self) -> bool {
        self.ports
            .out
            .iter()
            .any(|outbox| outbox.waiting() > OUTBOX_LETTERS_MAX)
    }

    fn finish_turn(&mut self) {
        if self.work.leaving.is_none() {
            let mut actions = std::mem::take(&mut self.work.actions);
            self.machine.end_turn(self.work.now, &mut actions);
            self.carry_out(actions);
        }
        self.accept_when_ready();
        self.work.housekeeping_due_us = self.connections.housekeeping(&mut self.ring);
        self.tell_socket_events();
        self.hand_over_reads();
        self.connections.flush_sends(&mut self.ring);
        self.flush_mail();
        self.background.flush();
        self.metrics
            .background_waiting
            .set(self.background.waiting() as i64);
        self.metrics
            .held_bytes
            .set(self.connections.held_bytes() as i64);
        self.metrics
            .send_queue_bytes
            .set(self.connections.queued_bytes() as i64);
        self.metrics.ring(self.ring.counts());
        if std::mem::take(&mut self.work.eventfd_ended) {
            self.ring
                .watch_eventfd(self.ports.doorbell.eventfd_descriptor());
        }
    }

    fn flush_mail(&mut self) {
        let by_message = self.ring.features().message_ring;
        for core in std::mem::take(&mut self.work.doorbells_failed) {
            self.ports.out[usize::from(core)].doorbell.ring_eventfd();
        }
        let mut waiting = 0;
        for (core, outbox) in self.ports.out.iter_mut().enumerate() {
            if outbox.flush() {
                self.metrics.doorbells.add(1);
                match outbox.doorbell.ring().filter(|_| by_message) {
                    Some(descriptor) => self.ring.doorbell(descriptor, core as u16),
                    None => outbox.doorbell.ring_eventfd(),
                }
            }
            waiting += outbox.waiting();
        }
        self.metrics.mail_waiting.set(waiting as i64);
    }

    // Accepting.

    fn accept_when_ready(&mut self) {
        if self.acceptor.listeners.is_empty() || self.work.leaving.is_some() {
            return;
        }
        if !self.acceptor.started {
            if self.shared.ready.load(Ordering::Acquire) < self.shared.cores {
                return;
            }
            self.acceptor.started = true;
            for (index, listener) in self.acceptor.listeners.iter().enumerate() {
                self.ring.accept(listener.as_raw_fd(), index as u16);
            }
        }
        let now_us = self.work.now.monotonic_us;
        for (listener, at_us) in std::mem::take(&mut self.acceptor.resting) {
            if at_us <= now_us {
                let descriptor = self.acceptor.listeners[usize::from(listener)].as_raw_fd();
                self.ring.accept(descriptor, listener);
            } else {
                self.acceptor.resting.push((listener, at_us));
            }
        }
    }

    fn accepted(&mut self, listener: u16, socket: OwnedFd) {
        // A peer that is gone already has no address.
        let peer = rustix::net::getpeername(&socket)
            .ok()
            .flatten()
            .and_then(|address| SocketAddr::try_from(address).ok());
        let Some(peer) = peer else { return };
        let limits = &self.connections.limits;
        // Descriptors are numbered from the lowest free one, so a high number tells that few are left.
        if socket.as_raw_fd() >= limits.descriptors_max {
            self.connections.metrics.refused.add(1);
            self.descriptors_short();
            return;
        }
        let Some(core) = self.shared.counts.admit(peer.ip(), limits) else {
            self.connections.metrics.refused.add(1);
            debug!(%peer, "connection refused: a limit on connections is reached");
            return;
        };
        if core == self.core {
            self.open(socket, peer, listener);
        } else {
            let letter = Letter::Socket {
                socket,
                peer,
                listener,
            };
            self.ports.out[usize::from(core)].push(letter);
        }
    }

    fn rest_accept(&mut self, listener: u16, rest_us: u64) {
        let at_us = self.work.now.monotonic_us + rest_us;
        self.acceptor.resting.push((listener, at_us));
    }

    fn accept_failed(&mut self, listener: u16, code: i32) {
        if self.work.leaving.is_some() {
            return;
        }
        let passing = matches!(
            code,
            libc::ECONNABORTED | libc::EINTR | libc::EAGAIN | libc::EPROTO
        );
        self.rest_accept(listener, if passing { 0 } else { ACCEPT_REST_US });
        if passing {
            return;
        }
        self.connections.metrics.accept_errors.add(1);
        if let Some(times) = self.acceptor.times_to_log(self.work.now.monotonic_us) {
            let reason = std::io::Error::from_raw_os_error(code);
            error!(
                "cannot accept connections: {reason} ({times} times since the last such line); connected clients are served on, accepting is tried again"
            );
        }
    }

    fn descriptors_short(&mut self) {
        if let Some(times) = self.acceptor.times_to_log(self.work.now.monotonic_us) {
            error!(
                "connections refused: the descriptors left are kept for data files ({times} times since the last such line); connected clients are served on; raise the limit on open files (ulimit -n)"
            );
        }
    }

    // The end.

    fn leave(&mut self, code: u8, reason: String) {
        if self.work.leaving.is_some() {
            return;
        }
        let until_us = self.work.now.monotonic_us + LEAVE_US_MAX;
        self.work.leaving = Some((LoopEnd { code, reason }, until_us));
        for index in 0..self.acceptor.listeners.len() {
            self.ring.cancel_accept(index as u16);
        }
        self.acceptor.listeners.clear();
        self.background.stop();
        self.connections.close_all(&mut self.ring);
    }

    fn ended(&mut self) -> Option<LoopEnd> {
        if self.work.stopped {
            let reason = "another core ended the process".to_owned();
            return Some(LoopEnd { code: 1, reason });
        }
        let (end, until_us) = self.work.leaving.as_ref()?;
        let mail_waits = self.ports.out.iter().any(|outbox| outbox.waiting() > 0);
        let busy = self.connections.queued_bytes() > 0
            || self.disk.in_flight() > 0
            || self.background.files_in_hand() > 0
            || mail_waits;
        if end.code != 0 || !busy || self.work.now.monotonic_us >= *until_us {
            return Some(end.clone());
        }
        None
    }

    // Sleeping.

    fn submit_and_sleep(&mut self) -> std::io::Result<()> {
        let mut sleep = self.sleep_time();
        if !sleep.is_zero() {
            self.ports.doorbell.park();
            if self.something_came() {
                sleep = Duration::ZERO;
            } else {
                self.metrics.parks.add(1);
            }
        }
        let now_us = self.work.now.monotonic_us;
        let company_us = self
            .machine
            .company_until_us()
            .filter(|until_us| *until_us > now_us)
            .map(|until_us| (until_us - now_us) as u32);
        let timed_out = self.ring.submit(sleep, company_us)?;
        if sleep.is_zero() && self.disk.in_flight() > 0 {
            // The threads of the kernel that end durable writes may wait for this processor, on some machines until the next tick of its clock.
            std::thread::yield_now();
        }
        // After a short sleep the sender may just be about to ring; after a long one it had all the time.
        let long = sleep >= Duration::from_millis(500);
        if timed_out && long && self.something_came() && self.ports.doorbell.unpark() {
            self.metrics.wake_ups_lost.add(1);
        }
        self.ports.doorbell.unpark();
        Ok(())
    }

    /// How long nothing will have to be done, as far as this core knows.
    fn sleep_time(&self) -> Duration {
        let work = &self.work;
        let busy = work.mail_left
            || !work.sockets.is_empty()
            || !work.disk_ends.is_empty()
            || !work.early.is_empty()
            || (self.connections.has_ready() && !self.mail_waits());
        if busy {
            return Duration::ZERO;
        }
        let now_us = work.now.monotonic_us;
        let mut until_us = work.last_tick_us + SLEEP_US_MAX;
        let deadlines = [
            self.machine
                .next_deadline_us()
                .filter(|_| work.leaving.is_none()),
            work.housekeeping_due_us,
            self.acceptor.resting.iter().map(|(_, at_us)| *at_us).min(),
            // A full mailbox has no bell: look again soon.
            self.ports
                .out
                .iter()
                .any(|outbox| outbox.waiting() > 0)
                .then_some(now_us + 100),
            work.leaving.as_ref().map(|(_, until_us)| *until_us),
        ];
        for deadline in deadlines.into_iter().flatten() {
            until_us = until_us.min(deadline);
        }
        Duration::from_micros(until_us.saturating_sub(now_us))
    }

    /// The last look before sleeping, after having said so.
    fn something_came(&mut self) -> bool {
        for from in 0..self.ports.incoming.len() {
            if let Ok(letter) = self.ports.incoming[from].try_recv() {
                self.work.early.push_back((from as u16, letter));
                return true;
            }
        }
        if let Ok(order) = self.ports.orders.try_recv() {
            // Taken out of its queue, so act on it here.
            match order {
                Order::ShutDown { immediately } => {
                    self.step(MachineEvent::ShutdownRequested { immediately });
                }
                Order::Stop => self.work.stopped = true,
            }
            return true;
        }
        self.background.has_ended() || self.start_accepting()
    }

    fn start_accepting(&self) -> bool {
        !self.acceptor.started
            && !self.acceptor.listeners.is_empty()
            && self.shared.ready.load(Ordering::Acquire) >= self.shared.cores
    }

    /// Sorts completions into what the stages take.
    fn collect(&mut self) {
        let work = &mut self.work;
        let mut rung = false;
        self.ring.drain(|completion| match completion {
            Completion::Disk { tag, outcome } => work.disk.push_back((tag, outcome)),
            // The mail is seen in the next turn.
            Completion::Woken => {}
            Completion::EventFdRang => rung = true,
            Completion::EventFdEnded => {
                rung = true;
                work.eventfd_ended = true;
            }
            Completion::DoorbellFailed { core } => work.doorbells_failed.push(core),
            socket => work.sockets.push_back(socket),
        });
        if rung {
            self.ports.doorbell.clear_eventfd();
        }
    }
}

/// Letters that may wait for a place in another core's mailbox before this core's sockets wait too.
const OUTBOX_LETTERS_MAX: usize = 1024;

fn log(level: LogLevel, message: &str) {
    match level {
        LogLevel::Error => error!("{message}"),
        LogLevel::Warn => warn!("{message}"),
        LogLevel::Info => info!("{message}"),
        LogLevel::Debug => debug!("{message}"),
    }
}
