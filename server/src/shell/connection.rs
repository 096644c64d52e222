//! One connection: where its receive, its frames, its queue of bytes to send and its end stand.
//!
//! Pure state with the rules of when to read; `connections.rs` holds them all and talks to the ring. A slot is free again only when neither a
//! receive nor a send of it is in flight, so that a late completion never meets another connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use bytes::{Buf, Bytes};

use super::frames::Assembly;
use super::limits::USUAL_ANSWER_BYTES_MAX;
use crate::machine::ConnectionId;

/// Most segments gathered into one send.
const SEND_SEGMENTS_MAX: usize = 128;
/// Most bytes gathered into one send, unless its first segment alone is larger.
const SEND_BYTES_MAX: usize = USUAL_ANSWER_BYTES_MAX;

/// Whether a receive is with the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReceiveState {
    Idle,
    Armed,
    /// Asked to end; completions may still bring bytes.
    Cancelling,
}

/// How far the connection's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// The peer sends no more; frames that arrived are still delivered, then it closes.
    EndOfStream,
    /// No more frames; what is queued is sent, then it is shut down.
    Closing,
    /// Shut down; waits for its operations to come back.
    Dead,
}

/// Why a connection is not read at the moment; any one suffices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stops {
    /// The machine said so.
    pub(super) machine: bool,
    /// Too much is queued for it.
    pub(super) queue: bool,
    /// The core holds too many request bytes.
    pub(super) memory: bool,
}

impl Stops {
    pub(super) fn any(self) -> bool {
        self.machine || self.queue || self.memory
    }
}

pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    pub(super) peer: SocketAddr,
    pub(super) id: ConnectionId,
    pub(super) life: Life,
    /// The machine has been told that it is closed.
    pub(super) closed_told: bool,
    pub(super) receive: ReceiveState,
    pub(super) stops: Stops,
    pub(super) assembly: Assembly,
    /// Frames that arrived and were not delivered.
    pub(super) frames: VecDeque<Bytes>,
    pub(super) queue: VecDeque<Bytes>,
    pub(super) queued_bytes: usize,
    pub(super) sending: bool,
    /// Large sends may leave without a copy: not to this machine itself, and not after the kernel said that it had to copy.
    pub(super) zero_copy: bool,
    /// Bytes of zero-copy sends that the kernel still reads.
    pub(super) unreleased_bytes: usize,
    /// The send in flight copies nothing.
    pub(super) sending_zero_copy: bool,
    /// Listed among those that have something to send.
    pub(super) send_listed: bool,
    /// Listed among those with frames to deliver.
    pub(super) ready_listed: bool,
    pub(super) last_active_us: u64,
    /// When a send last made progress while the queue was above its high mark.
    pub(super) progress_us: u64,
    /// Neighbours in the list ordered by `last_active_us`.
    pub(super) older: Option<u32>,
    pub(super) newer: Option<u32>,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, peer: SocketAddr, id: ConnectionId, now_us: u64) -> Self {
        Self {
            socket,
            peer,
            id,
            life: Life::Open,
            closed_told: false,
            receive: ReceiveState::Idle,
            stops: Stops::default(),
            assembly: Assembly::default(),
            frames: VecDeque::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            sending: false,
            zero_copy: !peer.ip().to_canonical().is_loopback(),
            unreleased_bytes: 0,
            sending_zero_copy: false,
            send_listed: false,
            ready_listed: false,
            last_active_us: now_us,
            progress_us: now_us,
            older: None,
            newer: None,
        }
    }

    /// Whether a receive should be with the kernel.
    pub(super) fn wants_receive(&self) -> bool {
        self.life == Life::Open && !self.stops.any() && self.frames.is_empty()
    }

    /// Whether the next frame may go to the machine.
    pub(super) fn can_deliver(&self) -> bool {
        matches!(self.life, Life::Open | Life::EndOfStream)
            && !self.stops.machine
            && !self.stops.queue
            && !self.frames.is_empty()
    }

    /// Queues bytes behind what is queued. Empty segments are dropped.
    pub(super) fn enqueue(&mut self, segments: impl IntoIterator<Item = Bytes>) {
        for segment in segments {
            if !segment.is_empty() {
                self.queued_bytes += segment.len();
                self.queue.push_back(segment);
            }
        }
    }

    /// Takes from the queue what one send carries; gives its bytes, which stay counted until they were sent.
    pub(super) fn gather(&mut self, segments: &mut Vec<Bytes>) -> usize {
        let mut bytes = 0;
        while let Some(segment) = self.queue.front() {
            let fits = segments.is_empty() || bytes + segment.len() <= SEND_BYTES_MAX;
            if !fits || segments.len() == SEND_SEGMENTS_MAX {
                break;
            }
            bytes += segment.len();
            segments.extend(self.queue.pop_front());
        }
        bytes
    }

    /// Accounts for a send: what it did not carry goes back to the front, in order.
    pub(super) fn sent(&mut self, mut bytes: usize, segments: &mut Vec<Bytes>) {
        assert!(bytes <= self.queued_bytes);
        self.queued_bytes -= bytes;
        let mut left = Vec::new();
        for mut segment in segments.drain(..) {
            if bytes >= segment.len() {
                bytes -= segment.len();
                continue;
            }
            segment.advance(bytes);
            bytes = 0;
            left.push(segment);
        }
        for segment in left.into_iter().rev() {
            self.queue.push_front(segment);
        }
    }

    /// Forgets everything that waits, at the end.
    pub(super) fn drop_contents(&mut self) {
        self.frames.clear();
        self.assembly = Assembly::default();
        self.queue.clear();
        self.queued_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    fn connection() -> Connection {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback is there");
        let peer = socket.local_addr().expect("it was bound");
        Connection::new(socket.into(), peer, ConnectionId(1), 0)
    }

    #[test]
    fn partial_sends_keep_the_order_of_bytes() {
        let mut connection = connection();
        let parts: Vec<Bytes> = ["spool", "", "of", "thread", "star"]
            .iter()
            .map(|part| Bytes::from_static(part.as_bytes()))
            .collect();
        connection.enqueue(parts);
        assert_eq!(connection.queued_bytes, 17);
        let mut wire = Vec::new();
        for step in [3usize, 4, 1, 0, 20] {
            let mut segments = Vec::new();
            connection.gather(&mut segments);
            let all: Vec<u8> = segments.iter().flat_map(|part| part.to_vec()).collect();
            let sent = step.min(all.len());
            wire.extend_from_slice(&all[..sent]);
            connection.sent(sent, &mut segments);
        }
        assert_eq!(wire, b"spoolofthreadstar");
        assert_eq!(connection.queued_bytes, 0);
    }
}
