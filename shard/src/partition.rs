//! One partition that this shard leads: its offsets, behind one setter, its producers and its watchers.
//!
//! A partition that nobody uses costs its slot here and nothing else: no task, no timer, no file.

use odradek_wal::{Offset, ReplicaId};
use smallvec::SmallVec;

use crate::command::PartitionKey;
use crate::producers::Producers;

/// Where a partition's log stands. `log_start <= high_watermark <= durable_end <= log_end`, asserted at
/// every move (with durability off the watermark may run ahead of the disk, never of the log).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    log_start: Offset,
    high_watermark: Offset,
    durable_end: Offset,
    log_end: Offset,
}

/// A move of one of the four offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetMove {
    /// Records were appended up to here.
    LogEnd(Offset),
    /// All below is on stable storage.
    Durable(Offset),
    /// All below may be read by consumers.
    HighWatermark(Offset),
    /// All below is gone.
    LogStart(Offset),
}

impl Offsets {
    /// A log as recovered: all that is there is durable, and a lone replica's watermark is its end.
    pub fn recovered(log_start: Offset, log_end: Offset) -> Self {
        assert!(
            log_start <= log_end,
            "log start {log_start:?} above log end {log_end:?}"
        );
        Offsets {
            log_start,
            high_watermark: log_end,
            durable_end: log_end,
            log_end,
        }
    }

    /// The one setter. Offsets only go up; `ahead_of_disk` is durability off.
    pub fn advance(&mut self, to: OffsetMove, ahead_of_disk: bool) {
        match to {
            OffsetMove::LogEnd(end) => {
                assert!(
                    end >= self.log_end,
                    "log end moved back from {:?} to {end:?}",
                    self.log_end
                );
                self.log_end = end;
            }
            OffsetMove::Durable(end) => self.durable_end = self.durable_end.max(end),
            OffsetMove::HighWatermark(to) => self.high_watermark = self.high_watermark.max(to),
            OffsetMove::LogStart(to) => self.log_start = self.log_start.max(to),
        }
        assert!(
            self.log_start <= self.high_watermark,
            "{self:?} after {to:?}"
        );
        assert!(
            self.high_watermark <= self.durable_end || ahead_of_disk,
            "{self:?} after {to:?}"
        );
        assert!(
            self.high_watermark <= self.log_end && self.durable_end <= self.log_end,
            "{self:?} after {to:?}"
        );
    }

    /// First offset that is there.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// First offset that consumers may not read yet.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// First offset of the oldest open transaction, or the watermark. No transactions yet: the watermark.
    pub fn last_stable(&self) -> Offset {
        self.high_watermark
    }

    /// First offset that is not on stable storage.
    pub fn durable_end(&self) -> Offset {
        self.durable_end
    }

    /// The offset of the next record.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }
}

/// Who is told when a partition moves: a member of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watcher {
    /// The fetch or session part.
    pub fetch: u32,
    /// The member in it.
    pub member: u32,
}

/// Those who wait for news of a partition. Most partitions have never had any, and then this is all that it takes; one that was fetched keeps
/// its room.
#[derive(Debug, Default)]
pub struct Watchers(Option<Box<SmallVec<[Watcher; 2]>>>);

impl Watchers {
    /// Adds one.
    pub fn push(&mut self, watcher: Watcher) {
        self.0.get_or_insert_default().push(watcher);
    }

    /// Takes one out.
    pub fn remove(&mut self, watcher: Watcher) {
        if let Some(watchers) = &mut self.0 {
            watchers.retain(|other| *other != watcher);
        }
    }

    /// All of them, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &Watcher> {
        self.0.iter().flat_map(|watchers| watchers.iter())
    }
}

/// A partition led here.
#[derive(Debug)]
pub struct Partition {
    /// Topic id and number.
    pub key: PartitionKey,
    /// Position of the topic in the shard's table.
    pub topic: u32,
    /// The replica's number in its directory.
    pub replica: ReplicaId,
    /// The offsets.
    pub offsets: Offsets,
    /// Producers; none until the first idempotent batch.
    pub producers: Option<Box<Producers>>,
    /// Fetches and session parts that wait for news.
    pub watchers: Watchers,
    /// The leader epoch, stamped on new batches.
    pub leader_epoch: i32,
    /// Position of the directory.
    pub directory: u16,
    /// Size of the in-sync set.
    pub in_sync: u16,
    /// Number of assigned replicas.
    pub replicas: u16,
    /// Whether producer state changed since the last checkpoint.
    pub producers_changed: bool,
    /// Whether a deadline for producer expiry is queued.
    pub expiry_queued: bool,
}

// Case 11: an idle replica costs at most 512 bytes in all; the log's slot takes 128, the image about 330
// for ten cluster partitions per replica, so that this must stay small.
const _: () = assert!(size_of::<Partition>() <= 96);

impl Partition {
    /// In-sync replicas that acks=-1 needs: the configured number, but never more than are assigned.
    pub fn min_insync(&self, configured: i32) -> u16 {
        u16::try_from(configured.max(1))
            .unwrap_or(u16::MAX)
            .min(self.replicas.max(1))
    }

    /// Producer state, made when first needed.
    pub fn producers_mut(&mut self) -> &mut Producers {
        self.producers.get_or_insert_with(Box::default)
    }
}
