//! A naive metadata model: maps of whole values, changed record by record, compared with the image. Random records come from here too.

mod speed;

use std::collections::BTreeMap;

use odradek_protocol::metadata_records::register_broker_record::BrokerEndpoint;
use odradek_protocol::metadata_records::{
    BrokerRegistrationChangeRecord, ClearElrRecord, ConfigRecord, FeatureLevelRecord,
    MetadataRecord, PartitionChangeRecord, PartitionRecord, ProducerIdsRecord,
    RegisterBrokerRecord, RemoveTopicRecord, TopicRecord, UnregisterBrokerRecord,
};
use odradek_protocol::{StrBytes, Uuid};
use odradek_raft::image::{
    MetadataDelta, MetadataImage, Partition, PartitionView, TopicView, directory_id,
};

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn brokers(&mut self, least: u64) -> Vec<i32> {
        let count = least + self.below(3);
        let first = self.below(5) as i32;
        (0..count as i32).map(|step| first + step).collect()
    }

    fn directories(&mut self, count: usize) -> Vec<Uuid> {
        (0..count)
            .map(|_| Uuid::from_u128(u128::from(1 + self.below(200))))
            .collect()
    }
}

pub fn topic(name: &str, number: u128) -> MetadataRecord {
    TopicRecord {
        name: StrBytes::from(name),
        topic_id: Uuid::from_u128(number),
        ..Default::default()
    }
    .into()
}

pub fn partition(topic: u128, number: i32, replicas: &[i32]) -> MetadataRecord {
    PartitionRecord {
        partition_id: number,
        topic_id: Uuid::from_u128(topic),
        replicas: replicas.to_vec(),
        isr: replicas.to_vec(),
        leader: replicas[0],
        leader_epoch: 0,
        partition_epoch: 0,
        directories: replicas
            .iter()
            .map(|&id| Uuid::from_u128(id as u128 + 1_000))
            .collect(),
        ..Default::default()
    }
    .into()
}

pub fn change(topic: u128, number: i32, leader: i32) -> MetadataRecord {
    PartitionChangeRecord {
        partition_id: number,
        topic_id: Uuid::from_u128(topic),
        leader,
        ..Default::default()
    }
    .into()
}

/// Topics with partitions, and the rest as far as deltas speak of it.
#[derive(Clone, Debug, Default)]
pub struct Model {
    topics: BTreeMap<Uuid, (String, BTreeMap<i32, Partition>)>,
    configs: BTreeMap<(i8, String), BTreeMap<String, String>>,
    brokers: BTreeMap<i32, (i64, bool, bool, Vec<Uuid>)>,
    features: BTreeMap<String, i16>,
    next_producer_id: i64,
}

impl Model {
    pub fn of(image: &MetadataImage) -> Model {
        let mut model = Model {
            next_producer_id: image.next_producer_id,
            ..Model::default()
        };
        for topic in image.topics.iter() {
            model
                .topics
                .insert(topic.id(), (topic.name().to_string(), partitions(&topic)));
        }
        model.take_configs(image);
        model.take_brokers(image);
        model.take_features(image);
        model
    }

    /// Goes from one image to the next by what the delta names, and nothing else.
    pub fn follow(&mut self, image: &MetadataImage, delta: &MetadataDelta) {
        for topic in &delta.topics.deleted {
            let (name, partitions) = self.topics.remove(&topic.id).expect("it was there before");
            assert_eq!(*name, *topic.name);
            // Partitions that came in the same delta before the topic went are counted too.
            assert!(partitions.len() <= topic.partition_count as usize);
        }
        for id in &delta.topics.created {
            let name = image.topics.by_id(*id).expect("created").name().to_string();
            let before = self.topics.insert(*id, (name, BTreeMap::new()));
            assert!(before.is_none(), "a created topic was there before");
        }
        assert!(delta.topics.partitions.is_sorted());
        for change in &delta.topics.partitions {
            let topic = image
                .topics
                .by_index(change.topic_index)
                .expect("a live topic");
            let view = image.topics.by_slot(change.slot).expect("a live slot");
            let known = &mut self
                .topics
                .get_mut(&topic.id())
                .expect("known or created")
                .1;
            let before = known.insert(change.partition, view.to_partition());
            assert_eq!(before.is_none(), change.is_created());
        }
        if !delta.configs.is_empty() {
            for resource in &delta.configs {
                self.configs
                    .remove(&(resource.resource_type, resource.name.to_string()));
            }
            let kept = std::mem::take(&mut self.configs);
            self.take_configs(image);
            for (key, value) in kept {
                assert_eq!(
                    self.configs.get(&key),
                    Some(&value),
                    "a change the delta is silent of"
                );
            }
        }
        for id in &delta.brokers {
            self.brokers.remove(id);
        }
        let kept = std::mem::take(&mut self.brokers);
        self.take_brokers(image);
        for (key, value) in kept {
            assert_eq!(
                self.brokers.get(&key),
                Some(&value),
                "a change the delta is silent of"
            );
        }
        if !delta.features.is_empty() {
            self.take_features(image);
        }
        if delta.producer_ids {
            self.next_producer_id = image.next_producer_id;
        }
    }

    pub fn check(&self, image: &MetadataImage, place: &str) {
        let found = Model::of(image);
        assert_eq!(self.topics, found.topics, "{place}");
        assert_eq!(self.configs, found.configs, "{place}");
        assert_eq!(self.brokers, found.brokers, "{place}");
        assert_eq!(self.features, found.features, "{place}");
        assert_eq!(self.next_producer_id, found.next_producer_id, "{place}");
        let count: usize = self
            .topics
            .values()
            .map(|(_, partitions)| partitions.len())
            .sum();
        assert_eq!(image.topics.partition_count(), count, "{place}");
        let by_name: Vec<&str> = image.topics.iter().map(|topic| &**topic.name()).collect();
        assert!(by_name.is_sorted(), "{place}");
        for (id, (name, known)) in &self.topics {
            let topic = image.topics.by_name(name).expect("found by id above");
            assert_eq!(topic.id(), *id, "{place}");
            let first = image.topics.iter_from(name).next().expect("it is there");
            assert_eq!(first.id(), *id, "{place}");
            assert!(topic.partition(-1).is_none() && topic.partition(1 << 20).is_none());
            for number in known.keys() {
                assert!(topic.partition(*number).is_some(), "{place}");
            }
        }
    }

    pub fn random_record(&self, random: &mut Random) -> MetadataRecord {
        let count = self.topics.len() as u64;
        let any_topic = (count > 0)
            .then(|| random.below(count))
            .and_then(|place| self.topics.iter().nth(place as usize));
        match (random.below(24), any_topic) {
            (0..=2, _) | (_, None) => self.random_topic(random),
            (3, Some((id, _))) => RemoveTopicRecord {
                topic_id: *id,
                ..Default::default()
            }
            .into(),
            (4..=10, Some((id, (_, known)))) => random_partition(random, *id, known),
            (11..=17, Some((id, (_, known)))) if !known.is_empty() => {
                random_change(random, *id, known)
            }
            (18, Some((_, (name, _)))) => ClearElrRecord {
                topic_name: StrBytes::from(if random.below(2) == 0 { "" } else { name }),
                ..Default::default()
            }
            .into(),
            (19, Some((_, (name, _)))) => random_config(random, 2, name),
            (20, _) => {
                let name = ["", "1", "2"][random.below(3) as usize];
                random_config(random, 4, name)
            }
            (21, _) => FeatureLevelRecord {
                name: ["metadata.version", "a", "b"][random.below(3) as usize].into(),
                feature_level: random.below(3) as i16,
                ..Default::default()
            }
            .into(),
            (22, _) => ProducerIdsRecord {
                next_producer_id: self.next_producer_id + 1_000,
                ..Default::default()
            }
            .into(),
            _ => self.random_broker(random),
        }
    }

    fn random_topic(&self, random: &mut Random) -> MetadataRecord {
        loop {
            let number = u128::from(random.next()) << 64 | u128::from(random.next());
            let name = format!("t{}", random.below(1_000));
            if self.topics.values().all(|(known, _)| *known != name) {
                return topic(&name, number);
            }
        }
    }

    fn random_broker(&self, random: &mut Random) -> MetadataRecord {
        let broker_id = random.below(4) as i32;
        match (self.brokers.get(&broker_id), random.below(3)) {
            (Some((broker_epoch, ..)), 0) => UnregisterBrokerRecord {
                broker_id,
                broker_epoch: *broker_epoch,
                ..Default::default()
            }
            .into(),
            (Some((broker_epoch, ..)), 1) => {
                let count = random.below(2) as usize;
                BrokerRegistrationChangeRecord {
                    broker_id,
                    broker_epoch: *broker_epoch,
                    fenced: random.below(3) as i8 - 1,
                    in_controlled_shutdown: random.below(2) as i8,
                    log_dirs: random.directories(count),
                    ..Default::default()
                }
                .into()
            }
            _ => RegisterBrokerRecord {
                broker_id,
                broker_epoch: random.below(1 << 40) as i64,
                end_points: vec![BrokerEndpoint {
                    name: "PLAINTEXT".into(),
                    host: "h".into(),
                    port: 1,
                    ..Default::default()
                }],
                fenced: random.below(2) == 0,
                ..Default::default()
            }
            .into(),
        }
    }

    pub fn apply(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::Topic(record) => {
                let value = (record.name.to_string(), BTreeMap::new());
                self.topics.insert(record.topic_id, value);
            }
            MetadataRecord::RemoveTopic(record) => {
                let (name, _) = self
                    .topics
                    .remove(&record.topic_id)
                    .expect("chosen from these");
                self.configs.remove(&(2, name));
            }
            MetadataRecord::Partition(record) => {
                let known = &mut self.topics.get_mut(&record.topic_id).expect("chosen").1;
                known.insert(record.partition_id, new_partition(record));
            }
            MetadataRecord::PartitionChange(record) => {
                let known = &mut self.topics.get_mut(&record.topic_id).expect("chosen").1;
                apply_change(known.get_mut(&record.partition_id).expect("chosen"), record);
            }
            MetadataRecord::ClearElr(record) => {
                for (name, known) in self.topics.values_mut() {
                    let is_meant = record.topic_name.is_empty() || **name == *record.topic_name;
                    for partition in known.values_mut().filter(|_| is_meant) {
                        let all = [
                            &mut partition.eligible_leaders,
                            &mut partition.last_known_leaders,
                        ];
                        if all.iter().any(|list| !list.is_empty()) {
                            all.into_iter().for_each(Vec::clear);
                            partition.partition_epoch += 1;
                        }
                    }
                }
            }
            other => self.apply_cluster(other),
        }
    }

    fn apply_cluster(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::Config(record) => {
                let key = (record.resource_type, record.resource_name.to_string());
                let map = self.configs.entry(key.clone()).or_default();
                match &record.value {
                    Some(value) => map.insert(record.name.to_string(), value.to_string()),
                    None => map.remove(&*record.name),
                };
                if map.is_empty() {
                    self.configs.remove(&key);
                }
            }
            MetadataRecord::FeatureLevel(record) => {
                match record.feature_level {
                    0 => self.features.remove(&*record.name),
                    level => self.features.insert(record.name.to_string(), level),
                };
            }
            MetadataRecord::ProducerIds(record) => self.next_producer_id = record.next_producer_id,
            MetadataRecord::RegisterBroker(record) => {
                let value = (record.broker_epoch, record.fenced, false, Vec::new());
                self.brokers.insert(record.broker_id, value);
            }
            MetadataRecord::UnregisterBroker(record) => {
                self.brokers.remove(&record.broker_id);
            }
            MetadataRecord::BrokerRegistrationChange(record) => {
                let known = self.brokers.get_mut(&record.broker_id).expect("chosen");
                match record.fenced {
                    1 => known.1 = true,
                    -1 => known.1 = false,
                    _ => {}
                }
                known.2 |= record.in_controlled_shutdown == 1;
                if !record.log_dirs.is_empty() {
                    known.3.clone_from(&record.log_dirs);
                    known.3.sort();
                }
            }
            other => panic!("the model knows nothing of {}", other.name()),
        }
    }

    fn take_configs(&mut self, image: &MetadataImage) {
        self.configs.clear();
        for (resource, map) in image.configs.iter() {
            let map = map
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()));
            let key = (resource.resource_type, resource.name.to_string());
            self.configs.insert(key, map.collect());
        }
    }

    fn take_brokers(&mut self, image: &MetadataImage) {
        self.brokers = image
            .brokers
            .iter()
            .map(|(&id, broker)| {
                let leaving = broker.in_controlled_shutdown;
                (
                    id,
                    (
                        broker.epoch,
                        broker.fenced,
                        leaving,
                        broker.directories.clone(),
                    ),
                )
            })
            .collect();
    }

    fn take_features(&mut self, image: &MetadataImage) {
        let features = image.features.iter();
        self.features = features
            .map(|(name, &level)| (name.to_string(), level))
            .collect();
    }
}

fn partitions(topic: &TopicView<'_>) -> BTreeMap<i32, Partition> {
    let entry = |(number, view): (i32, PartitionView<'_>)| (number, view.to_partition());
    topic.partitions().map(entry).collect()
}

fn random_partition(
    random: &mut Random,
    topic_id: Uuid,
    known: &BTreeMap<i32, Partition>,
) -> MetadataRecord {
    // Mostly the next one, now and then out of order or one that is there already.
    let next = known.len() as i32;
    let partition_id = match random.below(8) {
        0 => next + random.below(5) as i32,
        1 => random.below(next as u64 + 1) as i32,
        _ => next,
    };
    let replicas = random.brokers(1);
    let elr = (random.below(3) == 0).then(|| random.brokers(0));
    PartitionRecord {
        partition_id,
        topic_id,
        isr: replicas[..random.below(replicas.len() as u64 + 1) as usize].to_vec(),
        directories: match random.below(3) {
            0 => Vec::new(),
            _ => random.directories(replicas.len()),
        },
        leader: replicas[0],
        leader_epoch: random.below(5) as i32,
        partition_epoch: random.below(5) as i32,
        leader_recovery_state: random.below(2) as i8,
        adding_replicas: match random.below(5) {
            0 => random.brokers(0),
            _ => Vec::new(),
        },
        eligible_leader_replicas: elr,
        last_known_elr: (random.below(4) == 0).then(|| vec![1]),
        replicas,
        ..Default::default()
    }
    .into()
}

fn random_change(
    random: &mut Random,
    topic_id: Uuid,
    known: &BTreeMap<i32, Partition>,
) -> MetadataRecord {
    let place = random.below(known.len() as u64) as usize;
    let partition_id = *known.keys().nth(place).expect("below the length");
    let replicas = (random.below(4) == 0).then(|| random.brokers(1));
    let directories = replicas
        .as_ref()
        .filter(|_| random.below(2) == 0)
        .map(|replicas| random.directories(replicas.len()));
    PartitionChangeRecord {
        partition_id,
        topic_id,
        isr: (random.below(2) == 0).then(|| random.brokers(0)),
        leader: random.below(6) as i32 - 2,
        replicas,
        directories,
        leader_recovery_state: random.below(3) as i8 - 1,
        adding_replicas: (random.below(6) == 0).then(|| random.brokers(0)),
        removing_replicas: (random.below(6) == 0).then(|| random.brokers(0)),
        eligible_leader_replicas: (random.below(3) == 0).then(|| random.brokers(0)),
        last_known_elr: (random.below(3) == 0).then(|| random.brokers(0)),
        ..Default::default()
    }
    .into()
}

fn random_config(random: &mut Random, resource_type: i8, name: &str) -> MetadataRecord {
    ConfigRecord {
        resource_type,
        resource_name: StrBytes::from(name),
        name: ["x", "y"][random.below(2) as usize].into(),
        value: (random.below(3) != 0).then(|| StrBytes::from(random.below(9).to_string())),
        ..Default::default()
    }
    .into()
}

fn new_partition(record: &PartitionRecord) -> Partition {
    Partition {
        replicas: record.replicas.clone(),
        directories: match record.directories.is_empty() {
            true => vec![directory_id::MIGRATING; record.replicas.len()],
            false => record.directories.clone(),
        },
        isr: record.isr.clone(),
        adding: record.adding_replicas.clone(),
        removing: record.removing_replicas.clone(),
        eligible_leaders: record.eligible_leader_replicas.clone().unwrap_or_default(),
        last_known_leaders: record.last_known_elr.clone().unwrap_or_default(),
        leader: record.leader,
        leader_epoch: record.leader_epoch,
        partition_epoch: record.partition_epoch,
        is_recovering: record.leader_recovery_state == 1,
    }
}

fn apply_change(partition: &mut Partition, record: &PartitionChangeRecord) {
    if let Some(replicas) = &record.replicas {
        let old: BTreeMap<i32, Uuid> = partition
            .replicas
            .iter()
            .copied()
            .zip(partition.directories.iter().copied())
            .collect();
        let kept = |id: &i32| old.get(id).copied().unwrap_or(directory_id::UNASSIGNED);
        partition.directories = replicas.iter().map(kept).collect();
        partition.replicas.clone_from(replicas);
    }
    for (target, new) in [
        (&mut partition.isr, &record.isr),
        (&mut partition.adding, &record.adding_replicas),
        (&mut partition.removing, &record.removing_replicas),
        (
            &mut partition.eligible_leaders,
            &record.eligible_leader_replicas,
        ),
        (&mut partition.last_known_leaders, &record.last_known_elr),
    ] {
        if let Some(new) = new {
            target.clone_from(new);
        }
    }
    if let Some(directories) = &record.directories {
        partition.directories.clone_from(directories);
    }
    if record.leader != -2 {
        partition.leader = record.leader;
        partition.leader_epoch += 1;
    }
    if record.leader_recovery_state != -1 {
        partition.is_recovering = record.leader_recovery_state == 1;
    }
    partition.partition_epoch += 1;
}
