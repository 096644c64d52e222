//! Records of `__consumer_offsets` that consumer groups (KIP-848) leave.

use crate::codec::{MessageInfo, message};

pub use consumer_group_current_member_assignment_key::ConsumerGroupCurrentMemberAssignmentKey;
pub use consumer_group_current_member_assignment_value::ConsumerGroupCurrentMemberAssignmentValue;
pub use consumer_group_member_metadata_key::ConsumerGroupMemberMetadataKey;
pub use consumer_group_member_metadata_value::ConsumerGroupMemberMetadataValue;
pub use consumer_group_metadata_key::ConsumerGroupMetadataKey;
pub use consumer_group_metadata_value::ConsumerGroupMetadataValue;
pub use consumer_group_partition_metadata_key::ConsumerGroupPartitionMetadataKey;
pub use consumer_group_partition_metadata_value::ConsumerGroupPartitionMetadataValue;
pub use consumer_group_regular_expression_key::ConsumerGroupRegularExpressionKey;
pub use consumer_group_regular_expression_value::ConsumerGroupRegularExpressionValue;
pub use consumer_group_target_assignment_member_key::ConsumerGroupTargetAssignmentMemberKey;
pub use consumer_group_target_assignment_member_value::ConsumerGroupTargetAssignmentMemberValue;
pub use consumer_group_target_assignment_metadata_key::ConsumerGroupTargetAssignmentMetadataKey;
pub use consumer_group_target_assignment_metadata_value::ConsumerGroupTargetAssignmentMetadataValue;

/// Every message of this file.
pub(super) const MESSAGES: &[MessageInfo] = &[
    consumer_group_metadata_key::INFO,
    consumer_group_metadata_value::INFO,
    consumer_group_partition_metadata_key::INFO,
    consumer_group_partition_metadata_value::INFO,
    consumer_group_member_metadata_key::INFO,
    consumer_group_member_metadata_value::INFO,
    consumer_group_target_assignment_metadata_key::INFO,
    consumer_group_target_assignment_metadata_value::INFO,
    consumer_group_target_assignment_member_key::INFO,
    consumer_group_target_assignment_member_value::INFO,
    consumer_group_current_member_assignment_key::INFO,
    consumer_group_current_member_assignment_value::INFO,
    consumer_group_regular_expression_key::INFO,
    consumer_group_regular_expression_value::INFO,
];

message! {
    consumer_group_metadata_key, key 3, versions [0], flexible [none];

    /// Key of a record of type 3.
    ConsumerGroupMetadataKey {
        group_id: StrBytes [0],
    }
}

message! {
    consumer_group_metadata_value, key 3, versions [0], flexible [0..];

    /// Value of a record of type 3.
    ConsumerGroupMetadataValue {
        epoch: i32 [0..],
        metadata_hash: i64 [0..] tag 0 [0..],
    }
}

message! {
    consumer_group_partition_metadata_key, key 4, versions [0], flexible [none];

    /// Key of a record of type 4.
    ConsumerGroupPartitionMetadataKey {
        group_id: StrBytes [0],
    }
}

message! {
    consumer_group_partition_metadata_value, key 4, versions [0], flexible [0..];

    /// Value of a record of type 4.
    ConsumerGroupPartitionMetadataValue {
        topics: Vec<TopicMetadata> [0..],
    }

    /// An element of `topics` in `ConsumerGroupPartitionMetadataValue`.
    TopicMetadata {
        topic_id: Uuid [0..],
        topic_name: StrBytes [0..],
        num_partitions: i32 [0..],
        partition_metadata: Vec<PartitionMetadata> [0..],
    }

    /// An element of `partition_metadata` in `TopicMetadata`.
    PartitionMetadata {
        partition: i32 [0..],
        racks: Vec<StrBytes> [0..],
    }
}

message! {
    consumer_group_member_metadata_key, key 5, versions [0], flexible [none];

    /// Key of a record of type 5.
    ConsumerGroupMemberMetadataKey {
        group_id: StrBytes [0],
        member_id: StrBytes [0],
    }
}

message! {
    consumer_group_member_metadata_value, key 5, versions [0], flexible [0..];

    /// Value of a record of type 5.
    ConsumerGroupMemberMetadataValue {
        instance_id: Option<StrBytes> [0.., nullable 0..],
        rack_id: Option<StrBytes> [0.., nullable 0..],
        client_id: StrBytes [0..],
        client_host: StrBytes [0..],
        subscribed_topic_names: Vec<StrBytes> [0..],
        subscribed_topic_regex: Option<StrBytes> [0.., nullable 0..],
        rebalance_timeout_ms: i32 [0..] = -1,
        server_assignor: Option<StrBytes> [0.., nullable 0..],
        classic_member_metadata: Option<ClassicMemberMetadata> [0.., nullable 0..] tag 0 [0..],
    }

    /// The value of `classic_member_metadata` in `ConsumerGroupMemberMetadataValue`.
    ClassicMemberMetadata {
        session_timeout_ms: i32 [0..],
        supported_protocols: Vec<ClassicProtocol> [0..],
    }

    /// An element of `supported_protocols` in `ClassicMemberMetadata`.
    ClassicProtocol {
        name: StrBytes [0..],
        metadata: Bytes [0..],
    }
}

message! {
    consumer_group_target_assignment_metadata_key, key 6, versions [0], flexible [none];

    /// Key of a record of type 6.
    ConsumerGroupTargetAssignmentMetadataKey {
        group_id: StrBytes [0],
    }
}

message! {
    consumer_group_target_assignment_metadata_value, key 6, versions [0], flexible [0..];

    /// Value of a record of type 6.
    ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: i32 [0..],
        assignment_timestamp: i64 [0.., ignorable] tag 0 [0..],
    }
}

message! {
    consumer_group_target_assignment_member_key, key 7, versions [0], flexible [none];

    /// Key of a record of type 7.
    ConsumerGroupTargetAssignmentMemberKey {
        group_id: StrBytes [0],
        member_id: StrBytes [0],
    }
}

message! {
    consumer_group_target_assignment_member_value, key 7, versions [0], flexible [0..];

    /// Value of a record of type 7.
    ConsumerGroupTargetAssignmentMemberValue {
        topic_partitions: Vec<TopicPartition> [0..],
    }

    /// An element of `topic_partitions` in `ConsumerGroupTargetAssignmentMemberValue`.
    TopicPartition {
        topic_id: Uuid [0..],
        partitions: Vec<i32> [0..],
    }
}

message! {
    consumer_group_current_member_assignment_key, key 8, versions [0], flexible [none];

    /// Key of a record of type 8.
    ConsumerGroupCurrentMemberAssignmentKey {
        group_id: StrBytes [0],
        member_id: StrBytes [0],
    }
}

message! {
    consumer_group_current_member_assignment_value, key 8, versions [0], flexible [0..];

    /// Value of a record of type 8.
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: i32 [0..],
        previous_member_epoch: i32 [0..],
        state: i8 [0..],
        assigned_partitions: Vec<TopicPartitions> [0..],
        partitions_pending_revocation: Vec<TopicPartitions> [0..],
    }

    /// An element of `assigned_partitions`.
    TopicPartitions {
        topic_id: Uuid [0..],
        partitions: Vec<i32> [0..],
        assignment_epochs: Option<Vec<i32>> [0.., nullable 0..] tag 0 [0..],
    }
}

message! {
    consumer_group_regular_expression_key, key 16, versions [0], flexible [none];

    /// Key of a record of type 16.
    ConsumerGroupRegularExpressionKey {
        group_id: StrBytes [0],
        regular_expression: StrBytes [0],
    }
}

message! {
    consumer_group_regular_expression_value, key 16, versions [0], flexible [0..];

    /// Value of a record of type 16.
    ConsumerGroupRegularExpressionValue {
        topics: Vec<StrBytes> [0..],
        version: i64 [0..],
        timestamp: i64 [0..],
    }
}
