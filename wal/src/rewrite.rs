//! Rewriting: segments that are mostly dead give their live frames to a new one, sorted by replica and offset, in steps of at most 256 KiB.
//! The new segment and its footer are durable before the edit that names it enters the log; the old ones are free when a later checkpoint
//! holds (`checkpoint.rs`). An edit moves an extent only if it still lies where it was read from, so truncations, deletions and a moved
//! log start meanwhile are simply respected. A crash before the edit leaves a segment that nobody names: it is free.

use crate::buffer::AlignedBuffer;
use crate::control::{Control, MovedExtent};
use crate::footer::{FooterWriter, IndexEntry, decode_index_page, footer_bytes_max};
use crate::io::{BLOCK_BYTES, FileName, IoClass, IoFailure, IoResult, Output};
use crate::layout::{FRAME_HEADER_BYTES, SegmentKind, frame_bytes, seal_frame};
use crate::log::{Log, Purpose, expect_data, expect_done};
use crate::read::sound_payload;
use crate::segments::{Segment, SegmentRecord, SegmentState};
use crate::types::{DamagedRange, Now, Offset, ReplicaId};
use std::collections::BTreeSet;

/// Output of one step.
const STEP_BYTES: usize = 256 << 10;
/// Segments joined into one at most.
const SOURCES_MAX: usize = 16;
/// Between two looks for something to rewrite.
const LOOK_EVERY_US: u64 = 1_000_000;
/// After a failed request.
const RETRY_US: u64 = 60_000_000;
/// Moved extents per control record.
const MOVED_PER_RECORD_MAX: usize = 1_024;

/// A frame to be moved.
#[derive(Clone, Copy, Debug)]
struct Source {
    replica: ReplicaId,
    file: u32,
    entry: IndexEntry,
}

#[derive(Debug)]
enum Stage {
    /// The new segment's header is being written.
    Preparing,
    /// Indexes of the old segments are read, this one now.
    Indexing { source: usize },
    /// Frames of a step are read, one stretch at a time, this one now.
    Reading {
        frame: usize,
        position: u64,
        length: usize,
    },
    /// A step is being written.
    Writing,
    /// The footer is being written.
    Footer,
    /// All of it is being made durable.
    Syncing,
}

#[derive(Debug)]
struct Plan {
    target: u32,
    sources: Vec<u32>,
    frames: Vec<Source>,
    /// Frames before this one are in the output.
    next: usize,
    /// Output that is not written yet; begins at `written` of the target.
    output: Vec<u8>,
    written: u64,
    entries: Vec<(ReplicaId, IndexEntry)>,
    stage: Stage,
}

/// At most one rewrite at a time.
#[derive(Debug, Default)]
pub(crate) struct Rewriter {
    plan: Option<Plan>,
    look_at_us: u64,
}

impl Log {
    /// Looks for something to rewrite now and then; everything else follows from finished requests.
    pub(crate) fn proceed_rewrite(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.rewriter.plan.is_some()
            || self.shutting_down
            || now.monotonic_us < self.rewriter.look_at_us
        {
            return;
        }
        self.rewriter.look_at_us = now.monotonic_us + LOOK_EVERY_US;
        let sources = self.choose_sources();
        if sources.len() < 2 {
            return;
        }
        let Some(target) = self.segments.first_free() else {
            return;
        };
        for &file in &sources {
            self.segments.at(file).pins += 1;
        }
        self.write_segment_header(target, SegmentKind::Rewritten, out);
        self.rewriter.plan = Some(Plan {
            target,
            sources,
            frames: Vec::new(),
            next: 0,
            output: Vec::new(),
            written: BLOCK_BYTES as u64,
            entries: Vec::new(),
            stage: Stage::Preparing,
        });
    }

    /// The emptiest sealed segments that together fit one, each dead enough; at least two, else nothing is gained.
    fn choose_sources(&self) -> Vec<u32> {
        let least_dead = self.options.rewrite_dead_percent_min;
        let mut candidates: Vec<(u64, u32)> = self
            .segments
            .iter()
            .filter(|(_, segment)| segment.state == SegmentState::Sealed && segment.extents > 0)
            .filter(|(_, segment)| {
                let data = u64::from(segment.data_end);
                data.saturating_sub(segment.live_bytes) * 100 > data * least_dead
            })
            .map(|(file, segment)| (segment.live_bytes, file))
            .collect();
        candidates.sort_unstable();
        let mut room = self.segment_bytes / 4 * 3;
        let mut chosen = Vec::new();
        for (live, file) in candidates.into_iter().take(SOURCES_MAX) {
            if live > room {
                break;
            }
            room -= live;
            chosen.push(file);
        }
        chosen
    }

    pub(crate) fn rewrite_segment_ready(&mut self, file: u32, done: bool, out: &mut Vec<Output>) {
        self.segments.set_state(file, SegmentState::Rewriting);
        if done {
            self.read_index(0, out)
        } else {
            self.give_up_rewrite(None, out)
        }
    }

    /// Reads the index of a source, or, past the last, plans.
    fn read_index(&mut self, source: usize, out: &mut Vec<Output>) {
        let Some(plan) = &mut self.rewriter.plan else {
            return;
        };
        let Some(&file) = plan.sources.get(source) else {
            self.plan_frames(out);
            return;
        };
        plan.stage = Stage::Indexing { source };
        let segment = self.segments.at(file);
        let (position, length) = (
            u64::from(segment.footer_position),
            segment.index_pages as usize * BLOCK_BYTES,
        );
        self.read_file(
            Purpose::Rewrite,
            FileName::Segment(file),
            position,
            length,
            IoClass::Background,
            out,
        );
    }

    pub(crate) fn rewrite_io_done(&mut self, now: Now, result: IoResult, out: &mut Vec<Output>) {
        let Some(plan) = &mut self.rewriter.plan else {
            return;
        };
        match plan.stage {
            Stage::Preparing => {}
            Stage::Indexing { source } => self.index_read(now, source, result, out),
            Stage::Reading {
                frame,
                position,
                length,
            } => self.frames_read(now, frame, position, length, result, out),
            Stage::Writing => match expect_done(result) {
                Ok(()) => self.next_step(out),
                Err(failure) => self.rewrite_failed(now, failure, out),
            },
            Stage::Footer => match expect_done(result) {
                Ok(()) => {
                    plan.stage = Stage::Syncing;
                    let file = FileName::Segment(plan.target);
                    self.sync_file(Purpose::Rewrite, file, out);
                }
                Err(failure) => self.rewrite_failed(now, failure, out),
            },
            Stage::Syncing => match expect_done(result) {
                Ok(()) => self.log_edit(now, out),
                Err(failure) => self.rewrite_failed(now, failure, out),
            },
        }
    }

    fn index_read(&mut self, now: Now, source: usize, result: IoResult, out: &mut Vec<Output>) {
        let Some(file) = self.rewriter.plan.as_ref().map(|plan| plan.sources[source]) else {
            return;
        };
        let segment = self.segments.at(file);
        let (nonce, position, pages) = (
            segment.nonce,
            u64::from(segment.footer_position),
            segment.index_pages,
        );
        let data = match expect_data(result, pages as usize * BLOCK_BYTES) {
            Ok(data) => data,
            Err(failure) => return self.rewrite_failed(now, failure, out),
        };
        let mut live = Vec::new();
        for (number, page) in data.chunks(BLOCK_BYTES).enumerate() {
            let at = position + (number * BLOCK_BYTES) as u64;
            let Some(entries) = decode_index_page(page, nonce, at, number as u32) else {
                // A damaged index: this segment stays as it is, and is not chosen again for a while.
                return self.rewrite_failed(
                    now,
                    IoFailure {
                        kind: crate::io::IoFailureKind::Device,
                        os_code: 0,
                    },
                    out,
                );
            };
            live.extend(
                entries
                    .into_iter()
                    .filter(|(replica, entry)| self.lives_in(*replica, entry, file)),
            );
        }
        if let Some(plan) = &mut self.rewriter.plan {
            plan.frames
                .extend(live.into_iter().map(|(replica, entry)| Source {
                    replica,
                    file,
                    entry,
                }));
        }
        self.read_index(source + 1, out);
    }

    fn lives_in(&self, replica: ReplicaId, entry: &IndexEntry, file: u32) -> bool {
        self.slots
            .extents_from(replica, entry.last)
            .take_while(|extent| extent.base <= entry.base)
            .any(|extent| extent.segment == file && entry.last < extent.end)
    }

    fn plan_frames(&mut self, out: &mut Vec<Output>) {
        let segment_bytes = self.segment_bytes;
        let Some(plan) = &mut self.rewriter.plan else {
            return;
        };
        let fits = |frames: &[Source]| {
            let data: usize = frames
                .iter()
                .map(|frame| frame_bytes(frame.entry.payload_bytes as usize))
                .sum();
            (2 * BLOCK_BYTES + data + footer_bytes_max(frames.len())) as u64 <= segment_bytes
        };
        while !fits(&plan.frames) {
            let Some(file) = plan.sources.pop() else {
                break;
            };
            plan.frames.retain(|frame| frame.file != file);
            self.segments.at(file).pins -= 1;
        }
        plan.frames
            .sort_unstable_by_key(|frame| (frame.replica, frame.entry.base));
        if plan.frames.is_empty() {
            return self.give_up_rewrite(None, out);
        }
        self.next_step(out);
    }

    /// Reads the next frames, or finishes.
    fn next_step(&mut self, out: &mut Vec<Output>) {
        let Some(plan) = &mut self.rewriter.plan else {
            return;
        };
        let Some(first) = plan.frames.get(plan.next).copied() else {
            return self.finish_output(out);
        };
        // Frames that lie behind one another come in one read.
        let start = u64::from(first.entry.position) & !(BLOCK_BYTES as u64 - 1);
        let mut end = 0;
        for frame in &plan.frames[plan.next..] {
            let frame_start = u64::from(frame.entry.position);
            let frame_end = (frame_start + frame.entry.frame_bytes() as u64)
                .next_multiple_of(BLOCK_BYTES as u64);
            let joins = frame.file == first.file
                && frame_start >= start
                && frame_start <= end + BLOCK_BYTES as u64
                && frame_end - start <= STEP_BYTES as u64;
            if end != 0 && !joins {
                break;
            }
            end = frame_end.max(end);
        }
        let length = (end - start) as usize;
        plan.stage = Stage::Reading {
            frame: plan.next,
            position: start,
            length,
        };
        self.read_file(
            Purpose::Rewrite,
            FileName::Segment(first.file),
            start,
            length,
            IoClass::Background,
            out,
        );
    }

    fn frames_read(
        &mut self,
        now: Now,
        first: usize,
        position: u64,
        length: usize,
        result: IoResult,
        out: &mut Vec<Output>,
    ) {
        let data = match expect_data(result, length) {
            Ok(data) => data,
            Err(failure) => return self.rewrite_failed(now, failure, out),
        };
        let Some(mut plan) = self.rewriter.plan.take() else {
            return;
        };
        let file = plan.frames[first].file;
        let nonce = self.segments.at(file).nonce;
        let target_nonce = self.segments.at(plan.target).nonce;
        while let Some(frame) = plan.frames.get(plan.next).copied() {
            let start = u64::from(frame.entry.position);
            let end = start + frame.entry.frame_bytes() as u64;
            if frame.file != file || start < position || end > position + length as u64 {
                break;
            }
            plan.next += 1;
            let bytes = &data[(start - position) as usize..(end - position) as usize];
            if sound_payload(nonce, frame.replica, &frame.entry, bytes).is_none() {
                let range = DamagedRange {
                    first: Offset(frame.entry.base),
                    last: Offset(frame.entry.last),
                };
                self.mark_damaged(frame.replica, range, file, start, out);
                continue;
            }
            plan.take_frame(target_nonce, &frame, bytes);
        }
        self.statistics.bytes_rewritten += length as u64;
        let whole = plan.output.len() / BLOCK_BYTES * BLOCK_BYTES;
        self.rewriter.plan = Some(plan);
        if whole >= STEP_BYTES {
            self.write_output(whole, out)
        } else {
            self.next_step(out)
        }
    }

    fn write_output(&mut self, bytes: usize, out: &mut Vec<Output>) {
        let Some(plan) = &mut self.rewriter.plan else {
            return;
        };
        let mut buffer = AlignedBuffer::new(bytes);
        buffer.copy_from_slice(&plan.output[..bytes]);
        plan.output.drain(..bytes);
        let (file, position) = (FileName::Segment(plan.target), plan.written);
        plan.written += bytes as u64;
        plan.stage = Stage::Writing;
        self.write(
            Purpose::Rewrite,
            file,
            position,
            buffer.freeze(),
            false,
            IoClass::Background,
            out,
        );
    }

    /// The rest of the frames, then the footer.
    fn finish_output(&mut self, out: &mut Vec<Output>) {
        let Some(plan) = &mut self.rewriter.plan else {
            return;
        };
        if plan.entries.is_empty() {
            return self.give_up_rewrite(None, out);
        }
        if !plan.output.is_empty() {
            let bytes = plan.output.len().next_multiple_of(BLOCK_BYTES);
            plan.output.resize(bytes, 0);
            return self.write_output(bytes, out);
        }
        let (target, position) = (plan.target, plan.written);
        let mut writer = FooterWriter::new(self.segments.at(target).nonce, position);
        for (replica, entry) in &plan.entries {
            writer.push(*replica, entry);
        }
        let (pages, index_pages, fences) = writer.finish();
        plan.stage = Stage::Footer;
        let segment = self.segments.at(target);
        segment.data_end = position as u32;
        segment.footer_position = position as u32;
        segment.index_pages = index_pages;
        segment.fences = Some(fences.into());
        let mut buffer = AlignedBuffer::new(pages.len());
        buffer.copy_from_slice(&pages);
        self.write(
            Purpose::Rewrite,
            FileName::Segment(target),
            position,
            buffer.freeze(),
            false,
            IoClass::Background,
            out,
        );
    }

    /// The new segment is durable: from here on it is where these extents lie.
    fn log_edit(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(plan) = self.rewriter.plan.take() else {
            return;
        };
        let mut moved: BTreeSet<(ReplicaId, u32)> = BTreeSet::new();
        moved.extend(plan.frames.iter().map(|frame| (frame.replica, frame.file)));
        let moved: Vec<MovedExtent> = moved
            .into_iter()
            .map(|(replica, old)| MovedExtent {
                replica,
                old,
                base: i64::MIN,
                end: i64::MAX,
            })
            .collect();
        self.segments.set_state(plan.target, SegmentState::Sealed);
        let record = self.segments.at(plan.target).record(plan.target);
        let per_record = (self.payload_bytes_max() / 2 / 28).clamp(1, MOVED_PER_RECORD_MAX);
        for moved in moved.chunks(per_record) {
            self.log_control(&Control::SegmentEdit {
                segment: Box::new(record.clone()),
                moved: moved.to_vec(),
            });
            self.apply_edit(&record, moved);
        }
        for file in plan.sources {
            self.segments.at(file).pins -= 1;
        }
        self.commit(now, out);
    }

    fn rewrite_failed(&mut self, now: Now, failure: IoFailure, out: &mut Vec<Output>) {
        self.rewriter.look_at_us = now.monotonic_us + RETRY_US;
        self.give_up_rewrite(Some(failure), out);
    }

    /// Nobody names the new segment: it is free again.
    fn give_up_rewrite(&mut self, failure: Option<IoFailure>, out: &mut Vec<Output>) {
        let Some(plan) = self.rewriter.plan.take() else {
            return;
        };
        for file in plan.sources {
            self.segments.at(file).pins -= 1;
        }
        self.segments.set_state(plan.target, SegmentState::Free);
        if let Some(failure) = failure {
            out.push(Output::Message(format!(
                "rewriting into segment {} stopped ({failure})",
                plan.target
            )));
        }
    }

    /// Extents that still lie where a rewrite read them now lie in its segment. The same at run time and in replay: the log's order decides.
    pub(crate) fn apply_edit(&mut self, record: &SegmentRecord, moved: &[MovedExtent]) {
        if self
            .segments
            .get(record.file)
            .is_none_or(|segment| segment.nonce != record.nonce)
        {
            self.segments
                .begin_life(record.file, Segment::from_record(record));
        }
        self.segments.set_state(record.file, SegmentState::Sealed);
        for extent in moved {
            if self.segments.get(extent.old).is_none() {
                continue;
            }
            let change = self.slots.move_extents(
                extent.replica,
                extent.old,
                record.file,
                extent.base,
                extent.end,
            );
            let old = self.segments.at(extent.old);
            old.extents -= change.extents;
            old.live_bytes -= change.bytes;
            // Extents that lay there already may become neighbours of one another too: more may be joined than moved.
            let new = self.segments.at(record.file);
            new.extents += change.extents;
            assert!(
                change.joined == 0 || change.joined < new.extents,
                "more extents were joined than the segment has"
            );
            new.extents -= change.joined;
            new.live_bytes += change.bytes;
        }
    }
}

impl Plan {
    /// A sound frame goes to the end of the output, sealed for its new place.
    fn take_frame(&mut self, nonce: u64, frame: &Source, bytes: &[u8]) {
        let at = self.output.len();
        let position = self.written + at as u64;
        self.output.extend_from_slice(bytes);
        self.output
            .resize(at + frame_bytes(bytes.len() - FRAME_HEADER_BYTES), 0);
        seal_frame(nonce, position, &mut self.output[at..]);
        self.entries.push((
            frame.replica,
            IndexEntry {
                position: position as u32,
                ..frame.entry
            },
        ));
    }
}
