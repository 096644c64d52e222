//! One node of the cluster: format, start, crash, damage, its steps and what its actions do.

use std::collections::BTreeMap;

use bytes::Bytes;
use odradek_protocol::Uuid;
use odradek_raft::consensus::{
    Action, Endpoint, Event, Now, OffsetAndEpoch, Options, Persisted, Raft, RecoveryError, Remedy,
    ReplicaKey, Response, SnapshotId, Voter, VoterSet,
};
use odradek_raft::snapshot::{SnapshotWriter, WriterOptions, read_snapshot};

use super::{Due, World};
use crate::disk::{Disk, LogWrite};

pub struct Node {
    pub id: i32,
    pub key: ReplicaKey,
    pub options: Options,
    pub disk: Disk,
    pub raft: Option<Raft>,
    pub incarnation: u64,
    pub tick_at_us: u64,
    pub disk_us_max: u64,
    pub is_voter: bool,
    /// Everything below is applied.
    applied: i64,
    high_watermark: i64,
    /// Votes asked of this run, by token: epoch and candidate.
    pub votes_asked: BTreeMap<u64, (i32, ReplicaKey)>,
    log_done_us: u64,
    slot_done_us: u64,
}

fn endpoint(id: i32) -> Endpoint {
    Endpoint {
        name: "CONTROLLER".to_owned(),
        host: format!("node-{id}"),
        port: 9000 + id as u16,
    }
}

fn directory(id: i32, generation: u8) -> Uuid {
    let mut bytes = [7; 16];
    bytes[0] = id as u8 + 1;
    bytes[15] = generation;
    Uuid(bytes)
}

impl World {
    /// Writes the directories that `format` would leave.
    pub(super) fn format(&mut self, observers: usize, seed: u64) {
        let static_voters = self.weather.static_voters;
        let count = self.voters + observers;
        let ids: Vec<i32> = (0..count as i32).map(|index| index + 1).collect();
        let voters = VoterSet::new(ids[..self.voters].iter().map(|id| {
            let key = if static_voters {
                ReplicaKey::without_directory(*id)
            } else {
                ReplicaKey::new(*id, directory(*id, 0))
            };
            Voter::new(key, vec![endpoint(*id)])
        }));
        for (index, id) in ids.iter().enumerate() {
            let is_voter = index < self.voters;
            let key = ReplicaKey::new(*id, directory(*id, 0));
            let mut disk = Disk::new();
            if is_voter && !static_voters {
                let (writer, mut bytes) = checkpoint(OffsetAndEpoch::BOOTSTRAP, 1, &voters);
                bytes.extend_from_slice(&writer.finish());
                disk.snapshots.insert(OffsetAndEpoch::BOOTSTRAP, bytes);
            }
            let mut options = Options {
                cluster_id: "simulated".to_owned(),
                local: key,
                bootstrap_endpoints: ids.iter().map(|id| endpoint(*id)).collect(),
                seed: seed.wrapping_mul(31).wrapping_add(*id as u64),
                election_timeout_ms: 200,
                election_backoff_max_ms: 200,
                fetch_timeout_ms: 400,
                request_timeout_ms: 400,
                fetch_max_wait_ms: 100,
                snapshot_chunk_bytes_max: 150,
                fetch_bytes_max: 600,
                log_kept_bytes_max: 300,
                ..Options::default()
            };
            if static_voters {
                options.static_voters = voters.clone();
            }
            self.nodes.push(Node {
                id: *id,
                key,
                options,
                disk,
                raft: None,
                incarnation: 0,
                tick_at_us: u64::MAX,
                disk_us_max: 1_000,
                is_voter,
                applied: 0,
                high_watermark: -1,
                votes_asked: BTreeMap::new(),
                log_done_us: 0,
                slot_done_us: 0,
            });
        }
    }

    pub(super) fn now_of(&self, node: usize) -> Now {
        Now {
            // Each node counts from a moment of its own.
            monotonic_us: self.now_us + self.nodes[node].id as u64 * 1_000_000,
            wall_ms: 1_750_000_000_000 + (self.now_us / 1000) as i64,
        }
    }

    pub(super) fn restart(&mut self, node: usize) {
        if self.nodes[node].raft.is_some() {
            return;
        }
        let now = self.now_of(node);
        let state = &mut self.nodes[node];
        state.incarnation += 1;
        let mut options = state.options.clone();
        options.seed = options.seed.wrapping_add(state.incarnation << 32);
        let disk = &state.disk;
        let persisted = disk.persisted();
        let recovered = Raft::recover(
            now,
            options,
            persisted,
            disk.log_view(),
            disk.snapshot_views(),
        );
        match recovered {
            Ok(raft) => {
                state.applied = raft.log_start();
                state.high_watermark = raft.high_watermark().unwrap_or(-1);
                state.raft = Some(raft);
                state.votes_asked.clear();
                state.tick_at_us = u64::MAX;
                self.note_persisted_vote(node, persisted);
                self.line(|world| format!("node {} starts", world.nodes[node].id));
                self.step(node, Event::Tick);
            }
            Err(RecoveryError::Damaged { remedy, damage }) => {
                self.line(|world| format!("node {}: {damage:?}", world.nodes[node].id));
                self.remedy(node, remedy);
            }
            Err(other) => panic!("node {} cannot start: {other}", self.nodes[node].id),
        }
    }

    /// Does what an operator or the node itself does about damage.
    fn remedy(&mut self, node: usize, remedy: Remedy) {
        let state = &mut self.nodes[node];
        assert!(state.options.local.id == state.id && state.raft.is_none());
        match remedy {
            Remedy::RejoinUnderNewDirectoryId => {
                assert!(state.is_voter && self.voters > 1);
                state.disk = Disk::new();
                state.key = ReplicaKey::new(state.id, directory(state.id, 1));
                state.options.local = state.key;
                state.is_voter = false;
            }
            Remedy::RefetchAsObserver => {
                assert!(!state.is_voter);
                state.disk = Disk::new();
            }
            // Prevented before it is damaged: see `crash`.
            Remedy::StopOnlyVoter | Remedy::StopStaticVoter => unreachable!("{remedy:?}"),
        }
        self.restart(node);
    }

    pub(super) fn crash(&mut self, node: usize) {
        if self.nodes[node].raft.take().is_none() {
            return;
        }
        self.summary.crashes += 1;
        self.line(|world| format!("node {} crashes", world.nodes[node].id));
        let state = &mut self.nodes[node];
        state.disk.crash(&mut self.random);
        let may_lose_voter = self.damaged_voters < (self.voters - 1) / 2;
        if self.random.chance(80) {
            let mut damaged = state.disk.clone();
            let remedied = state.is_voter && may_lose_voter && !self.weather.static_voters;
            if damaged.damage(&mut self.random) {
                if remedied || !state.is_voter {
                    state.disk = damaged;
                    self.damaged_voters += usize::from(state.is_voter);
                    self.summary.damaged += 1;
                } else {
                    self.check_refusal(node, &damaged);
                }
            }
        }
        let delay_us = self.random.between(1_000, 700_000);
        self.schedule_in(delay_us, Due::Restart { node });
    }

    /// A voter that could not be replaced refuses to start on damage, with the right remedy named.
    fn check_refusal(&mut self, node: usize, damaged: &Disk) {
        let state = &self.nodes[node];
        let refused = Raft::recover(
            self.now_of(node),
            state.options.clone(),
            damaged.persisted(),
            damaged.log_view(),
            damaged.snapshot_views(),
        );
        let expected = if self.voters == 1 {
            Remedy::StopOnlyVoter
        } else if self.weather.static_voters {
            Remedy::StopStaticVoter
        } else {
            Remedy::RejoinUnderNewDirectoryId
        };
        match refused {
            Err(RecoveryError::Damaged { remedy, .. }) => assert_eq!(remedy, expected),
            Err(other) => panic!("damage told as {other}"),
            Ok(_) => panic!("a damaged voter starts"),
        }
        self.summary.damaged += 1;
    }

    // ---- steps ----

    pub(super) fn step(&mut self, node: usize, event: Event) {
        self.summary.steps += 1;
        let now = self.now_of(node);
        let mut actions = Vec::new();
        let Some(raft) = self.nodes[node].raft.as_mut() else {
            return;
        };
        raft.step(now, event, &mut actions);
        let (due, role) = (raft.next_deadline_us(), raft.role_name());
        assert!(
            due > now.monotonic_us,
            "{role} left something undone that was due at {due}"
        );
        self.act(node, actions);
    }

    pub(super) fn act(&mut self, node: usize, actions: Vec<Action>) {
        for action in actions {
            self.do_action(node, action);
        }
        self.check_node(node);
        self.schedule_tick(node);
    }

    fn schedule_tick(&mut self, node: usize) {
        let now = self.now_of(node).monotonic_us;
        let state = &mut self.nodes[node];
        let Some(raft) = &state.raft else {
            return;
        };
        let deadline = raft.next_deadline_us();
        if deadline == u64::MAX {
            return;
        }
        let at_us = self.now_us + deadline.saturating_sub(now);
        if at_us < state.tick_at_us {
            state.tick_at_us = at_us;
            let incarnation = state.incarnation;
            self.schedule(at_us, Due::Tick { node, incarnation });
        }
    }

    fn check_node(&mut self, node: usize) {
        let state = &self.nodes[node];
        let raft = state.raft.as_ref().expect("is up");
        let role = raft.role_name().len() as u64;
        let epoch = raft.leader().epoch as u64;
        let (start, end) = (raft.log_start(), raft.log_end());
        let mark = raft.high_watermark().unwrap_or(start);
        assert!(start <= mark && mark <= raft.durable_end() && raft.durable_end() <= end);
        let words = [
            node as u64,
            role,
            epoch,
            start as u64,
            mark as u64,
            end as u64,
        ];
        self.trace(&words);
    }

    fn do_action(&mut self, node: usize, action: Action) {
        match action {
            Action::AppendLog {
                write,
                bytes,
                base,
                end,
                epoch,
            } => {
                self.note_append(node, base, end, epoch, &bytes);
                let append = LogWrite::Append {
                    base,
                    end,
                    epoch,
                    bytes,
                };
                self.write_log(node, write, append);
            }
            Action::TruncateLog { write, to } => {
                self.summary.truncations += 1;
                self.line(|world| format!("node {} truncates to {to}", world.nodes[node].id));
                self.write_log(node, write, LogWrite::Truncate { to });
            }
            Action::ResetLog { write, to } => {
                self.line(|world| {
                    format!("node {} resets its log to {to:?}", world.nodes[node].id)
                });
                self.write_log(node, write, LogWrite::Reset { to: to.offset });
            }
            Action::CutLog { write, log_start } => {
                self.write_log(node, write, LogWrite::Cut { log_start });
            }
            Action::PersistQuorumState { state, counter } => {
                self.line(|world| format!("node {} persists {state:?}", world.nodes[node].id));
                self.nodes[node]
                    .disk
                    .slot_writes
                    .push_back((counter, state));
                let delay_us = self.random.between(50, self.nodes[node].disk_us_max);
                let state = &mut self.nodes[node];
                state.slot_done_us = state.slot_done_us.max(self.now_us + delay_us);
                let (at_us, incarnation) = (state.slot_done_us, state.incarnation);
                self.schedule(at_us, Due::SlotWritten { node, incarnation });
            }
            Action::Send {
                peer,
                correlation,
                request,
                address,
            } => {
                assert!(address.is_some(), "asks where it cannot reach: {peer:?}");
                self.send(node, peer, correlation, &request);
            }
            Action::Reply { token, response } => {
                if let (Some((epoch, candidate)), Response::Vote(_, result)) =
                    (self.nodes[node].votes_asked.remove(&token), &response)
                    && result.granted
                {
                    self.note_vote(node, epoch, candidate);
                }
                self.reply(node, token, &response);
            }
            Action::Committed { high_watermark } => self.note_commit(node, high_watermark),
            Action::BecameLeader { epoch, start } => self.note_leader(node, epoch, start),
            Action::LostLeadership { .. } | Action::LeaderChanged { .. } => {}
            Action::LogTruncated { to } => assert!(to >= self.nodes[node].high_watermark),
            Action::Fatal { reason } => panic!("node {}: {reason}", self.nodes[node].id),
            other => self.do_snapshot_action(node, other),
        }
    }

    fn do_snapshot_action(&mut self, node: usize, action: Action) {
        let incarnation = self.nodes[node].incarnation;
        let delay_us = self.random.between(50, self.nodes[node].disk_us_max);
        match action {
            Action::WriteSnapshotChunk {
                id,
                position,
                bytes,
            } => {
                let part = self.nodes[node].disk.parts.entry(id).or_default();
                part.truncate(position as usize);
                assert_eq!(part.len() as i64, position);
                part.extend_from_slice(&bytes);
                let position = part.len() as i64;
                let event = Event::SnapshotChunkWritten { id, position };
                self.schedule_in(
                    delay_us,
                    Due::Tell {
                        node,
                        incarnation,
                        event,
                    },
                );
            }
            Action::InstallSnapshot { id } => {
                self.schedule_in(
                    delay_us,
                    Due::Install {
                        node,
                        incarnation,
                        id,
                    },
                );
            }
            Action::DropSnapshotPart { id } => {
                self.nodes[node].disk.parts.remove(&id);
            }
            Action::ReadSnapshot {
                token,
                id,
                position,
                length,
            } => {
                let stored = self.nodes[node].disk.snapshots.get(&id);
                let at = position as usize;
                let bytes = stored.map(|bytes| Bytes::copy_from_slice(&bytes[at..at + length]));
                let event = Event::SnapshotRead { token, bytes };
                self.schedule_in(
                    delay_us,
                    Due::Tell {
                        node,
                        incarnation,
                        event,
                    },
                );
            }
            Action::RemoveSnapshot { id } => {
                self.line(|world| format!("node {} removes {id:?}", world.nodes[node].id));
                self.nodes[node].disk.snapshots.remove(&id);
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn write_log(&mut self, node: usize, number: u64, write: LogWrite) {
        let delay_us = self.random.between(50, self.nodes[node].disk_us_max);
        let state = &mut self.nodes[node];
        state.disk.log_writes.push_back((number, write));
        state.log_done_us = state.log_done_us.max(self.now_us + delay_us);
        let (at_us, incarnation) = (state.log_done_us, state.incarnation);
        self.schedule(at_us, Due::LogWritten { node, incarnation });
    }

    // ---- snapshots ----

    pub(super) fn install(&mut self, node: usize, id: SnapshotId) {
        let disk = &mut self.nodes[node].disk;
        if let Some(part) = disk.parts.remove(&id) {
            disk.snapshots.insert(id, part);
        }
        let Some(bytes) = disk.snapshots.get(&id) else {
            return self.step(node, Event::SnapshotFailed { id });
        };
        let (view, _, records) = read_snapshot(id, bytes).expect("sent whole");
        let committed = self
            .ledger
            .ending_at(id.offset)
            .expect("ends where commits do");
        assert_eq!(committed.epoch, id.epoch);
        assert_eq!(records, vec![state_record(committed.state)]);
        self.summary.installs += 1;
        self.line(|world| format!("node {} installs {id:?}", world.nodes[node].id));
        self.step(node, Event::SnapshotInstalled { view });
    }

    /// Some node writes a snapshot of what it has applied.
    pub(super) fn write_snapshot(&mut self) {
        let next = self.around(self.weather.snapshot_us);
        self.schedule_in(next, Due::Snapshot);
        let node = self.random.below(self.nodes.len() as u64) as usize;
        let applied = self.nodes[node].applied;
        let Some(raft) = &self.nodes[node].raft else {
            return;
        };
        let Some(id) = raft.snapshot_id_at(applied) else {
            return;
        };
        let committed = self
            .ledger
            .ending_at(applied)
            .expect("applied at a boundary");
        let (mut writer, mut bytes) =
            checkpoint(id, raft.kraft_version_at(applied), raft.voters_at(applied));
        assert_eq!(writer.push(state_record(committed.state)), None);
        bytes.extend_from_slice(&writer.finish());
        let size_bytes = bytes.len() as u64;
        self.line(|world| format!("node {} writes {id:?}", world.nodes[node].id));
        self.nodes[node].disk.snapshots.insert(id, bytes);
        let incarnation = self.nodes[node].incarnation;
        let delay_us = self.random.between(50, self.nodes[node].disk_us_max);
        let event = Event::SnapshotWritten { id, size_bytes };
        self.schedule_in(
            delay_us,
            Due::Tell {
                node,
                incarnation,
                event,
            },
        );
    }

    // ---- invariants ----

    fn note_append(&mut self, node: usize, base: i64, end: i64, epoch: i32, bytes: &Bytes) {
        // What the log held before it when the action was made: the batch itself is in the log,
        // or was truncated again in the same step; then its predecessor is not known any more.
        let raft = self.nodes[node].raft.as_ref().expect("is up");
        let held = raft
            .batches_from(base)
            .next()
            .is_some_and(|batch| batch.base == base);
        let before = if base == 0 {
            Some(-1)
        } else if base == raft.log_start() {
            None
        } else {
            raft.batches_from(base - 1).next().map(|batch| batch.epoch)
        };
        if let (true, Some(epoch_before)) = (held, before) {
            self.ledger.writes(base, end, epoch, bytes, epoch_before);
        }
    }

    /// A vote counts once it is durable, whether or not anyone was told.
    pub(super) fn note_persisted_vote(&mut self, node: usize, persisted: Persisted) {
        if let Persisted::Found { state, .. } = persisted
            && let Some(candidate) = state.voted
        {
            self.note_vote(node, state.epoch, candidate);
        }
    }

    /// Durable: this node leads.
    pub(super) fn note_persisted_leader(&mut self, node: usize, persisted: Persisted) {
        let (id, incarnation) = (self.nodes[node].id, self.nodes[node].incarnation);
        if let Persisted::Found { state, .. } = persisted
            && state.leader_id == Some(id)
        {
            self.ledger
                .leads_for_all_to_see(state.epoch, id, incarnation);
        }
    }

    fn note_vote(&mut self, node: usize, epoch: i32, candidate: ReplicaKey) {
        self.ledger.votes(self.nodes[node].key, epoch, candidate);
    }

    fn note_leader(&mut self, node: usize, epoch: i32, start: i64) {
        self.summary.elections += 1;
        let state = &self.nodes[node];
        let id = state.id;
        assert!(state.is_voter, "an observer leads");
        self.ledger.leads(epoch, id);
        let raft = state.raft.as_ref().expect("is up");
        assert!(raft.log_end() > start);
        self.ledger.leader_is_complete(raft.log_start(), |base| {
            let batch = raft.batches_from(base).next()?;
            (batch.base == base).then_some((batch.end, batch.epoch))
        });
        self.line(|_| format!("node {id} leads epoch {epoch} from {start}"));
    }

    fn note_commit(&mut self, node: usize, high_watermark: i64) {
        let state = &mut self.nodes[node];
        assert!(
            high_watermark > state.high_watermark,
            "the high watermark went back"
        );
        state.high_watermark = high_watermark;
        let raft = state.raft.as_ref().expect("is up");
        state.applied = state.applied.max(raft.log_start());
        let mut newest = None;
        for batch in raft.batches_from(state.applied) {
            if batch.base >= high_watermark {
                break;
            }
            assert!(batch.end <= high_watermark, "committed at a boundary");
            newest = Some(self.ledger.commits(batch));
            state.applied = batch.end;
        }
        let led = raft.is_leader();
        let id = state.id;
        self.line(|_| format!("node {id} has {high_watermark} committed"));
        if let (true, Some(newest)) = (led, newest) {
            self.check_majority(newest.end, newest.epoch);
        }
    }

    /// What a leader holds committed is on the disks of a majority of voters; a disk that was lost since it was counted is
    /// still counted, for its voter neither votes nor leads any more.
    fn check_majority(&self, end: i64, epoch: i32) {
        let durable = self
            .nodes
            .iter()
            .filter(|node| node.is_voter && node.disk.covers(end, epoch))
            .count();
        assert!(
            durable + self.damaged_voters > self.voters / 2,
            "committed up to {end} with {durable} of {} disks",
            self.voters
        );
    }
}

fn state_record(state: u64) -> Bytes {
    Bytes::from(format!("state {state:016x}"))
}

fn checkpoint(id: SnapshotId, kraft_version: i16, voters: &VoterSet) -> (SnapshotWriter, Vec<u8>) {
    let (writer, header) = SnapshotWriter::new(WriterOptions {
        id,
        last_contained_log_timestamp_ms: 0,
        kraft_version,
        voters: (!voters.is_empty()).then(|| voters.clone()),
        now_ms: 0,
        batch_bytes_max: 1 << 20,
    });
    (writer, header.to_vec())
}
