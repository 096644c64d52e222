//! `odradek format`: kafka-storage's flags, turned into a plan for `storage::format`.

use super::{FormatArguments, refuse};
use crate::config::ServerConfig;
use crate::storage::format::{FormatPlan, InitialController, Quorum, random_uuid};
use std::process::ExitCode;

pub fn run(arguments: &FormatArguments) -> ExitCode {
    crate::log::initialise();
    if arguments.random_uuid {
        println!("{}", random_uuid());
        return ExitCode::SUCCESS;
    }
    match format(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => refuse(message),
    }
}

fn format(arguments: &FormatArguments) -> Result<(), String> {
    let path = arguments
        .config
        .as_ref()
        .expect("clap requires it without --random-uuid");
    let config = ServerConfig::load_file(path, &[]).map_err(|refusal| refusal.to_string())?;
    let plan = FormatPlan {
        cluster_id: arguments
            .cluster_id
            .clone()
            .expect("clap requires it without --random-uuid"),
        quorum: quorum(arguments)?,
        features: features(&arguments.features)?,
        ignore_formatted: arguments.ignore_formatted,
    };
    let done =
        crate::storage::format::format(&config, &plan).map_err(|refusal| refusal.to_string())?;
    for line in done {
        println!("{line}");
    }
    Ok(())
}

fn quorum(arguments: &FormatArguments) -> Result<Quorum, String> {
    if arguments.standalone {
        return Ok(Quorum::Standalone);
    }
    if arguments.no_initial_controllers {
        return Ok(Quorum::JoinLater);
    }
    let Some(list) = &arguments.initial_controllers else {
        return Ok(Quorum::Unnamed);
    };
    let controllers: Result<Vec<_>, String> = list.split(',').map(initial_controller).collect();
    Ok(Quorum::InitialControllers(controllers?))
}

/// `id@host:port:directory-id`.
fn initial_controller(text: &str) -> Result<InitialController, String> {
    let refusal = || {
        format!(
            "--initial-controllers: `{text}` is not id@host:port:directory-id, such as 1@10.0.0.1:9093:MvDxzVmcRsaTz33bUuRU6A"
        )
    };
    let (id, rest) = text.trim().split_once('@').ok_or_else(refusal)?;
    let (rest, directory_id) = rest.rsplit_once(':').ok_or_else(refusal)?;
    let (host, port) = rest.rsplit_once(':').ok_or_else(refusal)?;
    Ok(InitialController {
        node_id: id.parse().map_err(|_| refusal())?,
        host: host.to_string(),
        port: port.parse().map_err(|_| refusal())?,
        directory_id: directory_id.parse().map_err(|_| refusal())?,
    })
}

fn features(texts: &[String]) -> Result<Vec<(String, i16)>, String> {
    let one = |text: &String| {
        let (name, level) = text.split_once('=')?;
        Some((name.trim().to_string(), level.trim().parse().ok()?))
    };
    texts
        .iter()
        .map(|text| {
            one(text).ok_or_else(|| {
                format!("--feature {text}: give NAME=LEVEL, such as metadata.version=30")
            })
        })
        .collect()
}
