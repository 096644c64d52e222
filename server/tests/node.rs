//! What the node answers: bytes that handlers write by hand against the codec's, the metadata group over a disk that a test
//! holds back, and APIs against the built binary. How the shell carries the bytes is tested in `shell.rs`, bad input in
//! `hostile.rs`.

#[allow(dead_code)] // Shared with `hostile.rs` and `start_up.rs`; each uses a part.
#[path = "support/mod.rs"]
mod support;

// A disk in memory is all that is wanted of it.
#[path = "../../shard/tests/common/mod.rs"]
mod shard_common;

#[path = "node/compaction.rs"]
mod compaction;
#[path = "node/controller_listener.rs"]
mod controller_listener;
#[path = "node/many_topics.rs"]
mod many_topics;
#[path = "node/metadata_encoding.rs"]
mod metadata_encoding;
#[path = "node/metadata_log.rs"]
mod metadata_log;
#[path = "node/requests.rs"]
mod requests;
#[path = "node/single_produce.rs"]
mod single_produce;
#[path = "node/telemetry.rs"]
mod telemetry;
