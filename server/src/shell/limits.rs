//! What connections may take of a core and of the node, and the node's count of them. `connections.rs` keeps to it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What a consumer asks for by default of one partition, and its header: goes out in one send, and does not stop its connection from being read.
pub(super) const USUAL_ANSWER_BYTES_MAX: usize = (1 << 20) + (64 << 10);

/// What connections may take of a core and of the node.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Connections of the node (`max.connections`); one more is closed at once.
    pub connections_max: usize,
    /// Connections from one address (`max.connections.per.ip`).
    pub connections_per_ip_max: usize,
    /// Exceptions by address (`max.connections.per.ip.overrides`).
    pub connections_per_ip_overrides: HashMap<IpAddr, usize>,
    /// A connection whose descriptor is this or higher is closed at once: what is above belongs to data files.
    pub descriptors_max: i32,
    /// Time without a byte either way after which a connection is closed (`connections.max.idle.ms`); 0 or below: never.
    pub idle_ms: i64,
    /// Largest frame (`socket.request.max.bytes`); a larger size, or one below zero, closes the connection.
    pub frame_bytes_max: usize,
    /// Bytes of frames held per core: arriving, waiting or with the machine (`queued.max.request.bytes` is the nearest of Kafka's).
    pub held_bytes_max: u64,
    /// Queued bytes above which a connection is not read.
    pub queued_bytes_high: usize,
    /// Queued bytes below which it is read again.
    pub queued_bytes_low: usize,
    /// A connection above the high mark, or closing, whose peer takes nothing for this long is cut.
    pub stalled_ms: u64,
    pub zero_copy: ZeroCopyLimits,
}

/// When sends leave without a copy. What is sent so stays in memory until the peer acknowledged it, and counts as locked memory meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroCopyLimits {
    /// Smaller sends are copied: pinning their pages costs more.
    pub bytes_min: usize,
    /// Bytes that may be unacknowledged, in all, an equal share per core; above it sends are copied. 0: never without a copy.
    pub bytes_max: usize,
    /// Bytes of one connection that may be unacknowledged.
    pub connection_bytes_max: usize,
    /// Also to this machine itself, where the kernel copies after all. For tests.
    pub loopback: bool,
}

impl Default for ZeroCopyLimits {
    fn default() -> Self {
        Self {
            bytes_min: 16 << 10,
            bytes_max: super::probe::zero_copy_bytes(),
            connection_bytes_max: 1 << 20,
            loopback: false,
        }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: 1_000_000,
            connections_per_ip_max: usize::MAX,
            connections_per_ip_overrides: HashMap::new(),
            descriptors_max: super::probe::descriptors_for_connections(),
            idle_ms: 600_000,
            frame_bytes_max: 100 << 20,
            held_bytes_max: 512 << 20,
            queued_bytes_high: USUAL_ANSWER_BYTES_MAX,
            queued_bytes_low: 256 << 10,
            stalled_ms: 60_000,
            zero_copy: ZeroCopyLimits::default(),
        }
    }
}

/// Connections of the node, counted where they open and close.
#[derive(Debug)]
pub(super) struct ConnectionCounts {
    total: AtomicUsize,
    per_core: Vec<AtomicUsize>,
    /// Locked at opening and closing only.
    per_ip: Mutex<HashMap<IpAddr, usize>>,
}

impl ConnectionCounts {
    pub(super) fn new(cores: usize) -> Self {
        Self {
            total: AtomicUsize::new(0),
            per_core: (0..cores).map(|_| AtomicUsize::new(0)).collect(),
            per_ip: Mutex::new(HashMap::new()),
        }
    }

    /// Counts a new connection, and names the core with the fewest; `None` when a limit refuses it.
    pub(super) fn admit(&self, address: IpAddr, limits: &ConnectionLimits) -> Option<u16> {
        if self.total.load(Ordering::Relaxed) >= limits.connections_max {
            return None;
        }
        let maximum = limits
            .connections_per_ip_overrides
            .get(&address)
            .copied()
            .unwrap_or(limits.connections_per_ip_max);
        let mut per_ip = self.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
        let count = per_ip.entry(address).or_insert(0);
        if *count >= maximum {
            if *count == 0 {
                per_ip.remove(&address);
            }
            return None;
        }
        *count += 1;
        drop(per_ip);
        self.total.fetch_add(1, Ordering::Relaxed);
        let fewest = (0..self.per_core.len())
            .min_by_key(|core| self.per_core[*core].load(Ordering::Relaxed))
            .expect("a node has at least one core");
        self.per_core[fewest].fetch_add(1, Ordering::Relaxed);
        Some(fewest as u16)
    }

    pub(super) fn leave(&self, address: IpAddr, core: u16) {
        self.total.fetch_sub(1, Ordering::Relaxed);
        self.per_core[usize::from(core)].fetch_sub(1, Ordering::Relaxed);
        let mut per_ip = self.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = per_ip.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                per_ip.remove(&address);
            }
        }
    }
}
