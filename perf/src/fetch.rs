//! The command `fetch`: reads a topic from its start to its end over a few connections, and checks that offsets follow on
//! each other and that every batch is whole. `load` wrote it.

use crate::PerfError;
use crate::client::{Client, Topic, refuse};
use crate::process;
use crate::report::{ServerCost, ratio};
use odradek_protocol::ApiKey;
use odradek_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use odradek_protocol::messages::fetch_response::PartitionData;
use odradek_protocol::messages::{FetchRequest, FetchResponse};
use odradek_protocol::records::{Batches, verify_crc};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What to do.
#[derive(Clone, Debug, clap::Args)]
pub struct FetchOptions {
    /// A server of the cluster.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// The topic to read.
    #[arg(long, default_value = "odradek-perf")]
    pub topic: String,
    /// Connections; the partitions are shared out among them, each with one request in hand.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub connections: u16,
    /// Bytes asked for in one request.
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20)]
    pub max_bytes: i32,
    /// Bytes asked for from each partition.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub partition_max_bytes: i32,
    /// Trust the checksums: read only the batches' headers.
    #[arg(long)]
    pub no_verify: bool,
    /// The server's process on this machine: its CPU, memory and disk writes are reported too.
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Print the report as one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// No progress on standard error.
    #[arg(long)]
    pub quiet: bool,
}

/// One reading of a topic.
#[derive(Clone, Debug, Serialize)]
pub struct FetchReport {
    /// The topic read.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Batches read.
    pub batches: u64,
    /// Records in them, by their headers.
    pub records: u64,
    /// Bytes of batches read.
    pub bytes: u64,
    /// 10^6 of those each second.
    pub megabytes_per_second: f64,
    /// Requests it took.
    pub requests: u64,
    /// Gaps in the offsets and broken batches.
    pub problems: u64,
    /// The first of them, in words.
    pub first_problem: Option<String>,
    /// The server's cost, where its process was named.
    pub server: Option<ServerCost>,
    /// Stopped before its end, by Ctrl-C.
    pub interrupted: bool,
}

#[derive(Debug, Default)]
struct Counted {
    batches: u64,
    records: u64,
    bytes: u64,
    requests: u64,
    problems: u64,
    first_problem: Option<String>,
}

impl Counted {
    fn problem(&mut self, what: String) {
        self.problems += 1;
        self.first_problem.get_or_insert(what);
    }

    fn add(&mut self, other: Counted) {
        self.batches += other.batches;
        self.records += other.records;
        self.bytes += other.bytes;
        self.requests += other.requests;
        self.problems += other.problems;
        self.first_problem = self.first_problem.take().or(other.first_problem);
    }
}

/// Reads the topic. `stop` ends it early.
///
/// # Errors
/// When the topic is not there, a connection breaks, or the server refuses; damage is counted instead.
pub fn run(options: &FetchOptions, stop: &AtomicBool) -> Result<FetchReport, PerfError> {
    let topic = Client::connect(&options.bootstrap)?.existing_topic(&options.topic)?;
    let before = options.server_pid.map(process::usage).transpose()?;
    let began = Instant::now();
    let readers = i32::from(options.connections).min(topic.partitions);
    let (bytes_read, running) = (AtomicU64::new(0), AtomicU64::new(readers as u64));
    let counted = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..readers)
            .map(|first| {
                let (topic, bytes_read, running) = (&topic, &bytes_read, &running);
                scope.spawn(move || {
                    let mut reader = PartitionsReader::new(options, topic, first, readers);
                    let result = reader.run(bytes_read, stop);
                    running.fetch_sub(1, Ordering::Release);
                    result.map(|()| reader.counted)
                })
            })
            .collect();
        show_progress(options, &bytes_read, &running);
        let mut sum = Counted::default();
        for handle in handles {
            sum.add(handle.join().expect("a reading thread does not panic")?);
        }
        Ok::<_, PerfError>(sum)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let after = options.server_pid.map(process::usage).transpose()?;
    let server = match (options.server_pid, before, after) {
        (Some(pid), Some(before), Some(after)) => {
            Some(ServerCost::between(pid, &before, &after, counted.bytes))
        }
        _ => None,
    };
    Ok(FetchReport {
        topic: options.topic.clone(),
        partitions: topic.partitions,
        seconds,
        batches: counted.batches,
        records: counted.records,
        bytes: counted.bytes,
        megabytes_per_second: ratio(counted.bytes as f64 / 1e6, seconds),
        requests: counted.requests,
        problems: counted.problems,
        first_problem: counted.first_problem,
        server,
        interrupted: stop.load(Ordering::Relaxed),
    })
}

fn show_progress(options: &FetchOptions, bytes_read: &AtomicU64, running: &AtomicU64) {
    let (mut said, mut said_bytes) = (Instant::now(), 0);
    while running.load(Ordering::Acquire) > 0 {
        std::thread::sleep(Duration::from_millis(5));
        if options.quiet || said.elapsed() < Duration::from_secs(1) {
            continue;
        }
        let bytes = bytes_read.load(Ordering::Relaxed);
        let rate = (bytes - said_bytes) as f64 / said.elapsed().as_secs_f64();
        eprintln!(
            "fetch: {:>8.1} MB read  {:>8.1} MB/s",
            bytes as f64 / 1e6,
            rate / 1e6
        );
        (said, said_bytes) = (Instant::now(), bytes);
    }
}

/// One connection, and its share of the partitions.
struct PartitionsReader<'a> {
    options: &'a FetchOptions,
    topic: &'a Topic,
    /// Partitions not yet read to their end, and where each goes on.
    positions: BTreeMap<i32, i64>,
    counted: Counted,
}

impl<'a> PartitionsReader<'a> {
    fn new(options: &'a FetchOptions, topic: &'a Topic, first: i32, step: i32) -> Self {
        let partitions = (first..topic.partitions).step_by(step as usize);
        PartitionsReader {
            options,
            topic,
            positions: partitions.map(|partition| (partition, 0)).collect(),
            counted: Counted::default(),
        }
    }

    fn run(&mut self, bytes_read: &AtomicU64, stop: &AtomicBool) -> Result<(), PerfError> {
        let mut client = Client::connect(&self.topic.leader)?;
        while !self.positions.is_empty() && !stop.load(Ordering::Relaxed) {
            let answer: FetchResponse = client.call(ApiKey::Fetch, &self.request())?;
            refuse("Fetch", answer.error_code, None)?;
            self.counted.requests += 1;
            let before = self.counted.bytes;
            for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
                self.take(partition)?;
            }
            bytes_read.fetch_add(self.counted.bytes - before, Ordering::Relaxed);
        }
        Ok(())
    }

    fn request(&self) -> FetchRequest {
        let partitions = self
            .positions
            .iter()
            .map(|(partition, offset)| FetchPartition {
                partition: *partition,
                fetch_offset: *offset,
                partition_max_bytes: self.options.partition_max_bytes,
                ..Default::default()
            });
        FetchRequest {
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: self.options.max_bytes,
            topics: vec![FetchTopic {
                topic: self.topic.name.clone(),
                topic_id: self.topic.id,
                partitions: partitions.collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn take(&mut self, partition: &PartitionData) -> Result<(), PerfError> {
        const OFFSET_OUT_OF_RANGE: i16 = 1;
        let index = partition.partition_index;
        let Some(mut position) = self.positions.get(&index).copied() else {
            return Ok(());
        };
        if partition.error_code == OFFSET_OUT_OF_RANGE && position < partition.log_start_offset {
            // Retention took the beginning: that is no damage.
            self.positions.insert(index, partition.log_start_offset);
            return Ok(());
        }
        refuse(
            &format!("Fetch of partition {index}"),
            partition.error_code,
            None,
        )?;
        for batch in Batches::new(partition.records.clone().unwrap_or_default()) {
            // The last batch may be cut: the next request begins with it.
            let Ok((header, bytes)) = batch else { break };
            if header.base_offset != position {
                let found = header.base_offset;
                self.counted.problem(format!(
                    "partition {index}: offset {found} where {position} was due"
                ));
            }
            if !self.options.no_verify
                && let Err(error) = verify_crc(&bytes)
            {
                self.counted
                    .problem(format!("partition {index}, offset {position}: {error}"));
            }
            position = header.next_offset();
            self.counted.batches += 1;
            self.counted.records += header.records_count.max(0) as u64;
            self.counted.bytes += bytes.len() as u64;
        }
        match position >= partition.high_watermark {
            true => self.positions.remove(&index),
            false => self.positions.insert(index, position),
        };
        Ok(())
    }
}

impl fmt::Display for FetchReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            to,
            "read        {} batches, {} records, {:.1} MB of {} partitions in {:.2} s{}: {:.1} MB/s, {} requests",
            self.batches,
            self.records,
            self.bytes as f64 / 1e6,
            self.partitions,
            self.seconds,
            if self.interrupted {
                " (interrupted)"
            } else {
                ""
            },
            self.megabytes_per_second,
            self.requests,
        )?;
        if let Some(server) = &self.server {
            writeln!(
                to,
                "server      {:.2} CPU s/GB  resident {} MiB (peak {})",
                server.cpu_seconds_per_gigabyte,
                server.resident_bytes >> 20,
                server.resident_peak_bytes >> 20,
            )?;
        }
        match &self.first_problem {
            None => write!(
                to,
                "checked     offsets follow on each other, no batch is broken"
            ),
            Some(first) => write!(
                to,
                "DAMAGE      {} problems, the first: {first}",
                self.problems
            ),
        }
    }
}
