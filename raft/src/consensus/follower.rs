//! The fetching side: answers to our Fetch, truncation, appending what a leader sent, and the
//! common rules for every answer (kraft.md 3.1 "Follower side", 3.4).

use odradek_protocol::ErrorCode;

use super::batch;
use super::drive::Sent;
use super::event::{Action, FatalReason};
use super::message::{FetchResult, QuorumResponse, Response};
use super::raft::Raft;
use super::role::{Download, DownloadStep, Role};
use super::types::{LeaderAndEpoch, Now, Peer, SnapshotId};

impl Raft {
    /// Matches an answer with its request and applies the rules of 3.4.
    pub(super) fn on_response(
        &mut self,
        now: Now,
        peer: Peer,
        correlation: u64,
        response: Response,
        actions: &mut Vec<Action>,
    ) {
        let Some(sent) = self.take_in_flight(peer, correlation) else {
            return;
        };
        let quorum = match &response {
            Response::Refused { error } => {
                return self.on_refused(now, peer, sent, *error, actions);
            }
            Response::Vote(quorum, _)
            | Response::BeginQuorumEpoch(quorum)
            | Response::EndQuorumEpoch(quorum)
            | Response::Fetch(quorum, _)
            | Response::FetchSnapshot(quorum, _) => quorum.clone(),
            Response::DescribeQuorum(_) => return self.back_off(now, peer),
        };
        if !self.accepts(now, &sent, &quorum, actions) {
            return self.back_off(now, peer);
        }
        let failed = quorum.error != ErrorCode::None;
        match (sent, response) {
            (Sent::Vote { pre_vote, .. }, Response::Vote(_, result)) => {
                let id = quorum_peer_id(peer);
                match quorum.error {
                    ErrorCode::None => {
                        self.on_vote_response(now, id, pre_vote, result.granted, actions);
                    }
                    ErrorCode::UnsupportedVersion if pre_vote => {
                        self.on_pre_vote_unsupported(now, actions);
                    }
                    _ => self.back_off(now, peer),
                }
            }
            (Sent::Begin { .. }, Response::BeginQuorumEpoch(_)) => {
                self.on_begin_response(now, peer);
            }
            (Sent::End { .. }, Response::EndQuorumEpoch(_)) => self.on_end_response(peer),
            (Sent::Fetch { .. }, Response::Fetch(_, result)) if !failed => {
                // Only the leader answers without an error, and only the one that is followed counts.
                let followed = matches!(&self.role, Role::Follower(state)
                    if quorum.leader.leader_id == Some(state.leader_id));
                if followed {
                    self.on_fetch_result(now, peer, *result, actions);
                } else {
                    self.back_off(now, peer);
                }
            }
            (Sent::FetchSnapshot { id, position, .. }, Response::FetchSnapshot(_, result)) => {
                let error = quorum.error;
                self.on_snapshot_result(now, peer, (id, position), error, result, actions);
            }
            _ => self.back_off(now, peer),
        }
    }

    /// Adopts what the answer says of epoch and leader. False when it is of no more use: it is
    /// older than this epoch, or belongs to a state that it has just ended.
    fn accepts(
        &mut self,
        now: Now,
        sent: &Sent,
        quorum: &QuorumResponse,
        actions: &mut Vec<Action>,
    ) -> bool {
        if quorum.leader.epoch < self.epoch || quorum.error == ErrorCode::UnknownLeaderEpoch {
            return false;
        }
        if matches!(
            quorum.error,
            ErrorCode::BrokerNotAvailable | ErrorCode::InvalidVoterKey
        ) {
            return false;
        }
        let said = LeaderAndEpoch {
            leader_id: quorum.leader.leader_id.filter(|id| *id >= 0),
            epoch: quorum.leader.epoch,
        };
        self.observe(now, said, quorum.leader_endpoint.as_ref(), actions);
        sent.epoch() == self.epoch
    }

    fn on_refused(
        &mut self,
        now: Now,
        peer: Peer,
        sent: Sent,
        error: ErrorCode,
        actions: &mut Vec<Action>,
    ) {
        match (sent, error) {
            (
                Sent::Vote {
                    pre_vote: true,
                    epoch,
                },
                ErrorCode::UnsupportedVersion,
            ) if epoch == self.epoch => {
                self.on_pre_vote_unsupported(now, actions);
            }
            _ => self.back_off(now, peer),
        }
    }

    fn on_begin_response(&mut self, now: Now, peer: Peer) {
        let due = now.monotonic_us + self.options.fetch_timeout_ms * 1000 / 2;
        let id = quorum_peer_id(peer);
        if let Role::Leader(leader) = &mut self.role {
            for (key, progress) in &mut leader.replicas {
                if key.id == id {
                    progress.begin_due_us = due;
                }
            }
        }
    }

    fn on_end_response(&mut self, peer: Peer) {
        if let Role::Resigned(state) = &mut self.role {
            state.acknowledged.insert(quorum_peer_id(peer));
        }
    }

    fn on_fetch_result(
        &mut self,
        now: Now,
        peer: Peer,
        result: FetchResult,
        actions: &mut Vec<Action>,
    ) {
        if let Some(at) = result.diverging {
            let to = self.log.truncation_point(at).max(0);
            return self.truncate_for_leader(now, to, actions);
        }
        if let Some(id) = result.snapshot_id {
            return self.begin_download(now, peer, id, actions);
        }
        if self.append_from_leader(&result, actions).is_err() {
            return self.back_off(now, peer);
        }
        self.note_good_answer(now);
        self.learn_high_watermark(result.high_watermark, actions);
    }

    fn truncate_for_leader(&mut self, now: Now, to: i64, actions: &mut Vec<Action>) {
        let floor = self.high_watermark.unwrap_or(self.log.start().offset);
        if to < floor {
            let reason = FatalReason::TruncationBelowHighWatermark {
                to,
                high_watermark: floor,
            };
            return self.fail(reason, actions);
        }
        if to < self.log.end().offset {
            self.truncate(to, actions);
        }
        let end = self.log.end().offset;
        if let Role::Follower(state) = &mut self.role {
            state.told_high_watermark = state.told_high_watermark.min(end);
        }
        self.note_good_answer(now);
    }

    /// Appends whole batches that follow the log end; anything else another node sent is dropped.
    fn append_from_leader(
        &mut self,
        result: &FetchResult,
        actions: &mut Vec<Action>,
    ) -> Result<(), batch::BatchFault> {
        for bytes in &result.records {
            let parsed = batch::parse_batches(bytes)?;
            for item in parsed {
                let end = self.log.end();
                if item.batch.base != end.offset
                    || item.batch.epoch < end.epoch
                    || item.batch.epoch > self.epoch
                {
                    return Err(batch::BatchFault::OutOfPlace {
                        base: item.batch.base,
                        epoch: item.batch.epoch,
                    });
                }
                self.voters
                    .append(item.batch.base, item.kraft_version, item.voters);
                self.append(item.batch, actions);
            }
        }
        Ok(())
    }

    /// min(own end, told); what is not durable here yet follows when it is.
    fn learn_high_watermark(&mut self, told: i64, actions: &mut Vec<Action>) {
        if told < 0 {
            return;
        }
        let reached = told.min(self.log.end().offset);
        if let Role::Follower(state) = &mut self.role {
            state.told_high_watermark = state.told_high_watermark.max(reached);
        }
        self.advance_follower_high_watermark(actions);
    }

    /// Takes over what the leader told, as far as it is durable here.
    pub(super) fn advance_follower_high_watermark(&mut self, actions: &mut Vec<Action>) {
        let Role::Follower(state) = &self.role else {
            return;
        };
        let to = state.told_high_watermark.min(self.durable_end());
        if to >= self.log.start().offset && to > 0 {
            self.raise_high_watermark(to, actions);
        }
    }

    /// Any good answer of the leader restarts the fetch timer.
    pub(super) fn note_good_answer(&mut self, now: Now) {
        let deadline = now.monotonic_us + self.options.fetch_timeout_ms * 1000;
        if let Role::Follower(state) = &mut self.role {
            state.has_fetched = true;
            state.leader_gone = false;
            state.fetch_deadline_us = deadline;
        }
    }

    fn begin_download(&mut self, now: Now, peer: Peer, id: SnapshotId, actions: &mut Vec<Action>) {
        if id.offset <= 0 || id.epoch < 0 || id.epoch > self.epoch {
            return self.back_off(now, peer);
        }
        if let Some(high_watermark) = self.high_watermark.filter(|mark| *mark > id.offset) {
            let reason = FatalReason::SnapshotBelowHighWatermark { id, high_watermark };
            return self.fail(reason, actions);
        }
        let stored = self.snapshots.contains_key(&id);
        let step = if stored {
            DownloadStep::Installing
        } else {
            DownloadStep::Fetching
        };
        if let Role::Follower(state) = &mut self.role {
            state.download = Some(Download {
                id,
                position: 0,
                step,
            });
        }
        if stored {
            actions.push(Action::InstallSnapshot { id });
        }
        self.note_good_answer(now);
    }

    /// The leader's process is gone (case 5): stand after a short random while.
    pub(super) fn on_peer_gone(&mut self, now: Now, id: i32) {
        let soon = now.monotonic_us + self.random() % 150_000;
        if let Role::Follower(state) = &mut self.role
            && state.leader_id == id
        {
            state.leader_gone = true;
            state.fetch_deadline_us = state.fetch_deadline_us.min(soon);
        }
    }
}

/// The node id a raft request was sent to; votes, Begin and End only go to voters by id.
fn quorum_peer_id(peer: Peer) -> i32 {
    match peer {
        Peer::Node(id) => id,
        Peer::Bootstrap(_) => -1,
    }
}
