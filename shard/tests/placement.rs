//! What the metadata says and what the log holds: adoption, deletion, strays (case 17), idle cost (case 11).

mod common;

use std::sync::Arc;

use common::*;
use odradek_protocol::ErrorCode;
use odradek_shard::command::*;
use odradek_shard::message::Message;
use odradek_shard::partition::Partition;
use odradek_shard::{Event, ShardOptions, TopicConfig};
use odradek_wal::IoFailureKind;

fn caught_up(metadata_offset: i64) -> PartitionChange {
    PartitionChange::CaughtUp {
        metadata_offset,
        unfenced: true,
    }
}

fn strays_of(options: ShardOptions, partitions: i32, known: i32) -> Node {
    let mut node = Node::with(options, 1);
    let all = (0..partitions)
        .map(|partition| creation(key(1, partition), TopicConfig::default()))
        .collect();
    node.metadata(all);
    node.settle();
    let mut node = node.crash();
    let some = (0..known)
        .map(|partition| creation(key(1, partition), TopicConfig::default()))
        .collect();
    node.metadata(some);
    node
}

fn replicas(node: &Node) -> usize {
    node.shard.log(0).replicas().count()
}

#[test]
fn case_17_a_restarted_node_serves_what_it_held() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    node.produce(key, batch(&["a"]));
    let mut node = node.crash();
    assert_eq!(
        node.fetch(key, 0).error,
        ErrorCode::NotLeaderOrFollower,
        "served before the metadata says so"
    );
    node.metadata(vec![creation(key, TopicConfig::default())]);
    assert_eq!(node.read_all(key, 0).len(), 1);
    assert_eq!(replicas(&node), 1, "adopted, not made anew");
}

#[test]
fn case_17_strays_rest_an_hour_and_a_late_claim_saves_them() {
    let mut node = strays_of(ShardOptions::default(), 20, 18);
    node.metadata(vec![caught_up(9)]);
    node.pass_ms(4_000_000);
    assert_eq!(
        replicas(&node),
        20,
        "judged by an image older than their creation"
    );
    node.metadata(vec![caught_up(10)]);
    node.pass_ms(3_000_000);
    assert_eq!(replicas(&node), 20, "deleted before they had rested");
    node.metadata(vec![creation(key(1, 18), TopicConfig::default())]);
    node.pass_ms(700_000);
    assert_eq!(replicas(&node), 19);
    assert_eq!(node.fetch(key(1, 18), 0).error, ErrorCode::None);
}

#[test]
fn case_17_many_strays_wait_for_an_operator() {
    let mut node = strays_of(ShardOptions::default(), 20, 5);
    node.metadata(vec![PartitionChange::CaughtUp {
        metadata_offset: 50,
        unfenced: false,
    }]);
    assert!(node.messages.is_empty(), "judged while fenced");
    node.metadata(vec![caught_up(50)]);
    assert!(
        node.messages
            .iter()
            .any(|message| message.to_string().starts_with("15 of 20 replicas"))
    );
    node.pass_ms(8_000_000);
    assert_eq!(replicas(&node), 20);
    node.step(Event::AllowStrays);
    node.pass_ms(3_700_000);
    assert_eq!(replicas(&node), 5);
}

#[test]
fn case_17_replicas_are_claimed_in_whatever_order_their_partitions_come() {
    for step in [1, 7, 11, 23] {
        let mut node = Node::with(ShardOptions::default(), 2);
        let keys: Vec<_> = (0..24)
            .map(|number| key(number / 8 + 1, i32::from(number % 8)))
            .collect();
        for (number, key) in keys.iter().enumerate() {
            node.create(key.topic_id.0[0], key.partition, TopicConfig::default());
            node.produce(*key, batch(&[&format!("{number}")]));
        }
        let mut node = node.crash();
        for number in 0..24 {
            let key = keys[(5 + number * step) % 24];
            node.metadata(vec![creation(key, TopicConfig::default())]);
            // And one that is new in between.
            node.metadata(vec![creation(key_of_new(number), TopicConfig::default())]);
        }
        node.settle();
        for (number, key) in keys.iter().enumerate() {
            let read = node.read_all(*key, 0);
            assert_eq!(read, [(0, format!("{number}").into_bytes())], "step {step}");
        }
        let all: usize = (0..2)
            .map(|directory| node.shard.log(directory).replicas().count())
            .sum();
        assert_eq!(all, 48, "adopted, not made anew");
    }
}

fn key_of_new(number: usize) -> PartitionKey {
    key(200, number as i32)
}

#[test]
fn what_a_snapshot_names_is_taken_up_and_nothing_of_it_goes_before_the_broker_serves() {
    let short = || TopicConfig {
        retention_ms: 1_000,
        segment_ms: 1_000,
        ..TopicConfig::default()
    };
    let mut node = Node::new();
    let known = node.create(1, 0, short());
    node.produce(known, batch(&["a"]));
    let mut node = node.crash();
    let adopt = |node: &mut Node, change: PartitionChange| match change {
        PartitionChange::Create(create) => node.shard.adopt(node.now, &create),
        other => panic!("{other:?}"),
    };
    assert!(adopt(&mut node, creation(known, short())));
    assert!(adopt(&mut node, creation(known, short())), "twice is once");
    let new = creation(key(1, 1), TopicConfig::default());
    assert!(!adopt(&mut node, new), "nothing of it was recovered");
    node.pass_ms(1_200_000);
    assert_eq!(
        node.read_all(known, 0).len(),
        1,
        "deleted by a retention that the log may say more of"
    );
    // What the log says comes as ever.
    node.metadata(vec![PartitionChange::Config {
        topic_id: known.topic_id,
        config: Arc::new(TopicConfig::default()),
    }]);
    node.metadata(vec![caught_up(10)]);
    node.pass_ms(1_200_000);
    assert_eq!(node.read_all(known, 0).len(), 1);
    node.metadata(vec![PartitionChange::Config {
        topic_id: known.topic_id,
        config: Arc::new(short()),
    }]);
    node.pass_ms(1_200_000);
    assert_eq!(node.fetch(known, 1).log_start_offset, 1);
}

#[test]
fn a_deleted_topic_is_gone_and_its_name_may_come_back_empty() {
    let mut node = Node::new();
    let first = node.create(1, 0, TopicConfig::default());
    node.produce(first, batch(&["a"]));
    let in_flight = node.send(first, batch(&["b"]), -1);
    node.metadata(vec![PartitionChange::Delete { key: first }]);
    let second = node.create(2, 0, TopicConfig::default());
    assert!(node.replies.remove(&in_flight).is_some());
    assert_eq!(node.fetch(first, 0).error, ErrorCode::NotLeaderOrFollower);
    assert!(node.read_all(second, 0).is_empty());
    assert_eq!(node.produce(second, batch(&["c"])).base_offset, 0);
    assert_eq!(replicas(&node), 1);
}

#[test]
fn the_directory_assigned_is_the_one_used() {
    let mut node = Node::with(ShardOptions::default(), 3);
    for partition in 0..3 {
        let PartitionChange::Create(create) = creation(key(1, partition), TopicConfig::default())
        else {
            unreachable!()
        };
        let directory = Some(directory_id(2));
        node.metadata(vec![PartitionChange::Create(CreatePartition {
            directory,
            ..create
        })]);
    }
    assert!(
        (0..3)
            .all(|partition| node.shard.directory_of(&key(1, partition)) == Some(directory_id(2)))
    );
}

#[test]
fn a_changed_configuration_takes_effect() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    let config = Arc::new(TopicConfig {
        max_message_bytes: 70,
        ..TopicConfig::default()
    });
    node.metadata(vec![PartitionChange::Config {
        topic_id: key.topic_id,
        config,
    }]);
    assert_eq!(
        node.produce(key, batch(&["a long enough value"])).error,
        ErrorCode::MessageTooLarge
    );
}

#[test]
fn case_11_an_idle_partition_costs_its_slot_and_no_deadline() {
    assert!(
        size_of::<Partition>() <= 160,
        "{} bytes",
        size_of::<Partition>()
    );
    let mut node = Node::new();
    node.metadata(
        (0..5_000)
            .map(|partition| creation(key(1, partition), TopicConfig::default()))
            .collect(),
    );
    node.settle();
    assert_eq!(node.shard.next_deadline_us(), None);
    assert_eq!(node.shard.statistics().partitions, 5_000);
}

#[test]
fn what_a_log_had_no_room_for_is_placed_when_there_is() {
    let mut node = Node::new();
    let first = node.create(1, 0, TopicConfig::default());
    // A write that does not end: the log refuses whatever comes meanwhile.
    node.send(first, batch(&["a"]), -1);
    node.now.monotonic_us += 3_000_000;
    node.now.wall_ms += 3_000;
    node.step(Event::Tick);
    let waiting = key(1, 1);
    let deleted = key(1, 2);
    node.metadata(vec![
        creation(waiting, TopicConfig::default()),
        creation(deleted, TopicConfig::default()),
    ]);
    assert_eq!(replicas(&node), 1);
    node.step(Event::Tick);
    assert_eq!(node.shard.leader_epoch(&waiting), None);
    // What the metadata say meanwhile holds for what waits.
    node.metadata(vec![
        PartitionChange::LeaderEpoch {
            key: waiting,
            leader_epoch: 7,
        },
        PartitionChange::Delete { key: deleted },
    ]);
    node.settle();
    node.pass_ms(1_000);
    assert_eq!(node.shard.leader_epoch(&waiting), Some(7));
    assert_eq!(node.shard.leader_epoch(&deleted), None);
    assert_eq!(replicas(&node), 2);
    let produced = node.produce(waiting, batch(&["b"]));
    assert_eq!(produced.error, ErrorCode::None);
}

#[test]
fn what_waits_for_room_on_a_disk_that_fails_is_refused_once() {
    let mut node = Node::new();
    let first = node.create(1, 0, TopicConfig::default());
    node.send(first, batch(&["a"]), -1);
    node.now.monotonic_us += 3_000_000;
    node.now.wall_ms += 3_000;
    node.step(Event::Tick);
    let waiting = key(1, 1);
    node.metadata(vec![creation(waiting, TopicConfig::default())]);
    node.fail_io(IoFailureKind::Device);
    assert_eq!(node.offline, vec![0]);
    for _ in 0..20 {
        node.pass_ms(50);
    }
    let of_it = |message: &&Message| matches!(message, Message::AppendRefused { key, .. } if *key == waiting);
    // That it waits, and that it waits no more.
    assert_eq!(node.messages.iter().filter(of_it).count(), 2);
}
