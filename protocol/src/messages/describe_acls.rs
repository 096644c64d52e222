//! DescribeAcls, API key 29: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    describe_acls_request, key 29, versions [1..=3], flexible [2..];

    /// The request of DescribeAcls.
    DescribeAclsRequest {
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
    describe_acls_response, key 29, versions [1..=3], flexible [2..];

    /// The response to DescribeAcls.
    DescribeAclsResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        resources: Vec<DescribeAclsResource> [0..],
    }

    /// An element of `resources` in `DescribeAclsResponse`.
    DescribeAclsResource {
        resource_type: i8 [0..],
        resource_name: StrBytes [0..],
        pattern_type: i8 [1..] = 3,
        acls: Vec<AclDescription> [0..],
    }

    /// An element of `acls` in `DescribeAclsResource`.
    AclDescription {
        principal: StrBytes [0..],
        host: StrBytes [0..],
        operation: i8 [0..],
        permission_type: i8 [0..],
    }
}
