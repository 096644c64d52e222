//! What configuration and directories mean to each part: options of the node, its shards and their logs.

use super::directories::Directories;
use crate::config::ServerConfig;
use crate::node::NodeOptions;
use crate::node::options::DirectoryOptions;
use crate::node::status::NodeStatus;
use crate::shell::{StartError, random_numbers};
use crate::storage::format::random_uuid;
use odradek_protocol::Uuid;
use odradek_shard::group::GroupOptions;
use odradek_shard::{Durability, ShardOptions};
use odradek_wal::{DirectoryId, LogOptions};

/// Share of memory that all tail caches may take, in percent; block caches and index caches take the next two.
const TAIL_CACHE_PERCENT: u64 = 15;
const FRAME_CACHE_PERCENT: u64 = 10;

/// Everything builders need, shared by all cores.
pub struct Prepared {
    pub config: ServerConfig,
    pub directories: Directories,
    pub node: NodeOptions,
    memory_bytes: u64,
}

impl Prepared {
    pub fn new(
        config: &ServerConfig,
        directories: &Directories,
        cores: u16,
    ) -> Result<Self, StartError> {
        let bootstrap_features =
            super::metadata::bootstrap_features(&directories.metadata).map_err(StartError)?;
        let node = NodeOptions {
            cluster_id: directories.cluster_id.clone(),
            node_id: config.node_id,
            cores,
            shards: directories.shards,
            listeners: config.listeners.clone(),
            rack: config.rack.clone(),
            directories: directories
                .list
                .iter()
                .map(|directory| DirectoryOptions {
                    id: directory.id,
                    path: directory.path.display().to_string(),
                    space: std::sync::Arc::default(),
                })
                .collect(),
            status: std::sync::Arc::new(NodeStatus::new(directories.list.len())),
            static_values: config.static_values.clone(),
            hash_seed: random_numbers()[0],
            auto_create_topics: config.boolean("auto.create.topics.enable"),
            bootstrap_features,
            kraft_version: 1,
            snapshot_interval_bytes: config
                .number("metadata.log.max.record.bytes.between.snapshots")
                .max(1) as u64,
            decompressed_batch_bytes_max: ShardOptions::default().decompressed_batch_bytes_max,
            telemetry_bytes_max: usize::try_from(config.number("telemetry.max.bytes")).unwrap_or(0),
            clients: std::sync::Arc::default(),
            fetch_bytes_max: i32::try_from(config.number("fetch.max.bytes")).unwrap_or(i32::MAX),
            fetch_sessions_max: usize::try_from(
                config.number("max.incremental.fetch.session.cache.slots"),
            )
            .unwrap_or(0),
            incarnation_id: random_uuid(),
            previous_broker_epoch: -1,
        };
        Ok(Self {
            config: config.clone(),
            directories: directories.clone(),
            node,
            memory_bytes: memory_bytes(),
        })
    }

    pub fn shard_options(&self, seed: u64) -> ShardOptions {
        ShardOptions {
            durability: if self.config.durable {
                Durability::Fsync
            } else {
                Durability::None
            },
            producer_expiration_ms: self.config.number("producer.id.expiration.ms").max(1) as u64,
            hash_seed: seed,
            groups: Some(self.group_options(seed)),
            ..ShardOptions::default()
        }
    }

    fn group_options(&self, seed: u64) -> GroupOptions {
        let number = |key: &str| self.config.number(key);
        GroupOptions {
            min_session_timeout_ms: number("group.min.session.timeout.ms") as i32,
            max_session_timeout_ms: number("group.max.session.timeout.ms") as i32,
            initial_rebalance_delay_ms: number("group.initial.rebalance.delay.ms") as i32,
            members_max: number("group.max.size") as i32,
            offset_metadata_max: usize::try_from(number("offset.metadata.max.bytes")).unwrap_or(0),
            offsets_retention_ms: number("offsets.retention.minutes").saturating_mul(60_000),
            offsets_retention_check_interval_ms: number("offsets.retention.check.interval.ms"),
            ..GroupOptions::with_seed((seed, random_numbers()[1]))
        }
    }

    pub fn log_options(&self, directory: Uuid, shard: u16, seed: u64) -> LogOptions {
        let logs = u64::from(self.directories.shards) * self.directories.list.len() as u64;
        let share = |percent: u64| (self.memory_bytes / 100 * percent / logs.max(1)) as usize;
        LogOptions {
            cluster_id: self.directories.cluster_id.clone(),
            node_id: self.config.node_id,
            directory_id: DirectoryId(directory.0),
            shard: u32::from(shard),
            shards: u32::from(self.directories.shards),
            directory_bytes_max: self.directory_share(),
            seed,
            commit_on_append: false,
            gather_writes: true,
            tail_cache_bytes: share(TAIL_CACHE_PERCENT),
            frame_cache_bytes: share(FRAME_CACHE_PERCENT),
            retention_check_interval_ms: self
                .config
                .number("log.retention.check.interval.ms")
                .max(1) as u64,
            ..LogOptions::default()
        }
    }

    /// What one shard may use of a directory.
    fn directory_share(&self) -> u64 {
        let total = crate::storage::format::directory_bytes(&self.config, &self.config.log_dirs[0]);
        total / u64::from(self.directories.shards)
    }
}

/// Memory of this machine, or of the control group that bounds this process.
fn memory_bytes() -> u64 {
    let whole = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            line.split_whitespace()
                .nth(1)?
                .parse::<u64>()
                .ok()
                .map(|kib| kib * 1024)
        });
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let whole = whole.unwrap_or(1 << 30);
    group.map_or(whole, |limit| limit.min(whole))
}
