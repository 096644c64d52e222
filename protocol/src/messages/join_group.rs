//! JoinGroup, API key 11: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    join_group_request, key 11, versions [0..=9], flexible [6..];

    /// The request of JoinGroup.
    JoinGroupRequest {
        group_id: StrBytes [0..],
        session_timeout_ms: i32 [0..],
        rebalance_timeout_ms: i32 [1.., ignorable] = -1,
        member_id: StrBytes [0..],
        group_instance_id: Option<StrBytes> [5.., nullable 5.., null],
        protocol_type: StrBytes [0..],
        protocols: Vec<JoinGroupRequestProtocol> [0..],
        reason: Option<StrBytes> [8.., nullable 8.., null, ignorable],
    }

    /// An element of `protocols` in `JoinGroupRequest`.
    JoinGroupRequestProtocol {
        name: StrBytes [0..],
        metadata: Bytes [0..],
    }
}

message! {
    join_group_response, key 11, versions [0..=9], flexible [6..];

    /// The response to JoinGroup.
    JoinGroupResponse {
        throttle_time_ms: i32 [2.., ignorable],
        error_code: i16 [0..],
        generation_id: i32 [0..] = -1,
        protocol_type: Option<StrBytes> [7.., nullable 7.., null, ignorable],
        protocol_name: Option<StrBytes> [0.., nullable 7..],
        leader: StrBytes [0..],
        skip_assignment: bool [9..],
        member_id: StrBytes [0..],
        members: Vec<JoinGroupResponseMember> [0..],
    }

    /// An element of `members` in `JoinGroupResponse`.
    JoinGroupResponseMember {
        member_id: StrBytes [0..],
        group_instance_id: Option<StrBytes> [5.., nullable 5.., null, ignorable],
        metadata: Bytes [0..],
    }
}
