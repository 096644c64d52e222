//! AlterReplicaLogDirs, API key 34: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    alter_replica_log_dirs_request, key 34, versions [1..=2], flexible [2..];

    /// The request of AlterReplicaLogDirs.
    AlterReplicaLogDirsRequest {
        dirs: Vec<AlterReplicaLogDir> [0..],
    }

    /// An element of `dirs` in `AlterReplicaLogDirsRequest`.
    AlterReplicaLogDir {
        path: StrBytes [0..],
        topics: Vec<AlterReplicaLogDirTopic> [0..],
    }

    /// An element of `topics` in `AlterReplicaLogDir`.
    AlterReplicaLogDirTopic {
        name: StrBytes [0..],
        partitions: Vec<i32> [0..],
    }
}

message! {
    alter_replica_log_dirs_response, key 34, versions [1..=2], flexible [2..];

    /// The response to AlterReplicaLogDirs.
    AlterReplicaLogDirsResponse {
        throttle_time_ms: i32 [0..],
        results: Vec<AlterReplicaLogDirTopicResult> [0..],
    }

    /// An element of `results` in `AlterReplicaLogDirsResponse`.
    AlterReplicaLogDirTopicResult {
        topic_name: StrBytes [0..],
        partitions: Vec<AlterReplicaLogDirPartitionResult> [0..],
    }

    /// An element of `partitions` in `AlterReplicaLogDirTopicResult`.
    AlterReplicaLogDirPartitionResult {
        partition_index: i32 [0..],
        error_code: i16 [0..],
    }
}
