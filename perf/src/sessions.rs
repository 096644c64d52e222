//! The command `sessions`: many consumers with fetch sessions over many mostly idle partitions, and what their waiting costs the
//! server. A trickle of batches shows that they still wake. `fetching` is one consumer.

use crate::PerfError;
use crate::arrivals::LATEST;
use crate::batch;
use crate::client::{Client, Topic, refuse};
use crate::driver::latency_histogram;
use crate::fetching::{FetchLimits, Fetcher};
use crate::frames::PartitionRing;
use crate::load::{parse_label, parse_seconds, wall_ms};
use crate::process::{self, Usage};
use crate::report::{Latency, ServerCost, interrupted, ratio};
use hdrhistogram::Histogram;
use odradek_protocol::ApiKey;
use odradek_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use odradek_protocol::messages::{ProduceRequest, ProduceResponse};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Memory of a consumer's thread; 200 of the usual 2 MiB would be much address space for little.
const STACK_BYTES: usize = 256 << 10;

/// How long the consumers may take to begin their sessions.
const BEGIN_SECONDS_MAX: u64 = 60;

/// What to do.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct SessionsOptions {
    /// A server of the cluster.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// The topic; made, with --partitions, when it is not there.
    #[arg(long, default_value = "odradek-perf-sessions")]
    pub topic: String,
    /// Partitions of the topic.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(i32).range(1..=2_000_000))]
    pub partitions: i32,
    /// Consumers, each a connection with a fetch session.
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub consumers: u32,
    /// Partitions in each consumer's session; without it they are shared out, each to one consumer.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    pub partitions_each: Option<u32>,
    /// How long the server may wait before it answers with nothing.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500, value_parser = clap::value_parser!(i32).range(0..=60_000))]
    pub max_wait_ms: i32,
    /// Batches of 1 KiB written each second, partition after partition, far from each other.
    #[arg(long, value_name = "BATCHES_PER_SECOND", default_value_t = 10.0, value_parser = parse_trickle)]
    pub produce_rate: f64,
    /// How long to measure.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = parse_seconds)]
    pub seconds: f64,
    /// Waiting before the measuring begins, once all sessions are there.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = parse_seconds)]
    pub warm_up_seconds: f64,
    /// The server's process on this machine: its CPU, memory and wake-ups are reported too.
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// A word for the report, such as `system=odradek`; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
    /// Print the report as one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// No progress on standard error.
    #[arg(long)]
    pub quiet: bool,
}

const EXAMPLES: &str = "Examples:\n  \
odradek-perf sessions --server-pid $(pidof odradek)                           200 consumers, 50 partitions each\n  \
odradek-perf sessions --partitions-each 1000 --server-pid $(pidof odradek)    each partition in 20 sessions\n  \
odradek-perf sessions --produce-rate 0                                        nobody writes: what waiting alone costs";

fn parse_trickle(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("batches each second, from 0 to 10000".into()),
    }
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct SessionsReport {
    /// Words given with --label.
    pub labels: BTreeMap<String, String>,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Consumers, each with a session.
    pub consumers: u32,
    /// Partitions in each session.
    pub partitions_each: u32,
    /// How long the server might wait, milliseconds.
    pub max_wait_ms: i32,
    /// Batches to write each second.
    pub produce_rate: f64,
    /// How long was measured, seconds.
    pub measured_seconds: f64,
    /// Sessions begun from the start on: more than consumers means that the server gave some up.
    pub sessions_begun: u64,
    /// Fetch requests answered while measuring.
    pub fetches: u64,
    /// The same each second.
    pub fetches_per_second: f64,
    /// Batches written while measuring.
    pub batches_written: u64,
    /// Batches that arrived while measuring: of one batch, as many as sessions hold its partition.
    pub batches_arrived: u64,
    /// From just before a batch was written up to its arrival at a consumer.
    pub arrival: Latency,
    /// The server's cost.
    pub server: Option<ServerCost>,
    /// The server's processor time in percent of one core.
    pub server_core_percent: Option<f64>,
    /// How often a thread of the server gave its processor up to wait, each second.
    pub server_waits_per_second: Option<f64>,
    /// Our own processor time, seconds.
    pub load_cpu_seconds: f64,
    /// Stopped before its end, by Ctrl-C.
    pub interrupted: bool,
}

/// What the consumers, the trickle and the one who measures share.
#[derive(Debug)]
struct Shared {
    began: Instant,
    ready: AtomicU64,
    over: AtomicBool,
    failed: AtomicBool,
    fetches: AtomicU64,
    sessions: AtomicU64,
    written: AtomicU64,
    arrived: AtomicU64,
    measuring: AtomicBool,
}

impl Shared {
    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Acquire) && !self.failed.load(Ordering::Acquire)
    }

    fn noted<T>(&self, result: Result<T, PerfError>) -> Result<T, PerfError> {
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }
}

/// A reading at one end of the measuring.
struct Reading {
    at: Instant,
    fetches: u64,
    written: u64,
    arrived: u64,
    server: Option<(Usage, u64)>,
    ours: Usage,
}

impl Reading {
    fn take(options: &SessionsOptions, shared: &Shared) -> Result<Self, PerfError> {
        let server = |pid| Ok::<_, PerfError>((process::usage(pid)?, process::waits(pid)?));
        Ok(Reading {
            at: Instant::now(),
            fetches: shared.fetches.load(Ordering::Relaxed),
            written: shared.written.load(Ordering::Relaxed),
            arrived: shared.arrived.load(Ordering::Relaxed),
            server: options.server_pid.map(server).transpose()?,
            ours: process::usage(std::process::id())?,
        })
    }
}

/// Runs the consumers. `stop` ends it early; what was measured so far is still reported.
///
/// # Errors
/// When the topic cannot be had, a connection breaks, or the server refuses.
pub fn run(options: &SessionsOptions, stop: &AtomicBool) -> Result<SessionsReport, PerfError> {
    let topic =
        Client::connect(&options.bootstrap)?.ensure_topic(&options.topic, options.partitions)?;
    let each = each(options);
    let named: Vec<i32> = (0..options.partitions).collect();
    let ends = Client::connect(&topic.leader)?.offsets(&topic, &named, LATEST)?;
    let shared = Shared {
        began: Instant::now(),
        ready: AtomicU64::new(0),
        over: AtomicBool::new(false),
        failed: AtomicBool::new(false),
        fetches: AtomicU64::new(0),
        sessions: AtomicU64::new(0),
        written: AtomicU64::new(0),
        arrived: AtomicU64::new(0),
        measuring: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let (shared, topic, ends) = (&shared, &topic, &ends);
        let mut consumers = Vec::with_capacity(options.consumers as usize);
        for index in 0..options.consumers {
            let work = move || shared.noted(consume(options, topic, ends, index, shared));
            let started = std::thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, work);
            match started {
                Ok(handle) => consumers.push(handle),
                Err(error) => {
                    shared.over.store(true, Ordering::Release);
                    return Err(PerfError::network("starting a consumer's thread", error));
                }
            }
        }
        let window = watch(options, shared, stop);
        let trickle = scope.spawn(move || shared.noted(trickle(options, topic, shared)));
        let window = window.and_then(|()| measure(options, shared, stop));
        shared.over.store(true, Ordering::Release);
        let mut latency_ns = latency_histogram();
        for handle in consumers {
            let own = handle.join().expect("a consumer does not panic")?;
            latency_ns.add(&own).expect("histograms of the same bounds");
        }
        trickle.join().expect("the trickle does not panic")?;
        let (begin, end) = window?;
        Ok(report(
            options,
            each,
            shared,
            &begin,
            &end,
            &latency_ns,
            stop,
        ))
    })
}

fn each(options: &SessionsOptions) -> u32 {
    let partitions = options.partitions as u32;
    let shared_out = partitions.div_ceil(options.consumers);
    options
        .partitions_each
        .unwrap_or(shared_out)
        .min(partitions)
}

/// Waits until every consumer has its session.
fn watch(options: &SessionsOptions, shared: &Shared, stop: &AtomicBool) -> Result<(), PerfError> {
    let deadline = Instant::now() + Duration::from_secs(BEGIN_SECONDS_MAX);
    loop {
        let ready = shared.ready.load(Ordering::Acquire);
        if ready >= options.consumers.into() || !shared.goes_on() || stop.load(Ordering::Relaxed) {
            break;
        }
        if Instant::now() > deadline {
            return Err(PerfError::Unanswered(format!(
                "{ready} of {} consumers have a first answer after {BEGIN_SECONDS_MAX} s",
                options.consumers
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    if !options.quiet {
        eprintln!(
            "sessions: {} consumers began {} sessions of {} partitions in {:.2} s",
            options.consumers,
            shared.sessions.load(Ordering::Relaxed),
            each(options),
            shared.began.elapsed().as_secs_f64(),
        );
    }
    Ok(())
}

fn measure(
    options: &SessionsOptions,
    shared: &Shared,
    stop: &AtomicBool,
) -> Result<(Reading, Reading), PerfError> {
    let wait = |seconds: f64, phase: &str| {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        let mut said = Instant::now();
        while Instant::now() < until && shared.goes_on() && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
            if !options.quiet && said.elapsed() > Duration::from_secs(1) {
                said = Instant::now();
                let (fetches, arrived) = (&shared.fetches, &shared.arrived);
                eprintln!(
                    "{phase:<9}  {} fetches, {} batches arrived",
                    fetches.load(Ordering::Relaxed),
                    arrived.load(Ordering::Relaxed)
                );
            }
        }
    };
    wait(options.warm_up_seconds, "warm-up");
    let begin = Reading::take(options, shared)?;
    shared.measuring.store(true, Ordering::Release);
    wait(options.seconds, "measuring");
    let end = Reading::take(options, shared)?;
    shared.measuring.store(false, Ordering::Release);
    Ok((begin, end))
}

/// One consumer: the times that batches took to arrive, nanoseconds.
fn consume(
    options: &SessionsOptions,
    topic: &Topic,
    ends: &[i64],
    index: u32,
    shared: &Shared,
) -> Result<Histogram<u64>, PerfError> {
    let partitions = topic.partitions as u32;
    let shared_out = u64::from(index) * u64::from(partitions) / u64::from(options.consumers);
    let ring = PartitionRing {
        first: shared_out as u32,
        count: each(options),
    };
    let named = Fetcher::partitions(ring, partitions);
    let positions = named.iter().map(|&index| ends[index as usize]).collect();
    let limits = FetchLimits {
        max_wait_ms: options.max_wait_ms,
        max_bytes: 50 << 20,
        partition_max_bytes: 1 << 20,
        session: true,
    };
    let mut fetcher = Fetcher::connect(topic, ring, positions, limits)?;
    let stamp_at = batch::build(batch::RECORD_BYTES, 0)?.stamp_at;
    let stamp_at = stamp_at.expect("a value of nearly 1 KiB holds a time");
    let mut latency_ns = latency_histogram();
    let mut answers = 0;
    while shared.goes_on() {
        let sessions_before = fetcher.sessions_begun;
        fetcher.round(|fetcher, step, partition| {
            let index = partition.partition_index;
            refuse(
                &format!("Fetch of partition {index}"),
                partition.error_code,
                None,
            )?;
            let records = partition.records.as_deref().unwrap_or_default();
            if let Some((next, stamp_ns)) = batch::last_stamp(records, stamp_at) {
                let waited = shared.now_ns().saturating_sub(stamp_ns);
                if shared.measuring.load(Ordering::Acquire) {
                    latency_ns.saturating_record(waited);
                }
                shared.arrived.fetch_add(1, Ordering::Relaxed);
                fetcher.seek(step, next);
            }
            Ok(())
        })?;
        shared.fetches.fetch_add(1, Ordering::Relaxed);
        let begun = fetcher.sessions_begun - sessions_before;
        shared.sessions.fetch_add(begun, Ordering::Relaxed);
        if answers == 0 {
            shared.ready.fetch_add(1, Ordering::Release);
        }
        answers += 1;
    }
    Ok(latency_ns)
}

/// Writes a batch now and then.
fn trickle(options: &SessionsOptions, topic: &Topic, shared: &Shared) -> Result<(), PerfError> {
    /// Prime, and near the golden part of 10,000: partitions written after each other are in different sessions.
    const STRIDE: u64 = 6_181;
    let mut client = Client::connect(&topic.leader)?;
    let prepared = batch::build(batch::RECORD_BYTES, wall_ms())?;
    let patch = crate::patch::HeadPatch::of(&prepared, true);
    let mut due = Instant::now();
    let mut number = 0;
    while shared.goes_on() && options.produce_rate > 0.0 {
        let now = Instant::now();
        if now < due {
            std::thread::sleep((due - now).min(Duration::from_millis(20)));
            continue;
        }
        due += Duration::from_secs_f64(1.0 / options.produce_rate);
        let mut records = Vec::with_capacity(prepared.bytes.len());
        patch.write(None, shared.now_ns(), &mut records);
        records.extend_from_slice(&prepared.bytes[patch.head_bytes()..]);
        let index = (number * STRIDE % topic.partitions as u64) as i32;
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.name.clone(),
                topic_id: topic.id,
                partition_data: vec![PartitionProduceData {
                    index,
                    records: Some(records.into()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer: ProduceResponse = client.call(ApiKey::Produce, &request)?;
        for stored in answer
            .responses
            .iter()
            .flat_map(|it| &it.partition_responses)
        {
            refuse("Produce", stored.error_code, None)?;
        }
        number += 1;
        shared.written.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn report(
    options: &SessionsOptions,
    each: u32,
    shared: &Shared,
    begin: &Reading,
    end: &Reading,
    latency_ns: &Histogram<u64>,
    stop: &AtomicBool,
) -> SessionsReport {
    let seconds = (end.at - begin.at).as_secs_f64();
    let both = begin.server.zip(end.server);
    let bytes = (end.arrived - begin.arrived) * batch::RECORD_BYTES as u64;
    let server = options.server_pid.zip(both);
    let server =
        server.map(|(pid, (before, after))| ServerCost::between(pid, &before.0, &after.0, bytes));
    SessionsReport {
        labels: options.labels.iter().cloned().collect(),
        partitions: options.partitions,
        consumers: options.consumers,
        partitions_each: each,
        max_wait_ms: options.max_wait_ms,
        produce_rate: options.produce_rate,
        measured_seconds: seconds,
        sessions_begun: shared.sessions.load(Ordering::Relaxed),
        fetches: end.fetches - begin.fetches,
        fetches_per_second: ratio((end.fetches - begin.fetches) as f64, seconds),
        batches_written: end.written - begin.written,
        batches_arrived: end.arrived - begin.arrived,
        arrival: Latency::of(latency_ns),
        server_core_percent: server
            .as_ref()
            .map(|server| 100.0 * ratio(server.cpu_seconds, seconds)),
        server_waits_per_second: both
            .map(|(before, after)| ratio(after.1.saturating_sub(before.1) as f64, seconds)),
        server,
        load_cpu_seconds: end.ours.cpu_seconds - begin.ours.cpu_seconds,
        interrupted: stop.load(Ordering::Relaxed),
    }
}

impl fmt::Display for SessionsReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            to,
            "{} consumers, {} of {} partitions each, max wait {} ms, {} batches/s written; {} sessions begun",
            self.consumers,
            self.partitions_each,
            self.partitions,
            self.max_wait_ms,
            self.produce_rate,
            self.sessions_begun,
        )?;
        writeln!(
            to,
            "fetches     {:.0} a second over {:.2} s{}",
            self.fetches_per_second,
            self.measured_seconds,
            interrupted(self.interrupted),
        )?;
        writeln!(
            to,
            "arrivals    {} of {} batches written: {}",
            self.batches_arrived, self.batches_written, self.arrival
        )?;
        if let Some(server) = &self.server {
            writeln!(
                to,
                "server      {:.2} % of a core, {:.1} us of CPU a fetch, {:.0} waits a second, resident {} MiB (peak {})",
                self.server_core_percent.unwrap_or_default(),
                1e6 * ratio(server.cpu_seconds, self.fetches as f64),
                self.server_waits_per_second.unwrap_or_default(),
                server.resident_bytes >> 20,
                server.resident_peak_bytes >> 20,
            )?;
        }
        write!(
            to,
            "consumers   {:.1} % of a core",
            100.0 * ratio(self.load_cpu_seconds, self.measured_seconds)
        )
    }
}
