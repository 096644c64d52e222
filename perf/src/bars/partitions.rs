//! The rows of very many partitions on one node. The command `partitions` measures and judges them; here its report becomes a row.

use super::judge::{Bar, Bound};
use super::{Context, Row};
use crate::PerfError;
use crate::client::Client;
use crate::runner::Load;
use crate::systems::{Running, System};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// What is read of the report of `odradek-perf partitions --json`.
#[derive(Debug, Deserialize)]
struct Report {
    bars: Vec<ReportBar>,
    #[serde(default)]
    problems: u64,
    #[serde(default)]
    first_problem: Option<String>,
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    interrupted: bool,
}

#[derive(Debug, Deserialize)]
struct ReportBar {
    name: String,
    measured: f64,
    limit: f64,
    unit: String,
}

#[derive(Debug, Deserialize)]
struct Step {
    name: String,
    seconds: f64,
    #[serde(default)]
    footprint: Option<Footprint>,
}

#[derive(Debug, Deserialize)]
struct Footprint {
    resident_bytes: u64,
    #[serde(default)]
    checkpoint_bytes: u64,
    #[serde(default)]
    image_bytes: u64,
}

/// How long one run of many partitions may take, beyond the patience of every child.
const LONGEST: Duration = Duration::from_secs(900);

/// Odradek with so many partitions, in topics of `topic_partitions`.
pub(super) fn many(
    context: &mut Context<'_>,
    row: &mut Row,
    partitions: u32,
    topic_partitions: u32,
) -> Result<(), PerfError> {
    let mut words: Vec<String> = ["partitions", "--quiet", "--json"]
        .map(String::from)
        .to_vec();
    let (partitions, topic_partitions) = (partitions.to_string(), topic_partitions.to_string());
    words.extend(
        [
            "--partitions",
            &partitions,
            "--topic-partitions",
            &topic_partitions,
        ]
        .map(String::from),
    );
    row.commands
        .push(format!("odradek-perf {}", words.join(" ")));
    let binary = context.options.tools.odradek()?;
    let folder = &context.options.tools.folder;
    words.extend(["--binary".into(), binary.display().to_string()]);
    words.extend(["--folder".into(), folder.display().to_string()]);
    let report: Report = context.runner.child(&words, LONGEST)?;
    if report.problems > 0 {
        row.notes.push(format!(
            "{} problems, the first: {}",
            report.problems,
            report.first_problem.unwrap_or_default()
        ));
    }
    if report.interrupted {
        row.notes.push("interrupted".into());
    }
    for step in &report.steps {
        row.values
            .insert(format!("{} seconds", step.name), step.seconds);
        if let Some(footprint) = &step.footprint {
            let mut insert = |what: &str, bytes: u64| {
                let mebibytes = bytes as f64 / f64::from(1 << 20);
                row.values
                    .insert(format!("{} {what}", step.name), mebibytes);
            };
            insert("resident MiB", footprint.resident_bytes);
            // What the stop before left, for this start to read.
            if step.name == "clean_start" {
                insert("checkpoint MiB", footprint.checkpoint_bytes);
                insert("image MiB", footprint.image_bytes);
            }
        }
    }
    let judged = report.bars.iter().map(|bar| {
        let measured = match report.problems {
            0 => Ok(bar.measured),
            problems => Err(format!("{problems} problems in the run")),
        };
        Bar::new(&bar.name, Bound::AtMost(bar.limit), &bar.unit, measured)
    });
    row.bars = judged.collect();
    Ok(())
}

/// Topics of the row that has Apache Kafka alone, and partitions of each.
const KAFKA_TOPICS: [&str; 2] = ["many-0", "many-1"];
const KAFKA_TOPIC_PARTITIONS: i32 = 5_000;
/// A tenth of all partitions get a batch before the kill.
const KAFKA_WRITTEN_PER_SECOND: f64 = 500.0;
const KAFKA_WRITTEN_SECONDS: f64 = 2.0;
/// How long it may take to lead them all after a start.
const KAFKA_START_LONGEST: Duration = Duration::from_secs(300);

/// Apache Kafka with 10,000 partitions: what it takes to make them, to shut down, to start again, and to start after a kill. No bar, but what others
/// are seen beside.
pub(super) fn kafka(context: &mut Context<'_>, row: &mut Row) -> Result<(), PerfError> {
    if context.options.no_kafka {
        row.notes.push("left out by --no-kafka".into());
        return Ok(());
    }
    let mut kafka = context.start(System::Kafka)?;
    let mut note = |name: &str, began: Instant| {
        let seconds = began.elapsed().as_secs_f64();
        context.runner.say(&format!("  {name}: {seconds:.1} s"));
        row.values.insert(format!("{name} seconds"), seconds);
    };
    let began = Instant::now();
    until_led(&kafka)?;
    note("create", began);
    let began = Instant::now();
    kafka.end();
    note("shutdown", began);
    let began = Instant::now();
    kafka.restart(&context.options.tools)?;
    until_led(&kafka)?;
    note("clean_start", began);
    let written = Load {
        connections: 1,
        in_flight: 5,
        batch_bytes: 1_024,
        partitions: KAFKA_TOPIC_PARTITIONS,
        rate: Some(KAFKA_WRITTEN_PER_SECOND),
        seconds: KAFKA_WRITTEN_SECONDS,
        warm_up_seconds: 0.0,
    };
    context.runner.load(&kafka, KAFKA_TOPICS[0], &written)?;
    kafka.kill()?;
    let began = Instant::now();
    kafka.restart(&context.options.tools)?;
    until_led(&kafka)?;
    note("killed_start", began);
    let resident = crate::process::usage(kafka.pid)?.resident_bytes;
    let mebibytes = resident as f64 / f64::from(1 << 20);
    row.values
        .insert("killed_start resident MiB".into(), mebibytes);
    Ok(())
}

/// Makes the topics where they are missing, and waits until all partitions are led.
fn until_led(kafka: &Running) -> Result<(), PerfError> {
    let mut client = Client::connect(&kafka.address)?;
    for name in KAFKA_TOPICS {
        let topic = client.ensure_topic(name, KAFKA_TOPIC_PARTITIONS)?;
        client.await_leaders(&topic, Instant::now() + KAFKA_START_LONGEST)?;
    }
    Ok(())
}
