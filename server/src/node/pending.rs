//! Requests whose answers are not made yet: which parts they wait for, and what those gave. A request is split over
//! shards, groups or the controller; each part comes back with its number, and the last one makes the answer.

use super::request::RequestMeta;

/// One request in hand on its connection's core.
pub struct Pending<G> {
    pub meta: RequestMeta,
    /// What the API gathers; its handler file says how.
    pub gather: G,
    /// Parts still out.
    pub parts_left: u32,
}

impl<G> Pending<G> {
    /// Counts one part in; true when it was the last.
    pub fn part_arrived(&mut self) -> bool {
        assert!(self.parts_left > 0, "a part arrived that nobody waited for");
        self.parts_left -= 1;
        self.parts_left == 0
    }
}
