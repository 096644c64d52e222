//! What one data loop counts of itself, of its ring and of its sockets; `metrics.rs` has the cells and writes them out.

use std::path::{Path, PathBuf};

use super::completion::RingCounts;
use super::metrics::{Counter, Gauge, Histogram, Labels, Registry};

/// What one loop counts of its sockets.
pub(super) struct SocketMetrics {
    pub(super) open: Gauge,
    pub(super) opened: Counter,
    pub(super) closed: Counter,
    pub(super) refused: Counter,
    pub(super) accept_errors: Counter,
    pub(super) closed_idle: Counter,
    pub(super) closed_stalled: Counter,
    pub(super) closed_bad_size: Counter,
    pub(super) frames: Counter,
    pub(super) sends: Counter,
    pub(super) sends_zero_copy: Counter,
    pub(super) sends_zero_copy_copied: Counter,
    pub(super) received_bytes: Counter,
    pub(super) sent_bytes: Counter,
    pub(super) queue_stops: Counter,
    pub(super) memory_stops: Counter,
    pub(super) receive_buffers_exhausted: Counter,
}

impl SocketMetrics {
    pub(super) fn new(registry: &Registry, core: u16) -> Self {
        let counter = |name, help| registry.counter(name, help, core_label(core));
        Self {
            open: registry.gauge(
                "odradek_connections_open",
                "Connections open",
                core_label(core),
            ),
            opened: counter("odradek_connections_opened", "Connections opened"),
            closed: counter("odradek_connections_closed", "Connections closed"),
            refused: counter(
                "odradek_connections_refused",
                "Connections closed at once by a limit",
            ),
            accept_errors: counter("odradek_accept_errors", "Accepts that failed"),
            closed_idle: counter("odradek_connections_closed_idle", "Closed for being idle"),
            closed_stalled: counter(
                "odradek_connections_closed_stalled",
                "Closed because the peer made no progress",
            ),
            closed_bad_size: counter(
                "odradek_connections_closed_bad_size",
                "Closed for a frame size out of range",
            ),
            frames: counter("odradek_frames_received", "Requests received"),
            sends: counter("odradek_sends", "Send operations"),
            sends_zero_copy: counter(
                "odradek_sends_zero_copy",
                "Send operations that lent their memory to the kernel instead of a copy",
            ),
            sends_zero_copy_copied: counter(
                "odradek_sends_zero_copy_copied",
                "Of these, those that the kernel copied after all; the connection then copies at once",
            ),
            received_bytes: counter("odradek_received_bytes", "Bytes received"),
            sent_bytes: counter("odradek_sent_bytes", "Bytes sent"),
            queue_stops: counter(
                "odradek_read_stops_queue",
                "Times a connection was not read because of its queue",
            ),
            memory_stops: counter(
                "odradek_read_stops_memory",
                "Times a connection was not read because of held bytes",
            ),
            receive_buffers_exhausted: counter(
                "odradek_receive_buffers_exhausted",
                "Receives that paused for lack of buffers",
            ),
        }
    }
}

/// What one loop counts of itself.
pub(super) struct LoopMetrics {
    pub(super) turns: Counter,
    pub(super) parks: Counter,
    pub(super) doorbells: Counter,
    pub(super) wake_ups_lost: Counter,
    pub(super) letters: Counter,
    pub(super) turn_time: Histogram,
    pub(super) stalls: Counter,
    pub(super) held_bytes: Gauge,
    pub(super) disk_operations: Counter,
    pub(super) disk_time: Histogram,
    /// By log of this core.
    pub(super) durable_time: Vec<Histogram>,
    pub(super) disk_errors: Counter,
    pub(super) background_jobs: Counter,
    pub(super) background_waiting: Gauge,
    pub(super) mail_waiting: Gauge,
    pub(super) send_queue_bytes: Gauge,
    ring_submissions: Counter,
    ring_completions: Counter,
    ring_enters: Counter,
    ring_overflows: Counter,
    ring_in_flight: Gauge,
}

impl LoopMetrics {
    pub(super) fn new(registry: &Registry, core: u16, logs: &[PathBuf]) -> Self {
        let counter = |name, help| registry.counter(name, help, core_label(core));
        let gauge = |name, help| registry.gauge(name, help, core_label(core));
        let histogram = |name, help| registry.histogram(name, help, core_label(core));
        Self {
            turns: counter("odradek_loop_turns", "Turns of the data loop"),
            parks: counter("odradek_loop_parks", "Times the data loop slept"),
            doorbells: counter("odradek_loop_doorbells", "Other loops woken"),
            wake_ups_lost: counter(
                "odradek_loop_wake_ups_lost",
                "Times the loop slept its time out with mail waiting and nobody rang",
            ),
            letters: counter("odradek_loop_mail", "Messages taken from other cores"),
            turn_time: histogram(
                "odradek_loop_turn_seconds",
                "Time of a turn without its sleep",
            ),
            stalls: counter("odradek_loop_stalls", "Turns longer than 10 ms"),
            held_bytes: gauge("odradek_request_bytes_held", "Bytes of requests in memory"),
            disk_operations: counter("odradek_disk_operations", "Disk operations of logs"),
            disk_time: histogram(
                "odradek_disk_operation_seconds",
                "Time of a disk operation on the loop's io_uring",
            ),
            durable_time: durable_times(registry, logs),
            disk_errors: counter("odradek_disk_errors", "Disk operations that failed"),
            background_jobs: counter(
                "odradek_background_jobs",
                "Jobs given to the background thread",
            ),
            background_waiting: gauge(
                "odradek_background_waiting",
                "Jobs that wait for a place with the background thread",
            ),
            mail_waiting: gauge(
                "odradek_mail_waiting",
                "Messages that wait for a place in another core's mailbox",
            ),
            send_queue_bytes: gauge(
                "odradek_send_queue_bytes",
                "Bytes of answers that wait for their clients to take them",
            ),
            ring_submissions: counter(
                "odradek_ring_submissions",
                "Operations given to the loop's io_uring",
            ),
            ring_completions: counter(
                "odradek_ring_completions",
                "Completions taken from the loop's io_uring",
            ),
            ring_enters: counter(
                "odradek_ring_enters",
                "Times the loop entered the kernel, its only system call while it is busy",
            ),
            ring_overflows: counter(
                "odradek_ring_overflows",
                "Times completions lay beyond the queue of the loop's io_uring",
            ),
            ring_in_flight: gauge(
                "odradek_ring_operations_in_flight",
                "Sends and disk operations under way on the loop's io_uring",
            ),
        }
    }

    /// Takes over what the ring counted.
    pub(super) fn ring(&self, counts: RingCounts) {
        self.ring_submissions.set(counts.submitted);
        self.ring_completions.set(counts.completed);
        self.ring_enters.set(counts.enters);
        self.ring_overflows.set(counts.overflows);
        self.ring_in_flight.set(counts.in_flight as i64);
    }
}

fn durable_times(registry: &Registry, logs: &[PathBuf]) -> Vec<Histogram> {
    let one = |folder: &PathBuf| {
        registry.histogram(
            "odradek_log_durable_write_seconds",
            "Time of a group commit, from its write to its bytes being on stable storage",
            log_labels(folder),
        )
    };
    logs.iter().map(one).collect()
}

/// How metrics name a log: by its data directory and its folder there, `shard-0` or, two folders down, `__cluster_metadata-0/log`.
pub fn log_labels(folder: &Path) -> Labels {
    let parent = folder.parent().unwrap_or(Path::new(""));
    let directory = match parent.file_name() {
        Some(name) if name.to_string_lossy().starts_with("__") => parent.parent(),
        _ => Some(parent),
    };
    let directory = directory.unwrap_or(Path::new(""));
    let log = folder.strip_prefix(directory).unwrap_or(folder);
    vec![
        ("directory", directory.display().to_string()),
        ("log", log.display().to_string()),
    ]
}

fn core_label(core: u16) -> Labels {
    vec![("core", core.to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_named_by_directory_and_folder() {
        let named = |path: &str| {
            let labels = log_labels(Path::new(path));
            labels.into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        };
        assert_eq!(named("/data/a/shard-1"), ["/data/a", "shard-1"]);
        let metadata = named("/data/a/__cluster_metadata-0/log");
        assert_eq!(metadata, ["/data/a", "__cluster_metadata-0/log"]);
    }
}
