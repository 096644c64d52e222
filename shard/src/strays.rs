//! Replicas that a log holds and the metadata does not name (case 17).
//!
//! An image behind the log would make every new partition look stray, so that they are judged only when the
//! broker is unfenced and the image is at or past every Create of the logs. More than a tenth of all
//! replicas stray looks like a foreign metadata log: then nothing is deleted until an operator says so. And
//! stray bytes rest before they go.

use std::collections::BTreeMap;

use odradek_wal::{Log, ReplicaId};
use smallvec::SmallVec;

use crate::command::PartitionKey;
use crate::message::Message;
use crate::shard::{Deadline, Shard};

/// One in so many replicas may be stray before an operator is asked.
const STRAY_SHARE: usize = 10;

/// Recovered replicas that no partition has claimed.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    unclaimed: BTreeMap<PartitionKey, SmallVec<[(usize, ReplicaId); 1]>>,
    recovered: usize,
    metadata_offset_max: i64,
    judged: bool,
    held: bool,
    allowed: bool,
}

impl Strays {
    /// Takes in all replicas of a recovered log.
    pub(crate) fn note_log(&mut self, directory: usize, log: &Log) {
        for (replica, state) in log.replicas() {
            let key = PartitionKey {
                topic_id: state.topic_id,
                partition: state.partition,
            };
            self.unclaimed
                .entry(key)
                .or_default()
                .push((directory, replica));
            self.recovered += 1;
            self.metadata_offset_max = self.metadata_offset_max.max(state.metadata_offset);
        }
    }

    /// The replica that a partition adopts: the one in the directory assigned, else the only or newest one.
    pub(crate) fn claim(
        &mut self,
        key: &PartitionKey,
        assigned: Option<usize>,
    ) -> Option<(usize, ReplicaId)> {
        let copies = self.unclaimed.get_mut(key)?;
        let index = copies
            .iter()
            .rposition(|copy| Some(copy.0) == assigned)
            .unwrap_or(copies.len() - 1);
        let claimed = copies.remove(index);
        if copies.is_empty() {
            self.unclaimed.remove(key);
        }
        Some(claimed)
    }

    /// How many wait for an operator's word.
    pub(crate) fn held(&self) -> usize {
        if self.held { self.count() } else { 0 }
    }

    fn count(&self) -> usize {
        self.unclaimed.values().map(SmallVec::len).sum()
    }

    fn take(&mut self, directory: usize, replica: ReplicaId) -> Option<PartitionKey> {
        let holds =
            |copies: &SmallVec<[(usize, ReplicaId); 1]>| copies.contains(&(directory, replica));
        let key = self
            .unclaimed
            .iter()
            .find(|(_, copies)| holds(copies))
            .map(|(key, _)| *key)?;
        let copies = self.unclaimed.get_mut(&key)?;
        copies.retain(|copy| *copy != (directory, replica));
        if copies.is_empty() {
            self.unclaimed.remove(&key);
        }
        Some(key)
    }
}

impl Shard {
    pub(crate) fn judge_strays(&mut self, metadata_offset: i64, unfenced: bool) {
        if self.strays.judged || !unfenced || metadata_offset < self.strays.metadata_offset_max {
            return;
        }
        self.strays.judged = true;
        let strays = self.strays.count();
        let replicas = self.strays.recovered;
        if strays * STRAY_SHARE > replicas && !self.strays.allowed {
            self.strays.held = true;
            return self.message(Message::StraysHeld { strays, replicas });
        }
        self.rest_strays();
    }

    pub(crate) fn allow_strays(&mut self) {
        self.strays.allowed = true;
        if std::mem::take(&mut self.strays.held) {
            self.rest_strays();
        }
    }

    fn rest_strays(&mut self) {
        let rest_ms = self.options.stray_rest_ms;
        let at_us = self.after_ms(rest_ms);
        let unclaimed = std::mem::take(&mut self.strays.unclaimed);
        for (key, copies) in &unclaimed {
            for (directory, replica) in copies {
                self.message(Message::StrayFound { key: *key, rest_ms });
                self.deadlines
                    .insert(at_us, Deadline::Stray(*directory as u32, *replica));
            }
        }
        self.strays.unclaimed = unclaimed;
    }

    /// The rest is over. One that a partition has claimed meanwhile is no stray any more.
    pub(crate) fn delete_stray(&mut self, directory: usize, replica: ReplicaId) {
        if let Some(key) = self.strays.take(directory, replica) {
            self.delete_replica(directory, replica, key);
            self.message(Message::StrayDeleted { key });
        }
    }
}
