//! The rows that produce: throughput and CPU, one request at a time, many partitions. `judge` holds them against the bars, `steady` has the
//! rows that take a minute.

use super::judge::{self, Bar, Beside, Bound, ThroughputBounds, of};
use super::{Context, Row};
use crate::PerfError;
use crate::compare::{self, Topic};
use crate::figures::Figures;
use crate::runner::Load;
use crate::systems::{Running, System};

/// A row of the table of throughput and CPU.
pub(super) struct ProduceRow {
    pub(super) name: &'static str,
    connections: usize,
    in_flight: usize,
    batch_bytes: usize,
    bounds: ThroughputBounds,
}

const fn row(
    name: &'static str,
    (connections, in_flight, batch_bytes): (usize, usize, usize),
    throughput_of_kafka_min: f64,
    throughput_of_ring_floor_min: f64,
    kafka_cpu_part: f64,
    cpu_of_better_floor_max: f64,
) -> ProduceRow {
    ProduceRow {
        name,
        connections,
        in_flight,
        batch_bytes,
        bounds: ThroughputBounds {
            throughput_of_kafka_min,
            throughput_of_ring_floor_min,
            cpu_of_kafka_max: 1.0 / kafka_cpu_part,
            cpu_of_better_floor_max,
        },
    }
}

/// Throughput of Kafka and of the ring floor at least, the part of Kafka's CPU and of the better floor's at most.
pub(super) const PRODUCE_ROWS: [ProduceRow; 6] = [
    row("produce-1k", (4, 5, 1_024), 3.0, 0.85, 6.0, 1.5),
    row("produce-16k", (4, 5, 16_384), 3.0, 0.8, 5.0, 1.5),
    row("produce-64k", (4, 5, 65_536), 3.5, 0.8, 7.0, 1.5),
    row("produce-900k", (4, 5, 921_600), 3.0, 0.8, 5.0, 1.5),
    row("produce-1k-deep", (8, 32, 1_024), 6.0, 0.65, 15.0, 1.7),
    row("produce-16k-deep", (8, 32, 16_384), 6.0, 0.75, 12.0, 1.5),
];

/// Requests with no more than this are small ones, by which the load itself is judged.
const SMALL_BATCH_BYTES: usize = 1_024;

/// The batch of the row of one request at a time.
const LATENCY_BATCH_BYTES: usize = 4_096;

/// The load of a row, with what the command line says of its length.
fn load(context: &Context<'_>, connections: usize, in_flight: usize, batch_bytes: usize) -> Load {
    Load {
        connections,
        in_flight,
        batch_bytes,
        partitions: 16,
        rate: None,
        seconds: context.options.seconds,
        warm_up_seconds: context.options.warm_up_seconds,
    }
}

/// The load of a row by its name.
pub(super) fn load_of(name: &str) -> Option<Load> {
    let usual = |connections, in_flight, batch_bytes, partitions| Load {
        connections,
        in_flight,
        batch_bytes,
        partitions,
        rate: None,
        seconds: 5.0,
        warm_up_seconds: 1.0,
    };
    let row = PRODUCE_ROWS.iter().find(|row| row.name == name);
    match (row, name) {
        (Some(row), _) => Some(usual(row.connections, row.in_flight, row.batch_bytes, 16)),
        (None, "latency-4k") => Some(usual(1, 1, LATENCY_BATCH_BYTES, 16)),
        (None, "latency-half-peak" | "latency-curve") => Some(usual(8, 32, 16_384, 16)),
        (None, "partitions-1000") => Some(usual(4, 5, 16_384, 1_000)),
        (None, "partitions-10000") => Some(usual(4, 5, 16_384, 10_000)),
        (None, "written-64k") => Some(usual(4, 5, 65_536, 16)),
        (None, "written-16k") => Some(usual(4, 5, 16_384, 1_000)),
        _ => None,
    }
}

/// Fresh servers of these kinds, Kafka's from the context, all under the same load in turn.
fn beside(
    context: &mut Context<'_>,
    row: &mut Row,
    systems: &[System],
    load: &Load,
) -> Result<(), PerfError> {
    let mut fresh = Vec::new();
    for system in systems.iter().filter(|system| !system.is_kafka()) {
        fresh.push(context.start(*system)?);
    }
    let mut servers: Vec<&Running> = fresh.iter().collect();
    for system in systems.iter().filter(|system| system.is_kafka()) {
        match context.kafka(*system) {
            Ok(()) => {}
            Err(why) => row.notes.push(why),
        }
    }
    servers.extend(context.running_kafkas(systems));
    row.commands
        .push(format!("odradek-perf load {}", load.arguments().join(" ")));
    let (figures, failures) = compare::rounds(
        &context.runner,
        &servers,
        Topic::Settled(&row.name),
        context.options.rounds,
        load,
    );
    row.figures.extend(figures);
    row.notes.extend(failures);
    Ok(())
}

/// A row of the table.
pub(super) fn throughput(
    context: &mut Context<'_>,
    row: &mut Row,
    asked: &ProduceRow,
) -> Result<(), PerfError> {
    let load = load(
        context,
        asked.connections,
        asked.in_flight,
        asked.batch_bytes,
    );
    let systems = [
        System::Odradek,
        System::FloorRing,
        System::FloorSync,
        System::Kafka,
    ];
    beside(context, row, &systems, &load)?;
    let beside = Beside {
        odradek: of(&row.figures, System::Odradek.name()),
        kafka: of(&row.figures, System::Kafka.name()),
        ring: of(&row.figures, System::FloorRing.name()),
        sync: of(&row.figures, System::FloorSync.name()),
    };
    row.bars = judge::throughput_bars(beside, asked.bounds);
    if asked.batch_bytes <= SMALL_BATCH_BYTES {
        row.bars.push(judge::load_bar(beside.ring));
    }
    Ok(())
}

/// One connection, one request in hand: nothing overlaps, so the floor is the one that does one thing after the other.
pub(super) fn latency(context: &mut Context<'_>, row: &mut Row) -> Result<(), PerfError> {
    let load = load(context, 1, 1, LATENCY_BATCH_BYTES);
    let systems = [System::Odradek, System::FloorSync, System::Kafka];
    beside(context, row, &systems, &load)?;
    let ours = of(&row.figures, System::Odradek.name());
    let floor = of(&row.figures, System::FloorSync.name());
    let p50 = judge::divided(ours, floor, |figures| Some(figures.p50_us.median));
    let p99 = judge::divided(ours, floor, |figures| Some(figures.p99_us.median));
    row.bars = vec![
        Bar::new("p50 / sync floor", Bound::AtMost(1.2), "x", p50),
        Bar::new("p99 / sync floor", Bound::AtMost(1.5), "x", p99),
    ];
    Ok(())
}

/// Many partitions round robin, against 16 on the same server in the same rounds.
pub(super) fn partitions(
    context: &mut Context<'_>,
    row: &mut Row,
    partitions: i32,
) -> Result<(), PerfError> {
    let few = load(context, 4, 5, 16_384);
    let many = Load {
        partitions,
        ..few.clone()
    };
    let odradek = context.start(System::Odradek)?;
    if let Err(why) = context.kafka(System::Kafka) {
        row.notes.push(why);
    }
    let topics = [format!("{}-few", row.name), row.name.clone()];
    let mut servers = vec![&odradek];
    servers.extend(context.running_kafkas(&[System::Kafka]));
    row.commands
        .push(format!("odradek-perf load {}", many.arguments().join(" ")));
    // Kafka makes a folder for each partition before it takes a batch for it, and refuses until then: that belongs to no round.
    let settle = Load {
        seconds: 0.0,
        warm_up_seconds: (f64::from(partitions) / 500.0).clamp(1.0, 20.0),
        ..many.clone()
    };
    for server in &servers {
        context.runner.load(server, &topics[1], &settle)?;
    }
    let mut all: [Vec<Vec<_>>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..context.options.rounds {
        for ((topic, load), all) in topics.iter().zip([&few, &many]).zip(&mut all) {
            let (figures, failures) =
                compare::rounds(&context.runner, &servers, Topic::Kept(topic), 1, load);
            row.notes.extend(failures);
            all.push(figures);
        }
    }
    let merged = |rounds: &[Vec<Figures>], system: System, name: &str| {
        let runs = rounds.iter().flatten();
        let runs: Vec<_> = runs
            .filter(|figures| figures.system == system.name())
            .flat_map(|figures| figures.runs.clone())
            .collect();
        Figures::of(name, &runs)
    };
    for system in [System::Odradek, System::Kafka] {
        for (rounds, words) in all.iter().zip([
            "16 partitions".to_string(),
            format!("{partitions} partitions"),
        ]) {
            let name = format!("{}, {words}", system.name());
            row.figures.extend(merged(rounds, system, &name));
        }
    }
    topics.iter().for_each(|topic| context.delete_topic(topic));
    let of = |words: &str| of(&row.figures, &format!("odradek, {words}"));
    let measured = match (of(&format!("{partitions} partitions")), of("16 partitions")) {
        (Some(many), Some(few)) => match many.spoiled.as_ref().or(few.spoiled.as_ref()) {
            Some(why) => Err(why.clone()),
            None => Ok(many.requests_per_second.median / few.requests_per_second.median),
        },
        _ => Err("a load failed; see the notes".into()),
    };
    let name = "throughput / that with 16 partitions";
    row.bars = vec![Bar::new(name, Bound::AtLeast(0.85), "x", measured)];
    Ok(())
}
