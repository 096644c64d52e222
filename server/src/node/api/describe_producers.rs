//! DescribeProducers (key 61), version 0: active producers of partitions. Split by owning shard.

use super::super::request::{FrameRefusal, Request, RequestMeta, read_body};
use super::super::{Core, Gather};
use odradek_protocol::messages::DescribeProducersRequest;
use odradek_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use odradek_protocol::{ErrorCode, StrBytes};
use odradek_shard::command::{
    DescribeProducersCommand, DescribeProducersPartitionReply, PartitionKey,
};
use odradek_shard::{Event, RequestToken};
use odradek_wal::TopicId;

pub struct ProducersGather {
    response: DescribeProducersResponse,
    /// By part: topic and partition positions in the answer.
    places: Vec<Vec<(u32, u32)>>,
}

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: DescribeProducersRequest = read_body(&mut request)?;
    let meta = request.meta;
    let mut gather = ProducersGather {
        response: DescribeProducersResponse::default(),
        places: Vec::new(),
    };
    let mut commands: Vec<(u16, DescribeProducersCommand)> = Vec::new();
    for topic in &body.topics {
        let found = core.topic_by_name(&topic.name);
        let mut answer = TopicResponse {
            name: topic.name.clone(),
            ..TopicResponse::default()
        };
        let topic_place = gather.response.topics.len() as u32;
        for &partition in &topic.partition_indexes {
            let place = (topic_place, answer.partitions.len() as u32);
            let exists = found
                .as_ref()
                .filter(|found| (0..found.partitions).contains(&partition));
            let error = if exists.is_some() {
                ErrorCode::None
            } else {
                ErrorCode::UnknownTopicOrPartition
            };
            answer.partitions.push(PartitionResponse {
                partition_index: partition,
                error_code: error.code(),
                // Words only of an unknown topic, as Kafka.
                error_message: found.is_none().then(|| {
                    StrBytes::from_static("This server does not host this topic-partition.")
                }),
                ..PartitionResponse::default()
            });
            let Some(found) = exists else { continue };
            let shard = core.shard_of(found.id, partition);
            let part = commands
                .iter()
                .position(|(other, _)| *other == shard)
                .unwrap_or_else(|| {
                    let token = core.token(&meta, commands.len() as u32);
                    commands.push((
                        shard,
                        DescribeProducersCommand {
                            token,
                            partitions: Vec::new(),
                        },
                    ));
                    gather.places.push(Vec::new());
                    commands.len() - 1
                });
            gather.places[part].push(place);
            commands[part].1.partitions.push(PartitionKey {
                topic_id: TopicId(found.id.0),
                partition,
            });
        }
        gather.response.topics.push(answer);
    }
    if commands.is_empty() {
        core.respond(meta, &gather.response);
        return Ok(());
    }
    core.wait(meta, Gather::Producers(gather), commands.len() as u32);
    for (shard, command) in commands {
        core.send_to_shard(shard, Event::DescribeProducers(command));
    }
    Ok(())
}

pub fn absorb(
    gather: &mut ProducersGather,
    token: RequestToken,
    replies: Vec<DescribeProducersPartitionReply>,
) {
    let places = &gather.places[token.part as usize];
    assert_eq!(
        places.len(),
        replies.len(),
        "a shard answers every partition of a command"
    );
    for (&(topic, partition), reply) in places.iter().zip(replies) {
        let answer = &mut gather.response.topics[topic as usize].partitions[partition as usize];
        answer.error_code = reply.error.code();
        answer.active_producers = reply
            .producers
            .into_iter()
            .map(|producer| ProducerState {
                producer_id: producer.producer_id,
                producer_epoch: producer.producer_epoch,
                last_sequence: producer.last_sequence,
                last_timestamp: producer.last_timestamp_ms,
                coordinator_epoch: -1,
                current_txn_start_offset: -1,
                ..ProducerState::default()
            })
            .collect();
    }
}

pub fn finish(core: &mut Core, meta: RequestMeta, gather: &ProducersGather) {
    core.respond(meta, &gather.response);
}
