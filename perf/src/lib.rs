//! Load for any server that speaks Kafka's wire, and what it costs that server. The binary `odradek-perf` is `main`.
//!
//! `load`, `fetch`, `sessions`, `partitions` and `metadata` are its commands; `driver` is the loop that carries the produce load, `schedule` when requests are due at a given rate, `frames`, `patch` and `batch` what it sends,
//! `client` the few blocking calls before and after, `process` the server's cost as the kernel counts it, `report` one run's
//! figures, `fetching` one consumer's connection, `arrivals` the consumers of an end-to-end run.
//! `compare` and `bars` start servers (`systems`), load them in turn (`runner`) and divide (`figures`); `floor` is what they are held
//! against beside Apache Kafka; `soak` goes on for hours, `profile` says where a server's time goes (`scrape` reads its metrics); `results` keeps it
//! all and `page` draws it.

pub mod arrivals;
pub mod bars;
pub mod batch;
pub mod client;
pub mod compare;
pub mod connection;
pub mod driver;
pub mod error;
pub mod fetch;
pub mod fetching;
pub mod figures;
pub mod floor;
pub mod frames;
pub mod load;
pub mod metadata;
pub mod page;
pub mod partitions;
pub mod patch;
pub mod process;
pub mod profile;
pub mod report;
pub mod results;
pub mod ring;
pub mod runner;
pub mod schedule;
pub mod scrape;
pub mod sessions;
pub mod soak;
pub mod systems;

pub use error::PerfError;
