//! Frames in, frames out: in order, whole, however they are cut and however many come at once.

use std::io::Write;

use bytes::Bytes;
use odradek_server::machine::{ConnectionId, Machine, MachineAction, MachineEvent, Now};

use odradek_server::shell::{Health, Pages, ZeroCopyLimits};

use super::support::{Client, Echo, Node, Numbers, answer, exit, framed, options};

fn echo(cores: usize) -> Node {
    Node::start(options(cores), vec![Vec::new(); cores], |_| Echo)
}

#[test]
fn frames_cut_anywhere_come_back_in_order() {
    let node = echo(1);
    let mut client = node.connect();
    let mut numbers = Numbers(7);
    let frames: Vec<Vec<u8>> = (0..300)
        .map(|index| vec![index as u8; numbers.below(2000)])
        .collect();
    let bytes: Vec<u8> = frames.iter().flat_map(|frame| framed(frame)).collect();
    let mut writer = client.stream.try_clone().expect("a socket can be shared");
    let writing = std::thread::spawn(move || {
        let mut at = 0;
        while at < bytes.len() {
            let length = (1 + numbers.below(700)).min(bytes.len() - at);
            writer
                .write_all(&bytes[at..at + length])
                .expect("the node reads");
            at += length;
        }
    });
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!(
            client.receive().expect("an answer"),
            *frame,
            "frame {index}"
        );
    }
    writing.join().expect("the writer is done");
}

#[test]
fn thousands_of_pipelined_frames_come_back_in_order() {
    let node = echo(1);
    let mut client = node.connect();
    let count = 20_000u32;
    let mut bytes = Vec::new();
    for index in 0..count {
        bytes.extend_from_slice(&framed(&index.to_be_bytes()));
    }
    let mut writer = client.stream.try_clone().expect("a socket can be shared");
    let writing = std::thread::spawn(move || writer.write_all(&bytes));
    for index in 0..count {
        assert_eq!(client.receive().expect("an answer"), index.to_be_bytes());
    }
    writing.join().expect("no panic").expect("all was taken");
}

#[test]
fn a_frame_of_10_mib_comes_back_whole() {
    let node = echo(2);
    let mut client = node.connect();
    let frame: Vec<u8> = (0..10 << 20)
        .map(|index: u32| (index % 251) as u8)
        .collect();
    for _ in 0..2 {
        let mut writer = client.stream.try_clone().expect("a socket can be shared");
        let bytes = framed(&frame);
        let writing = std::thread::spawn(move || writer.write_all(&bytes));
        let answer = client.receive().expect("an answer");
        assert!(answer == frame, "the bytes differ");
        writing.join().expect("no panic").expect("all was taken");
    }
}

/// Echoes large frames without copies, the client reading slowly enough for what is lent to pile up.
fn lend(zero_copy: ZeroCopyLimits) -> (u64, u64) {
    let mut options = options(1);
    options.limits.zero_copy = zero_copy;
    let node = Node::start(options, vec![Vec::new()], |_| Echo);
    let mut client = node.connect();
    let mut numbers = Numbers(11);
    let frames: Vec<Vec<u8>> = (0..200)
        .map(|index| vec![index as u8; numbers.below(200_000)])
        .collect();
    let bytes: Vec<u8> = frames.iter().flat_map(|frame| framed(frame)).collect();
    let mut writer = client.stream.try_clone().expect("a socket can be shared");
    let writing = std::thread::spawn(move || writer.write_all(&bytes));
    for (index, frame) in frames.iter().enumerate() {
        let answer = client.receive().expect("an answer");
        assert!(answer == *frame, "the bytes of frame {index} differ");
    }
    writing.join().expect("no panic").expect("all was taken");
    (
        node.metric("odradek_sends_zero_copy_total"),
        node.metric("odradek_sends_zero_copy_copied_total"),
    )
}

#[test]
fn large_answers_leave_without_a_copy_and_arrive_whole() {
    let loopback = true;
    let everything = ZeroCopyLimits {
        bytes_min: 1,
        loopback,
        ..ZeroCopyLimits::default()
    };
    let (lent, _) = lend(everything);
    // How many depends on how the bytes come; the first does not.
    assert!(lent > 0, "{lent} sends were lent");
    let little = ZeroCopyLimits {
        bytes_max: 300_000,
        loopback,
        ..ZeroCopyLimits::default()
    };
    // Some are lent and some copied, as they come; the bytes are the same.
    lend(little);
}

#[test]
fn what_goes_to_this_machine_itself_is_copied_at_once() {
    assert_eq!(lend(ZeroCopyLimits::default()), (0, 0));
}

#[test]
fn an_empty_frame_is_a_frame() {
    let node = echo(1);
    let mut client = node.connect();
    client.send(b"");
    assert_eq!(client.receive().expect("an answer"), b"");
}

#[test]
fn many_connections_are_spread_over_the_cores_and_served() {
    let node = echo(2);
    let mut clients: Vec<Client> = (0..500).map(|_| node.connect()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(format!("client {index}").as_bytes());
    }
    for (index, client) in clients.iter_mut().enumerate() {
        let expected = format!("client {index}");
        assert_eq!(client.receive().expect("an answer"), expected.as_bytes());
    }
    let text = node.registry.text();
    for core in 0..2 {
        let line = format!("odradek_connections_open{{core=\"{core}\"}} 250");
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let node = echo(2);
    for round in 0..300 {
        let mut client = node.connect();
        client.send(&[round as u8; 100]);
        if round % 3 > 0 {
            client.receive().expect("an answer");
        }
    }
    // The node sees the last ends in its own time; a new connection's answer comes after them.
    while node.metric("odradek_connections_open") > 0 {
        node.connect().send(b"are they gone?");
        std::thread::yield_now();
    }
    assert_eq!(node.metric("odradek_request_bytes_held"), 0);
}

#[test]
fn a_client_that_never_reads_does_not_stall_the_others() {
    let node = echo(1);
    let mut deaf = node.connect();
    deaf.stream.set_nonblocking(true).expect("sockets have it");
    let frame = framed(&vec![1; 60_000]);
    let mut refused = 0;
    let mut sent = 0;
    // Write until the node stops reading: both sides' socket buffers are full then.
    while refused < 200 {
        match deaf.stream.write(&frame[sent..]) {
            Ok(written) => {
                refused = 0;
                sent = (sent + written) % frame.len();
            }
            Err(_) => {
                refused += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
    let mut healthy = node.connect();
    for index in 0..1000u32 {
        healthy.send(&index.to_be_bytes());
        assert_eq!(healthy.receive().expect("an answer"), index.to_be_bytes());
    }
    assert!(node.metric("odradek_read_stops_queue_total") >= 1);
}

/// Answers frames only after it was told "go", and has reading stopped until then.
#[derive(Default)]
struct Hesitant {
    stopped: Option<ConnectionId>,
    delivered: u32,
}

impl Machine for Hesitant {
    type Mail = ();

    fn step(&mut self, _now: Now, event: MachineEvent<()>, actions: &mut Vec<MachineAction<()>>) {
        match event {
            MachineEvent::Frame { connection, frame } if frame == "go" => {
                let stopped = self.stopped.take().expect("somebody was stopped");
                actions.push(answer(connection, Bytes::from(self.delivered.to_string())));
                actions.push(MachineAction::ResumeReading {
                    connection: stopped,
                });
            }
            MachineEvent::Frame { connection, frame } => {
                self.delivered += 1;
                actions.push(answer(connection, frame));
                if self.delivered == 1 {
                    self.stopped = Some(connection);
                    actions.push(MachineAction::StopReading { connection });
                }
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
fn stopped_reading_holds_back_even_frames_of_the_same_receive() {
    let node = Node::start(options(1), vec![Vec::new()], |_| Hesitant::default());
    let mut stopped = node.connect();
    let burst: Vec<u8> = (0..100u8).flat_map(|index| framed(&[index])).collect();
    stopped.stream.write_all(&burst).expect("the node reads");
    assert_eq!(stopped.receive().expect("the first answer"), [0]);
    let mut other = node.connect();
    other.send(b"go");
    assert_eq!(
        other.receive().expect("an answer"),
        b"1",
        "one frame was delivered"
    );
    for index in 1..100u8 {
        assert_eq!(stopped.receive().expect("an answer"), [index]);
    }
}

#[test]
fn frames_sent_before_a_half_close_are_answered() {
    let node = echo(1);
    let mut client = node.connect();
    for index in 0..50u8 {
        client.send(&[index]);
    }
    client
        .stream
        .shutdown(std::net::Shutdown::Write)
        .expect("it is open");
    for index in 0..50u8 {
        assert_eq!(client.receive().expect("an answer"), [index]);
    }
    assert!(client.is_closed());
}

/// Counts bytes of frames over all connections; answers "how many" only.
#[derive(Default)]
struct Counting {
    bytes: usize,
    closed: u32,
}

impl Machine for Counting {
    type Mail = ();

    fn step(&mut self, _now: Now, event: MachineEvent<()>, actions: &mut Vec<MachineAction<()>>) {
        match event {
            MachineEvent::Frame { connection, frame } if frame == "how many" => {
                let text = format!("{} {}", self.bytes, self.closed);
                actions.push(answer(connection, Bytes::from(text)));
            }
            MachineEvent::Frame { connection, frame } => {
                self.bytes += frame.len();
                // An answer that the peer leaves unread makes its end a reset.
                actions.push(answer(connection, Bytes::from_static(b"unread")));
            }
            MachineEvent::ConnectionClosed { .. } => self.closed += 1,
            MachineEvent::ShutdownRequested { .. } => actions.push(exit()),
            _ => {}
        }
    }

    fn next_deadline_us(&self) -> Option<u64> {
        None
    }
}

#[test]
fn frames_of_clients_that_leave_without_reading_count() {
    let node = Node::start(options(1), vec![Vec::new()], |_| Counting::default());
    for _ in 0..50 {
        let mut client = node.connect();
        client.send(&[1; 3000]);
        client.send(&[2; 2000]);
        // Gone at once; the first answer may reach a closed socket.
    }
    let mut asking = node.connect();
    loop {
        asking.send(b"how many");
        let answer = asking.receive().expect("an answer");
        if answer.ends_with(b" 50") {
            assert_eq!(answer, b"250000 50");
            return;
        }
    }
}

/// Says farewell and closes, or aborts, as the frame says.
struct Closer;

impl Machine for Closer {
    type Mail = ();

    fn step(&mut self, _now: Now, event: MachineEvent<()>, actions: &mut Vec<MachineAction<()>>) {
        match event {
            MachineEvent::Frame { connection, frame } => {
                let farewell = Bytes::from(vec![9; 3 << 20]);
                actions.push(answer(connection, farewell));
                actions.push(if frame == "abort" {
                    MachineAction::Abort { connection }
                } else {
                    MachineAction::Close { connection }
                });
                actions.push(answer(connection, Bytes::from_static(b"too late")));
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
fn closing_sends_what_was_queued_and_aborting_does_not() {
    let node = Node::start(options(1), vec![Vec::new()], |_| Closer);
    let mut client = node.connect();
    client.send(b"close");
    assert_eq!(client.receive().expect("the farewell").len(), 3 << 20);
    assert!(client.is_closed());
    let mut client = node.connect();
    client.send(b"abort");
    assert!(client.is_closed());
}

#[test]
fn an_exit_ends_the_node_after_its_answers() {
    let node = echo(2);
    let mut client = node.connect();
    client.send(b"last words");
    assert_eq!(client.receive().expect("an answer"), b"last words");
    node.shut_down();
    assert!(client.is_closed());
    assert_eq!(node.wait().code, 0);
}

/// Fails at the first frame.
struct Fatal;

impl Machine for Fatal {
    type Mail = ();

    fn step(&mut self, _now: Now, event: MachineEvent<()>, actions: &mut Vec<MachineAction<()>>) {
        if let MachineEvent::Frame { .. } = event {
            actions.push(MachineAction::Exit {
                code: 7,
                reason: "all directories are offline".to_owned(),
            });
        }
    }

    fn next_deadline_us(&self) -> Option<u64> {
        None
    }
}

#[test]
fn one_core_that_fails_ends_the_whole_node_with_its_reason() {
    let node = Node::start(options(3), vec![Vec::new(); 3], |_| Fatal);
    node.connect().send(b"!");
    let exit = node.wait();
    assert_eq!(exit.code, 7);
    assert_eq!(exit.reason, "all directories are offline");
}

#[test]
fn http_serves_metrics_and_health() {
    let mut options = options(1);
    options.http = Some(super::support::loopback());
    let node = Node::start(options, vec![Vec::new()], |_| Echo);
    let mut client = node.connect();
    client.send(b"count me");
    client.receive().expect("an answer");
    let get = |path: &str| node.get(path);
    let metrics = get("/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(
        metrics.contains("odradek_frames_received_total{core=\"0\"} 1"),
        "{metrics}"
    );
    assert!(get("/health").starts_with("HTTP/1.1 200"));
    let other = get("/nothing");
    assert!(
        other.starts_with("HTTP/1.1 404") && other.contains("/metrics"),
        "{other}"
    );
}

#[test]
fn health_that_is_not_well_is_a_503_with_its_words() {
    let mut options = options(1);
    options.http = Some(super::support::loopback());
    let words = r#"{"state":"recovering"}"#;
    let unwell = move |registry| Pages {
        health: std::sync::Arc::new(move || Health {
            well: false,
            content_type: "application/json",
            text: words.to_owned(),
        }),
        ..Pages::of(registry)
    };
    let node = Node::start_with_pages(options, vec![Vec::new()], |_| Echo, unwell);
    let answer = node.get("/health");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("application/json") && answer.contains(words));
}

/// A builder that takes its time, as a recovery does.
#[test]
fn http_is_served_while_the_logs_are_recovered() {
    let mut options = options(1);
    options.http = Some(super::support::loopback());
    let (asked, hear) = std::sync::mpsc::channel::<()>();
    let hear = std::sync::Arc::new(std::sync::Mutex::new(hear));
    let build = move |_| {
        let hear = hear.lock().expect("nobody panics with it");
        hear.recv().expect("the test says when");
        Echo
    };
    let node = Node::start(options, vec![Vec::new()], build);
    assert!(node.get("/health").starts_with("HTTP/1.1 200"));
    asked.send(()).expect("the builder waits");
    let mut client = node.connect();
    client.send(b"recovered?");
    assert_eq!(client.receive().expect("an answer"), b"recovered?");
}
