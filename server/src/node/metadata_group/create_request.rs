//! A CreateTopics request, decoded some topics at a time, since one of thousands takes milliseconds. What it comes to is what
//! `CreateTopicsRequest::decode` makes of the same bytes; nothing of it is done before all of it was decoded (`creation.rs`).

use bytes::{BufMut, Bytes, BytesMut};
use odradek_protocol::Message;
use odradek_protocol::codec::{At, DecodeError, DecodeErrorKind, Reader, Value};
use odradek_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};

/// See the module.
pub(super) struct CreateRequest {
    reader: Reader,
    at: At,
    topics: usize,
    left: usize,
}

impl CreateRequest {
    /// Reads up to the first topic.
    ///
    /// # Errors
    /// When the version is unknown, or the topics are null or more than the bytes could hold.
    pub fn begin(body: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        if !CreateTopicsRequest::VERSIONS.contains(version) {
            return Err(reader.error(DecodeErrorKind::UnsupportedVersion {
                message: CreateTopicsRequest::NAME,
                version,
            }));
        }
        let at = At::new(version, CreateTopicsRequest::FLEXIBLE.contains(version));
        let Some(topics) = reader.read_array_length(at.flexible)? else {
            return Err(reader.error(DecodeErrorKind::NullNotAllowed));
        };
        reader.charge(topics.saturating_mul(size_of::<CreatableTopic>()))?;
        Ok(Self {
            reader,
            at,
            topics,
            left: topics,
        })
    }

    /// How many topics it names.
    pub fn topics(&self) -> usize {
        self.topics
    }

    /// The request's version.
    pub fn version(&self) -> i16 {
        self.at.version
    }

    /// Reads `count` topics more; after the last, the rest of the request, without topics.
    ///
    /// # Errors
    /// When the bytes are no such request.
    pub fn step(
        &mut self,
        count: usize,
        each: &mut dyn FnMut(CreatableTopic),
    ) -> Result<Option<CreateTopicsRequest>, DecodeError> {
        for _ in 0..count.min(self.left) {
            each(CreatableTopic::decode_value(&mut self.reader, self.at)?);
            self.left -= 1;
        }
        if self.left > 0 {
            return Ok(None);
        }
        // The rest is a request of no topics.
        let rest = self.reader.rest();
        let mut bytes = BytesMut::with_capacity(rest.len() + 4);
        match self.at.flexible {
            true => bytes.put_u8(1),
            false => bytes.put_i32(0),
        }
        bytes.extend_from_slice(&rest);
        let mut reader = Reader::new(bytes.freeze());
        CreateTopicsRequest::decode(&mut reader, self.at.version).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::request::encode_body;

    fn in_steps(
        body: &Bytes,
        version: i16,
        count: usize,
    ) -> Result<CreateTopicsRequest, DecodeError> {
        let mut request = CreateRequest::begin(body.clone(), version)?;
        let mut topics = Vec::new();
        loop {
            if let Some(rest) = request.step(count, &mut |topic| topics.push(topic))? {
                assert_eq!((request.topics(), rest.topics.len()), (topics.len(), 0));
                return Ok(CreateTopicsRequest { topics, ..rest });
            }
        }
    }

    #[test]
    fn in_pieces_it_is_what_it_is_at_once() {
        for version in CreateTopicsRequest::VERSIONS.iter() {
            for topics in [0usize, 1, 2, 7] {
                let request = CreateTopicsRequest {
                    topics: (0..topics)
                        .map(|number| CreatableTopic {
                            name: format!("topic-{number}").into(),
                            num_partitions: number as i32,
                            replication_factor: 1,
                            ..CreatableTopic::default()
                        })
                        .collect(),
                    timeout_ms: 77,
                    validate_only: true,
                    ..CreateTopicsRequest::default()
                };
                let body = Bytes::from(encode_body(&request, version).unwrap().concat());
                for count in [1, 2, 100] {
                    assert_eq!(in_steps(&body, version, count).unwrap(), request);
                }
                for end in 0..body.len() {
                    assert!(in_steps(&body.slice(..end), version, 2).is_err());
                }
            }
        }
    }
}
