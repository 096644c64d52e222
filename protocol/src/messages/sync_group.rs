//! SyncGroup, API key 14: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    sync_group_request, key 14, versions [0..=5], flexible [4..];

    /// The request of SyncGroup.
    SyncGroupRequest {
        group_id: StrBytes [0..],
        generation_id: i32 [0..],
        member_id: StrBytes [0..],
        group_instance_id: Option<StrBytes> [3.., nullable 3.., null],
        protocol_type: Option<StrBytes> [5.., nullable 5.., null, ignorable],
        protocol_name: Option<StrBytes> [5.., nullable 5.., null, ignorable],
        assignments: Vec<SyncGroupRequestAssignment> [0..],
    }

    /// An element of `assignments` in `SyncGroupRequest`.
    SyncGroupRequestAssignment {
        member_id: StrBytes [0..],
        assignment: Bytes [0..],
    }
}

message! {
    sync_group_response, key 14, versions [0..=5], flexible [4..];

    /// The response to SyncGroup.
    SyncGroupResponse {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: i16 [0..],
        protocol_type: Option<StrBytes> [5.., nullable 5.., null, ignorable],
        protocol_name: Option<StrBytes> [5.., nullable 5.., null, ignorable],
        assignment: Bytes [0..],
    }
}
