//! Group coordinators over the log: what is answered is durable, and is there after a crash.

mod common;

use common::*;
use odradek_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use odradek_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use odradek_protocol::{ErrorCode, StrBytes};
use odradek_shard::command::*;
use odradek_shard::config::CleanupPolicy;
use odradek_shard::group::{ClientContext, GroupOptions, GroupRequest, GroupResponse};
use odradek_shard::{Event, GROUP_TOPIC, Reply, RequestToken, ShardOptions, TopicConfig};

fn offsets_topic() -> PartitionChange {
    let cleanup = CleanupPolicy {
        delete: false,
        compact: true,
    };
    creation_of(
        GROUP_TOPIC,
        key(9, 7),
        TopicConfig {
            cleanup,
            ..TopicConfig::default()
        },
    )
}

fn node() -> Node {
    let groups = Some(GroupOptions::with_seed((1, 2)));
    let mut node = Node::with(
        ShardOptions {
            groups,
            ..ShardOptions::default()
        },
        1,
    );
    node.metadata(vec![offsets_topic()]);
    node.pass_ms(10);
    node
}

/// Starts again after a crash and lets the coordinator load.
fn restarted(node: Node) -> Node {
    let mut node = node.crash();
    node.metadata(vec![offsets_topic()]);
    for _ in 0..100 {
        if node.shard.groups_loaded() {
            return node;
        }
        node.pass_ms(1);
    }
    panic!("the coordinator never loads");
}

fn ask(node: &mut Node, partition: i32, request: GroupRequest) -> RequestToken {
    let token = node.token();
    let context = ClientContext {
        api_version: 9,
        ..ClientContext::default()
    };
    node.step(Event::Group(GroupCommand {
        token,
        partition,
        context,
        request,
    }));
    token
}

fn commit(offset: i64) -> GroupRequest {
    GroupRequest::OffsetCommit(OffsetCommitRequest {
        group_id: StrBytes::from("group"),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: StrBytes::from("topic"),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 3,
                committed_offset: offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    })
}

fn committed(node: &mut Node, token: RequestToken) -> Option<i16> {
    match node.replies.remove(&token) {
        Some(Reply::Group(GroupResponse::OffsetCommit(response))) => {
            Some(response.topics[0].partitions[0].error_code)
        }
        None => None,
        other => panic!("no commit answer: {other:?}"),
    }
}

fn fetched(node: &mut Node) -> i64 {
    let group = OffsetFetchRequestGroup {
        group_id: StrBytes::from("group"),
        topics: None,
        ..Default::default()
    };
    let token = ask(
        node,
        7,
        GroupRequest::OffsetFetch {
            group,
            require_stable: true,
        },
    );
    node.settle();
    match node.replies.remove(&token) {
        Some(Reply::Group(GroupResponse::OffsetFetch(response))) => {
            assert_eq!(response.error_code, 0);
            response
                .topics
                .first()
                .map_or(-1, |topic| topic.partitions[0].committed_offset)
        }
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn a_commit_is_answered_when_durable_and_survives_a_crash() {
    let mut node = node();
    let token = ask(&mut node, 7, commit(41));
    assert_eq!(
        committed(&mut node, token),
        None,
        "answered before it was durable"
    );
    node.settle();
    assert_eq!(committed(&mut node, token), Some(0));
    for offset in 42..300 {
        let token = ask(&mut node, 7, commit(offset));
        node.settle();
        assert_eq!(committed(&mut node, token), Some(0));
    }
    ask(&mut node, 7, commit(999)); // Never reaches the disk.
    let mut node = restarted(node);
    assert_eq!(fetched(&mut node), 299);
}

#[test]
fn requests_to_a_partition_that_is_elsewhere_or_still_loads_are_refused() {
    let mut node = node();
    let token = ask(&mut node, 8, commit(1));
    assert_eq!(
        committed(&mut node, token),
        Some(ErrorCode::NotCoordinator.code())
    );
    let token = ask(&mut node, 7, commit(1));
    node.settle();
    assert_eq!(committed(&mut node, token), Some(0));
    let mut node = node.crash();
    node.metadata(vec![offsets_topic()]);
    assert!(!node.shard.groups_loaded(), "the load waits for the disk");
    let token = ask(&mut node, 7, commit(2));
    assert_eq!(
        committed(&mut node, token),
        Some(ErrorCode::CoordinatorLoadInProgress.code())
    );
    let mut node = restarted(node);
    assert_eq!(fetched(&mut node), 1);
}

#[test]
fn what_waits_for_a_partition_that_leaves_is_sent_elsewhere() {
    let mut node = node();
    let token = ask(&mut node, 7, commit(1));
    node.metadata(vec![PartitionChange::Delete { key: key(9, 7) }]);
    node.settle();
    assert_eq!(
        committed(&mut node, token),
        Some(ErrorCode::NotCoordinator.code())
    );
}

#[test]
fn offsets_of_a_deleted_topic_are_forgotten_durably() {
    let mut node = node();
    let token = ask(&mut node, 7, commit(5));
    node.settle();
    assert_eq!(committed(&mut node, token), Some(0));
    node.metadata(vec![PartitionChange::TopicDeleted {
        topic_name: "topic".into(),
    }]);
    node.settle();
    assert_eq!(fetched(&mut node), -1);
    let mut node = restarted(node);
    assert_eq!(fetched(&mut node), -1);
}
