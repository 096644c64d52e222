//! The records of `__consumer_offsets` that classic groups and their offsets are kept in.
//!
//! Written as Kafka 4.3 writes them: group values in version 3, offset values in version 4, or in
//! version 1 when the client asked for its own retention. Kinds of other groups are passed over.

use std::collections::BTreeMap;

use bytes::Bytes;
use odradek_protocol::codec::{DecodeError, EncodeError, Reader};
use odradek_protocol::consumer_protocol::ConsumerProtocolSubscription;
use odradek_protocol::coordinator_records::group_metadata_value::MemberMetadata;
use odradek_protocol::coordinator_records::{
    ConsumerOffsetsKey, GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitValue,
    OffsetCommitKey, OffsetCommitValue, decode_value, encode_key, encode_value,
};
use odradek_protocol::{Message, StrBytes};

use super::offsets::{CommittedOffset, OffsetKey};
use super::state::{Group, GroupState, Member, MemberProtocol};
use super::{owned, owned_bytes};

/// A record's key, and its value or nothing for a tombstone.
pub(super) type Record = (Bytes, Option<Bytes>);

const GROUP_VALUE_VERSION: i16 = 3;
const OFFSET_VALUE_VERSION: i16 = 4;
const OFFSET_WITH_EXPIRY_VALUE_VERSION: i16 = 1;

/// What a record read from the log says.
#[derive(Debug)]
pub(super) enum Loaded {
    /// An offset, or its removal.
    Offset(OffsetKey, Option<CommittedOffset>),
    /// A group, or its removal. The group's incarnation is the caller's to set.
    Group(StrBytes, Option<Box<Group>>),
    /// A record of another kind of group.
    Other,
}

/// Reads a record back.
///
/// # Errors
/// When the key or a value of a kind known here cannot be read.
pub(super) fn decode(key: Bytes, value: Option<Bytes>) -> Result<Loaded, DecodeError> {
    let record_type = Reader::new(key.clone()).read_i16()?;
    // Only these types are classic groups' own; a type not known at all belongs to a newer Kafka.
    if !(0..=2).contains(&record_type) {
        return Ok(Loaded::Other);
    }
    match ConsumerOffsetsKey::decode(key)? {
        ConsumerOffsetsKey::LegacyOffsetCommit(key) => {
            let key = offset_key(&key.group, &key.topic, key.partition);
            let value = value
                .map(decode_value::<LegacyOffsetCommitValue>)
                .transpose()?;
            Ok(Loaded::Offset(
                key,
                value.map(|value| legacy_offset(&value)),
            ))
        }
        ConsumerOffsetsKey::OffsetCommit(key) => {
            let key = offset_key(&key.group, &key.topic, key.partition);
            let value = value.map(decode_value::<OffsetCommitValue>).transpose()?;
            Ok(Loaded::Offset(
                key,
                value.map(|value| committed_offset(&value)),
            ))
        }
        ConsumerOffsetsKey::GroupMetadata(key) => {
            let value = value.map(decode_value::<GroupMetadataValue>).transpose()?;
            let group_id = owned(&key.group);
            let group = value.map(|value| Box::new(loaded_group(group_id.clone(), &value)));
            Ok(Loaded::Group(group_id, group))
        }
        _ => Ok(Loaded::Other),
    }
}

/// The record of a committed offset.
pub(super) fn offset(key: &OffsetKey, committed: &CommittedOffset) -> Record {
    let value = OffsetCommitValue {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata.clone(),
        commit_timestamp: committed.commit_timestamp_ms,
        expire_timestamp: committed.expire_timestamp_ms.unwrap_or(-1),
        topic_id: committed.topic_id,
        ..Default::default()
    };
    let version = match committed.expire_timestamp_ms {
        Some(_) => OFFSET_WITH_EXPIRY_VALUE_VERSION,
        None => OFFSET_VALUE_VERSION,
    };
    (
        encoded_offset_key(key),
        Some(encoded(encode_value(&value, version))),
    )
}

/// The record that removes a committed offset.
pub(super) fn offset_tombstone(key: &OffsetKey) -> Record {
    (encoded_offset_key(key), None)
}

/// The record of a group as it is, with the given assignments or, without any, the members' own.
pub(super) fn group(group: &Group, assignments: Option<&BTreeMap<StrBytes, Bytes>>) -> Record {
    let assignment_of = |member: &Member| match assignments {
        Some(assignments) => assignments.get(&member.id).cloned().unwrap_or_default(),
        None => member.assignment.clone(),
    };
    let members = group
        .members
        .values()
        .map(|member| MemberMetadata {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(group.protocol_name.as_ref()),
            assignment: assignment_of(member),
            ..Default::default()
        })
        .collect();
    let value = GroupMetadataValue {
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        generation: group.generation,
        protocol: group.protocol_name.clone(),
        leader: group.leader.clone(),
        current_state_timestamp: group.state_timestamp_ms.unwrap_or(-1),
        members,
        ..Default::default()
    };
    (
        group_key(&group.id),
        Some(encoded(encode_value(&value, GROUP_VALUE_VERSION))),
    )
}

/// The record that says a group exists, before it has a generation.
pub(super) fn empty_group(group: &Group) -> Record {
    let value = GroupMetadataValue {
        current_state_timestamp: group.state_timestamp_ms.unwrap_or(-1),
        protocol: None,
        leader: None,
        ..Default::default()
    };
    (
        group_key(&group.id),
        Some(encoded(encode_value(&value, GROUP_VALUE_VERSION))),
    )
}

/// The record that removes a group.
pub(super) fn group_tombstone(group_id: &StrBytes) -> Record {
    (group_key(group_id), None)
}

/// The topics of a consumer's subscription; none when it cannot be read. It is read as version 0,
/// which every later version begins with, so that consumers newer than this broker are understood.
pub(super) fn subscribed_topics(metadata: &Bytes) -> Option<Vec<StrBytes>> {
    let mut reader = Reader::new(metadata.clone());
    reader.read_i16().ok()?;
    let subscription = ConsumerProtocolSubscription::decode(&mut reader, 0).ok()?;
    Some(subscription.topics.iter().map(owned).collect())
}

fn offset_key(group: &StrBytes, topic: &StrBytes, partition: i32) -> OffsetKey {
    OffsetKey {
        group: owned(group),
        topic: owned(topic),
        partition,
    }
}

fn legacy_offset(value: &LegacyOffsetCommitValue) -> CommittedOffset {
    CommittedOffset {
        offset: value.offset,
        leader_epoch: -1,
        metadata: owned(&value.metadata),
        commit_timestamp_ms: value.commit_timestamp,
        expire_timestamp_ms: None,
        topic_id: Default::default(),
    }
}

fn committed_offset(value: &OffsetCommitValue) -> CommittedOffset {
    CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: owned(&value.metadata),
        commit_timestamp_ms: value.commit_timestamp,
        expire_timestamp_ms: (value.expire_timestamp != -1).then_some(value.expire_timestamp),
        topic_id: value.topic_id,
    }
}

fn loaded_group(id: StrBytes, value: &GroupMetadataValue) -> Group {
    let mut group = Group::new(id, 0, 0);
    group.durable = true;
    let protocol_type = owned(&value.protocol_type);
    let protocol = value.protocol.as_ref().map(owned);
    for member in &value.members {
        if group.members.contains_key(&member.member_id) {
            continue;
        }
        group.add(Member {
            id: owned(&member.member_id),
            instance_id: member.group_instance_id.as_ref().map(owned),
            client_id: owned(&member.client_id),
            client_host: owned(&member.client_host),
            rebalance_timeout_ms: match member.rebalance_timeout {
                -1 => member.session_timeout,
                timeout_ms => timeout_ms,
            },
            session_timeout_ms: member.session_timeout,
            protocol_type: protocol_type.clone(),
            protocols: vec![MemberProtocol {
                name: protocol.clone().unwrap_or_default(),
                metadata: owned_bytes(&member.subscription),
            }],
            assignment: owned_bytes(&member.assignment),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        });
    }
    group.state = if group.members.is_empty() {
        GroupState::Empty
    } else {
        GroupState::Stable
    };
    group.state_timestamp_ms =
        (value.current_state_timestamp != -1).then_some(value.current_state_timestamp);
    group.generation = value.generation;
    group.protocol_type = (!protocol_type.is_empty()).then_some(protocol_type);
    group.protocol_name = protocol;
    group.leader = value.leader.as_ref().map(owned);
    if group
        .leader
        .as_ref()
        .is_none_or(|leader| !group.members.contains_key(leader))
    {
        // A leader that is no member would never be replaced.
        group.leader = group.members.keys().next().cloned();
    }
    group.subscribed_topics = group.compute_subscribed_topics();
    group
}

fn encoded_offset_key(key: &OffsetKey) -> Bytes {
    encoded(encode_key(&OffsetCommitKey {
        group: key.group.clone(),
        topic: key.topic.clone(),
        partition: key.partition,
        ..Default::default()
    }))
}

fn group_key(group_id: &StrBytes) -> Bytes {
    encoded(encode_key(&GroupMetadataKey {
        group: group_id.clone(),
        ..Default::default()
    }))
}

/// Every string of a record came out of a request, whose decoder bounds strings as the records do.
fn encoded(bytes: Result<Bytes, EncodeError>) -> Bytes {
    bytes.expect("strings of at most 32,767 bytes can be written")
}
