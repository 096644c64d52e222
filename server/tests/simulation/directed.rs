//! Scenes of one trouble each, in a world that is otherwise quiet: the shape of the node and all delays follow from the seed, what
//! happens is written down, and so is what a user sees of it.

use super::client::{Answer, Client, Hands, name};
use super::consumer::{EARLIEST, LIST_OFFSETS_VERSION};
use super::number;
use super::world::World;
use bytes::Bytes;
use odradek_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use odradek_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use odradek_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use odradek_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use odradek_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, ListOffsetsRequest,
    ListOffsetsResponse, ProduceRequest, ProduceResponse,
};
use odradek_protocol::records::BatchBuilder;
use odradek_protocol::{ApiKey, ErrorCode, Message};
use std::cell::RefCell;
use std::rc::Rc;

/// Seeds of a plain `cargo test`; `ODRADEK_SIMULATION_SEEDS` asks for more.
const SEEDS: u64 = 12;
/// No answer takes longer.
const ANSWER_US_MAX: u64 = 60_000_000;
const HOUR_MS: i64 = 3_600_000;

/// Runs a scene under every seed, each of which is named when it fails.
fn scene(play: impl Fn(&mut World)) {
    let seeds = match number("ODRADEK_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ODRADEK_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let mut world = World::new(seed);
        world.shape.faulty = false;
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&mut world)));
        if played.is_err() || world.model.broken.is_some() {
            println!("{}", world.trace.lines());
            panic!("seed {seed}, {:?}: {:?}", world.shape, world.model.broken);
        }
    }
}

type Ask = Box<dyn FnOnce(&mut Hands<'_>)>;

/// A client with one question.
struct Question {
    ask: Option<Ask>,
    answer: Rc<RefCell<Option<Answer>>>,
}

impl Client for Question {
    fn wake(&mut self, hands: &mut Hands<'_>) {
        if let Some(ask) = self.ask.take() {
            ask(hands);
        }
    }

    fn answer(&mut self, _hands: &mut Hands<'_>, answer: Answer) {
        *self.answer.borrow_mut() = Some(answer);
    }

    fn lost(&mut self) {}

    fn idle(&self) -> bool {
        self.answer.borrow().is_some()
    }

    fn waits_for(&self) -> String {
        "an answer".to_string()
    }
}

impl World {
    /// Lets time pass.
    fn pass_ms(&mut self, ms: u64) {
        self.run_for(ms * 1_000, |_| false);
        assert_eq!(self.model.broken, None);
    }

    /// Asks on a connection of its own.
    fn ask<Q: Message + 'static, R: Message>(
        &mut self,
        api: ApiKey,
        version: i16,
        request: Q,
    ) -> R {
        let answer: Rc<RefCell<Option<Answer>>> = Rc::default();
        self.add(Box::new(Question {
            ask: Some(Box::new(move |hands| {
                hands.ask(api, version, &request);
            })),
            answer: answer.clone(),
        }));
        let seen = answer.clone();
        self.run_for(ANSWER_US_MAX, move |_| seen.borrow().is_some());
        assert_eq!(self.model.broken, None);
        let answer = answer.borrow_mut().take();
        answer
            .unwrap_or_else(|| panic!("{api:?} is not answered"))
            .decode()
    }

    fn create(&mut self, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(key, value)| CreatableTopicConfig {
            name: name(key),
            value: Some(name(value)),
            ..CreatableTopicConfig::default()
        });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: name(topic),
                num_partitions: partitions,
                replication_factor: 1,
                configs: configs.collect(),
                ..CreatableTopic::default()
            }],
            ..CreateTopicsRequest::default()
        };
        let response: CreateTopicsResponse = self.ask(ApiKey::CreateTopics, 7, request);
        assert_eq!(response.topics[0].error_code, 0, "{topic} is created");
    }

    /// Produces one batch of one record with acks=all; the answer.
    fn produce(&mut self, topic: &str, partition: i32, value: &[u8]) -> Result<i64, ErrorCode> {
        let mut builder = BatchBuilder::new(0);
        builder.push(self.wall_ms(), None, Some(value), &[]);
        let records: Bytes = builder.build().expect("a batch is built");
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: name(topic),
                partition_data: vec![PartitionProduceData {
                    index: partition,
                    records: Some(records),
                    ..PartitionProduceData::default()
                }],
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        let response: ProduceResponse = self.ask(ApiKey::Produce, 12, request);
        let answer = &response.responses[0].partition_responses[0];
        match ErrorCode::from_code(answer.error_code) {
            Some(ErrorCode::None) => Ok(answer.base_offset),
            error => Err(error.expect("an error of Kafka's")),
        }
    }

    fn log_start(&mut self, topic: &str) -> i64 {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: name(topic),
                partitions: vec![ListOffsetsPartition {
                    partition_index: 0,
                    timestamp: EARLIEST,
                    ..ListOffsetsPartition::default()
                }],
                ..ListOffsetsTopic::default()
            }],
            ..ListOffsetsRequest::default()
        };
        let response: ListOffsetsResponse =
            self.ask(ApiKey::ListOffsets, LIST_OFFSETS_VERSION, request);
        let found = &response.topics[0].partitions[0];
        assert_eq!(found.error_code, 0, "the start of {topic} is told");
        found.offset
    }

    /// Sets a key of the only broker, as kafka-configs.sh does.
    fn configure_broker(&mut self, key: &str, value: &str) {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: 4,
                resource_name: name("1"),
                configs: vec![AlterableConfig {
                    name: name(key),
                    config_operation: 0,
                    value: Some(name(value)),
                    ..AlterableConfig::default()
                }],
                ..AlterConfigsResource::default()
            }],
            ..IncrementalAlterConfigsRequest::default()
        };
        let response: IncrementalAlterConfigsResponse =
            self.ask(ApiKey::IncrementalAlterConfigs, 1, request);
        let answer = &response.responses[0];
        assert_eq!(answer.error_code, 0, "{key}: {:?}", answer.error_message);
    }

    /// Partitions on the disks, whatever the metadata says of them.
    fn replicas(&mut self) -> usize {
        let request = DescribeLogDirsRequest {
            topics: None,
            ..DescribeLogDirsRequest::default()
        };
        let response: DescribeLogDirsResponse = self.ask(ApiKey::DescribeLogDirs, 4, request);
        let topics = response.results.iter().flat_map(|result| &result.topics);
        topics.map(|topic| topic.partitions.len()).sum()
    }

    fn stop(&mut self) {
        self.shut_down();
        self.run_for(ANSWER_US_MAX, |world| !world.running());
        assert!(!self.running(), "a clean stop comes to its end");
    }

    /// How many lines of the log hold all of these.
    fn said(&self, parts: &[&str]) -> usize {
        let holds = |line: &&String| parts.iter().all(|part| line.contains(part));
        self.lines.iter().filter(holds).count()
    }
}

const TRUST: &str = "--entity-type brokers --entity-name 1 --add-config odradek.clock.trust=";

#[test]
fn case_18_after_a_clock_jump_deletions_wait_for_the_operators_word() {
    scene(|world| {
        world.start();
        world.create(
            "t",
            1,
            &[("retention.ms", "600000"), ("segment.ms", "1000")],
        );
        for (life, jump_ms) in [(0, HOUR_MS), (0, -HOUR_MS), (1, 2 * HOUR_MS)] {
            // A word is about one jump, and a value that a new life finds is no word.
            if life > 0 {
                world.stop();
                world.start();
            }
            for value in ["a", "b"] {
                world
                    .produce("t", 0, value.as_bytes())
                    .expect("it is taken");
                world.pass_ms(2_000);
            }
            world.lines.clear();
            let start = world.log_start("t");
            world.jump_clock(jump_ms);
            world.pass_ms(10_000);
            assert_eq!(world.log_start("t"), start, "nothing is deleted");
            let told = ["the wall clock stepped by", "server node:9092", TRUST];
            let shards = usize::from(world.shape.shards);
            assert_eq!(world.said(&told), shards, "each shard tells the way out");
            world.produce("t", 0, b"c").expect("all else goes on");
            world.configure_broker("odradek.clock.trust", &format!("{life} {jump_ms}"));
            world.pass_ms(10_000);
            assert_eq!(world.said(&["odradek.clock.trust is set"]), 1);
            let went_on = world.log_start("t") > start;
            assert_eq!(went_on, jump_ms > 0, "retention goes on");
        }
    });
}

fn strays_gone(world: &World) -> usize {
    let gone = |line: &&String| line.starts_with("stray ") && line.ends_with(" deleted");
    world.lines.iter().filter(gone).count()
}

#[test]
fn case_17_strays_are_judged_in_this_life_and_go_at_the_operators_word() {
    scene(|world| {
        world.start();
        world.create("lost", 12, &[]);
        world.produce("lost", 3, b"value").expect("it is taken");
        world.stop();
        world.lose_metadata();
        world.start();
        // The metadata must come as far as it was when the replicas were made.
        for index in 0..40 {
            world.create(&format!("new-{index}"), 1, &[]);
        }
        world.pass_ms(30_000);
        let held = [
            "replicas are unknown to the cluster's metadata",
            "odradek.strays.allow=",
        ];
        assert!(world.said(&held) > 0, "the operator is asked");
        let replicas = world.replicas();
        assert_eq!(replicas, 40, "what is not in the metadata is not shown");
        assert_eq!(strays_gone(world), 0, "and nothing is deleted");
        // In the next life the metadata log says from its beginning that the broker is unfenced, which it is not yet.
        world.crash();
        world.lines.clear();
        world.start();
        world.pass_ms(5_000);
        let at = |what: &str| world.lines.iter().position(|line| line.contains(what));
        let judged = at(held[0]).expect("judged again");
        let serving = at("the broker is unfenced").expect("it serves");
        assert!(serving < judged, "judged before this life began");
        world.configure_broker("odradek.strays.allow", "now");
        world.pass_ms(10_000);
        assert_eq!(strays_gone(world), 12);
    });
}
