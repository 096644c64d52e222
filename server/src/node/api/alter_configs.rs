//! IncrementalAlterConfigs (key 44), versions 0-1: log levels of this node (BROKER_LOGGER) are changed here, at once; every other resource
//! goes to the controller, and the answers are joined. AlterConfigs (33) knows no log levels and goes there whole.
//! The level itself is kept in `crate::log`.

use super::super::controller_call::ControllerCall;
use super::super::request::{FrameRefusal, Request, encode_body, read_body};
use super::super::{Core, Gather, METADATA_CORE, Mail};
use super::controller::{self, ControllerGather};
use crate::log::Level;
use bytes::{Bytes, BytesMut};
use odradek_protocol::codec::Reader;
use odradek_protocol::messages::IncrementalAlterConfigsRequest;
use odradek_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use odradek_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use odradek_protocol::{ErrorCode, StrBytes};
use odradek_raft::image::resource_type;
use std::collections::BTreeSet;

/// The one logger that there is.
pub const ROOT_LOGGER: &str = "root";

const SET: i8 = 0;
const DELETE: i8 = 1;

type Refused = (ErrorCode, String);

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let whole = Reader::new(request.body.rest());
    let mut body: IncrementalAlterConfigsRequest = read_body(&mut request)?;
    let is_logger =
        |resource: &AlterConfigsResource| resource.resource_type == resource_type::BROKER_LOGGER;
    if !body.resources.iter().any(is_logger) {
        request.body = whole;
        return controller::handle(core, request);
    }
    let meta = request.meta;
    let mut answered = Vec::new();
    for (place, resource) in body.resources.iter().enumerate() {
        if is_logger(resource) {
            let repeated = body
                .resources
                .iter()
                .filter(|other| is_logger(other) && other.resource_name == resource.resource_name);
            let outcome = match repeated.count() {
                1 => change_levels(core, resource, body.validate_only),
                _ => Err(invalid("Each resource must appear at most once.")),
            };
            answered.push((place, answer(resource, outcome)));
        }
    }
    body.resources.retain(|resource| !is_logger(resource));
    if body.resources.is_empty() {
        let responses = answered.into_iter().map(|(_, answer)| answer).collect();
        let response = IncrementalAlterConfigsResponse {
            responses,
            ..IncrementalAlterConfigsResponse::default()
        };
        core.respond(meta, &response);
        return Ok(());
    }
    let segments = encode_body(&body, meta.version).expect("what was decoded encodes");
    let call = ControllerCall::Client {
        api: meta.api,
        version: meta.version,
        body: joined(&segments),
        listener: meta.listener,
    };
    let token = core.token(&meta, 0);
    core.wait(meta, Gather::Controller(ControllerGather { answered }), 1);
    core.send_to_core(METADATA_CORE, Mail::Controller { token, call });
    Ok(())
}

/// Puts the answers given here among the controller's, each at its resource's place.
pub fn join(
    response: &mut IncrementalAlterConfigsResponse,
    answered: Vec<(usize, AlterConfigsResourceResponse)>,
) {
    for (place, answer) in answered {
        let place = place.min(response.responses.len());
        response.responses.insert(place, answer);
    }
}

pub(super) fn joined(segments: &[Bytes]) -> Bytes {
    if let [one] = segments {
        return one.clone();
    }
    let mut whole = BytesMut::with_capacity(segments.iter().map(Bytes::len).sum());
    for segment in segments {
        whole.extend_from_slice(segment);
    }
    whole.freeze()
}

/// Checks every change, then does them: all or none.
fn change_levels(
    core: &Core,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refused> {
    let name = &resource.resource_name;
    let Ok(id) = name.parse::<i32>() else {
        return Err(invalid(format!(
            "Node id is an integer, but received: {name}"
        )));
    };
    if id != core.options.node_id {
        return Err(invalid(format!(
            "Unexpected broker id, expected {}, but received {name}",
            core.options.node_id
        )));
    }
    let mut seen = BTreeSet::new();
    let mut level = None;
    for config in &resource.configs {
        if !seen.insert(&config.name) {
            return Err(invalid("Error due to duplicate config keys"));
        }
        level = Some(level_of(config)?);
    }
    match level {
        Some(level) if !validate_only => crate::log::set_level(level),
        _ => {}
    }
    Ok(())
}

fn level_of(config: &AlterableConfig) -> Result<Level, Refused> {
    let logger = &config.name;
    let unknown = || {
        let message = format!("Logger {logger} does not exist!");
        Err((ErrorCode::InvalidConfig, message))
    };
    match config.config_operation {
        SET => {
            let Some(value) = config.value.as_deref() else {
                return Err(invalid(format!("Null value not supported for : {logger}")));
            };
            if logger.as_str() != ROOT_LOGGER {
                return unknown();
            }
            Level::parse(value).ok_or_else(|| {
                let message = format!(
                    "Cannot set the log level of {logger} to {value} as it is not a supported log level. Valid log levels are {}",
                    Level::ALL.map(Level::name).join(", ")
                );
                (ErrorCode::InvalidConfig, message)
            })
        }
        DELETE if logger.as_str() != ROOT_LOGGER => unknown(),
        DELETE => Err(invalid(format!(
            "Removing the log level of the {ROOT_LOGGER} logger is not allowed"
        ))),
        other => Err(invalid(format!(
            "Operation {other} is not for the log level of a logger; set it (0)"
        ))),
    }
}

fn answer(
    resource: &AlterConfigsResource,
    outcome: Result<(), Refused>,
) -> AlterConfigsResourceResponse {
    let (error, message) = match outcome {
        Ok(()) => (ErrorCode::None, None),
        Err((error, message)) => (error, Some(StrBytes::from(message))),
    };
    AlterConfigsResourceResponse {
        error_code: error.code(),
        error_message: message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.detached(),
        ..AlterConfigsResourceResponse::default()
    }
}

fn invalid(message: impl Into<String>) -> Refused {
    (ErrorCode::InvalidRequest, message.into())
}
