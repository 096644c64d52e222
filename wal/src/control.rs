//! Control records: what happens to replicas and segments, in the order of the log. Several of them make the payload of one control frame.

use crate::layout::{get_i32, get_i64, get_u32, get_u64};
use crate::segments::SegmentRecord;
use crate::types::{CreateReplica, Offset, ReplicaId, TopicId};

/// One extent that a rewrite moved: the one of `old` that begins within `[base, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MovedExtent {
    pub replica: ReplicaId,
    pub old: u32,
    pub base: i64,
    pub end: i64,
    /// What a plan left of it, frame headers included: 0 removes it. `None`: it moved as it was.
    pub bytes: Option<u32>,
    /// What it had when it was read.
    pub held: u32,
}

/// One control record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Create {
        replica: ReplicaId,
        create: CreateReplica,
    },
    Truncate {
        replica: ReplicaId,
        to: Offset,
    },
    LogStart {
        replica: ReplicaId,
        to: Offset,
    },
    Delete {
        replica: ReplicaId,
    },
    /// Extents now lie in a rewritten segment. Applied to each only as far as it still lies where it was read from.
    SegmentEdit {
        segment: Box<SegmentRecord>,
        moved: Vec<MovedExtent>,
    },
    BrokerEpoch {
        epoch: i64,
    },
    /// First of a fresh segment after recovery: where the log was cut.
    Cut {
        lsn: u64,
        bytes: u64,
    },
}

const CREATE: u8 = 1;
const TRUNCATE: u8 = 2;
const LOG_START: u8 = 3;
const DELETE: u8 = 4;
const SEGMENT_EDIT: u8 = 5;
const BROKER_EPOCH: u8 = 6;
const CUT: u8 = 7;
const PLAN_EDIT: u8 = 8;

const MOVED_BYTES: usize = 32;
const PLANNED_BYTES: usize = MOVED_BYTES + 4;

impl Control {
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Create { replica, create } => {
                bytes.push(CREATE);
                bytes.extend_from_slice(&replica.0.to_le_bytes());
                bytes.extend_from_slice(&create.topic_id.0);
                bytes.extend_from_slice(&create.partition.to_le_bytes());
                bytes.extend_from_slice(&create.metadata_offset.to_le_bytes());
            }
            Self::Truncate { replica, to } => encode_offset(bytes, TRUNCATE, *replica, *to),
            Self::LogStart { replica, to } => encode_offset(bytes, LOG_START, *replica, *to),
            Self::Delete { replica } => {
                bytes.push(DELETE);
                bytes.extend_from_slice(&replica.0.to_le_bytes());
            }
            Self::SegmentEdit { segment, moved } => {
                let planned = moved.iter().any(|extent| extent.bytes.is_some());
                bytes.push(if planned { PLAN_EDIT } else { SEGMENT_EDIT });
                segment.encode(bytes);
                bytes.extend_from_slice(&(moved.len() as u32).to_le_bytes());
                for extent in moved {
                    bytes.extend_from_slice(&extent.replica.0.to_le_bytes());
                    bytes.extend_from_slice(&extent.old.to_le_bytes());
                    bytes.extend_from_slice(&extent.base.to_le_bytes());
                    bytes.extend_from_slice(&extent.end.to_le_bytes());
                    bytes.extend_from_slice(&extent.held.to_le_bytes());
                    if planned {
                        let left = extent.bytes.unwrap_or(u32::MAX);
                        bytes.extend_from_slice(&left.to_le_bytes());
                    }
                }
            }
            Self::BrokerEpoch { epoch } => {
                bytes.push(BROKER_EPOCH);
                bytes.extend_from_slice(&epoch.to_le_bytes());
            }
            Self::Cut { lsn, bytes: cut } => {
                bytes.push(CUT);
                bytes.extend_from_slice(&lsn.to_le_bytes());
                bytes.extend_from_slice(&cut.to_le_bytes());
            }
        }
    }

    /// The records of a payload; `None` when it is not one (its CRC held, so that would be a newer format).
    pub(crate) fn decode_all(payload: &[u8]) -> Option<Vec<Self>> {
        let mut controls = Vec::new();
        let mut rest = payload;
        while !rest.is_empty() {
            controls.push(Self::decode(&mut rest)?);
        }
        Some(controls)
    }

    fn decode(rest: &mut &[u8]) -> Option<Self> {
        let tag = take(rest, 1)?[0];
        Some(match tag {
            CREATE => {
                let bytes = take(rest, 36)?;
                let mut topic_id = [0; 16];
                topic_id.copy_from_slice(&bytes[8..24]);
                Self::Create {
                    replica: ReplicaId(get_u64(bytes, 0)),
                    create: CreateReplica {
                        topic_id: TopicId(topic_id),
                        partition: get_i32(bytes, 24),
                        metadata_offset: get_i64(bytes, 28),
                    },
                }
            }
            TRUNCATE | LOG_START => {
                let bytes = take(rest, 16)?;
                let (replica, to) = (ReplicaId(get_u64(bytes, 0)), Offset(get_i64(bytes, 8)));
                if tag == TRUNCATE {
                    Self::Truncate { replica, to }
                } else {
                    Self::LogStart { replica, to }
                }
            }
            DELETE => Self::Delete {
                replica: ReplicaId(get_u64(take(rest, 8)?, 0)),
            },
            SEGMENT_EDIT | PLAN_EDIT => {
                let each = if tag == PLAN_EDIT {
                    PLANNED_BYTES
                } else {
                    MOVED_BYTES
                };
                let segment = Box::new(SegmentRecord::decode(take(rest, SegmentRecord::BYTES)?)?);
                let count = get_u32(take(rest, 4)?, 0) as usize;
                let bytes = take(rest, count.checked_mul(each)?)?;
                let moved = bytes.chunks_exact(each).map(|bytes| MovedExtent {
                    replica: ReplicaId(get_u64(bytes, 0)),
                    old: get_u32(bytes, 8),
                    base: get_i64(bytes, 12),
                    end: get_i64(bytes, 20),
                    bytes: (tag == PLAN_EDIT)
                        .then(|| get_u32(bytes, MOVED_BYTES))
                        .filter(|left| *left != u32::MAX),
                    held: get_u32(bytes, 28),
                });
                Self::SegmentEdit {
                    segment,
                    moved: moved.collect(),
                }
            }
            BROKER_EPOCH => Self::BrokerEpoch {
                epoch: get_i64(take(rest, 8)?, 0),
            },
            CUT => {
                let bytes = take(rest, 16)?;
                Self::Cut {
                    lsn: get_u64(bytes, 0),
                    bytes: get_u64(bytes, 8),
                }
            }
            _ => return None,
        })
    }
}

fn encode_offset(bytes: &mut Vec<u8>, tag: u8, replica: ReplicaId, to: Offset) {
    bytes.push(tag);
    bytes.extend_from_slice(&replica.0.to_le_bytes());
    bytes.extend_from_slice(&to.0.to_le_bytes());
}

pub(crate) fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(bytes)?;
    *rest = tail;
    Some(head)
}
