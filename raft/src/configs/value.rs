//! Reading one config value: text to a typed value, checked against its definition. Checks that need several keys are in `topic.rs`.

use std::fmt;

use super::definition::{ConfigDefinition, ConfigType, Valid};

/// A config value by type.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigValue {
    /// A boolean.
    Boolean(bool),
    /// Text, also of a class name or a secret.
    Text(String),
    /// A whole number of type int, short or long.
    Number(i64),
    /// A floating point number.
    Double(f64),
    /// Items of a list.
    List(Vec<String>),
}

impl ConfigValue {
    /// The number of an int, short or long.
    pub fn number(&self) -> Option<i64> {
        match self {
            ConfigValue::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The boolean.
    pub fn boolean(&self) -> Option<bool> {
        match self {
            ConfigValue::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The text.
    pub fn text(&self) -> Option<&str> {
        match self {
            ConfigValue::Text(value) => Some(value),
            _ => None,
        }
    }

    /// The list.
    pub fn list(&self) -> Option<&[String]> {
        match self {
            ConfigValue::List(items) => Some(items),
            _ => None,
        }
    }
}

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigRefusal {
    /// No such key in the scope.
    UnknownKey {
        /// The key as sent.
        key: String,
        /// What kind of resource it was meant for, e.g. `topic`.
        scope: &'static str,
    },
    /// The value does not fit the key.
    InvalidValue {
        /// The key.
        key: String,
        /// The value as sent; `[hidden]` for a secret.
        value: String,
        /// What the key takes.
        allowed: String,
    },
    /// Two keys contradict each other.
    Conflict {
        /// The first key and its value.
        key: String,
        /// What is wrong, in words.
        reason: String,
    },
    /// The key has no value where one is needed.
    MissingValue {
        /// The key.
        key: String,
    },
}

impl fmt::Display for ConfigRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigRefusal::UnknownKey { key, scope } => {
                write!(formatter, "Unknown {scope} config name: {key}")
            }
            ConfigRefusal::InvalidValue {
                key,
                value,
                allowed,
            } => write!(
                formatter,
                "Invalid value {value} for configuration {key}: allowed is {allowed}"
            ),
            ConfigRefusal::Conflict { key, reason } => {
                write!(formatter, "Invalid value for configuration {key}: {reason}")
            }
            ConfigRefusal::MissingValue { key } => {
                write!(
                    formatter,
                    "Null value not supported for configuration {key}"
                )
            }
        }
    }
}

impl std::error::Error for ConfigRefusal {}

/// Parts a list value as Kafka does: commas, blanks around items dropped, no item at all for blank text.
pub fn split_list(text: &str) -> Vec<String> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',')
        .map(|item| item.trim().to_string())
        .collect()
}

/// Reads `text` as the type of `definition` and checks it against what the key takes.
pub fn parse_value(
    definition: &ConfigDefinition,
    text: &str,
) -> Result<ConfigValue, ConfigRefusal> {
    let refusal = || ConfigRefusal::InvalidValue {
        key: definition.key.to_string(),
        value: if definition.is_sensitive() {
            "[hidden]".to_string()
        } else {
            text.to_string()
        },
        allowed: definition.allowed(),
    };
    let value = parse_type(definition.config_type, text).ok_or_else(refusal)?;
    if is_allowed(definition.valid, &value) {
        Ok(value)
    } else {
        Err(refusal())
    }
}

/// As [`parse_value`], for callers that only want to know.
pub fn validate_value(definition: &ConfigDefinition, text: &str) -> Result<(), ConfigRefusal> {
    parse_value(definition, text).map(|_| ())
}

fn parse_type(config_type: ConfigType, text: &str) -> Option<ConfigValue> {
    let trimmed = text.trim();
    match config_type {
        ConfigType::Boolean if trimmed.eq_ignore_ascii_case("true") => {
            Some(ConfigValue::Boolean(true))
        }
        ConfigType::Boolean if trimmed.eq_ignore_ascii_case("false") => {
            Some(ConfigValue::Boolean(false))
        }
        ConfigType::Boolean => None,
        ConfigType::String | ConfigType::Class => Some(ConfigValue::Text(trimmed.to_string())),
        ConfigType::Password => Some(ConfigValue::Text(text.to_string())),
        ConfigType::Int => trimmed
            .parse::<i32>()
            .ok()
            .map(|n| ConfigValue::Number(n.into())),
        ConfigType::Short => trimmed
            .parse::<i16>()
            .ok()
            .map(|n| ConfigValue::Number(n.into())),
        ConfigType::Long => trimmed.parse::<i64>().ok().map(ConfigValue::Number),
        ConfigType::Double => {
            let number = trimmed.parse::<f64>().ok()?;
            number.is_finite().then_some(ConfigValue::Double(number))
        }
        ConfigType::List => Some(ConfigValue::List(split_list(text))),
    }
}

fn is_allowed(valid: Valid, value: &ConfigValue) -> bool {
    match (valid, value) {
        (Valid::Range(min, max), ConfigValue::Number(number)) => (min..=max).contains(number),
        (Valid::DoubleRange(min, max), ConfigValue::Double(number)) => (min..=max).contains(number),
        (Valid::OneOf(items), ConfigValue::Text(text)) => items.contains(&text.as_str()),
        (Valid::OneOf(items), ConfigValue::List(list)) => list
            .iter()
            .enumerate()
            .all(|(index, item)| items.contains(&item.as_str()) && !list[..index].contains(item)),
        (Valid::OneOfIgnoringCase(items), ConfigValue::Text(text)) => {
            items.iter().any(|item| item.eq_ignore_ascii_case(text))
        }
        (Valid::NonEmpty, ConfigValue::Text(text)) => !text.is_empty(),
        (Valid::NonEmpty, ConfigValue::List(list)) => !list.is_empty(),
        (Valid::GzipLevel, ConfigValue::Number(number)) => {
            *number == -1 || (1..=9).contains(number)
        }
        (Valid::ThrottledReplicas, ConfigValue::List(list)) => {
            matches!(list.as_slice(), [only] if only == "*")
                || list.iter().all(|item| is_partition_and_broker(item))
        }
        (Valid::AutoOffsetReset, ConfigValue::Text(text)) => {
            text.eq_ignore_ascii_case("latest")
                || text.eq_ignore_ascii_case("earliest")
                || text
                    .strip_prefix("by_duration:")
                    .is_some_and(is_iso_duration)
        }
        (Valid::HostPort, ConfigValue::Text(text)) => text
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()),
        (Valid::Any, _) => true,
        // A valid rule of another type than its row's is a fault of the table; the tests read every default through here.
        _ => false,
    }
}

fn is_partition_and_broker(item: &str) -> bool {
    item.split_once(':').is_some_and(|(partition, broker)| {
        partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
    })
}

/// Days, hours, minutes and seconds of ISO 8601, at least one of them, none negative: `P3D`, `PT1H30M`, `P1DT0.5S`.
fn is_iso_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else {
        return false;
    };
    let (date, time) = match rest.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (rest, None),
    };
    let days = date.is_empty() || date.strip_suffix('D').is_some_and(is_whole);
    let Some(mut time) = time else {
        return days && !date.is_empty();
    };
    if time.is_empty() {
        return false;
    }
    for unit in ['H', 'M'] {
        if let Some((number, rest)) = time.split_once(unit) {
            if !is_whole(number) {
                return false;
            }
            time = rest;
        }
    }
    let seconds = time.is_empty()
        || time
            .strip_suffix('S')
            .is_some_and(|number| match number.split_once('.') {
                Some((whole, part)) => is_whole(whole) && is_whole(part) && part.len() <= 9,
                None => is_whole(number),
            });
    days && seconds
}

fn is_whole(text: &str) -> bool {
    !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit())
}
