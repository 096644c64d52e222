//! The quorum controller (M1, M2): decides what clients and brokers ask for, as records of the metadata log. Consensus makes them
//! durable (`crate::consensus`), the image applies them (`crate::image`), the node carries both (`server/src/node`).
//!
//! It is sans-IO and deterministic. The caller's part:
//! 1. Every batch of the log is handed to [`QuorumController::replay`]: as an active controller right after it was appended, uncommitted;
//!    otherwise when it is committed.
//! 2. [`QuorumController::advance_committed`] gives image and delta for what is committed by now; brokers work on those only.
//! 3. When consensus makes this node leader and everything before is replayed: [`QuorumController::activate`]. When it loses leadership:
//!    [`QuorumController::resign`], which forgets what was not committed.
//! 4. While active: operations, one at a time, each told the offset its first record will get; `tick` at least every 100 ms or at
//!    [`QuorumController::next_deadline_us`].

mod activation;
mod alter_configs;
mod alter_partition;
mod assign_directories;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod elect_leaders;
mod features;
mod heartbeat;
mod options;
mod partition_change;
mod partition_updates;
mod placement;
mod producer_ids;
mod reassignments;
mod registration;
mod sessions;
mod topic_names;

use std::collections::VecDeque;

use odradek_protocol::ErrorCode;
use odradek_protocol::metadata_records::MetadataRecord;
use odradek_protocol::records::Records;

pub use activation::bootstrap_records;
pub use create_topics::{CreationStep, TopicCreation};
pub use features::{SUPPORTED_FEATURES, SupportedFeature};
pub use options::{
    CallContext, ControllerOptions, ControllerResult, OPERATION_RECORDS_MAX, Refusal,
};
pub use partition_change::{Election, PartitionChangeBuilder};
pub use producer_ids::PRODUCER_ID_BLOCK;
pub use topic_names::{names_collide, validate_topic_name};

use crate::configs::ConfigLayers;
pub use crate::consensus::Now;
use crate::image::{
    ApplyError, BuilderOptions, ConfigResource, LoadError, MetadataBuilder, MetadataDelta,
    MetadataImage, TopicsImage,
};
use options::Random;
use sessions::Sessions;

/// An image that is not committed yet.
#[derive(Debug)]
struct Pending {
    image: MetadataImage,
    delta: MetadataDelta,
}

/// See the module.
#[derive(Debug)]
pub struct QuorumController {
    options: ControllerOptions,
    random: Random,
    builder: MetadataBuilder,
    /// Images of batches that are replayed and not yet committed, oldest first. Bounded by the batches that consensus lets wait.
    pending: VecDeque<Pending>,
    committed: MetadataImage,
    /// The epoch in which this node leads, if it does.
    active_epoch: Option<i32>,
    sessions: Sessions,
}

impl QuorumController {
    /// A controller that goes on from `image`: the empty one, or that of the last snapshot.
    pub fn new(options: ControllerOptions, image: MetadataImage) -> QuorumController {
        let builder_options = BuilderOptions {
            hash_seed: options.hash_seed,
        };
        let session_ms = ConfigLayers {
            static_file: Some(&options.static_config),
            ..ConfigLayers::default()
        }
        .broker_number("broker.session.timeout.ms")
        .unwrap_or(9_000);
        QuorumController {
            random: Random::new(options.random_seed),
            builder: MetadataBuilder::new(image.clone(), builder_options),
            pending: VecDeque::new(),
            committed: image,
            active_epoch: None,
            sessions: Sessions::new(session_ms.max(1) as u64 * 1_000),
            options,
        }
    }

    /// Applies a batch of the log: `records` from `base_offset` on, written in `epoch`. After an error the node must stop.
    pub fn replay(
        &mut self,
        records: &[MetadataRecord],
        base_offset: i64,
        epoch: i32,
    ) -> Result<(), ApplyError> {
        self.replay_unpublished(records, base_offset, epoch)?;
        // Inside a transaction there is nothing to publish; its last batch publishes all of it.
        self.publish_replayed();
        Ok(())
    }

    /// As [`QuorumController::replay`], of a batch that others follow at once, or of the same operation: its image comes with theirs, since
    /// every image given out makes the next changes copy what they touch. [`QuorumController::publish_replayed`] is due after the last.
    pub fn replay_unpublished(
        &mut self,
        records: &[MetadataRecord],
        base_offset: i64,
        epoch: i32,
    ) -> Result<(), ApplyError> {
        for (offset, record) in (base_offset..).zip(records) {
            self.builder.apply(record, offset, epoch)?;
        }
        Ok(())
    }

    /// The same of a batch of the log as it lies.
    pub fn replay_batch_unpublished(
        &mut self,
        batch: &Records,
        base_offset: i64,
        epoch: i32,
    ) -> Result<(), LoadError> {
        self.builder.apply_batch(batch, base_offset, epoch)
    }

    /// Makes an image of what was replayed unpublished, where no batch follows that would.
    pub fn publish_replayed(&mut self) {
        if let Some((image, delta)) = self.builder.publish() {
            self.pending.push_back(Pending { image, delta });
        }
    }

    /// Moves past batches that hold no metadata record (control batches), up to and with `offset`.
    pub fn skip(&mut self, offset: i64, epoch: i32) {
        self.skip_unpublished(offset, epoch);
        self.publish_replayed();
    }

    /// As [`QuorumController::skip`], when other batches follow at once.
    pub fn skip_unpublished(&mut self, offset: i64, epoch: i32) {
        self.builder.set_position(offset, epoch);
    }

    /// Takes everything up to and with `offset` for committed: the newest committed image and what changed since the one given out
    /// before. None when nothing new is committed.
    pub fn advance_committed(&mut self, offset: i64) -> Option<(MetadataImage, MetadataDelta)> {
        let (mut newest, mut added): (Option<Pending>, bool) = (None, false);
        while self
            .pending
            .front()
            .is_some_and(|pending| pending.image.offset <= offset)
        {
            let next = self.pending.pop_front()?;
            match &mut newest {
                None => newest = Some(next),
                Some(before) => {
                    before.image = next.image;
                    before.delta.add(next.delta);
                    added = true;
                }
            }
        }
        let Pending { image, mut delta } = newest?;
        if added {
            delta.settle_merged();
        }
        self.committed = image.clone();
        Some((image, delta))
    }

    /// Starts over from a snapshot's image: the log before it is gone.
    pub fn load(&mut self, image: MetadataImage) -> MetadataDelta {
        let delta = MetadataDelta::between(&self.committed, &image);
        self.pending.clear();
        self.builder = MetadataBuilder::new(image.clone(), self.builder_options());
        self.committed = image;
        delta
    }

    /// The newest committed image.
    pub fn committed(&self) -> &MetadataImage {
        &self.committed
    }

    /// Whether this controller decides now.
    pub fn is_active(&self) -> bool {
        self.active_epoch.is_some()
    }

    /// Leadership is lost: uncommitted records may never be, so they are forgotten.
    pub fn resign(&mut self) {
        self.active_epoch = None;
        self.sessions.clear();
        self.pending.clear();
        self.builder = MetadataBuilder::new(self.committed.clone(), self.builder_options());
    }

    /// When `tick` has something to do, in monotonic microseconds; none while no other broker has a session.
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.sessions.next_deadline_us(self.options.node_id)
    }

    /// metadata.version as everything replayed says, committed or not.
    pub fn metadata_version(&self) -> i16 {
        self.image().metadata_version()
    }

    /// The image with everything replayed, but for topics.
    fn image(&self) -> &MetadataImage {
        self.builder.image()
    }

    fn topics(&self) -> &TopicsImage {
        self.builder.topics()
    }

    fn builder_options(&self) -> BuilderOptions {
        BuilderOptions {
            hash_seed: self.options.hash_seed,
        }
    }

    /// What configs resolve to for a topic, or for topics in general.
    fn config_layers<'a>(&'a self, topic: Option<&str>) -> ConfigLayers<'a> {
        ConfigLayers {
            topic: topic.and_then(|name| self.image().topic_config(name)),
            broker: self
                .image()
                .config(&ConfigResource::broker(self.options.node_id)),
            cluster: self.image().config(&ConfigResource::cluster()),
            static_file: Some(&self.options.static_config),
        }
    }

    fn check_active(&self) -> Result<(), Refusal> {
        match self.active_epoch {
            Some(_) => Ok(()),
            None => Err(Refusal::new(
                ErrorCode::NotController,
                "This node is not the active controller.",
            )),
        }
    }

    /// A broker speaks under the epoch it registered with, or it is another process.
    fn check_broker_epoch(&self, id: i32, epoch: i64) -> Result<(), Refusal> {
        match self.image().brokers.get(&id) {
            None => Err(Refusal::new(
                ErrorCode::StaleBrokerEpoch,
                format!("No broker registration found for broker id {id}."),
            )),
            Some(broker) if broker.epoch != epoch => Err(Refusal::new(
                ErrorCode::StaleBrokerEpoch,
                format!(
                    "Expected broker epoch {}, but got broker epoch {epoch}.",
                    broker.epoch
                ),
            )),
            Some(_) => Ok(()),
        }
    }
}
