//! Topics and partitions of the image. A partition is 32 bytes in a dense vector of slots; its lists are numbers of interned lists. A topic
//! holds runs of slots. A topic's name and id stand in its entry alone: what finds it by them holds its index. Everything is behind `Arc`s
//! that images share. Changes are made in `topics_builder.rs`.

use std::sync::Arc;

use odradek_protocol::Uuid;

use super::chunked::ChunkedVec;
use super::intern::{EMPTY, InternedLists};
use super::sorted::{Keys, Own, SortedChunks};

/// "No leader", as Kafka's records write it.
pub const NO_LEADER: i32 = -1;

const IN_USE: u32 = 1;
const RECOVERING: u32 = 2;

/// One partition. Interned numbers stand for lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct PartitionEntry {
    pub(super) replicas: u32,
    pub(super) isr: u32,
    pub(super) directories: u32,
    /// Adding, removing, eligible and last known leaders, each with its length before it; 0 when all four are empty.
    pub(super) extras: u32,
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
    pub(super) partition_epoch: i32,
    /// In use, recovering.
    pub(super) flags: u32,
}

// 2,000,000 partitions of a broker come with those of the whole cluster: what one costs is decided here.
const _: () = assert!(size_of::<PartitionEntry>() == 32);

impl PartitionEntry {
    pub(super) fn is_in_use(&self) -> bool {
        self.flags & IN_USE != 0
    }

    pub(super) fn is_recovering(&self) -> bool {
        self.flags & RECOVERING != 0
    }

    pub(super) fn set_flags(&mut self, recovering: bool) {
        self.flags = IN_USE | if recovering { RECOVERING } else { 0 };
    }
}

/// Consecutive partitions in consecutive slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first_partition: u32,
    pub(super) first_slot: u32,
    pub(super) count: u32,
}

/// A topic's runs by first partition: nearly always one, which takes no memory of its own.
#[derive(Clone, Debug)]
pub(super) enum Runs {
    One(Run),
    Many(Vec<Run>),
}

impl Runs {
    /// Those of a topic without partitions.
    pub(super) const EMPTY: Runs = Runs::One(Run {
        first_partition: 0,
        first_slot: 0,
        count: 0,
    });

    pub(super) fn as_slice(&self) -> &[Run] {
        match self {
            Runs::One(run) if run.count == 0 => &[],
            Runs::One(run) => std::slice::from_ref(run),
            Runs::Many(runs) => runs,
        }
    }

    pub(super) fn insert(&mut self, index: usize, run: Run) {
        match self {
            Runs::One(only) if only.count == 0 => *only = run,
            Runs::One(only) => {
                let mut runs = vec![*only];
                runs.insert(index, run);
                *self = Runs::Many(runs);
            }
            Runs::Many(runs) => runs.insert(index, run),
        }
    }

    pub(super) fn lengthen(&mut self, index: usize) {
        match self {
            Runs::One(only) => only.count += 1,
            Runs::Many(runs) => runs[index].count += 1,
        }
    }
}

/// One topic.
#[derive(Clone, Debug)]
pub(super) struct TopicEntry {
    pub(super) name: Arc<str>,
    pub(super) id: Uuid,
    /// Together they hold every partition that has been recorded.
    pub(super) runs: Runs,
}

// A cluster may have as many topics as partitions.
const _: () = assert!(size_of::<Option<TopicEntry>>() <= 56);

impl TopicEntry {
    pub(super) fn slot_of(&self, partition: i32) -> Option<u32> {
        let partition = u32::try_from(partition).ok()?;
        let runs = self.runs.as_slice();
        let after = runs.partition_point(|run| run.first_partition <= partition);
        let run = runs.get(after.checked_sub(1)?)?;
        let inside = partition - run.first_partition;
        (inside < run.count).then(|| run.first_slot + inside)
    }

    pub(super) fn partitions(&self) -> u32 {
        self.runs.as_slice().iter().map(|run| run.count).sum()
    }
}

pub(super) type Entries = ChunkedVec<Option<TopicEntry>>;

/// Indexes by the names of their topics.
pub(super) struct ByName<'a>(pub(super) &'a Entries);

impl Keys<u32> for ByName<'_> {
    type Key = str;
    type Fence = Arc<str>;

    fn key<'a>(&'a self, index: &'a u32) -> &'a str {
        &self.entry(*index).name
    }

    fn fence(&self, index: &u32) -> Arc<str> {
        self.entry(*index).name.clone()
    }
}

impl ByName<'_> {
    fn entry(&self, index: u32) -> &TopicEntry {
        self.0
            .get(index as usize)
            .and_then(Option::as_ref)
            .expect("an index is taken out before its topic")
    }
}

/// An index below 32 bits of its topic's id: what [`TopicsImage::by_id`] searches.
pub(super) fn id_key(id: Uuid, index: u32) -> u64 {
    u64::from(id_hash(id)) << 32 | u64::from(index)
}

/// Controllers draw ids at random; those of tests and reserved ones are spread by the multiplication.
fn id_hash(id: Uuid) -> u32 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let id = u128::from_be_bytes(id.0);
    let folded = (id >> 64) as u64 ^ (id as u64).rotate_left(32);
    (folded.wrapping_mul(ODD) >> 32) as u32
}

/// All topics. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TopicsImage {
    pub(super) slots: ChunkedVec<PartitionEntry>,
    pub(super) entries: Entries,
    pub(super) by_name: SortedChunks<u32, Arc<str>>,
    /// By [`id_key`].
    pub(super) by_id: SortedChunks<u64, u64>,
    pub(super) lists: InternedLists<i32>,
    pub(super) directories: InternedLists<Uuid>,
    pub(super) partition_count: usize,
}

impl TopicsImage {
    /// Number of topics.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Partitions of all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// A topic by its name.
    pub fn by_name(&self, name: &str) -> Option<TopicView<'_>> {
        let names = ByName(&self.entries);
        self.by_index(self.by_name.get(&names, name)?)
    }

    /// A topic by its id.
    pub fn by_id(&self, id: Uuid) -> Option<TopicView<'_>> {
        self.by_index(self.index_of(id)?)
    }

    pub(super) fn index_of(&self, id: Uuid) -> Option<u32> {
        let hash = id_hash(id);
        let lowest = id_key(id, 0);
        let first = self.by_id.first_from(&Own, &lowest)?;
        if (first >> 32) as u32 != hash {
            return None;
        }
        self.by_id
            .iter_from(&Own, &lowest)
            .take_while(|key| (key >> 32) as u32 == hash)
            .map(|key| key as u32)
            .find(|index| self.by_index(*index).is_some_and(|topic| topic.id() == id))
    }

    /// A topic by the index that a delta names.
    pub fn by_index(&self, index: u32) -> Option<TopicView<'_>> {
        let entry = self.entries.get(index as usize)?.as_ref()?;
        Some(TopicView {
            topics: self,
            entry,
            index,
        })
    }

    /// All topics by name.
    pub fn iter(&self) -> impl Iterator<Item = TopicView<'_>> {
        self.by_name.iter().filter_map(|index| self.by_index(index))
    }

    /// Topics by name from `name` on: pages of DescribeTopicPartitions.
    pub fn iter_from(&self, name: &str) -> impl Iterator<Item = TopicView<'_>> {
        self.by_name
            .iter_from(&ByName(&self.entries), name)
            .filter_map(|index| self.by_index(index))
    }

    /// A partition by topic id and number.
    pub fn partition(&self, id: Uuid, partition: i32) -> Option<PartitionView<'_>> {
        self.by_id(id)?.partition(partition)
    }

    /// A partition by the slot that a delta names.
    pub fn by_slot(&self, slot: u32) -> Option<PartitionView<'_>> {
        let entry = self.slots.get(slot as usize)?;
        entry.is_in_use().then_some(PartitionView {
            topics: self,
            entry,
            slot,
        })
    }

    /// All partitions, as they lie in memory.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionView<'_>> {
        (0..).zip(self.slots.iter()).filter_map(|(slot, entry)| {
            entry.is_in_use().then_some(PartitionView {
                topics: self,
                entry,
                slot,
            })
        })
    }

    /// Bytes of the whole structure, counted as if no other image shared it.
    pub fn bytes(&self) -> usize {
        let names: usize = self.iter().map(|topic| topic.name().len() + 16).sum();
        self.slots.bytes()
            + self.entries.bytes()
            + self.by_name.bytes()
            + self.by_id.bytes()
            + self.lists.bytes()
            + self.directories.bytes()
            + names
    }
}

/// A topic in an image.
#[derive(Clone, Copy, Debug)]
pub struct TopicView<'a> {
    topics: &'a TopicsImage,
    entry: &'a TopicEntry,
    index: u32,
}

impl<'a> TopicView<'a> {
    /// Its name.
    pub fn name(&self) -> &'a Arc<str> {
        &self.entry.name
    }

    /// Its id.
    pub fn id(&self) -> Uuid {
        self.entry.id
    }

    /// Its index, as deltas name it.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Number of partitions; they are numbered from 0 on.
    pub fn partition_count(&self) -> i32 {
        self.entry.partitions() as i32
    }

    /// One partition.
    pub fn partition(&self, partition: i32) -> Option<PartitionView<'a>> {
        self.topics.by_slot(self.entry.slot_of(partition)?)
    }

    /// All partitions by number.
    pub fn partitions(&self) -> impl Iterator<Item = (i32, PartitionView<'a>)> + use<'a> {
        let topics = self.topics;
        self.entry.runs.as_slice().iter().flat_map(move |run| {
            (0..run.count).filter_map(move |inside| {
                let view = topics.by_slot(run.first_slot + inside)?;
                Some(((run.first_partition + inside) as i32, view))
            })
        })
    }

    /// The index type under which Kafka treats a topic as its own: `__consumer_offsets`, `__transaction_state`, `__share_group_state`.
    pub fn is_internal(&self) -> bool {
        is_internal_topic(&self.entry.name)
    }
}

/// Whether Kafka's Metadata answer marks this topic as internal.
pub fn is_internal_topic(name: &str) -> bool {
    matches!(
        name,
        "__consumer_offsets" | "__transaction_state" | "__share_group_state"
    )
}

/// A partition in an image.
#[derive(Clone, Copy, Debug)]
pub struct PartitionView<'a> {
    topics: &'a TopicsImage,
    entry: &'a PartitionEntry,
    slot: u32,
}

impl<'a> PartitionView<'a> {
    /// Its slot, as deltas name it.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Broker ids in order of preference.
    pub fn replicas(&self) -> &'a [i32] {
        self.topics.lists.get(self.entry.replicas)
    }

    /// Broker ids in sync.
    pub fn isr(&self) -> &'a [i32] {
        self.topics.lists.get(self.entry.isr)
    }

    /// Directory of each replica, parallel to them.
    pub fn directories(&self) -> &'a [Uuid] {
        self.topics.directories.get(self.entry.directories)
    }

    /// The directory of one broker's replica.
    pub fn directory_of(&self, broker_id: i32) -> Option<Uuid> {
        let index = self
            .replicas()
            .iter()
            .position(|&replica| replica == broker_id)?;
        self.directories().get(index).copied()
    }

    /// The leader's broker id, -1 when there is none.
    pub fn leader(&self) -> i32 {
        self.entry.leader
    }

    /// Leader epoch.
    pub fn leader_epoch(&self) -> i32 {
        self.entry.leader_epoch
    }

    /// Partition epoch.
    pub fn partition_epoch(&self) -> i32 {
        self.entry.partition_epoch
    }

    /// Whether the leader was elected uncleanly and has not finished recovering (KIP-704).
    pub fn is_recovering(&self) -> bool {
        self.entry.is_recovering()
    }

    /// Replicas being added (KIP-455).
    pub fn adding(&self) -> &'a [i32] {
        self.extra(0)
    }

    /// Replicas being removed (KIP-455).
    pub fn removing(&self) -> &'a [i32] {
        self.extra(1)
    }

    /// Eligible leader replicas (KIP-966).
    pub fn eligible_leaders(&self) -> &'a [i32] {
        self.extra(2)
    }

    /// The last known leader, kept when ISR and ELR are empty (KIP-966).
    pub fn last_known_leaders(&self) -> &'a [i32] {
        self.extra(3)
    }

    /// An owned copy, to be changed.
    pub fn to_partition(&self) -> Partition {
        Partition {
            replicas: self.replicas().to_vec(),
            directories: self.directories().to_vec(),
            isr: self.isr().to_vec(),
            adding: self.adding().to_vec(),
            removing: self.removing().to_vec(),
            eligible_leaders: self.eligible_leaders().to_vec(),
            last_known_leaders: self.last_known_leaders().to_vec(),
            leader: self.leader(),
            leader_epoch: self.leader_epoch(),
            partition_epoch: self.partition_epoch(),
            is_recovering: self.is_recovering(),
        }
    }

    fn extra(&self, which: usize) -> &'a [i32] {
        if self.entry.extras == EMPTY {
            return &[];
        }
        let mut rest = self.topics.lists.get(self.entry.extras);
        for _ in 0..which {
            rest = &rest[1 + rest[0] as usize..];
        }
        &rest[1..1 + rest[0] as usize]
    }
}

/// A partition by value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Broker ids in order of preference.
    pub replicas: Vec<i32>,
    /// Directory of each replica.
    pub directories: Vec<Uuid>,
    /// Broker ids in sync.
    pub isr: Vec<i32>,
    /// Replicas being added.
    pub adding: Vec<i32>,
    /// Replicas being removed.
    pub removing: Vec<i32>,
    /// Eligible leader replicas.
    pub eligible_leaders: Vec<i32>,
    /// Last known leader.
    pub last_known_leaders: Vec<i32>,
    /// Leader, -1 for none.
    pub leader: i32,
    /// Leader epoch.
    pub leader_epoch: i32,
    /// Partition epoch.
    pub partition_epoch: i32,
    /// Leader recovery state.
    pub is_recovering: bool,
}
