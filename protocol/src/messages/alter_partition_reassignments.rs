//! AlterPartitionReassignments, API key 45: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    alter_partition_reassignments_request, key 45, versions [0..=1], flexible [0..];

    /// The request of AlterPartitionReassignments.
    AlterPartitionReassignmentsRequest {
        timeout_ms: i32 [0..] = 60000,
        allow_replication_factor_change: bool [1..] = true,
        topics: Vec<ReassignableTopic> [0..],
    }

    /// An element of `topics` in `AlterPartitionReassignmentsRequest`.
    ReassignableTopic {
        name: StrBytes [0..],
        partitions: Vec<ReassignablePartition> [0..],
    }

    /// An element of `partitions` in `ReassignableTopic`.
    ReassignablePartition {
        partition_index: i32 [0..],
        replicas: Option<Vec<i32>> [0.., nullable 0.., null],
    }
}

message! {
    alter_partition_reassignments_response, key 45, versions [0..=1], flexible [0..];

    /// The response to AlterPartitionReassignments.
    AlterPartitionReassignmentsResponse {
        throttle_time_ms: i32 [0..],
        allow_replication_factor_change: bool [1.., ignorable] = true,
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        responses: Vec<ReassignableTopicResponse> [0..],
    }

    /// An element of `responses` in `AlterPartitionReassignmentsResponse`.
    ReassignableTopicResponse {
        name: StrBytes [0..],
        partitions: Vec<ReassignablePartitionResponse> [0..],
    }

    /// An element of `partitions` in `ReassignableTopicResponse`.
    ReassignablePartitionResponse {
        partition_index: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
    }
}
