//! Ratios are refused where they would not be fair, and bars are held or missed as the rules say. No server runs here; `floor_server` has one.

use odradek_perf::bars::judge::{Bar, Beside, Bound, ThroughputBounds, Verdict, throughput_bars};
use odradek_perf::figures::{Figures, Spread, comparable, ratios};
use odradek_perf::report::LoadReport;
use serde_json::json;

/// A run with these figures, as `load --json` prints it.
fn run(requests_per_second: f64, cpu_seconds_per_gigabyte: f64) -> LoadReport {
    let report = json!({
        "labels": {},
        "conditions": {
            "connections": 4, "in_flight": 5, "partitions": 16, "batch_bytes": 1024, "batch_records": 1,
            "acks": -1, "produce_version": 13, "threads": 1, "warm_up_seconds": 1.0, "seconds": 5.0
        },
        "server_address": "127.0.0.1:1",
        "topic": "t",
        "measured_seconds": 5.0,
        "requests": (requests_per_second * 5.0) as u64,
        "requests_per_second": requests_per_second,
        "megabytes_per_second": requests_per_second * 1024.0 / 1e6,
        "latency": { "p50_us": 100.0, "p90_us": 200.0, "p99_us": 300.0, "p99_9_us": 400.0, "max_us": 500.0 },
        "errors": {},
        "stored_batches": 1,
        "load_cpu_seconds": 1.0,
        "server": {
            "pid": 1, "cpu_seconds": 1.0, "cpu_seconds_per_gigabyte": cpu_seconds_per_gigabyte,
            "resident_bytes": 1, "resident_peak_bytes": 1, "disk_write_bytes": 1, "disk_bytes_per_byte": 1.0
        },
        "interrupted": false
    });
    serde_json::from_value(report).expect("a report as it is printed")
}

fn figures(system: &str, runs: &[LoadReport]) -> Figures {
    Figures::of(system, runs).expect("there are runs")
}

#[test]
fn medians_are_of_the_middle() {
    let spread = Spread::of([3.0, 1.0, 2.0].into_iter()).unwrap();
    assert_eq!(
        (spread.median, spread.lowest, spread.highest),
        (2.0, 1.0, 3.0)
    );
    assert_eq!(Spread::of([1.0, 2.0].into_iter()).unwrap().median, 1.5);
    assert_eq!(Spread::of(std::iter::empty()), None);
}

#[test]
fn the_same_work_without_errors_can_be_divided() {
    let ours = figures("ours", &[run(300.0, 1.0)]);
    let theirs = figures("theirs", &[run(100.0, 4.0)]);
    assert_eq!(comparable(&ours, &theirs), Ok(()));
    let text = ratios(&[ours, theirs]);
    assert!(
        text.contains("throughput 3.00 x") && text.contains("(1/4.0)"),
        "{text}"
    );
}

#[test]
fn other_conditions_errors_and_missing_rounds_are_refused() {
    let ours = figures("ours", &[run(300.0, 1.0)]);
    let refused = |theirs: LoadReport, why: &str| {
        let theirs = figures("theirs", &[theirs]);
        let said = comparable(&ours, &theirs).unwrap_err();
        assert!(said.contains(why), "{said}");
        assert!(ratios(&[ours.clone(), theirs]).contains("no ratio"));
    };
    let mut other = run(100.0, 1.0);
    other.conditions.batch_bytes = 2048;
    refused(other, "different conditions");
    let mut other = run(100.0, 1.0);
    other.conditions.seconds = 4.0;
    refused(other, "different conditions");
    let mut other = run(100.0, 1.0);
    other.errors.insert("NOT_ENOUGH_REPLICAS (19)".into(), 2);
    refused(other, "errors in round 1: 2 x NOT_ENOUGH_REPLICAS");
    let mut other = run(100.0, 1.0);
    other.interrupted = true;
    refused(other, "interrupted");
    refused(run(0.0, 1.0), "nothing was stored");
    let two = figures("theirs", &[run(100.0, 1.0), run(100.0, 1.0)]);
    assert!(comparable(&ours, &two).unwrap_err().contains("rounds"));
}

#[test]
fn a_round_under_other_conditions_spoils_its_system() {
    let mut odd = run(100.0, 1.0);
    odd.conditions.in_flight = 6;
    let mixed = figures("mixed", &[run(100.0, 1.0), odd]);
    assert!(mixed.spoiled.unwrap().contains("round 2"));
}

#[test]
fn a_bound_is_held_or_missed_at_its_edge() {
    let verdict = |bound, figure| Bar::new("b", bound, "x", Ok(figure)).verdict;
    assert_eq!(verdict(Bound::AtLeast(3.0), 3.0), Verdict::Held);
    assert_eq!(verdict(Bound::AtLeast(3.0), 2.99), Verdict::Missed);
    assert_eq!(verdict(Bound::AtMost(1.5), 1.5), Verdict::Held);
    assert_eq!(verdict(Bound::AtMost(1.5), 1.51), Verdict::Missed);
    let without = Bar::new("b", Bound::AtMost(1.5), "x", Err("no Kafka".into()));
    assert_eq!(without.verdict, Verdict::NotMeasured("no Kafka".into()));
    assert!(without.to_string().contains("not measured: no Kafka"));
    let nonsense = Bar::new("b", Bound::AtMost(1.5), "x", Ok(f64::NAN));
    assert!(matches!(nonsense.verdict, Verdict::NotMeasured(_)));
}

const BOUNDS: ThroughputBounds = ThroughputBounds {
    throughput_of_kafka_min: 3.0,
    throughput_of_ring_floor_min: 0.85,
    cpu_of_kafka_max: 1.0 / 6.0,
    cpu_of_better_floor_max: 1.5,
};

/// The verdicts over Odradek, Kafka, ring floor and sync floor: throughput and CPU of each.
fn verdicts(all: [(f64, f64); 4]) -> Vec<Verdict> {
    let [odradek, kafka, ring, sync] = all.map(|(rate, cpu)| figures("system", &[run(rate, cpu)]));
    let beside = Beside {
        odradek: Some(&odradek),
        kafka: Some(&kafka),
        ring: Some(&ring),
        sync: Some(&sync),
    };
    let bars = throughput_bars(beside, BOUNDS);
    bars.into_iter().map(|bar| bar.verdict).collect()
}

#[test]
fn a_row_of_the_table_is_held_in_all_four() {
    let all = [(900.0, 1.0), (100.0, 10.0), (1000.0, 0.9), (800.0, 0.7)];
    assert_eq!(verdicts(all), vec![Verdict::Held; 4]);
}

#[test]
fn the_cheaper_floor_counts() {
    // 1.2 is 1.33 times the ring floor's CPU, and 2 times the sync floor's.
    let all = [(900.0, 1.2), (100.0, 10.0), (1000.0, 0.9), (800.0, 0.6)];
    assert_eq!(verdicts(all)[3], Verdict::Missed);
}

#[test]
fn where_kafka_is_near_the_floor_the_floor_alone_counts() {
    let all = [(900.0, 1.0), (400.0, 10.0), (1000.0, 0.9), (800.0, 0.9)];
    assert!(matches!(verdicts(all)[0], Verdict::NotCounted(_)));
    assert_eq!(verdicts(all)[1], Verdict::Held);
    // Not so where the floor leaves room.
    let all = [(700.0, 1.0), (280.0, 10.0), (1000.0, 0.9), (800.0, 0.9)];
    assert_eq!(verdicts(all)[..2], [Verdict::Missed, Verdict::Missed]);
}

#[test]
fn without_kafka_only_its_bars_are_not_measured() {
    let [odradek, ring, sync] =
        [900.0, 1000.0, 800.0].map(|rate| figures("system", &[run(rate, 1.0)]));
    let beside = Beside {
        odradek: Some(&odradek),
        kafka: None,
        ring: Some(&ring),
        sync: Some(&sync),
    };
    let bars = throughput_bars(beside, BOUNDS);
    let measured: Vec<bool> = bars.iter().map(|bar| bar.measured.is_some()).collect();
    assert_eq!(measured, [false, true, false, true]);
}
