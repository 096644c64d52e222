//! What the tests of the running binary share: a node as a child process, and a small blocking Kafka client.
//! The tests stand in `hostile.rs` and `start_up.rs`.

pub mod client;
pub mod node;

pub use client::Client;
pub use node::{Node, NodeOptions};
