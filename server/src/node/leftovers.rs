//! What is over and takes long to free: it goes to the background thread, so that no request waits for it (M6).

use super::Core;
use crate::machine::{BackgroundWork, MachineAction};
use odradek_raft::image::MetadataImage;
use std::sync::Arc;

/// Marks tokens of background work that nobody waits for.
pub const BACKGROUND_TOKEN: u64 = 1 << 62;
/// Images of fewer topics are freed where they end.
const TOPICS_MIN: usize = 10_000;
/// So many may wait for the background thread, which may have a snapshot to encode; the next ends where it is.
const WAITING_MAX: usize = 4;

/// What was given away and is not known to be gone.
#[derive(Default)]
pub struct Leftovers {
    waiting: usize,
}

impl Core {
    /// Serves from `image` from now on. What only the one before holds is freed.
    pub(crate) fn replace_image(&mut self, image: Arc<MetadataImage>) {
        let before = std::mem::replace(&mut self.image, image);
        if before.topics.len() < TOPICS_MIN || self.leftovers.waiting >= WAITING_MAX {
            return;
        }
        self.leftovers.waiting += 1;
        self.out.push(MachineAction::Background {
            token: BACKGROUND_TOKEN,
            work: BackgroundWork::Compute(Box::new(move || {
                drop(before);
                Box::new(())
            })),
        });
    }

    /// Something is over that took much more than stays, a start or a snapshot: the rest goes back to the system.
    pub(crate) fn give_back_memory(&mut self) {
        self.leftovers.waiting += 1;
        self.out.push(MachineAction::Background {
            token: BACKGROUND_TOKEN,
            work: BackgroundWork::GiveBackMemory,
        });
    }

    pub(super) fn leftover_gone(&mut self) {
        self.leftovers.waiting = self.leftovers.waiting.saturating_sub(1);
    }
}
