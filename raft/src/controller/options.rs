//! What the controller is given and what it gives back: options, the context of a call, results, refusals, and the source of random ids.

use std::collections::BTreeMap;

use odradek_protocol::metadata_records::MetadataRecord;
use odradek_protocol::{ErrorCode, StrBytes, Uuid};

use super::Now;
use crate::configs::TopicConfigLimits;

/// Kafka's bound on one operation: a request that needs more records is refused.
pub const OPERATION_RECORDS_MAX: usize = 10_000;

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub struct ControllerOptions {
    /// This node's id. Its own broker's old session counts for nothing, since this process took its place.
    pub node_id: i32,
    /// The cluster's id, as BrokerRegistration must name it.
    pub cluster_id: String,
    /// The properties file: defaults of topics, session time-outs.
    pub static_config: BTreeMap<String, String>,
    /// What the brokers' logs can hold.
    pub topic_limits: TopicConfigLimits,
    /// kraft.version of the quorum, which consensus keeps.
    pub kraft_version: i16,
    /// Seed of look-up tables; reaches no output.
    pub hash_seed: u64,
    /// Seed of topic ids and of where a topic's first partition goes. Must be random in a real node.
    pub random_seed: u128,
}

/// What every call is told.
#[derive(Clone, Copy, Debug)]
pub struct CallContext {
    /// The time.
    pub now: Now,
    /// The offset that the first record of this call will get. A broker's epoch is such an offset.
    pub next_offset: i64,
    /// Version of the request, where it matters.
    pub api_version: i16,
}

/// What a call decided. Nothing has happened yet: the caller appends the records, hands them to `QuorumController::replay` at once, and
/// sends the response when they are committed (at once when there are none).
#[derive(Clone, Debug, PartialEq)]
pub struct ControllerResult<R> {
    /// Records to append, in order, the first at the context's `next_offset`.
    pub records: Vec<MetadataRecord>,
    /// The response to send.
    pub response: R,
    /// Whether the records must become one batch. When not, they may be parted into batches of at most [`OPERATION_RECORDS_MAX`].
    pub atomic: bool,
}

impl<R> ControllerResult<R> {
    pub(super) fn atomic(records: Vec<MetadataRecord>, response: R) -> Self {
        ControllerResult {
            records,
            response,
            atomic: true,
        }
    }

    pub(super) fn parted(records: Vec<MetadataRecord>, response: R) -> Self {
        ControllerResult {
            records,
            response,
            atomic: false,
        }
    }

    pub(super) fn unchanged(response: R) -> Self {
        ControllerResult::atomic(Vec::new(), response)
    }
}

/// Why something asked for is not done: code and words for the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The wire code.
    pub code: ErrorCode,
    /// What is wrong, for people.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            message: message.into(),
        }
    }

    pub(super) fn text(&self) -> Option<StrBytes> {
        Some(StrBytes::from(self.message.as_str()))
    }

    /// The refusal of an operation with too many records.
    pub(super) fn too_large() -> Refusal {
        Refusal::new(
            ErrorCode::PolicyViolation,
            format!(
                "The request needs more than {OPERATION_RECORDS_MAX} metadata records; part it into smaller ones."
            ),
        )
    }
}

/// Deterministic random numbers from a seed (xoshiro256++): the same seed gives the same ids.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: [u64; 4],
}

impl Random {
    pub(super) fn new(seed: u128) -> Random {
        // SplitMix64 over both halves, so that no seed gives the all-zero state.
        let mut counter = (seed as u64) ^ ((seed >> 64) as u64).rotate_left(32);
        let mut high = (seed >> 64) as u64;
        let mut next = || {
            counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
            high = high.rotate_left(17).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mut word = counter ^ high;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        };
        let state = [next(), next(), next(), next() | 1];
        Random { state }
    }

    pub(super) fn next(&mut self) -> u64 {
        let state = &mut self.state;
        let result = state[0]
            .wrapping_add(state[3])
            .rotate_left(23)
            .wrapping_add(state[0]);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        result
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A version 4 UUID that no reserved id equals and whose text does not begin with `-`, which tools would take for an option.
    pub(super) fn uuid(&mut self) -> Uuid {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&self.next().to_be_bytes());
            bytes[8..].copy_from_slice(&self.next().to_be_bytes());
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            let id = Uuid(bytes);
            // The first six bits 62 are written `-`.
            if bytes[0] >> 2 != 62 {
                return id;
            }
        }
    }
}
