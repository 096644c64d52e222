//! Responses: to Kafka's messages and from them. Requests are in `requests.rs`.

use bytes::{Bytes, BytesMut};
use odradek_protocol::ErrorCode;
use odradek_protocol::messages::{
    begin_quorum_epoch_response, describe_quorum_response, end_quorum_epoch_response,
    fetch_response, fetch_snapshot_response, vote_response,
};

use super::{
    METADATA_TOPIC, METADATA_TOPIC_ID, MalformedResponse, ResponseBody, error_of, key, leader_of,
    only, text, unnamed_endpoint,
};
use crate::consensus::message::{
    FetchResult, FetchSnapshotResult, QuorumDescription, QuorumResponse, ReplicaDescription,
    Response, VoteResult,
};
use crate::consensus::types::{Endpoint, LeaderAndEpoch, OffsetAndEpoch, ReplicaKey};

/// Makes the message that answers a request of `api_key` at `version`; `Refused` becomes that
/// API's top-level error.
///
/// # Panics
/// When the answer is not of that API, or the key is none of the six raft ones.
pub fn write_response(response: &Response, api_key: i16, version: i16) -> ResponseBody {
    match response {
        Response::Refused { error } => refuse(*error, api_key),
        Response::Vote(quorum, result) => write_vote(quorum, *result, version).into(),
        Response::BeginQuorumEpoch(quorum) => write_begin(quorum, version).into(),
        Response::EndQuorumEpoch(quorum) => write_end(quorum, version).into(),
        Response::Fetch(quorum, result) => write_fetch(quorum, result, version).into(),
        Response::FetchSnapshot(quorum, result) => {
            write_fetch_snapshot(quorum, result, version).into()
        }
        Response::DescribeQuorum(description) => write_describe(description, version).into(),
    }
}

fn refuse(error: ErrorCode, api_key: i16) -> ResponseBody {
    let error_code = error.code();
    match api_key {
        key::VOTE => vote_response::VoteResponse {
            error_code,
            ..Default::default()
        }
        .into(),
        key::BEGIN_QUORUM_EPOCH => begin_quorum_epoch_response::BeginQuorumEpochResponse {
            error_code,
            ..Default::default()
        }
        .into(),
        key::END_QUORUM_EPOCH => end_quorum_epoch_response::EndQuorumEpochResponse {
            error_code,
            ..Default::default()
        }
        .into(),
        key::FETCH => fetch_response::FetchResponse {
            error_code,
            ..Default::default()
        }
        .into(),
        key::FETCH_SNAPSHOT => fetch_snapshot_response::FetchSnapshotResponse {
            error_code,
            ..Default::default()
        }
        .into(),
        key::DESCRIBE_QUORUM => describe_error(error).into(),
        other => panic!("API key {other} is not a raft request"),
    }
}

/// DescribeQuorum tells all of its errors at the partition.
fn describe_error(error: ErrorCode) -> describe_quorum_response::DescribeQuorumResponse {
    let partition = describe_quorum_response::PartitionData {
        partition_index: 0,
        error_code: error.code(),
        ..Default::default()
    };
    describe_quorum_response::DescribeQuorumResponse {
        topics: vec![describe_quorum_response::TopicData {
            topic_name: text(METADATA_TOPIC),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Leader id on the wire.
fn leader_id(quorum: &QuorumResponse) -> i32 {
    quorum.leader.leader_id.unwrap_or(-1)
}

/// The leader's endpoint, when both are known.
fn endpoint(quorum: &QuorumResponse) -> Option<(i32, &Endpoint)> {
    quorum.leader.leader_id.zip(quorum.leader_endpoint.as_ref())
}

fn write_vote(
    quorum: &QuorumResponse,
    result: VoteResult,
    version: i16,
) -> vote_response::VoteResponse {
    let node = |(node_id, endpoint): (i32, &Endpoint)| vote_response::NodeEndpoint {
        node_id,
        host: text(&endpoint.host),
        port: endpoint.port,
        ..Default::default()
    };
    let partition = vote_response::PartitionData {
        partition_index: 0,
        error_code: quorum.error.code(),
        leader_id: leader_id(quorum),
        leader_epoch: quorum.leader.epoch,
        vote_granted: result.granted,
        ..Default::default()
    };
    vote_response::VoteResponse {
        topics: vec![vote_response::TopicData {
            topic_name: text(METADATA_TOPIC),
            partitions: vec![partition],
            ..Default::default()
        }],
        node_endpoints: endpoint(quorum)
            .filter(|_| version >= 1)
            .map(node)
            .into_iter()
            .collect(),
        ..Default::default()
    }
}

/// Begin and End answer alike, in messages of their own.
macro_rules! write_epoch_response {
    ($function:ident, $module:ident, $message:ident) => {
        fn $function(quorum: &QuorumResponse, version: i16) -> $module::$message {
            let node = |(node_id, endpoint): (i32, &Endpoint)| $module::NodeEndpoint {
                node_id,
                host: text(&endpoint.host),
                port: endpoint.port,
                ..Default::default()
            };
            let partition = $module::PartitionData {
                partition_index: 0,
                error_code: quorum.error.code(),
                leader_id: leader_id(quorum),
                leader_epoch: quorum.leader.epoch,
                ..Default::default()
            };
            $module::$message {
                topics: vec![$module::TopicData {
                    topic_name: text(METADATA_TOPIC),
                    partitions: vec![partition],
                    ..Default::default()
                }],
                node_endpoints: endpoint(quorum)
                    .filter(|_| version >= 1)
                    .map(node)
                    .into_iter()
                    .collect(),
                ..Default::default()
            }
        }
    };
}

write_epoch_response!(
    write_begin,
    begin_quorum_epoch_response,
    BeginQuorumEpochResponse
);
write_epoch_response!(write_end, end_quorum_epoch_response, EndQuorumEpochResponse);

fn write_fetch(
    quorum: &QuorumResponse,
    result: &FetchResult,
    version: i16,
) -> fetch_response::FetchResponse {
    let mut partition = fetch_response::PartitionData {
        partition_index: 0,
        error_code: quorum.error.code(),
        high_watermark: result.high_watermark,
        log_start_offset: result.log_start,
        records: Some(joined(&result.records)),
        ..Default::default()
    };
    if version >= 12 {
        partition.current_leader.leader_id = leader_id(quorum);
        partition.current_leader.leader_epoch = quorum.leader.epoch;
        if let Some(at) = result.diverging {
            partition.diverging_epoch.epoch = at.epoch;
            partition.diverging_epoch.end_offset = at.offset;
        }
        if let Some(id) = result.snapshot_id {
            partition.snapshot_id.end_offset = id.offset;
            partition.snapshot_id.epoch = id.epoch;
        }
    }
    let node = |(node_id, endpoint): (i32, &Endpoint)| fetch_response::NodeEndpoint {
        node_id,
        host: text(&endpoint.host),
        port: i32::from(endpoint.port),
        ..Default::default()
    };
    fetch_response::FetchResponse {
        responses: vec![fetch_response::FetchableTopicResponse {
            topic: text(METADATA_TOPIC),
            topic_id: METADATA_TOPIC_ID,
            partitions: vec![partition],
            ..Default::default()
        }],
        node_endpoints: endpoint(quorum)
            .filter(|_| version >= 17)
            .map(node)
            .into_iter()
            .collect(),
        ..Default::default()
    }
}

/// One piece as it is, several as one copy.
fn joined(records: &[Bytes]) -> Bytes {
    match records {
        [] => Bytes::new(),
        [one] => one.clone(),
        several => {
            let mut all = BytesMut::with_capacity(several.iter().map(Bytes::len).sum());
            for bytes in several {
                all.extend_from_slice(bytes);
            }
            all.freeze()
        }
    }
}

fn write_fetch_snapshot(
    quorum: &QuorumResponse,
    result: &FetchSnapshotResult,
    version: i16,
) -> fetch_snapshot_response::FetchSnapshotResponse {
    let partition = fetch_snapshot_response::PartitionSnapshot {
        index: 0,
        error_code: quorum.error.code(),
        snapshot_id: fetch_snapshot_response::SnapshotId {
            end_offset: result.snapshot_id.offset,
            epoch: result.snapshot_id.epoch,
            ..Default::default()
        },
        size: result.size_bytes,
        position: result.position,
        unaligned_records: Some(result.bytes.clone()),
        current_leader: fetch_snapshot_response::LeaderIdAndEpoch {
            leader_id: leader_id(quorum),
            leader_epoch: quorum.leader.epoch,
            ..Default::default()
        },
        ..Default::default()
    };
    let node = |(node_id, endpoint): (i32, &Endpoint)| fetch_snapshot_response::NodeEndpoint {
        node_id,
        host: text(&endpoint.host),
        port: endpoint.port,
        ..Default::default()
    };
    fetch_snapshot_response::FetchSnapshotResponse {
        topics: vec![fetch_snapshot_response::TopicSnapshot {
            name: text(METADATA_TOPIC),
            partitions: vec![partition],
            ..Default::default()
        }],
        node_endpoints: endpoint(quorum)
            .filter(|_| version >= 1)
            .map(node)
            .into_iter()
            .collect(),
        ..Default::default()
    }
}

fn write_describe(
    description: &QuorumDescription,
    version: i16,
) -> describe_quorum_response::DescribeQuorumResponse {
    if description.error != ErrorCode::None {
        return describe_error(description.error);
    }
    let replica = |one: &ReplicaDescription| {
        let mut state = describe_quorum_response::ReplicaState {
            replica_id: one.key.id,
            log_end_offset: one.log_end_offset,
            last_fetch_timestamp: one.last_fetch_ms,
            last_caught_up_timestamp: one.last_caught_up_ms,
            ..Default::default()
        };
        if version >= 2 {
            state.replica_directory_id = one.key.directory_id;
        }
        state
    };
    let partition = describe_quorum_response::PartitionData {
        partition_index: 0,
        leader_id: description.leader.leader_id.unwrap_or(-1),
        leader_epoch: description.leader.epoch,
        high_watermark: description.high_watermark,
        current_voters: description.voters.iter().map(replica).collect(),
        observers: description.observers.iter().map(replica).collect(),
        ..Default::default()
    };
    let nodes = description.nodes.iter().filter(|_| version >= 2);
    describe_quorum_response::DescribeQuorumResponse {
        topics: vec![describe_quorum_response::TopicData {
            topic_name: text(METADATA_TOPIC),
            partitions: vec![partition],
            ..Default::default()
        }],
        nodes: nodes
            .map(|(node_id, endpoints)| describe_quorum_response::Node {
                node_id: *node_id,
                listeners: endpoints
                    .iter()
                    .map(|endpoint| describe_quorum_response::Listener {
                        name: text(&endpoint.name),
                        host: text(&endpoint.host),
                        port: endpoint.port,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// Takes a decoded response apart.
///
/// # Errors
/// [`MalformedResponse`]: not one topic with one partition.
pub fn read_response(body: &ResponseBody) -> Result<Response, MalformedResponse> {
    let read = match body {
        ResponseBody::Vote(message) => read_vote(message),
        ResponseBody::BeginQuorumEpoch(message) => read_begin(message),
        ResponseBody::EndQuorumEpoch(message) => read_end(message),
        ResponseBody::Fetch(message) => read_fetch(message),
        ResponseBody::FetchSnapshot(message) => read_fetch_snapshot(message),
        ResponseBody::DescribeQuorum(message) => read_describe(message),
    };
    read.ok_or(MalformedResponse)
}

/// A top-level error alone, when there is one.
fn refused(error_code: i16) -> Option<Response> {
    let error = error_of(error_code);
    error.is_error().then_some(Response::Refused { error })
}

fn read_vote(message: &vote_response::VoteResponse) -> Option<Response> {
    if let Some(refused) = refused(message.error_code) {
        return Some(refused);
    }
    let partition = only(&only(&message.topics)?.partitions)?;
    let node = message
        .node_endpoints
        .iter()
        .find(|node| node.node_id == partition.leader_id);
    let quorum = QuorumResponse {
        error: error_of(partition.error_code),
        leader: leader_of(partition.leader_id, partition.leader_epoch),
        leader_endpoint: node.map(|node| unnamed_endpoint(&node.host, node.port)),
    };
    let granted = partition.vote_granted;
    Some(Response::Vote(quorum, VoteResult { granted }))
}

macro_rules! read_epoch_response {
    ($function:ident, $module:ident, $message:ident, $variant:ident) => {
        fn $function(message: &$module::$message) -> Option<Response> {
            if let Some(refused) = refused(message.error_code) {
                return Some(refused);
            }
            let partition = only(&only(&message.topics)?.partitions)?;
            let node = message
                .node_endpoints
                .iter()
                .find(|node| node.node_id == partition.leader_id);
            Some(Response::$variant(QuorumResponse {
                error: error_of(partition.error_code),
                leader: leader_of(partition.leader_id, partition.leader_epoch),
                leader_endpoint: node.map(|node| unnamed_endpoint(&node.host, node.port)),
            }))
        }
    };
}

read_epoch_response!(
    read_begin,
    begin_quorum_epoch_response,
    BeginQuorumEpochResponse,
    BeginQuorumEpoch
);
read_epoch_response!(
    read_end,
    end_quorum_epoch_response,
    EndQuorumEpochResponse,
    EndQuorumEpoch
);

fn read_fetch(message: &fetch_response::FetchResponse) -> Option<Response> {
    if let Some(refused) = refused(message.error_code) {
        return Some(refused);
    }
    let partition = only(&only(&message.responses)?.partitions)?;
    let told = &partition.current_leader;
    let node = message
        .node_endpoints
        .iter()
        .find(|node| node.node_id == told.leader_id)
        .and_then(|node| Some(unnamed_endpoint(&node.host, u16::try_from(node.port).ok()?)));
    let quorum = QuorumResponse {
        error: error_of(partition.error_code),
        leader: leader_of(told.leader_id, told.leader_epoch),
        leader_endpoint: node,
    };
    let diverging = &partition.diverging_epoch;
    let snapshot = &partition.snapshot_id;
    let records = partition.records.clone().filter(|bytes| !bytes.is_empty());
    let result = FetchResult {
        high_watermark: partition.high_watermark,
        log_start: partition.log_start_offset,
        diverging: (diverging.epoch >= 0)
            .then(|| OffsetAndEpoch::new(diverging.end_offset, diverging.epoch)),
        snapshot_id: (snapshot.end_offset >= 0)
            .then(|| OffsetAndEpoch::new(snapshot.end_offset, snapshot.epoch)),
        records: records.into_iter().collect(),
    };
    Some(Response::Fetch(quorum, Box::new(result)))
}

fn read_fetch_snapshot(
    message: &fetch_snapshot_response::FetchSnapshotResponse,
) -> Option<Response> {
    if let Some(refused) = refused(message.error_code) {
        return Some(refused);
    }
    let partition = only(&only(&message.topics)?.partitions)?;
    let told = &partition.current_leader;
    let node = message
        .node_endpoints
        .iter()
        .find(|node| node.node_id == told.leader_id);
    let quorum = QuorumResponse {
        error: error_of(partition.error_code),
        leader: leader_of(told.leader_id, told.leader_epoch),
        leader_endpoint: node.map(|node| unnamed_endpoint(&node.host, node.port)),
    };
    let id = &partition.snapshot_id;
    let result = FetchSnapshotResult {
        snapshot_id: OffsetAndEpoch::new(id.end_offset, id.epoch),
        size_bytes: partition.size,
        position: partition.position,
        bytes: partition.unaligned_records.clone().unwrap_or_default(),
    };
    Some(Response::FetchSnapshot(quorum, result))
}

fn read_describe(message: &describe_quorum_response::DescribeQuorumResponse) -> Option<Response> {
    if let Some(refused) = refused(message.error_code) {
        return Some(refused);
    }
    let partition = only(&only(&message.topics)?.partitions)?;
    let replica = |one: &describe_quorum_response::ReplicaState| ReplicaDescription {
        key: ReplicaKey::new(one.replica_id, one.replica_directory_id),
        log_end_offset: one.log_end_offset,
        last_fetch_ms: one.last_fetch_timestamp,
        last_caught_up_ms: one.last_caught_up_timestamp,
    };
    let listeners = |node: &describe_quorum_response::Node| {
        let endpoints = node.listeners.iter().map(|listener| Endpoint {
            name: listener.name.to_string(),
            host: listener.host.to_string(),
            port: listener.port,
        });
        (node.node_id, endpoints.collect())
    };
    let leader: LeaderAndEpoch = leader_of(partition.leader_id, partition.leader_epoch);
    Some(Response::DescribeQuorum(Box::new(QuorumDescription {
        error: error_of(partition.error_code),
        leader,
        high_watermark: partition.high_watermark,
        voters: partition.current_voters.iter().map(replica).collect(),
        observers: partition.observers.iter().map(replica).collect(),
        nodes: message.nodes.iter().map(listeners).collect(),
    })))
}
