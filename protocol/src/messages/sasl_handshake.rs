//! SaslHandshake, API key 17: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    sasl_handshake_request, key 17, versions [0..=1], flexible [none];

    /// The request of SaslHandshake.
    SaslHandshakeRequest {
        mechanism: StrBytes [0..],
    }
}

message! {
    sasl_handshake_response, key 17, versions [0..=1], flexible [none];

    /// The response to SaslHandshake.
    SaslHandshakeResponse {
        error_code: i16 [0..],
        mechanisms: Vec<StrBytes> [0..],
    }
}
