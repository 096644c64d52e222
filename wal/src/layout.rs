//! Bytes on disk: superblock, segment header, write header and directory, frame header, root slot. `control.rs` has the control records,
//! `footer.rs` the index pages, `checkpoint_file.rs` the checkpoint's. `FORMAT.md` draws them; a golden test holds them.

use crate::checksum::{placed, plain};
use crate::io::BLOCK_BYTES;
use crate::types::{DirectoryId, FrameMeta, LeaderEpoch, Offset, ReplicaId};

/// Version of every format here. A newer one is refused at the superblock and the root.
pub(crate) const FORMAT_VERSION: u16 = 2;

pub(crate) const SUPERBLOCK_BYTES: usize = 128;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
pub(crate) const WRITE_HEADER_BYTES: usize = 64;
pub(crate) const DIRECTORY_ENTRY_BYTES: usize = 56;
pub(crate) const DIRECTORY_TRAILER_BYTES: usize = 16;
pub(crate) const FRAME_HEADER_BYTES: usize = 64;
pub(crate) const FRAME_ALIGNMENT: usize = 8;
pub(crate) const ROOT_SLOT_BYTES: usize = BLOCK_BYTES;
pub(crate) const ROOT_DELTAS_MAX: usize = 64;
pub(crate) const CLUSTER_ID_BYTES_MAX: usize = 64;

const _: () = assert!(SUPERBLOCK_BYTES <= BLOCK_BYTES && SEGMENT_HEADER_BYTES <= BLOCK_BYTES);
const _: () = assert!(
    FRAME_HEADER_BYTES.is_multiple_of(FRAME_ALIGNMENT)
        && WRITE_HEADER_BYTES.is_multiple_of(FRAME_ALIGNMENT)
);
const _: () = assert!(DIRECTORY_ENTRY_BYTES.is_multiple_of(FRAME_ALIGNMENT));
const _: () = assert!(64 + 4 * ROOT_DELTAS_MAX + 4 <= ROOT_SLOT_BYTES);

const SUPERBLOCK_MAGIC: [u8; 8] = *b"ODRASUPR";
const SEGMENT_MAGIC: [u8; 8] = *b"ODRASEGM";
const ROOT_MAGIC: [u8; 8] = *b"ODRAROOT";
const WRITE_MAGIC: u32 = u32::from_le_bytes(*b"ODRW");
const DIRECTORY_MAGIC: u32 = u32::from_le_bytes(*b"ODRD");
const FRAME_MAGIC: u16 = u16::from_le_bytes(*b"OF");

/// The replica id of control frames.
pub(crate) const CONTROL_REPLICA: ReplicaId = ReplicaId(u64::MAX);

/// The first `N` bytes at `at`; the caller has checked the length.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[at..at + N]);
    value
}

pub(crate) fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

pub(crate) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

pub(crate) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

pub(crate) fn get_i32(bytes: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(array(bytes, at))
}

pub(crate) fn get_i64(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(array(bytes, at))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Whom a folder belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub version: u16,
    pub node_id: i32,
    pub directory_id: DirectoryId,
    pub shard: u32,
    pub shards: u32,
    pub segment_bytes: u64,
    pub directory_bytes_max: u64,
    pub cluster_id: String,
}

impl Superblock {
    pub(crate) fn encode(&self, block: &mut [u8]) {
        let cluster = self.cluster_id.as_bytes();
        assert!(cluster.len() <= CLUSTER_ID_BYTES_MAX);
        block[..SUPERBLOCK_BYTES].fill(0);
        put(block, 0, &SUPERBLOCK_MAGIC);
        put(block, 8, &self.version.to_le_bytes());
        put(block, 12, &self.node_id.to_le_bytes());
        put(block, 16, &self.directory_id.0);
        put(block, 32, &self.shard.to_le_bytes());
        put(block, 36, &self.shards.to_le_bytes());
        put(block, 40, &self.segment_bytes.to_le_bytes());
        put(block, 48, &self.directory_bytes_max.to_le_bytes());
        put(block, 56, &(cluster.len() as u16).to_le_bytes());
        put(block, 58, cluster);
        let crc = plain(&block[..124]);
        put(block, 124, &crc.to_le_bytes());
    }

    /// `None`: not readable. The version is the caller's to judge.
    pub(crate) fn decode(block: &[u8]) -> Option<Self> {
        if block.len() < SUPERBLOCK_BYTES
            || block[..8] != SUPERBLOCK_MAGIC
            || get_u32(block, 124) != plain(&block[..124])
        {
            return None;
        }
        let cluster_bytes = usize::from(get_u16(block, 56)).min(CLUSTER_ID_BYTES_MAX);
        Some(Self {
            version: get_u16(block, 8),
            node_id: get_i32(block, 12),
            directory_id: DirectoryId(array(block, 16)),
            shard: get_u32(block, 32),
            shards: get_u32(block, 36),
            segment_bytes: get_u64(block, 40),
            directory_bytes_max: get_u64(block, 48),
            cluster_id: String::from_utf8(block[58..58 + cluster_bytes].to_vec()).ok()?,
        })
    }
}

/// What a segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    /// Writes in the order of the log.
    Log,
    /// Frames moved here, sorted by replica and offset.
    Rewritten,
}

/// The head of a segment, written anew at each use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub kind: SegmentKind,
    pub file: u32,
    pub nonce: u64,
    /// Uses of segments are numbered; log segments hold the log in this order.
    pub sequence: u64,
    pub directory_id: DirectoryId,
    pub shard: u32,
}

impl SegmentHeader {
    pub(crate) fn encode(&self, block: &mut [u8]) {
        block[..SEGMENT_HEADER_BYTES].fill(0);
        put(block, 0, &SEGMENT_MAGIC);
        put(block, 8, &FORMAT_VERSION.to_le_bytes());
        block[10] = if self.kind == SegmentKind::Log { 1 } else { 2 };
        put(block, 12, &self.file.to_le_bytes());
        put(block, 16, &self.nonce.to_le_bytes());
        put(block, 24, &self.sequence.to_le_bytes());
        put(block, 32, &self.directory_id.0);
        put(block, 48, &self.shard.to_le_bytes());
        let crc = placed(self.nonce, 0, &block[..60]);
        put(block, 60, &crc.to_le_bytes());
    }

    /// The version of a sound header, whatever else it says.
    pub(crate) fn version(block: &[u8]) -> Option<u16> {
        let sound = block.len() >= SEGMENT_HEADER_BYTES
            && block[..8] == SEGMENT_MAGIC
            && get_u32(block, 60) == placed(get_u64(block, 16), 0, &block[..60]);
        sound.then(|| get_u16(block, 8))
    }

    pub(crate) fn decode(block: &[u8]) -> Option<Self> {
        if Self::version(block) != Some(FORMAT_VERSION) {
            return None;
        }
        let nonce = get_u64(block, 16);
        let kind = match block[10] {
            1 => SegmentKind::Log,
            2 => SegmentKind::Rewritten,
            _ => return None,
        };
        Some(Self {
            kind,
            file: get_u32(block, 12),
            nonce,
            sequence: get_u64(block, 24),
            directory_id: DirectoryId(array(block, 32)),
            shard: get_u32(block, 48),
        })
    }
}

/// The head of a write (a group commit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriteHeader {
    pub nonce: u64,
    pub write_number: u64,
    pub start_lsn: u64,
    /// Everything below was durable when this write was issued: bad bytes below it are damage, never a torn tail.
    pub durable_lsn: u64,
    /// Of the whole write, a multiple of 4096.
    pub length: u32,
    pub frames: u32,
    /// Where the last frame ends, from the start of the write.
    pub frames_end: u32,
    pub directory_crc: u32,
    /// No write behind this one is longer, until a header says otherwise: how far recovery looks for one behind a bad one. 0: not known.
    pub next_bytes_max: u32,
}

impl WriteHeader {
    pub(crate) fn encode(&self, position: u64, bytes: &mut [u8]) {
        bytes[..WRITE_HEADER_BYTES].fill(0);
        put(bytes, 0, &WRITE_MAGIC.to_le_bytes());
        put(bytes, 4, &FORMAT_VERSION.to_le_bytes());
        put(bytes, 8, &self.nonce.to_le_bytes());
        put(bytes, 16, &self.write_number.to_le_bytes());
        put(bytes, 24, &self.start_lsn.to_le_bytes());
        put(bytes, 32, &self.durable_lsn.to_le_bytes());
        put(bytes, 40, &self.length.to_le_bytes());
        put(bytes, 44, &self.frames.to_le_bytes());
        put(bytes, 48, &self.frames_end.to_le_bytes());
        put(bytes, 52, &self.next_bytes_max.to_le_bytes());
        put(bytes, 56, &self.directory_crc.to_le_bytes());
        let crc = placed(self.nonce, position, &bytes[..60]);
        put(bytes, 60, &crc.to_le_bytes());
    }

    /// The header at `position` of a segment with this nonce, or `None`.
    pub(crate) fn decode(nonce: u64, position: u64, bytes: &[u8]) -> Option<Self> {
        if bytes.len() < WRITE_HEADER_BYTES
            || get_u32(bytes, 0) != WRITE_MAGIC
            || get_u64(bytes, 8) != nonce
            || get_u32(bytes, 60) != placed(nonce, position, &bytes[..60])
        {
            return None;
        }
        let header = Self {
            nonce,
            write_number: get_u64(bytes, 16),
            start_lsn: get_u64(bytes, 24),
            durable_lsn: get_u64(bytes, 32),
            length: get_u32(bytes, 40),
            frames: get_u32(bytes, 44),
            frames_end: get_u32(bytes, 48),
            directory_crc: get_u32(bytes, 56),
            next_bytes_max: get_u32(bytes, 52),
        };
        let directory = directory_bytes(header.frames as usize)?;
        let least = (header.frames_end as usize).checked_add(directory)?;
        let sound = header.length as usize >= least
            && (header.length as usize).is_multiple_of(BLOCK_BYTES)
            && header.length > 0
            && header.frames_end as usize >= WRITE_HEADER_BYTES;
        sound.then_some(header)
    }
}

/// Bytes of a directory of `frames`, trailer included.
pub(crate) fn directory_bytes(frames: usize) -> Option<usize> {
    frames
        .checked_mul(DIRECTORY_ENTRY_BYTES)?
        .checked_add(DIRECTORY_TRAILER_BYTES)
}

/// The CRC at the end of a directory, which the header of its write repeats.
pub(crate) fn directory_crc(bytes: &[u8]) -> u32 {
    get_u32(bytes, bytes.len() - 4)
}

/// A frame's second identity, in the directory of its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryEntry {
    pub meta: FrameMeta,
    /// From the start of the write.
    pub position: u32,
    pub payload_bytes: u32,
}

impl DirectoryEntry {
    pub(crate) fn is_control(&self) -> bool {
        self.meta.replica == CONTROL_REPLICA
    }

    pub(crate) fn encode(&self, bytes: &mut [u8]) {
        let meta = &self.meta;
        put(bytes, 0, &meta.replica.0.to_le_bytes());
        put(bytes, 8, &meta.base_offset.0.to_le_bytes());
        put(bytes, 16, &meta.max_timestamp.to_le_bytes());
        put(bytes, 24, &meta.producer_id.to_le_bytes());
        put(bytes, 32, &last_delta(meta).to_le_bytes());
        put(bytes, 36, &meta.leader_epoch.0.to_le_bytes());
        put(bytes, 40, &meta.base_sequence.to_le_bytes());
        put(bytes, 44, &self.position.to_le_bytes());
        put(bytes, 48, &self.payload_bytes.to_le_bytes());
        put(bytes, 52, &meta.producer_epoch.to_le_bytes());
        put(bytes, 54, &meta.flags.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        let base = get_i64(bytes, 8);
        Self {
            meta: FrameMeta {
                replica: ReplicaId(get_u64(bytes, 0)),
                base_offset: Offset(base),
                last_offset: Offset(base.saturating_add(i64::from(get_u32(bytes, 32)))),
                leader_epoch: LeaderEpoch(get_i32(bytes, 36)),
                max_timestamp: get_i64(bytes, 16),
                producer_id: get_i64(bytes, 24),
                producer_epoch: get_u16(bytes, 52) as i16,
                base_sequence: get_i32(bytes, 40),
                flags: get_u16(bytes, 54),
            },
            position: get_u32(bytes, 44),
            payload_bytes: get_u32(bytes, 48),
        }
    }
}

fn last_delta(meta: &FrameMeta) -> u32 {
    u32::try_from(meta.last_offset.0 - meta.base_offset.0)
        .expect("checked when the frame was appended")
}

/// Writes the directory at the very end of `write` (the whole, padded write) and answers its CRC, which the header repeats.
pub(crate) fn encode_directory(
    nonce: u64,
    write_position: u64,
    entries: &[DirectoryEntry],
    write: &mut [u8],
) -> u32 {
    let bytes = directory_bytes(entries.len()).expect("a write has few frames");
    let start = write.len() - bytes;
    for (index, entry) in entries.iter().enumerate() {
        entry.encode(&mut write[start + index * DIRECTORY_ENTRY_BYTES..][..DIRECTORY_ENTRY_BYTES]);
    }
    let trailer = write.len() - DIRECTORY_TRAILER_BYTES;
    put(write, trailer, &DIRECTORY_MAGIC.to_le_bytes());
    put(write, trailer + 4, &(entries.len() as u32).to_le_bytes());
    put(write, trailer + 8, &0_u32.to_le_bytes());
    let crc = placed(
        nonce,
        write_position + start as u64,
        &write[start..trailer + 12],
    );
    put(write, trailer + 12, &crc.to_le_bytes());
    crc
}

/// The directory that ends where `bytes` end, `end_position` of its file; `None` when it is not readable. `bytes` may begin anywhere before it.
pub(crate) fn decode_directory(
    nonce: u64,
    end_position: u64,
    bytes: &[u8],
) -> Option<Vec<DirectoryEntry>> {
    let trailer = bytes.len().checked_sub(DIRECTORY_TRAILER_BYTES)?;
    if get_u32(bytes, trailer) != DIRECTORY_MAGIC {
        return None;
    }
    let count = get_u32(bytes, trailer + 4) as usize;
    let start = bytes.len().checked_sub(directory_bytes(count)?)?;
    let position = end_position.checked_sub((bytes.len() - start) as u64)?;
    if get_u32(bytes, trailer + 12) != placed(nonce, position, &bytes[start..trailer + 12]) {
        return None;
    }
    Some(
        bytes[start..trailer]
            .chunks_exact(DIRECTORY_ENTRY_BYTES)
            .map(DirectoryEntry::decode)
            .collect(),
    )
}

/// A frame's head as read from disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub meta: FrameMeta,
    pub payload_bytes: u32,
    pub payload_crc: u32,
}

impl FrameHeader {
    /// Writes all but the header's own CRC, which needs the place: see `seal_frame`.
    pub(crate) fn encode(&self, bytes: &mut [u8]) {
        let meta = &self.meta;
        put(bytes, 0, &FRAME_MAGIC.to_le_bytes());
        bytes[2] = u8::from(meta.replica == CONTROL_REPLICA);
        bytes[3] = FORMAT_VERSION as u8;
        put(bytes, 4, &self.payload_bytes.to_le_bytes());
        put(bytes, 8, &meta.replica.0.to_le_bytes());
        put(bytes, 16, &meta.base_offset.0.to_le_bytes());
        put(bytes, 24, &last_delta(meta).to_le_bytes());
        put(bytes, 28, &meta.leader_epoch.0.to_le_bytes());
        put(bytes, 32, &meta.max_timestamp.to_le_bytes());
        put(bytes, 40, &meta.producer_id.to_le_bytes());
        put(bytes, 48, &meta.base_sequence.to_le_bytes());
        put(bytes, 52, &meta.producer_epoch.to_le_bytes());
        put(bytes, 54, &meta.flags.to_le_bytes());
        put(bytes, 56, &self.payload_crc.to_le_bytes());
    }

    /// The header at `position` of a segment with this nonce, or `None`.
    pub(crate) fn decode(nonce: u64, position: u64, bytes: &[u8]) -> Option<Self> {
        if bytes.len() < FRAME_HEADER_BYTES
            || get_u16(bytes, 0) != FRAME_MAGIC
            || get_u32(bytes, 60) != placed(nonce, position, &bytes[..60])
        {
            return None;
        }
        Some(Self {
            meta: Self::identity(bytes)?,
            payload_bytes: get_u32(bytes, 4),
            payload_crc: get_u32(bytes, 56),
        })
    }

    /// What a header says of its frame, checked before; `None` when there is not one.
    pub(crate) fn identity(bytes: &[u8]) -> Option<FrameMeta> {
        if bytes.len() < FRAME_HEADER_BYTES {
            return None;
        }
        let base = get_i64(bytes, 16);
        Some(FrameMeta {
            replica: ReplicaId(get_u64(bytes, 8)),
            base_offset: Offset(base),
            last_offset: Offset(base.saturating_add(i64::from(get_u32(bytes, 24)))),
            leader_epoch: LeaderEpoch(get_i32(bytes, 28)),
            max_timestamp: get_i64(bytes, 32),
            producer_id: get_i64(bytes, 40),
            producer_epoch: get_u16(bytes, 52) as i16,
            base_sequence: get_i32(bytes, 48),
            flags: get_u16(bytes, 54),
        })
    }
}

/// Sets the header CRC of the frame that starts at `bytes[0]`, now that its place is known.
pub(crate) fn seal_frame(nonce: u64, position: u64, bytes: &mut [u8]) {
    let crc = placed(nonce, position, &bytes[..60]);
    put(bytes, 60, &crc.to_le_bytes());
}

/// Sets the payload length and CRC of the frame that starts at `bytes[0]` (control frames grow until their write is issued).
pub(crate) fn set_frame_payload(bytes: &mut [u8], payload_bytes: u32) {
    put(bytes, 4, &payload_bytes.to_le_bytes());
    let crc = plain(&bytes[FRAME_HEADER_BYTES..][..payload_bytes as usize]);
    put(bytes, 56, &crc.to_le_bytes());
}

/// Whether the whole frame at `bytes[0]`, `position` of its file, is sound; its header if so.
pub(crate) fn verify_frame(nonce: u64, position: u64, bytes: &[u8]) -> Option<FrameHeader> {
    let header = FrameHeader::decode(nonce, position, bytes)?;
    let payload = bytes
        .get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES.checked_add(header.payload_bytes as usize)?)?;
    (plain(payload) == header.payload_crc).then_some(header)
}

/// Bytes a frame takes, padding to 8 included.
pub(crate) fn frame_bytes(payload_bytes: usize) -> usize {
    (FRAME_HEADER_BYTES + payload_bytes).next_multiple_of(FRAME_ALIGNMENT)
}

/// Which checkpoint holds. Two slots; the valid one with the larger counter counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    pub version: u16,
    pub counter: u64,
    pub base: u32,
    pub deltas: Vec<u32>,
    /// The log was closed and nothing follows the checkpoint.
    pub clean: bool,
}

impl Root {
    pub(crate) fn encode(&self, block: &mut [u8]) {
        assert!(self.deltas.len() <= ROOT_DELTAS_MAX);
        block[..ROOT_SLOT_BYTES].fill(0);
        put(block, 0, &ROOT_MAGIC);
        put(block, 8, &self.version.to_le_bytes());
        block[10] = u8::from(self.clean);
        put(block, 16, &self.counter.to_le_bytes());
        put(block, 24, &self.base.to_le_bytes());
        put(block, 28, &(self.deltas.len() as u32).to_le_bytes());
        for (index, delta) in self.deltas.iter().enumerate() {
            put(block, 32 + 4 * index, &delta.to_le_bytes());
        }
        let crc = plain(&block[..ROOT_SLOT_BYTES - 4]);
        put(block, ROOT_SLOT_BYTES - 4, &crc.to_le_bytes());
    }

    pub(crate) fn decode(block: &[u8]) -> Option<Self> {
        if block.len() < ROOT_SLOT_BYTES
            || block[..8] != ROOT_MAGIC
            || get_u32(block, ROOT_SLOT_BYTES - 4) != plain(&block[..ROOT_SLOT_BYTES - 4])
        {
            return None;
        }
        let count = get_u32(block, 28) as usize;
        if count > ROOT_DELTAS_MAX {
            return None;
        }
        Some(Self {
            version: get_u16(block, 8),
            counter: get_u64(block, 16),
            base: get_u32(block, 24),
            deltas: (0..count)
                .map(|index| get_u32(block, 32 + 4 * index))
                .collect(),
            clean: block[10] == 1,
        })
    }
}
