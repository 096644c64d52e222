//! An image out of a snapshot's records, as they come: millions of them are neither kept nor all read. Most partition records of a snapshot
//! say the same as the one before of another partition, and then its entry is simply set once more; topic records are read where they lie.
//! Publication is in `builder.rs`.

use std::fmt;

use bytes::Bytes;
use odradek_protocol::codec::DecodeError;
use odradek_protocol::metadata_records::{MetadataRecord, PartitionRecordParts, TopicRecordParts};

use super::MetadataImage;
use super::builder::{ApplyError, BuilderOptions, MetadataBuilder};
use super::delta::MetadataDelta;
use super::topics::PartitionEntry;

/// Why a snapshot makes no image.
#[derive(Debug)]
pub enum LoadError {
    /// A record cannot be read.
    Decode(DecodeError),
    /// A record does not fit what comes before it.
    Apply(ApplyError),
    /// It ends inside a transaction.
    OpenTransaction,
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Decode(error) => write!(formatter, "{error}"),
            LoadError::Apply(error) => write!(formatter, "{error}"),
            LoadError::OpenTransaction => {
                formatter.write_str("a snapshot ends inside a transaction")
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// See the module.
#[derive(Debug)]
pub struct SnapshotLoader {
    builder: MetadataBuilder,
    offset: i64,
    /// The last partition record that was read: its version, what follows its topic id, and what it came to.
    last: Option<(u8, Bytes, PartitionEntry)>,
}

impl SnapshotLoader {
    /// For a snapshot that stands for the log up to and with `offset`.
    pub fn new(offset: i64, options: BuilderOptions) -> Self {
        let mut builder = MetadataBuilder::new(MetadataImage::empty(), options);
        builder.gather_topics();
        SnapshotLoader {
            builder,
            offset,
            last: None,
        }
    }

    /// Takes the value of the next record, which lies in `held`.
    ///
    /// # Errors
    /// When it cannot be read or does not fit; nothing more may be taken then.
    pub fn take(&mut self, held: &Bytes, value: &[u8]) -> Result<(), LoadError> {
        let parts = PartitionRecordParts::of(value);
        if let Some(parts) = parts
            && let Some((version, rest, entry)) = &self.last
            && parts.version == *version
            && parts.rest == rest
        {
            let (topic, number, entry) = (parts.topic_id, parts.partition_id, *entry);
            let set = self.builder.set_like(topic, number, entry, self.offset);
            return set.map_err(LoadError::Apply);
        }
        if let Some(topic) = TopicRecordParts::of(value) {
            let created = self
                .builder
                .create_topic(topic.name, topic.topic_id, self.offset);
            return created.map_err(LoadError::Apply);
        }
        let known = parts.map(|parts| (parts.version, held.slice_ref(parts.rest)));
        let decoded = MetadataRecord::decode(held.slice_ref(value));
        let (record, _version) = decoded.map_err(LoadError::Decode)?;
        self.builder
            .apply_of_snapshot(&record, self.offset)
            .map_err(LoadError::Apply)?;
        if let (MetadataRecord::Partition(record), Some((version, rest))) = (&record, known) {
            let entry = self.builder.entry_of(record.topic_id, record.partition_id);
            self.last = entry.map(|entry| (version, rest, entry));
        }
        Ok(())
    }

    /// The image, and all of it as a change from nothing; `epoch` is that of the last record it stands for.
    ///
    /// # Errors
    /// `OpenTransaction`; `Apply` when two topics have one id.
    pub fn finish(mut self, epoch: i32) -> Result<(MetadataImage, MetadataDelta), LoadError> {
        let settled = self.builder.settle_topics(self.offset);
        settled.map_err(LoadError::Apply)?;
        self.builder.set_position(self.offset, epoch);
        self.builder.publish().ok_or(LoadError::OpenTransaction)
    }
}
