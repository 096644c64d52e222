//! Many load reports of one system become medians with their spread, and two systems' medians become a ratio, where that is fair.
//! `compare` and `bars` show them; `bars::judge` holds them against the bars.

use crate::report::LoadReport;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// The middle of several rounds, with the lowest and the highest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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

/// One system under one load, over its rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Which.
    pub system: String,
    /// Rounds it had.
    pub rounds: usize,
    /// Requests stored each second.
    pub requests_per_second: Spread,
    /// 10^6 bytes of batches each second.
    pub megabytes_per_second: Spread,
    /// Half of the requests took no longer, microseconds.
    pub p50_us: Spread,
    /// 99 of 100 took no longer, microseconds.
    pub p99_us: Spread,
    /// The longest, microseconds.
    pub max_us: Spread,
    /// The server's CPU for each 10^9 bytes.
    pub cpu_seconds_per_gigabyte: Option<Spread>,
    /// Bytes written to disk for each byte of batches.
    pub disk_bytes_per_byte: Option<Spread>,
    /// The most memory it ever had, bytes.
    pub resident_peak_bytes: Option<u64>,
    /// Cores that making the load took.
    pub load_cores: Spread,
    /// Why no ratio may be made of this, where that is so.
    pub spoiled: Option<String>,
    /// The runs themselves.
    pub runs: Vec<LoadReport>,
}

impl Figures {
    /// Of at least one run.
    pub fn of(system: &str, runs: &[LoadReport]) -> Option<Figures> {
        let spread = |figure: &dyn Fn(&LoadReport) -> f64| Spread::of(runs.iter().map(figure));
        let servers = || runs.iter().filter_map(|run| run.server.as_ref());
        Some(Figures {
            system: system.into(),
            rounds: runs.len(),
            requests_per_second: spread(&|run| run.requests_per_second)?,
            megabytes_per_second: spread(&|run| run.megabytes_per_second)?,
            p50_us: spread(&|run| run.latency.p50_us)?,
            p99_us: spread(&|run| run.latency.p99_us)?,
            max_us: spread(&|run| run.latency.max_us)?,
            cpu_seconds_per_gigabyte: Spread::of(
                servers().map(|server| server.cpu_seconds_per_gigabyte),
            ),
            disk_bytes_per_byte: Spread::of(servers().map(|server| server.disk_bytes_per_byte)),
            resident_peak_bytes: servers().map(|server| server.resident_peak_bytes).max(),
            load_cores: spread(&|run| {
                run.load_cpu_seconds / run.measured_seconds.max(f64::MIN_POSITIVE)
            })?,
            spoiled: spoiled(runs),
            runs: runs.to_vec(),
        })
    }
}

/// What makes runs of one system unfit for a ratio.
fn spoiled(runs: &[LoadReport]) -> Option<String> {
    for (round, run) in runs.iter().enumerate() {
        let round = round + 1;
        if let Some((name, count)) = run.errors.iter().next() {
            return Some(format!("errors in round {round}: {count} x {name}"));
        }
        if run.interrupted {
            return Some(format!("round {round} was interrupted"));
        }
        if run.requests == 0 {
            return Some(format!("nothing was stored in round {round}"));
        }
        if run.conditions != runs[0].conditions {
            return Some(format!(
                "round {round} was under other conditions than round 1"
            ));
        }
    }
    None
}

/// Whether a ratio of the two says anything: the same work, as many rounds, and no errors.
///
/// # Errors
/// Why not, in words.
pub fn comparable(ours: &Figures, theirs: &Figures) -> Result<(), String> {
    for figures in [ours, theirs] {
        if let Some(why) = &figures.spoiled {
            return Err(format!("{}: {why}", figures.system));
        }
    }
    if ours.rounds != theirs.rounds {
        return Err(format!(
            "{} had {} rounds, {} had {}",
            ours.system, ours.rounds, theirs.system, theirs.rounds
        ));
    }
    let asked = |figures: &Figures| figures.runs.first().map(|run| run.conditions.clone());
    if asked(ours) != asked(theirs) {
        return Err(format!(
            "{} and {} had different conditions: {:?} against {:?}",
            ours.system,
            theirs.system,
            asked(ours),
            asked(theirs)
        ));
    }
    Ok(())
}

/// The medians, a line for each system, for people.
pub fn table(all: &[Figures]) -> String {
    let mut text = format!(
        "{:<12} {:>11} {:>9} {:>10} {:>10} {:>10} {:>9} {:>9} {:>8} {:>6}  {}\n",
        "server",
        "requests/s",
        "MB/s",
        "p50 us",
        "p99 us",
        "max us",
        "CPU s/GB",
        "disk B/B",
        "RSS MiB",
        "load",
        "range of requests/s"
    );
    for figures in all {
        let median = |spread: Option<Spread>| {
            spread.map_or("-".into(), |spread| format!("{:.2}", spread.median))
        };
        let spoiled = match &figures.spoiled {
            None => String::new(),
            Some(why) => format!("  NO RATIO: {why}"),
        };
        let _ = writeln!(
            text,
            "{:<12} {:>11.0} {:>9.1} {:>10.0} {:>10.0} {:>10.0} {:>9} {:>9} {:>8} {:>6.2}  {:.0}-{:.0} ({} rounds){spoiled}",
            figures.system,
            figures.requests_per_second.median,
            figures.megabytes_per_second.median,
            figures.p50_us.median,
            figures.p99_us.median,
            figures.max_us.median,
            median(figures.cpu_seconds_per_gigabyte),
            median(figures.disk_bytes_per_byte),
            figures
                .resident_peak_bytes
                .map_or("-".into(), |bytes| (bytes >> 20).to_string()),
            figures.load_cores.median,
            figures.requests_per_second.lowest,
            figures.requests_per_second.highest,
            figures.rounds,
        );
    }
    text
}

/// The first system against each of the others, for people.
pub fn ratios(all: &[Figures]) -> String {
    let mut text = String::new();
    let Some((ours, others)) = all.split_first() else {
        return text;
    };
    for theirs in others {
        let _ = match comparable(ours, theirs) {
            Err(why) => writeln!(
                text,
                "{} against {}: no ratio: {why}",
                ours.system, theirs.system
            ),
            Ok(()) => {
                let cpu = ours
                    .cpu_seconds_per_gigabyte
                    .zip(theirs.cpu_seconds_per_gigabyte)
                    .map_or(String::new(), |(ours, theirs)| {
                        let times = ours.median / theirs.median;
                        format!(", CPU per GB {times:.3} x (1/{:.1})", 1.0 / times)
                    });
                writeln!(
                    text,
                    "{} against {}: throughput {:.2} x{cpu}, p50 {:.2} x, p99 {:.2} x",
                    ours.system,
                    theirs.system,
                    ours.requests_per_second.median / theirs.requests_per_second.median,
                    ours.p50_us.median / theirs.p50_us.median,
                    ours.p99_us.median / theirs.p99_us.median,
                )
            }
        };
    }
    text
}
