//! Fetch: reading for consumers and replicas, waiting for bytes, and sessions (Kafka's rules of §4.5, 4.6).
//!
//! A round goes over the ready members, reads within the limits, and ends in an answer or in waiting. A
//! waiting fetch has no timer of its own: its deadline stands in the shard's queue, and a partition whose
//! watermark moves wakes it when enough bytes are there. Reads that need the disk are all started in one
//! round; the round ends when the last of them is back. Session ids and epochs are in `sessions`.

use std::collections::VecDeque;

use odradek_protocol::ErrorCode;
use odradek_wal::{LeaderEpoch, Offset, ReadAnswer, ReadData, ReadRefusal};
use smallvec::SmallVec;

use crate::command::{
    FetchCommand, FetchPartitionReply, FetchReply, FetchSession, Isolation, PartitionKey, Reply,
    RequestToken, SessionKey,
};
use crate::partition::{Partition, Watcher};
use crate::session_part::{ActiveFetch, FetchPart, NOWHERE};
use crate::shard::{Deadline, Shard, Ticket};

/// What a member of a fetch comes to.
struct Evaluated {
    reply: FetchPartitionReply,
    /// Where to read from and up to; none when there is nothing to read.
    read: Option<(Offset, Offset)>,
    urgent: bool,
}

impl Shard {
    pub(crate) fn fetch(&mut self, command: FetchCommand) {
        let FetchCommand {
            token,
            isolation,
            max_wait_ms,
            min_bytes,
            max_bytes,
            at_least_one,
            session,
            partitions,
        } = command;
        let (fetch, full) = match session {
            FetchSession::Sessionless => (self.new_part(None), true),
            FetchSession::Open(key) => {
                self.close_session(key);
                (self.new_part(Some(key)), true)
            }
            FetchSession::Incremental { session, forgotten } => {
                let fetch = match self.sessions.get(&session) {
                    Some(fetch) => *fetch,
                    None => self.new_part(Some(session)),
                };
                for key in forgotten {
                    self.forget_member(fetch, &key);
                }
                (fetch, false)
            }
        };
        self.finish_now(fetch); // A client that asks again no longer waits for the first answer.
        let Some(part) = self.fetches.get_mut(fetch as usize) else {
            return;
        };
        for want in partitions {
            part.upsert(want);
        }
        part.active = Some(ActiveFetch {
            token,
            isolation,
            min_bytes: min_bytes.max(0) as usize,
            max_bytes: max_bytes.max(0) as usize,
            at_least_one,
            full,
            deadline_us: self
                .now
                .monotonic_us
                .saturating_add(max_wait_ms.max(0) as u64 * 1_000),
            parked: false,
            forced: max_wait_ms <= 0,
            urgent: false,
            arrived: 0,
            granted: 0,
            answers: Vec::new(),
            tickets: SmallVec::new(),
        });
        self.run_fetch(fetch);
    }

    fn new_part(&mut self, session: Option<SessionKey>) -> u32 {
        let fetch = self
            .fetches
            .insert(FetchPart::new(session, self.options.hash_seed)) as u32;
        if let Some(key) = session {
            self.sessions.insert(key, fetch);
        }
        fetch
    }

    /// One round: every ready member (of a full fetch every member) is looked at.
    fn run_fetch(&mut self, fetch: u32) {
        let part = &mut self.fetches[fetch as usize];
        let Some(active) = part.active.as_mut() else {
            return;
        };
        active.parked = false;
        active.urgent = false;
        active.granted = 0;
        active.answers.clear();
        if active.full {
            part.queue_all();
        }
        let mut unread = VecDeque::new();
        for _ in 0..self.fetches[fetch as usize].ready.len() {
            let Some(member) = self.fetches[fetch as usize].next_ready() else {
                break;
            };
            if !self.serve_member(fetch, member) {
                unread.push_back(member);
            }
        }
        // Members that the limits left unread keep their place in front of those that were answered.
        let part = &mut self.fetches[fetch as usize];
        for member in unread.into_iter().rev() {
            if let Some(entry) = part.members.get_mut(member as usize)
                && !std::mem::replace(&mut entry.queued, true)
            {
                part.ready.push_front(member);
            }
        }
        let Some(active) = part.active.as_ref() else {
            return;
        };
        if active.tickets.is_empty() {
            return self.conclude(fetch);
        }
        self.parked.insert(active.token, fetch); // It waits for the disk, and may be unparked.
    }

    /// Looks at one member. False when the limits left its records unread.
    fn serve_member(&mut self, fetch: u32, member: u32) -> bool {
        self.statistics.members_evaluated += 1;
        self.resolve_member(fetch, member);
        let evaluated = self.evaluate(fetch, member);
        let Evaluated {
            mut reply,
            read,
            urgent,
        } = evaluated;
        let Some(active) = self.fetches[fetch as usize].active.as_mut() else {
            return true;
        };
        active.urgent |= urgent;
        let position = active.answers.len() as u32;
        let mut unread = false;
        if let Some((from, bound)) = read {
            unread = !self.read_member(fetch, member, position, from, bound, &mut reply);
        }
        let part = &mut self.fetches[fetch as usize];
        if urgent {
            part.queue(member); // An error is told at every fetch until it is gone.
        } else if read.is_some() && !unread {
            part.queue(member); // There may be more; the next round sees.
        }
        if let Some(active) = part.active.as_mut() {
            active.answers.push((member, reply));
        }
        !unread
    }

    /// Finds the partition of a member, and watches it for sessions.
    fn resolve_member(&mut self, fetch: u32, member: u32) {
        let part = &mut self.fetches[fetch as usize];
        let watch = part.session.is_some();
        let entry = &mut part.members[member as usize];
        let current = self.partitions.get(entry.slot as usize);
        if current.is_some_and(|partition| {
            partition.key == entry.want.key && partition.replica == entry.replica
        }) {
            return;
        }
        entry.watching = false;
        let slot = self.index.get(&self.partitions, &entry.want.key);
        entry.slot = slot.unwrap_or(NOWHERE);
        if let Some(partition) = self.partitions.get_mut(entry.slot as usize) {
            entry.replica = partition.replica;
            if watch {
                entry.watching = true;
                partition.watchers.push(Watcher { fetch, member });
            }
        }
    }

    fn evaluate(&mut self, fetch: u32, member: u32) -> Evaluated {
        let part = &self.fetches[fetch as usize];
        let entry = &part.members[member as usize];
        let want = entry.want;
        let isolation = part
            .active
            .as_ref()
            .map_or(Isolation::ReadUncommitted, |active| active.isolation);
        let Some(partition) = self.partitions.get(entry.slot as usize) else {
            return Evaluated::error(want.key, ErrorCode::NotLeaderOrFollower, -1);
        };
        let leader_epoch = partition.leader_epoch;
        if let Some(error) = partition.epoch_error(want.current_leader_epoch) {
            return Evaluated::error(want.key, error, leader_epoch);
        }
        let directory = &self.directories[usize::from(partition.directory)];
        if !directory.online {
            return Evaluated::error(want.key, ErrorCode::KafkaStorageError, leader_epoch);
        }
        let offsets = partition.offsets;
        let from = Offset(want.fetch_offset);
        let out_of_range = Evaluated::error(want.key, ErrorCode::OffsetOutOfRange, leader_epoch);
        if from < offsets.log_start() {
            return out_of_range;
        }
        let mut reply = FetchPartitionReply::refused(want.key, ErrorCode::None);
        reply.high_watermark = offsets.high_watermark().0;
        reply.last_stable_offset = offsets.last_stable().0;
        reply.log_start_offset = offsets.log_start().0;
        reply.leader_epoch = leader_epoch;
        if want.last_fetched_epoch >= 0 {
            let (epoch, end) = self.end_of_epoch(partition, want.last_fetched_epoch);
            if epoch < 0 || end < 0 {
                return out_of_range;
            }
            if epoch < want.last_fetched_epoch || end < want.fetch_offset {
                reply.diverging_epoch = Some((epoch, end));
                return Evaluated {
                    reply,
                    read: None,
                    urgent: true,
                };
            }
        }
        if from > offsets.log_end() {
            return out_of_range;
        }
        let bound = match isolation {
            Isolation::ReadUncommitted => offsets.high_watermark(),
            Isolation::ReadCommitted => offsets.last_stable(),
        };
        Evaluated {
            reply,
            read: (from < bound).then_some((from, bound)),
            urgent: false,
        }
    }

    /// Reads for one member, or starts to. False when the limits forbid it.
    fn read_member(
        &mut self,
        fetch: u32,
        member: u32,
        position: u32,
        from: Offset,
        bound: Offset,
        reply: &mut FetchPartitionReply,
    ) -> bool {
        let part = &mut self.fetches[fetch as usize];
        let entry = &part.members[member as usize];
        let Some(active) = part.active.as_mut() else {
            return true;
        };
        let first = active.at_least_one && active.granted == 0;
        let left = active.max_bytes.saturating_sub(active.granted);
        let bytes_max = left.min(entry.want.max_bytes.max(0) as usize);
        if bytes_max == 0 && !first {
            return false;
        }
        let (slot, replica) = (entry.slot, entry.replica);
        let ticket = self.ticket(Ticket::Fetch { fetch, position });
        let now = self.now;
        let answer = self
            .directory_mut(slot)
            .call(|log, out| log.read(now, replica, from, bound, bytes_max, first, ticket, out));
        if answer != ReadAnswer::Pending {
            self.tickets.remove(&ticket);
        }
        let Some(active) = self.fetches[fetch as usize].active.as_mut() else {
            return true;
        };
        match answer {
            ReadAnswer::Ready(data) => {
                active.granted += data.bytes;
                let got = !data.slices.is_empty();
                reply.records = data.slices;
                return got || first;
            }
            ReadAnswer::Pending => {
                active.granted += bytes_max.max(1);
                active.tickets.push(ticket);
            }
            ReadAnswer::Empty => return false,
            ReadAnswer::Busy => active.forced = true, // Better an empty answer than one that waits in vain.
            ReadAnswer::BelowLogStart | ReadAnswer::AboveEnd => {
                active.urgent |= reply.fail(ErrorCode::OffsetOutOfRange)
            }
            ReadAnswer::Damaged { .. } => active.urgent |= reply.fail(ErrorCode::CorruptMessage),
            ReadAnswer::UnknownReplica => {
                active.urgent |= reply.fail(ErrorCode::NotLeaderOrFollower)
            }
            ReadAnswer::Offline => active.urgent |= reply.fail(ErrorCode::KafkaStorageError),
        }
        true
    }

    pub(crate) fn fetch_read_done(
        &mut self,
        fetch: u32,
        position: u32,
        result: Result<ReadData, ReadRefusal>,
    ) {
        let Some(active) = self
            .fetches
            .get_mut(fetch as usize)
            .and_then(|part| part.active.as_mut())
        else {
            return;
        };
        let Some((_, reply)) = active.answers.get_mut(position as usize) else {
            return;
        };
        match result {
            Ok(data) => reply.records = data.slices,
            Err(ReadRefusal::Empty) => {}
            Err(ReadRefusal::BelowLogStart | ReadRefusal::AboveEnd) => {
                active.urgent |= reply.fail(ErrorCode::OffsetOutOfRange)
            }
            Err(ReadRefusal::Damaged { .. }) => {
                active.urgent |= reply.fail(ErrorCode::CorruptMessage)
            }
            Err(ReadRefusal::UnknownReplica) => {
                active.urgent |= reply.fail(ErrorCode::NotLeaderOrFollower)
            }
            Err(ReadRefusal::Offline) => active.urgent |= reply.fail(ErrorCode::KafkaStorageError),
        }
        let tickets = &self.tickets;
        active.tickets.retain(|ticket| tickets.contains_key(ticket));
        if active.tickets.is_empty() {
            self.conclude(fetch);
        }
    }

    /// A round is over: answer, or wait for more.
    fn conclude(&mut self, fetch: u32) {
        let waiting_full = self.parked.len() >= self.options.waiting_requests_max;
        let now_us = self.now.monotonic_us;
        let Some(active) = self.fetches[fetch as usize].active.as_mut() else {
            return;
        };
        let bytes: usize = active
            .answers
            .iter()
            .map(|(_, reply)| reply.records_bytes())
            .sum();
        let enough = bytes >= active.min_bytes
            || active.forced
            || active.urgent
            || active.deadline_us <= now_us;
        if enough || waiting_full {
            return self.answer_fetch(fetch);
        }
        active.parked = true;
        active.arrived = bytes;
        let answers = std::mem::take(&mut active.answers);
        let (token, deadline_us) = (active.token, active.deadline_us);
        self.parked.insert(token, fetch);
        self.deadlines.insert(deadline_us, Deadline::Fetch(fetch));
        // What was found is looked at again when more has come; a session forgets nothing over it.
        for (member, reply) in answers {
            let part = &mut self.fetches[fetch as usize];
            let entry = &part.members[member as usize];
            let news = !reply.records.is_empty()
                || entry.told_high_watermark != reply.high_watermark
                || entry.told_log_start != reply.log_start_offset;
            if news {
                part.queue(member);
            }
            self.watch(fetch, member);
        }
    }

    fn watch(&mut self, fetch: u32, member: u32) {
        let entry = &mut self.fetches[fetch as usize].members[member as usize];
        if !entry.watching
            && let Some(partition) = self.partitions.get_mut(entry.slot as usize)
        {
            entry.watching = true;
            partition.watchers.push(Watcher { fetch, member });
        }
    }

    fn answer_fetch(&mut self, fetch: u32) {
        let part = &mut self.fetches[fetch as usize];
        let Some(active) = part.active.take() else {
            return;
        };
        let mut partitions = Vec::new();
        let mut bytes = 0;
        for (member, reply) in active.answers {
            let Some(entry) = part.members.get_mut(member as usize) else {
                continue;
            };
            let told = active.full
                || !reply.records.is_empty()
                || reply.error != ErrorCode::None
                || reply.diverging_epoch.is_some()
                || entry.told_high_watermark != reply.high_watermark
                || entry.told_log_start != reply.log_start_offset;
            if told {
                entry.told_high_watermark = reply.high_watermark;
                entry.told_log_start = reply.log_start_offset;
                bytes += reply.records_bytes();
                partitions.push(reply);
            }
        }
        let session_partitions = part.session.map_or(0, |_| part.members.len());
        let sessionless = part.session.is_none();
        self.statistics.bytes_fetched += bytes as u64;
        self.parked.remove(&active.token);
        self.deadlines
            .remove(active.deadline_us, Deadline::Fetch(fetch));
        self.reply(
            active.token,
            Reply::Fetch(FetchReply {
                session_partitions,
                partitions,
            }),
        );
        if sessionless {
            self.drop_part(fetch);
        }
    }

    /// Tells those who watch a partition that it moved, and by how many readable bytes.
    pub(crate) fn tell_watchers(&mut self, slot: u32, bytes: usize) {
        for watcher in self.partitions[slot as usize].watchers.iter() {
            let Some(part) = self.fetches.get_mut(watcher.fetch as usize) else {
                continue;
            };
            part.queue(watcher.member);
            if let Some(active) = part.active.as_mut()
                && active.parked
            {
                active.arrived = active.arrived.saturating_add(bytes);
                if active.arrived >= active.min_bytes.max(1) {
                    active.parked = false; // Once is enough.
                    self.woken.push(watcher.fetch);
                }
            }
        }
    }

    /// A waiting fetch has enough: reads it again.
    pub(crate) fn wake(&mut self, fetch: u32) {
        let Some(active) = self
            .fetches
            .get(fetch as usize)
            .and_then(|part| part.active.as_ref())
        else {
            return;
        };
        if active.tickets.is_empty() {
            self.deadlines
                .remove(active.deadline_us, Deadline::Fetch(fetch));
            self.run_fetch(fetch);
        }
    }

    pub(crate) fn fetch_deadline(&mut self, fetch: u32) {
        self.force(fetch);
    }

    pub(crate) fn unpark(&mut self, token: RequestToken) {
        if let Some(fetch) = self.parked.get(&token).copied() {
            self.force(fetch);
        }
    }

    /// Answers a fetch with what is there, as soon as no read is under way.
    fn force(&mut self, fetch: u32) {
        let Some(active) = self
            .fetches
            .get_mut(fetch as usize)
            .and_then(|part| part.active.as_mut())
        else {
            return;
        };
        active.forced = true;
        if active.tickets.is_empty() {
            self.run_fetch(fetch);
        }
    }

    /// The client is gone: its fetch is not answered. A session stays until it is closed.
    pub(crate) fn cancel(&mut self, token: RequestToken) {
        let Some(fetch) = self.parked.remove(&token) else {
            return;
        };
        let Some(part) = self.fetches.get_mut(fetch as usize) else {
            return;
        };
        if let Some(active) = part.active.take() {
            self.deadlines
                .remove(active.deadline_us, Deadline::Fetch(fetch));
            for ticket in active.tickets {
                self.tickets.remove(&ticket);
            }
        }
        if part.session.is_none() {
            self.drop_part(fetch);
        }
    }

    pub(crate) fn close_session(&mut self, key: SessionKey) {
        let Some(fetch) = self.sessions.get(&key).copied() else {
            return;
        };
        self.finish_now(fetch);
        self.drop_part(fetch);
    }

    /// Answers a fetch at once, without what the disk has not brought yet: that stays ready.
    fn finish_now(&mut self, fetch: u32) {
        let Some(active) = self.fetches[fetch as usize].active.as_mut() else {
            return;
        };
        active.forced = true;
        let tickets = std::mem::take(&mut active.tickets);
        if tickets.is_empty() {
            return self.run_fetch(fetch);
        }
        for ticket in tickets {
            self.tickets.remove(&ticket);
        }
        self.answer_fetch(fetch);
    }

    fn forget_member(&mut self, fetch: u32, key: &PartitionKey) {
        let part = &mut self.fetches[fetch as usize];
        let Some(member) = part.by_key.remove(key) else {
            return;
        };
        part.order.retain(|other| *other != member);
        part.ready.retain(|other| *other != member);
        let entry = part.members.remove(member as usize);
        self.unwatch(fetch, member, entry.slot);
    }

    fn unwatch(&mut self, fetch: u32, member: u32, slot: u32) {
        if let Some(partition) = self.partitions.get_mut(slot as usize) {
            partition.watchers.remove(Watcher { fetch, member });
        }
    }

    fn drop_part(&mut self, fetch: u32) {
        let part = self.fetches.remove(fetch as usize);
        if let Some(key) = part.session {
            self.sessions.remove(&key);
        }
        if let Some(active) = part.active {
            self.parked.remove(&active.token);
            self.deadlines
                .remove(active.deadline_us, Deadline::Fetch(fetch));
            for ticket in active.tickets {
                self.tickets.remove(&ticket);
            }
        }
        for (member, entry) in &part.members {
            if entry.watching {
                self.unwatch(fetch, member as u32, entry.slot);
            }
        }
    }

    /// The largest epoch that is not above the one asked for, and where it ends; (-1, -1) for none.
    pub(crate) fn end_of_epoch(&self, partition: &Partition, epoch: i32) -> (i32, i64) {
        if epoch == partition.leader_epoch {
            return (epoch, partition.offsets.log_end().0);
        }
        if epoch < 0 || epoch > partition.leader_epoch {
            return (-1, -1);
        }
        let log = &self.directories[usize::from(partition.directory)].log;
        if let Some((epoch, end)) = log.epoch_end_offset(partition.replica, LeaderEpoch(epoch)) {
            return (epoch.0, end.0);
        }
        // Older than all that is left: it ended where the first epoch known begins.
        let first = log.epochs(partition.replica).first().map(|entry| entry.1);
        (epoch, first.unwrap_or(partition.offsets.log_end()).0)
    }
}

impl Partition {
    /// Fencing by the leader epoch that a client knows (KIP-320); -1 is not checked.
    pub(crate) fn epoch_error(&self, known: i32) -> Option<ErrorCode> {
        match known {
            -1 => None,
            known if known < self.leader_epoch => Some(ErrorCode::FencedLeaderEpoch),
            known if known > self.leader_epoch => Some(ErrorCode::UnknownLeaderEpoch),
            _ => None,
        }
    }
}

impl Evaluated {
    fn error(key: PartitionKey, error: ErrorCode, leader_epoch: i32) -> Self {
        let mut reply = FetchPartitionReply::refused(key, error);
        reply.leader_epoch = leader_epoch;
        Evaluated {
            reply,
            read: None,
            urgent: true,
        }
    }
}

impl FetchPartitionReply {
    /// An answer without records or offsets.
    pub fn refused(key: PartitionKey, error: ErrorCode) -> Self {
        FetchPartitionReply {
            key,
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            leader_epoch: -1,
            records: SmallVec::new(),
        }
    }

    /// Turns the answer into a refusal; true, for whoever counts it as urgent.
    fn fail(&mut self, error: ErrorCode) -> bool {
        *self = FetchPartitionReply {
            leader_epoch: self.leader_epoch,
            ..FetchPartitionReply::refused(self.key, error)
        };
        true
    }
}
