//! One client connection as the node sees it: requests numbered as they arrive, answers sent in that order.
//! Bytes, framing and limits on bytes are the shell's; what a request means is `dispatch`'s.

use crate::machine::{ConnectionId, Segments};
use odradek_protocol::{StrBytes, Uuid};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Requests of one connection that may wait for answers at once. Above it the connection is not read until one leaves.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 512;

/// What stands at one place of a connection's answer queue.
enum Answer {
    Waiting,
    Ready(Segments),
    /// Nothing is sent for this request (acks=0).
    Silent,
}

/// State of one connection.
pub struct Connection {
    pub id: ConnectionId,
    pub peer: SocketAddr,
    /// Index into the node's configured listeners.
    pub listener: u16,
    /// From ApiVersions v3+ (KIP-511); shown in telemetry and logs.
    pub software: Option<(StrBytes, StrBytes)>,
    /// The client instance that last asked for telemetry over it (KIP-714).
    pub client_instance: Option<Uuid>,
    answers: VecDeque<Answer>,
    /// Numbers of fetches that wait; they are called off when the client goes.
    pub fetches: Vec<u64>,
    first_sequence: u64,
    /// True while the shell was told to stop reading because too many requests wait.
    pub stopped: bool,
}

impl Connection {
    pub fn new(id: ConnectionId, peer: SocketAddr, listener: u16) -> Self {
        Self {
            id,
            peer,
            listener,
            software: None,
            client_instance: None,
            answers: VecDeque::new(),
            fetches: Vec::new(),
            first_sequence: 0,
            stopped: false,
        }
    }

    /// Reserves the next place in the answer order and returns its number.
    pub fn reserve(&mut self) -> u64 {
        self.answers.push_back(Answer::Waiting);
        self.first_sequence + self.answers.len() as u64 - 1
    }

    /// Requests that wait for their answer or for an earlier one's.
    pub fn in_flight(&self) -> usize {
        self.answers.len()
    }

    /// Puts an answer (none: nothing will be sent) into its place; returns what may be sent now, in order.
    pub fn complete(&mut self, sequence: u64, segments: Option<Segments>) -> Segments {
        let index = (sequence - self.first_sequence) as usize;
        assert!(index < self.answers.len(), "an answer without its request");
        let next_waits = !matches!(self.answers.get(1), Some(Answer::Ready(_) | Answer::Silent));
        if index == 0 && next_waits {
            // The usual case: nothing waited for this one, and nothing is moved.
            self.answers.pop_front();
            self.first_sequence += 1;
            return segments.unwrap_or_default();
        }
        self.answers[index] = segments.map_or(Answer::Silent, Answer::Ready);
        let mut ready = Segments::new();
        while let Some(front) = self.answers.front_mut() {
            match front {
                Answer::Waiting => break,
                Answer::Ready(segments) => ready.extend(segments.drain(..)),
                Answer::Silent => {}
            }
            self.answers.pop_front();
            self.first_sequence += 1;
        }
        ready
    }
}
