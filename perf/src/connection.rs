//! One connection of the produce load: a bounded number of requests in hand, answered in order. Nothing is allocated for a
//! request once the queues have grown. `driver` waits for many of these; `frames` writes the requests.

use crate::PerfError;
use crate::frames::{Answer, Cover, Output, PartitionRing, Template};
use crate::patch::ProducerState;
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;

/// Pieces gathered into one send.
const SLICES_MAX: usize = 64;

/// The longest answer to a Produce request that is read, bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

const INPUT_BYTES: usize = 64 << 10;

/// Sent bytes that are kept before the rest is moved to the front.
const SENT_BYTES_MAX: usize = 1 << 20;

/// A request that has no answer yet.
#[derive(Clone, Copy, Debug)]
struct InHand {
    start: u32,
    batch_bytes: u32,
    since_ns: u64,
    /// Bytes handed to the kernel from the start on, once this request is there whole.
    sent_at: u64,
}

/// An answer, with what it answers.
#[derive(Debug)]
pub struct Answered {
    /// When the request was due, nanoseconds of the run's clock.
    pub since_ns: u64,
    /// Bytes of the batches in it.
    pub batch_bytes: u64,
    /// What the server said, or the kernel when the server is not to answer.
    pub answer: Answer,
}

#[derive(Clone, Copy, Debug)]
enum Piece {
    Own { bytes: usize },
    Shared { batch: usize, from: usize },
}

/// What waits to be sent.
#[derive(Debug, Default)]
struct Queue {
    own: Vec<u8>,
    /// Where the first piece's own bytes begin, and where the bytes of no piece begin.
    own_start: usize,
    own_end: usize,
    pieces: VecDeque<Piece>,
    /// Bytes sent of the first piece.
    skip: usize,
}

impl Queue {
    /// Makes a piece of the bytes that were added, together with the last one where that is ours too.
    fn seal(&mut self) {
        let added = self.own.len() - self.own_end;
        self.own_end = self.own.len();
        match self.pieces.back_mut() {
            _ if added == 0 => {}
            Some(Piece::Own { bytes }) => *bytes += added,
            _ => self.pieces.push_back(Piece::Own { bytes: added }),
        }
    }

    fn gather<'a>(&'a self, template: &'a Template, slices: &mut [IoSlice<'a>]) -> usize {
        let mut own = self.own_start;
        let mut skip = self.skip;
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(&self.pieces) {
            let whole = match *piece {
                Piece::Own { bytes } => {
                    own += bytes;
                    &self.own[own - bytes..own]
                }
                Piece::Shared { batch, from } => &template.batch(batch).bytes[from..],
            };
            *slot = IoSlice::new(&whole[skip..]);
            skip = 0;
            count += 1;
        }
        count
    }

    fn note_sent(&mut self, template: &Template, bytes: usize) {
        self.skip += bytes;
        while let Some(piece) = self.pieces.front() {
            let (whole, own) = match *piece {
                Piece::Own { bytes } => (bytes, bytes),
                Piece::Shared { batch, from } => (template.batch(batch).bytes.len() - from, 0),
            };
            if self.skip < whole {
                break;
            }
            self.skip -= whole;
            self.own_start += own;
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() {
            assert_eq!(self.skip, 0, "more was sent than was queued");
            self.own.clear();
            (self.own_start, self.own_end) = (0, 0);
        } else if self.own_start > SENT_BYTES_MAX {
            self.own.drain(..self.own_start);
            self.own_end -= self.own_start;
            self.own_start = 0;
        }
    }
}

impl Output for Queue {
    fn own(&mut self) -> &mut Vec<u8> {
        &mut self.own
    }

    fn share(&mut self, batch: usize, from: usize) {
        self.seal();
        self.pieces.push_back(Piece::Shared { batch, from });
    }
}

/// A connection's producer: its id, and the next sequence for each partition of its ring.
#[derive(Debug)]
pub struct Producer {
    id: i64,
    epoch: i16,
    sequences: Vec<i32>,
}

impl Producer {
    /// One that has sent nothing yet.
    pub fn new(id: i64, epoch: i16, partitions: u32) -> Self {
        Producer {
            id,
            epoch,
            sequences: vec![0; partitions as usize],
        }
    }

    fn next(&mut self, place: u32, records: usize) -> ProducerState {
        let sequence = &mut self.sequences[place as usize];
        let state = ProducerState {
            producer_id: self.id,
            producer_epoch: self.epoch,
            base_sequence: *sequence,
        };
        // After the highest sequence comes 0.
        *sequence = (*sequence as u32).wrapping_add(records as u32) as i32 & i32::MAX;
        state
    }
}

/// The socket and what is on its way.
#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    /// Whether the loop also waits for room to send.
    pub waits_for_room: bool,
    /// When an answer came last, or the connection began; nanoseconds.
    pub progress_ns: u64,
    /// A batch was refused: the sequences of this producer no longer follow on each other.
    pub producer_is_broken: bool,
    ring: PartitionRing,
    /// The ring's next place, and the next of the prepared batches.
    place: u32,
    batch: usize,
    producer: Option<Producer>,
    in_hand: VecDeque<InHand>,
    queue: Queue,
    queued_bytes: u64,
    sent_bytes: u64,
    /// Of the next request; the oldest one in hand has this less the number in hand.
    correlation_id: i32,
    input: Vec<u8>,
    input_bytes: usize,
}

impl Connection {
    /// Over a non-blocking socket, to the partitions of `ring`, from `place` in it on.
    pub fn new(
        stream: TcpStream,
        ring: PartitionRing,
        place: u32,
        producer: Option<Producer>,
    ) -> Self {
        Connection {
            stream,
            waits_for_room: false,
            progress_ns: 0,
            producer_is_broken: false,
            ring,
            place,
            batch: place as usize,
            producer,
            in_hand: VecDeque::new(),
            queue: Queue::default(),
            queued_bytes: 0,
            sent_bytes: 0,
            correlation_id: 0,
            input: vec![0; INPUT_BYTES],
            input_bytes: 0,
        }
    }

    /// Requests without an answer.
    pub fn in_hand(&self) -> usize {
        self.in_hand.len()
    }

    /// Whether it may take up another request, with `in_flight` in hand at most.
    pub fn has_room(&self, in_flight: usize) -> bool {
        self.in_hand.len() < in_flight && !self.producer_is_broken
    }

    /// The oldest request without an answer: its first partition and correlation id.
    pub fn oldest(&self) -> Option<(u32, i32)> {
        let oldest = self.in_hand.front()?;
        Some((self.ring.at(oldest.start), self.oldest_correlation_id()))
    }

    fn oldest_correlation_id(&self) -> i32 {
        self.correlation_id.wrapping_sub(self.in_hand.len() as i32)
    }

    /// A new producer in place of the broken one. Nothing may be in hand.
    pub fn renew_producer(&mut self, id: i64, epoch: i16) {
        assert!(self.in_hand.is_empty(), "requests of the old producer");
        self.producer = Some(Producer::new(id, epoch, self.ring.count));
        self.producer_is_broken = false;
    }

    /// Takes up one request, due since `since_ns`, to the next partitions.
    pub fn take_up(&mut self, template: &Template, since_ns: u64, now_ns: u64) {
        if self.in_hand.is_empty() {
            // Waiting for an answer begins now.
            self.progress_ns = now_ns;
        }
        let cover = self.cover(self.place, template);
        let producer = &mut self.producer;
        let (frame_bytes, batch_bytes) = template.write(
            self.correlation_id,
            &cover,
            self.batch,
            since_ns,
            |place, records| Some(producer.as_mut()?.next(place, records)),
            &mut self.queue,
        );
        self.queue.seal();
        self.queued_bytes += frame_bytes as u64;
        self.in_hand.push_back(InHand {
            start: self.place,
            batch_bytes: batch_bytes as u32,
            since_ns,
            sent_at: self.queued_bytes,
        });
        self.place = (self.place + cover.count) % self.ring.count;
        self.batch = (self.batch + cover.count as usize) % template.batches();
        self.correlation_id = self.correlation_id.wrapping_add(1);
    }

    fn cover(&self, start: u32, template: &Template) -> Cover {
        Cover {
            ring: self.ring,
            start,
            count: template.shape().partitions_per_request,
        }
    }

    /// Whether everything taken up was handed to the kernel.
    pub fn is_sent(&self) -> bool {
        self.queue.pieces.is_empty()
    }

    /// Sends what the socket takes. True when all of it went.
    pub fn send(&mut self, template: &Template) -> Result<bool, PerfError> {
        while !self.is_sent() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.queue.gather(template, &mut slices);
            match (&self.stream).write_vectored(&slices[..count]) {
                Ok(bytes) => {
                    self.sent_bytes += bytes as u64;
                    self.queue.note_sent(template, bytes);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(PerfError::network("sending", error)),
            }
        }
        Ok(true)
    }

    /// With acks=0 nothing is answered: what the kernel has whole is done.
    pub fn take_sent(&mut self, now_ns: u64, mut answered: impl FnMut(Answered)) {
        while let Some(oldest) = self.in_hand.front() {
            if oldest.sent_at > self.sent_bytes {
                return;
            }
            answered(Answered {
                since_ns: oldest.since_ns,
                batch_bytes: oldest.batch_bytes.into(),
                answer: Answer::Stored { base_offset: -1 },
            });
            self.progress_ns = now_ns;
            self.in_hand.pop_front();
        }
    }

    /// Reads once, and takes the answers that came whole.
    pub fn receive(
        &mut self,
        template: &Template,
        now_ns: u64,
        mut answered: impl FnMut(Answered),
    ) -> Result<(), PerfError> {
        match (&self.stream).read(&mut self.input[self.input_bytes..]) {
            Ok(0) => {
                return Err(PerfError::Protocol(format!(
                    "the server closed a connection with {} requests in hand",
                    self.in_hand.len()
                )));
            }
            Ok(bytes) => self.input_bytes += bytes,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(());
            }
            Err(error) => return Err(PerfError::network("receiving", error)),
        }
        let mut start = 0;
        while let Some(length) = self.input[start..self.input_bytes].first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if !(4..=ANSWER_BYTES_MAX).contains(&length) {
                return Err(PerfError::Protocol(format!("an answer of {length} bytes")));
            }
            if self.input.len() < 4 + length {
                self.input.resize(4 + length, 0);
            }
            if self.input_bytes - start < 4 + length {
                break;
            }
            let taken = self.take(template, start + 4, length)?;
            self.producer_is_broken |=
                self.producer.is_some() && matches!(taken.answer, Answer::Refused(_));
            answered(taken);
            self.progress_ns = now_ns;
            start += 4 + length;
        }
        self.input.copy_within(start..self.input_bytes, 0);
        self.input_bytes -= start;
        Ok(())
    }

    fn take(
        &mut self,
        template: &Template,
        start: usize,
        length: usize,
    ) -> Result<Answered, PerfError> {
        let answer = &self.input[start..start + length];
        let came = i32::from_be_bytes([answer[0], answer[1], answer[2], answer[3]]);
        let oldest = match self.in_hand.front().copied() {
            Some(oldest) if oldest.sent_at <= self.sent_bytes => oldest,
            _ => {
                return Err(PerfError::Protocol(format!(
                    "an answer with correlation id {came}, which nothing waits for"
                )));
            }
        };
        let expected = self.oldest_correlation_id();
        self.in_hand.pop_front();
        if came != expected {
            return Err(PerfError::Protocol(format!(
                "the answer to {came} came where the one to {expected} was due"
            )));
        }
        let cover = self.cover(oldest.start, template);
        Ok(Answered {
            since_ns: oldest.since_ns,
            batch_bytes: oldest.batch_bytes.into(),
            answer: template.read_answer(&answer[4..], &cover)?,
        })
    }
}
