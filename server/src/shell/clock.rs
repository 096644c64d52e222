//! The only clock of the node: what [`Now`] a step is given.

use rustix::time::{ClockId, clock_gettime};

use crate::machine::Now;

/// Reads the system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock;

impl Clock {
    /// Both clocks.
    pub(super) fn now(self) -> Now {
        let wall = clock_gettime(ClockId::Realtime);
        Now {
            monotonic_us: monotonic_us(),
            wall_ms: wall.tv_sec * 1000 + wall.tv_nsec / 1_000_000,
        }
    }

    /// The monotonic clock anew, the wall clock as it was: within a turn that is precise enough.
    pub(super) fn refresh_monotonic(self, now: Now) -> Now {
        Now {
            monotonic_us: monotonic_us().max(now.monotonic_us),
            wall_ms: now.wall_ms,
        }
    }
}

fn monotonic_us() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}
