//! The replica: its fields, recovery, the one `step`, proposals and what can be asked of it.
//! Neighbours: `transitions.rs` changes the role, `election.rs` votes, `leader.rs` serves,
//! `follower.rs` fetches, `snapshots.rs` moves snapshots, `drive.rs` runs timers and sends.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bytes::Bytes;

use super::batch;
use super::event::{Action, Event, FatalReason, SnapshotView};
use super::log::{Batch, LogIndex};
use super::message::Request;
use super::quorum_state::{QuorumState, SlotDamage};
use super::role::{Role, Unattached};
use super::types::{Endpoint, LeaderAndEpoch, Now, OffsetAndEpoch, Options, Peer, SnapshotId};
use super::voters::{VoterHistory, VoterSet};

/// Most records of one proposal.
pub const BATCH_RECORDS_MAX: usize = 10_000;
/// Most bytes of one batch.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One replica of the metadata log: KRaft's consensus without any input or output.
///
/// The caller feeds events with [`Raft::step`] and does the actions in order. Rules it must keep:
///
/// * [`Action::PersistQuorumState`] is done at once and reported with its counter. Everything
///   that must not be seen before it (answers, requests, log writes) is held back in here.
/// * Log writes are done in order and reported by number once durable (group commit is fine).
/// * Answers to requests go out by token, requests to peers by correlation; both may be lost,
///   repeated or overtaken.
/// * A tick at [`Raft::next_deadline_us`] at the latest.
///
/// Offsets keep one order: `log start <= high watermark <= durable end <= log end`.
pub struct Raft {
    pub(super) options: Options,
    pub(super) role: Role,
    pub(super) epoch: i32,
    pub(super) voted: Option<super::types::ReplicaKey>,
    pub(super) log: LogIndex,
    pub(super) voters: VoterHistory,
    /// Snapshots stored, oldest first, with their lengths; never the 0-0 one.
    pub(super) snapshots: BTreeMap<SnapshotId, u64>,
    pub(super) high_watermark: Option<i64>,
    durable_end: i64,
    next_write: u64,
    /// Log writes under way: number and the log end they bring about.
    writes: VecDeque<(u64, i64)>,
    /// Snapshots to remove once a cut is durable.
    removals: VecDeque<(u64, SnapshotId)>,
    persisted: QuorumState,
    persist_counter: u64,
    persist_durable: u64,
    /// Actions that wait for a counter to become durable, in order.
    held: VecDeque<(u64, Action)>,
    pub(super) connections: BTreeMap<Peer, super::drive::Connection>,
    pub(super) next_correlation: u64,
    pub(super) parked: VecDeque<super::leader::Parked>,
    pub(super) snapshot_reads: BTreeMap<u64, super::snapshots::SnapshotRead>,
    pub(super) next_snapshot_read: u64,
    pub(super) election_failures: u32,
    /// The last epoch this node led in this run.
    pub(super) led_epoch: i32,
    /// What the caller was last told of the leader.
    pub(super) announced: Option<LeaderAndEpoch>,
    random_state: u64,
    started: bool,
    failed: bool,
}

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
    /// Whole record batches from there on, in order; each item holds one or more.
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
                    Damage::Log => write!(formatter, "the metadata log is damaged below what had been durable")?,
                    Damage::QuorumStateMissing => write!(formatter, "the quorum state is missing though the metadata log holds records")?,
                    Damage::QuorumState(slots) => write!(formatter, "the quorum state is damaged: {slots}")?,
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
            RecoveryError::Batch { expected_offset, fault } => write!(
                formatter,
                "the metadata log cannot be read at offset {expected_offset}: {fault}"
            ),
        }
    }
}

impl std::error::Error for RecoveryError {}

/// Why a proposal is refused. Nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposeRefusal {
    /// This node does not lead in the claimed epoch.
    NotLeader {
        /// Who does, as far as known.
        leader: LeaderAndEpoch,
    },
    /// No records given.
    Empty,
    /// More than [`BATCH_RECORDS_MAX`] records or [`BATCH_BYTES_MAX`] bytes.
    TooLarge,
    /// [`Options::uncommitted_bytes_max`] wait to be committed already.
    Busy,
}

impl fmt::Display for ProposeRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProposeRefusal::NotLeader { leader } => write!(
                formatter,
                "not the metadata leader in that epoch (epoch {}, leader {:?})",
                leader.epoch, leader.leader_id
            ),
            ProposeRefusal::Empty => formatter.write_str("no records to append"),
            ProposeRefusal::TooLarge => write!(
                formatter,
                "more than {BATCH_RECORDS_MAX} records or {BATCH_BYTES_MAX} bytes in one batch"
            ),
            ProposeRefusal::Busy => {
                formatter.write_str("too many metadata records wait to be committed")
            }
        }
    }
}

impl std::error::Error for ProposeRefusal {}

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
        let start = view.start_offset;
        let start_epoch = self
            .snapshots
            .keys()
            .find(|id| id.offset == start)
            .map_or(0, |id| id.epoch);
        self.log = LogIndex::new(OffsetAndEpoch::new(start, start_epoch));
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
        self.match_log_with_snapshots(start)?;
        Ok(damaged)
    }

    /// A snapshot the log does not reach or disagrees with replaces the log; a log start between
    /// two snapshots (a crash between cut and removal) moves up to the next snapshot.
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
        if start > 0 && !self.snapshots.keys().any(|id| id.offset == start) {
            let to = *self
                .snapshots
                .keys()
                .find(|id| id.offset >= start)
                .expect("the newest is at or above the start");
            self.log.cut(to);
            let write = self.number_write(self.log.end().offset);
            let log_start = to.offset;
            self.held.push_back((0, Action::CutLog { write, log_start }));
        }
        let stale: Vec<_> = self
            .snapshots
            .keys()
            .filter(|id| id.offset < self.log.start().offset)
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

    /// Takes one event and adds what is to be done to `actions`.
    pub fn step(&mut self, now: Now, event: Event, actions: &mut Vec<Action>) {
        if self.failed {
            return;
        }
        if !self.started {
            self.started = true;
            self.release_held(actions);
            self.start(now, actions);
        }
        match event {
            Event::Tick => {}
            Event::Request {
                token,
                listener,
                request,
            } => self.on_request(now, token, &listener, request, actions),
            Event::Response {
                peer,
                correlation,
                response,
            } => self.on_response(now, peer, correlation, response, actions),
            Event::Disconnected { peer } => self.on_disconnected(now, peer),
            Event::PeerGone { id } => self.on_peer_gone(now, id),
            Event::LogDurable { write } => self.on_log_durable(now, write, actions),
            Event::QuorumStateDurable { counter } => {
                assert!(counter <= self.persist_counter, "counter never issued");
                self.persist_durable = self.persist_durable.max(counter);
                self.release_held(actions);
            }
            Event::SnapshotChunkWritten { id, position } => self.on_chunk_written(id, position),
            Event::SnapshotInstalled { view } => self.on_snapshot_installed(now, view, actions),
            Event::SnapshotFailed { id } => self.on_snapshot_failed(now, id),
            Event::SnapshotWritten { id, size_bytes } => {
                self.on_snapshot_written(id, size_bytes, actions);
            }
            Event::SnapshotRead { token, bytes } => {
                self.on_snapshot_read(now, token, bytes, actions);
            }
            Event::Resign => {
                if matches!(self.role, Role::Leader(_)) {
                    self.become_resigned(now, actions);
                }
            }
            Event::StorageFailed { reason } => {
                self.fail(FatalReason::StorageFailed { reason }, actions);
            }
        }
        if !self.failed {
            self.drive(now, actions);
        }
    }

    fn on_request(
        &mut self,
        now: Now,
        token: u64,
        listener: &str,
        request: Request,
        actions: &mut Vec<Action>,
    ) {
        match request {
            Request::Vote(vote) => self.on_vote_request(now, token, listener, vote, actions),
            Request::BeginQuorumEpoch(begin) => {
                self.on_begin_request(now, token, listener, begin, actions);
            }
            Request::EndQuorumEpoch(end) => {
                self.on_end_request(now, token, listener, end, actions);
            }
            Request::Fetch(fetch) => self.on_fetch_request(now, token, listener, fetch, actions),
            Request::FetchSnapshot(fetch) => {
                self.on_fetch_snapshot_request(now, token, listener, fetch, actions);
            }
            Request::DescribeQuorum => self.on_describe_request(now, token, actions),
        }
    }

    /// Appends records as one batch, all or nothing. `epoch` is the one this node was told by
    /// [`Action::BecameLeader`]; `records` are encoded metadata records with their frames.
    /// Gives the offsets, known at once; committed when the high watermark passes the end.
    pub fn propose(
        &mut self,
        now: Now,
        epoch: i32,
        records: &[Bytes],
        actions: &mut Vec<Action>,
    ) -> Result<std::ops::Range<i64>, ProposeRefusal> {
        if self.failed || epoch != self.epoch || !matches!(self.role, Role::Leader(_)) {
            return Err(ProposeRefusal::NotLeader {
                leader: self.leader(),
            });
        }
        if records.is_empty() {
            return Err(ProposeRefusal::Empty);
        }
        let bytes: usize = records.iter().map(Bytes::len).sum();
        // 32 bytes cover the frame of any one record, 61 the batch header.
        if records.len() > BATCH_RECORDS_MAX || bytes + records.len() * 32 + 61 > BATCH_BYTES_MAX {
            return Err(ProposeRefusal::TooLarge);
        }
        if self.uncommitted_bytes() + bytes > self.options.uncommitted_bytes_max {
            return Err(ProposeRefusal::Busy);
        }
        let base = self.log.end().offset;
        let end = base + records.len() as i64;
        let encoded = batch::data_batch(base, self.epoch, now.wall_ms, records);
        self.append(
            Batch {
                base,
                end,
                epoch: self.epoch,
                max_timestamp_ms: now.wall_ms,
                control: false,
                bytes: encoded,
            },
            actions,
        );
        self.answer_parked(now, false, actions);
        Ok(base..end)
    }

    fn uncommitted_bytes(&self) -> usize {
        self.log
            .batches_from(self.high_watermark.unwrap_or(self.log.start().offset))
            .map(|batch| batch.bytes.len())
            .sum()
    }

    // ---- what may be asked ----

    /// The leader as far as known, and the epoch.
    pub fn leader(&self) -> LeaderAndEpoch {
        let leader_id = match &self.role {
            Role::Leader(_) => Some(self.options.local.id),
            Role::Follower(follower) => Some(follower.leader_id),
            Role::Unattached(unattached) => unattached.leader_id,
            Role::Prospective(prospective) => prospective.leader.as_ref().map(|(id, _)| *id),
            Role::Resigned(_) => Some(self.options.local.id),
            Role::Candidate(_) => None,
        };
        LeaderAndEpoch {
            leader_id,
            epoch: self.epoch,
        }
    }

    /// Whether this node leads.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Name of the state: Unattached, Prospective, Candidate, Leader, Resigned or Follower.
    pub fn role_name(&self) -> &'static str {
        self.role.name()
    }

    /// Whether this replica is in the voter set as the log has it.
    pub fn is_voter(&self) -> bool {
        self.voters.latest().contains(&self.options.local)
    }

    /// The high watermark; none until known in this run (a stored snapshot gives a first one).
    pub fn high_watermark(&self) -> Option<i64> {
        self.high_watermark
    }

    /// First offset of the log.
    pub fn log_start(&self) -> i64 {
        self.log.start().offset
    }

    /// Log end offset.
    pub fn log_end(&self) -> i64 {
        self.log.end().offset
    }

    /// Epoch of the last record, of the snapshot when the log is empty.
    pub fn last_epoch(&self) -> i32 {
        self.log.end().epoch
    }

    /// End of what is on stable storage.
    pub fn durable_end(&self) -> i64 {
        self.durable_end
    }

    /// Bytes of log kept in memory.
    pub fn log_bytes(&self) -> usize {
        self.log.bytes()
    }

    /// Batches that end above `from`, up to the log end: whoever applies committed records stops
    /// at the high watermark.
    pub fn batches_from(&self, from: i64) -> impl Iterator<Item = &Batch> {
        self.log.batches_from(from)
    }

    /// Voters as the log has them, committed or not.
    pub fn voters(&self) -> &VoterSet {
        self.voters.latest()
    }

    /// Voters for the header of a snapshot that ends at `end_offset`.
    pub fn voters_at(&self, end_offset: i64) -> &VoterSet {
        self.voters.at(end_offset)
    }

    /// kraft.version for the header of a snapshot that ends at `end_offset`.
    pub fn kraft_version_at(&self, end_offset: i64) -> i16 {
        self.voters.kraft_version_at(end_offset)
    }

    /// kraft.version as the log has it.
    pub fn kraft_version(&self) -> i16 {
        self.voters.kraft_version()
    }

    /// Time of the newest record below `end_offset`, for a snapshot's header; -1 unknown.
    pub fn last_timestamp_ms_at(&self, end_offset: i64) -> i64 {
        self.log
            .batch_at(end_offset - 1)
            .map_or(-1, |batch| batch.max_timestamp_ms)
    }

    /// Name of a snapshot that ends at `end_offset`: none unless that is a batch boundary at or
    /// below the high watermark and above the newest snapshot.
    pub fn snapshot_id_at(&self, end_offset: i64) -> Option<SnapshotId> {
        let newest = self.snapshots.keys().next_back().map_or(0, |id| id.offset);
        if end_offset <= newest || self.high_watermark.is_none_or(|mark| mark < end_offset) {
            return None;
        }
        let epoch = self.log.epoch_at_end(end_offset)?;
        Some(OffsetAndEpoch::new(end_offset, epoch))
    }

    /// The newest stored snapshot, the 0-0 one aside.
    pub fn newest_snapshot(&self) -> Option<SnapshotId> {
        self.snapshots.keys().next_back().copied()
    }

    /// State as last handed out to be persisted.
    pub fn quorum_state(&self) -> QuorumState {
        self.persisted
    }

    /// Where a node's raft listener is, from the voter set.
    pub fn voter_endpoint(&self, id: i32, listener: &str) -> Option<&Endpoint> {
        let voter = self.voters.latest().by_id(id)?;
        voter
            .endpoints
            .iter()
            .find(|endpoint| endpoint.name == listener)
            .or_else(|| voter.endpoints.first())
    }

    // ---- setters and the way of actions out ----

    /// Appends to the index and hands the batch out to be written.
    pub(super) fn append(&mut self, batch: Batch, actions: &mut Vec<Action>) {
        let write = self.number_write(batch.end);
        let action = Action::AppendLog {
            write,
            bytes: batch.bytes.clone(),
            base: batch.base,
            end: batch.end,
            epoch: batch.epoch,
        };
        self.log.append(batch);
        self.emit(action, actions);
    }

    /// Drops the log from `to` on, with the voters it said.
    pub(super) fn truncate(&mut self, to: i64, actions: &mut Vec<Action>) {
        assert!(
            self.high_watermark.is_none_or(|mark| mark <= to),
            "committed records are never truncated"
        );
        let end = self.log.truncate(to);
        self.voters.truncate(end);
        for (_, reached) in &mut self.writes {
            *reached = (*reached).min(end);
        }
        self.durable_end = self.durable_end.min(end);
        let write = self.number_write(end);
        self.emit(Action::TruncateLog { write, to: end }, actions);
        actions.push(Action::LogTruncated { to: end });
    }

    /// Puts a stored snapshot in the place of the whole log. What is below its end counts as
    /// durable, for it is in the snapshot; recovery does the same again if the reset is lost.
    pub(super) fn reset_log(&mut self, view: &SnapshotView, actions: &mut Vec<Action>) {
        let to = view.id;
        self.log = LogIndex::new(to);
        let voters = view
            .voters
            .clone()
            .unwrap_or_else(|| self.options.static_voters.clone());
        self.voters = VoterHistory::new(view.kraft_version, voters);
        for (_, reached) in &mut self.writes {
            *reached = to.offset;
        }
        self.durable_end = to.offset;
        let write = self.number_write(to.offset);
        self.emit(Action::ResetLog { write, to }, actions);
        self.raise_high_watermark(to.offset, actions);
    }

    /// Moves the log start up to a stored snapshot; older snapshots go once that is durable.
    pub(super) fn cut_log(&mut self, to: SnapshotId, actions: &mut Vec<Action>) {
        self.voters.cut(to.offset);
        self.log.cut(to);
        let write = self.number_write(self.log.end().offset);
        let log_start = to.offset;
        self.emit(Action::CutLog { write, log_start }, actions);
        let older: Vec<_> = self.snapshots.range(..to).map(|(id, _)| *id).collect();
        for id in older {
            self.snapshots.remove(&id);
            self.removals.push_back((write, id));
        }
    }

    fn number_write(&mut self, end: i64) -> u64 {
        let write = self.next_write;
        self.next_write += 1;
        self.writes.push_back((write, end));
        write
    }

    fn on_log_durable(&mut self, now: Now, write: u64, actions: &mut Vec<Action>) {
        assert!(write < self.next_write, "write never issued");
        while let Some((number, reached)) = self.writes.front().copied() {
            if number > write {
                break;
            }
            self.writes.pop_front();
            // A truncation that follows lowered both already, so this never claims too much.
            self.durable_end = self.durable_end.max(reached);
        }
        assert!(self.durable_end <= self.log.end().offset);
        while let Some((number, id)) = self.removals.front().copied() {
            if number > write {
                break;
            }
            self.removals.pop_front();
            self.emit(Action::RemoveSnapshot { id }, actions);
        }
        self.on_durable_end(now, actions);
    }

    /// The one place that moves the high watermark; it rises only.
    pub(super) fn raise_high_watermark(&mut self, to: i64, actions: &mut Vec<Action>) -> bool {
        if self.high_watermark.is_some_and(|mark| mark >= to) {
            return false;
        }
        assert!(self.log.start().offset <= to && to <= self.durable_end);
        self.high_watermark = Some(to);
        actions.push(Action::Committed { high_watermark: to });
        true
    }

    /// Hands out an action, or keeps it until the quorum state it rests on is durable.
    pub(super) fn emit(&mut self, action: Action, actions: &mut Vec<Action>) {
        if self.held.is_empty() && self.persist_durable == self.persist_counter {
            actions.push(action);
        } else {
            self.held.push_back((self.persist_counter, action));
        }
    }

    fn release_held(&mut self, actions: &mut Vec<Action>) {
        while let Some((counter, _)) = self.held.front() {
            if *counter > self.persist_durable {
                break;
            }
            if let Some((_, action)) = self.held.pop_front() {
                actions.push(action);
            }
        }
    }

    /// Writes epoch, leader and vote if they changed.
    pub(super) fn persist(&mut self, actions: &mut Vec<Action>) {
        let state = QuorumState {
            epoch: self.epoch,
            leader_id: self.leader().leader_id,
            voted: self.voted,
        };
        if state != self.persisted {
            self.persisted = state;
            self.persist_counter += 1;
            actions.push(Action::PersistQuorumState {
                state,
                counter: self.persist_counter,
            });
        }
    }

    pub(super) fn fail(&mut self, reason: FatalReason, actions: &mut Vec<Action>) {
        self.failed = true;
        actions.push(Action::Fatal { reason });
    }

    /// The next number of a seeded sequence (splitmix64).
    pub(super) fn random(&mut self) -> u64 {
        self.random_state = self.random_state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random_state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
