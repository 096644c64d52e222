//! Records of `__remote_log_metadata` (KIP-405).

use crate::codec::{MessageInfo, message};

pub use remote_log_segment_metadata_record::RemoteLogSegmentMetadataRecord;
pub use remote_log_segment_metadata_snapshot_record::RemoteLogSegmentMetadataSnapshotRecord;
pub use remote_log_segment_metadata_update_record::RemoteLogSegmentMetadataUpdateRecord;
pub use remote_partition_delete_metadata_record::RemotePartitionDeleteMetadataRecord;

/// Every message of this file.
pub const MESSAGES: &[MessageInfo] = &[
    remote_log_segment_metadata_record::INFO,
    remote_log_segment_metadata_update_record::INFO,
    remote_partition_delete_metadata_record::INFO,
    remote_log_segment_metadata_snapshot_record::INFO,
];

message! {
    remote_log_segment_metadata_record, key 0, versions [0], flexible [0..];

    /// Record of type 0.
    RemoteLogSegmentMetadataRecord {
        remote_log_segment_id: RemoteLogSegmentIdEntry [0..],
        start_offset: i64 [0..],
        end_offset: i64 [0..],
        broker_id: i32 [0..],
        max_timestamp_ms: i64 [0..],
        event_timestamp_ms: i64 [0..],
        segment_leader_epochs: Vec<SegmentLeaderEpochEntry> [0..],
        segment_size_in_bytes: i32 [0..],
        custom_metadata: Option<Bytes> [0.., nullable 0.., null],
        remote_log_segment_state: i8 [0..],
        txn_index_empty: bool [0..] tag 0 [0..],
    }

    /// The value of `remote_log_segment_id` in `RemoteLogSegmentMetadataRecord`.
    RemoteLogSegmentIdEntry {
        topic_id_partition: TopicIdPartitionEntry [0..],
        id: Uuid [0..],
    }

    /// The value of `topic_id_partition` in `RemoteLogSegmentIdEntry`.
    TopicIdPartitionEntry {
        name: StrBytes [0..],
        id: Uuid [0..],
        partition: i32 [0..],
    }

    /// An element of `segment_leader_epochs` in `RemoteLogSegmentMetadataRecord`.
    SegmentLeaderEpochEntry {
        leader_epoch: i32 [0..],
        offset: i64 [0..],
    }
}

message! {
    remote_log_segment_metadata_update_record, key 1, versions [0], flexible [0..];

    /// Record of type 1.
    RemoteLogSegmentMetadataUpdateRecord {
        remote_log_segment_id: RemoteLogSegmentIdEntry [0..],
        broker_id: i32 [0..],
        event_timestamp_ms: i64 [0..],
        custom_metadata: Option<Bytes> [0.., nullable 0.., null],
        remote_log_segment_state: i8 [0..],
    }

    /// The value of `remote_log_segment_id` in `RemoteLogSegmentMetadataUpdateRecord`.
    RemoteLogSegmentIdEntry {
        topic_id_partition: TopicIdPartitionEntry [0..],
        id: Uuid [0..],
    }

    /// The value of `topic_id_partition` in `RemoteLogSegmentIdEntry`.
    TopicIdPartitionEntry {
        name: StrBytes [0..],
        id: Uuid [0..],
        partition: i32 [0..],
    }
}

message! {
    remote_partition_delete_metadata_record, key 2, versions [0], flexible [0..];

    /// Record of type 2.
    RemotePartitionDeleteMetadataRecord {
        topic_id_partition: TopicIdPartitionEntry [0..],
        broker_id: i32 [0..],
        event_timestamp_ms: i64 [0..],
        remote_partition_delete_state: i8 [0..],
    }

    /// The value of `topic_id_partition` in `RemotePartitionDeleteMetadataRecord`.
    TopicIdPartitionEntry {
        name: StrBytes [0..],
        id: Uuid [0..],
        partition: i32 [0..],
    }
}

message! {
    remote_log_segment_metadata_snapshot_record, key 3, versions [0], flexible [0..];

    /// Record of type 3.
    RemoteLogSegmentMetadataSnapshotRecord {
        segment_id: Uuid [0..],
        start_offset: i64 [0..],
        end_offset: i64 [0..],
        broker_id: i32 [0..],
        max_timestamp_ms: i64 [0..],
        event_timestamp_ms: i64 [0..],
        segment_leader_epochs: Vec<SegmentLeaderEpochEntry> [0..],
        segment_size_in_bytes: i32 [0..],
        custom_metadata: Option<Bytes> [0.., nullable 0.., null],
        remote_log_segment_state: i8 [0..],
        txn_index_empty: bool [0..] tag 0 [0..],
    }

    /// An element of `segment_leader_epochs` in `RemoteLogSegmentMetadataSnapshotRecord`.
    SegmentLeaderEpochEntry {
        leader_epoch: i32 [0..],
        offset: i64 [0..],
    }
}
