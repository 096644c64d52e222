//! DescribeCluster (key 60), versions 0-2: cluster id and nodes. On a broker's listener the brokers (endpoint type 1), on the
//! controllers' listener the controllers (endpoint type 2, KIP-919); the other type is refused there.

use super::super::Core;
use super::super::request::{FrameRefusal, Request, read_body};
use super::{CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED};
use odradek_protocol::messages::DescribeClusterRequest;
use odradek_protocol::messages::describe_cluster_response::{
    DescribeClusterBroker, DescribeClusterResponse,
};
use odradek_protocol::{ErrorCode, StrBytes};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: DescribeClusterRequest = read_body(&mut request)?;
    let meta = request.meta;
    let controller = core.options.listeners[usize::from(meta.listener)].controller;
    let here = if controller { CONTROLLERS } else { BROKERS };
    if body.endpoint_type != here {
        let known = matches!(body.endpoint_type, BROKERS | CONTROLLERS);
        let error = if known {
            ErrorCode::MismatchedEndpointType
        } else {
            ErrorCode::UnsupportedEndpointType
        };
        let response = DescribeClusterResponse {
            error_code: error.code(),
            error_message: Some(StrBytes::from_static(
                "the request was sent to an endpoint of another type: --bootstrap-server names brokers, --bootstrap-controller controllers",
            )),
            ..DescribeClusterResponse::default()
        };
        core.respond(meta, &response);
        return Ok(());
    }
    let brokers = if controller {
        controllers(core, meta.listener)
    } else {
        brokers(core, meta.listener, body.include_fenced_brokers)
    };
    let response = DescribeClusterResponse {
        endpoint_type: here,
        cluster_id: StrBytes::from(core.options.cluster_id.as_str()),
        controller_id: if controller {
            core.options.node_id
        } else {
            brokers.first().map_or(-1, |broker| broker.broker_id)
        },
        brokers,
        cluster_authorized_operations: if body.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_NOT_ASKED
        },
        ..DescribeClusterResponse::default()
    };
    core.respond(meta, &response);
    Ok(())
}

fn brokers(core: &Core, listener: u16, fenced_too: bool) -> Vec<DescribeClusterBroker> {
    let brokers = core.all_broker_endpoints(listener);
    brokers
        .into_iter()
        .filter(|broker| fenced_too || !broker.fenced)
        .map(|broker| DescribeClusterBroker {
            broker_id: broker.id,
            host: StrBytes::from(broker.host),
            port: i32::from(broker.port),
            rack: broker.rack.map(StrBytes::from),
            is_fenced: broker.fenced,
            ..DescribeClusterBroker::default()
        })
        .collect()
}

fn controllers(core: &Core, listener: u16) -> Vec<DescribeClusterBroker> {
    let own = &core.options.listeners[usize::from(listener)];
    let controllers = core.image.controllers.values();
    controllers
        .filter_map(|controller| {
            let listener = controller
                .listeners
                .iter()
                .find(|listener| *listener.name == *own.name)?;
            Some(DescribeClusterBroker {
                broker_id: controller.id,
                host: listener.host.clone(),
                port: i32::from(listener.port),
                ..DescribeClusterBroker::default()
            })
        })
        .collect()
}
