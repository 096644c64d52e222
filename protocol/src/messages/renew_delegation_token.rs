//! RenewDelegationToken, API key 39: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    renew_delegation_token_request, key 39, versions [1..=2], flexible [2..];

    /// The request of RenewDelegationToken.
    RenewDelegationTokenRequest {
        hmac: Bytes [0..],
        renew_period_ms: i64 [0..],
    }
}

message! {
    renew_delegation_token_response, key 39, versions [1..=2], flexible [2..];

    /// The response to RenewDelegationToken.
    RenewDelegationTokenResponse {
        error_code: i16 [0..],
        expiry_timestamp_ms: i64 [0..],
        throttle_time_ms: i32 [0..],
    }
}
