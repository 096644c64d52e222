//! The commands `load`, `fetch` and `sessions` against a server in this process: what they send, what they count, and what they
//! say when the server does something wrong. How fast they are is no matter here.

mod responder;

use clap::Parser;
use odradek_perf::client::Client;
use odradek_perf::fetch::{self, FetchOptions};
use odradek_perf::load::{self, LoadOptions};
use odradek_perf::report::LoadReport;
use odradek_perf::sessions::{self, SessionsOptions};
use responder::Responder;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

#[derive(Parser)]
struct Load {
    #[command(flatten)]
    options: LoadOptions,
}

#[derive(Parser)]
struct Fetch {
    #[command(flatten)]
    options: FetchOptions,
}

#[derive(Parser)]
struct Sessions {
    #[command(flatten)]
    options: SessionsOptions,
}

fn words(responder: &Responder, more: &str) -> Vec<String> {
    let address = responder.address.to_string();
    let fixed = ["perf", "--quiet", "--topic", "t", "--bootstrap", &address];
    let words = fixed.into_iter().chain(more.split_whitespace());
    words.map(String::from).collect()
}

fn load(responder: &Responder, more: &str) -> LoadReport {
    let partitions = responder.state().partitions;
    let mut more = format!("--partitions {partitions} {more}");
    for (option, usual) in [("--seconds", "0.3"), ("--warm-up-seconds", "0.05")] {
        if !more.split_whitespace().any(|word| word == option) {
            more += &format!(" {option} {usual}");
        }
    }
    let line = Load::parse_from(words(responder, &more));
    load::run(&line.options, &AtomicBool::new(false)).unwrap()
}

fn fetch(responder: &Responder, more: &str) -> fetch::FetchReport {
    let line = Fetch::parse_from(words(responder, more));
    fetch::run(&line.options, &AtomicBool::new(false)).unwrap()
}

#[track_caller]
fn content(responder: &Responder) {
    let state = responder.state();
    assert!(state.complaints.is_empty(), "{:?}", state.complaints);
}

#[test]
fn a_topic_beyond_one_request_is_waited_for_until_all_of_it_is_known_and_led() {
    let responder = Responder::start(20_000);
    responder.state().shown = [0, 0, 9_000, 9_000, 18_000].into();
    responder.state().unled = 2;
    let mut client = Client::connect(&responder.address.to_string()).unwrap();
    let topic = client.ensure_topic("t", 20_000).unwrap();
    assert_eq!(topic.partitions, 20_000);
    assert_eq!(responder.state().made, [9_000, 18_000, 20_000]);
    assert_eq!(responder.state().unled, 0);
    // One that was there before is not waited for.
    let refused = client.ensure_topic("t", 20_001).unwrap_err().to_string();
    assert!(
        refused.contains("has 20000 partitions, not 20001"),
        "{refused}"
    );
}

#[test]
fn every_answered_batch_is_with_the_server_and_every_partition_gets_some() {
    for more in [
        "--batch-bytes 1024",
        "--batch-bytes 20000 --record-bytes 500 --threads 2",
        "--partitions-per-request 3 --batch-bytes 300",
        "--partitions-per-request 10 --batch-bytes 9000 --compression snappy --keys 20",
    ] {
        let responder = Responder::start(10);
        let report = load(&responder, more);
        content(&responder);
        assert!(report.requests > 0 && report.errors.is_empty(), "{more}");
        assert_eq!(report.stored_batches, responder.state().batches(), "{more}");
        assert_eq!(responder.state().logs.len(), 10, "{more}");
    }
}

#[test]
fn idempotent_producers_send_in_sequence_and_begin_again_after_a_refusal() {
    let responder = Responder::start(10);
    let more = "--idempotent --connections 3 --partitions-per-request 2 --batch-bytes 3000";
    let report = load(&responder, more);
    content(&responder);
    assert!(report.requests > 0 && report.errors.is_empty(), "{report}");
    assert_eq!(report.stored_batches, responder.state().batches());

    responder.state().refusals = 1;
    let report = load(&responder, &format!("{more} --warm-up-seconds 0"));
    let mut errors = report.errors.clone();
    errors.append(&mut report.warm_up_errors.clone());
    assert_eq!(errors["NOT_LEADER_OR_FOLLOWER (6)"], 1, "{report}");
    // Later batches of the same producer cannot be in sequence; those of the next one are.
    let later = errors.get("OUT_OF_ORDER_SEQUENCE_NUMBER (45)").copied();
    assert!(later.unwrap_or_default() < 20, "{report}");
    assert!(report.requests > 20, "{report}");
}

#[test]
fn without_answers_what_was_sent_is_counted_and_arrives() {
    let responder = Responder::start(4);
    let report = load(&responder, "--acks 0 --batch-bytes 500");
    for _ in 0..2_000 {
        if responder.state().batches() >= report.stored_batches {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    content(&responder);
    assert!(report.stored_batches > 0);
    assert_eq!(report.stored_batches, responder.state().batches());
}

#[test]
fn at_a_given_rate_a_stall_counts_for_every_request_that_was_due() {
    let responder = Responder::start(4);
    responder.state().stall = Some(Duration::from_millis(400));
    let report = load(
        &responder,
        "--rate 500 --batch-bytes 500 --warm-up-seconds 0 --seconds 1 --in-flight 10",
    );
    content(&responder);
    // The stalled request waited for 400 ms, less what it took to get there, and those due meanwhile for what was left of it: 200 of 500.
    assert!(report.latency.max_us >= 300_000.0, "{report}");
    assert!(report.latency.p90_us >= 100_000.0, "{report}");
    let open_loop = report.open_loop.unwrap();
    assert!(open_loop.backlog_requests_max > 0, "{report}");
    assert_eq!(open_loop.given_up_requests, 0, "{report}");
}

#[test]
fn a_backlog_beyond_its_bound_is_given_up_and_said() {
    let responder = Responder::start(4);
    responder.state().stall = Some(Duration::from_millis(300));
    let report = load(
        &responder,
        "--rate 2000 --backlog-max 10 --batch-bytes 500 --seconds 0.6",
    );
    assert!(report.open_loop.unwrap().given_up_requests > 0, "{report}");
    assert!(report.to_string().contains("BACKLOG FULL"), "{report}");
}

#[test]
fn consumers_of_an_end_to_end_run_get_every_batch() {
    for more in [
        "--rate 300 --batch-bytes 1000",
        "--batch-bytes 20000 --keys 7",
    ] {
        let responder = Responder::start(6);
        let more = format!("--mode end-to-end --consumers 4 --connections 2 {more}");
        let report = load(&responder, &more);
        content(&responder);
        let arrivals = report.arrivals.clone().unwrap();
        assert_eq!(arrivals.batches, report.stored_batches, "{report}");
        assert_eq!(arrivals.missing_batches, 0, "{report}");
        assert!(arrivals.latency.p50_us > 0.0, "{report}");
    }
}

#[test]
fn a_fetch_reads_all_once_or_the_tail_again_and_again() {
    let responder = Responder::start(5);
    let stored = load(&responder, "--batch-bytes 2048").stored_batches;
    for check in ["crc", "headers", "none"] {
        let all = fetch(&responder, &format!("--check {check}"));
        assert_eq!((all.batches, all.problems), (stored, 0), "{all}");
    }
    let tail = fetch(&responder, "--from tail --tail-records 2");
    assert_eq!(tail.records, 5 * 2, "{tail}");
    let again = fetch(&responder, "--from tail --tail-records 2 --seconds 0.2");
    assert!(again.passes > 5 && again.problems == 0, "{again}");
}

#[test]
fn a_fetch_finds_a_changed_byte_and_a_gap() {
    let responder = Responder::start(1);
    load(&responder, "--batch-bytes 2048");
    {
        let mut state = responder.state();
        let log = state.logs.get_mut(&0).unwrap();
        let mut bytes = log[3].1.to_vec();
        bytes[200] ^= 1;
        log[3].1 = bytes.into();
    }
    let report = fetch(&responder, "");
    assert_eq!(report.problems, 1, "{report}");
    assert_eq!(fetch(&responder, "--check headers").problems, 0);
    responder.state().logs.get_mut(&0).unwrap().remove(5);
    assert_eq!(fetch(&responder, "--check headers").problems, 1);
}

#[test]
fn consumers_with_sessions_get_what_trickles_in() {
    let responder = Responder::start(20);
    let line = Sessions::parse_from(words(
        &responder,
        "--partitions 20 --consumers 5 --partitions-each 8 --produce-rate 100 --seconds 0.5 --warm-up-seconds 0.1",
    ));
    let report = sessions::run(&line.options, &AtomicBool::new(false)).unwrap();
    content(&responder);
    assert_eq!(report.sessions_begun, 5, "{report}");
    assert!(report.batches_written > 10, "{report}");
    // Each partition is in two sessions.
    assert!(report.batches_arrived > report.batches_written, "{report}");
    assert!(report.arrival.p50_us > 0.0, "{report}");
}
