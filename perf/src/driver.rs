//! The loop that carries the produce load: one thread, many connections. In a closed loop each has its requests in hand, in an
//! open one they come due by `schedule`. `connection` is one of them; `load` starts the loops, tells them what time it is in
//! the run, and gathers what they counted.

use crate::PerfError;
use crate::client::Client;
use crate::connection::{Answered, Connection, Producer};
use crate::frames::{Answer, PartitionRing, Template};
use crate::schedule::Schedule;
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The longest wait for an event: how late a loop may learn of a new phase.
const WAIT_NS_MAX: u64 = 100_000_000;

/// Where in the run we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Load, not counted.
    WarmUp = 0,
    /// Load, counted.
    Measuring = 1,
    /// No new requests; the answers still due are waited for.
    Draining = 2,
}

/// What the loops and the thread that watches them share.
#[derive(Debug)]
pub struct Shared {
    phase: AtomicU8,
    /// Where the run's clock begins.
    pub began: Instant,
    /// When the measuring began, nanoseconds of that clock; `u64::MAX` before.
    pub measuring_since_ns: AtomicU64,
    /// When it ended; `u64::MAX` before.
    pub draining_since_ns: AtomicU64,
    /// Requests that were stored, from the start on.
    pub stored: AtomicU64,
    /// Requests that were refused, from the start on.
    pub refused: AtomicU64,
    /// A loop ended with an error: nothing is left to wait for.
    pub failed: AtomicBool,
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            phase: AtomicU8::new(Phase::WarmUp as u8),
            began: Instant::now(),
            measuring_since_ns: AtomicU64::new(u64::MAX),
            draining_since_ns: AtomicU64::new(u64::MAX),
            stored: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        }
    }
}

impl Shared {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::WarmUp,
            1 => Phase::Measuring,
            _ => Phase::Draining,
        }
    }

    /// Moves to a phase.
    pub fn enter(&self, phase: Phase) {
        let began = match phase {
            Phase::WarmUp => None,
            Phase::Measuring => Some(&self.measuring_since_ns),
            Phase::Draining => Some(&self.draining_since_ns),
        };
        if let Some(began) = began {
            let first = self.now_ns().min(began.load(Ordering::Acquire));
            began.store(first, Ordering::Release);
        }
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Nanoseconds of the run's clock.
    pub fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }
}

/// A histogram of nanoseconds, from a microsecond to ten minutes, to three digits.
pub fn latency_histogram() -> Histogram<u64> {
    let histogram = Histogram::new_with_bounds(1_000, 600_000_000_000, 3);
    histogram.expect("the bounds are constants in the right order")
}

/// What one loop counted.
#[derive(Debug)]
pub struct Tally {
    /// Requests of which every batch was stored while measuring.
    pub requests: u64,
    /// Bytes of the batches stored while measuring.
    pub bytes: u64,
    /// From when a request was due up to its answer, nanoseconds, of those; and of those still in hand when the measuring ended.
    pub latency_ns: Histogram<u64>,
    /// Refused batches by Kafka's code, since the warm-up.
    pub errors: BTreeMap<i16, u64>,
    /// Refused batches by Kafka's code, during the warm-up: a broker that has just made a topic may refuse its first ones.
    pub warm_up_errors: BTreeMap<i16, u64>,
    /// Batches stored from the start on.
    pub stored_batches: u64,
    /// The most requests that were due and not taken up at one time (open loop), over all loops.
    pub backlog_seen_max: u64,
    /// Requests given up because they were too late (open loop).
    pub overflowed: u64,
    /// Requests that were due and not taken up when the measuring ended (open loop).
    pub unsent: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            requests: 0,
            bytes: 0,
            latency_ns: latency_histogram(),
            errors: BTreeMap::new(),
            warm_up_errors: BTreeMap::new(),
            stored_batches: 0,
            backlog_seen_max: 0,
            overflowed: 0,
            unsent: 0,
        }
    }
}

impl Tally {
    /// Adds what another loop counted.
    pub fn add(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.stored_batches += other.stored_batches;
        self.backlog_seen_max += other.backlog_seen_max;
        self.overflowed += other.overflowed;
        self.unsent += other.unsent;
        let added = self.latency_ns.add(&other.latency_ns);
        added.expect("histograms of the same bounds");
        for (sums, counts) in [
            (&mut self.errors, &other.errors),
            (&mut self.warm_up_errors, &other.warm_up_errors),
        ] {
            for (code, count) in counts {
                *sums.entry(*code).or_default() += count;
            }
        }
    }

    /// True when the request was stored whole. Its time counts when it was due after `counted_from_ns`.
    fn note(
        &mut self,
        answered: &Answered,
        batches: u64,
        phase: Phase,
        now_ns: u64,
        counted_from_ns: u64,
    ) -> bool {
        let refused = match &answered.answer {
            Answer::Stored { .. } => 0,
            Answer::Refused(refused) => {
                let errors = match phase {
                    Phase::WarmUp => &mut self.warm_up_errors,
                    Phase::Measuring | Phase::Draining => &mut self.errors,
                };
                for (_, code) in refused {
                    *errors.entry(*code).or_default() += 1;
                }
                refused.len() as u64
            }
        };
        self.stored_batches += batches - refused;
        if phase == Phase::Measuring {
            self.requests += u64::from(refused == 0);
            self.bytes += answered.batch_bytes * (batches - refused) / batches;
        }
        if refused == 0 && phase != Phase::WarmUp && answered.since_ns >= counted_from_ns {
            let waited = now_ns.saturating_sub(answered.since_ns);
            self.latency_ns.saturating_record(waited);
        }
        refused == 0
    }
}

/// A connection as the loop gets it.
#[derive(Debug)]
pub struct Start {
    /// Connected.
    pub stream: TcpStream,
    /// The partitions that it writes to.
    pub ring: PartitionRing,
    /// The place in the ring that it begins with.
    pub place: u32,
    /// Its producer, when it is idempotent.
    pub producer: Option<Producer>,
}

/// Requests at a given rate.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Requests each second, of this loop.
    pub requests_per_second: f64,
    /// Requests that may be late at one time; older ones are given up.
    pub backlog_max: u64,
}

/// What a loop is to do.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// How requests look.
    pub template: &'a Template,
    /// Requests in hand on each connection.
    pub in_flight: usize,
    /// How long a connection may go without an answer.
    pub silence_max: Duration,
    /// Open loop; otherwise the next request is due when an answer came.
    pub pace: Option<Pace>,
    /// HOST:PORT, for a producer's new id after a refusal.
    pub leader: &'a str,
}

/// Runs the load over the connections until the phase is [`Phase::Draining`] and every answer is there.
///
/// # Errors
/// When a connection breaks, an answer is none, or none comes for `silence_max`.
pub fn run(starts: Vec<Start>, work: Work<'_>, shared: &Shared) -> Result<Tally, PerfError> {
    let result = Loop::new(starts, work, shared).and_then(Loop::run);
    if result.is_err() {
        shared.failed.store(true, Ordering::Release);
    }
    result
}

struct Loop<'a> {
    work: Work<'a>,
    shared: &'a Shared,
    connections: Vec<Connection>,
    schedule: Option<Schedule>,
    /// The connection that the next due request goes to, when it has room.
    next: usize,
    tally: Tally,
    epoll: OwnedFd,
}

impl<'a> Loop<'a> {
    fn new(starts: Vec<Start>, work: Work<'a>, shared: &'a Shared) -> Result<Self, PerfError> {
        let broken = |error| PerfError::network("preparing the connections", error);
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| broken(error.into()))?;
        let mut connections = Vec::with_capacity(starts.len());
        for (index, start) in starts.into_iter().enumerate() {
            start.stream.set_nonblocking(true).map_err(broken)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &start.stream, data, epoll::EventFlags::IN)
                .map_err(|error| broken(error.into()))?;
            connections.push(Connection::new(
                start.stream,
                start.ring,
                start.place,
                start.producer,
            ));
        }
        let now_ns = shared.now_ns();
        let schedule = work
            .pace
            .map(|pace| Schedule::new(now_ns, pace.requests_per_second, pace.backlog_max));
        Ok(Loop {
            work,
            shared,
            connections,
            schedule,
            next: 0,
            tally: Tally::default(),
            epoll,
        })
    }

    fn run(mut self) -> Result<Tally, PerfError> {
        let mut events = Vec::with_capacity(self.connections.len().max(1));
        self.turn_all(self.shared.phase(), self.shared.now_ns())?;
        loop {
            let phase = self.shared.phase();
            let done = self.connections.iter().all(|it| it.in_hand() == 0);
            if phase == Phase::Draining && done {
                return Ok(self.finish());
            }
            events.clear();
            let wait = self.wait(phase);
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&wait),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(PerfError::network("waiting", error.into())),
            }
            let phase = self.shared.phase();
            let now_ns = self.shared.now_ns();
            for event in &events {
                let index = { event.data }.u64() as usize;
                let readable = { event.flags } != epoll::EventFlags::OUT;
                self.serve(index, readable, phase, now_ns)?;
            }
            if self.schedule.is_some() {
                self.turn_all(phase, now_ns)?;
            }
            if events.len() < self.connections.len() {
                self.refuse_silence(now_ns)?;
            }
        }
    }

    /// How long nothing but an event is to be done.
    fn wait(&self, phase: Phase) -> Timespec {
        let in_flight = self.work.in_flight;
        let idle_ns = match &self.schedule {
            Some(schedule)
                if phase != Phase::Draining
                    && self.connections.iter().any(|it| it.has_room(in_flight)) =>
            {
                schedule.next_ns().saturating_sub(self.shared.now_ns())
            }
            _ => WAIT_NS_MAX,
        };
        Timespec {
            tv_sec: 0,
            tv_nsec: idle_ns.min(WAIT_NS_MAX) as _,
        }
    }

    fn serve(
        &mut self,
        index: usize,
        readable: bool,
        phase: Phase,
        now_ns: u64,
    ) -> Result<(), PerfError> {
        if readable {
            let shared = self.shared;
            let template = self.work.template;
            let mut note = Noting::new(&mut self.tally, shared, &self.work, phase, now_ns);
            let connection = &mut self.connections[index];
            connection.receive(template, now_ns, |answered| note.take(&answered))?;
            note.publish();
        }
        // With a schedule, all connections are looked at together once the answers are in.
        match self.schedule.is_some() {
            true => Ok(()),
            false => self.turn(index, phase, now_ns),
        }
    }

    fn turn_all(&mut self, phase: Phase, now_ns: u64) -> Result<(), PerfError> {
        if phase != Phase::Draining {
            self.take_up_due(now_ns);
        }
        for index in 0..self.connections.len() {
            self.turn(index, phase, now_ns)?;
        }
        Ok(())
    }

    /// Gives what is due to the connections in turn, as far as they have room.
    fn take_up_due(&mut self, now_ns: u64) {
        let Some(schedule) = &mut self.schedule else {
            return;
        };
        let count = self.connections.len();
        while schedule.next_ns() <= now_ns {
            let free = (0..count)
                .map(|step| (self.next + step) % count)
                .find(|&index| self.connections[index].has_room(self.work.in_flight));
            let Some(index) = free else { break };
            let Some(due_ns) = schedule.take(now_ns) else {
                break;
            };
            self.connections[index].take_up(self.work.template, due_ns, now_ns);
            self.next = (index + 1) % count;
        }
        schedule.bound(now_ns, |_| {});
    }

    /// Fills a connection up and sends; waits for room only while the socket has none.
    fn turn(&mut self, index: usize, phase: Phase, now_ns: u64) -> Result<(), PerfError> {
        let template = self.work.template;
        let answered = template.shape().acks != 0;
        self.mend_producer(index)?;
        let connection = &mut self.connections[index];
        let closed_loop = self.schedule.is_none() && phase != Phase::Draining;
        while closed_loop && connection.has_room(self.work.in_flight) {
            connection.take_up(template, now_ns, now_ns);
        }
        let sent = connection.is_sent() || connection.send(template)?;
        let mut waits = !sent;
        if !answered {
            let mut note = Noting::new(
                &mut self.tally,
                self.shared,
                &self.work,
                phase,
                self.shared.now_ns(),
            );
            connection.take_sent(now_ns, |answered| note.take(&answered));
            note.publish();
            // No answer will wake the loop for the next requests: room to send does.
            waits |= closed_loop;
        }
        if waits != connection.waits_for_room {
            connection.waits_for_room = waits;
            let mut interest = epoll::EventFlags::IN;
            interest.set(epoll::EventFlags::OUT, waits);
            let data = epoll::EventData::new_u64(index as u64);
            epoll::modify(&self.epoll, &connection.stream, data, interest)
                .map_err(|error| PerfError::network("waiting for room to send", error.into()))?;
        }
        Ok(())
    }

    /// After a refused batch the later sequences do not follow: once all answers are in, the connection goes on under a new id.
    fn mend_producer(&mut self, index: usize) -> Result<(), PerfError> {
        let connection = &mut self.connections[index];
        if connection.producer_is_broken && connection.in_hand() == 0 {
            let (id, epoch) = Client::connect(self.work.leader)?.init_producer_id()?;
            connection.renew_producer(id, epoch);
        }
        Ok(())
    }

    fn refuse_silence(&self, now_ns: u64) -> Result<(), PerfError> {
        let longest = self.work.silence_max.as_nanos() as u64;
        for (index, connection) in self.connections.iter().enumerate() {
            let Some((partition, correlation_id)) = connection.oldest() else {
                continue;
            };
            if now_ns.saturating_sub(connection.progress_ns) > longest {
                return Err(PerfError::Unanswered(format!(
                    "no answer for {} s on connection {index} (local {}): {} requests in hand, the oldest to partition \
                     {partition} with correlation id {correlation_id}",
                    self.work.silence_max.as_secs(),
                    connection
                        .stream
                        .local_addr()
                        .map_or_else(|_| "?".into(), |address| address.to_string()),
                    connection.in_hand(),
                )));
            }
        }
        Ok(())
    }

    /// What is still late at the end waited at least until now: left out, it would make a slow server look fast.
    fn finish(mut self) -> Tally {
        let Some(mut schedule) = self.schedule else {
            return self.tally;
        };
        self.tally.backlog_seen_max = schedule.backlog_seen_max;
        self.tally.overflowed = schedule.overflowed;
        let now_ns = self.shared.now_ns();
        let end_ns = self.shared.draining_since_ns.load(Ordering::Acquire);
        while let Some(due_ns) = schedule.take(end_ns) {
            self.tally.unsent += 1;
            let waited = now_ns.saturating_sub(due_ns);
            self.tally.latency_ns.saturating_record(waited);
        }
        self.tally
    }
}

/// Counts the answers of one turn.
struct Noting<'a> {
    tally: &'a mut Tally,
    shared: &'a Shared,
    phase: Phase,
    now_ns: u64,
    counted_from_ns: u64,
    batches: u64,
    stored: u64,
    refused: u64,
}

impl<'a> Noting<'a> {
    fn new(
        tally: &'a mut Tally,
        shared: &'a Shared,
        work: &Work<'_>,
        phase: Phase,
        now_ns: u64,
    ) -> Self {
        // In an open loop a request of the warm-up stays one, however late its answer.
        let counted_from_ns = match work.pace {
            Some(_) => shared.measuring_since_ns.load(Ordering::Acquire),
            None => 0,
        };
        Noting {
            tally,
            shared,
            phase,
            now_ns,
            counted_from_ns,
            batches: work.template.shape().partitions_per_request.into(),
            stored: 0,
            refused: 0,
        }
    }

    fn take(&mut self, answered: &Answered) {
        let from_ns = self.counted_from_ns;
        match self
            .tally
            .note(answered, self.batches, self.phase, self.now_ns, from_ns)
        {
            true => self.stored += 1,
            false => self.refused += 1,
        }
    }

    fn publish(self) {
        self.shared.stored.fetch_add(self.stored, Ordering::Relaxed);
        self.shared
            .refused
            .fetch_add(self.refused, Ordering::Relaxed);
    }
}
