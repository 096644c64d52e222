//! Kafka's config keys, and ours: definitions, look-up, validation and the effective value of each. The controller validates
//! with it what clients ask for (`controller/alter_configs.rs`), the broker resolves with it what it runs with, and the server checks
//! its static file against it.

mod broker_table;
pub mod client_metrics;
mod definition;
mod effective;
mod near_miss;
mod own_table;
mod resource_tables;
mod topic;
mod value;

pub use definition::{ConfigDefault, ConfigDefinition, ConfigType, Importance, UpdateMode, Valid};
pub use effective::{
    ConfigLayers, ConfigMap, ConfigSource, EffectiveConfig, Synonym, synonym_chain,
};
pub use near_miss::{NearMiss, near_miss};
pub use own_table::{CLOCK_TRUST, STRAYS_ALLOW};
pub use topic::{TopicConfigLimits, TopicConfigs, validate_topic_configs};
pub use value::{ConfigRefusal, ConfigValue, parse_value, split_list, validate_value};

/// What a set of keys belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Broker and controller: static file and BROKER resources.
    Broker,
    /// TOPIC resources.
    Topic,
    /// GROUP resources.
    Group,
    /// CLIENT_METRICS resources.
    ClientMetrics,
}

/// The definition of a broker key: Kafka's, a dynamic-only one, ours, or the authorizer's.
pub fn broker_definition(key: &str) -> Option<&'static ConfigDefinition> {
    find(broker_table::BROKER, key)
        .or_else(|| find(broker_table::BROKER_DYNAMIC_ONLY, key))
        .or_else(|| find(own_table::ODRADEK, key))
        .or_else(|| find(own_table::AUTHORIZER, key))
}

/// The definition of a topic key.
pub fn topic_definition(key: &str) -> Option<&'static ConfigDefinition> {
    find(resource_tables::TOPIC, key)
}

/// The definition of a key in a scope.
pub fn definition(scope: Scope, key: &str) -> Option<&'static ConfigDefinition> {
    match scope {
        Scope::Broker => broker_definition(key),
        Scope::Topic => topic_definition(key),
        Scope::Group => find(resource_tables::GROUP, key),
        Scope::ClientMetrics => find(resource_tables::CLIENT_METRICS, key),
    }
}

/// All definitions of a scope, ordered by key within Kafka's keys and then ours.
pub fn definitions(scope: Scope) -> impl Iterator<Item = &'static ConfigDefinition> {
    let (first, rest): (
        &'static [ConfigDefinition],
        [&'static [ConfigDefinition]; 3],
    ) = match scope {
        Scope::Broker => (
            broker_table::BROKER,
            [
                broker_table::BROKER_DYNAMIC_ONLY,
                own_table::ODRADEK,
                own_table::AUTHORIZER,
            ],
        ),
        Scope::Topic => (resource_tables::TOPIC, [&[], &[], &[]]),
        Scope::Group => (resource_tables::GROUP, [&[], &[], &[]]),
        Scope::ClientMetrics => (resource_tables::CLIENT_METRICS, [&[], &[], &[]]),
    };
    first.iter().chain(rest.into_iter().flatten())
}

/// The definitions that DescribeConfigs and CreateTopics list: not internal, and known to Kafka 4.3, whose answers ours equal.
pub fn shown_definitions(scope: Scope) -> impl Iterator<Item = &'static ConfigDefinition> {
    definitions(scope).filter(|definition| !definition.internal && !definition.since_4_4)
}

/// Whether Kafka itself reads keys of this form without defining each: listener-scoped keys and the settings of plug-ins. Such a key
/// is neither wrong nor a near miss of another.
pub fn is_scoped_key(key: &str) -> bool {
    const PREFIXES: &[&str] = &[
        "listener.name.",
        "config.providers.",
        "rsm.config.",
        "rlmm.config.",
        "principal.builder.",
        "client.quota.callback.",
    ];
    PREFIXES
        .iter()
        .any(|prefix| key.len() > prefix.len() && key.starts_with(prefix))
}

fn find(table: &'static [ConfigDefinition], key: &str) -> Option<&'static ConfigDefinition> {
    debug_assert!(table.is_sorted_by(|a, b| a.key < b.key));
    let index = table.binary_search_by(|row| row.key.cmp(key)).ok()?;
    table.get(index)
}
