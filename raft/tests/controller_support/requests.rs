//! The commands: `verb key=value ...`; several topics or resources of one request are parted by ` + `.

use odradek_protocol::messages::create_partitions_request::CreatePartitionsAssignment;
use odradek_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopicConfig,
};
use odradek_protocol::messages::{
    AllocateProducerIdsRequest, ElectLeadersRequest, UnregisterBrokerRequest,
};
use odradek_protocol::messages::{
    alter_configs_request, alter_partition_request, assign_replicas_to_dirs_request,
    broker_heartbeat_request, broker_registration_request, create_partitions_request,
    create_topics_request, delete_topics_request, elect_leaders_request,
    incremental_alter_configs_request, update_features_request,
};
use odradek_protocol::{ErrorCode, StrBytes, Uuid};
use odradek_raft::controller::SUPPORTED_FEATURES;

use super::{World, id};

/// Words of a command: the verb's part is gone.
pub struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    pub fn text(&self, key: &str) -> &'a str {
        self.get(key)
            .unwrap_or_else(|| panic!("{key}= is missing in {:?}", self.0))
    }

    pub fn number<N: std::str::FromStr>(&self, key: &str, default: N) -> N {
        match self.get(key) {
            Some(text) => text
                .parse()
                .unwrap_or_else(|_| panic!("{key}={text} is no number")),
            None => default,
        }
    }

    pub fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }

    pub fn list<N: std::str::FromStr>(&self, key: &str) -> Option<Vec<N>> {
        let items = self.get(key)?.split(',').filter(|item| !item.is_empty());
        items.map(|item| item.parse().ok()).collect()
    }

    pub fn ids(&self, key: &str) -> Option<Vec<Uuid>> {
        Some(self.list::<u128>(key)?.into_iter().map(id).collect())
    }

    /// `key:name=value` words.
    fn named(&self, key: &str) -> Vec<(&'a str, &'a str)> {
        let rest = |word: &'a str| word.strip_prefix(key)?.strip_prefix(':');
        self.0
            .iter()
            .filter_map(|word| rest(word))
            .map(|word| word.split_once('=').unwrap_or((word, "")))
            .collect()
    }
}

pub fn code(number: i16) -> String {
    ErrorCode::from_code(number).map_or(format!("{number}"), |code| code.name().to_string())
}

pub fn told(number: i16, message: Option<&StrBytes>) -> String {
    match message {
        Some(message) => format!("{}: {message}", code(number)),
        None => code(number),
    }
}

pub fn run(world: &mut World, line: &str) {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let parts: Vec<Words<'_>> = rest
        .split(" + ")
        .map(|part| Words(part.split_whitespace().collect()))
        .collect();
    let first = &parts[0];
    match verb {
        "image" => world.show_image(),
        "wait" => {
            world.now_ms += first.number("ms", 0u64);
            loop {
                let result = world.controller.tick(&world.context(0));
                if result.records.is_empty() {
                    break;
                }
                world.carry(result);
            }
        }
        "register" => register(world, first),
        "heartbeat" => heartbeat(world, first),
        "closed" => {
            let broker = first.number("id", 1);
            let epoch = world.controller.committed().brokers[&broker].epoch;
            world.controller.broker_connection_closed(broker, epoch);
        }
        "unregister" => {
            let request = UnregisterBrokerRequest {
                broker_id: first.number("id", 1),
                ..Default::default()
            };
            let result = world
                .controller
                .unregister_broker(&request, &world.context(0));
            let response = world.carry(result);
            world.say(&told(response.error_code, response.error_message.as_ref()));
        }
        "ids" => producer_ids(world, first),
        "create" => create(world, &parts),
        "delete" => delete(world, &parts),
        "partitions" => partitions(world, &parts),
        "config" => config(world, &parts),
        "replace" => replace(world, &parts),
        "features" => features(world, first),
        "alter" => alter_partition(world, &parts),
        "assign" => assign(world, first),
        "elect" => elect(world, &parts),
        "resign" => {
            world.controller.resign();
            world.say("resigned");
        }
        other => panic!("unknown command {other}"),
    }
}

fn register(world: &mut World, words: &Words<'_>) {
    let broker_id = words.number("id", 1);
    let low = words.number("level", 30i16);
    let request = broker_registration_request::BrokerRegistrationRequest {
        broker_id,
        cluster_id: StrBytes::from(words.get("cluster").unwrap_or("cluster")),
        incarnation_id: id(words.number("incarnation", 1)),
        listeners: vec![broker_registration_request::Listener {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 9092,
            ..Default::default()
        }],
        features: SUPPORTED_FEATURES
            .iter()
            .map(|feature| broker_registration_request::Feature {
                name: feature.name.into(),
                min_supported_version: feature.min,
                max_supported_version: feature.max.min(low),
                ..Default::default()
            })
            .collect(),
        rack: words.get("rack").map(StrBytes::from),
        log_dirs: words
            .ids("dirs")
            .unwrap_or_else(|| vec![id(broker_id as u128 * 10)]),
        previous_broker_epoch: words.number("previous", -1),
        ..Default::default()
    };
    let context = world.context(words.number("version", 4));
    let result = world.controller.register_broker(&request, &context);
    let response = world.carry(result);
    world.say(&format!(
        "{} epoch {}",
        code(response.error_code),
        response.broker_epoch
    ));
}

fn heartbeat(world: &mut World, words: &Words<'_>) {
    let broker_id = words.number("id", 1);
    let known = world
        .controller
        .committed()
        .brokers
        .get(&broker_id)
        .map(|broker| broker.epoch);
    let request = broker_heartbeat_request::BrokerHeartbeatRequest {
        broker_id,
        broker_epoch: words.number("epoch", known.unwrap_or(-1)),
        current_metadata_offset: words.number("offset", world.next_offset - 1),
        want_fence: words.has("fence"),
        want_shut_down: words.has("shutdown"),
        offline_log_dirs: words.ids("offline").unwrap_or_default(),
        cordoned_log_dirs: words.ids("cordoned"),
        ..Default::default()
    };
    let result = world
        .controller
        .broker_heartbeat(&request, &world.context(2));
    let response = world.carry(result);
    let mut line = code(response.error_code);
    for (is_set, word) in [
        (response.is_caught_up, " caught-up"),
        (response.is_fenced, " fenced"),
        (response.should_shut_down, " shut-down"),
    ] {
        if is_set {
            line.push_str(word);
        }
    }
    world.say(&line);
}

fn producer_ids(world: &mut World, words: &Words<'_>) {
    let broker_id = words.number("id", 1);
    let known = world
        .controller
        .committed()
        .brokers
        .get(&broker_id)
        .map(|broker| broker.epoch);
    let request = AllocateProducerIdsRequest {
        broker_id,
        broker_epoch: words.number("epoch", known.unwrap_or(-1)),
        ..Default::default()
    };
    let result = world
        .controller
        .allocate_producer_ids(&request, &world.context(0));
    let response = world.carry(result);
    world.say(&format!(
        "{} from {} count {}",
        code(response.error_code),
        response.producer_id_start,
        response.producer_id_len
    ));
}

fn assignments(words: &Words<'_>) -> Option<Vec<Vec<i32>>> {
    let parse = |part: &str| {
        let ids = part.split(',').filter(|id| !id.is_empty());
        ids.map(|id| id.parse().expect("a broker id")).collect()
    };
    Some(words.get("assign")?.split(';').map(parse).collect())
}

fn create(world: &mut World, parts: &[Words<'_>]) {
    let topic = |words: &Words<'_>| create_topics_request::CreatableTopic {
        name: StrBytes::from(words.get("name").unwrap_or("")),
        num_partitions: words.number("partitions", -1),
        replication_factor: words.number("factor", -1),
        assignments: (0..)
            .zip(assignments(words).unwrap_or_default())
            .map(|(partition_index, broker_ids)| CreatableReplicaAssignment {
                partition_index: partition_index * words.number("step", 1),
                broker_ids,
                ..Default::default()
            })
            .collect(),
        configs: words
            .named("set")
            .into_iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: name.into(),
                value: (value != "null").then(|| value.into()),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let request = create_topics_request::CreateTopicsRequest {
        topics: parts.iter().map(topic).collect(),
        validate_only: parts[0].has("validate"),
        ..Default::default()
    };
    let context = world.context(parts[0].number("version", 7));
    let result = world.controller.create_topics(&request, &context);
    let response = world.carry(result);
    for topic in &response.topics {
        let mut line = format!(
            "'{}' {} partitions {} factor {}",
            topic.name,
            told(topic.error_code, topic.error_message.as_ref()),
            topic.num_partitions,
            topic.replication_factor
        );
        for config in topic
            .configs
            .iter()
            .flatten()
            .filter(|config| config.config_source != 5)
        {
            let value = config.value.as_deref().unwrap_or("null");
            line.push_str(&format!(
                " {}={value}({})",
                config.name, config.config_source
            ));
        }
        world.say(&line);
    }
}

fn delete(world: &mut World, parts: &[Words<'_>]) {
    let version = parts[0].number("version", 6);
    let name = |words: &Words<'_>| words.get("name").map(StrBytes::from);
    let state = |words: &Words<'_>| delete_topics_request::DeleteTopicState {
        name: name(words),
        topic_id: words
            .get("id")
            .map_or(Uuid::ZERO, |name| world.topic_id(name)),
        ..Default::default()
    };
    let request = delete_topics_request::DeleteTopicsRequest {
        topics: parts.iter().map(state).collect(),
        topic_names: parts.iter().filter_map(name).collect(),
        ..Default::default()
    };
    let result = world
        .controller
        .delete_topics(&request, &world.context(version));
    let response = world.carry(result);
    for topic in &response.responses {
        let told = told(topic.error_code, topic.error_message.as_ref());
        world.say(&format!(
            "'{}' {told}",
            topic.name.as_deref().unwrap_or("(none)")
        ));
    }
}

fn partitions(world: &mut World, parts: &[Words<'_>]) {
    let topic = |words: &Words<'_>| create_partitions_request::CreatePartitionsTopic {
        name: words.text("name").into(),
        count: words.number("count", 0),
        assignments: assignments(words).map(|all| {
            let one = |broker_ids| CreatePartitionsAssignment {
                broker_ids,
                ..Default::default()
            };
            all.into_iter().map(one).collect()
        }),
        ..Default::default()
    };
    let request = create_partitions_request::CreatePartitionsRequest {
        topics: parts.iter().map(topic).collect(),
        validate_only: parts[0].has("validate"),
        ..Default::default()
    };
    let result = world
        .controller
        .create_partitions(&request, &world.context(3));
    let response = world.carry(result);
    for topic in &response.results {
        let told = told(topic.error_code, topic.error_message.as_ref());
        world.say(&format!("'{}' {told}", topic.name));
    }
}

fn resource(words: &Words<'_>) -> (i8, StrBytes) {
    for (key, kind) in [
        ("topic", 2),
        ("broker", 4),
        ("logger", 8),
        ("metrics", 16),
        ("group", 32),
    ] {
        if let Some(name) = words.get(key) {
            return (kind, name.into());
        }
    }
    (4, StrBytes::default())
}

fn config(world: &mut World, parts: &[Words<'_>]) {
    let operations = |words: &Words<'_>| {
        let of = |verb, operation| {
            words.named(verb).into_iter().map(move |(name, value)| {
                incremental_alter_configs_request::AlterableConfig {
                    name: name.into(),
                    config_operation: operation,
                    value: (value != "null").then(|| value.into()),
                    ..Default::default()
                }
            })
        };
        of("set", 0)
            .chain(of("delete", 1))
            .chain(of("append", 2))
            .chain(of("subtract", 3))
            .collect()
    };
    let one = |words: &Words<'_>| {
        let (resource_type, resource_name) = resource(words);
        incremental_alter_configs_request::AlterConfigsResource {
            resource_type,
            resource_name,
            configs: operations(words),
            ..Default::default()
        }
    };
    let request = incremental_alter_configs_request::IncrementalAlterConfigsRequest {
        resources: parts.iter().map(one).collect(),
        validate_only: parts[0].has("validate"),
        ..Default::default()
    };
    let result = world
        .controller
        .incremental_alter_configs(&request, &world.context(1));
    let response = world.carry(result);
    for resource in &response.responses {
        let told = told(resource.error_code, resource.error_message.as_ref());
        world.say(&format!(
            "{} '{}' {told}",
            resource.resource_type, resource.resource_name
        ));
    }
}

fn replace(world: &mut World, parts: &[Words<'_>]) {
    let one = |words: &Words<'_>| {
        let (resource_type, resource_name) = resource(words);
        let config = |(name, value): (&str, &str)| alter_configs_request::AlterableConfig {
            name: name.into(),
            value: Some(value.into()),
            ..Default::default()
        };
        alter_configs_request::AlterConfigsResource {
            resource_type,
            resource_name,
            configs: words.named("set").into_iter().map(config).collect(),
            ..Default::default()
        }
    };
    let request = alter_configs_request::AlterConfigsRequest {
        resources: parts.iter().map(one).collect(),
        validate_only: parts[0].has("validate"),
        ..Default::default()
    };
    let result = world.controller.alter_configs(&request, &world.context(2));
    let response = world.carry(result);
    for resource in &response.responses {
        let told = told(resource.error_code, resource.error_message.as_ref());
        world.say(&format!(
            "{} '{}' {told}",
            resource.resource_type, resource.resource_name
        ));
    }
}

fn features(world: &mut World, words: &Words<'_>) {
    let updates = words.named("set").into_iter().map(|(name, level)| {
        update_features_request::FeatureUpdateKey {
            feature: name.into(),
            max_version_level: level.parse().expect("a level"),
            upgrade_type: words.number("type", 1),
            ..Default::default()
        }
    });
    let request = update_features_request::UpdateFeaturesRequest {
        feature_updates: updates.collect(),
        validate_only: words.has("validate"),
        ..Default::default()
    };
    let result = world
        .controller
        .update_features(&request, &world.context(1));
    let response = world.carry(result);
    world.say(&told(response.error_code, response.error_message.as_ref()));
}

/// `alter id=2 name=a partition=0 isr=2,1 epoch=0 version=0`; epochs default to the present ones, brokers' too.
fn alter_partition(world: &mut World, parts: &[Words<'_>]) {
    let image = world.controller.committed().clone();
    let broker_id = parts[0].number("id", 1);
    let epoch_of = |id: i32| image.brokers.get(&id).map_or(-1, |broker| broker.epoch);
    let topic = |words: &Words<'_>| {
        let topic_id = world.topic_id(words.text("name"));
        let number = words.number("partition", 0);
        let view = image.topics.partition(topic_id, number);
        let isr: Vec<i32> = words.list("isr").expect("isr=");
        alter_partition_request::TopicData {
            topic_id,
            partitions: vec![alter_partition_request::PartitionData {
                partition_index: number,
                leader_epoch: words.number("epoch", view.map_or(0, |view| view.leader_epoch())),
                partition_epoch: words
                    .number("version", view.map_or(0, |view| view.partition_epoch())),
                new_isr_with_epochs: isr
                    .into_iter()
                    .map(|id| alter_partition_request::BrokerState {
                        broker_id: id,
                        broker_epoch: words.number("member", epoch_of(id)),
                        ..Default::default()
                    })
                    .collect(),
                leader_recovery_state: i8::from(words.has("recovering")),
                ..Default::default()
            }],
            ..Default::default()
        }
    };
    let request = alter_partition_request::AlterPartitionRequest {
        broker_id,
        broker_epoch: epoch_of(broker_id),
        topics: parts.iter().map(topic).collect(),
        ..Default::default()
    };
    let result = world
        .controller
        .alter_partition(&request, &world.context(3));
    let response = world.carry(result);
    world.say(&code(response.error_code));
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        world.say(&format!(
            "{} {} leader {} epoch {} isr {:?} version {}",
            partition.partition_index,
            code(partition.error_code),
            partition.leader_id,
            partition.leader_epoch,
            partition.isr,
            partition.partition_epoch
        ));
    }
}

fn assign(world: &mut World, words: &Words<'_>) {
    let image = world.controller.committed().clone();
    let broker_id = words.number("id", 1);
    let directory = match words.text("dir") {
        "lost" => odradek_raft::image::directory_id::LOST,
        number => id(number.parse().expect("a directory's number")),
    };
    let request = assign_replicas_to_dirs_request::AssignReplicasToDirsRequest {
        broker_id,
        broker_epoch: image
            .brokers
            .get(&broker_id)
            .map_or(-1, |broker| broker.epoch),
        directories: vec![assign_replicas_to_dirs_request::DirectoryData {
            id: directory,
            topics: vec![assign_replicas_to_dirs_request::TopicData {
                topic_id: world.topic_id(words.text("name")),
                partitions: vec![assign_replicas_to_dirs_request::PartitionData {
                    partition_index: words.number("partition", 0),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let result = world
        .controller
        .assign_replicas_to_dirs(&request, &world.context(0));
    let response = world.carry(result);
    let mut line = code(response.error_code);
    let topics = response
        .directories
        .iter()
        .flat_map(|directory| &directory.topics);
    for partition in topics.flat_map(|topic| &topic.partitions) {
        line.push_str(&format!(
            " {}: {}",
            partition.partition_index,
            code(partition.error_code)
        ));
    }
    world.say(&line);
}

fn elect(world: &mut World, parts: &[Words<'_>]) {
    let named = parts.iter().filter(|words| words.get("name").is_some());
    let topics: Vec<_> = named
        .map(|words| elect_leaders_request::TopicPartitions {
            topic: words.text("name").into(),
            partitions: words.list("partitions").unwrap_or_else(|| vec![0]),
            ..Default::default()
        })
        .collect();
    let request = ElectLeadersRequest {
        election_type: parts[0].number("type", 0),
        topic_partitions: (!topics.is_empty()).then_some(topics),
        ..Default::default()
    };
    let result = world.controller.elect_leaders(&request, &world.context(2));
    let response = world.carry(result);
    world.say(&code(response.error_code));
    for topic in &response.replica_election_results {
        for partition in &topic.partition_result {
            let told = told(partition.error_code, partition.error_message.as_ref());
            world.say(&format!(
                "{}-{} {told}",
                topic.topic, partition.partition_id
            ));
        }
    }
}
