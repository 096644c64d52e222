//! A vector whose clones share memory: chunks of 255 items behind `Arc`, pages of 256 chunks behind `Arc`. Cloning costs one count
//! per 65,280 items; the first change of a chunk after a clone copies that chunk only. The image keeps partitions in it (`topics.rs`).

use std::sync::Arc;

/// Items per chunk: with the counts before them, those of 32 and of 56 bytes just fit the allocator's sizes of 8 and 14 KiB, where one more would
/// take the next, a quarter and a seventh larger.
pub const CHUNK_ITEMS: usize = 255;
const PAGE_CHUNKS: usize = 256;

type Chunk<T> = Arc<[T; CHUNK_ITEMS]>;

/// See the module.
#[derive(Clone, Debug)]
pub struct ChunkedVec<T> {
    pages: Vec<Arc<Vec<Chunk<T>>>>,
    length: usize,
}

impl<T> Default for ChunkedVec<T> {
    fn default() -> Self {
        ChunkedVec {
            pages: Vec::new(),
            length: 0,
        }
    }
}

impl<T: Clone + Default> ChunkedVec<T> {
    /// Items in use.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The item at `index`.
    pub fn get(&self, index: usize) -> Option<&T> {
        if index >= self.length {
            return None;
        }
        let chunk = index / CHUNK_ITEMS;
        let page = &self.pages[chunk / PAGE_CHUNKS];
        Some(&page[chunk % PAGE_CHUNKS][index % CHUNK_ITEMS])
    }

    /// The item at `index`, to be changed: copies its chunk when a clone shares it.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        if index >= self.length {
            return None;
        }
        let chunk = index / CHUNK_ITEMS;
        let page = Arc::make_mut(&mut self.pages[chunk / PAGE_CHUNKS]);
        Some(&mut Arc::make_mut(&mut page[chunk % PAGE_CHUNKS])[index % CHUNK_ITEMS])
    }

    /// Adds an item at the end and gives its index.
    pub fn push(&mut self, item: T) -> usize {
        let index = self.length;
        if index.is_multiple_of(CHUNK_ITEMS) {
            let chunk = Arc::new(std::array::from_fn(|_| T::default()));
            match self.pages.last_mut() {
                Some(page) if page.len() < PAGE_CHUNKS => Arc::make_mut(page).push(chunk),
                _ => self.pages.push(Arc::new(vec![chunk])),
            }
        }
        self.length += 1;
        *self
            .get_mut(index)
            .expect("the length was just raised past it") = item;
        index
    }

    /// All items in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages
            .iter()
            .flat_map(|page| page.iter())
            .flat_map(|chunk| chunk.iter())
            .take(self.length)
    }

    /// Bytes held, counted as if nothing were shared.
    pub fn bytes(&self) -> usize {
        let chunks: usize = self.pages.iter().map(|page| page.len()).sum();
        chunks * (CHUNK_ITEMS * size_of::<T>() + 16 + size_of::<Chunk<T>>())
    }
}
