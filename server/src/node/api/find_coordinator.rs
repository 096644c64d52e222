//! FindCoordinator (key 10), versions 0-6: which broker leads a group's partition of `__consumer_offsets`.
//! The first question creates that topic. Not done here: transaction coordinators (key type 1) and share coordinators
//! (key type 2) come with their issues; asking for one is answered with UNSUPPORTED_VERSION, so that clients stop at once.

use super::super::Core;
use super::super::request::{FrameRefusal, Request, RequestMeta, read_body};
use super::auto_create::{self, Creation};
use odradek_protocol::messages::FindCoordinatorRequest;
use odradek_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use odradek_protocol::{ErrorCode, StrBytes};
use odradek_shard::group::partition_for;

pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// From this version on one request asks for many keys (KIP-699).
const BATCHED_VERSION: i16 = 4;
const GROUP_KEY_TYPE: i8 = 0;

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: FindCoordinatorRequest = read_body(&mut request)?;
    let meta = request.meta;
    if body.key_type == GROUP_KEY_TYPE && core.topic_by_name(OFFSETS_TOPIC).is_none() {
        auto_create::create(
            core,
            meta,
            Creation::Coordinator(body),
            vec![StrBytes::from_static(OFFSETS_TOPIC)],
        );
    } else {
        answer(core, meta, &body);
    }
    Ok(())
}

pub fn answer(core: &mut Core, meta: RequestMeta, body: &FindCoordinatorRequest) {
    if meta.version >= BATCHED_VERSION {
        let coordinators = body
            .coordinator_keys
            .iter()
            .map(|key| coordinator(core, &meta, body.key_type, key));
        let response = FindCoordinatorResponse {
            coordinators: coordinators.collect(),
            ..FindCoordinatorResponse::default()
        };
        core.respond(meta, &response);
        return;
    }
    let found = coordinator(core, &meta, body.key_type, &body.key);
    let response = FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    };
    core.respond(meta, &response);
}

fn coordinator(core: &Core, meta: &RequestMeta, key_type: i8, key: &StrBytes) -> Coordinator {
    match key_type {
        GROUP_KEY_TYPE => {}
        1 | 2 => {
            return refused(
                key,
                ErrorCode::UnsupportedVersion,
                "this version has no transaction or share coordinators",
            );
        }
        _ => return refused(key, ErrorCode::InvalidRequest, "no such coordinator type"),
    }
    let Some(topic) = core.topic_by_name(OFFSETS_TOPIC) else {
        return refused(
            key,
            ErrorCode::CoordinatorNotAvailable,
            "the offsets topic does not exist yet",
        );
    };
    let partition = partition_for(key, topic.partitions);
    let leader = core
        .leader_of(topic.id, partition)
        .map_or(-1, |(leader, _)| leader);
    let brokers = core.broker_endpoints(meta.listener);
    match brokers.into_iter().find(|broker| broker.id == leader) {
        Some(broker) => Coordinator {
            key: key.clone(),
            node_id: broker.id,
            host: StrBytes::from(broker.host),
            port: i32::from(broker.port),
            error_code: ErrorCode::None.code(),
            error_message: Some(if meta.version < BATCHED_VERSION {
                StrBytes::from_static("NONE")
            } else {
                StrBytes::EMPTY
            }),
            ..Coordinator::default()
        },
        None => refused(
            key,
            ErrorCode::CoordinatorNotAvailable,
            "its partition has no leader now",
        ),
    }
}

fn refused(key: &StrBytes, error: ErrorCode, message: &'static str) -> Coordinator {
    Coordinator {
        key: key.clone(),
        node_id: -1,
        host: StrBytes::EMPTY,
        port: -1,
        error_code: error.code(),
        error_message: Some(StrBytes::from_static(message)),
        ..Coordinator::default()
    }
}
