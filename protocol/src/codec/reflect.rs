//! Messages without their types: for tools that print any message, and for tests that fill and compare every one.

use super::{FieldSpec, Initial, Nullable, StrBytes, TaggedFields, Uuid, Value};
use bytes::Bytes;

/// A value, by what it is.
pub enum Reflected<'a> {
    /// bool.
    Bool(&'a mut bool),
    /// int8.
    I8(&'a mut i8),
    /// int16.
    I16(&'a mut i16),
    /// uint16.
    U16(&'a mut u16),
    /// int32.
    I32(&'a mut i32),
    /// uint32.
    U32(&'a mut u32),
    /// int64.
    I64(&'a mut i64),
    /// float64.
    F64(&'a mut f64),
    /// uuid.
    Uuid(&'a mut Uuid),
    /// string.
    String(&'a mut StrBytes),
    /// bytes or records.
    Bytes(&'a mut Bytes),
    /// A struct.
    Struct(&'a mut dyn ReflectStruct),
    /// An array.
    Array(&'a mut dyn ReflectArray),
    /// Something that may be null.
    Option(&'a mut dyn ReflectOption),
}

/// A struct's fields.
pub trait ReflectStruct {
    /// Hands over every field with its row of the table, in the order of the table.
    fn visit_fields(&mut self, visitor: &mut dyn FnMut(&'static FieldSpec, Reflected<'_>));
    /// The tagged fields that the table does not know.
    fn unknown_tagged_fields(&mut self) -> &mut TaggedFields;
}

/// An array's elements.
pub trait ReflectArray {
    /// How many.
    fn length(&self) -> usize;
    /// Appends an element at its default.
    fn push_initial(&mut self);
    /// One of them; `index` is below [`ReflectArray::length`].
    fn element(&mut self, index: usize) -> Reflected<'_>;
}

impl<T: Value> ReflectArray for Vec<T> {
    fn length(&self) -> usize {
        self.len()
    }

    fn push_initial(&mut self) {
        self.push(T::initial(Initial::Number(0)));
    }

    fn element(&mut self, index: usize) -> Reflected<'_> {
        self[index].reflect()
    }
}

/// Something that may be null.
pub trait ReflectOption {
    /// The value, unless it is null.
    fn value(&mut self) -> Option<Reflected<'_>>;
    /// Makes it null, or a value at its default.
    fn set(&mut self, present: bool);
}

impl<T: Nullable> ReflectOption for Option<T> {
    fn value(&mut self) -> Option<Reflected<'_>> {
        self.as_mut().map(Value::reflect)
    }

    fn set(&mut self, present: bool) {
        *self = present.then(|| T::initial(Initial::Number(0)));
    }
}
