//! The command `summary`: many load reports, as `load --json` printed them, become one table of medians and ratios, and one
//! results file with commit, machine and kernel.

use crate::report::{Conditions, LoadReport};
use crate::{PerfError, process};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// The label that says which server a run was against.
pub const SYSTEM: &str = "system";

/// What to do.
#[derive(Clone, Debug, clap::Args)]
pub struct SummaryOptions {
    /// A file with one report of `load --json` on each line.
    pub runs: PathBuf,
    /// The server that the others are compared with, as in `--label system=NAME`.
    #[arg(long, value_name = "NAME", default_value = "kafka")]
    pub baseline: String,
    /// The commit measured.
    #[arg(long, default_value = "unknown")]
    pub commit: String,
    /// The command that made the runs, to be kept with them.
    #[arg(long, default_value = "")]
    pub command: String,
    /// Something to keep with the figures, such as the servers' versions; may be repeated.
    #[arg(long = "note")]
    pub notes: Vec<String>,
    /// Also write everything, each run included, to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// The middle of several rounds, with the lowest and the highest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Spread {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl Spread {
    /// Of at least one figure.
    pub fn of(figures: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() {
            0 => return None,
            count if count % 2 == 1 => sorted[middle],
            _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
        };
        Some(Spread {
            median,
            lowest: sorted[0],
            highest: sorted[sorted.len() - 1],
        })
    }
}

/// One server under one load.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct SystemFigures {
    pub system: String,
    pub rounds: usize,
    pub requests_per_second: Spread,
    pub megabytes_per_second: Spread,
    pub p50_us: Spread,
    pub p99_us: Spread,
    pub server_cpu_seconds_per_gigabyte: Option<Spread>,
    pub disk_bytes_per_byte: Option<Spread>,
    pub resident_peak_bytes: Option<u64>,
    pub load_cores: Spread,
    /// Refusals and interruptions in any round.
    pub faults: u64,
}

/// Two servers under the same load: medians divided.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// The server above the line.
    pub system: String,
    /// The server below it.
    pub baseline: String,
    /// Throughput.
    pub throughput: f64,
    /// CPU seconds for each GB: below 1 is cheaper.
    pub server_cpu: Option<f64>,
}

/// One load, against each server.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// What was asked for.
    pub conditions: Conditions,
    /// Each server's figures.
    pub systems: Vec<SystemFigures>,
    /// Against the baseline; empty when a round had errors, was cut short, or rounds are missing.
    pub ratios: Vec<Ratio>,
}

/// The results file.
#[derive(Debug, Serialize)]
struct Results<'a> {
    taken_at_unix_seconds: u64,
    commit: &'a str,
    command: &'a str,
    notes: &'a [String],
    machine: String,
    kernel: String,
    cases: &'a [Case],
    runs: &'a [LoadReport],
}

/// Reads the runs, writes the results file where one is named, and gives the table.
///
/// # Errors
/// When a file cannot be read or written, or holds no reports.
pub fn run(options: &SummaryOptions) -> Result<String, PerfError> {
    let path = options.runs.display();
    let text = std::fs::read_to_string(&options.runs)
        .map_err(|error| PerfError::Options(format!("{path}: {error}")))?;
    let runs: Vec<LoadReport> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .map_err(|error| PerfError::Options(format!("{path} holds no load reports: {error}")))?;
    let cases = cases(&runs, &options.baseline);
    if let Some(output) = &options.output {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let results = Results {
            taken_at_unix_seconds: since.map_or(0, |since| since.as_secs()),
            commit: &options.commit,
            command: &options.command,
            notes: &options.notes,
            machine: process::machine(),
            kernel: process::kernel(),
            cases: &cases,
            runs: &runs,
        };
        let json = serde_json::to_string_pretty(&results)
            .map_err(|error| PerfError::codec("writing JSON", error))?;
        std::fs::write(output, json + "\n")
            .map_err(|error| PerfError::Options(format!("{}: {error}", output.display())))?;
    }
    Ok(table(&cases))
}

/// Groups the runs by what was asked for, in the order in which that first came.
pub fn cases(runs: &[LoadReport], baseline: &str) -> Vec<Case> {
    let mut groups: Vec<(Conditions, BTreeMap<String, Vec<&LoadReport>>)> = Vec::new();
    for run in runs {
        let system = run.labels.get(SYSTEM).map_or("unnamed", String::as_str);
        let at = groups
            .iter()
            .position(|(asked, _)| *asked == run.conditions);
        let at = at.unwrap_or_else(|| {
            groups.push((run.conditions.clone(), BTreeMap::new()));
            groups.len() - 1
        });
        groups[at].1.entry(system.into()).or_default().push(run);
    }
    let case = |(conditions, by_system): (Conditions, BTreeMap<String, Vec<&LoadReport>>)| {
        let systems: Vec<_> = by_system
            .iter()
            .filter_map(|(system, runs)| figures(system, runs))
            .collect();
        let ratios = ratios(&systems, baseline);
        Case {
            conditions,
            systems,
            ratios,
        }
    };
    groups.into_iter().map(case).collect()
}

fn figures(system: &str, runs: &[&LoadReport]) -> Option<SystemFigures> {
    let spread =
        |figure: &dyn Fn(&LoadReport) -> f64| Spread::of(runs.iter().map(|run| figure(run)));
    let servers = || runs.iter().filter_map(|run| run.server.as_ref());
    Some(SystemFigures {
        system: system.into(),
        rounds: runs.len(),
        requests_per_second: spread(&|run| run.requests_per_second)?,
        megabytes_per_second: spread(&|run| run.megabytes_per_second)?,
        p50_us: spread(&|run| run.latency.p50_us)?,
        p99_us: spread(&|run| run.latency.p99_us)?,
        server_cpu_seconds_per_gigabyte: Spread::of(
            servers().map(|server| server.cpu_seconds_per_gigabyte),
        ),
        disk_bytes_per_byte: Spread::of(servers().map(|server| server.disk_bytes_per_byte)),
        resident_peak_bytes: servers().map(|server| server.resident_peak_bytes).max(),
        load_cores: spread(&|run| run.load_cpu_seconds / run.measured_seconds)?,
        faults: runs
            .iter()
            .map(|run| run.errors.values().sum::<u64>() + u64::from(run.interrupted))
            .sum(),
    })
}

fn ratios(systems: &[SystemFigures], baseline: &str) -> Vec<Ratio> {
    let Some(base) = systems.iter().find(|figures| figures.system == baseline) else {
        return Vec::new();
    };
    let fair = |figures: &&SystemFigures| {
        figures.system != baseline
            && figures.faults + base.faults == 0
            && figures.rounds == base.rounds
    };
    let cpu = |figures: &SystemFigures| Some(figures.server_cpu_seconds_per_gigabyte?.median);
    systems
        .iter()
        .filter(fair)
        .map(|figures| Ratio {
            system: figures.system.clone(),
            baseline: baseline.into(),
            throughput: figures.requests_per_second.median / base.requests_per_second.median,
            server_cpu: cpu(figures)
                .zip(cpu(base))
                .map(|(ours, theirs)| ours / theirs),
        })
        .collect()
}

/// The medians, for people.
pub fn table(cases: &[Case]) -> String {
    let mut text = format!(
        "{:<9} {:>8}  {:<9} {:>10} {:>9} {:>10} {:>10} {:>9} {:>8} {:>8}  {}\n",
        "conn x in",
        "batch",
        "server",
        "requests/s",
        "MB/s",
        "p50 us",
        "p99 us",
        "CPU s/GB",
        "disk B/B",
        "RSS MiB",
        "range of requests/s"
    );
    for case in cases {
        let asked = &case.conditions;
        for figures in &case.systems {
            let median = |spread: Option<Spread>| {
                spread.map_or("-".into(), |spread| format!("{:.2}", spread.median))
            };
            let faults = match figures.faults {
                0 => String::new(),
                faults => format!("  {faults} ERRORS: no ratio"),
            };
            let _ = writeln!(
                text,
                "{:<9} {:>8}  {:<9} {:>10.0} {:>9.1} {:>10.0} {:>10.0} {:>9} {:>8} {:>8}  {:.0}-{:.0} ({} rounds){faults}",
                format!("{} x {}", asked.connections, asked.in_flight),
                asked.batch_bytes,
                figures.system,
                figures.requests_per_second.median,
                figures.megabytes_per_second.median,
                figures.p50_us.median,
                figures.p99_us.median,
                median(figures.server_cpu_seconds_per_gigabyte),
                median(figures.disk_bytes_per_byte),
                figures
                    .resident_peak_bytes
                    .map_or("-".into(), |bytes| (bytes >> 20).to_string()),
                figures.requests_per_second.lowest,
                figures.requests_per_second.highest,
                figures.rounds,
            );
        }
        for ratio in &case.ratios {
            let cpu = ratio.server_cpu.map_or(String::new(), |cpu| {
                format!(", {cpu:.3} x its CPU per GB (1/{:.1})", 1.0 / cpu)
            });
            let _ = writeln!(
                text,
                "{:<18}  {} is {:.2} x {} in throughput{cpu}",
                "", ratio.system, ratio.throughput, ratio.baseline
            );
        }
    }
    text
}
