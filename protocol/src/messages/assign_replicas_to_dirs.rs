//! AssignReplicasToDirs, API key 73: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    assign_replicas_to_dirs_request, key 73, versions [0], flexible [0..];

    /// The request of AssignReplicasToDirs.
    AssignReplicasToDirsRequest {
        broker_id: i32 [0..],
        broker_epoch: i64 [0..] = -1,
        directories: Vec<DirectoryData> [0..],
    }

    /// An element of `directories` in `AssignReplicasToDirsRequest`.
    DirectoryData {
        id: Uuid [0..],
        topics: Vec<TopicData> [0..],
    }

    /// An element of `topics` in `DirectoryData`.
    TopicData {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `TopicData`.
    PartitionData {
        partition_index: i32 [0..],
    }
}

message! {
    assign_replicas_to_dirs_response, key 73, versions [0], flexible [0..];

    /// The response to AssignReplicasToDirs.
    AssignReplicasToDirsResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        directories: Vec<DirectoryData> [0..],
    }

    /// An element of `directories` in `AssignReplicasToDirsResponse`.
    DirectoryData {
        id: Uuid [0..],
        topics: Vec<TopicData> [0..],
    }

    /// An element of `topics` in `DirectoryData`.
    TopicData {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `TopicData`.
    PartitionData {
        partition_index: i32 [0..],
        error_code: i16 [0..],
    }
}
