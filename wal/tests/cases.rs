//! The scenarios of damage, reuse, truncation and memory (cases 1, 2, 3, 9, 11), each by name. Space, caches, order and clocks: `cases_more.rs`.

mod common;

use common::*;
use odradek_wal::simulation::Driver;
use odradek_wal::*;

#[test]
fn case_01_torn_write_is_not_damage() {
    for seed in 0..200 {
        let mut driver = Driver::new(seed, options());
        let replica = create(&mut driver, 0);
        for _ in 0..5 {
            append(&mut driver, replica, 1, 700).unwrap();
            driver.settle();
        }
        for _ in 0..30 {
            append(&mut driver, replica, 1, 900).unwrap();
        }
        driver.settle_commits(1);
        driver.disk.crash_at = Some(driver.disk.operations);
        driver.settle();
        let durable = driver.log.replica(replica).unwrap().durable_end;
        let (mut driver, report) = restart(driver);
        assert_eq!(report.damage, vec![], "seed {seed}");
        assert!(driver.log.replica(replica).unwrap().log_end >= durable);
        let frames = read_all(&mut driver, replica, 0);
        assert!(frames.len() as i64 >= durable.0);
    }
}

#[test]
fn case_01_flipped_header_of_an_idle_partition_is_reported_by_name() {
    for bit_at in [0_usize, 8, 20, 40, 61] {
        let mut driver = Driver::new(3, options());
        let (idle, busy) = (create(&mut driver, 0), create(&mut driver, 1));
        append(&mut driver, idle, 4, 600).unwrap();
        driver.settle();
        for _ in 0..4 {
            append(&mut driver, busy, 1, 500).unwrap();
            driver.settle();
        }
        let (file, position) = find(&driver.disk, &payload(idle, 0, 600));
        let now = driver.now;
        let mut disk = driver.crash();
        disk.flip(file, position - 64 + bit_at as u64, 3);
        let (mut driver, report) = reopen(disk, now);
        assert!(!report.undamaged());
        let victims: Vec<_> = report
            .damage
            .iter()
            .map(|damage| (damage.replica, damage.range))
            .collect();
        assert_eq!(
            victims,
            vec![(
                Some(idle),
                DamagedRange {
                    first: Offset(0),
                    last: Offset(3)
                }
            )],
            "byte {bit_at}"
        );
        assert_eq!(
            driver.log.replica(idle).unwrap().log_end,
            Offset(4),
            "its offsets were given out"
        );
        assert_eq!(
            read(&mut driver, idle, 0, 100),
            Err(ReadAnswer::Damaged {
                first: Offset(0),
                last: Offset(3)
            })
        );
        assert_eq!(
            read_all(&mut driver, busy, 0).len(),
            4,
            "nothing else is affected"
        );
        let (base, _) = append(&mut driver, idle, 1, 50).unwrap();
        assert_eq!(base, 4);
        driver.settle();
        checkpoint(&mut driver);
        let (mut driver, _) = restart(driver);
        assert_eq!(
            read(&mut driver, idle, 0, 100),
            Err(ReadAnswer::Damaged {
                first: Offset(0),
                last: Offset(3)
            })
        );
        assert_eq!(read_all(&mut driver, idle, 4).len(), 1);
    }
}

#[test]
fn case_01_damage_of_both_copies_makes_the_shard_suspect() {
    let mut driver = Driver::new(3, options());
    let (first, second) = (create(&mut driver, 0), create(&mut driver, 1));
    driver.settle();
    append(&mut driver, first, 4, 600).unwrap();
    driver.settle();
    for _ in 0..3 {
        append(&mut driver, second, 1, 500).unwrap();
        driver.settle();
    }
    let (file, position) = find(&driver.disk, &payload(first, 0, 600));
    let now = driver.now;
    let mut disk = driver.crash();
    let block = position / 4096 * 4096;
    disk.overwrite(file, block, &[0xAA; 4096]);
    let (mut driver, report) = reopen(disk, now);
    assert!(
        report.damage.iter().any(|damage| damage.replica.is_none()),
        "{:?}",
        report.damage
    );
    assert_eq!(read_all(&mut driver, second, 0).len(), 3);
}

#[test]
fn case_01_a_seal_proves_the_last_write() {
    let mut driver = Driver::new(3, options());
    let replica = create(&mut driver, 0);
    append(&mut driver, replica, 1, 600).unwrap();
    driver.settle();
    let (file, position) = find(&driver.disk, &payload(replica, 0, 600));
    let now = driver.now;
    let mut unsealed = driver.disk.clone();
    unsealed.flip(file, position, 0);
    let (_, report) = reopen(unsealed, now);
    assert_eq!(
        report.damage,
        vec![],
        "an unproven last write cannot be told from a torn one"
    );
    assert!(report.bytes_cut > 0);
    driver.quiesce();
    assert_eq!(driver.log.statistics().seals, 1);
    let mut sealed = driver.crash();
    sealed.flip(file, position, 0);
    let (_, report) = reopen(sealed, now);
    assert_eq!(report.damage.len(), 1);
}

#[test]
fn case_01_a_flip_in_a_sealed_segment_is_found_on_read_and_by_the_scrub() {
    let mut driver = Driver::new(9, options());
    let replicas: Vec<_> = (0..3)
        .map(|partition| create(&mut driver, partition))
        .collect();
    for round in 0..120 {
        append(&mut driver, replicas[round % 3], 1, 2_000).unwrap();
        driver.settle();
    }
    driver.quiesce();
    checkpoint(&mut driver);
    let (file, position) = find(&driver.disk, &payload(replicas[1], 0, 2_000));
    driver.disk.flip(file, position + 700, 5);
    assert_eq!(
        read(&mut driver, replicas[1], 0, 100),
        Err(ReadAnswer::Damaged {
            first: Offset(0),
            last: Offset(0)
        })
    );
    assert_eq!(
        damaged_outputs(&mut driver),
        vec![(Some(replicas[1]), Offset(0), Offset(0))]
    );
    assert_eq!(read_all(&mut driver, replicas[1], 1).len(), 39);
    assert_eq!(read_all(&mut driver, replicas[0], 0).len(), 40);

    let (file, position) = find(&driver.disk, &payload(replicas[2], 1, 2_000));
    driver.disk.flip(file, position + 3, 0);
    checkpoint(&mut driver);
    let (mut options, now) = (driver.log.options().clone(), driver.now);
    options.scrub_period_ms = 2_000;
    options.seed += 1;
    let (mut driver, _) = Driver::open(driver.crash(), options, now, &mut IgnoreAll)
        .map_err(|_| ())
        .unwrap();
    driver.quiesce();
    driver.quiesce();
    assert_eq!(
        damaged_outputs(&mut driver),
        vec![(Some(replicas[2]), Offset(1), Offset(1))],
        "found without a read"
    );
    assert!(driver.log.statistics().bytes_scrubbed > 100_000);
}

#[test]
fn case_02_recycled_bytes_and_forged_frames_never_pass() {
    let mut driver = Driver::new(
        5,
        LogOptions {
            directory_bytes_max: 8 * (128 << 10),
            ..options()
        },
    );
    let replica = create(&mut driver, 0);
    // A record that holds the bytes of a real frame: a resync scan must not adopt it.
    append(&mut driver, replica, 1, 600).unwrap();
    driver.settle();
    let (file, position) = find(&driver.disk, &payload(replica, 0, 600));
    let frame = driver.disk.bytes(file).unwrap()[position as usize - 64..][..664].to_vec();
    let forged = meta(replica, 1, 1, 0, 5);
    driver
        .call(|log, now, out| log.append(now, &forged, &[], &frame, None, out))
        .unwrap();
    driver.settle();
    // Segments are used again and again, at every stage killed: what comes back is what was kept.
    for round in 0..300_i64 {
        append(&mut driver, replica, 1, 3_000).unwrap();
        let end = driver.log.replica(replica).unwrap().log_end;
        driver.settle();
        if round % 10 == 9 {
            let to = Offset(end.0 - 5);
            driver
                .call(|log, now, out| log.set_log_start(now, replica, to, out))
                .unwrap();
            driver.quiesce();
            checkpoint(&mut driver);
        }
        if round % 37 == 36 {
            let (next, report) = {
                let now = driver.now;
                let options = LogOptions {
                    seed: round as u64,
                    ..driver.log.options().clone()
                };
                Driver::open(driver.crash(), options, now, &mut IgnoreAll)
                    .map_err(|(_, error)| error)
                    .unwrap()
            };
            assert_eq!(report.damage, vec![]);
            driver = next;
            let state = driver.log.replica(replica).unwrap();
            assert_eq!(state.log_end, end);
            assert_eq!(
                read_all(&mut driver, replica, state.log_start.0).len() as i64,
                end.0 - state.log_start.0
            );
        }
    }
    assert!(driver.log.statistics().segments <= 8);
}

#[test]
fn case_02_a_misdirected_write_is_damage_and_never_served() {
    let mut driver = Driver::new(6, options());
    let replica = create(&mut driver, 0);
    append(&mut driver, replica, 1, 600).unwrap();
    driver.settle();
    driver.disk.misdirect_next = Some(8_192);
    append(&mut driver, replica, 1, 600).unwrap();
    driver.settle();
    append(&mut driver, replica, 1, 600).unwrap();
    driver.settle();
    append(&mut driver, replica, 1, 600).unwrap();
    driver.settle();
    let (mut driver, report) = restart(driver);
    assert!(!report.undamaged(), "a write that went elsewhere is missed");
    for from in [0, 3] {
        let data = read(&mut driver, replica, from, 100).unwrap();
        assert_eq!(data.slices[0], payload(replica, from, 600));
    }
}

#[test]
fn case_03_truncation_and_identity_hold_across_rewrites_and_restarts() {
    let mut driver = Driver::new(
        7,
        LogOptions {
            rewrite_dead_percent_min: 20,
            ..options()
        },
    );
    let (replica, other) = (create(&mut driver, 0), create(&mut driver, 1));
    for _ in 0..80 {
        append_at(&mut driver, replica, 1, 2_000, 5, 1).unwrap();
        append_at(&mut driver, other, 1, 2_000, 5, 1).unwrap();
        driver.settle();
    }
    driver
        .call(|log, now, out| log.truncate(now, replica, Offset(50), out))
        .unwrap();
    for _ in 0..10 {
        append_at(&mut driver, replica, 1, 1_000, 6, 1).unwrap();
    }
    driver
        .call(|log, now, out| log.set_log_start(now, other, Offset(60), out))
        .unwrap();
    for _ in 0..40 {
        driver.tick(1_000);
        driver.settle();
    }
    assert!(
        driver.log.statistics().bytes_rewritten > 0,
        "something was rewritten"
    );
    for _ in 0..3 {
        let frames = read_all(&mut driver, replica, 0);
        assert_eq!(frames.len(), 60);
        assert_eq!(
            (frames[49].len(), frames[50].len()),
            (2_000, 1_000),
            "old frames do not shadow the new ones"
        );
        assert_eq!(
            driver.log.epochs(replica),
            vec![(LeaderEpoch(5), Offset(0)), (LeaderEpoch(6), Offset(50))]
        );
        assert_eq!(
            driver.log.epoch_end_offset(replica, LeaderEpoch(5)),
            Some((LeaderEpoch(5), Offset(50)))
        );
        assert_eq!(read_all(&mut driver, other, 60).len(), 20);
        driver = restart(driver).0;
        checkpoint(&mut driver);
    }
    driver
        .call(|log, now, out| log.delete_replica(now, replica, out))
        .unwrap();
    let again = create(&mut driver, 0);
    driver.settle();
    let (mut driver, _) = restart(driver);
    assert_ne!(
        again, replica,
        "a partition that returns is another replica"
    );
    assert_eq!(driver.log.replica(replica), None);
    assert_eq!(read(&mut driver, again, 0, 100), Err(ReadAnswer::Empty));
}

#[test]
fn case_19_a_committed_batch_that_is_damaged_is_told_from_an_uncommitted_end() {
    let mut driver = Driver::new(19, options());
    let metadata = create(&mut driver, 0);
    for _ in 0..6 {
        append(&mut driver, metadata, 2, 700).unwrap();
        driver.settle();
    }
    let now = driver.now;
    let disk = driver.crash();
    let at = |base| find(&disk, &payload(metadata, base, 700));
    // Durable, since a later header says so: the log keeps its end, and the voter learns what it lost.
    let ((file, position), last) = (at(4), at(10));
    let mut damaged = disk.clone();
    damaged.flip(file, position + 300, 2);
    let (mut driver, report) = reopen(damaged, now);
    assert!(!report.undamaged());
    let range = DamagedRange {
        first: Offset(4),
        last: Offset(5),
    };
    let found: Vec<_> = report
        .damage
        .iter()
        .map(|damage| (damage.replica, damage.range))
        .collect();
    assert_eq!(found, vec![(Some(metadata), range)]);
    assert_eq!(driver.log.replica(metadata).unwrap().log_end, Offset(12));
    assert!(matches!(
        read(&mut driver, metadata, 4, 100),
        Err(ReadAnswer::Damaged { .. })
    ));
    // The last write was never proven: cut, and no damage.
    let mut torn = disk.clone();
    torn.flip(last.0, last.1 + 300, 2);
    let (driver, report) = reopen(torn, now);
    assert!(report.undamaged() && report.bytes_cut > 0, "{report:?}");
    assert_eq!(driver.log.replica(metadata).unwrap().log_end, Offset(10));
}

#[test]
fn case_09_cold_reads_cost_few_index_reads_and_caches_keep_their_bounds() {
    let mut driver = Driver::new(8, options());
    let replicas: Vec<_> = (0..200)
        .map(|partition| create(&mut driver, partition))
        .collect();
    for round in 0..1_500_usize {
        append(&mut driver, replicas[(round * 13) % 200], 1, 700).unwrap();
        if round % 20 == 0 {
            driver.settle();
        }
    }
    driver.quiesce();
    checkpoint(&mut driver);
    let (mut driver, _) = restart(driver);
    driver.quiesce();
    let mut from_memory = 0;
    for replica in &replicas {
        let mut reads = 0;
        let answer = driver.call(|log, now, out| {
            log.read(now, *replica, Offset(0), Offset(1), 100, true, 99, out)
        });
        // What shares a block with a frame that was read is there already.
        from_memory += u32::from(answer != ReadAnswer::Pending);
        let waits = answer == ReadAnswer::Pending;
        if let ReadAnswer::Ready(data) = answer {
            assert_eq!(data.slices[0], payload(*replica, 0, 700));
        }
        while waits
            && !driver
                .outputs
                .iter()
                .any(|output| matches!(output, Output::ReadDone { .. }))
        {
            reads += driver
                .waiting
                .iter()
                .filter(|io| matches!(io, Io::Read { .. }))
                .count();
            assert!(driver.run_one());
        }
        driver.take_outputs();
        assert!(reads <= 3, "fences, a page and the frame: {reads}");
        let statistics = driver.log.statistics();
        let options = driver.log.options();
        assert!(statistics.index_cache_bytes <= options.index_cache_bytes as u64);
        assert!(statistics.frame_cache_bytes <= options.frame_cache_bytes as u64);
        assert!(statistics.tail_cache_bytes <= options.tail_cache_bytes as u64);
    }
    assert!(from_memory < 190, "{from_memory} of 200 cost no read");
}

#[test]
fn case_11_an_idle_replica_costs_its_slot_only() {
    let mut driver = Driver::new(
        8,
        LogOptions {
            segment_bytes: 1 << 20,
            directory_bytes_max: 64 << 20,
            ..options()
        },
    );
    for partition in 0..50_000 {
        create(&mut driver, partition);
        if partition % 1_000 == 0 {
            driver.settle();
        }
    }
    driver.settle();
    let statistics = driver.log.statistics();
    assert!(
        statistics.slot_bytes <= 50_176 * 129,
        "{}",
        statistics.slot_bytes
    );
    assert!(
        statistics.bytes_written < 50_000 * 50,
        "{} bytes of log",
        statistics.bytes_written
    );
    let (driver, _) = restart(driver);
    assert_eq!(driver.log.statistics().replicas, 50_000);
}
