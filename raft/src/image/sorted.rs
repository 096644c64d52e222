//! An ordered map whose clones share memory: sorted leaves behind `Arc` below one level of fence keys. Look-up is two binary searches; the
//! first change of a leaf after a clone copies that leaf: leaves are small, since new ids fall into them at random. The image finds topics by name and by id in it (`topics.rs`).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

const LEAF_ITEMS_MAX: usize = 128;

type Leaf<K, V> = Arc<Vec<(K, V)>>;

#[derive(Clone, Debug)]
struct Top<K, V> {
    /// The smallest key of each leaf when it was made or last grew downwards; `fences[i] <=` every key of leaf i.
    fences: Vec<K>,
    leaves: Vec<Leaf<K, V>>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct SortedChunks<K, V> {
    top: Arc<Top<K, V>>,
    length: usize,
}

impl<K, V> Default for SortedChunks<K, V> {
    fn default() -> Self {
        SortedChunks {
            top: Arc::new(Top {
                fences: Vec::new(),
                leaves: Vec::new(),
            }),
            length: 0,
        }
    }
}

impl<K: Ord + Clone, V: Clone> SortedChunks<K, V> {
    /// Entries.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The value of `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let leaf = &self.top.leaves[self.leaf_of(key)?];
        let index = leaf
            .binary_search_by(|(known, _)| known.borrow().cmp(key))
            .ok()?;
        Some(&leaf[index].1)
    }

    /// The value of the key that `order` finds equal, for keys that are quicker to compare than to borrow: how a key stands to the wanted one.
    pub fn get_by(&self, order: impl Fn(&K) -> Ordering) -> Option<&V> {
        let after = self
            .top
            .fences
            .partition_point(|fence| order(fence).is_le());
        let leaf = &self.top.leaves[after.checked_sub(1)?];
        let index = leaf.binary_search_by(|(known, _)| order(known)).ok()?;
        Some(&leaf[index].1)
    }

    /// Sets `key`; the value it had, if any.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let leaf_index = self.leaf_of(&key);
        let top = Arc::make_mut(&mut self.top);
        let Some(leaf_index) = leaf_index else {
            self.length += 1;
            if top.leaves.is_empty() {
                top.fences.push(key.clone());
                top.leaves.push(new_leaf((key, value)));
            } else {
                top.fences[0] = key.clone();
                if top.leaves[0].len() >= LEAF_ITEMS_MAX {
                    top.insert_in_half(0, 0, (key, value));
                } else {
                    changeable(&mut top.leaves[0]).insert(0, (key, value));
                }
            }
            return None;
        };
        let is_last = leaf_index + 1 == top.leaves.len();
        let leaf = changeable(&mut top.leaves[leaf_index]);
        match leaf.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(index) => Some(std::mem::replace(&mut leaf[index].1, value)),
            Err(index) => {
                self.length += 1;
                if is_last && index == leaf.len() && leaf.len() >= LEAF_ITEMS_MAX {
                    // Keys that come in order, as from a snapshot, fill leaves instead of halving them.
                    top.fences.push(key.clone());
                    top.leaves.push(new_leaf((key, value)));
                } else if leaf.len() >= LEAF_ITEMS_MAX {
                    top.insert_in_half(leaf_index, index, (key, value));
                } else {
                    leaf.insert(index, (key, value));
                }
                None
            }
        }
    }

    /// Removes `key`; the value it had, if any.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let leaf_index = self.leaf_of(key)?;
        let index = self.top.leaves[leaf_index]
            .binary_search_by(|(known, _)| known.borrow().cmp(key))
            .ok()?;
        let top = Arc::make_mut(&mut self.top);
        let leaf = changeable(&mut top.leaves[leaf_index]);
        let (_, value) = leaf.remove(index);
        if leaf.is_empty() {
            top.leaves.remove(leaf_index);
            top.fences.remove(leaf_index);
        }
        self.length -= 1;
        Some(value)
    }

    /// All entries by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries(0, 0)
    }

    /// Entries from `key` on, it included when present.
    pub fn iter_from<Q: Ord + ?Sized>(&self, key: &Q) -> impl Iterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let leaf_index = self.leaf_of(key).unwrap_or(0);
        let skipped = self.top.leaves.get(leaf_index).map_or(0, |leaf| {
            leaf.partition_point(|(known, _)| known.borrow() < key)
        });
        self.entries(leaf_index, skipped)
    }

    /// Bytes held by the map itself, counted as if nothing were shared.
    pub fn bytes(&self) -> usize {
        let items: usize = self.top.leaves.iter().map(|leaf| leaf.capacity()).sum();
        items * size_of::<(K, V)>() + self.top.fences.len() * (size_of::<K>() + 48)
    }

    fn entries(&self, leaf_index: usize, skipped: usize) -> impl Iterator<Item = (&K, &V)> {
        self.top.leaves[leaf_index.min(self.top.leaves.len())..]
            .iter()
            .flat_map(|leaf| leaf.iter())
            .skip(skipped)
            .map(|(key, value)| (key, value))
    }

    /// The last leaf whose fence is not above `key`; none when all are.
    fn leaf_of<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        self.top
            .fences
            .partition_point(|fence| fence.borrow() <= key)
            .checked_sub(1)
    }
}

impl<K: Ord + Clone, V: Clone> Top<K, V> {
    /// Parts a full leaf in two and puts an item where it stood in the whole.
    fn insert_in_half(&mut self, leaf_index: usize, index: usize, item: (K, V)) {
        let leaf = changeable(&mut self.leaves[leaf_index]);
        let middle = leaf.len() / 2;
        let mut upper = Vec::with_capacity(LEAF_ITEMS_MAX);
        upper.extend(leaf.drain(middle..));
        match index.checked_sub(middle) {
            Some(index) if index > 0 => upper.insert(index, item),
            _ => leaf.insert(index, item),
        }
        self.fences.insert(leaf_index + 1, upper[0].0.clone());
        self.leaves.insert(leaf_index + 1, Arc::new(upper));
    }
}

fn new_leaf<K, V>(item: (K, V)) -> Leaf<K, V> {
    let mut items = Vec::with_capacity(LEAF_ITEMS_MAX);
    items.push(item);
    Arc::new(items)
}

/// A leaf to be changed, copied when a clone shares it. All leaves have room for as many items as one may hold and no more: a vector that
/// grows by itself would double.
fn changeable<K: Clone, V: Clone>(leaf: &mut Leaf<K, V>) -> &mut Vec<(K, V)> {
    if Arc::get_mut(leaf).is_none() {
        let mut copy = Vec::with_capacity(LEAF_ITEMS_MAX);
        copy.extend_from_slice(leaf);
        *leaf = Arc::new(copy);
    }
    Arc::get_mut(leaf).expect("nobody else has what was just made")
}
