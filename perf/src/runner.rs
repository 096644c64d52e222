//! One load at a time as a child process, so that the generator's CPU and memory are its own, and its JSON read back. `compare` and `bars`
//! say which; `systems` are what it is put on.

use crate::PerfError;
use crate::client::Client;
use crate::report::LoadReport;
use crate::systems::{self, Running};
use odradek_protocol::ApiKey;
use odradek_protocol::messages::delete_topics_request::DeleteTopicState;
use odradek_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How much longer than it was asked for a child may take before it is ended.
const PATIENCE: Duration = Duration::from_secs(90);

/// A produce load.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct Load {
    /// Connections to the server.
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    pub connections: usize,
    /// Requests in hand on each connection.
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    pub in_flight: usize,
    /// Bytes of the record batch in each request.
    #[arg(long, value_name = "BYTES", default_value_t = 16_384)]
    pub batch_bytes: usize,
    /// Partitions written in turn.
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    pub partitions: i32,
    /// Requests each second, whatever the answers do (open loop); without it, the next request goes out when an answer came.
    #[arg(long, value_name = "REQUESTS_PER_SECOND")]
    pub rate: Option<f64>,
    /// How long each round measures.
    #[arg(long, value_name = "SECONDS", default_value_t = 6.0)]
    pub seconds: f64,
    /// Load before the measuring of each round.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.5)]
    pub warm_up_seconds: f64,
}

impl Load {
    /// The words of `odradek-perf load` for it.
    pub fn arguments(&self) -> Vec<String> {
        let mut words = vec![
            "--connections".into(),
            self.connections.to_string(),
            "--in-flight".into(),
            self.in_flight.to_string(),
            "--batch-bytes".into(),
            self.batch_bytes.to_string(),
            "--partitions".into(),
            self.partitions.to_string(),
            "--seconds".into(),
            self.seconds.to_string(),
            "--warm-up-seconds".into(),
            self.warm_up_seconds.to_string(),
        ];
        if let Some(rate) = self.rate {
            words.extend(["--rate".into(), rate.to_string()]);
        }
        words
    }
}

/// What drives the servers, and knows when to stop.
#[derive(Clone, Copy, Debug)]
pub struct Runner<'a> {
    /// Set by Ctrl-C.
    pub stop: &'a AtomicBool,
    /// No progress on standard error.
    pub quiet: bool,
}

impl Runner<'_> {
    /// Whether the person asked for the end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A line of progress.
    pub fn say(&self, what: &str) {
        if !self.quiet {
            eprintln!("{what}");
        }
    }

    /// Runs the load on a server. A broker that has just made a topic may refuse its first batches, so a moment of load that counts
    /// nowhere goes before; and what earlier runs left for the kernel to write is written first, so that this one does not pay for it.
    ///
    /// # Errors
    /// When the load fails as a whole; refusals of single requests stand in the report.
    pub fn load(
        &self,
        server: &Running,
        topic: &str,
        load: &Load,
    ) -> Result<LoadReport, PerfError> {
        let first = Load {
            rate: None,
            seconds: 0.0,
            warm_up_seconds: 0.2,
            ..load.clone()
        };
        self.one_load(server, topic, &first)?;
        rustix::fs::sync();
        self.one_load(server, topic, load)
    }

    /// Takes a topic off a server: what it held is free for what comes next. A server that keeps it is told of, nothing more.
    pub fn delete_topic(&self, server: &Running, topic: &str) {
        if server.system.is_floor() {
            return;
        }
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(topic.into()),
                ..Default::default()
            }],
            timeout_ms: 30_000,
            ..Default::default()
        };
        let deleted = Client::connect(&server.address).and_then(|mut client| {
            client.call::<_, DeleteTopicsResponse>(ApiKey::DeleteTopics, &request)
        });
        if let Err(error) = deleted {
            let name = server.system.name();
            self.say(&format!("{name}: topic {topic} stays: {error}"));
        }
    }

    fn one_load(
        &self,
        server: &Running,
        topic: &str,
        load: &Load,
    ) -> Result<LoadReport, PerfError> {
        let pid = server.pid.to_string();
        let label = format!("system={}", server.system.name());
        let mut words: Vec<String> = ["load", "--quiet", "--json", "--bootstrap", &server.address]
            .map(String::from)
            .to_vec();
        words.extend(["--server-pid", &pid, "--topic", topic, "--label", &label].map(String::from));
        words.extend(load.arguments());
        let patience = Duration::from_secs_f64(load.seconds + load.warm_up_seconds);
        self.child(&words, patience).map_err(|error| {
            let end = server.end_of_log();
            PerfError::Unanswered(format!(
                "{} under {}: {error}; the end of its log:\n{end}",
                server.system.name(),
                words.join(" ")
            ))
        })
    }

    /// Runs this program with these words, which print a line of JSON. Ctrl-C is passed on, and what the child then reports counts.
    ///
    /// # Errors
    /// When it fails, prints something else, or takes more than 90 s longer than `expected`.
    pub fn child<Report: DeserializeOwned>(
        &self,
        words: &[String],
        expected: Duration,
    ) -> Result<Report, PerfError> {
        let failed = |what: String| PerfError::Unanswered(what);
        let mut child = Command::new(systems::ours()?)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| failed(format!("starting a child of this program: {error}")))?;
        let out = reader(child.stdout.take());
        let errors = reader(child.stderr.take());
        let deadline = Instant::now() + expected + PATIENCE;
        let mut told = false;
        while !child.try_wait().is_ok_and(|status| status.is_some()) {
            if self.stopped() && !told {
                systems::signal(&child, Signal::INT);
                told = true;
            }
            if Instant::now() > deadline {
                systems::end_child(&mut child, Duration::from_secs(2));
                return Err(failed(format!("not done {PATIENCE:?} after its time")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let out = out.join().unwrap_or_default();
        let errors = errors.join().unwrap_or_default();
        // A load with refusals prints its report and ends with 1: the report says so itself.
        let line = out.lines().last().unwrap_or_default();
        serde_json::from_str(line).map_err(|error| match errors.trim() {
            "" => failed(format!("its report cannot be read: {error}: {line:?}")),
            said => failed(said.to_string()),
        })
    }
}

/// Reads a pipe to its end beside the waiting, or a child that says much would wait for us.
pub(crate) fn reader<Pipe: Read + Send + 'static>(
    pipe: Option<Pipe>,
) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_string(&mut text);
        }
        text
    })
}
