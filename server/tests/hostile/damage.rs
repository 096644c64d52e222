//! Cases 61 to 63, and 46 over a restart: nodes that are killed, and nodes whose files somebody changed. What was
//! acknowledged is there afterwards; what is damaged is refused and named, and nothing else with it.

use super::kafka::{
    self, FETCH_BY_NAME, append, create_topic, fetch, fetch_request, read_all, try_produce,
};
use super::support::{Node, NodeOptions};
use bytes::Bytes;
use odradek_protocol::messages::fetch_response::FetchResponse;
use odradek_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use odradek_protocol::messages::metadata_response::MetadataResponse;
use odradek_protocol::{ApiKey, ErrorCode, StrBytes};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

const TOPIC: &str = "damage";
const BLOCK_BYTES: u64 = 4096;

fn node() -> Node {
    Node::start(NodeOptions::with(&["odradek.shards=1"]))
}

/// Waits until the partition answers: after a start its leader is there once the metadata log was replayed.
fn end_after_start(node: &Node) -> i64 {
    let mut client = node.client();
    for _ in 0..1_000 {
        if let Ok(end) = kafka::list_offset(&mut client, TOPIC, 0, -1) {
            return end;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the partition has no leader after the start");
}

#[test]
fn hostile_61_kill_9_keeps_what_was_acknowledged() {
    const ROUNDS: usize = 4;
    const CLIENTS: usize = 3;
    let mut node = node();
    create_topic(&mut node.client(), TOPIC, 1, &[]);
    let acknowledged: Mutex<Vec<(i64, Bytes)>> = Mutex::new(Vec::new());
    for round in 1..=ROUNDS {
        let address = node.address;
        std::thread::scope(|scope| {
            for writer in 0..CLIENTS {
                let acknowledged = &acknowledged;
                scope.spawn(move || write_until_cut(address, (round, writer), acknowledged));
            }
            // The kill falls wherever the node then is.
            let count = || acknowledged.lock().expect("no writer panics").len();
            while count() < round * 150 {
                std::thread::sleep(Duration::from_millis(1));
            }
            node.kill();
        });
        node.launch();
        end_after_start(&node);
        let found = read_all(&mut node.client(), TOPIC);
        let acknowledged = acknowledged.lock().expect("no writer panics");
        for (offset, value) in acknowledged.iter() {
            let kept = found
                .binary_search_by_key(offset, |(offset, _)| *offset)
                .is_ok_and(|index| found[index].1 == *value);
            assert!(kept, "round {round}: offset {offset} was acknowledged");
        }
        let mut values: Vec<&Bytes> = found.iter().map(|(_, value)| value).collect();
        values.sort();
        values.dedup();
        assert_eq!(values.len(), found.len(), "no record is there twice");
    }
}

fn write_until_cut(
    address: std::net::SocketAddr,
    (round, writer): (usize, usize),
    acknowledged: &Mutex<Vec<(i64, Bytes)>>,
) {
    let mut client = super::support::Client::connect(address);
    for number in 0.. {
        let value = Bytes::from(format!("{round}-{writer}-{number}"));
        let records = kafka::batch(&[&value]);
        match try_produce(&mut client, kafka::PRODUCE_BY_NAME, TOPIC, -1, records) {
            Ok(answer) if answer.error_code == 0 => acknowledged
                .lock()
                .expect("no writer panics")
                .push((answer.base_offset, value)),
            // Right after a start the partition may have no leader yet.
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// Where these bytes lie in the node's segments: file and position of the last place.
fn find_bytes(node: &Node, needle: &[u8]) -> (PathBuf, u64) {
    let folder = node.data.join("shard-0");
    let mut found = None;
    for entry in fs::read_dir(&folder)
        .expect("a shard has a folder")
        .flatten()
    {
        let path = entry.path();
        if path
            .extension()
            .is_none_or(|extension| extension != "segment")
        {
            continue;
        }
        let bytes = fs::read(&path).expect("a segment is readable");
        let first = needle[0];
        let mut from = 0;
        while let Some(next) = bytes[from..].iter().position(|byte| *byte == first) {
            let position = from + next;
            if bytes[position..].starts_with(needle) {
                found = Some((path.clone(), position as u64));
            }
            from = position + 1;
        }
    }
    found.expect("what was appended lies in a segment")
}

fn overwrite(path: &PathBuf, position: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path);
    let file = file.expect("a segment is writable");
    file.write_all_at(bytes, position)
        .expect("a segment takes bytes");
    file.sync_all().expect("a segment can be synced");
}

fn marked(number: u32) -> Vec<u8> {
    let mut value = format!("~~marker-{number:04}~~").into_bytes();
    value.resize(600, b'.');
    value
}

#[test]
fn hostile_62_torn_tail_is_cut_and_nothing_else() {
    let mut node = node();
    let mut client = node.client();
    create_topic(&mut client, TOPIC, 1, &[]);
    for number in 0..20 {
        append(&mut client, TOPIC, &[&marked(number)]);
    }
    node.kill();
    // A write that was under way: half of it, and of something that was there before.
    let (path, position) = find_bytes(&node, b"~~marker-0019~~");
    let next_block = (position + 600).next_multiple_of(BLOCK_BYTES);
    overwrite(&path, next_block, &[0xa5; 3 * BLOCK_BYTES as usize - 1_000]);
    node.launch();
    assert_eq!(end_after_start(&node), 20);
    let mut client = node.client();
    assert_eq!(read_all(&mut client, TOPIC).len(), 20);
    assert_eq!(append(&mut client, TOPIC, &[b"after"]), 20);
    node.kill();
    node.launch();
    assert_eq!(end_after_start(&node), 21);
    let found = read_all(&mut node.client(), TOPIC);
    assert_eq!(found[20].1, "after");
    assert_eq!(found[7].1, marked(7));
}

/// Starts a node over a flipped bit in the second of ten records and looks at what it serves.
fn flipped_bit(clean: bool) {
    let mut node = node();
    let mut client = node.client();
    create_topic(&mut client, TOPIC, 1, &[]);
    create_topic(&mut client, "sound", 1, &[]);
    for number in 0..10 {
        append(&mut client, TOPIC, &[&marked(number)]);
        append(&mut client, "sound", &[&marked(number + 1_000)]);
    }
    if clean {
        assert_eq!(node.stop().code(), Some(0));
    } else {
        node.kill();
    }
    let (path, position) = find_bytes(&node, b"~~marker-0001~~");
    overwrite(&path, position + 100, b"!");
    node.launch();
    assert_eq!(end_after_start(&node), 10, "what is damaged is not cut");
    let mut client = node.client();
    assert_eq!(fetch(&mut client, TOPIC, 0).error_code, 0);
    let damaged = fetch(&mut client, TOPIC, 1);
    assert_eq!(damaged.error_code, ErrorCode::CorruptMessage.code());
    let rest = fetch(&mut client, TOPIC, 2);
    assert_eq!(rest.error_code, 0, "the records after it are served");
    assert_eq!(kafka::values(&rest, 2)[0].1, marked(2));
    assert_eq!(read_all(&mut client, "sound").len(), 10);
    assert_eq!(append(&mut client, TOPIC, &[b"after"]), 10);
    let log = node.log();
    let name = path.file_name().expect("a segment has a name");
    let name = name.to_string_lossy().into_owned();
    let line = log
        .lines()
        .find(|line| line.contains("damaged"))
        .unwrap_or_else(|| panic!("the log names the damage:\n{log}"));
    assert!(line.contains(&name), "the log names the file: {line}");
}

#[test]
fn hostile_63_a_flipped_bit_after_a_clean_stop_is_found_on_read() {
    flipped_bit(true);
}

#[test]
fn hostile_63_a_flipped_bit_after_a_kill_is_no_torn_tail() {
    flipped_bit(false);
}

/// The leader's epoch, as clients learn it.
fn leader_epoch(node: &Node) -> i32 {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(StrBytes::from_static(TOPIC)),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    let answer: MetadataResponse = node.client().call(ApiKey::Metadata, 9, &request);
    answer.topics[0].partitions[0].leader_epoch
}

/// A lone replica leads on in the epoch it had: nobody else could have led meanwhile. What clients know stays true, and what
/// they cannot know is refused.
#[test]
fn hostile_46_leader_epoch_of_a_lone_replica_outlives_a_kill() {
    let mut node = node();
    let mut client = node.client();
    create_topic(&mut client, TOPIC, 1, &[]);
    append(&mut client, TOPIC, &[b"value"]);
    let before = leader_epoch(&node);
    node.kill();
    node.launch();
    end_after_start(&node);
    let after = leader_epoch(&node);
    assert!(after >= before, "an epoch never goes back");
    let mut client = node.client();
    for (epoch, error) in [
        (after, ErrorCode::None),
        (after + 1, ErrorCode::UnknownLeaderEpoch),
    ] {
        let mut request = fetch_request(TOPIC, 0);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let answer: FetchResponse = client.call(ApiKey::Fetch, FETCH_BY_NAME, &request);
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(partition.error_code, error.code(), "epoch {epoch}");
    }
}
