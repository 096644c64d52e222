//! CreateDelegationToken, API key 38: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    create_delegation_token_request, key 38, versions [1..=3], flexible [2..];

    /// The request of CreateDelegationToken.
    CreateDelegationTokenRequest {
        owner_principal_type: Option<StrBytes> [3.., nullable 3..],
        owner_principal_name: Option<StrBytes> [3.., nullable 3..],
        renewers: Vec<CreatableRenewers> [0..],
        max_lifetime_ms: i64 [0..],
    }

    /// An element of `renewers` in `CreateDelegationTokenRequest`.
    CreatableRenewers {
        principal_type: StrBytes [0..],
        principal_name: StrBytes [0..],
    }
}

message! {
    create_delegation_token_response, key 38, versions [1..=3], flexible [2..];

    /// The response to CreateDelegationToken.
    CreateDelegationTokenResponse {
        error_code: i16 [0..],
        principal_type: StrBytes [0..],
        principal_name: StrBytes [0..],
        token_requester_principal_type: StrBytes [3..],
        token_requester_principal_name: StrBytes [3..],
        issue_timestamp_ms: i64 [0..],
        expiry_timestamp_ms: i64 [0..],
        max_timestamp_ms: i64 [0..],
        token_id: StrBytes [0..],
        hmac: Bytes [0..],
        throttle_time_ms: i32 [0..],
    }
}
