//! Blocking calls to one server, for what comes before and after the load. The load itself is in `driver`.

use crate::PerfError;
use bytes::Bytes;
use odradek_protocol::api::{request_header_version, response_header_version};
use odradek_protocol::codec::{DecodeError, Reader, Writer};
use odradek_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreatePartitionsRequest, CreatePartitionsResponse,
    CreateTopicsRequest, CreateTopicsResponse, InitProducerIdRequest, InitProducerIdResponse,
    ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse, RequestHeader,
    ResponseHeader,
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::CreatableTopic,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    metadata_request::MetadataRequestTopic,
};
use odradek_protocol::{ApiKey, Message, StrBytes, Uuid};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The client id in every request.
pub const CLIENT_ID: &str = "odradek-perf";

/// The longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Partitions made in one request: Kafka takes no more than 10,000 records in one change of its metadata.
const PARTITIONS_AT_ONCE_MAX: i32 = 9_000;

/// An answer's memory that is kept for the next one, bytes.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// How long one call may take.
const CALL_SECONDS_MAX: u64 = 30;

/// Kafka's error codes of what is not there yet.
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const LEADER_NOT_AVAILABLE: i16 = 5;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;

/// How long a topic that was just made may take until the metadata show all of it: a base, and what each of its partitions adds. Apache Kafka answers
/// before its broker knows of them, and makes a folder for each.
const READY_SECONDS_MAX: u64 = 30;
const READY_PARTITIONS_PER_SECOND: u64 = 40;

/// A connection that asks one thing at a time.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    address: String,
    correlation_id: i32,
    versions: BTreeMap<i16, (i16, i16)>,
    /// The last answer: its memory is used again once nobody else holds a part of it.
    last: Bytes,
}

/// A topic as the load needs it.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: StrBytes,
    /// Its id.
    pub id: Uuid,
    /// Its partitions, from 0 on.
    pub partitions: i32,
    /// HOST:PORT of the broker that leads them all.
    pub leader: String,
}

impl Client {
    /// Connects to `address` (HOST:PORT) and asks which versions the server speaks.
    ///
    /// # Errors
    /// When it cannot be reached, or does not speak Kafka's protocol.
    pub fn connect(address: &str) -> Result<Client, PerfError> {
        let doing = || format!("connecting to {address}");
        let stream =
            TcpStream::connect(address).map_err(|error| PerfError::network(doing(), error))?;
        let limit = Some(Duration::from_secs(CALL_SECONDS_MAX));
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(limit))
            .map_err(|error| PerfError::network(doing(), error))?;
        let mut client = Client {
            stream,
            address: address.to_string(),
            correlation_id: 0,
            versions: BTreeMap::new(),
            last: Bytes::new(),
        };
        let request = ApiVersionsRequest {
            client_software_name: CLIENT_ID.into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
            ..Default::default()
        };
        let answer: ApiVersionsResponse = client.call_at(ApiKey::ApiVersions, 3, &request)?;
        refuse("ApiVersions", answer.error_code, None)?;
        client.versions = answer
            .api_keys
            .iter()
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        Ok(client)
    }

    /// The highest version of an API that both sides speak.
    ///
    /// # Errors
    /// When there is none.
    pub fn version(&self, key: ApiKey) -> Result<i16, PerfError> {
        let ours = key.api().versions();
        let theirs = self.versions.get(&key.as_i16()).copied();
        theirs
            .map(|(first, last)| (first.max(ours.first), last.min(ours.last)))
            .filter(|(first, last)| first <= last)
            .map(|(_, last)| last)
            .ok_or_else(|| {
                let name = key.name();
                PerfError::Protocol(format!(
                    "{name}: the server offers {theirs:?}, this program speaks {} to {}",
                    ours.first, ours.last
                ))
            })
    }

    /// Asks and waits for the answer, at the highest version that both speak.
    ///
    /// # Errors
    /// When the connection breaks, no answer comes within 30 s, or the answer cannot be read.
    pub fn call<Request: Message, Answer: Message>(
        &mut self,
        key: ApiKey,
        request: &Request,
    ) -> Result<Answer, PerfError> {
        let version = self.version(key)?;
        self.call_at(key, version, request)
    }

    /// Asks at the highest version that both speak, and reads the answer without looking into it: its bytes, the header's
    /// too, are counted.
    ///
    /// # Errors
    /// When the connection breaks or no answer comes within 30 s.
    pub fn call_unread<Request: Message>(
        &mut self,
        key: ApiKey,
        request: &Request,
    ) -> Result<usize, PerfError> {
        let version = self.version(key)?;
        self.answer_to(key, version, request)
            .map(|answer| answer.len())
    }

    fn call_at<Request: Message, Answer: Message>(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &Request,
    ) -> Result<Answer, PerfError> {
        self.read_at(key, version, request, |reader| {
            Answer::decode(reader, version)
        })
    }

    /// Asks at the highest version that both speak, and lets `read` take the answer behind its header in its own way.
    ///
    /// # Errors
    /// Those of [`Client::call`] and of `read`.
    pub fn call_reading<Request: Message, Answer>(
        &mut self,
        key: ApiKey,
        request: &Request,
        read: impl FnOnce(&mut Reader, i16) -> Result<Answer, DecodeError>,
    ) -> Result<Answer, PerfError> {
        let version = self.version(key)?;
        self.read_at(key, version, request, |reader| read(reader, version))
    }

    fn read_at<Request: Message, Answer>(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &Request,
        read: impl FnOnce(&mut Reader) -> Result<Answer, DecodeError>,
    ) -> Result<Answer, PerfError> {
        let mut reader = Reader::new(self.answer_to(key, version, request)?);
        let header = ResponseHeader::decode(&mut reader, response_header_version(key, version))
            .map_err(|error| PerfError::codec(key.name(), error))?;
        if header.correlation_id != self.correlation_id {
            return Err(PerfError::Protocol(format!(
                "{}: correlation id {} came back as {}",
                key.name(),
                self.correlation_id,
                header.correlation_id
            )));
        }
        read(&mut reader).map_err(|error| PerfError::codec(key.name(), error))
    }

    fn answer_to<Request: Message>(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &Request,
    ) -> Result<Bytes, PerfError> {
        self.correlation_id += 1;
        let mut writer = Writer::frame();
        write_header(&mut writer, key, version, self.correlation_id)
            .and_then(|()| request.encode(&mut writer, version))
            .map_err(|error| PerfError::codec(key.name(), error))?;
        let segments = writer
            .finish_frame()
            .map_err(|error| PerfError::codec(key.name(), error))?;
        self.exchange(&segments).map_err(|error| {
            PerfError::network(format!("{} to {}", key.name(), self.address), error)
        })
    }

    fn exchange(&mut self, segments: &[Bytes]) -> std::io::Result<Bytes> {
        for segment in segments {
            self.stream.write_all(segment)?;
        }
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > ANSWER_BYTES_MAX {
            return Err(std::io::Error::other(format!(
                "an answer of {length} bytes"
            )));
        }
        let mut answer = match std::mem::take(&mut self.last).try_into_mut() {
            Ok(unused) if unused.capacity() <= KEPT_BYTES_MAX => Vec::from(unused),
            _ => Vec::new(),
        };
        answer.clear();
        answer.reserve_exact(length);
        (&self.stream)
            .take(length as u64)
            .read_to_end(&mut answer)?;
        if answer.len() < length {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let answer = Bytes::from(answer);
        self.last = answer.clone();
        Ok(answer)
    }

    /// Finds the topic; makes it with `partitions` when it is missing, and waits until every partition is known and has a leader.
    ///
    /// # Errors
    /// When it cannot be made, has another number of partitions, or is led by more than one broker: this load drives one.
    pub fn ensure_topic(&mut self, name: &str, partitions: i32) -> Result<Topic, PerfError> {
        let more = u64::try_from(partitions).unwrap_or(0) / READY_PARTITIONS_PER_SECOND;
        let patience_seconds = READY_SECONDS_MAX + more;
        let mut deadline = Instant::now() + Duration::from_secs(patience_seconds);
        let (mut created, mut known) = (false, 0);
        loop {
            match self.find_topic(name)? {
                Found::Ready(topic) if topic.partitions == partitions => {
                    if created {
                        self.await_leaders(&topic, deadline)?;
                    }
                    return Ok(topic);
                }
                // What one request made, and what the next ones added, become known one after the other.
                Found::Ready(topic) if created && topic.partitions < partitions => {
                    known = topic.partitions;
                }
                Found::Ready(topic) => {
                    return Err(PerfError::Options(format!(
                        "topic {name} has {} partitions, not {partitions}; name another topic, or that number",
                        topic.partitions
                    )));
                }
                Found::Missing if !created => {
                    self.create_topic(name, partitions)?;
                    created = true;
                    deadline = Instant::now() + Duration::from_secs(patience_seconds);
                }
                Found::Missing | Found::NotReady => {}
            }
            if Instant::now() > deadline {
                return Err(PerfError::Unanswered(format!(
                    "topic {name} has not {partitions} partitions with a leader each after {patience_seconds} s; the metadata showed {known} at last"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the broker leads what the metadata say it does: Apache Kafka makes or reads its partitions' folders one after the other, and refuses
    /// what is asked of the others meanwhile.
    ///
    /// # Errors
    /// When it still refuses at `deadline`, or refuses something else.
    pub fn await_leaders(&mut self, topic: &Topic, deadline: Instant) -> Result<(), PerfError> {
        const LATEST: i64 = -1;
        // The produce floors answer only what a producer asks, and lead from the first moment on.
        if !self.versions.contains_key(&ApiKey::ListOffsets.as_i16()) {
            return Ok(());
        }
        let all: Vec<i32> = (0..topic.partitions).collect();
        loop {
            match self.offsets(topic, &all, LATEST) {
                Err(PerfError::Refused {
                    code: UNKNOWN_TOPIC_OR_PARTITION | LEADER_NOT_AVAILABLE | NOT_LEADER_OR_FOLLOWER,
                    ..
                }) if Instant::now() < deadline => {}
                asked => return asked.map(drop),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The topic, which must be there.
    ///
    /// # Errors
    /// When it is not, or has no leaders.
    pub fn existing_topic(&mut self, name: &str) -> Result<Topic, PerfError> {
        match self.find_topic(name)? {
            Found::Ready(topic) => Ok(topic),
            Found::Missing => Err(PerfError::Options(format!("there is no topic {name}"))),
            Found::NotReady => Err(PerfError::Options(format!(
                "not every partition of topic {name} has a leader"
            ))),
        }
    }

    fn find_topic(&mut self, name: &str) -> Result<Found, PerfError> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(name.into()),
                ..Default::default()
            }]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let answer: MetadataResponse = self.call(ApiKey::Metadata, &request)?;
        let topic = answer.topics.first().ok_or_else(|| {
            PerfError::Protocol("Metadata: the topic asked for is missing".into())
        })?;
        match topic.error_code {
            UNKNOWN_TOPIC_OR_PARTITION => return Ok(Found::Missing),
            LEADER_NOT_AVAILABLE => return Ok(Found::NotReady),
            code => refuse(&format!("Metadata of topic {name}"), code, None)?,
        }
        let mut leaders = topic.partitions.iter().map(|partition| partition.leader_id);
        let Some(leader) = leaders.next().filter(|leader| *leader >= 0) else {
            return Ok(Found::NotReady);
        };
        if topic
            .partitions
            .iter()
            .any(|partition| partition.leader_id < 0)
        {
            return Ok(Found::NotReady);
        }
        if leaders.any(|other| other != leader) {
            return Err(PerfError::Options(format!(
                "topic {name} is led by more than one broker; this load drives one"
            )));
        }
        let broker = answer
            .brokers
            .iter()
            .find(|broker| broker.node_id == leader)
            .ok_or_else(|| PerfError::Protocol(format!("Metadata: broker {leader} is missing")))?;
        Ok(Found::Ready(Topic {
            name: name.into(),
            id: topic.topic_id,
            partitions: topic.partitions.len() as i32,
            leader: format!("{}:{}", &*broker.host, broker.port),
        }))
    }

    /// Makes the topic, with partitions beyond what one request may make added step by step.
    fn create_topic(&mut self, name: &str, partitions: i32) -> Result<(), PerfError> {
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: name.into(),
                num_partitions: partitions.min(PARTITIONS_AT_ONCE_MAX),
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: 30_000,
            ..Default::default()
        };
        let answer: CreateTopicsResponse = self.call(ApiKey::CreateTopics, &request)?;
        let topic = answer
            .topics
            .first()
            .ok_or_else(|| PerfError::Protocol("CreateTopics: the topic is missing".into()))?;
        let message = topic.error_message.as_ref().map(|text| text.to_string());
        refuse(&format!("CreateTopics {name}"), topic.error_code, message)?;
        let mut made = partitions.min(PARTITIONS_AT_ONCE_MAX);
        while made < partitions {
            made = partitions.min(made + PARTITIONS_AT_ONCE_MAX);
            self.grow_topic(name, made)?;
        }
        Ok(())
    }

    fn grow_topic(&mut self, name: &str, partitions: i32) -> Result<(), PerfError> {
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: name.into(),
                count: partitions,
                assignments: None,
                ..Default::default()
            }],
            timeout_ms: 30_000,
            ..Default::default()
        };
        let answer: CreatePartitionsResponse = self.call(ApiKey::CreatePartitions, &request)?;
        let topic = answer
            .results
            .first()
            .ok_or_else(|| PerfError::Protocol("CreatePartitions: the topic is missing".into()))?;
        let message = topic.error_message.as_ref().map(|text| text.to_string());
        let what = format!("CreatePartitions {name}, {partitions} in all");
        refuse(&what, topic.error_code, message)
    }

    /// Where partitions begin or end: the offset at `timestamp`, for Kafka -2 is the earliest and -1 the latest. In the order of
    /// `partitions`.
    ///
    /// # Errors
    /// When the server refuses, or leaves one out.
    pub fn offsets(
        &mut self,
        topic: &Topic,
        partitions: &[i32],
        timestamp: i64,
    ) -> Result<Vec<i64>, PerfError> {
        let mut offsets = Vec::with_capacity(partitions.len());
        for part in partitions.chunks(PARTITIONS_AT_ONCE_MAX as usize) {
            let wanted = part.iter().map(|&partition_index| ListOffsetsPartition {
                partition_index,
                timestamp,
                ..Default::default()
            });
            let request = ListOffsetsRequest {
                replica_id: -1,
                topics: vec![ListOffsetsTopic {
                    name: topic.name.clone(),
                    partitions: wanted.collect(),
                    ..Default::default()
                }],
                timeout_ms: 30_000,
                ..Default::default()
            };
            let answer: ListOffsetsResponse = self.call(ApiKey::ListOffsets, &request)?;
            let found = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let mut by_partition = BTreeMap::new();
            for partition in found {
                let index = partition.partition_index;
                refuse(
                    &format!("ListOffsets of partition {index}"),
                    partition.error_code,
                    None,
                )?;
                by_partition.insert(index, partition.offset);
            }
            for partition in part {
                let offset = by_partition.get(partition).copied();
                offsets.push(offset.ok_or_else(|| {
                    PerfError::Protocol(format!("ListOffsets: partition {partition} is missing"))
                })?);
            }
        }
        Ok(offsets)
    }

    /// A new idempotent producer: its id and epoch.
    ///
    /// # Errors
    /// When the server refuses, or has no ids to give for 30 s.
    pub fn init_producer_id(&mut self) -> Result<(i64, i16), PerfError> {
        const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
        const COORDINATOR_NOT_AVAILABLE: i16 = 15;
        let deadline = Instant::now() + Duration::from_secs(CALL_SECONDS_MAX);
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        loop {
            let answer: InitProducerIdResponse = self.call(ApiKey::InitProducerId, &request)?;
            let later = matches!(
                answer.error_code,
                COORDINATOR_LOAD_IN_PROGRESS | COORDINATOR_NOT_AVAILABLE
            );
            if !later || Instant::now() > deadline {
                refuse("InitProducerId", answer.error_code, None)?;
                return Ok((answer.producer_id, answer.producer_epoch));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

enum Found {
    Ready(Topic),
    NotReady,
    Missing,
}

/// An error code other than 0 as a refusal.
pub(crate) fn refuse(what: &str, code: i16, message: Option<String>) -> Result<(), PerfError> {
    if code == 0 {
        return Ok(());
    }
    Err(PerfError::Refused {
        what: what.into(),
        code,
        message,
    })
}

/// Writes the header of a request after the frame's length.
pub(crate) fn write_header(
    writer: &mut Writer,
    key: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<(), odradek_protocol::codec::EncodeError> {
    let header = RequestHeader {
        request_api_key: key.as_i16(),
        request_api_version: version,
        correlation_id,
        client_id: Some(StrBytes::from_static(CLIENT_ID)),
        ..Default::default()
    };
    header.encode(writer, request_header_version(key, version))
}
