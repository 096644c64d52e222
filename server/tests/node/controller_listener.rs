//! What the controllers' listener serves of consensus: the metadata log to whoever follows it, and its elections.

use super::requests::{create_topic, shown_apis, topic};
use super::support::{Client, Node, NodeOptions};
use odradek_protocol::messages::fetch_request::{
    FetchPartition, FetchRequest, FetchTopic, ReplicaState,
};
use odradek_protocol::messages::fetch_snapshot_request::{
    FetchSnapshotRequest, PartitionSnapshot, SnapshotId, TopicSnapshot,
};
use odradek_protocol::messages::{FetchResponse, FetchSnapshotResponse};
use odradek_protocol::metadata_records::MetadataRecord;
use odradek_protocol::records::{self, Batches};
use odradek_protocol::{ApiKey, ErrorCode, StrBytes, Uuid};

const METADATA_TOPIC: &str = "__cluster_metadata";
const METADATA_TOPIC_ID: Uuid = Uuid::from_u128(1);
const OBSERVER: i32 = 7;

fn fetch(client: &mut Client, offset: i64, epochs: (i32, i32)) -> FetchResponse {
    let (leader_epoch, last_fetched_epoch) = epochs;
    let request = FetchRequest {
        replica_state: ReplicaState {
            replica_id: OBSERVER,
            ..Default::default()
        },
        max_wait_ms: 10,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic_id: METADATA_TOPIC_ID,
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                current_leader_epoch: leader_epoch,
                last_fetched_epoch,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    client.call(ApiKey::Fetch, 17, &request)
}

#[test]
fn the_controllers_listener_serves_the_metadata_log() {
    let node = Node::start(NodeOptions::default());
    assert_eq!(create_topic(&mut node.client(), "shown", 3, &[]), 0);
    let mut client = Client::connect(node.controller_address());
    let shown = shown_apis(&mut client);
    for api in [
        ApiKey::Fetch,
        ApiKey::Vote,
        ApiKey::BeginQuorumEpoch,
        ApiKey::EndQuorumEpoch,
        ApiKey::DescribeQuorum,
        ApiKey::FetchSnapshot,
    ] {
        assert!(shown.contains(&(api as i16)), "{api:?} of {shown:?}");
    }
    assert!(!shown.contains(&(ApiKey::Produce as i16)), "{shown:?}");
    let of_brokers = shown_apis(&mut node.client());
    assert!(!of_brokers.contains(&(ApiKey::Vote as i16)));
    let mut read = Vec::new();
    let (mut offset, mut last_epoch) = (0, 0);
    loop {
        let answer = fetch(&mut client, offset, (1, last_epoch));
        assert_eq!(answer.error_code, 0);
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0, "{partition:?}");
        let bytes = partition.records.clone().unwrap_or_default();
        if bytes.is_empty() {
            assert!(offset >= partition.high_watermark, "{partition:?}");
            break;
        }
        for batch in Batches::new(bytes) {
            let (header, bytes) = batch.expect("whole batches are sent");
            assert_eq!(header.base_offset, offset);
            (offset, last_epoch) = (header.next_offset(), header.partition_leader_epoch);
            if !header.is_control() {
                for record in records::records(&bytes, 1 << 20).expect("the batch is sound") {
                    let value = record.expect("its records are").value.unwrap_or_default();
                    read.push(MetadataRecord::decode(value).expect("and decode"));
                }
            }
        }
    }
    let text = format!("{read:?}");
    assert!(text.contains("shown"), "the topic is in the log: {text}");
}

#[test]
fn a_snapshot_is_fetched_in_pieces() {
    let node = Node::start(NodeOptions::with(&[
        "metadata.log.max.record.bytes.between.snapshots=2000",
    ]));
    let mut client = node.client();
    let folder = node.data.join(METADATA_TOPIC.to_string() + "-0");
    let mut number = 0;
    let file = loop {
        assert_eq!(create_topic(&mut client, &format!("t{number}"), 1, &[]), 0);
        number += 1;
        assert!(number < 500, "no snapshot is written");
        let found = checkpoints(&folder).into_iter().next_back();
        // It is served once consensus knows of it, which the log says.
        let is_known = |path: &std::path::Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            node.log()
                .contains(&format!("wrote metadata snapshot {name}"))
        };
        if let Some((offset, epoch, path)) =
            found.filter(|(offset, _, path)| *offset > 0 && is_known(path))
        {
            break (offset, epoch, std::fs::read(path).expect("it is there"));
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let (end_offset, epoch, wanted) = file;
    let mut controller = Client::connect(node.controller_address());
    let mut read = Vec::new();
    while read.len() < wanted.len() {
        let piece = snapshot_piece(&mut controller, (end_offset, epoch), read.len(), 500);
        assert_eq!(piece.0, 0);
        assert!(
            !piece.1.is_empty() && piece.1.len() <= 500,
            "{}",
            piece.1.len()
        );
        read.extend_from_slice(&piece.1);
    }
    assert_eq!(read, wanted);
    let missing = snapshot_piece(&mut controller, (end_offset + 1, epoch), 0, 500);
    assert_eq!(missing.0, ErrorCode::SnapshotNotFound.code());
}

/// Offset, epoch and path of the stored snapshots, the newest last.
pub fn checkpoints(folder: &std::path::Path) -> Vec<(i64, i32, std::path::PathBuf)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".checkpoint") else {
            continue;
        };
        if let Some((offset, epoch)) = stem.split_once('-')
            && let (Ok(offset), Ok(epoch)) = (offset.parse(), epoch.parse())
        {
            found.push((offset, epoch, entry.path()));
        }
    }
    found.sort();
    found
}

fn snapshot_piece(
    client: &mut Client,
    (end_offset, epoch): (i64, i32),
    position: usize,
    max_bytes: i32,
) -> (i16, Vec<u8>) {
    let request = FetchSnapshotRequest {
        replica_id: OBSERVER,
        max_bytes,
        topics: vec![TopicSnapshot {
            name: StrBytes::from_static(METADATA_TOPIC),
            partitions: vec![PartitionSnapshot {
                current_leader_epoch: 1,
                snapshot_id: SnapshotId {
                    end_offset,
                    epoch,
                    ..Default::default()
                },
                position: position as i64,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer: FetchSnapshotResponse = client.call(ApiKey::FetchSnapshot, 1, &request);
    assert_eq!(answer.error_code, 0);
    let partition = &answer.topics[0].partitions[0];
    let bytes = partition.unaligned_records.clone();
    (partition.error_code, bytes.unwrap_or_default().to_vec())
}

#[test]
fn a_log_that_ends_before_the_newest_snapshot_is_begun_anew_behind_it() {
    let mut node = Node::start(NodeOptions::with(&[
        "metadata.log.max.record.bytes.between.snapshots=2000",
    ]));
    let folder = node.data.join(METADATA_TOPIC.to_string() + "-0");
    let mut number = 0;
    while checkpoints(&folder).last().is_none_or(|last| last.0 == 0) {
        let name = format!("before-{number}");
        assert_eq!(create_topic(&mut node.client(), &name, 1, &[]), 0);
        number += 1;
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    node.stop();
    // As if the log had lost its end, and the snapshot had not: the same state under a later offset.
    let (offset, epoch, path) = checkpoints(&folder).pop().expect("just seen");
    let later = folder.join(format!("{:020}-{epoch:010}.checkpoint", offset + 1_000));
    std::fs::rename(&path, &later).expect("the folder is ours");
    node.launch();
    assert!(node.log().contains("begun anew"), "{}", node.log());
    assert_eq!(topic(&mut node.client(), "before-0"), (0, 1));
    for round in 0..3 {
        let name = format!("after-{round}");
        assert_eq!(create_topic(&mut node.client(), &name, 2, &[]), 0);
        if round == 1 {
            node.stop();
        } else {
            node.kill();
        }
        node.launch();
        for earlier in 0..=round {
            let name = format!("after-{earlier}");
            assert_eq!(topic(&mut node.client(), &name), (0, 2), "round {round}");
        }
        assert_eq!(topic(&mut node.client(), "before-0"), (0, 1));
    }
}
