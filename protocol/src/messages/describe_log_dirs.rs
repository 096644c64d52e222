//! DescribeLogDirs, API key 35: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    describe_log_dirs_request, key 35, versions [1..=5], flexible [2..];

    /// The request of DescribeLogDirs.
    DescribeLogDirsRequest {
        topics: Option<Vec<DescribableLogDirTopic>> [0.., nullable 0..],
    }

    /// An element of `topics` in `DescribeLogDirsRequest`.
    DescribableLogDirTopic {
        topic: StrBytes [0..],
        partitions: Vec<i32> [0..],
    }
}

message! {
    describe_log_dirs_response, key 35, versions [1..=5], flexible [2..];

    /// The response to DescribeLogDirs.
    DescribeLogDirsResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [3.., ignorable],
        results: Vec<DescribeLogDirsResult> [0..],
    }

    /// An element of `results` in `DescribeLogDirsResponse`.
    DescribeLogDirsResult {
        error_code: i16 [0..],
        log_dir: StrBytes [0..],
        topics: Vec<DescribeLogDirsTopic> [0..],
        total_bytes: i64 [4.., ignorable] = -1,
        usable_bytes: i64 [4.., ignorable] = -1,
        is_cordoned: bool [5.., ignorable],
    }

    /// An element of `topics` in `DescribeLogDirsResult`.
    DescribeLogDirsTopic {
        name: StrBytes [0..],
        partitions: Vec<DescribeLogDirsPartition> [0..],
    }

    /// An element of `partitions` in `DescribeLogDirsTopic`.
    DescribeLogDirsPartition {
        partition_index: i32 [0..],
        partition_size: i64 [0..],
        offset_lag: i64 [0..],
        is_future_key: bool [0..],
    }
}
