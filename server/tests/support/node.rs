//! A node of the built binary as a child process: started on free ports, ready when it answers ApiVersions, killed and
//! removed when dropped. Its log is shown when a test fails.

use super::client::Client;
use odradek_protocol::ApiKey;
use odradek_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_odradek");

/// A start on a busy machine takes no longer.
const START_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// How a node is started.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// `KEY=VALUE`, as `--override` takes them.
    pub overrides: Vec<String>,
    /// A command that runs the binary, such as `setpriv` with its flags.
    pub wrapper: Vec<String>,
}

impl NodeOptions {
    pub fn with(overrides: &[&str]) -> Self {
        Self {
            overrides: overrides.iter().map(ToString::to_string).collect(),
            wrapper: Vec::new(),
        }
    }

    pub fn wrapped(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(ToString::to_string).collect();
        self
    }
}

/// A running `odradek dev`.
pub struct Node {
    pub address: SocketAddr,
    /// Where `/metrics` and `/health` are.
    pub http: SocketAddr,
    pub data: PathBuf,
    options: NodeOptions,
    ports: [u16; 3],
    child: Option<Child>,
    log: PathBuf,
    _folder: Option<TempDir>,
}

/// Ports nobody listens on now, all different.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free")
    });
    listeners.map(|listener| {
        let address = listener.local_addr().expect("a bound port has an address");
        address.port()
    })
}

/// A folder for one test, which any user may enter.
pub fn test_folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().expect("a temporary folder can be made");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))
        .expect("our own folder takes permissions");
    folder
}

impl Node {
    /// A node with a folder of its own, ready to serve.
    pub fn start(options: NodeOptions) -> Self {
        let folder = test_folder();
        let root = folder.path().to_path_buf();
        let mut node = Self::prepare(options, &root);
        node._folder = Some(folder);
        node.launch();
        node
    }

    /// A node in a folder of the test's own.
    pub fn start_in(options: NodeOptions, root: &Path) -> Self {
        let mut node = Self::prepare(options, root);
        node.launch();
        node
    }

    fn prepare(options: NodeOptions, root: &Path) -> Self {
        let ports = free_ports();
        Self {
            address: (Ipv4Addr::LOCALHOST, ports[0]).into(),
            http: (Ipv4Addr::LOCALHOST, ports[2]).into(),
            data: root.join("data"),
            log: root.join("server.log"),
            options,
            ports,
            child: None,
            _folder: None,
        }
    }

    /// Starts the process and waits until it serves.
    pub fn launch(&mut self) {
        self.spawn();
        self.wait_until_ready();
    }

    /// Starts the process, which must end by itself with code 1; what it logged in this life.
    pub fn launch_refused(&mut self) -> String {
        let before = self.log().len();
        self.spawn();
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.exit_status() {
                break status;
            }
            assert!(
                start.elapsed() < START_MAX,
                "the node does not end\n{}",
                self.log()
            );
            std::thread::sleep(POLL);
        };
        self.child = None;
        assert_eq!(status.code(), Some(1), "{}", self.log());
        self.log()[before..].to_string()
    }

    fn spawn(&mut self) {
        assert!(self.child.is_none(), "a node is started when it is stopped");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the log opens");
        let mut words = self.options.wrapper.clone();
        words.push(BINARY.to_string());
        let [listen, controller, metrics] = self.ports.map(|port| format!("127.0.0.1:{port}"));
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg("dev")
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--listen", &listen])
            .args(["--controller-listen", &controller])
            .args(["--metrics-listen", &metrics])
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log);
        // Two shards wherever a test does not choose, so that requests are split and mail crosses cores on any machine.
        command.args(["--override", "odradek.shards=2"]);
        for pair in &self.options.overrides {
            command.args(["--override", pair]);
        }
        let child = command.spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{words:?}: {error}")));
    }

    fn wait_until_ready(&mut self) {
        let start = Instant::now();
        while !self.answers() {
            if let Some(status) = self.exit_status() {
                panic!("the node ended at its start: {status}\n{}", self.log());
            }
            assert!(
                start.elapsed() < START_MAX,
                "the node does not serve\n{}",
                self.log()
            );
            std::thread::sleep(POLL);
        }
    }

    fn answers(&self) -> bool {
        let Ok(mut client) = Client::try_connect(self.address) else {
            return false;
        };
        client
            .try_call::<_, ApiVersionsResponse>(
                ApiKey::ApiVersions,
                0,
                &ApiVersionsRequest::default(),
            )
            .is_ok()
    }

    /// How the process ended, if it did.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        child.try_wait().expect("our child can be asked")
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.is_some() && self.exit_status().is_none()
    }

    /// Where controllers and their tools connect.
    pub fn controller_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[1]).into()
    }

    /// A page of the HTTP port: status line and body.
    pub fn page(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[2]))
            .expect("the HTTP port is open");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .expect("a request is taken");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("a page is text and ends");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head, then a body");
        let status = head.lines().next().unwrap_or_default().to_string();
        (status, body.to_string())
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// What HTTP answers: the status and the body.
    pub fn get(&self, path: &str) -> (u16, String) {
        try_get(self.http, path).expect("HTTP is served")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the node runs");
        child.kill().expect("our child can be killed");
        child.wait().expect("a killed child ends");
    }

    /// SIGTERM, and the exit that follows.
    pub fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the node runs");
        signal(&child, rustix::process::Signal::TERM);
        child.wait().expect("a stopped child ends")
    }

    /// All it logged, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A line of `/proc/PID/status` in bytes: `VmRSS` or `VmHWM`.
    pub fn memory_bytes(&self, line: &str) -> u64 {
        let child = self.child.as_ref().expect("the node runs");
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()))
            .expect("a running process has a status");
        let kib = status
            .lines()
            .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
            .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("the kernel says how much memory a process has") * 1024
    }
}

/// What HTTP at that address answers: the status and the body.
pub fn try_get(http: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(http)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((status, body.to_string()))
}

pub fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("our child takes a signal");
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            eprintln!("the node's log ends:\n{}", tail.join("\n"));
        }
    }
}
