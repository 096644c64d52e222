//! An image out of a snapshot's records, as they come: millions of them are neither kept nor all read (`short_way.rs`). Publication is in
//! `builder.rs`.

use bytes::Bytes;

use super::MetadataImage;
use super::builder::{BuilderOptions, MetadataBuilder};
use super::delta::MetadataDelta;
use super::short_way::{LoadError, ShortWay};

/// See the module.
#[derive(Debug)]
pub struct SnapshotLoader {
    builder: MetadataBuilder,
    offset: i64,
    /// What the pieces given out changed.
    given: MetadataDelta,
    short_way: ShortWay,
}

impl SnapshotLoader {
    /// For a snapshot that stands for the log up to and with `offset`.
    pub fn new(offset: i64, options: BuilderOptions) -> Self {
        let mut builder = MetadataBuilder::new(MetadataImage::empty(), options);
        builder.gather_topics();
        SnapshotLoader {
            builder,
            offset,
            given: MetadataDelta::default(),
            short_way: ShortWay::default(),
        }
    }

    /// Takes the value of the next record, which lies in `held`.
    ///
    /// # Errors
    /// When it cannot be read or does not fit; nothing more may be taken then.
    pub fn take(&mut self, held: &Bytes, value: &[u8]) -> Result<(), LoadError> {
        self.short_way
            .apply(&mut self.builder, held, value, self.offset)
    }

    /// Partitions that were taken since the last piece.
    pub fn partitions_gathered(&self) -> usize {
        self.builder.topics.delta.partitions.len()
    }

    /// The image so far and what was taken since the last piece, for those who can make ready for a part of it; topics are found in it by
    /// index and name. None inside a transaction.
    pub fn piece(&mut self) -> Option<(MetadataImage, MetadataDelta)> {
        let (image, delta) = self.builder.publish()?;
        self.given.add(delta.clone());
        self.short_way = ShortWay::default();
        Some((image, delta))
    }

    /// The image, and all of it as a change from nothing; `epoch` is that of the last record it stands for.
    ///
    /// # Errors
    /// `OpenTransaction`; `Apply` when two topics have one id.
    pub fn finish(mut self, epoch: i32) -> Result<(MetadataImage, MetadataDelta), LoadError> {
        let settled = self.builder.settle_topics(self.offset);
        settled.map_err(LoadError::Apply)?;
        self.builder.set_position(self.offset, epoch);
        let (image, delta) = self.builder.publish().ok_or(LoadError::OpenTransaction)?;
        self.given.add(delta);
        self.given.settle_merged();
        self.given.topics.created.clear();
        Ok((image, self.given))
    }
}
