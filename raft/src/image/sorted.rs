//! A sorted list of small items whose clones share memory: sorted leaves behind `Arc`, gathered in pages behind `Arc`, each level with the
//! smallest keys of the one below. The first change of a leaf after a clone copies that leaf, its page and the list of pages, never more:
//! a clone of a million items and its end must not keep anybody waiting.
//!
//! What an item is sorted by need not be in it: [`Keys`] says where it is found. So the image keeps a topic's name once, and 4 bytes for its
//! place among the names (`topics.rs`).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

const LEAF_ITEMS_MAX: usize = 128;
const PAGE_LEAVES_MAX: usize = 64;

/// What items are sorted by.
pub(super) trait Keys<T> {
    type Key: Ord + ?Sized;
    /// A key that is kept beside the items, one for each leaf.
    type Fence: Borrow<Self::Key> + Clone;

    fn key<'a>(&'a self, item: &'a T) -> &'a Self::Key;

    fn fence(&self, item: &T) -> Self::Fence;
}

/// Items that are their own keys.
pub(super) struct Own;

impl<T: Ord + Copy> Keys<T> for Own {
    type Key = T;
    type Fence = T;

    fn key<'a>(&'a self, item: &'a T) -> &'a T {
        item
    }

    fn fence(&self, item: &T) -> T {
        *item
    }
}

type Leaf<T> = Arc<Vec<T>>;

/// Consecutive leaves, never none.
#[derive(Clone, Debug)]
struct Page<T, F> {
    /// The smallest key of each leaf when it was made or last grew downwards; `fences[i] <=` every key of leaf i.
    fences: Vec<F>,
    leaves: Vec<Leaf<T>>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct SortedChunks<T, F> {
    top: Arc<Top<T, F>>,
    length: usize,
}

/// The first fence of each page, and the pages.
#[derive(Clone, Debug)]
struct Top<T, F> {
    fences: Vec<F>,
    pages: Vec<Arc<Page<T, F>>>,
}

impl<T, F> Default for SortedChunks<T, F> {
    fn default() -> Self {
        SortedChunks {
            top: Arc::new(Top {
                fences: Vec::new(),
                pages: Vec::new(),
            }),
            length: 0,
        }
    }
}

/// Where a key belongs: page, leaf in it, and whether it is the last leaf of all.
struct Place {
    page: usize,
    leaf: usize,
    is_last: bool,
}

impl<T: Copy, F: Clone> SortedChunks<T, F> {
    /// The list of items that are sorted, each once: as full as one whose items came in their order.
    pub fn of_sorted<K: Keys<T, Fence = F>>(keys: &K, items: &[T]) -> Self {
        let pages = items.chunks(LEAF_ITEMS_MAX * PAGE_LEAVES_MAX).map(|items| {
            let leaves = items.chunks(LEAF_ITEMS_MAX);
            Page {
                fences: leaves.clone().map(|leaf| keys.fence(&leaf[0])).collect(),
                leaves: leaves.map(leaf_of).collect(),
            }
        });
        let pages: Vec<_> = pages.map(Arc::new).collect();
        SortedChunks {
            top: Arc::new(Top {
                fences: pages.iter().map(|page| page.fences[0].clone()).collect(),
                pages,
            }),
            length: items.len(),
        }
    }

    /// Items.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The item of `key`.
    pub fn get<K: Keys<T, Fence = F>>(&self, keys: &K, key: &K::Key) -> Option<T> {
        let leaf = self.leaf(&self.place_of::<K>(key)?);
        let index = leaf
            .binary_search_by(|known| keys.key(known).cmp(key))
            .ok()?;
        Some(leaf[index])
    }

    /// The first item that is not below `key`: one look, where [`SortedChunks::iter_from`] sets up a walk.
    pub fn first_from<K: Keys<T, Fence = F>>(&self, keys: &K, key: &K::Key) -> Option<T> {
        let place = self.place_of::<K>(key)?;
        let leaf = self.leaf(&place);
        let index = leaf.partition_point(|known| keys.key(known) < key);
        match leaf.get(index) {
            Some(item) => Some(*item),
            None => self.iter_from(keys, key).next(),
        }
    }

    /// Adds an item; false, and nothing is added, when there is one of its key.
    pub fn insert<K: Keys<T, Fence = F>>(&mut self, keys: &K, item: T) -> bool {
        let key = keys.key(&item);
        let Some(place) = self.place_of::<K>(key) else {
            self.insert_first(keys.fence(&item), item);
            return true;
        };
        let leaf = self.leaf(&place);
        // Keys that come in order, as from a snapshot, are compared once.
        let after_all = leaf
            .last()
            .is_some_and(|last| keys.key(last).cmp(key) == Ordering::Less);
        let found = match after_all {
            true => Err(leaf.len()),
            false => leaf.binary_search_by(|known| keys.key(known).cmp(key)),
        };
        let Err(index) = found else {
            return false;
        };
        let is_full = leaf.len() >= LEAF_ITEMS_MAX;
        let is_smallest = index == 0 && place.page == 0 && place.leaf == 0;
        self.length += 1;
        let top = Arc::make_mut(&mut self.top);
        if is_smallest {
            Arc::make_mut(&mut top.pages[0]).fences[0] = keys.fence(&item);
            top.fences[0] = keys.fence(&item);
        }
        if is_full && after_all && place.is_last {
            // And they fill leaves instead of halving them.
            top.add_leaf(
                place.page,
                place.leaf + 1,
                keys.fence(&item),
                new_leaf(item),
            );
        } else if is_full {
            let page = Arc::make_mut(&mut top.pages[place.page]);
            let upper = part(&mut page.leaves[place.leaf], index, item);
            let fence = keys.fence(&upper[0]);
            top.add_leaf(place.page, place.leaf + 1, fence, Arc::new(upper));
        } else {
            let page = Arc::make_mut(&mut top.pages[place.page]);
            changeable(&mut page.leaves[place.leaf]).insert(index, item);
        }
        true
    }

    /// Removes the item of `key`, if there is one.
    pub fn remove<K: Keys<T, Fence = F>>(&mut self, keys: &K, key: &K::Key) -> Option<T> {
        let place = self.place_of::<K>(key)?;
        let found = self
            .leaf(&place)
            .binary_search_by(|known| keys.key(known).cmp(key));
        let index = found.ok()?;
        let top = Arc::make_mut(&mut self.top);
        let page = Arc::make_mut(&mut top.pages[place.page]);
        let leaf = changeable(&mut page.leaves[place.leaf]);
        let item = leaf.remove(index);
        if leaf.is_empty() {
            page.leaves.remove(place.leaf);
            page.fences.remove(place.leaf);
            if page.leaves.is_empty() {
                top.pages.remove(place.page);
                top.fences.remove(place.page);
            } else {
                top.fences[place.page] = page.fences[0].clone();
            }
        }
        self.length -= 1;
        Some(item)
    }

    /// All items by key.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.items(0, 0, 0)
    }

    /// Items from `key` on, its own included when present.
    pub fn iter_from<K: Keys<T, Fence = F>>(
        &self,
        keys: &K,
        key: &K::Key,
    ) -> impl Iterator<Item = T> + use<'_, T, F, K> {
        let place = self.place_of::<K>(key);
        let (page, leaf, skipped) = place.map_or((0, 0, 0), |place| {
            let skipped = self
                .leaf(&place)
                .partition_point(|known| keys.key(known) < key);
            (place.page, place.leaf, skipped)
        });
        self.items(page, leaf, skipped)
    }

    /// Bytes held by the list itself, counted as if nothing were shared.
    pub fn bytes(&self) -> usize {
        let leaves = self.top.pages.iter().flat_map(|page| page.leaves.iter());
        leaves
            .map(|leaf| leaf.capacity() * size_of::<T>() + size_of::<F>() + 48)
            .sum()
    }

    fn items(&self, page: usize, leaf: usize, skipped: usize) -> impl Iterator<Item = T> {
        self.top.pages[page.min(self.top.pages.len())..]
            .iter()
            .flat_map(|page| page.leaves.iter())
            .skip(leaf)
            .flat_map(|leaf| leaf.iter())
            .skip(skipped)
            .copied()
    }

    fn leaf(&self, place: &Place) -> &Leaf<T> {
        &self.top.pages[place.page].leaves[place.leaf]
    }

    /// The last leaf whose fence is not above `key`, or the first of all; none when there is none.
    fn place_of<K: Keys<T, Fence = F>>(&self, key: &K::Key) -> Option<Place> {
        let page = last_below::<K, T>(&self.top.fences, key);
        let fences = &self.top.pages.get(page)?.fences;
        let leaf = last_below::<K, T>(fences, key);
        Some(Place {
            page,
            leaf,
            is_last: page + 1 == self.top.pages.len() && leaf + 1 == fences.len(),
        })
    }

    fn insert_first(&mut self, fence: F, item: T) {
        self.length += 1;
        let page = Page {
            fences: vec![fence.clone()],
            leaves: vec![new_leaf(item)],
        };
        let top = Arc::make_mut(&mut self.top);
        top.fences.push(fence);
        top.pages.push(Arc::new(page));
    }
}

/// The last of the fences that is not above `key`; the first when all are, since what is smaller than all goes to the front.
fn last_below<K: Keys<T>, T>(fences: &[K::Fence], key: &K::Key) -> usize {
    if fences.last().is_some_and(|last| last.borrow() <= key) {
        return fences.len() - 1;
    }
    fences
        .partition_point(|fence| fence.borrow() <= key)
        .saturating_sub(1)
}

impl<T: Copy, F: Clone> Top<T, F> {
    fn add_leaf(&mut self, page_index: usize, leaf_index: usize, fence: F, leaf: Leaf<T>) {
        let is_last = page_index + 1 == self.pages.len();
        let page = Arc::make_mut(&mut self.pages[page_index]);
        if page.leaves.len() < PAGE_LEAVES_MAX {
            page.fences.insert(leaf_index, fence);
            page.leaves.insert(leaf_index, leaf);
            return;
        }
        let kept = match is_last && leaf_index == page.leaves.len() {
            true => page.leaves.len(),
            false => page.leaves.len() / 2,
        };
        let mut upper = Page {
            fences: page.fences.split_off(kept),
            leaves: page.leaves.split_off(kept),
        };
        let (part, at) = match leaf_index.checked_sub(kept) {
            Some(at) if at > 0 || upper.leaves.is_empty() => (&mut upper, at),
            _ => (page, leaf_index),
        };
        part.fences.insert(at, fence);
        part.leaves.insert(at, leaf);
        self.fences.insert(page_index + 1, upper.fences[0].clone());
        self.pages.insert(page_index + 1, Arc::new(upper));
    }
}

/// Parts a full leaf in two and puts an item where it stood in the whole; the upper part.
fn part<T: Copy>(leaf: &mut Leaf<T>, index: usize, item: T) -> Vec<T> {
    let leaf = changeable(leaf);
    let middle = leaf.len() / 2;
    let mut upper = Vec::with_capacity(LEAF_ITEMS_MAX);
    upper.extend(leaf.drain(middle..));
    match index.checked_sub(middle) {
        Some(index) if index > 0 => upper.insert(index, item),
        _ => leaf.insert(index, item),
    }
    upper
}

fn new_leaf<T: Copy>(item: T) -> Leaf<T> {
    leaf_of(&[item])
}

fn leaf_of<T: Copy>(items: &[T]) -> Leaf<T> {
    let mut leaf = Vec::with_capacity(LEAF_ITEMS_MAX);
    leaf.extend_from_slice(items);
    Arc::new(leaf)
}

/// A leaf to be changed, copied when a clone shares it. All leaves have room for as many items as one may hold and no more: a vector that
/// grows by itself would double.
fn changeable<T: Copy>(leaf: &mut Leaf<T>) -> &mut Vec<T> {
    if Arc::get_mut(leaf).is_none() {
        *leaf = leaf_of(leaf);
    }
    Arc::get_mut(leaf).expect("nobody else has what was just made")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Numbers below `limit` in an order that neither rises nor falls.
    fn mixed(limit: u64) -> impl Iterator<Item = u64> {
        (0..limit).map(move |number| number * 7_919 % limit)
    }

    fn check(list: &SortedChunks<u64, u64>, model: &BTreeSet<u64>) {
        assert_eq!(list.len(), model.len());
        assert!(list.iter().eq(model.iter().copied()));
        for from in [0, 1, 4_999, 5_000, 19_998, 30_000] {
            let wanted = model.range(from..).copied().take(300);
            assert!(list.iter_from(&Own, &from).take(300).eq(wanted));
            let found = list.get(&Own, &from);
            assert_eq!(found, model.get(&from).copied());
        }
    }

    #[test]
    fn it_holds_what_a_set_would_in_every_order_of_insertion() {
        let limit = 20_011;
        let orders: [Vec<u64>; 3] = [
            (0..limit).collect(),
            (0..limit).rev().collect(),
            mixed(limit).collect(),
        ];
        for order in orders {
            let mut list = SortedChunks::default();
            let mut model = BTreeSet::new();
            for number in order {
                assert!(list.insert(&Own, number));
                assert!(!list.insert(&Own, number));
                model.insert(number);
            }
            check(&list, &model);
            let whole = (list.clone(), model.clone());
            for number in mixed(limit).filter(|number| number % 3 != 0) {
                assert_eq!(list.remove(&Own, &number), Some(number));
                assert_eq!(list.remove(&Own, &number), None);
                model.remove(&number);
            }
            check(&list, &model);
            for number in mixed(limit).filter(|number| number % 5 == 0) {
                assert_eq!(list.insert(&Own, number), model.insert(number));
            }
            check(&list, &model);
            // What was cloned before is as it was.
            check(&whole.0, &whole.1);
        }
    }

    #[test]
    fn made_of_sorted_items_it_is_as_if_they_had_come_one_by_one() {
        for count in [0, 1, 128, 129, 8_192, 8_193, 20_011] {
            let items: Vec<u64> = (0..count).map(|number| number * 2).collect();
            let mut list = SortedChunks::of_sorted(&Own, &items);
            let mut model: BTreeSet<u64> = items.into_iter().collect();
            check(&list, &model);
            for number in mixed(count) {
                assert_eq!(list.insert(&Own, number), model.insert(number));
            }
            check(&list, &model);
        }
    }
}
