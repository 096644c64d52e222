//! DescribeLogDirs (key 35), versions 1-5: sizes of all replicas by directory, asked of every shard and joined.
//! Not done here: future replicas (moves between directories come with the cluster issue) and cordoned directories.

use super::super::request::{FrameRefusal, Request, RequestMeta, read_body};
use super::super::{Core, Gather};
use odradek_protocol::messages::DescribeLogDirsRequest;
use odradek_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use odradek_protocol::{ErrorCode, StrBytes, Uuid};
use odradek_shard::Event;
use odradek_shard::command::LogDirectoryReply;
use std::collections::BTreeMap;

/// What is known of one directory so far.
#[derive(Default)]
struct DirectorySum {
    offline: bool,
    /// Topic id to partition and size.
    topics: BTreeMap<[u8; 16], Vec<(i32, i64)>>,
}

pub struct LogDirsGather {
    /// Topics asked for with their partitions; none asks for all.
    wanted: Option<BTreeMap<StrBytes, Vec<i32>>>,
    directories: BTreeMap<[u8; 16], DirectorySum>,
}

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: DescribeLogDirsRequest = read_body(&mut request)?;
    let meta = request.meta;
    let wanted = body.topics.map(|topics| {
        let mut wanted: BTreeMap<StrBytes, Vec<i32>> = BTreeMap::new();
        for topic in topics {
            wanted
                .entry(topic.topic)
                .or_default()
                .extend(topic.partitions);
        }
        wanted
    });
    let gather = LogDirsGather {
        wanted,
        directories: BTreeMap::new(),
    };
    let shards = core.options.shards;
    let tokens: Vec<_> = (0..shards)
        .map(|shard| core.token(&meta, u32::from(shard)))
        .collect();
    core.wait(meta, Gather::LogDirs(gather), u32::from(shards));
    for (shard, token) in (0..shards).zip(tokens) {
        core.send_to_shard(shard, Event::DescribeLogDirs(token));
    }
    Ok(())
}

pub fn absorb(gather: &mut LogDirsGather, replies: Vec<LogDirectoryReply>) {
    for reply in replies {
        let sum = gather.directories.entry(reply.directory.0).or_default();
        sum.offline |= reply.error != ErrorCode::None;
        for (key, bytes) in reply.replicas {
            sum.topics
                .entry(key.topic_id.0)
                .or_default()
                .push((key.partition, bytes));
        }
    }
}

pub fn finish(core: &mut Core, meta: RequestMeta, gather: LogDirsGather) {
    let mut response = DescribeLogDirsResponse::default();
    for (id, sum) in &gather.directories {
        let path = core
            .options
            .directories
            .iter()
            .find(|directory| directory.id.0 == *id);
        let space = path.and_then(|directory| directory.space.get());
        let path = path.map_or_else(String::new, |directory| directory.path.clone());
        response.results.push(DescribeLogDirsResult {
            error_code: if sum.offline {
                ErrorCode::KafkaStorageError.code()
            } else {
                ErrorCode::None.code()
            },
            log_dir: StrBytes::from(path),
            topics: if sum.offline {
                Vec::new()
            } else {
                topics(core, &gather.wanted, sum)
            },
            total_bytes: space.map_or(-1, |(total_bytes, _)| total_bytes),
            usable_bytes: space.map_or(-1, |(_, usable_bytes)| usable_bytes),
            ..DescribeLogDirsResult::default()
        });
    }
    core.respond(meta, &response);
}

fn topics(
    core: &Core,
    wanted: &Option<BTreeMap<StrBytes, Vec<i32>>>,
    sum: &DirectorySum,
) -> Vec<DescribeLogDirsTopic> {
    let mut topics = Vec::new();
    for (id, partitions) in &sum.topics {
        let Some(found) = core.topic_by_id(Uuid(*id)) else {
            continue;
        };
        let asked = match wanted {
            None => None,
            Some(wanted) => match wanted.get(&*found.name) {
                None => continue,
                Some(asked) => Some(asked),
            },
        };
        let mut partitions: Vec<DescribeLogDirsPartition> = partitions
            .iter()
            .filter(|(index, _)| asked.is_none_or(|asked| asked.contains(index)))
            .map(|(index, bytes)| DescribeLogDirsPartition {
                partition_index: *index,
                partition_size: *bytes,
                ..DescribeLogDirsPartition::default()
            })
            .collect();
        partitions.sort_by_key(|partition| partition.partition_index);
        topics.push(DescribeLogDirsTopic {
            name: StrBytes::from(&found.name),
            partitions,
            ..DescribeLogDirsTopic::default()
        });
    }
    topics.sort_by(|left, right| left.name.cmp(&right.name));
    topics
}
