//! Room for the next checkpoint, kept on the file system before there is need: where it is full, a checkpoint is what brings space back.
//! The file holds nothing. Removed, it gives its room to the checkpoint; it is made again when there is some.

use crate::checkpoint::REPLICA_BYTES;
use crate::io::{BLOCK_BYTES, FileName, IoResult, Output};
use crate::log::{Log, Purpose, expect_done};
use crate::types::Now;

/// Its size is a multiple of this, and as much more than the next base is expected to have.
const STEP_BYTES: u64 = 64 << 10;
/// After the file system refused it.
const RETRY_US: u64 = 30_000_000;

/// The file as it is.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    /// 0: there is none.
    pub bytes: u64,
    making: Option<u64>,
    retry_us: u64,
}

impl Log {
    /// What a base of all replicas and pages would have now.
    pub(crate) fn base_bytes_expected(&self) -> u64 {
        let replicas = self.slots.live() * REPLICA_BYTES;
        let index = u64::from(self.slots.layers.base.pages()) * BLOCK_BYTES as u64;
        let upper = self.slots.layers.upper_bytes() / 2;
        replicas + index + upper + self.checkpointer.cold.bytes() + STEP_BYTES
    }

    /// Makes it, and makes it larger with the log.
    pub(crate) fn proceed_reserve(&mut self, now: Now, out: &mut Vec<Output>) {
        let wanted = self.base_bytes_expected().next_multiple_of(STEP_BYTES);
        let enough = self.reserve.bytes >= wanted;
        if enough
            || self.reserve.making.is_some()
            || now.monotonic_us < self.reserve.retry_us
            || self.shutting_down
            || !self.checkpointer.is_idle()
        {
            return;
        }
        // A quarter more than needed, so that a growing log does not make it anew every time.
        let bytes = (wanted + wanted / 4).next_multiple_of(STEP_BYTES);
        self.reserve.making = Some(bytes);
        self.create_file(Purpose::Reserve, FileName::Reserve, bytes, false, out);
    }

    pub(crate) fn reserve_made(&mut self, now: Now, result: IoResult) {
        let bytes = self.reserve.making.take().unwrap_or(0);
        self.reserve.bytes = bytes;
        if expect_done(result).is_err() {
            self.reserve.bytes = 0;
            self.reserve.retry_us = now.monotonic_us + RETRY_US;
        }
    }

    /// Asks for the removal of what can be done without, for a checkpoint: the reserve, or else a free segment. `false`: nothing is left.
    pub(crate) fn give_room(&mut self, purpose: Purpose, now: Now, out: &mut Vec<Output>) -> bool {
        let file = if self.reserve.bytes > 0 {
            self.reserve.bytes = 0;
            self.reserve.retry_us = now.monotonic_us + RETRY_US;
            FileName::Reserve
        } else if let Some(file) = self.segments.first_free() {
            self.segments.remove(file);
            FileName::Segment(file)
        } else {
            return false;
        };
        self.remove_for(purpose, file, out);
        true
    }
}
