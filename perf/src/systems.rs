//! The systems that `compare` and `bars` put under load: how each is started, found ready, and ended by its process id. `runner` drives them.
//!
//! Every child is its own process group, so that Ctrl-C reaches this program alone, which then ends what it started.

use crate::PerfError;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Apache Kafka at its best on a small machine: the optimising compiler, its usual collector, 2 GB of heap.
pub const KAFKA_FLAGS: &str = "-Xms2g -Xmx2g -XX:-UseSerialGC -XX:+UseG1GC -XX:TieredStopAtLevel=4";
/// Deleted topics leave the disk soon: one broker serves many rows.
const KAFKA_SETTINGS: &str = "file.delete.delay.ms=1000";
/// How far above its clients' port Odradek serves its metrics.
const METRICS_PORT_BESIDE: u16 = 372;
const START_SECONDS_MAX: u64 = 90;
const END_SECONDS_MAX: u64 = 40;

/// A kind of server.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// Odradek with its defaults: durable before the answer.
    Odradek,
    /// Apache Kafka with its defaults: it does not wait for the disk.
    Kafka,
    /// Apache Kafka with flush.messages=1: durable before the answer.
    KafkaFlush,
    /// The produce floor that does one thing after the other.
    FloorSync,
    /// The produce floor that overlaps them.
    FloorRing,
}

impl System {
    /// As on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            System::Odradek => "odradek",
            System::Kafka => "kafka",
            System::KafkaFlush => "kafka-flush",
            System::FloorSync => "floor-sync",
            System::FloorRing => "floor-ring",
        }
    }

    /// Whether it is one of the produce floors, which have no topics.
    pub fn is_floor(self) -> bool {
        matches!(self, System::FloorSync | System::FloorRing)
    }

    /// Whether it needs Apache Kafka's jars and a JVM.
    pub fn is_kafka(self) -> bool {
        matches!(self, System::Kafka | System::KafkaFlush)
    }
}

/// Where the programs are, and where data may lie.
#[derive(Clone, Debug, clap::Args)]
pub struct Tools {
    /// The server's binary; by default `odradek` beside this program.
    #[arg(long, value_name = "FILE")]
    pub odradek: Option<PathBuf>,
    /// The folder with `kafka-peer`, which starts Apache Kafka from its jars.
    #[arg(long, value_name = "FOLDER", default_value = "scripts")]
    pub scripts: PathBuf,
    /// Where the servers' data go, on the disk to be measured; each run makes a folder of its own there and removes it.
    #[arg(long, value_name = "FOLDER", default_value = "/tmp")]
    pub folder: PathBuf,
}

impl Tools {
    /// The server's binary.
    ///
    /// # Errors
    /// When it is not there.
    pub fn odradek(&self) -> Result<PathBuf, PerfError> {
        let path = match &self.odradek {
            Some(path) => path.clone(),
            None => ours()?.with_file_name("odradek"),
        };
        match path.is_file() {
            true => Ok(path),
            false => Err(PerfError::Options(format!(
                "{} is not there; build it (cargo build --release -p odradek-server) or name it with --odradek",
                path.display()
            ))),
        }
    }

    /// The script that starts Apache Kafka.
    ///
    /// # Errors
    /// When it is not there.
    pub fn kafka_peer(&self) -> Result<PathBuf, PerfError> {
        let path = self.scripts.join("kafka-peer");
        path.canonicalize().map_err(|error| {
            PerfError::Options(format!(
                "{}: {error}; run from the repository's root, or name its scripts with --scripts",
                path.display()
            ))
        })
    }
}

/// This program, for children of it.
///
/// # Errors
/// When the operating system does not say.
pub fn ours() -> Result<PathBuf, PerfError> {
    std::env::current_exe()
        .map_err(|error| PerfError::Options(format!("the path of this program: {error}")))
}

/// A folder that is removed with the value.
#[derive(Debug)]
pub struct Scratch {
    /// Where it is.
    pub path: PathBuf,
}

impl Scratch {
    /// A new folder in `parent`, named after this process and `what`.
    ///
    /// # Errors
    /// The operating system's, with the path.
    pub fn new(parent: &Path, what: &str) -> Result<Scratch, PerfError> {
        static NUMBER: AtomicU16 = AtomicU16::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!(
            "odradek-perf-{}-{number}-{what}",
            std::process::id()
        ));
        std::fs::create_dir_all(&path)
            .and_then(|()| path.canonicalize())
            .map(|path| Scratch { path })
            .map_err(|error| PerfError::Options(format!("{}: {error}", path.display())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("odradek-perf: {} stays: {error}", self.path.display());
        }
    }
}

/// A server that runs; dropped, it is ended and its data are gone.
#[derive(Debug)]
pub struct Running {
    /// What it is.
    pub system: System,
    /// HOST:PORT.
    pub address: String,
    /// The process whose CPU counts.
    pub pid: u32,
    /// Its data.
    pub data: PathBuf,
    port: u16,
    scratch: Scratch,
    child: Option<Child>,
    kafka_peer: Option<PathBuf>,
    options: Vec<String>,
}

impl Running {
    /// Starts one with fresh data, and waits until it accepts connections. `options` are further words of the server's command line.
    ///
    /// # Errors
    /// When a program is missing or the server does not come up; the end of its log is in the words.
    pub fn start(system: System, tools: &Tools, options: &[String]) -> Result<Running, PerfError> {
        let scratch = Scratch::new(&tools.folder, system.name())?;
        let port = free_port()?;
        let mut running = Running {
            system,
            address: format!("127.0.0.1:{port}"),
            pid: 0,
            data: scratch.path.join("data"),
            port,
            scratch,
            child: None,
            kafka_peer: None,
            options: options.to_vec(),
        };
        match system.is_kafka() {
            true => running.start_kafka(&tools.kafka_peer()?)?,
            false => running.start_child(tools)?,
        }
        Ok(running)
    }

    /// Starts it again on the data that it left.
    ///
    /// # Errors
    /// As for [`Running::start`].
    pub fn restart(&mut self, tools: &Tools) -> Result<(), PerfError> {
        self.end();
        match self.system.is_kafka() {
            true => self.start_kafka(&tools.kafka_peer()?),
            false => self.start_child(tools),
        }
    }

    /// HOST:PORT of Odradek's metrics, as `odradek dev` places them.
    pub fn metrics_address(&self) -> String {
        format!("127.0.0.1:{}", self.port + METRICS_PORT_BESIDE)
    }

    fn log(&self) -> PathBuf {
        self.scratch.path.join("log")
    }

    fn start_child(&mut self, tools: &Tools) -> Result<(), PerfError> {
        let mut command = match self.system {
            System::Odradek => {
                let mut command = Command::new(tools.odradek()?);
                command.arg("dev");
                command
            }
            floor => {
                let mut command = Command::new(ours()?);
                command.args(["floor-server", "--mode"]);
                command.arg(match floor {
                    System::FloorSync => "sync",
                    _ => "ring",
                });
                command
            }
        };
        command.arg("--data-dir").arg(&self.data);
        command
            .args(["--listen", &self.address])
            .args(&self.options);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .and_then(|log| Ok((log.try_clone()?, log)));
        let (out, errors) =
            log.map_err(|error| PerfError::Options(format!("{}: {error}", self.log().display())))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .process_group(0)
            .spawn();
        let child =
            child.map_err(|error| PerfError::Options(format!("starting {command:?}: {error}")))?;
        self.pid = child.id();
        self.child = Some(child);
        self.wait_until_up()
    }

    fn wait_until_up(&mut self) -> Result<(), PerfError> {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        loop {
            if TcpStream::connect(&self.address).is_ok() {
                return Ok(());
            }
            let ended = match &mut self.child {
                Some(child) => child.try_wait().ok().flatten(),
                None => None,
            };
            if ended.is_some() || Instant::now() > deadline {
                return Err(PerfError::Unanswered(format!(
                    "{} did not come up on {}; the end of its log:\n{}",
                    self.system.name(),
                    self.address,
                    self.end_of_log()
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The last lines that the server wrote.
    pub fn end_of_log(&self) -> String {
        let path = match self.system.is_kafka() {
            true => self.data.join("server.log"),
            false => self.log(),
        };
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    fn start_kafka(&mut self, script: &Path) -> Result<(), PerfError> {
        let settings = match self.system {
            System::KafkaFlush => format!("{KAFKA_SETTINGS} log.flush.interval.messages=1"),
            _ => KAFKA_SETTINGS.to_string(),
        };
        let output = Command::new(script)
            .arg("start")
            .arg(&self.data)
            .arg(self.port.to_string())
            .env("_JAVA_OPTIONS", KAFKA_FLAGS)
            .env("KAFKA_PEER_OVERRIDES", settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .output();
        let output =
            output.map_err(|error| PerfError::Options(format!("{}: {error}", script.display())))?;
        self.kafka_peer = Some(script.to_path_buf());
        let pid = std::fs::read_to_string(self.data.join("pid")).unwrap_or_default();
        match pid.trim().parse() {
            Ok(pid) if output.status.success() => self.pid = pid,
            _ => {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(PerfError::Unanswered(format!(
                    "Apache Kafka did not come up: {}",
                    said.trim()
                )));
            }
        }
        Ok(())
    }

    /// Ends it as a power cut would: nothing is written any more. `restart` starts it again.
    ///
    /// # Errors
    /// When it does not run, or its process is still there a while later.
    pub fn kill(&mut self) -> Result<(), PerfError> {
        let failed = |what: String| PerfError::Unanswered(format!("kill -9: {what}"));
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or_else(|| failed("it does not run".into()))?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)
            .map_err(|error| failed(error.to_string()))?;
        if let Some(mut child) = self.child.take() {
            return child
                .wait()
                .map(drop)
                .map_err(|error| failed(error.to_string()));
        }
        let deadline = Instant::now() + Duration::from_secs(END_SECONDS_MAX);
        let there = format!("/proc/{}", self.pid);
        while Path::new(&there).exists() {
            if Instant::now() > deadline {
                return Err(failed(format!("pid {} is still there", self.pid)));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends it as an operator does, and waits; after a while it is killed.
    pub fn end(&mut self) {
        if let Some(script) = self.kafka_peer.take() {
            let ended = Command::new(&script)
                .arg("stop")
                .arg(&self.data)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status();
            if !ended.is_ok_and(|status| status.success()) {
                eprintln!("odradek-perf: Apache Kafka, pid {}, did not end", self.pid);
            }
        }
        if let Some(mut child) = self.child.take() {
            end_child(&mut child, Duration::from_secs(END_SECONDS_MAX));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// SIGTERM, then, after `patience`, SIGKILL; waited for in any case.
pub(crate) fn end_child(child: &mut Child, patience: Duration) {
    signal(child, rustix::process::Signal::TERM);
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Sends a signal to a child that was not waited for yet, so that its number is still its own.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// A port of 127.0.0.1 that nothing listens on, with the next one free as well (Kafka's controller), below the range from which the kernel
/// takes the ports of clients.
fn free_port() -> Result<u16, PerfError> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + (std::process::id() % 5_000) as u16 * 2;
    for _ in 0..1_000 {
        let port = start + 2 * NEXT.fetch_add(1, Ordering::Relaxed) % 1_000;
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        // The third is where Odradek serves its metrics.
        if free(port) && free(port + 1) && free(port + METRICS_PORT_BESIDE) {
            return Ok(port);
        }
    }
    Err(PerfError::Options(
        "no two free ports in a row from 20000 on".into(),
    ))
}
