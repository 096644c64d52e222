//! The shard's own pages, as given to checkpoints. Memory holds those that came since the last base; the others lie in the base's file, sorted
//! by replica, and the next base takes them over from there (`ColdMerge`), a stretch at a time.

use crate::checkpoint_file::{CheckpointWriter, PIECE_BYTES, Record, page_content, read_record};
use crate::io::BLOCK_BYTES;
use crate::slot::SlotTable;
use crate::types::ReplicaId;
use std::collections::BTreeMap;
use std::ops::Bound;

type Pages = BTreeMap<ReplicaId, Box<[u8]>>;

/// Where a base's pages lie in its file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ColdBase {
    pub number: u32,
    pub nonce: u64,
    /// Of the file's pages of 64 KiB, those from here on.
    pub first: u32,
    pub pages: u32,
    /// How long the file is.
    pub bytes: u64,
}

/// Pages by replica, and how much they are in all.
#[derive(Debug, Default)]
pub(crate) struct ColdPages {
    changed: Pages,
    /// What the base that is being written takes in.
    frozen: Option<Pages>,
    pub base: ColdBase,
    bytes: u64,
}

impl ColdPages {
    pub(crate) fn insert(&mut self, replica: ReplicaId, page: Vec<u8>) {
        self.bytes += page.len() as u64;
        if let Some(old) = self.changed.insert(replica, page.into_boxed_slice()) {
            self.bytes -= old.len() as u64;
        }
    }

    /// The replica is gone. What lies below is left out by the next base.
    pub(crate) fn remove(&mut self, replica: ReplicaId) {
        if let Some(old) = self.changed.remove(&replica) {
            self.bytes -= old.len() as u64;
        }
    }

    /// Of those that came since the last base.
    pub(crate) fn get(&self, replica: ReplicaId) -> Option<&[u8]> {
        self.changed.get(&replica).map(|page| &page[..])
    }

    pub(crate) fn changed(&self) -> impl Iterator<Item = (ReplicaId, &[u8])> + '_ {
        let pages = self.changed.iter();
        pages.map(|(replica, page)| (*replica, &page[..]))
    }

    /// What they take in memory, most nearly.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let frozen = self.frozen.iter().flat_map(|pages| pages.values());
        let frozen: usize = frozen.map(|page| page.len() + 16).sum();
        self.bytes + 16 * self.changed.len() as u64 + frozen as u64
    }

    /// What they take in a base, most nearly.
    pub(crate) fn bytes(&self) -> u64 {
        let below = u64::from(self.base.pages - self.base.first) * (64 << 10);
        below + self.memory_bytes()
    }

    pub(crate) fn freeze(&mut self) {
        assert!(self.frozen.is_none(), "one base is written at a time");
        self.frozen = Some(std::mem::take(&mut self.changed));
        self.bytes = 0;
    }

    pub(crate) fn replace_base(&mut self, base: ColdBase) {
        self.base = base;
        self.frozen = None;
    }

    /// The base could not be written.
    pub(crate) fn thaw(&mut self) {
        let later = std::mem::take(&mut self.changed);
        self.changed = self.frozen.take().unwrap_or_default();
        self.changed.extend(later);
        let pages = self.changed.values();
        self.bytes = pages.map(|page| page.len() as u64).sum();
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColdStep {
    /// These bytes of the old base's file are needed next, for `take_old`.
    Old {
        position: u64,
        length: usize,
    },
    /// The writer has a piece.
    Piece,
    Done,
}

/// Old and new pages on their way into a base.
#[derive(Debug)]
pub(crate) struct ColdMerge {
    old: ColdBase,
    next: u32,
    /// Records of old pages, cut anywhere.
    stream: Vec<u8>,
    head: Option<(ReplicaId, Vec<u8>)>,
    taken_through: Option<ReplicaId>,
}

impl ColdMerge {
    /// Freezes what is in memory.
    pub(crate) fn new(pages: &mut ColdPages) -> Self {
        pages.freeze();
        Self {
            old: pages.base,
            next: pages.base.first,
            stream: Vec::new(),
            head: None,
            taken_through: None,
        }
    }

    pub(crate) fn step(
        &mut self,
        pages: &ColdPages,
        slots: &SlotTable,
        writer: &mut CheckpointWriter,
    ) -> ColdStep {
        let none = Pages::new();
        let frozen = pages.frozen.as_ref().unwrap_or(&none);
        while !writer.has_piece() {
            if self.head.is_none() {
                self.head = self.next_record();
            }
            if self.head.is_none() && self.next < self.old.pages {
                let position = BLOCK_BYTES as u64 + u64::from(self.next) * (64 << 10);
                let left = self.old.bytes.saturating_sub(position);
                let length = left.min(PIECE_BYTES as u64) as usize;
                return ColdStep::Old { position, length };
            }
            let past = self.taken_through.map_or(Bound::Unbounded, Bound::Excluded);
            let new = frozen.range((past, Bound::Unbounded)).next();
            match (&self.head, new) {
                (None, None) => return ColdStep::Done,
                (Some((old, page)), new) if new.is_none_or(|(replica, _)| old < replica) => {
                    if slots.get(*old).is_some() {
                        writer.cold(*old, page);
                    }
                    self.head = None;
                }
                (_, Some((replica, page))) => {
                    if slots.get(*replica).is_some() {
                        writer.cold(*replica, page);
                    }
                    self.head.take_if(|(old, _)| old == replica);
                    self.taken_through = Some(*replica);
                }
                (Some(_), None) => unreachable!("taken by the second arm"),
            }
        }
        ColdStep::Piece
    }

    fn next_record(&mut self) -> Option<(ReplicaId, Vec<u8>)> {
        let mut rest = &self.stream[..];
        let record = read_record(&mut rest)?;
        let used = self.stream.len() - rest.len();
        self.stream.drain(..used);
        match record {
            Record::Cold(replica, page) => Some((replica, page)),
            // The end: nothing follows.
            _ => {
                self.stream.clear();
                self.next = self.old.pages;
                None
            }
        }
    }

    /// Bytes that `step` asked for; `false`: they are damaged.
    pub(crate) fn take_old(&mut self, position: u64, bytes: &[u8]) -> bool {
        let whole = (bytes.len().div_ceil(64 << 10)) as u32;
        let last = self.old.pages.min(self.next + whole);
        for (at, number) in (self.next..last).enumerate() {
            let content = page_content(bytes, at, self.old.nonce, position, number);
            let Some(content) = content else {
                return false;
            };
            self.stream.extend_from_slice(content);
        }
        self.next = last;
        true
    }
}
