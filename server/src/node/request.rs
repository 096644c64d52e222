//! From a frame to a request, and from a response to segments: headers, versions, and the answer to versions we lack.
//! What each request means stands in `api/`; what a frame's bytes are is the `protocol` crate's.

use crate::machine::{ConnectionId, Segments};
use bytes::Bytes;
use odradek_protocol::api::{self, ApiKey};
use odradek_protocol::codec::{DecodeError, EncodeError, Reader, Writer};
use odradek_protocol::messages::{RequestHeader, ResponseHeader};
use odradek_protocol::{Message, StrBytes};
use std::fmt;

/// Where a request came from and how its answer must look; kept while the answer is made.
#[derive(Clone, Debug)]
pub struct RequestMeta {
    /// The node's own number for this request; unique per core.
    pub id: u64,
    pub connection: ConnectionId,
    /// Place in the connection's answer order.
    pub sequence: u64,
    pub api: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<StrBytes>,
    /// Index of the listener that accepted the connection.
    pub listener: u16,
    /// When the frame was taken up, for the latency metric.
    pub received_us: u64,
}

/// A request whose header was understood; the body is still bytes.
pub struct Request {
    pub meta: RequestMeta,
    pub body: Reader,
}

/// Why a frame cannot be answered: the connection is closed, as Apache Kafka does.
#[derive(Debug)]
pub enum FrameRefusal {
    /// The header does not decode.
    Header(DecodeError),
    /// No API has this key, or this listener does not serve it.
    UnknownApi(i16),
    /// The API has no such version.
    UnsupportedVersion(ApiKey, i16),
    /// The body does not decode.
    Body(ApiKey, i16, DecodeError),
}

impl fmt::Display for FrameRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(error) => write!(formatter, "its request header does not decode: {error}"),
            Self::UnknownApi(key) => {
                write!(formatter, "API key {key} is not served on this listener")
            }
            Self::UnsupportedVersion(api, version) => {
                write!(formatter, "{api:?} has no version {version}")
            }
            Self::Body(api, version, error) => {
                write!(
                    formatter,
                    "its {api:?} v{version} request does not decode: {error}"
                )
            }
        }
    }
}

/// The first fields of a frame, enough to choose a header version.
pub struct FrameStart {
    pub api: ApiKey,
    pub version: i16,
}

/// Reads key and version without consuming the frame.
pub fn frame_start(frame: &[u8]) -> Result<FrameStart, FrameRefusal> {
    let Some(start) = frame.first_chunk::<4>() else {
        return Err(FrameRefusal::UnknownApi(-1));
    };
    let key = i16::from_be_bytes([start[0], start[1]]);
    let version = i16::from_be_bytes([start[2], start[3]]);
    let api = ApiKey::from_i16(key).ok_or(FrameRefusal::UnknownApi(key))?;
    Ok(FrameStart { api, version })
}

/// Decodes the header; the reader is left at the body.
pub fn read_header(
    frame: Bytes,
    start: &FrameStart,
) -> Result<(RequestHeader, Reader), FrameRefusal> {
    let mut reader = Reader::new(frame);
    let header_version = api::request_header_version(start.api, start.version);
    let header =
        RequestHeader::decode(&mut reader, header_version).map_err(FrameRefusal::Header)?;
    Ok((header, reader))
}

/// Decodes the body of a request. Bytes behind it are ignored, as Apache Kafka ignores them.
pub fn read_body<M: Message>(request: &mut Request) -> Result<M, FrameRefusal> {
    let meta = &request.meta;
    M::decode(&mut request.body, meta.version)
        .map_err(|error| FrameRefusal::Body(meta.api, meta.version, error))
}

/// Encodes only the body of a response, for answers that are made on another core than the one that sends them.
pub fn encode_body<M: Message>(response: &M, version: i16) -> Result<Segments, EncodeError> {
    let mut writer = Writer::new();
    response.encode(&mut writer, version)?;
    Ok(writer.finish())
}

/// A writer that holds room for the frame's size and the response header; `finish_frame` ends it.
pub fn begin_response(meta: &RequestMeta) -> Writer {
    let header = ResponseHeader {
        correlation_id: meta.correlation_id,
        ..ResponseHeader::default()
    };
    let mut writer = Writer::frame();
    header
        .encode(
            &mut writer,
            api::response_header_version(meta.api, meta.version),
        )
        .expect("a response header of ours encodes");
    writer
}
