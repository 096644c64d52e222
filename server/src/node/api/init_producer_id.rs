//! InitProducerId (key 22), versions 0-5: ids for idempotent producers, from blocks the controller gives out.
//! Not done here: transactional ids (their issue); one is refused with UNSUPPORTED_VERSION, so that clients stop at once.

use super::super::controller_call::ControllerCall;
use super::super::request::{FrameRefusal, Request, RequestMeta, read_body};
use super::super::{Core, METADATA_CORE, Mail};
use odradek_protocol::ErrorCode;
use odradek_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use odradek_shard::RequestToken;
use std::collections::VecDeque;

/// Requests that may wait for a block; one more is told to try again.
const WAITING_MAX: usize = 10_000;

/// Ids this core may still give out, and who waits for more.
#[derive(Default)]
pub struct ProducerIds {
    next: i64,
    end: i64,
    waiting: VecDeque<RequestMeta>,
    asked: bool,
}

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: InitProducerIdRequest = read_body(&mut request)?;
    let meta = request.meta;
    let half_set = (body.producer_id == -1) != (body.producer_epoch == -1);
    let empty = body.transactional_id.as_deref() == Some("");
    if empty {
        respond(core, meta, Err(ErrorCode::InvalidRequest));
    } else if body.transactional_id.is_some() {
        respond(core, meta, Err(ErrorCode::UnsupportedVersion));
    } else if half_set {
        respond(core, meta, Err(ErrorCode::InvalidRequest));
    } else {
        give(core, meta);
    }
    Ok(())
}

fn give(core: &mut Core, meta: RequestMeta) {
    let ids = &mut core.producer_ids;
    if ids.next < ids.end {
        let id = ids.next;
        ids.next += 1;
        respond(core, meta, Ok(id));
        return;
    }
    if ids.waiting.len() >= WAITING_MAX {
        respond(core, meta, Err(ErrorCode::CoordinatorLoadInProgress));
        return;
    }
    ids.waiting.push_back(meta);
    if !ids.asked {
        ids.asked = true;
        let token = RequestToken {
            core: core.index,
            ..RequestToken::default()
        };
        core.send_to_core(
            METADATA_CORE,
            Mail::Controller {
                token,
                call: ControllerCall::ProducerIds,
            },
        );
    }
}

/// The controller's answer: serves who waited, or tells them to try again.
pub fn on_block(core: &mut Core, block: Result<(i64, i32), ErrorCode>) {
    core.producer_ids.asked = false;
    let waiting = std::mem::take(&mut core.producer_ids.waiting);
    match block {
        Ok((first, count)) => {
            core.producer_ids.next = first;
            core.producer_ids.end = first + i64::from(count);
            for meta in waiting {
                give(core, meta);
            }
        }
        Err(_) => {
            for meta in waiting {
                respond(core, meta, Err(ErrorCode::CoordinatorLoadInProgress));
            }
        }
    }
}

fn respond(core: &mut Core, meta: RequestMeta, id: Result<i64, ErrorCode>) {
    let response = match id {
        Ok(producer_id) => InitProducerIdResponse {
            producer_id,
            producer_epoch: 0,
            ..InitProducerIdResponse::default()
        },
        Err(error) => InitProducerIdResponse {
            error_code: error.code(),
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdResponse::default()
        },
    };
    core.respond(meta, &response);
}
