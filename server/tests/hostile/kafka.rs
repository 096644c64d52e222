//! Requests that the hostile cases and the healthy client make: topics, batches, produce, fetch, offsets.

use super::support::Client;
use bytes::Bytes;
use odradek_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use odradek_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use odradek_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use odradek_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use odradek_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use odradek_protocol::messages::produce_response::{PartitionProduceResponse, ProduceResponse};
use odradek_protocol::messages::{CreateTopicsResponse, ListOffsetsResponse};
use odradek_protocol::records::{BatchBuilder, Batches};
use odradek_protocol::{ApiKey, ErrorCode, StrBytes, Uuid};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last version that names topics.
pub const PRODUCE_BY_NAME: i16 = 12;
pub const FETCH_BY_NAME: i16 = 12;

/// A new topic reaches every core within these tries.
const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is after 1970").as_millis() as i64
}

/// A batch of one record per value, without keys.
pub fn batch(values: &[&[u8]]) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    for value in values {
        builder.push(now_ms(), None, Some(value), &[]);
    }
    builder.build().expect("a small batch builds")
}

/// Makes a topic and waits until this connection's core knows it.
pub fn create_topic(
    client: &mut Client,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Uuid {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: StrBytes::from(name),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs
                .iter()
                .map(|(key, value)| CreatableTopicConfig {
                    name: StrBytes::from(*key),
                    value: Some(StrBytes::from(*value)),
                    ..CreatableTopicConfig::default()
                })
                .collect(),
            ..CreatableTopic::default()
        }],
        ..CreateTopicsRequest::default()
    };
    let answer: CreateTopicsResponse = client.call(ApiKey::CreateTopics, 7, &request);
    let topic = &answer.topics[0];
    assert_eq!(topic.error_code, 0, "{name}: {:?}", topic.error_message);
    for partition in 0..partitions {
        wait_for(client, name, partition);
    }
    topic.topic_id
}

pub fn wait_for(client: &mut Client, name: &str, partition: i32) {
    for _ in 0..TRIES {
        if list_offset(client, name, partition, -1).is_ok() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("{name}-{partition} got no leader");
}

/// ListOffsets of one partition: -1 for the end, -2 for the start; or the error.
pub fn list_offset(
    client: &mut Client,
    topic: &str,
    partition: i32,
    timestamp: i64,
) -> Result<i64, i16> {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: StrBytes::from(topic),
            partitions: vec![ListOffsetsPartition {
                partition_index: partition,
                timestamp,
                ..ListOffsetsPartition::default()
            }],
            ..ListOffsetsTopic::default()
        }],
        ..ListOffsetsRequest::default()
    };
    let answer: ListOffsetsResponse = client.call(ApiKey::ListOffsets, 7, &request);
    let partition = &answer.topics[0].partitions[0];
    match partition.error_code {
        0 => Ok(partition.offset),
        error => Err(error),
    }
}

pub fn end_offset(client: &mut Client, topic: &str) -> i64 {
    list_offset(client, topic, 0, -1).expect("the topic has an end")
}

pub fn produce_request(topic: &str, acks: i16, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: StrBytes::from(topic),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(records),
                ..PartitionProduceData::default()
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

/// Produces to partition 0 in a version of the test's choice.
pub fn try_produce(
    client: &mut Client,
    version: i16,
    topic: &str,
    acks: i16,
    records: Bytes,
) -> io::Result<PartitionProduceResponse> {
    let request = produce_request(topic, acks, records);
    let answer: ProduceResponse = client.try_call(ApiKey::Produce, version, &request)?;
    Ok(answer.responses[0].partition_responses[0].clone())
}

/// Produces to partition 0 with acks=all; gives the error code and the base offset.
pub fn produce(client: &mut Client, topic: &str, records: Bytes) -> (i16, i64) {
    let answer = try_produce(client, PRODUCE_BY_NAME, topic, -1, records);
    let answer = answer.unwrap_or_else(|error| panic!("produce to {topic}: {error}"));
    (answer.error_code, answer.base_offset)
}

/// Produces what must be taken.
pub fn append(client: &mut Client, topic: &str, values: &[&[u8]]) -> i64 {
    let (error, offset) = produce(client, topic, batch(values));
    assert_eq!(error, ErrorCode::None.code(), "{topic} takes a sound batch");
    offset
}

/// A fetch of partition 0 that waits up to half a second for a byte.
pub fn fetch_request(topic: &str, offset: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 8 << 20,
        topics: vec![FetchTopic {
            topic: StrBytes::from(topic),
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

pub fn try_fetch(client: &mut Client, topic: &str, offset: i64) -> io::Result<PartitionData> {
    let request = fetch_request(topic, offset);
    let answer: FetchResponse = client.try_call(ApiKey::Fetch, FETCH_BY_NAME, &request)?;
    if answer.error_code != 0 {
        return Err(io::Error::other(format!(
            "fetch failed with {}",
            answer.error_code
        )));
    }
    Ok(answer.responses[0].partitions[0].clone())
}

pub fn fetch(client: &mut Client, topic: &str, offset: i64) -> PartitionData {
    try_fetch(client, topic, offset).unwrap_or_else(|error| panic!("fetch of {topic}: {error}"))
}

/// Offset and value of every record from `offset` on in what a fetch brought.
pub fn values(data: &PartitionData, offset: i64) -> Vec<(i64, Bytes)> {
    let bytes = data.records.clone().unwrap_or_default();
    let mut found = Vec::new();
    for batch in Batches::new(bytes) {
        let (_, batch) = batch.expect("what a fetch brings are whole batches");
        let records = odradek_protocol::records::records(&batch, 64 << 20)
            .expect("what a fetch brings can be read");
        for record in records {
            let record = record.expect("a record can be read");
            if record.offset >= offset {
                found.push((record.offset, record.value.unwrap_or_default()));
            }
        }
    }
    found
}

/// Every value of a topic's only partition, by offset.
pub fn read_all(client: &mut Client, topic: &str) -> Vec<(i64, Bytes)> {
    let end = end_offset(client, topic);
    let mut found: Vec<(i64, Bytes)> = Vec::new();
    let mut next = 0;
    while next < end {
        let data = fetch(client, topic, next);
        assert_eq!(data.error_code, 0, "{topic} is readable from {next}");
        let some = values(&data, next);
        assert!(!some.is_empty(), "{topic} has records from {next} to {end}");
        next = some[some.len() - 1].0 + 1;
        found.extend(some);
    }
    found
}
