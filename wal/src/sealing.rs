//! Footers: a full segment's open index becomes sorted, delta-coded pages behind its frames, in bounded steps, once all of its writes
//! are durable. Until the footer is durable the open index serves reads, and recovery would replay the segment.

use crate::buffer::AlignedBuffer;
use crate::footer::{FenceKey, FooterWriter};
use crate::io::{BLOCK_BYTES, FileName, IoClass, IoResult, Output};
use crate::log::{Log, Purpose, expect_done};
use crate::segments::SegmentState;
use crate::types::{Now, ReplicaId};
use bytes::Bytes;
use std::sync::Arc;

/// Index entries encoded per step.
const ENTRIES_PER_STEP: usize = 4_096;
/// A failed footer is tried again after this.
const RETRY_US: u64 = 5_000_000;

/// A segment on its way from full to sealed.
#[derive(Debug)]
pub(crate) struct Sealing {
    pub file: u32,
    stage: Stage,
}

/// A footer, ready to be written.
#[derive(Debug)]
struct Footer {
    bytes: Bytes,
    index_pages: u32,
    fences: Arc<[FenceKey]>,
    /// Expiry classes of the frames, one bit each.
    classes: u8,
}

#[derive(Debug)]
enum Stage {
    /// Waits for its writes, and its turn.
    Waiting,
    /// Encodes pages.
    Encoding {
        replicas: Vec<ReplicaId>,
        next: usize,
        writer: FooterWriter,
        classes: u8,
    },
    /// The footer is being written.
    Writing(Footer),
    /// A write failed; tried again at this time.
    Failed { footer: Footer, retry_us: u64 },
}

impl Log {
    pub(crate) fn begin_sealing(&mut self, file: u32) {
        self.sealing.push_back(Sealing {
            file,
            stage: Stage::Waiting,
        });
    }

    /// A bounded piece of work on the oldest segment that waits for its footer.
    pub(crate) fn proceed_sealing(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(mut sealing) = self.sealing.pop_front() else {
            return;
        };
        let file = sealing.file;
        sealing.stage = match sealing.stage {
            Stage::Waiting => self.start_encoding(file),
            Stage::Encoding { .. } => self.encode_footer(now, file, sealing.stage, out),
            Stage::Failed { footer, retry_us } if now.monotonic_us >= retry_us => {
                self.write_footer(file, footer.bytes.clone(), out);
                Stage::Writing(footer)
            }
            stage => stage,
        };
        self.sealing.push_front(sealing);
    }

    fn start_encoding(&mut self, file: u32) -> Stage {
        let segment = self.segments.at(file);
        if segment.end_lsn > self.durable_lsn {
            return Stage::Waiting;
        }
        let writer = FooterWriter::new(segment.nonce);
        let replicas = self
            .open
            .get(&file)
            .map_or_else(Vec::new, |open| open.replicas());
        Stage::Encoding {
            replicas,
            next: 0,
            writer,
            classes: 0,
        }
    }

    fn encode_footer(&mut self, now: Now, file: u32, stage: Stage, out: &mut Vec<Output>) -> Stage {
        let Stage::Encoding {
            replicas,
            mut next,
            mut writer,
            mut classes,
        } = stage
        else {
            return stage;
        };
        let mut budget = ENTRIES_PER_STEP;
        while next < replicas.len() && budget > 0 {
            let frames = self
                .open
                .get(&file)
                .map_or(&[][..], |open| open.frames(replicas[next]));
            for frame in frames {
                writer.push(replicas[next], frame);
            }
            budget = budget.saturating_sub(frames.len().max(1));
            if let Some(last) = frames.last() {
                classes |=
                    1 << self.expiry_class(replicas[next], last.max_timestamp, now.wall_ms) as u8;
            }
            next += 1;
        }
        if next < replicas.len() {
            return Stage::Encoding {
                replicas,
                next,
                writer,
                classes,
            };
        }
        let position = u64::from(self.segments.at(file).data_end);
        let (pages, index_pages, fences) = writer.finish(position);
        let mut buffer = AlignedBuffer::new(pages.len());
        buffer[..pages.len()].copy_from_slice(&pages);
        let bytes = buffer.freeze();
        if index_pages > 0 {
            self.write_footer(file, bytes.clone(), out);
        } else {
            self.footer_written_later(file, out);
        }
        Stage::Writing(Footer {
            bytes,
            index_pages,
            fences: fences.into(),
            classes,
        })
    }

    /// An empty footer needs no write; a sync in its place keeps the order of stages.
    fn footer_written_later(&mut self, file: u32, out: &mut Vec<Output>) {
        self.sync_file(Purpose::Footer { file }, FileName::Segment(file), out);
    }

    fn write_footer(&mut self, file: u32, footer: Bytes, out: &mut Vec<Output>) {
        let position = u64::from(self.segments.at(file).data_end);
        assert!(
            position.is_multiple_of(BLOCK_BYTES as u64)
                && position + footer.len() as u64 <= self.segment_bytes
        );
        self.write(
            Purpose::Footer { file },
            FileName::Segment(file),
            position,
            footer,
            true,
            IoClass::Background,
            out,
        );
    }

    pub(crate) fn footer_written(
        &mut self,
        now: Now,
        file: u32,
        result: IoResult,
        out: &mut Vec<Output>,
    ) {
        let Some(at) = self.sealing.iter().position(|sealing| sealing.file == file) else {
            return;
        };
        let Some(sealing) = self.sealing.remove(at) else {
            return;
        };
        let Stage::Writing(footer) = sealing.stage else {
            return;
        };
        if let Err(failure) = expect_done(result) {
            out.push(Output::Message(format!(
                "the footer of segment {file} could not be written ({failure}); tried again in 5 s"
            )));
            self.give_up_closing(out);
            let retry_us = now.monotonic_us + RETRY_US;
            let stage = Stage::Failed { footer, retry_us };
            self.sealing.push_back(Sealing { file, stage });
            return;
        }
        self.segments.set_state(file, SegmentState::Sealed);
        let segment = self.segments.at(file);
        segment.footer_position = segment.data_end;
        segment.classes = footer.classes;
        segment.index_pages = footer.index_pages;
        segment.fences = Some(footer.fences);
        self.open.remove(&file);
        self.pages.keep_footer(file, footer.bytes);
    }
}
