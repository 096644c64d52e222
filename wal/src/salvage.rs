//! What can still be told of a damaged stretch: frames with sound headers, and directories, which are the second copy of who was there.

use crate::io::BLOCK_BYTES;
use crate::layout::{
    DirectoryEntry, FRAME_ALIGNMENT, FRAME_HEADER_BYTES, FrameHeader, WRITE_HEADER_BYTES,
    WriteHeader, decode_directory, directory_crc, frame_bytes, verify_frame,
};

/// A frame of a stretch; its position is from the start of the stretch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Salvaged {
    pub entry: DirectoryEntry,
    /// Header and payload hold.
    pub sound: bool,
}

/// The frames of a write in which every byte that matters holds, or `None`.
pub(crate) fn whole_write(
    nonce: u64,
    position: u64,
    header: &WriteHeader,
    bytes: &[u8],
) -> Option<Vec<DirectoryEntry>> {
    let end = position + bytes.len() as u64;
    let entries = decode_directory(nonce, end, bytes)?;
    if entries.len() != header.frames as usize || directory_crc(bytes) != header.directory_crc {
        return None;
    }
    let mut next = WRITE_HEADER_BYTES;
    for entry in &entries {
        let frame = frame_at(nonce, position, next, bytes)?;
        if frame.position != entry.position
            || frame.meta != entry.meta
            || frame.payload_bytes != entry.payload_bytes
        {
            return None;
        }
        next += frame_bytes(entry.payload_bytes as usize);
    }
    (next == header.frames_end as usize).then_some(entries)
}

fn entry_of(header: &FrameHeader, at: usize) -> DirectoryEntry {
    DirectoryEntry {
        meta: header.meta,
        position: at as u32,
        payload_bytes: header.payload_bytes,
    }
}

fn frame_at(nonce: u64, position: u64, at: usize, bytes: &[u8]) -> Option<DirectoryEntry> {
    let header = verify_frame(nonce, position + at as u64, bytes.get(at..)?)?;
    Some(entry_of(&header, at))
}

/// Frames of a damaged stretch in order, and whether these are all that it held.
pub(crate) fn salvage(
    nonce: u64,
    position: u64,
    header: Option<&WriteHeader>,
    bytes: &[u8],
) -> (Vec<Salvaged>, bool) {
    let found = frames_by_header(nonce, position, bytes);
    let directory = decode_directory(nonce, position + bytes.len() as u64, bytes);
    if let Some(entries) = directory {
        let end = entries.last().map_or(WRITE_HEADER_BYTES, |entry| {
            entry.position as usize + frame_bytes(entry.payload_bytes as usize)
        });
        let length = (end + crate::layout::directory_bytes(entries.len()).unwrap_or(0))
            .next_multiple_of(BLOCK_BYTES);
        if header.is_some() || length == bytes.len() {
            let frames = entries.iter().map(|entry| Salvaged {
                entry: *entry,
                sound: is_sound(&found, entry),
            });
            return (frames.collect(), true);
        }
        return (
            join(found, &earlier_directories(nonce, position, bytes)),
            false,
        );
    }
    let covered = found.iter().try_fold(WRITE_HEADER_BYTES, |next, frame| {
        (frame.entry.position as usize == next)
            .then(|| next + frame_bytes(frame.entry.payload_bytes as usize))
    });
    let complete = header.is_some_and(|header| {
        found.len() == header.frames as usize && covered == Some(header.frames_end as usize)
    });
    if complete {
        return (found, true);
    }
    (
        join(found, &earlier_directories(nonce, position, bytes)),
        false,
    )
}

fn is_sound(found: &[Salvaged], entry: &DirectoryEntry) -> bool {
    found
        .iter()
        .any(|frame| frame.sound && frame.entry == *entry)
}

/// Every place where a frame header of this segment holds.
fn frames_by_header(nonce: u64, position: u64, bytes: &[u8]) -> Vec<Salvaged> {
    let mut frames = Vec::new();
    let mut at = WRITE_HEADER_BYTES.min(bytes.len());
    while at + FRAME_HEADER_BYTES <= bytes.len() {
        let Some(header) = FrameHeader::decode(nonce, position + at as u64, &bytes[at..]) else {
            at += FRAME_ALIGNMENT;
            continue;
        };
        let sound = verify_frame(nonce, position + at as u64, &bytes[at..]).is_some();
        frames.push(Salvaged {
            entry: entry_of(&header, at),
            sound,
        });
        at += frame_bytes(header.payload_bytes as usize).max(FRAME_ALIGNMENT);
    }
    frames
}

/// Directories of any write that ended within the stretch, at block ends.
fn earlier_directories(nonce: u64, position: u64, bytes: &[u8]) -> Vec<DirectoryEntry> {
    let mut entries = Vec::new();
    for end in (BLOCK_BYTES..=bytes.len()).step_by(BLOCK_BYTES) {
        entries.extend(
            decode_directory(nonce, position + end as u64, &bytes[..end]).unwrap_or_default(),
        );
    }
    entries
}

/// Frames found by their headers, and those that only a directory names, in the order of offsets within each replica.
fn join(found: Vec<Salvaged>, named: &[DirectoryEntry]) -> Vec<Salvaged> {
    let mut frames = found;
    for entry in named {
        let same = |frame: &Salvaged| {
            frame.entry.meta.replica == entry.meta.replica
                && frame.entry.meta.base_offset == entry.meta.base_offset
        };
        if !entry.is_control() && !frames.iter().any(same) {
            let after = frames.iter().position(|frame| {
                frame.entry.meta.replica == entry.meta.replica
                    && frame.entry.meta.base_offset > entry.meta.base_offset
            });
            let at = after.unwrap_or(frames.len());
            frames.insert(
                at,
                Salvaged {
                    entry: *entry,
                    sound: false,
                },
            );
        }
    }
    frames
}
