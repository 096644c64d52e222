//! StreamsGroupDescribe, API key 89: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    streams_group_describe_request, key 89, versions [0], flexible [0..];

    /// The request of StreamsGroupDescribe.
    StreamsGroupDescribeRequest {
        group_ids: Vec<StrBytes> [0..],
        include_authorized_operations: bool [0..],
    }
}

message! {
    streams_group_describe_response, key 89, versions [0], flexible [0..];

    /// The response to StreamsGroupDescribe.
    StreamsGroupDescribeResponse {
        throttle_time_ms: i32 [0..],
        groups: Vec<DescribedGroup> [0..],
    }

    /// An element of `groups` in `StreamsGroupDescribeResponse`.
    DescribedGroup {
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        group_id: StrBytes [0..],
        group_state: StrBytes [0..],
        group_epoch: i32 [0..],
        assignment_epoch: i32 [0..],
        topology: Option<Topology> [0.., nullable 0.., null],
        members: Vec<Member> [0..],
        authorized_operations: i32 [0..] = -2147483648,
    }

    /// The value of `topology` in `DescribedGroup`.
    Topology {
        epoch: i32 [0..],
        subtopologies: Option<Vec<Subtopology>> [0.., nullable 0.., null],
    }

    /// An element of `subtopologies` in `Topology`.
    Subtopology {
        subtopology_id: StrBytes [0..],
        source_topics: Vec<StrBytes> [0..],
        repartition_sink_topics: Vec<StrBytes> [0..],
        state_changelog_topics: Vec<TopicInfo> [0..],
        repartition_source_topics: Vec<TopicInfo> [0..],
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

    /// An element of `members` in `DescribedGroup`.
    Member {
        member_id: StrBytes [0..],
        member_epoch: i32 [0..],
        instance_id: Option<StrBytes> [0.., nullable 0.., null],
        rack_id: Option<StrBytes> [0.., nullable 0.., null],
        client_id: StrBytes [0..],
        client_host: StrBytes [0..],
        topology_epoch: i32 [0..],
        process_id: StrBytes [0..],
        user_endpoint: Option<Endpoint> [0.., nullable 0.., null],
        client_tags: Vec<KeyValue> [0..],
        task_offsets: Vec<TaskOffset> [0..],
        task_end_offsets: Vec<TaskOffset> [0..],
        assignment: Assignment [0..],
        target_assignment: Assignment [0..],
        is_classic: bool [0..],
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

    /// The value of `assignment`.
    Assignment {
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
