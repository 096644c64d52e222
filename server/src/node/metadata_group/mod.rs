//! The metadata group on core 0: consensus (`raft`), the controller, and the metadata log's bytes joined (M2-M4).
//! A call becomes records, records become a batch of the log, the durable batch becomes an image, and the image goes to every core
//! before the answer does. Calls are in `calls.rs`, those that create topics are worked in turns in `creation.rs`, this broker's own life in `lifecycle.rs`, snapshots in `snapshots.rs`.

mod calls;
mod create_request;
mod created_topics;
mod creation;
mod lifecycle;
mod snapshots;

pub use calls::on_call;
pub use creation::turn;
pub use lifecycle::{on_directory_offline, on_shards_closed, on_shutdown};
pub use snapshots::on_background;

use super::controller_call::ControllerAnswer;
use super::log_metrics::LogMetrics;
use super::mail::ImageUpdate;
use super::status::MetadataState;
use super::{Core, Mail};
use crate::machine::{LogLevel, MachineAction};
use bytes::Bytes;
use creation::Creations;
use lifecycle::Lifecycle;
use odradek_protocol::api::ApiKey;
use odradek_protocol::records::{self, BatchHeader};
use odradek_raft::consensus::{self, Action, Event, Raft, SnapshotId, quorum_state};
use odradek_raft::controller::QuorumController;
use odradek_raft::image::{MetadataDelta, MetadataImage};
use odradek_raft::snapshot::file_name;
use odradek_shard::RequestToken;
use odradek_wal::{
    CreateReplica, FileName, FrameMeta, Io, IoClass, IoId, LeaderEpoch, Log, Lsn, Offset, Output,
    ReplicaId, TopicId,
};
use snapshots::Snapshots;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

/// Topic id of `__cluster_metadata`.
pub const METADATA_TOPIC_ID: TopicId = TopicId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// Images are published at most this often while nobody waits for one.
const PUBLISH_INTERVAL_US: u64 = 50_000;
/// The log wants a tick this often while something happens, and for a while after it (its seal).
const LOG_TICK_US: u64 = 50_000;
const LOG_BUSY_US: u64 = 500_000;
/// The part of a record batch that is not covered by its CRC.
const BATCH_HEAD_BYTES: usize = 21;

/// An answer that waits for its records to be committed.
struct Waiting {
    /// Offset after its last record.
    end: i64,
    token: RequestToken,
    answer: ControllerAnswer,
}

/// What the group is made from.
pub struct GroupParts {
    pub raft: Raft,
    pub controller: QuorumController,
    pub log: Log,
    /// The metadata log's replica in `log`.
    pub replica: ReplicaId,
    /// Index of `log`, and of the quorum state's folder, among core 0's logs.
    pub log_index: u16,
    pub quorum_index: u16,
    /// Where `.checkpoint` files and the exported quorum state go.
    pub folder: PathBuf,
    /// First offset that the controller has not applied: the end of the snapshot it was made from.
    pub applied: i64,
    /// The image of that snapshot, and all of it as a change: every core begins with it.
    pub loaded: Option<(MetadataImage, MetadataDelta)>,
    /// Bytes of the newest snapshot.
    pub snapshot_bytes: u64,
    pub metrics: LogMetrics,
}

/// See the module.
pub struct MetadataGroup {
    raft: Raft,
    controller: QuorumController,
    log: Log,
    replica: ReplicaId,
    log_index: u16,
    quorum_index: u16,
    folder: PathBuf,
    /// Log writes of consensus that are not durable yet, in order.
    writes: VecDeque<(u64, Lsn)>,
    /// Writes of the quorum state, the first of them on its way. One at a time: two under way may land in any order, and a crash between
    /// them would leave slots of which the newer does not follow the older.
    quorum_writes: VecDeque<Io>,
    applied: i64,
    /// End of the log as it was recovered.
    recovered_end: i64,
    /// The epoch this node leads in.
    epoch: Option<i32>,
    /// The epoch its controller was made active in.
    active_epoch: Option<i32>,
    waiting: VecDeque<Waiting>,
    creations: Creations,
    /// Offset of the last image that was sent to the cores.
    sent_image: i64,
    /// Offset of the last image that each core serves from; a core is missing until it has told of one.
    placed_images: BTreeMap<u16, i64>,
    /// Requests that consensus has in hand.
    raft_calls: slab::Slab<(RequestToken, ApiKey, i16)>,
    /// The image of the snapshot that this node began with, until it is published.
    loaded: Option<ImageUpdate>,
    /// Changes since the last published image, or since that one.
    unpublished: Option<ImageUpdate>,
    published_us: u64,
    lifecycle: Lifecycle,
    snapshots: Snapshots,
    metrics: LogMetrics,
    closing: bool,
    log_ticked_us: u64,
    log_busy_until_us: Option<u64>,
    raft_actions: Vec<Action>,
    log_outputs: Vec<Output>,
}

impl MetadataGroup {
    /// A group before its first tick.
    pub fn new(parts: GroupParts) -> Self {
        let after_snapshot = parts.raft.batches_from(parts.applied);
        let new_bytes: usize = after_snapshot.map(|batch| batch.bytes.len()).sum();
        Self {
            recovered_end: parts.raft.log_end(),
            raft: parts.raft,
            controller: parts.controller,
            log: parts.log,
            replica: parts.replica,
            log_index: parts.log_index,
            quorum_index: parts.quorum_index,
            writes: VecDeque::new(),
            quorum_writes: VecDeque::new(),
            applied: parts.applied,
            epoch: None,
            active_epoch: None,
            waiting: VecDeque::new(),
            creations: Creations::default(),
            sent_image: -1,
            placed_images: BTreeMap::new(),
            raft_calls: slab::Slab::new(),
            // The broker of a snapshot is that of an earlier life: unfenced or not, it says nothing of this one.
            loaded: parts.loaded.map(|(image, delta)| ImageUpdate {
                image: Arc::new(image),
                delta: Arc::new(delta),
                unfenced: false,
                followed_by: None,
            }),
            unpublished: None,
            published_us: 0,
            lifecycle: Lifecycle::default(),
            snapshots: Snapshots::new(parts.snapshot_bytes, new_bytes as u64),
            metrics: parts.metrics,
            folder: parts.folder,
            closing: false,
            log_ticked_us: 0,
            log_busy_until_us: None,
            raft_actions: Vec::new(),
            log_outputs: Vec::new(),
        }
    }

    /// Takes over what the metadata log counts.
    pub fn update_metrics(&mut self, now_us: u64) {
        self.metrics.update(&self.log, now_us);
    }

    /// Whether topics are being created, which goes on with [`turn`].
    pub fn has_turns(&self) -> bool {
        self.creations.has_work()
    }

    /// When the group next wants a tick.
    pub fn next_deadline_us(&self) -> Option<u64> {
        let waits = self.loaded.is_some() || self.unpublished.is_some();
        let publish =
            (waits && self.has_caught_up()).then_some(self.published_us + PUBLISH_INTERVAL_US);
        let raft = Some(self.raft.next_deadline_us()).filter(|deadline| *deadline != u64::MAX);
        let log = self
            .log_busy_until_us
            .filter(|until| *until > self.log_ticked_us)
            .map(|_| self.log_ticked_us + LOG_TICK_US);
        let deadlines = [
            raft,
            log,
            self.controller.next_deadline_us(),
            self.lifecycle.next_deadline_us(),
            publish,
        ];
        deadlines.into_iter().flatten().min()
    }
}

/// Runs `work` with the group taken out of the core, then what it left to do.
fn with_group(core: &mut Core, work: impl FnOnce(&mut Core, &mut MetadataGroup)) {
    let Some(mut group) = core.metadata_group.take() else {
        return;
    };
    work(core, &mut group);
    group.settle(core);
    core.metadata_group = Some(group);
}

/// Time passed.
pub fn tick(core: &mut Core) {
    with_group(core, |core, group| {
        let now = raft_now(core);
        group.raft.step(now, Event::Tick, &mut group.raft_actions);
        let wal_now = wal_now(core);
        group.log_ticked_us = now.monotonic_us;
        group
            .log
            .step(wal_now, odradek_wal::Event::Tick, &mut group.log_outputs);
        group.settle(core);
        lifecycle::tick(core, group);
        calls::tick(core, group);
        snapshots::tick(core, group);
    });
}

/// An I/O of the metadata log or the quorum state ended.
pub fn on_disk(core: &mut Core, log: u16, event: odradek_wal::Event) {
    with_group(core, |core, group| {
        if log == group.log_index {
            let now = wal_now(core);
            group.log.step(now, event, &mut group.log_outputs);
        } else if log == group.quorum_index {
            let odradek_wal::Event::IoDone { id, result } = event else {
                return;
            };
            let event = match result {
                odradek_wal::IoResult::Failed(failure) => Event::StorageFailed {
                    reason: format!("writing the quorum state failed: {failure}"),
                },
                _ => Event::QuorumStateDurable { counter: id.0 },
            };
            let now = raft_now(core);
            group.raft.step(now, event, &mut group.raft_actions);
            group.quorum_writes.pop_front();
            group.write_quorum_state(core);
        }
    });
}

fn raft_now(core: &Core) -> consensus::Now {
    consensus::Now {
        monotonic_us: core.now().monotonic_us,
        wall_ms: core.now().wall_ms,
    }
}

fn wal_now(core: &Core) -> odradek_wal::Now {
    odradek_wal::Now {
        monotonic_us: core.now().monotonic_us,
        wall_ms: core.now().wall_ms,
    }
}

impl MetadataGroup {
    /// Carries out what consensus and the log asked for, until neither asks for more; then publishes and answers.
    fn settle(&mut self, core: &mut Core) {
        loop {
            let actions = std::mem::take(&mut self.raft_actions);
            let outputs = std::mem::take(&mut self.log_outputs);
            if actions.is_empty() && outputs.is_empty() {
                if self.epoch == self.active_epoch {
                    break;
                }
                self.active_epoch = self.epoch;
                lifecycle::on_leadership(core, self);
            }
            for action in actions {
                self.on_raft_action(core, action);
            }
            for output in outputs {
                self.on_log_output(core, output);
            }
        }
        self.publish_if_due(core);
        let leader = self.raft.leader();
        core.options.status.set_metadata(MetadataState {
            leader_id: leader.leader_id,
            epoch: leader.epoch,
            high_watermark: self.raft.high_watermark(),
        });
    }

    fn on_raft_action(&mut self, core: &mut Core, action: Action) {
        match action {
            Action::AppendLog {
                write,
                bytes,
                base,
                end,
                epoch,
            } => self.append(core, write, &bytes, (base, end), epoch),
            Action::TruncateLog { write, to } => {
                let now = wal_now(core);
                let lsn = self
                    .log
                    .truncate(now, self.replica, Offset(to), &mut self.log_outputs);
                self.written(core, write, lsn);
            }
            Action::CutLog { write, log_start } => {
                let now = wal_now(core);
                let lsn = self.log.set_log_start(
                    now,
                    self.replica,
                    Offset(log_start),
                    &mut self.log_outputs,
                );
                self.written(core, write, lsn);
            }
            Action::PersistQuorumState { state, counter } => {
                self.persist_quorum_state(core, &state, counter)
            }
            Action::Committed { .. } => self.advance(core),
            Action::BecameLeader { epoch, .. } => {
                core.log(
                    LogLevel::Info,
                    format!("this node leads the metadata log in epoch {epoch}"),
                );
                self.epoch = Some(epoch);
                self.advance(core);
            }
            Action::LostLeadership { .. } => self.resign(core),
            Action::ResetLog { write, to } => self.reset_log(core, write, to),
            Action::Reply { token, response } => calls::on_raft_reply(self, core, token, &response),
            Action::RemoveSnapshot { id } => snapshots::remove(self, core, id),
            Action::ReadSnapshot {
                token,
                id,
                position,
                length,
            } => {
                snapshots::read(self, core, token, id, (position, length));
            }
            Action::Fatal { reason } => core.out.push(MachineAction::Exit {
                code: 1,
                reason: reason.to_string(),
            }),
            // A lone voter has no peers to send to and loads no one's snapshot; what it truncates was never applied.
            Action::Send { .. }
            | Action::LeaderChanged { .. }
            | Action::LogTruncated { .. }
            | Action::WriteSnapshotChunk { .. }
            | Action::InstallSnapshot { .. }
            | Action::DropSnapshotPart { .. } => {}
        }
    }

    fn append(
        &mut self,
        core: &mut Core,
        write: u64,
        bytes: &Bytes,
        (base, end): (i64, i64),
        epoch: i32,
    ) {
        let header = BatchHeader::parse(bytes).expect("a batch of ours has its header");
        let meta = FrameMeta {
            replica: self.replica,
            base_offset: Offset(base),
            last_offset: Offset(end - 1),
            leader_epoch: LeaderEpoch(epoch),
            max_timestamp: header.max_timestamp,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            flags: header.attributes as u16,
        };
        self.snapshots.appended(end, bytes.len());
        let (head, body) = bytes.split_at(BATCH_HEAD_BYTES);
        let now = wal_now(core);
        let lsn = self.log.append(
            now,
            &meta,
            head,
            body,
            Some(header.crc),
            &mut self.log_outputs,
        );
        self.written(core, write, lsn);
    }

    fn written(
        &mut self,
        core: &mut Core,
        write: u64,
        lsn: Result<Lsn, odradek_wal::AppendRefusal>,
    ) {
        match lsn {
            Ok(lsn) => {
                self.log_busy_until_us = Some(core.now().monotonic_us + LOG_BUSY_US);
                self.writes.push_back((write, lsn));
            }
            Err(refusal) => {
                let reason = format!("the metadata log takes no writes: {refusal}");
                let now = raft_now(core);
                self.raft
                    .step(now, Event::StorageFailed { reason }, &mut self.raft_actions);
            }
        }
    }

    /// What was proposed and is not committed may never be: the controller goes back to the committed image, and calls that
    /// waited are not answered (their clients ask again).
    fn resign(&mut self, core: &mut Core) {
        self.epoch = None;
        self.active_epoch = None;
        self.controller.resign();
        let committed = self.controller.committed();
        self.applied = committed.offset + 1;
        lifecycle::on_leadership_lost(core, self);
        creation::resign(core, self);
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.token.part != lifecycle::OWN_PART {
                let reason = "this node no longer leads the metadata log".to_string();
                deliver(core, self, waiting.token, ControllerAnswer::Refused(reason));
            }
        }
    }

    /// A stored snapshot takes the place of the whole log: a new replica, whose first batch will begin at the snapshot's end.
    /// Were both frames lost, recovery would ask for the same again.
    fn reset_log(&mut self, core: &mut Core, write: u64, to: SnapshotId) {
        if self.controller.committed().offset + 1 < to.offset {
            core.out.push(MachineAction::Exit {
                code: 1,
                reason: format!(
                    "the metadata log is to go on from snapshot {}, which was not loaded",
                    file_name(to)
                ),
            });
            return;
        }
        core.log(
            LogLevel::Warn,
            format!(
                "the metadata log ends before snapshot {}: it is begun anew behind it",
                file_name(to)
            ),
        );
        let now = wal_now(core);
        let create = CreateReplica {
            topic_id: METADATA_TOPIC_ID,
            partition: 0,
            metadata_offset: 0,
        };
        let replaced = self
            .log
            .create_replica(now, create, &mut self.log_outputs)
            .and_then(|replica| {
                let old = std::mem::replace(&mut self.replica, replica);
                self.log.delete_replica(now, old, &mut self.log_outputs)
            });
        self.applied = self.applied.max(to.offset);
        self.written(core, write, replaced);
    }

    fn persist_quorum_state(
        &mut self,
        core: &mut Core,
        state: &consensus::QuorumState,
        counter: u64,
    ) {
        let slot = quorum_state::encode_slot(state, counter);
        let io = Io::Write {
            id: IoId(counter),
            file: FileName::Root,
            position: (quorum_state::slot_index(counter) * slot.len()) as u64,
            buffer: crate::aligned::copy(&slot),
            durable: true,
            class: IoClass::Commit,
        };
        self.quorum_writes.push_back(io);
        if self.quorum_writes.len() == 1 {
            self.write_quorum_state(core);
        }
        snapshots::export_quorum_state(self, core, state);
    }

    fn write_quorum_state(&self, core: &mut Core) {
        core.out
            .extend(self.quorum_writes.front().map(|io| MachineAction::Disk {
                log: self.quorum_index,
                io: io.clone(),
            }));
    }

    fn on_log_output(&mut self, core: &mut Core, output: Output) {
        match output {
            Output::Io(io) => core.out.push(MachineAction::Disk {
                log: self.log_index,
                io,
            }),
            Output::DurableTo { lsn } => self.on_durable(core, lsn),
            Output::CheckpointDue => {
                let now = wal_now(core);
                self.log.begin_checkpoint(now, Vec::new(), &mut self.log_outputs);
            }
            Output::Offline { reason } => {
                let reason = format!("the metadata log directory is offline: {reason}");
                let now = raft_now(core);
                self.raft.step(now, Event::StorageFailed { reason }, &mut self.raft_actions);
            }
            Output::Message(text) => core.log(LogLevel::Info, format!("metadata log: {text}")),
            Output::Damaged { first, last, file, position, .. } => core.log(
                LogLevel::Error,
                format!("the metadata log is damaged at {file}, position {position}: offsets {first} to {last}"),
            ),
            Output::Closed => lifecycle::on_metadata_log_closed(core),
            // Nothing here goes by age: what snapshots hold is cut.
            Output::DeletionsFrozen { .. }
            | Output::ReadDone { .. }
            | Output::LogStartMoved { .. }
            | Output::CheckpointDone { .. }
            | Output::PlanFrames { .. }
            | Output::PlanDone { .. } => {}
        }
    }

    fn on_durable(&mut self, core: &mut Core, lsn: Lsn) {
        let mut newest = None;
        while self.writes.front().is_some_and(|(_, end)| *end <= lsn) {
            newest = self.writes.pop_front().map(|(write, _)| write);
        }
        if let Some(write) = newest {
            let now = raft_now(core);
            self.raft
                .step(now, Event::LogDurable { write }, &mut self.raft_actions);
        }
    }

    /// Applies what may be applied (all of it for the leader, what is committed for others) and takes in what is committed.
    fn advance(&mut self, core: &mut Core) {
        let committed = self.raft.high_watermark().unwrap_or(0);
        let until = if self.epoch.is_some() {
            self.raft.log_end()
        } else {
            committed
        };
        let batches: Vec<consensus::Batch> = self
            .raft
            .batches_from(self.applied)
            .take_while(|batch| batch.end <= until)
            .cloned()
            .collect();
        for batch in &batches {
            if let Err(reason) = self.replay(batch) {
                core.out.push(MachineAction::Exit { code: 1, reason });
                return;
            }
            self.applied = batch.end;
        }
        // One image for all of them: at a start they are many.
        if !batches.is_empty() {
            self.controller.publish_replayed();
        }
        if let Some((image, delta)) = self.controller.advance_committed(committed - 1) {
            self.collect(core, image, delta);
        }
        self.answer_ready(core);
    }

    /// Answers what is committed and carried out by all cores' shards. This broker's own calls want the first alone.
    fn answer_ready(&mut self, core: &mut Core) {
        let committed = self.raft.high_watermark().unwrap_or(0);
        if self
            .waiting
            .front()
            .is_some_and(|first| first.end <= committed)
        {
            self.publish(core);
        }
        let (sent, placed) = (self.sent_image, self.placed_by_all(core));
        let is_ready = |waiting: &Waiting| {
            waiting.end <= committed
                && (waiting.token.part == lifecycle::OWN_PART
                    || placed >= sent.min(waiting.end - 1))
        };
        while let Some(waiting) = self.waiting.pop_front_if(|first| is_ready(first)) {
            deliver(core, self, waiting.token, waiting.answer);
        }
    }

    fn placed_by_all(&self, core: &Core) -> i64 {
        let cores = (0..core.options.cores).map(|one| self.placed_images.get(&one).copied());
        cores.min().flatten().unwrap_or(-1)
    }

    fn replay(&mut self, batch: &consensus::Batch) -> Result<(), String> {
        if batch.control {
            self.controller.skip_unpublished(batch.end - 1, batch.epoch);
            return Ok(());
        }
        let records = records::records(&batch.bytes, BATCH_UNPACKED_BYTES_MAX)
            .map_err(|error| error.to_string())?;
        self.controller
            .replay_batch_unpublished(&records, batch.base, batch.epoch)
            .map_err(|error| error.to_string())
    }

    fn collect(
        &mut self,
        core: &Core,
        image: odradek_raft::image::MetadataImage,
        delta: MetadataDelta,
    ) {
        // What the log says of this broker before it has registered is of an earlier life of the process.
        let unfenced = image
            .brokers
            .get(&core.options.node_id)
            .is_some_and(|broker| {
                !broker.fenced && Some(broker.epoch) == self.lifecycle.registered()
            });
        let image = Arc::new(image);
        self.unpublished = Some(match self.unpublished.take() {
            None => ImageUpdate {
                image,
                delta: Arc::new(delta),
                unfenced,
                followed_by: None,
            },
            Some(before) => {
                let mut merged = Arc::unwrap_or_clone(before.delta);
                merged.merge(delta);
                ImageUpdate {
                    image,
                    delta: Arc::new(merged),
                    unfenced,
                    followed_by: None,
                }
            }
        });
    }

    fn publish_if_due(&mut self, core: &mut Core) {
        if core.now().monotonic_us >= self.published_us + PUBLISH_INTERVAL_US {
            self.publish(core);
        }
    }

    /// Whether all that the log held at the start is known to be committed, or cut.
    fn has_caught_up(&self) -> bool {
        let held = self.recovered_end.min(self.raft.log_end());
        self.raft.high_watermark().unwrap_or(0) >= held
    }

    fn publish(&mut self, core: &mut Core) {
        // The snapshot of the start waits for what the log says after it: else partitions deleted since would be made anew, to be
        // deleted at once.
        if !self.has_caught_up() {
            return;
        }
        let mut loaded = self.loaded.take();
        let next = self.unpublished.take();
        if let (Some(loaded), Some(next)) = (&mut loaded, &next) {
            loaded.followed_by = Some(next.image.clone());
        }
        for update in loaded.into_iter().chain(next) {
            self.published_us = core.now().monotonic_us;
            self.sent_image = update.image.offset;
            core.send_to_all_cores(|| Mail::Image(update.clone()));
        }
    }
}

/// The shards of one core have taken in the image up to `offset`.
pub fn on_placed(core: &mut Core, from: u16, offset: i64) {
    with_group(core, |core, group| {
        group.placed_images.insert(from, offset);
        group.answer_ready(core);
    });
}

/// Bytes that one batch of the metadata log may unpack to; ours are never compressed.
const BATCH_UNPACKED_BYTES_MAX: usize = 64 << 20;

/// Hands an answer to the core that asked, or to the life of this broker.
fn deliver(
    core: &mut Core,
    group: &mut MetadataGroup,
    token: RequestToken,
    answer: ControllerAnswer,
) {
    if token.part == lifecycle::OWN_PART {
        lifecycle::on_answer(core, group, answer);
    } else {
        core.send_to_core(token.core, Mail::ControllerReply { token, answer });
    }
}
