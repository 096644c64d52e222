//! Fetch, API key 1: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    fetch_request, key 1, versions [4..=18], flexible [12..];

    /// The request of Fetch.
    FetchRequest {
        replica_id: i32 [0..=14] = -1,
        max_wait_ms: i32 [0..],
        min_bytes: i32 [0..],
        max_bytes: i32 [3.., ignorable] = 0x7fffffff,
        isolation_level: i8 [4.., ignorable],
        session_id: i32 [7.., ignorable],
        session_epoch: i32 [7.., ignorable] = -1,
        topics: Vec<FetchTopic> [0..],
        forgotten_topics_data: Vec<ForgottenTopic> [7..],
        rack_id: StrBytes [11.., ignorable],
        cluster_id: Option<StrBytes> [12.., nullable 12.., null, ignorable] tag 0 [12..],
        replica_state: ReplicaState [15..] tag 1 [15..],
    }

    /// The value of `replica_state` in `FetchRequest`.
    ReplicaState {
        replica_id: i32 [15..] = -1,
        replica_epoch: i64 [15..] = -1,
    }

    /// An element of `topics` in `FetchRequest`.
    FetchTopic {
        topic: StrBytes [0..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partitions: Vec<FetchPartition> [0..],
    }

    /// An element of `partitions` in `FetchTopic`.
    FetchPartition {
        partition: i32 [0..],
        current_leader_epoch: i32 [9.., ignorable] = -1,
        fetch_offset: i64 [0..],
        last_fetched_epoch: i32 [12..] = -1,
        log_start_offset: i64 [5.., ignorable] = -1,
        partition_max_bytes: i32 [0..],
        replica_directory_id: Uuid [17.., ignorable] tag 0 [17..],
        high_watermark: i64 [18.., ignorable] tag 1 [18..] = 9223372036854775807,
    }

    /// An element of `forgotten_topics_data` in `FetchRequest`.
    ForgottenTopic {
        topic: StrBytes [7..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partitions: Vec<i32> [7..],
    }
}

message! {
    fetch_response, key 1, versions [4..=18], flexible [12..];

    /// The response to Fetch.
    FetchResponse {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: i16 [7.., ignorable],
        session_id: i32 [7..],
        responses: Vec<FetchableTopicResponse> [0..],
        node_endpoints: Vec<NodeEndpoint> [16..] tag 0 [16..],
    }

    /// An element of `responses` in `FetchResponse`.
    FetchableTopicResponse {
        topic: StrBytes [0..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `FetchableTopicResponse`.
    PartitionData {
        partition_index: i32 [0..],
        error_code: i16 [0..],
        high_watermark: i64 [0..],
        last_stable_offset: i64 [4.., ignorable] = -1,
        log_start_offset: i64 [5.., ignorable] = -1,
        aborted_transactions: Option<Vec<AbortedTransaction>> [4.., nullable 4.., ignorable],
        preferred_read_replica: i32 [11..] = -1,
        records: Option<Bytes> [0.., nullable 0.., null],
        diverging_epoch: EpochEndOffset [12..] tag 0 [12..],
        current_leader: LeaderIdAndEpoch [12..] tag 1 [12..],
        snapshot_id: SnapshotId [12..] tag 2 [12..],
    }

    /// The value of `diverging_epoch` in `PartitionData`.
    EpochEndOffset {
        epoch: i32 [12..] = -1,
        end_offset: i64 [12..] = -1,
    }

    /// The value of `current_leader` in `PartitionData`.
    LeaderIdAndEpoch {
        leader_id: i32 [12..] = -1,
        leader_epoch: i32 [12..] = -1,
    }

    /// The value of `snapshot_id` in `PartitionData`.
    SnapshotId {
        end_offset: i64 [0..] = -1,
        epoch: i32 [0..] = -1,
    }

    /// An element of `aborted_transactions` in `PartitionData`.
    AbortedTransaction {
        producer_id: i64 [4..],
        first_offset: i64 [4..],
    }

    /// An element of `node_endpoints` in `FetchResponse`.
    NodeEndpoint {
        node_id: i32 [16..],
        host: StrBytes [16..],
        port: i32 [16..],
        rack: Option<StrBytes> [16.., nullable 16.., null],
    }
}
