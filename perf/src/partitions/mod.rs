//! The command `partitions`: how long a node with very many partitions takes to make them, to shut down, to start, and to
//! start after `kill -9`, and what they cost it in memory, files, threads and disk. It starts the real binary itself.
//! `server` is that process, `population` the partitions over the wire, `tenant` a bystander, `report` the outcome.

mod population;
mod report;
mod server;
mod tenant;

pub use report::{Bar, MetadataAll, PartitionsReport, Step};
pub use server::Footprint;
pub use tenant::{TenantPhase, TenantReport};

use crate::PerfError;
use crate::client::Client;
use crate::process;
use crate::report::Latency;
use hdrhistogram::Histogram;
use odradek_protocol::ApiKey;
use odradek_protocol::messages::{MetadataRequest, metadata_request::MetadataRequestTopic};
use population::{CREATE_PARTITIONS_MAX, Draw, Population, REQUEST_PARTITIONS};
use rustix::process::Signal;
use server::Server;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tenant::Tenant;

/// Partitions that must serve before a start counts as done: the first, the last made, and some between.
const PROBED: usize = 16;
/// How long the bystander's quiet latency is measured.
const QUIET: Duration = Duration::from_secs(5);
/// Questions for the metadata of one topic.
const METADATA_ONE_REQUESTS: usize = 500;

/// What to do.
#[derive(Clone, Debug, clap::Args)]
pub struct PartitionsOptions {
    /// Partitions to make.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    pub partitions: u32,
    /// Partitions of a topic.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=CREATE_PARTITIONS_MAX as i64))]
    pub topic_partitions: u32,
    /// Share of the partitions that get one batch before each stop, such as 10%.
    #[arg(long, value_name = "SHARE", default_value = "10%", value_parser = share)]
    pub written: f64,
    /// Size of a batch in bytes, about.
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(128..=1024))]
    pub batch_bytes: u32,
    /// Partitions drawn at random that are written and read after each start.
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000)]
    pub verified: usize,
    /// The server; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// Folder under which the data folder is made; by default that for temporary files.
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// A property for the server, such as odradek.shards=1; may be given more than once.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Requests each second of a bystander with 100 partitions while the others are made; 0 leaves it out.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    pub tenant_rate: u32,
    /// Seconds of leaving the server alone before memory and idle time are read.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub settle_seconds: f64,
    /// Leave the data folder, and the server's log in it.
    #[arg(long)]
    pub keep: bool,
    /// Show no progress.
    #[arg(long)]
    pub quiet: bool,
    /// Print the report as one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `10%` or `0.1`.
fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share = number.parse::<f64>().map_err(|error| error.to_string())? / scale;
    if !(0.0..=1.0).contains(&share) {
        return Err("give a share from 0% to 100%".into());
    }
    Ok(share)
}

/// Runs it all. `stop` ends it early, with what was measured so far.
///
/// # Errors
/// When the server cannot be started, does not end, breaks a connection or refuses something.
pub fn run(options: &PartitionsOptions, stop: &AtomicBool) -> Result<PartitionsReport, PerfError> {
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => beside_this_program()?,
    };
    let parent = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    let server = Server::prepare(binary, &parent, options.overrides.clone(), options.keep)?;
    if options.keep {
        eprintln!("partitions: data in {}", server.folder().display());
    }
    let partitions = options.partitions as usize;
    let topic_partitions = options.topic_partitions as usize;
    let batch_bytes = options.batch_bytes as usize;
    let mut run = Run {
        options,
        stop,
        server,
        population: Population::new("p", partitions, topic_partitions, batch_bytes),
        draw: Draw::new(1),
        report: PartitionsReport {
            partitions,
            topic_partitions,
            written: (partitions as f64 * options.written).round() as usize,
            batch_bytes,
            machine: process::machine(),
            kernel: process::kernel(),
            ..Default::default()
        },
    };
    match run.all() {
        Ok(()) => {}
        // Ctrl-C may have come between a request and its answer; what was measured stands.
        Err(_) if stop.load(Ordering::Relaxed) => {}
        Err(error) => {
            eprintln!("partitions: until then:\n{}", run.report);
            return Err(error);
        }
    }
    let mut report = run.report;
    report.problems = run.population.problems;
    report.first_problem = run.population.first_problem.take();
    report.interrupted = stop.load(Ordering::Relaxed);
    report.judge();
    Ok(report)
}

fn beside_this_program() -> Result<PathBuf, PerfError> {
    let program = std::env::current_exe()
        .map_err(|error| PerfError::network("looking for this program's folder", error))?;
    Ok(program.with_file_name("odradek"))
}

struct Run<'a> {
    options: &'a PartitionsOptions,
    stop: &'a AtomicBool,
    server: Server,
    population: Population,
    draw: Draw,
    report: PartitionsReport,
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), PerfError> {
        let mut client = self.start_empty()?;
        self.create(&mut client)?;
        self.write("write", &mut client)?;
        self.stop_server("shutdown", Signal::TERM)?;
        let mut client = self.start("clean_start")?;
        self.verify("verify_clean", &mut client)?;
        // So that the kill finds exactly the share written since the last checkpoint.
        self.stop_server("shutdown_verified", Signal::TERM)?;
        let mut client = self.start("second_start")?;
        self.write("write_again", &mut client)?;
        self.stop_server("kill", Signal::KILL)?;
        let mut client = self.start("killed_start")?;
        self.verify("verify_killed", &mut client)?;
        self.ask_metadata(&mut client)?;
        self.delete(&mut client)?;
        self.stop_server("shutdown_deleted", Signal::TERM)?;
        let mut client = self.start("deleted_start")?;
        self.verify("verify_deleted", &mut client)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn say(&self, what: &str) {
        if !self.options.quiet {
            eprintln!("partitions: {what}");
        }
    }

    /// Notes a step and what the server takes after it, if it still runs.
    fn note(&mut self, name: &'static str, took: Duration) -> Result<&mut Step, PerfError> {
        let settle = Duration::from_secs_f64(self.options.settle_seconds.clamp(0.1, 600.0));
        let footprint = match self.server.pid() {
            Ok(_) => Some(self.server.footprint(settle)?),
            Err(_) => None,
        };
        let resident = footprint.map_or(String::new(), |print| {
            format!(", {} MiB resident", print.resident_bytes >> 20)
        });
        self.say(&format!("{name}: {:.3} s{resident}", took.as_secs_f64()));
        self.report.steps.push(Step {
            name,
            seconds: took.as_secs_f64(),
            first_produce_seconds: None,
            first_fetch_seconds: None,
            footprint,
        });
        Ok(self.report.steps.last_mut().expect("just pushed"))
    }

    fn start_empty(&mut self) -> Result<Client, PerfError> {
        let began = self.server.start()?;
        let client = self.server.connect(began)?;
        self.note("empty", began.elapsed())?;
        Ok(client)
    }

    fn create(&mut self, client: &mut Client) -> Result<(), PerfError> {
        if self.stopped() {
            return Ok(());
        }
        let tenant = Tenant::new();
        let address = self.server.address().to_string();
        let (rate, batch_bytes) = (self.options.tenant_rate, self.options.batch_bytes as usize);
        let took = std::thread::scope(|scope| {
            let tenant = &tenant;
            let bystander =
                (rate > 0).then(|| scope.spawn(move || tenant.run(&address, rate, batch_bytes)));
            if rate > 0 {
                self.say("the tenant alone");
                std::thread::sleep(QUIET);
            }
            tenant.creating();
            let took = self.create_all(client);
            tenant.done();
            let tenant = bystander.map(|thread| thread.join().expect("the tenant does not panic"));
            self.report.tenant = tenant.transpose()?;
            took
        })?;
        self.note("create", took)?;
        Ok(())
    }

    fn create_all(&mut self, client: &mut Client) -> Result<Duration, PerfError> {
        let (began, mut said) = (Instant::now(), Instant::now());
        while !self.stopped() && self.population.create_some(client)? {
            if said.elapsed() > Duration::from_secs(1) {
                said = Instant::now();
                let (made, all) = (self.population.made(), self.population.len());
                self.say(&format!("{made} of {all} made"));
            }
        }
        Ok(began.elapsed())
    }

    /// One batch to the chosen share, spread over all.
    fn write(&mut self, name: &'static str, client: &mut Client) -> Result<(), PerfError> {
        let (count, all) = (self.report.written, self.population.len());
        let chosen: Vec<usize> = (0..count).map(|index| index * all / count).collect();
        let began = Instant::now();
        for partitions in chosen.chunks(REQUEST_PARTITIONS) {
            if self.stopped() {
                return Ok(());
            }
            self.population.produce(client, partitions)?;
        }
        self.note(name, began.elapsed())?;
        Ok(())
    }

    fn stop_server(&mut self, name: &'static str, signal: Signal) -> Result<(), PerfError> {
        if self.stopped() {
            return Ok(());
        }
        let took = self.server.end(signal)?;
        self.note(name, took)?;
        Ok(())
    }

    /// Starts the server and waits until partitions all over take a batch and give it back.
    fn start(&mut self, name: &'static str) -> Result<Client, PerfError> {
        if self.stopped() {
            return Err(PerfError::Unanswered("interrupted".into()));
        }
        let began = self.server.start()?;
        let mut client = self.server.connect(began)?;
        let answered = began.elapsed();
        let probed = self.probed();
        self.until_served(&mut client, |population, client| {
            population.produce(client, &probed)
        })?;
        let produced = began.elapsed();
        self.until_served(&mut client, |population, client| {
            population.fetch(client, &probed)
        })?;
        let fetched = began.elapsed();
        let step = self.note(name, answered)?;
        step.first_produce_seconds = Some(produced.as_secs_f64());
        step.first_fetch_seconds = Some(fetched.as_secs_f64());
        self.say(&format!(
            "{name}: first produce after {:.3} s, first fetch after {:.3} s",
            produced.as_secs_f64(),
            fetched.as_secs_f64()
        ));
        Ok(client)
    }

    /// The last partition made, the first that is left, and some drawn between.
    fn probed(&mut self) -> Vec<usize> {
        let mut probed = vec![self.population.len() - 1, self.population.first_left()];
        for _ in probed.len()..PROBED {
            probed.push(self.population.draw(&mut self.draw));
        }
        probed.sort_unstable();
        probed.dedup();
        probed
    }

    /// Asks again while the server still refuses: a client would, too.
    fn until_served(
        &mut self,
        client: &mut Client,
        ask: impl Fn(&mut Population, &mut Client) -> Result<(), PerfError>,
    ) -> Result<(), PerfError> {
        let began = Instant::now();
        loop {
            match ask(&mut self.population, client) {
                Err(PerfError::Refused { .. }) if began.elapsed() < Duration::from_secs(60) => {}
                done => return done,
            }
            if self.stopped() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Writes and reads partitions drawn at random, or all when they are few.
    fn verify(&mut self, name: &'static str, client: &mut Client) -> Result<(), PerfError> {
        let mut drawn: Vec<usize> = match self.population.left() <= self.options.verified {
            true => (0..self.population.len())
                .filter(|partition| self.population.is_left(*partition))
                .collect(),
            false => (0..self.options.verified)
                .map(|_| self.population.draw(&mut self.draw))
                .collect(),
        };
        drawn.sort_unstable();
        drawn.dedup();
        let began = Instant::now();
        for partitions in drawn.chunks(REQUEST_PARTITIONS) {
            if self.stopped() {
                return Ok(());
            }
            // What was there before first: a produce that went wrong must not hide it.
            self.population.fetch(client, partitions)?;
            self.population.produce(client, partitions)?;
            self.population.fetch(client, partitions)?;
        }
        self.note(name, began.elapsed())?;
        Ok(())
    }

    fn ask_metadata(&mut self, client: &mut Client) -> Result<(), PerfError> {
        let mut latency_ns =
            Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are sound");
        let topics = self.population.topics();
        for _ in 0..METADATA_ONE_REQUESTS {
            let name = self.population.topic_name(self.draw.below(topics));
            let request = MetadataRequest {
                topics: Some(vec![MetadataRequestTopic {
                    name: Some(name),
                    ..Default::default()
                }]),
                allow_auto_topic_creation: false,
                ..Default::default()
            };
            let began = Instant::now();
            client.call_unread(ApiKey::Metadata, &request)?;
            latency_ns.saturating_record(began.elapsed().as_nanos() as u64);
        }
        self.report.metadata_one = Some(Latency::of(&latency_ns));
        self.say("the metadata of all");
        self.server.reset_peak()?;
        let before = process::usage(self.server.pid()?)?;
        let request = MetadataRequest {
            topics: None,
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let began = Instant::now();
        let bytes = client.call_unread(ApiKey::Metadata, &request)?;
        let seconds = began.elapsed().as_secs_f64();
        let after = process::usage(self.server.pid()?)?;
        self.report.metadata_all = Some(MetadataAll {
            bytes,
            seconds,
            resident_rise_bytes: after
                .resident_peak_bytes
                .saturating_sub(before.resident_bytes),
        });
        Ok(())
    }

    /// Deletes the first half of the topics.
    fn delete(&mut self, client: &mut Client) -> Result<(), PerfError> {
        let (began, half) = (Instant::now(), self.population.topics() / 2);
        let mut deleted = 0;
        while deleted < half {
            if self.stopped() {
                return Ok(());
            }
            deleted += self.population.delete_some(client, deleted..half)?;
        }
        self.note("delete", began.elapsed())?;
        Ok(())
    }
}
