//! The command `soak`: half of a server's peak for hours, into a data directory that is held to a size and nearly full, with some topics kept by
//! time and some by size. What came in each minute, what was refused and how much space was taken, as one row with its bars; `page` draws it.

use crate::bars::Row;
use crate::bars::judge::{Bar, Bound};
use crate::client::{Client, refuse};
use crate::driver::Shared;
use crate::load::{self, LoadOptions};
use crate::report::{LoadReport, interrupted};
use crate::results::{self, Origin, Taken};
use crate::runner::{Load, Runner};
use crate::scrape::Scrape;
use crate::systems::{Running, System, Tools};
use crate::{PerfError, process};
use clap::Parser;
use odradek_protocol::ApiKey;
use odradek_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use odradek_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The row's name.
pub const ROW: &str = "soak";
/// The topics, and whether each is kept by size; the others are kept by time.
const TOPICS: [(&str, bool); 4] = [
    ("soak-by-size-0", true),
    ("soak-by-size-1", true),
    ("soak-by-time-0", false),
    ("soak-by-time-1", false),
];
/// Partitions of each.
const TOPIC_PARTITIONS: i32 = 4;
/// Connections to each, and requests in hand on each: enough that a rate is held through a pause.
const TOPIC_CONNECTIONS: usize = 2;
const IN_FLIGHT: usize = 32;
/// Kafka deletes whole segments: with so many of them in what is kept, what is kept is that within a twentieth.
const SEGMENTS_KEPT: u64 = 20;
/// The smallest `segment.bytes` that Kafka takes.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// As much of the share that was asked for must be in use when the clock starts; segments come and go.
const FILLED_SHARE_MIN: f64 = 0.95;

/// What to do.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct SoakOptions {
    /// How long, once the directory is full.
    #[arg(long, value_name = "MINUTES", default_value_t = 120.0, value_parser = minutes)]
    pub minutes: f64,
    /// What the data directory is held to (odradek.data.dir.bytes.max).
    #[arg(long, value_name = "GIBIBYTES", default_value_t = 20.0)]
    pub directory_gib: f64,
    /// The share of it that retention keeps in use.
    #[arg(long, value_name = "SHARE", default_value_t = 0.85)]
    pub full: f64,
    /// The share of the peak that comes in.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    pub ingest: f64,
    /// Requests each second in all, in place of the share of a peak that is measured first.
    #[arg(long, value_name = "REQUESTS_PER_SECOND")]
    pub rate: Option<f64>,
    /// Bytes of each record batch.
    #[arg(long, value_name = "BYTES", default_value_t = 16_384)]
    pub batch_bytes: usize,
    /// How long the peak is measured: a disk may take bursts that it does not sustain.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = load::parse_seconds)]
    pub peak_seconds: f64,
    /// The longest that filling the directory may take; the clock starts then all the same, and the row says how full it was.
    #[arg(long, value_name = "SECONDS", default_value_t = 1_200.0, value_parser = load::parse_seconds)]
    pub fill_seconds: f64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub tools: Tools,
    /// A further word for Odradek's command line; may be repeated.
    #[arg(
        long = "odradek-option",
        value_name = "WORD",
        allow_hyphen_values = true
    )]
    pub odradek_options: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub origin: Origin,
    /// Keep the report in this folder too, as soak-TIME.json.
    #[arg(long, value_name = "FOLDER")]
    pub results: Option<PathBuf>,
    /// Print the report as one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// No progress on standard error.
    #[arg(long)]
    pub quiet: bool,
}

const EXAMPLES: &str = "Examples:\n  \
odradek-perf soak                                        two hours, 20 GiB: scripts/perf-soak\n  \
odradek-perf soak --minutes 10 --directory-gib 4         a first look\n  \
odradek-perf soak --rate 5000 --minutes 60               at a rate of your own\n\n\
First the peak is measured for a minute, closed loop, 8 connections x 32 in flight. Then four topics are written at half of it (open loop), two kept by \
retention.bytes and two by retention.ms, so that together they fill 85 % of the directory. The clock starts when that is in use. Ctrl-C ends it \
and prints what was measured so far. It needs the directory's size in free disk.";

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.01..=1_000.0).contains(&minutes) => Ok(minutes),
        _ => Err("minutes, from 0.01 to 1000".into()),
    }
}

/// What happened between two looks, a minute apart unless the whole is short.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Minute {
    /// When it ended, minutes since the clock started.
    pub at_minutes: f64,
    /// 10^6 bytes of batches stored each second.
    pub megabytes_per_second: f64,
    /// Batches refused.
    pub refused: u64,
    /// Bytes of segment files that hold records, of what the log may take.
    pub used_share: f64,
    /// Blocks that the data folder takes on the disk, GiB.
    pub folder_gib: f64,
    /// The server's CPU, percent of a core.
    pub core_percent: f64,
    /// Its resident memory, MiB.
    pub resident_mib: f64,
    /// What rewriting is due to move, MiB.
    pub rewrite_debt_mib: f64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SoakReport {
    /// Commit, command, machine and kernel.
    pub origin: Taken,
    /// The row, with its bars.
    pub row: Row,
    /// Minute by minute.
    pub minutes: Vec<Minute>,
    /// Stopped before its end, by Ctrl-C.
    pub interrupted: bool,
}

/// Runs it. `stop` ends it early, with what was measured so far.
///
/// # Errors
/// When the server cannot be started, the peak cannot be measured, a topic cannot be made, or the results cannot be kept.
pub fn run(options: &SoakOptions, stop: &AtomicBool) -> Result<SoakReport, PerfError> {
    let runner = Runner {
        stop,
        quiet: options.quiet,
    };
    let mut report = SoakReport {
        origin: options.origin.taken("soak", &options.tools.folder),
        row: Row {
            name: ROW.into(),
            title: format!(
                "{:.1} minutes at {:.0} % of the peak, {:.0} % full of {} GiB, topics by time and by size",
                options.minutes,
                100.0 * options.ingest,
                100.0 * options.full,
                options.directory_gib
            ),
            ..Row::default()
        },
        minutes: Vec::new(),
        interrupted: false,
    };
    let began = Instant::now();
    let rate = match options.rate {
        Some(rate) => rate,
        None => peak(&runner, options, &mut report.row)? * options.ingest,
    };
    let server = start(options)?;
    let soak = Soak {
        options,
        runner,
        server: &server,
        rate,
    };
    soak.make_topics()?;
    soak.run(&mut report)?;
    report.interrupted = runner.stopped();
    report.row.seconds = began.elapsed().as_secs_f64();
    judge(options, &mut report);
    if let Some(folder) = &options.results {
        results::keep(folder, "soak", &report)?;
    }
    Ok(report)
}

fn directory_bytes(options: &SoakOptions) -> u64 {
    (options.directory_gib * f64::from(1 << 30)) as u64
}

fn start(options: &SoakOptions) -> Result<Running, PerfError> {
    let mut words = options.odradek_options.clone();
    for setting in [
        format!("odradek.data.dir.bytes.max={}", directory_bytes(options)),
        // Kafka's usual 5 minutes would let some 100 GB come in between two looks.
        "log.retention.check.interval.ms=1000".to_string(),
    ] {
        words.extend(["--override".to_string(), setting]);
    }
    Running::start(System::Odradek, &options.tools, &words)
}

/// Requests each second of a closed loop, on a server of its own: what it writes is gone with it.
fn peak(runner: &Runner<'_>, options: &SoakOptions, row: &mut Row) -> Result<f64, PerfError> {
    let server = Running::start(System::Odradek, &options.tools, &options.odradek_options)?;
    let load = Load {
        connections: 8,
        in_flight: IN_FLIGHT,
        batch_bytes: options.batch_bytes,
        partitions: 16,
        rate: None,
        seconds: options.peak_seconds,
        warm_up_seconds: 1.0,
    };
    row.commands
        .push(format!("odradek-perf load {}", load.arguments().join(" ")));
    let report = runner.load(&server, "soak-peak", &load)?;
    if let Some((name, count)) = report.errors.iter().next() {
        row.notes
            .push(format!("measuring the peak: {count} x {name}"));
    }
    row.values
        .insert("peak requests/s".into(), report.requests_per_second);
    Ok(report.requests_per_second)
}

/// A soak whose rate is known.
struct Soak<'a> {
    options: &'a SoakOptions,
    runner: Runner<'a>,
    server: &'a Running,
    rate: f64,
}

/// Counts of all loads together, and what the server took, at one moment.
struct Look {
    at: Instant,
    stored: u64,
    refused: u64,
    cpu_seconds: f64,
    used_share: f64,
    debt_bytes: f64,
    resident_bytes: u64,
}

impl Soak<'_> {
    /// Each topic keeps its part of what is to be in use: by bytes for each partition, or by the time in which as much comes in.
    fn make_topics(&self) -> Result<(), PerfError> {
        let kept = directory_bytes(self.options) as f64 * self.options.full / TOPICS.len() as f64;
        let of_partition = (kept / f64::from(TOPIC_PARTITIONS)) as u64;
        let bytes_per_second = self.rate * self.options.batch_bytes as f64 / TOPICS.len() as f64;
        let kept_ms = (1e3 * kept / bytes_per_second.max(1.0)) as u64;
        let segment = (of_partition / SEGMENTS_KEPT).max(SEGMENT_BYTES_MIN);
        let topics = TOPICS.map(|(name, by_size)| {
            let settings = match by_size {
                true => [
                    ("retention.bytes", of_partition),
                    ("segment.bytes", segment),
                ],
                false => [("retention.ms", kept_ms), ("segment.bytes", segment)],
            };
            let configs = settings.map(|(name, value)| CreatableTopicConfig {
                name: name.into(),
                value: Some(value.to_string().as_str().into()),
                ..Default::default()
            });
            CreatableTopic {
                name: name.into(),
                num_partitions: TOPIC_PARTITIONS,
                replication_factor: 1,
                configs: configs.to_vec(),
                ..Default::default()
            }
        });
        let request = CreateTopicsRequest {
            topics: topics.to_vec(),
            timeout_ms: 30_000,
            ..Default::default()
        };
        let mut client = Client::connect(&self.server.address)?;
        let answer: CreateTopicsResponse = client.call(ApiKey::CreateTopics, &request)?;
        for topic in &answer.topics {
            let message = topic.error_message.as_ref().map(ToString::to_string);
            refuse(
                &format!("CreateTopics {}", &*topic.name),
                topic.error_code,
                message,
            )?;
        }
        self.runner.say(&format!(
            "soak: {:.0} requests/s, {:.1} MB/s; {of_partition} bytes a partition by size, {kept_ms} ms by time",
            self.rate,
            self.rate * self.options.batch_bytes as f64 / 1e6
        ));
        Ok(())
    }

    fn words(&self, topic: &str) -> Vec<String> {
        let rate = (self.rate / TOPICS.len() as f64).max(0.01).to_string();
        let numbers = [
            ("--partitions", TOPIC_PARTITIONS.to_string()),
            ("--connections", TOPIC_CONNECTIONS.to_string()),
            ("--in-flight", IN_FLIGHT.to_string()),
            ("--batch-bytes", self.options.batch_bytes.to_string()),
            ("--rate", rate),
            ("--warm-up-seconds", "0".to_string()),
            ("--seconds", "86400".to_string()),
            ("--silence-seconds", "60".to_string()),
        ];
        let mut words = vec!["--bootstrap".into(), self.server.address.clone()];
        words.extend(["--topic".into(), topic.to_string(), "--quiet".into()]);
        words.extend(
            numbers
                .into_iter()
                .flat_map(|(name, value)| [name.to_string(), value]),
        );
        words
    }

    /// The loads, a thread each, and this one that watches.
    fn run(&self, report: &mut SoakReport) -> Result<(), PerfError> {
        let loads = TOPICS.map(|(topic, _)| {
            let words = self.words(topic);
            report
                .row
                .commands
                .push(format!("odradek-perf load {}", words[2..].join(" ")));
            (words, Shared::default())
        });
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (loads, over) = (&loads, &over);
            let running: Vec<_> = loads
                .iter()
                .map(|(words, shared)| scope.spawn(move || one_load(words, over, shared)))
                .collect();
            let watched = self.watch(loads, report);
            over.store(true, Ordering::Relaxed);
            for (load, (topic, _)) in running.into_iter().zip(TOPICS) {
                match load.join().expect("a load does not panic") {
                    Ok(done) => {
                        let p99 = format!("{topic} p99 ms, filling included");
                        report.row.values.insert(p99, done.latency.p99_us / 1e3);
                        let longest = format!("{topic} longest answer ms");
                        report.row.values.insert(longest, done.latency.max_us / 1e3);
                        for (name, count) in done.errors {
                            report.row.notes.push(format!("{topic}: {count} x {name}"));
                        }
                    }
                    Err(error) => report.row.notes.push(format!("{topic}: {error}")),
                }
            }
            watched
        })
    }

    fn watch(
        &self,
        loads: &[(Vec<String>, Shared)],
        report: &mut SoakReport,
    ) -> Result<(), PerfError> {
        let broken = || {
            loads
                .iter()
                .any(|(_, load)| load.failed.load(Ordering::Acquire))
        };
        let ended = || self.runner.stopped() || broken();
        let filling = Instant::now();
        let wanted = self.options.full * FILLED_SHARE_MIN;
        let longest = Duration::from_secs_f64(self.options.fill_seconds);
        loop {
            let look = self.look(loads)?;
            let waited = filling.elapsed();
            if look.used_share >= wanted || waited >= longest || ended() {
                break;
            }
            self.runner.say(&format!(
                "soak: filling, {:.1} % in use after {:.0} s{}",
                100.0 * look.used_share,
                waited.as_secs_f64(),
                refused(look.refused)
            ));
            self.pause(Duration::from_secs(5).min(longest - waited), &ended);
        }
        let values = &mut report.row.values;
        values.insert("filling seconds".into(), filling.elapsed().as_secs_f64());
        let mut last = self.look(loads)?;
        values.insert("refused while filling".into(), last.refused as f64);
        values.insert("in use at the start %".into(), 100.0 * last.used_share);
        let began = last.at;
        let whole = Duration::from_secs_f64(60.0 * self.options.minutes);
        // A run of a few seconds has a few looks too.
        let step = Duration::from_secs(60).min(whole / 6);
        while !ended() && began.elapsed() + step / 2 < whole {
            self.pause(step.saturating_sub(last.at.elapsed()), &ended);
            let look = self.look(loads)?;
            if look.at - last.at < step / 2 {
                break;
            }
            let minute = self.minute(&last, &look, began);
            self.runner.say(&minute.to_string());
            report.minutes.push(minute);
            last = look;
        }
        Ok(())
    }

    fn pause(&self, time: Duration, ended: &dyn Fn() -> bool) {
        let until = Instant::now() + time;
        while Instant::now() < until && !ended() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn look(&self, loads: &[(Vec<String>, Shared)]) -> Result<Look, PerfError> {
        let metrics = Scrape::of(&self.server.metrics_address())?;
        let usage = process::usage(self.server.pid)?;
        let sum = |count: fn(&Shared) -> u64| loads.iter().map(|(_, load)| count(load)).sum();
        let metric = |name| metrics.sum(name).unwrap_or(0.0);
        Ok(Look {
            at: Instant::now(),
            stored: sum(|load| load.stored.load(Ordering::Relaxed)),
            refused: sum(|load| load.refused.load(Ordering::Relaxed)),
            cpu_seconds: usage.cpu_seconds,
            used_share: metric("odradek_log_used_bytes") / directory_bytes(self.options) as f64,
            debt_bytes: metric("odradek_log_rewrite_debt_bytes"),
            resident_bytes: usage.resident_bytes,
        })
    }

    fn minute(&self, from: &Look, to: &Look, began: Instant) -> Minute {
        let seconds = (to.at - from.at).as_secs_f64();
        let bytes = (to.stored - from.stored) as f64 * self.options.batch_bytes as f64;
        let mebibyte = f64::from(1 << 20);
        Minute {
            at_minutes: (to.at - began).as_secs_f64() / 60.0,
            megabytes_per_second: bytes / 1e6 / seconds,
            refused: to.refused - from.refused,
            used_share: to.used_share,
            folder_gib: process::disk_bytes(&self.server.data) as f64 / 1024.0 / mebibyte,
            core_percent: 100.0 * (to.cpu_seconds - from.cpu_seconds) / seconds,
            resident_mib: to.resident_bytes as f64 / mebibyte,
            rewrite_debt_mib: to.debt_bytes / mebibyte,
        }
    }
}

/// The words of one load as `odradek-perf load` reads them.
#[derive(Parser, Debug)]
#[command(no_binary_name = true)]
struct Words {
    #[command(flatten)]
    options: LoadOptions,
}

fn one_load(words: &[String], over: &AtomicBool, shared: &Shared) -> Result<LoadReport, PerfError> {
    let words = Words::try_parse_from(words);
    let words = words.map_err(|error| PerfError::Options(error.to_string()))?;
    let done = load::run_watched(&words.options, over, shared);
    if done.is_err() {
        // One that never began has failed as much as one that broke off.
        shared.failed.store(true, Ordering::Release);
    }
    done
}

fn refused(count: u64) -> String {
    match count {
        0 => String::new(),
        count => format!("  {count} REFUSED"),
    }
}

fn judge(options: &SoakOptions, report: &mut SoakReport) {
    let minutes = &report.minutes;
    let (first, rest) = match minutes.split_first() {
        Some((first, rest)) if !rest.is_empty() => (Ok(first), rest),
        _ => (
            Err("it ended before its second minute".to_string()),
            [].as_slice(),
        ),
    };
    let least = rest
        .iter()
        .map(|it| it.megabytes_per_second)
        .fold(f64::INFINITY, f64::min);
    let throughput = first.clone().map(|it| least / it.megabytes_per_second);
    let refused: u64 = minutes.iter().map(|it| it.refused).sum();
    let mean =
        |part: &[Minute]| part.iter().map(|it| it.used_share).sum::<f64>() / part.len() as f64;
    let quarter = minutes.len().div_ceil(4);
    let steady = first
        .clone()
        .map(|_| mean(&minutes[minutes.len() - quarter..]) / mean(&minutes[..quarter]));
    let folder_most = minutes.iter().map(|it| it.folder_gib).fold(0.0, f64::max);
    let start = report.row.values.get("in use at the start %").copied();
    let count = match minutes.is_empty() {
        false => Ok(refused as f64),
        true => Err("it ended before its first minute".into()),
    };
    report
        .row
        .values
        .insert("folder GiB at most".into(), folder_most);
    report.row.bars = vec![
        Bar::new(
            "least throughput of a minute / the first's",
            Bound::AtLeast(0.7),
            "x",
            throughput,
        ),
        Bar::new("refused produces", Bound::AtMost(0.0), "", count),
        Bar::new(
            "space in use, last quarter / first quarter",
            Bound::AtMost(1.05),
            "x",
            steady,
        ),
        Bar::new(
            "share in use at the start",
            Bound::AtLeast(options.full * FILLED_SHARE_MIN),
            "x",
            start
                .map(|it| it / 100.0)
                .ok_or_else(|| "it never began".into()),
        ),
    ];
    let asked = report.minutes.last().map_or(0.0, |it| it.at_minutes);
    if asked < options.minutes * 0.95 {
        report.row.notes.push(format!(
            "it ended after {asked:.1} of {} minutes",
            options.minutes
        ));
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "{:>7.2} min {:>8.1} MB/s  {:>5.1} % in use  folder {:>6.2} GiB  {:>5.1} % of a core  {:>6.0} MiB resident  {:>6.0} MiB to be rewritten{}",
            self.at_minutes,
            self.megabytes_per_second,
            100.0 * self.used_share,
            self.folder_gib,
            self.core_percent,
            self.resident_mib,
            self.rewrite_debt_mib,
            refused(self.refused)
        )
    }
}

impl fmt::Display for SoakReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{}{}", self.row.title, interrupted(self.interrupted))?;
        self.minutes
            .iter()
            .try_for_each(|minute| writeln!(to, "{minute}"))?;
        for (name, value) in &self.row.values {
            writeln!(to, "{name}: {value:.3}")?;
        }
        self.row
            .bars
            .iter()
            .try_for_each(|bar| writeln!(to, "  {bar}"))?;
        self.row
            .notes
            .iter()
            .try_for_each(|note| writeln!(to, "  note: {note}"))
    }
}
