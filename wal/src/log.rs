//! The log as its callers see it. First commit of the surface: every operation refuses as an offline log does, until the parts
//! behind it stand.

use crate::io::{Disk, Event, Output};
use crate::options::LogOptions;
use crate::report::{FormatError, LogStatistics, RecoveryError, RecoveryReport, RecoveryVisitor};
use crate::types::*;

/// One shard's log in one data directory.
#[derive(Debug)]
pub struct Log {
    options: LogOptions,
}

#[allow(unused_variables, clippy::unused_self)]
impl Log {
    /// Makes a new, empty log in an empty folder.
    ///
    /// # Errors
    /// When the folder already holds one, an option is out of bounds, or the disk fails.
    pub fn format(disk: &mut dyn Disk, options: &LogOptions) -> Result<(), FormatError> {
        Err(FormatError::BadOption("this build cannot format yet"))
    }

    /// Opens the log: loads the checkpoint, replays what came after it, cuts a torn tail, tells damage apart, opens a fresh segment.
    /// May be cut short and repeated at any point.
    ///
    /// # Errors
    /// When there is no log of ours, or its checkpoint is unreadable, or the disk fails. Damage in the log itself is reported, not an error.
    pub fn recover(
        disk: &mut dyn Disk,
        options: LogOptions,
        now: Now,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<(Self, RecoveryReport), RecoveryError> {
        Err(RecoveryError::NotFormatted)
    }

    /// Time passed, or a request is done.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Vec<Output>) {}

    /// Issues the write that is being filled, when none is in flight. Needed once per turn with `commit_on_append: false`.
    pub fn commit(&mut self, now: Now, out: &mut Vec<Output>) {}

    /// Adds a replica; durable with the next write. About 40 bytes of log each, so that they can be made by the million.
    ///
    /// # Errors
    /// See `AppendRefusal`; never `Busy`.
    pub fn create_replica(
        &mut self,
        now: Now,
        create: CreateReplica,
        out: &mut Vec<Output>,
    ) -> Result<ReplicaId, AppendRefusal> {
        Err(AppendRefusal::Offline)
    }

    /// Appends one frame, payload = `head` ++ `body`, copied once. `body_crc32c` is the CRC-32C of `body` when the caller knows it
    /// (the record batch's own), so that no second pass is made over the bytes. The answer is the LSN that `DurableTo` must reach.
    /// A frame can be read once its write is issued; consumers wait for the high watermark anyway.
    ///
    /// # Errors
    /// See `AppendRefusal`; nothing changed.
    pub fn append(
        &mut self,
        now: Now,
        meta: &FrameMeta,
        head: &[u8],
        body: &[u8],
        body_crc32c: Option<u32>,
        out: &mut Vec<Output>,
    ) -> Result<Lsn, AppendRefusal> {
        Err(AppendRefusal::Offline)
    }

    /// Drops the frames whose last offset is at or past `to`; the log end becomes `to`. Durable before any later frame.
    ///
    /// # Errors
    /// See `AppendRefusal`.
    pub fn truncate(
        &mut self,
        now: Now,
        replica: ReplicaId,
        to: Offset,
        out: &mut Vec<Output>,
    ) -> Result<Lsn, AppendRefusal> {
        Err(AppendRefusal::Offline)
    }

    /// Moves the log start up (DeleteRecords); lower than it is changes nothing. Answer the client when `DurableTo` reaches the LSN.
    ///
    /// # Errors
    /// `OutOfRange` past the log end; see `AppendRefusal`.
    pub fn set_log_start(
        &mut self,
        now: Now,
        replica: ReplicaId,
        to: Offset,
        out: &mut Vec<Output>,
    ) -> Result<Lsn, AppendRefusal> {
        Err(AppendRefusal::Offline)
    }

    /// Removes a replica; its space comes back by itself.
    ///
    /// # Errors
    /// See `AppendRefusal`.
    pub fn delete_replica(
        &mut self,
        now: Now,
        replica: ReplicaId,
        out: &mut Vec<Output>,
    ) -> Result<Lsn, AppendRefusal> {
        Err(AppendRefusal::Offline)
    }

    /// Logs the broker epoch given at registration; recovery reports it.
    ///
    /// # Errors
    /// See `AppendRefusal`.
    pub fn set_broker_epoch(
        &mut self,
        now: Now,
        epoch: i64,
        out: &mut Vec<Output>,
    ) -> Result<Lsn, AppendRefusal> {
        Err(AppendRefusal::Offline)
    }

    /// The broker epoch last logged, -1 for none.
    #[must_use]
    pub fn broker_epoch(&self) -> i64 {
        -1
    }

    /// Sets a replica's retention. Not persistent: the caller sets it again after recovery, from the metadata image.
    pub fn set_retention(&mut self, replica: ReplicaId, policy: RetentionPolicy) {}

    /// Moves the high watermark (within log start and log end; the caller keeps it at or below the durable end).
    pub fn set_high_watermark(&mut self, replica: ReplicaId, to: Offset) {}

    /// Moves the last stable offset.
    pub fn set_last_stable(&mut self, replica: ReplicaId, to: Offset) {}

    /// A replica's state.
    #[must_use]
    pub fn replica(&self, replica: ReplicaId) -> Option<ReplicaState> {
        None
    }

    /// All live replicas, in the order of their ids. For start-up and tests: it walks them.
    pub fn replicas(&self) -> impl Iterator<Item = (ReplicaId, ReplicaState)> + '_ {
        std::iter::empty()
    }

    /// Frames of a replica from the one that holds `from` (or the next) up to the last that ends below `bound` (exclusive), in all at most
    /// `bytes_max` bytes, but the first in any case with `at_least_one`.
    #[allow(clippy::too_many_arguments)]
    pub fn read(
        &mut self,
        now: Now,
        replica: ReplicaId,
        from: Offset,
        bound: Offset,
        bytes_max: usize,
        at_least_one: bool,
        ticket: u64,
        out: &mut Vec<Output>,
    ) -> ReadAnswer {
        ReadAnswer::Offline
    }

    /// The first frame, from the log start, whose largest timestamp is at or past `timestamp_ms`; `Empty` when there is none.
    pub fn find_timestamp(
        &mut self,
        now: Now,
        replica: ReplicaId,
        timestamp_ms: i64,
        ticket: u64,
        out: &mut Vec<Output>,
    ) -> ReadAnswer {
        ReadAnswer::Offline
    }

    /// The first frame that holds the largest timestamp of the replica; `Empty` when it has no frames.
    pub fn find_max_timestamp(
        &mut self,
        now: Now,
        replica: ReplicaId,
        ticket: u64,
        out: &mut Vec<Output>,
    ) -> ReadAnswer {
        ReadAnswer::Offline
    }

    /// The largest epoch at or below `epoch`, and where it ends (exclusive), as OffsetForLeaderEpoch wants it.
    #[must_use]
    pub fn epoch_end_offset(
        &self,
        replica: ReplicaId,
        epoch: LeaderEpoch,
    ) -> Option<(LeaderEpoch, Offset)> {
        None
    }

    /// The epoch that `offset` was written in.
    #[must_use]
    pub fn epoch_for(&self, replica: ReplicaId, offset: Offset) -> Option<LeaderEpoch> {
        None
    }

    /// Every epoch with its first offset, oldest first.
    #[must_use]
    pub fn epochs(&self, replica: ReplicaId) -> Vec<(LeaderEpoch, Offset)> {
        Vec::new()
    }

    /// Starts a checkpoint of everything up to now. `cold`: the shard's own pages that changed since the last call, as of now; they come
    /// back through `RecoveryVisitor::cold`. Called while one runs, it is started when that one is done.
    pub fn begin_checkpoint(
        &mut self,
        now: Now,
        cold: Vec<(ReplicaId, Vec<u8>)>,
        out: &mut Vec<Output>,
    ) {
    }

    /// Refuses appends, writes what waits, seals, makes the last checkpoint and gives `Output::Closed`. Call `begin_checkpoint` with the
    /// last cold pages right before.
    pub fn shut_down(&mut self, now: Now, out: &mut Vec<Output>) {}

    /// An operator (or the peers) confirmed the clock: deletions go on.
    pub fn trust_clock(&mut self, now: Now) {}

    /// Everything at or below it is durable.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        Lsn(0)
    }

    /// Figures for metrics.
    #[must_use]
    pub fn statistics(&self) -> LogStatistics {
        LogStatistics::default()
    }

    /// The options the log runs with.
    #[must_use]
    pub fn options(&self) -> &LogOptions {
        &self.options
    }
}
