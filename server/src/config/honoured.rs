//! Which of Kafka's keys this version acts on. A key that is known and not here is reported once at the start, so that
//! nobody believes in a setting that does nothing.

/// Keys that take effect, sorted.
const HONOURED: &[&str] = &[
    "advertised.listeners",
    "auto.create.topics.enable",
    "broker.heartbeat.interval.ms",
    "broker.id",
    "broker.rack",
    "broker.session.timeout.ms",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "connections.max.idle.ms",
    "controller.listener.names",
    "default.replication.factor",
    "delete.topic.enable",
    "fetch.max.bytes",
    "group.initial.rebalance.delay.ms",
    "group.max.session.timeout.ms",
    "group.max.size",
    "group.min.session.timeout.ms",
    "listener.security.protocol.map",
    "listeners",
    "log.cleanup.policy",
    "log.dir",
    "log.dirs",
    "log.message.timestamp.after.max.ms",
    "log.message.timestamp.before.max.ms",
    "log.message.timestamp.type",
    "log.retention.bytes",
    "log.retention.check.interval.ms",
    "log.retention.hours",
    "log.retention.minutes",
    "log.retention.ms",
    "log.roll.hours",
    "log.roll.ms",
    "log.segment.bytes",
    "max.connections",
    "max.connections.per.ip",
    "max.incremental.fetch.session.cache.slots",
    "message.max.bytes",
    "metadata.log.dir",
    "metadata.log.max.record.bytes.between.snapshots",
    "min.insync.replicas",
    "node.id",
    "num.partitions",
    "odradek.data.dir.bytes.max",
    "odradek.durability",
    "odradek.metrics.listener",
    "odradek.shards",
    "offset.metadata.max.bytes",
    "offsets.retention.check.interval.ms",
    "offsets.retention.minutes",
    "offsets.topic.num.partitions",
    "offsets.topic.replication.factor",
    "process.roles",
    "producer.id.expiration.ms",
    "socket.listen.backlog.size",
    "socket.request.max.bytes",
    "telemetry.max.bytes",
];

/// Whether setting the key changes anything. Quorum addresses count: a lone voter needs none of the others'.
pub(super) fn is_honoured(key: &str) -> bool {
    debug_assert!(HONOURED.is_sorted());
    HONOURED.binary_search(&key).is_ok() || QUORUM.contains(&key) || SINGLE_NODE.contains(&key)
}

const QUORUM: &[&str] = &[
    "controller.quorum.bootstrap.servers",
    "controller.quorum.voters",
];

/// Keys about topics of issues to come whose values a lone node's properties must carry for Kafka's own start; no
/// warning, since nothing that they name exists yet.
const SINGLE_NODE: &[&str] = &[
    "share.coordinator.state.topic.min.isr",
    "share.coordinator.state.topic.replication.factor",
    "transaction.state.log.min.isr",
    "transaction.state.log.replication.factor",
];
