//! CreateTopics, versions 2-7, worked a few topics at a time: [`TopicCreation`] is a request on its way. What is due so far becomes
//! batches of whole topics, so that a request of thousands of them keeps nobody waiting; a request that could need too many records in
//! all is judged at once, and done whole or not at all. Not done: create.topic.policy (no plug-ins) and the controller mutation quota
//! (KIP-599).

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use odradek_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use odradek_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use odradek_protocol::metadata_records::{
    ConfigRecord, MetadataRecord, PartitionRecord, TopicRecord,
};
use odradek_protocol::{ErrorCode, StrBytes, Uuid};

use super::options::{CallContext, ControllerResult, OPERATION_RECORDS_MAX, Refusal};
use super::topic_names::{colliding_topic, folded, validate_topic_name};
use super::{QuorumController, placement};
use crate::configs::{ConfigLayers, ConfigMap, Scope, shown_definitions, validate_topic_configs};
use crate::image::{ConfigResource, directory_id, resource_type};

/// The topic that consensus itself writes; nobody creates or deletes it.
pub(super) const METADATA_TOPIC: &str = "__cluster_metadata";

/// A topic that was found good.
struct NewTopic {
    id: Uuid,
    records: Vec<MetadataRecord>,
    partitions: i32,
    replication_factor: i16,
    configs: ConfigMap,
}

/// A CreateTopics request that is being worked. Between two steps the controller may do other things; the records of a step are
/// appended and replayed before the next, so that each finds the topics of those before in the image.
#[derive(Debug)]
pub struct TopicCreation {
    request: CreateTopicsRequest,
    /// Places in the request of its topics by their names, while it is being taken up.
    names_seen: HashTable<u32>,
    hasher: FixedState,
    default_partitions: i64,
    /// Records if all topics are found good.
    records_at_most: usize,
    /// Place in the request of the next topic to be looked at.
    next: usize,
    /// Names that come more than once, and whether they were taken up.
    repeated: BTreeMap<StrBytes, bool>,
    /// How many names there are.
    names: usize,
    /// Names with dots or underscores of topics found good, by what makes them collide.
    folded: BTreeMap<String, StrBytes>,
    records_left: usize,
    /// Whether all is decided in one step, since it may turn out to be too much.
    whole: bool,
    /// Whether a topic without configs of its own is allowed by what the broker sets.
    plain_configs: Option<Result<(), Refusal>>,
    shows_configs: bool,
    shared_configs: Vec<CreatableTopicConfigs>,
}

/// What one step of a [`TopicCreation`] came to.
#[derive(Debug, Default)]
pub struct CreationStep {
    /// Records to append; those of one step may be parted between topics only.
    pub records: Vec<MetadataRecord>,
    /// The outcome of each topic, in the order of the request. Where `configs` is null, they are [`TopicCreation::shared_configs`].
    pub results: Vec<CreatableTopicResult>,
    /// Whether it was the last step.
    pub done: bool,
}

impl TopicCreation {
    /// Takes up one more topic of the request.
    pub fn add(&mut self, topic: CreatableTopic) {
        let hash = self.hasher.hash_one(&topic.name);
        let topics = &self.request.topics;
        let name_at = |place: &u32| &topics[*place as usize].name;
        if self
            .names_seen
            .find(hash, |place| *name_at(place) == topic.name)
            .is_some()
        {
            self.repeated.insert(topic.name.clone(), false);
        } else {
            let hasher = &self.hasher;
            self.names_seen
                .insert_unique(hash, topics.len() as u32, |place| {
                    hasher.hash_one(name_at(place))
                });
            self.names += 1;
        }
        let partitions = match topic.num_partitions {
            -1 if topic.assignments.is_empty() => self.default_partitions,
            count => i64::from(count),
        };
        let partitions = usize::try_from(partitions).unwrap_or(0);
        let records = 1 + topic.configs.len() + partitions.max(topic.assignments.len());
        self.records_at_most = self.records_at_most.saturating_add(records);
        self.request.topics.push(topic);
    }

    /// All topics were added: with the rest of the request, whose own topics are none, it can be worked.
    pub fn close(&mut self, rest: CreateTopicsRequest) {
        let topics = std::mem::take(&mut self.request.topics);
        self.request = CreateTopicsRequest { topics, ..rest };
        self.names_seen = HashTable::new();
        self.whole = self.records_at_most > OPERATION_RECORDS_MAX;
    }

    /// How many topics the response will name: each name once.
    pub fn topics(&self) -> usize {
        self.names
    }

    /// The configs of every topic that sets none itself, as version 5 and later show them (KIP-525).
    pub fn shared_configs(&self) -> &[CreatableTopicConfigs] {
        &self.shared_configs
    }
}

impl QuorumController {
    /// Creates topics in one step, or with `validate_only` tells what would happen.
    pub fn create_topics(
        &mut self,
        request: &CreateTopicsRequest,
        context: &CallContext,
    ) -> ControllerResult<CreateTopicsResponse> {
        let mut creation = self.begin_topics(request.clone(), context.api_version);
        let step = self.continue_topics(&mut creation, usize::MAX);
        let mut topics = step.results;
        for topic in &mut topics {
            topic
                .configs
                .get_or_insert_with(|| creation.shared_configs.clone());
        }
        let response = CreateTopicsResponse {
            topics,
            ..CreateTopicsResponse::default()
        };
        ControllerResult::atomic(step.records, response)
    }

    /// Takes up a request; [`QuorumController::continue_topics`] works it.
    pub fn begin_topics(
        &self,
        mut request: CreateTopicsRequest,
        api_version: i16,
    ) -> TopicCreation {
        let topics = std::mem::take(&mut request.topics);
        let mut creation = self.open_topics(topics.len(), api_version);
        for topic in topics {
            creation.add(topic);
        }
        creation.close(request);
        creation
    }

    /// Begins to take up a request of so many topics, a topic at a time: [`TopicCreation::add`], then [`TopicCreation::close`].
    pub fn open_topics(&self, topics: usize, api_version: i16) -> TopicCreation {
        let shows_configs = api_version >= 5;
        let shared_configs = match shows_configs {
            true => self.shown_configs(&ConfigMap::new()),
            false => Vec::new(),
        };
        TopicCreation {
            request: CreateTopicsRequest {
                topics: Vec::with_capacity(topics),
                ..CreateTopicsRequest::default()
            },
            names_seen: HashTable::with_capacity(topics),
            hasher: FixedState::with_seed(self.options.hash_seed),
            default_partitions: self.default_partitions(),
            records_at_most: 0,
            next: 0,
            repeated: BTreeMap::new(),
            names: 0,
            folded: BTreeMap::new(),
            records_left: OPERATION_RECORDS_MAX,
            whole: false,
            plain_configs: None,
            shows_configs,
            shared_configs,
        }
    }

    /// Looks at more topics of the request until about `records_max` records are due.
    pub fn continue_topics(
        &mut self,
        creation: &mut TopicCreation,
        records_max: usize,
    ) -> CreationStep {
        let mut step = CreationStep::default();
        let records_max = if creation.whole {
            usize::MAX
        } else {
            records_max
        };
        while let Some(topic) = creation.request.topics.get_mut(creation.next) {
            if step.records.len() >= records_max || step.results.len() >= records_max {
                break;
            }
            // What is decided on its own is not named again.
            let topic = match creation.whole {
                true => topic.clone(),
                false => std::mem::take(topic),
            };
            creation.next += 1;
            let result = match creation.repeated.get_mut(&topic.name) {
                Some(true) => continue,
                Some(taken_up) => {
                    *taken_up = true;
                    Err(Refusal::new(
                        ErrorCode::InvalidRequest,
                        "Duplicate topic name.",
                    ))
                }
                None => self.new_topic(&topic, creation),
            };
            if matches!(&result, Err(refusal) if refusal.code == ErrorCode::PolicyViolation) {
                // Too much in all: nothing of the request is done, so that it is done once or not at all.
                return refuse_all(&creation.request, &Refusal::too_large());
            }
            let shown = creation.shows_configs;
            step.results
                .push(self.create_result(&topic.name, &result, shown));
            if let Ok(topic) = result {
                creation.records_left -= topic.records.len();
                step.records.extend(topic.records);
            }
        }
        if creation.request.validate_only {
            step.records.clear();
        }
        step.done = creation.next == creation.request.topics.len();
        step
    }

    fn default_partitions(&self) -> i64 {
        let layers = self.config_layers(None);
        layers.broker_number("num.partitions").unwrap_or(1)
    }

    fn new_topic(
        &mut self,
        topic: &CreatableTopic,
        creation: &mut TopicCreation,
    ) -> Result<NewTopic, Refusal> {
        self.check_active()?;
        let name = topic.name.as_str();
        self.check_new_name(name)?;
        let folded = folded(name);
        if let Some(other) = folded.as_ref().and_then(|name| creation.folded.get(name)) {
            return Err(collision(name, other));
        }
        let configs = self.new_topic_configs(topic, creation)?;
        let records_left = creation.records_left;
        let replicas = self.new_topic_replicas(topic, records_left)?;
        let id = self.random.uuid();
        let mut records = Vec::with_capacity(1 + configs.len() + replicas.len());
        records.push(
            TopicRecord {
                name: topic.name.detached(),
                topic_id: id,
                ..TopicRecord::default()
            }
            .into(),
        );
        // Configs before partitions: a broker that applies the first partition already knows how to keep it.
        records.extend(configs.iter().map(|(key, value)| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: resource_type::TOPIC,
                resource_name: topic.name.detached(),
                name: key.clone(),
                value: Some(value.clone()),
                ..ConfigRecord::default()
            })
        }));
        let partitions = replicas.len() as i32;
        let replication_factor = replicas.first().map_or(0, Vec::len) as i16;
        for (number, replicas) in (0..).zip(replicas) {
            records.push(self.new_partition(id, number, replicas)?.into());
        }
        if records.len() > records_left {
            return Err(Refusal::too_large());
        }
        if let Some(folded) = folded {
            creation.folded.insert(folded, topic.name.clone());
        }
        Ok(NewTopic {
            id,
            records,
            partitions,
            replication_factor,
            configs,
        })
    }

    fn check_new_name(&self, name: &str) -> Result<(), Refusal> {
        if name == METADATA_TOPIC {
            return Err(Refusal::new(
                ErrorCode::TopicAuthorizationFailed,
                "The metadata topic belongs to the quorum.",
            ));
        }
        validate_topic_name(name)?;
        if self.topics().by_name(name).is_some() {
            return Err(Refusal::new(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        match colliding_topic(self.topics(), name) {
            Some(other) => Err(collision(name, &other)),
            None => Ok(()),
        }
    }

    fn new_topic_configs(
        &self,
        topic: &CreatableTopic,
        creation: &mut TopicCreation,
    ) -> Result<ConfigMap, Refusal> {
        let mut configs = ConfigMap::new();
        if topic.configs.is_empty() {
            let judged = creation
                .plain_configs
                .get_or_insert_with(|| self.check_topic_configs(&configs));
            return judged.clone().map(|()| configs);
        }
        for config in &topic.configs {
            let Some(value) = &config.value else {
                return Err(Refusal::new(
                    ErrorCode::InvalidConfig,
                    format!(
                        "Null value not supported for topic configs: {}",
                        config.name
                    ),
                ));
            };
            configs.insert(config.name.detached(), value.detached());
        }
        self.check_topic_configs(&configs)?;
        Ok(configs)
    }

    fn check_topic_configs(&self, configs: &ConfigMap) -> Result<(), Refusal> {
        let values = configs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        validate_topic_configs(values, &self.config_layers(None), self.options.topic_limits)
            .map_err(|refusal| Refusal::new(ErrorCode::InvalidConfig, refusal.to_string()))
    }

    fn new_topic_replicas(
        &mut self,
        topic: &CreatableTopic,
        records_left: usize,
    ) -> Result<Vec<Vec<i32>>, Refusal> {
        if !topic.assignments.is_empty() {
            return self.assigned_replicas(topic, records_left);
        }
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            return Err(Refusal::new(
                ErrorCode::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.",
            ));
        }
        let partitions = match topic.num_partitions {
            -1 => self.default_partitions(),
            count => i64::from(count),
        };
        let replication_factor = match topic.replication_factor {
            -1 => self
                .config_layers(None)
                .broker_number("default.replication.factor")
                .unwrap_or(1),
            factor => i64::from(factor),
        };
        if partitions >= records_left as i64 {
            return Err(Refusal::too_large());
        }
        let replication_factor = replication_factor.clamp(1, i64::from(i16::MAX)) as usize;
        let image = self.builder.image();
        placement::place(
            image,
            &mut self.random,
            0,
            partitions.max(1) as usize,
            replication_factor,
        )
    }

    fn assigned_replicas(
        &self,
        topic: &CreatableTopic,
        records_left: usize,
    ) -> Result<Vec<Vec<i32>>, Refusal> {
        let request = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
        if topic.replication_factor != -1 {
            return request(
                "A manual partition assignment was specified, but replication factor was not set to -1.",
            );
        }
        if topic.num_partitions != -1 {
            return request(
                "A manual partition assignment was specified, but numPartitions was not set to -1.",
            );
        }
        if topic.assignments.len() >= records_left {
            return Err(Refusal::too_large());
        }
        let mut assigned = BTreeMap::new();
        for assignment in &topic.assignments {
            let number = assignment.partition_index;
            if assigned
                .insert(number, assignment.broker_ids.clone())
                .is_some()
            {
                return Err(Refusal::new(
                    ErrorCode::InvalidReplicaAssignment,
                    format!("Found multiple manual partition assignments for partition {number}"),
                ));
            }
        }
        if !assigned.keys().copied().eq(0..assigned.len() as i32) {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicaAssignment,
                "partitions should be a consecutive 0-based integer sequence",
            ));
        }
        let assigned: Vec<Vec<i32>> = assigned.into_values().collect();
        let factor = assigned[0].len();
        for replicas in &assigned {
            self.check_assignment(replicas, factor)?;
        }
        Ok(assigned)
    }

    /// Checks the replicas that somebody chose for one partition.
    pub(super) fn check_assignment(&self, replicas: &[i32], factor: usize) -> Result<(), Refusal> {
        let refuse =
            |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        if replicas.is_empty() {
            return refuse(
                "The manual partition assignment includes an empty replica list.".into(),
            );
        }
        if replicas.len() != factor {
            return refuse(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with previous partitions, which have {factor} replica(s).",
                replicas.len()
            ));
        }
        for (place, replica) in replicas.iter().enumerate() {
            if replicas[..place].contains(replica) {
                return refuse(format!(
                    "The manual partition assignment includes the broker {replica} more than once."
                ));
            }
            if !self.image().brokers.contains_key(replica) {
                return refuse(format!(
                    "The manual partition assignment includes broker {replica}, but no such broker is registered."
                ));
            }
        }
        Ok(())
    }

    /// The record of a new partition: its first live replica leads, the live ones are in sync.
    pub(super) fn new_partition(
        &self,
        topic_id: Uuid,
        number: i32,
        replicas: Vec<i32>,
    ) -> Result<PartitionRecord, Refusal> {
        let image = self.image();
        let isr: Vec<i32> = replicas
            .iter()
            .copied()
            .filter(|&replica| image.is_active_broker(replica))
            .collect();
        let Some(&leader) = isr.first() else {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicaAssignment,
                format!(
                    "All brokers specified in the manual partition assignment for partition {number} are fenced or in controlled shutdown."
                ),
            ));
        };
        Ok(PartitionRecord {
            partition_id: number,
            topic_id,
            directories: replicas
                .iter()
                .map(|&id| self.default_directory(id))
                .collect(),
            replicas,
            isr,
            leader,
            leader_epoch: 0,
            partition_epoch: 0,
            ..PartitionRecord::default()
        })
    }

    /// Where a broker puts a new replica, when that is certain: in its only directory.
    pub(super) fn default_directory(&self, broker_id: i32) -> Uuid {
        match self
            .image()
            .brokers
            .get(&broker_id)
            .map(|broker| &broker.directories[..])
        {
            Some([only]) => *only,
            _ => directory_id::UNASSIGNED,
        }
    }

    fn create_result(
        &self,
        name: &StrBytes,
        result: &Result<NewTopic, Refusal>,
        shows_configs: bool,
    ) -> CreatableTopicResult {
        match result {
            Err(refusal) => CreatableTopicResult {
                name: name.clone(),
                error_code: refusal.code.code(),
                error_message: refusal.text(),
                ..CreatableTopicResult::default()
            },
            Ok(topic) => CreatableTopicResult {
                name: name.clone(),
                topic_id: topic.id,
                error_code: ErrorCode::None.code(),
                error_message: None,
                num_partitions: topic.partitions,
                replication_factor: topic.replication_factor,
                configs: (shows_configs && !topic.configs.is_empty())
                    .then(|| self.shown_configs(&topic.configs)),
                ..CreatableTopicResult::default()
            },
        }
    }

    /// The whole config of a topic with these values, as version 5 and later show it (KIP-525).
    fn shown_configs(&self, configs: &ConfigMap) -> Vec<CreatableTopicConfigs> {
        let layers = ConfigLayers {
            topic: Some(configs),
            ..self.config_layers(None)
        };
        shown_definitions(Scope::Topic)
            .filter_map(|definition| layers.topic_config(definition.key))
            .map(|config| CreatableTopicConfigs {
                name: StrBytes::from(config.definition.key),
                value: config.value.map(StrBytes::from),
                read_only: false,
                config_source: config.source.code(),
                is_sensitive: config.definition.is_sensitive(),
                ..CreatableTopicConfigs::default()
            })
            .collect()
    }

    /// The records that set or remove a resource's configs.
    pub(super) fn config_record(
        resource: &ConfigResource,
        key: &str,
        value: Option<&str>,
    ) -> MetadataRecord {
        MetadataRecord::Config(ConfigRecord {
            resource_type: resource.resource_type,
            resource_name: resource.name.clone(),
            name: StrBytes::from(key),
            value: value.map(StrBytes::from),
            ..ConfigRecord::default()
        })
    }
}

/// Names that come more than once.
pub(super) fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}

fn collision(name: &str, other: &str) -> Refusal {
    Refusal::new(
        ErrorCode::InvalidTopicException,
        format!("Topic '{name}' collides with existing topic: {other}"),
    )
}

fn refuse_all(request: &CreateTopicsRequest, refusal: &Refusal) -> CreationStep {
    let names: BTreeSet<&StrBytes> = request.topics.iter().map(|topic| &topic.name).collect();
    let results = names.into_iter().map(|name| CreatableTopicResult {
        name: name.clone(),
        error_code: refusal.code.code(),
        error_message: refusal.text(),
        ..CreatableTopicResult::default()
    });
    CreationStep {
        records: Vec::new(),
        results: results.collect(),
        done: true,
    }
}
