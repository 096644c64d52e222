//! DescribeGroups (versions 0 to 6), ListGroups (0 to 5) and DeleteGroups (0 to 2).
//!
//! These look at the groups that are durable: a group whose first record is under way is not there
//! yet, one whose tombstone is under way still is. Taking offsets with a group is in `expiry`.

use odradek_protocol::messages::delete_groups_response::DeletableGroupResult;
use odradek_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use odradek_protocol::messages::list_groups_response::ListedGroup;
use odradek_protocol::{ErrorCode, StrBytes};

use super::GroupCoordinator;
use super::api::{ClientContext, GroupResponse, Token};
use super::core::Step;
use super::state::{Group, GroupState, Member};

/// From this version on a group that is not there is an error, not a dead group.
const GROUP_NOT_FOUND_VERSION: i16 = 6;
const GROUP_TYPE: &str = "classic";

/// A DeleteGroups request whose groups are being removed.
#[derive(Debug)]
pub(super) struct Deletion {
    pub token: Token,
    pub results: Vec<DeletableGroupResult>,
    pub outstanding: usize,
}

impl GroupCoordinator {
    pub(super) fn describe(
        &self,
        step: &mut Step<'_>,
        token: Token,
        context: &ClientContext,
        group_ids: &[StrBytes],
    ) {
        let describe = |group_id: &StrBytes| match self.visible_group(group_id) {
            Some(group) => described(group),
            None => not_found(group_id, context.api_version),
        };
        let groups = group_ids.iter().map(describe).collect();
        step.reply(token, GroupResponse::Describe(groups));
    }

    pub(super) fn list(
        &self,
        step: &mut Step<'_>,
        token: Token,
        states: &[StrBytes],
        types: &[StrBytes],
    ) {
        let wanted = |filter: &[StrBytes], text: &str| {
            filter.is_empty() || filter.iter().any(|entry| entry.eq_ignore_ascii_case(text))
        };
        let mut groups: Vec<&Group> = Vec::new();
        if wanted(types, GROUP_TYPE) {
            groups.extend(self.groups.values().filter(|group| group.durable));
            let leaving = self.leaving.values().map(|(_, group)| group);
            groups.extend(leaving.filter(|group| {
                self.groups
                    .get(&group.id)
                    .is_none_or(|successor| !successor.durable)
            }));
            groups.retain(|group| wanted(states, group.state.as_str()));
            groups.sort_by(|left, right| left.id.cmp(&right.id));
        }
        let groups = groups.into_iter().map(listed).collect();
        step.reply(
            token,
            GroupResponse::List {
                error: ErrorCode::None,
                groups,
            },
        );
    }

    pub(super) fn delete(&mut self, step: &mut Step<'_>, token: Token, group_ids: &[StrBytes]) {
        let number = self.next_deletion;
        self.next_deletion += 1;
        let mut results: Vec<DeletableGroupResult> = Vec::with_capacity(group_ids.len());
        let mut accepted: Vec<(usize, StrBytes)> = Vec::new();
        for group_id in group_ids {
            if results.iter().any(|result| result.group_id == *group_id) {
                continue;
            }
            let error = match self.groups.get(group_id) {
                None => ErrorCode::GroupIdNotFound,
                Some(group) if group.state != GroupState::Empty => ErrorCode::NonEmptyGroup,
                Some(group) => {
                    accepted.push((results.len(), group.id.clone()));
                    ErrorCode::None
                }
            };
            results.push(DeletableGroupResult {
                group_id: group_id.clone(),
                error_code: error.code(),
                ..Default::default()
            });
        }
        if accepted.is_empty() {
            step.reply(token, GroupResponse::Delete(results));
            return;
        }
        let outstanding = accepted.len();
        self.deletions.insert(
            number,
            Deletion {
                token,
                results,
                outstanding,
            },
        );
        for (index, group_id) in accepted {
            let keys = self.offsets.keys_of(&group_id);
            self.offsets_deleted += keys.len() as u64;
            self.remove_group(step, &group_id, keys, Some((number, index)));
        }
    }

    /// One group of a deletion is gone, or could not be removed; with the last the answer goes out.
    pub(super) fn deletion_settled(
        &mut self,
        step: &mut Step<'_>,
        number: u64,
        index: usize,
        error: ErrorCode,
    ) {
        let Some(deletion) = self.deletions.get_mut(&number) else {
            return;
        };
        deletion.results[index].error_code = error.code();
        deletion.outstanding -= 1;
        if deletion.outstanding == 0
            && let Some(deletion) = self.deletions.remove(&number)
        {
            step.reply(deletion.token, GroupResponse::Delete(deletion.results));
        }
    }

    fn visible_group(&self, group_id: &StrBytes) -> Option<&Group> {
        match self.groups.get(group_id) {
            Some(group) if group.durable => Some(group),
            _ => self.leaving.get(group_id).map(|(_, group)| group),
        }
    }
}

fn described(group: &Group) -> DescribedGroup {
    let is_stable = group.state == GroupState::Stable;
    let members = group
        .members
        .values()
        .map(|member| described_member(group, member, is_stable));
    DescribedGroup {
        group_id: group.id.clone(),
        group_state: StrBytes::from_static(group.state.as_str()),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        protocol_data: match is_stable {
            true => group.protocol_name.clone().unwrap_or_default(),
            false => StrBytes::default(),
        },
        members: members.collect(),
        ..Default::default()
    }
}

/// A member's metadata belongs to the protocol chosen, so it is only told while one holds.
fn described_member(group: &Group, member: &Member, is_stable: bool) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: member.id.clone(),
        group_instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        member_metadata: match is_stable {
            true => member.metadata(group.protocol_name.as_ref()),
            false => Default::default(),
        },
        member_assignment: member.assignment.clone(),
        ..Default::default()
    }
}

fn not_found(group_id: &StrBytes, api_version: i16) -> DescribedGroup {
    let mut group = DescribedGroup {
        group_id: group_id.clone(),
        group_state: StrBytes::from_static(GroupState::Dead.as_str()),
        ..Default::default()
    };
    if api_version >= GROUP_NOT_FOUND_VERSION {
        group.error_code = ErrorCode::GroupIdNotFound.code();
        group.error_message = Some(StrBytes::from(format!("Group {group_id} not found.")));
    }
    group
}

fn listed(group: &Group) -> ListedGroup {
    ListedGroup {
        group_id: group.id.clone(),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        group_state: StrBytes::from_static(group.state.as_str()),
        group_type: StrBytes::from_static(GROUP_TYPE),
        ..Default::default()
    }
}
