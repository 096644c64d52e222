//! The command `load`: produce load over the wire, and what it cost the server. `driver` carries it, `report` shows it.

use crate::client::{Client, Topic};
use crate::driver::{self, Phase, Shared, Tally, Work};
use crate::error::error_name;
use crate::frames::Frame;
use crate::process::{self, Usage};
use crate::report::{Conditions, Latency, LoadReport, ServerCost, ratio};
use crate::{PerfError, batch};
use odradek_protocol::ApiKey;
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What to do.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadOptions {
    /// A server of the cluster.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// The topic to write; made, with --partitions, when it is not there.
    #[arg(long, default_value = "odradek-perf")]
    pub topic: String,
    /// Partitions of the topic; each request goes to the next one.
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(i32).range(1..=1_000_000))]
    pub partitions: i32,
    /// Connections to the server.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = at_least_one)]
    pub connections: usize,
    /// Requests in hand on each connection; the next one goes out when an answer came.
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = at_least_one)]
    pub in_flight: usize,
    /// Bytes of the record batch in each request: records of 1 KiB, or one when it is smaller.
    #[arg(long, value_name = "BYTES", default_value_t = 16_384)]
    pub batch_bytes: usize,
    /// Who must have stored a batch before the answer: `all` in-sync replicas, or `1`, the leader.
    #[arg(long, value_name = "all|1", default_value = "all", value_parser = parse_acks)]
    pub acks: i16,
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

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=100_000) => Ok(number),
        _ => Err("a number from 1 to 100000".into()),
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("seconds, from 0 to 86400".into()),
    }
}

fn parse_acks(text: &str) -> Result<i16, String> {
    match text {
        "all" | "-1" => Ok(-1),
        "1" => Ok(1),
        _ => Err("`all` or `1`; with 0 nothing is answered, so there is nothing to time".into()),
    }
}

fn parse_label(text: &str) -> Result<(String, String), String> {
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
    let batch = batch::build(options.batch_bytes, wall_ms())?;
    let mut client = Client::connect(&options.bootstrap)?;
    let topic = client.ensure_topic(&options.topic, options.partitions)?;
    let version = Client::connect(&topic.leader)?.version(ApiKey::Produce)?;
    let frames: Vec<Frame> = (0..topic.partitions)
        .map(|partition| Frame::build(&topic, partition, &batch, options.acks, version))
        .collect::<Result<_, _>>()?;
    let threads = options.threads.min(options.connections);
    let conditions = Conditions {
        connections: options.connections,
        in_flight: options.in_flight,
        partitions: topic.partitions,
        batch_bytes: batch.bytes.len(),
        batch_records: batch.records,
        acks: options.acks,
        produce_version: version,
        threads,
        warm_up_seconds: options.warm_up_seconds,
        seconds: options.seconds,
    };
    let (window, tally) = drive(options, &topic, &frames, threads, stop)?;
    Ok(report(options, conditions, &topic, &window, &tally))
}

fn drive(
    options: &LoadOptions,
    topic: &Topic,
    frames: &[Frame],
    threads: usize,
    stop: &AtomicBool,
) -> Result<(Window, Tally), PerfError> {
    let mut shares: Vec<Vec<(TcpStream, usize)>> = (0..threads).map(|_| Vec::new()).collect();
    for index in 0..options.connections {
        let stream = TcpStream::connect(&topic.leader)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| {
                PerfError::network(format!("connecting to {}", topic.leader), error)
            })?;
        let first_frame = index * frames.len() / options.connections;
        shares[index % threads].push((stream, first_frame));
    }
    let work = Work {
        frames,
        in_flight: options.in_flight,
        silence_max: Duration::from_secs_f64(options.silence_seconds),
    };
    let shared = Arc::new(Shared::default());
    std::thread::scope(|scope| {
        let loops: Vec<_> = shares
            .into_iter()
            .map(|share| {
                let shared = Arc::clone(&shared);
                scope.spawn(move || driver::run(share, work, &shared))
            })
            .collect();
        let window = watch(options, &shared, frames, stop);
        // Whatever the watching met, the loops must learn that it is over, or the scope waits for them for ever.
        shared.enter(Phase::Draining);
        let mut sum = Tally::new(frames.len());
        for handle in loops {
            let tally = handle.join().expect("a load thread does not panic");
            sum.add(&tally?);
        }
        Ok((window?, sum))
    })
}

/// Moves the run through its phases and shows progress.
fn watch(
    options: &LoadOptions,
    shared: &Shared,
    frames: &[Frame],
    stop: &AtomicBool,
) -> Result<Window, PerfError> {
    let mut progress = Progress::new(options, frames);
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
struct Progress {
    quiet: bool,
    batch_bytes: f64,
    began: Instant,
    said: Instant,
    said_stored: u64,
}

impl Progress {
    fn new(options: &LoadOptions, frames: &[Frame]) -> Self {
        let now = Instant::now();
        if !options.quiet {
            eprintln!(
                "load: {} connections x {} in flight to {} partitions of {}, {} bytes each request",
                options.connections,
                options.in_flight,
                frames.len(),
                options.topic,
                frames.first().map_or(0, |frame| frame.bytes),
            );
        }
        Progress {
            quiet: options.quiet,
            batch_bytes: options.batch_bytes as f64,
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
            rate * self.batch_bytes / 1e6,
        );
    }
}

fn report(
    options: &LoadOptions,
    conditions: Conditions,
    topic: &Topic,
    window: &Window,
    tally: &Tally,
) -> LoadReport {
    let seconds = (window.end.at - window.begin.at).as_secs_f64();
    let bytes = tally.requests * conditions.batch_bytes as u64;
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
        stored_batches: tally.stored.iter().sum(),
        load_cpu_seconds: window.end.ours.cpu_seconds - window.begin.ours.cpu_seconds,
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

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}
