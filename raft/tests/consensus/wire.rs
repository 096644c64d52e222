//! Requests and responses on Kafka's wire: what each version carries, and the errors of malformed ones.

use bytes::Bytes;
use odradek_protocol::codec::{Reader, Writer};
use odradek_protocol::messages::{VoteRequest as VoteMessage, vote_request};
use odradek_protocol::{ErrorCode, Uuid};
use odradek_raft::consensus::wire::{
    METADATA_TOPIC, METADATA_TOPIC_ID, RequestBody, ResponseBody, read_request, read_response,
    write_request, write_response,
};
use odradek_raft::consensus::{
    BeginQuorumEpochRequest, EndQuorumEpochRequest, Endpoint, FetchRequest, FetchResult,
    FetchSnapshotRequest, FetchSnapshotResult, LeaderAndEpoch, OffsetAndEpoch, QuorumDescription,
    QuorumResponse, ReplicaDescription, ReplicaKey, Request, Response, VoteRequest, VoteResult,
};

use crate::support::{endpoint, key};

const VERSIONS: [(i16, std::ops::RangeInclusive<i16>); 6] = [
    (52, 0..=2),
    (53, 0..=1),
    (54, 0..=1),
    (1, 12..=18),
    (59, 0..=1),
    (55, 0..=2),
];

fn versions(api_key: i16) -> std::ops::RangeInclusive<i16> {
    let found = VERSIONS.into_iter().find(|(known, _)| *known == api_key);
    found.expect("a raft API").1
}

fn requests() -> Vec<Request> {
    let cluster_id = Some("cluster".to_owned());
    vec![
        Request::Vote(VoteRequest {
            cluster_id: cluster_id.clone(),
            voter: Some(key(1)),
            epoch: 5,
            candidate: key(2),
            last: OffsetAndEpoch::new(100, 4),
            pre_vote: true,
        }),
        Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
            cluster_id: cluster_id.clone(),
            voter: Some(key(1)),
            leader_id: 2,
            epoch: 5,
            endpoints: vec![endpoint(2)],
        }),
        Request::EndQuorumEpoch(EndQuorumEpochRequest {
            cluster_id: cluster_id.clone(),
            leader_id: 2,
            epoch: 5,
            preferred: vec![key(3), key(1)],
            endpoints: vec![endpoint(2)],
        }),
        Request::Fetch(FetchRequest {
            cluster_id: cluster_id.clone(),
            replica: key(2),
            wait_max_ms: 500,
            bytes_max: 1 << 20,
            epoch: 5,
            fetch_offset: 100,
            last_fetched_epoch: 4,
            high_watermark: 90,
        }),
        Request::FetchSnapshot(FetchSnapshotRequest {
            cluster_id,
            replica: key(2),
            bytes_max: 1 << 20,
            epoch: 5,
            snapshot_id: OffsetAndEpoch::new(80, 3),
            position: 4096,
        }),
        Request::DescribeQuorum,
    ]
}

fn over_the_wire(body: &RequestBody, version: i16) -> RequestBody {
    let mut writer = Writer::new();
    body.encode(&mut writer, version).expect("encodes");
    let mut reader = Reader::new(writer.into_bytes());
    let read = RequestBody::decode(body.api_key(), version, &mut reader);
    let read = read.expect("a raft request").expect("decodes");
    assert_eq!(reader.remaining(), 0);
    read
}

#[test]
fn newest_requests_carry_everything() {
    for request in requests() {
        let probe = write_request(&request, 99).expect("newer than all");
        let version = *versions(probe.api_key()).end();
        let body = write_request(&request, version).expect("says all");
        let read = read_request(&over_the_wire(&body, version), version);
        assert_eq!(read, Ok(request));
    }
}

#[test]
fn older_versions_drop_what_they_lack() {
    for request in requests() {
        let api_key = write_request(&request, 99)
            .expect("newer than all")
            .api_key();
        for version in versions(api_key) {
            let body = match write_request(&request, version) {
                Ok(body) => body,
                Err(error) => {
                    assert_eq!((error, api_key), (ErrorCode::UnsupportedVersion, 52));
                    assert!(version < 2);
                    continue;
                }
            };
            let read = read_request(&over_the_wire(&body, version), version).expect("reads");
            match (&request, read) {
                (Request::EndQuorumEpoch(sent), Request::EndQuorumEpoch(read)) => {
                    let ids =
                        |keys: &[ReplicaKey]| keys.iter().map(|key| key.id).collect::<Vec<_>>();
                    assert_eq!(ids(&sent.preferred), ids(&read.preferred));
                }
                (Request::Fetch(sent), Request::Fetch(read)) => {
                    assert_eq!(sent.replica.id, read.replica.id);
                    assert_eq!(read.replica.has_directory(), version >= 17);
                    let told = if version >= 18 { 90 } else { i64::MAX };
                    assert_eq!(read.high_watermark, told);
                }
                (Request::BeginQuorumEpoch(_), Request::BeginQuorumEpoch(read)) => {
                    assert_eq!(read.voter.is_some(), version >= 1);
                }
                _ => {}
            }
        }
    }
}

#[test]
fn anything_but_the_one_partition_is_refused() {
    let good = write_request(&requests()[0], 2).expect("says all");
    let RequestBody::Vote(good) = good else {
        panic!("{good:?}");
    };
    let refused = |message: VoteMessage| {
        assert_eq!(
            read_request(&RequestBody::Vote(message), 2),
            Err(ErrorCode::InvalidRequest)
        );
    };
    let mut none = good.clone();
    none.topics.clear();
    refused(none);
    let mut two = good.clone();
    two.topics.push(good.topics[0].clone());
    refused(two);
    let mut other = good.clone();
    other.topics[0].topic_name = "other".into();
    refused(other);
    let mut second = good.clone();
    second.topics[0].partitions[0].partition_index = 1;
    refused(second);
    let mut twice = good.clone();
    let partition: vote_request::PartitionData = good.topics[0].partitions[0].clone();
    twice.topics[0].partitions.push(partition);
    refused(twice);
    let describe = write_request(&Request::DescribeQuorum, 2).expect("says all");
    let RequestBody::DescribeQuorum(mut describe) = describe else {
        panic!("{describe:?}");
    };
    describe.topics[0].topic_name = "other".into();
    assert_eq!(
        read_request(&RequestBody::DescribeQuorum(describe), 2),
        Err(ErrorCode::UnknownTopicOrPartition)
    );
    assert_eq!(METADATA_TOPIC, "__cluster_metadata");
    assert_eq!(METADATA_TOPIC_ID.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
}

fn unnamed(id: i32) -> Endpoint {
    Endpoint {
        name: String::new(),
        ..endpoint(id)
    }
}

fn described() -> Response {
    let replica = |id: i32| ReplicaDescription {
        key: key(id),
        log_end_offset: 100,
        last_fetch_ms: 7,
        last_caught_up_ms: 6,
    };
    Response::DescribeQuorum(Box::new(QuorumDescription {
        error: ErrorCode::None,
        leader: LeaderAndEpoch {
            leader_id: Some(2),
            epoch: 5,
        },
        high_watermark: 90,
        voters: vec![replica(1), replica(2)],
        observers: vec![replica(7)],
        nodes: vec![(1, vec![endpoint(1)]), (2, vec![endpoint(2)])],
    }))
}

fn responses() -> Vec<Response> {
    let quorum = QuorumResponse {
        error: ErrorCode::None,
        leader: LeaderAndEpoch {
            leader_id: Some(2),
            epoch: 5,
        },
        leader_endpoint: Some(unnamed(2)),
    };
    let unknown = QuorumResponse {
        error: ErrorCode::NotLeaderOrFollower,
        leader: LeaderAndEpoch {
            leader_id: None,
            epoch: 5,
        },
        leader_endpoint: None,
    };
    let fetched = FetchResult {
        high_watermark: 90,
        log_start: 10,
        diverging: None,
        snapshot_id: None,
        records: vec![Bytes::from_static(b"batches")],
    };
    vec![
        Response::Vote(quorum.clone(), VoteResult { granted: true }),
        Response::Vote(unknown.clone(), VoteResult { granted: false }),
        Response::BeginQuorumEpoch(quorum.clone()),
        Response::EndQuorumEpoch(unknown.clone()),
        Response::Fetch(quorum.clone(), Box::new(fetched.clone())),
        Response::Fetch(
            quorum.clone(),
            Box::new(FetchResult {
                diverging: Some(OffsetAndEpoch::new(50, 3)),
                records: vec![],
                ..fetched.clone()
            }),
        ),
        Response::Fetch(
            unknown,
            Box::new(FetchResult {
                high_watermark: -1,
                log_start: -1,
                snapshot_id: Some(OffsetAndEpoch::new(80, 3)),
                records: vec![],
                diverging: None,
            }),
        ),
        Response::FetchSnapshot(
            quorum,
            FetchSnapshotResult {
                snapshot_id: OffsetAndEpoch::new(80, 3),
                size_bytes: 5000,
                position: 4096,
                bytes: Bytes::from_static(b"chunk"),
            },
        ),
        described(),
    ]
}

fn api_key_of(response: &Response) -> i16 {
    match response {
        Response::Vote(..) => 52,
        Response::BeginQuorumEpoch(_) => 53,
        Response::EndQuorumEpoch(_) => 54,
        Response::Fetch(..) => 1,
        Response::FetchSnapshot(..) => 59,
        Response::DescribeQuorum(_) | Response::Refused { .. } => 55,
    }
}

fn answer_over_the_wire(response: &Response, api_key: i16, version: i16) -> Response {
    let body = write_response(response, api_key, version);
    let mut writer = Writer::new();
    body.encode(&mut writer, version)
        .unwrap_or_else(|error| panic!("key {api_key} version {version}: {error}"));
    let mut reader = Reader::new(writer.into_bytes());
    let read = ResponseBody::decode(api_key, version, &mut reader);
    let read = read.expect("a raft response").expect("decodes");
    assert_eq!(reader.remaining(), 0);
    read_response(&read).expect("well-formed")
}

#[test]
fn newest_responses_carry_everything_and_all_versions_encode() {
    for response in responses() {
        let api_key = api_key_of(&response);
        for version in versions(api_key) {
            let read = answer_over_the_wire(&response, api_key, version);
            if version == *versions(api_key).end() {
                assert_eq!(read, response);
            }
        }
    }
}

#[test]
fn refusals_are_top_level_errors() {
    let error = ErrorCode::InconsistentClusterId;
    for (api_key, versions) in VERSIONS {
        if api_key == 55 {
            continue;
        }
        for version in versions {
            let refused = Response::Refused { error };
            assert_eq!(answer_over_the_wire(&refused, api_key, version), refused);
        }
    }
    let refused = Response::Refused {
        error: ErrorCode::UnknownTopicOrPartition,
    };
    let Response::DescribeQuorum(read) = answer_over_the_wire(&refused, 55, 2) else {
        panic!("DescribeQuorum tells errors at the partition");
    };
    assert_eq!(read.error, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(Uuid::default(), Uuid([0; 16]));
}
