//! JoinGroup, versions 0 to 9: new and returning, dynamic and static members.
//!
//! What a join sets in motion is in `rebalance`.

use bytes::Bytes;
use odradek_protocol::messages::join_group_request::JoinGroupRequest;
use odradek_protocol::{ErrorCode, StrBytes};

use super::api::{ClientContext, GroupRequest, GroupResponse, Token};
use super::core::{Completion, Core, NEW_MEMBER_JOIN_TIMEOUT_MS, StaticSwap, Step};
use super::rebalance::{join_success, reply_join_error, reply_sync_error};
use super::state::{Group, GroupState, Member, MemberProtocol, Parked};
use super::{GroupCoordinator, owned, owned_bytes, records};

/// From this version on a dynamic member is told its id first and joins with it (KIP-394).
const KNOWN_MEMBER_ID_VERSION: i16 = 4;
/// From this version on a leader may be told to leave the assignment as it is (KIP-814).
const SKIP_ASSIGNMENT_VERSION: i16 = 9;

/// A join on its way in. Its strings and bytes are copies: the request's own share the buffer they
/// arrived in, which must not live as long as a member.
struct Joining {
    parked: Parked,
    member_id: StrBytes,
    instance_id: Option<StrBytes>,
    client_id: StrBytes,
    client_host: StrBytes,
    protocol_type: StrBytes,
    protocols: Vec<MemberProtocol>,
    rebalance_timeout_ms: i32,
    session_timeout_ms: i32,
}

impl Joining {
    fn new(token: Token, context: &ClientContext, request: &JoinGroupRequest) -> Joining {
        let mut protocols: Vec<MemberProtocol> = Vec::with_capacity(request.protocols.len());
        for protocol in &request.protocols {
            // A protocol named twice counts once, or its votes could not add up.
            if protocols.iter().all(|known| known.name != protocol.name) {
                protocols.push(MemberProtocol {
                    name: owned(&protocol.name),
                    metadata: owned_bytes(&protocol.metadata),
                });
            }
        }
        Joining {
            parked: Parked {
                token,
                api_version: context.api_version,
            },
            member_id: owned(&request.member_id),
            instance_id: request.group_instance_id.as_ref().map(owned),
            client_id: owned(&context.client_id),
            client_host: owned(&context.client_host),
            protocol_type: owned(&request.protocol_type),
            protocols,
            // Version 0 has one timeout for both.
            rebalance_timeout_ms: match context.api_version {
                0 => request.session_timeout_ms,
                _ => request.rebalance_timeout_ms,
            },
            session_timeout_ms: request.session_timeout_ms,
        }
    }

    fn refuse(self, step: &mut Step<'_>, error: ErrorCode) {
        reply_join_error(step, self.parked, self.member_id, error);
    }

    fn refuse_unnamed(self, step: &mut Step<'_>, error: ErrorCode) {
        reply_join_error(step, self.parked, StrBytes::default(), error);
    }
}

impl GroupCoordinator {
    pub(super) fn join(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        context: &ClientContext,
        request: JoinGroupRequest,
    ) {
        let options = &self.core.options;
        let sessions = options.min_session_timeout_ms..=options.max_session_timeout_ms;
        let refusal = if request.group_id.is_empty() {
            Some(ErrorCode::InvalidGroupId)
        } else if !sessions.contains(&request.session_timeout_ms) {
            Some(ErrorCode::InvalidSessionTimeout)
        } else if !self.groups.contains_key(&request.group_id) && !request.member_id.is_empty() {
            Some(ErrorCode::UnknownMemberId)
        } else {
            None
        };
        if let Some(error) = refusal {
            let response = GroupRequest::Join(request).refuse(context.api_version, error);
            step.reply(token, response);
            return;
        }
        let joining = Joining::new(token, context, &request);
        let is_new_group = !self.groups.contains_key(&request.group_id);
        let (core, group) = self.group_or_new(step, &request.group_id);
        let append_before = core.next_append();
        core.admit(step, group, joining);
        if is_new_group && core.next_append() == append_before {
            // The group must be in the log before anybody else may see it.
            let record = records::empty_group(group);
            core.append_group(step, group, record, Completion::Nothing);
        }
    }
}

impl Core {
    fn admit(&mut self, step: &mut Step<'_>, group: &mut Group, joining: Joining) {
        if !self.accepts(group, &joining.member_id) {
            self.remove_member(step, group, &joining.member_id.clone());
            joining.refuse_unnamed(step, ErrorCode::GroupMaxSizeReached);
            return;
        }
        let is_unknown = joining.member_id.is_empty();
        let names = joining.protocols.iter().map(|protocol| &*protocol.name);
        if !group.supports(&joining.protocol_type, names) {
            joining.refuse(step, ErrorCode::InconsistentGroupProtocol);
        } else if is_unknown {
            self.join_new(step, group, joining);
        } else if group.pending_members.contains(&joining.member_id) {
            if joining.instance_id.is_some() {
                // Only dynamic members are ever pending.
                joining.refuse(step, ErrorCode::UnknownServerError);
                return;
            }
            let member_id = joining.member_id.clone();
            self.add_member(step, group, member_id, joining);
        } else {
            self.join_again(step, group, joining);
        }
    }

    /// Whether there is room. While members gather, those that are already parked count, so that the
    /// last to come back are the ones turned away after the bound was lowered.
    fn accepts(&self, group: &Group, member_id: &StrBytes) -> bool {
        let members_max = usize::try_from(self.options.members_max).unwrap_or(0);
        let member = group.members.get(member_id);
        match group.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                member.is_some_and(|member| member.awaiting_join.is_some())
                    || group.awaiting_join_count < members_max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                member.is_some() || group.members.len() < members_max
            }
        }
    }

    fn join_new(&mut self, step: &mut Step<'_>, group: &mut Group, joining: Joining) {
        match &joining.instance_id {
            Some(instance_id) => {
                let new_id = self.unused_member_id(group, instance_id);
                match group.static_members.get(instance_id).cloned() {
                    Some(old_id) => self.replace_static(step, group, old_id, new_id, joining),
                    None => self.add_member(step, group, new_id, joining),
                }
            }
            None if joining.parked.api_version >= KNOWN_MEMBER_ID_VERSION => {
                if group.pending_members.len() >= self.options.pending_members_max {
                    joining.refuse_unnamed(step, ErrorCode::GroupMaxSizeReached);
                    return;
                }
                let new_id = self.unused_member_id(group, &joining.client_id);
                group.pending_members.insert(new_id.clone());
                let timeout_ms = joining.session_timeout_ms;
                self.schedule_session(step.now, &group.id, &new_id, timeout_ms);
                reply_join_error(step, joining.parked, new_id, ErrorCode::MemberIdRequired);
            }
            None => {
                let new_id = self.unused_member_id(group, &joining.client_id);
                self.add_member(step, group, new_id, joining);
            }
        }
    }

    /// A new member id. Members read back from the log had theirs from another incarnation; should
    /// both have been given the same random bits, ids that are taken are passed over.
    fn unused_member_id(&mut self, group: &Group, prefix: &str) -> StrBytes {
        loop {
            let id = self.member_id(prefix);
            if !group.members.contains_key(&id) && !group.pending_members.contains(&id) {
                return id;
            }
        }
    }

    fn add_member(
        &mut self,
        step: &mut Step<'_>,
        group: &mut Group,
        member_id: StrBytes,
        joining: Joining,
    ) {
        // Somebody new while the first rebalance waits: it may wait longer for the rest.
        if group.state == GroupState::PreparingRebalance
            && group.previous_state == GroupState::Empty
        {
            group.new_member_added = true;
        }
        group.add(Member {
            id: member_id.clone(),
            instance_id: joining.instance_id,
            client_id: joining.client_id,
            client_host: joining.client_host,
            rebalance_timeout_ms: joining.rebalance_timeout_ms,
            session_timeout_ms: joining.session_timeout_ms,
            protocol_type: joining.protocol_type,
            protocols: joining.protocols,
            assignment: Bytes::new(),
            awaiting_join: Some(joining.parked),
            awaiting_sync: None,
            is_new: true,
        });
        // A new member cannot send heartbeats while its join is parked, and a connection that is gone
        // cannot be noticed: without this bound, every retry would leave a dead member behind.
        self.schedule_session(step.now, &group.id, &member_id, NEW_MEMBER_JOIN_TIMEOUT_MS);
        self.prepare_or_complete(step, group);
    }

    /// A member the group knows, or says it does.
    fn join_again(&mut self, step: &mut Step<'_>, group: &mut Group, joining: Joining) {
        if let Err(error) = check_member(group, &joining.member_id, &joining.instance_id) {
            joining.refuse(step, error);
            return;
        }
        let member = &group.members[&joining.member_id];
        let is_unchanged = member.protocols == joining.protocols;
        let leads = group.is_leader(&joining.member_id);
        let keeps_generation = match group.state {
            // It probably missed the answer to its first join.
            GroupState::CompletingRebalance => is_unchanged,
            // A leader that joins again wants a rebalance: the topics may have changed.
            GroupState::Stable => is_unchanged && !leads,
            GroupState::PreparingRebalance => false,
            GroupState::Empty | GroupState::Dead => {
                joining.refuse(step, ErrorCode::UnknownMemberId);
                return;
            }
        };
        if keeps_generation {
            let api_version = joining.parked.api_version;
            let response = join_success(group, &joining.member_id, leads, api_version);
            step.reply(joining.parked.token, GroupResponse::Join(response));
            return;
        }
        let Joining {
            parked,
            member_id,
            protocols,
            ..
        } = joining;
        let (rebalance, session) = (joining.rebalance_timeout_ms, joining.session_timeout_ms);
        let before = group.update_member(&member_id, protocols, rebalance, session, Some(parked));
        if let Some(before) = before {
            // The client has given this one up; an answer is owed all the same.
            reply_join_error(step, before, member_id, ErrorCode::RebalanceInProgress);
        }
        self.prepare_or_complete(step, group);
    }

    /// A static member came back without its id: it gets a new one and takes over the old one's
    /// place. In a stable group whose protocol stays the same nobody else notices.
    fn replace_static(
        &mut self,
        step: &mut Step<'_>,
        group: &mut Group,
        old_id: StrBytes,
        new_id: StrBytes,
        joining: Joining,
    ) {
        let old_leader = group.leader.clone();
        let Some(old) = group.rename_static(&old_id, &new_id) else {
            joining.refuse(step, ErrorCode::UnknownServerError);
            return;
        };
        if let Some(parked) = old.awaiting_join {
            reply_join_error(step, parked, old_id.clone(), ErrorCode::FencedInstanceId);
        }
        if let Some(parked) = old.awaiting_sync {
            reply_sync_error(step, parked, ErrorCode::FencedInstanceId);
        }
        self.cancel_session(&group.id, &old_id);
        self.schedule_session(step.now, &group.id, &new_id, old.session_timeout_ms);
        let Joining {
            parked,
            instance_id,
            protocols,
            ..
        } = joining;
        let (rebalance, session) = (joining.rebalance_timeout_ms, joining.session_timeout_ms);
        group.update_member(&new_id, protocols, rebalance, session, Some(parked));

        match group.state {
            GroupState::Stable if group.select_protocol() == group.protocol_name => {
                let record = records::group(group, None);
                let swap = StaticSwap {
                    old_id,
                    new_id,
                    instance_id: instance_id.unwrap_or_default(),
                    old_protocols: old.protocols,
                    old_rebalance_timeout_ms: old.rebalance_timeout_ms,
                    old_session_timeout_ms: old.session_timeout_ms,
                    token: parked.token,
                    api_version: parked.api_version,
                    old_leader,
                };
                self.append_group(step, group, record, Completion::StaticSwap(Box::new(swap)));
            }
            GroupState::Stable => self.prepare_or_complete(step, group),
            // The old id may already be in the leader's hands: its assignment would go to nobody.
            GroupState::CompletingRebalance => self.prepare_rebalance(step, group),
            _ => self.maybe_complete_join(step, group),
        }
    }

    /// The new id of a static member is durable, or not. If a rebalance has begun meanwhile the
    /// member takes part in it like any other, and its join is answered there.
    pub(super) fn static_swap_settled(
        &mut self,
        step: &mut Step<'_>,
        group: &mut Group,
        swap: StaticSwap,
        error: ErrorCode,
    ) {
        let is_waiting = group.members.get(&swap.new_id).is_some_and(|member| {
            member
                .awaiting_join
                .is_some_and(|parked| parked.token == swap.token)
        });
        if !is_waiting || group.state != GroupState::Stable {
            return;
        }
        group.take_join(&swap.new_id);
        if error == ErrorCode::None {
            let leads = group.is_leader(&swap.new_id);
            let can_skip = swap.api_version >= SKIP_ASSIGNMENT_VERSION;
            let mut response =
                join_success(group, &swap.new_id, leads && can_skip, swap.api_version);
            if can_skip {
                response.skip_assignment = leads;
            } else {
                response.leader = swap.old_leader.unwrap_or_default();
            }
            step.reply(swap.token, GroupResponse::Join(response));
            return;
        }
        let mut response = join_success(group, &StrBytes::default(), false, swap.api_version);
        response.error_code = error.code();
        response.leader = swap.old_leader.unwrap_or_default();
        step.reply(swap.token, GroupResponse::Join(response));
        let (rebalance, session) = (swap.old_rebalance_timeout_ms, swap.old_session_timeout_ms);
        group.update_member(&swap.new_id, swap.old_protocols, rebalance, session, None);
        if let Some(renamed) = group.rename_static(&swap.new_id, &swap.old_id)
            && let Some(parked) = renamed.awaiting_sync
        {
            reply_sync_error(step, parked, ErrorCode::UnknownMemberId);
        }
        debug_assert!(group.static_members.get(&swap.instance_id) == Some(&swap.old_id));
        self.cancel_session(&group.id, &swap.new_id);
        self.schedule_session(step.now, &group.id, &swap.old_id, session);
    }
}

/// Whether the group has this member, and whether its instance id is still its own.
pub(super) fn check_member(
    group: &Group,
    member_id: &StrBytes,
    instance_id: &Option<StrBytes>,
) -> Result<(), ErrorCode> {
    if let Some(instance_id) = instance_id {
        match group.static_members.get(instance_id) {
            None => return Err(ErrorCode::UnknownMemberId),
            Some(owner) if owner != member_id => return Err(ErrorCode::FencedInstanceId),
            Some(_) => {}
        }
    }
    if group.members.contains_key(member_id) {
        Ok(())
    } else {
        Err(ErrorCode::UnknownMemberId)
    }
}
