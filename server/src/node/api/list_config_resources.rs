//! ListConfigResources (key 74), versions 0-1: names of resources that have configurations (KIP-1142). Version 0 lists client
//! metrics subscriptions only.

use super::super::Core;
use super::super::request::{FrameRefusal, Request, read_body};
use odradek_protocol::messages::ListConfigResourcesRequest;
use odradek_protocol::messages::list_config_resources_response::{
    ConfigResource, ListConfigResourcesResponse,
};
use odradek_protocol::{ErrorCode, StrBytes};
use odradek_raft::image::resource_type::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};

const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: ListConfigResourcesRequest = read_body(&mut request)?;
    let meta = request.meta;
    let types: Vec<i8> = match meta.version {
        0 => vec![CLIENT_METRICS],
        _ if body.resource_types.is_empty() => ALL.to_vec(),
        _ => body.resource_types.clone(),
    };
    let mut response = ListConfigResourcesResponse::default();
    if types.iter().any(|wanted| !ALL.contains(wanted)) {
        response.error_code = ErrorCode::UnsupportedVersion.code();
        core.respond(meta, &response);
        return Ok(());
    }
    for wanted in ALL.into_iter().filter(|kind| types.contains(kind)) {
        let names: Vec<StrBytes> = match wanted {
            TOPIC => core
                .image
                .topics
                .iter()
                .map(|topic| StrBytes::from(topic.name()))
                .collect(),
            BROKER | BROKER_LOGGER => core
                .image
                .brokers
                .keys()
                .map(|id| StrBytes::from(id.to_string()))
                .collect(),
            _ => {
                let resources = core.image.configs.keys();
                resources
                    .filter(|resource| resource.resource_type == wanted)
                    .map(|resource| resource.name.clone())
                    .collect()
            }
        };
        response
            .config_resources
            .extend(names.into_iter().map(|resource_name| ConfigResource {
                resource_name,
                resource_type: wanted,
                ..ConfigResource::default()
            }));
    }
    core.respond(meta, &response);
    Ok(())
}
