//! KRaft: consensus over the metadata log, the snapshot file, the metadata image, the quorum controller and Kafka's
//! config definitions. No file, socket, clock or thread is named here; `server/src/node` joins it to them.

pub mod configs;
pub mod consensus;
pub mod controller;
pub mod image;
pub mod snapshot;
