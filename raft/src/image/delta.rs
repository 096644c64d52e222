//! What changed between two published images: small enough to be made for every publication, in an order that does not depend on
//! chance, and easy to part by shard. The builder fills it (`topics_builder.rs`, `apply.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use odradek_protocol::{StrBytes, Uuid};

use super::topics::TopicsImage;
use super::{ConfigResource, MetadataImage};

/// One partition that is new or changed: 16 bytes. Index and slot are those of the image published with the delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionChange {
    /// The topic's index: `TopicsImage::by_index`.
    pub topic_index: u32,
    /// The partition's number.
    pub partition: i32,
    /// The partition's slot: `TopicsImage::by_slot`.
    pub slot: u32,
    created: u32,
}

const _: () = assert!(size_of::<PartitionChange>() == 16);

impl PartitionChange {
    pub(super) fn new(topic_index: u32, partition: i32, slot: u32, created: bool) -> Self {
        PartitionChange {
            topic_index,
            partition,
            slot,
            created: u32::from(created),
        }
    }

    /// Whether the partition was not in the image before.
    pub fn is_created(&self) -> bool {
        self.created != 0
    }
}

/// A topic that the image before had and this one has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its id.
    pub id: Uuid,
    /// Its name; another topic may have it by now.
    pub name: Arc<str>,
    /// Its index in the image before.
    pub index: u32,
    /// How many partitions it had when it went, numbered from 0 on; the image before may have fewer.
    pub partition_count: i32,
}

/// Changes of topics and partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicsDelta {
    /// Ids of new topics; asked for, never listed, so that their order is nobody's matter. None of a snapshot that was loaded: all are new.
    pub created: HashSet<Uuid, FixedState>,
    /// Topics that are gone, in the order they went.
    pub deleted: Vec<DeletedTopic>,
    /// New and changed partitions, ordered by topic index and number, each once.
    pub partitions: Vec<PartitionChange>,
    /// Indexes of topics that came and went within the delta: their changes mean nothing.
    pub(super) vanished: Vec<u32>,
}

impl TopicsDelta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.created.is_empty() && self.deleted.is_empty() && self.partitions.is_empty()
    }

    /// Parts the partition changes by shard, keeping their order: `shard_of(topic id, partition)` gives a number below `shards`.
    pub fn split(
        &self,
        topics: &TopicsImage,
        shards: usize,
        mut shard_of: impl FnMut(Uuid, i32) -> usize,
    ) -> Vec<Vec<PartitionChange>> {
        let mut parts = vec![Vec::new(); shards];
        for change in &self.partitions {
            if let Some(topic) = topics.by_index(change.topic_index) {
                parts[shard_of(topic.id(), change.partition)].push(*change);
            }
        }
        parts
    }

    /// Orders the changes, keeps one per partition, and drops those of topics that are gone.
    pub(super) fn settle(&mut self) {
        let gone: BTreeSet<u32> = self
            .deleted
            .iter()
            .map(|topic| topic.index)
            .chain(self.vanished.drain(..))
            .collect();
        if !gone.is_empty() {
            self.partitions
                .retain(|change| !gone.contains(&change.topic_index));
        }
        // Mostly some runs that are sorted already: a stable sort merges them. Created sorts after changed: keep the last of equal ones.
        self.partitions.sort();
        self.partitions.reverse();
        self.partitions
            .dedup_by_key(|change| (change.topic_index, change.partition));
        self.partitions.reverse();
    }

    /// Adds later changes; [`TopicsDelta::settle_merged`] is due after the last.
    fn add(&mut self, later: TopicsDelta) {
        let mut gone = BTreeSet::new();
        for topic in later.deleted {
            gone.insert(topic.index);
            if !self.created.remove(&topic.id) {
                self.deleted.push(topic);
            }
        }
        // Only what was recorded before the deletion is dropped: a later topic may use the index again.
        if !gone.is_empty() {
            self.partitions
                .retain(|change| !gone.contains(&change.topic_index));
        }
        self.created.extend(later.created);
        self.partitions.extend(later.partitions);
    }

    fn settle_merged(&mut self) {
        let deleted = std::mem::take(&mut self.deleted);
        self.settle();
        self.deleted = deleted;
    }
}

/// All changes since the image before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataDelta {
    /// Topics and partitions.
    pub topics: TopicsDelta,
    /// Resources whose configs changed, deleted ones too.
    pub configs: BTreeSet<ConfigResource>,
    /// Features whose level changed.
    pub features: BTreeSet<StrBytes>,
    /// Brokers that came, went, were fenced or changed.
    pub brokers: BTreeSet<i32>,
    /// Controllers that came, went or changed.
    pub controllers: BTreeSet<i32>,
    /// Whether client quotas changed.
    pub client_quotas: bool,
    /// Whether the next producer id changed.
    pub producer_ids: bool,
    /// Whether ACLs changed.
    pub acls: bool,
    /// Whether SCRAM credentials changed.
    pub scram: bool,
    /// Whether delegation tokens changed.
    pub delegation_tokens: bool,
}

impl MetadataDelta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == MetadataDelta::default()
    }

    /// Adds the changes of a later delta of the same line of images.
    pub fn merge(&mut self, later: MetadataDelta) {
        self.add(later);
        self.settle_merged();
    }

    /// As [`MetadataDelta::merge`], for many in a row: [`MetadataDelta::settle_merged`] is due after the last.
    pub(crate) fn add(&mut self, later: MetadataDelta) {
        self.topics.add(later.topics);
        self.configs.extend(later.configs);
        self.features.extend(later.features);
        self.brokers.extend(later.brokers);
        self.controllers.extend(later.controllers);
        self.client_quotas |= later.client_quotas;
        self.producer_ids |= later.producer_ids;
        self.acls |= later.acls;
        self.scram |= later.scram;
        self.delegation_tokens |= later.delegation_tokens;
    }

    /// Orders what was added.
    pub(crate) fn settle_merged(&mut self) {
        self.topics.settle_merged();
    }

    /// The changes from one image to another of any origin: after a snapshot was loaded. Costs a walk over both.
    pub fn between(before: &MetadataImage, after: &MetadataImage) -> MetadataDelta {
        MetadataDelta {
            topics: topics_between(&before.topics, &after.topics),
            configs: changed_keys(before.configs.iter(), |key| after.configs.get(key))
                .chain(changed_keys(after.configs.iter(), |key| {
                    before.configs.get(key)
                }))
                .collect(),
            features: changed_keys(before.features.iter(), |key| after.features.get(key))
                .chain(changed_keys(after.features.iter(), |key| {
                    before.features.get(key)
                }))
                .collect(),
            brokers: changed_keys(before.brokers.iter(), |key| after.brokers.get(key))
                .chain(changed_keys(after.brokers.iter(), |key| {
                    before.brokers.get(key)
                }))
                .collect(),
            controllers: changed_keys(before.controllers.iter(), |key| after.controllers.get(key))
                .chain(changed_keys(after.controllers.iter(), |key| {
                    before.controllers.get(key)
                }))
                .collect(),
            client_quotas: before.client_quotas != after.client_quotas,
            producer_ids: before.next_producer_id != after.next_producer_id,
            acls: before.acls != after.acls,
            scram: before.scram != after.scram,
            delegation_tokens: before.delegation_tokens != after.delegation_tokens,
        }
    }
}

fn changed_keys<'a, K: Clone + 'a, V: PartialEq + 'a>(
    entries: impl Iterator<Item = (&'a K, &'a V)>,
    other: impl Fn(&K) -> Option<&'a V>,
) -> impl Iterator<Item = K> {
    entries
        .filter(move |(key, value)| other(key) != Some(*value))
        .map(|(key, _)| key.clone())
}

fn topics_between(before: &TopicsImage, after: &TopicsImage) -> TopicsDelta {
    let mut delta = TopicsDelta::default();
    for topic in before
        .iter()
        .filter(|topic| after.by_id(topic.id()).is_none())
    {
        delta.deleted.push(DeletedTopic {
            id: topic.id(),
            name: topic.name().clone(),
            index: topic.index(),
            partition_count: topic.partition_count(),
        });
    }
    for topic in after.iter() {
        let known = before.by_id(topic.id());
        if known.is_none() {
            delta.created.insert(topic.id());
        }
        for (number, view) in topic.partitions() {
            let old = known.and_then(|known| known.partition(number));
            if old.is_none_or(|old| old.to_partition() != view.to_partition()) {
                let change =
                    PartitionChange::new(topic.index(), number, view.slot(), old.is_none());
                delta.partitions.push(change);
            }
        }
    }
    delta.partitions.sort_unstable();
    delta
}
