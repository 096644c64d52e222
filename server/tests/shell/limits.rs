//! What a peer may not do: bad sizes, silence, too many connections, too much memory, reading nothing.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use odradek_server::machine::{Machine, MachineAction, MachineEvent, Now};
use odradek_server::shell::ConnectionLimits;

use super::support::{Echo, Node, exit, framed, options};

fn echo_with(limits: ConnectionLimits) -> Node {
    let mut options = options(1);
    options.limits = limits;
    Node::start(options, vec![Vec::new()], |_| Echo)
}

/// Waits for a count that the node reaches in its own time.
fn wait_for(node: &Node, metric: &str, count: u64) {
    for _ in 0..20_000 {
        if node.metric(metric) >= count {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{metric} does not reach {count}: {}", node.metric(metric));
}

#[test]
fn sizes_below_zero_and_above_the_maximum_close_and_frames_before_them_count() {
    let node = echo_with(ConnectionLimits {
        frame_bytes_max: 1000,
        ..ConnectionLimits::default()
    });
    for size in [-1i32, i32::MIN, 1001, i32::MAX] {
        let mut client = node.connect();
        let mut bytes = framed(b"before");
        bytes.extend_from_slice(&size.to_be_bytes());
        client.stream.write_all(&bytes).expect("the node reads");
        assert_eq!(client.receive().expect("an answer"), b"before");
        assert!(client.is_closed(), "size {size}");
    }
    let mut healthy = node.connect();
    healthy.send(&[1; 1000]);
    assert_eq!(healthy.receive().expect("an answer"), [1; 1000]);
}

#[test]
fn announcing_100_mib_holds_no_memory() {
    let node = echo_with(ConnectionLimits::default());
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = node.connect();
        let announced = (100i32 << 20).to_be_bytes();
        client.stream.write_all(&announced).expect("the node reads");
        client.stream.write_all(&[0; 100]).expect("the node reads");
        clients.push(client);
    }
    wait_for(&node, "odradek_received_bytes_total", 200 * 104);
    let mut healthy = node.connect();
    healthy.send(b"alive");
    assert_eq!(healthy.receive().expect("an answer"), b"alive");
    assert!(node.metric("odradek_request_bytes_held") < 200 * 400 + 1000);
}

#[test]
fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    let node = echo_with(ConnectionLimits {
        idle_ms: 300,
        ..ConnectionLimits::default()
    });
    let mut idle = node.connect();
    let mut half = node.connect();
    half.stream.write_all(&[0, 0]).expect("the node reads");
    let mut used = node.connect();
    while node.metric("odradek_connections_closed_idle_total") < 2 {
        used.send(b"still here");
        assert_eq!(used.receive().expect("an answer"), b"still here");
    }
    assert!(idle.is_closed() && half.is_closed());
    used.send(b"still here");
    assert_eq!(used.receive().expect("an answer"), b"still here");
}

#[test]
fn one_connection_too_many_is_closed_at_once() {
    for limits in [
        ConnectionLimits {
            connections_max: 3,
            ..ConnectionLimits::default()
        },
        ConnectionLimits {
            connections_per_ip_max: 3,
            ..ConnectionLimits::default()
        },
    ] {
        let node = echo_with(limits);
        let mut clients: Vec<_> = (0..3).map(|_| node.connect()).collect();
        for client in &mut clients {
            client.send(b"in");
            assert_eq!(client.receive().expect("an answer"), b"in");
        }
        assert!(node.connect().is_closed());
        assert_eq!(node.metric("odradek_connections_refused_total"), 1);
        // A place that is given up can be taken again.
        drop(clients.pop());
        wait_for(&node, "odradek_connections_closed_total", 1);
        let mut again = node.connect();
        again.send(b"in");
        assert_eq!(again.receive().expect("an answer"), b"in");
    }
}

#[test]
fn a_peer_that_takes_nothing_is_cut() {
    let node = echo_with(ConnectionLimits {
        stalled_ms: 200,
        queued_bytes_high: 100_000,
        queued_bytes_low: 50_000,
        ..ConnectionLimits::default()
    });
    let mut deaf = node.connect();
    deaf.stream
        .set_write_timeout(Some(Duration::from_secs(20)))
        .expect("a time-out above zero");
    let frame = framed(&vec![1; 90_000]);
    // Ends with an error once the node has cut the connection.
    while deaf.stream.write_all(&frame).is_ok() {}
    assert!(node.metric("odradek_connections_closed_stalled_total") >= 1);
    let mut healthy = node.connect();
    healthy.send(b"alive");
    assert_eq!(healthy.receive().expect("an answer"), b"alive");
}

/// Answers with the size of the frame, and lets go of it.
struct Sizes;

impl Machine for Sizes {
    type Mail = ();

    fn step(&mut self, _now: Now, event: MachineEvent<()>, actions: &mut Vec<MachineAction<()>>) {
        match event {
            MachineEvent::Frame { connection, frame } => {
                let size = Bytes::copy_from_slice(&(frame.len() as u32).to_be_bytes());
                actions.push(super::support::answer(connection, size));
            }
            MachineEvent::ShutdownRequested { .. } => actions.push(exit()),
            _ => {}
        }
    }

    fn next_deadline_us(&self) -> Option<u64> {
        None
    }
}

#[test]
fn memory_for_requests_is_bounded_and_unfinished_ones_do_not_lock_it_up() {
    let mut options = options(1);
    options.limits.held_bytes_max = 1 << 20;
    let node = Node::start(options, vec![Vec::new()], |_| Sizes);
    let frame = framed(&vec![5; 1 << 20]);
    let mut clients: Vec<_> = (0..40).map(|_| node.connect()).collect();
    // Forty frames are begun at the same time: two thirds of each would already be far more than the bound.
    let all_begun = std::sync::Barrier::new(clients.len() + 1);
    let highest = std::thread::scope(|scope| {
        for client in &mut clients {
            let (frame, all_begun) = (&frame, &all_begun);
            scope.spawn(move || {
                client
                    .stream
                    .write_all(&frame[..30_000])
                    .expect("the node reads");
                all_begun.wait();
                client
                    .stream
                    .write_all(&frame[30_000..])
                    .expect("the node reads");
                let size = client.receive().expect("an answer");
                assert_eq!(size, (1u32 << 20).to_be_bytes());
            });
        }
        // Even the beginnings are more than the bound.
        wait_for(&node, "odradek_read_stops_memory_total", 1);
        all_begun.wait();
        let mut highest = 0;
        while node.metric("odradek_frames_received_total") < 40 {
            highest = highest.max(node.metric("odradek_request_bytes_held"));
            std::thread::yield_now();
        }
        highest
    });
    // The bound, and what the receive buffers held when it was reached with room to grow; far less than all forty.
    assert!(highest < 20 << 20, "{highest} bytes were held");
}
