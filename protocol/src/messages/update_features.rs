//! UpdateFeatures, API key 57: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    update_features_request, key 57, versions [0..=2], flexible [0..];

    /// The request of UpdateFeatures.
    UpdateFeaturesRequest {
        timeout_ms: i32 [0..] = 60000,
        feature_updates: Vec<FeatureUpdateKey> [0..],
        validate_only: bool [1..],
    }

    /// An element of `feature_updates` in `UpdateFeaturesRequest`.
    FeatureUpdateKey {
        feature: StrBytes [0..],
        max_version_level: i16 [0..],
        allow_downgrade: bool [0],
        upgrade_type: i8 [1..] = 1,
    }
}

message! {
    update_features_response, key 57, versions [0..=2], flexible [0..];

    /// The response to UpdateFeatures.
    UpdateFeaturesResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        results: Vec<UpdatableFeatureResult> [0..=1, ignorable],
    }

    /// An element of `results` in `UpdateFeaturesResponse`.
    UpdatableFeatureResult {
        feature: StrBytes [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
    }
}
