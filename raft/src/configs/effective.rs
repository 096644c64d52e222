//! The value a key has in the end, and where it comes from: a topic's own, a broker's dynamic, the cluster's dynamic default, the
//! static file, the built-in default, in this order. DescribeConfigs shows the chain as synonyms (KIP-226).

use std::collections::BTreeMap;

use odradek_protocol::StrBytes;

use super::definition::ConfigDefinition;
use super::{broker_definition, topic_definition};

/// Where a value comes from; the number is what DescribeConfigs sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set on the topic.
    DynamicTopic = 1,
    /// Set dynamically on the one broker.
    DynamicBroker = 2,
    /// Set dynamically for all brokers.
    DynamicDefaultBroker = 3,
    /// The broker's properties file.
    StaticBroker = 4,
    /// Built in.
    Default = 5,
    /// A log level set dynamically.
    DynamicBrokerLogger = 6,
    /// Set on a client metrics subscription.
    ClientMetrics = 7,
    /// Set on a group.
    Group = 8,
}

impl ConfigSource {
    /// The number DescribeConfigs sends.
    pub fn code(self) -> i8 {
        self as i8
    }
}

/// One place where a value, or what stands behind it, is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The key in that place: a topic key is backed by broker keys of other names.
    pub name: String,
    /// The value there; none for a secret.
    pub value: Option<String>,
    /// The place.
    pub source: ConfigSource,
}

/// A key's value as a broker has it.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectiveConfig {
    /// The definition.
    pub definition: &'static ConfigDefinition,
    /// The value in the key's own unit; none when it has none, or is a secret.
    pub value: Option<String>,
    /// Where it comes from: the first synonym's source.
    pub source: ConfigSource,
    /// All places that set it, strongest first.
    pub synonyms: Vec<Synonym>,
}

/// Key and value maps of the metadata image.
pub type ConfigMap = BTreeMap<StrBytes, StrBytes>;

/// What may set a key, strongest first. All parts may be absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConfigLayers<'a> {
    /// The topic's own values.
    pub topic: Option<&'a ConfigMap>,
    /// Dynamic values of this broker.
    pub broker: Option<&'a ConfigMap>,
    /// Dynamic defaults of the cluster.
    pub cluster: Option<&'a ConfigMap>,
    /// The properties file.
    pub static_file: Option<&'a BTreeMap<String, String>>,
}

/// The broker keys that speak of the same thing, strongest first, the key itself among them: `log.retention.ms`, `.minutes` and
/// `.hours` are one chain. A key alone is its own chain.
pub fn synonym_chain(key: &str) -> &[&'static str] {
    const CHAINS: &[&[&str]] = &[
        &[
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours",
        ],
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
    ];
    if let Some(chain) = CHAINS.iter().find(|chain| chain.contains(&key)) {
        return chain;
    }
    match broker_definition(key) {
        Some(definition) => std::slice::from_ref(&definition.key),
        None => &[],
    }
}

impl<'a> ConfigLayers<'a> {
    /// A topic key's value on this broker. None for an unknown key.
    pub fn topic_config(&self, key: &str) -> Option<EffectiveConfig> {
        let definition = topic_definition(key)?;
        let mut synonyms = Vec::new();
        if let Some(value) = self.topic.and_then(|map| map.get(key)) {
            synonyms.push(Synonym {
                name: key.to_string(),
                value: Some(value.to_string()),
                source: ConfigSource::DynamicTopic,
            });
        }
        let own = synonyms.len();
        self.collect(definition.broker_synonyms, &mut synonyms);
        let source = synonyms
            .first()
            .map_or(ConfigSource::Default, |first| first.source);
        // Kafka lists the broker's chain from the key of the topic key's own unit on; the value and its source are whole.
        let first = definition.broker_synonyms.first().copied();
        let named = |synonym: &Synonym| Some(synonym.name.as_str()) == first;
        let listed = synonyms[own..].iter().position(named);
        let hidden = own..listed.map_or(synonyms.len(), |place| own + place);
        let value = match synonyms.first() {
            Some(first) if first.source == ConfigSource::DynamicTopic => first.value.clone(),
            _ => self.topic_default(definition),
        };
        synonyms.drain(hidden);
        Some(EffectiveConfig {
            definition,
            value,
            source,
            synonyms,
        })
    }

    /// A broker key's value on this broker. None for an unknown key. A secret has no value, only its source.
    pub fn broker_config(&self, key: &str) -> Option<EffectiveConfig> {
        let definition = broker_definition(key)?;
        let mut synonyms = Vec::new();
        self.collect(synonym_chain(key), &mut synonyms);
        // What stands before the key in its chain is another key; its own value begins at its own name.
        let own = synonyms.iter().position(|synonym| synonym.name == key);
        synonyms.drain(..own.unwrap_or(synonyms.len()));
        let source = synonyms
            .first()
            .map_or(ConfigSource::Default, |first| first.source);
        let value = synonyms.first().and_then(|first| first.value.clone());
        Some(EffectiveConfig {
            definition,
            value,
            source,
            synonyms,
        })
    }

    /// A topic key as a number, the topic's own layer included. None when unknown, without value, or no whole number.
    pub fn topic_number(&self, key: &str) -> Option<i64> {
        match self.topic.and_then(|map| map.get(key)) {
            Some(value) => value.trim().parse().ok(),
            None => self.topic_default_number(key),
        }
    }

    /// A topic key as text, the topic's own layer included.
    pub fn topic_text(&self, key: &str) -> Option<String> {
        match self.topic.and_then(|map| map.get(key)) {
            Some(value) => Some(value.to_string()),
            None => self.topic_default(topic_definition(key)?),
        }
    }

    /// A topic key as a number when the topic does not set it.
    pub fn topic_default_number(&self, key: &str) -> Option<i64> {
        self.topic_default(topic_definition(key)?)?
            .trim()
            .parse()
            .ok()
    }

    /// A broker key as a number.
    pub fn broker_number(&self, key: &str) -> Option<i64> {
        self.broker_text(key)?.trim().parse().ok()
    }

    /// A broker key as a boolean.
    pub fn broker_boolean(&self, key: &str) -> Option<bool> {
        Some(self.broker_text(key)?.trim().eq_ignore_ascii_case("true"))
    }

    /// A broker key as text, secrets too: for the node itself, not for answers.
    pub fn broker_text(&self, key: &str) -> Option<String> {
        let definition = broker_definition(key)?;
        self.set_text(definition.key)
            .or_else(|| definition.default.text().map(str::to_string))
    }

    fn topic_default(&self, definition: &'static ConfigDefinition) -> Option<String> {
        definition
            .broker_synonyms
            .iter()
            .find_map(|synonym| Some(in_topic_unit(synonym, self.set_text(synonym)?)))
            .or_else(|| definition.default.text().map(str::to_string))
    }

    fn set_text(&self, key: &str) -> Option<String> {
        let dynamic =
            |map: Option<&ConfigMap>| map.and_then(|map| map.get(key)).map(|v| v.to_string());
        dynamic(self.broker)
            .or_else(|| dynamic(self.cluster))
            .or_else(|| self.static_file.and_then(|map| map.get(key)).cloned())
    }

    /// Adds every place that sets one of `keys`: place by place, keys in their order within each, as Kafka lists them.
    fn collect(&self, keys: &[&'static str], synonyms: &mut Vec<Synonym>) {
        let dynamic = [
            (self.broker, ConfigSource::DynamicBroker),
            (self.cluster, ConfigSource::DynamicDefaultBroker),
        ];
        for (map, source) in dynamic {
            for key in keys {
                if let Some(value) = map.and_then(|map| map.get(*key)) {
                    synonyms.push(synonym(key, value, source));
                }
            }
        }
        for key in keys {
            if let Some(value) = self.static_file.and_then(|map| map.get(*key)) {
                synonyms.push(synonym(key, value, ConfigSource::StaticBroker));
            }
        }
        for key in keys {
            let default = broker_definition(key).and_then(|definition| definition.default.text());
            if let Some(value) = default {
                synonyms.push(synonym(key, value, ConfigSource::Default));
            }
        }
    }
}

fn synonym(key: &str, value: &str, source: ConfigSource) -> Synonym {
    let sensitive = broker_definition(key).is_some_and(ConfigDefinition::is_sensitive);
    Synonym {
        name: key.to_string(),
        value: (!sensitive).then(|| value.to_string()),
        source,
    }
}

/// Topic keys count in milliseconds, some broker keys in minutes or hours. Negative stays unlimited.
fn in_topic_unit(key: &str, text: String) -> String {
    let factor_ms = match key {
        "log.retention.minutes" => 60_000,
        "log.retention.hours" | "log.roll.hours" | "log.roll.jitter.hours" => 3_600_000,
        _ => return text,
    };
    match text.trim().parse::<i64>() {
        Ok(number) if number < 0 => "-1".to_string(),
        Ok(number) => number.saturating_mul(factor_ms).to_string(),
        Err(_) => text,
    }
}
