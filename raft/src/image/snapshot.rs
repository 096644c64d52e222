//! An image as records, in Kafka's order but for one thing: features (metadata.version first), cluster, configs, topics, quotas, producer ids,
//! ACLs, SCRAM, tokens. Configs, which Kafka has after topics and takes in any order, come before them, since a start takes up partitions as it
//! reads them, each with its configuration. The file around them (control batches, frames) is in `crate::snapshot`.

use odradek_protocol::StrBytes;
use odradek_protocol::metadata_records::client_quota_record::EntityData;
use odradek_protocol::metadata_records::register_broker_record::{BrokerEndpoint, BrokerFeature};
use odradek_protocol::metadata_records::register_controller_record::{
    ControllerEndpoint, ControllerFeature,
};
use odradek_protocol::metadata_records::{
    ClientQuotaRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord, PartitionRecord,
    ProducerIdsRecord, RegisterBrokerRecord, RegisterControllerRecord, TopicRecord,
};

use super::records::METADATA_VERSION;
use super::{BrokerRegistration, ControllerRegistration, MetadataImage, PartitionView, TopicView};

/// Hands every record of a snapshot of `image` to `sink`, in order. The versions are those of [`super::record_version`] at the image's
/// metadata.version.
///
/// # Errors
/// The first one of `sink`, which is given nothing more then.
pub fn write_snapshot<E>(
    image: &MetadataImage,
    sink: &mut dyn FnMut(MetadataRecord) -> Result<(), E>,
) -> Result<(), E> {
    write_features(image, sink)?;
    for broker in image.brokers.values() {
        sink(broker_record(broker, image.metadata_version()))?;
    }
    for controller in image.controllers.values() {
        sink(controller_record(controller))?;
    }
    for (resource, configs) in image.configs.iter() {
        for (name, value) in configs.iter() {
            sink(MetadataRecord::Config(ConfigRecord {
                resource_type: resource.resource_type,
                resource_name: resource.name.clone(),
                name: name.clone(),
                value: Some(value.clone()),
                ..ConfigRecord::default()
            }))?;
        }
    }
    for topic in image.topics.iter() {
        write_topic(&topic, sink)?;
    }
    write_quotas(image, sink)?;
    if image.next_producer_id > 0 {
        sink(MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker_id: -1,
            broker_epoch: -1,
            next_producer_id: image.next_producer_id,
            ..ProducerIdsRecord::default()
        }))?;
    }
    for acl in image.acls.values() {
        sink(MetadataRecord::AccessControlEntry(acl.clone()))?;
    }
    for credential in image.scram.values() {
        sink(MetadataRecord::UserScramCredential(credential.clone()))?;
    }
    for token in image.delegation_tokens.values() {
        sink(MetadataRecord::DelegationToken(token.clone()))?;
    }
    Ok(())
}

fn write_features<E>(
    image: &MetadataImage,
    sink: &mut dyn FnMut(MetadataRecord) -> Result<(), E>,
) -> Result<(), E> {
    let level = |name: &StrBytes, level: i16| {
        MetadataRecord::FeatureLevel(FeatureLevelRecord {
            name: name.clone(),
            feature_level: level,
            ..FeatureLevelRecord::default()
        })
    };
    let first = image.features.get_key_value(METADATA_VERSION);
    let rest = image
        .features
        .iter()
        .filter(|(name, _)| &***name != METADATA_VERSION);
    for (name, &number) in first.into_iter().chain(rest) {
        sink(level(name, number))?;
    }
    Ok(())
}

fn broker_record(broker: &BrokerRegistration, metadata_version: i16) -> MetadataRecord {
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: broker.id,
        is_migrating_zk_broker: broker.is_migrating_zk_broker,
        incarnation_id: broker.incarnation_id,
        broker_epoch: broker.epoch,
        end_points: broker
            .listeners
            .iter()
            .map(|listener| BrokerEndpoint {
                name: listener.name.clone(),
                host: listener.host.clone(),
                port: listener.port,
                security_protocol: listener.security_protocol,
                ..BrokerEndpoint::default()
            })
            .collect(),
        features: broker
            .features
            .iter()
            .map(|(name, range)| BrokerFeature {
                name: name.clone(),
                min_supported_version: range.min,
                max_supported_version: range.max,
                ..BrokerFeature::default()
            })
            .collect(),
        rack: broker.rack.clone(),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.directories.clone(),
        // Before level 30 the record has no room for it, and nobody can have reported it.
        cordoned_log_dirs: broker
            .cordoned_directories
            .clone()
            .filter(|_| metadata_version >= 30),
        ..RegisterBrokerRecord::default()
    })
}

fn controller_record(controller: &ControllerRegistration) -> MetadataRecord {
    MetadataRecord::RegisterController(RegisterControllerRecord {
        controller_id: controller.id,
        incarnation_id: controller.incarnation_id,
        zk_migration_ready: controller.zk_migration_ready,
        end_points: controller
            .listeners
            .iter()
            .map(|listener| ControllerEndpoint {
                name: listener.name.clone(),
                host: listener.host.clone(),
                port: listener.port,
                security_protocol: listener.security_protocol,
                ..ControllerEndpoint::default()
            })
            .collect(),
        features: controller
            .features
            .iter()
            .map(|(name, range)| ControllerFeature {
                name: name.clone(),
                min_supported_version: range.min,
                max_supported_version: range.max,
                ..ControllerFeature::default()
            })
            .collect(),
        ..RegisterControllerRecord::default()
    })
}

fn write_topic<E>(
    topic: &TopicView<'_>,
    sink: &mut dyn FnMut(MetadataRecord) -> Result<(), E>,
) -> Result<(), E> {
    sink(MetadataRecord::Topic(TopicRecord {
        name: StrBytes::from(topic.name()),
        topic_id: topic.id(),
        ..TopicRecord::default()
    }))?;
    for (number, partition) in topic.partitions() {
        sink(partition_record(topic, number, &partition))?;
    }
    Ok(())
}

fn partition_record(
    topic: &TopicView<'_>,
    number: i32,
    partition: &PartitionView<'_>,
) -> MetadataRecord {
    let optional = |list: &[i32]| (!list.is_empty()).then(|| list.to_vec());
    MetadataRecord::Partition(PartitionRecord {
        partition_id: number,
        topic_id: topic.id(),
        replicas: partition.replicas().to_vec(),
        isr: partition.isr().to_vec(),
        removing_replicas: partition.removing().to_vec(),
        adding_replicas: partition.adding().to_vec(),
        leader: partition.leader(),
        leader_epoch: partition.leader_epoch(),
        partition_epoch: partition.partition_epoch(),
        directories: partition.directories().to_vec(),
        leader_recovery_state: i8::from(partition.is_recovering()),
        eligible_leader_replicas: optional(partition.eligible_leaders()),
        last_known_elr: optional(partition.last_known_leaders()),
        ..PartitionRecord::default()
    })
}

fn write_quotas<E>(
    image: &MetadataImage,
    sink: &mut dyn FnMut(MetadataRecord) -> Result<(), E>,
) -> Result<(), E> {
    for (entity, keys) in image.client_quotas.iter() {
        let entity: Vec<EntityData> = entity
            .0
            .iter()
            .map(|(entity_type, name)| EntityData {
                entity_type: entity_type.clone(),
                entity_name: name.clone(),
                ..EntityData::default()
            })
            .collect();
        for (key, &value) in keys {
            sink(MetadataRecord::ClientQuota(ClientQuotaRecord {
                entity: entity.clone(),
                key: key.clone(),
                value,
                remove: false,
                ..ClientQuotaRecord::default()
            }))?;
        }
    }
    Ok(())
}
