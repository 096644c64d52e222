//! A small blocking Kafka client over `odradek_protocol`'s codec: requests one by one or several in flight, no retries of its own.
//! What a load does with it is in `load`.

use bytes::Bytes;
use odradek_protocol::api::{request_header_version, response_header_version};
use odradek_protocol::codec::{Reader, Writer};
use odradek_protocol::messages::*;
use odradek_protocol::records::{BatchBuilder, Batches, records, verify_crc};
use odradek_protocol::{ApiKey, ErrorCode, Message, StrBytes};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Versions this client speaks: the last ones that name topics, not ids.
pub const PRODUCE_VERSION: i16 = 12;
const FETCH_VERSION: i16 = 12;
const COMMIT_VERSION: i16 = 9;
const OFFSET_FETCH_VERSION: i16 = 9;

/// An answer that does not come within this time counts as a hang.
const ANSWER_MS_MAX: u64 = 20_000;

/// One connection.
pub struct Client {
    stream: TcpStream,
    correlation: i32,
}

/// What one fetch of one partition gave.
pub struct Fetched {
    pub error: ErrorCode,
    pub high_watermark: i64,
    /// Offset and value of each record from the fetch offset on.
    pub records: Vec<(i64, Bytes)>,
}

fn broken(cause: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause.to_string())
}

/// A name as the messages want it.
pub fn name(text: &str) -> StrBytes {
    StrBytes::from(text.to_string())
}

/// The code's name, for comparing and printing.
pub fn code(number: i16) -> ErrorCode {
    ErrorCode::from_code(number).unwrap_or(ErrorCode::UnknownServerError)
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_millis(ANSWER_MS_MAX)))?;
        stream.set_write_timeout(Some(Duration::from_millis(ANSWER_MS_MAX)))?;
        Ok(Self {
            stream,
            correlation: 0,
        })
    }

    /// Sends one request and does not wait.
    pub fn send<M: Message>(&mut self, api: ApiKey, version: i16, request: &M) -> io::Result<()> {
        self.correlation += 1;
        let mut writer = Writer::frame();
        let header = RequestHeader {
            request_api_key: api.as_i16(),
            request_api_version: version,
            correlation_id: self.correlation,
            client_id: Some(StrBytes::from_static("faults")),
            ..RequestHeader::default()
        };
        header
            .encode(&mut writer, request_header_version(api, version))
            .map_err(broken)?;
        request.encode(&mut writer, version).map_err(broken)?;
        for segment in writer.finish_frame().map_err(broken)? {
            self.stream.write_all(&segment)?;
        }
        Ok(())
    }

    /// Takes the next answer; `behind` requests were sent after the one it belongs to.
    pub fn receive<M: Message>(
        &mut self,
        api: ApiKey,
        version: i16,
        behind: usize,
    ) -> io::Result<M> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        self.stream.read_exact(&mut frame)?;
        let mut reader = Reader::new(Bytes::from(frame));
        let header = ResponseHeader::decode(&mut reader, response_header_version(api, version))
            .map_err(broken)?;
        assert_eq!(
            header.correlation_id,
            self.correlation - behind as i32,
            "answers come in the order of their requests"
        );
        M::decode(&mut reader, version).map_err(broken)
    }

    /// Sends one request and waits for its answer.
    pub fn call<Q: Message, R: Message>(
        &mut self,
        api: ApiKey,
        version: i16,
        request: &Q,
    ) -> io::Result<R> {
        self.send(api, version, request)?;
        self.receive(api, version, 0)
    }

    /// Asks for the topics' names: any answer says that the node serves.
    pub fn topics(&mut self) -> io::Result<Vec<String>> {
        let request = MetadataRequest {
            topics: None,
            ..MetadataRequest::default()
        };
        let response: MetadataResponse = self.call(ApiKey::Metadata, 12, &request)?;
        Ok(response
            .topics
            .iter()
            .filter_map(|topic| topic.name.as_ref().map(ToString::to_string))
            .collect())
    }

    pub fn create_topic(&mut self, topic: &str, partitions: i32) -> io::Result<ErrorCode> {
        let request = CreateTopicsRequest {
            topics: vec![create_topics_request::CreatableTopic {
                name: name(topic),
                num_partitions: partitions,
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: 15_000,
            ..CreateTopicsRequest::default()
        };
        let response: CreateTopicsResponse = self.call(ApiKey::CreateTopics, 7, &request)?;
        Ok(code(response.topics[0].error_code))
    }

    pub fn delete_topic(&mut self, topic: &str) -> io::Result<ErrorCode> {
        let request = DeleteTopicsRequest {
            topic_names: vec![name(topic)],
            timeout_ms: 15_000,
            ..DeleteTopicsRequest::default()
        };
        let response: DeleteTopicsResponse = self.call(ApiKey::DeleteTopics, 5, &request)?;
        Ok(code(response.responses[0].error_code))
    }

    /// Deletes what lies below `offset`; gives the answer's code and low watermark.
    pub fn delete_records(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> io::Result<(ErrorCode, i64)> {
        let request = DeleteRecordsRequest {
            topics: vec![delete_records_request::DeleteRecordsTopic {
                name: name(topic),
                partitions: vec![delete_records_request::DeleteRecordsPartition {
                    partition_index: partition,
                    offset,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            timeout_ms: 15_000,
            ..DeleteRecordsRequest::default()
        };
        let response: DeleteRecordsResponse = self.call(ApiKey::DeleteRecords, 2, &request)?;
        let part = &response.topics[0].partitions[0];
        Ok((code(part.error_code), part.low_watermark))
    }

    /// A producer id for an idempotent producer, with its epoch.
    pub fn producer_id(&mut self) -> io::Result<(i64, i16)> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        let response: InitProducerIdResponse = self.call(ApiKey::InitProducerId, 4, &request)?;
        match code(response.error_code) {
            ErrorCode::None => Ok((response.producer_id, response.producer_epoch)),
            other => Err(broken(format!("no producer id: {other:?}"))),
        }
    }

    /// Produces one batch and waits: its code and base offset.
    pub fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> io::Result<(ErrorCode, i64)> {
        let request = produce_request(&[(topic, partition, batch)]);
        let response: ProduceResponse = self.call(ApiKey::Produce, PRODUCE_VERSION, &request)?;
        let part = &response.responses[0].partition_responses[0];
        Ok((code(part.error_code), part.base_offset))
    }

    /// One fetch, which does not wait for data.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> io::Result<Fetched> {
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 4 << 20,
            topics: vec![fetch_request::FetchTopic {
                topic: name(topic),
                partitions: vec![fetch_request::FetchPartition {
                    partition,
                    fetch_offset: offset,
                    partition_max_bytes: 1 << 20,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..FetchRequest::default()
        };
        let response: FetchResponse = self.call(ApiKey::Fetch, FETCH_VERSION, &request)?;
        let Some(part) = response
            .responses
            .first()
            .and_then(|topic| topic.partitions.first())
        else {
            return Err(broken(format!(
                "a fetch answered nothing: {:?}",
                code(response.error_code)
            )));
        };
        let mut found = Vec::new();
        for batch in Batches::new(part.records.clone().unwrap_or_default()) {
            let Ok((_, bytes)) = batch else {
                break;
            };
            verify_crc(&bytes).map_err(broken)?;
            for record in records(&bytes, 16 << 20).map_err(broken)? {
                let record = record.map_err(broken)?;
                if record.offset >= offset {
                    found.push((record.offset, record.value.unwrap_or_default()));
                }
            }
        }
        Ok(Fetched {
            error: code(part.error_code),
            high_watermark: part.high_watermark,
            records: found,
        })
    }

    /// The first offset there is.
    pub fn log_start(&mut self, topic: &str, partition: i32) -> io::Result<i64> {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![list_offsets_request::ListOffsetsTopic {
                name: name(topic),
                partitions: vec![list_offsets_request::ListOffsetsPartition {
                    partition_index: partition,
                    timestamp: -2,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..ListOffsetsRequest::default()
        };
        let response: ListOffsetsResponse = self.call(ApiKey::ListOffsets, 7, &request)?;
        let part = &response.topics[0].partitions[0];
        match code(part.error_code) {
            ErrorCode::None => Ok(part.offset),
            other => Err(broken(format!("{topic}-{partition}: {other:?}"))),
        }
    }

    /// Every record of a partition from its log start to its high watermark.
    pub fn read_all(&mut self, topic: &str, partition: i32) -> io::Result<Vec<(i64, Bytes)>> {
        let mut next = self.log_start(topic, partition)?;
        let mut all = Vec::new();
        loop {
            let fetched = self.fetch(topic, partition, next)?;
            if fetched.error != ErrorCode::None {
                return Err(broken(format!(
                    "{topic}-{partition} at {next}: {:?}",
                    fetched.error
                )));
            }
            if next >= fetched.high_watermark {
                return Ok(all);
            }
            match fetched.records.last() {
                Some((last, _)) => next = last + 1,
                None => {
                    return Err(broken(format!(
                        "{topic}-{partition} gives nothing at {next}, its high watermark is {}",
                        fetched.high_watermark
                    )));
                }
            }
            all.extend(fetched.records);
        }
    }

    /// Commits one offset; `member` is id and generation, none for a simple consumer.
    pub fn commit(
        &mut self,
        group: &str,
        member: Option<(&str, i32)>,
        (topic, partition): (&str, i32),
        offset: i64,
    ) -> io::Result<ErrorCode> {
        let (member, generation) = member.unwrap_or(("", -1));
        let request = OffsetCommitRequest {
            group_id: name(group),
            generation_id_or_member_epoch: generation,
            member_id: name(member),
            topics: vec![offset_commit_request::OffsetCommitRequestTopic {
                name: name(topic),
                partitions: vec![offset_commit_request::OffsetCommitRequestPartition {
                    partition_index: partition,
                    committed_offset: offset,
                    committed_metadata: Some(name("kept")),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..OffsetCommitRequest::default()
        };
        let response: OffsetCommitResponse =
            self.call(ApiKey::OffsetCommit, COMMIT_VERSION, &request)?;
        Ok(code(response.topics[0].partitions[0].error_code))
    }

    /// The offset a group committed for a partition, -1 for none.
    pub fn committed(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> io::Result<(ErrorCode, i64)> {
        let request = OffsetFetchRequest {
            groups: vec![offset_fetch_request::OffsetFetchRequestGroup {
                group_id: name(group),
                topics: Some(vec![offset_fetch_request::OffsetFetchRequestTopics {
                    name: name(topic),
                    partition_indexes: vec![partition],
                    ..Default::default()
                }]),
                ..Default::default()
            }],
            ..OffsetFetchRequest::default()
        };
        let response: OffsetFetchResponse =
            self.call(ApiKey::OffsetFetch, OFFSET_FETCH_VERSION, &request)?;
        let group = &response.groups[0];
        if code(group.error_code) != ErrorCode::None {
            return Ok((code(group.error_code), -1));
        }
        let part = &group.topics[0].partitions[0];
        Ok((code(part.error_code), part.committed_offset))
    }

    /// Makes sure the group has its coordinator (the first call creates `__consumer_offsets`).
    pub fn find_coordinator(&mut self, group: &str) -> io::Result<ErrorCode> {
        let request = FindCoordinatorRequest {
            key_type: 0,
            coordinator_keys: vec![name(group)],
            ..FindCoordinatorRequest::default()
        };
        let response: FindCoordinatorResponse = self.call(ApiKey::FindCoordinator, 4, &request)?;
        Ok(code(response.coordinators[0].error_code))
    }

    /// Joins a group as its only member and gives itself everything: member id and generation.
    pub fn join(
        &mut self,
        group: &str,
        member: &str,
    ) -> io::Result<Result<(String, i32), ErrorCode>> {
        let request = JoinGroupRequest {
            group_id: name(group),
            session_timeout_ms: 6_000,
            rebalance_timeout_ms: 6_000,
            member_id: name(member),
            protocol_type: StrBytes::from_static("consumer"),
            protocols: vec![join_group_request::JoinGroupRequestProtocol {
                name: StrBytes::from_static("range"),
                metadata: Bytes::from_static(&[0, 0, 0, 0, 0, 0, 255, 255, 255, 255]),
                ..Default::default()
            }],
            ..JoinGroupRequest::default()
        };
        let joined: JoinGroupResponse = self.call(ApiKey::JoinGroup, 5, &request)?;
        if code(joined.error_code) == ErrorCode::MemberIdRequired {
            let given = joined.member_id.to_string();
            return self.join(group, &given);
        }
        if code(joined.error_code) != ErrorCode::None {
            return Ok(Err(code(joined.error_code)));
        }
        let request = SyncGroupRequest {
            group_id: name(group),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            assignments: vec![sync_group_request::SyncGroupRequestAssignment {
                member_id: joined.member_id.clone(),
                assignment: Bytes::from_static(b"all"),
                ..Default::default()
            }],
            ..SyncGroupRequest::default()
        };
        let synced: SyncGroupResponse = self.call(ApiKey::SyncGroup, 3, &request)?;
        Ok(match code(synced.error_code) {
            ErrorCode::None => Ok((joined.member_id.to_string(), joined.generation_id)),
            other => Err(other),
        })
    }
}

/// One request for several partitions, acks=all.
pub fn produce_request(parts: &[(&str, i32, Bytes)]) -> ProduceRequest {
    let mut topics: Vec<produce_request::TopicProduceData> = Vec::new();
    for (topic, partition, batch) in parts {
        let data = produce_request::PartitionProduceData {
            index: *partition,
            records: Some(batch.clone()),
            ..Default::default()
        };
        match topics.iter_mut().find(|data| &*data.name == *topic) {
            Some(entry) => entry.partition_data.push(data),
            None => topics.push(produce_request::TopicProduceData {
                name: name(topic),
                partition_data: vec![data],
                ..Default::default()
            }),
        }
    }
    ProduceRequest {
        acks: -1,
        timeout_ms: 15_000,
        topic_data: topics,
        ..ProduceRequest::default()
    }
}

/// A batch of values; `producer` is id, epoch and first sequence.
pub fn batch(values: &[Vec<u8>], producer: Option<(i64, i16, i32)>) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    if let Some((id, epoch, sequence)) = producer {
        builder = builder.producer(id, epoch, sequence);
    }
    for value in values {
        builder.push(now_ms(), None, Some(value), &[]);
    }
    builder.build().expect("a batch without compression builds")
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |time| time.as_millis() as i64)
}
