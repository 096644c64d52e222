//! Finds frames: extents say in which segment, the open index or the footer's pages say where in it. Pure look-up over the log's parts;
//! what is missing in memory is named, `read.rs` fetches it. Every frame of a region that is given out is verified here, its payload once for
//! as long as the region is in memory.

use crate::cache::{PageCache, TailCache};
use crate::footer::{IndexEntry, IndexPage, page_for};
use crate::layers::{Found, Missing};
use crate::layout::{FRAME_HEADER_BYTES, FrameHeader, verify_frame};
use crate::open_index::OpenIndex;
use crate::read::Wanted;
use crate::region::{RegionCache, RegionKey, Regions};
use crate::segments::SegmentTable;
use crate::slot::{Extent, SlotTable};
use crate::types::{Offset, ReadData, ReadRefusal, ReplicaId};
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What must be read before the look-up can go on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// A page of the base of older extents.
    Extents(Missing),
    Fences(u32),
    Page(u32, u32),
    Frame(u32, ReplicaId, IndexEntry),
}

/// What a look-up came to.
#[derive(Debug)]
pub(crate) enum Plan {
    Done(ReadData),
    Refuse(ReadRefusal),
    Need(Vec<Need>),
    /// A frame is not what the index says: it is to be marked, and the look-up done again.
    Damaged(u32, ReplicaId, IndexEntry),
    /// What was to be read ahead: the frames that are missing, where it ends, and how many payload bytes it has.
    Ahead(Vec<Need>, i64, usize),
}

/// What a waiting read fetched for itself.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub regions: Regions,
    pub pages: Vec<((u32, u32), Arc<IndexPage>)>,
    pub extent_pages: Vec<(Missing, Arc<IndexPage>)>,
}

impl Held {
    pub(crate) fn extent_page(&self, missing: Missing) -> Option<Arc<IndexPage>> {
        let mut pages = self.extent_pages.iter();
        let found = pages.find(|(known, _)| *known == missing);
        found.map(|(_, page)| Arc::clone(page))
    }
}

/// Extents looked at together: most reads need one.
const EXTENTS_AT_ONCE: usize = 2;
/// And where all of them are.
const EXTENTS_OF_ALL: usize = 256;

/// Few entries at a time, on the stack.
type Entries = SmallVec<[IndexEntry; 16]>;

pub(crate) struct Lookup<'a> {
    pub slots: &'a SlotTable,
    pub segments: &'a SegmentTable,
    pub open: &'a BTreeMap<u32, OpenIndex>,
    pub damage: &'a BTreeMap<(ReplicaId, i64), i64>,
    pub tail: &'a TailCache,
    pub regions: &'a mut RegionCache,
    pub pages: &'a mut PageCache,
    pub extent_pages: &'a mut PageCache,
    pub held: &'a Held,
}

/// State of a range while it is gathered.
struct Gathering {
    data: ReadData,
    needs: Vec<Need>,
    /// Payload bytes of all frames so far, present or not.
    bytes: usize,
    cursor: i64,
    /// What came of regions, in order.
    runs: SmallVec<[Run; 4]>,
    damaged: Option<(u32, ReplicaId, IndexEntry)>,
    /// Nothing is given out: it only matters what is missing.
    ahead: bool,
}

impl Gathering {
    fn new(cursor: i64, ahead: bool) -> Self {
        Self {
            data: ReadData::default(),
            needs: Vec::new(),
            bytes: 0,
            cursor,
            runs: SmallVec::new(),
            damaged: None,
            ahead,
        }
    }
}

/// Slices of one region that follow on each other.
struct Run {
    key: RegionKey,
    region_bytes: usize,
    used: usize,
    first_slice: usize,
}

/// An answer that uses less than this part of a region copies, instead of keeping all of the region in memory until it is sent. (At 8, all that
/// was read of 16 partitions that lie interleaved was copied once more, a quarter of what it cost beside the copy to the socket.)
const SHARED_PART_MIN: usize = 32;

/// Where a frame's payload is.
enum Payload {
    Tail(Bytes),
    Region {
        key: RegionKey,
        region_bytes: usize,
        payload: Bytes,
    },
    Missing,
    Damaged,
}

impl Lookup<'_> {
    pub(crate) fn plan(&mut self, wanted: &Wanted) -> Plan {
        match *wanted {
            Wanted::Range {
                replica,
                from,
                bound,
                bytes_max,
                at_least_one,
            } => self.plan_range(replica, from, bound, bytes_max, at_least_one, false),
            Wanted::Ahead {
                replica,
                from,
                bound,
                bytes_max,
            } => self.plan_range(replica, from, bound, bytes_max, false, true),
            Wanted::FirstTimestamp {
                replica,
                timestamp_ms,
            } => self.plan_timestamp(replica, timestamp_ms),
            Wanted::MaxTimestamp { replica } => self.plan_max_timestamp(replica),
        }
    }

    fn plan_range(
        &mut self,
        replica: ReplicaId,
        from: i64,
        bound: i64,
        bytes_max: usize,
        at_least_one: bool,
        ahead: bool,
    ) -> Plan {
        let slots = self.slots;
        let Some(slot) = slots.get(replica) else {
            return Plan::Refuse(ReadRefusal::UnknownReplica);
        };
        if from < slot.log_start {
            return Plan::Refuse(ReadRefusal::BelowLogStart);
        }
        if from > slot.log_end {
            return Plan::Refuse(ReadRefusal::AboveEnd);
        }
        let bound = bound.min(slot.log_end);
        let mut gathering = Gathering::new(from, ahead);
        let range = (bound, bytes_max, at_least_one);
        let mut next = from;
        'extents: loop {
            let extents = match self.extents_from(replica, next, EXTENTS_AT_ONCE) {
                Ok(extents) => extents,
                Err(missing) => {
                    // With something in hand, or on its way, the rest can wait.
                    if gathering.bytes == 0 {
                        gathering.needs.push(Need::Extents(missing));
                    }
                    break;
                }
            };
            let Some(last) = extents.last() else { break };
            next = last.end;
            for extent in &extents {
                if !self.gather_extent(&mut gathering, replica, extent, range) {
                    break 'extents;
                }
            }
        }
        self.range_result(gathering, replica, bound)
    }

    /// Takes an extent's frames in; `false` ends the range.
    fn gather_extent(
        &mut self,
        gathering: &mut Gathering,
        replica: ReplicaId,
        extent: &Extent,
        (bound, bytes_max, at_least_one): (i64, usize, bool),
    ) -> bool {
        if self.all_damaged(replica, extent, gathering.cursor) {
            return false;
        }
        loop {
            let entries = match self.entries_from(replica, extent, gathering.cursor) {
                Ok(entries) => entries,
                Err(need) => {
                    if gathering.bytes == 0 {
                        gathering.needs.push(need);
                    }
                    return false;
                }
            };
            if entries.is_empty() {
                return true;
            }
            for entry in &entries {
                if !self.gather(
                    gathering,
                    replica,
                    extent,
                    entry,
                    bound,
                    bytes_max,
                    at_least_one,
                ) {
                    return false;
                }
            }
        }
    }

    /// Some extents of a replica from the first that ends past `from`.
    fn extents_from(
        &mut self,
        replica: ReplicaId,
        from: i64,
        count: usize,
    ) -> Result<Found, Missing> {
        let (held, cache) = (self.held, &mut *self.extent_pages);
        self.slots.extents_from(replica, from, count, &mut |page| {
            held.extent_page(page)
                .or_else(|| cache.get(page.number, page.page))
        })
    }

    fn range_result(&mut self, mut gathering: Gathering, replica: ReplicaId, bound: i64) -> Plan {
        if let Some((file, replica, entry)) = gathering.damaged {
            return Plan::Damaged(file, replica, entry);
        }
        if gathering.ahead {
            let page = gathering
                .needs
                .iter()
                .any(|need| !matches!(need, Need::Frame(..)));
            return match page {
                true => Plan::Need(gathering.needs),
                false => Plan::Ahead(gathering.needs, gathering.cursor, gathering.bytes),
            };
        }
        if !gathering.needs.is_empty() {
            return Plan::Need(gathering.needs);
        }
        if gathering.data.slices.is_empty() {
            return match self.damage_within(replica, gathering.cursor, bound) {
                Some((first, last)) => Plan::Refuse(ReadRefusal::Damaged {
                    first: Offset(first),
                    last: Offset(last),
                }),
                None => Plan::Refuse(ReadRefusal::Empty),
            };
        }
        self.settle_runs(&mut gathering);
        Plan::Done(gathering.data)
    }

    /// Tells the cache what was given out of which region; of regions that it would keep in memory for little, it becomes a copy.
    fn settle_runs(&mut self, gathering: &mut Gathering) {
        let slices = &mut gathering.data.slices;
        let mut end = slices.len();
        for run in gathering.runs.iter().rev() {
            self.regions.given(run.key, run.used);
            if run.used * SHARED_PART_MIN < run.region_bytes {
                copy_run(&mut slices[run.first_slice..end], run.used);
            }
            end = run.first_slice;
        }
    }

    /// Takes one frame in; `false` ends the range.
    #[allow(clippy::too_many_arguments)]
    fn gather(
        &mut self,
        gathering: &mut Gathering,
        replica: ReplicaId,
        extent: &Extent,
        entry: &IndexEntry,
        bound: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> bool {
        // A hole with damage in it is not jumped over.
        if entry.last >= bound
            || self
                .damage_within(replica, gathering.cursor, entry.last + 1)
                .is_some()
        {
            return false;
        }
        let payload_bytes = entry.payload_bytes as usize;
        let first = gathering.bytes == 0;
        if gathering.bytes + payload_bytes > bytes_max && !(first && at_least_one) {
            return false;
        }
        // What is looked up again when the missing frames have come is verified then.
        let only_present = gathering.ahead || !gathering.needs.is_empty();
        match self.payload(extent.segment, replica, entry, only_present) {
            Payload::Missing => gathering
                .needs
                .push(Need::Frame(extent.segment, replica, *entry)),
            Payload::Damaged => {
                gathering.damaged = Some((extent.segment, replica, *entry));
                return false;
            }
            _ if only_present => {}
            Payload::Tail(payload) => take(gathering, entry, payload),
            Payload::Region {
                key,
                region_bytes,
                payload,
            } => {
                let first_slice = gathering.data.slices.len();
                match gathering.runs.last_mut().filter(|run| run.key == key) {
                    Some(run) => run.used += payload_bytes,
                    None => gathering.runs.push(Run {
                        key,
                        region_bytes,
                        used: payload_bytes,
                        first_slice,
                    }),
                }
                take(gathering, entry, payload);
            }
        }
        gathering.bytes += payload_bytes;
        gathering.cursor = entry.last + 1;
        true
    }

    fn plan_timestamp(&mut self, replica: ReplicaId, timestamp_ms: i64) -> Plan {
        self.plan_first(
            replica,
            |extent| extent.max_timestamp >= timestamp_ms,
            |entry| entry.max_timestamp >= timestamp_ms,
        )
    }

    fn plan_max_timestamp(&mut self, replica: ReplicaId) -> Plan {
        let mut most = None;
        let mut next = self.slots.get(replica).map_or(0, |slot| slot.log_start);
        loop {
            let extents = match self.extents_from(replica, next, EXTENTS_OF_ALL) {
                Ok(extents) => extents,
                Err(missing) => return Plan::Need(vec![Need::Extents(missing)]),
            };
            let Some(last) = extents.last() else { break };
            next = last.end;
            most = most.max(extents.iter().map(|extent| extent.max_timestamp).max());
        }
        let Some(most) = most else {
            return Plan::Refuse(ReadRefusal::Empty);
        };
        let found = self.plan_first(
            replica,
            |extent| extent.max_timestamp >= most,
            |entry| entry.max_timestamp >= most,
        );
        if !matches!(found, Plan::Refuse(ReadRefusal::Empty)) {
            return found;
        }
        // A truncation cut the frame off that the extent's mark came from: look at all of them.
        let mut best = i64::MIN;
        let searched = self.plan_first(
            replica,
            |_| true,
            |entry| {
                best = best.max(entry.max_timestamp);
                false
            },
        );
        if matches!(searched, Plan::Need(_)) || best == i64::MIN {
            return searched;
        }
        self.plan_first(replica, |_| true, |entry| entry.max_timestamp >= best)
    }

    /// The first live frame that passes, in the extents that pass.
    fn plan_first(
        &mut self,
        replica: ReplicaId,
        extent_passes: impl Fn(&Extent) -> bool,
        mut entry_passes: impl FnMut(&IndexEntry) -> bool,
    ) -> Plan {
        let slots = self.slots;
        let Some(slot) = slots.get(replica) else {
            return Plan::Refuse(ReadRefusal::UnknownReplica);
        };
        let log_start = slot.log_start;
        let mut next = log_start;
        loop {
            let extents = match self.extents_from(replica, next, EXTENTS_OF_ALL) {
                Ok(extents) => extents,
                Err(missing) => return Plan::Need(vec![Need::Extents(missing)]),
            };
            let Some(last) = extents.last() else {
                return Plan::Refuse(ReadRefusal::Empty);
            };
            next = last.end;
            for extent in extents.iter().filter(|extent| extent_passes(extent)) {
                let found = self.first_of_extent(replica, extent, log_start, &mut entry_passes);
                if let Some(plan) = found {
                    return plan;
                }
            }
        }
    }

    /// The first frame of an extent that passes; `None`: none does.
    fn first_of_extent(
        &mut self,
        replica: ReplicaId,
        extent: &Extent,
        log_start: i64,
        entry_passes: &mut dyn FnMut(&IndexEntry) -> bool,
    ) -> Option<Plan> {
        let mut cursor = log_start.max(extent.base);
        if self.all_damaged(replica, extent, cursor)
            && let Some((first, last)) = self.damage_within(replica, cursor, extent.end)
        {
            return Some(Plan::Refuse(ReadRefusal::Damaged {
                first: Offset(first),
                last: Offset(last),
            }));
        }
        loop {
            let entries = match self.entries_from(replica, extent, cursor) {
                Ok(entries) => entries,
                Err(need) => return Some(Plan::Need(vec![need])),
            };
            cursor = entries.last()?.last + 1;
            if let Some(entry) = entries.iter().find(|entry| entry_passes(entry)) {
                return Some(self.one_frame(replica, extent.segment, entry));
            }
        }
    }

    fn one_frame(&mut self, replica: ReplicaId, file: u32, entry: &IndexEntry) -> Plan {
        if let Some((first, last)) = self.damage_within(replica, entry.base, entry.last + 1) {
            return Plan::Refuse(ReadRefusal::Damaged {
                first: Offset(first),
                last: Offset(last),
            });
        }
        let payload = match self.payload(file, replica, entry, false) {
            Payload::Tail(payload) | Payload::Region { payload, .. } => payload,
            Payload::Missing => return Plan::Need(vec![Need::Frame(file, replica, *entry)]),
            Payload::Damaged => return Plan::Damaged(file, replica, *entry),
        };
        Plan::Done(ReadData {
            bytes: payload.len(),
            slices: SmallVec::from_iter([payload]),
            first_offset: Offset(entry.base),
            next_offset: Offset(entry.last + 1),
        })
    }

    /// Nothing of the extent from `from` on is readable: its index, or all of it, is gone. Then the index is not asked for.
    fn all_damaged(&self, replica: ReplicaId, extent: &Extent, from: i64) -> bool {
        let from = from.max(extent.base);
        self.damage_within(replica, from, extent.end)
            .is_some_and(|(first, last)| first <= from && last >= extent.end - 1)
    }

    /// The first damaged range that touches `[from, to)`.
    fn damage_within(&self, replica: ReplicaId, from: i64, to: i64) -> Option<(i64, i64)> {
        if self.damage.is_empty() || from >= to {
            return None;
        }
        if let Some((&(_, first), &last)) = self
            .damage
            .range((replica, i64::MIN)..=(replica, from))
            .next_back()
            && last >= from
        {
            return Some((first, last));
        }
        let (&(_, first), &last) = self.damage.range((replica, from)..(replica, to)).next()?;
        Some((first, last))
    }

    /// The next frames of a replica in an extent, from the one that ends at or past `from`; empty when the extent has no more.
    fn entries_from(
        &mut self,
        replica: ReplicaId,
        extent: &Extent,
        from: i64,
    ) -> Result<Entries, Need> {
        let live = |entry: &IndexEntry| {
            entry.last >= from && entry.base >= extent.base && entry.last < extent.end
        };
        if let Some(open) = self.open.get(&extent.segment) {
            let frames = open.frames(replica);
            let first = frames.partition_point(|entry| entry.last < from);
            return Ok(frames[first..]
                .iter()
                .filter(|entry| live(entry))
                .take(16)
                .copied()
                .collect());
        }
        let Some(segment) = self.segments.get(extent.segment) else {
            return Ok(Entries::new());
        };
        if segment.index_pages == 0 {
            return Ok(Entries::new());
        }
        let fences = segment
            .fences
            .as_ref()
            .ok_or(Need::Fences(extent.segment))?;
        let mut page = page_for(fences, replica, from.max(extent.base));
        while page < fences.len() && fences[page].replica <= replica {
            let entries = self
                .page(extent.segment, page as u32)
                .ok_or(Need::Page(extent.segment, page as u32))?;
            let first =
                entries.partition_point(|(owner, entry)| (*owner, entry.last) < (replica, from));
            let found: Entries = entries[first..]
                .iter()
                .take_while(|(owner, _)| *owner == replica)
                .map(|(_, entry)| *entry)
                .filter(|entry| live(entry))
                .take(16)
                .collect();
            if !found.is_empty() {
                return Ok(found);
            }
            page += 1;
        }
        Ok(Entries::new())
    }

    fn page(&mut self, file: u32, page: u32) -> Option<Arc<IndexPage>> {
        if let Some((_, entries)) = self.held.pages.iter().find(|(key, _)| *key == (file, page)) {
            return Some(Arc::clone(entries));
        }
        if let Some(entries) = self.pages.get(file, page) {
            return Some(entries);
        }
        let segment = self.segments.get(file)?;
        self.pages.page_of_footer(
            file,
            page,
            segment.nonce,
            u64::from(segment.footer_position),
        )
    }

    /// A frame's payload, verified when it comes from disk; with `only_present` not verified, and for no other use than to know that it is here.
    fn payload(
        &mut self,
        file: u32,
        replica: ReplicaId,
        entry: &IndexEntry,
        only_present: bool,
    ) -> Payload {
        let position = entry.position + FRAME_HEADER_BYTES as u32;
        let payload_bytes = entry.payload_bytes as usize;
        if let Some(payload) = self.tail.slice(file, position, payload_bytes) {
            return Payload::Tail(payload);
        }
        let Some(segment) = self.segments.get(file) else {
            return Payload::Missing;
        };
        let (nonce, bytes) = (segment.nonce, entry.frame_bytes());
        let held = self.held.regions.find(file, nonce, entry.position, bytes);
        let found = held.or_else(|| self.regions.find(file, nonce, entry.position, bytes));
        let Some(found) = found else {
            return Payload::Missing;
        };
        if !only_present {
            let known = self.regions.is_sound(found.key, entry.position);
            let sound = match known {
                true => sound_header(nonce, replica, entry, &found.frame),
                false => sound_payload(nonce, replica, entry, &found.frame),
            };
            if sound.is_none() {
                return Payload::Damaged;
            }
            if !known {
                self.regions.note_sound(found.key, entry.position);
            }
        }
        Payload::Region {
            key: found.key,
            region_bytes: found.region_bytes,
            payload: found.frame.slice(FRAME_HEADER_BYTES..),
        }
    }
}

fn take(gathering: &mut Gathering, entry: &IndexEntry, payload: Bytes) {
    let data = &mut gathering.data;
    if data.slices.is_empty() {
        data.first_offset = Offset(entry.base);
    }
    data.next_offset = Offset(entry.last + 1);
    data.bytes += payload.len();
    data.slices.push(payload);
}

/// Puts copies in the place of slices, all in one piece of memory of `bytes`.
fn copy_run(slices: &mut [Bytes], bytes: usize) {
    let mut copy = Vec::with_capacity(bytes);
    for slice in slices.iter() {
        copy.extend_from_slice(slice);
    }
    let copy = Bytes::from(copy);
    let mut at = 0;
    for slice in slices {
        let end = at + slice.len();
        *slice = copy.slice(at..end);
        at = end;
    }
}

/// Whether these bytes are the frame that the index says.
pub(crate) fn sound_payload(
    nonce: u64,
    replica: ReplicaId,
    entry: &IndexEntry,
    bytes: &[u8],
) -> Option<()> {
    let bytes = bytes.get(..entry.frame_bytes())?;
    let header = verify_frame(nonce, u64::from(entry.position), bytes)?;
    is_of(&header, replica, entry)
}

/// The same for bytes whose payload is known to be sound.
fn sound_header(nonce: u64, replica: ReplicaId, entry: &IndexEntry, bytes: &[u8]) -> Option<()> {
    let header = FrameHeader::decode(nonce, u64::from(entry.position), bytes)?;
    is_of(&header, replica, entry)
}

fn is_of(header: &FrameHeader, replica: ReplicaId, entry: &IndexEntry) -> Option<()> {
    let same = header.meta.replica == replica
        && header.meta.base_offset.0 == entry.base
        && header.meta.last_offset.0 == entry.last
        && header.payload_bytes == entry.payload_bytes;
    same.then_some(())
}
