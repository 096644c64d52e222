//! FindCoordinator, API key 10: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    find_coordinator_request, key 10, versions [0..=6], flexible [3..];

    /// The request of FindCoordinator.
    FindCoordinatorRequest {
        key: StrBytes [0..=3],
        key_type: i8 [1..],
        coordinator_keys: Vec<StrBytes> [4..],
    }
}

message! {
    find_coordinator_response, key 10, versions [0..=6], flexible [3..];

    /// The response to FindCoordinator.
    FindCoordinatorResponse {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: i16 [0..=3],
        error_message: Option<StrBytes> [1..=3, nullable 1..=3, ignorable],
        node_id: i32 [0..=3],
        host: StrBytes [0..=3],
        port: i32 [0..=3],
        coordinators: Vec<Coordinator> [4..],
    }

    /// An element of `coordinators` in `FindCoordinatorResponse`.
    Coordinator {
        key: StrBytes [4..],
        node_id: i32 [4..],
        host: StrBytes [4..],
        port: i32 [4..],
        error_code: i16 [4..],
        error_message: Option<StrBytes> [4.., nullable 4.., ignorable],
    }
}
