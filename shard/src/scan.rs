//! Looking inside a stored batch: the record that a time stamp asks for.

use bytes::Bytes;
use odradek_protocol::records::{self, BatchError, RecordOutlines};

/// A record found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its time stamp in milliseconds; the batch's, when the leader stamped it.
    pub timestamp_ms: i64,
    /// Its offset.
    pub offset: i64,
    /// Leader epoch of its batch.
    pub leader_epoch: i32,
}

/// The first record of a stored batch, from offset `from` on, whose time stamp is `timestamp_ms` or later.
pub fn first_at_or_after(
    batch: &Bytes,
    from: i64,
    timestamp_ms: i64,
    bytes_max: usize,
) -> Result<Option<Found>, BatchError> {
    for found in stamps(records::outlines(batch, bytes_max)?) {
        let found = found?;
        if found.timestamp_ms >= timestamp_ms && found.offset >= from {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The first record of a stored batch, from offset `from` on, that has its largest time stamp.
pub fn max_timestamp(
    batch: &Bytes,
    from: i64,
    bytes_max: usize,
) -> Result<Option<Found>, BatchError> {
    let mut best: Option<Found> = None;
    for found in stamps(records::outlines(batch, bytes_max)?) {
        let found = found?;
        if found.offset >= from && best.is_none_or(|best| found.timestamp_ms > best.timestamp_ms) {
            best = Some(found);
        }
    }
    Ok(best)
}

fn stamps(records: RecordOutlines<'_>) -> impl Iterator<Item = Result<Found, BatchError>> + '_ {
    let header = *records.header();
    records.map(move |outline| {
        let outline = outline?;
        Ok(Found {
            timestamp_ms: if header.is_log_append_time() {
                header.max_timestamp
            } else {
                header
                    .base_timestamp
                    .saturating_add(outline.timestamp_delta)
            },
            offset: header
                .base_offset
                .saturating_add(i64::from(outline.offset_delta)),
            leader_epoch: header.partition_leader_epoch,
        })
    })
}
