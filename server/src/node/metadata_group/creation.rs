//! Topics that are created in turns (M1): each turn decides as many topics as make about [`TURN_RECORDS`] records, appends these as a batch
//! of their own, and lets the loop serve what else came. A crash between leaves the topics of the batches that became durable, as a Kafka
//! client must expect of one request: each topic has its own result. The answer leaves when all is committed and placed.
//!
//! Calls that come meanwhile wait, so that a client's calls are decided in its order; heartbeats and what consensus answers do not.

use super::calls::AppendError;
use super::created_topics::CreatedTopics;
use super::{MetadataGroup, deliver, with_group};
use crate::node::Core;
use crate::node::controller_call::{ControllerAnswer, ControllerCall};
use odradek_protocol::Message;
use odradek_protocol::api::ApiKey;
use odradek_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use odradek_protocol::metadata_records::MetadataRecord;
use odradek_raft::consensus::ProposeRefusal;
use odradek_raft::controller::TopicCreation;
use odradek_shard::RequestToken;
use std::collections::VecDeque;

/// Records of one turn, about: a fraction of a millisecond's work.
const TURN_RECORDS: usize = 96;

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

/// What is being created, and the calls that wait for it: bounded by what connections may have in flight.
#[derive(Default)]
pub(super) struct Creations {
    current: Option<Creation>,
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

/// Takes up a request; a small one is done at once.
pub(super) fn begin(
    core: &mut Core,
    group: &mut MetadataGroup,
    (token, version): (RequestToken, i16),
    request: CreateTopicsRequest,
) {
    let topics = group.controller.begin_topics(request, version);
    let body = CreatedTopics::begin(version, topics.topics(), topics.shared_configs());
    match body {
        Ok(body) => {
            group.creations.current = Some(Creation {
                token,
                topics,
                body,
                records: Vec::new(),
                decided: false,
                unpublished: false,
            });
            go_on(core, group);
        }
        Err(error) => group.refuse(core, token, not_encoded(&error)),
    }
}

/// One turn of what is being created.
pub fn turn(core: &mut Core) {
    with_group(core, |core, group| {
        if group.creations.current.is_some() {
            go_on(core, group);
        } else if let Some((token, call)) = group.creations.held.pop_front() {
            group.call(core, token, call);
        }
    });
}

fn go_on(core: &mut Core, group: &mut MetadataGroup) {
    let Some(mut creation) = group.creations.current.take() else {
        return;
    };
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
                group.creations.current = Some(creation);
                return;
            }
            Err(refusal) => return group.refuse(core, creation.token, refusal.to_string()),
        }
    }
    if !creation.decided {
        group.creations.current = Some(creation);
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
    if let Some(creation) = group.creations.current.take() {
        let reason = "this node no longer leads the metadata log".to_string();
        deliver(
            core,
            group,
            creation.token,
            ControllerAnswer::Refused(reason),
        );
    }
}

fn not_encoded(error: &odradek_protocol::codec::EncodeError) -> String {
    format!("a controller response does not encode: {error}")
}
