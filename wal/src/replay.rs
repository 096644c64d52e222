//! Replay: the log after the checkpoint, write by write. Tells a torn tail (cut) from damage (reported, and answered as such): bad bytes
//! below the highest durable LSN that any valid later header names are damage. `chain.rs` reads, `salvage.rs` says whose.
//!
//! Three ranges of LSN: below the checkpoint's issued LSN only the open indexes of unsealed segments are rebuilt; from there to its LSN
//! extents are attached too; past it everything happens as it did, and the visitor is told.

use crate::chain::{
    Link, PIECE_BYTES, SMALL_PIECE_BYTES, Stretch, Window, bound_by_successors, links,
};
use crate::checkpoint_file::Meta;
use crate::control::Control;
use crate::footer::IndexPage;
use crate::index_file::read_page;
use crate::io::{BLOCK_BYTES, Disk, FileName};
use crate::layers::Missing;
use crate::layout::{
    DirectoryEntry, FRAME_HEADER_BYTES, decode_directory, directory_bytes, directory_crc,
};
use crate::log::Log;
use crate::open_index::OpenIndex;
use crate::report::{Damage, RecoveryError, RecoveryReport, RecoveryVisitor};
use crate::salvage::{Salvaged, salvage, whole_write};
use crate::segments::{Segment, SegmentState};
use crate::slot::Extent;
use crate::types::{DamagedRange, Offset, ReplicaId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A longer write of which only the identities are needed is not read whole.
const READ_WHOLE_BYTES: u32 = 256 << 10;

/// The state of one recovery's replay.
pub(crate) struct Replay {
    meta: Meta,
    pub report: RecoveryReport,
    /// Where the log goes on.
    pub end_lsn: u64,
    pub max_timestamp: i64,
    /// Segments whose bytes must be made durable.
    pub files: Vec<u32>,
    /// The last segments, when nothing in them was ever needed: the log goes on from where they begin, and they are free.
    pub empty: Vec<u32>,
    /// Everything below it was durable: the highest of what headers and the checkpoint say.
    durable_lsn: u64,
    /// How long the write behind the last valid one may be.
    next_bytes_max: u64,
    /// Segments with frames that even their headers do not name any more.
    suspect: Vec<u32>,
    /// The segment at hand was opened by an earlier recovery: it begins with a Cut record.
    opened_by_recovery: bool,
    /// Something else was found in it.
    content: bool,
}

impl Replay {
    pub(crate) fn new(meta: Meta, log: &Log) -> Self {
        Self {
            meta,
            report: RecoveryReport::default(),
            end_lsn: meta.lsn,
            max_timestamp: -1,
            files: Vec::new(),
            empty: Vec::new(),
            durable_lsn: meta.lsn,
            next_bytes_max: log.next_bytes_max(1),
            suspect: Vec::new(),
            opened_by_recovery: false,
            content: false,
        }
    }

    pub(crate) fn run(
        &mut self,
        disk: &mut dyn Disk,
        log: &mut Log,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<(), RecoveryError> {
        let mut window = Window::new(log.segment_bytes);
        let mut links = links(disk, log, self.meta.active_sequence)?;
        let looked_for = self.next_bytes_max;
        for link in &mut links {
            self.find_first(disk, &mut window, link)?;
        }
        bound_by_successors(&mut links);
        let total = self.bytes_at_most(&links, log.segment_bytes);
        let mut expected = None;
        let mut cut = false;
        for link in &mut links {
            // By now it is known how long its first write may be.
            if link.first_lsn.is_none() && self.next_bytes_max > looked_for {
                self.find_first(disk, &mut window, link)?;
            }
            if link.is_void() {
                continue;
            }
            self.adopt(log, link);
            self.check_continuity(link, expected);
            self.content = link.known;
            self.opened_by_recovery = false;
            if !cut {
                cut = self.replay_segment(disk, log, visitor, &mut window, (link, total))?;
            }
            self.note_content(link);
            expected = log
                .segments
                .get(link.header.file)
                .map(|found| found.end_lsn)
                .filter(|end| *end > 0)
                .or(expected);
        }
        self.report.bytes_read = window.bytes_read;
        self.go_on_before_the_empty(log, &links);
        self.end_lsn = self.end_lsn.max(self.meta.lsn);
        self.name_the_missing(disk, log);
        self.name_the_vanished(disk, log)?;
        log.metadata_offset_max = log.metadata_offset_max.max(self.meta.metadata_offset_max);
        self.report.metadata_offset_max = log.metadata_offset_max;
        Ok(())
    }

    /// Everything was in the checkpoint: the log was not written to since.
    pub(crate) fn found_nothing(&self) -> bool {
        self.files.is_empty() && self.empty.is_empty() && self.report.damage.is_empty()
    }

    /// Where a segment begins that the checkpoint does not know: its first write says so, or, where that is damaged, a later one.
    fn find_first(
        &mut self,
        disk: &mut dyn Disk,
        window: &mut Window,
        link: &mut Link,
    ) -> Result<(), RecoveryError> {
        if link.first_lsn.is_some() {
            return Ok(());
        }
        let from = BLOCK_BYTES as u64;
        let found = match window.first_header(disk, link)? {
            Some(header) => Some((from, header)),
            None => window.probe(disk, link, from, u64::MAX, self.next_bytes_max)?,
        };
        if let Some((position, header)) = found {
            link.first_lsn = Some(header.start_lsn - (position - from));
            self.durable_lsn = self.durable_lsn.max(header.durable_lsn);
        }
        Ok(())
    }

    /// Bytes of log past the checkpoint, the last segment taken for full.
    fn bytes_at_most(&self, links: &[Link], segment_bytes: u64) -> u64 {
        let bytes = links.iter().filter(|link| !link.is_void()).map(|link| {
            let first = link.first_lsn.unwrap_or(0).max(self.meta.lsn);
            link.bound
                .map_or(segment_bytes, |bound| bound.saturating_sub(first))
        });
        bytes.sum()
    }

    /// Notes a segment that holds nothing but what an earlier recovery wrote there.
    fn note_content(&mut self, link: &Link) {
        let after = link.first_lsn.is_some_and(|first| first >= self.meta.lsn);
        if self.opened_by_recovery && !self.content && after {
            self.empty.push(link.header.file);
        } else {
            self.empty.clear();
        }
    }

    /// A node that is killed again and again before it did anything must not use up a segment each time: what holds only the record of an
    /// earlier recovery is void once the log goes on, elsewhere, from where it begins.
    fn go_on_before_the_empty(&mut self, log: &mut Log, links: &[Link]) {
        for file in self.empty.iter().rev() {
            let link = links.iter().find(|link| link.header.file == *file);
            if let Some(first) = link.and_then(|link| link.first_lsn) {
                self.end_lsn = first;
            }
            log.open.remove(file);
            log.sealing.retain(|sealing| sealing.file != *file);
            self.files.retain(|known| known != file);
            log.segments.remove(*file);
        }
    }

    /// What lies at `position` of a segment, or `None` where the log ends.
    fn next_stretch(
        &mut self,
        disk: &mut dyn Disk,
        window: &mut Window,
        link: &Link,
        position: u64,
        segment_bytes: u64,
    ) -> Result<Option<Stretch>, RecoveryError> {
        let end = link
            .bound
            .map_or(segment_bytes, |bound| link.place(bound, segment_bytes));
        if position >= end {
            return Ok(None);
        }
        if let Some(header) = window.header(disk, link, position)? {
            return Ok(Some(Stretch::Write { position, header }));
        }
        let from = position + BLOCK_BYTES as u64;
        let to = match window.probe(disk, link, from, end, self.next_bytes_max)? {
            Some((found, header)) => {
                self.durable_lsn = self.durable_lsn.max(header.durable_lsn);
                found
            }
            None => link.place(link.bound.unwrap_or(self.durable_lsn), segment_bytes),
        };
        let gap = Stretch::Gap { from: position, to };
        Ok((position < to).then_some(gap))
    }

    /// Whether bad bytes at `lsn` that end at `end` are damage: something behind them says that they were durable.
    fn is_damage(
        &mut self,
        disk: &mut dyn Disk,
        window: &mut Window,
        link: &Link,
        lsn: u64,
        end: u64,
    ) -> Result<bool, RecoveryError> {
        let mut from = end;
        while lsn >= self.durable_lsn {
            let reach_bytes = self.next_bytes_max;
            let Some((position, header)) = window.probe(disk, link, from, u64::MAX, reach_bytes)?
            else {
                return Ok(false);
            };
            self.durable_lsn = self.durable_lsn.max(header.durable_lsn);
            from = position + u64::from(header.length);
        }
        Ok(true)
    }

    fn adopt(&mut self, log: &mut Log, link: &Link) {
        let header = &link.header;
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
        segment.first_lsn = link.first_lsn.unwrap_or(segment.first_lsn);
        segment.end_lsn = segment.first_lsn;
        segment.data_end = BLOCK_BYTES as u32;
        self.files.push(header.file);
        let hash_seed = log.entropy.next();
        log.open.insert(header.file, OpenIndex::new(hash_seed));
        log.begin_sealing(header.file);
    }

    /// A segment must begin where the one before it ended; past the checkpoint's issued LSN a hole is lost log.
    fn check_continuity(&mut self, link: &Link, expected: Option<u64>) {
        if let (Some(first), Some(expected)) = (link.first_lsn, expected)
            && first > expected
            && expected >= self.meta.issued_lsn
        {
            self.lost(link.header.file, BLOCK_BYTES as u64, first - expected);
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
        disk: &mut dyn Disk,
        log: &mut Log,
        visitor: &mut dyn RecoveryVisitor,
        window: &mut Window,
        (link, total): (&Link, u64),
    ) -> Result<bool, RecoveryError> {
        let (file, segment_bytes) = (link.header.file, log.segment_bytes);
        let mut position = BLOCK_BYTES as u64;
        window.piece_bytes = SMALL_PIECE_BYTES;
        while let Some(stretch) = self.next_stretch(disk, window, link, position, segment_bytes)? {
            let end = stretch.end();
            let Some(lsn) = link.lsn_at(position) else {
                return Ok(false);
            };
            let length = (end - position) as usize;
            let frames = self.sound_frames(disk, window, link, &stretch, lsn)?;
            if let Some(frames) = frames {
                // Of a write that was not read whole no control record is needed.
                let held = if frames.iter().any(|frame| frame.entry.is_control()) {
                    window.bytes(disk, file, position, length)?
                } else {
                    &[]
                };
                self.apply_write(log, visitor, (file, position, lsn), &frames, held);
            } else if self.is_damage(disk, window, link, lsn, end)? {
                self.content = true;
                let bytes = window.bytes(disk, file, position, length)?;
                self.apply_damaged(log, visitor, link, &stretch, lsn, bytes);
            } else {
                self.report.bytes_cut += end - position;
                return Ok(true);
            }
            let found = log.segments.at(file);
            found.data_end = end as u32;
            found.end_lsn = lsn + (end - position);
            self.end_lsn = self.end_lsn.max(found.end_lsn);
            if lsn >= self.meta.lsn {
                self.report.bytes_replayed += end - position;
            }
            if let Stretch::Write { header, .. } = &stretch {
                log.write_number = log.write_number.max(header.write_number + 1);
                self.durable_lsn = self.durable_lsn.max(header.durable_lsn);
                self.next_bytes_max = log.next_bytes_max(header.next_bytes_max);
            }
            visitor.progress(self.report.bytes_replayed.min(total), total);
            if lsn >= self.meta.issued_lsn {
                window.piece_bytes = PIECE_BYTES;
            }
            position = end;
        }
        Ok(false)
    }

    /// The frames of a write in which every byte that is needed holds. Below the checkpoint's issued LSN only the open index is rebuilt,
    /// for which the directory of a long write is enough: a flipped bit in its payloads is found when they are read, or by the scrub.
    fn sound_frames(
        &mut self,
        disk: &mut dyn Disk,
        window: &mut Window,
        link: &Link,
        stretch: &Stretch,
        lsn: u64,
    ) -> Result<Option<Vec<Salvaged>>, RecoveryError> {
        let Stretch::Write { position, header } = stretch else {
            return Ok(None);
        };
        let (file, nonce) = (link.header.file, link.header.nonce);
        let end = stretch.end();
        let sound = |entries: Vec<DirectoryEntry>| {
            let frames = entries.into_iter();
            frames
                .map(|entry| Salvaged { entry, sound: true })
                .collect()
        };
        if header.length > READ_WHOLE_BYTES
            && lsn + u64::from(header.length) <= self.meta.issued_lsn
        {
            let bytes = directory_bytes(header.frames as usize).unwrap_or(usize::MAX);
            let length = bytes.min(header.length as usize);
            let held = window.bytes(disk, file, end - length as u64, length)?;
            let entries = decode_directory(nonce, end, held).filter(|entries| {
                entries.len() == header.frames as usize
                    && directory_crc(held) == header.directory_crc
                    && !entries.iter().any(DirectoryEntry::is_control)
            });
            if let Some(entries) = entries {
                return Ok(Some(sound(entries)));
            }
        }
        let held = window.bytes(disk, file, *position, header.length as usize)?;
        Ok(whole_write(nonce, *position, header, held).map(sound))
    }

    fn apply_damaged(
        &mut self,
        log: &mut Log,
        visitor: &mut dyn RecoveryVisitor,
        link: &Link,
        stretch: &Stretch,
        lsn: u64,
        bytes: &[u8],
    ) {
        let (position, end) = (stretch.position(), stretch.end());
        let (file, nonce) = (link.header.file, link.header.nonce);
        let header = match stretch {
            Stretch::Write { header, .. } => Some(header),
            Stretch::Gap { .. } => None,
        };
        let (salvaged, complete) = salvage(nonce, position, header, bytes);
        self.apply_write(log, visitor, (file, position, lsn), &salvaged, bytes);
        let control_lost = salvaged
            .iter()
            .any(|frame| frame.entry.is_control() && !frame.sound);
        if !complete || (control_lost && lsn >= self.meta.lsn) {
            self.suspect.push(file);
            if lsn + (end - position) > self.meta.issued_lsn {
                self.lost(file, position, end - position);
            }
        }
    }

    /// `bytes`: of the whole write, or none where no frame is a control frame.
    fn apply_write(
        &mut self,
        log: &mut Log,
        visitor: &mut dyn RecoveryVisitor,
        (file, position, lsn): (u32, u64, u64),
        frames: &[Salvaged],
        bytes: &[u8],
    ) {
        for frame in frames {
            let entry = &frame.entry;
            if !frame.sound {
                self.apply_unsound(log, visitor, file, position, lsn, entry);
            } else if entry.is_control() {
                let from = entry.position as usize + FRAME_HEADER_BYTES;
                let payload = &bytes[from..from + entry.payload_bytes as usize];
                for control in Control::decode_all(payload).unwrap_or_default() {
                    let is_cut = matches!(control, Control::Cut { .. });
                    self.opened_by_recovery |= is_cut;
                    self.content |= !is_cut;
                    self.apply_control(log, visitor, lsn, control);
                }
            } else {
                self.content = true;
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
            && !log.slots.upper_extents(meta.replica).any(|extent| {
                extent.segment == file
                    && extent.base <= meta.base_offset.0
                    && meta.last_offset.0 < extent.end
            })
            && !log.slots.layers.may_lie_below(meta.replica)
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

    /// Segments whose files are gone: every extent in them is lost. The slots are walked only then.
    fn name_the_vanished(
        &mut self,
        disk: &mut dyn Disk,
        log: &mut Log,
    ) -> Result<(), RecoveryError> {
        let present = disk
            .list()
            .map_err(|failure| RecoveryError::Io(FileName::Superblock, failure))?;
        let present: BTreeSet<FileName> = present.into_iter().collect();
        let gone: Vec<u32> = log
            .segments
            .iter()
            .map(|(file, _)| file)
            .filter(|file| !present.contains(&FileName::Segment(*file)))
            .collect();
        for file in &gone {
            // One that was never sealed gets no footer any more.
            log.segments.set_state(*file, SegmentState::Sealed);
            log.open.remove(file);
            log.sealing.retain(|sealing| sealing.file != *file);
            self.files.retain(|known| known != file);
            if log.segments.at(*file).extents() == 0 {
                log.segments.remove(*file);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        for (replica, extent) in self.extents_in(disk, log, &gone) {
            let range = DamagedRange {
                first: Offset(extent.base),
                last: Offset(extent.end - 1),
            };
            let bytes = u64::from(extent.bytes);
            self.name_damage(log, replica, range, extent.segment, 0, bytes);
        }
        Ok(())
    }

    /// Extents that lie in these segments: a walk over all, with every page of the base, which only a loss calls for.
    fn extents_in(
        &mut self,
        disk: &mut dyn Disk,
        log: &Log,
        files: &[u32],
    ) -> Vec<(ReplicaId, Extent)> {
        let mut found = Vec::new();
        let mut last: Option<(Missing, Arc<IndexPage>)> = None;
        let base = &log.slots.layers.base;
        let mut source = |missing: Missing| {
            if last.as_ref().is_none_or(|(known, _)| *known != missing) {
                let page = read_page(disk, base, missing);
                // A page that is lost too leads to nothing that could be named.
                last = Some((missing, Arc::new(page.unwrap_or_default())));
            }
            last.as_ref().map(|(_, page)| Arc::clone(page))
        };
        for (replica, _) in log.slots.iter() {
            let all = log
                .slots
                .extents_from(replica, i64::MIN, usize::MAX, &mut source);
            let here = all.unwrap_or_default().into_iter();
            let here = here.filter(|extent| files.contains(&extent.segment));
            found.extend(here.map(|extent| (replica, extent)));
        }
        found
    }

    /// Where even the identities are gone, offsets of known extents that no frame covers name the victims.
    fn name_the_missing(&mut self, disk: &mut dyn Disk, log: &mut Log) {
        let suspect = std::mem::take(&mut self.suspect);
        if suspect.is_empty() {
            return;
        }
        for (replica, extent) in self.extents_in(disk, log, &suspect) {
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
                    let bytes = u64::from(extent.bytes);
                    let position = BLOCK_BYTES as u64;
                    self.name_damage(log, replica, range, extent.segment, position, bytes);
                }
            }
        }
    }
}
