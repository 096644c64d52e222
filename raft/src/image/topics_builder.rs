//! Changing topics: slots are given out and taken back, lists interned, and what changed since the last publication noted. Reading is in
//! `topics.rs`; which record does what is in `apply.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use odradek_protocol::Uuid;
use smallvec::SmallVec;

use super::delta::{DeletedTopic, PartitionChange, TopicsDelta};
use super::intern::{EMPTY, Interner};
use super::sorted::{Own, SortedChunks};
use super::topics::{
    ByName, PartitionEntry, PartitionView, Run, Runs, TopicEntry, TopicsImage, id_key,
};

/// The working copy of the topics, and the look-ups that only a writer needs.
#[derive(Clone, Debug)]
pub(super) struct TopicsBuilder {
    pub(super) image: TopicsImage,
    pub(super) delta: TopicsDelta,
    lists: Interner,
    directories: Interner,
    /// Free runs of slots: first slot to count.
    free_slots: BTreeMap<u32, u32>,
    free_indexes: Vec<u32>,
    /// Freed since the last publication: deltas still name them, so they wait for it.
    resting_slots: Vec<Run>,
    resting_indexes: Vec<u32>,
    /// The topic of the last record: records of one topic come together.
    last: Option<(Uuid, u32)>,
    /// While a snapshot is loaded, what is not in `image.by_id` yet.
    gathered_ids: Option<Vec<u64>>,
    /// One of two topics of a snapshot that have one id.
    pub(super) taken_id: Option<u32>,
    /// Renumbering is due when there are more lists than this.
    lists_max: usize,
    seed: u64,
}

/// Distinct lists below which renumbering is not worth a walk over all partitions.
const LISTS_FLOOR: usize = 65_536;

impl TopicsBuilder {
    pub(super) fn new(image: TopicsImage, seed: u64) -> TopicsBuilder {
        let lists = Interner::new(&image.lists, seed);
        let directories = Interner::new(&image.directories, seed);
        let mut builder = TopicsBuilder {
            image,
            delta: TopicsDelta::default(),
            lists,
            directories,
            free_slots: BTreeMap::new(),
            free_indexes: Vec::new(),
            resting_slots: Vec::new(),
            resting_indexes: Vec::new(),
            last: None,
            gathered_ids: None,
            taken_id: None,
            lists_max: LISTS_FLOOR,
            seed,
        };
        builder.find_free();
        builder
    }

    pub(super) fn index_of(&mut self, id: Uuid) -> Option<u32> {
        if let Some((known, index)) = self.last
            && known == id
        {
            return Some(index);
        }
        self.settle_ids();
        let index = self.image.index_of(id)?;
        self.last = Some((id, index));
        Some(index)
    }

    /// Ids of the topics created from now on are kept apart: in a list of millions each finds its place by way of memory that is far away, and
    /// sorting them all at the end takes a tenth of that. A topic that is not the last one created is not found until then.
    pub(super) fn gather_ids(&mut self) {
        self.gathered_ids = Some(Vec::new());
    }

    /// Sorts the ids gathered in; gathers no more.
    pub(super) fn settle_ids(&mut self) {
        let Some(mut ids) = self.gathered_ids.take() else {
            return;
        };
        ids.sort_unstable();
        let entries = &self.image.entries;
        let id_of = |key: &u64| Some(entries.get(*key as u32 as usize)?.as_ref()?.id);
        // Those of one hash stand together, by index.
        let alike = ids.chunk_by(|one, other| one >> 32 == other >> 32);
        for keys in alike.filter(|keys| keys.len() > 1) {
            let mut keys = keys.to_vec();
            keys.sort_unstable_by_key(id_of);
            let twice = keys.windows(2).find(|two| id_of(&two[0]) == id_of(&two[1]));
            self.taken_id = self.taken_id.or(twice.map(|two| two[1] as u32));
        }
        self.image.by_id = SortedChunks::of_sorted(&Own, &ids);
    }

    /// Adds a topic without partitions; false when its name or id was taken, and then this copy is spoilt.
    pub(super) fn create_topic(&mut self, name: &str, id: Uuid) -> bool {
        let entry = TopicEntry {
            name: Arc::from(name),
            id,
            runs: Runs::EMPTY,
        };
        let is_new = self.gathered_ids.is_some() || self.image.index_of(id).is_none();
        let index = match self.free_indexes.pop() {
            Some(index) => {
                *self.entry_mut(index) = Some(entry);
                index
            }
            None => self.image.entries.push(Some(entry)) as u32,
        };
        let image = &mut self.image;
        let is_named = image.by_name.insert(&ByName(&image.entries), index);
        let key = id_key(id, index);
        match &mut self.gathered_ids {
            Some(ids) => ids.push(key),
            None => {
                image.by_id.insert(&Own, key);
                self.delta.created.insert(id);
            }
        }
        self.last = Some((id, index));
        is_new && is_named
    }

    /// Sets a partition, new or known, and notes the change. `index` is that of a live topic.
    pub(super) fn set_entry(&mut self, index: u32, number: i32, entry: PartitionEntry) {
        let live = self.topic(index);
        let (slot, created) = match live.slot_of(number) {
            Some(slot) => (slot, false),
            None => (self.add_slot(index, number as u32), true),
        };
        *self.slot_mut(slot) = entry;
        self.delta
            .partitions
            .push(PartitionChange::new(index, number, slot, created));
    }

    /// A partition's entry, to be changed and set again.
    pub(super) fn entry(&self, index: u32, number: i32) -> Option<PartitionEntry> {
        let slot = self.topic(index).slot_of(number)?;
        self.image.slots.get(slot as usize).copied()
    }

    /// The number of a list of broker ids.
    pub(super) fn list(&mut self, list: &[i32]) -> u32 {
        self.lists.intern(&mut self.image.lists, list)
    }

    /// The number of a list of directories.
    pub(super) fn directory_list(&mut self, list: &[Uuid]) -> u32 {
        self.directories.intern(&mut self.image.directories, list)
    }

    /// The number of what a partition has beyond the common: 0 when it is all empty.
    pub(super) fn extras(&mut self, parts: [&[i32]; 4]) -> u32 {
        if parts.iter().all(|part| part.is_empty()) {
            return EMPTY;
        }
        let mut list: SmallVec<[i32; 16]> = SmallVec::new();
        for part in parts {
            list.push(part.len() as i32);
            list.extend_from_slice(part);
        }
        self.list(&list)
    }

    pub(super) fn delete_topic(&mut self, index: u32) {
        self.settle_ids();
        let name = self.topic(index).name.clone();
        let image = &mut self.image;
        image.by_name.remove(&ByName(&image.entries), &name);
        let entry = self
            .entry_mut(index)
            .take()
            .expect("the caller looked the topic up in this image");
        let partitions = entry.partitions();
        let runs = entry.runs.as_slice();
        for run in runs {
            for slot in run.first_slot..run.first_slot + run.count {
                *self.slot_mut(slot) = PartitionEntry::default();
            }
        }
        self.image.partition_count -= partitions as usize;
        self.image.by_id.remove(&Own, &id_key(entry.id, index));
        self.resting_slots.extend_from_slice(runs);
        self.resting_indexes.push(index);
        self.last = None;
        if !self.delta.created.remove(&entry.id) {
            self.delta.deleted.push(DeletedTopic {
                id: entry.id,
                name: entry.name,
                index,
                partition_count: partitions as i32,
            });
        } else {
            self.delta.vanished.push(index);
        }
    }

    pub(super) fn partition(&self, index: u32, number: i32) -> Option<PartitionView<'_>> {
        self.image.by_index(index)?.partition(number)
    }

    /// Hands out what changed since the last call, and lets freed slots be used again.
    pub(super) fn take_delta(&mut self) -> TopicsDelta {
        for run in std::mem::take(&mut self.resting_slots) {
            self.free(run.first_slot, run.count);
        }
        self.free_indexes.append(&mut self.resting_indexes);
        self.renumber_if_due(self.lists_max);
        // Low indexes first, so that the order of reuse does not depend on the order of deletion.
        self.free_indexes.sort_unstable_by(|a, b| b.cmp(a));
        let mut delta = std::mem::take(&mut self.delta);
        delta.settle();
        delta
    }

    /// Drops lists that no partition uses any more, by numbering those in use anew. Costs a walk over all partitions, so it is done when the
    /// lists have doubled since the last time: a constant share of the records that made them.
    pub(super) fn renumber_if_due(&mut self, lists_max: usize) {
        let count = self.image.lists.len() + self.image.directories.len();
        if count <= lists_max {
            return;
        }
        let old_lists = std::mem::take(&mut self.image.lists);
        let old_directories = std::mem::take(&mut self.image.directories);
        self.lists = Interner::new(&self.image.lists, self.seed);
        self.directories = Interner::new(&self.image.directories, self.seed);
        for slot in 0..self.image.slots.len() as u32 {
            let mut entry = self
                .image
                .slots
                .get(slot as usize)
                .copied()
                .unwrap_or_default();
            if !entry.is_in_use() {
                continue;
            }
            for number in [&mut entry.replicas, &mut entry.isr, &mut entry.extras] {
                *number = self
                    .lists
                    .intern(&mut self.image.lists, old_lists.get(*number));
            }
            let directories = old_directories.get(entry.directories);
            entry.directories = self
                .directories
                .intern(&mut self.image.directories, directories);
            *self.slot_mut(slot) = entry;
        }
        let left = self.image.lists.len() + self.image.directories.len();
        self.lists_max = LISTS_FLOOR.max(2 * left);
    }

    /// Rebuilds what a writer knows beyond the image: after a transaction was aborted.
    pub(super) fn reset(&mut self, image: TopicsImage, delta: TopicsDelta, seed: u64) {
        *self = TopicsBuilder::new(image, seed);
        self.delta = delta;
        // What was freed before the transaction is still named by the delta; it rests until the next publication with the rest.
        self.resting_indexes = std::mem::take(&mut self.free_indexes);
        self.resting_slots = std::mem::take(&mut self.free_slots)
            .into_iter()
            .map(|(first_slot, count)| Run {
                first_partition: 0,
                first_slot,
                count,
            })
            .collect();
    }

    fn topic(&self, index: u32) -> &TopicEntry {
        self.image
            .entries
            .get(index as usize)
            .and_then(Option::as_ref)
            .expect("the index was just looked up")
    }

    fn entry_mut(&mut self, index: u32) -> &mut Option<TopicEntry> {
        self.image
            .entries
            .get_mut(index as usize)
            .expect("indexes are given out below the length")
    }

    fn slot_mut(&mut self, slot: u32) -> &mut PartitionEntry {
        self.image
            .slots
            .get_mut(slot as usize)
            .expect("slots are given out below the length")
    }

    /// Gives a partition a slot: the one after its neighbour's when that is free, so that a topic is one run.
    fn add_slot(&mut self, index: u32, partition: u32) -> u32 {
        let runs = self.topic(index).runs.as_slice();
        let after = runs.partition_point(|run| run.first_partition <= partition);
        let neighbour = after
            .checked_sub(1)
            .map(|before| (before, runs[before]))
            .filter(|(_, run)| run.first_partition + run.count == partition);
        let wanted = neighbour.map(|(_, run)| run.first_slot + run.count);
        let slot = wanted.filter(|&slot| self.take_slot(slot));
        let extends = slot.is_some();
        let slot = slot.unwrap_or_else(|| self.take_first_slot());
        self.image.partition_count += 1;
        let entry = self
            .entry_mut(index)
            .as_mut()
            .expect("the index was just looked up");
        match neighbour {
            Some((before, _)) if extends => entry.runs.lengthen(before),
            _ => entry.runs.insert(
                after,
                Run {
                    first_partition: partition,
                    first_slot: slot,
                    count: 1,
                },
            ),
        }
        slot
    }

    fn take_slot(&mut self, slot: u32) -> bool {
        if slot as usize == self.image.slots.len() {
            self.image.slots.push(PartitionEntry::default());
            return true;
        }
        let Some(count) = self.free_slots.remove(&slot) else {
            return false;
        };
        if count > 1 {
            self.free_slots.insert(slot + 1, count - 1);
        }
        true
    }

    fn take_first_slot(&mut self) -> u32 {
        let first = self.free_slots.first_key_value().map(|(&slot, _)| slot);
        let slot = first.unwrap_or(self.image.slots.len() as u32);
        assert!(self.take_slot(slot), "the slot was just found free");
        slot
    }

    fn free(&mut self, mut first: u32, mut count: u32) {
        if let Some((&before, &length)) = self.free_slots.range(..first).next_back()
            && before + length == first
        {
            self.free_slots.remove(&before);
            (first, count) = (before, length + count);
        }
        if let Some(length) = self.free_slots.remove(&(first + count)) {
            count += length;
        }
        self.free_slots.insert(first, count);
    }

    fn find_free(&mut self) {
        let unused: Vec<u32> = (0u32..)
            .zip(self.image.slots.iter())
            .filter(|(_, slot)| !slot.is_in_use())
            .map(|(slot, _)| slot)
            .collect();
        for slot in unused {
            self.free(slot, 1);
        }
        self.free_indexes = (0u32..)
            .zip(self.image.entries.iter())
            .filter(|(_, entry)| entry.is_none())
            .map(|(index, _)| index)
            .collect();
        self.free_indexes.reverse();
    }
}
