//! InitProducerId, API key 22: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    init_producer_id_request, key 22, versions [0..=6], flexible [2..];

    /// The request of InitProducerId.
    InitProducerIdRequest {
        transactional_id: Option<StrBytes> [0.., nullable 0..],
        transaction_timeout_ms: i32 [0..],
        producer_id: i64 [3..] = -1,
        producer_epoch: i16 [3..] = -1,
        enable2_pc: bool [6..],
        keep_prepared_txn: bool [6..],
    }
}

message! {
    init_producer_id_response, key 22, versions [0..=6], flexible [2..];

    /// The response to InitProducerId.
    InitProducerIdResponse {
        throttle_time_ms: i32 [0.., ignorable],
        error_code: i16 [0..],
        producer_id: i64 [0..] = -1,
        producer_epoch: i16 [0..],
        ongoing_txn_producer_id: i64 [6..] = -1,
        ongoing_txn_producer_epoch: i16 [6..] = -1,
    }
}
