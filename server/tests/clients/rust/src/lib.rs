//! What the Rust client programs share: the records every client writes, the checks on what comes back, and the
//! command line. README.md of the folder above describes the scenarios; the programs are in `bin/`.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::{Duration, Instant};

pub const RECORDS: usize = 1000;
pub const PARTITIONS: usize = 3;

/// Timestamp of record 0. A run gives all its programs the same recent time: a server may remove what is older than its
/// retention.
pub fn base_timestamp_ms() -> i64 {
    std::env::var("TEST_BASE_TIMESTAMP_MS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_700_000_000_000)
}

/// What a scenario found wrong, in words.
pub type Outcome<T> = Result<T, String>;

/// Record number `i` of every test topic: the same in every language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: BTreeMap<String, Vec<u8>>,
    pub timestamp_ms: i64,
}

impl Record {
    pub fn new(i: usize) -> Record {
        let letter = char::from(b'a' + (i % 26) as u8).to_string();
        let headers = [
            ("n".to_string(), i.to_string().into_bytes()),
            ("raw".to_string(), vec![0, 255, (i % 256) as u8]),
        ];
        Record {
            key: (i % 7 != 0).then(|| format!("key-{i:06}").into_bytes()),
            value: (i % 13 != 0 || i % 7 == 0)
                .then(|| format!("value-{i:06}-{}", letter.repeat(i % 200)).into_bytes()),
            headers: if i % 5 == 0 {
                BTreeMap::new()
            } else {
                BTreeMap::from(headers)
            },
            timestamp_ms: base_timestamp_ms() + i as i64 * 1000,
        }
    }
}

/// Ends the scenario with `message` unless `condition` holds.
pub fn check(condition: bool, message: impl Into<String>) -> Outcome<()> {
    if condition {
        Ok(())
    } else {
        Err(message.into())
    }
}

pub fn equal<T: PartialEq + std::fmt::Debug>(got: T, wanted: T, what: &str) -> Outcome<()> {
    check(
        got == wanted,
        format!("{what}: got {got:?}, expected {wanted:?}"),
    )
}

/// Calls `attempt` until it says true, for at most 30 s.
pub async fn until<F: Future<Output = Outcome<bool>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> Outcome<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !attempt().await? {
        check(
            Instant::now() < deadline,
            format!("{what}: not within 30 s"),
        )?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Collects what came back and compares it with what was written (record i at offset i / partitions).
pub struct Received {
    topic: String,
    partitions: usize,
    pub seen: BTreeSet<usize>,
    pub duplicates: usize,
}

impl Received {
    pub fn new(topic: &str, partitions: usize) -> Received {
        Received {
            topic: topic.to_string(),
            partitions,
            seen: BTreeSet::new(),
            duplicates: 0,
        }
    }

    pub fn add(&mut self, partition: i32, offset: i64, record: Record) -> Outcome<()> {
        let i = offset as usize * self.partitions + partition as usize;
        equal(
            record,
            Record::new(i),
            &format!("{}-{partition} offset {offset}", self.topic),
        )?;
        if !self.seen.insert(i) {
            self.duplicates += 1;
        }
        Ok(())
    }
}

/// Options of one run; `prefix` already holds the client's name.
#[derive(Debug, Clone)]
pub struct Options {
    pub bootstrap: String,
    pub prefix: String,
    pub scenario: String,
    pub read: Vec<String>,
}

/// Reads the command line of program `client`.
pub fn options(client: &str) -> Options {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given: BTreeMap<&str, &str> = arguments
        .chunks_exact(2)
        .map(|pair| (pair[0].as_str(), pair[1].as_str()))
        .collect();
    let value = |name: &str| given.get(name).copied().unwrap_or_default().to_string();
    Options {
        bootstrap: value("--bootstrap"),
        prefix: format!("{}-{client}", value("--topic-prefix")),
        scenario: value("--scenario"),
        read: value("--read")
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_string)
            .collect(),
    }
}

/// Prints `ok CLIENT SCENARIO` or the reason, and ends the program.
pub fn finish(client: &str, scenario: &str, outcome: Outcome<String>) -> ! {
    match outcome {
        Ok(note) if note.is_empty() => println!("ok {client} {scenario}"),
        Ok(note) => println!("ok {client} {scenario} ({note})"),
        Err(reason) => {
            println!("FAIL {client} {scenario}: {reason}");
            std::process::exit(1);
        }
    }
    std::process::exit(0);
}
