//! The log a person reads: one line an event on standard error, level and time first; `ODRADEK_LOG` filters it, and the level can be
//! changed while the node runs (IncrementalAlterConfigs of a BROKER_LOGGER, `node/api/alter_configs.rs`).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Environment variable that filters the log, in tracing's syntax, such as `debug` or `info,odradek_server::shell=debug`.
pub const FILTER_VARIABLE: &str = "ODRADEK_LOG";

/// A log level by the name that Kafka's tools use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    /// Less than errors: nothing is logged that does not end the process.
    Fatal,
}

impl Level {
    pub const ALL: [Level; 6] = [
        Level::Trace,
        Level::Debug,
        Level::Info,
        Level::Warn,
        Level::Error,
        Level::Fatal,
    ];

    /// As Kafka's tools write it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Fatal => "FATAL",
        }
    }

    /// Only the names in capitals, as Kafka takes them.
    pub fn parse(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }

    fn filter(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "off",
        }
    }
}

/// Replaces the filter in force.
type Reload = Box<dyn Fn(EnvFilter) + Send + Sync>;

static RELOAD: OnceLock<Reload> = OnceLock::new();

/// Place in `Level::ALL` of the level set at run time; past the end while none was.
static SET: AtomicU8 = AtomicU8::new(u8::MAX);

/// Starts the log. A second call does nothing.
pub fn initialise() {
    let filter =
        EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_filter_reloading();
    let handle = builder.reload_handle();
    if builder.try_init().is_ok() {
        let _ = RELOAD.set(Box::new(move |filter| {
            // Fails only when the subscriber is gone, and then nothing is logged any more.
            let _ = handle.reload(filter);
        }));
    }
}

/// Changes the level of the whole log at once; a filter of `ODRADEK_LOG` is replaced by it. Without a started log nothing but the
/// name changes.
pub fn set_level(level: Level) {
    let place = Level::ALL.iter().position(|other| *other == level);
    SET.store(
        place.expect("every level is listed") as u8,
        Ordering::Relaxed,
    );
    if let Some(reload) = RELOAD.get() {
        reload(EnvFilter::new(level.filter()));
    }
}

/// The level in force, as Kafka's tools name it.
pub fn level() -> &'static str {
    if let Some(level) = Level::ALL.get(usize::from(SET.load(Ordering::Relaxed))) {
        return level.name();
    }
    match LevelFilter::current() {
        LevelFilter::TRACE => "TRACE",
        LevelFilter::DEBUG => "DEBUG",
        LevelFilter::INFO => "INFO",
        LevelFilter::WARN => "WARN",
        LevelFilter::ERROR => "ERROR",
        _ => "FATAL",
    }
}
