//! Producer state of one partition: what makes a producer idempotent (KIP-98, KIP-360; case 15).
//!
//! State is *committed* (folded at or below the high watermark) plus *pending* (headers of batches above
//! it). A truncation drops pending entries and touches nothing else; a crash loses neither, since
//! committed state stands in the checkpoint's cold page and the frames replayed after it feed the rest.
//! The checks are Kafka's, in Kafka's order: duplicate, epoch, sequence.

use std::collections::VecDeque;

use odradek_wal::Offset;

/// Batches remembered per producer; a repeat of one of them is answered with its first offsets.
pub const REMEMBERED_BATCHES: usize = 5;

/// What a batch header says of its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// The producer's id, never negative.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// Sequence of the first record.
    pub base_sequence: i32,
    /// Records less one.
    pub last_offset_delta: i32,
    /// Largest time stamp of the batch.
    pub max_timestamp: i64,
}

impl ProducerBatch {
    /// Sequence of the last record: sequences wrap from 2^31-1 to 0.
    pub fn last_sequence(&self) -> i32 {
        let sum = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (sum & 0x7fff_ffff) as i32
    }
}

/// What the checks say of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceVerdict {
    /// It is the next one: append it.
    Next,
    /// It was appended before; answer with its first offset and time stamp.
    Duplicate {
        /// Offset of its first record.
        base_offset: Offset,
        /// Offset of its last record.
        last_offset: Offset,
        /// Its largest time stamp, which is its append time on such a topic.
        timestamp_ms: i64,
        /// Whether it still lies above the high watermark.
        pending: bool,
    },
    /// Its epoch is older than the last seen: INVALID_PRODUCER_EPOCH.
    StaleEpoch {
        /// The last epoch seen.
        seen: i16,
    },
    /// It does not continue the sequence: OUT_OF_ORDER_SEQUENCE_NUMBER.
    OutOfOrder {
        /// The last sequence of the same epoch; -1 when a new epoch did not start at 0.
        last_sequence: i32,
    },
}

/// One remembered batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Remembered {
    last_offset: i64,
    timestamp_ms: i64,
    last_sequence: i32,
    last_offset_delta: i32,
}

/// A producer as far as the high watermark: 152 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Committed {
    producer_id: i64,
    /// Monotonic, for expiry.
    last_used_us: u64,
    batches: [Remembered; REMEMBERED_BATCHES],
    producer_epoch: i16,
    /// How many of `batches` are filled, the newest last.
    remembered: u8,
}

/// Header of a batch above the high watermark.
#[derive(Clone, Copy, Debug)]
struct Pending {
    batch: ProducerBatch,
    last_offset: i64,
}

/// A producer as DescribeProducers reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerDescription {
    /// The producer's id.
    pub producer_id: i64,
    /// Its last epoch.
    pub producer_epoch: i32,
    /// Its last sequence.
    pub last_sequence: i32,
    /// Time stamp of its last batch.
    pub last_timestamp_ms: i64,
}

/// A stored cold page that cannot be read: the checkpoint is of another version or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColdPageError {
    /// Written by a newer version.
    Version(u8),
    /// Its length does not fit its own count.
    Length(usize),
}

impl std::fmt::Display for ColdPageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ColdPageError::Version(version) => write!(
                f,
                "producer state in the checkpoint has version {version}, this program reads up to {COLD_PAGE_VERSION}"
            ),
            ColdPageError::Length(length) => {
                write!(
                    f,
                    "producer state in the checkpoint has an impossible length of {length} bytes"
                )
            }
        }
    }
}

impl std::error::Error for ColdPageError {}

const COLD_PAGE_VERSION: u8 = 1;
const COLD_HEAD_BYTES: usize = 5;
const COLD_PRODUCER_BYTES: usize = 11;
const COLD_BATCH_BYTES: usize = 24;

/// All producers of one partition.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    /// Sorted by producer id: ids are handed out upwards, so that a new one goes to the end.
    committed: Vec<Committed>,
    pending: VecDeque<Pending>,
}

impl Producers {
    /// Judges a batch against all that is known, pending included.
    pub fn check(&self, batch: &ProducerBatch) -> SequenceVerdict {
        let mut newest: Option<(i16, i32)> = None;
        let mut seen = 0;
        for pending in self.pending.iter().rev() {
            if pending.batch.producer_id != batch.producer_id {
                continue;
            }
            newest.get_or_insert((pending.batch.producer_epoch, pending.batch.last_sequence()));
            if pending.batch.producer_epoch != newest.map_or(0, |entry| entry.0)
                || seen == REMEMBERED_BATCHES
            {
                break;
            }
            seen += 1;
            let same = pending.batch.producer_epoch == batch.producer_epoch
                && pending.batch.base_sequence == batch.base_sequence
                && pending.batch.last_offset_delta == batch.last_offset_delta;
            if same {
                return SequenceVerdict::Duplicate {
                    base_offset: Offset(pending.last_offset - i64::from(batch.last_offset_delta)),
                    last_offset: Offset(pending.last_offset),
                    timestamp_ms: pending.batch.max_timestamp,
                    pending: true,
                };
            }
        }
        let known = self
            .find(batch.producer_id)
            .ok()
            .map(|index| &self.committed[index]);
        if let Some(known) = known
            && known.producer_epoch == batch.producer_epoch
            && newest.is_none_or(|entry| entry.0 == batch.producer_epoch)
            && let Some(found) = known.duplicate(batch, REMEMBERED_BATCHES - seen)
        {
            return found;
        }
        let newest = newest.or_else(|| {
            known.and_then(|known| {
                known
                    .newest()
                    .map(|last| (known.producer_epoch, last.last_sequence))
            })
        });
        let Some((seen_epoch, last_sequence)) = newest else {
            return SequenceVerdict::Next; // KIP-360: an unknown producer may start anywhere.
        };
        judge_order(batch, seen_epoch, last_sequence)
    }

    /// Notes an appended batch that lies above the high watermark.
    pub fn append(&mut self, batch: ProducerBatch, last_offset: Offset) {
        debug_assert!(
            self.pending
                .back()
                .is_none_or(|last| last.last_offset < last_offset.0)
        );
        self.pending.push_back(Pending {
            batch,
            last_offset: last_offset.0,
        });
    }

    /// Folds all below `high_watermark` into the committed state. Returns the producers that had to be
    /// forgotten because the partition remembers no more than `producers_max`.
    pub fn commit(&mut self, high_watermark: Offset, now_us: u64, producers_max: usize) -> usize {
        let mut forgotten = 0;
        while let Some(first) = self.pending.front().copied() {
            if first.last_offset >= high_watermark.0 {
                break;
            }
            self.pending.pop_front();
            forgotten += self.fold(
                &first.batch,
                Offset(first.last_offset),
                now_us,
                producers_max,
            );
        }
        forgotten
    }

    /// Applies a batch that is at or below the watermark already: replay of the log at start. A batch that
    /// the checkpoint has counted before is skipped.
    pub fn fold(
        &mut self,
        batch: &ProducerBatch,
        last_offset: Offset,
        now_us: u64,
        producers_max: usize,
    ) -> usize {
        let index = match self.find(batch.producer_id) {
            Ok(index) => index,
            Err(index) => {
                self.committed.insert(
                    index,
                    Committed::new(batch.producer_id, batch.producer_epoch),
                );
                index
            }
        };
        let known = &mut self.committed[index];
        if known
            .newest()
            .is_some_and(|last| last.last_offset >= last_offset.0)
        {
            return 0;
        }
        known.remember(batch, last_offset, now_us);
        self.shrink(producers_max)
    }

    /// Forgets every batch at or above `to`, after a truncation or a crash. Pending ones are simply dropped.
    /// Returns false when committed state reached above `to` too (an unclean truncation, or a checkpoint ahead
    /// of the log): older batches of those producers may then be forgotten with them.
    pub fn truncate(&mut self, to: Offset) -> bool {
        while self
            .pending
            .back()
            .is_some_and(|last| last.last_offset >= to.0)
        {
            self.pending.pop_back();
        }
        let mut clean = true;
        for known in &mut self.committed {
            while known.newest().is_some_and(|last| last.last_offset >= to.0) {
                known.remembered -= 1;
                clean = false;
            }
        }
        self.committed.retain(|known| known.remembered > 0);
        clean
    }

    /// Forgets producers unseen since `before_us`; those with pending batches stay. Returns when the next
    /// one was last used.
    pub fn expire(&mut self, before_us: u64) -> Option<u64> {
        let pending = &self.pending;
        self.committed.retain(|known| {
            known.last_used_us > before_us
                || pending
                    .iter()
                    .any(|entry| entry.batch.producer_id == known.producer_id)
        });
        self.committed.iter().map(|known| known.last_used_us).min()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// Producers known at or below the watermark.
    pub fn len(&self) -> usize {
        self.committed.len()
    }

    /// All producers by id, each with its newest batch, pending ones included.
    pub fn describe(&self) -> Vec<ProducerDescription> {
        let mut all: std::collections::BTreeMap<i64, ProducerDescription> = self
            .committed
            .iter()
            .filter_map(|known| Some((known.producer_id, known.describe()?)))
            .collect();
        for Pending { batch, .. } in &self.pending {
            let newest = ProducerDescription {
                producer_id: batch.producer_id,
                producer_epoch: i32::from(batch.producer_epoch),
                last_sequence: batch.last_sequence(),
                last_timestamp_ms: batch.max_timestamp,
            };
            all.insert(batch.producer_id, newest);
        }
        all.into_values().collect()
    }

    /// The cold page for the checkpoint. Pending batches are in it: whether a checkpoint holds them is
    /// decided by the log's end at recovery, which cuts what was lost ([`Producers::truncate`]).
    /// `version u8, count u32, then per producer id i64, epoch i16, batches u8, and per batch last offset
    /// i64, time stamp i64, last sequence i32, last offset delta i32`, little-endian.
    pub fn to_cold_page(&self) -> Vec<u8> {
        if !self.pending.is_empty() {
            let mut folded = self.clone();
            folded.commit(Offset(i64::MAX), 0, usize::MAX);
            return folded.to_cold_page();
        }
        let mut page = Vec::with_capacity(
            COLD_HEAD_BYTES + self.committed.len() * (COLD_PRODUCER_BYTES + COLD_BATCH_BYTES),
        );
        page.push(COLD_PAGE_VERSION);
        page.extend_from_slice(&(self.committed.len() as u32).to_le_bytes());
        for known in &self.committed {
            page.extend_from_slice(&known.producer_id.to_le_bytes());
            page.extend_from_slice(&known.producer_epoch.to_le_bytes());
            page.push(known.remembered);
            for batch in known.batches() {
                page.extend_from_slice(&batch.last_offset.to_le_bytes());
                page.extend_from_slice(&batch.timestamp_ms.to_le_bytes());
                page.extend_from_slice(&batch.last_sequence.to_le_bytes());
                page.extend_from_slice(&batch.last_offset_delta.to_le_bytes());
            }
        }
        page
    }

    /// Reads [`Producers::to_cold_page`] back. Every producer counts as used at `now_us`.
    pub fn from_cold_page(page: &[u8], now_us: u64) -> Result<Producers, ColdPageError> {
        let length = page.len();
        let mut rest = Cursor { bytes: page };
        let version = rest.take::<1>().ok_or(ColdPageError::Length(length))?[0];
        if version != COLD_PAGE_VERSION {
            return Err(ColdPageError::Version(version));
        }
        let count = u32::from_le_bytes(rest.take().ok_or(ColdPageError::Length(length))?);
        let mut producers = Producers::default();
        for _ in 0..count {
            let known = Committed::read(&mut rest, now_us).ok_or(ColdPageError::Length(length))?;
            if producers
                .committed
                .last()
                .is_some_and(|last| last.producer_id >= known.producer_id)
            {
                return Err(ColdPageError::Length(length));
            }
            producers.committed.push(known);
        }
        if rest.bytes.is_empty() {
            Ok(producers)
        } else {
            Err(ColdPageError::Length(length))
        }
    }

    fn find(&self, producer_id: i64) -> Result<usize, usize> {
        self.committed
            .binary_search_by_key(&producer_id, |known| known.producer_id)
    }

    fn shrink(&mut self, producers_max: usize) -> usize {
        let mut forgotten = 0;
        while self.committed.len() > producers_max.max(1) {
            let oldest =
                (0..self.committed.len()).min_by_key(|index| self.committed[*index].last_used_us);
            let Some(oldest) = oldest else { break };
            self.committed.remove(oldest);
            forgotten += 1;
        }
        forgotten
    }
}

fn judge_order(batch: &ProducerBatch, seen_epoch: i16, last_sequence: i32) -> SequenceVerdict {
    if batch.producer_epoch < seen_epoch {
        return SequenceVerdict::StaleEpoch { seen: seen_epoch };
    }
    if batch.producer_epoch > seen_epoch {
        return match batch.base_sequence {
            0 => SequenceVerdict::Next,
            _ => SequenceVerdict::OutOfOrder { last_sequence: -1 },
        };
    }
    let next = if last_sequence == i32::MAX {
        0
    } else {
        last_sequence + 1
    };
    if batch.base_sequence == next {
        SequenceVerdict::Next
    } else {
        SequenceVerdict::OutOfOrder { last_sequence }
    }
}

impl Committed {
    fn new(producer_id: i64, producer_epoch: i16) -> Self {
        Committed {
            producer_id,
            last_used_us: 0,
            batches: Default::default(),
            producer_epoch,
            remembered: 0,
        }
    }

    fn batches(&self) -> &[Remembered] {
        &self.batches[..usize::from(self.remembered)]
    }

    fn newest(&self) -> Option<&Remembered> {
        self.batches().last()
    }

    fn remember(&mut self, batch: &ProducerBatch, last_offset: Offset, now_us: u64) {
        if self.producer_epoch != batch.producer_epoch {
            self.producer_epoch = batch.producer_epoch;
            self.remembered = 0;
        }
        if usize::from(self.remembered) == REMEMBERED_BATCHES {
            self.batches.rotate_left(1);
            self.remembered -= 1;
        }
        self.batches[usize::from(self.remembered)] = Remembered {
            last_offset: last_offset.0,
            timestamp_ms: batch.max_timestamp,
            last_sequence: batch.last_sequence(),
            last_offset_delta: batch.last_offset_delta,
        };
        self.remembered += 1;
        self.last_used_us = now_us;
    }

    fn duplicate(&self, batch: &ProducerBatch, newest: usize) -> Option<SequenceVerdict> {
        let found = self.batches().iter().rev().take(newest).find(|known| {
            known.last_sequence == batch.last_sequence()
                && known.last_offset_delta == batch.last_offset_delta
        })?;
        Some(SequenceVerdict::Duplicate {
            base_offset: Offset(found.last_offset - i64::from(found.last_offset_delta)),
            last_offset: Offset(found.last_offset),
            timestamp_ms: found.timestamp_ms,
            pending: false,
        })
    }

    fn describe(&self) -> Option<ProducerDescription> {
        let last = self.newest()?;
        Some(ProducerDescription {
            producer_id: self.producer_id,
            producer_epoch: i32::from(self.producer_epoch),
            last_sequence: last.last_sequence,
            last_timestamp_ms: last.timestamp_ms,
        })
    }

    fn read(rest: &mut Cursor<'_>, now_us: u64) -> Option<Committed> {
        let producer_id = i64::from_le_bytes(rest.take()?);
        let mut known = Committed::new(producer_id, i16::from_le_bytes(rest.take()?));
        known.remembered = rest.take::<1>()?[0];
        known.last_used_us = now_us;
        if usize::from(known.remembered) > REMEMBERED_BATCHES {
            return None;
        }
        for batch in &mut known.batches[..usize::from(known.remembered)] {
            batch.last_offset = i64::from_le_bytes(rest.take()?);
            batch.timestamp_ms = i64::from_le_bytes(rest.take()?);
            batch.last_sequence = i32::from_le_bytes(rest.take()?);
            batch.last_offset_delta = i32::from_le_bytes(rest.take()?);
        }
        Some(known)
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = tail;
        Some(*head)
    }
}
