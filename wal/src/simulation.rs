//! A disk in memory that does what disks do at their worst, and a driver that runs a log over it. Behind the feature `simulation`, for the
//! tests of this crate and of those above it. Everything follows from a seed.

use crate::buffer::AlignedBuffer;
use crate::io::{
    BLOCK_BYTES, Disk, Event, FileName, Io, IoFailure, IoFailureKind, IoId, IoResult, Output,
};
use crate::log::Log;
use crate::options::LogOptions;
use crate::report::{RecoveryError, RecoveryReport, RecoveryVisitor};
use crate::types::Now;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What tears: sectors land whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// Numbers from a seed.
#[derive(Clone, Debug)]
pub struct Random(crate::checksum::Entropy);

impl Random {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(crate::checksum::Entropy::new(seed))
    }

    /// Any number.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// A number below `bound` (at least 1).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next() % bound.max(1)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// A request that the disk refuses once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A read.
    Read,
    /// A write, or a create.
    Write,
    /// A sync.
    Sync,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// What a reader sees.
    bytes: Vec<u8>,
    /// Sectors that a crash may take back: their durable content.
    unsynced: BTreeMap<usize, Vec<u8>>,
}

/// The disk. Reads see every write; a crash takes unsynced sectors back, each or not, by the seed.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    files: BTreeMap<FileName, File>,
    random: Random,
    /// Bytes of all files together at most.
    pub bytes_max: u64,
    /// Writes and syncs so far; a crash point is named by it.
    pub operations: u64,
    /// The operation in which the power fails: a write is torn, everything after it fails.
    pub crash_at: Option<u64>,
    crashed: bool,
    /// Failures to come, by operation: how many pass before the next one fails with EIO.
    pub fail_in: BTreeMap<u8, u64>,
    /// Operations that fail once more right after they failed.
    fail_again: BTreeSet<u8>,
    /// The next write goes to this many bytes further on.
    pub misdirect_next: Option<u64>,
}

const EIO: IoFailure = IoFailure {
    kind: IoFailureKind::Device,
    os_code: 5,
};
const ENOSPC: IoFailure = IoFailure {
    kind: IoFailureKind::OutOfSpace,
    os_code: 28,
};
const ENOENT: IoFailure = IoFailure {
    kind: IoFailureKind::NotFound,
    os_code: 2,
};
const SHORT: IoFailure = IoFailure {
    kind: IoFailureKind::Short,
    os_code: 0,
};

impl SimulatedDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            files: BTreeMap::new(),
            random: Random::new(seed),
            bytes_max: u64::MAX,
            operations: 0,
            crash_at: None,
            crashed: false,
            fail_in: BTreeMap::new(),
            fail_again: BTreeSet::new(),
            misdirect_next: None,
        }
    }

    /// Whether the power failed.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.crashed
    }

    /// The `after`-th such operation from now on fails with EIO (0: the next one).
    pub fn fail(&mut self, operation: Operation, after: u64) {
        self.fail_in.insert(operation as u8, after);
    }

    /// The failure that is to come happens twice.
    pub fn fail_again(&mut self, operation: Operation) {
        self.fail_again.insert(operation as u8);
    }

    fn fails(&mut self, operation: Operation) -> bool {
        match self.fail_in.get_mut(&(operation as u8)) {
            Some(0) => {
                if !self.fail_again.remove(&(operation as u8)) {
                    self.fail_in.remove(&(operation as u8));
                }
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// Counts an operation; true in the one in which the power fails.
    fn power_fails(&mut self) -> bool {
        let now = self.crash_at == Some(self.operations);
        self.operations += 1;
        self.crashed |= now;
        now
    }

    /// Power is back: unsynced sectors are kept or lost, each by the seed, and nothing is unsynced any more.
    pub fn restart(&mut self) {
        for file in self.files.values_mut() {
            for (sector, durable) in std::mem::take(&mut file.unsynced) {
                if self.random.once_in(2) {
                    let at = sector * SECTOR_BYTES;
                    let end = (at + durable.len()).min(file.bytes.len());
                    if at < end {
                        file.bytes[at..end].copy_from_slice(&durable[..end - at]);
                    }
                }
            }
        }
        self.crashed = false;
        self.crash_at = None;
    }

    /// Flips one bit.
    pub fn flip(&mut self, file: FileName, position: u64, bit: u8) {
        if let Some(byte) = self
            .files
            .get_mut(&file)
            .and_then(|file| file.bytes.get_mut(position as usize))
        {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Overwrites bytes.
    pub fn overwrite(&mut self, file: FileName, position: u64, with: &[u8]) {
        if let Some(found) = self.files.get_mut(&file) {
            found.bytes[position as usize..position as usize + with.len()].copy_from_slice(with);
        }
    }

    /// A file's bytes.
    #[must_use]
    pub fn bytes(&self, file: FileName) -> Option<&[u8]> {
        self.files.get(&file).map(|file| &file.bytes[..])
    }

    /// A file vanishes.
    pub fn lose(&mut self, file: FileName) {
        self.files.remove(&file);
    }

    /// Every file.
    #[must_use]
    pub fn file_names(&self) -> Vec<FileName> {
        self.files.keys().copied().collect()
    }

    fn write(
        &mut self,
        file: FileName,
        position: u64,
        bytes: &[u8],
        durable: bool,
    ) -> Result<(), IoFailure> {
        assert!(
            position.is_multiple_of(BLOCK_BYTES as u64) && bytes.len().is_multiple_of(BLOCK_BYTES),
            "unaligned write"
        );
        assert!(
            (bytes.as_ptr() as usize).is_multiple_of(BLOCK_BYTES),
            "unaligned buffer"
        );
        if self.crashed {
            return Err(EIO);
        }
        let torn = self.power_fails();
        if !torn && self.fails(Operation::Write) {
            // A failed write may have reached the disk in part.
            self.land(file, position, bytes, true);
            return Err(EIO);
        }
        let position = position + self.misdirect_next.take().unwrap_or(0);
        self.grow(file, position + bytes.len() as u64)?;
        let length = self.files.get(&file).ok_or(ENOENT)?.bytes.len() as u64;
        assert!(
            position + bytes.len() as u64 <= length,
            "{file}: a write past the end, {position} + {} > {length}",
            bytes.len()
        );
        if torn {
            self.land(file, position, bytes, true);
            return Err(EIO);
        }
        self.keep_old(file, position, bytes.len());
        self.land(file, position, bytes, false);
        if durable && let Some(found) = self.files.get_mut(&file) {
            let first = position as usize / SECTOR_BYTES;
            for sector in first..first + bytes.len() / SECTOR_BYTES {
                found.unsynced.remove(&sector);
            }
        }
        Ok(())
    }

    /// Checkpoint files grow as they are written; nothing else does.
    fn grow(&mut self, file: FileName, end: u64) -> Result<(), IoFailure> {
        let may = matches!(
            file,
            FileName::CheckpointBase(_) | FileName::CheckpointDelta(_) | FileName::Index(_)
        );
        let used = self.used_bytes();
        let found = self.files.get_mut(&file).ok_or(ENOENT)?;
        let more = end.saturating_sub(found.bytes.len() as u64);
        if may && more > 0 {
            if used + more > self.bytes_max {
                return Err(ENOSPC);
            }
            found.bytes.resize(end as usize, 0);
        }
        Ok(())
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let files = self.files.values();
        files.map(|file| file.bytes.len() as u64).sum()
    }

    fn keep_old(&mut self, file: FileName, position: u64, length: usize) {
        let Some(found) = self.files.get_mut(&file) else {
            return;
        };
        for at in (position as usize..position as usize + length).step_by(SECTOR_BYTES) {
            let old = found.bytes[at..at + SECTOR_BYTES].to_vec();
            found.unsynced.entry(at / SECTOR_BYTES).or_insert(old);
        }
    }

    /// Writes sectors, all of them or, torn, a random subset (often a prefix).
    fn land(&mut self, file: FileName, position: u64, bytes: &[u8], torn: bool) {
        let prefix = torn.then(|| {
            self.random
                .below(bytes.len() as u64 / SECTOR_BYTES as u64 + 1) as usize
        });
        let as_prefix = self.random.once_in(2);
        for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            let lands = match prefix {
                None => true,
                Some(prefix) if as_prefix => index < prefix,
                Some(_) => self.random.once_in(2),
            };
            let at = position as usize + index * SECTOR_BYTES;
            if lands
                && let Some(found) = self.files.get_mut(&file)
                && at + sector.len() <= found.bytes.len()
            {
                found.bytes[at..at + sector.len()].copy_from_slice(sector);
            }
        }
    }

    /// Runs one request.
    pub fn run(&mut self, io: &Io) -> IoResult {
        let done = match io {
            Io::Write {
                file,
                position,
                buffer,
                durable,
                ..
            } => self.write(*file, *position, buffer, *durable),
            Io::Read {
                file,
                position,
                length,
                ..
            } => {
                let mut buffer = AlignedBuffer::new(*length);
                return match self.read_at(*file, *position, &mut buffer) {
                    Ok(()) => IoResult::Data(buffer.freeze()),
                    Err(failure) => IoResult::Failed(failure),
                };
            }
            Io::Create {
                file, bytes, zero, ..
            } => self.create(*file, *bytes, *zero),
            Io::Sync { file, .. } => self.sync(*file),
            Io::Remove { file, .. } => self.remove(*file),
        };
        done.map_or_else(IoResult::Failed, |()| IoResult::Done)
    }
}

impl Disk for SimulatedDisk {
    fn list(&mut self) -> Result<Vec<FileName>, IoFailure> {
        if self.crashed {
            Err(EIO)
        } else {
            Ok(self.file_names())
        }
    }

    fn length(&mut self, file: FileName) -> Result<Option<u64>, IoFailure> {
        if self.crashed {
            Err(EIO)
        } else {
            Ok(self.files.get(&file).map(|file| file.bytes.len() as u64))
        }
    }

    fn create(&mut self, file: FileName, bytes: u64, _zero: bool) -> Result<(), IoFailure> {
        if self.crashed || self.power_fails() || self.fails(Operation::Write) {
            return Err(EIO);
        }
        let used = self.used_bytes();
        if used + bytes > self.bytes_max {
            return Err(ENOSPC);
        }
        self.files.insert(
            file,
            File {
                bytes: vec![0; bytes as usize],
                unsynced: BTreeMap::new(),
            },
        );
        Ok(())
    }

    fn read_at(
        &mut self,
        file: FileName,
        position: u64,
        buffer: &mut [u8],
    ) -> Result<(), IoFailure> {
        assert!(
            position.is_multiple_of(BLOCK_BYTES as u64) && buffer.len().is_multiple_of(BLOCK_BYTES),
            "unaligned read"
        );
        if self.crashed || self.fails(Operation::Read) {
            return Err(EIO);
        }
        let found = self.files.get(&file).ok_or(ENOENT)?;
        let bytes = found
            .bytes
            .get(position as usize..position as usize + buffer.len())
            .ok_or(SHORT)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(
        &mut self,
        file: FileName,
        position: u64,
        buffer: &[u8],
        durable: bool,
    ) -> Result<(), IoFailure> {
        self.write(file, position, buffer, durable)
    }

    fn sync(&mut self, file: FileName) -> Result<(), IoFailure> {
        if self.crashed || self.power_fails() {
            return Err(EIO);
        }
        if self.fails(Operation::Sync) {
            return Err(EIO);
        }
        self.files.get_mut(&file).ok_or(ENOENT)?.unsynced.clear();
        Ok(())
    }

    fn remove(&mut self, file: FileName) -> Result<(), IoFailure> {
        if self.crashed || self.power_fails() {
            return Err(EIO);
        }
        self.files.remove(&file).map(|_| ()).ok_or(ENOENT)
    }
}

/// Reads as they are, whatever fails or is counted: for audits.
#[derive(Debug)]
pub struct Peek<'a>(pub &'a SimulatedDisk);

impl Disk for Peek<'_> {
    fn list(&mut self) -> Result<Vec<FileName>, IoFailure> {
        Ok(self.0.file_names())
    }

    fn length(&mut self, file: FileName) -> Result<Option<u64>, IoFailure> {
        Ok(self.0.bytes(file).map(|bytes| bytes.len() as u64))
    }

    fn create(&mut self, _: FileName, _: u64, _: bool) -> Result<(), IoFailure> {
        Err(EIO)
    }

    fn read_at(
        &mut self,
        file: FileName,
        position: u64,
        buffer: &mut [u8],
    ) -> Result<(), IoFailure> {
        let bytes = self.0.bytes(file).ok_or(ENOENT)?;
        let range = position as usize..position as usize + buffer.len();
        buffer.copy_from_slice(bytes.get(range).ok_or(SHORT)?);
        Ok(())
    }

    fn write_at(&mut self, _: FileName, _: u64, _: &[u8], _: bool) -> Result<(), IoFailure> {
        Err(EIO)
    }

    fn sync(&mut self, _: FileName) -> Result<(), IoFailure> {
        Err(EIO)
    }

    fn remove(&mut self, _: FileName) -> Result<(), IoFailure> {
        Err(EIO)
    }
}

/// A log on a simulated disk, with a clock. Requests are done in the order they were made, or, with `shuffle`, in any.
#[derive(Debug)]
pub struct Driver {
    /// The disk.
    pub disk: SimulatedDisk,
    /// The log.
    pub log: Log,
    /// The time.
    pub now: Now,
    /// Outputs other than I/O, in order. Taken by the test.
    pub outputs: Vec<Output>,
    /// Requests that wait.
    pub waiting: VecDeque<Io>,
    /// Any order, by this.
    pub shuffle: Option<Random>,
}

impl Driver {
    /// Formats a new disk and opens the log.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn new(seed: u64, options: LogOptions) -> Self {
        let mut disk = SimulatedDisk::new(seed);
        Log::format(&mut disk, &options).expect("a new disk takes a format");
        let now = Now {
            monotonic_us: 1_000_000,
            wall_ms: 1_700_000_000_000,
        };
        let opened = Self::open(disk, options, now, &mut crate::report::IgnoreAll);
        opened.expect("a new log opens").0
    }

    /// Recovers a log.
    ///
    /// # Errors
    /// As `Log::recover`, with the disk.
    #[allow(clippy::result_large_err)]
    pub fn open(
        mut disk: SimulatedDisk,
        options: LogOptions,
        now: Now,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<(Self, RecoveryReport), (SimulatedDisk, RecoveryError)> {
        match Log::recover(&mut disk, options, now, visitor) {
            Ok((log, report)) => {
                let driver = Self {
                    disk,
                    log,
                    now,
                    outputs: Vec::new(),
                    waiting: VecDeque::new(),
                    shuffle: None,
                };
                Ok((driver, report))
            }
            Err(error) => Err((disk, error)),
        }
    }

    /// `Log::check_accounts` with the disk as it is.
    ///
    /// # Errors
    /// Every difference.
    pub fn check_accounts(&self) -> Result<(), String> {
        self.log.check_accounts(&mut Peek(&self.disk))
    }

    /// Calls the log and sorts its outputs.
    pub fn call<T>(&mut self, call: impl FnOnce(&mut Log, Now, &mut Vec<Output>) -> T) -> T {
        let mut out = Vec::new();
        let answer = call(&mut self.log, self.now, &mut out);
        for output in out {
            match output {
                Output::Io(io) => self.waiting.push_back(io),
                other => self.outputs.push(other),
            }
        }
        answer
    }

    /// Does one waiting request; `false` when there is none or the power is gone.
    pub fn run_one(&mut self) -> bool {
        if self.disk.crashed() || self.waiting.is_empty() {
            return false;
        }
        let at = self
            .shuffle
            .as_mut()
            .map_or(0, |random| random.below(self.waiting.len() as u64) as usize);
        let Some(io) = self.waiting.remove(at) else {
            return false;
        };
        let result = self.disk.run(&io);
        if self.disk.crashed() {
            return false;
        }
        self.done(io.id(), result);
        true
    }

    /// Tells the log of a result.
    pub fn done(&mut self, id: IoId, result: IoResult) {
        self.call(|log, now, out| log.step(now, Event::IoDone { id, result }, out));
    }

    /// Time passes.
    pub fn tick(&mut self, milliseconds: u64) {
        self.now.monotonic_us += milliseconds * 1_000;
        self.now.wall_ms += milliseconds as i64;
        self.call(|log, now, out| log.step(now, Event::Tick, out));
    }

    /// Does requests until none waits, nor rests beside writes.
    pub fn settle(&mut self) {
        loop {
            while self.run_one() {}
            match self.log.reads_due_us() {
                Some(due_us) if due_us > self.now.monotonic_us => {
                    self.now.monotonic_us = due_us;
                    self.tick(0);
                }
                _ => return,
            }
        }
    }

    /// Does `count` requests.
    pub fn settle_commits(&mut self, count: usize) {
        for _ in 0..count {
            self.run_one();
        }
    }

    /// Ticks and does requests until nothing goes on: seals, footers, checkpoints under way are done.
    pub fn quiesce(&mut self) {
        for _ in 0..40 {
            self.tick(60);
            self.settle();
        }
    }

    /// What was told since the last time.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// The power fails, or the process is killed; the disk as it is found afterwards.
    #[must_use]
    pub fn crash(mut self) -> SimulatedDisk {
        self.disk.restart();
        self.disk
    }
}
