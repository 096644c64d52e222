//! An ordered queue of deadlines: what a shard has instead of timers.
//!
//! The owner asks for what is due on every step; [`Deadlines::next_us`] tells the loop how long it may
//! sleep. Ties are broken by key, so that equal runs fire in equal order.

use std::collections::BTreeSet;

/// Deadlines in monotonic microseconds, each with a key of the owner's.
#[derive(Debug)]
pub struct Deadlines<K: Ord + Copy> {
    entries: BTreeSet<(u64, K)>,
}

impl<K: Ord + Copy> Default for Deadlines<K> {
    fn default() -> Self {
        Deadlines {
            entries: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Adds a deadline. The same (time, key) twice is one entry.
    pub fn insert(&mut self, at_us: u64, key: K) {
        self.entries.insert((at_us, key));
    }

    /// Takes a deadline back; true when it was there.
    pub fn remove(&mut self, at_us: u64, key: K) -> bool {
        self.entries.remove(&(at_us, key))
    }

    /// The next one that is due, taken out.
    pub fn pop_due(&mut self, now_us: u64) -> Option<K> {
        let first = *self.entries.first()?;
        if first.0 > now_us {
            return None;
        }
        self.entries.remove(&first);
        Some(first.1)
    }

    /// When the next one is due.
    pub fn next_us(&self) -> Option<u64> {
        self.entries.first().map(|entry| entry.0)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
