//! AllocateProducerIds (KIP-730): a broker takes blocks of producer ids, so that InitProducerId needs no controller.

use odradek_protocol::ErrorCode;
use odradek_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use odradek_protocol::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use odradek_protocol::metadata_records::ProducerIdsRecord;

use super::QuorumController;
use super::options::{CallContext, ControllerResult, Refusal};

/// Ids in a block.
pub const PRODUCER_ID_BLOCK: i32 = 1_000;

impl QuorumController {
    /// Gives a broker the next block.
    pub fn allocate_producer_ids(
        &mut self,
        request: &AllocateProducerIdsRequest,
        _context: &CallContext,
    ) -> ControllerResult<AllocateProducerIdsResponse> {
        let checked = self
            .check_active()
            .and_then(|()| self.check_broker_epoch(request.broker_id, request.broker_epoch));
        let first = self.image().next_producer_id;
        let next = first
            .checked_add(i64::from(PRODUCER_ID_BLOCK))
            .ok_or_else(|| {
                Refusal::new(
                    ErrorCode::UnknownServerError,
                    "All producer ids of this cluster are used up.",
                )
            });
        match checked.and(next) {
            Err(refusal) => ControllerResult::unchanged(AllocateProducerIdsResponse {
                error_code: refusal.code.code(),
                ..AllocateProducerIdsResponse::default()
            }),
            Ok(next) => {
                let record = ProducerIdsRecord {
                    broker_id: request.broker_id,
                    broker_epoch: request.broker_epoch,
                    next_producer_id: next,
                    ..ProducerIdsRecord::default()
                };
                let response = AllocateProducerIdsResponse {
                    producer_id_start: first,
                    producer_id_len: PRODUCER_ID_BLOCK,
                    ..AllocateProducerIdsResponse::default()
                };
                ControllerResult::atomic(vec![record.into()], response)
            }
        }
    }
}
