//! The command `metadata`: asks for the metadata of all topics again and again, and says how long the answers take and what
//! they cost the server. It makes the topics it lacks, so that 100,000 partitions are one command away.

use crate::PerfError;
use crate::client::Client;
use crate::process;
use crate::report::{Latency, ratio};
use hdrhistogram::Histogram;
use odradek_protocol::ApiKey;
use odradek_protocol::messages::MetadataRequest;
use serde::Serialize;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Partitions of one topic at most; a create of more would be refused as one operation.
const TOPIC_PARTITIONS: i32 = 1_000;
/// Answers that are not measured.
const WARM_UP_REQUESTS: u32 = 5;

/// What to do.
#[derive(Clone, Debug, clap::Args)]
pub struct MetadataOptions {
    /// A server of the cluster.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// Partitions to have at least, in topics of 1,000; topics that are missing are made.
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000, value_parser = clap::value_parser!(i32).range(1..=2_000_000))]
    pub partitions: i32,
    /// Requests to measure, one after the other on one connection.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub requests: u32,
    /// The server's process on this machine: its CPU is reported too.
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Print the report as one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct MetadataReport {
    /// Partitions that this program made sure of.
    pub partitions: i32,
    /// Version of Metadata.
    pub version: i16,
    /// Answers measured.
    pub requests: u64,
    /// Bytes of one answer.
    pub answer_bytes: usize,
    /// From the request's first byte to the answer's last one.
    pub latency: Latency,
    /// Milliseconds of the server's CPU for one answer, sending it included.
    pub server_cpu_ms: Option<f64>,
    /// Stopped before its end, by Ctrl-C.
    pub interrupted: bool,
}

/// Makes the topics and asks. `stop` ends it early.
///
/// # Errors
/// When a connection breaks or the server refuses a topic.
pub fn run(options: &MetadataOptions, stop: &AtomicBool) -> Result<MetadataReport, PerfError> {
    let mut client = Client::connect(&options.bootstrap)?;
    let mut left = options.partitions;
    let mut number = 0;
    while left > 0 && !stop.load(Ordering::Relaxed) {
        let partitions = left.min(TOPIC_PARTITIONS);
        client.ensure_topic(&format!("odradek-perf-metadata-{number:04}"), partitions)?;
        left -= partitions;
        number += 1;
    }
    let request = MetadataRequest {
        topics: None,
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let mut answer_bytes = 0;
    for _ in 0..WARM_UP_REQUESTS {
        answer_bytes = client.call_unread(ApiKey::Metadata, &request)?;
    }
    let mut latency_ns =
        Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are sound");
    let before = options.server_pid.map(process::usage).transpose()?;
    for _ in 0..options.requests {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        answer_bytes = client.call_unread(ApiKey::Metadata, &request)?;
        latency_ns.saturating_record(began.elapsed().as_nanos() as u64);
    }
    let after = options.server_pid.map(process::usage).transpose()?;
    let cpu_seconds = before
        .zip(after)
        .map(|(before, after)| after.cpu_seconds - before.cpu_seconds);
    Ok(MetadataReport {
        partitions: options.partitions,
        version: client.version(ApiKey::Metadata)?,
        requests: latency_ns.len(),
        answer_bytes,
        latency: Latency::of(&latency_ns),
        server_cpu_ms: cpu_seconds.map(|seconds| ratio(seconds * 1e3, latency_ns.len() as f64)),
        interrupted: stop.load(Ordering::Relaxed),
    })
}

impl fmt::Display for MetadataReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "metadata    {} partitions, {:.2} MB an answer (v{}), {} answers{}\nlatency     p50 {:.2} ms  p99 {:.2} ms  max {:.2} ms",
            self.partitions,
            self.answer_bytes as f64 / 1e6,
            self.version,
            self.requests,
            if self.interrupted {
                " (interrupted)"
            } else {
                ""
            },
            self.latency.p50_us / 1e3,
            self.latency.p99_us / 1e3,
            self.latency.max_us / 1e3,
        )?;
        match self.server_cpu_ms {
            Some(cpu_ms) => write!(to, "\nserver      {cpu_ms:.2} ms of CPU an answer"),
            None => Ok(()),
        }
    }
}
