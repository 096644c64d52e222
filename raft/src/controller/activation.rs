//! Becoming the active controller: the first records of an empty log, the end of a transaction that the controller before left open, and
//! sessions for the brokers that the log says are alive.

use odradek_protocol::StrBytes;
use odradek_protocol::metadata_records::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord,
    FeatureLevelRecord, MetadataRecord,
};

use super::QuorumController;
use super::options::{CallContext, ControllerResult};
use crate::image::{ELR_VERSION, KRAFT_VERSION, METADATA_VERSION, resource_type};

/// What the first active controller of an empty log writes: the features chosen at format, metadata.version first, then by name, in a
/// transaction from level 13 on. kraft.version is never among them. `min_insync_replicas` is the properties file's.
pub fn bootstrap_records(
    features: &[(&str, i16)],
    min_insync_replicas: &str,
) -> Vec<MetadataRecord> {
    let level_of = |name: &str| {
        let found = features.iter().find(|(known, _)| *known == name);
        found.map_or(0, |&(_, level)| level)
    };
    let record = |name: &str, level: i16| {
        MetadataRecord::FeatureLevel(FeatureLevelRecord {
            name: StrBytes::from(name),
            feature_level: level,
            ..FeatureLevelRecord::default()
        })
    };
    let metadata_version = level_of(METADATA_VERSION);
    let mut rest: Vec<(&str, i16)> = features
        .iter()
        .copied()
        .filter(|&(name, level)| level > 0 && name != METADATA_VERSION && name != KRAFT_VERSION)
        .collect();
    rest.sort_unstable();
    let mut records = vec![record(METADATA_VERSION, metadata_version)];
    records.extend(rest.iter().map(|&(name, level)| record(name, level)));
    if level_of(ELR_VERSION) >= 1 {
        records.push(
            ConfigRecord {
                resource_type: resource_type::BROKER,
                resource_name: StrBytes::default(),
                name: StrBytes::from("min.insync.replicas"),
                value: Some(StrBytes::from(min_insync_replicas)),
                ..ConfigRecord::default()
            }
            .into(),
        );
    }
    if metadata_version < 13 {
        return records;
    }
    let mut framed = vec![
        BeginTransactionRecord {
            name: Some(StrBytes::from("Bootstrap records")),
            ..BeginTransactionRecord::default()
        }
        .into(),
    ];
    framed.append(&mut records);
    framed.push(EndTransactionRecord::default().into());
    framed
}

impl QuorumController {
    /// Makes this controller the active one in `epoch`. Everything in the log must have been replayed. The records must be appended and
    /// replayed before any operation; `features` are those chosen at format, used only when the log holds no metadata.
    pub fn activate(
        &mut self,
        epoch: i32,
        features: &[(&str, i16)],
        context: &CallContext,
    ) -> ControllerResult<()> {
        self.active_epoch = Some(epoch);
        self.sessions.clear();
        let image = self.builder.image();
        for broker in image.brokers.values().filter(|broker| !broker.fenced) {
            self.sessions
                .start(broker.id, broker.epoch, context.now.monotonic_us);
        }
        let mut records = Vec::new();
        if self.builder.in_transaction() {
            records.push(
                AbortTransactionRecord {
                    reason: Some(StrBytes::from("The controller that began it is gone.")),
                    ..AbortTransactionRecord::default()
                }
                .into(),
            );
        }
        // A transaction that is aborted here may be the bootstrap itself.
        let is_empty = self.committed.metadata_version() == 0
            && (self.builder.in_transaction() || image.metadata_version() == 0);
        if is_empty {
            let layers = self.config_layers(None);
            let min_isr = layers.broker_text("min.insync.replicas");
            let min_isr = min_isr.as_deref().unwrap_or("1");
            records.append(&mut bootstrap_records(features, min_isr));
        }
        ControllerResult::atomic(records, ())
    }
}
