//! OffsetForLeaderEpoch (key 23), versions 2-4: where a leader epoch ends. Split by owning shard.

use super::super::request::{FrameRefusal, Request, RequestMeta, read_body};
use super::super::{Core, Gather};
use odradek_protocol::ErrorCode;
use odradek_protocol::messages::OffsetForLeaderEpochRequest;
use odradek_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use odradek_shard::command::{EpochPartition, EpochPartitionReply, EpochsCommand, PartitionKey};
use odradek_shard::{Event, RequestToken};
use odradek_wal::TopicId;

pub struct EpochsGather {
    response: OffsetForLeaderEpochResponse,
    /// By part: topic and partition positions in the answer.
    places: Vec<Vec<(u32, u32)>>,
}

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: OffsetForLeaderEpochRequest = read_body(&mut request)?;
    let meta = request.meta;
    let mut gather = EpochsGather {
        response: OffsetForLeaderEpochResponse::default(),
        places: Vec::new(),
    };
    let mut commands: Vec<(u16, EpochsCommand)> = Vec::new();
    for topic in &body.topics {
        let found = core.topic_by_name(&topic.topic);
        let mut answer = OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            ..OffsetForLeaderTopicResult::default()
        };
        let topic_place = gather.response.topics.len() as u32;
        for partition in &topic.partitions {
            let place = (topic_place, answer.partitions.len() as u32);
            let exists = found
                .as_ref()
                .filter(|found| (0..found.partitions).contains(&partition.partition));
            let error = if exists.is_some() {
                ErrorCode::None
            } else {
                ErrorCode::UnknownTopicOrPartition
            };
            answer.partitions.push(EpochEndOffset {
                error_code: error.code(),
                partition: partition.partition,
                ..EpochEndOffset::default()
            });
            let Some(found) = exists else { continue };
            let shard = core.shard_of(found.id, partition.partition);
            let part = commands
                .iter()
                .position(|(other, _)| *other == shard)
                .unwrap_or_else(|| {
                    let token = core.token(&meta, commands.len() as u32);
                    commands.push((
                        shard,
                        EpochsCommand {
                            token,
                            partitions: Vec::new(),
                        },
                    ));
                    gather.places.push(Vec::new());
                    commands.len() - 1
                });
            gather.places[part].push(place);
            commands[part].1.partitions.push(EpochPartition {
                key: PartitionKey {
                    topic_id: TopicId(found.id.0),
                    partition: partition.partition,
                },
                current_leader_epoch: partition.current_leader_epoch,
                leader_epoch: partition.leader_epoch,
            });
        }
        gather.response.topics.push(answer);
    }
    if commands.is_empty() {
        core.respond(meta, &gather.response);
        return Ok(());
    }
    core.wait(meta, Gather::Epochs(gather), commands.len() as u32);
    for (shard, command) in commands {
        core.send_to_shard(shard, Event::OffsetForLeaderEpoch(command));
    }
    Ok(())
}

pub fn absorb(gather: &mut EpochsGather, token: RequestToken, replies: &[EpochPartitionReply]) {
    let places = &gather.places[token.part as usize];
    assert_eq!(
        places.len(),
        replies.len(),
        "a shard answers every partition of a command"
    );
    for (&(topic, partition), reply) in places.iter().zip(replies) {
        let answer = &mut gather.response.topics[topic as usize].partitions[partition as usize];
        answer.error_code = reply.error.code();
        answer.leader_epoch = reply.leader_epoch;
        answer.end_offset = reply.end_offset;
    }
}

pub fn finish(core: &mut Core, meta: RequestMeta, gather: &EpochsGather) {
    core.respond(meta, &gather.response);
}
