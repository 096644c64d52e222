//! From recovered logs to a shard: producer state out of the checkpoint's cold pages and the frames replayed
//! after it (case 15). Partitions are not made here but as the metadata names them (`placement`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use odradek_protocol::records::ATTRIBUTE_CONTROL;
use odradek_wal::{DirectoryId, FrameMeta, Log, Now, Offset, RecoveryVisitor, ReplicaId};
use slab::Slab;

use crate::config::ShardOptions;
use crate::deadlines::Deadlines;
use crate::directory::Directory;
use crate::message::Message;
use crate::position_index::{KeyIndex, TopicIndex};
use crate::producers::{ProducerBatch, Producers};
use crate::shard::{Shard, ShardStatistics};
use crate::strays::Strays;
use crate::table::Table;

/// Hand this to `Log::recover` as its visitor, then to [`Shard::new`] with the log.
#[derive(Debug)]
pub struct RecoveredProducers {
    now_us: u64,
    producers_max: usize,
    states: BTreeMap<ReplicaId, Producers>,
    replayed: BTreeSet<ReplicaId>,
    unreadable: Vec<(ReplicaId, String)>,
}

impl RecoveredProducers {
    /// An empty state; producers recovered into it count as used now.
    pub fn new(now: Now, options: &ShardOptions) -> Self {
        RecoveredProducers {
            now_us: now.monotonic_us,
            producers_max: options.producers_per_partition_max,
            states: BTreeMap::new(),
            replayed: BTreeSet::new(),
            unreadable: Vec::new(),
        }
    }

    /// The state of one replica, whose log ends at `log_end`, and whether the checkpoint lacks some of it.
    pub(crate) fn take(
        &mut self,
        replica: ReplicaId,
        log_end: Offset,
    ) -> (Option<Box<Producers>>, bool) {
        let replayed = self.replayed.remove(&replica);
        let Some(mut producers) = self.states.remove(&replica) else {
            return (None, replayed);
        };
        let clean = producers.truncate(log_end);
        (
            (!producers.is_empty()).then(|| Box::new(producers)),
            replayed || !clean,
        )
    }

    /// Cold pages of what was replayed and is claimed by no partition yet, so many at most: a checkpoint ends the replay that
    /// would bring it back.
    pub(crate) fn unclaimed_pages(&mut self, pages_max: usize) -> Vec<(ReplicaId, Vec<u8>)> {
        let mut pages = Vec::new();
        while pages.len() < pages_max
            && let Some(replica) = self.replayed.pop_first()
        {
            if let Some(producers) = self.states.get(&replica) {
                pages.push((replica, producers.to_cold_page()));
            }
        }
        pages
    }

    /// Whether [`RecoveredProducers::unclaimed_pages`] has more.
    pub(crate) fn has_unclaimed_pages(&self) -> bool {
        !self.replayed.is_empty()
    }
}

impl RecoveryVisitor for RecoveredProducers {
    fn cold(&mut self, replica: ReplicaId, page: &[u8]) {
        if page.is_empty() {
            self.states.remove(&replica);
            return;
        }
        match Producers::from_cold_page(page, self.now_us) {
            Ok(producers) => {
                self.states.insert(replica, producers);
            }
            Err(error) => self.unreadable.push((replica, error.to_string())),
        }
    }

    fn frame(&mut self, meta: &FrameMeta) {
        // The page may hold batches that were on their way to the disk when it was written. From the first
        // frame replayed on, the frames alone say what arrived.
        if self.replayed.insert(meta.replica)
            && let Some(producers) = self.states.get_mut(&meta.replica)
        {
            producers.truncate(meta.base_offset);
        }
        if meta.producer_id < 0 || meta.flags as i16 & ATTRIBUTE_CONTROL != 0 {
            return;
        }
        let batch = ProducerBatch {
            producer_id: meta.producer_id,
            producer_epoch: meta.producer_epoch,
            base_sequence: meta.base_sequence,
            last_offset_delta: (meta.last_offset.0 - meta.base_offset.0) as i32,
            max_timestamp: meta.max_timestamp,
        };
        let producers = self.states.entry(meta.replica).or_default();
        producers.fold(&batch, meta.last_offset, self.now_us, self.producers_max);
    }

    fn truncated(&mut self, replica: ReplicaId, to: Offset) {
        if let Some(producers) = self.states.get_mut(&replica) {
            producers.truncate(to);
        }
    }

    fn deleted(&mut self, replica: ReplicaId) {
        self.states.remove(&replica);
        self.replayed.remove(&replica);
    }
}

/// A recovered log with what its recovery said to the shard.
#[derive(Debug)]
pub struct RecoveredLog {
    /// The data directory it lies in.
    pub directory: DirectoryId,
    /// The log.
    pub log: Log,
    /// The visitor of its recovery.
    pub producers: RecoveredProducers,
}

impl Shard {
    /// A shard over its recovered logs, one per data directory, in the order that [`crate::Event::Log`]
    /// numbers them. Nothing is served until the metadata places partitions here.
    pub fn new(options: ShardOptions, now: Now, logs: Vec<RecoveredLog>) -> Shard {
        let hasher = FixedState::with_seed(options.hash_seed);
        let mut shard = Shard {
            now,
            directories: Vec::with_capacity(logs.len()),
            partitions: Table::new(),
            index: KeyIndex::by_key(hasher.clone()),
            topics: Table::new(),
            topic_index: TopicIndex::by_topic_id(hasher.clone()),
            produces: Slab::new(),
            deletes: Slab::new(),
            lists: Slab::new(),
            fetches: Slab::new(),
            sessions: HashMap::with_hasher(hasher.clone()),
            parked: HashMap::with_hasher(hasher.clone()),
            woken: Vec::new(),
            tickets: HashMap::with_hasher(hasher.clone()),
            next_ticket: 0,
            deadlines: Deadlines::default(),
            produce_deadline_us: u64::MAX,
            strays: Strays::new(hasher.clone()),
            unplaced: BTreeMap::new(),
            clock_doubted: false,
            coordinators: BTreeMap::new(),
            inbox: VecDeque::new(),
            actions: Vec::new(),
            statistics: ShardStatistics::default(),
            options,
        };
        for recovered in logs {
            let RecoveredLog {
                directory: id,
                log,
                producers,
            } = recovered;
            shard.strays.note_log(&log);
            for (replica, reason) in &producers.unreadable {
                shard.message(Message::ProducerStateUnreadable {
                    replica: replica.0,
                    reason: reason.clone(),
                });
            }
            let replicas = log.statistics().replicas as usize;
            // Most replicas that were recovered are placed again: look-ups that grow step by step would be hashed many times over.
            shard.index.reserve(&shard.partitions, replicas);
            shard.directories.push(Directory::new(id, log, producers));
        }
        let topics = shard.strays.topics();
        shard.topic_index.reserve(&shard.topics, topics);
        shard
    }
}
