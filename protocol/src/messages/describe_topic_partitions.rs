//! DescribeTopicPartitions, API key 75: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    describe_topic_partitions_request, key 75, versions [0], flexible [0..];

    /// The request of DescribeTopicPartitions.
    DescribeTopicPartitionsRequest {
        topics: Vec<TopicRequest> [0..],
        response_partition_limit: i32 [0..] = 2000,
        cursor: Option<Cursor> [0.., nullable 0.., null],
    }

    /// An element of `topics` in `DescribeTopicPartitionsRequest`.
    TopicRequest {
        name: StrBytes [0..],
    }

    /// The value of `cursor` in `DescribeTopicPartitionsRequest`.
    Cursor {
        topic_name: StrBytes [0..],
        partition_index: i32 [0..],
    }
}

message! {
    describe_topic_partitions_response, key 75, versions [0], flexible [0..];

    /// The response to DescribeTopicPartitions.
    DescribeTopicPartitionsResponse {
        throttle_time_ms: i32 [0.., ignorable],
        topics: Vec<DescribeTopicPartitionsResponseTopic> [0..],
        next_cursor: Option<Cursor> [0.., nullable 0.., null],
    }

    /// An element of `topics` in `DescribeTopicPartitionsResponse`.
    DescribeTopicPartitionsResponseTopic {
        error_code: i16 [0..],
        name: Option<StrBytes> [0.., nullable 0..],
        topic_id: Uuid [0.., ignorable],
        is_internal: bool [0.., ignorable],
        partitions: Vec<DescribeTopicPartitionsResponsePartition> [0..],
        topic_authorized_operations: i32 [0..] = -2147483648,
    }

    /// An element of `partitions` in `DescribeTopicPartitionsResponseTopic`.
    DescribeTopicPartitionsResponsePartition {
        error_code: i16 [0..],
        partition_index: i32 [0..],
        leader_id: i32 [0..],
        leader_epoch: i32 [0.., ignorable] = -1,
        replica_nodes: Vec<i32> [0..],
        isr_nodes: Vec<i32> [0..],
        eligible_leader_replicas: Option<Vec<i32>> [0.., nullable 0.., null],
        last_known_elr: Option<Vec<i32>> [0.., nullable 0.., null],
        offline_replicas: Vec<i32> [0.., ignorable],
    }

    /// The value of `next_cursor` in `DescribeTopicPartitionsResponse`.
    Cursor {
        topic_name: StrBytes [0..],
        partition_index: i32 [0..],
    }
}
