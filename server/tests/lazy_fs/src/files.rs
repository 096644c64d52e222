//! The files of the file system that forgets, and what a power failure leaves of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

/// Bytes that are kept or lost together, but for torn ones.
pub const FILE_BLOCK_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;
/// The folder in which all lies; FUSE gives it this number.
const ROOT: u64 = 1;
/// Its file whose writing is the power failure.
const TRIGGER_NAME: &str = ".lose";

type Block = Arc<[u8; FILE_BLOCK_BYTES]>;

pub enum Kind {
    Folder(BTreeMap<OsString, u64>),
    Data,
}

pub struct File {
    pub kind: Kind,
    pub mode: u16,
    pub length: u64,
    /// Blocks by number, as they are read; one that is missing is zeroes.
    current: BTreeMap<u64, Block>,
    /// What they were at the last sync, for those written since.
    synced: BTreeMap<u64, Option<Block>>,
}

impl File {
    pub fn read(&self, offset: u64, size: usize) -> Vec<u8> {
        let end = self.length.min(offset + size as u64);
        let mut bytes = Vec::with_capacity(size);
        let mut at = offset;
        while at < end {
            let within = (at % FILE_BLOCK_BYTES as u64) as usize;
            let count = (FILE_BLOCK_BYTES - within).min((end - at) as usize);
            match self.current.get(&(at / FILE_BLOCK_BYTES as u64)) {
                Some(block) => bytes.extend_from_slice(&block[within..within + count]),
                None => bytes.resize(bytes.len() + count, 0),
            }
            at += count as u64;
        }
        bytes
    }

    pub fn write(&mut self, offset: u64, mut data: &[u8]) {
        let mut at = offset;
        while !data.is_empty() {
            let number = at / FILE_BLOCK_BYTES as u64;
            let within = (at % FILE_BLOCK_BYTES as u64) as usize;
            let count = (FILE_BLOCK_BYTES - within).min(data.len());
            let before = self.current.get(&number).cloned();
            let mut block = before.as_deref().copied().unwrap_or([0; FILE_BLOCK_BYTES]);
            block[within..within + count].copy_from_slice(&data[..count]);
            self.synced.entry(number).or_insert(before);
            match block.iter().all(|byte| *byte == 0) {
                true => self.current.remove(&number),
                false => self.current.insert(number, Arc::new(block)),
            };
            data = &data[count..];
            at += count as u64;
        }
        self.length = self.length.max(at);
    }

    pub fn sync(&mut self) {
        self.synced.clear();
    }

    /// Makes durable what one write wrote, and nothing written before it.
    pub fn sync_range(&mut self, offset: u64, length: u64) {
        let blocks = FILE_BLOCK_BYTES as u64;
        for number in offset / blocks..(offset + length).div_ceil(blocks) {
            self.synced.remove(&number);
        }
    }

    /// Cuts or extends the file; both are kept, as are the zeroes.
    pub fn set_length(&mut self, length: u64) {
        if length < self.length {
            let within = (length % FILE_BLOCK_BYTES as u64) as usize;
            if within > 0 {
                self.write(length, &[0; FILE_BLOCK_BYTES][within..]);
            }
            let first_gone = length.div_ceil(FILE_BLOCK_BYTES as u64);
            self.current.split_off(&first_gone);
            self.synced.split_off(&first_gone);
        }
        self.length = length;
    }

    /// The power fails; gives how many blocks were kept, torn and lost.
    fn lose(&mut self, random: &mut Random, counts: &mut [u64; 3]) {
        for (number, before) in std::mem::take(&mut self.synced) {
            let fate = random.below(3) as usize;
            counts[fate] += 1;
            let zeroes = [0; FILE_BLOCK_BYTES];
            let old = before.as_deref().copied().unwrap_or(zeroes);
            let mut block = self.current.get(&number).map_or(zeroes, |block| **block);
            for sector in 0..FILE_BLOCK_BYTES / SECTOR_BYTES {
                let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
                if fate == 2 || fate == 1 && random.below(2) == 0 {
                    block[range.clone()].copy_from_slice(&old[range]);
                }
            }
            self.current.insert(number, Arc::new(block));
        }
    }
}

pub struct Files {
    files: BTreeMap<u64, File>,
    next_number: u64,
    /// Removed, but perhaps open still: kept until the next power failure.
    removed: BTreeSet<u64>,
}

impl Files {
    pub fn new() -> Self {
        let mut files = Self {
            files: BTreeMap::new(),
            next_number: ROOT,
            removed: BTreeSet::new(),
        };
        files.add(Kind::Folder(BTreeMap::new()), 0o755);
        files.make(ROOT, OsStr::new(TRIGGER_NAME), Kind::Data, 0o600);
        files
    }

    fn add(&mut self, kind: Kind, mode: u16) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        let file = File {
            kind,
            mode: mode & 0o7777,
            length: 0,
            current: BTreeMap::new(),
            synced: BTreeMap::new(),
        };
        self.files.insert(number, file);
        number
    }

    pub fn get(&self, number: u64) -> Option<&File> {
        self.files.get(&number)
    }

    pub fn get_mut(&mut self, number: u64) -> Option<&mut File> {
        self.files.get_mut(&number)
    }

    pub fn find(&self, parent: u64, name: &OsStr) -> Option<u64> {
        match &self.files.get(&parent)?.kind {
            Kind::Folder(names) => names.get(name).copied(),
            Kind::Data => None,
        }
    }

    fn names(&mut self, parent: u64) -> Option<&mut BTreeMap<OsString, u64>> {
        match &mut self.files.get_mut(&parent)?.kind {
            Kind::Folder(names) => Some(names),
            Kind::Data => None,
        }
    }

    /// Makes a file or folder; `None` when the parent is none.
    pub fn make(&mut self, parent: u64, name: &OsStr, kind: Kind, mode: u16) -> Option<u64> {
        self.names(parent)?;
        let number = self.add(kind, mode);
        self.names(parent)?.insert(name.to_owned(), number);
        Some(number)
    }

    pub fn remove(&mut self, parent: u64, name: &OsStr) -> bool {
        let removed = self.names(parent).and_then(|names| names.remove(name));
        self.removed.extend(removed);
        removed.is_some()
    }

    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> bool {
        let Some(number) = self.names(from.0).and_then(|names| names.remove(from.1)) else {
            return false;
        };
        let replaced = self
            .names(to.0)
            .and_then(|names| names.insert(to.1.to_owned(), number));
        self.removed.extend(replaced);
        true
    }

    pub fn is_trigger(&self, number: u64) -> bool {
        self.find(ROOT, OsStr::new(TRIGGER_NAME)) == Some(number)
    }

    pub fn stored_blocks(&self) -> u64 {
        self.files
            .values()
            .map(|file| file.current.len() as u64)
            .sum()
    }

    /// The power fails; says what that did.
    pub fn lose(&mut self, seed: u64) -> String {
        let mut random = Random(seed);
        for number in std::mem::take(&mut self.removed) {
            self.files.remove(&number);
        }
        let mut counts = [0; 3];
        for file in self.files.values_mut() {
            file.lose(&mut random, &mut counts);
        }
        let [kept, torn, lost] = counts;
        format!(
            "power failure, seed {seed}: of the unsynced blocks {kept} kept, {torn} torn, {lost} lost"
        )
    }
}

/// Numbers that a seed decides (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
