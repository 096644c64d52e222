//! Reads the bytes of a snapshot in pieces of any size, checks them, and gives out header, records
//! and footer. Writing is next door in `writer.rs`.

use std::fmt;

use bytes::{Bytes, BytesMut};
use odradek_protocol::control_records::SnapshotHeaderRecord;
use odradek_protocol::records::{self, BatchError, BatchHeader, HEADER_BYTES};

use crate::consensus::batch::{self, BatchFault};
use crate::consensus::{BATCH_BYTES_MAX, SnapshotId, SnapshotView, VoterSet};

/// What the header batch says.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotHeader {
    /// Time of the newest record contained, in milliseconds.
    pub last_contained_log_timestamp_ms: i64,
    /// kraft.version, 0 without the record.
    pub kraft_version: i16,
    /// Voters, none without the record.
    pub voters: Option<VoterSet>,
}

/// A piece of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub enum SnapshotPart {
    /// Comes first.
    Header(SnapshotHeader),
    /// Values of the framed metadata records of one batch.
    Records(Vec<Bytes>),
    /// Comes last.
    Footer,
}

/// What one batch of a snapshot is.
enum Found {
    Header(SnapshotHeader),
    /// Metadata records; the batch as it lies.
    Records(Bytes),
    /// A control batch in the middle, which says nothing of metadata.
    Nothing,
    Footer,
}

/// Why bytes are no snapshot.
#[derive(Clone, Debug, PartialEq)]
pub enum SnapshotError {
    /// A batch is broken.
    Batch {
        /// Byte position of the batch in the file.
        position: u64,
        /// What is wrong with it.
        fault: BatchFault,
    },
    /// A batch is larger than any that is written.
    BatchTooLarge {
        /// Byte position of the batch in the file.
        position: u64,
        /// Its length.
        length: usize,
    },
    /// Offsets do not count from 0 without a gap.
    Offset {
        /// Expected base offset.
        expected: i64,
        /// Found base offset.
        found: i64,
    },
    /// A batch has another epoch than the snapshot's name.
    Epoch {
        /// Of the name.
        expected: i32,
        /// Found.
        found: i32,
    },
    /// Does not begin with a SnapshotHeader record.
    HeaderMissing,
    /// Ends without a SnapshotFooter record: cut off.
    FooterMissing,
    /// Goes on after the footer.
    AfterFooter {
        /// Byte position of what follows.
        position: u64,
    },
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("metadata snapshot: ")?;
        match self {
            SnapshotError::Batch { position, fault } => {
                write!(formatter, "batch at byte {position}: {fault}")
            }
            SnapshotError::BatchTooLarge { position, length } => write!(
                formatter,
                "batch at byte {position} claims {length} bytes, more than any snapshot holds"
            ),
            SnapshotError::Offset { expected, found } => write!(
                formatter,
                "a batch starts at offset {found}, expected {expected}"
            ),
            SnapshotError::Epoch { expected, found } => write!(
                formatter,
                "a batch has epoch {found}, the file's name says {expected}"
            ),
            SnapshotError::HeaderMissing => formatter.write_str("no header record at its start"),
            SnapshotError::FooterMissing => {
                formatter.write_str("no footer record at its end: the file is cut off")
            }
            SnapshotError::AfterFooter { position } => {
                write!(formatter, "data after the footer, at byte {position}")
            }
        }
    }
}

impl std::error::Error for SnapshotError {}

/// Reads one snapshot: `feed` pieces of the file in order, then `finish`.
#[derive(Debug)]
pub struct SnapshotReader {
    /// None accepts whatever epoch the first batch has (`bootstrap.checkpoint` has no name).
    epoch: Option<i32>,
    pending: BytesMut,
    position: u64,
    next_offset: i64,
    header_seen: bool,
    footer_seen: bool,
}

impl SnapshotReader {
    /// A reader that checks the epoch of every batch against the file's name.
    pub fn new(id: SnapshotId) -> Self {
        Self {
            epoch: Some(id.epoch),
            ..Self::unnamed()
        }
    }

    /// A reader for a file without offset and epoch in its name.
    pub fn unnamed() -> Self {
        Self {
            epoch: None,
            pending: BytesMut::new(),
            position: 0,
            next_offset: 0,
            header_seen: false,
            footer_seen: false,
        }
    }

    /// Takes the next bytes of the file and adds what is whole by now to `parts`. Keeps at most
    /// one unfinished batch.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        parts: &mut Vec<SnapshotPart>,
    ) -> Result<(), SnapshotError> {
        self.pending.extend_from_slice(bytes);
        let mut pending = std::mem::take(&mut self.pending);
        while let Some(length) = self.whole_batch(&pending)? {
            let one = pending.split_to(length).freeze();
            let position = self.position;
            parts.push(match self.read_batch(one)? {
                Found::Header(header) => SnapshotPart::Header(header),
                Found::Records(batch) => {
                    let mut values = Vec::new();
                    each_record(position, &batch, &mut |held, value| {
                        values.push(held.slice_ref(value));
                        Ok::<(), SnapshotError>(())
                    })?;
                    SnapshotPart::Records(values)
                }
                Found::Nothing => SnapshotPart::Records(Vec::new()),
                Found::Footer => SnapshotPart::Footer,
            });
        }
        self.pending = pending;
        Ok(())
    }

    /// The length of the batch at the start of `bytes`, when all of it is there.
    fn whole_batch(&self, bytes: &[u8]) -> Result<Option<usize>, SnapshotError> {
        if bytes.len() < HEADER_BYTES {
            return Ok(None);
        }
        let header = BatchHeader::parse(bytes).map_err(|error| self.fault(error.into()))?;
        let length = header.size_bytes();
        if length > 2 * BATCH_BYTES_MAX {
            let position = self.position;
            return Err(SnapshotError::BatchTooLarge { position, length });
        }
        Ok((bytes.len() >= length).then_some(length))
    }

    /// Checks that the snapshot is whole.
    pub fn finish(self) -> Result<(), SnapshotError> {
        if !self.header_seen {
            return Err(SnapshotError::HeaderMissing);
        }
        if !self.footer_seen || !self.pending.is_empty() {
            return Err(SnapshotError::FooterMissing);
        }
        Ok(())
    }

    fn fault(&self, fault: BatchFault) -> SnapshotError {
        SnapshotError::Batch {
            position: self.position,
            fault,
        }
    }

    fn read_batch(&mut self, bytes: Bytes) -> Result<Found, SnapshotError> {
        if self.footer_seen {
            let position = self.position;
            return Err(SnapshotError::AfterFooter { position });
        }
        let header = BatchHeader::parse(&bytes).map_err(|error| self.fault(error.into()))?;
        let parsed = batch::parse_batches(&bytes).map_err(|fault| self.fault(fault))?;
        let Some(parsed) = parsed.into_iter().next() else {
            return Err(self.fault(BatchFault::Format(BatchError::BadLength(0))));
        };
        if header.base_offset != self.next_offset {
            return Err(SnapshotError::Offset {
                expected: self.next_offset,
                found: header.base_offset,
            });
        }
        let epoch = *self.epoch.get_or_insert(parsed.batch.epoch);
        if parsed.batch.epoch != epoch {
            return Err(SnapshotError::Epoch {
                expected: epoch,
                found: parsed.batch.epoch,
            });
        }
        self.next_offset = parsed.batch.end;
        let found = if !self.header_seen {
            self.read_header(parsed)?
        } else if parsed.batch.control {
            self.read_footer(&parsed.batch.bytes)?
        } else {
            Found::Records(parsed.batch.bytes)
        };
        self.position += bytes.len() as u64;
        Ok(found)
    }

    fn read_header(&mut self, parsed: batch::ParsedBatch) -> Result<Found, SnapshotError> {
        let controls = if parsed.batch.control {
            batch::control_records(&parsed.batch.bytes).map_err(|fault| self.fault(fault))?
        } else {
            Vec::new()
        };
        let Some((batch::SNAPSHOT_HEADER, value)) = controls.into_iter().next() else {
            return Err(SnapshotError::HeaderMissing);
        };
        let header: SnapshotHeaderRecord = batch::read_control(batch::SNAPSHOT_HEADER, value)
            .map_err(|fault| self.fault(fault))?;
        self.header_seen = true;
        Ok(Found::Header(SnapshotHeader {
            last_contained_log_timestamp_ms: header.last_contained_log_timestamp,
            kraft_version: parsed.kraft_version.unwrap_or(0),
            voters: parsed.voters,
        }))
    }

    fn read_footer(&mut self, bytes: &Bytes) -> Result<Found, SnapshotError> {
        let controls = batch::control_records(bytes).map_err(|fault| self.fault(fault))?;
        self.footer_seen = controls
            .iter()
            .any(|(control_type, _)| *control_type == batch::SNAPSHOT_FOOTER);
        Ok(match self.footer_seen {
            true => Found::Footer,
            false => Found::Nothing,
        })
    }
}

/// Hands over the value of each record of the batch at `position`, and what it lies in.
fn each_record<Refusal: From<SnapshotError>>(
    position: u64,
    batch: &Bytes,
    each: &mut impl FnMut(&Bytes, &[u8]) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let fault = |error: BatchError| SnapshotError::Batch {
        position,
        fault: error.into(),
    };
    let records = records::records(batch, batch::DECOMPRESSED_BYTES_MAX).map_err(fault)?;
    for view in records.views() {
        let value = view.map_err(fault)?.value.unwrap_or_default();
        each(records.decompressed(), value)?;
    }
    Ok(())
}

/// Reads a snapshot held in memory: what it says of the quorum, and its metadata records.
pub fn read_snapshot(
    id: SnapshotId,
    bytes: &[u8],
) -> Result<(SnapshotView, SnapshotHeader, Vec<Bytes>), SnapshotError> {
    let mut all_records = Vec::new();
    let bytes = Bytes::copy_from_slice(bytes);
    let (view, header) = walk_snapshot(id, bytes, |held, record| {
        all_records.push(held.slice_ref(record));
        Ok::<(), SnapshotError>(())
    })?;
    Ok((view, header, all_records))
}

/// Like [`read_snapshot`], but hands each record's value over as it is met, with the bytes that it lies in: a snapshot of millions is never
/// held as a list, nor counted how many look at it. An error of `each` ends the walk.
pub fn walk_snapshot<Refusal: From<SnapshotError>>(
    id: SnapshotId,
    bytes: Bytes,
    mut each: impl FnMut(&Bytes, &[u8]) -> Result<(), Refusal>,
) -> Result<(SnapshotView, SnapshotHeader), Refusal> {
    let size_bytes = bytes.len() as u64;
    let mut reader = SnapshotReader::new(id);
    let mut rest = bytes;
    let mut found_header = None;
    while let Some(length) = reader.whole_batch(&rest)? {
        let position = reader.position;
        match reader.read_batch(rest.split_to(length))? {
            Found::Header(header) => found_header = Some(header),
            Found::Records(batch) => each_record(position, &batch, &mut each)?,
            Found::Nothing | Found::Footer => {}
        }
    }
    reader.pending.extend_from_slice(&rest);
    reader.finish()?;
    let header = found_header.ok_or(SnapshotError::HeaderMissing)?;
    let view = SnapshotView {
        id,
        size_bytes,
        kraft_version: header.kraft_version,
        voters: header.voters.clone(),
    };
    Ok((view, header))
}
