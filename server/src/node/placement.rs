//! From a published image to what each shard must do (M5, M6): partitions created, changed and deleted, and the topic
//! configurations that shards act on, resolved through topic, broker, cluster, file and default. What is much of it is done in
//! turns, between which requests are served from the image before.

use super::mail::ImageUpdate;
use super::routing::{core_of, shard_of};
use super::{Core, METADATA_CORE, Mail, NodeOptions, TopicFound, operator};
use odradek_protocol::Uuid;
use odradek_raft::configs::ConfigLayers;
use odradek_raft::image::{ConfigResource, MetadataDelta, MetadataImage, TopicView, resource_type};
use odradek_shard::Event;
use odradek_shard::command::{CreatePartition, PartitionChange, PartitionKey};
use odradek_shard::config::{CleanupPolicy, TimestampType, TopicCompression, TopicConfig};
use odradek_wal::{DirectoryId, TopicId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Topics whose configuration a core keeps at hand for produces; above it all are looked up again.
const PRODUCED_CONFIGS_MAX: usize = 10_000;

/// Partitions that are turned into a shard's changes, which it then takes, in one turn while requests are served: a fraction of a millisecond's
/// work.
const TURN_PARTITIONS: usize = 48;
/// The same while nobody is served yet: few enough that the processor's cache still has the changes when the shard takes them.
const STARTING_TURN_PARTITIONS: usize = 512;

/// In the time of one of them so many are passed by that were adopted before the loop ran.
const PASSED_FOR_ONE: usize = 128;

/// What each shard of this core is to do.
type Changes = BTreeMap<u16, Vec<PartitionChange>>;

/// Topic configurations, resolved: one that all topics without values of their own share, and those of topics produced to.
#[derive(Default)]
pub struct TopicConfigs {
    shared: Option<Arc<TopicConfig>>,
    produced: BTreeMap<Uuid, Arc<TopicConfig>>,
}

/// The topic that partitions were last looked at of: its index in the image, and its configuration.
pub(super) type CurrentTopic = Option<(u32, Arc<TopicConfig>)>;

impl TopicConfigs {
    fn of(&mut self, core: &CoreFacts<'_>, image: &MetadataImage, name: &str) -> Arc<TopicConfig> {
        let own = image.topic_config(name);
        if own.is_some() {
            return Arc::new(resolve(&core.layers(image, own)));
        }
        let shared = self
            .shared
            .get_or_insert_with(|| Arc::new(resolve(&core.layers(image, None))));
        shared.clone()
    }

    /// What the delta changes is resolved again when it is wanted.
    fn forget(&mut self, delta: &MetadataDelta) {
        if !delta.configs.is_empty() || !delta.topics.deleted.is_empty() {
            self.produced.clear();
        }
    }
}

/// Images that this core has not taken in whole, oldest first.
#[derive(Default)]
pub struct Placements {
    waiting: VecDeque<ImageUpdate>,
    current: Option<Placement>,
}

impl Placements {
    /// Whether a turn would find something to do.
    pub fn has_work(&self) -> bool {
        self.current.is_some() || !self.waiting.is_empty()
    }

    /// The logs are closing: what is not placed now is placed at the next start.
    pub fn give_up(&mut self) {
        *self = Placements::default();
    }
}

/// An image on its way to the shards, and how far it has come.
struct Placement {
    update: ImageUpdate,
    /// Resolved in its image; requests meanwhile resolve in the one before.
    configs: TopicConfigs,
    /// The next deleted topic, and the next partition of it.
    deleted: (usize, i32),
    /// The next changed partition.
    changed: usize,
}

impl Core {
    /// Whether a new partition was taken up by its shard before the loop ran.
    fn is_adopted(&self, change: &odradek_raft::image::PartitionChange) -> bool {
        let adopted = self.adopted.as_ref().filter(|_| change.is_created());
        adopted.is_some_and(|adopted| adopted.holds(change.slot))
    }

    /// The configuration that batches for a topic are checked against: that of the image this core serves from.
    pub(crate) fn produce_config(&mut self, topic: &TopicFound) -> Arc<TopicConfig> {
        if let Some(config) = self.topic_configs.produced.get(&topic.id) {
            return config.clone();
        }
        let facts = CoreFacts {
            index: self.index,
            options: &self.options,
        };
        let config = self.topic_configs.of(&facts, &self.image, &topic.name);
        let produced = &mut self.topic_configs.produced;
        if produced.len() >= PRODUCED_CONFIGS_MAX {
            produced.clear();
        }
        produced.insert(topic.id, config.clone());
        config
    }
}

/// What decides which partitions are placed on a core, and how they are configured.
pub(super) struct CoreFacts<'a> {
    pub(super) index: u16,
    pub(super) options: &'a NodeOptions,
}

impl<'a> CoreFacts<'a> {
    fn layers(
        &self,
        image: &'a MetadataImage,
        topic: Option<&'a odradek_raft::configs::ConfigMap>,
    ) -> ConfigLayers<'a> {
        ConfigLayers {
            topic,
            broker: image.config(&ConfigResource::broker(self.options.node_id)),
            cluster: image.config(&ConfigResource::cluster()),
            static_file: Some(&self.options.static_values),
        }
    }

    /// The shard of this core that a partition belongs to.
    fn owner(&self, topic_id: Uuid, partition: i32) -> Option<u16> {
        let shard = shard_of(&topic_id.0, partition, self.options.shards);
        (core_of(shard, self.options.cores) == self.index).then_some(shard)
    }

    /// The partition of a change as its shard is told of it, and that shard; none when it is not placed on this core.
    pub(super) fn create(
        &self,
        image: &MetadataImage,
        change: &odradek_raft::image::PartitionChange,
        configs: &mut TopicConfigs,
        current: &mut CurrentTopic,
    ) -> Option<(u16, CreatePartition)> {
        let topic = image.topics.by_index(change.topic_index)?;
        let shard = self.owner(topic.id(), change.partition)?;
        let partition = image.topics.by_slot(change.slot)?;
        let node_id = self.options.node_id;
        if !partition.replicas().contains(&node_id) {
            return None;
        }
        let known = current.take();
        let known = known.filter(|(index, _)| *index == change.topic_index);
        let (_, config) = current.insert(known.unwrap_or_else(|| {
            let config = configs.of(self, image, topic.name());
            (change.topic_index, config)
        }));
        let directory = partition.directory_of(node_id);
        let own = &self.options.directories;
        let directory = directory.filter(|id| own.iter().any(|own| own.id == *id));
        let create = CreatePartition {
            key: key(topic.id(), change.partition),
            topic_name: topic.name().clone(),
            leader_epoch: partition.leader_epoch(),
            metadata_offset: image.offset,
            directory: directory.map(|id| DirectoryId(id.0)),
            in_sync: partition.isr().len() as u16,
            replicas: partition.replicas().len() as u16,
            config: config.clone(),
        };
        Some((shard, create))
    }
}

/// Builds what a shard acts on from Kafka's keys.
fn resolve(layers: &ConfigLayers<'_>) -> TopicConfig {
    let defaults = TopicConfig::default();
    let number = |key: &str, default: i64| layers.topic_number(key).unwrap_or(default);
    let text = |key: &str| layers.topic_text(key).unwrap_or_default();
    let level = |key: &str, default: i64| number(key, default) as i32;
    let policy = text("cleanup.policy");
    TopicConfig {
        max_message_bytes: number("max.message.bytes", i64::from(defaults.max_message_bytes))
            as i32,
        timestamp_type: match text("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        },
        timestamp_before_max_ms: number(
            "message.timestamp.before.max.ms",
            defaults.timestamp_before_max_ms,
        ),
        timestamp_after_max_ms: number(
            "message.timestamp.after.max.ms",
            defaults.timestamp_after_max_ms,
        ),
        compression: match text("compression.type").as_str() {
            "uncompressed" => TopicCompression::Uncompressed,
            "gzip" => TopicCompression::Gzip(level("compression.gzip.level", -1)),
            "snappy" => TopicCompression::Snappy,
            "lz4" => TopicCompression::Lz4(level("compression.lz4.level", 9)),
            "zstd" => TopicCompression::Zstd(level("compression.zstd.level", 3)),
            _ => TopicCompression::Producer,
        },
        min_insync_replicas: number("min.insync.replicas", 1) as i32,
        retention_ms: number("retention.ms", defaults.retention_ms),
        retention_bytes: number("retention.bytes", defaults.retention_bytes),
        segment_ms: number("segment.ms", defaults.segment_ms),
        segment_bytes: number("segment.bytes", defaults.segment_bytes),
        cleanup: CleanupPolicy {
            delete: policy.split(',').any(|item| item.trim() == "delete"),
            compact: policy.split(',').any(|item| item.trim() == "compact"),
        },
    }
}

/// A newer image came. As much of it as one turn takes is placed at once.
pub fn on_image(core: &mut Core, update: ImageUpdate) {
    let idle = !core.placements.has_work();
    core.placements.waiting.push_back(update);
    if idle {
        turn(core);
    }
}

/// Goes on with the oldest image. While nobody is served yet, turns are longer, but end: disks, signals and the clock are seen to.
pub fn turn(core: &mut Core) {
    let partitions = match core.serving {
        true => TURN_PARTITIONS,
        false => STARTING_TURN_PARTITIONS,
    };
    place(core, partitions);
}

/// Tells this core's shards more of what the oldest image changes for them, about so many partitions. After the last of it, requests are
/// served from it.
fn place(core: &mut Core, partitions: usize) {
    let begun = core.placements.current.take();
    let Some(mut placement) = begun.or_else(|| begin(core)) else {
        return;
    };
    let mut changes: Changes = core
        .shards
        .iter()
        .map(|owned| (owned.number, Vec::new()))
        .collect();
    let options = core.options.clone();
    let facts = CoreFacts {
        index: core.index,
        options: &options,
    };
    let update = placement.update.clone();
    let delta = &update.delta;
    let left = deleted(
        &facts,
        delta,
        &mut placement.deleted,
        &mut changes,
        partitions,
    );
    let rest = &delta.topics.partitions[placement.changed..];
    // Those that were adopted are passed by many at a time.
    let passed = rest.iter().take(partitions * PASSED_FOR_ONE);
    let passed = passed.take_while(|change| core.is_adopted(change)).count();
    let slice = &rest[passed..];
    let slice = &slice[..slice.len().min(left)];
    placement.changed += passed + slice.len();
    let configs = &mut placement.configs;
    changed(core, (&facts, configs), &update, slice, &mut changes);
    let done = left > 0 && passed + slice.len() == rest.len();
    if done {
        reconfigured(core, (&facts, configs), &update, &mut changes);
    }
    for (shard, list) in changes {
        if !list.is_empty() {
            core.step_shard(shard, Event::Metadata(list));
        }
    }
    if done {
        finish(core, placement);
    } else {
        core.placements.current = Some(placement);
    }
}

fn begin(core: &mut Core) -> Option<Placement> {
    let update = core.placements.waiting.pop_front()?;
    let everywhere = changes_everywhere(core, &update.delta);
    let shared = core.topic_configs.shared.clone();
    Some(Placement {
        update,
        configs: TopicConfigs {
            shared: shared.filter(|_| !everywhere),
            ..TopicConfigs::default()
        },
        deleted: (0, 0),
        changed: 0,
    })
}

/// The shards know all of it: requests are served from this image.
fn finish(core: &mut Core, placement: Placement) {
    let ImageUpdate {
        image,
        delta,
        unfenced,
        ..
    } = placement.update;
    core.adopted = None;
    core.topic_configs.forget(&delta);
    core.topic_configs.shared = placement.configs.shared;
    core.replace_image(image.clone());
    let of_clients =
        |resource: &ConfigResource| resource.resource_type == resource_type::CLIENT_METRICS;
    if delta.configs.iter().any(of_clients) {
        core.telemetry.refresh(&image);
    }
    operator::on_image(core, &image, unfenced);
    let shards: Vec<u16> = core.shards.iter().map(|owned| owned.number).collect();
    for shard in shards {
        let caught_up = PartitionChange::CaughtUp {
            metadata_offset: image.offset,
            unfenced,
        };
        core.step_shard(shard, Event::Metadata(vec![caught_up]));
    }
    let placed = Mail::Placed {
        core: core.index,
        offset: image.offset,
    };
    core.send_to_core(METADATA_CORE, placed);
}

fn key(topic_id: Uuid, partition: i32) -> PartitionKey {
    PartitionKey {
        topic_id: TopicId(topic_id.0),
        partition,
    }
}

/// Deletions from `at` on, and how many partitions may still be looked at after them; none while deletions are left.
fn deleted(
    facts: &CoreFacts<'_>,
    delta: &MetadataDelta,
    at: &mut (usize, i32),
    changes: &mut Changes,
    mut left: usize,
) -> usize {
    while let Some(topic) = delta.topics.deleted.get(at.0) {
        if left == 0 {
            return 0;
        }
        if at.1 == 0 {
            for list in changes.values_mut() {
                list.push(PartitionChange::TopicDeleted {
                    topic_name: topic.name.clone(),
                });
            }
        }
        let end = topic
            .partition_count
            .min(at.1.saturating_add(i32::try_from(left).unwrap_or(i32::MAX)));
        for partition in at.1..end {
            if let Some(list) = facts
                .owner(topic.id, partition)
                .and_then(|shard| changes.get_mut(&shard))
            {
                list.push(PartitionChange::Delete {
                    key: key(topic.id, partition),
                });
            }
        }
        left -= ((end - at.1).max(1) as usize).min(left);
        *at = if end == topic.partition_count {
            (at.0 + 1, 0)
        } else {
            (at.0, end)
        };
    }
    left
}

fn changed(
    core: &Core,
    (facts, configs): (&CoreFacts<'_>, &mut TopicConfigs),
    update: &ImageUpdate,
    slice: &[odradek_raft::image::PartitionChange],
    changes: &mut Changes,
) {
    let mut current: CurrentTopic = None;
    for change in slice {
        if core.is_adopted(change) || is_gone_after(update, change) {
            continue;
        }
        let Some((shard, create)) = facts.create(&update.image, change, configs, &mut current)
        else {
            forget_moved(facts, &update.image, change, changes);
            continue;
        };
        let Some(list) = changes.get_mut(&shard) else {
            continue;
        };
        if change.is_created() {
            list.push(PartitionChange::Create(create));
        } else {
            let key = create.key;
            list.push(PartitionChange::LeaderEpoch {
                key,
                leader_epoch: create.leader_epoch,
            });
            list.push(PartitionChange::InSync {
                key,
                in_sync: create.in_sync,
                replicas: create.replicas,
            });
        }
    }
}

/// Whether the image that follows at once does not name a new partition any more: it would be made to be deleted.
fn is_gone_after(update: &ImageUpdate, change: &odradek_raft::image::PartitionChange) -> bool {
    let Some(next) = update.followed_by.as_ref().filter(|_| change.is_created()) else {
        return false;
    };
    let topic = update.image.topics.by_index(change.topic_index);
    let stays = topic.and_then(|topic| next.topics.by_id(topic.id()));
    stays.is_none_or(|topic| topic.partition(change.partition).is_none())
}

/// A partition that was known and is not placed here: it goes, if it was.
fn forget_moved(
    facts: &CoreFacts<'_>,
    image: &MetadataImage,
    change: &odradek_raft::image::PartitionChange,
    changes: &mut Changes,
) {
    let topic = image.topics.by_index(change.topic_index);
    let Some(topic) = topic.filter(|_| !change.is_created()) else {
        return;
    };
    let owner = facts.owner(topic.id(), change.partition);
    if let Some(list) = owner.and_then(|shard| changes.get_mut(&shard)) {
        list.push(PartitionChange::Delete {
            key: key(topic.id(), change.partition),
        });
    }
}

/// Topics whose values changed; all of them when a broker's or the cluster's did.
fn reconfigured(
    core: &Core,
    (facts, configs): (&CoreFacts<'_>, &mut TopicConfigs),
    update: &ImageUpdate,
    changes: &mut Changes,
) {
    let (image, delta) = (&update.image, &update.delta);
    // At a start none was configured before but those that were adopted.
    let adopted = core.adopted.as_ref();
    if core.image.topics.is_empty() && adopted.is_none_or(|known| known.is_configured_as(image)) {
        return;
    }
    let configure = |topic: TopicView<'_>| {
        if delta.topics.created.contains(&topic.id()) {
            return;
        }
        let config = configs.of(facts, image, topic.name());
        for list in changes.values_mut() {
            list.push(PartitionChange::Config {
                topic_id: TopicId(topic.id().0),
                config: config.clone(),
            });
        }
    };
    if changes_everywhere(core, delta) {
        return image.topics.iter().for_each(configure);
    }
    let named = delta
        .configs
        .iter()
        .filter(|resource| resource.resource_type == resource_type::TOPIC);
    named
        .filter_map(|resource| image.topics.by_name(&resource.name))
        .for_each(configure);
}

/// Whether what all topics without values of their own share may have changed.
fn changes_everywhere(core: &Core, delta: &MetadataDelta) -> bool {
    let own_name = core.options.node_id.to_string();
    delta.configs.iter().any(|resource| {
        resource.resource_type == resource_type::BROKER
            && (resource.name.is_empty() || *resource.name == *own_name)
    })
}
