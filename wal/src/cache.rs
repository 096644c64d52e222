//! What is kept in memory, each with a bound in bytes: whole write buffers (tail), verified frames read from disk, decoded index pages.
//! The tail goes oldest first; the other two keep what was asked for twice and let a scan pass by (S3-FIFO in its simplest form).

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
    fn count<T>(&mut self, found: Option<T>) -> Option<T> {
        *(if found.is_some() {
            &mut self.hits
        } else {
            &mut self.misses
        }) += 1;
        found
    }
}

/// The last writes, whole.
#[derive(Debug)]
pub(crate) struct TailCache {
    writes: BTreeMap<(u32, u32), Bytes>,
    order: VecDeque<(u32, u32)>,
    bytes: usize,
    bytes_max: usize,
    lookups: Cell<CacheLookups>,
}

impl TailCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            writes: BTreeMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            bytes_max,
            lookups: Cell::default(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn lookups(&self) -> CacheLookups {
        self.lookups.get()
    }

    /// Adds the newest write, at `position` of a segment; the oldest go when the bound is passed.
    pub(crate) fn push(&mut self, file: u32, position: u32, write: Bytes) {
        self.bytes += write.len();
        if let Some(old) = self.writes.insert((file, position), write) {
            self.bytes -= old.len();
        } else {
            self.order.push_back((file, position));
        }
        while self.bytes > self.bytes_max && self.order.len() > 1 {
            if let Some(key) = self.order.pop_front()
                && let Some(old) = self.writes.remove(&key)
            {
                self.bytes -= old.len();
            }
        }
    }

    pub(crate) fn forget(&mut self, file: u32, position: u32) {
        if let Some(old) = self.writes.remove(&(file, position)) {
            self.bytes -= old.len();
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
    }

    /// A slice of `bytes` at `position`, when the write that holds it is still here.
    pub(crate) fn slice(&self, file: u32, position: u32, bytes: usize) -> Option<Bytes> {
        let mut lookups = self.lookups.get();
        let found = lookups.count(self.find(file, position, bytes));
        self.lookups.set(lookups);
        found
    }

    fn find(&self, file: u32, position: u32, bytes: usize) -> Option<Bytes> {
        let (&(_, start), write) = self
            .writes
            .range((file, 0)..=(file, position))
            .next_back()?;
        let from = (position - start) as usize;
        (from + bytes <= write.len()).then(|| write.slice(from..from + bytes))
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

/// Payloads of verified frames, by segment and position.
#[derive(Debug)]
pub(crate) struct FrameCache(TwoQueues<Bytes>);

impl FrameCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(TwoQueues::new(bytes_max))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes()
    }

    pub(crate) fn lookups(&self) -> CacheLookups {
        self.0.lookups
    }

    pub(crate) fn get(&mut self, file: u32, position: u32) -> Option<Bytes> {
        self.0.get((file, position))
    }

    pub(crate) fn insert(&mut self, file: u32, position: u32, payload: Bytes) {
        let bytes = payload.len() + 96;
        self.0.insert((file, position), payload, bytes);
    }

    pub(crate) fn forget_segment(&mut self, file: u32) {
        self.0.forget_segment(file);
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
