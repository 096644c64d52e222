//! A server for the commands' tests, in this process: it keeps batches in memory, looks at each of them closely, and does what
//! it is told to do wrong. It knows one topic and only the APIs that the commands call.

use bytes::Bytes;
use odradek_protocol::api::{request_header_version, response_header_version};
use odradek_protocol::codec::{Reader, Writer};
use odradek_protocol::messages::api_versions_response::ApiVersion;
use odradek_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use odradek_protocol::messages::create_topics_response::CreatableTopicResult;
use odradek_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use odradek_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use odradek_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use odradek_protocol::messages::produce_response::{
    PartitionProduceResponse, TopicProduceResponse,
};
use odradek_protocol::messages::*;
use odradek_protocol::records::{BatchHeader, NO_PRODUCER_ID, set_base_offset, verify_crc};
use odradek_protocol::{ApiKey, Message, Uuid};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const TOPIC_ID: Uuid = Uuid([7; 16]);
const NOT_LEADER: i16 = 6;
const OUT_OF_ORDER: i16 = 45;

/// What it holds and what it is to do.
#[derive(Debug, Default)]
pub struct State {
    pub partitions: i32,
    /// Batches by partition, each with its end offset.
    pub logs: BTreeMap<i32, Vec<(i64, Bytes)>>,
    /// Refuse so many batches from now on.
    pub refusals: u32,
    /// Wait once for so long before an answer to Produce.
    pub stall: Option<Duration>,
    /// How many partitions the next answers to Metadata show, one after the other, as a broker does that learns of a topic bit by bit; 0 for a
    /// topic that it does not know. After them all are shown.
    pub shown: VecDeque<i32>,
    /// So many answers to ListOffsets say that the first partition asked for is not led yet.
    pub unled: u32,
    /// Partitions of the topic as each request that makes some asks for.
    pub made: Vec<i32>,
    /// What no good client does.
    pub complaints: Vec<String>,
    producers: i64,
    sequences: HashMap<(i64, i32), i32>,
}

impl State {
    pub fn batches(&self) -> u64 {
        self.logs.values().map(|log| log.len() as u64).sum()
    }

    fn end(&self, partition: i32) -> i64 {
        let log = self.logs.get(&partition);
        log.and_then(|log| log.last()).map_or(0, |(end, _)| *end)
    }

    fn store(&mut self, partition: i32, records: &Bytes) -> (i16, i64) {
        if self.refusals > 0 {
            self.refusals -= 1;
            return (NOT_LEADER, -1);
        }
        if !(0..self.partitions).contains(&partition) {
            self.complaints.push(format!("partition {partition}"));
        }
        if let Err(error) = verify_crc(records) {
            self.complaints
                .push(format!("partition {partition}: {error}"));
        }
        let header = BatchHeader::parse(records).expect("a batch has a header");
        if header.producer_id != NO_PRODUCER_ID {
            let key = (header.producer_id, partition);
            let due = self.sequences.entry(key).or_default();
            if *due != header.base_sequence {
                return (OUT_OF_ORDER, -1);
            }
            *due += header.records_count;
        }
        let base = self.end(partition);
        let mut batch = records.to_vec();
        set_base_offset(&mut batch, base);
        let end = base + i64::from(header.records_count);
        let log = self.logs.entry(partition).or_default();
        log.push((end, Bytes::from(batch)));
        (0, base)
    }

    fn read(&self, partition: i32, offset: i64) -> Vec<u8> {
        let batches = self.logs.get(&partition).into_iter().flatten();
        let wanted = batches.filter(|(end, _)| *end > offset).take(4);
        wanted.flat_map(|(_, batch)| batch.to_vec()).collect()
    }
}

/// The server: it ends with the test.
pub struct Responder {
    pub address: SocketAddr,
    pub state: Arc<Mutex<State>>,
}

impl Responder {
    pub fn start(partitions: i32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State {
            partitions,
            ..Default::default()
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || Peer::new(stream, address, state).serve());
            }
        });
        Responder { address, state }
    }

    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test thread panicked")
    }
}

struct Peer {
    stream: TcpStream,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// The fetch session: offsets by partition.
    session: BTreeMap<i32, i64>,
}

impl Peer {
    fn new(stream: TcpStream, address: SocketAddr, state: Arc<Mutex<State>>) -> Self {
        let _ = stream.set_nodelay(true);
        Peer {
            stream,
            address,
            state,
            session: BTreeMap::new(),
        }
    }

    fn serve(&mut self) {
        let mut length = [0; 4];
        while self.stream.read_exact(&mut length).is_ok() {
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            if self.stream.read_exact(&mut frame).is_err() {
                return;
            }
            let key = i16::from_be_bytes([frame[0], frame[1]]);
            let version = i16::from_be_bytes([frame[2], frame[3]]);
            let key = ApiKey::from_i16(key).expect("a known API");
            let mut reader = Reader::new(Bytes::from(frame));
            let header = RequestHeader::decode(&mut reader, request_header_version(key, version))
                .expect("a header");
            let mut writer = Writer::frame();
            let answered = ResponseHeader {
                correlation_id: header.correlation_id,
                ..Default::default()
            };
            answered
                .encode(&mut writer, response_header_version(key, version))
                .expect("a header");
            if self.answer(key, version, &mut reader, &mut writer) {
                let segments = writer.finish_frame().expect("a frame");
                if self.stream.write_all(&segments.concat()).is_err() {
                    return;
                }
            }
        }
    }

    fn answer(
        &mut self,
        key: ApiKey,
        version: i16,
        reader: &mut Reader,
        writer: &mut Writer,
    ) -> bool {
        let encoded = match key {
            ApiKey::ApiVersions => api_versions().encode(writer, version),
            ApiKey::Metadata => self.metadata(read(reader, version)).encode(writer, version),
            ApiKey::InitProducerId => self.producer().encode(writer, version),
            ApiKey::ListOffsets => self.offsets(&read(reader, version)).encode(writer, version),
            ApiKey::Fetch => self.fetch(&read(reader, version)).encode(writer, version),
            ApiKey::Produce => {
                let request: ProduceRequest = read(reader, version);
                let response = self.produce(&request);
                if request.acks == 0 {
                    return false;
                }
                response.encode(writer, version)
            }
            ApiKey::CreateTopics => self.create(read(reader, version)).encode(writer, version),
            ApiKey::CreatePartitions => self.grow(read(reader, version)).encode(writer, version),
            other => panic!("{} is not called by these commands", other.name()),
        };
        encoded.expect("an answer");
        true
    }

    fn create(&self, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let made = request.topics.iter().map(|topic| topic.num_partitions);
        self.state.lock().expect("no panic").made.extend(made);
        let topics = request
            .topics
            .into_iter()
            .map(|topic| CreatableTopicResult {
                name: topic.name,
                ..Default::default()
            });
        CreateTopicsResponse {
            topics: topics.collect(),
            ..Default::default()
        }
    }

    fn grow(&self, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
        let made = request.topics.iter().map(|topic| topic.count);
        self.state.lock().expect("no panic").made.extend(made);
        let results = request
            .topics
            .into_iter()
            .map(|topic| CreatePartitionsTopicResult {
                name: topic.name,
                ..Default::default()
            });
        CreatePartitionsResponse {
            results: results.collect(),
            ..Default::default()
        }
    }

    fn metadata(&self, request: MetadataRequest) -> MetadataResponse {
        const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
        let mut state = self.state.lock().expect("no panic");
        let partitions = state.shown.pop_front().unwrap_or(state.partitions);
        drop(state);
        let topic = request.topics.expect("a topic is asked for").remove(0);
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            leader_id: 1,
            ..Default::default()
        };
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: 1,
                host: self.address.ip().to_string().as_str().into(),
                port: self.address.port().into(),
                ..Default::default()
            }],
            topics: vec![MetadataResponseTopic {
                error_code: match partitions {
                    0 => UNKNOWN_TOPIC_OR_PARTITION,
                    _ => 0,
                },
                name: topic.name,
                topic_id: TOPIC_ID,
                partitions: (0..partitions).map(partition).collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn producer(&self) -> InitProducerIdResponse {
        let mut state = self.state.lock().expect("no panic");
        state.producers += 1;
        InitProducerIdResponse {
            producer_id: state.producers,
            ..Default::default()
        }
    }

    fn produce(&self, request: &ProduceRequest) -> ProduceResponse {
        let mut state = self.state.lock().expect("no panic");
        if let Some(stall) = state.stall.take() {
            std::thread::sleep(stall);
        }
        let topic = &request.topic_data[0];
        let stored = topic.partition_data.iter().map(|partition| {
            let records = partition.records.as_ref().expect("records");
            let (error_code, base_offset) = state.store(partition.index, records);
            PartitionProduceResponse {
                index: partition.index,
                error_code,
                base_offset,
                ..Default::default()
            }
        });
        // Kafka answers in an order of its own.
        let partition_responses = stored.rev().collect();
        ProduceResponse {
            responses: vec![TopicProduceResponse {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partition_responses,
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let mut state = self.state.lock().expect("no panic");
        let unled = state.unled > 0;
        state.unled -= u32::from(unled);
        let topic = &request.topics[0];
        let offset = |partition: i32, timestamp: i64| match timestamp {
            -2 => 0,
            _ => state.end(partition),
        };
        let partitions =
            topic
                .partitions
                .iter()
                .enumerate()
                .map(|(place, it)| ListOffsetsPartitionResponse {
                    partition_index: it.partition_index,
                    error_code: match unled && place == 0 {
                        true => NOT_LEADER,
                        false => 0,
                    },
                    offset: offset(it.partition_index, it.timestamp),
                    ..Default::default()
                });
        ListOffsetsResponse {
            topics: vec![ListOffsetsTopicResponse {
                name: topic.name.clone(),
                partitions: partitions.collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    /// Within a session, epochs follow on each other and a request names only what changed.
    fn fetch(&mut self, request: &FetchRequest) -> FetchResponse {
        if request.session_epoch <= 0 {
            self.session.clear();
        }
        let named = request.topics.iter().flat_map(|topic| &topic.partitions);
        self.session
            .extend(named.map(|it| (it.partition, it.fetch_offset)));
        let mut partitions = Vec::new();
        // A few looks, so that an idle consumer does not spin.
        for _ in 0..10 {
            let state = self.state.lock().expect("no panic");
            partitions = self.found(&state, request.session_epoch < 0);
            drop(state);
            if !partitions.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        FetchResponse {
            session_id: i32::from(request.session_epoch >= 0),
            responses: vec![FetchableTopicResponse {
                topic_id: TOPIC_ID,
                partitions,
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn found(&self, state: &State, all: bool) -> Vec<PartitionData> {
        let data = self
            .session
            .iter()
            .map(|(&partition, &offset)| PartitionData {
                partition_index: partition,
                high_watermark: state.end(partition),
                log_start_offset: 0,
                records: Some(state.read(partition, offset).into()),
                ..Default::default()
            });
        let has_some = |data: &PartitionData| all || !data.records.as_ref().unwrap().is_empty();
        data.filter(has_some).collect()
    }
}

fn read<Request: Message>(reader: &mut Reader, version: i16) -> Request {
    let request = Request::decode(reader, version).expect("a request");
    reader.expect_end().expect("nothing behind it");
    request
}

fn api_versions() -> ApiVersionsResponse {
    let api = |key: ApiKey, max_version| ApiVersion {
        api_key: key.as_i16(),
        min_version: key.api().min,
        max_version,
        ..Default::default()
    };
    let keys = [
        ApiKey::Produce,
        ApiKey::Fetch,
        ApiKey::ListOffsets,
        ApiKey::Metadata,
        ApiKey::InitProducerId,
        ApiKey::CreateTopics,
        ApiKey::CreatePartitions,
    ];
    ApiVersionsResponse {
        api_keys: keys.iter().map(|&key| api(key, key.api().max)).collect(),
        ..Default::default()
    }
}
