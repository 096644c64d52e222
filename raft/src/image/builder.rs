//! Applying records to a working copy of the image, and publishing it. Which record changes what is in `apply.rs`; this file keeps offsets,
//! transactions (KIP-868) and publication.

use std::fmt;

use odradek_protocol::Uuid;
use odradek_protocol::metadata_records::MetadataRecord;
use odradek_protocol::records::Records;

use super::MetadataImage;
use super::delta::MetadataDelta;
use super::short_way::{LoadError, ShortWay};
use super::topics_builder::TopicsBuilder;

/// What the builder is handed from outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuilderOptions {
    /// Seed of the hashes of interned lists; reaches no output.
    pub hash_seed: u64,
}

/// Why a record cannot be applied. Each means that this node does not understand the log as its writer did: the node must stop rather than
/// go on with another view of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// A topic's name or id is already taken.
    TopicExists {
        /// Offset of the record.
        offset: i64,
        /// The topic's name.
        name: String,
        /// The topic's id.
        id: Uuid,
    },
    /// The record names a topic that is not there.
    UnknownTopic {
        /// Offset of the record.
        offset: i64,
        /// Name or id.
        topic: String,
    },
    /// The record names a partition that is not there, or a negative one.
    UnknownPartition {
        /// Offset of the record.
        offset: i64,
        /// The topic's id.
        topic: Uuid,
        /// The partition.
        partition: i32,
    },
    /// The record names a broker or broker epoch that is not registered.
    UnknownBroker {
        /// Offset of the record.
        offset: i64,
        /// Broker id.
        broker: i32,
        /// Broker epoch.
        epoch: i64,
    },
    /// A transaction begins inside another, or ends when there is none.
    Transaction {
        /// Offset of the record.
        offset: i64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A field has a value that this version does not know.
    UnknownValue {
        /// Offset of the record.
        offset: i64,
        /// Record and field.
        field: &'static str,
        /// The value.
        value: i64,
    },
    /// The offset is not above that of the record before.
    OutOfOrder {
        /// Offset of the record.
        offset: i64,
        /// Offset of the last one applied.
        last: i64,
    },
}

impl fmt::Display for ApplyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (offset, what) = match self {
            ApplyError::TopicExists { offset, name, id } => (
                offset,
                format!("creates topic {name} ({id}), whose name or id is taken"),
            ),
            ApplyError::UnknownTopic { offset, topic } => {
                (offset, format!("names topic {topic}, which does not exist"))
            }
            ApplyError::UnknownPartition {
                offset,
                topic,
                partition,
            } => (
                offset,
                format!("names partition {partition} of topic {topic}, which does not exist"),
            ),
            ApplyError::UnknownBroker {
                offset,
                broker,
                epoch,
            } => (
                offset,
                format!("names broker {broker} with epoch {epoch}, which is not registered"),
            ),
            ApplyError::Transaction { offset, reason } => (offset, (*reason).to_string()),
            ApplyError::UnknownValue {
                offset,
                field,
                value,
            } => (offset, format!("has {field} {value}, which is unknown")),
            ApplyError::OutOfOrder { offset, last } => {
                (offset, format!("comes after offset {last} was applied"))
            }
        };
        write!(
            formatter,
            "the metadata record at offset {offset} {what}: this node cannot follow the metadata log; upgrade it, or check the log"
        )
    }
}

impl std::error::Error for ApplyError {}

/// What a transaction that is aborted goes back to.
#[derive(Debug)]
struct Before {
    image: MetadataImage,
    delta: MetadataDelta,
    topics_delta: super::delta::TopicsDelta,
}

/// A working copy of the image.
///
/// `apply` takes records in log order; `publish` hands out an image that shares memory with the working copy, and what changed since the last
/// one. Between a BeginTransaction and its end nothing can be published, so that no reader ever sees half of one.
#[derive(Debug)]
pub struct MetadataBuilder {
    pub(super) image: MetadataImage,
    pub(super) topics: TopicsBuilder,
    pub(super) delta: MetadataDelta,
    transaction: Option<Box<Before>>,
    options: BuilderOptions,
}

impl MetadataBuilder {
    /// A builder that goes on from `image`. Costs a walk over its slots.
    pub fn new(image: MetadataImage, options: BuilderOptions) -> MetadataBuilder {
        let topics = TopicsBuilder::new(image.topics.clone(), options.hash_seed);
        let mut image = image;
        image.topics = Default::default();
        MetadataBuilder {
            image,
            topics,
            delta: MetadataDelta::default(),
            transaction: None,
            options,
        }
    }

    /// Builds an image from a snapshot's records; `offset` and `epoch` are those of the last record it stands for.
    pub fn from_snapshot<'a>(
        records: impl IntoIterator<Item = &'a MetadataRecord>,
        offset: i64,
        epoch: i32,
        options: BuilderOptions,
    ) -> Result<MetadataBuilder, ApplyError> {
        let mut builder = MetadataBuilder::new(MetadataImage::empty(), options);
        for record in records {
            builder.apply_one(record, offset)?;
        }
        builder.set_position(offset, epoch);
        Ok(builder)
    }

    /// The working copy's cluster part: everything but topics, which are in [`MetadataBuilder::topics`].
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// The working copy's topics.
    pub fn topics(&self) -> &super::TopicsImage {
        &self.topics.image
    }

    /// Whether a transaction is open: then there is nothing to publish.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Applies the record at `offset`, written in `epoch`. After an error the builder must not be used again.
    pub fn apply(
        &mut self,
        record: &MetadataRecord,
        offset: i64,
        epoch: i32,
    ) -> Result<(), ApplyError> {
        self.follows(offset)?;
        self.apply_one(record, offset)?;
        self.set_position(offset, epoch);
        Ok(())
    }

    /// Applies the records of a batch from `base_offset` on, written in `epoch`, as they lie. After an error the builder must not be used again.
    pub fn apply_batch(
        &mut self,
        batch: &Records,
        base_offset: i64,
        epoch: i32,
    ) -> Result<(), LoadError> {
        let mut short_way = ShortWay::default();
        for (offset, record) in (base_offset..).zip(batch.views()) {
            let value = record.map_err(LoadError::Batch)?.value.unwrap_or_default();
            self.follows(offset).map_err(LoadError::Apply)?;
            short_way.apply(self, batch.decompressed(), value, offset)?;
            self.set_position(offset, epoch);
        }
        Ok(())
    }

    fn follows(&self, offset: i64) -> Result<(), ApplyError> {
        let last = self.image.offset;
        match offset > last {
            true => Ok(()),
            false => Err(ApplyError::OutOfOrder { offset, last }),
        }
    }

    /// Moves past offsets that hold no metadata record: control batches.
    pub fn set_position(&mut self, offset: i64, epoch: i32) {
        assert!(offset >= self.image.offset, "the log is applied in order");
        self.image.offset = offset;
        self.image.epoch = epoch;
    }

    /// The image as it is now, and what changed since the last call. None inside a transaction.
    pub fn publish(&mut self) -> Option<(MetadataImage, MetadataDelta)> {
        if self.in_transaction() {
            return None;
        }
        let mut delta = std::mem::take(&mut self.delta);
        delta.topics = self.topics.take_delta();
        let mut image = self.image.clone();
        image.topics = self.topics.image.clone();
        Some((image, delta))
    }

    /// Drops what no partition uses any more at once, instead of when it has doubled.
    pub fn drop_unused_lists(&mut self) {
        if !self.in_transaction() {
            self.topics.renumber_if_due(0);
        }
    }

    pub(super) fn begin_transaction(&mut self, offset: i64) -> Result<(), ApplyError> {
        if self.in_transaction() {
            return Err(ApplyError::Transaction {
                offset,
                reason: "begins a transaction inside another",
            });
        }
        self.topics.settle_ids();
        let mut image = self.image.clone();
        image.topics = self.topics.image.clone();
        self.transaction = Some(Box::new(Before {
            image,
            delta: self.delta.clone(),
            topics_delta: self.topics.delta.clone(),
        }));
        Ok(())
    }

    pub(super) fn end_transaction(&mut self, offset: i64) -> Result<(), ApplyError> {
        match self.transaction.take() {
            Some(_) => Ok(()),
            None => Err(ApplyError::Transaction {
                offset,
                reason: "ends a transaction that was not begun",
            }),
        }
    }

    pub(super) fn abort_transaction(&mut self, offset: i64) -> Result<(), ApplyError> {
        let Some(before) = self.transaction.take() else {
            return Err(ApplyError::Transaction {
                offset,
                reason: "aborts a transaction that was not begun",
            });
        };
        let Before {
            mut image,
            delta,
            topics_delta,
        } = *before;
        let topics = std::mem::take(&mut image.topics);
        self.topics
            .reset(topics, topics_delta, self.options.hash_seed);
        image.offset = self.image.offset;
        image.epoch = self.image.epoch;
        self.image = image;
        self.delta = delta;
        Ok(())
    }
}
