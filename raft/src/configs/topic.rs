//! Validation of a topic's whole config: every key known, every value allowed, and no two in contradiction. Single values are
//! checked in `value.rs`; who may ask is the controller's matter.

use std::collections::BTreeMap;

use super::effective::ConfigLayers;
use super::topic_definition;
use super::value::{ConfigRefusal, ConfigValue, parse_value};

/// What the node can keep, beyond what Kafka's definitions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicConfigLimits {
    /// Largest `max.message.bytes` that a frame of the shard log can hold.
    pub message_bytes_max: i64,
    /// Whether `remote.log.storage.system.enable` is set.
    pub remote_storage: bool,
}

impl Default for TopicConfigLimits {
    fn default() -> Self {
        TopicConfigLimits {
            message_bytes_max: i64::from(i32::MAX),
            remote_storage: false,
        }
    }
}

/// A topic's keys and values as set on it.
pub type TopicConfigs = BTreeMap<String, String>;

/// Checks the whole config of a topic. `overrides` are the values set on the topic itself, `layers` what it gets when they are absent
/// (its own topic layer is not looked at).
pub fn validate_topic_configs<'a>(
    overrides: impl IntoIterator<Item = (&'a str, &'a str)>,
    layers: &ConfigLayers<'_>,
    limits: TopicConfigLimits,
) -> Result<(), ConfigRefusal> {
    let mut values: BTreeMap<&'static str, ConfigValue> = BTreeMap::new();
    for (key, text) in overrides {
        let definition = topic_definition(key).ok_or_else(|| ConfigRefusal::UnknownKey {
            key: key.to_string(),
            scope: "topic",
        })?;
        values.insert(definition.key, parse_value(definition, text)?);
    }
    let number = |key: &'static str| -> i64 {
        match values.get(key) {
            Some(value) => value.number().unwrap_or(0),
            None => layers.topic_default_number(key).unwrap_or(0),
        }
    };
    let boolean = |key: &str| {
        values
            .get(key)
            .and_then(ConfigValue::boolean)
            .unwrap_or(false)
    };

    let lag_min = number("min.compaction.lag.ms");
    let lag_max = number("max.compaction.lag.ms");
    if lag_min > lag_max {
        return Err(conflict(
            "min.compaction.lag.ms",
            format!("{lag_min} is above max.compaction.lag.ms, which is {lag_max}"),
        ));
    }
    let message_bytes = number("max.message.bytes");
    if values.contains_key("max.message.bytes") && message_bytes > limits.message_bytes_max {
        return Err(ConfigRefusal::InvalidValue {
            key: "max.message.bytes".to_string(),
            value: message_bytes.to_string(),
            allowed: format!(
                "at most {}, the largest batch that the log of this cluster's brokers can hold",
                limits.message_bytes_max
            ),
        });
    }
    if boolean("remote.storage.enable") {
        let policy = values.get("cleanup.policy").and_then(ConfigValue::list);
        check_remote_storage(limits, policy, &number)?;
    }
    Ok(())
}

fn check_remote_storage(
    limits: TopicConfigLimits,
    policy: Option<&[String]>,
    number: &impl Fn(&'static str) -> i64,
) -> Result<(), ConfigRefusal> {
    if !limits.remote_storage {
        return Err(conflict(
            "remote.storage.enable",
            "tiered storage is not enabled on this cluster's brokers".to_string(),
        ));
    }
    if policy.is_some_and(|items| items.iter().any(|item| item == "compact")) {
        return Err(conflict(
            "remote.storage.enable",
            "tiered storage and cleanup.policy compact exclude each other".to_string(),
        ));
    }
    for (local_key, key) in [
        ("local.retention.ms", "retention.ms"),
        ("local.retention.bytes", "retention.bytes"),
    ] {
        let (local, whole) = (number(local_key), number(key));
        // -2 follows the whole retention; -1 is unlimited, so a limited whole contradicts it.
        if local != -2 && whole != -1 && (local == -1 || local > whole) {
            return Err(conflict(
                local_key,
                format!("{local} is above {key}, which is {whole}"),
            ));
        }
    }
    Ok(())
}

fn conflict(key: &str, reason: String) -> ConfigRefusal {
    ConfigRefusal::Conflict {
        key: key.to_string(),
        reason,
    }
}
