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
