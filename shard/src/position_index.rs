//! Where partitions and topics stand in the shard's tables: by key, by topic id. An entry is a position, about
//! ten bytes with its share of free room; what it is found by stays in the item (`partition.rs`), once for all. An index is many small
//! tables, so that one of millions grows a little at a time.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use odradek_wal::TopicId;
use std::hash::{BuildHasher, Hash};

use crate::command::PartitionKey;
use crate::partition::Partition;
use crate::shard::Topic;
use crate::table::Table;

/// A table that doubles hashes all that it holds again: of two million, each holds two thousand.
const TABLES: usize = 1_024;

/// Positions by what `Identity` takes from an item.
#[derive(Debug)]
pub(crate) struct PositionIndex<Item, Identity> {
    tables: Vec<HashTable<u32>>,
    hasher: FixedState,
    identity: fn(&Item) -> Identity,
}

/// Partitions by topic id and number.
pub(crate) type KeyIndex = PositionIndex<Partition, PartitionKey>;
/// Topics by id.
pub(crate) type TopicIndex = PositionIndex<Topic, TopicId>;

impl KeyIndex {
    pub(crate) fn by_key(hasher: FixedState) -> Self {
        Self::new(hasher, |partition| partition.key)
    }
}

impl TopicIndex {
    pub(crate) fn by_topic_id(hasher: FixedState) -> Self {
        Self::new(hasher, |topic| topic.id)
    }
}

/// Bits that the tables themselves look at neither first nor last.
fn table_of(hash: u64) -> usize {
    (hash >> 32) as usize % TABLES
}

impl<Item, Identity: Copy + Eq + Hash> PositionIndex<Item, Identity> {
    fn new(hasher: FixedState, identity: fn(&Item) -> Identity) -> Self {
        PositionIndex {
            tables: Vec::new(),
            hasher,
            identity,
        }
    }

    /// Makes room at once for so many more, which fall into the tables about evenly.
    pub(crate) fn reserve(&mut self, items: &Table<Item>, more: usize) {
        if self.tables.is_empty() {
            self.tables.resize_with(TABLES, HashTable::new);
        }
        let each = more / TABLES + more / TABLES / 8;
        let (hasher, identity) = (&self.hasher, self.identity);
        for table in &mut self.tables {
            table.reserve(each, |position| {
                hasher.hash_one(identity(&items[*position as usize]))
            });
        }
    }

    pub(crate) fn get(&self, items: &Table<Item>, wanted: &Identity) -> Option<u32> {
        let hash = self.hasher.hash_one(wanted);
        let found = self.tables.get(table_of(hash))?.find(hash, |position| {
            (self.identity)(&items[*position as usize]) == *wanted
        });
        found.copied()
    }

    /// Adds the item at `position`, which is in the table and not in the index.
    pub(crate) fn insert(&mut self, items: &Table<Item>, position: u32) {
        if self.tables.is_empty() {
            self.tables.resize_with(TABLES, HashTable::new);
        }
        let (hasher, identity) = (&self.hasher, self.identity);
        let hash_of = |position: &u32| hasher.hash_one(identity(&items[*position as usize]));
        let hash = hash_of(&position);
        self.tables[table_of(hash)].insert_unique(hash, position, hash_of);
    }

    /// Takes the item at `position` out; it is still in the table.
    pub(crate) fn remove(&mut self, items: &Table<Item>, position: u32) {
        let hash = self
            .hasher
            .hash_one((self.identity)(&items[position as usize]));
        let Some(table) = self.tables.get_mut(table_of(hash)) else {
            return;
        };
        if let Ok(entry) = table.find_entry(hash, |other| *other == position) {
            entry.remove();
        }
    }
}
