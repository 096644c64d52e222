//! The states of kraft.md section 4 and what each remembers. Transitions are in `transitions.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::types::{Endpoint, ReplicaKey, SnapshotId};
use super::voters::VoterSet;

/// State of this replica in its epoch. A replica outside the voter set is an observer and only
/// ever Unattached or Follower.
#[derive(Debug)]
pub(super) enum Role {
    Unattached(Unattached),
    Prospective(Prospective),
    Candidate(Candidate),
    Leader(Box<Leader>),
    Resigned(Resigned),
    Follower(Follower),
}

impl Role {
    /// Name for people and traces.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Role::Unattached(_) => "Unattached",
            Role::Prospective(_) => "Prospective",
            Role::Candidate(_) => "Candidate",
            Role::Leader(_) => "Leader",
            Role::Resigned(_) => "Resigned",
            Role::Follower(_) => "Follower",
        }
    }
}

/// No leader that could be fetched from.
#[derive(Debug)]
pub(super) struct Unattached {
    /// Known by name, but perhaps without an address.
    pub(super) leader_id: Option<i32>,
    pub(super) election_deadline_us: u64,
}

/// Asks for pre-votes; the epoch stays.
#[derive(Debug)]
pub(super) struct Prospective {
    /// The leader of this epoch, when it had one: where to go back to when the pre-vote is lost.
    pub(super) leader: Option<(i32, Option<Endpoint>)>,
    pub(super) ballots: Ballots,
    pub(super) election_deadline_us: u64,
}

/// Asks for votes in an epoch of its own.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) ballots: Ballots,
    pub(super) election_deadline_us: u64,
    /// Set when the vote is lost: when to stand again.
    pub(super) backoff_deadline_us: Option<u64>,
}

/// Answers of voters to one vote or pre-vote.
#[derive(Debug, Default)]
pub(super) struct Ballots {
    granted: BTreeSet<i32>,
    rejected: BTreeSet<i32>,
}

impl Ballots {
    pub(super) fn grant(&mut self, id: i32) {
        if !self.rejected.contains(&id) {
            self.granted.insert(id);
        }
    }

    pub(super) fn reject(&mut self, id: i32) {
        if !self.granted.contains(&id) {
            self.rejected.insert(id);
        }
    }

    pub(super) fn answered(&self, id: i32) -> bool {
        self.granted.contains(&id) || self.rejected.contains(&id)
    }

    pub(super) fn granting(&self) -> impl Iterator<Item = i32> + '_ {
        self.granted.iter().copied()
    }

    /// Counts only who is a voter now.
    pub(super) fn won(&self, voters: &VoterSet) -> bool {
        count(&self.granted, voters) >= voters.majority()
    }

    /// Whether the voters left cannot make a majority any more.
    pub(super) fn lost(&self, voters: &VoterSet) -> bool {
        voters.len() - count(&self.rejected, voters) < voters.majority()
    }
}

fn count(ids: &BTreeSet<i32>, voters: &VoterSet) -> usize {
    ids.iter().filter(|id| voters.by_id(**id).is_some()).count()
}

/// Serves the log.
#[derive(Debug)]
pub(super) struct Leader {
    /// Log end before the first batch of this epoch; commits count only above it.
    pub(super) epoch_start: i64,
    /// Whether anything of this epoch is committed, so that the high watermark may be told.
    pub(super) high_watermark_known: bool,
    /// Every replica that fetched, and every voter.
    pub(super) replicas: BTreeMap<ReplicaKey, Progress>,
    pub(super) since_us: u64,
}

/// One replica as its leader sees it.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// Last valid fetch offset.
    pub(super) end_offset: Option<i64>,
    /// Last valid Fetch or FetchSnapshot, monotonic; none before the first in this epoch.
    pub(super) last_fetch_us: Option<u64>,
    pub(super) last_fetch_ms: i64,
    pub(super) last_caught_up_ms: i64,
    /// The leader's log end at the last fetch.
    pub(super) log_end_at_last_fetch: i64,
    /// When BeginQuorumEpoch is due, for voters.
    pub(super) begin_due_us: u64,
}

impl Progress {
    pub(super) fn new(begin_due_us: u64) -> Self {
        Self {
            end_offset: None,
            last_fetch_us: None,
            last_fetch_ms: -1,
            last_caught_up_ms: -1,
            log_end_at_last_fetch: -1,
            begin_due_us,
        }
    }
}

/// Led this epoch and does so no longer.
#[derive(Debug)]
pub(super) struct Resigned {
    pub(super) deadline_us: u64,
    /// Voters that answered EndQuorumEpoch.
    pub(super) acknowledged: BTreeSet<i32>,
    /// Whom to propose as successors; empty after a restart.
    pub(super) preferred: Vec<ReplicaKey>,
}

/// Fetches from a leader.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) leader_id: i32,
    /// As told by a request or response; the voter set is asked otherwise.
    pub(super) leader_endpoint: Option<Endpoint>,
    pub(super) fetch_deadline_us: u64,
    /// Whether a Fetch of this leader succeeded: pre-votes are refused from then on.
    pub(super) has_fetched: bool,
    /// The leader's process is known to be gone (case 5): pre-votes are granted.
    pub(super) leader_gone: bool,
    /// The leader's high watermark as far as this log reaches; -1 unknown.
    pub(super) told_high_watermark: i64,
    pub(super) download: Option<Download>,
}

/// A snapshot on its way from the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Download {
    pub(super) id: SnapshotId,
    /// Bytes handed to the caller.
    pub(super) position: i64,
    pub(super) step: DownloadStep,
}

/// What a download waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DownloadStep {
    /// The next chunk from the leader.
    Fetching,
    /// The caller to take the last chunk.
    Writing,
    /// The caller to check and load the whole file.
    Installing,
}
