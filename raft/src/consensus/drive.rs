//! Timers and requests: what is due now in each state, and to whom. At most one request is under
//! way per peer, and at most one Fetch overall (kraft.md section 1); answers come back through
//! `follower.rs`.

use super::event::Action;
use super::message::{
    BeginQuorumEpochRequest, EndQuorumEpochRequest, FetchRequest, FetchSnapshotRequest, Request,
    VoteRequest,
};
use super::raft::Raft;
use super::role::{DownloadStep, Role};
use super::types::{Endpoint, Now, Peer, ReplicaKey, SnapshotId};

/// One peer as seen from here.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) in_flight: Option<InFlight>,
    retry_at_us: u64,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct InFlight {
    correlation: u64,
    deadline_us: u64,
    sent: Sent,
}

/// What was asked, so that its answer is judged by it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent {
    Vote {
        epoch: i32,
        pre_vote: bool,
    },
    Begin {
        epoch: i32,
    },
    End {
        epoch: i32,
    },
    Fetch {
        epoch: i32,
    },
    FetchSnapshot {
        epoch: i32,
        id: SnapshotId,
        position: i64,
    },
}

impl Sent {
    /// Epoch of this replica when it asked.
    pub(super) fn epoch(&self) -> i32 {
        match self {
            Sent::Vote { epoch, .. }
            | Sent::Begin { epoch }
            | Sent::End { epoch }
            | Sent::Fetch { epoch }
            | Sent::FetchSnapshot { epoch, .. } => *epoch,
        }
    }

    fn is_fetch(&self) -> bool {
        matches!(self, Sent::Fetch { .. } | Sent::FetchSnapshot { .. })
    }
}

impl Raft {
    /// Runs what is due, then sends what the state calls for.
    pub(super) fn drive(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.expire_requests(now);
        self.run_timers(now, actions);
        match &self.role {
            Role::Unattached(_) => self.send_fetch_to_anyone(now, actions),
            Role::Prospective(_) => self.send_votes(now, true, actions),
            Role::Candidate(state) if state.backoff_deadline_us.is_none() => {
                self.send_votes(now, false, actions);
            }
            Role::Candidate(_) => {}
            Role::Leader(_) => self.send_begins(now, actions),
            Role::Resigned(_) => self.send_ends(now, actions),
            Role::Follower(_) => self.send_follower_fetch(now, actions),
        }
    }

    fn expire_requests(&mut self, now: Now) {
        for connection in self.connections.values_mut() {
            if connection
                .in_flight
                .as_ref()
                .is_some_and(|request| request.deadline_us <= now.monotonic_us)
            {
                connection.in_flight = None;
            }
            if connection.retry_at_us <= now.monotonic_us {
                connection.retry_at_us = 0;
            }
        }
    }

    fn run_timers(&mut self, now: Now, actions: &mut Vec<Action>) {
        let voter = self.is_voter();
        let time = now.monotonic_us;
        match &self.role {
            Role::Unattached(state) if voter && state.election_deadline_us <= time => {
                self.become_prospective(now, actions);
            }
            Role::Prospective(_) if !voter => self.lose_pre_vote(now, actions),
            Role::Prospective(state) if state.election_deadline_us <= time => {
                self.lose_pre_vote(now, actions);
            }
            Role::Candidate(state) if state.election_deadline_us <= time => {
                self.election_failures = (self.election_failures + 1).min(10);
                self.retry_candidacy(now, voter, actions);
            }
            Role::Candidate(state) if state.backoff_deadline_us.is_some_and(|at| at <= time) => {
                self.retry_candidacy(now, voter, actions);
            }
            Role::Leader(_) => {
                let removed = !voter && self.last_voters_are_committed();
                if self.has_lost_quorum(now) || removed {
                    self.become_resigned(now, actions);
                } else {
                    self.answer_parked(now, false, actions);
                }
            }
            Role::Resigned(state) if state.deadline_us <= time => {
                let epoch = self.epoch + 1;
                self.become_unattached(now, epoch, actions);
            }
            Role::Follower(state) if voter && state.fetch_deadline_us <= time => {
                self.become_prospective(now, actions);
            }
            _ => {}
        }
    }

    fn retry_candidacy(&mut self, now: Now, voter: bool, actions: &mut Vec<Action>) {
        if voter {
            self.become_prospective(now, actions);
        } else {
            let epoch = self.epoch + 1;
            self.become_unattached(now, epoch, actions);
        }
    }

    fn last_voters_are_committed(&self) -> bool {
        self.voters
            .last_change_offset()
            .is_none_or(|offset| self.high_watermark.is_some_and(|mark| mark > offset))
    }

    /// When `step` must be called at the latest, in microseconds of `Now::monotonic_us`.
    pub fn next_deadline_us(&self) -> u64 {
        let timer = match &self.role {
            Role::Unattached(state) if self.is_voter() => state.election_deadline_us,
            Role::Unattached(_) => u64::MAX,
            Role::Prospective(state) => state.election_deadline_us,
            Role::Candidate(state) => state
                .backoff_deadline_us
                .unwrap_or(u64::MAX)
                .min(state.election_deadline_us),
            Role::Leader(leader) => self.leader_deadline_us(leader),
            Role::Resigned(state) => state.deadline_us,
            Role::Follower(state) if self.is_voter() => state.fetch_deadline_us,
            Role::Follower(_) => u64::MAX,
        };
        let requests = self.connections.values().map(|connection| {
            connection
                .in_flight
                .as_ref()
                .map_or(connection.retry_at_us, |request| request.deadline_us)
        });
        requests.fold(timer, |soonest, at| {
            // 0: neither busy nor backing off, so whatever was due to that peer has been sent.
            if at == 0 { soonest } else { soonest.min(at) }
        })
    }

    fn leader_deadline_us(&self, leader: &super::role::Leader) -> u64 {
        let quorum = self.quorum_deadline_us(leader).unwrap_or(u64::MAX);
        let begin = self
            .begin_targets(leader)
            .filter(|(key, _)| !self.is_busy(Peer::Node(key.id)))
            .map(|(_, due)| due)
            .min()
            .unwrap_or(u64::MAX);
        let parked = self
            .parked
            .iter()
            .map(|parked| parked.deadline_us)
            .min()
            .unwrap_or(u64::MAX);
        quorum.min(begin).min(parked)
    }

    fn send_votes(&mut self, now: Now, pre_vote: bool, actions: &mut Vec<Action>) {
        let local_id = self.options.local.id;
        let unanswered: Vec<ReplicaKey> = match &self.role {
            Role::Prospective(state) => self.unanswered(|id| state.ballots.answered(id)),
            Role::Candidate(state) => self.unanswered(|id| state.ballots.answered(id)),
            _ => return,
        };
        for voter in unanswered {
            if voter.id == local_id {
                continue;
            }
            let request = Request::Vote(VoteRequest {
                cluster_id: Some(self.options.cluster_id.clone()),
                voter: Some(voter),
                epoch: self.epoch,
                candidate: self.options.local,
                last: self.log.end(),
                pre_vote,
            });
            let epoch = self.epoch;
            let sent = Sent::Vote { epoch, pre_vote };
            self.send(now, Peer::Node(voter.id), sent, request, actions);
        }
    }

    fn unanswered(&self, answered: impl Fn(i32) -> bool) -> Vec<ReplicaKey> {
        self.voters
            .latest()
            .iter()
            .map(|voter| voter.key)
            .filter(|key| !answered(key.id))
            .collect()
    }

    fn begin_targets<'a>(
        &'a self,
        leader: &'a super::role::Leader,
    ) -> impl Iterator<Item = (ReplicaKey, u64)> + 'a {
        self.voters
            .latest()
            .iter()
            .filter(|voter| voter.key.id != self.options.local.id)
            .map(|voter| {
                let due = leader
                    .replicas
                    .get(&voter.key)
                    .map_or(leader.since_us, |progress| progress.begin_due_us);
                (voter.key, due)
            })
    }

    fn send_begins(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let due: Vec<ReplicaKey> = self
            .begin_targets(leader)
            .filter(|(_, due)| *due <= now.monotonic_us)
            .map(|(key, _)| key)
            .collect();
        for voter in due {
            let request = Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
                cluster_id: Some(self.options.cluster_id.clone()),
                voter: Some(voter),
                leader_id: self.options.local.id,
                epoch: self.epoch,
                endpoints: self.own_endpoints(),
            });
            let epoch = self.epoch;
            let sent = Sent::Begin { epoch };
            if self.send(now, Peer::Node(voter.id), sent, request, actions) {
                let next = now.monotonic_us + self.options.fetch_timeout_ms * 1000 / 2;
                if let Role::Leader(leader) = &mut self.role
                    && let Some(progress) = leader.replicas.get_mut(&voter)
                {
                    progress.begin_due_us = next;
                }
            }
        }
    }

    fn own_endpoints(&self) -> Vec<Endpoint> {
        if !self.options.local_endpoints.is_empty() {
            return self.options.local_endpoints.clone();
        }
        self.voters
            .latest()
            .by_id(self.options.local.id)
            .map_or_else(Vec::new, |voter| voter.endpoints.clone())
    }

    fn send_ends(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Role::Resigned(state) = &self.role else {
            return;
        };
        let preferred = state.preferred.clone();
        let waiting: Vec<ReplicaKey> = self.unanswered(|id| state.acknowledged.contains(&id));
        for voter in waiting {
            if voter.id == self.options.local.id {
                continue;
            }
            let request = Request::EndQuorumEpoch(EndQuorumEpochRequest {
                cluster_id: Some(self.options.cluster_id.clone()),
                leader_id: self.options.local.id,
                epoch: self.epoch,
                preferred: preferred.clone(),
                endpoints: self.own_endpoints(),
            });
            let epoch = self.epoch;
            self.send(
                now,
                Peer::Node(voter.id),
                Sent::End { epoch },
                request,
                actions,
            );
        }
    }

    fn send_follower_fetch(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Role::Follower(state) = &self.role else {
            return;
        };
        let leader = Peer::Node(state.leader_id);
        let silent = state.fetch_deadline_us <= now.monotonic_us;
        match state.download {
            Some(download) => {
                if download.step == DownloadStep::Fetching {
                    let request = Request::FetchSnapshot(FetchSnapshotRequest {
                        cluster_id: Some(self.options.cluster_id.clone()),
                        replica: self.options.local,
                        bytes_max: self.options.snapshot_chunk_bytes_max,
                        epoch: self.epoch,
                        snapshot_id: download.id,
                        position: download.position,
                    });
                    let sent = Sent::FetchSnapshot {
                        epoch: self.epoch,
                        id: download.id,
                        position: download.position,
                    };
                    self.send_one_fetch(now, leader, sent, request, actions);
                }
            }
            None if silent || self.is_backing_off(now, leader) => {
                // The leader may be gone: whoever answers knows the new one.
                self.send_fetch_to_anyone(now, actions);
            }
            None => self.send_fetch(now, leader, actions),
        }
    }

    fn send_fetch_to_anyone(&mut self, now: Now, actions: &mut Vec<Action>) {
        let local_id = self.options.local.id;
        let bootstrap = (0..self.options.bootstrap_endpoints.len()).map(Peer::Bootstrap);
        let ready: Vec<Peer> = self
            .voters
            .latest()
            .ids()
            .filter(|id| *id != local_id)
            .map(Peer::Node)
            .chain(bootstrap)
            .filter(|peer| !self.is_backing_off(now, *peer))
            .collect();
        if ready.is_empty() || self.connections.values().any(has_fetch) {
            return;
        }
        let choice = (self.random() % ready.len() as u64) as usize;
        self.send_fetch(now, ready[choice], actions);
    }

    fn send_fetch(&mut self, now: Now, peer: Peer, actions: &mut Vec<Action>) {
        // What a Fetch asks from is taken by the leader as durable here.
        if self.durable_end() < self.log.end().offset {
            return;
        }
        let end = self.log.end();
        let request = Request::Fetch(FetchRequest {
            cluster_id: Some(self.options.cluster_id.clone()),
            replica: self.options.local,
            wait_max_ms: self.options.fetch_max_wait_ms,
            bytes_max: self.options.fetch_bytes_max,
            epoch: self.epoch,
            fetch_offset: end.offset,
            last_fetched_epoch: end.epoch,
            high_watermark: self.high_watermark.unwrap_or(-1),
        });
        let epoch = self.epoch;
        self.send_one_fetch(now, peer, Sent::Fetch { epoch }, request, actions);
    }

    fn send_one_fetch(
        &mut self,
        now: Now,
        peer: Peer,
        sent: Sent,
        request: Request,
        actions: &mut Vec<Action>,
    ) {
        if !self.connections.values().any(has_fetch) {
            self.send(now, peer, sent, request, actions);
        }
    }

    /// Sends unless the peer is busy or backing off; tells whether it did.
    fn send(
        &mut self,
        now: Now,
        peer: Peer,
        sent: Sent,
        request: Request,
        actions: &mut Vec<Action>,
    ) -> bool {
        let address = match peer {
            Peer::Node(id) => self.address_of(id, None),
            Peer::Bootstrap(index) => self.options.bootstrap_endpoints.get(index).cloned(),
        };
        let connection = self.connections.entry(peer).or_default();
        if connection.in_flight.is_some() || connection.retry_at_us > now.monotonic_us {
            return false;
        }
        let correlation = self.next_correlation;
        self.next_correlation += 1;
        connection.retry_at_us = 0;
        connection.in_flight = Some(InFlight {
            correlation,
            deadline_us: now.monotonic_us + self.options.request_timeout_ms * 1000,
            sent,
        });
        let action = Action::Send {
            peer,
            address,
            correlation,
            request,
        };
        self.emit(action, actions);
        true
    }

    /// Where the raft listener of a node is: as just told, as the leader told, or as the voter
    /// set says.
    pub(super) fn address_of(&self, id: i32, told: Option<&Endpoint>) -> Option<Endpoint> {
        if let Some(endpoint) = told {
            return Some(endpoint.clone());
        }
        if let Role::Follower(state) = &self.role
            && state.leader_id == id
            && state.leader_endpoint.is_some()
        {
            return state.leader_endpoint.clone();
        }
        self.voter_endpoint(id, &self.options.listener_name)
            .cloned()
    }

    /// The request an answer belongs to, if that is still the one under way.
    pub(super) fn take_in_flight(&mut self, peer: Peer, correlation: u64) -> Option<Sent> {
        let connection = self.connections.get_mut(&peer)?;
        let matches = connection
            .in_flight
            .as_ref()
            .is_some_and(|request| request.correlation == correlation);
        if !matches {
            return None;
        }
        connection.in_flight.take().map(|request| request.sent)
    }

    /// Leaves a peer alone for a little while.
    pub(super) fn back_off(&mut self, now: Now, peer: Peer) {
        let until = now.monotonic_us + self.options.retry_backoff_ms * 1000;
        self.connections.entry(peer).or_default().retry_at_us = until;
    }

    /// Busy or backing off: nothing can be sent before that ends, which is a deadline of its own.
    fn is_busy(&self, peer: Peer) -> bool {
        self.connections
            .get(&peer)
            .is_some_and(|connection| connection.in_flight.is_some() || connection.retry_at_us > 0)
    }

    fn is_backing_off(&self, now: Now, peer: Peer) -> bool {
        self.connections
            .get(&peer)
            .is_some_and(|connection| connection.retry_at_us > now.monotonic_us)
    }

    pub(super) fn on_disconnected(&mut self, now: Now, peer: Peer) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.in_flight = None;
        }
        self.back_off(now, peer);
    }
}

fn has_fetch(connection: &Connection) -> bool {
    connection
        .in_flight
        .as_ref()
        .is_some_and(|request| request.sent.is_fetch())
}
