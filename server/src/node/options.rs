//! What a node is told once, made from its configuration and its directories by `crate::start`.

use super::status::NodeStatus;
use super::telemetry::clients::ClientBook;
use crate::config::Listener;
use odradek_protocol::Uuid;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// One data directory.
#[derive(Clone, Debug)]
pub struct DirectoryOptions {
    pub id: Uuid,
    /// As configured; what DescribeLogDirs shows.
    pub path: String,
    /// Kept up to date by whoever may ask the file system.
    pub space: Arc<DirectorySpace>,
}

/// Room of a directory's file system in bytes, as last read.
#[derive(Debug, Default)]
pub struct DirectorySpace {
    total_bytes: AtomicI64,
    usable_bytes: AtomicI64,
}

impl DirectorySpace {
    /// Notes what was read: the whole, and what is free for this process.
    pub fn set(&self, (total_bytes, usable_bytes): (i64, i64)) {
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.usable_bytes.store(usable_bytes, Ordering::Relaxed);
    }

    /// Total and usable; none before the first reading, or when the file system does not tell.
    pub fn get(&self) -> Option<(i64, i64)> {
        let total_bytes = self.total_bytes.load(Ordering::Relaxed);
        (total_bytes > 0).then(|| (total_bytes, self.usable_bytes.load(Ordering::Relaxed)))
    }
}

/// A node's fixed facts.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    pub cluster_id: String,
    pub node_id: i32,
    /// Cores that run a machine.
    pub cores: u16,
    /// Shards of this node, fixed when it was formatted.
    pub shards: u16,
    /// Clients' listeners first; the shell counts them in this order.
    pub listeners: Vec<Listener>,
    pub rack: Option<String>,
    /// Data directories in the order of `log.dirs`, as the shards know them.
    pub directories: Vec<DirectoryOptions>,
    /// How the node is; for `/health`.
    pub status: Arc<NodeStatus>,
    /// Keys of the static file.
    pub static_values: BTreeMap<String, String>,
    /// Handed to look-up tables.
    pub hash_seed: u64,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// Features and levels that an empty metadata log begins with; `format` chose them.
    pub bootstrap_features: Vec<(String, i16)>,
    /// Level of kraft.version: 1 with a quorum that can change, 0 with static voters.
    pub kraft_version: i16,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub snapshot_interval_bytes: u64,
    /// Bytes that the records of one produced batch may unpack to.
    pub decompressed_batch_bytes_max: usize,
    /// `telemetry.max.bytes`.
    pub telemetry_bytes_max: usize,
    /// Where clients' pushed metrics go.
    pub clients: Arc<ClientBook>,
    /// `fetch.max.bytes`.
    pub fetch_bytes_max: i32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_sessions_max: usize,
    /// This process's own id for BrokerRegistration; new with each start.
    pub incarnation_id: Uuid,
    /// The broker epoch of the last life, when recovery met no damage (KIP-966); -1 otherwise.
    pub previous_broker_epoch: i64,
}
