//! DeleteAcls, API key 31: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    delete_acls_request, key 31, versions [1..=3], flexible [2..];

    /// The request of DeleteAcls.
    DeleteAclsRequest {
        filters: Vec<DeleteAclsFilter> [0..],
    }

    /// An element of `filters` in `DeleteAclsRequest`.
    DeleteAclsFilter {
        resource_type_filter: i8 [0..],
        resource_name_filter: Option<StrBytes> [0.., nullable 0..],
        pattern_type_filter: i8 [1..] = 3,
        principal_filter: Option<StrBytes> [0.., nullable 0..],
        host_filter: Option<StrBytes> [0.., nullable 0..],
        operation: i8 [0..],
        permission_type: i8 [0..],
    }
}

message! {
    delete_acls_response, key 31, versions [1..=3], flexible [2..];

    /// The response to DeleteAcls.
    DeleteAclsResponse {
        throttle_time_ms: i32 [0..],
        filter_results: Vec<DeleteAclsFilterResult> [0..],
    }

    /// An element of `filter_results` in `DeleteAclsResponse`.
    DeleteAclsFilterResult {
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        matching_acls: Vec<DeleteAclsMatchingAcl> [0..],
    }

    /// An element of `matching_acls` in `DeleteAclsFilterResult`.
    DeleteAclsMatchingAcl {
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        resource_type: i8 [0..],
        resource_name: StrBytes [0..],
        pattern_type: i8 [1..] = 3,
        principal: StrBytes [0..],
        host: StrBytes [0..],
        operation: i8 [0..],
        permission_type: i8 [0..],
    }
}
