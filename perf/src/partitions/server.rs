//! The server under test: started as a process of its own on a fresh folder, stopped, killed, and looked at from outside
//! (/proc and the file system). What is asked of it over the wire is in `population`.

use crate::PerfError;
use crate::client::Client;
use crate::process;
use serde::Serialize;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a start or a stop may take before the run gives up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at a server that starts or stops.
const GLANCE: Duration = Duration::from_millis(1);
/// Bytes of the server's log that a failed start quotes.
const LOG_TAIL_BYTES: usize = 1_500;

/// A folder with a server's data, and the server while it runs. Dropping it ends the server and removes the folder.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    folder: PathBuf,
    overrides: Vec<String>,
    addresses: [String; 3],
    child: Option<Child>,
    keep: bool,
}

/// What a server takes from its machine at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Footprint {
    /// Memory resident, bytes.
    pub resident_bytes: u64,
    /// Most memory resident since its start or since the peak was last reset, bytes.
    pub resident_peak_bytes: u64,
    /// Open files, sockets and rings included.
    pub open_files: usize,
    /// Threads.
    pub threads: usize,
    /// Blocks that its folder takes on the disk, bytes.
    pub disk_bytes: u64,
    /// Bytes of the shards' checkpoints: what a start reads of each partition, beside the image.
    pub checkpoint_bytes: u64,
    /// Bytes of the newest snapshot of the metadata image.
    pub image_bytes: u64,
    /// Share of one core used while nothing was asked of it, over the time that was watched.
    pub idle_cpu_share: f64,
}

impl Server {
    /// A server whose data will lie in a new folder under `parent`.
    ///
    /// # Errors
    /// When the binary is not there, the folder cannot be made, or no port is free.
    pub fn prepare(
        binary: PathBuf,
        parent: &Path,
        overrides: Vec<String>,
        keep: bool,
    ) -> Result<Server, PerfError> {
        if !binary.is_file() {
            return Err(PerfError::Options(format!(
                "--binary {}: there is no such file; build it with `cargo build --release -p odradek-server`",
                binary.display()
            )));
        }
        let folder = parent.join(format!("odradek-partitions-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| {
            PerfError::Options(format!("{} cannot be made: {error}", folder.display()))
        })?;
        Ok(Server {
            binary,
            folder,
            overrides,
            addresses: free_addresses()?,
            child: None,
            keep,
        })
    }

    /// HOST:PORT for clients.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// The folder that holds the data and the log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The running process.
    ///
    /// # Errors
    /// When none runs.
    pub fn pid(&self) -> Result<u32, PerfError> {
        let child = self.child.as_ref();
        child
            .map(Child::id)
            .ok_or_else(|| PerfError::Options("the server does not run".into()))
    }

    /// Starts the process; the moment returned is the one before it was made.
    ///
    /// # Errors
    /// When the binary cannot be run.
    pub fn start(&mut self) -> Result<Instant, PerfError> {
        let failed = |error: std::io::Error| {
            PerfError::Options(format!("{} cannot be run: {error}", self.binary.display()))
        };
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .map_err(failed)?;
        let mut command = Command::new(&self.binary);
        command.arg("dev").arg("--data-dir");
        command.arg(self.folder.join("data"));
        let flags = ["--listen", "--controller-listen", "--metrics-listen"];
        for (flag, address) in flags.iter().zip(&self.addresses) {
            command.args([flag, address.as_str()]);
        }
        for setting in &self.overrides {
            command.args(["--override", setting]);
        }
        // A group of its own: Ctrl-C is for us, who then end the server.
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log);
        let began = Instant::now();
        self.child = Some(command.spawn().map_err(failed)?);
        Ok(began)
    }

    /// A connection as soon as the server takes one and answers on it.
    ///
    /// # Errors
    /// When the process ends instead, or nothing answers in time.
    pub fn connect(&mut self, began: Instant) -> Result<Client, PerfError> {
        loop {
            match Client::connect(self.address()) {
                Ok(client) => return Ok(client),
                Err(_) if began.elapsed() < PATIENCE => {}
                Err(error) => return Err(error),
            }
            if let Some(status) = self.exited()? {
                return Err(PerfError::Unanswered(format!(
                    "the server ended while starting ({status}); its last words:\n{}",
                    self.last_words()
                )));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Sends a signal and waits until the process is gone; says how long that took.
    ///
    /// # Errors
    /// When it does not run, or does not end in time.
    pub fn end(&mut self, signal: rustix::process::Signal) -> Result<Duration, PerfError> {
        let pid = rustix::process::Pid::from_raw(self.pid()? as i32);
        let pid = pid.ok_or_else(|| PerfError::Options("the server has no process id".into()))?;
        let began = Instant::now();
        rustix::process::kill_process(pid, signal)
            .map_err(|error| PerfError::network("signalling the server", error.into()))?;
        while self.exited()?.is_none() {
            if began.elapsed() > PATIENCE {
                return Err(PerfError::Unanswered(format!(
                    "the server still runs {} s after the signal; its last words:\n{}",
                    PATIENCE.as_secs(),
                    self.last_words()
                )));
            }
            std::thread::sleep(GLANCE);
        }
        self.child = None;
        Ok(began.elapsed())
    }

    /// What the server takes, after `watched` of being left alone.
    ///
    /// # Errors
    /// When it does not run or its folder cannot be read.
    pub fn footprint(&self, watched: Duration) -> Result<Footprint, PerfError> {
        let pid = self.pid()?;
        let (began, before) = (Instant::now(), process::usage(pid)?);
        std::thread::sleep(watched);
        let after = process::usage(pid)?;
        let seconds = began.elapsed().as_secs_f64();
        let data = self.folder.join("data");
        let count = |name: &str| fs::read_dir(format!("/proc/{pid}/{name}")).map(Iterator::count);
        let counted = |name: &str| {
            count(name).map_err(|error| PerfError::network(format!("reading /proc/{pid}"), error))
        };
        Ok(Footprint {
            resident_bytes: after.resident_bytes,
            resident_peak_bytes: after.resident_peak_bytes,
            open_files: counted("fd")?,
            threads: counted("task")?,
            disk_bytes: process::disk_bytes(&data),
            checkpoint_bytes: process::file_bytes(&data, &["base", "delta", "index"]),
            image_bytes: newest_image_bytes(&data.join("__cluster_metadata-0")),
            idle_cpu_share: (after.cpu_seconds - before.cpu_seconds) / seconds,
        })
    }

    /// Lets the kernel count the peak of resident memory from now on.
    ///
    /// # Errors
    /// When the server does not run or the kernel refuses.
    pub fn reset_peak(&self) -> Result<(), PerfError> {
        let path = format!("/proc/{}/clear_refs", self.pid()?);
        fs::write(&path, "5").map_err(|error| PerfError::network(path, error))
    }

    fn exited(&mut self) -> Result<Option<ExitStatus>, PerfError> {
        let Some(child) = &mut self.child else {
            return Ok(None);
        };
        child
            .try_wait()
            .map_err(|error| PerfError::network("waiting for the server", error))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    fn last_words(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !self.keep {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Three addresses that were free a moment ago: clients', controllers', metrics.
fn free_addresses() -> Result<[String; 3], PerfError> {
    let failed = |error| PerfError::network("looking for a free port", error);
    let bind = || TcpListener::bind("127.0.0.1:0").map_err(failed);
    let listeners = [bind()?, bind()?, bind()?];
    let mut addresses = [const { String::new() }; 3];
    for (address, listener) in addresses.iter_mut().zip(&listeners) {
        *address = listener.local_addr().map_err(failed)?.to_string();
    }
    Ok(addresses)
}

/// Bytes of the snapshot that a start would read: the one of the highest offset, which its name begins with. 0 while there is none.
fn newest_image_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let snapshots = entries.filter(|entry| {
        entry
            .path()
            .extension()
            .is_some_and(|kind| kind == "checkpoint")
    });
    let newest = snapshots.max_by_key(fs::DirEntry::file_name);
    newest
        .and_then(|entry| entry.metadata().ok())
        .map_or(0, |metadata| metadata.len())
}
