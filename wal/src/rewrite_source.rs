//! Where a rewrite's frames come from, extent by extent in the order of (replica, offset): the footers of the old segments merged, a few pages
//! of each in memory at a time; or, for a plan, the extents of the replicas it names. Nothing here waits: what is missing is named, and
//! `rewrite.rs` reads it.

use crate::fetch::Fetcher;
use crate::footer::{IndexEntry, IndexPage, page_for};
use crate::layers::Missing;
use crate::layout::frame_bytes;
use crate::log::Log;
use crate::segments::SegmentState;
use crate::slot::Extent;
use crate::types::ReplicaId;
use std::collections::{BTreeSet, VecDeque};

/// Index pages of one old segment read at a time.
pub(crate) const PAGES_PER_READ: u32 = 16;

/// One extent and its frames.
#[derive(Debug)]
pub(crate) struct Unit {
    pub replica: ReplicaId,
    pub extent: Extent,
    pub entries: VecDeque<IndexEntry>,
    /// Bytes its frames take.
    pub bytes: usize,
}

impl Unit {
    fn new(replica: ReplicaId, extent: Extent) -> Self {
        Self {
            replica,
            extent,
            entries: VecDeque::new(),
            bytes: 0,
        }
    }

    fn push(&mut self, entry: IndexEntry) {
        if entry.base >= self.extent.base && entry.last < self.extent.end {
            self.bytes += frame_bytes(entry.payload_bytes as usize);
            self.entries.push_back(entry);
        }
    }
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    Unit(Unit),
    /// These index pages of a segment must be read first, and handed to `take_pages`.
    Pages {
        file: u32,
        first: u32,
        count: u32,
    },
    /// A page of the base of older extents must be fetched first.
    Extents(Missing),
    /// A segment's fence keys must be read first.
    Fences {
        file: u32,
    },
    End,
}

/// An old segment, read from its footer's front to its end.
#[derive(Debug)]
struct Input {
    file: u32,
    index_pages: u32,
    next_page: u32,
    entries: VecDeque<(ReplicaId, IndexEntry)>,
}

/// The old segments, merged.
#[derive(Debug)]
pub(crate) struct Merge {
    inputs: Vec<Input>,
    /// Replicas up to this one have nothing more to give.
    done_through: Option<ReplicaId>,
    /// An extent whose frames are still gathered, and its input.
    partial: Option<(Unit, usize)>,
}

/// The replicas of a plan, one after the other.
#[derive(Debug)]
pub(crate) struct PlanWalk {
    /// Extents that end at or below the offset.
    replicas: VecDeque<(ReplicaId, i64)>,
    cursor: i64,
    /// An extent whose frames are still gathered, and the page to go on with.
    partial: Option<(Unit, Option<u32>)>,
}

/// Either.
#[derive(Debug)]
pub(crate) enum Walk {
    Segments(Merge),
    Plan(PlanWalk),
}

impl Walk {
    /// Index pages that `Next::Pages` asked for.
    pub(crate) fn take_pages(&mut self, file: u32, first: u32, pages: Vec<IndexPage>) {
        match self {
            Self::Segments(merge) => {
                if let Some(input) = merge.inputs.iter_mut().find(|input| input.file == file) {
                    input.next_page = first + pages.len() as u32;
                    input.entries.extend(pages.into_iter().flatten());
                }
            }
            Self::Plan(walk) => {
                let Some((unit, next)) = &mut walk.partial else {
                    return;
                };
                let mut on = true;
                let count = pages.len() as u32;
                for (replica, entry) in pages.into_iter().flatten() {
                    if replica == unit.replica {
                        unit.push(entry);
                    }
                    on = (replica, entry.base) < (unit.replica, unit.extent.end);
                }
                *next = on.then_some(first + count);
            }
        }
    }

    /// Segments it reads from the beginning.
    pub(crate) fn files(&self) -> BTreeSet<u32> {
        match self {
            Self::Segments(merge) => merge.inputs.iter().map(|input| input.file).collect(),
            Self::Plan(_) => BTreeSet::new(),
        }
    }
}

impl PlanWalk {
    /// Replicas with the offset that their frames must end below, in the order of their ids.
    pub(crate) fn new(mut replicas: Vec<(ReplicaId, i64)>) -> Self {
        replicas.sort_unstable();
        replicas.dedup_by_key(|(replica, _)| *replica);
        Self {
            replicas: replicas.into(),
            cursor: i64::MIN,
            partial: None,
        }
    }
}

impl Log {
    /// A walk over everything live in these segments.
    pub(crate) fn merge_of(&self, files: &[u32]) -> Merge {
        let input = |file: &u32| Input {
            file: *file,
            index_pages: self
                .segments
                .get(*file)
                .map_or(0, |segment| segment.index_pages),
            next_page: 0,
            entries: VecDeque::new(),
        };
        Merge {
            inputs: files.iter().map(input).collect(),
            done_through: None,
            partial: None,
        }
    }

    /// The next extent of a walk with its frames, as the table has it now.
    pub(crate) fn next_unit(&mut self, walk: &mut Walk) -> Next {
        match walk {
            Walk::Segments(merge) => self.next_of_merge(merge),
            Walk::Plan(plan) => self.next_of_plan(plan),
        }
    }

    fn next_of_merge(&mut self, merge: &mut Merge) -> Next {
        loop {
            for input in &mut merge.inputs {
                while let Some((replica, _)) = input.entries.front()
                    && Some(*replica) <= merge.done_through
                {
                    input.entries.pop_front();
                }
            }
            if let Some((unit, at)) = &mut merge.partial {
                merge.inputs[*at].give(unit);
            }
            let dry =
                |input: &&Input| input.entries.is_empty() && input.next_page < input.index_pages;
            if let Some(input) = merge.inputs.iter().find(dry) {
                return Next::Pages {
                    file: input.file,
                    first: input.next_page,
                    count: PAGES_PER_READ.min(input.index_pages - input.next_page),
                };
            }
            if let Some((unit, _)) = merge.partial.take()
                && !unit.entries.is_empty()
            {
                return Next::Unit(unit);
            }
            // The first frame that is left: its extent, if it still lies here, comes next.
            let heads = merge.inputs.iter().enumerate();
            let heads = heads.filter_map(|(at, input)| Some((at, *input.entries.front()?)));
            let Some((at, (replica, entry))) =
                heads.min_by_key(|(_, (replica, entry))| (*replica, entry.base))
            else {
                return Next::End;
            };
            let Some(log_start) = self.slots.get(replica).map(|slot| slot.log_start) else {
                merge.done_through = Some(replica);
                continue;
            };
            let found = if entry.last < log_start {
                None
            } else {
                match self.extent_past(Fetcher::Rewrite, replica, entry.last) {
                    Ok(found) => found,
                    Err(missing) => return Next::Extents(missing),
                }
            };
            let here = found.filter(|extent| {
                extent.segment == merge.inputs[at].file && extent.base <= entry.base
            });
            match here {
                Some(extent) => merge.partial = Some((Unit::new(replica, extent), at)),
                None => _ = merge.inputs[at].entries.pop_front(),
            }
        }
    }

    fn next_of_plan(&mut self, walk: &mut PlanWalk) -> Next {
        loop {
            if let Some((unit, next)) = walk.partial.take() {
                let segment = self.segments.get(unit.extent.segment);
                let pages = segment.map_or(0, |segment| segment.index_pages);
                let Some(page) = next.filter(|page| *page < pages) else {
                    walk.cursor = unit.extent.end;
                    return Next::Unit(unit);
                };
                let (file, key) = (unit.extent.segment, (unit.replica, unit.extent.base));
                // The first page is found by the fence keys.
                let first = match segment.and_then(|segment| segment.fences.as_ref()) {
                    None => {
                        walk.partial = Some((unit, Some(page)));
                        return Next::Fences { file };
                    }
                    Some(fences) => page.max(page_for(fences, key.0, key.1) as u32),
                };
                walk.partial = Some((unit, Some(first)));
                return Next::Pages {
                    file,
                    first,
                    count: 1,
                };
            }
            let Some(&(replica, to)) = walk.replicas.front() else {
                return Next::End;
            };
            let bound = self.slots.get(replica).map_or(i64::MIN, |slot| {
                to.min(slot.high_watermark).min(slot.durable_end)
            });
            let next = match self.extent_past(Fetcher::Rewrite, replica, walk.cursor) {
                Ok(next) => next.filter(|extent| extent.end <= bound),
                Err(missing) => return Next::Extents(missing),
            };
            let Some(extent) = next else {
                walk.replicas.pop_front();
                walk.cursor = i64::MIN;
                continue;
            };
            let segment = self.segments.get(extent.segment);
            if segment.is_some_and(|segment| segment.state == SegmentState::Sealed) {
                walk.partial = Some((Unit::new(replica, extent), Some(0)));
            } else {
                walk.cursor = extent.end;
            }
        }
    }
}

impl Input {
    /// Gives the unit what it has of it.
    fn give(&mut self, unit: &mut Unit) {
        while let Some((replica, entry)) = self.entries.front()
            && *replica == unit.replica
            && entry.base < unit.extent.end
        {
            unit.push(*entry);
            self.entries.pop_front();
        }
    }
}
