//! Where the partitions led here stand in the shard's table: by key, and by replica of a directory. An entry is a position, about
//! ten bytes with its share of free room; what it is found by stays in the partition (`partition.rs`), once for both.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use odradek_wal::ReplicaId;
use slab::Slab;
use std::hash::{BuildHasher, Hash};

use crate::command::PartitionKey;
use crate::partition::Partition;

/// Positions by what `Identity` takes from a partition.
#[derive(Debug)]
pub(crate) struct PartitionIndex<Identity> {
    positions: HashTable<u32>,
    hasher: FixedState,
    identity: fn(&Partition) -> Identity,
}

/// By topic id and number.
pub(crate) type KeyIndex = PartitionIndex<PartitionKey>;
/// By replica: of the partitions of one directory only.
pub(crate) type ReplicaIndex = PartitionIndex<ReplicaId>;

impl KeyIndex {
    pub(crate) fn by_key(hasher: FixedState) -> Self {
        Self::new(hasher, |partition| partition.key)
    }
}

impl ReplicaIndex {
    pub(crate) fn by_replica(hasher: FixedState) -> Self {
        Self::new(hasher, |partition| partition.replica)
    }
}

impl<Identity: Copy + Eq + Hash> PartitionIndex<Identity> {
    fn new(hasher: FixedState, identity: fn(&Partition) -> Identity) -> Self {
        PartitionIndex {
            positions: HashTable::new(),
            hasher,
            identity,
        }
    }

    /// Makes room at once for so many more.
    pub(crate) fn reserve(&mut self, partitions: &Slab<Partition>, more: usize) {
        let (hasher, identity) = (&self.hasher, self.identity);
        self.positions.reserve(more, |position| {
            hasher.hash_one(identity(&partitions[*position as usize]))
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.positions.len()
    }

    pub(crate) fn get(&self, partitions: &Slab<Partition>, wanted: &Identity) -> Option<u32> {
        let found = self
            .positions
            .find(self.hasher.hash_one(wanted), |position| {
                (self.identity)(&partitions[*position as usize]) == *wanted
            });
        found.copied()
    }

    /// Adds the partition at `position`, which is in the table and not in the index.
    pub(crate) fn insert(&mut self, partitions: &Slab<Partition>, position: u32) {
        let (hasher, identity) = (&self.hasher, self.identity);
        let hash_of = |position: &u32| hasher.hash_one(identity(&partitions[*position as usize]));
        let hash = hash_of(&position);
        self.positions.insert_unique(hash, position, hash_of);
    }

    /// Takes the partition at `position` out; it is still in the table.
    pub(crate) fn remove(&mut self, partitions: &Slab<Partition>, position: u32) {
        let hash = self
            .hasher
            .hash_one((self.identity)(&partitions[position as usize]));
        let found = self.positions.find_entry(hash, |other| *other == position);
        if let Ok(entry) = found {
            entry.remove();
        }
    }

    /// All positions, in no order.
    pub(crate) fn positions(&self) -> impl Iterator<Item = u32> + '_ {
        self.positions.iter().copied()
    }
}
