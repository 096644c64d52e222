//! Checkpoints: a snapshot taken at one moment (the caller's pages, the slots that changed, the segment table), written in the background,
//! and made the one that holds by a root slot, once everything below its LSN is durable. A segment without live extents is free when a
//! checkpoint that knows so holds, never before: recovery from the older one would still read it.

use crate::buffer::AlignedBuffer;
use crate::checkpoint_file::{CheckpointWriter, Meta};
use crate::io::{BLOCK_BYTES, FileName, IoClass, IoResult, Output};
use crate::layout::{FORMAT_VERSION, ROOT_DELTAS_MAX, ROOT_SLOT_BYTES, Root};
use crate::log::{Log, Purpose, expect_done};
use crate::segments::SegmentState;
use crate::types::{Lsn, Now, ReplicaId};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// One write of a checkpoint file.
const WRITE_BYTES: usize = 1 << 20;
/// A failed request is tried again after this.
const RETRY_US: u64 = 5_000_000;
/// Deltas may always be this large in all before a base is due.
const DELTA_BYTES_MIN: u64 = 1 << 20;

/// A snapshot on its way to the disk.
#[derive(Debug)]
struct Snapshot {
    lsn: u64,
    file: FileName,
    bytes: Bytes,
    written: usize,
    root: Root,
    /// Segments that are free once it holds.
    freeing: Vec<u32>,
    /// Files that it makes superfluous.
    superfluous: Vec<FileName>,
    stage: Stage,
    retry_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Create,
    Write,
    AwaitDurable,
    Root,
}

/// Checkpoints, done, under way and waiting.
#[derive(Debug, Default)]
pub(crate) struct Checkpointer {
    /// The shard's pages as last given. (In memory: the next base needs them all.)
    pub cold: BTreeMap<ReplicaId, Box<[u8]>>,
    running: VecDeque<Snapshot>,
    busy: bool,
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
}

impl Log {
    /// Starts a checkpoint of everything up to now. `cold`: the shard's own pages that changed since the last call, as of now; they come
    /// back through `RecoveryVisitor::cold`. The snapshot is taken at once; when an earlier one is still being written, it waits its turn.
    pub fn begin_checkpoint(
        &mut self,
        now: Now,
        cold: Vec<(ReplicaId, Vec<u8>)>,
        out: &mut Vec<Output>,
    ) {
        if self.offline.is_some() {
            return;
        }
        let mut changed = Vec::with_capacity(cold.len());
        for (replica, page) in cold {
            if self.slots.get(replica).is_some() {
                self.checkpointer
                    .cold
                    .insert(replica, page.into_boxed_slice());
                changed.push(replica);
            }
        }
        self.close_filling();
        self.queue_snapshot(now, &changed);
        self.commit(now, out);
        self.proceed_checkpoint(now, out);
    }

    /// Nothing is open, nothing under way: recovery finds everything in this one.
    pub(crate) fn begin_last_checkpoint(&mut self, now: Now, out: &mut Vec<Output>) {
        self.queue_snapshot(now, &[]);
        if let Some(snapshot) = self.checkpointer.running.back_mut() {
            snapshot.root.clean = true;
        }
        self.proceed_checkpoint(now, out);
    }

    fn queue_snapshot(&mut self, now: Now, cold_changed: &[ReplicaId]) {
        let snapshot = self.take_snapshot(now, cold_changed);
        self.checkpointer.last_lsn = snapshot.lsn;
        self.checkpointer.last_sequence = self.next_sequence;
        self.checkpointer.due_told = false;
        self.checkpointer.wanted = false;
        self.checkpointer.running.push_back(snapshot);
    }

    fn base_is_due(&self) -> bool {
        let checkpointer = &self.checkpointer;
        checkpointer.root.as_ref().is_none_or(|root| {
            root.deltas.len() >= self.options.checkpoint_deltas_max.min(ROOT_DELTAS_MAX)
                || checkpointer.delta_bytes > checkpointer.base_bytes.max(DELTA_BYTES_MIN)
        })
    }

    fn take_snapshot(&mut self, now: Now, cold_changed: &[ReplicaId]) -> Snapshot {
        let base = self.base_is_due();
        let mut writer = CheckpointWriter::default();
        let lsn = self.closed_lsn;
        writer.meta(&self.snapshot_meta(now, lsn));
        let freeing = self.snapshot_segments(&mut writer);
        self.snapshot_slots(&mut writer, base, cold_changed);
        for (&(replica, first), &last) in &self.damage {
            writer.damage(replica, first, last);
        }
        let number = self.checkpointer.next_file;
        self.checkpointer.next_file += 1;
        let nonce = self.entropy.next();
        let bytes = writer.finish(number, base, nonce, lsn).freeze();
        let old = self.checkpointer.root.take();
        let counter = old.as_ref().map_or(1, |root| root.counter + 1);
        let mut superfluous = Vec::new();
        let root = match old {
            Some(old) if !base => {
                self.checkpointer.delta_bytes += bytes.len() as u64;
                let deltas = old.deltas.iter().copied().chain([number]).collect();
                Root {
                    version: FORMAT_VERSION,
                    counter,
                    base: old.base,
                    deltas,
                    clean: false,
                }
            }
            old => {
                self.checkpointer.base_bytes = bytes.len() as u64;
                self.checkpointer.delta_bytes = 0;
                if let Some(old) = old {
                    superfluous.push(FileName::CheckpointBase(old.base));
                    superfluous.extend(old.deltas.into_iter().map(FileName::CheckpointDelta));
                }
                Root {
                    version: FORMAT_VERSION,
                    counter,
                    base: number,
                    deltas: Vec::new(),
                    clean: false,
                }
            }
        };
        self.checkpointer.root = Some(root.clone());
        let file = if base {
            FileName::CheckpointBase(number)
        } else {
            FileName::CheckpointDelta(number)
        };
        Snapshot {
            lsn,
            file,
            bytes,
            written: 0,
            root,
            freeing,
            superfluous,
            stage: Stage::Create,
            retry_us: 0,
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
            wall_ms: now.wall_ms,
        }
    }

    /// Segments that hold something. Those that hold nothing live any more are left out, and free once this snapshot holds.
    fn snapshot_segments(&mut self, writer: &mut CheckpointWriter) -> Vec<u32> {
        let mut freeing = Vec::new();
        for (file, segment) in self.segments.iter() {
            match segment.state {
                SegmentState::Sealed if segment.extents == 0 => freeing.push(file),
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

    fn snapshot_slots(
        &mut self,
        writer: &mut CheckpointWriter,
        base: bool,
        cold_changed: &[ReplicaId],
    ) {
        let dirty = self.slots.take_dirty();
        if base {
            for (replica, slot) in self.slots.iter() {
                writer.slot(replica, slot, self.slots.lists(slot));
            }
            for (replica, page) in &self.checkpointer.cold {
                writer.cold(*replica, page);
            }
            return;
        }
        for replica in dirty {
            match self.slots.get(replica) {
                Some(slot) => writer.slot(replica, slot, self.slots.lists(slot)),
                None => writer.gone(replica),
            }
        }
        for replica in cold_changed {
            if let Some(page) = self.checkpointer.cold.get(replica) {
                writer.cold(*replica, page);
            }
        }
    }

    /// The next request of the oldest snapshot; and the call for a new one when it is time.
    pub(crate) fn proceed_checkpoint(&mut self, now: Now, out: &mut Vec<Output>) {
        self.call_for_checkpoint(out);
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
        if snapshot.stage == Stage::AwaitDurable && snapshot.lsn <= durable_lsn {
            snapshot.stage = Stage::Root;
        }
        let (file, stage) = (snapshot.file, snapshot.stage);
        match stage {
            Stage::Create => {
                let bytes = snapshot.bytes.len() as u64;
                self.create_file(Purpose::Checkpoint, file, bytes, false, out);
            }
            Stage::Write => {
                let from = snapshot.written;
                let piece = snapshot
                    .bytes
                    .slice(from..snapshot.bytes.len().min(from + WRITE_BYTES));
                self.write(
                    Purpose::Checkpoint,
                    file,
                    from as u64,
                    piece,
                    true,
                    IoClass::Background,
                    out,
                );
            }
            Stage::AwaitDurable => return,
            Stage::Root => {
                let mut block = AlignedBuffer::new(ROOT_SLOT_BYTES);
                snapshot.root.encode(&mut block);
                let position = (snapshot.root.counter % 2) * BLOCK_BYTES as u64;
                self.write(
                    Purpose::Checkpoint,
                    FileName::Root,
                    position,
                    block.freeze(),
                    true,
                    IoClass::Background,
                    out,
                );
            }
        }
        self.checkpointer.busy = true;
    }

    fn call_for_checkpoint(&mut self, out: &mut Vec<Output>) {
        if self.checkpointer.due_told || self.shutting_down || !self.checkpointer.is_idle() {
            return;
        }
        let log_bytes = self.closed_lsn - self.checkpointer.last_lsn;
        // A start after an unclean stop begins a segment, however little the last one holds: a node that is killed again and again must not
        // gather segments to replay without end.
        let segments = self.next_sequence - self.checkpointer.last_sequence;
        let segment_bytes = segments.saturating_mul(self.segment_bytes);
        let due = (self.checkpointer.wanted && self.sealing.is_empty())
            || log_bytes.max(segment_bytes) >= self.options.checkpoint_interval_bytes
            || (self.space_is_low() && self.something_is_dead());
        if due {
            self.checkpointer.due_told = true;
            out.push(Output::CheckpointDue);
        }
    }

    fn something_is_dead(&self) -> bool {
        self.segments
            .iter()
            .any(|(_, segment)| segment.state == SegmentState::Sealed && segment.extents == 0)
    }

    pub(crate) fn checkpoint_io_done(&mut self, now: Now, result: IoResult, out: &mut Vec<Output>) {
        self.checkpointer.busy = false;
        let Some(snapshot) = self.checkpointer.running.front_mut() else {
            return;
        };
        if let Err(failure) = expect_done(result) {
            snapshot.retry_us = now.monotonic_us + RETRY_US;
            if snapshot.stage != Stage::Root {
                // A fresh file: what a failed write left behind is not to be trusted.
                snapshot.stage = Stage::Create;
                snapshot.written = 0;
            }
            let file = snapshot.file;
            out.push(Output::Message(format!(
                "checkpoint {file} could not be written ({failure}); tried again in 5 s"
            )));
            self.give_up_closing(out);
            return;
        }
        match snapshot.stage {
            Stage::Create => snapshot.stage = Stage::Write,
            Stage::Write => {
                snapshot.written = snapshot.bytes.len().min(snapshot.written + WRITE_BYTES);
                if snapshot.written == snapshot.bytes.len() {
                    snapshot.stage = Stage::AwaitDurable;
                }
            }
            Stage::AwaitDurable => {}
            Stage::Root => self.checkpoint_holds(out),
        }
    }

    fn checkpoint_holds(&mut self, out: &mut Vec<Output>) {
        let Some(snapshot) = self.checkpointer.running.pop_front() else {
            return;
        };
        for file in snapshot.freeing {
            self.segments.set_state(file, SegmentState::Free);
        }
        for file in snapshot.superfluous {
            self.remove_file(file, out);
        }
        self.statistics.checkpoints += 1;
        self.statistics.checkpoint_bytes += snapshot.bytes.len() as u64;
        out.push(Output::CheckpointDone {
            lsn: Lsn(snapshot.lsn),
        });
    }
}
