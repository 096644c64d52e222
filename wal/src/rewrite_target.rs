//! New segments of a rewrite: opened when an extent needs one, filled frame by frame in steps of 256 KiB, closed with a footer and a sync
//! when the next extent does not fit, then named by edits, a bounded number of extents at a time. `rewrite.rs` has the job around it.

use crate::buffer::AlignedBuffer;
use crate::checksum::plain;
use crate::control::MovedExtent;
use crate::footer::{FooterWriter, IndexEntry, footer_bytes_max};
use crate::io::{BLOCK_BYTES, FileName, IoClass, IoFailure, Output};
use crate::layout::{FRAME_HEADER_BYTES, FrameHeader, SegmentKind, frame_bytes, seal_frame};
use crate::log::{Log, Purpose};
use crate::plan::FrameVerdict;
use crate::rewrite::{Close, Job, RewriteIo, RewriteWhat, Stage, Step, WindowFrame};
use crate::rewrite_source::Unit;
use crate::segments::SegmentState;
use crate::types::Now;

/// Output of one step.
pub(crate) const STEP_BYTES: usize = 256 << 10;

/// A segment that is being filled.
#[derive(Debug)]
pub(crate) struct Target {
    pub file: u32,
    nonce: u64,
    /// Where its frames end once all extents that were given a place here are written.
    planned_end: usize,
    planned_entries: usize,
    /// What is not written yet begins at `written` of the file.
    written: u64,
    output: Vec<u8>,
    footer: FooterWriter,
    entries: usize,
    moved: Vec<MovedExtent>,
    /// The next extent does not fit.
    pub full: bool,
    /// An edit names it.
    pub named: bool,
}

impl Target {
    fn new(file: u32, nonce: u64) -> Self {
        Self {
            file,
            nonce,
            planned_end: BLOCK_BYTES,
            planned_entries: 0,
            written: BLOCK_BYTES as u64,
            output: Vec::new(),
            footer: FooterWriter::new(nonce),
            entries: 0,
            moved: Vec::new(),
            full: false,
            named: false,
        }
    }

    /// Whether the extent fits beside what is here. One extent of an old segment always fits an empty new one.
    pub(crate) fn takes(&self, unit: &Unit, segment_bytes: u64) -> bool {
        let data = (self.planned_end + unit.bytes).next_multiple_of(BLOCK_BYTES);
        let footer = footer_bytes_max(self.planned_entries + unit.entries.len());
        self.planned_entries == 0 || (data + footer) as u64 <= segment_bytes
    }

    /// Keeps room for the extent; its place in the list of what is moved here.
    pub(crate) fn expect(&mut self, unit: &Unit, planned: bool) -> usize {
        self.planned_end += unit.bytes;
        self.planned_entries += unit.entries.len();
        self.moved.push(MovedExtent {
            replica: unit.replica,
            old: unit.extent.segment,
            base: unit.extent.base,
            end: unit.extent.end,
            bytes: planned.then_some(0),
            held: unit.extent.bytes,
        });
        self.moved.len() - 1
    }

    /// A frame goes to the end of the output, sealed for its new place. Answers its bytes there.
    fn place(&mut self, frame: &WindowFrame, entry: IndexEntry, header: &[u8], payload: &[u8]) {
        let at = self.output.len();
        let position = self.written + at as u64;
        let room = frame_bytes(payload.len());
        self.output.extend_from_slice(header);
        self.output.extend_from_slice(payload);
        self.output.resize(at + room, 0);
        seal_frame(self.nonce, position, &mut self.output[at..]);
        let entry = IndexEntry {
            position: position as u32,
            payload_bytes: payload.len() as u32,
            ..entry
        };
        self.footer.push(frame.replica, &entry);
        self.entries += 1;
        if let Some(bytes) = &mut self.moved[frame.moved].bytes {
            *bytes += room as u32;
        }
    }
}

impl Job {
    /// A part whose target is to be closed now: it is full, or all is done.
    pub(crate) fn closing(&self) -> Option<usize> {
        let ended = self.ended;
        self.targets
            .iter()
            .position(|target| target.as_ref().is_some_and(|target| target.full || ended))
    }
}

impl Log {
    /// A free segment gets a new life as this part's target.
    pub(crate) fn open_target(
        &mut self,
        job: &mut Job,
        part: usize,
        asked: bool,
        out: &mut Vec<Output>,
    ) -> Step {
        if asked {
            return Step::Wait;
        }
        let Some(file) = self.free_for_rewriting() else {
            if self.segments_for_rewriting() == 0 {
                return Step::Failed(None);
            }
            // One more spare is made for it.
            self.rewriter.wants_segment = true;
            return Step::Wait;
        };
        self.rewriter.wants_segment = false;
        self.write_segment_header(file, SegmentKind::Rewritten, out);
        job.stage = Stage::Opening { part, asked: true };
        Step::Wait
    }

    pub(crate) fn rewrite_segment_ready(
        &mut self,
        now: Now,
        file: u32,
        failure: Option<IoFailure>,
        out: &mut Vec<Output>,
    ) {
        self.segments.set_state(file, SegmentState::Rewriting);
        let nonce = self.segments.at(file).nonce;
        let waiting = self.rewriter.job.as_mut().and_then(|job| match job.stage {
            Stage::Opening { part, asked: true } => Some((job, part)),
            _ => None,
        });
        let Some((job, part)) = waiting else {
            self.segments.set_state(file, SegmentState::Free);
            return;
        };
        job.stage = Stage::Gathering;
        job.targets[part] = Some(Target::new(file, nonce));
        job.failed = failure;
        self.drive_rewrite(now, out);
    }

    /// Frames from `next` to `end` of the window go to their targets, until one has enough for a write.
    pub(crate) fn place_frames(
        &mut self,
        job: &mut Job,
        mut next: usize,
        end: usize,
        out: &mut Vec<Output>,
    ) -> Step {
        while next < end {
            let frame = &job.window[next];
            let verdict = job
                .planning
                .as_mut()
                .map_or(FrameVerdict::Keep, |planning| planning.verdict(next));
            let part = frame.part;
            let target = job.targets[part]
                .as_mut()
                .expect("a frame's target is open until its window is placed");
            if let Some(bytes) = &frame.bytes {
                let (header, payload) = bytes.split_at(FRAME_HEADER_BYTES);
                match verdict {
                    FrameVerdict::Keep => target.place(frame, frame.entry, header, payload),
                    FrameVerdict::Drop => {}
                    FrameVerdict::Replace {
                        payload,
                        max_timestamp,
                    } => replace_frame(target, frame, header, &payload, max_timestamp),
                }
            }
            next += 1;
            let whole = target.output.len() / BLOCK_BYTES * BLOCK_BYTES;
            if whole >= STEP_BYTES {
                job.stage = Stage::Placing { next, end };
                return self.write_output(job, part, whole, out);
            }
        }
        if end < job.window.len() {
            job.stage = self.decide_or_place(job, end, out);
        } else {
            self.window_placed(job);
        }
        Step::Again
    }

    fn write_output(
        &mut self,
        job: &mut Job,
        part: usize,
        bytes: usize,
        out: &mut Vec<Output>,
    ) -> Step {
        let Some(target) = &mut job.targets[part] else {
            return Step::Again;
        };
        let mut buffer = AlignedBuffer::new(bytes);
        buffer.copy_from_slice(&target.output[..bytes]);
        target.output.drain(..bytes);
        let (file, position) = (target.file, target.written);
        target.written += bytes as u64;
        self.note_rewritten(bytes as u64, job.charged);
        self.output_io(job, file, position, buffer, out)
    }

    fn output_io(
        &mut self,
        job: &mut Job,
        file: u32,
        position: u64,
        buffer: AlignedBuffer,
        out: &mut Vec<Output>,
    ) -> Step {
        job.outstanding += 1;
        let what = RewriteWhat::Output;
        self.write(
            Purpose::Rewrite(RewriteIo { job: job.id, what }),
            FileName::Segment(file),
            position,
            buffer.freeze(),
            false,
            IoClass::Background,
            out,
        );
        Step::Wait
    }

    /// The rest of the frames, the footer, a sync; then the extents are moved, step by step.
    pub(crate) fn close_target(
        &mut self,
        job: &mut Job,
        part: usize,
        step: Close,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Step {
        let Some(target) = &mut job.targets[part] else {
            job.stage = Stage::Gathering;
            return Step::Again;
        };
        match step {
            Close::Rest => {
                let step = Close::Footer;
                job.stage = Stage::Closing { part, step };
                if target.output.is_empty() {
                    return Step::Again;
                }
                let bytes = target.output.len().next_multiple_of(BLOCK_BYTES);
                target.output.resize(bytes, 0);
                self.write_output(job, part, bytes, out)
            }
            Close::Footer => {
                let step = Close::Sync;
                job.stage = Stage::Closing { part, step };
                self.write_target_footer(job, part, out)
            }
            Close::Sync => {
                let step = Close::Edit { next: 0 };
                let file = FileName::Segment(target.file);
                job.stage = Stage::Closing { part, step };
                job.outstanding += 1;
                let what = RewriteWhat::Output;
                self.sync_file(Purpose::Rewrite(RewriteIo { job: job.id, what }), file, out);
                Step::Wait
            }
            Close::Edit { next } => self.edit_target(job, part, next, now, out),
        }
    }

    fn write_target_footer(&mut self, job: &mut Job, part: usize, out: &mut Vec<Output>) -> Step {
        let Some(target) = &mut job.targets[part] else {
            return Step::Again;
        };
        let (file, position) = (target.file, target.written);
        let writer = std::mem::replace(&mut target.footer, FooterWriter::new(target.nonce));
        let (pages, index_pages, fences) = writer.finish(position);
        assert!(
            position + pages.len() as u64 <= self.segment_bytes,
            "a rewritten segment has room for its footer"
        );
        let segment = self.segments.at(file);
        segment.data_end = position as u32;
        segment.footer_position = position as u32;
        segment.index_pages = index_pages;
        segment.fences = Some(fences.into());
        if target.entries == 0 {
            return Step::Again;
        }
        let mut buffer = AlignedBuffer::new(pages.len());
        buffer.copy_from_slice(&pages);
        self.output_io(job, file, position, buffer, out)
    }

    /// The new segment is durable: from here on it is where these extents lie. Some of them at a time: the rest wait for the next event.
    fn edit_target(
        &mut self,
        job: &mut Job,
        part: usize,
        next: usize,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Step {
        let per_step = self.moved_per_record();
        let Some(target) = &mut job.targets[part] else {
            return Step::Again;
        };
        let end = target.moved.len().min(next + per_step);
        let moved: Vec<MovedExtent> = target.moved[next..end].to_vec();
        target.named = true;
        job.moved_any = true;
        self.rewriter.editing = Some(target.file);
        let lsn = self.log_edit(now, target.file, &moved, out);
        if let Some(planning) = &mut job.planning {
            planning.lsn = lsn;
        }
        if end < target.moved.len() {
            let step = Close::Edit { next: end };
            job.stage = Stage::Closing { part, step };
            return Step::Wait;
        }
        self.rewriter.editing = None;
        // One that could not be filled waits for others before it is taken up again.
        self.hold(target.file, now);
        job.targets[part] = None;
        job.stage = Stage::Gathering;
        Step::Again
    }
}

/// A new payload under the frame's identity. (A larger one than the old was turned down before: there might be no room.)
fn replace_frame(
    target: &mut Target,
    frame: &WindowFrame,
    header: &[u8],
    payload: &[u8],
    max_timestamp: i64,
) {
    let Some(meta) = FrameHeader::identity(header) else {
        return;
    };
    let mut replaced = [0; FRAME_HEADER_BYTES];
    FrameHeader {
        meta: crate::types::FrameMeta {
            max_timestamp,
            ..meta
        },
        payload_bytes: payload.len() as u32,
        payload_crc: plain(payload),
    }
    .encode(&mut replaced);
    let entry = IndexEntry {
        max_timestamp,
        ..frame.entry
    };
    target.place(frame, entry, &replaced, payload);
}
