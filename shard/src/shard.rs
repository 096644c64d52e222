//! [`Shard`]: the state of one core, its closed set of events and the one `match` over them.
//!
//! Neighbours: what each event does lies in `produce`, `fetch`, `offsets`, `admin`, `internal`,
//! `placement`, `strays`; what the logs say comes back through `directory`; a shard is made from recovered
//! logs in `recovery`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use odradek_wal::{DirectoryId, Now, Offset, ReplicaId, TopicId};
use slab::Slab;
use smallvec::SmallVec;

use crate::admin::PendingDelete;
use crate::command::{
    Action, CreatePartition, Event, PartitionKey, Reply, RequestToken, SessionKey,
};
use crate::config::{ShardOptions, TopicConfig};
use crate::coordinator::Coordinator;
use crate::deadlines::Deadlines;
use crate::directory::Directory;
use crate::message::Message;
use crate::offsets::PendingList;
use crate::partition::Partition;
use crate::position_index::{KeyIndex, TopicIndex};
use crate::produce::PendingProduce;
use crate::session_part::FetchPart;
use crate::strays::Strays;
use crate::table::Table;

/// A topic as far as this shard holds partitions of it.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) name: Arc<str>,
    pub(crate) config: Arc<TopicConfig>,
    /// Positions of its partitions in the shard's table.
    pub(crate) partitions: SmallVec<[u32; 4]>,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// A parked fetch answers with what is there.
    Fetch(u32),
    /// A partition's producers may be forgotten.
    Producers(u32, ReplicaId),
    /// A stray's rest is over.
    Stray(u32, ReplicaId),
    /// A coordinator has something to do.
    Coordinator(i32),
}

/// Who asked a log to read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ticket {
    /// A fetch, for the answer at this position.
    Fetch { fetch: u32, position: u32 },
    /// A ListOffsets, for the answer at this position.
    List { list: u32, position: u32 },
    /// A read from inside.
    Internal {
        token: RequestToken,
        key: PartitionKey,
    },
}

/// Counters for metrics: totals since the start, but for the gauges named so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStatistics {
    /// Gauge: partitions led.
    pub partitions: usize,
    /// Gauge: fetches parked, and session parts waiting.
    pub fetches_parked: usize,
    /// Gauge: produces that wait for the disk or for replicas.
    pub produces_waiting: usize,
    /// Gauge: session parts.
    pub session_parts: usize,
    /// Batches appended.
    pub batches_appended: u64,
    /// Bytes appended, batch headers included.
    pub bytes_appended: u64,
    /// Records appended.
    pub records_appended: u64,
    /// Batches refused.
    pub batches_refused: u64,
    /// Batches answered from producer state.
    pub batches_duplicate: u64,
    /// Batches whose bytes were rebuilt before the append.
    pub batches_rebuilt: u64,
    /// Bytes of records given to fetches.
    pub bytes_fetched: u64,
    /// Session members looked at: what incremental fetches cost.
    pub members_evaluated: u64,
    /// Producers forgotten by age or by the bound.
    pub producers_forgotten: u64,
    /// Gauge: replicas unknown to the metadata that wait for an operator's word.
    pub strays_held: usize,
    /// Gauge: topics with a policy that is accepted but not carried out, each counted by the shard of its first partition.
    pub topics_not_compacted: usize,
}

/// What one core owns: one log per data directory, and the leaders placed on it.
///
/// Sans-IO: [`Shard::step`] takes the time and an event and pushes what is to be done into the caller's
/// buffer. A log's I/O goes out as [`Action::Log`] and its completion comes back as [`Event::Log`]. The
/// same events at the same times give the same actions.
pub struct Shard {
    pub(crate) options: ShardOptions,
    pub(crate) now: Now,
    pub(crate) directories: Vec<Directory>,
    pub(crate) partitions: Table<Partition>,
    pub(crate) index: KeyIndex,
    pub(crate) topics: Table<Topic>,
    pub(crate) topic_index: TopicIndex,
    pub(crate) produces: Slab<PendingProduce>,
    pub(crate) deletes: Slab<PendingDelete>,
    pub(crate) lists: Slab<PendingList>,
    pub(crate) fetches: Slab<FetchPart>,
    pub(crate) sessions: HashMap<SessionKey, u32, FixedState>,
    /// Requests that wait, by token: for `Unpark` and `Cancel`.
    pub(crate) parked: HashMap<RequestToken, u32, FixedState>,
    /// Fetches that have enough now; drained before a step ends.
    pub(crate) woken: Vec<u32>,
    pub(crate) tickets: HashMap<u64, Ticket, FixedState>,
    pub(crate) next_ticket: u64,
    pub(crate) deadlines: Deadlines<Deadline>,
    /// No produce gives up waiting before this.
    pub(crate) produce_deadline_us: u64,
    pub(crate) strays: Strays,
    /// Partitions that no directory had room for when they came.
    pub(crate) unplaced: BTreeMap<PartitionKey, CreatePartition>,
    /// It was said that a log doubts the clock.
    pub(crate) clock_doubted: bool,
    /// Coordinators by partition of their topic.
    pub(crate) coordinators: BTreeMap<i32, Coordinator>,
    /// Answers to the coordinators' own requests; drained before a step ends.
    pub(crate) inbox: VecDeque<(RequestToken, Reply)>,
    pub(crate) actions: Vec<Action>,
    pub(crate) statistics: ShardStatistics,
}

impl Shard {
    /// Takes one event and pushes what follows from it. `now` never goes back in its monotonic part.
    pub fn step(&mut self, now: Now, event: Event, actions: &mut Vec<Action>) {
        assert!(
            now.monotonic_us >= self.now.monotonic_us,
            "monotonic time went back"
        );
        self.now = now;
        std::mem::swap(&mut self.actions, actions);
        self.apply(event);
        self.settle();
        self.fire_deadlines();
        self.settle();
        std::mem::swap(&mut self.actions, actions);
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Tick => self.tick(),
            Event::Metadata(changes) => self.apply_metadata(changes),
            Event::Produce(command) => self.produce(command),
            Event::Fetch(command) => self.fetch(command),
            Event::Unpark(token) => self.unpark(token),
            Event::Cancel(token) => self.cancel(token),
            Event::ListOffsets(command) => self.list_offsets(command),
            Event::OffsetForLeaderEpoch(command) => self.offset_for_leader_epoch(&command),
            Event::DeleteRecords(command) => self.delete_records(&command),
            Event::DescribeProducers(command) => self.describe_producers(&command),
            Event::DescribeLogDirs(token) => self.describe_log_dirs(token),
            Event::InternalAppend(command) => self.internal_append(command),
            Event::InternalRead(command) => self.internal_read(&command),
            Event::Group(command) => self.group_command(command),
            Event::Log { directory, event } => self.log_event(directory, event),
            Event::CloseSession(key) => self.close_session(key),
            Event::AllowStrays => self.allow_strays(),
            Event::TrustClock => self.trust_clock(),
            Event::ShutDown => self.shut_down(),
        }
    }

    /// When [`Event::Tick`] is wanted at the latest, in monotonic microseconds. Logs want one at least every
    /// 50 ms while they work, and every second otherwise, besides.
    pub fn next_deadline_us(&self) -> Option<u64> {
        if self.directories.iter().any(Directory::gathers) {
            return Some(self.now.monotonic_us); // The next slice of a checkpoint's pages, after whatever else is there.
        }
        let produces = (self.produce_deadline_us < u64::MAX).then_some(self.produce_deadline_us);
        let commits = self.directories.iter();
        let commits = commits.filter_map(|directory| directory.log.commit_due_us());
        let reads = self.directories.iter();
        let reads = reads.filter_map(|directory| directory.log.reads_due_us());
        let deadlines = self.deadlines.next_us().into_iter();
        deadlines.chain(produces).chain(commits).chain(reads).min()
    }

    /// Until when a log's next write waits for those who were just answered, in monotonic microseconds.
    pub fn company_until_us(&self) -> Option<u64> {
        let directories = self.directories.iter();
        directories
            .filter_map(|directory| directory.log.company_until_us())
            .min()
    }

    /// Counters.
    pub fn statistics(&self) -> ShardStatistics {
        ShardStatistics {
            partitions: self.partitions.len(),
            fetches_parked: self.parked.len(),
            produces_waiting: self.produces.len(),
            session_parts: self.sessions.len(),
            strays_held: self.strays.held(),
            ..self.statistics
        }
    }

    /// The directories in the order given, and whether each is online.
    pub fn directories(&self) -> impl Iterator<Item = (DirectoryId, bool)> + '_ {
        self.directories
            .iter()
            .map(|directory| (directory.id, directory.online))
    }

    /// A directory's log, for statistics and the broker epoch.
    pub fn log(&self, directory: usize) -> &odradek_wal::Log {
        &self.directories[directory].log
    }

    /// Issues what the logs have gathered: for logs with `commit_on_append: false`, once per turn of the
    /// loop, so that all of a turn's appends make one write.
    pub fn commit(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.now = now;
        std::mem::swap(&mut self.actions, actions);
        for directory in &mut self.directories {
            directory.call(|log, outputs| log.commit(now, outputs));
        }
        self.settle();
        std::mem::swap(&mut self.actions, actions);
    }

    /// Calls a log directly (commits per turn, broker epoch, rewriting); what it says is carried out.
    pub fn with_log<R>(
        &mut self,
        now: Now,
        directory: usize,
        call: impl FnOnce(&mut odradek_wal::Log, &mut Vec<odradek_wal::Output>) -> R,
        actions: &mut Vec<Action>,
    ) -> R {
        self.now = now;
        std::mem::swap(&mut self.actions, actions);
        let answer = self.directories[directory].call(call);
        self.settle();
        std::mem::swap(&mut self.actions, actions);
        answer
    }

    /// The offsets of a partition led here: log start, high watermark, durable end, log end.
    pub fn offsets(&self, key: &PartitionKey) -> Option<crate::partition::Offsets> {
        let slot = self.slot_of(key)?;
        Some(self.partitions[slot as usize].offsets)
    }

    /// The leader epoch of a partition led here.
    pub fn leader_epoch(&self, key: &PartitionKey) -> Option<i32> {
        let slot = self.slot_of(key)?;
        Some(self.partitions[slot as usize].leader_epoch)
    }

    /// The directory that holds a partition led here.
    pub fn directory_of(&self, key: &PartitionKey) -> Option<DirectoryId> {
        let slot = self.slot_of(key)?;
        Some(self.directories[usize::from(self.partitions[slot as usize].directory)].id)
    }

    /// All partitions led here, in order.
    pub fn partitions(&self) -> Vec<PartitionKey> {
        let mut keys: Vec<PartitionKey> = self
            .partitions
            .iter()
            .map(|partition| partition.key)
            .collect();
        keys.sort_unstable();
        keys
    }

    pub(crate) fn reply(&mut self, token: RequestToken, reply: Reply) {
        if token.is_own() {
            return self.inbox.push_back((token, reply));
        }
        self.actions.push(Action::Reply { token, reply });
    }

    pub(crate) fn message(&mut self, message: Message) {
        self.actions.push(Action::Message(message));
    }

    pub(crate) fn ticket(&mut self, ticket: Ticket) -> u64 {
        self.next_ticket += 1;
        self.tickets.insert(self.next_ticket, ticket);
        self.next_ticket
    }

    /// Where a partition led here stands in the table.
    pub(crate) fn slot_of(&self, key: &PartitionKey) -> Option<u32> {
        self.index.get(&self.partitions, key)
    }

    /// The topic of a partition.
    pub(crate) fn topic_of(&self, slot: u32) -> &Topic {
        &self.topics[self.partitions[slot as usize].topic as usize]
    }

    pub(crate) fn partition(&self, slot: u32) -> &Partition {
        &self.partitions[slot as usize]
    }

    pub(crate) fn partition_mut(&mut self, slot: u32) -> &mut Partition {
        &mut self.partitions[slot as usize]
    }

    /// The log that holds a partition.
    pub(crate) fn directory_mut(&mut self, slot: u32) -> &mut Directory {
        &mut self.directories[usize::from(self.partitions[slot as usize].directory)]
    }

    /// A moment from now, in monotonic microseconds.
    pub(crate) fn after_ms(&self, ms: u64) -> u64 {
        self.now
            .monotonic_us
            .saturating_add(ms.saturating_mul(1_000))
    }

    fn fire_deadlines(&mut self) {
        self.fire_produce_deadlines();
        while let Some(deadline) = self.deadlines.pop_due(self.now.monotonic_us) {
            match deadline {
                Deadline::Fetch(fetch) => self.fetch_deadline(fetch),
                Deadline::Producers(slot, replica) => self.expire_producers(slot, replica),
                Deadline::Coordinator(number) => self.coordinator_due(number),
                Deadline::Stray(directory, replica) => {
                    self.delete_stray(directory as usize, replica)
                }
            }
        }
    }

    fn expire_producers(&mut self, slot: u32, replica: ReplicaId) {
        let expiration_us = self.options.producer_expiration_ms.saturating_mul(1_000);
        let now_us = self.now.monotonic_us;
        let Some(partition) = self.partitions.get_mut(slot as usize) else {
            return;
        };
        if partition.replica != replica {
            return; // The position holds another partition now.
        }
        partition.expiry_queued = false;
        let Some(producers) = partition.producers.as_deref_mut() else {
            return;
        };
        let before = producers.len();
        let next_used = producers.expire(now_us.saturating_sub(expiration_us));
        let forgotten = before - producers.len();
        if producers.is_empty() {
            partition.producers = None;
        }
        self.statistics.producers_forgotten += forgotten as u64;
        if forgotten > 0 {
            self.note_producers_changed(slot);
        }
        if self.partition(slot).producers.is_some() {
            self.queue_expiry(slot, next_used.unwrap_or(now_us));
        }
    }

    /// Queues the partition's expiry, once: an active partition is looked at about once a period.
    pub(crate) fn queue_expiry(&mut self, slot: u32, used_us: u64) {
        let expiration_us = self
            .options
            .producer_expiration_ms
            .saturating_mul(1_000)
            .max(1);
        let partition = self.partition_mut(slot);
        if !partition.expiry_queued {
            partition.expiry_queued = true;
            let replica = partition.replica;
            self.deadlines.insert(
                used_us.saturating_add(expiration_us),
                Deadline::Producers(slot, replica),
            );
        }
    }

    /// The slot of a partition, its watermark raised to `to`: producers are folded, watchers told.
    pub(crate) fn advance_high_watermark(&mut self, slot: u32, to: Offset, bytes: usize) {
        let ahead = self.options.durability == crate::config::Durability::None;
        let now_us = self.now.monotonic_us;
        let producers_max = self.options.producers_per_partition_max;
        let partition = &mut self.partitions[slot as usize];
        partition
            .offsets
            .advance(crate::partition::OffsetMove::HighWatermark(to), ahead);
        let (replica, key) = (partition.replica, partition.key);
        let mut forgotten = 0;
        if let Some(producers) = partition.producers.as_deref_mut() {
            forgotten = producers.commit(to, now_us, producers_max);
        }
        let directory = usize::from(partition.directory);
        self.directories[directory]
            .log
            .set_high_watermark(replica, to);
        if forgotten > 0 {
            self.statistics.producers_forgotten += forgotten as u64;
            self.message(Message::ProducersForgotten {
                key,
                count: forgotten,
            });
        }
        self.tell_watchers(slot, bytes);
    }
}
