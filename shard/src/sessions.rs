//! The cache of fetch sessions (KIP-227): ids, epochs, slots and eviction.
//!
//! The node keeps one cache per core, for the connections of that core; a session's partitions lie in the
//! shards that own them (`session_part`), and the cache only knows which shards those are. The rules are
//! Kafka's: a session unused for the eviction time may always go; else the least valuable one goes, by
//! (privileged, size), when the newcomer is worth more; else the newcomer gets no session, and its client
//! sends full fetches. Worth noting: a request (n, k) on another core's connection is answered with
//! FETCH_SESSION_ID_NOT_FOUND, and every client opens a new session then.

use std::collections::{BTreeMap, BTreeSet};

use odradek_protocol::ErrorCode;

/// Session id of "no session".
pub const NO_SESSION: i32 = 0;
/// Epoch that opens a session.
pub const INITIAL_EPOCH: i32 = 0;
/// Epoch that closes a session, or asks for none.
pub const FINAL_EPOCH: i32 = -1;

/// Bounds of the cache.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// Sessions at most (`max.incremental.fetch.session.cache.slots`, divided by the cores).
    pub slots_max: usize,
    /// Unused for longer than this, a session may be evicted by any other.
    pub eviction_ms: u64,
    /// Makes session ids hard to guess; handed in.
    pub seed: u64,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            slots_max: 1_000,
            eviction_ms: 120_000,
            seed: 0,
        }
    }
}

/// What a Fetch request says of its session.
#[derive(Clone, Copy, Debug)]
pub struct SessionRequest {
    /// Session id.
    pub id: i32,
    /// Session epoch.
    pub epoch: i32,
    /// Whether a replica asks: its session outlives consumers' ones.
    pub privileged: bool,
    /// Whether topics are named by id (v13 and later); a session sticks to one way.
    pub uses_topic_ids: bool,
    /// Partitions named in the request.
    pub partitions: usize,
}

/// How the request is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionDecision {
    /// Answer all partitions named, with session id 0.
    Sessionless {
        /// Sessions that are gone now: tell the shards that hold parts of them.
        closed: Vec<ClosedSession>,
    },
    /// Answer all partitions named, with this new session id; the next epoch is 1.
    Open {
        /// The new id.
        id: i32,
        /// Sessions that are gone now.
        closed: Vec<ClosedSession>,
    },
    /// Answer what changed, with this session id. Every shard in `parts` is asked.
    Incremental {
        /// The id.
        id: i32,
        /// Shards that hold a part of it.
        parts: Vec<u16>,
    },
}

/// A session that is gone, and the shards that hold a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedSession {
    /// Its id.
    pub id: i32,
    /// The shards.
    pub parts: Vec<u16>,
}

#[derive(Debug)]
struct Slot {
    privileged: bool,
    uses_topic_ids: bool,
    expected_epoch: i32,
    partitions: usize,
    created_ms: u64,
    used_ms: u64,
    parts: BTreeSet<u16>,
}

/// Worth of a session: the least goes first.
type Worth = (bool, usize, i32);

/// The cache.
#[derive(Debug)]
pub struct SessionCache {
    options: SessionOptions,
    slots: BTreeMap<i32, Slot>,
    by_use: BTreeSet<(u64, i32)>,
    by_worth: BTreeSet<Worth>,
    random: u64,
    evictions: u64,
}

impl SessionCache {
    /// An empty cache.
    pub fn new(options: SessionOptions) -> Self {
        SessionCache {
            random: options.seed,
            options,
            slots: BTreeMap::new(),
            by_use: BTreeSet::new(),
            by_worth: BTreeSet::new(),
            evictions: 0,
        }
    }

    /// Decides how a request is answered. Errors are whole answers: FETCH_SESSION_ID_NOT_FOUND,
    /// INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
    pub fn begin(
        &mut self,
        now_ms: u64,
        request: &SessionRequest,
    ) -> Result<SessionDecision, ErrorCode> {
        if request.epoch == INITIAL_EPOCH || request.epoch == FINAL_EPOCH {
            let mut closed: Vec<ClosedSession> = self.close(request.id).into_iter().collect();
            if request.epoch == FINAL_EPOCH || request.partitions == 0 {
                return Ok(SessionDecision::Sessionless { closed });
            }
            return Ok(match self.open(now_ms, request, &mut closed) {
                Some(id) => SessionDecision::Open { id, closed },
                None => SessionDecision::Sessionless { closed },
            });
        }
        let Some(slot) = self.slots.get_mut(&request.id) else {
            return Err(ErrorCode::FetchSessionIdNotFound);
        };
        if slot.expected_epoch != request.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if slot.uses_topic_ids != request.uses_topic_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        slot.expected_epoch = next_epoch(request.epoch);
        self.by_use.remove(&(slot.used_ms, request.id));
        slot.used_ms = now_ms;
        self.by_use.insert((now_ms, request.id));
        Ok(SessionDecision::Incremental {
            id: request.id,
            parts: slot.parts.iter().copied().collect(),
        })
    }

    /// Notes that a shard holds a part of the session from now on.
    pub fn add_part(&mut self, id: i32, shard: u16) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.parts.insert(shard);
        }
    }

    /// Notes how many partitions the session holds over all shards, as their replies said. A session that
    /// became empty is closed; the answer then carries session id 0.
    pub fn resize(&mut self, id: i32, partitions: usize) -> Option<ClosedSession> {
        if partitions == 0 {
            return self.close(id);
        }
        let slot = self.slots.get_mut(&id)?;
        self.by_worth
            .remove(&(slot.privileged, slot.partitions, id));
        slot.partitions = partitions;
        self.by_worth.insert((slot.privileged, partitions, id));
        None
    }

    /// Closes a session, if it is there.
    pub fn close(&mut self, id: i32) -> Option<ClosedSession> {
        let slot = self.slots.remove(&id)?;
        self.by_use.remove(&(slot.used_ms, id));
        self.by_worth
            .remove(&(slot.privileged, slot.partitions, id));
        Some(ClosedSession {
            id,
            parts: slot.parts.into_iter().collect(),
        })
    }

    /// Sessions open.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Partitions over all sessions, as last told.
    pub fn partitions(&self) -> usize {
        self.slots.values().map(|slot| slot.partitions).sum()
    }

    /// Sessions evicted so far.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    fn open(
        &mut self,
        now_ms: u64,
        request: &SessionRequest,
        closed: &mut Vec<ClosedSession>,
    ) -> Option<i32> {
        let id = self.new_id();
        if self.slots.len() >= self.options.slots_max {
            let victim = self.victim(now_ms, (request.privileged, request.partitions, id))?;
            closed.extend(self.close(victim));
            self.evictions += 1;
        }
        let slot = Slot {
            privileged: request.privileged,
            uses_topic_ids: request.uses_topic_ids,
            expected_epoch: 1,
            partitions: request.partitions,
            created_ms: now_ms,
            used_ms: now_ms,
            parts: BTreeSet::new(),
        };
        self.by_use.insert((now_ms, id));
        self.by_worth.insert((slot.privileged, slot.partitions, id));
        self.slots.insert(id, slot);
        Some(id)
    }

    /// Who makes room for a newcomer of this worth. A young session yields only to a replica, and only
    /// when it is a consumer's.
    fn victim(&self, now_ms: u64, newcomer: Worth) -> Option<i32> {
        let (used_ms, oldest) = *self.by_use.first()?;
        if now_ms.saturating_sub(used_ms) > self.options.eviction_ms {
            return Some(oldest);
        }
        let candidate = self.by_worth.iter().find(|(privileged, _, id)| {
            let settled =
                now_ms.saturating_sub(self.slots[id].created_ms) > self.options.eviction_ms;
            settled || (newcomer.0 && !privileged)
        })?;
        (newcomer >= *candidate).then_some(candidate.2)
    }

    fn new_id(&mut self) -> i32 {
        loop {
            // SplitMix64: the sequence depends on the seed alone, so that equal runs are equal.
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let id = ((mixed ^ (mixed >> 31)) & 0x7fff_ffff) as i32;
            if id != NO_SESSION && !self.slots.contains_key(&id) {
                return id;
            }
        }
    }
}

/// Epochs go 1, 2, ... and wrap from the largest back to 1.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}
