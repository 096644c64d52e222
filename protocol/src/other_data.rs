//! Structures that Kafka describes by the same tables and that are neither requests nor records of a topic.

use crate::codec::{MessageInfo, message};

pub use default_principal_data::DefaultPrincipalData;
pub use producer_snapshot::ProducerSnapshot;
pub use quorum_state_data::QuorumStateData;

/// Every message of this file.
pub const MESSAGES: &[MessageInfo] = &[
    default_principal_data::INFO,
    producer_snapshot::INFO,
    quorum_state_data::INFO,
];

message! {
    default_principal_data, versions [0], flexible [0..];

    /// A principal inside an Envelope request (KIP-590).
    DefaultPrincipalData {
        type_: StrBytes [0..],
        name: StrBytes [0..],
        token_authenticated: bool [0..],
    }
}

message! {
    producer_snapshot, versions [1], flexible [none];

    /// Content of a `.snapshot` file: producer state of a partition.
    ProducerSnapshot {
        crc: u32 [1],
        producer_entries: Vec<ProducerEntry> [1],
    }

    /// An element of `producer_entries` in `ProducerSnapshot`.
    ProducerEntry {
        producer_id: i64 [1],
        epoch: i16 [1],
        last_sequence: i32 [1],
        last_offset: i64 [1],
        offset_delta: i32 [1],
        timestamp: i64 [1],
        coordinator_epoch: i32 [1],
        current_txn_first_offset: i64 [1],
    }
}

message! {
    quorum_state_data, versions [0..=1], flexible [0..];

    /// What a KRaft node keeps of its vote and epoch in the `quorum-state` file (as JSON there).
    QuorumStateData {
        cluster_id: StrBytes [0],
        leader_id: i32 [0..] = -1,
        leader_epoch: i32 [0..] = -1,
        voted_id: i32 [0..] = -1,
        voted_directory_id: Uuid [1..],
        applied_offset: i64 [0],
        current_voters: Option<Vec<Voter>> [0, nullable 0],
    }

    /// An element of `current_voters` in `QuorumStateData`.
    Voter {
        voter_id: i32 [0],
    }
}
