//! The page that `odradek-perf report` writes: what it takes from files in the results folder, and what it leaves out.

use odradek_perf::page::{self, PageOptions};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A folder of results that goes with the test.
struct Results {
    folder: PathBuf,
}

impl Results {
    fn new(name: &str) -> Results {
        let folder =
            std::env::temp_dir().join(format!("odradek-page-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Results { folder }
    }

    fn keep(&self, file: &str, report: &Value) {
        std::fs::write(self.folder.join(file), report.to_string()).unwrap();
    }

    fn page(&self) -> String {
        let page = self.folder.join("RESULTS.md");
        let options = PageOptions {
            results: self.folder.clone(),
            page: page.clone(),
            tried: Path::new("/nowhere").into(),
        };
        page::run(&options).unwrap();
        std::fs::read_to_string(page).unwrap()
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn origin(at: u64, design: Value) -> Value {
    let mut origin = json!({
        "at_unix_seconds": at, "commit": format!("c{at}"), "command": "c", "machine": "a processor, 2 cores, 24104 MiB",
        "file_system": "f", "kernel": "k", "load_average_before": "0 0 0"
    });
    if !design.is_null() {
        origin["design"] = design;
        origin["note"] = "what it is".into();
    }
    origin
}

fn bar(name: &str, measured: f64) -> Value {
    json!({"name": name, "bound": {"at_most": 100.0}, "unit": "s", "measured": measured, "verdict": "held"})
}

fn row(name: &str, bars: &[(&str, f64)], values: Value) -> Value {
    let bars: Vec<Value> = bars
        .iter()
        .map(|(name, measured)| bar(name, *measured))
        .collect();
    json!({"name": name, "title": name, "bars": bars, "figures": [], "values": values, "notes": [], "commands": [], "seconds": 1.0})
}

fn report(origin: Value, rows: Vec<Value>) -> Value {
    json!({"origin": origin, "rows": rows, "interrupted": false})
}

/// The lines of a section.
fn section<'a>(page: &'a str, title: &str) -> &'a str {
    let at = page
        .find(title)
        .unwrap_or_else(|| panic!("no {title} in\n{page}"));
    let rest = &page[at..];
    rest[3..].find("\n## ").map_or(rest, |end| &rest[..end + 3])
}

#[test]
fn a_design_that_was_tried_stands_beside_what_was_before_and_is_no_result() {
    let results = Results::new("designs");
    let idle = |measured| vec![row("idle", &[("CPU at rest", measured)], json!({}))];
    let design = |name, side| json!({"name": name, "side": side, "kept": false});
    results.keep("bars-1.json", &report(origin(1, Value::Null), idle(11.0)));
    results.keep(
        "bars-2.json",
        &report(origin(2, design("fewer wakes", "before")), idle(22.0)),
    );
    results.keep(
        "bars-3.json",
        &report(origin(3, design("fewer wakes", "after")), idle(33.0)),
    );
    results.keep(
        "bars-4.json",
        &report(origin(4, design("another", "after")), idle(44.0)),
    );
    let page = results.page();
    let held = section(&page, "## Held or missed");
    assert!(
        held.contains("| 11.0 |") && !held.contains("33.0") && !held.contains("22.0"),
        "{held}"
    );
    let tried = section(&page, "## Designs tried");
    let line = |name: &str| tried.lines().find(|line| line.contains(name)).unwrap();
    let fewer = line("fewer wakes");
    assert!(
        fewer.contains("CPU at rest 22.0 s | CPU at rest 33.0 s | no |"),
        "{fewer}"
    );
    assert!(
        fewer.contains("what it is") && fewer.contains("bars-2.json"),
        "{fewer}"
    );
    // Without figures of its own before, the row's result until then stands in.
    assert!(
        line("another").contains("CPU at rest 11.0 s | CPU at rest 44.0 s"),
        "{tried}"
    );
}

#[test]
fn what_bounds_the_count_is_fitted_and_held_against_each_row() {
    let results = Results::new("bound");
    let columns = [
        ("many-10k", 1e4),
        ("many-100k", 1e5),
        ("many-1m", 1e6),
        ("many-2m", 2e6),
    ];
    let rows = columns.map(|(name, count)| {
        let memory = 8.0 + 400.0 * count / 1e6;
        let clean = 0.1 + 0.9 * count / 1e6;
        let bars = [
            ("memory after create", memory),
            ("clean start to first produce", clean),
        ];
        row(
            name,
            &bars,
            json!({"clean_start image MiB": 30.0 * count / 1e6}),
        )
    });
    results.keep(
        "bars-1.json",
        &report(origin(1, Value::Null), rows.to_vec()),
    );
    let page = results.page();
    let bound = section(&page, "## What bounds the count of partitions");
    let line = |name: &str| bound.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(
        line("| memory after create").contains("| 8.00 | 400 |"),
        "{bound}"
    );
    assert!(
        line("| memory after create").contains("60.2 million within 24104 MiB"),
        "{bound}"
    );
    assert!(
        line("| clean start").contains("1.90 / 1.90 (+0 %)"),
        "{bound}"
    );
    assert!(line("| image snapshot").contains("| 30.0 |"), "{bound}");
    assert!(
        bound.contains("first is *clean start*: about 3.22 million"),
        "{bound}"
    );
}

#[test]
fn a_profile_is_drawn_beside_its_row() {
    let results = Results::new("profile");
    let idle = vec![row("produce-1k", &[("throughput / Kafka", 4.0)], json!({}))];
    results.keep("bars-1.json", &report(origin(1, Value::Null), idle));
    let profile = |at, share: f64, design| {
        json!({
            "origin": origin(at, design), "name": "produce-1k", "work": "odradek-perf load", "requests_per_second": 1000.0,
            "megabytes_per_second": 1.0, "cpu_us_per_request": 3.0, "loop_per_request": {"sends": 0.5},
            "system_calls_per_request": {"io_uring_enter": 0.024}, "areas": {"kernel network": share, "our wal": 1.0 - share},
            "modules": {"wal::append": 1.0 - share}, "symbols": [["tcp_sendmsg", share]], "samples": 10, "not_measured": [],
            "interrupted": false
        })
    };
    results.keep("profile-1.json", &profile(1, 0.75, Value::Null));
    results.keep(
        "profile-2.json",
        &profile(2, 0.5, json!({"name": "d", "side": "after"})),
    );
    let page = results.page();
    let shares = section(&page, "## Where time goes");
    assert!(shares.contains("| kernel network | 75.0 % |"), "{shares}");
    assert!(
        shares.contains("| system calls a request | 0.024 |"),
        "{shares}"
    );
    let rows = section(&page, "## Row by row");
    assert!(
        rows.contains("Where its time goes: kernel network 75.0 %, our wal 25.0 %."),
        "{rows}"
    );
}
