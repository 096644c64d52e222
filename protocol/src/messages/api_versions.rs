//! ApiVersions, API key 18: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    api_versions_request, key 18, versions [0..=4], flexible [3..];

    /// The request of ApiVersions.
    ApiVersionsRequest {
        client_software_name: StrBytes [3.., ignorable],
        client_software_version: StrBytes [3.., ignorable],
    }
}

message! {
    api_versions_response, key 18, versions [0..=4], flexible [3..];

    /// The response to ApiVersions.
    ApiVersionsResponse {
        error_code: i16 [0..],
        api_keys: Vec<ApiVersion> [0..],
        throttle_time_ms: i32 [1.., ignorable],
        supported_features: Vec<SupportedFeatureKey> [3.., ignorable] tag 0 [3..],
        finalized_features_epoch: i64 [3.., ignorable] tag 1 [3..] = -1,
        finalized_features: Vec<FinalizedFeatureKey> [3.., ignorable] tag 2 [3..],
        zk_migration_ready: bool [3.., ignorable] tag 3 [3..],
    }

    /// An element of `api_keys` in `ApiVersionsResponse`.
    ApiVersion {
        api_key: i16 [0..],
        min_version: i16 [0..],
        max_version: i16 [0..],
    }

    /// An element of `supported_features` in `ApiVersionsResponse`.
    SupportedFeatureKey {
        name: StrBytes [3..],
        min_version: i16 [3..],
        max_version: i16 [3..],
    }

    /// An element of `finalized_features` in `ApiVersionsResponse`.
    FinalizedFeatureKey {
        name: StrBytes [3..],
        max_version_level: i16 [3..],
        min_version_level: i16 [3..],
    }
}
