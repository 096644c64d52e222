//! Waiting a moment for company before a small write. `append` asks here before it issues a write; the time is the caller's, in `commit`.
//!
//! Clients that wait for their answers come back together: those of the write that was just done send again within tens of microseconds,
//! while the batches that arrived during it already wait. Issued at once, the next write takes only the latter, and two half groups take turns for ever,
//! each paying a whole write and flush of the device. Held until the answered have come back, one write takes both. That pays only while writes are
//! small (larger ones are bound by bytes, and overlap with receiving), only on a device that takes long for the smallest of them (on a fast one
//! the wait costs more than a second write), and only while the answered do come back: a load that follows no answers makes the waiting useless,
//! so it is given up for a while when it did not help.

use crate::append::InFlight;
use crate::log::Log;
use crate::types::Now;

/// After writes longer than this the next one is issued at once.
const SMALL_BYTES_MAX: u64 = 384 << 10;
/// The longest wait; nor longer than the last write took. Twenty answers, their clients and twenty requests take about 150 µs on a small machine;
/// a wait that is cut off shortly before they are all there is paid for nothing.
const HOLD_US_MAX: u64 = 200;
/// A device that needs no longer than this for a write, its bytes aside, is not waited for: the answered need some 100 µs to come back.
const FAST_WRITE_US_MAX: u64 = 90;
/// So fast at least are the bytes of a write, on slow devices as on fast ones (measured on both); the time beyond is what each write costs.
const BYTES_PER_US: u64 = 2_048;
/// The fastest write is that of so many, and of as many before them.
const FASTEST_OF_WRITES: u32 = 64;
/// Trust that waiting helps: each wait that did adds one, each that did not takes two; at none it rests.
const TRUST_MAX: u8 = 8;
/// Writes for which waiting rests before it is tried again.
const REST_WRITES: u32 = 256;

/// Whether the next write waits, and what came of waiting so far.
#[derive(Debug)]
pub(crate) struct Gathering {
    hold: Option<Hold>,
    trust: u8,
    resting_writes: u32,
    fastest: Fastest,
}

/// What a write cost of late whatever its length: that of the fastest ones, since what else runs here only makes one seem longer.
#[derive(Debug)]
struct Fastest {
    present_us: u64,
    previous_us: u64,
    writes: u32,
}

impl Fastest {
    fn note(&mut self, took_us: u64) {
        self.present_us = self.present_us.min(took_us);
        self.writes += 1;
        if self.writes == FASTEST_OF_WRITES {
            *self = Self {
                previous_us: self.present_us,
                ..Self::default()
            };
        }
    }

    fn us(&self) -> u64 {
        self.present_us.min(self.previous_us)
    }
}

impl Default for Fastest {
    fn default() -> Self {
        Self {
            present_us: u64::MAX,
            previous_us: u64::MAX,
            writes: 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    until_us: u64,
    /// With so many it goes.
    frames: usize,
}

impl Default for Gathering {
    fn default() -> Self {
        Self {
            hold: None,
            trust: TRUST_MAX / 2,
            resting_writes: 0,
            fastest: Fastest::default(),
        }
    }
}

impl Log {
    /// A write is durable, and its clients will be answered: the next one waits for them, where that pays.
    pub(crate) fn begin_gathering(&mut self, now: Now, done: &InFlight) {
        let answered = done.entries.len();
        let gathered = self
            .filling
            .as_ref()
            .map_or(0, |filling| filling.entries.len());
        let gathering = &mut self.gathering;
        gathering.hold = None;
        if !self.options.gather_writes {
            return;
        }
        let took_us = now.monotonic_us.saturating_sub(done.issued_us());
        let bytes = done.end_lsn - done.start_lsn;
        gathering
            .fastest
            .note(took_us.saturating_sub(bytes / BYTES_PER_US));
        if gathering.fastest.us() <= FAST_WRITE_US_MAX {
            return;
        }
        if gathering.resting_writes > 0 {
            gathering.resting_writes -= 1;
            return;
        }
        let small = self.pending.is_empty() && bytes <= SMALL_BYTES_MAX;
        // One alone has nobody to wait for, and a write of control records answers nobody.
        if !small || answered + gathered < 2 || self.shutting_down {
            return;
        }
        gathering.hold = Some(Hold {
            until_us: now.monotonic_us + took_us.min(HOLD_US_MAX),
            frames: answered + gathered,
        });
    }

    /// Whether the next write waits still.
    pub(crate) fn gathers(&mut self, now: Now) -> bool {
        let Some(hold) = self.gathering.hold else {
            return false;
        };
        let gathered = self
            .filling
            .as_ref()
            .map_or(0, |filling| filling.entries.len());
        let came = gathered >= hold.frames || !self.pending.is_empty();
        if !came && now.monotonic_us < hold.until_us && !self.shutting_down {
            return true;
        }
        let gathering = &mut self.gathering;
        gathering.hold = None;
        if came {
            gathering.trust = (gathering.trust + 1).min(TRUST_MAX);
        } else {
            gathering.trust = gathering.trust.saturating_sub(2);
            if gathering.trust == 0 {
                gathering.trust = 2;
                gathering.resting_writes = REST_WRITES;
            }
        }
        false
    }

    /// Until when the next write waits for those who were just answered, in monotonic microseconds, whether or not anything waits already.
    #[must_use]
    pub fn company_until_us(&self) -> Option<u64> {
        self.gathering.hold.map(|hold| hold.until_us)
    }

    /// When `commit` is wanted though nothing else happens, in monotonic microseconds: something waits for company until then.
    #[must_use]
    pub fn commit_due_us(&self) -> Option<u64> {
        let waits = self
            .filling
            .as_ref()
            .is_some_and(|filling| !filling.entries.is_empty());
        self.gathering
            .hold
            .filter(|_| waits)
            .map(|hold| hold.until_us)
    }
}
