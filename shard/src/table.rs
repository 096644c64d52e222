//! Items at positions that stay theirs until they are taken out, as in a slab, but in chunks: a table of millions grows without moving
//! what it holds, which would keep everybody waiting, and has no more room to spare than a chunk.

use std::ops::{Index, IndexMut};

const CHUNK_ITEMS: usize = 512;

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    /// The next free position, if any.
    Free(Option<u32>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Table<T> {
    chunks: Vec<Vec<Place<T>>>,
    free: Option<u32>,
    length: usize,
}

impl<T> Table<T> {
    pub(crate) const fn new() -> Self {
        Table {
            chunks: Vec::new(),
            free: None,
            length: 0,
        }
    }

    /// Items in it.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Adds an item; its position.
    pub(crate) fn insert(&mut self, item: T) -> usize {
        self.length += 1;
        if let Some(free) = self.free {
            let place = &mut self.chunks[free as usize / CHUNK_ITEMS][free as usize % CHUNK_ITEMS];
            let Place::Free(next) = std::mem::replace(place, Place::Taken(item)) else {
                unreachable!("positions in the list of free ones hold nothing");
            };
            self.free = next;
            return free as usize;
        }
        if self
            .chunks
            .last()
            .is_none_or(|chunk| chunk.len() == CHUNK_ITEMS)
        {
            // The first grows with what is in it: most tables are small.
            let room = if self.chunks.is_empty() {
                0
            } else {
                CHUNK_ITEMS
            };
            self.chunks.push(Vec::with_capacity(room));
        }
        let first = (self.chunks.len() - 1) * CHUNK_ITEMS;
        let chunk = self.chunks.last_mut().expect("pushed above when missing");
        chunk.push(Place::Taken(item));
        first + chunk.len() - 1
    }

    /// Takes out the item at a position, which must hold one.
    pub(crate) fn remove(&mut self, position: usize) -> T {
        let place = &mut self.chunks[position / CHUNK_ITEMS][position % CHUNK_ITEMS];
        match std::mem::replace(place, Place::Free(self.free)) {
            Place::Taken(item) => {
                self.free = Some(position as u32);
                self.length -= 1;
                item
            }
            Place::Free(_) => panic!("nothing is at position {position}"),
        }
    }

    pub(crate) fn get(&self, position: usize) -> Option<&T> {
        match self
            .chunks
            .get(position / CHUNK_ITEMS)?
            .get(position % CHUNK_ITEMS)?
        {
            Place::Taken(item) => Some(item),
            Place::Free(_) => None,
        }
    }

    pub(crate) fn get_mut(&mut self, position: usize) -> Option<&mut T> {
        match self
            .chunks
            .get_mut(position / CHUNK_ITEMS)?
            .get_mut(position % CHUNK_ITEMS)?
        {
            Place::Taken(item) => Some(item),
            Place::Free(_) => None,
        }
    }

    /// All items, by position.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries().map(|(_, item)| item)
    }

    /// All items with their positions.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u32, &T)> {
        // Every chunk but the last is full.
        let places = self.chunks.iter().flatten();
        (0u32..)
            .zip(places)
            .filter_map(|(position, place)| match place {
                Place::Taken(item) => Some((position, item)),
                Place::Free(_) => None,
            })
    }
}

impl<T> Index<usize> for Table<T> {
    type Output = T;

    fn index(&self, position: usize) -> &T {
        self.get(position).expect("the position was given out")
    }
}

impl<T> IndexMut<usize> for Table<T> {
    fn index_mut(&mut self, position: usize) -> &mut T {
        self.get_mut(position).expect("the position was given out")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_used_again_and_stay_their_items() {
        let mut table = Table::new();
        for number in 0..3 * CHUNK_ITEMS {
            assert_eq!(table.insert(number), number);
        }
        for position in [7, CHUNK_ITEMS, 2 * CHUNK_ITEMS + 1] {
            assert_eq!(table.remove(position), position);
            assert!(table.get(position).is_none());
        }
        assert_eq!(table.len(), 3 * CHUNK_ITEMS - 3);
        assert_eq!(table.iter().count(), table.len());
        assert!(
            table
                .entries()
                .all(|(position, item)| position as usize == *item)
        );
        let again: Vec<usize> = (0..4).map(|_| table.insert(9)).collect();
        assert_eq!(
            again,
            [2 * CHUNK_ITEMS + 1, CHUNK_ITEMS, 7, 3 * CHUNK_ITEMS]
        );
        assert_eq!(table[8], 8);
        assert!(table.get(4 * CHUNK_ITEMS).is_none());
    }
}
