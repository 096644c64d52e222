//! ExpireDelegationToken, API key 40: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    expire_delegation_token_request, key 40, versions [1..=2], flexible [2..];

    /// The request of ExpireDelegationToken.
    ExpireDelegationTokenRequest {
        hmac: Bytes [0..],
        expiry_time_period_ms: i64 [0..],
    }
}

message! {
    expire_delegation_token_response, key 40, versions [1..=2], flexible [2..];

    /// The response to ExpireDelegationToken.
    ExpireDelegationTokenResponse {
        error_code: i16 [0..],
        expiry_timestamp_ms: i64 [0..],
        throttle_time_ms: i32 [0..],
    }
}
