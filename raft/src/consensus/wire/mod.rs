//! Between the state machine's messages and Kafka's: one topic, one partition, versions and top-level errors
//! (kraft.md section 3). Requests are mapped in `requests.rs`, responses in `responses.rs`.
//!
//! A server calls [`read_request`] and [`write_response`], a client [`write_request`] and [`read_response`]. Bytes and
//! headers stay the caller's; a message here is the decoded body.

mod requests;
mod responses;

pub use requests::{read_request, write_request};
pub use responses::{read_response, write_response};

use odradek_protocol::codec::{DecodeError, EncodeError, Reader, Writer};
use odradek_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, DescribeQuorumRequest,
    DescribeQuorumResponse, EndQuorumEpochRequest, EndQuorumEpochResponse, FetchRequest,
    FetchResponse, FetchSnapshotRequest, FetchSnapshotResponse, VoteRequest, VoteResponse,
};
use odradek_protocol::{ErrorCode, Message, StrBytes, Uuid};

use super::types::{Endpoint, LeaderAndEpoch};

/// Name of the metadata topic.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// Its topic id: the 128-bit value 1.
pub const METADATA_TOPIC_ID: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// API keys of the raft requests.
pub(super) mod key {
    pub const FETCH: i16 = 1;
    pub const VOTE: i16 = 52;
    pub const BEGIN_QUORUM_EPOCH: i16 = 53;
    pub const END_QUORUM_EPOCH: i16 = 54;
    pub const DESCRIBE_QUORUM: i16 = 55;
    pub const FETCH_SNAPSHOT: i16 = 59;
}

/// The body of a raft request.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestBody {
    /// Key 52.
    Vote(VoteRequest),
    /// Key 53.
    BeginQuorumEpoch(BeginQuorumEpochRequest),
    /// Key 54.
    EndQuorumEpoch(EndQuorumEpochRequest),
    /// Key 1.
    Fetch(FetchRequest),
    /// Key 59.
    FetchSnapshot(FetchSnapshotRequest),
    /// Key 55.
    DescribeQuorum(DescribeQuorumRequest),
}

/// The body of a raft response.
#[derive(Clone, Debug, PartialEq)]
pub enum ResponseBody {
    /// Key 52.
    Vote(VoteResponse),
    /// Key 53.
    BeginQuorumEpoch(BeginQuorumEpochResponse),
    /// Key 54.
    EndQuorumEpoch(EndQuorumEpochResponse),
    /// Key 1.
    Fetch(FetchResponse),
    /// Key 59.
    FetchSnapshot(FetchSnapshotResponse),
    /// Key 55.
    DescribeQuorum(DescribeQuorumResponse),
}

macro_rules! bodies {
    ($body:ident: $($variant:ident $message:ident = $key:ident),* $(,)?) => {
        impl $body {
            /// The API key.
            pub fn api_key(&self) -> i16 {
                match self { $($body::$variant(_) => key::$key,)* }
            }

            /// Decodes the body of one of the six raft APIs; none for any other key.
            pub fn decode(
                api_key: i16,
                version: i16,
                reader: &mut Reader,
            ) -> Option<Result<Self, DecodeError>> {
                match api_key {
                    $(key::$key => Some($message::decode(reader, version).map($body::$variant)),)*
                    _ => None,
                }
            }

            /// Encodes the body.
            ///
            /// # Errors
            /// When the message holds what `version` cannot say.
            pub fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
                match self { $($body::$variant(message) => message.encode(writer, version),)* }
            }
        }

        $(impl From<$message> for $body {
            fn from(message: $message) -> Self {
                $body::$variant(message)
            }
        })*
    };
}

bodies!(RequestBody:
    Vote VoteRequest = VOTE,
    BeginQuorumEpoch BeginQuorumEpochRequest = BEGIN_QUORUM_EPOCH,
    EndQuorumEpoch EndQuorumEpochRequest = END_QUORUM_EPOCH,
    Fetch FetchRequest = FETCH,
    FetchSnapshot FetchSnapshotRequest = FETCH_SNAPSHOT,
    DescribeQuorum DescribeQuorumRequest = DESCRIBE_QUORUM,
);

bodies!(ResponseBody:
    Vote VoteResponse = VOTE,
    BeginQuorumEpoch BeginQuorumEpochResponse = BEGIN_QUORUM_EPOCH,
    EndQuorumEpoch EndQuorumEpochResponse = END_QUORUM_EPOCH,
    Fetch FetchResponse = FETCH,
    FetchSnapshot FetchSnapshotResponse = FETCH_SNAPSHOT,
    DescribeQuorum DescribeQuorumResponse = DESCRIBE_QUORUM,
);

/// Why an answer of another node is not understood; treat it as a broken connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedResponse;

impl std::fmt::Display for MalformedResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(
            "a raft response without exactly one topic and partition, or of the wrong kind",
        )
    }
}

impl std::error::Error for MalformedResponse {}

fn text(value: &str) -> StrBytes {
    StrBytes::from(value)
}

fn cluster_id(value: &Option<StrBytes>) -> Option<String> {
    value.as_ref().map(|id| id.to_string())
}

fn error_of(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError)
}

fn leader_of(leader_id: i32, epoch: i32) -> LeaderAndEpoch {
    LeaderAndEpoch {
        leader_id: (leader_id >= 0).then_some(leader_id),
        epoch,
    }
}

/// The only element, when there is just one.
fn only<T>(items: &[T]) -> Option<&T> {
    match items {
        [one] => Some(one),
        _ => None,
    }
}

/// An endpoint told without a listener name: it is of the listener that was asked.
fn unnamed_endpoint(host: &str, port: u16) -> Endpoint {
    Endpoint {
        name: String::new(),
        host: host.to_owned(),
        port,
    }
}
