//! SyncGroup (versions 0 to 5), Heartbeat (0 to 4) and LeaveGroup (0 to 5).
//!
//! What they set in motion is in `rebalance`; the assignment is handed out when it is durable, from
//! `completion`.

use std::collections::BTreeMap;

use bytes::Bytes;
use odradek_protocol::messages::heartbeat_request::HeartbeatRequest;
use odradek_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use odradek_protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use odradek_protocol::messages::sync_group_request::SyncGroupRequest;
use odradek_protocol::messages::sync_group_response::SyncGroupResponse;
use odradek_protocol::{ErrorCode, StrBytes};

use super::api::{ClientContext, GroupResponse, Token, heartbeat, sync_error};
use super::core::{Completion, Core, Step, Waiting};
use super::join::check_member;
use super::rebalance::reply_sync_error;
use super::state::{Group, GroupState, Parked};
use super::timers::TimerKind;
use super::{GroupCoordinator, owned_bytes, records};

/// From this version on a sync names the protocol it believes in (KIP-559).
const SYNC_PROTOCOL_VERSION: i16 = 5;
/// From this version on one LeaveGroup names many members (KIP-345).
const LEAVE_MEMBERS_VERSION: i16 = 3;

impl GroupCoordinator {
    pub(super) fn sync(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        context: &ClientContext,
        request: SyncGroupRequest,
    ) {
        let lacks_protocol = context.api_version >= SYNC_PROTOCOL_VERSION
            && (request.protocol_type.is_none() || request.protocol_name.is_none());
        let Self { core, groups, .. } = self;
        let group = groups.get_mut(&request.group_id);
        let parked = Parked {
            token,
            api_version: context.api_version,
        };
        let checked = match group {
            _ if lacks_protocol => Err(ErrorCode::InconsistentGroupProtocol),
            _ if request.group_id.is_empty() => Err(ErrorCode::InvalidGroupId),
            None => Err(ErrorCode::UnknownMemberId),
            Some(group) => check_sync(group, &request).map(|()| group),
        };
        match checked {
            Ok(group) => core.sync_member(step, group, parked, request),
            Err(error) => step.reply(token, GroupResponse::Sync(sync_error(error))),
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        request: &HeartbeatRequest,
    ) {
        let error = match self.heartbeat_result(step, request) {
            Ok(()) => ErrorCode::None,
            Err(error) => error,
        };
        step.reply(token, GroupResponse::Heartbeat(heartbeat(error)));
    }

    fn heartbeat_result(
        &mut self,
        step: &Step<'_>,
        request: &HeartbeatRequest,
    ) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let group = self
            .groups
            .get(&request.group_id)
            .ok_or(ErrorCode::UnknownMemberId)?;
        check_member(group, &request.member_id, &request.group_instance_id)?;
        if request.generation_id != group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let member = &group.members[&request.member_id];
        self.core
            .schedule_session(step.now, &group.id, &member.id, member.session_timeout_ms);
        match group.state {
            GroupState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UnknownMemberId),
        }
    }

    pub(super) fn leave(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        context: &ClientContext,
        mut request: LeaveGroupRequest,
    ) {
        let version = context.api_version;
        if version < LEAVE_MEMBERS_VERSION {
            request.members = vec![MemberIdentity {
                member_id: request.member_id.clone(),
                ..Default::default()
            }];
        }
        if request.group_id.is_empty() {
            let response = leave_response(version, ErrorCode::InvalidGroupId, Vec::new());
            step.reply(token, response);
            return;
        }
        let Self { core, groups, .. } = self;
        let Some(group) = groups.get_mut(&request.group_id) else {
            let unknown = |identity| (identity, ErrorCode::UnknownMemberId);
            let results = request.members.into_iter().map(unknown).collect();
            step.reply(token, leave_response(version, ErrorCode::None, results));
            return;
        };
        let append_before = core.next_append();
        let mut results = Vec::with_capacity(request.members.len());
        for identity in request.members {
            let error = match core.leave_member(step, group, &identity) {
                Ok(()) => ErrorCode::None,
                Err(error) => error,
            };
            results.push((identity, error));
        }
        if results.iter().any(|(_, error)| *error == ErrorCode::None) {
            match group.state {
                GroupState::Stable | GroupState::CompletingRebalance => {
                    core.prepare_or_complete(step, group);
                }
                GroupState::PreparingRebalance => core.maybe_complete_join(step, group),
                GroupState::Empty | GroupState::Dead => {}
            }
        }
        let response = leave_response(version, ErrorCode::None, results);
        match core.pending.last_entry() {
            // The group became empty: the answer waits until that is durable.
            Some(mut last) if *last.key() >= append_before => {
                last.get_mut()
                    .waiting
                    .push(Waiting::Answer { token, response });
            }
            _ => step.reply(token, response),
        }
    }
}

impl Core {
    fn sync_member(
        &mut self,
        step: &mut Step<'_>,
        group: &mut Group,
        parked: Parked,
        request: SyncGroupRequest,
    ) {
        let member_id = &request.member_id;
        match group.state {
            GroupState::PreparingRebalance => {
                reply_sync_error(step, parked, ErrorCode::RebalanceInProgress);
            }
            GroupState::CompletingRebalance => {
                let before = group
                    .members
                    .get_mut(member_id)
                    .and_then(|member| member.awaiting_sync.replace(parked));
                if let Some(before) = before {
                    // The client has given this one up; an answer is owed all the same.
                    reply_sync_error(step, before, ErrorCode::RebalanceInProgress);
                }
                self.sync_received(group, member_id);
                if group.is_leader(member_id) {
                    self.store_assignment(step, group, &request);
                }
            }
            GroupState::Stable => {
                self.sync_received(group, member_id);
                let assignment = group.members[member_id].assignment.clone();
                let response = SyncGroupResponse {
                    protocol_type: group.protocol_type.clone(),
                    protocol_name: group.protocol_name.clone(),
                    assignment,
                    ..Default::default()
                };
                step.reply(parked.token, GroupResponse::Sync(response));
            }
            GroupState::Empty | GroupState::Dead => {
                reply_sync_error(step, parked, ErrorCode::UnknownMemberId);
            }
        }
    }

    fn sync_received(&mut self, group: &mut Group, member_id: &StrBytes) {
        group.pending_sync.remove(member_id);
        if group.pending_sync.is_empty() {
            self.cancel_group(&group.id, TimerKind::Sync);
        }
    }

    /// The leader's assignment goes to the log first; members see it once it is durable.
    fn store_assignment(
        &mut self,
        step: &mut Step<'_>,
        group: &mut Group,
        request: &SyncGroupRequest,
    ) {
        let mut assignments: BTreeMap<StrBytes, Bytes> = BTreeMap::new();
        for assignment in &request.assignments {
            // Of members named twice the last counts; strangers and the forgotten get nothing.
            if let Some((member_id, _)) = group.members.get_key_value(&assignment.member_id) {
                assignments.insert(member_id.clone(), owned_bytes(&assignment.assignment));
            }
        }
        let record = records::group(group, Some(&assignments));
        let completion = Completion::Assignment {
            generation: group.generation,
            assignments,
        };
        self.append_group(step, group, record, completion);
    }

    /// The assignment is durable, or not. If the group has moved on meanwhile, it is of no use.
    pub(super) fn assignment_settled(
        &mut self,
        step: &mut Step<'_>,
        group: &mut Group,
        generation: i32,
        mut assignments: BTreeMap<StrBytes, Bytes>,
        error: ErrorCode,
    ) {
        if group.state != GroupState::CompletingRebalance || group.generation != generation {
            return;
        }
        if error != ErrorCode::None {
            self.reset_assignment(step, group, error);
            self.prepare_or_complete(step, group);
            return;
        }
        for member in group.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
        }
        self.propagate_assignment(step, group, ErrorCode::None);
        group.transition_to(GroupState::Stable, step.now.wall_ms);
        self.rebalances_completed += 1;
    }

    fn leave_member(
        &mut self,
        step: &mut Step<'_>,
        group: &mut Group,
        identity: &MemberIdentity,
    ) -> Result<(), ErrorCode> {
        let member_id = if identity.member_id.is_empty() {
            // An administrator removes a static member by its instance id alone.
            let instance_id = identity
                .group_instance_id
                .as_ref()
                .ok_or(ErrorCode::UnknownMemberId)?;
            let owner = group.static_members.get(instance_id);
            owner.cloned().ok_or(ErrorCode::UnknownMemberId)?
        } else {
            if !group.pending_members.contains(&identity.member_id) {
                check_member(group, &identity.member_id, &identity.group_instance_id)?;
            }
            identity.member_id.clone()
        };
        self.remove_member(step, group, &member_id);
        Ok(())
    }
}

fn check_sync(group: &Group, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
    check_member(group, &request.member_id, &request.group_instance_id)?;
    if request.generation_id != group.generation {
        return Err(ErrorCode::IllegalGeneration);
    }
    let differs = |asked: &Option<StrBytes>, is: &Option<StrBytes>| {
        asked.is_some() && is.is_some() && asked != is
    };
    if differs(&request.protocol_type, &group.protocol_type)
        || differs(&request.protocol_name, &group.protocol_name)
    {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    Ok(())
}

/// Up to version 2 there is one member, and its error is the answer's own.
fn leave_response(
    api_version: i16,
    error: ErrorCode,
    results: Vec<(MemberIdentity, ErrorCode)>,
) -> GroupResponse {
    if api_version < LEAVE_MEMBERS_VERSION {
        let error = match results.first() {
            Some((_, member_error)) if error == ErrorCode::None => *member_error,
            _ => error,
        };
        return GroupResponse::Leave(LeaveGroupResponse {
            error_code: error.code(),
            ..Default::default()
        });
    }
    let members = results
        .into_iter()
        .map(|(identity, error)| MemberResponse {
            member_id: identity.member_id,
            group_instance_id: identity.group_instance_id,
            error_code: error.code(),
            ..Default::default()
        })
        .collect();
    GroupResponse::Leave(LeaveGroupResponse {
        error_code: error.code(),
        members,
        ..Default::default()
    })
}
