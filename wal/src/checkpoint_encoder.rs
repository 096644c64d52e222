//! What a snapshot becomes on its way to the disk: the records of a checkpoint file and, for a base, the pages of its index file, a piece at a
//! time. `checkpoint.rs` takes snapshots and writes the pieces.

use crate::buffer::AlignedBuffer;
use crate::checkpoint_file::CheckpointWriter;
use crate::cold::ColdPages;
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
    /// Segments whose first keys are to follow.
    fences: VecDeque<u32>,
    /// Pages that are to follow: of all replicas past this one, or of those named.
    cold_past: Option<ReplicaId>,
    pub cold: BTreeSet<ReplicaId>,
    /// The caller has not given all pages yet.
    pub pages_follow: bool,
    pub done: bool,
}

/// What a step gave.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub pieces: Vec<(FileName, u64, Bytes)>,
    /// These pages of the base before it are needed first: the first, and how many.
    pub missing: Option<(u32, u32)>,
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
            fences,
            cold_past: None,
            cold,
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
        cold: &ColdPages,
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
            if !self.merged {
                return encoded;
            }
        }
        if self.chunk.is_none() {
            self.encode_fences(segments);
            if self.fences.is_empty() && !self.pages_follow {
                self.encode_pages(cold);
            }
        }
        // After the last record there may be a piece and the start of another.
        while (self.done || self.writer.has_piece())
            && let Some((position, piece)) = self.writer.take_piece()
        {
            encoded.pieces.push((file, position, piece.freeze()));
        }
        encoded
    }

    fn encode_index(&mut self, file: FileName, frozen: &Upper, encoded: &mut Encoded) {
        let Some(merge) = &mut self.merge else {
            return;
        };
        match merge.step(frozen) {
            MergeStep::Pages { first, count } => encoded.missing = Some((first, count)),
            MergeStep::Piece => {
                let (position, bytes) = merge.take_piece();
                let mut piece = AlignedBuffer::new(bytes.len());
                piece.copy_from_slice(&bytes);
                encoded.pieces.push((file, position, piece.freeze()));
            }
            MergeStep::Done => {
                self.merged = true;
                for (file, share) in merge.shares() {
                    self.writer.share(*file, share);
                }
                self.writer.index(&merge.record());
            }
        }
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
    fn encode_pages(&mut self, pages: &ColdPages) {
        while !self.writer.has_piece() {
            let next = if self.is_base() {
                pages.next_past(self.cold_past)
            } else {
                self.cold.pop_first()
            };
            let Some(replica) = next else {
                self.writer.end();
                self.done = true;
                return;
            };
            self.cold_past = Some(replica);
            if let Some(page) = pages.get(replica) {
                self.writer.cold(replica, page);
            }
        }
    }
}
