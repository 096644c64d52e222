//! DescribeUserScramCredentials, API key 50: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    describe_user_scram_credentials_request, key 50, versions [0], flexible [0..];

    /// The request of DescribeUserScramCredentials.
    DescribeUserScramCredentialsRequest {
        users: Option<Vec<UserName>> [0.., nullable 0..],
    }

    /// An element of `users` in `DescribeUserScramCredentialsRequest`.
    UserName {
        name: StrBytes [0..],
    }
}

message! {
    describe_user_scram_credentials_response, key 50, versions [0], flexible [0..];

    /// The response to DescribeUserScramCredentials.
    DescribeUserScramCredentialsResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        results: Vec<DescribeUserScramCredentialsResult> [0..],
    }

    /// An element of `results` in `DescribeUserScramCredentialsResponse`.
    DescribeUserScramCredentialsResult {
        user: StrBytes [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        credential_infos: Vec<CredentialInfo> [0..],
    }

    /// An element of `credential_infos` in `DescribeUserScramCredentialsResult`.
    CredentialInfo {
        mechanism: i8 [0..],
        iterations: i32 [0..],
    }
}
