//! CreatePartitions, API key 37: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    create_partitions_request, key 37, versions [0..=3], flexible [2..];

    /// The request of CreatePartitions.
    CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic> [0..],
        timeout_ms: i32 [0..],
        validate_only: bool [0..],
    }

    /// An element of `topics` in `CreatePartitionsRequest`.
    CreatePartitionsTopic {
        name: StrBytes [0..],
        count: i32 [0..],
        assignments: Option<Vec<CreatePartitionsAssignment>> [0.., nullable 0..],
    }

    /// An element of `assignments` in `CreatePartitionsTopic`.
    CreatePartitionsAssignment {
        broker_ids: Vec<i32> [0..],
    }
}

message! {
    create_partitions_response, key 37, versions [0..=3], flexible [2..];

    /// The response to CreatePartitions.
    CreatePartitionsResponse {
        throttle_time_ms: i32 [0..],
        results: Vec<CreatePartitionsTopicResult> [0..],
    }

    /// An element of `results` in `CreatePartitionsResponse`.
    CreatePartitionsTopicResult {
        name: StrBytes [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
    }
}
