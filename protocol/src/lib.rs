//! Kafka's bytes: the codec, every message of the protocol, record batches, metadata and coordinator records, compression.
//! No file, socket, clock or thread is named here. `shard`, `raft` and `server` build on it; `wal` does not know it.
//! `tests/mutation.rs` throws hostile bytes at every decoder by a seed; `scripts/fuzz` goes on where it ends, with libFuzzer
//! (the targets are in `fuzz`, a workspace of its own).

pub mod api;
pub mod codec;
pub mod compression;
pub mod consumer_protocol;
pub mod control_records;
pub mod coordinator_records;
mod error_code;
pub mod messages;
pub mod metadata_records;
pub mod other_data;
pub mod records;
pub mod remote_log_records;

pub use api::{API_TABLE, ApiKey};
pub use codec::{Message, StrBytes, Uuid};
pub use error_code::ErrorCode;
pub use messages::registry;
