//! Fetch (key 1), versions 4-18: reads record batches, with sessions (KIP-227).
//! The session's id and epoch live on the connection's core, its partitions in the shards that own them. The response
//! is encoded straight from the shards' slices. Not done here: fetches of `__cluster_metadata` (the controller
//! listener's, with the cluster issue), rack-aware replica choice (KIP-392), and the authorisation of replica fetches.

use super::super::request::{FrameRefusal, Request, RequestMeta, begin_response, read_body};
use super::super::{Core, Gather, TopicFound};
use odradek_protocol::codec::{EncodeError, Writer};
use odradek_protocol::messages::FetchRequest;
use odradek_protocol::{ErrorCode, StrBytes, Uuid};
use odradek_shard::command::{
    FetchCommand, FetchPartition, FetchPartitionReply, FetchReply, FetchSession, Isolation,
    PartitionKey, SessionKey,
};
use odradek_shard::sessions::{ClosedSession, SessionDecision, SessionRequest};
use odradek_shard::{Event, RequestToken};
use odradek_wal::TopicId;
use smallvec::SmallVec;

/// From this version on topics are named by id.
const TOPIC_ID_VERSION: i16 = 13;
/// Fields by the version that brought them.
const FLEXIBLE_VERSION: i16 = 12;
const SESSION_VERSION: i16 = 7;
const LOG_START_VERSION: i16 = 5;
const PREFERRED_REPLICA_VERSION: i16 = 11;
const LEADER_HINT_VERSION: i16 = 16;

/// A fetch under way.
pub struct FetchGather {
    session_id: i32,
    isolation: Isolation,
    /// Answers that need no shard: partitions that could not be resolved.
    refused: Vec<Answered>,
    replies: Vec<FetchPartitionReply>,
    /// Shards asked, by part number.
    shards: Vec<u16>,
    answered: Vec<bool>,
    /// Partitions the session holds in the shards that answered.
    session_partitions: usize,
    /// Whether the parts still out were told to answer at once.
    unparked: bool,
}

/// A partition's answer with the name or id it was asked by.
struct Answered {
    topic: TopicName,
    reply: FetchPartitionReply,
}

#[derive(Clone, PartialEq, Eq)]
struct TopicName {
    name: StrBytes,
    id: Uuid,
}

/// A partition of a session whose topic is not known (any more): asked for again with every fetch of the session.
#[derive(Clone)]
pub struct Unresolved {
    topic: TopicName,
    partition: FetchPartition,
}

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: FetchRequest = read_body(&mut request)?;
    let meta = request.meta;
    let session_request = SessionRequest {
        id: body.session_id,
        epoch: body.session_epoch,
        privileged: replica_id(&body, meta.version) >= 0,
        uses_topic_ids: meta.version >= TOPIC_ID_VERSION,
        partitions: body.topics.iter().map(|topic| topic.partitions.len()).sum(),
    };
    let decision = if meta.version < SESSION_VERSION {
        Ok(SessionDecision::Sessionless { closed: Vec::new() })
    } else {
        let now_ms = core.now().monotonic_us / 1000;
        core.sessions.begin(now_ms, &session_request)
    };
    match decision {
        Err(error) => refuse(core, meta, error),
        Ok(decision) => start(core, meta, &body, decision),
    }
    Ok(())
}

fn replica_id(body: &FetchRequest, version: i16) -> i32 {
    if version >= 15 {
        body.replica_state.replica_id
    } else {
        body.replica_id
    }
}

fn refuse(core: &mut Core, meta: RequestMeta, error: ErrorCode) {
    let response = Encoding {
        error,
        session_id: 0,
        isolation: Isolation::ReadUncommitted,
        topics: Vec::new(),
    };
    respond(core, meta, &response);
}

fn start(core: &mut Core, meta: RequestMeta, body: &FetchRequest, decision: SessionDecision) {
    let (session_id, parts, closed) = match decision {
        SessionDecision::Sessionless { closed } => (0, Vec::new(), closed),
        SessionDecision::Open { id, closed } => (id, Vec::new(), closed),
        SessionDecision::Incremental { id, parts } => (id, parts, Vec::new()),
    };
    let incremental = session_id != 0 && body.session_epoch > 0;
    close_sessions(core, closed);
    let mut commands = Commands {
        by_shard: parts
            .into_iter()
            .map(|shard| (shard, Vec::new(), Vec::new()))
            .collect(),
    };
    let mut unresolved = core.unresolved.remove(&session_id).unwrap_or_default();
    forget(core, &meta, body, &mut commands, &mut unresolved);
    let mut wanted: Vec<(TopicName, FetchPartition)> = unresolved
        .into_iter()
        .map(|old| (old.topic, old.partition))
        .collect();
    wanted.extend(named_partitions(&meta, body));
    let mut refused = Vec::new();
    let mut still_unresolved = Vec::new();
    for (topic, mut partition) in wanted {
        match resolve(core, &meta, &topic) {
            Some(found) if (0..found.partitions).contains(&partition.key.partition) => {
                partition.key.topic_id = TopicId(found.id.0);
                let shard = core.shard_of(found.id, partition.key.partition);
                commands.of(shard).1.push(partition);
            }
            found => {
                still_unresolved.push(Unresolved {
                    topic: topic.clone(),
                    partition,
                });
                let known = found.is_some();
                refused.push(unknown(&meta, topic, partition.key, known));
            }
        }
    }
    if session_id != 0 && !still_unresolved.is_empty() {
        core.unresolved.insert(session_id, still_unresolved);
    }
    dispatch(
        core,
        meta,
        body,
        (session_id, incremental),
        commands,
        refused,
    );
}

/// Partitions by shard: shard, wanted or changed, forgotten.
struct Commands {
    by_shard: Vec<(u16, Vec<FetchPartition>, Vec<PartitionKey>)>,
}

impl Commands {
    fn of(&mut self, shard: u16) -> &mut (u16, Vec<FetchPartition>, Vec<PartitionKey>) {
        let position = self.by_shard.iter().position(|(other, ..)| *other == shard);
        let position = position.unwrap_or_else(|| {
            self.by_shard.push((shard, Vec::new(), Vec::new()));
            self.by_shard.len() - 1
        });
        &mut self.by_shard[position]
    }
}

fn named_partitions<'a>(
    meta: &RequestMeta,
    body: &'a FetchRequest,
) -> impl Iterator<Item = (TopicName, FetchPartition)> + 'a {
    let by_id = meta.version >= TOPIC_ID_VERSION;
    body.topics.iter().flat_map(move |topic| {
        let name = TopicName {
            name: if by_id {
                StrBytes::EMPTY
            } else {
                topic.topic.clone()
            },
            id: if by_id { topic.topic_id } else { Uuid::ZERO },
        };
        topic.partitions.iter().map(move |partition| {
            let wanted = FetchPartition {
                key: PartitionKey {
                    topic_id: TopicId([0; 16]),
                    partition: partition.partition,
                },
                fetch_offset: partition.fetch_offset,
                max_bytes: partition.partition_max_bytes,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
            };
            (name.clone(), wanted)
        })
    })
}

fn forget(
    core: &Core,
    meta: &RequestMeta,
    body: &FetchRequest,
    commands: &mut Commands,
    unresolved: &mut Vec<Unresolved>,
) {
    for topic in &body.forgotten_topics_data {
        let by_id = meta.version >= TOPIC_ID_VERSION;
        let name = TopicName {
            name: if by_id {
                StrBytes::EMPTY
            } else {
                topic.topic.clone()
            },
            id: if by_id { topic.topic_id } else { Uuid::ZERO },
        };
        for &partition in &topic.partitions {
            unresolved.retain(|old| old.topic != name || old.partition.key.partition != partition);
            // A topic that is gone keeps its id in the session: with ids the shard can still forget it.
            let id = resolve(core, meta, &name)
                .map(|found| found.id)
                .or(by_id.then_some(name.id));
            if let Some(id) = id {
                let shard = core.shard_of(id, partition);
                commands.of(shard).2.push(PartitionKey {
                    topic_id: TopicId(id.0),
                    partition,
                });
            }
        }
    }
}

fn resolve(core: &Core, meta: &RequestMeta, topic: &TopicName) -> Option<TopicFound> {
    if meta.version >= TOPIC_ID_VERSION {
        core.topic_by_id(topic.id)
    } else {
        core.topic_by_name(&topic.name)
    }
}

/// The refusal of a partition without a place; `known` says whether at least its topic is there.
fn unknown(meta: &RequestMeta, topic: TopicName, key: PartitionKey, known: bool) -> Answered {
    let by_id = meta.version >= TOPIC_ID_VERSION;
    let error = if by_id && !known {
        ErrorCode::UnknownTopicId
    } else {
        ErrorCode::UnknownTopicOrPartition
    };
    Answered {
        topic,
        reply: FetchPartitionReply {
            key,
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            leader_epoch: -1,
            records: SmallVec::new(),
        },
    }
}

fn close_sessions(core: &mut Core, closed: Vec<ClosedSession>) {
    for session in closed {
        core.unresolved.remove(&session.id);
        let key = core.session_key(session.id);
        for shard in session.parts {
            core.send_to_shard(shard, Event::CloseSession(key));
        }
    }
}

fn dispatch(
    core: &mut Core,
    meta: RequestMeta,
    body: &FetchRequest,
    (session_id, incremental): (i32, bool),
    commands: Commands,
    refused: Vec<Answered>,
) {
    let parts = commands.by_shard.len();
    let shards: Vec<u16> = commands.by_shard.iter().map(|(shard, ..)| *shard).collect();
    let answer_at_once = !refused.is_empty();
    let gather = FetchGather {
        session_id,
        isolation: isolation(body),
        refused,
        replies: Vec::new(),
        answered: vec![false; parts],
        shards,
        session_partitions: 0,
        unparked: false,
    };
    if parts == 0 {
        finish(core, meta, gather);
        return;
    }
    let tokens: Vec<RequestToken> = (0..parts)
        .map(|part| core.token(&meta, part as u32))
        .collect();
    core.wait(meta, Gather::Fetch(Box::new(gather)), parts as u32);
    let limits = Limits::new(core, body, parts, answer_at_once);
    for ((shard, partitions, forgotten), token) in commands.by_shard.into_iter().zip(tokens) {
        if session_id != 0 {
            core.sessions.add_part(session_id, shard);
        }
        let key: SessionKey = core.session_key(session_id);
        let session = match (session_id, incremental) {
            (0, _) => FetchSession::Sessionless,
            (_, true) => FetchSession::Incremental {
                session: key,
                forgotten,
            },
            (_, false) => FetchSession::Open(key),
        };
        core.send_to_shard(
            shard,
            Event::Fetch(limits.command(token, session, partitions)),
        );
    }
}

/// What each part of a fetch may wait for and send.
struct Limits {
    isolation: Isolation,
    max_wait_ms: i32,
    min_bytes: i32,
    max_bytes: i32,
}

fn isolation(body: &FetchRequest) -> Isolation {
    match body.isolation_level {
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    }
}

impl Limits {
    /// Shares the request's limits among its parts, so that all together keep to them.
    fn new(core: &Core, body: &FetchRequest, parts: usize, answer_at_once: bool) -> Self {
        let parts = parts as i32;
        Self {
            isolation: isolation(body),
            max_wait_ms: if answer_at_once {
                0
            } else {
                body.max_wait_ms.max(0)
            },
            min_bytes: body.min_bytes / parts + i32::from(body.min_bytes % parts > 0),
            max_bytes: body.max_bytes.min(core.options.fetch_bytes_max) / parts,
        }
    }

    fn command(
        &self,
        token: RequestToken,
        session: FetchSession,
        partitions: Vec<FetchPartition>,
    ) -> FetchCommand {
        FetchCommand {
            token,
            isolation: self.isolation,
            max_wait_ms: self.max_wait_ms,
            min_bytes: self.min_bytes,
            max_bytes: self.max_bytes,
            at_least_one: true,
            session,
            partitions,
        }
    }
}

/// Takes one shard's answer. The first that has something to say makes the others answer at once: the events to send.
pub fn absorb(
    gather: &mut FetchGather,
    token: RequestToken,
    reply: FetchReply,
) -> Vec<(u16, Event)> {
    gather.answered[token.part as usize] = true;
    gather.session_partitions += reply.session_partitions;
    gather.replies.extend(reply.partitions);
    if gather.unparked {
        return Vec::new();
    }
    gather.unparked = true;
    let others = gather.answered.iter().zip(&gather.shards).enumerate();
    others
        .filter(|(_, (answered, _))| !**answered)
        .map(|(part, (_, shard))| {
            let other = RequestToken {
                part: part as u32,
                ..token
            };
            (*shard, Event::Unpark(other))
        })
        .collect()
}

/// What to tell the shards when the client is gone.
pub fn cancel(gather: &FetchGather, token: RequestToken) -> Vec<(u16, Event)> {
    let parts = gather.answered.iter().zip(&gather.shards).enumerate();
    parts
        .filter(|(_, (answered, _))| !**answered)
        .map(|(part, (_, shard))| {
            let out = RequestToken {
                part: part as u32,
                ..token
            };
            (*shard, Event::Cancel(out))
        })
        .collect()
}

/// Tells the cache how large the session is now; one that became empty is closed.
fn settle_session(core: &mut Core, gather: &mut FetchGather) {
    if gather.session_id == 0 {
        return;
    }
    let unresolved = core.unresolved.get(&gather.session_id).map_or(0, Vec::len);
    let partitions = gather.session_partitions + unresolved;
    if let Some(closed) = core.sessions.resize(gather.session_id, partitions) {
        gather.session_id = 0;
        close_sessions(core, vec![closed]);
    }
}

/// One topic of a response.
struct TopicAnswer {
    topic: TopicName,
    partitions: Vec<FetchPartitionReply>,
}

struct Encoding {
    error: ErrorCode,
    session_id: i32,
    isolation: Isolation,
    topics: Vec<TopicAnswer>,
}

pub fn finish(core: &mut Core, meta: RequestMeta, mut gather: FetchGather) {
    settle_session(core, &mut gather);
    let by_id = meta.version >= TOPIC_ID_VERSION;
    let mut topics: Vec<TopicAnswer> = Vec::new();
    let mut positions: hashbrown::HashMap<[u8; 16], usize, foldhash::fast::FixedState> =
        hashbrown::HashMap::default();
    for reply in gather.replies {
        let id = reply.key.topic_id.0;
        let position = *positions.entry(id).or_insert_with(|| {
            let name = if by_id {
                None
            } else {
                core.topic_by_id(Uuid(id))
            };
            topics.push(TopicAnswer {
                topic: TopicName {
                    name: name.map_or(StrBytes::EMPTY, |found| StrBytes::from(&found.name)),
                    id: Uuid(id),
                },
                partitions: Vec::new(),
            });
            topics.len() - 1
        });
        topics[position].partitions.push(reply);
    }
    for refused in gather.refused {
        match topics
            .iter_mut()
            .find(|answer| answer.topic == refused.topic)
        {
            Some(answer) => answer.partitions.push(refused.reply),
            None => topics.push(TopicAnswer {
                topic: refused.topic,
                partitions: vec![refused.reply],
            }),
        }
    }
    let encoding = Encoding {
        error: ErrorCode::None,
        session_id: gather.session_id,
        isolation: gather.isolation,
        topics,
    };
    respond(core, meta, &encoding);
}

fn respond(core: &mut Core, meta: RequestMeta, encoding: &Encoding) {
    let mut writer = begin_response(&meta);
    let endpoints = hinted_endpoints(core, &meta, encoding);
    let partitions = encoding.topics.iter().flat_map(|topic| &topic.partitions);
    let errors = partitions.map(|partition| partition.error);
    for error in errors.chain([encoding.error]) {
        if error != ErrorCode::None {
            core.metrics.error(meta.api as i16, error.code());
        }
    }
    encode(&mut writer, meta.version, encoding, &endpoints)
        .expect("a fetch response of ours encodes");
    core.respond_encoded(meta, writer);
}

/// Brokers to name beside leader hints: none where no partition moved.
fn hinted_endpoints(
    core: &Core,
    meta: &RequestMeta,
    encoding: &Encoding,
) -> Vec<super::super::BrokerEndpoint> {
    let hints = meta.version >= LEADER_HINT_VERSION
        && encoding
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .any(|reply| is_moved(reply.error));
    if hints {
        core.broker_endpoints(meta.listener)
    } else {
        Vec::new()
    }
}

fn is_moved(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
    )
}

fn encode(
    writer: &mut Writer,
    version: i16,
    encoding: &Encoding,
    endpoints: &[super::super::BrokerEndpoint],
) -> Result<(), EncodeError> {
    let flexible = version >= FLEXIBLE_VERSION;
    writer.write_i32(0);
    if version >= SESSION_VERSION {
        writer.write_i16(encoding.error.code());
        writer.write_i32(encoding.session_id);
    }
    writer.write_length(Some(encoding.topics.len()), flexible)?;
    for topic in &encoding.topics {
        if version >= TOPIC_ID_VERSION {
            writer.write_uuid(topic.topic.id);
        } else {
            writer.write_optional_string(Some(&topic.topic.name), flexible)?;
        }
        writer.write_length(Some(topic.partitions.len()), flexible)?;
        for reply in &topic.partitions {
            encode_partition(writer, version, encoding.isolation, reply)?;
        }
        if flexible {
            writer.write_empty_tagged_fields();
        }
    }
    if flexible {
        encode_endpoints(writer, version, endpoints)?;
    }
    Ok(())
}

fn encode_partition(
    writer: &mut Writer,
    version: i16,
    isolation: Isolation,
    reply: &FetchPartitionReply,
) -> Result<(), EncodeError> {
    let flexible = version >= FLEXIBLE_VERSION;
    writer.write_i32(reply.key.partition);
    writer.write_i16(reply.error.code());
    writer.write_i64(reply.high_watermark);
    writer.write_i64(reply.last_stable_offset);
    if version >= LOG_START_VERSION {
        writer.write_i64(reply.log_start_offset);
    }
    writer.write_length(aborted_transactions(isolation, reply.error), flexible)?;
    if version >= PREFERRED_REPLICA_VERSION {
        writer.write_i32(-1);
    }
    writer.write_length(Some(reply.records_bytes()), flexible)?;
    for slice in &reply.records {
        writer.write_shared(slice);
    }
    if flexible {
        encode_partition_tags(writer, version, reply);
    }
    Ok(())
}

/// How many aborted transactions are told: none exist yet. Kafka sends null for read_uncommitted and for what the log refuses.
fn aborted_transactions(isolation: Isolation, error: ErrorCode) -> Option<usize> {
    match error {
        ErrorCode::None => (isolation == Isolation::ReadCommitted).then_some(0),
        ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition => Some(0),
        _ => None,
    }
}

/// Tag 0: diverging epoch (v12). Tag 1: current leader (v12; named here when it moved, v16).
fn encode_partition_tags(writer: &mut Writer, version: i16, reply: &FetchPartitionReply) {
    let hint = version >= LEADER_HINT_VERSION && is_moved(reply.error) && reply.leader_epoch >= 0;
    writer.write_unsigned_varint(u32::from(reply.diverging_epoch.is_some()) + u32::from(hint));
    if let Some((epoch, end_offset)) = reply.diverging_epoch {
        writer.write_unsigned_varint(0);
        writer.write_unsigned_varint(4 + 8 + 1);
        writer.write_i32(epoch);
        writer.write_i64(end_offset);
        writer.write_empty_tagged_fields();
    }
    if hint {
        writer.write_unsigned_varint(1);
        writer.write_unsigned_varint(4 + 4 + 1);
        writer.write_i32(-1);
        writer.write_i32(reply.leader_epoch);
        writer.write_empty_tagged_fields();
    }
}

/// Tag 0 of the response (v16): where the named leaders are.
fn encode_endpoints(
    writer: &mut Writer,
    version: i16,
    endpoints: &[super::super::BrokerEndpoint],
) -> Result<(), EncodeError> {
    if version < LEADER_HINT_VERSION || endpoints.is_empty() {
        writer.write_empty_tagged_fields();
        return Ok(());
    }
    let mut inner = Writer::new();
    inner.write_compact_array_len(endpoints.len());
    for endpoint in endpoints {
        inner.write_i32(endpoint.id);
        inner.write_compact_string(&endpoint.host)?;
        inner.write_i32(i32::from(endpoint.port));
        match &endpoint.rack {
            Some(rack) => inner.write_compact_string(rack)?,
            None => inner.write_compact_null(),
        }
        inner.write_empty_tagged_fields();
    }
    let inner = inner.into_bytes();
    writer.write_unsigned_varint(1);
    writer.write_unsigned_varint(0);
    writer.write_unsigned_varint(inner.len() as u32);
    writer.write_raw(&inner);
    Ok(())
}
