//! Rewriting: live frames of old segments go into new ones, sorted by replica and offset, and parted by when they expire. One mechanism
//! cleans what is mostly dead, clusters what lies interleaved (`rewrite_choice.rs`) and carries out plans (`plan.rs`), extent by extent
//! (`rewrite_source.rs`), through a window of frames. A new segment and its footer are durable before the edit that names it enters the log
//! (`edit.rs`); the old ones are free when a later checkpoint holds (`checkpoint.rs`). A crash before the edit leaves a segment that nobody
//! names: it is free. `rewrite_target.rs` fills the new segments.

use crate::fetch::Fetcher;
use crate::footer::{IndexEntry, decode_fences, decode_index_page};
use crate::io::{BLOCK_BYTES, FileName, IoClass, IoFailure, IoFailureKind, IoResult, Output};
use crate::log::{Log, Purpose, expect_data};
use crate::lookup::sound_payload;
use crate::plan::{PlanId, Planning, RewritePlan};
use crate::retention::ExpiryClass;
use crate::rewrite_choice::Pace;
use crate::rewrite_source::{Next, Unit, Walk};
use crate::rewrite_target::Target;
use crate::types::{DamagedRange, Now, Offset, ReplicaId};
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// Frames that a window takes, in number and bytes.
const WINDOW_FRAMES_MAX: usize = 4_096;
const WINDOW_BYTES_MAX: usize = 8 << 20;
/// One read, unless a frame is longer.
const READ_BYTES_MAX: u64 = 256 << 10;
/// Neighbouring frames with a smaller hole between them come in one read.
const GAP_BYTES_MAX: u64 = 16 << 10;
/// Reads at a time.
const READS_MAX: usize = 4;
/// Between two looks for something to rewrite.
const LOOK_EVERY_US: u64 = 1_000_000;
/// And while space is low.
const LOOK_OFTEN_US: u64 = 20_000;
/// After a failed request, or when a segment could not be emptied.
const HOLD_US: u64 = 60_000_000;

/// A page of the base of older extents that cannot be read.
const PAGE_LOST: IoFailure = IoFailure {
    kind: IoFailureKind::Device,
    os_code: 0,
};

/// A frame on its way.
#[derive(Debug)]
pub(crate) struct WindowFrame {
    pub replica: ReplicaId,
    pub file: u32,
    pub entry: IndexEntry,
    pub part: usize,
    /// Its extent's place in the target's list.
    pub moved: usize,
    /// Header and payload, once read and found sound.
    pub bytes: Option<Bytes>,
}

/// Where a job stands.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Extents are gathered into the window.
    Gathering,
    /// Index pages, from the first of these, or (none) the fence keys of a segment are read.
    Indexing { file: u32, first: Option<u32> },
    /// A segment for this part is awaited, or its header is being written.
    Opening { part: usize, asked: bool },
    /// The window's frames are read.
    Reading,
    /// Frames from `next` to `end` of the window go to the targets.
    Placing { next: usize, end: usize },
    /// A plan's caller decides on the frames from `next` to `end`.
    Deciding { next: usize, end: usize },
    /// A target's last frames, footer and sync; then its extents are moved.
    Closing { part: usize, step: Close },
}

/// Steps of closing a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    Rest,
    Footer,
    Sync,
    Edit { next: usize },
}

/// One request of a job.
#[derive(Debug)]
pub(crate) struct RewriteIo {
    pub job: u64,
    pub what: RewriteWhat,
}

#[derive(Debug)]
pub(crate) enum RewriteWhat {
    /// Index pages or fence keys at this position.
    Index { position: u64, length: usize },
    /// These of the window's frames.
    Frames {
        frames: Vec<usize>,
        position: u64,
        length: usize,
    },
    /// A write or sync of a target.
    Output,
}

/// A rewrite under way.
#[derive(Debug)]
pub(crate) struct Job {
    pub id: u64,
    pub walk: Walk,
    pub planning: Option<Planning>,
    pub parts: usize,
    pub clustering: bool,
    /// Only readers gain from it: it makes way for a load.
    pub idle_only: bool,
    pub wall_ms: i64,
    /// The extent whose frames go into the window next.
    unit: Option<Unit>,
    /// And its part and place in the target's list, once it has one.
    placed: Option<(usize, usize)>,
    pub window: Vec<WindowFrame>,
    window_bytes: usize,
    window_bytes_max: usize,
    /// Groups of the window's frames to be read, each in one read.
    reads: VecDeque<Vec<usize>>,
    pub targets: [Option<Target>; ExpiryClass::COUNT],
    pinned: BTreeSet<u32>,
    pub outstanding: usize,
    pub failed: Option<IoFailure>,
    /// The walk is at its end.
    pub ended: bool,
    pub moved_any: bool,
    /// What it writes now is charged to the budget.
    pub charged: bool,
    pub stage: Stage,
}

/// At most one rewrite at a time.
#[derive(Debug, Default)]
pub(crate) struct Rewriter {
    pub job: Option<Job>,
    pub next_job: u64,
    /// A plan that waits for its turn.
    pub waiting_plan: Option<(PlanId, RewritePlan)>,
    pub next_plan: u64,
    look_at_us: u64,
    pub pace: Pace,
    /// The segment that edits are being logged for: it is not free, though perhaps empty yet.
    pub editing: Option<u32>,
    /// A job waits for a free segment.
    pub wants_segment: bool,
}

/// What a step of a job came to.
pub(crate) enum Step {
    Again,
    Wait,
    Done,
    Failed(Option<IoFailure>),
}

impl Job {
    pub(crate) fn new(id: u64, walk: Walk, parts: usize, wall_ms: i64) -> Self {
        Self {
            id,
            pinned: walk.files(),
            walk,
            planning: None,
            parts,
            clustering: false,
            idle_only: false,
            wall_ms,
            unit: None,
            placed: None,
            window: Vec::new(),
            window_bytes: 0,
            window_bytes_max: WINDOW_BYTES_MAX,
            reads: VecDeque::new(),
            targets: Default::default(),
            outstanding: 0,
            failed: None,
            ended: false,
            moved_any: false,
            charged: false,
            stage: Stage::Gathering,
        }
    }

    fn window_is_full(&self) -> bool {
        self.window.len() >= WINDOW_FRAMES_MAX || self.window_bytes >= self.window_bytes_max
    }

    /// The unit's frames go into the window, as many as fit.
    fn take_unit(&mut self) {
        let (Some(unit), Some((part, moved))) = (&mut self.unit, self.placed) else {
            return;
        };
        while let Some(entry) = unit.entries.pop_front() {
            self.window_bytes += entry.frame_bytes();
            self.window.push(WindowFrame {
                replica: unit.replica,
                file: unit.extent.segment,
                entry,
                part,
                moved,
                bytes: None,
            });
            if self.window.len() >= WINDOW_FRAMES_MAX || self.window_bytes >= self.window_bytes_max
            {
                break;
            }
        }
        if unit.entries.is_empty() {
            (self.unit, self.placed) = (None, None);
        }
    }

    /// Frames of the window that lie behind one another come in one read.
    fn group_reads(&mut self) {
        let window = &self.window;
        let mut order: Vec<usize> = (0..window.len()).collect();
        order.sort_unstable_by_key(|at| (window[*at].file, window[*at].entry.position));
        let mut group: Vec<usize> = Vec::new();
        let (mut start, mut end) = (0, 0);
        for at in order {
            let frame = &window[at];
            let (from, to) = frame.blocks();
            let joins = group.first().is_some_and(|first| {
                window[*first].file == frame.file
                    && from <= end + GAP_BYTES_MAX
                    && to.max(end) - start <= READ_BYTES_MAX
            });
            if !joins && !group.is_empty() {
                self.reads.push_back(std::mem::take(&mut group));
            }
            if group.is_empty() {
                (start, end) = (from, to);
            }
            end = end.max(to);
            group.push(at);
        }
        if !group.is_empty() {
            self.reads.push_back(group);
        }
    }
}

impl WindowFrame {
    /// The blocks it lies in.
    fn blocks(&self) -> (u64, u64) {
        let start = u64::from(self.entry.position);
        let end = start + self.entry.frame_bytes() as u64;
        (
            start & !(BLOCK_BYTES as u64 - 1),
            end.next_multiple_of(BLOCK_BYTES as u64),
        )
    }
}

impl Log {
    /// Looks for something to rewrite now and then, and goes on with what waits for time or space.
    pub(crate) fn proceed_rewrite(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.rewriter.job.is_some() {
            self.drive_rewrite(now, out);
            return;
        }
        if self.shutting_down || self.start_waiting_plan(now, out) {
            return;
        }
        if now.monotonic_us < self.rewriter.look_at_us {
            return;
        }
        let every_us = match self.space_is_low() {
            true => LOOK_OFTEN_US,
            false => LOOK_EVERY_US,
        };
        self.rewriter.look_at_us = now.monotonic_us + every_us;
        let Some(choice) = self.choose_rewrite(now) else {
            return;
        };
        let walk = Walk::Segments(self.merge_of(&choice.sources));
        let mut job = Job::new(self.rewriter.next_job, walk, choice.parts, now.wall_ms);
        (job.clustering, job.idle_only) = (choice.clustering, choice.idle_only);
        self.begin_job(now, job, out);
    }

    pub(crate) fn begin_job(&mut self, now: Now, mut job: Job, out: &mut Vec<Output>) {
        self.rewriter.next_job += 1;
        job.window_bytes_max = WINDOW_BYTES_MAX.min(self.segment_bytes as usize / 2);
        for &file in &job.pinned {
            self.segments.at(file).pins += 1;
        }
        self.rewriter.job = Some(job);
        self.drive_rewrite(now, out);
    }

    /// As far as the job gets without waiting: about one window.
    pub(crate) fn drive_rewrite(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(mut job) = self.rewriter.job.take() else {
            return;
        };
        if job.outstanding > 0 {
            if job.failed.is_none() && matches!(job.stage, Stage::Reading) {
                self.issue_frame_reads(&mut job, out);
            }
            self.rewriter.job = Some(job);
            return;
        }
        let mut stopped = (self.shutting_down || self.offline.is_some()).then_some(None);
        stopped = stopped.or(job.failed.take().map(Some));
        let ended = loop {
            if let Some(failure) = stopped {
                break Step::Failed(failure);
            }
            match self.step_rewrite(&mut job, now, out) {
                Step::Again => {}
                Step::Wait => {
                    self.rewriter.job = Some(job);
                    return;
                }
                end => break end,
            }
        };
        self.end_job(now, job, ended, out);
    }

    fn step_rewrite(&mut self, job: &mut Job, now: Now, out: &mut Vec<Output>) -> Step {
        match job.stage {
            Stage::Gathering => self.gather_extents(job, now, out),
            Stage::Opening { part, asked } => self.open_target(job, part, asked, out),
            Stage::Indexing { .. } => Step::Wait,
            Stage::Reading => {
                if job.reads.is_empty() {
                    job.stage = self.decide_or_place(job, 0, out);
                    Step::Again
                } else {
                    self.issue_frame_reads(job, out);
                    Step::Wait
                }
            }
            Stage::Deciding { .. } => Step::Wait,
            Stage::Placing { next, end } => self.place_frames(job, next, end, out),
            Stage::Closing { part, step } => self.close_target(job, part, step, now, out),
        }
    }

    /// Fills the window; then its frames are read, once the budget allows.
    fn gather_extents(&mut self, job: &mut Job, now: Now, out: &mut Vec<Output>) -> Step {
        job.take_unit();
        let closing = job.closing();
        if job.window_is_full() || (!job.window.is_empty() && (job.ended || closing.is_some())) {
            if job.idle_only && self.makes_way(now) {
                return Step::Wait;
            }
            let Some(charged) = self.may_rewrite(now) else {
                return Step::Wait;
            };
            job.charged = charged;
            job.group_reads();
            job.stage = Stage::Reading;
            return Step::Again;
        }
        if let Some(part) = closing {
            let step = Close::Rest;
            job.stage = Stage::Closing { part, step };
            return Step::Again;
        }
        if job.ended {
            return Step::Done;
        }
        if job.unit.is_some() {
            self.assign_unit(job);
            return Step::Again;
        }
        let at_hand = self.fetches.at_hand_mut(Fetcher::Rewrite);
        if std::mem::take(&mut at_hand.failed) {
            return Step::Failed(Some(PAGE_LOST));
        }
        if at_hand.waits {
            return Step::Wait;
        }
        match self.next_unit(&mut job.walk) {
            Next::Extents(missing) => {
                self.fetch_page(Fetcher::Rewrite, missing, out);
                Step::Wait
            }
            Next::Unit(unit) => {
                if job.pinned.insert(unit.extent.segment) {
                    self.segments.at(unit.extent.segment).pins += 1;
                }
                job.unit = (!unit.entries.is_empty()).then_some(unit);
                Step::Again
            }
            Next::Pages { file, first, count } => {
                let position = u64::from(self.segments.at(file).footer_position)
                    + u64::from(first) * BLOCK_BYTES as u64;
                let length = count as usize * BLOCK_BYTES;
                self.read_index(job, file, Some(first), position, length, out)
            }
            Next::Fences { file } => {
                let segment = self.segments.at(file);
                let position = u64::from(segment.footer_position)
                    + u64::from(segment.index_pages) * BLOCK_BYTES as u64;
                let pages = (segment.index_pages as usize).div_ceil(crate::footer::FENCES_PER_PAGE);
                self.read_index(job, file, None, position, pages * BLOCK_BYTES, out)
            }
            Next::End => {
                job.ended = true;
                Step::Again
            }
        }
    }

    /// The extent gets its place in a target: that of its part, when there is room, else a fresh one.
    fn assign_unit(&mut self, job: &mut Job) {
        let Some(unit) = &job.unit else {
            return;
        };
        let timestamp = unit.extent.max_timestamp;
        let part = self.part_of(unit.replica, timestamp, job.wall_ms, job.parts);
        match &mut job.targets[part] {
            None => job.stage = Stage::Opening { part, asked: false },
            Some(target) if target.takes(unit, self.segment_bytes) => {
                let moved = target.expect(unit, job.planning.is_some());
                job.placed = Some((part, moved));
            }
            Some(target) => target.full = true,
        }
    }

    fn read_index(
        &mut self,
        job: &mut Job,
        file: u32,
        first: Option<u32>,
        position: u64,
        length: usize,
        out: &mut Vec<Output>,
    ) -> Step {
        job.stage = Stage::Indexing { file, first };
        job.outstanding += 1;
        let what = RewriteWhat::Index { position, length };
        self.read_for_job(job.id, what, file, position, length, out);
        Step::Wait
    }

    fn read_for_job(
        &mut self,
        job: u64,
        what: RewriteWhat,
        file: u32,
        position: u64,
        length: usize,
        out: &mut Vec<Output>,
    ) {
        self.read_file(
            Purpose::Rewrite(RewriteIo { job, what }),
            FileName::Segment(file),
            position,
            length,
            IoClass::Background,
            out,
        );
    }

    fn issue_frame_reads(&mut self, job: &mut Job, out: &mut Vec<Output>) {
        while job.outstanding < READS_MAX {
            let Some(frames) = job.reads.pop_front() else {
                return;
            };
            let file = job.window[frames[0]].file;
            let position = job.window[frames[0]].blocks().0;
            let ends = frames.iter().map(|at| job.window[*at].blocks().1);
            let length = (ends.max().unwrap_or(position) - position) as usize;
            job.outstanding += 1;
            let what = RewriteWhat::Frames {
                frames,
                position,
                length,
            };
            self.read_for_job(job.id, what, file, position, length, out);
        }
    }

    pub(crate) fn rewrite_io_done(
        &mut self,
        now: Now,
        io: RewriteIo,
        result: IoResult,
        out: &mut Vec<Output>,
    ) {
        let Some(mut job) = self.rewriter.job.take_if(|job| job.id == io.job) else {
            return;
        };
        job.outstanding -= 1;
        let done = match io.what {
            RewriteWhat::Index { position, length } => expect_data(result, length)
                .and_then(|data| self.take_index(&mut job, position, &data)),
            RewriteWhat::Frames {
                frames,
                position,
                length,
            } => match expect_data(result, length) {
                Ok(data) => {
                    self.take_window_frames(&mut job, &frames, position, &data, out);
                    Ok(())
                }
                // One of them is bad: each on its own, so that the others' segment is not blamed.
                Err(_) if frames.len() > 1 => {
                    job.reads.extend(frames.into_iter().map(|at| vec![at]));
                    Ok(())
                }
                Err(failure) => {
                    self.hold(job.window[frames[0]].file, now);
                    Err(failure)
                }
            },
            RewriteWhat::Output => crate::log::expect_done(result),
        };
        if let Err(failure) = done {
            if let Stage::Indexing { file, .. } = job.stage {
                self.hold(file, now);
            }
            job.failed = Some(failure);
        }
        self.rewriter.job = Some(job);
        self.drive_rewrite(now, out);
    }

    /// This segment is left alone for a while.
    pub(crate) fn hold(&mut self, file: u32, now: Now) {
        self.segments.at(file).hold_until_us = now.monotonic_us + HOLD_US;
    }

    fn take_index(&mut self, job: &mut Job, position: u64, data: &Bytes) -> Result<(), IoFailure> {
        let Stage::Indexing { file, first } = job.stage else {
            return Ok(());
        };
        let damaged = IoFailure {
            kind: IoFailureKind::Device,
            os_code: 0,
        };
        let nonce = self.segments.at(file).nonce;
        match first {
            None => {
                let fences = decode_fences(data, nonce, position).ok_or(damaged)?;
                self.segments.at(file).fences = Some(fences.into());
            }
            Some(first) => {
                let mut pages = Vec::new();
                for (number, page) in data.chunks(BLOCK_BYTES).enumerate() {
                    let at = position + (number * BLOCK_BYTES) as u64;
                    let page = decode_index_page(page, nonce, at, first + number as u32);
                    pages.push(page.ok_or(damaged)?);
                }
                job.walk.take_pages(file, first, pages);
            }
        }
        job.stage = Stage::Gathering;
        Ok(())
    }

    fn take_window_frames(
        &mut self,
        job: &mut Job,
        frames: &[usize],
        position: u64,
        data: &Bytes,
        out: &mut Vec<Output>,
    ) {
        let useful: usize = frames
            .iter()
            .map(|at| job.window[*at].entry.frame_bytes())
            .sum();
        let share = useful * 2 >= data.len();
        for &at in frames {
            let frame = &mut job.window[at];
            let (file, entry) = (frame.file, frame.entry);
            let nonce = self.segments.at(file).nonce;
            let start = (u64::from(entry.position) - position) as usize;
            let bytes = start..start + entry.frame_bytes();
            if sound_payload(nonce, frame.replica, &entry, &data[bytes.clone()]).is_none() {
                let range = DamagedRange {
                    first: Offset(entry.base),
                    last: Offset(entry.last),
                };
                let (replica, place) = (frame.replica, u64::from(entry.position));
                self.mark_damaged(replica, range, file, place, out);
                continue;
            }
            frame.bytes = Some(if share {
                data.slice(bytes)
            } else {
                Bytes::copy_from_slice(&data[bytes])
            });
        }
    }

    /// The window is done with: on to the next extents.
    pub(crate) fn window_placed(&mut self, job: &mut Job) {
        job.window.clear();
        job.window_bytes = 0;
        job.stage = Stage::Gathering;
    }

    /// The job is over: what its edits moved has moved, segments that nobody names are free again.
    fn end_job(&mut self, now: Now, job: Job, end: Step, out: &mut Vec<Output>) {
        self.rewriter.wants_segment = false;
        self.rewriter.editing = None;
        for target in job.targets.iter().flatten().filter(|target| !target.named) {
            self.segments
                .set_state(target.file, crate::segments::SegmentState::Free);
        }
        let whole = matches!(end, Step::Done);
        for file in &job.pinned {
            let segment = self.segments.at(*file);
            segment.pins -= 1;
            // What is left there has no frames to be found: it would be chosen again and again.
            if whole && job.planning.is_none() && segment.extents() > 0 {
                self.hold(*file, now);
            }
        }
        if job.moved_any && whole {
            self.rewriter.look_at_us = now.monotonic_us;
            self.statistics.segments_clustered +=
                u64::from(job.clustering) * job.walk.files().len() as u64;
        }
        if let Step::Failed(Some(failure)) = end {
            let next = now.monotonic_us + LOOK_EVERY_US;
            self.rewriter.look_at_us = self.rewriter.look_at_us.max(next);
            out.push(Output::Message(format!("a rewrite stopped ({failure})")));
        }
        if let Some(planning) = job.planning {
            self.end_plan(planning, whole, out);
        }
    }
}
