//! Segment files of a node that is down, as `wal/FORMAT.md` draws them: found, flipped, garbled.

use super::node::Random;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const BLOCK: usize = 4096;

/// The first of the files that holds `text`, and where.
pub fn find(paths: &[PathBuf], text: &[u8]) -> Option<(PathBuf, u64)> {
    paths.iter().find_map(|path| {
        let bytes = fs::read(path).expect("a segment reads");
        let at = bytes
            .windows(text.len())
            .position(|window| window == text)?;
        Some((path.clone(), at as u64))
    })
}

fn change(path: &Path, position: u64, bytes: &[u8]) {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .expect("a segment opens");
    file.write_all_at(bytes, position)
        .expect("a segment takes bytes");
}

/// Flips one bit of the byte at `position`.
pub fn flip(path: &Path, position: u64) {
    let bytes = fs::read(path).expect("a segment reads");
    change(path, position, &[bytes[position as usize] ^ 0x10]);
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The log segment with the highest sequence: the log's end lies in it.
pub fn newest(paths: &[PathBuf]) -> PathBuf {
    let sequence = |path: &PathBuf| {
        let bytes = fs::read(path).expect("a segment reads");
        // One that is ready for its next use may hold writes of its last one.
        let used = bytes.starts_with(b"ODRASEGM") && !writes(&bytes).is_empty();
        used.then(|| number(&bytes, 24))
    };
    let newest = paths.iter().filter(|path| sequence(path).is_some());
    newest
        .max_by_key(|path| sequence(path))
        .expect("a segment in use")
        .clone()
}

/// Positions and lengths of the writes in a segment, in order.
fn writes(bytes: &[u8]) -> Vec<(usize, usize)> {
    let nonce = &bytes[16..24];
    let mut at = BLOCK;
    let mut found = Vec::new();
    while at + BLOCK <= bytes.len()
        && bytes[at..].starts_with(b"ODRW")
        && bytes[at + 8..at + 16] == *nonce
    {
        let length = u32::from_le_bytes(bytes[at + 40..at + 44].try_into().expect("four bytes"));
        found.push((at, length as usize));
        at += length as usize;
    }
    found
}

/// Leaves behind the last write what a crash may leave there: part of a write that was never acknowledged, an older one's bytes, noise.
pub fn garble_behind_the_end(path: &Path, kind: u64, random: &mut Random) {
    let bytes = fs::read(path).expect("a segment reads");
    let writes = writes(&bytes);
    let (last, length) = *writes.last().expect("a write");
    let end = last + length;
    let garbage = match kind % 3 {
        0 => random.bytes(BLOCK * 3 + 512),
        // The header of another place, whole, with nothing behind it that fits.
        1 => bytes[writes[0].0..writes[0].0 + BLOCK].to_vec(),
        // The last write once more, torn at a sector.
        _ => bytes[last..last + length - 512].to_vec(),
    };
    let room = bytes.len() - end;
    change(path, end as u64, &garbage[..garbage.len().min(room)]);
}

/// Zeroes a random part of the last write from a sector on, unless it holds `spared`. Answers whether it did.
pub fn tear_last_write(path: &Path, spared: &[u8], random: &mut Random) -> bool {
    let bytes = fs::read(path).expect("a segment reads");
    let (last, length) = *writes(&bytes).last().expect("a write");
    let write = &bytes[last..last + length];
    let holds = write.windows(spared.len()).any(|window| window == spared);
    // One without records may be the proof of the write before it.
    if holds || length <= BLOCK {
        return false;
    }
    let from = random.below(length as u64 / 512) as usize * 512;
    change(path, (last + from) as u64, &vec![0; length - from]);
    true
}
