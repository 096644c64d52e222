//! ListGroups, API key 16: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    list_groups_request, key 16, versions [0..=5], flexible [3..];

    /// The request of ListGroups.
    ListGroupsRequest {
        states_filter: Vec<StrBytes> [4..],
        types_filter: Vec<StrBytes> [5..],
    }
}

message! {
    list_groups_response, key 16, versions [0..=5], flexible [3..];

    /// The response to ListGroups.
    ListGroupsResponse {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: i16 [0..],
        groups: Vec<ListedGroup> [0..],
    }

    /// An element of `groups` in `ListGroupsResponse`.
    ListedGroup {
        group_id: StrBytes [0..],
        protocol_type: StrBytes [0..],
        group_state: StrBytes [4.., ignorable],
        group_type: StrBytes [5.., ignorable],
    }
}
