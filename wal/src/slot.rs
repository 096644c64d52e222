//! What RAM holds per replica: a slot of 128 bytes, and lists beyond one inline entry for those that have them. Offsets move only
//! through the setters here, which keep log start <= high watermark <= log end and log start <= durable end <= log end.

use crate::checkpoint_file::{CheckpointWriter, encode_slot};
use crate::marks::{CHUNK_SLOTS, Marks};
use crate::types::{CreateReplica, LeaderEpoch, Offset, ReplicaId, ReplicaState, TopicId};
use slab::Slab;
use std::collections::VecDeque;

/// "No segment", "no lists".
pub(crate) const NONE: u32 = u32::MAX;

/// The slot is in use.
const FLAG_LIVE: u16 = 2;

/// A replica. Idle ones cost this and nothing else.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub topic_id: TopicId,
    pub log_start: i64,
    pub log_end: i64,
    pub durable_end: i64,
    pub high_watermark: i64,
    pub last_stable: i64,
    pub metadata_offset: i64,
    /// Bytes of all extents.
    pub bytes: u64,
    /// First offset of the newest epoch.
    pub epoch_start: i64,
    /// The newest extent: `[newest_base, newest_end)` in `newest_segment`.
    pub newest_base: i64,
    pub newest_end: i64,
    pub newest_max_timestamp: i64,
    pub newest_segment: u32,
    pub newest_bytes: u32,
    pub partition: i32,
    pub last_epoch: i32,
    /// Older extents and epochs: an index of `SlotTable::lists`.
    pub lists: u32,
    /// Index of the interned retention policy.
    pub policy: u16,
    pub flags: u16,
}

const _: () = assert!(std::mem::size_of::<Slot>() == 128);

/// Frames of one replica in one segment: offsets `[base, end)`, clipped as truncation and the log start move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub base: i64,
    pub end: i64,
    pub max_timestamp: i64,
    pub segment: u32,
    pub bytes: u32,
}

const _: () = assert!(std::mem::size_of::<Extent>() == 32);

/// What does not fit a slot, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists {
    pub extents: VecDeque<Extent>,
    pub epochs: VecDeque<(i32, i64)>,
}

/// What an extent gave up: `bytes` of `segment`, and the whole extent or a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Released {
    pub segment: u32,
    pub bytes: u32,
    pub whole: bool,
}

impl Slot {
    pub(crate) fn new(create: &CreateReplica) -> Self {
        Self {
            topic_id: create.topic_id,
            log_start: 0,
            log_end: 0,
            durable_end: 0,
            high_watermark: 0,
            last_stable: 0,
            metadata_offset: create.metadata_offset,
            bytes: 0,
            epoch_start: 0,
            newest_base: 0,
            newest_end: 0,
            newest_max_timestamp: -1,
            newest_segment: NONE,
            newest_bytes: 0,
            partition: create.partition,
            last_epoch: -1,
            lists: NONE,
            policy: 0,
            flags: FLAG_LIVE,
        }
    }

    pub(crate) fn newest(&self) -> Option<Extent> {
        (self.newest_segment != NONE).then_some(Extent {
            base: self.newest_base,
            end: self.newest_end,
            max_timestamp: self.newest_max_timestamp,
            segment: self.newest_segment,
            bytes: self.newest_bytes,
        })
    }

    pub(crate) fn set_newest(&mut self, extent: Option<Extent>) {
        if let Some(extent) = extent {
            self.newest_base = extent.base;
            self.newest_end = extent.end;
            self.newest_max_timestamp = extent.max_timestamp;
            self.newest_segment = extent.segment;
            self.newest_bytes = extent.bytes;
        } else {
            self.newest_segment = NONE;
            self.newest_bytes = 0;
            self.newest_max_timestamp = -1;
        }
    }

    /// The one place where the four offsets move together.
    pub(crate) fn settle(&mut self) {
        self.log_end = self.log_end.max(self.log_start);
        self.durable_end = self.durable_end.clamp(self.log_start, self.log_end);
        self.high_watermark = self.high_watermark.clamp(self.log_start, self.log_end);
        self.last_stable = self.last_stable.clamp(self.log_start, self.high_watermark);
    }

    pub(crate) fn state(&self) -> ReplicaState {
        ReplicaState {
            topic_id: self.topic_id,
            partition: self.partition,
            metadata_offset: self.metadata_offset,
            log_start: Offset(self.log_start),
            high_watermark: Offset(self.high_watermark),
            last_stable: Offset(self.last_stable),
            durable_end: Offset(self.durable_end),
            log_end: Offset(self.log_end),
            last_epoch: LeaderEpoch(self.last_epoch),
            bytes: self.bytes,
        }
    }
}

/// All slots, dense by replica id in chunks of 256; a chunk whose replicas are all gone is given back.
#[derive(Debug, Default)]
pub(crate) struct SlotTable {
    chunks: Vec<Option<Chunk>>,
    lists: Slab<Lists>,
    marks: Marks,
    /// Records of replicas that changed before the snapshot under way came to them.
    saved: Vec<u8>,
    live: u64,
    extents: u64,
}

#[derive(Debug)]
struct Chunk {
    slots: Box<[Slot]>,
    live: u32,
}

fn place(replica: ReplicaId) -> (usize, usize) {
    let index = usize::try_from(replica.0).unwrap_or(usize::MAX);
    (index / CHUNK_SLOTS, index % CHUNK_SLOTS)
}

const EMPTY: Slot = Slot {
    topic_id: TopicId([0; 16]),
    log_start: 0,
    log_end: 0,
    durable_end: 0,
    high_watermark: 0,
    last_stable: 0,
    metadata_offset: 0,
    bytes: 0,
    epoch_start: 0,
    newest_base: 0,
    newest_end: 0,
    newest_max_timestamp: -1,
    newest_segment: NONE,
    newest_bytes: 0,
    partition: 0,
    last_epoch: -1,
    lists: NONE,
    policy: 0,
    flags: 0,
};

impl SlotTable {
    pub(crate) fn get(&self, replica: ReplicaId) -> Option<&Slot> {
        let (chunk, index) = place(replica);
        let slot = &self.chunks.get(chunk)?.as_ref()?.slots[index];
        (slot.flags & FLAG_LIVE != 0).then_some(slot)
    }

    /// For a change that the next checkpoint must hold. Lists change after a call of `touch` only, which this one makes.
    pub(crate) fn change(&mut self, replica: ReplicaId) -> Option<&mut Slot> {
        self.touch(replica);
        let (chunk, index) = place(replica);
        let slot = &mut self.chunks.get_mut(chunk)?.as_mut()?.slots[index];
        (slot.flags & FLAG_LIVE != 0).then_some(slot)
    }

    /// A replica is about to change: the snapshot under way gets it as it is.
    fn touch(&mut self, replica: ReplicaId) {
        let (chunk, index) = place(replica);
        let Some(Some(chunk)) = self.chunks.get(chunk) else {
            return;
        };
        let slot = &chunk.slots[index];
        if slot.flags & FLAG_LIVE == 0 || !self.marks.touch(replica) {
            return;
        }
        let lists = (slot.lists != NONE).then(|| &self.lists[slot.lists as usize]);
        encode_slot(&mut self.saved, replica, slot, lists);
    }

    /// For what no checkpoint holds.
    pub(crate) fn change_unsaved(&mut self, replica: ReplicaId) -> Option<&mut Slot> {
        let (chunk, index) = place(replica);
        let slot = &mut self.chunks.get_mut(chunk)?.as_mut()?.slots[index];
        (slot.flags & FLAG_LIVE != 0).then_some(slot)
    }

    pub(crate) fn insert(&mut self, replica: ReplicaId, slot: Slot) {
        let (chunk, index) = place(replica);
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let chunk = self.chunks[chunk].get_or_insert_with(|| Chunk {
            slots: vec![EMPTY; CHUNK_SLOTS].into(),
            live: 0,
        });
        assert!(
            chunk.slots[index].flags & FLAG_LIVE == 0,
            "a replica id was given out twice"
        );
        chunk.slots[index] = slot;
        chunk.slots[index].flags = FLAG_LIVE;
        chunk.live += 1;
        self.live += 1;
        self.marks.set_live(replica, true);
        self.marks.touch(replica);
    }

    /// Removes a replica; what its extents held is given to `released`.
    pub(crate) fn remove(&mut self, replica: ReplicaId, released: &mut Vec<Released>) -> bool {
        if self.change(replica).is_none() {
            return false;
        }
        self.drop_extents_below(replica, i64::MAX, released);
        let (chunk_index, index) = place(replica);
        let Some(chunk) = self.chunks[chunk_index].as_mut() else {
            return false;
        };
        let lists = chunk.slots[index].lists;
        chunk.slots[index] = EMPTY;
        chunk.live -= 1;
        self.marks.set_live(replica, false);
        if chunk.live == 0 {
            self.chunks[chunk_index] = None;
        }
        self.live -= 1;
        if lists != NONE {
            self.lists.remove(lists as usize);
        }
        true
    }

    /// Forgets a slot that a later record replaces (recovery; segments count their extents afterwards).
    pub(crate) fn discard(&mut self, replica: ReplicaId) {
        let mut released = Vec::new();
        self.remove(replica, &mut released);
    }

    pub(crate) fn lists(&self, slot: &Slot) -> Option<&Lists> {
        (slot.lists != NONE).then(|| &self.lists[slot.lists as usize])
    }

    fn lists_mut(&mut self, replica: ReplicaId) -> &mut Lists {
        self.touch(replica);
        let at = self.get(replica).map_or(NONE, |slot| slot.lists);
        let at = if at == NONE {
            let at = self.lists.insert(Lists::default());
            if let Some(slot) = self.change(replica) {
                slot.lists = u32::try_from(at).expect("fewer lists than replicas");
            }
            at
        } else {
            at as usize
        };
        &mut self.lists[at]
    }

    /// Sets everything beyond the slot (recovery).
    pub(crate) fn set_lists(&mut self, replica: ReplicaId, lists: Lists) {
        self.extents += lists.extents.len() as u64;
        if self
            .get(replica)
            .is_some_and(|slot| slot.newest().is_some())
        {
            self.extents += 1;
        }
        if !lists.extents.is_empty() || !lists.epochs.is_empty() {
            *self.lists_mut(replica) = lists;
        }
    }

    /// Every extent, oldest first.
    pub(crate) fn extents(
        &self,
        replica: ReplicaId,
    ) -> impl DoubleEndedIterator<Item = Extent> + '_ {
        let slot = self.get(replica);
        let older = slot
            .and_then(|slot| self.lists(slot))
            .map(|lists| lists.extents.iter().copied());
        older
            .into_iter()
            .flatten()
            .chain(slot.and_then(Slot::newest))
    }

    /// The first extent that ends past `offset`, and how many there are from it on.
    pub(crate) fn extents_from(
        &self,
        replica: ReplicaId,
        offset: i64,
    ) -> impl Iterator<Item = Extent> + '_ {
        let slot = self.get(replica);
        let older = slot.and_then(|slot| self.lists(slot)).map(|lists| {
            let first = lists.extents.partition_point(|extent| extent.end <= offset);
            lists.extents.range(first..).copied()
        });
        let newest = slot
            .and_then(Slot::newest)
            .filter(|extent| extent.end > offset);
        older.into_iter().flatten().chain(newest)
    }

    /// A frame of the replica now lies in `segment`. Answers whether that began a new extent.
    pub(crate) fn attach(&mut self, replica: ReplicaId, frame: Extent) -> bool {
        let Some(slot) = self.change(replica) else {
            return false;
        };
        slot.bytes += u64::from(frame.bytes);
        match slot.newest() {
            Some(newest)
                if newest.segment == frame.segment
                    && newest.end <= frame.base
                    && newest.bytes.checked_add(frame.bytes).is_some() =>
            {
                slot.set_newest(Some(Extent {
                    base: newest.base,
                    end: frame.end,
                    max_timestamp: newest.max_timestamp.max(frame.max_timestamp),
                    segment: frame.segment,
                    bytes: newest.bytes + frame.bytes,
                }));
                false
            }
            newest => {
                slot.set_newest(Some(frame));
                self.extents += 1;
                if let Some(newest) = newest {
                    self.lists_mut(replica).extents.push_back(newest);
                }
                true
            }
        }
    }

    fn take_newest(&mut self, replica: ReplicaId) -> Option<Extent> {
        self.touch(replica);
        let newest = self.get(replica)?.newest()?;
        let lists = self.get(replica)?.lists;
        let next = if lists == NONE {
            None
        } else {
            self.lists[lists as usize].extents.pop_back()
        };
        let slot = self.change(replica)?;
        slot.set_newest(next);
        slot.bytes -= u64::from(newest.bytes);
        self.extents -= 1;
        Some(newest)
    }

    /// Clips and drops what lies at or past `to`.
    pub(crate) fn clip_extents(
        &mut self,
        replica: ReplicaId,
        to: i64,
        released: &mut Vec<Released>,
    ) {
        while let Some(newest) = self.get(replica).and_then(Slot::newest) {
            if newest.end <= to {
                return;
            }
            if newest.base >= to {
                self.take_newest(replica);
                released.push(Released {
                    segment: newest.segment,
                    bytes: newest.bytes,
                    whole: true,
                });
                continue;
            }
            // The share that goes is a guess: only whole extents decide when a segment is free.
            let kept = u128::from(newest.bytes) * u128::from(to.abs_diff(newest.base))
                / u128::from(newest.end.abs_diff(newest.base));
            let gone = newest.bytes - kept as u32;
            if let Some(slot) = self.change(replica) {
                slot.bytes -= u64::from(gone);
                slot.newest_end = to;
                slot.newest_bytes = kept as u32;
            }
            released.push(Released {
                segment: newest.segment,
                bytes: gone,
                whole: false,
            });
        }
    }

    /// Drops the extents that end at or below `offset`.
    pub(crate) fn drop_extents_below(
        &mut self,
        replica: ReplicaId,
        offset: i64,
        released: &mut Vec<Released>,
    ) {
        let Some(slot) = self.get(replica) else {
            return;
        };
        let lists = slot.lists;
        if lists != NONE {
            while let Some(extent) = self.lists[lists as usize].extents.front().copied() {
                if extent.end > offset {
                    return;
                }
                self.touch(replica);
                self.lists[lists as usize].extents.pop_front();
                self.extents -= 1;
                if let Some(slot) = self.change(replica) {
                    slot.bytes -= u64::from(extent.bytes);
                }
                released.push(Released {
                    segment: extent.segment,
                    bytes: extent.bytes,
                    whole: true,
                });
            }
        }
        if let Some(newest) = self.get(replica).and_then(Slot::newest)
            && newest.end <= offset
        {
            self.take_newest(replica);
            released.push(Released {
                segment: newest.segment,
                bytes: newest.bytes,
                whole: true,
            });
        }
    }

    /// Extents of `old` within `[base, end)` now lie in `new`; neighbours there are joined. `new` then counts what moved more, and what was
    /// joined less; the latter may be the greater, since extents that lay in `new` before may become neighbours.
    pub(crate) fn move_extents(
        &mut self,
        replica: ReplicaId,
        old: u32,
        new: u32,
        base: i64,
        end: i64,
    ) -> MovedExtents {
        let mut moved = MovedExtents::default();
        self.touch(replica);
        let Some(slot) = self.get(replica).copied() else {
            return moved;
        };
        let lists = slot.lists;
        let fits =
            |extent: &Extent| extent.segment == old && extent.base >= base && extent.end <= end;
        if lists != NONE {
            for extent in self.lists[lists as usize]
                .extents
                .iter_mut()
                .filter(|extent| fits(extent))
            {
                extent.segment = new;
                moved.extents += 1;
                moved.bytes += u64::from(extent.bytes);
            }
        }
        if slot.newest().is_some_and(|newest| fits(&newest))
            && let Some(slot) = self.change(replica)
        {
            slot.newest_segment = new;
            moved.extents += 1;
            moved.bytes += u64::from(slot.newest_bytes);
        }
        if moved.extents > 0 {
            self.change(replica);
            moved.joined = self.join_extents(replica, new);
        }
        moved
    }

    fn join_extents(&mut self, replica: ReplicaId, segment: u32) -> u32 {
        let Some(slot) = self.get(replica) else {
            return 0;
        };
        if slot.lists == NONE {
            return 0;
        }
        let newest = slot.newest();
        let lists = slot.lists as usize;
        let mut joined: VecDeque<Extent> = VecDeque::new();
        let mut gone = 0;
        let all = self.lists[lists].extents.iter().copied().chain(newest);
        for extent in all {
            match joined.back_mut() {
                Some(last)
                    if last.segment == segment
                        && extent.segment == segment
                        && last.bytes.checked_add(extent.bytes).is_some() =>
                {
                    last.end = extent.end;
                    last.bytes += extent.bytes;
                    last.max_timestamp = last.max_timestamp.max(extent.max_timestamp);
                    gone += 1;
                }
                _ => joined.push_back(extent),
            }
        }
        let newest = joined.pop_back();
        self.lists[lists].extents = joined;
        if let Some(slot) = self.change(replica) {
            slot.set_newest(newest);
        }
        self.extents -= u64::from(gone);
        gone
    }

    /// A new epoch begins at `start`, when it is newer than the last.
    pub(crate) fn begin_epoch(&mut self, replica: ReplicaId, epoch: i32, start: i64) {
        let Some(slot) = self.get(replica) else {
            return;
        };
        let (last, last_start) = (slot.last_epoch, slot.epoch_start);
        if epoch <= last {
            return;
        }
        if last >= 0 && last_start < start {
            self.lists_mut(replica).epochs.push_back((last, last_start));
        }
        if let Some(slot) = self.change(replica) {
            slot.last_epoch = epoch;
            slot.epoch_start = start;
        }
    }

    /// Forgets epochs that begin at or past `to`.
    pub(crate) fn truncate_epochs(&mut self, replica: ReplicaId, to: i64) {
        while let Some(slot) = self.get(replica) {
            if slot.last_epoch < 0 || slot.epoch_start < to {
                return;
            }
            let lists = slot.lists;
            self.touch(replica);
            let previous = if lists == NONE {
                None
            } else {
                self.lists[lists as usize].epochs.pop_back()
            };
            if let Some(slot) = self.change(replica) {
                (slot.last_epoch, slot.epoch_start) = previous.unwrap_or((-1, 0));
            }
        }
    }

    /// Forgets epochs that end at or below the log start; the one that holds it begins there, as Kafka's cache has it.
    pub(crate) fn trim_epochs(&mut self, replica: ReplicaId, log_start: i64) {
        let Some(slot) = self.get(replica).copied() else {
            return;
        };
        let newest_start = slot.epoch_start;
        self.touch(replica);
        if slot.lists != NONE {
            let epochs = &mut self.lists[slot.lists as usize].epochs;
            while epochs.len() >= 2 && epochs[1].1 <= log_start {
                epochs.pop_front();
            }
            if epochs.len() == 1 && newest_start <= log_start {
                epochs.pop_front();
            }
            if let Some(first) = epochs.front_mut() {
                first.1 = first.1.max(log_start);
                return;
            }
        }
        if newest_start < log_start
            && let Some(slot) = self.change(replica)
        {
            slot.epoch_start = log_start;
        }
    }

    /// Every epoch and its first offset, oldest first.
    pub(crate) fn epochs(
        &self,
        replica: ReplicaId,
    ) -> impl DoubleEndedIterator<Item = (i32, i64)> + '_ {
        let slot = self.get(replica);
        let older = slot
            .and_then(|slot| self.lists(slot))
            .map(|lists| lists.epochs.iter().copied());
        let newest = slot
            .filter(|slot| slot.last_epoch >= 0)
            .map(|slot| (slot.last_epoch, slot.epoch_start));
        older.into_iter().flatten().chain(newest)
    }

    /// A snapshot of this moment begins: of all replicas, or of those that changed since the last one. Answers how many.
    pub(crate) fn begin_snapshot(&mut self, all: bool, others_wait: bool) -> u64 {
        assert!(self.saved.is_empty(), "one snapshot is encoded at a time");
        self.marks.begin(all, others_wait)
    }

    /// Encodes replicas at or past chunk `from` until `enough` says so; `None`: all are encoded.
    pub(crate) fn encode_snapshot(
        &mut self,
        writer: &mut CheckpointWriter,
        mut from: usize,
    ) -> Option<usize> {
        writer.records(&mut self.saved);
        while !writer.has_piece() {
            let (replica, chunk) = self.marks.next_pending(from)?;
            from = chunk;
            match self.get(replica) {
                Some(slot) => writer.slot(replica, slot, self.lists(slot)),
                None => writer.gone(replica),
            }
        }
        Some(from)
    }

    /// The snapshot under way could not be written: the next one has what it had.
    pub(crate) fn abandon_snapshot(&mut self) {
        self.saved = Vec::new();
        self.marks.abandon();
    }

    /// Everything is as the checkpoint that was loaded has it.
    pub(crate) fn forget_changes(&mut self) {
        self.marks.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ReplicaId, &Slot)> + '_ {
        self.chunks
            .iter()
            .enumerate()
            .filter_map(|(at, chunk)| chunk.as_ref().map(|chunk| (at, chunk)))
            .flat_map(|(at, chunk)| {
                chunk
                    .slots
                    .iter()
                    .enumerate()
                    .filter(|(_, slot)| slot.flags & FLAG_LIVE != 0)
                    .map(move |(index, slot)| (ReplicaId((at * CHUNK_SLOTS + index) as u64), slot))
            })
    }

    /// Live replicas of the chunk that holds `from`, from there on, and where the next chunk begins; `None` past the last.
    pub(crate) fn chunk_of(&self, from: ReplicaId) -> Option<(Vec<ReplicaId>, ReplicaId)> {
        let (at, first) = place(from);
        if at >= self.chunks.len() {
            return None;
        }
        let next = ReplicaId(((at + 1) * CHUNK_SLOTS) as u64);
        let live = self.chunks[at].as_ref().map_or_else(Vec::new, |chunk| {
            (first..CHUNK_SLOTS)
                .filter(|&index| chunk.slots[index].flags & FLAG_LIVE != 0)
                .map(|index| ReplicaId((at * CHUNK_SLOTS + index) as u64))
                .collect()
        });
        Some((live, next))
    }

    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    pub(crate) fn extent_count(&self) -> u64 {
        self.extents
    }

    /// Bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let chunks =
            self.chunks.iter().flatten().count() * CHUNK_SLOTS * std::mem::size_of::<Slot>();
        let lists = self.lists.len() * std::mem::size_of::<Lists>();
        (chunks + lists + self.marks.memory_bytes()) as u64
            + self.extents * std::mem::size_of::<Extent>() as u64
    }
}

/// What `move_extents` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MovedExtents {
    /// Extents that left the old segment.
    pub extents: u32,
    /// Of these and their neighbours in the new one, joined to one another.
    pub joined: u32,
    /// Bytes that moved.
    pub bytes: u64,
}
