//! What happens to a replica's extents: the newest in its slot and those of the uppermost layer are changed here and now; of those below it
//! is noted what became of them (`layers.rs`), and their bytes are counted later (`survey.rs`).

use crate::control::MovedExtent;
use crate::layers::{Found, Missing, Move, PageSource, clipped, join, joins};
use crate::slot::{All, Extent, FLAG_UNSETTLED, Held, Slot, SlotTable, Tallies, Tally};
use crate::types::ReplicaId;
use smallvec::SmallVec;

/// Replicas kept in mind whose bytes are to be counted.
const UNSETTLED_MAX: usize = 4_096;

/// What `move_extents` did, beside what it tallied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MovedExtents {
    /// Base and end of those that are gone.
    pub removed: SmallVec<[(i64, i64); 1]>,
    /// Some may have lain below, with so many bytes.
    pub below_bytes: u32,
}

/// Joins neighbours in `segment`. Answers how many are gone by it.
fn join_in(segment: u32, extents: impl Iterator<Item = Extent>) -> (All, usize) {
    let (mut all, mut joined) = (All::new(), 0);
    for extent in extents {
        match all.last_mut() {
            Some(last) if last.segment == segment && joins(last, &extent) => {
                joined += 1;
                join(last, &extent);
            }
            _ => all.push(extent),
        }
    }
    (all, joined)
}

impl SlotTable {
    /// Up to `count` extents from the first that ends past `from`. See `Layers::find`.
    ///
    /// # Errors
    /// The page that must be read first.
    pub(crate) fn extents_from(
        &self,
        replica: ReplicaId,
        from: i64,
        count: usize,
        pages: &mut PageSource<'_>,
    ) -> Result<Found, Missing> {
        let newest = self.get(replica).and_then(Slot::newest);
        let count = (count, false);
        self.layers.find(replica, newest, from, count, pages)
    }

    /// The one extent that ends past `from`, as far as it goes.
    ///
    /// # Errors
    /// The page that must be read first.
    pub(crate) fn whole_extent_from(
        &self,
        replica: ReplicaId,
        from: i64,
        pages: &mut PageSource<'_>,
    ) -> Result<Option<Extent>, Missing> {
        let newest = self.get(replica).and_then(Slot::newest);
        let count = (1, true);
        let found = self.layers.find(replica, newest, from, count, pages)?;
        Ok(found.first().copied())
    }

    /// Extents that are in memory without a page: those of the uppermost layer and the newest.
    pub(crate) fn upper_extents(&self, replica: ReplicaId) -> impl Iterator<Item = Extent> + '_ {
        let entry = self.layers.get(replica);
        let listed = entry.into_iter().flat_map(|entry| entry.extents.iter());
        listed.chain(self.get(replica).and_then(Slot::newest))
    }

    /// Where the extents begin that are in memory without a page.
    fn upper_base(&self, replica: ReplicaId) -> Option<i64> {
        self.upper_extents(replica).next().map(|extent| extent.base)
    }

    fn put_listed(&mut self, replica: ReplicaId, all: All) {
        self.layers.change(replica, |entry| {
            entry.extents = all.into_iter().collect();
        });
    }

    fn listed(&self, replica: ReplicaId) -> All {
        let entry = self.layers.get(replica);
        entry
            .into_iter()
            .flat_map(|entry| entry.extents.iter())
            .collect()
    }

    pub(crate) fn unsettle(&mut self, replica: ReplicaId) {
        if let Some(slot) = self.change(replica) {
            slot.flags |= FLAG_UNSETTLED;
        }
        self.note_unsettled(replica);
    }

    /// Extents below are parted otherwise than before: guesses of their bytes are made anew.
    pub(crate) fn unsettle_guessed(&mut self) {
        for replica in self.layers.guessed() {
            self.unsettle(replica);
        }
    }

    /// It is to be counted soon; when there are too many, in its turn of retention's round.
    pub(crate) fn note_unsettled(&mut self, replica: ReplicaId) {
        if self.unsettled.len() < UNSETTLED_MAX {
            self.unsettled.insert(replica);
        }
    }

    /// A frame of the replica now lies in `segment`. Answers whether that began a new extent.
    pub(crate) fn attach(
        &mut self,
        replica: ReplicaId,
        frame: Extent,
        tallies: &mut Tallies,
    ) -> bool {
        let Some(slot) = self.change(replica) else {
            return false;
        };
        slot.bytes += u64::from(frame.bytes);
        let newest = slot.newest();
        if let Some(mut newest) = newest
            && newest.end <= frame.base
            && joins(&newest, &frame)
        {
            let before = newest;
            join(&mut newest, &frame);
            slot.set_newest(Some(newest));
            tallies.push(Tally::resized(&before, &newest, Held::Newest));
            return false;
        }
        slot.set_newest(Some(frame));
        tallies.push(Tally::more(&frame, Held::Newest));
        if let Some(older) = newest {
            tallies.push(Tally::fewer(&older, Held::Newest));
            tallies.push(Tally::more(&older, Held::Listed));
            self.layers
                .change(replica, |entry| entry.extents.push_back(older));
        }
        true
    }

    /// Clips and drops what lies at or past `to`.
    pub(crate) fn clip_extents(&mut self, replica: ReplicaId, to: i64, tallies: &mut Tallies) {
        let Some(slot) = self.get(replica).copied() else {
            return;
        };
        let upper_base = self.upper_base(replica);
        let mut gone_bytes = 0;
        let mut newest = slot.newest();
        if let Some(extent) = newest {
            if extent.end <= to {
                return;
            }
            newest = (extent.base < to).then(|| clipped(extent, to));
            match &newest {
                Some(kept) => tallies.push(Tally::resized(&extent, kept, Held::Newest)),
                None => tallies.push(Tally::fewer(&extent, Held::Newest)),
            }
            gone_bytes += u64::from(extent.bytes - newest.map_or(0, |kept| kept.bytes));
        }
        if newest.is_none() && self.layers.get(replica).is_some() {
            self.change(replica);
            let mut listed = self.listed(replica);
            while let Some(last) = listed.last().copied().filter(|last| last.base >= to) {
                listed.pop();
                gone_bytes += u64::from(last.bytes);
                tallies.push(Tally::fewer(&last, Held::Listed));
            }
            if let Some(last) = listed.last_mut()
                && last.end > to
            {
                let kept = clipped(*last, to);
                gone_bytes += u64::from(last.bytes - kept.bytes);
                tallies.push(Tally::resized(last, &kept, Held::Listed));
                *last = kept;
            }
            self.put_listed(replica, listed);
        }
        if let Some(slot) = self.change(replica) {
            slot.bytes -= gone_bytes;
            slot.set_newest(newest);
        }
        if upper_base.is_none_or(|base| base > to) && self.layers.may_lie_below(replica) {
            self.unsettle(replica);
            self.layers
                .change(replica, |entry| entry.clip = entry.clip.min(to));
        }
    }

    /// Drops the extents that end at or below `offset`.
    pub(crate) fn drop_extents_below(
        &mut self,
        replica: ReplicaId,
        offset: i64,
        tallies: &mut Tallies,
    ) {
        let Some(slot) = self.get(replica).copied() else {
            return;
        };
        if self.layers.may_lie_below(replica) {
            self.unsettle(replica);
            self.layers
                .change(replica, |entry| entry.start = entry.start.max(offset));
        }
        if self
            .upper_extents(replica)
            .next()
            .is_none_or(|first| first.end > offset)
        {
            return;
        }
        self.change(replica);
        let mut bytes = 0;
        let mut listed = self.listed(replica);
        let dropped = listed.partition_point(|extent| extent.end <= offset);
        for extent in listed.drain(..dropped) {
            bytes += u64::from(extent.bytes);
            tallies.push(Tally::fewer(&extent, Held::Listed));
        }
        self.put_listed(replica, listed);
        let newest = slot.newest();
        let kept = newest.filter(|newest| newest.end > offset);
        if let (Some(newest), None) = (newest, kept) {
            bytes += u64::from(newest.bytes);
            tallies.push(Tally::fewer(&newest, Held::Newest));
        }
        if let Some(slot) = self.change(replica) {
            slot.bytes -= bytes;
            slot.set_newest(kept);
        }
    }

    /// All extents of a replica that is removed.
    pub(crate) fn remove_extents(
        &mut self,
        replica: ReplicaId,
        slot: &Slot,
        tallies: &mut Tallies,
    ) {
        for extent in self.listed(replica) {
            tallies.push(Tally::fewer(&extent, Held::Listed));
        }
        if let Some(newest) = slot.newest() {
            tallies.push(Tally::fewer(&newest, Held::Newest));
        }
        let below = self.layers.may_lie_below(replica);
        let mut moves = Vec::new();
        self.layers.change(replica, |entry| {
            moves = std::mem::take(&mut entry.moves);
            let gone = below || entry.gone;
            *entry = crate::layers::Entry::default();
            entry.gone = gone;
        });
        for moved in moves {
            tallies.push(Tally {
                segment: moved.new,
                held: Held::Listed,
                extents: -1,
                bytes: -i64::from(moved.held),
            });
        }
        if below {
            self.layers.dead_bytes += slot.bytes;
        }
    }

    /// Extents of the old segment that begin within the moved range now lie in `new`, or are gone when a plan left nothing of them.
    pub(crate) fn move_extents(
        &mut self,
        moved: &MovedExtent,
        new: u32,
        tallies: &mut Tallies,
    ) -> MovedExtents {
        let mut change = MovedExtents::default();
        let replica = moved.replica;
        let Some(slot) = self.get(replica).copied() else {
            return change;
        };
        self.move_below(moved, new, tallies, &mut change);
        let fits = |extent: &Extent| {
            extent.segment == moved.old && extent.base >= moved.base && extent.base < moved.end
        };
        if !self.upper_extents(replica).any(|extent| fits(&extent)) {
            return change;
        }
        self.change(replica);
        let (mut before_bytes, mut after_bytes) = (0_u64, 0_u64);
        let mut pass = |extent: Extent, held: Held| {
            if !fits(&extent) {
                return Some(extent);
            }
            tallies.push(Tally::fewer(&extent, held));
            before_bytes += u64::from(extent.bytes);
            if moved.bytes == Some(0) {
                change.removed.push((extent.base, extent.end));
                return None;
            }
            let bytes = moved.bytes.unwrap_or(extent.bytes).min(extent.bytes);
            let extent = Extent {
                segment: new,
                bytes,
                ..extent
            };
            after_bytes += u64::from(bytes);
            tallies.push(Tally::more(&extent, held));
            Some(extent)
        };
        let listed = self.listed(replica).into_iter();
        let passed = listed.filter_map(|extent| pass(extent, Held::Listed));
        let (all, joined) = join_in(new, passed);
        let newest = slot.newest().and_then(|newest| pass(newest, Held::Newest));
        tallies.extend((0..joined).map(|_| Tally {
            segment: new,
            held: Held::Listed,
            extents: -1,
            bytes: 0,
        }));
        self.put_listed(replica, all);
        if let Some(slot) = self.change(replica) {
            slot.bytes = slot.bytes - before_bytes + after_bytes;
            slot.set_newest(newest);
        }
        change
    }

    /// The part of a move that concerns lower layers: noted, and the new segment counts it as if it found something.
    fn move_below(
        &mut self,
        moved: &MovedExtent,
        new: u32,
        tallies: &mut Tallies,
        change: &mut MovedExtents,
    ) {
        let replica = moved.replica;
        let upper_base = self.upper_base(replica).unwrap_or(i64::MAX);
        if moved.base >= upper_base || !self.layers.may_lie_below(replica) {
            return;
        }
        if moved.bytes.is_some() {
            self.unsettle(replica);
        } else {
            self.change(replica);
        }
        let left = moved.bytes.unwrap_or(Move::WHOLE);
        let held = if left == 0 { 0 } else { moved.held.min(left) };
        let noted = Move {
            base: moved.base,
            end: moved.end,
            old: moved.old,
            new,
            bytes: left,
            held,
        };
        let clip = self.layers.change(replica, |entry| {
            entry.moves.push(noted);
            entry.clip
        });
        self.layers.dead_bytes += u64::from(moved.held);
        change.below_bytes = moved.held;
        if left == 0 {
            let end = moved.end.min(upper_base).min(clip);
            change.removed.push((moved.base, end));
        }
        tallies.push(Tally {
            segment: new,
            held: Held::Listed,
            extents: 1,
            bytes: i64::from(held),
        });
    }
}
