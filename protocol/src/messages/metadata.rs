//! Metadata, API key 3: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    metadata_request, key 3, versions [0..=13], flexible [9..];

    /// The request of Metadata.
    MetadataRequest {
        topics: Option<Vec<MetadataRequestTopic>> [0.., nullable 1..],
        allow_auto_topic_creation: bool [4..] = true,
        include_cluster_authorized_operations: bool [8..=10],
        include_topic_authorized_operations: bool [8..],
    }

    /// An element of `topics` in `MetadataRequest`.
    MetadataRequestTopic {
        topic_id: Uuid [10.., ignorable],
        name: Option<StrBytes> [0.., nullable 10..],
    }
}

message! {
    metadata_response, key 3, versions [0..=13], flexible [9..];

    /// The response to Metadata.
    MetadataResponse {
        throttle_time_ms: i32 [3.., ignorable],
        brokers: Vec<MetadataResponseBroker> [0..],
        cluster_id: Option<StrBytes> [2.., nullable 2.., null, ignorable],
        controller_id: i32 [1.., ignorable] = -1,
        topics: Vec<MetadataResponseTopic> [0..],
        cluster_authorized_operations: i32 [8..=10] = -2147483648,
        error_code: i16 [13.., ignorable],
    }

    /// An element of `brokers` in `MetadataResponse`.
    MetadataResponseBroker {
        node_id: i32 [0..],
        host: StrBytes [0..],
        port: i32 [0..],
        rack: Option<StrBytes> [1.., nullable 1.., null, ignorable],
    }

    /// An element of `topics` in `MetadataResponse`.
    MetadataResponseTopic {
        error_code: i16 [0..],
        name: Option<StrBytes> [0.., nullable 12..],
        topic_id: Uuid [10.., ignorable],
        is_internal: bool [1.., ignorable],
        partitions: Vec<MetadataResponsePartition> [0..],
        topic_authorized_operations: i32 [8..] = -2147483648,
    }

    /// An element of `partitions` in `MetadataResponseTopic`.
    MetadataResponsePartition {
        error_code: i16 [0..],
        partition_index: i32 [0..],
        leader_id: i32 [0..],
        leader_epoch: i32 [7.., ignorable] = -1,
        replica_nodes: Vec<i32> [0..],
        isr_nodes: Vec<i32> [0..],
        offline_replicas: Vec<i32> [5.., ignorable],
    }
}
