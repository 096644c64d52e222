//! GetTelemetrySubscriptions (key 71) and PushTelemetry (key 72), version 0 (KIP-714): what metrics a client is to push, and the
//! pushes. ApiVersions shows them only once a subscription is configured; they are served all the same, so that a client that
//! knew of them is told that nothing is wanted any more. Both go to the core of the client instance (`../telemetry`).

use super::super::request::{FrameRefusal, Request, RequestMeta, read_body};
use super::super::telemetry::clients::ClientFacts;
use super::super::telemetry::{self, TelemetryAnswer, TelemetryAsk, TelemetryCall};
use super::super::{Core, Gather, Mail};
use odradek_protocol::messages::{
    GetTelemetrySubscriptionsRequest, PushTelemetryRequest, PushTelemetryResponse,
};
use odradek_protocol::{ErrorCode, Uuid};

pub fn get_subscriptions(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: GetTelemetrySubscriptionsRequest = read_body(&mut request)?;
    let id = match body.client_instance_id {
        Uuid::ZERO => telemetry::new_id(core),
        id => id,
    };
    ask(core, request.meta, id, TelemetryAsk::Subscriptions);
    Ok(())
}

pub fn push(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: PushTelemetryRequest = read_body(&mut request)?;
    if is_reserved(body.client_instance_id) {
        answer_push(core, request.meta, ErrorCode::InvalidRequest);
        return Ok(());
    }
    let push = TelemetryAsk::Push {
        subscription_id: body.subscription_id,
        terminating: body.terminating,
        compression: body.compression_type,
        metrics: body.metrics,
    };
    ask(core, request.meta, body.client_instance_id, push);
    Ok(())
}

/// Ids that Kafka gives to nothing: below 100 in the low half.
fn is_reserved(id: Uuid) -> bool {
    id.0[..15].iter().all(|byte| *byte == 0) && id.0[15] < 100
}

fn ask(core: &mut Core, meta: RequestMeta, id: Uuid, ask: TelemetryAsk) {
    let facts = facts(core, &meta);
    if let Some(connection) = core.connection(meta.connection) {
        connection.client_instance = Some(id);
    }
    let token = core.token(&meta, 0);
    let to = telemetry::owner(core, id);
    core.wait(meta, Gather::Telemetry, 1);
    let call = Box::new(TelemetryCall { id, facts, ask });
    core.send_to_core(to, Mail::Telemetry { token, call });
}

fn facts(core: &mut Core, meta: &RequestMeta) -> ClientFacts {
    let client_id = meta.client_id.as_deref().map(str::to_string);
    let Some(connection) = core.connection(meta.connection) else {
        return ClientFacts::default();
    };
    let software = connection.software.as_ref();
    ClientFacts {
        client_id,
        software_name: software.map(|(name, _)| name.to_string()),
        software_version: software.map(|(_, version)| version.to_string()),
        address: connection.peer.ip().to_string(),
        port: connection.peer.port().to_string(),
    }
}

pub fn finish(core: &mut Core, meta: RequestMeta, answer: TelemetryAnswer) {
    match answer {
        TelemetryAnswer::Subscriptions(response) => core.respond(meta, &*response),
        TelemetryAnswer::Pushed(error) => answer_push(core, meta, error),
    }
}

fn answer_push(core: &mut Core, meta: RequestMeta, error: ErrorCode) {
    let response = PushTelemetryResponse {
        error_code: error.code(),
        ..PushTelemetryResponse::default()
    };
    core.respond(meta, &response);
}
