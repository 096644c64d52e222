//! A file system in memory that loses what was not synced, as a machine does whose power fails: `odradek-lazy-fs FOLDER` mounts it there.
//!
//! Writing a number to the file `.lose` in its root is the power failure: of every 4 KiB block written since its file was last
//! synced, that seed decides whether it is kept, lost, or kept in some of its 512-byte sectors only. Names and lengths are kept.
//! What is kept and lost is in `files`.

mod files;

use files::{FILE_BLOCK_BYTES, Files, Kind};
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use std::ffi::OsStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Nothing is remembered by the kernel: it must not show what is lost.
const REMEMBERED: Duration = Duration::ZERO;
/// What the file system says it holds; the memory of the machine is its real bound.
const CAPACITY_BYTES: u64 = 16 << 30;

struct LazyFileSystem(Mutex<Files>);

impl LazyFileSystem {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attributes(files: &Files, number: u64) -> Option<FileAttr> {
    let file = files.get(number)?;
    let kind = match file.kind {
        Kind::Folder(_) => FileType::Directory,
        Kind::Data => FileType::RegularFile,
    };
    let then = SystemTime::UNIX_EPOCH;
    Some(FileAttr {
        ino: INodeNo(number),
        size: file.length,
        blocks: file.length.div_ceil(512),
        atime: then,
        mtime: then,
        ctime: then,
        crtime: then,
        kind,
        perm: file.mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: FILE_BLOCK_BYTES as u32,
        flags: 0,
    })
}

fn answer_entry(files: &Files, number: Option<u64>, reply: ReplyEntry) {
    match number.and_then(|number| attributes(files, number)) {
        Some(found) => reply.entry(&REMEMBERED, &found, Generation(0)),
        None => reply.error(Errno::ENOENT),
    }
}

fn answer_done(done: bool, reply: ReplyEmpty) {
    match done {
        true => reply.ok(),
        false => reply.error(Errno::ENOENT),
    }
}

impl Filesystem for LazyFileSystem {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let files = self.files();
        answer_entry(&files, files.find(parent.0, name), reply);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(&self.files(), number.0) {
            Some(found) => reply.attr(&REMEMBERED, &found),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut files = self.files();
        if let Some(file) = files.get_mut(number.0) {
            file.mode = mode.map_or(file.mode, |mode| mode as u16);
            if let Some(size) = size {
                file.set_length(size);
            }
        }
        match attributes(&files, number.0) {
            Some(found) => reply.attr(&REMEMBERED, &found),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let mut files = self.files();
        let made = files.make(
            parent.0,
            name,
            Kind::Folder(Default::default()),
            mode as u16,
        );
        answer_entry(&files, made, reply);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut files = self.files();
        let made = files.make(parent.0, name, Kind::Data, mode as u16);
        match made.and_then(|number| attributes(&files, number)) {
            Some(found) => reply.created(
                &REMEMBERED,
                &found,
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer_done(self.files().remove(parent.0, name), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut files = self.files();
        let found = files.find(parent.0, name);
        match found
            .and_then(|number| files.get(number))
            .map(|file| &file.kind)
        {
            Some(Kind::Folder(names)) if !names.is_empty() => reply.error(Errno::ENOTEMPTY),
            _ => answer_done(files.remove(parent.0, name), reply),
        }
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self
            .files()
            .rename((parent.0, name), (new_parent.0, new_name));
        answer_done(renamed, reply);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.files().get(number.0) {
            Some(file) => reply.data(&file.read(offset, size as usize)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut files = self.files();
        if files.is_trigger(number.0) {
            let text = String::from_utf8_lossy(data);
            let Ok(seed) = text.trim().parse() else {
                return reply.error(Errno::EINVAL);
            };
            println!("{}", files.lose(seed));
        } else if let Some(file) = files.get_mut(number.0) {
            file.write(offset, data);
            // The kernel leaves the sync of a durable write to us, and says so here.
            if flags.0 & (libc::O_DSYNC | libc::O_SYNC) != 0 {
                file.sync_range(offset, data.len() as u64);
            }
        } else {
            return reply.error(Errno::ENOENT);
        }
        reply.written(data.len() as u32);
    }

    fn fallocate(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode & !libc::FALLOC_FL_KEEP_SIZE != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let mut files = self.files();
        let file = files.get_mut(number.0);
        let known = file.is_some();
        if let Some(file) = file.filter(|_| mode == 0) {
            file.set_length(file.length.max(offset + length));
        }
        answer_done(known, reply);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut files = self.files();
        let file = files.get_mut(number.0);
        let known = file.is_some();
        if let Some(file) = file {
            file.sync();
        }
        answer_done(known, reply);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let files = self.files();
        let Some(Kind::Folder(names)) = files.get(number.0).map(|file| &file.kind) else {
            return reply.error(Errno::ENOENT);
        };
        for (place, (name, child)) in names.iter().enumerate().skip(offset as usize) {
            let kind = match files.get(*child).map(|file| &file.kind) {
                Some(Kind::Folder(_)) => FileType::Directory,
                _ => FileType::RegularFile,
            };
            if reply.add(INodeNo(*child), place as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let blocks = CAPACITY_BYTES / FILE_BLOCK_BYTES as u64;
        let used = self.files().stored_blocks();
        let free = blocks.saturating_sub(used);
        let size = FILE_BLOCK_BYTES as u32;
        reply.statfs(blocks, free, free, 1 << 20, 1 << 20, size, 255, size);
    }
}

fn main() {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!(
            "odradek-lazy-fs FOLDER: mounts a file system there that loses what was not synced when a seed is written to FOLDER/.lose; unmount it to end"
        );
        std::process::exit(2);
    };
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("odradek-lazy-fs".to_owned())];
    let mounted = fuser::mount(LazyFileSystem(Mutex::new(Files::new())), &folder, &config);
    if let Err(error) = mounted {
        eprintln!(
            "odradek-lazy-fs: cannot mount at {folder}: {error}; is FUSE there (/dev/fuse), and are you root or is fusermount3 installed?"
        );
        std::process::exit(1);
    }
}
