//! Brokers, controllers and quota entities as the image keeps them. Registration rules are in `crate::controller`.

use std::collections::BTreeMap;

use odradek_protocol::{StrBytes, Uuid};

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Listener name, upper case.
    pub name: StrBytes,
    /// Advertised host.
    pub host: StrBytes,
    /// Advertised port.
    pub port: u16,
    /// Kafka's number: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of a feature that a node understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// Lowest level.
    pub min: i16,
    /// Highest level.
    pub max: i16,
}

/// A broker as it registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Broker id.
    pub id: i32,
    /// Broker epoch: the offset of its RegisterBroker record.
    pub epoch: i64,
    /// Made anew at each start of the process.
    pub incarnation_id: Uuid,
    /// Advertised listeners, in the order given.
    pub listeners: Vec<Listener>,
    /// Feature ranges by name.
    pub features: BTreeMap<StrBytes, VersionRange>,
    /// Rack, if any.
    pub rack: Option<StrBytes>,
    /// Not to lead or be in an ISR.
    pub fenced: bool,
    /// Leaving: leads nothing new.
    pub in_controlled_shutdown: bool,
    /// Flag of a migration that this version never takes part in; kept for logs of old nodes.
    pub is_migrating_zk_broker: bool,
    /// Directories online, ordered.
    pub directories: Vec<Uuid>,
    /// Directories that take no new replicas (KIP-1066); none when never reported.
    pub cordoned_directories: Option<Vec<Uuid>>,
}

impl BrokerRegistration {
    /// The advertised listener of a name.
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners
            .iter()
            .find(|listener| &*listener.name == name)
    }

    /// Whether a replica in this directory can serve: an unassigned one is about to be put somewhere.
    pub fn has_online_directory(&self, directory: Uuid) -> bool {
        use super::directory_id::{LOST, MIGRATING, UNASSIGNED};
        if directory == LOST {
            return false;
        }
        directory == UNASSIGNED
            || directory == MIGRATING
            || self.directories.is_empty()
            || self.directories.binary_search(&directory).is_ok()
    }
}

/// A controller as it registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerRegistration {
    /// Node id.
    pub id: i32,
    /// Made anew at each start of the process.
    pub incarnation_id: Uuid,
    /// Flag of a migration that this version never takes part in.
    pub zk_migration_ready: bool,
    /// Controller listeners.
    pub listeners: Vec<Listener>,
    /// Feature ranges by name.
    pub features: BTreeMap<StrBytes, VersionRange>,
}

/// What a client quota belongs to: pairs of type (`user`, `client-id`, `ip`) and name, none for the default; ordered by type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaEntity(pub Vec<(StrBytes, Option<StrBytes>)>);
