//! What clients were promised, and whether what they see keeps to it. Every answer of the node goes through here; the first
//! broken promise is kept as a sentence.

use odradek_protocol::Uuid;
use std::collections::{BTreeMap, BTreeSet};

/// A partition of one life of a topic.
pub type Place = (Uuid, i32);

/// How far a topic's life has come, as far as a client can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Asked for; nobody knows whether it is there.
    Creating,
    /// Its creation was acknowledged, or seen.
    Live,
    /// Asked to go; nobody knows whether it did.
    Deleting,
    /// Its deletion was acknowledged, or seen: it never comes back.
    Gone,
}

#[derive(Clone, Debug)]
pub struct Topic {
    pub id: Option<Uuid>,
    pub partitions: i32,
    pub phase: Phase,
}

/// One partition.
#[derive(Debug, Default)]
pub struct Partition {
    /// What was acknowledged or read, by offset: it never changes.
    known: BTreeMap<i64, String>,
    /// Where each value stands.
    stands: BTreeMap<String, i64>,
    /// What producers sent, acknowledged or not.
    sent: BTreeSet<String>,
    /// Where the log was seen to start: it never goes back.
    log_start: i64,
    /// The furthest that anybody asked to delete.
    delete_asked: i64,
    /// The furthest that was readable: it never goes back.
    pub high_watermark: i64,
}

/// See [`Model::bounds`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    pub log_start: i64,
    pub high_watermark: i64,
}

/// Commits of one group for one partition: ever larger numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Commits {
    issued: i64,
    acknowledged: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Model {
    pub topics: BTreeMap<String, Topic>,
    partitions: BTreeMap<Place, Partition>,
    commits: BTreeMap<(String, i32), Commits>,
    /// The first broken promise.
    pub broken: Option<String>,
    /// How much was seen, so that a run that does nothing is noticed.
    pub counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub acknowledged: u64,
    pub read: u64,
    pub commits: u64,
    pub topics: u64,
    pub deletes: u64,
    pub sessions: u64,
}

impl Model {
    pub fn broken(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// A topic whose creation is asked for.
    pub fn creating(&mut self, name: &str, partitions: i32) {
        let topic = Topic {
            id: None,
            partitions,
            phase: Phase::Creating,
        };
        self.topics.insert(name.to_string(), topic);
    }

    pub fn created(&mut self, name: &str, id: Uuid) {
        self.counts.topics += 1;
        if let Some(topic) = self.topics.get_mut(name) {
            topic.id = Some(id);
            topic.phase = Phase::Live;
        }
    }

    pub fn phase(&self, id: Uuid) -> Option<Phase> {
        let mut topics = self.topics.values();
        topics
            .find(|topic| topic.id == Some(id))
            .map(|topic| topic.phase)
    }

    pub fn set_phase(&mut self, name: &str, phase: Phase) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.phase = phase;
        }
    }

    /// Live topics: name, id, partitions.
    pub fn live(&self) -> Vec<(String, Uuid, i32)> {
        let live = self
            .topics
            .iter()
            .filter(|(_, topic)| topic.phase == Phase::Live);
        live.filter_map(|(name, topic)| Some((name.clone(), topic.id?, topic.partitions)))
            .collect()
    }

    /// A client was told that the topic is not there. Whether that may be; if so, it is gone for good.
    pub fn said_unknown(&mut self, (id, partition): Place) {
        let topic = self
            .topics
            .iter_mut()
            .find(|(_, topic)| topic.id == Some(id));
        match topic {
            Some((_, topic)) if topic.phase == Phase::Deleting => topic.phase = Phase::Gone,
            Some((_, topic)) if topic.phase == Phase::Gone => {}
            other => {
                let phase = other.map(|(name, topic)| (name.clone(), topic.phase));
                self.broken(format!(
                    "partition {partition} of topic {id} is said to be unknown, but it is {phase:?}"
                ));
            }
        }
    }

    /// Every topic that the node shows: name, id, partitions.
    pub fn shown(&mut self, shown: &[(String, Uuid, i32)]) {
        for (name, id, partitions) in shown.iter().filter(|(name, ..)| !name.starts_with("__")) {
            let Some(topic) = self.topics.get(name) else {
                self.broken(format!("topic {name} was never asked for"));
                continue;
            };
            if topic.phase == Phase::Gone
                || topic.id.is_some_and(|known| known != *id)
                || topic.partitions != *partitions
            {
                let known = topic.clone();
                self.broken(format!(
                    "topic {name} is shown as {id} with {partitions} partitions, but is {known:?}"
                ));
                continue;
            }
            // A deletion whose answer was lost may come through later still.
            if topic.phase != Phase::Deleting {
                self.created(name, *id);
            }
        }
        let names: BTreeSet<&String> = shown.iter().map(|(name, ..)| name).collect();
        let mut lost = Vec::new();
        for (name, topic) in &mut self.topics {
            if names.contains(name) {
                continue;
            }
            match topic.phase {
                Phase::Creating | Phase::Deleting | Phase::Gone => topic.phase = Phase::Gone,
                Phase::Live => lost.push(name.clone()),
            }
        }
        for name in lost {
            self.broken(format!(
                "topic {name}, whose creation was acknowledged, is lost"
            ));
        }
    }

    pub fn partition(&mut self, place: Place) -> &mut Partition {
        self.partitions.entry(place).or_default()
    }

    pub fn sent(&mut self, place: Place, values: &[String]) {
        self.partition(place).sent.extend(values.iter().cloned());
    }

    pub fn acknowledged(&mut self, place: Place, base_offset: i64, values: &[String]) {
        self.counts.acknowledged += values.len() as u64;
        for (offset, value) in (base_offset..).zip(values) {
            self.stands(place, offset, value, "acknowledged");
        }
    }

    /// What a partition's answers must show at least, if it is asked now. Answers of two connections may cross, so that
    /// those asked for earlier may show less.
    pub fn bounds(&mut self, place: Place) -> Bounds {
        let partition = self.partition(place);
        Bounds {
            log_start: partition.log_start,
            high_watermark: partition.high_watermark,
        }
    }

    /// A record was read.
    pub fn read(&mut self, place: Place, at_least: Bounds, offset: i64, value: &str) {
        self.counts.read += 1;
        let partition = self.partition(place);
        let (sent, log_start) = (partition.sent.contains(value), at_least.log_start);
        if !sent {
            self.broken(format!(
                "{place:?} offset {offset}: {value:?} was never sent there"
            ));
        }
        if offset < log_start {
            self.broken(format!(
                "{place:?} offset {offset} was read, though the log starts at {log_start}"
            ));
        }
        self.stands(place, offset, value, "read");
    }

    fn stands(&mut self, place: Place, offset: i64, value: &str, how: &str) {
        let partition = self.partition(place);
        let other = partition
            .known
            .get(&offset)
            .filter(|known| *known != value)
            .cloned();
        let elsewhere = partition
            .stands
            .get(value)
            .filter(|at| **at != offset)
            .copied();
        partition.known.insert(offset, value.to_string());
        partition.stands.insert(value.to_string(), offset);
        if let Some(other) = other {
            self.broken(format!(
                "{place:?} offset {offset} is {how} as {value:?}, but was {other:?}"
            ));
        }
        if let Some(elsewhere) = elsewhere {
            self.broken(format!(
                "{place:?}: {value:?} is {how} at {offset}, but stands at {elsewhere} already"
            ));
        }
    }

    /// A fetch or ListOffsets told how far the log is readable.
    pub fn watermark_told(&mut self, place: Place, at_least: Bounds, high_watermark: i64) {
        let partition = self.partition(place);
        let before = at_least.high_watermark;
        partition.high_watermark = partition.high_watermark.max(high_watermark);
        if high_watermark < before {
            self.broken(format!(
                "{place:?}: the high watermark went from {before} back to {high_watermark}"
            ));
        }
    }

    /// A deletion of records was acknowledged: the log start never goes back behind it.
    pub fn start_promised(&mut self, place: Place, at_least: Bounds, log_start: i64) {
        self.start_told(place, at_least, log_start);
        let partition = self.partition(place);
        partition.log_start = partition.log_start.max(log_start);
    }

    /// Somebody was told where the log starts. A deletion that is on its way to the disk shows already, and is lost with a
    /// crash before its acknowledgement.
    pub fn start_told(&mut self, place: Place, at_least: Bounds, log_start: i64) {
        let partition = self.partition(place);
        let (before, asked) = (at_least.log_start, partition.delete_asked);
        if log_start < before {
            self.broken(format!(
                "{place:?}: the log start went from {before} back to {log_start}"
            ));
        }
        if log_start > asked {
            self.broken(format!("{place:?}: the log starts at {log_start}, but deletion was asked up to {asked} only"));
        }
    }

    pub fn delete_asked(&mut self, place: Place, offset: i64) {
        let partition = self.partition(place);
        partition.delete_asked = partition.delete_asked.max(offset);
    }

    /// The whole log was read from `log_start` to `end`.
    pub fn audited(
        &mut self,
        place: Place,
        (log_start, end): (i64, i64),
        read: &BTreeMap<i64, String>,
    ) {
        let partition = self.partition(place);
        let lost = partition
            .known
            .range(log_start..)
            .find(|(offset, value)| read.get(offset) != Some(value));
        let lost = lost.map(|(offset, value)| format!("{value:?} at offset {offset}"));
        if let Some(lost) = lost {
            self.broken(format!("{place:?}: {lost} was acknowledged or read, and is lost (the log is {log_start} to {end})"));
        }
        let gap = (log_start..end).find(|offset| !read.contains_key(offset));
        if let Some(gap) = gap {
            self.broken(format!(
                "{place:?}: nothing stands at offset {gap} of {log_start} to {end}"
            ));
        }
        // Each producer numbers its values, so that their order is seen.
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for (offset, value) in read {
            let mut parts = value.split('-');
            let (Some(producer), Some(number)) = (parts.next(), parts.next()) else {
                continue;
            };
            let number: u64 = number.parse().unwrap_or(0);
            if last
                .insert(producer, number)
                .is_some_and(|before| before >= number)
            {
                self.broken.get_or_insert(format!(
                    "{place:?} offset {offset}: {value:?} is out of order"
                ));
            }
        }
    }

    /// The next offset to commit.
    pub fn next_commit(&mut self, group: &str, partition: i32) -> i64 {
        let commits = self
            .commits
            .entry((group.to_string(), partition))
            .or_default();
        commits.issued += 1;
        commits.issued
    }

    pub fn committed(&mut self, group: &str, partition: i32, offset: i64) {
        self.counts.commits += 1;
        let commits = self
            .commits
            .entry((group.to_string(), partition))
            .or_default();
        commits.acknowledged = commits.acknowledged.max(offset);
    }

    /// What a fetch of the committed offset must give at least, if asked now.
    pub fn committed_at_least(&self, group: &str, partition: i32) -> i64 {
        let commits = self.commits.get(&(group.to_string(), partition));
        commits.map_or(0, |commits| commits.acknowledged)
    }

    /// The committed offset was fetched; `at_least` is what had been acknowledged when it was asked for.
    pub fn commit_told(&mut self, group: &str, partition: i32, at_least: i64, offset: i64) {
        let issued = self
            .commits
            .get(&(group.to_string(), partition))
            .map_or(0, |commits| commits.issued);
        let told = if offset == -1 { 0 } else { offset };
        if told < at_least || told > issued {
            self.broken(format!(
                "group {group}, partition {partition}: {offset} is committed, but {at_least} was acknowledged and {issued} is the last that was sent"
            ));
        }
        // What was told once is a promise too.
        let commits = self
            .commits
            .entry((group.to_string(), partition))
            .or_default();
        commits.acknowledged = commits.acknowledged.max(told);
    }
}
