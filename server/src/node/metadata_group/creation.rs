//! Topics that are created in turns (M1): the request is decoded some hundred topics a turn; then each turn decides as many topics as make about [`TURN_RECORDS`] records, appends these as a batch
//! of their own, and lets the loop serve what else came. A crash between leaves the topics of the batches that became durable, as a Kafka
//! client must expect of one request: each topic has its own result. The answer leaves when all is committed and placed.
//!
//! Calls that come meanwhile wait, so that a client's calls are decided in its order; heartbeats and what consensus answers do not.

use super::calls::AppendError;
use super::create_request::CreateRequest;
use super::created_topics::CreatedTopics;
use super::{MetadataGroup, deliver, with_group};
use crate::node::Core;
use crate::node::controller_call::{ControllerAnswer, ControllerCall};
use bytes::Bytes;
use odradek_protocol::Message;
use odradek_protocol::api::ApiKey;
use odradek_protocol::codec::DecodeError;
use odradek_protocol::messages::CreateTopicsResponse;
use odradek_protocol::metadata_records::MetadataRecord;
use odradek_raft::consensus::ProposeRefusal;
use odradek_raft::controller::TopicCreation;
use odradek_shard::RequestToken;
use std::collections::VecDeque;

/// Records of one turn, about: a fraction of a millisecond's work.
const TURN_RECORDS: usize = 96;
/// Topics of a request that are decoded in one turn.
const TURN_DECODED: usize = 256;

/// A request that is being worked.
struct Creation {
    token: RequestToken,
    topics: TopicCreation,
    body: CreatedTopics,
    /// Decided, and not appended yet: consensus had too much in hand.
    records: Vec<MetadataRecord>,
    decided: bool,
    /// Records were appended whose image is still to be made.
    unpublished: bool,
}

/// A request that is not decoded whole yet.
struct Reading {
    token: RequestToken,
    request: CreateRequest,
    topics: TopicCreation,
}

/// How far the request that is being worked is.
enum Current {
    Reading(Reading),
    Creating(Creation),
}

/// What is being created, and the calls that wait for it: bounded by what connections may have in flight.
#[derive(Default)]
pub(super) struct Creations {
    current: Option<Current>,
    held: VecDeque<(RequestToken, ControllerCall)>,
}

impl Creations {
    /// Keeps a call until what is being created is done; gives it back when it need not wait.
    pub fn hold(
        &mut self,
        token: RequestToken,
        call: ControllerCall,
    ) -> Option<(RequestToken, ControllerCall)> {
        if (self.current.is_none() && self.held.is_empty()) || !waits(&call) {
            return Some((token, call));
        }
        self.held.push_back((token, call));
        None
    }

    /// Whether a turn would find something to do.
    pub fn has_work(&self) -> bool {
        self.current.is_some() || !self.held.is_empty()
    }
}

fn waits(call: &ControllerCall) -> bool {
    match call {
        ControllerCall::Client { api, .. } => matches!(
            api,
            ApiKey::CreateTopics
                | ApiKey::DeleteTopics
                | ApiKey::CreatePartitions
                | ApiKey::AlterConfigs
                | ApiKey::IncrementalAlterConfigs
                | ApiKey::UpdateFeatures
        ),
        ControllerCall::Create { .. } => true,
        ControllerCall::ProducerIds => false,
    }
}

/// Takes up a request as it came; a small one is done at once.
pub(super) fn read(
    core: &mut Core,
    group: &mut MetadataGroup,
    (token, version): (RequestToken, i16),
    body: Bytes,
) {
    let request = match CreateRequest::begin(body, version) {
        Ok(request) => request,
        Err(error) => return group.refuse(core, token, not_decoded(version, &error)),
    };
    let topics = group.controller.open_topics(request.topics(), version);
    go_on_reading(
        core,
        group,
        Reading {
            token,
            request,
            topics,
        },
    );
}

fn go_on_reading(core: &mut Core, group: &mut MetadataGroup, mut reading: Reading) {
    let Reading {
        token,
        request,
        topics,
    } = &mut reading;
    let (token, version) = (*token, request.version());
    match request.step(TURN_DECODED, &mut |topic| topics.add(topic)) {
        Ok(None) => group.creations.current = Some(Current::Reading(reading)),
        Ok(Some(rest)) => {
            topics.close(rest);
            begin(core, group, (token, version), reading.topics);
        }
        Err(error) => group.refuse(core, token, not_decoded(version, &error)),
    }
}

fn not_decoded(version: i16, error: &DecodeError) -> String {
    format!("a CreateTopics v{version} request does not decode: {error}")
}

/// All of the request was decoded.
fn begin(
    core: &mut Core,
    group: &mut MetadataGroup,
    (token, version): (RequestToken, i16),
    topics: TopicCreation,
) {
    let body = CreatedTopics::begin(version, topics.topics(), topics.shared_configs());
    match body {
        Ok(body) => {
            let creation = Creation {
                token,
                topics,
                body,
                records: Vec::new(),
                decided: false,
                unpublished: false,
            };
            go_on(core, group, creation);
        }
        Err(error) => group.refuse(core, token, not_encoded(&error)),
    }
}

/// One turn of what is being created.
pub fn turn(core: &mut Core) {
    with_group(core, |core, group| match group.creations.current.take() {
        Some(Current::Reading(reading)) => go_on_reading(core, group, reading),
        Some(Current::Creating(creation)) => go_on(core, group, creation),
        None => {
            if let Some((token, call)) = group.creations.held.pop_front() {
                group.call(core, token, call);
            }
        }
    });
}

fn go_on(core: &mut Core, group: &mut MetadataGroup, mut creation: Creation) {
    if creation.records.is_empty() && !creation.decided {
        let step = group
            .controller
            .continue_topics(&mut creation.topics, TURN_RECORDS);
        for topic in &step.results {
            if topic.error_code != 0 {
                let api = CreateTopicsResponse::API_KEY.expect("a response has an API");
                core.metrics.error(api, topic.error_code);
            }
            if let Err(error) = creation.body.push(topic) {
                return group.refuse(core, creation.token, not_encoded(&error));
            }
        }
        creation.records = step.records;
        creation.decided = step.done;
    }
    let records = std::mem::take(&mut creation.records);
    if !records.is_empty() {
        match group.append_records(core, &records, creation.decided) {
            Ok(_) => {
                creation.unpublished = !creation.decided;
                group.advance(core);
            }
            Err(AppendError::Refused(ProposeRefusal::Busy)) => {
                // What is in hand will be committed, and then there is room.
                creation.records = records;
                group.creations.current = Some(Current::Creating(creation));
                return;
            }
            Err(refusal) => return group.refuse(core, creation.token, refusal.to_string()),
        }
    }
    if !creation.decided {
        group.creations.current = Some(Current::Creating(creation));
        return;
    }
    if creation.unpublished {
        group.controller.publish_replayed();
        group.advance(core);
    }
    let end = group.raft.log_end();
    let answer = ControllerAnswer::Body(creation.body.finish());
    group.answer_at(core, end, creation.token, answer);
}

/// What was being created may never be committed: nobody is answered, and what waited is decided as it now stands.
pub(super) fn resign(core: &mut Core, group: &mut MetadataGroup) {
    let token = match group.creations.current.take() {
        Some(Current::Reading(reading)) => reading.token,
        Some(Current::Creating(creation)) => creation.token,
        None => return,
    };
    let reason = "this node no longer leads the metadata log".to_string();
    deliver(core, group, token, ControllerAnswer::Refused(reason));
}

fn not_encoded(error: &odradek_protocol::codec::EncodeError) -> String {
    format!("a controller response does not encode: {error}")
}
