//! TxnOffsetCommit, API key 28: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    txn_offset_commit_request, key 28, versions [0..=5], flexible [3..];

    /// The request of TxnOffsetCommit.
    TxnOffsetCommitRequest {
        transactional_id: StrBytes [0..],
        group_id: StrBytes [0..],
        producer_id: i64 [0..],
        producer_epoch: i16 [0..],
        generation_id: i32 [3..] = -1,
        member_id: StrBytes [3..],
        group_instance_id: Option<StrBytes> [3.., nullable 3.., null],
        topics: Vec<TxnOffsetCommitRequestTopic> [0..],
    }

    /// An element of `topics` in `TxnOffsetCommitRequest`.
    TxnOffsetCommitRequestTopic {
        name: StrBytes [0..],
        partitions: Vec<TxnOffsetCommitRequestPartition> [0..],
    }

    /// An element of `partitions` in `TxnOffsetCommitRequestTopic`.
    TxnOffsetCommitRequestPartition {
        partition_index: i32 [0..],
        committed_offset: i64 [0..],
        committed_leader_epoch: i32 [2.., ignorable] = -1,
        committed_metadata: Option<StrBytes> [0.., nullable 0..],
    }
}

message! {
    txn_offset_commit_response, key 28, versions [0..=5], flexible [3..];

    /// The response to TxnOffsetCommit.
    TxnOffsetCommitResponse {
        throttle_time_ms: i32 [0..],
        topics: Vec<TxnOffsetCommitResponseTopic> [0..],
    }

    /// An element of `topics` in `TxnOffsetCommitResponse`.
    TxnOffsetCommitResponseTopic {
        name: StrBytes [0..],
        partitions: Vec<TxnOffsetCommitResponsePartition> [0..],
    }

    /// An element of `partitions` in `TxnOffsetCommitResponseTopic`.
    TxnOffsetCommitResponsePartition {
        partition_index: i32 [0..],
        error_code: i16 [0..],
    }
}
