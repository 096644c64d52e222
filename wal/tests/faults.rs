//! Faults of the disk while the log runs: failing writes, reads and syncs, slow and stuck I/O, no space, files that vanish, drawn by a seed.
//! After each the log goes on or is offline with a reason; what was acknowledged is there at the next start, and the counts agree.
//! `ODRADEK_WAL_FAULT_SEEDS=N` runs N seeds (default 40); a failure prints seed and trace.

mod common;

use common::*;
use odradek_wal::simulation::{Driver, Operation, Random};
use odradek_wal::*;
use std::collections::BTreeMap;

const PARTITIONS: usize = 4;

struct Run {
    seed: u64,
    random: Random,
    driver: Driver,
    replicas: Vec<ReplicaId>,
    /// By replica: the LSN to wait for, and the log end it brings.
    waiting: Vec<(Lsn, ReplicaId, i64)>,
    acknowledged: BTreeMap<ReplicaId, i64>,
    offline: u64,
    trace: Vec<String>,
}

fn run_options(seed: u64) -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 10,
        directory_bytes_max: 40 * (64 << 10),
        write_bytes_max: 16 << 10,
        pending_bytes_max: 64 << 10,
        checkpoint_interval_bytes: 96 << 10,
        checkpoint_deltas_max: 3,
        rewrite_dead_percent_min: 30,
        seed,
        ..options()
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut driver = Driver::new(seed, run_options(seed));
        let replicas: Vec<ReplicaId> = (0..PARTITIONS as i32)
            .map(|partition| create(&mut driver, partition))
            .collect();
        driver.settle();
        driver.shuffle = Some(Random::new(seed ^ 5));
        Self {
            seed,
            random: Random::new(seed ^ 0xFA17),
            driver,
            replicas,
            waiting: Vec::new(),
            acknowledged: BTreeMap::new(),
            offline: 0,
            trace: Vec::new(),
        }
    }

    fn describe(&self) -> String {
        let last: Vec<&str> = self
            .trace
            .iter()
            .rev()
            .take(40)
            .map(String::as_str)
            .collect();
        let trace: Vec<&str> = last.into_iter().rev().collect();
        format!("seed {}\n{}\n", self.seed, trace.join("\n"))
    }

    fn fault(&mut self) {
        let after = self.random.below(4);
        let what = match self.random.below(7) {
            0 => {
                self.driver.disk.fail(Operation::Write, after);
                "a write fails"
            }
            1 => {
                self.driver.disk.fail(Operation::Write, after);
                self.driver.disk.fail_again(Operation::Write);
                "two writes fail"
            }
            2 => {
                self.driver.disk.fail(Operation::Sync, 0);
                "a sync fails"
            }
            3 => {
                self.driver.disk.fail(Operation::Read, after);
                "a read fails"
            }
            4 => {
                self.driver.disk.bytes_max = self.driver.disk.used_bytes();
                "no space is left"
            }
            5 => {
                self.driver.disk.bytes_max = u64::MAX;
                "there is space again"
            }
            _ => {
                // Requests are not answered for a while: appends are refused after 2 s, the directory is given up after 10 s.
                let slow_ms = if self.random.once_in(6) {
                    11_000
                } else {
                    3_000
                };
                self.driver.tick(slow_ms);
                "the disk is slow"
            }
        };
        self.trace.push(format!("{what} (after {after})"));
    }

    fn act(&mut self) {
        let replica = self.replicas[self.random.below(PARTITIONS as u64) as usize];
        match self.random.below(20) {
            0 => {
                let state = self.driver.log.replica(replica).unwrap();
                let acknowledged = self.acknowledged.get(&replica).copied().unwrap_or(0);
                let to = Offset(state.log_start.0.max(acknowledged - 2));
                let moved = self
                    .driver
                    .call(|log, now, out| log.set_log_start(now, replica, to, out));
                self.trace
                    .push(format!("log start of {replica} to {to}: {moved:?}"));
            }
            1 => {
                self.driver
                    .call(|log, now, out| log.begin_checkpoint(now, Vec::new(), out));
            }
            2 => self.driver.tick(1_100),
            _ => {
                let bytes = 100 + self.random.below(1_500) as usize;
                let answer = append(&mut self.driver, replica, 1, bytes);
                self.trace.push(format!("append to {replica}: {answer:?}"));
                if let Ok((base, lsn)) = answer {
                    self.waiting.push((lsn, replica, base + 1));
                }
            }
        }
        for _ in 0..self.random.below(5) {
            self.driver.run_one();
        }
        self.listen();
    }

    fn listen(&mut self) {
        for output in self.driver.take_outputs() {
            match output {
                Output::DurableTo { lsn } => {
                    for (_, replica, end) in self.waiting.extract_if(.., |wait| wait.0 <= lsn) {
                        self.acknowledged.insert(replica, end);
                    }
                }
                Output::CheckpointDue => {
                    self.driver
                        .call(|log, now, out| log.begin_checkpoint(now, Vec::new(), out));
                }
                Output::Offline { reason } => {
                    assert!(!reason.to_string().is_empty());
                    self.trace.push(format!("offline: {reason}"));
                    self.offline += 1;
                    let refused = append(&mut self.driver, self.replicas[0], 1, 10);
                    assert_eq!(refused, Err(AppendRefusal::Offline));
                }
                Output::Message(text) => self.trace.push(text),
                _ => {}
            }
        }
        if let Err(wrong) = self.driver.check_accounts() {
            panic!("{wrong}\n{}", self.describe());
        }
    }

    /// The power fails, or an offline directory is started anew on a disk that works.
    fn restart(mut self) -> Self {
        self.trace.push("restart".into());
        let now = self.driver.now;
        let options = run_options(self.random.next());
        let before = std::mem::replace(&mut self.driver, Driver::new(0, options.clone()));
        let mut disk = before.crash();
        disk.bytes_max = u64::MAX;
        disk.fail_in.clear();
        let opened = Driver::open(disk, options, now, &mut IgnoreAll);
        let (mut driver, report) = match opened {
            Ok(opened) => opened,
            Err((_, error)) => panic!("{error}\n{}", self.describe()),
        };
        assert_eq!(report.damage, vec![], "{}", self.describe());
        driver.check_accounts().unwrap();
        self.waiting.clear();
        for replica in &self.replicas {
            let state = driver.log.replica(*replica).unwrap();
            let acknowledged = self.acknowledged.get(replica).copied().unwrap_or(0);
            assert!(
                state.log_end.0 >= acknowledged,
                "{replica} ends at {}, {acknowledged} were acknowledged\n{}",
                state.log_end,
                self.describe()
            );
            let frames = read_all(&mut driver, *replica, state.log_start.0);
            assert_eq!(
                frames.len() as i64,
                state.log_end.0 - state.log_start.0,
                "{replica} {state:?}\n{}",
                self.describe()
            );
            for (frame, base) in frames.iter().zip(state.log_start.0..) {
                assert!(frame.starts_with(format!("{replica}:{base}:").as_bytes()));
            }
            self.acknowledged.insert(*replica, state.log_end.0);
        }
        driver.take_outputs();
        driver.shuffle = Some(Random::new(self.random.next()));
        self.driver = driver;
        self
    }
}

#[test]
fn no_fault_of_the_disk_loses_what_was_acknowledged() {
    let seeds = std::env::var("ODRADEK_WAL_FAULT_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(40);
    let (mut offline, mut acknowledged) = (0, 0);
    for seed in 0..seeds {
        let mut run = Run::new(seed);
        for step in 0..400 {
            if run.random.once_in(8) {
                run.fault();
            }
            run.act();
            if step % 80 == 79 || (run.driver.log.offline().is_some() && run.random.once_in(4)) {
                run = run.restart();
            }
        }
        offline += run.offline;
        acknowledged += run.restart().acknowledged.values().sum::<i64>();
    }
    println!("{seeds} seeds: {acknowledged} frames, {offline} times offline");
    assert!(offline > 0 && acknowledged > seeds as i64 * 50);
}

#[test]
fn frames_dropped_before_they_were_written_leave_no_extent() {
    let mut driver = Driver::new(1, options());
    let (replica, other) = (create(&mut driver, 0), create(&mut driver, 1));
    driver.settle();
    for round in 0..3 {
        // The first write is under way, the others wait behind it.
        for _ in 0..4 {
            append(&mut driver, other, 1, 300).unwrap();
            append(&mut driver, replica, 2, 300).unwrap();
        }
        let state = driver.log.replica(replica).unwrap();
        match round {
            0 => {
                let to = state.log_start;
                _ = driver.call(|log, now, out| log.truncate(now, replica, to, out));
            }
            1 => {
                let to = state.log_end;
                _ = driver.call(|log, now, out| log.set_log_start(now, replica, to, out));
            }
            _ => _ = driver.call(|log, now, out| log.delete_replica(now, replica, out)),
        }
        driver.settle();
        driver.check_accounts().unwrap();
        let bytes = driver.log.replica(replica).map_or(0, |state| state.bytes);
        assert_eq!(
            (bytes, driver.log.statistics().extents),
            (0, 1),
            "round {round}"
        );
    }
}

#[test]
fn an_unsealed_segment_that_vanishes_is_damage_and_the_rest_goes_on() {
    let mut driver = Driver::new(2, options());
    let (first, second) = (create(&mut driver, 0), create(&mut driver, 1));
    append(&mut driver, first, 1, 2_000).unwrap();
    driver.settle();
    checkpoint(&mut driver);
    let (mut driver, _) = restart(driver);
    append(&mut driver, second, 1, 2_000).unwrap();
    driver.settle();
    let (file, _) = find(&driver.disk, &payload(first, 0, 2_000));
    driver.disk.lose(file);
    let (mut driver, report) = restart(driver);
    let named = |damage: &Damage| damage.replica == Some(first) && damage.file == file;
    assert!(report.damage.iter().any(named), "{:?}", report.damage);
    assert!(matches!(
        read(&mut driver, first, 0, 100),
        Err(ReadAnswer::Damaged { .. })
    ));
    assert_eq!(read_all(&mut driver, second, 0).len(), 1);
    driver.quiesce();
    assert_eq!(append(&mut driver, first, 1, 100).unwrap().0, 1);
    driver.settle();
    assert_eq!(driver.log.offline(), None);
}

#[test]
fn a_start_whose_sync_fails_says_so_and_acknowledges_nothing() {
    let mut driver = Driver::new(3, options());
    let replica = create(&mut driver, 0);
    append(&mut driver, replica, 1, 2_000).unwrap();
    driver.settle();
    let now = driver.now;
    let mut disk = driver.crash();
    disk.fail(Operation::Sync, 0);
    let (disk, error) = Driver::open(disk, options(), now, &mut IgnoreAll)
        .map(|_| ())
        .expect_err("what was read back is not known to be durable");
    assert!(error.to_string().contains("the device failed"), "{error}");
    let (mut driver, _) = reopen(disk, now);
    assert_eq!(read_all(&mut driver, replica, 0).len(), 1);
}

#[test]
fn case_18_a_start_long_after_the_last_record_says_what_it_means() {
    let mut driver = Driver::new(4, options());
    let replica = create(&mut driver, 0);
    append(&mut driver, replica, 1, 2_000).unwrap();
    driver.settle();
    checkpoint(&mut driver);
    let (options, mut now) = (driver.log.options().clone(), driver.now);
    now.wall_ms += 30 * 86_400_000;
    let open = |disk, now, seed| {
        let options = LogOptions {
            seed,
            ..options.clone()
        };
        Driver::open(disk, options, now, &mut IgnoreAll)
            .map_err(|(_, error)| error)
            .unwrap()
            .0
    };
    let mut driver = open(driver.crash(), now, 1);
    driver.tick(10);
    let told = driver.take_outputs();
    let message = told.iter().find_map(|output| match output {
        Output::DeletionsFrozen { why } => Some(why.as_str()),
        _ => None,
    });
    assert_eq!(
        message,
        Some("the clock is 30 days past the last record of this log")
    );
    assert!(driver.log.statistics().deletions_frozen);
    // Another start, checkpoints and all, is nobody's word for the clock.
    checkpoint(&mut driver);
    let now = driver.now;
    let mut driver = open(driver.crash(), now, 2);
    assert!(driver.log.statistics().deletions_frozen);
    driver.log.trust_clock(now);
    checkpoint(&mut driver);
    let now = driver.now;
    let driver = open(driver.crash(), now, 3);
    assert!(!driver.log.statistics().deletions_frozen);
}
