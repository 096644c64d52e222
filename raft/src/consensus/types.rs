//! Names and numbers that every file of `consensus` shares: replicas, voters' endpoints, offsets
//! with epochs, time, options. Voter sets live in `voters.rs`, messages in `message.rs`.

use std::fmt;

use odradek_protocol::Uuid;

/// Time handed in with every event; the state machine never reads a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time in microseconds since any fixed moment: all timers use it.
    pub monotonic_us: u64,
    /// Wall time in milliseconds since 1970: only put into record batches and DescribeQuorum.
    pub wall_ms: i64,
}

/// A replica of the metadata log: node id and the id of its metadata log directory (KIP-853).
/// The all-zero directory id stands for "unknown", as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaKey {
    /// Node id, >= 0; an observer without an id sends -1.
    pub id: i32,
    /// Directory id, or zero.
    pub directory_id: Uuid,
}

impl ReplicaKey {
    /// A key with a directory id.
    pub fn new(id: i32, directory_id: Uuid) -> Self {
        Self { id, directory_id }
    }

    /// A key known by node id alone (kraft.version 0, old request versions).
    pub fn without_directory(id: i32) -> Self {
        Self {
            id,
            directory_id: NO_DIRECTORY,
        }
    }

    /// Whether the directory id is given.
    pub fn has_directory(&self) -> bool {
        self.directory_id != NO_DIRECTORY
    }

    /// Equal ids, and equal directory ids where both sides give one.
    pub fn matches(&self, other: &ReplicaKey) -> bool {
        self.id == other.id
            && (self.directory_id == other.directory_id
                || !self.has_directory()
                || !other.has_directory())
    }
}

impl fmt::Debug for ReplicaKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for ReplicaKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has_directory() {
            write!(formatter, "{}@{}", self.id, self.directory_id)
        } else {
            write!(formatter, "{}", self.id)
        }
    }
}

/// The directory id that means "none given".
pub const NO_DIRECTORY: Uuid = Uuid([0; 16]);

/// One listener of a voter, as VotersRecord and the node endpoints of answers carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Listener name, upper case.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// An exclusive end offset and the epoch of the record before it: names a snapshot, or the point
/// up to which two logs agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetAndEpoch {
    /// Exclusive end offset.
    pub offset: i64,
    /// Epoch of the record at `offset - 1`, 0 when there is none.
    pub epoch: i32,
}

impl OffsetAndEpoch {
    /// The snapshot that `format` writes; never served, never named in an answer.
    pub const BOOTSTRAP: OffsetAndEpoch = OffsetAndEpoch {
        offset: 0,
        epoch: 0,
    };

    /// Pairs an end offset with its epoch.
    pub fn new(offset: i64, epoch: i32) -> Self {
        Self { offset, epoch }
    }
}

/// Name of a snapshot: end offset (exclusive) and epoch of the record before it.
pub type SnapshotId = OffsetAndEpoch;

/// The leader as far as known, and the epoch that knowledge belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderAndEpoch {
    /// Node id of the leader; none while an election runs.
    pub leader_id: Option<i32>,
    /// The raft epoch.
    pub epoch: i32,
}

/// Whom a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// A node known by id: a voter, or the leader.
    Node(i32),
    /// Entry of [`Options::bootstrap_endpoints`], used while no voter is known.
    Bootstrap(usize),
}

/// Everything the state machine is told once. Defaults are Kafka's.
#[derive(Clone, Debug)]
pub struct Options {
    /// Cluster id; requests that name another are refused.
    pub cluster_id: String,
    /// This replica. `id` -1 makes an observer that no one can name.
    pub local: ReplicaKey,
    /// Own controller listeners; when they differ from those in the voter set a new leader writes
    /// them into the log. Empty: leave the voter set alone.
    pub local_endpoints: Vec<Endpoint>,
    /// `controller.quorum.bootstrap.servers`, asked at random while no voter is known.
    pub bootstrap_endpoints: Vec<Endpoint>,
    /// Voters of `controller.quorum.voters`, used while no Voters record is known
    /// (kraft.version 0).
    pub static_voters: crate::consensus::VoterSet,
    /// Name of the listener raft requests go to: the first of `controller.listener.names`.
    pub listener_name: String,
    /// Seed of election jitter; two nodes must not share it.
    pub seed: u64,
    /// `controller.quorum.election.timeout.ms`: the timer is random in [1, 2) times this.
    pub election_timeout_ms: u64,
    /// `controller.quorum.election.backoff.max.ms`.
    pub election_backoff_max_ms: u64,
    /// `controller.quorum.fetch.timeout.ms`.
    pub fetch_timeout_ms: u64,
    /// `controller.quorum.request.timeout.ms`.
    pub request_timeout_ms: u64,
    /// `controller.quorum.retry.backoff.ms`.
    pub retry_backoff_ms: u64,
    /// How long a leader may park our Fetch.
    pub fetch_max_wait_ms: i32,
    /// Most bytes of records one Fetch asks for or answers with (one batch always fits).
    pub fetch_bytes_max: i32,
    /// Most bytes of one snapshot chunk, asked for and served.
    pub snapshot_chunk_bytes_max: i32,
    /// Most Fetch requests parked at once; the oldest is answered early beyond it.
    pub parked_fetches_max: usize,
    /// Most observers remembered for DescribeQuorum; the one silent longest is dropped beyond it.
    pub observers_max: usize,
    /// Most bytes appended here and not yet committed; `propose` answers Busy beyond it.
    pub uncommitted_bytes_max: usize,
    /// Snapshots kept; the log on disk is cut at the oldest kept one.
    pub snapshots_retained: usize,
    /// Bytes of log before the newest snapshot that stay in memory: who fetches from there needs
    /// no snapshot.
    pub log_kept_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster_id: String::new(),
            local: ReplicaKey::without_directory(-1),
            local_endpoints: Vec::new(),
            bootstrap_endpoints: Vec::new(),
            static_voters: crate::consensus::VoterSet::default(),
            listener_name: "CONTROLLER".to_owned(),
            seed: 0,
            election_timeout_ms: 1000,
            election_backoff_max_ms: 1000,
            fetch_timeout_ms: 2000,
            request_timeout_ms: 2000,
            retry_backoff_ms: 20,
            fetch_max_wait_ms: 500,
            fetch_bytes_max: 8 * 1024 * 1024,
            snapshot_chunk_bytes_max: 1024 * 1024,
            parked_fetches_max: 4096,
            observers_max: 4096,
            uncommitted_bytes_max: 64 * 1024 * 1024,
            snapshots_retained: 2,
            log_kept_bytes_max: 1024 * 1024,
        }
    }
}
