//! Older extents of all replicas, in layers: the base (sorted pages on disk, `index_file.rs`), what came since it (in memory, bounded), and,
//! while the next base is written, what that one takes in (frozen). An upper layer says what became of the extents below it, without
//! looking at them: nothing that happens to a replica waits for a page. The newest extent of each lies in its slot (`slot.rs`), above all.
//! Extents of one segment that lie behind one another count as one, whatever layers they lie in.

use crate::extent_list::ExtentList;
use crate::footer::{FenceKey, IndexEntry, IndexPage, page_for};
use crate::segments::Share;
use crate::slot::Extent;
use crate::types::ReplicaId;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an entry takes beside its lists, its place in the tree included.
const ENTRY_BYTES: u64 = std::mem::size_of::<Entry>() as u64 + 24;

/// Extents below that lay in `old`, and within `[base, end)`, lie in `new` from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub base: i64,
    pub end: i64,
    pub old: u32,
    pub new: u32,
    /// What was left of each; `Move::WHOLE`: all of it; 0: nothing, it is gone.
    pub bytes: u32,
    /// What they are taken to have in `new` until the next base counts them.
    pub held: u32,
}

impl Move {
    pub(crate) const WHOLE: u32 = u32::MAX;
    /// In memory and in a checkpoint.
    pub(crate) const BYTES: usize = 32;
}

/// What an upper layer holds of one replica.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Nothing below counts any more.
    pub gone: bool,
    /// Below, extents that end at or below it are gone.
    pub start: i64,
    /// Below, what lies at or past it is gone.
    pub clip: i64,
    /// In the order of the log.
    pub moves: Vec<Move>,
    /// Extents of this layer, oldest first; all of them past those below.
    pub extents: ExtentList,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            gone: false,
            start: i64::MIN,
            clip: i64::MAX,
            moves: Vec::new(),
            extents: ExtentList::default(),
        }
    }
}

impl Entry {
    /// An extent of a lower layer, as this one leaves it.
    pub(crate) fn apply(&self, mut extent: Extent) -> Option<Extent> {
        if self.gone || extent.base >= self.clip {
            return None;
        }
        if extent.end > self.clip {
            extent = clipped(extent, self.clip);
        }
        if extent.end <= self.start {
            return None;
        }
        for moved in &self.moves {
            // What lies there now may have been joined to something that has no frames, since it was read to be moved.
            if moved.old == extent.segment && moved.base < extent.end && extent.base < moved.end {
                if moved.bytes == 0 {
                    return None;
                }
                extent.segment = moved.new;
                extent.bytes = extent.bytes.min(moved.bytes);
            }
        }
        Some(extent)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.gone
            && self.start == i64::MIN
            && self.clip == i64::MAX
            && self.moves.is_empty()
            && self.extents.is_empty()
    }

    fn memory_bytes(&self) -> u64 {
        let moves = self.moves.capacity() * Move::BYTES;
        ENTRY_BYTES + (moves + self.extents.heap_bytes()) as u64
    }
}

/// The part of an extent below `to`. The share of bytes is a guess.
pub(crate) fn clipped(extent: Extent, to: i64) -> Extent {
    let kept = u128::from(extent.bytes) * u128::from(to.abs_diff(extent.base))
        / u128::from(extent.end.abs_diff(extent.base));
    Extent {
        end: to,
        bytes: kept as u32,
        ..extent
    }
}

/// Whether the two are one: they lie behind one another in one segment.
pub(crate) fn joins(last: &Extent, next: &Extent) -> bool {
    last.segment == next.segment && last.bytes.checked_add(next.bytes).is_some()
}

/// Makes `last` reach to the end of `next`.
pub(crate) fn join(last: &mut Extent, next: &Extent) {
    last.end = next.end;
    last.bytes += next.bytes;
    last.max_timestamp = last.max_timestamp.max(next.max_timestamp);
}

/// An extent as an entry of an index page: the segment stands in for the position.
pub(crate) fn entry_of(extent: &Extent) -> IndexEntry {
    IndexEntry {
        base: extent.base,
        last: extent.end - 1,
        max_timestamp: extent.max_timestamp,
        position: extent.segment,
        payload_bytes: extent.bytes,
        epoch: 0,
    }
}

pub(crate) fn extent_of(entry: &IndexEntry) -> Extent {
    Extent {
        base: entry.base,
        end: entry.last + 1,
        max_timestamp: entry.max_timestamp,
        segment: entry.position,
        bytes: entry.payload_bytes,
    }
}

/// The lowest layer: pages of an index file, of which memory holds the first keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    /// Of the checkpoint base and its index file.
    pub number: u32,
    pub nonce: u64,
    pub fences: Arc<[FenceKey]>,
    pub extents: u64,
    /// Replicas from here on were made after it.
    pub next_replica: u64,
}

impl Base {
    pub(crate) fn pages(&self) -> u32 {
        self.fences.len() as u32
    }
}

/// A page of the base must be read first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub number: u32,
    pub page: u32,
}

/// Where pages of the base come from: `None` for one that is not in memory.
pub(crate) type PageSource<'a> = dyn FnMut(Missing) -> Option<Arc<IndexPage>> + 'a;

/// Extents that a look-up found.
pub(crate) type Found = SmallVec<[Extent; 8]>;

pub(crate) type Upper = BTreeMap<ReplicaId, Entry>;

/// What a layer has of each segment. A segment that something is moved to is held by each move.
pub(crate) fn shares_of(upper: &Upper) -> BTreeMap<u32, Share> {
    let mut shares: BTreeMap<u32, Share> = BTreeMap::new();
    for entry in upper.values() {
        for extent in entry.extents.iter() {
            shares
                .entry(extent.segment)
                .or_default()
                .add_extent(&extent);
        }
        for moved in &entry.moves {
            let share = shares.entry(moved.new).or_default();
            share.extents += 1;
            share.bytes += u64::from(moved.held);
        }
    }
    shares
}

/// The layers.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub base: Base,
    pub frozen: Option<Upper>,
    pub upper: Upper,
    upper_bytes: u64,
    frozen_bytes: u64,
    /// Grows when extents change layers: what was gathered of the lower ones before is void.
    pub generation: u64,
    /// Bytes below that are known to be dead, most nearly: the next base gives their segments back.
    pub dead_bytes: u64,
    dead_bytes_frozen: u64,
}

impl Layers {
    pub(crate) fn get(&self, replica: ReplicaId) -> Option<&Entry> {
        self.upper.get(&replica)
    }

    /// Changes what the uppermost layer has of a replica; an entry that says nothing is given back.
    pub(crate) fn change<T>(
        &mut self,
        replica: ReplicaId,
        change: impl FnOnce(&mut Entry) -> T,
    ) -> T {
        let entry = self.upper.entry(replica).or_insert_with(|| {
            self.upper_bytes += ENTRY_BYTES;
            Entry::default()
        });
        let before = entry.memory_bytes();
        let answer = change(entry);
        self.upper_bytes = self.upper_bytes - before + entry.memory_bytes();
        if entry.is_empty() {
            self.upper_bytes -= entry.memory_bytes();
            self.upper.remove(&replica);
        }
        answer
    }

    /// Forgets what the uppermost layer has of a replica.
    pub(crate) fn forget(&mut self, replica: ReplicaId) {
        if let Some(entry) = self.upper.remove(&replica) {
            self.upper_bytes -= entry.memory_bytes();
        }
    }

    pub(crate) fn put(&mut self, replica: ReplicaId, entry: Entry) {
        self.change(replica, |known| *known = entry);
    }

    /// Whether a layer below the uppermost may hold something of the replica.
    pub(crate) fn may_lie_below(&self, replica: ReplicaId) -> bool {
        if self.get(replica).is_some_and(|entry| entry.gone) {
            return false;
        }
        let frozen = self.frozen.as_ref().and_then(|frozen| frozen.get(&replica));
        match frozen {
            Some(entry) if !entry.extents.is_empty() => return true,
            Some(entry) if entry.gone => return false,
            _ => {}
        }
        let fences = &self.base.fences;
        if replica.0 >= self.base.next_replica || fences.is_empty() {
            return false;
        }
        let first = page_for(fences, replica, i64::MIN);
        fences[first].replica <= replica
            || fences
                .get(first + 1)
                .is_some_and(|next| next.replica <= replica)
    }

    /// The first extent of a replica in the layers above the base.
    pub(crate) fn first_above_base(&self, replica: ReplicaId) -> Option<Extent> {
        let frozen = self.frozen.as_ref().and_then(|frozen| frozen.get(&replica));
        let entries = frozen.into_iter().chain(self.get(replica));
        let mut extents = entries.flat_map(|entry| entry.extents.iter());
        extents.next()
    }

    /// Replicas of which the uppermost layer guesses bytes of extents below, or which of them go. That depends on how these are parted.
    pub(crate) fn guessed(&self) -> Vec<ReplicaId> {
        let guesses = |entry: &Entry| {
            let planned = entry.moves.iter().any(|moved| moved.bytes != Move::WHOLE);
            planned || entry.clip != i64::MAX || entry.start != i64::MIN
        };
        let entries = self.upper.iter();
        let entries = entries.filter(|(_, entry)| !entry.gone && guesses(entry));
        entries.map(|(replica, _)| *replica).collect()
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        let fences = self.base.fences.len() * std::mem::size_of::<FenceKey>();
        self.upper_bytes + self.frozen_bytes + fences as u64
    }

    /// What is in memory above the base.
    pub(crate) fn layered_bytes(&self) -> u64 {
        self.upper_bytes + self.frozen_bytes
    }

    /// What the next base would take out of memory.
    pub(crate) fn upper_bytes(&self) -> u64 {
        self.upper_bytes
    }

    /// What the uppermost layer has of each segment, counted anew.
    pub(crate) fn upper_shares(&self) -> BTreeMap<u32, Share> {
        shares_of(&self.upper)
    }

    /// The uppermost layer is what the next base takes in; a new one begins.
    pub(crate) fn freeze(&mut self) {
        assert!(self.frozen.is_none(), "one base is written at a time");
        self.frozen = Some(std::mem::take(&mut self.upper));
        self.frozen_bytes = std::mem::take(&mut self.upper_bytes);
        self.dead_bytes_frozen = std::mem::take(&mut self.dead_bytes);
        self.generation += 1;
    }

    /// The base holds that took the frozen layer in.
    pub(crate) fn replace_base(&mut self, base: Base) {
        self.base = base;
        self.frozen = None;
        (self.frozen_bytes, self.dead_bytes_frozen) = (0, 0);
        self.generation += 1;
    }

    /// It could not be written: the frozen layer and what came since are one again.
    pub(crate) fn thaw(&mut self) {
        let Some(frozen) = self.frozen.take() else {
            return;
        };
        let later = std::mem::replace(&mut self.upper, frozen);
        self.upper_bytes = std::mem::take(&mut self.frozen_bytes);
        self.dead_bytes += std::mem::take(&mut self.dead_bytes_frozen);
        for (replica, entry) in later {
            self.change(replica, |known| {
                let earlier = known
                    .extents
                    .iter()
                    .filter_map(|extent| entry.apply(extent));
                known.extents = earlier.chain(entry.extents.iter()).collect();
                known.start = known.start.max(entry.start);
                known.clip = known.clip.min(entry.clip);
                known.gone |= entry.gone;
                known.moves.extend(&entry.moves);
            });
        }
        self.generation += 1;
    }

    /// Up to `count` extents of a replica, oldest first, from the first that ends past `from`; joined where they are one. `newest`: what
    /// its slot has. Fewer than `count` are found too where a page is missing behind them; with `whole` only such of which it is known
    /// that they do not go on there.
    ///
    /// # Errors
    /// The page that is missing for the first.
    pub(crate) fn find(
        &self,
        replica: ReplicaId,
        newest: Option<Extent>,
        from: i64,
        (count, whole): (usize, bool),
        pages: &mut PageSource<'_>,
    ) -> Result<Found, Missing> {
        let mut found = Found::new();
        // Answers whether there is enough.
        let mut take = |extent: Extent| {
            if extent.end <= from {
                return false;
            }
            if let Some(last) = found.last_mut().filter(|last| joins(last, &extent)) {
                join(last, &extent);
                return false;
            }
            let enough = found.len() == count;
            if !enough {
                found.push(extent);
            }
            enough
        };
        let entry = self.get(replica);
        let below = match self.find_below(replica, from, pages, &mut take) {
            Ok(true) => return Ok(found),
            Ok(false) => None,
            Err(missing) => Some(missing),
        };
        if let Some(missing) = below {
            if whole {
                found.pop();
            }
            return if found.is_empty() {
                Err(missing)
            } else {
                Ok(found)
            };
        }
        let own = entry.into_iter().flat_map(|entry| entry.extents.from(from));
        for extent in own.chain(newest) {
            if take(extent) {
                break;
            }
        }
        Ok(found)
    }

    /// As `find`, of the layers below the uppermost only; not joined.
    ///
    /// # Errors
    /// The page that is missing for the first.
    pub(crate) fn find_lower(
        &self,
        replica: ReplicaId,
        from: i64,
        count: usize,
        pages: &mut PageSource<'_>,
    ) -> Result<Found, Missing> {
        let mut found = Found::new();
        let below = self.find_below(replica, from, pages, &mut |extent| {
            if extent.end > from {
                found.push(extent);
            }
            found.len() >= count
        });
        match below {
            Err(missing) if found.is_empty() => Err(missing),
            _ => Ok(found),
        }
    }

    fn find_below(
        &self,
        replica: ReplicaId,
        from: i64,
        pages: &mut PageSource<'_>,
        take: &mut dyn FnMut(Extent) -> bool,
    ) -> Result<bool, Missing> {
        let upper = self.get(replica);
        if upper.is_some_and(|entry| entry.gone) {
            return Ok(false);
        }
        let frozen = self.frozen.as_ref().and_then(|frozen| frozen.get(&replica));
        let mut pass = |extent: Extent, frozen: Option<&Entry>| {
            let extent = match frozen {
                Some(entry) => entry.apply(extent),
                None => Some(extent),
            };
            let extent = extent.and_then(|extent| match upper {
                Some(entry) => entry.apply(extent),
                None => Some(extent),
            });
            extent.is_some_and(&mut *take)
        };
        let fences = &self.base.fences;
        let above = frozen.is_some_and(|entry| entry.gone);
        if replica.0 < self.base.next_replica && !above {
            // Nothing of the base counts below the one or past the other.
            let (mut first, mut past) = (from, i64::MAX);
            for entry in upper.into_iter().chain(frozen) {
                first = first.max(entry.start);
                past = past.min(entry.clip);
            }
            let mut page = page_for(fences, replica, first);
            while let Some(fence) = fences.get(page)
                && (fence.replica, fence.base) <= (replica, past)
            {
                let missing = Missing {
                    number: self.base.number,
                    page: page as u32,
                };
                let entries = pages(missing).ok_or(missing)?;
                let at = entries
                    .partition_point(|(owner, entry)| (*owner, entry.last) < (replica, first));
                for (owner, entry) in &entries[at..] {
                    if *owner != replica || entry.base >= past {
                        break;
                    }
                    if pass(extent_of(entry), frozen) {
                        return Ok(true);
                    }
                }
                page += 1;
            }
        }
        for extent in frozen
            .into_iter()
            .flat_map(|entry| entry.extents.from(from))
        {
            if pass(extent, None) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
