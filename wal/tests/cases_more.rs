//! The scenarios of space, caches, replay, order, clocks and spares (cases 13 to 24), faults of the disk, look-ups by time, and random flips.

mod common;

use common::*;
use odradek_wal::simulation::{Driver, Operation, Random, SimulatedDisk};
use odradek_wal::*;

#[test]
fn case_13_a_full_disk_refuses_produce_and_still_deletes() {
    let mut driver = Driver::new(
        9,
        LogOptions {
            directory_bytes_max: 12 * (128 << 10),
            ..options()
        },
    );
    let replicas: Vec<_> = (0..4)
        .map(|partition| create(&mut driver, partition))
        .collect();
    let mut refused = None;
    for round in 0..2_000_usize {
        match append(&mut driver, replicas[round % 4], 1, 2_000) {
            Ok(_) => {}
            Err(refusal) => {
                refused = Some(refusal);
                break;
            }
        }
        driver.settle();
    }
    assert_eq!(refused, Some(AppendRefusal::NoSpace));
    let kept = driver.log.replica(replicas[1]).unwrap().log_end.0;
    assert_eq!(
        read_all(&mut driver, replicas[1], 0).len() as i64,
        kept,
        "reads go on"
    );
    driver
        .call(|log, now, out| log.delete_replica(now, replicas[0], out))
        .unwrap();
    driver
        .call(|log, now, out| log.delete_replica(now, replicas[2], out))
        .unwrap();
    let end = driver.log.replica(replicas[3]).unwrap().log_end;
    driver
        .call(|log, now, out| log.set_log_start(now, replicas[3], end, out))
        .unwrap();
    for _ in 0..12 {
        driver.tick(1_000);
        driver.settle();
        if driver
            .take_outputs()
            .iter()
            .any(|output| matches!(output, Output::CheckpointDue))
        {
            checkpoint(&mut driver);
        }
    }
    assert!(
        !driver.log.statistics().out_of_space,
        "{:?}",
        driver.log.statistics()
    );
    append(&mut driver, replicas[1], 1, 2_000).unwrap();
    driver.settle();
    let (mut driver, report) = restart(driver);
    assert_eq!(report.damage, vec![]);
    assert_eq!(read_all(&mut driver, replicas[1], 0).len() as i64, kept + 1);
}

#[test]
fn case_13_no_space_on_the_device_is_not_a_failure() {
    let mut driver = Driver::new(10, options());
    driver.disk.bytes_max = 7 * (128 << 10) + (64 << 10);
    let replica = create(&mut driver, 0);
    let mut refused = None;
    for _ in 0..1_000 {
        if let Err(refusal) = append(&mut driver, replica, 1, 2_000) {
            refused = Some(refusal);
            break;
        }
        driver.tick(1);
        driver.settle();
    }
    assert_eq!(refused, Some(AppendRefusal::NoSpace));
    assert_eq!(driver.log.offline(), None);
    let end = driver.log.replica(replica).unwrap().log_end;
    assert_eq!(read_all(&mut driver, replica, 0).len() as i64, end.0);
    driver.disk.bytes_max = u64::MAX;
    driver.tick(6_000);
    driver.settle();
    append(&mut driver, replica, 1, 2_000).unwrap();
}

#[test]
fn case_14_the_tail_serves_readers_without_the_disk() {
    let mut driver = Driver::new(
        11,
        LogOptions {
            tail_cache_bytes: 1 << 20,
            index_cache_bytes: 256 << 10,
            ..options()
        },
    );
    let replica = create(&mut driver, 0);
    for _ in 0..100 {
        append(&mut driver, replica, 1, 1_000).unwrap();
        driver.settle();
    }
    assert_eq!(read_all(&mut driver, replica, 0).len(), 100);
    assert_eq!(driver.log.statistics().reads_from_disk, 0);
    let mut cold = Driver::new(
        11,
        LogOptions {
            tail_cache_bytes: 8 << 10,
            ..options()
        },
    );
    let replica = create(&mut cold, 0);
    for _ in 0..100 {
        append(&mut cold, replica, 1, 1_000).unwrap();
        cold.settle();
    }
    assert_eq!(read_all(&mut cold, replica, 0).len(), 100);
    assert!(
        cold.log.statistics().reads_from_disk < 30,
        "read-ahead: {}",
        cold.log.statistics().reads_from_disk
    );
}

#[test]
fn case_15_replay_feeds_headers_and_truncation_to_the_shard() {
    #[derive(Default)]
    struct Seen(Vec<String>);
    impl RecoveryVisitor for Seen {
        fn cold(&mut self, replica: ReplicaId, page: &[u8]) {
            self.0
                .push(format!("cold {replica} {}", String::from_utf8_lossy(page)));
        }
        fn frame(&mut self, meta: &FrameMeta) {
            self.0.push(format!(
                "frame {} sequence {} flags {}",
                meta.base_offset, meta.base_sequence, meta.flags
            ));
        }
        fn truncated(&mut self, replica: ReplicaId, to: Offset) {
            self.0.push(format!("truncated {replica} {to}"));
        }
        fn deleted(&mut self, replica: ReplicaId) {
            self.0.push(format!("deleted {replica}"));
        }
    }
    let mut driver = Driver::new(12, options());
    let (replica, gone) = (create(&mut driver, 0), create(&mut driver, 1));
    append(&mut driver, replica, 2, 100).unwrap();
    driver.call(|log, now, out| log.begin_checkpoint(now, vec![(replica, b"two".to_vec())], out));
    append(&mut driver, replica, 3, 100).unwrap();
    driver
        .call(|log, now, out| log.truncate(now, replica, Offset(2), out))
        .unwrap();
    append(&mut driver, replica, 1, 100).unwrap();
    driver
        .call(|log, now, out| log.delete_replica(now, gone, out))
        .unwrap();
    driver.settle();
    let (options, now) = (
        LogOptions {
            seed: 1,
            ..options()
        },
        driver.now,
    );
    let mut seen = Seen::default();
    Driver::open(driver.crash(), options, now, &mut seen)
        .map_err(|(_, error)| error)
        .unwrap();
    let expected = [
        "cold 0 two",
        "frame 2 sequence 2 flags 0",
        "truncated 0 2",
        "frame 2 sequence 2 flags 0",
        "deleted 1",
    ];
    assert_eq!(seen.0, expected);
}

#[test]
fn case_17_log_start_and_broker_epoch_and_metadata_offset_survive() {
    let mut driver = Driver::new(13, options());
    let replica = create(&mut driver, 41);
    for _ in 0..10 {
        append(&mut driver, replica, 1, 100).unwrap();
    }
    driver.settle();
    driver.take_outputs();
    let lsn = driver
        .call(|log, now, out| log.set_log_start(now, replica, Offset(7), out))
        .unwrap();
    driver
        .call(|log, now, out| log.set_broker_epoch(now, 99, out))
        .unwrap();
    assert!(
        durable_lsn(&driver.outputs).is_none_or(|durable| durable < lsn),
        "durable before its answer"
    );
    driver.settle();
    assert!(durable_lsn(&driver.outputs).unwrap() >= lsn);
    let (mut driver, report) = restart(driver);
    assert_eq!((report.broker_epoch, report.metadata_offset_max), (99, 41));
    assert_eq!(driver.log.replica(replica).unwrap().log_start, Offset(7));
    assert_eq!(
        read(&mut driver, replica, 6, 100),
        Err(ReadAnswer::BelowLogStart)
    );
}

#[test]
fn case_17_a_foreign_folder_is_refused() {
    let driver = Driver::new(13, options());
    let now = driver.now;
    let disk = driver.crash();
    for wrong in [
        LogOptions {
            node_id: 5,
            ..options()
        },
        LogOptions {
            cluster_id: "other".into(),
            ..options()
        },
        LogOptions {
            directory_id: DirectoryId([9; 16]),
            ..options()
        },
        LogOptions {
            shards: 4,
            ..options()
        },
    ] {
        let refused = Driver::open(disk.clone(), wrong, now, &mut IgnoreAll)
            .err()
            .map(|(_, error)| error);
        assert!(
            matches!(refused, Some(RecoveryError::Foreign(_))),
            "{refused:?}"
        );
    }
    let mut disk = disk;
    assert_eq!(
        Log::format(&mut disk, &options()),
        Err(FormatError::Occupied(FileName::Superblock))
    );
    let nothing = Driver::open(SimulatedDisk::new(1), options(), now, &mut IgnoreAll)
        .err()
        .map(|(_, error)| error);
    assert_eq!(nothing, Some(RecoveryError::NotFormatted));
}

#[test]
fn case_18_a_clock_jump_freezes_deletions() {
    let week_ms = 7 * 86_400_000;
    let mut driver = Driver::new(
        14,
        LogOptions {
            retention_check_interval_ms: 100,
            ..options()
        },
    );
    let replica = create(&mut driver, 0);
    driver.log.set_retention(
        replica,
        RetentionPolicy {
            ms: week_ms,
            bytes: -1,
            segment_bytes: 1,
            segment_ms: 1,
        },
    );
    for _ in 0..10 {
        let wall_ms = driver.now.wall_ms;
        append_at(&mut driver, replica, 1, 100, 0, wall_ms).unwrap();
        driver.settle();
        driver.tick(10);
    }
    driver.log.set_high_watermark(replica, Offset(10));
    driver.now.wall_ms += 365 * 86_400_000;
    driver.quiesce();
    assert!(driver.log.statistics().deletions_frozen);
    assert_eq!(
        driver.log.replica(replica).unwrap().log_start,
        Offset(0),
        "a year ahead, nothing is deleted"
    );
    append(&mut driver, replica, 1, 100).unwrap();
    driver.settle();
    driver.log.set_high_watermark(replica, Offset(11));
    let now = driver.now;
    driver.log.trust_clock(now);
    driver.quiesce();
    assert!(
        driver.log.replica(replica).unwrap().log_start >= Offset(10),
        "confirmed, retention goes on"
    );
    let (mut options, mut now) = (driver.log.options().clone(), driver.now);
    options.seed += 1;
    now.wall_ms += 30 * 86_400_000;
    let (driver, _) = Driver::open(driver.crash(), options, now, &mut IgnoreAll)
        .map_err(|_| ())
        .unwrap();
    assert!(
        driver.log.statistics().deletions_frozen,
        "a start long after the last record"
    );
}

#[test]
fn case_18_retention_by_time_and_size_moves_the_log_start() {
    let mut driver = Driver::new(
        15,
        LogOptions {
            retention_check_interval_ms: 100,
            ..options()
        },
    );
    let (timed, sized) = (create(&mut driver, 0), create(&mut driver, 1));
    driver.log.set_retention(
        timed,
        RetentionPolicy {
            ms: 10_000,
            bytes: -1,
            segment_bytes: 1,
            segment_ms: 1,
        },
    );
    driver.log.set_retention(
        sized,
        RetentionPolicy {
            ms: -1,
            bytes: 100_000,
            segment_bytes: 1,
            segment_ms: 1,
        },
    );
    for _ in 0..200 {
        let wall_ms = driver.now.wall_ms;
        for replica in [timed, sized] {
            append_at(&mut driver, replica, 1, 1_900, 0, wall_ms).unwrap();
            driver.settle();
            let end = driver.log.replica(replica).unwrap().log_end;
            driver.log.set_high_watermark(replica, end);
        }
        driver.tick(5);
    }
    driver.quiesce();
    let state = driver.log.replica(sized).unwrap();
    assert!(
        state.log_start > Offset(0) && state.bytes >= 100_000,
        "{state:?}"
    );
    assert_eq!(
        read_all(&mut driver, sized, state.log_start.0).len() as i64,
        200 - state.log_start.0
    );
    assert_eq!(driver.log.replica(timed).unwrap().log_start, Offset(0));
    driver.tick(11_000);
    driver.quiesce();
    assert_eq!(
        driver.log.replica(timed).unwrap().log_start,
        Offset(200),
        "all of it is older than ten seconds"
    );
}

#[test]
fn case_24_spares_are_ready_and_their_want_is_counted() {
    let mut driver = Driver::new(16, options());
    let replica = create(&mut driver, 0);
    for _ in 0..200 {
        append(&mut driver, replica, 1, 2_000).unwrap();
        driver.settle();
    }
    assert_eq!(
        driver.log.statistics().segments_unwritten,
        0,
        "a zeroed one was ready each time"
    );
    let mut driver = Driver::new(16, options());
    let replica = create(&mut driver, 0);
    for _ in 0..400 {
        // Zeroing never gets its turn: an unwritten segment is used, and counted, and nothing waits for ever.
        let _ = append(&mut driver, replica, 1, 2_000);
        let slow = |io: &Io| matches!(io, Io::Create { zero: true, .. });
        let (kept, run): (Vec<Io>, Vec<Io>) = driver.waiting.drain(..).partition(slow);
        driver.waiting.extend(kept);
        for io in run {
            let result = driver.disk.run(&io);
            driver.done(io.id(), result);
        }
    }
    assert!(driver.log.statistics().segments_unwritten > 0);
    assert_eq!(segment_bytes_for(1 << 40, 2), 256 << 20);
    assert_eq!(segment_bytes_for(1 << 30, 2), 32 << 20);
}

#[test]
fn a_failed_write_is_tried_once_more_in_a_fresh_segment_then_the_directory_is_offline() {
    let mut driver = Driver::new(17, options());
    let replica = create(&mut driver, 0);
    driver.quiesce();
    driver.disk.fail(Operation::Write, 0);
    append(&mut driver, replica, 2, 3_000).unwrap();
    driver.settle();
    assert_eq!(driver.log.offline(), None);
    assert_eq!(driver.log.statistics().writes_retried, 1);
    assert_eq!(driver.log.replica(replica).unwrap().durable_end, Offset(2));
    append(&mut driver, replica, 1, 100).unwrap();
    driver.settle();
    assert_eq!(read_all(&mut driver, replica, 0).len(), 2);
    let (mut driver, report) = restart(driver);
    assert_eq!(report.damage, vec![]);
    assert_eq!(read_all(&mut driver, replica, 0).len(), 2);
    driver.quiesce();
    append(&mut driver, replica, 1, 100).unwrap();
    for _ in 0..4 {
        driver.disk.fail(Operation::Write, 0);
        driver.run_one();
    }
    assert!(matches!(
        driver.log.offline(),
        Some(OfflineReason::WriteFailed(_))
    ));
    assert_eq!(
        append(&mut driver, replica, 1, 100),
        Err(AppendRefusal::Offline)
    );
}

#[test]
fn slow_and_stuck_writes_refuse_and_go_offline() {
    let mut driver = Driver::new(18, options());
    let replica = create(&mut driver, 0);
    driver.quiesce();
    append(&mut driver, replica, 1, 100).unwrap();
    driver.tick(2_500);
    assert_eq!(
        append(&mut driver, replica, 1, 100),
        Err(AppendRefusal::Stalled)
    );
    driver.settle();
    append(&mut driver, replica, 1, 100).unwrap();
    driver.tick(11_000);
    assert_eq!(driver.log.offline(), Some(OfflineReason::WriteStuck));
}

#[test]
fn failing_reads_are_damage_of_their_frames_only() {
    let mut driver = Driver::new(
        19,
        LogOptions {
            tail_cache_bytes: 4 << 10,
            ..options()
        },
    );
    let replica = create(&mut driver, 0);
    for _ in 0..20 {
        append(&mut driver, replica, 1, 3_000).unwrap();
        driver.settle();
    }
    driver.disk.fail(Operation::Read, 0);
    // A joined read that fails is done again frame by frame.
    assert_eq!(read_all(&mut driver, replica, 0).len(), 20);
    assert_eq!(driver.log.statistics().frames_damaged, 0);
}

#[test]
fn a_vanished_segment_is_reported_and_the_rest_goes_on() {
    let mut driver = Driver::new(20, options());
    let (first, second) = (create(&mut driver, 0), create(&mut driver, 1));
    append(&mut driver, first, 1, 2_000).unwrap();
    driver.settle();
    for _ in 0..200 {
        append(&mut driver, second, 1, 2_000).unwrap();
        driver.settle();
    }
    driver.quiesce();
    checkpoint(&mut driver);
    let (file, _) = find(&driver.disk, &payload(first, 0, 2_000));
    driver.disk.lose(file);
    let (mut driver, report) = restart(driver);
    assert!(
        report
            .damage
            .iter()
            .any(|damage| damage.replica == Some(first) && damage.file == file),
        "{:?}",
        report.damage
    );
    assert!(matches!(
        read(&mut driver, first, 0, 100),
        Err(ReadAnswer::Damaged { .. })
    ));
    assert_eq!(append(&mut driver, first, 1, 100).unwrap().0, 1);
    let last = read(&mut driver, second, 199, 100).unwrap();
    assert_eq!(last.slices[0], payload(second, 199, 2_000));
}

#[test]
fn a_segment_that_vanishes_while_running_is_damage_of_its_extents_only() {
    let mut driver = Driver::new(
        20,
        LogOptions {
            tail_cache_bytes: 4 << 10,
            ..options()
        },
    );
    let (first, second) = (create(&mut driver, 0), create(&mut driver, 1));
    append(&mut driver, first, 1, 2_000).unwrap();
    driver.settle();
    for _ in 0..200 {
        append(&mut driver, second, 1, 2_000).unwrap();
        driver.settle();
    }
    driver.quiesce();
    checkpoint(&mut driver);
    let (mut driver, _) = restart(driver);
    let (file, _) = find(&driver.disk, &payload(first, 0, 2_000));
    driver.disk.lose(file);
    assert!(matches!(
        read(&mut driver, first, 0, 100),
        Err(ReadAnswer::Damaged { .. })
    ));
    let answer = driver.call(|log, now, out| log.find_timestamp(now, first, 0, 99, out));
    assert!(matches!(
        wait(&mut driver, answer),
        Err(ReadAnswer::Damaged { .. })
    ));
    let last = read(&mut driver, second, 199, 100).unwrap();
    assert_eq!(last.slices[0], payload(second, 199, 2_000));
}

#[test]
fn timestamps_are_found_in_memory_and_on_disk() {
    let mut driver = Driver::new(21, options());
    let replica = create(&mut driver, 0);
    for index in 0..150 {
        let timestamp = if index == 70 {
            99_999
        } else {
            1_000 + index * 10
        };
        append_at(&mut driver, replica, 2, 1_500, 0, timestamp).unwrap();
        driver.settle();
    }
    for _ in 0..2 {
        for (timestamp, base) in [
            (0, 0),
            (1_000, 0),
            (1_001, 2),
            (1_500, 100),
            (1_700, 140),
            (1_705, 140),
            (99_999, 140),
        ] {
            let answer =
                driver.call(|log, now, out| log.find_timestamp(now, replica, timestamp, 99, out));
            assert_eq!(
                wait(&mut driver, answer).unwrap().first_offset,
                Offset(base),
                "timestamp {timestamp}"
            );
        }
        let answer =
            driver.call(|log, now, out| log.find_timestamp(now, replica, 100_000, 99, out));
        assert_eq!(wait(&mut driver, answer), Err(ReadAnswer::Empty));
        let answer = driver.call(|log, now, out| log.find_max_timestamp(now, replica, 99, out));
        assert_eq!(wait(&mut driver, answer).unwrap().first_offset, Offset(140));
        driver = restart(driver).0;
    }
}

#[test]
fn a_clean_shut_down_leaves_nothing_to_replay() {
    let mut driver = Driver::new(22, options());
    let replica = create(&mut driver, 0);
    for _ in 0..50 {
        append(&mut driver, replica, 1, 2_000).unwrap();
    }
    driver.call(|log, now, out| log.begin_checkpoint(now, vec![(replica, b"page".to_vec())], out));
    driver.call(|log, now, out| log.shut_down(now, out));
    assert_eq!(
        append(&mut driver, replica, 1, 10),
        Err(AppendRefusal::ShuttingDown)
    );
    driver.settle();
    driver.tick(1);
    driver.settle();
    assert!(
        driver
            .outputs
            .iter()
            .any(|output| matches!(output, Output::Closed))
    );
    let (mut driver, report) = restart(driver);
    assert!(report.clean, "{report:?}");
    assert_eq!(read_all(&mut driver, replica, 0).len(), 50);
}

#[test]
fn random_flips_are_reported_or_harmless() {
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let mut driver = Driver::new(seed, options());
        let replicas: Vec<_> = (0..4)
            .map(|partition| create(&mut driver, partition))
            .collect();
        for round in 0..60 {
            append(
                &mut driver,
                replicas[round % 4],
                1,
                100 + random.below(3_000) as usize,
            )
            .unwrap();
            driver.settle();
            if random.once_in(25) {
                checkpoint(&mut driver);
            }
        }
        driver.quiesce();
        let ends: Vec<i64> = replicas
            .iter()
            .map(|replica| driver.log.replica(*replica).unwrap().log_end.0)
            .collect();
        let now = driver.now;
        let mut disk = driver.crash();
        let segments: Vec<FileName> = disk
            .file_names()
            .into_iter()
            .filter(|file| matches!(file, FileName::Segment(_)))
            .collect();
        let file = segments[random.below(segments.len() as u64) as usize];
        let length = disk.bytes(file).unwrap().len() as u64;
        disk.flip(
            file,
            4_096 + random.below(length - 4_096),
            random.below(8) as u8,
        );
        let (mut driver, report) = reopen(disk, now);
        for (replica, end) in replicas.iter().zip(ends) {
            let mut next = 0;
            let suspect = report.damage.iter().any(|damage| damage.replica.is_none());
            while next < end
                && !(suspect && driver.log.replica(*replica).unwrap().log_end.0 <= next)
            {
                match read(&mut driver, *replica, next, 4_000) {
                    Ok(data) => {
                        assert_eq!(
                            data.first_offset.0, next,
                            "seed {seed}: a loss without a mark"
                        );
                        next = data.next_offset.0;
                    }
                    Err(ReadAnswer::Damaged { last, .. }) => next = last.0 + 1,
                    Err(other) => panic!(
                        "seed {seed}: {other:?} at {next} of {end}, {:?}",
                        report.damage
                    ),
                }
            }
        }
    }
}
