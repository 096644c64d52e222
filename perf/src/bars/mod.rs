//! The command `bars`: every row of the project's goals that can be timed on one machine, each measured beside Apache Kafka and the floors in
//! the same minutes, and held or missed. `produce`, `steady` and `fetch` measure, `judge` decides; `page` draws what was kept.

mod fetch;
pub mod judge;
mod partitions;
mod produce;
mod steady;

use crate::PerfError;
use crate::compare;
use crate::figures::{self, Figures};
use crate::results::{self, Origin};
use crate::runner::{Load, Runner};
use crate::systems::{Running, System, Tools};
use judge::{Bar, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// What to do.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct BarsOptions {
    /// Only these rows, such as produce-16k,latency-4k; see --list.
    #[arg(long, value_delimiter = ',', value_name = "ROW")]
    pub only: Vec<String>,
    /// Say which rows there are, and end.
    #[arg(long)]
    pub list: bool,
    /// Rounds for each system; medians are taken of them.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// How long a round measures.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub seconds: f64,
    /// Load before the measuring of each round.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub warm_up_seconds: f64,
    /// How long the rows measure that are about a steady state.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    pub long_seconds: f64,
    /// Begin no row after so many minutes: what was left out is said.
    #[arg(long, value_name = "MINUTES")]
    pub minutes_max: Option<f64>,
    /// Leave Apache Kafka out: rows that need it are not measured.
    #[arg(long)]
    pub no_kafka: bool,
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
    /// Keep the report in this folder too, as bars-TIME.json.
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
odradek-perf bars --list                                             which rows there are\n  \
odradek-perf bars --only produce-16k --rounds 1 --seconds 2          one row, quickly\n  \
odradek-perf bars --only produce-1k,idle --no-kafka                  without a JVM\n  \
odradek-perf bars --only produce-64k --odradek-option=--override --odradek-option=odradek.shards=1\n  \
odradek-perf bars --results perf/results && odradek-perf report      keep it, and draw the page\n  \
odradek-perf bars --only produce-1k --design \"two rings\" --side before --results perf/results    a design tried: first without it,\n  \
odradek-perf bars --only produce-1k --design \"two rings\" --kept false --note \"a ring for sends\" --results perf/results    then with it\n\n\
A row that needs what is not there says `not measured` and why; a bar that is missed says MISSED. Ctrl-C ends what was started and \
prints what was measured so far.";

/// One row: what was asked, measured and judged.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// As for --only.
    pub name: String,
    /// For people.
    pub title: String,
    /// Held or missed, one by one.
    pub bars: Vec<Bar>,
    /// Each system under load.
    pub figures: Vec<Figures>,
    /// Other figures by name, the unit last in it.
    pub values: BTreeMap<String, f64>,
    /// What went wrong, or has to be known.
    pub notes: Vec<String>,
    /// What was run.
    pub commands: Vec<String>,
    /// How long it took, seconds.
    pub seconds: f64,
}

/// All rows of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BarsReport {
    /// Commit, command, machine and kernel.
    pub origin: results::Taken,
    /// In the order of --list.
    pub rows: Vec<Row>,
    /// Stopped before its end, by Ctrl-C.
    pub interrupted: bool,
}

/// What the rows share.
struct Context<'a> {
    options: &'a BarsOptions,
    runner: Runner<'a>,
    kafkas: Vec<Running>,
    /// Why a Kafka cannot be had: it is tried once.
    refused: BTreeMap<System, String>,
}

impl<'a> Context<'a> {
    /// A server with fresh data.
    fn start(&self, system: System) -> Result<Running, PerfError> {
        self.start_with(system, &[])
    }

    fn start_with(&self, system: System, words: &[&str]) -> Result<Running, PerfError> {
        let mut options: Vec<String> = words.iter().map(ToString::to_string).collect();
        if system == System::Odradek {
            options.extend(self.options.odradek_options.clone());
        }
        Running::start(system, &self.options.tools, &options)
    }

    /// Makes sure that this Kafka runs and its compiler is warm; one serves all rows, since it takes long to start.
    fn kafka(&mut self, system: System) -> Result<(), String> {
        if self.options.no_kafka {
            return Err(format!("{}: left out by --no-kafka", system.name()));
        }
        if self.kafkas.iter().any(|kafka| kafka.system == system) {
            return Ok(());
        }
        if let Some(why) = self.refused.get(&system) {
            return Err(why.clone());
        }
        self.runner.say(&format!("starting {}", system.name()));
        let started = self.start(system).and_then(|kafka| {
            let kafka = [kafka];
            compare::warm_up(&self.runner, &kafka)?;
            Ok(kafka)
        });
        match started {
            Ok(kafka) => {
                self.kafkas.extend(kafka);
                Ok(())
            }
            Err(error) => {
                let why = error.to_string();
                self.refused.insert(system, why.clone());
                Err(why)
            }
        }
    }

    fn running_kafkas(&self, systems: &[System]) -> Vec<&Running> {
        let wanted = |kafka: &&Running| systems.contains(&kafka.system);
        self.kafkas.iter().filter(wanted).collect()
    }

    /// Takes a row's topic off the Kafkas, which live on.
    fn delete_topic(&self, name: &str) {
        for kafka in &self.kafkas {
            self.runner.delete_topic(kafka, name);
        }
    }
}

/// Measures a row into its report.
type Measure = fn(&mut Context<'_>, &mut Row) -> Result<(), PerfError>;

/// Every row: its name, what it is for people, and how it is measured.
const ROWS: [(&str, &str, Measure); 25] = [
    (
        "produce-1k",
        "4 connections x 5 in flight, 1 KiB batches",
        table_row,
    ),
    (
        "produce-16k",
        "4 connections x 5 in flight, 16 KiB batches",
        table_row,
    ),
    (
        "produce-64k",
        "4 connections x 5 in flight, 64 KiB batches",
        table_row,
    ),
    (
        "produce-900k",
        "4 connections x 5 in flight, 900 KiB batches",
        table_row,
    ),
    (
        "produce-1k-deep",
        "8 connections x 32 in flight, 1 KiB batches",
        table_row,
    ),
    (
        "produce-16k-deep",
        "8 connections x 32 in flight, 16 KiB batches",
        table_row,
    ),
    (
        "latency-4k",
        "1 connection, 1 in flight, 4 KiB: durable latency",
        produce::latency,
    ),
    (
        "latency-half-peak",
        "Open loop at half of Odradek's peak, 16 KiB batches",
        steady::half_peak,
    ),
    (
        "latency-curve",
        "Open loop: latency against load, 16 KiB batches",
        steady::curve,
    ),
    (
        "partitions-1000",
        "1,000 partitions round robin, 16 KiB batches",
        |context, row| produce::partitions(context, row, 1_000),
    ),
    (
        "partitions-10000",
        "10,000 partitions round robin, 16 KiB batches",
        |context, row| produce::partitions(context, row, 10_000),
    ),
    (
        "fetch-tail",
        "Fetch of what was just written, from cache",
        fetch::tail,
    ),
    (
        "catch-up-1",
        "Cold catch-up of one partition written alone",
        |context, row| fetch::catch_up(context, row, 1),
    ),
    (
        "catch-up-1000",
        "Cold catch-up of 1,000 interleaved partitions after clustering",
        |context, row| fetch::catch_up(context, row, 1_000),
    ),
    (
        "catch-up-beside",
        "Producers at half of their peak beside a cold reader",
        fetch::beside_producers,
    ),
    (
        "fetch-sessions",
        "200 consumers with fetch sessions over 10,000 mostly idle partitions",
        fetch::sessions,
    ),
    (
        "written-64k",
        "Bytes on disk per byte produced: 64 KiB batches, 16 partitions, retention steady",
        |context, row| steady::written(context, row, 65_536, 16, 1.15),
    ),
    (
        "written-16k",
        "Bytes on disk per byte produced: 16 KiB batches, 1,000 partitions, retention steady",
        |context, row| steady::written(context, row, 16_384, 1_000, 1.4),
    ),
    ("idle", "Idle server", steady::idle),
    (
        "many-10k",
        "10,000 partitions on one node",
        |context, row| partitions::many(context, row, 10_000, 100),
    ),
    (
        "many-100k",
        "100,000 partitions on one node",
        |context, row| partitions::many(context, row, 100_000, 100),
    ),
    (
        "many-1m",
        "1,000,000 partitions on one node",
        |context, row| partitions::many(context, row, 1_000_000, 100),
    ),
    (
        "many-2m",
        "2,000,000 partitions on one node",
        |context, row| partitions::many(context, row, 2_000_000, 100),
    ),
    (
        "many-1m-topics",
        "1,000,000 topics of one partition",
        |context, row| partitions::many(context, row, 1_000_000, 1),
    ),
    (
        "kafka-10k",
        "Apache Kafka with 10,000 partitions, for comparison",
        partitions::kafka,
    ),
];

fn table_row(context: &mut Context<'_>, row: &mut Row) -> Result<(), PerfError> {
    let asked = produce::PRODUCE_ROWS
        .iter()
        .find(|asked| asked.name == row.name);
    produce::throughput(
        context,
        row,
        asked.expect("each row of the table is listed"),
    )
}

/// The rows, a line each.
pub fn list() -> String {
    let lines = ROWS
        .iter()
        .map(|(name, title, _)| format!("{name:<18} {title}\n"));
    lines.collect()
}

/// The load of a row that produces, with usual lengths: what `profile` looks at under the row's name.
pub fn load_of(name: &str) -> Option<Load> {
    produce::load_of(name)
}

/// The rows' names, in order.
pub fn names() -> Vec<String> {
    ROWS.iter().map(|(name, _, _)| (*name).into()).collect()
}

/// Measures the rows. `stop` ends it early, with what was measured so far.
///
/// # Errors
/// When a row's name is unknown or the results cannot be kept; what goes wrong with a row stands in the row.
pub fn run(options: &BarsOptions, stop: &AtomicBool) -> Result<BarsReport, PerfError> {
    if let Some(unknown) = options
        .only
        .iter()
        .find(|wanted| !ROWS.iter().any(|(name, _, _)| name == wanted))
    {
        return Err(PerfError::Options(format!(
            "--only {unknown}: there is no such row; the rows are\n{}",
            list()
        )));
    }
    let mut context = Context {
        options,
        runner: Runner {
            stop,
            quiet: options.quiet,
        },
        kafkas: Vec::new(),
        refused: BTreeMap::new(),
    };
    let mut report = BarsReport {
        origin: options.origin.taken("bars", &options.tools.folder),
        rows: Vec::new(),
        interrupted: false,
    };
    let began = Instant::now();
    for (name, title, measure) in ROWS {
        let wanted = options.only.is_empty() || options.only.iter().any(|only| only == name);
        if !wanted || context.runner.stopped() {
            continue;
        }
        let minutes = began.elapsed().as_secs() as f64 / 60.0;
        if options.minutes_max.is_some_and(|most| minutes > most) {
            // Not kept as a row without figures: it would stand in the place of an older one with some.
            eprintln!("odradek-perf: {name} left out: {minutes:.0} minutes are over");
            continue;
        }
        context
            .runner
            .say(&format!("{name}: {title} ({minutes:.1} min so far)"));
        let row = one_row(&mut context, name, title, measure);
        row.bars
            .iter()
            .for_each(|bar| context.runner.say(&format!("  {bar}")));
        report.rows.push(row);
    }
    report.interrupted = context.runner.stopped();
    drop(context);
    if let Some(folder) = &options.results {
        results::keep(folder, "bars", &report)?;
    }
    Ok(report)
}

fn one_row(context: &mut Context<'_>, name: &str, title: &str, measure: Measure) -> Row {
    let mut row = Row {
        name: name.into(),
        title: title.into(),
        ..Row::default()
    };
    let began = Instant::now();
    if let Err(error) = measure(context, &mut row) {
        context.runner.say(&format!("  {name} FAILED: {error}"));
        row.notes.push(error.to_string());
        row.bars.push(Bar::new(
            "all of the row",
            judge::Bound::AtLeast(0.0),
            "",
            Err(error.to_string()),
        ));
    }
    row.seconds = began.elapsed().as_secs_f64();
    row
}

impl BarsReport {
    /// How many bars were held, missed and not measured.
    pub fn counts(&self) -> (usize, usize, usize) {
        let bars = || self.rows.iter().flat_map(|row| &row.bars);
        let count =
            |wanted: fn(&Verdict) -> bool| bars().filter(|bar| wanted(&bar.verdict)).count();
        (
            count(|verdict| *verdict == Verdict::Held),
            count(|verdict| *verdict == Verdict::Missed),
            count(|verdict| matches!(verdict, Verdict::NotMeasured(_))),
        )
    }
}

impl fmt::Display for BarsReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            writeln!(to, "\n{}: {} ({:.0} s)", row.name, row.title, row.seconds)?;
            if !row.figures.is_empty() {
                write!(to, "{}", figures::table(&row.figures))?;
            }
            for (name, value) in &row.values {
                writeln!(to, "{name}: {value:.3}")?;
            }
            row.bars
                .iter()
                .try_for_each(|bar| writeln!(to, "  {bar}"))?;
            row.notes
                .iter()
                .try_for_each(|note| writeln!(to, "  note: {note}"))?;
        }
        let (held, missed, unmeasured) = self.counts();
        writeln!(
            to,
            "\n{held} bars held, {missed} MISSED, {unmeasured} not measured{}",
            if self.interrupted {
                " (interrupted)"
            } else {
                ""
            }
        )
    }
}
