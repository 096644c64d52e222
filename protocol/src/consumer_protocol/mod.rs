//! What members of a classic group put into `metadata` (JoinGroup) and `assignment` (SyncGroup): a version, then a message.
//! The group's own records are in `coordinator_records`.

mod tables;

pub use tables::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, MESSAGES,
    consumer_protocol_assignment, consumer_protocol_subscription,
};

use crate::codec::{DecodeError, DecodeErrorKind, EncodeError, Message, Reader, Writer};
use bytes::Bytes;

/// What a member wants: topics, own data, owned partitions, generation and rack.
pub type Subscription = ConsumerProtocolSubscription;
/// What a member is given: partitions and own data.
pub type Assignment = ConsumerProtocolAssignment;

/// Reads the version and the message behind it. A version newer than ours is read as our newest, as Kafka's clients do:
/// later versions only append.
pub fn decode<T: Message>(bytes: Bytes) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.read_i16()?;
    if version < T::VERSIONS.first {
        return Err(reader.error(DecodeErrorKind::UnsupportedVersion {
            message: T::NAME,
            version,
        }));
    }
    T::decode(&mut reader, version.min(T::VERSIONS.last))
}

/// Writes the version and the message behind it.
pub fn encode<T: Message>(message: &T, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::with_capacity(2 + message.size(version));
    writer.write_i16(version);
    message.encode(&mut writer, version)?;
    Ok(writer.into_bytes())
}
