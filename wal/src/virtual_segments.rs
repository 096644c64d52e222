//! How much goes at once. Kafka deletes whole segments of a partition, which end by size (`segment.bytes`) or age (`segment.ms`); here a
//! partition has no files, and its segments are virtual: counted from the log start on, anew at each look. Since the log start only ever
//! moves to the end of one, they stay where they are. `retention.rs` says when a look is due.

use crate::footer::IndexEntry;
use crate::log::Log;
use crate::slot::Extent;
use crate::types::{Now, ReplicaId, RetentionPolicy};

/// What cannot be parted: a frame of a segment that is still open, or a whole extent.
#[derive(Clone, Copy, Debug)]
struct Unit {
    end: i64,
    bytes: u64,
    max_timestamp: i64,
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

impl Log {
    /// Where the policy puts a replica's log start, if above where it is: the oldest virtual segments go while the rest still holds
    /// `retention.bytes`, or when their newest record is older than `retention.ms`. One with a record at or past the high watermark stays.
    pub(crate) fn retention_start(&self, now: Now, replica: ReplicaId) -> Option<i64> {
        let slot = self.slots.get(replica)?;
        let policy = self.retention.policy(slot.policy);
        if policy.ms < 0 && policy.bytes < 0 {
            return None;
        }
        let may_go = slot.high_watermark.min(slot.durable_end);
        let first = self.slots.extents(replica).next()?;
        let first_bytes: u64 = self
            .units(replica, first, slot.log_start)
            .map(|unit| unit.bytes)
            .sum();
        let mut left = (slot.bytes + first_bytes).saturating_sub(u64::from(first.bytes));
        let mut start = slot.log_start;
        let mut segment: Option<VirtualSegment> = None;
        let extents = self.slots.extents(replica);
        for unit in extents.flat_map(|extent| self.units(replica, extent, slot.log_start)) {
            match &mut segment {
                None if start == slot.log_start
                    && !expired(&policy, now.wall_ms, unit.max_timestamp)
                    && !is_over(&policy, left, unit.bytes) =>
                {
                    // The usual case, without a walk: what holds this unit stays.
                    return None;
                }
                Some(open) if open.takes(&unit, &policy) => open.add(&unit),
                _ => {
                    if let Some(full) = segment.take() {
                        if !self.goes(&policy, now, left, may_go, &full) {
                            return (start > slot.log_start).then_some(start);
                        }
                        (start, left) = (full.end, left.saturating_sub(full.bytes));
                    }
                    segment = Some(VirtualSegment::new(&unit));
                }
            }
            if segment.is_some_and(|segment| segment.end > may_go) {
                return (start > slot.log_start).then_some(start);
            }
        }
        if let Some(newest) = segment
            && self.goes(&policy, now, left, may_go, &newest)
        {
            start = newest.end;
        }
        (start > slot.log_start).then_some(start)
    }

    fn goes(
        &self,
        policy: &RetentionPolicy,
        now: Now,
        left: u64,
        may_go: i64,
        segment: &VirtualSegment,
    ) -> bool {
        segment.end <= may_go
            && (expired(policy, now.wall_ms, segment.max_timestamp)
                || is_over(policy, left, segment.bytes))
    }

    /// The units of an extent, from the log start on.
    fn units(
        &self,
        replica: ReplicaId,
        extent: Extent,
        log_start: i64,
    ) -> impl Iterator<Item = Unit> + '_ {
        let open = self.open.get(&extent.segment);
        let frames = open.map_or(&[][..], |open| open.frames(replica));
        let live = move |frame: &&IndexEntry| {
            frame.last >= log_start && frame.base >= extent.base && frame.last < extent.end
        };
        let whole = open.is_none().then_some(Unit {
            end: extent.end,
            bytes: u64::from(extent.bytes),
            max_timestamp: extent.max_timestamp,
        });
        let frames = frames.iter().filter(live).map(|frame| Unit {
            end: frame.last + 1,
            bytes: frame.frame_bytes() as u64,
            max_timestamp: frame.max_timestamp,
        });
        frames.chain(whole)
    }
}
