//! As much of Kafka's wire as the produce floors need: Produce at one version, read by hand in one pass, and the few calls that a load
//! makes before it begins. `sync_server` and `ring_server` bring the frames and take the answers.

use bytes::Bytes;
use odradek_protocol::api::{request_header_version, response_header_version};
use odradek_protocol::codec::{Reader, Writer};
use odradek_protocol::messages::api_versions_response::ApiVersion;
use odradek_protocol::messages::create_topics_response::CreatableTopicResult;
use odradek_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use odradek_protocol::messages::{
    ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse, InitProducerIdResponse,
    MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader,
};
use odradek_protocol::records::{CRC_START, HEADER_BYTES, LOG_OVERHEAD_BYTES};
use odradek_protocol::{ApiKey, Message, StrBytes, Uuid};

/// The one version of Produce that the floors speak: topics by id, no string to look up.
const PRODUCE_VERSION: i16 = 13;
/// Bytes of a frame before its length says how many follow.
pub const LENGTH_BYTES: usize = 4;
/// Topics and partitions that a floor keeps offsets for; more are refused, so that nothing grows without end.
const TOPICS_MAX: usize = 10_000;
const PARTITIONS_MAX: usize = 2_000_000;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const CORRUPT_MESSAGE: i16 = 2;
const UNKNOWN_TOPIC_ID: i16 = 100;
const INVALID_PARTITIONS: i16 = 37;
/// The floors' only broker.
const NODE_ID: i32 = 1;

/// What a frame was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A Produce request: its answer is to be sent when the bytes it left in the store are on the disk.
    Produce,
    /// Any other call: its answer can go at once.
    Call,
}

struct FloorTopic {
    name: StrBytes,
    next_offsets: Vec<i64>,
}

/// The topics, and how a frame is answered.
pub struct Wire {
    host: StrBytes,
    port: i32,
    topics: Vec<FloorTopic>,
    partitions: usize,
    next_producer_id: i64,
}

/// Why a connection is to be closed, in words.
pub type Broken = String;

impl Wire {
    /// Of a broker that clients reach at this address.
    pub fn new(host: &str, port: u16) -> Wire {
        Wire {
            host: host.into(),
            port: i32::from(port),
            topics: Vec::new(),
            partitions: 0,
            next_producer_id: 1,
        }
    }

    /// Reads one frame without its length, gives each batch whose CRC is right to `store`, and appends the answer with its length to `answer`.
    ///
    /// # Errors
    /// When the bytes are no request of the versions offered.
    pub fn take(
        &mut self,
        frame: &[u8],
        store: &mut impl FnMut(&[u8]),
        answer: &mut Vec<u8>,
    ) -> Result<Taken, Broken> {
        let mut cursor = Cursor { bytes: frame };
        let (key, version, correlation_id) = (cursor.i16()?, cursor.i16()?, cursor.i32()?);
        if key == ApiKey::Produce.as_i16() && version == PRODUCE_VERSION {
            let begin = answer.len();
            answer.extend_from_slice(&[0; LENGTH_BYTES]);
            answer.extend_from_slice(&correlation_id.to_be_bytes());
            answer.push(0);
            self.produce(cursor, store, answer)?;
            let length = (answer.len() - begin - LENGTH_BYTES) as u32;
            answer[begin..begin + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
            return Ok(Taken::Produce);
        }
        self.call(key, version, correlation_id, frame, answer)?;
        Ok(Taken::Call)
    }

    fn produce(
        &mut self,
        mut cursor: Cursor<'_>,
        store: &mut impl FnMut(&[u8]),
        answer: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let client_id_bytes = cursor.i16()?.max(0) as usize;
        cursor.take(client_id_bytes)?;
        cursor.no_tags()?;
        cursor.compact_bytes()?; // transactional id
        let (_acks, _timeout_ms) = (cursor.i16()?, cursor.i32()?);
        let topics = cursor.compact_count()?;
        put_compact_count(answer, topics);
        for _ in 0..topics {
            let id: [u8; 16] = cursor.take(16)?.try_into().expect("16 bytes were taken");
            answer.extend_from_slice(&id);
            let partitions = cursor.compact_count()?;
            put_compact_count(answer, partitions);
            for _ in 0..partitions {
                let index = cursor.i32()?;
                let records = cursor.compact_bytes()?;
                cursor.no_tags()?;
                let (error_code, base_offset) = self.append(id, index, records, store);
                answer.extend_from_slice(&index.to_be_bytes());
                answer.extend_from_slice(&error_code.to_be_bytes());
                answer.extend_from_slice(&base_offset.to_be_bytes());
                answer.extend_from_slice(&(-1_i64).to_be_bytes()); // log append time: the client's stands
                answer.extend_from_slice(&0_i64.to_be_bytes()); // log start offset
                answer.extend_from_slice(&[1, 0, 0]); // no record errors, no message, no tags
            }
            cursor.no_tags()?;
            answer.push(0);
        }
        cursor.no_tags()?;
        answer.extend_from_slice(&[0; 5]); // throttle time, no tags
        Ok(())
    }

    /// The work a durable log cannot do without: is the batch whole, which offset does it get, and a copy.
    fn append(
        &mut self,
        id: [u8; 16],
        index: i32,
        batch: &[u8],
        store: &mut impl FnMut(&[u8]),
    ) -> (i16, i64) {
        let Some(topic) = self.topics.get_mut(topic_index(id)) else {
            return (UNKNOWN_TOPIC_ID, -1);
        };
        let Some(next_offset) = topic.next_offsets.get_mut(index as usize) else {
            return (UNKNOWN_TOPIC_OR_PARTITION, -1);
        };
        let Some(records) = whole_batch(batch) else {
            return (CORRUPT_MESSAGE, -1);
        };
        let base_offset = *next_offset;
        *next_offset += i64::from(records);
        store(batch);
        (0, base_offset)
    }

    fn call(
        &mut self,
        key: i16,
        version: i16,
        correlation_id: i32,
        frame: &[u8],
        answer: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let api = ApiKey::from_i16(key)
            .filter(|api| offered(*api).is_some_and(|(first, last)| (first..=last).contains(&version)))
            .ok_or_else(|| format!("a request of API {key} at version {version}; the floors speak Produce {PRODUCE_VERSION} and what a load needs to begin"))?;
        let mut reader = Reader::new(Bytes::copy_from_slice(frame));
        RequestHeader::decode(&mut reader, request_header_version(api, version))
            .map_err(|error| format!("{}: {error}", api.name()))?;
        let failed = |error| format!("{}: {error}", api.name());
        let mut writer = Writer::frame();
        let header = ResponseHeader {
            correlation_id,
            ..Default::default()
        };
        header
            .encode(&mut writer, response_header_version(api, version))
            .map_err(failed)?;
        match api {
            ApiKey::ApiVersions => versions().encode(&mut writer, version),
            ApiKey::Metadata => {
                let request = MetadataRequest::decode(&mut reader, version)
                    .map_err(|error| format!("Metadata: {error}"))?;
                self.metadata(&request).encode(&mut writer, version)
            }
            ApiKey::CreateTopics => {
                let request = CreateTopicsRequest::decode(&mut reader, version)
                    .map_err(|error| format!("CreateTopics: {error}"))?;
                self.create(&request).encode(&mut writer, version)
            }
            _ => {
                self.next_producer_id += 1;
                let response = InitProducerIdResponse {
                    producer_id: self.next_producer_id,
                    ..Default::default()
                };
                response.encode(&mut writer, version)
            }
        }
        .map_err(failed)?;
        let segments = writer.finish_frame().map_err(failed)?;
        segments
            .iter()
            .for_each(|segment| answer.extend_from_slice(segment));
        Ok(())
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let topics = match &request.topics {
            None => (0..self.topics.len())
                .map(|index| self.described(index))
                .collect(),
            Some(asked) => asked
                .iter()
                .map(|asked| {
                    let found = self
                        .topics
                        .iter()
                        .position(|topic| Some(&topic.name) == asked.name.as_ref());
                    found.map_or_else(
                        || MetadataResponseTopic {
                            error_code: UNKNOWN_TOPIC_OR_PARTITION,
                            name: asked.name.clone(),
                            ..Default::default()
                        },
                        |index| self.described(index),
                    )
                })
                .collect(),
        };
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: NODE_ID,
                host: self.host.clone(),
                port: self.port,
                ..Default::default()
            }],
            controller_id: NODE_ID,
            topics,
            ..Default::default()
        }
    }

    fn described(&self, index: usize) -> MetadataResponseTopic {
        let topic = &self.topics[index];
        let partitions = 0..topic.next_offsets.len() as i32;
        MetadataResponseTopic {
            name: Some(topic.name.clone()),
            topic_id: topic_id(index),
            partitions: partitions
                .map(|partition_index| MetadataResponsePartition {
                    partition_index,
                    leader_id: NODE_ID,
                    leader_epoch: 0,
                    replica_nodes: vec![NODE_ID],
                    isr_nodes: vec![NODE_ID],
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }

    fn create(&mut self, request: &CreateTopicsRequest) -> CreateTopicsResponse {
        let topics = request.topics.iter().map(|asked| {
            let partitions = asked.num_partitions.max(0) as usize;
            let full = self.topics.len() == TOPICS_MAX;
            let result = CreatableTopicResult {
                name: asked.name.clone(),
                topic_id: topic_id(self.topics.len()),
                ..Default::default()
            };
            if full || partitions == 0 || self.partitions + partitions > PARTITIONS_MAX {
                return CreatableTopicResult {
                    error_code: INVALID_PARTITIONS,
                    ..result
                };
            }
            self.partitions += partitions;
            self.topics.push(FloorTopic {
                name: asked.name.clone(),
                next_offsets: vec![0; partitions],
            });
            result
        });
        CreateTopicsResponse {
            topics: topics.collect(),
            ..Default::default()
        }
    }
}

/// First and last version offered of an API.
fn offered(api: ApiKey) -> Option<(i16, i16)> {
    match api {
        ApiKey::Produce => Some((PRODUCE_VERSION, PRODUCE_VERSION)),
        ApiKey::ApiVersions => Some((0, 4)),
        ApiKey::Metadata => Some((10, 13)),
        ApiKey::CreateTopics => Some((5, 7)),
        ApiKey::InitProducerId => Some((2, 5)),
        _ => None,
    }
}

fn versions() -> ApiVersionsResponse {
    let offers = [
        ApiKey::Produce,
        ApiKey::Metadata,
        ApiKey::ApiVersions,
        ApiKey::CreateTopics,
        ApiKey::InitProducerId,
    ];
    let api_keys = offers.iter().filter_map(|api| {
        let (min_version, max_version) = offered(*api)?;
        Some(ApiVersion {
            api_key: api.as_i16(),
            min_version,
            max_version,
            ..Default::default()
        })
    });
    ApiVersionsResponse {
        api_keys: api_keys.collect(),
        ..Default::default()
    }
}

/// A topic's id says its place in the list, so that finding it costs nothing.
fn topic_id(index: usize) -> Uuid {
    let mut id = [0xF1; 16];
    id[..4].copy_from_slice(&(index as u32).to_be_bytes());
    Uuid(id)
}

fn topic_index(id: [u8; 16]) -> usize {
    u32::from_be_bytes([id[0], id[1], id[2], id[3]]) as usize
}

/// How many offsets the batch takes, when its length and its CRC are right.
fn whole_batch(batch: &[u8]) -> Option<i32> {
    if batch.len() < HEADER_BYTES {
        return None;
    }
    let word = |at: usize| {
        let bytes = batch[at..at + 4].try_into();
        u32::from_be_bytes(bytes.expect("4 bytes of the header"))
    };
    let whole = word(8) as usize == batch.len() - LOG_OVERHEAD_BYTES
        && word(17) == crc32c::crc32c(&batch[CRC_START..]);
    whole.then(|| (word(23) as i32).saturating_add(1).max(1))
}

fn put_compact_count(to: &mut Vec<u8>, count: usize) {
    let mut left = count + 1;
    while left >= 0x80 {
        to.push(left as u8 | 0x80);
        left >>= 7;
    }
    to.push(left as u8);
}

struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or("a request shorter than its fields")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> Result<i16, Broken> {
        let bytes = self.take(2)?.try_into();
        Ok(i16::from_be_bytes(bytes.expect("2 bytes were taken")))
    }

    fn i32(&mut self) -> Result<i32, Broken> {
        let bytes = self.take(4)?.try_into();
        Ok(i32::from_be_bytes(bytes.expect("4 bytes were taken")))
    }

    fn varint(&mut self) -> Result<usize, Broken> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a length of more than 5 bytes".into())
    }

    /// Elements of an array: never more than bytes are left.
    fn compact_count(&mut self) -> Result<usize, Broken> {
        let count = self.varint()?.saturating_sub(1);
        if count > self.bytes.len() {
            return Err(format!("an array of {count} in {} bytes", self.bytes.len()));
        }
        Ok(count)
    }

    fn compact_bytes(&mut self) -> Result<&'a [u8], Broken> {
        let length = self.varint()?.saturating_sub(1);
        self.take(length)
    }

    fn no_tags(&mut self) -> Result<(), Broken> {
        match self.varint()? {
            0 => Ok(()),
            count => Err(format!("{count} tagged fields, where no client sends one")),
        }
    }
}

/// The length of the frame that `input` begins with, without the four bytes that say it; `None` until they are there.
///
/// # Errors
/// When it is longer than `bytes_max`.
pub fn frame_bytes(input: &[u8], bytes_max: usize) -> Result<Option<usize>, Broken> {
    let Some(length) = input.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > bytes_max {
        return Err(format!(
            "a frame of {length} bytes; the floors take {bytes_max}"
        ));
    }
    Ok(Some(length))
}
