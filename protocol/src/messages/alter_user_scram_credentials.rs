//! AlterUserScramCredentials, API key 51: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    alter_user_scram_credentials_request, key 51, versions [0], flexible [0..];

    /// The request of AlterUserScramCredentials.
    AlterUserScramCredentialsRequest {
        deletions: Vec<ScramCredentialDeletion> [0..],
        upsertions: Vec<ScramCredentialUpsertion> [0..],
    }

    /// An element of `deletions` in `AlterUserScramCredentialsRequest`.
    ScramCredentialDeletion {
        name: StrBytes [0..],
        mechanism: i8 [0..],
    }

    /// An element of `upsertions` in `AlterUserScramCredentialsRequest`.
    ScramCredentialUpsertion {
        name: StrBytes [0..],
        mechanism: i8 [0..],
        iterations: i32 [0..],
        salt: Bytes [0..],
        salted_password: Bytes [0..],
    }
}

message! {
    alter_user_scram_credentials_response, key 51, versions [0], flexible [0..];

    /// The response to AlterUserScramCredentials.
    AlterUserScramCredentialsResponse {
        throttle_time_ms: i32 [0..],
        results: Vec<AlterUserScramCredentialsResult> [0..],
    }

    /// An element of `results` in `AlterUserScramCredentialsResponse`.
    AlterUserScramCredentialsResult {
        user: StrBytes [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
    }
}
