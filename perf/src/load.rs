//! The command `load`: produce load over the wire, and what it cost the server. `driver` carries it, `report` shows it.

use crate::PerfError;
use crate::arrivals::{Arrivals, Consumer, Progress};
use crate::batch::{self, BatchShape, PreparedBatch};
use crate::client::{Client, Topic};
use crate::connection::Producer;
use crate::driver::{self, Pace, Phase, Shared, Start, Tally, Work};
use crate::error::error_name;
use crate::frames::{PartitionRing, ProduceShape, Template};
use crate::process::{self, Usage};
use crate::report::{ArrivalFigures, Conditions, Latency, LoadReport, OpenLoop, ServerCost, ratio};
use odradek_protocol::ApiKey;
use odradek_protocol::records::Compression;
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What to do.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct LoadOptions {
    /// A server of the cluster.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// The topic to write; made, with --partitions, when it is not there.
    #[arg(long, default_value = "odradek-perf")]
    pub topic: String,
    /// Partitions of the topic; each request goes to the next ones.
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(i32).range(1..=2_000_000))]
    pub partitions: i32,
    /// Batches in each request, each to a partition of its own.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub partitions_per_request: u32,
    /// `produce`, or `end-to-end`: consumers fetch what is written, and the report also says how long it took to arrive.
    #[arg(long, value_name = "MODE", default_value = "produce")]
    pub mode: Mode,
    /// With --mode end-to-end: consumers, each a connection with a fetch session; the partitions are shared out among them.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = at_least_one)]
    pub consumers: usize,
    /// Connections to the server.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = at_least_one)]
    pub connections: usize,
    /// Requests in hand on each connection at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = at_least_one)]
    pub in_flight: usize,
    /// Bytes of each record batch, before compression.
    #[arg(long, value_name = "BYTES", default_value_t = 16_384)]
    pub batch_bytes: usize,
    /// Bytes of each record; a batch that is smaller holds one.
    #[arg(long, value_name = "BYTES", default_value_t = batch::RECORD_BYTES)]
    pub record_bytes: usize,
    /// Compress the batches (once, before the run): `none`, `gzip`, `snappy`, `lz4`, `zstd`. Values are then words, not noise.
    #[arg(long, value_name = "NAME", default_value = "none", value_parser = parse_compression)]
    pub compression: Compression,
    /// Distinct keys, one record after another; 0 for records without a key.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub keys: u64,
    /// Who must have stored a batch before the answer: `all` in-sync replicas, `1`, the leader, or `0`: there is no answer, and
    /// the time is that of handing the request to the kernel.
    #[arg(long, value_name = "all|1|0", default_value = "all", value_parser = parse_acks)]
    pub acks: i16,
    /// Each connection is an idempotent producer, with partitions of its own as far as there are enough.
    #[arg(long)]
    pub idempotent: bool,
    /// Open loop: so many requests are due each second in all, and each one's time counts from when it was due, sent or not.
    /// Without it the loop is closed: the next request is due when an answer came.
    #[arg(long, value_name = "REQUESTS_PER_SECOND", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// With --rate: requests that may be late at one time. Older ones are given up, and the report says how many.
    #[arg(long, value_name = "REQUESTS", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub backlog_max: u64,
    /// How long to measure.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = parse_seconds)]
    pub seconds: f64,
    /// Load before the measuring begins.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = parse_seconds)]
    pub warm_up_seconds: f64,
    /// Threads that make the load; one makes more than most servers take.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = at_least_one)]
    pub threads: usize,
    /// Give up when a connection gets no answer for so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 15.0, value_parser = parse_seconds)]
    pub silence_seconds: f64,
    /// The server's process on this machine: its CPU, memory and disk writes are reported too.
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

/// What the load consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Requests to store batches.
    Produce,
    /// The same, and consumers that fetch them.
    EndToEnd,
}

const EXAMPLES: &str = "Examples:\n  \
odradek-perf load --batch-bytes 1024 --connections 8 --in-flight 32      many small requests, as fast as they go\n  \
odradek-perf load --rate 2000 --in-flight 64 --seconds 60                latency at a rate, stalls included\n  \
odradek-perf load --partitions 10000 --partitions-per-request 50         many partitions\n  \
odradek-perf load --idempotent --compression zstd --keys 1000            what a careful producer sends\n  \
odradek-perf load --mode end-to-end --rate 1000 --batch-bytes 1024       from a producer to a consumer\n  \
odradek-perf load --acks 0                                               what the server takes in without a word\n\n\
In a closed loop a server that stalls is asked less, so its latency looks better than it is; with --rate it does not.\n\
--in-flight still bounds what is on the way: let it be so large that the rate can be held, or late requests wait here.";

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=100_000) => Ok(number),
        _ => Err("a number from 1 to 100000".into()),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=100_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("requests each second, above 0".into()),
    }
}

fn parse_compression(text: &str) -> Result<Compression, String> {
    let known = Compression::ALL.into_iter().find(|it| it.name() == text);
    known.ok_or_else(|| "`none`, `gzip`, `snappy`, `lz4` or `zstd`".into())
}

/// Seconds on a command line.
pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("seconds, from 0 to 86400".into()),
    }
}

fn parse_acks(text: &str) -> Result<i16, String> {
    match text {
        "all" | "-1" => Ok(-1),
        "1" => Ok(1),
        "0" => Ok(0),
        _ => Err("`all`, `1` or `0`".into()),
    }
}

/// A label on a command line.
pub(crate) fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("KEY=VALUE".into()),
    }
}

/// A reading at one end of the measuring.
struct Reading {
    at: Instant,
    server: Option<Usage>,
    ours: Usage,
}

/// The measuring as the watching thread saw it.
struct Window {
    begin: Reading,
    end: Reading,
    interrupted: bool,
}

/// Runs the load. `stop` ends it early; what was measured so far is still reported.
///
/// # Errors
/// When the topic cannot be had, a connection breaks, or answers stay away; refusals of single requests are counted instead.
pub fn run(options: &LoadOptions, stop: &AtomicBool) -> Result<LoadReport, PerfError> {
    run_watched(options, stop, &Shared::default())
}

/// The same, with what is stored and refused for the caller to see meanwhile.
///
/// # Errors
/// As for [`run`].
pub fn run_watched(
    options: &LoadOptions,
    stop: &AtomicBool,
    shared: &Shared,
) -> Result<LoadReport, PerfError> {
    if options.partitions_per_request > options.partitions as u32 {
        return Err(PerfError::Options(format!(
            "--partitions-per-request {}: the topic has --partitions {}, and a request goes to each of its partitions once",
            options.partitions_per_request, options.partitions
        )));
    }
    let shape = BatchShape {
        batch_bytes: options.batch_bytes,
        record_bytes: options.record_bytes,
        compression: options.compression,
        keys: options.keys,
    };
    let batches = batch::build_all(&shape, wall_ms())?;
    let mut client = Client::connect(&options.bootstrap)?;
    let topic = client.ensure_topic(&options.topic, options.partitions)?;
    let version = Client::connect(&topic.leader)?.version(ApiKey::Produce)?;
    let produce = ProduceShape {
        partitions_per_request: options.partitions_per_request,
        acks: options.acks,
        version,
        stamped: options.mode == Mode::EndToEnd,
    };
    let stamp_at = batches[0].stamp_at;
    if produce.stamped && stamp_at.is_none() {
        return Err(PerfError::Options(
            "--mode end-to-end keeps a time in the first value of each batch: that takes values of at least 8 bytes and \
             --compression none"
                .into(),
        ));
    }
    let conditions = conditions(options, &batches, version);
    let template = Template::build(&topic, batches, produce)?;
    let run = Run {
        options,
        topic: &topic,
        template: &template,
        stamp_at: stamp_at.filter(|_| produce.stamped),
    };
    let measured = run.drive(conditions.threads, stop, shared)?;
    Ok(report(options, conditions, &topic, &measured))
}

fn conditions(options: &LoadOptions, batches: &[PreparedBatch], version: i16) -> Conditions {
    let bytes: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
    Conditions {
        consumers: match options.mode {
            Mode::Produce => 0,
            Mode::EndToEnd => options.consumers.min(options.partitions as usize),
        },
        connections: options.connections,
        in_flight: options.in_flight,
        partitions: options.partitions,
        partitions_per_request: options.partitions_per_request,
        batch_bytes: bytes / batches.len(),
        batch_bytes_uncompressed: options.batch_bytes,
        batch_records: batches[0].records,
        compression: options.compression.name().into(),
        keys: options.keys,
        acks: options.acks,
        idempotent: options.idempotent,
        requests_per_second: options.rate,
        backlog_max: options.rate.map(|_| options.backlog_max),
        produce_version: version,
        threads: options.threads.min(options.connections),
        warm_up_seconds: options.warm_up_seconds,
        seconds: options.seconds,
    }
}

/// What was measured.
struct Measured {
    window: Window,
    tally: Tally,
    arrivals: Option<Arrivals>,
}

/// One run, ready to begin.
struct Run<'a> {
    options: &'a LoadOptions,
    topic: &'a Topic,
    template: &'a Template,
    /// Where consumers find the time of sending, when there are consumers.
    stamp_at: Option<usize>,
}

impl Run<'_> {
    fn drive(
        &self,
        threads: usize,
        stop: &AtomicBool,
        shared: &Shared,
    ) -> Result<Measured, PerfError> {
        let (options, topic, template) = (self.options, self.topic, self.template);
        if options.rate.is_some() {
            // Threads started from here on wake when a request is due, not 50 us later; where that is refused, they do not.
            let _ = std::fs::write("/proc/self/timerslack_ns", "1");
        }
        let consumers = self.consumers()?;
        let shares = connect(options, topic, threads)?;
        let progress = Progress::default();
        std::thread::scope(|scope| {
            let progress = &progress;
            let consumers: Vec<_> = consumers
                .into_iter()
                .map(|consumer| scope.spawn(move || consumer.run(shared, progress)))
                .collect();
            let loops: Vec<_> = shares
                .into_iter()
                .map(|share| {
                    let work = work(options, topic, template, share.len());
                    scope.spawn(move || driver::run(share, work, shared))
                })
                .collect();
            let window = watch(options, shared, template, stop);
            // Whatever the watching met, the others must learn that it is over, or the scope waits for them for ever.
            shared.enter(Phase::Draining);
            let mut tally = Ok(Tally::default());
            for handle in loops {
                let counted = handle.join().expect("a load thread does not panic");
                tally =
                    tally.and_then(|mut sum: Tally| counted.map(|it| sum.add(&it)).map(|()| sum));
            }
            if let Ok(tally) = &tally {
                self.await_arrivals(tally.stored_batches, progress);
            }
            progress.over.store(true, Ordering::Release);
            let mut arrivals = Arrivals::default();
            for handle in consumers {
                arrivals.add(&handle.join().expect("a consumer does not panic")?);
            }
            Ok(Measured {
                window: window?,
                tally: tally?,
                arrivals: self.stamp_at.map(|_| arrivals),
            })
        })
    }

    fn consumers(&self) -> Result<Vec<Consumer>, PerfError> {
        let Some(stamp_at) = self.stamp_at else {
            return Ok(Vec::new());
        };
        let count = self.options.consumers.min(self.topic.partitions as usize) as u32;
        (0..count)
            .map(|index| Consumer::connect(self.topic, index, count, stamp_at))
            .collect()
    }

    /// Waits until all that was stored has arrived, or nothing has for a while.
    fn await_arrivals(&self, stored: u64, progress: &Progress) {
        let patience = Duration::from_secs_f64(self.options.silence_seconds);
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let came = progress.batches.load(Ordering::Acquire);
            let failed = progress.failed.load(Ordering::Acquire);
            if self.stamp_at.is_none() || came >= stored || failed || since.elapsed() > patience {
                return;
            }
            if came > seen {
                (seen, since) = (came, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// What a loop with so many of the connections does.
fn work<'a>(
    options: &LoadOptions,
    topic: &'a Topic,
    template: &'a Template,
    connections: usize,
) -> Work<'a> {
    let part = connections as f64 / options.connections as f64;
    Work {
        template,
        in_flight: options.in_flight,
        silence_max: Duration::from_secs_f64(options.silence_seconds),
        pace: options.rate.map(|rate| Pace {
            requests_per_second: rate * part,
            backlog_max: ((options.backlog_max as f64 * part) as u64).max(1),
        }),
        leader: &topic.leader,
    }
}

/// The connections, shared out among the threads.
fn connect(
    options: &LoadOptions,
    topic: &Topic,
    threads: usize,
) -> Result<Vec<Vec<Start>>, PerfError> {
    let mut shares: Vec<Vec<Start>> = (0..threads).map(|_| Vec::new()).collect();
    let partitions = topic.partitions as u32;
    let count = options.connections as u32;
    let mut client = match options.idempotent {
        true => Some(Client::connect(&topic.leader)?),
        false => None,
    };
    for index in 0..count {
        let stream = TcpStream::connect(&topic.leader)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| {
                PerfError::network(format!("connecting to {}", topic.leader), error)
            })?;
        let whole = PartitionRing {
            first: 0,
            count: partitions,
        };
        let own = PartitionRing::share(partitions, index, count);
        // An idempotent producer keeps to its partitions: their batches come in the order of its sequences.
        let ring = if client.is_some() { own } else { whole };
        let producer = client
            .as_mut()
            .map(Client::init_producer_id)
            .transpose()?
            .map(|(id, epoch)| Producer::new(id, epoch, ring.count));
        if ring.count < options.partitions_per_request {
            return Err(PerfError::Options(format!(
                "--partitions-per-request {}: with --idempotent each connection has partitions of its own, here {} of {}",
                options.partitions_per_request, ring.count, partitions
            )));
        }
        shares[index as usize % threads].push(Start {
            stream,
            ring,
            place: if producer.is_some() { 0 } else { own.first },
            producer,
        });
    }
    Ok(shares)
}

/// Moves the run through its phases and shows progress.
fn watch(
    options: &LoadOptions,
    shared: &Shared,
    template: &Template,
    stop: &AtomicBool,
) -> Result<Window, PerfError> {
    let mut progress = ProgressLines::new(options, template);
    progress.wait(options.warm_up_seconds, "warm-up", shared, stop);
    let begin = read(options.server_pid)?;
    shared.enter(Phase::Measuring);
    progress.wait(options.seconds, "measuring", shared, stop);
    shared.enter(Phase::Draining);
    let end = read(options.server_pid)?;
    Ok(Window {
        begin,
        end,
        interrupted: stop.load(Ordering::Relaxed),
    })
}

fn read(server_pid: Option<u32>) -> Result<Reading, PerfError> {
    Ok(Reading {
        at: Instant::now(),
        server: server_pid.map(process::usage).transpose()?,
        ours: process::usage(std::process::id())?,
    })
}

/// A line each second on standard error.
struct ProgressLines {
    quiet: bool,
    request_batch_bytes: f64,
    began: Instant,
    said: Instant,
    said_stored: u64,
}

impl ProgressLines {
    fn new(options: &LoadOptions, template: &Template) -> Self {
        let now = Instant::now();
        let batch_bytes = template.batch(0).bytes.len();
        let per_request = options.partitions_per_request;
        if !options.quiet {
            eprintln!(
                "load: {} connections x {} in flight to {} partitions of {}, {per_request} batches of {batch_bytes} bytes each request",
                options.connections, options.in_flight, options.partitions, options.topic,
            );
        }
        ProgressLines {
            quiet: options.quiet,
            request_batch_bytes: batch_bytes as f64 * f64::from(per_request),
            began: now,
            said: now,
            said_stored: 0,
        }
    }

    /// Waits `seconds`, or until the run is stopped or has failed.
    fn wait(&mut self, seconds: f64, phase: &str, shared: &Shared, stop: &AtomicBool) {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        loop {
            let now = Instant::now();
            let over = stop.load(Ordering::Relaxed) || shared.failed.load(Ordering::Acquire);
            if now >= until || over {
                return;
            }
            if now - self.said >= Duration::from_secs(1) {
                self.say(now, phase, shared);
            }
            std::thread::sleep((until - now).min(Duration::from_millis(50)));
        }
    }

    fn say(&mut self, now: Instant, phase: &str, shared: &Shared) {
        let stored = shared.stored.load(Ordering::Relaxed);
        let rate = (stored - self.said_stored) as f64 / (now - self.said).as_secs_f64();
        (self.said, self.said_stored) = (now, stored);
        if self.quiet {
            return;
        }
        let refused = match shared.refused.load(Ordering::Relaxed) {
            0 => String::new(),
            refused => format!("  {refused} REFUSED"),
        };
        eprintln!(
            "{:>4.0} s  {phase:<9}  {rate:>9.0} requests/s  {:>8.1} MB/s{refused}",
            (now - self.began).as_secs_f64(),
            rate * self.request_batch_bytes / 1e6,
        );
    }
}

fn report(
    options: &LoadOptions,
    conditions: Conditions,
    topic: &Topic,
    measured: &Measured,
) -> LoadReport {
    let (window, tally) = (&measured.window, &measured.tally);
    let seconds = (window.end.at - window.begin.at).as_secs_f64();
    let bytes = tally.bytes;
    let load_cpu_seconds = window.end.ours.cpu_seconds - window.begin.ours.cpu_seconds;
    let server = match (options.server_pid, window.begin.server, window.end.server) {
        (Some(pid), Some(before), Some(after)) => {
            Some(ServerCost::between(pid, &before, &after, bytes))
        }
        _ => None,
    };
    LoadReport {
        labels: options.labels.iter().cloned().collect(),
        conditions,
        server_address: topic.leader.clone(),
        topic: options.topic.clone(),
        measured_seconds: seconds,
        requests: tally.requests,
        requests_per_second: ratio(tally.requests as f64, seconds),
        megabytes_per_second: ratio(bytes as f64 / 1e6, seconds),
        latency: Latency::of(&tally.latency_ns),
        errors: named(&tally.errors),
        warm_up_errors: named(&tally.warm_up_errors),
        arrivals: measured.arrivals.as_ref().map(|arrivals| ArrivalFigures {
            latency: Latency::of(&arrivals.latency_ns),
            batches: arrivals.batches,
            missing_batches: tally.stored_batches.saturating_sub(arrivals.batches),
            fetch_requests: arrivals.fetches,
        }),
        open_loop: options.rate.map(|_| OpenLoop {
            backlog_requests_max: tally.backlog_seen_max,
            given_up_requests: tally.overflowed,
            unsent_requests: tally.unsent,
        }),
        stored_batches: tally.stored_batches,
        load_cpu_seconds,
        load_cpu_us_per_request: ratio(load_cpu_seconds * 1e6, tally.requests as f64),
        server,
        interrupted: window.interrupted,
    }
}

fn named(errors: &BTreeMap<i16, u64>) -> BTreeMap<String, u64> {
    let named = errors.iter();
    named
        .map(|(code, count)| (error_name(*code), *count))
        .collect()
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}
