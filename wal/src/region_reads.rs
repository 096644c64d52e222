//! Disk reads for clients: what waiting reads miss is gathered by place, whoever asked for it, and comes in few and long reads: a stretch of a
//! segment that many readers want is read once for all of them, and one that is under way already is waited for. `read.rs` decides what is
//! missing, `region.rs` keeps what came; index pages are verified here.

use crate::footer::{FENCES_PER_PAGE, IndexEntry, IndexPage, decode_fences, decode_index_page};
use crate::index_file::decode_page;
use crate::io::{BLOCK_BYTES, FileName, IoClass, IoResult, Output};
use crate::layers::Missing;
use crate::log::{Log, Purpose, expect_data};
use crate::lookup::Need;
use crate::read::Job;
use crate::region::{Region, RegionKey};
use crate::types::{Now, ReplicaId};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Neighbouring frames with a smaller hole between them come in one read: in the time of another request a device reads about as much.
const GAP_BYTES_MAX: u64 = 64 << 10;
/// One read is not longer, unless one frame is.
const READ_BYTES_MAX: u64 = 1 << 20;
/// Bytes of all reads outstanding: what keeps a fast device busy.
const OUTSTANDING_BYTES_MAX: u64 = 16 << 20;
/// A durable write waits behind the reads that the device has in hand. So while there are such writes, reads are short, and few,
const READ_BYTES_UNDER_WRITE_MAX: u64 = 256 << 10;
const OUTSTANDING_BYTES_UNDER_WRITE_MAX: u64 = 256 << 10;
/// and after each the reads rest for so many times as long as it took. What is read is also checked, copied and sent by the loop that answers
/// the producers, and taken in by a client that may share their processor: readers that are served as fast as they can take it leave producers to
/// queue for all three. The time that a read took has in it how busy the device and the loop are, so that a slower one is left alone for longer.
const REST_PARTS: u64 = 3;
/// They rest for no longer: one slow read is no reason to stop.
const REST_US_MAX: u64 = 20_000;
/// So long after a write, the next one is expected.
const WRITES_EXPECTED_US: u64 = 20_000;
/// Index pages that come in one read.
const PAGES_MAX: u32 = 32;
/// About what one of them takes in memory.
const DECODED_PAGE_BYTES: usize = 16 << 10;
/// What cannot be read this often is taken for damaged. Once may be the cable, or the controller.
pub(crate) const READ_FAILURES_MAX: u8 = 3;
/// A job that needs less than this part of a region holds a copy of what it needs, and not the region.
const HELD_PART_MIN: usize = 4;

/// A frame that is to be read, and the jobs that wait for it; none, when it is read ahead.
#[derive(Debug)]
struct WaitingFrame {
    replica: ReplicaId,
    entry: IndexEntry,
    jobs: Vec<u64>,
}

/// One disk read, waiting or under way.
#[derive(Debug)]
struct DiskRead {
    nonce: u64,
    position: u64,
    length: usize,
    what: ReadWhat,
    failures: u8,
    issued_us: u64,
}

#[derive(Debug)]
enum ReadWhat {
    /// A page of the base of older extents: no segment is read.
    Extents { missing: Missing, jobs: Vec<u64> },
    /// Pages of a footer, from `first` on, and with `fences` the fence pages behind them. Each job waits for one page, or for the fences.
    Footer {
        file: u32,
        first: u32,
        pages: u32,
        fences: bool,
        jobs: Vec<(u64, Option<u32>)>,
    },
    /// A region with these frames in it, by position. When it is not `shared`, nobody else joins.
    Frames {
        file: u32,
        frames: BTreeMap<u32, WaitingFrame>,
        shared: bool,
    },
}

impl DiskRead {
    fn name(&self) -> FileName {
        match self.what {
            ReadWhat::Extents { missing, .. } => FileName::Index(missing.number),
            ReadWhat::Footer { file, .. } | ReadWhat::Frames { file, .. } => {
                FileName::Segment(file)
            }
        }
    }

    fn segment(&self) -> Option<u32> {
        match self.what {
            ReadWhat::Extents { .. } => None,
            ReadWhat::Footer { file, .. } | ReadWhat::Frames { file, .. } => Some(file),
        }
    }
}

/// All disk reads for clients.
#[derive(Debug, Default)]
pub(crate) struct RegionReads {
    reads: BTreeMap<u64, DiskRead>,
    next_read: u64,
    /// Reads that are not under way, in their order: index pages, and frames that must come alone.
    queue: VecDeque<u64>,
    /// Frames that wait to be gathered into a region.
    frames: BTreeMap<(u32, u32), WaitingFrame>,
    /// The place behind the last region: the next begins there or later, and after the last place with the first again, so that nobody
    /// waits for longer than a round.
    swept_to: (u32, u32),
    outstanding: usize,
    outstanding_bytes: u64,
    /// While writes go on, no read is issued before.
    rests_until_us: u64,
    /// Set while something waits for that.
    due_us: Option<u64>,
}

impl RegionReads {
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn add(&mut self, read: DiskRead) -> u64 {
        let id = self.next_read;
        self.next_read += 1;
        self.reads.insert(id, read);
        id
    }

    /// Has a job wait for a frame that a region under way will bring.
    fn join_frame(
        &mut self,
        id: Option<u64>,
        file: u32,
        replica: ReplicaId,
        entry: &IndexEntry,
    ) -> bool {
        let (start, end) = block_range(entry);
        for read in self.reads.values_mut() {
            let ReadWhat::Frames {
                file: other,
                frames,
                shared: true,
            } = &mut read.what
            else {
                continue;
            };
            let inside = read.position <= start && end <= read.position + read.length as u64;
            if *other != file || !inside {
                continue;
            }
            // It may lie in a hole that is read over.
            let frame = frames
                .entry(entry.position)
                .or_insert_with(|| WaitingFrame {
                    replica,
                    entry: *entry,
                    jobs: Vec::new(),
                });
            frame.jobs.extend(id);
            return true;
        }
        false
    }

    fn join_footer(&mut self, id: u64, file: u32, page: Option<u32>) -> bool {
        for read in self.reads.values_mut() {
            let ReadWhat::Footer {
                file: other,
                first,
                pages,
                fences,
                jobs,
            } = &mut read.what
            else {
                continue;
            };
            let inside = page.map_or(*fences, |page| (*first..*first + *pages).contains(&page));
            if *other == file && inside {
                jobs.push((id, page));
                return true;
            }
        }
        false
    }

    fn join_extents(&mut self, id: u64, wanted: Missing) -> bool {
        for read in self.reads.values_mut() {
            if let ReadWhat::Extents { missing, jobs } = &mut read.what
                && *missing == wanted
            {
                jobs.push(id);
                return true;
            }
        }
        false
    }

    /// The first frame at or behind the place where the last region ended.
    fn next_frame(&self) -> Option<(u32, u32)> {
        let behind = self.frames.range(self.swept_to..).next();
        behind
            .or_else(|| self.frames.iter().next())
            .map(|(key, _)| *key)
    }

    /// Takes out the frames of the next region, and says where it begins and ends.
    fn next_region(
        &mut self,
        bytes_max: u64,
    ) -> Option<(u32, BTreeMap<u32, WaitingFrame>, u64, u64)> {
        let (file, position) = self.next_frame()?;
        let (mut start, mut end) = (0, 0);
        let mut taken = Vec::new();
        for (&(_, position), frame) in self.frames.range((file, position)..=(file, u32::MAX)) {
            let (frame_start, frame_end) = block_range(&frame.entry);
            if taken.is_empty() {
                (start, end) = (frame_start, frame_end);
            } else if frame_start > end + GAP_BYTES_MAX || frame_end - start > bytes_max {
                break;
            }
            end = end.max(frame_end);
            taken.push(position);
        }
        let frames = taken
            .into_iter()
            .filter_map(|position| Some((position, self.frames.remove(&(file, position))?)))
            .collect();
        self.swept_to = (file, end.min(u64::from(u32::MAX)) as u32);
        Some((file, frames, start, end))
    }
}

impl Log {
    /// Asks for what a job misses.
    pub(crate) fn queue_needs(&mut self, id: u64, job: &mut Job, needs: Vec<Need>) {
        job.plans += 1;
        job.outstanding += needs.len();
        for need in needs {
            match need {
                Need::Extents(missing) => self.queue_extent_page(id, missing),
                Need::Fences(file) => self.queue_footer(id, job.alone, file, None),
                Need::Page(file, page) => self.queue_footer(id, job.alone, file, Some(page)),
                Need::Frame(file, replica, entry) if job.alone => {
                    self.queue_alone(id, file, replica, entry)
                }
                Need::Frame(file, replica, entry) => {
                    self.queue_frame(Some(id), file, replica, entry)
                }
            }
        }
    }

    /// A frame for a job, or read ahead.
    pub(crate) fn queue_frame(
        &mut self,
        id: Option<u64>,
        file: u32,
        replica: ReplicaId,
        entry: IndexEntry,
    ) {
        let reads = &mut self.reader.disk;
        if let Some(waiting) = reads.frames.get_mut(&(file, entry.position)) {
            waiting.jobs.extend(id);
            return;
        }
        if reads.join_frame(id, file, replica, &entry) {
            return;
        }
        let waiting = WaitingFrame {
            replica,
            entry,
            jobs: id.into_iter().collect(),
        };
        reads.frames.insert((file, entry.position), waiting);
        self.segments.at(file).pins += 1;
    }

    fn queue_alone(&mut self, id: u64, file: u32, replica: ReplicaId, entry: IndexEntry) {
        let waiting = WaitingFrame {
            replica,
            entry,
            jobs: vec![id],
        };
        let (start, end) = block_range(&entry);
        let what = ReadWhat::Frames {
            file,
            frames: BTreeMap::from([(entry.position, waiting)]),
            shared: false,
        };
        self.queue_read(file, start, (end - start) as usize, what);
    }

    /// A page of a footer, or its fences: with their neighbours, which are wanted soon, unless the job reads alone.
    fn queue_footer(&mut self, id: u64, alone: bool, file: u32, page: Option<u32>) {
        if !alone && self.reader.disk.join_footer(id, file, page) {
            return;
        }
        let segment = self.segments.at(file);
        let index_pages = segment.index_pages;
        let footer = u64::from(segment.footer_position);
        let fence_pages = (index_pages as usize).div_ceil(FENCES_PER_PAGE) as u32;
        // A cache that is small should not be swept by neighbours.
        let together = (self.options.index_cache_bytes / DECODED_PAGE_BYTES / 8) as u32;
        let together = together.clamp(1, PAGES_MAX);
        let (first, pages, fences) = match page {
            None if alone || index_pages > together => (index_pages, 0, true),
            None => (0, index_pages, true),
            Some(page) if alone => (page, 1, false),
            Some(page) => {
                let first = page - page % together;
                (first, together.min(index_pages - first), false)
            }
        };
        self.statistics.index_page_reads += 1;
        let blocks = pages + if fences { fence_pages } else { 0 };
        let position = footer + u64::from(first) * BLOCK_BYTES as u64;
        let what = ReadWhat::Footer {
            file,
            first,
            pages,
            fences,
            jobs: vec![(id, page)],
        };
        self.queue_read(file, position, blocks as usize * BLOCK_BYTES, what);
    }

    fn queue_extent_page(&mut self, id: u64, missing: Missing) {
        if self.reader.disk.join_extents(id, missing) {
            return;
        }
        self.statistics.extent_page_reads += 1;
        let read = DiskRead {
            nonce: self.slots.layers.base.nonce,
            position: u64::from(missing.page) * BLOCK_BYTES as u64,
            length: BLOCK_BYTES,
            what: ReadWhat::Extents {
                missing,
                jobs: vec![id],
            },
            failures: 0,
            issued_us: 0,
        };
        let read = self.reader.disk.add(read);
        self.reader.disk.queue.push_back(read);
    }

    fn queue_read(&mut self, file: u32, position: u64, length: usize, what: ReadWhat) {
        let read = self.new_read(file, position, length, what);
        self.reader.disk.queue.push_back(read);
    }

    fn new_read(&mut self, file: u32, position: u64, length: usize, what: ReadWhat) -> u64 {
        let segment = self.segments.at(file);
        segment.pins += 1;
        self.reader.disk.add(DiskRead {
            nonce: segment.nonce,
            position,
            length,
            what,
            failures: 0,
            issued_us: 0,
        })
    }

    /// Issues what waits, as far as the device should have it in hand: few and short reads while durable writes go on. With
    /// `commit_on_append: false` the caller calls this when it has started the reads that belong together.
    pub fn issue_reads(&mut self, now: Now, out: &mut Vec<Output>) {
        let writes = self.writes_go_on(now);
        let disk = &mut self.reader.disk;
        disk.due_us = None;
        if writes && now.monotonic_us < disk.rests_until_us {
            let waits = !(disk.queue.is_empty() && disk.frames.is_empty());
            disk.due_us = waits.then_some(disk.rests_until_us);
            return;
        }
        let (reads_max, bytes_max, read_bytes_max) = match writes {
            true => (
                self.options.reads_outstanding_under_write_max,
                OUTSTANDING_BYTES_UNDER_WRITE_MAX,
                READ_BYTES_UNDER_WRITE_MAX,
            ),
            false => (
                self.options.reads_outstanding_max,
                OUTSTANDING_BYTES_MAX,
                READ_BYTES_MAX,
            ),
        };
        while self.reader.disk.outstanding < reads_max.max(1)
            && self.reader.disk.outstanding_bytes < bytes_max
        {
            if let Some(read) = self.reader.disk.queue.pop_front() {
                self.issue_read(now, read, out);
                continue;
            }
            let Some((file, frames, start, end)) = self.reader.disk.next_region(read_bytes_max)
            else {
                return;
            };
            self.segments.at(file).pins -= frames.len() as u32;
            let what = ReadWhat::Frames {
                file,
                frames,
                shared: true,
            };
            let read = self.new_read(file, start, (end - start) as usize, what);
            self.issue_read(now, read, out);
        }
    }

    fn writes_go_on(&self, now: Now) -> bool {
        let since_write_us = now.monotonic_us.saturating_sub(self.last_commit_us);
        self.in_flight.is_some() || since_write_us < WRITES_EXPECTED_US
    }

    /// When reads that rest beside writes are to go on though nothing else happens, in monotonic microseconds: `step` is called then.
    #[must_use]
    pub fn reads_due_us(&self) -> Option<u64> {
        self.reader.disk.due_us
    }

    fn issue_read(&mut self, now: Now, id: u64, out: &mut Vec<Output>) {
        let Some(read) = self.reader.disk.reads.get_mut(&id) else {
            return;
        };
        read.issued_us = now.monotonic_us;
        let (name, position, length) = (read.name(), read.position, read.length);
        self.reader.disk.outstanding += 1;
        self.reader.disk.outstanding_bytes += length as u64;
        self.read_file(
            Purpose::Read(id),
            name,
            position,
            length,
            IoClass::ClientRead,
            out,
        );
    }

    pub(crate) fn disk_read_done(
        &mut self,
        now: Now,
        id: u64,
        result: IoResult,
        out: &mut Vec<Output>,
    ) {
        let Some(mut read) = self.reader.disk.reads.remove(&id) else {
            return;
        };
        self.reader.disk.outstanding -= 1;
        self.reader.disk.outstanding_bytes -= read.length as u64;
        if self.writes_go_on(now) {
            let took_us = now.monotonic_us.saturating_sub(read.issued_us);
            let rests_us = (took_us * REST_PARTS).min(REST_US_MAX);
            self.reader.disk.rests_until_us = now.monotonic_us + rests_us;
        }
        let data = expect_data(result, read.length);
        if data.is_err() && read.failures + 1 < READ_FAILURES_MAX && self.offline.is_none() {
            read.failures += 1;
            self.reader.disk.reads.insert(id, read);
            self.reader.disk.queue.push_back(id);
            return self.issue_reads(now, out);
        }
        if let Some(file) = read.segment() {
            self.segments.at(file).pins -= 1;
        }
        // What waits goes to the device before what came is looked at.
        self.issue_reads(now, out);
        let place = (read.name(), read.nonce, read.position);
        match read.what {
            ReadWhat::Extents { missing, jobs } => {
                self.take_extents(now, missing, &jobs, place, data.ok(), out);
            }
            ReadWhat::Footer {
                file,
                first,
                pages,
                fences,
                jobs,
            } => self.take_footer(
                now,
                (file, first, pages, fences),
                &jobs,
                place,
                data.ok(),
                out,
            ),
            ReadWhat::Frames { file, frames, .. } => {
                let key = (file, read.position as u32, id);
                self.take_frames(now, key, &frames, read.nonce, data.ok(), out);
            }
        }
        self.issue_reads(now, out);
    }

    fn take_extents(
        &mut self,
        now: Now,
        missing: Missing,
        jobs: &[u64],
        (file, _, position): (FileName, u64, u64),
        data: Option<Bytes>,
        out: &mut Vec<Output>,
    ) {
        let base = &self.slots.layers.base;
        let current = base.number == missing.number;
        let data = data.filter(|_| current);
        let page = data.and_then(|data| decode_page(base, missing.page, &data));
        let page: Option<Arc<IndexPage>> = page.map(Arc::new);
        if let Some(page) = &page {
            self.extent_pages
                .insert(missing.number, missing.page, Arc::clone(page));
        }
        for id in jobs {
            let Some(mut job) = self.reader.jobs.remove(id) else {
                continue;
            };
            job.outstanding -= 1;
            match &page {
                Some(page) => job.held.extent_pages.push((missing, Arc::clone(page))),
                None if current => {
                    self.extents_damaged(job, (file, position), out);
                    continue;
                }
                // Another base is in its place by now: it is looked for there.
                None => {}
            }
            self.continue_job(now, *id, job, out);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn take_footer(
        &mut self,
        now: Now,
        (file, first, pages, fences): (u32, u32, u32, bool),
        jobs: &[(u64, Option<u32>)],
        (_, nonce, position): (FileName, u64, u64),
        data: Option<Bytes>,
        out: &mut Vec<Output>,
    ) {
        let single = data.is_none() && pages + u32::from(fences) > 1;
        let mut found: BTreeMap<u32, Arc<IndexPage>> = BTreeMap::new();
        let mut fences_sound = false;
        if let Some(data) = &data {
            for page in first..first + pages {
                let at = (page - first) as usize * BLOCK_BYTES;
                let block = &data[at..at + BLOCK_BYTES];
                if let Some(entries) = decode_index_page(block, nonce, position + at as u64, page) {
                    let entries: Arc<IndexPage> = Arc::new(entries);
                    self.pages.insert(file, page, Arc::clone(&entries));
                    found.insert(page, entries);
                }
            }
            let at = pages as usize * BLOCK_BYTES;
            if fences && let Some(found) = decode_fences(&data[at..], nonce, position + at as u64) {
                self.segments.at(file).fences = Some(found.into());
                fences_sound = true;
            }
        }
        for (id, page) in jobs {
            let Some(mut job) = self.reader.jobs.remove(id) else {
                continue;
            };
            job.outstanding -= 1;
            match page {
                // Which of them cannot be read shows when each is read on its own.
                _ if single => job.alone = true,
                None if fences_sound => {}
                None => self.index_damaged(&job, file, position, out),
                Some(page) => match found.get(page) {
                    Some(entries) => job.held.pages.push(((file, *page), Arc::clone(entries))),
                    None => self.index_damaged(&job, file, position, out),
                },
            }
            self.continue_job(now, *id, job, out);
        }
    }

    fn take_frames(
        &mut self,
        now: Now,
        key: RegionKey,
        frames: &BTreeMap<u32, WaitingFrame>,
        nonce: u64,
        data: Option<Bytes>,
        out: &mut Vec<Output>,
    ) {
        let region = data.map(|bytes| Region { nonce, bytes });
        if let Some(region) = &region {
            self.regions.insert(key, region.clone());
        } else if let (1, Some(frame)) = (frames.len(), frames.values().next()) {
            self.damaged_frame(frame.replica, &frame.entry, key.0, out);
        }
        let mut jobs: BTreeMap<u64, Vec<&IndexEntry>> = BTreeMap::new();
        for frame in frames.values() {
            for id in &frame.jobs {
                jobs.entry(*id).or_default().push(&frame.entry);
            }
        }
        for (id, entries) in jobs {
            let Some(mut job) = self.reader.jobs.remove(&id) else {
                continue;
            };
            job.outstanding -= entries.len();
            match &region {
                Some(region) => hold(&mut job, key, region, &entries),
                None => job.alone |= frames.len() > 1,
            }
            self.continue_job(now, id, job, out);
        }
    }

    /// Forgets all reads that are not under way, at the end.
    pub(crate) fn drop_waiting_disk_reads(&mut self) {
        for id in std::mem::take(&mut self.reader.disk.queue) {
            let read = self.reader.disk.reads.remove(&id);
            if let Some(file) = read.and_then(|read| read.segment()) {
                self.segments.at(file).pins -= 1;
            }
        }
        for (file, _) in std::mem::take(&mut self.reader.disk.frames).into_keys() {
            self.segments.at(file).pins -= 1;
        }
    }
}

/// Keeps for a job what it needs of a region: all of it, or when that would be for little, copies.
fn hold(job: &mut Job, key: RegionKey, region: &Region, entries: &[&IndexEntry]) {
    let useful: usize = entries.iter().map(|entry| entry.frame_bytes()).sum();
    if useful * HELD_PART_MIN >= region.bytes.len() {
        job.held.regions.insert(key, region.clone());
        return;
    }
    for entry in entries {
        let from = (entry.position - key.1) as usize;
        let bytes = Bytes::copy_from_slice(&region.bytes[from..from + entry.frame_bytes()]);
        let key = (key.0, entry.position, key.2);
        let nonce = region.nonce;
        job.held.regions.insert(key, Region { nonce, bytes });
    }
}

/// The blocks a frame lies in.
fn block_range(entry: &IndexEntry) -> (u64, u64) {
    let start = u64::from(entry.position) & !(BLOCK_BYTES as u64 - 1);
    let end = (u64::from(entry.position) + entry.frame_bytes() as u64)
        .next_multiple_of(BLOCK_BYTES as u64);
    (start, end)
}
