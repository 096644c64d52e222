//! GetTelemetrySubscriptions, API key 71: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    get_telemetry_subscriptions_request, key 71, versions [0], flexible [0..];

    /// The request of GetTelemetrySubscriptions.
    GetTelemetrySubscriptionsRequest {
        client_instance_id: Uuid [0..],
    }
}

message! {
    get_telemetry_subscriptions_response, key 71, versions [0], flexible [0..];

    /// The response to GetTelemetrySubscriptions.
    GetTelemetrySubscriptionsResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        client_instance_id: Uuid [0..],
        subscription_id: i32 [0..],
        accepted_compression_types: Vec<i8> [0..],
        push_interval_ms: i32 [0..],
        telemetry_max_bytes: i32 [0..],
        delta_temporality: bool [0..],
        requested_metrics: Vec<StrBytes> [0..],
    }
}
