//! Records of `__consumer_offsets` that committed offsets and classic groups leave. Types 3 and up are in `consumer_groups`,
//! `share_groups` and `streams_groups`; the frame around all of them is in the parent module.

use crate::codec::{MessageInfo, message};

pub use group_metadata_key::GroupMetadataKey;
pub use group_metadata_value::GroupMetadataValue;
pub use legacy_offset_commit_key::LegacyOffsetCommitKey;
pub use legacy_offset_commit_value::LegacyOffsetCommitValue;
pub use offset_commit_key::OffsetCommitKey;
pub use offset_commit_value::OffsetCommitValue;

/// Every message of this file.
pub(super) const MESSAGES: &[MessageInfo] = &[
    legacy_offset_commit_key::INFO,
    legacy_offset_commit_value::INFO,
    offset_commit_key::INFO,
    offset_commit_value::INFO,
    group_metadata_key::INFO,
    group_metadata_value::INFO,
];

message! {
    legacy_offset_commit_key, key 0, versions [0], flexible [none];

    /// Key of a record of type 0.
    LegacyOffsetCommitKey {
        group: StrBytes [0],
        topic: StrBytes [0],
        partition: i32 [0],
    }
}

message! {
    legacy_offset_commit_value, key 0, versions [0], flexible [none];

    /// Value of a record of type 0.
    LegacyOffsetCommitValue {
        offset: i64 [0],
        metadata: StrBytes [0],
        commit_timestamp: i64 [0],
    }
}

message! {
    offset_commit_key, key 1, versions [0], flexible [none];

    /// Key of a record of type 1.
    OffsetCommitKey {
        group: StrBytes [0],
        topic: StrBytes [0],
        partition: i32 [0],
    }
}

message! {
    offset_commit_value, key 1, versions [0..=4], flexible [4..];

    /// Value of a record of type 1.
    OffsetCommitValue {
        offset: i64 [0..],
        leader_epoch: i32 [3.., ignorable] = -1,
        metadata: StrBytes [0..],
        commit_timestamp: i64 [0..],
        expire_timestamp: i64 [1, ignorable] = -1,
        topic_id: Uuid [4.., ignorable] tag 0 [4..],
    }
}

message! {
    group_metadata_key, key 2, versions [0], flexible [none];

    /// Key of a record of type 2.
    GroupMetadataKey {
        group: StrBytes [0],
    }
}

message! {
    group_metadata_value, key 2, versions [0..=4], flexible [4..];

    /// Value of a record of type 2.
    GroupMetadataValue {
        protocol_type: StrBytes [0..],
        generation: i32 [0..],
        protocol: Option<StrBytes> [0.., nullable 0..],
        leader: Option<StrBytes> [0.., nullable 0..],
        current_state_timestamp: i64 [2.., ignorable] = -1,
        members: Vec<MemberMetadata> [0..],
    }

    /// An element of `members`.
    MemberMetadata {
        member_id: StrBytes [0..],
        group_instance_id: Option<StrBytes> [3.., nullable 3.., null, ignorable],
        client_id: StrBytes [0..],
        client_host: StrBytes [0..],
        rebalance_timeout: i32 [1.., ignorable] = -1,
        session_timeout: i32 [0..],
        subscription: Bytes [0..],
        assignment: Bytes [0..],
    }
}
