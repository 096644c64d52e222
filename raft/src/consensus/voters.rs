//! The voter set and its history: voters and kraft.version take effect when appended, not when
//! committed, and are undone by truncation (kraft.md 2.6). The records come in through `batch.rs`.

use std::collections::BTreeMap;

use super::types::{Endpoint, NO_DIRECTORY, ReplicaKey};

/// One voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Node id and directory id; the directory id is zero with kraft.version 0.
    pub key: ReplicaKey,
    /// Listeners other nodes reach it by.
    pub endpoints: Vec<Endpoint>,
    /// Lowest kraft.version it supports.
    pub kraft_version_min: i16,
    /// Highest kraft.version it supports.
    pub kraft_version_max: i16,
}

impl Voter {
    /// A voter that supports kraft.version 0 and 1.
    pub fn new(key: ReplicaKey, endpoints: Vec<Endpoint>) -> Self {
        Self {
            key,
            endpoints,
            kraft_version_min: 0,
            kraft_version_max: 1,
        }
    }
}

/// The voters of one moment, ordered by node id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterSet {
    voters: BTreeMap<i32, Voter>,
}

impl VoterSet {
    /// A set of voters; of two with one node id the later counts.
    pub fn new(voters: impl IntoIterator<Item = Voter>) -> Self {
        Self {
            voters: voters
                .into_iter()
                .map(|voter| (voter.key.id, voter))
                .collect(),
        }
    }

    /// Voters in order of node id.
    pub fn iter(&self) -> impl Iterator<Item = &Voter> {
        self.voters.values()
    }

    /// Node ids in order.
    pub fn ids(&self) -> impl Iterator<Item = i32> + '_ {
        self.voters.keys().copied()
    }

    /// Number of voters.
    pub fn len(&self) -> usize {
        self.voters.len()
    }

    /// Whether no voter is known.
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// How many make a majority.
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// The voter with this node id, whatever its directory.
    pub fn by_id(&self, id: i32) -> Option<&Voter> {
        self.voters.get(&id)
    }

    /// Whether this replica is a voter. A voter without a directory id (kraft.version 0) is
    /// matched by node id alone; one with a directory id only by both.
    pub fn contains(&self, key: &ReplicaKey) -> bool {
        self.voters.get(&key.id).is_some_and(|voter| {
            voter.key.directory_id == NO_DIRECTORY || voter.key.directory_id == key.directory_id
        })
    }

    /// Whether this replica is the only voter.
    pub fn is_only(&self, key: &ReplicaKey) -> bool {
        self.voters.len() == 1 && self.contains(key)
    }

    /// The same set with other endpoints for one voter.
    pub fn with_endpoints(&self, id: i32, endpoints: &[Endpoint]) -> Self {
        let mut changed = self.clone();
        if let Some(voter) = changed.voters.get_mut(&id) {
            voter.endpoints = endpoints.to_vec();
        }
        changed
    }
}

/// What one control batch said about voters.
#[derive(Clone, Debug)]
struct Change {
    /// Base offset of the batch.
    offset: i64,
    kraft_version: Option<i16>,
    voters: Option<VoterSet>,
}

/// Voters and kraft.version by offset: those of the snapshot, and every later change in the log.
#[derive(Clone, Debug)]
pub struct VoterHistory {
    base_kraft_version: i16,
    base_voters: VoterSet,
    changes: Vec<Change>,
}

impl VoterHistory {
    /// History that starts at a snapshot (or at the static configuration).
    pub fn new(kraft_version: i16, voters: VoterSet) -> Self {
        Self {
            base_kraft_version: kraft_version,
            base_voters: voters,
            changes: Vec::new(),
        }
    }

    /// Notes the control records of an appended batch.
    pub fn append(&mut self, offset: i64, kraft_version: Option<i16>, voters: Option<VoterSet>) {
        if kraft_version.is_some() || voters.is_some() {
            debug_assert!(self.changes.last().is_none_or(|last| last.offset < offset));
            self.changes.push(Change {
                offset,
                kraft_version,
                voters,
            });
        }
    }

    /// Undoes what batches at or above `to` said.
    pub fn truncate(&mut self, to: i64) {
        self.changes.retain(|change| change.offset < to);
    }

    /// Folds what lies below a new log start into the base.
    pub fn cut(&mut self, log_start: i64) {
        let (below, above): (Vec<_>, Vec<_>) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|change| change.offset < log_start);
        for change in below {
            if let Some(kraft_version) = change.kraft_version {
                self.base_kraft_version = kraft_version;
            }
            if let Some(voters) = change.voters {
                self.base_voters = voters;
            }
        }
        self.changes = above;
    }

    /// Voters of the whole log, committed or not.
    pub fn latest(&self) -> &VoterSet {
        self.at(i64::MAX)
    }

    /// Voters said by batches below `end_offset`: what a snapshot up to there holds.
    pub fn at(&self, end_offset: i64) -> &VoterSet {
        self.changes
            .iter()
            .rev()
            .filter(|change| change.offset < end_offset)
            .find_map(|change| change.voters.as_ref())
            .unwrap_or(&self.base_voters)
    }

    /// kraft.version of the whole log.
    pub fn kraft_version(&self) -> i16 {
        self.kraft_version_at(i64::MAX)
    }

    /// kraft.version said by batches below `end_offset`.
    pub fn kraft_version_at(&self, end_offset: i64) -> i16 {
        self.changes
            .iter()
            .rev()
            .filter(|change| change.offset < end_offset)
            .find_map(|change| change.kraft_version)
            .unwrap_or(self.base_kraft_version)
    }

    /// Offset of the last Voters record in the log; none when voters come from the snapshot.
    pub fn last_change_offset(&self) -> Option<i64> {
        self.changes
            .iter()
            .rev()
            .find(|change| change.voters.is_some())
            .map(|change| change.offset)
    }
}
