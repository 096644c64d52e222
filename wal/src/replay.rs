//! Replay: the log after the checkpoint, write by write. Tells a torn tail (cut) from damage (reported, and answered as such): bad bytes
//! below the highest durable LSN that any valid later header names are damage. `salvage.rs` says whose.
//!
//! Three ranges of LSN: below the checkpoint's issued LSN only the open indexes of unsealed segments are rebuilt; from there to its LSN
//! extents are attached too; past it everything happens as it did, and the visitor is told.

use crate::buffer::AlignedBuffer;
use crate::checkpoint_file::Meta;
use crate::control::Control;
use crate::io::{BLOCK_BYTES, Disk, FileName, IoFailureKind};
use crate::layout::{
    DirectoryEntry, FRAME_HEADER_BYTES, SegmentHeader, SegmentKind, WRITE_HEADER_BYTES, WriteHeader,
};
use crate::log::Log;
use crate::open_index::OpenIndex;
use crate::recovery::later_segments;
use crate::report::{Damage, RecoveryError, RecoveryReport, RecoveryVisitor};
use crate::salvage::{Salvaged, salvage, whole_write};
use crate::segments::{Segment, SegmentState};
use crate::types::{DamagedRange, Offset, ReplicaId};

/// Pieces a segment is read in.
const READ_BYTES: usize = 4 << 20;

/// A stretch of a segment's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stretch {
    Write {
        position: u64,
        header: WriteHeader,
    },
    /// No valid write header where one must be.
    Gap {
        from: u64,
        to: u64,
    },
}

impl Stretch {
    fn position(&self) -> u64 {
        match self {
            Self::Write { position, .. } => *position,
            Self::Gap { from, .. } => *from,
        }
    }

    fn end(&self) -> u64 {
        match self {
            Self::Write { position, header } => position + u64::from(header.length),
            Self::Gap { to, .. } => *to,
        }
    }
}

/// One segment of the chain.
struct Scanned {
    file: u32,
    nonce: u64,
    /// LSN at position 4096, once a valid header said so.
    base_lsn: Option<u64>,
    /// Where its log ended when the checkpoint was taken, for one that was full by then.
    full_at: Option<u64>,
    stretches: Vec<Stretch>,
}

impl Scanned {
    fn lsn_at(&self, position: u64) -> Option<u64> {
        Some(self.base_lsn? + (position - BLOCK_BYTES as u64))
    }

    fn first_lsn(&self) -> Option<u64> {
        self.base_lsn
    }

    /// How far its bytes must be read again to be replayed.
    fn needed(&self) -> u64 {
        self.stretches
            .last()
            .map_or(BLOCK_BYTES as u64, Stretch::end)
    }
}

/// The state of one recovery's replay.
pub(crate) struct Replay {
    meta: Meta,
    pub report: RecoveryReport,
    /// Where the log goes on.
    pub end_lsn: u64,
    pub max_timestamp: i64,
    /// Segments whose bytes must be made durable.
    pub files: Vec<u32>,
    /// Everything below it was durable: the highest of what headers and the checkpoint say.
    durable_lsn: u64,
    /// Segments with frames that even their headers do not name any more.
    suspect: Vec<u32>,
}

impl Replay {
    pub(crate) fn new(meta: Meta) -> Self {
        Self {
            meta,
            report: RecoveryReport::default(),
            end_lsn: meta.lsn,
            max_timestamp: -1,
            files: Vec::new(),
            durable_lsn: meta.lsn,
            suspect: Vec::new(),
        }
    }

    pub(crate) fn run(
        &mut self,
        disk: &mut dyn Disk,
        log: &mut Log,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<(), RecoveryError> {
        let mut chain = self.chain(disk, log)?;
        let mut buffer = AlignedBuffer::new(log.segment_bytes as usize);
        let limits = self.limits(disk, log, &chain)?;
        let mut scanned = Vec::new();
        for (header, limit) in chain.iter().zip(limits) {
            self.read_segment(disk, header.file, &mut buffer, limit)?;
            scanned.push(self.scan_known(log, header, &buffer));
        }
        self.durable_lsn = self.durable_lsn.max(proven(&scanned));
        bound_by_successors(&mut scanned, self.durable_lsn, log.segment_bytes);
        let total: u64 = scanned
            .iter()
            .flat_map(|segment| &segment.stretches)
            .map(|stretch| stretch.end() - stretch.position())
            .sum();
        let chain_is_long = chain.len() > 1;
        let mut expected = None;
        let mut cut = false;
        for (header, segment) in chain.drain(..).zip(scanned) {
            let known = log
                .segments
                .get(header.file)
                .is_some_and(|segment| segment.nonce == header.nonce);
            if segment.stretches.is_empty() && !known {
                log.next_sequence = log.next_sequence.max(header.sequence + 1);
                continue;
            }
            // A lone segment is in the buffer still.
            if chain_is_long {
                self.read_segment(disk, header.file, &mut buffer, segment.needed())?;
            }
            self.adopt(log, &header, &segment);
            self.check_continuity(&segment, expected);
            if !cut {
                cut = self.replay_segment(log, visitor, &segment, &buffer, total);
            }
            expected = log
                .segments
                .get(header.file)
                .map(|found| found.end_lsn)
                .filter(|end| *end > 0)
                .or(expected);
        }
        if self.end_lsn < self.meta.lsn {
            self.end_lsn = self.meta.lsn;
        }
        self.name_the_missing(log);
        self.name_the_vanished(disk, log)?;
        log.metadata_offset_max = log.metadata_offset_max.max(self.meta.metadata_offset_max);
        self.report.metadata_offset_max = log.metadata_offset_max;
        Ok(())
    }

    /// Unsealed segments of the checkpoint in the order of their use, then those used after it.
    fn chain(
        &mut self,
        disk: &mut dyn Disk,
        log: &mut Log,
    ) -> Result<Vec<SegmentHeader>, RecoveryError> {
        let mut chain: Vec<SegmentHeader> = log
            .segments
            .iter()
            .filter(|(_, segment)| segment.state == SegmentState::Sealing)
            .map(|(file, segment)| SegmentHeader {
                kind: SegmentKind::Log,
                file,
                nonce: segment.nonce,
                sequence: segment.sequence,
                directory_id: log.options.directory_id,
                shard: log.options.shard,
            })
            .collect();
        chain.sort_by_key(|header| header.sequence);
        let later = later_segments(disk, log, self.meta.active_sequence)?;
        // A rewritten one is adopted by the edit that names it.
        for header in &later {
            log.next_sequence = log.next_sequence.max(header.sequence + 1);
        }
        chain.extend(
            later
                .into_iter()
                .filter(|header| header.kind == SegmentKind::Log),
        );
        Ok(chain)
    }

    /// How far each segment of the chain must be read to find its writes: to where the next one begins, since what lies past that is void.
    /// Only the last is read whole. Else every unclean stop, which leaves a segment mostly empty, would cost the next start a whole one.
    fn limits(
        &self,
        disk: &mut dyn Disk,
        log: &Log,
        chain: &[SegmentHeader],
    ) -> Result<Vec<u64>, RecoveryError> {
        let mut limits = vec![log.segment_bytes; chain.len()];
        let mut next: Option<u64> = None;
        let mut block = AlignedBuffer::new(BLOCK_BYTES);
        for (header, limit) in chain.iter().zip(&mut limits).rev() {
            let known = log
                .segments
                .get(header.file)
                .filter(|segment| segment.end_lsn > segment.first_lsn);
            let full_at = known
                .filter(|_| header.sequence < self.meta.active_sequence)
                .map(|segment| segment.end_lsn);
            let first = match known {
                Some(segment) => Some(segment.first_lsn),
                None => self.first_lsn(disk, header, &mut block)?,
            };
            let Some(first) = first else {
                continue;
            };
            if let Some(bound) = full_at.or(next) {
                *limit = place(first, bound, log.segment_bytes);
            }
            next = Some(next.map_or(first, |next| next.min(first)));
        }
        Ok(limits)
    }

    /// The LSN that a segment's first write names, where it can be read.
    fn first_lsn(
        &self,
        disk: &mut dyn Disk,
        header: &SegmentHeader,
        block: &mut AlignedBuffer,
    ) -> Result<Option<u64>, RecoveryError> {
        let name = FileName::Segment(header.file);
        let position = BLOCK_BYTES as u64;
        match disk.read_at(name, position, block) {
            Ok(()) => {
                let first = WriteHeader::decode(header.nonce, position, block);
                Ok(first.map(|first| first.start_lsn))
            }
            Err(failure) if failure.kind == IoFailureKind::Denied => {
                Err(RecoveryError::Io(name, failure))
            }
            Err(_) => Ok(None),
        }
    }

    /// A segment up to the piece that `limit` lies in, and zeroes from there on; blocks that cannot be read are zeroes too, which no check passes.
    fn read_segment(
        &mut self,
        disk: &mut dyn Disk,
        file: u32,
        buffer: &mut AlignedBuffer,
        limit: u64,
    ) -> Result<(), RecoveryError> {
        let name = FileName::Segment(file);
        for (index, piece) in buffer.chunks_mut(READ_BYTES).enumerate() {
            let position = (index * READ_BYTES) as u64;
            if position >= limit {
                piece.fill(0);
                continue;
            }
            let Err(failure) = disk.read_at(name, position, piece) else {
                continue;
            };
            if failure.kind == IoFailureKind::Denied {
                return Err(RecoveryError::Io(name, failure));
            }
            for (block, bytes) in piece.chunks_mut(BLOCK_BYTES).enumerate() {
                if disk
                    .read_at(name, position + (block * BLOCK_BYTES) as u64, bytes)
                    .is_err()
                {
                    bytes.fill(0);
                }
            }
        }
        Ok(())
    }

    fn scan_known(&self, log: &Log, header: &SegmentHeader, bytes: &[u8]) -> Scanned {
        let known = log
            .segments
            .get(header.file)
            .filter(|segment| segment.end_lsn > segment.first_lsn);
        let mut scanned = scan(
            header.file,
            header.nonce,
            known.map(|segment| segment.first_lsn),
            bytes,
        );
        if header.sequence < self.meta.active_sequence {
            scanned.full_at = known.map(|segment| segment.end_lsn);
        }
        scanned
    }

    fn adopt(&mut self, log: &mut Log, header: &SegmentHeader, scanned: &Scanned) {
        log.next_sequence = log.next_sequence.max(header.sequence + 1);
        // An edit replayed before may have named the file's earlier life, as a rewritten segment whose extents were all deleted since.
        if log
            .segments
            .get(header.file)
            .is_none_or(|segment| segment.nonce != header.nonce)
        {
            let mut segment = Segment::new(SegmentState::Sealing);
            segment.nonce = header.nonce;
            segment.sequence = header.sequence;
            log.segments.begin_life(header.file, segment);
        }
        let segment = log.segments.at(header.file);
        segment.first_lsn = scanned.first_lsn().unwrap_or(segment.first_lsn);
        segment.end_lsn = segment.first_lsn;
        segment.data_end = BLOCK_BYTES as u32;
        self.files.push(header.file);
        let hash_seed = log.entropy.next();
        log.open.insert(header.file, OpenIndex::new(hash_seed));
        log.begin_sealing(header.file);
    }

    /// A segment must begin where the one before it ended; past the checkpoint's issued LSN a hole is lost log.
    fn check_continuity(&mut self, segment: &Scanned, expected: Option<u64>) {
        if let (Some(first), Some(expected)) = (segment.first_lsn(), expected)
            && first > expected
            && expected >= self.meta.issued_lsn
        {
            self.lost(segment.file, BLOCK_BYTES as u64, first - expected);
        }
    }

    /// Durable bytes of which nothing is left.
    fn lost(&mut self, file: u32, position: u64, bytes: u64) {
        let range = DamagedRange {
            first: Offset(0),
            last: Offset(0),
        };
        let file = FileName::Segment(file);
        self.report.damage.push(Damage {
            replica: None,
            range,
            file,
            position,
            bytes,
        });
    }

    /// Answers whether the log was cut in this segment.
    fn replay_segment(
        &mut self,
        log: &mut Log,
        visitor: &mut dyn RecoveryVisitor,
        segment: &Scanned,
        bytes: &[u8],
        total: u64,
    ) -> bool {
        for stretch in &segment.stretches {
            let (position, end) = (stretch.position(), stretch.end());
            let Some(lsn) = segment.lsn_at(position) else {
                return false;
            };
            let region = &bytes[position as usize..end as usize];
            let whole = match stretch {
                Stretch::Write { header, .. } => {
                    whole_write(segment.nonce, position, header, region)
                }
                Stretch::Gap { .. } => None,
            };
            if let Some(entries) = whole {
                let salvaged: Vec<Salvaged> = entries
                    .into_iter()
                    .map(|entry| Salvaged { entry, sound: true })
                    .collect();
                self.apply_write(log, visitor, segment.file, position, lsn, &salvaged, bytes);
            } else if lsn < self.durable_lsn {
                self.apply_damaged(log, visitor, segment, stretch, lsn, bytes);
            } else {
                self.report.bytes_cut += end - position;
                return true;
            }
            let found = log.segments.at(segment.file);
            found.data_end = end as u32;
            found.end_lsn = lsn + (end - position);
            self.end_lsn = self.end_lsn.max(found.end_lsn);
            if lsn >= self.meta.lsn {
                self.report.bytes_replayed += end - position;
            }
            if let Stretch::Write { header, .. } = stretch {
                log.write_number = log.write_number.max(header.write_number + 1);
            }
            visitor.progress(self.report.bytes_replayed.min(total), total);
        }
        false
    }

    fn apply_damaged(
        &mut self,
        log: &mut Log,
        visitor: &mut dyn RecoveryVisitor,
        segment: &Scanned,
        stretch: &Stretch,
        lsn: u64,
        bytes: &[u8],
    ) {
        let (position, end) = (stretch.position(), stretch.end());
        let header = match stretch {
            Stretch::Write { header, .. } => Some(header),
            Stretch::Gap { .. } => None,
        };
        let (salvaged, complete) = salvage(
            segment.nonce,
            position,
            header,
            &bytes[position as usize..end as usize],
        );
        self.apply_write(log, visitor, segment.file, position, lsn, &salvaged, bytes);
        let control_lost = salvaged
            .iter()
            .any(|frame| frame.entry.is_control() && !frame.sound);
        if !complete || (control_lost && lsn >= self.meta.lsn) {
            self.suspect.push(segment.file);
            if lsn + (end - position) > self.meta.issued_lsn {
                self.lost(segment.file, position, end - position);
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn apply_write(
        &mut self,
        log: &mut Log,
        visitor: &mut dyn RecoveryVisitor,
        file: u32,
        position: u64,
        lsn: u64,
        frames: &[Salvaged],
        bytes: &[u8],
    ) {
        for frame in frames {
            let entry = &frame.entry;
            let start = position + u64::from(entry.position);
            if !frame.sound {
                self.apply_unsound(log, visitor, file, position, lsn, entry);
            } else if entry.is_control() {
                let from = start as usize + FRAME_HEADER_BYTES;
                let payload = &bytes[from..from + entry.payload_bytes as usize];
                for control in Control::decode_all(payload).unwrap_or_default() {
                    self.apply_control(log, visitor, lsn, control);
                }
            } else {
                log.index_frame(file, position, entry, lsn >= self.meta.issued_lsn);
                self.apply_frame(log, visitor, lsn, entry);
            }
        }
    }

    fn apply_frame(
        &mut self,
        log: &mut Log,
        visitor: &mut dyn RecoveryVisitor,
        lsn: u64,
        entry: &DirectoryEntry,
    ) {
        let meta = &entry.meta;
        self.max_timestamp = self.max_timestamp.max(meta.max_timestamp);
        if lsn < self.meta.lsn || log.slots.get(meta.replica).is_none() {
            return;
        }
        log.slots
            .begin_epoch(meta.replica, meta.leader_epoch.0, meta.base_offset.0);
        if let Some(slot) = log.slots.change(meta.replica) {
            slot.log_end = slot.log_end.max(meta.last_offset.0 + 1);
        }
        self.report.frames_replayed += 1;
        visitor.frame(meta);
    }

    /// A durable frame whose bytes are bad: its offsets were given out, and answer `Damaged` from now on.
    fn apply_unsound(
        &mut self,
        log: &mut Log,
        visitor: &mut dyn RecoveryVisitor,
        file: u32,
        position: u64,
        lsn: u64,
        entry: &DirectoryEntry,
    ) {
        let meta = &entry.meta;
        if entry.is_control() {
            return;
        }
        let Some(slot) = log.slots.get(meta.replica) else {
            return;
        };
        let past = lsn < self.meta.lsn;
        if past && (meta.last_offset.0 < slot.log_start || meta.base_offset.0 >= slot.log_end) {
            return;
        }
        if past
            && !log.slots.extents(meta.replica).any(|extent| {
                extent.segment == file
                    && extent.base <= meta.base_offset.0
                    && meta.last_offset.0 < extent.end
            })
            && lsn < self.meta.issued_lsn
        {
            return;
        }
        self.apply_frame(log, visitor, lsn, entry);
        let range = DamagedRange {
            first: meta.base_offset,
            last: meta.last_offset,
        };
        self.name_damage(
            log,
            meta.replica,
            range,
            file,
            position + u64::from(entry.position),
            u64::from(entry.payload_bytes),
        );
    }

    fn name_damage(
        &mut self,
        log: &mut Log,
        replica: ReplicaId,
        range: DamagedRange,
        file: u32,
        position: u64,
        bytes: u64,
    ) {
        if log.damage.insert((replica, range.first.0), range.last.0) == Some(range.last.0) {
            return;
        }
        log.slots.change(replica);
        let file = FileName::Segment(file);
        self.report.damage.push(Damage {
            replica: Some(replica),
            range,
            file,
            position,
            bytes,
        });
    }

    fn apply_control(
        &mut self,
        log: &mut Log,
        visitor: &mut dyn RecoveryVisitor,
        lsn: u64,
        control: Control,
    ) {
        let after = lsn >= self.meta.lsn;
        match control {
            Control::Create { replica, create } if after && log.slots.get(replica).is_none() => {
                log.apply_create(replica, &create);
            }
            Control::Truncate { replica, to } => {
                if lsn >= self.meta.issued_lsn {
                    log.truncate_extents(replica, to.0);
                } else {
                    for open in log.open.values_mut() {
                        open.truncate(replica, to.0);
                    }
                }
                if after {
                    log.apply_truncate(replica, to.0);
                    visitor.truncated(replica, to);
                }
            }
            Control::LogStart { replica, to } => {
                if after {
                    log.apply_log_start(replica, to.0);
                } else if lsn >= self.meta.issued_lsn {
                    log.drop_below(replica, to.0);
                }
            }
            Control::Delete { replica } if after => {
                log.apply_delete(replica);
                visitor.deleted(replica);
            }
            Control::SegmentEdit { segment, moved } if lsn >= self.meta.issued_lsn => {
                log.apply_edit(&segment, &moved)
            }
            Control::BrokerEpoch { epoch } if after => log.broker_epoch = epoch,
            _ => {}
        }
    }

    /// Sealed segments whose files are gone: every extent in them is lost. The slots are walked only then.
    fn name_the_vanished(
        &mut self,
        disk: &mut dyn Disk,
        log: &mut Log,
    ) -> Result<(), RecoveryError> {
        let present = disk
            .list()
            .map_err(|failure| RecoveryError::Io(FileName::Superblock, failure))?;
        let sealed = log
            .segments
            .iter()
            .filter(|(_, segment)| segment.state == SegmentState::Sealed && segment.extents > 0);
        let gone: Vec<u32> = sealed
            .map(|(file, _)| file)
            .filter(|file| !present.contains(&FileName::Segment(*file)))
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let replicas: Vec<ReplicaId> = log.slots.iter().map(|(replica, _)| replica).collect();
        for replica in replicas {
            let extents: Vec<_> = log
                .slots
                .extents(replica)
                .filter(|extent| gone.contains(&extent.segment))
                .collect();
            for extent in extents {
                let range = DamagedRange {
                    first: Offset(extent.base),
                    last: Offset(extent.end - 1),
                };
                self.name_damage(
                    log,
                    replica,
                    range,
                    extent.segment,
                    0,
                    u64::from(extent.bytes),
                );
            }
        }
        Ok(())
    }

    /// Where even the identities are gone, offsets of known extents that no frame covers name the victims.
    fn name_the_missing(&mut self, log: &mut Log) {
        let suspect = std::mem::take(&mut self.suspect);
        if suspect.is_empty() {
            return;
        }
        let replicas: Vec<ReplicaId> = log.slots.iter().map(|(replica, _)| replica).collect();
        for replica in replicas {
            let extents: Vec<_> = log
                .slots
                .extents(replica)
                .filter(|extent| suspect.contains(&extent.segment))
                .collect();
            for extent in extents {
                let mut next = extent.base;
                let mut missing = Vec::new();
                if let Some(open) = log.open.get(&extent.segment) {
                    for frame in open
                        .frames(replica)
                        .iter()
                        .filter(|frame| frame.last >= extent.base && frame.last < extent.end)
                    {
                        if frame.base > next {
                            missing.push((next, frame.base - 1));
                        }
                        next = next.max(frame.last + 1);
                    }
                }
                if next < extent.end {
                    missing.push((next, extent.end - 1));
                }
                for (first, last) in missing {
                    if log
                        .damaged_at(replica, first)
                        .is_none_or(|known| known.last.0 < last)
                    {
                        let range = DamagedRange {
                            first: Offset(first),
                            last: Offset(last),
                        };
                        self.name_damage(
                            log,
                            replica,
                            range,
                            extent.segment,
                            BLOCK_BYTES as u64,
                            u64::from(extent.bytes),
                        );
                    }
                }
            }
        }
    }
}

/// The highest durable LSN that a valid header names.
fn proven(scanned: &[Scanned]) -> u64 {
    let headers = scanned
        .iter()
        .flat_map(|segment| &segment.stretches)
        .filter_map(|stretch| match stretch {
            Stretch::Write { header, .. } => Some(header.durable_lsn),
            Stretch::Gap { .. } => None,
        });
    headers.max().unwrap_or(0)
}

/// Where an LSN lies in a segment whose first is `base`, or the end of the segment nearer to it.
fn place(base: u64, lsn: u64, segment_bytes: u64) -> u64 {
    (lsn + BLOCK_BYTES as u64)
        .saturating_sub(base)
        .clamp(BLOCK_BYTES as u64, segment_bytes)
}

/// What a segment holds past the first LSN of the next one is void: a write that failed, or a tail that an earlier recovery cut. And it must
/// reach that far: where it does not, something is missing at its end.
fn bound_by_successors(scanned: &mut [Scanned], durable_lsn: u64, segment_bytes: u64) {
    let mut next: Option<u64> = None;
    for segment in scanned.iter_mut().rev() {
        let bound = segment.full_at.or(next);
        let Some(base) = segment.base_lsn else {
            continue;
        };
        let place = |lsn: u64| place(base, lsn, segment_bytes);
        if let Some(bound) = bound {
            segment
                .stretches
                .retain(|stretch| stretch.position() < place(bound));
            if let Some(Stretch::Gap { to, .. }) = segment.stretches.last_mut() {
                *to = (*to).min(place(bound));
            }
        }
        let end = segment
            .stretches
            .last()
            .map_or(BLOCK_BYTES as u64, Stretch::end);
        let reach = place(bound.unwrap_or(durable_lsn));
        if end < reach {
            segment.stretches.push(Stretch::Gap {
                from: end,
                to: reach,
            });
        }
        next = Some(next.map_or(base, |next| next.min(base)));
    }
}

/// Finds the writes of a segment, and where there should be one and is none.
fn scan(file: u32, nonce: u64, base_lsn: Option<u64>, bytes: &[u8]) -> Scanned {
    let mut scanned = Scanned {
        file,
        nonce,
        base_lsn,
        full_at: None,
        stretches: Vec::new(),
    };
    let mut position = BLOCK_BYTES;
    let mut gap_from = None;
    while position + WRITE_HEADER_BYTES <= bytes.len() {
        let header =
            WriteHeader::decode(nonce, position as u64, &bytes[position..]).filter(|header| {
                let base = header
                    .start_lsn
                    .checked_sub((position - BLOCK_BYTES) as u64);
                position + header.length as usize <= bytes.len()
                    && base.is_some_and(|base| scanned.base_lsn.is_none_or(|known| known == base))
            });
        let Some(header) = header else {
            gap_from.get_or_insert(position as u64);
            position += BLOCK_BYTES;
            continue;
        };
        if let Some(from) = gap_from.take() {
            scanned.stretches.push(Stretch::Gap {
                from,
                to: position as u64,
            });
        }
        scanned.base_lsn = Some(header.start_lsn - (position - BLOCK_BYTES) as u64);
        scanned.stretches.push(Stretch::Write {
            position: position as u64,
            header,
        });
        position += header.length as usize;
    }
    scanned
}
