//! DescribeQuorum, API key 55: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    describe_quorum_request, key 55, versions [0..=2], flexible [0..];

    /// The request of DescribeQuorum.
    DescribeQuorumRequest {
        topics: Vec<TopicData> [0..],
    }

    /// An element of `topics` in `DescribeQuorumRequest`.
    TopicData {
        topic_name: StrBytes [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `TopicData`.
    PartitionData {
        partition_index: i32 [0..],
    }
}

message! {
    describe_quorum_response, key 55, versions [0..=2], flexible [0..];

    /// The response to DescribeQuorum.
    DescribeQuorumResponse {
        error_code: i16 [0..],
        error_message: Option<StrBytes> [2.., nullable 2.., ignorable],
        topics: Vec<TopicData> [0..],
        nodes: Vec<Node> [2..],
    }

    /// An element of `topics` in `DescribeQuorumResponse`.
    TopicData {
        topic_name: StrBytes [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `TopicData`.
    PartitionData {
        partition_index: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [2.., nullable 2.., ignorable],
        leader_id: i32 [0..],
        leader_epoch: i32 [0..],
        high_watermark: i64 [0..],
        current_voters: Vec<ReplicaState> [0..],
        observers: Vec<ReplicaState> [0..],
    }

    /// An element of `current_voters`.
    ReplicaState {
        replica_id: i32 [0..],
        replica_directory_id: Uuid [2..],
        log_end_offset: i64 [0..],
        last_fetch_timestamp: i64 [1.., ignorable] = -1,
        last_caught_up_timestamp: i64 [1.., ignorable] = -1,
    }

    /// An element of `nodes` in `DescribeQuorumResponse`.
    Node {
        node_id: i32 [2..],
        listeners: Vec<Listener> [2..],
    }

    /// An element of `listeners` in `Node`.
    Listener {
        name: StrBytes [2..],
        host: StrBytes [2..],
        port: u16 [2..],
    }
}
