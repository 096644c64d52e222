//! The loop that carries the produce load: one thread, many connections, each with its requests in hand (closed loop).
//! `connection` is one of them; `load` starts the loops, tells them what time it is in the run, and gathers what they counted.

use crate::PerfError;
use crate::connection::{Answered, Connection};
use crate::frames::{Answer, Frame};
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

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
#[derive(Debug, Default)]
pub struct Shared {
    phase: AtomicU8,
    /// Requests that were stored, from the start on.
    pub stored: AtomicU64,
    /// Requests that were refused, from the start on.
    pub refused: AtomicU64,
    /// A loop ended with an error: nothing is left to wait for.
    pub failed: AtomicBool,
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
        self.phase.store(phase as u8, Ordering::Release);
    }
}

/// What one loop counted.
#[derive(Debug)]
pub struct Tally {
    /// Requests stored while measuring.
    pub requests: u64,
    /// From taking a request up to its answer, nanoseconds, of those.
    pub latency_ns: Histogram<u64>,
    /// Refusals by Kafka's code, since the warm-up.
    pub errors: BTreeMap<i16, u64>,
    /// Refusals by Kafka's code, during the warm-up: a broker that has just made a topic may refuse its first batches.
    pub warm_up_errors: BTreeMap<i16, u64>,
    /// Requests stored from the start on, by partition.
    pub stored: Vec<u64>,
}

impl Tally {
    /// Of nothing yet, for so many partitions.
    pub fn new(partitions: usize) -> Self {
        let histogram = Histogram::new_with_bounds(1_000, 600_000_000_000, 3);
        Tally {
            requests: 0,
            latency_ns: histogram.expect("the bounds are constants in the right order"),
            errors: BTreeMap::new(),
            warm_up_errors: BTreeMap::new(),
            stored: vec![0; partitions],
        }
    }

    /// Adds what another loop counted.
    pub fn add(&mut self, other: &Tally) {
        self.requests += other.requests;
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
        for (sum, count) in self.stored.iter_mut().zip(&other.stored) {
            *sum += count;
        }
    }

    fn note(&mut self, answered: Answered, phase: Phase, now_ns: u64) -> bool {
        match answered.answer {
            Answer::Stored { .. } => {
                self.stored[answered.frame] += 1;
                if phase == Phase::Measuring {
                    self.requests += 1;
                    let waited = now_ns.saturating_sub(answered.since_ns);
                    self.latency_ns.saturating_record(waited);
                }
                true
            }
            Answer::Refused(code) => {
                let errors = match phase {
                    Phase::WarmUp => &mut self.warm_up_errors,
                    Phase::Measuring | Phase::Draining => &mut self.errors,
                };
                *errors.entry(code).or_default() += 1;
                false
            }
        }
    }
}

/// What a loop is to do.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// One request for each partition.
    pub frames: &'a [Frame],
    /// Requests in hand on each connection.
    pub in_flight: usize,
    /// How long a connection may go without an answer.
    pub silence_max: Duration,
}

/// Runs the load over `streams` (each with the frame that it begins with) until the phase is [`Phase::Draining`] and every
/// answer is there.
///
/// # Errors
/// When a connection breaks, an answer is none, or none comes for `silence_max`.
pub fn run(
    streams: Vec<(TcpStream, usize)>,
    work: Work<'_>,
    shared: &Shared,
) -> Result<Tally, PerfError> {
    let mut tally = Tally::new(work.frames.len());
    let result = Loop::new(streams, work).and_then(|mut it| it.run(shared, &mut tally));
    match result {
        Ok(()) => Ok(tally),
        Err(error) => {
            shared.failed.store(true, Ordering::Release);
            Err(error)
        }
    }
}

struct Loop<'a> {
    work: Work<'a>,
    connections: Vec<Connection>,
    epoll: OwnedFd,
    began: Instant,
}

impl<'a> Loop<'a> {
    fn new(streams: Vec<(TcpStream, usize)>, work: Work<'a>) -> Result<Self, PerfError> {
        let broken = |error| PerfError::network("preparing the connections", error);
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| broken(error.into()))?;
        let mut connections = Vec::with_capacity(streams.len());
        for (index, (stream, first_frame)) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true).map_err(broken)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)
                .map_err(|error| broken(error.into()))?;
            connections.push(Connection::new(stream, first_frame, 0));
        }
        Ok(Loop {
            work,
            connections,
            epoll,
            began: Instant::now(),
        })
    }

    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn run(&mut self, shared: &Shared, tally: &mut Tally) -> Result<(), PerfError> {
        for index in 0..self.connections.len() {
            self.turn(index, shared.phase(), self.now_ns())?;
        }
        let mut events = Vec::with_capacity(self.connections.len().max(1));
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        loop {
            let phase = shared.phase();
            let done = self.connections.iter().all(|it| it.in_hand() == 0);
            if phase == Phase::Draining && done {
                return Ok(());
            }
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&pause),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(PerfError::network("waiting", error.into())),
            }
            let now_ns = self.now_ns();
            for event in &events {
                let index = { event.data }.u64() as usize;
                self.serve(index, shared, tally, now_ns)?;
            }
            if events.len() < self.connections.len() {
                self.refuse_silence(now_ns)?;
            }
        }
    }

    fn serve(
        &mut self,
        index: usize,
        shared: &Shared,
        tally: &mut Tally,
        now_ns: u64,
    ) -> Result<(), PerfError> {
        let phase = shared.phase();
        let (mut stored, mut refused) = (0, 0);
        self.connections[index].receive(self.work.frames, now_ns, |answered| {
            match tally.note(answered, phase, now_ns) {
                true => stored += 1,
                false => refused += 1,
            }
        })?;
        shared.stored.fetch_add(stored, Ordering::Relaxed);
        shared.refused.fetch_add(refused, Ordering::Relaxed);
        self.turn(index, phase, now_ns)
    }

    /// Fills a connection up and sends; waits for room only while the socket has none.
    fn turn(&mut self, index: usize, phase: Phase, now_ns: u64) -> Result<(), PerfError> {
        let connection = &mut self.connections[index];
        if phase != Phase::Draining {
            connection.fill(self.work.frames, self.work.in_flight, now_ns);
        }
        let waits = !connection.send(self.work.frames)?;
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

    fn refuse_silence(&self, now_ns: u64) -> Result<(), PerfError> {
        let longest = self.work.silence_max.as_nanos() as u64;
        for (index, connection) in self.connections.iter().enumerate() {
            let Some((frame, correlation_id)) = connection.oldest() else {
                continue;
            };
            if now_ns.saturating_sub(connection.progress_ns) > longest {
                return Err(PerfError::Unanswered(format!(
                    "no answer for {} s on connection {index} (local {}): {} requests in hand, the oldest to partition \
                     {frame} with correlation id {correlation_id}",
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
}
