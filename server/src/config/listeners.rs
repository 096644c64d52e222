//! `listeners`, `advertised.listeners` and the names and protocols around them, turned into sockets to open and
//! addresses to tell clients.

use super::{ConfigError, Roles, ValueReader, unusable};
use std::net::{SocketAddr, ToSocketAddrs};

/// One listener of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Upper-case name, as metadata records carry it.
    pub name: String,
    /// Where the socket is bound.
    pub address: SocketAddr,
    /// What clients are told.
    pub advertised_host: String,
    pub advertised_port: u16,
    /// Controller listeners serve the controller's APIs only.
    pub controller: bool,
}

struct Endpoint {
    name: String,
    host: String,
    port: u16,
}

/// Reads all listeners of a combined node.
pub(super) fn read(reader: &ValueReader<'_>, roles: Roles) -> Result<Vec<Listener>, ConfigError> {
    let bound = endpoints(reader, "listeners")?;
    let advertised = endpoints(reader, "advertised.listeners")?;
    let controller_names: Vec<String> = reader
        .list("controller.listener.names")
        .iter()
        .map(|name| name.to_ascii_uppercase())
        .collect();
    check_protocols(reader, &bound)?;
    let mut listeners = Vec::new();
    for endpoint in bound {
        let controller = controller_names.contains(&endpoint.name);
        let told = advertised.iter().find(|other| other.name == endpoint.name);
        let host = told.map_or(endpoint.host.as_str(), |told| told.host.as_str());
        let port = told.map_or(endpoint.port, |told| told.port);
        let bind_host = if endpoint.host.is_empty() {
            "0.0.0.0"
        } else {
            endpoint.host.as_str()
        };
        listeners.push(Listener {
            address: resolve("listeners", &format!("{bind_host}:{}", endpoint.port))?,
            advertised_host: advertised_host(host)?,
            advertised_port: port,
            controller,
            name: endpoint.name,
        });
    }
    check_names(reader, roles, &listeners, &controller_names)?;
    listeners.sort_by_key(|listener| listener.controller);
    Ok(listeners)
}

fn check_names(
    reader: &ValueReader<'_>,
    roles: Roles,
    listeners: &[Listener],
    controller_names: &[String],
) -> Result<(), ConfigError> {
    let text = reader.text("listeners").unwrap_or_default();
    for (index, listener) in listeners.iter().enumerate() {
        if listeners[..index]
            .iter()
            .any(|other| other.name == listener.name)
        {
            return Err(unusable(
                "listeners",
                text,
                format!("it names {} twice", listener.name),
            ));
        }
    }
    if roles.broker && listeners.iter().all(|listener| listener.controller) {
        return Err(unusable(
            "listeners",
            text,
            "a broker needs a listener that is not in controller.listener.names",
        ));
    }
    let missing = controller_names
        .iter()
        .find(|name| !listeners.iter().any(|listener| listener.name == **name));
    if let Some(name) = missing {
        return Err(unusable(
            "controller.listener.names",
            name.clone(),
            "a controller needs this name in `listeners` with an address of its own",
        ));
    }
    if controller_names.is_empty() {
        return Err(unusable(
            "controller.listener.names",
            "",
            "name the controllers' listener, such as CONTROLLER",
        ));
    }
    Ok(())
}

/// Only PLAINTEXT is served so far; anything else must not be opened in the clear by mistake.
fn check_protocols(reader: &ValueReader<'_>, endpoints: &[Endpoint]) -> Result<(), ConfigError> {
    let map = reader.list("listener.security.protocol.map");
    for endpoint in endpoints {
        let mapped = map.iter().find_map(|entry| {
            let (name, protocol) = entry.rsplit_once(':')?;
            name.eq_ignore_ascii_case(&endpoint.name)
                .then(|| protocol.to_ascii_uppercase())
        });
        match mapped.as_deref() {
            Some("PLAINTEXT") => {}
            Some(protocol) => {
                return Err(unusable(
                    "listener.security.protocol.map",
                    format!("{}:{protocol}", endpoint.name),
                    "this version serves PLAINTEXT only",
                ));
            }
            None if endpoint.name == "CONTROLLER" => {}
            None => {
                return Err(unusable(
                    "listener.security.protocol.map",
                    map.join(","),
                    format!(
                        "it does not say which protocol listener {} speaks",
                        endpoint.name
                    ),
                ));
            }
        }
    }
    Ok(())
}

fn endpoints(reader: &ValueReader<'_>, key: &'static str) -> Result<Vec<Endpoint>, ConfigError> {
    reader
        .list(key)
        .iter()
        .map(|text| endpoint(key, text))
        .collect()
}

/// `NAME://host:port`; the host may be empty or an IPv6 address in brackets.
fn endpoint(key: &'static str, text: &str) -> Result<Endpoint, ConfigError> {
    let refusal = || {
        unusable(
            key,
            text,
            "give NAME://host:port, such as PLAINTEXT://127.0.0.1:9092",
        )
    };
    let (name, rest) = text.split_once("://").ok_or_else(refusal)?;
    let (host, port) = rest.rsplit_once(':').ok_or_else(refusal)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(Endpoint {
        name: name.trim().to_ascii_uppercase(),
        host: host.to_string(),
        port: port.trim().parse().map_err(|_| refusal())?,
    })
}

fn advertised_host(host: &str) -> Result<String, ConfigError> {
    match host {
        "0.0.0.0" | "::" => Err(unusable(
            "advertised.listeners",
            host,
            "clients cannot connect to this address; set advertised.listeners to one that they can",
        )),
        "" => Ok(std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map_or_else(|_| "localhost".to_string(), |name| name.trim().to_string())),
        host => Ok(host.to_string()),
    }
}

/// Resolves `host:port` to the first address it has.
pub(super) fn resolve(key: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    let bracketed = match text.rsplit_once(':') {
        Some((host, port)) if host.contains(':') && !host.starts_with('[') => {
            format!("[{host}]:{port}")
        }
        _ => text.to_string(),
    };
    bracketed
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| {
            unusable(
                key,
                text,
                "the host has no address on this machine's network",
            )
        })
}
