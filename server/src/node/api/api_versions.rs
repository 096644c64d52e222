//! ApiVersions (key 18), versions 0-4: what this listener serves. An unknown version is answered in version 0 with
//! UNSUPPORTED_VERSION and the range of ApiVersions itself, so that the client tries again (KIP-511).
//! Produce is advertised from 0 on a broker's listener, since librdkafka looks for it; requests below 3 are refused.

use super::super::Core;
use super::super::dispatch::served;
use super::super::request::{FrameRefusal, Request, RequestMeta, read_body};
use super::super::telemetry;
use crate::machine::ConnectionId;
use odradek_protocol::api::{API_TABLE, ApiKey};
use odradek_protocol::messages::ApiVersionsRequest;
use odradek_protocol::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use odradek_protocol::{ErrorCode, StrBytes};
use odradek_raft::controller::SUPPORTED_FEATURES;

/// From this version on features whose lowest level is 0 are listed; older clients refuse a 0.
const ZERO_MINIMUM_VERSION: i16 = 4;
/// From this version on a client names its software.
const SOFTWARE_VERSION: i16 = 3;

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: ApiVersionsRequest = read_body(&mut request)?;
    let meta = request.meta;
    if meta.version >= SOFTWARE_VERSION {
        let valid = is_software_text(&body.client_software_name)
            && is_software_text(&body.client_software_version);
        if !valid {
            let response = ApiVersionsResponse {
                error_code: ErrorCode::InvalidRequest.code(),
                ..ApiVersionsResponse::default()
            };
            core.respond(meta, &response);
            return Ok(());
        }
        let software = (
            body.client_software_name.detached(),
            body.client_software_version.detached(),
        );
        if let Some(connection) = core.connection(meta.connection) {
            connection.software = Some(software);
        }
    }
    let response = response(core, &meta);
    core.respond(meta, &response);
    Ok(())
}

/// Answers a version we lack in version 0. The header's correlation id stands at the same place in every version.
pub fn refuse_version(
    core: &mut Core,
    (connection, listener, sequence, id): (ConnectionId, u16, u64, u64),
    frame: &[u8],
) -> Result<(), FrameRefusal> {
    let correlation = frame
        .get(4..8)
        .and_then(|bytes| bytes.first_chunk::<4>().copied());
    let meta = RequestMeta {
        id,
        connection,
        sequence,
        api: ApiKey::ApiVersions,
        version: 0,
        correlation_id: i32::from_be_bytes(correlation.ok_or(FrameRefusal::UnknownApi(-1))?),
        client_id: None,
        listener,
        received_us: core.now().monotonic_us,
    };
    let own = API_TABLE.iter().find(|row| row.key == ApiKey::ApiVersions);
    let own = own.expect("ApiVersions has its row");
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![ApiVersion {
            api_key: ApiKey::ApiVersions as i16,
            min_version: own.min,
            max_version: own.max,
            ..ApiVersion::default()
        }],
        ..ApiVersionsResponse::default()
    };
    core.respond(meta, &response);
    Ok(())
}

fn response(core: &Core, meta: &RequestMeta) -> ApiVersionsResponse {
    let controller = core.options.listeners[usize::from(meta.listener)].controller;
    let subscribed = telemetry::is_subscribed(&core.image);
    let api_keys = API_TABLE
        .iter()
        .filter(|row| served(row.key, controller))
        .filter(|row| subscribed || !is_telemetry(row.key))
        .map(|row| ApiVersion {
            api_key: row.key as i16,
            min_version: if row.key == ApiKey::Produce {
                0
            } else {
                row.min
            },
            max_version: row.max,
            ..ApiVersion::default()
        });
    let supported = SUPPORTED_FEATURES
        .iter()
        .filter(|feature| feature.min > 0 || meta.version >= ZERO_MINIMUM_VERSION)
        .map(|feature| SupportedFeatureKey {
            name: StrBytes::from_static(feature.name),
            min_version: feature.min,
            max_version: feature.max,
            ..SupportedFeatureKey::default()
        });
    let mut finalized: Vec<FinalizedFeatureKey> = core
        .image
        .features
        .iter()
        .map(|(name, level)| finalized_feature(name.clone(), *level))
        .collect();
    if core.options.kraft_version > 0 {
        finalized.push(finalized_feature(
            StrBytes::from_static("kraft.version"),
            core.options.kraft_version,
        ));
    }
    ApiVersionsResponse {
        api_keys: api_keys.collect(),
        supported_features: supported.collect(),
        finalized_features_epoch: core.image.offset,
        finalized_features: finalized,
        ..ApiVersionsResponse::default()
    }
}

/// Shown only while somebody wants clients' metrics; else every client would ask for nothing (KIP-714).
fn is_telemetry(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::GetTelemetrySubscriptions | ApiKey::PushTelemetry
    )
}

fn finalized_feature(name: StrBytes, level: i16) -> FinalizedFeatureKey {
    FinalizedFeatureKey {
        name,
        max_version_level: level,
        min_version_level: level,
        ..FinalizedFeatureKey::default()
    }
}

/// KIP-511: letters, digits, dots and dashes, beginning and ending with a letter or digit.
fn is_software_text(text: &str) -> bool {
    let inner = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
    let ends = [text.bytes().next(), text.bytes().last()];
    inner
        && ends
            .iter()
            .all(|byte| byte.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}
