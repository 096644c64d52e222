//! Records and partitions as short lines: only what a case looks at, ids as names.

use std::collections::BTreeMap;

use odradek_protocol::Uuid;
use odradek_protocol::metadata_records::{MetadataRecord, PartitionChangeRecord};
use odradek_raft::image::{Partition, directory_id};

use super::number_of;

pub fn directory(id: Uuid) -> String {
    match id {
        directory_id::MIGRATING => "migrating".to_string(),
        directory_id::UNASSIGNED => "unassigned".to_string(),
        directory_id::LOST => "lost".to_string(),
        other => format!("d{}", number_of(other)),
    }
}

fn directories(ids: &[Uuid]) -> String {
    let shown: Vec<String> = ids.iter().map(|&id| directory(id)).collect();
    format!("[{}]", shown.join(","))
}

fn list(ids: &[i32]) -> String {
    let shown: Vec<String> = ids.iter().map(i32::to_string).collect();
    format!("[{}]", shown.join(","))
}

pub fn partition(topic: &str, number: i32, partition: &Partition) -> String {
    let mut line = format!(
        "{topic}-{number} replicas {} isr {} leader {} epoch {} version {} dirs {}",
        list(&partition.replicas),
        list(&partition.isr),
        partition.leader,
        partition.leader_epoch,
        partition.partition_epoch,
        directories(&partition.directories)
    );
    for (name, ids) in [
        ("adding", &partition.adding),
        ("removing", &partition.removing),
        ("elr", &partition.eligible_leaders),
        ("last", &partition.last_known_leaders),
    ] {
        if !ids.is_empty() {
            line.push_str(&format!(" {name} {}", list(ids)));
        }
    }
    if partition.is_recovering {
        line.push_str(" recovering");
    }
    line
}

fn change(topic: &str, record: &PartitionChangeRecord) -> String {
    let mut line = format!("change {topic}-{}", record.partition_id);
    if record.leader != -2 {
        line.push_str(&format!(" leader {}", record.leader));
    }
    for (name, ids) in [
        ("isr", &record.isr),
        ("replicas", &record.replicas),
        ("adding", &record.adding_replicas),
        ("removing", &record.removing_replicas),
        ("elr", &record.eligible_leader_replicas),
        ("last", &record.last_known_elr),
    ] {
        if let Some(ids) = ids {
            line.push_str(&format!(" {name} {}", list(ids)));
        }
    }
    if let Some(ids) = &record.directories {
        line.push_str(&format!(" dirs {}", directories(ids)));
    }
    if record.leader_recovery_state != -1 {
        line.push_str(&format!(" recovery {}", record.leader_recovery_state));
    }
    line
}

pub fn record(record: &MetadataRecord, names: &BTreeMap<Uuid, String>) -> String {
    let topic = |id: &Uuid| names.get(id).cloned().unwrap_or_else(|| id.to_string());
    match record {
        MetadataRecord::Topic(record) => format!("topic {}", record.name),
        MetadataRecord::RemoveTopic(record) => format!("remove topic {}", topic(&record.topic_id)),
        MetadataRecord::Partition(record) => format!(
            "partition {}-{} replicas {} isr {} leader {} dirs {}",
            topic(&record.topic_id),
            record.partition_id,
            list(&record.replicas),
            list(&record.isr),
            record.leader,
            directories(&record.directories)
        ),
        MetadataRecord::PartitionChange(record) => change(&topic(&record.topic_id), record),
        MetadataRecord::Config(record) => format!(
            "config {} '{}' {} = {}",
            record.resource_type,
            record.resource_name,
            record.name,
            record.value.as_deref().unwrap_or("(removed)")
        ),
        MetadataRecord::FeatureLevel(record) => {
            format!("feature {} {}", record.name, record.feature_level)
        }
        MetadataRecord::RegisterBroker(record) => format!(
            "register broker {} epoch {} fenced {} dirs {}",
            record.broker_id,
            record.broker_epoch,
            record.fenced,
            directories(&record.log_dirs)
        ),
        MetadataRecord::UnregisterBroker(record) => {
            format!(
                "unregister broker {} epoch {}",
                record.broker_id, record.broker_epoch
            )
        }
        MetadataRecord::BrokerRegistrationChange(record) => {
            let mut line = format!("broker {} changes:", record.broker_id);
            if record.fenced != 0 {
                line.push_str(&format!(" fenced {}", record.fenced));
            }
            if record.in_controlled_shutdown != 0 {
                line.push_str(" leaving");
            }
            if !record.log_dirs.is_empty() {
                line.push_str(&format!(" dirs {}", directories(&record.log_dirs)));
            }
            if let Some(ids) = &record.cordoned_log_dirs {
                line.push_str(&format!(" cordoned {}", directories(ids)));
            }
            line
        }
        MetadataRecord::ProducerIds(record) => {
            format!("producer ids up to {}", record.next_producer_id)
        }
        MetadataRecord::ClearElr(record) => format!("clear elr '{}'", record.topic_name),
        MetadataRecord::RegisterController(record) => {
            format!("register controller {}", record.controller_id)
        }
        other => other.name().to_string(),
    }
}
