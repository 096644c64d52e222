//! Rewriting by name: what is clustered and what never moves, expiry classes, its share of the disk, its debt, and plans.

mod common;

use common::planning;
use common::*;
use odradek_wal::simulation::Driver;
use odradek_wal::*;

const HOUR_MS: i64 = 3_600_000;
/// A batch that fills its block: padding would count as dead.
const BATCH_BYTES: usize = 3_800;

fn clustering() -> LogOptions {
    LogOptions {
        clustered_extents_max: 4,
        unclustered_segments_min: 6,
        rewrite_bytes_per_second_min: 0,
        retention_check_interval_ms: 1_000,
        ..options()
    }
}

fn keep_for(driver: &mut Driver, replica: ReplicaId, hours: i64) {
    let ms = if hours < 0 { -1 } else { hours * HOUR_MS };
    let policy = RetentionPolicy {
        ms,
        ..RetentionPolicy::KEEP
    };
    driver.log.set_retention(replica, policy);
}

/// Replicas with these retentions in hours.
fn replicas(driver: &mut Driver, hours: &[i64]) -> Vec<ReplicaId> {
    let create_one = |(partition, hours): (usize, &i64)| {
        let replica = create(driver, partition as i32);
        keep_for(driver, replica, *hours);
        replica
    };
    hours.iter().enumerate().map(create_one).collect()
}

/// So many bytes in batches of nearly 4 KiB, one to each replica in turn, as the load of many producers would be: no quiet time between.
fn load(driver: &mut Driver, replicas: &[ReplicaId], bytes: usize) {
    for at in 0..bytes / 4_096 {
        let timestamp = driver.now.wall_ms;
        let replica = replicas[at % replicas.len()];
        append_at(driver, replica, 1, BATCH_BYTES, 0, timestamp).unwrap();
        driver.settle_commits(4);
        driver.tick(10);
    }
    driver.settle();
    for &replica in replicas {
        let end = driver.log.replica(replica).unwrap().log_end;
        driver.log.set_high_watermark(replica, end);
    }
}

/// Time passes without load; checkpoints are made when they are called for.
fn rest(driver: &mut Driver, seconds: u64) {
    for _ in 0..seconds {
        driver.tick(1_000);
        driver.settle();
        let outputs = driver.take_outputs();
        if outputs
            .iter()
            .any(|output| matches!(output, Output::CheckpointDue))
        {
            checkpoint(driver);
        }
        driver.check_accounts().unwrap();
    }
}

/// Reads every replica from its start to its end, and finds what `load` wrote.
fn assert_all_is_there(driver: &mut Driver, replicas: &[ReplicaId]) {
    for &replica in replicas {
        let frames = read_all(driver, replica, 0);
        let wanted: Vec<_> = (0..frames.len() as i64)
            .map(|base| payload(replica, base, BATCH_BYTES))
            .collect();
        let end = driver.log.replica(replica).unwrap().log_end.0;
        assert_eq!(frames.len() as i64, end);
        assert!(frames == wanted, "content of {replica}");
    }
}

fn used(driver: &Driver) -> u64 {
    let statistics = driver.log.statistics();
    statistics.segments - statistics.segments_free
}

#[test]
fn case_09_clustering_gathers_the_extents_of_a_partition() {
    let mut driver = Driver::new(3, clustering());
    let hours: Vec<i64> = (0..24).map(|at| [2, 40, 720, -1][at % 4]).collect();
    let replicas = replicas(&mut driver, &hours);
    load(&mut driver, &replicas, 2 << 20);
    rest(&mut driver, 20);
    checkpoint(&mut driver);
    let after = driver.log.statistics();
    assert!(after.segments_clustered >= 6);
    // As they came, each of the 16 segments and more had an extent of each partition.
    assert!(
        after.extents * 2 < 16 * 24,
        "{} extents are left",
        after.extents
    );
    assert!(after.segments_unclustered < 6, "as many as may lie about");
    for _ in 0..2 {
        assert_all_is_there(&mut driver, &replicas);
        driver = restart(driver).0;
    }
}

#[test]
fn case_13_classes_part_at_the_first_move_so_that_segments_die_whole() {
    let mut driver = Driver::new(4, clustering());
    let hours: Vec<i64> = (0..16).map(|at| [5, 720][at % 2]).collect();
    let replicas = replicas(&mut driver, &hours);
    load(&mut driver, &replicas, 2 << 20);
    rest(&mut driver, 20);
    checkpoint(&mut driver);
    let clustered = driver.log.statistics();
    assert!(clustered.segments_clustered >= 6);
    let held = used(&driver);
    // The hours' class expires: half of the bytes, and about half of the segments, without another move.
    for _ in 0..6 {
        driver.now.monotonic_us += HOUR_MS as u64 * 1_000;
        driver.now.wall_ms += HOUR_MS;
        rest(&mut driver, 3);
    }
    checkpoint(&mut driver);
    driver.quiesce();
    let dead = driver.log.statistics();
    assert!(driver.log.replica(replicas[0]).unwrap().log_start.0 > 0);
    assert_eq!(driver.log.replica(replicas[1]).unwrap().log_start.0, 0);
    // What lay in the few unclustered ones may be cleaned; the clustered ones died whole.
    assert!(
        dead.bytes_rewritten - clustered.bytes_rewritten < clustered.bytes_rewritten / 4,
        "{} bytes moved again, {} before",
        dead.bytes_rewritten - clustered.bytes_rewritten,
        clustered.bytes_rewritten
    );
    assert!(
        used(&driver) <= held * 6 / 10 + 2,
        "{} of {held} segments are still held",
        used(&driver)
    );
    for replica in &replicas[1..2] {
        let frames = read_all(&mut driver, *replica, 0);
        assert_eq!(frames.len(), 32);
    }
}

#[test]
fn case_13_segments_of_few_partitions_or_that_die_within_hours_never_move() {
    for (count, hours) in [(24, vec![2]), (3, vec![2, 720, -1])] {
        let mut driver = Driver::new(5, clustering());
        let hours: Vec<i64> = (0..count).map(|at| hours[at % hours.len()]).collect();
        let replicas = replicas(&mut driver, &hours);
        load(&mut driver, &replicas, 2 << 20);
        rest(&mut driver, 20);
        let statistics = driver.log.statistics();
        assert_eq!(
            (statistics.bytes_rewritten, statistics.segments_unclustered),
            (0, 0)
        );
    }
}

#[test]
fn case_13_segments_of_one_class_are_clustered_in_quiet_time_only() {
    let mut driver = Driver::new(5, clustering());
    let replicas = replicas(&mut driver, &[720; 24]);
    load(&mut driver, &replicas, 2 << 20);
    let loaded = driver.log.statistics();
    assert_eq!(
        (loaded.bytes_rewritten, loaded.rewrite_debt_bytes),
        (0, 0),
        "they die whole as they are: nothing is owed"
    );
    // It begins, and makes way for a load that comes back.
    driver.tick(1_000);
    let mut begun = 0;
    for _ in 0..200 {
        driver.settle_commits(1);
        begun = driver.log.statistics().bytes_rewritten;
        if begun > 0 {
            break;
        }
        driver.tick(1);
    }
    load(&mut driver, &replicas, 256 << 10);
    let under_load = driver.log.statistics().bytes_rewritten - begun;
    // A window that was being written is brought to its end.
    assert!(under_load <= 128 << 10, "{under_load} bytes beside a load");
    rest(&mut driver, 20);
    checkpoint(&mut driver);
    let after = driver.log.statistics();
    assert!(after.segments_clustered >= 6);
    assert!(
        after.extents * 2 < 18 * 24,
        "{} extents are left",
        after.extents
    );
    assert_all_is_there(&mut driver, &replicas);
    // And then there is rest: nothing is moved in circles.
    let moved = driver.log.statistics().bytes_rewritten;
    rest(&mut driver, 60);
    assert_eq!(driver.log.statistics().bytes_rewritten, moved);
}

#[test]
fn case_13_rewriting_writes_its_share_under_load_and_the_rest_in_quiet_time() {
    let mut driver = Driver::new(6, clustering());
    let hours: Vec<i64> = (0..24).map(|at| [2, 720][at % 2]).collect();
    let replicas = replicas(&mut driver, &hours);
    let mut most = 0;
    for _ in 0..16 {
        load(&mut driver, &replicas, 256 << 10);
        let statistics = driver.log.statistics();
        // What is begun when the budget runs out is brought to its end: a window, and a buffer for each class.
        let allowed = statistics.bytes_written * 30 / 100 + 5 * (128 << 10);
        assert!(
            statistics.bytes_rewritten <= allowed,
            "{} bytes rewritten beside {}",
            statistics.bytes_rewritten,
            statistics.bytes_written
        );
        most = most.max(statistics.bytes_rewritten);
        if statistics.segments > 60 {
            break;
        }
    }
    assert!(most > 0, "it does not stand still under load either");
    let owed = driver.log.statistics();
    assert!(owed.rewrite_debt_bytes > 0, "and shows what it owes");
    rest(&mut driver, 30);
    let done = driver.log.statistics();
    assert!(done.bytes_rewritten > most);
    assert_eq!(done.rewrite_debt_bytes, 0, "quiet time pays the debt");
}

#[test]
fn case_13_what_is_about_to_die_by_itself_is_not_moved() {
    for all_of_it_dies in [true, false] {
        let mut driver = Driver::new(8, options());
        let all = replicas(&mut driver, &[-1; 4]);
        load(&mut driver, &all, 1 << 20);
        let held = used(&driver);
        let delete = |driver: &mut Driver, replicas: &[ReplicaId]| {
            for &replica in replicas {
                let end = driver.log.replica(replica).unwrap().log_end;
                let set = driver.call(|log, now, out| log.set_log_start(now, replica, end, out));
                set.unwrap();
            }
        };
        delete(&mut driver, &all[..3]);
        rest(&mut driver, 2);
        if all_of_it_dies {
            delete(&mut driver, &all[3..]);
        }
        rest(&mut driver, 10);
        checkpoint(&mut driver);
        driver.quiesce();
        let moved = driver.log.statistics().bytes_rewritten;
        assert_eq!(moved > 0, !all_of_it_dies, "{moved} bytes were moved");
        assert!(used(&driver) * 2 < held, "and space came back either way");
    }
}

#[test]
fn case_13_producers_are_throttled_when_the_debt_passes_its_bound() {
    let options = LogOptions {
        rewrite_ingest_percent: 0,
        rewrite_debt_ms_max: 60_000,
        rewrite_bytes_per_second_min: 0,
        ..clustering()
    };
    let mut driver = Driver::new(7, options);
    let hours: Vec<i64> = (0..24).map(|at| [2, 720][at % 2]).collect();
    let replicas = replicas(&mut driver, &hours);
    assert_eq!(driver.log.produce_throttle_ms(), 0);
    for _ in 0..6 {
        load(&mut driver, &replicas, 512 << 10);
    }
    let statistics = driver.log.statistics();
    assert!(statistics.rewrite_debt_ms > 60_000);
    assert_eq!(statistics.produce_throttle_ms, 1_000, "and not for longer");
    rest(&mut driver, 30);
    assert_eq!(driver.log.produce_throttle_ms(), 0);
}

#[test]
fn case_13_segments_that_were_never_filled_are_joined() {
    let mut driver = Driver::new(10, options());
    let all = replicas(&mut driver, &[-1, -1]);
    // Every unclean stop leaves a segment mostly empty.
    for _ in 0..12 {
        load(&mut driver, &all, 16 << 10);
        driver = restart(driver).0;
    }
    let before = used(&driver);
    assert!(before >= 12);
    rest(&mut driver, 30);
    checkpoint(&mut driver);
    driver.quiesce();
    let after = used(&driver);
    assert!(after <= 5, "{after} of {before} segments are still held");
    for replica in all {
        assert_eq!(read_all(&mut driver, replica, 0).len(), 24);
    }
    // And then there is rest: nothing is moved in circles.
    let moved = driver.log.statistics().bytes_rewritten;
    rest(&mut driver, 200);
    assert!(driver.log.statistics().bytes_rewritten - moved <= moved / 4);
}

#[test]
fn case_09_extents_beyond_the_first_take_little_memory() {
    let mut driver = Driver::new(11, options());
    let all: Vec<ReplicaId> = (0..200)
        .map(|partition| create(&mut driver, partition))
        .collect();
    driver.settle();
    let empty = driver.log.statistics().slot_bytes;
    for _ in 0..24 {
        for &replica in &all {
            append(&mut driver, replica, 1, 600).unwrap();
            if replica.0 % 32 == 0 {
                driver.settle();
            }
        }
        driver.settle();
    }
    let statistics = driver.log.statistics();
    assert!(statistics.extents > 200 * 15, "{}", statistics.extents);
    let each = (statistics.slot_bytes - empty) / statistics.extents;
    assert!(each <= 16, "an extent takes {each} bytes, lists included");
}

/// Runs a plan through; what was handed out, and the outcome.
fn carry_out(driver: &mut Driver, plan: PlanId) -> (Vec<Vec<PlanFrame>>, PlanOutcome) {
    let mut steps = Vec::new();
    for _ in 0..100 {
        driver.tick(1);
        driver.settle();
        for output in driver.take_outputs() {
            match output {
                Output::PlanFrames {
                    plan: named,
                    frames,
                } => {
                    assert_eq!(named, plan);
                    let verdicts = planning::verdicts(&frames);
                    let one_less = verdicts[1..].to_vec();
                    let refused = driver
                        .call(|log, now, out| log.answer_rewrite_plan(now, plan, one_less, out));
                    let expected = frames.len();
                    assert_eq!(refused, Err(PlanRefusal::WrongCount { expected }));
                    driver
                        .call(|log, now, out| log.answer_rewrite_plan(now, plan, verdicts, out))
                        .unwrap();
                    steps.push(frames);
                }
                Output::PlanDone {
                    plan: named,
                    outcome,
                } => {
                    assert_eq!(named, plan);
                    return (steps, outcome);
                }
                _ => {}
            }
        }
    }
    panic!("the plan does not end");
}

#[test]
fn a_plan_keeps_drops_and_replaces_frames() {
    let options = LogOptions {
        segment_bytes: 1 << 20,
        directory_bytes_max: 64 << 20,
        ..options()
    };
    let mut driver = Driver::new(8, options);
    let all = replicas(&mut driver, &[-1, -1, -1]);
    load(&mut driver, &all, 3 << 20);
    let untouched = all[2];
    let ends: Vec<Offset> = all
        .iter()
        .map(|replica| driver.log.replica(*replica).unwrap().log_end)
        .collect();
    rest(&mut driver, 2);
    let plan = RewritePlan {
        replicas: vec![(all[1], ends[1]), (all[0], ends[0])],
    };
    let plan = driver
        .call(|log, now, out| log.begin_rewrite_plan(now, plan, out))
        .unwrap();
    let (steps, outcome) = carry_out(&mut driver, plan);
    driver.settle();
    assert!(outcome.whole && steps.len() > 4);
    for step in &steps {
        let bytes: usize = step.iter().map(|frame| frame.payload.len()).sum();
        assert!(bytes <= 256 << 10, "a step of {bytes} bytes");
    }
    let given: Vec<&PlanFrame> = steps.iter().flatten().collect();
    let counts = outcome.frames_kept + outcome.frames_dropped + outcome.frames_replaced;
    assert_eq!(counts, given.len() as u64);
    assert!(outcome.frames_dropped > 50 && outcome.frames_replaced > 100);
    assert!(outcome.bytes_after < outcome.bytes_before);
    for _ in 0..2 {
        driver.check_accounts().unwrap();
        for (replica, end) in all.iter().zip(&ends) {
            let frames = read_all(&mut driver, *replica, 0);
            let decision = |base: i64| {
                let handed_out = given.iter().any(|frame| {
                    frame.meta.replica == *replica && frame.meta.base_offset.0 == base
                });
                handed_out.then_some(planning::Decision::CarriedOut)
            };
            let expected = (0..end.0).map(|base| (base, BATCH_BYTES, decision(base)));
            assert!(
                planning::matches(*replica, expected, &frames),
                "content of {replica}"
            );
            let state = driver.log.replica(*replica).unwrap();
            assert_eq!((state.log_start, state.log_end), (Offset(0), *end));
        }
        assert_eq!(
            read_all(&mut driver, untouched, 0).len() as i64,
            ends[2].0,
            "a replica that the plan does not name is left alone"
        );
        driver = restart(driver).0;
    }
}

#[test]
fn a_plan_that_drops_everything_leaves_the_offsets() {
    let mut driver = Driver::new(9, options());
    let all = replicas(&mut driver, &[-1, -1]);
    load(&mut driver, &all, 512 << 10);
    rest(&mut driver, 2);
    let replica = all[0];
    let end = driver.log.replica(replica).unwrap().log_end;
    let plan = RewritePlan {
        replicas: vec![(replica, end)],
    };
    let plan = driver
        .call(|log, now, out| log.begin_rewrite_plan(now, plan, out))
        .unwrap();
    let mut dropped = 0;
    loop {
        driver.tick(1);
        driver.settle();
        let mut outcome = None;
        for output in driver.take_outputs() {
            match output {
                Output::PlanFrames { frames, .. } => {
                    dropped += frames.len();
                    let verdicts = vec![FrameVerdict::Drop; frames.len()];
                    driver
                        .call(|log, now, out| log.answer_rewrite_plan(now, plan, verdicts, out))
                        .unwrap();
                }
                Output::PlanDone { outcome: found, .. } => outcome = Some(found),
                _ => {}
            }
        }
        if let Some(outcome) = outcome {
            assert!(outcome.whole);
            assert_eq!(outcome.frames_dropped, dropped as u64);
            break;
        }
    }
    driver.settle();
    for _ in 0..2 {
        driver.check_accounts().unwrap();
        let frames = read_all(&mut driver, replica, 0);
        assert_eq!(frames.len() as i64, end.0 - dropped as i64);
        assert_eq!(driver.log.replica(replica).unwrap().log_end, end);
        let base = append(&mut driver, replica, 1, 100).unwrap().0;
        assert!(base >= end.0);
        driver.settle();
        assert_eq!(read_all(&mut driver, replica, base).len(), 1);
        driver = restart(driver).0;
        let (base, _) = append(&mut driver, replica, 1, 100).unwrap();
        driver
            .call(|log, now, out| log.truncate(now, replica, Offset(end.0), out))
            .unwrap();
        assert!(base > end.0);
        driver.settle();
    }
}
