//! Odradek's own keys, all read-only and all beginning with `odradek.`, and the keys that Kafka's authorizer reads outside its
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

/// Keys of Odradek, sorted by key.
pub(super) const ODRADEK: &[ConfigDefinition] = &[
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
        "Shards of this node, fixed when it is formatted; by default one per core.",
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
