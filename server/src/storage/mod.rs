//! What a node keeps in its data directories besides logs: identity (`meta.properties`), format, and the checks made
//! before a directory is used. Logs themselves are the `wal` crate's; opening their files is the shell's.

pub mod format;
pub mod meta_properties;

use std::path::{Path, PathBuf};

/// Folder of the metadata log inside the metadata directory; Kafka's own name, so that its tools find the snapshots.
pub const METADATA_FOLDER: &str = "__cluster_metadata-0";

/// Where one shard keeps its log inside a data directory.
pub fn shard_folder(directory: &Path, shard: u16) -> PathBuf {
    directory.join(format!("shard-{shard}"))
}

/// Where the metadata log's own shard log lies.
pub fn metadata_log_folder(metadata_directory: &Path) -> PathBuf {
    metadata_directory.join(METADATA_FOLDER).join("log")
}

/// Where the two quorum-state slots lie.
pub fn quorum_folder(metadata_directory: &Path) -> PathBuf {
    metadata_directory.join(METADATA_FOLDER).join("quorum")
}
