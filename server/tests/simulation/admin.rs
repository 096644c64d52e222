//! An administrator: creates and deletes topics, deletes records, and looks whether what was acknowledged is so.

use super::client::{Answer, Client, Hands, name};
use super::model::{Bounds, Phase, Place};
use odradek_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use odradek_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use odradek_protocol::messages::delete_topics_request::DeleteTopicState;
use odradek_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, MetadataRequest, MetadataResponse,
};
use odradek_protocol::{ApiKey, ErrorCode, StrBytes, Uuid};

/// The topic that is never deleted; groups commit offsets of it.
pub const LASTING_TOPIC: &str = "lasting";
const TOPICS_MAX: usize = 5;

enum Asked {
    Create(String),
    Delete(String),
    Records(Place, Bounds, i64),
    Metadata,
}

pub struct Admin {
    asked: Option<Asked>,
    names: u32,
    /// Something was under way when the connection broke: what came of it is asked first.
    unsure: bool,
}

/// Topics as Metadata shows them.
pub fn shown(response: &MetadataResponse) -> Vec<(String, Uuid, i32)> {
    let topics = response.topics.iter().map(|topic| {
        let name = topic
            .name
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        (name, topic.topic_id, topic.partitions.len() as i32)
    });
    topics.collect()
}

pub fn ask_metadata(hands: &mut Hands<'_>) {
    let request = MetadataRequest {
        topics: None,
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    hands.ask(ApiKey::Metadata, 12, &request);
}

impl Admin {
    pub fn new() -> Self {
        Self {
            asked: None,
            names: 0,
            unsure: false,
        }
    }

    fn create(&mut self, hands: &mut Hands<'_>) {
        let topic = if hands.model.topics.contains_key(LASTING_TOPIC) {
            self.names += 1;
            format!("topic-{}", self.names)
        } else {
            LASTING_TOPIC.to_string()
        };
        let partitions = 1 + hands.random.below(4) as i32;
        let configs = if hands.random.once_in(4) {
            let compression = ["gzip", "snappy", "lz4", "zstd", "uncompressed"];
            let chosen = compression[hands.random.below(5) as usize];
            vec![CreatableTopicConfig {
                name: StrBytes::from_static("compression.type"),
                value: Some(StrBytes::from_static(chosen)),
                ..CreatableTopicConfig::default()
            }]
        } else {
            Vec::new()
        };
        hands.model.creating(&topic, partitions);
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: name(&topic),
                num_partitions: partitions,
                replication_factor: 1,
                configs,
                ..CreatableTopic::default()
            }],
            ..CreateTopicsRequest::default()
        };
        hands.ask(ApiKey::CreateTopics, 7, &request);
        self.asked = Some(Asked::Create(topic));
    }

    fn delete(&mut self, hands: &mut Hands<'_>, topic: String) {
        hands.model.set_phase(&topic, Phase::Deleting);
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(name(&topic)),
                ..DeleteTopicState::default()
            }],
            timeout_ms: 30_000,
            ..DeleteTopicsRequest::default()
        };
        hands.ask(ApiKey::DeleteTopics, 6, &request);
        self.asked = Some(Asked::Delete(topic));
    }

    fn delete_records(
        &mut self,
        hands: &mut Hands<'_>,
        (topic, id, partitions): (String, Uuid, i32),
    ) {
        let place = (id, hands.random.below(partitions as u64) as i32);
        let readable = hands.model.partition(place).high_watermark;
        let offset = hands.random.below(readable as u64 + 1) as i64;
        hands.model.delete_asked(place, offset);
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: name(&topic),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: place.1,
                    offset,
                    ..DeleteRecordsPartition::default()
                }],
                ..DeleteRecordsTopic::default()
            }],
            timeout_ms: 30_000,
            ..DeleteRecordsRequest::default()
        };
        hands.ask(ApiKey::DeleteRecords, 2, &request);
        self.asked = Some(Asked::Records(place, hands.model.bounds(place), offset));
    }

    fn take_records_deleted(
        &mut self,
        hands: &mut Hands<'_>,
        (place, at_least, offset): (Place, Bounds, i64),
        answer: &Answer,
    ) {
        let response: DeleteRecordsResponse = answer.decode();
        let results = response.topics.iter().flat_map(|topic| &topic.partitions);
        for partition in results {
            match ErrorCode::from_code(partition.error_code) {
                Some(ErrorCode::None) if partition.low_watermark < offset => hands.broken(format!(
                    "{place:?}: records before {offset} were deleted, and the log starts at {}",
                    partition.low_watermark
                )),
                Some(ErrorCode::None) => {
                    hands.model.counts.deletes += 1;
                    hands
                        .model
                        .start_promised(place, at_least, partition.low_watermark);
                }
                error if hands.excuses(place.0, error) => {}
                other => hands.broken(format!(
                    "deleting records of {place:?} before {offset} is answered with {other:?}"
                )),
            }
        }
    }
}

impl Client for Admin {
    fn wake(&mut self, hands: &mut Hands<'_>) {
        hands.wake(5_000, 150_000);
        if self.asked.is_some() {
            return;
        }
        if self.unsure {
            self.unsure = false;
            self.asked = Some(Asked::Metadata);
            ask_metadata(hands);
            return;
        }
        if hands.ending {
            return;
        }
        let mut live = hands.model.live();
        let chosen = match live.len() {
            0 => None,
            count => Some(live.swap_remove(hands.random.below(count as u64) as usize)),
        };
        match (hands.random.below(6), chosen) {
            (0, Some((topic, ..))) if topic != LASTING_TOPIC => self.delete(hands, topic),
            (1 | 2, Some(topic)) => self.delete_records(hands, topic),
            (3, Some(_)) => {
                self.asked = Some(Asked::Metadata);
                ask_metadata(hands);
            }
            _ if live.len() < TOPICS_MAX => self.create(hands),
            _ => {}
        }
    }

    fn answer(&mut self, hands: &mut Hands<'_>, answer: Answer) {
        match self.asked.take() {
            Some(Asked::Create(topic)) => {
                let response: CreateTopicsResponse = answer.decode();
                let result = &response.topics[0];
                match ErrorCode::from_code(result.error_code) {
                    Some(ErrorCode::None) => hands.model.created(&topic, result.topic_id),
                    Some(ErrorCode::NotController) if hands.troubled => self.unsure = true,
                    // No broker is unfenced: its heartbeats wait for a disk.
                    Some(ErrorCode::InvalidReplicationFactor) if hands.troubled => {
                        hands.model.set_phase(&topic, Phase::Gone);
                    }
                    other => {
                        hands.broken(format!("creating {topic} is answered with {other:?}"));
                    }
                }
            }
            Some(Asked::Delete(topic)) => {
                let response: DeleteTopicsResponse = answer.decode();
                match ErrorCode::from_code(response.responses[0].error_code) {
                    Some(ErrorCode::None) => hands.model.set_phase(&topic, Phase::Gone),
                    // Its leadership ended over a disk that does not answer; the deletion may be committed or not.
                    Some(ErrorCode::NotController) if hands.troubled => self.unsure = true,
                    other => hands.broken(format!("deleting {topic} is answered with {other:?}")),
                }
            }
            Some(Asked::Records(place, at_least, offset)) => {
                self.take_records_deleted(hands, (place, at_least, offset), &answer);
            }
            Some(Asked::Metadata) => hands.model.shown(&shown(&answer.decode())),
            None => hands.broken("an answer to nothing".to_string()),
        }
    }

    fn lost(&mut self) {
        self.unsure |= self.asked.take().is_some();
    }

    fn waits_for(&self) -> String {
        "the administrator's answer".to_string()
    }

    fn idle(&self) -> bool {
        self.asked.is_none() && !self.unsure
    }
}
