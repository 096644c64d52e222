//! The audit of what is counted twice: segments count the extents that `slot.rs` holds, so that one is known to be dead without a walk over
//! all replicas. A count too low would free a segment under live extents. For tests and debug builds: it walks everything.

use crate::footer::IndexPage;
use crate::index_file::read_page;
use crate::io::Disk;
use crate::layers::{Found, Missing, extent_of, shares_of};
use crate::log::Log;
use crate::segments::{SegmentState, Share};
use crate::slot::Extent;
use crate::types::ReplicaId;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Log {
    /// Compares every segment's count of extents and bytes, layer by layer, with what the layers hold (of the base, when its file can be
    /// read; the count is not below what it has), and every settled replica's bytes with the sum of its extents; no segment that a live extent
    /// lies in may be free or on its way there, and frames of the open indexes within a replica's offsets must lie in one of its extents.
    ///
    /// # Errors
    /// Every difference, one a line.
    pub fn check_accounts(&self, disk: &mut dyn Disk) -> Result<(), String> {
        let mut wrong = Vec::new();
        let pages = self.base_pages(disk, &mut wrong);
        let mut newest: BTreeMap<u32, Share> = BTreeMap::new();
        let mut held: BTreeMap<u32, u32> = BTreeMap::new();
        for (replica, slot) in self.slots.iter() {
            if let Some(extent) = slot.newest() {
                newest
                    .entry(extent.segment)
                    .or_default()
                    .add_extent(&extent);
            }
            let all = self.all_extents(replica, &pages);
            let bytes: u64 = all.iter().map(|extent| u64::from(extent.bytes)).sum();
            if bytes != slot.bytes && !slot.is_unsettled() {
                let known = slot.bytes;
                wrong.push(format!(
                    "replica {replica} has {bytes} bytes and counts {known}"
                ));
            }
            for extent in all {
                *held.entry(extent.segment).or_default() += 1;
            }
            self.check_open_indexes(replica, &pages, &mut wrong);
        }
        self.check_segments(&newest, held, &pages, &mut wrong);
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("\n"))
        }
    }

    fn base_pages(
        &self,
        disk: &mut dyn Disk,
        wrong: &mut Vec<String>,
    ) -> BTreeMap<u32, Arc<IndexPage>> {
        let mut pages = BTreeMap::new();
        let base = &self.slots.layers.base;
        for page in 0..base.pages() {
            let missing = Missing {
                number: base.number,
                page,
            };
            match read_page(disk, base, missing) {
                Some(entries) => _ = pages.insert(page, Arc::new(entries)),
                None => wrong.push(format!("page {page} of the base cannot be read")),
            }
        }
        pages
    }

    fn check_segments(
        &self,
        newest: &BTreeMap<u32, Share>,
        mut held: BTreeMap<u32, u32>,
        pages: &BTreeMap<u32, Arc<IndexPage>>,
        wrong: &mut Vec<String>,
    ) {
        let layers = &self.slots.layers;
        let listed = layers.upper_shares();
        let frozen = layers.frozen.as_ref().map(shares_of).unwrap_or_default();
        let mut based: BTreeMap<u32, Share> = BTreeMap::new();
        for (_, entry) in pages.values().flat_map(|page| page.iter()) {
            let extent = extent_of(entry);
            based.entry(extent.segment).or_default().add_extent(&extent);
        }
        for (file, segment) in self.segments.iter() {
            let of = |shares: &BTreeMap<u32, Share>| shares.get(&file).copied().unwrap_or_default();
            let found = [of(newest), of(&listed), of(&frozen), of(&based)];
            let known = [segment.newest, segment.listed, segment.frozen, segment.base];
            let state = segment.state;
            if found != known {
                wrong.push(format!(
                    "segment {file} ({state:?}): the layers hold {found:?}, it counts {known:?}"
                ));
            }
            let may_hold = matches!(
                state,
                SegmentState::Active | SegmentState::Sealing | SegmentState::Sealed
            );
            let live = held.remove(&file).unwrap_or(0);
            if live > 0 && !may_hold {
                wrong.push(format!("segment {file} is {state:?} under {live} extents"));
            }
        }
        for (file, live) in held {
            wrong.push(format!("segment {file} is unknown and has {live} extents"));
        }
    }

    fn all_extents(&self, replica: ReplicaId, pages: &BTreeMap<u32, Arc<IndexPage>>) -> Found {
        let mut source = |missing: Missing| pages.get(&missing.page).cloned();
        let all = self
            .slots
            .extents_from(replica, i64::MIN, usize::MAX, &mut source);
        all.unwrap_or_default()
    }

    fn check_open_indexes(
        &self,
        replica: ReplicaId,
        pages: &BTreeMap<u32, Arc<IndexPage>>,
        wrong: &mut Vec<String>,
    ) {
        let Some(slot) = self.slots.get(replica) else {
            return;
        };
        let all = self.all_extents(replica, pages);
        for (file, open) in &self.open {
            for frame in open.frames(replica) {
                let within = frame.last >= slot.log_start && frame.last < slot.log_end;
                // Perhaps in another segment: replay moves extents out of segments that it still gives a footer.
                let holds = |extent: &Extent| extent.base <= frame.base && frame.last < extent.end;
                if within && !all.iter().any(holds) {
                    wrong.push(format!(
                        "segment {file}: no extent of replica {replica} holds its frame {}..={}",
                        frame.base, frame.last
                    ));
                }
            }
        }
    }
}
