//! Starts of the real binary: those that must be refused, with a message that says what, where and what to do, exit code 1
//! and nothing harmed; and those that must work on machines that lack something. Case 64 of the hostile cases is here.

#[allow(dead_code)] // Shared with `hostile.rs`; each uses a part.
#[path = "support/mod.rs"]
mod support;

#[path = "start_up/configuration.rs"]
mod configuration;
#[path = "start_up/directories.rs"]
mod directories;
#[path = "start_up/formats.rs"]
mod formats;
#[path = "start_up/machines.rs"]
mod machines;
#[path = "start_up/setup.rs"]
mod setup;

// The requests of the hostile cases serve here too.
#[allow(dead_code)]
#[path = "hostile/kafka.rs"]
mod kafka;
