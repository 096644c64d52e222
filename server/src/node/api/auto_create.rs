//! Topics made on demand: by Metadata (`auto.create.topics.enable`), and `__consumer_offsets` by FindCoordinator.
//! The request waits for the commit and is then answered from the image that has the topic.

use super::super::controller_call::ControllerCall;
use super::super::request::RequestMeta;
use super::super::{Core, Gather, METADATA_CORE, Mail};
use super::{find_coordinator, metadata};
use odradek_protocol::messages::{FindCoordinatorRequest, MetadataRequest};
use odradek_protocol::{ErrorCode, StrBytes};

/// The request that waits for topics.
pub enum Creation {
    Metadata(MetadataRequest),
    Coordinator(FindCoordinatorRequest),
}

pub struct CreationGather {
    waiting: Creation,
}

/// Asks the controller for the topics and parks the request.
pub fn create(core: &mut Core, meta: RequestMeta, waiting: Creation, topics: Vec<StrBytes>) {
    let token = core.token(&meta, 0);
    core.wait(meta, Gather::Creation(CreationGather { waiting }), 1);
    core.send_to_core(
        METADATA_CORE,
        Mail::Controller {
            token,
            call: ControllerCall::Create { topics },
        },
    );
}

pub fn finish(
    core: &mut Core,
    meta: RequestMeta,
    gather: CreationGather,
    created: &[(StrBytes, ErrorCode)],
) {
    match gather.waiting {
        Creation::Metadata(body) => metadata::answer(core, meta, &body, created),
        Creation::Coordinator(body) => find_coordinator::answer(core, meta, &body),
    }
}
