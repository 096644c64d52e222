//! One CreateTopics of thousands of topics: worked in pieces, and to its client one request like any other. Each topic has its own
//! result, what the client asks next is decided after it, and all of it is there when the answer comes and after a crash.

use super::support::{Node, NodeOptions};
use odradek_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use odradek_protocol::messages::delete_topics_request::DeleteTopicState;
use odradek_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use odradek_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    ListOffsetsRequest, ListOffsetsResponse,
};
use odradek_protocol::{ApiKey, ErrorCode, StrBytes};

const TOPICS: usize = 3_000;
const PARTITIONS: i32 = 2;

fn name(topic: usize) -> String {
    format!("many-{topic:05}")
}

fn topic(name: &str) -> CreatableTopic {
    CreatableTopic {
        name: StrBytes::from(name),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..Default::default()
    }
}

/// All of them, and between them some that cannot be made.
fn request(validate_only: bool) -> CreateTopicsRequest {
    let mut topics: Vec<CreatableTopic> = (0..TOPICS).map(|number| topic(&name(number))).collect();
    topics[10].configs = vec![CreatableTopicConfig {
        name: "retention.ms".into(),
        value: Some("77".into()),
        ..Default::default()
    }];
    topics.insert(1, topic("one.name"));
    topics.insert(TOPICS - 5, topic("one_name"));
    topics.insert(TOPICS / 2, topic("twice"));
    topics.push(topic("twice"));
    topics.push(topic("no name"));
    CreateTopicsRequest {
        topics,
        timeout_ms: 30_000,
        validate_only,
        ..Default::default()
    }
}

fn check(answer: &CreateTopicsResponse) {
    assert_eq!(answer.topics.len(), TOPICS + 4);
    for topic in &answer.topics {
        let expected = match &*topic.name {
            "one_name" | "no name" => ErrorCode::InvalidTopicException,
            "twice" => ErrorCode::InvalidRequest,
            _ => ErrorCode::None,
        };
        assert_eq!(topic.error_code, expected.code(), "{}", topic.name);
        if topic.error_code != 0 {
            continue;
        }
        let configs = topic.configs.as_ref().expect("version 7 shows them");
        let retention = configs
            .iter()
            .find(|config| *config.name == *"retention.ms");
        let own = *topic.name == *name(10);
        let wanted = if own { "77" } else { "604800000" };
        assert_eq!(retention.unwrap().value.as_deref(), Some(wanted));
        assert_eq!(
            (topic.num_partitions, topic.replication_factor),
            (PARTITIONS, 1)
        );
    }
}

/// Whether every partition of these topics has its leader here.
fn are_led(client: &mut super::support::Client, topics: &[usize]) -> bool {
    let asked = topics.iter().map(|number| ListOffsetsTopic {
        name: StrBytes::from(name(*number)),
        partitions: (0..PARTITIONS)
            .map(|partition_index| ListOffsetsPartition {
                partition_index,
                timestamp: -1,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: asked.collect(),
        ..Default::default()
    };
    let answer: ListOffsetsResponse = client.call(ApiKey::ListOffsets, 7, &request);
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    partitions
        .filter(|one| one.error_code == 0 && one.offset == 0)
        .count()
        == topics.len() * PARTITIONS as usize
}

#[test]
fn thousands_of_topics_come_with_one_request() {
    let mut node = Node::start(NodeOptions::with(&["odradek.shards=2"]));
    let mut client = node.client();
    let only: CreateTopicsResponse = client.call(ApiKey::CreateTopics, 7, &request(true));
    check(&only);
    // A deletion right behind finds what the request before it made, the last of it as well as the first.
    let doomed = [0, TOPICS - 1];
    let deletion = DeleteTopicsRequest {
        topics: doomed
            .iter()
            .map(|number| DeleteTopicState {
                name: Some(StrBytes::from(name(*number))),
                ..Default::default()
            })
            .collect(),
        timeout_ms: 30_000,
        ..Default::default()
    };
    client
        .send(ApiKey::CreateTopics, 7, &request(false))
        .unwrap();
    client.send(ApiKey::DeleteTopics, 6, &deletion).unwrap();
    let (_, created): (_, CreateTopicsResponse) = client.receive(ApiKey::CreateTopics, 7).unwrap();
    check(&created);
    let (_, deleted): (_, DeleteTopicsResponse) = client.receive(ApiKey::DeleteTopics, 6).unwrap();
    assert!(deleted.responses.iter().all(|topic| topic.error_code == 0));
    let left: Vec<usize> = (1..TOPICS - 1).collect();
    assert!(are_led(&mut client, &left));
    assert!(!are_led(&mut client, &doomed));
    node.kill();
    node.launch();
    let mut client = node.client();
    assert!(are_led(&mut client, &left));
    assert!(!are_led(&mut client, &doomed));
    let again: CreateTopicsResponse = client.call(ApiKey::CreateTopics, 7, &request(false));
    let made = again.topics.iter().filter(|topic| topic.error_code == 0);
    assert_eq!(made.count(), doomed.len());
}
