//! Directories that are not formatted, not this node's, not of this cluster, not whole, or not open to this user.

use super::setup::{OTHER_CLUSTER, Setup, copy, is_root};
use super::support::node::BINARY;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn hostile_64_missing_meta_properties_is_refused() {
    let setup = Setup::new();
    let config = setup.config(&["data"], &[]);
    fs::create_dir(setup.path("data")).expect("a folder can be made");
    let data = setup.path("data").display().to_string();
    setup.refused(&config, &[&data, "meta.properties", "odradek format"]);
    assert!(
        !setup.path("data/meta.properties").exists(),
        "a start formats nothing"
    );
    // A formatted directory that lost the file: its data is not taken for a new node's.
    setup.formatted(&config);
    fs::remove_file(setup.path("data/meta.properties")).expect("the file is there");
    setup.refused(&config, &[&data, "meta.properties"]);
}

#[test]
fn hostile_64_malformed_meta_properties_is_refused() {
    let setup = Setup::new();
    let config = setup.config(&["data"], &[]);
    setup.formatted(&config);
    let file = setup.path("data/meta.properties");
    let good = fs::read_to_string(&file).expect("format wrote it");
    for (bad, word) in [
        (good.replace("version=1", "version=7"), "version"),
        (good.replace("node.id=1", "node.id=one"), "node.id"),
        (
            good.replace("directory.id=", "directory.id=x"),
            "directory.id",
        ),
        (good.replace("cluster.id", "cluster.name"), "cluster.id"),
        (String::new(), "version"),
    ] {
        fs::write(&file, bad).expect("the file is writable");
        setup.refused(&config, &["meta.properties", word]);
    }
}

#[test]
fn hostile_64_another_nodes_directory_is_refused() {
    let setup = Setup::new();
    setup.formatted(&setup.config(&["data"], &[]));
    let config = setup.config(&["data"], &[("node.id", "2")]);
    let data = setup.path("data").display().to_string();
    setup.refused(&config, &[&data, "node 1", "node 2", "node.id"]);
}

#[test]
fn hostile_64_directories_of_two_clusters_are_refused() {
    let setup = Setup::new();
    setup.formatted(&setup.config(&["first"], &[]));
    let other = setup.config(&["second"], &[]);
    let outcome = setup.format(&other, &["-t", OTHER_CLUSTER, "--standalone"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.text);
    let config = setup.config(&["first", "second"], &[]);
    let first = setup.path("first").display().to_string();
    let second = setup.path("second").display().to_string();
    setup.refused(&config, &[&first, &second, OTHER_CLUSTER, "log.dirs"]);
}

#[test]
fn twin_directories_are_refused() {
    let setup = Setup::new();
    setup.formatted(&setup.config(&["data"], &[]));
    copy(&setup.path("data"), &setup.path("twin"));
    let config = setup.config(&["data", "twin"], &[]);
    let twin = setup.path("twin").display().to_string();
    setup.refused(&config, &[&twin, "same directory id", "copy"]);
}

#[test]
fn directory_without_permission_is_refused() {
    let setup = Setup::new();
    let config = setup.config(&["data"], &[]);
    setup.formatted(&config);
    // The binary may lie where other users cannot go.
    let binary = setup.path("odradek");
    fs::copy(BINARY, &binary).expect("the binary can be copied");
    for path in [setup.path("data"), setup.path("data/meta.properties")] {
        let open = fs::metadata(&path).expect("format made it").permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("it is ours");
        let user: &[&str] = if is_root() {
            &[
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--",
            ]
        } else {
            &["env"]
        };
        let binary = binary.to_str().expect("a plain path");
        let config = config.to_str().expect("a plain path");
        let command = [user, &[binary]].concat();
        let outcome = setup.run_words(&command, &["start", "--config", config]);
        outcome.refused(&[&setup.path("data").display().to_string(), "ermission"]);
        fs::set_permissions(&path, open).expect("it is ours");
    }
}

#[test]
fn port_in_use_is_refused() {
    let setup = Setup::new();
    let config = setup.config(&["data"], &[]);
    setup.formatted(&config);
    for port in setup.ports {
        let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("it was free");
        let address = format!("127.0.0.1:{port}");
        setup.refused(&config, &[&address, "another port"]);
        drop(taken);
    }
}

#[test]
fn a_directory_in_use_is_refused() {
    let setup = Setup::new();
    let node =
        super::support::Node::start_in(super::support::NodeOptions::default(), setup.folder.path());
    let config = setup.config(&["data"], &[]);
    let outcome = setup.start(&config);
    outcome.refused(&[&setup.path("data").display().to_string()]);
    let mut client = node.client();
    super::kafka::create_topic(&mut client, "still-here", 1, &[]);
}
