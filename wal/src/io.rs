//! I/O nouns: files by name, requests the log makes, what comes back, and the `Disk` that recovery and `format` use.
//! The shell maps file names to paths and runs the requests; `simulation.rs` runs them over memory.

use crate::plan::{PlanFrame, PlanId, PlanOutcome};
use crate::types::{Lsn, Offset, ReadData, ReadRefusal, ReplicaId};
use bytes::Bytes;
use std::fmt;

/// Address, length and position of every read and write are multiples of this.
pub const BLOCK_BYTES: usize = 4096;

/// A file inside one shard's folder of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// Who this folder belongs to; written by `format`, never again.
    Superblock,
    /// Two root slots of 4096 bytes; the valid one with the larger counter names the checkpoint.
    Root,
    /// A segment: of the log, or rewritten. Its number says nothing of its age.
    Segment(u32),
    /// A checkpoint of all slots.
    CheckpointBase(u32),
    /// A checkpoint of the slots that changed.
    CheckpointDelta(u32),
    /// Older extents of all replicas, as of the checkpoint base of this number.
    Index(u32),
    /// Room for the next checkpoint; its content means nothing.
    Reserve,
}

impl fmt::Display for FileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superblock => write!(formatter, "superblock"),
            Self::Root => write!(formatter, "root"),
            Self::Reserve => write!(formatter, "reserve"),
            Self::Segment(number) => write!(formatter, "{number:08}.segment"),
            Self::CheckpointBase(number) => write!(formatter, "{number:08}.base"),
            Self::CheckpointDelta(number) => write!(formatter, "{number:08}.delta"),
            Self::Index(number) => write!(formatter, "{number:08}.index"),
        }
    }
}

impl FileName {
    /// The name that `Display` gives, read back; `None` for a file that is not the log's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "superblock" => return Some(Self::Superblock),
            "root" => return Some(Self::Root),
            "reserve" => return Some(Self::Reserve),
            _ => {}
        }
        let (digits, kind) = name.split_once('.')?;
        if digits.len() < 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number = digits.parse().ok()?;
        match kind {
            "segment" => Some(Self::Segment(number)),
            "base" => Some(Self::CheckpointBase(number)),
            "delta" => Some(Self::CheckpointDelta(number)),
            "index" => Some(Self::Index(number)),
            _ => None,
        }
    }
}

/// Names one request until its result is handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IoId(pub u64);

/// Who waits for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoClass {
    /// Acknowledgements wait: before all else, on the loop's own ring.
    Commit,
    /// A client waits: on the loop's own ring.
    ClientRead,
    /// Nobody waits: the executor's.
    Background,
}

/// A request. The order in which requests are run is free: the log never has two outstanding that touch the same bytes.
#[derive(Clone, Debug)]
pub enum Io {
    /// Write the whole buffer. With `durable` it is on stable storage when done (`O_DSYNC`, or write and fdatasync).
    Write {
        /// Its name.
        id: IoId,
        /// Where.
        file: FileName,
        /// Bytes from the start of the file, a multiple of 4096.
        position: u64,
        /// Address and length are multiples of 4096.
        buffer: Bytes,
        /// On stable storage before it is reported done.
        durable: bool,
        /// Who waits.
        class: IoClass,
    },
    /// Read exactly `length` bytes into a buffer whose address is a multiple of 4096.
    Read {
        /// Its name.
        id: IoId,
        /// Where.
        file: FileName,
        /// Bytes from the start of the file, a multiple of 4096.
        position: u64,
        /// A multiple of 4096.
        length: usize,
        /// Who waits.
        class: IoClass,
    },
    /// Make a file of `bytes`, empty of old content when it exists; name and size are durable when done. With `zero`, zeroes are
    /// written through (so that later writes need no block allocation); without, `fallocate` will do.
    Create {
        /// Its name.
        id: IoId,
        /// Which file.
        file: FileName,
        /// Its size.
        bytes: u64,
        /// Write zeroes, or only reserve the space.
        zero: bool,
    },
    /// fdatasync.
    Sync {
        /// Its name.
        id: IoId,
        /// Which file.
        file: FileName,
    },
    /// Unlink. Need not be durable.
    Remove {
        /// Its name.
        id: IoId,
        /// Which file.
        file: FileName,
    },
}

impl Io {
    /// The request's name.
    #[must_use]
    pub fn id(&self) -> IoId {
        match self {
            Self::Write { id, .. }
            | Self::Read { id, .. }
            | Self::Create { id, .. }
            | Self::Sync { id, .. }
            | Self::Remove { id, .. } => *id,
        }
    }

    /// The file it touches.
    #[must_use]
    pub fn file(&self) -> FileName {
        match self {
            Self::Write { file, .. }
            | Self::Read { file, .. }
            | Self::Create { file, .. }
            | Self::Sync { file, .. }
            | Self::Remove { file, .. } => *file,
        }
    }
}

/// What kind of failure the operating system reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoFailureKind {
    /// EIO and whatever else says that the device failed.
    Device,
    /// ENOSPC, EDQUOT.
    OutOfSpace,
    /// ENOENT.
    NotFound,
    /// EACCES, EPERM, EROFS.
    Denied,
    /// Fewer bytes than asked for.
    Short,
    /// The rest.
    Other,
}

/// A failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoFailure {
    /// What kind.
    pub kind: IoFailureKind,
    /// errno, 0 when there is none.
    pub os_code: i32,
}

impl fmt::Display for IoFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            IoFailureKind::Device => "the device failed",
            IoFailureKind::OutOfSpace => "no space is left",
            IoFailureKind::NotFound => "the file is gone",
            IoFailureKind::Denied => "access was denied",
            IoFailureKind::Short => "the file is shorter than it must be",
            IoFailureKind::Other => "the system call failed",
        };
        write!(formatter, "{what} (errno {})", self.os_code)
    }
}

impl std::error::Error for IoFailure {}

/// What came of a request.
#[derive(Clone, Debug)]
pub enum IoResult {
    /// A write, create, sync or remove is done.
    Done,
    /// A read's bytes, exactly as many as asked for.
    Data(Bytes),
    /// It failed. A short read is a failure of kind `Short`.
    Failed(IoFailure),
}

/// What the log is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed. At least every 50 ms while anything is going on, every second otherwise.
    Tick,
    /// A request's result. Results of requests that the log no longer knows are ignored.
    IoDone {
        /// The request's name.
        id: IoId,
        /// What came of it.
        result: IoResult,
    },
}

/// Why a directory is offline for good (until the process starts again).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfflineReason {
    /// A write failed twice, the second time in a fresh segment.
    WriteFailed(IoFailure),
    /// A write was outstanding for longer than `stuck_write_ms`.
    WriteStuck,
    /// The root could not be written: checkpoints are no longer possible.
    CheckpointFailed(IoFailure),
}

impl fmt::Display for OfflineReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteFailed(failure) => write!(formatter, "a log write failed twice: {failure}"),
            Self::WriteStuck => write!(formatter, "the disk did not answer a log write in time"),
            Self::CheckpointFailed(failure) => write!(
                formatter,
                "the checkpoint root could not be written: {failure}"
            ),
        }
    }
}

/// What the log wants done, or has to tell.
#[derive(Clone, Debug)]
pub enum Output {
    /// Run this request and hand its result back as `Event::IoDone`.
    Io(Io),
    /// Everything appended with an LSN at or below this is durable. Only ever grows, without holes.
    DurableTo {
        /// The durable LSN.
        lsn: Lsn,
    },
    /// A pending read's answer.
    ReadDone {
        /// The caller's ticket.
        ticket: u64,
        /// What was found.
        result: Result<ReadData, ReadRefusal>,
    },
    /// Retention moved a log start. (`set_log_start` gives no such output.)
    LogStartMoved {
        /// The replica.
        replica: ReplicaId,
        /// Its new log start.
        to: Offset,
    },
    /// Bytes that were durable are no longer readable. With no replica named, any may have lost frames.
    Damaged {
        /// Whose, when that is known.
        replica: Option<ReplicaId>,
        /// First damaged offset.
        first: Offset,
        /// Last damaged offset.
        last: Offset,
        /// Where.
        file: FileName,
        /// Bytes from the start of the file.
        position: u64,
    },
    /// The clock is doubted: retention by time and size deletes nothing until `Log::trust_clock`. Given once.
    DeletionsFrozen {
        /// What is wrong with it, for people.
        why: String,
    },
    /// The directory is offline: nothing is taken or acknowledged any more.
    Offline {
        /// Why.
        reason: OfflineReason,
    },
    /// Please call `begin_checkpoint` with what cold state changed. Given once per checkpoint.
    CheckpointDue,
    /// A checkpoint is durable.
    CheckpointDone {
        /// Replay would start here.
        lsn: Lsn,
    },
    /// A plan's frames, to be answered by `Log::answer_rewrite_plan`: at most 256 KiB, or one frame. All rewriting waits for the answer.
    PlanFrames {
        /// The plan.
        plan: PlanId,
        /// In the order of (replica, offset).
        frames: Vec<PlanFrame>,
    },
    /// A plan is over.
    PlanDone {
        /// The plan.
        plan: PlanId,
        /// What it did.
        outcome: PlanOutcome,
    },
    /// A line for the operator.
    Message(String),
    /// After `shut_down`: everything is durable, no request is outstanding.
    Closed,
}

/// Blocking access to one shard's folder, for `format` and recovery only. Buffers, lengths and positions are multiples of 4096,
/// and so are the buffers' addresses.
pub trait Disk {
    /// Every file of the log in the folder, in any order. Files with other names are left out.
    fn list(&mut self) -> Result<Vec<FileName>, IoFailure>;
    /// Bytes of a file, `None` when there is none.
    fn length(&mut self, file: FileName) -> Result<Option<u64>, IoFailure>;
    /// As `Io::Create`.
    fn create(&mut self, file: FileName, bytes: u64, zero: bool) -> Result<(), IoFailure>;
    /// Fills the buffer, or fails (kind `Short` at the end of the file).
    fn read_at(
        &mut self,
        file: FileName,
        position: u64,
        buffer: &mut [u8],
    ) -> Result<(), IoFailure>;
    /// Writes the whole buffer.
    fn write_at(
        &mut self,
        file: FileName,
        position: u64,
        buffer: &[u8],
        durable: bool,
    ) -> Result<(), IoFailure>;
    /// Everything written to the file is on stable storage when this returns.
    fn sync(&mut self, file: FileName) -> Result<(), IoFailure>;
    /// Removes a file.
    fn remove(&mut self, file: FileName) -> Result<(), IoFailure>;
}
