//! One consumer: a connection that fetches a ring of partitions, within a fetch session (KIP-227) or without. `fetch`,
//! `arrivals` and `sessions` say what is to be done with what comes.

use crate::PerfError;
use crate::client::{Client, Topic, refuse};
use crate::frames::PartitionRing;
use odradek_protocol::ApiKey;
use odradek_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use odradek_protocol::messages::fetch_response::PartitionData;
use odradek_protocol::messages::{FetchRequest, FetchResponse};

/// The epoch of a request outside of any session.
const NO_SESSION_EPOCH: i32 = -1;

/// A position that is not asked for.
const DONE: i64 = -1;

/// How much to ask for, and how long the server may wait for it.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// How long the server may wait for a first byte, milliseconds.
    pub max_wait_ms: i32,
    /// Bytes of one answer.
    pub max_bytes: i32,
    /// Bytes of one partition in it.
    pub partition_max_bytes: i32,
    /// Whether the server keeps what is asked for, so that a request names only what changed.
    pub session: bool,
}

/// A connection and the partitions that it reads.
#[derive(Debug)]
pub struct Fetcher {
    client: Client,
    topic: Topic,
    ring: PartitionRing,
    wraps_at: u32,
    limits: FetchLimits,
    /// By steps in the ring.
    positions: Vec<i64>,
    /// Steps whose position the session does not know yet.
    changed: Vec<u32>,
    is_changed: Vec<bool>,
    session_id: i32,
    session_epoch: i32,
    /// Sessions that the server gave us.
    pub sessions_begun: u64,
}

impl Fetcher {
    /// Connects, to read `ring` from `positions` on (by steps in the ring). A ring that goes beyond the topic's last partition
    /// goes on with its first.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn connect(
        topic: &Topic,
        ring: PartitionRing,
        positions: Vec<i64>,
        limits: FetchLimits,
    ) -> Result<Self, PerfError> {
        assert_eq!(positions.len(), ring.count as usize);
        Ok(Fetcher {
            client: Client::connect(&topic.leader)?,
            topic: topic.clone(),
            ring,
            wraps_at: topic.partitions as u32,
            limits,
            is_changed: vec![false; positions.len()],
            positions,
            changed: Vec::new(),
            session_id: 0,
            session_epoch: 0,
            sessions_begun: 0,
        })
    }

    /// The partitions of a ring that may go beyond the last one of `partitions`.
    pub fn partitions(ring: PartitionRing, partitions: u32) -> Vec<i32> {
        (0..ring.count)
            .map(|step| ((ring.first + step) % partitions) as i32)
            .collect()
    }

    fn step_of(&self, partition: i32) -> Option<u32> {
        let partition = u32::try_from(partition).ok()?;
        let step = (partition + self.wraps_at).checked_sub(self.ring.first)? % self.wraps_at;
        (step < self.ring.count).then_some(step)
    }

    /// Where a partition goes on, by its step in the ring.
    pub fn position(&self, step: u32) -> i64 {
        self.positions[step as usize]
    }

    /// Goes on elsewhere.
    pub fn seek(&mut self, step: u32, offset: i64) {
        self.positions[step as usize] = offset;
        if !std::mem::replace(&mut self.is_changed[step as usize], true) {
            self.changed.push(step);
        }
    }

    /// Asks for this partition no more. Only without a session: a session would have to be told.
    pub fn leave_out(&mut self, step: u32) {
        assert!(!self.limits.session, "sessions keep their partitions");
        self.positions[step as usize] = DONE;
    }

    /// Whether nothing is asked for any more.
    pub fn is_done(&self) -> bool {
        self.positions.iter().all(|&position| position == DONE)
    }

    /// Asks once and hands over what came, partition after partition, with its step in the ring. What was read is told with
    /// [`Fetcher::seek`] or [`Fetcher::leave_out`].
    ///
    /// # Errors
    /// When the connection breaks or the server refuses; a session that the server gave up is begun again.
    pub fn round(
        &mut self,
        mut take: impl FnMut(&mut Self, u32, &PartitionData) -> Result<(), PerfError>,
    ) -> Result<(), PerfError> {
        const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
        const INVALID_FETCH_SESSION_EPOCH: i16 = 71;
        let request = self.request();
        let answer: FetchResponse = self.client.call(ApiKey::Fetch, &request)?;
        if matches!(
            answer.error_code,
            FETCH_SESSION_ID_NOT_FOUND | INVALID_FETCH_SESSION_EPOCH
        ) {
            (self.session_id, self.session_epoch) = (0, 0);
            return Ok(());
        }
        refuse("Fetch", answer.error_code, None)?;
        self.follow_session(answer.session_id);
        for topic in &answer.responses {
            for partition in &topic.partitions {
                let step = self.step_of(partition.partition_index).ok_or_else(|| {
                    let index = partition.partition_index;
                    PerfError::Protocol(format!("Fetch: partition {index} was not asked for"))
                })?;
                take(self, step, partition)?;
            }
        }
        Ok(())
    }

    fn follow_session(&mut self, session_id: i32) {
        if !self.limits.session {
            return;
        }
        if session_id == 0 {
            (self.session_id, self.session_epoch) = (0, 0);
            return;
        }
        if session_id != self.session_id {
            self.sessions_begun += 1;
        }
        self.session_id = session_id;
        // After the highest epoch comes 1: 0 would begin a session.
        self.session_epoch = match self.session_epoch {
            i32::MAX => 1,
            epoch => epoch + 1,
        };
        // Forgets what the request told; what `take` now seeks is new.
    }

    fn request(&mut self) -> FetchRequest {
        let begins = !self.limits.session || self.session_epoch == 0;
        let partitions: Vec<_> = match begins {
            true => (0..self.ring.count)
                .filter(|&step| self.positions[step as usize] != DONE)
                .map(|step| self.wanted(step))
                .collect(),
            false => self.changed.iter().map(|&step| self.wanted(step)).collect(),
        };
        for step in self.changed.drain(..) {
            self.is_changed[step as usize] = false;
        }
        let topics = match partitions.is_empty() {
            true => Vec::new(),
            false => vec![FetchTopic {
                topic: self.topic.name.clone(),
                topic_id: self.topic.id,
                partitions,
                ..Default::default()
            }],
        };
        FetchRequest {
            max_wait_ms: self.limits.max_wait_ms,
            min_bytes: 1,
            max_bytes: self.limits.max_bytes,
            session_id: self.session_id,
            session_epoch: match self.limits.session {
                true => self.session_epoch,
                false => NO_SESSION_EPOCH,
            },
            topics,
            ..Default::default()
        }
    }

    fn wanted(&self, step: u32) -> FetchPartition {
        FetchPartition {
            partition: ((self.ring.first + step) % self.wraps_at) as i32,
            fetch_offset: self.positions[step as usize],
            partition_max_bytes: self.limits.partition_max_bytes,
            ..Default::default()
        }
    }
}
