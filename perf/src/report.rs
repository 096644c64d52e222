//! One run's figures, for people and as JSON. `load` and `fetch` make them; `figures` makes medians of them.

use crate::process::Usage;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What was asked of a produce run: two runs are comparable when these are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Consumers that fetch what is written; 0 when it is only produced.
    #[serde(default)]
    pub consumers: usize,
    /// Connections to the server that produce.
    pub connections: usize,
    /// Requests in hand on each.
    pub in_flight: usize,
    /// Partitions written in turn.
    pub partitions: i32,
    /// Batches in one request, each to a partition of its own.
    #[serde(default = "one")]
    pub partitions_per_request: u32,
    /// Bytes of a record batch as it is sent; of several, the mean.
    pub batch_bytes: usize,
    /// The same before compression, as asked for.
    #[serde(default)]
    pub batch_bytes_uncompressed: usize,
    /// Records in it.
    pub batch_records: usize,
    /// How the records are compressed: Kafka's name.
    #[serde(default = "no_compression")]
    pub compression: String,
    /// Distinct keys; 0 where records have none.
    #[serde(default)]
    pub keys: u64,
    /// Kafka's acks: -1 is all.
    pub acks: i16,
    /// Whether each connection is an idempotent producer.
    #[serde(default)]
    pub idempotent: bool,
    /// Requests due each second in an open loop; none in a closed one.
    #[serde(default)]
    pub requests_per_second: Option<f64>,
    /// Requests that may be late at one time in an open loop.
    #[serde(default)]
    pub backlog_max: Option<u64>,
    /// Version of the Produce request.
    pub produce_version: i16,
    /// Threads that made the load.
    pub threads: usize,
    /// Load before the measuring, seconds.
    pub warm_up_seconds: f64,
    /// Measuring as asked for, seconds.
    pub seconds: f64,
}

fn one() -> u32 {
    1
}

fn no_compression() -> String {
    "none".into()
}

/// What consumers got of what was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArrivalFigures {
    /// From when a request was due (in a closed loop: handed to its connection) up to its batch's arrival at the consumer.
    pub latency: Latency,
    /// Batches that arrived, from the start on.
    pub batches: u64,
    /// Batches that were stored and did not arrive, though they were waited for.
    pub missing_batches: u64,
    /// Fetch requests it took.
    pub fetch_requests: u64,
}

/// How far an open loop fell behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLoop {
    /// The most requests that were due and not on their way at one time, from the start on.
    pub backlog_requests_max: u64,
    /// Requests given up since they were too late: their times are in no figure.
    pub given_up_requests: u64,
    /// Requests still late when the measuring ended: their times count as far as they had come.
    pub unsent_requests: u64,
}

/// Times from when a request was due (in a closed loop: handed to its connection) up to its answer, microseconds.
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

    /// One line, for a run of so many seconds.
    pub fn show(&self, seconds: f64) -> String {
        format!(
            "{:.2} CPU s/GB ({:.1} % of a core)  resident {} MiB (peak {})  disk {:.2} bytes per byte",
            self.cpu_seconds_per_gigabyte,
            100.0 * ratio(self.cpu_seconds, seconds),
            self.resident_bytes >> 20,
            self.resident_peak_bytes >> 20,
            self.disk_bytes_per_byte,
        )
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
    /// How long they took, those included that were on their way when the measuring ended.
    pub latency: Latency,
    /// What consumers got, in an end-to-end run.
    #[serde(default)]
    pub arrivals: Option<ArrivalFigures>,
    /// How far an open loop fell behind.
    #[serde(default)]
    pub open_loop: Option<OpenLoop>,
    /// Refusals by the name of Kafka's error, since the warm-up.
    pub errors: BTreeMap<String, u64>,
    /// Refusals during the warm-up.
    #[serde(default)]
    pub warm_up_errors: BTreeMap<String, u64>,
    /// Batches stored from the start to the end of the run, warm-up included.
    pub stored_batches: u64,
    /// Our own processor time while measuring, seconds: the load shares the machine.
    pub load_cpu_seconds: f64,
    /// The same for each request, microseconds.
    #[serde(default)]
    pub load_cpu_us_per_request: f64,
    /// The server's cost, where its process was named.
    pub server: Option<ServerCost>,
    /// Stopped before its time, by Ctrl-C.
    pub interrupted: bool,
}

impl LoadReport {
    /// Whether batches were refused since the warm-up, or stored and then lost.
    pub fn has_errors(&self) -> bool {
        let missing = |arrivals: &ArrivalFigures| arrivals.missing_batches > 0;
        !self.errors.is_empty() || self.arrivals.as_ref().is_some_and(missing)
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.consumers > 0 {
            write!(to, "{} consumers, ", self.consumers)?;
        }
        write!(
            to,
            "{} connections x {} in flight, {} partitions, ",
            self.connections, self.in_flight, self.partitions
        )?;
        if self.partitions_per_request > 1 {
            write!(to, "{} in each request, ", self.partitions_per_request)?;
        }
        write!(
            to,
            "batches of {} bytes ({} records), ",
            self.batch_bytes, self.batch_records
        )?;
        if self.compression != "none" {
            let uncompressed = self.batch_bytes_uncompressed;
            write!(to, "{} of {uncompressed} bytes, ", self.compression)?;
        }
        if self.keys > 0 {
            write!(to, "{} keys, ", self.keys)?;
        }
        match self.acks {
            -1 => write!(to, "acks all, ")?,
            acks => write!(to, "acks {acks}, ")?,
        }
        if self.idempotent {
            write!(to, "idempotent, ")?;
        }
        if let Some(rate) = self.requests_per_second {
            write!(to, "{rate} requests/s due, ")?;
        }
        write!(to, "Produce version {}", self.produce_version)
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{}", self.conditions)?;
        writeln!(
            to,
            "throughput  {:>10.0} requests/s  {:>8.1} MB/s  over {:.2} s{}",
            self.requests_per_second,
            self.megabytes_per_second,
            self.measured_seconds,
            interrupted(self.interrupted),
        )?;
        let measured = match self.conditions.acks {
            0 => "  (until the kernel had them)",
            _ => "",
        };
        writeln!(to, "latency     {}{measured}", self.latency)?;
        if let Some(arrivals) = &self.arrivals {
            writeln!(to, "arrivals    {arrivals}")?;
        }
        if let Some(open_loop) = &self.open_loop {
            writeln!(to, "open loop   {open_loop}")?;
        }
        if let Some(server) = &self.server {
            writeln!(to, "server      {}", server.show(self.measured_seconds))?;
        }
        writeln!(
            to,
            "load        {:.0} % of a core, {:.2} us a request",
            100.0 * ratio(self.load_cpu_seconds, self.measured_seconds),
            self.load_cpu_us_per_request,
        )?;
        write!(to, "stored      {} batches in all; ", self.stored_batches)?;
        match self.errors.is_empty() {
            true => write!(to, "no errors")?,
            false => write!(to, "ERRORS: {}", listed(&self.errors))?,
        }
        match self.warm_up_errors.is_empty() {
            true => Ok(()),
            false => write!(
                to,
                " (during the warm-up: {})",
                listed(&self.warm_up_errors)
            ),
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
            time(self.p50_us),
            time(self.p90_us),
            time(self.p99_us),
            time(self.p99_9_us),
            time(self.max_us),
        )
    }
}

impl fmt::Display for ArrivalFigures {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "{}  ({} batches by {} fetches)",
            self.latency, self.batches, self.fetch_requests
        )?;
        match self.missing_batches {
            0 => Ok(()),
            missing => write!(to, "  {missing} BATCHES MISSING"),
        }
    }
}

impl fmt::Display for OpenLoop {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = self.backlog_requests_max;
        write!(to, "at most {late} requests late at one time")?;
        if self.unsent_requests > 0 {
            write!(to, "; {} still late at the end", self.unsent_requests)?;
        }
        if self.given_up_requests > 0 {
            let given_up = self.given_up_requests;
            write!(to, "; BACKLOG FULL: {given_up} given up and in no figure")?;
        }
        Ok(())
    }
}

fn listed(errors: &BTreeMap<String, u64>) -> String {
    let errors = errors
        .iter()
        .map(|(name, count)| format!("{count} x {name}"));
    errors.collect::<Vec<_>>().join(", ")
}

/// A word for a run that Ctrl-C ended.
pub(crate) fn interrupted(interrupted: bool) -> &'static str {
    if interrupted { " (interrupted)" } else { "" }
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
