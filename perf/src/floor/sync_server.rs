//! The synchronous produce floor: one thread that polls, reads, writes once and answers, in turn. `ring_server` overlaps them.
//!
//! What bounds it: with one request in hand, one wake-up, two system calls on the socket and one durable write, nothing else: no server can
//! answer sooner. With many, the network waits while the disk writes and the other way round, so the processor, the socket and the disk add up.

use super::store::{WRITE_BYTES_MAX, WriteBuffer, ZeroedFile};
use super::wire::{self, LENGTH_BYTES, Taken, Wire};
use crate::PerfError;
use rustix::event::{Timespec, epoll};
use rustix::io::ReadWriteFlags;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that one connection may have waiting here: one frame of the longest kind and a part of the next.
const INPUT_BYTES: usize = WRITE_BYTES_MAX + (256 << 10);
/// Answers that a client does not take; beyond, its connection is closed.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
const LISTENER: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    begin: usize,
    end: usize,
    output: Vec<u8>,
}

/// Serves until `stop`.
///
/// # Errors
/// When the listener, epoll or the disk fails; a broken connection is closed instead.
pub fn serve(
    listener: &TcpListener,
    wire: Wire,
    file: ZeroedFile,
    stop: &AtomicBool,
) -> Result<(), PerfError> {
    let failed = |error| PerfError::network("running the sync floor", error);
    listener.set_nonblocking(true).map_err(failed)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let data = epoll::EventData::new_u64(LISTENER);
    epoll::add(&epoll, listener, data, epoll::EventFlags::IN)
        .map_err(|error| failed(error.into()))?;
    let mut server = Server {
        wire,
        file,
        epoll,
        buffer: WriteBuffer::new().map_err(failed)?,
        connections: Vec::new(),
        ready: Vec::new(),
        kept_back: Vec::new(),
    };
    while !stop.load(Ordering::Relaxed) {
        server.round(listener).map_err(failed)?;
    }
    Ok(())
}

struct Server {
    wire: Wire,
    file: ZeroedFile,
    epoll: OwnedFd,
    buffer: WriteBuffer,
    connections: Vec<Option<Connection>>,
    /// Connections with bytes to read in this round.
    ready: Vec<usize>,
    /// Connections with whole frames that did not fit into the last round's write.
    kept_back: Vec<usize>,
}

impl Server {
    /// Poll, read, write, answer.
    fn round(&mut self, listener: &TcpListener) -> std::io::Result<()> {
        self.poll(listener)?;
        let earlier = std::mem::take(&mut self.kept_back);
        let ready = std::mem::take(&mut self.ready);
        for index in &earlier {
            self.take_frames(*index);
        }
        for index in &ready {
            if self.read(*index) {
                self.take_frames(*index);
            } else {
                self.connections[*index] = None;
            }
        }
        if !self.buffer.is_empty() {
            let bytes = self.buffer.padded_bytes();
            let position = self.file.advance(bytes);
            let slice = [IoSlice::new(&self.buffer.memory[..bytes])];
            let written =
                rustix::io::pwritev2(&self.file.file, &slice, position, ReadWriteFlags::DSYNC)?;
            if written != bytes {
                return Err(std::io::Error::other(format!(
                    "{written} of {bytes} bytes written"
                )));
            }
            self.buffer.clear();
        }
        for index in earlier.into_iter().chain(ready) {
            self.answer(index);
        }
        Ok(())
    }

    fn poll(&mut self, listener: &TcpListener) -> std::io::Result<()> {
        let mut events = [const { std::mem::MaybeUninit::uninit() }; 64];
        // Frames in hand are not waited for; else a tenth of a second, to hear of the end.
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: if self.kept_back.is_empty() {
                100_000_000
            } else {
                0
            },
        };
        let (events, _) = match epoll::wait(&self.epoll, &mut events, Some(&pause)) {
            Ok(events) => events,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in events.iter() {
            match event.data.u64() {
                LISTENER => {
                    let (stream, _) = listener.accept()?;
                    self.add(stream)?;
                }
                index => self.ready.push(index as usize),
            }
        }
        Ok(())
    }

    fn add(&mut self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let free = self.connections.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
        self.connections[index] = Some(Connection {
            stream,
            input: vec![0; INPUT_BYTES],
            begin: 0,
            end: 0,
            output: Vec::new(),
        });
        Ok(())
    }

    /// One read of all that fits. False when the connection is over.
    fn read(&mut self, index: usize) -> bool {
        let Some(connection) = &mut self.connections[index] else {
            return true;
        };
        if connection.begin > 0 {
            connection
                .input
                .copy_within(connection.begin..connection.end, 0);
            connection.end -= connection.begin;
            connection.begin = 0;
        }
        if connection.end == connection.input.len() {
            return true; // Its frames wait for a write; the socket keeps the rest.
        }
        match connection
            .stream
            .read(&mut connection.input[connection.end..])
        {
            Ok(0) => false,
            Ok(count) => {
                connection.end += count;
                true
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    /// Takes every whole frame that fits into this round's write.
    fn take_frames(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else {
            return;
        };
        loop {
            let input = &connection.input[connection.begin..connection.end];
            let length = match wire::frame_bytes(input, WRITE_BYTES_MAX) {
                Ok(Some(length)) if input.len() >= LENGTH_BYTES + length => length,
                Ok(_) => return,
                Err(why) => return self.close(index, &why),
            };
            if length > self.buffer.room() {
                if !self.kept_back.contains(&index) {
                    self.kept_back.push(index);
                }
                return;
            }
            let frame = &input[LENGTH_BYTES..LENGTH_BYTES + length];
            let buffer = &mut self.buffer;
            let taken = self.wire.take(
                frame,
                &mut |batch| buffer.push(batch),
                &mut connection.output,
            );
            match taken {
                Ok(Taken::Produce | Taken::Call) => connection.begin += LENGTH_BYTES + length,
                Err(why) => return self.close(index, &why),
            }
        }
    }

    fn answer(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else {
            return;
        };
        while !connection.output.is_empty() {
            match connection.stream.write(&connection.output) {
                Ok(count) => drop(connection.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Little is ever unsent: a client that takes no answers sends no requests. The rest goes with the next ones.
                Err(error)
                    if error.kind() == ErrorKind::WouldBlock
                        && connection.output.len() < OUTPUT_BYTES_MAX =>
                {
                    return;
                }
                Err(error) => return self.close(index, &error.to_string()),
            }
        }
    }

    fn close(&mut self, index: usize, why: &str) {
        eprintln!("floor-server: connection {index} closed: {why}");
        self.connections[index] = None;
    }
}
