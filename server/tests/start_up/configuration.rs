//! What `odradek start --config` says to files, keys and values it cannot take.

use super::setup::Setup;

/// A key, a value, and words of the refusal.
const BAD_VALUES: &[(&str, &str, &[&str])] = &[
    ("num.io.threads", "many", &["num.io.threads", "many"]),
    ("num.partitions", "0", &["num.partitions", "0"]),
    ("log.retention.ms", "soon", &["log.retention.ms", "soon"]),
    (
        "auto.create.topics.enable",
        "perhaps",
        &["auto.create.topics.enable", "perhaps"],
    ),
    (
        "compression.type",
        "rar",
        &["compression.type", "rar", "zstd"],
    ),
    (
        "odradek.durability",
        "sometimes",
        &["odradek.durability", "sometimes", "fsync"],
    ),
    ("odradek.shards", "-1", &["odradek.shards", "-1"]),
    ("node.id", "one", &["node.id", "one"]),
    ("process.roles", "king", &["process.roles", "king"]),
    (
        "process.roles",
        "broker",
        &["process.roles", "broker,controller"],
    ),
    (
        "listeners",
        "9092",
        &["listeners", "9092", "NAME://host:port"],
    ),
    (
        "listeners",
        "PLAINTEXT://127.0.0.1:x",
        &["listeners", "127.0.0.1:x"],
    ),
    (
        "listeners",
        "SSL://127.0.0.1:9092",
        &["listener.security.protocol.map", "SSL", "PLAINTEXT only"],
    ),
    (
        "listeners",
        "PLAINTEXT://no-such-host.invalid:9092",
        &["listeners", "no-such-host.invalid"],
    ),
    (
        "controller.listener.names",
        "NOBODY",
        &["controller.listener.names", "NOBODY"],
    ),
    (
        "odradek.metrics.listener",
        "nowhere",
        &["odradek.metrics.listener", "nowhere"],
    ),
];

/// A key that almost is one, and the one it almost is.
const NEAR_MISSES: &[(&str, &str)] = &[
    ("num.partition", "num.partitions"),
    ("log.retention.hour", "log.retention.hours"),
    ("Log.Dirs", "log.dirs"),
    ("log_dirs", "log.dirs"),
    ("advertised.listners", "advertised.listeners"),
    ("odradek.durabilty", "odradek.durability"),
    ("retention.ms", "log.retention.ms"),
];

#[test]
fn bad_values_are_refused_by_key_value_and_what_is_allowed() {
    let setup = Setup::new();
    for (key, value, words) in BAD_VALUES {
        let config = setup.config(&["data"], &[(key, value)]);
        setup.refused(&config, words);
    }
    assert!(!setup.path("data").exists(), "nothing is made");
}

#[test]
fn near_misses_are_refused_with_the_key_that_was_meant() {
    let setup = Setup::new();
    for (key, meant) in NEAR_MISSES {
        let config = setup.config(&["data"], &[(key, "1")]);
        setup.refused(&config, &[key, meant]);
    }
}

#[test]
fn unknown_keys_are_warned_of_and_known_ones_not_honoured_are_reported() {
    let setup = Setup::new();
    let changes = [
        ("my.own.plugin.colour", "red"),
        ("authorizer.class.name", "org.example.Authorizer"),
        ("listener.name.plaintext.ssl.keystore.location", "/nowhere"),
        ("flush.messages", "1"),
    ];
    let config = setup.config(&["data"], &changes[..3]);
    // The data directory is missing, so the start ends; the configuration was taken.
    let text = setup.refused(&config, &["meta.properties"]);
    for (key, _) in &changes[..3] {
        assert!(text.contains(key), "{key} is reported: {text}");
    }
    let once = text.matches("authorizer.class.name").count();
    assert_eq!(once, 1, "{text}");
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let setup = Setup::new();
    let missing = setup.path("no-such.properties");
    setup.refused(&missing, &["no-such.properties", "cannot be read"]);
    setup.refused(setup.folder.path(), &["cannot be read"]);
    setup.formatted(&setup.config(&["data"], &[]));
    let config = setup.config(&["data", "data"], &[]);
    setup.refused(&config, &["log.dirs", "twice"]);
}

#[test]
fn overrides_win_and_are_checked() {
    let setup = Setup::new();
    let config = setup.config(&["data"], &[]);
    let config = config.to_str().expect("a plain path");
    for (pair, words) in [
        ("num.partitions=none", &["num.partitions", "none"][..]),
        ("node.id", &["node.id", "KEY=VALUE"][..]),
        ("node.idd=4", &["node.idd", "node.id"][..]),
    ] {
        let arguments = ["start", "--config", config, "--override", pair];
        setup.run(&[], &arguments).refused(words);
    }
}
