//! Load for any server that speaks Kafka's wire, and what it costs that server. The binary `odradek-perf` is `main`.
//!
//! `load`, `fetch`, `metadata` and `partitions` are its commands; `driver` is the loop that carries the produce load, `frames` and `batch` what it sends,
//! `client` the few blocking calls before and after, `process` the server's cost as the kernel counts it, `report` one run's
//! figures, and `summary` the table that many runs make.

pub mod batch;
pub mod client;
mod connection;
pub mod driver;
pub mod error;
pub mod fetch;
pub mod frames;
pub mod load;
pub mod metadata;
pub mod partitions;
pub mod process;
pub mod report;
pub mod summary;

pub use error::PerfError;
