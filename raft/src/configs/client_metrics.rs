//! Subscriptions to clients' metrics (KIP-714): what the keys of a CLIENT_METRICS resource mean, whether they are right, and
//! which clients they are for. The controller refuses wrong ones with this; `server/src/node/telemetry` answers clients with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use regex::{Regex, RegexBuilder};

use super::split_list;

const METRICS: &str = "metrics";
const INTERVAL_MS: &str = "interval.ms";
const MATCH: &str = "match";
/// All metrics, in place of prefixes.
pub const ALL_METRICS: &str = "*";
/// How often clients push where nothing is said, in milliseconds.
pub const INTERVAL_MS_DEFAULT: i32 = 300_000;
const INTERVAL_MS_MIN: i32 = 100;
const INTERVAL_MS_MAX: i32 = 3_600_000;
/// Memory that one compiled pattern may take; a pattern beyond it is refused.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// What is known of a client, and patterns are matched against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientAttribute {
    /// `client_instance_id`
    InstanceId,
    /// `client_id`
    ClientId,
    /// `client_software_name`
    SoftwareName,
    /// `client_software_version`
    SoftwareVersion,
    /// `client_source_address`
    SourceAddress,
    /// `client_source_port`
    SourcePort,
}

impl ClientAttribute {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "client_instance_id" => Self::InstanceId,
            "client_id" => Self::ClientId,
            "client_software_name" => Self::SoftwareName,
            "client_software_version" => Self::SoftwareVersion,
            "client_source_address" => Self::SourceAddress,
            "client_source_port" => Self::SourcePort,
            _ => return None,
        })
    }
}

/// What is wrong with a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMetricsFault {
    /// There is no such key.
    UnknownKey(String),
    /// The interval is no number.
    NotANumber {
        /// As given.
        value: String,
    },
    /// The interval is not between 100 ms and an hour.
    Interval {
        /// As given.
        interval_ms: i32,
    },
    /// Not `attribute=regular expression`, with one of the six attributes.
    Pattern(String),
}

impl fmt::Display for ClientMetricsFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey(key) => {
                write!(formatter, "Unknown client metrics configuration: {key}")
            }
            Self::NotANumber { value } => write!(
                formatter,
                "Invalid value {value} for configuration {INTERVAL_MS}: Not a number of type INT"
            ),
            Self::Interval { interval_ms } => write!(
                formatter,
                "Invalid value {interval_ms} for {INTERVAL_MS}, interval must be between {INTERVAL_MS_MIN} and {INTERVAL_MS_MAX} (1 hour)"
            ),
            Self::Pattern(pattern) => {
                write!(formatter, "Illegal client matching pattern: {pattern}")
            }
        }
    }
}

impl std::error::Error for ClientMetricsFault {}

/// One CLIENT_METRICS resource.
#[derive(Clone, Debug)]
pub struct ClientMetricsSubscription {
    /// Prefixes of metric names; [`ALL_METRICS`] for all.
    pub metrics: BTreeSet<String>,
    /// How often to push, in milliseconds.
    pub interval_ms: i32,
    patterns: BTreeMap<ClientAttribute, Regex>,
}

impl ClientMetricsSubscription {
    /// From the keys of a resource.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse<'a>(
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ClientMetricsFault> {
        let mut subscription = Self {
            metrics: BTreeSet::new(),
            interval_ms: INTERVAL_MS_DEFAULT,
            patterns: BTreeMap::new(),
        };
        for (key, value) in values {
            match key {
                METRICS => subscription.metrics = split_list(value).into_iter().collect(),
                INTERVAL_MS => subscription.interval_ms = interval(value)?,
                MATCH => {
                    let patterns = split_list(value);
                    subscription.patterns = patterns
                        .iter()
                        .map(|text| pattern(text))
                        .collect::<Result<_, _>>()?;
                }
                other => return Err(ClientMetricsFault::UnknownKey(other.to_string())),
            }
        }
        Ok(subscription)
    }

    /// Whether it is for a client: every pattern matches the whole of its attribute. One that is not known matches nothing.
    pub fn matches<'a>(&self, attribute: impl Fn(ClientAttribute) -> Option<&'a str>) -> bool {
        self.patterns
            .iter()
            .all(|(wanted, pattern)| attribute(*wanted).is_some_and(|text| pattern.is_match(text)))
    }
}

fn interval(value: &str) -> Result<i32, ClientMetricsFault> {
    let interval_ms: i32 = value
        .trim()
        .parse()
        .map_err(|_| ClientMetricsFault::NotANumber {
            value: value.to_string(),
        })?;
    if (INTERVAL_MS_MIN..=INTERVAL_MS_MAX).contains(&interval_ms) {
        Ok(interval_ms)
    } else {
        Err(ClientMetricsFault::Interval { interval_ms })
    }
}

fn pattern(text: &str) -> Result<(ClientAttribute, Regex), ClientMetricsFault> {
    let fault = || ClientMetricsFault::Pattern(text.to_string());
    let (name, expression) = text.split_once('=').ok_or_else(fault)?;
    if expression.is_empty() || expression.contains('=') {
        return Err(fault());
    }
    let attribute = ClientAttribute::parse(name.trim()).ok_or_else(fault)?;
    // The whole attribute has to match, as in Kafka. Look-around and back references, which Java knows, are refused.
    let whole = RegexBuilder::new(&format!(r"\A(?:{})\z", expression.trim()))
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|_| fault())?;
    Ok((attribute, whole))
}
