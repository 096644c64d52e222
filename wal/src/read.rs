//! Reads: from the tail, from regions in memory, or the disk by way of index pages. A read that misses something becomes a job: it asks for
//! what it misses, and is planned again when that has come; what it fetched it holds, so that a small cache cannot starve it. A reader that
//! goes on where it left off is read ahead of. `lookup.rs` verifies every frame from disk (nonce, place, replica, offsets, CRC) before anyone
//! sees it; a bad one is marked, nothing else is. `region_reads.rs` has the disk reads.

use crate::footer::IndexEntry;
use crate::io::{FileName, Output};
use crate::log::Log;
use crate::lookup::{Held, Lookup, Need, Plan};
use crate::region_reads::RegionReads;
use crate::types::{DamagedRange, Now, Offset, ReadAnswer, ReadData, ReadRefusal, ReplicaId};
use std::collections::BTreeMap;

/// A job that was planned so often is chasing something: it is refused as empty, and the client asks again.
const PLANS_MAX: u32 = 10_000;
/// What a read is after.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    Range {
        replica: ReplicaId,
        from: i64,
        bound: i64,
        bytes_max: usize,
        at_least_one: bool,
    },
    /// What a reader asks for next: brought to memory, given to nobody.
    Ahead {
        replica: ReplicaId,
        from: i64,
        bound: i64,
        bytes_max: usize,
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
pub(crate) struct Job {
    /// None for what is read ahead.
    ticket: Option<u64>,
    wanted: Wanted,
    pub held: Held,
    pub outstanding: usize,
    /// A joined read failed: each frame and each page on its own now.
    pub alone: bool,
    pub plans: u32,
}

/// A reader of a replica that was served from disk: where it is, and what was read ahead of it.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    next: i64,
    /// Read ahead up to here,
    fetched: i64,
    /// so many payload bytes.
    ahead_bytes: usize,
    window_bytes: usize,
    /// A job looks for what to read ahead.
    looking: bool,
    seen_s: u64,
}

const CURSORS_MAX: usize = 4_096;

/// All reads that wait.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub jobs: BTreeMap<u64, Job>,
    next_job: u64,
    pub disk: RegionReads,
    cursors: BTreeMap<ReplicaId, Cursor>,
    /// Cursors that went on in this second, and in the one before it: they share what may be read ahead.
    second: u64,
    active_now: usize,
    active_before: usize,
}

impl Reader {
    pub(crate) fn waiting(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.disk.outstanding()
    }

    fn see(&mut self, second: u64, seen_s: u64) {
        if second != self.second {
            self.active_before = if second == self.second + 1 {
                self.active_now
            } else {
                0
            };
            (self.second, self.active_now) = (second, 0);
        }
        if seen_s != second {
            self.active_now += 1;
        }
    }

    /// A cursor came to its end: it leaves its share to the others.
    fn see_end(&mut self, second: u64, seen_s: u64) {
        if second == self.second && seen_s == second {
            self.active_now = self.active_now.saturating_sub(1);
        }
    }

    /// Makes room for one more cursor, of those that went no further for a second.
    fn room_for_cursor(&mut self, second: u64) -> bool {
        if self.cursors.len() >= CURSORS_MAX {
            self.cursors.retain(|_, cursor| cursor.seen_s + 1 >= second);
        }
        self.cursors.len() < CURSORS_MAX
    }

    fn active(&self) -> usize {
        self.active_now.max(self.active_before).max(1)
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
        now: Now,
        wanted: Wanted,
        ticket: u64,
        out: &mut Vec<Output>,
    ) -> ReadAnswer {
        let held = Held::default();
        let needs = match self.plan(&wanted, &held, out) {
            Plan::Done(data) => {
                self.statistics.reads_from_memory += 1;
                self.went_on(now, &wanted, &data, false, out);
                return ReadAnswer::Ready(data);
            }
            Plan::Refuse(refusal) => return answer(refusal),
            Plan::Need(needs) => needs,
            Plan::Ahead(..) | Plan::Damaged(..) => return ReadAnswer::Empty,
        };
        if self.offline.is_some() {
            return ReadAnswer::Offline;
        }
        if self.reader.jobs.len() >= self.options.reads_waiting_max {
            return ReadAnswer::Busy;
        }
        self.statistics.reads_from_disk += 1;
        self.start_job(Some(ticket), wanted, needs);
        if self.options.commit_on_append {
            self.issue_reads(now, out);
        }
        ReadAnswer::Pending
    }

    fn start_job(&mut self, ticket: Option<u64>, wanted: Wanted, needs: Vec<Need>) {
        let id = self.reader.next_job;
        self.reader.next_job += 1;
        let mut job = Job {
            ticket,
            wanted,
            held: Held::default(),
            outstanding: 0,
            alone: false,
            plans: 0,
        };
        self.queue_needs(id, &mut job, needs);
        self.reader.jobs.insert(id, job);
    }

    fn plan(&mut self, wanted: &Wanted, held: &Held, out: &mut Vec<Output>) -> Plan {
        loop {
            let mut lookup = Lookup {
                slots: &self.slots,
                segments: &self.segments,
                open: &self.open,
                damage: &self.damage,
                tail: &self.tail,
                regions: &mut self.regions,
                pages: &mut self.pages,
                extent_pages: &mut self.extent_pages,
                held,
            };
            match lookup.plan(wanted) {
                // Each time one more frame is marked, and not looked at again.
                Plan::Damaged(file, replica, entry) => {
                    self.damaged_frame(replica, &entry, file, out);
                }
                plan => return plan,
            }
        }
    }

    pub(crate) fn continue_job(&mut self, now: Now, id: u64, mut job: Job, out: &mut Vec<Output>) {
        if job.outstanding > 0 {
            self.reader.jobs.insert(id, job);
            return;
        }
        let plan = self.plan(&job.wanted, &job.held, out);
        let result = match plan {
            Plan::Need(needs) if job.plans < PLANS_MAX => {
                self.queue_needs(id, &mut job, needs);
                self.reader.jobs.insert(id, job);
                return;
            }
            Plan::Ahead(needs, end, bytes) => {
                return self.fetch_ahead(&job.wanted, needs, end, bytes);
            }
            Plan::Done(data) => {
                self.went_on(now, &job.wanted, &data, true, out);
                Ok(data)
            }
            Plan::Refuse(refusal) => Err(refusal),
            Plan::Need(_) | Plan::Damaged(..) => Err(ReadRefusal::Empty),
        };
        match job.ticket {
            Some(ticket) => finish(ticket, result, out),
            None => self.look_no_further(&job.wanted),
        }
    }

    /// A reader was given what it asked for. When it goes on where it left off, the next is brought before it asks, each time more of it.
    fn went_on(
        &mut self,
        now: Now,
        wanted: &Wanted,
        data: &ReadData,
        from_disk: bool,
        out: &mut Vec<Output>,
    ) {
        let Wanted::Range {
            replica,
            from,
            bound,
            ..
        } = *wanted
        else {
            return;
        };
        let next = data.next_offset.0;
        let known = self.reader.cursors.get(&replica).copied();
        if known.is_none() && !from_disk {
            return;
        }
        let second = now.monotonic_us / 1_000_000;
        if next >= bound {
            if let Some(cursor) = self.reader.cursors.remove(&replica) {
                self.reader.see_end(second, cursor.seen_s);
            }
            return;
        }
        if known.is_none() && !self.reader.room_for_cursor(second) {
            return;
        }
        self.reader
            .see(second, known.map_or(u64::MAX, |cursor| cursor.seen_s));
        let fresh = Cursor {
            next,
            fetched: next,
            ahead_bytes: 0,
            window_bytes: 0,
            looking: known.is_some_and(|cursor| cursor.looking),
            seen_s: second,
        };
        let cursor = match known.filter(|cursor| cursor.next == from) {
            Some(cursor) => self.window(cursor, fresh, data.bytes),
            None => fresh,
        };
        let bytes_max = cursor.window_bytes.saturating_sub(cursor.ahead_bytes);
        let due = !cursor.looking && bytes_max > 0 && bytes_max * 2 >= cursor.window_bytes;
        let looking = cursor.looking || due;
        let cursor = Cursor { looking, ..cursor };
        self.reader.cursors.insert(replica, cursor);
        if due {
            let range = (cursor.fetched, bound);
            self.look_ahead(now, replica, range, bytes_max, out);
        }
    }

    /// A cursor that goes on: what it was just given is no longer ahead of it, and it may have more ahead than before, but no more than its
    /// share.
    fn window(&self, cursor: Cursor, fresh: Cursor, given_bytes: usize) -> Cursor {
        let (least, most) = (
            self.options.read_ahead_bytes_min,
            self.options.read_ahead_bytes_max,
        );
        let share = self.regions.ahead_bytes_max() / self.reader.active();
        let ahead = cursor.fetched > fresh.next;
        Cursor {
            fetched: cursor.fetched.max(fresh.next),
            ahead_bytes: match ahead {
                true => cursor.ahead_bytes.saturating_sub(given_bytes),
                false => 0,
            },
            // At least what it takes at a time, or it waits for the rest of each.
            window_bytes: (cursor.window_bytes * 2)
                .max(least)
                .max(given_bytes)
                .min(most)
                .min(share),
            ..fresh
        }
    }

    fn look_ahead(
        &mut self,
        now: Now,
        replica: ReplicaId,
        (from, bound): (i64, i64),
        bytes_max: usize,
        out: &mut Vec<Output>,
    ) {
        let wanted = Wanted::Ahead {
            replica,
            from,
            bound,
            bytes_max,
        };
        let room = self.reader.jobs.len() < self.options.reads_waiting_max;
        match self.plan(&wanted, &Held::default(), out) {
            Plan::Ahead(needs, end, bytes) => self.fetch_ahead(&wanted, needs, end, bytes),
            Plan::Need(needs) if room && self.offline.is_none() => {
                self.start_job(None, wanted, needs);
            }
            _ => self.look_no_further(&wanted),
        }
        if self.options.commit_on_append {
            self.issue_reads(now, out);
        }
    }

    fn fetch_ahead(&mut self, wanted: &Wanted, needs: Vec<Need>, end: i64, bytes: usize) {
        let Wanted::Ahead { replica, from, .. } = *wanted else {
            return;
        };
        if let Some(cursor) = self.reader.cursors.get_mut(&replica) {
            cursor.looking = false;
            // The reader went elsewhere meanwhile.
            if cursor.fetched != from {
                return;
            }
            cursor.fetched = end;
            cursor.ahead_bytes += bytes;
        }
        if self.offline.is_some() {
            return;
        }
        for need in needs {
            if let Need::Frame(file, replica, entry) = need {
                self.queue_frame(None, file, replica, entry);
            }
        }
    }

    fn look_no_further(&mut self, wanted: &Wanted) {
        if let Wanted::Ahead { replica, .. } = *wanted
            && let Some(cursor) = self.reader.cursors.get_mut(&replica)
        {
            cursor.looking = false;
        }
    }

    pub(crate) fn damaged_frame(
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
    pub(crate) fn index_damaged(
        &mut self,
        job: &Job,
        file: u32,
        position: u64,
        out: &mut Vec<Output>,
    ) {
        let (replica, from) = match job.wanted {
            Wanted::Range { replica, from, .. } | Wanted::Ahead { replica, from, .. } => {
                (replica, from)
            }
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
    pub(crate) fn extents_damaged(
        &mut self,
        job: Job,
        (file, position): (FileName, u64),
        out: &mut Vec<Output>,
    ) {
        let (replica, from) = match job.wanted {
            Wanted::Range { replica, from, .. } | Wanted::Ahead { replica, from, .. } => {
                (replica, from)
            }
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
            file,
            position,
        });
        match job.ticket {
            Some(ticket) => finish(ticket, Err(ReadRefusal::Damaged { first, last }), out),
            None => self.look_no_further(&job.wanted),
        }
    }

    pub(crate) fn refuse_waiting_reads(&mut self, out: &mut Vec<Output>) {
        self.drop_waiting_disk_reads();
        for job in std::mem::take(&mut self.reader.jobs).into_values() {
            match job.ticket {
                Some(ticket) => finish(ticket, Err(ReadRefusal::Offline), out),
                None => self.look_no_further(&job.wanted),
            }
        }
    }
}

fn finish(ticket: u64, result: Result<ReadData, ReadRefusal>, out: &mut Vec<Output>) {
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
