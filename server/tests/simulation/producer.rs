//! Producers: idempotent ones, that send again what was not answered, with the same sequence; and ones that want no answer.

use super::client::{Answer, Client, Hands, name};
use super::model::Place;
use bytes::Bytes;
use odradek_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use odradek_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse,
};
use odradek_protocol::records::{BatchBuilder, Compression};
use odradek_protocol::{ApiKey, ErrorCode};
use std::collections::BTreeMap;

const REQUESTS_IN_FLIGHT_MAX: usize = 3;

/// A batch that is not acknowledged yet.
struct Batch {
    base_sequence: i32,
    values: Vec<String>,
    bytes: Bytes,
    out: bool,
}

/// One partition, as a producer sees it.
#[derive(Default)]
struct Lane {
    topic: String,
    next_sequence: i32,
    batch: Option<Batch>,
}

pub struct Producer {
    number: u32,
    acks: i16,
    id: Option<(i64, i16)>,
    asking: bool,
    lanes: BTreeMap<Place, Lane>,
    in_flight: BTreeMap<i32, Vec<Place>>,
    values: u64,
}

impl Producer {
    /// `acks` as in Produce; with 0 the producer is not idempotent.
    pub fn new(number: u32, acks: i16) -> Self {
        Self {
            number,
            acks,
            id: (acks == 0).then_some((-1, -1)),
            asking: false,
            lanes: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            values: 0,
        }
    }

    fn fill_lanes(&mut self, hands: &mut Hands<'_>) {
        let live = hands.model.live();
        let places: Vec<(String, Place)> = live
            .into_iter()
            .flat_map(|(topic, id, partitions)| {
                (0..partitions).map(move |index| (topic.clone(), (id, index)))
            })
            .collect();
        for _ in 0..hands.random.below(4) {
            if places.is_empty() {
                return;
            }
            let (topic, place) = &places[hands.random.below(places.len() as u64) as usize];
            if self
                .lanes
                .get(place)
                .is_some_and(|lane| lane.batch.is_some())
            {
                continue;
            }
            let base_sequence = self.lanes.get(place).map_or(0, |lane| lane.next_sequence);
            let batch = self.batch(hands, base_sequence);
            hands.model.sent(*place, &batch.values);
            let lane = self.lanes.entry(*place).or_default();
            lane.topic = topic.clone();
            lane.batch = Some(batch);
        }
    }

    fn batch(&mut self, hands: &mut Hands<'_>, base_sequence: i32) -> Batch {
        let (producer_id, producer_epoch) = self.id.unwrap_or((-1, -1));
        let compression = Compression::ALL[hands.random.below(5) as usize];
        let mut builder = BatchBuilder::new(0).compression(compression, None);
        if self.acks != 0 {
            builder = builder.producer(producer_id, producer_epoch, base_sequence);
        }
        let mut values = Vec::new();
        for _ in 0..1 + hands.random.below(5) {
            self.values += 1;
            let filling = "x".repeat(hands.random.below(3_000) as usize);
            let value = format!("{}-{}-{filling}", self.number, self.values);
            builder.push(1_700_000_000_000, None, Some(value.as_bytes()), &[]);
            values.push(value);
        }
        Batch {
            base_sequence,
            values,
            bytes: builder.build().expect("a batch is built"),
            out: false,
        }
    }

    fn send(&mut self, hands: &mut Hands<'_>) {
        let by_id = hands.random.once_in(2);
        let mut topics: BTreeMap<odradek_protocol::Uuid, TopicProduceData> = BTreeMap::new();
        let mut places = Vec::new();
        for (place, lane) in &mut self.lanes {
            let Some(batch) = lane.batch.as_mut().filter(|batch| !batch.out) else {
                continue;
            };
            batch.out = true;
            places.push(*place);
            let topic = topics.entry(place.0).or_default();
            if by_id {
                topic.topic_id = place.0;
            } else {
                topic.name = name(&lane.topic);
            }
            topic.partition_data.push(PartitionProduceData {
                index: place.1,
                records: Some(batch.bytes.clone()),
                ..PartitionProduceData::default()
            });
        }
        if places.is_empty() {
            return;
        }
        let request = ProduceRequest {
            acks: self.acks,
            timeout_ms: 30_000,
            topic_data: topics.into_values().collect(),
            ..ProduceRequest::default()
        };
        let version = if by_id { 13 } else { 12 };
        if self.acks == 0 {
            hands.tell(ApiKey::Produce, version, &request);
            for place in places {
                self.lanes.remove(&place);
            }
            return;
        }
        let correlation = hands.ask(ApiKey::Produce, version, &request);
        self.in_flight.insert(correlation, places);
    }

    fn take(&mut self, hands: &mut Hands<'_>, place: Place, code: i16, base_offset: i64) {
        let Some(lane) = self.lanes.get_mut(&place) else {
            return;
        };
        let Some(batch) = lane.batch.as_mut() else {
            return;
        };
        batch.out = false;
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => {
                hands.model.acknowledged(place, base_offset, &batch.values);
                lane.next_sequence = batch.base_sequence + batch.values.len() as i32;
                lane.batch = None;
            }
            Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId) => {
                hands.model.said_unknown(place);
                self.lanes.remove(&place);
            }
            // Sent again, with the same sequence.
            error if hands.excuses(place.0, error) => {}
            other => hands.broken(format!(
                "producer {}: a batch for {place:?} at sequence {} was answered with {other:?}",
                self.number, batch.base_sequence
            )),
        }
    }
}

impl Client for Producer {
    fn wake(&mut self, hands: &mut Hands<'_>) {
        hands.wake(200, 20_000);
        if self.id.is_none() {
            if !self.asking && !hands.ending {
                self.asking = true;
                let request = InitProducerIdRequest {
                    transactional_id: None,
                    ..InitProducerIdRequest::default()
                };
                hands.ask(ApiKey::InitProducerId, 4, &request);
            }
            return;
        }
        if self.in_flight.len() >= REQUESTS_IN_FLIGHT_MAX {
            return;
        }
        if !hands.ending {
            self.fill_lanes(hands);
        }
        self.send(hands);
    }

    fn answer(&mut self, hands: &mut Hands<'_>, answer: Answer) {
        if answer.expected.api == ApiKey::InitProducerId {
            let response: InitProducerIdResponse = answer.decode();
            self.asking = false;
            if response.error_code == 0 {
                self.id = Some((response.producer_id, response.producer_epoch));
            }
            return;
        }
        let places = self
            .in_flight
            .remove(&answer.expected.correlation)
            .unwrap_or_default();
        let response: ProduceResponse = answer.decode();
        let mut answered = 0;
        for topic in &response.responses {
            for partition in &topic.partition_responses {
                let place = places.iter().find(|(id, index)| {
                    let lane = self.lanes.get(&(*id, *index));
                    *index == partition.index
                        && (topic.topic_id == *id
                            || lane.is_some_and(|lane| name(&lane.topic) == topic.name))
                });
                let Some(place) = place.copied() else {
                    continue;
                };
                answered += 1;
                self.take(hands, place, partition.error_code, partition.base_offset);
            }
        }
        if answered != places.len() {
            hands.broken(format!(
                "{} partitions were sent and {answered} answered",
                places.len()
            ));
        }
    }

    fn lost(&mut self) {
        self.asking = false;
        self.in_flight.clear();
        for lane in self.lanes.values_mut() {
            if let Some(batch) = lane.batch.as_mut() {
                batch.out = false;
            }
        }
    }

    fn waits_for(&self) -> String {
        let waiting = self.lanes.iter().filter(|(_, lane)| lane.batch.is_some());
        let places: Vec<&Place> = waiting.map(|(place, _)| place).collect();
        format!(
            "producer {} has batches for {places:?}, {} requests out",
            self.number,
            self.in_flight.len()
        )
    }

    fn idle(&self) -> bool {
        self.in_flight.is_empty() && self.lanes.values().all(|lane| lane.batch.is_none())
    }
}
