//! Records of the coordinators' topics: `__consumer_offsets`, `__transaction_state`, `__share_group_state`. A key is an int16
//! record type and a message; a value is an int16 version and a message; a record without a value is a tombstone. The
//! tables are in the modules below, one for each kind of group.

pub mod classic_groups;
pub mod consumer_groups;
pub mod share_groups;
pub mod share_state;
pub mod streams_groups;
pub mod transactions;

pub use classic_groups::*;
pub use consumer_groups::*;
pub use share_groups::*;
pub use share_state::*;
pub use streams_groups::*;
pub use transactions::*;

use crate::codec::{
    DecodeError, DecodeErrorKind, EncodeError, Message, MessageInfo, Reader, Writer,
};
use bytes::Bytes;

/// Every message of the modules below.
pub fn messages() -> impl Iterator<Item = &'static MessageInfo> {
    [
        classic_groups::MESSAGES,
        consumer_groups::MESSAGES,
        share_groups::MESSAGES,
        share_state::MESSAGES,
        streams_groups::MESSAGES,
        transactions::MESSAGES,
    ]
    .into_iter()
    .flatten()
}

/// Writes a record's key: its type, then the message.
pub fn encode_key<T: Message>(key: &T) -> Result<Bytes, EncodeError> {
    let record_type = T::API_KEY.unwrap_or(0);
    let mut writer = Writer::with_capacity(2 + key.size(0));
    writer.write_i16(record_type);
    key.encode(&mut writer, 0)?;
    Ok(writer.into_bytes())
}

/// Writes a record's value: the version, then the message.
pub fn encode_value<T: Message>(value: &T, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::with_capacity(2 + value.size(version));
    writer.write_i16(version);
    value.encode(&mut writer, version)?;
    Ok(writer.into_bytes())
}

/// Reads a record's value: the version, then the message. Bytes after it are ignored, as Kafka does.
pub fn decode_value<T: Message>(bytes: Bytes) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.read_i16()?;
    T::decode(&mut reader, version)
}

macro_rules! keys {
    ($(#[$meta:meta])* $enum:ident, $what:literal { $($name:ident: $message:ident;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum $enum {
            $($name($message),)*
        }

        impl $enum {
            /// Reads a record's key: its type, then the message. Bytes after it are ignored, as Kafka does.
            pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
                let mut reader = Reader::new(bytes);
                let record_type = reader.read_i16()?;
                $(
                    if $message::API_KEY == Some(record_type) {
                        return Ok($enum::$name($message::decode(&mut reader, 0)?));
                    }
                )*
                Err(reader.error(DecodeErrorKind::UnknownRecord { what: $what, number: record_type.into() }))
            }

            /// Writes a record's key: its type, then the message.
            pub fn encode(&self) -> Result<Bytes, EncodeError> {
                match self {
                    $($enum::$name(key) => encode_key(key),)*
                }
            }
        }

        $(
            impl From<$message> for $enum {
                fn from(key: $message) -> Self {
                    $enum::$name(key)
                }
            }
        )*
    };
}

keys! {
    /// A key of `__consumer_offsets`.
    ConsumerOffsetsKey, "record type of __consumer_offsets" {
        LegacyOffsetCommit: LegacyOffsetCommitKey;
        OffsetCommit: OffsetCommitKey;
        GroupMetadata: GroupMetadataKey;
        ConsumerGroupMetadata: ConsumerGroupMetadataKey;
        ConsumerGroupPartitionMetadata: ConsumerGroupPartitionMetadataKey;
        ConsumerGroupMemberMetadata: ConsumerGroupMemberMetadataKey;
        ConsumerGroupTargetAssignmentMetadata: ConsumerGroupTargetAssignmentMetadataKey;
        ConsumerGroupTargetAssignmentMember: ConsumerGroupTargetAssignmentMemberKey;
        ConsumerGroupCurrentMemberAssignment: ConsumerGroupCurrentMemberAssignmentKey;
        ShareGroupMemberMetadata: ShareGroupMemberMetadataKey;
        ShareGroupMetadata: ShareGroupMetadataKey;
        ShareGroupTargetAssignmentMetadata: ShareGroupTargetAssignmentMetadataKey;
        ShareGroupTargetAssignmentMember: ShareGroupTargetAssignmentMemberKey;
        ShareGroupCurrentMemberAssignment: ShareGroupCurrentMemberAssignmentKey;
        ShareGroupStatePartitionMetadata: ShareGroupStatePartitionMetadataKey;
        ConsumerGroupRegularExpression: ConsumerGroupRegularExpressionKey;
        StreamsGroupMetadata: StreamsGroupMetadataKey;
        StreamsGroupMemberMetadata: StreamsGroupMemberMetadataKey;
        StreamsGroupTargetAssignmentMetadata: StreamsGroupTargetAssignmentMetadataKey;
        StreamsGroupTargetAssignmentMember: StreamsGroupTargetAssignmentMemberKey;
        StreamsGroupCurrentMemberAssignment: StreamsGroupCurrentMemberAssignmentKey;
        StreamsGroupTopology: StreamsGroupTopologyKey;
    }
}

keys! {
    /// A key of `__transaction_state`.
    TransactionStateKey, "record type of __transaction_state" {
        TransactionLog: TransactionLogKey;
    }
}

keys! {
    /// A key of `__share_group_state`.
    ShareGroupStateKey, "record type of __share_group_state" {
        ShareSnapshot: ShareSnapshotKey;
        ShareUpdate: ShareUpdateKey;
    }
}
