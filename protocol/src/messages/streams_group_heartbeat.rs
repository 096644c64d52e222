//! StreamsGroupHeartbeat, API key 88: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    streams_group_heartbeat_request, key 88, versions [0], flexible [0..];

    /// The request of StreamsGroupHeartbeat.
    StreamsGroupHeartbeatRequest {
        group_id: StrBytes [0..],
        member_id: StrBytes [0..],
        member_epoch: i32 [0..],
        endpoint_information_epoch: i32 [0..],
        instance_id: Option<StrBytes> [0.., nullable 0.., null],
        rack_id: Option<StrBytes> [0.., nullable 0.., null],
        rebalance_timeout_ms: i32 [0..] = -1,
        topology: Option<Topology> [0.., nullable 0.., null],
        active_tasks: Option<Vec<TaskIds>> [0.., nullable 0.., null],
        standby_tasks: Option<Vec<TaskIds>> [0.., nullable 0.., null],
        warmup_tasks: Option<Vec<TaskIds>> [0.., nullable 0.., null],
        process_id: Option<StrBytes> [0.., nullable 0.., null],
        user_endpoint: Option<Endpoint> [0.., nullable 0.., null],
        client_tags: Option<Vec<KeyValue>> [0.., nullable 0.., null],
        task_offsets: Option<Vec<TaskOffset>> [0.., nullable 0.., null],
        task_end_offsets: Option<Vec<TaskOffset>> [0.., nullable 0.., null],
        shutdown_application: bool [0..],
    }

    /// The value of `topology` in `StreamsGroupHeartbeatRequest`.
    Topology {
        epoch: i32 [0..],
        subtopologies: Vec<Subtopology> [0..],
    }

    /// An element of `subtopologies` in `Topology`.
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
        topic_configs: Vec<KeyValue> [0..],
    }

    /// An element of `topic_configs`.
    KeyValue {
        key: StrBytes [0..],
        value: StrBytes [0..],
    }

    /// An element of `copartition_groups` in `Subtopology`.
    CopartitionGroup {
        source_topics: Vec<i16> [0..],
        source_topic_regex: Vec<i16> [0..],
        repartition_source_topics: Vec<i16> [0..],
    }

    /// An element of `active_tasks`.
    TaskIds {
        subtopology_id: StrBytes [0..],
        partitions: Vec<i32> [0..],
    }

    /// The value of `user_endpoint`.
    Endpoint {
        host: StrBytes [0..],
        port: u16 [0..],
    }

    /// An element of `task_offsets`.
    TaskOffset {
        subtopology_id: StrBytes [0..],
        partition: i32 [0..],
        offset: i64 [0..],
    }
}

message! {
    streams_group_heartbeat_response, key 88, versions [0], flexible [0..];

    /// The response to StreamsGroupHeartbeat.
    StreamsGroupHeartbeatResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        member_id: StrBytes [0..],
        member_epoch: i32 [0..],
        heartbeat_interval_ms: i32 [0..],
        acceptable_recovery_lag: i32 [0..],
        task_offset_interval_ms: i32 [0..],
        status: Option<Vec<Status>> [0.., nullable 0..],
        active_tasks: Option<Vec<TaskIds>> [0.., nullable 0.., null],
        standby_tasks: Option<Vec<TaskIds>> [0.., nullable 0.., null],
        warmup_tasks: Option<Vec<TaskIds>> [0.., nullable 0.., null],
        endpoint_information_epoch: i32 [0..],
        partitions_by_user_endpoint: Option<Vec<EndpointToPartitions>> [0.., nullable 0.., null],
    }

    /// An element of `status`.
    Status {
        status_code: i8 [0..],
        status_detail: StrBytes [0..],
    }

    /// An element of `active_tasks`.
    TaskIds {
        subtopology_id: StrBytes [0..],
        partitions: Vec<i32> [0..],
    }

    /// An element of `partitions_by_user_endpoint` in `StreamsGroupHeartbeatResponse`.
    EndpointToPartitions {
        user_endpoint: Endpoint [0..],
        active_partitions: Vec<TopicPartition> [0..],
        standby_partitions: Vec<TopicPartition> [0..],
    }

    /// The value of `user_endpoint`.
    Endpoint {
        host: StrBytes [0..],
        port: u16 [0..],
    }

    /// An element of `active_partitions`.
    TopicPartition {
        topic: StrBytes [0..],
        partitions: Vec<i32> [0..],
    }
}
