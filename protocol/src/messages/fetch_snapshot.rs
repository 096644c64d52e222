//! FetchSnapshot, API key 59: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    fetch_snapshot_request, key 59, versions [0..=1], flexible [0..];

    /// The request of FetchSnapshot.
    FetchSnapshotRequest {
        replica_id: i32 [0..] = -1,
        max_bytes: i32 [0..] = 0x7fffffff,
        topics: Vec<TopicSnapshot> [0..],
        cluster_id: Option<StrBytes> [0.., nullable 0.., null] tag 0 [0..],
    }

    /// An element of `topics` in `FetchSnapshotRequest`.
    TopicSnapshot {
        name: StrBytes [0..],
        partitions: Vec<PartitionSnapshot> [0..],
    }

    /// An element of `partitions` in `TopicSnapshot`.
    PartitionSnapshot {
        partition: i32 [0..],
        current_leader_epoch: i32 [0..],
        snapshot_id: SnapshotId [0..],
        position: i64 [0..],
        replica_directory_id: Uuid [1.., ignorable] tag 0 [1..],
    }

    /// The value of `snapshot_id` in `PartitionSnapshot`.
    SnapshotId {
        end_offset: i64 [0..],
        epoch: i32 [0..],
    }
}

message! {
    fetch_snapshot_response, key 59, versions [0..=1], flexible [0..];

    /// The response to FetchSnapshot.
    FetchSnapshotResponse {
        throttle_time_ms: i32 [0.., ignorable],
        error_code: i16 [0..],
        topics: Vec<TopicSnapshot> [0..],
        node_endpoints: Vec<NodeEndpoint> [1..] tag 0 [1..],
    }

    /// An element of `topics` in `FetchSnapshotResponse`.
    TopicSnapshot {
        name: StrBytes [0..],
        partitions: Vec<PartitionSnapshot> [0..],
    }

    /// An element of `partitions` in `TopicSnapshot`.
    PartitionSnapshot {
        index: i32 [0..],
        error_code: i16 [0..],
        snapshot_id: SnapshotId [0..],
        size: i64 [0..],
        position: i64 [0..],
        unaligned_records: Option<Bytes> [0.., null],
        current_leader: LeaderIdAndEpoch [0..] tag 0 [0..],
    }

    /// The value of `snapshot_id` in `PartitionSnapshot`.
    SnapshotId {
        end_offset: i64 [0..],
        epoch: i32 [0..],
    }

    /// The value of `current_leader` in `PartitionSnapshot`.
    LeaderIdAndEpoch {
        leader_id: i32 [0..],
        leader_epoch: i32 [0..],
    }

    /// An element of `node_endpoints` in `FetchSnapshotResponse`.
    NodeEndpoint {
        node_id: i32 [1..],
        host: StrBytes [1..],
        port: u16 [1..],
    }
}
