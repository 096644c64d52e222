//! Records applied as they lie, for snapshots and logs of millions: most partition records say the same as the one before of another
//! partition, and then its entry is simply set once more; topic records are read in place. All others are decoded.

use std::fmt;

use bytes::Bytes;
use odradek_protocol::codec::DecodeError;
use odradek_protocol::metadata_records::{MetadataRecord, PartitionRecordParts, TopicRecordParts};
use odradek_protocol::records::BatchError;

use super::builder::{ApplyError, MetadataBuilder};
use super::topics::PartitionEntry;

/// Why records make no image.
#[derive(Debug)]
pub enum LoadError {
    /// A batch holds no sound records.
    Batch(BatchError),
    /// A record cannot be read.
    Decode(DecodeError),
    /// A record does not fit what comes before it.
    Apply(ApplyError),
    /// A snapshot ends inside a transaction.
    OpenTransaction,
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Batch(error) => write!(formatter, "{error}"),
            LoadError::Decode(error) => write!(formatter, "{error}"),
            LoadError::Apply(error) => write!(formatter, "{error}"),
            LoadError::OpenTransaction => {
                formatter.write_str("a snapshot ends inside a transaction")
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// The last partition record that was decoded: its version, what follows its topic id, and what it came to. Another publication, after which
/// lists may have other numbers, wants another one of these.
#[derive(Debug, Default)]
pub(super) struct ShortWay {
    last: Option<(u8, Bytes, PartitionEntry)>,
}

impl ShortWay {
    /// Applies the record whose value lies in `held`.
    pub(super) fn apply(
        &mut self,
        builder: &mut MetadataBuilder,
        held: &Bytes,
        value: &[u8],
        offset: i64,
    ) -> Result<(), LoadError> {
        let parts = PartitionRecordParts::of(value);
        if let Some(parts) = parts
            && let Some((version, rest, entry)) = &self.last
            && parts.version == *version
            && parts.rest == rest
        {
            let (topic, number, entry) = (parts.topic_id, parts.partition_id, *entry);
            let set = builder.set_like(topic, number, entry, offset);
            return set.map_err(LoadError::Apply);
        }
        if let Some(topic) = TopicRecordParts::of(value) {
            let created = builder.create_topic(topic.name, topic.topic_id, offset);
            return created.map_err(LoadError::Apply);
        }
        let known = parts.map(|parts| (parts.version, held.slice_ref(parts.rest)));
        let decoded = MetadataRecord::decode(held.slice_ref(value));
        let (record, _version) = decoded.map_err(LoadError::Decode)?;
        builder
            .apply_one(&record, offset)
            .map_err(LoadError::Apply)?;
        if let (MetadataRecord::Partition(record), Some((version, rest))) = (&record, known) {
            let entry = builder.entry_of(record.topic_id, record.partition_id);
            self.last = entry.map(|entry| (version, rest, entry));
        }
        Ok(())
    }
}
