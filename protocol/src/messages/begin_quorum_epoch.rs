//! BeginQuorumEpoch, API key 53: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    begin_quorum_epoch_request, key 53, versions [0..=1], flexible [1..];

    /// The request of BeginQuorumEpoch.
    BeginQuorumEpochRequest {
        cluster_id: Option<StrBytes> [0.., nullable 0.., null],
        voter_id: i32 [1.., ignorable] = -1,
        topics: Vec<TopicData> [0..],
        leader_endpoints: Vec<LeaderEndpoint> [1.., ignorable],
    }

    /// An element of `topics` in `BeginQuorumEpochRequest`.
    TopicData {
        topic_name: StrBytes [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `TopicData`.
    PartitionData {
        partition_index: i32 [0..],
        voter_directory_id: Uuid [1.., ignorable],
        leader_id: i32 [0..],
        leader_epoch: i32 [0..],
    }

    /// An element of `leader_endpoints` in `BeginQuorumEpochRequest`.
    LeaderEndpoint {
        name: StrBytes [1..],
        host: StrBytes [1..],
        port: u16 [1..],
    }
}

message! {
    begin_quorum_epoch_response, key 53, versions [0..=1], flexible [1..];

    /// The response to BeginQuorumEpoch.
    BeginQuorumEpochResponse {
        error_code: i16 [0..],
        topics: Vec<TopicData> [0..],
        node_endpoints: Vec<NodeEndpoint> [1..] tag 0 [1..],
    }

    /// An element of `topics` in `BeginQuorumEpochResponse`.
    TopicData {
        topic_name: StrBytes [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `TopicData`.
    PartitionData {
        partition_index: i32 [0..],
        error_code: i16 [0..],
        leader_id: i32 [0..],
        leader_epoch: i32 [0..],
    }

    /// An element of `node_endpoints` in `BeginQuorumEpochResponse`.
    NodeEndpoint {
        node_id: i32 [1..],
        host: StrBytes [1..],
        port: u16 [1..],
    }
}
