//! What an operator reads of the real binary: `/metrics` after producing, fetching and failing, and `/health` over a life.

#[allow(dead_code)] // Shared with `hostile.rs` and `start_up.rs`; each uses a part.
#[path = "support/mod.rs"]
mod support;

// The requests of the hostile cases serve here too.
#[allow(dead_code)]
#[path = "hostile/kafka.rs"]
mod kafka;

use std::collections::BTreeSet;
use support::node::try_get;
use support::{Node, NodeOptions};

/// One scrape.
struct Scrape(String);

impl Scrape {
    fn of(node: &Node) -> Self {
        let (status, text) = node.get("/metrics");
        assert_eq!(status, 200, "{text}");
        Self(text)
    }

    /// The sum of a metric's lines that have all these labels, written `name="value"`; none when there is no such line.
    fn sum(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let mut sum = None;
        for line in self.0.lines() {
            let Some(rest) = line.strip_prefix(name) else {
                continue;
            };
            if rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label)) {
                let value = rest
                    .rsplit(' ')
                    .next()
                    .and_then(|text| text.parse::<f64>().ok());
                *sum.get_or_insert(0.0) += value.expect("metrics are numbers");
            }
        }
        sum
    }

    fn value(&self, name: &str, labels: &[&str]) -> f64 {
        let sum = self.sum(name, labels);
        sum.unwrap_or_else(|| panic!("no {name} with {labels:?} in\n{}", self.0))
    }
}

/// Statistics of shards come to the metrics once a second: scrapes until that many batches are told.
fn scrape_with(node: &Node, batches: f64) -> Scrape {
    loop {
        let scrape = Scrape::of(node);
        let told = scrape.value("odradek_shard_batches_appended_total", &[]);
        assert!(told <= batches, "{told} batches");
        if told == batches {
            return scrape;
        }
        std::thread::yield_now();
    }
}

const BATCHES: u32 = 7;

/// A node that took batches, gave them back, and refused a topic it does not know.
fn used_node() -> Node {
    let node = Node::start(NodeOptions::with(&[
        "odradek.shards=2",
        "odradek.data.dir.bytes.max=2000000000",
        "auto.create.topics.enable=false",
    ]));
    let mut client = node.client();
    kafka::create_topic(&mut client, "watched", 1, &[]);
    for number in 0..BATCHES {
        kafka::append(
            &mut client,
            "watched",
            &[format!("value {number}").as_bytes()],
        );
    }
    let data = kafka::fetch(&mut client, "watched", 0);
    assert_eq!(kafka::values(&data, 0).len(), BATCHES as usize);
    let (error, _) = kafka::produce(&mut client, "unheard-of", kafka::batch(&[b"value"]));
    assert_eq!(error, 3);
    node
}

#[test]
fn metrics_tell_what_was_produced_fetched_and_refused() {
    let node = used_node();
    let batches = f64::from(BATCHES);
    let scrape = scrape_with(&node, batches);
    let is = |name: &str, labels: &[&str], expected: f64| {
        assert_eq!(scrape.value(name, labels), expected, "{name} {labels:?}");
    };
    let above = |name: &str, labels: &[&str], bound: f64| {
        let value = scrape.value(name, labels);
        assert!(value > bound, "{name} {labels:?} is {value}");
    };
    let produce = "api=\"Produce\"";
    is("odradek_requests_total", &[produce], batches + 1.0);
    is("odradek_request_seconds_count", &[produce], batches + 1.0);
    above("odradek_request_bytes_total", &[produce], batches * 70.0);
    above("odradek_response_bytes_total", &[produce], batches * 30.0);
    above("odradek_requests_total", &["api=\"Fetch\""], 0.0);
    let unknown = "error=\"UNKNOWN_TOPIC_OR_PARTITION\"";
    is("odradek_request_errors_total", &[produce, unknown], 1.0);
    is("odradek_shard_records_appended_total", &[], batches);
    is("odradek_shard_partitions", &[], 1.0);
    above("odradek_shard_fetched_bytes_total", &[], batches * 70.0);
}

#[test]
fn metrics_tell_how_logs_caches_rings_and_the_process_are() {
    let node = used_node();
    let batches = f64::from(BATCHES);
    let scrape = scrape_with(&node, batches);
    let is = |name: &str, labels: &[&str], expected: f64| {
        assert_eq!(scrape.value(name, labels), expected, "{name} {labels:?}");
    };
    let above = |name: &str, labels: &[&str], bound: f64| {
        let value = scrape.value(name, labels);
        assert!(value > bound, "{name} {labels:?} is {value}");
    };
    let shards = "log=\"shard-";
    above(
        "odradek_log_appended_bytes_total",
        &[shards],
        batches * 70.0,
    );
    above("odradek_log_writes_total", &[shards], batches - 1.0);
    above(
        "odradek_log_written_bytes_total",
        &[shards],
        batches * 4095.0,
    );
    above(
        "odradek_log_durable_write_seconds_count",
        &[shards],
        batches - 1.0,
    );
    above("odradek_log_durable_write_seconds_sum", &[shards], 0.0);
    above("odradek_log_segments_live", &[shards], 1.0);
    above("odradek_log_used_bytes", &[shards], 0.0);
    is("odradek_log_max_bytes", &[shards], 2e9);
    above("odradek_log_recovery_seconds", &[shards], 0.0);
    above("odradek_log_checkpoint_age_seconds", &[shards], 0.0);
    above(
        "odradek_log_appended_bytes_total",
        &["log=\"__cluster_metadata-0/log\""],
        0.0,
    );
    let tail = "cache=\"tail\"";
    above("odradek_cache_hits_total", &[shards, tail], batches - 1.0);
    above("odradek_cache_bytes", &[shards, tail], 0.0);
    above("odradek_cache_max_bytes", &[shards, tail], 0.0);
    is(
        "odradek_cache_hits_total",
        &[shards, "cache=\"block\""],
        0.0,
    );
    above("odradek_ring_submissions_total", &[], batches);
    above("odradek_ring_completions_total", &[], batches);
    above("odradek_ring_enters_total", &[], batches);
    is("odradek_loop_wake_ups_lost_total", &[], 0.0);
    above("odradek_loop_turn_seconds_count", &[], batches);
    above("process_cpu_seconds_total", &[], 0.0);
    above("process_resident_memory_bytes", &[], 1e6);
    above("process_open_fds", &[], 10.0);
    above("process_threads", &[], 3.0);
    above("process_start_time_seconds", &[], 1.6e9);
    is("odradek_node_state", &["state=\"serving\""], 1.0);
    is("odradek_node_state", &[], 1.0);
}

/// Names as Prometheus wants them, and words for a person with every one.
#[test]
fn every_metric_has_its_help_and_unit() {
    let node = used_node();
    let Scrape(text) = Scrape::of(&node);
    let mut helped = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some("#"), Some(what), Some(name), Some(rest)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let ours = name.starts_with("odradek_") || name.starts_with("process_");
        assert!(ours, "{line}");
        if what == "HELP" {
            assert!(rest.len() > 5 && helped.insert(name.to_string()), "{line}");
        } else {
            assert!(helped.contains(name), "no help before: {line}");
            assert!(!name.ends_with("_ms") && !name.ends_with("_us"), "{line}");
            let time = name.ends_with("_seconds");
            assert!(rest != "histogram" || time, "{line}");
        }
    }
    assert!(helped.len() > 80, "{} metrics", helped.len());
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn health_tells_the_state_the_directories_and_the_metadata_leader() {
    let mut node = used_node();
    let (status, text) = node.get("/health");
    assert_eq!(status, 200, "{text}");
    let health: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(health["state"], "serving");
    assert_eq!(health["fenced"], false);
    assert_eq!(health["recovery"]["logs"], 3);
    assert_eq!(health["recovery"]["recovered"], 3);
    assert_eq!(health["directories"][0]["online"], true);
    let path = health["directories"][0]["path"].as_str().expect("a path");
    assert_eq!(path, node.data.display().to_string());
    assert_eq!(health["metadata"]["leads"], true);
    assert_eq!(health["metadata"]["leader_id"], health["node_id"]);
    let committed = health["metadata"]["high_watermark"].as_i64();
    assert!(committed.is_some_and(|offset| offset > 0), "{text}");
    // Over the next start, each answer is either "serving" with 200, or another state with 503.
    node.kill();
    let http = node.http;
    let watching = std::thread::spawn(move || {
        let mut states = Vec::new();
        loop {
            // Nobody listens before the ports are bound.
            let Ok((status, text)) = try_get(http, "/health") else {
                std::thread::yield_now();
                continue;
            };
            let health: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
            let state = health["state"].as_str().expect("a word").to_string();
            assert_eq!(status == 200, state == "serving", "{text}");
            assert_eq!(health["fenced"], state != "serving", "{text}");
            if states.last() != Some(&state) {
                states.push(state);
            }
            if status == 200 {
                return states;
            }
            assert_eq!(status, 503);
        }
    });
    node.launch();
    let states = watching.join().expect("no panic");
    let order = ["starting", "recovering", "joining", "serving"];
    let places = states
        .iter()
        .map(|state| order.iter().position(|known| known == state));
    let places: Vec<usize> = places.map(|place| place.expect("a known state")).collect();
    assert!(places.is_sorted(), "{states:?}");
    assert!(node.stop().success());
    assert!(!node.log().contains("panicked"), "{}", node.log());
}
