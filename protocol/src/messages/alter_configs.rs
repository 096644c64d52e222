//! AlterConfigs, API key 33: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    alter_configs_request, key 33, versions [0..=2], flexible [2..];

    /// The request of AlterConfigs.
    AlterConfigsRequest {
        resources: Vec<AlterConfigsResource> [0..],
        validate_only: bool [0..],
    }

    /// An element of `resources` in `AlterConfigsRequest`.
    AlterConfigsResource {
        resource_type: i8 [0..],
        resource_name: StrBytes [0..],
        configs: Vec<AlterableConfig> [0..],
    }

    /// An element of `configs` in `AlterConfigsResource`.
    AlterableConfig {
        name: StrBytes [0..],
        value: Option<StrBytes> [0.., nullable 0..],
    }
}

message! {
    alter_configs_response, key 33, versions [0..=2], flexible [2..];

    /// The response to AlterConfigs.
    AlterConfigsResponse {
        throttle_time_ms: i32 [0..],
        responses: Vec<AlterConfigsResourceResponse> [0..],
    }

    /// An element of `responses` in `AlterConfigsResponse`.
    AlterConfigsResourceResponse {
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        resource_type: i8 [0..],
        resource_name: StrBytes [0..],
    }
}
