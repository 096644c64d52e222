//! EndQuorumEpoch, API key 54: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    end_quorum_epoch_request, key 54, versions [0..=1], flexible [1..];

    /// The request of EndQuorumEpoch.
    EndQuorumEpochRequest {
        cluster_id: Option<StrBytes> [0.., nullable 0.., null],
        topics: Vec<TopicData> [0..],
        leader_endpoints: Vec<LeaderEndpoint> [1.., ignorable],
    }

    /// An element of `topics` in `EndQuorumEpochRequest`.
    TopicData {
        topic_name: StrBytes [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `TopicData`.
    PartitionData {
        partition_index: i32 [0..],
        leader_id: i32 [0..],
        leader_epoch: i32 [0..],
        preferred_successors: Vec<i32> [0, ignorable],
        preferred_candidates: Vec<ReplicaInfo> [1.., ignorable],
    }

    /// An element of `preferred_candidates` in `PartitionData`.
    ReplicaInfo {
        candidate_id: i32 [1..],
        candidate_directory_id: Uuid [1..],
    }

    /// An element of `leader_endpoints` in `EndQuorumEpochRequest`.
    LeaderEndpoint {
        name: StrBytes [1..],
        host: StrBytes [1..],
        port: u16 [1..],
    }
}

message! {
    end_quorum_epoch_response, key 54, versions [0..=1], flexible [1..];

    /// The response to EndQuorumEpoch.
    EndQuorumEpochResponse {
        error_code: i16 [0..],
        topics: Vec<TopicData> [0..],
        node_endpoints: Vec<NodeEndpoint> [1..] tag 0 [1..],
    }

    /// An element of `topics` in `EndQuorumEpochResponse`.
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

    /// An element of `node_endpoints` in `EndQuorumEpochResponse`.
    NodeEndpoint {
        node_id: i32 [1..],
        host: StrBytes [1..],
        port: u16 [1..],
    }
}
