//! The cluster under a seed: queue of things to happen, network, nodes, faults. Disks are in `disk.rs`, what must hold in
//! `invariants.rs`.

mod network;
mod node;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use bytes::Bytes;
use odradek_raft::consensus::{Event, SnapshotId};

use crate::invariants::Ledger;
use crate::random::{Hash, Random};
use network::{Message, Origin};
use node::Node;

/// Faults stop here.
const HEAL_US: u64 = 6_000_000;
/// By here a leader has committed.
const END_US: u64 = 11_000_000;

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub elections: u64,
    pub committed: u64,
    pub truncations: u64,
    pub installs: u64,
    pub crashes: u64,
    pub damaged: u64,
    pub steps: u64,
    pub trace_hash: u64,
}

impl Summary {
    pub fn add(&mut self, other: &Summary) {
        self.elections += other.elections;
        self.committed += other.committed;
        self.truncations += other.truncations;
        self.installs += other.installs;
        self.crashes += other.crashes;
        self.damaged += other.damaged;
        self.steps += other.steps;
        self.trace_hash ^= other.trace_hash;
    }
}

/// How unkind this seed is; rates per mille.
struct Weather {
    loss: u64,
    doubled: u64,
    delay_us_max: u64,
    /// Mean time between faults.
    fault_us: u64,
    /// Mean time between proposals.
    propose_us: u64,
    snapshot_us: u64,
    /// kraft.version 0, voters from configuration.
    static_voters: bool,
}

/// Something to happen.
enum Due {
    Deliver(Message),
    Tick {
        node: usize,
        incarnation: u64,
    },
    LogWritten {
        node: usize,
        incarnation: u64,
    },
    SlotWritten {
        node: usize,
        incarnation: u64,
    },
    Tell {
        node: usize,
        incarnation: u64,
        event: Event,
    },
    Install {
        node: usize,
        incarnation: u64,
        id: SnapshotId,
    },
    Restart {
        node: usize,
    },
    Fault,
    Propose,
    Snapshot,
    Heal,
}

struct Scheduled {
    at_us: u64,
    order: u64,
    due: Due,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at_us, self.order) == (other.at_us, other.order)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}

pub struct World {
    random: Random,
    weather: Weather,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    now_us: u64,
    nodes: Vec<Node>,
    voters: usize,
    cut: BTreeSet<(usize, usize)>,
    healed: bool,
    origins: BTreeMap<u64, Origin>,
    next_token: u64,
    ledger: Ledger,
    ledger_end_at_heal: i64,
    damaged_voters: usize,
    proposals: u64,
    summary: Summary,
    hash: Hash,
    verbose: bool,
    lines: Vec<String>,
}

impl World {
    pub fn new(seed: u64, verbose: bool) -> World {
        let mut random = Random::new(seed);
        let voters = 1 + (seed % 5) as usize;
        let observers = random.below(3) as usize;
        let calm = random.chance(200);
        let weather = Weather {
            loss: if calm { 0 } else { random.below(150) },
            doubled: if calm { 0 } else { random.below(100) },
            delay_us_max: random.between(300, 20_000),
            fault_us: random.between(60_000, 600_000),
            propose_us: random.between(5_000, 60_000),
            snapshot_us: random.between(60_000, 800_000),
            static_voters: random.chance(150),
        };
        let mut world = World {
            random,
            weather,
            queue: BinaryHeap::new(),
            order: 0,
            now_us: 0,
            nodes: Vec::new(),
            voters,
            cut: BTreeSet::new(),
            healed: false,
            origins: BTreeMap::new(),
            next_token: 1,
            ledger: Ledger::default(),
            ledger_end_at_heal: 0,
            damaged_voters: 0,
            proposals: 0,
            summary: Summary::default(),
            hash: Hash::new(),
            verbose,
            lines: Vec::new(),
        };
        world.format(observers, seed);
        world
    }

    pub fn run(mut self) -> Summary {
        self.run_in_place()
    }

    pub fn trace_lines(&self) -> &[String] {
        &self.lines
    }

    pub fn run_in_place(&mut self) -> Summary {
        for node in 0..self.nodes.len() {
            let at_us = self.random.below(30_000);
            self.schedule(at_us, Due::Restart { node });
        }
        self.schedule(self.weather.fault_us, Due::Fault);
        self.schedule(self.weather.propose_us, Due::Propose);
        self.schedule(self.weather.snapshot_us, Due::Snapshot);
        self.schedule(HEAL_US, Due::Heal);
        while let Some(Reverse(next)) = self.queue.pop() {
            if next.at_us > END_US {
                break;
            }
            assert!(next.at_us >= self.now_us);
            self.now_us = next.at_us;
            self.happen(next.due);
        }
        self.check_healed();
        self.summary.committed = self.ledger.end() as u64;
        self.summary.trace_hash = self.hash.0;
        self.summary
    }

    fn schedule(&mut self, at_us: u64, due: Due) {
        self.order += 1;
        let order = self.order;
        self.queue.push(Reverse(Scheduled { at_us, order, due }));
    }

    fn schedule_in(&mut self, delay_us: u64, due: Due) {
        self.schedule(self.now_us + delay_us, due);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Deliver(message) => self.deliver(message),
            Due::Tick { node, incarnation } => {
                if self.is_up(node, incarnation) {
                    self.nodes[node].tick_at_us = u64::MAX;
                    self.step(node, Event::Tick);
                }
            }
            Due::LogWritten { node, incarnation } => {
                if self.is_up(node, incarnation)
                    && let Some(write) = self.nodes[node].disk.finish_log_write()
                {
                    // A report may come late and for several writes at once.
                    if self.random.chance(700) || self.nodes[node].disk.log_writes.is_empty() {
                        self.step(node, Event::LogDurable { write });
                    }
                }
            }
            Due::SlotWritten { node, incarnation } => {
                if self.is_up(node, incarnation)
                    && let Some(counter) = self.nodes[node].disk.finish_slot_write()
                {
                    let persisted = self.nodes[node].disk.persisted();
                    self.note_persisted_vote(node, persisted);
                    self.note_persisted_leader(node, persisted);
                    self.step(node, Event::QuorumStateDurable { counter });
                }
            }
            Due::Tell {
                node,
                incarnation,
                event,
            } => {
                if self.is_up(node, incarnation) {
                    self.step(node, event);
                }
            }
            Due::Install {
                node,
                incarnation,
                id,
            } => {
                if self.is_up(node, incarnation) {
                    self.install(node, id);
                }
            }
            Due::Restart { node } => self.restart(node),
            Due::Fault => self.fault(),
            Due::Propose => self.propose(),
            Due::Snapshot => self.write_snapshot(),
            Due::Heal => self.heal(),
        }
    }

    fn is_up(&self, node: usize, incarnation: u64) -> bool {
        self.nodes[node].raft.is_some() && self.nodes[node].incarnation == incarnation
    }

    fn around(&mut self, mean_us: u64) -> u64 {
        self.random.between(mean_us / 4, mean_us * 7 / 4)
    }

    // ---- faults ----

    fn fault(&mut self) {
        if self.healed {
            return;
        }
        let next = self.around(self.weather.fault_us);
        self.schedule_in(next, Due::Fault);
        let node = self.random.below(self.nodes.len() as u64) as usize;
        match self.random.below(10) {
            0..=3 => self.crash(node),
            4 => self.partition(),
            5 => self.cut.clear(),
            6 => {
                let slow = [200, 5_000, 60_000, 500_000][self.random.below(4) as usize];
                self.nodes[node].disk_us_max = slow;
            }
            7 => {
                let from = node;
                let to = self.random.below(self.nodes.len() as u64) as usize;
                self.cut.insert((from, to));
            }
            8 if self.nodes[node].raft.is_some() => self.step(node, Event::Resign),
            _ => {
                // The leader's process dies, and others see it at once.
                let leader = (0..self.nodes.len()).find(|node| {
                    self.nodes[*node]
                        .raft
                        .as_ref()
                        .is_some_and(|raft| raft.is_leader())
                });
                if let Some(leader) = leader {
                    self.crash(leader);
                    let id = self.nodes[leader].id;
                    for other in 0..self.nodes.len() {
                        if self.nodes[other].raft.is_some() && self.random.chance(700) {
                            self.step(other, Event::PeerGone { id });
                        }
                    }
                }
            }
        }
    }

    fn partition(&mut self) {
        let sides = self.random.next();
        let one_way = self.random.chance(300);
        self.cut.clear();
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                let (left, right) = (sides >> from & 1, sides >> to & 1);
                if left != right && (!one_way || left == 0) {
                    self.cut.insert((from, to));
                }
            }
        }
    }

    fn heal(&mut self) {
        self.healed = true;
        self.cut.clear();
        self.weather.loss = 0;
        self.weather.doubled = 0;
        self.weather.delay_us_max = self.weather.delay_us_max.min(3_000);
        self.ledger_end_at_heal = self.ledger.end();
        for node in 0..self.nodes.len() {
            self.nodes[node].disk_us_max = 1_000;
            if self.nodes[node].raft.is_none() {
                self.restart(node);
            }
        }
        self.line(|_| "healed".to_owned());
    }

    /// Once healed: one leader that all follow, new commits, and everyone has them.
    fn check_healed(&mut self) {
        let mut leaders = Vec::new();
        for node in &self.nodes {
            let raft = node.raft.as_ref().expect("all are up");
            if raft.is_leader() {
                leaders.push((node.id, raft.leader().epoch));
            }
        }
        assert_eq!(leaders.len(), 1, "one leader once healed: {leaders:?}");
        assert!(
            self.ledger.end() > self.ledger_end_at_heal,
            "nothing was committed after healing"
        );
        for node in &self.nodes {
            let raft = node.raft.as_ref().expect("all are up");
            assert_eq!(
                raft.leader().leader_id,
                Some(leaders[0].0),
                "node {}",
                node.id
            );
            let mark = raft.high_watermark().unwrap_or(-1);
            assert!(
                mark > self.ledger_end_at_heal,
                "node {} learns of no commits: {mark}, {} before healing",
                node.id,
                self.ledger_end_at_heal
            );
        }
    }

    // ---- work ----

    fn propose(&mut self) {
        let next = self.around(self.weather.propose_us);
        self.schedule_in(next, Due::Propose);
        let leaders: Vec<usize> = (0..self.nodes.len())
            .filter(|node| {
                self.nodes[*node]
                    .raft
                    .as_ref()
                    .is_some_and(|raft| raft.is_leader())
            })
            .collect();
        if leaders.is_empty() {
            return;
        }
        let node = leaders[self.random.below(leaders.len() as u64) as usize];
        let count = self.random.between(1, 3);
        let records: Vec<Bytes> = (0..count)
            .map(|_| {
                self.proposals += 1;
                Bytes::from(format!("proposal {}", self.proposals))
            })
            .collect();
        let now = self.now_of(node);
        let mut actions = Vec::new();
        let raft = self.nodes[node].raft.as_mut().expect("is up");
        let epoch = raft.leader().epoch;
        let end = raft.log_end();
        let range = raft
            .propose(now, epoch, &records, &mut actions)
            .expect("it leads");
        assert_eq!(range, end..end + count as i64);
        self.line(|world| format!("node {} proposes {range:?}", world.nodes[node].id));
        self.act(node, actions);
    }

    fn trace(&mut self, words: &[u64]) {
        self.hash.word(self.now_us);
        for word in words {
            self.hash.word(*word);
        }
    }

    fn line(&mut self, text: impl Fn(&World) -> String) {
        if self.verbose {
            let line = format!("{:>9} {}", self.now_us, text(self));
            self.lines.push(line);
        }
    }
}
