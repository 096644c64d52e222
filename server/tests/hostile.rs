//! Hostile input against the running binary, by the numbers of the list of hostile cases: the answer that each must get,
//! from one node that goes on serving a healthy client, keeps within its memory, and is alive at the end.
//!
//! `hostile_cases` is the table of all that one node takes; the cases that kill, starve or damage a node have nodes of their
//! own and are tests of their own (`hostile/limits.rs`, `hostile/damage.rs`). Starts that are refused: `start_up.rs`.
//! One case alone: `ODRADEK_CASE=hostile_22 cargo test -p odradek-server --test hostile hostile_cases`.

#[allow(dead_code)] // Shared with `start_up.rs`; each uses a part.
#[path = "support/mod.rs"]
mod support;

#[path = "hostile/damage.rs"]
mod damage;
#[path = "hostile/fetches.rs"]
mod fetches;
#[path = "hostile/frames.rs"]
mod frames;
#[path = "hostile/groups.rs"]
mod groups;
#[path = "hostile/healthy.rs"]
mod healthy;
#[path = "hostile/kafka.rs"]
mod kafka;
#[path = "hostile/limits.rs"]
mod limits;
#[path = "hostile/produces.rs"]
mod produces;

use healthy::Healthy;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use support::{Node, NodeOptions};

type Case = (&'static str, fn(&Node));

const CASES: &[Case] = &[
    // Those that wait for a limit first: the others run meanwhile.
    (
        "hostile_05_slow_bytes_end_at_the_idle_limit",
        limits::slow_bytes,
    ),
    (
        "hostile_06_half_open_and_half_closed_connections_end",
        limits::half_open,
    ),
    (
        "hostile_21_a_client_that_never_reads_stalls_nobody",
        limits::never_reads,
    ),
    ("hostile_01_negative_size_closes", frames::negative_size),
    (
        "hostile_02_size_above_the_limit_closes",
        frames::size_above_limit,
    ),
    ("hostile_03_size_zero_closes", frames::size_zero),
    (
        "hostile_04_announced_bytes_are_not_allocated",
        frames::announced_bytes,
    ),
    ("hostile_07_unknown_api_key_closes", frames::unknown_api_key),
    (
        "hostile_08_unsupported_version_closes",
        frames::unsupported_version,
    ),
    (
        "hostile_09_api_versions_of_the_future_is_answered_in_v0",
        frames::api_versions_99,
    ),
    (
        "hostile_10_bad_software_name_is_refused",
        frames::bad_software_name,
    ),
    (
        "hostile_11_array_longer_than_the_frame_closes",
        frames::long_array,
    ),
    (
        "hostile_12_null_where_it_may_not_be_closes",
        frames::null_topics,
    ),
    (
        "hostile_13_bad_string_and_varint_lengths_close",
        frames::bad_lengths,
    ),
    (
        "hostile_14_trailing_bytes_are_ignored",
        frames::trailing_bytes,
    ),
    ("hostile_15_duplicate_tags_close", frames::duplicate_tags),
    ("hostile_16_http_and_tls_close", frames::other_protocols),
    (
        "hostile_17_thousands_pipelined_are_answered_in_order",
        frames::pipelined,
    ),
    (
        "hostile_18_connections_beyond_the_limit_per_address_close",
        limits::per_address,
    ),
    ("hostile_22_bad_crc_is_corrupt", produces::bad_crc),
    (
        "hostile_23_size_below_the_minimum_is_corrupt",
        produces::size_below_minimum,
    ),
    (
        "hostile_24_none_two_or_old_batches_are_invalid",
        produces::not_one_batch,
    ),
    (
        "hostile_25_count_that_offsets_belie_is_invalid",
        produces::wrong_count,
    ),
    (
        "hostile_26_control_batch_is_invalid",
        produces::control_batch,
    ),
    (
        "hostile_27_negative_sequence_is_invalid",
        produces::negative_sequence,
    ),
    (
        "hostile_28_keyless_on_a_compacted_topic_is_invalid",
        produces::keyless,
    ),
    (
        "hostile_29_timestamp_outside_limits_is_refused",
        produces::timestamp_outside,
    ),
    (
        "hostile_30_too_large_batches_are_refused",
        produces::too_large,
    ),
    (
        "hostile_31_zstd_before_its_version_is_refused",
        produces::zstd_too_early,
    ),
    ("hostile_32_bombs_are_bounded", produces::bombs),
    (
        "hostile_33_cut_streams_append_nothing",
        produces::cut_streams,
    ),
    ("hostile_34_acks_of_two_are_refused", produces::acks_of_two),
    (
        "hostile_35_acks_zero_with_an_error_closes",
        produces::acks_zero,
    ),
    (
        "hostile_36_internal_topics_are_not_for_clients",
        produces::internal_topic,
    ),
    (
        "hostile_37_a_lone_replica_is_enough_in_sync",
        produces::too_few_in_sync,
    ),
    (
        "hostile_38_repeats_and_gaps_of_sequences",
        produces::sequences,
    ),
    ("hostile_39_stale_epoch_is_refused", produces::stale_epoch),
    ("hostile_45_fetch_sessions_that_are_not", fetches::sessions),
    (
        "hostile_46_leader_epoch_of_the_future",
        fetches::future_epoch,
    ),
    ("hostile_47_offset_out_of_range", fetches::out_of_range),
    ("hostile_49_zombies_of_a_classic_group", groups::zombies),
    (
        "hostile_50_commit_with_too_much_metadata",
        groups::large_metadata,
    ),
    ("hostile_51_group_beyond_its_size", groups::full_group),
];

/// Cases that run at the same time.
const WORKERS: usize = 4;

/// What the node may hold at its worst: caches and buffers of two cores, and one bomb's bound on each. Measured: a third of it.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

fn options() -> NodeOptions {
    NodeOptions::with(&[
        "connections.max.idle.ms=4000",
        "max.connections.per.ip=200",
        "group.max.size=2",
        "group.initial.rebalance.delay.ms=0",
        "offsets.topic.num.partitions=4",
    ])
}

#[test]
fn hostile_cases() {
    let filter = std::env::var("ODRADEK_CASE").unwrap_or_default();
    let mut node = Node::start(options());
    let healthy = Healthy::start(node.address);
    let queue: Mutex<VecDeque<&Case>> = Mutex::new(
        CASES
            .iter()
            .filter(|(name, _)| name.contains(&filter))
            .collect(),
    );
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| run_cases(&node, &healthy, &queue, &failed));
        }
    });
    let mut failed = failed.into_inner().expect("no worker panics");
    if let Err(error) = healthy.stop() {
        failed.push(format!("the healthy client: {error}"));
    }
    if !node.is_alive() {
        failed.push("the node is gone".to_string());
    } else {
        let peak = node.memory_bytes("VmHWM");
        println!("the node's memory at its highest: {} MiB", peak >> 20);
        if peak > MEMORY_BYTES_MAX {
            failed.push(format!("the node took {} MiB of memory", peak >> 20));
        }
    }
    let log = node.log();
    if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
        failed.push(format!("the node's log says: {line}"));
    }
    assert!(failed.is_empty(), "\n{}\n", failed.join("\n"));
}

fn run_cases(
    node: &Node,
    healthy: &Healthy,
    queue: &Mutex<VecDeque<&Case>>,
    failed: &Mutex<Vec<String>>,
) {
    loop {
        let next = queue.lock().expect("no worker panics").pop_front();
        let Some((name, case)) = next else {
            return;
        };
        let before = healthy.rounds();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            case(node);
            healthy.expect_rounds_after(before);
        }));
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("{name} ... {word}");
        if let Err(cause) = outcome {
            let text = cause
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| cause.downcast_ref::<&str>().map(ToString::to_string));
            let text = text.unwrap_or_else(|| "it panicked".to_string());
            failed
                .lock()
                .expect("no worker panics")
                .push(format!("{name}: {text}"));
        }
    }
}
