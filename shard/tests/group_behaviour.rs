//! What of the group coordinator is easier said in Rust than in the text cases of `group_cases`:
//! placement, loading of foreign records, refusals, whole requests, bytes of every version.

mod group_support;

use bytes::Bytes;
use group_support::{Harness, WALL_START_MS, subscription};
use odradek_protocol::codec::Writer;
use odradek_protocol::coordinator_records::{
    ConsumerGroupMetadataKey, ConsumerGroupMetadataValue, LegacyOffsetCommitKey,
    LegacyOffsetCommitValue, OffsetCommitKey, OffsetCommitValue, encode_key, encode_value,
};
use odradek_protocol::messages::heartbeat_request::HeartbeatRequest;
use odradek_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use odradek_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use odradek_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use odradek_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use odradek_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use odradek_protocol::messages::sync_group_request::SyncGroupRequest;
use odradek_protocol::{ErrorCode, Message, StrBytes, Uuid};
use odradek_shard::group::wire::{self, Topics};
use odradek_shard::group::{
    ClientContext, Effect, GroupCoordinator, GroupOptions, GroupRequest, GroupResponse, Now, Token,
    java_string_hash, partition_for,
};

fn options() -> GroupOptions {
    GroupOptions::with_seed((3, 4))
}

fn context(api_version: i16) -> ClientContext {
    ClientContext {
        api_version,
        client_id: StrBytes::from_static("client"),
        client_host: StrBytes::from_static("/127.0.0.1"),
    }
}

fn join_request() -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: StrBytes::from_static("g"),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: StrBytes::from_static("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: StrBytes::from_static("range"),
            metadata: subscription(&["t"]),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn commit_request(topics: &[(&str, Uuid, &[i32])]) -> OffsetCommitRequest {
    let topics = topics
        .iter()
        .map(|(name, topic_id, partitions)| OffsetCommitRequestTopic {
            name: StrBytes::from(*name),
            topic_id: *topic_id,
            partitions: partitions
                .iter()
                .map(|index| OffsetCommitRequestPartition {
                    partition_index: *index,
                    committed_offset: 10 + i64::from(*index),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        })
        .collect();
    OffsetCommitRequest {
        group_id: StrBytes::from_static("g"),
        topics,
        ..Default::default()
    }
}

fn fetch_all(group_id: &str) -> GroupRequest {
    GroupRequest::OffsetFetch {
        group: OffsetFetchRequestGroup {
            group_id: StrBytes::from(group_id),
            topics: None,
            ..Default::default()
        },
        require_stable: false,
    }
}

/// The answer to a request that is answered at once.
fn answer(harness: &mut Harness, api_version: i16, request: GroupRequest) -> GroupResponse {
    harness.take_replies();
    let token = harness.request(&context(api_version), request);
    let mut replies = harness.take_replies();
    assert_eq!(replies.len(), 1);
    let (answered, response) = replies.remove(0);
    assert_eq!(answered, token);
    response
}

#[test]
fn groups_are_placed_as_java_places_them() {
    assert_eq!(java_string_hash("hello"), 99_162_322);
    assert_eq!(java_string_hash(""), 0);
    // Outside the first plane Java hashes two units.
    assert_eq!(java_string_hash("😀"), 0xd83d * 31 + 0xde00);
    assert_eq!(java_string_hash("polygenelubricants"), i32::MIN);
    assert_eq!(partition_for("hello", 50), 22);
    assert_eq!(partition_for("polygenelubricants", 50), 0);
    assert_eq!(partition_for("", 50), 0);
    assert_eq!(partition_for("hello", 0), 0);
    for name in ["console-consumer-1", "connect-cluster", "äöü", "a"] {
        assert!((0..50).contains(&partition_for(name, 50)));
    }
}

#[test]
fn member_ids_are_prefix_and_uuid_and_fit_any_string() {
    let mut harness = Harness::new(options());
    let mut ids = std::collections::BTreeSet::new();
    for prefix in ["a", "", &"ö".repeat(16_383)] {
        for _ in 0..50 {
            let client = ClientContext {
                client_id: StrBytes::from(prefix),
                ..context(9)
            };
            harness.request(&client, GroupRequest::Join(join_request()));
        }
    }
    for (_, response) in harness.take_replies() {
        let GroupResponse::Join(response) = response else {
            panic!("{response:?}")
        };
        assert_eq!(response.error_code, ErrorCode::MemberIdRequired.code());
        let id = response.member_id;
        let uuid = &id[id.len() - 36..];
        assert!(
            id.len() <= 32_767 && id.as_bytes()[id.len() - 37] == b'-',
            "{id}"
        );
        let dashes: Vec<usize> = uuid.match_indices('-').map(|(at, _)| at).collect();
        assert_eq!(
            (dashes, uuid.as_bytes()[14]),
            (vec![8, 13, 18, 23], b'4'),
            "{uuid}"
        );
        assert!(
            matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'),
            "{uuid}"
        );
        assert!(ids.insert(id), "ids differ");
    }
    assert_eq!(ids.len(), 150);
}

#[test]
fn an_incarnation_with_the_same_random_bits_gives_no_id_twice() {
    let mut harness = Harness::new(options());
    harness.line("join client=a v=3");
    harness.advance(3_000);
    harness.line("sync member=a#1 a#1:A");
    // `restart` changes the seed by one; so it ends up as it was.
    harness.options.seed.0 -= 1;
    harness.restart();
    let output = harness.line("join client=a");
    assert!(
        output[0].ends_with("MEMBER_ID_REQUIRED member=a#2"),
        "{output:?}"
    );
}

#[test]
fn while_loading_requests_are_refused_but_members_stay() {
    let mut coordinator = GroupCoordinator::new(options());
    let now = Now {
        monotonic_us: 0,
        wall_ms: WALL_START_MS,
    };
    let mut effects = Vec::new();
    let heartbeat = GroupRequest::Heartbeat(HeartbeatRequest::default());
    coordinator.handle(now, Token(1), &context(4), heartbeat, &mut effects);
    coordinator.handle(now, Token(2), &context(9), fetch_all("g"), &mut effects);
    assert_eq!(coordinator.next_deadline(), None);
    let codes: Vec<i16> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Reply {
                response: GroupResponse::Heartbeat(response),
                ..
            } => response.error_code,
            Effect::Reply {
                response: GroupResponse::OffsetFetch(group),
                ..
            } => group.error_code,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(codes, [0, ErrorCode::CoordinatorLoadInProgress.code()]);
}

#[test]
fn records_of_other_groups_and_old_formats_can_be_read() {
    let mut harness = Harness::new(options());
    let text = StrBytes::from_static;
    let (group, topic) = (text("g"), text("t"));
    let mut log = Vec::new();
    let key = ConsumerGroupMetadataKey {
        group_id: text("modern"),
        ..Default::default()
    };
    let value = encode_value(&ConsumerGroupMetadataValue::default(), 0).expect("a value");
    log.push((encode_key(&key).expect("a key"), Some(value)));
    let key = LegacyOffsetCommitKey {
        group: group.clone(),
        topic: topic.clone(),
        partition: 0,
        ..Default::default()
    };
    let value = LegacyOffsetCommitValue {
        offset: 7,
        ..Default::default()
    };
    let value = encode_value(&value, 0).expect("a value");
    log.push((encode_key(&key).expect("a key"), Some(value)));
    for version in 0..=4i16 {
        let key = OffsetCommitKey {
            group: group.clone(),
            topic: topic.clone(),
            partition: 1 + i32::from(version),
            ..Default::default()
        };
        let value = OffsetCommitValue {
            offset: 20,
            ..Default::default()
        };
        let value = encode_value(&value, version).expect("a value");
        log.push((encode_key(&key).expect("a key"), Some(value)));
    }
    harness.log = log;
    harness.restart();
    let GroupResponse::OffsetFetch(found) = answer(&mut harness, 9, fetch_all("g")) else {
        panic!("a fetch is answered as one")
    };
    let offsets: Vec<i64> = found.topics[0]
        .partitions
        .iter()
        .map(|partition| partition.committed_offset)
        .collect();
    assert_eq!(offsets, [7, 20, 20, 20, 20, 20]);
    assert_eq!(harness.coordinator.statistics().records_skipped, 1);
}

#[test]
fn records_that_cannot_be_read_are_an_error_and_never_a_panic() {
    let mut harness = Harness::new(options());
    harness.line("commit t1:0=100@note");
    harness.line("join client=a v=3 instance=i");
    harness.advance(3_000);
    harness.line("sync member=i#1 instance=i i#1:A");
    let log = harness.log.clone();
    let mut refused = 0;
    for (key, value) in &log {
        let value = value.clone().expect("no tombstones here");
        for cut in 0..key.len() {
            let mut coordinator = GroupCoordinator::new(options());
            refused += usize::from(coordinator.load(Some(key.slice(..cut)), None).is_err());
        }
        for cut in 0..value.len() {
            let mut coordinator = GroupCoordinator::new(options());
            let short = Some(value.slice(..cut));
            refused += usize::from(coordinator.load(Some(key.clone()), short).is_err());
            for bit in 0..8 {
                let mut flipped = value.to_vec();
                flipped[cut] ^= 1 << bit;
                let mut coordinator = GroupCoordinator::new(options());
                // Whatever it says now, it is taken or refused.
                let _ = coordinator.load(Some(key.clone()), Some(Bytes::from(flipped)));
            }
        }
    }
    assert!(refused > 50, "cut records are refused");
    let mut coordinator = GroupCoordinator::new(options());
    assert!(
        coordinator.load(None, None).is_ok(),
        "a record without key is passed over"
    );
    let unknown = Bytes::from_static(&[0x7f, 0, 1, 2]);
    assert!(
        coordinator.load(Some(unknown), None).is_ok(),
        "an unknown type is passed over"
    );
}

fn every_request() -> Vec<GroupRequest> {
    let group_id = StrBytes::from_static("g");
    let text = StrBytes::from_static;
    let fetch_topic = OffsetFetchRequestTopics {
        name: text("t"),
        partition_indexes: vec![0, 1],
        ..Default::default()
    };
    vec![
        GroupRequest::Join(join_request()),
        GroupRequest::Sync(SyncGroupRequest {
            group_id: group_id.clone(),
            ..Default::default()
        }),
        GroupRequest::Heartbeat(HeartbeatRequest::default()),
        GroupRequest::Leave(LeaveGroupRequest {
            group_id: group_id.clone(),
            members: vec![MemberIdentity {
                member_id: text("m"),
                ..Default::default()
            }],
            ..Default::default()
        }),
        GroupRequest::OffsetCommit(commit_request(&[("t", Uuid::default(), &[0])])),
        GroupRequest::OffsetFetch {
            group: OffsetFetchRequestGroup {
                group_id: group_id.clone(),
                topics: Some(vec![fetch_topic]),
                ..Default::default()
            },
            require_stable: false,
        },
        GroupRequest::OffsetDelete(OffsetDeleteRequest::default()),
        GroupRequest::Describe(vec![group_id.clone()]),
        GroupRequest::List {
            states: Vec::new(),
            types: Vec::new(),
        },
        GroupRequest::Delete(vec![group_id]),
    ]
}

fn error_of(response: &GroupResponse) -> i16 {
    match response {
        GroupResponse::Join(response) => response.error_code,
        GroupResponse::Sync(response) => response.error_code,
        GroupResponse::Heartbeat(response) => response.error_code,
        GroupResponse::Leave(response) => response.error_code,
        GroupResponse::OffsetCommit(response) => response.topics[0].partitions[0].error_code,
        GroupResponse::OffsetFetch(group) => group.error_code,
        GroupResponse::OffsetDelete(response) => response.error_code,
        GroupResponse::Describe(groups) => groups[0].error_code,
        GroupResponse::List { error, .. } => error.code(),
        GroupResponse::Delete(results) => results[0].error_code,
    }
}

#[test]
fn a_refusal_says_its_error_where_each_api_has_a_place_for_it() {
    for request in every_request() {
        let response = request.refuse(2, ErrorCode::NotCoordinator);
        assert_eq!(
            error_of(&response),
            ErrorCode::NotCoordinator.code(),
            "{request:?}"
        );
        let matches = matches!(
            (&request, &response),
            (GroupRequest::Join(_), GroupResponse::Join(_))
                | (GroupRequest::Sync(_), GroupResponse::Sync(_))
                | (GroupRequest::Heartbeat(_), GroupResponse::Heartbeat(_))
                | (GroupRequest::Leave(_), GroupResponse::Leave(_))
                | (
                    GroupRequest::OffsetCommit(_),
                    GroupResponse::OffsetCommit(_)
                )
                | (
                    GroupRequest::OffsetFetch { .. },
                    GroupResponse::OffsetFetch(_)
                )
                | (
                    GroupRequest::OffsetDelete(_),
                    GroupResponse::OffsetDelete(_)
                )
                | (GroupRequest::Describe(_), GroupResponse::Describe(_))
                | (GroupRequest::List { .. }, GroupResponse::List { .. })
                | (GroupRequest::Delete(_), GroupResponse::Delete(_))
        );
        assert!(matches, "{request:?} is answered in kind");
    }
}

#[test]
fn version_1_of_offset_fetch_carries_a_groups_error_in_its_partitions() {
    let request = OffsetFetchRequest {
        group_id: StrBytes::from_static("g"),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: StrBytes::from_static("t"),
            partition_indexes: vec![0, 1],
            ..Default::default()
        }]),
        ..Default::default()
    };
    let groups = wire::fetch_groups(request.clone(), 1);
    let refused = wire::fetch_error(&groups[0], 1, ErrorCode::NotCoordinator);
    let response = wire::fetch_response(vec![refused], 1);
    assert_eq!(response.error_code, 0);
    let codes: Vec<i16> = response.topics[0]
        .partitions
        .iter()
        .map(|partition| partition.error_code)
        .collect();
    assert_eq!(codes, [ErrorCode::NotCoordinator.code(); 2]);
    let groups = wire::fetch_groups(request, 2);
    let refused = wire::fetch_error(&groups[0], 2, ErrorCode::NotCoordinator);
    let response = wire::fetch_response(vec![refused], 2);
    assert_eq!(response.error_code, ErrorCode::NotCoordinator.code());
    assert!(response.topics.is_empty());
}

fn encodes<T: Message>(message: &T, version: i16) {
    let mut writer = Writer::new();
    message
        .encode(&mut writer, version)
        .unwrap_or_else(|error| {
            panic!("{} version {version}: {error}\n{message:?}", T::NAME);
        });
}

#[test]
fn answers_can_be_written_in_every_version() {
    for version in 0..=9 {
        let mut harness = Harness::new(options());
        let mut request = join_request();
        if version >= 5 {
            request.group_instance_id = Some(StrBytes::from_static("i"));
        }
        for _ in 0..2 {
            harness.request(&context(version), GroupRequest::Join(request.clone()));
        }
        request.protocol_type = StrBytes::from_static("other");
        harness.request(&context(version), GroupRequest::Join(request.clone()));
        request.member_id = StrBytes::from_static("stranger");
        request.protocol_type = StrBytes::from_static("consumer");
        harness.request(&context(version), GroupRequest::Join(request));
        harness.advance(70_000);
        for (_, response) in harness.take_replies() {
            let GroupResponse::Join(response) = response else {
                panic!("{response:?}")
            };
            encodes(&response, version);
        }
    }
    let versions: &[(usize, i16)] = &[(1, 5), (2, 4), (3, 5), (4, 10), (6, 0)];
    for (index, last) in versions {
        for version in 0..=*last {
            let mut harness = Harness::new(options());
            let request = every_request().swap_remove(*index);
            match answer(&mut harness, version, request) {
                GroupResponse::Sync(response) => encodes(&response, version),
                GroupResponse::Heartbeat(response) => encodes(&response, version),
                GroupResponse::Leave(response) => encodes(&response, version),
                GroupResponse::OffsetCommit(response) if version >= 2 => {
                    encodes(&response, version);
                }
                GroupResponse::OffsetCommit(_) => {}
                GroupResponse::OffsetDelete(response) => encodes(&response, version),
                other => panic!("{other:?}"),
            }
        }
    }
    for version in 1..=10 {
        let mut harness = Harness::new(options());
        let request = every_request().swap_remove(5);
        let GroupResponse::OffsetFetch(group) = answer(&mut harness, version, request) else {
            panic!("a fetch is answered as one")
        };
        encodes(&wire::fetch_response(vec![group], version), version);
    }
}

struct OneTopic;

const KNOWN: Uuid = Uuid([7; 16]);

impl Topics for OneTopic {
    fn name_of(&self, id: Uuid) -> Option<StrBytes> {
        (id == KNOWN).then(|| StrBytes::from_static("t"))
    }

    fn id_of(&self, name: &str) -> Option<Uuid> {
        (name == "t").then_some(KNOWN)
    }

    fn partitions_of(&self, name: &str) -> Option<i32> {
        (name == "t").then_some(2)
    }
}

#[test]
fn commits_to_what_does_not_exist_are_refused_before_the_group_sees_them() {
    let none = Uuid::default();
    let mut request = commit_request(&[("t", none, &[0, 1, 2, -1]), ("gone", none, &[0])]);
    let refused = wire::split_commit(&mut request, 9, &OneTopic);
    let mut harness = Harness::new(options());
    let GroupResponse::OffsetCommit(response) =
        answer(&mut harness, 9, GroupRequest::OffsetCommit(request))
    else {
        panic!("a commit is answered as one")
    };
    let response = wire::join_commit(refused, response);
    let mut codes: Vec<(String, i32, i16)> = Vec::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            codes.push((
                topic.name.to_string(),
                partition.partition_index,
                partition.error_code,
            ));
        }
    }
    codes.sort();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let expected = [
        ("gone", 0, unknown),
        ("t", -1, unknown),
        ("t", 0, 0),
        ("t", 1, 0),
        ("t", 2, unknown),
    ];
    let expected = expected.map(|(name, index, code)| (name.to_owned(), index, code));
    assert_eq!(codes, expected);
    assert_eq!(response.topics.len(), 2, "a topic is answered in one place");
}

#[test]
fn version_10_names_topics_by_id() {
    let other = Uuid([8; 16]);
    let mut request = commit_request(&[("", KNOWN, &[0]), ("", other, &[0, 1])]);
    let refused = wire::split_commit(&mut request, 10, &OneTopic);
    assert_eq!(refused[0].topic_id, other);
    assert!(
        refused[0]
            .partitions
            .iter()
            .all(|partition| { partition.error_code == ErrorCode::UnknownTopicId.code() })
    );
    let mut harness = Harness::new(options());
    let GroupResponse::OffsetCommit(response) =
        answer(&mut harness, 10, GroupRequest::OffsetCommit(request))
    else {
        panic!("a commit is answered as one")
    };
    let response = wire::join_commit(refused, response);
    assert_eq!(response.topics.len(), 2);
    encodes(&response, 10);

    let by_id = |topic_id| OffsetFetchRequestTopics {
        topic_id,
        partition_indexes: vec![0],
        ..Default::default()
    };
    for topics in [Some(vec![by_id(KNOWN), by_id(other)]), None] {
        let is_all = topics.is_none();
        let group_id = StrBytes::from_static("g");
        let mut group = OffsetFetchRequestGroup {
            group_id,
            topics,
            ..Default::default()
        };
        let refused = wire::split_fetch(&mut group, 10, &OneTopic);
        let request = GroupRequest::OffsetFetch {
            group,
            require_stable: true,
        };
        let GroupResponse::OffsetFetch(found) = answer(&mut harness, 10, request) else {
            panic!("a fetch is answered as one")
        };
        let found = wire::join_fetch(refused, found, 10, &OneTopic);
        assert_eq!(found.topics[0].topic_id, KNOWN);
        assert_eq!(found.topics[0].partitions[0].committed_offset, 10);
        assert_eq!(found.topics.len(), if is_all { 1 } else { 2 });
        encodes(&wire::fetch_response(vec![found], 10), 10);
    }
}

#[test]
fn deletions_of_what_does_not_exist_are_refused_before_the_group_sees_them() {
    let mut harness = Harness::new(options());
    harness.line("commit t:0=5");
    let partition = |partition_index| OffsetDeleteRequestPartition {
        partition_index,
        ..Default::default()
    };
    let topic = |name: &'static str, partitions| OffsetDeleteRequestTopic {
        name: StrBytes::from_static(name),
        partitions,
        ..Default::default()
    };
    let mut request = OffsetDeleteRequest {
        group_id: StrBytes::from_static("g"),
        topics: vec![
            topic("t", vec![partition(0), partition(9)]),
            topic("gone", vec![partition(0)]),
        ],
        ..Default::default()
    };
    let refused = wire::split_delete(&mut request, &OneTopic);
    let GroupResponse::OffsetDelete(response) =
        answer(&mut harness, 0, GroupRequest::OffsetDelete(request))
    else {
        panic!("a deletion is answered as one")
    };
    let response = wire::join_delete(refused, response);
    let count = response
        .topics
        .iter()
        .map(|topic| topic.partitions.len())
        .sum::<usize>();
    assert_eq!(
        (response.error_code, response.topics.len(), count),
        (0, 2, 3)
    );
}

#[test]
fn a_large_group_is_removed_in_batches_and_answered_once() {
    let mut harness = Harness::new(options());
    let partitions: Vec<i32> = (0..4_500).collect();
    let request = commit_request(&[("t", Uuid::default(), &partitions)]);
    answer(&mut harness, 9, GroupRequest::OffsetCommit(request));
    harness.holds_appends = true;
    let delete = GroupRequest::Delete(vec![StrBytes::from_static("g")]);
    harness.request(&context(2), delete);
    assert_eq!(harness.in_flight.len(), 3);
    harness.report(Ok(()));
    harness.report(Ok(()));
    assert!(harness.take_replies().is_empty());
    harness.report(Ok(()));
    assert_eq!(harness.take_replies().len(), 1);
    let statistics = harness.coordinator.statistics();
    assert_eq!((statistics.groups, statistics.offsets), (0, 0));
}

#[test]
fn heartbeats_add_no_deadlines_and_a_silent_coordinator_has_none_due() {
    let mut harness = Harness::new(options());
    harness.line("join client=a v=3");
    harness.advance(3_000);
    harness.line("sync member=a#1 a#1:A");
    for _ in 0..100 {
        harness.advance(2_000);
        let output = harness.line("heartbeat member=a#1");
        assert!(output[0].ends_with("heartbeat NONE"), "{output:?}");
        assert_eq!(harness.coordinator.statistics().deadlines, 1);
    }
    let next_us = harness
        .coordinator
        .next_deadline()
        .expect("a session has an end");
    assert!(next_us > harness.now_ms * 1000);
}
