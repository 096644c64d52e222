//! A member of a classic group: finds its coordinator, joins, syncs, commits ever larger offsets for what it was assigned,
//! asks for them again, and leaves now and then.

use super::admin::LASTING_TOPIC;
use super::client::{Answer, Client, Hands, name};
use bytes::Bytes;
use odradek_protocol::consumer_protocol::consumer_protocol_assignment::TopicPartition;
use odradek_protocol::consumer_protocol::{self, Assignment, Subscription};
use odradek_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use odradek_protocol::messages::leave_group_request::MemberIdentity;
use odradek_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use odradek_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use odradek_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use odradek_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use odradek_protocol::{ApiKey, ErrorCode, StrBytes};

const GROUP: &str = "group";
const SESSION_TIMEOUT_MS: i32 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Finding,
    Joining,
    Syncing,
    Stable,
}

pub struct Member {
    stage: Stage,
    id: StrBytes,
    generation: i32,
    /// To give out, when this member leads: everyone's id.
    others: Vec<StrBytes>,
    owned: Vec<i32>,
    /// Offsets under way: partition and offset; or, for a fetch, what it must give at least.
    offsets: Vec<(i32, i64)>,
    out: bool,
}

fn code(number: i16) -> ErrorCode {
    ErrorCode::from_code(number).unwrap_or(ErrorCode::UnknownServerError)
}

impl Member {
    pub fn new() -> Self {
        Self {
            stage: Stage::Finding,
            id: StrBytes::EMPTY,
            generation: -1,
            others: Vec::new(),
            owned: Vec::new(),
            offsets: Vec::new(),
            out: false,
        }
    }

    fn find(&mut self, hands: &mut Hands<'_>) {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec![name(GROUP)],
            ..FindCoordinatorRequest::default()
        };
        hands.ask(ApiKey::FindCoordinator, 4, &request);
    }

    fn join(&mut self, hands: &mut Hands<'_>) {
        let subscription = Subscription {
            topics: vec![name(LASTING_TOPIC)],
            ..Subscription::default()
        };
        let metadata = consumer_protocol::encode(&subscription, 0).expect("a subscription encodes");
        let request = JoinGroupRequest {
            group_id: name(GROUP),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: SESSION_TIMEOUT_MS,
            member_id: self.id.clone(),
            protocol_type: StrBytes::from_static("consumer"),
            protocols: vec![JoinGroupRequestProtocol {
                name: StrBytes::from_static("range"),
                metadata,
                ..JoinGroupRequestProtocol::default()
            }],
            ..JoinGroupRequest::default()
        };
        hands.ask(ApiKey::JoinGroup, 9, &request);
    }

    fn sync(&mut self, hands: &mut Hands<'_>) {
        let partitions = hands
            .model
            .topics
            .get(LASTING_TOPIC)
            .map_or(0, |topic| topic.partitions);
        let members = self.others.len().max(1) as i32;
        let assignments = (0..).zip(&self.others).map(|(number, member): (i32, _)| {
            let assignment = Assignment {
                assigned_partitions: vec![TopicPartition {
                    topic: name(LASTING_TOPIC),
                    partitions: (0..partitions)
                        .filter(|index| index % members == number)
                        .collect(),
                    ..TopicPartition::default()
                }],
                ..Assignment::default()
            };
            SyncGroupRequestAssignment {
                member_id: member.clone(),
                assignment: consumer_protocol::encode(&assignment, 0)
                    .expect("an assignment encodes"),
                ..SyncGroupRequestAssignment::default()
            }
        });
        let request = SyncGroupRequest {
            group_id: name(GROUP),
            generation_id: self.generation,
            member_id: self.id.clone(),
            protocol_type: Some(StrBytes::from_static("consumer")),
            protocol_name: Some(StrBytes::from_static("range")),
            assignments: assignments.collect(),
            ..SyncGroupRequest::default()
        };
        hands.ask(ApiKey::SyncGroup, 5, &request);
    }

    fn commit(&mut self, hands: &mut Hands<'_>) {
        self.offsets = self
            .owned
            .iter()
            .map(|partition| (*partition, hands.model.next_commit(GROUP, *partition)))
            .collect();
        let partitions =
            self.offsets
                .iter()
                .map(|(partition, offset)| OffsetCommitRequestPartition {
                    partition_index: *partition,
                    committed_offset: *offset,
                    committed_metadata: Some(StrBytes::EMPTY),
                    ..OffsetCommitRequestPartition::default()
                });
        let request = OffsetCommitRequest {
            group_id: name(GROUP),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.clone(),
            topics: vec![OffsetCommitRequestTopic {
                name: name(LASTING_TOPIC),
                partitions: partitions.collect(),
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        hands.ask(ApiKey::OffsetCommit, 9, &request);
    }

    fn heartbeat(&mut self, hands: &mut Hands<'_>) {
        let request = HeartbeatRequest {
            group_id: name(GROUP),
            generation_id: self.generation,
            member_id: self.id.clone(),
            ..HeartbeatRequest::default()
        };
        hands.ask(ApiKey::Heartbeat, 4, &request);
    }

    fn leave(&mut self, hands: &mut Hands<'_>) {
        let request = LeaveGroupRequest {
            group_id: name(GROUP),
            members: vec![MemberIdentity {
                member_id: self.id.clone(),
                ..MemberIdentity::default()
            }],
            ..LeaveGroupRequest::default()
        };
        hands.ask(ApiKey::LeaveGroup, 5, &request);
        self.id = StrBytes::EMPTY;
        self.stage = Stage::Joining;
    }

    /// What an error of a group request means for what comes next.
    fn troubled(&mut self, hands: &mut Hands<'_>, api: ApiKey, error: ErrorCode) {
        self.stage = match error {
            ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorLoadInProgress => Stage::Finding,
            ErrorCode::RebalanceInProgress
            | ErrorCode::IllegalGeneration
            | ErrorCode::MemberIdRequired => Stage::Joining,
            ErrorCode::UnknownMemberId => {
                self.id = StrBytes::EMPTY;
                Stage::Joining
            }
            ErrorCode::UnknownServerError | ErrorCode::KafkaStorageError if hands.troubled => {
                Stage::Finding
            }
            other => {
                hands.broken(format!(
                    "{api:?} of a group member is answered with {other:?}"
                ));
                Stage::Finding
            }
        };
    }

    fn take_join(&mut self, hands: &mut Hands<'_>, response: &JoinGroupResponse) {
        match code(response.error_code) {
            ErrorCode::None => {
                self.id = response.member_id.detached();
                self.generation = response.generation_id;
                let members = response
                    .members
                    .iter()
                    .map(|member| member.member_id.detached());
                self.others = members.collect();
                self.stage = Stage::Syncing;
            }
            error => {
                if error == ErrorCode::MemberIdRequired {
                    self.id = response.member_id.detached();
                }
                self.troubled(hands, ApiKey::JoinGroup, error);
            }
        }
    }

    fn take_sync(&mut self, hands: &mut Hands<'_>, response: &SyncGroupResponse) {
        match code(response.error_code) {
            ErrorCode::None => {
                let bytes: Bytes = response.assignment.clone();
                let assignment = consumer_protocol::decode::<Assignment>(bytes).unwrap_or_default();
                let topics = assignment.assigned_partitions.iter();
                self.owned = topics.flat_map(|topic| topic.partitions.clone()).collect();
                self.stage = Stage::Stable;
            }
            error => self.troubled(hands, ApiKey::SyncGroup, error),
        }
    }

    fn take_commit(&mut self, hands: &mut Hands<'_>, response: &OffsetCommitResponse) {
        let offsets = std::mem::take(&mut self.offsets);
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            match code(partition.error_code) {
                ErrorCode::None => {
                    let of = offsets
                        .iter()
                        .find(|(index, _)| *index == partition.partition_index);
                    if let Some((index, offset)) = of {
                        hands.model.committed(GROUP, *index, *offset);
                    }
                }
                error => self.troubled(hands, ApiKey::OffsetCommit, error),
            }
        }
    }
}

/// Asks for a group's offsets of the lasting topic.
pub fn ask_offsets(hands: &mut Hands<'_>) -> Vec<(i32, i64)> {
    let partitions = hands
        .model
        .topics
        .get(LASTING_TOPIC)
        .map_or(0, |topic| topic.partitions);
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: name(GROUP),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: name(LASTING_TOPIC),
                partition_indexes: (0..partitions).collect(),
                ..OffsetFetchRequestTopics::default()
            }]),
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    hands.ask(ApiKey::OffsetFetch, 9, &request);
    (0..partitions)
        .map(|index| (index, hands.model.committed_at_least(GROUP, index)))
        .collect()
}

/// Holds fetched offsets against what they must be at least. An error to come back for, if there is one.
pub fn take_offsets(
    hands: &mut Hands<'_>,
    at_least: &[(i32, i64)],
    response: &OffsetFetchResponse,
) -> Option<ErrorCode> {
    let group = response.groups.first()?;
    if group.error_code != 0 {
        return Some(code(group.error_code));
    }
    for partition in group.topics.iter().flat_map(|topic| &topic.partitions) {
        if partition.error_code != 0 {
            return Some(code(partition.error_code));
        }
        let bound = at_least
            .iter()
            .find(|(index, _)| *index == partition.partition_index);
        let bound = bound.map_or(0, |(_, offset)| *offset);
        hands.model.commit_told(
            GROUP,
            partition.partition_index,
            bound,
            partition.committed_offset,
        );
    }
    None
}

impl Client for Member {
    fn wake(&mut self, hands: &mut Hands<'_>) {
        hands.wake(2_000, 200_000);
        let known = hands
            .model
            .live()
            .iter()
            .any(|(topic, ..)| topic == LASTING_TOPIC);
        if self.out || hands.ending || !known {
            return;
        }
        self.out = true;
        match self.stage {
            Stage::Finding => self.find(hands),
            Stage::Joining => self.join(hands),
            Stage::Syncing => self.sync(hands),
            Stage::Stable => match hands.random.below(20) {
                0..=9 if !self.owned.is_empty() => self.commit(hands),
                10..=13 => self.offsets = ask_offsets(hands),
                14 => self.leave(hands),
                _ => self.heartbeat(hands),
            },
        }
    }

    fn answer(&mut self, hands: &mut Hands<'_>, answer: Answer) {
        self.out = false;
        match answer.expected.api {
            ApiKey::FindCoordinator => {
                let response: FindCoordinatorResponse = answer.decode();
                match code(response.coordinators[0].error_code) {
                    ErrorCode::None => self.stage = Stage::Joining,
                    error => self.troubled(hands, ApiKey::FindCoordinator, error),
                }
            }
            ApiKey::JoinGroup => self.take_join(hands, &answer.decode()),
            ApiKey::SyncGroup => self.take_sync(hands, &answer.decode()),
            ApiKey::OffsetCommit => self.take_commit(hands, &answer.decode()),
            ApiKey::OffsetFetch => {
                let at_least = std::mem::take(&mut self.offsets);
                if let Some(error) = take_offsets(hands, &at_least, &answer.decode()) {
                    self.troubled(hands, ApiKey::OffsetFetch, error);
                }
            }
            ApiKey::Heartbeat => {
                let response: HeartbeatResponse = answer.decode();
                if response.error_code != 0 {
                    self.troubled(hands, ApiKey::Heartbeat, code(response.error_code));
                }
            }
            _ => {}
        }
    }

    fn lost(&mut self) {
        self.out = false;
        self.offsets.clear();
        self.stage = match self.stage {
            Stage::Stable => Stage::Stable,
            _ => Stage::Finding,
        };
    }

    fn waits_for(&self) -> String {
        format!("a member's answer while {:?}", self.stage)
    }

    fn idle(&self) -> bool {
        !self.out
    }
}
