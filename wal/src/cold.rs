//! The shard's own pages as last given to `begin_checkpoint`. In memory: the next base needs them all.

use crate::types::ReplicaId;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Pages by replica, and how much they are in all.
#[derive(Debug, Default)]
pub(crate) struct ColdPages {
    pages: BTreeMap<ReplicaId, Box<[u8]>>,
    bytes: u64,
}

impl ColdPages {
    pub(crate) fn insert(&mut self, replica: ReplicaId, page: Vec<u8>) {
        self.bytes += page.len() as u64;
        if let Some(old) = self.pages.insert(replica, page.into_boxed_slice()) {
            self.bytes -= old.len() as u64;
        }
    }

    pub(crate) fn remove(&mut self, replica: ReplicaId) {
        if let Some(old) = self.pages.remove(&replica) {
            self.bytes -= old.len() as u64;
        }
    }

    pub(crate) fn get(&self, replica: ReplicaId) -> Option<&[u8]> {
        self.pages.get(&replica).map(|page| &page[..])
    }

    /// The next replica with a page; the first one for `None`.
    pub(crate) fn next_past(&self, replica: Option<ReplicaId>) -> Option<ReplicaId> {
        let past = replica.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.pages.range((past, Bound::Unbounded));
        rest.next().map(|(replica, _)| *replica)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ReplicaId, &[u8])> + '_ {
        self.pages
            .iter()
            .map(|(replica, page)| (*replica, &page[..]))
    }

    /// What they take in a checkpoint, most nearly.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes + 16 * self.pages.len() as u64
    }
}
