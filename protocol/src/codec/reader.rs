//! Reading Kafka's primitive types from bytes that anyone may have sent. The other direction is in `writer`.

use super::{DecodeError, DecodeErrorKind, StrBytes, Uuid};
use bytes::Bytes;

/// The longest string on Kafka's wire, in bytes.
pub(crate) const STRING_BYTES_MAX: usize = 0x7fff;

/// A position in received bytes, with a bound on the memory that decoding them may take.
///
/// Byte fields and strings come out as slices of the same memory. Only arrays and unknown tagged fields allocate; each is
/// charged to the budget before it is made.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
    budget: usize,
    charged: usize,
}

impl Reader {
    /// With the budget that any well-formed message keeps to: 64 KiB and 128 bytes for each byte received.
    pub fn new(bytes: Bytes) -> Self {
        let budget = bytes.len().saturating_mul(128).saturating_add(64 << 10);
        Reader::with_budget(bytes, budget)
    }

    /// With a budget of `budget` bytes of memory for all that is decoded.
    pub fn with_budget(bytes: Bytes, budget: usize) -> Self {
        Reader {
            bytes,
            position: 0,
            budget,
            charged: 0,
        }
    }

    /// Over a copy of `bytes`: for tests and small keys.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Reader::new(Bytes::copy_from_slice(bytes))
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Memory charged so far, in bytes.
    pub fn charged(&self) -> usize {
        self.charged
    }

    /// The bytes not read yet, shared.
    pub fn rest(&self) -> Bytes {
        self.bytes.slice(self.position..)
    }

    /// Refuses bytes after the end.
    pub fn expect_end(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(self.error(DecodeErrorKind::TrailingBytes(count))),
        }
    }

    /// An error at this place.
    pub fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError {
            kind,
            field: "",
            position: self.position,
        }
    }

    /// Charges `bytes` of memory about to be allocated.
    pub fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let charged = self.charged.saturating_add(bytes);
        if charged > self.budget {
            return Err(self.error(DecodeErrorKind::BudgetExceeded {
                budget: self.budget,
            }));
        }
        self.charged = charged;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes[self.position..].first_chunk::<N>() {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        self.error(DecodeErrorKind::Truncated {
            needed,
            remaining: self.remaining(),
        })
    }

    /// One byte.
    pub fn read_u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Any byte but 0 is true, as in Kafka.
    pub fn read_bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.read_u8()? != 0)
    }

    /// int8.
    pub fn read_i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// int16, big-endian like all others.
    pub fn read_i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// uint16.
    pub fn read_u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// int32.
    pub fn read_i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// uint32.
    pub fn read_u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// int64.
    pub fn read_i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// float64.
    pub fn read_f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    /// uuid.
    pub fn read_uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(self.array()?))
    }

    /// An unsigned varint of at most 5 bytes.
    pub fn read_unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let number = self.read_unsigned_varlong_of(5)?;
        u32::try_from(number).map_err(|_| self.error(DecodeErrorKind::InvalidVarint))
    }

    /// A zig-zag varint of at most 5 bytes, as records use.
    pub fn read_varint(&mut self) -> Result<i32, DecodeError> {
        let number = self.read_unsigned_varint()?;
        Ok((number >> 1) as i32 ^ -((number & 1) as i32))
    }

    /// A zig-zag varint of at most 10 bytes, as records use.
    pub fn read_varlong(&mut self) -> Result<i64, DecodeError> {
        let number = self.read_unsigned_varlong_of(10)?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn read_unsigned_varlong_of(&mut self, bytes_max: usize) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for (index, byte) in self.bytes[self.position..]
            .iter()
            .take(bytes_max)
            .enumerate()
        {
            let shift = 7 * index as u32;
            // The tenth byte has room for one bit.
            if shift == 63 && *byte > 1 {
                return Err(self.error(DecodeErrorKind::InvalidVarint));
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                self.position += index + 1;
                return Ok(number);
            }
        }
        let read = self.remaining().min(bytes_max);
        Err(if read < bytes_max {
            self.truncated(read + 1)
        } else {
            self.error(DecodeErrorKind::InvalidVarint)
        })
    }

    /// The next `length` bytes, shared.
    pub fn read_slice(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(length));
        }
        let slice = self.bytes.slice(self.position..self.position + length);
        self.position += length;
        Ok(slice)
    }

    /// Passes over `length` bytes.
    pub fn skip(&mut self, length: usize) -> Result<(), DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(length));
        }
        self.position += length;
        Ok(())
    }

    /// A length or count: int32, or an unsigned varint of one more in flexible versions. Null is `None`.
    pub(crate) fn read_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            let number = self.read_unsigned_varint()?;
            return Ok(number.checked_sub(1).map(|length| length as usize));
        }
        match self.read_i32()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(self.error(DecodeErrorKind::NegativeLength(length.into()))),
            },
        }
    }

    /// The count of an array, refused when the bytes that remain could not hold so many. Null is `None`.
    pub fn read_array_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let count = self.read_length(flexible)?;
        match count {
            // No element of Kafka's arrays takes less than a byte.
            Some(count) if count > self.remaining() => {
                Err(self.error(DecodeErrorKind::CountTooLarge {
                    count: count as u64,
                    remaining: self.remaining(),
                }))
            }
            count => Ok(count),
        }
    }

    /// bytes or records; null is `None`.
    pub fn read_nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.read_length(flexible)? {
            None => Ok(None),
            Some(length) => self.read_slice(length).map(Some),
        }
    }

    /// string; null is `None`.
    pub fn read_nullable_string(
        &mut self,
        flexible: bool,
    ) -> Result<Option<StrBytes>, DecodeError> {
        let length = if flexible {
            self.read_length(true)?
        } else {
            match self.read_i16()? {
                -1 => None,
                length => match usize::try_from(length) {
                    Ok(length) => Some(length),
                    Err(_) => {
                        return Err(self.error(DecodeErrorKind::NegativeLength(length.into())));
                    }
                },
            }
        };
        let Some(length) = length else {
            return Ok(None);
        };
        if length > STRING_BYTES_MAX {
            return Err(self.error(DecodeErrorKind::StringTooLong(length)));
        }
        let slice = self.read_slice(length)?;
        match StrBytes::from_utf8(slice) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(self.error(DecodeErrorKind::InvalidUtf8)),
        }
    }
}
