//! What can go wrong in a run, in words for the person who started it.

use odradek_protocol::ErrorCode;
use std::fmt;

/// Why a run ended without its figures.
#[derive(Debug)]
pub enum PerfError {
    /// The server cannot be reached, or the connection broke.
    Network {
        /// What was being done, as in "connecting to 127.0.0.1:9092".
        doing: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The server answered with something that is no answer to what was asked.
    Protocol(String),
    /// The server refused.
    Refused {
        /// The API and what it was asked for.
        what: String,
        /// Kafka's error code.
        code: i16,
        /// The server's own words, where the answer has a place for them.
        message: Option<String>,
    },
    /// Requests stayed without an answer.
    Unanswered(String),
    /// The options do not fit together, or a file or process named by them is not there.
    Options(String),
}

impl PerfError {
    /// A broken connection, with what was being done.
    pub fn network(doing: impl Into<String>, source: std::io::Error) -> Self {
        PerfError::Network {
            doing: doing.into(),
            source,
        }
    }

    /// Bytes that our codec does not take, or a message it does not write.
    pub fn codec(what: &str, error: impl fmt::Display) -> Self {
        PerfError::Protocol(format!("{what}: {error}"))
    }
}

/// Kafka's name of an error code, such as `NOT_LEADER_OR_FOLLOWER`, or the number where there is none.
pub fn error_name(code: i16) -> String {
    match ErrorCode::from_code(code) {
        Some(known) => format!("{} ({code})", known.name()),
        None => format!("error {code}"),
    }
}

impl fmt::Display for PerfError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PerfError::Network { doing, source } => write!(to, "{doing}: {source}"),
            PerfError::Protocol(what) => write!(to, "the server's answer makes no sense: {what}"),
            PerfError::Refused {
                what,
                code,
                message,
            } => {
                write!(to, "{what} was refused: {}", error_name(*code))?;
                message
                    .iter()
                    .try_for_each(|message| write!(to, ": {message}"))
            }
            PerfError::Unanswered(what) | PerfError::Options(what) => write!(to, "{what}"),
        }
    }
}

impl std::error::Error for PerfError {}
