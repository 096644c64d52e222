//! Odradek's own keys, all beginning with `odradek.`: read-only ones, and words of an operator to a running broker; and the keys that Kafka's authorizer reads outside its
//! broker definition. Kafka's tables are in `broker_table.rs`.

use super::definition::{
    ConfigDefault, ConfigDefinition, ConfigType, Importance, UpdateMode, Valid, row,
};

const fn own(
    key: &'static str,
    config_type: ConfigType,
    default: ConfigDefault,
    valid: Valid,
    documentation: &'static str,
) -> ConfigDefinition {
    let mut definition = row(
        key,
        config_type,
        default,
        UpdateMode::ReadOnly,
        Importance::Medium,
        valid,
        &[],
        false,
        false,
    );
    definition.documentation = documentation;
    definition
}

/// A key by which an operator tells one running broker something: each value that was not there before is a word.
const fn word(key: &'static str, documentation: &'static str) -> ConfigDefinition {
    let mut definition = own(
        key,
        ConfigType::String,
        ConfigDefault::Null,
        Valid::Any,
        documentation,
    );
    definition.update_mode = UpdateMode::PerBroker;
    definition
}

/// The clock is right: retention goes on.
pub const CLOCK_TRUST: &str = "odradek.clock.trust";
/// Replicas that the metadata does not know may be deleted.
pub const STRAYS_ALLOW: &str = "odradek.strays.allow";

/// Keys of Odradek, sorted by key.
pub(super) const ODRADEK: &[ConfigDefinition] = &[
    word(
        CLOCK_TRUST,
        "Set it on a broker, to any value that it did not have, such as the time of day, to say that its clock is right: retention, which \
         stops when the clock has jumped, goes on. The log says when that is wanted.",
    ),
    own(
        "odradek.data.dir.bytes.max",
        ConfigType::Long,
        ConfigDefault::Null,
        Valid::Range(268_435_456, i64::MAX),
        "Bytes that one data directory may take; by default what its file system has free when it is formatted.",
    ),
    own(
        "odradek.durability",
        ConfigType::String,
        ConfigDefault::Value("fsync"),
        Valid::OneOf(&["fsync", "none"]),
        "fsync: an acknowledged record is on stable storage. none: it is in the kernel's memory, a power cut may lose it.",
    ),
    own(
        "odradek.metrics.listener",
        ConfigType::String,
        ConfigDefault::Value("127.0.0.1:9464"),
        Valid::HostPort,
        "Where /metrics and /health are served over HTTP; port 0 takes any free port.",
    ),
    own(
        "odradek.shards",
        ConfigType::Int,
        ConfigDefault::Null,
        Valid::Range(1, 1_024),
        "Shards of this node, fixed when it is formatted; by default one per core, and one on two cores.",
    ),
    word(
        STRAYS_ALLOW,
        "Set it on a broker, to any value that it did not have, such as the time of day, to let it delete the replicas on its disks that the \
         cluster's metadata does not name, an hour later, though they are more than a tenth of all. The log says when that is wanted.",
    ),
];

/// Keys that Kafka's StandardAuthorizer reads from the same file.
pub(super) const AUTHORIZER: &[ConfigDefinition] = &[
    own(
        "allow.everyone.if.no.acl.found",
        ConfigType::Boolean,
        ConfigDefault::Value("false"),
        Valid::Any,
        "Whether a resource without any ACL is open to all.",
    ),
    own(
        "super.users",
        ConfigType::String,
        ConfigDefault::Value(""),
        Valid::Any,
        "Principals, parted by semicolons, that every ACL lets pass.",
    ),
];
