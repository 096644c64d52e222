//! What a snapshot becomes on its way to the disk: the records of a checkpoint file and, for a base, the pages of its index file, a piece at a
//! time. `checkpoint.rs` takes snapshots and writes the pieces.

use crate::buffer::AlignedBuffer;
use crate::checkpoint_file::CheckpointWriter;
use crate::cold::{ColdMerge, ColdPages, ColdStep};
use crate::footer::FenceKey;
use crate::index_file::{Merge, MergeStep};
use crate::io::FileName;
use crate::layers::Upper;
use crate::segments::SegmentTable;
use crate::slot::SlotTable;
use crate::types::ReplicaId;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// A snapshot that is being encoded.
#[derive(Debug)]
pub(crate) struct Encoder {
    pub writer: CheckpointWriter,
    /// Chunk of replicas to go on with; `None`: all are encoded.
    chunk: Option<usize>,
    /// The index file of a base.
    pub merge: Option<Merge>,
    merged: bool,
    /// Pages of the base before it that could not be read, to be told.
    lost_pages: Vec<(u32, FenceKey, Option<FenceKey>)>,
    /// Segments whose first keys are to follow.
    fences: VecDeque<u32>,
    /// Replicas whose pages are to follow, in a delta.
    pub cold: BTreeSet<ReplicaId>,
    /// Pages of a base.
    pub cold_merge: Option<ColdMerge>,
    /// The caller has not given all pages yet.
    pub pages_follow: bool,
    pub done: bool,
}

/// What a step gave.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub pieces: Vec<(FileName, u64, Bytes)>,
    /// What is needed of the base before it first.
    pub missing: Option<OldBase>,
}

/// A part of the base before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldBase {
    /// Pages of its index file.
    Index { first: u32, count: u32 },
    /// Bytes of its file, which hold cold pages.
    Cold { position: u64, length: usize },
}

pub(crate) fn file_number(file: FileName) -> u32 {
    match file {
        FileName::CheckpointBase(number) | FileName::CheckpointDelta(number) => number,
        _ => unreachable!("a checkpoint's file"),
    }
}

impl Encoder {
    /// With `merge` a base.
    pub(crate) fn new(
        writer: CheckpointWriter,
        cold: BTreeSet<ReplicaId>,
        merge: Option<Merge>,
        fences: VecDeque<u32>,
    ) -> Self {
        Self {
            writer,
            chunk: Some(0),
            merged: merge.is_none(),
            merge,
            lost_pages: Vec::new(),
            fences,
            cold,
            cold_merge: None,
            pages_follow: false,
            done: false,
        }
    }

    pub(crate) fn is_base(&self) -> bool {
        self.merge.is_some()
    }

    /// Goes on until there is a piece, or the end.
    pub(crate) fn encode(
        &mut self,
        file: FileName,
        slots: &mut SlotTable,
        segments: &mut SegmentTable,
        cold: &mut ColdPages,
    ) -> Encoded {
        let mut encoded = Encoded::default();
        if self.done {
            return encoded;
        }
        if let Some(chunk) = self.chunk {
            self.chunk = slots.encode_snapshot(&mut self.writer, chunk);
        }
        if self.chunk.is_none() && !self.merged {
            let none = Upper::new();
            let frozen = slots.layers.frozen.as_ref().unwrap_or(&none);
            self.encode_index(FileName::Index(file_number(file)), frozen, &mut encoded);
            if !self.merged || !self.lost_pages.is_empty() {
                return encoded;
            }
        }
        if self.chunk.is_none() {
            self.encode_fences(segments);
            if self.fences.is_empty() && !self.pages_follow {
                if self.is_base() && self.cold_merge.is_none() {
                    // The first of them begins a page.
                    self.take_pieces(file, true, &mut encoded);
                    self.writer.begin_cold();
                    self.cold_merge = Some(ColdMerge::new(cold));
                }
                self.encode_pages(cold, slots, &mut encoded);
            }
        }
        // After the last record there may be a piece and the start of another.
        self.take_pieces(file, self.done, &mut encoded);
        encoded
    }

    fn take_pieces(&mut self, file: FileName, all: bool, encoded: &mut Encoded) {
        while (all || self.writer.has_piece())
            && let Some((position, piece)) = self.writer.take_piece()
        {
            encoded.pieces.push((file, position, piece.freeze()));
        }
    }

    fn encode_index(&mut self, file: FileName, frozen: &Upper, encoded: &mut Encoded) {
        let Some(merge) = &mut self.merge else {
            return;
        };
        match merge.step(frozen) {
            MergeStep::Pages { first, count } => {
                encoded.missing = Some(OldBase::Index { first, count });
            }
            MergeStep::Piece => {
                let (position, bytes) = merge.take_piece();
                let mut piece = AlignedBuffer::new(bytes.len());
                piece.copy_from_slice(&bytes);
                encoded.pieces.push((file, position, piece.freeze()));
            }
            MergeStep::Done => {
                self.merged = true;
                self.lost_pages = merge.lost().collect();
                for (file, share) in merge.shares() {
                    self.writer.share(*file, share);
                }
                self.writer.index(&merge.record());
            }
        }
    }

    /// Offsets whose extents lay on lost pages: replica, first and last, and the page.
    pub(crate) fn take_lost(&mut self, slots: &SlotTable) -> Vec<(ReplicaId, i64, i64, u32)> {
        let mut lost = Vec::new();
        for (page, from, to) in std::mem::take(&mut self.lost_pages) {
            let past = to.map_or(u64::MAX, |to| to.replica.0);
            for (replica, slot) in slots.iter_from(from.replica) {
                if replica.0 > past {
                    break;
                }
                let first = if replica == from.replica {
                    from.base.max(slot.log_start)
                } else {
                    slot.log_start
                };
                let upper = slots.layers.first_above_base(replica);
                let upper = upper
                    .or(slot.newest())
                    .map_or(slot.log_end, |next| next.base);
                let end = match to {
                    Some(to) if to.replica == replica => to.base.min(upper),
                    _ => upper,
                };
                if first < end {
                    lost.push((replica, first, end - 1, page));
                }
            }
        }
        lost
    }

    fn encode_fences(&mut self, segments: &mut SegmentTable) {
        while !self.writer.has_piece()
            && let Some(file) = self.fences.pop_front()
        {
            let Some(segment) = segments.get(file) else {
                continue;
            };
            if let Some(fences) = segment.fences.clone() {
                self.writer.fences(file, segment.nonce, &fences);
                segments.at(file).fences_saved = true;
            }
        }
    }

    /// The shard's pages, and the end, after all else.
    fn encode_pages(&mut self, pages: &ColdPages, slots: &SlotTable, encoded: &mut Encoded) {
        if let Some(merge) = &mut self.cold_merge {
            match merge.step(pages, slots, &mut self.writer) {
                ColdStep::Old { position, length } => {
                    encoded.missing = Some(OldBase::Cold { position, length });
                    return;
                }
                ColdStep::Piece => return,
                ColdStep::Done => {}
            }
        }
        while !self.writer.has_piece()
            && !self.is_base()
            && let Some(replica) = self.cold.pop_first()
        {
            if let Some(page) = pages.get(replica) {
                self.writer.cold(replica, page);
            }
        }
        if self.is_base() || self.cold.is_empty() {
            self.writer.end();
            self.done = true;
        }
    }
}
