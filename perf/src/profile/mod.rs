//! The command `profile`: a server of ours under one load, and where its time goes: system calls for each request by kind, what the loop's ring
//! counts, and samples of the processor by area. `areas` has the table of symbols, `perf_tool` runs Linux's perf, `page` draws what was kept.

mod areas;
mod perf_tool;

use crate::PerfError;
use crate::bars;
use crate::report::{LoadReport, interrupted, ratio};
use crate::results::{self, Origin, Taken};
use crate::runner::{Load, Runner};
use crate::scrape::Scrape;
use crate::systems::{Running, System, Tools};
use clap::Parser;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Batches that wait to be read in a profile of fetching, written at this rate, bytes a second.
const HISTORY_BYTES_PER_SECOND: f64 = 250e6;

/// What to do.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ProfileOptions {
    /// What to call it: the name of a row of `bars`, so that the page shows it there; that row's load is used where --load gives none.
    #[arg(long, value_name = "NAME", default_value = "produce-1k-deep")]
    pub name: String,
    /// The load, as words of `odradek-perf load`: --connections, --in-flight, --batch-bytes, --partitions, --rate.
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub load: Option<String>,
    /// Profile reading instead: write --history-bytes with the load's batches and partitions, start the server again, then read with these words
    /// of `odradek-perf fetch`.
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub fetch: Option<String>,
    /// With --fetch: what lies there to be read.
    #[arg(long, value_name = "BYTES", default_value_t = 2 << 30)]
    pub history_bytes: u64,
    /// With --fetch: read from the server that wrote it, whose caches are warm, without starting it again.
    #[arg(long, requires = "fetch")]
    pub warm: bool,
    /// How long each of the three parts takes: counters, system calls, samples.
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = crate::load::parse_seconds)]
    pub seconds: f64,
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
    /// Keep the report in this folder too, as profile-TIME.json.
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
odradek-perf profile                                                    8 connections x 32 in flight, 1 KiB batches\n  \
odradek-perf profile --name produce-64k --results perf/results          a row of `bars`, kept for the page\n  \
odradek-perf profile --name mine --load \"--connections 1 --in-flight 1 --batch-bytes 4096\"\n  \
odradek-perf profile --name catch-up-1 --load \"--partitions 1 --batch-bytes 65536\" --fetch \"--connections 1 --no-verify\"\n\n\
Needs Linux's perf, and the right to use it (root, or kernel.perf_event_paranoid at most 1 and readable tracepoints); without it the server's \
own counters are shown and the rest says `not measured`. Symbols come from the binary: one that was stripped gives `unresolved`.";

/// Words of a load on one line.
#[derive(Parser, Debug)]
#[command(no_binary_name = true)]
struct Words {
    #[command(flatten)]
    load: Load,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProfileReport {
    /// Commit, command, machine and kernel.
    pub origin: Taken,
    /// The row it belongs to.
    pub name: String,
    /// What was run.
    pub work: String,
    /// Requests each second while nothing but counters was read.
    pub requests_per_second: f64,
    /// Bytes of batches taken in and given out each second, 10^6.
    pub megabytes_per_second: f64,
    /// The server's CPU for each request, microseconds.
    pub cpu_us_per_request: f64,
    /// What the server counts of its loop, for each request: entries of the ring, operations on it, sends, durable writes.
    pub loop_per_request: BTreeMap<String, f64>,
    /// System calls for each request, by name; none where they could not be counted.
    pub system_calls_per_request: BTreeMap<String, f64>,
    /// Shares of the server's processor time by area.
    pub areas: BTreeMap<String, f64>,
    /// Of those, what is ours by crate and module.
    pub modules: BTreeMap<String, f64>,
    /// The symbols with the largest shares.
    pub symbols: Vec<(String, f64)>,
    /// Samples that the shares are of.
    pub samples: u64,
    /// What is missing, and why.
    pub not_measured: Vec<String>,
    /// Stopped before its end, by Ctrl-C.
    pub interrupted: bool,
}

/// Profiles one server under one load. `stop` ends it early, with what was measured so far.
///
/// # Errors
/// When the server cannot be started or the load fails.
pub fn run(options: &ProfileOptions, stop: &AtomicBool) -> Result<ProfileReport, PerfError> {
    let runner = Runner {
        stop,
        quiet: options.quiet,
    };
    let load = load(options)?;
    runner.say(&format!("{}: starting odradek", options.name));
    let mut server = Running::start(System::Odradek, &options.tools, &options.odradek_options)?;
    let mut report = ProfileReport {
        origin: options.origin.taken("profile", &options.tools.folder),
        name: options.name.clone(),
        work: format!("odradek-perf load {}", shown(options, &load)),
        requests_per_second: 0.0,
        megabytes_per_second: 0.0,
        cpu_us_per_request: 0.0,
        loop_per_request: BTreeMap::new(),
        system_calls_per_request: BTreeMap::new(),
        areas: BTreeMap::new(),
        modules: BTreeMap::new(),
        symbols: Vec::new(),
        samples: 0,
        not_measured: Vec::new(),
        interrupted: false,
    };
    if let Some(words) = &options.fetch {
        report.work = format!("{}, then odradek-perf fetch {words}", report.work);
        write_history(&runner, &server, options, &load)?;
        if !options.warm {
            server.restart(&options.tools)?;
        }
    }
    let (over, shared) = (AtomicBool::new(false), &server);
    // A stop of its own for the work: it goes on until the last part is done, however long perf takes to begin and end.
    let outcome = std::thread::scope(|scope| {
        let worker = Runner {
            stop: &over,
            quiet: true,
        };
        let (load, over) = (&load, &over);
        let work = scope.spawn(move || {
            let done = work(&worker, shared, options, load);
            over.store(true, Ordering::Relaxed);
            done
        });
        let watched = watch(&runner, shared, options, over, &mut report);
        over.store(true, Ordering::Relaxed);
        let worked = work.join().expect("the work does not panic");
        worked.and(watched)
    });
    report.interrupted = runner.stopped();
    match outcome {
        Err(error) if !report.interrupted => return Err(error),
        _ => {}
    }
    if let Some(folder) = &options.results {
        results::keep(folder, "profile", &report)?;
    }
    Ok(report)
}

/// The load of the words, or of the row.
fn load(options: &ProfileOptions) -> Result<Load, PerfError> {
    let mut load = match (&options.load, bars::load_of(&options.name)) {
        (Some(words), _) => {
            let words = words.split_whitespace();
            let words = Words::try_parse_from(words);
            words
                .map_err(|error| PerfError::Options(format!("--load: {error}")))?
                .load
        }
        (None, Some(load)) => load,
        (None, None) => {
            return Err(PerfError::Options(format!(
                "--name {}: that is no row with a load of its own; say --load",
                options.name
            )));
        }
    };
    load.warm_up_seconds = 0.5;
    load.seconds = 86_000.0;
    Ok(load)
}

/// The words by which a person would put on the same load.
fn shown(options: &ProfileOptions, load: &Load) -> String {
    let load = Load {
        seconds: options.seconds,
        ..load.clone()
    };
    load.arguments().join(" ")
}

fn write_history(
    runner: &Runner<'_>,
    server: &Running,
    options: &ProfileOptions,
    load: &Load,
) -> Result<(), PerfError> {
    runner.say(&format!(
        "  writing {} MB to read",
        options.history_bytes / 1_000_000
    ));
    let load = Load {
        rate: Some((HISTORY_BYTES_PER_SECOND / load.batch_bytes as f64).ceil()),
        seconds: options.history_bytes as f64 / HISTORY_BYTES_PER_SECOND,
        warm_up_seconds: 0.0,
        ..load.clone()
    };
    runner.load(server, &options.name, &load).map(drop)
}

/// The load, or the reading of what was written again and again, until told to end.
fn work(
    runner: &Runner<'_>,
    server: &Running,
    options: &ProfileOptions,
    load: &Load,
) -> Result<(), PerfError> {
    let Some(words) = &options.fetch else {
        let report: LoadReport = runner.load(server, &options.name, load)?;
        return match report.errors.iter().next() {
            None => Ok(()),
            Some((name, count)) => Err(PerfError::Unanswered(format!("{count} x {name}"))),
        };
    };
    let mut all = vec!["fetch", "--quiet", "--json", "--bootstrap", &server.address];
    all.extend(["--topic", &options.name, "--seconds", "86000"]);
    all.extend(words.split_whitespace());
    let all: Vec<String> = all.into_iter().map(String::from).collect();
    let longest = Duration::from_secs_f64(load.seconds);
    runner.child::<serde_json::Value>(&all, longest).map(drop)
}

/// One look at a server's own counters and at what the kernel counts of it.
struct Look {
    counters: Scrape,
    cpu_seconds: f64,
}

impl Look {
    fn at(server: &Running) -> Result<Look, PerfError> {
        Ok(Look {
            counters: Scrape::of(&server.metrics_address())?,
            cpu_seconds: crate::process::usage(server.pid)?.cpu_seconds,
        })
    }

    fn rise(&self, later: &Look, metric: &str) -> Option<f64> {
        Some(later.counters.sum(metric)? - self.counters.sum(metric)?)
    }

    fn requests(&self, later: &Look) -> f64 {
        self.rise(later, "odradek_requests").unwrap_or(0.0)
    }
}

/// Metrics of the loop that are shown for each request, and what they are called.
const LOOP: [(&str, &str); 7] = [
    ("odradek_ring_enters", "entries of the ring"),
    ("odradek_ring_submissions", "operations on the ring"),
    ("odradek_sends", "sends"),
    ("odradek_log_writes", "durable writes"),
    ("odradek_disk_operations", "disk operations"),
    ("odradek_loop_turns", "turns of the loop"),
    ("odradek_loop_parks", "sleeps of the loop"),
];

fn watch(
    runner: &Runner<'_>,
    server: &Running,
    options: &ProfileOptions,
    over: &AtomicBool,
    report: &mut ProfileReport,
) -> Result<(), PerfError> {
    // The load's own warm-up, and what goes before it to make the topic.
    pause(
        runner,
        over,
        Duration::from_secs_f64(options.seconds.clamp(1.0, 2.5)),
    );
    count_loop(runner, server, options, over, report)?;
    let ended = || runner.stopped() || over.load(Ordering::Relaxed);
    runner.say(&format!(
        "  {:.0} requests/s; counting system calls",
        report.requests_per_second
    ));
    if !ended() {
        let (began, before) = (Instant::now(), Look::at(server)?);
        match perf_tool::system_calls(server.pid, options.seconds) {
            Ok(calls) => {
                // The tool takes a while to come and go, so the rate of these seconds counts, not the requests between the looks.
                let rate = before.requests(&Look::at(server)?) / began.elapsed().as_secs_f64();
                let each = calls
                    .into_iter()
                    .map(|(name, count)| (name, ratio(count as f64, rate * options.seconds)));
                report.system_calls_per_request = each.collect();
            }
            Err(why) => report.not_measured.push(format!("system calls: {why}")),
        }
    }
    runner.say("  sampling");
    if !ended() {
        match perf_tool::samples(server.pid, options.seconds, &options.tools.folder) {
            Ok(samples) => {
                report.areas = samples.areas;
                report.modules = samples.modules;
                report.symbols = samples.symbols;
                report.samples = samples.count;
            }
            Err(why) => report.not_measured.push(format!("shares: {why}")),
        }
    }
    Ok(())
}

/// What the server itself counts, with no tool beside it.
fn count_loop(
    runner: &Runner<'_>,
    server: &Running,
    options: &ProfileOptions,
    over: &AtomicBool,
    report: &mut ProfileReport,
) -> Result<(), PerfError> {
    let began = Instant::now();
    let before = Look::at(server)?;
    pause(runner, over, Duration::from_secs_f64(options.seconds));
    let after = Look::at(server)?;
    let requests = before.requests(&after);
    let seconds = began.elapsed().as_secs_f64();
    report.requests_per_second = requests / seconds;
    let bytes = [
        "odradek_shard_appended_bytes",
        "odradek_shard_fetched_bytes",
    ]
    .iter()
    .filter_map(|metric| before.rise(&after, metric));
    report.megabytes_per_second = bytes.sum::<f64>() / 1e6 / seconds;
    report.cpu_us_per_request = ratio((after.cpu_seconds - before.cpu_seconds) * 1e6, requests);
    for (metric, name) in LOOP {
        if let Some(rise) = before.rise(&after, metric) {
            report
                .loop_per_request
                .insert(name.into(), ratio(rise, requests));
        }
    }
    Ok(())
}

fn pause(runner: &Runner<'_>, over: &AtomicBool, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until && !runner.stopped() && !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(10).min(time));
    }
}

impl ProfileReport {
    /// Areas and their shares, the largest first.
    pub fn shares(&self) -> Vec<(&str, f64)> {
        let shares = self
            .areas
            .iter()
            .map(|(area, share)| (area.as_str(), *share));
        let mut shares: Vec<_> = shares.collect();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        shares
    }
}

impl fmt::Display for ProfileReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            to,
            "{}: {}{}\n{:.0} requests/s, {:.1} MB/s, {:.2} us of CPU a request",
            self.name,
            self.work,
            interrupted(self.interrupted),
            self.requests_per_second,
            self.megabytes_per_second,
            self.cpu_us_per_request
        )?;
        for (title, figures) in [
            ("counted by the server, a request", &self.loop_per_request),
            ("system calls, a request", &self.system_calls_per_request),
        ] {
            writeln!(to, "\n{title}")?;
            let mut figures: Vec<_> = figures.iter().collect();
            figures.sort_by(|a, b| b.1.total_cmp(a.1));
            for (name, each) in figures {
                writeln!(to, "  {name:<40} {each:>9.4}")?;
            }
        }
        writeln!(to, "\nshares of {} samples by area", self.samples)?;
        for (area, share) in self.shares() {
            writeln!(to, "  {area:<40} {:>8.1} %", 100.0 * share)?;
        }
        let mut modules: Vec<_> = self.modules.iter().collect();
        modules.sort_by(|a, b| b.1.total_cmp(a.1));
        writeln!(to, "\nours, by module")?;
        for (module, share) in modules.iter().take(25) {
            writeln!(to, "  {module:<40} {:>8.1} %", 100.0 * *share)?;
        }
        writeln!(to, "\nby symbol")?;
        for (symbol, share) in self.symbols.iter().take(25) {
            writeln!(to, "  {:>5.1} %  {symbol}", 100.0 * share)?;
        }
        self.not_measured
            .iter()
            .try_for_each(|why| writeln!(to, "not measured: {why}"))
    }
}
