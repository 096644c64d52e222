//! Metadata responses are written straight from the image: byte for byte what the codec writes from a `MetadataResponse`, in
//! every version, over random images. `odradek-perf metadata` measures how long it takes.

use odradek_protocol::api::ApiKey;
use odradek_protocol::codec::Writer;
use odradek_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use odradek_protocol::metadata_records::register_broker_record::BrokerEndpoint as RecordEndpoint;
use odradek_protocol::metadata_records::{
    MetadataRecord, PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord,
};
use odradek_protocol::{ErrorCode, Message, StrBytes, Uuid};
use odradek_raft::image::{BuilderOptions, MetadataBuilder, MetadataImage};
use odradek_server::node::BrokerEndpoint;
use odradek_server::node::api::metadata::TopicAnswer;
use odradek_server::node::api::metadata::encoding::{Answer, AnsweredTopics, encode};
use odradek_server::node::dispatch::api_row;

const OPERATIONS_NOT_ASKED: i32 = i32::MIN;
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
const CLUSTER_ID: &str = "a-cluster";

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }

    fn nodes(&mut self, least: u64) -> Vec<i32> {
        let first = self.below(7) as i32;
        let count = (least + self.below(4)) as i32;
        (0..count).map(|step| (first + step) % 9).collect()
    }
}

fn broker(id: i32, random: &mut Random) -> MetadataRecord {
    RegisterBrokerRecord {
        broker_id: id,
        broker_epoch: i64::from(id),
        end_points: vec![RecordEndpoint {
            name: "PLAINTEXT".into(),
            host: "host".into(),
            port: 9092,
            ..Default::default()
        }],
        rack: (random.below(2) == 0).then(|| StrBytes::from_static("rack")),
        fenced: random.below(4) == 0,
        in_controlled_shutdown: random.below(6) == 0,
        log_dirs: vec![Uuid::from_u128(1_000 + id as u128)],
        ..Default::default()
    }
    .into()
}

fn partition(topic_id: Uuid, number: i32, random: &mut Random) -> MetadataRecord {
    let replicas = random.nodes(1);
    let isr: Vec<i32> = replicas
        .iter()
        .copied()
        .filter(|_| random.below(3) > 0)
        .collect();
    let directories = replicas.iter().map(|id| {
        let lost = random.below(5) == 0;
        Uuid::from_u128(if lost { 2 } else { 1_000 + *id as u128 })
    });
    PartitionRecord {
        partition_id: number,
        topic_id,
        directories: directories.collect(),
        leader: if random.below(6) == 0 {
            -1
        } else {
            replicas[0]
        },
        leader_epoch: random.below(100) as i32,
        partition_epoch: 1,
        isr,
        replicas,
        ..Default::default()
    }
    .into()
}

/// Some brokers, and topics of up to 40 partitions, some of which grew later (their partitions lie in several runs).
fn random_image(random: &mut Random) -> MetadataImage {
    let mut records: Vec<MetadataRecord> = Vec::new();
    for id in 0..8 {
        if random.below(5) > 0 {
            records.push(broker(id, random));
        }
    }
    let mut grown: Vec<(Uuid, i32)> = Vec::new();
    for number in 0..random.below(12) {
        let topic_id = Uuid::from_u128(u128::from(number) + 1);
        let name = match number {
            0 => StrBytes::from_static("__consumer_offsets"),
            number => StrBytes::from(format!("topic-{number}")),
        };
        records.push(
            TopicRecord {
                name,
                topic_id,
                ..Default::default()
            }
            .into(),
        );
        let count = random.below(40) as i32;
        records.extend((0..count).map(|index| partition(topic_id, index, random)));
        grown.push((topic_id, count));
    }
    for (topic_id, count) in grown {
        if count > 0 && random.below(2) == 0 {
            records.push(partition(topic_id, count, random));
            records.push(
                PartitionChangeRecord {
                    partition_id: 0,
                    topic_id,
                    leader: -1,
                    ..Default::default()
                }
                .into(),
            );
        }
    }
    let mut builder = MetadataBuilder::new(MetadataImage::empty(), BuilderOptions::default());
    for (offset, record) in records.iter().enumerate() {
        builder
            .apply(record, offset as i64, 1)
            .expect("the record fits the image");
    }
    let published = builder.publish();
    published.map_or_else(MetadataImage::empty, |(image, _)| image)
}

/// The same response as a struct, made with nothing of the code under test.
fn as_struct(answer: &Answer<'_>, version: i16) -> MetadataResponse {
    let topic_ids: Vec<Result<Uuid, &TopicAnswer>> = match answer.topics {
        AnsweredTopics::All => answer
            .image
            .topics
            .iter()
            .map(|topic| Ok(topic.id()))
            .collect(),
        AnsweredTopics::These(these) => these
            .iter()
            .map(|topic| match topic {
                TopicAnswer::Found(id) => Ok(*id),
                other => Err(other),
            })
            .collect(),
    };
    let topics = topic_ids.into_iter().map(|topic| match topic {
        Ok(id) => found_topic(answer, id, version),
        Err(missing) => missing_topic(missing, version),
    });
    MetadataResponse {
        brokers: answer
            .brokers
            .iter()
            .map(|broker| MetadataResponseBroker {
                node_id: broker.id,
                host: StrBytes::from(broker.host.as_str()),
                port: i32::from(broker.port),
                rack: broker.rack.as_deref().map(StrBytes::from),
                ..Default::default()
            })
            .collect(),
        cluster_id: Some(StrBytes::from(answer.cluster_id)),
        controller_id: answer.brokers.first().map_or(-1, |broker| broker.id),
        topics: topics.collect(),
        // Only what the version can say: an older one is refused by the codec.
        cluster_authorized_operations: if answer.cluster_operations && (8..=10).contains(&version) {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_NOT_ASKED
        },
        ..Default::default()
    }
}

fn missing_topic(missing: &TopicAnswer, version: i16) -> MetadataResponseTopic {
    let TopicAnswer::Missing { name, id, error } = missing else {
        panic!("only missing topics come here");
    };
    let empty = (version < 12).then_some(StrBytes::EMPTY);
    MetadataResponseTopic {
        error_code: error.code(),
        name: name.clone().or(empty),
        topic_id: *id,
        topic_authorized_operations: OPERATIONS_NOT_ASKED,
        ..Default::default()
    }
}

fn found_topic(answer: &Answer<'_>, id: Uuid, version: i16) -> MetadataResponseTopic {
    let image = answer.image;
    let topic = image.topics.by_id(id).expect("a topic of the image");
    let partitions = (0..topic.partition_count()).map(|number| {
        let view = topic.partition(number).expect("numbers have no gaps");
        let leader = image
            .brokers
            .get(&view.leader())
            .filter(|broker| !broker.fenced && !broker.in_controlled_shutdown)
            .map_or(-1, |broker| broker.id);
        let offline = view.replicas().iter().copied().filter(|id| {
            let directory = view.directory_of(*id).expect("each replica has one");
            image
                .brokers
                .get(id)
                .is_none_or(|broker| broker.fenced || !broker.has_online_directory(directory))
        });
        MetadataResponsePartition {
            error_code: if leader < 0 {
                ErrorCode::LeaderNotAvailable.code()
            } else {
                0
            },
            partition_index: number,
            leader_id: leader,
            leader_epoch: view.leader_epoch(),
            replica_nodes: view.replicas().to_vec(),
            isr_nodes: view.isr().to_vec(),
            offline_replicas: offline.collect(),
            ..Default::default()
        }
    });
    MetadataResponseTopic {
        error_code: 0,
        name: Some(StrBytes::from(topic.name())),
        topic_id: id,
        is_internal: &**topic.name() == "__consumer_offsets",
        partitions: partitions.collect(),
        topic_authorized_operations: if answer.topic_operations && version >= 8 {
            TOPIC_OPERATIONS
        } else {
            OPERATIONS_NOT_ASKED
        },
        ..Default::default()
    }
}

fn all_versions() -> std::ops::RangeInclusive<i16> {
    let row = api_row(ApiKey::Metadata);
    row.min..=row.max
}

fn check(answer: &Answer<'_>, versions: std::ops::RangeInclusive<i16>, what: &str) {
    for version in versions {
        let mut ours = Writer::new();
        encode(&mut ours, version, answer).expect("a response of ours encodes");
        let mut wanted = Writer::new();
        as_struct(answer, version)
            .encode(&mut wanted, version)
            .expect("the struct encodes");
        assert_eq!(
            ours.into_bytes(),
            wanted.into_bytes(),
            "{what}, version {version}"
        );
    }
}

fn endpoints(image: &MetadataImage) -> Vec<BrokerEndpoint> {
    let brokers = image.brokers.values();
    brokers
        .map(|broker| BrokerEndpoint {
            id: broker.id,
            host: "host".to_string(),
            port: 9092,
            rack: broker.rack.as_ref().map(ToString::to_string),
            fenced: broker.fenced,
        })
        .collect()
}

#[test]
fn metadata_from_the_image_is_what_the_codec_writes_in_every_version() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let image = random_image(&mut random);
        let brokers = endpoints(&image);
        let mut these: Vec<TopicAnswer> = image
            .topics
            .iter()
            .filter(|_| random.below(2) == 0)
            .map(|topic| TopicAnswer::Found(topic.id()))
            .collect();
        these.push(TopicAnswer::Missing {
            name: Some(StrBytes::from_static("missing")),
            id: Uuid::ZERO,
            error: ErrorCode::UnknownTopicOrPartition,
        });
        these.push(TopicAnswer::Missing {
            name: None,
            id: Uuid::from_u128(77_777),
            error: ErrorCode::UnknownTopicId,
        });
        let (topic_operations, cluster_operations) = (random.below(2) == 0, random.below(2) == 0);
        for topics in [AnsweredTopics::All, AnsweredTopics::These(&these)] {
            let answer = Answer {
                image: &image,
                brokers: &brokers,
                cluster_id: CLUSTER_ID,
                topics,
                topic_operations,
                cluster_operations,
            };
            check(&answer, all_versions(), &format!("seed {seed}"));
        }
    }
}

#[test]
fn metadata_of_100_000_partitions_leaves_in_segments() {
    let mut random = Random(7);
    let mut builder = MetadataBuilder::new(MetadataImage::empty(), BuilderOptions::default());
    let mut records: Vec<MetadataRecord> = (0..8).map(|id| broker(id, &mut random)).collect();
    for topic in 0..100u128 {
        let topic_id = Uuid::from_u128(topic + 1);
        records.push(
            TopicRecord {
                name: StrBytes::from(format!("topic-{topic:03}")),
                topic_id,
                ..Default::default()
            }
            .into(),
        );
        records.extend((0..1_000).map(|index| partition(topic_id, index, &mut random)));
    }
    for (offset, record) in records.iter().enumerate() {
        builder
            .apply(record, offset as i64, 1)
            .expect("the record fits the image");
    }
    let (image, _) = builder.publish().expect("no transaction is open");
    assert_eq!(image.topics.partition_count(), 100_000);
    let brokers = endpoints(&image);
    let answer = Answer {
        image: &image,
        brokers: &brokers,
        cluster_id: CLUSTER_ID,
        topics: AnsweredTopics::All,
        topic_operations: false,
        cluster_operations: false,
    };
    check(&answer, 12..=13, "100,000 partitions");
    let mut writer = Writer::new();
    encode(&mut writer, 13, &answer).expect("a response of ours encodes");
    let segments = writer.finish();
    assert!(
        segments.len() >= 10,
        "{} segments of {} bytes",
        segments.len(),
        segments.iter().map(|bytes| bytes.len()).sum::<usize>()
    );
}
