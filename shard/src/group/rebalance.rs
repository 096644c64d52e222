//! The course of a rebalance: prepare, gather members, begin a generation, expire who stays away.
//!
//! Requests that set it in motion are in `join` and `sync`; timers come from `mod.rs`.

use odradek_protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use odradek_protocol::messages::sync_group_response::SyncGroupResponse;
use odradek_protocol::{ErrorCode, StrBytes};

use super::api::{GroupResponse, join_error, sync_error};
use super::core::{Completion, Core, Step};
use super::records;
use super::state::{Group, GroupState, Parked};
use super::timers::{TimerEvent, TimerKind};

/// A fenced member's join or sync is answered with this; see [`Core::remove_member`] too.
pub(super) fn reply_join_error(
    step: &mut Step<'_>,
    parked: Parked,
    member_id: StrBytes,
    error: ErrorCode,
) {
    let response = join_error(member_id, error, parked.api_version);
    step.reply(parked.token, GroupResponse::Join(response));
}

/// Answers a sync with an error.
pub(super) fn reply_sync_error(step: &mut Step<'_>, parked: Parked, error: ErrorCode) {
    step.reply(parked.token, GroupResponse::Sync(sync_error(error)));
}

/// A join answered with the current generation.
pub(super) fn join_success(
    group: &Group,
    member_id: &StrBytes,
    with_members: bool,
    api_version: i16,
) -> JoinGroupResponse {
    let members = if with_members {
        generation_members(group)
    } else {
        Vec::new()
    };
    let protocol_name = match &group.protocol_name {
        // Up to version 6 the name cannot be null.
        None if api_version < 7 => Some(StrBytes::default()),
        name => name.clone(),
    };
    JoinGroupResponse {
        generation_id: group.generation,
        protocol_type: group.protocol_type.clone(),
        protocol_name,
        leader: group.leader.clone().unwrap_or_default(),
        member_id: member_id.clone(),
        members,
        ..Default::default()
    }
}

fn generation_members(group: &Group) -> Vec<JoinGroupResponseMember> {
    group
        .members
        .values()
        .map(|member| JoinGroupResponseMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(group.protocol_name.as_ref()),
            ..Default::default()
        })
        .collect()
}

impl Core {
    /// Begins a rebalance where one may begin; where one is under way, ends it if all are there.
    pub fn prepare_or_complete(&mut self, step: &mut Step<'_>, group: &mut Group) {
        if group.can_rebalance() {
            self.prepare_rebalance(step, group);
        } else {
            self.maybe_complete_join(step, group);
        }
    }

    /// Begins a rebalance. The first one of an empty group waits for more members to come; any other
    /// ends as soon as all known members have joined.
    pub fn prepare_rebalance(&mut self, step: &mut Step<'_>, group: &mut Group) {
        if group.state == GroupState::CompletingRebalance {
            self.reset_assignment(step, group, ErrorCode::RebalanceInProgress);
        }
        group.pending_sync.clear();
        self.cancel_group(&group.id, TimerKind::Sync);

        let is_initial = group.state == GroupState::Empty;
        if is_initial {
            let delay_ms = self.options.initial_rebalance_delay_ms;
            let remaining_ms = (group.rebalance_timeout_ms() - delay_ms).max(0);
            let event = TimerEvent::InitialDelay {
                delay_ms,
                remaining_ms,
            };
            self.schedule_group(step.now, &group.id, TimerKind::Join, delay_ms, event);
        }
        group.transition_to(GroupState::PreparingRebalance, step.now.wall_ms);
        if is_initial {
            return;
        }
        if group.has_all_members_joined() {
            self.complete_join(step, group);
        } else {
            self.schedule_join_end(step, group);
        }
    }

    /// Ends the join phase if every member is there. The first rebalance of a group only ends by
    /// time, since nobody knows how many are to come.
    pub fn maybe_complete_join(&mut self, step: &mut Step<'_>, group: &mut Group) {
        if group.state == GroupState::PreparingRebalance
            && group.has_all_members_joined()
            && group.previous_state != GroupState::Empty
        {
            self.complete_join(step, group);
        }
    }

    /// A pause of the first rebalance is over: another one if somebody new came and time is left.
    pub fn initial_delay_over(
        &mut self,
        step: &mut Step<'_>,
        group: &mut Group,
        delay_ms: i32,
        remaining_ms: i32,
    ) {
        if group.state != GroupState::PreparingRebalance {
            return;
        }
        if !group.new_member_added || remaining_ms == 0 {
            self.complete_join(step, group);
            return;
        }
        group.new_member_added = false;
        let next_delay_ms = self.options.initial_rebalance_delay_ms.min(remaining_ms);
        let event = TimerEvent::InitialDelay {
            delay_ms: next_delay_ms,
            remaining_ms: (remaining_ms - delay_ms).max(0),
        };
        self.schedule_group(step.now, &group.id, TimerKind::Join, next_delay_ms, event);
    }

    /// Ends the join phase: members that are not there go (static ones keep their place), and the
    /// next generation begins with the rest, or the group becomes empty.
    pub fn complete_join(&mut self, step: &mut Step<'_>, group: &mut Group) {
        self.cancel_group(&group.id, TimerKind::Join);
        let absent: Vec<StrBytes> = group
            .members
            .values()
            .filter(|member| member.awaiting_join.is_none() && member.instance_id.is_none())
            .map(|member| member.id.clone())
            .collect();
        for member_id in &absent {
            self.remove_member(step, group, member_id);
        }
        if !group.elect_joined_leader() && !group.members.is_empty() {
            // Only static members, none of them here: wait until one comes or their sessions end.
            self.schedule_join_end(step, group);
            return;
        }
        group.new_member_added = false;
        group.next_generation(step.now.wall_ms);
        if group.state == GroupState::Empty {
            let record = records::group(group, None);
            self.append_group(step, group, record, Completion::Nothing);
            return;
        }
        self.answer_joins(step, group);
        let event = TimerEvent::SyncExpired {
            generation: group.generation,
        };
        let timeout_ms = group.rebalance_timeout_ms();
        self.schedule_group(step.now, &group.id, TimerKind::Sync, timeout_ms, event);
    }

    fn answer_joins(&mut self, step: &mut Step<'_>, group: &mut Group) {
        let member_ids: Vec<StrBytes> = group.members.keys().cloned().collect();
        for member_id in member_ids {
            if let Some(parked) = group.take_join(&member_id) {
                let leads = group.is_leader(&member_id);
                let response = join_success(group, &member_id, leads, parked.api_version);
                step.reply(parked.token, GroupResponse::Join(response));
            }
            if let Some(member) = group.members.get_mut(&member_id) {
                member.is_new = false;
                let timeout_ms = member.session_timeout_ms;
                self.schedule_session(step.now, &group.id, &member_id, timeout_ms);
            }
            group.pending_sync.insert(member_id);
        }
        assert_eq!(
            group.awaiting_join_count, 0,
            "every parked join was answered"
        );
    }

    fn schedule_join_end(&mut self, step: &Step<'_>, group: &Group) {
        let timeout_ms = group.rebalance_timeout_ms();
        let event = TimerEvent::JoinExpired;
        self.schedule_group(step.now, &group.id, TimerKind::Join, timeout_ms, event);
    }

    /// Takes a member out of its group. A request it is parked with is answered UNKNOWN_MEMBER_ID,
    /// so that the client, if it is still there, joins anew.
    pub fn remove_member(&mut self, step: &mut Step<'_>, group: &mut Group, member_id: &StrBytes) {
        self.cancel_session(&group.id, member_id);
        let Some(member) = group.remove(member_id) else {
            return;
        };
        if let Some(parked) = member.awaiting_join {
            reply_join_error(
                step,
                parked,
                StrBytes::default(),
                ErrorCode::UnknownMemberId,
            );
        }
        if let Some(parked) = member.awaiting_sync {
            reply_sync_error(step, parked, ErrorCode::UnknownMemberId);
        }
    }

    /// A member was not heard of for its session timeout, or a pending one did not come.
    pub fn session_expired(
        &mut self,
        step: &mut Step<'_>,
        group: &mut Group,
        member_id: &StrBytes,
    ) {
        if group.pending_members.contains(member_id) {
            group.remove(member_id);
        } else {
            let Some(member) = group.members.get(member_id) else {
                return;
            };
            if member.has_satisfied_heartbeat() {
                return;
            }
            self.remove_member(step, group, member_id);
            if matches!(
                group.state,
                GroupState::Stable | GroupState::CompletingRebalance
            ) {
                self.prepare_or_complete(step, group);
                return;
            }
        }
        if group.state == GroupState::PreparingRebalance && group.has_all_members_joined() {
            self.complete_join(step, group);
        }
    }

    /// Members that have not asked for their assignment in time go, and the rest rebalances.
    pub fn sync_expired(&mut self, step: &mut Step<'_>, group: &mut Group, generation: i32) {
        let is_current = group.generation == generation
            && matches!(
                group.state,
                GroupState::CompletingRebalance | GroupState::Stable
            );
        if !is_current || group.pending_sync.is_empty() {
            return;
        }
        for member_id in std::mem::take(&mut group.pending_sync) {
            self.remove_member(step, group, &member_id);
        }
        self.prepare_rebalance(step, group);
    }

    /// Takes everyone's assignment away and tells those who wait for one.
    pub fn reset_assignment(&mut self, step: &mut Step<'_>, group: &mut Group, error: ErrorCode) {
        for member in group.members.values_mut() {
            member.assignment = Default::default();
        }
        self.propagate_assignment(step, group, error);
    }

    /// Answers every parked sync, and restarts the session of those answered: while they waited, a
    /// session that ended was let pass.
    pub fn propagate_assignment(
        &mut self,
        step: &mut Step<'_>,
        group: &mut Group,
        error: ErrorCode,
    ) {
        for member in group.members.values_mut() {
            let Some(parked) = member.awaiting_sync.take() else {
                continue;
            };
            let timeout_ms = member.session_timeout_ms;
            let response = match error {
                ErrorCode::None => SyncGroupResponse {
                    protocol_type: group.protocol_type.clone(),
                    protocol_name: group.protocol_name.clone(),
                    assignment: member.assignment.clone(),
                    ..Default::default()
                },
                error => sync_error(error),
            };
            step.reply(parked.token, GroupResponse::Sync(response));
            self.schedule_session(step.now, &group.id, &member.id, timeout_ms);
        }
    }
}
