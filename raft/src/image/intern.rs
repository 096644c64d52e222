//! Interning of lists that millions of partitions share: replica lists, ISRs, directory sets, and the rare extras. An entry of the image
//! holds a number of 4 bytes; the list is stored once. The image carries only the lists (`InternedLists`), the builder the look-up.
//! Lists that nobody uses any more stay until the builder renumbers (`TopicsBuilder::renumber_if_due`).

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::chunked::ChunkedVec;

/// Number 0 is always the empty value.
pub const EMPTY: u32 = 0;

/// The lists by number, shared between images.
#[derive(Clone, Debug)]
pub struct InternedLists<E> {
    lists: ChunkedVec<Arc<[E]>>,
}

impl<E> Default for InternedLists<E> {
    fn default() -> Self {
        let mut lists = ChunkedVec::default();
        lists.push(Arc::default());
        InternedLists { lists }
    }
}

impl<E> InternedLists<E> {
    /// The list of a number that this image gave out.
    pub fn get(&self, number: u32) -> &[E] {
        self.lists
            .get(number as usize)
            .expect("numbers of lists come only from this table, which never shrinks below them")
    }

    /// Distinct lists, the empty one included.
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// Bytes held by the table of lists.
    pub fn bytes(&self) -> usize {
        let lists: usize = self
            .lists
            .iter()
            .map(|list| size_of_val::<[E]>(list) + 16)
            .sum();
        self.lists.bytes() + lists
    }
}

/// Finds the number of a list, or gives it one. Hashing is seeded, and the order of this table reaches no output: numbers are given in
/// the order of first use.
#[derive(Clone, Debug)]
pub struct Interner {
    numbers: HashTable<u32>,
    hasher: FixedState,
}

impl Interner {
    /// A look-up for the lists that `lists` already has.
    pub fn new<E: Hash>(lists: &InternedLists<E>, seed: u64) -> Interner {
        let hasher = FixedState::with_seed(seed);
        let mut numbers = HashTable::with_capacity(lists.len());
        for number in 0..lists.len() as u32 {
            numbers.insert_unique(hasher.hash_one(lists.get(number)), number, |&known| {
                hasher.hash_one(lists.get(known))
            });
        }
        Interner { numbers, hasher }
    }

    /// The number of `list`.
    pub fn intern<E: Hash + Eq + Clone>(
        &mut self,
        lists: &mut InternedLists<E>,
        list: &[E],
    ) -> u32 {
        let hash = self.hasher.hash_one(list);
        if let Some(&number) = self.numbers.find(hash, |&number| lists.get(number) == list) {
            return number;
        }
        let number = u32::try_from(lists.lists.push(Arc::from(list)))
            .expect("fewer than 2^32 distinct lists: each partition has at most a handful");
        let hasher = &self.hasher;
        self.numbers
            .insert_unique(hash, number, |&known| hasher.hash_one(lists.get(known)));
        number
    }
}
