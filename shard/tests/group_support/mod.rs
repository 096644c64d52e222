//! A group coordinator with a clock and a log of its own, driven by lines of text.
//!
//! Each line is one request or one event; what it brings about is given back as text, with member ids
//! replaced by short names. `group_cases` compares that with files, `group_behaviour` looks inside.
#![allow(dead_code)]

mod render;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use odradek_protocol::consumer_protocol::{self, Subscription};
use odradek_protocol::messages::heartbeat_request::HeartbeatRequest;
use odradek_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use odradek_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use odradek_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use odradek_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use odradek_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use odradek_protocol::messages::sync_group_request::{
    SyncGroupRequest, SyncGroupRequestAssignment,
};
use odradek_protocol::{ErrorCode, StrBytes, Uuid};
use odradek_shard::group::{
    AppendId, ClientContext, Effect, GroupCoordinator, GroupOptions, GroupRequest, GroupResponse,
    Now, Token,
};

/// The wall clock when the monotonic one is 0, in milliseconds.
pub const WALL_START_MS: i64 = 1_700_000_000_000;

/// A record of the log.
pub type Record = (Bytes, Option<Bytes>);

/// The coordinator and its surroundings.
pub struct Harness {
    pub coordinator: GroupCoordinator,
    pub options: GroupOptions,
    pub now_ms: u64,
    /// Durable records, in order.
    pub log: Vec<Record>,
    /// Appends made and not reported, when `holds_appends`.
    pub in_flight: VecDeque<(AppendId, Vec<Record>)>,
    pub holds_appends: bool,
    pub replies: Vec<(Token, GroupResponse)>,
    next_token: u64,
    names: render::Names,
    output: Vec<String>,
}

/// The arguments of a line: `key=value` and bare words.
struct Arguments<'a> {
    words: Vec<&'a str>,
    pairs: BTreeMap<&'a str, &'a str>,
}

impl<'a> Arguments<'a> {
    fn parse(line: &'a str) -> Arguments<'a> {
        let mut words = Vec::new();
        let mut pairs = BTreeMap::new();
        for part in line.split_whitespace() {
            match part.split_once('=') {
                Some((key, value)) if !key.contains(':') => {
                    pairs.insert(key, value);
                }
                _ => words.push(part),
            }
        }
        Arguments { words, pairs }
    }

    fn text(&self, key: &str, default: &'a str) -> &'a str {
        self.pairs.get(key).copied().unwrap_or(default)
    }

    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        match self.pairs.get(key) {
            Some(text) => text
                .parse()
                .ok()
                .unwrap_or_else(|| panic!("{key}={text} is no number")),
            None => default,
        }
    }

    fn optional(&self, key: &str) -> Option<StrBytes> {
        self.pairs.get(key).map(|text| StrBytes::from(*text))
    }

    fn version(&self, default: i16) -> i16 {
        self.number("v", default)
    }
}

impl Harness {
    /// A loaded coordinator with nothing in it, whose appends are durable at once.
    pub fn new(options: GroupOptions) -> Harness {
        let mut harness = Harness {
            coordinator: GroupCoordinator::new(options.clone()),
            options,
            now_ms: 0,
            log: Vec::new(),
            in_flight: VecDeque::new(),
            holds_appends: false,
            replies: Vec::new(),
            next_token: 0,
            names: render::Names::default(),
            output: Vec::new(),
        };
        harness.load();
        harness
    }

    /// The present.
    pub fn now(&self) -> Now {
        Now {
            monotonic_us: self.now_ms * 1000,
            wall_ms: WALL_START_MS + self.now_ms as i64,
        }
    }

    /// Hands a request in; its token.
    pub fn request(&mut self, context: &ClientContext, request: GroupRequest) -> Token {
        self.next_token += 1;
        let token = Token(self.next_token);
        let mut effects = Vec::new();
        self.coordinator
            .handle(self.now(), token, context, request, &mut effects);
        self.take(effects);
        token
    }

    /// The replies since the last call.
    pub fn take_replies(&mut self) -> Vec<(Token, GroupResponse)> {
        std::mem::take(&mut self.replies)
    }

    /// Lets time pass, stopping at every deadline.
    pub fn advance(&mut self, milliseconds: u64) {
        let end_ms = self.now_ms + milliseconds;
        loop {
            let next_ms = self
                .coordinator
                .next_deadline()
                .map(|due_us| due_us.div_ceil(1000));
            match next_ms {
                Some(next_ms) if next_ms <= end_ms => self.now_ms = self.now_ms.max(next_ms),
                _ => break,
            }
            self.tick();
        }
        self.now_ms = end_ms;
        self.tick();
    }

    /// Calls the coordinator without a request.
    pub fn tick(&mut self) {
        let mut effects = Vec::new();
        self.coordinator.tick(self.now(), &mut effects);
        self.take(effects);
    }

    /// Reports the oldest append.
    pub fn report(&mut self, result: Result<(), ErrorCode>) {
        let (append, records) = self.in_flight.pop_front().expect("an append is under way");
        if result.is_ok() {
            self.log.extend(records);
        }
        let mut effects = Vec::new();
        self.coordinator
            .appended(self.now(), append, result, &mut effects);
        self.take(effects);
    }

    /// Forgets everything but the durable log and begins anew with it.
    pub fn restart(&mut self) {
        self.in_flight.clear();
        self.options.seed.0 += 1;
        self.coordinator = GroupCoordinator::new(self.options.clone());
        self.load();
    }

    fn load(&mut self) {
        for (key, value) in self.log.clone() {
            self.coordinator
                .load(Some(key), value)
                .expect("own records can be read");
        }
        let mut effects = Vec::new();
        self.coordinator.loaded(self.now(), &mut effects);
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply { token, response } => {
                    let text = self.names.response(&response);
                    self.output.push(format!("[{}] {text}", token.0));
                    self.replies.push((token, response));
                }
                Effect::Append { records, then } => {
                    for record in &records {
                        let text = self.names.record(record);
                        self.output.push(format!("append {}: {text}", then.0));
                    }
                    self.in_flight.push_back((then, records));
                    if !self.holds_appends {
                        self.report(Ok(()));
                    }
                }
            }
        }
    }

    /// Carries out one line; what it brought about, a line each.
    pub fn line(&mut self, line: &str) -> Vec<String> {
        let line = self.names.real(line);
        let (command, rest) = line.split_once(' ').unwrap_or((line.as_str(), ""));
        let arguments = Arguments::parse(rest);
        match command {
            "advance" => self.advance(arguments.words[0].parse().expect("milliseconds")),
            "hold" => self.holds_appends = true,
            "release" => {
                self.holds_appends = false;
                while !self.in_flight.is_empty() {
                    self.report(Ok(()));
                }
            }
            "ack" => self.report(Ok(())),
            "fail" => self.report(Err(error_named(arguments.words[0]))),
            "restart" => self.restart(),
            "unload" => {
                let mut effects = Vec::new();
                self.coordinator.unload(self.now(), &mut effects);
                self.take(effects);
            }
            "topic-deleted" => {
                let (now, mut effects) = (self.now(), Vec::new());
                let topic = StrBytes::from(arguments.words[0]);
                self.coordinator.topic_deleted(now, &topic, &mut effects);
                self.take(effects);
            }
            "option" => self.set_option(&arguments),
            "statistics" => {
                let statistics = self.coordinator.statistics();
                self.output.push(format!(
                    "groups={} offsets={} deadlines={} pending={}",
                    statistics.groups,
                    statistics.offsets,
                    statistics.deadlines,
                    statistics.appends_pending
                ));
            }
            _ => {
                let (version, request) = parse_request(command, &arguments);
                let context = ClientContext {
                    api_version: version,
                    client_id: StrBytes::from(arguments.text("client", "client")),
                    client_host: StrBytes::from_static("/127.0.0.1"),
                };
                self.request(&context, request);
            }
        }
        std::mem::take(&mut self.output)
    }

    fn set_option(&mut self, arguments: &Arguments<'_>) {
        let options = &mut self.options;
        options.members_max = arguments.number("members_max", options.members_max);
        options.pending_members_max =
            arguments.number("pending_members_max", options.pending_members_max);
        options.initial_rebalance_delay_ms = arguments.number(
            "initial_rebalance_delay_ms",
            options.initial_rebalance_delay_ms,
        );
        options.offsets_retention_ms =
            arguments.number("offsets_retention_ms", options.offsets_retention_ms);
        options.offsets_retention_check_interval_ms = arguments.number(
            "offsets_retention_check_interval_ms",
            options.offsets_retention_check_interval_ms,
        );
        // Options hold for one incarnation.
        self.restart();
    }
}

fn error_named(name: &str) -> ErrorCode {
    let known = ErrorCode::ALL.iter().find(|error| error.name() == name);
    *known.unwrap_or_else(|| panic!("no error is called {name}"))
}

fn parse_request(command: &str, arguments: &Arguments<'_>) -> (i16, GroupRequest) {
    let group_id = StrBytes::from(arguments.text("g", "g"));
    match command {
        "join" => (
            arguments.version(9),
            GroupRequest::Join(parse_join(group_id, arguments)),
        ),
        "sync" => (
            arguments.version(5),
            GroupRequest::Sync(parse_sync(group_id, arguments)),
        ),
        "heartbeat" => {
            let request = HeartbeatRequest {
                group_id,
                generation_id: arguments.number("generation", 1),
                member_id: StrBytes::from(arguments.text("member", "")),
                group_instance_id: arguments.optional("instance"),
                ..Default::default()
            };
            (arguments.version(4), GroupRequest::Heartbeat(request))
        }
        "leave" => (
            arguments.version(5),
            GroupRequest::Leave(parse_leave(group_id, arguments)),
        ),
        "commit" => (
            arguments.version(9),
            GroupRequest::OffsetCommit(parse_commit(group_id, arguments)),
        ),
        "fetch" => (arguments.version(9), parse_fetch(group_id, arguments)),
        "delete-offsets" => (
            0,
            GroupRequest::OffsetDelete(parse_offset_delete(group_id, arguments)),
        ),
        "describe" => (
            arguments.version(6),
            GroupRequest::Describe(texts(&arguments.words)),
        ),
        "list" => {
            let list = |key: &str| -> Vec<StrBytes> {
                arguments
                    .text(key, "")
                    .split(',')
                    .filter(|text| !text.is_empty())
                    .map(StrBytes::from)
                    .collect()
            };
            (
                5,
                GroupRequest::List {
                    states: list("states"),
                    types: list("types"),
                },
            )
        }
        "delete-groups" => (2, GroupRequest::Delete(texts(&arguments.words))),
        other => panic!("no command is called {other}"),
    }
}

fn parse_offset_delete(group_id: StrBytes, arguments: &Arguments<'_>) -> OffsetDeleteRequest {
    let topic = |(name, partitions): (StrBytes, Vec<i32>)| OffsetDeleteRequestTopic {
        name,
        partitions: partitions
            .into_iter()
            .map(|partition_index| OffsetDeleteRequestPartition {
                partition_index,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let topics = parse_partitions(&arguments.words)
        .into_iter()
        .map(topic)
        .collect();
    OffsetDeleteRequest {
        group_id,
        topics,
        ..Default::default()
    }
}

fn texts(words: &[&str]) -> Vec<StrBytes> {
    words.iter().map(|word| StrBytes::from(*word)).collect()
}

/// `range:t1+t2,sticky:!bytes`: protocol names with a subscription, or with raw bytes after `!`.
fn parse_join(group_id: StrBytes, arguments: &Arguments<'_>) -> JoinGroupRequest {
    let protocols = arguments
        .text("protocols", "range:t1")
        .split(',')
        .filter(|text| !text.is_empty())
        .map(|text| {
            let (name, metadata) = text.split_once(':').expect("a protocol and its metadata");
            JoinGroupRequestProtocol {
                name: StrBytes::from(name),
                metadata: match metadata.strip_prefix('!') {
                    Some(raw) => Bytes::copy_from_slice(raw.as_bytes()),
                    None => subscription(&metadata.split('+').collect::<Vec<_>>()),
                },
                ..Default::default()
            }
        })
        .collect();
    JoinGroupRequest {
        group_id,
        session_timeout_ms: arguments.number("session", 10_000),
        rebalance_timeout_ms: arguments.number("rebalance", 60_000),
        member_id: StrBytes::from(arguments.text("member", "")),
        group_instance_id: arguments.optional("instance"),
        protocol_type: StrBytes::from(arguments.text("type", "consumer")),
        protocols,
        ..Default::default()
    }
}

/// A consumer's subscription, version 0.
pub fn subscription(topics: &[&str]) -> Bytes {
    let subscription = Subscription {
        topics: texts(topics),
        ..Default::default()
    };
    consumer_protocol::encode(&subscription, 0).expect("a short subscription")
}

fn parse_sync(group_id: StrBytes, arguments: &Arguments<'_>) -> SyncGroupRequest {
    let assignments = arguments
        .words
        .iter()
        .map(|text| {
            let (member, assignment) = text.rsplit_once(':').expect("member:assignment");
            SyncGroupRequestAssignment {
                member_id: StrBytes::from(member),
                assignment: Bytes::copy_from_slice(assignment.as_bytes()),
                ..Default::default()
            }
        })
        .collect();
    SyncGroupRequest {
        group_id,
        generation_id: arguments.number("generation", 1),
        member_id: StrBytes::from(arguments.text("member", "")),
        group_instance_id: arguments.optional("instance"),
        protocol_type: Some(StrBytes::from(arguments.text("type", "consumer")))
            .filter(|text| text != "null"),
        protocol_name: Some(StrBytes::from(arguments.text("name", "range")))
            .filter(|text| text != "null"),
        assignments,
        ..Default::default()
    }
}

/// `leave member/instance …`; either may be empty.
fn parse_leave(group_id: StrBytes, arguments: &Arguments<'_>) -> LeaveGroupRequest {
    let members = arguments
        .words
        .iter()
        .map(|text| {
            let (member, instance) = text.split_once('/').unwrap_or((text, ""));
            MemberIdentity {
                member_id: StrBytes::from(member),
                group_instance_id: (!instance.is_empty()).then(|| StrBytes::from(instance)),
                ..Default::default()
            }
        })
        .collect();
    LeaveGroupRequest {
        group_id,
        member_id: StrBytes::from(arguments.text("member", "")),
        members,
        ..Default::default()
    }
}

/// `commit topic:partition=offset …`, each with `@metadata` if wanted; `M*n` repeats M.
fn parse_commit(group_id: StrBytes, arguments: &Arguments<'_>) -> OffsetCommitRequest {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for word in &arguments.words {
        let (partition, offset) = word.split_once('=').expect("topic:partition=offset");
        let (name, index) = partition.split_once(':').expect("topic:partition");
        let (offset, metadata) = match offset.split_once('@') {
            Some((offset, metadata)) => (offset, Some(metadata)),
            None => (offset, None),
        };
        let metadata = metadata.map(|text| match text.split_once('*') {
            Some((text, count)) => StrBytes::from(text.repeat(count.parse().expect("a count"))),
            None => StrBytes::from(text),
        });
        let partition = OffsetCommitRequestPartition {
            partition_index: index.parse().expect("a partition"),
            committed_offset: offset.parse().expect("an offset"),
            committed_metadata: metadata,
            ..Default::default()
        };
        match topics.iter_mut().find(|topic| topic.name == *name) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(OffsetCommitRequestTopic {
                name: StrBytes::from(name),
                topic_id: Uuid([arguments.number("topic_id", 0); 16]),
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    OffsetCommitRequest {
        group_id,
        generation_id_or_member_epoch: arguments.number("generation", -1),
        member_id: StrBytes::from(arguments.text("member", "")),
        group_instance_id: arguments.optional("instance"),
        retention_time_ms: arguments.number("retention", -1),
        topics,
        ..Default::default()
    }
}

fn parse_fetch(group_id: StrBytes, arguments: &Arguments<'_>) -> GroupRequest {
    let topics = parse_partitions(&arguments.words)
        .into_iter()
        .map(|(name, partition_indexes)| OffsetFetchRequestTopics {
            name,
            topic_id: Uuid([arguments.number("topic_id", 0); 16]),
            partition_indexes,
            ..Default::default()
        })
        .collect();
    let group = OffsetFetchRequestGroup {
        group_id,
        topics: if arguments.words.is_empty() {
            None
        } else {
            Some(topics)
        },
        ..Default::default()
    };
    GroupRequest::OffsetFetch {
        group,
        require_stable: arguments.text("stable", "no") == "yes",
    }
}

fn parse_partitions(words: &[&str]) -> Vec<(StrBytes, Vec<i32>)> {
    let mut topics: Vec<(StrBytes, Vec<i32>)> = Vec::new();
    for word in words {
        let (name, index) = word.split_once(':').expect("topic:partition");
        let index = index.parse().expect("a partition");
        match topics.iter_mut().find(|(known, _)| *known == *name) {
            Some((_, indexes)) => indexes.push(index),
            None => topics.push((StrBytes::from(name), vec![index])),
        }
    }
    topics
}
