//! What one core owns: partition leaders with their producers and offsets, fetch sessions, requests that
//! wait, and the coordinators on it. Sans-IO: time and events go in, actions come out.
//!
//! [`Shard`] is the machine; [`command`] its events, actions and replies; [`validate`] the checks of a batch,
//! pure, for any core; [`sessions`] the cache of fetch sessions, for the connections' core.

pub mod command;
pub mod config;
pub mod deadlines;
pub mod group;
pub mod message;
pub mod partition;
mod position_index;
pub mod producers;
pub mod recovery;
pub mod refusal;
pub mod scan;
pub mod sessions;
pub mod validate;

mod admin;
mod checkpoint;
mod coordinator;
mod directory;
mod fetch;
mod internal;
mod offsets;
mod placement;
mod produce;
mod session_part;
mod shard;
mod strays;
mod table;

pub use command::{Action, Event, Reply, RequestToken};
pub use config::{Durability, ShardOptions, TopicConfig};
pub use coordinator::GROUP_TOPIC;
pub use recovery::{RecoveredLog, RecoveredProducers};
pub use shard::{Shard, ShardStatistics};
