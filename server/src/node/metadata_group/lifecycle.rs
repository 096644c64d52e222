//! This broker's own life on the controller (KIP-631): activation, registration, heartbeats, unfencing, controlled shutdown.
//! In a combined node the calls do not cross a socket; the records are the same.

use super::calls::own_token;
use super::{MetadataGroup, raft_now, wal_now, with_group};
use crate::machine::{LogLevel, MachineAction};
use crate::node::controller_call::ControllerAnswer;
use crate::node::{Core, Mail, status};
use bytes::Bytes;
use odradek_protocol::codec::Reader;
use odradek_protocol::messages::broker_registration_request::{
    BrokerRegistrationRequest, Feature, Listener,
};
use odradek_protocol::messages::controller_registration_request::{
    self, ControllerRegistrationRequest,
};
use odradek_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationResponse,
};
use odradek_protocol::{ErrorCode, Message, StrBytes, Uuid};
use odradek_raft::controller::SUPPORTED_FEATURES;
use std::collections::BTreeSet;

/// `part` of the token of this broker's own calls.
pub(super) const OWN_PART: u32 = u32::MAX;
/// Versions used for own calls: the newest.
const REGISTRATION_VERSION: i16 = 4;
const HEARTBEAT_VERSION: i16 = 2;
/// `broker.heartbeat.interval.ms` until dynamic values are read.
const HEARTBEAT_INTERVAL_US: u64 = 2_000_000;
/// While something is awaited (unfencing, shutdown) heartbeats come this often.
const EAGER_INTERVAL_US: u64 = 10_000;
/// A controlled shutdown that takes longer than this closes all the same: all is durable (case 7).
const SHUTDOWN_WAIT_US: u64 = 900_000;

/// How far the broker has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// No controller is active yet.
    #[default]
    Waiting,
    /// The registration is proposed.
    Registering,
    /// Registered and fenced.
    Fenced,
    /// Serving.
    Running,
    /// Leaving: leaderships move away.
    ShuttingDown,
    /// Logs are being closed.
    Closing,
}

/// State of this broker's life.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    stage: Stage,
    broker_epoch: Option<i64>,
    heartbeat_due_us: Option<u64>,
    heartbeat_out: bool,
    shutdown_since_us: Option<u64>,
    offline: BTreeSet<usize>,
    closed_cores: BTreeSet<u16>,
}

impl Lifecycle {
    pub fn next_deadline_us(&self) -> Option<u64> {
        let limit = self
            .shutdown_since_us
            .filter(|_| self.stage == Stage::ShuttingDown)
            .map(|since| since + SHUTDOWN_WAIT_US);
        [self.heartbeat_due_us, limit].into_iter().flatten().min()
    }

    /// The epoch that this process registered with.
    pub fn registered(&self) -> Option<i64> {
        self.broker_epoch
    }

    /// The same, -1 before.
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch.unwrap_or(-1)
    }
}

/// This node leads the metadata log, and all of it is replayed: the controller takes up its work, and a broker that was not
/// registered yet, or whose registration was lost with the last leadership, registers.
pub(super) fn on_leadership(core: &mut Core, group: &mut MetadataGroup) {
    activate(core, group);
    if group.lifecycle.stage == Stage::Waiting {
        group.lifecycle.stage = Stage::Registering;
        register(core, group);
    }
}

/// Nobody will answer this broker's call that was waiting for its records: it is made again once there is a leader.
pub(super) fn on_leadership_lost(core: &Core, group: &mut MetadataGroup) {
    let lifecycle = &mut group.lifecycle;
    if lifecycle.stage == Stage::Registering {
        lifecycle.stage = Stage::Waiting;
    }
    if std::mem::take(&mut lifecycle.heartbeat_out) {
        lifecycle.heartbeat_due_us = Some(core.now().monotonic_us + EAGER_INTERVAL_US);
    }
}

/// Moves the broker's life on.
pub(super) fn tick(core: &mut Core, group: &mut MetadataGroup) {
    let now_us = core.now().monotonic_us;
    let due = group
        .lifecycle
        .heartbeat_due_us
        .is_some_and(|due| due <= now_us);
    if due && !group.lifecycle.heartbeat_out {
        heartbeat(core, group);
    }
    let waited = group
        .lifecycle
        .shutdown_since_us
        .is_some_and(|since| now_us >= since + SHUTDOWN_WAIT_US);
    if waited && group.lifecycle.stage == Stage::ShuttingDown {
        core.log(
            LogLevel::Warn,
            "controlled shutdown took too long; closing the logs now, nothing acknowledged is lost",
        );
        close(core, group);
    }
}

/// The controller takes up its work: bootstrap records where the log is empty, its own registration.
fn activate(core: &mut Core, group: &mut MetadataGroup) {
    let context = group.context(core, 0);
    let epoch = group.epoch.expect("checked by the caller");
    let options = core.options.clone();
    let features: Vec<(&str, i16)> = options
        .bootstrap_features
        .iter()
        .map(|(name, level)| (name.as_str(), *level))
        .collect();
    let result = group.controller.activate(epoch, &features, &context);
    if let Err(reason) = group.propose(core, &result.records, result.atomic) {
        core.out.push(MachineAction::Exit {
            code: 1,
            reason: format!("the metadata log could not be opened: {reason}"),
        });
        return;
    }
    let request = controller_registration(core);
    let context = group.context(core, 0);
    let result = group.controller.register_controller(&request, &context);
    if let Err(reason) = group.propose(core, &result.records, result.atomic) {
        core.log(
            LogLevel::Warn,
            format!("the controller's registration was not written: {reason}"),
        );
    }
}

fn controller_registration(core: &Core) -> ControllerRegistrationRequest {
    let listeners = core
        .options
        .listeners
        .iter()
        .filter(|listener| listener.controller);
    ControllerRegistrationRequest {
        controller_id: core.options.node_id,
        incarnation_id: core.options.incarnation_id,
        zk_migration_ready: false,
        listeners: listeners
            .map(|listener| controller_registration_request::Listener {
                name: StrBytes::from(listener.name.as_str()),
                host: StrBytes::from(listener.advertised_host.as_str()),
                port: listener.advertised_port,
                security_protocol: 0,
                ..controller_registration_request::Listener::default()
            })
            .collect(),
        features: SUPPORTED_FEATURES
            .iter()
            .map(|feature| controller_registration_request::Feature {
                name: StrBytes::from_static(feature.name),
                min_supported_version: feature.min,
                max_supported_version: feature.max,
                ..controller_registration_request::Feature::default()
            })
            .collect(),
        ..ControllerRegistrationRequest::default()
    }
}

fn register(core: &mut Core, group: &mut MetadataGroup) {
    let listeners = core
        .options
        .listeners
        .iter()
        .filter(|listener| !listener.controller);
    let mut log_dirs: Vec<Uuid> = core
        .options
        .directories
        .iter()
        .map(|directory| directory.id)
        .collect();
    log_dirs.sort();
    let request = BrokerRegistrationRequest {
        broker_id: core.options.node_id,
        cluster_id: StrBytes::from(core.options.cluster_id.as_str()),
        incarnation_id: core.options.incarnation_id,
        listeners: listeners
            .map(|listener| Listener {
                name: StrBytes::from(listener.name.as_str()),
                host: StrBytes::from(listener.advertised_host.as_str()),
                port: listener.advertised_port,
                security_protocol: 0,
                ..Listener::default()
            })
            .collect(),
        features: SUPPORTED_FEATURES
            .iter()
            .map(|feature| Feature {
                name: StrBytes::from_static(feature.name),
                min_supported_version: feature.min,
                max_supported_version: feature.max,
                ..Feature::default()
            })
            .collect(),
        rack: core.options.rack.as_deref().map(StrBytes::from),
        is_migrating_zk_broker: false,
        log_dirs,
        previous_broker_epoch: core.options.previous_broker_epoch,
        ..BrokerRegistrationRequest::default()
    };
    let context = group.context(core, REGISTRATION_VERSION);
    let result = group.controller.register_broker(&request, &context);
    let answer = own_answer(&result.response, REGISTRATION_VERSION);
    let token = own_token(core);
    group.finish_with(core, token, &result.records, result.atomic, answer);
}

fn heartbeat(core: &mut Core, group: &mut MetadataGroup) {
    let shutting_down = group.lifecycle.stage == Stage::ShuttingDown;
    let offline = group.lifecycle.offline.iter();
    let request = BrokerHeartbeatRequest {
        broker_id: core.options.node_id,
        broker_epoch: group.lifecycle.broker_epoch(),
        current_metadata_offset: core.image.offset,
        want_fence: false,
        want_shut_down: shutting_down,
        offline_log_dirs: offline
            .filter_map(|index| core.options.directories.get(*index))
            .map(|directory| directory.id)
            .collect(),
        ..BrokerHeartbeatRequest::default()
    };
    let context = group.context(core, HEARTBEAT_VERSION);
    let result = group.controller.broker_heartbeat(&request, &context);
    let answer = own_answer(&result.response, HEARTBEAT_VERSION);
    group.lifecycle.heartbeat_out = true;
    group.lifecycle.heartbeat_due_us = None;
    let token = own_token(core);
    group.finish_with(core, token, &result.records, result.atomic, answer);
}

fn own_answer<M: Message>(response: &M, version: i16) -> ControllerAnswer {
    let segments =
        crate::node::request::encode_body(response, version).expect("an answer of ours encodes");
    ControllerAnswer::Body(segments)
}

/// The controller's answer to one of this broker's own calls, committed.
pub(super) fn on_answer(core: &mut Core, group: &mut MetadataGroup, answer: ControllerAnswer) {
    let ControllerAnswer::Body(segments) = answer else {
        core.out.push(MachineAction::Exit {
            code: 1,
            reason: format!("the controller refused this broker's own call: {answer:?}"),
        });
        return;
    };
    let body: Vec<u8> = segments.concat();
    if group.lifecycle.stage == Stage::Registering {
        on_registered(core, group, body);
    } else {
        on_heartbeat_answer(core, group, body);
    }
}

fn on_registered(core: &mut Core, group: &mut MetadataGroup, body: Vec<u8>) {
    let mut reader = Reader::new(Bytes::from(body));
    let response = BrokerRegistrationResponse::decode(&mut reader, REGISTRATION_VERSION)
        .expect("an answer of ours decodes");
    if response.error_code != ErrorCode::None.code() {
        let error =
            ErrorCode::from_code(response.error_code).map_or("an unknown error", ErrorCode::name);
        core.out.push(MachineAction::Exit {
            code: 1,
            reason: format!("the controller does not register this broker: {error}. Check node.id, the cluster id and log.dirs"),
        });
        return;
    }
    group.lifecycle.broker_epoch = Some(response.broker_epoch);
    group.lifecycle.stage = Stage::Fenced;
    group.lifecycle.heartbeat_due_us = Some(core.now().monotonic_us);
    let epoch = response.broker_epoch;
    core.log(
        LogLevel::Info,
        format!(
            "registered as broker {} with epoch {epoch}",
            core.options.node_id
        ),
    );
    core.send_to_all_cores(|| Mail::BrokerEpoch(epoch));
    heartbeat(core, group);
}

fn on_heartbeat_answer(core: &mut Core, group: &mut MetadataGroup, body: Vec<u8>) {
    let mut reader = Reader::new(Bytes::from(body));
    let response = BrokerHeartbeatResponse::decode(&mut reader, HEARTBEAT_VERSION)
        .expect("an answer of ours decodes");
    group.lifecycle.heartbeat_out = false;
    let now_us = core.now().monotonic_us;
    let mut interval_us = HEARTBEAT_INTERVAL_US;
    match group.lifecycle.stage {
        Stage::Fenced if !response.is_fenced => {
            group.lifecycle.stage = Stage::Running;
            core.options.status.reach(status::Stage::Serving);
            core.send_to_all_cores(|| Mail::Serve);
            core.log(LogLevel::Info, "the broker is unfenced and serves requests");
        }
        Stage::Fenced => interval_us = EAGER_INTERVAL_US,
        Stage::ShuttingDown if response.should_shut_down => {
            close(core, group);
            return;
        }
        Stage::ShuttingDown => interval_us = EAGER_INTERVAL_US,
        _ => {}
    }
    group.lifecycle.heartbeat_due_us = Some(now_us + interval_us);
}

/// SIGTERM or SIGINT arrived; every core calls this, only the group's own acts.
pub fn on_shutdown(core: &mut Core) {
    core.options.status.reach(status::Stage::Stopping);
    with_group(core, |core, group| match group.lifecycle.stage {
        Stage::Running | Stage::Fenced => {
            core.log(LogLevel::Info, "shutting down: leaving the cluster");
            group.lifecycle.stage = Stage::ShuttingDown;
            group.lifecycle.shutdown_since_us = Some(core.now().monotonic_us);
            if !group.lifecycle.heartbeat_out {
                heartbeat(core, group);
            }
        }
        Stage::Waiting | Stage::Registering => close(core, group),
        Stage::ShuttingDown | Stage::Closing => {}
    });
}

fn close(core: &mut Core, group: &mut MetadataGroup) {
    if group.lifecycle.stage == Stage::Closing {
        return;
    }
    group.lifecycle.stage = Stage::Closing;
    group.lifecycle.heartbeat_due_us = None;
    core.send_to_all_cores(|| Mail::CloseLogs);
}

/// A core's shards are closed; after the last one the metadata log is.
pub fn on_shards_closed(core: &mut Core, closed: u16) {
    with_group(core, |core, group| {
        group.lifecycle.closed_cores.insert(closed);
        if group.lifecycle.closed_cores.len() < usize::from(core.options.cores) || group.closing {
            return;
        }
        group.closing = true;
        group.raft.step(
            raft_now(core),
            odradek_raft::consensus::Event::Resign,
            &mut group.raft_actions,
        );
        let now = wal_now(core);
        group.log.shut_down(now, &mut group.log_outputs);
    });
}

pub(super) fn on_metadata_log_closed(core: &mut Core) {
    core.log(LogLevel::Info, "all logs are closed; goodbye");
    core.send_to_all_cores(|| Mail::Exit);
}

/// A directory failed: told to the controller at once. With none left there is nothing to serve.
pub fn on_directory_offline(core: &mut Core, directory: usize) {
    with_group(core, |core, group| {
        group.lifecycle.offline.insert(directory);
        core.options.status.directory_offline(directory);
        if group.lifecycle.offline.len() >= core.options.directories.len() {
            core.out.push(MachineAction::Exit {
                code: 1,
                reason: "all log directories are offline".to_string(),
            });
        } else if group.lifecycle.stage == Stage::Running && !group.lifecycle.heartbeat_out {
            heartbeat(core, group);
        }
    });
}
