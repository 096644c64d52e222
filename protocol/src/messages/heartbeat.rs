//! Heartbeat, API key 12: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    heartbeat_request, key 12, versions [0..=4], flexible [4..];

    /// The request of Heartbeat.
    HeartbeatRequest {
        group_id: StrBytes [0..],
        generation_id: i32 [0..],
        member_id: StrBytes [0..],
        group_instance_id: Option<StrBytes> [3.., nullable 3.., null],
    }
}

message! {
    heartbeat_response, key 12, versions [0..=4], flexible [4..];

    /// The response to Heartbeat.
    HeartbeatResponse {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: i16 [0..],
    }
}
