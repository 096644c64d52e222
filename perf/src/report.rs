//! One run's figures, for people and as JSON. `load` and `fetch` make them; `summary` reads them back.

use crate::process::Usage;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What was asked of a produce run: two runs are comparable when these are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Connections to the server.
    pub connections: usize,
    /// Requests in hand on each.
    pub in_flight: usize,
    /// Partitions written in turn.
    pub partitions: i32,
    /// Bytes of the record batch in a request.
    pub batch_bytes: usize,
    /// Records in it.
    pub batch_records: usize,
    /// Kafka's acks: -1 is all.
    pub acks: i16,
    /// Version of the Produce request.
    pub produce_version: i16,
    /// Threads that made the load.
    pub threads: usize,
    /// Load before the measuring, seconds.
    pub warm_up_seconds: f64,
    /// Measuring as asked for, seconds.
    pub seconds: f64,
}

/// Times from handing a request to its connection up to its answer, microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Latency {
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p99_9_us: f64,
    pub max_us: f64,
}

impl Latency {
    /// Of a histogram in nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Latency {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: if histogram.is_empty() {
                0.0
            } else {
                histogram.max() as f64 / 1e3
            },
        }
    }
}

/// What the server used while measuring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerCost {
    /// Its process.
    pub pid: u32,
    /// Processor time, user and kernel, seconds.
    pub cpu_seconds: f64,
    /// The same for each 10^9 bytes of batches.
    pub cpu_seconds_per_gigabyte: f64,
    /// Memory resident at the end, bytes.
    pub resident_bytes: u64,
    /// The most memory ever resident, bytes.
    pub resident_peak_bytes: u64,
    /// Bytes it caused to be written to storage.
    pub disk_write_bytes: u64,
    /// The same for each byte of batches.
    pub disk_bytes_per_byte: f64,
}

impl ServerCost {
    /// The difference of two readings, over `bytes` of payload.
    pub fn between(pid: u32, before: &Usage, after: &Usage, bytes: u64) -> Self {
        let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
        let disk_write_bytes = after
            .disk_write_bytes
            .saturating_sub(before.disk_write_bytes);
        ServerCost {
            pid,
            cpu_seconds,
            cpu_seconds_per_gigabyte: ratio(cpu_seconds * 1e9, bytes as f64),
            resident_bytes: after.resident_bytes,
            resident_peak_bytes: after.resident_peak_bytes,
            disk_write_bytes,
            disk_bytes_per_byte: ratio(disk_write_bytes as f64, bytes as f64),
        }
    }
}

/// One produce run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Words given with --label, such as which server and which round.
    pub labels: BTreeMap<String, String>,
    /// What was asked for.
    pub conditions: Conditions,
    /// HOST:PORT of the server.
    pub server_address: String,
    /// The topic written.
    pub topic: String,
    /// How long was measured, seconds.
    pub measured_seconds: f64,
    /// Requests stored in that time.
    pub requests: u64,
    /// Requests stored each second.
    pub requests_per_second: f64,
    /// 10^6 bytes of batches each second.
    pub megabytes_per_second: f64,
    /// How long they took.
    pub latency: Latency,
    /// Refusals by the name of Kafka's error, since the warm-up.
    pub errors: BTreeMap<String, u64>,
    /// Refusals during the warm-up.
    #[serde(default)]
    pub warm_up_errors: BTreeMap<String, u64>,
    /// Batches stored from the start to the end of the run, warm-up included.
    pub stored_batches: u64,
    /// Our own processor time while measuring, seconds: the load shares the machine.
    pub load_cpu_seconds: f64,
    /// The server's cost, where its process was named.
    pub server: Option<ServerCost>,
    /// Stopped before its time, by Ctrl-C.
    pub interrupted: bool,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = &self.conditions;
        writeln!(
            to,
            "{} connections x {} in flight, {} partitions, batches of {} bytes ({} records), acks {}, Produce version {}",
            asked.connections,
            asked.in_flight,
            asked.partitions,
            asked.batch_bytes,
            asked.batch_records,
            if asked.acks == -1 {
                "all".to_string()
            } else {
                asked.acks.to_string()
            },
            asked.produce_version,
        )?;
        writeln!(
            to,
            "throughput  {:>10.0} requests/s  {:>8.1} MB/s  over {:.2} s{}",
            self.requests_per_second,
            self.megabytes_per_second,
            self.measured_seconds,
            if self.interrupted {
                " (interrupted)"
            } else {
                ""
            },
        )?;
        let latency = &self.latency;
        writeln!(
            to,
            "latency     p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
            time(latency.p50_us),
            time(latency.p90_us),
            time(latency.p99_us),
            time(latency.p99_9_us),
            time(latency.max_us),
        )?;
        if let Some(server) = &self.server {
            writeln!(
                to,
                "server      {:.2} CPU s/GB ({:.0} % of a core)  resident {} MiB (peak {})  disk {:.2} bytes per byte",
                server.cpu_seconds_per_gigabyte,
                100.0 * ratio(server.cpu_seconds, self.measured_seconds),
                server.resident_bytes >> 20,
                server.resident_peak_bytes >> 20,
                server.disk_bytes_per_byte,
            )?;
        }
        writeln!(
            to,
            "load        {:.0} % of a core",
            100.0 * ratio(self.load_cpu_seconds, self.measured_seconds)
        )?;
        write!(to, "stored      {} batches in all; ", self.stored_batches)?;
        let listed = |errors: &BTreeMap<String, u64>| {
            let errors = errors
                .iter()
                .map(|(name, count)| format!("{count} x {name}"));
            errors.collect::<Vec<_>>().join(", ")
        };
        match self.errors.is_empty() {
            true => write!(to, "no errors")?,
            false => write!(to, "ERRORS: {}", listed(&self.errors))?,
        }
        if self.warm_up_errors.is_empty() {
            return Ok(());
        }
        write!(
            to,
            " (during the warm-up: {})",
            listed(&self.warm_up_errors)
        )
    }
}

/// A time in the unit that reads best.
fn time(microseconds: f64) -> String {
    if microseconds < 10_000.0 {
        format!("{microseconds:.0} us")
    } else {
        format!("{:.1} ms", microseconds / 1e3)
    }
}

/// `a / b`, and 0 where there is no `b`.
pub(crate) fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}
