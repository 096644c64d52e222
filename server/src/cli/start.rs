//! `odradek start`: run a formatted node with a server.properties.

use super::{StartArguments, refuse};
use crate::config::ServerConfig;
use std::process::ExitCode;

pub fn run(arguments: &StartArguments) -> ExitCode {
    crate::log::initialise();
    let loaded = match ServerConfig::load_file(&arguments.config, &arguments.overrides) {
        Ok(loaded) => loaded,
        Err(refusal) => return refuse(refusal),
    };
    loaded.report();
    crate::start::run(loaded)
}
