//! Files of shard folders: opening, making, locking, and the blocking [`Disk`] that `format` and recovery use before the loops run.
//!
//! Paths are `<data directory>/shard-<n>/<name>`, the names being the log's own (`FileName`'s `Display`). Files are opened `O_DIRECT` where the
//! file system takes it; where it does not, the page cache lies between and `probe.rs` says so at start. What the running loop does with files
//! is in `loop_disk.rs`, what the background thread does in `background.rs`; both use the functions here.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use odradek_wal::{Disk, FileName, IoFailure, IoFailureKind};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FlockOperation, Mode, OFlags, fallocate, fdatasync, flock, fstat,
    fsync, ftruncate, openat, unlinkat,
};
use rustix::io::{Errno, ReadWriteFlags, pread, pwritev2};

use super::buffers::{ALIGNMENT_BYTES, AlignedBuffer, Zeroes};
use super::mailbox::Doorbell;
use crate::machine::Composition;

/// Zeroes are written in pieces of this size: a durable write of the logs waits behind one of them.
const ZERO_BYTES: usize = 512 << 10;

/// The folder of a shard in a data directory.
pub fn shard_folder(directory: &Path, shard: u32) -> PathBuf {
    directory.join(format!("shard-{shard}"))
}

/// The path of one of a log's files.
pub fn file_path(folder: &Path, file: FileName) -> PathBuf {
    folder.join(file.to_string())
}

/// Names an error of the operating system as the log does.
pub fn io_failure(os_code: i32) -> IoFailure {
    let kind = match os_code {
        libc::EIO | libc::EREMOTEIO | libc::ENODEV | libc::ENXIO | libc::ETIMEDOUT => {
            IoFailureKind::Device
        }
        libc::ENOSPC | libc::EDQUOT => IoFailureKind::OutOfSpace,
        libc::ENOENT => IoFailureKind::NotFound,
        libc::EACCES | libc::EPERM | libc::EROFS => IoFailureKind::Denied,
        _ => IoFailureKind::Other,
    };
    IoFailure { kind, os_code }
}

fn failure(errno: Errno) -> IoFailure {
    io_failure(errno.raw_os_error())
}

pub(super) const SHORT: IoFailure = IoFailure {
    kind: IoFailureKind::Short,
    os_code: 0,
};

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
    match openat(CWD, path, flags | OFlags::DIRECT, mode) {
        // The file system has no direct I/O.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => openat(CWD, path, flags, mode),
        opened => opened,
    }
}

/// Opens an existing file of a log.
pub(super) fn open_file(folder: &Path, file: FileName) -> Result<OwnedFd, IoFailure> {
    open(&file_path(folder, file), OFlags::empty()).map_err(failure)
}

/// Makes a file of `bytes` without old content; name, size and (with `zero`) contents are durable when this returns. What was begun is removed
/// again when it fails, or when `stopping` is set meanwhile: a large file takes seconds.
pub(super) fn create_file(
    folder: &Path,
    file: FileName,
    (bytes, zero): (u64, bool),
    stopping: &AtomicBool,
) -> Result<OwnedFd, IoFailure> {
    let path = file_path(folder, file);
    let made = fill_new_file(&path, bytes, zero, stopping).and_then(|descriptor| {
        sync_folder(folder)?;
        Ok(descriptor)
    });
    made.map_err(|errno| {
        let _ = unlinkat(CWD, &path, AtFlags::empty());
        failure(errno)
    })
}

fn fill_new_file(
    path: &Path,
    bytes: u64,
    zero: bool,
    stopping: &AtomicBool,
) -> Result<OwnedFd, Errno> {
    let descriptor = open(path, OFlags::CREATE | OFlags::TRUNC)?;
    if bytes > 0 {
        match fallocate(&descriptor, FallocateFlags::empty(), 0, bytes) {
            // No reservation there: the size at least, and ENOSPC when it is written.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => ftruncate(&descriptor, bytes)?,
            reserved => reserved?,
        }
    }
    if zero {
        write_zeroes(&descriptor, bytes, stopping)?;
    }
    fsync(&descriptor)?;
    Ok(descriptor)
}

fn write_zeroes(descriptor: &OwnedFd, bytes: u64, stopping: &AtomicBool) -> Result<(), Errno> {
    let zeroes =
        Zeroes::new().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOMEM))?;
    let mut position = 0;
    while position < bytes {
        if stopping.load(Ordering::Relaxed) {
            return Err(Errno::CANCELED);
        }
        let length =
            usize::try_from(bytes - position).map_or(ZERO_BYTES, |left| left.min(ZERO_BYTES));
        let piece = &zeroes.as_ref()[..length];
        position += write_some(descriptor, position, piece, false)? as u64;
    }
    Ok(())
}

/// Makes additions to and removals from a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptor = openat(CWD, folder, flags, Mode::empty())?;
    fsync(&descriptor)
}

/// Removes a file; one that is not there counts as removed.
pub(super) fn remove_file(folder: &Path, file: FileName) -> Result<(), IoFailure> {
    match unlinkat(CWD, file_path(folder, file), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failure(errno)),
    }
}

/// fdatasync.
pub(super) fn sync_data(descriptor: &OwnedFd) -> Result<(), IoFailure> {
    fdatasync(descriptor).map_err(failure)
}

fn write_some(
    descriptor: &OwnedFd,
    position: u64,
    buffer: &[u8],
    durable: bool,
) -> Result<usize, Errno> {
    let flags = if durable {
        ReadWriteFlags::DSYNC
    } else {
        ReadWriteFlags::empty()
    };
    match pwritev2(descriptor, &[io::IoSlice::new(buffer)], position, flags) {
        Ok(0) => Err(Errno::IO),
        Err(Errno::INTR) => Ok(0),
        written => written,
    }
}

/// Writes the whole buffer, blocking.
pub(super) fn write_whole(
    descriptor: &OwnedFd,
    mut position: u64,
    mut buffer: &[u8],
    durable: bool,
) -> Result<(), IoFailure> {
    while !buffer.is_empty() {
        let written = write_some(descriptor, position, buffer, durable).map_err(failure)?;
        position += written as u64;
        buffer = &buffer[written..];
    }
    Ok(())
}

/// Fills the buffer, blocking.
pub(super) fn read_whole(
    descriptor: &OwnedFd,
    mut position: u64,
    mut buffer: &mut [u8],
) -> Result<(), IoFailure> {
    while !buffer.is_empty() {
        match pread(descriptor, &mut *buffer, position) {
            Ok(0) => return Err(SHORT),
            Ok(read) => {
                position += read as u64;
                buffer = &mut buffer[read..];
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failure(errno)),
        }
    }
    Ok(())
}

/// Reads `length` bytes into a buffer of its own, blocking.
pub(super) fn read_new(
    descriptor: &OwnedFd,
    position: u64,
    length: usize,
) -> Result<bytes::Bytes, IoFailure> {
    let mut aligned = vec![0; length + ALIGNMENT_BYTES];
    let skip = aligned.as_ptr().align_offset(ALIGNMENT_BYTES);
    read_whole(descriptor, position, &mut aligned[skip..skip + length])?;
    Ok(bytes::Bytes::from(aligned).slice(skip..skip + length))
}

/// The blocking disk of one shard's folder, for [`odradek_wal::Log`]'s `format` and `recover`. Files stay open until it is dropped.
pub struct RealDisk {
    folder: PathBuf,
    files: BTreeMap<FileName, OwnedFd>,
}

impl RealDisk {
    /// Over the folder, which is made when it is not there (its parent has to be).
    pub fn open(folder: &Path) -> io::Result<Self> {
        match fs::create_dir(folder) {
            Ok(()) => {
                if let Some(parent) = folder.parent() {
                    sync_folder(parent)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        // Fails early, with the reason, where the folder cannot be read.
        fs::read_dir(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            files: BTreeMap::new(),
        })
    }

    fn file(&mut self, file: FileName) -> Result<&OwnedFd, IoFailure> {
        if !self.files.contains_key(&file) {
            let descriptor = open_file(&self.folder, file)?;
            self.files.insert(file, descriptor);
        }
        Ok(&self.files[&file])
    }
}

impl Disk for RealDisk {
    fn list(&mut self) -> Result<Vec<FileName>, IoFailure> {
        let name_error = |error: io::Error| io_failure(error.raw_os_error().unwrap_or(0));
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(name_error)? {
            let name = entry.map_err(name_error)?.file_name();
            names.extend(OsStr::to_str(&name).and_then(FileName::parse));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn length(&mut self, file: FileName) -> Result<Option<u64>, IoFailure> {
        match self.file(file) {
            Ok(descriptor) => {
                let facts = fstat(descriptor).map_err(failure)?;
                Ok(Some(facts.st_size as u64))
            }
            Err(absent) if absent.kind == IoFailureKind::NotFound => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn create(&mut self, file: FileName, bytes: u64, zero: bool) -> Result<(), IoFailure> {
        self.files.remove(&file);
        let never = AtomicBool::new(false);
        let descriptor = create_file(&self.folder, file, (bytes, zero), &never)?;
        self.files.insert(file, descriptor);
        Ok(())
    }

    fn read_at(
        &mut self,
        file: FileName,
        position: u64,
        buffer: &mut [u8],
    ) -> Result<(), IoFailure> {
        let descriptor = self.file(file)?;
        if (buffer.as_ptr() as usize).is_multiple_of(ALIGNMENT_BYTES) {
            return read_whole(descriptor, position, buffer);
        }
        let bytes = read_new(descriptor, position, buffer.len())?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    fn write_at(
        &mut self,
        file: FileName,
        position: u64,
        buffer: &[u8],
        durable: bool,
    ) -> Result<(), IoFailure> {
        let descriptor = self.file(file)?;
        if (buffer.as_ptr() as usize).is_multiple_of(ALIGNMENT_BYTES) {
            return write_whole(descriptor, position, buffer, durable);
        }
        let mut aligned = AlignedBuffer::with_capacity(buffer.len());
        aligned.extend_from_slice(buffer);
        write_whole(descriptor, position, aligned.as_ref(), durable)
    }

    fn sync(&mut self, file: FileName) -> Result<(), IoFailure> {
        let descriptor = self.file(file)?;
        fdatasync(descriptor).map_err(failure)
    }

    fn remove(&mut self, file: FileName) -> Result<(), IoFailure> {
        self.files.remove(&file);
        remove_file(&self.folder, file)
    }
}

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds the lock, still after the wait.
    Held { path: PathBuf },
    /// The lock file cannot be opened or locked.
    Failed { path: PathBuf, error: io::Error },
}

impl std::fmt::Display for LockError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Held { path } => write!(
                formatter,
                "another process uses this data directory: it holds the lock {}. Stop it, or give this node a directory of its own (log.dirs)",
                path.display()
            ),
            Self::Failed { path, error } => write!(
                formatter,
                "cannot lock the data directory: {}: {error}. Check that the directory exists and that this user may write to it",
                path.display()
            ),
        }
    }
}

impl std::error::Error for LockError {}

/// The right to use a data directory, held until dropped or until the process is gone.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: OwnedFd,
}

impl DirectoryLock {
    /// Locks `<directory>/.lock` (as Kafka names it), waiting up to `wait` for a predecessor that is dying.
    pub fn acquire(directory: &Path, wait: Duration) -> Result<Self, LockError> {
        let path = directory.join(".lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let failed = |error: Errno| LockError::Failed {
            path: path.clone(),
            error: error.into(),
        };
        let file = openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        let deadline = Instant::now() + wait;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(Errno::WOULDBLOCK) => return Err(LockError::Held { path }),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// Replaces a file whole and durably: the old contents or the new, never a mixture.
pub fn write_file_atomically(path: &Path, contents: &[u8]) -> io::Result<()> {
    replace_file(path, |file| file.write_all(contents))
}

/// The same for a large file, which is composed while it is written; gives its length. It stays the old one when `stopping` is set meanwhile: it may
/// take seconds.
pub(super) fn compose_file_atomically(
    path: &Path,
    compose: Composition,
    stopping: &AtomicBool,
) -> io::Result<u64> {
    let mut length = 0;
    replace_file(path, |file| {
        compose(&mut |piece| {
            if stopping.load(Ordering::Relaxed) {
                return Err(Errno::CANCELED.into());
            }
            let begun = Instant::now();
            file.write_all(piece)?;
            write_back(file, length, piece.len());
            length += piece.len();
            std::thread::sleep((begun.elapsed() * PIECE_REST_PARTS).min(PIECE_REST_MAX));
            Ok(())
        })
    })?;
    Ok(length as u64)
}

/// After each piece of a composed file the disk is left to others for so many times as long as the piece took,
const PIECE_REST_PARTS: u32 = 3;
/// and for no longer than this: a hundred megabytes are written in some seconds at the most.
const PIECE_REST_MAX: Duration = Duration::from_millis(5);

/// Has a file written beside the old one and takes it for that, once it is durable.
fn replace_file(
    path: &Path,
    write: impl FnOnce(&mut fs::File) -> io::Result<()>,
) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = folder.join(name);
    let written = fs::File::create(&part)
        .and_then(|mut file| {
            write(&mut file)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&part, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    Ok(sync_folder(folder)?)
}

/// Waits until a range of a file was written, durably or not: a durable write of the logs waits behind all that the device was given before it. A file
/// system that cannot do that writes it with the sync that follows.
fn write_back(file: &fs::File, position: usize, length: usize) {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and no memory of ours is handed over.
    let _ =
        unsafe { libc::sync_file_range(file.as_raw_fd(), position as i64, length as i64, flags) };
}

/// A doorbell's eventfd as a file that glommio reads from, on a descriptor of its own. Only within an executor.
pub(super) fn eventfd_for_glommio(bell: &Doorbell) -> io::Result<glommio::io::BufferedFile> {
    let own = bell.eventfd().try_clone()?;
    // SAFETY: a fresh descriptor that only this file owns from here on.
    Ok(unsafe { glommio::io::BufferedFile::from_raw_fd(own.into_raw_fd()) })
}

/// A bound and listening socket as glommio's listener. Only within an executor.
pub(super) fn listener_for_glommio(listener: TcpListener) -> glommio::net::TcpListener {
    // SAFETY: the descriptor was owned by `listener` alone, which gives it up.
    unsafe { glommio::net::TcpListener::from_raw_fd(listener.into_raw_fd()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::TakePiece;

    #[test]
    fn a_composed_file_that_is_broken_off_stays_the_old_one() {
        let folder =
            std::env::temp_dir().join(format!("odradek-broken-off-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let path = folder.join("snapshot");
        write_file_atomically(&path, b"old").expect("it is written");
        let compose = |composition: Composition, stopping| {
            compose_file_atomically(&path, composition, &AtomicBool::new(stopping))
        };
        let whole: fn(&mut TakePiece<'_>) -> io::Result<()> = |take| {
            take(b"ne")?;
            take(b"w")
        };
        let half: fn(&mut TakePiece<'_>) -> io::Result<()> = |take| {
            take(b"ne")?;
            Err(io::Error::other("what it is composed from is gone"))
        };
        assert!(compose(Box::new(whole), true).is_err());
        assert!(compose(Box::new(half), false).is_err());
        assert_eq!(fs::read(&path).expect("it is there"), b"old");
        assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 1);
        assert_eq!(compose(Box::new(whole), false).expect("it is written"), 3);
        assert_eq!(fs::read(&path).expect("it is there"), b"new");
        fs::remove_dir_all(&folder).expect("it can be removed");
    }
}
