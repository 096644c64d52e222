//! Opening the metadata group: the newest snapshot, the log behind it, the quorum state, and the machines made from them.
//! Blocking, on core 0's thread, before its loop runs.

use super::drive::drive;
use super::options::Prepared;
use crate::machine::Now;
use crate::node::adoption::SnapshotPiece;
use crate::node::log_metrics::LogMetrics;
use crate::node::metadata_group::{GroupParts, METADATA_TOPIC_ID, MetadataGroup};
use crate::shell::{CoreContext, RealDisk, StartError, use_memory_of};
use crate::storage;
use bytes::Bytes;
use odradek_protocol::metadata_records::MetadataRecord;
use odradek_raft::configs::TopicConfigLimits;
use odradek_raft::consensus::{
    self, LogView, Persisted, Raft, ReplicaKey, SnapshotId, SnapshotView, quorum_state,
};
use odradek_raft::controller::{ControllerOptions, QuorumController};
use odradek_raft::image::{BuilderOptions, MetadataDelta, MetadataImage, SnapshotLoader};
use odradek_raft::snapshot::{self, SnapshotError, SnapshotPart, SnapshotReader};
use odradek_wal::{
    BLOCK_BYTES, CreateReplica, Disk, FileName, IgnoreAll, Log, LogOptions, Offset, Output,
    ReadAnswer, ReadData, ReadRefusal, ReplicaId,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

/// Kafka's file of the records a new cluster begins with.
pub const BOOTSTRAP_FILE: &str = "bootstrap.checkpoint";
const READ_BYTES: usize = 8 << 20;
/// A piece of a snapshot has so many partitions: few enough that shards begin early, many enough that making one costs nothing beside them.
const PIECE_PARTITIONS: usize = 16_384;

/// Takes the pieces of the newest snapshot, in order.
pub type PieceSink<'a> = &'a mut dyn FnMut(SnapshotPiece);

/// Features and levels in `bootstrap.checkpoint`, for the first active controller of an empty log.
pub fn bootstrap_features(metadata_directory: &Path) -> Result<Vec<(String, i16)>, String> {
    let path = metadata_directory.join(BOOTSTRAP_FILE);
    let refusal = |cause: String| {
        format!(
            "{} cannot be used: {cause}. Format the node again, or restore the file",
            path.display()
        )
    };
    let bytes = fs::read(&path).map_err(|error| refusal(error.to_string()))?;
    let mut reader = SnapshotReader::unnamed();
    let mut parts = Vec::new();
    let read = reader
        .feed(&bytes, &mut parts)
        .and_then(|()| reader.finish());
    read.map_err(|error| refusal(error.to_string()))?;
    let mut features = Vec::new();
    let records = parts.into_iter().flat_map(|part| match part {
        SnapshotPart::Records(records) => records,
        _ => Vec::new(),
    });
    for record in records {
        let (record, _version) =
            MetadataRecord::decode(record).map_err(|error| refusal(error.to_string()))?;
        if let MetadataRecord::FeatureLevel(feature) = record {
            features.push((feature.name.to_string(), feature.feature_level));
        }
    }
    Ok(features)
}

/// Snapshots as they are stored, the oldest first: their names, how many bytes each has, and those of the newest. Older ones are there for whoever
/// fetches one, and for the day on which the newest is damaged; a start does not read them.
pub struct StoredSnapshots {
    pub sizes: Vec<(SnapshotId, u64)>,
    pub newest: Vec<u8>,
}

/// What all stored snapshots say, and the image of the newest.
pub struct LoadedSnapshots {
    views: Vec<SnapshotView>,
    image: MetadataImage,
    /// All that the newest snapshot holds, as a change: shards are told of it like of any other.
    delta: Option<MetadataDelta>,
    applied: i64,
    bytes: u64,
}

/// What a metadata group is made from beside what is stored.
pub struct GroupFacts {
    pub raft: consensus::Options,
    pub controller: ControllerOptions,
    pub log: LogOptions,
    pub now: Now,
    /// Index of the metadata log among core 0's logs; the quorum state's folder is the next.
    pub first_log: u16,
    /// Where `.checkpoint` files go.
    pub folder: PathBuf,
    pub metrics: LogMetrics,
}

/// What is stored of a metadata group: its log, the quorum state, and its snapshots.
pub struct GroupDisks<'a> {
    pub log: &'a mut dyn Disk,
    pub quorum: &'a mut dyn Disk,
    pub snapshots: StoredSnapshots,
}

fn cannot_be_used(folder: &Path, cause: &str) -> StartError {
    StartError(format!(
        "the metadata log in {} cannot be used: {cause}",
        folder.display()
    ))
}

/// Begins to read the snapshots, on a thread of its own: cores recover their shards meanwhile, and then each takes the pieces that come out of
/// its end. It ends before the node serves.
pub fn begin_loading(
    prepared: &Prepared,
    cores: u16,
) -> Result<(LoadingSnapshots, Vec<mpsc::Receiver<SnapshotPiece>>), StartError> {
    // As many pieces as the snapshot has may wait: what they name is in memory once, in the image.
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..cores).map(|_| mpsc::channel()).unzip();
    let folder = prepared.directories.metadata.join(storage::METADATA_FOLDER);
    let hash_seed = prepared.node.hash_seed;
    let names = list_snapshot_files(&folder).map_err(|cause| cannot_be_used(&folder, &cause))?;
    let newest_end = names.last().map_or(0, |id| id.offset);
    let load = move || {
        // The image is core 0's from then on.
        use_memory_of(0);
        let mut send = |piece: SnapshotPiece| {
            for sender in &senders {
                // A core that failed to start takes none; the node ends for that.
                let _ = sender.send(piece.clone());
            }
        };
        let loaded = read_snapshot_files(&folder, &names)
            .and_then(|stored| load_snapshots(stored, hash_seed, &mut send));
        loaded.map_err(|cause| cannot_be_used(&folder, &cause))
    };
    let thread = std::thread::Builder::new()
        .name("snapshot".into())
        .spawn(load)
        .map_err(|error| StartError(format!("no thread to read the metadata: {error}")))?;
    Ok((LoadingSnapshots { newest_end, thread }, receivers))
}

/// Snapshots that are being read.
pub struct LoadingSnapshots {
    /// The offset behind the newest.
    newest_end: i64,
    thread: std::thread::JoinHandle<Result<LoadedSnapshots, StartError>>,
}

impl LoadingSnapshots {
    fn wait(self) -> Result<LoadedSnapshots, StartError> {
        self.thread.join().map_err(|_| {
            StartError("reading the metadata snapshots ended in a panic; see above".to_string())
        })?
    }
}

/// Opens everything; `first_log` is the index of the metadata log among core 0's logs.
pub fn build(
    prepared: &Prepared,
    context: &CoreContext,
    first_log: u16,
    loading: LoadingSnapshots,
) -> Result<Box<MetadataGroup>, StartError> {
    let directory = &prepared.directories.metadata;
    let folder = directory.join(storage::METADATA_FOLDER);
    let refusal = |cause: String| cannot_be_used(&folder, &cause);
    let open = |folder: PathBuf| RealDisk::open(&folder).map_err(|error| error.to_string());
    let mut log_disk = open(storage::metadata_log_folder(directory)).map_err(refusal)?;
    let mut quorum_disk = open(storage::quorum_folder(directory)).map_err(refusal)?;
    let facts = GroupFacts {
        raft: raft_options(prepared, context),
        controller: controller_options(prepared, context),
        log: storage::format::metadata_log_options(
            &prepared.config,
            &prepared.directories.cluster_id,
            prepared.directories.metadata_id,
            context.random[1],
        ),
        now: context.read_clock(),
        first_log,
        folder: folder.clone(),
        metrics: LogMetrics::new(
            &context.registry,
            &storage::metadata_log_folder(directory),
            context.read_clock().monotonic_us,
        ),
    };
    let disks = (
        &mut log_disk as &mut dyn Disk,
        &mut quorum_disk as &mut dyn Disk,
    );
    let opened = open_log(disks.0, facts.log.clone(), facts.now, loading.newest_end);
    let opened = opened.map_err(refusal)?;
    let group = open_loaded(facts, opened, disks.1, loading.wait()?).map_err(refusal)?;
    prepared.node.status.log_recovered();
    Ok(group)
}

/// Recovers the group from what is stored, on any disk: the simulation comes in here.
pub fn open_group(
    facts: GroupFacts,
    disks: GroupDisks<'_>,
    pieces: PieceSink<'_>,
) -> Result<Box<MetadataGroup>, String> {
    let newest_end = disks.snapshots.sizes.last().map_or(0, |(id, _)| id.offset);
    let opened = open_log(disks.log, facts.log.clone(), facts.now, newest_end)?;
    let stored = load_snapshots(disks.snapshots, facts.controller.hash_seed, pieces)?;
    open_loaded(facts, opened, disks.quorum, stored)
}

fn open_loaded(
    facts: GroupFacts,
    (log, replica, view): (Log, ReplicaId, LogView),
    quorum_disk: &mut dyn Disk,
    stored: LoadedSnapshots,
) -> Result<Box<MetadataGroup>, String> {
    let persisted = read_quorum_state(quorum_disk)?;
    let raft = Raft::recover(
        raft_now(facts.now),
        facts.raft,
        persisted,
        view,
        stored.views,
    )
    .map_err(|error| error.to_string())?;
    let loaded = stored.delta.map(|delta| (stored.image.clone(), delta));
    let controller = QuorumController::new(facts.controller, stored.image);
    tracing::info!(
        "recovered the metadata log: snapshot at {}, log end at {}",
        stored.applied,
        raft.log_end()
    );
    Ok(Box::new(MetadataGroup::new(GroupParts {
        raft,
        controller,
        log,
        replica,
        log_index: facts.first_log,
        quorum_index: facts.first_log + 1,
        folder: facts.folder,
        applied: stored.applied,
        loaded,
        snapshot_bytes: stored.bytes,
        metrics: facts.metrics,
    })))
}

fn raft_now(now: Now) -> consensus::Now {
    consensus::Now {
        monotonic_us: now.monotonic_us,
        wall_ms: now.wall_ms,
    }
}

fn raft_options(prepared: &Prepared, context: &CoreContext) -> consensus::Options {
    let controllers = prepared
        .config
        .listeners
        .iter()
        .filter(|listener| listener.controller);
    let local_endpoints: Vec<consensus::Endpoint> = controllers
        .map(|listener| consensus::Endpoint {
            name: listener.name.clone(),
            host: listener.advertised_host.clone(),
            port: listener.advertised_port,
        })
        .collect();
    consensus::Options {
        cluster_id: prepared.directories.cluster_id.clone(),
        local: ReplicaKey::new(prepared.config.node_id, prepared.directories.metadata_id),
        listener_name: local_endpoints.first().map_or_else(
            || "CONTROLLER".to_string(),
            |endpoint| endpoint.name.clone(),
        ),
        local_endpoints,
        seed: context.random[0],
        ..consensus::Options::default()
    }
}

fn controller_options(prepared: &Prepared, context: &CoreContext) -> ControllerOptions {
    ControllerOptions {
        node_id: prepared.config.node_id,
        cluster_id: prepared.directories.cluster_id.clone(),
        static_config: prepared.config.static_values.clone(),
        topic_limits: TopicConfigLimits::default(),
        kraft_version: prepared.node.kraft_version,
        hash_seed: prepared.node.hash_seed,
        random_seed: u128::from(context.random[0]) << 64 | u128::from(context.random[1]),
    }
}

/// The names of stored snapshots in their order. Files that were being written when the last life ended are removed.
fn list_snapshot_files(folder: &Path) -> Result<Vec<SnapshotId>, String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".checkpoint.part")
            || name.ends_with(".checkpoint.deleted")
            || name.ends_with(".tmp")
        {
            fs::remove_file(entry.path())
                .map_err(|error| format!("{name} cannot be removed: {error}"))?;
        } else if let Some(id) = snapshot::parse_file_name(&name) {
            found.push(id);
        }
    }
    found.sort();
    Ok(found)
}

fn read_snapshot_files(folder: &Path, names: &[SnapshotId]) -> Result<StoredSnapshots, String> {
    let mut stored = StoredSnapshots {
        sizes: Vec::new(),
        newest: Vec::new(),
    };
    for id in names {
        let name = snapshot::file_name(*id);
        let size = fs::metadata(folder.join(&name)).map(|file| file.len());
        let size = size.map_err(|error| format!("{name}: {error}"))?;
        stored.sizes.push((*id, size));
    }
    if let Some(id) = names.last() {
        let name = snapshot::file_name(*id);
        stored.newest = fs::read(folder.join(&name)).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(stored)
}

fn load_snapshots(
    stored: StoredSnapshots,
    hash_seed: u64,
    pieces: PieceSink<'_>,
) -> Result<LoadedSnapshots, String> {
    let mut loaded = LoadedSnapshots {
        views: Vec::new(),
        image: MetadataImage::empty(),
        delta: None,
        applied: 0,
        bytes: 0,
    };
    let mut sizes = stored.sizes;
    let Some((id, size_bytes)) = sizes.pop() else {
        return Ok(loaded);
    };
    // What an older one says of the quorum, the newest says anew.
    loaded
        .views
        .extend(sizes.into_iter().map(|(id, size_bytes)| SnapshotView {
            id,
            size_bytes,
            kraft_version: 0,
            voters: None,
        }));
    let named = |error: String| format!("{}: {error}", snapshot::file_name(id));
    let bytes = Bytes::from(stored.newest);
    let view = if id.offset > 0 {
        loaded.bytes = size_bytes;
        loaded.applied = id.offset;
        let newest = load_newest(id, bytes, hash_seed, pieces);
        let (view, image, delta) = newest.map_err(named)?;
        (loaded.image, loaded.delta) = (image, Some(delta));
        view
    } else {
        // The one that `format` wrote speaks of the quorum alone.
        let walked = snapshot::walk_snapshot(id, bytes, |_, _| Ok::<(), SnapshotError>(()));
        walked.map_err(|error| named(error.to_string()))?.0
    };
    loaded.views.push(view);
    Ok(loaded)
}

/// The image of one snapshot, record by record: millions of them are never held at once.
fn load_newest(
    id: SnapshotId,
    bytes: Bytes,
    hash_seed: u64,
    pieces: PieceSink<'_>,
) -> Result<(SnapshotView, MetadataImage, MetadataDelta), String> {
    struct Cause(String);
    impl From<SnapshotError> for Cause {
        fn from(error: SnapshotError) -> Self {
            Cause(error.to_string())
        }
    }
    let mut loader = SnapshotLoader::new(id.offset - 1, BuilderOptions { hash_seed });
    let walked = snapshot::walk_snapshot(id, bytes, |held, record| {
        let taken = loader.take(held, record);
        if loader.partitions_gathered() >= PIECE_PARTITIONS {
            give_piece(&mut loader, pieces);
        }
        taken.map_err(|error| Cause(error.to_string()))
    });
    let (view, _header) = walked.map_err(|cause| cause.0)?;
    give_piece(&mut loader, pieces);
    let loaded = loader.finish(id.epoch);
    let (image, delta) = loaded.map_err(|error| error.to_string())?;
    Ok((view, image, delta))
}

fn give_piece(loader: &mut SnapshotLoader, pieces: PieceSink<'_>) {
    if let Some(piece) = loader.piece() {
        pieces(Arc::new(piece));
    }
}

/// Recovers the log of the metadata and reads it from the batch on that ends with the newest snapshot, which bounds what there is to read.
fn open_log(
    disk: &mut dyn Disk,
    options: LogOptions,
    now: Now,
    newest_end: i64,
) -> Result<(Log, ReplicaId, LogView), String> {
    let (mut log, report) =
        Log::recover(disk, options, now, &mut IgnoreAll).map_err(|error| error.to_string())?;
    // The newest: a log that was begun anew behind a snapshot has another replica.
    let known = log.replicas().map(|(id, _)| id).last();
    let replica = match known {
        Some(replica) => replica,
        None => create_replica(&mut log, disk, now)?,
    };
    let state = log
        .replica(replica)
        .ok_or("the replica of the metadata log is gone")?;
    let first_read = state.log_start.0.max(newest_end - 1);
    let range = (replica, Offset(first_read), state.log_end);
    let (batches, from) = read_batches(&mut log, disk, now, range, READ_BYTES)?;
    // One that was begun anew, behind a snapshot, starts with its first batch.
    let first = batches
        .first()
        .and_then(|batch| batch.first_chunk().copied());
    let begun_anew = first
        .map(i64::from_be_bytes)
        .filter(|first| *first >= newest_end);
    let view = LogView {
        start_offset: state.log_start.0.max(begun_anew.unwrap_or(0)),
        damaged: !report.undamaged() || from < state.log_end,
        batches,
    };
    Ok((log, replica, view))
}

fn create_replica(log: &mut Log, disk: &mut dyn Disk, now: Now) -> Result<ReplicaId, String> {
    let mut outputs = Vec::new();
    let create = CreateReplica {
        topic_id: METADATA_TOPIC_ID,
        partition: 0,
        metadata_offset: 0,
    };
    let replica = log
        .create_replica(now, create, &mut outputs)
        .map_err(|refusal| refusal.to_string())?;
    drive(log, disk, now, outputs);
    Ok(replica)
}

/// The batches of a range, in pieces of `bytes_max`, and where they end: before the bound when one is damaged. Consensus says what that means
/// for this voter (case 19).
fn read_batches(
    log: &mut Log,
    disk: &mut dyn Disk,
    now: Now,
    (replica, mut from, bound): (ReplicaId, Offset, Offset),
    bytes_max: usize,
) -> Result<(Vec<Bytes>, Offset), String> {
    let mut batches: Vec<Bytes> = Vec::new();
    while from < bound {
        let data = read(log, disk, now, (replica, from, bound), bytes_max)?;
        let Some(data) = data.filter(|data| !data.slices.is_empty()) else {
            break;
        };
        from = data.next_offset;
        batches.extend(data.slices);
    }
    Ok((batches, from))
}

/// Batches from an offset on; none, and said so, when they are damaged.
fn read(
    log: &mut Log,
    disk: &mut dyn Disk,
    now: Now,
    (replica, from, bound): (ReplicaId, Offset, Offset),
    bytes_max: usize,
) -> Result<Option<ReadData>, String> {
    let mut outputs = Vec::new();
    match log.read(now, replica, from, bound, bytes_max, true, 0, &mut outputs) {
        ReadAnswer::Ready(data) => {
            // What it reads ahead, too, is to be done: a later read may wait for it.
            log.issue_reads(now, &mut outputs);
            drive(log, disk, now, outputs);
            Ok(Some(data))
        }
        ReadAnswer::Damaged { first, last } => {
            tracing::error!("the metadata log is damaged: offsets {first} to {last}");
            Ok(None)
        }
        ReadAnswer::Pending => {
            log.issue_reads(now, &mut outputs);
            let mut done = None;
            for output in drive(log, disk, now, outputs) {
                match output {
                    Output::ReadDone { result, .. } => done = Some(result),
                    Output::Damaged { file, position, .. } => tracing::error!(
                        "the metadata log holds damaged bytes in {file} at {position}"
                    ),
                    _ => {}
                }
            }
            match done {
                Some(Ok(data)) => Ok(Some(data)),
                Some(Err(ReadRefusal::Damaged { first, last })) => {
                    tracing::error!("the metadata log is damaged: offsets {first} to {last}");
                    Ok(None)
                }
                Some(Err(refusal)) => Err(format!("reading offset {from}: {refusal:?}")),
                None => Err(format!("reading offset {from} was never answered")),
            }
        }
        other => Err(format!("reading offset {from}: {other:?}")),
    }
}

fn read_quorum_state(disk: &mut dyn Disk) -> Result<Persisted, String> {
    let mut slots = Vec::new();
    for slot in 0..2u64 {
        let read =
            crate::aligned::read(disk, FileName::Root, slot * BLOCK_BYTES as u64, BLOCK_BYTES);
        slots.push(read.map_err(|failure| format!("the quorum state cannot be read: {failure}"))?);
    }
    match quorum_state::recover_slots(&slots[0], &slots[1]) {
        quorum_state::RecoveredSlots::Empty => Ok(Persisted::Nothing),
        quorum_state::RecoveredSlots::Found { state, counter } => {
            Ok(Persisted::Found { state, counter })
        }
        quorum_state::RecoveredSlots::Damaged(damage) => Ok(Persisted::Damaged(damage)),
        quorum_state::RecoveredSlots::NewerFormat { version } => Err(format!(
            "the quorum state has format {version}, written by a newer version: start with that version"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odradek_wal::simulation::SimulatedDisk;
    use odradek_wal::{FrameMeta, LeaderEpoch};

    /// When a stopped log is opened again.
    const LATER: Now = Now {
        monotonic_us: 9,
        wall_ms: 9,
    };

    fn log_options(segment_bytes: u64) -> LogOptions {
        LogOptions {
            segment_bytes,
            directory_bytes_max: 400 << 20,
            seed: 5,
            ..LogOptions::default()
        }
    }

    /// A stopped log of so many batches of these many bytes, each one offset.
    fn stopped_log(options: &LogOptions, batches: i64, bytes: usize) -> SimulatedDisk {
        let now = Now {
            monotonic_us: 1,
            wall_ms: 1,
        };
        let mut disk = SimulatedDisk::new(1);
        Log::format(&mut disk, options).unwrap();
        let (mut log, _) = Log::recover(&mut disk, options.clone(), now, &mut IgnoreAll).unwrap();
        let replica = create_replica(&mut log, &mut disk, now).unwrap();
        for offset in 0..batches {
            let meta = FrameMeta {
                replica,
                base_offset: Offset(offset),
                last_offset: Offset(offset),
                leader_epoch: LeaderEpoch(1),
                max_timestamp: 1,
                producer_id: -1,
                producer_epoch: -1,
                base_sequence: -1,
                flags: 0,
            };
            let (mut outputs, body) = (Vec::new(), vec![offset as u8; bytes - 8]);
            let head = offset.to_be_bytes();
            log.append(now, &meta, &head, &body, None, &mut outputs)
                .unwrap();
            drive(&mut log, &mut disk, now, outputs);
        }
        log.set_high_watermark(replica, Offset(batches));
        let mut outputs = Vec::new();
        log.shut_down(now, &mut outputs);
        drive(&mut log, &mut disk, now, outputs);
        disk
    }

    #[test]
    fn whatever_is_read_ahead_no_piece_waits_for_ever() {
        let options = log_options(4 << 20);
        let mut disk = stopped_log(&options, 200, 100_000);
        let (mut log, _) = Log::recover(&mut disk, options, LATER, &mut IgnoreAll).unwrap();
        let (replica, state) = log.replicas().last().unwrap();
        let range = (replica, state.log_start, state.log_end);
        let (batches, end) = read_batches(&mut log, &mut disk, LATER, range, 250_000).unwrap();
        assert_eq!((batches.len(), end), (200, Offset(200)));
    }

    #[test]
    fn a_long_metadata_log_is_read_whole_at_a_start() {
        let options = log_options(20 << 20);
        for (batches, bytes) in [(60, 900_000), (90, 500_000), (400, 100_000)] {
            let mut disk = stopped_log(&options, batches, bytes);
            let (_, _, view) = open_log(&mut disk, options.clone(), LATER, 0).unwrap();
            assert!(!view.damaged);
            assert_eq!(view.batches.len(), batches as usize, "of {bytes} bytes");
        }
    }

    #[test]
    fn a_start_reads_the_log_from_the_batch_that_ends_the_newest_snapshot() {
        let options = log_options(4 << 20);
        for (newest_end, read) in [(0, 10), (1, 10), (7, 4), (10, 1), (11, 0)] {
            let mut disk = stopped_log(&options, 10, 1_000);
            let (_, _, view) = open_log(&mut disk, options.clone(), LATER, newest_end).unwrap();
            let begun = (view.start_offset, view.damaged, view.batches.len());
            assert_eq!(
                begun,
                (0, false, read),
                "a snapshot of {newest_end} offsets"
            );
        }
    }
}
