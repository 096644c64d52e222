//! Control records: what transactions and KRaft write between the data, in batches with the control attribute. Key: int16
//! version 0, int16 type. Value: one of the tables, whose own first field is its version. Batches are in `records`.

mod tables;

pub use tables::{
    ControlRecordTypeSchema, EndTxnMarker, KRaftVersionRecord, LeaderChangeMessage, MESSAGES,
    SnapshotFooterRecord, SnapshotHeaderRecord, VotersRecord, control_record_type_schema,
    end_txn_marker, kraft_version_record, leader_change_message, snapshot_footer_record,
    snapshot_header_record, voters_record,
};
