//! The crate `kafka-protocol` as a second opinion, where it covers a message: it reads what we write and writes the same
//! bytes. The first opinion, Kafka's own classes, is `kafka_oracle`.

mod support;

use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};
use odradek_protocol::codec::MessageInfo;
use odradek_protocol::registry;
use support::{Shape, encode, hex, random_message};

const SEEDS: u64 = 4;

/// Checks the versions that both have; gives back how many cases that were.
fn check<T: TheirMessage + Decodable + Encodable>(info: &MessageInfo) -> usize {
    let mut cases = 0;
    for version in info.versions.iter() {
        if version < T::VERSIONS.min || version > T::VERSIONS.max {
            continue;
        }
        for seed in 0..SEEDS {
            let shape = Shape {
                elements_max: 3,
                length_max: 30,
                unknown_tags: seed % 2 == 1,
            };
            let message = random_message(info, version, seed, shape);
            let ours = encode(message.as_ref(), info, version);
            let mut rest = ours.clone();
            let read = T::decode(&mut rest, version).unwrap_or_else(|error| {
                panic!("{} version {version} seed {seed}: {error}", info.name)
            });
            assert!(
                rest.is_empty(),
                "{} version {version} seed {seed}: bytes left over",
                info.name
            );
            let mut written = bytes::BytesMut::new();
            read.encode(&mut written, version).unwrap_or_else(|error| {
                panic!("{} version {version} seed {seed}: {error}", info.name)
            });
            assert_eq!(
                hex(&ours),
                hex(&written),
                "{} version {version} seed {seed}",
                info.name
            );
            cases += 1;
        }
    }
    cases
}

macro_rules! check_all {
    ($($name:ident),* $(,)?) => {{
        let mut cases = 0;
        for info in registry() {
            cases += match info.name {
                $(stringify!($name) => check::<theirs::$name>(info),)*
                _ => 0,
            };
        }
        cases
    }};
}

#[test]
fn kafka_protocol_reads_and_writes_the_same_bytes() {
    let cases = check_all!(
        AddOffsetsToTxnRequest,
        AddPartitionsToTxnRequest,
        AddPartitionsToTxnResponse,
        AlterPartitionRequest,
        ApiVersionsRequest,
        ApiVersionsResponse,
        BrokerRegistrationRequest,
        ConsumerGroupDescribeResponse,
        ConsumerGroupHeartbeatRequest,
        ConsumerGroupHeartbeatResponse,
        CreateAclsRequest,
        CreateTopicsRequest,
        CreateTopicsResponse,
        DeleteTopicsRequest,
        DescribeConfigsResponse,
        DescribeGroupsResponse,
        DescribeTopicPartitionsResponse,
        EndTxnRequest,
        FetchRequest,
        FetchResponse,
        FindCoordinatorRequest,
        FindCoordinatorResponse,
        HeartbeatRequest,
        InitProducerIdRequest,
        JoinGroupRequest,
        JoinGroupResponse,
        LeaveGroupRequest,
        ListGroupsResponse,
        ListOffsetsRequest,
        ListOffsetsResponse,
        MetadataRequest,
        MetadataResponse,
        OffsetCommitRequest,
        OffsetCommitResponse,
        OffsetFetchRequest,
        OffsetFetchResponse,
        OffsetForLeaderEpochRequest,
        ProduceRequest,
        ProduceResponse,
        RequestHeader,
        SaslAuthenticateRequest,
        ShareFetchRequest,
        SyncGroupRequest,
        SyncGroupResponse,
        TxnOffsetCommitRequest,
        VoteRequest,
        WriteTxnMarkersRequest,
    );
    println!("{cases} cases agree");
    assert!(cases > 500, "only {cases} cases: did a name stop matching?");
}
