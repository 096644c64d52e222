//! A seeded storm: clients that connect, cut frames, half-close and vanish against a machine that stops, resumes, closes and aborts at random.
//! The machine checks the shell's promises at every event; clients check the order of what they are answered.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use odradek_server::machine::{ConnectionId, Machine, MachineAction, MachineEvent, Now};

use odradek_server::shell::ZeroCopyLimits;

use super::support::{Node, Numbers, exit, framed, options};

/// What the machine knows of a connection.
#[derive(Default)]
struct Known {
    frames: u32,
    stopped: bool,
    ended: bool,
}

struct Auditor {
    numbers: Numbers,
    known: HashMap<ConnectionId, Known>,
    stopped: Vec<ConnectionId>,
    last_us: u64,
    closed: Arc<AtomicU64>,
}

impl Auditor {
    /// The frame is a number that counts up, with padding behind.
    fn frame(
        &mut self,
        connection: ConnectionId,
        frame: &Bytes,
        actions: &mut Vec<MachineAction<()>>,
    ) {
        let known = self
            .known
            .get_mut(&connection)
            .expect("a frame of an open connection");
        assert!(!known.stopped, "a frame of a stopped connection");
        assert!(
            !known.ended,
            "a frame after the machine ended the connection"
        );
        let number = u32::from_be_bytes(frame[..4].try_into().expect("four bytes"));
        assert_eq!(number, known.frames, "frames in order, none lost");
        known.frames += 1;
        actions.push(super::support::answer(connection, frame.clone()));
        match self.numbers.below(200) {
            0..10 => {
                known.stopped = true;
                self.stopped.push(connection);
                actions.push(MachineAction::StopReading { connection });
            }
            10 => {
                known.ended = true;
                actions.push(MachineAction::Close { connection });
            }
            11 => {
                known.ended = true;
                actions.push(MachineAction::Abort { connection });
            }
            _ => {}
        }
    }

    fn resume_one(&mut self, actions: &mut Vec<MachineAction<()>>) {
        if self.stopped.is_empty() {
            return;
        }
        let connection = self
            .stopped
            .swap_remove(self.numbers.below(self.stopped.len()));
        // It may be gone: the action is ignored then.
        if let Some(known) = self.known.get_mut(&connection) {
            known.stopped = false;
        }
        actions.push(MachineAction::ResumeReading { connection });
    }
}

impl Machine for Auditor {
    type Mail = ();

    fn step(&mut self, now: Now, event: MachineEvent<()>, actions: &mut Vec<MachineAction<()>>) {
        assert!(actions.is_empty() && now.monotonic_us >= self.last_us);
        self.last_us = now.monotonic_us;
        match event {
            MachineEvent::Tick => self.resume_one(actions),
            MachineEvent::ConnectionOpened { connection, .. } => {
                let before = self.known.insert(connection, Known::default());
                assert!(before.is_none(), "{connection} opened twice");
            }
            MachineEvent::Frame { connection, frame } => self.frame(connection, &frame, actions),
            MachineEvent::ConnectionClosed { connection } => {
                let known = self.known.remove(&connection);
                assert!(
                    known.is_some(),
                    "{connection} closed twice, or never opened"
                );
                self.closed.fetch_add(1, Ordering::Relaxed);
            }
            MachineEvent::ShutdownRequested { .. } => actions.push(exit()),
            _ => {}
        }
    }

    // While somebody is stopped, a tick every 200 µs lets one go on.
    fn next_deadline_us(&self) -> Option<u64> {
        (!self.stopped.is_empty()).then_some(self.last_us + 200)
    }
}

/// One client's life: frames in random pieces, some left unfinished, answers read or not.
fn live(node: &Node, seed: u64) {
    let mut numbers = Numbers(seed);
    let mut client = node.connect();
    let count = 1 + numbers.below(30);
    let mut bytes: Vec<u8> = Vec::new();
    let mut ends = Vec::new();
    for number in 0..count as u32 {
        let mut frame = number.to_be_bytes().to_vec();
        frame.resize(4 + numbers.below(5000), 0);
        bytes.extend_from_slice(&framed(&frame));
        ends.push(bytes.len());
    }
    if numbers.below(4) == 0 {
        bytes.truncate(numbers.below(bytes.len()));
    }
    let whole = ends.iter().filter(|end| **end <= bytes.len()).count();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at((1 + numbers.below(9000)).min(rest.len()));
        if client.stream.write_all(piece).is_err() {
            return;
        }
        rest = behind;
    }
    match numbers.below(3) {
        0 => {}
        1 => {
            let _ = client.stream.shutdown(std::net::Shutdown::Write);
            read_answers(&mut client, count + 1);
        }
        _ => read_answers(&mut client, numbers.below(whole + 1)),
    }
}

/// Reads so many answers, or up to the end of the connection.
fn read_answers(client: &mut super::support::Client, count: usize) {
    for number in 0..count as u32 {
        let Ok(answer) = client.receive() else { return };
        assert_eq!(answer[..4], number.to_be_bytes());
    }
}

#[test]
fn a_storm_of_clients_breaks_no_promise() {
    storm(ZeroCopyLimits::default());
}

#[test]
fn a_storm_of_clients_breaks_no_promise_without_copies() {
    storm(ZeroCopyLimits {
        bytes_min: 1000,
        bytes_max: 60_000,
        connection_bytes_max: 20_000,
        loopback: true,
    });
}

fn storm(zero_copy: ZeroCopyLimits) {
    let seed = std::env::var("ODRADEK_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(20_261_123);
    println!("seed {seed}");
    let closed = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&closed);
    let mut options = options(2);
    // Small bounds, so that every one of them is met.
    options.limits.queued_bytes_high = 20_000;
    options.limits.queued_bytes_low = 5_000;
    options.limits.held_bytes_max = 100_000;
    options.limits.zero_copy = zero_copy;
    options.ring.receive_buffers = 4;
    options.ring.receive_buffer_bytes = 2048;
    options.ring.entries = 8;
    let node = Node::start(options, vec![Vec::new(); 2], move |core| Auditor {
        numbers: Numbers(seed + u64::from(core)),
        known: HashMap::new(),
        stopped: Vec::new(),
        last_us: 0,
        closed: Arc::clone(&counted),
    });
    let (threads, lives) = (8, 150);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let node = &node;
            scope.spawn(move || {
                for life in 0..lives {
                    live(node, seed ^ (thread << 32 | life));
                }
            });
        }
    });
    // Every connection's end is told, once, and nothing is held for any. Hangs where one is not.
    while closed.load(Ordering::Relaxed) < threads * lives {
        std::thread::yield_now();
    }
    while node.metric("odradek_connections_open") > 0 {
        std::thread::yield_now();
    }
    assert_eq!(closed.load(Ordering::Relaxed), threads * lives);
    assert_eq!(node.metric("odradek_loop_wake_ups_lost_total"), 0);
}
