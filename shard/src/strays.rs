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
    /// By directory and id; those that were claimed stay until strays are judged.
    copies: Vec<Recovered>,
    /// Of each directory, the place after the last that was claimed. Replicas are made in the order in which the metadata names partitions, so that
    /// it mostly is the next to be claimed, and nothing has to be looked up.
    next: Vec<usize>,
    /// Places by topic, those of one topic by partition; made when partitions first come in another order than their replicas.
    by_topic: Option<HashMap<TopicId, SmallVec<[u32; 2]>, FixedState>>,
    hasher: FixedState,
    left: usize,
    recovered: usize,
    metadata_offset_max: i64,
    judged: bool,
    held: bool,
    allowed: bool,
}

/// A replica, 32 bytes.
#[derive(Clone, Debug)]
struct Recovered {
    key: PartitionKey,
    directory: u16,
    claimed: bool,
    replica: ReplicaId,
}

const _: () = assert!(size_of::<Recovered>() == 32);

impl Strays {
    /// None yet.
    pub(crate) fn new(hasher: FixedState) -> Self {
        Strays {
            copies: Vec::new(),
            next: Vec::new(),
            by_topic: None,
            hasher,
            left: 0,
            recovered: 0,
            metadata_offset_max: 0,
            judged: false,
            held: false,
            allowed: false,
        }
    }

    /// Takes in all replicas of a recovered log; logs come in the order of their directories.
    pub(crate) fn note_log(&mut self, log: &Log) {
        let first = self.copies.len();
        let directory = self.next.len() as u16;
        self.copies
            .reserve_exact(log.statistics().replicas as usize);
        for (replica, state) in log.replicas() {
            self.copies.push(Recovered {
                key: PartitionKey {
                    topic_id: state.topic_id,
                    partition: state.partition,
                },
                directory,
                claimed: false,
                replica,
            });
            self.metadata_offset_max = self.metadata_offset_max.max(state.metadata_offset);
        }
        self.left = self.copies.len();
        self.recovered = self.copies.len();
        self.next.push(first);
    }

    /// The replica that a partition adopts: the one in the directory assigned, else the only or newest one. A log holds one of a partition at
    /// most, since a second is made only where none waits to be claimed.
    pub(crate) fn claim(
        &mut self,
        key: &PartitionKey,
        assigned: Option<usize>,
    ) -> Option<(usize, ReplicaId)> {
        if self.left == 0 {
            return None;
        }
        let place = match self.next_in_order(key, assigned) {
            Some(place) => place,
            None => self.look_up(key, assigned)?,
        };
        Some(self.take_at(place))
    }

    fn next_in_order(&self, key: &PartitionKey, assigned: Option<usize>) -> Option<usize> {
        let directory = match self.next.len() {
            1 => 0,
            _ => assigned?,
        };
        let next = *self.next.get(directory)?;
        let copy = self.copies.get(next)?;
        let lies_there = usize::from(copy.directory) == directory;
        (lies_there && !copy.claimed && copy.key == *key).then_some(next)
    }

    fn look_up(&mut self, key: &PartitionKey, assigned: Option<usize>) -> Option<usize> {
        let copies = &self.copies;
        let hasher = &self.hasher;
        let by_topic = self
            .by_topic
            .get_or_insert_with(|| places_by_topic(copies, hasher));
        let places = by_topic.get(&key.topic_id)?;
        let partition_of = |place: &u32| copies[*place as usize].key.partition;
        let first = places.partition_point(|place| partition_of(place) < key.partition);
        let found = places[first..]
            .iter()
            .take_while(|place| partition_of(place) == key.partition)
            .map(|place| *place as usize)
            .filter(|place| !copies[*place].claimed);
        let in_assigned = |place: &usize| Some(usize::from(copies[*place].directory)) == assigned;
        found
            .clone()
            .filter(in_assigned)
            .last()
            .or_else(|| found.last())
    }

    fn take_at(&mut self, place: usize) -> (usize, ReplicaId) {
        let copy = &mut self.copies[place];
        copy.claimed = true;
        let found = (usize::from(copy.directory), copy.replica);
        self.next[found.0] = place + 1;
        self.left -= 1;
        if self.left == 0 {
            self.keep_unclaimed();
        }
        found
    }

    /// Forgets those that were claimed.
    fn keep_unclaimed(&mut self) {
        self.by_topic = None;
        self.copies.retain(|copy| !copy.claimed);
        self.copies.shrink_to_fit();
        for (directory, next) in self.next.iter_mut().enumerate() {
            let before = |copy: &Recovered| usize::from(copy.directory) < directory;
            *next = self.copies.partition_point(before);
        }
    }

    /// Topics that have any, about: each as often as others come between its replicas.
    pub(crate) fn topics(&self) -> usize {
        let topics = self
            .copies
            .chunk_by(|one, other| one.key.topic_id == other.key.topic_id);
        topics.count()
    }

    /// How many wait for an operator's word.
    pub(crate) fn held(&self) -> usize {
        if self.held { self.left } else { 0 }
    }

    /// All that are left, by key.
    fn sorted(&self) -> Vec<(PartitionKey, usize, ReplicaId)> {
        let copies = self.copies.iter().filter(|copy| !copy.claimed);
        let mut left: Vec<_> = copies
            .map(|copy| (copy.key, usize::from(copy.directory), copy.replica))
            .collect();
        left.sort_by_key(|(key, ..)| *key);
        left
    }

    fn take(&mut self, directory: usize, replica: ReplicaId) -> Option<PartitionKey> {
        let wanted = (directory, replica);
        let place_of = |copy: &Recovered| (usize::from(copy.directory), copy.replica);
        let place = self.copies.binary_search_by_key(&wanted, place_of).ok()?;
        let copy = &self.copies[place];
        let key = copy.key;
        if copy.claimed {
            return None;
        }
        self.take_at(place);
        Some(key)
    }
}

/// The places of each topic's unclaimed copies by partition, those of one partition in the order found.
fn places_by_topic(
    copies: &[Recovered],
    hasher: &FixedState,
) -> HashMap<TopicId, SmallVec<[u32; 2]>, FixedState> {
    let mut by_topic: HashMap<TopicId, SmallVec<[u32; 2]>, FixedState> =
        HashMap::with_hasher(hasher.clone());
    for (place, copy) in copies.iter().enumerate().filter(|(_, copy)| !copy.claimed) {
        by_topic
            .entry(copy.key.topic_id)
            .or_default()
            .push(place as u32);
    }
    for places in by_topic.values_mut() {
        places.sort_by_key(|place| copies[*place as usize].key.partition);
    }
    by_topic
}

impl Shard {
    pub(crate) fn judge_strays(&mut self, metadata_offset: i64, unfenced: bool) {
        if self.strays.judged || !unfenced || metadata_offset < self.strays.metadata_offset_max {
            return;
        }
        self.strays.judged = true;
        self.strays.keep_unclaimed();
        let strays = self.strays.left;
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
