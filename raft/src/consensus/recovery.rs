//! A replica from what its disk holds: log, snapshots and quorum state, checked against each
//! other; damage is told apart with its remedy (case 19). What it does next is in
//! `transitions.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bytes::Bytes;

use super::batch;
use super::event::{Action, SnapshotView};
use super::log::LogIndex;
use super::quorum_state::{QuorumState, SlotDamage};
use super::raft::Raft;
use super::role::{Role, Unattached};
use super::types::{Now, OffsetAndEpoch, Options, SnapshotId};
use super::voters::VoterHistory;

/// What the quorum state slots held, from [`super::quorum_state::recover_slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persisted {
    /// Nothing was ever written: a new directory.
    Nothing,
    /// The newest state and its counter.
    Found {
        /// The state.
        state: QuorumState,
        /// Its counter.
        counter: u64,
    },
    /// Damaged: votes may be lost.
    Damaged(SlotDamage),
}

/// The log as recovered by the caller.
#[derive(Clone, Debug, Default)]
pub struct LogView {
    /// First offset the log still holds.
    pub start_offset: i64,
    /// Whole record batches, in order, each item one or more: from there on, or from the one
    /// before the newest snapshot's end, which says whether the log agrees with it.
    pub batches: Vec<Bytes>,
    /// The storage found bytes damaged that had been durable: the log may lack its end.
    pub damaged: bool,
}

/// Why a replica cannot start.
#[derive(Clone, Debug, PartialEq)]
pub enum RecoveryError {
    /// What was durable is damaged (case 19).
    Damaged {
        /// What.
        damage: Damage,
        /// What may be done.
        remedy: Remedy,
    },
    /// The log begins above 0 and no stored snapshot covers what is missing.
    SnapshotMissing {
        /// Log start.
        log_start: i64,
    },
    /// A batch of the recovered log cannot be read or does not follow the one before.
    Batch {
        /// Where it should start.
        expected_offset: i64,
        /// What is wrong.
        fault: batch::BatchFault,
    },
}

/// What is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A batch that had been durable.
    Log,
    /// Quorum state is absent though the log holds records.
    QuorumStateMissing,
    /// Quorum state fails its checks.
    QuorumState(SlotDamage),
}

/// What may be done about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The only voter: no other copy exists. Stop.
    StopOnlyVoter,
    /// A voter known by node id alone (kraft.version 0): it must not vote again. Stop.
    StopStaticVoter,
    /// Drop log, snapshots and quorum state, take a new directory id, and fetch as an observer;
    /// an operator removes the old voter and adds the new one.
    RejoinUnderNewDirectoryId,
    /// Not a voter: drop log and quorum state and fetch everything again.
    RefetchAsObserver,
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoveryError::Damaged { damage, remedy } => {
                match damage {
                    Damage::Log => write!(
                        formatter,
                        "the metadata log is damaged below what had been durable"
                    )?,
                    Damage::QuorumStateMissing => write!(
                        formatter,
                        "the quorum state is missing though the metadata log holds records"
                    )?,
                    Damage::QuorumState(slots) => {
                        write!(formatter, "the quorum state is damaged: {slots}")?
                    }
                }
                formatter.write_str(match remedy {
                    Remedy::StopOnlyVoter => "; this node is the only voter, so no other copy exists: restore the metadata directory from a backup, or format anew and lose the cluster's metadata",
                    Remedy::StopStaticVoter => "; with kraft.version 0 a voter has no directory id to change, and voting again could lose committed metadata: restore the directory, or replace this node under another node id",
                    Remedy::RejoinUnderNewDirectoryId => "; this node does not vote any more: it takes a new directory id and fetches as an observer until it is removed and added as a voter",
                    Remedy::RefetchAsObserver => "; this node is not a voter: it fetches the metadata anew",
                })
            }
            RecoveryError::SnapshotMissing { log_start } => write!(
                formatter,
                "the metadata log starts at offset {log_start}, but no metadata snapshot at or above it is there: restore the .checkpoint files of the metadata directory"
            ),
            RecoveryError::Batch {
                expected_offset,
                fault,
            } => write!(
                formatter,
                "the metadata log cannot be read at offset {expected_offset}: {fault}"
            ),
        }
    }
}

impl std::error::Error for RecoveryError {}

impl Raft {
    /// Takes up what the disk holds. `snapshots` names every stored snapshot, the newest with
    /// what it says of the quorum; the 0-0 one that `format` wrote belongs to it. The first
    /// `step` (a [`Event::Tick`] will do) starts the replica.
    pub fn recover(
        now: Now,
        options: Options,
        persisted: Persisted,
        log_view: LogView,
        snapshots: Vec<SnapshotView>,
    ) -> Result<Raft, RecoveryError> {
        let mut snapshots = snapshots;
        snapshots.sort_by_key(|view| view.id);
        let newest = snapshots.last().cloned();
        let real = snapshots
            .iter()
            .filter(|view| view.id != OffsetAndEpoch::BOOTSTRAP)
            .map(|view| (view.id, view.size_bytes))
            .collect();
        let mut raft = Self::empty(now, options, newest.as_ref(), real);
        let suspect = raft.recover_log(&log_view, newest.as_ref())?;
        raft.recover_quorum_state(persisted, suspect)?;
        raft.durable_end = raft.log.end().offset;
        raft.high_watermark = raft.snapshots.keys().next_back().map(|id| id.offset);
        Ok(raft)
    }

    fn empty(
        now: Now,
        options: Options,
        newest: Option<&SnapshotView>,
        snapshots: BTreeMap<SnapshotId, u64>,
    ) -> Raft {
        let voters = newest
            .and_then(|view| view.voters.clone())
            .unwrap_or_else(|| options.static_voters.clone());
        let kraft_version = newest.map_or(0, |view| view.kraft_version);
        let random_state = options.seed ^ 0x9E37_79B9_7F4A_7C15;
        Raft {
            options,
            role: Role::Unattached(Unattached {
                leader_id: None,
                election_deadline_us: now.monotonic_us,
            }),
            epoch: 0,
            voted: None,
            log: LogIndex::new(OffsetAndEpoch::BOOTSTRAP),
            voters: VoterHistory::new(kraft_version, voters),
            snapshots,
            high_watermark: None,
            durable_end: 0,
            next_write: 1,
            writes: VecDeque::new(),
            removals: VecDeque::new(),
            persisted: QuorumState::default(),
            persist_counter: 0,
            persist_durable: 0,
            held: VecDeque::new(),
            connections: BTreeMap::new(),
            next_correlation: 1,
            parked: VecDeque::new(),
            snapshot_reads: BTreeMap::new(),
            next_snapshot_read: 1,
            election_failures: 0,
            led_epoch: 0,
            announced: None,
            random_state,
            started: false,
            failed: false,
        }
    }

    /// Reads the batches; tells whether the log is known to be damaged.
    fn recover_log(
        &mut self,
        view: &LogView,
        newest: Option<&SnapshotView>,
    ) -> Result<bool, RecoveryError> {
        let first_batch = view.batches.first().and_then(|batch| batch.first_chunk());
        let first = first_batch.map_or(view.start_offset, |base| i64::from_be_bytes(*base));
        let first_epoch = self
            .snapshots
            .keys()
            .find(|id| id.offset == first)
            .map_or(0, |id| id.epoch);
        self.log = LogIndex::new(OffsetAndEpoch::new(first, first_epoch));
        let newest_end = newest.map_or(0, |view| view.id.offset);
        let mut damaged = view.damaged;
        for bytes in &view.batches {
            let expected_offset = self.log.end().offset;
            let parsed = match batch::parse_batches(bytes) {
                Ok(parsed) => parsed,
                Err(_) if view.damaged => break,
                Err(fault) => {
                    return Err(RecoveryError::Batch {
                        expected_offset,
                        fault,
                    });
                }
            };
            for item in parsed {
                let end = self.log.end();
                if item.batch.base != end.offset || item.batch.epoch < end.epoch {
                    damaged = true;
                    break;
                }
                // What a stored snapshot already says is not said again.
                if item.batch.base >= newest_end {
                    self.voters
                        .append(item.batch.base, item.kraft_version, item.voters);
                }
                self.log.append(item.batch);
            }
        }
        self.match_log_with_snapshots(view.start_offset)?;
        Ok(damaged)
    }

    /// A snapshot the log does not reach or disagrees with replaces the log; a log start between
    /// two snapshots (a crash between cut and removal) moves up to the next snapshot. Memory keeps
    /// what lies behind the newest.
    fn match_log_with_snapshots(&mut self, start: i64) -> Result<(), RecoveryError> {
        let Some(newest) = self.snapshots.keys().next_back().copied() else {
            return if start > 0 {
                Err(RecoveryError::SnapshotMissing { log_start: start })
            } else {
                Ok(())
            };
        };
        if newest.offset < start {
            return Err(RecoveryError::SnapshotMissing { log_start: start });
        }
        if self.log.epoch_at_end(newest.offset) != Some(newest.epoch) {
            self.log = LogIndex::new(newest);
            self.voters.truncate(newest.offset);
            let write = self.number_write(newest.offset);
            self.held
                .push_back((0, Action::ResetLog { write, to: newest }));
            return Ok(());
        }
        let mut oldest_kept = start;
        if start > 0 && !self.snapshots.keys().any(|id| id.offset == start) {
            let to = self
                .snapshots
                .keys()
                .find(|id| id.offset >= start)
                .expect("the newest is at or above the start");
            oldest_kept = to.offset;
            let write = self.number_write(self.log.end().offset);
            let log_start = oldest_kept;
            self.held
                .push_back((0, Action::CutLog { write, log_start }));
        }
        self.log.cut(newest);
        let stale: Vec<_> = self
            .snapshots
            .keys()
            .filter(|id| id.offset < oldest_kept)
            .copied()
            .collect();
        for id in stale {
            self.snapshots.remove(&id);
            self.held.push_back((0, Action::RemoveSnapshot { id }));
        }
        Ok(())
    }

    fn recover_quorum_state(
        &mut self,
        persisted: Persisted,
        log_damaged: bool,
    ) -> Result<(), RecoveryError> {
        let end = self.log.end();
        let damage = match persisted {
            _ if log_damaged => Some(Damage::Log),
            Persisted::Damaged(slots) => Some(Damage::QuorumState(slots)),
            Persisted::Nothing if end.offset > 0 => Some(Damage::QuorumStateMissing),
            Persisted::Nothing => None,
            Persisted::Found { state, counter } => {
                self.persisted = state;
                self.persist_counter = counter;
                self.persist_durable = counter;
                None
            }
        };
        if let Some(damage) = damage {
            return Err(RecoveryError::Damaged {
                damage,
                remedy: self.remedy(),
            });
        }
        self.epoch = self.persisted.epoch;
        self.voted = self.persisted.voted;
        if end.epoch > self.epoch {
            self.epoch = end.epoch;
            self.voted = None;
        }
        Ok(())
    }

    fn remedy(&self) -> Remedy {
        let voters = self.voters.latest();
        if !voters.contains(&self.options.local) {
            Remedy::RefetchAsObserver
        } else if voters.len() == 1 {
            Remedy::StopOnlyVoter
        } else if self.voters.kraft_version() == 0 {
            Remedy::StopStaticVoter
        } else {
            Remedy::RejoinUnderNewDirectoryId
        }
    }
}
