//! When requests are due at a given rate (open loop). What is due and not yet taken up is the backlog: a number, not a queue.
//! `driver` takes requests up; in a closed loop it needs none of this.

/// One loop's share of the rate.
#[derive(Clone, Debug)]
pub struct Schedule {
    begin_ns: u64,
    interval_ns: f64,
    /// Requests taken up or given up so far.
    passed: u64,
    backlog_max: u64,
    /// The most requests that were due and not taken up at one time.
    pub backlog_seen_max: u64,
    /// Requests given up because the backlog was full.
    pub overflowed: u64,
}

impl Schedule {
    /// `rate` requests each second from `begin_ns` on, of which at most `backlog_max` may be late.
    pub fn new(begin_ns: u64, rate: f64, backlog_max: u64) -> Self {
        Schedule {
            begin_ns,
            interval_ns: 1e9 / rate,
            passed: 0,
            backlog_max,
            backlog_seen_max: 0,
            overflowed: 0,
        }
    }

    fn at(&self, number: u64) -> u64 {
        self.begin_ns + (number as f64 * self.interval_ns) as u64
    }

    /// When the next request is due, nanoseconds.
    pub fn next_ns(&self) -> u64 {
        self.at(self.passed)
    }

    /// Takes the next request up if it is due: its intended time.
    pub fn take(&mut self, now_ns: u64) -> Option<u64> {
        let due_ns = self.next_ns();
        if due_ns > now_ns {
            return None;
        }
        self.passed += 1;
        Some(due_ns)
    }

    /// Notes what is late, and gives up the oldest of it beyond the bound. `given_up` gets the intended times.
    pub fn bound(&mut self, now_ns: u64, mut given_up: impl FnMut(u64)) {
        let since_ns = now_ns.saturating_sub(self.begin_ns) as f64;
        let due = ((since_ns / self.interval_ns) as u64 + 1).max(self.passed);
        let backlog = match now_ns < self.begin_ns {
            true => 0,
            false => due - self.passed,
        };
        self.backlog_seen_max = self.backlog_seen_max.max(backlog);
        for _ in self.backlog_max..backlog {
            given_up(self.next_ns());
            self.passed += 1;
            self.overflowed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_due_at_the_rate_whenever_they_are_taken() {
        let mut schedule = Schedule::new(1_000, 1_000.0, 100);
        assert_eq!(schedule.take(999), None);
        assert_eq!(schedule.take(1_000), Some(1_000));
        assert_eq!(schedule.take(1_001), None);
        assert_eq!(schedule.next_ns(), 1_001_000);
        let late: Vec<_> = std::iter::from_fn(|| schedule.take(3_500_000)).collect();
        assert_eq!(late, [1_001_000, 2_001_000, 3_001_000]);
    }

    #[test]
    fn what_is_too_late_is_given_up_and_counted() {
        let mut schedule = Schedule::new(0, 1_000.0, 2);
        let mut given_up = Vec::new();
        schedule.bound(4_500_000, |due_ns| given_up.push(due_ns));
        assert_eq!(given_up, [0, 1_000_000, 2_000_000]);
        assert_eq!((schedule.overflowed, schedule.backlog_seen_max), (3, 5));
        assert_eq!(schedule.take(4_500_000), Some(3_000_000));
        schedule.bound(4_500_000, |_| {
            panic!("one late request is within the bound")
        });
    }
}
