//! The audit of what is counted twice: segments count the extents that `slot.rs` holds, so that one is known to be dead without a walk over
//! all replicas. A count too low would free a segment under live extents. For tests and debug builds: it walks everything.

use crate::log::Log;
use crate::segments::SegmentState;
use std::collections::BTreeMap;

impl Log {
    /// Compares every segment's count of extents and bytes, and every replica's and the table's sums, with what the slots hold; no segment
    /// with extents may be free or on its way there, and frames of the open indexes within a replica's offsets must lie in one of its extents.
    ///
    /// # Errors
    /// Every difference, one a line.
    pub fn check_accounts(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        let mut counted: BTreeMap<u32, (u32, u64)> = BTreeMap::new();
        let mut extents = 0;
        for (replica, slot) in self.slots.iter() {
            let mut bytes = 0;
            for extent in self.slots.extents(replica) {
                let count = counted.entry(extent.segment).or_default();
                count.0 += 1;
                count.1 += u64::from(extent.bytes);
                bytes += u64::from(extent.bytes);
                extents += 1;
            }
            if bytes != slot.bytes {
                wrong.push(format!(
                    "replica {replica} has {bytes} bytes and counts {}",
                    slot.bytes
                ));
            }
        }
        if extents != self.slots.extent_count() {
            let known = self.slots.extent_count();
            wrong.push(format!("there are {extents} extents, {known} are counted"));
        }
        for (file, segment) in self.segments.iter() {
            let held = counted.remove(&file).unwrap_or_default();
            let known = (segment.extents, segment.live_bytes);
            if held != known {
                wrong.push(format!(
                    "segment {file} ({:?}): slots hold (extents, bytes) {held:?}, it counts {known:?}",
                    segment.state
                ));
            }
            let may_hold = matches!(
                segment.state,
                SegmentState::Active | SegmentState::Sealing | SegmentState::Sealed
            );
            if held.0 > 0 && !may_hold {
                wrong.push(format!(
                    "segment {file} is {:?} under {} extents",
                    segment.state, held.0
                ));
            }
        }
        for (file, held) in counted {
            wrong.push(format!(
                "segment {file} is unknown and has (extents, bytes) {held:?}"
            ));
        }
        self.check_open_indexes(&mut wrong);
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("\n"))
        }
    }

    fn check_open_indexes(&self, wrong: &mut Vec<String>) {
        for (file, open) in &self.open {
            for replica in open.replicas() {
                let Some(slot) = self.slots.get(replica) else {
                    continue;
                };
                for frame in open.frames(replica) {
                    let within = frame.last >= slot.log_start && frame.last < slot.log_end;
                    // Perhaps in another segment: replay moves extents out of segments that it still gives a footer.
                    let held = self
                        .slots
                        .extents(replica)
                        .any(|extent| extent.base <= frame.base && frame.last < extent.end);
                    if within && !held {
                        wrong.push(format!(
                            "segment {file}: no extent of replica {replica} holds its frame {}..={}",
                            frame.base, frame.last
                        ));
                    }
                }
            }
        }
    }
}
