//! WriteTxnMarkers, API key 27: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    write_txn_markers_request, key 27, versions [1..=2], flexible [1..];

    /// The request of WriteTxnMarkers.
    WriteTxnMarkersRequest {
        markers: Vec<WritableTxnMarker> [0..],
    }

    /// An element of `markers` in `WriteTxnMarkersRequest`.
    WritableTxnMarker {
        producer_id: i64 [0..],
        producer_epoch: i16 [0..],
        transaction_result: bool [0..],
        topics: Vec<WritableTxnMarkerTopic> [0..],
        coordinator_epoch: i32 [0..],
        transaction_version: i8 [2.., ignorable],
    }

    /// An element of `topics` in `WritableTxnMarker`.
    WritableTxnMarkerTopic {
        name: StrBytes [0..],
        partition_indexes: Vec<i32> [0..],
    }
}

message! {
    write_txn_markers_response, key 27, versions [1..=2], flexible [1..];

    /// The response to WriteTxnMarkers.
    WriteTxnMarkersResponse {
        markers: Vec<WritableTxnMarkerResult> [0..],
    }

    /// An element of `markers` in `WriteTxnMarkersResponse`.
    WritableTxnMarkerResult {
        producer_id: i64 [0..],
        topics: Vec<WritableTxnMarkerTopicResult> [0..],
    }

    /// An element of `topics` in `WritableTxnMarkerResult`.
    WritableTxnMarkerTopicResult {
        name: StrBytes [0..],
        partitions: Vec<WritableTxnMarkerPartitionResult> [0..],
    }

    /// An element of `partitions` in `WritableTxnMarkerTopicResult`.
    WritableTxnMarkerPartitionResult {
        partition_index: i32 [0..],
        error_code: i16 [0..],
    }
}
