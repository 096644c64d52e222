//! The seam between the sans-IO `node` and the `shell` that does its I/O: what a core's machine is told and what it may ask for.
//!
//! One [`Machine`] per core. The shell (`shell/data_loop.rs`) turns completions, frames, mail and time into [`MachineEvent`]s, calls
//! [`Machine::step`] once per event and carries out the [`MachineAction`]s afterwards, in their order. The simulator of
//! `server/tests/simulation` drives the same trait. A machine owns no socket, file, clock, thread or random source; nothing here does either.
//!
//! Promises of the shell:
//! - The first event of every core is [`MachineEvent::Tick`]; so a machine may start work before anything else happens.
//! - Events of one connection come in the order opened, frames (in wire order), closed. After `ConnectionClosed` its id never comes again.
//! - Every `Disk` and `Background` action is answered by exactly one event, in any order, however the operation ends, as long as the core lives.
//! - Mail from one core to another arrives in the order it was sent, once.
//! - `Tick` comes at or soon after [`Machine::next_deadline_us`], which is asked again at the end of every turn, and at least once a second.
//! - `now` never goes back in `monotonic_us`; `wall_ms` may jump.

use std::any::Any;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use odradek_wal::{Io, IoId, IoResult};
use smallvec::SmallVec;

/// The time of a step, as the shell read it: `monotonic_us` in microseconds (`CLOCK_MONOTONIC`), which every timer counts in, and `wall_ms` in
/// milliseconds since 1970 (`CLOCK_REALTIME`), for record timestamps and retention only.
pub use odradek_wal::Now;

/// A connection of one core: slot in the low 32 bits, generation above. Unique within the core for the life of the process; another core may
/// use the same number for a connection of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Debug for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "connection {}.{}", self.0 as u32, self.0 >> 32)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0 as u32, self.0 >> 32)
    }
}

/// The parts of one answer, sent one after the other without a copy.
pub type Segments = SmallVec<[Bytes; 4]>;

/// What happened.
#[derive(Debug)]
pub enum MachineEvent<Mail> {
    /// Time passed: the first event, a deadline reached, or a second without one.
    Tick,
    /// A client connected.
    ConnectionOpened {
        connection: ConnectionId,
        /// The address of the client.
        peer: SocketAddr,
        /// Index into the configured listeners.
        listener: u16,
    },
    /// One whole frame, without its 4-byte size; 0 bytes up to `socket.request.max.bytes`. The bytes may share a receive buffer with
    /// other frames, and of a produce they may be that buffer itself: copy what outlives the request.
    Frame {
        connection: ConnectionId,
        frame: Bytes,
    },
    /// The connection is gone: by the peer, by an error, by a limit of the shell, or because the machine asked. Exactly one per opened
    /// connection. What was queued for it is dropped; later actions that name it are ignored.
    ConnectionClosed { connection: ConnectionId },
    /// The queued bytes fell below the low mark after they had been above the high one (`ConnectionLimits`).
    SendQueueDrained { connection: ConnectionId },
    /// An operation of a `Disk` action ended.
    Disk {
        /// Index of the log (one per shard and directory) among those this core owns.
        log: u16,
        id: IoId,
        result: IoResult,
    },
    /// A message of another core's machine (or of this one to itself).
    Mail {
        /// The sending core.
        from: u16,
        mail: Mail,
    },
    /// The work of a `Background` action ended.
    Background {
        token: u64,
        result: BackgroundResult,
    },
    /// SIGTERM or SIGINT, or the owner of the process asked. Every core gets it, and answers in the end with `Exit`.
    ShutdownRequested {
        /// Do not wait for clients. (A second signal ends the process without asking any machine.)
        immediately: bool,
    },
}

/// What to do. Carried out in order after the step that pushed it.
pub enum MachineAction<Mail> {
    /// Queue bytes for the connection. The machine writes the 4-byte size itself, as the first bytes of the first segment: the shell sends
    /// what it is given. All that is queued for a connection leaves in order, gathered into vectored sends; a segment is held until it was
    /// sent. Ignored for a connection that is gone.
    Send {
        connection: ConnectionId,
        segments: Segments,
    },
    /// Close once everything queued was sent. No more frames come from it.
    Close { connection: ConnectionId },
    /// Close now; what is queued is dropped.
    Abort { connection: ConnectionId },
    /// No more frames of this connection until `ResumeReading`: takes effect before the next frame, even of the same receive. The kernel's
    /// socket buffer then fills, and the client waits. Does nothing when it is already stopped.
    StopReading { connection: ConnectionId },
    /// Undo `StopReading`: frames that had arrived come first.
    ResumeReading { connection: ConnectionId },
    /// One operation of a log. Reads and writes of `IoClass::Background`, creating and removing files run on the background thread beside this
    /// core; the other reads and writes, and syncs, on the core's ring. Nothing orders two operations that are in flight together.
    Disk { log: u16, io: Io },
    /// A message to another core (or this one): bounded per pair of cores. At the bound mail waits with the sender, and the sender stops taking
    /// frames from its sockets until it has gone.
    Mail { to: u16, mail: Mail },
    /// Work that may take long, on the background thread beside this core. `token` comes back with the result. At most
    /// `BackgroundOptions::queue_max` are in hand; at the bound the rest waits with the sender in order.
    Background { token: u64, work: BackgroundWork },
    /// This core is done. Code 0: the core sends what is queued (for at most a second) and stops; the process ends with 0 when every core has.
    /// Any other code ends the whole process at once with that code, and the reason is the last thing logged.
    Exit { code: u8, reason: String },
    /// A line for the operator's log.
    Log { level: LogLevel, message: String },
}

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// What computes. It must not wait for another thread.
pub type Computation = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;

/// What composes a file: it hands over the bytes in order, in pieces that take a millisecond or so to make, since between two of them the processor
/// and the disk are left to others. It ends at the first error.
pub type Composition = Box<dyn FnOnce(&mut TakePiece<'_>) -> io::Result<()> + Send>;

/// Takes the next bytes of a file.
pub type TakePiece<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// Work for the background thread.
pub enum BackgroundWork {
    /// Replace a small file whole: written beside it, synced, renamed over it, its folder synced. Answered by `Done`.
    WriteFile { path: PathBuf, contents: Bytes },
    /// The same for a large file, which is never in memory whole. Answered by `Composed`.
    ComposeFile { path: PathBuf, compose: Composition },
    /// Answered by `Data`, or `Failed` with `NotFound`; refuses above `bytes_max`.
    ReadFile { path: PathBuf, bytes_max: u64 },
    /// Remove a file and sync its folder; one that is not there counts as removed. Answered by `Done`.
    RemoveFile { path: PathBuf },
    /// Answered by `Names`, sorted; an absent folder has none.
    ListFolder { path: PathBuf },
    /// Give memory that was freed back to the system now: after a start, which needs more than what it leaves. Answered by `Done`.
    GiveBackMemory,
    /// Anything that computes (a recompression). Answered by `Computed`.
    Compute(Computation),
}

impl fmt::Debug for BackgroundWork {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteFile { path, contents } => write!(
                formatter,
                "WriteFile({}, {} bytes)",
                path.display(),
                contents.len()
            ),
            Self::ComposeFile { path, .. } => write!(formatter, "ComposeFile({})", path.display()),
            Self::ReadFile { path, .. } => write!(formatter, "ReadFile({})", path.display()),
            Self::RemoveFile { path } => write!(formatter, "RemoveFile({})", path.display()),
            Self::ListFolder { path } => write!(formatter, "ListFolder({})", path.display()),
            Self::GiveBackMemory => formatter.write_str("GiveBackMemory"),
            Self::Compute(_) => formatter.write_str("Compute"),
        }
    }
}

/// How background work ended.
pub enum BackgroundResult {
    Done,
    /// The length of the file.
    Composed(u64),
    Data(Bytes),
    Names(Vec<String>),
    Computed(Box<dyn Any + Send>),
    Failed {
        kind: io::ErrorKind,
        /// What failed, where, for the log.
        message: String,
    },
}

impl fmt::Debug for BackgroundResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => formatter.write_str("Done"),
            Self::Composed(bytes) => write!(formatter, "Composed({bytes} bytes)"),
            Self::Data(data) => write!(formatter, "Data({} bytes)", data.len()),
            Self::Names(names) => formatter.debug_tuple("Names").field(names).finish(),
            Self::Computed(_) => formatter.write_str("Computed"),
            Self::Failed { kind, message } => write!(formatter, "Failed({kind:?}: {message})"),
        }
    }
}

/// What runs on one core.
pub trait Machine {
    /// What the machines of different cores tell each other.
    type Mail: Send + 'static;

    /// Takes one event and pushes what is to be done. The buffer is the shell's, empty at the call, and reused.
    fn step(
        &mut self,
        now: Now,
        event: MachineEvent<Self::Mail>,
        actions: &mut Vec<MachineAction<Self::Mail>>,
    );

    /// When the machine next wants a `Tick`, on the clock of `Now::monotonic_us`; `None` when nothing waits for time.
    fn next_deadline_us(&self) -> Option<u64>;

    /// Until when a write waits for those who were just answered, on the clock of `Now::monotonic_us`: until then a loop that has nothing else
    /// to do need not wake for the first of them, but may take them together.
    fn company_until_us(&self) -> Option<u64> {
        None
    }

    /// Called once at the end of every turn of the loop, after all events of that turn and before the loop may sleep: the place to begin the
    /// write that gathers the turn's appends, and to hand on what was collected for other cores. Does nothing unless a machine needs it.
    fn end_turn(&mut self, now: Now, actions: &mut Vec<MachineAction<Self::Mail>>) {
        let _ = (now, actions);
    }
}
