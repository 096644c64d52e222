//! AllocateProducerIds, API key 67: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    allocate_producer_ids_request, key 67, versions [0], flexible [0..];

    /// The request of AllocateProducerIds.
    AllocateProducerIdsRequest {
        broker_id: i32 [0..],
        broker_epoch: i64 [0..] = -1,
    }
}

message! {
    allocate_producer_ids_response, key 67, versions [0], flexible [0..];

    /// The response to AllocateProducerIds.
    AllocateProducerIdsResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        producer_id_start: i64 [0..],
        producer_id_len: i32 [0..],
    }
}
