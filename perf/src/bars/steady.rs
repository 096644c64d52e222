//! The rows about a steady state: an open loop at half of the peak, bytes written while retention holds the size, and rest. `produce` has the
//! short rows.

use super::judge::{self, Bar, Bound};
use super::{Context, Row};
use crate::figures::Figures;
use crate::report::LoadReport;
use crate::runner::Load;
use crate::systems::{Running, System};
use crate::{PerfError, process};
use std::time::{Duration, Instant};

/// The shares of its closed-loop peak at which Kafka is tried, the highest first, until it holds one.
const HELD_SHARES: [f64; 8] = [1.3, 1.2, 1.1, 1.0, 0.9, 0.8, 0.65, 0.5];
/// Each for this part of the minute.
const HELD_PART: f64 = 0.25;
/// The share of a rate that must be reached for it to count as held.
pub(super) const HELD_SHARE_MIN: f64 = 0.99;
/// A pause of this length is none that a server without a real-time kernel can be blamed for, microseconds.
const PAUSE_ALLOWED_US: f64 = 50_000.0;

/// The data directory of the rows that count bytes written: small, so that all of it is written soon; a quarter is kept.
const DIRECTORY_BYTES: u64 = 4 << 30;

/// Kafka's usual 5 minutes between looks at retention would fill such a directory long before the first one.
const RETENTION_OFTEN: &str = "log.retention.check.interval.ms=1000";

/// Kafka deletes whole segments of a partition: with the usual 1 GiB each of 16 partitions would keep that much beyond its retention, four times what
/// such a directory holds.
const SMALL_SEGMENTS: &str = "log.segment.bytes=4194304";

/// So small a data directory, and so little kept, that retention, change of segments, checkpoints and rewriting run all the time.
pub(super) const SMALL: [&str; 8] = [
    "--override",
    RETENTION_OFTEN,
    "--override",
    SMALL_SEGMENTS,
    "--override",
    "odradek.data.dir.bytes.max=4294967296",
    "--override",
    "log.retention.bytes=67108864",
];

pub(super) fn deep(context: &Context<'_>) -> Load {
    Load {
        connections: 8,
        in_flight: 32,
        batch_bytes: 16_384,
        partitions: 16,
        rate: None,
        seconds: context.options.seconds,
        warm_up_seconds: context.options.warm_up_seconds,
    }
}

/// One load, kept in the row under a name of its own.
pub(super) fn one(
    context: &Context<'_>,
    row: &mut Row,
    server: &Running,
    name: &str,
    load: &Load,
) -> Result<LoadReport, PerfError> {
    row.commands
        .push(format!("odradek-perf load {}", load.arguments().join(" ")));
    let report = context.runner.load(server, &row.name, load)?;
    context.runner.say(&format!(
        "  {name}: {:.0} requests/s, p99 {:.0} us, max {:.0} us",
        report.requests_per_second, report.latency.p99_us, report.latency.max_us
    ));
    let runs = [report.clone()];
    row.figures.extend(Figures::of(name, &runs));
    if report.interrupted {
        return Err(PerfError::Unanswered("interrupted".into()));
    }
    match report.errors.iter().next() {
        None => Ok(report),
        Some((error, count)) => Err(PerfError::Unanswered(format!(
            "{name}: {count} x {error}, so its figures say nothing"
        ))),
    }
}

/// Half of Odradek's peak for a minute, Kafka with flush.messages=1 at the highest rate that it holds, the floor before and after.
pub(super) fn half_peak(context: &mut Context<'_>, row: &mut Row) -> Result<(), PerfError> {
    let odradek = context.start_with(System::Odradek, &SMALL)?;
    let ring = context.start(System::FloorRing)?;
    let closed = deep(context);
    // A disk takes bursts that it does not sustain: half of one is no half of what a minute brings.
    let minute = Load {
        seconds: context.options.long_seconds,
        ..closed.clone()
    };
    let peak = one(context, row, &odradek, "odradek, closed loop", &minute)?;
    let half = Load {
        rate: Some((peak.requests_per_second / 2.0).floor()),
        ..minute
    };
    let before = one(context, row, &ring, "floor-ring before", &half)?;
    let ours = one(context, row, &odradek, "odradek, half of peak", &half)?;
    let after = one(context, row, &ring, "floor-ring after", &half)?;
    let kafka = highest_held(context, row, &closed);
    let p99 = kafka.map(|kafka| ours.latency.p99_us / kafka.latency.p99_us);
    let floor_max = before.latency.max_us.max(after.latency.max_us);
    row.values.insert("floor max us".into(), floor_max);
    let most = PAUSE_ALLOWED_US.max(2.0 * floor_max) / 1e3;
    row.bars = vec![
        Bar::new(
            "p99 / Kafka's flush.messages=1 at its held rate",
            Bound::AtMost(0.25),
            "x",
            p99,
        ),
        Bar::new(
            "longest answer (50 ms or 2 x floor's)",
            Bound::AtMost(most),
            "ms",
            Ok(ours.latency.max_us / 1e3),
        ),
        Bar::new(
            "rate reached / rate asked",
            Bound::AtLeast(HELD_SHARE_MIN),
            "x",
            Ok(ours.requests_per_second / half.rate.unwrap_or(f64::INFINITY)),
        ),
    ];
    Ok(())
}

/// The run at the highest share of its own peak that Kafka with flush.messages=1 keeps up with.
fn highest_held(
    context: &mut Context<'_>,
    row: &mut Row,
    closed: &Load,
) -> Result<LoadReport, String> {
    context.kafka(System::KafkaFlush)?;
    let kafka = context
        .running_kafkas(&[System::KafkaFlush])
        .into_iter()
        .next()
        .ok_or("no Kafka")?;
    let said = |error: PerfError| error.to_string();
    let peak = one(context, row, kafka, "kafka-flush, closed loop", closed).map_err(said)?;
    for share in HELD_SHARES {
        let rate = (peak.requests_per_second * share).floor().max(1.0);
        let load = Load {
            rate: Some(rate),
            seconds: context.options.long_seconds * HELD_PART,
            ..closed.clone()
        };
        let name = format!("kafka-flush, {:.0} % of its peak", share * 100.0);
        let report = one(context, row, kafka, &name, &load).map_err(said)?;
        // A second of waiting is no keeping up, though the rate was reached in the end.
        let held = report.requests_per_second >= HELD_SHARE_MIN * rate
            && report.latency.p99_us < 1_000_000.0;
        if held {
            row.values
                .insert("kafka-flush held requests/s".into(), rate);
            context.delete_topic(&row.name);
            return Ok(report);
        }
    }
    context.delete_topic(&row.name);
    Err("Kafka held none of the rates tried".into())
}

/// Shares of a server's own peak at which its latency is shown.
const CURVE_SHARES: [f64; 5] = [0.1, 0.3, 0.5, 0.7, 0.9];

/// Latency against load: no bar, but the picture of what the other rows say. Each server at shares of its own peak.
pub(super) fn curve(context: &mut Context<'_>, row: &mut Row) -> Result<(), PerfError> {
    let odradek = context.start(System::Odradek)?;
    let ring = context.start(System::FloorRing)?;
    if let Err(why) = context.kafka(System::Kafka) {
        row.notes.push(why);
    }
    let mut servers = vec![&odradek, &ring];
    servers.extend(context.running_kafkas(&[System::Kafka]));
    let closed = deep(context);
    for server in servers {
        let name = server.system.name();
        let words = format!("{name}, closed loop");
        let peak = one(context, row, server, &words, &closed)?;
        for share in CURVE_SHARES {
            let load = Load {
                rate: Some((peak.requests_per_second * share).floor().max(1.0)),
                ..closed.clone()
            };
            let words = format!("{name}, {:.0} % of its peak", share * 100.0);
            one(context, row, server, &words, &load)?;
        }
    }
    context.delete_topic(&row.name);
    Ok(())
}

/// Bytes that reach the disk for each byte produced, in a data directory that is full already, so that retention takes what comes in.
pub(super) fn written(
    context: &mut Context<'_>,
    row: &mut Row,
    batch_bytes: usize,
    partitions: i32,
    most: f64,
) -> Result<(), PerfError> {
    let keep = format!(
        "log.retention.bytes={}",
        DIRECTORY_BYTES / 4 / partitions as u64
    );
    let limit = format!("odradek.data.dir.bytes.max={DIRECTORY_BYTES}");
    let segments = match partitions {
        few if few <= 64 => SMALL_SEGMENTS,
        // The least that Kafka takes, and as much as each of so many may keep.
        _ => "log.segment.bytes=1048576",
    };
    let words = [
        "--override",
        segments,
        "--override",
        RETENTION_OFTEN,
        "--override",
        &limit,
        "--override",
        &keep,
    ];
    let odradek = context.start_with(System::Odradek, &words)?;
    let load = Load {
        batch_bytes,
        partitions,
        connections: 4,
        in_flight: 5,
        // Until all the space was written once: what comes after is a steady state.
        warm_up_seconds: (context.options.long_seconds / 2.0).max(5.0),
        seconds: context.options.long_seconds,
        rate: None,
    };
    let report = one(context, row, &odradek, "odradek", &load)?;
    let warm = report.stored_batches.saturating_sub(report.requests) * batch_bytes as u64;
    row.values
        .insert("produced before the measuring GB".into(), warm as f64 / 1e9);
    let measured = match &report.server {
        None => Err("the server's disk writes could not be read".into()),
        Some(_) if warm < DIRECTORY_BYTES => Err(format!(
            "only {:.1} GB were written before the measuring, less than the directory holds; give more --long-seconds",
            warm as f64 / 1e9
        )),
        Some(server) => Ok(server.disk_bytes_per_byte),
    };
    if let Some(server) = &report.server {
        row.values
            .insert("disk bytes per byte".into(), server.disk_bytes_per_byte);
        let debt = debt_written(context, &odradek, server.pid)?;
        row.values
            .insert("written in the quiet time after MB".into(), debt / 1e6);
    }
    row.bars = vec![Bar::new(
        "bytes written / bytes produced",
        Bound::AtMost(most),
        "x",
        measured,
    )];
    Ok(())
}

/// What a server still writes when nothing comes any more: the debt of its rewriting; waited for until it writes no more, at most 60 s.
fn debt_written(context: &Context<'_>, server: &Running, pid: u32) -> Result<f64, PerfError> {
    let before = process::usage(pid)?.disk_write_bytes;
    until_quiet(context, server, Duration::from_secs(60))?;
    Ok((process::usage(pid)?.disk_write_bytes - before) as f64)
}

/// Waits until the server has written less than 4 MiB in each of 4 seconds.
pub(super) fn until_quiet(
    context: &Context<'_>,
    server: &Running,
    longest: Duration,
) -> Result<(), PerfError> {
    const QUIET_BYTES: u64 = 4 << 20;
    let deadline = Instant::now() + longest;
    let mut written = process::usage(server.pid)?.disk_write_bytes;
    let mut quiet_seconds = 0;
    while quiet_seconds < 4 && Instant::now() < deadline && !context.runner.stopped() {
        std::thread::sleep(Duration::from_secs(1));
        let now = process::usage(server.pid)?.disk_write_bytes;
        quiet_seconds = match now - written < QUIET_BYTES {
            true => quiet_seconds + 1,
            false => 0,
        };
        written = now;
    }
    Ok(())
}

/// The CPU of a server that nobody asks anything.
pub(super) fn idle(context: &mut Context<'_>, row: &mut Row) -> Result<(), PerfError> {
    let servers = [context.start(System::Odradek)?];
    let mut kafkas = Vec::new();
    if context.kafka(System::Kafka).is_ok() {
        kafkas = context.running_kafkas(&[System::Kafka]);
    }
    let seconds = (context.options.long_seconds / 3.0).clamp(5.0, 20.0);
    std::thread::sleep(Duration::from_secs(3));
    let all: Vec<&Running> = servers.iter().chain(kafkas).collect();
    let read = |server: &&Running| process::usage(server.pid).map(|usage| usage.cpu_seconds);
    let before: Vec<f64> = all.iter().map(read).collect::<Result<_, _>>()?;
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let after: Vec<f64> = all.iter().map(read).collect::<Result<_, _>>()?;
    for ((server, before), after) in all.iter().zip(&before).zip(&after) {
        let percent = 100.0 * (after - before) / seconds;
        let name = server.system.name();
        row.values.insert(format!("{name} % of a core"), percent);
    }
    let measured = row
        .values
        .get("odradek % of a core")
        .copied()
        .ok_or_else(|| "not read".to_string());
    row.bars = vec![judge::Bar::new(
        "CPU at rest",
        Bound::AtMost(1.0),
        "% of a core",
        measured,
    )];
    Ok(())
}
