//! `odradek format` with kafka-storage's flags: what it makes, what it leaves alone, and what it refuses.

use super::kafka;
use super::setup::{CLUSTER, OTHER_CLUSTER, Setup};
use super::support::{Node, NodeOptions};
use std::fs;

#[test]
fn format_standalone_makes_a_node_that_start_takes() {
    let setup = Setup::new();
    let config = setup.config(&["data", "more"], &[]);
    let outcome = setup.format(&config, &["-t", CLUSTER, "--standalone"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.text);
    for name in ["data", "more"] {
        let meta = fs::read_to_string(setup.path(name).join("meta.properties"));
        let meta = meta.expect("format wrote it");
        assert!(meta.contains("version=1"), "{meta}");
        assert!(meta.contains(&format!("cluster.id={CLUSTER}")), "{meta}");
        assert!(meta.contains("node.id=1"), "{meta}");
        assert!(meta.contains("directory.id="), "{meta}");
    }
    assert!(setup.path("data/__cluster_metadata-0").is_dir());
    assert!(!setup.path("more/__cluster_metadata-0").exists());
    // The start gets as far as its ports.
    let taken = std::net::TcpListener::bind(("127.0.0.1", setup.ports[0])).expect("it was free");
    setup.refused(&config, &["cannot listen"]);
    drop(taken);
}

#[test]
fn a_format_that_was_cut_off_is_begun_anew() {
    let setup = Setup::new();
    let config = setup.config(&["data"], &[]);
    fs::create_dir_all(setup.path("data/shard-0")).expect("a folder of the format before");
    for name in ["meta.properties.tmp", "bootstrap.checkpoint.part"] {
        fs::write(setup.path("data").join(name), "half").expect("a file of the format before");
    }
    setup.formatted(&config);
    let meta = fs::read_to_string(setup.path("data/meta.properties")).expect("it was written");
    assert!(meta.contains(CLUSTER), "{meta}");
}

#[test]
fn format_again_is_refused_or_changes_nothing() {
    let setup = Setup::new();
    let config = setup.config(&["data"], &[]);
    setup.formatted(&config);
    let before = setup.snapshot();
    let data = setup.path("data").display().to_string();
    let again = setup.format(&config, &["-t", CLUSTER, "-s"]);
    again.refused(&[&data, "formatted already", "--ignore-formatted"]);
    assert_eq!(setup.snapshot(), before);
    let ignored = setup.format(&config, &["-t", CLUSTER, "-s", "--ignore-formatted"]);
    assert_eq!(ignored.code, Some(0), "{}", ignored.text);
    assert_eq!(setup.snapshot(), before);
    // Another cluster's directories are never taken along.
    let foreign = setup.format(&config, &["-t", OTHER_CLUSTER, "-s", "-g"]);
    foreign.refused(&[&data, CLUSTER, OTHER_CLUSTER]);
    assert_eq!(setup.snapshot(), before);
}

#[test]
fn format_with_initial_controllers_takes_this_node_only() {
    let setup = Setup::new();
    let config = setup.config(&["data"], &[]);
    let port = setup.ports[1];
    let id = "MvDxzVmcRsaTz33bUuRU6A";
    let own = format!("1@127.0.0.1:{port}:{id}");
    for (list, words) in [
        (
            format!("2@127.0.0.1:{port}:{id}"),
            &["--initial-controllers", "1"][..],
        ),
        (
            "1@127.0.0.1".to_string(),
            &["id@host:port:directory-id"][..],
        ),
        (
            format!("1@127.0.0.1:x:{id}"),
            &["id@host:port:directory-id"][..],
        ),
        (
            format!("1@127.0.0.1:{port}:short"),
            &["id@host:port:directory-id"][..],
        ),
        (format!("{own},2@127.0.0.1:9:{id}"), &["several nodes"][..]),
    ] {
        let outcome = setup.format(&config, &["-t", CLUSTER, "--initial-controllers", &list]);
        outcome.refused(words);
        assert!(!setup.path("data").exists(), "nothing is made");
    }
    let outcome = setup.format(&config, &["-t", CLUSTER, "-I", &own]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.text);
    let meta = fs::read_to_string(setup.path("data/meta.properties")).expect("format wrote it");
    assert!(meta.contains(&format!("directory.id={id}")), "{meta}");
}

#[test]
fn format_features_are_checked() {
    let setup = Setup::new();
    let config = setup.config(&["data"], &[]);
    for (feature, words) in [
        (
            "no.such.version=1",
            &["no.such.version", "metadata.version"][..],
        ),
        ("metadata.version=999", &["metadata.version", "999"][..]),
        ("metadata.version", &["NAME=LEVEL"][..]),
        ("metadata.version=high", &["NAME=LEVEL"][..]),
    ] {
        let outcome = setup.format(&config, &["-t", CLUSTER, "-s", "--feature", feature]);
        outcome.refused(words);
        assert!(!setup.path("data").exists(), "nothing is made");
    }
    let flags = [
        "-t",
        CLUSTER,
        "-s",
        "--feature",
        "eligible.leader.replicas.version=0",
    ];
    let outcome = setup.format(&config, &flags);
    assert_eq!(outcome.code, Some(0), "{}", outcome.text);
}

#[test]
fn format_refuses_what_it_cannot_do_or_must_not() {
    let setup = Setup::new();
    let config = setup.config(&["data"], &[]);
    setup.format(&config, &["-t", "short", "-s"]).refused(&[
        "short",
        "22 characters",
        "--random-uuid",
    ]);
    setup
        .format(&config, &["-t", CLUSTER])
        .refused(&["--standalone"]);
    setup
        .format(&config, &["-t", CLUSTER, "-N"])
        .refused(&["--no-initial-controllers"]);
    assert!(!setup.path("data").exists(), "nothing is made");
    // A directory in which somebody keeps something else.
    fs::create_dir(setup.path("data")).expect("a folder can be made");
    fs::write(setup.path("data/thesis.txt"), "years of work").expect("it takes a file");
    let data = setup.path("data").display().to_string();
    setup
        .format(&config, &["-t", CLUSTER, "-s"])
        .refused(&[&data, "thesis.txt", "not empty"]);
    let kept = fs::read_to_string(setup.path("data/thesis.txt"));
    assert_eq!(kept.expect("it is there"), "years of work");
}

#[test]
fn format_gives_random_ids_that_it_takes() {
    let setup = Setup::new();
    let outcome = setup.run(&[], &["format", "--random-uuid"]);
    assert_eq!(outcome.code, Some(0));
    let id = outcome.text.trim();
    assert_eq!(id.len(), 22);
    let config = setup.config(&["data"], &[]);
    let outcome = setup.format(&config, &["-t", id, "-s"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.text);
}

#[test]
fn second_start_keeps_the_data() {
    let mut node = Node::start(NodeOptions::default());
    let mut client = node.client();
    let id = kafka::create_topic(&mut client, "kept", 1, &[]);
    for number in 0..50 {
        kafka::append(&mut client, "kept", &[format!("value {number}").as_bytes()]);
    }
    let status = node.stop();
    assert_eq!(status.code(), Some(0), "{}", node.log());
    node.launch();
    let mut client = node.client();
    kafka::wait_for(&mut client, "kept", 0);
    let found = kafka::read_all(&mut client, "kept");
    assert_eq!(found.len(), 50);
    assert_eq!(found[49].1, "value 49");
    assert_eq!(kafka::append(&mut client, "kept", &[b"more"]), 50);
    assert_ne!(id, odradek_protocol::Uuid::default());
    let formats = node.log().matches("Formatted").count();
    assert_eq!(formats, 1, "the second start formats nothing");
}
