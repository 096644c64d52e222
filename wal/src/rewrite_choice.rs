//! What to rewrite and when. Sealed segments that are mostly dead are cleaned; segments in which many partitions lie interleaved are
//! clustered, many at a time. Those of several expiry classes would not die whole: they are owed. Those of one class die whole as they are,
//! and are clustered for their readers alone, in quiet time only. A segment of few partitions is left as it is until it dies. Under load
//! rewriting may write a share of what is ingested, more and more of it as space runs out, and in quiet time it goes on unbounded. What it
//! owes is the debt; past a bound in time, producers are to be throttled.

use crate::io::BLOCK_BYTES;
use crate::layout::SegmentKind;
use crate::log::Log;
use crate::retention::ExpiryClass;
use crate::segments::{LiveSeen, Segment, SegmentState};
use crate::types::{Now, ReplicaId};

/// Segments read together at most.
const SOURCES_MAX: usize = 64;
/// Of these when they are mostly dead.
const DEAD_SOURCES_MAX: usize = 16;
/// Extents at least so large on average are read well enough: no need to move them together.
const CLUSTERED_EXTENT_BYTES_MIN: u64 = 1 << 20;
/// When space is short, segments are worth cleaning from so much dead on, in percent,
const DEAD_PERCENT_MIN_SHORT: u64 = 35;
/// and when it is low: anything that gives space back is.
const DEAD_PERCENT_MIN_LOW: u64 = 20;
/// But only those with so many extents: an extent is not parted, and a few large ones would fill no new segment better than the old.
const SMALL_EXTENTS_MIN: u32 = 8;
/// What lost something just now may lose the rest as soon: its neighbours were written in the same moment, and retention takes one replica after
/// the other. It is cleaned when it has lost nothing for so long,
const DYING_US: u64 = 3_000_000;
/// or when space has gone so far from low (0) to none (10).
const DYING_PRESSURE_MAX: u64 = 7;
/// What the budget may gather while nothing is to be done.
const BUDGET_BYTES_MAX: i64 = 8 << 20;
/// Without an append for so long it is quiet. (Writes do not count: edits are written too.)
const QUIET_US: u64 = 20_000;
/// What only readers gain from begins after so long without an append: between two bursts of a load it would be in the way.
const IDLE_US: u64 = 1_000_000;
/// It takes this part of the segments that are gathered under load.
const IDLE_SEGMENTS_PART: usize = 4;
/// A throttled producer waits for so long at most.
const THROTTLE_MS_MAX: u64 = 1_000;

/// Bytes that rewriting may write now, and what it owes.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    budget_bytes: i64,
    ingested_bytes: u64,
    at_us: u64,
    /// The last append.
    pub appended_us: u64,
    pub debt_bytes: u64,
    pub unclustered: u64,
    /// Bytes of all extents, as of the last look.
    pub held_bytes: u64,
}

/// What to rewrite next.
#[derive(Debug)]
pub(crate) struct Choice {
    pub sources: Vec<u32>,
    /// Segments that are filled at the same time, by expiry class.
    pub parts: usize,
    pub clustering: bool,
    /// Nothing is owed, only readers gain from it: it rests under load.
    pub idle_only: bool,
}

/// Why a segment is worth clustering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interleaved {
    /// Its partitions are of several classes, and it would not die whole.
    Owed,
    /// It dies whole as it is, but its readers seek for every batch.
    ForReaders,
}

impl Log {
    /// What was deleted, padding, and what was never filled (a rewrite's last segment, one that an unclean stop cut short) is dead alike.
    fn is_dead_enough(&self, segment: &Segment) -> bool {
        let footer = u64::from(segment.index_pages) * BLOCK_BYTES as u64;
        let room = self.segment_bytes.saturating_sub(footer);
        let live = segment.live_bytes();
        let dead = room.saturating_sub(live);
        let percent_min = match self.options.rewrite_dead_percent_min {
            never if never >= 100 => never,
            usual if segment.extents() < SMALL_EXTENTS_MIN => usual,
            usual if self.space_is_low() => usual.min(DEAD_PERCENT_MIN_LOW),
            usual if self.space_is_short() => usual.min(DEAD_PERCENT_MIN_SHORT),
            usual => usual,
        };
        segment.state == SegmentState::Sealed
            && live > 0
            && segment.extents() > 0
            && dead * 100 > room * percent_min
    }

    /// Whether many partitions lie in it as they came.
    fn interleaved(&self, segment: &Segment) -> Option<Interleaved> {
        const HOURS: u8 = 1 << ExpiryClass::Hours as u8;
        let interleaved = segment.state == SegmentState::Sealed
            && segment.kind == SegmentKind::Log
            && segment.extents() > self.options.clustered_extents_max
            && segment.live_bytes() > 0
            && segment.live_bytes() < u64::from(segment.extents()) * CLUSTERED_EXTENT_BYTES_MIN;
        match segment.classes {
            _ if !interleaved => None,
            several if several.count_ones() >= 2 => Some(Interleaved::Owed),
            // Gone before anybody comes back for it; or what it is, is not known.
            0 | HOURS => None,
            _ => Some(Interleaved::ForReaders),
        }
    }

    /// Walks the segments: what is owed, and what to do first.
    pub(crate) fn choose_rewrite(&mut self, now: Now) -> Option<Choice> {
        let (mut dead, mut unclustered, mut for_readers) = (Vec::new(), Vec::new(), Vec::new());
        let (mut unclustered_bytes, mut held_bytes) = (0, 0);
        for (file, segment) in self.segments.iter() {
            held_bytes += segment.live_bytes();
            if self.is_dead_enough(segment) {
                dead.push((segment.live_bytes(), file));
            } else if let Some(why) = self.interleaved(segment) {
                let place = (segment.sequence, file);
                let held = segment.is_held(now);
                match why {
                    Interleaved::Owed => {
                        unclustered_bytes += segment.live_bytes();
                        unclustered.extend((!held).then_some(place));
                    }
                    Interleaved::ForReaders => for_readers.extend((!held).then_some(place)),
                }
            }
        }
        let due = unclustered.len() >= self.options.unclustered_segments_min.max(2);
        self.rewriter.pace.unclustered = unclustered.len() as u64;
        self.rewriter.pace.held_bytes = held_bytes;
        dead.retain(|(live_bytes, file)| !self.is_dying(now, *file, *live_bytes));
        let dead_bytes = dead.iter().map(|(live_bytes, _)| live_bytes).sum();
        dead.sort_unstable();
        let dead = dead.into_iter().map(|(_, file)| file);
        let held = |file| self.segments.get(file).is_some_and(|it| it.is_held(now));
        let dead = dead.filter(|file| !held(*file));
        let cleaning = self.fitting(dead.take(DEAD_SOURCES_MAX).collect(), false);
        // A dead one alone gives nothing back, and a few unclustered ones may lie about: neither is owed.
        let owed = [(cleaning.is_some(), dead_bytes), (due, unclustered_bytes)];
        let owed = owed.iter().filter(|(is_due, _)| *is_due);
        self.rewriter.pace.debt_bytes = owed.map(|(_, bytes)| bytes).sum();
        if cleaning.is_some() || self.space_is_low() {
            return cleaning;
        }
        let mut idle_only = false;
        if !due {
            unclustered.append(&mut for_readers);
            // Time is there, and readers gain from few as well.
            let least = self.options.unclustered_segments_min / IDLE_SEGMENTS_PART;
            let enough = unclustered.len() >= least.max(2);
            if !enough || !self.is_idle(now) || self.space_is_short() {
                return None;
            }
            idle_only = true;
        }
        unclustered.sort_unstable();
        let sources = unclustered.into_iter().map(|(_, file)| file);
        let clustering = self.fitting(sources.take(SOURCES_MAX).collect(), true)?;
        Some(Choice {
            idle_only,
            ..clustering
        })
    }

    /// Whether a mostly dead segment had more alive a moment ago, and waiting is no danger.
    fn is_dying(&mut self, now: Now, file: u32, live_bytes: u64) -> bool {
        let pressed = self.space_pressure() > DYING_PRESSURE_MAX;
        let segment = self.segments.at(file);
        if segment.live_seen.bytes != live_bytes {
            segment.live_seen = LiveSeen {
                bytes: live_bytes,
                since_us: now.monotonic_us,
            };
        }
        !pressed && now.monotonic_us - segment.live_seen.since_us < DYING_US
    }

    /// Nothing was appended for a while.
    fn is_idle(&self, now: Now) -> bool {
        now.monotonic_us
            .saturating_sub(self.rewriter.pace.appended_us)
            >= IDLE_US
    }

    /// Whether a job that only readers gain from makes way for a load. It does not where others wait for it to end.
    pub(crate) fn makes_way(&self, now: Now) -> bool {
        let quiet = now
            .monotonic_us
            .saturating_sub(self.rewriter.pace.appended_us)
            >= QUIET_US;
        !quiet && !self.space_is_short() && self.rewriter.waiting_plan.is_none()
    }

    /// As many of these segments as the free ones take the frames of; cleaning must also give more back than it takes.
    fn fitting(&self, mut sources: Vec<u32>, clustering: bool) -> Option<Choice> {
        let (free, low) = (self.segments_for_rewriting(), self.space_is_low());
        // Less is left at the end of a new segment the smaller its extents are, and then every bit counts.
        let usable = match low {
            true => self.segment_bytes / 8 * 7,
            false => self.segment_bytes / 4 * 3,
        };
        while sources.len() >= 2 {
            let live: u64 = sources
                .iter()
                .filter_map(|file| self.segments.get(*file))
                .map(|segment| segment.live_bytes())
                .sum();
            let most = if low { 1 } else { ExpiryClass::COUNT as u64 };
            let parts = (live / usable).clamp(1, most);
            let needed = live.div_ceil(usable) + parts - 1;
            let gains = clustering || needed < sources.len() as u64;
            if gains && needed <= free {
                return Some(Choice {
                    sources,
                    parts: parts as usize,
                    clustering,
                    idle_only: false,
                });
            }
            sources.pop();
        }
        None
    }

    /// Which of a job's parts an extent goes to.
    pub(crate) fn part_of(
        &self,
        replica: ReplicaId,
        max_timestamp: i64,
        wall_ms: i64,
        parts: usize,
    ) -> usize {
        let class = self.expiry_class(replica, max_timestamp, wall_ms) as usize;
        class * parts / ExpiryClass::COUNT
    }

    /// The budget grows with what is ingested, and slowly by itself. Whether rewriting may go on, and, if so, whether what it writes now is
    /// charged to the budget.
    pub(crate) fn may_rewrite(&mut self, now: Now) -> Option<bool> {
        let written = self.statistics.bytes_written;
        // As much again for each step that space goes down: it settles where as much comes back as is taken.
        let (pressure, options) = (self.space_pressure(), &self.options);
        let percent = options.rewrite_ingest_percent * (1 + pressure);
        let pace = &mut self.rewriter.pace;
        let ingested = written - pace.ingested_bytes;
        let elapsed_us = now.monotonic_us.saturating_sub(pace.at_us).min(1_000_000);
        let earned = ingested * percent / 100
            + options.rewrite_bytes_per_second_min * elapsed_us / 1_000_000;
        pace.budget_bytes = (pace.budget_bytes + earned as i64).min(BUDGET_BYTES_MAX);
        (pace.ingested_bytes, pace.at_us) = (written, now.monotonic_us);
        let quiet = now.monotonic_us.saturating_sub(pace.appended_us) >= QUIET_US;
        if self.slots.layers.layered_bytes() > self.options.upper_extent_bytes_max {
            // Moved extents wait in memory for the next base too.
            None
        } else if quiet {
            Some(false)
        } else {
            (pace.budget_bytes > 0).then_some(true)
        }
    }

    /// Rewriting wrote this much.
    pub(crate) fn note_rewritten(&mut self, bytes: u64, charged: bool) {
        self.statistics.bytes_rewritten += bytes;
        if charged {
            self.rewriter.pace.budget_bytes -= bytes as i64;
        }
    }

    /// How long the debt takes at the rate that rewriting has under the present load, in milliseconds.
    #[must_use]
    pub fn rewrite_debt_ms(&self) -> u64 {
        let share = self.ingest_bytes_per_second() * self.options.rewrite_ingest_percent / 100;
        let rate = share.max(self.options.rewrite_bytes_per_second_min).max(1);
        self.rewriter.pace.debt_bytes.saturating_mul(1_000) / rate
    }

    /// How long producers of this log should be throttled (`throttle_time_ms` of Produce): nothing until the debt of rewriting passes
    /// `rewrite_debt_ms_max`, then more and more, up to a second at twice that.
    #[must_use]
    pub fn produce_throttle_ms(&self) -> u32 {
        let most = self.options.rewrite_debt_ms_max.max(1);
        let over = self.rewrite_debt_ms().saturating_sub(most);
        (over.saturating_mul(THROTTLE_MS_MAX) / most).min(THROTTLE_MS_MAX) as u32
    }
}
