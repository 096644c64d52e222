//! The quorum controller, case by case: requests in, responses and records out. The cases are text (`testdata/controller_*.txt`), the
//! commands in `controller_support`.

mod controller_support;

use controller_support::{World, check};
use odradek_protocol::messages::CreateTopicsRequest;
use odradek_protocol::messages::create_topics_request::CreatableTopic;
use odradek_protocol::metadata_records::TopicRecord;
use odradek_protocol::{ErrorCode, Uuid};

#[test]
fn topics_are_created_deleted_and_grown() {
    check("controller_topics.txt");
}

#[test]
fn configs_are_changed() {
    check("controller_configs.txt");
}

#[test]
fn brokers_register_live_and_leave() {
    check("controller_brokers.txt");
}

#[test]
fn features_are_raised_and_lowered() {
    check("controller_features.txt");
}

#[test]
fn in_sync_replicas_change_and_leaders_are_elected() {
    check("controller_partitions.txt");
}

#[test]
fn what_was_not_committed_is_forgotten_with_leadership() {
    let mut world = World::new(&[("metadata.version", 30)], &[]);
    let request = CreateTopicsRequest::default();
    let context = world.context(7);
    let before = world.controller.committed().clone();
    // A record that is appended and replayed, but never committed.
    let record = TopicRecord {
        name: "lost".into(),
        topic_id: Uuid::from_u128(77),
        ..TopicRecord::default()
    };
    world
        .controller
        .replay(&[record.into()], context.next_offset, 1)
        .unwrap();
    assert!(
        world
            .controller
            .advance_committed(context.next_offset - 1)
            .is_none()
    );
    world.controller.resign();
    assert!(world.controller.committed().has_same_content(&before));
    assert!(!world.controller.is_active());
    let result = world.controller.create_topics(&request, &context);
    assert!(result.records.is_empty());
    // Another leader wrote another topic at that offset.
    let record = TopicRecord {
        name: "kept".into(),
        topic_id: Uuid::from_u128(78),
        ..TopicRecord::default()
    };
    world
        .controller
        .replay(&[record.into()], context.next_offset, 2)
        .unwrap();
    let (image, delta) = world
        .controller
        .advance_committed(context.next_offset)
        .unwrap();
    assert!(image.topics.by_name("lost").is_none());
    assert!(image.topics.by_name("kept").is_some());
    assert_eq!(delta.topics.created.len(), 1);
}

#[test]
fn a_request_of_many_topics_is_decided_in_steps_of_whole_topics() {
    let topic = |name: String| CreatableTopic {
        name: name.into(),
        num_partitions: 3,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let mut topics: Vec<CreatableTopic> =
        (0..50).map(|number| topic(format!("t.{number}"))).collect();
    topics.push(topic("t_1".into()));
    topics.push(topic("twice".into()));
    topics.insert(0, topic("twice".into()));
    let request = CreateTopicsRequest {
        topics,
        ..CreateTopicsRequest::default()
    };
    let answers = [usize::MAX, 10, 1].map(|records_max| {
        let mut world = World::new(&[("metadata.version", 30)], &[]);
        controller_support::command(&mut world, "register id=1");
        controller_support::command(&mut world, "heartbeat");
        let mut creation = world.controller.begin_topics(request.clone(), 7);
        let (mut results, mut steps) = (Vec::new(), 0);
        loop {
            let step = world.controller.continue_topics(&mut creation, records_max);
            // Every topic of a step comes whole: itself and its three partitions.
            assert_eq!(step.records.len() % 4, 0);
            assert!(step.records.len() <= records_max.saturating_add(3));
            if !step.records.is_empty() {
                let offset = world.next_offset;
                world.next_offset += step.records.len() as i64;
                let replayed = world
                    .controller
                    .replay_unpublished(&step.records, offset, 1);
                replayed.unwrap();
            }
            steps += 1;
            results.extend(step.results);
            if step.done {
                break;
            }
        }
        assert_eq!(results.len(), creation.topics());
        assert!(steps > 1 || records_max == usize::MAX);
        world.controller.publish_replayed();
        let committed = world.controller.advance_committed(world.next_offset - 1);
        assert_eq!(committed.unwrap().0.topics.len(), 50);
        let results = results.into_iter();
        results
            .map(|topic| (topic.name, topic.error_code, topic.num_partitions))
            .collect::<Vec<_>>()
    });
    assert_eq!(answers[0].len(), 52);
    assert_eq!(answers[0][0].1, ErrorCode::InvalidRequest.code());
    assert_eq!(answers[0][51].1, ErrorCode::InvalidTopicException.code());
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[test]
fn who_is_not_active_refuses() {
    let mut world = World::new(&[("metadata.version", 30)], &[]);
    world.controller.resign();
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: "a".into(),
            num_partitions: 1,
            replication_factor: 1,
            ..CreatableTopic::default()
        }],
        ..CreateTopicsRequest::default()
    };
    let context = world.context(7);
    let result = world.controller.create_topics(&request, &context);
    assert!(result.records.is_empty());
    assert_eq!(
        result.response.topics[0].error_code,
        ErrorCode::NotController.code()
    );
    let result = world
        .controller
        .broker_heartbeat(&Default::default(), &context);
    assert_eq!(result.response.error_code, ErrorCode::NotController.code());
}

#[test]
fn the_same_seed_gives_the_same_ids() {
    let ids = |_: ()| {
        let mut world = World::new(&[("metadata.version", 30)], &[]);
        controller_support::command(&mut world, "register id=1");
        controller_support::command(&mut world, "heartbeat");
        controller_support::command(&mut world, "create name=a + name=b");
        let image = world.controller.committed().clone();
        image
            .topics
            .iter()
            .map(|topic| topic.id())
            .collect::<Vec<_>>()
    };
    let first = ids(());
    assert_eq!(first, ids(()));
    assert_ne!(first[0], first[1]);
    assert!(first.iter().all(|id| !id.to_string().starts_with('-')));
}

#[test]
fn the_first_records_of_a_log_are_kafkas() {
    let world = World::new(
        &[
            ("kraft.version", 1),
            ("eligible.leader.replicas.version", 1),
            ("metadata.version", 30),
            ("group.version", 0),
        ],
        &[("min.insync.replicas", "2")],
    );
    let expected = "  + BeginTransactionRecord
  + feature metadata.version 30
  + feature eligible.leader.replicas.version 1
  + config 4 '' min.insync.replicas = 2
  + EndTransactionRecord
";
    assert_eq!(world.out, expected);
    assert_eq!(world.controller.committed().metadata_version(), 30);
    assert!(world.controller.committed().is_elr_enabled());
}
