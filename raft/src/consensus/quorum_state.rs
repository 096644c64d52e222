//! Quorum state on disk: epoch, leader and vote, in two alternating 4 KiB slots (the caller writes
//! them), and Kafka's one-line `quorum-state` text for its tools. When it is written is decided in
//! `raft.rs`.
//!
//! One slot, 4096 bytes, big endian, two equal copies so that a torn write is told from damage:
//!
//! ```text
//! 0     copy 1 (60 bytes), in the first 512-byte sector; zeroes up to 3584
//! 3584  copy 2 (60 bytes), in the last sector; zeroes up to 4096
//!
//! copy: 0 magic "ODQS"   4 version u32 = 1   8 counter u64   16 epoch i32   20 leader i32 (-1)
//!       24 voted id i32 (-1)   28 voted directory id 16 bytes   44 zeroes   56 crc32c of 0..56
//! ```
//!
//! Counter `n` goes to slot `n % 2`, every counter is written, in order. A crash tears at most the
//! newest slot, at sector bounds, so each copy is an old or a new one: a slot with no good copy
//! that is not all zero was damaged after it was written, and a vote may be lost with it.

use std::fmt;

use odradek_protocol::Uuid;

use super::types::{NO_DIRECTORY, ReplicaKey};
use super::voters::VoterSet;

/// Bytes of one slot.
pub const SLOT_BYTES: usize = 4096;

const COPY_BYTES: usize = 60;
const COPY_CRC_AT: usize = 56;
const COPY_POSITIONS: [usize; 2] = [0, SLOT_BYTES - 512];
const MAGIC: [u8; 4] = *b"ODQS";
const FORMAT_VERSION: u32 = 1;

const _: () = assert!(COPY_CRC_AT + 4 == COPY_BYTES);
const _: () = assert!(COPY_POSITIONS[1].is_multiple_of(512) && COPY_BYTES <= 512);

/// What must never be forgotten: the epoch, and whom this replica voted for or follows in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct QuorumState {
    /// Raft epoch.
    pub epoch: i32,
    /// Leader known in this epoch.
    pub leader_id: Option<i32>,
    /// Whom this replica voted for in this epoch.
    pub voted: Option<ReplicaKey>,
}

/// What the two slots hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveredSlots {
    /// Nothing was ever written.
    Empty,
    /// The newest durable state.
    Found {
        /// The state.
        state: QuorumState,
        /// Its counter; the next is one more.
        counter: u64,
    },
    /// A slot was damaged: a vote or an epoch may be lost.
    Damaged(SlotDamage),
    /// Written by a newer program.
    NewerFormat {
        /// The version found.
        version: u32,
    },
}

/// How the slots are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotDamage {
    /// No good copy in this slot.
    Slot {
        /// 0 or 1.
        slot: usize,
    },
    /// The counters do not follow each other: a slot went back to an older content.
    Counters {
        /// Counter of slot 0, 0 when empty.
        first: u64,
        /// Counter of slot 1, 0 when empty.
        second: u64,
    },
    /// A slot has not the size of a slot.
    Length {
        /// 0 or 1.
        slot: usize,
    },
}

impl fmt::Display for SlotDamage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SlotDamage::Slot { slot } => {
                write!(formatter, "quorum state slot {slot} fails its checksum")
            }
            SlotDamage::Counters { first, second } => write!(
                formatter,
                "quorum state slots hold counters {first} and {second}, which do not follow each other"
            ),
            SlotDamage::Length { slot } => {
                write!(
                    formatter,
                    "quorum state slot {slot} is not {SLOT_BYTES} bytes long"
                )
            }
        }
    }
}

/// The slot that `counter` is written to: 0 or 1.
pub fn slot_index(counter: u64) -> usize {
    (counter % 2) as usize
}

/// Bytes of a slot.
pub fn encode_slot(state: &QuorumState, counter: u64) -> [u8; SLOT_BYTES] {
    let mut copy = [0u8; COPY_BYTES];
    copy[0..4].copy_from_slice(&MAGIC);
    copy[4..8].copy_from_slice(&FORMAT_VERSION.to_be_bytes());
    copy[8..16].copy_from_slice(&counter.to_be_bytes());
    copy[16..20].copy_from_slice(&state.epoch.to_be_bytes());
    copy[20..24].copy_from_slice(&state.leader_id.unwrap_or(-1).to_be_bytes());
    let voted = state.voted.unwrap_or(ReplicaKey::new(-1, NO_DIRECTORY));
    copy[24..28].copy_from_slice(&voted.id.to_be_bytes());
    copy[28..44].copy_from_slice(&voted.directory_id.0);
    let crc = crc32c::crc32c(&copy[..COPY_CRC_AT]);
    copy[COPY_CRC_AT..].copy_from_slice(&crc.to_be_bytes());
    let mut slot = [0u8; SLOT_BYTES];
    for position in COPY_POSITIONS {
        slot[position..position + COPY_BYTES].copy_from_slice(&copy);
    }
    slot
}

enum Slot {
    Empty,
    Good(u64, QuorumState),
    Newer(u32),
    Bad,
}

/// Reads the two slots; a file shorter than both counts as zeroes only when it is empty.
pub fn recover_slots(first: &[u8], second: &[u8]) -> RecoveredSlots {
    for (slot, bytes) in [first, second].into_iter().enumerate() {
        if !bytes.is_empty() && bytes.len() != SLOT_BYTES {
            return RecoveredSlots::Damaged(SlotDamage::Length { slot });
        }
    }
    let slots = [decode_slot(first), decode_slot(second)];
    for (index, slot) in slots.iter().enumerate() {
        match slot {
            Slot::Newer(version) => return RecoveredSlots::NewerFormat { version: *version },
            Slot::Bad => return RecoveredSlots::Damaged(SlotDamage::Slot { slot: index }),
            Slot::Good(counter, _) if slot_index(*counter) != index => {
                return RecoveredSlots::Damaged(SlotDamage::Slot { slot: index });
            }
            Slot::Good(..) | Slot::Empty => {}
        }
    }
    match slots {
        [Slot::Empty, Slot::Empty] => RecoveredSlots::Empty,
        [Slot::Empty, Slot::Good(1, state)] => RecoveredSlots::Found { state, counter: 1 },
        [
            Slot::Good(first, first_state),
            Slot::Good(second, second_state),
        ] if first.abs_diff(second) == 1 => {
            let (counter, state) = if first > second {
                (first, first_state)
            } else {
                (second, second_state)
            };
            RecoveredSlots::Found { state, counter }
        }
        [first, second] => RecoveredSlots::Damaged(SlotDamage::Counters {
            first: counter_of(&first),
            second: counter_of(&second),
        }),
    }
}

fn counter_of(slot: &Slot) -> u64 {
    match slot {
        Slot::Good(counter, _) => *counter,
        Slot::Empty | Slot::Newer(_) | Slot::Bad => 0,
    }
}

fn decode_slot(bytes: &[u8]) -> Slot {
    if bytes.iter().all(|byte| *byte == 0) {
        return Slot::Empty;
    }
    let mut best: Option<(u64, QuorumState)> = None;
    for position in COPY_POSITIONS {
        match decode_copy(&bytes[position..position + COPY_BYTES]) {
            Ok((counter, state)) => {
                if best.is_none_or(|(known, _)| known < counter) {
                    best = Some((counter, state));
                }
            }
            Err(Some(version)) => return Slot::Newer(version),
            Err(None) => {}
        }
    }
    // A first write torn after one sector leaves one copy and zeroes: good, as the write was
    // never reported durable. One good copy beside a bad one: the good one is what was written.
    best.map_or(Slot::Bad, |(counter, state)| Slot::Good(counter, state))
}

fn decode_copy(copy: &[u8]) -> Result<(u64, QuorumState), Option<u32>> {
    let number = |at: usize| i32::from_be_bytes(copy[at..at + 4].try_into().expect("4 bytes"));
    let stored = u32::from_be_bytes(copy[COPY_CRC_AT..].try_into().expect("4 bytes"));
    if copy[0..4] != MAGIC || crc32c::crc32c(&copy[..COPY_CRC_AT]) != stored {
        return Err(None);
    }
    let version = number(4) as u32;
    if version != FORMAT_VERSION {
        return Err(Some(version));
    }
    let counter = u64::from_be_bytes(copy[8..16].try_into().expect("8 bytes"));
    let directory_id = Uuid(copy[28..44].try_into().expect("16 bytes"));
    let optional = |id: i32| (id >= 0).then_some(id);
    let state = QuorumState {
        epoch: number(16),
        leader_id: optional(number(20)),
        voted: optional(number(24)).map(|id| ReplicaKey::new(id, directory_id)),
    };
    Ok((counter, state))
}

/// Kafka's `quorum-state` file: one JSON line. Data version 1 with kraft.version 1, else 0.
pub fn kafka_text(state: &QuorumState, kraft_version: i16, voters: &VoterSet) -> String {
    let leader = state.leader_id.unwrap_or(-1);
    let epoch = state.epoch;
    let voted = state.voted.map_or(-1, |key| key.id);
    if kraft_version >= 1 {
        let directory = state.voted.map_or(NO_DIRECTORY, |key| key.directory_id);
        return format!(
            "{{\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted},\"votedDirectoryId\":\"{directory}\",\"data_version\":1}}"
        );
    }
    let current: Vec<String> = voters
        .ids()
        .map(|id| format!("{{\"voterId\":{id}}}"))
        .collect();
    format!(
        "{{\"clusterId\":\"\",\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted},\"appliedOffset\":0,\"currentVoters\":[{}],\"data_version\":0}}",
        current.join(",")
    )
}
