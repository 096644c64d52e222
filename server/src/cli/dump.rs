//! `odradek dump`: what a stopped node's directories hold, for people: identity, shards, replicas.

use super::{DumpArguments, refuse};
use crate::config::ServerConfig;
use crate::shell::RealDisk;
use crate::storage::meta_properties::MetaProperties;
use crate::storage::shard_folder;
use odradek_protocol::Uuid;
use odradek_wal::{DirectoryId, IgnoreAll, Log, LogOptions};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(arguments: &DumpArguments) -> ExitCode {
    crate::log::initialise();
    let directories: Vec<PathBuf> = match (&arguments.data_dir, &arguments.config) {
        (Some(directory), _) => vec![directory.clone()],
        (None, Some(path)) => match ServerConfig::load_file(path, &[]) {
            Ok(config) => config.log_dirs,
            Err(error) => return refuse(error),
        },
        (None, None) => return refuse("name a directory or a configuration"),
    };
    for directory in &directories {
        if let Err(message) = dump(directory) {
            return refuse(message);
        }
    }
    ExitCode::SUCCESS
}

fn dump(directory: &Path) -> Result<(), String> {
    let _lock = crate::shell::DirectoryLock::acquire(directory, std::time::Duration::from_secs(2))
        .map_err(|error| error.to_string())?;
    let identity = MetaProperties::read(directory).map_err(|error| error.to_string())?;
    println!(
        "{}: cluster {}, node {}, directory id {}",
        directory.display(),
        identity.cluster_id,
        identity.node_id,
        identity.directory_id
    );
    let shards = (0..u16::MAX)
        .take_while(|shard| shard_folder(directory, *shard).is_dir())
        .count() as u16;
    for shard in 0..shards {
        let folder = shard_folder(directory, shard);
        let failed = |cause: String| format!("{}: {cause}", folder.display());
        let mut disk = RealDisk::open(&folder).map_err(|error| failed(error.to_string()))?;
        let options = LogOptions {
            cluster_id: identity.cluster_id.clone(),
            node_id: identity.node_id,
            directory_id: DirectoryId(identity.directory_id.0),
            shard: u32::from(shard),
            shards: u32::from(shards),
            ..LogOptions::default()
        };
        let (log, report) = Log::inspect(&mut disk, options, &mut IgnoreAll)
            .map_err(|error| failed(error.to_string()))?;
        println!(
            "shard {shard}: {} replicas, log end {}, {} bytes after the checkpoint, broker epoch {}, {}",
            report.replicas,
            report.end,
            report.bytes_replayed,
            report.broker_epoch,
            if report.clean {
                "clean stop"
            } else {
                "not stopped cleanly"
            }
        );
        for (replica, state) in log.replicas() {
            println!(
                "  replica {replica}: topic id {} partition {}: offsets {} to {}, {} bytes",
                Uuid(state.topic_id.0),
                state.partition,
                state.log_start,
                state.log_end,
                state.bytes
            );
        }
    }
    Ok(())
}
