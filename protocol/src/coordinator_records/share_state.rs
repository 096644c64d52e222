//! Records of `__share_group_state` (KIP-932). Membership of share groups is in `share_groups`.

use crate::codec::{MessageInfo, message};

pub use share_snapshot_key::ShareSnapshotKey;
pub use share_snapshot_value::ShareSnapshotValue;
pub use share_update_key::ShareUpdateKey;
pub use share_update_value::ShareUpdateValue;

/// Every message of this file.
pub(super) const MESSAGES: &[MessageInfo] = &[
    share_snapshot_key::INFO,
    share_snapshot_value::INFO,
    share_update_key::INFO,
    share_update_value::INFO,
];

message! {
    share_snapshot_key, key 0, versions [0], flexible [none];

    /// Key of a record of type 0.
    ShareSnapshotKey {
        group_id: StrBytes [0],
        topic_id: Uuid [0],
        partition: i32 [0],
    }
}

message! {
    share_snapshot_value, key 0, versions [0], flexible [0..];

    /// Value of a record of type 0.
    ShareSnapshotValue {
        snapshot_epoch: i32 [0..],
        state_epoch: i32 [0..],
        leader_epoch: i32 [0..],
        start_offset: i64 [0..],
        create_timestamp: i64 [0..],
        write_timestamp: i64 [0..],
        state_batches: Vec<StateBatch> [0..],
        delivery_complete_count: i32 [0..] tag 0 [0..] = -1,
    }

    /// An element of `state_batches` in `ShareSnapshotValue`.
    StateBatch {
        first_offset: i64 [0..],
        last_offset: i64 [0..],
        delivery_state: i8 [0..],
        delivery_count: i16 [0..],
    }
}

message! {
    share_update_key, key 1, versions [0], flexible [none];

    /// Key of a record of type 1.
    ShareUpdateKey {
        group_id: StrBytes [0],
        topic_id: Uuid [0],
        partition: i32 [0],
    }
}

message! {
    share_update_value, key 1, versions [0], flexible [0..];

    /// Value of a record of type 1.
    ShareUpdateValue {
        snapshot_epoch: i32 [0..],
        leader_epoch: i32 [0..],
        start_offset: i64 [0..],
        state_batches: Vec<StateBatch> [0..],
        delivery_complete_count: i32 [0..] tag 0 [0..] = -1,
    }

    /// An element of `state_batches` in `ShareUpdateValue`.
    StateBatch {
        first_offset: i64 [0..],
        last_offset: i64 [0..],
        delivery_state: i8 [0..],
        delivery_count: i16 [0..],
    }
}
