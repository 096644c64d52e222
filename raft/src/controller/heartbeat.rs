//! BrokerHeartbeat 0-2, fencing by time, controlled shutdown (KIP-631, KIP-841, KIP-858). Sessions are kept in `sessions.rs`, which
//! partitions change is worked out in `partition_updates.rs`.

use std::collections::BTreeSet;

use odradek_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use odradek_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use odradek_protocol::metadata_records::{BrokerRegistrationChangeRecord, MetadataRecord};
use odradek_protocol::{ErrorCode, Uuid};

use super::QuorumController;
use super::options::{CallContext, ControllerResult, Refusal};
use super::partition_updates::BrokerChange;
use crate::image::BrokerRegistration;

/// The states of a broker's life that the controller decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BrokerState {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutDownNow,
}

impl QuorumController {
    /// Notes that a broker lives, and answers what it asks for: to serve, to be fenced, to leave.
    pub fn broker_heartbeat(
        &mut self,
        request: &BrokerHeartbeatRequest,
        context: &CallContext,
    ) -> ControllerResult<BrokerHeartbeatResponse> {
        let checked = self
            .check_active()
            .and_then(|()| self.check_broker_epoch(request.broker_id, request.broker_epoch));
        if let Err(refusal) = checked {
            return ControllerResult::unchanged(refused(&refusal));
        }
        self.sessions.touch(
            request.broker_id,
            request.broker_epoch,
            context.now.monotonic_us,
            request.current_metadata_offset,
        );
        let broker = self.image().brokers[&request.broker_id].clone();
        let next = self.next_state(&broker, request);
        let mut records = self.directory_records(&broker, request);
        records.append(&mut self.state_records(&broker, next));
        if next == BrokerState::ControlledShutdown && !broker.in_controlled_shutdown {
            // The others must have applied all of this before the broker may go.
            let last = context.next_offset + records.len() as i64 - 1;
            self.sessions.set_shutdown_offset(broker.id, last);
        }
        let response = BrokerHeartbeatResponse {
            is_caught_up: request.current_metadata_offset >= broker.epoch,
            is_fenced: matches!(next, BrokerState::Fenced | BrokerState::ShutDownNow),
            should_shut_down: next == BrokerState::ShutDownNow,
            ..BrokerHeartbeatResponse::default()
        };
        ControllerResult::parted(records, response)
    }

    /// Fences a broker that was silent for broker.session.timeout.ms. One at a time, since each fence is worked out on the image that has the
    /// one before: call again, after replaying, until there are no records. This node's own broker is never fenced for its silence.
    pub fn tick(&mut self, context: &CallContext) -> ControllerResult<()> {
        if !self.is_active() {
            return ControllerResult::unchanged(());
        }
        while let Some(broker) = self
            .sessions
            .expired(context.now.monotonic_us, self.options.node_id)
        {
            self.sessions.remove(broker);
            let known = self
                .image()
                .brokers
                .get(&broker)
                .filter(|known| !known.fenced);
            if let Some(known) = known.cloned() {
                return ControllerResult::parted(
                    self.state_records(&known, BrokerState::Fenced),
                    (),
                );
            }
        }
        ControllerResult::unchanged(())
    }

    fn next_state(
        &self,
        broker: &BrokerRegistration,
        request: &BrokerHeartbeatRequest,
    ) -> BrokerState {
        let caught_up = request.current_metadata_offset >= broker.epoch;
        if broker.fenced {
            return match (request.want_shut_down, request.want_fence) {
                (true, _) => BrokerState::ShutDownNow,
                (false, false) if caught_up => BrokerState::Unfenced,
                _ => BrokerState::Fenced,
            };
        }
        if broker.in_controlled_shutdown {
            return self.shutdown_state(broker.id);
        }
        match (request.want_fence, request.want_shut_down) {
            (true, true) => BrokerState::ShutDownNow,
            (true, false) => BrokerState::Fenced,
            (false, true) if self.has_leaderships(broker.id) => BrokerState::ControlledShutdown,
            (false, true) => BrokerState::ShutDownNow,
            (false, false) => BrokerState::Unfenced,
        }
    }

    /// A leaving broker may go when it leads nothing and every other active broker knows that.
    fn shutdown_state(&self, broker: i32) -> BrokerState {
        if self.has_leaderships(broker) {
            return BrokerState::ControlledShutdown;
        }
        let wanted = self
            .sessions
            .get(broker)
            .and_then(|session| session.shutdown_offset);
        let image = self.image();
        let slowest = image
            .brokers
            .keys()
            .filter(|&&other| other != broker && image.is_active_broker(other))
            .map(|&other| {
                self.sessions
                    .get(other)
                    .map_or(-1, |session| session.metadata_offset)
            })
            .min();
        match (wanted, slowest) {
            (Some(wanted), Some(slowest)) if slowest < wanted => BrokerState::ControlledShutdown,
            _ => BrokerState::ShutDownNow,
        }
    }

    fn state_records(&self, broker: &BrokerRegistration, next: BrokerState) -> Vec<MetadataRecord> {
        let change = BrokerRegistrationChangeRecord {
            broker_id: broker.id,
            broker_epoch: broker.epoch,
            ..BrokerRegistrationChangeRecord::default()
        };
        match next {
            BrokerState::Fenced | BrokerState::ShutDownNow if !broker.fenced => {
                // The fence comes last: until then the broker counts as one that leads, as its peers still think.
                let mut records = self.partition_updates(broker.id, BrokerChange::Goes);
                let change = BrokerRegistrationChangeRecord {
                    fenced: 1,
                    ..change
                };
                records.push(change.into());
                records
            }
            BrokerState::Unfenced if broker.fenced => {
                let change = BrokerRegistrationChangeRecord {
                    fenced: -1,
                    ..change
                };
                let mut records = vec![change.into()];
                records.append(&mut self.partition_updates(broker.id, BrokerChange::Comes));
                records
            }
            BrokerState::ControlledShutdown if !broker.in_controlled_shutdown => {
                let change = BrokerRegistrationChangeRecord {
                    in_controlled_shutdown: 1,
                    ..change
                };
                let mut records = vec![change.into()];
                records.append(&mut self.partition_updates(broker.id, BrokerChange::Goes));
                records
            }
            _ => Vec::new(),
        }
    }

    /// Directories that the broker reports as failed or cordoned.
    fn directory_records(
        &self,
        broker: &BrokerRegistration,
        request: &BrokerHeartbeatRequest,
    ) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        let offline: BTreeSet<Uuid> = request
            .offline_log_dirs
            .iter()
            .copied()
            .filter(|directory| broker.directories.contains(directory))
            .collect();
        let left = broker.directories_without(&offline);
        // Without any directory the broker stops by itself; a record with none would say "no change".
        if !offline.is_empty() && !left.is_empty() {
            let lost = BrokerChange::LosesDirectories(&offline);
            records.append(&mut self.partition_updates(broker.id, lost));
            let change = BrokerRegistrationChangeRecord {
                broker_id: broker.id,
                broker_epoch: broker.epoch,
                log_dirs: left,
                ..BrokerRegistrationChangeRecord::default()
            };
            records.push(change.into());
        }
        let cordoned = request.cordoned_log_dirs.as_ref();
        let known = broker.cordoned_directories.as_deref().unwrap_or(&[]);
        if let Some(cordoned) = cordoned.filter(|cordoned| ***cordoned != *known)
            && self.image().metadata_version() >= 30
        {
            let change = BrokerRegistrationChangeRecord {
                broker_id: broker.id,
                broker_epoch: broker.epoch,
                cordoned_log_dirs: Some(cordoned.clone()),
                ..BrokerRegistrationChangeRecord::default()
            };
            records.push(change.into());
        }
        records
    }
}

fn refused(refusal: &Refusal) -> BrokerHeartbeatResponse {
    assert!(refusal.code != ErrorCode::None, "a refusal has an error");
    BrokerHeartbeatResponse {
        error_code: refusal.code.code(),
        ..BrokerHeartbeatResponse::default()
    }
}
