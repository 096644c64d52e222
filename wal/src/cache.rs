//! What is kept in memory, each with a bound in bytes: whole write buffers (tail), decoded index pages; `region.rs` has what was read from disk.
//! The tail goes oldest first; pages that were asked for twice stay, and a scan passes by (S3-FIFO in its simplest form).

use crate::footer::{IndexEntry, IndexPage, decode_index_page};
use crate::io::BLOCK_BYTES;
use bytes::Bytes;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Look-ups of a cache since recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheLookups {
    /// Found.
    pub hits: u64,
    /// Not found.
    pub misses: u64,
}

impl CacheLookups {
    pub(crate) fn count<T>(&mut self, found: Option<T>) -> Option<T> {
        *(if found.is_some() {
            &mut self.hits
        } else {
            &mut self.misses
        }) += 1;
        found
    }
}

/// Bytes of the tail that are kept whether anybody reads them or not.
const TAIL_BYTES_MIN: usize = 4 << 20;
/// Writes that are remembered after they left the tail.
const TAIL_GHOSTS_MAX: usize = 16 << 10;

/// The last writes, whole: as many as readers reach back, within a bound.
///
/// Memory that nobody reads back is worse than none: each new page is cleared by the kernel and cold, where the buffers of a short tail are used
/// again while they are still in the processor's cache (for a producer alone a full tail cost a third of the CPU at 64 KiB batches). So the tail
/// is short until a read asks for a write that left it. How far back that write lies, in bytes written since, is how long the tail has to be;
/// once in every `bytes_max` written it shrinks to what was reached back to meanwhile.
#[derive(Debug)]
pub(crate) struct TailCache {
    writes: BTreeMap<(u32, u32), TailWrite>,
    order: VecDeque<(u32, u32)>,
    /// Writes that left, and what had been written before them: only to tell how far back a read reaches.
    ghosts: BTreeMap<(u32, u32), (u32, u64)>,
    ghost_order: VecDeque<(u32, u32)>,
    bytes: usize,
    bytes_max: usize,
    bytes_goal: Cell<usize>,
    /// The farthest that a read reached back since `window_began`, in bytes written since.
    reach: Cell<u64>,
    /// All bytes ever written.
    written: u64,
    window_began: u64,
    lookups: Cell<CacheLookups>,
}

#[derive(Debug)]
struct TailWrite {
    bytes: Bytes,
    /// All bytes written before it.
    written_before: u64,
}

impl TailCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            writes: BTreeMap::new(),
            order: VecDeque::new(),
            ghosts: BTreeMap::new(),
            ghost_order: VecDeque::new(),
            bytes: 0,
            bytes_max,
            bytes_goal: Cell::new(bytes_max.min(TAIL_BYTES_MIN)),
            reach: Cell::new(0),
            written: 0,
            window_began: 0,
            lookups: Cell::default(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn lookups(&self) -> CacheLookups {
        self.lookups.get()
    }

    /// Adds the newest write, at `position` of a segment; the oldest go when the tail is longer than readers reach back.
    pub(crate) fn push(&mut self, file: u32, position: u32, write: Bytes) {
        self.bytes += write.len();
        let written_before = self.written;
        self.written += write.len() as u64;
        let write = TailWrite {
            bytes: write,
            written_before,
        };
        if let Some(old) = self.writes.insert((file, position), write) {
            self.bytes -= old.bytes.len();
        } else {
            self.order.push_back((file, position));
        }
        if self.written - self.window_began >= self.bytes_max as u64 {
            self.window_began = self.written;
            self.bytes_goal.set(self.goal_for(self.reach.take()));
        }
        while self.bytes > self.bytes_goal.get() && self.order.len() > 1 {
            if let Some(key) = self.order.pop_front()
                && let Some(old) = self.writes.remove(&key)
            {
                self.bytes -= old.bytes.len();
                self.remember(key, &old);
            }
        }
    }

    /// The length of a tail that holds what lies `reach` back, with a quarter to spare.
    fn goal_for(&self, reach: u64) -> usize {
        let wanted = usize::try_from(reach + reach / 4).unwrap_or(usize::MAX);
        wanted.max(TAIL_BYTES_MIN).min(self.bytes_max)
    }

    fn remember(&mut self, key: (u32, u32), left: &TailWrite) {
        let ghost = (left.bytes.len() as u32, left.written_before);
        if self.ghosts.insert(key, ghost).is_none() {
            self.ghost_order.push_back(key);
        }
        while self.ghost_order.len() > TAIL_GHOSTS_MAX {
            if let Some(oldest) = self.ghost_order.pop_front() {
                self.ghosts.remove(&oldest);
            }
        }
    }

    pub(crate) fn forget(&mut self, file: u32, position: u32) {
        if let Some(old) = self.writes.remove(&(file, position)) {
            self.bytes -= old.bytes.len();
        }
    }

    /// The segment begins a new life.
    pub(crate) fn forget_segment(&mut self, file: u32) {
        let keys: Vec<(u32, u32)> = self
            .writes
            .range((file, 0)..=(file, u32::MAX))
            .map(|(key, _)| *key)
            .collect();
        for (file, position) in keys {
            self.forget(file, position);
        }
        let ghosts: Vec<(u32, u32)> = self
            .ghosts
            .range((file, 0)..=(file, u32::MAX))
            .map(|(key, _)| *key)
            .collect();
        for key in ghosts {
            // Its place in the order stays: a new ghost of that place may leave early, and nothing else comes of it.
            self.ghosts.remove(&key);
        }
    }

    /// A slice of `bytes` at `position`, when the write that holds it is still here.
    pub(crate) fn slice(&self, file: u32, position: u32, bytes: usize) -> Option<Bytes> {
        let found = self.find(file, position, bytes);
        if found.is_none() {
            self.lengthen(file, position);
        }
        let mut lookups = self.lookups.get();
        let found = lookups.count(found);
        self.lookups.set(lookups);
        found
    }

    fn find(&self, file: u32, position: u32, bytes: usize) -> Option<Bytes> {
        let (&(_, start), write) = self
            .writes
            .range((file, 0)..=(file, position))
            .next_back()?;
        let from = (position - start) as usize;
        let inside = from + bytes <= write.bytes.len();
        inside.then(|| {
            let reach = self.written - write.written_before;
            self.reach.set(self.reach.get().max(reach));
            write.bytes.slice(from..from + bytes)
        })
    }

    /// A read came too late for a write: from now on the tail is long enough for the like of it, where the bound allows.
    fn lengthen(&self, file: u32, position: u32) {
        let ghost = self.ghosts.range((file, 0)..=(file, position)).next_back();
        let Some((&(_, start), &(length, written_before))) = ghost else {
            return;
        };
        let reach = self.written - written_before;
        if position - start < length && reach <= self.bytes_max as u64 {
            self.reach.set(self.reach.get().max(reach));
            self.bytes_goal
                .set(self.bytes_goal.get().max(self.goal_for(reach)));
        }
    }
}

/// A cache in two queues: newcomers wait in a small one, and go to the main one only when asked for again meanwhile.
#[derive(Debug)]
struct TwoQueues<V> {
    entries: BTreeMap<(u32, u32), Entry<V>>,
    small: VecDeque<(u32, u32)>,
    main: VecDeque<(u32, u32)>,
    small_bytes: usize,
    main_bytes: usize,
    bytes_max: usize,
    lookups: CacheLookups,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    hits: u8,
    in_main: bool,
}

impl<V: Clone> TwoQueues<V> {
    fn new(bytes_max: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            small_bytes: 0,
            main_bytes: 0,
            bytes_max,
            lookups: CacheLookups::default(),
        }
    }

    fn bytes(&self) -> usize {
        self.small_bytes + self.main_bytes
    }

    fn get(&mut self, key: (u32, u32)) -> Option<V> {
        let found = self.entries.get_mut(&key).map(|entry| {
            entry.hits = (entry.hits + 1).min(3);
            entry.value.clone()
        });
        self.lookups.count(found)
    }

    fn insert(&mut self, key: (u32, u32), value: V, bytes: usize) {
        if bytes > self.bytes_max / 4 || self.entries.contains_key(&key) {
            return;
        }
        self.entries.insert(
            key,
            Entry {
                value,
                bytes,
                hits: 0,
                in_main: false,
            },
        );
        self.small.push_back(key);
        self.small_bytes += bytes;
        while self.bytes() > self.bytes_max {
            if self.small_bytes * 10 > self.bytes_max || self.main.is_empty() {
                self.evict_small();
            } else {
                self.evict_main();
            }
        }
    }

    fn evict_small(&mut self) {
        let Some(key) = self.small.pop_front() else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| !entry.in_main) else {
            return;
        };
        self.small_bytes -= entry.bytes;
        if entry.hits > 0 {
            entry.hits = 0;
            entry.in_main = true;
            self.main_bytes += entry.bytes;
            self.main.push_back(key);
        } else {
            self.entries.remove(&key);
        }
    }

    fn evict_main(&mut self) {
        let Some(key) = self.main.pop_front() else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.in_main) else {
            return;
        };
        if entry.hits > 0 {
            entry.hits -= 1;
            self.main.push_back(key);
        } else {
            self.main_bytes -= entry.bytes;
            self.entries.remove(&key);
        }
    }

    fn forget_segment(&mut self, file: u32) {
        let keys: Vec<(u32, u32)> = self
            .entries
            .range((file, 0)..=(file, u32::MAX))
            .map(|(key, _)| *key)
            .collect();
        if keys.is_empty() {
            return;
        }
        for key in keys {
            if let Some(entry) = self.entries.remove(&key) {
                *(if entry.in_main {
                    &mut self.main_bytes
                } else {
                    &mut self.small_bytes
                }) -= entry.bytes;
            }
        }
        self.small.retain(|key| key.0 != file);
        self.main.retain(|key| key.0 != file);
    }
}

/// Decoded index pages, by segment and page number; and the newest footers as they were written, so that what is still in the tail
/// is found without the disk.
#[derive(Debug)]
pub(crate) struct PageCache {
    pages: TwoQueues<Arc<IndexPage>>,
    footers: VecDeque<(u32, Bytes)>,
    footer_bytes: usize,
    footer_bytes_max: usize,
}

impl PageCache {
    /// A quarter of the bound is for footers.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            pages: TwoQueues::new(bytes_max / 4 * 3),
            footers: VecDeque::new(),
            footer_bytes: 0,
            footer_bytes_max: bytes_max / 4,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.pages.bytes() + self.footer_bytes
    }

    pub(crate) fn lookups(&self) -> CacheLookups {
        self.pages.lookups
    }

    pub(crate) fn get(&mut self, file: u32, page: u32) -> Option<Arc<IndexPage>> {
        self.pages.get((file, page))
    }

    pub(crate) fn insert(&mut self, file: u32, page: u32, entries: Arc<IndexPage>) {
        let bytes =
            entries.len() * std::mem::size_of::<(crate::types::ReplicaId, IndexEntry)>() + 96;
        self.pages.insert((file, page), entries, bytes);
    }

    /// Keeps a footer just written; the oldest go when the bound is passed.
    pub(crate) fn keep_footer(&mut self, file: u32, footer: Bytes) {
        self.footer_bytes += footer.len();
        self.footers.push_back((file, footer));
        while self.footer_bytes > self.footer_bytes_max {
            let Some((_, old)) = self.footers.pop_front() else {
                return;
            };
            self.footer_bytes -= old.len();
        }
    }

    /// A page of a footer that is still here, decoded.
    pub(crate) fn page_of_footer(
        &mut self,
        file: u32,
        page: u32,
        nonce: u64,
        footer_position: u64,
    ) -> Option<Arc<IndexPage>> {
        let (_, footer) = self.footers.iter().find(|(found, _)| *found == file)?;
        let at = page as usize * BLOCK_BYTES;
        let bytes = footer.get(at..at + BLOCK_BYTES)?;
        let entries = Arc::new(decode_index_page(
            bytes,
            nonce,
            footer_position + at as u64,
            page,
        )?);
        self.insert(file, page, Arc::clone(&entries));
        Some(entries)
    }

    pub(crate) fn forget_segment(&mut self, file: u32) {
        self.pages.forget_segment(file);
        self.footers.retain(|(found, _)| *found != file);
        self.footer_bytes = self.footers.iter().map(|(_, footer)| footer.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// A tail of at most 256 MiB after so many writes of 1 MiB, the last ones in file 1 at positions of 1 MiB each.
    fn tail_after(writes: u32) -> TailCache {
        let mut tail = TailCache::new(256 * MIB);
        for number in 0..writes {
            tail.push(1, number * MIB as u32, Bytes::from(vec![0; MIB]));
        }
        tail
    }

    #[test]
    fn a_tail_that_nobody_reads_stays_short() {
        assert_eq!(tail_after(200).bytes(), TAIL_BYTES_MIN);
    }

    #[test]
    fn a_read_that_came_too_late_makes_the_tail_long_enough_for_the_next() {
        let mut tail = tail_after(200);
        assert!(tail.slice(1, 100 * MIB as u32, 4096).is_none());
        for number in 200..400 {
            tail.push(1, number * MIB as u32, Bytes::from(vec![0; MIB]));
        }
        assert!(
            tail.slice(1, 300 * MIB as u32, 4096).is_some(),
            "a reader a hundred MiB behind is served from memory now"
        );
    }

    #[test]
    fn the_tail_never_passes_its_bound_and_shrinks_when_readers_are_gone() {
        let mut tail = tail_after(250);
        for _ in 0..3 {
            assert!(tail.slice(1, 10 * MIB as u32, 4096).is_none());
        }
        for number in 250..600 {
            tail.push(1, number * MIB as u32, Bytes::from(vec![0; MIB]));
            assert!(tail.bytes() <= 256 * MIB);
        }
        for number in 600..1200 {
            tail.push(1, number * MIB as u32, Bytes::from(vec![0; MIB]));
        }
        assert_eq!(tail.bytes(), TAIL_BYTES_MIN);
    }
}
