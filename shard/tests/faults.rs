//! Disks that fail, fill up, flip bits or are slow, as clients see them.

mod common;

use common::*;
use odradek_protocol::ErrorCode;
use odradek_shard::command::*;
use odradek_shard::{Event, Reply, ShardOptions, TopicConfig};
use odradek_wal::{FileName, IoFailureKind, LogOptions};

/// A log that keeps next to nothing in memory, so that reads go to the disk.
fn cold_log() -> LogOptions {
    LogOptions {
        tail_cache_bytes: 0,
        frame_cache_bytes: 0,
        ..small_log()
    }
}

fn filled(log: LogOptions, partitions: i32) -> Node {
    let mut node = Node::over(ShardOptions::default(), 1, log);
    let all = (0..partitions).map(|index| creation(key(1, index), TopicConfig::default()));
    node.metadata(all.collect());
    node.settle();
    let long = "x".repeat(20_000);
    for round in 0..30 {
        for partition in 0..partitions {
            let value = format!("{partition}-{round}-{long}");
            assert_eq!(
                node.produce(key(1, partition), batch(&[&value])).error,
                ErrorCode::None
            );
        }
    }
    node
}

#[test]
fn reads_that_need_the_disk_are_waited_for_and_answered_whole() {
    let mut node = filled(cold_log(), 3).crash();
    let all = (0..3).map(|index| creation(key(1, index), TopicConfig::default()));
    node.metadata(all.collect());
    let wants = (0..3).map(|partition| want(key(1, partition), 0)).collect();
    let command = FetchCommand {
        max_wait_ms: 0,
        ..node.fetch_command(wants)
    };
    let token = command.token;
    node.step(Event::Fetch(command));
    assert!(node.fetched(token).is_none(), "answered without the disk");
    node.settle();
    let reply = node.fetched(token).expect("the disk has answered");
    for (partition, part) in reply.partitions.iter().enumerate() {
        let read = values(part);
        assert!(read.len() > 7, "one read brings a good part");
        let prefix = format!("{partition}-7-");
        assert!(read[7].1.starts_with(prefix.as_bytes()));
        assert_eq!(node.read_all(key(1, partition as i32), 0).len(), 30);
    }
}

#[test]
fn a_session_fetch_overtaken_while_the_disk_reads_answers_both() {
    let mut node = filled(cold_log(), 2).crash();
    let all = (0..2).map(|index| creation(key(1, index), TopicConfig::default()));
    node.metadata(all.collect());
    let session = SessionKey { core: 0, id: 5 };
    let wants = (0..2).map(|partition| want(key(1, partition), 0)).collect();
    let open = FetchSession::Open(session);
    let first = FetchCommand {
        session: open,
        ..node.fetch_command(wants)
    };
    let again = FetchSession::Incremental {
        session,
        forgotten: vec![],
    };
    let second = FetchCommand {
        session: again,
        ..node.fetch_command(vec![])
    };
    let tokens = [first.token, second.token];
    node.step(Event::Fetch(first));
    node.step(Event::Fetch(second));
    node.settle();
    assert!(
        node.fetched(tokens[0]).is_some(),
        "the first is answered with what was there"
    );
    let reply = node.fetched(tokens[1]).expect("the second has the records");
    assert!(reply.partitions.iter().all(|part| !part.records.is_empty()));
    assert_eq!(reply.partitions.len(), 2);
}

#[test]
fn hostile_60_a_failing_disk_takes_its_directory_offline_and_only_that() {
    let mut node = Node::with(ShardOptions::default(), 2);
    let (failing, healthy) = (key(1, 0), key(1, 1));
    for key in [failing, healthy] {
        node.metadata(vec![creation(key, TopicConfig::default())]);
        node.settle();
    }
    assert_eq!(node.produce(failing, batch(&["a"])).error, ErrorCode::None);
    let lost = node.send(failing, batch(&["b"]), -1);
    let waiting = FetchCommand {
        max_wait_ms: 60_000,
        ..node.fetch_command(vec![want(failing, 1)])
    };
    let token = waiting.token;
    node.step(Event::Fetch(waiting));
    node.fail_io(IoFailureKind::Device);
    assert_eq!(node.produced(lost).error, ErrorCode::KafkaStorageError);
    assert_eq!(node.offline, vec![0]);
    let told = node.fetched(token).expect("who waits is told");
    assert_eq!(told.partitions[0].error, ErrorCode::KafkaStorageError);
    assert_eq!(
        node.produce(failing, batch(&["c"])).error,
        ErrorCode::KafkaStorageError
    );
    assert_eq!(node.fetch(failing, 0).error, ErrorCode::KafkaStorageError);
    assert_eq!(node.produce(healthy, batch(&["d"])).error, ErrorCode::None);
    assert_eq!(node.read_all(healthy, 0).len(), 1);
    let line = "log directory";
    assert!(
        node.messages
            .iter()
            .any(|message| message.to_string().starts_with(line))
    );
}

#[test]
fn case_13_a_full_directory_refuses_produce_and_still_reads_and_deletes() {
    let log = LogOptions {
        directory_bytes_max: 8 << 20,
        ..small_log()
    };
    let mut node = Node::over(ShardOptions::default(), 1, log);
    let key = node.create(1, 0, TopicConfig::default());
    let long = "x".repeat(100_000);
    let mut taken = 0;
    let refused = loop {
        let reply = node.produce(key, batch(&[&long]));
        if reply.error != ErrorCode::None {
            break reply;
        }
        taken += 1;
        assert!(taken < 1_000, "a bounded directory never fills up");
    };
    assert_eq!(refused.error, ErrorCode::KafkaStorageError);
    assert_eq!(node.fetch(key, taken - 1).error, ErrorCode::None);
    let token = node.token();
    let partitions = vec![(key, -1)];
    node.step(Event::DeleteRecords(DeleteRecordsCommand {
        token,
        partitions,
    }));
    node.settle();
    let Some(Reply::DeleteRecords(replies)) = node.replies.remove(&token) else {
        panic!("no answer")
    };
    assert_eq!(
        (replies[0].error, replies[0].low_watermark),
        (ErrorCode::None, taken)
    );
    node.pass_ms(600_000);
    assert_eq!(
        node.produce(key, batch(&["a"])).base_offset,
        taken,
        "space came back"
    );
}

#[test]
fn hostile_63_a_flipped_bit_is_told_by_partition_and_nothing_else_suffers() {
    let mut node = filled(cold_log(), 2);
    let flipped = b"1-11-xxxx";
    for (file, bytes) in &mut node.disks[0].files {
        if matches!(file, FileName::Segment(_))
            && let Some(at) = bytes
                .windows(flipped.len())
                .position(|window| window == flipped)
        {
            bytes[at + 100] ^= 0x10;
        }
    }
    let mut node = node.crash();
    let all = (0..2).map(|index| creation(key(1, index), TopicConfig::default()));
    node.metadata(all.collect());
    assert_eq!(
        node.read_all(key(1, 0), 0).len(),
        30,
        "the other partition is whole"
    );
    let reply = node.fetch(key(1, 1), 11);
    assert_eq!(reply.error, ErrorCode::CorruptMessage);
    assert_eq!(
        values(&node.fetch(key(1, 1), 0)).len(),
        11,
        "all before it is served"
    );
    assert_eq!(
        node.read_all(key(1, 1), 12).len(),
        18,
        "all after it is served"
    );
}

#[test]
fn what_the_write_buffers_cannot_take_waits_in_order() {
    let log = LogOptions {
        pending_bytes_max: 64 << 10,
        write_bytes_max: 32 << 10,
        ..small_log()
    };
    let mut node = Node::over(ShardOptions::default(), 1, log);
    let key = node.create(1, 0, TopicConfig::default());
    let long = "x".repeat(10_000);
    let tokens: Vec<_> = (0..40)
        .map(|sequence| node.send(key, batch_of(3, 0, sequence, &[&long]), -1))
        .collect();
    node.settle();
    for (expected, token) in tokens.into_iter().enumerate() {
        let reply = node.produced(token);
        assert_eq!(
            (reply.error, reply.base_offset),
            (ErrorCode::None, expected as i64)
        );
    }
    assert_eq!(node.read_all(key, 0).len(), 40);
}

#[test]
fn case_18_a_clock_jump_deletes_nothing_until_somebody_says_so() {
    let mut node = Node::new();
    let config = TopicConfig {
        retention_ms: 3_600_000,
        ..TopicConfig::default()
    };
    let key = node.create(1, 0, config);
    node.produce(key, batch(&["a"]));
    node.now.wall_ms += 365 * 86_400_000;
    node.pass_ms(1_200_000);
    assert_eq!(
        node.read_all(key, 0).len(),
        1,
        "a clock that jumped deleted records"
    );
}

#[test]
fn hostile_66_a_clock_off_by_a_year_touches_timestamps_only() {
    const YEAR_MS: i64 = 365 * 86_400_000;
    for step_ms in [YEAR_MS, -YEAR_MS] {
        let mut node = Node::new();
        let config = TopicConfig {
            retention_ms: 3_600_000,
            // Else what clients stamp is a year too late for our clock, and refused as Kafka does.
            timestamp_after_max_ms: i64::MAX,
            ..TopicConfig::default()
        };
        let key = node.create(1, 0, config);
        for text in ["a", "b"] {
            assert_eq!(node.produce(key, batch(&[text])).error, ErrorCode::None);
        }
        node.now.wall_ms += step_ms;
        node.pass_ms(1_200_000);
        let produced = node.produce(key, batch(&["c"]));
        assert_eq!(
            (produced.error, produced.base_offset),
            (ErrorCode::None, 2),
            "led and numbered as before, {step_ms} ms on"
        );
        node.pass_ms(1_200_000);
        assert_eq!(node.read_all(key, 0).len(), 3, "{step_ms} ms on");
    }
}

#[test]
fn commits_may_be_gathered_over_a_turn() {
    let log = LogOptions {
        commit_on_append: false,
        ..small_log()
    };
    let mut node = Node::over(ShardOptions::default(), 1, log);
    node.metadata(vec![creation(key(1, 0), TopicConfig::default())]);
    let tokens: Vec<_> = (0..5)
        .map(|_| node.send(key(1, 0), batch(&["a"]), 1))
        .collect();
    node.settle();
    assert!(
        node.replies.is_empty(),
        "a write went out before the turn was over"
    );
    let mut actions = Vec::new();
    node.shard.commit(node.now, &mut actions);
    node.take(actions);
    node.settle();
    assert!(
        tokens
            .into_iter()
            .all(|token| node.produced(token).error == ErrorCode::None)
    );
}
