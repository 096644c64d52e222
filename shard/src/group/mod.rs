//! The coordinator of classic groups and committed offsets, for one partition of `__consumer_offsets`.
//!
//! A state machine without clock, socket or disk: requests and time go in, [`Effect`]s come out, and
//! what it wants in the log comes back through [`GroupCoordinator::appended`] once it is durable. A
//! reply is only given when what it tells is durable. Behaviour is that of Apache Kafka 4.3; where it
//! differs, the place says so.
//!
//! - `join`, `sync`: JoinGroup, SyncGroup, Heartbeat, LeaveGroup; `rebalance`: what they set in motion
//! - `commit`: OffsetCommit, OffsetFetch, OffsetDelete; `offsets`: the offsets; `expiry`: their end
//! - `admin`: DescribeGroups, ListGroups, DeleteGroups
//! - `state`: one group; `timers`: its deadlines; `core`: what all of them share
//! - `completion`: appends that are done; `records`: their bytes
//! - `wire`: whole requests to one group each, and back; `placement`: a group's partition
//!
//! Life: [`GroupCoordinator::new`], [`GroupCoordinator::load`] for every record of the partition in
//! order, [`GroupCoordinator::loaded`]; then requests, reports and ticks in any order; at last
//! [`GroupCoordinator::unload`]. Until loaded, requests are answered COORDINATOR_LOAD_IN_PROGRESS.

mod admin;
mod api;
mod commit;
mod completion;
mod core;
mod expiry;
mod join;
mod offsets;
mod placement;
mod rebalance;
mod records;
mod state;
mod sync;
mod timers;
pub mod wire;

use std::collections::BTreeMap;

use bytes::Bytes;
use odradek_protocol::codec::DecodeError;
use odradek_protocol::{ErrorCode, StrBytes};
pub use odradek_wal::Now;

pub use self::api::{
    AppendId, ClientContext, Effect, GroupOptions, GroupRequest, GroupResponse, GroupStatistics,
    Token,
};
pub use self::placement::{java_string_hash, partition_for};
pub use self::state::GroupState;

use self::admin::Deletion;
use self::core::{Core, Step};
use self::expiry::ExpiryState;
use self::offsets::Offsets;
use self::records::Loaded;
use self::state::Group;
use self::timers::{TimerEvent, TimerKey, TimerKind};

/// Where in its life the coordinator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Active,
    Unloaded,
}

/// The coordinator of one partition; see the module.
#[derive(Debug)]
pub struct GroupCoordinator {
    core: Core,
    phase: Phase,
    groups: BTreeMap<StrBytes, Group>,
    /// Groups whose tombstone is under way, with its append.
    leaving: BTreeMap<StrBytes, (AppendId, Group)>,
    offsets: Offsets,
    expiry: ExpiryState,
    deletions: BTreeMap<u64, Deletion>,
    next_deletion: u64,
    offset_commits: u64,
    offsets_expired: u64,
    offsets_deleted: u64,
    records_skipped: u64,
}

impl GroupCoordinator {
    /// A coordinator with nothing in it, to be loaded.
    pub fn new(options: GroupOptions) -> GroupCoordinator {
        GroupCoordinator {
            core: Core::new(options),
            phase: Phase::Loading,
            groups: BTreeMap::new(),
            leaving: BTreeMap::new(),
            offsets: Offsets::default(),
            expiry: ExpiryState::default(),
            deletions: BTreeMap::new(),
            next_deletion: 0,
            offset_commits: 0,
            offsets_expired: 0,
            offsets_deleted: 0,
            records_skipped: 0,
        }
    }

    /// Takes one record of the partition, in offset order. A record without key, and records of
    /// other kinds of groups, are counted and passed over.
    ///
    /// # Errors
    /// When a record of a classic group or an offset cannot be read. Kafka gives up loading the
    /// partition then; whoever goes on instead loses what that record said.
    pub fn load(&mut self, key: Option<Bytes>, value: Option<Bytes>) -> Result<(), DecodeError> {
        let Some(key) = key else {
            self.records_skipped += 1;
            return Ok(());
        };
        match records::decode(key, value)? {
            Loaded::Offset(key, committed) => {
                if committed.is_some() && !self.groups.contains_key(&key.group) {
                    // Offsets without a group record: a consumer that never joined.
                    let mut group = Group::new(key.group.clone(), self.core.incarnation(), 0);
                    group.durable = true;
                    self.groups.insert(key.group.clone(), group);
                }
                self.offsets.load(&key, committed);
            }
            Loaded::Group(group_id, Some(mut group)) => {
                group.incarnation = self.core.incarnation();
                self.groups.insert(group_id, *group);
            }
            Loaded::Group(group_id, None) => {
                self.groups.remove(&group_id);
            }
            Loaded::Other => self.records_skipped += 1,
        }
        Ok(())
    }

    /// All records are in: members get their session timeouts anew, since nobody could reach us, and
    /// requests are taken from here on.
    pub fn loaded(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let step = &mut Step { now, effects };
        self.phase = Phase::Active;
        let Self { core, groups, .. } = self;
        let members_max = usize::try_from(core.options.members_max).unwrap_or(0);
        for group in groups.values_mut() {
            for member in group.members.values() {
                core.schedule_session(now, &group.id, &member.id, member.session_timeout_ms);
            }
            if group.members.len() > members_max {
                // The bound was lowered: whoever comes back first stays.
                core.prepare_rebalance(step, group);
            }
        }
        let interval_ms = core.options.offsets_retention_check_interval_ms;
        self.expiry.restart(now, interval_ms);
    }

    /// Takes a request. Its answer is among these effects or those of a later call, once.
    pub fn handle(
        &mut self,
        now: Now,
        token: Token,
        context: &ClientContext,
        request: GroupRequest,
        effects: &mut Vec<Effect>,
    ) {
        let step = &mut Step { now, effects };
        let refusal = match self.phase {
            Phase::Loading => Some(ErrorCode::CoordinatorLoadInProgress),
            Phase::Unloaded => Some(ErrorCode::NotCoordinator),
            Phase::Active => None,
        };
        if let Some(error) = refusal {
            step.reply(token, request.refuse(context.api_version, error));
            return;
        }
        match request {
            GroupRequest::Join(request) => self.join(step, token, context, request),
            GroupRequest::Sync(request) => self.sync(step, token, context, request),
            GroupRequest::Heartbeat(request) => self.heartbeat(step, token, &request),
            GroupRequest::Leave(request) => self.leave(step, token, context, request),
            GroupRequest::OffsetCommit(request) => {
                self.offset_commit(step, token, context, request);
            }
            GroupRequest::OffsetFetch {
                group,
                require_stable,
            } => {
                self.offset_fetch(step, token, group, require_stable);
            }
            GroupRequest::OffsetDelete(request) => self.offset_delete(step, token, request),
            GroupRequest::Describe(group_ids) => self.describe(step, token, context, &group_ids),
            GroupRequest::List { states, types } => self.list(step, token, &states, &types),
            GroupRequest::Delete(group_ids) => self.delete(step, token, &group_ids),
        }
    }

    /// Does what is due: sessions, join and sync phases that end, offsets that expire.
    pub fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !self.is_active() {
            return;
        }
        let step = &mut Step { now, effects };
        while let Some((key, event)) = self.core.timers.pop_due(now.monotonic_us) {
            self.timer_due(step, key, event);
        }
        self.expire_offsets(step);
    }

    /// When [`GroupCoordinator::tick`] has something to do, in monotonic microseconds (now and then
    /// earlier than need be); 0 for at once.
    pub fn next_deadline(&self) -> Option<u64> {
        if !self.is_active() {
            return None;
        }
        self.core
            .timers
            .next_us()
            .into_iter()
            .chain(self.expiry.next_us())
            .min()
    }

    /// What it holds and has done.
    pub fn statistics(&self) -> GroupStatistics {
        GroupStatistics {
            groups: self.groups.len(),
            offsets: self.offsets.durable_count(),
            deadlines: self.core.timers.len(),
            appends_pending: self.core.pending.len(),
            rebalances_completed: self.core.rebalances_completed,
            offset_commits: self.offset_commits,
            offsets_expired: self.offsets_expired,
            offsets_deleted: self.offsets_deleted,
            records_skipped: self.records_skipped,
        }
    }

    /// How many groups are in each state, for metrics.
    pub fn groups_by_state(&self) -> BTreeMap<GroupState, usize> {
        let mut counts = BTreeMap::new();
        for group in self.groups.values() {
            *counts.entry(group.state).or_insert(0) += 1;
        }
        counts
    }

    /// Whether requests are taken.
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Active
    }

    fn timer_due(&mut self, step: &mut Step<'_>, key: TimerKey, event: TimerEvent) {
        let Self { core, groups, .. } = self;
        let Some(group) = groups.get_mut(&key.group) else {
            return;
        };
        match (event, key.kind) {
            (TimerEvent::SessionExpired, TimerKind::Session(member_id)) => {
                core.session_expired(step, group, &member_id);
            }
            (TimerEvent::JoinExpired, _) => {
                if group.state == GroupState::PreparingRebalance {
                    core.complete_join(step, group);
                }
            }
            (
                TimerEvent::InitialDelay {
                    delay_ms,
                    remaining_ms,
                },
                _,
            ) => {
                core.initial_delay_over(step, group, delay_ms, remaining_ms);
            }
            (TimerEvent::SyncExpired { generation }, _) => {
                core.sync_expired(step, group, generation);
            }
            (TimerEvent::SessionExpired, _) => {
                debug_assert!(false, "sessions have members");
            }
        }
    }

    /// The group of that name, made if there is none; with it what is needed to work on it.
    fn group_or_new(&mut self, step: &Step<'_>, group_id: &StrBytes) -> (&mut Core, &mut Group) {
        let Self { core, groups, .. } = self;
        let group = groups
            .entry(owned(group_id))
            .or_insert_with(|| Group::new(owned(group_id), core.incarnation(), step.now.wall_ms));
        (core, group)
    }
}

/// A copy of a string that does not keep the buffer it arrived in.
fn owned(text: &StrBytes) -> StrBytes {
    text.detached()
}

/// A copy of bytes that does not keep the buffer they arrived in.
fn owned_bytes(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
