//! LeaveGroup, API key 13: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    leave_group_request, key 13, versions [0..=5], flexible [4..];

    /// The request of LeaveGroup.
    LeaveGroupRequest {
        group_id: StrBytes [0..],
        member_id: StrBytes [0..=2],
        members: Vec<MemberIdentity> [3..],
    }

    /// An element of `members` in `LeaveGroupRequest`.
    MemberIdentity {
        member_id: StrBytes [3..],
        group_instance_id: Option<StrBytes> [3.., nullable 3.., null],
        reason: Option<StrBytes> [5.., nullable 5.., null, ignorable],
    }
}

message! {
    leave_group_response, key 13, versions [0..=5], flexible [4..];

    /// The response to LeaveGroup.
    LeaveGroupResponse {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: i16 [0..],
        members: Vec<MemberResponse> [3..],
    }

    /// An element of `members` in `LeaveGroupResponse`.
    MemberResponse {
        member_id: StrBytes [3..],
        group_instance_id: Option<StrBytes> [3.., nullable 3..],
        error_code: i16 [3..],
    }
}
