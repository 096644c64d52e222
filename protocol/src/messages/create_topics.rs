//! CreateTopics, API key 19: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    create_topics_request, key 19, versions [2..=7], flexible [5..];

    /// The request of CreateTopics.
    CreateTopicsRequest {
        topics: Vec<CreatableTopic> [0..],
        timeout_ms: i32 [0..] = 60000,
        validate_only: bool [1..],
    }

    /// An element of `topics` in `CreateTopicsRequest`.
    CreatableTopic {
        name: StrBytes [0..],
        num_partitions: i32 [0..],
        replication_factor: i16 [0..],
        assignments: Vec<CreatableReplicaAssignment> [0..],
        configs: Vec<CreatableTopicConfig> [0..],
    }

    /// An element of `assignments` in `CreatableTopic`.
    CreatableReplicaAssignment {
        partition_index: i32 [0..],
        broker_ids: Vec<i32> [0..],
    }

    /// An element of `configs` in `CreatableTopic`.
    CreatableTopicConfig {
        name: StrBytes [0..],
        value: Option<StrBytes> [0.., nullable 0..],
    }
}

message! {
    create_topics_response, key 19, versions [2..=7], flexible [5..];

    /// The response to CreateTopics.
    CreateTopicsResponse {
        throttle_time_ms: i32 [2.., ignorable],
        topics: Vec<CreatableTopicResult> [0..],
    }

    /// An element of `topics` in `CreateTopicsResponse`.
    CreatableTopicResult {
        name: StrBytes [0..],
        topic_id: Uuid [7.., ignorable],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [1.., nullable 0.., ignorable],
        num_partitions: i32 [5.., ignorable] = -1,
        replication_factor: i16 [5.., ignorable] = -1,
        configs: Option<Vec<CreatableTopicConfigs>> [5.., nullable 5.., ignorable],
        topic_config_error_code: i16 [5.., ignorable] tag 0 [5..],
    }

    /// An element of `configs` in `CreatableTopicResult`.
    CreatableTopicConfigs {
        name: StrBytes [5..],
        value: Option<StrBytes> [5.., nullable 5..],
        read_only: bool [5..],
        config_source: i8 [5.., ignorable] = -1,
        is_sensitive: bool [5..],
    }
}
