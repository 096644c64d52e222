//! Kafka's topic, group and client metrics keys (Kafka 4.3.1 and 4.4.0), sorted by key. The look-ups over these tables are in `mod.rs`, the shapes in `definition.rs`.

use super::definition::{
    ConfigDefault, ConfigDefinition, ConfigType, Importance, UpdateMode, Valid, row,
};

/// Topic keys; the synonyms are broker keys, the first one set wins.
#[rustfmt::skip]
pub(super) const TOPIC: &[ConfigDefinition] = &[
    row("cleanup.policy", ConfigType::List, ConfigDefault::Value("delete"), UpdateMode::ClusterWide, Importance::Medium, Valid::OneOf(&["compact", "delete"]), &["log.cleanup.policy"], false, false),
    row("compression.gzip.level", ConfigType::Int, ConfigDefault::Value("-1"), UpdateMode::ClusterWide, Importance::Medium, Valid::GzipLevel, &["compression.gzip.level"], false, false),
    row("compression.lz4.level", ConfigType::Int, ConfigDefault::Value("9"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1, 17), &["compression.lz4.level"], false, false),
    row("compression.type", ConfigType::String, ConfigDefault::Value("producer"), UpdateMode::ClusterWide, Importance::Medium, Valid::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), &["compression.type"], false, false),
    row("compression.zstd.level", ConfigType::Int, ConfigDefault::Value("3"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(-131072, 22), &["compression.zstd.level"], false, false),
    row("delete.retention.ms", ConfigType::Long, ConfigDefault::Value("86400000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["log.cleaner.delete.retention.ms"], false, false),
    row("errors.deadletterqueue.group.enable", ConfigType::Boolean, ConfigDefault::Value("false"), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &[], false, true),
    row("file.delete.delay.ms", ConfigType::Long, ConfigDefault::Value("60000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["log.segment.delete.delay.ms"], false, false),
    row("flush.messages", ConfigType::Long, ConfigDefault::Value("9223372036854775807"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1, i64::MAX), &["log.flush.interval.messages"], false, false),
    row("flush.ms", ConfigType::Long, ConfigDefault::Value("9223372036854775807"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"], false, false),
    row("follower.replication.throttled.replicas", ConfigType::List, ConfigDefault::Value(""), UpdateMode::ClusterWide, Importance::Medium, Valid::ThrottledReplicas, &[], false, false),
    row("index.interval.bytes", ConfigType::Int, ConfigDefault::Value("4096"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["log.index.interval.bytes"], false, false),
    row("internal.segment.bytes", ConfigType::Int, ConfigDefault::Null, UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &[], true, false),
    row("leader.replication.throttled.replicas", ConfigType::List, ConfigDefault::Value(""), UpdateMode::ClusterWide, Importance::Medium, Valid::ThrottledReplicas, &[], false, false),
    row("local.retention.bytes", ConfigType::Long, ConfigDefault::Value("-2"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(-2, i64::MAX), &["log.local.retention.bytes"], false, false),
    row("local.retention.ms", ConfigType::Long, ConfigDefault::Value("-2"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(-2, i64::MAX), &["log.local.retention.ms"], false, false),
    row("max.compaction.lag.ms", ConfigType::Long, ConfigDefault::Value("9223372036854775807"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1, i64::MAX), &["log.cleaner.max.compaction.lag.ms"], false, false),
    row("max.decompressed.message.bytes", ConfigType::Int, ConfigDefault::Value("2147483639"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1, 2147483639), &["max.decompressed.message.bytes"], false, true),
    row("max.message.bytes", ConfigType::Int, ConfigDefault::Value("1048588"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["message.max.bytes"], false, false),
    row("message.timestamp.after.max.ms", ConfigType::Long, ConfigDefault::Value("3600000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["log.message.timestamp.after.max.ms"], false, false),
    row("message.timestamp.before.max.ms", ConfigType::Long, ConfigDefault::Value("9223372036854775807"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["log.message.timestamp.before.max.ms"], false, false),
    row("message.timestamp.type", ConfigType::String, ConfigDefault::Value("CreateTime"), UpdateMode::ClusterWide, Importance::Medium, Valid::OneOf(&["CreateTime", "LogAppendTime"]), &["log.message.timestamp.type"], false, false),
    row("min.cleanable.dirty.ratio", ConfigType::Double, ConfigDefault::Value("0.5"), UpdateMode::ClusterWide, Importance::Medium, Valid::DoubleRange(0.0, 1.0), &["log.cleaner.min.cleanable.ratio"], false, false),
    row("min.compaction.lag.ms", ConfigType::Long, ConfigDefault::Value("0"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["log.cleaner.min.compaction.lag.ms"], false, false),
    row("min.insync.replicas", ConfigType::Int, ConfigDefault::Value("1"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1, i64::MAX), &["min.insync.replicas"], false, false),
    row("preallocate", ConfigType::Boolean, ConfigDefault::Value("false"), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &["log.preallocate"], false, false),
    row("remote.copy.lag.bytes", ConfigType::Long, ConfigDefault::Value("-1"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(-1, i64::MAX), &["log.remote.copy.lag.bytes"], false, true),
    row("remote.copy.lag.ms", ConfigType::Long, ConfigDefault::Value("0"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(-1, i64::MAX), &["log.remote.copy.lag.ms"], false, true),
    row("remote.log.copy.disable", ConfigType::Boolean, ConfigDefault::Value("false"), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &[], false, false),
    row("remote.log.delete.on.disable", ConfigType::Boolean, ConfigDefault::Value("false"), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &[], false, false),
    row("remote.storage.enable", ConfigType::Boolean, ConfigDefault::Value("false"), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &[], false, false),
    row("retention.bytes", ConfigType::Long, ConfigDefault::Value("-1"), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &["log.retention.bytes"], false, false),
    row("retention.ms", ConfigType::Long, ConfigDefault::Value("604800000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(-1, i64::MAX), &["log.retention.ms", "log.retention.minutes", "log.retention.hours"], false, false),
    row("segment.bytes", ConfigType::Int, ConfigDefault::Value("1073741824"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1048576, i64::MAX), &["log.segment.bytes"], false, false),
    row("segment.index.bytes", ConfigType::Int, ConfigDefault::Value("10485760"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(4, i64::MAX), &["log.index.size.max.bytes"], false, false),
    row("segment.jitter.ms", ConfigType::Long, ConfigDefault::Value("0"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["log.roll.jitter.ms", "log.roll.jitter.hours"], false, false),
    row("segment.ms", ConfigType::Long, ConfigDefault::Value("604800000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1, i64::MAX), &["log.roll.ms", "log.roll.hours"], false, false),
    row("unclean.leader.election.enable", ConfigType::Boolean, ConfigDefault::Value("false"), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &["unclean.leader.election.enable"], false, false),
];

/// Group keys (resource type 32).
#[rustfmt::skip]
pub(super) const GROUP: &[ConfigDefinition] = &[
    row("consumer.assignment.interval.ms", ConfigType::Int, ConfigDefault::Value("1000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["group.consumer.assignment.interval.ms"], false, false),
    row("consumer.assignor.offload.enable", ConfigType::Boolean, ConfigDefault::Value("true"), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &["group.consumer.assignor.offload.enable"], true, true),
    row("consumer.heartbeat.interval.ms", ConfigType::Int, ConfigDefault::Value("5000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1, i64::MAX), &["group.consumer.heartbeat.interval.ms"], false, false),
    row("consumer.session.timeout.ms", ConfigType::Int, ConfigDefault::Value("45000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1, i64::MAX), &["group.consumer.session.timeout.ms"], false, false),
    row("errors.deadletterqueue.copy.record.enable", ConfigType::Boolean, ConfigDefault::Value("false"), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &[], false, true),
    row("errors.deadletterqueue.topic.name", ConfigType::String, ConfigDefault::Value(""), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &[], false, true),
    row("share.assignment.interval.ms", ConfigType::Int, ConfigDefault::Value("1000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["group.share.assignment.interval.ms"], false, false),
    row("share.assignor.offload.enable", ConfigType::Boolean, ConfigDefault::Value("true"), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &["group.share.assignor.offload.enable"], true, true),
    row("share.auto.offset.reset", ConfigType::String, ConfigDefault::Value("latest"), UpdateMode::ClusterWide, Importance::Medium, Valid::AutoOffsetReset, &[], false, false),
    row("share.delivery.count.limit", ConfigType::Int, ConfigDefault::Value("5"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(2, i64::MAX), &["group.share.delivery.count.limit"], false, false),
    row("share.heartbeat.interval.ms", ConfigType::Int, ConfigDefault::Value("5000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1, i64::MAX), &["group.share.heartbeat.interval.ms"], false, false),
    row("share.isolation.level", ConfigType::String, ConfigDefault::Value("read_uncommitted"), UpdateMode::ClusterWide, Importance::Medium, Valid::OneOf(&["read_committed", "read_uncommitted"]), &[], false, false),
    row("share.partition.max.record.locks", ConfigType::Int, ConfigDefault::Value("2000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(100, i64::MAX), &["group.share.partition.max.record.locks"], false, false),
    row("share.record.lock.duration.ms", ConfigType::Int, ConfigDefault::Value("30000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1000, i64::MAX), &["group.share.record.lock.duration.ms"], false, false),
    row("share.renew.acknowledge.enable", ConfigType::Boolean, ConfigDefault::Value("true"), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &[], false, false),
    row("share.session.timeout.ms", ConfigType::Int, ConfigDefault::Value("45000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1, i64::MAX), &["group.share.session.timeout.ms"], false, false),
    row("streams.acceptable.recovery.lag", ConfigType::Long, ConfigDefault::Value("10000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["group.streams.acceptable.recovery.lag"], true, true),
    row("streams.assignment.interval.ms", ConfigType::Int, ConfigDefault::Value("1000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["group.streams.assignment.interval.ms"], false, false),
    row("streams.assignor.name", ConfigType::String, ConfigDefault::Null, UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &["group.streams.assignors"], false, true),
    row("streams.assignor.offload.enable", ConfigType::Boolean, ConfigDefault::Value("true"), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &["group.streams.assignor.offload.enable"], true, true),
    row("streams.heartbeat.interval.ms", ConfigType::Int, ConfigDefault::Value("5000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1, i64::MAX), &["group.streams.heartbeat.interval.ms"], false, false),
    row("streams.initial.rebalance.delay.ms", ConfigType::Int, ConfigDefault::Value("3000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["group.streams.initial.rebalance.delay.ms"], false, false),
    row("streams.num.standby.replicas", ConfigType::Int, ConfigDefault::Value("0"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["group.streams.num.standby.replicas"], false, false),
    row("streams.num.warmup.replicas", ConfigType::Int, ConfigDefault::Value("2"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(0, i64::MAX), &["group.streams.num.warmup.replicas"], true, true),
    row("streams.rack.aware.assignment.tags", ConfigType::List, ConfigDefault::Value(""), UpdateMode::ClusterWide, Importance::Low, Valid::Any, &["group.streams.rack.aware.assignment.tags"], false, true),
    row("streams.session.timeout.ms", ConfigType::Int, ConfigDefault::Value("45000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1, i64::MAX), &["group.streams.session.timeout.ms"], false, false),
    row("streams.task.offset.interval.ms", ConfigType::Int, ConfigDefault::Value("60000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Range(1, i64::MAX), &["group.streams.task.offset.interval.ms"], true, true),
];

/// Client metrics subscription keys (resource type 16).
#[rustfmt::skip]
pub(super) const CLIENT_METRICS: &[ConfigDefinition] = &[
    row("interval.ms", ConfigType::Int, ConfigDefault::Value("300000"), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &[], false, false),
    row("match", ConfigType::List, ConfigDefault::Value(""), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &[], false, false),
    row("metrics", ConfigType::List, ConfigDefault::Value(""), UpdateMode::ClusterWide, Importance::Medium, Valid::Any, &[], false, false),
];
