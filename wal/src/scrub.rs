//! The scrub: sealed segments are read and verified at a pace.

use crate::io::{IoResult, Output};
use crate::log::Log;
use crate::types::Now;

#[derive(Debug, Default)]
pub(crate) struct Scrubber {}

impl Log {
    pub(crate) fn proceed_scrub(&mut self, _now: Now, _out: &mut Vec<Output>) {}
    pub(crate) fn scrub_io_done(&mut self, _now: Now, _result: IoResult, _out: &mut Vec<Output>) {}
}
