//! A data directory that is small for what comes in: retention and cleaning keep up with producers, and nobody is refused for want of space that
//! limits let go of.

mod common;

use common::*;
use odradek_wal::simulation::Driver;
use odradek_wal::*;

/// A batch that fills its block.
const BATCH_BYTES: usize = 3_800;
const FRAME_BYTES: i64 = 3_864;
const SEGMENTS: u64 = 128;
const DIRECTORY_BYTES: u64 = SEGMENTS * (128 << 10);

fn driver() -> Driver {
    Driver::new(
        5,
        LogOptions {
            directory_bytes_max: DIRECTORY_BYTES,
            rewrite_dead_percent_min: 50,
            // No look in its turn comes in time.
            retention_check_interval_ms: 100_000_000,
            ..options()
        },
    )
}

/// Kafka's segments are as large as all of the directory here.
const POLICY: RetentionPolicy = RetentionPolicy {
    segment_bytes: 1 << 30,
    ..RetentionPolicy::KEEP
};

fn replicas(driver: &mut Driver, policies: &[RetentionPolicy]) -> Vec<ReplicaId> {
    let create_one = |(partition, policy): (usize, &RetentionPolicy)| {
        let replica = create(driver, partition as i32);
        driver.log.set_retention(replica, *policy);
        replica
    };
    policies.iter().enumerate().map(create_one).collect()
}

/// Appends a batch to each replica in turn, one each 10 ms, and waits where the log asks for it.
fn load(driver: &mut Driver, replicas: &[ReplicaId], bytes: u64) {
    for at in 0..bytes / 4_096 {
        let replica = replicas[at as usize % replicas.len()];
        let mut waited_ms = 0;
        loop {
            let timestamp = driver.now.wall_ms;
            let appended = append_at(driver, replica, 1, BATCH_BYTES, 0, timestamp);
            driver.tick(10);
            driver.settle();
            let due = |output: &Output| matches!(output, Output::CheckpointDue);
            if driver.take_outputs().iter().any(due) {
                driver.call(|log, now, out| log.begin_checkpoint(now, Vec::new(), out));
            }
            match appended {
                Ok(_) => break,
                Err(AppendRefusal::Busy) => waited_ms += 10,
                Err(refusal) => panic!(
                    "{refusal} after {at} batches: {:?}",
                    driver.log.statistics()
                ),
            }
            assert!(waited_ms < 2_000, "{:?}", driver.log.statistics());
        }
        let end = driver.log.replica(replica).unwrap().log_end;
        driver.log.set_high_watermark(replica, Offset(end.0 - 1));
    }
    driver.settle();
    driver.check_accounts().unwrap();
}

fn start(driver: &Driver, replica: ReplicaId) -> (i64, i64) {
    let state = driver.log.replica(replica).unwrap();
    (state.log_start.0, state.log_end.0)
}

#[test]
fn retention_by_size_makes_room_before_a_segment_of_kafkas_is_full() {
    let mut driver = driver();
    let policy = RetentionPolicy {
        bytes: 256 << 10,
        ..POLICY
    };
    let replicas = replicas(&mut driver, &[policy; 4]);
    load(&mut driver, &replicas, 3 * DIRECTORY_BYTES);
    for replica in replicas {
        let (start, end) = start(&driver, replica);
        assert!(start > 0);
        let kept = read_all(&mut driver, replica, start).len() as i64;
        assert_eq!(kept, end - start);
        assert!(kept * FRAME_BYTES >= 256 << 10, "retention.bytes are there");
    }
}

#[test]
fn retention_by_time_is_looked_at_as_soon_as_space_is_short() {
    let mut driver = driver();
    let policy = RetentionPolicy {
        ms: 5_000,
        ..POLICY
    };
    let replicas = replicas(&mut driver, &[policy; 4]);
    load(&mut driver, &replicas, 3 * DIRECTORY_BYTES);
    for replica in replicas {
        let (start, end) = start(&driver, replica);
        assert!(start > 0 && end - start >= 100, "5 s are there");
    }
}

#[test]
fn while_there_is_room_whole_segments_are_kept() {
    let mut driver = driver();
    let policy = RetentionPolicy {
        bytes: 64 << 10,
        ..POLICY
    };
    let replicas = replicas(&mut driver, &[policy]);
    load(&mut driver, &replicas, DIRECTORY_BYTES / 2);
    driver.call(|log, now, out| log.enforce_retention(now, out));
    driver.settle();
    assert_eq!(start(&driver, replicas[0]).0, 0);
}

#[test]
fn segments_that_are_dead_in_part_are_cleaned_when_nothing_else_is_left() {
    let mut driver = driver();
    let bytes = DIRECTORY_BYTES as i64 * 45 / 100 / 12;
    let by_size = RetentionPolicy {
        bytes,
        segment_bytes: 8 << 10,
        ..POLICY
    };
    let by_time = RetentionPolicy { ms: 500, ..POLICY };
    // Half of each segment is gone soon, and the other half kept: as they lie, they would take more than the directory has.
    let replicas = replicas(&mut driver, &[by_size, by_time].repeat(12));
    load(&mut driver, &replicas, 3 * DIRECTORY_BYTES);
    for replica in replicas.into_iter().step_by(2) {
        let (start, end) = start(&driver, replica);
        let kept = read_all(&mut driver, replica, start).len() as i64;
        assert_eq!(kept, end - start);
        assert!(kept * FRAME_BYTES >= bytes, "retention.bytes are there");
    }
    assert!(driver.log.statistics().bytes_rewritten > 0);
}

#[test]
fn a_producer_waits_no_longer_than_two_seconds_for_space_that_does_not_come() {
    let mut driver = driver();
    let replicas = replicas(
        &mut driver,
        &[POLICY, RetentionPolicy { bytes: 0, ..POLICY }],
    );
    let mut refused = None;
    for at in 0..20_000 {
        let replica = replicas[usize::from(at % 100 == 0)];
        match append(&mut driver, replica, 1, BATCH_BYTES) {
            Ok(_) => {}
            Err(AppendRefusal::Busy) => driver.tick(100),
            Err(refusal) => {
                refused = Some(refusal);
                break;
            }
        }
        // Checkpoints are called for, and none is made: nothing comes back.
        driver.settle();
    }
    assert_eq!(refused, Some(AppendRefusal::NoSpace));
}

#[test]
fn what_is_dead_is_written_over_before_a_new_segment_is_made() {
    let mut driver = Driver::new(
        5,
        LogOptions {
            directory_bytes_max: 64 * DIRECTORY_BYTES,
            // No checkpoint comes for another reason.
            checkpoint_interval_bytes: u64::MAX,
            ..options()
        },
    );
    let mut most = 0;
    for partition in 0..40 {
        let replica = create(&mut driver, partition);
        load(&mut driver, &[replica], DIRECTORY_BYTES / 16);
        driver
            .call(|log, now, out| log.delete_replica(now, replica, out))
            .unwrap();
        driver.settle();
        most = most.max(driver.log.statistics().segments);
    }
    // Two and a half times `SEGMENTS` were written, and space was never short.
    assert!(most <= SEGMENTS / 4, "{most} segments");
}
