//! Load for any server that speaks Kafka's wire, and what it costs that server. The binary `odradek-perf` is `main`.
//!
//! `load`, `fetch` and `metadata` are its commands; `driver` is the loop that carries the produce load, `frames` and `batch` what it sends,
//! `client` the few blocking calls before and after, `process` the server's cost as the kernel counts it, `report` one run's
//! figures. `compare` and `bars` start servers (`systems`), load them in turn (`runner`) and divide (`figures`); `floor` is what they are held
//! against beside Apache Kafka; `results` keeps it all.

pub mod bars;
pub mod batch;
pub mod client;
pub mod compare;
mod connection;
pub mod driver;
pub mod error;
pub mod fetch;
pub mod figures;
pub mod floor;
pub mod frames;
pub mod load;
pub mod metadata;
pub mod process;
pub mod report;
pub mod results;
pub mod ring;
pub mod runner;
pub mod sessions;
pub mod systems;

pub use error::PerfError;
