//! OffsetCommit (versions 2 to 10), OffsetFetch (1 to 10) and OffsetDelete (0) of one group.
//!
//! Which topics exist, and their ids, is the caller's knowledge: `wire` splits requests by it. Offsets
//! themselves are kept in `offsets`. Transactional commits are not taken here yet, so nothing is ever
//! unstable: `require_stable` only waits for plain commits that are under way.

use odradek_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition,
};
use odradek_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use odradek_protocol::messages::offset_delete_request::OffsetDeleteRequest;
use odradek_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use odradek_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use odradek_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use odradek_protocol::{ErrorCode, StrBytes, Uuid};

use super::api::{ClientContext, GroupResponse, Token, commit_error};
use super::core::{Completion, GroupRef, Pending, Step, Waiting};
use super::join::check_member;
use super::offsets::{CommittedOffset, OffsetKey, Slot};
use super::state::{Group, GroupState};
use super::{GroupCoordinator, owned, records};

/// From this version on a commit to a group that is not there says so.
const GROUP_NOT_FOUND_VERSION: i16 = 9;

impl GroupCoordinator {
    pub(super) fn offset_commit(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        context: &ClientContext,
        request: OffsetCommitRequest,
    ) {
        let checked = match self.groups.get(&request.group_id) {
            Some(group) => check_commit(group, &request),
            // A consumer that assigns partitions to itself needs no group: one appears with its
            // first commit.
            None if request.generation_id_or_member_epoch < 0 => Ok(()),
            None if context.api_version >= GROUP_NOT_FOUND_VERSION => {
                Err(ErrorCode::GroupIdNotFound)
            }
            None => Err(ErrorCode::IllegalGeneration),
        };
        if let Err(error) = checked {
            step.reply(
                token,
                GroupResponse::OffsetCommit(commit_error(&request, error)),
            );
            return;
        }
        if let Some(group) = self.groups.get(&request.group_id)
            && matches!(
                group.state,
                GroupState::Stable | GroupState::PreparingRebalance
            )
            && let Some(member) = group.members.get(&request.member_id)
        {
            self.core
                .schedule_session(step.now, &group.id, &member.id, member.session_timeout_ms);
        }
        self.store_commit(step, token, request);
    }

    fn store_commit(&mut self, step: &mut Step<'_>, token: Token, request: OffsetCommitRequest) {
        let now_ms = step.now.wall_ms;
        let expire_timestamp_ms = (request.retention_time_ms != -1)
            .then(|| now_ms.saturating_add(request.retention_time_ms));
        let group_id = owned(&request.group_id);
        let mut writes: Vec<(OffsetKey, CommittedOffset)> = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let name = owned(&topic.name);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let mut error = ErrorCode::None;
                if self.is_metadata_too_large(partition) {
                    error = ErrorCode::OffsetMetadataTooLarge;
                } else {
                    let key = OffsetKey {
                        group: group_id.clone(),
                        topic: name.clone(),
                        partition: partition.partition_index,
                    };
                    let committed = CommittedOffset {
                        offset: partition.committed_offset,
                        leader_epoch: partition.committed_leader_epoch,
                        metadata: partition
                            .committed_metadata
                            .as_ref()
                            .map(owned)
                            .unwrap_or_default(),
                        commit_timestamp_ms: now_ms,
                        expire_timestamp_ms,
                        topic_id: topic.topic_id,
                    };
                    writes.push((key, committed));
                }
                partitions.push(OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: error.code(),
                    ..Default::default()
                });
            }
            topics.push(OffsetCommitResponseTopic {
                name,
                topic_id: topic.topic_id,
                partitions,
                ..Default::default()
            });
        }
        let response = OffsetCommitResponse {
            topics,
            ..Default::default()
        };
        let response = GroupResponse::OffsetCommit(response);
        if writes.is_empty() {
            step.reply(token, response);
            return;
        }
        self.offset_commits += writes.len() as u64;
        self.append_offsets(step, &group_id, token, response, writes);
    }

    fn append_offsets(
        &mut self,
        step: &mut Step<'_>,
        group_id: &StrBytes,
        token: Token,
        response: GroupResponse,
        writes: Vec<(OffsetKey, CommittedOffset)>,
    ) {
        let (core, group) = self.group_or_new(step, group_id);
        let batch = writes
            .iter()
            .map(|(key, committed)| records::offset(key, committed))
            .collect();
        let pending = Pending {
            group: Some(GroupRef::of(group)),
            writes: writes.iter().map(|(key, _)| key.clone()).collect(),
            completion: Completion::Answer { token, response },
            waiting: Vec::new(),
        };
        let append = core.append(step, batch, pending);
        for (key, committed) in writes {
            self.offsets.begin(append, &key, Some(committed));
        }
    }

    fn is_metadata_too_large(&self, partition: &OffsetCommitRequestPartition) -> bool {
        let bound = self.core.options.offset_metadata_max;
        partition
            .committed_metadata
            .as_ref()
            .is_some_and(|metadata| {
                // Kafka counts UTF-16 units, of which there are never more than bytes.
                metadata.len() > bound && metadata.encode_utf16().count() > bound
            })
    }

    pub(super) fn offset_fetch(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        group: OffsetFetchRequestGroup,
        require_stable: bool,
    ) {
        if require_stable && let Some(mut last) = self.core.pending.last_entry() {
            last.get_mut().waiting.push(Waiting::Fetch { token, group });
            return;
        }
        let response = self.fetched(&group);
        step.reply(token, GroupResponse::OffsetFetch(response));
    }

    /// The durable offsets a fetch asks for. A group that is not there has none, which is no error.
    pub(super) fn fetched(&self, request: &OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
        let topics = match &request.topics {
            Some(topics) => topics
                .iter()
                .map(|topic| {
                    let read = |index: &i32| {
                        let slot = self.offsets.slot(&request.group_id, &topic.name, *index);
                        fetched_partition(*index, slot, topic.topic_id)
                    };
                    OffsetFetchResponseTopics {
                        name: topic.name.clone(),
                        topic_id: topic.topic_id,
                        partitions: topic.partition_indexes.iter().map(read).collect(),
                        ..Default::default()
                    }
                })
                .collect(),
            None => self.fetched_all(&request.group_id),
        };
        OffsetFetchResponseGroup {
            group_id: request.group_id.clone(),
            topics,
            ..Default::default()
        }
    }

    fn fetched_all(&self, group_id: &StrBytes) -> Vec<OffsetFetchResponseTopics> {
        let mut answer = Vec::new();
        for (topic, partitions) in self.offsets.topics(group_id).into_iter().flatten() {
            let partitions: Vec<_> = partitions
                .iter()
                .filter(|(_, slot)| slot.durable().is_some())
                .map(|(index, slot)| fetched_partition(*index, Some(slot), Uuid::default()))
                .collect();
            if !partitions.is_empty() {
                answer.push(OffsetFetchResponseTopics {
                    name: topic.clone(),
                    partitions,
                    ..Default::default()
                });
            }
        }
        answer
    }

    pub(super) fn offset_delete(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        request: OffsetDeleteRequest,
    ) {
        let group = match self.check_offset_delete(&request) {
            Ok(group) => group,
            Err(error) => {
                step.reply(
                    token,
                    GroupResponse::OffsetDelete(OffsetDeleteResponse {
                        error_code: error.code(),
                        ..Default::default()
                    }),
                );
                return;
            }
        };
        let mut writes = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let error = match group.is_subscribed_to(&topic.name) {
                true => ErrorCode::GroupSubscribedToTopic,
                false => ErrorCode::None,
            };
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let partition = partition.partition_index;
                let slot = self.offsets.slot(&group.id, &topic.name, partition);
                let is_there = slot.is_some_and(|slot| slot.latest().is_some());
                if error == ErrorCode::None && is_there {
                    let (group, topic) = (group.id.clone(), owned(&topic.name));
                    writes.push(OffsetKey {
                        group,
                        topic,
                        partition,
                    });
                }
                partitions.push(OffsetDeleteResponsePartition {
                    partition_index: partition,
                    error_code: error.code(),
                    ..Default::default()
                });
            }
            topics.push(OffsetDeleteResponseTopic {
                name: topic.name.clone(),
                partitions,
                ..Default::default()
            });
        }
        let group = Some(GroupRef::of(group));
        let response = OffsetDeleteResponse {
            topics,
            ..Default::default()
        };
        let response = GroupResponse::OffsetDelete(response);
        if writes.is_empty() {
            step.reply(token, response);
            return;
        }
        self.offsets_deleted += writes.len() as u64;
        self.append_tombstones(step, group, writes, Completion::Answer { token, response });
    }

    fn check_offset_delete(&self, request: &OffsetDeleteRequest) -> Result<&Group, ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let group = self
            .groups
            .get(&request.group_id)
            .ok_or(ErrorCode::GroupIdNotFound)?;
        if group.state != GroupState::Empty && !group.uses_consumer_protocol() {
            // What such members read is not known, so nothing may be taken from under them.
            return Err(ErrorCode::NonEmptyGroup);
        }
        Ok(group)
    }

    /// Has tombstones of offsets appended.
    pub(super) fn append_tombstones(
        &mut self,
        step: &mut Step<'_>,
        group: Option<GroupRef>,
        writes: Vec<OffsetKey>,
        completion: Completion,
    ) {
        let batch = writes.iter().map(records::offset_tombstone).collect();
        let pending = Pending {
            group,
            writes: writes.clone(),
            completion,
            waiting: Vec::new(),
        };
        let append = self.core.append(step, batch, pending);
        for key in &writes {
            self.offsets.begin(append, key, None);
        }
    }
}

fn check_commit(group: &Group, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
    let generation = request.generation_id_or_member_epoch;
    if generation < 0 && group.state == GroupState::Empty {
        return Ok(());
    }
    let names_member =
        generation >= 0 || !request.member_id.is_empty() || request.group_instance_id.is_some();
    if !names_member {
        // Somebody without membership would move the offsets of those who have it.
        return Err(ErrorCode::UnknownMemberId);
    }
    check_member(group, &request.member_id, &request.group_instance_id)?;
    if generation != group.generation {
        return Err(ErrorCode::IllegalGeneration);
    }
    if group.state == GroupState::CompletingRebalance {
        // The member has its generation, but no assignment in it yet.
        return Err(ErrorCode::RebalanceInProgress);
    }
    Ok(())
}

/// One partition of a fetch. An offset committed for another topic of the same name (deleted and
/// made anew since) is none of this one's.
fn fetched_partition(
    partition_index: i32,
    slot: Option<&Slot>,
    topic_id: Uuid,
) -> OffsetFetchResponsePartitions {
    let none = Uuid::default();
    let committed = slot.and_then(Slot::durable).filter(|committed| {
        committed.topic_id == none || topic_id == none || committed.topic_id == topic_id
    });
    match committed {
        Some(committed) => OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            metadata: Some(committed.metadata.clone()),
            ..Default::default()
        },
        None => OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: -1,
            committed_leader_epoch: -1,
            metadata: Some(StrBytes::default()),
            ..Default::default()
        },
    }
}
