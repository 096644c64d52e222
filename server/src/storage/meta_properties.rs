//! `meta.properties`: which cluster, node and directory a data directory belongs to (Kafka's format, versions 0 and 1).
//! Reading never guesses: a missing, foreign or unreadable file is a refusal that says what to do.

use odradek_protocol::Uuid;
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

/// Name of the file in every data directory.
pub const FILE_NAME: &str = "meta.properties";

/// Identity of one data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// Text form of the cluster's id, as given to `format -t`.
    pub cluster_id: String,
    /// This node's id, shared by all its directories.
    pub node_id: i32,
    /// This directory's own id; never reused.
    pub directory_id: Uuid,
}

/// Why a directory's identity could not be read.
#[derive(Debug)]
pub enum MetaPropertiesError {
    /// The directory has no `meta.properties`: it was never formatted, or is not the one meant.
    Missing { path: PathBuf },
    /// The file exists but could not be read.
    Unreadable { path: PathBuf, cause: io::Error },
    /// The file is not what Kafka or Odradek write.
    Malformed { path: PathBuf, what: String },
}

impl fmt::Display for MetaPropertiesError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(
                formatter,
                "{} does not exist: the directory is not formatted. Run `odradek format -t CLUSTER_ID -c CONFIG`, or check `log.dirs`",
                path.display()
            ),
            Self::Unreadable { path, cause } => write!(
                formatter,
                "{} cannot be read: {cause}. Check its owner and permissions",
                path.display()
            ),
            Self::Malformed { path, what } => write!(
                formatter,
                "{} is not usable: {what}. Restore it from a copy of this node's directory; do not write one by hand",
                path.display()
            ),
        }
    }
}

impl std::error::Error for MetaPropertiesError {}

impl MetaProperties {
    /// Reads and checks the file of one directory.
    pub fn read(directory: &Path) -> Result<Self, MetaPropertiesError> {
        let path = directory.join(FILE_NAME);
        let file = File::open(&path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => MetaPropertiesError::Missing { path: path.clone() },
            _ => MetaPropertiesError::Unreadable {
                path: path.clone(),
                cause,
            },
        })?;
        let malformed = |what: String| MetaPropertiesError::Malformed {
            path: path.clone(),
            what,
        };
        let properties = java_properties::read(BufReader::new(file))
            .map_err(|error| malformed(format!("it is not a properties file ({error})")))?;
        Self::from_properties(&properties).map_err(malformed)
    }

    fn from_properties(properties: &HashMap<String, String>) -> Result<Self, String> {
        let get = |key: &str| {
            properties
                .get(key)
                .map(|value| value.trim().to_string())
                .ok_or_else(|| format!("it lacks `{key}`"))
        };
        let version = get("version")?;
        if version != "1" {
            return Err(format!(
                "its version is {version}, and this program reads version 1"
            ));
        }
        let node_id = get("node.id")?
            .parse::<i32>()
            .ok()
            .filter(|id| *id >= 0)
            .ok_or("`node.id` is not a number of 0 or more")?;
        let directory_id = get("directory.id")?
            .parse::<Uuid>()
            .map_err(|_| "`directory.id` is not a UUID of 22 characters".to_string())?;
        Ok(Self {
            cluster_id: get("cluster.id")?,
            node_id,
            directory_id,
        })
    }

    /// Writes the file by way of a temporary one, synced before and after the rename.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let temporary = directory.join(format!("{FILE_NAME}.tmp"));
        let mut file = File::create(&temporary)?;
        write!(
            file,
            "version=1\ncluster.id={}\nnode.id={}\ndirectory.id={}\n",
            self.cluster_id, self.node_id, self.directory_id
        )?;
        file.sync_all()?;
        fs::rename(&temporary, directory.join(FILE_NAME))?;
        File::open(directory)?.sync_all()
    }
}
