//! From a checked configuration to a running node: directories checked, logs recovered on the threads that will own them, machines built,
//! and the shell run. Nothing is written before every check has passed.

mod directories;
mod drive;
mod metadata;
mod metrics;
mod options;
mod space;

pub use drive::drive;
pub use metadata::{
    BOOTSTRAP_FILE, GroupDisks, GroupFacts, PieceSink, StoredSnapshots, open_group,
};

use crate::config::ServerConfig;
use crate::node::adoption::{Adoption, SnapshotPiece};
use crate::node::log_metrics::ShardMetrics;
use crate::node::{Core, CoreParts, OwnedShard, routing};
use crate::shell::{CoreContext, MachineBuilder, RealDisk, Shell, ShellOptions, StartError};
use crate::storage;
use directories::Directories;
use metadata::LoadingSnapshots;
use odradek_raft::image::MetadataImage;
use odradek_shard::{RecoveredLog, RecoveredProducers, Shard, ShardOptions};
use odradek_wal::{DirectoryId, Log};
use options::Prepared;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};

/// Runs a node until it ends; the exit code says how.
pub fn run(config: ServerConfig) -> ExitCode {
    match start(config) {
        Ok(code) => ExitCode::from(code),
        Err(error) => crate::cli::refuse(error),
    }
}

fn start(config: ServerConfig) -> Result<u8, StartError> {
    let directories = Directories::check(&config)?;
    let shell = Shell::prepare(shell_options(&config, &directories))?;
    for line in shell.report() {
        tracing::info!("{line}");
    }
    let cores = shell_cores(&directories) as u16;
    let prepared = Arc::new(Prepared::new(&config, &directories, cores)?);
    announce(&config, &directories, cores);
    let (epoch_sender, epoch_receiver) = mpsc::channel();
    let (loading, pieces) = metadata::begin_loading(&prepared, cores)?;
    let mut of_metadata = Some((epoch_receiver, loading));
    let mut builders: Vec<MachineBuilder<Core>> = Vec::new();
    let mut logs: Vec<Vec<PathBuf>> = Vec::new();
    for (core, pieces) in (0..cores).zip(pieces) {
        logs.push(log_folders(&directories, core, cores));
        let prepared = prepared.clone();
        let sender = epoch_sender.clone();
        let of_metadata = of_metadata.take();
        builders.push(Box::new(move |context| {
            build_core(&prepared, context, &sender, &pieces, of_metadata)
        }));
    }
    drop(epoch_sender);
    space::watch(&prepared, &shell.registry());
    // And the metadata log.
    let shard_logs = usize::from(directories.shards) * directories.list.len();
    prepared.node.status.begin_recovery(shard_logs + 1);
    let pages = metrics::pages(&shell, &prepared);
    let exit = shell.run(logs, pages, builders);
    if exit.code == 0 {
        tracing::info!("{}", exit.reason);
    } else {
        tracing::error!("stopped: {}", exit.reason);
    }
    Ok(exit.code)
}

/// Cores that run a machine: one per processor this process may use, but no more than there are shards to run.
fn shell_cores(directories: &Directories) -> usize {
    crate::shell::processors(usize::from(directories.shards))
        .len()
        .max(1)
}

fn shell_options(config: &ServerConfig, directories: &Directories) -> ShellOptions {
    let mut options = ShellOptions {
        cores: crate::shell::processors(usize::from(directories.shards)),
        listeners: config
            .listeners
            .iter()
            .map(|listener| listener.address)
            .collect(),
        http: Some(config.metrics_listener),
        directories: config.log_dirs.clone(),
        handle_signals: true,
        ..ShellOptions::default()
    };
    if options.cores.is_empty() {
        options.cores.push(None);
    }
    options.limits.connections_max =
        usize::try_from(config.number("max.connections")).unwrap_or(usize::MAX);
    options.limits.connections_per_ip_max =
        usize::try_from(config.number("max.connections.per.ip")).unwrap_or(usize::MAX);
    options.limits.idle_ms = config.number("connections.max.idle.ms");
    options.limits.frame_bytes_max =
        usize::try_from(config.number("socket.request.max.bytes")).unwrap_or(usize::MAX);
    options
}

/// What the operator should read first: what runs where, and how to stop it.
fn announce(config: &ServerConfig, directories: &Directories, cores: u16) {
    let list: Vec<String> = config
        .log_dirs
        .iter()
        .map(|directory| directory.display().to_string())
        .collect();
    tracing::info!(
        "node {} of cluster {}: {} shard{} on {cores} core{}, data in {}",
        config.node_id,
        directories.cluster_id,
        directories.shards,
        plural(directories.shards),
        plural(cores),
        list.join(", ")
    );
    for listener in &config.listeners {
        let who = if listener.controller {
            "controllers and their tools"
        } else {
            "clients"
        };
        tracing::info!("{who} connect to {} ({})", listener.address, listener.name);
    }
    tracing::info!(
        "metrics at http://{}/metrics, health at /health, clients' own metrics at /clients",
        config.metrics_listener
    );
    tracing::info!("stop with Ctrl-C or SIGTERM");
    if !config.durable {
        tracing::warn!(
            "odradek.durability=none: acknowledged records may be lost when this machine loses power"
        );
    }
}

fn plural(count: u16) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The folders of a core's logs, in the order the machine counts them: its shards' directories, then on core 0 the metadata log and the
/// quorum state.
fn log_folders(directories: &Directories, core: u16, cores: u16) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for shard in own_shards(directories.shards, core, cores) {
        for directory in &directories.list {
            folders.push(storage::shard_folder(&directory.path, shard));
        }
    }
    if core == 0 {
        folders.push(storage::metadata_log_folder(&directories.metadata));
        folders.push(storage::quorum_folder(&directories.metadata));
    }
    folders
}

fn own_shards(shards: u16, core: u16, cores: u16) -> impl Iterator<Item = u16> {
    (0..shards).filter(move |shard| routing::core_of(*shard, cores) == core)
}

/// What the recovery of a core's shards said about the last life: the broker epoch it logged, if nothing was damaged.
type EpochReport = Option<i64>;

fn build_core(
    prepared: &Prepared,
    context: CoreContext,
    epochs: &mpsc::Sender<EpochReport>,
    pieces: &mpsc::Receiver<SnapshotPiece>,
    of_metadata: Option<(mpsc::Receiver<EpochReport>, LoadingSnapshots)>,
) -> Result<Core, StartError> {
    let core = context.core;
    let mut shards = Vec::new();
    let mut logs_before = 0;
    for number in own_shards(prepared.node.shards, core, context.cores) {
        let (shard, epoch) = build_shard(prepared, &context, number)?;
        let _ = epochs.send(epoch);
        let directories = prepared.directories.list.len() as u16;
        let folders = &context.logs[usize::from(logs_before)..][..usize::from(directories)];
        let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
        let now_us = context.read_clock().monotonic_us;
        shards.push(OwnedShard {
            number,
            shard,
            first_log: logs_before,
            directories,
            metrics: ShardMetrics::new(&context.registry, number, &folders, now_us),
        });
        logs_before += directories;
    }
    let mut adoption = Adoption::default();
    for piece in pieces {
        let now = wal_now(&context);
        adoption.take((core, &prepared.node), &mut shards, now, &piece);
    }
    let mut node = prepared.node.clone();
    let metadata_group = match of_metadata {
        None => None,
        Some((receiver, loading)) => {
            node.previous_broker_epoch = previous_epoch(&receiver, node.shards);
            Some(metadata::build(prepared, &context, logs_before, loading)?)
        }
    };
    Ok(Core::new(CoreParts {
        index: core,
        options: Arc::new(node),
        metrics: Arc::new(crate::node::metrics::CoreMetrics::new(
            &context.registry,
            core,
        )),
        image: Arc::new(MetadataImage::empty()),
        shards,
        adopted: Some(adoption.finish()),
        metadata_group,
    }))
}

/// The epoch to name at registration: every shard logged the same, and none lost anything (case 8).
fn previous_epoch(receiver: &mpsc::Receiver<EpochReport>, shards: u16) -> i64 {
    let mut agreed: Option<i64> = None;
    for _ in 0..shards {
        match receiver.recv() {
            Ok(Some(epoch)) if agreed.is_none_or(|known| known == epoch) => agreed = Some(epoch),
            _ => return -1,
        }
    }
    agreed.unwrap_or(-1)
}

fn build_shard(
    prepared: &Prepared,
    context: &CoreContext,
    number: u16,
) -> Result<(Shard, EpochReport), StartError> {
    let options = prepared.shard_options(context.random[0]);
    let mut logs = Vec::new();
    let mut epoch: EpochReport = None;
    let mut agreed = true;
    for directory in &prepared.directories.list {
        let folder = storage::shard_folder(&directory.path, number);
        let (log, report) = recover(prepared, context, &options, (&folder, number, directory.id))?;
        agreed &= report.undamaged() && epoch.is_none_or(|known| known == report.broker_epoch);
        epoch = Some(report.broker_epoch);
        logs.push(log);
        prepared.node.status.log_recovered();
    }
    let now = wal_now(context);
    Ok((Shard::new(options, now, logs), epoch.filter(|_| agreed)))
}

fn wal_now(context: &CoreContext) -> odradek_wal::Now {
    let now = context.read_clock();
    odradek_wal::Now {
        monotonic_us: now.monotonic_us,
        wall_ms: now.wall_ms,
    }
}

fn recover(
    prepared: &Prepared,
    context: &CoreContext,
    shard_options: &ShardOptions,
    (folder, number, directory): (&PathBuf, u16, odradek_protocol::Uuid),
) -> Result<(RecoveredLog, odradek_wal::RecoveryReport), StartError> {
    let now = wal_now(context);
    let refusal =
        |cause: String| StartError(format!("{} cannot be used: {cause}", folder.display()));
    let mut disk = RealDisk::open(folder).map_err(|error| refusal(error.to_string()))?;
    let mut producers = RecoveredProducers::new(now, shard_options);
    let options = prepared.log_options(directory, number, context.random[1]);
    let (log, report) = Log::recover(&mut disk, options, now, &mut producers)
        .map_err(|error| refusal(error.to_string()))?;
    let took_us = context
        .read_clock()
        .monotonic_us
        .saturating_sub(now.monotonic_us);
    metrics::recovered(&context.registry, folder, &report, took_us);
    tracing::info!(
        "recovered {}: {} replicas, {} bytes replayed of {} read, {} bytes of torn tail cut, {} ms{}",
        folder.display(),
        report.replicas,
        report.bytes_replayed,
        report.bytes_read,
        report.bytes_cut,
        took_us / 1000,
        if report.clean {
            ", after a clean stop"
        } else {
            ", not stopped cleanly"
        }
    );
    for damage in &report.damage {
        let state = damage.replica.and_then(|replica| log.replica(replica));
        tracing::error!(
            "{}: damaged bytes in {} at {}: offsets {} to {} of {}",
            folder.display(),
            damage.file,
            damage.position,
            damage.range.first,
            damage.range.last,
            state.map_or("an unknown partition".to_string(), |state| format!(
                "partition {} of topic id {}",
                state.partition,
                odradek_protocol::Uuid(state.topic_id.0)
            ))
        );
    }
    let recovered = RecoveredLog {
        directory: DirectoryId(directory.0),
        log,
        producers,
    };
    Ok((recovered, report))
}
