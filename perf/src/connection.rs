//! One connection of the produce load: a bounded number of requests in hand, answered in order. `driver` waits for many of them.

use crate::PerfError;
use crate::frames::{Answer, Frame};
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;

/// Pieces gathered into one send.
const SLICES_MAX: usize = 64;

/// The longest answer to a Produce request of one partition, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

const INPUT_BYTES: usize = 64 << 10;

/// A request that has no answer yet.
#[derive(Clone, Copy, Debug)]
struct InHand {
    prefix: [u8; crate::frames::PREFIX_BYTES],
    frame: usize,
    since_ns: u64,
}

/// An answer, with what it answers.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Which frame, and so which partition.
    pub frame: usize,
    /// When the request was handed to the connection, nanoseconds of the driver's clock.
    pub since_ns: u64,
    /// What the server said.
    pub answer: Answer,
}

/// The socket and what is on its way.
#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    /// Whether the loop also waits for room to send.
    pub waits_for_room: bool,
    /// When an answer came last, or the connection began; nanoseconds.
    pub progress_ns: u64,
    in_hand: VecDeque<InHand>,
    /// How many of `in_hand`, from the front, are handed to the kernel whole, and the bytes of the next one.
    sent: usize,
    sent_bytes: usize,
    correlation_id: i32,
    next_frame: usize,
    input: Vec<u8>,
    input_bytes: usize,
}

impl Connection {
    /// Over a non-blocking socket, beginning its round of the partitions at `first_frame`.
    pub fn new(stream: TcpStream, first_frame: usize, now_ns: u64) -> Self {
        Connection {
            stream,
            waits_for_room: false,
            progress_ns: now_ns,
            in_hand: VecDeque::new(),
            sent: 0,
            sent_bytes: 0,
            correlation_id: 0,
            next_frame: first_frame,
            input: vec![0; INPUT_BYTES],
            input_bytes: 0,
        }
    }

    /// Requests without an answer.
    pub fn in_hand(&self) -> usize {
        self.in_hand.len()
    }

    /// The oldest request without an answer: its frame and correlation id.
    pub fn oldest(&self) -> Option<(usize, i32)> {
        let oldest = self.in_hand.front()?;
        Some((oldest.frame, correlation_id(&oldest.prefix)))
    }

    /// Takes up requests, partition after partition, until `in_flight` are in hand.
    pub fn fill(&mut self, frames: &[Frame], in_flight: usize, now_ns: u64) {
        while self.in_hand.len() < in_flight {
            let frame = self.next_frame % frames.len();
            self.next_frame = frame + 1;
            self.in_hand.push_back(InHand {
                prefix: frames[frame].prefix_with(self.correlation_id),
                frame,
                since_ns: now_ns,
            });
            self.correlation_id = self.correlation_id.wrapping_add(1);
        }
    }

    /// Sends what the socket takes. True when all of it went.
    pub fn send(&mut self, frames: &[Frame]) -> Result<bool, PerfError> {
        while self.sent < self.in_hand.len() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.gather(frames, &mut slices);
            match (&self.stream).write_vectored(&slices[..count]) {
                Ok(bytes) => self.note_sent(frames, bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(PerfError::network("sending", error)),
            }
        }
        Ok(true)
    }

    fn gather<'a>(&'a self, frames: &'a [Frame], slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.sent_bytes;
        let mut count = 0;
        for request in self.in_hand.range(self.sent..) {
            let frame = &frames[request.frame];
            if count + 1 + frame.rest.len() > slices.len() {
                break;
            }
            let pieces = std::iter::once(&request.prefix[..])
                .chain(frame.rest.iter().map(|piece| &piece[..]));
            for piece in pieces {
                if skip >= piece.len() {
                    skip -= piece.len();
                    continue;
                }
                slices[count] = IoSlice::new(&piece[skip..]);
                skip = 0;
                count += 1;
            }
        }
        count
    }

    fn note_sent(&mut self, frames: &[Frame], bytes: usize) {
        self.sent_bytes += bytes;
        while self.sent < self.in_hand.len() {
            let whole = frames[self.in_hand[self.sent].frame].bytes;
            if self.sent_bytes < whole {
                return;
            }
            self.sent_bytes -= whole;
            self.sent += 1;
        }
        assert_eq!(self.sent_bytes, 0, "more was sent than was in hand");
    }

    /// Reads once, and takes the answers that came whole.
    pub fn receive(
        &mut self,
        frames: &[Frame],
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
            let taken = self.take(frames, start + 4, length)?;
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
        frames: &[Frame],
        start: usize,
        length: usize,
    ) -> Result<Answered, PerfError> {
        let answer = &self.input[start..start + length];
        let came = i32::from_be_bytes([answer[0], answer[1], answer[2], answer[3]]);
        let oldest = match self.in_hand.pop_front() {
            Some(oldest) if self.sent > 0 => oldest,
            _ => {
                return Err(PerfError::Protocol(format!(
                    "an answer with correlation id {came}, which nothing waits for"
                )));
            }
        };
        self.sent -= 1;
        let expected = correlation_id(&oldest.prefix);
        if came != expected {
            return Err(PerfError::Protocol(format!(
                "the answer to {came} came where the one to {expected} was due"
            )));
        }
        Ok(Answered {
            frame: oldest.frame,
            since_ns: oldest.since_ns,
            answer: frames[oldest.frame].read_answer(&answer[4..])?,
        })
    }
}

fn correlation_id(prefix: &[u8; crate::frames::PREFIX_BYTES]) -> i32 {
    i32::from_be_bytes([prefix[8], prefix[9], prefix[10], prefix[11]])
}
