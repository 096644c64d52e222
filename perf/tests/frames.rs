//! What the load sends is what Kafka's codec reads, and what it takes for an answer is one.

use bytes::Bytes;
use odradek_perf::batch::{self, BatchShape};
use odradek_perf::client::Topic;
use odradek_perf::frames::{Answer, Cover, Output, PartitionRing, ProduceShape, Template};
use odradek_perf::patch::ProducerState;
use odradek_protocol::api::{request_header_version, response_header_version};
use odradek_protocol::codec::{Reader, Writer};
use odradek_protocol::messages::produce_response::{
    PartitionProduceResponse, TopicProduceResponse,
};
use odradek_protocol::messages::{ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader};
use odradek_protocol::records::{BatchHeader, Compression, records, verify_crc};
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

/// A request as bytes, the way a connection gathers it.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    shared: Vec<(usize, usize, usize)>,
}

impl Output for Gathered {
    fn own(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    fn share(&mut self, batch: usize, from: usize) {
        self.shared.push((self.bytes.len(), batch, from));
    }
}

impl Gathered {
    fn whole(&self, template: &Template) -> Vec<u8> {
        let (mut whole, mut at) = (Vec::new(), 0);
        for &(until, batch, from) in &self.shared {
            whole.extend_from_slice(&self.bytes[at..until]);
            whole.extend_from_slice(&template.batch(batch).bytes[from..]);
            at = until;
        }
        whole.extend_from_slice(&self.bytes[at..]);
        whole
    }
}

const RING: PartitionRing = PartitionRing { first: 0, count: 3 };

fn shape(version: i16, partitions_per_request: u32) -> ProduceShape {
    ProduceShape {
        partitions_per_request,
        acks: -1,
        version,
        stamped: false,
    }
}

fn cover(start: u32, count: u32) -> Cover {
    Cover {
        ring: RING,
        start,
        count,
    }
}

/// Checks the frame and reads the request out of it.
fn decode(whole: Vec<u8>, version: i16) -> ProduceRequest {
    assert_eq!(whole[..4], (whole.len() as u32 - 4).to_be_bytes());
    let mut reader = Reader::new(Bytes::from(whole).slice(4..));
    let header_version = request_header_version(ApiKey::Produce, version);
    let header = RequestHeader::decode(&mut reader, header_version).unwrap();
    assert_eq!(
        (header.request_api_version, header.correlation_id),
        (version, 77)
    );
    let request = ProduceRequest::decode(&mut reader, version).unwrap();
    reader.expect_end().unwrap();
    request
}

#[test]
fn a_frame_is_a_produce_request_for_its_partitions_at_every_version() {
    for version in versions() {
        for (bytes, count) in [(1024, 1), (1024, 3), (65_536, 1), (65_536, 2)] {
            let prepared = batch::build(bytes, 1).unwrap();
            let produce = shape(version, count);
            let template = Template::build(&topic(), vec![prepared.clone()], produce).unwrap();
            let mut gathered = Gathered::default();
            let (frame_bytes, batch_bytes) =
                template.write(77, &cover(2, count), 0, 5, |_, _| None, &mut gathered);
            let whole = gathered.whole(&template);
            assert_eq!(whole.len(), frame_bytes);
            assert_eq!(batch_bytes, prepared.bytes.len() * count as usize);
            let request = decode(whole, version);
            assert_eq!(request.acks, -1);
            let partitions = &request.topic_data[0].partition_data;
            let indexes: Vec<_> = partitions.iter().map(|partition| partition.index).collect();
            assert_eq!(indexes, [2, 0, 1][..count as usize]);
            for partition in partitions {
                assert_eq!(partition.records.as_ref(), Some(&prepared.bytes));
            }
        }
    }
}

#[test]
fn an_idempotent_frame_has_its_producers_sequence_in_each_batch() {
    for bytes in [1024, 65_536] {
        let produce = shape(9, 2);
        let keyed = BatchShape {
            keys: 100,
            ..BatchShape::of(bytes)
        };
        let batches = batch::build_all(&keyed, 1).unwrap();
        let template = Template::build(&topic(), batches, produce).unwrap();
        let mut gathered = Gathered::default();
        let producer = |place: u32, records: usize| {
            Some(ProducerState {
                producer_id: 4_711,
                producer_epoch: 2,
                base_sequence: 1_000 * place as i32 + records as i32,
            })
        };
        template.write(77, &cover(2, 2), 0, 0, producer, &mut gathered);
        let request = decode(gathered.whole(&template), 9);
        for partition in &request.topic_data[0].partition_data {
            let records = partition.records.as_ref().unwrap();
            verify_crc(records).unwrap();
            let header = BatchHeader::parse(records).unwrap();
            assert_eq!((header.producer_id, header.producer_epoch), (4_711, 2));
            let expected = 1_000 * partition.index + header.records_count;
            assert_eq!(header.base_sequence, expected);
        }
    }
}

#[test]
fn keys_are_spread_over_the_batches_and_compressed_batches_read_back() {
    for compression in Compression::ALL {
        let keyed = BatchShape {
            compression,
            keys: 10,
            ..BatchShape::of(4096)
        };
        let batches = batch::build_all(&keyed, 1).unwrap();
        assert_eq!(batches.len(), 3);
        let mut keys = std::collections::BTreeSet::new();
        for prepared in &batches {
            verify_crc(&prepared.bytes).unwrap();
            let found = records(&prepared.bytes, 2 << 20).unwrap();
            keys.extend(
                found
                    .views()
                    .map(|view| view.unwrap().key.unwrap().to_vec()),
            );
            let smaller = prepared.bytes.len() < 3_000;
            assert_eq!(smaller, compression != Compression::None);
        }
        assert_eq!(keys.len(), 10);
    }
    let too_many = BatchShape {
        keys: u64::MAX,
        ..BatchShape::of(4096)
    };
    assert!(batch::build_all(&too_many, 1).is_err());
}

/// An answer as a server writes it, from after the correlation id on.
fn answer(version: i16, partitions: &[(i32, i16)]) -> Vec<u8> {
    let entries = partitions
        .iter()
        .map(|&(index, error_code)| PartitionProduceResponse {
            index,
            error_code,
            base_offset: 41,
            log_start_offset: 3,
            ..Default::default()
        });
    let response = ProduceResponse {
        responses: vec![TopicProduceResponse {
            name: topic().name,
            topic_id: topic().id,
            partition_responses: entries.collect(),
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
    let stored = Answer::Stored { base_offset: 41 };
    for version in versions() {
        let one = Template::build(&topic(), vec![prepared.clone()], shape(version, 1)).unwrap();
        let good = answer(version, &[(2, 0)]);
        assert_eq!(one.read_answer(&good, &cover(2, 1)).unwrap(), stored);
        let bad = answer(version, &[(2, 6)]);
        let refused = one.read_answer(&bad, &cover(2, 1)).unwrap();
        assert_eq!(refused, Answer::Refused(vec![(2, 6)]));
        assert!(
            one.read_answer(&good[..good.len() / 3], &cover(2, 1))
                .is_err()
        );
        assert!(one.read_answer(&[], &cover(2, 1)).is_err());

        let two = Template::build(&topic(), vec![prepared.clone()], shape(version, 2)).unwrap();
        let other_order = answer(version, &[(0, 0), (2, 0)]);
        assert_eq!(two.read_answer(&other_order, &cover(2, 2)).unwrap(), stored);
        let half = answer(version, &[(2, 0), (0, 6)]);
        let refused = two.read_answer(&half, &cover(2, 2)).unwrap();
        assert_eq!(refused, Answer::Refused(vec![(0, 6)]));
    }
}

#[test]
fn an_answer_for_other_partitions_is_no_answer() {
    let prepared = batch::build(1024, 1).unwrap();
    let one = Template::build(&topic(), vec![prepared.clone()], shape(13, 1)).unwrap();
    assert!(
        one.read_answer(&answer(13, &[(1, 0)]), &cover(2, 1))
            .is_err()
    );
    let two = Template::build(&topic(), vec![prepared], shape(13, 2)).unwrap();
    for wrong in [[(2, 0), (2, 0)], [(1, 0), (1, 0)], [(2, 0), (1, 0)]] {
        assert!(two.read_answer(&answer(13, &wrong), &cover(2, 2)).is_err());
    }
}

#[test]
fn owners_share_the_partitions_out_without_a_gap() {
    for (partitions, owners) in [(16, 4), (17, 4), (10_000, 200), (7, 7)] {
        let mut next = 0;
        for index in 0..owners {
            let ring = PartitionRing::share(partitions, index, owners);
            assert_eq!(ring.first, next);
            next += ring.count;
        }
        assert_eq!(next, partitions);
    }
    let more_owners = PartitionRing::share(3, 4, 5);
    assert_eq!((more_owners.first, more_owners.count), (1, 1));
}
