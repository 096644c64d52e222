//! Retention in Kafka's units: whole virtual segments go, the oldest first, while the rest holds `retention.bytes`, or when their newest
//! record is older than `retention.ms`.

mod common;

use common::*;
use odradek_wal::simulation::Driver;
use odradek_wal::*;

/// Of a payload of 936 bytes.
const FRAME_BYTES: i64 = 1_000;

fn filled(policy: RetentionPolicy, frames: i64, step_ms: u64) -> (Driver, ReplicaId) {
    let options = LogOptions {
        segment_bytes: 1 << 20,
        directory_bytes_max: 64 << 20,
        retention_check_interval_ms: 100_000_000,
        ..options()
    };
    fill(Driver::new(1, options), policy, frames, step_ms)
}

fn fill(
    mut driver: Driver,
    policy: RetentionPolicy,
    frames: i64,
    step_ms: u64,
) -> (Driver, ReplicaId) {
    let replica = create(&mut driver, 0);
    driver.log.set_retention(replica, policy);
    for _ in 0..frames {
        let wall_ms = driver.now.wall_ms;
        append_at(&mut driver, replica, 1, 936, 0, wall_ms).unwrap();
        driver.settle();
        driver.tick(step_ms);
    }
    driver.settle();
    driver.log.set_high_watermark(replica, Offset(frames));
    (driver, replica)
}

fn enforce(driver: &mut Driver, replica: ReplicaId) -> i64 {
    driver.call(|log, now, out| log.enforce_retention(now, out));
    driver.settle();
    driver.check_accounts().unwrap();
    driver.log.replica(replica).unwrap().log_start.0
}

#[test]
fn whole_segments_go_while_the_rest_holds_retention_bytes() {
    // (retention.bytes, segment.bytes) in frames, and what of 50 frames is left from where on.
    for (retention, segment, start) in [
        (20, 1, 30),
        (20, 10, 30),
        (25, 10, 20),
        (45, 10, 0),
        (20, 7, 28),
        (0, 10, 50),
        (20, 1_000, 0),
        (0, 1_000, 50),
    ] {
        let policy = RetentionPolicy {
            bytes: retention * FRAME_BYTES,
            segment_bytes: segment * FRAME_BYTES,
            ..RetentionPolicy::KEEP
        };
        let (mut driver, replica) = filled(policy, 50, 0);
        let found = enforce(&mut driver, replica);
        assert_eq!(found, start, "retention {retention}, segment {segment}");
        assert_eq!(enforce(&mut driver, replica), start, "and no more of it");
        assert_eq!(
            read_all(&mut driver, replica, start).len() as i64,
            50 - start
        );
        let (mut driver, _) = restart(driver);
        assert_eq!(
            driver.log.replica(replica).unwrap().log_start,
            Offset(start)
        );
        assert_eq!(
            read_all(&mut driver, replica, start).len() as i64,
            50 - start
        );
    }
}

#[test]
fn segments_go_when_their_newest_record_is_too_old() {
    // A frame each second; after 50 of them the oldest is 50 s old.
    for (retention_s, segment_s, start) in [(20, 0, 30), (20, 9, 30), (20, 12, 26), (20, 100, 0)] {
        let policy = RetentionPolicy {
            ms: retention_s * 1_000,
            segment_ms: segment_s * 1_000,
            ..RetentionPolicy::KEEP
        };
        let (mut driver, replica) = filled(policy, 50, 1_000);
        let found = enforce(&mut driver, replica);
        assert_eq!(
            found, start,
            "retention {retention_s} s, segment {segment_s} s"
        );
    }
    // The newest too, once all of it is old.
    let policy = RetentionPolicy {
        ms: 20_000,
        ..RetentionPolicy::KEEP
    };
    let (mut driver, replica) = filled(policy, 50, 1_000);
    driver.now.monotonic_us += 25_000_000;
    driver.now.wall_ms += 25_000;
    assert_eq!(enforce(&mut driver, replica), 50);
}

#[test]
fn what_consumers_may_not_read_yet_stays() {
    let policy = RetentionPolicy {
        bytes: 0,
        segment_bytes: 10 * FRAME_BYTES,
        ..RetentionPolicy::KEEP
    };
    let (mut driver, replica) = filled(policy, 50, 0);
    driver.log.set_high_watermark(replica, Offset(27));
    assert_eq!(enforce(&mut driver, replica), 20);
}

#[test]
fn full_segments_of_the_log_are_parted_as_kafka_would() {
    // Each frame is a write of its own, 28 of them fill a segment of the log: what goes ends within one.
    let options = || LogOptions {
        rewrite_dead_percent_min: 100,
        upper_extent_bytes_max: 4 << 10,
        ..options()
    };
    let policy = RetentionPolicy {
        bytes: 60 * FRAME_BYTES,
        segment_bytes: 10 * FRAME_BYTES,
        ..RetentionPolicy::KEEP
    };
    let (mut driver, replica) = fill(Driver::new(1, options()), policy, 300, 0);
    driver.quiesce();
    driver.call(|log, now, out| log.begin_checkpoint(now, Vec::new(), out));
    driver.quiesce();
    assert_eq!(enforce(&mut driver, replica), 240);
    assert_eq!(enforce(&mut driver, replica), 240, "and no more of it");
    assert_eq!(read_all(&mut driver, replica, 240).len(), 60);
    // By time: a frame a second, Kafka's segments of 10 s and the one frame that begins the next.
    let policy = RetentionPolicy {
        ms: 60_000,
        segment_ms: 9_000,
        ..RetentionPolicy::KEEP
    };
    let (mut driver, replica) = fill(Driver::new(1, options()), policy, 300, 1_000);
    assert_eq!(enforce(&mut driver, replica), 240);
    let (mut driver, _) = restart(driver);
    driver.log.set_retention(replica, policy);
    driver.log.set_high_watermark(replica, Offset(300));
    driver.now.monotonic_us += 15_000_000;
    driver.now.wall_ms += 15_000;
    assert_eq!(enforce(&mut driver, replica), 250);
}
