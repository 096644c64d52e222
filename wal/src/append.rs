//! Append and group commit: batches are copied once into the write being filled; one write is in flight, the next fills meanwhile.
//! Also the seal block after quiet, the second try of a failed write, and the time limits of a write.

use crate::buffer::AlignedBuffer;
use crate::checksum::{combine, plain};
use crate::control::Control;
use crate::footer::{IndexEntry, footer_bytes_max};
use crate::io::{BLOCK_BYTES, FileName, IoClass, IoFailure, IoResult, OfflineReason, Output};
use crate::layout::{
    CONTROL_REPLICA, DirectoryEntry, FRAME_HEADER_BYTES, FrameHeader, WRITE_HEADER_BYTES,
    WriteHeader, directory_bytes, encode_directory, frame_bytes, seal_frame, set_frame_payload,
};
use crate::log::{Log, Purpose, expect_done};
use crate::slot::{Extent, Slot, Tallies};
use crate::types::{AppendRefusal, FrameMeta, LeaderEpoch, Lsn, Now, Offset, ReplicaId};
use bytes::Bytes;

/// Below this a body's CRC is computed rather than combined: it is cheaper.
const COMBINE_BYTES_MIN: usize = 4096;
/// A control frame is closed when it holds this much.
const CONTROL_PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// A chunk's rest smaller than this is given up for a new chunk.
const BUFFER_REST_BYTES_MIN: usize = 128 << 10;

/// A write that is being filled, or waits for its turn.
#[derive(Debug)]
pub(crate) struct Filling {
    pub buffer: AlignedBuffer,
    pub used: usize,
    pub entries: Vec<DirectoryEntry>,
    /// Entries that a truncation or deletion after them made void: written, but never indexed.
    pub void: Vec<usize>,
    /// Where the control frame begins that may still grow: it is the last frame.
    control: Option<usize>,
    pub start_lsn: u64,
    /// Set when it is closed.
    pub length: usize,
    /// The write behind it is this long, and longer than a write may be without being announced; else 0.
    pub announces: usize,
}

/// The write on its way to the disk.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub file: u32,
    pub position: u64,
    pub start_lsn: u64,
    pub end_lsn: u64,
    pub buffer: Bytes,
    pub entries: Vec<DirectoryEntry>,
    pub void: Vec<usize>,
    announces: usize,
    issued_us: u64,
    durable_in_header: u64,
    retried: bool,
    /// A failed write that waits for a fresh segment.
    parked: Option<IoFailure>,
    stalled: bool,
}

impl InFlight {
    /// When it went out.
    pub(crate) fn issued_us(&self) -> u64 {
        self.issued_us
    }
}

impl Log {
    /// The largest payload a frame may have here: `min(100 MiB, half a segment)` less its headers.
    #[must_use]
    pub fn payload_bytes_max(&self) -> usize {
        self.write_bytes_limit() - WRITE_HEADER_BYTES - FRAME_HEADER_BYTES - 2 * BLOCK_BYTES
    }

    fn write_bytes_limit(&self) -> usize {
        (self.segment_bytes / 2).min(100 << 20) as usize
    }

    /// A longer write is announced by the header before it. Recovery must look behind bad bytes for as far as a write may reach, and
    /// would else have to look half a segment far at every start.
    fn unannounced_bytes_max(&self) -> usize {
        (2 * self.options.write_bytes_max).min(self.write_bytes_limit())
    }

    /// How long a write may be behind a header that says `said`.
    pub(crate) fn next_bytes_max(&self, said: u32) -> u64 {
        let known = if said == 0 {
            self.write_bytes_limit() as u64
        } else {
            u64::from(said)
        };
        known.max(self.unannounced_bytes_max() as u64)
    }

    /// Why nothing is taken at all, if so.
    pub(crate) fn refusal(&self) -> Result<(), AppendRefusal> {
        if self.offline.is_some() {
            Err(AppendRefusal::Offline)
        } else if self.shutting_down {
            Err(AppendRefusal::ShuttingDown)
        } else if self.in_flight.as_ref().is_some_and(|write| write.stalled) {
            Err(AppendRefusal::Stalled)
        } else {
            Ok(())
        }
    }

    /// Appends one frame, payload = `head` ++ `body`, copied once. `body_crc32c` is the CRC-32C of `body` when the caller knows it
    /// (the record batch's own), so that no second pass is made over the bytes. The answer is the LSN that `DurableTo` must reach.
    /// A frame can be read once its write is issued; consumers wait for the high watermark anyway.
    ///
    /// # Errors
    /// See `AppendRefusal`; nothing changed.
    pub fn append(
        &mut self,
        now: Now,
        meta: &FrameMeta,
        head: &[u8],
        body: &[u8],
        body_crc32c: Option<u32>,
        out: &mut Vec<Output>,
    ) -> Result<Lsn, AppendRefusal> {
        self.refusal()?;
        let slot = self
            .slots
            .get(meta.replica)
            .ok_or(AppendRefusal::UnknownReplica)?;
        if meta.base_offset.0 < slot.log_end || meta.last_offset < meta.base_offset {
            return Err(AppendRefusal::OutOfOrder {
                log_end: Offset(slot.log_end),
            });
        }
        if meta.last_offset.0 - meta.base_offset.0 > i64::from(i32::MAX)
            || meta.last_offset.0 == i64::MAX
        {
            return Err(AppendRefusal::OutOfRange);
        }
        let payload_bytes = head.len() + body.len();
        let bytes_max = self.payload_bytes_max();
        if payload_bytes > bytes_max {
            return Err(AppendRefusal::TooLarge {
                bytes: payload_bytes,
                bytes_max,
            });
        }
        if self.out_of_space() {
            return Err(match self.space_is_coming(now) {
                true => AppendRefusal::Busy,
                false => AppendRefusal::NoSpace,
            });
        }
        let waiting = self.pending_bytes + self.filling.as_ref().map_or(0, |filling| filling.used);
        if (waiting > 0 && waiting + payload_bytes > self.options.pending_bytes_max)
            || self.upper_extents_are_full()
        {
            return Err(AppendRefusal::Busy);
        }
        let payload_crc = match body_crc32c {
            Some(crc) if body.len() >= COMBINE_BYTES_MIN => combine(plain(head), crc, body.len()),
            _ => crc32c::crc32c_append(plain(head), body),
        };
        let lsn = self.place_frame(meta, head, body, payload_crc);
        self.note_append(meta);
        self.rewriter.pace.appended_us = now.monotonic_us;
        self.statistics.frames_appended += 1;
        self.statistics.bytes_appended += payload_bytes as u64;
        if self.options.commit_on_append {
            self.commit(now, out);
        }
        Ok(lsn)
    }

    fn note_append(&mut self, meta: &FrameMeta) {
        self.slots
            .begin_epoch(meta.replica, meta.leader_epoch.0, meta.base_offset.0);
        if let Some(slot) = self.slots.change(meta.replica) {
            slot.log_end = meta.last_offset.0 + 1;
        }
    }

    fn place_frame(&mut self, meta: &FrameMeta, head: &[u8], body: &[u8], payload_crc: u32) -> Lsn {
        let payload_bytes = head.len() + body.len();
        let room = frame_bytes(payload_bytes);
        let filling = self.room_for(room);
        let start = filling.used;
        let frame = &mut filling.buffer[start..start + room];
        let header = FrameHeader {
            meta: *meta,
            payload_bytes: payload_bytes as u32,
            payload_crc,
        };
        header.encode(frame);
        let body_at = FRAME_HEADER_BYTES + head.len();
        frame[FRAME_HEADER_BYTES..body_at].copy_from_slice(head);
        frame[body_at..body_at + body.len()].copy_from_slice(body);
        frame[body_at + body.len()..].fill(0);
        filling.used += room;
        filling.control = None;
        filling.entries.push(DirectoryEntry {
            meta: *meta,
            position: start as u32,
            payload_bytes: payload_bytes as u32,
        });
        Lsn(filling.start_lsn + filling.used as u64)
    }

    /// Puts a control record into the log. Never refused for want of space or room: control records are what brings space back.
    pub(crate) fn log_control(&mut self, control: &Control) -> Lsn {
        let mut bytes = Vec::with_capacity(64);
        control.encode(&mut bytes);
        let open = self.filling.as_ref().and_then(|filling| filling.control);
        if let Some(start) = open
            && let Some(lsn) = self.grow_control(start, &bytes)
        {
            return lsn;
        }
        let meta = FrameMeta {
            replica: CONTROL_REPLICA,
            base_offset: Offset(0),
            last_offset: Offset(0),
            leader_epoch: LeaderEpoch(-1),
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            flags: 0,
        };
        let lsn = self.place_frame(&meta, &bytes, &[], 0);
        if let Some(filling) = &mut self.filling {
            filling.control = filling.entries.last().map(|entry| entry.position as usize);
        }
        lsn
    }

    fn grow_control(&mut self, start: usize, record: &[u8]) -> Option<Lsn> {
        let write_bytes_max = self.options.write_bytes_max.min(self.write_bytes_limit());
        let filling = self.filling.as_mut()?;
        let entry = filling.entries.last_mut()?;
        let payload_bytes = entry.payload_bytes as usize + record.len();
        let used = start + frame_bytes(payload_bytes);
        let needed = used + directory_bytes(filling.entries.len())?;
        if payload_bytes > CONTROL_PAYLOAD_BYTES_MAX
            || needed > write_bytes_max.min(filling.buffer.len())
        {
            return None;
        }
        let entry = filling.entries.last_mut()?;
        let at = start + FRAME_HEADER_BYTES + entry.payload_bytes as usize;
        filling.buffer[at..at + record.len()].copy_from_slice(record);
        filling.buffer[at + record.len()..used].fill(0);
        entry.payload_bytes = payload_bytes as u32;
        filling.used = used;
        Some(Lsn(filling.start_lsn + used as u64))
    }

    /// The write being filled, with room for `bytes` more; the full one is closed for it.
    fn room_for(&mut self, bytes: usize) -> &mut Filling {
        let write_bytes_max = self.options.write_bytes_max.min(self.write_bytes_limit());
        let full = self.filling.as_ref().is_some_and(|filling| {
            let directory =
                directory_bytes(filling.entries.len() + 1).expect("a write has few frames");
            let needed = filling.used + bytes + directory;
            needed > filling.buffer.len()
                || (!filling.entries.is_empty() && needed > write_bytes_max)
        });
        if full {
            self.close_filling();
        }
        if self.filling.is_none() {
            let directory = directory_bytes(1).expect("one entry");
            let least = (WRITE_HEADER_BYTES + bytes + directory).next_multiple_of(BLOCK_BYTES);
            if least > self.unannounced_bytes_max() {
                self.announce(least);
            }
            let buffer = self.take_buffer(least);
            let filling = Filling {
                buffer,
                used: WRITE_HEADER_BYTES,
                entries: self.entries_spare.pop().unwrap_or_default(),
                void: Vec::new(),
                control: None,
                start_lsn: self.closed_lsn,
                length: 0,
                announces: 0,
            };
            self.filling = Some(filling);
        }
        self.filling.as_mut().expect("set above")
    }

    /// The next write is longer than usual: the header before it says so, that of a write without frames where none waits.
    fn announce(&mut self, bytes: usize) {
        if self.pending.is_empty() {
            let filling = self.empty_filling();
            self.pending_bytes += filling.length;
            self.pending.push_back(filling);
        }
        if let Some(before) = self.pending.back_mut() {
            before.announces = bytes;
        }
    }

    /// A write of one block without frames.
    fn empty_filling(&mut self) -> Filling {
        let start_lsn = self.closed_lsn;
        self.closed_lsn += BLOCK_BYTES as u64;
        Filling {
            buffer: AlignedBuffer::new(BLOCK_BYTES),
            used: WRITE_HEADER_BYTES,
            entries: Vec::new(),
            void: Vec::new(),
            control: None,
            start_lsn,
            length: BLOCK_BYTES,
            announces: 0,
        }
    }

    fn take_buffer(&mut self, least: usize) -> AlignedBuffer {
        let enough = least.max(BUFFER_REST_BYTES_MIN);
        match self.buffer_rest.take() {
            Some(rest) if rest.len() >= enough => rest,
            _ => self.pool.take(least),
        }
    }

    /// No more goes into the write being filled; its length, and with it the next write's LSN, is fixed.
    pub(crate) fn close_filling(&mut self) {
        let Some(mut filling) = self.filling.take() else {
            return;
        };
        let directory = directory_bytes(filling.entries.len()).expect("a write has few frames");
        filling.length = (filling.used + directory).next_multiple_of(BLOCK_BYTES);
        let front = filling.buffer.split_front(filling.length);
        let rest = std::mem::replace(&mut filling.buffer, front);
        if rest.len() >= BUFFER_REST_BYTES_MIN {
            self.buffer_rest = Some(rest);
        }
        self.closed_lsn = filling.start_lsn + filling.length as u64;
        self.pending_bytes += filling.length;
        self.pending.push_back(filling);
    }

    /// Issues the write that is being filled, when none is in flight. Needed once per turn with `commit_on_append: false`.
    pub fn commit(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.offline.is_some() {
            return;
        }
        if let Some(write) = &self.in_flight {
            if write.parked.is_some() {
                self.retry_write(now, out);
            }
            return;
        }
        if self.gathers(now) {
            return;
        }
        if self.pending.is_empty() {
            if self
                .filling
                .as_ref()
                .is_none_or(|filling| filling.entries.is_empty())
            {
                return;
            }
            self.close_filling();
        }
        let Some(front) = self.pending.front() else {
            return;
        };
        let (length, frames) = (front.length as u64, front.entries.len());
        if !self.make_room(now, length, frames, out) {
            return;
        }
        if let Some(filling) = self.pending.pop_front() {
            self.pending_bytes -= filling.length;
            self.issue(now, filling, out);
        }
    }

    /// Whether the active segment takes a write of this size, after changing to the next one where needed.
    fn make_room(&mut self, now: Now, length: u64, frames: usize, out: &mut Vec<Output>) -> bool {
        let entries = self.open.get(&self.active).map_or(0, |open| open.entries());
        let footer = footer_bytes_max(entries + frames) as u64;
        if self.active_position + length + footer <= self.segment_bytes {
            return true;
        }
        self.next_segment(now, out)
    }

    fn issue(&mut self, now: Now, mut filling: Filling, out: &mut Vec<Output>) {
        let file = self.active;
        let position = self.active_position;
        let nonce = self.segments.at(file).nonce;
        let header = self.finish_write(&mut filling, nonce, position);
        let buffer = filling.buffer.freeze();
        let end_lsn = filling.start_lsn + filling.length as u64;
        self.index_write(file, position, &filling.entries, &filling.void);
        self.note_issued(
            file,
            filling.start_lsn,
            end_lsn,
            position + filling.length as u64,
        );
        if !filling.entries.is_empty() {
            self.tail.push(file, position as u32, buffer.clone());
        }
        self.issued_lsn = end_lsn;
        self.write_number += 1;
        self.statistics.writes += 1;
        self.statistics.bytes_written += filling.length as u64;
        self.in_flight = Some(InFlight {
            file,
            position,
            start_lsn: filling.start_lsn,
            end_lsn,
            buffer: buffer.clone(),
            entries: filling.entries,
            void: filling.void,
            announces: filling.announces,
            issued_us: now.monotonic_us,
            durable_in_header: header.durable_lsn,
            retried: false,
            parked: None,
            stalled: false,
        });
        self.last_commit_us = now.monotonic_us;
        self.write(
            Purpose::Commit,
            FileName::Segment(file),
            position,
            buffer,
            true,
            IoClass::Commit,
            out,
        );
    }

    pub(crate) fn note_issued(
        &mut self,
        file: u32,
        start_lsn: u64,
        end_lsn: u64,
        position_end: u64,
    ) {
        let segment = self.segments.at(file);
        if segment.end_lsn == 0 {
            segment.first_lsn = start_lsn;
        }
        segment.end_lsn = end_lsn;
        segment.data_end = position_end as u32;
        self.active_position = position_end;
    }

    /// Everything that depends on the place: control CRCs, frame header CRCs, directory, header.
    pub(crate) fn finish_write(
        &self,
        filling: &mut Filling,
        nonce: u64,
        position: u64,
    ) -> WriteHeader {
        let next_bytes_max = self.unannounced_bytes_max().max(filling.announces) as u32;
        let write = &mut filling.buffer[..filling.length];
        write[filling.used..].fill(0);
        for entry in &filling.entries {
            let at = entry.position as usize;
            if entry.is_control() {
                set_frame_payload(&mut write[at..], entry.payload_bytes);
            }
            seal_frame(nonce, position + at as u64, &mut write[at..]);
        }
        let header = WriteHeader {
            nonce,
            write_number: self.write_number,
            start_lsn: filling.start_lsn,
            durable_lsn: self.durable_lsn,
            length: filling.length as u32,
            frames: filling.entries.len() as u32,
            frames_end: filling.used as u32,
            directory_crc: encode_directory(nonce, position, &filling.entries, write),
            next_bytes_max,
        };
        header.encode(position, write);
        header
    }

    fn index_write(
        &mut self,
        file: u32,
        position: u64,
        entries: &[DirectoryEntry],
        void: &[usize],
    ) {
        for (index, entry) in entries.iter().enumerate() {
            if entry.is_control() || void.contains(&index) {
                continue;
            }
            self.index_frame(file, position, entry, true);
        }
    }

    /// Enters a frame into the open index of its segment, and its replica's extents.
    pub(crate) fn index_frame(
        &mut self,
        file: u32,
        write_position: u64,
        entry: &DirectoryEntry,
        attach: bool,
    ) {
        let meta = &entry.meta;
        let frame = IndexEntry {
            base: meta.base_offset.0,
            last: meta.last_offset.0,
            max_timestamp: meta.max_timestamp,
            position: (write_position + u64::from(entry.position)) as u32,
            payload_bytes: entry.payload_bytes,
            epoch: meta.leader_epoch.0,
        };
        if let Some(open) = self.open.get_mut(&file) {
            open.add(meta.replica, frame);
        }
        // A log start that moved past it while it waited has dropped it.
        let live = |slot: &Slot| frame.last >= slot.log_start;
        if !attach || !self.slots.get(meta.replica).is_some_and(live) {
            return;
        }
        let bytes = frame_bytes(entry.payload_bytes as usize) as u32;
        let extent = Extent {
            base: frame.base,
            end: frame.last + 1,
            max_timestamp: frame.max_timestamp,
            segment: file,
            bytes,
        };
        let mut tallies = Tallies::new();
        let began = self.slots.attach(meta.replica, extent, &mut tallies);
        self.tally(&tallies);
        if began {
            self.note_new_extent(meta.replica);
        }
    }

    pub(crate) fn commit_done(&mut self, now: Now, result: IoResult, out: &mut Vec<Output>) {
        match expect_done(result) {
            Ok(()) => self.write_durable(now, out),
            Err(failure) => self.write_failed(now, failure, out),
        }
    }

    fn write_durable(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(mut write) = self.in_flight.take() else {
            return;
        };
        assert!(
            write.start_lsn == self.durable_lsn && write.end_lsn == self.issued_lsn,
            "one write in flight, without holes"
        );
        self.durable_lsn = write.end_lsn;
        self.proven_lsn = self.proven_lsn.max(write.durable_in_header);
        if write.entries.is_empty() {
            // A seal: it proves what came before it, and holds nothing that would need proof.
            self.proven_lsn = self.durable_lsn;
        }
        for (index, entry) in write.entries.iter().enumerate() {
            if entry.is_control() || write.void.contains(&index) {
                continue;
            }
            if let Some(slot) = self.slots.change(entry.meta.replica) {
                slot.durable_end = slot
                    .durable_end
                    .max((entry.meta.last_offset.0 + 1).min(slot.log_end));
            }
        }
        self.begin_gathering(now, &write);
        write.entries.clear();
        self.entries_spare.push(write.entries);
        self.last_commit_us = now.monotonic_us;
        out.push(Output::DurableTo {
            lsn: Lsn(self.durable_lsn),
        });
        self.commit(now, out);
    }

    /// A failed write is tried once more, in a fresh segment; what of it reached the old one is void, since the fresh one repeats its LSN.
    fn write_failed(&mut self, now: Now, failure: IoFailure, out: &mut Vec<Output>) {
        let Some(write) = &mut self.in_flight else {
            return;
        };
        if write.retried {
            self.go_offline(OfflineReason::WriteFailed(failure), out);
            return;
        }
        write.retried = true;
        write.parked = Some(failure);
        let (start, position) = (write.start_lsn, write.position as u32);
        let segment = self.segments.at(self.active);
        segment.end_lsn = start;
        segment.data_end = position;
        // As if it had never been issued: its frames will lie elsewhere, and no checkpoint may say that they lie here.
        self.issued_lsn = start;
        if let Some(write) = self.in_flight.take() {
            self.unindex_write(&write);
            self.in_flight = Some(write);
        }
        self.abandon_undurable_checkpoints(now, out);
        out.push(Output::Message(format!(
            "a log write failed ({failure}); it is tried again in a fresh segment"
        )));
        self.retry_write(now, out);
    }

    fn retry_write(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.next_segment(now, out) {
            return;
        }
        let Some(mut write) = self.in_flight.take() else {
            return;
        };
        let mut buffer = AlignedBuffer::new(write.buffer.len());
        buffer.copy_from_slice(&write.buffer);
        let used = write.entries.last().map_or(WRITE_HEADER_BYTES, |entry| {
            entry.position as usize + frame_bytes(entry.payload_bytes as usize)
        });
        let mut filling = Filling {
            length: buffer.len(),
            buffer,
            used,
            entries: std::mem::take(&mut write.entries),
            void: std::mem::take(&mut write.void),
            control: None,
            start_lsn: write.start_lsn,
            announces: write.announces,
        };
        let (file, position) = (self.active, self.active_position);
        let nonce = self.segments.at(file).nonce;
        self.finish_write(&mut filling, nonce, position);
        write.buffer = filling.buffer.freeze();
        self.index_write(file, position, &filling.entries, &filling.void);
        self.note_issued(
            file,
            write.start_lsn,
            write.end_lsn,
            position + filling.length as u64,
        );
        self.tail.push(file, position as u32, write.buffer.clone());
        write.entries = filling.entries;
        write.void = filling.void;
        write.file = file;
        write.position = position;
        write.parked = None;
        write.issued_us = now.monotonic_us;
        self.issued_lsn = write.end_lsn;
        self.statistics.writes_retried += 1;
        let buffer = write.buffer.clone();
        self.in_flight = Some(write);
        self.write_number += 1;
        self.write(
            Purpose::Commit,
            FileName::Segment(file),
            position,
            buffer,
            true,
            IoClass::Commit,
            out,
        );
    }

    /// Takes back what `index_write` did for a write that failed.
    fn unindex_write(&mut self, write: &InFlight) {
        self.tail.forget(write.file, write.position as u32);
        let mut tallies = Tallies::new();
        for (index, entry) in write.entries.iter().enumerate().rev() {
            if entry.is_control() || write.void.contains(&index) {
                continue;
            }
            let (replica, base) = (entry.meta.replica, entry.meta.base_offset.0);
            if let Some(open) = self.open.get_mut(&write.file) {
                open.truncate(replica, base);
            }
            self.slots.clip_extents(replica, base, &mut tallies);
        }
        self.tally(&tallies);
    }

    /// Makes void, in writes that are not durable yet, what a truncation to `to` cuts off.
    pub(crate) fn void_frames(&mut self, replica: ReplicaId, to: i64) {
        let cut = |entry: &DirectoryEntry| {
            entry.meta.replica == replica && entry.meta.last_offset.0 >= to
        };
        if let Some(write) = &mut self.in_flight {
            write.void.extend(
                write
                    .entries
                    .iter()
                    .enumerate()
                    .filter(|(_, entry)| cut(entry))
                    .map(|(index, _)| index),
            );
        }
        for filling in self.pending.iter_mut().chain(self.filling.as_mut()) {
            let void = filling
                .entries
                .iter()
                .enumerate()
                .filter(|(_, entry)| cut(entry))
                .map(|(index, _)| index);
            filling.void.extend(void);
        }
    }

    /// After some quiet, one block says that the last write was durable: else it could not be told from a torn one.
    pub(crate) fn seal_when_quiet(&mut self, now: Now, out: &mut Vec<Output>) {
        let unproven = self.proven_lsn < self.durable_lsn;
        let quiet = self.in_flight.is_none() && self.pending.is_empty() && self.filling.is_none();
        let waited =
            now.monotonic_us.saturating_sub(self.last_commit_us) >= self.options.quiet_ms * 1_000;
        if !unproven || !quiet || !(waited || self.shutting_down) {
            return;
        }
        if !self.make_room(now, BLOCK_BYTES as u64, 0, out) {
            return;
        }
        let filling = self.empty_filling();
        self.statistics.seals += 1;
        self.issue(now, filling, out);
    }

    pub(crate) fn watch_write(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(write) = &mut self.in_flight else {
            return;
        };
        let outstanding_ms = now.monotonic_us.saturating_sub(write.issued_us) / 1_000;
        if outstanding_ms > self.options.stuck_write_ms {
            self.go_offline(OfflineReason::WriteStuck, out);
        } else if outstanding_ms > self.options.slow_write_ms && !write.stalled {
            write.stalled = true;
            let seconds = self.options.slow_write_ms / 1_000;
            out.push(Output::Message(format!(
                "a log write is outstanding for more than {seconds} s: appends are refused"
            )));
        }
    }
}
