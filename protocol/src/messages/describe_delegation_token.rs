//! DescribeDelegationToken, API key 41: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    describe_delegation_token_request, key 41, versions [1..=3], flexible [2..];

    /// The request of DescribeDelegationToken.
    DescribeDelegationTokenRequest {
        owners: Option<Vec<DescribeDelegationTokenOwner>> [0.., nullable 0..],
    }

    /// An element of `owners` in `DescribeDelegationTokenRequest`.
    DescribeDelegationTokenOwner {
        principal_type: StrBytes [0..],
        principal_name: StrBytes [0..],
    }
}

message! {
    describe_delegation_token_response, key 41, versions [1..=3], flexible [2..];

    /// The response to DescribeDelegationToken.
    DescribeDelegationTokenResponse {
        error_code: i16 [0..],
        tokens: Vec<DescribedDelegationToken> [0..],
        throttle_time_ms: i32 [0..],
    }

    /// An element of `tokens` in `DescribeDelegationTokenResponse`.
    DescribedDelegationToken {
        principal_type: StrBytes [0..],
        principal_name: StrBytes [0..],
        token_requester_principal_type: StrBytes [3..],
        token_requester_principal_name: StrBytes [3..],
        issue_timestamp: i64 [0..],
        expiry_timestamp: i64 [0..],
        max_timestamp: i64 [0..],
        token_id: StrBytes [0..],
        hmac: Bytes [0..],
        renewers: Vec<DescribedDelegationTokenRenewer> [0..],
    }

    /// An element of `renewers` in `DescribedDelegationToken`.
    DescribedDelegationTokenRenewer {
        principal_type: StrBytes [0..],
        principal_name: StrBytes [0..],
    }
}
