//! What happens when an append is reported, and when the coordinator is unloaded before that.
//!
//! A failed append leaves no trace: its offsets never were, a group it would have made known is
//! dropped, a group it would have removed is back.

use odradek_protocol::messages::leave_group_response::LeaveGroupResponse;
use odradek_protocol::messages::offset_delete_response::OffsetDeleteResponse;
use odradek_protocol::{ErrorCode, StrBytes};
use odradek_wal::Now;

use super::api::{AppendId, Effect, GroupResponse, append_error};
use super::core::{Completion, GroupRef, Pending, Step, Waiting};
use super::rebalance::{reply_join_error, reply_sync_error};
use super::state::Group;
use super::{GroupCoordinator, Phase, wire};

impl GroupCoordinator {
    /// Reports an append: durable, or failed with the log's error. Appends are reported in the order
    /// of their ids; an id that is not known (unloaded meanwhile) is ignored.
    pub fn appended(
        &mut self,
        now: Now,
        append: AppendId,
        result: Result<(), ErrorCode>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(pending) = self.core.pending.remove(&append) else {
            return;
        };
        let step = &mut Step { now, effects };
        let error = match result {
            Ok(()) => ErrorCode::None,
            Err(error) => append_error(error),
        };
        let is_durable = result.is_ok();
        let Pending {
            group: group_ref,
            writes,
            completion,
            waiting,
        } = pending;
        for key in &writes {
            self.offsets.settle(append, key, is_durable);
        }
        if is_durable
            && let Some(group_ref) = &group_ref
            && let Some(group) = live(&mut self.groups, group_ref)
        {
            group.durable = true;
        }
        self.complete(step, append, group_ref.as_ref(), completion, error);
        if !is_durable && let Some(group_ref) = &group_ref {
            self.drop_unborn(step, group_ref, error);
        }
        for waiting in waiting {
            self.resume(step, waiting, error);
        }
    }

    fn complete(
        &mut self,
        step: &mut Step<'_>,
        append: AppendId,
        group_ref: Option<&GroupRef>,
        completion: Completion,
        error: ErrorCode,
    ) {
        let Self { core, groups, .. } = self;
        match completion {
            Completion::Nothing => {}
            Completion::Answer { token, response } => {
                step.reply(token, with_error(response, error));
            }
            Completion::Assignment {
                generation,
                assignments,
            } => {
                if let Some(group) = group_ref.and_then(|group_ref| live(groups, group_ref)) {
                    core.assignment_settled(step, group, generation, assignments, error);
                }
            }
            Completion::StaticSwap(swap) => {
                if let Some(group) = group_ref.and_then(|group_ref| live(groups, group_ref)) {
                    core.static_swap_settled(step, group, *swap, error);
                }
            }
            Completion::GroupDeleted { group_id, deletion } => {
                self.group_deletion_settled(append, &group_id, error);
                if let Some((number, index)) = deletion {
                    self.deletion_settled(step, number, index, error);
                }
            }
        }
    }

    fn group_deletion_settled(&mut self, append: AppendId, group_id: &StrBytes, error: ErrorCode) {
        let is_this = self
            .leaving
            .get(group_id)
            .is_some_and(|(by, _)| *by == append);
        if !is_this {
            return;
        }
        if let Some((_, group)) = self.leaving.remove(group_id)
            && error != ErrorCode::None
        {
            self.groups.entry(group_id.clone()).or_insert(group);
        }
    }

    /// A group whose records all failed was never there. Whoever is parked in it learns why.
    fn drop_unborn(&mut self, step: &mut Step<'_>, group_ref: &GroupRef, error: ErrorCode) {
        let is_awaited = self
            .core
            .pending
            .values()
            .any(|pending| pending.group.as_ref() == Some(group_ref));
        let is_unborn = live(&mut self.groups, group_ref).is_some_and(|group| !group.durable);
        if is_awaited || !is_unborn {
            return;
        }
        if let Some(group) = self.groups.remove(&group_ref.id) {
            self.core.timers.cancel_group(&group.id);
            answer_parked(step, group, error);
        }
    }

    fn resume(&mut self, step: &mut Step<'_>, waiting: Waiting, error: ErrorCode) {
        match waiting {
            Waiting::Answer { token, response } => step.reply(token, with_error(response, error)),
            // Whatever became of the commit it waited for, what is durable now is the answer.
            Waiting::Fetch { token, group } => {
                let response = self.fetched(&group);
                step.reply(token, GroupResponse::OffsetFetch(response));
            }
        }
    }

    /// Gives the partition up: every request under way is answered NOT_COORDINATOR, everything is
    /// forgotten, and requests that still come are answered the same way.
    pub fn unload(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let step = &mut Step { now, effects };
        let error = ErrorCode::NotCoordinator;
        self.phase = Phase::Unloaded;
        for (_, pending) in std::mem::take(&mut self.core.pending) {
            if let Completion::Answer { token, response } = pending.completion {
                step.reply(token, with_error(response, error));
            }
            for waiting in pending.waiting {
                match waiting {
                    Waiting::Answer { token, response } => {
                        step.reply(token, with_error(response, error));
                    }
                    Waiting::Fetch { token, group } => {
                        // Only versions that can carry a group's error ask for stable offsets.
                        let response = wire::fetch_error(&group, i16::MAX, error);
                        step.reply(token, GroupResponse::OffsetFetch(response));
                    }
                }
            }
        }
        for (_, mut deletion) in std::mem::take(&mut self.deletions) {
            for result in &mut deletion.results {
                result.error_code = error.code();
            }
            step.reply(deletion.token, GroupResponse::Delete(deletion.results));
        }
        for (_, group) in std::mem::take(&mut self.groups) {
            answer_parked(step, group, error);
        }
        self.leaving.clear();
        self.offsets.clear();
        self.core.timers.clear();
        self.expiry = Default::default();
    }
}

/// The group a completion is about, if it is still that one.
fn live<'a>(
    groups: &'a mut std::collections::BTreeMap<StrBytes, Group>,
    group_ref: &GroupRef,
) -> Option<&'a mut Group> {
    let group = groups.get_mut(&group_ref.id)?;
    (group.incarnation == group_ref.incarnation).then_some(group)
}

fn answer_parked(step: &mut Step<'_>, group: Group, error: ErrorCode) {
    for (member_id, member) in group.members {
        if let Some(parked) = member.awaiting_join {
            reply_join_error(step, parked, member_id, error);
        }
        if let Some(parked) = member.awaiting_sync {
            reply_sync_error(step, parked, error);
        }
    }
}

/// An answer that was ready for success, with an error in its place.
fn with_error(response: GroupResponse, error: ErrorCode) -> GroupResponse {
    if error == ErrorCode::None {
        return response;
    }
    match response {
        GroupResponse::OffsetCommit(mut response) => {
            for topic in &mut response.topics {
                for partition in &mut topic.partitions {
                    partition.error_code = error.code();
                }
            }
            GroupResponse::OffsetCommit(response)
        }
        GroupResponse::OffsetDelete(_) => GroupResponse::OffsetDelete(OffsetDeleteResponse {
            error_code: error.code(),
            ..Default::default()
        }),
        GroupResponse::Leave(_) => GroupResponse::Leave(LeaveGroupResponse {
            error_code: error.code(),
            ..Default::default()
        }),
        other => other,
    }
}
