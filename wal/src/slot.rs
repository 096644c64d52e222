//! What RAM holds per replica: a slot of 128 bytes with its newest extent, and older epochs for those that have some; older extents lie
//! in layers (`layers.rs`), and `slot_extents.rs` changes both. Offsets move only through the setters here, which keep
//! log start <= high watermark <= log end and log start <= durable end <= log end.

use crate::checkpoint_file::{CheckpointWriter, encode_entry, encode_slot};
use crate::extent_list::Epochs;
use crate::layers::Layers;
use crate::marks::{CHUNK_SLOTS, Marks};
use crate::types::{CreateReplica, LeaderEpoch, Offset, ReplicaId, ReplicaState, TopicId};
use slab::Slab;
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// "No segment", "no lists".
pub(crate) const NONE: u32 = u32::MAX;

/// The slot is in use.
const FLAG_LIVE: u16 = 2;
/// Extents went of which it was not looked up how large they were: `bytes` is too high until `survey.rs` has counted.
pub(crate) const FLAG_UNSETTLED: u16 = 4;

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
    /// Older epochs: an index of `SlotTable::epochs`.
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

/// All extents of a replica's list while they are changed.
pub(crate) type All = SmallVec<[Extent; 16]>;

/// Where an extent is held, as its segment counts it: in a slot, or in the uppermost layer (`layers.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Newest,
    Listed,
}

/// What a change to a replica's extents means for a segment: so many more or fewer of them, and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub segment: u32,
    pub held: Held,
    pub extents: i32,
    pub bytes: i64,
}

impl Tally {
    pub(crate) fn more(extent: &Extent, held: Held) -> Self {
        Self {
            segment: extent.segment,
            held,
            extents: 1,
            bytes: i64::from(extent.bytes),
        }
    }

    pub(crate) fn fewer(extent: &Extent, held: Held) -> Self {
        Self {
            segment: extent.segment,
            held,
            extents: -1,
            bytes: -i64::from(extent.bytes),
        }
    }

    pub(crate) fn resized(before: &Extent, after: &Extent, held: Held) -> Self {
        Self {
            segment: before.segment,
            held,
            extents: 0,
            bytes: i64::from(after.bytes) - i64::from(before.bytes),
        }
    }
}

pub(crate) type Tallies = SmallVec<[Tally; 4]>;

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

    pub(crate) fn is_unsettled(&self) -> bool {
        self.flags & FLAG_UNSETTLED != 0
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
    /// Older epochs, of those that have some.
    epochs: Slab<Epochs>,
    pub layers: Layers,
    marks: Marks,
    /// Records of replicas that changed before the snapshot under way came to them.
    saved: Vec<u8>,
    /// The snapshot under way is a base: what it has of extents is frozen already.
    saving_base: bool,
    live: u64,
    /// Replicas whose bytes are to be counted; some of those that say so.
    pub unsettled: BTreeSet<ReplicaId>,
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

    /// For a change that the next checkpoint must hold. Epochs and layers change after a call of `touch` only, which this one makes.
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
        let epochs = (slot.lists != NONE).then(|| &self.epochs[slot.lists as usize]);
        encode_slot(&mut self.saved, replica, slot, epochs);
        if !self.saving_base
            && let Some(entry) = self.layers.get(replica)
        {
            encode_entry(&mut self.saved, replica, entry);
        }
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
        chunk.slots[index].flags |= FLAG_LIVE;
        chunk.live += 1;
        self.live += 1;
        self.marks.set_live(replica, true);
        self.marks.touch(replica);
        if slot.is_unsettled() {
            self.note_unsettled(replica);
        }
    }

    /// Removes a replica; what its extents held is tallied.
    pub(crate) fn remove(&mut self, replica: ReplicaId, tallies: &mut Tallies) -> bool {
        let Some(slot) = self.change(replica).copied() else {
            return false;
        };
        self.remove_extents(replica, &slot, tallies);
        let (chunk_index, index) = place(replica);
        let Some(chunk) = self.chunks[chunk_index].as_mut() else {
            return false;
        };
        chunk.slots[index] = EMPTY;
        chunk.live -= 1;
        self.marks.set_live(replica, false);
        if chunk.live == 0 {
            self.chunks[chunk_index] = None;
        }
        self.live -= 1;
        if slot.lists != NONE {
            self.epochs.remove(slot.lists as usize);
        }
        true
    }

    /// Forgets a slot that a later record replaces (recovery; segments count their extents afterwards).
    pub(crate) fn discard(&mut self, replica: ReplicaId) {
        self.remove(replica, &mut Tallies::new());
        self.layers.forget(replica);
    }

    /// A replica that is gone as of a checkpoint's delta: what the base has of it is void.
    pub(crate) fn discard_for_good(&mut self, replica: ReplicaId) {
        self.discard(replica);
        if self.layers.may_lie_below(replica) {
            self.layers.change(replica, |entry| entry.gone = true);
        }
    }

    fn epochs_of(&self, slot: &Slot) -> Option<&Epochs> {
        (slot.lists != NONE).then(|| &self.epochs[slot.lists as usize])
    }

    fn epochs_mut(&mut self, replica: ReplicaId) -> &mut Epochs {
        self.touch(replica);
        let at = self.get(replica).map_or(NONE, |slot| slot.lists);
        let at = if at == NONE {
            let at = self.epochs.insert(Epochs::default());
            if let Some(slot) = self.change(replica) {
                slot.lists = u32::try_from(at).expect("fewer lists than replicas");
            }
            at
        } else {
            at as usize
        };
        &mut self.epochs[at]
    }

    /// Sets the older epochs (recovery).
    pub(crate) fn set_epochs(&mut self, replica: ReplicaId, epochs: Epochs) {
        if !epochs.is_empty() {
            *self.epochs_mut(replica) = epochs;
        }
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
            self.epochs_mut(replica).push_back((last, last_start));
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
                self.epochs[lists as usize].pop_back()
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
            let epochs = &mut self.epochs[slot.lists as usize];
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
            .and_then(|slot| self.epochs_of(slot))
            .map(|epochs| epochs.iter().copied());
        let newest = slot
            .filter(|slot| slot.last_epoch >= 0)
            .map(|slot| (slot.last_epoch, slot.epoch_start));
        older.into_iter().flatten().chain(newest)
    }

    /// A snapshot of this moment begins: of all replicas, or of those that changed since the last one. Answers how many.
    pub(crate) fn begin_snapshot(&mut self, all: bool, others_wait: bool) -> u64 {
        assert!(self.saved.is_empty(), "one snapshot is encoded at a time");
        self.saving_base = all;
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
                Some(slot) => {
                    writer.slot(replica, slot, self.epochs_of(slot));
                    if !self.saving_base
                        && let Some(entry) = self.layers.get(replica)
                    {
                        writer.entry(replica, entry);
                    }
                }
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

    /// Live replicas from this one on.
    pub(crate) fn iter_from(
        &self,
        from: ReplicaId,
    ) -> impl Iterator<Item = (ReplicaId, &Slot)> + '_ {
        (from.0..(self.chunks.len() * CHUNK_SLOTS) as u64)
            .filter_map(|replica| Some((ReplicaId(replica), self.get(ReplicaId(replica))?)))
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

    /// Bytes of memory held: by slots, their epochs and marks; what the layers of older extents take is counted by themselves.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let chunks =
            self.chunks.iter().flatten().count() * CHUNK_SLOTS * std::mem::size_of::<Slot>();
        let epochs = self.epochs.capacity() * std::mem::size_of::<Epochs>();
        (chunks + epochs + self.marks.memory_bytes()) as u64
    }
}
