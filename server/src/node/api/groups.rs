//! The classic group APIs: OffsetCommit (8), OffsetFetch (9), JoinGroup (11), Heartbeat (12), LeaveGroup (13), SyncGroup (14),
//! DescribeGroups (15), ListGroups (16), DeleteGroups (42), OffsetDelete (47), every stable version. Requests go to the coordinator of
//! the group's partition of `__consumer_offsets`, split where one request names many groups; `shard::group` holds the behaviour.
//! Not done here: group protocols of KIP-848, share and streams groups (their issues).

use super::super::request::{FrameRefusal, Request, RequestMeta, read_body};
use super::super::{Core, Gather};
use super::find_coordinator::OFFSETS_TOPIC;
use super::{GROUP_OPERATIONS, OPERATIONS_NOT_ASKED};
use odradek_protocol::api::ApiKey;
use odradek_protocol::messages::delete_groups_response::DeletableGroupResult;
use odradek_protocol::messages::describe_groups_response::DescribedGroup;
use odradek_protocol::messages::list_groups_response::ListedGroup;
use odradek_protocol::messages::offset_commit_response::OffsetCommitResponseTopic;
use odradek_protocol::messages::offset_delete_response::OffsetDeleteResponseTopic;
use odradek_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponseTopics,
};
use odradek_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, ListGroupsResponse,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};
use odradek_protocol::{ErrorCode, StrBytes, Uuid};
use odradek_raft::image::MetadataImage;
use odradek_shard::command::GroupCommand;
use odradek_shard::group::{ClientContext, GroupRequest, GroupResponse, partition_for, wire};
use odradek_shard::{Event, RequestToken};
use std::sync::Arc;

/// What a group request gathers.
pub struct GroupsGather {
    /// Topics that were refused before the coordinator saw them.
    refused: Refused,
    /// Answers by part.
    answers: Vec<Option<GroupResponse>>,
    /// Whether authorised operations were asked for.
    operations: bool,
}

enum Refused {
    Nothing,
    Commit(Vec<OffsetCommitResponseTopic>),
    Delete(Vec<OffsetDeleteResponseTopic>),
    /// By part.
    Fetch(Vec<Vec<OffsetFetchResponseTopics>>),
}

/// Topic names and ids for the coordinator's wire rules.
struct ImageTopics<'a>(&'a MetadataImage);

impl wire::Topics for ImageTopics<'_> {
    fn name_of(&self, id: Uuid) -> Option<StrBytes> {
        self.0
            .topics
            .by_id(id)
            .map(|topic| StrBytes::from(topic.name()))
    }

    fn id_of(&self, name: &str) -> Option<Uuid> {
        self.0.topics.by_name(name).map(|topic| topic.id())
    }

    fn partitions_of(&self, name: &str) -> Option<i32> {
        self.0
            .topics
            .by_name(name)
            .map(|topic| topic.partition_count())
    }
}

/// A request for one coordinator partition.
type Part = (i32, GroupRequest);

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let version = request.meta.version;
    let image: Arc<MetadataImage> = core.image.clone();
    let topics = ImageTopics(&image);
    let place = |group: &StrBytes| {
        let partitions = image
            .topics
            .by_name(OFFSETS_TOPIC)
            .map_or(1, |topic| topic.partition_count());
        partition_for(group, partitions)
    };
    let mut refused = Refused::Nothing;
    let mut operations = false;
    let parts: Vec<Part> = match request.meta.api {
        ApiKey::JoinGroup => {
            let body: JoinGroupRequest = read_body(&mut request)?;
            vec![(place(&body.group_id), GroupRequest::Join(body))]
        }
        ApiKey::SyncGroup => {
            let body: SyncGroupRequest = read_body(&mut request)?;
            vec![(place(&body.group_id), GroupRequest::Sync(body))]
        }
        ApiKey::Heartbeat => {
            let body: HeartbeatRequest = read_body(&mut request)?;
            vec![(place(&body.group_id), GroupRequest::Heartbeat(body))]
        }
        ApiKey::LeaveGroup => {
            let body: LeaveGroupRequest = read_body(&mut request)?;
            vec![(place(&body.group_id), GroupRequest::Leave(body))]
        }
        ApiKey::OffsetCommit => {
            let mut body: OffsetCommitRequest = read_body(&mut request)?;
            refused = Refused::Commit(wire::split_commit(&mut body, version, &topics));
            vec![(place(&body.group_id), GroupRequest::OffsetCommit(body))]
        }
        ApiKey::OffsetDelete => {
            let mut body: OffsetDeleteRequest = read_body(&mut request)?;
            refused = Refused::Delete(wire::split_delete(&mut body, &topics));
            vec![(place(&body.group_id), GroupRequest::OffsetDelete(body))]
        }
        ApiKey::OffsetFetch => {
            let body: OffsetFetchRequest = read_body(&mut request)?;
            let require_stable = body.require_stable;
            let mut refused_topics = Vec::new();
            let groups = wire::fetch_groups(body, version)
                .into_iter()
                .map(|mut group| {
                    refused_topics.push(wire::split_fetch(&mut group, version, &topics));
                    (
                        place(&group.group_id),
                        GroupRequest::OffsetFetch {
                            group,
                            require_stable,
                        },
                    )
                });
            let parts = groups.collect();
            refused = Refused::Fetch(refused_topics);
            parts
        }
        ApiKey::DescribeGroups => {
            let body: DescribeGroupsRequest = read_body(&mut request)?;
            operations = body.include_authorized_operations;
            by_partition(body.groups, place, GroupRequest::Describe)
        }
        ApiKey::DeleteGroups => {
            let body: DeleteGroupsRequest = read_body(&mut request)?;
            by_partition(body.groups_names, place, GroupRequest::Delete)
        }
        _ => list_parts(&mut request, &image)?,
    };
    send(core, request.meta, parts, (refused, operations));
    Ok(())
}

fn by_partition(
    groups: Vec<StrBytes>,
    place: impl Fn(&StrBytes) -> i32,
    make: impl Fn(Vec<StrBytes>) -> GroupRequest,
) -> Vec<Part> {
    let mut parts: Vec<(i32, Vec<StrBytes>)> = Vec::new();
    for group in groups {
        let partition = place(&group);
        match parts.iter_mut().find(|(other, _)| *other == partition) {
            Some((_, list)) => list.push(group),
            None => parts.push((partition, vec![group])),
        }
    }
    parts
        .into_iter()
        .map(|(partition, list)| (partition, make(list)))
        .collect()
}

/// ListGroups asks every partition of the offsets topic; none when it does not exist.
fn list_parts(request: &mut Request, image: &MetadataImage) -> Result<Vec<Part>, FrameRefusal> {
    let body: ListGroupsRequest = read_body(request)?;
    let partitions = image
        .topics
        .by_name(OFFSETS_TOPIC)
        .map_or(0, |topic| topic.partition_count());
    let part = |partition| {
        let request = GroupRequest::List {
            states: body.states_filter.clone(),
            types: body.types_filter.clone(),
        };
        (partition, request)
    };
    Ok((0..partitions).map(part).collect())
}

fn send(
    core: &mut Core,
    meta: RequestMeta,
    parts: Vec<Part>,
    (refused, operations): (Refused, bool),
) {
    let gather = GroupsGather {
        refused,
        answers: parts.iter().map(|_| None).collect(),
        operations,
    };
    if parts.is_empty() {
        finish(core, meta, gather);
        return;
    }
    let offsets_topic = core.topic_by_name(OFFSETS_TOPIC).map(|topic| topic.id);
    let peer = core
        .connection(meta.connection)
        .map(|connection| connection.peer.ip().to_string());
    let context = ClientContext {
        api_version: meta.version,
        client_id: meta.client_id.clone().unwrap_or_default(),
        client_host: StrBytes::from(format!("/{}", peer.unwrap_or_default())),
    };
    let tokens: Vec<RequestToken> = (0..parts.len())
        .map(|part| core.token(&meta, part as u32))
        .collect();
    let Some(topic_id) = offsets_topic else {
        let mut gather = gather;
        for ((_, request), answer) in parts.iter().zip(&mut gather.answers) {
            *answer = Some(request.refuse(meta.version, ErrorCode::NotCoordinator));
        }
        finish(core, meta, gather);
        return;
    };
    core.wait(meta, Gather::Groups(Box::new(gather)), parts.len() as u32);
    for ((partition, request), token) in parts.into_iter().zip(tokens) {
        let shard = core.shard_of(topic_id, partition);
        let command = GroupCommand {
            token,
            partition,
            context: context.clone(),
            request,
        };
        core.send_to_shard(shard, Event::Group(command));
    }
}

pub fn absorb(gather: &mut GroupsGather, token: RequestToken, response: GroupResponse) {
    gather.answers[token.part as usize] = Some(response);
}

pub fn finish(core: &mut Core, meta: RequestMeta, gather: GroupsGather) {
    match meta.api {
        ApiKey::DescribeGroups => return finish_describe(core, meta, gather),
        ApiKey::ListGroups => return finish_list(core, meta, gather),
        ApiKey::DeleteGroups => return finish_delete(core, meta, gather),
        ApiKey::OffsetFetch => return finish_fetch(core, meta, gather),
        _ => {}
    }
    let answer = gather.answers.into_iter().next().flatten();
    match (answer, gather.refused) {
        (Some(GroupResponse::Join(response)), _) => core.respond(meta, &response),
        (Some(GroupResponse::Sync(response)), _) => core.respond(meta, &response),
        (Some(GroupResponse::Heartbeat(response)), _) => core.respond(meta, &response),
        (Some(GroupResponse::Leave(response)), _) => core.respond(meta, &response),
        (Some(GroupResponse::OffsetCommit(response)), Refused::Commit(refused)) => {
            core.respond(meta, &wire::join_commit(refused, response));
        }
        (Some(GroupResponse::OffsetDelete(response)), Refused::Delete(refused)) => {
            core.respond(meta, &wire::join_delete(refused, response));
        }
        _ => core.answer_nothing(&meta, true),
    }
}

fn finish_fetch(core: &mut Core, meta: RequestMeta, gather: GroupsGather) {
    let Refused::Fetch(refused) = gather.refused else {
        core.answer_nothing(&meta, true);
        return;
    };
    let image = core.image.clone();
    let answers = gather.answers.into_iter().zip(refused);
    let groups: Vec<OffsetFetchResponseGroup> = answers
        .filter_map(|(answer, refused)| match answer {
            Some(GroupResponse::OffsetFetch(group)) => Some(wire::join_fetch(
                refused,
                group,
                meta.version,
                &ImageTopics(&image),
            )),
            _ => None,
        })
        .collect();
    let response = wire::fetch_response(groups, meta.version);
    core.respond(meta, &response);
}

fn finish_describe(core: &mut Core, meta: RequestMeta, gather: GroupsGather) {
    let operations = if gather.operations {
        GROUP_OPERATIONS
    } else {
        OPERATIONS_NOT_ASKED
    };
    let mut groups: Vec<DescribedGroup> = Vec::new();
    for answer in gather.answers.into_iter().flatten() {
        if let GroupResponse::Describe(described) = answer {
            groups.extend(described);
        }
    }
    for group in &mut groups {
        group.authorized_operations = operations;
    }
    let response = DescribeGroupsResponse {
        groups,
        ..DescribeGroupsResponse::default()
    };
    core.respond(meta, &response);
}

fn finish_list(core: &mut Core, meta: RequestMeta, gather: GroupsGather) {
    let mut listed: Vec<ListedGroup> = Vec::new();
    let mut failed = ErrorCode::None;
    for answer in gather.answers.into_iter().flatten() {
        if let GroupResponse::List { error, groups } = answer {
            listed.extend(groups);
            // A partition that is loading makes the list incomplete, and the client asks again.
            if error == ErrorCode::CoordinatorLoadInProgress {
                failed = error;
            }
        }
    }
    let response = ListGroupsResponse {
        error_code: failed.code(),
        groups: if failed == ErrorCode::None {
            listed
        } else {
            Vec::new()
        },
        ..ListGroupsResponse::default()
    };
    core.respond(meta, &response);
}

fn finish_delete(core: &mut Core, meta: RequestMeta, gather: GroupsGather) {
    let mut results: Vec<DeletableGroupResult> = Vec::new();
    for answer in gather.answers.into_iter().flatten() {
        if let GroupResponse::Delete(deleted) = answer {
            results.extend(deleted);
        }
    }
    let response = DeleteGroupsResponse {
        results,
        ..DeleteGroupsResponse::default()
    };
    core.respond(meta, &response);
}
