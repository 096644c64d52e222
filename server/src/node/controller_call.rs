//! Calls to the controller as they travel between cores: a client's request still in bytes, or a need of the broker itself.
//! The controller's core decodes, decides, waits for the commit and encodes the answer (M1, M7).

use crate::machine::Segments;
use bytes::Bytes;
use odradek_protocol::api::ApiKey;
use odradek_protocol::{ErrorCode, StrBytes};

/// What the controller is asked.
#[derive(Debug)]
pub enum ControllerCall {
    /// A client's request, forwarded.
    Client {
        api: ApiKey,
        version: i16,
        body: Bytes,
        listener: u16,
    },
    /// Create topics with default settings: on a Metadata request, or for a coordinator.
    Create { topics: Vec<StrBytes> },
    /// A block of producer ids for this broker.
    ProducerIds,
}

/// What it answers, once committed.
#[derive(Debug)]
pub enum ControllerAnswer {
    /// An encoded response body.
    Body(Segments),
    /// The request could not be decoded or answered: the connection is closed.
    Refused(String),
    /// What became of each topic.
    Created(Vec<(StrBytes, ErrorCode)>),
    /// First id and count, or why there is none.
    ProducerIds(Result<(i64, i32), ErrorCode>),
}
