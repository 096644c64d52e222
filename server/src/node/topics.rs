//! Questions that handlers ask of the metadata image: topics by name and id, leaders, brokers and their addresses.

use super::Core;
use odradek_protocol::Uuid;
use odradek_raft::image::TopicView;
use std::sync::Arc;

/// A topic, found.
#[derive(Clone, Debug)]
pub struct TopicFound {
    pub name: Arc<str>,
    pub id: Uuid,
    /// Partitions are numbered from 0 to one below this.
    pub partitions: i32,
}

/// A broker as one listener's clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerEndpoint {
    pub id: i32,
    pub host: String,
    pub port: u16,
    pub rack: Option<String>,
    pub fenced: bool,
}

impl Core {
    pub(crate) fn topic_by_name(&self, name: &str) -> Option<TopicFound> {
        self.image.topics.by_name(name).map(found)
    }

    pub(crate) fn topic_by_id(&self, id: Uuid) -> Option<TopicFound> {
        self.image.topics.by_id(id).map(found)
    }

    /// Leader and leader epoch of a partition; -1 where it has no leader.
    pub(crate) fn leader_of(&self, topic_id: Uuid, partition: i32) -> Option<(i32, i32)> {
        let partition = self.image.topics.partition(topic_id, partition)?;
        Some((partition.leader(), partition.leader_epoch()))
    }

    /// Unfenced brokers as clients of a listener reach them, by id.
    pub(crate) fn broker_endpoints(&self, listener: u16) -> Vec<BrokerEndpoint> {
        let mut brokers = self.all_broker_endpoints(listener);
        brokers.retain(|broker| !broker.fenced);
        brokers
    }

    /// All registered brokers that have the listener, fenced ones too, by id.
    pub(crate) fn all_broker_endpoints(&self, listener: u16) -> Vec<BrokerEndpoint> {
        let own = &self.options.listeners[usize::from(listener)];
        let name = if own.controller {
            &self.options.listeners[0].name
        } else {
            &own.name
        };
        let brokers = self.image.brokers.values();
        brokers
            .filter_map(|broker| {
                let listener = broker.listener(name)?;
                Some(BrokerEndpoint {
                    id: broker.id,
                    host: listener.host.to_string(),
                    port: listener.port,
                    rack: broker.rack.as_ref().map(ToString::to_string),
                    fenced: broker.fenced,
                })
            })
            .collect()
    }
}

fn found(topic: TopicView<'_>) -> TopicFound {
    TopicFound {
        name: topic.name().clone(),
        id: topic.id(),
        partitions: topic.partition_count(),
    }
}
