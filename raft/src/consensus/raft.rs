//! The replica: its fields, the one `step`, proposals and what can be asked of it.
//! Neighbours: `recovery.rs` makes it from what the disk holds, `transitions.rs` changes the role,
//! `election.rs` votes, `leader.rs` serves, `follower.rs` fetches, `snapshots.rs` moves snapshots,
//! `drive.rs` runs timers and sends.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bytes::Bytes;

use super::batch;
use super::event::{Action, Event, FatalReason, SnapshotView};
use super::log::{Batch, LogIndex};
use super::message::Request;
use super::quorum_state::QuorumState;
use super::role::Role;
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
    pub(super) durable_end: i64,
    pub(super) next_write: u64,
    /// Log writes under way: number and the log end they bring about.
    pub(super) writes: VecDeque<(u64, i64)>,
    /// Snapshots to remove once a cut is durable.
    pub(super) removals: VecDeque<(u64, SnapshotId)>,
    pub(super) persisted: QuorumState,
    pub(super) persist_counter: u64,
    pub(super) persist_durable: u64,
    /// Actions that wait for a counter to become durable, in order.
    pub(super) held: VecDeque<(u64, Action)>,
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
    pub(super) random_state: u64,
    pub(super) started: bool,
    pub(super) failed: bool,
}

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

    /// Moves the start of the log on disk up to a stored snapshot; older snapshots go once that is
    /// durable.
    pub(super) fn cut_log(&mut self, to: SnapshotId, actions: &mut Vec<Action>) {
        self.voters.cut(to.offset);
        if to.offset > self.log.start().offset {
            self.log.cut(to);
        }
        let write = self.number_write(self.log.end().offset);
        let log_start = to.offset;
        self.emit(Action::CutLog { write, log_start }, actions);
        let older: Vec<_> = self.snapshots.range(..to).map(|(id, _)| *id).collect();
        for id in older {
            self.snapshots.remove(&id);
            self.removals.push_back((write, id));
        }
    }

    pub(super) fn number_write(&mut self, end: i64) -> u64 {
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
