//! How each of Kafka's types lies in bytes: numbers, strings, bytes, arrays, and null. Structs come from the macro.

use super::reader::STRING_BYTES_MAX;
use super::writer::unsigned_varint_size;
use super::{
    At, DecodeError, DecodeErrorKind, EncodeError, Initial, Reader, Reflected, StrBytes, Uuid,
    Writer,
};
use bytes::Bytes;

/// A value of one of Kafka's types.
///
/// Structs hand their fields over as `dyn Value`s, so that one function walks every table: code generated for each field of some
/// six hundred structs would be megabytes and minutes of compilation.
pub trait Value {
    /// Reads a value in the place of this one, which is a default. After an error it is partly read.
    fn decode_in_place(&mut self, reader: &mut Reader, at: At) -> Result<(), DecodeError>;
    /// Appends the value.
    fn encode_value(&self, writer: &mut Writer, at: At) -> Result<(), EncodeError>;
    /// Bytes that [`Value::encode_value`] appends.
    fn size_value(&self, at: At) -> usize;
    /// Whether the value is this default.
    fn is_initial(&self, initial: Initial) -> bool;
    /// The value without its type.
    fn reflect(&mut self) -> Reflected<'_>;
    /// The value that stands for this default.
    fn initial(initial: Initial) -> Self
    where
        Self: Sized;

    /// Reads a value.
    fn decode_value(reader: &mut Reader, at: At) -> Result<Self, DecodeError>
    where
        Self: Sized,
    {
        let mut value = Self::initial(Initial::Number(0));
        value.decode_in_place(reader, at)?;
        Ok(value)
    }
}

/// A type that has a null on the wire: strings, bytes and arrays in their length, structs in a byte before them.
pub trait Nullable: Value + Sized {
    /// Reads a value or null.
    fn decode_nullable(reader: &mut Reader, at: At) -> Result<Option<Self>, DecodeError>;
    /// Appends a value or null.
    fn encode_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        at: At,
    ) -> Result<(), EncodeError>;
    /// Bytes that [`Nullable::encode_nullable`] appends.
    fn size_nullable(value: Option<&Self>, at: At) -> usize;
}

macro_rules! numbers {
    ($($type:ty, $read:ident, $write:ident, $size:literal, $reflected:ident;)*) => {$(
        impl Value for $type {
            fn decode_in_place(&mut self, reader: &mut Reader, _at: At) -> Result<(), DecodeError> {
                *self = reader.$read()?;
                Ok(())
            }

            fn encode_value(&self, writer: &mut Writer, _at: At) -> Result<(), EncodeError> {
                writer.$write(*self);
                Ok(())
            }

            fn size_value(&self, _at: At) -> usize {
                $size
            }

            fn initial(initial: Initial) -> Self {
                match initial {
                    Initial::Number(number) => number as $type,
                    Initial::Null => 0 as $type,
                }
            }

            fn is_initial(&self, initial: Initial) -> bool {
                *self == <$type as Value>::initial(initial)
            }

            fn reflect(&mut self) -> Reflected<'_> {
                Reflected::$reflected(self)
            }
        }
    )*};
}

numbers! {
    i8, read_i8, write_i8, 1, I8;
    i16, read_i16, write_i16, 2, I16;
    u16, read_u16, write_u16, 2, U16;
    i32, read_i32, write_i32, 4, I32;
    u32, read_u32, write_u32, 4, U32;
    i64, read_i64, write_i64, 8, I64;
}

impl Value for f64 {
    fn decode_in_place(&mut self, reader: &mut Reader, _at: At) -> Result<(), DecodeError> {
        *self = reader.read_f64()?;
        Ok(())
    }

    fn encode_value(&self, writer: &mut Writer, _at: At) -> Result<(), EncodeError> {
        writer.write_f64(*self);
        Ok(())
    }

    fn size_value(&self, _at: At) -> usize {
        8
    }

    fn initial(initial: Initial) -> Self {
        match initial {
            Initial::Number(number) => number as f64,
            Initial::Null => 0.0,
        }
    }

    fn is_initial(&self, initial: Initial) -> bool {
        *self == <f64 as Value>::initial(initial)
    }

    fn reflect(&mut self) -> Reflected<'_> {
        Reflected::F64(self)
    }
}

impl Value for bool {
    fn decode_in_place(&mut self, reader: &mut Reader, _at: At) -> Result<(), DecodeError> {
        *self = reader.read_bool()?;
        Ok(())
    }

    fn encode_value(&self, writer: &mut Writer, _at: At) -> Result<(), EncodeError> {
        writer.write_bool(*self);
        Ok(())
    }

    fn size_value(&self, _at: At) -> usize {
        1
    }

    fn initial(initial: Initial) -> Self {
        matches!(initial, Initial::Number(number) if number != 0)
    }

    fn is_initial(&self, initial: Initial) -> bool {
        *self == <bool as Value>::initial(initial)
    }

    fn reflect(&mut self) -> Reflected<'_> {
        Reflected::Bool(self)
    }
}

impl Value for Uuid {
    fn decode_in_place(&mut self, reader: &mut Reader, _at: At) -> Result<(), DecodeError> {
        *self = reader.read_uuid()?;
        Ok(())
    }

    fn encode_value(&self, writer: &mut Writer, _at: At) -> Result<(), EncodeError> {
        writer.write_uuid(*self);
        Ok(())
    }

    fn size_value(&self, _at: At) -> usize {
        16
    }

    fn initial(_initial: Initial) -> Self {
        Uuid::ZERO
    }

    fn is_initial(&self, _initial: Initial) -> bool {
        self.is_zero()
    }

    fn reflect(&mut self) -> Reflected<'_> {
        Reflected::Uuid(self)
    }
}

fn required<T>(value: Option<T>, reader: &Reader) -> Result<T, DecodeError> {
    value.ok_or_else(|| reader.error(DecodeErrorKind::NullNotAllowed))
}

impl Value for StrBytes {
    fn decode_in_place(&mut self, reader: &mut Reader, at: At) -> Result<(), DecodeError> {
        let text = reader.read_nullable_string(at.flexible)?;
        *self = required(text, reader)?;
        Ok(())
    }

    fn encode_value(&self, writer: &mut Writer, at: At) -> Result<(), EncodeError> {
        Self::encode_nullable(Some(self), writer, at)
    }

    fn size_value(&self, at: At) -> usize {
        Self::size_nullable(Some(self), at)
    }

    fn initial(_initial: Initial) -> Self {
        StrBytes::EMPTY
    }

    fn is_initial(&self, _initial: Initial) -> bool {
        self.as_byte_slice().is_empty()
    }

    fn reflect(&mut self) -> Reflected<'_> {
        Reflected::String(self)
    }
}

impl Nullable for StrBytes {
    fn decode_nullable(reader: &mut Reader, at: At) -> Result<Option<Self>, DecodeError> {
        reader.read_nullable_string(at.flexible)
    }

    fn encode_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        at: At,
    ) -> Result<(), EncodeError> {
        writer.write_optional_string(value, at.flexible)
    }

    fn size_nullable(value: Option<&Self>, at: At) -> usize {
        let length = value.map(|text| text.as_byte_slice().len());
        if at.flexible {
            compact_length_size(length) + length.unwrap_or(0)
        } else {
            2 + length.unwrap_or(0)
        }
    }
}

impl Value for Bytes {
    fn decode_in_place(&mut self, reader: &mut Reader, at: At) -> Result<(), DecodeError> {
        let bytes = reader.read_nullable_bytes(at.flexible)?;
        *self = required(bytes, reader)?;
        Ok(())
    }

    fn encode_value(&self, writer: &mut Writer, at: At) -> Result<(), EncodeError> {
        writer.write_nullable_bytes(Some(self), at.flexible)
    }

    fn size_value(&self, at: At) -> usize {
        Self::size_nullable(Some(self), at)
    }

    fn initial(_initial: Initial) -> Self {
        Bytes::new()
    }

    fn is_initial(&self, _initial: Initial) -> bool {
        self.is_empty()
    }

    fn reflect(&mut self) -> Reflected<'_> {
        Reflected::Bytes(self)
    }
}

impl Nullable for Bytes {
    fn decode_nullable(reader: &mut Reader, at: At) -> Result<Option<Self>, DecodeError> {
        reader.read_nullable_bytes(at.flexible)
    }

    fn encode_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        at: At,
    ) -> Result<(), EncodeError> {
        writer.write_nullable_bytes(value, at.flexible)
    }

    fn size_nullable(value: Option<&Self>, at: At) -> usize {
        length_size(value.map(Bytes::len), at) + value.map_or(0, Bytes::len)
    }
}

fn compact_length_size(length: Option<usize>) -> usize {
    length.map_or(1, |length| unsigned_varint_size(length as u32 + 1))
}

fn length_size(length: Option<usize>, at: At) -> usize {
    if at.flexible {
        compact_length_size(length)
    } else {
        4
    }
}

/// An array's first allocation: what a count from the wire may cost before the elements prove it.
const ARRAY_BYTES_FIRST: usize = 4096;

impl<T: Value + 'static> Value for Vec<T> {
    fn decode_in_place(&mut self, reader: &mut Reader, at: At) -> Result<(), DecodeError> {
        let present = decode_array(self, reader, at)?;
        required(present.then_some(()), reader)
    }

    fn encode_value(&self, writer: &mut Writer, at: At) -> Result<(), EncodeError> {
        Self::encode_nullable(Some(self), writer, at)
    }

    fn size_value(&self, at: At) -> usize {
        Self::size_nullable(Some(self), at)
    }

    fn initial(_initial: Initial) -> Self {
        Vec::new()
    }

    fn is_initial(&self, _initial: Initial) -> bool {
        self.is_empty()
    }

    fn reflect(&mut self) -> Reflected<'_> {
        Reflected::Array(self)
    }
}

impl<T: Value + 'static> Nullable for Vec<T> {
    fn decode_nullable(reader: &mut Reader, at: At) -> Result<Option<Self>, DecodeError> {
        let mut array = Vec::new();
        let present = decode_array(&mut array, reader, at)?;
        Ok(present.then_some(array))
    }

    fn encode_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        at: At,
    ) -> Result<(), EncodeError> {
        encode_array(value.map(|array| array as &dyn Elements), writer, at)
    }

    fn size_nullable(value: Option<&Self>, at: At) -> usize {
        size_array(value.map(|array| array as &dyn Elements), at)
    }
}

/// An array without its type.
trait Elements {
    fn length(&self) -> usize;
    fn capacity(&self) -> usize;
    fn element_bytes(&self) -> usize;
    fn element(&self, index: usize) -> &dyn Value;
    fn reserve(&mut self, additional: usize);
    fn push_decoded(&mut self, reader: &mut Reader, at: At) -> Result<(), DecodeError>;
}

impl<T: Value + 'static> Elements for Vec<T> {
    fn length(&self) -> usize {
        self.len()
    }

    fn capacity(&self) -> usize {
        Vec::capacity(self)
    }

    fn element_bytes(&self) -> usize {
        size_of::<T>()
    }

    fn element(&self, index: usize) -> &dyn Value {
        &self[index]
    }

    fn reserve(&mut self, additional: usize) {
        self.reserve_exact(additional);
    }

    fn push_decoded(&mut self, reader: &mut Reader, at: At) -> Result<(), DecodeError> {
        self.push(T::decode_value(reader, at)?);
        Ok(())
    }
}

/// Reads into an empty array. Whether it is there, or null.
fn decode_array(
    array: &mut dyn Elements,
    reader: &mut Reader,
    at: At,
) -> Result<bool, DecodeError> {
    let Some(count) = reader.read_array_length(at.flexible)? else {
        return Ok(false);
    };
    let element_bytes = array.element_bytes().max(1);
    // Grown as elements arrive: a count is only an announcement, and memory follows bytes that were there.
    for length in 0..count {
        if length == array.capacity() {
            let least = (ARRAY_BYTES_FIRST / element_bytes).max(1);
            let additional = length.max(least).min(count - length);
            reader.charge(additional.saturating_mul(array.element_bytes()))?;
            array.reserve(additional);
        }
        array.push_decoded(reader, at.element())?;
    }
    Ok(true)
}

fn encode_array(
    array: Option<&dyn Elements>,
    writer: &mut Writer,
    at: At,
) -> Result<(), EncodeError> {
    writer.write_length(array.map(Elements::length), at.flexible)?;
    let Some(array) = array else { return Ok(()) };
    for index in 0..array.length() {
        array.element(index).encode_value(writer, at.element())?;
    }
    Ok(())
}

fn size_array(array: Option<&dyn Elements>, at: At) -> usize {
    let elements: usize = array.map_or(0, |array| {
        (0..array.length())
            .map(|index| array.element(index).size_value(at.element()))
            .sum()
    });
    length_size(array.map(Elements::length), at) + elements
}

impl<T: Nullable + 'static> Value for Option<T> {
    fn decode_in_place(&mut self, reader: &mut Reader, at: At) -> Result<(), DecodeError> {
        *self = if at.nullable {
            T::decode_nullable(reader, at)?
        } else {
            Some(T::decode_value(reader, at)?)
        };
        Ok(())
    }

    fn encode_value(&self, writer: &mut Writer, at: At) -> Result<(), EncodeError> {
        match self {
            _ if at.nullable => T::encode_nullable(self.as_ref(), writer, at),
            Some(value) => value.encode_value(writer, at),
            None => Err(EncodeError::NullNotAllowed { field: "" }),
        }
    }

    fn size_value(&self, at: At) -> usize {
        match self {
            _ if at.nullable => T::size_nullable(self.as_ref(), at),
            Some(value) => value.size_value(at),
            None => 0,
        }
    }

    fn initial(initial: Initial) -> Self {
        match initial {
            Initial::Null => None,
            number => Some(T::initial(number)),
        }
    }

    fn is_initial(&self, initial: Initial) -> bool {
        match (self, initial) {
            (None, Initial::Null) => true,
            (Some(value), Initial::Number(_)) => value.is_initial(initial),
            _ => false,
        }
    }

    fn reflect(&mut self) -> Reflected<'_> {
        Reflected::Option(self)
    }
}

const _: () = assert!(STRING_BYTES_MAX == i16::MAX as usize);

/// A struct that may be null: a byte before it, negative for null. As a tagged field it is an unsigned varint, zero for null.
pub(crate) fn decode_nullable_struct<T: Value>(
    reader: &mut Reader,
    at: At,
) -> Result<Option<T>, DecodeError> {
    let null = if at.tagged {
        reader.read_unsigned_varint()? == 0
    } else {
        reader.read_i8()? < 0
    };
    if null {
        Ok(None)
    } else {
        T::decode_value(reader, at).map(Some)
    }
}

pub(crate) fn encode_nullable_struct<T: Value>(
    value: Option<&T>,
    writer: &mut Writer,
    at: At,
) -> Result<(), EncodeError> {
    match value {
        None if at.tagged => writer.write_i8(0),
        None => writer.write_i8(-1),
        Some(value) => {
            writer.write_i8(1);
            value.encode_value(writer, at)?;
        }
    }
    Ok(())
}

pub(crate) fn size_nullable_struct<T: Value>(value: Option<&T>, at: At) -> usize {
    1 + value.map_or(0, |value| value.size_value(at))
}
