//! Cases 49 to 51: members of classic groups that are gone, fenced, or too many, and commits that carry too much.

use super::kafka::create_topic;
use super::support::{Client, Node};
use bytes::Bytes;
use odradek_protocol::messages::heartbeat_request::HeartbeatRequest;
use odradek_protocol::messages::heartbeat_response::HeartbeatResponse;
use odradek_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use odradek_protocol::messages::join_group_response::JoinGroupResponse;
use odradek_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use odradek_protocol::messages::offset_commit_response::OffsetCommitResponse;
use odradek_protocol::messages::sync_group_request::{
    SyncGroupRequest, SyncGroupRequestAssignment,
};
use odradek_protocol::messages::sync_group_response::SyncGroupResponse;
use odradek_protocol::{ApiKey, ErrorCode, StrBytes};
use std::time::Duration;

const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

fn join_request(group: &str, member: &str, instance: Option<&str>) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: StrBytes::from(group),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 2_000,
        member_id: StrBytes::from(member),
        group_instance_id: instance.map(StrBytes::from),
        protocol_type: StrBytes::from_static("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: StrBytes::from_static("range"),
            metadata: Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            ..JoinGroupRequestProtocol::default()
        }],
        ..JoinGroupRequest::default()
    }
}

/// One JoinGroup; again while the coordinator is made or loads.
fn join(
    client: &mut Client,
    group: &str,
    member: &str,
    instance: Option<&str>,
) -> JoinGroupResponse {
    let request = join_request(group, member, instance);
    for _ in 0..TRIES {
        let answer: JoinGroupResponse = client.call(ApiKey::JoinGroup, 7, &request);
        let waits = [
            ErrorCode::CoordinatorNotAvailable.code(),
            ErrorCode::CoordinatorLoadInProgress.code(),
            ErrorCode::NotCoordinator.code(),
        ];
        if !waits.contains(&answer.error_code) {
            return answer;
        }
        find_coordinator(client, group);
        std::thread::sleep(PAUSE);
    }
    panic!("group {group} got no coordinator");
}

/// The first question makes the offsets topic.
fn find_coordinator(client: &mut Client, group: &str) {
    use odradek_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
    let request = FindCoordinatorRequest {
        coordinator_keys: vec![StrBytes::from(group)],
        ..FindCoordinatorRequest::default()
    };
    let _: FindCoordinatorResponse = client.call(ApiKey::FindCoordinator, 4, &request);
}

/// Joins as a new member, with the second step that gives it an id (KIP-394).
fn join_anew(client: &mut Client, group: &str, instance: Option<&str>) -> JoinGroupResponse {
    let first = join(client, group, "", instance);
    if first.error_code != ErrorCode::MemberIdRequired.code() {
        return first;
    }
    join(client, group, &first.member_id, instance)
}

fn sync(client: &mut Client, group: &str, joined: &JoinGroupResponse) -> i16 {
    let request = SyncGroupRequest {
        group_id: StrBytes::from(group),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments: joined
            .members
            .iter()
            .map(|member| SyncGroupRequestAssignment {
                member_id: member.member_id.clone(),
                assignment: Bytes::from_static(b"all"),
                ..SyncGroupRequestAssignment::default()
            })
            .collect(),
        ..SyncGroupRequest::default()
    };
    let answer: SyncGroupResponse = client.call(ApiKey::SyncGroup, 3, &request);
    answer.error_code
}

fn heartbeat(
    client: &mut Client,
    group: &str,
    member: &str,
    generation_id: i32,
    instance: Option<&str>,
) -> i16 {
    let request = HeartbeatRequest {
        group_id: StrBytes::from(group),
        generation_id,
        member_id: StrBytes::from(member),
        group_instance_id: instance.map(StrBytes::from),
        ..HeartbeatRequest::default()
    };
    let answer: HeartbeatResponse = client.call(ApiKey::Heartbeat, 4, &request);
    answer.error_code
}

fn commit(
    client: &mut Client,
    group: &str,
    topic: &str,
    (member, generation): (&str, i32),
    metadata: &str,
) -> i16 {
    let request = OffsetCommitRequest {
        group_id: StrBytes::from(group),
        generation_id_or_member_epoch: generation,
        member_id: StrBytes::from(member),
        topics: vec![OffsetCommitRequestTopic {
            name: StrBytes::from(topic),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 1,
                committed_metadata: Some(StrBytes::from(metadata)),
                ..OffsetCommitRequestPartition::default()
            }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    let answer: OffsetCommitResponse = client.call(ApiKey::OffsetCommit, 8, &request);
    answer.topics[0].partitions[0].error_code
}

pub fn zombies(node: &Node) {
    const GROUP: &str = "zombies";
    let mut client = node.client();
    create_topic(&mut client, "zombie-topic", 1, &[]);
    let joined = join_anew(&mut client, GROUP, Some("instance"));
    assert_eq!(joined.error_code, 0);
    assert_eq!(sync(&mut client, GROUP, &joined), 0);
    let member = joined.member_id.to_string();
    let generation = joined.generation_id;
    let code = |error: ErrorCode| error.code();
    let client = &mut client;
    assert_eq!(heartbeat(client, GROUP, &member, generation, None), 0);
    assert_eq!(
        heartbeat(client, GROUP, &member, generation - 1, None),
        code(ErrorCode::IllegalGeneration)
    );
    assert_eq!(
        heartbeat(client, GROUP, "nobody", generation, None),
        code(ErrorCode::UnknownMemberId)
    );
    assert_eq!(
        heartbeat(client, GROUP, "impostor", generation, Some("instance")),
        code(ErrorCode::FencedInstanceId)
    );
    assert_eq!(
        commit(client, GROUP, "zombie-topic", (&member, generation - 1), ""),
        code(ErrorCode::IllegalGeneration)
    );
    assert_eq!(
        commit(client, GROUP, "zombie-topic", ("nobody", generation), ""),
        code(ErrorCode::UnknownMemberId)
    );
    let known = (member.as_str(), generation);
    assert_eq!(commit(client, GROUP, "zombie-topic", known, ""), 0);
}

pub fn large_metadata(node: &Node) {
    const GROUP: &str = "wordy";
    let mut client = node.client();
    create_topic(&mut client, "wordy-topic", 1, &[]);
    join_anew(&mut client, "makes-the-offsets-topic", None);
    let simple = ("", -1);
    let mut first = commit(&mut client, GROUP, "wordy-topic", simple, "few");
    for _ in 0..TRIES {
        if first == 0 {
            break;
        }
        std::thread::sleep(PAUSE);
        first = commit(&mut client, GROUP, "wordy-topic", simple, "few");
    }
    assert_eq!(first, 0);
    let found = commit(
        &mut client,
        GROUP,
        "wordy-topic",
        simple,
        &"w".repeat(4_097),
    );
    assert_eq!(found, ErrorCode::OffsetMetadataTooLarge.code());
    let found = commit(
        &mut client,
        GROUP,
        "wordy-topic",
        simple,
        &"w".repeat(4_096),
    );
    assert_eq!(found, 0);
}

/// Groups of this node take two members (`group.max.size`).
pub fn full_group(node: &Node) {
    const GROUP: &str = "full";
    let mut clients: Vec<Client> = (0..3).map(|_| node.client()).collect();
    let first = join_anew(&mut clients[0], GROUP, None);
    assert_eq!(first.error_code, 0);
    assert_eq!(sync(&mut clients[0], GROUP, &first), 0);
    // The second waits for the first to come again.
    let member = first.member_id.to_string();
    let mut again = clients.remove(0);
    let (second, rejoined) = std::thread::scope(|scope| {
        let second = scope.spawn(|| join_anew(&mut clients[0], GROUP, None));
        let mut rejoined = join(&mut again, GROUP, &member, None);
        while rejoined.error_code == 0 && rejoined.members.len() < 2 && !second.is_finished() {
            std::thread::sleep(PAUSE);
            rejoined = join(&mut again, GROUP, &member, None);
        }
        (second.join().expect("the second joins"), rejoined)
    });
    assert_eq!((second.error_code, rejoined.error_code), (0, 0));
    let third = join_anew(&mut clients[1], GROUP, None);
    assert_eq!(third.error_code, ErrorCode::GroupMaxSizeReached.code());
}
