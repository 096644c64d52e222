//! What all simulated clients share: requests as frames, answers by correlation id, and what a client may ask the world for.

use super::model::{Model, Phase};
use bytes::Bytes;
use odradek_protocol::api::{request_header_version, response_header_version};
use odradek_protocol::codec::{Reader, Writer};
use odradek_protocol::messages::{RequestHeader, ResponseHeader};
use odradek_protocol::{ApiKey, ErrorCode, Message, StrBytes, Uuid};
use odradek_wal::simulation::Random;

/// A request on its way: what its answer will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub correlation: i32,
    pub api: ApiKey,
    pub version: i16,
}

/// What a client asks for.
pub enum Wish {
    /// Send a frame; an answer comes unless there is none to expect.
    Send {
        frame: Bytes,
        expected: Option<Expected>,
    },
    /// Be woken after this time.
    Wake { after_us: u64 },
}

/// A client's view of the world during one call.
pub struct Hands<'a> {
    pub random: &'a mut Random,
    pub model: &'a mut Model,
    pub wishes: Vec<Wish>,
    /// The correlation id of this client's next request.
    pub correlation: &'a mut i32,
    /// Nothing new is begun any more; what is under way is brought to its end.
    pub ending: bool,
    /// Disks fail in this run, or the node is being stopped: partitions may have no leader that serves them.
    pub troubled: bool,
}

impl Hands<'_> {
    /// Sends a request that is answered; its correlation id.
    pub fn ask<M: Message>(&mut self, api: ApiKey, version: i16, request: &M) -> i32 {
        let correlation = self.tell(api, version, request);
        let expected = Expected {
            correlation,
            api,
            version,
        };
        if let Some(Wish::Send { expected: none, .. }) = self.wishes.last_mut() {
            *none = Some(expected);
        }
        correlation
    }

    /// Sends a request that is not answered.
    pub fn tell<M: Message>(&mut self, api: ApiKey, version: i16, request: &M) -> i32 {
        *self.correlation += 1;
        let correlation = *self.correlation;
        let mut writer = Writer::new();
        let header = RequestHeader {
            request_api_key: api.as_i16(),
            request_api_version: version,
            correlation_id: correlation,
            client_id: Some(StrBytes::from_static("simulation")),
            ..RequestHeader::default()
        };
        header
            .encode(&mut writer, request_header_version(api, version))
            .expect("a header encodes");
        request
            .encode(&mut writer, version)
            .expect("a request of ours encodes");
        self.wishes.push(Wish::Send {
            frame: writer.into_bytes(),
            expected: None,
        });
        correlation
    }

    pub fn wake(&mut self, least_us: u64, most_us: u64) {
        let after_us = least_us + self.random.below(most_us - least_us + 1);
        self.wishes.push(Wish::Wake { after_us });
    }

    /// Whether this answer only means that the client should try again, and the node has a reason to give it for this topic.
    pub fn excuses(&self, topic: Uuid, error: Option<ErrorCode>) -> bool {
        let going = matches!(self.model.phase(topic), Some(Phase::Deleting | Phase::Gone));
        (self.troubled || going)
            && matches!(
                error,
                Some(
                    ErrorCode::KafkaStorageError
                        | ErrorCode::NotLeaderOrFollower
                        | ErrorCode::LeaderNotAvailable
                )
            )
    }

    pub fn broken(&mut self, what: String) {
        self.model.broken(what);
    }
}

/// An answer, its header taken off.
#[derive(Clone, Debug)]
pub struct Answer {
    pub expected: Expected,
    pub body: Bytes,
}

impl Answer {
    /// Takes a frame apart.
    ///
    /// # Errors
    /// When it is not the answer that stands first in line.
    pub fn of(frame: Bytes, expected: Expected) -> Result<Self, String> {
        let mut reader = Reader::new(frame);
        let version = response_header_version(expected.api, expected.version);
        let header =
            ResponseHeader::decode(&mut reader, version).map_err(|error| error.to_string())?;
        if header.correlation_id != expected.correlation {
            return Err(format!(
                "answers are out of order: {} comes, {expected:?} is next",
                header.correlation_id
            ));
        }
        Ok(Self {
            expected,
            body: reader.rest(),
        })
    }

    pub fn decode<M: Message>(&self) -> M {
        let mut reader = Reader::new(self.body.clone());
        let message = M::decode(&mut reader, self.expected.version);
        message.unwrap_or_else(|error| panic!("an answer does not decode: {error}"))
    }
}

/// One simulated client. It speaks over one connection at a time, which the world opens with the first request.
pub trait Client {
    /// Its time has come, and the node's process runs.
    fn wake(&mut self, hands: &mut Hands<'_>);
    /// The next answer, in the order of the requests.
    fn answer(&mut self, hands: &mut Hands<'_>, answer: Answer);
    /// The connection is gone, with all that was not answered.
    fn lost(&mut self);
    /// Nothing is under way. Asked only when nothing new is begun any more.
    fn idle(&self) -> bool;
    /// What it waits for, in words, for a failure's message.
    fn waits_for(&self) -> String;
}

pub fn name(text: &str) -> StrBytes {
    StrBytes::from(text.to_string())
}
