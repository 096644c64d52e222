//! Idempotent producers: duplicates, gaps, epochs, wrap, expiry, restarts (case 15, hostile 38 and 39).

mod common;

use std::collections::BTreeMap;

use common::*;
use odradek_protocol::ErrorCode;
use odradek_shard::command::*;
use odradek_shard::{Event, Reply, RequestToken, ShardOptions, TopicConfig};
use odradek_wal::LogOptions;

#[test]
fn hostile_38_a_repeated_batch_keeps_its_first_offset_and_a_gap_is_refused() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    for sequence in 0..7 {
        assert_eq!(
            node.produce(key, batch_of(5, 0, sequence, &["v"]))
                .base_offset,
            i64::from(sequence)
        );
    }
    for sequence in 2..7 {
        let reply = node.produce(key, batch_of(5, 0, sequence, &["v"]));
        assert_eq!(
            (reply.error, reply.base_offset),
            (ErrorCode::None, i64::from(sequence))
        );
    }
    // Only the last five are remembered.
    assert_eq!(
        node.produce(key, batch_of(5, 0, 1, &["v"])).error,
        ErrorCode::OutOfOrderSequenceNumber
    );
    assert_eq!(
        node.produce(key, batch_of(5, 0, 9, &["v"])).error,
        ErrorCode::OutOfOrderSequenceNumber
    );
    assert_eq!(node.read_all(key, 0).len(), 7);
}

#[test]
fn hostile_39_an_old_epoch_is_refused_and_a_new_one_starts_at_0() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    assert_eq!(
        node.produce(key, batch_of(5, 1, 0, &["v"])).error,
        ErrorCode::None
    );
    assert_eq!(
        node.produce(key, batch_of(5, 0, 1, &["v"])).error,
        ErrorCode::InvalidProducerEpoch
    );
    assert_eq!(
        node.produce(key, batch_of(5, 2, 1, &["v"])).error,
        ErrorCode::OutOfOrderSequenceNumber
    );
    assert_eq!(node.produce(key, batch_of(5, 2, 0, &["v"])).base_offset, 1);
    assert_eq!(
        node.produce(key, batch_of(5, 1, 1, &["v"])).error,
        ErrorCode::InvalidProducerEpoch
    );
}

#[test]
fn an_unknown_producer_may_start_anywhere_and_sequences_wrap() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    assert_eq!(
        node.produce(key, batch_of(5, 0, i32::MAX - 1, &["a", "b", "c"]))
            .base_offset,
        0
    );
    assert_eq!(
        node.produce(key, batch_of(5, 0, 0, &["v"])).error,
        ErrorCode::OutOfOrderSequenceNumber
    );
    assert_eq!(node.produce(key, batch_of(5, 0, 1, &["v"])).base_offset, 3);
    let repeat = node.produce(key, batch_of(5, 0, i32::MAX - 1, &["a", "b", "c"]));
    assert_eq!((repeat.error, repeat.base_offset), (ErrorCode::None, 0));
}

#[test]
fn a_repeat_of_a_batch_in_flight_waits_for_the_disk_with_it() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    let first = node.send(key, batch_of(5, 0, 0, &["v"]), 1);
    let repeat = node.send(key, batch_of(5, 0, 0, &["v"]), 1);
    assert!(
        node.replies.is_empty(),
        "a repeat was acknowledged before the batch was durable"
    );
    node.settle();
    assert_eq!(node.produced(first).base_offset, 0);
    assert_eq!(node.produced(repeat).base_offset, 0);
    assert_eq!(node.read_all(key, 0).len(), 1);
}

#[test]
fn case_15_producer_state_survives_a_crash_and_a_clean_restart() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    for sequence in 0..4 {
        node.produce(key, batch_of(5, 0, sequence, &["v"]));
    }
    let mut node = node.crash();
    node.metadata(vec![creation(key, TopicConfig::default())]);
    let repeat = node.produce(key, batch_of(5, 0, 1, &["v"]));
    assert_eq!((repeat.error, repeat.base_offset), (ErrorCode::None, 1));
    assert_eq!(node.produce(key, batch_of(5, 0, 4, &["v"])).base_offset, 4);
    node.step(Event::ShutDown);
    node.settle();
    assert_eq!(node.closed, 1);
    let mut node = node.crash();
    node.metadata(vec![creation(key, TopicConfig::default())]);
    let repeat = node.produce(key, batch_of(5, 0, 4, &["v"]));
    assert_eq!((repeat.error, repeat.base_offset), (ErrorCode::None, 4));
    assert_eq!(
        node.produce(key, batch_of(5, 0, 6, &["v"])).error,
        ErrorCode::OutOfOrderSequenceNumber
    );
    assert_eq!(node.produce(key, batch_of(5, 0, 5, &["v"])).base_offset, 5);
}

#[test]
fn case_15_what_was_replayed_once_is_kept_by_the_next_checkpoint() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    node.produce(key, batch_of(5, 0, 0, &["v"]));
    // Replayed, claimed and written out; then replayed and written out before anybody claims it.
    for claimed in [true, false] {
        node = node.crash();
        if claimed {
            node.metadata(vec![creation(key, TopicConfig::default())]);
        }
        node.step(Event::ShutDown);
        node.settle();
    }
    let mut node = restart(node, &[key]);
    let repeat = node.produce(key, batch_of(5, 0, 0, &["v"]));
    assert_eq!((repeat.error, repeat.base_offset), (ErrorCode::None, 0));
    assert_eq!(node.read_all(key, 0).len(), 1);
}

#[test]
fn a_checkpoint_takes_producers_in_slices_while_they_go_on() {
    const PARTITIONS: i32 = 1_000;
    let log_options = LogOptions {
        checkpoint_interval_bytes: 32 << 20, // None while the batches are written.
        ..small_log()
    };
    let mut node = Node::over(ShardOptions::default(), 1, log_options);
    let keys: Vec<PartitionKey> = (0..PARTITIONS).map(|index| key(1, index)).collect();
    for key in &keys {
        node.create(1, key.partition, TopicConfig::default());
        node.produce(*key, batch_of(5, 0, 0, &["v"]));
    }
    // What is replayed is written out soon: all of it, while batches come between the slices.
    let mut node = restart(node, &keys);
    let mut slices = 0;
    let mut sent = 0;
    let done = |node: &Node| node.shard.log(0).statistics().checkpoints > 0;
    while !done(&node) {
        node.now.monotonic_us += 1_000;
        node.step(Event::Tick);
        if node.shard.next_deadline_us() == Some(node.now.monotonic_us) {
            slices += 1;
            for key in &keys[sent..sent + 50] {
                node.send(*key, batch_of(5, 0, 1, &["w"]), 1);
            }
            sent += 50;
        }
        node.one_io();
    }
    assert!(slices > 1 && sent < keys.len(), "{slices} slices");
    node.settle();
    let mut node = restart(node, &keys);
    for (index, key) in keys.iter().enumerate() {
        let newest = i32::from(index < sent);
        assert_eq!(described(&mut node, *key), vec![(5, newest)], "{key:?}");
        let again = node.produce(*key, batch_of(5, 0, 0, &["v"]));
        assert_eq!((again.error, again.base_offset), (ErrorCode::None, 0));
    }
}

#[test]
fn case_15_a_batch_lost_in_a_crash_is_no_duplicate_afterwards() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    node.produce(key, batch_of(5, 0, 0, &["v"]));
    node.send(key, batch_of(5, 0, 1, &["w"]), 1); // Never reaches the disk.
    let mut node = node.crash();
    node.metadata(vec![creation(key, TopicConfig::default())]);
    let again = node.produce(key, batch_of(5, 0, 1, &["w"]));
    assert_eq!((again.error, again.base_offset), (ErrorCode::None, 1));
    assert_eq!(node.read_all(key, 0).len(), 2);
}

#[test]
fn a_producer_unseen_for_a_day_is_forgotten_whatever_the_wall_clock_does() {
    let mut node = Node::with(
        ShardOptions {
            producer_expiration_ms: 60_000,
            ..ShardOptions::default()
        },
        1,
    );
    let key = node.create(1, 0, TopicConfig::default());
    node.produce(key, batch_of(5, 0, 0, &["v"]));
    node.now.wall_ms += 365 * 86_400_000;
    node.pass_ms(30_000);
    node.now.wall_ms -= 365 * 86_400_000;
    node.produce(key, batch_of(6, 0, 0, &["v"]));
    assert_eq!(described(&mut node, key), vec![(5, 0), (6, 0)]);
    node.pass_ms(31_000);
    assert_eq!(described(&mut node, key), vec![(6, 0)]);
    assert_eq!(
        node.produce(key, batch_of(5, 0, 0, &["v"])).base_offset,
        2,
        "a forgotten producer is a new one"
    );
    node.pass_ms(120_000);
    assert_eq!(described(&mut node, key), vec![]);
}

#[test]
fn a_partition_remembers_no_more_producers_than_it_may() {
    let mut node = Node::with(
        ShardOptions {
            producers_per_partition_max: 3,
            ..ShardOptions::default()
        },
        1,
    );
    let key = node.create(1, 0, TopicConfig::default());
    for producer in 0..5 {
        node.pass_ms(1);
        node.produce(key, batch_of(producer, 0, 0, &["v"]));
    }
    assert_eq!(described(&mut node, key), vec![(2, 0), (3, 0), (4, 0)]);
    assert!(
        node.messages
            .iter()
            .any(|message| message.to_string().contains("as many producers as it may"))
    );
}

fn described(node: &mut Node, key: PartitionKey) -> Vec<(i64, i32)> {
    let token = node.token();
    node.step(Event::DescribeProducers(DescribeProducersCommand {
        token,
        partitions: vec![key],
    }));
    match node.replies.remove(&token) {
        Some(Reply::DescribeProducers(replies)) => replies[0]
            .producers
            .iter()
            .map(|producer| (producer.producer_id, producer.last_sequence))
            .collect(),
        other => panic!("no answer: {other:?}"),
    }
}

/// A producer of the model: it retries what was not acknowledged, as real ones do.
#[derive(Default)]
struct Client {
    acknowledged: i32,
    in_flight: Vec<(RequestToken, i32)>,
}

impl Client {
    fn send(&mut self, node: &mut Node, key: PartitionKey, producer: i64) -> Option<String> {
        if self.in_flight.len() == 5 {
            return None;
        }
        let sequence = self.acknowledged + self.in_flight.len() as i32;
        let value = format!("{producer}-{sequence}");
        let token = node.send(key, batch_of(producer, 0, sequence, &[&value]), -1);
        self.in_flight.push((token, sequence));
        Some(format!("partition {} is sent {value}", key.partition))
    }

    fn take_answers(&mut self, node: &mut Node, context: &str) {
        while let Some((token, sequence)) = self.in_flight.first().copied() {
            let Some(Reply::Produce(replies)) = node.replies.remove(&token) else {
                return;
            };
            assert_eq!(
                replies[0].error,
                ErrorCode::None,
                "{sequence}: {replies:?} {context}"
            );
            self.in_flight.remove(0);
            self.acknowledged = sequence + 1;
        }
    }
}

fn restart(node: Node, keys: &[PartitionKey]) -> Node {
    let mut node = node.crash();
    node.metadata(
        keys.iter()
            .map(|key| creation(*key, TopicConfig::default()))
            .collect(),
    );
    node.settle();
    node
}

/// Seeded: producers send numbered values with up to five batches in flight, the disk does its work in part,
/// the process dies now and then, and every producer goes on from what it knows. What was acknowledged is
/// there once, in order, at the offset told.
#[test]
fn case_15_model_of_idempotent_producers_under_crashes() {
    for seed in 0..60 {
        run_model(seed, 150);
    }
}

fn run_model(seed: u64, steps: usize) {
    let mut random = Random(seed);
    let mut node = Node::new();
    let keys = [
        node.create(1, 0, TopicConfig::default()),
        node.create(1, 1, TopicConfig::default()),
    ];
    let mut clients: BTreeMap<(usize, i64), Client> = BTreeMap::new();
    for producer in 0..3 {
        clients.insert((0, producer), Client::default());
        clients.insert((1, producer), Client::default());
    }
    let mut trace = Vec::new();
    for step in 0..steps {
        match random.below(20) {
            0 => {
                trace.push(format!("{step}: crash"));
                node = restart(node, &keys);
                clients
                    .values_mut()
                    .for_each(|client| client.in_flight.clear());
            }
            1 => node.step(Event::Tick),
            2..=9 => {
                for _ in 0..random.below(4) {
                    node.one_io();
                }
            }
            _ => {
                let pick = random.below(6) as usize;
                let (name, client) = clients.iter_mut().nth(pick).expect("six clients");
                trace.extend(client.send(&mut node, keys[name.0], name.1));
            }
        }
        for (name, client) in &mut clients {
            client.take_answers(&mut node, &format!("seed {seed}, {name:?}\n{trace:#?}"));
        }
    }
    node.settle();
    for (partition, key) in keys.iter().enumerate() {
        let mut next: BTreeMap<i64, i32> = BTreeMap::new();
        for (offset, value) in node.read_all(*key, 0) {
            let text = String::from_utf8(value).expect("text");
            let (producer, sequence) = text.split_once('-').expect("producer-sequence");
            let producer: i64 = producer.parse().expect("a number");
            let expected = next.entry(producer).or_default();
            assert_eq!(
                sequence,
                expected.to_string(),
                "seed {seed}, partition {partition}, offset {offset}\n{trace:#?}"
            );
            *expected += 1;
        }
        for ((_, producer), client) in clients.iter().filter(|(name, _)| name.0 == partition) {
            let stored = next.get(producer).copied().unwrap_or(0);
            assert!(
                stored >= client.acknowledged,
                "seed {seed}: acknowledged records of {producer} are gone\n{trace:#?}"
            );
        }
    }
}
