//! What happened, as a hash of all of it and the last lines of it: the same seed gives the same hash, and a failure shows how
//! it came about.

use super::client::Expected;
use odradek_server::machine::{MachineAction, MachineEvent};
use odradek_server::node::Mail;
use odradek_wal::{Io, IoResult};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

const LINES_MAX: u64 = 300;

pub struct Trace {
    hasher: DefaultHasher,
    lines: VecDeque<String>,
    lines_max: usize,
    pub events: u64,
}

impl Trace {
    pub fn new() -> Self {
        Self {
            hasher: DefaultHasher::new(),
            lines: VecDeque::new(),
            lines_max: crate::number("ODRADEK_SIMULATION_LINES").unwrap_or(LINES_MAX) as usize,
            events: 0,
        }
    }

    pub fn hash(&self) -> u64 {
        self.hasher.clone().finish()
    }

    pub fn lines(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        lines.join("\n")
    }

    pub fn line(&mut self, now_us: u64, text: impl FnOnce() -> String) {
        self.events += 1;
        let line = format!("{:>12} {}", now_us, text());
        line.hash(&mut self.hasher);
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub fn event(&mut self, now_us: u64, core: u16, event: &MachineEvent<Mail>) {
        self.line(now_us, || match event {
            MachineEvent::Frame { connection, frame } => {
                format!(
                    "{core} <- frame of {connection}, {} bytes, {:016x}",
                    frame.len(),
                    of(frame)
                )
            }
            MachineEvent::Disk { log, id, result } => {
                let result = match result {
                    IoResult::Done => "done".to_string(),
                    IoResult::Data(data) => format!("{} bytes, {:016x}", data.len(), of(data)),
                    IoResult::Failed(failure) => failure.to_string(),
                };
                format!("{core} <- disk {log}.{}: {result}", id.0)
            }
            MachineEvent::Mail { from, mail } => {
                format!("{core} <- mail of {from}: {}", kind(mail))
            }
            MachineEvent::Tick => format!("{core} <- tick"),
            MachineEvent::Background { token, result } => {
                format!("{core} <- background {token}: {result:?}")
            }
            MachineEvent::ConnectionOpened { connection, .. } => {
                format!("{core} <- {connection} opened")
            }
            MachineEvent::ConnectionClosed { connection } => {
                format!("{core} <- {connection} closed")
            }
            MachineEvent::SendQueueDrained { connection } => {
                format!("{core} <- {connection} drained")
            }
            MachineEvent::ShutdownRequested { .. } => format!("{core} <- shutdown"),
        });
    }

    pub fn action(&mut self, now_us: u64, core: u16, action: &MachineAction<Mail>) {
        self.line(now_us, || match action {
            MachineAction::Send {
                connection,
                segments,
            } => {
                let bytes: Vec<u8> = segments.concat();
                format!(
                    "{core} -> {} bytes for {connection}, {:016x}",
                    bytes.len(),
                    of(&bytes)
                )
            }
            MachineAction::Disk { log, io } => format!("{core} -> disk {log}.{}", request(io)),
            MachineAction::Mail { to, mail } => format!("{core} -> mail for {to}: {}", kind(mail)),
            MachineAction::Background { token, work } => {
                format!("{core} -> background {token}: {work:?}")
            }
            MachineAction::Close { connection } => format!("{core} -> close {connection}"),
            MachineAction::Abort { connection } => format!("{core} -> abort {connection}"),
            MachineAction::StopReading { connection } => {
                format!("{core} -> stop reading {connection}")
            }
            MachineAction::ResumeReading { connection } => {
                format!("{core} -> resume reading {connection}")
            }
            MachineAction::Exit { code, reason } => format!("{core} -> exit {code}: {reason}"),
            MachineAction::Log { level, message } => format!("{core} -> log {level:?}: {message}"),
        });
    }

    pub fn answer(&mut self, now_us: u64, client: usize, expected: &Expected, frame: &[u8]) {
        self.line(now_us, || {
            format!(
                "client {client} <- {:?} v{} number {}, {} bytes",
                expected.api,
                expected.version,
                expected.correlation,
                frame.len()
            )
        });
    }
}

fn of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn request(io: &Io) -> String {
    let (id, file) = (io.id().0, io.file());
    match io {
        Io::Write {
            position, buffer, ..
        } => {
            format!(
                "{id}: write {file} at {position}, {} bytes, {:016x}",
                buffer.len(),
                of(buffer)
            )
        }
        Io::Read {
            position, length, ..
        } => format!("{id}: read {file} at {position}, {length} bytes"),
        Io::Create { bytes, .. } => format!("{id}: create {file} of {bytes} bytes"),
        Io::Sync { .. } => format!("{id}: sync {file}"),
        Io::Remove { .. } => format!("{id}: remove {file}"),
    }
}

fn kind(mail: &Mail) -> &'static str {
    match mail {
        Mail::Shard { .. } => "for a shard",
        Mail::ShardReply { .. } => "a shard's reply",
        Mail::Controller { .. } => "for the controller",
        Mail::ControllerReply { .. } => "the controller's reply",
        Mail::Telemetry { .. } => "for telemetry",
        Mail::TelemetryReply { .. } => "telemetry's reply",
        Mail::Image(_) => "an image",
        Mail::Placed { .. } => "an image is placed",
        Mail::BrokerEpoch(_) => "the broker epoch",
        Mail::Serve => "serve",
        Mail::DirectoryOffline { .. } => "a directory is offline",
        Mail::ShardsClosed { .. } => "shards are closed",
        Mail::CloseLogs => "close the logs",
        Mail::Exit => "exit",
    }
}
