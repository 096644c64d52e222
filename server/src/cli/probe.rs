//! `odradek probe`: what this machine and the configured directories offer, in the words of the start-up report.

use super::{ProbeArguments, refuse};
use crate::config::ServerConfig;
use crate::shell::{ShellOptions, probe_directory, system_report};
use std::process::ExitCode;

pub fn run(arguments: &ProbeArguments) -> ExitCode {
    crate::log::initialise();
    match system_report(&ShellOptions::default()) {
        Ok(lines) => lines.iter().for_each(|line| println!("{line}")),
        Err(error) => return refuse(error),
    }
    let Some(path) = &arguments.config else {
        return ExitCode::SUCCESS;
    };
    match ServerConfig::load_file(path, &[]) {
        Ok(config) => {
            for directory in &config.log_dirs {
                for line in probe_directory(directory).lines(directory) {
                    println!("{line}");
                }
            }
            ExitCode::SUCCESS
        }
        Err(error) => refuse(error),
    }
}
