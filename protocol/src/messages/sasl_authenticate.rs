//! SaslAuthenticate, API key 36: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    sasl_authenticate_request, key 36, versions [0..=2], flexible [2..];

    /// The request of SaslAuthenticate.
    SaslAuthenticateRequest {
        auth_bytes: Bytes [0..],
    }
}

message! {
    sasl_authenticate_response, key 36, versions [0..=2], flexible [2..];

    /// The response to SaslAuthenticate.
    SaslAuthenticateResponse {
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        auth_bytes: Bytes [0..],
        session_lifetime_ms: i64 [1.., ignorable],
    }
}
