//! The coordinator's deadlines: sessions, join phases, sync phases.
//!
//! One entry per key, in an ordered queue. A heartbeat only moves the deadline of its entry; the queue
//! learns of it when the old deadline comes up, so a heartbeat costs a look-up and no reordering.
//! What happens at a deadline is decided in `mod.rs`.

use std::collections::{BTreeMap, BTreeSet};

use odradek_protocol::StrBytes;

/// What a deadline is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKind {
    /// The end of a group's join phase.
    Join,
    /// The end of a group's sync phase.
    Sync,
    /// The session of a member, or the time a new member has to come back with its id.
    Session(StrBytes),
}

/// A group's deadline of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimerKey {
    /// The group.
    pub group: StrBytes,
    /// Which of its deadlines.
    pub kind: TimerKind,
}

/// What to do when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerEvent {
    /// A member was not heard of.
    SessionExpired,
    /// The join phase is over.
    JoinExpired,
    /// A pause of the first rebalance is over; it may be prolonged.
    InitialDelay {
        /// The pause that just ended, in milliseconds.
        delay_ms: i32,
        /// How much it may still be prolonged, in milliseconds.
        remaining_ms: i32,
    },
    /// Members that have not asked for their assignment are to go.
    SyncExpired {
        /// The generation the phase belongs to.
        generation: i32,
    },
}

#[derive(Debug)]
struct Timer {
    due_us: u64,
    queued_us: u64,
    event: TimerEvent,
}

/// All deadlines of one coordinator.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(u64, TimerKey)>,
    timers: BTreeMap<TimerKey, Timer>,
}

impl Timers {
    /// Sets the deadline of a key, replacing the one it had.
    pub fn schedule(&mut self, key: TimerKey, due_us: u64, event: TimerEvent) {
        match self.timers.get_mut(&key) {
            Some(timer) => {
                timer.due_us = due_us;
                timer.event = event;
                if due_us < timer.queued_us {
                    let old = (timer.queued_us, key);
                    timer.queued_us = due_us;
                    self.queue.remove(&old);
                    self.queue.insert((due_us, old.1));
                }
            }
            None => {
                self.queue.insert((due_us, key.clone()));
                self.timers.insert(
                    key,
                    Timer {
                        due_us,
                        queued_us: due_us,
                        event,
                    },
                );
            }
        }
    }

    /// Forgets a deadline, if there is one.
    pub fn cancel(&mut self, key: &TimerKey) {
        if let Some(timer) = self.timers.remove(key) {
            self.queue.remove(&(timer.queued_us, key.clone()));
        }
    }

    /// Forgets every deadline of a group.
    pub fn cancel_group(&mut self, group: &StrBytes) {
        let first = TimerKey {
            group: group.clone(),
            kind: TimerKind::Join,
        };
        let keys: Vec<TimerKey> = self
            .timers
            .range(first..)
            .take_while(|(key, _)| key.group == *group)
            .map(|(key, _)| key.clone())
            .collect();
        for key in &keys {
            self.cancel(key);
        }
    }

    /// The next deadline that has come, taken out.
    pub fn pop_due(&mut self, now_us: u64) -> Option<(TimerKey, TimerEvent)> {
        while self.queue.first().is_some_and(|first| first.0 <= now_us) {
            let (_, key) = self.queue.pop_first()?;
            let timer = self.timers.get_mut(&key)?;
            if timer.due_us > now_us {
                timer.queued_us = timer.due_us;
                self.queue.insert((timer.due_us, key));
                continue;
            }
            let event = timer.event;
            self.timers.remove(&key);
            return Some((key, event));
        }
        None
    }

    /// When to look again, in monotonic microseconds: never later than the next deadline.
    pub fn next_us(&self) -> Option<u64> {
        self.queue.first().map(|first| first.0)
    }

    /// How many deadlines there are.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.timers.clear();
    }
}
