//! DescribeGroups, API key 15: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    describe_groups_request, key 15, versions [0..=6], flexible [5..];

    /// The request of DescribeGroups.
    DescribeGroupsRequest {
        groups: Vec<StrBytes> [0..],
        include_authorized_operations: bool [3..],
    }
}

message! {
    describe_groups_response, key 15, versions [0..=6], flexible [5..];

    /// The response to DescribeGroups.
    DescribeGroupsResponse {
        throttle_time_ms: i32 [1.., ignorable],
        groups: Vec<DescribedGroup> [0..],
    }

    /// An element of `groups` in `DescribeGroupsResponse`.
    DescribedGroup {
        error_code: i16 [0..],
        error_message: Option<StrBytes> [6.., nullable 6.., null],
        group_id: StrBytes [0..],
        group_state: StrBytes [0..],
        protocol_type: StrBytes [0..],
        protocol_data: StrBytes [0..],
        members: Vec<DescribedGroupMember> [0..],
        authorized_operations: i32 [3..] = -2147483648,
    }

    /// An element of `members` in `DescribedGroup`.
    DescribedGroupMember {
        member_id: StrBytes [0..],
        group_instance_id: Option<StrBytes> [4.., nullable 4.., null, ignorable],
        client_id: StrBytes [0..],
        client_host: StrBytes [0..],
        member_metadata: Bytes [0..],
        member_assignment: Bytes [0..],
    }
}
