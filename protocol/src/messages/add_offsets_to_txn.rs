//! AddOffsetsToTxn, API key 25: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    add_offsets_to_txn_request, key 25, versions [0..=4], flexible [3..];

    /// The request of AddOffsetsToTxn.
    AddOffsetsToTxnRequest {
        transactional_id: StrBytes [0..],
        producer_id: i64 [0..],
        producer_epoch: i16 [0..],
        group_id: StrBytes [0..],
    }
}

message! {
    add_offsets_to_txn_response, key 25, versions [0..=4], flexible [3..];

    /// The response to AddOffsetsToTxn.
    AddOffsetsToTxnResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
    }
}
