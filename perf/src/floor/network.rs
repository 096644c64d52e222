//! What the loopback can do at best: small questions echoed one at a time, and bytes received one way, over blocking calls, epoll and io_uring.
//! The command `floor` shows it.
//!
//! An echo is bounded by two wake-ups of a thread and four copies of a few bytes; receiving by two copies of every byte, in sender and receiver.

use super::Line;
use crate::PerfError;
use crate::ring::{Event, Ring};
use hdrhistogram::Histogram;
use rustix::event::epoll;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Bytes of a small question and of its answer.
const ECHO_BYTES: usize = 128;
/// Bytes of one send of the one-way flow, and of one receive.
const FLOW_BYTES: usize = 256 << 10;

#[derive(Clone, Copy)]
enum Way {
    Blocking,
    Epoll,
    Ring,
}

const WAYS: [(Way, &str); 3] = [
    (Way::Blocking, "blocking calls"),
    (Way::Epoll, "epoll"),
    (Way::Ring, "io_uring, multishot receive"),
];

/// Both for `time` in each way.
///
/// # Errors
/// The operating system's.
pub(super) fn echo_and_receive(
    time: Duration,
    show: &mut dyn FnMut(Line),
) -> Result<(), PerfError> {
    for (way, words) in WAYS {
        let failed = |error| PerfError::network(format!("echo over {words}"), error);
        let (latency, seconds) = echo(way, time).map_err(failed)?;
        let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
        show(Line::new(
            &format!("TCP echo of {ECHO_BYTES} bytes, one at a time: {words}"),
            &[
                ("p50 us", at(0.5)),
                ("p99 us", at(0.99)),
                ("a second", latency.len() as f64 / seconds),
            ],
        ));
    }
    for (way, words) in WAYS {
        let failed = |error| PerfError::network(format!("receiving over {words}"), error);
        let rate = receive(way, time).map_err(failed)?;
        show(Line::new(
            &format!("TCP one-way receive: {words}"),
            &[("MB/s", rate)],
        ));
    }
    Ok(())
}

pub(super) fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    ours.set_nodelay(true)?;
    theirs.set_nodelay(true)?;
    Ok((ours, theirs))
}

fn echo(way: Way, time: Duration) -> io::Result<(Histogram<u64>, f64)> {
    let (mut client, server) = pair()?;
    let echoing = std::thread::spawn(move || serve(way, server, true));
    let mut latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)?;
    let mut bytes = [7; ECHO_BYTES];
    let began = Instant::now();
    while began.elapsed() < time {
        let at = Instant::now();
        client.write_all(&bytes)?;
        client.read_exact(&mut bytes)?;
        latency.saturating_record(at.elapsed().as_nanos() as u64);
    }
    let seconds = began.elapsed().as_secs_f64();
    client.shutdown(Shutdown::Both)?;
    echoing
        .join()
        .map_err(|_| io::Error::other("the echo panicked"))??;
    Ok((latency, seconds))
}

fn receive(way: Way, time: Duration) -> io::Result<f64> {
    let (mut client, server) = pair()?;
    let began = Instant::now();
    let sending = std::thread::spawn(move || {
        let bytes = vec![7; FLOW_BYTES];
        while began.elapsed() < time {
            client.write_all(&bytes)?;
        }
        client.shutdown(Shutdown::Write)
    });
    let received = serve(way, server, false)?;
    let seconds = began.elapsed().as_secs_f64();
    sending
        .join()
        .map_err(|_| io::Error::other("the sender panicked"))??;
    Ok(received as f64 / 1e6 / seconds)
}

/// Receives until the peer is done, and sends all of it back where asked to. Gives the bytes received.
fn serve(way: Way, stream: TcpStream, echo: bool) -> io::Result<u64> {
    match way {
        Way::Blocking => serve_blocking(stream, echo),
        Way::Epoll => serve_epoll(stream, echo),
        Way::Ring => serve_ring(&stream, echo),
    }
}

pub(super) fn serve_blocking(mut stream: TcpStream, echo: bool) -> io::Result<u64> {
    let mut bytes = vec![0; FLOW_BYTES];
    let mut received = 0;
    loop {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Ok(received);
        }
        received += count as u64;
        if echo {
            stream.write_all(&bytes[..count])?;
        }
    }
}

fn serve_epoll(mut stream: TcpStream, echo: bool) -> io::Result<u64> {
    stream.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let data = epoll::EventData::new_u64(0);
    epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
    let mut bytes = vec![0; FLOW_BYTES];
    let mut received = 0;
    loop {
        let mut events = [const { std::mem::MaybeUninit::uninit() }; 1];
        match epoll::wait(&epoll, &mut events, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match stream.read(&mut bytes) {
            Ok(0) => return Ok(received),
            Ok(count) => {
                received += count as u64;
                if echo {
                    // 128 bytes always have room in the socket of a peer that waits for them.
                    stream.write_all(&bytes[..count])?;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn serve_ring(stream: &TcpStream, echo: bool) -> io::Result<u64> {
    // Few buffers, so that they stay in the cache.
    let mut ring = Ring::new(8, FLOW_BYTES)?;
    ring.receive(stream.as_fd(), 0);
    let (mut events, mut received) = (Vec::new(), 0);
    loop {
        ring.wait(Duration::from_secs(1), &mut events)?;
        for event in events.drain(..) {
            match event {
                Event::Received {
                    buffer,
                    bytes,
                    armed,
                    ..
                } => {
                    received += bytes as u64;
                    if echo {
                        let answer = ring.received(buffer, bytes).to_vec();
                        ring.send(stream.as_fd(), 0, answer);
                    }
                    ring.give_back(buffer);
                    if !armed {
                        ring.receive(stream.as_fd(), 0);
                    }
                }
                Event::ReceiveEnded { result, .. } if result == -libc::ENOBUFS => {
                    ring.receive(stream.as_fd(), 0);
                }
                Event::ReceiveEnded { .. } => return Ok(received),
                Event::Sent { .. } | Event::Accepted { .. } | Event::Written { .. } => {}
            }
        }
    }
}
