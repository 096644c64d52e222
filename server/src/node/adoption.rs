//! Before the loop runs: what a snapshot of the metadata names is taken up by the shards that recovered its replicas, piece by piece while the
//! rest of it is still being read. What they could not take up, and what changed since, comes with the first images (`placement.rs`).

use super::OwnedShard;
use super::options::NodeOptions;
use super::placement::{CoreFacts, TopicConfigs};
use odradek_raft::configs::ConfigMap;
use odradek_raft::image::{ConfigResource, MetadataDelta, MetadataImage};
use odradek_wal::Now;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The image of a snapshot as far as it was read, and what was read since the last piece.
pub type SnapshotPiece = Arc<(MetadataImage, MetadataDelta)>;

/// See the module.
#[derive(Default)]
pub struct Adoption {
    configs: TopicConfigs,
    adopted: Adopted,
}

/// What one core's shards took up.
#[derive(Default)]
pub struct Adopted {
    /// A bit for each slot of the image.
    slots: Vec<u64>,
    /// The configuration that the first piece was taken up with, none before: what the image has beyond it is told again.
    configs: Option<Arc<BTreeMap<ConfigResource, Arc<ConfigMap>>>>,
}

impl Adoption {
    /// Hands a piece's partitions to their shards, as far as they are on this core.
    pub fn take(
        &mut self,
        (index, options): (u16, &NodeOptions),
        shards: &mut [OwnedShard],
        now: Now,
        piece: &SnapshotPiece,
    ) {
        let (image, delta) = &**piece;
        let facts = CoreFacts { index, options };
        self.adopted
            .configs
            .get_or_insert_with(|| image.configs.clone());
        let mut current = None;
        for change in &delta.topics.partitions {
            let Some((shard, create)) =
                facts.create(image, change, &mut self.configs, &mut current)
            else {
                continue;
            };
            let owned = shards.iter_mut().find(|owned| owned.number == shard);
            if owned.is_some_and(|owned| owned.shard.adopt(now, &create)) {
                self.adopted.add(change.slot);
            }
        }
    }

    /// What was taken up in all.
    pub fn finish(self) -> Adopted {
        self.adopted
    }
}

impl Adopted {
    fn add(&mut self, slot: u32) {
        let word = slot as usize / 64;
        if word >= self.slots.len() {
            self.slots.resize(word + 1, 0);
        }
        self.slots[word] |= 1 << (slot % 64);
    }

    /// Whether the partition in a slot was taken up.
    pub fn holds(&self, slot: u32) -> bool {
        let word = self.slots.get(slot as usize / 64);
        word.is_some_and(|word| word & 1 << (slot % 64) != 0)
    }

    /// Whether all was taken up with the configuration of this image.
    pub fn is_configured_as(&self, image: &MetadataImage) -> bool {
        self.configs
            .as_ref()
            .is_none_or(|known| *known == image.configs)
    }
}
