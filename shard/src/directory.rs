//! One data directory of a shard: its log, what waits for the log, and what the log says.
//!
//! Acknowledgements leave here (P7): [`Shard::absorb`] takes `DurableTo`, moves durable ends and
//! watermarks, and answers what waited. Everything that waits for an LSN waits in one queue per log, in
//! LSN order.

use std::collections::VecDeque;

use odradek_protocol::ErrorCode;
use odradek_wal::{AppendRefusal, DirectoryId, Log, Lsn, Offset, Output, ReplicaId};

use crate::checkpoint::Gathering;
use crate::command::{Action, PartitionKey};
use crate::config::Durability;
use crate::message::Message;
use crate::partition::OffsetMove;
use crate::produce::Blocked;
use crate::recovery::RecoveredProducers;
use crate::shard::{Shard, Ticket};

/// What waits until a log is durable up to some LSN.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// A batch: its partition's durable end moves to `end`, then the answer may leave.
    Append {
        slot: u32,
        replica: ReplicaId,
        end: Offset,
        bytes: u32,
        answer: Option<(u32, u32)>,
    },
    /// An answer that needs nothing moved (a duplicate of a batch in flight).
    Answer { produce: u32, position: u32 },
    /// A log start.
    LogStart { delete: u32, position: u32 },
}

/// A directory and its log.
pub(crate) struct Directory {
    pub(crate) id: DirectoryId,
    pub(crate) log: Log,
    pub(crate) online: bool,
    /// Partitions whose replicas lie here.
    pub(crate) partitions: usize,
    /// What waits for the disk, by LSN.
    pub(crate) waiting: VecDeque<(Lsn, Wait)>,
    /// Appends that the log could not take yet, in order; nothing overtakes them.
    pub(crate) blocked: VecDeque<Blocked>,
    /// Set when the log may take more.
    pub(crate) retry: bool,
    /// Partitions whose producer state changed since the last checkpoint.
    pub(crate) changed: Vec<u32>,
    /// Of these, what the checkpoint under way still wants.
    pub(crate) gathering: Gathering,
    /// What the log said and nobody has looked at yet.
    pub(crate) outputs: Vec<Output>,
    /// LSN of the last append.
    pub(crate) last_lsn: Lsn,
    /// Why the last append was refused, if it was.
    pub(crate) refusing: Option<AppendRefusal>,
    /// Producer state of recovered replicas that no partition has claimed yet.
    pub(crate) recovered: RecoveredProducers,
}

impl Directory {
    pub(crate) fn new(id: DirectoryId, log: Log, recovered: RecoveredProducers) -> Self {
        Directory {
            id,
            log,
            online: true,
            partitions: 0,
            waiting: VecDeque::new(),
            blocked: VecDeque::new(),
            retry: false,
            changed: Vec::new(),
            gathering: Gathering::default(),
            outputs: Vec::new(),
            last_lsn: Lsn(0),
            refusing: None,
            recovered,
        }
    }

    /// Calls the log; what it says is looked at before the step ends.
    pub(crate) fn call<R>(&mut self, call: impl FnOnce(&mut Log, &mut Vec<Output>) -> R) -> R {
        call(&mut self.log, &mut self.outputs)
    }
}

impl Shard {
    pub(crate) fn tick(&mut self) {
        let now = self.now;
        for directory in &mut self.directories {
            directory.call(|log, outputs| log.step(now, odradek_wal::Event::Tick, outputs));
            directory.retry = true;
        }
        for directory in 0..self.directories.len() {
            self.gather_slice(directory);
        }
        self.place_waiting();
    }

    pub(crate) fn log_event(&mut self, directory: usize, event: odradek_wal::Event) {
        let now = self.now;
        self.directories[directory].call(|log, outputs| log.step(now, event, outputs));
    }

    pub(crate) fn trust_clock(&mut self) {
        let now = self.now;
        self.clock_doubted = false;
        for directory in &mut self.directories {
            directory.log.trust_clock(now);
        }
    }

    pub(crate) fn shut_down(&mut self) {
        for directory in 0..self.directories.len() {
            self.checkpoint(directory);
            self.gather_all(directory);
            let now = self.now;
            self.directories[directory].call(|log, outputs| log.shut_down(now, outputs));
        }
    }

    /// Looks at all that the logs said, and at all that follows from it, until nothing is left.
    pub(crate) fn settle(&mut self) {
        let now = self.now;
        loop {
            let mut idle = true;
            for directory in 0..self.directories.len() {
                // By now all reads of a fetch are started: what they miss comes in few and long reads.
                self.directories[directory].call(|log, outputs| log.issue_reads(now, outputs));
                let mut outputs = std::mem::take(&mut self.directories[directory].outputs);
                idle &= outputs.is_empty();
                for output in outputs.drain(..) {
                    self.absorb(directory, output);
                }
                if self.directories[directory].outputs.is_empty() {
                    self.directories[directory].outputs = outputs; // Keeps the buffer.
                }
                if std::mem::take(&mut self.directories[directory].retry) {
                    self.retry_blocked(directory);
                }
            }
            let woken = std::mem::take(&mut self.woken);
            idle &= woken.is_empty();
            for fetch in woken {
                self.wake(fetch);
            }
            while let Some((token, reply)) = self.inbox.pop_front() {
                idle = false;
                self.own_reply(token, reply);
            }
            if idle
                && self
                    .directories
                    .iter()
                    .all(|directory| directory.outputs.is_empty())
                && self.woken.is_empty()
            {
                return;
            }
        }
    }

    fn absorb(&mut self, directory: usize, output: Output) {
        match output {
            Output::Io(io) => self.actions.push(Action::Log { directory, io }),
            Output::DurableTo { lsn } => self.durable(directory, lsn),
            Output::ReadDone { ticket, result } => self.read_done(ticket, result),
            Output::LogStartMoved { replica, to } => self.log_start_moved(directory, replica, to),
            Output::Damaged {
                replica,
                first,
                last,
                file,
                position,
            } => {
                let slot = replica.and_then(|replica| self.slot_of_replica(directory, replica));
                let message = Message::Damaged {
                    key: slot.map(|slot| self.partition(slot).key),
                    topic: slot.map(|slot| self.topic_of(slot).name.as_ref().into()),
                    first: first.0,
                    last: last.0,
                    place: format!("{file}, byte {position}"),
                };
                self.message(message);
            }
            Output::DeletionsFrozen { why } => {
                if !std::mem::replace(&mut self.clock_doubted, true) {
                    self.message(Message::DeletionsFrozen { why });
                }
            }
            Output::Offline { reason } => self.take_offline(directory, &reason.to_string()),
            Output::CheckpointDue => self.checkpoint(directory),
            // What was refused because too many extents waited for it may be taken now.
            Output::CheckpointDone { .. } => self.directories[directory].retry = true,
            // Plans are compaction's; nothing here begins one yet.
            Output::PlanFrames { .. } | Output::PlanDone { .. } => {}
            Output::Message(text) => self.message(Message::Log { directory, text }),
            Output::Closed => self.actions.push(Action::Closed { directory }),
        }
    }

    fn durable(&mut self, directory: usize, lsn: Lsn) {
        self.directories[directory].retry = true;
        while let Some((until, wait)) = self.directories[directory].waiting.front().copied() {
            if until > lsn {
                break;
            }
            self.directories[directory].waiting.pop_front();
            match wait {
                Wait::Append {
                    slot,
                    replica,
                    end,
                    bytes,
                    answer,
                } => {
                    self.batch_durable(directory, (slot, replica), end, bytes);
                    if let Some((produce, position)) = answer {
                        self.produce_done(produce, position, None);
                    }
                }
                Wait::Answer { produce, position } => self.produce_done(produce, position, None),
                Wait::LogStart { delete, position } => self.delete_done(delete, position, None),
            }
        }
    }

    fn batch_durable(
        &mut self,
        directory: usize,
        (slot, replica): (u32, ReplicaId),
        end: Offset,
        bytes: u32,
    ) {
        let durability = self.options.durability;
        let Some(partition) = self.partitions.get_mut(slot as usize) else {
            return;
        };
        // Deleted meanwhile, and the position holds another partition; each directory numbers its replicas from one.
        if (usize::from(partition.directory), partition.replica) != (directory, replica) {
            return;
        }
        partition
            .offsets
            .advance(OffsetMove::Durable(end), durability == Durability::None);
        // The replica here is the only one that is followed: its durable end is the watermark.
        if durability == Durability::Fsync {
            self.advance_high_watermark(slot, end, bytes as usize);
        }
    }

    /// The partition of a replica. A log knows what each is of, and the key is in the index already.
    fn slot_of_replica(&self, directory: usize, replica: ReplicaId) -> Option<u32> {
        let state = self.directories[directory].log.replica(replica)?;
        let key = PartitionKey {
            topic_id: state.topic_id,
            partition: state.partition,
        };
        let slot = self.slot_of(&key)?;
        let partition = self.partition(slot);
        let is_of_it =
            partition.replica == replica && usize::from(partition.directory) == directory;
        is_of_it.then_some(slot)
    }

    fn log_start_moved(&mut self, directory: usize, replica: ReplicaId, to: Offset) {
        let ahead = self.options.durability == Durability::None;
        let Some(slot) = self.slot_of_replica(directory, replica) else {
            return;
        };
        self.partition_mut(slot)
            .offsets
            .advance(OffsetMove::LogStart(to), ahead);
        self.tell_watchers(slot, 0);
    }

    fn read_done(
        &mut self,
        ticket: u64,
        result: Result<odradek_wal::ReadData, odradek_wal::ReadRefusal>,
    ) {
        match self.tickets.remove(&ticket) {
            Some(Ticket::Fetch { fetch, position }) => {
                self.fetch_read_done(fetch, position, result)
            }
            Some(Ticket::List { list, position }) => self.list_read_done(list, position, result),
            Some(Ticket::Internal { token, key }) => self.internal_read_done(token, key, result),
            None => {} // Whoever asked is gone.
        }
    }

    /// Marks a partition's producer state for the next checkpoint.
    pub(crate) fn note_producers_changed(&mut self, slot: u32) {
        let partition = &mut self.partitions[slot as usize];
        if !partition.producers_changed {
            partition.producers_changed = true;
            self.directories[usize::from(partition.directory)]
                .changed
                .push(slot);
        }
    }

    /// KIP-112: what waited is refused, and whoever watches a partition here learns it.
    fn take_offline(&mut self, directory: usize, reason: &str) {
        if !std::mem::replace(&mut self.directories[directory].online, false) {
            return;
        }
        self.directories[directory].stop_gathering();
        let id = self.directories[directory].id;
        self.actions
            .push(Action::DirectoryOffline { directory, id });
        self.message(Message::DirectoryOffline {
            directory: id,
            reason: reason.to_owned(),
        });
        for (_, wait) in std::mem::take(&mut self.directories[directory].waiting) {
            match wait {
                Wait::Append { answer: None, .. } => {}
                Wait::Append {
                    answer: Some((produce, position)),
                    ..
                }
                | Wait::Answer { produce, position } => {
                    self.produce_done(produce, position, Some(ErrorCode::KafkaStorageError));
                }
                Wait::LogStart { delete, position } => {
                    self.delete_done(delete, position, Some(ErrorCode::KafkaStorageError));
                }
            }
        }
        for blocked in std::mem::take(&mut self.directories[directory].blocked) {
            if let Some((produce, position)) = blocked.answer {
                self.produce_done(produce, position, Some(ErrorCode::KafkaStorageError));
            }
        }
        let all = self.partitions.entries();
        let lie_here = all.filter(|(_, partition)| usize::from(partition.directory) == directory);
        let slots: Vec<u32> = lie_here.map(|(slot, _)| slot).collect();
        for slot in slots {
            self.tell_watchers(slot, usize::MAX >> 1);
        }
    }
}
