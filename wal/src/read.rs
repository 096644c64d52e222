//! Reads: from the tail, the frame cache, or the disk by way of index pages. A read that misses something becomes a job: it asks for what
//! it misses, and is planned again when that has come; what it fetched it holds, so that a small cache cannot starve it. Every frame
//! from disk is verified (nonce, place, replica, offsets, CRC) before anyone sees it; a bad one is marked, nothing else is.

use crate::footer::{IndexEntry, IndexPage, decode_fences, decode_index_page};
use crate::index_file::decode_page;
use crate::io::{BLOCK_BYTES, FileName, IoClass, IoResult, Output};
use crate::layers::Missing;
use crate::layout::{FRAME_HEADER_BYTES, verify_frame};
use crate::log::{Log, Purpose, expect_data};
use crate::lookup::{Held, Lookup, Need, Plan};
use crate::segments::SegmentTable;
use crate::types::{DamagedRange, Now, Offset, ReadAnswer, ReadRefusal, ReplicaId};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Neighbouring frames with a smaller hole between them come in one read.
const GAP_BYTES_MAX: u64 = 16 << 10;
/// One read is not longer, unless one frame is.
const READ_BYTES_MAX: u64 = 1 << 20;
/// A job that was planned so often is chasing something: it is refused as empty, and the client asks again.
const PLANS_MAX: u32 = 10_000;
/// What cannot be read this often is taken for damaged. Once may be the cable, or the controller.
pub(crate) const READ_FAILURES_MAX: u8 = 3;

/// What a read is after.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    Range {
        replica: ReplicaId,
        from: i64,
        bound: i64,
        bytes_max: usize,
        at_least_one: bool,
        ahead: usize,
    },
    FirstTimestamp {
        replica: ReplicaId,
        timestamp_ms: i64,
    },
    MaxTimestamp {
        replica: ReplicaId,
    },
}

/// A read that waits for the disk.
#[derive(Debug)]
struct Job {
    ticket: u64,
    wanted: Wanted,
    held: Held,
    outstanding: usize,
    /// A joined read failed: each frame on its own now.
    alone: bool,
    plans: u32,
}

/// One disk read of a job.
#[derive(Debug)]
pub(crate) struct ReadIo {
    job: u64,
    file: u32,
    nonce: u64,
    position: u64,
    length: usize,
    what: ReadWhat,
    failures: u8,
}

impl ReadIo {
    fn name(&self) -> FileName {
        match self.what {
            ReadWhat::Extents(missing) => FileName::Index(missing.number),
            _ => FileName::Segment(self.file),
        }
    }

    fn unpin(&self, segments: &mut SegmentTable) {
        if !matches!(self.what, ReadWhat::Extents(_)) {
            segments.at(self.file).pins -= 1;
        }
    }
}

#[derive(Debug)]
enum ReadWhat {
    /// A page of the base of older extents: no segment is read.
    Extents(Missing),
    Fences,
    Page(u32),
    Frames(Vec<(ReplicaId, IndexEntry)>),
}

/// Where a replica was last read from disk, for reading ahead.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    next: i64,
    ahead: usize,
}

const CURSORS_MAX: usize = 4_096;

/// All reads that wait.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    jobs: BTreeMap<u64, Job>,
    next_job: u64,
    queue: VecDeque<ReadIo>,
    outstanding: usize,
    cursors: BTreeMap<ReplicaId, Cursor>,
}

impl Reader {
    pub(crate) fn waiting(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }
}

impl Log {
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
        let Some(slot) = self.slots.get(replica) else {
            return ReadAnswer::UnknownReplica;
        };
        if from.0 < slot.log_start {
            return ReadAnswer::BelowLogStart;
        }
        if from.0 > slot.log_end {
            return ReadAnswer::AboveEnd;
        }
        let bound = bound.0.min(slot.log_end);
        if from.0 >= bound || (bytes_max == 0 && !at_least_one) {
            return ReadAnswer::Empty;
        }
        let wanted = Wanted::Range {
            replica,
            from: from.0,
            bound,
            bytes_max,
            at_least_one,
            ahead: 0,
        };
        self.start_read(now, wanted, ticket, out)
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
        if self.slots.get(replica).is_none() {
            return ReadAnswer::UnknownReplica;
        }
        self.start_read(
            now,
            Wanted::FirstTimestamp {
                replica,
                timestamp_ms,
            },
            ticket,
            out,
        )
    }

    /// The first frame that holds the largest timestamp of the replica; `Empty` when it has no frames.
    pub fn find_max_timestamp(
        &mut self,
        now: Now,
        replica: ReplicaId,
        ticket: u64,
        out: &mut Vec<Output>,
    ) -> ReadAnswer {
        if self.slots.get(replica).is_none() {
            return ReadAnswer::UnknownReplica;
        }
        self.start_read(now, Wanted::MaxTimestamp { replica }, ticket, out)
    }

    fn start_read(
        &mut self,
        _now: Now,
        wanted: Wanted,
        ticket: u64,
        out: &mut Vec<Output>,
    ) -> ReadAnswer {
        let held = Held::default();
        let needs = match self.plan(&wanted, &held) {
            Plan::Done(data) => {
                self.statistics.reads_from_memory += 1;
                return ReadAnswer::Ready(data);
            }
            Plan::Refuse(refusal) => return answer(refusal),
            Plan::Need(needs) => needs,
        };
        if self.offline.is_some() {
            return ReadAnswer::Offline;
        }
        if self.reader.jobs.len() >= self.options.reads_waiting_max {
            return ReadAnswer::Busy;
        }
        self.statistics.reads_from_disk += 1;
        let wanted = self.read_ahead(wanted);
        let id = self.reader.next_job;
        self.reader.next_job += 1;
        let mut job = Job {
            ticket,
            wanted,
            held,
            outstanding: 0,
            alone: false,
            plans: 0,
        };
        let needs = match self.plan(&job.wanted, &job.held) {
            Plan::Need(more) => more,
            _ => needs,
        };
        self.queue_needs(id, &mut job, needs);
        self.reader.jobs.insert(id, job);
        self.pump_reads(out);
        ReadAnswer::Pending
    }

    /// A cursor that goes on where the last read from disk ended reads twice as far ahead.
    fn read_ahead(&mut self, wanted: Wanted) -> Wanted {
        let Wanted::Range {
            replica,
            from,
            bound,
            bytes_max,
            at_least_one,
            ..
        } = wanted
        else {
            return wanted;
        };
        let (least, most) = (
            self.options.read_ahead_bytes_min,
            self.options.read_ahead_bytes_max,
        );
        if self.reader.cursors.len() >= CURSORS_MAX {
            self.reader.cursors.pop_first();
        }
        let cursor = self.reader.cursors.entry(replica).or_insert(Cursor {
            next: from,
            ahead: 0,
        });
        cursor.ahead = if cursor.next <= from {
            (cursor.ahead * 2).clamp(least, most)
        } else {
            0
        };
        cursor.next = from;
        Wanted::Range {
            replica,
            from,
            bound,
            bytes_max,
            at_least_one,
            ahead: cursor.ahead,
        }
    }

    fn plan(&mut self, wanted: &Wanted, held: &Held) -> Plan {
        let mut lookup = Lookup {
            slots: &self.slots,
            segments: &self.segments,
            open: &self.open,
            damage: &self.damage,
            tail: &self.tail,
            frames: &mut self.frames,
            pages: &mut self.pages,
            extent_pages: &mut self.extent_pages,
            held,
        };
        lookup.plan(wanted)
    }

    fn queue_needs(&mut self, id: u64, job: &mut Job, needs: Vec<Need>) {
        job.plans += 1;
        let mut frames: Vec<(u32, ReplicaId, IndexEntry)> = Vec::new();
        for need in needs {
            match need {
                Need::Extents(missing) => self.queue_extent_page(id, job, missing),
                Need::Fences(file) => {
                    let segment = self.segments.at(file);
                    let pages =
                        (segment.index_pages as usize).div_ceil(crate::footer::FENCES_PER_PAGE);
                    let position = u64::from(segment.footer_position)
                        + u64::from(segment.index_pages) * BLOCK_BYTES as u64;
                    self.statistics.index_page_reads += 1;
                    self.queue_read(
                        id,
                        job,
                        file,
                        position,
                        pages * BLOCK_BYTES,
                        ReadWhat::Fences,
                    );
                }
                Need::Page(file, page) => {
                    self.statistics.index_page_reads += 1;
                    let position = u64::from(self.segments.at(file).footer_position)
                        + u64::from(page) * BLOCK_BYTES as u64;
                    self.queue_read(id, job, file, position, BLOCK_BYTES, ReadWhat::Page(page));
                }
                Need::Frame(file, replica, entry) => frames.push((file, replica, entry)),
            }
        }
        frames.sort_unstable_by_key(|(file, _, entry)| (*file, entry.position));
        let mut group: Vec<(ReplicaId, IndexEntry)> = Vec::new();
        let (mut group_file, mut start, mut end) = (0, 0, 0);
        for (file, replica, entry) in frames {
            let (frame_start, frame_end) = block_range(&entry);
            let joins = !group.is_empty()
                && !job.alone
                && file == group_file
                && frame_start <= end + GAP_BYTES_MAX
                && frame_end - start <= READ_BYTES_MAX;
            if !joins && !group.is_empty() {
                let what = ReadWhat::Frames(std::mem::take(&mut group));
                self.queue_read(id, job, group_file, start, (end - start) as usize, what);
            }
            if group.is_empty() {
                (group_file, start, end) = (file, frame_start, frame_end);
            }
            end = end.max(frame_end);
            group.push((replica, entry));
        }
        if !group.is_empty() {
            self.queue_read(
                id,
                job,
                group_file,
                start,
                (end - start) as usize,
                ReadWhat::Frames(group),
            );
        }
    }

    fn queue_extent_page(&mut self, id: u64, job: &mut Job, missing: Missing) {
        job.outstanding += 1;
        self.statistics.extent_page_reads += 1;
        self.reader.queue.push_back(ReadIo {
            job: id,
            file: missing.number,
            nonce: self.slots.layers.base.nonce,
            position: u64::from(missing.page) * BLOCK_BYTES as u64,
            length: BLOCK_BYTES,
            what: ReadWhat::Extents(missing),
            failures: 0,
        });
    }

    fn queue_read(
        &mut self,
        id: u64,
        job: &mut Job,
        file: u32,
        position: u64,
        length: usize,
        what: ReadWhat,
    ) {
        let segment = self.segments.at(file);
        segment.pins += 1;
        let nonce = segment.nonce;
        job.outstanding += 1;
        self.reader.queue.push_back(ReadIo {
            job: id,
            file,
            nonce,
            position,
            length,
            what,
            failures: 0,
        });
    }

    /// Issues what waits, few at a time while a durable write is in flight.
    pub(crate) fn pump_reads(&mut self, out: &mut Vec<Output>) {
        let limit = if self.in_flight.is_some() {
            self.options.reads_outstanding_under_write_max
        } else {
            self.options.reads_outstanding_max
        };
        while self.reader.outstanding < limit.max(1) {
            let Some(read) = self.reader.queue.pop_front() else {
                return;
            };
            self.reader.outstanding += 1;
            let (file, position, length) = (read.name(), read.position, read.length);
            self.read_file(
                Purpose::Read(read),
                file,
                position,
                length,
                IoClass::ClientRead,
                out,
            );
        }
    }

    pub(crate) fn read_io_done(
        &mut self,
        _now: Now,
        mut read: ReadIo,
        result: IoResult,
        out: &mut Vec<Output>,
    ) {
        self.reader.outstanding -= 1;
        let data = expect_data(result, read.length);
        if data.is_err() && read.failures + 1 < READ_FAILURES_MAX && self.offline.is_none() {
            read.failures += 1;
            self.reader.queue.push_back(read);
            return self.pump_reads(out);
        }
        read.unpin(&mut self.segments);
        let Some(mut job) = self.reader.jobs.remove(&read.job) else {
            return;
        };
        job.outstanding -= 1;
        match (&read.what, data) {
            (ReadWhat::Extents(missing), data) => {
                let base = &self.slots.layers.base;
                let current = base.number == missing.number;
                let page = data.ok().filter(|_| current);
                match page.and_then(|data| decode_page(base, missing.page, &data)) {
                    Some(page) => {
                        let page: Arc<IndexPage> = Arc::new(page);
                        self.extent_pages
                            .insert(missing.number, missing.page, Arc::clone(&page));
                        job.held.extent_pages.push((*missing, page));
                    }
                    None if current => return self.extents_damaged(job, &read, out),
                    // Another base is in its place by now: it is looked for there.
                    None => {}
                }
            }
            (ReadWhat::Frames(frames), Ok(data)) => {
                self.take_frames(&mut job, &read, frames, &data, out)
            }
            (ReadWhat::Frames(frames), Err(_)) if frames.len() > 1 => job.alone = true,
            (ReadWhat::Frames(frames), Err(_)) => {
                for (replica, entry) in frames {
                    self.damaged_frame(*replica, entry, read.file, out);
                }
            }
            (ReadWhat::Fences, data) => match data
                .ok()
                .and_then(|data| decode_fences(&data, read.nonce, read.position))
            {
                Some(fences) => self.segments.at(read.file).fences = Some(fences.into()),
                None => self.index_damaged(&job, read.file, read.position, out),
            },
            (ReadWhat::Page(page), data) => {
                match data
                    .ok()
                    .and_then(|data| decode_index_page(&data, read.nonce, read.position, *page))
                {
                    Some(entries) => {
                        let entries: Arc<IndexPage> = Arc::new(entries);
                        self.pages.insert(read.file, *page, Arc::clone(&entries));
                        job.held.pages.push(((read.file, *page), entries));
                    }
                    None => self.index_damaged(&job, read.file, read.position, out),
                }
            }
        }
        self.continue_job(read.job, job, out);
    }

    fn continue_job(&mut self, id: u64, mut job: Job, out: &mut Vec<Output>) {
        if job.outstanding == 0 {
            match self.plan(&job.wanted, &job.held) {
                Plan::Need(needs) if job.plans < PLANS_MAX => self.queue_needs(id, &mut job, needs),
                Plan::Need(_) => return finish(job.ticket, Err(ReadRefusal::Empty), out),
                Plan::Done(data) => {
                    if let Wanted::Range { replica, .. } = job.wanted
                        && let Some(cursor) = self.reader.cursors.get_mut(&replica)
                    {
                        cursor.next = data.next_offset.0;
                    }
                    return finish(job.ticket, Ok(data), out);
                }
                Plan::Refuse(refusal) => return finish(job.ticket, Err(refusal), out),
            }
        }
        self.reader.jobs.insert(id, job);
        self.pump_reads(out);
    }

    fn take_frames(
        &mut self,
        job: &mut Job,
        read: &ReadIo,
        frames: &[(ReplicaId, IndexEntry)],
        data: &Bytes,
        out: &mut Vec<Output>,
    ) {
        let useful: usize = frames.iter().map(|(_, entry)| entry.frame_bytes()).sum();
        let share = useful * 2 >= data.len();
        for (replica, entry) in frames {
            let at = (u64::from(entry.position) - read.position) as usize;
            match sound_payload(read.nonce, *replica, entry, &data[at..]) {
                Some(()) => {
                    let payload = at + FRAME_HEADER_BYTES..at + entry.frame_bytes();
                    let payload = if share {
                        data.slice(payload)
                    } else {
                        Bytes::copy_from_slice(&data[payload])
                    };
                    self.frames
                        .insert(read.file, entry.position, payload.clone());
                    job.held.frames.push(((read.file, entry.position), payload));
                }
                None => self.damaged_frame(*replica, entry, read.file, out),
            }
        }
    }

    fn damaged_frame(
        &mut self,
        replica: ReplicaId,
        entry: &IndexEntry,
        file: u32,
        out: &mut Vec<Output>,
    ) {
        let range = DamagedRange {
            first: Offset(entry.base),
            last: Offset(entry.last),
        };
        self.mark_damaged(replica, range, file, u64::from(entry.position), out);
    }

    /// A page of a footer is gone: the frames it led to are there, but not to be found. Only the extent that was asked for is marked.
    fn index_damaged(&mut self, job: &Job, file: u32, position: u64, out: &mut Vec<Output>) {
        let (replica, from) = match job.wanted {
            Wanted::Range { replica, from, .. } => (replica, from),
            Wanted::FirstTimestamp { replica, .. } | Wanted::MaxTimestamp { replica } => {
                (replica, i64::MIN)
            }
        };
        let (held, cache) = (&job.held, &mut self.extent_pages);
        let found = self
            .slots
            .extents_from(replica, from, usize::MAX, &mut |page| {
                held.extent_page(page)
                    .or_else(|| cache.get(page.number, page.page))
            });
        let extents = found.unwrap_or_default();
        for extent in extents.iter().filter(|extent| extent.segment == file) {
            let range = DamagedRange {
                first: Offset(extent.base),
                last: Offset(extent.end - 1),
            };
            self.mark_damaged(replica, range, file, position, out);
        }
    }

    /// A page of the base of older extents is gone: what it led to is there, but not to be found. Nothing is marked: the next read tries again.
    fn extents_damaged(&mut self, job: Job, read: &ReadIo, out: &mut Vec<Output>) {
        let (replica, from) = match job.wanted {
            Wanted::Range { replica, from, .. } => (replica, from),
            Wanted::FirstTimestamp { replica, .. } | Wanted::MaxTimestamp { replica } => {
                let start = self.slots.get(replica).map_or(0, |slot| slot.log_start);
                (replica, start)
            }
        };
        let upper = self.slots.upper_extents(replica).next();
        let last = upper.map_or(i64::MAX, |extent| extent.base).max(from + 1) - 1;
        let (first, last) = (Offset(from), Offset(last));
        self.statistics.frames_damaged += 1;
        out.push(Output::Damaged {
            replica: Some(replica),
            first,
            last,
            file: read.name(),
            position: read.position,
        });
        finish(job.ticket, Err(ReadRefusal::Damaged { first, last }), out);
        self.pump_reads(out);
    }

    pub(crate) fn refuse_waiting_reads(&mut self, out: &mut Vec<Output>) {
        for read in std::mem::take(&mut self.reader.queue) {
            read.unpin(&mut self.segments);
        }
        for job in std::mem::take(&mut self.reader.jobs).into_values() {
            finish(job.ticket, Err(ReadRefusal::Offline), out);
        }
    }
}

fn finish(ticket: u64, result: Result<crate::types::ReadData, ReadRefusal>, out: &mut Vec<Output>) {
    out.push(Output::ReadDone { ticket, result });
}

fn answer(refusal: ReadRefusal) -> ReadAnswer {
    match refusal {
        ReadRefusal::Empty => ReadAnswer::Empty,
        ReadRefusal::BelowLogStart => ReadAnswer::BelowLogStart,
        ReadRefusal::AboveEnd => ReadAnswer::AboveEnd,
        ReadRefusal::Damaged { first, last } => ReadAnswer::Damaged { first, last },
        ReadRefusal::UnknownReplica => ReadAnswer::UnknownReplica,
        ReadRefusal::Offline => ReadAnswer::Offline,
    }
}

/// The blocks a frame lies in.
fn block_range(entry: &IndexEntry) -> (u64, u64) {
    let start = u64::from(entry.position) & !(BLOCK_BYTES as u64 - 1);
    let end = (u64::from(entry.position) + entry.frame_bytes() as u64)
        .next_multiple_of(BLOCK_BYTES as u64);
    (start, end)
}

/// Whether these bytes are the frame that the index says.
pub(crate) fn sound_payload(
    nonce: u64,
    replica: ReplicaId,
    entry: &IndexEntry,
    bytes: &[u8],
) -> Option<()> {
    let bytes = bytes.get(..entry.frame_bytes())?;
    let header = verify_frame(nonce, u64::from(entry.position), bytes)?;
    let same = header.meta.replica == replica
        && header.meta.base_offset.0 == entry.base
        && header.meta.last_offset.0 == entry.last
        && header.payload_bytes == entry.payload_bytes;
    same.then_some(())
}
