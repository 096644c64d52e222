//! The metadata image: all that the metadata log says, as one immutable value that is cheap to clone. Controller and broker use the same
//! (M3). `MetadataBuilder` applies records to a working copy and publishes images with deltas; `snapshot.rs` turns an image back into
//! records. The bytes of checkpoint files are in `crate::snapshot`, consensus in `crate::consensus`.

mod apply;
mod builder;
mod chunked;
mod cluster;
mod delta;
mod intern;
mod loader;
mod records;
mod short_way;
mod snapshot;
mod sorted;
mod topics;
mod topics_builder;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use odradek_protocol::metadata_records::{
    AccessControlEntryRecord, DelegationTokenRecord, MetadataRecord, UserScramCredentialRecord,
};
use odradek_protocol::{StrBytes, Uuid};

pub use builder::{ApplyError, BuilderOptions, MetadataBuilder};
pub use chunked::{CHUNK_ITEMS, ChunkedVec};
pub use cluster::{
    BrokerRegistration, ControllerRegistration, Listener, QuotaEntity, VersionRange,
};
pub use delta::{DeletedTopic, MetadataDelta, PartitionChange, TopicsDelta};
pub use loader::SnapshotLoader;
pub use records::{ELR_VERSION, KRAFT_VERSION, METADATA_VERSION, record_version};
pub use short_way::LoadError;
pub use snapshot::write_snapshot;
pub use topics::{NO_LEADER, Partition, PartitionView, TopicView, TopicsImage, is_internal_topic};

use crate::configs::ConfigMap;

/// Directory ids that stand for something else than a directory (KIP-858).
pub mod directory_id {
    use odradek_protocol::Uuid;

    /// A replica from before directories were recorded.
    pub const MIGRATING: Uuid = reserved(0);
    /// Not yet put anywhere.
    pub const UNASSIGNED: Uuid = reserved(1);
    /// In a directory that failed.
    pub const LOST: Uuid = reserved(2);

    /// Whether the id is one of the first hundred, which name no directory.
    pub fn is_reserved(id: Uuid) -> bool {
        id.0[..15].iter().all(|&byte| byte == 0) && id.0[15] < 100
    }

    const fn reserved(number: u8) -> Uuid {
        let mut bytes = [0; 16];
        bytes[15] = number;
        Uuid(bytes)
    }
}

/// Kinds of resources that have configs; the numbers are Kafka's.
pub mod resource_type {
    /// A topic.
    pub const TOPIC: i8 = 2;
    /// A broker, or all when the name is empty.
    pub const BROKER: i8 = 4;
    /// Log levels of a broker.
    pub const BROKER_LOGGER: i8 = 8;
    /// A client metrics subscription.
    pub const CLIENT_METRICS: i8 = 16;
    /// A group.
    pub const GROUP: i8 = 32;
}

/// What a config belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// One of [`resource_type`].
    pub resource_type: i8,
    /// Its name; empty for the cluster's default of a broker.
    pub name: StrBytes,
}

impl ConfigResource {
    /// A topic.
    pub fn topic(name: &str) -> ConfigResource {
        ConfigResource::new(resource_type::TOPIC, name)
    }

    /// A broker.
    pub fn broker(id: i32) -> ConfigResource {
        ConfigResource::new(resource_type::BROKER, &id.to_string())
    }

    /// The default of all brokers.
    pub fn cluster() -> ConfigResource {
        ConfigResource::new(resource_type::BROKER, "")
    }

    /// Any resource. The name is copied, so that it keeps no request's bytes alive.
    pub fn new(resource_type: i8, name: &str) -> ConfigResource {
        ConfigResource {
            resource_type,
            name: StrBytes::from(name.to_string()),
        }
    }
}

/// All metadata up to an offset. Clones share memory.
#[derive(Clone, Debug, Default)]
pub struct MetadataImage {
    /// Offset of the last record applied, -1 for none. The finalized features epoch of ApiVersions.
    pub offset: i64,
    /// Leader epoch of that record.
    pub epoch: i32,
    /// Topics and partitions.
    pub topics: TopicsImage,
    /// Registered brokers, fenced ones too.
    pub brokers: Arc<BTreeMap<i32, BrokerRegistration>>,
    /// Registered controllers.
    pub controllers: Arc<BTreeMap<i32, ControllerRegistration>>,
    /// Finalized feature levels above 0, without kraft.version, which is a control record's matter.
    pub features: Arc<BTreeMap<StrBytes, i16>>,
    /// Configs by resource; a resource without any is absent.
    pub configs: Arc<BTreeMap<ConfigResource, Arc<ConfigMap>>>,
    /// Client quotas by entity and key.
    pub client_quotas: Arc<BTreeMap<QuotaEntity, BTreeMap<StrBytes, f64>>>,
    /// The first producer id not yet given to a broker.
    pub next_producer_id: i64,
    /// ACLs by id.
    pub acls: Arc<BTreeMap<Uuid, AccessControlEntryRecord>>,
    /// SCRAM credentials by user and mechanism.
    pub scram: Arc<BTreeMap<(StrBytes, i8), UserScramCredentialRecord>>,
    /// Delegation tokens by id.
    pub delegation_tokens: Arc<BTreeMap<StrBytes, DelegationTokenRecord>>,
}

impl MetadataImage {
    /// The image before the first record.
    pub fn empty() -> MetadataImage {
        MetadataImage {
            offset: -1,
            ..MetadataImage::default()
        }
    }

    /// A feature's finalized level, 0 when it has none.
    pub fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// metadata.version, 0 before the bootstrap records.
    pub fn metadata_version(&self) -> i16 {
        self.feature_level(METADATA_VERSION)
    }

    /// Whether eligible leader replicas are kept (KIP-966).
    pub fn is_elr_enabled(&self) -> bool {
        self.feature_level(ELR_VERSION) >= 1
    }

    /// The configs of a resource, if it has any.
    pub fn config(&self, resource: &ConfigResource) -> Option<&ConfigMap> {
        self.configs.get(resource).map(Arc::as_ref)
    }

    /// The configs of a topic, if it has any.
    pub fn topic_config(&self, name: &str) -> Option<&ConfigMap> {
        if !self.has_topic_configs() {
            return None;
        }
        self.config(&ConfigResource::topic(name))
    }

    /// Whether any topic has configs of its own: a million that have none are not each looked up.
    fn has_topic_configs(&self) -> bool {
        let first = ConfigResource {
            resource_type: resource_type::TOPIC,
            name: StrBytes::EMPTY,
        };
        let next = self.configs.range(first..).next();
        next.is_some_and(|(resource, _)| resource.resource_type == resource_type::TOPIC)
    }

    /// A broker that may lead: registered, not fenced, not shutting down.
    pub fn is_active_broker(&self, id: i32) -> bool {
        self.brokers
            .get(&id)
            .is_some_and(|broker| !broker.fenced && !broker.in_controlled_shutdown)
    }

    /// Whether two images say the same, wherever they keep it.
    pub fn has_same_content(&self, other: &MetadataImage) -> bool {
        self.records() == other.records()
    }

    /// All records of a snapshot, for comparing: a large image is written with [`write_snapshot`].
    pub fn records(&self) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        let Ok(()) = write_snapshot(self, &mut |record| {
            records.push(record);
            Ok::<(), Infallible>(())
        });
        records
    }

    /// Bytes of topics and partitions, counted as if no other image shared them.
    pub fn topics_bytes(&self) -> usize {
        self.topics.bytes()
    }
}
