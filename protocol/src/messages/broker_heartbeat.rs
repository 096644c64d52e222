//! BrokerHeartbeat, API key 63: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    broker_heartbeat_request, key 63, versions [0..=2], flexible [0..];

    /// The request of BrokerHeartbeat.
    BrokerHeartbeatRequest {
        broker_id: i32 [0..],
        broker_epoch: i64 [0..] = -1,
        current_metadata_offset: i64 [0..],
        want_fence: bool [0..],
        want_shut_down: bool [0..],
        offline_log_dirs: Vec<Uuid> [1..] tag 0 [1..],
        cordoned_log_dirs: Option<Vec<Uuid>> [2.., nullable 2.., null] tag 1 [2..],
    }
}

message! {
    broker_heartbeat_response, key 63, versions [0..=2], flexible [0..];

    /// The response to BrokerHeartbeat.
    BrokerHeartbeatResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        is_caught_up: bool [0..],
        is_fenced: bool [0..] = true,
        should_shut_down: bool [0..],
    }
}
