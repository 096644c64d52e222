//! Older extents lie on the disk: memory stays bounded whatever the number of replicas and segments, and whatever is read takes at most two
//! index reads, before and after a start.

mod common;

use common::*;
use odradek_wal::simulation::{Driver, Random};
use odradek_wal::*;

const REPLICAS: u64 = 300;

fn index_options() -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 10,
        directory_bytes_max: 1_024 * (64 << 10),
        upper_extent_bytes_max: 128 << 10,
        extent_cache_bytes: 400 << 10,
        index_cache_bytes: 400 << 10,
        tail_cache_bytes: 64 << 10,
        frame_cache_bytes: 1 << 20,
        read_ahead_bytes_min: 4 << 10,
        read_ahead_bytes_max: 4 << 10,
        // Segments stay unclustered, far more of them than 64.
        unclustered_segments_min: 100_000,
        rewrite_dead_percent_min: 100,
        ..options()
    }
}

/// What memory may hold for so many segments and extents.
fn bound(options: &LogOptions, statistics: &LogStatistics) -> u64 {
    let caches = (options.extent_cache_bytes + options.index_cache_bytes) as u64;
    // 16 bytes for a page of 4096: at least 70 extents or frames lie on one.
    let fences = 16 * (2 * statistics.extents / 70 + statistics.segments);
    options.upper_extent_bytes_max + caches + fences
}

fn heed_calls_for_checkpoints(driver: &mut Driver) {
    while driver
        .take_outputs()
        .iter()
        .any(|output| matches!(output, Output::CheckpointDue))
    {
        driver.call(|log, now, out| log.begin_checkpoint(now, Vec::new(), out));
        driver.settle();
    }
}

/// A frame of every replica in nearly every segment.
fn fill(driver: &mut Driver, rounds: u64) -> u64 {
    let mut most = 0;
    for _ in 0..rounds {
        for replica in 0..REPLICAS {
            append(driver, ReplicaId(replica), 1, 100).unwrap();
            if replica % 60 == 59 {
                driver.settle();
            }
        }
        driver.tick(1);
        driver.settle();
        let statistics = driver.log.statistics();
        let held = driver.log.index_memory_bytes();
        assert_eq!(held, statistics.index_memory_bytes);
        let bound = bound(driver.log.options(), &statistics);
        assert!(
            held <= bound,
            "{held} bytes, {bound} may be: {statistics:?}"
        );
        most = most.max(held);
        heed_calls_for_checkpoints(driver);
    }
    most
}

fn index_reads(driver: &Driver) -> u64 {
    let statistics = driver.log.statistics();
    statistics.extent_page_reads + statistics.index_page_reads
}

/// Frames anywhere, cold and warm.
fn read_here_and_there(driver: &mut Driver, random: &mut Random, reads: u64) -> u64 {
    let mut cold = 0;
    let mut last = std::collections::BTreeMap::new();
    for _ in 0..reads {
        let replica = ReplicaId(random.below(REPLICAS));
        let state = driver.log.replica(replica).unwrap();
        let span = (state.log_end.0 - state.log_start.0) as u64;
        let offset = state.log_start.0 + random.below(span) as i64;
        // A reader that goes on where it left off is read ahead of: that takes its own pages.
        let goes_on = last.insert(replica, offset) == Some(offset - 1);
        for again in [false, true] {
            let before = index_reads(driver);
            let data = read(driver, replica, offset, 1).unwrap();
            assert_eq!(data.first_offset, Offset(offset));
            assert_eq!(data.slices[0][..], payload(replica, offset, 100)[..]);
            let taken = index_reads(driver) - before;
            let most = if goes_on { 4 } else { 2 };
            assert!(
                taken <= most,
                "{taken} index reads for {replica} at {offset}"
            );
            assert!(
                !again || taken == 0,
                "a warm read took {taken}: {:?}",
                driver.log.statistics()
            );
            cold += u64::from(taken > 0);
        }
        let held = driver.log.index_memory_bytes();
        assert!(held <= bound(driver.log.options(), &driver.log.statistics()));
    }
    cold
}

#[test]
fn case_09_memory_is_bounded_and_a_cold_fetch_takes_two_index_reads() {
    let mut driver = Driver::new(5, index_options());
    for partition in 0..REPLICAS as i32 {
        create(&mut driver, partition);
    }
    driver.settle();
    let most = fill(&mut driver, 300);
    let statistics = driver.log.statistics();
    assert!(statistics.extents > 60_000, "{}", statistics.extents);
    assert!(statistics.segments > 300, "{}", statistics.segments);
    println!(
        "{} extents in {} segments: at most {most} bytes of index in memory",
        statistics.extents, statistics.segments
    );
    driver.check_accounts().unwrap();
    let mut random = Random::new(9);
    let cold = read_here_and_there(&mut driver, &mut random, 400);
    assert!(cold > 100, "only {cold} reads were cold");
    // The same after a kill, and after a clean stop.
    let (mut driver, _) = restart(driver);
    driver.check_accounts().unwrap();
    let held = driver.log.index_memory_bytes();
    assert!(held <= bound(driver.log.options(), &driver.log.statistics()));
    let cold = read_here_and_there(&mut driver, &mut random, 400);
    assert!(cold > 100, "only {cold} reads were cold");
    driver.quiesce();
    heed_calls_for_checkpoints(&mut driver);
    driver.call(|log, now, out| log.shut_down(now, out));
    driver.quiesce();
    let (mut driver, report) = restart(driver);
    assert!(report.clean && report.bytes_read == 0, "{report:?}");
    read_here_and_there(&mut driver, &mut random, 200);
    fill(&mut driver, 20);
    // All of one replica, through every page that has something of it.
    let state = driver.log.replica(ReplicaId(7)).unwrap();
    assert_eq!(
        read_all(&mut driver, ReplicaId(7), 0).len() as i64,
        state.log_end.0
    );
}

#[test]
fn case_09_what_lies_in_the_base_is_cut_deleted_and_counted() {
    let mut driver = Driver::new(6, index_options());
    for partition in 0..REPLICAS as i32 {
        create(&mut driver, partition);
    }
    driver.settle();
    fill(&mut driver, 60);
    let used = |driver: &Driver| {
        let statistics = driver.log.statistics();
        statistics.segments - statistics.segments_free
    };
    let before = driver.log.replica(ReplicaId(1)).unwrap();
    driver.call(|log, now, out| {
        log.set_log_start(now, ReplicaId(1), Offset(40), out)
            .unwrap();
        log.truncate(now, ReplicaId(2), Offset(20), out).unwrap();
        log.delete_replica(now, ReplicaId(3), out).unwrap();
    });
    driver.settle();
    driver.check_accounts().unwrap();
    let after = driver.log.replica(ReplicaId(1)).unwrap();
    assert!(after.bytes <= before.bytes / 2, "{} left", after.bytes);
    append(&mut driver, ReplicaId(2), 1, 100).unwrap();
    let check = |driver: &mut Driver| {
        assert_eq!(read_all(driver, ReplicaId(1), 40).len(), 20);
        assert_eq!(read_all(driver, ReplicaId(2), 0).len(), 21);
        driver.check_accounts().unwrap();
    };
    check(&mut driver);
    let (mut driver, _) = restart(driver);
    check(&mut driver);
    for replica in (0..REPLICAS).filter(|replica| ![1, 2, 3].contains(replica)) {
        driver
            .call(|log, now, out| log.delete_replica(now, ReplicaId(replica), out))
            .unwrap();
    }
    driver.settle();
    check(&mut driver);
    let held = used(&driver);
    for _ in 0..6 {
        driver.quiesce();
        driver.call(|log, now, out| log.begin_checkpoint(now, Vec::new(), out));
    }
    driver.quiesce();
    check(&mut driver);
    // What is left of two replicas lies in nearly all of them, and is not moved here: it is deleted too.
    for replica in [1, 2] {
        driver
            .call(|log, now, out| log.delete_replica(now, ReplicaId(replica), out))
            .unwrap();
    }
    for _ in 0..6 {
        driver.quiesce();
        driver.call(|log, now, out| log.begin_checkpoint(now, Vec::new(), out));
    }
    driver.quiesce();
    assert!(used(&driver) <= 2, "{} of {held} are held", used(&driver));
    assert_eq!(driver.log.statistics().extents, 0);
}

#[test]
fn case_21_a_lost_index_page_is_told_and_costs_nothing_else() {
    let mut driver = Driver::new(8, index_options());
    for partition in 0..REPLICAS as i32 {
        create(&mut driver, partition);
    }
    driver.settle();
    fill(&mut driver, 40);
    let pages = driver.log.statistics().extent_pages;
    assert!(pages >= 4, "{pages}");
    let names = driver.disk.file_names();
    let index = names
        .iter()
        .find(|name| matches!(name, FileName::Index(_)))
        .copied()
        .unwrap();
    driver.disk.flip(index, 4_096 + 700, 3);
    // A start does not look at it.
    let (mut driver, report) = restart(driver);
    assert!(report.undamaged());
    let damaged = |driver: &mut Driver| -> Vec<u64> {
        let replicas = 0..REPLICAS;
        let lost = replicas.filter(|replica| match read(driver, ReplicaId(*replica), 0, 1) {
            Ok(data) => {
                assert_eq!(data.first_offset, Offset(0));
                false
            }
            Err(ReadAnswer::Damaged { first, .. }) => {
                assert_eq!(first, Offset(0));
                true
            }
            Err(answer) => panic!("{answer:?} for {replica}"),
        });
        lost.collect()
    };
    let lost = damaged(&mut driver);
    assert!((2..100).contains(&lost.len()), "{lost:?}");
    let told = driver.take_outputs();
    let told = told
        .iter()
        .filter(|output| matches!(output, Output::Damaged { file, .. } if *file == index));
    assert!(told.count() >= lost.len());
    // Bases go on being written, and what was lost stays told, over a start too.
    checkpoint(&mut driver);
    fill(&mut driver, 20);
    let names = driver.disk.file_names();
    assert!(!names.contains(&index), "another base is there");
    let again = damaged(&mut driver);
    assert!(lost.iter().all(|replica| again.contains(replica)));
    assert!(again.len() <= lost.len() + 1, "{lost:?} {again:?}");
    let (mut driver, _) = restart(driver);
    assert_eq!(damaged(&mut driver), again);
    driver.check_accounts().unwrap();
    // The page began within the one before them, and may have ended within the one behind.
    let (first, last) = (again[0] - 1, again[again.len() - 1] + 1);
    for replica in (0..REPLICAS).filter(|replica| !(first..=last).contains(replica)) {
        assert_eq!(read_all(&mut driver, ReplicaId(replica), 0).len(), 60);
    }
}
