//! The shell with small machines on loopback ports: frames, order, limits, disk, hand-overs between cores. No machine here knows Kafka.
//!
//! `shell/support.rs` starts and stops nodes; the machines stand beside the tests that need them.

#[path = "shell/support.rs"]
mod support;

#[path = "shell/disk.rs"]
mod disk;
#[path = "shell/doorbells.rs"]
mod doorbells;
#[path = "shell/hand_over.rs"]
mod hand_over;
#[path = "shell/limits.rs"]
mod limits;
#[path = "shell/sockets.rs"]
mod sockets;
#[path = "shell/start.rs"]
mod start;
#[path = "shell/storm.rs"]
mod storm;
