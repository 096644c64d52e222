//! Produce: from a command to appended batches and, when they are durable, the answer (P4 to P7).
//!
//! Two stages, as everywhere in the hot path: *dispatched* fixes the order (producer state, the log's append),
//! *produced* answers (`directory::durable`). Batches come checked, by `validate` on the connection's core; the
//! sequence rules are in `producers`. Not done here: transactions (a transactional batch is refused with
//! INVALID_TXN_STATE), and waiting for followers, who do not exist yet.

use std::sync::Arc;

use odradek_protocol::ErrorCode;
use odradek_wal::{AppendRefusal, FrameMeta, LeaderEpoch, Lsn, Offset};
use smallvec::{SmallVec, smallvec};

use crate::command::{
    InternalAppend, PartitionKey, ProduceCommand, ProducePartition, ProducePartitionReply, Reply,
    RequestToken,
};
use crate::config::{Durability, TimestampType, TopicConfig};
use crate::directory::Wait;
use crate::message::Message;
use crate::partition::OffsetMove;
use crate::producers::{ProducerBatch, SequenceVerdict};
use crate::shard::Shard;
use crate::validate::{self, BatchRefusal, BatchRules, HEAD_BYTES, PreparedBatch};

/// A produce that is not answered yet. It stays until the last wait that names it is over, so that its
/// position is never another's.
#[derive(Debug)]
pub(crate) struct PendingProduce {
    token: RequestToken,
    internal: bool,
    replies: Vec<ProducePartitionReply>,
    done: SmallVec<[bool; 4]>,
    outstanding: usize,
    answered: bool,
    deadline_us: Option<u64>,
}

/// An append that its log could not take yet.
#[derive(Debug)]
pub(crate) struct Blocked {
    key: PartitionKey,
    batch: PreparedBatch,
    acks: i16,
    pub(crate) answer: Option<(u32, u32)>,
}

/// What holds for all partitions of one produce.
#[derive(Clone, Copy)]
struct Terms {
    acks: i16,
    internal: bool,
}

/// What became of a batch.
enum Fate {
    /// Answer as it stands.
    Answered(ProducePartitionReply),
    /// Answer so once the log is durable up to here.
    Waits(ProducePartitionReply, Lsn, Wait),
    /// The log takes nothing now.
    Busy(PreparedBatch),
}

impl Shard {
    pub(crate) fn produce(&mut self, command: ProduceCommand) {
        let terms = Terms {
            acks: command.acks,
            internal: false,
        };
        let deadline_ms = (command.acks == -1).then_some(command.timeout_ms.max(0) as u64);
        self.dispatch(command.token, terms, deadline_ms, command.partitions);
    }

    /// An append from inside is a produce with acks=-1 that may write what clients may not.
    pub(crate) fn internal_append(&mut self, command: InternalAppend) {
        let terms = Terms {
            acks: -1,
            internal: true,
        };
        let rules = BatchRules {
            config: &self.internal_config(&command.key),
            now_ms: self.now.wall_ms,
            zstd_allowed: true,
            decompressed_bytes_max: self.options.decompressed_batch_bytes_max,
            internal: true,
        };
        let part = ProducePartition {
            key: command.key,
            batch: validate::prepare(Some(command.batch), &rules),
        };
        self.dispatch(command.token, terms, None, vec![part]);
    }

    fn dispatch(
        &mut self,
        token: RequestToken,
        terms: Terms,
        deadline_ms: Option<u64>,
        partitions: Vec<ProducePartition>,
    ) {
        let full = self.produces.len() >= self.options.waiting_requests_max;
        let replies = partitions
            .iter()
            .map(|part| ProducePartitionReply::refused(part.key, ErrorCode::KafkaStorageError));
        let pending = PendingProduce {
            token,
            internal: terms.internal,
            replies: replies.collect(),
            done: smallvec![false; partitions.len()],
            outstanding: partitions.len() + 1, // One for this function, so that it answers last.
            answered: false,
            deadline_us: None,
        };
        let produce = self.produces.insert(pending) as u32;
        for (position, part) in partitions.into_iter().enumerate() {
            let position = position as u32;
            if full {
                self.produce_done(produce, position, Some(ErrorCode::KafkaStorageError));
                continue;
            }
            self.dispatch_part(produce, position, terms, part);
        }
        if let Some(ms) = deadline_ms
            && self.produces[produce as usize].outstanding > 1
        {
            let at_us = self.after_ms(ms);
            self.produces[produce as usize].deadline_us = Some(at_us);
            self.produce_deadline_us = self.produce_deadline_us.min(at_us);
        }
        self.produce_release(produce);
    }

    fn dispatch_part(&mut self, produce: u32, position: u32, terms: Terms, part: ProducePartition) {
        let key = part.key;
        let (slot, batch) = match self.admit(terms, part) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.statistics.batches_refused += 1;
                let reply = self.refused(key, refusal);
                return self.produce_answer(produce, position, reply);
            }
        };
        let answer = (terms.acks != 0).then_some((produce, position));
        let directory = usize::from(self.partition(slot).directory);
        let fate = if self.directories[directory].blocked.is_empty() {
            self.append_batch(slot, batch, terms.acks, (produce, position))
        } else {
            Fate::Busy(batch) // Nothing overtakes what waits.
        };
        match fate {
            Fate::Answered(reply) => self.produce_answer(produce, position, reply),
            Fate::Waits(reply, lsn, wait) => {
                self.produces[produce as usize].replies[position as usize] = reply;
                self.directories[directory].waiting.push_back((lsn, wait));
            }
            Fate::Busy(batch) => {
                self.directories[directory].blocked.push_back(Blocked {
                    key,
                    batch,
                    acks: terms.acks,
                    answer,
                });
                if answer.is_none() {
                    let reply = ProducePartitionReply::refused(key, ErrorCode::None);
                    self.produce_answer(produce, position, reply);
                }
            }
        }
    }

    /// What the connection's core could not check: that the partition is led here and may be written to. Kafka's order of
    /// refusals is kept: a batch of the wrong shape is refused before anything else, its other faults last. Gives the partition's position, too.
    fn admit(
        &mut self,
        terms: Terms,
        part: ProducePartition,
    ) -> Result<(u32, PreparedBatch), BatchRefusal> {
        if let Err(refusal) = &part.batch
            && refusal.is_of_shape()
        {
            return Err(refusal.clone());
        }
        if !matches!(terms.acks, -1..=1) {
            return Err(BatchRefusal::RequiredAcks { acks: terms.acks });
        }
        let slot = self.slot_of(&part.key).ok_or(BatchRefusal::NotLeader)?;
        let partition = self.partition(slot);
        let min_insync_replicas = self.topic_of(slot).config.min_insync_replicas;
        if terms.acks == -1 && partition.in_sync < partition.min_insync(min_insync_replicas) {
            return Err(BatchRefusal::NotEnoughReplicas {
                in_sync: partition.in_sync,
            });
        }
        if !self.directories[usize::from(partition.directory)].online {
            return Err(BatchRefusal::Storage {
                reason: "the log directory is offline".to_owned(),
            });
        }
        part.batch.map(|batch| (slot, batch))
    }

    /// The configuration that an append from inside is checked against.
    fn internal_config(&self, key: &PartitionKey) -> Arc<TopicConfig> {
        match self.slot_of(key) {
            Some(slot) => self.topic_of(slot).config.clone(),
            None => Arc::default(), // Refused by `admit`: there is no such partition.
        }
    }

    /// Steps 19 to 22, then the append itself. Offsets are given out here.
    fn append_batch(
        &mut self,
        slot: u32,
        batch: PreparedBatch,
        acks: i16,
        answer: (u32, u32),
    ) -> Fate {
        let append_time = self.topic_of(slot).config.timestamp_type == TimestampType::LogAppendTime;
        let partition = self.partition(slot);
        let mut reply = ProducePartitionReply::refused(partition.key, ErrorCode::None);
        reply.log_start_offset = partition.offsets.log_start().0;
        reply.leader_epoch = partition.leader_epoch;
        if let (Some(producer), Some(producers)) =
            (batch.producer(), partition.producers.as_deref())
        {
            match producers.check(&producer) {
                SequenceVerdict::Next => {}
                SequenceVerdict::Duplicate {
                    base_offset,
                    timestamp_ms,
                    pending,
                    ..
                } => {
                    self.statistics.batches_duplicate += 1;
                    reply.base_offset = base_offset.0;
                    // The time remembered, whoever stamped it: as Kafka answers.
                    reply.log_append_time_ms = timestamp_ms;
                    // The first one may still be on its way to the disk: then this answer waits for it.
                    if pending && acks != 0 && self.options.durability == Durability::Fsync {
                        let lsn = self.directory_mut(slot).last_lsn;
                        return Fate::Waits(
                            reply,
                            lsn,
                            Wait::Answer {
                                produce: answer.0,
                                position: answer.1,
                            },
                        );
                    }
                    return Fate::Answered(reply);
                }
                verdict => {
                    self.statistics.batches_refused += 1;
                    let refusal = BatchRefusal::sequence(&producer, verdict);
                    return Fate::Answered(self.refused(reply.key, refusal));
                }
            }
        }
        reply.log_append_time_ms = if append_time { batch.max_timestamp } else { -1 };
        reply.base_offset = partition.offsets.log_end().0;
        self.append_to_log(slot, batch, acks, answer, reply)
    }

    fn append_to_log(
        &mut self,
        slot: u32,
        batch: PreparedBatch,
        acks: i16,
        answer: (u32, u32),
        mut reply: ProducePartitionReply,
    ) -> Fate {
        let now = self.now;
        let partition = &self.partitions[slot as usize];
        let base_offset = partition.offsets.log_end();
        let meta = FrameMeta {
            replica: partition.replica,
            base_offset,
            last_offset: Offset(base_offset.0 + i64::from(batch.last_offset_delta)),
            leader_epoch: LeaderEpoch(partition.leader_epoch),
            max_timestamp: batch.max_timestamp,
            producer_id: batch.producer_id,
            producer_epoch: batch.producer_epoch,
            base_sequence: batch.base_sequence,
            flags: batch.attributes as u16,
        };
        let head = batch.head(base_offset.0, partition.leader_epoch);
        let directory = &mut self.directories[usize::from(partition.directory)];
        let body = &batch.bytes[HEAD_BYTES..];
        let lsn = match directory
            .call(|log, out| log.append(now, &meta, &head, body, Some(batch.body_crc), out))
        {
            Ok(lsn) => lsn,
            Err(AppendRefusal::Busy) => return Fate::Busy(batch),
            Err(refusal) => return Fate::Answered(self.append_refused(slot, &refusal)),
        };
        reply.throttle_ms = directory.log.produce_throttle_ms();
        directory.last_lsn = lsn;
        directory.refusing = None;
        self.appended(slot, &batch, &meta);
        let end = Offset(meta.last_offset.0 + 1);
        let waits = acks != 0 && self.options.durability == Durability::Fsync;
        let wait = Wait::Append {
            slot,
            replica: meta.replica,
            end,
            bytes: batch.bytes.len() as u32,
            answer: waits.then_some(answer),
        };
        if waits {
            return Fate::Waits(reply, lsn, wait);
        }
        self.directory_mut(slot).waiting.push_back((lsn, wait));
        if self.options.durability == Durability::None {
            self.advance_high_watermark(slot, end, batch.bytes.len());
        }
        Fate::Answered(reply)
    }

    /// Notes what was appended: offsets and producer state.
    fn appended(&mut self, slot: u32, batch: &PreparedBatch, meta: &FrameMeta) {
        let ahead = self.options.durability == Durability::None;
        let now_us = self.now.monotonic_us;
        let partition = self.partition_mut(slot);
        partition
            .offsets
            .advance(OffsetMove::LogEnd(Offset(meta.last_offset.0 + 1)), ahead);
        if let Some(producer) = batch.producer() {
            partition.producers_mut().append(producer, meta.last_offset);
            self.note_producers_changed(slot);
            self.queue_expiry(slot, now_us);
        }
        self.statistics.batches_appended += 1;
        self.statistics.bytes_appended += batch.bytes.len() as u64;
        self.statistics.records_appended += batch.records as u64;
        self.statistics.batches_rebuilt += u64::from(batch.rebuilt);
    }

    fn append_refused(&mut self, slot: u32, refusal: &AppendRefusal) -> ProducePartitionReply {
        let key = self.partition(slot).key;
        self.statistics.batches_refused += 1;
        let refused = match *refusal {
            AppendRefusal::TooLarge { bytes, bytes_max } => {
                BatchRefusal::TooLarge { bytes, bytes_max }
            }
            other => {
                // Said once per change, not per batch: a full disk refuses every one.
                if self.directory_mut(slot).refusing.replace(other) != Some(other) {
                    let reason = other.to_string();
                    self.message(Message::AppendRefused { key, reason });
                }
                BatchRefusal::Storage {
                    reason: other.to_string(),
                }
            }
        };
        self.refused(key, refused)
    }

    /// Gives blocked appends to the log again, in order, until it is full again.
    pub(crate) fn retry_blocked(&mut self, directory: usize) {
        while let Some(blocked) = self.directories[directory].blocked.pop_front() {
            let Blocked {
                key,
                batch,
                acks,
                answer,
            } = blocked;
            let slot = self.slot_of(&key);
            let slot =
                slot.filter(|slot| usize::from(self.partition(*slot).directory) == directory);
            let fate = match slot {
                Some(slot) => self.append_batch(slot, batch, acks, answer.unwrap_or((u32::MAX, 0))),
                None => Fate::Answered(self.refused(key, BatchRefusal::NotLeader)),
            };
            match fate {
                Fate::Answered(reply) => {
                    if let Some((produce, position)) = answer {
                        self.produce_answer(produce, position, reply);
                    }
                }
                Fate::Waits(reply, lsn, wait) => {
                    if let Some((produce, position)) = answer {
                        self.produces[produce as usize].replies[position as usize] = reply;
                    }
                    self.directories[directory].waiting.push_back((lsn, wait));
                }
                Fate::Busy(batch) => {
                    self.directories[directory].blocked.push_front(Blocked {
                        key,
                        batch,
                        acks,
                        answer,
                    });
                    return;
                }
            }
        }
    }

    fn refused(&self, key: PartitionKey, refusal: BatchRefusal) -> ProducePartitionReply {
        let mut reply = ProducePartitionReply::refused(key, refusal.error_code());
        if let Some(slot) = self.slot_of(&key) {
            let partition = self.partition(slot);
            if refusal.tells_log_start() {
                reply.log_start_offset = partition.offsets.log_start().0;
            }
            reply.leader_epoch = partition.leader_epoch;
        }
        // Words of its own only where single records are at fault; else clients show the code's.
        if matches!(refusal, BatchRefusal::Faults { .. }) {
            reply.error_message = Some(refusal.to_string());
        }
        reply.record_errors = refusal.into_record_errors();
        reply
    }

    fn produce_answer(&mut self, produce: u32, position: u32, reply: ProducePartitionReply) {
        self.produces[produce as usize].replies[position as usize] = reply;
        self.produce_done(produce, position, None);
    }

    /// One partition of a produce has its answer, or fails after all.
    pub(crate) fn produce_done(&mut self, produce: u32, position: u32, error: Option<ErrorCode>) {
        let pending = &mut self.produces[produce as usize];
        assert!(
            !std::mem::replace(&mut pending.done[position as usize], true),
            "a batch was answered twice"
        );
        if let Some(error) = error {
            pending.replies[position as usize].fail(error);
        }
        self.produce_release(produce);
    }

    fn produce_release(&mut self, produce: u32) {
        let pending = &mut self.produces[produce as usize];
        pending.outstanding -= 1;
        if pending.outstanding > 0 {
            return;
        }
        let pending = self.produces.remove(produce as usize);
        if self.produces.is_empty() {
            self.produce_deadline_us = u64::MAX;
        }
        if !pending.answered {
            self.answer_produce(pending.token, pending.internal, pending.replies);
        }
    }

    /// Gives up on produces whose time is over. Nearly all are answered long before, so none has an entry in a queue: the first deadline of all
    /// that ever waited is kept, and when it passes those that still wait are looked through, once in a time-out rather than once a request.
    pub(crate) fn fire_produce_deadlines(&mut self) {
        let now_us = self.now.monotonic_us;
        if now_us < self.produce_deadline_us {
            return;
        }
        let waiting = self.produces.iter();
        let mut due: Vec<(u64, u32)> = waiting
            .filter_map(|(produce, pending)| Some((pending.deadline_us?, produce as u32)))
            .collect();
        due.sort_unstable();
        let over = due.partition_point(|(at_us, _)| *at_us <= now_us);
        self.produce_deadline_us = due.get(over).map_or(u64::MAX, |(at_us, _)| *at_us);
        for (_, produce) in due.drain(..over) {
            self.produce_deadline(produce);
        }
    }

    /// acks=-1 waited long enough. The batches are in the log all the same, as with Kafka.
    fn produce_deadline(&mut self, produce: u32) {
        let Some(pending) = self.produces.get_mut(produce as usize) else {
            return;
        };
        pending.answered = true;
        pending.deadline_us = None;
        let mut replies = std::mem::take(&mut pending.replies);
        for (reply, done) in replies.iter_mut().zip(&pending.done) {
            if !done {
                reply.fail(ErrorCode::RequestTimedOut);
            }
        }
        pending.replies = replies.clone();
        let (token, internal) = (pending.token, pending.internal);
        self.answer_produce(token, internal, replies);
    }

    fn answer_produce(
        &mut self,
        token: RequestToken,
        internal: bool,
        mut replies: Vec<ProducePartitionReply>,
    ) {
        let reply = match internal.then(|| replies.pop()).flatten() {
            Some(reply) => Reply::InternalAppend(reply),
            None => Reply::Produce(replies),
        };
        self.reply(token, reply);
    }
}

impl ProducePartitionReply {
    /// An answer without offsets.
    pub fn refused(key: PartitionKey, error: ErrorCode) -> Self {
        ProducePartitionReply {
            key,
            error,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: Vec::new(),
            error_message: None,
            leader_epoch: -1,
            throttle_ms: 0,
        }
    }

    fn fail(&mut self, error: ErrorCode) {
        self.error = error;
        self.base_offset = -1;
        self.log_append_time_ms = -1;
    }
}

impl PreparedBatch {
    /// What the header says of the producer; none for a batch without one.
    pub fn producer(&self) -> Option<ProducerBatch> {
        (self.producer_id >= 0).then_some(ProducerBatch {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            last_offset_delta: self.last_offset_delta,
            max_timestamp: self.max_timestamp,
        })
    }
}
