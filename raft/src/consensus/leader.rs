//! The serving side of a leader: Fetch with parking, positions of replicas, the high watermark by
//! majority, check-quorum, DescribeQuorum (kraft.md 3.1 and 4.1).

use odradek_protocol::ErrorCode;

use super::event::Action;
use super::log::Position;
use super::message::{FetchRequest, FetchResult, QuorumDescription, ReplicaDescription, Response};
use super::raft::Raft;
use super::role::{Leader, Progress, Role};
use super::types::{LeaderAndEpoch, Now, OffsetAndEpoch, ReplicaKey};

/// How long a silent observer is remembered, in microseconds (300 s).
const OBSERVER_FORGOTTEN_US: u64 = 300_000_000;

/// A Fetch that waits for news.
#[derive(Debug)]
pub(super) struct Parked {
    token: u64,
    listener: String,
    request: FetchRequest,
    pub(super) deadline_us: u64,
}

impl Raft {
    pub(super) fn on_fetch_request(
        &mut self,
        now: Now,
        token: u64,
        listener: &str,
        request: FetchRequest,
        actions: &mut Vec<Action>,
    ) {
        if self.refuse_cluster(token, request.cluster_id.as_deref(), actions) {
            return;
        }
        let malformed = request.wait_max_ms < 0
            || request.fetch_offset < 0
            || request.last_fetched_epoch < 0
            || request.last_fetched_epoch > request.epoch;
        let error = if malformed {
            Some(ErrorCode::InvalidRequest)
        } else {
            self.check_leadership(request.epoch)
        };
        if let Some(error) = error {
            let result = FetchResult {
                high_watermark: -1,
                log_start: -1,
                ..FetchResult::default()
            };
            let response = Response::Fetch(self.quorum_response(error, listener), Box::new(result));
            return self.emit(Action::Reply { token, response }, actions);
        }
        if self.fetch_position(&request) == Ok(()) {
            self.note_fetch(now, &request.replica, Some(request.fetch_offset));
            if self.advance_leader_high_watermark(actions) {
                self.answer_parked(now, true, actions);
            }
            if self.must_wait(&request) {
                return self.park(now, token, listener, request, actions);
            }
        }
        self.answer_fetch(token, listener, &request, actions);
    }

    /// Rule 2 of kraft.md 3.1, shared with FetchSnapshot.
    pub(super) fn check_leadership(&self, epoch: i32) -> Option<ErrorCode> {
        if epoch < self.epoch {
            Some(ErrorCode::FencedLeaderEpoch)
        } else if epoch > self.epoch {
            Some(ErrorCode::UnknownLeaderEpoch)
        } else if !self.is_leader() {
            Some(ErrorCode::NotLeaderOrFollower)
        } else {
            None
        }
    }

    /// Whether the replica's log agrees with ours up to its fetch offset.
    fn fetch_position(&self, request: &FetchRequest) -> Result<(), FetchResult> {
        let fetch = OffsetAndEpoch::new(request.fetch_offset, request.last_fetched_epoch);
        let newest = self.newest_snapshot();
        let oldest_epoch = self.snapshots.keys().next().map(|id| id.epoch);
        let position = match newest {
            Some(_) if fetch.offset == 0 => Position::BelowLog,
            _ => self.log.position(fetch, oldest_epoch),
        };
        match (position, newest) {
            (Position::Valid, _) => Ok(()),
            (Position::Diverging(at), _) => Err(FetchResult {
                diverging: Some(at),
                ..FetchResult::default()
            }),
            (Position::BelowLog, Some(id)) => Err(FetchResult {
                snapshot_id: Some(id),
                ..FetchResult::default()
            }),
            (Position::BelowLog, None) => unreachable!("a cut log has a snapshot"),
        }
    }

    /// Nothing to tell yet: no records, and no high watermark the replica lacks (KIP-1166).
    fn must_wait(&self, request: &FetchRequest) -> bool {
        request.wait_max_ms > 0
            && request.fetch_offset >= self.log.end().offset
            && request.high_watermark >= self.told_high_watermark()
    }

    fn park(
        &mut self,
        now: Now,
        token: u64,
        listener: &str,
        request: FetchRequest,
        actions: &mut Vec<Action>,
    ) {
        if self.parked.len() >= self.options.parked_fetches_max.max(1)
            && let Some(oldest) = self.parked.pop_front()
        {
            self.answer_fetch(oldest.token, &oldest.listener, &oldest.request, actions);
        }
        let wait_us = request.wait_max_ms.max(0) as u64 * 1000;
        self.parked.push_back(Parked {
            token,
            listener: listener.to_owned(),
            deadline_us: now.monotonic_us + wait_us,
            request,
        });
    }

    /// Answers parked fetches that have news or have waited long enough; all of them after the
    /// high watermark rose or leadership ended.
    pub(super) fn answer_parked(&mut self, now: Now, all: bool, actions: &mut Vec<Action>) {
        for parked in std::mem::take(&mut self.parked) {
            if all || parked.deadline_us <= now.monotonic_us || !self.must_wait(&parked.request) {
                self.answer_fetch(parked.token, &parked.listener, &parked.request, actions);
            } else {
                self.parked.push_back(parked);
            }
        }
    }

    fn answer_fetch(
        &mut self,
        token: u64,
        listener: &str,
        request: &FetchRequest,
        actions: &mut Vec<Action>,
    ) {
        let error = match &self.role {
            Role::Leader(_) if request.epoch == self.epoch => ErrorCode::None,
            _ => ErrorCode::NotLeaderOrFollower,
        };
        let mut result = FetchResult::default();
        if error == ErrorCode::None {
            match self.fetch_position(request) {
                Ok(()) => {
                    let bytes_max = request
                        .bytes_max
                        .clamp(0, self.options.fetch_bytes_max.max(0));
                    result.records = self.log.read(request.fetch_offset, bytes_max as usize);
                }
                Err(refused) => result = refused,
            }
            result.high_watermark = self.told_high_watermark();
            result.log_start = self.log.start().offset;
        } else {
            result.high_watermark = -1;
            result.log_start = -1;
        }
        let response = Response::Fetch(self.quorum_response(error, listener), Box::new(result));
        self.emit(Action::Reply { token, response }, actions);
    }

    /// What answers say: -1 until something of this epoch is committed.
    pub(super) fn told_high_watermark(&self) -> i64 {
        match &self.role {
            Role::Leader(leader) if leader.high_watermark_known => {
                self.high_watermark.unwrap_or(-1)
            }
            _ => -1,
        }
    }

    /// Notes a valid Fetch (with its offset) or FetchSnapshot of a replica.
    pub(super) fn note_fetch(&mut self, now: Now, replica: &ReplicaKey, offset: Option<i64>) {
        if replica.id < 0 || replica.id == self.options.local.id {
            return;
        }
        let voter = self
            .voters
            .latest()
            .by_id(replica.id)
            .filter(|_| self.voters.latest().contains(replica))
            .map(|voter| voter.key);
        let key = voter.unwrap_or(*replica);
        let begin_us = self.options.fetch_timeout_ms * 1000 / 2;
        let log_end = self.log.end().offset;
        let observers_max = self.options.observers_max;
        let voters = self.voters.latest();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if voter.is_none() && !leader.replicas.contains_key(&key) {
            make_room(leader, now, observers_max, |key| voters.contains(key));
        }
        let progress = leader
            .replicas
            .entry(key)
            .or_insert_with(|| Progress::new(now.monotonic_us));
        if let Some(offset) = offset {
            if offset >= log_end {
                progress.last_caught_up_ms = now.wall_ms;
            } else if progress.log_end_at_last_fetch > 0 && offset >= progress.log_end_at_last_fetch
            {
                progress.last_caught_up_ms = progress.last_fetch_ms;
            }
            progress.end_offset = Some(offset);
            progress.log_end_at_last_fetch = log_end;
        }
        progress.last_fetch_us = Some(now.monotonic_us);
        progress.last_fetch_ms = now.wall_ms;
        progress.begin_due_us = now.monotonic_us + begin_us;
    }

    /// More of the log is durable here: a leader may commit, a follower may learn commits.
    pub(super) fn on_durable_end(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.advance_leader_high_watermark(actions) {
            self.answer_parked(now, true, actions);
        }
        self.advance_follower_high_watermark(actions);
    }

    /// The end that a majority of voters has durably; this node counts only its own durable end.
    /// Whatever older epochs wrote is committed by the first batch of this one, never by count.
    fn advance_leader_high_watermark(&mut self, actions: &mut Vec<Action>) -> bool {
        let Role::Leader(leader) = &self.role else {
            return false;
        };
        let mut ends: Vec<i64> = self
            .voters
            .latest()
            .iter()
            .map(|voter| {
                if voter.key.matches(&self.options.local) {
                    self.durable_end()
                } else {
                    leader
                        .replicas
                        .get(&voter.key)
                        .and_then(|progress| progress.end_offset)
                        .unwrap_or(-1)
                }
            })
            .collect();
        if ends.is_empty() {
            return false;
        }
        ends.sort_unstable_by(|left, right| right.cmp(left));
        // A follower may have more on its disk than this node has on its own: what is committed
        // must be readable here after a crash, so it waits for the own disk too.
        let committed = ends[ends.len() / 2].min(self.durable_end());
        if committed <= leader.epoch_start {
            return false;
        }
        let rose = self.raise_high_watermark(committed, actions);
        if let Role::Leader(leader) = &mut self.role {
            leader.high_watermark_known = true;
        }
        rose
    }

    /// Whether a majority of voters fetched within the check-quorum time.
    pub(super) fn has_lost_quorum(&self, now: Now) -> bool {
        let Role::Leader(leader) = &self.role else {
            return false;
        };
        self.quorum_deadline_us(leader)
            .is_some_and(|deadline| deadline <= now.monotonic_us)
    }

    /// When the leader gives up unless more voters fetch; none when it needs no one else.
    pub(super) fn quorum_deadline_us(&self, leader: &Leader) -> Option<u64> {
        let voters = self.voters.latest();
        let counts_itself = voters.contains(&self.options.local);
        let needed = voters.majority() - usize::from(counts_itself);
        if needed == 0 {
            return None;
        }
        let mut times: Vec<u64> = voters
            .iter()
            .filter(|voter| !voter.key.matches(&self.options.local))
            .map(|voter| {
                leader
                    .replicas
                    .get(&voter.key)
                    .and_then(|progress| progress.last_fetch_us)
                    .unwrap_or(leader.since_us)
            })
            .collect();
        times.sort_unstable_by(|left, right| right.cmp(left));
        let timeout_us = self.options.fetch_timeout_ms * 1500;
        times.get(needed - 1).map(|time| time + timeout_us)
    }

    pub(super) fn on_describe_request(&mut self, now: Now, token: u64, actions: &mut Vec<Action>) {
        let description = self.describe_quorum(now);
        let response = Response::DescribeQuorum(Box::new(description));
        self.emit(Action::Reply { token, response }, actions);
    }

    /// The quorum as DescribeQuorum tells it.
    pub fn describe_quorum(&self, now: Now) -> QuorumDescription {
        let Role::Leader(leader) = &self.role else {
            return QuorumDescription {
                error: ErrorCode::NotLeaderOrFollower,
                leader: LeaderAndEpoch {
                    leader_id: None,
                    epoch: self.epoch,
                },
                high_watermark: -1,
                voters: Vec::new(),
                observers: Vec::new(),
                nodes: Vec::new(),
            };
        };
        let voters = self.voters.latest();
        let observers = leader
            .replicas
            .iter()
            .filter(|(key, progress)| {
                !voters.contains(key) && !is_forgotten(progress, now) && key.id >= 0
            })
            .map(|(key, progress)| self.describe_replica(now, *key, Some(progress)))
            .collect();
        QuorumDescription {
            error: ErrorCode::None,
            leader: self.leader(),
            high_watermark: self.told_high_watermark(),
            voters: voters
                .iter()
                .map(|voter| self.describe_replica(now, voter.key, leader.replicas.get(&voter.key)))
                .collect(),
            observers,
            nodes: voters
                .iter()
                .map(|voter| (voter.key.id, voter.endpoints.clone()))
                .collect(),
        }
    }

    fn describe_replica(
        &self,
        now: Now,
        key: ReplicaKey,
        progress: Option<&Progress>,
    ) -> ReplicaDescription {
        if key.matches(&self.options.local) {
            return ReplicaDescription {
                key,
                log_end_offset: self.log.end().offset,
                last_fetch_ms: now.wall_ms,
                last_caught_up_ms: now.wall_ms,
            };
        }
        ReplicaDescription {
            key,
            log_end_offset: progress.and_then(|known| known.end_offset).unwrap_or(-1),
            last_fetch_ms: progress.map_or(-1, |known| known.last_fetch_ms),
            last_caught_up_ms: progress.map_or(-1, |known| known.last_caught_up_ms),
        }
    }
}

fn is_forgotten(progress: &Progress, now: Now) -> bool {
    progress
        .last_fetch_us
        .is_none_or(|time| time + OBSERVER_FORGOTTEN_US <= now.monotonic_us)
}

/// Drops forgotten observers, and the one silent longest when there are too many.
fn make_room(
    leader: &mut Leader,
    now: Now,
    observers_max: usize,
    is_voter: impl Fn(&ReplicaKey) -> bool,
) {
    leader
        .replicas
        .retain(|key, progress| is_voter(key) || !is_forgotten(progress, now));
    let mut observers: Vec<(Option<u64>, ReplicaKey)> = leader
        .replicas
        .iter()
        .filter(|(key, _)| !is_voter(key))
        .map(|(key, progress)| (progress.last_fetch_us, *key))
        .collect();
    if observers.len() >= observers_max.max(1) {
        observers.sort();
        leader.replicas.remove(&observers[0].1);
    }
}
