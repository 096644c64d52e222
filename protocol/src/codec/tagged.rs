//! Tagged fields (KIP-482): the end of every struct in a flexible version.

use super::writer::unsigned_varint_size;
use super::{At, DecodeError, DecodeErrorKind, EncodeError, FieldSpec, Reader, Value, Writer};
use bytes::Bytes;

/// A tagged field that the table does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedField {
    /// The tag.
    pub tag: u32,
    /// The value's bytes, shared with the message received.
    pub value: Bytes,
}

/// Tagged fields that the table does not know, in the order of their tags; kept, so that what is passed on is whole.
///
/// One pointer, since nearly every struct has none.
#[derive(Clone, Default, PartialEq, Eq)]
#[allow(clippy::box_collection)] // 8 bytes in every struct instead of 24
pub struct TaggedFields(Option<Box<Vec<TaggedField>>>);

impl TaggedFields {
    /// In the order of their tags.
    pub fn as_slice(&self) -> &[TaggedField] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Sets the field with this tag.
    pub fn insert(&mut self, tag: u32, value: Bytes) {
        let fields = self.0.get_or_insert_default();
        match fields.binary_search_by_key(&tag, |field| field.tag) {
            Ok(index) => fields[index].value = value,
            Err(index) => fields.insert(index, TaggedField { tag, value }),
        }
    }
}

impl std::fmt::Debug for TaggedFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// Reads the tagged fields of one struct. `known` reads the value of a tag that the table has and says whether it did.
pub(crate) fn decode_tagged_fields(
    reader: &mut Reader,
    known: &mut dyn FnMut(u32, &mut Reader) -> Result<bool, DecodeError>,
) -> Result<TaggedFields, DecodeError> {
    let count = reader.read_unsigned_varint()?;
    if count == 0 {
        return Ok(TaggedFields::default());
    }
    // Each takes a tag and a length, a byte at least for either.
    if u64::from(count) * 2 > reader.remaining() as u64 {
        return Err(reader.error(DecodeErrorKind::CountTooLarge {
            count: count.into(),
            remaining: reader.remaining(),
        }));
    }
    let mut unknown: Vec<TaggedField> = Vec::new();
    // Every table's tags are below 64.
    let mut seen = 0u64;
    for _ in 0..count {
        let tag = reader.read_unsigned_varint()?;
        let announced = reader.read_unsigned_varint()? as usize;
        if announced > reader.remaining() {
            return Err(reader.error(DecodeErrorKind::Truncated {
                needed: announced,
                remaining: reader.remaining(),
            }));
        }
        if tag < 64 {
            if seen & 1 << tag != 0 {
                return Err(reader.error(DecodeErrorKind::DuplicateTag(tag)));
            }
            seen |= 1 << tag;
        }
        let start = reader.position();
        if known(tag, reader)? {
            let taken = reader.position() - start;
            if taken != announced {
                return Err(reader.error(DecodeErrorKind::TaggedFieldSize {
                    tag,
                    announced,
                    taken,
                }));
            }
        } else {
            let value = reader.read_slice(announced)?;
            if unknown.len() == unknown.capacity() {
                let additional = unknown.len().max(1);
                reader.charge(additional * size_of::<TaggedField>())?;
                unknown.reserve_exact(additional);
            }
            unknown.push(TaggedField { tag, value });
        }
    }
    if unknown.is_empty() {
        return Ok(TaggedFields::default());
    }
    // Sorted once at the end: inserting in order would let a hostile order cost its square.
    unknown.sort_by_key(|field| field.tag);
    if let Some(pair) = unknown.windows(2).find(|pair| pair[0].tag == pair[1].tag) {
        return Err(reader.error(DecodeErrorKind::DuplicateTag(pair[0].tag)));
    }
    reader.charge(size_of::<Vec<TaggedField>>())?;
    Ok(TaggedFields(Some(Box::new(unknown))))
}

/// Sizes and writes the tagged fields of one struct, those of the table and the unknown ones in one order.
pub(crate) struct TaggedEncoder<'a> {
    unknown: &'a [TaggedField],
    at: At,
    count: u32,
    bytes: usize,
}

impl<'a> TaggedEncoder<'a> {
    pub(crate) fn new(unknown: &'a TaggedFields, at: At) -> Self {
        let unknown = unknown.as_slice();
        let bytes = unknown
            .iter()
            .map(|field| size_of_tagged(field.tag, field.value.len()))
            .sum();
        TaggedEncoder {
            unknown,
            at,
            count: unknown.len() as u32,
            bytes,
        }
    }

    /// Counts a field of the table, if this version has it tagged and it is not at its default.
    pub(crate) fn count(&mut self, value: &dyn Value, spec: &'static FieldSpec) {
        if self.writes(value, spec) {
            self.count += 1;
            self.bytes += size_of_tagged(spec.tag, value.size_value(spec.at_tagged(self.at)));
        }
    }

    fn writes(&self, value: &dyn Value, spec: &FieldSpec) -> bool {
        spec.tagged.contains(self.at.version)
            && spec.versions.contains(self.at.version)
            && !value.is_initial(spec.initial)
    }

    /// Bytes of all that was counted, with the number of fields before them.
    pub(crate) fn size(&self) -> usize {
        unsigned_varint_size(self.count) + self.bytes
    }

    /// Writes the number of fields; then come the table's in the order of their tags.
    pub(crate) fn begin(&self, writer: &mut Writer) {
        writer.write_unsigned_varint(self.count);
    }

    pub(crate) fn write(
        &mut self,
        value: &dyn Value,
        writer: &mut Writer,
        spec: &'static FieldSpec,
    ) -> Result<(), EncodeError> {
        if !spec.tagged.contains(self.at.version) {
            return Ok(());
        }
        self.write_unknown_below(spec.tag, writer);
        if self
            .unknown
            .first()
            .is_some_and(|field| field.tag == spec.tag)
        {
            return Err(EncodeError::DuplicateTag(spec.tag));
        }
        if self.writes(value, spec) {
            let at = spec.at_tagged(self.at);
            writer.write_unsigned_varint(spec.tag);
            let size = value.size_value(at);
            writer.write_unsigned_varint(
                u32::try_from(size).map_err(|_| EncodeError::TooLong(size))?,
            );
            value
                .encode_value(writer, at)
                .map_err(|error| error.in_field(spec.name))?;
        }
        Ok(())
    }

    /// Writes the unknown fields that are left.
    pub(crate) fn end(&mut self, writer: &mut Writer) {
        self.write_unknown_below(u32::MAX, writer);
        if let Some(last) = self.unknown.first() {
            self.write_one(last, writer);
        }
    }

    fn write_unknown_below(&mut self, tag: u32, writer: &mut Writer) {
        while let Some((first, rest)) = self.unknown.split_first() {
            if first.tag >= tag {
                break;
            }
            self.write_one(first, writer);
            self.unknown = rest;
        }
    }

    fn write_one(&self, field: &TaggedField, writer: &mut Writer) {
        writer.write_unsigned_varint(field.tag);
        writer.write_unsigned_varint(field.value.len() as u32);
        writer.write_shared(&field.value);
    }
}

fn size_of_tagged(tag: u32, length: usize) -> usize {
    unsigned_varint_size(tag) + unsigned_varint_size(length as u32) + length
}
