//! The table of segment files: what each is in use for, what lives in it, which are free. `prepare.rs` moves them through their states.

use crate::footer::FenceKey;
use crate::layout::{SegmentKind, get_u32, get_u64};
use crate::slot::{Extent, Held, Tally};
use crate::types::Now;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Where a segment file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentState {
    /// The file is being made.
    Creating,
    /// Ready to be written over.
    Free,
    /// Its new header is being written.
    Preparing,
    /// Its header is durable; the log goes on in it when the active one is full.
    Ready,
    /// The log's newest.
    Active,
    /// Full; its footer is not durable yet.
    Sealing,
    /// Footer durable.
    Sealed,
    /// A rewrite fills it.
    Rewriting,
    /// Empty of live extents; free as soon as the checkpoint under way is durable.
    Freeing,
    /// The file could not be made or written; not tried again.
    Bad,
}

impl SegmentState {
    pub(crate) const COUNT: usize = Self::Bad as usize + 1;
}

/// One segment file.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub state: SegmentState,
    pub kind: SegmentKind,
    /// Blocks were never written: the first write of each costs more.
    pub unwritten: bool,
    pub nonce: u64,
    pub sequence: u64,
    /// LSN of its first write, and of the end of its last; 0 for rewritten ones.
    pub first_lsn: u64,
    pub end_lsn: u64,
    /// Where its frames end.
    pub data_end: u32,
    pub footer_position: u32,
    pub index_pages: u32,
    /// Extents that point here, by where they are held: exact. Nothing is freed above zero in all.
    pub newest: Share,
    pub listed: Share,
    pub frozen: Share,
    pub base: Share,
    /// Bytes of those in `frozen` and `base` that are known not to lie here any more; and what was known when that was frozen.
    pub left_bytes: u64,
    pub left_bytes_frozen: u64,
    /// Reads under way.
    pub pins: u32,
    /// Expiry classes of its frames when it was sealed, one bit each; 0 when that is not known.
    pub classes: u8,
    /// No rewrite takes it before this time: the last one could not finish with it.
    pub hold_until_us: u64,
    /// What was alive in it when it was last looked at as mostly dead.
    pub live_seen: LiveSeen,
    /// First keys of the index pages, once loaded.
    pub fences: Option<Arc<[FenceKey]>>,
    /// A checkpoint has them.
    pub fences_saved: bool,
}

/// So many bytes were alive, and no more since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LiveSeen {
    pub bytes: u64,
    pub since_us: u64,
}

/// Extents in one layer that point to a segment, and their bytes (a clipped one's are a guess).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub extents: u32,
    pub bytes: u64,
}

impl Share {
    pub(crate) fn add_extent(&mut self, extent: &Extent) {
        self.extents += 1;
        self.bytes += u64::from(extent.bytes);
    }

    fn add(&mut self, tally: &Tally) {
        let extents = i64::from(self.extents) + i64::from(tally.extents);
        self.extents = u32::try_from(extents).expect("an extent was released twice");
        self.bytes = self.bytes.saturating_add_signed(tally.bytes);
    }
}

impl Segment {
    /// Extents that point here, some of which may be dead below an upper layer.
    pub(crate) fn extents(&self) -> u32 {
        self.newest.extents + self.listed.extents + self.frozen.extents + self.base.extents
    }

    /// Bytes of the live ones, most nearly: what to rewrite is chosen by it.
    pub(crate) fn live_bytes(&self) -> u64 {
        let held = self.newest.bytes + self.listed.bytes + self.frozen.bytes + self.base.bytes;
        held.saturating_sub(self.left_bytes + self.left_bytes_frozen)
    }

    /// Whether no rewrite takes it yet.
    pub(crate) fn is_held(&self, now: Now) -> bool {
        self.hold_until_us > now.monotonic_us
    }

    pub(crate) fn tally(&mut self, tally: &Tally) {
        match tally.held {
            Held::Newest => self.newest.add(tally),
            Held::Listed => self.listed.add(tally),
        }
    }

    pub(crate) fn new(state: SegmentState) -> Self {
        Self {
            state,
            kind: SegmentKind::Log,
            unwritten: false,
            nonce: 0,
            sequence: 0,
            first_lsn: 0,
            end_lsn: 0,
            data_end: 0,
            footer_position: 0,
            index_pages: 0,
            newest: Share::default(),
            listed: Share::default(),
            frozen: Share::default(),
            base: Share::default(),
            left_bytes: 0,
            left_bytes_frozen: 0,
            pins: 0,
            classes: 0,
            hold_until_us: 0,
            live_seen: LiveSeen::default(),
            fences: None,
            fences_saved: false,
        }
    }

    pub(crate) fn record(&self, file: u32) -> SegmentRecord {
        SegmentRecord {
            file,
            rewritten: self.kind == SegmentKind::Rewritten,
            sealed: self.state == SegmentState::Sealed,
            classes: self.classes,
            nonce: self.nonce,
            sequence: self.sequence,
            first_lsn: self.first_lsn,
            end_lsn: self.end_lsn,
            data_end: self.data_end,
            footer_position: self.footer_position,
            index_pages: self.index_pages,
        }
    }

    /// As a record has it.
    pub(crate) fn from_record(record: &SegmentRecord) -> Self {
        Self {
            kind: if record.rewritten {
                SegmentKind::Rewritten
            } else {
                SegmentKind::Log
            },
            nonce: record.nonce,
            sequence: record.sequence,
            first_lsn: record.first_lsn,
            end_lsn: record.end_lsn,
            data_end: record.data_end,
            footer_position: record.footer_position,
            index_pages: record.index_pages,
            classes: record.classes,
            ..Self::new(if record.sealed {
                SegmentState::Sealed
            } else {
                SegmentState::Sealing
            })
        }
    }
}

/// A segment as checkpoints and SegmentEdit records hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRecord {
    pub file: u32,
    pub rewritten: bool,
    pub sealed: bool,
    pub classes: u8,
    pub nonce: u64,
    pub sequence: u64,
    pub first_lsn: u64,
    pub end_lsn: u64,
    pub data_end: u32,
    pub footer_position: u32,
    pub index_pages: u32,
}

impl SegmentRecord {
    pub(crate) const BYTES: usize = 52;

    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        let before = bytes.len();
        bytes.extend_from_slice(&self.file.to_le_bytes());
        bytes.extend_from_slice(
            &(u32::from(self.rewritten)
                | u32::from(self.sealed) << 1
                | u32::from(self.classes) << 8)
                .to_le_bytes(),
        );
        bytes.extend_from_slice(&self.nonce.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.first_lsn.to_le_bytes());
        bytes.extend_from_slice(&self.end_lsn.to_le_bytes());
        bytes.extend_from_slice(&self.data_end.to_le_bytes());
        bytes.extend_from_slice(&self.footer_position.to_le_bytes());
        bytes.extend_from_slice(&self.index_pages.to_le_bytes());
        assert!(bytes.len() - before == Self::BYTES);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < Self::BYTES {
            return None;
        }
        let flags = get_u32(bytes, 4);
        Some(Self {
            file: get_u32(bytes, 0),
            rewritten: flags & 1 != 0,
            sealed: flags & 2 != 0,
            classes: (flags >> 8) as u8,
            nonce: get_u64(bytes, 8),
            sequence: get_u64(bytes, 16),
            first_lsn: get_u64(bytes, 24),
            end_lsn: get_u64(bytes, 32),
            data_end: get_u32(bytes, 40),
            footer_position: get_u32(bytes, 44),
            index_pages: get_u32(bytes, 48),
        })
    }
}

/// All segment files, by number.
#[derive(Debug, Default)]
pub(crate) struct SegmentTable {
    segments: Vec<Option<Segment>>,
    counts: [usize; SegmentState::COUNT],
}

impl SegmentTable {
    pub(crate) fn get(&self, file: u32) -> Option<&Segment> {
        self.segments.get(file as usize)?.as_ref()
    }

    /// A segment that must be there: extents and states are ours. Its state is changed by `set_state` only.
    pub(crate) fn at(&mut self, file: u32) -> &mut Segment {
        let segment = self
            .segments
            .get_mut(file as usize)
            .and_then(Option::as_mut);
        segment.expect("the table holds every segment that is named")
    }

    pub(crate) fn set_state(&mut self, file: u32, state: SegmentState) {
        let old = std::mem::replace(&mut self.at(file).state, state);
        self.counts[old as usize] -= 1;
        self.counts[state as usize] += 1;
    }

    /// Takes on a new life.
    pub(crate) fn reuse(&mut self, file: u32, kind: SegmentKind, nonce: u64, sequence: u64) {
        self.set_state(file, SegmentState::Preparing);
        let segment = self.at(file);
        assert!(
            segment.extents() == 0 && segment.pins == 0,
            "a segment in use was taken"
        );
        let unwritten = segment.unwritten;
        *segment = Segment {
            kind,
            nonce,
            sequence,
            unwritten,
            ..Segment::new(SegmentState::Preparing)
        };
    }

    pub(crate) fn insert(&mut self, file: u32, segment: Segment) {
        self.remove(file);
        let at = file as usize;
        if self.segments.len() <= at {
            self.segments.resize_with(at + 1, || None);
        }
        self.counts[segment.state as usize] += 1;
        self.segments[at] = Some(segment);
    }

    /// A file as replay finds it, in place of what an earlier life of it left in the table. Extents that point at the file still count.
    pub(crate) fn begin_life(&mut self, file: u32, mut segment: Segment) {
        if let Some(earlier) = self.get(file) {
            (segment.newest, segment.listed) = (earlier.newest, earlier.listed);
            (segment.frozen, segment.base) = (earlier.frozen, earlier.base);
        }
        self.insert(file, segment);
    }

    pub(crate) fn remove(&mut self, file: u32) {
        if let Some(segment) = self.segments.get_mut(file as usize).and_then(Option::take) {
            self.counts[segment.state as usize] -= 1;
        }
    }

    /// Files of which the next checkpoint is to have the first keys: of all, or of those that none has yet.
    pub(crate) fn fences_to_save(&self, all: bool) -> VecDeque<u32> {
        let sealed = self.iter().filter(|(_, segment)| {
            segment.state == SegmentState::Sealed
                && segment.fences.is_some()
                && (all || !segment.fences_saved)
        });
        sealed.map(|(file, _)| file).collect()
    }

    /// A checkpoint failed: it is not known which of them another one has.
    pub(crate) fn forget_saved_fences(&mut self) {
        for segment in self.segments.iter_mut().flatten() {
            segment.fences_saved = false;
        }
    }

    /// The uppermost layer of extents becomes the frozen one.
    pub(crate) fn freeze(&mut self) {
        for segment in self.segments.iter_mut().flatten() {
            segment.frozen = std::mem::take(&mut segment.listed);
            segment.left_bytes_frozen += std::mem::take(&mut segment.left_bytes);
        }
    }

    /// A new base holds, with so much of each segment.
    pub(crate) fn replace_base(&mut self, shares: &BTreeMap<u32, Share>) {
        for (file, segment) in self.segments.iter_mut().enumerate() {
            if let Some(segment) = segment {
                segment.base = shares.get(&(file as u32)).copied().unwrap_or_default();
                (segment.frozen, segment.left_bytes_frozen) = (Share::default(), 0);
            }
        }
    }

    /// The frozen layer and the uppermost are one again: these hold so much of each segment.
    pub(crate) fn thaw(&mut self, shares: &BTreeMap<u32, Share>) {
        for (file, segment) in self.segments.iter_mut().enumerate() {
            if let Some(segment) = segment {
                segment.listed = shares.get(&(file as u32)).copied().unwrap_or_default();
                segment.frozen = Share::default();
                segment.left_bytes += std::mem::take(&mut segment.left_bytes_frozen);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Segment)> + '_ {
        let numbered = self.segments.iter().enumerate();
        numbered.filter_map(|(at, segment)| segment.as_ref().map(|segment| (at as u32, segment)))
    }

    /// The first file that may be written over now.
    pub(crate) fn first_free(&self) -> Option<u32> {
        if self.count(SegmentState::Free) == 0 {
            return None;
        }
        self.iter()
            .find(|(_, segment)| segment.state == SegmentState::Free && segment.pins == 0)
            .map(|(file, _)| file)
    }

    /// The lowest number without a file.
    pub(crate) fn first_unused(&self) -> u32 {
        self.segments
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.segments.len()) as u32
    }

    pub(crate) fn count(&self, state: SegmentState) -> usize {
        self.counts[state as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Segments that hold, or may hold, something.
    pub(crate) fn used(&self) -> usize {
        let empty = [
            SegmentState::Creating,
            SegmentState::Free,
            SegmentState::Preparing,
            SegmentState::Ready,
        ];
        self.len() - empty.iter().map(|state| self.count(*state)).sum::<usize>()
    }
}
