//! Edits: extents that a rewrite copied lie in its segment from the edit on. The same at run time and in replay: the log's order decides.
//! An edit moves an extent only if it still lies where it was read from, so truncations, deletions and a moved log start meanwhile are
//! simply respected. `rewrite.rs` makes the copies.

use crate::control::{Control, MovedExtent};
use crate::io::Output;
use crate::log::Log;
use crate::segments::{Segment, SegmentRecord, SegmentState};
use crate::slot::Tallies;
use crate::types::{Lsn, Now};

/// No moved extent takes more in a control record.
const MOVED_BYTES_MAX: usize = 36;

impl Log {
    /// Moved extents that one step logs.
    pub(crate) fn moved_per_record(&self) -> usize {
        (self.payload_bytes_max() / 2 / MOVED_BYTES_MAX)
            .min(self.options.edit_extents_max)
            .max(1)
    }

    /// Logs that these extents lie in `target` now, and moves them. The target is durable, footer and all.
    pub(crate) fn log_edit(
        &mut self,
        now: Now,
        target: u32,
        moved: &[MovedExtent],
        out: &mut Vec<Output>,
    ) -> Lsn {
        self.segments.set_state(target, SegmentState::Sealed);
        let record = self.segments.at(target).record(target);
        let lsn = self.log_control(&Control::SegmentEdit {
            segment: Box::new(record.clone()),
            moved: moved.to_vec(),
        });
        self.apply_edit(&record, moved);
        self.commit(now, out);
        lsn
    }

    /// Extents that still lie where a rewrite read them now lie in its segment.
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
            let mut tallies = Tallies::new();
            let change = self.slots.move_extents(extent, record.file, &mut tallies);
            self.tally(&tallies);
            // In replay a segment that it lay in before may have its open index still.
            for &(base, end) in &change.removed {
                for open in self.open.values_mut() {
                    open.forget(extent.replica, base, end);
                }
            }
            self.segments.at(extent.old).left_bytes += u64::from(change.below_bytes);
        }
    }
}
