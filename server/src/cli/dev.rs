//! `odradek dev`: one combined node from an embedded configuration; the first start formats, later ones keep the data.

use super::{DevArguments, refuse};
use crate::config::ServerConfig;
use crate::storage::format::{FormatPlan, Quorum, random_uuid};
use crate::storage::meta_properties::{self, MetaProperties};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(arguments: &DevArguments) -> ExitCode {
    crate::log::initialise();
    match prepare(arguments) {
        Ok(config) => {
            config.report();
            crate::start::run(config)
        }
        Err(message) => refuse(message),
    }
}

fn prepare(arguments: &DevArguments) -> Result<ServerConfig, String> {
    let text = properties(arguments)?;
    let config = ServerConfig::load_text(&text, "the embedded configuration", &arguments.overrides)
        .map_err(|refusal| refusal.to_string())?;
    for directory in &config.log_dirs {
        std::fs::create_dir_all(directory).map_err(|error| {
            format!(
                "{} cannot be made: {error}. Name another folder with --data-dir",
                directory.display()
            )
        })?;
    }
    // The metadata directory is formatted last: a first start that was cut off is simply gone on with.
    if !config
        .metadata_dir
        .join(meta_properties::FILE_NAME)
        .exists()
    {
        let begun = config
            .log_dirs
            .iter()
            .find_map(|directory| MetaProperties::read(directory).ok());
        let plan = FormatPlan {
            cluster_id: begun.map_or_else(|| random_uuid().to_string(), |meta| meta.cluster_id),
            quorum: Quorum::Standalone,
            features: Vec::new(),
            ignore_formatted: true,
        };
        crate::storage::format::format(&config, &plan).map_err(|refusal| refusal.to_string())?;
        println!(
            "Formatted {} for a new cluster {}.",
            list(&config.log_dirs),
            plan.cluster_id
        );
    }
    Ok(config)
}

/// The embedded server.properties of a development node.
fn properties(arguments: &DevArguments) -> Result<String, String> {
    let (host, port) = host_and_port(&arguments.listen, "--listen")?;
    if port == 0 {
        return Err(
            "--listen with port 0: clients are told the address to come back to, so give a port"
                .into(),
        );
    }
    let controller = match &arguments.controller_listen {
        Some(address) => host_and_port(address, "--controller-listen")?,
        None => (host.clone(), beside(port, 1)),
    };
    let metrics = match &arguments.metrics_listen {
        Some(address) => host_and_port(address, "--metrics-listen")?,
        None => (host.clone(), beside(port, 372)),
    };
    let directories: Vec<&Path> = std::iter::once(arguments.data_dir.as_path())
        .chain(arguments.more_data_dir.iter().map(PathBuf::as_path))
        .collect();
    Ok(format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         listeners=PLAINTEXT://{host}:{port},CONTROLLER://{}:{}\n\
         advertised.listeners=PLAINTEXT://{host}:{port}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         controller.quorum.bootstrap.servers={}:{}\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         odradek.metrics.listener={}:{}\n",
        controller.0,
        controller.1,
        controller.0,
        controller.1,
        list_comma(&directories)?,
        metrics.0,
        metrics.1,
    ))
}

/// A port some places above the clients', below it where the range ends.
fn beside(port: u16, places: u16) -> u16 {
    port.checked_add(places).unwrap_or(port - places)
}

fn host_and_port(address: &str, flag: &str) -> Result<(String, u16), String> {
    let refusal = || format!("{flag} {address}: give HOST:PORT, such as 127.0.0.1:9092");
    let (host, port) = address.rsplit_once(':').ok_or_else(refusal)?;
    let port = port.parse::<u16>().map_err(|_| refusal())?;
    if host.is_empty() {
        return Err(refusal());
    }
    Ok((host.to_string(), port))
}

/// Directories as a property value: commas part them, and a backslash is the format's escape.
fn list_comma(directories: &[&Path]) -> Result<String, String> {
    let mut texts = Vec::new();
    for directory in directories {
        let text = directory.to_string_lossy();
        if text.contains(',') {
            return Err(format!(
                "{text}: a data directory's path may not contain a comma"
            ));
        }
        texts.push(text.replace('\\', "\\\\"));
    }
    Ok(texts.join(","))
}

fn list(directories: &[PathBuf]) -> String {
    let texts: Vec<_> = directories
        .iter()
        .map(|directory| directory.display().to_string())
        .collect();
    texts.join(", ")
}
