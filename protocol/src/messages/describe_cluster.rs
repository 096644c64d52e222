//! DescribeCluster, API key 60: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    describe_cluster_request, key 60, versions [0..=2], flexible [0..];

    /// The request of DescribeCluster.
    DescribeClusterRequest {
        include_cluster_authorized_operations: bool [0..],
        endpoint_type: i8 [1..] = 1,
        include_fenced_brokers: bool [2..],
    }
}

message! {
    describe_cluster_response, key 60, versions [0..=2], flexible [0..];

    /// The response to DescribeCluster.
    DescribeClusterResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        endpoint_type: i8 [1..] = 1,
        cluster_id: StrBytes [0..],
        controller_id: i32 [0..] = -1,
        brokers: Vec<DescribeClusterBroker> [0..],
        cluster_authorized_operations: i32 [0..] = -2147483648,
    }

    /// An element of `brokers` in `DescribeClusterResponse`.
    DescribeClusterBroker {
        broker_id: i32 [0..],
        host: StrBytes [0..],
        port: i32 [0..],
        rack: Option<StrBytes> [0.., nullable 0.., null],
        is_fenced: bool [2..],
    }
}
