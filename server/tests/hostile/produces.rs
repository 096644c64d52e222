//! Cases 22 to 39: batches that are not what they say, are too much, or come at the wrong time. None of them appends.

use super::kafka::{
    self, PRODUCE_BY_NAME, append, batch, create_topic, end_offset, now_ms, produce, try_produce,
};
use super::support::{Client, Node};
use bytes::Bytes;
use odradek_protocol::messages::InitProducerIdResponse;
use odradek_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use odradek_protocol::messages::find_coordinator_response::FindCoordinatorResponse;
use odradek_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use odradek_protocol::records::{
    BatchBuilder, BatchHeader, Compression, HEADER_BYTES, LOG_OVERHEAD_BYTES, recompute_crc,
};
use odradek_protocol::{ApiKey, ErrorCode, StrBytes};

/// A client, and a new topic of one partition.
fn with_topic(node: &Node, name: &str, configs: &[(&str, &str)]) -> Client {
    let mut client = node.client();
    create_topic(&mut client, name, 1, configs);
    client
}

/// A batch that must be refused with this error, and leave the log as it was.
fn refused(client: &mut Client, topic: &str, records: impl Into<Bytes>, error: ErrorCode) {
    let before = end_offset(client, topic);
    let (found, _) = produce(client, topic, records.into());
    assert_eq!(found, error.code(), "{topic} must answer {error:?}");
    assert_eq!(end_offset(client, topic), before, "nothing is appended");
}

/// A sound batch, changed by the test; its CRC is made right again.
fn forged(forge: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = batch(&[b"one", b"two"]).to_vec();
    forge(&mut bytes);
    recompute_crc(&mut bytes);
    bytes
}

pub fn bad_crc(node: &Node) {
    let mut client = with_topic(node, "bad-crc", &[]);
    let sound = batch(&[b"one", b"two"]);
    for place in [17, 21, 30, HEADER_BYTES, sound.len() - 1] {
        let mut bytes = sound.to_vec();
        bytes[place] ^= 0x10;
        refused(&mut client, "bad-crc", bytes, ErrorCode::CorruptMessage);
    }
    append(&mut client, "bad-crc", &[b"sound"]);
}

pub fn size_below_minimum(node: &Node) {
    let mut client = with_topic(node, "small-size", &[]);
    for length in [-1_i32, 0, 13] {
        let bytes = forged(|bytes| bytes[8..12].copy_from_slice(&length.to_be_bytes()));
        refused(&mut client, "small-size", bytes, ErrorCode::CorruptMessage);
    }
}

pub fn not_one_batch(node: &Node) {
    let mut client = with_topic(node, "not-one", &[]);
    let one = batch(&[b"one"]);
    refused(
        &mut client,
        "not-one",
        Bytes::new(),
        ErrorCode::InvalidRecord,
    );
    let two: Vec<u8> = one.iter().chain(&one).copied().collect();
    refused(&mut client, "not-one", two, ErrorCode::InvalidRecord);
    for magic in [0, 1] {
        let bytes = forged(|bytes| bytes[16] = magic);
        refused(&mut client, "not-one", bytes, ErrorCode::InvalidRecord);
    }
    // A batch that says it is longer than what came.
    let cut = one.slice(..one.len() - 3);
    refused(&mut client, "not-one", cut, ErrorCode::InvalidRecord);
}

pub fn wrong_count(node: &Node) {
    let mut client = with_topic(node, "count", &[]);
    for count in [-1_i32, 0, 1, 3, i32::MAX] {
        let bytes = forged(|bytes| bytes[57..61].copy_from_slice(&count.to_be_bytes()));
        refused(&mut client, "count", bytes, ErrorCode::InvalidRecord);
    }
    for delta in [-1_i32, 0, 2, i32::MAX] {
        let bytes = forged(|bytes| bytes[23..27].copy_from_slice(&delta.to_be_bytes()));
        refused(&mut client, "count", bytes, ErrorCode::InvalidRecord);
    }
    // Both agree with each other, and not with the records.
    let bytes = forged(|bytes| {
        bytes[23..27].copy_from_slice(&999_i32.to_be_bytes());
        bytes[57..61].copy_from_slice(&1_000_i32.to_be_bytes());
    });
    refused(&mut client, "count", bytes, ErrorCode::InvalidRecord);
}

pub fn control_batch(node: &Node) {
    let mut client = with_topic(node, "control", &[]);
    let mut builder = BatchBuilder::new(0).control();
    builder.push(now_ms(), Some(&[0, 0, 0, 1]), Some(&[0; 6]), &[]);
    let bytes = builder.build().expect("a small batch builds");
    refused(&mut client, "control", bytes, ErrorCode::InvalidRecord);
}

/// A batch of one record by an idempotent producer.
fn by_producer(producer_id: i64, epoch: i16, sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new(0).producer(producer_id, epoch, sequence);
    builder.push(now_ms(), None, Some(b"value"), &[]);
    builder.build().expect("a small batch builds")
}

pub fn negative_sequence(node: &Node) {
    let mut client = with_topic(node, "negative", &[]);
    for sequence in [-1, -2, i32::MIN] {
        let bytes = by_producer(77, 0, sequence);
        refused(&mut client, "negative", bytes, ErrorCode::InvalidRecord);
    }
}

pub fn keyless(node: &Node) {
    let mut client = with_topic(node, "compacted", &[("cleanup.policy", "compact")]);
    let mut builder = BatchBuilder::new(0);
    builder.push(now_ms(), Some(b"key"), Some(b"value"), &[]);
    builder.push(now_ms(), None, Some(b"value"), &[]);
    let records = builder.build().expect("a small batch builds");
    let answer = try_produce(&mut client, PRODUCE_BY_NAME, "compacted", -1, records)
        .expect("it is answered");
    assert_eq!(answer.error_code, ErrorCode::InvalidRecord.code());
    let at_fault: Vec<i32> = answer
        .record_errors
        .iter()
        .map(|error| error.batch_index)
        .collect();
    assert_eq!(at_fault, [1], "the record without a key is named");
    assert!(answer.error_message.is_some());
    assert_eq!(end_offset(&mut client, "compacted"), 0);
}

pub fn timestamp_outside(node: &Node) {
    let configs = [
        ("message.timestamp.before.max.ms", "60000"),
        ("message.timestamp.after.max.ms", "60000"),
    ];
    let mut client = with_topic(node, "timestamps", &configs);
    for distance_ms in [-120_000, 120_000, 400 * 24 * 3_600_000_i64] {
        let mut builder = BatchBuilder::new(0);
        builder.push(now_ms() + distance_ms, None, Some(b"value"), &[]);
        let bytes = builder.build().expect("a small batch builds");
        refused(
            &mut client,
            "timestamps",
            bytes,
            ErrorCode::InvalidTimestamp,
        );
    }
    append(&mut client, "timestamps", &[b"now"]);
}

pub fn too_large(node: &Node) {
    let mut client = with_topic(node, "message-limit", &[("max.message.bytes", "1000")]);
    let bytes = batch(&[&[b'x'; 1_000]]);
    refused(
        &mut client,
        "message-limit",
        bytes,
        ErrorCode::MessageTooLarge,
    );
    append(&mut client, "message-limit", &[&[b'x'; 900]]);
    let configs = [
        ("max.message.bytes", "8000000"),
        ("segment.bytes", "1048576"),
    ];
    let mut client = with_topic(node, "segment-limit", &configs);
    let bytes = batch(&[&vec![b'x'; 1_500_000]]);
    refused(
        &mut client,
        "segment-limit",
        bytes,
        ErrorCode::RecordListTooLarge,
    );
}

fn compressed(compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(0).compression(compression, None);
    let values: Vec<Vec<u8>> = (0..200_u32)
        .map(|number| number.wrapping_mul(2_654_435_761).to_string().into_bytes())
        .collect();
    for value in &values {
        builder.push(now_ms(), None, Some(value), &[]);
    }
    builder.build().expect("a small batch builds")
}

pub fn zstd_too_early(node: &Node) {
    let mut client = with_topic(node, "zstd", &[]);
    let records = compressed(Compression::Zstd);
    let answer = try_produce(&mut client, 6, "zstd", -1, records.clone()).expect("it is answered");
    assert_eq!(
        answer.error_code,
        ErrorCode::UnsupportedCompressionType.code()
    );
    assert_eq!(end_offset(&mut client, "zstd"), 0);
    let answer = try_produce(&mut client, 7, "zstd", -1, records).expect("it is answered");
    assert_eq!(answer.error_code, 0);
}

/// A batch header before records that somebody else compressed.
fn with_body(compression: Compression, body: &[u8]) -> Vec<u8> {
    let sound = batch(&[b"one"]);
    let mut header = BatchHeader::parse(&sound).expect("our own batch parses");
    header.attributes = compression as i16;
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(body);
    let length = (bytes.len() - LOG_OVERHEAD_BYTES) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    recompute_crc(&mut bytes);
    bytes
}

/// A zstd frame of 8 GiB in blocks that each repeat one byte 128 Ki times; 256 KiB long.
fn zstd_bomb() -> Vec<u8> {
    const BLOCK_BYTES: u32 = 128 << 10;
    const BLOCKS: u32 = 64 << 10;
    // Magic, a header without sizes and checksum, a window of 128 KiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 7 << 3];
    for block in 1..=BLOCKS {
        let repeats = 1 << 1;
        let header = BLOCK_BYTES << 3 | repeats | u32::from(block == BLOCKS);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(b'z');
    }
    frame
}

/// Kafka unpacks these whole, whatever comes out; here a bound on the output refuses them early.
pub fn bombs(node: &Node) {
    let mut client = with_topic(node, "bombs", &[]);
    let before = node.memory_bytes("VmRSS");
    for _ in 0..3 {
        let bytes = with_body(Compression::Zstd, &zstd_bomb());
        refused(&mut client, "bombs", bytes, ErrorCode::InvalidRecord);
    }
    // A record of 16 MiB of zeros in each other codec: within the bound on the output, so taken or refused as its size asks.
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4] {
        let mut builder = BatchBuilder::new(0).compression(compression, None);
        builder.push(now_ms(), None, Some(&vec![0; 16 << 20]), &[]);
        let bytes = builder.build().expect("zeros compress well");
        let before = end_offset(&mut client, "bombs");
        let (error, _) = produce(&mut client, "bombs", bytes);
        assert_eq!(
            end_offset(&mut client, "bombs"),
            before + i64::from(error == 0),
            "{compression:?}"
        );
    }
    let after = node.memory_bytes("VmRSS");
    assert!(
        after.saturating_sub(before) < 512 << 20,
        "{} MiB more are resident",
        (after - before) >> 20
    );
    append(&mut client, "bombs", &[b"sound"]);
}

pub fn cut_streams(node: &Node) {
    let mut client = with_topic(node, "cut", &[]);
    for compression in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let sound = compressed(compression);
        let body = &sound[HEADER_BYTES..];
        for end in [0, 1, body.len() / 2, body.len() - 1] {
            let header = BatchHeader::parse(&sound).expect("our own batch parses");
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend_from_slice(&body[..end]);
            let length = (bytes.len() - LOG_OVERHEAD_BYTES) as i32;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            recompute_crc(&mut bytes);
            let before = end_offset(&mut client, "cut");
            let (error, _) = produce(&mut client, "cut", Bytes::from(bytes));
            assert_ne!(error, 0, "{compression:?} cut to {end} bytes");
            assert_eq!(end_offset(&mut client, "cut"), before, "{compression:?}");
        }
        let (error, _) = produce(&mut client, "cut", sound);
        assert_eq!(error, 0, "{compression:?} whole");
    }
}

pub fn acks_of_two(node: &Node) {
    let mut client = with_topic(node, "acks-two", &[]);
    for acks in [2, -2, i16::MAX] {
        let answer = try_produce(
            &mut client,
            PRODUCE_BY_NAME,
            "acks-two",
            acks,
            batch(&[b"v"]),
        );
        let answer = answer.expect("it is answered");
        assert_eq!(answer.error_code, ErrorCode::InvalidRequiredAcks.code());
    }
    assert_eq!(end_offset(&mut client, "acks-two"), 0);
}

/// A client that wants no answers learns of an error by the end of its connection.
pub fn acks_zero(node: &Node) {
    let mut checker = with_topic(node, "acks-zero", &[]);
    let mut client = node.client();
    let sound = kafka::produce_request("acks-zero", 0, batch(&[b"value"]));
    client
        .send(ApiKey::Produce, PRODUCE_BY_NAME, &sound)
        .expect("a request is taken");
    // Nothing comes for it: the next answers are the next requests'. It is there once it is durable.
    while end_offset(&mut client, "acks-zero") == 0 {
        std::thread::yield_now();
    }
    let mut bytes = batch(&[b"value"]).to_vec();
    bytes[HEADER_BYTES] ^= 1;
    let corrupt = kafka::produce_request("acks-zero", 0, Bytes::from(bytes));
    client
        .send(ApiKey::Produce, PRODUCE_BY_NAME, &corrupt)
        .expect("a request is taken");
    client.expect_close();
    assert_eq!(end_offset(&mut checker, "acks-zero"), 1);
}

/// Kafka trusts a client id here; so does this server, until there are principals to ask.
pub fn internal_topic(node: &Node) {
    let mut client = node.client();
    let request = FindCoordinatorRequest {
        coordinator_keys: vec![StrBytes::from("anybody")],
        ..FindCoordinatorRequest::default()
    };
    let mut found = false;
    for _ in 0..500 {
        let answer: FindCoordinatorResponse = client.call(ApiKey::FindCoordinator, 4, &request);
        found = answer.coordinators[0].error_code == 0;
        if found {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(found, "a coordinator is found");
    let answer = try_produce(
        &mut client,
        PRODUCE_BY_NAME,
        "__consumer_offsets",
        -1,
        batch(&[b"forged"]),
    );
    let answer = answer.expect("it is answered");
    assert_eq!(answer.error_code, ErrorCode::InvalidTopicException.code());
    // What a stranger may not, the administrator's client may not break: a batch without keys is no offset.
    client.client_id = "__admin_client";
    let answer = try_produce(
        &mut client,
        PRODUCE_BY_NAME,
        "__consumer_offsets",
        -1,
        batch(&[b"forged"]),
    );
    let answer = answer.expect("it is answered");
    assert_eq!(answer.error_code, ErrorCode::InvalidRecord.code());
}

/// The minimum counts at most the replicas there are, as in Kafka since KIP-966: a lone replica is always enough.
pub fn too_few_in_sync(node: &Node) {
    let mut client = with_topic(node, "lonely", &[("min.insync.replicas", "2")]);
    assert_eq!(append(&mut client, "lonely", &[b"value"]), 0);
}

fn producer_id(client: &mut Client) -> i64 {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    let answer: InitProducerIdResponse = client.call(ApiKey::InitProducerId, 4, &request);
    assert_eq!(answer.error_code, 0);
    answer.producer_id
}

pub fn sequences(node: &Node) {
    let mut client = with_topic(node, "sequences", &[]);
    let id = producer_id(&mut client);
    for sequence in 0..3 {
        let (error, offset) = produce(&mut client, "sequences", by_producer(id, 0, sequence));
        assert_eq!((error, offset), (0, i64::from(sequence)));
    }
    for repeated in 0..3 {
        let (error, offset) = produce(&mut client, "sequences", by_producer(id, 0, repeated));
        assert_eq!((error, offset), (0, i64::from(repeated)), "its first place");
    }
    assert_eq!(end_offset(&mut client, "sequences"), 3);
    let gap = by_producer(id, 0, 4);
    refused(
        &mut client,
        "sequences",
        gap,
        ErrorCode::OutOfOrderSequenceNumber,
    );
    let (error, offset) = produce(&mut client, "sequences", by_producer(id, 0, 3));
    assert_eq!((error, offset), (0, 3));
}

pub fn stale_epoch(node: &Node) {
    let mut client = with_topic(node, "epochs", &[]);
    let id = producer_id(&mut client);
    assert_eq!(produce(&mut client, "epochs", by_producer(id, 0, 0)).0, 0);
    assert_eq!(produce(&mut client, "epochs", by_producer(id, 1, 0)).0, 0);
    let stale = by_producer(id, 0, 1);
    refused(
        &mut client,
        "epochs",
        stale,
        ErrorCode::InvalidProducerEpoch,
    );
    assert_eq!(produce(&mut client, "epochs", by_producer(id, 1, 1)).0, 0);
}
