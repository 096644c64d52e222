//! Rewriting: segments that are mostly dead give their live frames to a new one, sorted by replica and offset.

use crate::io::{IoResult, Output};
use crate::log::Log;
use crate::types::Now;

#[derive(Debug, Default)]
pub(crate) struct Rewriter {}

impl Log {
    pub(crate) fn proceed_rewrite(&mut self, _now: Now, _out: &mut Vec<Output>) {}
    pub(crate) fn rewrite_io_done(&mut self, _now: Now, _result: IoResult, _out: &mut Vec<Output>) {
    }
    pub(crate) fn rewrite_segment_ready(
        &mut self,
        _file: u32,
        _done: bool,
        _out: &mut Vec<Output>,
    ) {
    }
}

use crate::control::MovedExtent;
use crate::segments::{Segment, SegmentRecord, SegmentState};

impl Log {
    /// Extents that still lie where a rewrite read them now lie in its segment. The same at run time and in replay: the log's order decides.
    pub(crate) fn apply_edit(&mut self, record: &SegmentRecord, moved: &[MovedExtent]) {
        if self
            .segments
            .get(record.file)
            .is_none_or(|segment| segment.nonce != record.nonce)
        {
            self.segments
                .insert(record.file, Segment::from_record(record));
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
            old.live_bytes = old.live_bytes.saturating_sub(change.bytes);
            let new = self.segments.at(record.file);
            new.extents += change.extents - change.joined;
            new.live_bytes += change.bytes;
        }
    }
}
