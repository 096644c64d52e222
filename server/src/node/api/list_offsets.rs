//! ListOffsets (key 2), versions 1-11: offsets by time and by the sentinels -1 to -6. Split by owning shard.
//! Not done here: tiered storage, so -5 and -6 find nothing, as in Kafka without it.

use super::super::request::{FrameRefusal, Request, RequestMeta, read_body};
use super::super::{Core, Gather};
use odradek_protocol::ErrorCode;
use odradek_protocol::messages::ListOffsetsRequest;
use odradek_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use odradek_shard::command::{
    Isolation, ListOffsetsCommand, ListOffsetsPartition, ListOffsetsPartitionReply, PartitionKey,
};
use odradek_shard::{Event, RequestToken};
use odradek_wal::TopicId;

/// Sentinels and the version each came with; below it, it is refused.
const SENTINELS: [(i64, i16); 6] = [(-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11)];

/// From this version on a response carries leader epochs.
const LEADER_EPOCH_VERSION: i16 = 4;

pub struct ListOffsetsGather {
    response: ListOffsetsResponse,
    /// By part: topic and partition positions in the answer.
    places: Vec<Vec<(u32, u32)>>,
}

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: ListOffsetsRequest = read_body(&mut request)?;
    let meta = request.meta;
    let isolation = if body.isolation_level == 1 {
        Isolation::ReadCommitted
    } else {
        Isolation::ReadUncommitted
    };
    let mut gather = ListOffsetsGather {
        response: ListOffsetsResponse::default(),
        places: Vec::new(),
    };
    let mut commands: Vec<(u16, ListOffsetsCommand)> = Vec::new();
    for topic in &body.topics {
        let found = core.topic_by_name(&topic.name);
        let mut answer = ListOffsetsTopicResponse {
            name: topic.name.clone(),
            ..ListOffsetsTopicResponse::default()
        };
        let topic_place = gather.response.topics.len() as u32;
        for partition in &topic.partitions {
            let place = (topic_place, answer.partitions.len() as u32);
            let exists = found
                .as_ref()
                .filter(|found| (0..found.partitions).contains(&partition.partition_index));
            let error = match exists {
                None => ErrorCode::UnknownTopicOrPartition,
                Some(_) if !is_served(partition.timestamp, meta.version) => {
                    ErrorCode::UnsupportedVersion
                }
                Some(_) => ErrorCode::None,
            };
            answer
                .partitions
                .push(refused(partition.partition_index, error));
            let Some(found) = exists.filter(|_| error == ErrorCode::None) else {
                continue;
            };
            let shard = core.shard_of(found.id, partition.partition_index);
            let part = commands
                .iter()
                .position(|(other, _)| *other == shard)
                .unwrap_or_else(|| {
                    let token = core.token(&meta, commands.len() as u32);
                    let command = ListOffsetsCommand {
                        token,
                        isolation,
                        partitions: Vec::new(),
                    };
                    commands.push((shard, command));
                    gather.places.push(Vec::new());
                    commands.len() - 1
                });
            gather.places[part].push(place);
            commands[part].1.partitions.push(ListOffsetsPartition {
                key: PartitionKey {
                    topic_id: TopicId(found.id.0),
                    partition: partition.partition_index,
                },
                current_leader_epoch: partition.current_leader_epoch,
                timestamp: partition.timestamp,
            });
        }
        gather.response.topics.push(answer);
    }
    if commands.is_empty() {
        core.respond(meta, &gather.response);
        return Ok(());
    }
    core.wait(meta, Gather::ListOffsets(gather), commands.len() as u32);
    for (shard, command) in commands {
        core.send_to_shard(shard, Event::ListOffsets(command));
    }
    Ok(())
}

/// Whether the timestamp means something in this version.
fn is_served(timestamp: i64, version: i16) -> bool {
    timestamp >= 0
        || SENTINELS
            .iter()
            .any(|(sentinel, since)| *sentinel == timestamp && version >= *since)
}

fn refused(partition_index: i32, error: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index,
        error_code: error.code(),
        timestamp: -1,
        offset: -1,
        leader_epoch: -1,
        ..ListOffsetsPartitionResponse::default()
    }
}

pub fn absorb(
    gather: &mut ListOffsetsGather,
    token: RequestToken,
    replies: &[ListOffsetsPartitionReply],
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
        answer.timestamp = reply.timestamp;
        answer.offset = reply.offset;
        answer.leader_epoch = reply.leader_epoch;
    }
}

pub fn finish(core: &mut Core, meta: RequestMeta, mut gather: ListOffsetsGather) {
    if meta.version < LEADER_EPOCH_VERSION {
        let topics = gather.response.topics.iter_mut();
        for partition in topics.flat_map(|topic| &mut topic.partitions) {
            partition.leader_epoch = -1;
        }
    }
    core.respond(meta, &gather.response);
}
