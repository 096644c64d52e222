//! Vote, API key 52: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    vote_request, key 52, versions [0..=2], flexible [0..];

    /// The request of Vote.
    VoteRequest {
        cluster_id: Option<StrBytes> [0.., nullable 0.., null],
        voter_id: i32 [1.., ignorable] = -1,
        topics: Vec<TopicData> [0..],
    }

    /// An element of `topics` in `VoteRequest`.
    TopicData {
        topic_name: StrBytes [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `TopicData`.
    PartitionData {
        partition_index: i32 [0..],
        replica_epoch: i32 [0..],
        replica_id: i32 [0..],
        replica_directory_id: Uuid [1.., ignorable],
        voter_directory_id: Uuid [1.., ignorable],
        last_offset_epoch: i32 [0..],
        last_offset: i64 [0..],
        pre_vote: bool [2..],
    }
}

message! {
    vote_response, key 52, versions [0..=2], flexible [0..];

    /// The response to Vote.
    VoteResponse {
        error_code: i16 [0..],
        topics: Vec<TopicData> [0..],
        node_endpoints: Vec<NodeEndpoint> [1..] tag 0 [1..],
    }

    /// An element of `topics` in `VoteResponse`.
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
        vote_granted: bool [0..],
    }

    /// An element of `node_endpoints` in `VoteResponse`.
    NodeEndpoint {
        node_id: i32 [1..],
        host: StrBytes [1..],
        port: u16 [1..],
    }
}
