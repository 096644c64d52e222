//! One classic group: its members, what they voted for, and the state they are in.
//!
//! Nothing here knows of requests, timers or records: those are in `join`, `sync` and `records`.
//! Everything but committed offsets lives here; what of it is durable is the last group record.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use odradek_protocol::StrBytes;

use super::api::Token;
use super::records;

/// The protocol type of consumers; only its subscriptions are understood here.
pub(super) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// The states of a classic group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members; committed offsets may exist.
    Empty,
    /// Members are to join (again).
    PreparingRebalance,
    /// All have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Every member can have its assignment.
    Stable,
    /// The group is gone; only seen in answers.
    Dead,
}

impl GroupState {
    /// The state as Kafka's tools print it.
    pub fn as_str(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }
}

/// A request that waits for the group, with the version its answer must be written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parked {
    pub token: Token,
    pub api_version: i16,
}

/// One protocol (for consumers: an assignor) a member supports, and what it says to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberProtocol {
    pub name: StrBytes,
    pub metadata: Bytes,
}

/// A member that has joined.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub id: StrBytes,
    /// `group.instance.id`; a static member keeps its place over restarts.
    pub instance_id: Option<StrBytes>,
    pub client_id: StrBytes,
    pub client_host: StrBytes,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub protocol_type: StrBytes,
    /// In the member's order of preference.
    pub protocols: Vec<MemberProtocol>,
    pub assignment: Bytes,
    pub awaiting_join: Option<Parked>,
    pub awaiting_sync: Option<Parked>,
    /// It has not seen a generation yet: while so, even a parked join may expire.
    pub is_new: bool,
}

impl Member {
    /// What the member says to a protocol; empty when it does not support it.
    pub fn metadata(&self, protocol: Option<&StrBytes>) -> Bytes {
        self.protocols
            .iter()
            .find(|entry| Some(&entry.name) == protocol)
            .map(|entry| entry.metadata.clone())
            .unwrap_or_default()
    }

    /// Whether silence is to be expected of it: it waits for us, not we for it.
    pub fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}

/// A classic group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub id: StrBytes,
    /// Tells this group from an earlier one of the same name that was deleted.
    pub incarnation: u64,
    pub state: GroupState,
    pub previous_state: GroupState,
    /// When the state was entered, wall clock; none in groups loaded from old records.
    pub state_timestamp_ms: Option<i64>,
    pub generation: i32,
    pub protocol_type: Option<StrBytes>,
    pub protocol_name: Option<StrBytes>,
    pub leader: Option<StrBytes>,
    pub members: BTreeMap<StrBytes, Member>,
    /// Instance id to member id.
    pub static_members: BTreeMap<StrBytes, StrBytes>,
    /// Ids that were given out and not used yet.
    pub pending_members: BTreeSet<StrBytes>,
    /// Members that have not asked for the assignment of this generation.
    pub pending_sync: BTreeSet<StrBytes>,
    /// Members parked in the join phase.
    pub awaiting_join_count: usize,
    /// Somebody new came during the first rebalance, which may prolong it.
    pub new_member_added: bool,
    /// Topics all members together subscribe to; none when that is not known.
    pub subscribed_topics: Option<BTreeSet<StrBytes>>,
    /// Some record that shows the group exists is durable; until then it is not listed.
    pub durable: bool,
    supported_protocols: BTreeMap<StrBytes, usize>,
}

impl Group {
    /// A new, empty group that nobody else can see yet.
    pub fn new(id: StrBytes, incarnation: u64, now_wall_ms: i64) -> Group {
        Group {
            id,
            incarnation,
            state: GroupState::Empty,
            previous_state: GroupState::Dead,
            state_timestamp_ms: Some(now_wall_ms),
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_members: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            awaiting_join_count: 0,
            new_member_added: false,
            subscribed_topics: None,
            durable: false,
            supported_protocols: BTreeMap::new(),
        }
    }

    /// Enters a state.
    pub fn transition_to(&mut self, state: GroupState, now_wall_ms: i64) {
        self.previous_state = self.state;
        self.state = state;
        self.state_timestamp_ms = Some(now_wall_ms);
    }

    /// Whether a rebalance may begin from here; in PreparingRebalance one is under way.
    pub fn can_rebalance(&self) -> bool {
        matches!(
            self.state,
            GroupState::Empty | GroupState::CompletingRebalance | GroupState::Stable
        )
    }

    /// Whether the member is the leader.
    pub fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Whether the group is one of consumers.
    pub fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Whether every member is parked in the join phase and none is still to come with its id.
    pub fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join_count && self.pending_members.is_empty()
    }

    /// The longest rebalance timeout of all members, in milliseconds, at least 0.
    pub fn rebalance_timeout_ms(&self) -> i32 {
        self.members
            .values()
            .map(|member| member.rebalance_timeout_ms)
            .max()
            .unwrap_or(0)
            .max(0)
    }

    /// Whether a member of this type and these protocols can be part of the group: the type is the
    /// group's, and at least one protocol is supported by all.
    pub fn supports<'a>(
        &self,
        protocol_type: &str,
        mut names: impl Iterator<Item = &'a str>,
    ) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && names.next().is_some();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && names.any(|name| {
                self.supported_protocols.get(name).copied().unwrap_or(0) == self.members.len()
            })
    }

    /// The protocol most members prefer among those all support. A tie goes to the smaller name.
    pub fn select_protocol(&self) -> Option<StrBytes> {
        let everyone = self.members.len();
        let is_candidate =
            |name: &StrBytes| self.supported_protocols.get(name).copied() == Some(everyone);
        let mut votes: BTreeMap<&StrBytes, usize> = BTreeMap::new();
        for member in self.members.values() {
            let choice = member
                .protocols
                .iter()
                .find(|protocol| is_candidate(&protocol.name));
            if let Some(protocol) = choice {
                *votes.entry(&protocol.name).or_insert(0) += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(name, _)| name.clone())
    }

    /// Takes a member in; its id is not pending any more. The first one leads.
    pub fn add(&mut self, member: Member) {
        if self.members.is_empty() {
            self.protocol_type = Some(member.protocol_type.clone());
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members
                .insert(instance_id.clone(), member.id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.count_protocols(&member.protocols, true);
        if member.awaiting_join.is_some() {
            self.awaiting_join_count += 1;
        }
        self.pending_members.remove(&member.id);
        let replaced = self.members.insert(member.id.clone(), member);
        assert!(replaced.is_none(), "a member id is given out once");
    }

    /// Takes a member out, or forgets a pending one; whoever is first in order leads if it led.
    pub fn remove(&mut self, member_id: &StrBytes) -> Option<Member> {
        let removed = self.members.remove(member_id);
        if let Some(member) = &removed {
            self.count_protocols(&member.protocols, false);
            if member.awaiting_join.is_some() {
                self.awaiting_join_count -= 1;
            }
            if let Some(instance_id) = &member.instance_id {
                self.static_members.remove(instance_id);
            }
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_members.remove(member_id);
        self.pending_sync.remove(member_id);
        removed
    }

    /// Gives a static member a new id, keeping all else but what it was waiting for.
    pub fn rename_static(&mut self, old_id: &StrBytes, new_id: &StrBytes) -> Option<Member> {
        let old = self.members.remove(old_id)?;
        if old.awaiting_join.is_some() {
            self.awaiting_join_count -= 1;
        }
        let mut member = old.clone();
        member.id = new_id.clone();
        member.awaiting_join = None;
        member.awaiting_sync = None;
        member.is_new = false;
        if let Some(instance_id) = &member.instance_id {
            self.static_members
                .insert(instance_id.clone(), new_id.clone());
        }
        self.members.insert(new_id.clone(), member);
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(new_id.clone());
        }
        Some(old)
    }

    /// Replaces what a member joined with; gives back the join it was parked with before, if any.
    pub fn update_member(
        &mut self,
        member_id: &StrBytes,
        protocols: Vec<MemberProtocol>,
        rebalance_timeout_ms: i32,
        session_timeout_ms: i32,
        parked: Option<Parked>,
    ) -> Option<Parked> {
        let member = self.members.get_mut(member_id)?;
        let old_protocols = std::mem::replace(&mut member.protocols, protocols.clone());
        member.rebalance_timeout_ms = rebalance_timeout_ms;
        member.session_timeout_ms = session_timeout_ms;
        let before = std::mem::replace(&mut member.awaiting_join, parked);
        match (before.is_some(), parked.is_some()) {
            (false, true) => self.awaiting_join_count += 1,
            (true, false) => self.awaiting_join_count -= 1,
            _ => {}
        }
        self.count_protocols(&old_protocols, false);
        self.count_protocols(&protocols, true);
        before
    }

    /// Takes the parked join of a member.
    pub fn take_join(&mut self, member_id: &str) -> Option<Parked> {
        let parked = self.members.get_mut(member_id)?.awaiting_join.take();
        if parked.is_some() {
            self.awaiting_join_count -= 1;
        }
        parked
    }

    /// Makes sure that the leader has joined: if it has not, the first member that has leads. False
    /// when nobody has joined, or when there is nobody.
    pub fn elect_joined_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else {
            return false;
        };
        if self
            .members
            .get(leader)
            .is_some_and(|member| member.awaiting_join.is_some())
        {
            return true;
        }
        let joined = self
            .members
            .values()
            .find(|member| member.awaiting_join.is_some());
        match joined.map(|member| member.id.clone()) {
            Some(member_id) => {
                self.leader = Some(member_id);
                true
            }
            None => false,
        }
    }

    /// Begins the next generation with whoever is in the group.
    pub fn next_generation(&mut self, now_wall_ms: i64) {
        self.generation = self.generation.wrapping_add(1);
        if self.members.is_empty() {
            self.protocol_name = None;
            self.transition_to(GroupState::Empty, now_wall_ms);
        } else {
            self.protocol_name = self.select_protocol();
            self.transition_to(GroupState::CompletingRebalance, now_wall_ms);
        }
        self.subscribed_topics = self.compute_subscribed_topics();
        self.pending_sync.clear();
    }

    /// Whether the group reads a topic. A group of consumers whose subscriptions cannot be read is
    /// taken to read every topic, so that nothing it may need is removed.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    /// The topics of all members' subscriptions; none when they are not consumers, have chosen no
    /// protocol, or a subscription cannot be read.
    pub fn compute_subscribed_topics(&self) -> Option<BTreeSet<StrBytes>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        if self.members.is_empty() {
            return Some(topics);
        }
        let protocol = self.protocol_name.as_ref()?;
        for member in self.members.values() {
            topics.extend(records::subscribed_topics(
                &member.metadata(Some(protocol)),
            )?);
        }
        Some(topics)
    }

    fn count_protocols(&mut self, protocols: &[MemberProtocol], add: bool) {
        for protocol in protocols {
            let count = self
                .supported_protocols
                .entry(protocol.name.clone())
                .or_insert(0);
            if add {
                *count += 1;
            } else {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.supported_protocols.remove(&protocol.name);
                }
            }
        }
    }
}
