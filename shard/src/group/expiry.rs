//! Offsets that go: by age (`offsets.retention.minutes`), with their group, with their topic.
//!
//! Age is looked at every `offsets.retention.check.interval.ms`, a bounded number of groups per tick.

use std::ops::Bound;

use odradek_protocol::StrBytes;
use odradek_wal::Now;

use super::GroupCoordinator;
use super::api::Effect;
use super::core::{Completion, GroupRef, Pending, Step};
use super::offsets::{CommittedOffset, OffsetKey};
use super::records;
use super::state::{Group, GroupState};

/// Groups looked at per tick, so that many groups do not hold up requests.
const GROUPS_PER_TICK_MAX: usize = 256;
/// Tombstones in one append, so that a batch stays well below any bound on its bytes.
const TOMBSTONES_PER_APPEND_MAX: usize = 2_000;

/// Where the look at ages stands.
#[derive(Debug, Default)]
pub(super) struct ExpiryState {
    /// When the next look begins.
    next_us: Option<u64>,
    /// The look under way has done all groups up to this one.
    cursor: Option<StrBytes>,
    is_under_way: bool,
}

impl ExpiryState {
    /// Begins counting; also ends a look under way.
    pub fn restart(&mut self, now: Now, interval_ms: i64) {
        *self = ExpiryState {
            next_us: Some(interval_end(now, interval_ms)),
            ..Default::default()
        };
    }

    /// When to look again, in monotonic microseconds; 0 while a look is under way.
    pub fn next_us(&self) -> Option<u64> {
        if self.is_under_way {
            Some(0)
        } else {
            self.next_us
        }
    }
}

/// From when on an offset's age counts.
enum AgeSince {
    /// When the group became empty, or the commit if that is not known.
    State(Option<i64>),
    /// When it was committed.
    Commit,
}

impl GroupCoordinator {
    /// A topic is gone, and with it what every group committed for it.
    pub fn topic_deleted(&mut self, now: Now, topic: &StrBytes, effects: &mut Vec<Effect>) {
        let step = &mut Step { now, effects };
        if !self.is_active() {
            return;
        }
        let keys = self.offsets.keys_of_topic(topic);
        for chunk in keys.chunks(TOMBSTONES_PER_APPEND_MAX) {
            self.append_tombstones(step, None, chunk.to_vec(), Completion::Nothing);
        }
    }

    /// Looks at the age of some groups' offsets, when it is time.
    pub(super) fn expire_offsets(&mut self, step: &mut Step<'_>) {
        let is_due = self
            .expiry
            .next_us
            .is_some_and(|due_us| due_us <= step.now.monotonic_us);
        if !self.expiry.is_under_way && is_due {
            let interval_ms = self.core.options.offsets_retention_check_interval_ms;
            self.expiry.restart(step.now, interval_ms);
            self.expiry.is_under_way = true;
        }
        if !self.expiry.is_under_way {
            return;
        }
        let after = match self.expiry.cursor.take() {
            Some(group_id) => Bound::Excluded(group_id),
            None => Bound::Unbounded,
        };
        let group_ids: Vec<StrBytes> = self
            .groups
            .range((after, Bound::Unbounded))
            .take(GROUPS_PER_TICK_MAX)
            .map(|(group_id, _)| group_id.clone())
            .collect();
        self.expiry.is_under_way = group_ids.len() == GROUPS_PER_TICK_MAX;
        self.expiry.cursor = group_ids.last().cloned();
        for group_id in &group_ids {
            self.expire_group(step, group_id);
        }
    }

    fn expire_group(&mut self, step: &mut Step<'_>, group_id: &StrBytes) {
        let Some(group) = self.groups.get(group_id) else {
            return;
        };
        let (expired, is_all) = self.expired_offsets(step.now, group);
        self.offsets_expired += expired.len() as u64;
        let can_go =
            group.state == GroupState::Empty && group.durable && group.pending_members.is_empty();
        if is_all && can_go {
            self.remove_group(step, group_id, expired, None);
            return;
        }
        let group_ref = GroupRef::of(group);
        for chunk in expired.chunks(TOMBSTONES_PER_APPEND_MAX) {
            let (group, writes) = (Some(group_ref.clone()), chunk.to_vec());
            self.append_tombstones(step, group, writes, Completion::Nothing);
        }
    }

    /// What has expired, and whether that is all there is.
    fn expired_offsets(&self, now: Now, group: &Group) -> (Vec<OffsetKey>, bool) {
        let mut expired = Vec::new();
        let Some(topics) = self.offsets.topics(&group.id) else {
            return (expired, true);
        };
        let Some(since) = age_since(group) else {
            return (expired, false);
        };
        let retention_ms = self.core.options.offsets_retention_ms;
        let mut is_all = true;
        for (topic, partitions) in topics {
            if group.is_subscribed_to(topic) {
                is_all = false;
                continue;
            }
            for (partition, slot) in partitions {
                match slot.latest() {
                    None => {}
                    Some(committed) if is_expired(committed, &since, now, retention_ms) => {
                        let (group, topic) = (group.id.clone(), topic.clone());
                        expired.push(OffsetKey {
                            group,
                            topic,
                            partition: *partition,
                        });
                    }
                    Some(_) => is_all = false,
                }
            }
        }
        (expired, is_all)
    }

    /// Has a group and its offsets removed. From here on it is not there for members and commits;
    /// tools see it until its tombstone is durable.
    pub(super) fn remove_group(
        &mut self,
        step: &mut Step<'_>,
        group_id: &StrBytes,
        mut keys: Vec<OffsetKey>,
        deletion: Option<(u64, usize)>,
    ) {
        let Some(mut group) = self.groups.remove(group_id) else {
            return;
        };
        self.core.timers.cancel_group(group_id);
        group.pending_members.clear();
        while keys.len() > TOMBSTONES_PER_APPEND_MAX {
            let rest = keys.split_off(TOMBSTONES_PER_APPEND_MAX);
            let chunk = std::mem::replace(&mut keys, rest);
            self.append_tombstones(step, None, chunk, Completion::Nothing);
        }
        let mut batch: Vec<records::Record> = keys.iter().map(records::offset_tombstone).collect();
        batch.push(records::group_tombstone(group_id));
        let pending = Pending {
            group: None,
            writes: keys.clone(),
            completion: Completion::GroupDeleted {
                group_id: group_id.clone(),
                deletion,
            },
            waiting: Vec::new(),
        };
        let append = self.core.append(step, batch, pending);
        for key in &keys {
            self.offsets.begin(append, key, None);
        }
        self.leaving.insert(group_id.clone(), (append, group));
    }
}

fn age_since(group: &Group) -> Option<AgeSince> {
    if group.protocol_type.is_none() {
        return Some(AgeSince::Commit);
    }
    match group.state {
        GroupState::Empty => Some(AgeSince::State(group.state_timestamp_ms)),
        GroupState::Stable
            if group.uses_consumer_protocol() && group.subscribed_topics.is_some() =>
        {
            Some(AgeSince::Commit)
        }
        _ => None,
    }
}

fn is_expired(committed: &CommittedOffset, since: &AgeSince, now: Now, retention_ms: i64) -> bool {
    if let Some(expire_ms) = committed.expire_timestamp_ms {
        return now.wall_ms >= expire_ms;
    }
    let since_ms = match since {
        AgeSince::State(Some(entered_ms)) => *entered_ms,
        AgeSince::State(None) | AgeSince::Commit => committed.commit_timestamp_ms,
    };
    now.wall_ms.saturating_sub(since_ms) >= retention_ms
}

fn interval_end(now: Now, interval_ms: i64) -> u64 {
    let interval_us = u64::try_from(interval_ms.max(1))
        .unwrap_or(1)
        .saturating_mul(1000);
    now.monotonic_us.saturating_add(interval_us)
}
