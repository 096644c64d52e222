//! IncrementalAlterConfigs, API key 44: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    incremental_alter_configs_request, key 44, versions [0..=1], flexible [1..];

    /// The request of IncrementalAlterConfigs.
    IncrementalAlterConfigsRequest {
        resources: Vec<AlterConfigsResource> [0..],
        validate_only: bool [0..],
    }

    /// An element of `resources` in `IncrementalAlterConfigsRequest`.
    AlterConfigsResource {
        resource_type: i8 [0..],
        resource_name: StrBytes [0..],
        configs: Vec<AlterableConfig> [0..],
    }

    /// An element of `configs` in `AlterConfigsResource`.
    AlterableConfig {
        name: StrBytes [0..],
        config_operation: i8 [0..],
        value: Option<StrBytes> [0.., nullable 0..],
    }
}

message! {
    incremental_alter_configs_response, key 44, versions [0..=1], flexible [1..];

    /// The response to IncrementalAlterConfigs.
    IncrementalAlterConfigsResponse {
        throttle_time_ms: i32 [0..],
        responses: Vec<AlterConfigsResourceResponse> [0..],
    }

    /// An element of `responses` in `IncrementalAlterConfigsResponse`.
    AlterConfigsResourceResponse {
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        resource_type: i8 [0..],
        resource_name: StrBytes [0..],
    }
}
