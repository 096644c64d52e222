//! The only code that changes the role (kraft.md section 4): which state follows which, what is
//! persisted, which timers start. Who may vote is in `election.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::batch;
use super::event::Action;
use super::log::Batch;
use super::raft::Raft;
use super::role::{
    Ballots, Candidate, Follower, Leader, Progress, Prospective, Resigned, Role, Unattached,
};
use super::types::{Endpoint, LeaderAndEpoch, Now, ReplicaKey};
use super::voters::VoterSet;

impl Raft {
    /// The state after a restart: kraft.md section 4, "Restart".
    pub(super) fn start(&mut self, now: Now, actions: &mut Vec<Action>) {
        let found = self.quorum_state();
        let local = self.options.local;
        let voter = self.is_voter();
        let log_is_newer = self.epoch > found.epoch;
        if self.voters.latest().is_only(&local) {
            // No one else can lead or has a vote to ask for.
            return self.become_prospective(now, actions);
        }
        if log_is_newer {
            return self.set_unattached(now, None, actions);
        }
        if found.leader_id == Some(local.id) {
            if !voter {
                return self.set_unattached(now, None, actions);
            }
            self.role = Role::Resigned(Resigned {
                deadline_us: self.election_deadline(now),
                acknowledged: BTreeSet::new(),
                preferred: Vec::new(),
            });
            return self.announce(actions);
        }
        if voter && found.leader_id.is_none() && found.voted == Some(local) {
            return self.stand(now, actions);
        }
        match found.leader_id {
            Some(leader_id) if self.address_of(leader_id, None).is_some() => {
                self.set_follower(now, leader_id, None, actions);
            }
            leader_id => self.set_unattached(now, leader_id, actions),
        }
    }

    /// Adopts what a request or answer says of epoch and leader, as far as it is news.
    pub(super) fn observe(
        &mut self,
        now: Now,
        said: LeaderAndEpoch,
        endpoint: Option<&Endpoint>,
        actions: &mut Vec<Action>,
    ) {
        if said.epoch < self.epoch {
            return;
        }
        let local_id = self.options.local.id;
        if said.epoch > self.epoch {
            self.enter_epoch(said.epoch);
            if said.leader_id == Some(local_id) {
                // Told to have led an epoch we do not remember: at least never vote in it.
                self.voted = Some(self.options.local);
                return self.set_unattached(now, None, actions);
            }
        } else if said.leader_id.is_none() || said.leader_id == Some(local_id) {
            return;
        } else {
            // News only where no leader of this epoch is followed yet: the first that is named,
            // or the named one once its address is known.
            let known = self.leader().leader_id;
            let reachable = said
                .leader_id
                .is_some_and(|id| self.address_of(id, endpoint).is_some());
            let named_before =
                known == said.leader_id && matches!(self.role, Role::Unattached(_)) && reachable;
            if known.is_some() && !named_before {
                return;
            }
        }
        match said.leader_id {
            Some(id) if self.address_of(id, endpoint).is_some() => {
                self.set_follower(now, id, endpoint.cloned(), actions);
            }
            leader_id => self.set_unattached(now, leader_id, actions),
        }
    }

    /// A higher epoch without a leader.
    pub(super) fn become_unattached(&mut self, now: Now, epoch: i32, actions: &mut Vec<Action>) {
        assert!(epoch > self.epoch);
        self.enter_epoch(epoch);
        self.set_unattached(now, None, actions);
    }

    /// An epoch begins without a vote. The role must be set next; a leader's parts are kept until
    /// then, so that `announce` sees what ends.
    fn enter_epoch(&mut self, epoch: i32) {
        assert!(epoch > self.epoch, "epochs rise only");
        self.epoch = epoch;
        self.voted = None;
    }

    fn set_unattached(&mut self, now: Now, leader_id: Option<i32>, actions: &mut Vec<Action>) {
        let led = self.is_leader();
        // What is left of the last timer runs on, so that a node that keeps raising epochs
        // cannot keep all others from standing.
        let election_deadline_us = match &self.role {
            Role::Unattached(state) => state.election_deadline_us,
            Role::Prospective(state) => state.election_deadline_us,
            Role::Candidate(state) => state.election_deadline_us,
            Role::Follower(state) => state.fetch_deadline_us,
            Role::Leader(_) | Role::Resigned(_) => 0,
        };
        let election_deadline_us = if election_deadline_us <= now.monotonic_us {
            self.election_deadline(now)
        } else {
            election_deadline_us
        };
        self.replace_role(Role::Unattached(Unattached {
            leader_id,
            election_deadline_us,
        }));
        self.persist(actions);
        self.announce_end(now, led, actions);
    }

    fn set_follower(
        &mut self,
        now: Now,
        leader_id: i32,
        endpoint: Option<Endpoint>,
        actions: &mut Vec<Action>,
    ) {
        assert_ne!(leader_id, self.options.local.id);
        let led = self.is_leader();
        self.election_failures = 0;
        self.replace_role(Role::Follower(Follower {
            leader_id,
            leader_endpoint: endpoint,
            fetch_deadline_us: now.monotonic_us + self.options.fetch_timeout_ms * 1000,
            has_fetched: false,
            leader_gone: false,
            told_high_watermark: -1,
            download: None,
        }));
        self.persist(actions);
        self.announce_end(now, led, actions);
    }

    /// Asks for pre-votes. Only a voter does.
    pub(super) fn become_prospective(&mut self, now: Now, actions: &mut Vec<Action>) {
        assert!(self.is_voter());
        let led = self.is_leader();
        let leader = match &self.role {
            Role::Follower(state) => Some((state.leader_id, state.leader_endpoint.clone())),
            Role::Unattached(state) => state.leader_id.map(|id| (id, None)),
            Role::Prospective(_) | Role::Candidate(_) | Role::Leader(_) | Role::Resigned(_) => None,
        };
        let mut ballots = Ballots::default();
        ballots.grant(self.options.local.id);
        let won = ballots.won(self.voters.latest());
        let election_deadline_us = self.election_deadline(now);
        self.replace_role(Role::Prospective(Prospective {
            leader,
            ballots,
            election_deadline_us,
        }));
        self.announce_end(now, led, actions);
        if won {
            self.become_candidate(now, actions);
        }
    }

    /// The pre-vote found no majority: back to the leader of this epoch, else Unattached.
    pub(super) fn lose_pre_vote(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Role::Prospective(state) = &mut self.role else {
            return;
        };
        let leader = state.leader.take();
        state.election_deadline_us = 0;
        match leader {
            Some((id, endpoint)) if self.address_of(id, endpoint.as_ref()).is_some() => {
                self.set_follower(now, id, endpoint, actions);
            }
            leader => self.set_unattached(now, leader.map(|(id, _)| id), actions),
        }
    }

    /// Raises the epoch, votes for itself and asks for votes.
    pub(super) fn become_candidate(&mut self, now: Now, actions: &mut Vec<Action>) {
        assert!(self.is_voter());
        self.enter_epoch(self.epoch + 1);
        self.voted = Some(self.options.local);
        self.stand(now, actions);
    }

    fn stand(&mut self, now: Now, actions: &mut Vec<Action>) {
        assert_eq!(self.voted, Some(self.options.local));
        let led = self.is_leader();
        let mut ballots = Ballots::default();
        ballots.grant(self.options.local.id);
        let won = ballots.won(self.voters.latest());
        let election_deadline_us = self.election_deadline(now);
        self.replace_role(Role::Candidate(Candidate {
            ballots,
            election_deadline_us,
            backoff_deadline_us: None,
        }));
        self.persist(actions);
        self.announce_end(now, led, actions);
        if won {
            self.become_leader(now, actions);
        }
    }

    /// The vote found no majority: stand again after a random while that doubles each time.
    pub(super) fn lose_vote(&mut self, now: Now) {
        self.election_failures = (self.election_failures + 1).min(10);
        let rounds = self.random() % (1u64 << self.election_failures);
        let backoff_ms = (100 * rounds).min(self.options.election_backoff_max_ms);
        if let Role::Candidate(state) = &mut self.role {
            state.backoff_deadline_us = Some(now.monotonic_us + backoff_ms * 1000);
        }
    }

    /// A majority voted for this node: it appends the first batch of its epoch.
    pub(super) fn become_leader(&mut self, now: Now, actions: &mut Vec<Action>) {
        let granting: Vec<i32> = match &self.role {
            Role::Candidate(state) => state.ballots.granting().collect(),
            other => unreachable!("{} cannot become leader", other.name()),
        };
        assert_eq!(self.voted, Some(self.options.local));
        let led = self.is_leader();
        self.election_failures = 0;
        let epoch_start = self.log.end().offset;
        let replicas: BTreeMap<ReplicaKey, Progress> = self
            .voters
            .latest()
            .iter()
            .map(|voter| (voter.key, Progress::new(now.monotonic_us)))
            .collect();
        self.replace_role(Role::Leader(Box::new(Leader {
            epoch_start,
            high_watermark_known: false,
            replicas,
            since_us: now.monotonic_us,
        })));
        self.persist(actions);
        self.announce_end(now, led, actions);
        actions.push(Action::BecameLeader {
            epoch: self.epoch,
            start: epoch_start,
        });
        self.append_first_batch(now, &granting, actions);
    }

    fn append_first_batch(&mut self, now: Now, granting: &[i32], actions: &mut Vec<Action>) {
        let base = self.log.end().offset;
        let (kraft_version, voters) = match self.voters_to_write() {
            Some(voters) => (Some(self.voters.kraft_version()), Some(voters)),
            None => (None, None),
        };
        let voter_ids: Vec<i32> = self.voters.latest().ids().collect();
        let (bytes, records) = batch::leader_change_batch(
            base,
            self.epoch,
            now.wall_ms,
            self.options.local.id,
            &voter_ids,
            granting,
            kraft_version.zip(voters.as_ref()),
        );
        self.voters.append(base, kraft_version, voters);
        self.append(
            Batch {
                base,
                end: base + records,
                epoch: self.epoch,
                max_timestamp_ms: now.wall_ms,
                control: true,
                bytes,
            },
            actions,
        );
    }

    /// With kraft.version 1: the voters, when the log does not hold them yet or this node listens
    /// elsewhere now.
    fn voters_to_write(&self) -> Option<VoterSet> {
        if self.voters.kraft_version() < 1 {
            return None;
        }
        let latest = self.voters.latest();
        let local_id = self.options.local.id;
        let moved = !self.options.local_endpoints.is_empty()
            && latest
                .by_id(local_id)
                .is_some_and(|voter| voter.endpoints != self.options.local_endpoints);
        if moved {
            return Some(latest.with_endpoints(local_id, &self.options.local_endpoints));
        }
        let only_from_format =
            self.voters.last_change_offset().is_none() && self.snapshots.is_empty();
        only_from_format.then(|| latest.clone())
    }

    /// A leader steps down in its own epoch and tells the voters.
    pub(super) fn become_resigned(&mut self, now: Now, actions: &mut Vec<Action>) {
        let led = self.is_leader();
        let mut others: Vec<(i64, ReplicaKey)> = match &self.role {
            Role::Leader(leader) => leader
                .replicas
                .iter()
                .filter(|(key, _)| {
                    key.id != self.options.local.id && self.voters.latest().contains(key)
                })
                .map(|(key, progress)| (progress.end_offset.unwrap_or(-1), *key))
                .collect(),
            _ => return,
        };
        others.sort_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
        let preferred = others.into_iter().map(|(_, key)| key).collect();
        let deadline_us = self.election_deadline(now);
        self.replace_role(Role::Resigned(Resigned {
            deadline_us,
            acknowledged: BTreeSet::new(),
            preferred,
        }));
        self.announce_end(now, led, actions);
    }

    /// Answers on their way belong to the state that asked.
    fn replace_role(&mut self, role: Role) {
        self.role = role;
        for connection in self.connections.values_mut() {
            connection.in_flight = None;
        }
    }

    /// A random moment in one to two election time-outs.
    pub(super) fn election_deadline(&mut self, now: Now) -> u64 {
        let timeout_us = self.options.election_timeout_ms * 1000;
        now.monotonic_us + timeout_us + self.random() % timeout_us.max(1)
    }

    /// Tells the caller what a change of role means; `led` is whether this node led before it.
    fn announce_end(&mut self, now: Now, led: bool, actions: &mut Vec<Action>) {
        if led && !self.is_leader() {
            let epoch = self.led_epoch;
            actions.push(Action::LostLeadership { epoch });
            self.answer_parked(now, true, actions);
        }
        if self.is_leader() {
            self.led_epoch = self.epoch;
        }
        self.announce(actions);
    }

    fn announce(&mut self, actions: &mut Vec<Action>) {
        let leader = self.leader();
        if self.announced != Some(leader) {
            self.announced = Some(leader);
            actions.push(Action::LeaderChanged { leader });
        }
    }
}
