//! What each record of the metadata log does to the image. A record that does not fit is an error that stops the node: guessing would give
//! this node another view of the cluster than its peers have. Offsets and transactions are kept in `builder.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use odradek_protocol::metadata_records::{
    BrokerRegistrationChangeRecord, ClearElrRecord, ClientQuotaRecord, ConfigRecord,
    FeatureLevelRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
    RegisterBrokerRecord, RegisterControllerRecord,
};
use odradek_protocol::{StrBytes, Uuid};
use smallvec::SmallVec;

use super::builder::{ApplyError, MetadataBuilder};
use super::intern::EMPTY;
use super::topics::PartitionEntry;
use super::{
    BrokerRegistration, ConfigResource, ControllerRegistration, Listener, QuotaEntity,
    VersionRange, directory_id,
};

/// "The leader stays", in a PartitionChangeRecord.
const SAME_LEADER: i32 = -2;

impl MetadataBuilder {
    pub(super) fn apply_one(
        &mut self,
        record: &MetadataRecord,
        offset: i64,
    ) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::PartitionChange(record) => self.change_partition(record, offset),
            MetadataRecord::Partition(record) => self.set_partition(record, offset),
            MetadataRecord::Topic(record) => {
                self.create_topic(&record.name, record.topic_id, offset)
            }
            MetadataRecord::RemoveTopic(record) => self.remove_topic(record.topic_id, offset),
            MetadataRecord::Config(record) => {
                self.set_config(record);
                Ok(())
            }
            MetadataRecord::ClearElr(record) => self.clear_elr(record, offset),
            MetadataRecord::RegisterBroker(record) => {
                self.register_broker(record);
                Ok(())
            }
            MetadataRecord::UnregisterBroker(record) => {
                self.broker(record.broker_id, record.broker_epoch, offset)?;
                Arc::make_mut(&mut self.image.brokers).remove(&record.broker_id);
                Ok(())
            }
            MetadataRecord::FenceBroker(record) => {
                self.broker(record.id, record.epoch, offset)?.fenced = true;
                Ok(())
            }
            MetadataRecord::UnfenceBroker(record) => {
                self.broker(record.id, record.epoch, offset)?.fenced = false;
                Ok(())
            }
            MetadataRecord::BrokerRegistrationChange(record) => self.change_broker(record, offset),
            MetadataRecord::RegisterController(record) => {
                self.register_controller(record);
                Ok(())
            }
            MetadataRecord::FeatureLevel(record) => {
                self.set_feature(record);
                Ok(())
            }
            MetadataRecord::BeginTransaction(_) => self.begin_transaction(offset),
            MetadataRecord::EndTransaction(_) => self.end_transaction(offset),
            MetadataRecord::AbortTransaction(_) => self.abort_transaction(offset),
            // The migration from ZooKeeper is over in every log this version can join; the record says nothing to it.
            MetadataRecord::NoOp(_) | MetadataRecord::ZkMigrationState(_) => Ok(()),
            other => {
                self.apply_plain(other);
                Ok(())
            }
        }
    }

    /// Records that are kept as they are.
    fn apply_plain(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::ProducerIds(record) => {
                self.image.next_producer_id = record.next_producer_id;
                self.delta.producer_ids = true;
            }
            MetadataRecord::ClientQuota(record) => self.set_quota(record),
            MetadataRecord::AccessControlEntry(record) => {
                let mut kept = record.clone();
                for text in [&mut kept.resource_name, &mut kept.principal, &mut kept.host] {
                    *text = text.detached();
                }
                Arc::make_mut(&mut self.image.acls).insert(record.id, kept);
                self.delta.acls = true;
            }
            MetadataRecord::RemoveAccessControlEntry(record) => {
                Arc::make_mut(&mut self.image.acls).remove(&record.id);
                self.delta.acls = true;
            }
            MetadataRecord::UserScramCredential(record) => {
                let mut kept = record.clone();
                kept.name = kept.name.detached();
                for bytes in [&mut kept.salt, &mut kept.stored_key, &mut kept.server_key] {
                    *bytes = bytes::Bytes::copy_from_slice(bytes);
                }
                let key = (kept.name.clone(), kept.mechanism);
                Arc::make_mut(&mut self.image.scram).insert(key, kept);
                self.delta.scram = true;
            }
            MetadataRecord::RemoveUserScramCredential(record) => {
                let key = (record.name.clone(), record.mechanism);
                Arc::make_mut(&mut self.image.scram).remove(&key);
                self.delta.scram = true;
            }
            MetadataRecord::DelegationToken(record) => {
                let mut kept = record.clone();
                kept.renewers
                    .iter_mut()
                    .for_each(|name| *name = name.detached());
                for text in [&mut kept.owner, &mut kept.requester, &mut kept.token_id] {
                    *text = text.detached();
                }
                let key = kept.token_id.clone();
                Arc::make_mut(&mut self.image.delegation_tokens).insert(key, kept);
                self.delta.delegation_tokens = true;
            }
            MetadataRecord::RemoveDelegationToken(record) => {
                Arc::make_mut(&mut self.image.delegation_tokens).remove(&record.token_id);
                self.delta.delegation_tokens = true;
            }
            _ => unreachable!("apply_one handles every other record"),
        }
    }

    pub(super) fn create_topic(
        &mut self,
        name: &str,
        id: Uuid,
        offset: i64,
    ) -> Result<(), ApplyError> {
        if self.topics.create_topic(name, id) {
            return Ok(());
        }
        Err(ApplyError::TopicExists {
            offset,
            name: name.to_string(),
            id,
        })
    }

    /// For a snapshot: the ids of the topics created from now on are sorted once, by [`Self::settle_topics`].
    pub(super) fn gather_topics(&mut self) {
        self.topics.gather_ids();
    }

    /// Ends what [`Self::gather_topics`] began. That two topics have one id is found only now.
    pub(super) fn settle_topics(&mut self, offset: i64) -> Result<(), ApplyError> {
        self.topics.settle_ids();
        let Some(index) = self.topics.taken_id else {
            return Ok(());
        };
        let topic = self.topics.image.by_index(index);
        Err(ApplyError::TopicExists {
            offset,
            name: topic.map_or(String::new(), |topic| topic.name().to_string()),
            id: topic.map_or(Uuid::ZERO, |topic| topic.id()),
        })
    }

    fn remove_topic(&mut self, id: Uuid, offset: i64) -> Result<(), ApplyError> {
        let index = self.topic_index(id, offset)?;
        let name = self
            .topics
            .image
            .by_index(index)
            .map(|topic| topic.name().clone());
        self.topics.delete_topic(index);
        if let Some(name) = name {
            let resource = ConfigResource::topic(&name);
            if self.image.configs.contains_key(&resource) {
                Arc::make_mut(&mut self.image.configs).remove(&resource);
                self.delta.configs.insert(resource);
            }
        }
        Ok(())
    }

    fn topic_index(&mut self, id: Uuid, offset: i64) -> Result<u32, ApplyError> {
        self.topics
            .index_of(id)
            .ok_or_else(|| ApplyError::UnknownTopic {
                offset,
                topic: id.to_string(),
            })
    }

    fn set_partition(&mut self, record: &PartitionRecord, offset: i64) -> Result<(), ApplyError> {
        let index = self.topic_index(record.topic_id, offset)?;
        if record.partition_id < 0 {
            return Err(ApplyError::UnknownPartition {
                offset,
                topic: record.topic_id,
                partition: record.partition_id,
            });
        }
        let migrating: SmallVec<[Uuid; 4]>;
        let directories = if record.directories.is_empty() {
            // Written before directories were recorded.
            migrating = record
                .replicas
                .iter()
                .map(|_| directory_id::MIGRATING)
                .collect();
            &migrating[..]
        } else {
            &record.directories[..]
        };
        let topics = &mut self.topics;
        let mut entry = PartitionEntry {
            replicas: topics.list(&record.replicas),
            isr: topics.list(&record.isr),
            directories: topics.directory_list(directories),
            extras: topics.extras([
                &record.adding_replicas,
                &record.removing_replicas,
                record.eligible_leader_replicas.as_deref().unwrap_or(&[]),
                record.last_known_elr.as_deref().unwrap_or(&[]),
            ]),
            leader: record.leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            ..PartitionEntry::default()
        };
        entry.set_flags(recovery_state(record.leader_recovery_state, offset)?);
        topics.set_entry(index, record.partition_id, entry);
        Ok(())
    }

    /// Sets a partition to what another one's record came to.
    pub(super) fn set_like(
        &mut self,
        topic: Uuid,
        partition: i32,
        entry: PartitionEntry,
        offset: i64,
    ) -> Result<(), ApplyError> {
        let index = self.topic_index(topic, offset)?;
        if partition < 0 {
            return Err(ApplyError::UnknownPartition {
                offset,
                topic,
                partition,
            });
        }
        self.topics.set_entry(index, partition, entry);
        Ok(())
    }

    /// What a partition's records came to.
    pub(super) fn entry_of(&mut self, topic: Uuid, partition: i32) -> Option<PartitionEntry> {
        let index = self.topics.index_of(topic)?;
        self.topics.entry(index, partition)
    }

    fn change_partition(
        &mut self,
        record: &PartitionChangeRecord,
        offset: i64,
    ) -> Result<(), ApplyError> {
        let index = self.topic_index(record.topic_id, offset)?;
        let number = record.partition_id;
        let Some(mut entry) = self.topics.entry(index, number) else {
            return Err(ApplyError::UnknownPartition {
                offset,
                topic: record.topic_id,
                partition: number,
            });
        };
        if let Some(isr) = &record.isr {
            entry.isr = self.topics.list(isr);
        }
        if record.leader != SAME_LEADER {
            entry.leader = record.leader;
            entry.leader_epoch += 1;
        }
        match record.leader_recovery_state {
            -1 => {}
            state => entry.set_flags(recovery_state(state, offset)?),
        }
        if record.replicas.is_some() || record.directories.is_some() {
            self.change_replicas(index, record, &mut entry);
        }
        if record.adding_replicas.is_some()
            || record.removing_replicas.is_some()
            || record.eligible_leader_replicas.is_some()
            || record.last_known_elr.is_some()
        {
            self.change_extras(index, record, &mut entry);
        }
        entry.partition_epoch += 1;
        self.topics.set_entry(index, number, entry);
        Ok(())
    }

    fn change_replicas(
        &mut self,
        index: u32,
        record: &PartitionChangeRecord,
        entry: &mut PartitionEntry,
    ) {
        let known = self
            .topics
            .partition(index, record.partition_id)
            .expect("change_partition found it")
            .to_partition();
        let replicas = record.replicas.as_ref().unwrap_or(&known.replicas);
        let directories = match &record.directories {
            Some(directories) => directories.clone(),
            // Replicas that stay keep their directories; new ones have none yet.
            None => replicas
                .iter()
                .map(|replica| {
                    let place = known.replicas.iter().position(|old| old == replica);
                    place
                        .and_then(|place| known.directories.get(place).copied())
                        .unwrap_or(directory_id::UNASSIGNED)
                })
                .collect(),
        };
        entry.replicas = self.topics.list(replicas);
        entry.directories = self.topics.directory_list(&directories);
    }

    fn change_extras(
        &mut self,
        index: u32,
        record: &PartitionChangeRecord,
        entry: &mut PartitionEntry,
    ) {
        let known = match entry.extras {
            EMPTY => Default::default(),
            _ => self
                .topics
                .partition(index, record.partition_id)
                .expect("change_partition found it")
                .to_partition(),
        };
        let part =
            |new: &Option<Vec<i32>>, old: &[i32]| new.clone().unwrap_or_else(|| old.to_vec());
        let parts = [
            part(&record.adding_replicas, &known.adding),
            part(&record.removing_replicas, &known.removing),
            part(&record.eligible_leader_replicas, &known.eligible_leaders),
            part(&record.last_known_elr, &known.last_known_leaders),
        ];
        entry.extras = self
            .topics
            .extras([&parts[0], &parts[1], &parts[2], &parts[3]]);
    }

    fn clear_elr(&mut self, record: &ClearElrRecord, offset: i64) -> Result<(), ApplyError> {
        let topics = &self.topics.image;
        let indexes: Vec<u32> = if record.topic_name.is_empty() {
            topics.iter().map(|topic| topic.index()).collect()
        } else {
            let topic = topics.by_name(&record.topic_name);
            let topic = topic.ok_or_else(|| ApplyError::UnknownTopic {
                offset,
                topic: record.topic_name.to_string(),
            })?;
            vec![topic.index()]
        };
        for index in indexes {
            let Some(topic) = self.topics.image.by_index(index) else {
                continue;
            };
            let id = topic.id();
            let marked: Vec<i32> = topic
                .partitions()
                .filter(|(_, partition)| {
                    !partition.eligible_leaders().is_empty()
                        || !partition.last_known_leaders().is_empty()
                })
                .map(|(number, _)| number)
                .collect();
            for number in marked {
                let change = PartitionChangeRecord {
                    partition_id: number,
                    topic_id: id,
                    eligible_leader_replicas: Some(Vec::new()),
                    last_known_elr: Some(Vec::new()),
                    ..PartitionChangeRecord::default()
                };
                self.change_partition(&change, offset)?;
            }
        }
        Ok(())
    }

    fn set_config(&mut self, record: &ConfigRecord) {
        let resource = ConfigResource::new(record.resource_type, &record.resource_name);
        let configs = Arc::make_mut(&mut self.image.configs);
        match &record.value {
            Some(value) => {
                let map = Arc::make_mut(configs.entry(resource.clone()).or_default());
                map.insert(record.name.detached(), value.detached());
            }
            None => {
                if let Some(map) = configs.get_mut(&resource) {
                    Arc::make_mut(map).remove(&*record.name);
                    if map.is_empty() {
                        configs.remove(&resource);
                    }
                }
            }
        }
        self.delta.configs.insert(resource);
    }

    fn set_feature(&mut self, record: &FeatureLevelRecord) {
        let name = record.name.detached();
        let features = Arc::make_mut(&mut self.image.features);
        if record.feature_level == 0 {
            features.remove(&name);
        } else {
            features.insert(name.clone(), record.feature_level);
        }
        self.delta.features.insert(name);
    }

    fn set_quota(&mut self, record: &ClientQuotaRecord) {
        let mut entity: Vec<(StrBytes, Option<StrBytes>)> = record
            .entity
            .iter()
            .map(|part| {
                let name = part.entity_name.as_ref().map(StrBytes::detached);
                (part.entity_type.detached(), name)
            })
            .collect();
        entity.sort();
        let entity = QuotaEntity(entity);
        let quotas = Arc::make_mut(&mut self.image.client_quotas);
        if !record.remove {
            let keys = quotas.entry(entity).or_default();
            keys.insert(record.key.detached(), record.value);
        } else if let Some(keys) = quotas.get_mut(&entity) {
            keys.remove(&record.key);
            if keys.is_empty() {
                quotas.remove(&entity);
            }
        }
        self.delta.client_quotas = true;
    }

    fn register_broker(&mut self, record: &RegisterBrokerRecord) {
        let mut directories = record.log_dirs.clone();
        directories.sort_unstable();
        let broker = BrokerRegistration {
            id: record.broker_id,
            epoch: record.broker_epoch,
            incarnation_id: record.incarnation_id,
            listeners: record
                .end_points
                .iter()
                .map(|end| listener(&end.name, &end.host, end.port, end.security_protocol))
                .collect(),
            features: record
                .features
                .iter()
                .map(|feature| {
                    let range = VersionRange {
                        min: feature.min_supported_version,
                        max: feature.max_supported_version,
                    };
                    (feature.name.detached(), range)
                })
                .collect::<BTreeMap<_, _>>(),
            rack: record.rack.as_ref().map(StrBytes::detached),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            is_migrating_zk_broker: record.is_migrating_zk_broker,
            directories,
            cordoned_directories: record.cordoned_log_dirs.clone(),
        };
        Arc::make_mut(&mut self.image.brokers).insert(record.broker_id, broker);
        self.delta.brokers.insert(record.broker_id);
    }

    fn broker(
        &mut self,
        id: i32,
        epoch: i64,
        offset: i64,
    ) -> Result<&mut BrokerRegistration, ApplyError> {
        self.delta.brokers.insert(id);
        Arc::make_mut(&mut self.image.brokers)
            .get_mut(&id)
            .filter(|broker| broker.epoch == epoch)
            .ok_or(ApplyError::UnknownBroker {
                offset,
                broker: id,
                epoch,
            })
    }

    fn change_broker(
        &mut self,
        record: &BrokerRegistrationChangeRecord,
        offset: i64,
    ) -> Result<(), ApplyError> {
        let broker = self.broker(record.broker_id, record.broker_epoch, offset)?;
        broker.fenced = match record.fenced {
            0 => broker.fenced,
            1 => true,
            -1 => false,
            other => {
                return Err(unknown(
                    "fenced of a BrokerRegistrationChange",
                    other,
                    offset,
                ));
            }
        };
        broker.in_controlled_shutdown = match record.in_controlled_shutdown {
            0 => broker.in_controlled_shutdown,
            1 => true,
            other => {
                let field = "inControlledShutdown of a BrokerRegistrationChange";
                return Err(unknown(field, other, offset));
            }
        };
        if !record.log_dirs.is_empty() {
            broker.directories = record.log_dirs.clone();
            broker.directories.sort_unstable();
        }
        if record.cordoned_log_dirs.is_some() {
            broker
                .cordoned_directories
                .clone_from(&record.cordoned_log_dirs);
        }
        Ok(())
    }

    fn register_controller(&mut self, record: &RegisterControllerRecord) {
        let controller = ControllerRegistration {
            id: record.controller_id,
            incarnation_id: record.incarnation_id,
            zk_migration_ready: record.zk_migration_ready,
            listeners: record
                .end_points
                .iter()
                .map(|end| listener(&end.name, &end.host, end.port, end.security_protocol))
                .collect(),
            features: record
                .features
                .iter()
                .map(|feature| {
                    let range = VersionRange {
                        min: feature.min_supported_version,
                        max: feature.max_supported_version,
                    };
                    (feature.name.detached(), range)
                })
                .collect(),
        };
        Arc::make_mut(&mut self.image.controllers).insert(record.controller_id, controller);
        self.delta.controllers.insert(record.controller_id);
    }
}

fn listener(name: &StrBytes, host: &StrBytes, port: u16, security_protocol: i16) -> Listener {
    Listener {
        name: name.detached(),
        host: host.detached(),
        port,
        security_protocol,
    }
}

fn recovery_state(state: i8, offset: i64) -> Result<bool, ApplyError> {
    match state {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(unknown("leaderRecoveryState", other, offset)),
    }
}

fn unknown(field: &'static str, value: i8, offset: i64) -> ApplyError {
    ApplyError::UnknownValue {
        offset,
        field,
        value: i64::from(value),
    }
}
