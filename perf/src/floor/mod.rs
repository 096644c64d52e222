//! The commands `floor` and `floor-server`: what this machine can do at best, by the least code that could work.
//!
//! `network`, `memory` and `disk` measure its parts, `cold_fetch` two of them at once. `server` is a produce floor as a process; `wire`, `store`,
//! `sync_server` and `ring_server` are what it is made of. What a server cannot beat is known only beside it, on the same machine in the same minutes.

pub mod cold_fetch;
pub mod disk;
mod memory;
mod network;
mod ring_server;
pub mod server;
mod store;
mod sync_server;
mod wire;

use crate::PerfError;
use crate::compare::{self, Topic};
use crate::figures::{self, Figures};
use crate::results::{self, Origin, Taken};
use crate::runner::{Load, Runner};
use crate::systems::{Running, System, Tools};
use cold_fetch::Pace;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Loads of the produce floors: connections, in flight, bytes of a batch.
const PRODUCE_LOADS: [(usize, usize, usize); 7] = [
    (4, 5, 1_024),
    (4, 5, 16_384),
    (4, 5, 65_536),
    (4, 5, 921_600),
    (8, 32, 1_024),
    (8, 32, 16_384),
    (1, 1, 4_096),
];
/// Bytes of the file that is read in order.
const READ_FILE_BYTES: u64 = 512 << 20;

/// What to do.
#[derive(Clone, Debug, clap::Args)]
pub struct FloorOptions {
    /// How long each figure is measured; there are about 45.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub seconds: f64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub tools: Tools,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub origin: Origin,
    /// Keep the report in this folder too, as floor-TIME.json.
    #[arg(long, value_name = "FOLDER")]
    pub results: Option<PathBuf>,
    /// Print the report as one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// No progress on standard error.
    #[arg(long)]
    pub quiet: bool,
}

/// One thing measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// What.
    pub what: String,
    /// Figures with their units.
    pub figures: Vec<(String, f64)>,
}

impl Line {
    fn new(what: &str, figures: &[(&str, f64)]) -> Line {
        let figures = figures
            .iter()
            .map(|(unit, figure)| ((*unit).into(), *figure));
        Line {
            what: what.into(),
            figures: figures.collect(),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:<68}", self.what)?;
        self.figures
            .iter()
            .try_for_each(|(unit, figure)| write!(to, " {figure:>10.1} {unit}"))
    }
}

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FloorReport {
    /// Commit, command, machine and kernel.
    pub origin: Taken,
    /// The parts.
    pub lines: Vec<Line>,
    /// The produce floors, load by load.
    pub produce: Vec<ProduceFloor>,
    /// Stopped before its end, by Ctrl-C.
    pub interrupted: bool,
}

/// Both produce floors under one load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProduceFloor {
    /// Connections, in flight, bytes of a batch.
    pub load: (usize, usize, usize),
    /// Each floor.
    pub figures: Vec<Figures>,
}

/// Measures all. `stop` ends it early, with what was measured so far.
///
/// # Errors
/// The operating system's, with what was being done.
pub fn run(options: &FloorOptions, stop: &AtomicBool) -> Result<FloorReport, PerfError> {
    let runner = Runner {
        stop,
        quiet: options.quiet,
    };
    let time = Duration::from_secs_f64(options.seconds.clamp(0.05, 600.0));
    let folder = &options.tools.folder;
    let mut report = FloorReport {
        origin: options.origin.taken("floor", folder),
        lines: Vec::new(),
        produce: Vec::new(),
        interrupted: false,
    };
    let lines = &mut report.lines;
    let mut show = |line: Line| {
        runner.say(&line.to_string());
        lines.push(line);
    };
    network::echo_and_receive(time, &mut show)?;
    if !runner.stopped() {
        memory::checksum_and_copy(time, &mut show)?;
    }
    disk::durable_writes(folder, time, stop, &mut show)?;
    if !runner.stopped() {
        let rate = disk::sequential_read(folder, READ_FILE_BYTES)?;
        show(Line::new(
            "direct read in order, 1 MiB at a time",
            &[("MB/s", rate)],
        ));
        for (pace, words) in [
            (
                Pace::Stream,
                "direct read in order, sent over TCP meanwhile",
            ),
            (Pace::Asked, "the same, 1 MiB when the peer asks for it"),
        ] {
            let rate = cold_fetch::read_and_send(folder, READ_FILE_BYTES, pace)?;
            show(Line::new(words, &[("MB/s", rate)]));
        }
        report.produce = produce(options, &runner)?;
    }
    report.interrupted = runner.stopped();
    if let Some(folder) = &options.results {
        results::keep(folder, "floor", &report)?;
    }
    Ok(report)
}

fn produce(options: &FloorOptions, runner: &Runner<'_>) -> Result<Vec<ProduceFloor>, PerfError> {
    let ring = Running::start(System::FloorRing, &options.tools, &[])?;
    let sync = Running::start(System::FloorSync, &options.tools, &[])?;
    let mut floors = Vec::new();
    for load in PRODUCE_LOADS {
        if runner.stopped() {
            break;
        }
        let (connections, in_flight, batch_bytes) = load;
        runner.say(&format!(
            "produce floors, {connections} x {in_flight}, {batch_bytes} bytes"
        ));
        let asked = Load {
            connections,
            in_flight,
            batch_bytes,
            partitions: 16,
            rate: None,
            seconds: options.seconds,
            warm_up_seconds: options.seconds.min(1.0) / 2.0,
        };
        let (figures, failures) =
            compare::rounds(runner, &[&ring, &sync], Topic::Kept("floor"), 1, &asked);
        if let Some(failure) = failures.into_iter().next() {
            return Err(PerfError::Unanswered(failure));
        }
        floors.push(ProduceFloor { load, figures });
    }
    Ok(floors)
}

impl fmt::Display for FloorReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines
            .iter()
            .try_for_each(|line| writeln!(to, "{line}"))?;
        for floor in &self.produce {
            let (connections, in_flight, batch_bytes) = floor.load;
            writeln!(
                to,
                "\nproduce floors, {connections} connections x {in_flight} in flight, batches of {batch_bytes} bytes"
            )?;
            write!(to, "{}", figures::table(&floor.figures))?;
        }
        match self.interrupted {
            true => writeln!(to, "(interrupted)"),
            false => Ok(()),
        }
    }
}
