//! What the shard's tests stand on: a disk in memory, a node of one shard over it, and batches to produce.
//!
//! I/O waits until the test lets it through, so that a test decides what a crash finds on the disk.

#![allow(dead_code)] // Every test file uses its own part of this.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use odradek_protocol::ErrorCode;
use odradek_protocol::records::{self, BatchBuilder, Batches, Compression};
use odradek_shard::command::*;
use odradek_shard::message::Message;
use odradek_shard::validate::{BatchRules, prepare};
use odradek_shard::{
    Action, Event, RecoveredLog, RecoveredProducers, Reply, RequestToken, Shard, ShardOptions,
    TopicConfig,
};
use odradek_wal::{
    DirectoryId, Disk, FileName, Io, IoFailure, IoFailureKind, IoResult, Log, LogOptions, Now,
    TopicId,
};

pub const BLOCK: usize = 4096;

/// Files in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    pub files: BTreeMap<FileName, Vec<u8>>,
}

fn not_found() -> IoFailure {
    IoFailure {
        kind: IoFailureKind::NotFound,
        os_code: 2,
    }
}

impl Disk for MemoryDisk {
    fn list(&mut self) -> Result<Vec<FileName>, IoFailure> {
        Ok(self.files.keys().copied().collect())
    }

    fn length(&mut self, file: FileName) -> Result<Option<u64>, IoFailure> {
        Ok(self.files.get(&file).map(|bytes| bytes.len() as u64))
    }

    fn create(&mut self, file: FileName, bytes: u64, _zero: bool) -> Result<(), IoFailure> {
        self.files.insert(file, vec![0; bytes as usize]);
        Ok(())
    }

    fn read_at(
        &mut self,
        file: FileName,
        position: u64,
        buffer: &mut [u8],
    ) -> Result<(), IoFailure> {
        let bytes = self.files.get(&file).ok_or_else(not_found)?;
        let position = position as usize;
        let Some(found) = bytes.get(position..position + buffer.len()) else {
            return Err(IoFailure {
                kind: IoFailureKind::Short,
                os_code: 0,
            });
        };
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write_at(
        &mut self,
        file: FileName,
        position: u64,
        buffer: &[u8],
        _durable: bool,
    ) -> Result<(), IoFailure> {
        let bytes = self.files.get_mut(&file).ok_or_else(not_found)?;
        let end = position as usize + buffer.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[position as usize..end].copy_from_slice(buffer);
        Ok(())
    }

    fn sync(&mut self, _file: FileName) -> Result<(), IoFailure> {
        Ok(())
    }

    fn remove(&mut self, file: FileName) -> Result<(), IoFailure> {
        self.files.remove(&file).map(|_| ()).ok_or_else(not_found)
    }
}

impl MemoryDisk {
    /// Carries out a request of a log.
    pub fn run(&mut self, io: &Io) -> IoResult {
        let done = match io {
            Io::Write {
                file,
                position,
                buffer,
                durable,
                ..
            } => self.write_at(*file, *position, buffer, *durable),
            Io::Read {
                file,
                position,
                length,
                ..
            } => {
                let mut memory = vec![0; length + BLOCK];
                let start = memory.as_ptr().align_offset(BLOCK);
                let read = self.read_at(*file, *position, &mut memory[start..start + length]);
                return match read {
                    Ok(()) => IoResult::Data(Bytes::from(memory).slice(start..start + length)),
                    Err(failure) => IoResult::Failed(failure),
                };
            }
            Io::Create {
                file, bytes, zero, ..
            } => self.create(*file, *bytes, *zero),
            Io::Sync { file, .. } => self.sync(*file),
            Io::Remove { file, .. } => self.remove(*file),
        };
        match done {
            Ok(()) => IoResult::Done,
            Err(failure) => IoResult::Failed(failure),
        }
    }
}

/// One shard over disks in memory.
pub struct Node {
    pub shard: Shard,
    pub disks: Vec<MemoryDisk>,
    pub now: Now,
    pub options: ShardOptions,
    pub log_options: LogOptions,
    /// I/O that the disks have not done yet.
    pub io: VecDeque<(usize, Io)>,
    pub replies: BTreeMap<RequestToken, Reply>,
    pub messages: Vec<Message>,
    pub offline: Vec<usize>,
    pub closed: usize,
    /// Every action as text, when asked for.
    pub trace: Option<Vec<String>>,
    /// Configurations by topic, as the metadata says.
    configs: BTreeMap<TopicId, Arc<TopicConfig>>,
    next_request: u64,
}

pub const START_MS: i64 = 1_700_000_000_000;

pub fn small_log() -> LogOptions {
    LogOptions {
        cluster_id: "test".to_owned(),
        segment_bytes: 1 << 20,
        directory_bytes_max: 64 << 20,
        tail_cache_bytes: 4 << 20,
        frame_cache_bytes: 1 << 20,
        index_cache_bytes: 1 << 20,
        checkpoint_interval_bytes: 256 << 10,
        seed: 7,
        ..LogOptions::default()
    }
}

pub fn directory_id(directory: usize) -> DirectoryId {
    DirectoryId([directory as u8 + 1; 16])
}

impl Node {
    pub fn new() -> Node {
        Node::with(ShardOptions::default(), 1)
    }

    pub fn with(options: ShardOptions, directories: usize) -> Node {
        Node::over(options, directories, small_log())
    }

    pub fn over(options: ShardOptions, directories: usize, log_options: LogOptions) -> Node {
        let mut disks = vec![MemoryDisk::default(); directories];
        for (directory, disk) in disks.iter_mut().enumerate() {
            let directory_id = directory_id(directory);
            let options = LogOptions {
                directory_id,
                ..log_options.clone()
            };
            Log::format(disk, &options).expect("an empty disk takes a log");
        }
        let now = Now {
            monotonic_us: 1_000_000,
            wall_ms: START_MS,
        };
        Node::start(options, log_options, disks, now, 0)
    }

    fn start(
        options: ShardOptions,
        log_options: LogOptions,
        mut disks: Vec<MemoryDisk>,
        now: Now,
        next_request: u64,
    ) -> Node {
        let mut logs = Vec::new();
        for (directory, disk) in disks.iter_mut().enumerate() {
            let mut producers = RecoveredProducers::new(now, &options);
            let directory = directory_id(directory);
            let options = LogOptions {
                directory_id: directory,
                ..log_options.clone()
            };
            let (log, _) = Log::recover(disk, options, now, &mut producers).expect("it recovers");
            logs.push(RecoveredLog {
                directory,
                log,
                producers,
            });
        }
        Node {
            shard: Shard::new(options.clone(), now, logs),
            disks,
            now,
            options,
            log_options,
            io: VecDeque::new(),
            replies: BTreeMap::new(),
            messages: Vec::new(),
            offline: Vec::new(),
            closed: 0,
            trace: None,
            configs: BTreeMap::new(),
            next_request,
        }
    }

    /// The process dies: what the disk has not done is lost. A new one recovers.
    pub fn crash(self) -> Node {
        Node::start(
            self.options,
            self.log_options,
            self.disks,
            self.now,
            self.next_request,
        )
    }

    /// Every request that the disks have fails.
    pub fn fail_io(&mut self, kind: IoFailureKind) {
        for _ in 0..1_000 {
            let Some((directory, io)) = self.io.pop_front() else {
                return;
            };
            let result = IoResult::Failed(IoFailure { kind, os_code: 5 });
            let event = odradek_wal::Event::IoDone {
                id: io.id(),
                result,
            };
            self.step(Event::Log { directory, event });
        }
    }

    pub fn token(&mut self) -> RequestToken {
        self.next_request += 1;
        RequestToken {
            core: 0,
            connection: 1,
            request: self.next_request,
            part: 0,
        }
    }

    pub fn step(&mut self, event: Event) {
        if let Event::Metadata(changes) = &event {
            self.note_configs(changes);
        }
        let mut actions = Vec::new();
        self.shard.step(self.now, event, &mut actions);
        self.take(actions);
    }

    fn note_configs(&mut self, changes: &[PartitionChange]) {
        for change in changes {
            match change {
                PartitionChange::Create(create) => self
                    .configs
                    .insert(create.key.topic_id, create.config.clone()),
                PartitionChange::Config { topic_id, config } => {
                    self.configs.insert(*topic_id, config.clone())
                }
                _ => None,
            };
        }
    }

    /// Takes what a shard wants done.
    pub fn take(&mut self, actions: Vec<Action>) {
        if let Some(trace) = &mut self.trace {
            trace.extend(actions.iter().map(|action| format!("{action:?}")));
        }
        for action in actions {
            match action {
                Action::Reply { token, reply } => {
                    assert!(
                        self.replies.insert(token, reply).is_none(),
                        "request {token:?} was answered twice"
                    );
                }
                Action::Log { directory, io } => self.io.push_back((directory, io)),
                Action::Message(message) => self.messages.push(message),
                Action::DirectoryOffline { directory, .. } => self.offline.push(directory),
                Action::Closed { .. } => self.closed += 1,
            }
        }
    }

    pub fn metadata(&mut self, changes: Vec<PartitionChange>) {
        self.step(Event::Metadata(changes));
    }

    /// One request of the disk is done. False when there is none.
    pub fn one_io(&mut self) -> bool {
        let Some((directory, io)) = self.io.pop_front() else {
            return false;
        };
        let result = self.disks[directory].run(&io);
        self.step(Event::Log {
            directory,
            event: odradek_wal::Event::IoDone {
                id: io.id(),
                result,
            },
        });
        true
    }

    /// Lets the disk do all it has.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.one_io() {
                return;
            }
        }
        panic!("the log never comes to rest");
    }

    /// Time passes, in steps, with all I/O done.
    pub fn pass_ms(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(50.max(ms / 50));
            self.now.monotonic_us += step * 1_000;
            self.now.wall_ms += step as i64;
            left -= step;
            self.step(Event::Tick);
            self.settle();
        }
    }

    pub fn create(&mut self, topic: u8, partition: i32, config: TopicConfig) -> PartitionKey {
        let key = key(topic, partition);
        self.metadata(vec![creation(key, config)]);
        self.settle();
        key
    }

    /// A batch as the connection's core hands it on.
    pub fn checked(&self, key: PartitionKey, batch: Bytes) -> CheckedBatch {
        self.checked_of(key, batch, true)
    }

    pub fn checked_of(&self, key: PartitionKey, batch: Bytes, zstd_allowed: bool) -> CheckedBatch {
        let config = self.configs.get(&key.topic_id).cloned();
        let rules = BatchRules {
            config: &config.unwrap_or_default(),
            now_ms: self.now.wall_ms,
            zstd_allowed,
            decompressed_bytes_max: self.options.decompressed_batch_bytes_max,
            internal: false,
        };
        prepare(Some(batch), &rules)
    }

    pub fn send(&mut self, key: PartitionKey, batch: Bytes, acks: i16) -> RequestToken {
        let token = self.token();
        let partitions = vec![ProducePartition {
            key,
            batch: self.checked(key, batch),
        }];
        self.step(Event::Produce(ProduceCommand {
            token,
            acks,
            timeout_ms: 30_000,
            partitions,
        }));
        token
    }

    /// Produces one batch with acks=all and lets the disk work.
    pub fn produce(&mut self, key: PartitionKey, batch: Bytes) -> ProducePartitionReply {
        let token = self.send(key, batch, -1);
        self.settle();
        self.produced(token)
    }

    pub fn produced(&mut self, token: RequestToken) -> ProducePartitionReply {
        match self.replies.remove(&token) {
            Some(Reply::Produce(mut replies)) => replies.remove(0),
            other => panic!("no produce answer: {other:?}"),
        }
    }

    pub fn fetch_command(&mut self, partitions: Vec<FetchPartition>) -> FetchCommand {
        FetchCommand {
            token: self.token(),
            isolation: Isolation::ReadUncommitted,
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 50 << 20,
            at_least_one: true,
            session: FetchSession::Sessionless,
            partitions,
        }
    }

    pub fn run_fetch(&mut self, command: FetchCommand) -> FetchReply {
        let token = command.token;
        self.step(Event::Fetch(command));
        self.settle();
        self.fetched(token).expect("the fetch is answered")
    }

    pub fn fetched(&mut self, token: RequestToken) -> Option<FetchReply> {
        match self.replies.remove(&token) {
            Some(Reply::Fetch(reply)) => Some(reply),
            None => None,
            other => panic!("no fetch answer: {other:?}"),
        }
    }

    pub fn fetch(&mut self, key: PartitionKey, offset: i64) -> FetchPartitionReply {
        let command = self.fetch_command(vec![want(key, offset)]);
        self.run_fetch(command).partitions.remove(0)
    }

    /// All readable records from an offset on: offset and value.
    pub fn read_all(&mut self, key: PartitionKey, mut offset: i64) -> Vec<(i64, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            let reply = self.fetch(key, offset);
            assert_eq!(reply.error, ErrorCode::None, "fetch at {offset}");
            let records = values(&reply);
            let Some(last) = records.last() else {
                return found;
            };
            offset = last.0 + 1;
            found.extend(records);
        }
    }
}

/// Offset and value of every record of an answer.
pub fn values(reply: &FetchPartitionReply) -> Vec<(i64, Vec<u8>)> {
    let mut found = Vec::new();
    for slice in &reply.records {
        for batch in Batches::new(slice.clone()) {
            let (_, batch) = batch.expect("whole batches");
            records::verify_crc(&batch).expect("a stored batch has a right CRC");
            for record in records::records(&batch, 64 << 20).expect("readable") {
                let record = record.expect("a record");
                found.push((
                    record.offset,
                    record.value.map_or_else(Vec::new, |value| value.to_vec()),
                ));
            }
        }
    }
    found
}

pub fn key(topic: u8, partition: i32) -> PartitionKey {
    PartitionKey {
        topic_id: TopicId([topic; 16]),
        partition,
    }
}

pub fn creation(key: PartitionKey, config: TopicConfig) -> PartitionChange {
    creation_of(&format!("topic-{}", key.topic_id.0[0]), key, config)
}

pub fn creation_of(name: &str, key: PartitionKey, config: TopicConfig) -> PartitionChange {
    PartitionChange::Create(CreatePartition {
        key,
        topic_name: name.into(),
        leader_epoch: 0,
        metadata_offset: 10,
        directory: None,
        in_sync: 1,
        replicas: 1,
        config: Arc::new(config),
    })
}

pub fn want(key: PartitionKey, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        key,
        fetch_offset,
        max_bytes: 1 << 20,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    }
}

/// A batch of values without a producer, stamped with the tests' start.
pub fn batch(values: &[&str]) -> Bytes {
    batch_with(values, Compression::None)
}

pub fn batch_with(values: &[&str], compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(0).compression(compression, None);
    for (index, value) in values.iter().enumerate() {
        builder.push(
            START_MS + index as i64,
            Some(b"k"),
            Some(value.as_bytes()),
            &[],
        );
    }
    builder.build().expect("a batch")
}

/// A batch of an idempotent producer.
pub fn batch_of(producer_id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(0).producer(producer_id, epoch, sequence);
    for value in values {
        builder.push(START_MS, Some(b"k"), Some(value.as_bytes()), &[]);
    }
    builder.build().expect("a batch")
}

/// SplitMix64, for seeded tests.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
