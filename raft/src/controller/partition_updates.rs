//! Which partitions change when a broker goes, comes, or loses a directory. What changes in each is in `partition_change.rs`.
//!
//! A partition with a sole replica gets no record when its broker goes: nobody else can lead and nobody can diverge, and a lone node with
//! two million of them would write 200 MB for one restart (case 6). Its leader stays written while the broker is fenced; the broker's own
//! fence says that nobody serves it.

use std::collections::BTreeSet;

use odradek_protocol::Uuid;
use odradek_protocol::metadata_records::MetadataRecord;

use super::QuorumController;
use super::partition_change::{Election, PartitionChangeBuilder};
use crate::image::{NO_LEADER, PartitionView, TopicView};

/// What happens to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokerChange<'a> {
    /// It is fenced, leaves, or is replaced by a new incarnation.
    Goes,
    /// It stopped without saying so: what it acknowledged may be gone.
    GoesUncleanly,
    /// It may lead again.
    Comes,
    /// These directories of it failed.
    LosesDirectories(&'a BTreeSet<Uuid>),
}

impl QuorumController {
    /// The records that a change of `broker` brings: those that move a leader first, then those that only shrink an ISR.
    pub(super) fn partition_updates(
        &self,
        broker: i32,
        change: BrokerChange<'_>,
    ) -> Vec<MetadataRecord> {
        let mut leading = Vec::new();
        let mut others = Vec::new();
        // Where partitions lie side by side: mostly nothing is to be changed, and a walk by topic meets each where memory was not asked yet.
        let mut all = self.topics().partitions();
        if !all.any(|partition| is_touched(&partition, broker, change)) {
            return leading;
        }
        for topic in self.topics().iter() {
            let mut rules = None;
            for (number, partition) in topic.partitions() {
                if !is_touched(&partition, broker, change) {
                    continue;
                }
                let rules = rules.get_or_insert_with(|| self.topic_rules(topic.name()));
                let record =
                    self.partition_update(&topic, number, &partition, broker, change, rules);
                match record {
                    Some(MetadataRecord::PartitionChange(record)) if record.leader != -2 => {
                        leading.push(record.into());
                    }
                    Some(record) => others.push(record),
                    None => {}
                }
            }
        }
        leading.append(&mut others);
        leading
    }

    /// Whether the broker leads something that another could lead: what a controlled shutdown waits for.
    pub(super) fn has_leaderships(&self, broker: i32) -> bool {
        self.topics()
            .partitions()
            .any(|partition| partition.leader() == broker && partition.replicas().len() > 1)
    }

    fn partition_update(
        &self,
        topic: &TopicView<'_>,
        number: i32,
        partition: &PartitionView<'_>,
        broker: i32,
        change: BrokerChange<'_>,
        rules: &TopicRules,
    ) -> Option<MetadataRecord> {
        let known = partition.to_partition();
        let goes = change != BrokerChange::Comes;
        let image = self.image();
        let is_leaving = image
            .brokers
            .get(&broker)
            .is_some_and(|known| known.in_controlled_shutdown);
        let may_lead = |candidate: i32| {
            let alive = if candidate == broker {
                !goes && !is_leaving
            } else {
                image.is_active_broker(candidate)
            };
            alive && self.has_online_directory(partition, candidate)
        };
        let isr = match change {
            BrokerChange::Comes => known.isr.clone(),
            _ => known
                .isr
                .iter()
                .copied()
                .filter(|&id| id != broker)
                .collect(),
        };
        let unclean: &[i32] = match change {
            BrokerChange::GoesUncleanly => &[broker],
            _ => &[],
        };
        PartitionChangeBuilder::new(topic.id(), number, &known, may_lead)
            .rules(
                rules.min_isr,
                image.is_elr_enabled(),
                image.metadata_version(),
            )
            .election(rules.election)
            .isr(isr)
            .unclean(unclean)
            .build()
            .map(MetadataRecord::PartitionChange)
    }

    /// Whether a broker's replica lies where it can be served from.
    pub(super) fn has_online_directory(&self, partition: &PartitionView<'_>, broker: i32) -> bool {
        match (
            self.image().brokers.get(&broker),
            partition.directory_of(broker),
        ) {
            (Some(broker), Some(directory)) => broker.has_online_directory(directory),
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// What a topic's configs say of elections.
    pub(super) fn topic_rules(&self, topic: &str) -> TopicRules {
        let layers = self.config_layers(Some(topic));
        let unclean = layers.topic_text("unclean.leader.election.enable");
        TopicRules {
            min_isr: layers
                .topic_number("min.insync.replicas")
                .unwrap_or(1)
                .max(1) as usize,
            election: match unclean.is_some_and(|text| text.trim().eq_ignore_ascii_case("true")) {
                true => Election::Unclean,
                false => Election::Online,
            },
        }
    }
}

/// See [`QuorumController::topic_rules`].
#[derive(Clone, Copy, Debug)]
pub(super) struct TopicRules {
    pub(super) min_isr: usize,
    pub(super) election: Election,
}

fn is_touched(partition: &PartitionView<'_>, broker: i32, change: BrokerChange<'_>) -> bool {
    match change {
        BrokerChange::Goes => {
            partition.replicas().len() > 1
                && (partition.isr().contains(&broker) || partition.leader() == broker)
        }
        BrokerChange::GoesUncleanly => {
            partition.replicas().len() > 1
                && (partition.isr().contains(&broker)
                    || partition.leader() == broker
                    || partition.eligible_leaders().contains(&broker))
        }
        BrokerChange::Comes => {
            partition.leader() == NO_LEADER && partition.replicas().contains(&broker)
        }
        BrokerChange::LosesDirectories(directories) => {
            (partition.isr().contains(&broker) || partition.leader() == broker)
                && partition
                    .directory_of(broker)
                    .is_some_and(|directory| directories.contains(&directory))
        }
    }
}
