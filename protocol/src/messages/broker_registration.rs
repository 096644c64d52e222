//! BrokerRegistration, API key 62: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    broker_registration_request, key 62, versions [0..=4], flexible [0..];

    /// The request of BrokerRegistration.
    BrokerRegistrationRequest {
        broker_id: i32 [0..],
        cluster_id: StrBytes [0..],
        incarnation_id: Uuid [0..],
        listeners: Vec<Listener> [0..],
        features: Vec<Feature> [0..],
        rack: Option<StrBytes> [0.., nullable 0..],
        is_migrating_zk_broker: bool [1..],
        log_dirs: Vec<Uuid> [2.., ignorable],
        previous_broker_epoch: i64 [3.., ignorable] = -1,
    }

    /// An element of `listeners` in `BrokerRegistrationRequest`.
    Listener {
        name: StrBytes [0..],
        host: StrBytes [0..],
        port: u16 [0..],
        security_protocol: i16 [0..],
    }

    /// An element of `features` in `BrokerRegistrationRequest`.
    Feature {
        name: StrBytes [0..],
        min_supported_version: i16 [0..],
        max_supported_version: i16 [0..],
    }
}

message! {
    broker_registration_response, key 62, versions [0..=4], flexible [0..];

    /// The response to BrokerRegistration.
    BrokerRegistrationResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        broker_epoch: i64 [0..] = -1,
    }
}
