//! ElectLeaders, API key 43: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    elect_leaders_request, key 43, versions [0..=2], flexible [2..];

    /// The request of ElectLeaders.
    ElectLeadersRequest {
        election_type: i8 [1..],
        topic_partitions: Option<Vec<TopicPartitions>> [0.., nullable 0..],
        timeout_ms: i32 [0..] = 60000,
    }

    /// An element of `topic_partitions` in `ElectLeadersRequest`.
    TopicPartitions {
        topic: StrBytes [0..],
        partitions: Vec<i32> [0..],
    }
}

message! {
    elect_leaders_response, key 43, versions [0..=2], flexible [2..];

    /// The response to ElectLeaders.
    ElectLeadersResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [1..],
        replica_election_results: Vec<ReplicaElectionResult> [0..],
    }

    /// An element of `replica_election_results` in `ElectLeadersResponse`.
    ReplicaElectionResult {
        topic: StrBytes [0..],
        partition_result: Vec<PartitionResult> [0..],
    }

    /// An element of `partition_result` in `ReplicaElectionResult`.
    PartitionResult {
        partition_id: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
    }
}
