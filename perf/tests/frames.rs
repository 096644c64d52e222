//! What the load sends is what Kafka's codec reads, and what it takes for an answer is one.

use bytes::Bytes;
use odradek_perf::batch;
use odradek_perf::client::Topic;
use odradek_perf::frames::{Answer, Frame, PREFIX_BYTES};
use odradek_protocol::api::{request_header_version, response_header_version};
use odradek_protocol::codec::{Reader, Writer};
use odradek_protocol::messages::produce_response::{
    PartitionProduceResponse, TopicProduceResponse,
};
use odradek_protocol::messages::{ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader};
use odradek_protocol::records::{BatchHeader, records, verify_crc};
use odradek_protocol::{ApiKey, Message, Uuid};

fn topic() -> Topic {
    Topic {
        name: "orders".into(),
        id: Uuid([7; 16]),
        partitions: 3,
        leader: "127.0.0.1:9092".into(),
    }
}

fn versions() -> impl Iterator<Item = i16> {
    ApiKey::Produce.api().versions().iter()
}

#[test]
fn a_batch_has_the_size_asked_for_and_its_records_read_back() {
    for bytes in [
        batch::BATCH_BYTES_MIN,
        100,
        200,
        1024,
        4096,
        16_384,
        65_536,
        921_600,
    ] {
        let prepared = batch::build(bytes, 1_700_000_000_000).unwrap();
        let length = prepared.bytes.len();
        assert!(length <= bytes && bytes - length <= 2, "{bytes}: {length}");
        verify_crc(&prepared.bytes).unwrap();
        let header = BatchHeader::parse(&prepared.bytes).unwrap();
        assert_eq!(header.records_count as usize, (bytes / 1024).max(1));
        let values = records(&prepared.bytes, 2 << 20).unwrap();
        assert_eq!(values.count(), prepared.records);
    }
    assert!(batch::build(batch::BATCH_BYTES_MIN - 1, 0).is_err());
}

#[test]
fn a_frame_is_a_produce_request_for_its_partition_at_every_version() {
    for version in versions() {
        for bytes in [1024, 65_536] {
            let prepared = batch::build(bytes, 1).unwrap();
            let frame = Frame::build(&topic(), 2, &prepared, -1, version).unwrap();
            let mut whole = frame.prefix_with(77).to_vec();
            frame
                .rest
                .iter()
                .for_each(|piece| whole.extend_from_slice(piece));
            assert_eq!(whole.len(), frame.bytes);
            assert_eq!(whole[..4], (whole.len() as u32 - 4).to_be_bytes());
            assert_eq!(whole[8..PREFIX_BYTES], 77_i32.to_be_bytes());
            let mut reader = Reader::new(Bytes::from(whole).slice(4..));
            let header_version = request_header_version(ApiKey::Produce, version);
            let header = RequestHeader::decode(&mut reader, header_version).unwrap();
            assert_eq!(
                (header.request_api_version, header.correlation_id),
                (version, 77)
            );
            let request = ProduceRequest::decode(&mut reader, version).unwrap();
            reader.expect_end().unwrap();
            let partition = &request.topic_data[0].partition_data[0];
            assert_eq!((request.acks, partition.index), (-1, 2));
            assert_eq!(partition.records.as_ref(), Some(&prepared.bytes));
        }
    }
}

/// An answer as a server writes it, from after the correlation id on.
fn answer(version: i16, partition: i32, error_code: i16) -> Vec<u8> {
    let response = ProduceResponse {
        responses: vec![TopicProduceResponse {
            name: topic().name,
            topic_id: topic().id,
            partition_responses: vec![PartitionProduceResponse {
                index: partition,
                error_code,
                base_offset: 41,
                log_start_offset: 3,
                ..Default::default()
            }],
            ..Default::default()
        }],
        throttle_time_ms: 5,
        ..Default::default()
    };
    let mut writer = Writer::new();
    let header_version = response_header_version(ApiKey::Produce, version);
    let header = ResponseHeader::default();
    header.encode(&mut writer, header_version).unwrap();
    response.encode(&mut writer, version).unwrap();
    writer.into_bytes()[4..].to_vec()
}

#[test]
fn answers_are_told_apart_at_every_version() {
    let prepared = batch::build(1024, 1).unwrap();
    for version in versions() {
        let frame = Frame::build(&topic(), 2, &prepared, -1, version).unwrap();
        let stored = frame.read_answer(&answer(version, 2, 0)).unwrap();
        assert_eq!(stored, Answer::Stored { base_offset: 41 });
        let refused = frame.read_answer(&answer(version, 2, 6)).unwrap();
        assert_eq!(refused, Answer::Refused(6));
        let good = answer(version, 2, 0);
        assert!(frame.read_answer(&good[..good.len() / 3]).is_err());
        assert!(frame.read_answer(&[]).is_err());
    }
}

#[test]
fn an_answer_for_another_partition_is_no_answer() {
    let prepared = batch::build(1024, 1).unwrap();
    let frame = Frame::build(&topic(), 2, &prepared, -1, 13).unwrap();
    assert!(frame.read_answer(&answer(13, 1, 0)).is_err());
}
