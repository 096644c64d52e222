//! Stops and starts: what a start reads, what it tells of the stop before it, what kills leave behind, and that the bounded look behind the
//! last write still tells a torn tail from damage. Crashes at every request: `crash.rs`.

mod common;

use common::*;
use odradek_wal::simulation::Driver;
use odradek_wal::*;

const MIB: u64 = 1 << 20;

/// As in production: segments of 32 MiB, writes of up to 1 MiB.
fn large_options() -> LogOptions {
    LogOptions {
        segment_bytes: 32 * MIB,
        directory_bytes_max: 1 << 30,
        seed: 11,
        format_segments: 2,
        ..LogOptions::default()
    }
}

fn stop(driver: &mut Driver) {
    driver.call(|log, now, out| log.begin_checkpoint(now, Vec::new(), out));
    driver.call(|log, now, out| log.shut_down(now, out));
    driver.settle();
    let closed = |output: &Output| matches!(output, Output::Closed);
    assert_eq!(
        driver
            .outputs
            .iter()
            .filter(|output| closed(output))
            .count(),
        1,
        "closed once, with no time passing"
    );
    assert!(driver.waiting.is_empty());
}

fn segment_files(driver: &Driver) -> usize {
    let names = driver.disk.file_names();
    let segments = names
        .iter()
        .filter(|file| matches!(file, FileName::Segment(_)));
    segments.count()
}

/// Ticks, and takes the checkpoints that are asked for, as a node does.
fn live(driver: &mut Driver) {
    for _ in 0..20 {
        driver.tick(60);
        driver.settle();
        let due = |output: &Output| matches!(output, Output::CheckpointDue);
        if driver.take_outputs().iter().any(due) {
            checkpoint(driver);
        }
    }
}

#[test]
fn a_start_after_a_kill_reads_what_was_written_and_little_more() {
    let mut driver = Driver::new(1, large_options());
    let replica = create(&mut driver, 0);
    for _ in 0..300 {
        append(&mut driver, replica, 1, 20_000).unwrap();
    }
    driver.quiesce();
    let (mut driver, report) = restart(driver);
    assert!(!report.clean);
    assert!(report.bytes_replayed > 6_000_000);
    // Behind the end: as far as a write may reach, 2 MiB, and 2 MiB more, in pieces of 1 MiB; and once more in the segment prepared next.
    let bound = report.bytes_replayed + 2 * 6 * MIB;
    assert!(report.bytes_read < bound, "{} read", report.bytes_read);
    assert_eq!(read_all(&mut driver, replica, 0).len(), 300);
}

#[test]
fn below_the_checkpoint_long_writes_are_not_read_whole() {
    let mut driver = Driver::new(2, large_options());
    let replica = create(&mut driver, 0);
    for _ in 0..20 {
        for _ in 0..9 {
            append(&mut driver, replica, 1, 100_000).unwrap();
        }
        driver.settle();
    }
    checkpoint(&mut driver);
    append(&mut driver, replica, 1, 100).unwrap();
    driver.settle();
    let (mut driver, report) = restart(driver);
    assert!(report.bytes_replayed < 20_000, "{}", report.bytes_replayed);
    assert_eq!(report.frames_replayed, 1);
    assert!(report.bytes_read < 15_000_000, "{}", report.bytes_read);
    assert_eq!(read_all(&mut driver, replica, 0).len(), 181);
    assert_eq!(driver.log.replica(replica).unwrap().log_end, Offset(181));
}

#[test]
fn a_clean_stop_leaves_nothing_to_replay_and_is_told_from_a_kill() {
    let mut driver = Driver::new(3, large_options());
    let replica = create(&mut driver, 0);
    for round in 1..=3 {
        append(&mut driver, replica, 1, 50_000).unwrap();
        stop(&mut driver);
        let (next, report) = restart(driver);
        assert!(report.clean, "{report:?}");
        assert_eq!((report.bytes_read, report.frames_replayed), (0, 0));
        driver = next;
        assert_eq!(read_all(&mut driver, replica, 0).len(), round);
    }
    // Idle, then killed: nothing to replay but what the start wrote, and still not a clean stop.
    live(&mut driver);
    let (driver, report) = restart(driver);
    assert!(!report.clean, "killed while idle");
    assert_eq!(report.frames_replayed, 0);
    let (mut driver, report) = restart(driver);
    assert!(!report.clean, "killed right after the start");
    stop(&mut driver);
    assert!(restart(driver).1.clean);
}

#[test]
fn a_stop_that_cannot_write_its_checkpoint_closes_and_loses_nothing() {
    let mut driver = Driver::new(4, options());
    let replica = create(&mut driver, 0);
    append(&mut driver, replica, 1, 5_000).unwrap();
    driver.settle();
    driver.disk.bytes_max = 0;
    stop(&mut driver);
    driver.disk.bytes_max = u64::MAX;
    let (mut driver, report) = restart(driver);
    assert!(!report.clean);
    assert_eq!(read_all(&mut driver, replica, 0).len(), 1);
}

#[test]
fn an_idle_node_that_is_killed_again_and_again_does_not_grow() {
    // Killed right after each start, or when it has registered and come to rest.
    for rests in [false, true] {
        let mut driver = Driver::new(5, large_options());
        let replica = create(&mut driver, 0);
        append(&mut driver, replica, 1, 5_000).unwrap();
        driver.quiesce();
        let mut most = 0;
        for start in 0..60 {
            let (next, report) = restart(driver);
            driver = next;
            assert_eq!(report.damage, vec![]);
            assert!(
                report.bytes_read < 20 * MIB,
                "start {start} read {}",
                report.bytes_read
            );
            if rests {
                driver
                    .call(|log, now, out| log.set_broker_epoch(now, start, out))
                    .unwrap();
                live(&mut driver);
            }
            if start >= 5 {
                most = most.max(segment_files(&driver));
            }
        }
        assert!(most <= 5, "{most} segments for one frame (rests: {rests})");
        assert_eq!(read_all(&mut driver, replica, 0).len(), 1);
    }
}

#[test]
fn a_look_at_a_log_changes_nothing() {
    let mut driver = Driver::new(6, options());
    let replica = create(&mut driver, 0);
    append(&mut driver, replica, 4, 500).unwrap();
    driver.settle();
    let now = driver.now;
    let mut disk = driver.crash();
    let before = disk.operations;
    for _ in 0..2 {
        let (mut log, report) = Log::inspect(&mut disk, options(), &mut IgnoreAll).unwrap();
        assert_eq!(log.replica(replica).unwrap().log_end, Offset(4));
        assert_eq!(report.frames_replayed, 1);
        let refused = log.delete_replica(now, replica, &mut Vec::new());
        assert_eq!(refused, Err(AppendRefusal::ShuttingDown));
    }
    assert_eq!(disk.operations, before);
    let (mut driver, report) = reopen(disk, now);
    assert_eq!(report.frames_replayed, 1);
    assert_eq!(read_all(&mut driver, replica, 0).len(), 1);
}

/// A write in the middle of a segment whose head is destroyed, of a length as given, with one behind it or none.
fn destroyed(bytes: usize, with_one_behind: bool) -> (ReplicaId, RecoveryReport, Driver) {
    let mut driver = Driver::new(7, large_options());
    let replica = create(&mut driver, 0);
    append(&mut driver, replica, 1, 300).unwrap();
    driver.settle();
    append(&mut driver, replica, 1, bytes).unwrap();
    driver.settle();
    if with_one_behind {
        append(&mut driver, replica, 1, 300).unwrap();
        driver.settle();
    }
    let (file, position) = find(&driver.disk, &payload(replica, 1, bytes)[..200]);
    let now = driver.now;
    let mut disk = driver.crash();
    disk.overwrite(file, position / 4096 * 4096, &[0x5A; 4096]);
    let options = LogOptions {
        seed: 99,
        ..large_options()
    };
    let (driver, report) = Driver::open(disk, options, now, &mut IgnoreAll)
        .map_err(|(_, error)| error)
        .unwrap();
    (replica, report, driver)
}

#[test]
fn case_01_a_damaged_write_of_any_length_is_told_from_a_torn_one() {
    // 7 MiB is more than a start looks ahead unless the write before has announced it.
    for bytes in [900, 400_000, 1_048_588, 1_900_000, 7 << 20] {
        let (replica, report, mut driver) = destroyed(bytes, true);
        assert!(
            !report.undamaged(),
            "{bytes} bytes: durable, and lost silently"
        );
        assert!(matches!(
            read(&mut driver, replica, 1, 100),
            Err(ReadAnswer::Damaged { .. })
        ));
        assert_eq!(driver.log.replica(replica).unwrap().log_end, Offset(3));
        assert_eq!(read_all(&mut driver, replica, 2).len(), 1);

        let (replica, report, mut driver) = destroyed(bytes, false);
        assert_eq!(report.damage, vec![], "{bytes} bytes: never proven");
        assert_eq!(driver.log.replica(replica).unwrap().log_end, Offset(1));
        assert_eq!(append(&mut driver, replica, 1, 10).unwrap().0, 1);
    }
}

#[test]
fn long_writes_are_announced_and_survive() {
    let mut driver = Driver::new(8, large_options());
    let (long, short) = (create(&mut driver, 0), create(&mut driver, 1));
    for round in 0..12 {
        append(&mut driver, short, 1, 900).unwrap();
        append(&mut driver, long, 1, (2 + round % 3) << 20).unwrap();
        if round % 2 == 0 {
            driver.settle();
        }
        append(&mut driver, short, 1, 900).unwrap();
        driver.settle();
    }
    let (mut driver, report) = restart(driver);
    assert_eq!(report.damage, vec![]);
    assert_eq!(read_all(&mut driver, short, 0).len(), 24);
    let mut next = 0;
    while next < 12 {
        let data = read(&mut driver, long, next, 10).unwrap();
        assert_eq!(data.slices[0].len(), (2 + next as usize % 3) << 20);
        next = data.next_offset.0;
    }
}
