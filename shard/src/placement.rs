//! What the metadata places on this shard: partitions made, adopted, configured and deleted (M6, case 17).

use std::sync::Arc;

use odradek_wal::{
    AppendRefusal, CreateReplica, DirectoryId, Now, Offset, ReplicaId, RetentionPolicy, TopicId,
};
use smallvec::SmallVec;

use crate::command::{CreatePartition, PartitionChange, PartitionKey};
use crate::config::TopicConfig;
use crate::coordinator::GROUP_TOPIC;
use crate::message::Message;
use crate::partition::{Offsets, Partition, Watchers};
use crate::shard::{Shard, Topic};

/// Partitions that wait for room at most; what comes beyond is placed at the next start.
const UNPLACED_MAX: usize = 65_536;
/// Of them so many are placed in one tick.
const PLACED_PER_TICK_MAX: usize = 256;

impl Shard {
    pub(crate) fn apply_metadata(&mut self, changes: Vec<PartitionChange>) {
        for change in changes {
            match change {
                PartitionChange::Create(create) => self.create_partition(create),
                PartitionChange::LeaderEpoch { key, leader_epoch } => {
                    if let Some(slot) = self.slot_of(&key) {
                        let partition = self.partition_mut(slot);
                        partition.leader_epoch = partition.leader_epoch.max(leader_epoch);
                    } else if let Some(create) = self.unplaced.get_mut(&key) {
                        create.leader_epoch = create.leader_epoch.max(leader_epoch);
                    }
                }
                PartitionChange::InSync {
                    key,
                    in_sync,
                    replicas,
                } => {
                    if let Some(slot) = self.slot_of(&key) {
                        let partition = self.partition_mut(slot);
                        partition.in_sync = in_sync;
                        partition.replicas = replicas;
                    } else if let Some(create) = self.unplaced.get_mut(&key) {
                        (create.in_sync, create.replicas) = (in_sync, replicas);
                    }
                }
                PartitionChange::Config { topic_id, config } => {
                    for create in self.unplaced.values_mut() {
                        if create.key.topic_id == topic_id {
                            create.config = Arc::clone(&config);
                        }
                    }
                    self.configure_topic(topic_id, config)
                }
                PartitionChange::TopicDeleted { topic_name } => self.topic_deleted(&topic_name),
                PartitionChange::Delete { key } => {
                    self.unplaced.remove(&key);
                    self.delete_partition(&key)
                }
                PartitionChange::CaughtUp {
                    metadata_offset,
                    unfenced,
                } => {
                    if unfenced {
                        for directory in &mut self.directories {
                            directory.log.hold_retention(false);
                        }
                    }
                    self.judge_strays(metadata_offset, unfenced)
                }
            }
        }
    }

    /// Before the metadata log is read: takes up a partition that a snapshot of the metadata names, if its replica was recovered. False, and
    /// nothing is done, for all others, and for those of which more follows than that; [`PartitionChange::Create`] is for them.
    ///
    /// What the log says after the snapshot may change a topic's retention, so that nothing goes by it until [`PartitionChange::CaughtUp`] says
    /// that the broker is unfenced.
    pub fn adopt(&mut self, now: Now, create: &CreatePartition) -> bool {
        self.now = now;
        if create.config.cleanup.compact || &*create.topic_name == GROUP_TOPIC {
            return false;
        }
        if let Some(slot) = self.slot_of(&create.key) {
            self.renew_partition(slot, create);
            return true;
        }
        let Some(found) = self.claim(create) else {
            return false;
        };
        self.directories[found.0].log.hold_retention(true);
        self.place(create, found);
        true
    }

    fn create_partition(&mut self, create: CreatePartition) {
        let key = create.key;
        if let Some(slot) = self.slot_of(&key) {
            self.renew_partition(slot, &create);
            return self.configure_topic(key.topic_id, create.config);
        }
        let placed = match self.claim(&create) {
            Some(found) => Some(found),
            None => self.create_replica(&create),
        };
        if let Some(found) = placed {
            self.unplaced.remove(&key);
            self.place(&create, found);
        }
    }

    fn renew_partition(&mut self, slot: u32, create: &CreatePartition) {
        let partition = self.partition_mut(slot);
        partition.leader_epoch = partition.leader_epoch.max(create.leader_epoch);
        partition.in_sync = create.in_sync;
        partition.replicas = create.replicas;
    }

    /// Where a partition is to lie, when the metadata say so and the directory is here.
    fn assigned(&self, create: &CreatePartition) -> Option<usize> {
        create.directory.and_then(|id| self.directory_position(id))
    }

    fn claim(&mut self, create: &CreatePartition) -> Option<(usize, ReplicaId)> {
        let assigned = self.assigned(create);
        self.strays.claim(&create.key, assigned)
    }

    fn place(&mut self, create: &CreatePartition, (directory, replica): (usize, ReplicaId)) {
        let key = create.key;
        let Some(state) = self.directories[directory].log.replica(replica) else {
            return;
        };
        let (log_start, log_end) = (state.log_start, state.log_end.max(state.log_start));
        let (producers, unsaved) = self.directories[directory].recovered.take(replica, log_end);
        let had_producers = producers.is_some();
        // Said once a topic and node: by the shard of its first partition.
        if key.partition == 0 && create.config.cleanup.compact {
            self.statistics.topics_not_compacted += 1;
            self.message(Message::CompactionNotDone {
                topic: create.topic_name.as_ref().into(),
            });
        }
        let topic = self.topic_for(create);
        let partition = Partition {
            key,
            topic,
            replica,
            offsets: Offsets::recovered(log_start, log_end),
            producers,
            watchers: Watchers::default(),
            // The log's own last epoch, should the metadata ever be behind it: epochs never go back.
            leader_epoch: create.leader_epoch.max(state.last_epoch.0),
            directory: directory as u16,
            in_sync: create.in_sync,
            replicas: create.replicas,
            producers_changed: false,
            expiry_queued: false,
        };
        let slot = self.partitions.insert(partition) as u32;
        self.index.insert(&self.partitions, slot);
        self.topics[topic as usize].partitions.push(slot);
        let holder = &mut self.directories[directory];
        holder.partitions += 1;
        holder.log.set_high_watermark(replica, log_end);
        self.set_retention(slot);
        if had_producers {
            self.queue_expiry(slot, self.now.monotonic_us);
        }
        if unsaved {
            self.note_producers_changed(slot);
        }
        self.start_coordinator(slot);
    }

    /// A new replica in the directory assigned, else in the one that holds the fewest.
    fn create_replica(&mut self, create: &CreatePartition) -> Option<(usize, ReplicaId)> {
        let assigned = self.assigned(create);
        let online = |directory: &usize| self.directories[*directory].online;
        let directory = assigned.filter(online).or_else(|| {
            let all = (0..self.directories.len()).filter(online);
            all.min_by_key(|directory| self.directories[*directory].partitions)
        });
        let Some(directory) = directory else {
            self.unplaced.remove(&create.key);
            self.message(Message::AppendRefused {
                key: create.key,
                reason: "no log directory is online".to_owned(),
            });
            return None;
        };
        let now = self.now;
        let replica = CreateReplica {
            topic_id: create.key.topic_id,
            partition: create.key.partition,
            metadata_offset: create.metadata_offset,
        };
        match self.directories[directory].call(|log, out| log.create_replica(now, replica, out)) {
            Ok(replica) => Some((directory, replica)),
            Err(refusal) => {
                let passes = matches!(refusal, AppendRefusal::NoSpace | AppendRefusal::Stalled);
                if !passes {
                    self.unplaced.remove(&create.key);
                } else if self.wait_for_room(create) {
                    return None; // That was said when it began to wait.
                }
                self.message(Message::AppendRefused {
                    key: create.key,
                    reason: refusal.to_string(),
                });
                None
            }
        }
    }

    /// Keeps a partition that no directory has room for now. True when it waited already.
    fn wait_for_room(&mut self, create: &CreatePartition) -> bool {
        let waits = self.unplaced.contains_key(&create.key);
        if waits || self.unplaced.len() < UNPLACED_MAX {
            self.unplaced.insert(create.key, create.clone());
        }
        waits
    }

    /// Places what waits for room, once there is some. Until then its partitions answer NOT_LEADER_OR_FOLLOWER, and clients ask again.
    pub(crate) fn place_waiting(&mut self) {
        for _ in 0..PLACED_PER_TICK_MAX {
            let Some(create) = self.unplaced.values().next().cloned() else {
                return;
            };
            let key = create.key;
            self.create_partition(create);
            if self.unplaced.contains_key(&key) {
                return; // Still no room: the others would fare no better.
            }
        }
    }

    fn directory_position(&self, id: DirectoryId) -> Option<usize> {
        self.directories
            .iter()
            .position(|directory| directory.id == id)
    }

    fn topic_for(&mut self, create: &CreatePartition) -> u32 {
        let id = create.key.topic_id;
        if let Some(topic) = self.topic_index.get(&self.topics, &id) {
            return topic;
        }
        let topic = Topic {
            id,
            name: create.topic_name.clone(),
            config: create.config.clone(),
            partitions: SmallVec::new(),
        };
        let topic = self.topics.insert(topic) as u32;
        self.topic_index.insert(&self.topics, topic);
        topic
    }

    fn configure_topic(&mut self, topic_id: TopicId, config: Arc<TopicConfig>) {
        let Some(topic) = self.topic_index.get(&self.topics, &topic_id) else {
            return;
        };
        let topic = &mut self.topics[topic as usize];
        if *topic.config == *config {
            return;
        }
        let (is_compacted, was_compacted) = (config.cleanup.compact, topic.config.cleanup.compact);
        topic.config = config;
        let (name, slots) = (topic.name.clone(), topic.partitions.clone());
        let first = PartitionKey {
            topic_id,
            partition: 0,
        };
        if is_compacted != was_compacted && self.slot_of(&first).is_some() {
            if is_compacted {
                self.statistics.topics_not_compacted += 1;
                let topic = name.as_ref().into();
                self.message(Message::CompactionNotDone { topic });
            } else {
                self.statistics.topics_not_compacted -= 1;
            }
        }
        for slot in slots {
            self.set_retention(slot);
        }
    }

    /// Retention by time and size is the log's work; a topic that is only compacted keeps all.
    fn set_retention(&mut self, slot: u32) {
        let config = &self.topic_of(slot).config;
        let policy = if config.cleanup.delete {
            RetentionPolicy {
                ms: config.retention_ms,
                bytes: config.retention_bytes,
                segment_ms: config.segment_ms,
                segment_bytes: config.segment_bytes,
            }
        } else {
            RetentionPolicy::KEEP
        };
        let replica = self.partition(slot).replica;
        self.directory_mut(slot).log.set_retention(replica, policy);
    }

    fn delete_partition(&mut self, key: &PartitionKey) {
        let Some(slot) = self.slot_of(key) else {
            return;
        };
        self.stop_coordinator_of(key);
        self.tell_watchers(slot, usize::MAX >> 1); // They learn that it is gone.
        let directory = usize::from(self.partition(slot).directory);
        self.index.remove(&self.partitions, slot);
        self.directories[directory].partitions -= 1;
        let partition = self.partitions.remove(slot as usize);
        let topic = &mut self.topics[partition.topic as usize];
        if key.partition == 0 && topic.config.cleanup.compact {
            self.statistics.topics_not_compacted -= 1;
        }
        topic.partitions.retain(|other| *other != slot);
        if topic.partitions.is_empty() {
            self.topic_index.remove(&self.topics, partition.topic);
            self.topics.remove(partition.topic as usize);
        }
        self.delete_replica(directory, partition.replica, *key);
    }

    /// Gives a replica's space back. A log that refuses keeps it: it is a stray at the next start.
    pub(crate) fn delete_replica(
        &mut self,
        directory: usize,
        replica: ReplicaId,
        key: PartitionKey,
    ) {
        let now = self.now;
        let deleted =
            self.directories[directory].call(|log, out| log.delete_replica(now, replica, out));
        match deleted {
            Ok(lsn) => {
                let last = &mut self.directories[directory].last_lsn;
                *last = (*last).max(lsn);
            }
            Err(refusal) => self.message(Message::AppendRefused {
                key,
                reason: refusal.to_string(),
            }),
        }
    }
}

/// A replica's first offset and end, as tests and metrics ask for them.
impl Shard {
    /// Size and ends of the replica of a partition led here: bytes, log start, log end.
    pub fn replica_size(&self, key: &PartitionKey) -> Option<(u64, Offset, Offset)> {
        let slot = self.slot_of(key)?;
        let partition = self.partition(slot);
        let state = self.directories[usize::from(partition.directory)]
            .log
            .replica(partition.replica)?;
        Some((state.bytes, state.log_start, state.log_end))
    }
}
