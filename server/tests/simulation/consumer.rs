//! A consumer that reads every partition by incremental fetch sessions (KIP-227), from the start of each log onwards, and
//! holds each answer against what it had seen.

use super::client::{Answer, Client, Hands, name};
use super::model::{Bounds, Phase, Place};
use bytes::Bytes;
use odradek_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use odradek_protocol::messages::fetch_response::PartitionData;
use odradek_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use odradek_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
};
use odradek_protocol::records::{Batches, records, verify_crc};
use odradek_protocol::{ApiKey, ErrorCode, Uuid};
use std::collections::{BTreeMap, BTreeSet};

pub const EARLIEST: i64 = -2;
pub const LATEST: i64 = -1;
pub const LIST_OFFSETS_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 17;

/// What a session of the server's was told of a partition.
#[derive(Default)]
pub struct Consumer {
    positions: BTreeMap<Place, i64>,
    names: BTreeMap<Uuid, String>,
    session: (i32, i32),
    told: BTreeMap<Place, i64>,
    forgotten: BTreeSet<Place>,
    /// Partitions whose position lies before the log's start.
    behind: BTreeSet<Place>,
    /// What the answer under way must show at least.
    at_least: BTreeMap<Place, Bounds>,
    out: bool,
}

/// Reads the records of a fetched partition from `position` on, into the model; the position behind them.
pub fn take_records(
    hands: &mut Hands<'_>,
    (place, at_least): (Place, Bounds),
    position: i64,
    data: Option<&Bytes>,
    mut each: impl FnMut(i64, &str),
) -> i64 {
    let mut next = position;
    for batch in Batches::new(data.cloned().unwrap_or_default()) {
        // A fetch may end in the middle of a batch.
        let Ok((header, bytes)) = batch else { break };
        if header.last_offset() < next && header.base_offset > position || header.base_offset > next
        {
            hands.broken(format!(
                "{place:?}: asked from {position}, a batch of {} to {} comes where {next} is next",
                header.base_offset,
                header.last_offset()
            ));
            return next;
        }
        if let Err(error) = verify_crc(&bytes) {
            hands.broken(format!("{place:?} offset {}: {error}", header.base_offset));
            return next;
        }
        for record in records(&bytes, 1 << 20).expect("a batch with a good checksum is whole") {
            let record = record.expect("a batch with a good checksum is whole");
            if record.offset < next {
                continue;
            }
            let value = record
                .value
                .as_deref()
                .map(String::from_utf8_lossy)
                .unwrap_or_default();
            hands.model.read(place, at_least, record.offset, &value);
            each(record.offset, &value);
        }
        next = header.next_offset();
    }
    next
}

impl Consumer {
    /// Takes up new topics and lets go of deleted ones.
    fn follow_topics(&mut self, hands: &mut Hands<'_>) {
        let live = hands.model.live();
        for (topic, id, partitions) in live {
            self.names.insert(id, topic);
            for index in 0..partitions {
                self.positions.entry((id, index)).or_insert(0);
            }
        }
        let gone: Vec<Place> = self
            .positions
            .keys()
            .filter(|(id, _)| hands.model.phase(*id) == Some(Phase::Gone))
            .copied()
            .collect();
        for place in gone {
            self.forget(place);
        }
    }

    fn forget(&mut self, place: Place) {
        self.positions.remove(&place);
        self.behind.remove(&place);
        if self.told.remove(&place).is_some() {
            self.forgotten.insert(place);
        }
    }

    fn note_bounds(&mut self, hands: &mut Hands<'_>) {
        let places = self.positions.keys();
        self.at_least = places
            .map(|place| (*place, hands.model.bounds(*place)))
            .collect();
    }

    fn bounds(&self, place: Place) -> Bounds {
        self.at_least.get(&place).copied().unwrap_or_default()
    }

    fn fetch(&mut self, hands: &mut Hands<'_>) {
        self.note_bounds(hands);
        let (session_id, session_epoch) = self.session;
        if session_epoch == 0 {
            self.told.clear();
            self.forgotten.clear();
            hands.model.counts.sessions += 1;
        }
        let mut topics: BTreeMap<Uuid, FetchTopic> = BTreeMap::new();
        for ((id, index), position) in &self.positions {
            if self.told.get(&(*id, *index)) == Some(position) {
                continue;
            }
            self.told.insert((*id, *index), *position);
            let topic = topics.entry(*id).or_default();
            topic.topic_id = *id;
            topic.partitions.push(FetchPartition {
                partition: *index,
                fetch_offset: *position,
                partition_max_bytes: 4 << 10 << hands.random.below(6),
                ..FetchPartition::default()
            });
        }
        let mut forgotten: BTreeMap<Uuid, ForgottenTopic> = BTreeMap::new();
        for (id, index) in std::mem::take(&mut self.forgotten) {
            let topic = forgotten.entry(id).or_default();
            topic.topic_id = id;
            topic.partitions.push(index);
        }
        let request = FetchRequest {
            max_wait_ms: hands.random.below(500) as i32,
            min_bytes: 1,
            max_bytes: 256 << 10,
            session_id,
            session_epoch,
            topics: topics.into_values().collect(),
            forgotten_topics_data: forgotten.into_values().collect(),
            ..FetchRequest::default()
        };
        hands.ask(ApiKey::Fetch, FETCH_VERSION, &request);
        self.out = true;
    }

    fn ask_starts(&mut self, hands: &mut Hands<'_>) {
        self.note_bounds(hands);
        let topics = self.behind.iter().map(|(id, index)| ListOffsetsTopic {
            name: name(self.names.get(id).map_or("", String::as_str)),
            partitions: vec![ListOffsetsPartition {
                partition_index: *index,
                timestamp: EARLIEST,
                ..ListOffsetsPartition::default()
            }],
            ..ListOffsetsTopic::default()
        });
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: topics.collect(),
            ..ListOffsetsRequest::default()
        };
        hands.ask(ApiKey::ListOffsets, LIST_OFFSETS_VERSION, &request);
        self.out = true;
    }

    fn take_starts(&mut self, hands: &mut Hands<'_>, response: &ListOffsetsResponse) {
        for topic in &response.topics {
            let id = self
                .names
                .iter()
                .find(|(_, known)| name(known) == topic.name);
            let Some(id) = id.map(|(id, _)| *id) else {
                continue;
            };
            for partition in &topic.partitions {
                let place = (id, partition.partition_index);
                self.behind.remove(&place);
                match ErrorCode::from_code(partition.error_code) {
                    Some(ErrorCode::None) => {
                        hands
                            .model
                            .start_told(place, self.bounds(place), partition.offset);
                        self.positions.insert(place, partition.offset);
                    }
                    Some(ErrorCode::UnknownTopicOrPartition) => {
                        hands.model.said_unknown(place);
                        self.forget(place);
                    }
                    error if hands.excuses(place.0, error) => {}
                    other => hands.broken(format!(
                        "ListOffsets of {place:?} is answered with {other:?}"
                    )),
                }
            }
        }
    }

    fn take_partition(&mut self, hands: &mut Hands<'_>, place: Place, data: &PartitionData) {
        let Some(position) = self.positions.get(&place).copied() else {
            return;
        };
        let at_least = self.bounds(place);
        match ErrorCode::from_code(data.error_code) {
            Some(ErrorCode::None) => {
                hands
                    .model
                    .watermark_told(place, at_least, data.high_watermark);
                hands
                    .model
                    .start_told(place, at_least, data.log_start_offset);
                let next = take_records(
                    hands,
                    (place, at_least),
                    position,
                    data.records.as_ref(),
                    |_, _| {},
                );
                if next > data.high_watermark.max(position) {
                    hands.broken(format!(
                        "{place:?}: records up to {next} came, though only {} are readable",
                        data.high_watermark
                    ));
                }
                self.positions.insert(place, next);
            }
            Some(ErrorCode::OffsetOutOfRange) => {
                self.behind.insert(place);
            }
            Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId) => {
                hands.model.said_unknown(place);
                self.forget(place);
            }
            error if hands.excuses(place.0, error) => {}
            other => hands.broken(format!(
                "a fetch of {place:?} from {position} is answered with {other:?}"
            )),
        }
    }
}

impl Client for Consumer {
    fn wake(&mut self, hands: &mut Hands<'_>) {
        hands.wake(500, 30_000);
        if self.out || hands.ending {
            return;
        }
        self.follow_topics(hands);
        if !self.behind.is_empty() {
            self.ask_starts(hands);
        } else if !self.positions.is_empty() || self.session.1 > 0 {
            self.fetch(hands);
        }
    }

    fn answer(&mut self, hands: &mut Hands<'_>, answer: Answer) {
        self.out = false;
        if answer.expected.api == ApiKey::ListOffsets {
            self.take_starts(hands, &answer.decode());
            return;
        }
        let response: FetchResponse = answer.decode();
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => {
                self.session = match (self.session, response.session_id) {
                    (_, 0) => (0, 0),
                    ((_, epoch), id) => (id, epoch % i32::MAX + 1),
                };
            }
            Some(
                ErrorCode::FetchSessionIdNotFound
                | ErrorCode::InvalidFetchSessionEpoch
                | ErrorCode::FetchSessionTopicIdError,
            ) => self.session = (0, 0),
            other => hands.broken(format!("a fetch is answered with {other:?}")),
        }
        for topic in &response.responses {
            for data in &topic.partitions {
                self.take_partition(hands, (topic.topic_id, data.partition_index), data);
            }
        }
    }

    fn lost(&mut self) {
        self.out = false;
        self.session = (0, 0);
    }

    fn waits_for(&self) -> String {
        format!("a consumer's answer, session {:?}", self.session)
    }

    fn idle(&self) -> bool {
        !self.out
    }
}
