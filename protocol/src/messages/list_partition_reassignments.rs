//! ListPartitionReassignments, API key 46: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    list_partition_reassignments_request, key 46, versions [0], flexible [0..];

    /// The request of ListPartitionReassignments.
    ListPartitionReassignmentsRequest {
        timeout_ms: i32 [0..] = 60000,
        topics: Option<Vec<ListPartitionReassignmentsTopics>> [0.., nullable 0.., null],
    }

    /// An element of `topics` in `ListPartitionReassignmentsRequest`.
    ListPartitionReassignmentsTopics {
        name: StrBytes [0..],
        partition_indexes: Vec<i32> [0..],
    }
}

message! {
    list_partition_reassignments_response, key 46, versions [0], flexible [0..];

    /// The response to ListPartitionReassignments.
    ListPartitionReassignmentsResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        topics: Vec<OngoingTopicReassignment> [0..],
    }

    /// An element of `topics` in `ListPartitionReassignmentsResponse`.
    OngoingTopicReassignment {
        name: StrBytes [0..],
        partitions: Vec<OngoingPartitionReassignment> [0..],
    }

    /// An element of `partitions` in `OngoingTopicReassignment`.
    OngoingPartitionReassignment {
        partition_index: i32 [0..],
        replicas: Vec<i32> [0..],
        adding_replicas: Vec<i32> [0..],
        removing_replicas: Vec<i32> [0..],
    }
}
