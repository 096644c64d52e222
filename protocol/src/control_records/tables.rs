//! The tables of the control records. Their keys, and how they lie in a batch, are in the parent module.

use crate::codec::{MessageInfo, message};

pub use control_record_type_schema::ControlRecordTypeSchema;
pub use end_txn_marker::EndTxnMarker;
pub use kraft_version_record::KRaftVersionRecord;
pub use leader_change_message::LeaderChangeMessage;
pub use snapshot_footer_record::SnapshotFooterRecord;
pub use snapshot_header_record::SnapshotHeaderRecord;
pub use voters_record::VotersRecord;

/// Every message of this file.
pub const MESSAGES: &[MessageInfo] = &[
    control_record_type_schema::INFO,
    end_txn_marker::INFO,
    kraft_version_record::INFO,
    leader_change_message::INFO,
    snapshot_footer_record::INFO,
    snapshot_header_record::INFO,
    voters_record::INFO,
];

message! {
    control_record_type_schema, versions [0], flexible [none];

    /// Key of every control record.
    ControlRecordTypeSchema {
        type_: i16 [0..],
    }
}

message! {
    end_txn_marker, versions [0], flexible [none];

    /// Value of the COMMIT and ABORT control records (KIP-98).
    EndTxnMarker {
        coordinator_epoch: i32 [0..],
    }
}

message! {
    kraft_version_record, versions [0], flexible [0..];

    /// The finalized `kraft.version` (KIP-853).
    KRaftVersionRecord {
        version: i16 [0..],
        kraft_version: i16 [0..],
    }
}

message! {
    leader_change_message, versions [0..=1], flexible [0..];

    /// Value of the control record that opens a leader's epoch in a KRaft log (KIP-595).
    LeaderChangeMessage {
        version: i16 [0..],
        leader_id: i32 [0..],
        voters: Vec<Voter> [0..],
        granting_voters: Vec<Voter> [0..],
    }

    /// An element of `voters`.
    Voter {
        voter_id: i32 [0..],
        voter_directory_id: Uuid [1..],
    }
}

message! {
    snapshot_footer_record, versions [0], flexible [0..];

    /// Last record of a snapshot (KIP-630).
    SnapshotFooterRecord {
        version: i16 [0..],
    }
}

message! {
    snapshot_header_record, versions [0], flexible [0..];

    /// First record of a snapshot (KIP-630).
    SnapshotHeaderRecord {
        version: i16 [0..],
        last_contained_log_timestamp: i64 [0..],
    }
}

message! {
    voters_record, versions [0], flexible [0..];

    /// The voters of a KRaft log (KIP-853).
    VotersRecord {
        version: i16 [0..],
        voters: Vec<Voter> [0..],
    }

    /// An element of `voters` in `VotersRecord`.
    Voter {
        voter_id: i32 [0..],
        voter_directory_id: Uuid [0..],
        endpoints: Vec<Endpoint> [0..],
        kraft_version_feature: KRaftVersionFeature [0..],
    }

    /// An element of `endpoints` in `Voter`.
    Endpoint {
        name: StrBytes [0..],
        host: StrBytes [0..],
        port: u16 [0..],
    }

    /// The value of `kraft_version_feature` in `Voter`.
    KRaftVersionFeature {
        min_supported_version: i16 [0..],
        max_supported_version: i16 [0..],
    }
}
