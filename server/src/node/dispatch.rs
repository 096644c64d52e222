//! From a frame to its handler (P2), and from answers to the requests they belong to (P7). The one `match` over API keys:
//! what it names is served, and `served` tells ApiVersions the same.

use super::api;
use super::controller_call::ControllerAnswer;
use super::request::{self, FrameRefusal, Request, RequestMeta};
use super::telemetry::TelemetryAnswer;
use super::{Core, Gather};
use crate::machine::{ConnectionId, LogLevel};
use bytes::Bytes;
use odradek_protocol::api::{API_TABLE, Api, ApiKey};
use odradek_shard::{Reply, RequestToken};

/// Takes one frame; a refusal closes the connection.
pub fn frame(
    core: &mut Core,
    (connection, listener, sequence, id): (ConnectionId, u16, u64, u64),
    mut frame: Bytes,
) -> Result<(), FrameRefusal> {
    let bytes = frame.len() as u64;
    let start = request::frame_start(&frame)?;
    let controller = core.options.listeners[usize::from(listener)].controller;
    if start.api == ApiKey::Produce
        && !controller
        && api_row(start.api).versions().contains(start.version)
    {
        let ids = (connection, listener, sequence, id);
        match api::produce::take_single(core, ids, start.version, frame) {
            Some(other) => frame = other,
            None => return Ok(()),
        }
    }
    if !served(start.api, controller) {
        return Err(FrameRefusal::UnknownApi(start.api as i16));
    }
    let row = api_row(start.api);
    let supported = row.versions().contains(start.version);
    if !supported && start.api != ApiKey::ApiVersions {
        return Err(FrameRefusal::UnsupportedVersion(start.api, start.version));
    }
    if !supported {
        return api::api_versions::refuse_version(
            core,
            (connection, listener, sequence, id),
            &frame,
        );
    }
    let (header, body) = request::read_header(frame, &start)?;
    core.metrics.requested(start.api, bytes);
    let meta = RequestMeta {
        id,
        connection,
        sequence,
        api: start.api,
        version: start.version,
        correlation_id: header.correlation_id,
        client_id: header.client_id,
        listener,
        received_us: core.now().monotonic_us,
    };
    handle(core, Request { meta, body })
}

/// The row of an API in the one table.
pub fn api_row(api: ApiKey) -> &'static Api {
    let row = API_TABLE.iter().find(|row| row.key == api);
    row.expect("every key has its row")
}

/// Whether a listener of this kind serves the API: what ApiVersions advertises.
pub fn served(api: ApiKey, controller_listener: bool) -> bool {
    let row = api_row(api);
    let here = if controller_listener {
        row.listeners.controller
    } else {
        row.listeners.broker
    };
    here && has_handler(api, controller_listener)
}

fn has_handler(api: ApiKey, controller_listener: bool) -> bool {
    use ApiKey as K;
    match api {
        K::ApiVersions | K::DescribeCluster | K::DescribeConfigs => true,
        K::CreateTopics
        | K::DeleteTopics
        | K::CreatePartitions
        | K::AlterConfigs
        | K::IncrementalAlterConfigs => true,
        K::UpdateFeatures | K::DescribeQuorum => true,
        K::BrokerRegistration | K::BrokerHeartbeat | K::AllocateProducerIds => controller_listener,
        K::Vote | K::BeginQuorumEpoch | K::EndQuorumEpoch | K::FetchSnapshot => controller_listener,
        // Of topics from a broker, of the metadata log from a controller.
        K::Fetch => true,
        K::Produce
        | K::ListOffsets
        | K::OffsetForLeaderEpoch
        | K::Metadata
        | K::DescribeTopicPartitions => !controller_listener,
        K::DeleteRecords | K::DescribeProducers | K::DescribeLogDirs | K::ListConfigResources => {
            !controller_listener
        }
        K::FindCoordinator | K::JoinGroup | K::SyncGroup | K::Heartbeat | K::LeaveGroup => {
            !controller_listener
        }
        K::OffsetCommit | K::OffsetFetch | K::OffsetDelete => !controller_listener,
        K::DescribeGroups | K::ListGroups | K::DeleteGroups => !controller_listener,
        K::InitProducerId => !controller_listener,
        K::GetTelemetrySubscriptions | K::PushTelemetry => !controller_listener,
        _ => false,
    }
}

fn handle(core: &mut Core, request: Request) -> Result<(), FrameRefusal> {
    use ApiKey as K;
    let listener = &core.options.listeners[usize::from(request.meta.listener)];
    match request.meta.api {
        K::Fetch if listener.controller => api::controller::handle(core, request),
        K::Produce => api::produce::handle(core, request),
        K::Fetch => api::fetch::handle(core, request),
        K::ListOffsets => api::list_offsets::handle(core, request),
        K::OffsetForLeaderEpoch => api::offset_for_leader_epoch::handle(core, request),
        K::Metadata => api::metadata::handle(core, request),
        K::DescribeTopicPartitions => api::describe_topic_partitions::handle(core, request),
        K::DeleteRecords => api::delete_records::handle(core, request),
        K::DescribeProducers => api::describe_producers::handle(core, request),
        K::DescribeLogDirs => api::describe_log_dirs::handle(core, request),
        K::ApiVersions => api::api_versions::handle(core, request),
        K::DescribeCluster => api::describe_cluster::handle(core, request),
        K::IncrementalAlterConfigs => api::alter_configs::handle(core, request),
        K::DescribeConfigs => api::describe_configs::handle(core, request),
        K::ListConfigResources => api::list_config_resources::handle(core, request),
        K::FindCoordinator => api::find_coordinator::handle(core, request),
        K::GetTelemetrySubscriptions => api::telemetry::get_subscriptions(core, request),
        K::PushTelemetry => api::telemetry::push(core, request),
        K::InitProducerId => api::init_producer_id::handle(core, request),
        K::JoinGroup
        | K::SyncGroup
        | K::Heartbeat
        | K::LeaveGroup
        | K::OffsetCommit
        | K::OffsetFetch
        | K::OffsetDelete
        | K::DescribeGroups
        | K::ListGroups
        | K::DeleteGroups => api::groups::handle(core, request),
        K::CreateTopics
        | K::DeleteTopics
        | K::CreatePartitions
        | K::AlterConfigs
        | K::UpdateFeatures
        | K::DescribeQuorum
        | K::Vote
        | K::BeginQuorumEpoch
        | K::EndQuorumEpoch
        | K::FetchSnapshot
        | K::BrokerRegistration
        | K::BrokerHeartbeat
        | K::AllocateProducerIds => api::controller::handle(core, request),
        other => Err(FrameRefusal::UnknownApi(other as i16)),
    }
}

/// A shard's answer for a request of this core. One whose client is gone is dropped.
pub fn shard_reply(core: &mut Core, token: RequestToken, reply: Reply) {
    let Some(mut pending) = core.pending.remove(&token.request) else {
        return;
    };
    let mut events = Vec::new();
    let (gather, reply) = match (pending.gather, reply) {
        (Gather::SingleProduce(single), Reply::Produce(replies)) => {
            return api::produce::finish_single(core, pending.meta, single, token, replies);
        }
        other => other,
    };
    pending.gather = gather;
    match (&mut pending.gather, reply) {
        (Gather::Produce(gather), Reply::Produce(replies)) => {
            api::produce::absorb(gather, token, replies)
        }
        (Gather::Fetch(gather), Reply::Fetch(reply)) => {
            events = api::fetch::absorb(gather, token, reply)
        }
        (Gather::ListOffsets(gather), Reply::ListOffsets(replies)) => {
            api::list_offsets::absorb(gather, token, &replies)
        }
        (Gather::Epochs(gather), Reply::OffsetForLeaderEpoch(replies)) => {
            api::offset_for_leader_epoch::absorb(gather, token, &replies);
        }
        (Gather::DeleteRecords(gather), Reply::DeleteRecords(replies)) => {
            api::delete_records::absorb(gather, token, &replies)
        }
        (Gather::Producers(gather), Reply::DescribeProducers(replies)) => {
            api::describe_producers::absorb(gather, token, replies);
        }
        (Gather::LogDirs(gather), Reply::DescribeLogDirs(replies)) => {
            api::describe_log_dirs::absorb(gather, replies)
        }
        (Gather::Groups(gather), Reply::Group(response)) => {
            api::groups::absorb(gather, token, response)
        }
        (_, reply) => {
            core.log(
                LogLevel::Error,
                format!("a shard answered a request with something else: {reply:?}"),
            );
            core.answer_nothing(&pending.meta, true);
            return;
        }
    }
    if pending.part_arrived() {
        finish(core, pending.meta, pending.gather);
    } else {
        core.pending.insert(token.request, pending);
    }
    for (shard, event) in events {
        core.send_to_shard(shard, event);
    }
}

fn finish(core: &mut Core, meta: RequestMeta, gather: Gather) {
    match gather {
        Gather::Produce(gather) => api::produce::finish(core, meta, gather),
        Gather::Fetch(gather) => api::fetch::finish(core, meta, *gather),
        Gather::ListOffsets(gather) => api::list_offsets::finish(core, meta, gather),
        Gather::Epochs(gather) => api::offset_for_leader_epoch::finish(core, meta, &gather),
        Gather::DeleteRecords(gather) => api::delete_records::finish(core, meta, &gather),
        Gather::Producers(gather) => api::describe_producers::finish(core, meta, &gather),
        Gather::LogDirs(gather) => api::describe_log_dirs::finish(core, meta, gather),
        Gather::Groups(gather) => api::groups::finish(core, meta, *gather),
        Gather::SingleProduce(_)
        | Gather::Controller(_)
        | Gather::Creation(_)
        | Gather::Telemetry => {
            unreachable!("no shard answers these, or not so")
        }
    }
}

/// What a client instance's core answers for a request of this core.
pub fn telemetry_reply(core: &mut Core, token: RequestToken, answer: TelemetryAnswer) {
    if let Some(pending) = core.pending.remove(&token.request) {
        api::telemetry::finish(core, pending.meta, answer);
    }
}

/// The controller's answer for a request of this core.
pub fn controller_reply(core: &mut Core, token: RequestToken, answer: ControllerAnswer) {
    if let ControllerAnswer::ProducerIds(block) = answer {
        api::init_producer_id::on_block(core, block);
        return;
    }
    let Some(pending) = core.pending.remove(&token.request) else {
        return;
    };
    match (pending.gather, answer) {
        (Gather::Controller(gather), answer) => {
            api::controller::finish(core, pending.meta, gather, answer)
        }
        (Gather::Creation(gather), ControllerAnswer::Created(topics)) => {
            api::auto_create::finish(core, pending.meta, gather, &topics);
        }
        (_, answer) => {
            core.log(
                LogLevel::Error,
                format!("the controller answered a request with something else: {answer:?}"),
            );
            core.answer_nothing(&pending.meta, true);
        }
    }
}
