//! Odradek's server as a library: `node` decides, `shell` does, `start` joins them; `cli`, `config` and `storage` are what people touch.

pub mod aligned;
pub mod cli;
pub mod config;
pub mod log;
pub mod machine;
pub mod node;
pub mod shell;
pub mod start;
pub mod storage;
