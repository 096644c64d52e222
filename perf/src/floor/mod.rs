//! The commands `floor` and `floor-server`: what this machine can do at best, by the least code that could work.
//!
//! `server` is the produce floor as a process; `wire`, `store`, `sync_server` and `ring_server` are its parts. What a server cannot beat is
//! known only beside it, on the same machine in the same minutes.

mod ring_server;
pub mod server;
mod store;
mod sync_server;
mod wire;
