//! Record batches of the metadata log: the leader's own are built here, those of others are
//! checked and their control records read (kraft.md 2.4, 2.6). The batch format itself is
//! `odradek_protocol::records`.

use std::fmt;

use bytes::Bytes;
use odradek_protocol::codec::{DecodeError, Reader, Writer};
use odradek_protocol::control_records::{
    KRaftVersionRecord, LeaderChangeMessage, VotersRecord, leader_change_message, voters_record,
};
use odradek_protocol::records::{self, BatchBuilder, BatchError, BatchHeader};
use odradek_protocol::{Message, StrBytes};

use super::log::Batch;
use super::types::{Endpoint, ReplicaKey};
use super::voters::{Voter, VoterSet};

/// Control record types of the metadata log.
pub(crate) const LEADER_CHANGE: i16 = 2;
pub(crate) const SNAPSHOT_HEADER: i16 = 3;
pub(crate) const SNAPSHOT_FOOTER: i16 = 4;
pub(crate) const KRAFT_VERSION: i16 = 5;
pub(crate) const KRAFT_VOTERS: i16 = 6;

const ATTRIBUTE_CONTROL: i16 = 0x20;
/// Metadata batches are not compressed; one that is may grow to this at most.
pub(crate) const DECOMPRESSED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One batch of bytes that were read, with what its control records say of the quorum.
#[derive(Clone, Debug)]
pub struct ParsedBatch {
    /// The batch.
    pub batch: Batch,
    /// Level of a KRaftVersion record in it.
    pub kraft_version: Option<i16>,
    /// Content of a Voters record in it.
    pub voters: Option<VoterSet>,
}

/// Why bytes are no batches of a metadata log.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchFault {
    /// The batch format is broken.
    Format(BatchError),
    /// A control record cannot be decoded.
    Control {
        /// Its type.
        control_type: i16,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// A control record without a type.
    ControlKey,
    /// A header field that no metadata leader writes.
    Header {
        /// Which.
        field: &'static str,
    },
    /// The batch does not follow the log end, or its epoch does not.
    OutOfPlace {
        /// Its first offset.
        base: i64,
        /// Its epoch.
        epoch: i32,
    },
}

impl fmt::Display for BatchFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchFault::Format(error) => write!(formatter, "{error}"),
            BatchFault::Control {
                control_type,
                error,
            } => write!(
                formatter,
                "control record of type {control_type} cannot be read: {error}"
            ),
            BatchFault::ControlKey => formatter.write_str("control record without a type"),
            BatchFault::Header { field } => {
                write!(formatter, "batch header field {field} is out of range")
            }
            BatchFault::OutOfPlace { base, epoch } => write!(
                formatter,
                "batch at offset {base} with epoch {epoch} does not follow the log end"
            ),
        }
    }
}

impl std::error::Error for BatchFault {}

impl From<BatchError> for BatchFault {
    fn from(error: BatchError) -> Self {
        BatchFault::Format(error)
    }
}

/// Splits bytes into whole batches, checks each (CRC, header, record structure of control
/// batches) and reads control records. A cut-off batch at the end is an error.
pub fn parse_batches(bytes: &Bytes) -> Result<Vec<ParsedBatch>, BatchFault> {
    let mut parsed = Vec::new();
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let header = BatchHeader::parse(&rest)?;
        header.check_whole(rest.len())?;
        let one = rest.split_to(header.size_bytes());
        parsed.push(parse_batch(&header, one)?);
    }
    Ok(parsed)
}

fn parse_batch(header: &BatchHeader, bytes: Bytes) -> Result<ParsedBatch, BatchFault> {
    records::verify_crc(&bytes)?;
    let field = |field| Err(BatchFault::Header { field });
    if header.base_offset < 0 || header.base_offset > i64::MAX / 2 {
        return field("base offset");
    }
    if header.last_offset_delta < 0 || header.records_count <= 0 {
        return field("last offset delta");
    }
    if header.partition_leader_epoch < 0 {
        return field("partition leader epoch");
    }
    let control = header.attributes & ATTRIBUTE_CONTROL != 0;
    let mut kraft_version = None;
    let mut voters = None;
    if control {
        for (control_type, value) in control_records(&bytes)? {
            match control_type {
                KRAFT_VERSION => kraft_version = Some(read_kraft_version(value)?),
                KRAFT_VOTERS => voters = Some(read_voters(value)?),
                // LeaderChange says nothing that the epoch does not; unknown types are skipped.
                _ => {}
            }
        }
    }
    let end = header.base_offset + i64::from(header.last_offset_delta) + 1;
    let batch = Batch {
        base: header.base_offset,
        end,
        epoch: header.partition_leader_epoch,
        max_timestamp_ms: header.max_timestamp,
        control,
        bytes,
    };
    Ok(ParsedBatch {
        batch,
        kraft_version,
        voters,
    })
}

/// Type and value of every record of a control batch.
pub(crate) fn control_records(batch: &Bytes) -> Result<Vec<(i16, Bytes)>, BatchFault> {
    let mut found = Vec::new();
    for record in records::records(batch, DECOMPRESSED_BYTES_MAX)? {
        let record = record?;
        let key = record.key.unwrap_or_default();
        let Some(control_type) = key.get(2..4) else {
            return Err(BatchFault::ControlKey);
        };
        let control_type = i16::from_be_bytes([control_type[0], control_type[1]]);
        found.push((control_type, record.value.unwrap_or_default()));
    }
    Ok(found)
}

/// Reads the value of a control record, whose first field is its version; a version above those
/// known is read as the highest known, as Kafka does.
pub(crate) fn read_control<M: Message>(control_type: i16, value: Bytes) -> Result<M, BatchFault> {
    let version = match value.get(..2) {
        Some(bytes) => i16::from_be_bytes([bytes[0], bytes[1]]),
        None => 0,
    };
    let highest = M::VERSIONS.iter().max().unwrap_or(0);
    M::decode(&mut Reader::new(value), version.clamp(0, highest)).map_err(|error| {
        BatchFault::Control {
            control_type,
            error,
        }
    })
}

pub(crate) fn read_kraft_version(value: Bytes) -> Result<i16, BatchFault> {
    read_control::<KRaftVersionRecord>(KRAFT_VERSION, value).map(|record| record.kraft_version)
}

pub(crate) fn read_voters(value: Bytes) -> Result<VoterSet, BatchFault> {
    let record: VotersRecord = read_control(KRAFT_VOTERS, value)?;
    let voters = record.voters.into_iter().map(|voter| Voter {
        key: ReplicaKey::new(voter.voter_id, voter.voter_directory_id),
        endpoints: voter
            .endpoints
            .into_iter()
            .map(|endpoint| Endpoint {
                name: endpoint.name.to_string(),
                host: endpoint.host.to_string(),
                port: endpoint.port,
            })
            .collect(),
        kraft_version_min: voter.kraft_version_feature.min_supported_version,
        kraft_version_max: voter.kraft_version_feature.max_supported_version,
    });
    Ok(VoterSet::new(voters))
}

/// A batch of metadata records (already framed), offsets from `base` on.
pub fn data_batch(base: i64, epoch: i32, time_ms: i64, values: &[Bytes]) -> Bytes {
    let mut builder = BatchBuilder::new(base).partition_leader_epoch(epoch);
    for value in values {
        builder.push(time_ms, None, Some(value), &[]);
    }
    builder
        .build()
        .expect("an uncompressed batch of bounded size is always built")
}

/// A control batch, offsets from `base` on.
pub(crate) fn control_batch(
    base: i64,
    epoch: i32,
    time_ms: i64,
    controls: &[(i16, Bytes)],
) -> Bytes {
    let mut builder = BatchBuilder::new(base)
        .partition_leader_epoch(epoch)
        .control();
    for (control_type, value) in controls {
        let mut key = [0u8; 4];
        key[2..].copy_from_slice(&control_type.to_be_bytes());
        builder.push(time_ms, Some(&key), Some(value), &[]);
    }
    builder
        .build()
        .expect("an uncompressed batch of bounded size is always built")
}

/// The first batch of an epoch, and its number of records. LeaderChange is written at version 0,
/// as Kafka up to 4.4 does.
pub(crate) fn leader_change_batch(
    base: i64,
    epoch: i32,
    time_ms: i64,
    leader_id: i32,
    voter_ids: &[i32],
    granting_ids: &[i32],
    quorum: Option<(i16, &VoterSet)>,
) -> (Bytes, i64) {
    let voter = |id: &i32| leader_change_message::Voter {
        voter_id: *id,
        ..Default::default()
    };
    let change = LeaderChangeMessage {
        version: 0,
        leader_id,
        voters: voter_ids.iter().map(voter).collect(),
        granting_voters: granting_ids.iter().map(voter).collect(),
        ..Default::default()
    };
    let mut controls = vec![(LEADER_CHANGE, control_value(&change))];
    if let Some((kraft_version, voters)) = quorum {
        controls.push((KRAFT_VERSION, kraft_version_value(kraft_version)));
        controls.push((KRAFT_VOTERS, voters_value(voters)));
    }
    let count = controls.len() as i64;
    (control_batch(base, epoch, time_ms, &controls), count)
}

/// Value bytes of a control record at version 0.
pub(crate) fn control_value<M: Message>(record: &M) -> Bytes {
    let mut writer = Writer::new();
    record
        .encode(&mut writer, 0)
        .expect("records made here hold nothing that version 0 lacks");
    writer.into_bytes()
}

pub(crate) fn kraft_version_value(kraft_version: i16) -> Bytes {
    control_value(&KRaftVersionRecord {
        version: 0,
        kraft_version,
        ..Default::default()
    })
}

pub(crate) fn voters_value(voters: &VoterSet) -> Bytes {
    let text = |text: &String| StrBytes::from(text.as_str());
    let voters = voters.iter().map(|voter| voters_record::Voter {
        voter_id: voter.key.id,
        voter_directory_id: voter.key.directory_id,
        endpoints: voter
            .endpoints
            .iter()
            .map(|endpoint| voters_record::Endpoint {
                name: text(&endpoint.name),
                host: text(&endpoint.host),
                port: endpoint.port,
                ..Default::default()
            })
            .collect(),
        kraft_version_feature: voters_record::KRaftVersionFeature {
            min_supported_version: voter.kraft_version_min,
            max_supported_version: voter.kraft_version_max,
            ..Default::default()
        },
        ..Default::default()
    });
    control_value(&VotersRecord {
        version: 0,
        voters: voters.collect(),
        ..Default::default()
    })
}
