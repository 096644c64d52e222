//! The codec: how Kafka's primitive types lie in bytes, and the one macro that turns a table of fields and version ranges
//! into a struct with decode, size and encode. The tables themselves are in `messages`, `metadata_records`,
//! `coordinator_records` and their neighbours; record batches, which no table describes, are in `records`.

mod error;
mod field;
mod macros;
mod reader;
mod reflect;
mod strings;
mod tagged;
mod uuid;
mod value;
mod walk;
mod writer;

pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use field::{At, FieldSpec, Initial, Specs, Versions};
pub use reader::Reader;
pub use reflect::{ReflectArray, ReflectOption, ReflectStruct, Reflected};
pub use strings::StrBytes;
pub use tagged::{TaggedField, TaggedFields};
pub use uuid::{ParseUuidError, Uuid};
pub use value::{Nullable, Value};
pub(crate) use value::{decode_nullable_struct, encode_nullable_struct, size_nullable_struct};
pub use writer::{Segments, Writer};

pub(crate) use macros::{field_spec, message, versions};
pub(crate) use tagged::{TaggedEncoder, decode_tagged_fields};
pub(crate) use walk::{decode_struct, encode_struct, is_initial_struct, size_struct, visit_struct};

use std::fmt::Debug;

/// What the tables may name.
pub(crate) mod prelude {
    pub(crate) use super::{
        At, DecodeError, EncodeError, FieldSpec, Message, MessageInfo, Nullable, Reader,
        ReflectStruct, Reflected, Specs, StrBytes, TaggedFields, Uuid, Value, Versions, Writer,
        decode_struct, encode_struct, field_spec, is_initial_struct, size_struct, versions,
        visit_struct,
    };
    pub(crate) use bytes::Bytes;
}

/// A whole message of Kafka's protocol: a request, a response, a header, or the key or value of a record.
///
/// Bytes after the message are left in the reader: [`Reader::remaining`] tells how many, and the caller decides (a server
/// ignores them as Kafka's does, a metadata record refuses them).
pub trait Message: Value + Clone + Debug + Default + PartialEq + ReflectStruct {
    /// Kafka's name of the message, without the `Data` that its Java classes append.
    const NAME: &'static str;
    /// Versions that decode and encode, as Kafka 4.3.1 has them (an unstable last one included).
    const VERSIONS: Versions;
    /// Versions in the flexible encoding (KIP-482).
    const FLEXIBLE: Versions;
    /// The API key of a request or response, the record type of a metadata or coordinator record.
    const API_KEY: Option<i16>;

    /// Reads the message at `version`.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(version) {
            return Err(reader.error(DecodeErrorKind::UnsupportedVersion {
                message: Self::NAME,
                version,
            }));
        }
        Value::decode_value(reader, At::new(version, Self::FLEXIBLE.contains(version)))
    }

    /// Appends the message at `version`.
    ///
    /// A field that the version lacks is dropped when the table calls it ignorable, and is an error when it is not and
    /// holds something other than its default, as in Kafka. After an error the writer holds part of the message.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(version) {
            return Err(EncodeError::UnsupportedVersion {
                message: Self::NAME,
                version,
            });
        }
        self.encode_value(writer, At::new(version, Self::FLEXIBLE.contains(version)))
    }

    /// The bytes that [`Message::encode`] appends at `version`.
    fn size(&self, version: i16) -> usize {
        self.size_value(At::new(version, Self::FLEXIBLE.contains(version)))
    }
}

/// A [`Message`] behind a pointer: for tools and tests that handle every message alike.
pub trait DynMessage: Debug {
    /// See [`Message::encode`].
    fn encode_dyn(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;
    /// See [`Message::size`].
    fn size_dyn(&self, version: i16) -> usize;
    /// The fields, one by one.
    fn reflect_dyn(&mut self) -> &mut dyn ReflectStruct;
}

impl<T: Message> DynMessage for T {
    fn encode_dyn(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        self.encode(writer, version)
    }

    fn size_dyn(&self, version: i16) -> usize {
        self.size(version)
    }

    fn reflect_dyn(&mut self) -> &mut dyn ReflectStruct {
        self
    }
}

/// Reads any one message at a version.
pub type DecodeDyn = fn(&mut Reader, i16) -> Result<Box<dyn DynMessage>, DecodeError>;

/// What is known of a message without its type.
#[derive(Clone, Copy)]
pub struct MessageInfo {
    /// See [`Message::NAME`].
    pub name: &'static str,
    /// See [`Message::VERSIONS`].
    pub versions: Versions,
    /// See [`Message::FLEXIBLE`].
    pub flexible: Versions,
    /// See [`Message::API_KEY`].
    pub api_key: Option<i16>,
    /// A message with every field at its default.
    pub make: fn() -> Box<dyn DynMessage>,
    /// See [`Message::decode`].
    pub decode: DecodeDyn,
}

impl MessageInfo {
    /// The entry of `T`.
    pub const fn of<T: Message + 'static>() -> Self {
        MessageInfo {
            name: T::NAME,
            versions: T::VERSIONS,
            flexible: T::FLEXIBLE,
            api_key: T::API_KEY,
            make: || Box::new(T::default()),
            decode: |reader, version| Ok(Box::new(T::decode(reader, version)?)),
        }
    }
}
