//! Replicas that a log holds and the metadata does not name (case 17).
//!
//! An image behind the log would make every new partition look stray, so that they are judged only when the
//! broker is unfenced and the image is at or past every Create of the logs. More than a tenth of all
//! replicas stray looks like a foreign metadata log: then nothing is deleted until an operator says so. And
//! stray bytes rest before they go.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use odradek_wal::{Log, ReplicaId, TopicId};
use smallvec::SmallVec;

use crate::command::PartitionKey;
use crate::message::Message;
use crate::shard::{Deadline, Shard};

/// One in so many replicas may be stray before an operator is asked.
const STRAY_SHARE: usize = 10;

/// Recovered replicas that no partition has claimed.
#[derive(Debug)]
pub(crate) struct Strays {
    /// By topic; a topic's partitions are claimed together.
    unclaimed: HashMap<TopicId, Unclaimed, FixedState>,
    recovered: usize,
    metadata_offset_max: i64,
    judged: bool,
    held: bool,
    allowed: bool,
}

/// A replica that waits to be claimed, 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Copied {
    partition: i32,
    directory: u16,
    claimed: bool,
    replica: ReplicaId,
}

/// The replicas of one topic.
#[derive(Debug, Default)]
struct Unclaimed {
    /// By partition, those of one partition in the order found.
    copies: SmallVec<[Copied; 1]>,
    left: usize,
}

impl Unclaimed {
    fn push(&mut self, copy: Copied) {
        // Replicas are mostly made in the order of their partitions.
        let sorted = self
            .copies
            .last()
            .is_none_or(|last| last.partition <= copy.partition);
        let at = match sorted {
            true => self.copies.len(),
            false => self
                .copies
                .partition_point(|other| other.partition <= copy.partition),
        };
        self.copies.insert(at, copy);
        self.left += 1;
    }

    /// Those of one partition that nobody has claimed, with their places.
    fn of(&self, partition: i32) -> impl DoubleEndedIterator<Item = (usize, &Copied)> {
        let first = self
            .copies
            .partition_point(|copy| copy.partition < partition);
        let count = self.copies[first..].partition_point(|copy| copy.partition == partition);
        let places = first..first + count;
        places
            .map(|place| (place, &self.copies[place]))
            .filter(|(_, copy)| !copy.claimed)
    }
}

impl Strays {
    /// None yet.
    pub(crate) fn new(hasher: FixedState) -> Self {
        Strays {
            unclaimed: HashMap::with_hasher(hasher),
            recovered: 0,
            metadata_offset_max: 0,
            judged: false,
            held: false,
            allowed: false,
        }
    }

    /// Takes in all replicas of a recovered log.
    pub(crate) fn note_log(&mut self, directory: usize, log: &Log) {
        for (replica, state) in log.replicas() {
            let copy = Copied {
                partition: state.partition,
                directory: directory as u16,
                claimed: false,
                replica,
            };
            self.unclaimed.entry(state.topic_id).or_default().push(copy);
            self.recovered += 1;
            self.metadata_offset_max = self.metadata_offset_max.max(state.metadata_offset);
        }
    }

    /// The replica that a partition adopts: the one in the directory assigned, else the only or newest one.
    pub(crate) fn claim(
        &mut self,
        key: &PartitionKey,
        assigned: Option<usize>,
    ) -> Option<(usize, ReplicaId)> {
        let topic = self.unclaimed.get(&key.topic_id)?;
        let in_assigned =
            |(_, copy): &(usize, &Copied)| Some(usize::from(copy.directory)) == assigned;
        let (place, _) = topic
            .of(key.partition)
            .rev()
            .find(in_assigned)
            .or_else(|| topic.of(key.partition).next_back())?;
        Some(self.take_at(key.topic_id, place))
    }

    fn take_at(&mut self, topic_id: TopicId, place: usize) -> (usize, ReplicaId) {
        let topic = self
            .unclaimed
            .get_mut(&topic_id)
            .expect("the place was found in it");
        let copy = &mut topic.copies[place];
        copy.claimed = true;
        let found = (usize::from(copy.directory), copy.replica);
        topic.left -= 1;
        if topic.left == 0 {
            self.unclaimed.remove(&topic_id);
        }
        if self.unclaimed.is_empty() {
            self.unclaimed.shrink_to_fit();
        }
        found
    }

    /// Topics that have any.
    pub(crate) fn topics(&self) -> usize {
        self.unclaimed.len()
    }

    /// How many wait for an operator's word.
    pub(crate) fn held(&self) -> usize {
        if self.held { self.count() } else { 0 }
    }

    fn count(&self) -> usize {
        self.unclaimed.values().map(|topic| topic.left).sum()
    }

    /// All that are left, by key.
    fn sorted(&self) -> Vec<(PartitionKey, usize, ReplicaId)> {
        let mut left = Vec::new();
        for (topic_id, topic) in &self.unclaimed {
            let copies = topic.copies.iter().filter(|copy| !copy.claimed);
            left.extend(copies.map(|copy| {
                let key = PartitionKey {
                    topic_id: *topic_id,
                    partition: copy.partition,
                };
                (key, usize::from(copy.directory), copy.replica)
            }));
        }
        left.sort_by_key(|(key, ..)| *key);
        left
    }

    fn take(&mut self, directory: usize, replica: ReplicaId) -> Option<PartitionKey> {
        let found = |copy: &Copied| {
            !copy.claimed && usize::from(copy.directory) == directory && copy.replica == replica
        };
        let (topic_id, place) = self.unclaimed.iter().find_map(|(topic_id, topic)| {
            let place = topic.copies.iter().position(found)?;
            Some((*topic_id, place))
        })?;
        let partition = self.unclaimed[&topic_id].copies[place].partition;
        self.take_at(topic_id, place);
        Some(PartitionKey {
            topic_id,
            partition,
        })
    }
}

impl Shard {
    pub(crate) fn judge_strays(&mut self, metadata_offset: i64, unfenced: bool) {
        if self.strays.judged || !unfenced || metadata_offset < self.strays.metadata_offset_max {
            return;
        }
        self.strays.judged = true;
        let strays = self.strays.count();
        let replicas = self.strays.recovered;
        if strays * STRAY_SHARE > replicas && !self.strays.allowed {
            self.strays.held = true;
            return self.message(Message::StraysHeld { strays, replicas });
        }
        self.rest_strays();
    }

    pub(crate) fn allow_strays(&mut self) {
        self.strays.allowed = true;
        if std::mem::take(&mut self.strays.held) {
            self.rest_strays();
        }
    }

    fn rest_strays(&mut self) {
        let rest_ms = self.options.stray_rest_ms;
        let at_us = self.after_ms(rest_ms);
        for (key, directory, replica) in self.strays.sorted() {
            self.message(Message::StrayFound { key, rest_ms });
            self.deadlines
                .insert(at_us, Deadline::Stray(directory as u32, replica));
        }
    }

    /// The rest is over. One that a partition has claimed meanwhile is no stray any more.
    pub(crate) fn delete_stray(&mut self, directory: usize, replica: ReplicaId) {
        if let Some(key) = self.strays.take(directory, replica) {
            self.delete_replica(directory, replica, key);
            self.message(Message::StrayDeleted { key });
        }
    }
}
