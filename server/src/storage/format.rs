//! `format`: makes the directories of a new node. Every check comes before the first write; a directory gets its `meta.properties` last,
//! so that a format that was cut off leaves nothing that looks whole.

use super::meta_properties::{FILE_NAME, MetaProperties};
use super::{METADATA_FOLDER, metadata_log_folder, quorum_folder, shard_folder};
use crate::config::ServerConfig;
use crate::shell::{RealDisk, probe_directory, random_numbers, write_file_atomically};
use crate::start::BOOTSTRAP_FILE;
use bytes::Bytes;
use odradek_protocol::Uuid;
use odradek_raft::consensus::{Endpoint, OffsetAndEpoch, ReplicaKey, Voter, VoterSet};
use odradek_raft::controller::{SUPPORTED_FEATURES, bootstrap_records};
use odradek_raft::image::record_version;
use odradek_raft::snapshot::{SnapshotWriter, WriterOptions, file_name};
use odradek_wal::{BLOCK_BYTES, DirectoryId, Disk, FileName, Log, LogOptions, segment_bytes_for};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// Features of a new cluster; those of later issues stay at 0.
const DEFAULT_FEATURES: [(&str, i16); 3] = [
    ("metadata.version", 30),
    ("kraft.version", 1),
    ("eligible.leader.replicas.version", 1),
];
/// Segments of the metadata log: small, since snapshots cut it, yet half of one holds the largest batch of the quorum.
const METADATA_SEGMENT_BYTES: u64 = 20 << 20;
/// Made at once, enough to live on: topics' records may fill the disk, and the node must start nevertheless, so that some can be deleted.
const METADATA_SEGMENTS: u32 = 6;
const METADATA_BYTES_MAX: u64 = 4 << 30;
/// Segments that a shard's log needs room for.
const SEGMENTS_MIN: u64 = 5;

/// Who the first controllers of the cluster are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// This node alone.
    Standalone,
    /// These nodes; this one is among them.
    InitialControllers(Vec<InitialController>),
    /// Others; this one joins later.
    JoinLater,
    /// Not said: only right with `controller.quorum.voters`.
    Unnamed,
}

/// One entry of `--initial-controllers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialController {
    pub node_id: i32,
    pub host: String,
    pub port: u16,
    pub directory_id: Uuid,
}

/// What `format` was asked.
#[derive(Clone, Debug)]
pub struct FormatPlan {
    pub cluster_id: String,
    pub quorum: Quorum,
    pub features: Vec<(String, i16)>,
    pub ignore_formatted: bool,
}

/// Why nothing was formatted, or what failed half way.
#[derive(Debug)]
pub struct FormatRefusal(String);

impl fmt::Display for FormatRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for FormatRefusal {}

fn refuse<T>(message: impl Into<String>) -> Result<T, FormatRefusal> {
    Err(FormatRefusal(message.into()))
}

/// Formats every directory of the configuration; gives a line for each.
pub fn format(config: &ServerConfig, plan: &FormatPlan) -> Result<Vec<String>, FormatRefusal> {
    let cluster_id = plan.cluster_id.parse::<Uuid>();
    if cluster_id.is_err() {
        return refuse(format!(
            "cluster id `{}` is not a UUID of 22 characters; `odradek format --random-uuid` prints one",
            plan.cluster_id
        ));
    }
    let features = features(plan)?;
    let voters = voters(config, plan)?;
    let mut todo = Vec::new();
    for directory in &config.log_dirs {
        if directory.join(FILE_NAME).exists() {
            if !plan.ignore_formatted {
                return refuse(format!(
                    "{} is formatted already; --ignore-formatted leaves such directories as they are",
                    directory.display()
                ));
            }
            check_ours(config, plan, directory)?;
            continue;
        }
        todo.push(directory);
    }
    // Last, so that a node whose metadata directory is whole is whole.
    todo.sort_by_key(|directory| **directory == config.metadata_dir);
    let shards = config.shards.unwrap_or_else(default_shards);
    for directory in &todo {
        check_room(config, directory, shards)?;
    }
    for directory in &todo {
        check_empty(directory)?;
    }
    let mut lines = Vec::new();
    for directory in todo {
        let directory_id = match (&voters, *directory == config.metadata_dir) {
            (Some((_, own)), true) => *own,
            _ => random_uuid(),
        };
        let identity = MetaProperties {
            cluster_id: plan.cluster_id.clone(),
            node_id: config.node_id,
            directory_id,
        };
        format_directory(config, directory, &identity, shards)?;
        if *directory == config.metadata_dir {
            let set = voters.as_ref().map(|(set, _)| set);
            format_metadata(config, &identity, &features, set)?;
        }
        let failed = |error: io::Error| FormatRefusal(format!("{}: {error}", directory.display()));
        identity.write(directory).map_err(failed)?;
        lines.push(format!(
            "Formatted {} with {shards} shards, directory id {directory_id}.",
            directory.display()
        ));
    }
    if lines.is_empty() {
        lines.push("All directories are formatted already; nothing was changed.".to_string());
    }
    Ok(lines)
}

/// A directory that is formatted already and left as it is must be this node's, of this cluster.
fn check_ours(
    config: &ServerConfig,
    plan: &FormatPlan,
    directory: &Path,
) -> Result<(), FormatRefusal> {
    let identity =
        MetaProperties::read(directory).map_err(|error| FormatRefusal(error.to_string()))?;
    if identity.cluster_id != plan.cluster_id {
        return refuse(format!(
            "{} is formatted for cluster {}, not for {}: give -t that cluster's id, or correct log.dirs",
            directory.display(),
            identity.cluster_id,
            plan.cluster_id
        ));
    }
    if identity.node_id != config.node_id {
        return refuse(format!(
            "{} is formatted for node {}, but this is node {}: correct node.id or log.dirs",
            directory.display(),
            identity.node_id,
            config.node_id
        ));
    }
    Ok(())
}

/// Whether what the directory may hold is enough for its shards' smallest logs.
fn check_room(config: &ServerConfig, directory: &Path, shards: u16) -> Result<(), FormatRefusal> {
    let existing = directory.ancestors().find(|folder| folder.exists());
    let bytes = directory_bytes(config, existing.unwrap_or(Path::new(".")));
    let needed = SEGMENTS_MIN * segment_bytes_for(bytes, u32::from(shards)) * u64::from(shards);
    if bytes >= needed {
        return Ok(());
    }
    refuse(format!(
        "{} may hold {} MiB, and {shards} shards need {} MiB of space at least: use a larger file system, raise \
         odradek.data.dir.bytes.max, or set odradek.shards to less",
        directory.display(),
        bytes >> 20,
        needed >> 20
    ))
}

/// One shard per processor this process may use; on one or two processors a single one, which leaves clients a processor of their own: two would
/// share a disk and halve each other's writes, at half as much CPU again for each byte.
fn default_shards() -> u16 {
    match crate::shell::processors_allowed() {
        0..=2 => 1,
        more => more.min(1024) as u16,
    }
}

fn check_empty(directory: &Path) -> Result<(), FormatRefusal> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return fs::create_dir_all(directory).map_err(|error| {
                FormatRefusal(format!(
                    "{} cannot be made: {error}. Make it, owned by the user that runs odradek",
                    directory.display()
                ))
            });
        }
        Err(error) => return refuse(format!("{} cannot be read: {error}", directory.display())),
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        // What was being written when a format was cut off is written anew.
        let cut_off = [".tmp", ".part"]
            .into_iter()
            .find_map(|ending| text.strip_suffix(ending));
        let begun = cut_off.unwrap_or(&text);
        let harmless =
            matches!(begun, "lost+found" | ".lock" | BOOTSTRAP_FILE) || cut_off == Some(FILE_NAME);
        let ours = text.starts_with("shard-") || name == METADATA_FOLDER;
        if !harmless && !ours {
            return refuse(format!(
                "{} is not empty: it holds {}. Name an empty directory, so that nothing is overwritten",
                directory.display(),
                text
            ));
        }
        if ours {
            // Left by a format that was cut off before it wrote meta.properties.
            fs::remove_dir_all(entry.path())
                .map_err(|error| FormatRefusal(format!("{}: {error}", entry.path().display())))?;
        }
    }
    Ok(())
}

fn format_directory(
    config: &ServerConfig,
    directory: &Path,
    identity: &MetaProperties,
    shards: u16,
) -> Result<(), FormatRefusal> {
    let bytes = directory_bytes(config, directory);
    for shard in 0..shards {
        let folder = shard_folder(directory, shard);
        let options = LogOptions {
            cluster_id: identity.cluster_id.clone(),
            node_id: identity.node_id,
            directory_id: DirectoryId(identity.directory_id.0),
            shard: u32::from(shard),
            shards: u32::from(shards),
            segment_bytes: segment_bytes_for(bytes, u32::from(shards)),
            directory_bytes_max: bytes / u64::from(shards),
            ..LogOptions::default()
        };
        format_log(&folder, &options)?;
    }
    Ok(())
}

fn format_log(folder: &Path, options: &LogOptions) -> Result<(), FormatRefusal> {
    let failed =
        |cause: String| FormatRefusal(format!("{} cannot be formatted: {cause}", folder.display()));
    let mut disk = RealDisk::open(folder).map_err(|error| failed(error.to_string()))?;
    Log::format(&mut disk, options).map_err(|error| failed(error.to_string()))
}

/// Options of the metadata log, for `format` and every start.
pub fn metadata_log_options(
    config: &ServerConfig,
    cluster_id: &str,
    directory_id: Uuid,
    seed: u64,
) -> LogOptions {
    LogOptions {
        cluster_id: cluster_id.to_string(),
        node_id: config.node_id,
        directory_id: DirectoryId(directory_id.0),
        segment_bytes: METADATA_SEGMENT_BYTES,
        format_segments: METADATA_SEGMENTS,
        directory_bytes_max: METADATA_BYTES_MAX,
        seed,
        ..LogOptions::default()
    }
}

fn format_metadata(
    config: &ServerConfig,
    identity: &MetaProperties,
    features: &[(String, i16)],
    voters: Option<&VoterSet>,
) -> Result<(), FormatRefusal> {
    let folder = config.metadata_dir.join(METADATA_FOLDER);
    let failed = |error: io::Error| {
        FormatRefusal(format!("{} cannot be formatted: {error}", folder.display()))
    };
    fs::create_dir_all(&folder).map_err(failed)?;
    let options = metadata_log_options(config, &identity.cluster_id, identity.directory_id, 0);
    format_log(&metadata_log_folder(&config.metadata_dir), &options)?;
    let quorum = quorum_folder(&config.metadata_dir);
    let mut disk = RealDisk::open(&quorum).map_err(failed)?;
    disk.create(FileName::Root, 2 * BLOCK_BYTES as u64, true)
        .map_err(|failure| {
            FormatRefusal(format!(
                "{} cannot be formatted: {failure}",
                quorum.display()
            ))
        })?;
    if let Some(voters) = voters {
        let checkpoint = checkpoint(Some(voters), &[]);
        let path = folder.join(file_name(OffsetAndEpoch::BOOTSTRAP));
        write_file_atomically(&path, &checkpoint).map_err(failed)?;
    }
    let pairs: Vec<(&str, i16)> = features
        .iter()
        .map(|(name, level)| (name.as_str(), *level))
        .collect();
    let level = pairs
        .iter()
        .find(|(name, _)| *name == "metadata.version")
        .map_or(30, |(_, level)| *level);
    let records: Vec<Bytes> = bootstrap_records(&pairs, "1")
        .iter()
        .filter(|record| {
            matches!(
                record,
                odradek_protocol::metadata_records::MetadataRecord::FeatureLevel(_)
            )
        })
        .map(|record| {
            record
                .to_bytes(record_version(record, level))
                .expect("a bootstrap record encodes")
        })
        .collect();
    let bootstrap = checkpoint(None, &records);
    let path = config.metadata_dir.join(BOOTSTRAP_FILE);
    write_file_atomically(&path, &bootstrap).map_err(failed)
}

/// A checkpoint file of its own: voters, or bootstrap records.
fn checkpoint(voters: Option<&VoterSet>, records: &[Bytes]) -> Vec<u8> {
    let (mut writer, header) = SnapshotWriter::new(WriterOptions {
        id: OffsetAndEpoch::BOOTSTRAP,
        last_contained_log_timestamp_ms: 0,
        kraft_version: i16::from(voters.is_some()),
        voters: voters.cloned(),
        now_ms: 0,
        batch_bytes_max: 1 << 20,
    });
    let mut file = header.to_vec();
    for record in records {
        if let Some(batch) = writer.push(record.clone()) {
            file.extend_from_slice(&batch);
        }
    }
    file.extend_from_slice(&writer.finish());
    file
}

fn features(plan: &FormatPlan) -> Result<Vec<(String, i16)>, FormatRefusal> {
    let mut features: Vec<(String, i16)> = DEFAULT_FEATURES
        .iter()
        .map(|(name, level)| (name.to_string(), *level))
        .collect();
    for (name, level) in &plan.features {
        let Some(known) = SUPPORTED_FEATURES.iter().find(|known| known.name == name) else {
            let names: Vec<_> = SUPPORTED_FEATURES.iter().map(|known| known.name).collect();
            return refuse(format!(
                "--feature {name}: no such feature; there are {}",
                names.join(", ")
            ));
        };
        if !(known.min..=known.max).contains(level) {
            return refuse(format!(
                "--feature {name}={level}: this version takes {} to {}",
                known.min, known.max
            ));
        }
        features.retain(|(other, _)| other != name);
        features.push((name.clone(), *level));
    }
    Ok(features)
}

/// The voter set that the 0-0 checkpoint names, and the id this node's metadata directory gets.
fn voters(
    config: &ServerConfig,
    plan: &FormatPlan,
) -> Result<Option<(VoterSet, Uuid)>, FormatRefusal> {
    let controllers: Vec<_> = config
        .listeners
        .iter()
        .filter(|listener| listener.controller)
        .collect();
    match &plan.quorum {
        Quorum::Standalone => {
            let directory_id = random_uuid();
            let endpoints = controllers
                .iter()
                .map(|listener| Endpoint {
                    name: listener.name.clone(),
                    host: listener.advertised_host.clone(),
                    port: listener.advertised_port,
                })
                .collect();
            let voter = Voter::new(ReplicaKey::new(config.node_id, directory_id), endpoints);
            Ok(Some((VoterSet::new([voter]), directory_id)))
        }
        Quorum::InitialControllers(list) => {
            initial_voters(config, &controllers[0].name, list).map(Some)
        }
        Quorum::JoinLater => {
            refuse("--no-initial-controllers: this version runs lone nodes; use --standalone")
        }
        Quorum::Unnamed
            if config
                .static_values
                .contains_key("controller.quorum.voters") =>
        {
            refuse(
                "controller.quorum.voters (kraft.version 0) is not supported by this version: take it out and use --standalone",
            )
        }
        Quorum::Unnamed => refuse(
            "this node is a controller: say --standalone for the first of a new cluster, --initial-controllers for several, or \
             --no-initial-controllers to join one later",
        ),
    }
}

fn initial_voters(
    config: &ServerConfig,
    listener: &str,
    list: &[InitialController],
) -> Result<(VoterSet, Uuid), FormatRefusal> {
    let Some(own) = list
        .iter()
        .find(|controller| controller.node_id == config.node_id)
    else {
        return refuse(format!(
            "--initial-controllers does not name this node, {}",
            config.node_id
        ));
    };
    if list.len() > 1 {
        return refuse("--initial-controllers with several nodes: this version runs lone nodes");
    }
    let voters = list.iter().map(|controller| {
        let endpoint = Endpoint {
            name: listener.to_string(),
            host: controller.host.clone(),
            port: controller.port,
        };
        Voter::new(
            ReplicaKey::new(controller.node_id, controller.directory_id),
            vec![endpoint],
        )
    });
    Ok((VoterSet::new(voters), own.directory_id))
}

/// What a directory may hold: as configured, or what its file system has.
pub fn directory_bytes(config: &ServerConfig, directory: &Path) -> u64 {
    config
        .directory_bytes_max
        .unwrap_or_else(|| probe_directory(directory).bytes_total)
}

/// A random id whose text does not begin with a dash, which command lines would take for a flag.
pub fn random_uuid() -> Uuid {
    loop {
        let [first, second] = random_numbers();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&first.to_be_bytes());
        bytes[8..].copy_from_slice(&second.to_be_bytes());
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let uuid = Uuid(bytes);
        if !uuid.to_string().starts_with('-') {
            return uuid;
        }
    }
}
