//! The metadata log in memory: batches up to the log end, with their bytes, and the epoch table.
//! The bytes are bounded by snapshots: what is appended between two, and a little before the
//! newest, for those who fetch and are not quite there (`trim`); the disk has more, from the
//! oldest snapshot kept on. Where the bytes become durable is the caller's; the order of offsets
//! is kept here by one setter each.

use std::collections::VecDeque;

use bytes::Bytes;

use super::types::OffsetAndEpoch;

/// One record batch of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// First offset.
    pub base: i64,
    /// Last offset plus one.
    pub end: i64,
    /// Leader epoch.
    pub epoch: i32,
    /// Largest record time in milliseconds.
    pub max_timestamp_ms: i64,
    /// Whether it holds control records.
    pub control: bool,
    /// The batch as on the wire.
    pub bytes: Bytes,
}

/// What a Fetch position means to the log of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The logs agree up to there.
    Valid,
    /// They agree at most up to here.
    Diverging(OffsetAndEpoch),
    /// The position lies below what the log still has.
    BelowLog,
}

/// Batches and epochs of the log.
#[derive(Debug)]
pub struct LogIndex {
    start: OffsetAndEpoch,
    batches: VecDeque<Batch>,
    /// First offset of each epoch, ascending in both.
    epochs: Vec<OffsetAndEpoch>,
    bytes: usize,
}

impl LogIndex {
    /// An empty log that starts at an offset.
    pub fn new(start: OffsetAndEpoch) -> Self {
        Self {
            start,
            batches: VecDeque::new(),
            epochs: Vec::new(),
            bytes: 0,
        }
    }

    /// Log start, with the epoch of the record before it.
    pub fn start(&self) -> OffsetAndEpoch {
        self.start
    }

    /// Log end, with the epoch of the last record (of the snapshot when the log is empty).
    pub fn end(&self) -> OffsetAndEpoch {
        self.batches.back().map_or(self.start, |batch| {
            OffsetAndEpoch::new(batch.end, batch.epoch)
        })
    }

    /// Bytes of all batches.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends one batch; it must follow the log end.
    pub fn append(&mut self, batch: Batch) {
        let end = self.end();
        assert_eq!(batch.base, end.offset, "a batch must follow the log end");
        assert!(batch.epoch >= end.epoch, "epochs never go back in a log");
        if self
            .epochs
            .last()
            .is_none_or(|last| last.epoch < batch.epoch)
        {
            self.epochs
                .push(OffsetAndEpoch::new(batch.base, batch.epoch));
        }
        self.bytes += batch.bytes.len();
        self.batches.push_back(batch);
    }

    /// Drops batches at or above `to`, a batch boundary or not (the batch across it goes whole);
    /// gives the new log end.
    pub fn truncate(&mut self, to: i64) -> i64 {
        while let Some(last) = self.batches.back() {
            if last.end <= to {
                break;
            }
            self.bytes -= last.bytes.len();
            self.batches.pop_back();
        }
        let end = self.end().offset;
        while self.epochs.last().is_some_and(|last| last.offset >= end) {
            self.epochs.pop();
        }
        end
    }

    /// Drops batches below `to`, which must be a batch boundary at or below the log end.
    pub fn cut(&mut self, to: OffsetAndEpoch) {
        debug_assert!(self.epoch_at_end(to.offset) == Some(to.epoch));
        while let Some(first) = self.batches.front() {
            if first.base >= to.offset {
                break;
            }
            self.bytes -= first.bytes.len();
            self.batches.pop_front();
        }
        self.start = to;
        let first_epoch = self.batches.front().map(|batch| batch.epoch);
        self.epochs
            .retain(|entry| first_epoch.is_some_and(|epoch| entry.epoch >= epoch));
        if let Some(first) = self.epochs.first_mut() {
            first.offset = first.offset.max(to.offset);
        }
    }

    /// Drops the oldest batches below `offset`, a batch boundary, but for the last `bytes_kept` of
    /// them.
    pub fn trim(&mut self, offset: i64, bytes_kept: usize) {
        let below = self.batches.partition_point(|batch| batch.end <= offset);
        let mut kept = 0;
        let last_dropped = self
            .batches
            .range(..below)
            .rposition(|batch| {
                kept += batch.bytes.len();
                kept > bytes_kept
            })
            .map(|dropped| &self.batches[dropped]);
        if let Some(last) = last_dropped {
            self.cut(OffsetAndEpoch::new(last.end, last.epoch));
        }
    }

    /// The batch that starts at `offset` or holds it.
    pub fn batch_at(&self, offset: i64) -> Option<&Batch> {
        self.batches.get(self.position_of(offset))
    }

    /// Batches that end above `from`, in order.
    pub fn batches_from(&self, from: i64) -> impl Iterator<Item = &Batch> {
        self.batches.range(self.position_of(from)..)
    }

    fn position_of(&self, offset: i64) -> usize {
        self.batches.partition_point(|batch| batch.end <= offset)
    }

    /// The epoch of the record at `end - 1` if `end` is a batch boundary of this log.
    pub fn epoch_at_end(&self, end: i64) -> Option<i32> {
        if end == self.start.offset {
            return Some(self.start.epoch);
        }
        let batch = self.batch_at(end - 1)?;
        (batch.end == end).then_some(batch.epoch)
    }

    /// The largest epoch of this log at or below `epoch`, and where it ends. When all epochs are
    /// larger, the log start with its epoch.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> OffsetAndEpoch {
        let next = self.epochs.partition_point(|entry| entry.epoch <= epoch);
        let end = self
            .epochs
            .get(next)
            .map_or(self.end().offset, |entry| entry.offset);
        match next.checked_sub(1) {
            Some(found) => OffsetAndEpoch::new(end, self.epochs[found].epoch),
            None => OffsetAndEpoch::new(end, self.start.epoch.min(epoch)),
        }
    }

    /// Judges a fetch position (kraft.md 3.1, rules 4 to 6), given the epoch of the oldest
    /// snapshot when there is one.
    pub fn position(&self, fetch: OffsetAndEpoch, oldest_snapshot_epoch: Option<i32>) -> Position {
        if self.start.offset == 0 && fetch.offset == 0 {
            return Position::Valid;
        }
        if fetch.offset < self.start.offset
            || (fetch.offset == self.start.offset && fetch.epoch != self.start.epoch)
            || oldest_snapshot_epoch.is_some_and(|epoch| fetch.epoch < epoch)
        {
            return Position::BelowLog;
        }
        if fetch.offset == self.start.offset {
            return Position::Valid;
        }
        let known = self.end_offset_for_epoch(fetch.epoch);
        if known.epoch != fetch.epoch || known.offset < fetch.offset {
            return Position::Diverging(known);
        }
        Position::Valid
    }

    /// Where a follower must truncate to when its leader says the logs part at `diverging`.
    pub fn truncation_point(&self, diverging: OffsetAndEpoch) -> i64 {
        if diverging.epoch == 0 {
            return diverging.offset.min(self.end().offset);
        }
        let own = self.end_offset_for_epoch(diverging.epoch);
        if own.epoch == diverging.epoch {
            own.offset.min(diverging.offset)
        } else {
            own.offset
        }
    }

    /// Whole batches from a boundary on: at least one, then as many as fit.
    pub fn read(&self, from: i64, bytes_max: usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        let mut total = 0usize;
        for batch in self.batches_from(from) {
            total += batch.bytes.len();
            if !taken.is_empty() && total > bytes_max {
                break;
            }
            taken.push(batch.bytes.clone());
        }
        taken
    }
}
