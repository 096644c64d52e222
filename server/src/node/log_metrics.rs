//! What shards and their logs count, as cells of `/metrics`: copied from the logs' and shards' own statistics once a second, so that nothing on
//! the way of a request touches them. Latency of durable writes is the shell's, which sees both their ends.

use crate::shell::{Counter, Gauge, Labels, Registry, log_labels};
use odradek_shard::Shard;
use odradek_wal::{CacheLookups, Log, LogStatistics};
use std::path::Path;

/// A cache's cells.
struct CacheMetrics {
    bytes: Gauge,
    bytes_max: Gauge,
    hits: Counter,
    misses: Counter,
}

impl CacheMetrics {
    fn new(registry: &Registry, log: &Labels, cache: &str) -> Self {
        let labels = || {
            let mut labels = log.clone();
            labels.push(("cache", cache.to_string()));
            labels
        };
        Self {
            bytes: registry.gauge(
                "odradek_cache_bytes",
                "Bytes in a cache: `tail` holds the last writes, `block` frames read from disk, `index` index pages",
                labels(),
            ),
            bytes_max: registry.gauge(
                "odradek_cache_max_bytes",
                "Bytes a cache may hold",
                labels(),
            ),
            hits: registry.counter(
                "odradek_cache_hits",
                "Look-ups a cache answered",
                labels(),
            ),
            misses: registry.counter(
                "odradek_cache_misses",
                "Look-ups a cache could not answer; those of the tail go on to the block cache, those of the others to the disk",
                labels(),
            ),
        }
    }

    fn update(&self, bytes: u64, bytes_max: usize, lookups: CacheLookups) {
        self.bytes.set(bytes as i64);
        self.bytes_max.set(bytes_max as i64);
        self.hits.set(lookups.hits);
        self.misses.set(lookups.misses);
    }
}

/// What a gauge or counter of a log shows.
enum Cell {
    Counter(Counter, fn(&LogStatistics) -> u64),
    Gauge(Gauge, fn(&LogStatistics) -> u64),
}

/// Name, what it says, and where it stands in the statistics.
type Row = (&'static str, &'static str, fn(&LogStatistics) -> u64);

const COUNTERS: &[Row] = &[
    (
        "odradek_log_appended_bytes",
        "Bytes of record batches appended",
        |log| log.bytes_appended,
    ),
    (
        "odradek_log_frames_appended",
        "Record batches and control frames appended",
        |log| log.frames_appended,
    ),
    (
        "odradek_log_writes",
        "Group commits: durable writes that gather what a turn appended",
        |log| log.writes,
    ),
    (
        "odradek_log_written_bytes",
        "Bytes of group commits, headers and padding included; divided by odradek_log_writes, the size of a write",
        |log| log.bytes_written,
    ),
    (
        "odradek_log_seals",
        "Blocks that record the durable end after a quiet time",
        |log| log.seals,
    ),
    (
        "odradek_log_writes_retried",
        "Writes that failed and were tried again in a fresh segment",
        |log| log.writes_retried,
    ),
    (
        "odradek_log_segments_unwritten",
        "Segments used before they were zeroed, since no spare was ready: their writes are slower",
        |log| log.segments_unwritten,
    ),
    (
        "odradek_log_rewritten_bytes",
        "Bytes moved to give dead space back, and to lay a partition's records together",
        |log| log.bytes_rewritten,
    ),
    (
        "odradek_log_segments_clustered",
        "Segments whose records were moved together by partition and expiry",
        |log| log.segments_clustered,
    ),
    (
        "odradek_log_scrubbed_bytes",
        "Bytes of sealed segments verified in the background",
        |log| log.bytes_scrubbed,
    ),
    (
        "odradek_log_frames_damaged",
        "Record batches found damaged on disk",
        |log| log.frames_damaged,
    ),
    (
        "odradek_log_reads_from_memory",
        "Reads answered from the caches",
        |log| log.reads_from_memory,
    ),
    (
        "odradek_log_reads_from_disk",
        "Reads that had to wait for the disk",
        |log| log.reads_from_disk,
    ),
    (
        "odradek_log_checkpoints",
        "Checkpoints made durable",
        |log| log.checkpoints,
    ),
    (
        "odradek_log_checkpoint_written_bytes",
        "Bytes of checkpoints written",
        |log| log.checkpoint_bytes,
    ),
];

const GAUGES: &[Row] = &[
    ("odradek_log_segments", "Segment files", |log| log.segments),
    (
        "odradek_log_segments_free",
        "Segment files that hold nothing: spares, and those being prepared",
        |log| log.segments_free,
    ),
    (
        "odradek_log_segments_live",
        "Segment files that hold records",
        |log| log.segments.saturating_sub(log.segments_free),
    ),
    (
        "odradek_log_used_bytes",
        "Bytes of segment files that hold records",
        |log| log.space_used_bytes,
    ),
    (
        "odradek_log_max_bytes",
        "Bytes this log may take (its share of odradek.data.dir.bytes.max)",
        |log| log.space_bytes_max,
    ),
    (
        "odradek_log_live_bytes",
        "Bytes of live records in sealed segments",
        |log| log.bytes_live,
    ),
    (
        "odradek_log_dead_bytes",
        "Bytes in sealed segments that no live record needs: what rewriting still has to give back",
        |log| log.bytes_dead,
    ),
    (
        "odradek_log_segments_unclustered",
        "Segments in which many partitions of several expiry classes lie interleaved",
        |log| log.segments_unclustered,
    ),
    (
        "odradek_log_rewrite_debt_bytes",
        "Bytes that are due to be moved",
        |log| log.rewrite_debt_bytes,
    ),
    (
        "odradek_log_reads_waiting",
        "Reads that wait for their turn at the disk",
        |log| log.reads_waiting,
    ),
    (
        "odradek_log_reads_outstanding",
        "Reads the disk has in hand",
        |log| log.reads_outstanding,
    ),
    (
        "odradek_log_replicas",
        "Partition replicas in the log",
        |log| log.replicas,
    ),
    (
        "odradek_log_slot_bytes",
        "Memory that replicas take: slots and older epochs",
        |log| log.slot_bytes,
    ),
    (
        "odradek_log_index_memory_bytes",
        "Memory that finding records takes: newest runs, first keys of index pages, caches of pages",
        |log| log.index_memory_bytes,
    ),
    (
        "odradek_log_cold_memory_bytes",
        "Memory that the shard's own pages take until a checkpoint base has them",
        |log| log.cold_memory_bytes,
    ),
    (
        "odradek_log_extents",
        "Runs of a replica's records in segments",
        |log| log.extents,
    ),
    (
        "odradek_log_deletions_frozen",
        "1 while retention deletes nothing because the clock is doubted; odradek.clock.trust ends it",
        |log| log.deletions_frozen.into(),
    ),
    (
        "odradek_log_out_of_space",
        "1 while produce is refused for want of space",
        |log| log.out_of_space.into(),
    ),
    (
        "odradek_log_offline",
        "1 when the log failed and is out of use",
        |log| log.offline.into(),
    ),
];

/// Times, in microseconds.
const TIMES: &[Row] = &[
    (
        "odradek_log_rewrite_debt_seconds",
        "How long moving what is due takes at the rate that the present load leaves; past ten minutes producers are throttled",
        |log| log.rewrite_debt_ms.saturating_mul(1_000),
    ),
    (
        "odradek_log_produce_throttle_seconds",
        "The throttle time that producers are given because of it",
        |log| log.produce_throttle_ms.saturating_mul(1_000),
    ),
];

/// One log's cells.
pub struct LogMetrics {
    cells: Vec<Cell>,
    caches: [CacheMetrics; 3],
    checkpoint_age: Gauge,
    /// Checkpoints counted when last looked at, and when that number last changed.
    checkpoint: (u64, u64),
}

impl LogMetrics {
    /// Of the log in this folder. `now_us`: until a checkpoint is made, its age counts from here.
    pub fn new(registry: &Registry, folder: &Path, now_us: u64) -> Self {
        let labels = log_labels(folder);
        let counters = COUNTERS.iter().map(|(name, help, from)| {
            Cell::Counter(registry.counter(name, help, labels.clone()), *from)
        });
        let gauges = GAUGES.iter().map(|(name, help, from)| {
            Cell::Gauge(registry.gauge(name, help, labels.clone()), *from)
        });
        let times = TIMES.iter().map(|(name, help, from)| {
            Cell::Gauge(registry.gauge_of_time(name, help, labels.clone()), *from)
        });
        Self {
            cells: counters.chain(gauges).chain(times).collect(),
            caches: ["tail", "block", "index"]
                .map(|cache| CacheMetrics::new(registry, &labels, cache)),
            checkpoint_age: registry.gauge_of_time(
                "odradek_log_checkpoint_age_seconds",
                "Time since the last checkpoint, or since the start: what was written since is replayed after a crash",
                labels.clone(),
            ),
            checkpoint: (0, now_us),
        }
    }

    /// Takes over what the log counts.
    pub fn update(&mut self, log: &Log, now_us: u64) {
        let statistics = log.statistics();
        for cell in &self.cells {
            match cell {
                Cell::Counter(cell, from) => cell.set(from(&statistics)),
                Cell::Gauge(cell, from) => cell.set(from(&statistics).min(i64::MAX as u64) as i64),
            }
        }
        let options = log.options();
        let [tail, block, index] = &self.caches;
        let lookups = statistics.tail_cache_lookups;
        tail.update(
            statistics.tail_cache_bytes,
            options.tail_cache_bytes,
            lookups,
        );
        let lookups = statistics.frame_cache_lookups;
        block.update(
            statistics.frame_cache_bytes,
            options.frame_cache_bytes,
            lookups,
        );
        let lookups = statistics.index_cache_lookups;
        index.update(
            statistics.index_cache_bytes,
            options.index_cache_bytes,
            lookups,
        );
        if statistics.checkpoints != self.checkpoint.0 {
            self.checkpoint = (statistics.checkpoints, now_us);
        }
        let age_us = now_us.saturating_sub(self.checkpoint.1);
        self.checkpoint_age.set(age_us as i64);
    }
}

/// One shard's cells, and those of its logs.
pub struct ShardMetrics {
    partitions: Gauge,
    fetches_parked: Gauge,
    produces_waiting: Gauge,
    session_parts: Gauge,
    batches: Counter,
    records: Counter,
    bytes: Counter,
    refused: Counter,
    duplicates: Counter,
    rebuilt: Counter,
    fetched_bytes: Counter,
    producers_forgotten: Counter,
    strays_held: Gauge,
    /// By data directory.
    pub logs: Vec<LogMetrics>,
}

impl ShardMetrics {
    /// Of the shard of this number, with the folders of its logs.
    pub fn new(registry: &Registry, number: u16, folders: &[&Path], now_us: u64) -> Self {
        let labels = || vec![("shard", number.to_string())];
        let counter = |name, help| registry.counter(name, help, labels());
        let gauge = |name, help| registry.gauge(name, help, labels());
        Self {
            partitions: gauge("odradek_shard_partitions", "Partitions led"),
            fetches_parked: gauge(
                "odradek_shard_fetches_parked",
                "Fetches that wait for new records or their time",
            ),
            produces_waiting: gauge(
                "odradek_shard_produces_waiting",
                "Produce requests that wait for the disk or for replicas",
            ),
            session_parts: gauge(
                "odradek_shard_fetch_sessions",
                "Fetch sessions with partitions of this shard",
            ),
            batches: counter("odradek_shard_batches_appended", "Record batches appended"),
            records: counter("odradek_shard_records_appended", "Records appended"),
            bytes: counter(
                "odradek_shard_appended_bytes",
                "Bytes of record batches appended",
            ),
            refused: counter("odradek_shard_batches_refused", "Record batches refused"),
            duplicates: counter(
                "odradek_shard_batches_duplicate",
                "Record batches sent again by their producers, and not appended again",
            ),
            rebuilt: counter(
                "odradek_shard_batches_rebuilt",
                "Record batches whose bytes were changed before the append (compression.type, message.timestamp.type)",
            ),
            fetched_bytes: counter(
                "odradek_shard_fetched_bytes",
                "Bytes of record batches given to fetches",
            ),
            producers_forgotten: counter(
                "odradek_shard_producers_forgotten",
                "Idempotent producers forgotten by age or by the bound",
            ),
            strays_held: gauge(
                "odradek_shard_strays_held",
                "Replicas that the cluster's metadata does not name, kept until an operator sets odradek.strays.allow",
            ),
            logs: folders
                .iter()
                .map(|folder| LogMetrics::new(registry, folder, now_us))
                .collect(),
        }
    }

    /// Takes over what the shard and its logs count.
    pub fn update(&mut self, shard: &Shard, now_us: u64) {
        let statistics = shard.statistics();
        self.partitions.set(statistics.partitions as i64);
        self.fetches_parked.set(statistics.fetches_parked as i64);
        self.produces_waiting
            .set(statistics.produces_waiting as i64);
        self.session_parts.set(statistics.session_parts as i64);
        self.batches.set(statistics.batches_appended);
        self.records.set(statistics.records_appended);
        self.bytes.set(statistics.bytes_appended);
        self.refused.set(statistics.batches_refused);
        self.duplicates.set(statistics.batches_duplicate);
        self.rebuilt.set(statistics.batches_rebuilt);
        self.fetched_bytes.set(statistics.bytes_fetched);
        self.producers_forgotten.set(statistics.producers_forgotten);
        self.strays_held.set(statistics.strays_held as i64);
        for (directory, log) in self.logs.iter_mut().enumerate() {
            log.update(shard.log(directory), now_us);
        }
    }
}
