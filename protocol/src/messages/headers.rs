//! The headers before every request and response. Which version goes with which message is in `api`.

use crate::codec::message;

message! {
    request_header, versions [1..=2], flexible [2..];

    /// What precedes a request on the wire.
    RequestHeader {
        request_api_key: i16 [0..],
        request_api_version: i16 [0..],
        correlation_id: i32 [0..],
        client_id: Option<StrBytes> [1.., nullable 1.., never_compact],
    }
}

message! {
    response_header, versions [0..=1], flexible [1..];

    /// What precedes a response on the wire.
    ResponseHeader {
        correlation_id: i32 [0..],
    }
}
