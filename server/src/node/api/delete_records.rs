//! DeleteRecords (key 21), versions 0-2: raises log starts; answered when that is durable. Split by owning shard.

use super::super::request::{FrameRefusal, Request, RequestMeta, read_body};
use super::super::{Core, Gather};
use odradek_protocol::ErrorCode;
use odradek_protocol::messages::DeleteRecordsRequest;
use odradek_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use odradek_shard::command::{DeleteRecordsCommand, DeleteRecordsPartitionReply, PartitionKey};
use odradek_shard::{Event, RequestToken};
use odradek_wal::TopicId;

pub struct DeleteRecordsGather {
    response: DeleteRecordsResponse,
    /// By part: topic and partition positions in the answer.
    places: Vec<Vec<(u32, u32)>>,
}

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: DeleteRecordsRequest = read_body(&mut request)?;
    let meta = request.meta;
    let mut gather = DeleteRecordsGather {
        response: DeleteRecordsResponse::default(),
        places: Vec::new(),
    };
    let mut commands: Vec<(u16, DeleteRecordsCommand)> = Vec::new();
    for topic in &body.topics {
        let found = core.topic_by_name(&topic.name);
        let mut answer = DeleteRecordsTopicResult {
            name: topic.name.clone(),
            ..DeleteRecordsTopicResult::default()
        };
        let topic_place = gather.response.topics.len() as u32;
        for partition in &topic.partitions {
            let place = (topic_place, answer.partitions.len() as u32);
            let exists = found
                .as_ref()
                .filter(|found| (0..found.partitions).contains(&partition.partition_index));
            let error = if exists.is_some() {
                ErrorCode::None
            } else {
                ErrorCode::UnknownTopicOrPartition
            };
            answer.partitions.push(DeleteRecordsPartitionResult {
                partition_index: partition.partition_index,
                low_watermark: -1,
                error_code: error.code(),
                ..DeleteRecordsPartitionResult::default()
            });
            let Some(found) = exists else { continue };
            let shard = core.shard_of(found.id, partition.partition_index);
            let part = commands
                .iter()
                .position(|(other, _)| *other == shard)
                .unwrap_or_else(|| {
                    let token = core.token(&meta, commands.len() as u32);
                    commands.push((
                        shard,
                        DeleteRecordsCommand {
                            token,
                            partitions: Vec::new(),
                        },
                    ));
                    gather.places.push(Vec::new());
                    commands.len() - 1
                });
            gather.places[part].push(place);
            let key = PartitionKey {
                topic_id: TopicId(found.id.0),
                partition: partition.partition_index,
            };
            commands[part].1.partitions.push((key, partition.offset));
        }
        gather.response.topics.push(answer);
    }
    if commands.is_empty() {
        core.respond(meta, &gather.response);
        return Ok(());
    }
    core.wait(meta, Gather::DeleteRecords(gather), commands.len() as u32);
    for (shard, command) in commands {
        core.send_to_shard(shard, Event::DeleteRecords(command));
    }
    Ok(())
}

pub fn absorb(
    gather: &mut DeleteRecordsGather,
    token: RequestToken,
    replies: &[DeleteRecordsPartitionReply],
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
        answer.low_watermark = reply.low_watermark;
    }
}

pub fn finish(core: &mut Core, meta: RequestMeta, gather: &DeleteRecordsGather) {
    core.respond(meta, &gather.response);
}
