//! What the crash workload's plans decide, and how frames that were handed to one may be found afterwards.

use super::payload;
use odradek_wal::{FrameVerdict, PlanFrame, ReplicaId};

/// Payload bytes of a replaced frame; appended ones are larger.
const REPLACED_BYTES: usize = 30;

/// How far a plan has come with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Handed out and answered: perhaps carried out.
    Offered,
    /// The plan is over and durable: carried out.
    CarriedOut,
}

/// The same verdict whenever a frame is handed out.
pub fn verdict(replica: ReplicaId, base: i64, max_timestamp: i64) -> FrameVerdict {
    match (replica.0 as i64 * 7 + base * 3) % 5 {
        0 => FrameVerdict::Drop,
        1 | 2 => FrameVerdict::Replace {
            payload: payload(replica, base, REPLACED_BYTES).into(),
            max_timestamp,
        },
        _ => FrameVerdict::Keep,
    }
}

pub fn verdicts(frames: &[PlanFrame]) -> Vec<FrameVerdict> {
    let verdict = |frame: &PlanFrame| {
        verdict(
            frame.meta.replica,
            frame.meta.base_offset.0,
            frame.meta.max_timestamp,
        )
    };
    frames.iter().map(verdict).collect()
}

/// Whether the payloads found are those of the frames expected (base, payload bytes, decision), in order.
pub fn matches(
    replica: ReplicaId,
    expected: impl Iterator<Item = (i64, usize, Option<Decision>)>,
    found: &[Vec<u8>],
) -> bool {
    let mut found = found.iter().peekable();
    for (base, bytes, decision) in expected {
        let original = payload(replica, base, bytes);
        let after = match (decision, verdict(replica, base, 0)) {
            (None, _) | (_, FrameVerdict::Keep) => Some(original.clone()),
            (_, FrameVerdict::Drop) => None,
            (_, FrameVerdict::Replace { payload, .. }) => Some(payload.to_vec()),
        };
        let next = found.peek().copied();
        let as_it_was = decision != Some(Decision::CarriedOut) && next == Some(&original);
        if as_it_was || (after.is_some() && next == after.as_ref()) {
            found.next();
        } else if after.is_some() {
            return false;
        }
    }
    found.next().is_none()
}
