//! How long decode and encode of the hot messages take: `cargo run --release -p odradek-protocol --example codec_speed`.
//! For comparing two states of the codec on one machine; nothing is asserted. Numbers that are kept come from `perf`.

use bytes::Bytes;
use odradek_protocol::codec::{Message, Reader, Writer};
use odradek_protocol::messages::{
    fetch_request, fetch_response, metadata_response, produce_request, produce_response,
};
use odradek_protocol::{StrBytes, Uuid};
use std::hint::black_box;
use std::time::Instant;

fn measure<M: Message>(name: &str, version: i16, message: &M, rounds: u32) {
    let encode = |message: &M| {
        let mut writer = Writer::new();
        message.encode(&mut writer, version).expect("it encodes");
        writer
    };
    let bytes: Bytes = encode(message).into_bytes();
    let begun = Instant::now();
    for _ in 0..rounds {
        black_box(encode(black_box(message)));
    }
    let encoding = begun.elapsed();
    let begun = Instant::now();
    for _ in 0..rounds {
        let mut reader = Reader::new(black_box(bytes.clone()));
        black_box(M::decode(&mut reader, version).expect("it decodes"));
    }
    let decoding = begun.elapsed();
    println!(
        "{name:<34} {:>9} bytes: encode {:>11.3} us, decode {:>11.3} us",
        bytes.len(),
        encoding.as_secs_f64() * 1e6 / f64::from(rounds),
        decoding.as_secs_f64() * 1e6 / f64::from(rounds),
    );
}

fn main() {
    let records = Bytes::from(vec![7; 1024]);
    for partitions in [1, 50] {
        let produce = produce_request::ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![produce_request::TopicProduceData {
                topic_id: Uuid([1; 16]),
                partition_data: (0..partitions)
                    .map(|index| produce_request::PartitionProduceData {
                        index,
                        records: Some(records.clone()),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        measure(
            &format!("ProduceRequest, {partitions} partitions"),
            13,
            &produce,
            100_000,
        );
        let answer = produce_response::ProduceResponse {
            responses: vec![produce_response::TopicProduceResponse {
                topic_id: Uuid([1; 16]),
                partition_responses: vec![Default::default(); partitions as usize],
                ..Default::default()
            }],
            ..Default::default()
        };
        measure(
            &format!("ProduceResponse, {partitions} partitions"),
            13,
            &answer,
            100_000,
        );
        let fetch = fetch_request::FetchRequest {
            topics: vec![fetch_request::FetchTopic {
                topic_id: Uuid([1; 16]),
                partitions: vec![Default::default(); partitions as usize],
                ..Default::default()
            }],
            ..Default::default()
        };
        measure(
            &format!("FetchRequest, {partitions} partitions"),
            17,
            &fetch,
            100_000,
        );
        let fetched = fetch_response::FetchResponse {
            responses: vec![fetch_response::FetchableTopicResponse {
                topic_id: Uuid([1; 16]),
                partitions: vec![
                    fetch_response::PartitionData {
                        records: Some(records.clone()),
                        ..Default::default()
                    };
                    partitions as usize
                ],
                ..Default::default()
            }],
            ..Default::default()
        };
        measure(
            &format!("FetchResponse, {partitions} partitions"),
            17,
            &fetched,
            100_000,
        );
    }
    let metadata = metadata_response::MetadataResponse {
        topics: (0..1000)
            .map(|index| metadata_response::MetadataResponseTopic {
                name: Some(StrBytes::from(format!("topic-{index}").as_str())),
                partitions: vec![
                    metadata_response::MetadataResponsePartition {
                        replica_nodes: vec![1, 2, 3],
                        isr_nodes: vec![1, 2, 3],
                        ..Default::default()
                    };
                    10
                ],
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    measure("MetadataResponse, 10,000 partitions", 13, &metadata, 100);
}
