//! What the operating system says of this process, for `/metrics`: read from `/proc` at each scrape, on the background thread.
//!
//! The kernel's own threads of a ring (`iou-wrk-...`) are counted here too: they take over what the kernel could not do without blocking, and a
//! data loop that needs them often pays for it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use super::metrics::{Counter, Gauge, Registry};

/// The process's cells. Names are those that Prometheus's own libraries use.
#[derive(Debug)]
pub struct ProcessMetrics {
    cpu: Counter,
    resident: Gauge,
    virtual_size: Gauge,
    open_files: Gauge,
    open_files_max: Gauge,
    threads: Gauge,
    ring_workers: Gauge,
    ring_worker_runs: Counter,
    ring_worker_cpu: Counter,
    /// Runs and processor ticks of each worker as last seen.
    seen: Mutex<BTreeMap<u32, (u64, u64)>>,
}

impl ProcessMetrics {
    /// Registers the cells; the start of the process is now.
    pub fn new(registry: &Registry) -> Self {
        let none = Vec::new;
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        registry
            .gauge_of_time(
                "process_start_time_seconds",
                "When the process started, in seconds since 1970",
                none(),
            )
            .set(started.map_or(0, |since| since.as_micros() as i64));
        let gauge = |name, help| registry.gauge(name, help, none());
        Self {
            cpu: registry.counter_of_time(
                "process_cpu_seconds",
                "Processor time the process used, its own and the kernel's for it",
                none(),
            ),
            resident: gauge("process_resident_memory_bytes", "Memory in use"),
            virtual_size: gauge("process_virtual_memory_bytes", "Address space in use"),
            open_files: gauge("process_open_fds", "Open files, connections included"),
            open_files_max: gauge(
                "process_max_fds",
                "Files and connections that may be open (ulimit -n)",
            ),
            threads: gauge("process_threads", "Threads, the kernel's workers included"),
            ring_workers: gauge(
                "odradek_ring_workers",
                "Threads of the kernel that do what an io_uring could not do without blocking",
            ),
            ring_worker_runs: registry.counter(
                "odradek_ring_worker_runs",
                "Times such threads went to sleep after work, as far as scrapes saw them: operations that were taken off a data loop",
                none(),
            ),
            ring_worker_cpu: registry.counter_of_time(
                "odradek_ring_worker_cpu_seconds",
                "Processor time of such threads, as far as scrapes saw them",
                none(),
            ),
            seen: Mutex::default(),
        }
    }

    /// Reads everything anew. What cannot be read keeps its value.
    pub fn refresh(&self) {
        if let Ok(stat) = fs::read_to_string("/proc/self/stat") {
            self.cpu.set(ticks_us(processor_ticks(&stat)));
        }
        let page_bytes = rustix::param::page_size() as i64;
        if let Ok(pages) = fs::read_to_string("/proc/self/statm") {
            let mut pages = pages.split_whitespace().map(|number| number.parse::<i64>());
            if let (Some(Ok(size)), Some(Ok(resident))) = (pages.next(), pages.next()) {
                self.virtual_size.set(size * page_bytes);
                self.resident.set(resident * page_bytes);
            }
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // Reading the folder takes one itself.
            self.open_files.set(files.count() as i64 - 1);
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        self.open_files_max
            .set(limit.map_or(i64::MAX, |limit| limit as i64));
        self.refresh_threads();
    }

    fn refresh_threads(&self) {
        let Ok(threads) = fs::read_dir("/proc/self/task") else {
            return;
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut count, mut workers) = (0, BTreeMap::new());
        for thread in threads.flatten() {
            count += 1;
            let folder = thread.path();
            let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
            let number = thread.file_name().to_string_lossy().parse::<u32>();
            let (true, Ok(number)) = (name.starts_with("iou-wrk"), number) else {
                continue;
            };
            let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
            let runs = switches(&read("status"));
            let ticks = processor_ticks(&read("stat"));
            let (runs_before, ticks_before) = seen.get(&number).copied().unwrap_or_default();
            self.ring_worker_runs.add(runs.saturating_sub(runs_before));
            self.ring_worker_cpu
                .add(ticks_us(ticks.saturating_sub(ticks_before)));
            workers.insert(number, (runs, ticks));
        }
        self.threads.set(count);
        self.ring_workers.set(workers.len() as i64);
        *seen = workers;
    }
}

/// Ticks of the processor in user and kernel mode, of the line that `/proc/.../stat` is. The name in it may hold blanks and brackets.
fn processor_ticks(stat: &str) -> u64 {
    let Some((_, fields)) = stat.rsplit_once(')') else {
        return 0;
    };
    let ticks = |index: usize| -> u64 {
        let field = fields.split_whitespace().nth(index);
        field.and_then(|field| field.parse().ok()).unwrap_or(0)
    };
    ticks(11) + ticks(12)
}

fn ticks_us(ticks: u64) -> u64 {
    ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1)
}

/// Times a thread went to sleep of its own.
fn switches(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "42 (a ) (b) S 1 2 3 4 5 6 7 8 9 10 100 23 0 0";
        assert_eq!(processor_ticks(stat), 123);
        assert_eq!(processor_ticks(""), 0);
    }

    #[test]
    fn this_process_is_found() {
        let registry = Registry::default();
        let metrics = ProcessMetrics::new(&registry);
        metrics.refresh();
        assert!(metrics.resident.get() > 1 << 20);
        assert!(metrics.threads.get() >= 1 && metrics.open_files.get() >= 3);
        let text = registry.text();
        assert!(
            text.contains("# TYPE process_cpu_seconds counter"),
            "{text}"
        );
        assert!(text.contains("process_start_time_seconds "), "{text}");
    }
}
