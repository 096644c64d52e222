//! Produce requests as a pattern: what is the same in all of them is encoded once, whatever the number of partitions, and
//! only correlation id, partition numbers and the batches' heads (`patch`) are written for each. `connection` sends them.

use crate::PerfError;
use crate::batch::PreparedBatch;
use crate::client::{Topic, write_header};
use crate::patch::{HeadPatch, ProducerState};
use bytes::Bytes;
use odradek_protocol::api::response_header_version;
use odradek_protocol::codec::{Reader, Writer};
use odradek_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use odradek_protocol::messages::produce_response::{
    PartitionProduceResponse, TopicProduceResponse,
};
use odradek_protocol::messages::{ProduceRequest, ProduceResponse, ResponseHeader};
use odradek_protocol::{ApiKey, Message};

/// Bytes of a request up to its correlation id: frame length, API key, version. With the id they are 12.
const CORRELATION_ID_AT: usize = 8;

/// A partition number that nothing else in a message looks like, to find its place by.
const INDEX_MARK: i32 = 0x5AA5_3C69;

/// Batches up to this size are copied behind their request's head: gathering costs more than the copy.
const COPIED_BYTES_MAX: usize = 8 << 10;

/// What the requests of a run have in common.
#[derive(Clone, Copy, Debug)]
pub struct ProduceShape {
    /// Partitions, and so batches, in one request.
    pub partitions_per_request: u32,
    /// Kafka's acks: -1 is all.
    pub acks: i16,
    /// Version of Produce.
    pub version: i16,
    /// Whether the first value of each batch begins with the time of sending.
    pub stamped: bool,
}

/// Partitions that follow on each other; after the last one comes the first again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRing {
    /// The lowest one.
    pub first: u32,
    /// How many; at least one.
    pub count: u32,
}

impl PartitionRing {
    /// The partition that is `steps` behind the first.
    pub fn at(&self, steps: u32) -> u32 {
        self.first + steps % self.count
    }

    /// How far `partition` is behind the first, when it is one of them.
    pub fn steps_to(&self, partition: i32) -> Option<u32> {
        let steps = u32::try_from(partition).ok()?.checked_sub(self.first)?;
        (steps < self.count).then_some(steps)
    }

    /// The share of the `index`th of `of` owners: a part of the partitions, or one that is also another's when there are fewer
    /// partitions than owners.
    pub fn share(partitions: u32, index: u32, of: u32) -> Self {
        if partitions < of {
            return PartitionRing {
                first: index % partitions,
                count: 1,
            };
        }
        let begin = |index: u32| (u64::from(index) * u64::from(partitions) / u64::from(of)) as u32;
        PartitionRing {
            first: begin(index),
            count: begin(index + 1) - begin(index),
        }
    }
}

/// The partitions of one request: so many of a ring, from a place in it on.
#[derive(Clone, Copy, Debug)]
pub struct Cover {
    /// Whose partitions.
    pub ring: PartitionRing,
    /// Steps behind the ring's first one.
    pub start: u32,
    /// How many.
    pub count: u32,
}

impl Cover {
    fn contains(&self, partition: i32) -> bool {
        let ring = self.ring;
        let steps = ring.steps_to(partition);
        steps.is_some_and(|steps| {
            (steps + ring.count - self.start % ring.count) % ring.count < self.count
        })
    }

    fn partitions_sum(&self) -> u64 {
        let partitions = (0..self.count).map(|step| u64::from(self.ring.at(self.start + step)));
        partitions.sum()
    }
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All stored.
    Stored {
        /// The first batch's first offset.
        base_offset: i64,
    },
    /// These partitions' batches were not stored, for Kafka's reasons with these codes; the others were.
    Refused(Vec<(i32, i16)>),
}

/// Bytes to send, in order: own ones, and pieces of batches that are not copied.
pub trait Output {
    /// Room for bytes of this request alone.
    fn own(&mut self) -> &mut Vec<u8>;
    /// The batch of this number, from `from` on, which stays where it is.
    fn share(&mut self, batch: usize, from: usize);
}

/// The pattern of all requests of a run.
#[derive(Debug)]
pub struct Template {
    shape: ProduceShape,
    /// Everything before the first partition's number; frame length and correlation id are 0.
    head: Vec<u8>,
    /// What follows the records of each partition.
    entry_end: Vec<u8>,
    /// What follows the last partition.
    end: Vec<u8>,
    batches: Vec<BatchPattern>,
    answer: AnswerPattern,
}

#[derive(Debug)]
struct BatchPattern {
    batch: PreparedBatch,
    /// The records' length, as the version writes it.
    length: Vec<u8>,
    patch: HeadPatch,
}

impl Template {
    /// For requests to `topic` that carry `batches` in turn.
    ///
    /// # Errors
    /// When the version cannot hold them.
    pub fn build(
        topic: &Topic,
        batches: Vec<PreparedBatch>,
        shape: ProduceShape,
    ) -> Result<Template, PerfError> {
        let count = shape.partitions_per_request as usize;
        let probe = Bytes::from_static(b"\xA5records\x5A");
        let many = encode(topic, &vec![probe.clone(); count], shape)?;
        let two = encode(topic, &[probe.clone(), probe.clone()], shape)?;
        let head = many[..mark(&many, 0)?].to_vec();
        let first = mark(&two, 0)?;
        let second = mark(&two, first + 4)?;
        let records_at = |from: usize| {
            let mut windows = two[from..].windows(probe.len());
            let at = windows.position(|window| window == &probe[..]);
            at.map(|at| from + at + probe.len())
                .ok_or_else(|| PerfError::Protocol("Produce: no records in the request".into()))
        };
        let entry_end = two[records_at(first)?..second].to_vec();
        let end = two[records_at(second)? + entry_end.len()..].to_vec();
        let mut patterns = Vec::with_capacity(batches.len());
        for batch in batches {
            let one = encode(topic, std::slice::from_ref(&batch.bytes), shape)?;
            let from = mark(&one, 0)? + 4;
            let to = one.len() - end.len() - entry_end.len() - batch.bytes.len();
            patterns.push(BatchPattern {
                length: one[from..to].to_vec(),
                patch: HeadPatch::of(&batch, shape.stamped),
                batch,
            });
        }
        Ok(Template {
            shape,
            head,
            entry_end,
            end,
            batches: patterns,
            answer: AnswerPattern::build(topic, shape)?,
        })
    }

    /// What the requests have in common.
    pub fn shape(&self) -> &ProduceShape {
        &self.shape
    }

    /// How many batches are sent in turn.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// One of the batches.
    pub fn batch(&self, number: usize) -> &PreparedBatch {
        &self.batches[number].batch
    }

    /// Writes a request with this correlation id to the partitions of `cover`, the first with batch `batch`, the next with the
    /// one after it, all of the time `stamp_ns` of the run's clock. `sequence` gives the producer's state for a partition, by its steps
    /// in the ring, and the records sent to it. Gives the bytes of the frame, and of the batches in it.
    pub fn write(
        &self,
        correlation_id: i32,
        cover: &Cover,
        batch: usize,
        stamp_ns: u64,
        mut sequence: impl FnMut(u32, usize) -> Option<ProducerState>,
        output: &mut impl Output,
    ) -> (usize, usize) {
        let numbers = |step: u32| (batch + step as usize) % self.batches.len();
        let fixed = 4 + self.entry_end.len();
        let (mut frame_bytes, mut batch_bytes) = (self.head.len() + self.end.len(), 0);
        for step in 0..cover.count {
            let pattern = &self.batches[numbers(step)];
            batch_bytes += pattern.batch.bytes.len();
            frame_bytes += fixed + pattern.length.len();
        }
        frame_bytes += batch_bytes;
        let own = output.own();
        let start = own.len();
        own.extend_from_slice(&self.head);
        own[start..start + 4].copy_from_slice(&((frame_bytes - 4) as u32).to_be_bytes());
        own[start + CORRELATION_ID_AT..start + CORRELATION_ID_AT + 4]
            .copy_from_slice(&correlation_id.to_be_bytes());
        for step in 0..cover.count {
            let number = numbers(step);
            let pattern = &self.batches[number];
            let place = (cover.start + step) % cover.ring.count;
            let own = output.own();
            own.extend_from_slice(&cover.ring.at(place).to_be_bytes());
            own.extend_from_slice(&pattern.length);
            let producer = sequence(place, pattern.batch.records);
            pattern.patch.write(producer, stamp_ns, own);
            let from = pattern.patch.head_bytes();
            match pattern.batch.bytes.len() <= COPIED_BYTES_MAX {
                true => own.extend_from_slice(&pattern.batch.bytes[from..]),
                false => output.share(number, from),
            }
            output.own().extend_from_slice(&self.entry_end);
        }
        output.own().extend_from_slice(&self.end);
        (frame_bytes, batch_bytes)
    }

    /// Reads an answer from after its correlation id on. The usual one is told by comparing bytes, which costs next to
    /// nothing; any other is decoded whole.
    ///
    /// # Errors
    /// When it is no answer to a request to these partitions.
    pub fn read_answer(&self, answer: &[u8], cover: &Cover) -> Result<Answer, PerfError> {
        match self.answer.read_usual(answer, cover) {
            Some(base_offset) => Ok(Answer::Stored { base_offset }),
            None => read_unusual(answer, cover, self.shape.version),
        }
    }
}

fn encode(topic: &Topic, records: &[Bytes], shape: ProduceShape) -> Result<Vec<u8>, PerfError> {
    let failed = |error| PerfError::codec("encoding Produce", error);
    let partition_data = records.iter().map(|records| PartitionProduceData {
        index: INDEX_MARK,
        records: Some(records.clone()),
        ..Default::default()
    });
    let request = ProduceRequest {
        acks: shape.acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.name.clone(),
            topic_id: topic.id,
            partition_data: partition_data.collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut writer = Writer::frame();
    write_header(&mut writer, ApiKey::Produce, shape.version, 0).map_err(failed)?;
    request.encode(&mut writer, shape.version).map_err(failed)?;
    Ok(writer.finish_frame().map_err(failed)?.concat())
}

fn mark(bytes: &[u8], from: usize) -> Result<usize, PerfError> {
    let mark = INDEX_MARK.to_be_bytes();
    let at = bytes[from..].windows(4).position(|window| window == mark);
    at.map(|at| from + at)
        .ok_or_else(|| PerfError::Protocol("Produce: no partition number in the message".into()))
}

/// How the answer looks that says "all stored".
#[derive(Debug)]
struct AnswerPattern {
    /// From after the correlation id up to the first partition's number.
    head: Vec<u8>,
    /// From one partition's number to the next one's.
    entry_bytes: usize,
    /// Of the whole answer, from after the correlation id on.
    bytes: usize,
}

impl AnswerPattern {
    fn build(topic: &Topic, shape: ProduceShape) -> Result<Self, PerfError> {
        let count = shape.partitions_per_request as usize;
        let many = encode_answer(topic, count, shape.version)?;
        let two = encode_answer(topic, 2, shape.version)?;
        let first = mark(&two, 0)?;
        Ok(AnswerPattern {
            head: many[..mark(&many, 0)?].to_vec(),
            entry_bytes: mark(&two, first + 4)? - first,
            bytes: many.len(),
        })
    }

    /// The first batch's base offset, when all is well. Servers answer partitions in any order; that each is there is told by
    /// their number, that each was asked for, and their sum.
    fn read_usual(&self, answer: &[u8], cover: &Cover) -> Option<i64> {
        let entries = answer.strip_prefix(self.head.as_slice())?;
        if answer.len() != self.bytes {
            return None;
        }
        let mut sum = 0;
        for entry in entries.chunks(self.entry_bytes).take(cover.count as usize) {
            let index = i32::from_be_bytes(*entry.first_chunk()?);
            if entry[4..6] != [0, 0] || !cover.contains(index) {
                return None;
            }
            sum += index as u64;
        }
        let whole = cover.count == 1 || sum == cover.partitions_sum();
        let offset = entries.get(6..14)?.first_chunk()?;
        whole.then_some(i64::from_be_bytes(*offset))
    }
}

fn encode_answer(topic: &Topic, count: usize, version: i16) -> Result<Vec<u8>, PerfError> {
    let failed = |error| PerfError::codec("encoding a Produce response", error);
    let entry = PartitionProduceResponse {
        index: INDEX_MARK,
        ..Default::default()
    };
    let response = ProduceResponse {
        responses: vec![TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.id,
            partition_responses: vec![entry; count],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut writer = Writer::new();
    let header_version = response_header_version(ApiKey::Produce, version);
    ResponseHeader::default()
        .encode(&mut writer, header_version)
        .map_err(failed)?;
    response.encode(&mut writer, version).map_err(failed)?;
    Ok(writer.into_bytes()[4..].to_vec())
}

fn read_unusual(answer: &[u8], cover: &Cover, version: i16) -> Result<Answer, PerfError> {
    let failed = |error| PerfError::codec("decoding a Produce response", error);
    let mut whole = vec![0; 4];
    whole.extend_from_slice(answer);
    let mut reader = Reader::new(Bytes::from(whole));
    let header_version = response_header_version(ApiKey::Produce, version);
    ResponseHeader::decode(&mut reader, header_version).map_err(failed)?;
    let response = ProduceResponse::decode(&mut reader, version).map_err(failed)?;
    let mut seen = Vec::with_capacity(cover.count as usize);
    let mut refused = Vec::new();
    let mut first_offset = 0;
    for entry in response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
    {
        if !cover.contains(entry.index) {
            return Err(other_partitions(entry.index, cover));
        }
        if seen.is_empty() {
            first_offset = entry.base_offset;
        }
        seen.push(entry.index);
        if entry.error_code != 0 {
            refused.push((entry.index, entry.error_code));
        }
    }
    seen.sort_unstable();
    seen.dedup();
    if seen.len() != cover.count as usize {
        return Err(PerfError::Protocol(format!(
            "a Produce response for {} partitions to a request for {}",
            seen.len(),
            cover.count
        )));
    }
    match refused.is_empty() {
        true => Ok(Answer::Stored {
            base_offset: first_offset,
        }),
        false => Ok(Answer::Refused(refused)),
    }
}

fn other_partitions(found: i32, cover: &Cover) -> PerfError {
    PerfError::Protocol(format!(
        "a Produce response for partition {found}, where the request was for {} from {} on",
        cover.count,
        cover.ring.at(cover.start)
    ))
}
