//! Produce (key 0), versions 3-13: appends one record batch a partition.
//! Batches are checked here (CRC, headers, records), on the connection's core, then split by owning shard; the shard appends
//! and answers when durable. Not done here: transactions (their
//! issue): a transactional id is refused with INVALID_TXN_STATE, as a write outside a transaction.
//! `single` reads and answers what most requests are, one batch for one partition.

pub mod single;

use super::super::request::{FrameRefusal, Request, RequestMeta, read_body};
use super::super::{Core, Gather, TopicFound};
use crate::machine::ConnectionId;
use bytes::{Buf, Bytes};
use odradek_protocol::ApiKey;
use odradek_protocol::messages::ProduceRequest;
use odradek_protocol::messages::produce_request::TopicProduceData;
use odradek_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    ProduceResponse, TopicProduceResponse,
};
use odradek_protocol::{ErrorCode, StrBytes, Uuid};
use odradek_shard::command::{
    PartitionKey, ProduceCommand, ProducePartition, ProducePartitionReply,
};
use odradek_shard::validate::{BatchRules, prepare};
use odradek_shard::{Event, RequestToken};
use odradek_wal::TopicId;
use std::sync::Arc;

/// From this version on topics are named by id (KIP-516).
const TOPIC_ID_VERSION: i16 = 13;
/// From this version on an answer may name the leader (KIP-951).
const LEADER_HINT_VERSION: i16 = 10;
/// Kafka lets its admin client write to internal topics, known by this client id.
const ADMIN_CLIENT_ID: &str = "__admin_client";
/// From this version on zstd is allowed (KIP-110).
const ZSTD_VERSION: i16 = 7;

/// A produce of one batch under way: what its answer says besides the shard's.
pub struct SingleProduce {
    topic_id: Uuid,
    /// In versions that name topics.
    name: Option<Arc<str>>,
    acks: i16,
}

/// A produce under way: the answer as far as it is known, and which places each shard fills.
pub struct ProduceGather {
    acks: i16,
    response: ProduceResponse,
    /// By part number: topic and partition positions in the answer, in the order of the command.
    places: Vec<Vec<(u32, u32)>>,
}

/// Takes a frame that is one batch for one partition that is there; gives any other back.
pub fn take_single(
    core: &mut Core,
    (connection, listener, sequence, id): (ConnectionId, u16, u64, u64),
    version: i16,
    mut frame: Bytes,
) -> Option<Bytes> {
    let Some(request) = single::read(&frame, version) else {
        return Some(frame);
    };
    let found = match request.topic {
        single::TopicKey::Id(id) => core.topic_by_id(id),
        single::TopicKey::Name(name) => core.topic_by_name(name),
    };
    let found = found.filter(|found| {
        (0..found.partitions).contains(&request.partition) && !is_internal(&found.name)
    });
    let Some(found) = found else {
        return Some(frame);
    };
    core.metrics.requested(ApiKey::Produce, frame.len() as u64);
    let meta = RequestMeta {
        id,
        connection,
        sequence,
        api: ApiKey::Produce,
        version,
        correlation_id: request.correlation_id,
        client_id: None,
        listener,
        received_us: core.now().monotonic_us,
    };
    let config = core.produce_config(&found);
    let rules = BatchRules {
        config: &config,
        now_ms: core.now().wall_ms,
        zstd_allowed: true,
        decompressed_bytes_max: core.options.decompressed_batch_bytes_max,
        internal: false,
    };
    let (acks, timeout_ms, partition) = (request.acks, request.timeout_ms, request.partition);
    let (begin, end) = request.records;
    frame.truncate(end);
    frame.advance(begin);
    let command = ProduceCommand {
        token: core.token(&meta, 0),
        acks,
        timeout_ms,
        partitions: vec![ProducePartition {
            key: PartitionKey {
                topic_id: TopicId(found.id.0),
                partition,
            },
            batch: prepare(Some(frame), &rules),
        }],
    };
    let shard = core.shard_of(found.id, partition);
    let single = SingleProduce {
        topic_id: found.id,
        name: (version < TOPIC_ID_VERSION).then_some(found.name),
        acks,
    };
    core.wait(meta, Gather::SingleProduce(single), 1);
    core.give_to_shard(shard, Event::Produce(command));
    None
}

/// Answers a produce of one batch. One with an error is answered as any other: it may have to say more.
pub fn finish_single(
    core: &mut Core,
    meta: RequestMeta,
    single: SingleProduce,
    token: RequestToken,
    replies: Vec<ProducePartitionReply>,
) {
    if let [reply] = &replies[..]
        && reply.error == ErrorCode::None
    {
        let topic = match &single.name {
            Some(name) => single::TopicKey::Name(name),
            None => single::TopicKey::Id(single.topic_id),
        };
        let frame = single::answer(meta.correlation_id, topic, reply);
        return core.respond_frame(&meta, frame);
    }
    let mut topic = TopicProduceResponse {
        name: single
            .name
            .map(|name| StrBytes::from(&name))
            .unwrap_or_default(),
        ..TopicProduceResponse::default()
    };
    if meta.version >= TOPIC_ID_VERSION {
        topic.topic_id = single.topic_id;
    }
    let answers = replies.iter();
    topic.partition_responses = answers
        .map(|reply| refused(reply.key.partition, reply.error))
        .collect();
    let mut gather = ProduceGather {
        acks: single.acks,
        places: vec![(0..replies.len()).map(|place| (0, place as u32)).collect()],
        response: ProduceResponse::default(),
    };
    gather.response.responses.push(topic);
    absorb(&mut gather, token, replies);
    finish(core, meta, gather);
}

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: ProduceRequest = read_body(&mut request)?;
    let meta = request.meta;
    let terms = Terms {
        acks: body.acks,
        timeout_ms: body.timeout_ms,
        transactional: body.transactional_id.is_some(),
    };
    let mut commands: Vec<(u16, ProduceCommand)> = Vec::new();
    let mut gather = ProduceGather {
        acks: body.acks,
        response: ProduceResponse::default(),
        places: Vec::new(),
    };
    for topic in body.topic_data {
        take_topic(core, &meta, &terms, topic, &mut gather, &mut commands);
    }
    if commands.is_empty() {
        finish(core, meta, gather);
        return Ok(());
    }
    core.wait(meta, Gather::Produce(gather), commands.len() as u32);
    for (shard, command) in commands {
        core.send_to_shard(shard, Event::Produce(command));
    }
    Ok(())
}

/// What holds for the whole request.
struct Terms {
    acks: i16,
    timeout_ms: i32,
    transactional: bool,
}

/// Checks one topic's batches, and puts each into the command of its shard.
fn take_topic(
    core: &mut Core,
    meta: &RequestMeta,
    terms: &Terms,
    topic: TopicProduceData,
    gather: &mut ProduceGather,
    commands: &mut Vec<(u16, ProduceCommand)>,
) {
    let found = if meta.version >= TOPIC_ID_VERSION {
        core.topic_by_id(topic.topic_id)
    } else {
        core.topic_by_name(&topic.name)
    };
    let mut answer = TopicProduceResponse {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        ..TopicProduceResponse::default()
    };
    let refusal = refusal_of(meta, terms, found.as_ref());
    let config = match (&found, refusal) {
        (Some(found), None) => Some(core.produce_config(found)),
        _ => None,
    };
    for partition in topic.partition_data {
        let place = (
            gather.response.responses.len() as u32,
            answer.partition_responses.len() as u32,
        );
        let index = partition.index;
        let target = found
            .as_ref()
            .zip(config.as_deref())
            .filter(|(found, _)| (0..found.partitions).contains(&index));
        let Some((found, config)) = target else {
            let error = refusal.unwrap_or(ErrorCode::UnknownTopicOrPartition);
            answer.partition_responses.push(refused(index, error));
            continue;
        };
        answer
            .partition_responses
            .push(refused(index, ErrorCode::None));
        let rules = BatchRules {
            config,
            now_ms: core.now().wall_ms,
            zstd_allowed: meta.version >= ZSTD_VERSION,
            decompressed_bytes_max: core.options.decompressed_batch_bytes_max,
            internal: false,
        };
        let batch = prepare(partition.records, &rules);
        let part = part_of(core, commands, gather, meta, (found.id, index), terms);
        gather.places[part].push(place);
        commands[part].1.partitions.push(ProducePartition {
            key: PartitionKey {
                topic_id: TopicId(found.id.0),
                partition: index,
            },
            batch,
        });
    }
    gather.response.responses.push(answer);
}

/// Why nothing is appended to any partition of the topic.
fn refusal_of(meta: &RequestMeta, terms: &Terms, found: Option<&TopicFound>) -> Option<ErrorCode> {
    match found {
        None if meta.version >= TOPIC_ID_VERSION => Some(ErrorCode::UnknownTopicId),
        None => Some(ErrorCode::UnknownTopicOrPartition),
        Some(_) if terms.transactional => Some(ErrorCode::InvalidTxnState),
        Some(_) if !matches!(terms.acks, -1..=1) => Some(ErrorCode::InvalidRequiredAcks),
        Some(found) if is_internal(&found.name) && !is_admin(meta) => {
            Some(ErrorCode::InvalidTopicException)
        }
        Some(_) => None,
    }
}

/// The position of the command for the partition's shard, made when it is the first.
fn part_of(
    core: &Core,
    commands: &mut Vec<(u16, ProduceCommand)>,
    gather: &mut ProduceGather,
    meta: &RequestMeta,
    (topic_id, partition): (Uuid, i32),
    terms: &Terms,
) -> usize {
    let shard = core.shard_of(topic_id, partition);
    if let Some(part) = commands.iter().position(|(other, _)| *other == shard) {
        return part;
    }
    let part = commands.len();
    commands.push((
        shard,
        ProduceCommand {
            token: core.token(meta, part as u32),
            acks: terms.acks,
            timeout_ms: terms.timeout_ms,
            partitions: Vec::new(),
        },
    ));
    gather.places.push(Vec::new());
    part
}

/// Takes one shard's answer; the last one sends the response.
pub fn absorb(
    gather: &mut ProduceGather,
    token: RequestToken,
    replies: Vec<ProducePartitionReply>,
) {
    let places = &gather.places[token.part as usize];
    assert_eq!(
        places.len(),
        replies.len(),
        "a shard answers every partition of a command"
    );
    for (&(topic, partition), reply) in places.iter().zip(replies) {
        let index = reply.key.partition;
        let throttle_ms = &mut gather.response.throttle_time_ms;
        *throttle_ms = (*throttle_ms).max(reply.throttle_ms.min(i32::MAX as u32) as i32);
        let answer =
            &mut gather.response.responses[topic as usize].partition_responses[partition as usize];
        *answer = PartitionProduceResponse {
            index,
            error_code: reply.error.code(),
            base_offset: reply.base_offset,
            log_append_time_ms: reply.log_append_time_ms,
            log_start_offset: reply.log_start_offset,
            record_errors: reply
                .record_errors
                .into_iter()
                .map(|error| BatchIndexAndErrorMessage {
                    batch_index: error.batch_index,
                    batch_index_error_message: Some(StrBytes::from(error.message)),
                    ..BatchIndexAndErrorMessage::default()
                })
                .collect(),
            error_message: reply.error_message.map(StrBytes::from),
            ..PartitionProduceResponse::default()
        };
    }
}

pub fn finish(core: &mut Core, meta: RequestMeta, mut gather: ProduceGather) {
    if gather.acks == 0 {
        let failed = gather
            .response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
            .any(|partition| partition.error_code != ErrorCode::None.code());
        // The client asked for no answer; closing the connection is the only way to tell it of an error.
        core.answer_nothing(&meta, failed);
        return;
    }
    if meta.version >= LEADER_HINT_VERSION {
        add_leader_hints(core, &meta, &mut gather.response);
    }
    core.respond(meta, &gather.response);
}

fn add_leader_hints(core: &Core, meta: &RequestMeta, response: &mut ProduceResponse) {
    let mut hinted = false;
    for topic in &mut response.responses {
        for partition in &mut topic.partition_responses {
            if partition.error_code != ErrorCode::NotLeaderOrFollower.code() {
                continue;
            }
            let found = if meta.version >= TOPIC_ID_VERSION {
                core.topic_by_id(topic.topic_id)
            } else {
                core.topic_by_name(&topic.name)
            };
            if let Some((leader_id, leader_epoch)) =
                found.and_then(|found| core.leader_of(found.id, partition.index))
            {
                partition.current_leader = LeaderIdAndEpoch {
                    leader_id,
                    leader_epoch,
                    ..LeaderIdAndEpoch::default()
                };
                hinted = true;
            }
        }
    }
    if hinted {
        response.node_endpoints = core
            .broker_endpoints(meta.listener)
            .into_iter()
            .map(|broker| NodeEndpoint {
                node_id: broker.id,
                host: StrBytes::from(broker.host),
                port: i32::from(broker.port),
                rack: broker.rack.map(StrBytes::from),
                ..NodeEndpoint::default()
            })
            .collect();
    }
}

fn refused(index: i32, error: ErrorCode) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: error.code(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        ..PartitionProduceResponse::default()
    }
}

/// Topics only the server and its administrators write to.
pub fn is_internal(name: &str) -> bool {
    matches!(
        name,
        "__consumer_offsets" | "__transaction_state" | "__share_group_state"
    )
}

fn is_admin(meta: &RequestMeta) -> bool {
    meta.client_id.as_deref() == Some(ADMIN_CLIENT_ID)
}
