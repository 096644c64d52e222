//! Records of the metadata log (`__cluster_metadata`): the frame around them and the enum of all of them. The tables are in
//! `tables`, records that are read where they lie in `parts`; control records of the same log are in `control_records`.

mod parts;
mod tables;

pub use parts::{PartitionRecordParts, TopicRecordParts};
pub use tables::*;

use crate::codec::{DecodeError, DecodeErrorKind, EncodeError, Message, Reader, Versions, Writer};
use bytes::Bytes;

/// The version of the frame: an unsigned varint before the record's type, version and message.
pub const FRAME_VERSION: u32 = 1;

macro_rules! metadata_records {
    ($($name:ident: $message:ident;)*) => {
        /// A record of the metadata log.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum MetadataRecord {
            $($name($message),)*
        }

        $(
            impl From<$message> for MetadataRecord {
                fn from(record: $message) -> Self {
                    MetadataRecord::$name(record)
                }
            }

            const _: () = assert!($message::API_KEY.is_some());
        )*

        impl MetadataRecord {
            /// Kafka's name of the record's type.
            pub fn name(&self) -> &'static str {
                match self {
                    $(MetadataRecord::$name(_) => $message::NAME,)*
                }
            }

            /// The number of the record's type.
            pub fn record_type(&self) -> i16 {
                let key = match self {
                    $(MetadataRecord::$name(_) => $message::API_KEY,)*
                };
                key.expect("every metadata record has a type: asserted above")
            }

            /// The versions that the record's type has.
            pub fn versions(&self) -> Versions {
                match self {
                    $(MetadataRecord::$name(_) => $message::VERSIONS,)*
                }
            }

            fn encode_message(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
                match self {
                    $(MetadataRecord::$name(record) => record.encode(writer, version),)*
                }
            }

            fn message_size(&self, version: i16) -> usize {
                match self {
                    $(MetadataRecord::$name(record) => record.size(version),)*
                }
            }

            fn decode_message(reader: &mut Reader, record_type: i16, version: i16) -> Result<Self, DecodeError> {
                $(
                    if $message::API_KEY == Some(record_type) {
                        return Ok(MetadataRecord::$name($message::decode(reader, version)?));
                    }
                )*
                Err(reader.error(DecodeErrorKind::UnknownRecord { what: "metadata record type", number: record_type.into() }))
            }
        }
    };
}

metadata_records! {
    RegisterBroker: RegisterBrokerRecord;
    UnregisterBroker: UnregisterBrokerRecord;
    Topic: TopicRecord;
    Partition: PartitionRecord;
    Config: ConfigRecord;
    PartitionChange: PartitionChangeRecord;
    FenceBroker: FenceBrokerRecord;
    UnfenceBroker: UnfenceBrokerRecord;
    RemoveTopic: RemoveTopicRecord;
    DelegationToken: DelegationTokenRecord;
    UserScramCredential: UserScramCredentialRecord;
    FeatureLevel: FeatureLevelRecord;
    ClientQuota: ClientQuotaRecord;
    ProducerIds: ProducerIdsRecord;
    BrokerRegistrationChange: BrokerRegistrationChangeRecord;
    AccessControlEntry: AccessControlEntryRecord;
    RemoveAccessControlEntry: RemoveAccessControlEntryRecord;
    NoOp: NoOpRecord;
    ZkMigrationState: ZkMigrationStateRecord;
    RemoveUserScramCredential: RemoveUserScramCredentialRecord;
    BeginTransaction: BeginTransactionRecord;
    EndTransaction: EndTransactionRecord;
    AbortTransaction: AbortTransactionRecord;
    RemoveDelegationToken: RemoveDelegationTokenRecord;
    RegisterController: RegisterControllerRecord;
    ClearElr: ClearElrRecord;
}

impl MetadataRecord {
    /// Reads a record's value: frame version, type, version, message. Bytes after it are an error, as in Kafka.
    pub fn decode(bytes: Bytes) -> Result<(Self, i16), DecodeError> {
        let mut reader = Reader::new(bytes);
        let frame = reader.read_unsigned_varint()?;
        if frame != FRAME_VERSION {
            return Err(unknown(&reader, "metadata frame version", frame));
        }
        let record_type = reader.read_unsigned_varint()?;
        let version = reader.read_unsigned_varint()?;
        let small =
            |number, what| i16::try_from(number).map_err(|_| unknown(&reader, what, number));
        let (record_type, version) = (
            small(record_type, "metadata record type")?,
            small(version, "metadata record version")?,
        );
        let record = Self::decode_message(&mut reader, record_type, version)?;
        reader.expect_end()?;
        Ok((record, version))
    }

    /// Appends a record's value: frame version, type, version, message.
    pub fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        writer.write_unsigned_varint(FRAME_VERSION);
        writer.write_unsigned_varint(self.record_type() as u32);
        writer.write_unsigned_varint(version as u32);
        self.encode_message(writer, version)
    }

    /// A record's value in memory of its own.
    pub fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut writer = Writer::with_capacity(self.size(version));
        self.encode(&mut writer, version)?;
        Ok(writer.into_bytes())
    }

    /// Bytes that [`MetadataRecord::encode`] appends: what a controller sums up to keep a batch within its limit.
    pub fn size(&self, version: i16) -> usize {
        // Frame version, type and version are below 128.
        3 + self.message_size(version)
    }
}

fn unknown(reader: &Reader, what: &'static str, number: u32) -> DecodeError {
    reader.error(DecodeErrorKind::UnknownRecord {
        what,
        number: number.into(),
    })
}
