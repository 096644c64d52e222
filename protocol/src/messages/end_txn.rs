//! EndTxn, API key 26: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    end_txn_request, key 26, versions [0..=5], flexible [3..];

    /// The request of EndTxn.
    EndTxnRequest {
        transactional_id: StrBytes [0..],
        producer_id: i64 [0..],
        producer_epoch: i16 [0..],
        committed: bool [0..],
    }
}

message! {
    end_txn_response, key 26, versions [0..=5], flexible [3..];

    /// The response to EndTxn.
    EndTxnResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        producer_id: i64 [5.., ignorable] = -1,
        producer_epoch: i16 [5.., ignorable] = -1,
    }
}
