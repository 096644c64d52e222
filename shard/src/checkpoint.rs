//! Producer state for a log's checkpoints: the cold pages of partitions whose producers changed, handed over in slices, so that
//! no step of the loop waits for all of them. What a page says stands in `producers`; how it comes back, in `recovery`.

use crate::directory::Directory;
use crate::shard::Shard;

/// A slice ends after so many pages, or so many producers in them: some 300 µs of work. One page is never parted.
const SLICE_PAGES_MAX: usize = 256;
const SLICE_PRODUCERS_MAX: usize = 2_048;

/// Partitions whose pages are still to be handed to the checkpoint under way.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    slots: Vec<u32>,
    under_way: bool,
}

impl Directory {
    pub(crate) fn gathers(&self) -> bool {
        self.gathering.under_way
    }

    /// The checkpoint goes without its pages: the directory is out of use.
    pub(crate) fn stop_gathering(&mut self) {
        self.gathering = Gathering::default();
    }
}

impl Shard {
    /// Begins a checkpoint with the first slice of pages.
    pub(crate) fn checkpoint(&mut self, directory: usize) {
        self.gather_all(directory);
        let now = self.now;
        let of = &mut self.directories[directory];
        of.gathering = Gathering {
            slots: std::mem::take(&mut of.changed),
            under_way: true,
        };
        of.call(|log, outputs| log.begin_checkpoint_in_parts(now, outputs));
        self.gather_slice(directory);
    }

    /// The rest of the pages at once: the log is about to close, or to begin another checkpoint.
    pub(crate) fn gather_all(&mut self, directory: usize) {
        while self.directories[directory].gathers() {
            self.gather_slice(directory);
        }
    }

    /// Hands over one slice, where a checkpoint waits for it.
    pub(crate) fn gather_slice(&mut self, directory: usize) {
        if !self.directories[directory].gathers() {
            return;
        }
        let mut pages = self.directories[directory]
            .recovered
            .unclaimed_pages(SLICE_PAGES_MAX);
        let mut producers = 0;
        while pages.len() < SLICE_PAGES_MAX && producers < SLICE_PRODUCERS_MAX {
            let Some(slot) = self.directories[directory].gathering.slots.pop() else {
                break;
            };
            let Some(partition) = self.partitions.get_mut(slot as usize) else {
                continue;
            };
            let here = usize::from(partition.directory) == directory && partition.producers_changed;
            if here {
                partition.producers_changed = false;
                let known = partition.producers.as_deref();
                producers += known.map_or(0, |known| known.len());
                let page = known.map_or_else(Vec::new, |known| known.to_cold_page());
                pages.push((partition.replica, page));
            }
        }
        let now = self.now;
        let of = &mut self.directories[directory];
        let more = !of.gathering.slots.is_empty() || of.recovered.has_unclaimed_pages();
        of.gathering.under_way = more;
        of.call(|log, outputs| log.checkpoint_pages(now, pages, more, outputs));
    }
}
