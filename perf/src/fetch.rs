//! The command `fetch`: reads a topic over a few connections, from its start or at its tail, once or for a time, and checks
//! that offsets follow on each other and that every batch is whole. `load` wrote it; `fetching` is one connection.

use crate::PerfError;
use crate::arrivals::LATEST;
use crate::client::{Client, Topic, refuse};
use crate::fetching::{FetchLimits, Fetcher};
use crate::frames::PartitionRing;
use crate::process;
use crate::report::{ServerCost, interrupted, ratio};
use odradek_protocol::messages::fetch_response::PartitionData;
use odradek_protocol::records::{
    BatchHeader, Batches, HEADER_BYTES, LOG_OVERHEAD_BYTES, verify_crc,
};
use serde::Serialize;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Kafka's timestamp for the start of a partition.
const EARLIEST: i64 = -2;

/// What to do.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct FetchOptions {
    /// A server of the cluster.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// The topic to read.
    #[arg(long, default_value = "odradek-perf")]
    pub topic: String,
    /// Where to begin: each partition's `beginning`, or its `tail`, which --tail-records moves back.
    #[arg(long, value_name = "WHERE", default_value = "beginning")]
    pub from: From,
    /// With --from tail: records before the end of each partition to begin with. 0 reads only what is written meanwhile.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    pub tail_records: i64,
    /// Read for so long: at the end of all partitions it begins again, or waits for more with --from tail. Without it, once.
    #[arg(long, value_name = "SECONDS", value_parser = crate::load::parse_seconds)]
    pub seconds: Option<f64>,
    /// Connections; the partitions are shared out among them, each with one request in hand.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub connections: u16,
    /// Bytes asked for in one request.
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20)]
    pub max_bytes: i32,
    /// Bytes asked for from each partition.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub partition_max_bytes: i32,
    /// What to look at: `crc` reads every byte and checks it; `headers` checks that offsets follow on each other; `none` only
    /// finds the next offset. With the last two the server is the limit sooner.
    #[arg(long, value_name = "WHAT", default_value = "crc")]
    pub check: Check,
    /// The same as `--check headers`.
    #[arg(long, conflicts_with = "check")]
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

const EXAMPLES: &str = "Examples:\n  \
odradek-perf fetch --topic t                                          is everything there, and whole?\n  \
odradek-perf fetch --topic t --seconds 30 --check headers             catch-up: how fast it comes, from disk if need be\n  \
odradek-perf fetch --topic t --from tail --tail-records 1000 --seconds 10 --check none    the newest again and again: from memory\n  \
odradek-perf fetch --topic t --from tail --seconds 60                 follow what a load writes meanwhile";

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// With the oldest record.
    Beginning,
    /// At the end, or a number of records before it.
    Tail,
}

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Only where the next batch begins.
    None,
    /// That offsets follow on each other.
    Headers,
    /// And that the checksum of each batch is right.
    Crc,
}

/// One reading of a topic.
#[derive(Clone, Debug, Serialize)]
pub struct FetchReport {
    /// The topic read.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// Where it was begun.
    pub from: From,
    /// Records before the end of each partition that it was begun with.
    pub tail_records: i64,
    /// What was looked at.
    pub check: Check,
    /// Connections.
    pub connections: u16,
    /// Bytes asked for in one request.
    pub max_bytes: i32,
    /// Bytes asked for from each partition.
    pub partition_max_bytes: i32,
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
    /// How often every partition of a connection was read to its end, over all connections.
    pub passes: u64,
    /// Our own processor time, seconds: the reading shares the machine.
    pub load_cpu_seconds: f64,
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
    passes: u64,
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
        self.passes += other.passes;
        self.problems += other.problems;
        self.first_problem = self.first_problem.take().or(other.first_problem);
    }
}

/// Reads the topic. `stop` ends it early.
///
/// # Errors
/// When the topic is not there, a connection breaks, or the server refuses; damage is counted instead.
pub fn run(options: &FetchOptions, stop: &AtomicBool) -> Result<FetchReport, PerfError> {
    refuse_nothing_to_read(options)?;
    let topic = Client::connect(&options.bootstrap)?.existing_topic(&options.topic)?;
    let readers = u32::from(options.connections).min(topic.partitions as u32);
    let prepared: Vec<_> = (0..readers)
        .map(|index| PartitionsReader::connect(options, &topic, index, readers))
        .collect::<Result<_, _>>()?;
    let read_usage = |pid: u32| process::usage(pid);
    let before = options.server_pid.map(read_usage).transpose()?;
    let ours_before = process::usage(std::process::id())?;
    let began = Instant::now();
    let until = options
        .seconds
        .map(|seconds| began + Duration::from_secs_f64(seconds));
    let (bytes_read, running) = (AtomicU64::new(0), AtomicU64::new(readers.into()));
    let counted = std::thread::scope(|scope| {
        let (bytes_read, running) = (&bytes_read, &running);
        let handles: Vec<_> = prepared
            .into_iter()
            .map(|mut reader| {
                scope.spawn(move || {
                    let result = reader.run(bytes_read, until, stop);
                    running.fetch_sub(1, Ordering::Release);
                    result.map(|()| reader.counted)
                })
            })
            .collect();
        show_progress(options, bytes_read, running);
        let mut sum = Counted::default();
        for handle in handles {
            sum.add(handle.join().expect("a reading thread does not panic")?);
        }
        Ok::<_, PerfError>(sum)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let after = options.server_pid.map(read_usage).transpose()?;
    let ours_after = process::usage(std::process::id())?;
    let server = match (options.server_pid, before, after) {
        (Some(pid), Some(before), Some(after)) => {
            Some(ServerCost::between(pid, &before, &after, counted.bytes))
        }
        _ => None,
    };
    Ok(FetchReport {
        topic: options.topic.clone(),
        partitions: topic.partitions,
        from: options.from,
        tail_records: options.tail_records,
        check: check(options),
        connections: options.connections,
        max_bytes: options.max_bytes,
        partition_max_bytes: options.partition_max_bytes,
        seconds,
        batches: counted.batches,
        records: counted.records,
        bytes: counted.bytes,
        megabytes_per_second: ratio(counted.bytes as f64 / 1e6, seconds),
        requests: counted.requests,
        passes: counted.passes,
        load_cpu_seconds: ours_after.cpu_seconds - ours_before.cpu_seconds,
        problems: counted.problems,
        first_problem: counted.first_problem,
        server,
        interrupted: stop.load(Ordering::Relaxed),
    })
}

fn refuse_nothing_to_read(options: &FetchOptions) -> Result<(), PerfError> {
    if options.from == From::Tail && options.tail_records == 0 && options.seconds.is_none() {
        return Err(PerfError::Options(
            "--from tail begins where nothing is written yet: say for how long to read with --seconds, or how far back to \
             begin with --tail-records"
                .into(),
        ));
    }
    Ok(())
}

fn check(options: &FetchOptions) -> Check {
    match options.no_verify {
        true => Check::Headers,
        false => options.check,
    }
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
struct PartitionsReader {
    fetcher: Fetcher,
    /// By steps in the ring.
    starts: Vec<i64>,
    check: Check,
    follows: bool,
    counted: Counted,
}

impl PartitionsReader {
    fn connect(
        options: &FetchOptions,
        topic: &Topic,
        index: u32,
        of: u32,
    ) -> Result<Self, PerfError> {
        let partitions = topic.partitions as u32;
        let ring = PartitionRing::share(partitions, index, of);
        let named = Fetcher::partitions(ring, partitions);
        let mut client = Client::connect(&topic.leader)?;
        let mut starts = client.offsets(topic, &named, EARLIEST)?;
        if options.from == From::Tail {
            let ends = client.offsets(topic, &named, LATEST)?;
            for (start, end) in starts.iter_mut().zip(ends) {
                *start = (end - options.tail_records).max(*start);
            }
        }
        let limits = FetchLimits {
            max_wait_ms: 500,
            max_bytes: options.max_bytes,
            partition_max_bytes: options.partition_max_bytes,
            session: false,
        };
        Ok(PartitionsReader {
            fetcher: Fetcher::connect(topic, ring, starts.clone(), limits)?,
            starts,
            check: check(options),
            follows: options.from == From::Tail && options.tail_records == 0,
            counted: Counted::default(),
        })
    }

    fn run(
        &mut self,
        bytes_read: &AtomicU64,
        until: Option<Instant>,
        stop: &AtomicBool,
    ) -> Result<(), PerfError> {
        while !stop.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until) {
            let before = self.counted.bytes;
            let PartitionsReader {
                fetcher,
                starts,
                check,
                follows,
                counted,
            } = self;
            fetcher.round(|fetcher, step, partition| {
                let mut reading = Reading {
                    fetcher,
                    start: &mut starts[step as usize],
                    check: *check,
                    follows: *follows,
                    counted,
                };
                reading.take(step, partition)
            })?;
            self.counted.requests += 1;
            bytes_read.fetch_add(self.counted.bytes - before, Ordering::Relaxed);
            if self.fetcher.is_done() {
                self.counted.passes += 1;
                if until.is_none() {
                    return Ok(());
                }
                for (step, start) in self.starts.iter().enumerate() {
                    self.fetcher.seek(step as u32, *start);
                }
            }
        }
        Ok(())
    }
}

/// One partition of one answer.
struct Reading<'a> {
    fetcher: &'a mut Fetcher,
    start: &'a mut i64,
    check: Check,
    follows: bool,
    counted: &'a mut Counted,
}

impl Reading<'_> {
    fn take(&mut self, step: u32, partition: &PartitionData) -> Result<(), PerfError> {
        const OFFSET_OUT_OF_RANGE: i16 = 1;
        let index = partition.partition_index;
        let begin = self.fetcher.position(step);
        if partition.error_code == OFFSET_OUT_OF_RANGE && begin < partition.log_start_offset {
            // Retention took the beginning: that is no damage.
            *self.start = partition.log_start_offset;
            self.fetcher.seek(step, partition.log_start_offset);
            return Ok(());
        }
        refuse(
            &format!("Fetch of partition {index}"),
            partition.error_code,
            None,
        )?;
        let position = match (&partition.records, self.check) {
            (None, _) => begin,
            (Some(records), Check::None) => self.skim(records, begin),
            (Some(records), _) => self.examine(records.clone(), index, begin),
        };
        let at_end = position >= partition.high_watermark;
        match at_end && !self.follows {
            true => self.fetcher.leave_out(step),
            false => self.fetcher.seek(step, position),
        }
        Ok(())
    }

    /// Steps over whole batches: the next offset.
    fn skim(&mut self, records: &[u8], mut position: i64) -> i64 {
        let mut rest = records;
        while let Ok(header) = BatchHeader::parse(rest.get(..HEADER_BYTES).unwrap_or_default()) {
            let bytes = LOG_OVERHEAD_BYTES + header.batch_length.max(0) as usize;
            if bytes < HEADER_BYTES || bytes > rest.len() {
                break;
            }
            position = header.next_offset();
            self.count(&header, bytes);
            rest = &rest[bytes..];
        }
        position
    }

    fn examine(&mut self, records: bytes::Bytes, index: i32, begin: i64) -> i64 {
        let mut position = begin;
        for batch in Batches::new(records) {
            // The last batch may be cut: the next request begins with it.
            let Ok((header, bytes)) = batch else { break };
            // A first batch may begin before the offset asked for, when that lies within it.
            let whole = header.base_offset == position
                || (position == begin && header.base_offset < begin && begin == *self.start);
            if !whole {
                let found = header.base_offset;
                self.counted.problem(format!(
                    "partition {index}: offset {found} where {position} was due"
                ));
            }
            if self.check == Check::Crc
                && let Err(error) = verify_crc(&bytes)
            {
                self.counted
                    .problem(format!("partition {index}, offset {position}: {error}"));
            }
            position = header.next_offset();
            self.count(&header, bytes.len());
        }
        position
    }

    fn count(&mut self, header: &BatchHeader, bytes: usize) {
        self.counted.batches += 1;
        self.counted.records += header.records_count.max(0) as u64;
        self.counted.bytes += bytes as u64;
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
            interrupted(self.interrupted),
            self.megabytes_per_second,
            self.requests,
        )?;
        if let Some(server) = &self.server {
            writeln!(to, "server      {}", server.show(self.seconds))?;
        }
        writeln!(
            to,
            "reading     {:.0} % of a core; every partition to its end {} times",
            100.0 * ratio(self.load_cpu_seconds, self.seconds),
            self.passes as f64 / f64::from(self.connections).min(f64::from(self.partitions)),
        )?;
        match &self.first_problem {
            None => match self.check {
                Check::None => write!(to, "checked     nothing"),
                Check::Headers => write!(to, "checked     offsets follow on each other"),
                Check::Crc => write!(
                    to,
                    "checked     offsets follow on each other, no batch is broken"
                ),
            },
            Some(first) => write!(
                to,
                "DAMAGE      {} problems, the first: {first}",
                self.problems
            ),
        }
    }
}
