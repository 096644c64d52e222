//! The index file of a checkpoint base: every older extent, sorted by (replica, base offset), in pages of 4096 bytes as footers have them,
//! then pages of first keys. Made of the base before it and of what came since (`layers.rs`), a stretch at a time; never in memory whole.

use crate::footer::{
    FENCES_PER_PAGE, FenceKey, FooterWriter, IndexEntry, IndexPage, decode_fences,
    decode_index_page,
};
use crate::io::{BLOCK_BYTES, Disk, FileName, IoFailureKind};
use crate::layers::{Base, Missing, Upper, entry_of, extent_of, join, joins};
use crate::region_reads::READ_FAILURES_MAX;
use crate::report::RecoveryError;
use crate::segments::Share;
use crate::slot::Extent;
use crate::types::ReplicaId;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// Pages read or written at a time.
pub(crate) const PAGES_PER_STEP: u32 = 64;

/// What the base's file says of its index file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexRecord {
    pub nonce: u64,
    pub pages: u32,
    pub extents: u64,
    pub next_replica: u64,
}

/// What a step of a merge came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MergeStep {
    /// These pages of the old base are needed next, for `take_pages`.
    Pages { first: u32, count: u32 },
    /// There is something to write: `take_piece`.
    Piece,
    /// All is written; `finish` says what the new base is.
    Done,
}

/// A new base on its way.
#[derive(Debug)]
pub(crate) struct Merge {
    old: Base,
    next_page: u32,
    entries: VecDeque<(ReplicaId, IndexEntry)>,
    /// Everything of the frozen layer up to here was taken in.
    frozen_done: Option<ReplicaId>,
    writer: Option<FooterWriter>,
    nonce: u64,
    /// What was taken last may go on.
    pending: Option<(ReplicaId, Extent)>,
    piece: Vec<u8>,
    position: u64,
    shares: BTreeMap<u32, Share>,
    base: Base,
    /// Pages of the old base that were left out.
    lost: Vec<u32>,
    failures: u8,
    /// Below it pages are read one at a time.
    alone_until: u32,
}

impl Merge {
    /// `next_replica`: no replica from there on has anything in it.
    pub(crate) fn new(old: Base, number: u32, nonce: u64, next_replica: u64) -> Self {
        Self {
            old,
            next_page: 0,
            entries: VecDeque::new(),
            frozen_done: None,
            writer: Some(FooterWriter::new(nonce)),
            nonce,
            pending: None,
            piece: Vec::new(),
            position: 0,
            shares: BTreeMap::new(),
            base: Base {
                number,
                nonce,
                next_replica,
                ..Base::default()
            },
            lost: Vec::new(),
            failures: 0,
            alone_until: 0,
        }
    }

    /// What the index file takes at most, most nearly.
    pub(crate) fn bytes_expected(&self, frozen: &Upper) -> u64 {
        let listed: usize = frozen.values().map(|entry| entry.extents.len()).sum();
        let pages = u64::from(self.old.pages()) + (listed as u64 * 16).div_ceil(BLOCK_BYTES as u64);
        (pages + pages.div_ceil(FENCES_PER_PAGE as u64) + 1) * BLOCK_BYTES as u64
    }

    /// Goes on until there is something to read or to write.
    pub(crate) fn step(&mut self, frozen: &Upper) -> MergeStep {
        loop {
            if !self.piece.is_empty() {
                return MergeStep::Piece;
            }
            let Some(writer) = &mut self.writer else {
                return MergeStep::Done;
            };
            if writer.full_pages() >= PAGES_PER_STEP as usize {
                self.piece = writer.take_full(0);
                continue;
            }
            if self.entries.is_empty() && self.next_page < self.old.pages() {
                let first = self.next_page;
                let most = if first < self.alone_until {
                    1
                } else {
                    PAGES_PER_STEP
                };
                let count = most.min(self.old.pages() - first);
                return MergeStep::Pages { first, count };
            }
            let past = self.frozen_done.map_or(Bound::Unbounded, Bound::Excluded);
            let upper = frozen.range((past, Bound::Unbounded)).next();
            match (self.entries.front(), upper) {
                (None, None) => self.close(),
                (Some((replica, entry)), upper)
                    if upper.is_none_or(|(next, _)| replica <= next) =>
                {
                    let (replica, extent) = (*replica, extent_of(entry));
                    self.entries.pop_front();
                    let kept = match upper {
                        Some((next, above)) if *next == replica => above.apply(extent),
                        _ => Some(extent),
                    };
                    if let Some(extent) = kept {
                        self.take(replica, extent);
                    }
                }
                (_, Some((replica, entry))) => {
                    self.frozen_done = Some(*replica);
                    for extent in entry.extents.iter() {
                        self.take(*replica, extent);
                    }
                }
                (Some(_), None) => unreachable!("taken by the second arm"),
            }
        }
    }

    fn take(&mut self, replica: ReplicaId, extent: Extent) {
        if let Some((owner, last)) = &mut self.pending
            && *owner == replica
            && joins(last, &extent)
        {
            join(last, &extent);
            return;
        }
        self.push_pending();
        self.pending = Some((replica, extent));
    }

    fn push_pending(&mut self) {
        let Some((replica, extent)) = self.pending.take() else {
            return;
        };
        if let Some(writer) = &mut self.writer {
            writer.push(replica, &entry_of(&extent));
        }
        let share = self.shares.entry(extent.segment).or_default();
        share.extents += 1;
        share.bytes += u64::from(extent.bytes);
        self.base.extents += 1;
    }

    fn close(&mut self) {
        self.push_pending();
        if let Some(writer) = self.writer.take() {
            let (rest, _, fences) = writer.finish(0);
            self.piece = rest;
            self.base.fences = fences.into();
        }
    }

    /// Pages that `step` asked for. One that is damaged is left out.
    pub(crate) fn take_pages(&mut self, first: u32, bytes: &[u8]) {
        for (at, page) in bytes.chunks(BLOCK_BYTES).enumerate() {
            let number = first + at as u32;
            match decode_page(&self.old, number, page) {
                Some(entries) => self.entries.extend(entries),
                None => self.lost.push(number),
            }
        }
        self.next_page = first + (bytes.len() / BLOCK_BYTES) as u32;
        self.failures = 0;
    }

    /// Pages that `step` asked for cannot be read: they are read again, one at a time in the end, and one that still cannot is left out.
    /// `false`: not yet.
    pub(crate) fn pages_failed(&mut self, first: u32, count: u32) -> bool {
        self.failures += 1;
        if self.failures < READ_FAILURES_MAX {
            return false;
        }
        self.failures = 0;
        if count > 1 {
            self.alone_until = first + count;
        } else {
            self.lost.push(first);
            self.next_page = first + 1;
        }
        true
    }

    /// Pages of the old base that were left out, with their first keys and those of the pages behind them.
    pub(crate) fn lost(&self) -> impl Iterator<Item = (u32, FenceKey, Option<FenceKey>)> + '_ {
        let fences = &self.old.fences;
        self.lost.iter().map(|&page| {
            let at = page as usize;
            (page, fences[at], fences.get(at + 1).copied())
        })
    }

    /// What is to be written, and where.
    pub(crate) fn take_piece(&mut self) -> (u64, Vec<u8>) {
        let position = self.position;
        self.position += self.piece.len() as u64;
        (position, std::mem::take(&mut self.piece))
    }

    /// How long the file is by now.
    pub(crate) fn bytes(&self) -> u64 {
        self.position
    }

    pub(crate) fn record(&self) -> IndexRecord {
        IndexRecord {
            nonce: self.nonce,
            pages: self.base.pages(),
            extents: self.base.extents,
            next_replica: self.base.next_replica,
        }
    }

    pub(crate) fn shares(&self) -> &BTreeMap<u32, Share> {
        &self.shares
    }

    pub(crate) fn finish(self) -> (Base, BTreeMap<u32, Share>) {
        (self.base, self.shares)
    }
}

/// A page of a base, or `None` when it is damaged.
pub(crate) fn decode_page(base: &Base, number: u32, bytes: &[u8]) -> Option<IndexPage> {
    let position = u64::from(number) * BLOCK_BYTES as u64;
    decode_index_page(bytes, base.nonce, position, number)
}

/// First keys of an index file: all that recovery reads of it.
///
/// # Errors
/// When they cannot be read, or are damaged.
pub(crate) fn load_base(
    disk: &mut dyn Disk,
    number: u32,
    record: &IndexRecord,
) -> Result<Base, RecoveryError> {
    let mut base = Base {
        number,
        nonce: record.nonce,
        extents: record.extents,
        next_replica: record.next_replica,
        ..Base::default()
    };
    if record.pages == 0 {
        return Ok(base);
    }
    let file = FileName::Index(number);
    let position = u64::from(record.pages) * BLOCK_BYTES as u64;
    let pages = (record.pages as usize).div_ceil(FENCES_PER_PAGE);
    let mut buffer = crate::buffer::AlignedBuffer::new(pages * BLOCK_BYTES);
    disk.read_at(file, position, &mut buffer)
        .map_err(|failure| match failure.kind {
            IoFailureKind::NotFound | IoFailureKind::Short => RecoveryError::BadCheckpoint(file),
            _ => RecoveryError::Io(file, failure),
        })?;
    let fences = decode_fences(&buffer, record.nonce, position);
    let fences = fences.filter(|fences| fences.len() == record.pages as usize);
    base.fences = fences.ok_or(RecoveryError::BadCheckpoint(file))?.into();
    Ok(base)
}

/// Pages of the base straight from a disk: for recovery, where something was lost, and for audits.
pub(crate) fn read_page(disk: &mut dyn Disk, base: &Base, missing: Missing) -> Option<IndexPage> {
    let mut buffer = crate::buffer::AlignedBuffer::new(BLOCK_BYTES);
    let position = u64::from(missing.page) * BLOCK_BYTES as u64;
    let file = FileName::Index(base.number);
    disk.read_at(file, position, &mut buffer).ok()?;
    decode_page(base, missing.page, &buffer)
}
