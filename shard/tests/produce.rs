//! Produce as a client sees it: offsets, acknowledgements, and every refusal of Kafka's list.

mod common;

use common::*;
use odradek_protocol::ErrorCode;
use odradek_protocol::records::{self, BatchBuilder, Compression};
use odradek_shard::command::*;
use odradek_shard::config::{CleanupPolicy, TimestampType, TopicCompression};
use odradek_shard::{Durability, Event, ShardOptions, TopicConfig};

#[test]
fn a_produced_batch_gets_the_next_offsets_and_is_read_back() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    assert_eq!(node.produce(key, batch(&["a", "b"])).base_offset, 0);
    let second = node.produce(key, batch(&["c"]));
    assert_eq!(
        (second.error, second.base_offset, second.log_start_offset),
        (ErrorCode::None, 2, 0)
    );
    assert_eq!(second.log_append_time_ms, -1);
    let read = node.read_all(key, 0);
    assert_eq!(
        read,
        vec![(0, b"a".to_vec()), (1, b"b".to_vec()), (2, b"c".to_vec())]
    );
}

#[test]
fn acks_wait_for_the_disk_and_acks_0_does_not() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    for acks in [1, -1] {
        let token = node.send(key, batch(&["a"]), acks);
        assert!(
            !node.replies.contains_key(&token),
            "acks={acks} answered before the disk"
        );
        assert!(
            values(&node.fetch(key, 0)).len() < 3,
            "a reader saw what is not durable"
        );
        node.settle();
        assert_eq!(node.produced(token).error, ErrorCode::None);
    }
    let token = node.send(key, batch(&["a"]), 0);
    assert_eq!(node.produced(token).error, ErrorCode::None);
}

#[test]
fn with_durability_off_nothing_waits_for_the_disk() {
    let mut node = Node::with(
        ShardOptions {
            durability: Durability::None,
            ..ShardOptions::default()
        },
        1,
    );
    let key = node.create(1, 0, TopicConfig::default());
    let token = node.send(key, batch(&["a"]), -1);
    assert_eq!(node.produced(token).base_offset, 0);
}

#[test]
fn what_a_reader_may_see_never_runs_ahead_of_the_disk() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    node.send(key, batch(&["a"]), 1);
    let command = node.fetch_command(vec![want(key, 0)]);
    let token = command.token;
    node.step(Event::Fetch(command));
    let reply = node
        .fetched(token)
        .expect("answered at once")
        .partitions
        .remove(0);
    assert_eq!((reply.high_watermark, reply.records_bytes()), (0, 0));
    let offsets = node.shard.offsets(&key).expect("led here");
    assert_eq!(
        (
            offsets.high_watermark().0,
            offsets.durable_end().0,
            offsets.log_end().0
        ),
        (0, 0, 1)
    );
}

fn refusal(config: TopicConfig, bytes: bytes::Bytes) -> ProducePartitionReply {
    let mut node = Node::new();
    let key = node.create(1, 0, config);
    let reply = node.produce(key, bytes);
    assert_eq!(
        node.shard.offsets(&key).map(|offsets| offsets.log_end().0),
        Some(0),
        "a refused batch was written"
    );
    reply
}

fn check(bytes: bytes::Bytes, error: ErrorCode) {
    assert_eq!(refusal(TopicConfig::default(), bytes).error, error);
}

fn patched(at: usize, bytes: &[u8]) -> bytes::Bytes {
    let mut patched = batch(&["a", "b"]).to_vec();
    patched[at..at + bytes.len()].copy_from_slice(bytes);
    records::recompute_crc(&mut patched);
    bytes::Bytes::from(patched)
}

#[test]
fn hostile_22_to_27_get_kafkas_answers() {
    let mut flipped = batch(&["a"]).to_vec();
    *flipped.last_mut().expect("bytes") ^= 1;
    check(bytes::Bytes::from(flipped), ErrorCode::CorruptMessage);
    check(bytes::Bytes::new(), ErrorCode::InvalidRecord);
    check(patched(8, &5i32.to_be_bytes()), ErrorCode::CorruptMessage);
    let two = [batch(&["a"]), batch(&["b"])].concat();
    check(bytes::Bytes::from(two), ErrorCode::InvalidRecord);
    check(patched(16, &[1]), ErrorCode::InvalidRecord);
    check(patched(16, &[9]), ErrorCode::CorruptMessage);
    check(patched(57, &3i32.to_be_bytes()), ErrorCode::InvalidRecord);
    check(patched(23, &5i32.to_be_bytes()), ErrorCode::InvalidRecord);
    check(patched(0, &7i64.to_be_bytes()), ErrorCode::InvalidRecord);
    check(
        patched(21, &0x20i16.to_be_bytes()),
        ErrorCode::InvalidRecord,
    );
    check(
        patched(21, &0x10i16.to_be_bytes()),
        ErrorCode::InvalidTxnState,
    );
    check(
        patched(21, &0x08i16.to_be_bytes()),
        ErrorCode::InvalidTimestamp,
    );
    check(patched(43, &5i64.to_be_bytes()), ErrorCode::InvalidRecord);
}

#[test]
fn hostile_28_and_29_name_the_records_at_fault() {
    let mut keyless = BatchBuilder::new(0);
    keyless.push(START_MS, Some(b"k"), Some(b"a"), &[]);
    keyless.push(START_MS, None, Some(b"b"), &[]);
    let compacted = TopicConfig {
        cleanup: CleanupPolicy {
            delete: false,
            compact: true,
        },
        ..TopicConfig::default()
    };
    let reply = refusal(compacted, keyless.build().expect("a batch"));
    assert_eq!(reply.error, ErrorCode::InvalidRecord);
    assert_eq!(
        reply
            .record_errors
            .iter()
            .map(|error| error.batch_index)
            .collect::<Vec<_>>(),
        vec![1]
    );

    let mut late = BatchBuilder::new(0);
    late.push(START_MS + 3_600_001, Some(b"k"), Some(b"a"), &[]);
    late.push(START_MS, Some(b"k"), Some(b"b"), &[]);
    let reply = refusal(TopicConfig::default(), late.build().expect("a batch"));
    assert_eq!(reply.error, ErrorCode::InvalidTimestamp);
    assert_eq!(
        reply
            .record_errors
            .iter()
            .map(|error| error.batch_index)
            .collect::<Vec<_>>(),
        vec![0]
    );
}

#[test]
fn hostile_30_to_34_get_kafkas_answers() {
    let small = TopicConfig {
        max_message_bytes: 70,
        ..TopicConfig::default()
    };
    assert_eq!(
        refusal(small, batch(&["a long enough value"])).error,
        ErrorCode::MessageTooLarge
    );
    let segment = TopicConfig {
        segment_bytes: 70,
        ..TopicConfig::default()
    };
    assert_eq!(
        refusal(segment, batch(&["a long enough value"])).error,
        ErrorCode::RecordListTooLarge
    );

    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    let zstd = batch_with(&["a"], Compression::Zstd);
    let token = node.token();
    let partitions = vec![ProducePartition {
        key,
        batch: node.checked_of(key, zstd, false),
    }];
    node.step(Event::Produce(ProduceCommand {
        token,
        acks: 1,
        timeout_ms: 100,
        partitions,
    }));
    assert_eq!(
        node.produced(token).error,
        ErrorCode::UnsupportedCompressionType
    );
    let token = node.send(key, batch(&["a"]), 2);
    assert_eq!(node.produced(token).error, ErrorCode::InvalidRequiredAcks);
}

#[test]
fn hostile_32_a_decompression_bomb_is_refused_within_its_bound() {
    let options = ShardOptions {
        decompressed_batch_bytes_max: 1 << 20,
        ..ShardOptions::default()
    };
    let mut node = Node::with(options, 1);
    let key = node.create(1, 0, TopicConfig::default());
    let zeroes = "0".repeat(8 << 20);
    for compression in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let bomb = batch_with(&[&zeroes], compression);
        if bomb.len() > 1_000_000 {
            continue; // Snappy does not make 8 MiB small enough for a batch.
        }
        assert_eq!(
            node.produce(key, bomb).error,
            ErrorCode::InvalidRecord,
            "{compression:?}"
        );
    }
}

#[test]
fn hostile_33_a_cut_compressed_stream_is_refused() {
    for compression in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let whole = batch_with(&["some value", "some other value"], compression);
        let mut cut = whole[..whole.len() - 9].to_vec();
        let length = (cut.len() - 12) as i32;
        cut[8..12].copy_from_slice(&length.to_be_bytes());
        records::recompute_crc(&mut cut);
        check(bytes::Bytes::from(cut), ErrorCode::InvalidRecord);
    }
}

#[test]
fn a_partition_not_here_and_a_shrunken_in_sync_set_are_refused() {
    let mut node = Node::new();
    let reply = node.produce(key(9, 9), batch(&["a"]));
    assert_eq!(
        (reply.error, reply.leader_epoch),
        (ErrorCode::NotLeaderOrFollower, -1)
    );
    let config = TopicConfig {
        min_insync_replicas: 2,
        ..TopicConfig::default()
    };
    let key = node.create(1, 0, config);
    assert_eq!(
        node.produce(key, batch(&["a"])).error,
        ErrorCode::None,
        "one replica needs one in sync"
    );
    node.metadata(vec![PartitionChange::InSync {
        key,
        in_sync: 1,
        replicas: 3,
    }]);
    assert_eq!(
        node.produce(key, batch(&["a"])).error,
        ErrorCode::NotEnoughReplicas
    );
    let token = node.send(key, batch(&["a"]), 1);
    node.settle();
    assert_eq!(node.produced(token).error, ErrorCode::None);
}

#[test]
fn append_time_topics_stamp_every_record_and_tell_the_producer() {
    let mut node = Node::new();
    let config = TopicConfig {
        timestamp_type: TimestampType::LogAppendTime,
        ..TopicConfig::default()
    };
    let key = node.create(1, 0, config);
    node.pass_ms(5_000);
    let reply = node.produce(key, batch(&["a", "b"]));
    assert_eq!(reply.log_append_time_ms, START_MS + 5_000);
    let stored = node.fetch(key, 0).records[0].clone();
    let stamps: Vec<i64> = records::records(&stored, 1 << 20)
        .expect("readable")
        .map(|record| record.expect("a record").timestamp)
        .collect();
    assert_eq!(stamps, vec![START_MS + 5_000; 2]);
}

#[test]
fn a_topic_with_its_own_codec_recompresses_and_keeps_records() {
    for (compression, code) in [
        (TopicCompression::Uncompressed, Compression::None),
        (TopicCompression::Gzip(6), Compression::Gzip),
        (TopicCompression::Snappy, Compression::Snappy),
        (TopicCompression::Lz4(9), Compression::Lz4),
        (TopicCompression::Zstd(3), Compression::Zstd),
    ] {
        let mut node = Node::new();
        let key = node.create(
            1,
            0,
            TopicConfig {
                compression,
                ..TopicConfig::default()
            },
        );
        for source in Compression::ALL {
            node.produce(key, batch_with(&["some value", "some other value"], source));
        }
        let reply = node.fetch(key, 0);
        for stored in &reply.records {
            let header = records::BatchHeader::parse(stored).expect("a batch");
            assert_eq!(header.compression(), Ok(code));
        }
        let read = node.read_all(key, 0);
        assert_eq!(read.len(), 10);
        assert!(
            read.iter()
                .enumerate()
                .all(|(index, record)| record.0 == index as i64)
        );
        assert_eq!(read[9].1, b"some other value");
    }
}

#[test]
fn a_higher_level_of_lz4_stores_smaller_batches() {
    let value: String = (0..4_000).map(|n: u32| (n * n % 977).to_string()).collect();
    let stored_bytes = |level: i32| {
        let mut node = Node::new();
        let config = TopicConfig {
            compression: TopicCompression::Lz4(level),
            ..TopicConfig::default()
        };
        let key = node.create(1, 0, config);
        node.produce(key, batch(&[&value]));
        assert_eq!(node.read_all(key, 0)[0].1, value.as_bytes());
        node.fetch(key, 0).records[0].len()
    };
    let fast = stored_bytes(9);
    let high = stored_bytes(12);
    assert!(
        high < fast,
        "{high} bytes at level 12, {fast} at the default"
    );
}

#[test]
fn a_wrong_largest_time_stamp_is_corrected_so_that_look_ups_find_the_batch() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    assert_eq!(
        node.produce(key, patched(35, &7i64.to_be_bytes())).error,
        ErrorCode::None
    );
    let stored = node.fetch(key, 0).records[0].clone();
    assert_eq!(
        records::BatchHeader::parse(&stored)
            .expect("a batch")
            .max_timestamp,
        START_MS + 1
    );
}

#[test]
fn one_command_answers_all_its_partitions_in_order() {
    let mut node = Node::new();
    let first = node.create(1, 0, TopicConfig::default());
    let second = node.create(2, 3, TopicConfig::default());
    let token = node.token();
    let part = |key, values: &[&str]| ProducePartition {
        key,
        batch: node.checked(key, batch(values)),
    };
    let partitions = vec![
        part(second, &["a"]),
        part(key(8, 8), &["b"]),
        part(first, &["c", "d"]),
    ];
    node.step(Event::Produce(ProduceCommand {
        token,
        acks: -1,
        timeout_ms: 1_000,
        partitions,
    }));
    node.settle();
    let Some(odradek_shard::Reply::Produce(replies)) = node.replies.remove(&token) else {
        panic!("no answer")
    };
    let told: Vec<_> = replies
        .iter()
        .map(|reply| (reply.key, reply.error, reply.base_offset))
        .collect();
    let expected = vec![
        (second, ErrorCode::None, 0),
        (key(8, 8), ErrorCode::NotLeaderOrFollower, -1),
        (first, ErrorCode::None, 0),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_disk_that_does_not_answer_ends_in_a_timeout_for_acks_all() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    let token = node.token();
    let partitions = vec![ProducePartition {
        key,
        batch: node.checked(key, batch(&["a"])),
    }];
    node.step(Event::Produce(ProduceCommand {
        token,
        acks: -1,
        timeout_ms: 500,
        partitions,
    }));
    node.now.monotonic_us += 600_000;
    node.step(Event::Tick);
    assert_eq!(node.produced(token).error, ErrorCode::RequestTimedOut);
    node.settle();
    assert_eq!(
        node.read_all(key, 0).len(),
        1,
        "the batch is in the log all the same, once"
    );
}

#[test]
fn a_batch_checked_on_another_core_is_appended_as_it_is() {
    use odradek_shard::validate::{BatchRules, prepare};
    let mut node = Node::new();
    let config = TopicConfig::default();
    let key = node.create(1, 0, config.clone());
    let rules = BatchRules {
        config: &config,
        now_ms: START_MS,
        zstd_allowed: true,
        decompressed_bytes_max: 1 << 20,
        internal: false,
    };
    let good = prepare(Some(batch(&["a"])), &rules).expect("a right batch");
    assert!(!good.rebuilt, "bytes that need no change are not copied");
    let bad = prepare(Some(patched(21, &0x20i16.to_be_bytes())), &rules).expect_err("control");
    let token = node.token();
    let partitions = vec![
        ProducePartition {
            key,
            batch: Ok(good),
        },
        ProducePartition {
            key,
            batch: Err(bad),
        },
    ];
    node.step(Event::Produce(ProduceCommand {
        token,
        acks: 1,
        timeout_ms: 100,
        partitions,
    }));
    node.settle();
    let Some(odradek_shard::Reply::Produce(replies)) = node.replies.remove(&token) else {
        panic!("no answer")
    };
    let errors: Vec<_> = replies.iter().map(|reply| reply.error).collect();
    assert_eq!(errors, vec![ErrorCode::None, ErrorCode::InvalidRecord]);
    assert_eq!(node.read_all(key, 0), vec![(0, b"a".to_vec())]);
}
