//! Topics and partitions of the image. A partition is 32 bytes in a dense vector of slots; its lists are numbers of interned lists. A topic
//! holds runs of slots. Everything is behind `Arc`s that images share. Changes are made in `topics_builder.rs`.

use odradek_protocol::{StrBytes, Uuid};
use smallvec::SmallVec;

use super::chunked::ChunkedVec;
use super::intern::{EMPTY, InternedLists};
use super::sorted::SortedChunks;

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

/// One topic.
#[derive(Clone, Debug)]
pub(super) struct TopicEntry {
    pub(super) name: StrBytes,
    pub(super) id: Uuid,
    /// By first partition; together they hold every partition that has been recorded.
    pub(super) runs: SmallVec<[Run; 1]>,
    pub(super) partitions: u32,
}

impl TopicEntry {
    pub(super) fn slot_of(&self, partition: i32) -> Option<u32> {
        let partition = u32::try_from(partition).ok()?;
        let after = self
            .runs
            .partition_point(|run| run.first_partition <= partition);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let inside = partition - run.first_partition;
        (inside < run.count).then(|| run.first_slot + inside)
    }
}

/// All topics. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TopicsImage {
    pub(super) slots: ChunkedVec<PartitionEntry>,
    pub(super) entries: ChunkedVec<Option<TopicEntry>>,
    pub(super) by_name: SortedChunks<StrBytes, u32>,
    pub(super) by_id: SortedChunks<Uuid, u32>,
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
        // Bytes are in the order of the text, and need not be checked to be text at every step.
        let wanted = name.as_bytes();
        let found = self
            .by_name
            .get_by(|known| known.as_byte_slice().cmp(wanted));
        self.by_index(*found?)
    }

    /// A topic by its id.
    pub fn by_id(&self, id: Uuid) -> Option<TopicView<'_>> {
        self.by_index(*self.by_id.get(&id)?)
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
        self.by_name
            .iter()
            .filter_map(|(_, &index)| self.by_index(index))
    }

    /// Topics by name from `name` on: pages of DescribeTopicPartitions.
    pub fn iter_from(&self, name: &str) -> impl Iterator<Item = TopicView<'_>> {
        self.by_name
            .iter_from(name)
            .filter_map(|(_, &index)| self.by_index(index))
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

    /// Bytes of the whole structure, counted as if no other image shared it.
    pub fn bytes(&self) -> usize {
        let names: usize = self.iter().map(|topic| topic.name().len() + 32).sum();
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
    pub fn name(&self) -> &'a StrBytes {
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
        self.entry.partitions as i32
    }

    /// One partition.
    pub fn partition(&self, partition: i32) -> Option<PartitionView<'a>> {
        self.topics.by_slot(self.entry.slot_of(partition)?)
    }

    /// All partitions by number.
    pub fn partitions(&self) -> impl Iterator<Item = (i32, PartitionView<'a>)> + use<'a> {
        let topics = self.topics;
        self.entry.runs.iter().flat_map(move |run| {
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
