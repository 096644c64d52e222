//! The scrub: every live frame of every sealed segment is read and verified once in `scrub_period_ms`, one small read at a time, paced by
//! bytes. What is bad is marked and told, as a read would have done; nothing else is touched.

use crate::fetch::Fetcher;
use crate::footer::{IndexEntry, decode_index_page};
use crate::io::{BLOCK_BYTES, FileName, IoClass, IoFailure, IoResult, Output};
use crate::log::{Log, Purpose, expect_data};
use crate::lookup::sound_payload;
use crate::region_reads::READ_FAILURES_MAX;
use crate::segments::SegmentState;
use crate::slot::Extent;
use crate::types::{DamagedRange, Now, Offset, ReplicaId};
use bytes::Bytes;
use std::collections::VecDeque;

/// One read, unless a frame is longer.
const READ_BYTES: u64 = 256 << 10;

/// Where the scrub is.
#[derive(Debug, Default)]
pub(crate) struct Scrubber {
    file: u32,
    page: u32,
    /// Which life of the segment `frames` and `page` are of.
    nonce: u64,
    frames: VecDeque<(ReplicaId, IndexEntry)>,
    reading: Option<Reading>,
    /// A joined read failed: one frame at a time for as many as it held.
    alone: usize,
    /// How often the reading at hand failed.
    failures: u8,
    next_us: u64,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    position: u64,
    length: usize,
    /// Frames it covers; none: an index page.
    frames: usize,
}

impl Log {
    pub(crate) fn proceed_scrub(&mut self, now: Now, out: &mut Vec<Output>) {
        let due = self.options.scrub_period_ms > 0 && now.monotonic_us >= self.scrubber.next_us;
        let waits = self.fetches.at_hand(Fetcher::Scrub).waits;
        if !due || waits || self.scrubber.reading.is_some() || self.shutting_down {
            return;
        }
        let Some(reading) = self.next_scrub_read() else {
            self.scrubber.next_us = now.monotonic_us + 1_000_000;
            return;
        };
        let file = self.scrubber.file;
        self.scrubber.reading = Some(reading);
        self.scrubber.next_us = now.monotonic_us + self.scrub_pause_us(reading.length as u64);
        self.segments.at(file).pins += 1;
        let name = FileName::Segment(file);
        self.read_file(
            Purpose::Scrub,
            name,
            reading.position,
            reading.length,
            IoClass::Background,
            out,
        );
    }

    /// The whole of the sealed segments in one period.
    fn scrub_pause_us(&self, bytes: u64) -> u64 {
        let total = (self.segments.count(SegmentState::Sealed) as u64 * self.segment_bytes).max(1);
        let pause = u128::from(bytes) * u128::from(self.options.scrub_period_ms) * 1_000
            / u128::from(total);
        u64::try_from(pause).unwrap_or(u64::MAX)
    }

    fn next_scrub_read(&mut self) -> Option<Reading> {
        // Between two reads nothing pins the segment: it may have been recycled, and hold the same replica's frames elsewhere.
        let file = self.scrubber.file;
        let known = self.segments.get(file).is_some_and(|segment| {
            segment.state == SegmentState::Sealed && segment.nonce == self.scrubber.nonce
        });
        if !known {
            self.scrubber.frames.clear();
            self.scrubber.page = 0;
            self.scrubber.alone = 0;
        }
        if self.scrubber.frames.is_empty() {
            return self.next_scrub_page();
        }
        let start = self
            .scrubber
            .frames
            .front()
            .map(|(_, entry)| u64::from(entry.position) & !(BLOCK_BYTES as u64 - 1))?;
        let (mut end, mut frames) = (0, 0);
        for (_, entry) in &self.scrubber.frames {
            let frame_start = u64::from(entry.position);
            let frame_end =
                (frame_start + entry.frame_bytes() as u64).next_multiple_of(BLOCK_BYTES as u64);
            let joins =
                frame_start >= start && frame_end - start <= READ_BYTES && self.scrubber.alone == 0;
            if frames > 0 && !joins {
                break;
            }
            end = frame_end.max(end);
            frames += 1;
        }
        self.scrubber.alone = self.scrubber.alone.saturating_sub(1);
        Some(Reading {
            position: start,
            length: (end - start) as usize,
            frames,
        })
    }

    /// The next index page of this segment, or the first of the next one.
    fn next_scrub_page(&mut self) -> Option<Reading> {
        let (file, page) = (self.scrubber.file, self.scrubber.page);
        let here = |found: u32| if found == file { page } else { 0 };
        let sealed = self.segments.iter().filter(|(found, segment)| {
            segment.state == SegmentState::Sealed
                && segment.extents() > 0
                && here(*found) < segment.index_pages
        });
        let files: Vec<u32> = sealed.map(|(found, _)| found).collect();
        let next = files
            .iter()
            .copied()
            .find(|found| *found >= file)
            .or_else(|| files.first().copied())?;
        let page = here(next);
        (self.scrubber.file, self.scrubber.page) = (next, page + 1);
        if next < file {
            // A round is done: the last segment begins anew too.
            self.scrubber.page = 1;
        }
        self.scrubber.nonce = self.segments.at(next).nonce;
        let position = u64::from(self.segments.at(next).footer_position)
            + u64::from(self.scrubber.page - 1) * BLOCK_BYTES as u64;
        Some(Reading {
            position,
            length: BLOCK_BYTES,
            frames: 0,
        })
    }

    pub(crate) fn scrub_io_done(&mut self, _now: Now, result: IoResult, out: &mut Vec<Output>) {
        let Some(reading) = self.scrubber.reading.take() else {
            return;
        };
        let file = self.scrubber.file;
        let segment = self.segments.at(file);
        segment.pins -= 1;
        let nonce = segment.nonce;
        self.statistics.bytes_scrubbed += reading.length as u64;
        let data = expect_data(result, reading.length);
        if data.is_err() && self.scrubber.failures + 1 < READ_FAILURES_MAX {
            self.scrubber.failures += 1;
            // Frames are taken off when they are read; a page is counted when it is asked for.
            self.scrubber.page -= u32::from(reading.frames == 0);
            return;
        }
        self.scrubber.failures = 0;
        if reading.frames > 0 {
            self.scrub_frames(reading, nonce, data, out);
            return;
        }
        let page = self.scrubber.page - 1;
        match data
            .ok()
            .and_then(|data| decode_index_page(&data, nonce, reading.position, page))
        {
            Some(entries) => {
                // Whether it lies here still is looked up for a bad one only.
                let live = entries.into_iter().filter(|(replica, entry)| {
                    self.slots.get(*replica).is_some_and(|slot| {
                        entry.last >= slot.log_start && entry.last < slot.log_end
                    })
                });
                self.scrubber.frames = live.collect();
                self.scrubber
                    .frames
                    .make_contiguous()
                    .sort_unstable_by_key(|(_, entry)| entry.position);
            }
            None => out.push(Output::Damaged {
                replica: None,
                first: Offset(0),
                last: Offset(0),
                file: FileName::Segment(file),
                position: reading.position,
            }),
        }
    }

    fn scrub_frames(
        &mut self,
        reading: Reading,
        nonce: u64,
        data: Result<Bytes, IoFailure>,
        out: &mut Vec<Output>,
    ) {
        let file = self.scrubber.file;
        if data.is_err() && reading.frames > 1 {
            self.scrubber.alone = reading.frames;
            return;
        }
        for _ in 0..reading.frames {
            let Some((replica, entry)) = self.scrubber.frames.pop_front() else {
                return;
            };
            let start = u64::from(entry.position);
            let sound = data.as_ref().is_ok_and(|data| {
                sound_payload(
                    nonce,
                    replica,
                    &entry,
                    &data[(start - reading.position) as usize..],
                )
                .is_some()
            });
            if sound {
                continue;
            }
            let failed = &mut self.fetches.at_hand_mut(Fetcher::Scrub).failed;
            let lost = std::mem::take(failed);
            let found = match self.extent_past(Fetcher::Scrub, replica, entry.last) {
                Ok(found) => found,
                // Reads of it say that the page is gone.
                Err(_) if lost => None,
                Err(missing) => {
                    self.scrubber.frames.push_front((replica, entry));
                    self.fetch_page(Fetcher::Scrub, missing, out);
                    return;
                }
            };
            let here = |extent: &Extent| extent.segment == file && extent.base <= entry.base;
            if found.as_ref().is_some_and(here) {
                let range = DamagedRange {
                    first: Offset(entry.base),
                    last: Offset(entry.last),
                };
                self.mark_damaged(replica, range, file, start, out);
            }
        }
    }
}
