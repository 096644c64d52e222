//! The data directories of a node that starts: each must be this node's, of one cluster, formatted alike.

use crate::config::ServerConfig;
use crate::shell::StartError;
use crate::storage::meta_properties::MetaProperties;
use odradek_protocol::Uuid;
use std::path::{Path, PathBuf};

/// One directory, checked.
#[derive(Clone, Debug)]
pub struct Directory {
    pub path: PathBuf,
    pub id: Uuid,
}

/// All directories, checked against each other and the configuration.
#[derive(Clone, Debug)]
pub struct Directories {
    pub cluster_id: String,
    pub shards: u16,
    /// In the order of `log.dirs`.
    pub list: Vec<Directory>,
    pub metadata: PathBuf,
    /// Id of the directory that holds the metadata log.
    pub metadata_id: Uuid,
}

impl Directories {
    pub fn check(config: &ServerConfig) -> Result<Self, StartError> {
        let mut list = Vec::new();
        let mut cluster: Option<(String, PathBuf)> = None;
        for path in &config.log_dirs {
            let meta = read(config, path)?;
            match &cluster {
                None => cluster = Some((meta.cluster_id.clone(), path.clone())),
                Some((id, first)) if *id != meta.cluster_id => {
                    return Err(StartError(format!(
                        "{} belongs to cluster {}, but {} to cluster {id}: one of them is not this node's. Correct log.dirs",
                        path.display(),
                        meta.cluster_id,
                        first.display()
                    )));
                }
                Some(_) => {}
            }
            if let Some(twin) = list
                .iter()
                .find(|other: &&Directory| other.id == meta.directory_id)
            {
                return Err(StartError(format!(
                    "{} and {} have the same directory id {}: one is a copy of the other. Take the copy out of log.dirs",
                    twin.path.display(),
                    path.display(),
                    meta.directory_id
                )));
            }
            list.push(Directory {
                path: path.clone(),
                id: meta.directory_id,
            });
        }
        let metadata_id = match list
            .iter()
            .find(|directory| directory.path == config.metadata_dir)
        {
            Some(directory) => directory.id,
            None => read(config, &config.metadata_dir)?.directory_id,
        };
        let shards = count_shards(&list)?;
        Ok(Self {
            cluster_id: cluster.map(|(id, _)| id).unwrap_or_default(),
            shards,
            list,
            metadata: config.metadata_dir.clone(),
            metadata_id,
        })
    }
}

fn read(config: &ServerConfig, path: &Path) -> Result<MetaProperties, StartError> {
    let meta = MetaProperties::read(path).map_err(|error| StartError(error.to_string()))?;
    if meta.node_id != config.node_id {
        return Err(StartError(format!(
            "{} belongs to node {}, but this is node {}: correct node.id or log.dirs",
            path.display(),
            meta.node_id,
            config.node_id
        )));
    }
    Ok(meta)
}

/// The number of shards stands in every log's superblock and is checked there; the folders say how many logs to open.
fn count_shards(list: &[Directory]) -> Result<u16, StartError> {
    let mut agreed: Option<(u16, &Path)> = None;
    for directory in list {
        let count = (0..u16::MAX)
            .take_while(|shard| crate::storage::shard_folder(&directory.path, *shard).is_dir())
            .count() as u16;
        if count == 0 {
            return Err(StartError(format!(
                "{} has a meta.properties but no shard folders: it was not formatted by this program, or its data is gone. \
                 Use a fresh directory, or restore this one",
                directory.path.display()
            )));
        }
        match agreed {
            Some((other, path)) if other != count => {
                return Err(StartError(format!(
                    "{} has {count} shard folders, but {} has {other}: one of them is not whole",
                    directory.path.display(),
                    path.display()
                )));
            }
            _ => agreed = Some((count, &directory.path)),
        }
    }
    Ok(agreed.map_or(1, |(count, _)| count))
}
