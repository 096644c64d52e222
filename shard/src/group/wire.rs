//! Whole requests to what one coordinator takes, and its answers back to whole responses.
//!
//! Offset requests name topics, by name or by id, and may name many groups. Which topics exist only
//! the node knows ([`Topics`]); what does not exist is refused here, in Kafka's words, before the
//! coordinator sees it.

use odradek_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestTopic,
};
use odradek_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use odradek_protocol::messages::offset_delete_request::OffsetDeleteRequest;
use odradek_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use odradek_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use odradek_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use odradek_protocol::{ErrorCode, StrBytes, Uuid};

/// From this version on topics are named by id in OffsetCommit and OffsetFetch.
const TOPIC_ID_VERSION: i16 = 10;
/// From this version on one OffsetFetch names many groups.
const FETCH_GROUPS_VERSION: i16 = 8;
/// From this version on an OffsetFetch response has an error of its own.
const FETCH_ERROR_VERSION: i16 = 2;

/// The topics of the cluster, as the node's metadata has them.
pub trait Topics {
    /// The name of a topic.
    fn name_of(&self, id: Uuid) -> Option<StrBytes>;
    /// The id of a topic.
    fn id_of(&self, name: &str) -> Option<Uuid>;
    /// How many partitions a topic has.
    fn partitions_of(&self, name: &str) -> Option<i32>;
}

/// Splits a commit: what exists stays in the request, with names filled in; what does not comes back
/// refused, for [`join_commit`]. A request left without topics need not go to the coordinator.
pub fn split_commit(
    request: &mut OffsetCommitRequest,
    api_version: i16,
    topics: &dyn Topics,
) -> Vec<OffsetCommitResponseTopic> {
    let mut refused = Vec::new();
    for mut topic in std::mem::take(&mut request.topics) {
        if api_version >= TOPIC_ID_VERSION {
            match topics.name_of(topic.topic_id) {
                Some(name) => topic.name = name,
                None => {
                    refused.push(refused_commit(&topic, ErrorCode::UnknownTopicId, |_| true));
                    continue;
                }
            }
        }
        let partitions = topics.partitions_of(&topic.name).unwrap_or(0);
        let exists = |index: i32| (0..partitions).contains(&index);
        if topic
            .partitions
            .iter()
            .any(|partition| !exists(partition.partition_index))
        {
            let error = ErrorCode::UnknownTopicOrPartition;
            refused.push(refused_commit(&topic, error, |index| !exists(index)));
            topic
                .partitions
                .retain(|partition| exists(partition.partition_index));
        }
        if !topic.partitions.is_empty() {
            request.topics.push(topic);
        }
    }
    refused
}

/// Puts what [`split_commit`] refused and what the coordinator answered into one response.
pub fn join_commit(
    refused: Vec<OffsetCommitResponseTopic>,
    answer: OffsetCommitResponse,
) -> OffsetCommitResponse {
    let mut response = OffsetCommitResponse {
        topics: refused,
        ..Default::default()
    };
    for topic in answer.topics {
        let known = response
            .topics
            .iter_mut()
            .find(|known| known.name == topic.name && known.topic_id == topic.topic_id);
        match known {
            Some(known) => known.partitions.extend(topic.partitions),
            None => response.topics.push(topic),
        }
    }
    response
}

/// Splits a deletion of offsets as [`split_commit`] does a commit.
pub fn split_delete(
    request: &mut OffsetDeleteRequest,
    topics: &dyn Topics,
) -> Vec<OffsetDeleteResponseTopic> {
    let mut refused = Vec::new();
    for mut topic in std::mem::take(&mut request.topics) {
        let partitions = topics.partitions_of(&topic.name).unwrap_or(0);
        let exists = |index: i32| (0..partitions).contains(&index);
        let missing: Vec<OffsetDeleteResponsePartition> = topic
            .partitions
            .iter()
            .filter(|partition| !exists(partition.partition_index))
            .map(|partition| OffsetDeleteResponsePartition {
                partition_index: partition.partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                ..Default::default()
            })
            .collect();
        if !missing.is_empty() {
            refused.push(OffsetDeleteResponseTopic {
                name: topic.name.clone(),
                partitions: missing,
                ..Default::default()
            });
        }
        topic
            .partitions
            .retain(|partition| exists(partition.partition_index));
        if !topic.partitions.is_empty() {
            request.topics.push(topic);
        }
    }
    refused
}

/// Puts what [`split_delete`] refused and what the coordinator answered into one response. An error
/// of the whole group stands alone.
pub fn join_delete(
    refused: Vec<OffsetDeleteResponseTopic>,
    answer: OffsetDeleteResponse,
) -> OffsetDeleteResponse {
    if answer.error_code != ErrorCode::None.code() {
        return answer;
    }
    let mut response = OffsetDeleteResponse {
        topics: refused,
        ..Default::default()
    };
    for topic in answer.topics {
        match response
            .topics
            .iter_mut()
            .find(|known| known.name == topic.name)
        {
            Some(known) => known.partitions.extend(topic.partitions),
            None => response.topics.push(topic),
        }
    }
    response
}

/// The groups of an OffsetFetch of any version, in order.
pub fn fetch_groups(request: OffsetFetchRequest, api_version: i16) -> Vec<OffsetFetchRequestGroup> {
    if api_version >= FETCH_GROUPS_VERSION {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        topics
            .into_iter()
            .map(|topic| OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..Default::default()
            })
            .collect()
    });
    vec![OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..Default::default()
    }]
}

/// Fills in the names of topics asked for by id; ids that are not known come back refused, for
/// [`join_fetch`]. Up to version 9 nothing is done: topics that are gone simply have no offset.
pub fn split_fetch(
    group: &mut OffsetFetchRequestGroup,
    api_version: i16,
    topics: &dyn Topics,
) -> Vec<OffsetFetchResponseTopics> {
    let mut refused = Vec::new();
    let Some(asked) = group
        .topics
        .as_mut()
        .filter(|_| api_version >= TOPIC_ID_VERSION)
    else {
        return refused;
    };
    asked.retain_mut(|topic| match topics.name_of(topic.topic_id) {
        Some(name) => {
            topic.name = name;
            true
        }
        None => {
            refused.push(refused_fetch(topic, ErrorCode::UnknownTopicId));
            false
        }
    });
    refused
}

/// Puts what [`split_fetch`] refused and what the coordinator answered into one group. From version
/// 10 on topics get their ids, and those that have none any more are left out.
pub fn join_fetch(
    refused: Vec<OffsetFetchResponseTopics>,
    mut answer: OffsetFetchResponseGroup,
    api_version: i16,
    topics: &dyn Topics,
) -> OffsetFetchResponseGroup {
    if api_version >= TOPIC_ID_VERSION {
        answer.topics.retain_mut(|topic| {
            if topic.topic_id == Uuid::default() {
                topic.topic_id = topics.id_of(&topic.name).unwrap_or_default();
            }
            topic.topic_id != Uuid::default()
        });
    }
    if answer.error_code == ErrorCode::None.code() {
        answer.topics.extend(refused);
    }
    answer
}

/// The response of any version for the answers of all groups asked, in order.
pub fn fetch_response(
    mut groups: Vec<OffsetFetchResponseGroup>,
    api_version: i16,
) -> OffsetFetchResponse {
    if api_version >= FETCH_GROUPS_VERSION {
        return OffsetFetchResponse {
            groups,
            ..Default::default()
        };
    }
    let Some(group) = groups.pop() else {
        return OffsetFetchResponse::default();
    };
    let topics = group
        .topics
        .into_iter()
        .map(|topic| OffsetFetchResponseTopic {
            name: topic.name,
            partitions: topic
                .partitions
                .into_iter()
                .map(|partition| OffsetFetchResponsePartition {
                    partition_index: partition.partition_index,
                    committed_offset: partition.committed_offset,
                    committed_leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.metadata,
                    error_code: partition.error_code,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        })
        .collect();
    OffsetFetchResponse {
        topics,
        error_code: group.error_code,
        ..Default::default()
    }
}

/// A group's fetch refused as a whole. Version 1 has no place for that, so each partition carries it.
pub fn fetch_error(
    group: &OffsetFetchRequestGroup,
    api_version: i16,
    error: ErrorCode,
) -> OffsetFetchResponseGroup {
    let mut response = OffsetFetchResponseGroup {
        group_id: group.group_id.clone(),
        ..Default::default()
    };
    if api_version >= FETCH_ERROR_VERSION {
        response.error_code = error.code();
    } else {
        let topics = group.topics.iter().flatten();
        response.topics = topics.map(|topic| refused_fetch(topic, error)).collect();
    }
    response
}

fn refused_commit(
    topic: &OffsetCommitRequestTopic,
    error: ErrorCode,
    concerns: impl Fn(i32) -> bool,
) -> OffsetCommitResponseTopic {
    OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .filter(|partition| concerns(partition.partition_index))
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.code(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn refused_fetch(topic: &OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partition_indexes
            .iter()
            .map(|index| OffsetFetchResponsePartitions {
                partition_index: *index,
                committed_offset: -1,
                committed_leader_epoch: -1,
                metadata: Some(StrBytes::default()),
                error_code: error.code(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
