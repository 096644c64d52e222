//! What the controller answers, forwarded to its core as bytes: CreateTopics (19), DeleteTopics (20), AlterConfigs (33),
//! CreatePartitions (37), IncrementalAlterConfigs (44), DescribeQuorum (55), UpdateFeatures (57), and on the controllers'
//! listener BrokerRegistration (62), BrokerHeartbeat (63), AllocateProducerIds (67), and what consensus answers: Fetch (1) of
//! the metadata log, Vote (52), BeginQuorumEpoch (53), EndQuorumEpoch (54) and FetchSnapshot (59). Decided in `metadata_group`.

use super::super::controller_call::{ControllerAnswer, ControllerCall};
use super::super::request::{FrameRefusal, Request, RequestMeta, begin_response};
use super::super::{Core, Gather, METADATA_CORE, Mail};
use super::alter_configs;
use crate::machine::LogLevel;
use odradek_protocol::Message;
use odradek_protocol::codec::Reader;
use odradek_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};

/// What was answered here already, by the resource's place in the request; only IncrementalAlterConfigs has any.
#[derive(Default)]
pub struct ControllerGather {
    pub(super) answered: Vec<(usize, AlterConfigsResourceResponse)>,
}

pub fn handle(core: &mut Core, request: Request) -> Result<(), FrameRefusal> {
    let meta = request.meta;
    let token = core.token(&meta, 0);
    let call = ControllerCall::Client {
        api: meta.api,
        version: meta.version,
        body: request.body.rest(),
        listener: meta.listener,
    };
    core.wait(meta, Gather::Controller(ControllerGather::default()), 1);
    core.send_to_core(METADATA_CORE, Mail::Controller { token, call });
    Ok(())
}

pub fn finish(
    core: &mut Core,
    meta: RequestMeta,
    gather: ControllerGather,
    answer: ControllerAnswer,
) {
    match answer {
        ControllerAnswer::Body(segments) if !gather.answered.is_empty() => {
            let mut reader = Reader::new(alter_configs::joined(&segments));
            let mut response = IncrementalAlterConfigsResponse::decode(&mut reader, meta.version)
                .expect("the controller's own response decodes");
            alter_configs::join(&mut response, gather.answered);
            core.respond(meta, &response);
        }
        ControllerAnswer::Body(segments) => {
            let mut writer = begin_response(&meta);
            for segment in segments {
                writer.write_segment(segment);
            }
            core.respond_encoded(meta, writer);
        }
        ControllerAnswer::Refused(reason) => {
            core.log(LogLevel::Warn, format!("closing a connection: {reason}"));
            core.answer_nothing(&meta, true);
        }
        other => {
            core.log(
                LogLevel::Error,
                format!("the controller answered a forwarded request with {other:?}"),
            );
            core.answer_nothing(&meta, true);
        }
    }
}
