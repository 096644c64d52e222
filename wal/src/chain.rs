//! Which segments hold the log after the checkpoint, and how recovery reads them: forward, in pieces, following write headers. Behind the
//! last valid write it looks on only as far as a write can reach (`Window::probe`), which is enough to tell a torn tail from damage: the
//! header behind a damaged write that was durable lies within that. `replay.rs` applies what is found.

use crate::buffer::AlignedBuffer;
use crate::io::{BLOCK_BYTES, Disk, FileName, IoFailureKind};
use crate::layout::{SegmentHeader, SegmentKind, WRITE_HEADER_BYTES, WriteHeader};
use crate::log::Log;
use crate::recovery::later_segments;
use crate::report::RecoveryError;
use crate::segments::SegmentState;

/// A segment is read in pieces of this size, unless one write is longer.
pub(crate) const PIECE_BYTES: usize = 1 << 20;
/// And of this size where long writes need not be read whole.
pub(crate) const SMALL_PIECE_BYTES: usize = 128 << 10;
/// A probe goes this far beyond what the next write may reach: an area of a disk that fails may be larger than the write in it.
const PROBE_SLACK_BYTES: u64 = 2 << 20;

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
    pub(crate) fn position(&self) -> u64 {
        match self {
            Self::Write { position, .. } => *position,
            Self::Gap { from, .. } => *from,
        }
    }

    pub(crate) fn end(&self) -> u64 {
        match self {
            Self::Write { position, header } => position + u64::from(header.length),
            Self::Gap { to, .. } => *to,
        }
    }
}

/// One segment of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub header: SegmentHeader,
    /// LSN at position 4096: the checkpoint's, or what a valid write header says.
    pub first_lsn: Option<u64>,
    /// What lies at or past this LSN is void: the next segment begins there, or this one was full there when the checkpoint was taken.
    /// And it must reach that far: where it does not, something is missing at its end.
    pub bound: Option<u64>,
    /// The checkpoint names it.
    pub known: bool,
}

impl Link {
    pub(crate) fn lsn_at(&self, position: u64) -> Option<u64> {
        Some(self.first_lsn? + (position - BLOCK_BYTES as u64))
    }

    /// Where an LSN lies, or the end of the segment nearer to it.
    pub(crate) fn place(&self, lsn: u64, segment_bytes: u64) -> u64 {
        (lsn + BLOCK_BYTES as u64)
            .saturating_sub(self.first_lsn.unwrap_or(0))
            .clamp(BLOCK_BYTES as u64, segment_bytes)
    }

    /// Nothing of it counts: it was prepared and never written, or the log went on elsewhere from where it begins.
    pub(crate) fn is_void(&self) -> bool {
        let void = |first| self.bound.is_some_and(|bound| bound <= first);
        !self.known && self.first_lsn.is_none_or(void)
    }
}

/// Unsealed segments of the checkpoint in the order of their use, then those used after it.
pub(crate) fn links(
    disk: &mut dyn Disk,
    log: &mut Log,
    active_sequence: u64,
) -> Result<Vec<Link>, RecoveryError> {
    let link = |header| Link {
        header,
        first_lsn: None,
        bound: None,
        known: false,
    };
    let mut links = Vec::new();
    for (file, segment) in log.segments.iter() {
        if segment.state != SegmentState::Sealing {
            continue;
        }
        let written = segment.end_lsn > segment.first_lsn;
        let full = written && segment.sequence < active_sequence;
        let header = SegmentHeader {
            kind: SegmentKind::Log,
            file,
            nonce: segment.nonce,
            sequence: segment.sequence,
            directory_id: log.options.directory_id,
            shard: log.options.shard,
        };
        links.push(Link {
            first_lsn: written.then_some(segment.first_lsn),
            bound: full.then_some(segment.end_lsn),
            known: true,
            ..link(header)
        });
    }
    links.sort_by_key(|link| link.header.sequence);
    for header in later_segments(disk, log, active_sequence)? {
        log.next_sequence = log.next_sequence.max(header.sequence + 1);
        // A rewritten one is adopted by the edit that names it.
        if header.kind == SegmentKind::Log {
            links.push(link(header));
        }
    }
    Ok(links)
}

/// Gives every segment the LSN at which the next one begins, where it has no other bound.
pub(crate) fn bound_by_successors(links: &mut [Link]) {
    let mut next: Option<u64> = None;
    for link in links.iter_mut().rev() {
        let Some(first) = link.first_lsn else {
            continue;
        };
        link.bound = link.bound.or(next);
        next = Some(next.map_or(first, |next| next.min(first)));
    }
}

/// A part of one segment in memory.
pub(crate) struct Window {
    buffer: AlignedBuffer,
    file: u32,
    start: u64,
    end: u64,
    segment_bytes: u64,
    /// Read ahead at least this much.
    pub piece_bytes: usize,
    /// Read from the disk so far.
    pub bytes_read: u64,
    unreadable_bytes: u64,
}

impl Window {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        Self {
            buffer: AlignedBuffer::new(PIECE_BYTES.min(segment_bytes as usize)),
            file: u32::MAX,
            start: 0,
            end: 0,
            segment_bytes,
            piece_bytes: PIECE_BYTES,
            bytes_read: 0,
            unreadable_bytes: 0,
        }
    }

    /// `length` bytes at `position`, which must lie within the segment. Blocks that cannot be read are zeroes, which no check passes.
    ///
    /// # Errors
    /// When the file may not be read at all.
    pub(crate) fn bytes(
        &mut self,
        disk: &mut dyn Disk,
        file: u32,
        position: u64,
        length: usize,
    ) -> Result<&[u8], RecoveryError> {
        assert!(position + length as u64 <= self.segment_bytes);
        let inside =
            self.file == file && position >= self.start && position + length as u64 <= self.end;
        if !inside {
            self.load(disk, file, position, length)?;
        }
        let from = (position - self.start) as usize;
        Ok(&self.buffer[from..from + length])
    }

    fn load(
        &mut self,
        disk: &mut dyn Disk,
        file: u32,
        position: u64,
        length: usize,
    ) -> Result<(), RecoveryError> {
        let block = BLOCK_BYTES as u64;
        let from = position / block * block;
        let needed = (position - from) as usize + length;
        let wanted = needed.next_multiple_of(BLOCK_BYTES).max(self.piece_bytes);
        let wanted = wanted.min((self.segment_bytes - from) as usize);
        let kept = if self.file == file && from >= self.start && from < self.end {
            self.end - from
        } else {
            0
        };
        let old = (from.saturating_sub(self.start)) as usize;
        if wanted > self.buffer.len() {
            let mut larger = AlignedBuffer::new(wanted);
            larger[..kept as usize].copy_from_slice(&self.buffer[old..old + kept as usize]);
            self.buffer = larger;
        } else if kept > 0 {
            self.buffer.copy_within(old..old + kept as usize, 0);
        }
        (self.file, self.start) = (file, from);
        self.end = from + wanted as u64;
        self.read(disk, from + kept, kept as usize, wanted)
    }

    fn read(
        &mut self,
        disk: &mut dyn Disk,
        position: u64,
        from: usize,
        to: usize,
    ) -> Result<(), RecoveryError> {
        let name = FileName::Segment(self.file);
        let piece = &mut self.buffer[from..to];
        self.bytes_read += piece.len() as u64;
        let Err(failure) = disk.read_at(name, position, piece) else {
            return Ok(());
        };
        if failure.kind == IoFailureKind::Denied {
            return Err(RecoveryError::Io(name, failure));
        }
        for (index, bytes) in piece.chunks_mut(BLOCK_BYTES).enumerate() {
            let at = position + (index * BLOCK_BYTES) as u64;
            if disk.read_at(name, at, bytes).is_err() {
                bytes.fill(0);
                self.unreadable_bytes += BLOCK_BYTES as u64;
            }
        }
        Ok(())
    }

    /// The write header at `position`, if a valid one of this use of the segment lies there, and agrees with where others say it begins.
    pub(crate) fn header(
        &mut self,
        disk: &mut dyn Disk,
        link: &Link,
        position: u64,
    ) -> Result<Option<WriteHeader>, RecoveryError> {
        if position + BLOCK_BYTES as u64 > self.segment_bytes {
            return Ok(None);
        }
        let (nonce, segment_bytes) = (link.header.nonce, self.segment_bytes);
        let bytes = self.bytes(disk, link.header.file, position, WRITE_HEADER_BYTES)?;
        let header = WriteHeader::decode(nonce, position, bytes).filter(|header| {
            let first = header.start_lsn.checked_sub(position - BLOCK_BYTES as u64);
            position + u64::from(header.length) <= segment_bytes
                && first.is_some_and(|first| link.first_lsn.is_none_or(|known| known == first))
        });
        Ok(header)
    }

    /// The first write's header, with no byte read behind it.
    pub(crate) fn first_header(
        &mut self,
        disk: &mut dyn Disk,
        link: &Link,
    ) -> Result<Option<WriteHeader>, RecoveryError> {
        let ahead = std::mem::replace(&mut self.piece_bytes, BLOCK_BYTES);
        let header = self.header(disk, link, BLOCK_BYTES as u64);
        self.piece_bytes = ahead;
        header
    }

    /// The first valid write header at or past `from` and below `end`, as far as the write that should begin at `from` can reach:
    /// `reach_bytes`. Past that only unread blocks are passed over: behind what a disk cannot read there may be more.
    pub(crate) fn probe(
        &mut self,
        disk: &mut dyn Disk,
        link: &Link,
        from: u64,
        end: u64,
        reach_bytes: u64,
    ) -> Result<Option<(u64, WriteHeader)>, RecoveryError> {
        let unreadable_before = self.unreadable_bytes;
        let mut position = from;
        loop {
            let passed_over = self.unreadable_bytes - unreadable_before;
            let limit = from
                .saturating_add(reach_bytes)
                .saturating_add(PROBE_SLACK_BYTES)
                .saturating_add(passed_over);
            if position > limit || position >= end {
                return Ok(None);
            }
            if let Some(header) = self.header(disk, link, position)? {
                return Ok(Some((position, header)));
            }
            position += BLOCK_BYTES as u64;
        }
    }
}
