//! A folder with a configuration and directories, and a run of the binary whose words and traces are kept.

use super::support::node::{BINARY, free_ports, test_folder};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// A start that should be refused and is not ends here.
const RUN_MAX: Duration = Duration::from_secs(60);

/// Cluster ids that format takes.
pub const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qk";
pub const OTHER_CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Ql";

/// One test's folder.
pub struct Setup {
    pub folder: TempDir,
    pub ports: [u16; 3],
}

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub text: String,
}

/// Files of a folder with their sizes and times of change; `.lock` files and the runs' own output aside.
pub type Snapshot = BTreeMap<PathBuf, (u64, SystemTime)>;

impl Setup {
    pub fn new() -> Self {
        Self {
            folder: test_folder(),
            ports: free_ports(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a server.properties for these directories; `changes` win over its lines, and an empty value takes a line out.
    pub fn config(&self, directories: &[&str], changes: &[(&str, &str)]) -> PathBuf {
        let [clients, controllers, metrics] = self.ports;
        let list: Vec<String> = directories
            .iter()
            .map(|name| self.path(name).display().to_string())
            .collect();
        let mut lines: BTreeMap<String, String> = [
            ("process.roles", "broker,controller".to_string()),
            ("node.id", "1".to_string()),
            (
                "listeners",
                format!("PLAINTEXT://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{controllers}"),
            ),
            ("controller.listener.names", "CONTROLLER".to_string()),
            (
                "controller.quorum.bootstrap.servers",
                format!("127.0.0.1:{controllers}"),
            ),
            ("log.dirs", list.join(",")),
            ("offsets.topic.replication.factor", "1".to_string()),
            ("odradek.metrics.listener", format!("127.0.0.1:{metrics}")),
            ("odradek.shards", "1".to_string()),
        ]
        .map(|(key, value)| (key.to_string(), value))
        .into();
        for (key, value) in changes {
            if value.is_empty() {
                lines.remove(*key);
            } else {
                lines.insert(key.to_string(), value.to_string());
            }
        }
        let text: String = lines
            .iter()
            .map(|(key, value)| format!("{key}={value}\n"))
            .collect();
        let path = self.path("server.properties");
        fs::write(&path, text).expect("our own folder takes a file");
        path
    }

    pub fn format(&self, config: &Path, flags: &[&str]) -> Outcome {
        let mut arguments = vec!["format", "-c", config.to_str().expect("a plain path")];
        arguments.extend_from_slice(flags);
        self.run(&[], &arguments)
    }

    /// Formats, and that must work.
    pub fn formatted(&self, config: &Path) {
        let outcome = self.format(config, &["-t", CLUSTER, "--standalone"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.text);
    }

    pub fn start(&self, config: &Path) -> Outcome {
        let config = config.to_str().expect("a plain path");
        self.run(&[], &["start", "--config", config])
    }

    /// Runs the binary to its end, behind a wrapper if one is named.
    pub fn run(&self, wrapper: &[&str], arguments: &[&str]) -> Outcome {
        let words: Vec<&str> = wrapper.iter().chain([&BINARY]).copied().collect();
        self.run_words(&words, arguments)
    }

    /// Runs a command to its end.
    pub fn run_words(&self, command: &[&str], arguments: &[&str]) -> Outcome {
        let words: Vec<&str> = command.iter().chain(arguments).copied().collect();
        let output = self.path("output");
        let file = fs::File::create(&output).expect("our own folder takes a file");
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file can be shared"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let start = Instant::now();
        let code = loop {
            if let Some(status) = child.try_wait().expect("our child can be asked") {
                break status.code();
            }
            if start.elapsed() > RUN_MAX {
                child.kill().expect("our child can be killed");
                child.wait().expect("a killed child ends");
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let text = fs::read_to_string(&output).expect("the output is readable");
        Outcome { code, text }
    }

    pub fn snapshot(&self) -> Snapshot {
        let mut found = Snapshot::new();
        collect(self.folder.path(), &mut found);
        found
    }

    /// A start that must end with code 1, say all these words, and leave every file as it was.
    pub fn refused(&self, config: &Path, words: &[&str]) -> String {
        let before = self.snapshot();
        let outcome = self.start(config);
        outcome.refused(words);
        assert_eq!(self.snapshot(), before, "nothing is changed");
        outcome.text
    }
}

impl Outcome {
    pub fn refused(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "`{word}` in: {}", self.text);
        }
        assert!(!self.text.contains("panicked"), "{}", self.text);
    }
}

fn collect(folder: &Path, found: &mut Snapshot) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            collect(&path, found);
        } else if name != ".lock" && name != "output" && name != "server.log" {
            let metadata = entry.metadata().expect("a file of ours has metadata");
            let changed = metadata.modified().expect("a file has a time of change");
            found.insert(path, (metadata.len(), changed));
        }
    }
}

/// Copies a directory as an operator would.
pub fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(status.expect("cp runs").success());
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
