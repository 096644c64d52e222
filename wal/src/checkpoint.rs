//! Checkpoints: a snapshot of one moment (the caller's pages, the slots that changed, the segment table), encoded and written in pieces in
//! the background, and made the one that holds by a root slot, once everything below its LSN is durable. A segment without live extents is
//! free when a checkpoint that knows so holds, never before: recovery from the older one would still read it.
//!
//! One piece is in memory at a time, whatever the number of replicas: `marks.rs` says how it is still of one moment. Where the file system
//! has no space left, `reserve.rs` makes some.

use crate::buffer::AlignedBuffer;
use crate::checkpoint_encoder::{Encoded, Encoder, OldBase, file_number};
use crate::checkpoint_file::{CheckpointWriter, Meta};
use crate::cold::ColdPages;
use crate::index_file::Merge;
use crate::io::{
    BLOCK_BYTES, FileName, IoClass, IoFailure, IoFailureKind, IoResult, OfflineReason, Output,
};
use crate::layers::Upper;
use crate::layout::{FORMAT_VERSION, ROOT_DELTAS_MAX, ROOT_SLOT_BYTES, Root};
use crate::log::{Log, Purpose, expect_done};
use crate::segments::{Segment, SegmentState};
use crate::types::{Lsn, Now, Offset, ReplicaId};
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// A failed checkpoint is tried again after this.
const RETRY_US: u64 = 5_000_000;
/// Deltas may always be this large in all before a base is due.
const DELTA_BYTES_MIN: u64 = 1 << 20;
/// What a replica takes in a file, most often; a file that needs more grows.
pub(crate) const REPLICA_BYTES: u64 = 136;
/// A base is written for the sake of dead extents when it gives so much back for each byte of it.
const DEAD_BYTES_PER_BASE_BYTE: u64 = 32;
/// Or when so much, and an eighth of all, is dead.
const DEAD_BYTES_MIN: u64 = 4 << 10;

/// A page of the base before it that does not hold what it should.
const PAGE_LOST: IoFailure = IoFailure {
    kind: IoFailureKind::Device,
    os_code: 0,
};

/// A snapshot on its way to the disk.
#[derive(Debug)]
struct Snapshot {
    lsn: u64,
    file: FileName,
    /// The file is made with it.
    bytes_expected: u64,
    bytes: u64,
    encoder: Encoder,
    /// Encoded, and not on the disk. More than one only when the next snapshot had to be taken.
    pieces: VecDeque<(FileName, u64, Bytes)>,
    root: Root,
    /// As before it was taken: what holds again when it fails.
    before: Before,
    /// Segments that are free once it holds.
    freeing: Vec<u32>,
    /// Files that it makes superfluous.
    superfluous: Vec<FileName>,
    stage: Stage,
    retry_us: u64,
    root_failures: u32,
}

#[derive(Debug)]
struct Before {
    root: Option<Root>,
    last_lsn: u64,
    last_sequence: u64,
    cold: BTreeSet<ReplicaId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Create,
    /// The index file of a base.
    CreateIndex,
    /// A part of the base before it is read.
    Merge(OldBase),
    /// Something is being removed, to make room.
    MakeRoom,
    Write,
    Header,
    AwaitDurable,
    Root,
}

/// Checkpoints, done, under way and waiting.
#[derive(Debug, Default)]
pub(crate) struct Checkpointer {
    pub cold: ColdPages,
    /// Of these, changed since the last snapshot.
    cold_changed: BTreeSet<ReplicaId>,
    running: VecDeque<Snapshot>,
    busy: bool,
    /// The request under way belongs to a snapshot that was given up; these files go when it is done.
    abandoned: Vec<FileName>,
    /// As of the last snapshot taken, written or not.
    pub root: Option<Root>,
    pub base_bytes: u64,
    pub delta_bytes: u64,
    pub next_file: u32,
    pub last_lsn: u64,
    /// The next segment's sequence, as of then.
    pub last_sequence: u64,
    /// Due for another reason than how much was written.
    pub wanted: bool,
    due_told: bool,
    retry_us: u64,
}

impl Checkpointer {
    pub(crate) fn new(root: Root) -> Self {
        Self {
            root: Some(root),
            ..Self::default()
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    pub(crate) fn remove_cold(&mut self, replica: ReplicaId) {
        self.cold.remove(replica);
    }

    /// A base is under way whose pages of older extents are read one after another: nothing encodes it at once.
    fn encodes_base(&self) -> bool {
        let newest = self.running.back();
        newest.is_some_and(|snapshot| snapshot.encoder.is_base() && !snapshot.encoder.done)
    }
}

impl Log {
    /// Starts a checkpoint of everything up to now. `cold`: the shard's own pages that changed since the last call; they come
    /// back through `RecoveryVisitor::cold`. The snapshot is of this moment, and encoded piece by piece as the disk takes it. While an
    /// earlier one is not encoded to its end, that is done at once, but for a base: then nothing begins, and the pages wait for the next
    /// checkpoint, which is called for or that of `shut_down`. Call only when asked to, and before `shut_down`.
    pub fn begin_checkpoint(
        &mut self,
        now: Now,
        cold: Vec<(ReplicaId, Vec<u8>)>,
        out: &mut Vec<Output>,
    ) {
        self.begin_checkpoint_in_parts(now, out);
        self.checkpoint_pages(now, cold, false, out);
    }

    /// As `begin_checkpoint`, with the pages to follow through [`Log::checkpoint_pages`], in any number of calls. A page may say more than
    /// the checkpoint's moment, of frames appended since: recovery shows those frames to the visitor after the page.
    pub fn begin_checkpoint_in_parts(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.offline.is_some() {
            return;
        }
        if self.checkpointer.encodes_base() {
            (self.checkpointer.wanted, self.checkpointer.due_told) = (true, false);
            return;
        }
        self.encode_the_rest();
        self.close_filling();
        self.take_snapshot(now, false);
        if let Some(snapshot) = self.checkpointer.running.back_mut() {
            snapshot.encoder.pages_follow = true;
        }
        self.commit(now, out);
        self.proceed_checkpoint(now, out);
    }

    /// Pages for the checkpoint begun last. Where that was given up meanwhile, the next one takes them. `more`: further ones follow.
    pub fn checkpoint_pages(
        &mut self,
        now: Now,
        pages: Vec<(ReplicaId, Vec<u8>)>,
        more: bool,
        out: &mut Vec<Output>,
    ) {
        if self.offline.is_some() {
            return;
        }
        let checkpointer = &mut self.checkpointer;
        let mut snapshot = checkpointer
            .running
            .back_mut()
            .filter(|snapshot| snapshot.encoder.pages_follow);
        for (replica, page) in pages {
            if self.slots.get(replica).is_none() {
                continue;
            }
            checkpointer.cold.insert(replica, page);
            match &mut snapshot {
                Some(snapshot) => {
                    snapshot.encoder.cold.insert(replica);
                    snapshot.before.cold.insert(replica);
                }
                None => drop(checkpointer.cold_changed.insert(replica)),
            }
        }
        if let Some(snapshot) = snapshot {
            snapshot.encoder.pages_follow = more;
        }
        self.proceed_checkpoint(now, out);
    }

    /// Nothing is open, nothing under way: recovery finds everything in this one.
    pub(crate) fn begin_last_checkpoint(&mut self, now: Now, out: &mut Vec<Output>) {
        self.take_snapshot(now, true);
        self.proceed_checkpoint(now, out);
    }

    /// `clean`: the last one before a stop, which is short where it can be.
    fn base_is_due(&self, clean: bool) -> bool {
        let checkpointer = &self.checkpointer;
        if self.slots.layers.frozen.is_some() {
            return false;
        }
        checkpointer.root.as_ref().is_none_or(|root| {
            let deltas_max = if clean {
                ROOT_DELTAS_MAX
            } else {
                self.options.checkpoint_deltas_max.min(ROOT_DELTAS_MAX)
            };
            root.deltas.len() >= deltas_max
                || !clean
                    && (checkpointer.delta_bytes > checkpointer.base_bytes.max(DELTA_BYTES_MIN)
                        || self.merge_is_due())
        })
    }

    /// Memory has enough of older extents for a base, or a base gives enough dead ones back for what it takes to write.
    fn merge_is_due(&self) -> bool {
        let layers = &self.slots.layers;
        let dead_bytes = layers.dead_bytes;
        layers.frozen.is_none()
            && (layers.upper_bytes() > self.options.upper_extent_bytes_max / 2
                || self.checkpointer.cold.memory_bytes() > self.options.cold_bytes_max
                || dead_bytes > DEAD_BYTES_PER_BASE_BYTE * self.checkpointer.base_bytes
                || (dead_bytes > DEAD_BYTES_MIN && dead_bytes > self.rewriter.pace.held_bytes / 8)
                || (dead_bytes > 0 && self.space_is_low()))
    }

    /// So much waits in memory for a base that nothing more may come until one holds.
    pub(crate) fn upper_extents_are_full(&self) -> bool {
        self.slots.layers.layered_bytes() > self.options.upper_extent_bytes_max
    }

    fn take_snapshot(&mut self, now: Now, clean: bool) {
        let base = self.base_is_due(clean);
        let lsn = self.closed_lsn;
        let number = self.checkpointer.next_file;
        self.checkpointer.next_file += 1;
        let mut writer = CheckpointWriter::new(number, base, self.entropy.next(), lsn);
        writer.meta(&self.snapshot_meta(now, lsn));
        let freeing = self.snapshot_segments(&mut writer);
        for (&(replica, first), &last) in &self.damage {
            writer.damage(replica, first, last);
        }
        let replicas = self
            .slots
            .begin_snapshot(base, !self.checkpointer.is_idle());
        let merge = base.then(|| {
            let nonce = self.entropy.next();
            let old = self.slots.layers.base.clone();
            self.slots.layers.freeze();
            self.segments.freeze();
            Merge::new(old, number, nonce, self.next_replica)
        });
        let cold = std::mem::take(&mut self.checkpointer.cold_changed);
        let bytes_expected = if base {
            self.base_bytes_expected()
        } else {
            replicas * REPLICA_BYTES + 2 * BLOCK_BYTES as u64
        };
        let (root, superfluous) = self.next_root(base, number, clean);
        let checkpointer = &mut self.checkpointer;
        let before = Before {
            root: checkpointer.root.replace(root.clone()),
            last_lsn: checkpointer.last_lsn,
            last_sequence: checkpointer.last_sequence,
            cold: cold.clone(),
        };
        checkpointer.last_lsn = lsn;
        checkpointer.last_sequence = self.next_sequence;
        checkpointer.due_told = false;
        checkpointer.wanted = false;
        let file = if base {
            FileName::CheckpointBase(number)
        } else {
            FileName::CheckpointDelta(number)
        };
        checkpointer.running.push_back(Snapshot {
            lsn,
            file,
            bytes_expected: bytes_expected.next_multiple_of(BLOCK_BYTES as u64),
            bytes: BLOCK_BYTES as u64,
            encoder: Encoder::new(writer, cold, merge, self.segments.fences_to_save(base)),
            pieces: VecDeque::new(),
            root,
            before,
            freeing,
            superfluous,
            stage: Stage::Create,
            retry_us: 0,
            root_failures: 0,
        });
    }

    /// The root that names the next file, and the files that it no longer names.
    fn next_root(&self, base: bool, number: u32, clean: bool) -> (Root, Vec<FileName>) {
        let old = self.checkpointer.root.as_ref();
        let counter = old.map_or(1, |root| root.counter + 1);
        let root = |base, deltas| Root {
            version: FORMAT_VERSION,
            counter,
            base,
            deltas,
            clean,
        };
        match old {
            Some(old) if !base => {
                let deltas = old.deltas.iter().copied().chain([number]).collect();
                (root(old.base, deltas), Vec::new())
            }
            old => {
                let superfluous = old.into_iter().flat_map(|old| {
                    let deltas = old.deltas.iter().copied().map(FileName::CheckpointDelta);
                    [
                        FileName::CheckpointBase(old.base),
                        FileName::Index(old.base),
                    ]
                    .into_iter()
                    .chain(deltas)
                });
                (root(number, Vec::new()), superfluous.collect())
            }
        }
    }

    fn snapshot_meta(&self, now: Now, lsn: u64) -> Meta {
        Meta {
            lsn,
            issued_lsn: self.issued_lsn,
            next_replica: self.next_replica,
            next_sequence: self.next_sequence,
            write_number: self.write_number,
            broker_epoch: self.broker_epoch,
            metadata_offset_max: self.metadata_offset_max,
            // With none active, the log goes on in one that is used later than any so far.
            active_sequence: self
                .segments
                .get(self.active)
                .map_or(self.next_sequence - 1, |segment| segment.sequence),
            wall_ms: self.retention.wall_ms_to_keep(now),
            dead_bytes: self.slots.layers.dead_bytes,
        }
    }

    /// Segments that hold something. Those that hold nothing live any more are left out, and free once this snapshot holds.
    fn snapshot_segments(&mut self, writer: &mut CheckpointWriter) -> Vec<u32> {
        let mut freeing = Vec::new();
        for (file, segment) in self.segments.iter() {
            match segment.state {
                // Edits that are still being logged may yet fill an empty one.
                SegmentState::Sealed
                    if segment.extents() == 0 && self.rewriter.editing != Some(file) =>
                {
                    freeing.push(file)
                }
                SegmentState::Active | SegmentState::Sealing | SegmentState::Sealed => {
                    writer.segment(&segment.record(file))
                }
                _ => {}
            }
        }
        for &file in &freeing {
            self.segments.set_state(file, SegmentState::Freeing);
        }
        freeing
    }

    /// Encodes until the newest snapshot has a piece, or is at its end. Answers which pages of the base before it must be read first.
    fn encode_some(&mut self) -> Option<OldBase> {
        let snapshot = self.checkpointer.running.back_mut()?;
        let cold = &mut self.checkpointer.cold;
        let (file, encoder) = (snapshot.file, &mut snapshot.encoder);
        let encoded = encoder.encode(file, &mut self.slots, &mut self.segments, cold);
        let Encoded { pieces, missing } = encoded;
        for (file, position, piece) in pieces {
            if file == snapshot.file {
                snapshot.bytes = snapshot.bytes.max(position + piece.len() as u64);
            }
            snapshot.pieces.push_back((file, position, piece));
        }
        missing
    }

    /// Another snapshot is to be taken: the one under way is encoded to its end, into memory.
    fn encode_the_rest(&mut self) {
        if let Some(snapshot) = self.checkpointer.running.back_mut() {
            snapshot.encoder.pages_follow = false;
        }
        while self
            .checkpointer
            .running
            .back()
            .is_some_and(|snapshot| !snapshot.encoder.done)
        {
            let missing = self.encode_some();
            assert!(missing.is_none(), "only a base reads another one");
        }
    }

    /// The next request of the oldest snapshot; and the call for a new one when it is time.
    pub(crate) fn proceed_checkpoint(&mut self, now: Now, out: &mut Vec<Output>) {
        self.call_for_checkpoint(now, out);
        if self.checkpointer.busy {
            return;
        }
        let durable_lsn = self.durable_lsn;
        let Some(snapshot) = self.checkpointer.running.front_mut() else {
            return;
        };
        if now.monotonic_us < snapshot.retry_us {
            return;
        }
        if snapshot.stage == Stage::Write && snapshot.pieces.is_empty() {
            if snapshot.encoder.done {
                snapshot.stage = Stage::Header;
            } else if let Some(old) = self.encode_some() {
                return self.read_old_base(old, out);
            }
            if self.mark_lost_pages(out) {
                return self.proceed_checkpoint(now, out);
            }
        }
        let Some(snapshot) = self.checkpointer.running.front_mut() else {
            return;
        };
        if snapshot.stage == Stage::AwaitDurable && snapshot.lsn <= durable_lsn {
            snapshot.stage = Stage::Root;
        }
        let file = snapshot.file;
        match snapshot.stage {
            Stage::Create => {
                let bytes = snapshot.bytes_expected;
                self.create_file(Purpose::Checkpoint, file, bytes, false, out);
            }
            Stage::CreateIndex => {
                let none = Upper::new();
                let frozen = self.slots.layers.frozen.as_ref().unwrap_or(&none);
                let merge = snapshot.encoder.merge.as_ref();
                let bytes = merge.map_or(0, |merge| merge.bytes_expected(frozen));
                let index = FileName::Index(file_number(file));
                self.create_file(Purpose::Checkpoint, index, bytes, false, out);
            }
            Stage::Merge(_) => return,
            Stage::Write => {
                let Some((file, position, piece)) = snapshot.pieces.front().cloned() else {
                    return;
                };
                self.write_checkpoint(file, position, piece, out);
            }
            Stage::Header => {
                let block = snapshot.encoder.writer.header().freeze();
                self.write_checkpoint(file, 0, block, out);
            }
            Stage::AwaitDurable => return,
            Stage::Root => {
                let mut block = AlignedBuffer::new(ROOT_SLOT_BYTES);
                snapshot.root.encode(&mut block);
                let position = (snapshot.root.counter % 2) * BLOCK_BYTES as u64;
                self.write_checkpoint(FileName::Root, position, block.freeze(), out);
            }
            Stage::MakeRoom => {
                if !self.give_room(Purpose::Checkpoint, now, out) {
                    return self.abandon_checkpoint(now, out);
                }
            }
        }
        self.checkpointer.busy = true;
    }

    fn read_old_base(&mut self, old: OldBase, out: &mut Vec<Output>) {
        if let Some(snapshot) = self.checkpointer.running.front_mut() {
            snapshot.stage = Stage::Merge(old);
        }
        self.checkpointer.busy = true;
        let (file, position, length) = match old {
            OldBase::Index { first, count } => (
                FileName::Index(self.slots.layers.base.number),
                u64::from(first) * BLOCK_BYTES as u64,
                count as usize * BLOCK_BYTES,
            ),
            OldBase::Cold { position, length } => {
                let number = self.checkpointer.cold.base.number;
                (FileName::CheckpointBase(number), position, length)
            }
        };
        let class = IoClass::Background;
        self.read_file(Purpose::Checkpoint, file, position, length, class, out);
    }

    fn write_checkpoint(
        &mut self,
        file: FileName,
        position: u64,
        piece: Bytes,
        out: &mut Vec<Output>,
    ) {
        let class = IoClass::Background;
        self.write(Purpose::Checkpoint, file, position, piece, true, class, out);
    }

    fn call_for_checkpoint(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.checkpointer.due_told
            || self.shutting_down
            || !self.checkpointer.is_idle()
            || now.monotonic_us < self.checkpointer.retry_us
        {
            return;
        }
        let log_bytes = self.closed_lsn - self.checkpointer.last_lsn;
        // A start after an unclean stop begins a segment, however little the last one holds: a node that is killed again and again must not
        // gather segments to replay without end.
        let segments = self.next_sequence - self.checkpointer.last_sequence;
        let segment_bytes = segments.saturating_mul(self.segment_bytes);
        let due = (self.checkpointer.wanted && self.sealing.is_empty())
            || log_bytes.max(segment_bytes) >= self.options.checkpoint_interval_bytes
            || (self.space_is_low() && self.something_is_dead())
            || self.merge_is_due();
        if due {
            self.checkpointer.due_told = true;
            out.push(Output::CheckpointDue);
        }
    }

    pub(crate) fn something_is_dead(&self) -> bool {
        self.dead().next().is_some()
    }

    /// Segments that hold nothing and are free with the next checkpoint.
    pub(crate) fn dead_segments(&self) -> u64 {
        self.dead().count() as u64
    }

    fn dead(&self) -> impl Iterator<Item = &Segment> {
        self.segments
            .iter()
            .map(|(_, segment)| segment)
            .filter(|segment| segment.state == SegmentState::Sealed && segment.extents() == 0)
    }

    pub(crate) fn checkpoint_io_done(&mut self, now: Now, result: IoResult, out: &mut Vec<Output>) {
        self.checkpointer.busy = false;
        let abandoned = std::mem::take(&mut self.checkpointer.abandoned);
        if !abandoned.is_empty() {
            for file in abandoned {
                self.remove_file(file, out);
            }
            return;
        }
        let stage = self
            .checkpointer
            .running
            .front()
            .map(|snapshot| snapshot.stage);
        if let Some(Stage::Merge(old)) = stage {
            return self.old_base_read(now, old, result, out);
        }
        if let Err(failure) = expect_done(result) {
            return self.checkpoint_failed(now, failure, out);
        }
        let Some(snapshot) = self.checkpointer.running.front_mut() else {
            return;
        };
        match snapshot.stage {
            Stage::Create if snapshot.encoder.is_base() => snapshot.stage = Stage::CreateIndex,
            Stage::Create | Stage::CreateIndex => snapshot.stage = Stage::Write,
            Stage::Merge(_) => {}
            Stage::MakeRoom => snapshot.stage = Stage::Create,
            Stage::Write => {
                snapshot.pieces.pop_front();
            }
            Stage::Header => snapshot.stage = Stage::AwaitDurable,
            Stage::AwaitDurable => {}
            Stage::Root => self.checkpoint_holds(out),
        }
    }

    fn old_base_read(&mut self, now: Now, old: OldBase, result: IoResult, out: &mut Vec<Output>) {
        let Some(snapshot) = self.checkpointer.running.front_mut() else {
            return;
        };
        let encoder = &mut snapshot.encoder;
        let failure = match result {
            IoResult::Data(data) => {
                let taken = match old {
                    OldBase::Index { first, .. } => {
                        if let Some(merge) = encoder.merge.as_mut() {
                            merge.take_pages(first, &data);
                        }
                        true
                    }
                    OldBase::Cold { position, .. } => {
                        let merge = encoder.cold_merge.as_mut();
                        merge.is_some_and(|merge| merge.take_old(position, &data))
                    }
                };
                if taken {
                    snapshot.stage = Stage::Write;
                    return;
                }
                PAGE_LOST
            }
            IoResult::Failed(failure) => {
                if let (OldBase::Index { first, count }, Some(merge)) = (old, &mut encoder.merge) {
                    // What is lost for good must not keep all later bases from being written.
                    merge.pages_failed(first, count);
                    snapshot.stage = Stage::Write;
                    return;
                }
                failure
            }
            IoResult::Done => PAGE_LOST,
        };
        self.checkpoint_failed(now, failure, out);
    }

    /// Pages of the base before it that were lost led to extents that nothing leads to any more: their offsets are damaged from now on.
    /// Answers whether there were some.
    fn mark_lost_pages(&mut self, out: &mut Vec<Output>) -> bool {
        let Some(snapshot) = self.checkpointer.running.back_mut() else {
            return false;
        };
        let lost = snapshot.encoder.take_lost(&self.slots);
        let any = !lost.is_empty();
        for (replica, first, last, page) in lost {
            snapshot.encoder.writer.damage(replica, first, last);
            self.damage.insert((replica, first), last);
            self.slots.unsettle(replica);
            self.statistics.frames_damaged += 1;
            out.push(Output::Damaged {
                replica: Some(replica),
                first: Offset(first),
                last: Offset(last),
                file: FileName::Index(self.slots.layers.base.number),
                position: u64::from(page) * BLOCK_BYTES as u64,
            });
        }
        any
    }

    fn checkpoint_failed(&mut self, now: Now, failure: IoFailure, out: &mut Vec<Output>) {
        let room = self.reserve.bytes > 0 || self.segments.first_free().is_some();
        let Some(snapshot) = self.checkpointer.running.front_mut() else {
            return;
        };
        let file = snapshot.file;
        let no_space = failure.kind == IoFailureKind::OutOfSpace;
        match snapshot.stage {
            Stage::Create | Stage::CreateIndex if no_space && room => {
                snapshot.stage = Stage::MakeRoom;
            }
            Stage::Root => {
                snapshot.root_failures += 1;
                if snapshot.root_failures > 1 {
                    return self.go_offline(OfflineReason::CheckpointFailed(failure), out);
                }
                out.push(Output::Message(format!(
                    "the root of checkpoint {file} could not be written ({failure}); tried once more"
                )));
            }
            _ => {
                out.push(Output::Message(format!(
                    "checkpoint {file} could not be written ({failure}); another is tried in 5 s"
                )));
                self.abandon_checkpoint(now, out);
                if no_space {
                    // It grew past what it was made with: the next one finds more room.
                    self.give_room(Purpose::Ignored, now, out);
                }
                self.give_up_closing(out);
            }
        }
    }

    /// What was written cannot be trusted, and what was encoded is gone: the next one starts from the same state as this one did.
    fn abandon_checkpoint(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(snapshot) = self.checkpointer.running.pop_back() {
            self.abandon_snapshot(snapshot, now, out);
        }
    }

    /// A log write failed. What it holds will lie elsewhere than snapshots say that were taken while it was under way.
    pub(crate) fn abandon_undurable_checkpoints(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(snapshot) = self.checkpointer.running.pop_back() {
            if snapshot.lsn <= self.durable_lsn {
                self.checkpointer.running.push_back(snapshot);
                return;
            }
            self.abandon_snapshot(snapshot, now, out);
        }
    }

    /// The newest of those under way.
    fn abandon_snapshot(&mut self, snapshot: Snapshot, now: Now, out: &mut Vec<Output>) {
        self.slots.abandon_snapshot();
        if snapshot.encoder.cold_merge.is_some() {
            self.checkpointer.cold.thaw();
        }
        self.segments.forget_saved_fences();
        if snapshot.encoder.is_base() {
            self.slots.layers.thaw();
            self.segments.thaw(&self.slots.layers.upper_shares());
            self.slots.unsettle_guessed();
        }
        for file in snapshot.freeing {
            self.segments.set_state(file, SegmentState::Sealed);
        }
        let under_way = self.checkpointer.busy && self.checkpointer.running.is_empty();
        let checkpointer = &mut self.checkpointer;
        let before = snapshot.before;
        checkpointer.root = before.root;
        checkpointer.last_lsn = before.last_lsn;
        checkpointer.last_sequence = before.last_sequence;
        checkpointer.cold_changed.extend(before.cold);
        checkpointer.wanted = true;
        checkpointer.retry_us = now.monotonic_us + RETRY_US;
        let index = FileName::Index(file_number(snapshot.file));
        let index = snapshot.encoder.is_base().then_some(index);
        let files = [snapshot.file].into_iter().chain(index);
        if under_way {
            checkpointer.abandoned.extend(files);
        } else {
            for file in files {
                self.remove_file(file, out);
            }
        }
    }

    fn checkpoint_holds(&mut self, out: &mut Vec<Output>) {
        let Some(snapshot) = self.checkpointer.running.pop_front() else {
            return;
        };
        if let Some(merge) = snapshot.encoder.merge {
            self.checkpointer.base_bytes = snapshot.bytes + merge.bytes();
            self.checkpointer.delta_bytes = 0;
            let cold = snapshot.encoder.writer.cold_base(snapshot.bytes);
            self.checkpointer.cold.replace_base(cold);
            let (base, shares) = merge.finish();
            self.extent_pages
                .forget_segment(self.slots.layers.base.number);
            self.slots.layers.replace_base(base);
            self.segments.replace_base(&shares);
            self.slots.unsettle_guessed();
            for (replica, _) in self.damage.keys() {
                self.slots.unsettle(*replica);
            }
            // What it found dead is free when the next one holds.
            self.checkpointer.wanted |= self.something_is_dead();
        } else {
            self.checkpointer.delta_bytes += snapshot.bytes;
        }
        for file in snapshot.freeing {
            self.segments.set_state(file, SegmentState::Free);
        }
        for file in snapshot.superfluous {
            self.remove_file(file, out);
        }
        self.statistics.checkpoints += 1;
        self.statistics.checkpoint_bytes += snapshot.bytes;
        out.push(Output::CheckpointDone {
            lsn: Lsn(snapshot.lsn),
        });
    }
}
