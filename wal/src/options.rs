//! What the shell decides for a log: identity, sizes, bounds, times. Defaults are for a production node.

use crate::types::{DirectoryId, RetentionPolicy};

/// Options of one log. The first five are compared with the superblock at recovery.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Cluster id, at most 64 bytes.
    pub cluster_id: String,
    /// Node id.
    pub node_id: i32,
    /// Id of the data directory the folder lies in.
    pub directory_id: DirectoryId,
    /// This shard's number, from 0.
    pub shard: u32,
    /// Shards of the node.
    pub shards: u32,
    /// Bytes of a segment, used by `format` only (later the superblock's): a multiple of 4096, 64 KiB to 256 MiB.
    /// See `segment_bytes_for`.
    pub segment_bytes: u64,
    /// Segments that `format` makes at once; more come with need, while the file system has room.
    pub format_segments: u32,
    /// What this shard may use of its directory.
    pub directory_bytes_max: u64,
    /// Entropy from the operating system, fresh at every start: nonces and hash seeds come from it.
    pub seed: u64,
    /// A write is closed when it holds this much (a larger batch gets a write of its own).
    pub write_bytes_max: usize,
    /// Bytes that may wait behind the write in flight; more is refused with `Busy`.
    pub pending_bytes_max: usize,
    /// Issue a write at the append when none is in flight. With `false` the caller calls `Log::commit` once per turn, which gathers
    /// all of the turn's appends into one write.
    pub commit_on_append: bool,
    /// A small write may wait up to 200 µs for those who were answered just before, on a device that is slow enough for that to pay; the
    /// caller then calls `Log::commit` again at `Log::commit_due_us`. With `false` none waits.
    pub gather_writes: bool,
    /// After this much quiet a seal block records the durable LSN.
    pub quiet_ms: u64,
    /// A write outstanding for longer refuses appends.
    pub slow_write_ms: u64,
    /// A write outstanding for longer puts the directory offline.
    pub stuck_write_ms: u64,
    /// Bound of the tail cache: whole write buffers, oldest out first.
    pub tail_cache_bytes: usize,
    /// Bound of the cache of what was read from disk.
    pub frame_cache_bytes: usize,
    /// Bound of the cache of footer pages.
    pub index_cache_bytes: usize,
    /// Bound of the cache of pages of older extents.
    pub extent_cache_bytes: usize,
    /// Bound of what is kept in memory of older extents until a checkpoint base takes it in: at half of it a base is due, and past it
    /// appends are refused with `Busy` until one holds.
    pub upper_extent_bytes_max: u64,
    /// At so much of the shard's own pages in memory, a checkpoint base is due that takes them out of it.
    pub cold_bytes_max: u64,
    /// A read from disk reads ahead this much at first, doubling for a cursor that goes on.
    pub read_ahead_bytes_min: usize,
    /// And at most this much.
    pub read_ahead_bytes_max: usize,
    /// Reads that may wait; more are answered `Busy`.
    pub reads_waiting_max: usize,
    /// Disk reads outstanding at most, with no durable write in flight.
    pub reads_outstanding_max: usize,
    /// Disk reads outstanding at most while a durable write is in flight.
    pub reads_outstanding_under_write_max: usize,
    /// A checkpoint is due after this many bytes of log.
    pub checkpoint_interval_bytes: u64,
    /// A base is written when this many deltas lie on the old one, or more bytes than it has.
    pub checkpoint_deltas_max: usize,
    /// Every replica's retention is looked at once in this time.
    pub retention_check_interval_ms: u64,
    /// For replicas without `set_retention`.
    pub default_retention: RetentionPolicy,
    /// A step of wall against monotonic time beyond this freezes deletions.
    pub clock_step_ms_max: i64,
    /// A start later than this past the last record of the log freezes deletions.
    pub boot_gap_ms_max: i64,
    /// Segments are rewritten when more than this share of their bytes is dead, in percent; 100 or more: never.
    pub rewrite_dead_percent_min: u64,
    /// A segment with so few extents counts as clustered, and is never moved for it.
    pub clustered_extents_max: u32,
    /// Clustering begins at this many unclustered segments (of several expiry classes; in quiet time of one as well), and takes up to 64
    /// together.
    pub unclustered_segments_min: usize,
    /// Under load, rewriting writes at most this share of what group commits write, in percent.
    pub rewrite_ingest_percent: u64,
    /// But it may always write so much: a device hardly notices, and a trickle of appends is no load.
    pub rewrite_bytes_per_second_min: u64,
    /// An edit moves this many extents at most, and one step logs one edit.
    pub edit_extents_max: usize,
    /// Producers are throttled when the debt of rewriting passes this much time at its present rate.
    pub rewrite_debt_ms_max: u64,
    /// Every sealed segment is read and verified once in this time; 0: never.
    pub scrub_period_ms: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            cluster_id: String::new(),
            node_id: 0,
            directory_id: DirectoryId([0; 16]),
            shard: 0,
            shards: 1,
            segment_bytes: 32 << 20,
            format_segments: 2,
            directory_bytes_max: 64 << 30,
            seed: 0,
            write_bytes_max: 1 << 20,
            pending_bytes_max: 8 << 20,
            commit_on_append: true,
            gather_writes: false,
            quiet_ms: 100,
            slow_write_ms: 2_000,
            stuck_write_ms: 10_000,
            tail_cache_bytes: 256 << 20,
            frame_cache_bytes: 128 << 20,
            index_cache_bytes: 64 << 20,
            extent_cache_bytes: 32 << 20,
            upper_extent_bytes_max: 64 << 20,
            cold_bytes_max: 32 << 20,
            read_ahead_bytes_min: 256 << 10,
            read_ahead_bytes_max: 4 << 20,
            reads_waiting_max: 65_536,
            reads_outstanding_max: 32,
            reads_outstanding_under_write_max: 8,
            checkpoint_interval_bytes: 256 << 20,
            checkpoint_deltas_max: 32,
            retention_check_interval_ms: 300_000,
            default_retention: RetentionPolicy::KEEP,
            clock_step_ms_max: 5 * 60_000,
            boot_gap_ms_max: 7 * 86_400_000,
            rewrite_dead_percent_min: 50,
            clustered_extents_max: 16,
            unclustered_segments_min: 32,
            rewrite_ingest_percent: 30,
            rewrite_bytes_per_second_min: 8 << 20,
            edit_extents_max: 256,
            rewrite_debt_ms_max: 600_000,
            scrub_period_ms: 14 * 86_400_000,
        }
    }
}

/// The segment size for a directory: limit / 2,048 / shards, between 32 MiB and 256 MiB, a multiple of 1 MiB.
#[must_use]
pub fn segment_bytes_for(directory_bytes_max: u64, shards: u32) -> u64 {
    let share = directory_bytes_max / 2_048 / u64::from(shards.max(1));
    share.clamp(32 << 20, 256 << 20) & !((1 << 20) - 1)
}
