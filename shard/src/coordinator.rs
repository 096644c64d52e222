//! Joins the group coordinators to the log: one [`GroupCoordinator`] per partition of `__consumer_offsets` led
//! here, loaded from the partition, fed with requests, its records appended, its answers given when they are
//! durable.
//!
//! The machine itself is in `group`; this file knows nothing of groups. Loading goes in steps of a chunk, so
//! that a long partition does not hold up the core; requests meanwhile get COORDINATOR_LOAD_IN_PROGRESS.

use std::collections::VecDeque;

use bytes::Bytes;
use odradek_protocol::records::{self, BatchBuilder, Batches};
use odradek_protocol::{ErrorCode, StrBytes};
use odradek_wal::ReplicaId;
use slab::Slab;

use crate::command::{
    FetchPartitionReply, GroupCommand, InternalAppend, InternalRead, PartitionKey, Reply,
    RequestToken,
};
use crate::group::{AppendId, Effect, GroupCoordinator, GroupStatistics, Token};
use crate::message::Message;
use crate::shard::{Deadline, Shard};

/// The topic whose partitions are coordinated.
pub const GROUP_TOPIC: &str = "__consumer_offsets";

/// In a token's core: the request is a coordinator's own.
const OWN_CORE: u16 = u16::MAX;
/// What a coordinator asked of its own shard; stands in the token's part, with the replica above it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    /// An append; its id is the token's request.
    Append = 0,
    /// A read of the load.
    Load = 1,
}

/// Bytes read at once while loading.
const LOAD_BYTES: usize = 256 << 10;

/// A coordinator of one partition.
pub(crate) struct Coordinator {
    key: PartitionKey,
    replica: ReplicaId,
    group: GroupCoordinator,
    /// Where the load goes on; none when it is done or has failed.
    load_from: Option<i64>,
    failed: bool,
    /// Requests under way, by the coordinator's token.
    requests: Slab<RequestToken>,
    /// Appends under way in order, with their results as far as known: they are reported in order.
    appends: VecDeque<(AppendId, Option<Result<(), ErrorCode>>)>,
    deadline_us: Option<u64>,
}

impl Shard {
    /// Starts the coordinator of a partition when its topic is the groups' one.
    pub(crate) fn start_coordinator(&mut self, slot: u32) {
        let Some(options) = self.options.groups.clone() else {
            return;
        };
        if &*self.topic_of(slot).name != GROUP_TOPIC {
            return;
        }
        let partition = self.partition(slot);
        let coordinator = Coordinator {
            key: partition.key,
            replica: partition.replica,
            group: GroupCoordinator::new(options),
            load_from: Some(partition.offsets.log_start().0),
            failed: false,
            requests: Slab::new(),
            appends: VecDeque::new(),
            deadline_us: None,
        };
        let number = coordinator.key.partition;
        self.stop_coordinator(number);
        self.coordinators.insert(number, coordinator);
        self.load_on(number);
    }

    /// Ends a coordinator: what waits for it is answered NOT_COORDINATOR.
    pub(crate) fn stop_coordinator(&mut self, number: i32) {
        let now = self.now;
        let Some(coordinator) = self.coordinators.get_mut(&number) else {
            return;
        };
        let mut effects = Vec::new();
        coordinator.group.unload(now, &mut effects);
        self.carry_out(number, effects);
        if let Some(coordinator) = self.coordinators.remove(&number)
            && let Some(at_us) = coordinator.deadline_us
        {
            self.deadlines.remove(at_us, Deadline::Coordinator(number));
        }
    }

    pub(crate) fn stop_coordinator_of(&mut self, key: &PartitionKey) {
        if self
            .coordinators
            .get(&key.partition)
            .is_some_and(|coordinator| coordinator.key == *key)
        {
            self.stop_coordinator(key.partition);
        }
    }

    pub(crate) fn group_command(&mut self, command: GroupCommand) {
        let GroupCommand {
            token,
            partition,
            context,
            request,
        } = command;
        let now = self.now;
        let coordinator = self
            .coordinators
            .get_mut(&partition)
            .filter(|coordinator| !coordinator.failed);
        let Some(coordinator) = coordinator else {
            let response = request.refuse(context.api_version, ErrorCode::NotCoordinator);
            return self.reply(token, Reply::Group(response));
        };
        let own = Token(coordinator.requests.insert(token) as u64);
        let mut effects = Vec::new();
        coordinator
            .group
            .handle(now, own, &context, request, &mut effects);
        self.carry_out(partition, effects);
    }

    /// A topic is gone: its committed offsets go too.
    pub(crate) fn topic_deleted(&mut self, name: &str) {
        let now = self.now;
        let topic = StrBytes::from(name);
        let numbers: Vec<i32> = self.coordinators.keys().copied().collect();
        for number in numbers {
            let mut effects = Vec::new();
            if let Some(coordinator) = self.coordinators.get_mut(&number) {
                coordinator.group.topic_deleted(now, &topic, &mut effects);
            }
            self.carry_out(number, effects);
        }
    }

    /// Due: the coordinator's timers, or the next step of its load.
    pub(crate) fn coordinator_due(&mut self, number: i32) {
        let now = self.now;
        let Some(coordinator) = self.coordinators.get_mut(&number) else {
            return;
        };
        coordinator.deadline_us = None;
        if coordinator.load_from.is_some() {
            return self.load_on(number);
        }
        let mut effects = Vec::new();
        coordinator.group.tick(now, &mut effects);
        self.carry_out(number, effects);
    }

    /// What the groups of this shard hold, by partition.
    pub fn group_statistics(&self) -> Vec<(i32, GroupStatistics)> {
        self.coordinators
            .iter()
            .map(|(number, coordinator)| (*number, coordinator.group.statistics()))
            .collect()
    }

    /// Whether every coordinator here has loaded its partition.
    pub fn groups_loaded(&self) -> bool {
        self.coordinators
            .values()
            .all(|coordinator| coordinator.load_from.is_none())
    }

    fn carry_out(&mut self, number: i32, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply { token, response } => {
                    let Some(coordinator) = self.coordinators.get_mut(&number) else {
                        continue;
                    };
                    if let Some(token) = coordinator.requests.try_remove(token.0 as usize) {
                        self.reply(token, Reply::Group(response));
                    }
                }
                Effect::Append { records, then } => self.append_for(number, records, then),
            }
        }
        self.plan(number);
    }

    fn append_for(
        &mut self,
        number: i32,
        group_records: Vec<(Bytes, Option<Bytes>)>,
        then: AppendId,
    ) {
        let wall_ms = self.now.wall_ms;
        let Some(coordinator) = self.coordinators.get_mut(&number) else {
            return;
        };
        coordinator.appends.push_back((then, None));
        let key = coordinator.key;
        let token = own_token(number, coordinator.replica, Own::Append, then.0);
        let mut batch = BatchBuilder::new(0);
        for (key, value) in &group_records {
            batch.push(wall_ms, Some(key), value.as_deref(), &[]);
        }
        match batch.build() {
            Ok(batch) => self.internal_append(InternalAppend { token, key, batch }),
            Err(_) => self
                .inbox
                .push_back((token, Reply::failed_append(key, ErrorCode::MessageTooLarge))),
        }
    }

    /// Sets the coordinator's deadline to when it next has something to do.
    fn plan(&mut self, number: i32) {
        let next_step_us = self.now.monotonic_us + 1;
        let Some(coordinator) = self.coordinators.get_mut(&number) else {
            return;
        };
        let wanted = match coordinator.load_from {
            Some(_) => coordinator.deadline_us,
            None => coordinator
                .group
                .next_deadline()
                .map(|at_us| at_us.max(next_step_us)),
        };
        set_deadline(&mut self.deadlines, coordinator, number, wanted);
    }

    fn load_on(&mut self, number: i32) {
        let Some(coordinator) = self.coordinators.get(&number) else {
            return;
        };
        let Some(from) = coordinator.load_from else {
            return;
        };
        let token = own_token(number, coordinator.replica, Own::Load, 0);
        self.internal_read(&InternalRead {
            token,
            key: coordinator.key,
            from,
            max_bytes: LOAD_BYTES,
        });
    }

    /// A coordinator's own request is answered.
    pub(crate) fn own_reply(&mut self, token: RequestToken, reply: Reply) {
        let number = token.connection as i32;
        let Some(replica) = self
            .coordinators
            .get(&number)
            .map(|coordinator| coordinator.replica)
        else {
            return;
        };
        match reply {
            Reply::InternalAppend(reply)
                if token == own_token(number, replica, Own::Append, token.request) =>
            {
                let result = match reply.error {
                    ErrorCode::None => Ok(()),
                    error => Err(error),
                };
                self.append_settled(number, AppendId(token.request), result);
            }
            Reply::InternalRead(reply) if token == own_token(number, replica, Own::Load, 0) => {
                self.loaded_chunk(number, reply);
            }
            _ => {} // Of a coordinator that is gone.
        }
    }

    fn append_settled(&mut self, number: i32, append: AppendId, result: Result<(), ErrorCode>) {
        let now = self.now;
        let Some(coordinator) = self.coordinators.get_mut(&number) else {
            return;
        };
        if let Some(entry) = coordinator
            .appends
            .iter_mut()
            .find(|entry| entry.0 == append)
        {
            entry.1 = Some(result);
        }
        let mut effects = Vec::new();
        while let Some((append, Some(result))) = coordinator.appends.front().copied() {
            coordinator.appends.pop_front();
            coordinator
                .group
                .appended(now, append, result, &mut effects);
        }
        self.carry_out(number, effects);
    }

    fn loaded_chunk(&mut self, number: i32, reply: FetchPartitionReply) {
        let (now, bytes_max) = (self.now, self.options.decompressed_batch_bytes_max);
        let Some(coordinator) = self.coordinators.get_mut(&number) else {
            return;
        };
        let key = coordinator.key;
        if reply.error != ErrorCode::None {
            coordinator.load_from = None;
            coordinator.failed = true;
            return self.message(Message::CoordinatorNotLoaded {
                partition: number,
                error: reply.error,
            });
        }
        let mut unreadable = Vec::new();
        if reply.records.is_empty() {
            coordinator.load_from = None;
            let mut effects = Vec::new();
            coordinator.group.loaded(now, &mut effects);
            return self.carry_out(number, effects);
        }
        for slice in reply.records {
            for batch in Batches::new(slice) {
                let Ok((header, batch)) = batch else { break };
                coordinator.load_from = Some(header.next_offset());
                if !header.is_control() {
                    load_batch(&mut coordinator.group, &batch, bytes_max, &mut unreadable);
                }
            }
        }
        // The rest in the next step: a long load must not hold up the core.
        set_deadline(
            &mut self.deadlines,
            coordinator,
            number,
            Some(now.monotonic_us + 1),
        );
        for (offset, reason) in unreadable {
            self.message(Message::CoordinatorRecordUnreadable {
                key,
                offset,
                reason,
            });
        }
    }
}

fn load_batch(
    group: &mut GroupCoordinator,
    batch: &Bytes,
    bytes_max: usize,
    unreadable: &mut Vec<(i64, String)>,
) {
    let records = match records::records(batch, bytes_max) {
        Ok(records) => records,
        Err(error) => return unreadable.push((-1, error.to_string())),
    };
    for record in records {
        match record {
            Ok(record) => {
                let offset = record.offset;
                if let Err(error) = group.load(record.key, record.value) {
                    unreadable.push((offset, error.to_string()));
                }
            }
            Err(error) => unreadable.push((-1, error.to_string())),
        }
    }
}

fn set_deadline(
    deadlines: &mut crate::deadlines::Deadlines<Deadline>,
    coordinator: &mut Coordinator,
    number: i32,
    wanted: Option<u64>,
) {
    if coordinator.deadline_us == wanted {
        return;
    }
    if let Some(at_us) = coordinator.deadline_us.take() {
        deadlines.remove(at_us, Deadline::Coordinator(number));
    }
    if let Some(at_us) = wanted {
        deadlines.insert(at_us, Deadline::Coordinator(number));
    }
    coordinator.deadline_us = wanted;
}

fn own_token(number: i32, replica: ReplicaId, own: Own, request: u64) -> RequestToken {
    let part = ((replica.0 as u32) << 1) | own as u32;
    RequestToken {
        core: OWN_CORE,
        connection: number as u64,
        request,
        part,
    }
}

impl RequestToken {
    /// Whether a coordinator of this shard asked. Cores are numbered below 65,535.
    pub(crate) fn is_own(&self) -> bool {
        self.core == OWN_CORE
    }
}
