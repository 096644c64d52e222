//! ShareGroupDescribe, API key 77: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    share_group_describe_request, key 77, versions [1], flexible [0..];

    /// The request of ShareGroupDescribe.
    ShareGroupDescribeRequest {
        group_ids: Vec<StrBytes> [0..],
        include_authorized_operations: bool [0..],
    }
}

message! {
    share_group_describe_response, key 77, versions [1], flexible [0..];

    /// The response to ShareGroupDescribe.
    ShareGroupDescribeResponse {
        throttle_time_ms: i32 [0..],
        groups: Vec<DescribedGroup> [0..],
    }

    /// An element of `groups` in `ShareGroupDescribeResponse`.
    DescribedGroup {
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        group_id: StrBytes [0..],
        group_state: StrBytes [0..],
        group_epoch: i32 [0..],
        assignment_epoch: i32 [0..],
        assignor_name: StrBytes [0..],
        members: Vec<Member> [0..],
        authorized_operations: i32 [0..] = -2147483648,
    }

    /// An element of `members` in `DescribedGroup`.
    Member {
        member_id: StrBytes [0..],
        rack_id: Option<StrBytes> [0.., nullable 0.., null],
        member_epoch: i32 [0..],
        client_id: StrBytes [0..],
        client_host: StrBytes [0..],
        subscribed_topic_names: Vec<StrBytes> [0..],
        assignment: Assignment [0..],
    }

    /// The value of `assignment`.
    Assignment {
        topic_partitions: Vec<TopicPartitions> [0..],
    }

    /// An element of `topic_partitions`.
    TopicPartitions {
        topic_id: Uuid [0..],
        topic_name: StrBytes [0..],
        partitions: Vec<i32> [0..],
    }
}
