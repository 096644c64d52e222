//! Produce requests encoded once, one for each partition; only the correlation id changes from one sending to the next.
//! `driver` sends them; `batch` made what they carry.

use crate::PerfError;
use crate::batch::PreparedBatch;
use crate::client::{Topic, write_header};
use bytes::Bytes;
use odradek_protocol::api::response_header_version;
use odradek_protocol::codec::{Reader, Writer};
use odradek_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use odradek_protocol::messages::produce_response::{
    PartitionProduceResponse, TopicProduceResponse,
};
use odradek_protocol::messages::{ProduceRequest, ProduceResponse, ResponseHeader};
use odradek_protocol::{ApiKey, Message};

/// Bytes of a request up to and with its correlation id: frame length, API key, version, correlation id.
pub const PREFIX_BYTES: usize = 12;

/// One partition's request, and what the answer to it begins with when all is well.
#[derive(Debug)]
pub struct Frame {
    /// The frame's start, with a correlation id of 0 at its end.
    pub prefix: [u8; PREFIX_BYTES],
    /// The rest of the frame. The records are shared between the partitions' frames, unless they are small.
    pub rest: Vec<Bytes>,
    /// Bytes of the whole frame.
    pub bytes: usize,
    partition: i32,
    version: i16,
    good_answer: Vec<u8>,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Stored from this offset on.
    Stored {
        /// The batch's first offset.
        base_offset: i64,
    },
    /// Not stored, for Kafka's reason with this code.
    Refused(i16),
}

impl Frame {
    /// The request for one partition, at `version` of Produce.
    ///
    /// # Errors
    /// When the version cannot hold it.
    pub fn build(
        topic: &Topic,
        partition: i32,
        batch: &PreparedBatch,
        acks: i16,
        version: i16,
    ) -> Result<Frame, PerfError> {
        let failed = |error| PerfError::codec("encoding Produce", error);
        let request = ProduceRequest {
            acks,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.name.clone(),
                topic_id: topic.id,
                partition_data: vec![PartitionProduceData {
                    index: partition,
                    records: Some(batch.bytes.clone()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut writer = Writer::frame();
        write_header(&mut writer, ApiKey::Produce, version, 0).map_err(failed)?;
        request.encode(&mut writer, version).map_err(failed)?;
        let mut segments = writer.finish_frame().map_err(failed)?;
        let bytes = segments.iter().map(Bytes::len).sum();
        let first = segments[0].split_to(PREFIX_BYTES);
        let mut prefix = [0; PREFIX_BYTES];
        prefix.copy_from_slice(&first);
        Ok(Frame {
            prefix,
            rest: join_small(&segments),
            bytes,
            partition,
            version,
            good_answer: good_answer(topic, partition, version)?,
        })
    }

    /// The frame's start with this correlation id.
    pub fn prefix_with(&self, correlation_id: i32) -> [u8; PREFIX_BYTES] {
        let mut prefix = self.prefix;
        prefix[8..].copy_from_slice(&correlation_id.to_be_bytes());
        prefix
    }

    /// Reads an answer from after its correlation id on. The usual one is told by comparing bytes, which costs next to
    /// nothing; any other is decoded whole.
    ///
    /// # Errors
    /// When it is no answer to this request.
    pub fn read_answer(&self, answer: &[u8]) -> Result<Answer, PerfError> {
        let usual = answer
            .strip_prefix(self.good_answer.as_slice())
            .and_then(|rest| rest.first_chunk::<8>());
        if let Some(offset) = usual {
            return Ok(Answer::Stored {
                base_offset: i64::from_be_bytes(*offset),
            });
        }
        let failed = |error| PerfError::codec("decoding a Produce response", error);
        let mut whole = vec![0; 4];
        whole.extend_from_slice(answer);
        let mut reader = Reader::new(Bytes::from(whole));
        let header_version = response_header_version(ApiKey::Produce, self.version);
        ResponseHeader::decode(&mut reader, header_version).map_err(failed)?;
        let response = ProduceResponse::decode(&mut reader, self.version).map_err(failed)?;
        match response.responses.as_slice() {
            [topic] => match topic.partition_responses.as_slice() {
                [stored] if stored.index == self.partition && stored.error_code == 0 => {
                    Ok(Answer::Stored {
                        base_offset: stored.base_offset,
                    })
                }
                [refused] if refused.index == self.partition => {
                    Ok(Answer::Refused(refused.error_code))
                }
                _ => Err(self.other_partition()),
            },
            _ => Err(self.other_partition()),
        }
    }

    fn other_partition(&self) -> PerfError {
        PerfError::Protocol(format!(
            "a Produce response for other partitions than {}",
            self.partition
        ))
    }
}

/// Small requests go out as one piece: gathering costs more than the copy that is made here, once.
fn join_small(segments: &[Bytes]) -> Vec<Bytes> {
    const JOINED_BYTES_MAX: usize = 8 << 10;
    if segments.iter().map(Bytes::len).sum::<usize>() > JOINED_BYTES_MAX {
        return segments.to_vec();
    }
    vec![Bytes::from(segments.concat())]
}

/// The bytes between correlation id and base offset in the answer that says "stored".
fn good_answer(topic: &Topic, partition: i32, version: i16) -> Result<Vec<u8>, PerfError> {
    const MARK: i64 = 0x5AA5_1234_4321_A55A;
    let failed = |error| PerfError::codec("encoding a Produce response", error);
    let response = ProduceResponse {
        responses: vec![TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.id,
            partition_responses: vec![PartitionProduceResponse {
                index: partition,
                base_offset: MARK,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut writer = Writer::new();
    let header = ResponseHeader::default();
    header
        .encode(
            &mut writer,
            response_header_version(ApiKey::Produce, version),
        )
        .map_err(failed)?;
    response.encode(&mut writer, version).map_err(failed)?;
    let bytes = writer.into_bytes();
    let mark = bytes
        .windows(8)
        .position(|window| window == MARK.to_be_bytes())
        .ok_or_else(|| PerfError::Protocol("Produce: no base offset in the response".into()))?;
    Ok(bytes[4..mark].to_vec())
}
