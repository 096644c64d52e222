//! ListConfigResources, API key 74: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    list_config_resources_request, key 74, versions [0..=1], flexible [0..];

    /// The request of ListConfigResources.
    ListConfigResourcesRequest {
        resource_types: Vec<i8> [1..],
    }
}

message! {
    list_config_resources_response, key 74, versions [0..=1], flexible [0..];

    /// The response to ListConfigResources.
    ListConfigResourcesResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        config_resources: Vec<ConfigResource> [0..],
    }

    /// An element of `config_resources` in `ListConfigResourcesResponse`.
    ConfigResource {
        resource_name: StrBytes [0..],
        resource_type: i8 [1.., ignorable] = 16,
    }
}
