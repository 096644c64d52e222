//! Checkpoints: encoded in bounded pieces and still of one moment, small when little changed, written on a full disk, done again after a
//! failure, and refused with a reason when a file of theirs is missing, damaged or of a newer program.

mod common;

use common::*;
use odradek_wal::simulation::{Driver, Operation, Random};
use odradek_wal::*;
use std::collections::BTreeMap;

const PIECE_BYTES: usize = 1 << 20;

fn many_options() -> LogOptions {
    LogOptions {
        segment_bytes: 4 << 20,
        directory_bytes_max: 256 << 20,
        checkpoint_interval_bytes: 1 << 30,
        write_bytes_max: 1 << 20,
        pending_bytes_max: 8 << 20,
        ..options()
    }
}

fn many(replicas: i32) -> Driver {
    let mut driver = Driver::new(1, many_options());
    for partition in 0..replicas {
        create(&mut driver, partition);
        if partition % 1_000 == 0 {
            driver.settle();
        }
    }
    driver.settle();
    driver
}

/// The next request, which is not run; it must be a write of a checkpoint no longer than a piece.
fn next_piece(driver: &Driver) -> Option<usize> {
    driver.waiting.iter().find_map(|io| match io {
        Io::Write {
            file: FileName::CheckpointBase(_) | FileName::CheckpointDelta(_),
            buffer,
            ..
        } => Some(buffer.len()),
        _ => None,
    })
}

fn begin(driver: &mut Driver) {
    driver.call(|log, now, out| log.begin_checkpoint(now, Vec::new(), out));
}

#[test]
fn a_checkpoint_is_of_one_moment_though_the_log_goes_on_between_its_pieces() {
    for seed in 0..3 {
        let mut driver = many(40_000);
        let mut random = Random::new(seed);
        for _ in 0..500 {
            let replica = ReplicaId(random.below(40_000));
            append(&mut driver, replica, 1, 200).unwrap();
        }
        driver.settle();
        begin(&mut driver);
        let mut pieces = 0;
        while !driver.waiting.is_empty() {
            if let Some(bytes) = next_piece(&driver) {
                assert!(bytes <= PIECE_BYTES, "{bytes}");
                pieces += 1;
            }
            // Everything that may happen to a replica happens to some, before and behind where the encoder is.
            for _ in 0..25 {
                let replica = ReplicaId(random.below(40_000));
                let Some(state) = driver.log.replica(replica) else {
                    continue;
                };
                match random.below(8) {
                    0 => _ = driver.call(|log, now, out| log.delete_replica(now, replica, out)),
                    1 => {
                        let to = state.log_start;
                        _ = driver.call(|log, now, out| log.truncate(now, replica, to, out));
                    }
                    2 => {
                        let to = state.log_end;
                        _ = driver.call(|log, now, out| log.set_log_start(now, replica, to, out));
                    }
                    3 => _ = create(&mut driver, 99),
                    _ => _ = append(&mut driver, replica, 2, 100).unwrap(),
                }
            }
            driver.run_one();
        }
        assert!(pieces > 4, "{pieces} pieces");
        let expected: Vec<_> = driver.log.replicas().collect();
        let (mut driver, report) = restart(driver);
        driver.check_accounts().unwrap();
        assert!(
            report.checkpoint > Lsn(0) && report.frames_replayed > 0,
            "{report:?}"
        );
        let found: Vec<_> = driver.log.replicas().collect();
        assert_eq!(found.len(), expected.len());
        for ((replica, found), (_, expected)) in found.iter().zip(&expected) {
            assert_eq!(
                (found.log_start, found.log_end, found.bytes),
                (expected.log_start, expected.log_end, expected.bytes),
                "seed {seed}, replica {replica}"
            );
            let frames = read_all(&mut driver, *replica, found.log_start.0);
            assert!(frames.len() as i64 <= found.log_end.0 - found.log_start.0);
        }
    }
}

#[test]
fn a_delta_holds_what_changed_only() {
    let mut driver = many(20_000);
    checkpoint(&mut driver);
    // More than the base has: the next one is a base.
    checkpoint(&mut driver);
    let before = driver.log.statistics().checkpoint_bytes;
    assert!(before > 2 * 20_000 * 80, "{before}");
    let (mut driver, _) = restart(driver);
    // As a node does at every start, for every partition: it is nothing that a checkpoint holds.
    for replica in 0..20_000 {
        let policy = RetentionPolicy {
            ms: 1_000_000,
            ..RetentionPolicy::KEEP
        };
        driver.log.set_retention(ReplicaId(replica), policy);
        driver.log.set_high_watermark(ReplicaId(replica), Offset(0));
    }
    for replica in 0..10 {
        append(&mut driver, ReplicaId(replica * 77), 1, 100).unwrap();
    }
    checkpoint(&mut driver);
    let delta = driver.log.statistics().checkpoint_bytes;
    assert!(delta < 20_000, "{delta}");
    let (driver, report) = restart(driver);
    assert_eq!((report.replicas, report.frames_replayed), (20_000, 0));
    assert_eq!(
        driver.log.replica(ReplicaId(77)).unwrap().log_end,
        Offset(1)
    );
}

#[test]
fn case_13_a_full_file_system_still_takes_checkpoints() {
    let mut driver = Driver::new(2, options());
    driver.disk.bytes_max = 9 * (128 << 10);
    let replica = create(&mut driver, 0);
    while append(&mut driver, replica, 1, 2_000).is_ok() {
        driver.tick(1);
        driver.settle();
    }
    let used: u64 = {
        let names = driver.disk.file_names();
        names
            .iter()
            .map(|file| driver.disk.bytes(*file).unwrap().len() as u64)
            .sum()
    };
    driver.disk.bytes_max = used;
    let end = driver.log.replica(replica).unwrap().log_end;
    driver
        .call(|log, now, out| log.set_log_start(now, replica, end, out))
        .unwrap();
    driver.settle();
    driver.take_outputs();
    begin(&mut driver);
    driver.settle();
    let done = |output: &Output| matches!(output, Output::CheckpointDone { .. });
    assert!(
        driver.take_outputs().iter().any(done),
        "the reserve gave its room"
    );
    driver.quiesce();
    assert!(!driver.log.statistics().out_of_space);
    append(&mut driver, replica, 1, 2_000).unwrap();
    driver.settle();
    let (mut driver, report) = restart(driver);
    assert_eq!(report.damage, vec![]);
    assert_eq!(read_all(&mut driver, replica, end.0).len(), 1);
}

#[test]
fn a_checkpoint_that_fails_is_taken_anew_and_nothing_of_it_is_lost() {
    // The create, a piece, the header block.
    for failing in 0..3 {
        let mut driver = Driver::new(3, options());
        let (first, second) = (create(&mut driver, 0), create(&mut driver, 1));
        append(&mut driver, first, 3, 500).unwrap();
        driver.settle();
        driver.disk.fail(Operation::Write, failing);
        let pages = vec![(first, b"page".to_vec())];
        driver.call(|log, now, out| log.begin_checkpoint(now, pages, out));
        driver.settle();
        let told = driver.take_outputs();
        assert!(told.iter().any(
            |output| matches!(output, Output::Message(text) if text.contains("another is tried"))
        ));
        append(&mut driver, second, 1, 500).unwrap();
        driver.tick(6_000);
        driver.settle();
        let due = |output: &Output| matches!(output, Output::CheckpointDue);
        assert!(driver.take_outputs().iter().any(due), "asked for again");
        checkpoint(&mut driver);
        struct Pages(usize);
        impl RecoveryVisitor for Pages {
            fn cold(&mut self, _: ReplicaId, page: &[u8]) {
                assert_eq!(page, b"page");
                self.0 += 1;
            }
            fn frame(&mut self, meta: &FrameMeta) {
                panic!("{meta:?} is in the checkpoint");
            }
            fn truncated(&mut self, _: ReplicaId, _: Offset) {}
            fn deleted(&mut self, _: ReplicaId) {}
        }
        let (now, mut pages) = (driver.now, Pages(0));
        let options = LogOptions {
            seed: 5,
            ..options()
        };
        let (driver, report) = Driver::open(driver.crash(), options, now, &mut pages)
            .map_err(|(_, error)| error)
            .unwrap();
        assert_eq!((pages.0, report.replicas), (1, 2));
        assert_eq!(driver.log.replica(first).unwrap().log_end, Offset(3));
        assert_eq!(driver.log.replica(second).unwrap().log_end, Offset(1));
        let files = driver.disk.file_names();
        let checkpoints = files.iter().filter(|file| {
            matches!(
                file,
                FileName::CheckpointBase(_) | FileName::CheckpointDelta(_)
            )
        });
        assert_eq!(checkpoints.count(), 2, "the failed one is gone: {files:?}");
    }
}

#[test]
fn a_root_that_cannot_be_written_twice_puts_the_directory_offline() {
    let mut driver = Driver::new(4, options());
    let replica = create(&mut driver, 0);
    append(&mut driver, replica, 1, 500).unwrap();
    driver.quiesce();
    begin(&mut driver);
    let root = |io: &Io| {
        matches!(
            io,
            Io::Write {
                file: FileName::Root,
                ..
            }
        )
    };
    for _ in 0..2 {
        while !driver.waiting.front().is_some_and(root) {
            assert!(driver.run_one(), "the root is written last");
        }
        assert_eq!(driver.log.offline(), None);
        driver.disk.fail(Operation::Write, 0);
        driver.run_one();
    }
    assert!(matches!(
        driver.log.offline(),
        Some(OfflineReason::CheckpointFailed(_))
    ));
    let (mut driver, _) = restart(driver);
    assert_eq!(read_all(&mut driver, replica, 0).len(), 1);
}

fn refusal(disk: odradek_wal::simulation::SimulatedDisk, now: Now) -> RecoveryError {
    let before = disk.operations;
    let (disk, error) = Driver::open(disk, options(), now, &mut IgnoreAll)
        .map(|_| ())
        .expect_err("the log is not opened");
    assert_eq!(disk.operations, before, "nothing was written");
    error
}

#[test]
fn a_missing_or_damaged_checkpoint_file_is_named_and_nothing_is_touched() {
    let mut driver = Driver::new(5, options());
    let replica = create(&mut driver, 0);
    append(&mut driver, replica, 1, 500).unwrap();
    checkpoint(&mut driver);
    let now = driver.now;
    let disk = driver.crash();
    let delta = FileName::CheckpointDelta(1);
    for file in [
        FileName::CheckpointBase(0),
        delta,
        FileName::Root,
        FileName::Superblock,
    ] {
        let mut lost = disk.clone();
        lost.lose(file);
        let error = refusal(lost, now);
        match file {
            FileName::Superblock => assert_eq!(error, RecoveryError::NotFormatted),
            _ => assert_eq!(error, RecoveryError::BadCheckpoint(file)),
        }
    }
    for position in [0, 20, 4_096, 4_120] {
        let mut flipped = disk.clone();
        flipped.flip(delta, position, 1);
        assert_eq!(
            refusal(flipped, now),
            RecoveryError::BadCheckpoint(delta),
            "byte {position}"
        );
    }
    // One slot of the root may be torn: the other one holds.
    let mut flipped = disk.clone();
    flipped.flip(FileName::Root, 4_096, 0);
    let (driver, report) = reopen(flipped, now);
    assert_eq!(driver.log.replica(replica).unwrap().log_end, Offset(1));
    assert_eq!(report.frames_replayed, 1, "from the checkpoint before");
}

/// What recovery shows.
#[derive(Default)]
struct Shown(BTreeMap<ReplicaId, Vec<u8>>);

impl RecoveryVisitor for Shown {
    fn cold(&mut self, replica: ReplicaId, page: &[u8]) {
        let before = self.0.insert(replica, page.to_vec());
        assert!(before.is_none(), "the page of {replica} came twice");
    }
    fn frame(&mut self, _: &FrameMeta) {}
    fn truncated(&mut self, _: ReplicaId, _: Offset) {}
    fn deleted(&mut self, replica: ReplicaId) {
        self.0.remove(&replica);
    }
}

#[test]
fn case_09_pages_of_the_shard_lie_on_the_disk_once_a_base_has_them() {
    const BYTES_MAX: u64 = 32 << 10;
    let options = || LogOptions {
        cold_bytes_max: BYTES_MAX,
        ..options()
    };
    let mut driver = Driver::new(21, options());
    for partition in 0..2_000 {
        create(&mut driver, partition);
    }
    driver.settle();
    let mut random = Random::new(21);
    let mut expected: BTreeMap<ReplicaId, Vec<u8>> = BTreeMap::new();
    for round in 0..60 {
        let mut pages = Vec::new();
        for _ in 0..100 {
            let replica = ReplicaId(random.below(2_000));
            if driver.log.replica(replica).is_some() {
                let bytes = 1 + random.below(if round % 20 == 7 { 3_000 } else { 300 });
                pages.push((replica, vec![round as u8; bytes as usize]));
            }
        }
        let given: usize = pages.iter().map(|(_, page)| page.len() + 16).sum();
        expected.extend(pages.iter().cloned());
        driver.call(|log, now, out| log.begin_checkpoint(now, pages, out));
        driver.settle();
        driver.quiesce();
        let held = driver.log.statistics().cold_memory_bytes;
        assert!(held <= BYTES_MAX + given as u64, "{held} bytes in memory");
        if round % 5 == 0 {
            let replica = ReplicaId(random.below(2_000));
            if driver.log.replica(replica).is_some() {
                driver
                    .call(|log, now, out| log.delete_replica(now, replica, out))
                    .unwrap();
                expected.remove(&replica);
            }
            driver.settle();
        }
        if round % 9 == 8 {
            let now = driver.now;
            let mut shown = Shown::default();
            let opened = Driver::open(driver.crash(), options(), now, &mut shown);
            driver = opened.map_err(|(_, error)| error).unwrap().0;
            assert!(shown.0 == expected, "round {round}");
        }
    }
    assert!(expected.len() > 1_500);
}
