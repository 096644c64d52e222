//! DescribeTopicPartitions (key 75), version 0: topics by name in pages, with eligible leader replicas (KIP-966).
//! A page ends after `response_partition_limit` partitions (at most 2,000) with a cursor to go on from.

use super::super::Core;
use super::super::request::{FrameRefusal, Request, read_body};
use super::TOPIC_OPERATIONS;
use super::metadata::{is_topic_name, offline_replicas};
use odradek_protocol::messages::DescribeTopicPartitionsRequest;
use odradek_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use odradek_protocol::{ErrorCode, StrBytes, Uuid};
use odradek_raft::image::{MetadataImage, PartitionView, TopicView};

/// `max.request.partition.size.limit`.
const PARTITIONS_MAX: usize = 2000;

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: DescribeTopicPartitionsRequest = read_body(&mut request)?;
    let meta = request.meta;
    let limit = usize::try_from(body.response_partition_limit)
        .unwrap_or(0)
        .clamp(1, PARTITIONS_MAX);
    let (first_name, first_partition) = match &body.cursor {
        Some(cursor) if cursor.partition_index < 0 => {
            let response = DescribeTopicPartitionsResponse::default();
            core.log(
                crate::machine::LogLevel::Debug,
                "a topic cursor with a negative partition",
            );
            core.respond(meta, &response);
            return Ok(());
        }
        Some(cursor) => (cursor.topic_name.clone(), cursor.partition_index),
        None => (StrBytes::EMPTY, 0),
    };
    let mut page = Page {
        response: DescribeTopicPartitionsResponse::default(),
        left: limit,
    };
    let image = core.image.clone();
    if body.topics.is_empty() {
        for topic in image.topics.iter_from(&first_name) {
            let from = if **topic.name() == *first_name {
                first_partition
            } else {
                0
            };
            if !page.add(&image, &topic, from) {
                break;
            }
        }
    } else {
        let mut names: Vec<&StrBytes> = body
            .topics
            .iter()
            .map(|topic| &topic.name)
            .filter(|name| **name >= first_name)
            .collect();
        names.sort();
        names.dedup();
        for name in names {
            let from = if *name == first_name {
                first_partition
            } else {
                0
            };
            match image.topics.by_name(name) {
                Some(topic) => {
                    if !page.add(&image, &topic, from) {
                        break;
                    }
                }
                None => page.response.topics.push(missing(name)),
            }
        }
    }
    core.respond(meta, &page.response);
    Ok(())
}

struct Page {
    response: DescribeTopicPartitionsResponse,
    left: usize,
}

impl Page {
    /// Adds a topic from a partition on; false when the page is full, with the cursor set.
    fn add(&mut self, image: &MetadataImage, topic: &TopicView<'_>, from: i32) -> bool {
        if self.left == 0 {
            self.set_cursor(topic.name(), 0);
            return false;
        }
        let mut partitions = Vec::new();
        let mut next = from.max(0);
        while next < topic.partition_count() && self.left > 0 {
            if let Some(view) = topic.partition(next) {
                partitions.push(partition(image, next, &view));
                self.left -= 1;
            }
            next += 1;
        }
        self.response
            .topics
            .push(DescribeTopicPartitionsResponseTopic {
                error_code: ErrorCode::None.code(),
                name: Some(StrBytes::from(topic.name())),
                topic_id: topic.id(),
                is_internal: topic.is_internal(),
                partitions,
                topic_authorized_operations: TOPIC_OPERATIONS,
                ..DescribeTopicPartitionsResponseTopic::default()
            });
        if next < topic.partition_count() {
            self.set_cursor(topic.name(), next);
            return false;
        }
        true
    }

    fn set_cursor(&mut self, name: &str, partition_index: i32) {
        self.response.next_cursor = Some(Cursor {
            topic_name: StrBytes::from(name),
            partition_index,
            ..Cursor::default()
        });
    }
}

fn partition(
    image: &MetadataImage,
    number: i32,
    view: &PartitionView<'_>,
) -> DescribeTopicPartitionsResponsePartition {
    let leader = if image.is_active_broker(view.leader()) {
        view.leader()
    } else {
        -1
    };
    DescribeTopicPartitionsResponsePartition {
        error_code: if leader < 0 {
            ErrorCode::LeaderNotAvailable.code()
        } else {
            ErrorCode::None.code()
        },
        partition_index: number,
        leader_id: leader,
        leader_epoch: view.leader_epoch(),
        replica_nodes: view.replicas().to_vec(),
        isr_nodes: view.isr().to_vec(),
        eligible_leader_replicas: Some(view.eligible_leaders().to_vec()),
        last_known_elr: Some(view.last_known_leaders().to_vec()),
        offline_replicas: offline_replicas(image, view).to_vec(),
        ..DescribeTopicPartitionsResponsePartition::default()
    }
}

fn missing(name: &StrBytes) -> DescribeTopicPartitionsResponseTopic {
    let error = if is_topic_name(name) {
        ErrorCode::UnknownTopicOrPartition
    } else {
        ErrorCode::InvalidTopicException
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        name: Some(name.clone()),
        topic_id: Uuid::ZERO,
        // As Kafka: asked or not, known or not.
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}
