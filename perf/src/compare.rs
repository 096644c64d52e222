//! The command `compare`: starts each system, gives all the same load in turn (A B C A B C), one at a time, and prints medians, spread and
//! ratios. `systems` starts them, `runner` drives them, `figures` refuses the ratios that would not be fair.

use crate::PerfError;
use crate::figures::{self, Figures};
use crate::report::LoadReport;
use crate::results::{self, Origin, Taken};
use crate::runner::{Load, Runner};
use crate::systems::{Running, System, Tools};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// What to do.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct CompareOptions {
    /// Which systems, the first against each of the others.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "odradek,kafka,floor-ring,floor-sync"
    )]
    pub systems: Vec<System>,
    /// Rounds for each.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub load: Load,
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
    /// What to call it in the results: the row of `bars` whose load this is.
    #[arg(long, value_name = "ROW")]
    pub name: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub origin: Origin,
    /// Keep the report in this folder too, as compare-TIME.json.
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
odradek-perf compare --batch-bytes 1024                                 Odradek, Kafka and both floors\n  \
odradek-perf compare --systems odradek,kafka-flush --seconds 10         Kafka that waits for the disk too\n  \
odradek-perf compare --systems floor-ring,floor-sync --in-flight 1 --connections 1\n  \
odradek-perf compare --name produce-16k --design \"two rings\" --kept false --note \"a ring for sends\" --results perf/results\n\n\
No ratio is printed where the two did not do the same work, had errors, or another number of rounds; it says so instead.";

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompareReport {
    /// Commit, command, machine and kernel.
    #[serde(default)]
    pub origin: Option<Taken>,
    /// The row whose load this is, as far as it was said.
    #[serde(default)]
    pub name: Option<String>,
    /// Each system's medians and runs.
    pub figures: Vec<Figures>,
    /// Runs that gave no figures, in words.
    pub failures: Vec<String>,
    /// Stopped before its end, by Ctrl-C.
    pub interrupted: bool,
}

/// Starts the systems and compares them. `stop` ends it early, with what was measured so far.
///
/// # Errors
/// When a system cannot be started.
pub fn run(options: &CompareOptions, stop: &AtomicBool) -> Result<CompareReport, PerfError> {
    let runner = Runner {
        stop,
        quiet: options.quiet,
    };
    let origin = options.origin.taken("compare", &options.tools.folder);
    let mut servers = Vec::new();
    for system in &options.systems {
        if runner.stopped() {
            break;
        }
        runner.say(&format!("starting {}", system.name()));
        let words = match system {
            System::Odradek => options.odradek_options.as_slice(),
            _ => &[],
        };
        servers.push(Running::start(*system, &options.tools, words)?);
    }
    warm_up(&runner, &servers)?;
    let servers: Vec<&Running> = servers.iter().collect();
    let (figures, failures) = rounds(
        &runner,
        &servers,
        Topic::Settled("compare"),
        options.rounds,
        &options.load,
    );
    let report = CompareReport {
        origin: Some(origin),
        name: options.name.clone(),
        figures,
        failures,
        interrupted: runner.stopped(),
    };
    if let Some(folder) = &options.results {
        results::keep(folder, "compare", &report)?;
    }
    Ok(report)
}

/// A JVM compiles what it runs often: 8 s of load before the first round that counts.
///
/// # Errors
/// When that load fails.
pub fn warm_up(runner: &Runner<'_>, servers: &[Running]) -> Result<(), PerfError> {
    for server in servers.iter().filter(|server| server.system.is_kafka()) {
        if runner.stopped() {
            return Ok(());
        }
        runner.say(&format!(
            "{}: 8 s of load for its compiler",
            server.system.name()
        ));
        let load = Load {
            connections: 8,
            in_flight: 32,
            batch_bytes: 16_384,
            partitions: 16,
            rate: None,
            seconds: 8.0,
            warm_up_seconds: 0.0,
        };
        runner.load(server, "warm-up", &load)?;
    }
    Ok(())
}

/// The same load on each server in turn, `rounds` times over. A run that fails is said, and spoils its system's ratios by its absence.
/// Gives the figures, and what failed.
pub fn rounds(
    runner: &Runner<'_>,
    servers: &[&Running],
    topic: Topic<'_>,
    rounds: u32,
    load: &Load,
) -> (Vec<Figures>, Vec<String>) {
    let mut runs: Vec<Vec<LoadReport>> = vec![Vec::new(); servers.len()];
    let mut failures = Vec::new();
    let name_of_topic = match topic {
        Topic::Settled(name) | Topic::Kept(name) => name,
    };
    if let Topic::Settled(_) = topic {
        for server in servers.iter().filter(|server| !server.system.is_floor()) {
            runner.say(&format!("  settling {}", server.system.name()));
            if let Err(error) = runner.load(server, name_of_topic, load) {
                failures.push(format!("settling: {error}"));
            }
            runner.delete_topic(server, name_of_topic);
        }
    }
    for round in 1..=rounds {
        for (server, runs) in servers.iter().zip(&mut runs) {
            if runner.stopped() {
                break;
            }
            let name = server.system.name();
            let run = runner.load(server, name_of_topic, load);
            if let Topic::Settled(_) = topic {
                runner.delete_topic(server, name_of_topic);
            }
            match run {
                Ok(report) => {
                    runner.say(&format!(
                        "  round {round} of {rounds}: {name:<12} {:>9.0} requests/s {:>8.1} MB/s  p99 {:>8.0} us{}",
                        report.requests_per_second,
                        report.megabytes_per_second,
                        report.latency.p99_us,
                        if report.errors.is_empty() { "" } else { "  ERRORS" },
                    ));
                    runs.push(report);
                }
                Err(error) => {
                    runner.say(&format!(
                        "  round {round} of {rounds}: {name} FAILED: {error}"
                    ));
                    failures.push(format!("round {round}: {error}"));
                }
            }
        }
    }
    let figures = servers.iter().zip(&runs);
    let figures = figures.filter_map(|(server, runs)| Figures::of(server.system.name(), runs));
    (figures.collect(), failures)
}

/// What the rounds write to.
#[derive(Clone, Copy, Debug)]
pub enum Topic<'name> {
    /// A topic that is deleted after each round, with one round before that counts nowhere: the JVM has compiled what it needs, and the files that
    /// the server made for it are used again, as in a server that has run for a while.
    Settled(&'name str),
    /// One that stays.
    Kept(&'name str),
}

impl fmt::Display for CompareReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = self
            .figures
            .first()
            .and_then(|figures| figures.runs.first());
        if let Some(run) = run {
            let asked = &run.conditions;
            writeln!(
                to,
                "{} connections x {} in flight, {} partitions, batches of {} bytes, acks {}, {} s a round{}",
                asked.connections,
                asked.in_flight,
                asked.partitions,
                asked.batch_bytes,
                asked.acks,
                asked.seconds,
                if self.interrupted {
                    " (interrupted)"
                } else {
                    ""
                }
            )?;
        }
        write!(
            to,
            "{}{}",
            figures::table(&self.figures),
            figures::ratios(&self.figures)
        )?;
        for failure in &self.failures {
            writeln!(to, "FAILED {failure}")?;
        }
        Ok(())
    }
}
