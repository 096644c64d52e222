//! The rows of very many partitions on one node. The command `partitions` measures and judges them; here its report becomes a row.

use super::judge::{Bar, Bound};
use super::{Context, Row};
use crate::PerfError;
use crate::client::Client;
use crate::systems::System;
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

/// Apache Kafka with 10,000 partitions: what it takes to make them, to shut down and to start again. No bar, but what others are seen beside.
pub(super) fn kafka(context: &mut Context<'_>, row: &mut Row) -> Result<(), PerfError> {
    if context.options.no_kafka {
        row.notes.push("left out by --no-kafka".into());
        return Ok(());
    }
    let mut kafka = context.start(System::Kafka)?;
    let seconds = |began: Instant| began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut client = Client::connect(&kafka.address)?;
    for number in 0..2 {
        client.ensure_topic(&format!("many-{number}"), 5_000)?;
    }
    row.values.insert("create seconds".into(), seconds(began));
    let began = Instant::now();
    kafka.end();
    row.values.insert("shutdown seconds".into(), seconds(began));
    let began = Instant::now();
    kafka.restart(&context.options.tools)?;
    let mut client = Client::connect(&kafka.address)?;
    client.ensure_topic("many-1", 5_000)?;
    row.values
        .insert("clean_start seconds".into(), seconds(began));
    let resident = crate::process::usage(kafka.pid)?.resident_bytes;
    let mebibytes = resident as f64 / f64::from(1 << 20);
    row.values
        .insert("clean_start resident MiB".into(), mebibytes);
    Ok(())
}
