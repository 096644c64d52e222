//! ListOffsets in all its sentinels, OffsetForLeaderEpoch, DeleteRecords, DescribeLogDirs.

mod common;

use common::*;
use odradek_protocol::ErrorCode;
use odradek_protocol::records::{BatchBuilder, Compression};
use odradek_shard::command::*;
use odradek_shard::config::{CleanupPolicy, TimestampType};
use odradek_shard::{Event, Reply, ShardOptions, TopicConfig};

fn list(node: &mut Node, key: PartitionKey, timestamp: i64) -> (ErrorCode, i64, i64, i32) {
    let token = node.token();
    let partitions = vec![ListOffsetsPartition {
        key,
        current_leader_epoch: -1,
        timestamp,
    }];
    node.step(Event::ListOffsets(ListOffsetsCommand {
        token,
        isolation: Isolation::ReadUncommitted,
        partitions,
    }));
    node.settle();
    match node.replies.remove(&token) {
        Some(Reply::ListOffsets(replies)) => {
            let reply = replies[0];
            (
                reply.error,
                reply.timestamp,
                reply.offset,
                reply.leader_epoch,
            )
        }
        other => panic!("no answer: {other:?}"),
    }
}

fn stamped(stamps: &[i64], compression: Compression) -> bytes::Bytes {
    let mut builder = BatchBuilder::new(0).compression(compression, None);
    for stamp in stamps {
        builder.push(START_MS + stamp, Some(b"k"), Some(b"v"), &[]);
    }
    builder.build().expect("a batch")
}

#[test]
fn list_offsets_knows_every_sentinel() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    assert_eq!(list(&mut node, key, -1), (ErrorCode::None, -1, 0, 0));
    assert_eq!(list(&mut node, key, -2), (ErrorCode::None, -1, 0, 0));
    assert_eq!(list(&mut node, key, -3), (ErrorCode::None, -1, -1, -1));
    node.produce(key, stamped(&[5, 9, 7], Compression::None));
    node.metadata(vec![PartitionChange::LeaderEpoch {
        key,
        leader_epoch: 4,
    }]);
    node.produce(key, stamped(&[6, 3], Compression::Lz4));
    assert_eq!(list(&mut node, key, -1), (ErrorCode::None, -1, 5, 4));
    assert_eq!(list(&mut node, key, -2), (ErrorCode::None, -1, 0, 0));
    assert_eq!(
        list(&mut node, key, -3),
        (ErrorCode::None, START_MS + 9, 1, 0)
    );
    assert_eq!(list(&mut node, key, -4), (ErrorCode::None, -1, 0, 0));
    assert_eq!(list(&mut node, key, -5), (ErrorCode::None, -1, -1, -1));
    assert_eq!(list(&mut node, key, -6), (ErrorCode::None, -1, -1, -1));
    assert_eq!(list(&mut node, key, -7).0, ErrorCode::UnsupportedVersion);
    assert_eq!(
        list(&mut node, common::key(9, 0), -1).0,
        ErrorCode::NotLeaderOrFollower
    );
}

#[test]
fn a_time_stamp_is_looked_up_to_the_record() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    node.produce(key, stamped(&[5, 9, 7], Compression::None));
    node.produce(key, stamped(&[6, 20, 30], Compression::Zstd));
    assert_eq!(
        list(&mut node, key, 0),
        (ErrorCode::None, START_MS + 5, 0, 0)
    );
    assert_eq!(
        list(&mut node, key, START_MS + 6),
        (ErrorCode::None, START_MS + 9, 1, 0)
    );
    assert_eq!(
        list(&mut node, key, START_MS + 10),
        (ErrorCode::None, START_MS + 20, 4, 0)
    );
    assert_eq!(
        list(&mut node, key, START_MS + 31),
        (ErrorCode::None, -1, -1, -1)
    );
    delete(&mut node, key, 2);
    assert_eq!(
        list(&mut node, key, START_MS + 6).2,
        2,
        "a record that was deleted is not found"
    );
}

#[test]
fn append_time_is_what_such_a_topic_is_searched_by() {
    let mut node = Node::new();
    let config = TopicConfig {
        timestamp_type: TimestampType::LogAppendTime,
        ..TopicConfig::default()
    };
    let key = node.create(1, 0, config);
    node.pass_ms(1_000);
    node.produce(key, stamped(&[5, 9], Compression::None));
    assert_eq!(
        list(&mut node, key, START_MS + 500),
        (ErrorCode::None, START_MS + 1_000, 0, 0)
    );
    assert_eq!(
        list(&mut node, key, -3),
        (ErrorCode::None, START_MS + 1_000, 0, 0)
    );
}

fn epoch_end(
    node: &mut Node,
    key: PartitionKey,
    leader_epoch: i32,
    current: i32,
) -> (ErrorCode, i32, i64) {
    let token = node.token();
    let partitions = vec![EpochPartition {
        key,
        current_leader_epoch: current,
        leader_epoch,
    }];
    node.step(Event::OffsetForLeaderEpoch(EpochsCommand {
        token,
        partitions,
    }));
    match node.replies.remove(&token) {
        Some(Reply::OffsetForLeaderEpoch(replies)) => (
            replies[0].error,
            replies[0].leader_epoch,
            replies[0].end_offset,
        ),
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn epochs_end_where_the_next_one_begins() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    node.metadata(vec![PartitionChange::LeaderEpoch {
        key,
        leader_epoch: 2,
    }]);
    node.produce(key, batch(&["a", "b"]));
    node.metadata(vec![PartitionChange::LeaderEpoch {
        key,
        leader_epoch: 5,
    }]);
    node.produce(key, batch(&["c"]));
    assert_eq!(epoch_end(&mut node, key, 2, -1), (ErrorCode::None, 2, 2));
    assert_eq!(epoch_end(&mut node, key, 4, -1), (ErrorCode::None, 2, 2));
    assert_eq!(epoch_end(&mut node, key, 5, 5), (ErrorCode::None, 5, 3));
    assert_eq!(epoch_end(&mut node, key, 6, -1), (ErrorCode::None, -1, -1));
    assert_eq!(epoch_end(&mut node, key, 1, -1), (ErrorCode::None, 1, 0));
    assert_eq!(
        epoch_end(&mut node, key, 5, 4).0,
        ErrorCode::FencedLeaderEpoch
    );
    assert_eq!(
        epoch_end(&mut node, key, 5, 6).0,
        ErrorCode::UnknownLeaderEpoch
    );
}

fn start_delete(node: &mut Node, key: PartitionKey, offset: i64) -> odradek_shard::RequestToken {
    let token = node.token();
    node.step(Event::DeleteRecords(DeleteRecordsCommand {
        token,
        partitions: vec![(key, offset)],
    }));
    token
}

fn deleted(node: &mut Node, token: odradek_shard::RequestToken) -> Option<(ErrorCode, i64)> {
    match node.replies.remove(&token) {
        Some(Reply::DeleteRecords(replies)) => Some((replies[0].error, replies[0].low_watermark)),
        None => None,
        other => panic!("no answer: {other:?}"),
    }
}

fn delete(node: &mut Node, key: PartitionKey, offset: i64) -> (ErrorCode, i64) {
    let token = start_delete(node, key, offset);
    node.settle();
    deleted(node, token).expect("an answer")
}

#[test]
fn case_17_deleted_records_stay_deleted_once_the_answer_is_out() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    for value in ["a", "b", "c", "d"] {
        node.produce(key, batch(&[value]));
    }
    let token = start_delete(&mut node, key, 2);
    assert_eq!(
        deleted(&mut node, token),
        None,
        "answered before it was durable"
    );
    node.settle();
    assert_eq!(deleted(&mut node, token), Some((ErrorCode::None, 2)));
    assert_eq!(node.fetch(key, 1).error, ErrorCode::OffsetOutOfRange);
    assert_eq!(delete(&mut node, key, 1), (ErrorCode::None, 2));
    assert_eq!(delete(&mut node, key, 5).0, ErrorCode::OffsetOutOfRange);
    assert_eq!(delete(&mut node, key, -2).0, ErrorCode::OffsetOutOfRange);
    let mut node = node.crash();
    node.metadata(vec![creation(key, TopicConfig::default())]);
    assert_eq!(list(&mut node, key, -2).2, 2);
    assert_eq!(node.read_all(key, 2).len(), 2);
    assert_eq!(delete(&mut node, key, -1), (ErrorCode::None, 4));
    assert_eq!(node.produce(key, batch(&["e"])).log_start_offset, 4);
    assert_eq!(node.read_all(key, 4), vec![(4, b"e".to_vec())]);
}

#[test]
fn records_of_a_topic_that_is_only_compacted_are_not_deleted() {
    let mut node = Node::new();
    let cleanup = CleanupPolicy {
        delete: false,
        compact: true,
    };
    let key = node.create(
        1,
        0,
        TopicConfig {
            cleanup,
            ..TopicConfig::default()
        },
    );
    assert_eq!(delete(&mut node, key, -1).0, ErrorCode::PolicyViolation);
    assert!(
        node.messages[0]
            .to_string()
            .contains("nothing is compacted yet")
    );
    assert_eq!(node.shard.statistics().topics_not_compacted, 1);
}

#[test]
fn log_directories_report_their_replicas_and_sizes() {
    let mut node = Node::with(ShardOptions::default(), 2);
    let first = node.create(1, 0, TopicConfig::default());
    let second = node.create(1, 1, TopicConfig::default());
    node.produce(second, batch(&["a"]));
    let token = node.token();
    node.step(Event::DescribeLogDirs(token));
    let Some(Reply::DescribeLogDirs(directories)) = node.replies.remove(&token) else {
        panic!("no answer")
    };
    assert_eq!(directories.len(), 2);
    let held: Vec<_> = directories
        .iter()
        .flat_map(|directory| directory.replicas.clone())
        .collect();
    assert_eq!(held.len(), 2);
    assert!(held.iter().any(|(key, bytes)| *key == first && *bytes == 0));
    assert!(held.iter().any(|(key, bytes)| *key == second && *bytes > 0));
    assert!(
        directories
            .iter()
            .all(|directory| directory.replicas.len() == 1),
        "partitions are spread"
    );
}
