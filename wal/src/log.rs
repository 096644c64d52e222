//! The log's state and its one `match` over events. Parts: `append.rs` (append, group commit), `replicas.rs` (control operations, offsets),
//! `prepare.rs` (segments ahead of need), `sealing.rs` (footers), `read.rs` (reads), `checkpoint.rs`, `reserve.rs`, `recovery.rs`, `retention.rs`,
//! `rewrite.rs`, `plan.rs`, `scrub.rs`, `closing.rs`.

use crate::append::{Filling, InFlight};
use crate::buffer::{AlignedBuffer, BufferPool};
use crate::cache::{PageCache, TailCache};
use crate::checkpoint::Checkpointer;
use crate::checksum::Entropy;
use crate::closing::Closing;
use crate::fetch::{Fetch, Fetches};
use crate::footer::FenceKey;
use crate::gather::Gathering;
use crate::io::{Event, FileName, Io, IoClass, IoFailure, IoId, IoResult, OfflineReason, Output};
use crate::layout::DirectoryEntry;
use crate::open_index::OpenIndex;
use crate::options::LogOptions;
use crate::prepare::Preparer;
use crate::read::Reader;
use crate::region::RegionCache;
use crate::report::LogStatistics;
use crate::reserve::Reserve;
use crate::retention::Retention;
use crate::rewrite::{RewriteIo, Rewriter};
use crate::scrub::Scrubber;
use crate::sealing::Sealing;
use crate::segments::{SegmentState, SegmentTable};
use crate::slot::SlotTable;
use crate::survey::Survey;
use crate::types::{DamagedRange, Lsn, Now, Offset, ReplicaId};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// One shard's log in one data directory. A synchronous state machine: calls and events go in with the time, outputs come out.
///
/// - `append` and the control operations answer with an LSN; it is durable when `Output::DurableTo` reaches it.
/// - Every `Output::Io` is run by the caller and answered with `Event::IoDone`, in any order.
/// - `Event::Tick` drives what depends on time: seal blocks, time limits, retention, spare segments.
#[derive(Debug)]
pub struct Log {
    pub(crate) options: LogOptions,
    pub(crate) segment_bytes: u64,
    pub(crate) segments_max: u64,
    pub(crate) entropy: Entropy,
    pub(crate) slots: SlotTable,
    pub(crate) segments: SegmentTable,
    pub(crate) open: BTreeMap<u32, OpenIndex>,
    pub(crate) damage: BTreeMap<(ReplicaId, i64), i64>,
    pub(crate) next_replica: u64,
    pub(crate) next_sequence: u64,
    pub(crate) write_number: u64,
    pub(crate) broker_epoch: i64,
    pub(crate) metadata_offset_max: i64,

    pub(crate) pool: BufferPool,
    pub(crate) buffer_rest: Option<AlignedBuffer>,
    pub(crate) entries_spare: Vec<Vec<DirectoryEntry>>,
    pub(crate) filling: Option<Filling>,
    pub(crate) pending: VecDeque<Filling>,
    pub(crate) pending_bytes: usize,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) active: u32,
    pub(crate) active_position: u64,
    /// End of the last closed write: where the one being filled begins.
    pub(crate) closed_lsn: u64,
    pub(crate) issued_lsn: u64,
    pub(crate) durable_lsn: u64,
    /// What a header on disk says is durable, once its write is done.
    pub(crate) proven_lsn: u64,
    pub(crate) last_commit_us: u64,

    pub(crate) gathering: Gathering,
    pub(crate) preparer: Preparer,
    pub(crate) sealing: VecDeque<Sealing>,
    pub(crate) tail: TailCache,
    /// What was read from disk for clients.
    pub(crate) regions: RegionCache,
    pub(crate) pages: PageCache,
    /// Pages of the base of older extents.
    pub(crate) extent_pages: PageCache,
    pub(crate) reader: Reader,
    pub(crate) checkpointer: Checkpointer,
    pub(crate) reserve: Reserve,
    pub(crate) retention: Retention,
    pub(crate) rewriter: Rewriter,
    pub(crate) scrubber: Scrubber,
    pub(crate) fetches: Fetches,
    pub(crate) survey: Survey,

    /// What recovery has to tell the operator.
    pub(crate) doubt: Option<String>,
    pub(crate) next_io: u64,
    pub(crate) io: BTreeMap<IoId, Purpose>,
    pub(crate) offline: Option<OfflineReason>,
    pub(crate) shutting_down: bool,
    pub(crate) closing: Closing,
    pub(crate) statistics: LogStatistics,
}

/// What an outstanding request is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    Commit,
    SegmentHeader {
        file: u32,
    },
    CreateSegment {
        file: u32,
    },
    Footer {
        file: u32,
    },
    /// By its number in `Reader::reads`.
    Read(u64),
    Checkpoint,
    Reserve,
    Rewrite(RewriteIo),
    Scrub,
    /// A page for work in the background.
    Fetch(Fetch),
    Ignored,
}

impl Log {
    /// Time passed, or a request is done.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Vec<Output>) {
        match event {
            Event::Tick => {}
            Event::IoDone { id, result } => {
                let Some(purpose) = self.io.remove(&id) else {
                    return;
                };
                self.io_done(now, purpose, result, out);
            }
        }
        self.proceed(now, out);
    }

    fn io_done(&mut self, now: Now, purpose: Purpose, result: IoResult, out: &mut Vec<Output>) {
        match purpose {
            Purpose::Commit => self.commit_done(now, result, out),
            Purpose::SegmentHeader { file } => self.segment_header_done(now, file, result, out),
            Purpose::CreateSegment { file } => self.segment_created(now, file, result, out),
            Purpose::Footer { file } => self.footer_written(now, file, result, out),
            Purpose::Read(read) => self.disk_read_done(now, read, result, out),
            Purpose::Checkpoint => self.checkpoint_io_done(now, result, out),
            Purpose::Reserve => self.reserve_made(now, result),
            Purpose::Rewrite(io) => self.rewrite_io_done(now, io, result, out),
            Purpose::Scrub => self.scrub_io_done(now, result, out),
            Purpose::Fetch(fetch) => self.page_fetched(now, fetch, result, out),
            Purpose::Ignored => {}
        }
    }

    /// Everything that may be due after an event. Each part does a bounded piece.
    pub(crate) fn proceed(&mut self, now: Now, out: &mut Vec<Output>) {
        self.watch_write(now, out);
        if self.offline.is_some() || self.closing == Closing::Closed {
            self.proceed_closing(now, out);
            return;
        }
        let frozen = |why| Output::DeletionsFrozen { why };
        out.extend(self.doubt.take().map(frozen));
        self.watch_clock(now, out);
        self.watch_space(now);
        self.prepare_segments(now, out);
        self.commit(now, out);
        self.seal_when_quiet(now, out);
        self.proceed_sealing(now, out);
        self.proceed_checkpoint(now, out);
        self.proceed_reserve(now, out);
        self.proceed_retention(now, out);
        self.proceed_survey(now, out);
        self.proceed_rewrite(now, out);
        self.proceed_scrub(now, out);
        self.issue_reads(now, out);
        self.proceed_closing(now, out);
    }

    pub(crate) fn go_offline(&mut self, reason: OfflineReason, out: &mut Vec<Output>) {
        if self.offline.is_none() {
            self.offline = Some(reason);
            self.refuse_waiting_reads(out);
            out.push(Output::Offline { reason });
        }
    }

    fn next_io_id(&mut self, purpose: Purpose) -> IoId {
        let id = IoId(self.next_io);
        self.next_io += 1;
        self.io.insert(id, purpose);
        id
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn write(
        &mut self,
        purpose: Purpose,
        file: FileName,
        position: u64,
        buffer: Bytes,
        durable: bool,
        class: IoClass,
        out: &mut Vec<Output>,
    ) {
        let id = self.next_io_id(purpose);
        out.push(Output::Io(Io::Write {
            id,
            file,
            position,
            buffer,
            durable,
            class,
        }));
    }

    pub(crate) fn read_file(
        &mut self,
        purpose: Purpose,
        file: FileName,
        position: u64,
        length: usize,
        class: IoClass,
        out: &mut Vec<Output>,
    ) {
        let id = self.next_io_id(purpose);
        out.push(Output::Io(Io::Read {
            id,
            file,
            position,
            length,
            class,
        }));
    }

    pub(crate) fn create_file(
        &mut self,
        purpose: Purpose,
        file: FileName,
        bytes: u64,
        zero: bool,
        out: &mut Vec<Output>,
    ) {
        let id = self.next_io_id(purpose);
        out.push(Output::Io(Io::Create {
            id,
            file,
            bytes,
            zero,
        }));
    }

    pub(crate) fn sync_file(&mut self, purpose: Purpose, file: FileName, out: &mut Vec<Output>) {
        let id = self.next_io_id(purpose);
        out.push(Output::Io(Io::Sync { id, file }));
    }

    pub(crate) fn remove_file(&mut self, file: FileName, out: &mut Vec<Output>) {
        self.remove_for(Purpose::Ignored, file, out);
    }

    pub(crate) fn remove_for(&mut self, purpose: Purpose, file: FileName, out: &mut Vec<Output>) {
        let id = self.next_io_id(purpose);
        out.push(Output::Io(Io::Remove { id, file }));
    }

    /// Marks frames as damaged, and says so once.
    pub(crate) fn mark_damaged(
        &mut self,
        replica: ReplicaId,
        range: DamagedRange,
        file: u32,
        position: u64,
        out: &mut Vec<Output>,
    ) {
        let known = self.damage.insert((replica, range.first.0), range.last.0);
        if known == Some(range.last.0) {
            return;
        }
        self.statistics.frames_damaged += 1;
        out.push(Output::Damaged {
            replica: Some(replica),
            first: range.first,
            last: range.last,
            file: FileName::Segment(file),
            position,
        });
    }

    /// The damaged range that holds `offset`, if any.
    pub(crate) fn damaged_at(&self, replica: ReplicaId, offset: i64) -> Option<DamagedRange> {
        let (&(_, first), &last) = self
            .damage
            .range((replica, i64::MIN)..=(replica, offset))
            .next_back()?;
        (last >= offset).then_some(DamagedRange {
            first: Offset(first),
            last: Offset(last),
        })
    }

    /// Damaged ranges that are known now, of replicas that still have these offsets.
    pub fn damaged_ranges(&self) -> impl Iterator<Item = (ReplicaId, DamagedRange)> + '_ {
        self.damage.iter().map(|(&(replica, first), &last)| {
            (
                replica,
                DamagedRange {
                    first: Offset(first),
                    last: Offset(last),
                },
            )
        })
    }

    /// Everything at or below it is durable.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        Lsn(self.durable_lsn)
    }

    /// Where the next write will begin: everything appended so far lies below it, once closed.
    #[must_use]
    pub fn append_lsn(&self) -> Lsn {
        Lsn(self.closed_lsn
            + self
                .filling
                .as_ref()
                .map_or(0, |filling| filling.used as u64))
    }

    /// Bytes of memory that finding frames takes beside the slots: older extents that no base has yet, first keys of the base's pages and
    /// of footers, pages in the two caches. `LogOptions::upper_extent_bytes_max`, `extent_cache_bytes` and `index_cache_bytes` bound it,
    /// but for the first keys: 16 bytes for a page of 4096.
    #[must_use]
    pub fn index_memory_bytes(&self) -> u64 {
        let fences = self.segments.iter().map(|(_, segment)| {
            let keys = segment.fences.as_ref().map_or(0, |fences| fences.len());
            (keys * std::mem::size_of::<FenceKey>()) as u64
        });
        let caches = self.pages.bytes() + self.extent_pages.bytes();
        self.slots.layers.memory_bytes() + fences.sum::<u64>() + caches as u64
    }

    /// Whether the log gave up, and why.
    #[must_use]
    pub fn offline(&self) -> Option<OfflineReason> {
        self.offline
    }

    /// The options the log runs with.
    #[must_use]
    pub fn options(&self) -> &LogOptions {
        &self.options
    }

    /// Figures for metrics. Walks the segments, not the replicas.
    #[must_use]
    pub fn statistics(&self) -> LogStatistics {
        let mut statistics = self.statistics.clone();
        statistics.segments = self.segments.len() as u64;
        statistics.segments_free =
            (self.segments.len() as u64).saturating_sub(self.segments_used());
        for (_, segment) in self.segments.iter() {
            if segment.state == SegmentState::Sealed {
                let data = u64::from(segment.data_end);
                let live = segment.live_bytes().min(data);
                statistics.bytes_live += live;
                statistics.bytes_dead += data - live;
            }
        }
        statistics.tail_cache_bytes = self.tail.bytes() as u64;
        statistics.frame_cache_bytes = self.regions.bytes() as u64;
        statistics.index_cache_bytes = self.pages.bytes() as u64;
        statistics.tail_cache_lookups = self.tail.lookups();
        statistics.frame_cache_lookups = self.regions.lookups();
        statistics.index_cache_lookups = self.pages.lookups();
        statistics.space_used_bytes = self.segments_used() * self.segment_bytes;
        statistics.space_bytes_max = self.options.directory_bytes_max;
        statistics.reads_waiting = self.reader.waiting() as u64;
        statistics.reads_outstanding = self.reader.outstanding() as u64;
        statistics.replicas = self.slots.live();
        statistics.slot_bytes = self.slots.memory_bytes();
        statistics.extents = self
            .segments
            .iter()
            .map(|(_, segment)| u64::from(segment.extents()))
            .sum();
        statistics.index_memory_bytes = self.index_memory_bytes();
        statistics.cold_memory_bytes = self.checkpointer.cold.memory_bytes();
        statistics.extent_pages = u64::from(self.slots.layers.base.pages());
        statistics.segments_unclustered = self.rewriter.pace.unclustered;
        statistics.rewrite_debt_bytes = self.rewriter.pace.debt_bytes;
        statistics.rewrite_debt_ms = self.rewrite_debt_ms();
        statistics.produce_throttle_ms = u64::from(self.produce_throttle_ms());
        statistics.deletions_frozen = self.retention.frozen();
        statistics.out_of_space = self.out_of_space();
        statistics.offline = self.offline.is_some();
        statistics
    }
}

/// A failed result's failure; a result of the wrong kind counts as one.
pub(crate) fn expect_done(result: IoResult) -> Result<(), IoFailure> {
    match result {
        IoResult::Done => Ok(()),
        IoResult::Failed(failure) => Err(failure),
        IoResult::Data(_) => Err(IoFailure {
            kind: crate::io::IoFailureKind::Other,
            os_code: 0,
        }),
    }
}

/// A read's bytes, exactly `length` of them.
pub(crate) fn expect_data(result: IoResult, length: usize) -> Result<Bytes, IoFailure> {
    match result {
        IoResult::Data(bytes) if bytes.len() == length => Ok(bytes),
        IoResult::Data(_) => Err(IoFailure {
            kind: crate::io::IoFailureKind::Short,
            os_code: 0,
        }),
        IoResult::Failed(failure) => Err(failure),
        IoResult::Done => Err(IoFailure {
            kind: crate::io::IoFailureKind::Other,
            os_code: 0,
        }),
    }
}
