//! PushTelemetry, API key 72: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    push_telemetry_request, key 72, versions [0], flexible [0..];

    /// The request of PushTelemetry.
    PushTelemetryRequest {
        client_instance_id: Uuid [0..],
        subscription_id: i32 [0..],
        terminating: bool [0..],
        compression_type: i8 [0..],
        metrics: Bytes [0..],
    }
}

message! {
    push_telemetry_response, key 72, versions [0], flexible [0..];

    /// The response to PushTelemetry.
    PushTelemetryResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
    }
}
