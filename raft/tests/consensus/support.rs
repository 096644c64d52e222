//! What the cases share: time, keys, options, and one node whose disk does everything at once.

use bytes::Bytes;
use odradek_protocol::Uuid;
use odradek_raft::consensus::{
    Action, Endpoint, Event, LogView, Now, OffsetAndEpoch, Options, Persisted, Raft, ReplicaKey,
    SnapshotView, Voter, VoterSet,
};

pub const WALL_MS: i64 = 1_750_000_000_000;

pub fn at(ms: u64) -> Now {
    Now {
        monotonic_us: ms * 1000,
        wall_ms: WALL_MS + ms as i64,
    }
}

pub fn key(id: i32) -> ReplicaKey {
    ReplicaKey::new(id, Uuid([(id as u8).wrapping_add(100); 16]))
}

pub fn endpoint(id: i32) -> Endpoint {
    Endpoint {
        name: "CONTROLLER".to_owned(),
        host: format!("node{id}"),
        port: 9000u16.wrapping_add(id as u16),
    }
}

pub fn voters(ids: &[i32]) -> VoterSet {
    VoterSet::new(
        ids.iter()
            .map(|id| Voter::new(key(*id), vec![endpoint(*id)])),
    )
}

pub fn options(id: i32) -> Options {
    Options {
        cluster_id: "cluster".to_owned(),
        local: key(id),
        seed: id as u64 + 1,
        ..Options::default()
    }
}

/// The 0-0 checkpoint that `format` leaves.
pub fn formatted(ids: &[i32]) -> SnapshotView {
    SnapshotView {
        id: OffsetAndEpoch::BOOTSTRAP,
        size_bytes: 1,
        kraft_version: 1,
        voters: Some(voters(ids)),
    }
}

/// A node on a disk that is at once durable; remembers what it was told to do.
pub struct Node {
    pub raft: Raft,
    pub log: Vec<(i64, i64, Bytes)>,
    pub persisted: Persisted,
    pub actions: Vec<Action>,
}

impl Node {
    pub fn start(options: Options, snapshots: Vec<SnapshotView>) -> Node {
        Node::restart(
            options,
            Persisted::Nothing,
            LogView::default(),
            snapshots,
            0,
        )
    }

    pub fn restart(
        options: Options,
        persisted: Persisted,
        log: LogView,
        snapshots: Vec<SnapshotView>,
        ms: u64,
    ) -> Node {
        let raft = Raft::recover(at(ms), options, persisted, log, snapshots).expect("recovers");
        Node {
            raft,
            log: Vec::new(),
            persisted,
            actions: Vec::new(),
        }
    }

    /// Takes an event, then does all durable work at once; gives the actions, in order.
    pub fn step(&mut self, ms: u64, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.raft.step(at(ms), event, &mut actions);
        self.settle(ms, actions)
    }

    pub fn settle(&mut self, ms: u64, mut actions: Vec<Action>) -> Vec<Action> {
        let mut all = Vec::new();
        while !actions.is_empty() {
            let mut next = Vec::new();
            for action in &actions {
                match action {
                    Action::PersistQuorumState { state, counter } => {
                        self.persisted = Persisted::Found {
                            state: *state,
                            counter: *counter,
                        };
                        let counter = *counter;
                        self.raft
                            .step(at(ms), Event::QuorumStateDurable { counter }, &mut next);
                    }
                    Action::AppendLog {
                        write,
                        bytes,
                        base,
                        end,
                        ..
                    } => {
                        self.log.push((*base, *end, bytes.clone()));
                        self.durable(ms, *write, &mut next);
                    }
                    Action::TruncateLog { write, to } => {
                        self.log.retain(|(_, end, _)| end <= to);
                        self.durable(ms, *write, &mut next);
                    }
                    Action::ResetLog { write, .. } => {
                        self.log.clear();
                        self.durable(ms, *write, &mut next);
                    }
                    Action::CutLog { write, log_start } => {
                        self.log.retain(|(base, _, _)| base >= log_start);
                        self.durable(ms, *write, &mut next);
                    }
                    _ => {}
                }
            }
            all.append(&mut actions);
            actions = next;
        }
        self.actions.extend(all.iter().cloned());
        all
    }

    fn durable(&mut self, ms: u64, write: u64, next: &mut Vec<Action>) {
        self.raft.step(at(ms), Event::LogDurable { write }, next);
    }

    pub fn propose(&mut self, ms: u64, epoch: i32, count: usize) -> std::ops::Range<i64> {
        let records: Vec<Bytes> = (0..count)
            .map(|index| Bytes::from(format!("record {index}")))
            .collect();
        let mut actions = Vec::new();
        let range = self
            .raft
            .propose(at(ms), epoch, &records, &mut actions)
            .expect("leads");
        self.settle(ms, actions);
        range
    }

    pub fn log_view(&self) -> LogView {
        LogView {
            start_offset: self.raft.log_start(),
            batches: self.log.iter().map(|(_, _, bytes)| bytes.clone()).collect(),
            damaged: false,
        }
    }
}
