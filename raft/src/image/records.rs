//! In which version a metadata record is written at a finalized metadata.version: a node of an older level must be able to read it, so
//! nothing is ever written above the level. What the records do is in `apply.rs`.

use odradek_protocol::metadata_records::MetadataRecord;

/// The feature that governs record and broker RPC versions.
pub const METADATA_VERSION: &str = "metadata.version";
/// The feature of dynamic quorums; finalized by a control record, not by a FeatureLevelRecord.
pub const KRAFT_VERSION: &str = "kraft.version";
/// The feature of eligible leader replicas (KIP-966).
pub const ELR_VERSION: &str = "eligible.leader.replicas.version";

/// The version of `record` at `metadata_version`.
pub fn record_version(record: &MetadataRecord, metadata_version: i16) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => match metadata_version {
            30.. => 4,
            17.. => 3,
            8.. => 2,
            7.. => 1,
            _ => 0,
        },
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => match metadata_version
        {
            23.. => 2,
            17.. => 1,
            _ => 0,
        },
        // Chosen by what it carries: older brokers read the plain fence of a newer cluster.
        MetadataRecord::BrokerRegistrationChange(change) => {
            if change.cordoned_log_dirs.is_some() {
                3
            } else if !change.log_dirs.is_empty() {
                2
            } else {
                i16::from(change.in_controlled_shutdown != 0)
            }
        }
        _ => 0,
    }
}
