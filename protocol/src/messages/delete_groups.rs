//! DeleteGroups, API key 42: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    delete_groups_request, key 42, versions [0..=2], flexible [2..];

    /// The request of DeleteGroups.
    DeleteGroupsRequest {
        groups_names: Vec<StrBytes> [0..],
    }
}

message! {
    delete_groups_response, key 42, versions [0..=2], flexible [2..];

    /// The response to DeleteGroups.
    DeleteGroupsResponse {
        throttle_time_ms: i32 [0..],
        results: Vec<DeletableGroupResult> [0..],
    }

    /// An element of `results` in `DeleteGroupsResponse`.
    DeletableGroupResult {
        group_id: StrBytes [0..],
        error_code: i16 [0..],
    }
}
