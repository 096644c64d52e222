//! The log a person reads: one line an event on standard error, level and time first; `ODRADEK_LOG` filters it.

use tracing_subscriber::EnvFilter;

/// Environment variable that filters the log, in tracing's syntax, such as `debug` or `info,odradek_server::shell=debug`.
pub const FILTER_VARIABLE: &str = "ODRADEK_LOG";

/// Starts the log. A second call does nothing.
pub fn initialise() {
    let filter =
        EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .try_init();
}

/// The level in force, as Kafka's tools name it.
pub fn level() -> &'static str {
    use tracing::level_filters::LevelFilter;
    match tracing::level_filters::LevelFilter::current() {
        LevelFilter::TRACE => "TRACE",
        LevelFilter::DEBUG => "DEBUG",
        LevelFilter::INFO => "INFO",
        LevelFilter::WARN => "WARN",
        LevelFilter::ERROR => "ERROR",
        _ => "OFF",
    }
}
