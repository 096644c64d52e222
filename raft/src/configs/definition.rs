//! The shape of one config definition: type, default, valid values, update mode. The tables of Kafka's own keys are in
//! `broker_table.rs` and `resource_tables.rs`, ours in `own_table.rs`; values are read in `value.rs`.

/// The type of a config value; the number is what DescribeConfigs sends (KIP-569).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum ConfigType {
    /// `true` or `false`, in any case.
    Boolean = 1,
    /// Any text.
    String = 2,
    /// A signed 32-bit number.
    Int = 3,
    /// A signed 16-bit number.
    Short = 4,
    /// A signed 64-bit number.
    Long = 5,
    /// A finite 64-bit floating point number.
    Double = 6,
    /// Items parted by commas, blanks around them dropped.
    List = 7,
    /// A Java class name; kept as text.
    Class = 8,
    /// A secret, never shown.
    Password = 9,
}

impl ConfigType {
    /// The number DescribeConfigs sends.
    pub fn code(self) -> i8 {
        self as i8
    }

    /// How the type is named in a refusal.
    pub fn name(self) -> &'static str {
        match self {
            ConfigType::Boolean => "true or false",
            ConfigType::String => "text",
            ConfigType::Int => "a whole number of 32 bits",
            ConfigType::Short => "a whole number of 16 bits",
            ConfigType::Long => "a whole number of 64 bits",
            ConfigType::Double => "a number",
            ConfigType::List => "a list parted by commas",
            ConfigType::Class => "a class name",
            ConfigType::Password => "a secret",
        }
    }
}

/// How a broker key may change while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpdateMode {
    /// Only in the static file, with a restart.
    ReadOnly,
    /// Dynamically, but only as one broker's own value.
    PerBroker,
    /// Dynamically, as a broker's own value or as the cluster's default.
    ClusterWide,
}

/// Kafka's grading of a key, for documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Importance {
    /// Most deployments look at it.
    High,
    /// Some do.
    Medium,
    /// Few do.
    Low,
}

/// Which values a key takes beyond its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    /// All values of the type.
    Any,
    /// Whole numbers from the first to the second, both included.
    Range(i64, i64),
    /// Numbers from the first to the second, both included.
    DoubleRange(f64, f64),
    /// One of these texts; for a list, each item is one of these and none twice.
    OneOf(&'static [&'static str]),
    /// One of these texts in any case.
    OneOfIgnoringCase(&'static [&'static str]),
    /// Text or list with something in it.
    NonEmpty,
    /// 1 to 9, or -1 for the library's default.
    GzipLevel,
    /// `*`, or items `partition:broker`.
    ThrottledReplicas,
    /// `latest`, `earliest`, or `by_duration:` with an ISO 8601 duration.
    AutoOffsetReset,
    /// `host:port` with a port from 0 to 65535.
    HostPort,
}

/// What a key is when nobody set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigDefault {
    /// It must be set.
    Required,
    /// It has no value.
    Null,
    /// It is this text.
    Value(&'static str),
}

impl ConfigDefault {
    /// The default as text, if there is one.
    pub fn text(self) -> Option<&'static str> {
        match self {
            ConfigDefault::Value(text) => Some(text),
            ConfigDefault::Required | ConfigDefault::Null => None,
        }
    }
}

/// One key of one scope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConfigDefinition {
    /// The key as users write it.
    pub key: &'static str,
    /// The type of its value.
    pub config_type: ConfigType,
    /// Its value when not set.
    pub default: ConfigDefault,
    /// How it may change.
    pub update_mode: UpdateMode,
    /// Kafka's grading.
    pub importance: Importance,
    /// What it takes.
    pub valid: Valid,
    /// Broker keys that give a topic or group key its default, the first one set wins.
    pub broker_synonyms: &'static [&'static str],
    /// Not shown by DescribeConfigs unless set.
    pub internal: bool,
    /// New in Kafka 4.4: known, so that no file is refused for it.
    pub since_4_4: bool,
    /// One line for people; empty for Kafka's own keys, whose documentation is Kafka's.
    pub documentation: &'static str,
}

impl ConfigDefinition {
    /// Whether the value must never leave the node in clear.
    pub fn is_sensitive(&self) -> bool {
        self.config_type == ConfigType::Password
    }

    /// What the key takes, in words for a refusal.
    pub fn allowed(&self) -> String {
        match self.valid {
            Valid::Any => self.config_type.name().to_string(),
            Valid::Range(min, i64::MAX) => format!("{} of at least {min}", self.config_type.name()),
            Valid::Range(min, max) => format!("{} from {min} to {max}", self.config_type.name()),
            Valid::DoubleRange(min, max) => format!("a number from {min} to {max}"),
            Valid::OneOf(items) if self.config_type == ConfigType::List => {
                format!("a list of distinct items out of {}", items.join(", "))
            }
            Valid::OneOf(items) => format!("one of {}", items.join(", ")),
            Valid::OneOfIgnoringCase(items) => format!("one of {} in any case", items.join(", ")),
            Valid::NonEmpty => format!("{} that is not empty", self.config_type.name()),
            Valid::GzipLevel => "a whole number from 1 to 9, or -1".to_string(),
            Valid::ThrottledReplicas => "* or a list of partition:broker".to_string(),
            Valid::AutoOffsetReset => {
                "latest, earliest or by_duration:<ISO 8601 duration>".to_string()
            }
            Valid::HostPort => "host:port with a port from 0 to 65535".to_string(),
        }
    }
}

/// A row of a table; positional so that a table reads as one.
#[allow(clippy::too_many_arguments)]
pub(super) const fn row(
    key: &'static str,
    config_type: ConfigType,
    default: ConfigDefault,
    update_mode: UpdateMode,
    importance: Importance,
    valid: Valid,
    broker_synonyms: &'static [&'static str],
    internal: bool,
    since_4_4: bool,
) -> ConfigDefinition {
    ConfigDefinition {
        key,
        config_type,
        default,
        update_mode,
        importance,
        valid,
        broker_synonyms,
        internal,
        since_4_4,
        documentation: "",
    }
}
