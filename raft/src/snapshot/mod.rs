//! Kafka's `.checkpoint` file as bytes (kraft.md 2.5): written and read in bounded pieces, no file
//! touched here. What is in a snapshot is `crate::image`'s; when one is made, kept and sent is
//! `crate::consensus`'s.
//!
//! The file is record batches of magic 2 whose offsets count from 0 in the file and whose leader
//! epoch is the snapshot's: first one control batch (SnapshotHeader, then KRaftVersion and Voters
//! with kraft.version 1), then data batches of framed metadata records, last one control batch
//! with the SnapshotFooter.

mod reader;
mod writer;

pub use reader::{
    SnapshotError, SnapshotHeader, SnapshotPart, SnapshotReader, read_snapshot, walk_snapshot,
};
pub use writer::{SnapshotWriter, WriterOptions};

use crate::consensus::SnapshotId;

/// `<20-digit end offset>-<10-digit epoch>.checkpoint`
pub fn file_name(id: SnapshotId) -> String {
    format!("{:020}-{:010}.checkpoint", id.offset, id.epoch)
}

/// The name while it is being written; such files are deleted at start.
pub fn part_file_name(id: SnapshotId) -> String {
    format!("{}.part", file_name(id))
}

/// The snapshot that a file name means; none for any other name, part files too.
pub fn parse_file_name(name: &str) -> Option<SnapshotId> {
    let stem = name.strip_suffix(".checkpoint")?;
    let (offset, epoch) = stem.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if offset.len() != 20 || epoch.len() != 10 || !digits(offset) || !digits(epoch) {
        return None;
    }
    Some(SnapshotId::new(offset.parse().ok()?, epoch.parse().ok()?))
}
