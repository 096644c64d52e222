//! The real program as a child process: started, killed, stopped, and its log read. Also the tests' random numbers.

use super::client::Client;
use rustix::process::Signal;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A node that does not serve or end within this time hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the nodes' folders lie, if not under target. A file `.lose` there makes the file system forget what was not synced when a
/// seed is written to it (`lazy_fs`): that follows each `kill -9` then.
const FOLDER: &str = "ODRADEK_FAULT_FOLDER";

/// Numbers that a seed decides.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(length).collect()
    }
}

/// A node's folders, ports and options; the process comes and goes.
pub struct Node {
    folder: tempfile::TempDir,
    address: SocketAddr,
    arguments: Vec<String>,
    /// Holds a mount namespace in which the node sees its small file system.
    keeper: Option<Child>,
    child: Option<Child>,
    power_failures: u64,
}

impl Node {
    /// `directories` data directories and `overrides` of the configuration; nothing runs yet.
    pub fn new(directories: usize, overrides: &[&str]) -> Self {
        let given = std::env::var_os(FOLDER);
        let folder = tempfile::Builder::new()
            .prefix("faults-")
            .tempdir_in(given.unwrap_or(env!("CARGO_TARGET_TMPDIR").into()))
            .expect("a folder under target");
        let ports = free_ports();
        let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut arguments: Vec<String> = vec!["dev".to_string()];
        for (flag, port) in [
            ("--listen", ports),
            ("--controller-listen", ports + 1),
            ("--metrics-listen", ports + 2),
        ] {
            arguments.extend([flag.to_string(), address(port).to_string()]);
        }
        for index in 0..directories {
            let flag = if index == 0 {
                "--data-dir"
            } else {
                "--more-data-dir"
            };
            let path = folder.path().join(format!("data-{index}"));
            arguments.extend([flag.to_string(), path.display().to_string()]);
        }
        for setting in overrides {
            arguments.extend(["--override".to_string(), (*setting).to_string()]);
        }
        Self {
            folder,
            address: address(ports),
            arguments,
            keeper: None,
            child: None,
            power_failures: 0,
        }
    }

    /// A node whose first data directory is a memory file system of `mebibytes`, mounted for it alone.
    pub fn on_small_file_system(mebibytes: u64, overrides: &[&str]) -> Self {
        let mut node = Self::new(1, overrides);
        let path = node.data(0);
        fs::create_dir_all(&path).expect("the mount point");
        let script = format!(
            "mount -t tmpfs -o size={mebibytes}m tmpfs '{}' && echo mounted && exec sleep 600",
            path.display()
        );
        let mut keeper = Command::new("unshare")
            .args(["-m", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut line = String::new();
        let output = keeper.stdout.as_mut().expect("a pipe");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the keeper says something");
        assert_eq!(line.trim(), "mounted", "root may mount a small file system");
        node.keeper = Some(keeper);
        node
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A data directory by its place.
    pub fn data(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("data-{index}"))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// All that the node logged, over all its lives.
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// What the node logged from byte `from` on.
    pub fn log_from(&self, from: usize) -> String {
        self.log().get(from..).unwrap_or_default().to_string()
    }

    /// Starts the process and does not wait.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "one process at a time");
        let log: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the log opens");
        let program = env!("CARGO_BIN_EXE_odradek");
        let mut command = match &self.keeper {
            None => Command::new(program),
            Some(keeper) => {
                let mut command = Command::new("nsenter");
                command.args(["-t", &keeper.id().to_string(), "-m", program]);
                command
            }
        };
        let child = command
            .args(&self.arguments)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("the program starts"));
    }

    /// Waits until the node answers.
    pub fn wait_ready(&mut self) -> Client {
        let begun = Instant::now();
        loop {
            if let Ok(mut client) = Client::connect(self.address)
                && client.topics().is_ok()
            {
                return client;
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok());
            if let Some(Some(status)) = ended {
                panic!("the node ended ({status}):\n{}", tail(&self.log()));
            }
            if begun.elapsed() > PATIENCE {
                panic!("the node does not serve:\n{}", tail(&self.log()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts the process and waits until it answers.
    pub fn start(&mut self) -> Client {
        self.spawn();
        self.wait_ready()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a running node");
        let process = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(process, signal).expect("the node is there");
    }

    /// Waits for the process to end.
    pub fn wait_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a running node");
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                return status;
            }
            if begun.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the node does not end:\n{}", tail(&self.log()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// `kill -9`. The process must have run until then: nothing ends it but this.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let status = self.wait_end();
        if status.code().is_some() {
            panic!("the node had ended ({status}):\n{}", tail(&self.log()));
        }
        self.lose_unsynced();
    }

    /// The power failure after the kill, where the file system knows such.
    fn lose_unsynced(&mut self) {
        let Some(trigger) = std::env::var_os(FOLDER).map(|folder| Path::new(&folder).join(".lose"))
        else {
            return;
        };
        if trigger.exists() {
            self.power_failures += 1;
            let seed = self.power_failures.to_string();
            fs::write(trigger, seed).expect("the file system takes the seed");
        }
    }

    /// SIGTERM, and the code the process ended with.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait_end().code()
    }

    /// Segment files of a shard in a data directory, in the order of their names.
    pub fn segments(&self, directory: usize, shard: usize) -> Vec<PathBuf> {
        segments_in(&self.data(directory).join(format!("shard-{shard}")))
    }

    /// Segment files of the metadata log.
    pub fn metadata_segments(&self) -> Vec<PathBuf> {
        segments_in(&self.data(0).join("__cluster_metadata-0").join("log"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for mut child in self.child.take().into_iter().chain(self.keeper.take()) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the node's log:\n{}", tail(&self.log()));
        }
    }
}

fn segments_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the shard's folder");
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "segment"))
        .collect();
    paths.sort();
    paths
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// Three ports in a row that nobody listens on, below those the system gives to outgoing connections: a client that tries to
/// connect while the node is down must not take its port.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 1_000) as u16 * 10;
    for _ in 0..1_000 {
        let port = first.wrapping_add(NEXT.fetch_add(3, Ordering::Relaxed)) % 12_000 + 20_000;
        let free = (0..3).all(|step| TcpListener::bind((Ipv4Addr::LOCALHOST, port + step)).is_ok());
        if free {
            return port;
        }
    }
    panic!("no free ports");
}
