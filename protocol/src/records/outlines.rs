//! The records inside a batch, without their bytes: for checks and counts. A compressed batch is unpacked some 32 KiB at a time
//! and keys, values and headers are passed over, so that no more of it is ever in memory. Records with their bytes are in
//! `iteration`.

use super::*;
use crate::compression::Decompressor;

/// What a record says beside its key, value and headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordOutline {
    /// Less the batch's base offset.
    pub offset_delta: i32,
    /// Less the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Bytes of its key; `None` without one.
    pub key_bytes: Option<usize>,
    /// Bytes of its value; `None` of a tombstone.
    pub value_bytes: Option<usize>,
    /// How many headers.
    pub headers_count: i32,
}

/// What is unpacked at a time.
const CHUNK_BYTES_MAX: usize = 32 << 10;
const CHUNK_BYTES_MIN: usize = 512;

/// The outlines of one batch's records.
///
/// `bytes_max` bounds the decompressed records, as in [`super::records`]; so do the errors, which come where they lie.
///
/// # Errors
/// What the header alone shows: everything in [`BatchError`] but the CRC, which is [`verify_crc`]'s duty.
pub fn outlines(batch: &[u8], bytes_max: usize) -> Result<RecordOutlines<'_>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let chunk_bytes = header.size_bytes().clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
    outlines_by(batch, bytes_max, chunk_bytes)
}

/// The same with chunks of this size: for tests.
#[doc(hidden)]
pub fn outlines_by(
    batch: &[u8],
    bytes_max: usize,
    chunk_bytes: usize,
) -> Result<RecordOutlines<'_>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    header.check_whole(batch.len())?;
    let body = &batch[HEADER_BYTES..header.size_bytes()];
    let count = header.records_count;
    let source = match header.compression()? {
        _ if count < 0 => {
            return Err(BatchError::BadCount {
                stored: count,
                found: 0,
            });
        }
        Compression::None => Source::Plain {
            views: RecordViews::new(body, count),
            bytes: body.len(),
        },
        compression => Source::Stream(Stream {
            decompressor: Decompressor::new(compression, body, bytes_max)?,
            chunk: vec![0; chunk_bytes],
            start: 0,
            end: 0,
        }),
    };
    Ok(RecordOutlines {
        header,
        source,
        index: 0,
        ended: false,
    })
}

/// See [`outlines`]. Ends after the first error.
#[derive(Debug)]
pub struct RecordOutlines<'a> {
    header: BatchHeader,
    source: Source<'a>,
    index: i32,
    ended: bool,
}

#[derive(Debug)]
enum Source<'a> {
    Plain {
        views: RecordViews<'a>,
        bytes: usize,
    },
    Stream(Stream<'a>),
}

impl RecordOutlines<'_> {
    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Bytes of the records when decompressed: all of them after the last outline, those seen so far before it.
    pub fn decompressed_bytes(&self) -> usize {
        match &self.source {
            Source::Plain { bytes, .. } => *bytes,
            Source::Stream(stream) => stream.decompressor.bytes_read(),
        }
    }
}

impl Iterator for RecordOutlines<'_> {
    type Item = Result<RecordOutline, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let stream = match &mut self.source {
            Source::Plain { views, .. } => {
                return views.next().map(|view| view.map(RecordOutline::of));
            }
            Source::Stream(stream) => stream,
        };
        if self.ended {
            return None;
        }
        let outline = stream.next(self.header.records_count, self.index);
        self.index += 1;
        self.ended = !matches!(outline, Ok(Some(_)));
        outline.transpose()
    }
}

impl RecordOutline {
    fn of(view: RecordView<'_>) -> Self {
        RecordOutline {
            offset_delta: view.offset_delta,
            timestamp_delta: view.timestamp_delta,
            key_bytes: view.key.map(<[u8]>::len),
            value_bytes: view.value.map(<[u8]>::len),
            headers_count: view.headers_count,
        }
    }
}

/// Why a record does not come out of a stream.
enum Stop {
    Problem(RecordProblem),
    Batch(BatchError),
}

impl From<RecordProblem> for Stop {
    fn from(problem: RecordProblem) -> Self {
        Stop::Problem(problem)
    }
}

impl From<CompressionError> for Stop {
    fn from(error: CompressionError) -> Self {
        Stop::Batch(BatchError::Compression(error))
    }
}

#[derive(Debug)]
struct Stream<'a> {
    decompressor: Decompressor<'a>,
    chunk: Vec<u8>,
    /// What of the chunk is not read yet.
    start: usize,
    end: usize,
}

impl Stream<'_> {
    fn next(&mut self, count: i32, index: i32) -> Result<Option<RecordOutline>, BatchError> {
        let more = self.fill()?;
        if index >= count || !more {
            // Bytes after the last record, or none before it: the count lies.
            return match (more, index >= count) {
                (false, true) => Ok(None),
                (more, _) => Err(BatchError::BadCount {
                    stored: count,
                    found: index.saturating_add(i32::from(more)),
                }),
            };
        }
        match self.record() {
            Ok(outline) => Ok(Some(outline)),
            Err(Stop::Problem(problem)) => Err(BatchError::BadRecord { index, problem }),
            Err(Stop::Batch(error)) => Err(error),
        }
    }

    /// Unpacks the next chunk when this one is read. Whether there is a byte to read.
    fn fill(&mut self) -> Result<bool, CompressionError> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            self.end = self.decompressor.read(&mut self.chunk)?;
        }
        Ok(self.start < self.end)
    }

    fn record(&mut self) -> Result<RecordOutline, Stop> {
        // Nothing bounds the length itself but what is there.
        let mut unbounded = usize::MAX;
        let length = self.varint(&mut unbounded)?;
        let left = &mut usize::try_from(length).map_err(|_| RecordProblem::NegativeLength)?;
        self.pass(1, left)?; // Attributes, of which there are none.
        let timestamp_delta = self.varlong(left)?;
        let offset_delta = self.varint(left)?;
        let key_bytes = self.nullable(left)?;
        let value_bytes = self.nullable(left)?;
        let headers_count = self.varint(left)?;
        // A header takes two bytes at least.
        match usize::try_from(headers_count) {
            Ok(count) if count <= *left / 2 => {}
            Ok(_) => return Err(RecordProblem::Truncated.into()),
            Err(_) => return Err(RecordProblem::NegativeLength.into()),
        }
        for _ in 0..headers_count {
            if self.nullable(left)?.is_none() {
                return Err(RecordProblem::NegativeLength.into());
            }
            self.nullable(left)?;
        }
        if *left != 0 {
            return Err(RecordProblem::LengthMismatch.into());
        }
        Ok(RecordOutline {
            offset_delta,
            timestamp_delta,
            key_bytes,
            value_bytes,
            headers_count,
        })
    }

    fn byte(&mut self, left: &mut usize) -> Result<u8, Stop> {
        if *left == 0 || !self.fill()? {
            return Err(RecordProblem::Truncated.into());
        }
        *left -= 1;
        let byte = self.chunk[self.start];
        self.start += 1;
        Ok(byte)
    }

    fn pass(&mut self, bytes: usize, left: &mut usize) -> Result<(), Stop> {
        *left = left.checked_sub(bytes).ok_or(RecordProblem::Truncated)?;
        let mut bytes = bytes;
        while bytes > 0 {
            if !self.fill()? {
                return Err(RecordProblem::Truncated.into());
            }
            let here = bytes.min(self.end - self.start);
            self.start += here;
            bytes -= here;
        }
        Ok(())
    }

    fn nullable(&mut self, left: &mut usize) -> Result<Option<usize>, Stop> {
        match self.varint(left)? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| RecordProblem::NegativeLength)?;
                self.pass(length, left)?;
                Ok(Some(length))
            }
        }
    }

    fn varint(&mut self, left: &mut usize) -> Result<i32, Stop> {
        let number = self.unsigned_varlong(5, left)?;
        let number = u32::try_from(number).map_err(|_| RecordProblem::BadVarint)?;
        Ok((number >> 1) as i32 ^ -((number & 1) as i32))
    }

    fn varlong(&mut self, left: &mut usize) -> Result<i64, Stop> {
        let number = self.unsigned_varlong(10, left)?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn unsigned_varlong(&mut self, bytes_max: u32, left: &mut usize) -> Result<u64, Stop> {
        let mut number = 0u64;
        for index in 0..bytes_max {
            let byte = self.byte(left)?;
            let shift = 7 * index;
            if shift == 63 && byte > 1 {
                return Err(RecordProblem::BadVarint.into());
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(RecordProblem::BadVarint.into())
    }
}
