//! The index of a segment whose footer is not durable yet: per replica its frames in order. The active segment has one, and each that
//! is being sealed.

use crate::footer::IndexEntry;
use crate::types::ReplicaId;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

/// Frames by replica. Never iterated in map order: `replicas` sorts.
#[derive(Debug)]
pub(crate) struct OpenIndex {
    frames: HashMap<ReplicaId, SmallVec<[IndexEntry; 1]>, FixedState>,
    entries: usize,
}

impl OpenIndex {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            frames: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            entries: 0,
        }
    }

    /// Entries that were ever added: what a footer is projected from.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    pub(crate) fn add(&mut self, replica: ReplicaId, entry: IndexEntry) {
        self.entries += 1;
        self.frames.entry(replica).or_default().push(entry);
    }

    /// Forgets frames that end at or past `to`.
    pub(crate) fn truncate(&mut self, replica: ReplicaId, to: i64) {
        if let Some(frames) = self.frames.get_mut(&replica) {
            while frames.last().is_some_and(|frame| frame.last >= to) {
                frames.pop();
            }
        }
    }

    /// Forgets frames that begin within `[base, end)`.
    pub(crate) fn forget(&mut self, replica: ReplicaId, base: i64, end: i64) {
        if let Some(frames) = self.frames.get_mut(&replica) {
            frames.retain(|frame| frame.base < base || frame.base >= end);
        }
    }

    pub(crate) fn remove(&mut self, replica: ReplicaId) {
        self.frames.remove(&replica);
    }

    pub(crate) fn frames(&self, replica: ReplicaId) -> &[IndexEntry] {
        self.frames.get(&replica).map_or(&[], |frames| frames)
    }

    /// Replicas with frames, in order.
    pub(crate) fn replicas(&self) -> Vec<ReplicaId> {
        let mut replicas: Vec<ReplicaId> = self.frames.keys().copied().collect();
        replicas.sort_unstable();
        replicas
    }
}
