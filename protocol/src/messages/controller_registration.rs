//! ControllerRegistration, API key 70: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    controller_registration_request, key 70, versions [0], flexible [0..];

    /// The request of ControllerRegistration.
    ControllerRegistrationRequest {
        controller_id: i32 [0..],
        incarnation_id: Uuid [0..],
        zk_migration_ready: bool [0..],
        listeners: Vec<Listener> [0..],
        features: Vec<Feature> [0..],
    }

    /// An element of `listeners` in `ControllerRegistrationRequest`.
    Listener {
        name: StrBytes [0..],
        host: StrBytes [0..],
        port: u16 [0..],
        security_protocol: i16 [0..],
    }

    /// An element of `features` in `ControllerRegistrationRequest`.
    Feature {
        name: StrBytes [0..],
        min_supported_version: i16 [0..],
        max_supported_version: i16 [0..],
    }
}

message! {
    controller_registration_response, key 70, versions [0], flexible [0..];

    /// The response to ControllerRegistration.
    ControllerRegistrationResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
    }
}
