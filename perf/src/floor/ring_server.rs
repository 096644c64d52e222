//! The overlapped produce floor: one thread and one io_uring that receives, writes and sends at the same time. `sync_server` does it in turn.
//!
//! One durable write is in flight while the next one fills (up to [`WRITE_BYTES_MAX`]), so a write holds all that came while the one before it
//! was under way. What bounds it: the processor (two copies by the kernel, one here, one CRC) or the disk, whichever takes longer, not their
//! sum. With one request in hand nothing overlaps, and each hand-over through the ring wakes the thread once more: there `sync_server` is faster.

use super::store::{WRITE_BYTES_MAX, WriteBuffer, ZeroedFile};
use super::wire::{self, LENGTH_BYTES, Taken, Wire};
use crate::PerfError;
use crate::ring::{Event, Ring};
use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Provided buffers: what is received and waits for a write stays in them, so they bound what a floor holds.
const RECEIVE_BUFFERS: u16 = 128;
const RECEIVE_BUFFER_BYTES: usize = 64 << 10;
/// Answers that a client does not take; beyond, its connection is closed.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

struct Connection {
    socket: OwnedFd,
    /// A frame of which a part is still to come.
    partial: Vec<u8>,
    output: Vec<u8>,
    idle_output: Vec<u8>,
    sending: bool,
    armed: bool,
    /// To be closed: the kernel may still work on it, so the number stays taken until it does not.
    over: bool,
}

/// Bytes in a provided buffer, in the order in which they came.
struct Waiting {
    connection: u32,
    buffer: u16,
    begin: usize,
    end: usize,
}

/// A write being filled, with the answers that it allows.
struct Batch {
    buffer: WriteBuffer,
    answers: Vec<u8>,
    owners: Vec<(u32, usize)>,
}

/// The write in flight: what it answers, whose answers those are, and how many bytes it is to write. Its memory is with the ring.
struct Writing {
    answers: Vec<u8>,
    owners: Vec<(u32, usize)>,
    bytes: usize,
}

/// Serves until `stop`.
///
/// # Errors
/// When the ring, the listener or the disk fails; a broken connection is closed instead.
pub fn serve(
    listener: &TcpListener,
    wire: Wire,
    file: ZeroedFile,
    stop: &AtomicBool,
) -> Result<(), PerfError> {
    let failed = |error| PerfError::network("running the ring floor", error);
    let mut ring = Ring::new(RECEIVE_BUFFERS, RECEIVE_BUFFER_BYTES).map_err(failed)?;
    ring.accept(listener.as_fd());
    let batch = || {
        Ok(Batch {
            buffer: WriteBuffer::new()?,
            answers: Vec::new(),
            owners: Vec::new(),
        })
    };
    let mut server = Server {
        wire,
        file,
        ring,
        connections: Vec::new(),
        waiting: VecDeque::new(),
        filling: batch().map_err(failed)?,
        idle: Some(batch().map_err(failed)?),
        writing: None,
        starved: false,
    };
    let mut events = Vec::with_capacity(1024);
    while !stop.load(Ordering::Relaxed) {
        server.round(listener, &mut events).map_err(failed)?;
    }
    Ok(())
}

struct Server {
    wire: Wire,
    file: ZeroedFile,
    ring: Ring,
    connections: Vec<Option<Connection>>,
    waiting: VecDeque<Waiting>,
    filling: Batch,
    idle: Option<Batch>,
    writing: Option<Writing>,
    /// A receive ended for want of buffers.
    starved: bool,
}

impl Server {
    fn round(&mut self, listener: &TcpListener, events: &mut Vec<Event>) -> io::Result<()> {
        self.ring.wait(Duration::from_millis(100), events)?;
        for event in events.drain(..) {
            self.handle(event, listener)?;
        }
        self.take_waiting();
        if self.writing.is_none() && !self.filling.buffer.is_empty() {
            self.write();
            self.take_waiting();
        }
        // Asking again while hardly a buffer is free would only bring the same refusal again, in a circle.
        if self.starved && self.waiting.len() <= usize::from(RECEIVE_BUFFERS) / 2 {
            self.arm_all();
        }
        Ok(())
    }

    fn handle(&mut self, event: Event, listener: &TcpListener) -> io::Result<()> {
        match event {
            Event::Accepted { socket, armed } => {
                if !armed {
                    self.ring.accept(listener.as_fd());
                }
                self.add(socket)?;
            }
            Event::Received {
                connection,
                buffer,
                bytes,
                armed,
            } => {
                self.waiting.push_back(Waiting {
                    connection,
                    buffer,
                    begin: 0,
                    end: bytes,
                });
                if !armed {
                    self.disarmed(connection, false);
                }
            }
            Event::ReceiveEnded { connection, result } => {
                self.disarmed(connection, result != -libc::ENOBUFS);
            }
            Event::Sent {
                connection,
                bytes,
                result,
            } => self.sent(connection, bytes, result),
            Event::Written { memory, result } => {
                let Writing {
                    answers,
                    owners,
                    bytes,
                } = self.writing.take().expect("a write was in flight");
                if result != bytes as i32 {
                    return Err(io::Error::other(format!(
                        "a write of {bytes} bytes ended with {result}"
                    )));
                }
                self.release(&answers, &owners);
                self.idle = Some(Batch {
                    buffer: WriteBuffer::reuse(memory),
                    answers,
                    owners,
                });
            }
        }
        Ok(())
    }

    fn add(&mut self, socket: OwnedFd) -> io::Result<()> {
        rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
        let free = self.connections.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.ring.receive(socket.as_fd(), index as u32);
        self.connections[index] = Some(Connection {
            socket,
            partial: Vec::new(),
            output: Vec::new(),
            idle_output: Vec::new(),
            sending: false,
            armed: true,
            over: false,
        });
        Ok(())
    }

    fn disarmed(&mut self, index: u32, over: bool) {
        if let Some(connection) = &mut self.connections[index as usize] {
            connection.armed = false;
            connection.over |= over;
            self.starved |= !over;
        }
        self.forget_if_over(index);
    }

    fn arm_all(&mut self) {
        self.starved = false;
        for (index, connection) in self.connections.iter_mut().enumerate() {
            if let Some(connection) = connection
                && !connection.armed
                && !connection.over
            {
                connection.armed = true;
                self.ring.receive(connection.socket.as_fd(), index as u32);
            }
        }
    }

    /// Frames from what was received, until the write being filled has no room for the next one.
    fn take_waiting(&mut self) {
        while let Some(waiting) = self.waiting.front_mut() {
            let Some(connection) = &mut self.connections[waiting.connection as usize] else {
                let gone = self.waiting.pop_front().expect("it is the front");
                self.ring.give_back(gone.buffer);
                continue;
            };
            let input = self.ring.received(waiting.buffer, waiting.end);
            let mut taker = Taker {
                wire: &mut self.wire,
                filling: &mut self.filling,
                index: waiting.connection,
            };
            let outcome = match connection.over {
                true => Ok(true),
                false => taker.take(connection, input, &mut waiting.begin),
            };
            let index = waiting.connection;
            match outcome {
                Ok(false) => return,
                Ok(true) => {
                    let done = self.waiting.pop_front().expect("it is the front");
                    self.ring.give_back(done.buffer);
                }
                Err(why) => self.close(index, &why),
            }
            self.send(index);
            self.forget_if_over(index);
        }
    }

    fn write(&mut self) {
        let Some(next) = self.idle.take() else {
            return;
        };
        let full = std::mem::replace(&mut self.filling, next);
        let bytes = full.buffer.padded_bytes();
        let position = self.file.advance(bytes);
        let file = self.file.file.as_fd();
        self.ring
            .write_durably(file, position, full.buffer.memory, bytes);
        self.writing = Some(Writing {
            answers: full.answers,
            owners: full.owners,
            bytes,
        });
        self.filling.answers.clear();
        self.filling.owners.clear();
    }

    /// The answers of a write that is on the disk, one send for each connection.
    fn release(&mut self, answers: &[u8], owners: &[(u32, usize)]) {
        let mut begin = 0;
        for (owner, length) in owners {
            if let Some(connection) = &mut self.connections[*owner as usize] {
                connection
                    .output
                    .extend_from_slice(&answers[begin..begin + length]);
            }
            begin += length;
        }
        for (owner, _) in owners {
            self.send(*owner);
            self.forget_if_over(*owner);
        }
    }

    fn send(&mut self, index: u32) {
        let Some(connection) = &mut self.connections[index as usize] else {
            return;
        };
        if connection.output.len() > OUTPUT_BYTES_MAX {
            return self.close(index, "its answers are not taken");
        }
        if connection.sending || connection.over || connection.output.is_empty() {
            return;
        }
        connection.sending = true;
        let idle = std::mem::take(&mut connection.idle_output);
        let bytes = std::mem::replace(&mut connection.output, idle);
        self.ring.send(connection.socket.as_fd(), index, bytes);
    }

    fn sent(&mut self, index: u32, mut bytes: Vec<u8>, result: i32) {
        if let Some(connection) = &mut self.connections[index as usize] {
            connection.sending = false;
            connection.over |= result != bytes.len() as i32;
            bytes.clear();
            connection.idle_output = bytes;
        }
        self.send(index);
        self.forget_if_over(index);
    }

    fn close(&mut self, index: u32, why: &str) {
        eprintln!("floor-server: connection {index} closed: {why}");
        if let Some(connection) = &mut self.connections[index as usize] {
            connection.over = true;
            // Ends the receive that is under way; the rest follows its completion.
            let _ = rustix::net::shutdown(&connection.socket, rustix::net::Shutdown::Both);
        }
    }

    /// Lets go of a connection that is over, once neither the kernel nor a write still has to do with it.
    fn forget_if_over(&mut self, index: u32) {
        let slot = &mut self.connections[index as usize];
        if !slot
            .as_ref()
            .is_some_and(|it| it.over && !it.armed && !it.sending)
        {
            return;
        }
        let waiting = self.waiting.iter().any(|it| it.connection == index);
        let owed = |owners: &[(u32, usize)]| owners.iter().any(|(owner, _)| *owner == index);
        let owed = owed(&self.filling.owners)
            || self
                .writing
                .as_ref()
                .is_some_and(|writing| owed(&writing.owners));
        if !waiting && !owed {
            *slot = None;
        }
    }
}

/// Takes one connection's frames into the write being filled.
struct Taker<'a> {
    wire: &'a mut Wire,
    filling: &'a mut Batch,
    index: u32,
}

impl Taker<'_> {
    /// True when all of `input` from `begin` on is taken, false when the write has no room for the next frame.
    fn take(
        &mut self,
        connection: &mut Connection,
        input: &[u8],
        begin: &mut usize,
    ) -> Result<bool, String> {
        loop {
            let rest = &input[*begin..];
            if !connection.partial.is_empty() {
                // The rest of a frame that came in pieces.
                let partial = &mut connection.partial;
                let missing_length = LENGTH_BYTES.saturating_sub(partial.len());
                let wanted = match wire::frame_bytes(partial, WRITE_BYTES_MAX)? {
                    None => missing_length,
                    Some(length) => LENGTH_BYTES + length - partial.len(),
                };
                let count = wanted.min(rest.len());
                partial.extend_from_slice(&rest[..count]);
                *begin += count;
                match wire::frame_bytes(partial, WRITE_BYTES_MAX)? {
                    Some(length) if partial.len() == LENGTH_BYTES + length => {
                        if length > self.filling.buffer.room() {
                            return Ok(false);
                        }
                        let whole = std::mem::take(&mut connection.partial);
                        self.frame(connection, &whole[LENGTH_BYTES..])?;
                        connection.partial = whole;
                        connection.partial.clear();
                    }
                    _ if *begin == input.len() => return Ok(true),
                    _ => {}
                }
                continue;
            }
            match wire::frame_bytes(rest, WRITE_BYTES_MAX)? {
                _ if rest.is_empty() => return Ok(true),
                Some(length) if rest.len() >= LENGTH_BYTES + length => {
                    if length > self.filling.buffer.room() {
                        return Ok(false);
                    }
                    self.frame(connection, &rest[LENGTH_BYTES..LENGTH_BYTES + length])?;
                    *begin += LENGTH_BYTES + length;
                }
                length => {
                    connection
                        .partial
                        .reserve(LENGTH_BYTES + length.unwrap_or(0));
                    connection.partial.extend_from_slice(rest);
                    *begin = input.len();
                    return Ok(true);
                }
            }
        }
    }

    fn frame(&mut self, connection: &mut Connection, frame: &[u8]) -> Result<(), String> {
        let before = self.filling.answers.len();
        let Batch {
            buffer, answers, ..
        } = self.filling;
        match self
            .wire
            .take(frame, &mut |batch| buffer.push(batch), answers)?
        {
            Taken::Produce => self
                .filling
                .owners
                .push((self.index, self.filling.answers.len() - before)),
            Taken::Call => connection
                .output
                .extend(self.filling.answers.drain(before..)),
        }
        Ok(())
    }
}
