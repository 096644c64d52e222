//! The walk over a struct's fields, by the rows of its table: one function each for decode, encode, size, defaults and
//! reflection, for all structs. The macro hands the fields over; what a row means is in `field`, tagged fields are in `tagged`.

use super::{
    At, DecodeError, EncodeError, FieldSpec, Reader, Reflected, TaggedEncoder, TaggedFields, Value,
    Writer, decode_tagged_fields,
};

/// Reads the fields that are in this version; leaves the others at their defaults.
pub(crate) fn decode_struct(
    specs: &'static [FieldSpec],
    fields: &mut [&mut dyn Value],
    unknown: &mut TaggedFields,
    reader: &mut Reader,
    at: At,
) -> Result<(), DecodeError> {
    for (spec, field) in specs.iter().zip(fields.iter_mut()) {
        if spec.is_plain_in(at.version) {
            field
                .decode_in_place(reader, spec.at(at))
                .map_err(|error| error.in_field(spec.name))?;
        }
    }
    if !at.flexible {
        return Ok(());
    }
    *unknown = decode_tagged_fields(reader, &mut |tag, reader| {
        let known = specs
            .iter()
            .position(|spec| spec.tag == tag && spec.tagged.contains(at.version));
        let Some(index) = known else { return Ok(false) };
        let spec = &specs[index];
        fields[index]
            .decode_in_place(reader, spec.at_tagged(at))
            .map_err(|error| error.in_field(spec.name))?;
        Ok(true)
    })?;
    Ok(())
}

/// Writes the fields that are in this version; refuses one that the version lacks and that may not be dropped.
pub(crate) fn encode_struct(
    specs: &'static [FieldSpec],
    fields: &[&dyn Value],
    unknown: &TaggedFields,
    writer: &mut Writer,
    at: At,
) -> Result<(), EncodeError> {
    for (spec, field) in specs.iter().zip(fields) {
        if spec.is_plain_in(at.version) {
            field
                .encode_value(writer, spec.at(at))
                .map_err(|error| error.in_field(spec.name))?;
        } else if !spec.ignorable
            && !spec.versions.contains(at.version)
            && !field.is_initial(spec.initial)
        {
            return Err(EncodeError::FieldNotInVersion {
                field: spec.name,
                version: at.version,
            });
        }
    }
    if !at.flexible {
        return if unknown.is_empty() {
            Ok(())
        } else {
            Err(EncodeError::TaggedFieldsNotAllowed {
                version: at.version,
            })
        };
    }
    let mut tagged = counted(specs, fields, unknown, at);
    tagged.begin(writer);
    for (spec, field) in specs.iter().zip(fields) {
        tagged.write(*field, writer, spec)?;
    }
    tagged.end(writer);
    Ok(())
}

fn counted<'a>(
    specs: &'static [FieldSpec],
    fields: &[&dyn Value],
    unknown: &'a TaggedFields,
    at: At,
) -> TaggedEncoder<'a> {
    let mut tagged = TaggedEncoder::new(unknown, at);
    for (spec, field) in specs.iter().zip(fields) {
        tagged.count(*field, spec);
    }
    tagged
}

/// Bytes that [`encode_struct`] writes.
pub(crate) fn size_struct(
    specs: &'static [FieldSpec],
    fields: &[&dyn Value],
    unknown: &TaggedFields,
    at: At,
) -> usize {
    let plain: usize = specs
        .iter()
        .zip(fields)
        .filter(|(spec, _)| spec.is_plain_in(at.version))
        .map(|(spec, field)| field.size_value(spec.at(at)))
        .sum();
    if at.flexible {
        plain + counted(specs, fields, unknown, at).size()
    } else {
        plain
    }
}

/// Whether every field is at its default.
pub(crate) fn is_initial_struct(specs: &'static [FieldSpec], fields: &[&dyn Value]) -> bool {
    specs
        .iter()
        .zip(fields)
        .all(|(spec, field)| field.is_initial(spec.initial))
}

/// Shows every field with its row.
pub(crate) fn visit_struct(
    specs: &'static [FieldSpec],
    fields: &mut [&mut dyn Value],
    visitor: &mut dyn FnMut(&'static FieldSpec, Reflected<'_>),
) {
    for (spec, field) in specs.iter().zip(fields) {
        visitor(spec, field.reflect());
    }
}
