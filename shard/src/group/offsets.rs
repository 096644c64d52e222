//! Committed offsets: what is durable, and what is under way.
//!
//! A commit is visible to readers only once its record is durable. Until then it is kept beside the
//! durable value under its append's id, because later decisions (is there anything to delete?) must
//! see it. Appends of one partition are reported in order; a success settles what came before it.

use std::collections::BTreeMap;

use odradek_protocol::{StrBytes, Uuid};
use smallvec::SmallVec;

use super::api::AppendId;

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommittedOffset {
    pub offset: i64,
    /// Leader epoch of the last consumed record, -1 when unknown.
    pub leader_epoch: i32,
    pub metadata: StrBytes,
    /// Wall clock, milliseconds.
    pub commit_timestamp_ms: i64,
    /// Only when the client asked for its own retention (OffsetCommit up to version 4).
    pub expire_timestamp_ms: Option<i64>,
    /// The topic's id when the commit named it, else zero.
    pub topic_id: Uuid,
}

/// Names one offset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OffsetKey {
    pub group: StrBytes,
    pub topic: StrBytes,
    pub partition: i32,
}

/// One partition's offset in one group.
#[derive(Debug, Default)]
pub(super) struct Slot {
    durable: Option<CommittedOffset>,
    under_way: SmallVec<[(AppendId, Option<CommittedOffset>); 1]>,
}

impl Slot {
    /// What readers see.
    pub fn durable(&self) -> Option<&CommittedOffset> {
        self.durable.as_ref()
    }

    /// What it will be if all that is under way succeeds.
    pub fn latest(&self) -> Option<&CommittedOffset> {
        match self.under_way.last() {
            Some((_, value)) => value.as_ref(),
            None => self.durable.as_ref(),
        }
    }
}

/// The partitions of one topic.
pub(super) type Partitions = BTreeMap<i32, Slot>;
/// The topics of one group.
pub(super) type Topics = BTreeMap<StrBytes, Partitions>;

/// All offsets of one coordinator.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    groups: BTreeMap<StrBytes, Topics>,
    durable_count: usize,
}

impl Offsets {
    /// The topics of a group with any offset, durable or under way.
    pub fn topics(&self, group: &StrBytes) -> Option<&Topics> {
        self.groups.get(group)
    }

    /// One slot.
    pub fn slot(&self, group: &StrBytes, topic: &StrBytes, partition: i32) -> Option<&Slot> {
        self.groups.get(group)?.get(topic)?.get(&partition)
    }

    /// How many offsets are durable.
    pub fn durable_count(&self) -> usize {
        self.durable_count
    }

    /// Every offset of a group that is there or on its way, in order.
    pub fn keys_of(&self, group: &StrBytes) -> Vec<OffsetKey> {
        let mut keys = Vec::new();
        for (topic, partitions) in self.groups.get(group).into_iter().flatten() {
            for (partition, slot) in partitions {
                if slot.latest().is_some() {
                    keys.push(OffsetKey {
                        group: group.clone(),
                        topic: topic.clone(),
                        partition: *partition,
                    });
                }
            }
        }
        keys
    }

    /// Every offset of a topic in any group, in order.
    pub fn keys_of_topic(&self, topic: &StrBytes) -> Vec<OffsetKey> {
        let mut keys = Vec::new();
        for (group, topics) in &self.groups {
            for (partition, slot) in topics.get(topic).into_iter().flatten() {
                if slot.latest().is_some() {
                    keys.push(OffsetKey {
                        group: group.clone(),
                        topic: topic.clone(),
                        partition: *partition,
                    });
                }
            }
        }
        keys
    }

    /// A write has been handed to the log; no value removes the offset.
    pub fn begin(&mut self, append: AppendId, key: &OffsetKey, value: Option<CommittedOffset>) {
        let slot = self.slot_mut(key);
        let in_order = slot
            .under_way
            .last()
            .is_none_or(|(last, _)| *last <= append);
        assert!(in_order, "append ids only grow");
        match slot.under_way.last_mut() {
            // One request may name a partition twice; the last one counts, as in the log.
            Some((last, pending)) if *last == append => *pending = value,
            _ => slot.under_way.push((append, value)),
        }
    }

    /// A write is durable, or has failed and never was.
    pub fn settle(&mut self, append: AppendId, key: &OffsetKey, is_durable: bool) {
        let Some(slot) = self
            .groups
            .get_mut(&key.group)
            .and_then(|topics| topics.get_mut(&key.topic))
        else {
            return;
        };
        let Some(slot) = slot.get_mut(&key.partition) else {
            return;
        };
        let Some(index) = slot.under_way.iter().position(|(id, _)| *id == append) else {
            return;
        };
        let (_, value) = slot.under_way.remove(index);
        if is_durable {
            // Whatever was handed to the log before this lies before it there.
            slot.under_way.drain(..index);
            self.durable_count -= usize::from(slot.durable.is_some());
            self.durable_count += usize::from(value.is_some());
            slot.durable = value;
        }
        self.drop_if_empty(key);
    }

    /// A record read back from the log.
    pub fn load(&mut self, key: &OffsetKey, value: Option<CommittedOffset>) {
        let added = usize::from(value.is_some());
        let slot = self.slot_mut(key);
        let removed = usize::from(slot.durable.is_some());
        slot.durable = value;
        self.durable_count = self.durable_count + added - removed;
        self.drop_if_empty(key);
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.groups.clear();
        self.durable_count = 0;
    }

    fn slot_mut(&mut self, key: &OffsetKey) -> &mut Slot {
        self.groups
            .entry(key.group.clone())
            .or_default()
            .entry(key.topic.clone())
            .or_default()
            .entry(key.partition)
            .or_default()
    }

    fn drop_if_empty(&mut self, key: &OffsetKey) {
        let Some(topics) = self.groups.get_mut(&key.group) else {
            return;
        };
        let Some(partitions) = topics.get_mut(&key.topic) else {
            return;
        };
        let is_empty = partitions
            .get(&key.partition)
            .is_some_and(|slot| slot.durable.is_none() && slot.under_way.is_empty());
        if is_empty {
            partitions.remove(&key.partition);
        }
        if partitions.is_empty() {
            topics.remove(&key.topic);
        }
        if topics.is_empty() {
            self.groups.remove(&key.group);
        }
    }
}
