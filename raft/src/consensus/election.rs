//! Votes and pre-votes, BeginQuorumEpoch and EndQuorumEpoch, asked and answered
//! (kraft.md 3.3, 3.4 and section 4).

use odradek_protocol::ErrorCode;

use super::event::Action;
use super::message::{
    BeginQuorumEpochRequest, EndQuorumEpochRequest, QuorumResponse, Response, VoteRequest,
    VoteResult,
};
use super::raft::Raft;
use super::role::Role;
use super::types::{LeaderAndEpoch, Now, OffsetAndEpoch, ReplicaKey};

impl Raft {
    pub(super) fn on_vote_request(
        &mut self,
        now: Now,
        token: u64,
        listener: &str,
        vote: VoteRequest,
        actions: &mut Vec<Action>,
    ) {
        if self.refuse_cluster(token, vote.cluster_id.as_deref(), actions) {
            return;
        }
        let verdict = self.judge_vote(now, &vote, actions);
        let (error, granted) = match verdict {
            Ok(granted) => (ErrorCode::None, granted),
            Err(error) => (error, false),
        };
        let response = Response::Vote(
            self.quorum_response(error, listener),
            VoteResult { granted },
        );
        self.emit(Action::Reply { token, response }, actions);
    }

    fn judge_vote(
        &mut self,
        now: Now,
        vote: &VoteRequest,
        actions: &mut Vec<Action>,
    ) -> Result<bool, ErrorCode> {
        if vote.epoch < self.epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        // A candidate's log is older than its epoch; a prospective one may have written in it.
        let epoch_too_high = if vote.pre_vote {
            vote.last.epoch > vote.epoch
        } else {
            vote.last.epoch >= vote.epoch
        };
        if vote.candidate.id < 0 || vote.last.offset < 0 || vote.last.epoch < 0 || epoch_too_high {
            return Err(ErrorCode::InvalidRequest);
        }
        if vote.epoch > self.epoch {
            self.become_unattached(now, vote.epoch, actions);
        }
        self.check_voter_key(vote.voter)?;
        let granted = self.grants(vote.pre_vote, &vote.candidate, vote.last);
        if granted && !vote.pre_vote {
            self.grant_vote(now, vote.candidate, actions);
        }
        Ok(granted)
    }

    /// A voter that is asked under another id, or another directory, must not answer for it:
    /// that other replica's votes and log are not here.
    fn check_voter_key(&self, asked: Option<ReplicaKey>) -> Result<(), ErrorCode> {
        let local = self.options.local;
        match asked {
            Some(key) if !key.matches(&local) => Err(ErrorCode::InvalidVoterKey),
            Some(_) => Ok(()),
            // Asked without a key: only as the voter this node is.
            None => match self.voters.latest().by_id(local.id) {
                Some(voter) if !voter.key.matches(&local) => Err(ErrorCode::InvalidVoterKey),
                _ => Ok(()),
            },
        }
    }

    fn grants(&self, pre_vote: bool, candidate: &ReplicaKey, last: OffsetAndEpoch) -> bool {
        let end = self.log.end();
        let up_to_date = (last.epoch, last.offset) >= (end.epoch, end.offset);
        let not_voted_for_other = match &self.voted {
            Some(voted) => voted.matches(candidate),
            None => self.leader().leader_id.is_none() && up_to_date,
        };
        match (&self.role, pre_vote) {
            (Role::Leader(_), _) => false,
            (Role::Follower(state), true) => {
                (!state.has_fetched || state.leader_gone) && up_to_date
            }
            (Role::Candidate(_) | Role::Resigned(_), true) => up_to_date,
            (Role::Unattached(_) | Role::Prospective(_), true) => up_to_date,
            (Role::Unattached(_) | Role::Prospective(_), false) => not_voted_for_other,
            (Role::Candidate(_) | Role::Resigned(_) | Role::Follower(_), false) => false,
        }
    }

    fn grant_vote(&mut self, now: Now, candidate: ReplicaKey, actions: &mut Vec<Action>) {
        if self.voted.is_none() {
            self.voted = Some(candidate);
            self.persist(actions);
        }
        let deadline = self.election_deadline(now);
        match &mut self.role {
            Role::Unattached(state) => state.election_deadline_us = deadline,
            Role::Prospective(state) => state.election_deadline_us = deadline,
            Role::Candidate(_) | Role::Leader(_) | Role::Resigned(_) | Role::Follower(_) => {}
        }
    }

    /// An answer to our own (pre-)vote of this epoch and state.
    pub(super) fn on_vote_response(
        &mut self,
        now: Now,
        voter_id: i32,
        pre_vote: bool,
        granted: bool,
        actions: &mut Vec<Action>,
    ) {
        let voters = self.voters.latest();
        match &mut self.role {
            Role::Prospective(state) if pre_vote => {
                if granted {
                    state.ballots.grant(voter_id);
                } else {
                    state.ballots.reject(voter_id);
                }
                if state.ballots.won(voters) {
                    self.become_candidate(now, actions);
                } else if state.ballots.lost(voters) {
                    self.lose_pre_vote(now, actions);
                }
            }
            Role::Candidate(state) if !pre_vote => {
                if granted {
                    state.ballots.grant(voter_id);
                } else {
                    state.ballots.reject(voter_id);
                }
                let waiting = state.backoff_deadline_us.is_none();
                if state.ballots.won(voters) {
                    self.become_leader(now, actions);
                } else if waiting && state.ballots.lost(voters) {
                    self.lose_vote(now);
                }
            }
            _ => {}
        }
    }

    /// A voter too old for pre-votes: stand for election without them.
    pub(super) fn on_pre_vote_unsupported(&mut self, now: Now, actions: &mut Vec<Action>) {
        if matches!(self.role, Role::Prospective(_)) {
            self.become_candidate(now, actions);
        }
    }

    pub(super) fn on_begin_request(
        &mut self,
        now: Now,
        token: u64,
        listener: &str,
        begin: BeginQuorumEpochRequest,
        actions: &mut Vec<Action>,
    ) {
        if self.refuse_cluster(token, begin.cluster_id.as_deref(), actions) {
            return;
        }
        let said = LeaderAndEpoch {
            leader_id: Some(begin.leader_id),
            epoch: begin.epoch,
        };
        let mut error = self.adopt_leader(now, said, &begin.endpoints, actions);
        if error == ErrorCode::None {
            error = self
                .check_voter_key(begin.voter)
                .err()
                .unwrap_or(ErrorCode::None);
        }
        let response = Response::BeginQuorumEpoch(self.quorum_response(error, listener));
        self.emit(Action::Reply { token, response }, actions);
    }

    pub(super) fn on_end_request(
        &mut self,
        now: Now,
        token: u64,
        listener: &str,
        end: EndQuorumEpochRequest,
        actions: &mut Vec<Action>,
    ) {
        if self.refuse_cluster(token, end.cluster_id.as_deref(), actions) {
            return;
        }
        let said = LeaderAndEpoch {
            leader_id: Some(end.leader_id),
            epoch: end.epoch,
        };
        let error = self.adopt_leader(now, said, &end.endpoints, actions);
        if error == ErrorCode::None {
            let backoff_ms = self.succession_backoff_ms(&end.preferred);
            if let Role::Follower(state) = &mut self.role {
                state.fetch_deadline_us = now.monotonic_us + backoff_ms * 1000;
                state.leader_gone = true;
            }
        }
        let response = Response::EndQuorumEpoch(self.quorum_response(error, listener));
        self.emit(Action::Reply { token, response }, actions);
    }

    /// Common part of Begin and End: checks the epoch and follows the leader it names.
    fn adopt_leader(
        &mut self,
        now: Now,
        said: LeaderAndEpoch,
        endpoints: &[super::types::Endpoint],
        actions: &mut Vec<Action>,
    ) -> ErrorCode {
        if said.epoch < self.epoch {
            return ErrorCode::FencedLeaderEpoch;
        }
        let leader_id = said.leader_id.unwrap_or(-1);
        if leader_id < 0 || leader_id == self.options.local.id {
            return ErrorCode::InvalidRequest;
        }
        let endpoint = endpoints
            .iter()
            .find(|endpoint| endpoint.name == self.options.listener_name)
            .cloned();
        self.observe(now, said, endpoint.as_ref(), actions);
        match self.leader().leader_id {
            Some(known) if known != leader_id => ErrorCode::InvalidRequest,
            _ => ErrorCode::None,
        }
    }

    /// The first of the resigning leader's candidates stands at once, later ones later.
    fn succession_backoff_ms(&self, preferred: &[ReplicaKey]) -> u64 {
        let max = self.options.election_backoff_max_ms;
        let local = self.options.local;
        match preferred.iter().position(|key| key.matches(&local)) {
            Some(0) => 0,
            Some(position) => {
                let shift = (preferred.len() - 1).min(63) as u32;
                let first = max >> shift;
                let factor = 1u64.checked_shl(position as u32 - 1).unwrap_or(u64::MAX);
                first.saturating_mul(factor).min(max)
            }
            None => max,
        }
    }

    /// Refuses a request that names another cluster.
    pub(super) fn refuse_cluster(
        &mut self,
        token: u64,
        cluster_id: Option<&str>,
        actions: &mut Vec<Action>,
    ) -> bool {
        let foreign = cluster_id.is_some_and(|id| id != self.options.cluster_id);
        if foreign {
            let response = Response::Refused {
                error: ErrorCode::InconsistentClusterId,
            };
            self.emit(Action::Reply { token, response }, actions);
        }
        foreign
    }

    /// The part every answer has: error, leader, epoch, and where the leader listens.
    pub(super) fn quorum_response(&self, error: ErrorCode, listener: &str) -> QuorumResponse {
        let leader = self.leader();
        let leader_endpoint = leader.leader_id.and_then(|id| {
            let told = match &self.role {
                Role::Follower(state) => state.leader_endpoint.clone(),
                _ => None,
            };
            self.voter_endpoint(id, listener).cloned().or(told)
        });
        QuorumResponse {
            error,
            leader,
            leader_endpoint,
        }
    }
}
