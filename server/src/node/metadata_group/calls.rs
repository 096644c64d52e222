//! Calls to the controller (M1): decoded, decided, proposed as records, and answered when those are committed.

use super::lifecycle::OWN_PART;
use super::{MetadataGroup, Waiting, creation, deliver, raft_now, with_group};
use crate::machine::{LogLevel, MachineAction};
use crate::node::controller_call::{ControllerAnswer, ControllerCall};
use crate::node::request::encode_body;
use crate::node::{Core, api};
use bytes::Bytes;
use odradek_protocol::api::ApiKey;
use odradek_protocol::codec::{EncodeError, Reader, Writer};
use odradek_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use odradek_protocol::messages::{
    AllocateProducerIdsRequest, AlterConfigsRequest, BrokerHeartbeatRequest,
    BrokerRegistrationRequest, CreatePartitionsRequest, DeleteTopicsRequest, DescribeQuorumRequest,
    DescribeQuorumResponse, IncrementalAlterConfigsRequest, UpdateFeaturesRequest,
    describe_quorum_response,
};
use odradek_protocol::metadata_records::MetadataRecord;
use odradek_protocol::{ErrorCode, Message, StrBytes};
use odradek_raft::consensus::{Event, ProposeRefusal, Response, wire};
use odradek_raft::controller::{CallContext, ControllerResult, OPERATION_RECORDS_MAX};
use odradek_raft::image::{METADATA_VERSION, record_version};
use odradek_shard::RequestToken;
use std::fmt;

/// Why records were not appended.
#[derive(Debug)]
pub(super) enum AppendError {
    NotLeader,
    Encode(EncodeError),
    Refused(ProposeRefusal),
}

impl fmt::Display for AppendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader => formatter.write_str("this node does not lead the metadata log"),
            Self::Encode(error) => write!(formatter, "a metadata record does not encode: {error}"),
            Self::Refused(refusal) => write!(formatter, "{refusal}"),
        }
    }
}

/// A call from any core.
pub fn on_call(core: &mut Core, token: RequestToken, call: ControllerCall) {
    with_group(core, |core, group| {
        if let Some((token, call)) = group.creations.hold(token, call) {
            group.call(core, token, call);
        }
    });
}

/// Broker sessions that ran out.
pub(super) fn tick(core: &mut Core, group: &mut MetadataGroup) {
    let due = group
        .controller
        .next_deadline_us()
        .is_some_and(|deadline| deadline <= core.now().monotonic_us);
    if !due || group.epoch.is_none() {
        return;
    }
    let context = group.context(core, 0);
    let result = group.controller.tick(&context);
    if let Err(reason) = group.propose(core, &result.records, result.atomic) {
        core.log(
            LogLevel::Warn,
            format!("fencing a broker has to wait: {reason}"),
        );
    }
}

impl MetadataGroup {
    pub(super) fn context(&self, core: &Core, api_version: i16) -> CallContext {
        CallContext {
            now: raft_now(core),
            next_offset: self.raft.log_end(),
            api_version,
        }
    }

    pub(super) fn call(&mut self, core: &mut Core, token: RequestToken, call: ControllerCall) {
        match call {
            ControllerCall::Client {
                api,
                version,
                body,
                listener,
            } => self.client_call(core, token, (api, version, listener), body),
            ControllerCall::Create { topics } => self.create_topics(core, token, &topics),
            ControllerCall::ProducerIds => self.producer_ids(core, token),
        }
    }

    fn client_call(
        &mut self,
        core: &mut Core,
        token: RequestToken,
        (api, version, listener): (ApiKey, i16, u16),
        body: Bytes,
    ) {
        let mut reader = Reader::new(body);
        let context = self.context(core, version);
        macro_rules! operation {
            ($request:ty, $method:ident) => {
                match <$request>::decode(&mut reader, version) {
                    Ok(request) => {
                        let result = self.controller.$method(&request, &context);
                        self.finish(core, token, version, result);
                    }
                    Err(error) => self.refuse(
                        core,
                        token,
                        format!("a {api:?} v{version} request does not decode: {error}"),
                    ),
                }
            };
        }
        match api {
            ApiKey::CreateTopics => creation::read(core, self, (token, version), reader.rest()),
            ApiKey::DeleteTopics => operation!(DeleteTopicsRequest, delete_topics),
            ApiKey::CreatePartitions => operation!(CreatePartitionsRequest, create_partitions),
            ApiKey::AlterConfigs => operation!(AlterConfigsRequest, alter_configs),
            ApiKey::IncrementalAlterConfigs => {
                operation!(IncrementalAlterConfigsRequest, incremental_alter_configs)
            }
            ApiKey::UpdateFeatures => operation!(UpdateFeaturesRequest, update_features),
            ApiKey::BrokerRegistration => operation!(BrokerRegistrationRequest, register_broker),
            ApiKey::BrokerHeartbeat => operation!(BrokerHeartbeatRequest, broker_heartbeat),
            ApiKey::AllocateProducerIds => {
                operation!(AllocateProducerIdsRequest, allocate_producer_ids)
            }
            other => self.raft_call(core, token, (other, version, listener), reader),
        }
    }

    pub(super) fn refuse(&mut self, core: &mut Core, token: RequestToken, reason: String) {
        deliver(core, self, token, ControllerAnswer::Refused(reason));
    }

    /// Proposes what was decided and lets the answer wait for it.
    fn finish<R: Message + 'static>(
        &mut self,
        core: &mut Core,
        token: RequestToken,
        version: i16,
        result: ControllerResult<R>,
    ) {
        core.metrics.count_errors(&result.response);
        let answer = match encode_body(&result.response, version) {
            Ok(body) => ControllerAnswer::Body(body),
            Err(error) => {
                ControllerAnswer::Refused(format!("a controller response does not encode: {error}"))
            }
        };
        self.finish_with(core, token, &result.records, result.atomic, answer);
    }

    pub(super) fn finish_with(
        &mut self,
        core: &mut Core,
        token: RequestToken,
        records: &[MetadataRecord],
        atomic: bool,
        answer: ControllerAnswer,
    ) {
        match self.propose(core, records, atomic) {
            // It read what earlier calls wrote: it must not be told before that is committed.
            Ok(None) => {
                let end = self.raft.log_end();
                self.answer_at(core, end, token, answer);
            }
            Ok(Some(end)) => self.answer_at(core, end, token, answer),
            Err(reason) => self.refuse(core, token, reason),
        }
    }

    /// Answers once the log is committed up to `end`; at once when it is, or when this node does not lead and knows of nothing
    /// uncommitted.
    pub(super) fn answer_at(
        &mut self,
        core: &mut Core,
        end: i64,
        token: RequestToken,
        answer: ControllerAnswer,
    ) {
        if self.epoch.is_none() {
            return deliver(core, self, token, answer);
        }
        assert!(
            self.waiting.back().is_none_or(|last| last.end <= end),
            "answers leave in the order of the log"
        );
        self.waiting.push_back(Waiting { end, token, answer });
        self.answer_ready(core);
    }

    /// Appends records and applies them; the offset after the last, or none when there was nothing to append.
    pub(super) fn propose(
        &mut self,
        core: &mut Core,
        records: &[MetadataRecord],
        atomic: bool,
    ) -> Result<Option<i64>, String> {
        if records.is_empty() {
            return Ok(None);
        }
        let batch = if atomic {
            records.len()
        } else {
            OPERATION_RECORDS_MAX
        };
        let mut end = None;
        for part in records.chunks(batch) {
            let appended = self.append_records(core, part, true);
            end = Some(appended.map_err(|refusal| refusal.to_string())?);
        }
        self.advance(core);
        Ok(end)
    }

    /// Appends records as one batch and applies them; the offset after the last. More of the same operation follow unless it is the `last`.
    pub(super) fn append_records(
        &mut self,
        core: &mut Core,
        records: &[MetadataRecord],
        last: bool,
    ) -> Result<i64, AppendError> {
        let Some(epoch) = self.epoch else {
            return Err(AppendError::NotLeader);
        };
        let level = self.level_for(records);
        let encoded: Result<Vec<Bytes>, _> = records
            .iter()
            .map(|record| record.to_bytes(record_version(record, level)))
            .collect();
        let encoded = encoded.map_err(AppendError::Encode)?;
        let range = self
            .raft
            .propose(raft_now(core), epoch, &encoded, &mut self.raft_actions)
            .map_err(AppendError::Refused)?;
        // What this controller wrote itself need not be read again, unless something before it is still to be applied.
        if self.applied == range.start {
            let applied = match last {
                true => self.controller.replay(records, range.start, epoch),
                false => self
                    .controller
                    .replay_unpublished(records, range.start, epoch),
            };
            self.applied = range.end;
            if let Err(error) = applied {
                core.out.push(MachineAction::Exit {
                    code: 1,
                    reason: error.to_string(),
                });
            }
        }
        Ok(range.end)
    }

    /// The metadata.version that records are written at: the one they set themselves, or the one in force.
    fn level_for(&self, records: &[MetadataRecord]) -> i16 {
        level_set_by(records).unwrap_or_else(|| self.controller.metadata_version())
    }

    fn create_topics(&mut self, core: &mut Core, token: RequestToken, names: &[StrBytes]) {
        let topics = names
            .iter()
            .map(|name| automatic_topic(core, name))
            .collect();
        let request = CreateTopicsRequest {
            topics,
            timeout_ms: 30_000,
            ..CreateTopicsRequest::default()
        };
        let context = self.context(core, 7);
        let result = self.controller.create_topics(&request, &context);
        let outcome = result.response.topics.iter().map(|topic| {
            let error =
                ErrorCode::from_code(topic.error_code).unwrap_or(ErrorCode::UnknownServerError);
            (topic.name.clone(), error)
        });
        let answer = ControllerAnswer::Created(outcome.collect());
        self.finish_with(core, token, &result.records, result.atomic, answer);
    }

    fn producer_ids(&mut self, core: &mut Core, token: RequestToken) {
        let request = AllocateProducerIdsRequest {
            broker_id: core.options.node_id,
            broker_epoch: self.lifecycle.broker_epoch(),
            ..AllocateProducerIdsRequest::default()
        };
        let context = self.context(core, 0);
        let result = self.controller.allocate_producer_ids(&request, &context);
        let block = match ErrorCode::from_code(result.response.error_code) {
            Some(ErrorCode::None) => Ok((
                result.response.producer_id_start,
                result.response.producer_id_len,
            )),
            other => Err(other.unwrap_or(ErrorCode::UnknownServerError)),
        };
        self.finish_with(
            core,
            token,
            &result.records,
            result.atomic,
            ControllerAnswer::ProducerIds(block),
        );
    }

    /// A request that consensus answers itself.
    fn raft_call(
        &mut self,
        core: &mut Core,
        token: RequestToken,
        (api, version, listener): (ApiKey, i16, u16),
        mut reader: Reader,
    ) {
        let body = match wire::RequestBody::decode(api as i16, version, &mut reader) {
            Some(Ok(body)) => body,
            Some(Err(error)) => {
                return self.refuse(
                    core,
                    token,
                    format!("a {api:?} v{version} request does not decode: {error}"),
                );
            }
            None => {
                return self.refuse(
                    core,
                    token,
                    format!("the controller does not serve {api:?}"),
                );
            }
        };
        match wire::read_request(&body, version) {
            Ok(request) => {
                let number = self.raft_calls.insert((token, api, version));
                let event = Event::Request {
                    token: number as u64,
                    listener: core.options.listeners[usize::from(listener)].name.clone(),
                    request,
                };
                self.raft
                    .step(raft_now(core), event, &mut self.raft_actions);
            }
            Err(error) => match &body {
                wire::RequestBody::DescribeQuorum(asked) => {
                    let response = other_quorums(asked);
                    let answer = body_of(&response, version);
                    deliver(core, self, token, answer);
                }
                _ => raft_answer(
                    core,
                    self,
                    (token, api, version),
                    &Response::Refused { error },
                ),
            },
        }
    }
}

/// Consensus answers a request that came in by this node's listeners.
pub(super) fn on_raft_reply(
    group: &mut MetadataGroup,
    core: &mut Core,
    number: u64,
    response: &Response,
) {
    if let Some(call) = group.raft_calls.try_remove(number as usize) {
        raft_answer(core, group, call, response);
    }
}

fn raft_answer(
    core: &mut Core,
    group: &mut MetadataGroup,
    (token, api, version): (RequestToken, ApiKey, i16),
    response: &Response,
) {
    let mut writer = Writer::new();
    let answer =
        match wire::write_response(response, api as i16, version).encode(&mut writer, version) {
            Ok(()) => ControllerAnswer::Body(writer.finish()),
            Err(error) => ControllerAnswer::Refused(format!(
                "a {api:?} v{version} response does not encode: {error}"
            )),
        };
    deliver(core, group, token, answer);
}

fn body_of<M: Message>(response: &M, version: i16) -> ControllerAnswer {
    match encode_body(response, version) {
        Ok(segments) => ControllerAnswer::Body(segments),
        Err(error) => ControllerAnswer::Refused(format!(
            "a {} v{version} response does not encode: {error}",
            M::NAME
        )),
    }
}

/// DescribeQuorum of anything but the metadata partition: each partition asked for is unknown here.
fn other_quorums(asked: &DescribeQuorumRequest) -> DescribeQuorumResponse {
    let partition = |index: i32| describe_quorum_response::PartitionData {
        partition_index: index,
        error_code: ErrorCode::UnknownTopicOrPartition.code(),
        error_message: Some(StrBytes::from_static(
            "This server does not host this topic-partition.",
        )),
        ..Default::default()
    };
    let topics = asked.topics.iter().map(|topic| {
        let partitions = topic
            .partitions
            .iter()
            .map(|asked| partition(asked.partition_index));
        describe_quorum_response::TopicData {
            topic_name: topic.topic_name.clone(),
            partitions: partitions.collect(),
            ..Default::default()
        }
    });
    DescribeQuorumResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

/// The metadata.version that these records put in force, if any does.
fn level_set_by(records: &[MetadataRecord]) -> Option<i16> {
    records.iter().rev().find_map(|record| match record {
        MetadataRecord::FeatureLevel(feature) if *feature.name == *METADATA_VERSION => {
            Some(feature.feature_level)
        }
        _ => None,
    })
}

/// A topic that nobody created by hand: the defaults, and for the offsets topic Kafka's own settings.
fn automatic_topic(core: &Core, name: &StrBytes) -> CreatableTopic {
    let number = |key: &str| core.config_layers(None).broker_number(key);
    let mut topic = CreatableTopic {
        name: name.clone(),
        num_partitions: -1,
        replication_factor: -1,
        ..CreatableTopic::default()
    };
    if **name == *api::find_coordinator::OFFSETS_TOPIC {
        topic.num_partitions = number("offsets.topic.num.partitions").unwrap_or(50) as i32;
        topic.replication_factor = number("offsets.topic.replication.factor").unwrap_or(3) as i16;
        let segment_bytes = number("offsets.topic.segment.bytes").unwrap_or(104_857_600);
        let configs = [
            ("cleanup.policy", "compact".to_string()),
            ("compression.type", "producer".to_string()),
            ("segment.bytes", segment_bytes.to_string()),
        ];
        topic.configs = configs
            .into_iter()
            .map(|(key, value)| CreatableTopicConfig {
                name: StrBytes::from_static(key),
                value: Some(StrBytes::from(value)),
                ..CreatableTopicConfig::default()
            })
            .collect();
    }
    topic
}

/// The token of calls this broker makes for itself.
pub(super) fn own_token(core: &Core) -> RequestToken {
    RequestToken {
        core: core.index,
        part: OWN_PART,
        ..RequestToken::default()
    }
}
