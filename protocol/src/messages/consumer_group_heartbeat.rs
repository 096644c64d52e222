//! ConsumerGroupHeartbeat, API key 68: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    consumer_group_heartbeat_request, key 68, versions [0..=1], flexible [0..];

    /// The request of ConsumerGroupHeartbeat.
    ConsumerGroupHeartbeatRequest {
        group_id: StrBytes [0..],
        member_id: StrBytes [0..],
        member_epoch: i32 [0..],
        instance_id: Option<StrBytes> [0.., nullable 0.., null],
        rack_id: Option<StrBytes> [0.., nullable 0.., null],
        rebalance_timeout_ms: i32 [0..] = -1,
        subscribed_topic_names: Option<Vec<StrBytes>> [0.., nullable 0.., null],
        subscribed_topic_regex: Option<StrBytes> [1.., nullable 1.., null],
        server_assignor: Option<StrBytes> [0.., nullable 0.., null],
        topic_partitions: Option<Vec<TopicPartitions>> [0.., nullable 0.., null],
    }

    /// An element of `topic_partitions` in `ConsumerGroupHeartbeatRequest`.
    TopicPartitions {
        topic_id: Uuid [0..],
        partitions: Vec<i32> [0..],
    }
}

message! {
    consumer_group_heartbeat_response, key 68, versions [0..=1], flexible [0..];

    /// The response to ConsumerGroupHeartbeat.
    ConsumerGroupHeartbeatResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        member_id: Option<StrBytes> [0.., nullable 0.., null],
        member_epoch: i32 [0..],
        heartbeat_interval_ms: i32 [0..],
        assignment: Option<Assignment> [0.., nullable 0.., null],
    }

    /// The value of `assignment` in `ConsumerGroupHeartbeatResponse`.
    Assignment {
        topic_partitions: Vec<TopicPartitions> [0..],
    }

    /// An element of `topic_partitions`.
    TopicPartitions {
        topic_id: Uuid [0..],
        partitions: Vec<i32> [0..],
    }
}
