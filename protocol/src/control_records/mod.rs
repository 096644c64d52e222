//! Control records: what transactions and KRaft write between the data, in batches with the control attribute. Key: int16
//! version 0, int16 type. Value: one of the tables; those of KRaft begin with their own version, the markers of
//! transactions have one before them. Batches are in `records`.

mod tables;

pub use tables::*;

use crate::codec::{DecodeError, DecodeErrorKind, EncodeError, Message, Reader, Writer};
use bytes::Bytes;

/// Why a control record cannot be encoded.
pub type ControlRecordError = EncodeError;

/// A control record.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlRecord {
    /// Type 0: the transaction's records do not count.
    Abort(EndTxnMarker),
    /// Type 1: the transaction's records count.
    Commit(EndTxnMarker),
    /// Type 2: a leader's epoch begins.
    LeaderChange(LeaderChangeMessage),
    /// Type 3: a snapshot begins.
    SnapshotHeader(SnapshotHeaderRecord),
    /// Type 4: a snapshot ends.
    SnapshotFooter(SnapshotFooterRecord),
    /// Type 5: the finalized `kraft.version`.
    KRaftVersion(KRaftVersionRecord),
    /// Type 6: the voters.
    Voters(VotersRecord),
    /// A type we do not know: passed over, as Kafka's readers do.
    Unknown(i16),
}

/// The version that markers and keys are written at.
const VERSION: i16 = 0;

impl ControlRecord {
    /// The type in the record's key.
    pub fn record_type(&self) -> i16 {
        match self {
            ControlRecord::Abort(_) => 0,
            ControlRecord::Commit(_) => 1,
            ControlRecord::LeaderChange(_) => 2,
            ControlRecord::SnapshotHeader(_) => 3,
            ControlRecord::SnapshotFooter(_) => 4,
            ControlRecord::KRaftVersion(_) => 5,
            ControlRecord::Voters(_) => 6,
            ControlRecord::Unknown(record_type) => *record_type,
        }
    }

    /// Key and value.
    ///
    /// KRaft's messages are written at the version in their own first field.
    pub fn encode(&self) -> Result<(Bytes, Bytes), ControlRecordError> {
        let mut key = Writer::with_capacity(4);
        key.write_i16(VERSION);
        key.write_i16(self.record_type());
        let mut value = Writer::new();
        match self {
            ControlRecord::Abort(marker) | ControlRecord::Commit(marker) => {
                value.write_i16(VERSION);
                marker.encode(&mut value, VERSION)?;
            }
            ControlRecord::LeaderChange(message) => message.encode(&mut value, message.version)?,
            ControlRecord::SnapshotHeader(record) => record.encode(&mut value, record.version)?,
            ControlRecord::SnapshotFooter(record) => record.encode(&mut value, record.version)?,
            ControlRecord::KRaftVersion(record) => record.encode(&mut value, record.version)?,
            ControlRecord::Voters(record) => record.encode(&mut value, record.version)?,
            ControlRecord::Unknown(_) => {}
        }
        Ok((key.into_bytes(), value.into_bytes()))
    }

    /// The type in a control record's key. Longer keys of later versions begin with the same four bytes.
    pub fn decode_type(key: &Bytes) -> Result<i16, DecodeError> {
        let mut reader = Reader::new(key.clone());
        let version = reader.read_i16()?;
        if version < 0 {
            let kind = DecodeErrorKind::UnknownRecord {
                what: "control record key version",
                number: version.into(),
            };
            return Err(reader.error(kind));
        }
        reader.read_i16()
    }

    /// Reads key and value. Versions newer than ours are read as our newest: later versions only append.
    pub fn decode(key: &Bytes, value: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value.clone());
        Ok(match Self::decode_type(key)? {
            0 => ControlRecord::Abort(decode_marker(&mut reader)?),
            1 => ControlRecord::Commit(decode_marker(&mut reader)?),
            2 => ControlRecord::LeaderChange(decode_versioned(&mut reader)?),
            3 => ControlRecord::SnapshotHeader(decode_versioned(&mut reader)?),
            4 => ControlRecord::SnapshotFooter(decode_versioned(&mut reader)?),
            5 => ControlRecord::KRaftVersion(decode_versioned(&mut reader)?),
            6 => ControlRecord::Voters(decode_versioned(&mut reader)?),
            unknown => ControlRecord::Unknown(unknown),
        })
    }
}

fn decode_marker(reader: &mut Reader) -> Result<EndTxnMarker, DecodeError> {
    let version = reader.read_i16()?;
    decode_at(reader, version)
}

fn decode_versioned<T: Message>(reader: &mut Reader) -> Result<T, DecodeError> {
    // The version is the message's own first field: look, and read it again with the rest.
    let version = Reader::new(reader.rest()).read_i16()?;
    decode_at(reader, version)
}

fn decode_at<T: Message>(reader: &mut Reader, version: i16) -> Result<T, DecodeError> {
    if version < 0 {
        return Err(reader.error(DecodeErrorKind::UnsupportedVersion {
            message: T::NAME,
            version,
        }));
    }
    T::decode(reader, version.min(T::VERSIONS.last))
}
