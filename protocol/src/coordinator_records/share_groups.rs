//! Records of `__consumer_offsets` that share groups (KIP-932) leave. Their delivery state is in `share_state`.

use crate::codec::{MessageInfo, message};

pub use share_group_current_member_assignment_key::ShareGroupCurrentMemberAssignmentKey;
pub use share_group_current_member_assignment_value::ShareGroupCurrentMemberAssignmentValue;
pub use share_group_member_metadata_key::ShareGroupMemberMetadataKey;
pub use share_group_member_metadata_value::ShareGroupMemberMetadataValue;
pub use share_group_metadata_key::ShareGroupMetadataKey;
pub use share_group_metadata_value::ShareGroupMetadataValue;
pub use share_group_state_partition_metadata_key::ShareGroupStatePartitionMetadataKey;
pub use share_group_state_partition_metadata_value::ShareGroupStatePartitionMetadataValue;
pub use share_group_target_assignment_member_key::ShareGroupTargetAssignmentMemberKey;
pub use share_group_target_assignment_member_value::ShareGroupTargetAssignmentMemberValue;
pub use share_group_target_assignment_metadata_key::ShareGroupTargetAssignmentMetadataKey;
pub use share_group_target_assignment_metadata_value::ShareGroupTargetAssignmentMetadataValue;

/// Every message of this file.
pub(super) const MESSAGES: &[MessageInfo] = &[
    share_group_member_metadata_key::INFO,
    share_group_member_metadata_value::INFO,
    share_group_metadata_key::INFO,
    share_group_metadata_value::INFO,
    share_group_target_assignment_metadata_key::INFO,
    share_group_target_assignment_metadata_value::INFO,
    share_group_target_assignment_member_key::INFO,
    share_group_target_assignment_member_value::INFO,
    share_group_current_member_assignment_key::INFO,
    share_group_current_member_assignment_value::INFO,
    share_group_state_partition_metadata_key::INFO,
    share_group_state_partition_metadata_value::INFO,
];

message! {
    share_group_member_metadata_key, key 10, versions [0], flexible [none];

    /// Key of a record of type 10.
    ShareGroupMemberMetadataKey {
        group_id: StrBytes [0],
        member_id: StrBytes [0],
    }
}

message! {
    share_group_member_metadata_value, key 10, versions [0], flexible [0..];

    /// Value of a record of type 10.
    ShareGroupMemberMetadataValue {
        rack_id: Option<StrBytes> [0.., nullable 0..],
        client_id: StrBytes [0..],
        client_host: StrBytes [0..],
        subscribed_topic_names: Vec<StrBytes> [0..],
    }
}

message! {
    share_group_metadata_key, key 11, versions [0], flexible [none];

    /// Key of a record of type 11.
    ShareGroupMetadataKey {
        group_id: StrBytes [0],
    }
}

message! {
    share_group_metadata_value, key 11, versions [0], flexible [0..];

    /// Value of a record of type 11.
    ShareGroupMetadataValue {
        epoch: i32 [0..],
        metadata_hash: i64 [0..],
    }
}

message! {
    share_group_target_assignment_metadata_key, key 12, versions [0], flexible [none];

    /// Key of a record of type 12.
    ShareGroupTargetAssignmentMetadataKey {
        group_id: StrBytes [0],
    }
}

message! {
    share_group_target_assignment_metadata_value, key 12, versions [0], flexible [0..];

    /// Value of a record of type 12.
    ShareGroupTargetAssignmentMetadataValue {
        assignment_epoch: i32 [0..],
        assignment_timestamp: i64 [0.., ignorable] tag 0 [0..],
    }
}

message! {
    share_group_target_assignment_member_key, key 13, versions [0], flexible [none];

    /// Key of a record of type 13.
    ShareGroupTargetAssignmentMemberKey {
        group_id: StrBytes [0],
        member_id: StrBytes [0],
    }
}

message! {
    share_group_target_assignment_member_value, key 13, versions [0], flexible [0..];

    /// Value of a record of type 13.
    ShareGroupTargetAssignmentMemberValue {
        topic_partitions: Vec<TopicPartition> [0..],
    }

    /// An element of `topic_partitions` in `ShareGroupTargetAssignmentMemberValue`.
    TopicPartition {
        topic_id: Uuid [0..],
        partitions: Vec<i32> [0..],
    }
}

message! {
    share_group_current_member_assignment_key, key 14, versions [0], flexible [none];

    /// Key of a record of type 14.
    ShareGroupCurrentMemberAssignmentKey {
        group_id: StrBytes [0],
        member_id: StrBytes [0],
    }
}

message! {
    share_group_current_member_assignment_value, key 14, versions [0], flexible [0..];

    /// Value of a record of type 14.
    ShareGroupCurrentMemberAssignmentValue {
        member_epoch: i32 [0..],
        previous_member_epoch: i32 [0..],
        state: i8 [0..],
        assigned_partitions: Vec<TopicPartitions> [0..],
    }

    /// An element of `assigned_partitions`.
    TopicPartitions {
        topic_id: Uuid [0..],
        partitions: Vec<i32> [0..],
    }
}

message! {
    share_group_state_partition_metadata_key, key 15, versions [0], flexible [none];

    /// Key of a record of type 15.
    ShareGroupStatePartitionMetadataKey {
        group_id: StrBytes [0],
    }
}

message! {
    share_group_state_partition_metadata_value, key 15, versions [0], flexible [0..];

    /// Value of a record of type 15.
    ShareGroupStatePartitionMetadataValue {
        initializing_topics: Vec<TopicPartitionsInfo> [0..],
        initialized_topics: Vec<TopicPartitionsInfo> [0..],
        deleting_topics: Vec<TopicInfo> [0..],
    }

    /// An element of `initializing_topics`.
    TopicPartitionsInfo {
        topic_id: Uuid [0..],
        topic_name: StrBytes [0..],
        partitions: Vec<i32> [0..],
    }

    /// An element of `deleting_topics`.
    TopicInfo {
        topic_id: Uuid [0..],
        topic_name: StrBytes [0..],
    }
}
