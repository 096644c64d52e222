//! The footer of a sealed segment: index pages of 4096 bytes sorted by (replica, base offset), delta-coded, then fence pages with the
//! first key of each. Every page carries the nonce and a CRC of its place.

use crate::checksum::placed;
use crate::io::BLOCK_BYTES;
use crate::layout::{FRAME_HEADER_BYTES, get_i64, get_u16, get_u32, get_u64};
use crate::types::ReplicaId;

const INDEX_MAGIC: u32 = u32::from_le_bytes(*b"ODRI");
const FENCE_MAGIC: u32 = u32::from_le_bytes(*b"ODRF");
const PAGE_HEADER_BYTES: usize = 32;
const FENCE_BYTES: usize = 16;
/// Fence keys a page holds.
pub(crate) const FENCES_PER_PAGE: usize = (BLOCK_BYTES - PAGE_HEADER_BYTES) / FENCE_BYTES;
/// No entry is longer: four varints of up to 10 bytes and three of up to 5.
pub(crate) const ENTRY_BYTES_MAX: usize = 55;
const ENTRIES_PER_PAGE_MIN: usize = (BLOCK_BYTES - PAGE_HEADER_BYTES) / ENTRY_BYTES_MAX;

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub base: i64,
    pub last: i64,
    pub max_timestamp: i64,
    /// From the start of the segment.
    pub position: u32,
    pub payload_bytes: u32,
    pub epoch: i32,
}

impl IndexEntry {
    /// Bytes of the frame without padding.
    pub(crate) fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload_bytes as usize
    }
}

/// First key of an index page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FenceKey {
    pub replica: ReplicaId,
    pub base: i64,
}

/// Bytes that a footer of so many entries takes at most.
pub(crate) fn footer_bytes_max(entries: usize) -> usize {
    let pages = entries.div_ceil(ENTRIES_PER_PAGE_MIN);
    (pages + pages.div_ceil(FENCES_PER_PAGE)) * BLOCK_BYTES
}

pub(crate) fn put_varint(bytes: &mut [u8], at: &mut usize, mut value: u64) {
    while value >= 0x80 {
        bytes[*at] = value as u8 | 0x80;
        *at += 1;
        value >>= 7;
    }
    bytes[*at] = value as u8;
    *at += 1;
}

pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub(crate) fn take_varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Writes a footer page by page into memory; entries come in order of (replica, base offset).
#[derive(Debug)]
pub(crate) struct FooterWriter {
    nonce: u64,
    pages: Vec<u8>,
    /// Entries and used bytes of the pages that are full.
    closed: Vec<(u16, usize)>,
    /// Pages that were taken already.
    taken: usize,
    used: usize,
    count: u16,
    previous: (u64, IndexEntry),
    fences: Vec<FenceKey>,
}

const FIRST: IndexEntry = IndexEntry {
    base: 0,
    last: -1,
    max_timestamp: 0,
    position: 0,
    payload_bytes: 0,
    epoch: 0,
};

impl FooterWriter {
    /// A footer of the segment with this nonce.
    pub(crate) fn new(nonce: u64) -> Self {
        Self {
            nonce,
            pages: Vec::new(),
            closed: Vec::new(),
            taken: 0,
            used: 0,
            count: 0,
            previous: (0, FIRST),
            fences: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, replica: ReplicaId, entry: &IndexEntry) {
        if self.count == 0 || self.used + ENTRY_BYTES_MAX > BLOCK_BYTES {
            self.close_page();
            let start = self.pages.len();
            self.pages.resize(start + BLOCK_BYTES, 0);
            self.used = PAGE_HEADER_BYTES;
            self.previous = (0, FIRST);
            self.fences.push(FenceKey {
                replica,
                base: entry.base,
            });
        }
        let page_start = self.pages.len() - BLOCK_BYTES;
        let page = &mut self.pages[page_start..];
        let (previous_replica, previous) = self.previous;
        let replica_delta = replica.0 - previous_replica;
        let reference = if replica_delta == 0 {
            previous.last.wrapping_add(1)
        } else {
            0
        };
        let at = &mut self.used;
        put_varint(page, at, replica_delta);
        put_varint(page, at, zigzag(entry.base.wrapping_sub(reference)));
        put_varint(page, at, entry.last.wrapping_sub(entry.base) as u64);
        put_varint(
            page,
            at,
            zigzag(i64::from(entry.position) - i64::from(previous.position)),
        );
        put_varint(page, at, u64::from(entry.payload_bytes));
        put_varint(
            page,
            at,
            zigzag(entry.max_timestamp.wrapping_sub(previous.max_timestamp)),
        );
        put_varint(
            page,
            at,
            zigzag(i64::from(entry.epoch) - i64::from(previous.epoch)),
        );
        self.previous = (replica.0, *entry);
        self.count += 1;
    }

    fn close_page(&mut self) {
        if self.count > 0 {
            self.closed.push((self.count, self.used));
            self.count = 0;
        }
    }

    /// Pages that are full by now.
    pub(crate) fn full_pages(&self) -> usize {
        self.closed.len()
    }

    /// Takes the full pages out; `position`: of page 0.
    pub(crate) fn take_full(&mut self, position: u64) -> Vec<u8> {
        let bytes = self.closed.len() * BLOCK_BYTES;
        for (at, (count, used)) in std::mem::take(&mut self.closed).into_iter().enumerate() {
            let number = self.taken + at;
            let start = at * BLOCK_BYTES;
            seal_page(
                &mut self.pages[start..start + BLOCK_BYTES],
                INDEX_MAGIC,
                self.nonce,
                position + (number * BLOCK_BYTES) as u64,
                number as u32,
                count,
                used,
            );
        }
        self.taken += bytes / BLOCK_BYTES;
        let rest = self.pages.split_off(bytes);
        std::mem::replace(&mut self.pages, rest)
    }

    /// The whole footer for its place in the segment (of one that was taken out in part, the rest), and how many index pages begin it.
    pub(crate) fn finish(mut self, position: u64) -> (Vec<u8>, u32, Vec<FenceKey>) {
        self.close_page();
        let taken_before = self.taken;
        self.pages = self.take_full(position);
        let index_pages = self.taken as u32;
        for (number, fences) in self.fences.chunks(FENCES_PER_PAGE).enumerate() {
            let start = self.pages.len();
            self.pages.resize(start + BLOCK_BYTES, 0);
            for (index, fence) in fences.iter().enumerate() {
                let at = start + PAGE_HEADER_BYTES + index * FENCE_BYTES;
                self.pages[at..at + 8].copy_from_slice(&fence.replica.0.to_le_bytes());
                self.pages[at + 8..at + 16].copy_from_slice(&fence.base.to_le_bytes());
            }
            let used = PAGE_HEADER_BYTES + fences.len() * FENCE_BYTES;
            let position = position + (taken_before * BLOCK_BYTES + start) as u64;
            seal_page(
                &mut self.pages[start..],
                FENCE_MAGIC,
                self.nonce,
                position,
                number as u32,
                fences.len() as u16,
                used,
            );
        }
        (self.pages, index_pages, self.fences)
    }
}

fn seal_page(
    page: &mut [u8],
    magic: u32,
    nonce: u64,
    position: u64,
    number: u32,
    count: u16,
    used: usize,
) {
    page[..4].copy_from_slice(&magic.to_le_bytes());
    page[4..6].copy_from_slice(&count.to_le_bytes());
    page[6..8].copy_from_slice(&(used as u16).to_le_bytes());
    page[8..16].copy_from_slice(&nonce.to_le_bytes());
    page[16..20].copy_from_slice(&number.to_le_bytes());
    let crc = placed(nonce, position, &page[..BLOCK_BYTES]);
    page[20..24].copy_from_slice(&crc.to_le_bytes());
}

/// Count and used bytes of a sound page of this kind, or `None`.
fn check_page(
    page: &[u8],
    magic: u32,
    nonce: u64,
    position: u64,
    number: u32,
) -> Option<(usize, usize)> {
    if page.len() != BLOCK_BYTES
        || get_u32(page, 0) != magic
        || get_u64(page, 8) != nonce
        || get_u32(page, 16) != number
    {
        return None;
    }
    let mut copy = [0; BLOCK_BYTES];
    copy.copy_from_slice(page);
    copy[20..24].fill(0);
    if placed(nonce, position, &copy) != get_u32(page, 20) {
        return None;
    }
    let used = usize::from(get_u16(page, 6));
    (used <= BLOCK_BYTES).then_some((usize::from(get_u16(page, 4)), used))
}

/// Entries of one index page, sorted by (replica, base offset).
pub(crate) type IndexPage = Vec<(ReplicaId, IndexEntry)>;

/// Reads one index page; `None` when it is damaged.
pub(crate) fn decode_index_page(
    page: &[u8],
    nonce: u64,
    position: u64,
    number: u32,
) -> Option<IndexPage> {
    let (count, used) = check_page(page, INDEX_MAGIC, nonce, position, number)?;
    let page = &page[..used];
    let mut at = PAGE_HEADER_BYTES;
    let mut previous = (0_u64, FIRST);
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let replica_delta = take_varint(page, &mut at)?;
        let reference = if replica_delta == 0 {
            previous.1.last.wrapping_add(1)
        } else {
            0
        };
        let base = reference.wrapping_add(unzigzag(take_varint(page, &mut at)?));
        let last = base.wrapping_add(take_varint(page, &mut at)? as i64);
        let position =
            i64::from(previous.1.position).wrapping_add(unzigzag(take_varint(page, &mut at)?));
        let payload_bytes = u32::try_from(take_varint(page, &mut at)?).ok()?;
        let max_timestamp = previous
            .1
            .max_timestamp
            .wrapping_add(unzigzag(take_varint(page, &mut at)?));
        let epoch = i64::from(previous.1.epoch).wrapping_add(unzigzag(take_varint(page, &mut at)?));
        let entry = IndexEntry {
            base,
            last,
            max_timestamp,
            position: u32::try_from(position).ok()?,
            payload_bytes,
            epoch: i32::try_from(epoch).ok()?,
        };
        previous = (previous.0.checked_add(replica_delta)?, entry);
        entries.push((ReplicaId(previous.0), entry));
    }
    Some(entries)
}

/// Reads all fence pages; `None` when one is damaged.
pub(crate) fn decode_fences(pages: &[u8], nonce: u64, position: u64) -> Option<Vec<FenceKey>> {
    let mut fences = Vec::new();
    for (number, page) in pages.chunks(BLOCK_BYTES).enumerate() {
        let at = position + (number * BLOCK_BYTES) as u64;
        let (count, _) = check_page(page, FENCE_MAGIC, nonce, at, number as u32)?;
        for index in 0..count.min(FENCES_PER_PAGE) {
            let at = PAGE_HEADER_BYTES + index * FENCE_BYTES;
            fences.push(FenceKey {
                replica: ReplicaId(get_u64(page, at)),
                base: get_i64(page, at + 8),
            });
        }
    }
    Some(fences)
}

/// The page that may hold the frame of `replica` at or before `offset`, else the one where its later frames begin.
pub(crate) fn page_for(fences: &[FenceKey], replica: ReplicaId, offset: i64) -> usize {
    fences
        .partition_point(|fence| {
            *fence
                <= FenceKey {
                    replica,
                    base: offset,
                }
        })
        .saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_read_back_and_fences_find_them() {
        let mut writer = FooterWriter::new(7);
        let mut all = Vec::new();
        for replica in [0_u64, 3, 4, 1 << 40] {
            for index in 0..200_i64 {
                let entry = IndexEntry {
                    base: index * 10,
                    last: index * 10 + 8,
                    max_timestamp: if index % 7 == 0 {
                        -1
                    } else {
                        1_700_000_000_000 - index
                    },
                    position: (index as u32) * 4_000 + 64,
                    payload_bytes: 100 + index as u32,
                    epoch: (index / 50) as i32,
                };
                writer.push(ReplicaId(replica), &entry);
                all.push((ReplicaId(replica), entry));
            }
        }
        let (bytes, index_pages, fences) = writer.finish(8192);
        assert!(bytes.len() <= footer_bytes_max(all.len()));
        let mut read = Vec::new();
        for page in 0..index_pages {
            let at = page as usize * BLOCK_BYTES;
            read.extend(
                decode_index_page(&bytes[at..at + BLOCK_BYTES], 7, 8192 + at as u64, page).unwrap(),
            );
            assert!(
                decode_index_page(&bytes[at..at + BLOCK_BYTES], 8, 8192 + at as u64, page)
                    .is_none()
            );
            assert!(decode_index_page(&bytes[at..at + BLOCK_BYTES], 7, at as u64, page).is_none());
        }
        assert_eq!(read, all);
        let at = index_pages as usize * BLOCK_BYTES;
        assert_eq!(
            decode_fences(&bytes[at..], 7, 8192 + at as u64).unwrap(),
            fences
        );
        for (replica, entry) in &all {
            let page = page_for(&fences, *replica, entry.base);
            let at = page * BLOCK_BYTES;
            let entries = decode_index_page(
                &bytes[at..at + BLOCK_BYTES],
                7,
                8192 + at as u64,
                page as u32,
            )
            .unwrap();
            assert!(entries.contains(&(*replica, *entry)));
        }
    }
}
