//! How many bytes a replica has, counted anew where extents went that lay below the uppermost layer (`layers.rs`): it is not known how large
//! they were until their pages are read. One replica at a time, in the background; until then its bytes are too high.

use crate::fetch::Fetcher;
use crate::io::Output;
use crate::log::Log;
use crate::slot::FLAG_UNSETTLED;
use crate::types::{Now, ReplicaId};

/// Extents looked at in a step.
const EXTENTS_PER_STEP: usize = 1_024;
/// Steps at once, while no page is missing.
const STEPS_MAX: usize = 16;

/// A replica that is being counted.
#[derive(Debug)]
struct Count {
    replica: ReplicaId,
    cursor: i64,
    bytes: u64,
    generation: u64,
}

/// Where it stands.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    count: Option<Count>,
}

impl Log {
    pub(crate) fn proceed_survey(&mut self, _now: Now, out: &mut Vec<Output>) {
        for _ in 0..STEPS_MAX {
            if self.shutting_down || self.fetches.at_hand(Fetcher::Survey).waits {
                return;
            }
            let generation = self.slots.layers.generation;
            let Some(mut count) = self.survey.count.take().or_else(|| {
                let replica = self.slots.unsettled.pop_first()?;
                Some(Count {
                    replica,
                    cursor: i64::MIN,
                    bytes: 0,
                    generation,
                })
            }) else {
                return;
            };
            let lost = std::mem::take(&mut self.fetches.at_hand_mut(Fetcher::Survey).failed);
            let settled = self
                .slots
                .get(count.replica)
                .is_none_or(|slot| !slot.is_unsettled());
            if lost || settled {
                continue;
            }
            if count.generation != generation || self.slots.unsettled.contains(&count.replica) {
                self.slots.unsettled.insert(count.replica);
                continue;
            }
            let at_hand = self.fetches.at_hand(Fetcher::Survey);
            let cache = &mut self.extent_pages;
            let found = self.slots.layers.find_lower(
                count.replica,
                count.cursor,
                EXTENTS_PER_STEP,
                &mut |missing| {
                    at_hand
                        .get(missing)
                        .or_else(|| cache.get(missing.number, missing.page))
                },
            );
            match found {
                Ok(extents) => match extents.last() {
                    Some(last) => {
                        count.cursor = last.end;
                        let bytes = extents.iter().map(|extent| u64::from(extent.bytes));
                        count.bytes += bytes.sum::<u64>();
                        self.survey.count = Some(count);
                    }
                    None => self.settle_bytes(&count),
                },
                Err(missing) => {
                    self.survey.count = Some(count);
                    self.fetch_page(Fetcher::Survey, missing, out);
                    return;
                }
            }
        }
    }

    fn settle_bytes(&mut self, count: &Count) {
        let upper = self.slots.upper_extents(count.replica);
        let upper: u64 = upper.map(|extent| u64::from(extent.bytes)).sum();
        if let Some(slot) = self.slots.change(count.replica) {
            let bytes = count.bytes + upper;
            let gone = slot.bytes.saturating_sub(bytes);
            slot.bytes = bytes;
            slot.flags &= !FLAG_UNSETTLED;
            self.slots.layers.dead_bytes += gone;
        }
    }
}
