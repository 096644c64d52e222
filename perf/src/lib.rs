//! Load for any server that speaks Kafka's wire, and what it costs that server. The binary `odradek-perf` is `main`.
//!
//! `load`, `fetch`, `sessions` and `metadata` are its commands; `driver` is the loop that carries the produce load, `schedule` when requests are due at a given rate, `frames`, `patch` and `batch` what it sends,
//! `client` the few blocking calls before and after, `process` the server's cost as the kernel counts it, `report` one run's
//! figures, `fetching` one consumer's connection, `arrivals` the consumers of an end-to-end run, and `summary` the table that many runs make.

pub mod arrivals;
pub mod batch;
pub mod client;
pub mod connection;
pub mod driver;
pub mod error;
pub mod fetch;
pub mod fetching;
pub mod frames;
pub mod load;
pub mod metadata;
pub mod patch;
pub mod process;
pub mod report;
pub mod schedule;
pub mod sessions;
pub mod summary;

pub use error::PerfError;
