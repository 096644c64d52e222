//! The part of a fetch, or of a fetch session, that lies in this shard: members, and the list of those that
//! are ready.
//!
//! A session's part stays between fetches. Its members watch their partitions, and a partition that moves
//! puts them on the ready list; an incremental fetch looks at that list and at nothing else (case 12). A
//! fetch without a session is the same thing for the length of one request.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use odradek_wal::ReplicaId;
use slab::Slab;
use smallvec::SmallVec;

use crate::command::{
    FetchPartition, FetchPartitionReply, Isolation, PartitionKey, RequestToken, SessionKey,
};

/// A member that is not resolved to a partition led here.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// One partition of a fetch or session.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) want: FetchPartition,
    /// Position of the partition in the shard's table, or [`NOWHERE`].
    pub(crate) slot: u32,
    pub(crate) replica: ReplicaId,
    /// What the client was told last; a difference makes the partition worth telling again.
    pub(crate) told_high_watermark: i64,
    pub(crate) told_log_start: i64,
    pub(crate) queued: bool,
    pub(crate) watching: bool,
}

/// A fetch under way.
#[derive(Debug)]
pub(crate) struct ActiveFetch {
    pub(crate) token: RequestToken,
    pub(crate) isolation: Isolation,
    pub(crate) min_bytes: usize,
    pub(crate) max_bytes: usize,
    pub(crate) at_least_one: bool,
    /// Every member is answered, in order; else only what changed.
    pub(crate) full: bool,
    pub(crate) deadline_us: u64,
    /// Waits for news; else it is being read, or waits for the disk.
    pub(crate) parked: bool,
    /// An answer is due whatever there is: the deadline passed, or somebody said so.
    pub(crate) forced: bool,
    /// An error or a diverging epoch must be told at once.
    pub(crate) urgent: bool,
    /// While parked: bytes known to be there.
    pub(crate) arrived: usize,
    /// Bytes given to reads of this round, answered or awaited.
    pub(crate) granted: usize,
    /// Answers of this round with their members.
    pub(crate) answers: Vec<(u32, FetchPartitionReply)>,
    /// Tickets of reads that wait for the disk.
    pub(crate) tickets: SmallVec<[u64; 4]>,
}

/// A fetch without a session, or a session's part.
#[derive(Debug)]
pub(crate) struct FetchPart {
    pub(crate) session: Option<SessionKey>,
    pub(crate) members: Slab<Member>,
    /// Members in the order that a full answer has.
    pub(crate) order: Vec<u32>,
    pub(crate) by_key: HashMap<PartitionKey, u32, FixedState>,
    pub(crate) ready: VecDeque<u32>,
    pub(crate) active: Option<ActiveFetch>,
}

impl FetchPart {
    pub(crate) fn new(session: Option<SessionKey>, hash_seed: u64) -> Self {
        FetchPart {
            session,
            members: Slab::new(),
            order: Vec::new(),
            by_key: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            ready: VecDeque::new(),
            active: None,
        }
    }

    /// Puts a member on the ready list, once.
    pub(crate) fn queue(&mut self, member: u32) {
        if let Some(entry) = self.members.get_mut(member as usize)
            && !entry.queued
        {
            entry.queued = true;
            self.ready.push_back(member);
        }
    }

    /// Puts all members on the ready list, in the order of the request.
    pub(crate) fn queue_all(&mut self) {
        self.ready.clear();
        self.ready.extend(&self.order);
        for (_, entry) in &mut self.members {
            entry.queued = true;
        }
    }

    /// Takes the next ready member.
    pub(crate) fn next_ready(&mut self) -> Option<u32> {
        while let Some(member) = self.ready.pop_front() {
            if let Some(entry) = self.members.get_mut(member as usize)
                && entry.queued
            {
                entry.queued = false;
                return Some(member);
            }
        }
        None
    }

    /// Adds a member, or takes over what a client says anew of one. It is ready then.
    pub(crate) fn upsert(&mut self, want: FetchPartition) -> u32 {
        let known = self
            .session
            .and_then(|_| self.by_key.get(&want.key).copied());
        let member = match known {
            Some(member) => {
                self.members[member as usize].want = want;
                member
            }
            None => {
                let entry = Member {
                    want,
                    slot: NOWHERE,
                    replica: ReplicaId(0),
                    told_high_watermark: -1,
                    told_log_start: -1,
                    queued: false,
                    watching: false,
                };
                let member = self.members.insert(entry) as u32;
                if self.session.is_some() {
                    self.by_key.insert(want.key, member);
                }
                self.order.push(member);
                member
            }
        };
        self.queue(member);
        member
    }
}
