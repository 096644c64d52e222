//! The produce floors answer the load as a server does: a fraction of a second of it is stored without an error, in both modes, and they
//! close a connection that sends nonsense. How fast is asserted nowhere.

use odradek_perf::report::LoadReport;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_odradek-perf");

/// A floor on a port of its own; ended, and its file gone, with the value.
struct Floor {
    child: Child,
    address: String,
    folder: PathBuf,
}

impl Floor {
    fn start(mode: &str) -> Floor {
        let name = format!(
            "odradek-floor-test-{}-{mode}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let folder = std::env::temp_dir().join(name.replace(['(', ')'], ""));
        let mut child = Command::new(PROGRAM)
            .args([
                "floor-server",
                "--mode",
                mode,
                "--listen",
                "127.0.0.1:0",
                "--file-mib",
                "4",
            ])
            .arg("--data-dir")
            .arg(&folder)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let errors = child.stderr.take().expect("it is piped");
        let mut errors = BufReader::new(errors);
        errors
            .read_line(&mut line)
            .expect("it says where it listens");
        let address = line
            .split_once(" on ")
            .and_then(|(_, rest)| rest.split_once(','))
            .map(|(address, _)| address.to_string());
        let Some(address) = address else {
            let _ = child.kill();
            panic!("the floor did not come up: {line}");
        };
        // Read on, or a floor with much to say would wait.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        Floor {
            child,
            address,
            folder,
        }
    }

    fn load(&self, words: &[&str]) -> LoadReport {
        let output = Command::new(PROGRAM)
            .args(["load", "--quiet", "--json", "--bootstrap", &self.address])
            .args(["--server-pid", &self.child.id().to_string()])
            .args(["--seconds", "0.3", "--warm-up-seconds", "0.1"])
            .args(words)
            .output()
            .expect("the load runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        serde_json::from_slice(&output.stdout).expect("a report")
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn answers_loads(mode: &str) {
    let floor = Floor::start(mode);
    // One at a time; many small ones; frames that span receives and fill a write each; and the file's end is passed many times.
    for words in [
        [
            "--connections",
            "1",
            "--in-flight",
            "1",
            "--batch-bytes",
            "4096",
        ],
        [
            "--connections",
            "8",
            "--in-flight",
            "32",
            "--batch-bytes",
            "1024",
        ],
        [
            "--connections",
            "4",
            "--in-flight",
            "5",
            "--batch-bytes",
            "921600",
        ],
    ] {
        let report = floor.load(&words);
        assert!(
            report.errors.is_empty(),
            "{mode} {words:?}: {:?}",
            report.errors
        );
        assert!(report.stored_batches > 0, "{mode} {words:?}");
        let server = report.server.expect("its process was named");
        assert!(server.resident_peak_bytes > 0);
    }
}

#[test]
fn the_sync_floor_answers_loads() {
    answers_loads("sync");
}

#[test]
fn the_ring_floor_answers_loads() {
    answers_loads("ring");
}

#[test]
fn nonsense_closes_its_connection_and_no_other() {
    for mode in ["sync", "ring"] {
        let floor = Floor::start(mode);
        for nonsense in [
            [0xFF_u8; 64].as_slice(),              // a frame of 4 GiB
            &[0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0, 0], // Fetch, which floors do not speak
            &[0, 0, 0, 3, 1, 2, 3],                // too short for a header
        ] {
            let mut stream = TcpStream::connect(&floor.address).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(60)))
                .unwrap();
            stream.write_all(nonsense).unwrap();
            let mut rest = Vec::new();
            // Closed in order, or reset since bytes were left unread: both are the end.
            if let Err(error) = stream.read_to_end(&mut rest) {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{mode}");
            }
            assert!(rest.is_empty(), "{mode}");
        }
        let report = floor.load(&["--batch-bytes", "1024"]);
        assert!(
            report.errors.is_empty() && report.stored_batches > 0,
            "{mode}"
        );
    }
}

#[test]
fn an_unknown_row_is_named() {
    let output = Command::new(PROGRAM)
        .args(["bars", "--only", "produce-17k"])
        .output()
        .expect("the program runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("produce-17k") && said.contains("produce-16k"),
        "{said}"
    );
}
