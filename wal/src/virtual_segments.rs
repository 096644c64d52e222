//! How much goes at once. Kafka deletes whole segments of a partition, which end by size (`segment.bytes`) or age (`segment.ms`); here a
//! partition has no files, and its segments are virtual: counted from the log start on, anew at each look. Since the log start only ever
//! moves to the end of one, they stay where they are. While space is short, what `retention.ms` or `retention.bytes` lets go is not kept for the
//! sake of the segment it would lie in: then each extent counts as one, or each frame of a large one. `retention.rs` says when a look is due.

use crate::fetch::{Fetcher, Wanted};
use crate::footer::{IndexEntry, page_for};
use crate::log::Log;
use crate::slot::Extent;
use crate::types::{Now, ReplicaId, RetentionPolicy};

/// What is not parted: a frame, or an extent of which it does not matter.
#[derive(Clone, Copy, Debug)]
struct Unit {
    end: i64,
    bytes: u64,
    max_timestamp: i64,
}

impl Unit {
    fn whole(extent: &Extent) -> Self {
        Self {
            end: extent.end,
            bytes: u64::from(extent.bytes),
            max_timestamp: extent.max_timestamp,
        }
    }

    fn frame(frame: &IndexEntry) -> Self {
        Self {
            end: frame.last + 1,
            bytes: frame.frame_bytes() as u64,
            max_timestamp: frame.max_timestamp,
        }
    }
}

/// Units that would lie in one of Kafka's segments.
#[derive(Clone, Copy, Debug)]
struct VirtualSegment {
    end: i64,
    bytes: u64,
    first_timestamp: i64,
    max_timestamp: i64,
}

impl VirtualSegment {
    fn new(unit: &Unit) -> Self {
        Self {
            end: unit.end,
            bytes: unit.bytes,
            first_timestamp: unit.max_timestamp,
            max_timestamp: unit.max_timestamp,
        }
    }

    fn takes(&self, unit: &Unit, policy: &RetentionPolicy) -> bool {
        let timed = self.first_timestamp >= 0 && unit.max_timestamp >= 0;
        let old =
            timed && unit.max_timestamp.saturating_sub(self.first_timestamp) > policy.segment_ms;
        let full = self.bytes.saturating_add(unit.bytes) > policy.segment_bytes.max(0) as u64;
        !old && !full
    }

    fn add(&mut self, unit: &Unit) {
        self.end = unit.end;
        self.bytes += unit.bytes;
        self.max_timestamp = self.max_timestamp.max(unit.max_timestamp);
    }
}

fn expired(policy: &RetentionPolicy, wall_ms: i64, max_timestamp: i64) -> bool {
    policy.ms >= 0 && max_timestamp >= 0 && wall_ms.saturating_sub(max_timestamp) > policy.ms
}

/// Whether what is left holds `retention.bytes` without these.
fn is_over(policy: &RetentionPolicy, left: u64, bytes: u64) -> bool {
    policy.bytes >= 0 && left.saturating_sub(bytes) >= policy.bytes as u64
}

/// A look at one replica, which goes on where it stood when a page had to be fetched.
#[derive(Debug)]
pub(crate) struct Look {
    pub replica: ReplicaId,
    policy: RetentionPolicy,
    wall_ms: i64,
    /// What may go ends at or below it.
    may_go: i64,
    log_start: i64,
    /// Bytes from `start` on.
    left: u64,
    start: i64,
    segment: Option<VirtualSegment>,
    /// What ends at or below it was looked at.
    cursor: i64,
    /// Space is short: each extent counts as a segment, or each frame of a large one.
    by_extent: bool,
}

/// What a look came to.
pub(crate) enum Looked {
    /// Where the log start goes, if anywhere.
    Done(Option<i64>),
    /// A page is needed, then the look goes on.
    Wants(Box<Look>, Wanted),
}

impl Look {
    fn goes(&self, segment: &VirtualSegment) -> bool {
        segment.end <= self.may_go
            && (expired(&self.policy, self.wall_ms, segment.max_timestamp)
                || is_over(&self.policy, self.left, segment.bytes))
    }

    /// Whether all frames of an extent lie in the virtual segment at hand, so that it does not matter which they are.
    fn holds_whole(&self, extent: &Extent) -> bool {
        if self.by_extent {
            // What is large for the limit is parted by frames: else up to one extent more than the limit would be kept.
            let large = self.policy.bytes >= 0
                && u64::from(extent.bytes).saturating_mul(8) > self.policy.bytes as u64;
            return !large && self.cursor <= extent.base;
        }
        let whole = Unit::whole(extent);
        let segment = self.segment.as_ref();
        self.cursor <= extent.base && segment.is_some_and(|held| held.takes(&whole, &self.policy))
    }

    /// Takes the next unit in; `false`: the rest stays.
    fn take(&mut self, unit: &Unit) -> bool {
        self.cursor = unit.end;
        if unit.end <= self.log_start {
            // Gone already, and still counted with its extent.
            self.left = self.left.saturating_sub(unit.bytes);
            return true;
        }
        match &mut self.segment {
            None if self.start == self.log_start
                && !expired(&self.policy, self.wall_ms, unit.max_timestamp)
                && !is_over(&self.policy, self.left, unit.bytes) =>
            {
                // The usual case, without a walk: what holds this unit stays.
                return false;
            }
            Some(open) if !self.by_extent && open.takes(unit, &self.policy) => open.add(unit),
            _ => {
                if let Some(full) = self.segment.take() {
                    if !self.goes(&full) {
                        return false;
                    }
                    (self.start, self.left) = (full.end, self.left.saturating_sub(full.bytes));
                }
                self.segment = Some(VirtualSegment::new(unit));
            }
        }
        self.segment
            .is_none_or(|segment| segment.end <= self.may_go)
    }

    /// The newest goes too, when all of it was taken in.
    fn finish(&mut self) {
        if let Some(newest) = self.segment.take()
            && self.goes(&newest)
        {
            self.start = newest.end;
        }
    }
}

impl Log {
    /// Begins to look where the policy puts a replica's log start; `None`: where it is.
    pub(crate) fn begin_look(&self, now: Now, replica: ReplicaId) -> Option<Box<Look>> {
        let slot = self.slots.get(replica)?;
        let policy = self.retention.policy(slot.policy);
        let small = policy.bytes < 0 || slot.bytes < policy.bytes as u64;
        if policy.ms < 0 && small {
            return None;
        }
        Some(Box::new(Look {
            replica,
            policy,
            wall_ms: now.wall_ms,
            may_go: slot.high_watermark.min(slot.durable_end),
            log_start: slot.log_start,
            left: slot.bytes,
            start: slot.log_start,
            segment: None,
            // For a size, what is gone of the first extent is taken off first.
            cursor: if small { slot.log_start } else { i64::MIN },
            by_extent: self.space_is_short(),
        }))
    }

    /// Where the policy puts a replica's log start, if above where it is: the oldest virtual segments go while the rest still holds
    /// `retention.bytes`, or when their newest record is older than `retention.ms`. One with a record at or past the high watermark stays.
    pub(crate) fn look(&mut self, mut look: Box<Look>) -> Looked {
        let found = self.look_through(&mut look);
        let slot = self.slots.get(look.replica);
        // Truncated, deleted, or moved by DeleteRecords meanwhile: the next round looks anew.
        let same = slot.is_some_and(|slot| {
            slot.log_start == look.log_start && slot.high_watermark >= look.may_go
        });
        match found {
            _ if !same => Looked::Done(None),
            Ok(()) => Looked::Done((look.start > look.log_start).then_some(look.start)),
            Err(wanted) => Looked::Wants(look, wanted),
        }
    }

    fn look_through(&mut self, look: &mut Look) -> Result<(), Wanted> {
        let from = look.log_start;
        while let Some(extent) =
            self.extent_past(Fetcher::Retention, look.replica, look.cursor.max(from))?
        {
            if look.holds_whole(&extent) {
                if !look.take(&Unit::whole(&extent)) {
                    return Ok(());
                }
                continue;
            }
            let units = self.units(look, &extent)?;
            if units.is_empty() {
                look.cursor = extent.end;
            }
            for unit in units {
                if !look.take(&unit) {
                    return Ok(());
                }
            }
        }
        look.finish();
        Ok(())
    }

    /// The next frames of an extent from the look's cursor on: those of an open index, or of a page of the footer; none: it has no more.
    fn units(&mut self, look: &Look, extent: &Extent) -> Result<Vec<Unit>, Wanted> {
        let (replica, cursor) = (look.replica, look.cursor.max(extent.base));
        let live = |frame: &IndexEntry| {
            frame.last >= cursor && frame.base >= extent.base && frame.last < extent.end
        };
        if let Some(open) = self.open.get(&extent.segment) {
            let frames = open.frames(replica).iter();
            return Ok(frames
                .filter(|frame| live(frame))
                .map(Unit::frame)
                .collect());
        }
        let segment = self.segments.get(extent.segment);
        let Some(fences) = segment.and_then(|segment| segment.fences.clone()) else {
            // Its first keys were not needed yet since the start: then it goes whole.
            let whole = (cursor < extent.end).then_some(Unit::whole(extent));
            return Ok(whole.into_iter().collect());
        };
        let mut page = page_for(&fences, replica, cursor);
        while page < fences.len() && fences[page].replica <= replica {
            let entries = self.footer_page(Fetcher::Retention, extent.segment, page as u32)?;
            let here = entries.iter().filter(|(owner, _)| *owner == replica);
            let units: Vec<Unit> = here
                .map(|(_, entry)| entry)
                .filter(|entry| live(entry))
                .map(Unit::frame)
                .collect();
            if !units.is_empty() {
                return Ok(units);
            }
            page += 1;
        }
        Ok(Vec::new())
    }
}
