//! A node's configuration: `server.properties` read, checked against Kafka's definitions (`raft::configs`), and turned into
//! the typed values the node starts with. Dynamic values and topic values are resolved later, from the metadata image.

mod honoured;
mod listeners;

pub use listeners::Listener;

use odradek_raft::configs::{self, NearMiss};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Cursor;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Why a configuration is refused; each says which key and what is allowed.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read, or is no properties file.
    Unreadable { place: String, cause: String },
    /// A value its key does not take.
    Value(configs::ConfigRefusal),
    /// A key that is almost a known one.
    Misspelt { key: String, meant: &'static str },
    /// Keys that do not fit together, or a value the node cannot use.
    Unusable {
        key: &'static str,
        value: String,
        reason: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { place, cause } => {
                write!(formatter, "{place} cannot be read: {cause}")
            }
            Self::Value(refusal) => write!(formatter, "{refusal}"),
            Self::Misspelt { key, meant } => write!(
                formatter,
                "unknown configuration key `{key}`: did you mean `{meant}`? Correct it or take it out"
            ),
            Self::Unusable { key, value, reason } => {
                write!(formatter, "configuration {key}={value}: {reason}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// What the process does in the cluster; `process.roles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    pub broker: bool,
    pub controller: bool,
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Every key as set in the file or by an override: the STATIC_BROKER_CONFIG layer.
    pub static_values: BTreeMap<String, String>,
    pub roles: Roles,
    pub node_id: i32,
    /// All listeners, clients' first, in the order of `listeners`.
    pub listeners: Vec<Listener>,
    pub log_dirs: Vec<PathBuf>,
    /// Where the metadata log lies; the first of `log_dirs` unless `metadata.log.dir` says otherwise.
    pub metadata_dir: PathBuf,
    pub rack: Option<String>,
    /// Where `/metrics` and `/health` are served.
    pub metrics_listener: SocketAddr,
    /// `odradek.durability` is `fsync`.
    pub durable: bool,
    /// `odradek.shards`, where it is set.
    pub shards: Option<u16>,
    /// `odradek.data.dir.bytes.max`, where it is set.
    pub directory_bytes_max: Option<u64>,
    /// Lines for the operator: keys that are known but not yet honoured, and keys nobody knows.
    pub notices: Vec<String>,
}

impl ServerConfig {
    /// Reads a file; `overrides` are `KEY=VALUE` and win.
    pub fn load_file(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            place: place.clone(),
            cause: error.to_string(),
        })?;
        Self::load_text(&text, &place, overrides)
    }

    /// Reads the text of a properties file.
    pub fn load_text(text: &str, place: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        let unreadable = |cause: String| ConfigError::Unreadable {
            place: place.to_string(),
            cause,
        };
        let properties = java_properties::read(Cursor::new(text.as_bytes()))
            .map_err(|error| unreadable(error.to_string()))?;
        let mut values: BTreeMap<String, String> = properties.into_iter().collect();
        for pair in overrides {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| unreadable(format!("--override {pair}: give KEY=VALUE")))?;
            values.insert(key.trim().to_string(), value.to_string());
        }
        Self::from_values(values)
    }

    fn from_values(values: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let notices = check_keys(&values)?;
        let reader = ValueReader { values: &values };
        let roles = roles(&reader)?;
        let log_dirs = log_dirs(&reader)?;
        let metadata_dir = reader
            .text("metadata.log.dir")
            .map_or_else(|| log_dirs[0].clone(), PathBuf::from);
        let metrics = reader.text("odradek.metrics.listener").unwrap_or_default();
        let config = Self {
            roles,
            node_id: node_id(&reader)?,
            listeners: listeners::read(&reader, roles)?,
            log_dirs,
            metadata_dir,
            rack: reader.text("broker.rack"),
            metrics_listener: listeners::resolve("odradek.metrics.listener", &metrics)?,
            durable: reader.text("odradek.durability").as_deref() != Some("none"),
            shards: reader.number("odradek.shards").map(|shards| shards as u16),
            directory_bytes_max: reader
                .number("odradek.data.dir.bytes.max")
                .map(|bytes| bytes as u64),
            notices,
            static_values: BTreeMap::new(),
        };
        Ok(Self {
            static_values: values,
            ..config
        })
    }

    /// Logs what the operator should know about the configuration; once, at the start.
    pub fn report(&self) {
        for notice in &self.notices {
            tracing::warn!("{notice}");
        }
    }

    /// A whole number by key: the file's value or Kafka's default. Panics for a key without one: a mistake of ours.
    pub fn number(&self, key: &str) -> i64 {
        let reader = ValueReader {
            values: &self.static_values,
        };
        reader
            .number(key)
            .unwrap_or_else(|| panic!("{key} has no number"))
    }

    /// A boolean by key: the file's value or Kafka's default.
    pub fn boolean(&self, key: &str) -> bool {
        let reader = ValueReader {
            values: &self.static_values,
        };
        reader
            .text(key)
            .is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
    }
}

/// Checks every key and value of a file; gives the lines to report.
fn check_keys(values: &BTreeMap<String, String>) -> Result<Vec<String>, ConfigError> {
    let mut notices = Vec::new();
    let mut later = Vec::new();
    for (key, value) in values {
        if let Some(definition) = configs::broker_definition(key) {
            configs::validate_value(definition, value).map_err(ConfigError::Value)?;
            if !honoured::is_honoured(key) {
                later.push(key.as_str());
            }
            continue;
        }
        if configs::is_scoped_key(key) {
            later.push(key.as_str());
            continue;
        }
        match configs::near_miss(key) {
            Some(NearMiss::Misspelt(meant) | NearMiss::TopicKey(meant)) => {
                return Err(ConfigError::Misspelt {
                    key: key.clone(),
                    meant,
                });
            }
            None => notices.push(format!(
                "configuration key {key} is unknown and has no effect"
            )),
        }
    }
    if !later.is_empty() {
        notices.push(format!(
            "known configuration keys that are not honoured yet and have no effect: {}",
            later.join(", ")
        ));
    }
    Ok(notices)
}

/// Reads values with Kafka's defaults behind them.
struct ValueReader<'a> {
    values: &'a BTreeMap<String, String>,
}

impl ValueReader<'_> {
    fn text(&self, key: &str) -> Option<String> {
        if let Some(value) = self.values.get(key) {
            return Some(value.trim().to_string());
        }
        let definition = configs::broker_definition(key)?;
        definition.default.text().map(str::to_string)
    }

    /// Values were checked against their definitions, so what is there parses.
    fn number(&self, key: &str) -> Option<i64> {
        self.text(key)?.trim().parse().ok()
    }

    fn list(&self, key: &str) -> Vec<String> {
        self.text(key)
            .map(|text| configs::split_list(&text))
            .unwrap_or_default()
    }
}

fn unusable(key: &'static str, value: impl Into<String>, reason: impl Into<String>) -> ConfigError {
    ConfigError::Unusable {
        key,
        value: value.into(),
        reason: reason.into(),
    }
}

fn roles(reader: &ValueReader<'_>) -> Result<Roles, ConfigError> {
    let list = reader.list("process.roles");
    let roles = Roles {
        broker: list.iter().any(|role| role == "broker"),
        controller: list.iter().any(|role| role == "controller"),
    };
    if !(roles.broker && roles.controller) {
        return Err(unusable(
            "process.roles",
            list.join(","),
            "this version runs combined nodes: set process.roles=broker,controller",
        ));
    }
    Ok(roles)
}

fn node_id(reader: &ValueReader<'_>) -> Result<i32, ConfigError> {
    let id = [reader.number("node.id"), reader.number("broker.id")]
        .into_iter()
        .flatten()
        .find(|id| *id >= 0);
    id.map(|id| id as i32).ok_or_else(|| {
        unusable(
            "node.id",
            "",
            "set it to a number of 0 or more, different on every node",
        )
    })
}

fn log_dirs(reader: &ValueReader<'_>) -> Result<Vec<PathBuf>, ConfigError> {
    let mut list = reader.list("log.dirs");
    if list.is_empty() {
        list = reader.list("log.dir");
    }
    let directories: Vec<PathBuf> = list.iter().map(PathBuf::from).collect();
    if directories.is_empty() {
        return Err(unusable("log.dirs", "", "name at least one data directory"));
    }
    let mut sorted = directories.clone();
    sorted.sort();
    sorted.dedup();
    if sorted.len() != directories.len() {
        return Err(unusable(
            "log.dirs",
            list.join(","),
            "it names a directory twice",
        ));
    }
    Ok(directories)
}
