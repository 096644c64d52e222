//! Crash at every write, create, sync and remove of seeded workloads, and again during the recoveries: what was acknowledged is there, once,
//! in order; nothing is there that was not appended; offsets and epochs agree. `ODRADEK_WAL_SEEDS=N` runs N seeds (default 6),
//! `ODRADEK_WAL_SEED=S` one; a failure prints seed, operation and trace.

mod common;

use common::planning::{self, Decision};
use common::*;
use odradek_wal::simulation::{Driver, Random, SimulatedDisk};
use odradek_wal::*;
use std::collections::BTreeMap;

/// What the caller asked for, in the order of the log.
#[derive(Clone, Debug)]
enum Change {
    Create {
        replica: ReplicaId,
    },
    Append {
        replica: ReplicaId,
        base: i64,
        records: i64,
        bytes: usize,
        epoch: i32,
    },
    Truncate {
        replica: ReplicaId,
        to: i64,
    },
    LogStart {
        replica: ReplicaId,
        to: i64,
    },
    Delete {
        replica: ReplicaId,
    },
    /// A plan handed the frame out.
    Offer {
        replica: ReplicaId,
        base: i64,
    },
    /// A plan that handed the frame out is over.
    CarryOut {
        replica: ReplicaId,
        base: i64,
    },
}

/// A replica as it must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Expected {
    log_start: i64,
    log_end: i64,
    /// base, last, payload bytes
    frames: Vec<(i64, i64, usize)>,
    epochs: Vec<(i32, i64)>,
    /// What plans decided, by base offset.
    decisions: BTreeMap<i64, Decision>,
}

impl Expected {
    fn found(&self, replica: ReplicaId, frames: &[Vec<u8>]) -> bool {
        let expected = self
            .frames
            .iter()
            .map(|(base, _, bytes)| (*base, *bytes, self.decisions.get(base).copied()));
        planning::matches(replica, expected, frames)
    }

    fn apply(&mut self, change: &Change) {
        match *change {
            Change::Append {
                base,
                records,
                bytes,
                epoch,
                ..
            } => {
                if self.epochs.last().is_none_or(|(last, _)| *last < epoch) {
                    self.epochs.retain(|(_, start)| *start < base);
                    self.epochs.push((epoch, base));
                }
                self.frames.push((base, base + records - 1, bytes));
                self.log_end = base + records;
            }
            Change::Truncate { to, .. } => {
                self.frames.retain(|(_, last, _)| *last < to);
                let end = self.frames.last().map_or(i64::MIN, |(_, last, _)| *last);
                self.decisions.retain(|base, _| *base <= end);
                self.epochs.retain(|(_, start)| *start < to);
                self.log_end = self.log_end.min(to);
            }
            Change::LogStart { to, .. } => {
                self.log_start = self.log_start.max(to);
                let start = self.log_start;
                self.frames.retain(|(_, last, _)| *last >= start);
                // As Kafka's cache: the epoch that holds the log start begins there.
                while self.epochs.len() >= 2 && self.epochs[1].1 <= start {
                    self.epochs.remove(0);
                }
                if let Some(first) = self.epochs.first_mut() {
                    first.1 = first.1.max(start);
                }
            }
            Change::Offer { base, .. } => {
                if self.frames.iter().any(|(known, _, _)| *known == base) {
                    self.decisions.entry(base).or_insert(Decision::Offered);
                }
            }
            Change::CarryOut { base, .. } => {
                if let Some(decision) = self.decisions.get_mut(&base) {
                    *decision = Decision::CarriedOut;
                }
            }
            Change::Create { .. } | Change::Delete { .. } => {}
        }
    }
}

fn expected_at(history: &[(Lsn, Change)], end: Lsn) -> BTreeMap<ReplicaId, Expected> {
    let mut replicas: BTreeMap<ReplicaId, Expected> = BTreeMap::new();
    for (_, change) in history.iter().filter(|(lsn, _)| *lsn <= end) {
        match change {
            Change::Create { replica } => {
                replicas.insert(*replica, Expected::default());
            }
            Change::Delete { replica } => {
                replicas.remove(replica);
            }
            Change::Append { replica, .. }
            | Change::Truncate { replica, .. }
            | Change::LogStart { replica, .. } => {
                replicas
                    .get_mut(replica)
                    .expect("a replica of the history")
                    .apply(change);
            }
            Change::Offer { replica, .. } | Change::CarryOut { replica, .. } => {
                if let Some(expected) = replicas.get_mut(replica) {
                    expected.apply(change);
                }
            }
        }
    }
    replicas
}

/// One seed's run.
struct Run {
    seed: u64,
    driver: Driver,
    random: Random,
    history: Vec<(Lsn, Change)>,
    acknowledged: Lsn,
    crash_points: u64,
    epochs: BTreeMap<ReplicaId, i32>,
    policies: BTreeMap<ReplicaId, RetentionPolicy>,
    /// Frames that the plan under way handed out.
    planned: Vec<(ReplicaId, i64)>,
    plans_done: PlanOutcome,
    trace: Vec<String>,
}

/// Every other seed deletes little, so that segments are clustered rather than cleaned.
fn keeps(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

fn run_options(seed: u64) -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 10,
        directory_bytes_max: 64 * (64 << 10),
        seed,
        write_bytes_max: 16 << 10,
        pending_bytes_max: 64 << 10,
        tail_cache_bytes: 32 << 10,
        frame_cache_bytes: 32 << 10,
        index_cache_bytes: 32 << 10,
        checkpoint_interval_bytes: 96 << 10,
        checkpoint_deltas_max: 3,
        // Bases that take older extents out of memory come often, with small caches of their pages.
        upper_extent_bytes_max: if seed.is_multiple_of(3) {
            16 << 10
        } else {
            2 << 20
        },
        extent_cache_bytes: 16 << 10,
        cold_bytes_max: if seed.is_multiple_of(5) { 100 } else { 1 << 20 },
        retention_check_interval_ms: 500,
        rewrite_dead_percent_min: if keeps(seed) { 60 } else { 30 },
        clustered_extents_max: 1,
        edit_extents_max: 2,
        unclustered_segments_min: 2,
        rewrite_bytes_per_second_min: if seed % 4 < 2 { 0 } else { 1 << 20 },
        ..LogOptions::default()
    }
}

struct Counting(u64);

impl RecoveryVisitor for Counting {
    fn cold(&mut self, replica: ReplicaId, page: &[u8]) {
        assert_eq!(page, format!("cold {replica}").as_bytes());
    }
    fn frame(&mut self, _: &FrameMeta) {
        self.0 += 1;
    }
    fn truncated(&mut self, _: ReplicaId, _: Offset) {}
    fn deleted(&mut self, _: ReplicaId) {}
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut driver = Driver::new(seed, run_options(seed));
        driver.shuffle = Some(Random::new(seed ^ 5));
        Self {
            seed,
            driver,
            random: Random::new(seed ^ 0x5eed),
            history: Vec::new(),
            acknowledged: Lsn(0),
            crash_points: 0,
            epochs: BTreeMap::new(),
            policies: BTreeMap::new(),
            planned: Vec::new(),
            plans_done: PlanOutcome::default(),
            trace: Vec::new(),
        }
    }

    fn live(&self) -> Vec<ReplicaId> {
        self.driver
            .log
            .replicas()
            .map(|(replica, _)| replica)
            .collect()
    }

    fn note(&mut self, change: Change, lsn: Lsn) {
        self.trace.push(format!("{lsn}: {change:?}"));
        self.history.push((lsn, change));
    }

    fn act_create(&mut self) {
        let partition = self.random.below(1_000) as i32;
        let replica = create(&mut self.driver, partition);
        self.note(Change::Create { replica }, self.driver.log.append_lsn());
        // Of all expiry classes, so that segments hold several.
        let hours = [2, 40, 24 * 30, -1][self.random.below(4) as usize];
        let ms = if hours < 0 { -1 } else { hours * 3_600_000 };
        let policy = RetentionPolicy {
            ms,
            ..RetentionPolicy::KEEP
        };
        self.driver.log.set_retention(replica, policy);
        self.policies.insert(replica, policy);
    }

    /// One thing that a caller does.
    fn act(&mut self) {
        let live = self.live();
        let pick = self.random.below(100);
        if live.len() < 3 || pick < 3 {
            return self.act_create();
        }
        let replica = live[self.random.below(live.len() as u64) as usize];
        let state = self.driver.log.replica(replica).unwrap();
        let deletes = (70..84).contains(&pick) || (90..93).contains(&pick);
        let pick = if keeps(self.seed) && deletes && !self.random.once_in(5) {
            3
        } else {
            pick
        };
        match pick {
            3..70 => self.act_append(replica, &state),
            70..75 if state.log_end > state.log_start => {
                let to = state.log_start.0
                    + self
                        .random
                        .below((state.log_end.0 - state.log_start.0) as u64 + 1)
                        as i64;
                if let Ok(lsn) = self
                    .driver
                    .call(|log, now, out| log.truncate(now, replica, Offset(to), out))
                {
                    self.note(Change::Truncate { replica, to }, lsn);
                }
            }
            75..82 if state.log_end > state.log_start => {
                let to = state.log_start.0
                    + self
                        .random
                        .below((state.log_end.0 - state.log_start.0) as u64 + 1)
                        as i64;
                if let Ok(lsn) = self
                    .driver
                    .call(|log, now, out| log.set_log_start(now, replica, Offset(to), out))
                    && to > state.log_start.0
                {
                    self.note(Change::LogStart { replica, to }, lsn);
                }
            }
            82..84 => {
                if let Ok(lsn) = self
                    .driver
                    .call(|log, now, out| log.delete_replica(now, replica, out))
                {
                    self.note(Change::Delete { replica }, lsn);
                }
            }
            84..87 => {
                let cold = vec![(replica, format!("cold {replica}").into_bytes())];
                self.driver
                    .call(|log, now, out| log.begin_checkpoint(now, cold, out));
                self.trace.push("checkpoint".into());
            }
            87..90 => self.driver.tick(120),
            90..93 => self.act_retention(replica, &state),
            93..96 if state.log_end > state.log_start => {
                let from = state.log_start;
                let end = state.log_end;
                self.driver
                    .call(|log, now, out| log.read(now, replica, from, end, 20_000, true, 1, out));
            }
            96..98 => self.driver.tick(1_100),
            98 => self.act_plan(&live),
            _ => self.driver.tick(7),
        }
    }

    /// A plan over some of the replicas, as compaction would make it.
    fn act_plan(&mut self, live: &[ReplicaId]) {
        let mut replicas = Vec::new();
        for &replica in live {
            let Some(state) = self.driver.log.replica(replica) else {
                continue;
            };
            if !self.random.once_in(3) {
                self.driver.log.set_high_watermark(replica, state.log_end);
                replicas.push((replica, state.log_end));
            }
        }
        self.trace.push(format!("plan over {replicas:?}"));
        let plan = RewritePlan { replicas };
        // Perhaps another one waits.
        let _ = self
            .driver
            .call(|log, now, out| log.begin_rewrite_plan(now, plan, out));
    }

    fn answer_plan(&mut self, plan: PlanId, frames: &[PlanFrame]) {
        let lsn = self.driver.log.append_lsn();
        for frame in frames {
            let (replica, base) = (frame.meta.replica, frame.meta.base_offset.0);
            self.note(Change::Offer { replica, base }, lsn);
            self.planned.push((replica, base));
        }
        let verdicts = planning::verdicts(frames);
        // It may have been cut short by a stop meanwhile.
        let _ = self
            .driver
            .call(|log, now, out| log.answer_rewrite_plan(now, plan, verdicts, out));
    }

    fn plan_done(&mut self, outcome: PlanOutcome) {
        self.trace.push(format!("{outcome:?}"));
        self.plans_done.frames_dropped += outcome.frames_dropped;
        self.plans_done.frames_replaced += outcome.frames_replaced;
        for (replica, base) in std::mem::take(&mut self.planned) {
            if outcome.whole {
                self.note(Change::CarryOut { replica, base }, outcome.lsn);
            }
        }
    }

    fn act_retention(&mut self, replica: ReplicaId, state: &ReplicaState) {
        let policy = RetentionPolicy {
            bytes: 20_000,
            segment_bytes: 3_000,
            ..RetentionPolicy::KEEP
        };
        self.driver.log.set_retention(replica, policy);
        self.driver.log.set_high_watermark(replica, state.log_end);
        self.driver.tick(500);
    }

    fn act_append(&mut self, replica: ReplicaId, state: &ReplicaState) {
        let epoch = self.epochs.entry(replica).or_insert(0);
        if self.random.once_in(10) {
            *epoch += 1;
        }
        let epoch = (*epoch).max(state.last_epoch.0);
        let (records, size) = (1 + self.random.below(5) as i64, self.random.below(100));
        let bytes = if size < 5 {
            9_000 + self.random.below(8_000)
        } else if keeps(self.seed) {
            40 + self.random.below(4_000)
        } else {
            40 + self.random.below(1_500)
        } as usize;
        let timestamp = self.driver.now.wall_ms;
        if let Ok((base, lsn)) =
            append_at(&mut self.driver, replica, records, bytes, epoch, timestamp)
        {
            let bytes = payload(replica, base, bytes).len();
            self.note(
                Change::Append {
                    replica,
                    base,
                    records,
                    bytes,
                    epoch,
                },
                lsn,
            );
        }
    }

    /// Requests are done until none waits (or a few, so that more gathers), with a crash tried at each.
    fn work(&mut self) {
        let mut left = self.random.below(12);
        while left > 0 && !self.driver.waiting.is_empty() {
            self.crash_here();
            self.driver.run_one();
            self.listen();
            self.check_accounts(&self.driver, "after a request");
            left -= 1;
        }
    }

    /// A segment that counts too few extents would be written over under live frames.
    fn check_accounts(&self, driver: &Driver, when: &str) {
        if let Err(wrong) = driver.check_accounts() {
            panic!("{when}: {wrong}\n{}", self.describe());
        }
    }

    fn listen(&mut self) {
        for output in self.driver.take_outputs() {
            match output {
                Output::DurableTo { lsn } => {
                    assert!(lsn > self.acknowledged, "the durable LSN only grows");
                    self.acknowledged = lsn;
                }
                Output::LogStartMoved { replica, to } => {
                    let lsn = self.driver.log.append_lsn();
                    self.note(Change::LogStart { replica, to: to.0 }, lsn);
                }
                Output::CheckpointDue => {
                    self.driver
                        .call(|log, now, out| log.begin_checkpoint(now, Vec::new(), out));
                }
                Output::PlanFrames { plan, frames } => self.answer_plan(plan, &frames),
                Output::PlanDone { outcome, .. } => self.plan_done(outcome),
                Output::Damaged { .. } | Output::Offline { .. } => {
                    panic!("{}: {output:?}", self.describe())
                }
                _ => {}
            }
        }
    }

    fn describe(&self) -> String {
        let last: Vec<&String> = self.trace.iter().rev().take(25).collect();
        let trace: Vec<String> = last.into_iter().rev().cloned().collect();
        format!(
            "seed {} at disk operation {} (ODRADEK_WAL_SEED={} repeats it)\n{}\n",
            self.seed,
            self.driver.disk.operations,
            self.seed,
            trace.join("\n")
        )
    }

    /// The power fails in each of the requests that could be next: a copy of the disk is recovered and looked at.
    fn crash_here(&mut self) {
        let at = self.random.below(self.driver.waiting.len() as u64) as usize;
        let io = &self.driver.waiting[at];
        if matches!(io, Io::Read { .. }) {
            return;
        }
        let mut disk = self.driver.disk.clone();
        disk.crash_at = Some(disk.operations);
        let _ = disk.run(io);
        assert!(disk.crashed());
        disk.restart();
        self.crash_points += 1;
        self.check_recovery(disk);
    }

    fn check_recovery(&mut self, disk: SimulatedDisk) {
        let seed = self.random.next();
        let before = disk.operations;
        let (mut driver, report) = self.recover(disk.clone(), seed);
        let operations = driver.disk.operations - before;
        let end = report.end;
        self.check_state(&mut driver, &report, end);
        // The same recovery, cut short in one of its own operations, then repeated.
        let mut again = disk;
        again.crash_at = Some(before + self.random.below(operations.max(1)));
        let second = match Driver::open(
            again,
            run_options(seed ^ 1),
            self.driver.now,
            &mut Counting(0),
        ) {
            Ok((driver, _)) => driver.crash(),
            Err((mut disk, _)) => {
                disk.restart();
                disk
            }
        };
        self.crash_points += 1;
        let (mut driver, second_report) = self.recover(second, seed ^ 2);
        // What the first one cut is gone for good, though its LSNs may have been given out again.
        self.check_state(&mut driver, &second_report, end);
        if self.random.once_in(8) {
            self.check_goes_on(driver, end);
        }
    }

    fn recover(&self, disk: SimulatedDisk, seed: u64) -> (Driver, RecoveryReport) {
        match Driver::open(disk, run_options(seed), self.driver.now, &mut Counting(0)) {
            Ok((driver, report)) => {
                self.check_accounts(&driver, "after a recovery");
                (driver, report)
            }
            Err((_, error)) => panic!("{}: recovery refused: {error}", self.describe()),
        }
    }

    fn check_state(&self, driver: &mut Driver, report: &RecoveryReport, end: Lsn) {
        let context = || {
            format!(
                "{}acknowledged {}, recovered to {}",
                self.describe(),
                self.acknowledged,
                report.end
            )
        };
        assert_eq!(report.damage, vec![], "{}", context());
        assert!(
            report.end >= self.acknowledged,
            "acknowledged log is lost: {}",
            context()
        );
        let expected = expected_at(&self.history, end);
        let found: Vec<ReplicaId> = driver.log.replicas().map(|(replica, _)| replica).collect();
        assert_eq!(
            found,
            expected.keys().copied().collect::<Vec<_>>(),
            "replicas: {}",
            context()
        );
        for (replica, expected) in &expected {
            let state = driver.log.replica(*replica).unwrap();
            let offsets = (state.log_start.0, state.log_end.0, state.durable_end.0);
            let wanted = (
                expected.log_start,
                expected.log_end.max(expected.log_start),
                expected.log_end.max(expected.log_start),
            );
            assert_eq!(offsets, wanted, "offsets of {replica}: {}", context());
            let frames: Vec<Vec<u8>> = read_all(driver, *replica, expected.log_start);
            assert!(
                expected.found(*replica, &frames),
                "content of {replica}: {}",
                context()
            );
            check_epochs(driver, *replica, expected, &context);
        }
    }

    /// The recovered log takes appends, and comes back once more.
    fn check_goes_on(&self, mut driver: Driver, end: Lsn) {
        let mut expected = expected_at(&self.history, end);
        for (replica, expected) in &mut expected {
            let appended = append_at(&mut driver, *replica, 1, 300, 1_000, 1);
            let Ok((base, _)) = appended else {
                let statistics = driver.log.statistics();
                panic!("{appended:?}, {statistics:?}: {}", self.describe());
            };
            expected.frames.push((base, base, 300));
            driver.settle();
            self.check_accounts(&driver, "after going on");
        }
        let seed = driver.log.options().seed ^ 3;
        let (mut driver, _) = self.recover(driver.crash(), seed);
        for (replica, expected) in &expected {
            let frames = read_all(&mut driver, *replica, expected.log_start);
            assert!(
                expected.found(*replica, &frames),
                "after going on: {replica} {}",
                self.describe()
            );
        }
    }

    /// A clean stop, with a crash tried at each of its requests; the log goes on as it was found afterwards.
    fn act_stop(mut self) -> Self {
        self.driver.call(|log, now, out| {
            log.begin_checkpoint(now, Vec::new(), out);
            log.shut_down(now, out);
        });
        self.trace.push("stop".into());
        let mut closed = false;
        while !closed {
            while !self.driver.waiting.is_empty() {
                self.crash_here();
                self.driver.run_one();
                closed |= self
                    .driver
                    .outputs
                    .iter()
                    .any(|output| matches!(output, Output::Closed));
                self.listen();
            }
            self.driver.tick(60);
            closed |= self
                .driver
                .outputs
                .iter()
                .any(|output| matches!(output, Output::Closed));
        }
        let (now, seed) = (self.driver.now, self.random.next());
        let end = self.driver.log.append_lsn();
        let disk = self.driver.disk.clone();
        let (mut driver, report) = self.recover(disk, seed);
        assert!(
            report.clean && report.bytes_read == 0,
            "{report:?} {}",
            self.describe()
        );
        self.check_state(&mut driver, &report, end);
        driver.now = now;
        driver.shuffle = self.driver.shuffle.take();
        driver.take_outputs();
        self.driver = driver;
        // Retention is set again after a start, as the shard does.
        for (replica, policy) in &self.policies {
            self.driver.log.set_retention(*replica, *policy);
        }
        self.planned.clear();
        self
    }

    /// Everything deleted: its space comes back.
    fn check_nothing_leaks(mut self) -> u64 {
        for replica in self.live() {
            self.driver
                .call(|log, now, out| log.delete_replica(now, replica, out))
                .unwrap();
        }
        for _ in 0..6 {
            self.driver.quiesce();
            self.driver
                .call(|log, now, out| log.begin_checkpoint(now, Vec::new(), out));
        }
        self.driver.quiesce();
        let statistics = self.driver.log.statistics();
        let used = statistics.segments - statistics.segments_free;
        assert!(
            used <= 2,
            "{used} segments are held by nothing: {}",
            self.describe()
        );
        assert_eq!(statistics.extents, 0);
        self.crash_points
    }
}

fn check_epochs(
    driver: &Driver,
    replica: ReplicaId,
    expected: &Expected,
    context: &dyn Fn() -> String,
) {
    let found = driver.log.epochs(replica);
    let wanted: Vec<_> = expected
        .epochs
        .iter()
        .map(|(epoch, start)| (LeaderEpoch(*epoch), Offset(*start)))
        .collect();
    assert_eq!(found, wanted, "epochs of {replica}: {}", context());
}

fn seeds() -> Vec<u64> {
    if let Some(seed) = std::env::var("ODRADEK_WAL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return vec![seed];
    }
    let count = std::env::var("ODRADEK_WAL_SEEDS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(6);
    (1..=count).collect()
}

#[test]
fn every_crash_keeps_what_was_acknowledged() {
    let mut crash_points = 0;
    let (mut rewritten, mut clustered, mut decided) = (0, 0, 0);
    let mut extent_pages = 0;
    let seeds = seeds();
    for seed in &seeds {
        let mut run = Run::new(*seed);
        for step in 0..260 {
            if step % 60 == 59 {
                rewritten += run.driver.log.statistics().bytes_rewritten;
                clustered += run.driver.log.statistics().segments_clustered;
                run = run.act_stop();
            }
            run.act();
            run.listen();
            run.work();
            run.check_accounts(&run.driver, "after a step");
            extent_pages += run.driver.log.statistics().extent_pages;
        }
        let statistics = run.driver.log.statistics();
        rewritten += statistics.bytes_rewritten;
        clustered += statistics.segments_clustered;
        decided += run
            .plans_done
            .frames_dropped
            .min(run.plans_done.frames_replaced);
        crash_points += run.check_nothing_leaks();
    }
    println!(
        "{crash_points} crash points over {} seeds: {rewritten} bytes rewritten, {clustered} segments clustered",
        seeds.len()
    );
    if seeds.len() >= 6 {
        assert!(rewritten > 0, "the workload rewrites");
        assert!(extent_pages > 0, "the workload writes index files");
        assert!(clustered > 0, "the workload clusters");
        assert!(decided > 0, "the workload's plans drop and replace");
        assert!(crash_points >= 2_000, "only {crash_points} crash points");
    }
}
