//! Writing Kafka's primitive types, by the tables and by hand. The other direction is in `reader`.

use super::reader::STRING_BYTES_MAX;
use super::{EncodeError, StrBytes, Uuid};
use bytes::Bytes;
use smallvec::SmallVec;

/// Encoded bytes in order, for one vectored send.
pub type Segments = SmallVec<[Bytes; 4]>;

/// Bytes fields shorter than this are copied: a segment of their own would cost more than the copy.
const SHARED_BYTES_MIN: usize = 1024;

#[derive(Debug)]
enum Segment {
    Owned(Vec<u8>),
    Shared(Bytes),
}

/// Encoded bytes under construction.
///
/// `bytes` and `records` of 1 KiB or more are not copied: they become segments of their own.
#[derive(Debug, Default)]
pub struct Writer {
    finished: SmallVec<[Segment; 4]>,
    finished_bytes: usize,
    current: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Writer::default()
    }

    /// An empty writer with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Writer {
            current: Vec::with_capacity(bytes),
            ..Writer::default()
        }
    }

    /// A writer that starts with four bytes for the frame length, which [`Writer::finish_frame`] fills in.
    pub fn frame() -> Self {
        let mut writer = Writer::with_capacity(512);
        writer.write_i32(0);
        writer
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.finished_bytes + self.current.len()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was written, as segments.
    pub fn finish(mut self) -> Segments {
        self.seal();
        self.finished
            .into_iter()
            .map(|segment| match segment {
                Segment::Owned(bytes) => Bytes::from(bytes),
                Segment::Shared(bytes) => bytes,
            })
            .collect()
    }

    /// Fills in the length of the bytes after the first four, which [`Writer::frame`] left free, and finishes.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] beyond 2 GiB.
    pub fn finish_frame(mut self) -> Result<Segments, EncodeError> {
        self.seal();
        let length = self.finished_bytes.saturating_sub(4);
        let length = i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?;
        match self.finished.first_mut() {
            Some(Segment::Owned(first)) if first.len() >= 4 => {
                first[..4].copy_from_slice(&length.to_be_bytes())
            }
            _ => unreachable!("a frame's first four bytes are written when it is made"),
        }
        Ok(self.finish())
    }

    /// What was written, in one piece. Copies when there is more than one segment.
    pub fn into_bytes(mut self) -> Bytes {
        if self.finished.is_empty() {
            return Bytes::from(self.current);
        }
        let mut whole = Vec::with_capacity(self.len());
        self.seal();
        for segment in &self.finished {
            match segment {
                Segment::Owned(bytes) => whole.extend_from_slice(bytes),
                Segment::Shared(bytes) => whole.extend_from_slice(bytes),
            }
        }
        Bytes::from(whole)
    }

    fn seal(&mut self) {
        if !self.current.is_empty() {
            let current = std::mem::take(&mut self.current);
            self.finished_bytes += current.len();
            self.finished.push(Segment::Owned(current));
        }
    }

    /// Goes on in a new segment when the current one has grown to `bytes`: a long message is then never moved while it grows.
    pub fn continue_in_segments_of(&mut self, bytes: usize) {
        if self.current.len() >= bytes {
            self.seal();
            self.current.reserve_exact(bytes + bytes / 8);
        }
    }

    /// Appends bytes as they are, copied.
    pub fn write_raw(&mut self, bytes: &[u8]) {
        self.current.extend_from_slice(bytes);
    }

    /// Appends bytes as they are, shared when they are long.
    pub fn write_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            return self.write_raw(bytes);
        }
        self.seal();
        self.finished_bytes += bytes.len();
        self.finished.push(Segment::Shared(bytes.clone()));
    }

    /// Appends bytes as they are, shared even when they are short: for what was written before.
    pub fn write_segment(&mut self, bytes: Bytes) {
        self.seal();
        self.finished_bytes += bytes.len();
        self.finished.push(Segment::Shared(bytes));
    }

    /// One byte.
    pub fn write_u8(&mut self, value: u8) {
        self.current.push(value);
    }

    /// bool.
    pub fn write_bool(&mut self, value: bool) {
        self.current.push(value.into());
    }

    /// int8.
    pub fn write_i8(&mut self, value: i8) {
        self.write_raw(&value.to_be_bytes());
    }

    /// int16, big-endian like all others.
    pub fn write_i16(&mut self, value: i16) {
        self.write_raw(&value.to_be_bytes());
    }

    /// uint16.
    pub fn write_u16(&mut self, value: u16) {
        self.write_raw(&value.to_be_bytes());
    }

    /// int32.
    pub fn write_i32(&mut self, value: i32) {
        self.write_raw(&value.to_be_bytes());
    }

    /// uint32.
    pub fn write_u32(&mut self, value: u32) {
        self.write_raw(&value.to_be_bytes());
    }

    /// int64.
    pub fn write_i64(&mut self, value: i64) {
        self.write_raw(&value.to_be_bytes());
    }

    /// float64.
    pub fn write_f64(&mut self, value: f64) {
        self.write_raw(&value.to_be_bytes());
    }

    /// uuid.
    pub fn write_uuid(&mut self, value: Uuid) {
        self.write_raw(&value.0);
    }

    /// An unsigned varint.
    pub fn write_unsigned_varint(&mut self, value: u32) {
        self.write_unsigned_varlong(value.into());
    }

    /// A zig-zag varint, as records use.
    pub fn write_varint(&mut self, value: i32) {
        self.write_unsigned_varint((value << 1 ^ value >> 31) as u32);
    }

    /// A zig-zag varint of up to 10 bytes, as records use.
    pub fn write_varlong(&mut self, value: i64) {
        self.write_unsigned_varlong((value << 1 ^ value >> 63) as u64);
    }

    fn write_unsigned_varlong(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.current.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.current.push(value as u8);
    }

    /// A length or count, or null: int32, or an unsigned varint of one more in flexible versions.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] from 2 Gi on.
    pub fn write_length(
        &mut self,
        length: Option<usize>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        match length {
            None if flexible => self.write_u8(0),
            None => self.write_i32(-1),
            Some(length) => {
                let number = i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?;
                if flexible {
                    self.write_unsigned_varint(number as u32 + 1);
                } else {
                    self.write_i32(number);
                }
            }
        }
        Ok(())
    }

    /// The count of an array in a flexible version. At most `i32::MAX`, which no array in memory reaches here.
    pub fn write_compact_array_len(&mut self, count: usize) {
        debug_assert!(count < i32::MAX as usize);
        self.write_unsigned_varint(count as u32 + 1);
    }

    /// A null array, string or bytes in a flexible version.
    pub fn write_compact_null(&mut self) {
        self.write_u8(0);
    }

    /// A string in a flexible version.
    ///
    /// # Errors
    /// [`EncodeError::StringTooLong`] beyond 32,767 bytes.
    pub fn write_compact_string(&mut self, text: &str) -> Result<(), EncodeError> {
        self.write_nullable_string(Some(text.as_bytes()), true)
    }

    /// A string in a version that is not flexible.
    ///
    /// # Errors
    /// [`EncodeError::StringTooLong`] beyond 32,767 bytes.
    pub fn write_string(&mut self, text: &str) -> Result<(), EncodeError> {
        self.write_nullable_string(Some(text.as_bytes()), false)
    }

    /// A string or null.
    pub(crate) fn write_nullable_string(
        &mut self,
        text: Option<&[u8]>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        let Some(text) = text else {
            if flexible {
                self.write_u8(0);
            } else {
                self.write_i16(-1);
            }
            return Ok(());
        };
        if text.len() > STRING_BYTES_MAX {
            return Err(EncodeError::StringTooLong(text.len()));
        }
        if flexible {
            self.write_unsigned_varint(text.len() as u32 + 1);
        } else {
            self.write_i16(text.len() as i16);
        }
        self.write_raw(text);
        Ok(())
    }

    /// A string that may be null.
    ///
    /// # Errors
    /// [`EncodeError::StringTooLong`] beyond 32,767 bytes.
    pub fn write_optional_string(
        &mut self,
        text: Option<&StrBytes>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        self.write_nullable_string(text.map(StrBytes::as_byte_slice), flexible)
    }

    /// As [`Writer::write_optional_string`], of text that lies elsewhere.
    ///
    /// # Errors
    /// When it is longer than a string may be.
    pub fn write_optional_str(
        &mut self,
        text: Option<&str>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        self.write_nullable_string(text.map(str::as_bytes), flexible)
    }

    /// bytes or records, or null; long ones are shared.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] from 2 GiB on.
    pub fn write_nullable_bytes(
        &mut self,
        bytes: Option<&Bytes>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        self.write_length(bytes.map(Bytes::len), flexible)?;
        if let Some(bytes) = bytes {
            self.write_shared(bytes);
        }
        Ok(())
    }

    /// An array of int32, as replica lists are.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] from 2 Gi on.
    pub fn write_i32_array(&mut self, values: &[i32], flexible: bool) -> Result<(), EncodeError> {
        self.write_length(Some(values.len()), flexible)?;
        self.current.reserve(4 * values.len());
        for value in values {
            self.write_i32(*value);
        }
        Ok(())
    }

    /// The end of a struct without tagged fields, in a flexible version.
    pub fn write_empty_tagged_fields(&mut self) {
        self.write_u8(0);
    }
}

/// Bytes of `value` as an unsigned varint.
pub(crate) fn unsigned_varint_size(value: u32) -> usize {
    (38 - value.leading_zeros() as usize) / 7 + usize::from(value == 0)
}
