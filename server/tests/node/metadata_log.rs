//! The metadata log under the controller: answers wait for what they read (over a disk that the test holds back), leadership
//! lost and won again, and case 19: a lone voter whose log or quorum state is damaged stops, and says why.

use super::controller_listener::checkpoints;
use super::requests::{create_request, create_topic, topic};
use super::shard_common::MemoryDisk;
use super::support::{Client, Node, NodeOptions};
use bytes::Bytes;
use odradek_protocol::api::{request_header_version, response_header_version};
use odradek_protocol::codec::{Reader, Writer};
use odradek_protocol::messages::{
    CreateTopicsResponse, RequestHeader, ResponseHeader, VoteRequest, VoteResponse, vote_request,
};
use odradek_protocol::{ApiKey, ErrorCode, Message, StrBytes, Uuid};
use odradek_raft::configs::TopicConfigLimits;
use odradek_raft::consensus::{
    Endpoint, LogView, OffsetAndEpoch, Options, Persisted, Raft, ReplicaKey, SnapshotView, Voter,
    VoterSet,
};
use odradek_raft::controller::{ControllerOptions, QuorumController};
use odradek_raft::image::MetadataImage;
use odradek_server::config::Listener;
use odradek_server::machine::{
    BackgroundResult, BackgroundWork, ConnectionId, Machine, MachineAction, MachineEvent, Now,
};
use odradek_server::node::log_metrics::LogMetrics;
use odradek_server::node::metadata_group::{GroupParts, METADATA_TOPIC_ID, MetadataGroup};
use odradek_server::node::metrics::CoreMetrics;
use odradek_server::node::options::DirectoryOptions;
use odradek_server::node::status::NodeStatus;
use odradek_server::node::{Core, CoreParts, Mail};
use odradek_server::shell::Registry;
use odradek_wal::{CreateReplica, Disk, FileName, IgnoreAll, Io, Log, LogOptions, ReplicaId};
use std::collections::{BTreeMap, VecDeque};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CLUSTER: &str = "a-cluster";
const NODE: i32 = 1;
const DIRECTORY: Uuid = Uuid::from_u128(1_000);

/// A core with the metadata group and no shards, over disks in memory that the test may hold back.
struct Held {
    core: Core,
    now: Now,
    /// The metadata log's and the quorum state's.
    disks: [MemoryDisk; 2],
    held: VecDeque<(u16, Io)>,
    is_held: bool,
    events: VecDeque<MachineEvent<Mail>>,
    sent: Vec<(ConnectionId, Bytes)>,
    exit: Option<String>,
}

fn listener(name: &str, controller: bool) -> Listener {
    Listener {
        name: name.to_string(),
        address: ([127, 0, 0, 1], 9).into(),
        advertised_host: "localhost".to_string(),
        advertised_port: 9,
        controller,
    }
}

fn options() -> odradek_server::node::NodeOptions {
    odradek_server::node::NodeOptions {
        cluster_id: CLUSTER.to_string(),
        node_id: NODE,
        cores: 1,
        shards: 1,
        listeners: vec![listener("PLAINTEXT", false), listener("CONTROLLER", true)],
        rack: None,
        directories: vec![DirectoryOptions {
            id: DIRECTORY,
            path: "memory".to_string(),
            space: Arc::default(),
        }],
        status: Arc::new(NodeStatus::new(1)),
        static_values: BTreeMap::new(),
        hash_seed: 1,
        auto_create_topics: false,
        bootstrap_features: vec![("metadata.version".to_string(), 30)],
        kraft_version: 1,
        snapshot_interval_bytes: 1 << 30,
        decompressed_batch_bytes_max: 1 << 20,
        telemetry_bytes_max: 1 << 20,
        clients: Arc::default(),
        fetch_bytes_max: 1 << 20,
        fetch_sessions_max: 10,
        incarnation_id: Uuid::from_u128(7_777),
        previous_broker_epoch: -1,
    }
}

/// An empty metadata log, with its replica.
fn metadata_log(disk: &mut MemoryDisk, now: Now) -> (Log, ReplicaId) {
    let log_options = LogOptions {
        cluster_id: CLUSTER.to_string(),
        segment_bytes: 1 << 20,
        directory_bytes_max: 64 << 20,
        seed: 5,
        ..LogOptions::default()
    };
    Log::format(disk, &log_options).expect("an empty disk takes a log");
    let (mut log, _) =
        Log::recover(disk, log_options, now, &mut IgnoreAll).expect("a new log recovers");
    let create = CreateReplica {
        topic_id: METADATA_TOPIC_ID,
        partition: 0,
        metadata_offset: 0,
    };
    let mut outputs = Vec::new();
    let replica = log
        .create_replica(now, create, &mut outputs)
        .expect("a new log takes a replica");
    odradek_server::start::drive(&mut log, disk, now, outputs);
    (log, replica)
}

/// A lone voter, as `format` leaves it.
fn lone_voter(now: Now) -> Raft {
    let local = ReplicaKey::new(NODE, DIRECTORY);
    let endpoint = Endpoint {
        name: "CONTROLLER".to_string(),
        host: "localhost".to_string(),
        port: 9,
    };
    let formatted = SnapshotView {
        id: OffsetAndEpoch::BOOTSTRAP,
        size_bytes: 1,
        kraft_version: 1,
        voters: Some(VoterSet::new([Voter::new(local, vec![endpoint.clone()])])),
    };
    let raft_options = Options {
        cluster_id: CLUSTER.to_string(),
        local,
        listener_name: "CONTROLLER".to_string(),
        local_endpoints: vec![endpoint],
        seed: 3,
        ..Options::default()
    };
    let view = LogView {
        start_offset: 0,
        batches: Vec::new(),
        damaged: false,
    };
    let raft_now = odradek_raft::consensus::Now {
        monotonic_us: now.monotonic_us,
        wall_ms: now.wall_ms,
    };
    Raft::recover(
        raft_now,
        raft_options,
        Persisted::Nothing,
        view,
        vec![formatted],
    )
    .expect("an empty log recovers")
}

fn group(disk: &mut MemoryDisk, now: Now) -> MetadataGroup {
    let (log, replica) = metadata_log(disk, now);
    let controller = ControllerOptions {
        node_id: NODE,
        cluster_id: CLUSTER.to_string(),
        static_config: BTreeMap::new(),
        topic_limits: TopicConfigLimits::default(),
        kraft_version: 1,
        hash_seed: 1,
        random_seed: 9,
    };
    MetadataGroup::new(GroupParts {
        raft: lone_voter(now),
        controller: QuorumController::new(controller, MetadataImage::empty()),
        log,
        replica,
        log_index: 0,
        quorum_index: 1,
        folder: PathBuf::from("memory"),
        applied: 0,
        loaded: None,
        snapshot_bytes: 0,
        metrics: LogMetrics::new(&Registry::default(), Path::new("memory"), now.monotonic_us),
    })
}

impl Held {
    /// A node that serves.
    fn start() -> Self {
        let now = Now {
            monotonic_us: 1_000_000,
            wall_ms: 1_700_000_000_000,
        };
        let mut disks = [MemoryDisk::default(), MemoryDisk::default()];
        let group = group(&mut disks[0], now);
        disks[1]
            .create(FileName::Root, 8192, true)
            .expect("memory has room");
        let core = Core::new(CoreParts {
            index: 0,
            options: Arc::new(options()),
            metrics: Arc::new(CoreMetrics::new(&Registry::default(), 0)),
            image: Arc::new(MetadataImage::empty()),
            shards: Vec::new(),
            adopted: None,
            metadata_group: Some(Box::new(group)),
        });
        let mut node = Self {
            core,
            now,
            disks,
            held: VecDeque::new(),
            is_held: false,
            events: VecDeque::new(),
            sent: Vec::new(),
            exit: None,
        };
        for connection in [1, 2] {
            node.step(MachineEvent::ConnectionOpened {
                connection: ConnectionId(connection),
                peer: ([127, 0, 0, 1], 9).into(),
                listener: 0,
            });
        }
        node.pass_ms(3_000);
        node
    }

    fn step(&mut self, event: MachineEvent<Mail>) {
        self.events.push_back(event);
        while let Some(event) = self.events.pop_front() {
            let mut actions = Vec::new();
            self.core.step(self.now, event, &mut actions);
            self.take(actions);
            if self.events.is_empty() {
                let mut actions = Vec::new();
                self.core.end_turn(self.now, &mut actions);
                self.take(actions);
                self.let_disks_work();
            }
        }
    }

    fn let_disks_work(&mut self) {
        while !self.is_held
            && let Some((log, io)) = self.held.pop_front()
        {
            let result = self.disks[usize::from(log)].run(&io);
            self.events.push_back(MachineEvent::Disk {
                log,
                id: io.id(),
                result,
            });
        }
    }

    fn take(&mut self, actions: Vec<MachineAction<Mail>>) {
        for action in actions {
            match action {
                MachineAction::Disk { log, io } => self.held.push_back((log, io)),
                MachineAction::Mail { mail, .. } => {
                    self.events.push_back(MachineEvent::Mail { from: 0, mail })
                }
                MachineAction::Background { token, work } => {
                    let result = match work {
                        BackgroundWork::Compute(work) => BackgroundResult::Computed(work()),
                        BackgroundWork::ComposeFile { compose, .. } => {
                            let mut length = 0;
                            let composed = compose(&mut |piece| {
                                length += piece.len() as u64;
                                Ok(())
                            });
                            composed.expect("an image is written");
                            BackgroundResult::Composed(length)
                        }
                        _ => BackgroundResult::Done,
                    };
                    self.events
                        .push_back(MachineEvent::Background { token, result });
                }
                MachineAction::Send {
                    connection,
                    segments,
                } => self.sent.push((connection, segments.concat().into())),
                MachineAction::Exit { reason, .. } => self.exit = Some(reason),
                _ => {}
            }
        }
    }

    fn pass_ms(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(10) {
            self.now.monotonic_us += 10_000;
            self.now.wall_ms += 10;
            self.step(MachineEvent::Tick);
        }
        assert_eq!(self.exit, None);
    }

    fn create(&mut self, connection: u64, name: &str) {
        let header = RequestHeader {
            request_api_key: ApiKey::CreateTopics as i16,
            request_api_version: 7,
            correlation_id: 1,
            ..RequestHeader::default()
        };
        let mut writer = Writer::new();
        header
            .encode(&mut writer, request_header_version(ApiKey::CreateTopics, 7))
            .expect("a header encodes");
        create_request(name, 1, &[])
            .encode(&mut writer, 7)
            .expect("a request encodes");
        self.step(MachineEvent::Frame {
            connection: ConnectionId(connection),
            frame: writer.into_bytes(),
        });
    }

    /// What came back, by connection: error codes of creates.
    fn answers(&mut self) -> Vec<(u64, i16)> {
        let sent = std::mem::take(&mut self.sent);
        let read = sent.into_iter().map(|(connection, frame)| {
            let mut reader = Reader::new(frame.slice(4..));
            let version = response_header_version(ApiKey::CreateTopics, 7);
            ResponseHeader::decode(&mut reader, version).expect("a header");
            let answer = CreateTopicsResponse::decode(&mut reader, 7).expect("an answer");
            (connection.0, answer.topics[0].error_code)
        });
        read.collect()
    }
}

#[test]
fn an_answer_without_records_waits_for_what_it_read() {
    let mut node = Held::start();
    node.create(1, "before");
    assert_eq!(node.answers(), [(1, 0)]);
    node.is_held = true;
    node.create(1, "held");
    // It writes nothing, but it tells of a topic that is not committed.
    node.create(2, "held");
    assert!(node.answers().is_empty(), "the disk has nothing yet");
    node.is_held = false;
    node.let_disks_work();
    node.pass_ms(10);
    let exists = ErrorCode::TopicAlreadyExists.code();
    assert_eq!(node.answers(), [(1, 0), (2, exists)]);
    // With nothing uncommitted it is answered at once, disk or no disk.
    node.is_held = true;
    node.create(2, "held");
    assert_eq!(node.answers(), [(2, exists)]);
}

/// A candidate of a later epoch asks for a vote.
fn vote(client: &mut Client, epoch: i32) {
    let request = VoteRequest {
        topics: vec![vote_request::TopicData {
            topic_name: StrBytes::from_static("__cluster_metadata"),
            partitions: vec![vote_request::PartitionData {
                replica_epoch: epoch,
                replica_id: 9,
                ..Default::default()
            }],
            ..Default::default()
        }],
        voter_id: NODE,
        ..Default::default()
    };
    let answer: VoteResponse = client.call(ApiKey::Vote, 1, &request);
    assert_eq!(answer.error_code, 0);
}

/// Creates topics one after the other; those that were acknowledged. While nobody leads, a connection is closed or the
/// controller is not there: the client goes on with another name.
fn create_until(
    is_over: &std::sync::atomic::AtomicBool,
    node: &Node,
    created: &std::sync::Mutex<Vec<String>>,
) {
    let mut number = 0;
    while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
        let name = format!("topic-{number}");
        number += 1;
        let request = create_request(&name, 1, &[]);
        let answer =
            node.client()
                .try_call::<_, CreateTopicsResponse>(ApiKey::CreateTopics, 7, &request);
        match answer {
            Ok(answer) if answer.topics[0].error_code == 0 => {
                created.lock().expect("no creator panics").push(name);
            }
            _ => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    }
}

#[test]
fn leadership_lost_and_won_again_loses_no_topic() {
    let node = Node::start(NodeOptions::default());
    let created = std::sync::Mutex::new(Vec::new());
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (created, node, is_over) = (&created, &node, &is_over);
        scope.spawn(move || create_until(is_over, node, created));
        let count = || created.lock().expect("no creator panics").len();
        for round in 1..=4 {
            let before = count();
            while count() < before + 20 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            vote(&mut Client::connect(node.controller_address()), 100 * round);
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let created = created.into_inner().expect("no creator panics");
    let mut client = node.client();
    let mut error = create_topic(&mut client, "last", 1, &[]);
    while error == ErrorCode::NotController.code() {
        error = create_topic(&mut node.client(), "last", 1, &[]);
    }
    assert_eq!(error, 0);
    for name in &created {
        assert_eq!(topic(&mut client, name), (0, 1), "{name}");
        let error = create_topic(&mut client, name, 1, &[]);
        assert_eq!(error, ErrorCode::TopicAlreadyExists.code(), "{name}");
    }
    let elections = node.log().matches("leads the metadata log").count();
    assert!(elections > 1, "the node was elected {elections} times");
    assert!(!created.is_empty());
}

/// A node with topics, stopped.
fn stopped() -> Node {
    let mut node = Node::start(NodeOptions::default());
    for number in 0..20 {
        let name = format!("case-nineteen-{number}");
        assert_eq!(create_topic(&mut node.client(), &name, 1, &[]), 0);
    }
    node.kill();
    node
}

#[test]
fn case_19_a_lone_voter_with_a_damaged_metadata_log_stops_and_says_why() {
    let mut node = stopped();
    let folder = node.data.join("__cluster_metadata-0");
    assert!(checkpoints(&folder).iter().all(|(offset, ..)| *offset == 0));
    let mut hit = 0;
    for entry in std::fs::read_dir(folder.join("log")).expect("the log's folder") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        // The record of an early topic, long durable when the later ones were written.
        let word = b"case-nineteen-3";
        let Some(at) = bytes.windows(word.len()).position(|found| found == word) else {
            continue;
        };
        let file = OpenOptions::new().write(true).open(&path).expect("ours");
        file.write_all_at(b"X", at as u64).expect("it is written");
        hit += 1;
    }
    assert_eq!(hit, 1, "the topic's record lies in one file");
    for _ in 0..2 {
        let said = node.launch_refused();
        assert!(said.contains("the metadata log is damaged"), "{said}");
        assert!(said.contains("this node is the only voter"), "{said}");
        assert!(said.contains("restore the metadata directory"), "{said}");
    }
}

#[test]
fn case_19_a_lone_voter_with_either_quorum_state_slot_damaged_stops_and_says_why() {
    let mut node = stopped();
    let folder = node.data.join("__cluster_metadata-0").join("quorum");
    let entry = std::fs::read_dir(&folder)
        .expect("the quorum state's folder")
        .next();
    let path = entry.expect("a file").expect("an entry").path();
    let good = std::fs::read(&path).expect("it is readable");
    let write = |bytes: &[u8]| std::fs::write(&path, bytes).expect("it is written");
    // A slot holds its state twice; either slot may hold the newest vote.
    let damaged = |slots: &[usize]| {
        let mut bad = good.clone();
        for slot in slots {
            for copy in [0, 4096 - 512] {
                bad[slot * 4096 + copy + 20] ^= 1;
            }
        }
        bad
    };
    for slots in [&[0][..], &[1], &[0, 1]] {
        write(&damaged(slots));
        let said = node.launch_refused();
        assert!(said.contains("the quorum state is damaged"), "{said}");
        assert!(said.contains("this node is the only voter"), "{said}");
    }
    write(&vec![0; good.len()]);
    let said = node.launch_refused();
    assert!(said.contains("the quorum state is missing"), "{said}");
    assert!(said.contains("this node is the only voter"), "{said}");
    // Nothing was harmed by refusing.
    write(&good);
    node.launch();
    assert_eq!(topic(&mut node.client(), "case-nineteen-19"), (0, 1));
}
