//! Starting a node of test machines, and a client that speaks in frames.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use odradek_server::machine::{ConnectionId, Machine, MachineAction, MachineEvent, Now, Segments};
use odradek_server::shell::{
    Exit, MachineBuilder, Pages, Registry, Shell, ShellHandle, ShellOptions,
};

/// A running node; asked to shut down when dropped.
pub struct Node {
    pub address: SocketAddr,
    pub http: Option<SocketAddr>,
    pub registry: Registry,
    handle: ShellHandle,
    thread: Option<JoinHandle<Exit>>,
}

pub fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Options with `cores` loops and one listener.
pub fn options(cores: usize) -> ShellOptions {
    ShellOptions {
        cores: vec![None; cores],
        listeners: vec![loopback()],
        ..ShellOptions::default()
    }
}

impl Node {
    pub fn start<M: Machine + 'static>(
        options: ShellOptions,
        logs: Vec<Vec<PathBuf>>,
        build: impl Fn(u16) -> M + Clone + Send + 'static,
    ) -> Self {
        Self::start_with_pages(options, logs, build, Pages::of)
    }

    pub fn start_with_pages<M: Machine + 'static>(
        options: ShellOptions,
        logs: Vec<Vec<PathBuf>>,
        build: impl Fn(u16) -> M + Clone + Send + 'static,
        pages: impl FnOnce(Registry) -> Pages,
    ) -> Self {
        let cores = options.cores.len();
        let shell = Shell::prepare(options).expect("the options are sound");
        let address = shell
            .listener_addresses()
            .first()
            .copied()
            .unwrap_or_else(loopback);
        let (http, registry, handle) = (shell.http_address(), shell.registry(), shell.handle());
        let builders: Vec<MachineBuilder<M>> = (0..cores)
            .map(|_| {
                let build = build.clone();
                Box::new(move |context: odradek_server::shell::CoreContext| Ok(build(context.core)))
                    as MachineBuilder<M>
            })
            .collect();
        let pages = pages(registry.clone());
        let thread = std::thread::spawn(move || shell.run(logs, pages, builders));
        Self {
            address,
            http,
            registry,
            handle,
            thread: Some(thread),
        }
    }

    /// What HTTP answers, head and body.
    pub fn get(&self, path: &str) -> String {
        let http = self.http.expect("it was asked for");
        let mut stream = TcpStream::connect(http).expect("HTTP is served");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        text
    }

    pub fn connect(&self) -> Client {
        Client::to(self.address)
    }

    pub fn shut_down(&self) {
        self.handle.shut_down(false);
    }

    /// Waits for the node's own end.
    pub fn wait(mut self) -> Exit {
        let thread = self.thread.take().expect("waited for once");
        thread.join().expect("the node does not panic")
    }

    /// The value of a metric, summed over its cells.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.registry.text();
        let mut sum = 0;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix(name)
                && rest.starts_with(['{', ' '])
                && let Some(value) = rest.rsplit(' ').next()
            {
                sum += value.parse::<f64>().expect("metrics are numbers") as u64;
            }
        }
        sum
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // The loops may not have started yet; ask until they hear it.
            while !thread.is_finished() {
                self.handle.shut_down(true);
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = thread.join();
        }
    }
}

/// A client that sends and receives frames.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the node listens");
        stream.set_nodelay(true).expect("TCP has it");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a time-out above zero");
        Self { stream }
    }

    pub fn send(&mut self, frame: &[u8]) {
        self.try_send(frame).expect("the node reads");
    }

    pub fn try_send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.stream.write_all(&framed(frame))
    }

    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }

    /// True when the node closes the connection without a byte more.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

pub fn framed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = (frame.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    bytes
}

/// An answer of one frame, in two segments.
pub fn answer<Mail>(connection: ConnectionId, frame: Bytes) -> MachineAction<Mail> {
    let size = Bytes::copy_from_slice(&(frame.len() as u32).to_be_bytes());
    let mut segments = Segments::new();
    segments.push(size);
    segments.push(frame);
    MachineAction::Send {
        connection,
        segments,
    }
}

pub fn exit<Mail>() -> MachineAction<Mail> {
    MachineAction::Exit {
        code: 0,
        reason: "asked to".to_owned(),
    }
}

/// Sends every frame back.
pub struct Echo;

impl Machine for Echo {
    type Mail = ();

    fn step(&mut self, _now: Now, event: MachineEvent<()>, actions: &mut Vec<MachineAction<()>>) {
        match event {
            MachineEvent::Frame { connection, frame } => actions.push(answer(connection, frame)),
            MachineEvent::ShutdownRequested { .. } => actions.push(exit()),
            _ => {}
        }
    }

    fn next_deadline_us(&self) -> Option<u64> {
        None
    }
}

/// A small generator of test data: the same seed gives the same numbers.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}
