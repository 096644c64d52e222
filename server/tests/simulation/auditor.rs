//! The last client: reads everything there is, once all others are still, and holds it against all that was promised.

use super::admin::{ask_metadata, shown};
use super::client::{Answer, Client, Hands, name};
use super::consumer::{EARLIEST, LATEST, LIST_OFFSETS_VERSION, take_records};
use super::member::{ask_offsets, take_offsets};
use super::model::Place;
use odradek_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use odradek_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use odradek_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
};
use odradek_protocol::{ApiKey, ErrorCode};
use std::collections::{BTreeMap, VecDeque};

/// What is still to be looked at.
enum Job {
    Metadata,
    Offsets,
    Bound(String, Place, i64),
    Read(Place),
}

pub struct Auditor {
    started: bool,
    jobs: VecDeque<Job>,
    out: bool,
    at_least: Vec<(i32, i64)>,
    /// What the last fetch of offsets was refused with.
    refusal: Option<ErrorCode>,
    bounds: (i64, i64),
    position: i64,
    read: BTreeMap<i64, String>,
}

impl Auditor {
    pub fn new() -> Self {
        Self {
            started: false,
            jobs: VecDeque::from([Job::Metadata]),
            out: false,
            at_least: Vec::new(),
            refusal: None,
            bounds: (0, 0),
            position: 0,
            read: BTreeMap::new(),
        }
    }

    fn ask_bound(hands: &mut Hands<'_>, topic: &str, place: Place, timestamp: i64) {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: name(topic),
                partitions: vec![ListOffsetsPartition {
                    partition_index: place.1,
                    timestamp,
                    ..ListOffsetsPartition::default()
                }],
                ..ListOffsetsTopic::default()
            }],
            ..ListOffsetsRequest::default()
        };
        hands.ask(ApiKey::ListOffsets, LIST_OFFSETS_VERSION, &request);
    }

    fn fetch(&self, hands: &mut Hands<'_>, place: Place) {
        let request = FetchRequest {
            max_wait_ms: 0,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic_id: place.0,
                partitions: vec![FetchPartition {
                    partition: place.1,
                    fetch_offset: self.position,
                    partition_max_bytes: 64 << 10,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        hands.ask(ApiKey::Fetch, 17, &request);
    }

    fn take_metadata(&mut self, hands: &mut Hands<'_>, answer: &Answer) {
        let topics = shown(&answer.decode());
        hands.model.shown(&topics);
        self.jobs.pop_front();
        if hands.model.topics.values().any(|topic| topic.id.is_some()) {
            self.jobs.push_back(Job::Offsets);
        }
        for (topic, id, partitions) in hands.model.live() {
            for place in (0..partitions).map(|index| (id, index)) {
                self.jobs
                    .push_back(Job::Bound(topic.clone(), place, EARLIEST));
                self.jobs
                    .push_back(Job::Bound(topic.clone(), place, LATEST));
                self.jobs.push_back(Job::Read(place));
            }
        }
    }

    fn take_bound(&mut self, hands: &mut Hands<'_>, place: Place, timestamp: i64, answer: &Answer) {
        let response: ListOffsetsResponse = answer.decode();
        let found = &response.topics[0].partitions[0];
        if found.error_code != 0 {
            let error = ErrorCode::from_code(found.error_code);
            hands.broken(format!(
                "the bounds of {place:?} are answered with {error:?}"
            ));
        } else if timestamp == EARLIEST {
            let at_least = hands.model.bounds(place);
            hands.model.start_told(place, at_least, found.offset);
            self.bounds.0 = found.offset;
            self.position = found.offset;
        } else {
            let at_least = hands.model.bounds(place);
            hands.model.watermark_told(place, at_least, found.offset);
            self.bounds.1 = found.offset;
        }
        self.jobs.pop_front();
    }

    fn take_fetch(&mut self, hands: &mut Hands<'_>, place: Place, answer: &Answer) {
        let response: FetchResponse = answer.decode();
        let data = &response.responses[0].partitions[0];
        let at_least = hands.model.bounds(place);
        let read = &mut self.read;
        let next = take_records(
            hands,
            (place, at_least),
            self.position,
            data.records.as_ref(),
            |offset, value| {
                read.insert(offset, value.to_string());
            },
        );
        if data.error_code != 0 || next == self.position {
            let error = ErrorCode::from_code(data.error_code);
            hands.broken(format!(
                "{place:?} is not read on from {} (of {:?}): {error:?}",
                self.position, self.bounds
            ));
            self.jobs.clear();
            return;
        }
        self.position = next;
    }
}

impl Client for Auditor {
    fn wake(&mut self, hands: &mut Hands<'_>) {
        hands.wake(100, 1_000);
        self.started = true;
        if self.out {
            return;
        }
        match self.jobs.front() {
            None => return,
            Some(Job::Metadata) => ask_metadata(hands),
            Some(Job::Offsets) => self.at_least = ask_offsets(hands),
            Some(Job::Bound(topic, place, timestamp)) => {
                Self::ask_bound(hands, topic, *place, *timestamp)
            }
            Some(Job::Read(place)) if self.position < self.bounds.1 => self.fetch(hands, *place),
            Some(Job::Read(place)) => {
                let read = std::mem::take(&mut self.read);
                hands.model.audited(*place, self.bounds, &read);
                self.jobs.pop_front();
                return;
            }
        }
        self.out = true;
    }

    fn answer(&mut self, hands: &mut Hands<'_>, answer: Answer) {
        self.out = false;
        match self.jobs.front() {
            Some(Job::Metadata) => self.take_metadata(hands, &answer),
            Some(Job::Offsets) => {
                let error = take_offsets(hands, &self.at_least, &answer.decode());
                self.refusal = error;
                match error {
                    None => drop(self.jobs.pop_front()),
                    // No group was ever made, or it is being loaded: asked again.
                    Some(ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator)
                        if self.at_least.iter().all(|(_, offset)| *offset == 0) =>
                    {
                        self.jobs.pop_front();
                    }
                    Some(
                        ErrorCode::CoordinatorLoadInProgress
                        | ErrorCode::CoordinatorNotAvailable
                        | ErrorCode::NotCoordinator,
                    ) => {}
                    Some(other) => {
                        hands.broken(format!("the group's offsets are answered with {other:?}"))
                    }
                }
            }
            Some(Job::Bound(_, place, timestamp)) => {
                let (place, timestamp) = (*place, *timestamp);
                self.take_bound(hands, place, timestamp, &answer);
            }
            Some(Job::Read(place)) => {
                let place = *place;
                self.take_fetch(hands, place, &answer);
            }
            None => {}
        }
    }

    fn lost(&mut self) {
        self.out = false;
    }

    fn waits_for(&self) -> String {
        match self.jobs.front() {
            Some(Job::Metadata) => "the topics".to_string(),
            Some(Job::Offsets) => format!("the group's offsets, told {:?}", self.refusal),
            Some(Job::Bound(topic, place, _)) => format!("the bounds of {topic} {place:?}"),
            Some(Job::Read(place)) => {
                format!("{place:?} from {} of {:?}", self.position, self.bounds)
            }
            None => "its start".to_string(),
        }
    }

    fn idle(&self) -> bool {
        self.started && self.jobs.is_empty()
    }
}
