//! What RAM holds per replica: a slot of 128 bytes, and lists beyond one inline entry for those that have them. Offsets move only
//! through the setters here, which keep log start <= high watermark <= log end and log start <= durable end <= log end.

use crate::checkpoint_file::{CheckpointWriter, encode_slot};
use crate::control::MovedExtent;
use crate::extent_list::{Epochs, ExtentList};
use crate::marks::{CHUNK_SLOTS, Marks};
use crate::types::{CreateReplica, LeaderEpoch, Offset, ReplicaId, ReplicaState, TopicId};
use slab::Slab;
use smallvec::SmallVec;

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
    pub extents: ExtentList,
    pub epochs: Epochs,
}

const _: () = assert!(std::mem::size_of::<Lists>() == 40);

/// All extents of a replica while they are changed.
type All = SmallVec<[Extent; 16]>;

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
    /// Bytes on the heap that lists of extents take.
    list_bytes: u64,
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
            let lists = self.lists.remove(lists as usize);
            self.list_bytes -= lists.extents.heap_bytes() as u64;
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
            self.list_bytes += lists.extents.heap_bytes() as u64;
            *self.lists_mut(replica) = lists;
        }
    }

    /// Every extent, oldest first.
    pub(crate) fn extents(&self, replica: ReplicaId) -> impl Iterator<Item = Extent> + '_ {
        self.extents_from(replica, i64::MIN)
    }

    /// Extents from the first that ends past `offset`.
    pub(crate) fn extents_from(
        &self,
        replica: ReplicaId,
        offset: i64,
    ) -> impl Iterator<Item = Extent> + '_ {
        let slot = self.get(replica);
        let older = slot
            .and_then(|slot| self.lists(slot))
            .map(|lists| lists.extents.from(offset));
        let newest = slot
            .and_then(Slot::newest)
            .filter(|extent| extent.end > offset);
        older.into_iter().flatten().chain(newest)
    }

    /// Puts changed extents back: the last is the newest. A list that is not needed any more is given back.
    fn put_extents(&mut self, replica: ReplicaId, mut all: All) {
        let newest = all.pop();
        let Some(slot) = self.change(replica) else {
            return;
        };
        slot.set_newest(newest);
        let at = slot.lists;
        if all.is_empty() && at == NONE {
            return;
        }
        let lists = self.lists_mut(replica);
        let before = lists.extents.heap_bytes() as u64;
        lists.extents = all.into_iter().collect();
        let after = lists.extents.heap_bytes() as u64;
        let needed = !lists.extents.is_empty() || !lists.epochs.is_empty();
        self.list_bytes = self.list_bytes - before + after;
        if !needed {
            self.lists.remove(at as usize);
            if let Some(slot) = self.change(replica) {
                slot.lists = NONE;
            }
        }
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
                    let extents = &mut self.lists_mut(replica).extents;
                    let before = extents.heap_bytes() as u64;
                    extents.push_back(newest);
                    let after = extents.heap_bytes() as u64;
                    self.list_bytes = self.list_bytes - before + after;
                }
                true
            }
        }
    }

    /// Clips and drops what lies at or past `to`.
    pub(crate) fn clip_extents(
        &mut self,
        replica: ReplicaId,
        to: i64,
        released: &mut Vec<Released>,
    ) {
        let Some(newest) = self.get(replica).and_then(Slot::newest) else {
            return;
        };
        if newest.end <= to {
            return;
        }
        let mut all: All = if newest.base < to {
            // Most truncations cut the newest only.
            SmallVec::from_slice(&[newest])
        } else {
            self.extents(replica).collect()
        };
        let whole_list = newest.base >= to;
        let mut gone_bytes = 0;
        while let Some(&last) = all.last()
            && last.base >= to
        {
            all.pop();
            self.extents -= 1;
            gone_bytes += u64::from(last.bytes);
            released.push(Released {
                segment: last.segment,
                bytes: last.bytes,
                whole: true,
            });
        }
        if let Some(last) = all.last_mut()
            && last.end > to
        {
            // The share that goes is a guess: only whole extents decide when a segment is free.
            let kept = u128::from(last.bytes) * u128::from(to.abs_diff(last.base))
                / u128::from(last.end.abs_diff(last.base));
            let gone = last.bytes - kept as u32;
            gone_bytes += u64::from(gone);
            (last.end, last.bytes) = (to, kept as u32);
            released.push(Released {
                segment: last.segment,
                bytes: gone,
                whole: false,
            });
        }
        if let Some(slot) = self.change(replica) {
            slot.bytes -= gone_bytes;
            if !whole_list {
                slot.set_newest(all.pop());
            }
        }
        if whole_list {
            self.put_extents(replica, all);
        }
    }

    /// Drops the extents that end at or below `offset`.
    pub(crate) fn drop_extents_below(
        &mut self,
        replica: ReplicaId,
        offset: i64,
        released: &mut Vec<Released>,
    ) {
        if self
            .extents(replica)
            .next()
            .is_none_or(|first| first.end > offset)
        {
            return;
        }
        let mut all: All = self.extents(replica).collect();
        let dropped = all.partition_point(|extent| extent.end <= offset);
        let mut bytes = 0;
        for extent in all.drain(..dropped) {
            bytes += u64::from(extent.bytes);
            released.push(Released {
                segment: extent.segment,
                bytes: extent.bytes,
                whole: true,
            });
        }
        self.extents -= dropped as u64;
        if let Some(slot) = self.change(replica) {
            slot.bytes -= bytes;
        }
        self.put_extents(replica, all);
    }

    /// Extents of the old segment that begin within the moved range now lie in `new`, or are gone when a plan left nothing of them; neighbours
    /// there are joined. `new` then counts what came more, and what was joined less; the latter may be the greater, since extents that lay
    /// in `new` before may become neighbours.
    pub(crate) fn move_extents(&mut self, moved: &MovedExtent, new: u32) -> MovedExtents {
        let mut change = MovedExtents::default();
        let replica = moved.replica;
        let fits = |extent: &Extent| {
            extent.segment == moved.old && extent.base >= moved.base && extent.base < moved.end
        };
        if !self
            .extents_from(replica, moved.base)
            .any(|extent| fits(&extent))
        {
            return change;
        }
        let mut all: All = self.extents(replica).collect();
        all.retain(|extent| {
            if !fits(extent) {
                return true;
            }
            change.left += 1;
            change.bytes_left += u64::from(extent.bytes);
            if moved.bytes == Some(0) {
                change.removed.push((extent.base, extent.end));
                return false;
            }
            extent.segment = new;
            let bytes = moved.bytes.unwrap_or(extent.bytes);
            extent.bytes = bytes.min(extent.bytes);
            change.arrived += 1;
            change.bytes_arrived += u64::from(extent.bytes);
            true
        });
        change.joined = join_neighbours(&mut all, new);
        self.extents -= u64::from(change.left - change.arrived + change.joined);
        if let Some(slot) = self.change(replica) {
            slot.bytes = slot.bytes - change.bytes_left + change.bytes_arrived;
        }
        self.put_extents(replica, all);
        change
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
        let lists = self.lists.capacity() * std::mem::size_of::<Lists>();
        (chunks + lists + self.marks.memory_bytes()) as u64 + self.list_bytes
    }
}

/// Joins extents of `segment` that lie behind one another. Answers how many are gone.
fn join_neighbours(all: &mut All, segment: u32) -> u32 {
    let before = all.len();
    all.dedup_by(|extent, last| {
        let joins = last.segment == segment
            && extent.segment == segment
            && last.bytes.checked_add(extent.bytes).is_some();
        if joins {
            last.end = extent.end;
            last.bytes += extent.bytes;
            last.max_timestamp = last.max_timestamp.max(extent.max_timestamp);
        }
        joins
    });
    (before - all.len()) as u32
}

/// What `move_extents` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MovedExtents {
    /// Extents that left the old segment, and their bytes there.
    pub left: u32,
    pub bytes_left: u64,
    /// Of these in the new one, and their bytes now.
    pub arrived: u32,
    pub bytes_arrived: u64,
    /// Of these and their neighbours in the new one, joined to one another.
    pub joined: u32,
    /// Base and end of those that are gone.
    pub removed: SmallVec<[(i64, i64); 1]>,
}
