//! CreateAcls, API key 30: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    create_acls_request, key 30, versions [1..=3], flexible [2..];

    /// The request of CreateAcls.
    CreateAclsRequest {
        creations: Vec<AclCreation> [0..],
    }

    /// An element of `creations` in `CreateAclsRequest`.
    AclCreation {
        resource_type: i8 [0..],
        resource_name: StrBytes [0..],
        resource_pattern_type: i8 [1..] = 3,
        principal: StrBytes [0..],
        host: StrBytes [0..],
        operation: i8 [0..],
        permission_type: i8 [0..],
    }
}

message! {
    create_acls_response, key 30, versions [1..=3], flexible [2..];

    /// The response to CreateAcls.
    CreateAclsResponse {
        throttle_time_ms: i32 [0..],
        results: Vec<AclCreationResult> [0..],
    }

    /// An element of `results` in `CreateAclsResponse`.
    AclCreationResult {
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
    }
}
