//! The rows that read: from cache, from cold disk, beside producers, and many consumers that mostly wait. `produce` has the rows that write.

use super::judge::{Bar, Bound};
use super::steady;
use super::{Context, Row};
use crate::PerfError;
use crate::figures::Spread;
use crate::floor::cold_fetch::{Pace, read_and_send};
use crate::floor::disk;
use crate::report::LoadReport;
use crate::runner::Load;
use crate::systems::{Running, System};
use serde::Deserialize;
use std::time::Duration;

/// What is read of the report of `odradek-perf fetch --json`.
#[derive(Clone, Debug, Deserialize)]
struct Fetched {
    seconds: f64,
    bytes: u64,
    problems: u64,
    #[serde(default)]
    first_problem: Option<String>,
    server: Option<Cost>,
}

#[derive(Clone, Debug, Deserialize)]
struct Cost {
    cpu_seconds: f64,
}

/// Bytes written before they are read from cache: few enough for every cache on a small machine.
const TAIL_BYTES: u64 = 192 << 20;
/// Bytes written before they are read from cold disk: far more than any cache of the server holds.
const COLD_BYTES: u64 = 3 << 30;

/// Writes about `bytes` at a rate that every server keeps up with.
fn write(
    context: &Context<'_>,
    row: &mut Row,
    server: &Running,
    partitions: i32,
    bytes: u64,
    megabytes_per_second: f64,
) -> Result<(), PerfError> {
    let batch_bytes = 65_536;
    let load = Load {
        connections: 4,
        in_flight: 5,
        batch_bytes,
        partitions,
        rate: Some((megabytes_per_second * 1e6 / batch_bytes as f64).floor()),
        seconds: bytes as f64 / (megabytes_per_second * 1e6),
        warm_up_seconds: 0.0,
    };
    let name = format!("{}, writing", server.system.name());
    steady::one(context, row, server, &name, &load).map(drop)
}

fn read(
    context: &Context<'_>,
    row: &mut Row,
    server: &Running,
    connections: u16,
    longest: Duration,
) -> Result<Fetched, PerfError> {
    let (connections, pid) = (connections.to_string(), server.pid.to_string());
    let words = [
        "fetch",
        "--quiet",
        "--json",
        "--no-verify",
        "--bootstrap",
        &server.address,
        "--topic",
        &row.name,
        "--connections",
        &connections,
        "--server-pid",
        &pid,
    ]
    .map(String::from);
    row.commands.push(format!(
        "odradek-perf fetch --no-verify --connections {connections} --topic {}",
        row.name
    ));
    let fetched: Fetched = context.runner.child(&words, longest)?;
    if fetched.problems > 0 {
        let first = fetched.first_problem.unwrap_or_default();
        return Err(PerfError::Protocol(format!(
            "what was read is damaged: {first}"
        )));
    }
    if fetched.bytes == 0 {
        return Err(PerfError::Protocol("nothing was read".into()));
    }
    Ok(fetched)
}

/// What was just written, read again and again.
pub(super) fn tail(context: &mut Context<'_>, row: &mut Row) -> Result<(), PerfError> {
    let odradek = context.start(System::Odradek)?;
    if let Err(why) = context.kafka(System::Kafka) {
        row.notes.push(why);
    }
    let mut servers = vec![&odradek];
    servers.extend(context.running_kafkas(&[System::Kafka]));
    let mut all = vec![Vec::new(); servers.len()];
    for server in &servers {
        write(context, row, server, 16, TAIL_BYTES, 64.0)?;
        // The first reading warms a JVM up, and counts nowhere.
        read(context, row, server, 4, Duration::from_secs(30))?;
    }
    for _ in 0..(4 * context.options.rounds) {
        for (server, all) in servers.iter().zip(&mut all) {
            all.push(read(context, row, server, 4, Duration::from_secs(30))?);
        }
    }
    row.commands.sort();
    row.commands.dedup();
    let mut figures = Vec::new();
    for (server, all) in servers.iter().zip(&all) {
        let rates = all.iter().map(|it| it.bytes as f64 / 1e6 / it.seconds);
        let rate = Spread::of(rates).ok_or_else(|| PerfError::Options("no rounds".into()))?;
        let cpu: f64 = all
            .iter()
            .filter_map(|it| Some(it.server.as_ref()?.cpu_seconds))
            .sum();
        let bytes: u64 = all.iter().map(|it| it.bytes).sum();
        let cpu = cpu * 1e9 / bytes as f64;
        let name = server.system.name();
        row.values.insert(format!("{name} MB/s"), rate.median);
        row.values.insert(format!("{name} CPU s/GB"), cpu);
        figures.push((rate.median, cpu));
    }
    let divided = |of: fn(&(f64, f64)) -> f64| match figures.as_slice() {
        [ours, kafka] => Ok(of(ours) / of(kafka)),
        _ => Err("Kafka was not measured".to_string()),
    };
    row.bars = vec![
        Bar::new("MB/s / Kafka", Bound::AtLeast(1.0), "x", divided(|it| it.0)),
        Bar::new(
            "server CPU s/GB / Kafka",
            Bound::AtMost(1.0),
            "x",
            divided(|it| it.1),
        ),
    ];
    context.delete_topic(&row.name);
    Ok(())
}

/// A history on cold disk, beside the disk read directly in the same minutes.
pub(super) fn catch_up(
    context: &mut Context<'_>,
    row: &mut Row,
    partitions: i32,
) -> Result<(), PerfError> {
    let mut odradek = context.start(System::Odradek)?;
    write(context, row, &odradek, partitions, COLD_BYTES, 250.0)?;
    let interleaved = partitions > 1;
    if interleaved {
        context.runner.say("  waiting until clustering rests");
        steady::until_quiet(context, &odradek, Duration::from_secs(120))?;
    }
    let (mut ratios, mut shares, mut shares_asked) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..context.options.rounds {
        if context.runner.stopped() {
            break;
        }
        let folder = &context.options.tools.folder;
        let direct = disk::sequential_read(folder, COLD_BYTES / 2)?;
        // A file of its own: a host may keep what was read from its disk once.
        let sent = read_and_send(folder, COLD_BYTES / 2, Pace::Stream)?;
        let asked = read_and_send(folder, COLD_BYTES / 2, Pace::Asked)?;
        // A new process has empty caches, and direct I/O leaves none in the kernel.
        odradek.restart(&context.options.tools)?;
        let connections = if interleaved { 4 } else { 1 };
        let fetched = read(context, row, &odradek, connections, Duration::from_secs(60))?;
        let rate = fetched.bytes as f64 / 1e6 / fetched.seconds;
        context.runner.say(&format!(
            "  {rate:.0} MB/s, the disk alone {direct:.0} MB/s, read and sent with nothing else done {sent:.0} MB/s, when asked for {asked:.0} MB/s"
        ));
        row.values.insert("last fetch MB/s".into(), rate);
        row.values.insert("last direct read MB/s".into(), direct);
        row.values
            .insert("last direct read and send MB/s".into(), sent);
        row.values
            .insert("last direct read and send when asked MB/s".into(), asked);
        ratios.push(rate / direct);
        shares.push(rate / sent);
        shares_asked.push(rate / asked);
    }
    let least = if interleaved { 0.7 } else { 0.85 };
    let measured = Spread::of(ratios.into_iter()).map(|spread| spread.median);
    for (shares, name) in [
        (shares, "MB/s / direct read and send"),
        (shares_asked, "MB/s / direct read and send when asked"),
    ] {
        if let Some(share) = Spread::of(shares.into_iter()) {
            row.values.insert(name.into(), share.median);
        }
    }
    row.bars = vec![Bar::new(
        "MB/s / direct sequential read",
        Bound::AtLeast(least),
        "x",
        measured.ok_or_else(|| "no round was done".into()),
    )];
    Ok(())
}

/// Producers at half of their peak, alone and beside a reader of cold history.
pub(super) fn beside_producers(context: &mut Context<'_>, row: &mut Row) -> Result<(), PerfError> {
    let mut odradek = context.start(System::Odradek)?;
    write(context, row, &odradek, 16, COLD_BYTES, 250.0)?;
    odradek.restart(&context.options.tools)?;
    let closed = steady::deep(context);
    let history = row.name.clone();
    row.name = format!("{history}-now");
    let peak = steady::one(context, row, &odradek, "odradek, closed loop", &closed);
    let half = |peak: f64| Load {
        rate: Some((peak / 2.0).floor()),
        ..closed.clone()
    };
    let alone = peak.and_then(|peak| {
        let half = half(peak.requests_per_second);
        let alone = steady::one(context, row, &odradek, "half of peak, alone", &half)?;
        Ok((alone, half))
    });
    let outcome = alone.and_then(|(alone, half)| {
        odradek.restart(&context.options.tools)?;
        let mut reading = Row {
            name: history.clone(),
            ..Row::default()
        };
        let shared: &Context<'_> = context;
        let server: &Running = &odradek;
        let (beside, fetched) = std::thread::scope(|scope| {
            let reader =
                scope.spawn(|| read(shared, &mut reading, server, 2, Duration::from_secs(120)));
            let beside = steady::one(shared, row, server, "half of peak, beside a reader", &half);
            (beside, reader.join().expect("a reader does not panic"))
        });
        Ok((alone, beside?, fetched?))
    });
    row.name = history;
    let (alone, beside, fetched) = outcome?;
    let rate = fetched.bytes as f64 / 1e6 / fetched.seconds;
    row.values.insert("reader MB/s".into(), rate);
    row.values.insert("reader seconds".into(), fetched.seconds);
    // Where the producers could not keep their own pace alone, what they waited says nothing about the reader.
    let kept = |report: &LoadReport| match report.conditions.requests_per_second {
        Some(asked) => report.requests_per_second / asked,
        None => f64::NAN,
    };
    let measured = match kept(&alone) {
        share if share >= steady::HELD_SHARE_MIN => {
            Ok(beside.latency.p99_us / alone.latency.p99_us)
        }
        share => Err(format!(
            "without the reader the producers reached only {share:.2} of half their peak"
        )),
    };
    row.bars = vec![
        Bar::new(
            "p99 / that without the reader",
            Bound::AtMost(2.0),
            "x",
            measured,
        ),
        Bar::new(
            "rate reached beside the reader / rate asked",
            Bound::AtLeast(steady::HELD_SHARE_MIN),
            "x",
            Ok(kept(&beside)),
        ),
    ];
    Ok(())
}

/// What is read of the report of `odradek-perf sessions --json`.
#[derive(Debug, Deserialize)]
struct Waited {
    fetches_per_second: f64,
    batches_arrived: u64,
    batches_written: u64,
    server_core_percent: Option<f64>,
}

/// Many consumers that wait on many partitions of which few are written.
pub(super) fn sessions(context: &mut Context<'_>, row: &mut Row) -> Result<(), PerfError> {
    let odradek = context.start(System::Odradek)?;
    if let Err(why) = context.kafka(System::Kafka) {
        row.notes.push(why);
    }
    let mut servers = vec![&odradek];
    servers.extend(context.running_kafkas(&[System::Kafka]));
    let seconds = (context.options.long_seconds / 3.0).clamp(5.0, 20.0);
    let mut costs = Vec::new();
    for server in servers {
        let (seconds, pid) = (seconds.to_string(), server.pid.to_string());
        let words = [
            "sessions",
            "--quiet",
            "--json",
            "--bootstrap",
            &server.address,
            "--topic",
            &row.name,
            "--consumers",
            "200",
            "--partitions",
            "10000",
            "--seconds",
            &seconds,
            "--server-pid",
            &pid,
        ]
        .map(String::from);
        row.commands.push(format!(
            "odradek-perf sessions --consumers 200 --partitions 10000 --seconds {seconds}"
        ));
        // Apache Kafka makes a folder for each partition first, for minutes on a busy disk.
        let waited: Waited = context.runner.child(&words, Duration::from_secs(400))?;
        if waited.batches_written > 0 && waited.batches_arrived == 0 {
            return Err(PerfError::Protocol(
                "what was written did not arrive".into(),
            ));
        }
        let name = server.system.name();
        let cpu = waited.server_core_percent.unwrap_or(f64::NAN);
        context
            .runner
            .say(&format!("  {name}: {cpu:.2} % of a core"));
        row.values.insert(format!("{name} % of a core"), cpu);
        row.values
            .insert(format!("{name} fetches/s"), waited.fetches_per_second);
        costs.push(cpu);
    }
    let measured = match costs.as_slice() {
        [ours, kafka] => Ok(ours / kafka),
        _ => Err("Kafka was not measured".into()),
    };
    row.bars = vec![Bar::new(
        "server CPU / Kafka",
        Bound::AtMost(0.2),
        "x",
        measured,
    )];
    context.delete_topic(&row.name);
    Ok(())
}
