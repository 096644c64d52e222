//! Requests: from Kafka's messages and to them. Responses are in `responses.rs`.

use odradek_protocol::ErrorCode;
use odradek_protocol::messages::{
    begin_quorum_epoch_request, describe_quorum_request, end_quorum_epoch_request, fetch_request,
    fetch_snapshot_request, vote_request,
};

use super::{METADATA_TOPIC, METADATA_TOPIC_ID, RequestBody, cluster_id, only, text};
use crate::consensus::message::{
    BeginQuorumEpochRequest, EndQuorumEpochRequest, FetchRequest, FetchSnapshotRequest, Request,
    VoteRequest,
};
use crate::consensus::types::{Endpoint, NO_DIRECTORY, OffsetAndEpoch, ReplicaKey};

/// Takes a decoded request apart.
///
/// # Errors
/// The top-level error to refuse it with (as `Response::Refused`): anything but one topic with
/// one partition, the metadata one, is INVALID_REQUEST; for DescribeQuorum
/// UNKNOWN_TOPIC_OR_PARTITION, which `write_response` puts where that API has it.
pub fn read_request(body: &RequestBody, version: i16) -> Result<Request, ErrorCode> {
    let read = match body {
        RequestBody::Vote(message) => read_vote(message),
        RequestBody::BeginQuorumEpoch(message) => read_begin(message),
        RequestBody::EndQuorumEpoch(message) => read_end(message, version),
        RequestBody::Fetch(message) => read_fetch(message, version),
        RequestBody::FetchSnapshot(message) => read_fetch_snapshot(message),
        RequestBody::DescribeQuorum(message) => {
            return only(&message.topics)
                .filter(|topic| &*topic.topic_name == METADATA_TOPIC)
                .and_then(|topic| only(&topic.partitions))
                .filter(|partition| partition.partition_index == 0)
                .map(|_| Request::DescribeQuorum)
                .ok_or(ErrorCode::UnknownTopicOrPartition);
        }
    };
    read.ok_or(ErrorCode::InvalidRequest)
}

/// The voter a request names; none without an id (version 0).
fn voter_key(id: i32, directory_id: odradek_protocol::Uuid) -> Option<ReplicaKey> {
    (id >= 0).then(|| ReplicaKey::new(id, directory_id))
}

fn read_vote(message: &vote_request::VoteRequest) -> Option<Request> {
    let topic = only(&message.topics).filter(|topic| &*topic.topic_name == METADATA_TOPIC)?;
    let partition = only(&topic.partitions).filter(|found| found.partition_index == 0)?;
    Some(Request::Vote(VoteRequest {
        cluster_id: cluster_id(&message.cluster_id),
        voter: voter_key(message.voter_id, partition.voter_directory_id),
        epoch: partition.replica_epoch,
        candidate: ReplicaKey::new(partition.replica_id, partition.replica_directory_id),
        last: OffsetAndEpoch::new(partition.last_offset, partition.last_offset_epoch),
        pre_vote: partition.pre_vote,
    }))
}

fn read_begin(message: &begin_quorum_epoch_request::BeginQuorumEpochRequest) -> Option<Request> {
    let topic = only(&message.topics).filter(|topic| &*topic.topic_name == METADATA_TOPIC)?;
    let partition = only(&topic.partitions).filter(|found| found.partition_index == 0)?;
    let endpoints = message
        .leader_endpoints
        .iter()
        .map(|endpoint| Endpoint {
            name: endpoint.name.to_string(),
            host: endpoint.host.to_string(),
            port: endpoint.port,
        })
        .collect();
    Some(Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
        cluster_id: cluster_id(&message.cluster_id),
        voter: voter_key(message.voter_id, partition.voter_directory_id),
        leader_id: partition.leader_id,
        epoch: partition.leader_epoch,
        endpoints,
    }))
}

fn read_end(
    message: &end_quorum_epoch_request::EndQuorumEpochRequest,
    version: i16,
) -> Option<Request> {
    let topic = only(&message.topics).filter(|topic| &*topic.topic_name == METADATA_TOPIC)?;
    let partition = only(&topic.partitions).filter(|found| found.partition_index == 0)?;
    let preferred = if version >= 1 {
        partition
            .preferred_candidates
            .iter()
            .map(|one| ReplicaKey::new(one.candidate_id, one.candidate_directory_id))
            .collect()
    } else {
        partition
            .preferred_successors
            .iter()
            .map(|id| ReplicaKey::without_directory(*id))
            .collect()
    };
    let endpoints = message
        .leader_endpoints
        .iter()
        .map(|endpoint| Endpoint {
            name: endpoint.name.to_string(),
            host: endpoint.host.to_string(),
            port: endpoint.port,
        })
        .collect();
    Some(Request::EndQuorumEpoch(EndQuorumEpochRequest {
        cluster_id: cluster_id(&message.cluster_id),
        leader_id: partition.leader_id,
        epoch: partition.leader_epoch,
        preferred,
        endpoints,
    }))
}

fn read_fetch(message: &fetch_request::FetchRequest, version: i16) -> Option<Request> {
    let topic = only(&message.topics).filter(|topic| {
        if version >= 13 {
            topic.topic_id == METADATA_TOPIC_ID
        } else {
            &*topic.topic == METADATA_TOPIC
        }
    })?;
    let partition = only(&topic.partitions).filter(|found| found.partition == 0)?;
    let replica_id = if version >= 15 {
        message.replica_state.replica_id
    } else {
        message.replica_id
    };
    Some(Request::Fetch(FetchRequest {
        cluster_id: cluster_id(&message.cluster_id),
        replica: ReplicaKey::new(replica_id, partition.replica_directory_id),
        wait_max_ms: message.max_wait_ms,
        bytes_max: message.max_bytes,
        epoch: partition.current_leader_epoch,
        fetch_offset: partition.fetch_offset,
        last_fetched_epoch: partition.last_fetched_epoch,
        high_watermark: partition.high_watermark,
    }))
}

fn read_fetch_snapshot(message: &fetch_snapshot_request::FetchSnapshotRequest) -> Option<Request> {
    let topic = only(&message.topics).filter(|topic| &*topic.name == METADATA_TOPIC)?;
    let partition = only(&topic.partitions).filter(|found| found.partition == 0)?;
    let id = &partition.snapshot_id;
    Some(Request::FetchSnapshot(FetchSnapshotRequest {
        cluster_id: cluster_id(&message.cluster_id),
        replica: ReplicaKey::new(message.replica_id, partition.replica_directory_id),
        bytes_max: message.max_bytes,
        epoch: partition.current_leader_epoch,
        snapshot_id: OffsetAndEpoch::new(id.end_offset, id.epoch),
        position: partition.position,
    }))
}

/// Makes the message of a request at a version both sides know.
///
/// # Errors
/// UNSUPPORTED_VERSION for what the version cannot say (a pre-vote below version 2): hand it to
/// the state machine as `Response::Refused`, which then goes on without pre-votes.
pub fn write_request(request: &Request, version: i16) -> Result<RequestBody, ErrorCode> {
    Ok(match request {
        Request::Vote(vote) if vote.pre_vote && version < 2 => {
            return Err(ErrorCode::UnsupportedVersion);
        }
        Request::Vote(vote) => write_vote(vote).into(),
        Request::BeginQuorumEpoch(begin) => write_begin(begin).into(),
        Request::EndQuorumEpoch(end) => write_end(end, version).into(),
        Request::Fetch(fetch) => write_fetch(fetch, version).into(),
        Request::FetchSnapshot(fetch) => write_fetch_snapshot(fetch).into(),
        Request::DescribeQuorum => {
            let partition = describe_quorum_request::PartitionData::default();
            describe_quorum_request::DescribeQuorumRequest {
                topics: vec![describe_quorum_request::TopicData {
                    topic_name: text(METADATA_TOPIC),
                    partitions: vec![partition],
                    ..Default::default()
                }],
                ..Default::default()
            }
            .into()
        }
    })
}

fn write_vote(vote: &VoteRequest) -> vote_request::VoteRequest {
    let partition = vote_request::PartitionData {
        partition_index: 0,
        replica_epoch: vote.epoch,
        replica_id: vote.candidate.id,
        replica_directory_id: vote.candidate.directory_id,
        voter_directory_id: vote.voter.map_or(NO_DIRECTORY, |key| key.directory_id),
        last_offset_epoch: vote.last.epoch,
        last_offset: vote.last.offset,
        pre_vote: vote.pre_vote,
        ..Default::default()
    };
    vote_request::VoteRequest {
        cluster_id: vote.cluster_id.as_deref().map(text),
        voter_id: vote.voter.map_or(-1, |key| key.id),
        topics: vec![vote_request::TopicData {
            topic_name: text(METADATA_TOPIC),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn write_begin(
    begin: &BeginQuorumEpochRequest,
) -> begin_quorum_epoch_request::BeginQuorumEpochRequest {
    let partition = begin_quorum_epoch_request::PartitionData {
        partition_index: 0,
        voter_directory_id: begin.voter.map_or(NO_DIRECTORY, |key| key.directory_id),
        leader_id: begin.leader_id,
        leader_epoch: begin.epoch,
        ..Default::default()
    };
    begin_quorum_epoch_request::BeginQuorumEpochRequest {
        cluster_id: begin.cluster_id.as_deref().map(text),
        voter_id: begin.voter.map_or(-1, |key| key.id),
        topics: vec![begin_quorum_epoch_request::TopicData {
            topic_name: text(METADATA_TOPIC),
            partitions: vec![partition],
            ..Default::default()
        }],
        leader_endpoints: begin
            .endpoints
            .iter()
            .map(|endpoint| begin_quorum_epoch_request::LeaderEndpoint {
                name: text(&endpoint.name),
                host: text(&endpoint.host),
                port: endpoint.port,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn write_end(
    end: &EndQuorumEpochRequest,
    version: i16,
) -> end_quorum_epoch_request::EndQuorumEpochRequest {
    let mut partition = end_quorum_epoch_request::PartitionData {
        partition_index: 0,
        leader_id: end.leader_id,
        leader_epoch: end.epoch,
        ..Default::default()
    };
    if version >= 1 {
        partition.preferred_candidates = end
            .preferred
            .iter()
            .map(|key| end_quorum_epoch_request::ReplicaInfo {
                candidate_id: key.id,
                candidate_directory_id: key.directory_id,
                ..Default::default()
            })
            .collect();
    } else {
        partition.preferred_successors = end.preferred.iter().map(|key| key.id).collect();
    }
    end_quorum_epoch_request::EndQuorumEpochRequest {
        cluster_id: end.cluster_id.as_deref().map(text),
        topics: vec![end_quorum_epoch_request::TopicData {
            topic_name: text(METADATA_TOPIC),
            partitions: vec![partition],
            ..Default::default()
        }],
        leader_endpoints: end
            .endpoints
            .iter()
            .map(|endpoint| end_quorum_epoch_request::LeaderEndpoint {
                name: text(&endpoint.name),
                host: text(&endpoint.host),
                port: endpoint.port,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn write_fetch(fetch: &FetchRequest, version: i16) -> fetch_request::FetchRequest {
    let partition = fetch_request::FetchPartition {
        partition: 0,
        current_leader_epoch: fetch.epoch,
        fetch_offset: fetch.fetch_offset,
        last_fetched_epoch: fetch.last_fetched_epoch,
        log_start_offset: -1,
        partition_max_bytes: 0,
        replica_directory_id: fetch.replica.directory_id,
        high_watermark: fetch.high_watermark,
        ..Default::default()
    };
    let mut message = fetch_request::FetchRequest {
        max_wait_ms: fetch.wait_max_ms,
        min_bytes: 0,
        max_bytes: fetch.bytes_max,
        cluster_id: fetch.cluster_id.as_deref().map(text),
        topics: vec![fetch_request::FetchTopic {
            topic: text(METADATA_TOPIC),
            topic_id: METADATA_TOPIC_ID,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    if version >= 15 {
        message.replica_state.replica_id = fetch.replica.id;
    } else {
        message.replica_id = fetch.replica.id;
    }
    message
}

fn write_fetch_snapshot(
    fetch: &FetchSnapshotRequest,
) -> fetch_snapshot_request::FetchSnapshotRequest {
    let partition = fetch_snapshot_request::PartitionSnapshot {
        partition: 0,
        current_leader_epoch: fetch.epoch,
        snapshot_id: fetch_snapshot_request::SnapshotId {
            end_offset: fetch.snapshot_id.offset,
            epoch: fetch.snapshot_id.epoch,
            ..Default::default()
        },
        position: fetch.position,
        replica_directory_id: fetch.replica.directory_id,
        ..Default::default()
    };
    fetch_snapshot_request::FetchSnapshotRequest {
        replica_id: fetch.replica.id,
        max_bytes: fetch.bytes_max,
        cluster_id: fetch.cluster_id.as_deref().map(text),
        topics: vec![fetch_snapshot_request::TopicSnapshot {
            name: text(METADATA_TOPIC),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}
