//! What one core does, sans-IO: requests from frames, dispatch, routing to shards and the controller, answers in order.
//! [`Core`] is the machine that the shell (or the simulator) drives; one per core, alike but for the metadata group,
//! which lives on core 0. Handlers are one file per API in `api/`.

pub mod adoption;
pub mod api;
pub mod connection;
pub mod controller_call;
pub mod dispatch;
mod errors;
mod leftovers;
pub mod log_metrics;
pub mod mail;
pub mod metadata_group;
pub mod metrics;
mod operator;
pub mod options;
pub mod pending;
pub mod placement;
pub mod request;
pub mod routing;
pub mod status;
pub mod telemetry;
pub mod topics;

pub use mail::Mail;
pub use options::NodeOptions;
pub use topics::{BrokerEndpoint, TopicFound};

use crate::machine::{ConnectionId, LogLevel, Machine, MachineAction, MachineEvent, Now};
use adoption::Adopted;
use api::fetch::Unresolved;
use bytes::Bytes;
use connection::Connection;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use leftovers::Leftovers;
use log_metrics::ShardMetrics;
use metadata_group::MetadataGroup;
use metrics::CoreMetrics;
use odradek_protocol::Message;
use odradek_protocol::codec::Writer;
use odradek_raft::image::MetadataImage;
use odradek_shard::command::SessionKey;
use odradek_shard::sessions::SessionCache;
use odradek_shard::{Event as ShardEvent, RequestToken, Shard};
use pending::Pending;
use placement::{Placements, TopicConfigs};
use request::RequestMeta;
use std::collections::VecDeque;
use std::sync::Arc;

/// Frames held back before the broker is unfenced; a connection is not read until then, so this bounds a race only.
const HELD_FRAMES_MAX: usize = 4096;

/// Logs want a tick this often while something happens, and for a while after it (their seal).
const LOG_TICK_US: u64 = 50_000;
const LOGS_BUSY_US: u64 = 500_000;

/// Metadata work gives way to requests for at most this long.
const TURN_WAIT_US_MAX: u64 = 1_000;

/// What shards and logs count goes to the metrics this often.
const STATISTICS_INTERVAL_US: u64 = 1_000_000;

/// The core that runs the metadata group.
pub const METADATA_CORE: u16 = 0;

/// What an unfinished request gathers; which file made it says how it ends.
pub enum Gather {
    Produce(api::produce::ProduceGather),
    SingleProduce(api::produce::SingleProduce),
    Fetch(Box<api::fetch::FetchGather>),
    ListOffsets(api::list_offsets::ListOffsetsGather),
    Epochs(api::offset_for_leader_epoch::EpochsGather),
    DeleteRecords(api::delete_records::DeleteRecordsGather),
    Producers(api::describe_producers::ProducersGather),
    LogDirs(api::describe_log_dirs::LogDirsGather),
    Groups(Box<api::groups::GroupsGather>),
    Controller(api::controller::ControllerGather),
    Creation(api::auto_create::CreationGather),
    Telemetry,
}

/// A shard this core runs, and where its logs stand among the core's logs.
pub struct OwnedShard {
    pub number: u16,
    pub shard: Shard,
    /// Index of its first log, as the shell counts them; its directories follow in order.
    pub first_log: u16,
    /// How many directories it has.
    pub directories: u16,
    pub metrics: ShardMetrics,
}

/// Work of this step that was put off so that no handler calls another.
pub(crate) enum Work {
    Shard { shard: u16, event: ShardEvent },
    Mail(Mail),
}

/// One core's machine.
pub struct Core {
    pub(crate) index: u16,
    pub(crate) options: Arc<NodeOptions>,
    pub(crate) metrics: Arc<CoreMetrics>,
    pub(crate) image: Arc<MetadataImage>,
    pub(crate) topic_configs: TopicConfigs,
    pub(crate) placements: Placements,
    /// What the shards took up before the loop ran, until the first image is placed.
    pub(crate) adopted: Option<Adopted>,
    leftovers: Leftovers,
    pub(crate) sessions: SessionCache,
    pub(crate) unresolved: HashMap<i32, Vec<Unresolved>, FixedState>,
    pub(crate) shards: Vec<OwnedShard>,
    pub(crate) metadata_group: Option<Box<MetadataGroup>>,
    connections: HashMap<ConnectionId, Connection, FixedState>,
    pub(crate) pending: HashMap<u64, Pending<Gather>, FixedState>,
    next_request: u64,
    pub(crate) serving: bool,
    held: VecDeque<(ConnectionId, Bytes)>,
    pub(crate) producer_ids: api::init_producer_id::ProducerIds,
    pub(crate) telemetry: telemetry::Telemetry,
    pub(crate) operator_words: operator::OperatorWords,
    pub(crate) closing: Closing,
    work: VecDeque<Work>,
    /// Something was given to a shard since the last commit.
    commit_due: bool,
    /// Frames or disk completions came in this turn: what can wait leaves it to them.
    turn_was_busy: bool,
    /// When work that can wait last had a turn.
    worked_us: u64,
    logs_busy_until_us: u64,
    ticked_us: u64,
    statistics_due_us: u64,
    now: Now,
    pub(crate) out: Vec<MachineAction<Mail>>,
    shard_actions: Vec<odradek_shard::Action>,
}

/// How far this core's stop has come.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// A stop was asked for.
    pub asked: bool,
    /// Logs still to close; none before `CloseLogs`.
    pub logs_left: Option<usize>,
}

/// What a core is made from.
pub struct CoreParts {
    pub index: u16,
    pub options: Arc<NodeOptions>,
    pub metrics: Arc<CoreMetrics>,
    pub image: Arc<MetadataImage>,
    pub shards: Vec<OwnedShard>,
    /// What the shards took up of the metadata's snapshot already.
    pub adopted: Option<Adopted>,
    /// Core 0 only.
    pub metadata_group: Option<Box<MetadataGroup>>,
}

impl Core {
    /// A core before its first event. The image may be older than the metadata log; what follows arrives as deltas.
    pub fn new(parts: CoreParts) -> Self {
        let hasher = FixedState::with_seed(parts.options.hash_seed);
        let sessions = SessionCache::new(odradek_shard::sessions::SessionOptions {
            slots_max: parts
                .options
                .fetch_sessions_max
                .div_ceil(usize::from(parts.options.cores)),
            seed: parts.options.hash_seed
                ^ u64::from(parts.index).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ..odradek_shard::sessions::SessionOptions::default()
        });
        Self {
            index: parts.index,
            options: parts.options,
            metrics: parts.metrics,
            image: parts.image,
            topic_configs: TopicConfigs::default(),
            placements: Placements::default(),
            adopted: parts.adopted,
            leftovers: Leftovers::default(),
            sessions,
            unresolved: HashMap::with_hasher(hasher.clone()),
            shards: parts.shards,
            metadata_group: parts.metadata_group,
            connections: HashMap::with_hasher(hasher.clone()),
            pending: HashMap::with_hasher(hasher),
            next_request: 0,
            serving: false,
            held: VecDeque::new(),
            producer_ids: api::init_producer_id::ProducerIds::default(),
            telemetry: telemetry::Telemetry::default(),
            operator_words: operator::OperatorWords::default(),
            closing: Closing::default(),
            work: VecDeque::new(),
            commit_due: false,
            turn_was_busy: false,
            worked_us: 0,
            logs_busy_until_us: 0,
            ticked_us: 0,
            statistics_due_us: 0,
            now: Now {
                monotonic_us: 0,
                wall_ms: 0,
            },
            out: Vec::new(),
            shard_actions: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Now {
        self.now
    }

    pub(crate) fn session_key(&self, id: i32) -> SessionKey {
        SessionKey {
            core: self.index,
            id,
        }
    }

    pub(crate) fn shard_of(&self, topic_id: odradek_protocol::Uuid, partition: i32) -> u16 {
        routing::shard_of(&topic_id.0, partition, self.options.shards)
    }

    pub(crate) fn token(&self, meta: &RequestMeta, part: u32) -> RequestToken {
        RequestToken {
            core: self.index,
            connection: meta.connection.0,
            request: meta.id,
            part,
        }
    }

    /// Sends an event to a shard, wherever it runs.
    pub(crate) fn send_to_shard(&mut self, shard: u16, event: ShardEvent) {
        let core = routing::core_of(shard, self.options.cores);
        if core == self.index {
            self.work.push_back(Work::Shard { shard, event });
        } else {
            self.out.push(MachineAction::Mail {
                to: core,
                mail: Mail::Shard { shard, event },
            });
        }
    }

    /// As the last thing that a handler does: a shard of this core takes the event at once, unless earlier ones wait.
    pub(crate) fn give_to_shard(&mut self, shard: u16, event: ShardEvent) {
        if self.work.is_empty() && routing::core_of(shard, self.options.cores) == self.index {
            self.step_shard(shard, event);
        } else {
            self.send_to_shard(shard, event);
        }
    }

    /// Sends mail to a core; to itself without the detour.
    pub(crate) fn send_to_core(&mut self, to: u16, mail: Mail) {
        if to == self.index {
            self.work.push_back(Work::Mail(mail));
        } else {
            self.out.push(MachineAction::Mail { to, mail });
        }
    }

    /// Sends mail to every core.
    pub(crate) fn send_to_all_cores(&mut self, make: impl Fn() -> Mail) {
        for core in 0..self.options.cores {
            self.send_to_core(core, make());
        }
    }

    pub(crate) fn log(&mut self, level: LogLevel, message: impl Into<String>) {
        self.out.push(MachineAction::Log {
            level,
            message: message.into(),
        });
    }

    /// Parks a request until `parts` answers came.
    pub(crate) fn wait(&mut self, meta: RequestMeta, gather: Gather, parts: u32) {
        if matches!(gather, Gather::Fetch(_))
            && let Some(connection) = self.connections.get_mut(&meta.connection)
        {
            connection.fetches.push(meta.id);
        }
        let pending = Pending {
            gather,
            parts_left: parts,
            meta,
        };
        self.pending.insert(pending.meta.id, pending);
    }

    /// Encodes a response and sends it when its turn comes.
    pub(crate) fn respond<M: Message + 'static>(&mut self, meta: RequestMeta, response: &M) {
        self.metrics.count_errors(response);
        let mut writer = request::begin_response(&meta);
        match response.encode(&mut writer, meta.version) {
            Ok(()) => self.respond_encoded(meta, writer),
            Err(error) => {
                self.log(
                    LogLevel::Error,
                    format!(
                        "a {:?} v{} response does not encode ({error}); its connection is closed",
                        meta.api, meta.version
                    ),
                );
                self.answer_nothing(&meta, true);
            }
        }
    }

    /// Sends a response that was encoded into a writer of `begin_response`.
    pub(crate) fn respond_encoded(&mut self, meta: RequestMeta, writer: Writer) {
        match writer.finish_frame() {
            Ok(segments) => {
                let bytes: usize = segments.iter().map(Bytes::len).sum();
                let latency_us = self.now.monotonic_us.saturating_sub(meta.received_us);
                self.metrics.answered(meta.api, bytes as u64, latency_us);
                self.complete(&meta, Some(segments));
            }
            Err(_) => {
                self.log(
                    LogLevel::Error,
                    format!("a {:?} v{} response is larger than a frame can say; its connection is closed", meta.api, meta.version),
                );
                self.answer_nothing(&meta, true);
            }
        }
    }

    /// Sends a response that is a whole frame already, its size included.
    pub(crate) fn respond_frame(&mut self, meta: &RequestMeta, frame: Bytes) {
        let latency_us = self.now.monotonic_us.saturating_sub(meta.received_us);
        self.metrics
            .answered(meta.api, frame.len() as u64, latency_us);
        self.complete(meta, Some(smallvec::smallvec![frame]));
    }

    /// Ends a request without an answer; with `close` the connection goes too.
    pub(crate) fn answer_nothing(&mut self, meta: &RequestMeta, close: bool) {
        self.complete(meta, None);
        if close {
            self.out.push(MachineAction::Close {
                connection: meta.connection,
            });
        }
    }

    fn complete(&mut self, meta: &RequestMeta, segments: Option<crate::machine::Segments>) {
        let Some(connection) = self.connections.get_mut(&meta.connection) else {
            return;
        };
        connection.fetches.retain(|fetch| *fetch != meta.id);
        let segments = connection.complete(meta.sequence, segments);
        if !segments.is_empty() {
            self.out.push(MachineAction::Send {
                connection: meta.connection,
                segments,
            });
        }
        if connection.stopped && connection.in_flight() <= connection::REQUESTS_IN_FLIGHT_MAX / 2 {
            connection.stopped = false;
            self.out.push(MachineAction::ResumeReading {
                connection: meta.connection,
            });
        }
    }

    fn on_frame(&mut self, id: ConnectionId, frame: Bytes) {
        if !self.serving {
            if self.held.len() >= HELD_FRAMES_MAX {
                self.out.push(MachineAction::Close { connection: id });
            } else {
                self.held.push_back((id, frame));
            }
            return;
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let sequence = connection.reserve();
        if connection.in_flight() >= connection::REQUESTS_IN_FLIGHT_MAX && !connection.stopped {
            connection.stopped = true;
            self.out.push(MachineAction::StopReading { connection: id });
        }
        let listener = connection.listener;
        let peer = connection.peer;
        let number = self.next_request;
        self.next_request += 1;
        if let Err(refusal) = dispatch::frame(self, (id, listener, sequence, number), frame) {
            self.metrics.refused();
            self.log(
                LogLevel::Warn,
                format!("closing the connection of {peer}: {refusal}"),
            );
            self.out.push(MachineAction::Close { connection: id });
        }
    }

    /// Requests may be served from now on; those that came early first.
    pub(crate) fn serve(&mut self) {
        if self.serving {
            return;
        }
        self.serving = true;
        if self.index == METADATA_CORE {
            self.give_back_memory();
        }
        let ids: Vec<ConnectionId> = {
            let mut ids: Vec<_> = self.connections.keys().copied().collect();
            ids.sort_unstable();
            ids
        };
        for connection in ids {
            self.out.push(MachineAction::ResumeReading { connection });
        }
        while let Some((connection, frame)) = self.held.pop_front() {
            self.on_frame(connection, frame);
        }
    }

    fn on_opened(&mut self, id: ConnectionId, peer: std::net::SocketAddr, listener: u16) {
        self.connections
            .insert(id, Connection::new(id, peer, listener));
        self.metrics.connections(self.connections.len());
        if !self.serving {
            self.out.push(MachineAction::StopReading { connection: id });
        }
    }

    fn on_closed(&mut self, id: ConnectionId) {
        let closed = self.connections.remove(&id);
        self.metrics.connections(self.connections.len());
        let instance = closed.as_ref().and_then(|gone| gone.client_instance);
        if let Some(instance) = instance {
            telemetry::on_disconnected(self, instance);
        }
        for number in closed.map_or_else(Vec::new, |connection| connection.fetches) {
            let Some(pending) = self.pending.remove(&number) else {
                continue;
            };
            if let Gather::Fetch(gather) = &pending.gather {
                let token = self.token(&pending.meta, 0);
                for (shard, event) in api::fetch::cancel(gather, token) {
                    self.send_to_shard(shard, event);
                }
            }
        }
    }

    pub(crate) fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(&id)
    }

    fn run_work(&mut self) {
        while let Some(work) = self.work.pop_front() {
            match work {
                Work::Shard { shard, event } => self.step_shard(shard, event),
                Work::Mail(mail) => self.on_mail(mail),
            }
        }
    }

    pub(crate) fn step_shard(&mut self, number: u16, event: ShardEvent) {
        let position = self.shards.iter().position(|owned| owned.number == number);
        let position = position.expect("a shard's events come to the core that runs it");
        let now = self.wal_now();
        self.logs_busy_until_us = now.monotonic_us + LOGS_BUSY_US;
        self.commit_due = true;
        let mut actions = std::mem::take(&mut self.shard_actions);
        self.shards[position].shard.step(now, event, &mut actions);
        for action in actions.drain(..) {
            self.on_shard_action(position, action);
        }
        self.shard_actions = actions;
    }

    fn on_shard_action(&mut self, position: usize, action: odradek_shard::Action) {
        use odradek_shard::Action;
        match action {
            Action::Reply { token, reply } if token.core == self.index => {
                dispatch::shard_reply(self, token, reply);
            }
            Action::Reply { token, reply } => {
                self.send_to_core(token.core, Mail::ShardReply { token, reply })
            }
            Action::Log { directory, io } => {
                let log = self.shards[position].first_log + directory as u16;
                self.out.push(MachineAction::Disk { log, io });
            }
            Action::DirectoryOffline { directory, .. } => {
                self.send_to_core(METADATA_CORE, Mail::DirectoryOffline { directory });
            }
            Action::Closed { .. } => self.on_log_closed(),
            Action::Message(message) => {
                self.metrics.message();
                let mut line = message.to_string();
                if let Some(remedy) = operator::remedy(&message, &self.options) {
                    line = format!("{line}; {remedy}");
                }
                self.log(LogLevel::Warn, line);
            }
        }
    }

    fn on_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Shard { shard, event } => self.work.push_back(Work::Shard { shard, event }),
            Mail::ShardReply { token, reply } => dispatch::shard_reply(self, token, reply),
            Mail::Controller { token, call } => metadata_group::on_call(self, token, call),
            Mail::ControllerReply { token, answer } => {
                dispatch::controller_reply(self, token, answer)
            }
            Mail::Telemetry { token, call } => telemetry::on_call(self, token, *call),
            Mail::TelemetryReply { token, answer } => {
                dispatch::telemetry_reply(self, token, answer)
            }
            Mail::Image(update) => placement::on_image(self, update),
            Mail::Placed { core, offset } => metadata_group::on_placed(self, core, offset),
            Mail::Serve => self.serve(),
            Mail::DirectoryOffline { directory } => {
                metadata_group::on_directory_offline(self, directory)
            }
            Mail::ShardsClosed { core } => metadata_group::on_shards_closed(self, core),
            Mail::CloseLogs => self.close_logs(),
            Mail::BrokerEpoch(epoch) => self.keep_broker_epoch(epoch),
            Mail::Exit => self.out.push(MachineAction::Exit {
                code: 0,
                reason: "shut down as asked".to_string(),
            }),
        }
    }

    fn keep_broker_epoch(&mut self, epoch: i64) {
        let now = self.wal_now();
        self.with_logs(|log, outputs| {
            if let Err(refusal) = log.set_broker_epoch(now, epoch, outputs) {
                outputs.push(odradek_wal::Output::Message(format!(
                    "the broker epoch was not kept: {refusal}"
                )));
            }
        });
    }

    /// Whether topics are being created, or an image is being placed.
    fn has_turns(&self) -> bool {
        let creates = self
            .metadata_group
            .as_ref()
            .is_some_and(|group| group.has_turns());
        creates || self.placements.has_work()
    }

    /// Metadata work in pieces: after what clients and disks brought, unless it has waited for long.
    fn take_turn(&mut self) {
        let busy = std::mem::take(&mut self.turn_was_busy);
        let waited_us = self.now.monotonic_us.saturating_sub(self.worked_us);
        if !self.has_turns() || (busy && waited_us < TURN_WAIT_US_MAX) {
            return;
        }
        self.worked_us = self.now.monotonic_us;
        // What is decided is placed first, so that what waits to be placed stays bounded.
        if self.placements.has_work() {
            placement::turn(self);
        } else {
            metadata_group::turn(self);
        }
        self.run_work();
    }

    fn wal_now(&self) -> odradek_wal::Now {
        odradek_wal::Now {
            monotonic_us: self.now.monotonic_us,
            wall_ms: self.now.wall_ms,
        }
    }

    /// Calls every log of this core's shards.
    fn with_logs(&mut self, call: impl Fn(&mut odradek_wal::Log, &mut Vec<odradek_wal::Output>)) {
        let now = self.wal_now();
        for position in 0..self.shards.len() {
            let mut actions = std::mem::take(&mut self.shard_actions);
            for directory in 0..usize::from(self.shards[position].directories) {
                self.shards[position]
                    .shard
                    .with_log(now, directory, &call, &mut actions);
            }
            for action in actions.drain(..) {
                self.on_shard_action(position, action);
            }
            self.shard_actions = actions;
        }
    }

    fn close_logs(&mut self) {
        self.placements.give_up();
        let logs: usize = self
            .shards
            .iter()
            .map(|owned| usize::from(owned.directories))
            .sum();
        self.closing.logs_left = Some(logs);
        let numbers: Vec<u16> = self.shards.iter().map(|owned| owned.number).collect();
        for number in numbers {
            self.send_to_shard(number, ShardEvent::ShutDown);
        }
        if logs == 0 {
            self.send_to_core(METADATA_CORE, Mail::ShardsClosed { core: self.index });
        }
    }

    fn on_log_closed(&mut self) {
        let Some(left) = self.closing.logs_left.as_mut() else {
            return;
        };
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.send_to_core(METADATA_CORE, Mail::ShardsClosed { core: self.index });
        }
    }

    fn on_disk(&mut self, log: u16, id: odradek_wal::IoId, result: odradek_wal::IoResult) {
        let event = odradek_wal::Event::IoDone { id, result };
        let owner = self
            .shards
            .iter()
            .find(|owned| (owned.first_log..owned.first_log + owned.directories).contains(&log))
            .map(|owned| (owned.number, usize::from(log - owned.first_log)));
        match owner {
            Some((number, directory)) => {
                self.step_shard(number, ShardEvent::Log { directory, event })
            }
            None => metadata_group::on_disk(self, log, event),
        }
    }

    fn tick(&mut self) {
        let busy_until_us = self.logs_busy_until_us;
        self.ticked_us = self.now.monotonic_us;
        for position in 0..self.shards.len() {
            let number = self.shards[position].number;
            self.step_shard(number, ShardEvent::Tick);
        }
        let statistics = self.shards.iter().map(|owned| owned.shard.statistics());
        let not_compacted = statistics.map(|counted| counted.topics_not_compacted);
        self.metrics.topics_not_compacted(not_compacted.sum());
        // A tick alone is no reason to tick again soon.
        self.logs_busy_until_us = busy_until_us;
        metadata_group::tick(self);
        self.update_statistics();
    }

    fn update_statistics(&mut self) {
        let now_us = self.now.monotonic_us;
        if now_us < self.statistics_due_us {
            return;
        }
        self.statistics_due_us = now_us + STATISTICS_INTERVAL_US;
        for owned in &mut self.shards {
            owned.metrics.update(&owned.shard, now_us);
        }
        if let Some(group) = &mut self.metadata_group {
            group.update_metrics(now_us);
        }
    }
}

impl Machine for Core {
    type Mail = Mail;

    fn step(
        &mut self,
        now: Now,
        event: MachineEvent<Mail>,
        actions: &mut Vec<MachineAction<Mail>>,
    ) {
        self.now = now;
        std::mem::swap(&mut self.out, actions);
        match event {
            MachineEvent::Tick => self.tick(),
            MachineEvent::ConnectionOpened {
                connection,
                peer,
                listener,
            } => self.on_opened(connection, peer, listener),
            MachineEvent::Frame { connection, frame } => {
                self.turn_was_busy = true;
                self.on_frame(connection, frame);
            }
            MachineEvent::ConnectionClosed { connection } => self.on_closed(connection),
            MachineEvent::SendQueueDrained { .. } => {}
            MachineEvent::Disk { log, id, result } => {
                self.turn_was_busy = true;
                self.on_disk(log, id, result);
            }
            MachineEvent::Mail { mail, .. } => self.on_mail(mail),
            MachineEvent::Background { token, result } => {
                if token & leftovers::BACKGROUND_TOKEN != 0 {
                    self.leftover_gone()
                } else if token & telemetry::BACKGROUND_TOKEN == 0 {
                    metadata_group::on_background(self, token, result)
                } else {
                    telemetry::on_background(self, token, result)
                }
            }
            MachineEvent::ShutdownRequested { .. } => {
                self.closing.asked = true;
                metadata_group::on_shutdown(self);
            }
        }
        self.run_work();
        std::mem::swap(&mut self.out, actions);
    }

    fn next_deadline_us(&self) -> Option<u64> {
        let shards = self
            .shards
            .iter()
            .filter_map(|owned| owned.shard.next_deadline_us());
        let group = self
            .metadata_group
            .as_ref()
            .and_then(|group| group.next_deadline_us());
        let logs =
            (self.logs_busy_until_us > self.ticked_us).then_some(self.ticked_us + LOG_TICK_US);
        let turns = self.has_turns().then_some(self.now.monotonic_us);
        shards.chain(group).chain(logs).chain(turns).min()
    }

    fn company_until_us(&self) -> Option<u64> {
        let shards = self.shards.iter();
        shards
            .filter_map(|owned| owned.shard.company_until_us())
            .min()
    }

    /// One piece of what is done in pieces; then one write gathers all that the turn appended (group commit).
    fn end_turn(&mut self, now: Now, actions: &mut Vec<MachineAction<Mail>>) {
        if !self.commit_due && !self.has_turns() {
            self.turn_was_busy = false;
            return;
        }
        self.now = now;
        std::mem::swap(&mut self.out, actions);
        self.take_turn();
        if std::mem::take(&mut self.commit_due) {
            let wal_now = self.wal_now();
            self.with_logs(|log, outputs| log.commit(wal_now, outputs));
            self.run_work();
        }
        std::mem::swap(&mut self.out, actions);
    }
}
