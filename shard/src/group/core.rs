//! What all parts of the coordinator share while they work on one group: appends, timers, ids.
//!
//! Kept apart from the groups themselves so that a group can be changed while an append is recorded or
//! a deadline set. What a completed append does is in `completion`.

use std::collections::BTreeMap;

use bytes::Bytes;
use odradek_protocol::StrBytes;
use odradek_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use odradek_wal::Now;

use super::api::{AppendId, Effect, GroupOptions, GroupResponse, Token};
use super::offsets::OffsetKey;
use super::state::{Group, MemberProtocol};
use super::timers::{TimerEvent, TimerKey, TimerKind, Timers};

/// Kafka gives a new member this long, in milliseconds, to stay parked in the join phase.
pub(super) const NEW_MEMBER_JOIN_TIMEOUT_MS: i32 = 5 * 60 * 1000;

/// A member id is its prefix, a dash and 36 characters, and must fit a 16-bit length.
const MEMBER_ID_PREFIX_BYTES_MAX: usize = 32_000;

/// One call's time and outputs.
pub(super) struct Step<'a> {
    pub now: Now,
    pub effects: &'a mut Vec<Effect>,
}

impl Step<'_> {
    /// Answers a request.
    pub fn reply(&mut self, token: Token, response: GroupResponse) {
        self.effects.push(Effect::Reply { token, response });
    }
}

/// A group by name and incarnation, so that a late completion never touches its successor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupRef {
    pub id: StrBytes,
    pub incarnation: u64,
}

impl GroupRef {
    pub fn of(group: &Group) -> GroupRef {
        GroupRef {
            id: group.id.clone(),
            incarnation: group.incarnation,
        }
    }
}

/// A static member's change of id, to be undone when it cannot be made durable.
#[derive(Debug)]
pub(super) struct StaticSwap {
    pub old_id: StrBytes,
    pub new_id: StrBytes,
    pub instance_id: StrBytes,
    pub old_protocols: Vec<MemberProtocol>,
    pub old_rebalance_timeout_ms: i32,
    pub old_session_timeout_ms: i32,
    pub token: Token,
    pub api_version: i16,
    /// Who led before: told to clients that cannot skip the assignment, so that they do not make one.
    pub old_leader: Option<StrBytes>,
}

/// What to do when an append is reported, besides settling its offsets.
#[derive(Debug)]
pub(super) enum Completion {
    /// Nothing but that the group is durable.
    Nothing,
    /// The leader's assignment: hand it out.
    Assignment {
        generation: i32,
        assignments: BTreeMap<StrBytes, Bytes>,
    },
    /// A static member's new id.
    StaticSwap(Box<StaticSwap>),
    /// Answer a commit or a deletion of offsets; the error, if any, replaces the answer's codes.
    Answer {
        token: Token,
        response: GroupResponse,
    },
    /// A group of a DeleteGroups request (or of expiry, with no deletion) is gone.
    GroupDeleted {
        group_id: StrBytes,
        deletion: Option<(u64, usize)>,
    },
}

/// A request that waits for an append that is not its own.
#[derive(Debug)]
pub(super) enum Waiting {
    /// The answer is known.
    Answer {
        token: Token,
        response: GroupResponse,
    },
    /// Offsets are read once nothing is under way.
    Fetch {
        token: Token,
        group: OffsetFetchRequestGroup,
    },
}

/// An append that has not been reported.
#[derive(Debug)]
pub(super) struct Pending {
    pub group: Option<GroupRef>,
    pub writes: Vec<OffsetKey>,
    pub completion: Completion,
    pub waiting: Vec<Waiting>,
}

/// The shared part of the coordinator.
#[derive(Debug)]
pub(super) struct Core {
    pub options: GroupOptions,
    pub timers: Timers,
    pub pending: BTreeMap<AppendId, Pending>,
    pub rebalances_completed: u64,
    next_append: u64,
    next_incarnation: u64,
    random: (u64, u64),
}

impl Core {
    pub fn new(options: GroupOptions) -> Core {
        let random = options.seed;
        Core {
            options,
            timers: Timers::default(),
            pending: BTreeMap::new(),
            rebalances_completed: 0,
            next_append: 0,
            next_incarnation: 0,
            random,
        }
    }

    /// The id the next append will have; comparing before and after tells whether one was made.
    pub fn next_append(&self) -> AppendId {
        AppendId(self.next_append)
    }

    /// Has records appended.
    pub fn append(
        &mut self,
        step: &mut Step<'_>,
        records: Vec<(Bytes, Option<Bytes>)>,
        pending: Pending,
    ) -> AppendId {
        assert!(
            !records.is_empty(),
            "an append without records would never be reported"
        );
        let then = AppendId(self.next_append);
        self.next_append += 1;
        self.pending.insert(then, pending);
        step.effects.push(Effect::Append { records, then });
        then
    }

    /// Has one group record appended.
    pub fn append_group(
        &mut self,
        step: &mut Step<'_>,
        group: &Group,
        record: (Bytes, Option<Bytes>),
        completion: Completion,
    ) {
        let pending = Pending {
            group: Some(GroupRef::of(group)),
            writes: Vec::new(),
            completion,
            waiting: Vec::new(),
        };
        self.append(step, vec![record], pending);
    }

    /// A number no group had before.
    pub fn incarnation(&mut self) -> u64 {
        self.next_incarnation += 1;
        self.next_incarnation
    }

    /// A new member id: the prefix and a random UUID.
    pub fn member_id(&mut self, prefix: &str) -> StrBytes {
        let mut end = prefix.len().min(MEMBER_ID_PREFIX_BYTES_MAX);
        while !prefix.is_char_boundary(end) {
            end -= 1;
        }
        let high = (self.random_u64() & !0xf000) | 0x4000;
        let low = (self.random_u64() & (u64::MAX >> 2)) | (1 << 63);
        StrBytes::from(format!(
            "{}-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            &prefix[..end],
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        ))
    }

    /// Sets or moves a member's session deadline.
    pub fn schedule_session(
        &mut self,
        now: Now,
        group: &StrBytes,
        member: &StrBytes,
        timeout_ms: i32,
    ) {
        let key = session_key(group, member);
        self.timers
            .schedule(key, after(now, timeout_ms), TimerEvent::SessionExpired);
    }

    /// Forgets a member's session deadline.
    pub fn cancel_session(&mut self, group: &StrBytes, member: &StrBytes) {
        self.timers.cancel(&session_key(group, member));
    }

    /// Sets a group's join or sync deadline.
    pub fn schedule_group(
        &mut self,
        now: Now,
        group: &StrBytes,
        kind: TimerKind,
        timeout_ms: i32,
        event: TimerEvent,
    ) {
        let key = TimerKey {
            group: group.clone(),
            kind,
        };
        self.timers.schedule(key, after(now, timeout_ms), event);
    }

    /// Forgets a group's join or sync deadline.
    pub fn cancel_group(&mut self, group: &StrBytes, kind: TimerKind) {
        self.timers.cancel(&TimerKey {
            group: group.clone(),
            kind,
        });
    }

    /// xoroshiro128+, seeded by the options: ids must differ, and not be guessed from one another by
    /// accident; nothing secret hangs on them.
    fn random_u64(&mut self) -> u64 {
        if self.random == (0, 0) {
            self.random = (0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9);
        }
        let (first, mut second) = self.random;
        let result = first.wrapping_add(second);
        second ^= first;
        self.random = (
            first.rotate_left(24) ^ second ^ (second << 16),
            second.rotate_left(37),
        );
        result
    }
}

/// A deadline some milliseconds from now: at least one, so that what a deadline sets in motion never
/// comes due in the same tick.
fn after(now: Now, timeout_ms: i32) -> u64 {
    let timeout_ms = u64::try_from(timeout_ms.max(1)).unwrap_or(1);
    now.monotonic_us.saturating_add(timeout_ms * 1000)
}

fn session_key(group: &StrBytes, member: &StrBytes) -> TimerKey {
    TimerKey {
        group: group.clone(),
        kind: TimerKind::Session(member.clone()),
    }
}
