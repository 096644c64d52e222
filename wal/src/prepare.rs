//! Segments ahead of need: the next one's header is durable before the active one is full, spares are zeroed in the background, space is
//! refused to produce before it is gone, but for a moment when some is about to come. A segment is written
//! over only when it is `Free`: no extent points to it, the durable checkpoint knows so, and no read holds it.

use crate::buffer::AlignedBuffer;
use crate::io::{BLOCK_BYTES, FileName, IoClass, IoFailureKind, IoResult, OfflineReason, Output};
use crate::layout::{SegmentHeader, SegmentKind};
use crate::log::{Log, Purpose, expect_done};
use crate::open_index::OpenIndex;
use crate::segments::{Segment, SegmentState};
use crate::slot::Tally;
use crate::types::Now;

/// Segments kept back for control records, edits and checkpoints.
const RESERVE_SEGMENTS: u64 = 2;
/// So full, in percent of the segments there may be, nothing more is taken.
const FULL_PERCENT: u64 = 95;
/// So full, dead segments are got back whatever it costs.
const LOW_PERCENT: u64 = 85;
/// So full, retention takes what it may.
const SHORT_PERCENT: u64 = 75;
/// Appends wait so long for space that is about to be free; then they are refused.
const SPACE_AWAITED_US: u64 = 2_000_000;
/// After the file system refused a new segment, the next try.
const CREATE_RETRY_US: u64 = 5_000_000;
/// Spares are for two seconds of the measured rate.
const SPARE_SECONDS: u64 = 2;
const SPARES_MAX: u64 = 64;

/// What is on its way.
#[derive(Debug, Default)]
pub(crate) struct Preparer {
    /// Header durable: the log goes on here.
    pub ready: Option<u32>,
    preparing: Option<u32>,
    creating_spare: Option<u32>,
    creating_urgent: Option<u32>,
    /// The file system had no space; no new file before this time.
    blocked_until_us: u64,
    /// Since when nothing more is taken.
    full_since_us: Option<u64>,
    header_failures: u32,
    rate_from_us: u64,
    rate_from_bytes: u64,
    bytes_per_second: u64,
    /// Segments that were dead when the rate was measured: counting them goes through all.
    dead_segments: u64,
}

impl Log {
    /// Segments that hold, or may hold, something.
    pub(crate) fn segments_used(&self) -> u64 {
        self.segments.used() as u64
    }

    /// Segments there may be: by the limit, or what there are when the file system has no more space.
    fn segments_possible(&self) -> u64 {
        if self.preparer.blocked_until_us > 0 {
            (self.segments.len() as u64).min(self.segments_max)
        } else {
            self.segments_max
        }
    }

    /// Segments used when so many percent are, or when only so many are left.
    fn used_at(&self, percent: u64, left: u64) -> u64 {
        let possible = self.segments_possible();
        possible
            .saturating_sub(left)
            .min((possible * percent).div_ceil(100))
    }

    /// Produce is refused at 95 %, and when only the reserve is left.
    pub(crate) fn out_of_space(&self) -> bool {
        self.segments_used() >= self.used_at(FULL_PERCENT, RESERVE_SEGMENTS)
    }

    fn low_at(&self) -> u64 {
        self.used_at(LOW_PERCENT, 2 * RESERVE_SEGMENTS + 1)
    }

    /// Few segments are left: time to get dead ones back.
    pub(crate) fn space_is_low(&self) -> bool {
        self.segments_used() >= self.low_at()
    }

    /// Retention takes all that its limits let it take, before space is low.
    pub(crate) fn space_is_short(&self) -> bool {
        self.segments_used() >= self.low_at().min(self.used_at(SHORT_PERCENT, 0))
    }

    /// How far space has gone from low (0) to none (10).
    pub(crate) fn space_pressure(&self) -> u64 {
        let (low, full) = (self.low_at(), self.used_at(FULL_PERCENT, RESERVE_SEGMENTS));
        let over = self.segments_used().saturating_sub(low);
        (over * 10 / full.saturating_sub(low).max(1)).min(10)
    }

    pub(crate) fn watch_space(&mut self, now: Now) {
        match self.out_of_space() {
            true => drop(self.preparer.full_since_us.get_or_insert(now.monotonic_us)),
            false => self.preparer.full_since_us = None,
        }
    }

    /// Segments are about to be free: something in them is dead already, or being moved away. An append that waits a moment is better than one
    /// that is refused; but a disk that brings nothing back must not hold producers for long.
    pub(crate) fn space_is_coming(&self, now: Now) -> bool {
        let since_us = self.preparer.full_since_us.unwrap_or(now.monotonic_us);
        now.monotonic_us.saturating_sub(since_us) < SPACE_AWAITED_US
            && (self.segments.count(SegmentState::Freeing) > 0
                || self.slots.layers.dead_bytes > 0
                || !self.checkpointer.is_idle()
                || self.retention_is_looking()
                || self.rewriter.pace.debt_bytes > 0
                || self.something_is_dead())
    }

    /// The log goes on in the next segment, when one is ready; the active one is sealed.
    pub(crate) fn next_segment(&mut self, now: Now, out: &mut Vec<Output>) -> bool {
        let Some(file) = self.preparer.ready.take() else {
            self.prepare_segments(now, out);
            self.create_urgently(out);
            return false;
        };
        let old = self.active;
        self.segments.set_state(old, SegmentState::Sealing);
        self.begin_sealing(old);
        self.activate(file);
        self.prepare_segments(now, out);
        true
    }

    pub(crate) fn activate(&mut self, file: u32) {
        self.segments.set_state(file, SegmentState::Active);
        let segment = self.segments.at(file);
        if segment.unwritten {
            segment.unwritten = false;
            self.statistics.segments_unwritten += 1;
        }
        self.segments.at(file).data_end = BLOCK_BYTES as u32;
        self.active = file;
        self.active_position = BLOCK_BYTES as u64;
        let hash_seed = self.entropy.next();
        self.open.insert(file, OpenIndex::new(hash_seed));
    }

    /// Keeps one segment ready and the spares in number.
    pub(crate) fn prepare_segments(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.offline.is_some() {
            return;
        }
        self.measure_rate(now);
        if self.preparer.blocked_until_us > 0 && now.monotonic_us >= self.preparer.blocked_until_us
        {
            self.preparer.blocked_until_us = 0;
        }
        if self.preparer.ready.is_none()
            && self.preparer.preparing.is_none()
            && let Some(file) = self.segments.first_free()
        {
            self.write_segment_header(file, SegmentKind::Log, out);
            self.preparer.preparing = Some(file);
        }
        let spares = self.segments.count(SegmentState::Free) as u64;
        let wanted = self.spares_wanted();
        if spares >= wanted || self.preparer.creating_spare.is_some() || self.shutting_down {
            return;
        }
        // What is dead needs no zeroing, only a checkpoint that no longer names it: far less to write than a segment.
        if self.preparer.dead_segments >= wanted - spares {
            self.checkpointer.wanted |= spares * 2 <= wanted;
        } else {
            self.preparer.creating_spare = self.create_segment(true, out);
        }
    }

    fn spares_wanted(&self) -> u64 {
        let spares = (self.preparer.bytes_per_second * SPARE_SECONDS)
            .div_ceil(self.segment_bytes)
            .clamp(1, SPARES_MAX);
        spares + u64::from(self.rewriter.wants_segment)
    }

    /// The measured rate of group commits.
    pub(crate) fn ingest_bytes_per_second(&self) -> u64 {
        self.preparer.bytes_per_second
    }

    /// Segments that rewriting may take: those that are free or could be made, but for the one that the log goes on in.
    pub(crate) fn segments_for_rewriting(&self) -> u64 {
        let free = self.segments.count(SegmentState::Free) as u64;
        let possible = self
            .segments_possible()
            .saturating_sub(self.segments.len() as u64);
        let kept = u64::from(self.preparer.ready.is_none() && self.preparer.preparing.is_none());
        (free + possible).saturating_sub(kept)
    }

    /// A free segment for rewriting, when the log has its next one.
    pub(crate) fn free_for_rewriting(&self) -> Option<u32> {
        let free = self.segments.first_free()?;
        let kept = self.preparer.ready.is_none() && self.preparer.preparing.is_none();
        (!kept || self.segments.count(SegmentState::Free) > 1).then_some(free)
    }

    fn measure_rate(&mut self, now: Now) {
        let elapsed_us = now.monotonic_us.saturating_sub(self.preparer.rate_from_us);
        if elapsed_us >= 1_000_000 {
            let bytes = self.statistics.bytes_written - self.preparer.rate_from_bytes;
            self.preparer.bytes_per_second = bytes.saturating_mul(1_000_000) / elapsed_us;
            self.preparer.rate_from_us = now.monotonic_us;
            self.preparer.rate_from_bytes = self.statistics.bytes_written;
            self.preparer.dead_segments = self.dead_segments();
        }
    }

    /// A write waits for a segment and none is free: one that was never written will do.
    fn create_urgently(&mut self, out: &mut Vec<Output>) {
        if self.preparer.preparing.is_none() && self.preparer.creating_urgent.is_none() {
            self.preparer.creating_urgent = self.create_segment(false, out);
        }
    }

    fn create_segment(&mut self, zero: bool, out: &mut Vec<Output>) -> Option<u32> {
        if self.segments.len() as u64 >= self.segments_possible()
            || self.preparer.blocked_until_us > 0
        {
            return None;
        }
        let file = self.segments.first_unused();
        let mut segment = Segment::new(SegmentState::Creating);
        segment.unwritten = !zero;
        self.segments.insert(file, segment);
        self.create_file(
            Purpose::CreateSegment { file },
            FileName::Segment(file),
            self.segment_bytes,
            zero,
            out,
        );
        Some(file)
    }

    pub(crate) fn segment_created(
        &mut self,
        now: Now,
        file: u32,
        result: IoResult,
        out: &mut Vec<Output>,
    ) {
        for creating in [
            &mut self.preparer.creating_spare,
            &mut self.preparer.creating_urgent,
        ] {
            if *creating == Some(file) {
                *creating = None;
            }
        }
        match expect_done(result) {
            Ok(()) => self.segments.set_state(file, SegmentState::Free),
            Err(failure) => {
                self.segments.remove(file);
                self.remove_file(FileName::Segment(file), out);
                self.preparer.blocked_until_us = now.monotonic_us + CREATE_RETRY_US;
                let what = if failure.kind == IoFailureKind::OutOfSpace {
                    "no space for"
                } else {
                    "could not make"
                };
                out.push(Output::Message(format!(
                    "{what} a new segment ({failure}); the next try is in 5 s"
                )));
            }
        }
    }

    /// Begins a new life of a free segment with a fresh nonce.
    pub(crate) fn write_segment_header(
        &mut self,
        file: u32,
        kind: SegmentKind,
        out: &mut Vec<Output>,
    ) {
        let (nonce, sequence) = (self.entropy.next(), self.next_sequence);
        self.next_sequence += 1;
        self.pages.forget_segment(file);
        self.regions.forget_segment(file);
        self.tail.forget_segment(file);
        self.segments.reuse(file, kind, nonce, sequence);
        let header = self.segment_header(file, kind);
        self.write(
            Purpose::SegmentHeader { file },
            FileName::Segment(file),
            0,
            header,
            true,
            IoClass::Background,
            out,
        );
    }

    pub(crate) fn segment_header(&mut self, file: u32, kind: SegmentKind) -> bytes::Bytes {
        let segment = self.segments.at(file);
        let header = SegmentHeader {
            kind,
            file,
            nonce: segment.nonce,
            sequence: segment.sequence,
            directory_id: self.options.directory_id,
            shard: self.options.shard,
        };
        let mut block = AlignedBuffer::new(BLOCK_BYTES);
        header.encode(&mut block);
        block.freeze()
    }

    pub(crate) fn segment_header_done(
        &mut self,
        now: Now,
        file: u32,
        result: IoResult,
        out: &mut Vec<Output>,
    ) {
        let kind = self.segments.at(file).kind;
        let failed = expect_done(result).err();
        if kind == SegmentKind::Rewritten {
            self.rewrite_segment_ready(now, file, failed, out);
            return;
        }
        self.preparer.preparing = None;
        match failed {
            None => {
                self.preparer.header_failures = 0;
                self.segments.set_state(file, SegmentState::Ready);
                self.preparer.ready = Some(file);
                self.commit(now, out);
            }
            Some(failure) => {
                self.segments.set_state(file, SegmentState::Bad);
                self.preparer.header_failures += 1;
                out.push(Output::Message(format!(
                    "segment {file} cannot be written ({failure}); it is set aside"
                )));
                if self.preparer.header_failures >= 2 {
                    self.go_offline(OfflineReason::WriteFailed(failure), out);
                }
            }
        }
    }

    /// Segments count what became of extents.
    pub(crate) fn tally(&mut self, tallies: &[Tally]) {
        for tally in tallies {
            self.segments.at(tally.segment).tally(tally);
        }
    }
}
