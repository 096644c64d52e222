//! UnregisterBroker, API key 64: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    unregister_broker_request, key 64, versions [0], flexible [0..];

    /// The request of UnregisterBroker.
    UnregisterBrokerRequest {
        broker_id: i32 [0..],
    }
}

message! {
    unregister_broker_response, key 64, versions [0], flexible [0..];

    /// The response to UnregisterBroker.
    UnregisterBrokerResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
    }
}
