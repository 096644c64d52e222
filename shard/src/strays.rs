//! Replicas that a log holds and the metadata does not name (case 17).
//!
//! An image behind the log would make every new partition look stray, so that they are judged only when the
//! broker is unfenced and the image is at or past every Create of the logs. More than a tenth of all
//! replicas stray looks like a foreign metadata log: then nothing is deleted until an operator says so. And
//! stray bytes rest before they go.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use odradek_wal::{Log, ReplicaId};
use std::hash::BuildHasher;

use crate::command::PartitionKey;
use crate::directory::Directory;
use crate::message::Message;
use crate::shard::{Deadline, Shard};

/// One in so many replicas may be stray before an operator is asked.
const STRAY_SHARE: usize = 10;

/// Recovered replicas that no partition has claimed.
#[derive(Debug)]
pub(crate) struct Strays {
    /// By topic and partition, which their logs know.
    unclaimed: HashTable<Unclaimed>,
    hasher: FixedState,
    recovered: usize,
    metadata_offset_max: i64,
    judged: bool,
    held: bool,
    allowed: bool,
}

/// A replica that waits to be claimed, 16 bytes: a start has one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Unclaimed {
    directory: u16,
    hash: u32,
    replica: ReplicaId,
}

const _: () = assert!(size_of::<Unclaimed>() == 16);

impl Unclaimed {
    /// The table looks at the lowest bits and at the highest.
    fn table_hash(&self) -> u64 {
        table_hash(self.hash)
    }

    fn key(&self, directories: &[Directory]) -> Option<PartitionKey> {
        let state = directories[usize::from(self.directory)]
            .log
            .replica(self.replica)?;
        Some(PartitionKey {
            topic_id: state.topic_id,
            partition: state.partition,
        })
    }
}

fn table_hash(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

impl Strays {
    /// None yet.
    pub(crate) fn new(hasher: FixedState) -> Self {
        Strays {
            unclaimed: HashTable::new(),
            hasher,
            recovered: 0,
            metadata_offset_max: 0,
            judged: false,
            held: false,
            allowed: false,
        }
    }

    /// Takes in all replicas of a recovered log.
    pub(crate) fn note_log(&mut self, directory: usize, log: &Log) {
        let replicas = log.statistics().replicas as usize;
        self.unclaimed.reserve(replicas, Unclaimed::table_hash);
        for (replica, state) in log.replicas() {
            let key = PartitionKey {
                topic_id: state.topic_id,
                partition: state.partition,
            };
            let unclaimed = Unclaimed {
                directory: directory as u16,
                hash: self.hash(&key),
                replica,
            };
            self.unclaimed
                .insert_unique(unclaimed.table_hash(), unclaimed, Unclaimed::table_hash);
            self.recovered += 1;
            self.metadata_offset_max = self.metadata_offset_max.max(state.metadata_offset);
        }
    }

    fn hash(&self, key: &PartitionKey) -> u32 {
        self.hasher.hash_one(key) as u32
    }

    /// The replica that a partition adopts: the one in the directory assigned, else the only or newest one.
    pub(crate) fn claim(
        &mut self,
        directories: &[Directory],
        key: &PartitionKey,
        assigned: Option<usize>,
    ) -> Option<(usize, ReplicaId)> {
        let hash = table_hash(self.hash(key));
        let of_key = |unclaimed: &&Unclaimed| unclaimed.key(directories).as_ref() == Some(key);
        let found = self
            .unclaimed
            .iter_hash(hash)
            .filter(of_key)
            .max_by_key(|unclaimed| {
                let is_assigned = Some(usize::from(unclaimed.directory)) == assigned;
                (is_assigned, **unclaimed)
            });
        let found = *found?;
        self.remove(found);
        Some((usize::from(found.directory), found.replica))
    }

    fn remove(&mut self, unclaimed: Unclaimed) {
        let hash = unclaimed.table_hash();
        if let Ok(entry) = self.unclaimed.find_entry(hash, |other| *other == unclaimed) {
            entry.remove();
        }
        if self.unclaimed.is_empty() {
            self.unclaimed = HashTable::new();
        }
    }

    /// How many wait for an operator's word.
    pub(crate) fn held(&self) -> usize {
        if self.held { self.count() } else { 0 }
    }

    fn count(&self) -> usize {
        self.unclaimed.len()
    }

    /// All that are left, by key.
    fn sorted(&self, directories: &[Directory]) -> Vec<(PartitionKey, usize, ReplicaId)> {
        let mut left: Vec<_> = self
            .unclaimed
            .iter()
            .filter_map(|unclaimed| {
                let key = unclaimed.key(directories)?;
                Some((key, usize::from(unclaimed.directory), unclaimed.replica))
            })
            .collect();
        left.sort_unstable_by_key(|(key, directory, replica)| (*key, *directory, *replica));
        left
    }

    fn take(
        &mut self,
        directories: &[Directory],
        directory: usize,
        replica: ReplicaId,
    ) -> Option<PartitionKey> {
        let is_wanted = |unclaimed: &&Unclaimed| {
            usize::from(unclaimed.directory) == directory && unclaimed.replica == replica
        };
        let found = *self.unclaimed.iter().find(is_wanted)?;
        self.remove(found);
        found.key(directories)
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
        for (key, directory, replica) in self.strays.sorted(&self.directories) {
            self.message(Message::StrayFound { key, rest_ms });
            self.deadlines
                .insert(at_us, Deadline::Stray(directory as u32, replica));
        }
    }

    /// The rest is over. One that a partition has claimed meanwhile is no stray any more.
    pub(crate) fn delete_stray(&mut self, directory: usize, replica: ReplicaId) {
        if let Some(key) = self.strays.take(&self.directories, directory, replica) {
            self.delete_replica(directory, replica, key);
            self.message(Message::StrayDeleted { key });
        }
    }
}
