//! Records of `__consumer_offsets` that streams groups (KIP-1071) leave.

use crate::codec::{MessageInfo, message};

pub use streams_group_current_member_assignment_key::StreamsGroupCurrentMemberAssignmentKey;
pub use streams_group_current_member_assignment_value::StreamsGroupCurrentMemberAssignmentValue;
pub use streams_group_member_metadata_key::StreamsGroupMemberMetadataKey;
pub use streams_group_member_metadata_value::StreamsGroupMemberMetadataValue;
pub use streams_group_metadata_key::StreamsGroupMetadataKey;
pub use streams_group_metadata_value::StreamsGroupMetadataValue;
pub use streams_group_target_assignment_member_key::StreamsGroupTargetAssignmentMemberKey;
pub use streams_group_target_assignment_member_value::StreamsGroupTargetAssignmentMemberValue;
pub use streams_group_target_assignment_metadata_key::StreamsGroupTargetAssignmentMetadataKey;
pub use streams_group_target_assignment_metadata_value::StreamsGroupTargetAssignmentMetadataValue;
pub use streams_group_topology_key::StreamsGroupTopologyKey;
pub use streams_group_topology_value::StreamsGroupTopologyValue;

/// Every message of this file.
pub(super) const MESSAGES: &[MessageInfo] = &[
    streams_group_metadata_key::INFO,
    streams_group_metadata_value::INFO,
    streams_group_member_metadata_key::INFO,
    streams_group_member_metadata_value::INFO,
    streams_group_target_assignment_metadata_key::INFO,
    streams_group_target_assignment_metadata_value::INFO,
    streams_group_target_assignment_member_key::INFO,
    streams_group_target_assignment_member_value::INFO,
    streams_group_current_member_assignment_key::INFO,
    streams_group_current_member_assignment_value::INFO,
    streams_group_topology_key::INFO,
    streams_group_topology_value::INFO,
];

message! {
    streams_group_metadata_key, key 17, versions [0], flexible [none];

    /// Key of a record of type 17.
    StreamsGroupMetadataKey {
        group_id: StrBytes [0],
    }
}

message! {
    streams_group_metadata_value, key 17, versions [0], flexible [0..];

    /// Value of a record of type 17.
    StreamsGroupMetadataValue {
        epoch: i32 [0..],
        metadata_hash: i64 [0..],
        validated_topology_epoch: i32 [0..] tag 0 [0..] = -1,
        last_assignment_configs: Option<Vec<LastAssignmentConfig>> [0.., nullable 0..] tag 1 [0..],
    }

    /// An element of `last_assignment_configs`.
    LastAssignmentConfig {
        key: StrBytes [0..],
        value: StrBytes [0..],
    }
}

message! {
    streams_group_member_metadata_key, key 19, versions [0], flexible [none];

    /// Key of a record of type 19.
    StreamsGroupMemberMetadataKey {
        group_id: StrBytes [0],
        member_id: StrBytes [0],
    }
}

message! {
    streams_group_member_metadata_value, key 19, versions [0], flexible [0..];

    /// Value of a record of type 19.
    StreamsGroupMemberMetadataValue {
        instance_id: Option<StrBytes> [0.., nullable 0..],
        rack_id: Option<StrBytes> [0.., nullable 0..],
        client_id: StrBytes [0..],
        client_host: StrBytes [0..],
        rebalance_timeout_ms: i32 [0..] = -1,
        topology_epoch: i32 [0..],
        process_id: StrBytes [0..],
        user_endpoint: Option<Endpoint> [0.., nullable 0.., null],
        client_tags: Vec<KeyValue> [0..],
    }

    /// The value of `user_endpoint`.
    Endpoint {
        host: StrBytes [0..],
        port: u16 [0..],
    }

    /// An element of `client_tags`.
    KeyValue {
        key: StrBytes [0..],
        value: StrBytes [0..],
    }
}

message! {
    streams_group_target_assignment_metadata_key, key 20, versions [0], flexible [none];

    /// Key of a record of type 20.
    StreamsGroupTargetAssignmentMetadataKey {
        group_id: StrBytes [0],
    }
}

message! {
    streams_group_target_assignment_metadata_value, key 20, versions [0], flexible [0..];

    /// Value of a record of type 20.
    StreamsGroupTargetAssignmentMetadataValue {
        assignment_epoch: i32 [0..],
        assignment_timestamp: i64 [0.., ignorable] tag 0 [0..],
    }
}

message! {
    streams_group_target_assignment_member_key, key 21, versions [0], flexible [none];

    /// Key of a record of type 21.
    StreamsGroupTargetAssignmentMemberKey {
        group_id: StrBytes [0],
        member_id: StrBytes [0],
    }
}

message! {
    streams_group_target_assignment_member_value, key 21, versions [0], flexible [0..];

    /// Value of a record of type 21.
    StreamsGroupTargetAssignmentMemberValue {
        active_tasks: Vec<TaskIds> [0..],
        standby_tasks: Vec<TaskIds> [0..],
        warmup_tasks: Vec<TaskIds> [0..],
    }

    /// An element of `active_tasks`.
    TaskIds {
        subtopology_id: StrBytes [0..],
        partitions: Vec<i32> [0..],
    }
}

message! {
    streams_group_current_member_assignment_key, key 22, versions [0], flexible [none];

    /// Key of a record of type 22.
    StreamsGroupCurrentMemberAssignmentKey {
        group_id: StrBytes [0],
        member_id: StrBytes [0],
    }
}

message! {
    streams_group_current_member_assignment_value, key 22, versions [0], flexible [0..];

    /// Value of a record of type 22.
    StreamsGroupCurrentMemberAssignmentValue {
        member_epoch: i32 [0..],
        previous_member_epoch: i32 [0..],
        state: i8 [0..],
        active_tasks: Vec<TaskIds> [0..],
        standby_tasks: Vec<TaskIds> [0..],
        warmup_tasks: Vec<TaskIds> [0..],
        active_tasks_pending_revocation: Vec<TaskIds> [0..],
        standby_tasks_pending_revocation: Vec<TaskIds> [0..],
        warmup_tasks_pending_revocation: Vec<TaskIds> [0..],
    }

    /// An element of `active_tasks`.
    TaskIds {
        subtopology_id: StrBytes [0..],
        partitions: Vec<i32> [0..],
        assignment_epochs: Option<Vec<i32>> [0.., nullable 0..] tag 0 [0..],
    }
}

message! {
    streams_group_topology_key, key 23, versions [0], flexible [none];

    /// Key of a record of type 23.
    StreamsGroupTopologyKey {
        group_id: StrBytes [0],
    }
}

message! {
    streams_group_topology_value, key 23, versions [0], flexible [0..];

    /// Value of a record of type 23.
    StreamsGroupTopologyValue {
        epoch: i32 [0..],
        subtopologies: Vec<Subtopology> [0..],
    }

    /// An element of `subtopologies` in `StreamsGroupTopologyValue`.
    Subtopology {
        subtopology_id: StrBytes [0..],
        source_topics: Vec<StrBytes> [0..],
        source_topic_regex: Vec<StrBytes> [0..],
        state_changelog_topics: Vec<TopicInfo> [0..],
        repartition_sink_topics: Vec<StrBytes> [0..],
        repartition_source_topics: Vec<TopicInfo> [0..],
        copartition_groups: Vec<CopartitionGroup> [0..],
    }

    /// An element of `state_changelog_topics`.
    TopicInfo {
        name: StrBytes [0..],
        partitions: i32 [0..],
        replication_factor: i16 [0..],
        topic_configs: Vec<TopicConfig> [0..],
    }

    /// An element of `topic_configs`.
    TopicConfig {
        key: StrBytes [0..],
        value: StrBytes [0..],
    }

    /// An element of `copartition_groups` in `Subtopology`.
    CopartitionGroup {
        source_topics: Vec<i16> [0..],
        source_topic_regex: Vec<i16> [0..],
        repartition_source_topics: Vec<i16> [0..],
    }
}
