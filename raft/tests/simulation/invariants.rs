//! What must hold whatever happens: one leader per epoch, one vote per epoch, equal logs where epochs are equal, commits
//! never lost or changed, and every commit on the disks of a majority.

use std::collections::BTreeMap;

use odradek_raft::consensus::{Batch, ReplicaKey};

use crate::random::Hash;

/// One committed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub base: i64,
    pub end: i64,
    pub epoch: i32,
    pub hash: u64,
    /// Hash of everything committed up to its end.
    pub state: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    end: i64,
    hash: u64,
    epoch_before: i32,
}

/// What the whole cluster has done so far.
#[derive(Default)]
pub struct Ledger {
    pub committed: Vec<Committed>,
    leaders: BTreeMap<i32, i32>,
    runs_of_leaders: BTreeMap<i32, u64>,
    votes: BTreeMap<(ReplicaKey, i32), ReplicaKey>,
    written: BTreeMap<(i32, i64), Written>,
}

pub fn hash_of(batch: &[u8]) -> u64 {
    let mut hash = Hash::new();
    hash.bytes(batch);
    hash.0
}

impl Ledger {
    pub fn end(&self) -> i64 {
        self.committed.last().map_or(0, |last| last.end)
    }

    /// The committed batch that ends at `end`.
    pub fn ending_at(&self, end: i64) -> Option<&Committed> {
        let found = self
            .committed
            .binary_search_by_key(&end, |entry| entry.end)
            .ok()?;
        Some(&self.committed[found])
    }

    /// A node leads an epoch.
    pub fn leads(&mut self, epoch: i32, id: i32) {
        let known = *self.leaders.entry(epoch).or_insert(id);
        assert_eq!(known, id, "two leaders in epoch {epoch}");
    }

    /// That it leads is durable, so that others may see it: from here on only this run of the node may lead the epoch.
    pub fn leads_for_all_to_see(&mut self, epoch: i32, id: i32, incarnation: u64) {
        self.leads(epoch, id);
        let known = *self.runs_of_leaders.entry(epoch).or_insert(incarnation);
        assert_eq!(
            known, incarnation,
            "node {id} leads epoch {epoch} again after a restart"
        );
    }

    pub fn votes(&mut self, voter: ReplicaKey, epoch: i32, candidate: ReplicaKey) {
        let known = *self.votes.entry((voter, epoch)).or_insert(candidate);
        assert_eq!(known, candidate, "{voter} voted twice in epoch {epoch}");
    }

    /// A node appends: a batch of one epoch and offset is the same everywhere, and so is what is before it.
    pub fn writes(&mut self, base: i64, end: i64, epoch: i32, bytes: &[u8], epoch_before: i32) {
        let new = Written {
            end,
            hash: hash_of(bytes),
            epoch_before,
        };
        let known = *self.written.entry((epoch, base)).or_insert(new);
        assert_eq!(known, new, "logs differ at offset {base} of epoch {epoch}");
    }

    /// A node holds a batch committed.
    pub fn commits(&mut self, batch: &Batch) -> Committed {
        let mut state = Hash::new();
        let found = self
            .committed
            .binary_search_by_key(&batch.base, |entry| entry.base);
        let before = match found {
            Ok(index) | Err(index) => index.checked_sub(1).map(|index| self.committed[index]),
        };
        let hash = hash_of(&batch.bytes);
        state.word(before.map_or(0, |entry| entry.state));
        state.word(hash);
        let new = Committed {
            base: batch.base,
            end: batch.end,
            epoch: batch.epoch,
            hash,
            state: state.0,
        };
        match found {
            Ok(index) => assert_eq!(self.committed[index], new, "a commit was changed"),
            Err(index) => {
                assert_eq!(index, self.committed.len(), "a commit was changed: {new:?}");
                assert_eq!(self.end(), batch.base, "a gap between commits");
                self.committed.push(new);
            }
        }
        new
    }

    /// A leader's log holds all that is committed.
    pub fn leader_is_complete(&self, log_start: i64, find: impl Fn(i64) -> Option<(i64, i32)>) {
        for entry in self.committed.iter().rev() {
            if entry.end <= log_start {
                break;
            }
            let held = find(entry.base);
            assert_eq!(
                held,
                Some((entry.end, entry.epoch)),
                "a leader lacks a committed batch: {entry:?}"
            );
        }
    }
}
