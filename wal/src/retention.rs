//! Retention by time and size, in small rounds over the slots (`virtual_segments.rs` says what goes at once); and the clock that it trusts: deletions freeze when wall
//! time steps against monotonic time, or when the log was last written long ago at start.

use crate::control::Control;
use crate::fetch::Fetcher;
use crate::io::Output;
use crate::log::Log;
use crate::options::LogOptions;
use crate::slot::Slot;
use crate::types::{Now, Offset, ReplicaId, RetentionPolicy};
use crate::virtual_segments::{Look, Looked};
use std::collections::VecDeque;

/// While space is short, a round begins this soon after the last one,
const SHORT_ROUND_US: u64 = 500_000;
/// but takes no more than one part in so many of the time.
const SHORT_ROUND_PARTS: u64 = 16;
/// Chunks of 256 slots looked at per step at most.
const CHUNKS_PER_STEP: u64 = 4;
/// A replica whose newest extent just began may be over its size: looked at soon, out of turn.
const GROWN_MAX: usize = 4_096;
/// Policies are interned in 16 bits.
const POLICIES_MAX: usize = u16::MAX as usize;

/// When frames will go: those of one class are kept together when they are moved, so that most segments die whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpiryClass {
    /// Within six hours.
    Hours,
    /// Within three days.
    Days,
    /// Later, or when a size is passed.
    Later,
    /// Not by age or size: kept for ever, or compacted.
    Never,
}

impl ExpiryClass {
    pub(crate) const COUNT: usize = Self::Never as usize + 1;
}

const HOUR_MS: i64 = 3_600_000;

#[derive(Debug)]
pub(crate) struct Retention {
    policies: Vec<RetentionPolicy>,
    grown: Vec<ReplicaId>,
    /// Looked at next.
    looking: VecDeque<ReplicaId>,
    /// The look that waits for a page.
    look: Option<Box<Look>>,
    next: ReplicaId,
    round_started_us: u64,
    /// How long the last round took.
    round_took_us: u64,
    clock: Option<Now>,
    frozen: bool,
    held: bool,
    /// What the wall clock said when it was last believed.
    believed_wall_ms: i64,
}

impl Retention {
    pub(crate) fn new(options: &LogOptions) -> Self {
        Self {
            policies: vec![options.default_retention],
            grown: Vec::new(),
            looking: VecDeque::new(),
            look: None,
            next: ReplicaId(0),
            round_started_us: 0,
            round_took_us: 0,
            clock: None,
            frozen: false,
            held: false,
            believed_wall_ms: 0,
        }
    }

    pub(crate) fn frozen(&self) -> bool {
        self.frozen
    }

    /// The clock is not believed; `believed_wall_ms` is the last time that was.
    pub(crate) fn freeze(&mut self, believed_wall_ms: i64) {
        self.frozen = true;
        self.believed_wall_ms = believed_wall_ms;
    }

    /// The wall time that a checkpoint keeps: a start after a freeze that nobody ended finds the same gap again.
    pub(crate) fn wall_ms_to_keep(&self, now: Now) -> i64 {
        if self.frozen {
            self.believed_wall_ms
        } else {
            now.wall_ms
        }
    }

    /// The index of a policy; past 65,535 different ones, that of keeping everything.
    pub(crate) fn intern(&mut self, policy: RetentionPolicy) -> u16 {
        if let Some(index) = self.policies.iter().position(|known| *known == policy) {
            return index as u16;
        }
        if self.policies.len() >= POLICIES_MAX {
            return self.intern_keep();
        }
        self.policies.push(policy);
        (self.policies.len() - 1) as u16
    }

    pub(crate) fn policy(&self, index: u16) -> RetentionPolicy {
        self.policies[usize::from(index)]
    }

    fn intern_keep(&self) -> u16 {
        self.policies
            .iter()
            .position(|known| *known == RetentionPolicy::KEEP)
            .unwrap_or(0) as u16
    }
}

impl Log {
    /// An operator (or the peers) confirmed the clock: deletions go on. A checkpoint is called for, which keeps it over a restart.
    pub fn trust_clock(&mut self, now: Now) {
        self.checkpointer.wanted |= self.retention.frozen;
        self.retention.frozen = false;
        self.retention.clock = Some(now);
    }

    /// While held, nothing goes by age or size: what the policies are is not known for certain yet.
    pub fn hold_retention(&mut self, held: bool) {
        self.retention.held = held;
    }

    /// Wall and monotonic time must move together.
    pub(crate) fn watch_clock(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(before) = self.retention.clock else {
            self.retention.clock = Some(now);
            return;
        };
        let monotonic_ms = (now.monotonic_us.saturating_sub(before.monotonic_us) / 1_000) as i64;
        let step_ms = (now.wall_ms - before.wall_ms) - monotonic_ms;
        if step_ms.abs() > self.options.clock_step_ms_max && !self.retention.frozen {
            self.retention.freeze(before.wall_ms + monotonic_ms);
            out.push(Output::DeletionsFrozen {
                why: format!("the wall clock stepped by {} s", step_ms / 1_000),
            });
        }
        // The reference stays while frozen and while steps are small: many small steps add up to a large one, slow drift is forgiven hourly.
        if !self.retention.frozen && monotonic_ms > 3_600_000 {
            self.retention.clock = Some(now);
        }
    }

    /// When frames of this replica with this largest timestamp will go, as its policy says now.
    pub(crate) fn expiry_class(
        &self,
        replica: ReplicaId,
        max_timestamp: i64,
        wall_ms: i64,
    ) -> ExpiryClass {
        let policy = self.slots.get(replica).map_or(0, |slot| slot.policy);
        let policy = self.retention.policies[usize::from(policy)];
        if policy.ms < 0 {
            return if policy.bytes < 0 {
                ExpiryClass::Never
            } else {
                ExpiryClass::Later
            };
        }
        let written_ms = if max_timestamp < 0 {
            wall_ms
        } else {
            max_timestamp
        };
        let left_ms = written_ms.saturating_add(policy.ms).saturating_sub(wall_ms);
        if left_ms <= 6 * HOUR_MS {
            ExpiryClass::Hours
        } else if left_ms <= 72 * HOUR_MS {
            ExpiryClass::Days
        } else {
            ExpiryClass::Later
        }
    }

    pub(crate) fn note_new_extent(&mut self, replica: ReplicaId) {
        let bounded = self.slots.get(replica).is_some_and(|slot| {
            let policy = self.retention.policies[usize::from(slot.policy)];
            policy.bytes >= 0 && slot.bytes > policy.bytes as u64
        });
        if bounded && self.retention.grown.len() < GROWN_MAX {
            self.retention.grown.push(replica);
        }
    }

    /// A look waits for its turn, or for a page.
    pub(crate) fn retention_is_looking(&self) -> bool {
        let retention = &self.retention;
        !retention.looking.is_empty() || !retention.grown.is_empty() || retention.next.0 != 0
    }

    /// A bounded piece of the round over all slots: one is due each `retention_check_interval_ms`, and sooner while space is short.
    pub(crate) fn proceed_retention(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.retention.frozen || self.retention.held || self.shutting_down {
            return;
        }
        let grown = std::mem::take(&mut self.retention.grown);
        self.retention.looking.extend(grown);
        self.look_at_replicas(now, out);
        let mut interval_us = self.options.retention_check_interval_ms.max(1) * 1_000;
        if self.space_is_short() {
            let least_us = self.retention.round_took_us * SHORT_ROUND_PARTS;
            interval_us = interval_us.min(SHORT_ROUND_US.max(least_us));
        }
        let elapsed_us = now
            .monotonic_us
            .saturating_sub(self.retention.round_started_us);
        if elapsed_us >= interval_us && self.retention.next.0 == 0 {
            self.retention.round_started_us = now.monotonic_us;
        } else if self.retention.next.0 == 0 {
            return;
        }
        for _ in 0..CHUNKS_PER_STEP {
            if !self.retention.looking.is_empty() {
                return;
            }
            let Some((replicas, next)) = self.slots.chunk_of(self.retention.next) else {
                self.retention.next = ReplicaId(0);
                let started_us = self.retention.round_started_us;
                self.retention.round_took_us = now.monotonic_us.saturating_sub(started_us);
                return;
            };
            self.retention.next = next;
            self.retention.looking.extend(replicas);
            self.look_at_replicas(now, out);
        }
    }

    /// Those that are due, until a page is missing for one: it is gone on with when that is there.
    fn look_at_replicas(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(&replica) = self.retention.looking.front() {
            let at_hand = self.fetches.at_hand_mut(Fetcher::Retention);
            if at_hand.waits {
                return;
            }
            let lost = std::mem::take(&mut at_hand.failed);
            let begun = self.retention.look.take();
            let look = match begun.filter(|look| look.replica == replica) {
                Some(_) if lost => None,
                Some(look) => Some(look),
                None => self.begin_look(now, replica),
            };
            match look.map(|look| self.look(look)) {
                Some(Looked::Wants(look, wanted)) => {
                    self.retention.look = Some(look);
                    self.fetch_page(Fetcher::Retention, wanted, out);
                    return;
                }
                Some(Looked::Done(Some(to))) => self.retain(replica, to, out),
                Some(Looked::Done(None)) | None => {}
            }
            if self.slots.get(replica).is_some_and(Slot::is_unsettled) {
                self.slots.note_unsettled(replica);
            }
            self.retention.looking.pop_front();
        }
    }

    /// Looks at every replica now, rather than in its turn; where pages must be read first, as soon as they are. For tests and tools: it
    /// walks them.
    pub fn enforce_retention(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.retention.frozen || self.offline.is_some() {
            return;
        }
        let replicas = self.slots.iter().map(|(replica, _)| replica);
        self.retention.looking.extend(replicas);
        self.look_at_replicas(now, out);
        self.commit(now, out);
    }

    fn retain(&mut self, replica: ReplicaId, to: i64, out: &mut Vec<Output>) {
        self.log_control(&Control::LogStart {
            replica,
            to: Offset(to),
        });
        self.apply_log_start(replica, to);
        out.push(Output::LogStartMoved {
            replica,
            to: Offset(to),
        });
    }
}
