//! Envelope, API key 58: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    envelope_request, key 58, versions [0], flexible [0..];

    /// The request of Envelope.
    EnvelopeRequest {
        request_data: Bytes [0..],
        request_principal: Option<Bytes> [0.., nullable 0..],
        client_host_address: Bytes [0..],
    }
}

message! {
    envelope_response, key 58, versions [0], flexible [0..];

    /// The response to Envelope.
    EnvelopeResponse {
        response_data: Option<Bytes> [0.., nullable 0.., null],
        error_code: i16 [0..],
    }
}
