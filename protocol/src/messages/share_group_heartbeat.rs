//! ShareGroupHeartbeat, API key 76: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    share_group_heartbeat_request, key 76, versions [1], flexible [0..];

    /// The request of ShareGroupHeartbeat.
    ShareGroupHeartbeatRequest {
        group_id: StrBytes [0..],
        member_id: StrBytes [0..],
        member_epoch: i32 [0..],
        rack_id: Option<StrBytes> [0.., nullable 0.., null],
        subscribed_topic_names: Option<Vec<StrBytes>> [0.., nullable 0.., null],
    }
}

message! {
    share_group_heartbeat_response, key 76, versions [1], flexible [0..];

    /// The response to ShareGroupHeartbeat.
    ShareGroupHeartbeatResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        member_id: Option<StrBytes> [0.., nullable 0.., null],
        member_epoch: i32 [0..],
        heartbeat_interval_ms: i32 [0..],
        assignment: Option<Assignment> [0.., nullable 0.., null],
    }

    /// The value of `assignment` in `ShareGroupHeartbeatResponse`.
    Assignment {
        topic_partitions: Vec<TopicPartitions> [0..],
    }

    /// An element of `topic_partitions`.
    TopicPartitions {
        topic_id: Uuid [0..],
        partitions: Vec<i32> [0..],
    }
}
