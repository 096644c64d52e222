//! Config definitions against Kafka's facts: types, refusals in words, near misses, effective values and their synonyms.

use std::collections::BTreeMap;

use odradek_protocol::StrBytes;
use odradek_raft::configs::{
    CLOCK_TRUST, ConfigDefault, ConfigLayers, ConfigMap, ConfigSource, ConfigType, ConfigValue,
    NearMiss, STRAYS_ALLOW, Scope, TopicConfigLimits, UpdateMode, Valid, broker_definition,
    definition, definitions, near_miss, parse_value, shown_definitions, topic_definition,
    validate_topic_configs,
};

fn map(entries: &[(&str, &str)]) -> ConfigMap {
    entries
        .iter()
        .map(|&(key, value)| (StrBytes::from(key), StrBytes::from(value)))
        .collect()
}

fn file(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|&(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

fn refusal(scope: Scope, key: &str, value: &str) -> String {
    parse_value(definition(scope, key).expect("a known key"), value)
        .expect_err("a value that is not allowed")
        .to_string()
}

#[test]
fn every_default_is_allowed_and_every_synonym_known() {
    for scope in [
        Scope::Broker,
        Scope::Topic,
        Scope::Group,
        Scope::ClientMetrics,
    ] {
        for row in definitions(scope) {
            if let ConfigDefault::Value(text) = row.default {
                parse_value(row, text).unwrap_or_else(|why| panic!("{}: {why}", row.key));
            }
            for synonym in row.broker_synonyms {
                assert!(
                    broker_definition(synonym).is_some(),
                    "{} names {synonym}",
                    row.key
                );
            }
            assert_eq!(definition(scope, row.key), Some(row));
        }
    }
    assert_eq!(definitions(Scope::Topic).count(), 38);
    assert!(shown_definitions(Scope::Topic).all(|row| !row.internal && !row.since_4_4));
}

#[test]
fn definitions_say_what_kafkas_say() {
    let retention = topic_definition("retention.ms").unwrap();
    assert_eq!(retention.config_type, ConfigType::Long);
    assert_eq!(retention.default, ConfigDefault::Value("604800000"));
    assert_eq!(retention.valid, Valid::Range(-1, i64::MAX));
    assert_eq!(
        retention.broker_synonyms,
        [
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours"
        ]
    );
    let hours = broker_definition("log.retention.hours").unwrap();
    assert_eq!(hours.update_mode, UpdateMode::ReadOnly);
    assert_eq!(
        broker_definition("node.id").unwrap().default,
        ConfigDefault::Required
    );
    let own = broker_definition("odradek.durability").unwrap();
    assert_eq!(own.default, ConfigDefault::Value("fsync"));
    assert!(
        definitions(Scope::Broker)
            .filter(|row| row.key.starts_with("odradek."))
            .all(|row| !row.documentation.is_empty())
    );
    let of_a_running_broker: Vec<&str> = definitions(Scope::Broker)
        .filter(|row| row.key.starts_with("odradek.") && row.update_mode != UpdateMode::ReadOnly)
        .map(|row| row.key)
        .collect();
    assert_eq!(of_a_running_broker, [CLOCK_TRUST, STRAYS_ALLOW]);
    assert!(
        broker_definition("ssl.key.password")
            .unwrap()
            .is_sensitive()
    );
}

#[test]
fn values_are_read_by_type() {
    let read = |scope, key, text| parse_value(definition(scope, key).unwrap(), text).unwrap();
    assert_eq!(read(Scope::Topic, "retention.ms", " 5 ").number(), Some(5));
    assert_eq!(
        read(Scope::Topic, "preallocate", "TRUE").boolean(),
        Some(true)
    );
    assert_eq!(
        read(Scope::Topic, "cleanup.policy", "compact , delete"),
        ConfigValue::List(vec!["compact".to_string(), "delete".to_string()])
    );
    assert_eq!(
        read(Scope::Topic, "cleanup.policy", "").list(),
        Some(&[][..])
    );
    assert_eq!(
        read(Scope::Topic, "compression.gzip.level", "-1").number(),
        Some(-1)
    );
    let any_case = read(Scope::Broker, "group.consumer.migration.policy", "Upgrade");
    assert_eq!(any_case.text(), Some("Upgrade"));
    read(
        Scope::Topic,
        "leader.replication.throttled.replicas",
        "0:1,1:2",
    );
    read(Scope::Topic, "leader.replication.throttled.replicas", "*");
    read(
        Scope::Group,
        "share.auto.offset.reset",
        "by_duration:P1DT2H3M4.5S",
    );
    read(Scope::Broker, "odradek.metrics.listener", "[::1]:0");
}

#[test]
fn refusals_tell_key_value_and_what_is_allowed() {
    for (scope, key, value, allowed) in [
        (Scope::Topic, "retention.ms", "-2", "of at least -1"),
        (
            Scope::Topic,
            "retention.ms",
            "1.5",
            "a whole number of 64 bits",
        ),
        (
            Scope::Topic,
            "segment.bytes",
            "3000000000",
            "a whole number of 32 bits",
        ),
        (
            Scope::Topic,
            "min.cleanable.dirty.ratio",
            "1.1",
            "from 0 to 1",
        ),
        (
            Scope::Topic,
            "min.cleanable.dirty.ratio",
            "NaN",
            "from 0 to 1",
        ),
        (Scope::Topic, "preallocate", "yes", "true or false"),
        (
            Scope::Topic,
            "cleanup.policy",
            "compact,compact",
            "distinct items",
        ),
        (Scope::Topic, "cleanup.policy", "keep", "compact, delete"),
        (Scope::Topic, "compression.gzip.level", "0", "1 to 9, or -1"),
        (
            Scope::Topic,
            "message.timestamp.type",
            "createtime",
            "CreateTime, LogAppendTime",
        ),
        (
            Scope::Topic,
            "follower.replication.throttled.replicas",
            "0-1",
            "partition:broker",
        ),
        (
            Scope::Group,
            "share.auto.offset.reset",
            "by_duration:PT",
            "ISO 8601",
        ),
        (Scope::Broker, "odradek.durability", "maybe", "fsync, none"),
        (
            Scope::Broker,
            "odradek.metrics.listener",
            "9464",
            "host:port",
        ),
    ] {
        let text = refusal(scope, key, value);
        for part in [key, value, allowed] {
            assert!(text.contains(part), "'{part}' is missing in: {text}");
        }
    }
}

#[test]
fn misspelt_keys_are_told_the_key_that_was_meant() {
    for (written, meant) in [
        ("log.retention.hour", "log.retention.hours"),
        ("log.retntion.hours", "log.retention.hours"),
        ("log.retention.hosur", "log.retention.hours"),
        ("Log.Dirs", "log.dirs"),
        ("num_partitions", "num.partitions"),
        ("broker-id", "broker.id"),
        ("odradek.durabilty", "odradek.durability"),
        ("auto.create.topic.enable", "auto.create.topics.enable"),
    ] {
        assert_eq!(
            near_miss(written),
            Some(NearMiss::Misspelt(meant)),
            "{written}"
        );
    }
    assert_eq!(
        near_miss("retention.ms"),
        Some(NearMiss::TopicKey("log.retention.ms"))
    );
    for fine in [
        "log.dirs",
        "my.plugin.setting",
        "listener.name.internal.ssl.keystore.location",
        "super.users",
        "confluent.support.metrics.enable",
        "inter.broker.protocol.version",
    ] {
        assert_eq!(near_miss(fine), None, "{fine}");
    }
}

#[test]
fn keys_of_one_topic_may_not_contradict_each_other() {
    let check = |entries: &[(&str, &str)], limits| {
        let layers = ConfigLayers::default();
        validate_topic_configs(entries.iter().copied(), &layers, limits)
            .map_err(|why| why.to_string())
    };
    let plain = TopicConfigLimits::default();
    assert_eq!(
        check(
            &[("cleanup.policy", "compact"), ("segment.ms", "100")],
            plain
        ),
        Ok(())
    );
    let why = check(
        &[
            ("min.compaction.lag.ms", "2"),
            ("max.compaction.lag.ms", "1"),
        ],
        plain,
    );
    assert!(
        why.unwrap_err()
            .contains("max.compaction.lag.ms, which is 1")
    );
    assert!(check(&[("remote.storage.enable", "true")], plain).is_err());
    let limits = TopicConfigLimits {
        message_bytes_max: 1_000,
        remote_storage: true,
    };
    let why = check(&[("max.message.bytes", "1001")], limits).unwrap_err();
    assert!(why.contains("at most 1000"), "{why}");
    let remote = ("remote.storage.enable", "true");
    assert_eq!(check(&[remote], limits), Ok(()));
    assert!(check(&[remote, ("cleanup.policy", "compact")], limits).is_err());
    assert!(
        check(
            &[remote, ("local.retention.ms", "5"), ("retention.ms", "4")],
            limits
        )
        .is_err()
    );
    assert!(
        check(&[("no.such.key", "1")], plain)
            .unwrap_err()
            .contains("no.such.key")
    );
}

#[test]
fn the_strongest_place_wins_and_all_are_listed() {
    let topic = map(&[("retention.ms", "1")]);
    let broker = map(&[("log.retention.ms", "2")]);
    let cluster = map(&[("log.retention.ms", "3")]);
    let properties = file(&[("log.retention.minutes", "4"), ("log.retention.hours", "5")]);
    let mut layers = ConfigLayers {
        topic: Some(&topic),
        broker: Some(&broker),
        cluster: Some(&cluster),
        static_file: Some(&properties),
    };
    let found = layers.topic_config("retention.ms").unwrap();
    assert_eq!(
        (found.value.as_deref(), found.source),
        (Some("1"), ConfigSource::DynamicTopic)
    );
    let listed: Vec<(&str, &str, i8)> = found
        .synonyms
        .iter()
        .map(|one| {
            (
                one.name.as_str(),
                one.value.as_deref().unwrap_or("-"),
                one.source.code(),
            )
        })
        .collect();
    assert_eq!(
        listed,
        [
            ("retention.ms", "1", 1),
            ("log.retention.ms", "2", 2),
            ("log.retention.ms", "3", 3),
            ("log.retention.minutes", "4", 4),
            ("log.retention.hours", "5", 4),
            ("log.retention.hours", "168", 5),
        ]
    );
    let mut values = Vec::new();
    layers.topic = None;
    values.push(layers.topic_number("retention.ms"));
    layers.broker = None;
    values.push(layers.topic_number("retention.ms"));
    layers.cluster = None;
    values.push(layers.topic_number("retention.ms"));
    let hours = file(&[("log.retention.hours", "5")]);
    layers.static_file = Some(&hours);
    values.push(layers.topic_number("retention.ms"));
    layers.static_file = None;
    values.push(layers.topic_number("retention.ms"));
    assert_eq!(values, [2, 3, 240_000, 18_000_000, 604_800_000].map(Some));
}

#[test]
fn broker_keys_show_their_own_part_of_the_chain_and_no_secret() {
    let cluster = map(&[("log.retention.ms", "3")]);
    let properties = file(&[("log.retention.hours", "5"), ("ssl.key.password", "secret")]);
    let layers = ConfigLayers {
        cluster: Some(&cluster),
        static_file: Some(&properties),
        ..ConfigLayers::default()
    };
    let hours = layers.broker_config("log.retention.hours").unwrap();
    assert_eq!(
        (hours.value.as_deref(), hours.source),
        (Some("5"), ConfigSource::StaticBroker)
    );
    let ms = layers.broker_config("log.retention.ms").unwrap();
    assert_eq!(ms.value.as_deref(), Some("3"));
    assert_eq!(ms.synonyms.len(), 3);
    let secret = layers.broker_config("ssl.key.password").unwrap();
    assert_eq!(
        (secret.value, secret.source),
        (None, ConfigSource::StaticBroker)
    );
    assert!(
        secret
            .synonyms
            .iter()
            .all(|synonym| synonym.value.is_none())
    );
    assert_eq!(
        layers.broker_text("ssl.key.password").as_deref(),
        Some("secret")
    );
    let unset = layers.broker_config("log.dirs").unwrap();
    assert_eq!((unset.value, unset.source), (None, ConfigSource::Default));
}
