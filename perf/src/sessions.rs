//! The command `sessions`: many consumers, each with a fetch session over its share of many partitions, of which few are written; and what
//! their waiting costs the server. `fetch` reads a topic that is full instead.

use crate::client::{Client, Topic, refuse};
use crate::report::ratio;
use crate::{PerfError, batch, process};
use odradek_protocol::ApiKey;
use odradek_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use odradek_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use odradek_protocol::messages::{FetchRequest, FetchResponse, ProduceRequest, ProduceResponse};
use odradek_protocol::records::Batches;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Partitions that are written, one after the other; all others stay empty.
const WRITTEN_PARTITIONS: i32 = 100;
/// Until every session is made and answers come only when something was written or the wait is over.
const WARM_UP: Duration = Duration::from_secs(3);

/// What to do.
#[derive(Clone, Debug, clap::Args)]
pub struct SessionsOptions {
    /// A server of the cluster.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// The topic; made, with --partitions, when it is not there.
    #[arg(long, default_value = "odradek-perf-sessions")]
    pub topic: String,
    /// Partitions of the topic, shared out among the consumers.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    pub partitions: i32,
    /// Consumers, each with a connection and a session of its own.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    pub consumers: usize,
    /// Small batches written each second, to 100 of the partitions in turn.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub writes_per_second: u32,
    /// How long to measure.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub seconds: f64,
    /// The server's process on this machine: its CPU is reported too.
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Print the report as one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct SessionsReport {
    /// Consumers, each with a session.
    pub consumers: usize,
    /// Partitions they share.
    pub partitions: i32,
    /// How long was measured, seconds.
    pub seconds: f64,
    /// Answers to fetches each second, with records or empty.
    pub answers_per_second: f64,
    /// Records that arrived each second.
    pub records_per_second: f64,
    /// Batches acknowledged each second.
    pub writes_per_second: f64,
    /// Cores that the server took, 1 being a whole one.
    pub server_cpu_cores: Option<f64>,
}

#[derive(Default)]
struct Counts {
    answers: AtomicU64,
    records: AtomicU64,
    writes: AtomicU64,
}

impl Counts {
    fn read(&self) -> [u64; 3] {
        [&self.answers, &self.records, &self.writes].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Runs consumers and writer. `stop` ends it early.
///
/// # Errors
/// When a connection breaks or the server refuses.
pub fn run(options: &SessionsOptions, stop: &AtomicBool) -> Result<SessionsReport, PerfError> {
    let topic =
        Client::connect(&options.bootstrap)?.ensure_topic(&options.topic, options.partitions)?;
    let (counts, over) = (Counts::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for index in 0..options.consumers {
            let (topic, counts, over) = (&topic, &counts, &over);
            threads
                .push(scope.spawn(move || consume(topic, index, options.consumers, counts, over)));
        }
        threads.push(scope.spawn(|| write(&topic, options.writes_per_second, &counts, &over)));
        let report = watch(options, &counts, stop);
        over.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().expect("its threads do not panic")?;
        }
        report
    })
}

fn watch(
    options: &SessionsOptions,
    counts: &Counts,
    stop: &AtomicBool,
) -> Result<SessionsReport, PerfError> {
    let wait = |time: Duration| {
        let until = Instant::now() + time;
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait(WARM_UP);
    let usage = || options.server_pid.map(process::usage).transpose();
    let (began, before, counted) = (Instant::now(), usage()?, counts.read());
    wait(Duration::from_secs_f64(options.seconds));
    let (seconds, after, now) = (began.elapsed().as_secs_f64(), usage()?, counts.read());
    let rate = |index: usize| ratio((now[index] - counted[index]) as f64, seconds);
    let cpu = before
        .zip(after)
        .map(|(before, after)| (after.cpu_seconds - before.cpu_seconds) / seconds);
    Ok(SessionsReport {
        consumers: options.consumers,
        partitions: options.partitions,
        seconds,
        answers_per_second: rate(0),
        records_per_second: rate(1),
        writes_per_second: rate(2),
        server_cpu_cores: cpu,
    })
}

/// One consumer: names all its partitions once, and from then on only those whose position moved.
fn consume(
    topic: &Topic,
    index: usize,
    consumers: usize,
    counts: &Counts,
    over: &AtomicBool,
) -> Result<(), PerfError> {
    let mut client = Client::connect(&topic.leader)?;
    let mine = (index as i32..topic.partitions).step_by(consumers);
    let mut moved: BTreeMap<i32, i64> = mine.map(|partition| (partition, 0)).collect();
    let (mut session_id, mut session_epoch) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        let request = request(topic, &moved, session_id, session_epoch);
        let answer: FetchResponse = client.call(ApiKey::Fetch, &request)?;
        refuse("Fetch with a session", answer.error_code, None)?;
        if answer.session_id == 0 {
            return Err(PerfError::Protocol(
                "Fetch: the server gave no session; it has room for too few".into(),
            ));
        }
        session_id = answer.session_id;
        session_epoch += 1;
        moved.clear();
        counts.answers.fetch_add(1, Ordering::Relaxed);
        for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            refuse("Fetch of a partition", partition.error_code, None)?;
            let batches = Batches::new(partition.records.clone().unwrap_or_default());
            for (header, _) in batches.map_while(Result::ok) {
                moved.insert(partition.partition_index, header.next_offset());
                let records = header.records_count.max(0) as u64;
                counts.records.fetch_add(records, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

fn request(
    topic: &Topic,
    moved: &BTreeMap<i32, i64>,
    session_id: i32,
    session_epoch: i32,
) -> FetchRequest {
    let partitions = moved.iter().map(|(partition, offset)| FetchPartition {
        partition: *partition,
        fetch_offset: *offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    });
    let topics = vec![FetchTopic {
        topic: topic.name.clone(),
        topic_id: topic.id,
        partitions: partitions.collect(),
        ..Default::default()
    }];
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        session_id,
        session_epoch,
        topics: if moved.is_empty() { Vec::new() } else { topics },
        ..Default::default()
    }
}

fn write(
    topic: &Topic,
    writes_per_second: u32,
    counts: &Counts,
    over: &AtomicBool,
) -> Result<(), PerfError> {
    let mut client = Client::connect(&topic.leader)?;
    let records = batch::build(256, 1_700_000_000_000)?.bytes;
    let pause = Duration::from_secs(1) / writes_per_second;
    let mut due = Instant::now();
    let mut turn = 0;
    while !over.load(Ordering::Relaxed) {
        // Spread over the consumers, whose shares are interleaved.
        let spread = topic.partitions / WRITTEN_PARTITIONS.min(topic.partitions);
        let index = turn % WRITTEN_PARTITIONS.min(topic.partitions) * spread;
        turn = turn.wrapping_add(1);
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.name.clone(),
                topic_id: topic.id,
                partition_data: vec![PartitionProduceData {
                    index,
                    records: Some(records.clone()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer: ProduceResponse = client.call(ApiKey::Produce, &request)?;
        let stored = answer.responses.iter();
        for partition in stored.flat_map(|topic| &topic.partition_responses) {
            // Of a partition that was made just now the leader may not know yet; the next write finds it.
            const NOT_READY: [i16; 3] = [3, 6, 100];
            if !NOT_READY.contains(&partition.error_code) {
                refuse("Produce", partition.error_code, None)?;
                counts.writes.fetch_add(1, Ordering::Relaxed);
            }
        }
        due += pause;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

impl fmt::Display for SessionsReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "{} consumers over {} partitions: {:.0} answers/s, {:.0} records/s of {:.0} writes/s",
            self.consumers,
            self.partitions,
            self.answers_per_second,
            self.records_per_second,
            self.writes_per_second
        )?;
        match self.server_cpu_cores {
            Some(cores) => write!(to, ", the server took {:.1} % of a core", cores * 100.0),
            None => Ok(()),
        }
    }
}
