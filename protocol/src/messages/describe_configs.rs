//! DescribeConfigs, API key 32: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    describe_configs_request, key 32, versions [1..=4], flexible [4..];

    /// The request of DescribeConfigs.
    DescribeConfigsRequest {
        resources: Vec<DescribeConfigsResource> [0..],
        include_synonyms: bool [1..],
        include_documentation: bool [3..],
    }

    /// An element of `resources` in `DescribeConfigsRequest`.
    DescribeConfigsResource {
        resource_type: i8 [0..],
        resource_name: StrBytes [0..],
        configuration_keys: Option<Vec<StrBytes>> [0.., nullable 0..],
    }
}

message! {
    describe_configs_response, key 32, versions [1..=4], flexible [4..];

    /// The response to DescribeConfigs.
    DescribeConfigsResponse {
        throttle_time_ms: i32 [0..],
        results: Vec<DescribeConfigsResult> [0..],
    }

    /// An element of `results` in `DescribeConfigsResponse`.
    DescribeConfigsResult {
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        resource_type: i8 [0..],
        resource_name: StrBytes [0..],
        configs: Vec<DescribeConfigsResourceResult> [0..],
    }

    /// An element of `configs` in `DescribeConfigsResult`.
    DescribeConfigsResourceResult {
        name: StrBytes [0..],
        value: Option<StrBytes> [0.., nullable 0..],
        read_only: bool [0..],
        config_source: i8 [1.., ignorable] = -1,
        is_sensitive: bool [0..],
        synonyms: Vec<DescribeConfigsSynonym> [1.., ignorable],
        config_type: i8 [3.., ignorable],
        documentation: Option<StrBytes> [3.., nullable 0.., ignorable],
    }

    /// An element of `synonyms` in `DescribeConfigsResourceResult`.
    DescribeConfigsSynonym {
        name: StrBytes [1..],
        value: Option<StrBytes> [1.., nullable 0..],
        source: i8 [1..],
    }
}
