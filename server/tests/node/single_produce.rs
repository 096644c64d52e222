//! A produce of one batch is read and answered without the tables: what it reads, and what it answers byte for byte, is what the tables say, in every
//! version, over random requests; whatever else a frame may be is left to the tables.

use bytes::Bytes;
use odradek_protocol::codec::Writer;
use odradek_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use odradek_protocol::messages::produce_response::{
    PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use odradek_protocol::messages::{RequestHeader, ResponseHeader};
use odradek_protocol::{ErrorCode, Message, StrBytes, Uuid};
use odradek_server::node::api::produce::single::{SingleRequest, TopicKey, answer, read};
use odradek_shard::command::{PartitionKey, ProducePartitionReply};
use odradek_wal::TopicId;

const FIRST_VERSION: i16 = 9;
const TOPIC_ID_VERSION: i16 = 13;

fn topic(version: i16) -> (StrBytes, Uuid) {
    if version >= TOPIC_ID_VERSION {
        (StrBytes::EMPTY, Uuid::from_u128(0x1234_5678_9abc))
    } else {
        (StrBytes::from("flights"), Uuid::from_u128(0))
    }
}

fn request(version: i16, records_bytes: usize) -> ProduceRequest {
    let (name, topic_id) = topic(version);
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name,
            topic_id,
            partition_data: vec![PartitionProduceData {
                index: 11,
                records: Some(Bytes::from(vec![7; records_bytes])),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A frame without its size.
fn frame(version: i16, client_id: Option<&str>, request: &ProduceRequest) -> Bytes {
    let header = RequestHeader {
        request_api_key: 0,
        request_api_version: version,
        correlation_id: 0x0102_0304,
        client_id: client_id.map(StrBytes::from),
        ..Default::default()
    };
    let mut writer = Writer::new();
    header.encode(&mut writer, 2).unwrap();
    request.encode(&mut writer, version).unwrap();
    writer.into_bytes()
}

#[test]
fn one_batch_for_one_partition_is_read_as_the_tables_wrote_it() {
    for version in FIRST_VERSION..=TOPIC_ID_VERSION {
        for (records_bytes, client_id) in [
            (1, None),
            (126, Some("")),
            (127, Some("perf")),
            (70_000, Some("producer-1")),
        ] {
            let frame = frame(version, client_id, &request(version, records_bytes));
            let (name, id) = topic(version);
            let found = read(&frame, version).expect("the usual request");
            let expected = SingleRequest {
                correlation_id: 0x0102_0304,
                acks: -1,
                timeout_ms: 30_000,
                topic: if version >= TOPIC_ID_VERSION {
                    TopicKey::Id(id)
                } else {
                    TopicKey::Name(&name)
                },
                partition: 11,
                records: found.records,
            };
            assert_eq!(found, expected);
            assert_eq!(
                frame[found.records.0..found.records.1],
                vec![7; records_bytes]
            );
            for cut in 0..frame.len().min(200) {
                assert_eq!(
                    read(&frame[..cut], version),
                    None,
                    "version {version}, cut at {cut}"
                );
            }
        }
    }
}

#[test]
fn everything_else_is_left_to_the_tables() {
    let version = TOPIC_ID_VERSION;
    let usual = request(version, 100);
    let mut others = Vec::new();
    let mut other = usual.clone();
    other.acks = 0;
    others.push(other);
    let mut other = usual.clone();
    other.acks = 2;
    others.push(other);
    let mut other = usual.clone();
    other.transactional_id = Some(StrBytes::from("transaction"));
    others.push(other);
    let mut other = usual.clone();
    other.topic_data.push(usual.topic_data[0].clone());
    others.push(other);
    let mut other = usual.clone();
    other.topic_data.clear();
    others.push(other);
    let mut other = usual.clone();
    let twice = other.topic_data[0].partition_data[0].clone();
    other.topic_data[0].partition_data.push(twice);
    others.push(other);
    for records in [None, Some(Bytes::new())] {
        let mut other = usual.clone();
        other.topic_data[0].partition_data[0].records = records;
        others.push(other);
    }
    for other in others {
        assert_eq!(
            read(&frame(version, Some("perf"), &other), version),
            None,
            "{other:?}"
        );
    }
    assert_eq!(
        read(&frame(version, Some("__admin_client"), &usual), version),
        None
    );
    assert_eq!(read(&frame(version, Some("ümlaut"), &usual), version), None);
    for old in 3..FIRST_VERSION {
        assert_eq!(read(&frame(version, Some("perf"), &usual), old), None);
    }
}

#[test]
fn the_answer_is_byte_for_byte_what_the_tables_write() {
    for version in FIRST_VERSION..=TOPIC_ID_VERSION {
        for (offset, throttle_ms) in [(0i64, 0u32), (1 << 40, 0), (i64::MAX - 1, 700)] {
            let (name, topic_id) = topic(version);
            let reply = ProducePartitionReply {
                base_offset: offset,
                log_append_time_ms: if throttle_ms > 0 {
                    1_700_000_000_000
                } else {
                    -1
                },
                log_start_offset: offset / 2,
                throttle_ms,
                ..ProducePartitionReply::refused(
                    PartitionKey {
                        topic_id: TopicId(topic_id.0),
                        partition: 300,
                    },
                    ErrorCode::None,
                )
            };
            let response = ProduceResponse {
                responses: vec![TopicProduceResponse {
                    name: name.clone(),
                    topic_id,
                    partition_responses: vec![PartitionProduceResponse {
                        index: 300,
                        base_offset: offset,
                        log_append_time_ms: reply.log_append_time_ms,
                        log_start_offset: offset / 2,
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                throttle_time_ms: throttle_ms as i32,
                ..Default::default()
            };
            let mut writer = Writer::frame();
            let header = ResponseHeader {
                correlation_id: -5,
                ..Default::default()
            };
            header.encode(&mut writer, 1).unwrap();
            response.encode(&mut writer, version).unwrap();
            let expected: Vec<u8> = writer.finish_frame().unwrap().concat();
            let key = if version >= TOPIC_ID_VERSION {
                TopicKey::Id(topic_id)
            } else {
                TopicKey::Name(&name)
            };
            assert_eq!(answer(-5, key, &reply), expected, "version {version}");
        }
    }
}
