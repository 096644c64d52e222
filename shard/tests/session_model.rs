//! Seeded: consumers with sessions, with and without waiting, against producers, deletions, restarts of their
//! sessions and small limits. Every consumer reads every record once, in order, whatever the session's ready
//! list went through; and nobody waits for ever (case 12).

mod common;

use std::collections::BTreeMap;

use common::*;
use odradek_protocol::ErrorCode;
use odradek_shard::command::*;
use odradek_shard::{Durability, Event, RequestToken, ShardOptions, TopicConfig};

const PARTITIONS: i32 = 6;

struct Consumer {
    session: SessionKey,
    is_open: bool,
    positions: BTreeMap<PartitionKey, i64>,
    /// Partitions whose position the session has not been told.
    moved: Vec<PartitionKey>,
    waiting: Option<RequestToken>,
    read: BTreeMap<PartitionKey, Vec<Vec<u8>>>,
}

impl Consumer {
    fn new(core: u16, keys: &[PartitionKey]) -> Consumer {
        Consumer {
            session: SessionKey { core, id: 1 },
            is_open: false,
            positions: keys.iter().map(|key| (*key, 0)).collect(),
            moved: Vec::new(),
            waiting: None,
            read: BTreeMap::new(),
        }
    }

    fn ask(&mut self, node: &mut Node, random: &mut Random) {
        let wants = |keys: &mut dyn Iterator<Item = &PartitionKey>,
                     positions: &BTreeMap<_, i64>| {
            keys.map(|key| FetchPartition {
                max_bytes: 300,
                ..want(*key, positions[key])
            })
            .collect::<Vec<_>>()
        };
        let (session, partitions) = if self.is_open {
            let partitions = wants(&mut self.moved.iter(), &self.positions);
            (
                FetchSession::Incremental {
                    session: self.session,
                    forgotten: vec![],
                },
                partitions,
            )
        } else {
            self.session.id += 1;
            let partitions = wants(&mut self.positions.keys(), &self.positions);
            (FetchSession::Open(self.session), partitions)
        };
        self.is_open = true;
        self.moved.clear();
        let mut command = node.fetch_command(partitions);
        command.session = session;
        command.max_wait_ms = random.below(3) as i32 * 100;
        command.min_bytes = 1 + random.below(400) as i32;
        command.max_bytes = 100 + random.below(800) as i32;
        self.waiting = Some(command.token);
        node.step(Event::Fetch(command));
    }

    fn take(&mut self, node: &mut Node) {
        let Some(token) = self.waiting else { return };
        let Some(reply) = node.fetched(token) else {
            return;
        };
        self.waiting = None;
        for part in reply.partitions {
            assert_eq!(part.error, ErrorCode::None);
            let position = self
                .positions
                .get_mut(&part.key)
                .expect("a partition asked for");
            for (offset, value) in values(&part) {
                if offset >= *position {
                    assert_eq!(offset, *position, "a gap");
                    *position = offset + 1;
                    self.read.entry(part.key).or_default().push(value);
                }
            }
            self.moved.push(part.key);
        }
        self.moved.sort_unstable();
        self.moved.dedup();
    }

    fn is_done(&self, written: &BTreeMap<PartitionKey, Vec<Vec<u8>>>) -> bool {
        written
            .iter()
            .all(|(key, values)| self.positions[key] == values.len() as i64)
    }
}

#[test]
fn case_12_sessions_lose_and_repeat_nothing() {
    for seed in 0..80 {
        run_model(seed);
    }
}

fn run_model(seed: u64) {
    let mut random = Random(seed);
    let durability = if seed.is_multiple_of(4) {
        Durability::None
    } else {
        Durability::Fsync
    };
    let log = odradek_wal::LogOptions {
        tail_cache_bytes: if seed.is_multiple_of(3) { 0 } else { 1 << 20 },
        ..small_log()
    };
    let mut node = Node::over(
        ShardOptions {
            durability,
            ..ShardOptions::default()
        },
        1,
        log,
    );
    let keys: Vec<_> = (0..PARTITIONS).map(|index| key(1, index)).collect();
    node.metadata(
        keys.iter()
            .map(|key| creation(*key, TopicConfig::default()))
            .collect(),
    );
    node.settle();
    let mut written: BTreeMap<PartitionKey, Vec<Vec<u8>>> = BTreeMap::new();
    let mut consumers: Vec<_> = (0..3).map(|core| Consumer::new(core, &keys)).collect();
    for step in 0..400 {
        let consumer = &mut consumers[random.below(3) as usize];
        match random.below(12) {
            0..=2 => {
                let key = keys[random.below(PARTITIONS as u64) as usize];
                let value = format!("{step}-{}", "x".repeat(random.below(120) as usize));
                node.send(key, batch(&[&value]), 1);
                written.entry(key).or_default().push(value.into_bytes());
            }
            3..=5 => {
                for _ in 0..random.below(4) {
                    node.one_io();
                }
            }
            6 => {
                node.now.monotonic_us += 40_000;
                node.step(Event::Tick);
            }
            7 if consumer.waiting.is_none() => {
                node.step(Event::CloseSession(consumer.session));
                consumer.is_open = false;
            }
            8 => {
                if let Some(token) = consumer.waiting {
                    node.step(Event::Unpark(token));
                }
            }
            _ if consumer.waiting.is_none() => consumer.ask(&mut node, &mut random),
            _ => {}
        }
        consumers
            .iter_mut()
            .for_each(|consumer| consumer.take(&mut node));
    }
    drain(seed, &mut node, &mut consumers, &mut random, &written);
}

/// Time goes on and the disk works: everybody gets everything.
fn drain(
    seed: u64,
    node: &mut Node,
    consumers: &mut [Consumer],
    random: &mut Random,
    written: &BTreeMap<PartitionKey, Vec<Vec<u8>>>,
) {
    for _ in 0..2_000 {
        node.now.monotonic_us += 40_000;
        node.step(Event::Tick);
        node.settle();
        for consumer in consumers.iter_mut() {
            consumer.take(node);
            if consumer.waiting.is_none() && !consumer.is_done(written) {
                consumer.ask(node, random);
            }
        }
        if consumers.iter().all(|consumer| consumer.is_done(written)) {
            break;
        }
    }
    for consumer in consumers {
        assert!(
            consumer.is_done(written),
            "seed {seed}: {:?} of {written:?}",
            consumer.positions
        );
        assert_eq!(consumer.read, *written, "seed {seed}");
    }
}
