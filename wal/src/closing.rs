//! The end of a log's life: what waits is written, the active segment gets its footer, a last checkpoint says that all of it is there, and
//! its root says that the stop was clean. The next start then reads no segment at all.

use crate::io::Output;
use crate::log::Log;
use crate::segments::SegmentState;
use crate::types::Now;

/// Steps of a footer that are done at once; a footer of a full segment of small frames has about 16.
const SEALING_STEPS_MAX: usize = 64;

/// How far a shut-down is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The log runs.
    #[default]
    Open,
    /// No appends are taken; what waits is written, reads and rewriting end.
    Draining,
    /// Footers are written.
    Sealing,
    /// The last checkpoint is written.
    Checkpoint,
    /// Something of that failed: only what waits is written.
    GivingUp,
    /// Nothing is under way any more.
    Closed,
}

impl Log {
    /// Refuses appends, writes what waits, writes the active segment's footer and a last checkpoint, and gives `Output::Closed`. Call
    /// `begin_checkpoint` with the last cold pages right before: then nothing is left to replay. An offline log closes at once; where the
    /// footer or the checkpoint cannot be written, the log closes too, and the next start replays what this one left.
    pub fn shut_down(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.shutting_down {
            return;
        }
        self.shutting_down = true;
        self.closing = Closing::Draining;
        self.proceed(now, out);
    }

    pub(crate) fn proceed_closing(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.closing == Closing::Draining && self.offline.is_none() && self.is_quiet() {
            self.seal_the_active();
            self.closing = Closing::Sealing;
        }
        if self.closing == Closing::Sealing && self.offline.is_none() {
            for _ in 0..SEALING_STEPS_MAX {
                if self.io.is_empty() && !self.sealing.is_empty() {
                    self.proceed_sealing(now, out);
                }
            }
            if self.sealing.is_empty() && self.io.is_empty() {
                self.begin_last_checkpoint(now, out);
                self.closing = Closing::Checkpoint;
            }
        }
        let done = match self.closing {
            Closing::Checkpoint => self.checkpointer.is_idle() && self.io.is_empty(),
            Closing::GivingUp => self.is_quiet(),
            _ => false,
        };
        if done || (self.offline.is_some() && self.closing != Closing::Open) {
            self.close(out);
        }
    }

    /// A footer or a checkpoint cannot be written now. Nothing is lost: the next start does the rest.
    pub(crate) fn give_up_closing(&mut self, out: &mut Vec<Output>) {
        if self.closing != Closing::Open {
            self.closing = Closing::GivingUp;
            out.push(Output::Message(
                "the log is closed without a last checkpoint: the next start replays what was written since the one before".into(),
            ));
        }
    }

    fn close(&mut self, out: &mut Vec<Output>) {
        if self.closing != Closing::Closed {
            self.closing = Closing::Closed;
            out.push(Output::Closed);
        }
    }

    /// All that was taken is durable, and nobody waits for the disk.
    fn is_quiet(&self) -> bool {
        self.in_flight.is_none()
            && self.pending.is_empty()
            && self.filling.is_none()
            && self.proven_lsn >= self.durable_lsn
            && (self.checkpointer.is_idle() || self.closing == Closing::GivingUp)
            && self.io.is_empty()
    }

    fn seal_the_active(&mut self) {
        let active = self.active;
        if self.segments.get(active).is_some() {
            self.segments.set_state(active, SegmentState::Sealing);
            self.begin_sealing(active);
            self.active = u32::MAX;
        }
    }
}
