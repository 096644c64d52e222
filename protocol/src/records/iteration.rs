//! The records inside a batch: decompressed with a bound, then read one by one without copying. Building is in `builder`; checks
//! that need no bytes of the records stream through `outlines`.

use super::*;
use crate::compression;
use bytes::Bytes;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; the append time where the batch says so.
    pub timestamp: i64,
    /// Its key; null in records without one.
    pub key: Option<Bytes>,
    /// Its value; null is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<RecordHeader>,
}

/// A record's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Meant as UTF-8, which nobody checks.
    pub key: Bytes,
    /// May be null.
    pub value: Option<Bytes>,
}

/// One record, borrowed: for checks that store nothing.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// Less the batch's base offset.
    pub offset_delta: i32,
    /// Less the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// How many headers.
    pub headers_count: i32,
    headers: &'a [u8],
}

/// The records of one batch.
///
/// `bytes_max` bounds the decompressed records: beyond it the answer is [`crate::compression::CompressionError::TooLarge`],
/// and no more than that was decompressed. Batches that are not compressed are not copied.
///
/// # Errors
/// Everything in [`BatchError`] but the CRC, which is [`verify_crc`]'s duty.
pub fn records(batch: &Bytes, bytes_max: usize) -> Result<Records, BatchError> {
    let header = BatchHeader::parse(batch)?;
    header.check_whole(batch.len())?;
    let body = batch.slice(HEADER_BYTES..header.size_bytes());
    let body = match header.compression()? {
        Compression::None => body,
        compression => Bytes::from(compression::decompress(compression, &body, bytes_max)?),
    };
    if header.records_count < 0 {
        return Err(BatchError::BadCount {
            stored: header.records_count,
            found: 0,
        });
    }
    Ok(Records {
        header,
        body,
        position: 0,
        index: 0,
    })
}

/// See [`records`]. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Records {
    header: BatchHeader,
    body: Bytes,
    position: usize,
    index: i32,
}

impl Records {
    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records as they lie, decompressed.
    pub fn decompressed(&self) -> &Bytes {
        &self.body
    }

    /// The records, borrowed, from the first one on.
    pub fn views(&self) -> RecordViews<'_> {
        RecordViews::new(&self.body, self.header.records_count)
    }

    fn own(&self, view: RecordView<'_>) -> Result<Record, RecordProblem> {
        let share = |slice: &[u8]| self.body.slice_ref(slice);
        let timestamp = if self.header.is_log_append_time() {
            self.header.max_timestamp
        } else {
            self.header
                .base_timestamp
                .checked_add(view.timestamp_delta)
                .ok_or(RecordProblem::Overflow)?
        };
        let mut headers = Vec::with_capacity(view.headers_count as usize);
        for header in view.headers() {
            let (key, value) = header?;
            headers.push(RecordHeader {
                key: share(key),
                value: value.map(share),
            });
        }
        let offset = self
            .header
            .base_offset
            .checked_add(view.offset_delta.into());
        Ok(Record {
            offset: offset.ok_or(RecordProblem::Overflow)?,
            timestamp,
            key: view.key.map(share),
            value: view.value.map(share),
            headers,
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut views = RecordViews {
            body: &self.body[self.position..],
            count: self.header.records_count,
            index: self.index,
        };
        let next = views.next()?;
        let (rest, index) = (views.body.len(), views.index);
        let record = next.and_then(|view| {
            self.own(view).map_err(|problem| BatchError::BadRecord {
                index: index - 1,
                problem,
            })
        });
        self.position = self.body.len() - rest;
        self.index = index;
        if record.is_err() {
            self.position = self.body.len();
            self.index = self.header.records_count;
        }
        Some(record)
    }
}

/// The records of one batch, borrowed. Ends after the first error.
#[derive(Clone, Debug)]
pub struct RecordViews<'a> {
    body: &'a [u8],
    count: i32,
    index: i32,
}

impl<'a> RecordViews<'a> {
    pub(super) fn new(body: &'a [u8], count: i32) -> Self {
        RecordViews {
            body,
            count,
            index: 0,
        }
    }
}

impl<'a> Iterator for RecordViews<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            if self.body.is_empty() {
                return None;
            }
            // Bytes after the last record: the count lies.
            self.body = &[];
            return Some(Err(BatchError::BadCount {
                stored: self.count,
                found: self.index.saturating_add(1),
            }));
        }
        if self.body.is_empty() {
            let error = BatchError::BadCount {
                stored: self.count,
                found: self.index,
            };
            self.index = self.count;
            return Some(Err(error));
        }
        let index = self.index;
        match read_record(&mut self.body) {
            Ok(view) => {
                self.index += 1;
                Some(Ok(view))
            }
            Err(problem) => {
                self.body = &[];
                self.index = self.count;
                Some(Err(BatchError::BadRecord { index, problem }))
            }
        }
    }
}

impl<'a> RecordView<'a> {
    /// Key and value of each header. Those of a record that came out of [`RecordViews`] are well-formed.
    pub fn headers(
        &self,
    ) -> impl Iterator<Item = Result<(&'a [u8], Option<&'a [u8]>), RecordProblem>> + use<'a> {
        let mut rest = self.headers;
        (0..self.headers_count).map(move |_| read_header(&mut rest))
    }
}

fn read_record<'a>(body: &mut &'a [u8]) -> Result<RecordView<'a>, RecordProblem> {
    let length = varint(body)?;
    let length = usize::try_from(length).map_err(|_| RecordProblem::NegativeLength)?;
    let mut record = take(body, length)?;
    let record = &mut record;
    let _attributes = take(record, 1)?;
    let timestamp_delta = varlong(record)?;
    let offset_delta = varint(record)?;
    let key = nullable(record)?;
    let value = nullable(record)?;
    let headers_count = varint(record)?;
    // A header takes two bytes at least.
    match usize::try_from(headers_count) {
        Ok(count) if count <= record.len() / 2 => {}
        Ok(_) => return Err(RecordProblem::Truncated),
        Err(_) => return Err(RecordProblem::NegativeLength),
    }
    let headers = *record;
    for _ in 0..headers_count {
        read_header(record)?;
    }
    if !record.is_empty() {
        return Err(RecordProblem::LengthMismatch);
    }
    Ok(RecordView {
        offset_delta,
        timestamp_delta,
        key,
        value,
        headers_count,
        headers,
    })
}

fn read_header<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), RecordProblem> {
    let key = nullable(rest)?.ok_or(RecordProblem::NegativeLength)?;
    Ok((key, nullable(rest)?))
}

fn nullable<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordProblem> {
    match varint(rest)? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| RecordProblem::NegativeLength)?;
            take(rest, length).map(Some)
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], RecordProblem> {
    let (taken, left) = rest
        .split_at_checked(length)
        .ok_or(RecordProblem::Truncated)?;
    *rest = left;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<i32, RecordProblem> {
    let number = unsigned_varlong(rest, 5)?;
    let number = u32::try_from(number).map_err(|_| RecordProblem::BadVarint)?;
    Ok((number >> 1) as i32 ^ -((number & 1) as i32))
}

fn varlong(rest: &mut &[u8]) -> Result<i64, RecordProblem> {
    let number = unsigned_varlong(rest, 10)?;
    Ok((number >> 1) as i64 ^ -((number & 1) as i64))
}

#[inline]
fn unsigned_varlong(rest: &mut &[u8], bytes_max: usize) -> Result<u64, RecordProblem> {
    // Most have one byte, and lengths two.
    match **rest {
        [one @ ..0x80, ref left @ ..] => {
            *rest = left;
            Ok(one.into())
        }
        [one, two @ ..0x80, ref left @ ..] => {
            *rest = left;
            Ok(u64::from(one & 0x7f) | u64::from(two) << 7)
        }
        _ => long_unsigned_varlong(rest, bytes_max),
    }
}

fn long_unsigned_varlong(rest: &mut &[u8], bytes_max: usize) -> Result<u64, RecordProblem> {
    let mut number = 0u64;
    for (index, byte) in rest.iter().take(bytes_max).enumerate() {
        let shift = 7 * index as u32;
        if shift == 63 && *byte > 1 {
            return Err(RecordProblem::BadVarint);
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            *rest = &rest[index + 1..];
            return Ok(number);
        }
    }
    Err(if rest.len() < bytes_max {
        RecordProblem::Truncated
    } else {
        RecordProblem::BadVarint
    })
}
