//! A node's disk: what is durable, what is under way, and what a crash leaves of it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use odradek_raft::consensus::quorum_state::{
    QuorumState, RecoveredSlots, SLOT_BYTES, encode_slot, recover_slots, slot_index,
};
use odradek_raft::consensus::{LogView, Persisted, SnapshotId, SnapshotView};
use odradek_raft::snapshot::read_snapshot;

use crate::random::Random;

/// One log write under way.
#[derive(Clone, Debug)]
pub enum LogWrite {
    Append {
        base: i64,
        end: i64,
        epoch: i32,
        bytes: Bytes,
    },
    Truncate {
        to: i64,
    },
    Reset {
        to: i64,
    },
    Cut {
        log_start: i64,
    },
}

/// One durable batch.
#[derive(Clone, Debug)]
pub struct Stored {
    pub base: i64,
    pub end: i64,
    pub epoch: i32,
    pub bytes: Bytes,
}

#[derive(Clone)]
pub struct Disk {
    pub log_start: i64,
    pub batches: Vec<Stored>,
    pub slots: [Vec<u8>; 2],
    pub snapshots: BTreeMap<SnapshotId, Vec<u8>>,
    pub log_damaged: bool,
    pub log_writes: VecDeque<(u64, LogWrite)>,
    pub slot_writes: VecDeque<(u64, QuorumState)>,
    /// Parts of snapshots; gone after a crash.
    pub parts: BTreeMap<SnapshotId, Vec<u8>>,
}

impl Disk {
    pub fn new() -> Disk {
        Disk {
            log_start: 0,
            batches: Vec::new(),
            slots: [vec![0; SLOT_BYTES], vec![0; SLOT_BYTES]],
            snapshots: BTreeMap::new(),
            log_damaged: false,
            log_writes: VecDeque::new(),
            slot_writes: VecDeque::new(),
            parts: BTreeMap::new(),
        }
    }

    /// The oldest log write becomes durable.
    pub fn finish_log_write(&mut self) -> Option<u64> {
        let (number, write) = self.log_writes.pop_front()?;
        match write {
            LogWrite::Append {
                base,
                end,
                epoch,
                bytes,
            } => {
                let at = self.batches.last().map_or(self.log_start, |last| last.end);
                assert_eq!(at, base, "appended where the log on disk ends");
                self.batches.push(Stored {
                    base,
                    end,
                    epoch,
                    bytes,
                });
            }
            LogWrite::Truncate { to } => self.batches.retain(|batch| batch.end <= to),
            LogWrite::Reset { to } => {
                self.batches.clear();
                self.log_start = to;
            }
            LogWrite::Cut { log_start } => {
                self.batches.retain(|batch| batch.base >= log_start);
                self.log_start = log_start;
            }
        }
        Some(number)
    }

    /// The oldest quorum state becomes durable.
    pub fn finish_slot_write(&mut self) -> Option<u64> {
        let (counter, state) = self.slot_writes.pop_front()?;
        self.slots[slot_index(counter)] = encode_slot(&state, counter).to_vec();
        Some(counter)
    }

    /// Power is cut: of what was under way the first few are there, the next may be torn.
    pub fn crash(&mut self, random: &mut Random) {
        let kept = random.below(self.log_writes.len() as u64 + 1);
        for _ in 0..kept {
            self.finish_log_write();
        }
        self.log_writes.clear();
        let kept = random.below(self.slot_writes.len() as u64 + 1);
        for _ in 0..kept {
            self.finish_slot_write();
        }
        if let Some((counter, state)) = self.slot_writes.pop_front() {
            let bytes = encode_slot(&state, counter);
            let slot = &mut self.slots[slot_index(counter)];
            for sector in 0..SLOT_BYTES / 512 {
                if random.chance(500) {
                    let range = sector * 512..(sector + 1) * 512;
                    slot[range.clone()].copy_from_slice(&bytes[range]);
                }
            }
        }
        self.slot_writes.clear();
        self.parts.clear();
    }

    /// Damages what had been durable; tells whether there was anything to damage.
    pub fn damage(&mut self, random: &mut Random) -> bool {
        match random.below(3) {
            0 => {
                let slot = random.below(2) as usize;
                if self.slots[slot].iter().all(|byte| *byte == 0) {
                    return false;
                }
                for at in [30, SLOT_BYTES - 512 + 30] {
                    self.slots[slot][at] ^= 0x40;
                }
                true
            }
            1 if !self.batches.is_empty() => {
                self.slots = [vec![0; SLOT_BYTES], vec![0; SLOT_BYTES]];
                true
            }
            2 if !self.batches.is_empty() => {
                let kept = random.below(self.batches.len() as u64) as usize;
                self.batches.truncate(kept);
                self.log_damaged = true;
                true
            }
            _ => false,
        }
    }

    pub fn persisted(&self) -> Persisted {
        match recover_slots(&self.slots[0], &self.slots[1]) {
            RecoveredSlots::Empty => Persisted::Nothing,
            RecoveredSlots::Found { state, counter } => Persisted::Found { state, counter },
            RecoveredSlots::Damaged(damage) => Persisted::Damaged(damage),
            RecoveredSlots::NewerFormat { version } => {
                panic!("version {version} was never written")
            }
        }
    }

    pub fn log_view(&self) -> LogView {
        LogView {
            start_offset: self.log_start,
            batches: self
                .batches
                .iter()
                .map(|batch| batch.bytes.clone())
                .collect(),
            damaged: self.log_damaged,
        }
    }

    pub fn snapshot_views(&self) -> Vec<SnapshotView> {
        self.snapshots
            .iter()
            .map(|(id, bytes)| read_snapshot(*id, bytes).expect("stored whole").0)
            .collect()
    }

    /// Whether everything below `end` would be there after a crash now.
    pub fn covers(&self, end: i64, epoch: i32) -> bool {
        self.snapshots.keys().any(|id| id.offset >= end)
            || self
                .batches
                .binary_search_by_key(&end, |batch| batch.end)
                .is_ok_and(|found| self.batches[found].epoch == epoch)
    }
}
