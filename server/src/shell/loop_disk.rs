//! The data loop's files: which are open, which operations are under way, what they came to.
//!
//! Operations that somebody waits for go on the loop's ring; preparing, removing and background reads and writes become jobs of the background
//! thread (`background.rs`). Each operation the machine named is answered once. The ring may move fewer bytes than asked: the rest is asked for
//! again here. Open files are bounded; the one not used for longest is closed.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use odradek_wal::{FileName, Io, IoClass, IoFailure, IoId, IoResult};
use slab::Slab;

use super::buffers::{AlignedBuffer, ReadSlots};
use super::disk::{SHORT, io_failure, open_file};
use super::ring::{DiskOutcome, Ring};

/// Which operation of which log.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskName {
    pub(super) log: u16,
    pub(super) id: IoId,
}

/// A finished operation, for the machine.
pub(super) struct DiskEnd {
    pub(super) name: DiskName,
    pub(super) result: IoResult,
    /// How long the ring took; `None` for what never reached it.
    pub(super) took_us: Option<u64>,
    /// A write that is on stable storage now: what acknowledgements wait for.
    pub(super) durable_write: bool,
}

/// Disk work for the background thread.
pub(super) enum DiskWork {
    Read {
        file: Arc<OwnedFd>,
        position: u64,
        length: usize,
    },
    Write {
        file: Arc<OwnedFd>,
        position: u64,
        buffer: Bytes,
        durable: bool,
    },
    Create {
        folder: Arc<PathBuf>,
        file: FileName,
        bytes: u64,
        zero: bool,
    },
    Remove {
        folder: Arc<PathBuf>,
        file: FileName,
    },
    Sync {
        file: Arc<OwnedFd>,
    },
}

/// What the loop is to do with a request.
pub(super) enum Begun {
    /// It is on the ring.
    Ring,
    /// It is for the background thread.
    Background(DiskName, DiskWork),
    /// It failed at once.
    Ended(DiskEnd),
}

struct OpenFile {
    descriptor: Arc<OwnedFd>,
    last_used: u64,
}

struct Log {
    folder: Arc<PathBuf>,
    files: BTreeMap<FileName, OpenFile>,
}

struct Task {
    name: DiskName,
    file: Arc<OwnedFd>,
    /// Of what is still to be moved.
    position: u64,
    /// Still to be moved.
    left: usize,
    durable: bool,
    durable_write: bool,
    started_us: u64,
}

impl Task {
    fn end(&self, result: IoResult, now_us: u64) -> DiskEnd {
        DiskEnd {
            name: self.name,
            result,
            took_us: Some(now_us.saturating_sub(self.started_us)),
            durable_write: self.durable_write,
        }
    }
}

pub(super) struct LoopDisk {
    logs: Vec<Log>,
    tasks: Slab<Task>,
    open_files: usize,
    open_files_max: usize,
    uses: u64,
    read_slots: Arc<ReadSlots>,
}

/// Long reads whose memory is kept: what one reader leaves behind, has ahead of it, and is sent.
const READ_SLOTS: usize = 128;

/// Nobody waits for it, or it changes the names in a folder, which may block for long.
fn is_for_background(io: &Io) -> bool {
    match io {
        Io::Create { .. } | Io::Remove { .. } => true,
        Io::Write { class, .. } | Io::Read { class, .. } => *class == IoClass::Background,
        Io::Sync { .. } => false,
    }
}

impl LoopDisk {
    /// For logs in these folders; `open_files_max` in all.
    ///
    /// # Errors
    /// When the kernel gives no address space.
    pub(super) fn new(folders: Vec<PathBuf>, open_files_max: usize) -> io::Result<Self> {
        let logs = folders
            .into_iter()
            .map(|folder| Log {
                folder: Arc::new(folder),
                files: BTreeMap::new(),
            })
            .collect();
        Ok(Self {
            logs,
            tasks: Slab::new(),
            open_files: 0,
            open_files_max: open_files_max.max(1),
            uses: 0,
            read_slots: ReadSlots::new(READ_SLOTS)?,
        })
    }

    /// Operations on the ring.
    pub(super) fn in_flight(&self) -> usize {
        self.tasks.len()
    }

    fn file(&mut self, log: u16, file: FileName) -> Result<Arc<OwnedFd>, IoFailure> {
        self.uses += 1;
        let uses = self.uses;
        let entry = &mut self.logs[usize::from(log)];
        if let Some(open) = entry.files.get_mut(&file) {
            open.last_used = uses;
            return Ok(Arc::clone(&open.descriptor));
        }
        let descriptor = Arc::new(open_file(&entry.folder, file)?);
        self.keep(log, file, Arc::clone(&descriptor));
        Ok(descriptor)
    }

    fn keep(&mut self, log: u16, file: FileName, descriptor: Arc<OwnedFd>) {
        if self.open_files >= self.open_files_max {
            self.close_least_used();
        }
        let open = OpenFile {
            descriptor,
            last_used: self.uses,
        };
        let files = &mut self.logs[usize::from(log)].files;
        if files.insert(file, open).is_none() {
            self.open_files += 1;
        }
    }

    fn close_least_used(&mut self) {
        let oldest = self
            .logs
            .iter()
            .enumerate()
            .flat_map(|(log, entry)| {
                entry
                    .files
                    .iter()
                    .map(move |(file, open)| (open.last_used, log, *file))
            })
            .min();
        if let Some((_, log, file)) = oldest {
            self.logs[log].files.remove(&file);
            self.open_files -= 1;
        }
    }

    fn forget(&mut self, log: u16, file: FileName) {
        if self.logs[usize::from(log)].files.remove(&file).is_some() {
            self.open_files -= 1;
        }
    }

    /// Starts an operation.
    pub(super) fn begin(&mut self, ring: &mut Ring, log: u16, io: Io, now_us: u64) -> Begun {
        let name = DiskName { log, id: io.id() };
        match self.start(ring, name, io, now_us) {
            Ok(begun) => begun,
            Err(failure) => Begun::Ended(DiskEnd {
                name,
                result: IoResult::Failed(failure),
                took_us: None,
                durable_write: false,
            }),
        }
    }

    fn start(
        &mut self,
        ring: &mut Ring,
        name: DiskName,
        io: Io,
        now_us: u64,
    ) -> Result<Begun, IoFailure> {
        if is_for_background(&io) {
            return Ok(Begun::Background(name, self.background_work(name.log, io)?));
        }
        let mut task = Task {
            name,
            file: self.file(name.log, io.file())?,
            position: 0,
            left: 0,
            durable: true,
            durable_write: false,
            started_us: now_us,
        };
        match io {
            Io::Write {
                position,
                buffer,
                durable,
                ..
            } => {
                task.position = position;
                task.left = buffer.len();
                task.durable = durable;
                task.durable_write = durable;
                self.submit_write(ring, task, buffer);
            }
            Io::Read {
                position, length, ..
            } => {
                task.position = position;
                task.left = length;
                let buffer = self.read_slots.take(length);
                self.submit_read(ring, task, buffer);
            }
            // Creating and removing went to the background thread.
            Io::Sync { .. } | Io::Create { .. } | Io::Remove { .. } => {
                let file = Arc::clone(&task.file);
                let tag = self.tasks.insert(task) as u64;
                ring.sync(file, tag);
            }
        }
        Ok(Begun::Ring)
    }

    fn background_work(&mut self, log: u16, io: Io) -> Result<DiskWork, IoFailure> {
        let folder = Arc::clone(&self.logs[usize::from(log)].folder);
        Ok(match io {
            Io::Create {
                file, bytes, zero, ..
            } => {
                self.forget(log, file);
                DiskWork::Create {
                    folder,
                    file,
                    bytes,
                    zero,
                }
            }
            Io::Remove { file, .. } => {
                self.forget(log, file);
                DiskWork::Remove { folder, file }
            }
            Io::Write {
                file,
                position,
                buffer,
                durable,
                ..
            } => DiskWork::Write {
                file: self.file(log, file)?,
                position,
                buffer,
                durable,
            },
            Io::Read {
                file,
                position,
                length,
                ..
            } => DiskWork::Read {
                file: self.file(log, file)?,
                position,
                length,
            },
            Io::Sync { file, .. } => DiskWork::Sync {
                file: self.file(log, file)?,
            },
        })
    }

    fn submit_write(&mut self, ring: &mut Ring, task: Task, buffer: Bytes) {
        let (file, position, durable) = (Arc::clone(&task.file), task.position, task.durable);
        let tag = self.tasks.insert(task) as u64;
        ring.write(file, position, buffer, durable, tag);
    }

    fn submit_read(&mut self, ring: &mut Ring, task: Task, buffer: AlignedBuffer) {
        let (file, position, left) = (Arc::clone(&task.file), task.position, task.left);
        let tag = self.tasks.insert(task) as u64;
        ring.read(file, position, left, buffer, tag);
    }

    /// Takes a completion; `None` when the rest had to be asked for again.
    pub(super) fn completed(
        &mut self,
        ring: &mut Ring,
        tag: u64,
        outcome: DiskOutcome,
        now_us: u64,
    ) -> Option<DiskEnd> {
        let mut task = self.tasks.remove(tag as usize);
        let result = match outcome {
            DiskOutcome::Synced { result: Ok(()) } => IoResult::Done,
            DiskOutcome::Written {
                result: Ok(written),
                mut buffer,
            } => {
                // A device that takes nothing without an error would be asked for ever.
                if written == 0 && task.left > 0 {
                    IoResult::Failed(SHORT)
                } else if written < task.left {
                    task.position += written as u64;
                    task.left -= written;
                    buffer.advance(written);
                    self.submit_write(ring, task, buffer);
                    return None;
                } else {
                    IoResult::Done
                }
            }
            DiskOutcome::Read {
                result: Ok(read),
                buffer,
            } => {
                if read == task.left {
                    IoResult::Data(buffer.into_bytes())
                } else if read == 0 {
                    IoResult::Failed(SHORT)
                } else {
                    task.position += read as u64;
                    task.left -= read;
                    self.submit_read(ring, task, buffer);
                    return None;
                }
            }
            DiskOutcome::Written {
                result: Err(libc::EINTR | libc::EAGAIN),
                buffer,
            } => {
                self.submit_write(ring, task, buffer);
                return None;
            }
            DiskOutcome::Read {
                result: Err(libc::EINTR | libc::EAGAIN),
                buffer,
            } => {
                self.submit_read(ring, task, buffer);
                return None;
            }
            DiskOutcome::Written {
                result: Err(code), ..
            }
            | DiskOutcome::Read {
                result: Err(code), ..
            }
            | DiskOutcome::Synced { result: Err(code) } => IoResult::Failed(io_failure(code)),
        };
        Some(task.end(result, now_us))
    }

    /// The background thread made a file: its descriptor is kept, so that the loop need not open it.
    pub(super) fn created(&mut self, log: u16, file: FileName, descriptor: OwnedFd) {
        self.keep(log, file, Arc::new(descriptor));
    }
}
