//! BrokerRegistration 0-4, ControllerRegistration 0 and UnregisterBroker 0 (KIP-631, KIP-858, KIP-919, KIP-966).

use std::collections::{BTreeMap, BTreeSet};

use odradek_protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use odradek_protocol::messages::broker_registration_response::BrokerRegistrationResponse;
use odradek_protocol::messages::controller_registration_request::ControllerRegistrationRequest;
use odradek_protocol::messages::controller_registration_response::ControllerRegistrationResponse;
use odradek_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;
use odradek_protocol::messages::unregister_broker_response::UnregisterBrokerResponse;
use odradek_protocol::metadata_records::register_broker_record::{BrokerEndpoint, BrokerFeature};
use odradek_protocol::metadata_records::register_controller_record::{
    ControllerEndpoint, ControllerFeature,
};
use odradek_protocol::metadata_records::{
    MetadataRecord, RegisterBrokerRecord, RegisterControllerRecord, UnregisterBrokerRecord,
};
use odradek_protocol::{ErrorCode, Uuid};

use super::QuorumController;
use super::options::{CallContext, ControllerResult, Refusal};
use super::partition_updates::BrokerChange;
use crate::image::{
    BrokerRegistration, KRAFT_VERSION, METADATA_VERSION, VersionRange, directory_id,
};

impl QuorumController {
    /// Registers a broker's process. Its broker epoch is the offset of the RegisterBroker record, which is the result's first; the rest,
    /// which takes the process before out of ISRs, may be parted into batches.
    pub fn register_broker(
        &mut self,
        request: &BrokerRegistrationRequest,
        context: &CallContext,
    ) -> ControllerResult<BrokerRegistrationResponse> {
        match self.registration_records(request, context) {
            Err(refusal) => ControllerResult::unchanged(BrokerRegistrationResponse {
                error_code: refusal.code.code(),
                ..BrokerRegistrationResponse::default()
            }),
            Ok((records, broker_epoch)) => {
                let now_us = context.now.monotonic_us;
                self.sessions.start(request.broker_id, broker_epoch, now_us);
                ControllerResult::parted(
                    records,
                    BrokerRegistrationResponse {
                        broker_epoch,
                        ..BrokerRegistrationResponse::default()
                    },
                )
            }
        }
    }

    /// Registers a controller's process.
    pub fn register_controller(
        &mut self,
        request: &ControllerRegistrationRequest,
        _context: &CallContext,
    ) -> ControllerResult<ControllerRegistrationResponse> {
        let features = ranges(request.features.iter().map(|feature| {
            let range = (feature.min_supported_version, feature.max_supported_version);
            (feature.name.as_str(), range)
        }));
        let checked = self
            .check_active()
            .and_then(|()| self.check_features(&features));
        match checked {
            Err(refusal) => ControllerResult::unchanged(ControllerRegistrationResponse {
                error_code: refusal.code.code(),
                error_message: refusal.text(),
                ..ControllerRegistrationResponse::default()
            }),
            Ok(()) => {
                let record = controller_record(request);
                let response = ControllerRegistrationResponse {
                    error_message: None,
                    ..ControllerRegistrationResponse::default()
                };
                ControllerResult::atomic(vec![record.into()], response)
            }
        }
    }

    /// Forgets a broker: an operator says that it will not come back.
    pub fn unregister_broker(
        &mut self,
        request: &UnregisterBrokerRequest,
        _context: &CallContext,
    ) -> ControllerResult<UnregisterBrokerResponse> {
        let id = request.broker_id;
        let known = self.check_active().and_then(|()| {
            self.image()
                .brokers
                .get(&id)
                .map(|broker| broker.epoch)
                .ok_or_else(|| {
                    Refusal::new(
                        ErrorCode::BrokerIdNotRegistered,
                        format!("Broker ID {id} is not currently registered"),
                    )
                })
        });
        match known {
            Err(refusal) => ControllerResult::unchanged(UnregisterBrokerResponse {
                error_code: refusal.code.code(),
                error_message: refusal.text(),
                ..UnregisterBrokerResponse::default()
            }),
            Ok(broker_epoch) => {
                let mut records = self.partition_updates(id, BrokerChange::Goes);
                let record = UnregisterBrokerRecord {
                    broker_id: id,
                    broker_epoch,
                    ..UnregisterBrokerRecord::default()
                };
                records.push(record.into());
                self.sessions.remove(id);
                ControllerResult::parted(
                    records,
                    UnregisterBrokerResponse {
                        error_message: None,
                        ..UnregisterBrokerResponse::default()
                    },
                )
            }
        }
    }

    /// The connection that carried a broker's heartbeats was closed: a new incarnation of it need not wait for the session's end.
    pub fn broker_connection_closed(&mut self, broker_id: i32, broker_epoch: i64) {
        self.sessions.suspect(broker_id, broker_epoch);
    }

    fn registration_records(
        &mut self,
        request: &BrokerRegistrationRequest,
        context: &CallContext,
    ) -> Result<(Vec<MetadataRecord>, i64), Refusal> {
        self.check_active()?;
        self.check_registration(request, context)?;
        let known = self.image().brokers.get(&request.broker_id);
        let same_process = known.filter(|known| known.incarnation_id == request.incarnation_id);
        let mut record = broker_record(request);
        if let Some(known) = same_process {
            // The same process again, perhaps because an answer was lost: amended, not restarted.
            record.broker_epoch = known.epoch;
            record.fenced = known.fenced;
            record.in_controlled_shutdown = known.in_controlled_shutdown;
            return Ok((vec![record.into()], known.epoch));
        }
        let previous_epoch = known.map(|known| known.epoch);
        record.broker_epoch = context.next_offset;
        record.fenced = true;
        let mut records = vec![record.into()];
        if let Some(previous_epoch) = previous_epoch {
            // Only ELR needs to know whether the process before stopped with all it acknowledged.
            let clean = !self.image().is_elr_enabled()
                || (context.api_version >= 3 && request.previous_broker_epoch == previous_epoch);
            let change = match clean {
                true => BrokerChange::Goes,
                false => BrokerChange::GoesUncleanly,
            };
            records.append(&mut self.partition_updates(request.broker_id, change));
        }
        Ok((records, context.next_offset))
    }

    fn check_registration(
        &self,
        request: &BrokerRegistrationRequest,
        context: &CallContext,
    ) -> Result<(), Refusal> {
        if *request.cluster_id != *self.options.cluster_id {
            return Err(Refusal::new(
                ErrorCode::InconsistentClusterId,
                format!(
                    "Expected cluster ID {}, but got cluster ID {}",
                    self.options.cluster_id, request.cluster_id
                ),
            ));
        }
        self.check_session(request, context)?;
        if request.is_migrating_zk_broker {
            return Err(Refusal::new(
                ErrorCode::BrokerIdNotRegistered,
                "This controller does not take part in migrations from ZooKeeper.",
            ));
        }
        if self.image().metadata_version() >= 17 {
            self.check_directories(request)?;
        }
        let features = ranges(request.features.iter().map(|feature| {
            let range = (feature.min_supported_version, feature.max_supported_version);
            (feature.name.as_str(), range)
        }));
        self.check_features(&features)
    }

    fn check_session(
        &self,
        request: &BrokerRegistrationRequest,
        context: &CallContext,
    ) -> Result<(), Refusal> {
        let id = request.broker_id;
        let Some(known) = self.image().brokers.get(&id) else {
            return Ok(());
        };
        let other_process = known.incarnation_id != request.incarnation_id;
        // This node's own id can only be asked for by this very process: the one before is gone.
        let is_own = id == self.options.node_id;
        let now_us = context.now.monotonic_us;
        if other_process && !is_own && self.sessions.is_live(id, known.epoch, now_us) {
            return Err(Refusal::new(
                ErrorCode::DuplicateBrokerRegistration,
                format!("Another broker is registered with that broker id {id}."),
            ));
        }
        Ok(())
    }

    fn check_directories(&self, request: &BrokerRegistrationRequest) -> Result<(), Refusal> {
        let refuse = |why: String| Err(Refusal::new(ErrorCode::InvalidRegistration, why));
        if request.log_dirs.is_empty() {
            return refuse("No directories specified in request".to_string());
        }
        let mut seen = BTreeSet::new();
        for &directory in &request.log_dirs {
            if directory_id::is_reserved(directory) {
                return refuse(format!("Reserved directory ID in request: {directory}"));
            }
            if !seen.insert(directory) {
                return refuse(format!("Duplicate directory ID in request: {directory}"));
            }
            let owner = self.image().brokers.values().find(|broker| {
                broker.id != request.broker_id && broker.directories.contains(&directory)
            });
            if let Some(owner) = owner {
                return refuse(format!(
                    "Broker {} is already registered with directory {directory}",
                    owner.id
                ));
            }
        }
        Ok(())
    }

    /// Every finalized feature must be in the node's range, or it could not follow the log.
    fn check_features(&self, features: &BTreeMap<String, VersionRange>) -> Result<(), Refusal> {
        if !features.contains_key(METADATA_VERSION) {
            return Err(Refusal::new(
                ErrorCode::InvalidRegistration,
                "Request features do not contain metadata.version",
            ));
        }
        let finalized = self
            .image()
            .features
            .iter()
            .map(|(name, &level)| (name.as_str(), level))
            .chain([(KRAFT_VERSION, self.options.kraft_version)]);
        for (name, level) in finalized {
            let range = features
                .get(name)
                .copied()
                .unwrap_or(VersionRange { min: 0, max: 0 });
            if !(range.min..=range.max).contains(&level) {
                return Err(Refusal::new(
                    ErrorCode::UnsupportedVersion,
                    format!(
                        "Unable to register because the node does not support finalized version {level} of {name}. The node supports {} to {}.",
                        range.min, range.max
                    ),
                ));
            }
        }
        Ok(())
    }
}

impl BrokerRegistration {
    /// Directories of the broker without those.
    pub(super) fn directories_without(&self, offline: &BTreeSet<Uuid>) -> Vec<Uuid> {
        self.directories
            .iter()
            .copied()
            .filter(|directory| !offline.contains(directory))
            .collect()
    }
}

fn ranges<'a>(
    features: impl Iterator<Item = (&'a str, (i16, i16))>,
) -> BTreeMap<String, VersionRange> {
    features
        .map(|(name, (min, max))| (name.to_string(), VersionRange { min, max }))
        .collect()
}

fn broker_record(request: &BrokerRegistrationRequest) -> RegisterBrokerRecord {
    let mut log_dirs = request.log_dirs.clone();
    log_dirs.sort_unstable();
    RegisterBrokerRecord {
        broker_id: request.broker_id,
        is_migrating_zk_broker: false,
        incarnation_id: request.incarnation_id,
        end_points: request
            .listeners
            .iter()
            .map(|listener| BrokerEndpoint {
                name: listener.name.detached(),
                host: listener.host.detached(),
                port: listener.port,
                security_protocol: listener.security_protocol,
                ..BrokerEndpoint::default()
            })
            .collect(),
        features: request
            .features
            .iter()
            .map(|feature| BrokerFeature {
                name: feature.name.detached(),
                min_supported_version: feature.min_supported_version,
                max_supported_version: feature.max_supported_version,
                ..BrokerFeature::default()
            })
            .collect(),
        rack: request.rack.as_ref().map(|rack| rack.detached()),
        log_dirs,
        ..RegisterBrokerRecord::default()
    }
}

fn controller_record(request: &ControllerRegistrationRequest) -> RegisterControllerRecord {
    RegisterControllerRecord {
        controller_id: request.controller_id,
        incarnation_id: request.incarnation_id,
        zk_migration_ready: request.zk_migration_ready,
        end_points: request
            .listeners
            .iter()
            .map(|listener| ControllerEndpoint {
                name: listener.name.detached(),
                host: listener.host.detached(),
                port: listener.port,
                security_protocol: listener.security_protocol,
                ..ControllerEndpoint::default()
            })
            .collect(),
        features: request
            .features
            .iter()
            .map(|feature| ControllerFeature {
                name: feature.name.detached(),
                min_supported_version: feature.min_supported_version,
                max_supported_version: feature.max_supported_version,
                ..ControllerFeature::default()
            })
            .collect(),
        ..RegisterControllerRecord::default()
    }
}
