//! The partitions of a run: made, written, read back and deleted over the wire, with the offset that each must be at. Which
//! step comes when, and what is timed, is in `mod`.

use crate::PerfError;
use crate::client::{Client, refuse};
use bytes::Bytes;
use odradek_protocol::codec::{At, DecodeError, Reader, Value};
use odradek_protocol::messages::create_topics_request::CreatableTopic;
use odradek_protocol::messages::create_topics_response::CreatableTopicResult;
use odradek_protocol::messages::delete_topics_request::DeleteTopicState;
use odradek_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use odradek_protocol::messages::fetch_response::PartitionData;
use odradek_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use odradek_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse,
};
use odradek_protocol::records::{BatchBuilder, Batches, records, verify_crc};
use odradek_protocol::{ApiKey, Message, StrBytes, Uuid};
use std::collections::BTreeMap;
use std::ops::Range;

/// Partitions written or read by one request.
pub const REQUEST_PARTITIONS: usize = 500;
/// Partitions that one CreateTopics or DeleteTopics names at most: Kafka refuses 10,000 records and more in one operation.
pub const CREATE_PARTITIONS_MAX: usize = 9_000;
/// Records of one operation at most: one for each topic, one for each partition.
const OPERATION_RECORDS_MAX: usize = 9_900;
/// Topics of an answer read before others may have the processor: a tenth of a millisecond.
const TOPICS_IN_ONE_GO: usize = 50;
/// Answers in a row that may bring nothing of what is known to be stored.
const EMPTY_ANSWERS_MAX: usize = 20;
/// Bytes of a partition in one answer.
const PARTITION_BYTES_MAX: i32 = 1 << 16;

/// Topics of equal size with their partitions numbered through.
#[derive(Debug)]
pub struct Population {
    prefix: &'static str,
    topic_partitions: usize,
    batch_bytes: usize,
    /// By topic; those not yet made are missing.
    topic_ids: Vec<Uuid>,
    /// By partition: the next offset, which is the count of batches acknowledged, since each holds one record.
    next_offsets: Vec<u32>,
    deleted: Range<usize>,
    /// What was not as it must be.
    pub problems: u64,
    /// The first such thing in words.
    pub first_problem: Option<String>,
}

impl Population {
    /// `partitions` of them in topics of `topic_partitions`, none made yet.
    pub fn new(
        prefix: &'static str,
        partitions: usize,
        topic_partitions: usize,
        batch_bytes: usize,
    ) -> Self {
        Population {
            prefix,
            topic_partitions,
            batch_bytes,
            topic_ids: Vec::with_capacity(partitions.div_ceil(topic_partitions)),
            next_offsets: vec![0; partitions],
            deleted: 0..0,
            problems: 0,
            first_problem: None,
        }
    }

    /// How many partitions there are to be.
    pub fn len(&self) -> usize {
        self.next_offsets.len()
    }

    /// Partitions made so far.
    pub fn made(&self) -> usize {
        (self.topic_ids.len() * self.topic_partitions).min(self.len())
    }

    /// Topics in all.
    pub fn topics(&self) -> usize {
        self.len().div_ceil(self.topic_partitions)
    }

    /// The name of a topic.
    pub fn topic_name(&self, topic: usize) -> StrBytes {
        format!("{}-{topic:07}", self.prefix).into()
    }

    fn partitions_of(&self, topic: usize) -> usize {
        self.topic_partitions
            .min(self.len() - topic * self.topic_partitions)
    }

    /// Topics that one request makes or deletes.
    fn topics_at_once(&self) -> usize {
        let by_partitions = CREATE_PARTITIONS_MAX / self.topic_partitions;
        let by_records = OPERATION_RECORDS_MAX / (self.topic_partitions + 1);
        by_partitions.min(by_records).max(1)
    }

    /// Makes as many of the missing topics as one request takes; false when all are there.
    ///
    /// # Errors
    /// When the connection breaks or the server refuses one.
    pub fn create_some(&mut self, client: &mut Client) -> Result<bool, PerfError> {
        let first = self.topic_ids.len();
        let count = self.topics_at_once().min(self.topics() - first);
        if count == 0 {
            return Ok(false);
        }
        let topics = (first..first + count).map(|topic| CreatableTopic {
            name: self.topic_name(topic),
            num_partitions: self.partitions_of(topic) as i32,
            replication_factor: 1,
            ..Default::default()
        });
        let request = CreateTopicsRequest {
            topics: topics.collect(),
            timeout_ms: 30_000,
            ..Default::default()
        };
        let mut made = BTreeMap::new();
        client.call_reading(ApiKey::CreateTopics, &request, |reader, version| {
            each_created(reader, version, |topic| {
                let message = topic.error_message.as_ref().map(|text| text.to_string());
                let what = format!("CreateTopics {}", &*topic.name);
                let refused = refuse(&what, topic.error_code, message);
                made.insert(topic.name.clone(), refused.map(|()| topic.topic_id));
            })
        })?;
        if made.len() != count {
            return Err(PerfError::Protocol(format!(
                "CreateTopics: {} topics in the answer to {count}",
                made.len()
            )));
        }
        for topic in first..first + count {
            let name = self.topic_name(topic);
            let id = made.remove(&name).ok_or_else(|| {
                PerfError::Protocol(format!("CreateTopics: {} is missing", &*name))
            })?;
            self.topic_ids.push(id?);
        }
        Ok(true)
    }

    /// Deletes topics of the range, as many as one request takes, from its start on; says how many.
    ///
    /// # Errors
    /// When the connection breaks or the server refuses one.
    pub fn delete_some(
        &mut self,
        client: &mut Client,
        topics: Range<usize>,
    ) -> Result<usize, PerfError> {
        let count = topics.len().min(self.topics_at_once());
        let named = topics.start..topics.start + count;
        let states = named.clone().map(|topic| DeleteTopicState {
            name: None,
            topic_id: self.topic_ids[topic],
            ..Default::default()
        });
        let request = DeleteTopicsRequest {
            topics: states.collect(),
            timeout_ms: 30_000,
            ..Default::default()
        };
        let answer: DeleteTopicsResponse = client.call(ApiKey::DeleteTopics, &request)?;
        for topic in &answer.responses {
            let message = topic.error_message.as_ref().map(|text| text.to_string());
            refuse("DeleteTopics", topic.error_code, message)?;
        }
        self.deleted = self.deleted.start.min(named.start)..named.end;
        Ok(count)
    }

    /// Writes one batch to each of these partitions and checks the offset that it gets. When some are refused, those that were
    /// not still count as written.
    ///
    /// # Errors
    /// When the connection breaks, or the server refuses a partition.
    pub fn produce(&mut self, client: &mut Client, partitions: &[usize]) -> Result<(), PerfError> {
        let mut topics: BTreeMap<usize, TopicProduceData> = BTreeMap::new();
        for &partition in partitions {
            let (topic, index) = self.place(partition);
            let batch = self.batch(partition, self.next_offsets[partition])?;
            let data = topics.entry(topic).or_insert_with(|| TopicProduceData {
                name: self.topic_name(topic),
                topic_id: self.topic_ids[topic],
                ..Default::default()
            });
            data.partition_data.push(PartitionProduceData {
                index,
                records: Some(batch),
                ..Default::default()
            });
        }
        let by_id: BTreeMap<[u8; 16], usize> = topics
            .iter()
            .map(|(topic, data)| (data.topic_id.0, *topic))
            .collect();
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: topics.into_values().collect(),
            ..Default::default()
        };
        let answer: ProduceResponse = client.call(ApiKey::Produce, &request)?;
        let mut answered = 0;
        let mut refused = Ok(());
        for data in &answer.responses {
            let Some(topic) = by_id.get(&data.topic_id.0) else {
                continue;
            };
            for one in &data.partition_responses {
                let partition = topic * self.topic_partitions + one.index as usize;
                if one.error_code != 0 {
                    let what = format!("Produce to partition {partition}");
                    refused = refuse(&what, one.error_code, None);
                    continue;
                }
                answered += 1;
                self.stored(partition, one.base_offset);
            }
        }
        refused?;
        if answered != partitions.len() {
            return Err(PerfError::Protocol(format!(
                "Produce: {answered} partitions in the answer to {}",
                partitions.len()
            )));
        }
        Ok(())
    }

    fn stored(&mut self, partition: usize, base_offset: i64) {
        let due = self.next_offsets[partition];
        if base_offset != i64::from(due) {
            self.problem(format!(
                "partition {partition}: a batch got offset {base_offset} where {due} was due"
            ));
        }
        self.next_offsets[partition] = (base_offset + 1) as u32;
    }

    /// Reads these partitions from offset 0 to the end that was acknowledged, and checks offsets, sums and contents.
    ///
    /// # Errors
    /// When the connection breaks or the server refuses; what is wrong with the data is counted instead.
    pub fn fetch(&mut self, client: &mut Client, partitions: &[usize]) -> Result<(), PerfError> {
        let due = |population: &Self, partition: usize| population.next_offsets[partition];
        let mut positions: BTreeMap<usize, u32> = partitions.iter().map(|&p| (p, 0)).collect();
        let topics = partitions.iter().map(|&partition| self.place(partition).0);
        let by_id: BTreeMap<[u8; 16], usize> = topics
            .map(|topic| (self.topic_ids[topic].0, topic))
            .collect();
        let mut empty_answers = 0;
        // A partition without records is asked for once.
        let mut asked = false;
        while !asked || positions.iter().any(|(&p, &at)| at < due(self, p)) {
            asked = true;
            let request = self.fetch_request(&positions);
            let answer: FetchResponse = client.call(ApiKey::Fetch, &request)?;
            refuse("Fetch", answer.error_code, None)?;
            let before: u64 = positions.values().map(|at| u64::from(*at)).sum();
            for data in &answer.responses {
                let Some(topic) = by_id.get(&data.topic_id.0) else {
                    continue;
                };
                for one in &data.partitions {
                    let partition = topic * self.topic_partitions + one.partition_index as usize;
                    if let Some(position) = positions.get_mut(&partition) {
                        self.take(partition, one, position)?;
                    }
                }
            }
            let after: u64 = positions.values().map(|at| u64::from(*at)).sum();
            empty_answers = if after > before { 0 } else { empty_answers + 1 };
            if empty_answers == EMPTY_ANSWERS_MAX {
                let short = positions.iter().find(|&(&p, &at)| at < due(self, p));
                self.problem(format!(
                    "records that were acknowledged do not come back: {:?} (partition, offset)",
                    short
                ));
                return Ok(());
            }
        }
        Ok(())
    }

    fn fetch_request(&self, positions: &BTreeMap<usize, u32>) -> FetchRequest {
        let mut topics: Vec<(usize, FetchTopic)> = Vec::new();
        for (&partition, &position) in positions {
            let (topic, index) = self.place(partition);
            if topics.last().is_none_or(|(last, _)| *last != topic) {
                let data = FetchTopic {
                    topic: self.topic_name(topic),
                    topic_id: self.topic_ids[topic],
                    ..Default::default()
                };
                topics.push((topic, data));
            }
            let (_, data) = topics.last_mut().expect("pushed above");
            data.partitions.push(FetchPartition {
                partition: index,
                fetch_offset: i64::from(position),
                partition_max_bytes: PARTITION_BYTES_MAX,
                ..Default::default()
            });
        }
        FetchRequest {
            max_wait_ms: 100,
            min_bytes: 0,
            max_bytes: 50 << 20,
            topics: topics.into_iter().map(|(_, topic)| topic).collect(),
            ..Default::default()
        }
    }

    fn take(
        &mut self,
        partition: usize,
        data: &PartitionData,
        position: &mut u32,
    ) -> Result<(), PerfError> {
        let what = || format!("Fetch of partition {partition}");
        refuse(&what(), data.error_code, None)?;
        let due = self.next_offsets[partition];
        if data.high_watermark != i64::from(due) {
            let found = data.high_watermark;
            self.problem(format!(
                "partition {partition}: high watermark {found} where {due} was due"
            ));
        }
        for batch in Batches::new(data.records.clone().unwrap_or_default()) {
            let Ok((header, bytes)) = batch else { break };
            if header.base_offset != i64::from(*position) {
                let found = header.base_offset;
                self.problem(format!(
                    "partition {partition}: offset {found} where {position} was due"
                ));
            }
            let sound = verify_crc(&bytes).is_ok()
                && records(&bytes, 2 << 20).is_ok_and(|found| {
                    let wanted = mark(partition, *position);
                    found.views().all(|record| {
                        record.is_ok_and(|record| {
                            record.value.is_some_and(|value| value.starts_with(&wanted))
                        })
                    })
                });
            if !sound {
                self.problem(format!(
                    "partition {partition}, offset {position}: not the batch that was written"
                ));
            }
            *position = header.next_offset() as u32;
        }
        Ok(())
    }

    fn problem(&mut self, what: String) {
        self.problems += 1;
        self.first_problem.get_or_insert(what);
    }

    fn place(&self, partition: usize) -> (usize, i32) {
        (
            partition / self.topic_partitions,
            (partition % self.topic_partitions) as i32,
        )
    }

    fn batch(&self, partition: usize, offset: u32) -> Result<Bytes, PerfError> {
        /// What a batch of one record of up to 1 KiB has beside its value.
        const AROUND_VALUE_BYTES: usize = 72;
        let mut value = vec![0x5A; self.batch_bytes.saturating_sub(AROUND_VALUE_BYTES).max(16)];
        value[..16].copy_from_slice(&mark(partition, offset));
        let mut builder = BatchBuilder::new(0);
        builder.push(now_ms(), None, Some(&value), &[]);
        builder
            .build()
            .map_err(|error| PerfError::codec("building a batch", error))
    }

    /// Partitions deleted.
    fn gone(&self) -> Range<usize> {
        let end = self.deleted.end * self.topic_partitions;
        self.deleted.start * self.topic_partitions..end.min(self.len())
    }

    /// Whether a partition was not deleted.
    pub fn is_left(&self, partition: usize) -> bool {
        !self.gone().contains(&partition)
    }

    /// How many partitions were not deleted.
    pub fn left(&self) -> usize {
        self.len() - self.gone().len()
    }

    /// The first partition that was not deleted; the last one where none is left.
    pub fn first_left(&self) -> usize {
        let gone = self.gone();
        let first = if gone.start > 0 { 0 } else { gone.end };
        first.min(self.len() - 1)
    }

    /// A partition that was not deleted.
    pub fn draw(&self, draw: &mut Draw) -> usize {
        let gone = self.gone();
        let drawn = draw.below(self.left());
        match drawn < gone.start {
            true => drawn,
            false => drawn + gone.len(),
        }
    }
}

/// Hands over the topics of an answer to CreateTopics one by one. It may have 10 MB, nearly all of it configs that nobody keeps; whoever reads it
/// in one go takes a processor from the server and its tenant for 10 ms and more, which no client on a machine of its own does, so this one gives
/// way again and again.
fn each_created(
    reader: &mut Reader,
    version: i16,
    mut each: impl FnMut(&CreatableTopicResult),
) -> Result<(), DecodeError> {
    let at = At::new(version, CreateTopicsResponse::FLEXIBLE.contains(version));
    let _throttle_time_ms = reader.read_i32()?;
    let count = reader.read_array_length(at.flexible)?.unwrap_or(0);
    for number in 1..=count {
        each(&CreatableTopicResult::decode_value(reader, at)?);
        if number % TOPICS_IN_ONE_GO == 0 {
            std::thread::yield_now();
        }
    }
    Ok(())
}

/// How the value of a partition's batch at an offset begins.
fn mark(partition: usize, offset: u32) -> [u8; 16] {
    let mut mark = [0; 16];
    mark[..8].copy_from_slice(&(partition as u64).to_be_bytes());
    mark[8..].copy_from_slice(&u64::from(offset).to_be_bytes());
    mark
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// The same numbers in every run.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// Numbers that follow from the seed.
    pub fn new(seed: u64) -> Self {
        Draw(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// A number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_deleted_is_not_drawn() {
        let mut population = Population::new("p", 1_000, 7, 1024);
        population.deleted = 0..71;
        assert_eq!(population.left(), 1_000 - 497);
        assert_eq!(population.first_left(), 497);
        let mut draw = Draw::new(3);
        for _ in 0..10_000 {
            let drawn = population.draw(&mut draw);
            assert!((497..1_000).contains(&drawn) && population.is_left(drawn));
        }
        assert_eq!(population.topics(), 143);
        assert_eq!(population.partitions_of(142), 6);
    }

    #[test]
    fn a_batch_is_no_larger_than_asked_for_and_says_whose_it_is() {
        let population = Population::new("p", 10, 5, 1024);
        let batch = population.batch(7, 3).unwrap();
        assert!(batch.len() <= 1024 && batch.len() > 1000, "{}", batch.len());
        let found = records(&batch, 1 << 20).unwrap();
        let values: Vec<Vec<u8>> = found
            .views()
            .map(|record| record.unwrap().value.unwrap().to_vec())
            .collect();
        assert_eq!(values.len(), 1);
        assert!(values[0].starts_with(&mark(7, 3)));
    }
}
