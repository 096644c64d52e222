//! A node on simulated disks: formatted once, then recovered and put together at every start. What the binary does in
//! `server/src/start` around the same calls, less the files.

use bytes::Bytes;
use odradek_protocol::Uuid;
use odradek_raft::configs::TopicConfigLimits;
use odradek_raft::consensus::{self, Endpoint, OffsetAndEpoch, ReplicaKey, Voter, VoterSet};
use odradek_raft::controller::ControllerOptions;
use odradek_raft::image::MetadataImage;
use odradek_raft::snapshot::{self, SnapshotWriter, WriterOptions};
use odradek_server::config::Listener;
use odradek_server::machine::Now;
use odradek_server::node::adoption::Adoption;
use odradek_server::node::log_metrics::{LogMetrics, ShardMetrics};
use odradek_server::node::metrics::CoreMetrics;
use odradek_server::node::options::DirectoryOptions;
use odradek_server::node::status::NodeStatus;
use odradek_server::node::{Core, CoreParts, NodeOptions, OwnedShard, routing};
use odradek_server::shell::Registry;
use odradek_server::start::{GroupDisks, GroupFacts, PieceSink, StoredSnapshots, open_group};
use odradek_shard::group::GroupOptions;
use odradek_shard::{RecoveredLog, RecoveredProducers, Shard, ShardOptions};
use odradek_wal::simulation::{Random, SimulatedDisk};
use odradek_wal::{BLOCK_BYTES, DirectoryId, Disk, FileName, Log, LogOptions};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";
const NODE_ID: i32 = 1;
/// Where the metadata log's small files are said to lie.
pub const METADATA_FOLDER: &str = "/metadata";

/// What differs from one seed to the next.
#[derive(Clone, Debug)]
pub struct Shape {
    pub cores: u16,
    pub shards: u16,
    pub directories: u16,
    pub segment_bytes: u64,
    pub tail_cache_bytes: usize,
    pub checkpoint_interval_bytes: u64,
    pub snapshot_interval_bytes: u64,
    pub faulty: bool,
}

impl Shape {
    pub fn draw(random: &mut Random) -> Self {
        let cores = 1 + random.below(3) as u16;
        Self {
            cores,
            shards: cores + random.below(2) as u16,
            directories: 1 + random.below(2) as u16,
            segment_bytes: (256 << 10) << random.below(3),
            tail_cache_bytes: (64 << 10) << random.below(5),
            checkpoint_interval_bytes: (64 << 10) << random.below(4),
            snapshot_interval_bytes: (1 << 10) << random.below(5),
            faulty: random.once_in(3),
        }
    }

    /// Number, shard and directory of each log that a core's shards own, as the machine counts them.
    fn shard_logs(&self, core: u16) -> Vec<(u16, u16, u16)> {
        let shards = (0..self.shards).filter(|shard| routing::core_of(*shard, self.cores) == core);
        let places =
            shards.flat_map(|shard| (0..self.directories).map(move |index| (shard, index)));
        (0..)
            .zip(places)
            .map(|(log, (shard, directory))| (log, shard, directory))
            .collect()
    }

    /// The metadata log among core 0's; the quorum state is the next.
    pub fn metadata_log(&self) -> u16 {
        self.shard_logs(0).len() as u16
    }

    fn log_options(&self, shard: u16, directory: u16, seed: u64) -> LogOptions {
        LogOptions {
            cluster_id: CLUSTER_ID.to_string(),
            node_id: NODE_ID,
            directory_id: DirectoryId(directory_id(directory).0),
            shard: u32::from(shard),
            shards: u32::from(self.shards),
            segment_bytes: self.segment_bytes,
            directory_bytes_max: 96 << 20,
            seed,
            commit_on_append: false,
            write_bytes_max: 64 << 10,
            tail_cache_bytes: self.tail_cache_bytes,
            frame_cache_bytes: 128 << 10,
            index_cache_bytes: 64 << 10,
            checkpoint_interval_bytes: self.checkpoint_interval_bytes,
            checkpoint_deltas_max: 3,
            retention_check_interval_ms: 2_000,
            scrub_period_ms: 20_000,
            ..LogOptions::default()
        }
    }

    fn metadata_options(&self, seed: u64) -> LogOptions {
        LogOptions {
            cluster_id: CLUSTER_ID.to_string(),
            node_id: NODE_ID,
            directory_id: DirectoryId(directory_id(0).0),
            segment_bytes: 1 << 20,
            format_segments: 3,
            directory_bytes_max: 64 << 20,
            seed,
            ..LogOptions::default()
        }
    }
}

fn directory_id(index: u16) -> Uuid {
    Uuid([0xd0 + index as u8; 16])
}

/// All that survives the process.
pub struct Storage {
    /// By core and log.
    pub disks: BTreeMap<(u16, u16), SimulatedDisk>,
    /// Small files, replaced whole.
    pub files: BTreeMap<PathBuf, Bytes>,
}

impl Storage {
    /// A node's directories, formatted.
    pub fn format(shape: &Shape, random: &mut Random) -> Self {
        let mut disks = BTreeMap::new();
        for core in 0..shape.cores {
            for (log, shard, directory) in shape.shard_logs(core) {
                let mut disk = SimulatedDisk::new(random.next());
                Log::format(&mut disk, &shape.log_options(shard, directory, 0))
                    .expect("a new disk takes a format");
                disks.insert((core, log), disk);
            }
        }
        let files = BTreeMap::new();
        let mut storage = Self { disks, files };
        storage.format_metadata(shape, random);
        storage
    }

    /// An empty metadata log, with its quorum state and the checkpoint that names its voter.
    pub fn format_metadata(&mut self, shape: &Shape, random: &mut Random) {
        let mut disk = SimulatedDisk::new(random.next());
        Log::format(&mut disk, &shape.metadata_options(0)).expect("a new disk takes a format");
        self.disks.insert((0, shape.metadata_log()), disk);
        let mut disk = SimulatedDisk::new(random.next());
        disk.create(FileName::Root, 2 * BLOCK_BYTES as u64, true)
            .expect("a new disk takes a file");
        self.disks.insert((0, shape.metadata_log() + 1), disk);
        self.files.clear();
        let name = snapshot::file_name(OffsetAndEpoch::BOOTSTRAP);
        let path = PathBuf::from(METADATA_FOLDER).join(name);
        self.files.insert(path, voters_file());
    }

    /// Power is back.
    pub fn restart(&mut self) {
        for disk in self.disks.values_mut() {
            disk.restart();
        }
    }
}

/// The checkpoint that names the only voter.
fn voters_file() -> Bytes {
    let voter = Voter::new(ReplicaKey::new(NODE_ID, directory_id(0)), vec![endpoint()]);
    let (writer, header) = SnapshotWriter::new(WriterOptions {
        id: OffsetAndEpoch::BOOTSTRAP,
        last_contained_log_timestamp_ms: 0,
        kraft_version: 1,
        voters: Some(VoterSet::new([voter])),
        now_ms: 0,
        batch_bytes_max: 1 << 20,
    });
    let mut file = header.to_vec();
    file.extend_from_slice(&writer.finish());
    Bytes::from(file)
}

fn endpoint() -> Endpoint {
    Endpoint {
        name: "CONTROLLER".to_string(),
        host: "node".to_string(),
        port: 9093,
    }
}

fn listener(name: &str, port: u16, controller: bool) -> Listener {
    Listener {
        name: name.to_string(),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        advertised_host: "node".to_string(),
        advertised_port: port,
        controller,
    }
}

fn node_options(shape: &Shape, random: &mut Random) -> NodeOptions {
    let mut incarnation = [0; 16];
    incarnation[..8].copy_from_slice(&random.next().to_be_bytes());
    incarnation[8..].copy_from_slice(&random.next().to_be_bytes());
    NodeOptions {
        cluster_id: CLUSTER_ID.to_string(),
        node_id: NODE_ID,
        cores: shape.cores,
        shards: shape.shards,
        listeners: vec![
            listener("PLAINTEXT", 9092, false),
            listener("CONTROLLER", 9093, true),
        ],
        rack: None,
        status: Arc::new(NodeStatus::new(usize::from(shape.directories))),
        directories: (0..shape.directories)
            .map(|index| DirectoryOptions {
                id: directory_id(index),
                path: format!("/data-{index}"),
                space: Arc::default(),
            })
            .collect(),
        static_values: static_values(),
        hash_seed: random.next(),
        auto_create_topics: false,
        bootstrap_features: vec![
            ("metadata.version".to_string(), 30),
            ("kraft.version".to_string(), 1),
            ("eligible.leader.replicas.version".to_string(), 1),
        ],
        kraft_version: 1,
        snapshot_interval_bytes: shape.snapshot_interval_bytes,
        decompressed_batch_bytes_max: 1 << 20,
        telemetry_bytes_max: 1 << 20,
        clients: Arc::default(),
        fetch_bytes_max: 1 << 20,
        fetch_sessions_max: 100,
        incarnation_id: Uuid(incarnation),
        previous_broker_epoch: -1,
    }
}

fn static_values() -> BTreeMap<String, String> {
    [
        ("offsets.topic.num.partitions", "3"),
        ("offsets.topic.replication.factor", "1"),
        ("group.initial.rebalance.delay.ms", "0"),
    ]
    .map(|(key, value)| (key.to_string(), value.to_string()))
    .into()
}

fn metrics(core: u16) -> Arc<CoreMetrics> {
    use std::sync::{Mutex, PoisonError};
    // Hundreds of cells each: made once, since nobody reads them here.
    static MADE: Mutex<BTreeMap<u16, Arc<CoreMetrics>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || Arc::new(CoreMetrics::new(&Registry::default(), core));
    made.entry(core).or_insert_with(make).clone()
}

/// Recovers everything and makes the machines of all cores.
///
/// # Errors
/// What was damaged or refused, in words.
pub fn start(
    shape: &Shape,
    storage: &mut Storage,
    random: &mut Random,
    now: Now,
) -> Result<Vec<Core>, String> {
    let mut options = node_options(shape, random);
    let mut epochs = Vec::new();
    let mut shards_by_core = Vec::new();
    for core in 0..shape.cores {
        shards_by_core.push(start_shards(
            shape,
            storage,
            random,
            now,
            core,
            &mut epochs,
        )?);
    }
    let agreed = epochs.iter().all(|epoch| *epoch == epochs[0]);
    options.previous_broker_epoch = if agreed { epochs[0] } else { -1 };
    let mut pieces = Vec::new();
    let mut group = Some(start_group(
        shape,
        storage,
        random,
        now,
        &options,
        &mut |piece| pieces.push(piece),
    )?);
    let options = Arc::new(options);
    Ok((0..shape.cores)
        .zip(shards_by_core)
        .map(|(index, mut shards)| {
            let mut adoption = Adoption::default();
            for piece in &pieces {
                adoption.take((index, &options), &mut shards, now, piece);
            }
            Core::new(CoreParts {
                adopted: Some(adoption.finish()),
                index,
                options: options.clone(),
                metrics: metrics(index),
                image: Arc::new(MetadataImage::empty()),
                shards,
                metadata_group: group.take(),
            })
        })
        .collect())
}

fn start_shards(
    shape: &Shape,
    storage: &mut Storage,
    random: &mut Random,
    now: Now,
    core: u16,
    epochs: &mut Vec<i64>,
) -> Result<Vec<OwnedShard>, String> {
    let logs = shape.shard_logs(core);
    let mut shards = Vec::new();
    for of_shard in logs.chunks(usize::from(shape.directories)) {
        let (first_log, number, _) = of_shard[0];
        let seed = random.next();
        let shard_options = ShardOptions {
            hash_seed: seed,
            stray_rest_ms: 1_000,
            groups: Some(GroupOptions {
                initial_rebalance_delay_ms: 0,
                ..GroupOptions::with_seed((seed, random.next()))
            }),
            ..ShardOptions::default()
        };
        let mut recovered = Vec::new();
        for (log, shard, directory) in of_shard {
            let disk = storage
                .disks
                .get_mut(&(core, *log))
                .expect("it was formatted");
            let mut producers = RecoveredProducers::new(now, &shard_options);
            let options = shape.log_options(*shard, *directory, random.next());
            let (log, report) = Log::recover(disk, options, now, &mut producers)
                .map_err(|error| format!("shard {shard}, directory {directory}: {error}"))?;
            if !report.undamaged() {
                return Err(format!(
                    "shard {shard}, directory {directory}: damage is reported where none was done: {:?}",
                    report.damage
                ));
            }
            epochs.push(report.broker_epoch);
            recovered.push(RecoveredLog {
                directory: DirectoryId(directory_id(*directory).0),
                log,
                producers,
            });
        }
        shards.push(OwnedShard {
            number,
            shard: Shard::new(shard_options, now, recovered),
            first_log,
            directories: shape.directories,
            metrics: ShardMetrics::new(
                &Registry::default(),
                number,
                &vec![Path::new("/data"); usize::from(shape.directories)],
                now.monotonic_us,
            ),
        });
    }
    Ok(shards)
}

fn stored_snapshots(storage: &Storage) -> StoredSnapshots {
    let mut found = Vec::new();
    for (path, bytes) in &storage.files {
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(id) = name.and_then(snapshot::parse_file_name) {
            found.push((id, bytes));
        }
    }
    found.sort();
    StoredSnapshots {
        sizes: found
            .iter()
            .map(|(id, bytes)| (*id, bytes.len() as u64))
            .collect(),
        newest: found.last().map_or(Vec::new(), |(_, bytes)| bytes.to_vec()),
    }
}

fn start_group(
    shape: &Shape,
    storage: &mut Storage,
    random: &mut Random,
    now: Now,
    options: &NodeOptions,
    pieces: PieceSink<'_>,
) -> Result<Box<odradek_server::node::metadata_group::MetadataGroup>, String> {
    let snapshots = stored_snapshots(storage);
    let facts = GroupFacts {
        raft: consensus::Options {
            cluster_id: CLUSTER_ID.to_string(),
            local: ReplicaKey::new(NODE_ID, directory_id(0)),
            listener_name: "CONTROLLER".to_string(),
            local_endpoints: vec![endpoint()],
            seed: random.next(),
            ..consensus::Options::default()
        },
        controller: ControllerOptions {
            node_id: NODE_ID,
            cluster_id: CLUSTER_ID.to_string(),
            static_config: static_values(),
            topic_limits: TopicConfigLimits::default(),
            kraft_version: 1,
            hash_seed: options.hash_seed,
            random_seed: u128::from(random.next()) << 64 | u128::from(random.next()),
        },
        log: shape.metadata_options(random.next()),
        now,
        first_log: shape.metadata_log(),
        folder: PathBuf::from(METADATA_FOLDER),
        metrics: LogMetrics::new(
            &Registry::default(),
            Path::new(METADATA_FOLDER),
            now.monotonic_us,
        ),
    };
    let mut quorum_disks = storage.disks.split_off(&(0, shape.metadata_log() + 1));
    let opened = open_group(
        facts,
        GroupDisks {
            log: storage
                .disks
                .get_mut(&(0, shape.metadata_log()))
                .expect("it was formatted"),
            quorum: quorum_disks
                .get_mut(&(0, shape.metadata_log() + 1))
                .expect("it was formatted"),
            snapshots,
        },
        pieces,
    );
    storage.disks.append(&mut quorum_disks);
    opened.map_err(|error| format!("the metadata group: {error}"))
}
