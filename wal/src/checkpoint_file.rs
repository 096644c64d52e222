//! Bytes of checkpoint files: a header block, then a stream of records cut into pages of 64 KiB, each with the file's nonce in its CRC.
//! A base holds every slot, a delta those that changed; both hold the whole segment table. Written and read in pieces: neither is ever in
//! memory as a whole. What they mean: `checkpoint.rs`, `recovery.rs`.

use crate::buffer::AlignedBuffer;
use crate::checksum::placed;
use crate::cold::ColdBase;
use crate::control::take;
use crate::extent_list::{Epochs, ExtentList};
use crate::footer::FenceKey;
use crate::index_file::IndexRecord;
use crate::io::{BLOCK_BYTES, Disk, FileName, IoFailure};
use crate::layers::{Entry, Move};
use crate::layout::{FORMAT_VERSION, get_i32, get_i64, get_u16, get_u32, get_u64};
use crate::segments::SegmentRecord;
use crate::segments::Share;
use crate::slot::{Extent, FLAG_UNSETTLED, NONE, Slot};
use crate::types::{CreateReplica, ReplicaId, TopicId};

const MAGIC: [u8; 8] = *b"ODRACKPT";
const PAGE_MAGIC: u32 = u32::from_le_bytes(*b"ODRP");
const PAGE_BYTES: usize = 64 << 10;
const PAGE_HEADER_BYTES: usize = 16;
const HEADER_BYTES: usize = 64;

const META: u8 = 1;
const SEGMENT: u8 = 2;
const SLOT: u8 = 3;
const GONE: u8 = 4;
const COLD: u8 = 5;
const DAMAGE: u8 = 6;
const END: u8 = 7;
const ENTRY: u8 = 8;
const SHARE: u8 = 9;
const INDEX: u8 = 10;
const FENCES: u8 = 11;

/// What holds for the log as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Offsets, epochs and the shard's pages are as of here: replay goes on from it.
    pub lsn: u64,
    /// Extents are as of here (the last issued write), at or below `lsn`.
    pub issued_lsn: u64,
    pub next_replica: u64,
    pub next_sequence: u64,
    pub write_number: u64,
    pub broker_epoch: i64,
    pub metadata_offset_max: i64,
    /// The active segment's use; log segments with a later one come after it.
    pub active_sequence: u64,
    pub wall_ms: i64,
    /// Bytes of the base's extents that are known to be dead.
    pub dead_bytes: u64,
}

/// One record.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Meta(Meta),
    Segment(SegmentRecord),
    Slot(ReplicaId, Box<Slot>, Epochs),
    /// What a delta has of a replica's older extents.
    Entry(ReplicaId, Box<Entry>),
    /// What a base's index file has of a segment.
    Share(u32, Share),
    Index(IndexRecord),
    /// First keys of a segment's footer pages: file, nonce, keys.
    Fences(u32, u64, Vec<FenceKey>),
    Gone(ReplicaId),
    Cold(ReplicaId, Vec<u8>),
    Damage(ReplicaId, i64, i64),
    End,
}

fn put_i64s(bytes: &mut Vec<u8>, values: &[i64]) {
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
}

/// Pages of one piece.
const PIECE_PAGES: usize = 16;
/// What is encoded and written in one step.
pub(crate) const PIECE_BYTES: usize = PIECE_PAGES * PAGE_BYTES;
const PAGE_CONTENT_BYTES: usize = PAGE_BYTES - PAGE_HEADER_BYTES;

/// Takes records in, gives pieces of the file out. The header block comes last: it says how many pages there are.
#[derive(Debug)]
pub(crate) struct CheckpointWriter {
    number: u32,
    base: bool,
    nonce: u64,
    lsn: u64,
    bytes: Vec<u8>,
    page: usize,
    /// Cold pages begin with this page; at 0 they do not follow in order.
    cold_first: usize,
}

impl CheckpointWriter {
    pub(crate) fn new(number: u32, base: bool, nonce: u64, lsn: u64) -> Self {
        Self {
            number,
            base,
            nonce,
            lsn,
            bytes: Vec::new(),
            page: 0,
            cold_first: 0,
        }
    }

    /// Whether there is enough for a piece.
    pub(crate) fn has_piece(&self) -> bool {
        self.bytes.len() >= PIECE_PAGES * PAGE_CONTENT_BYTES
    }

    pub(crate) fn meta(&mut self, meta: &Meta) {
        self.bytes.push(META);
        for value in [
            meta.lsn,
            meta.issued_lsn,
            meta.next_replica,
            meta.next_sequence,
            meta.write_number,
        ] {
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
        put_i64s(
            &mut self.bytes,
            &[meta.broker_epoch, meta.metadata_offset_max],
        );
        self.bytes
            .extend_from_slice(&meta.active_sequence.to_le_bytes());
        put_i64s(&mut self.bytes, &[meta.wall_ms]);
        self.bytes.extend_from_slice(&meta.dead_bytes.to_le_bytes());
    }

    pub(crate) fn segment(&mut self, record: &SegmentRecord) {
        self.bytes.push(SEGMENT);
        record.encode(&mut self.bytes);
    }

    pub(crate) fn slot(&mut self, replica: ReplicaId, slot: &Slot, epochs: Option<&Epochs>) {
        encode_slot(&mut self.bytes, replica, slot, epochs);
    }

    pub(crate) fn entry(&mut self, replica: ReplicaId, entry: &Entry) {
        encode_entry(&mut self.bytes, replica, entry);
    }

    pub(crate) fn share(&mut self, segment: u32, share: &Share) {
        self.bytes.push(SHARE);
        self.bytes.extend_from_slice(&segment.to_le_bytes());
        self.bytes.extend_from_slice(&share.extents.to_le_bytes());
        self.bytes.extend_from_slice(&share.bytes.to_le_bytes());
    }

    pub(crate) fn fences(&mut self, segment: u32, nonce: u64, fences: &[FenceKey]) {
        self.bytes.push(FENCES);
        self.bytes.extend_from_slice(&segment.to_le_bytes());
        self.bytes.extend_from_slice(&nonce.to_le_bytes());
        self.bytes
            .extend_from_slice(&(fences.len() as u32).to_le_bytes());
        for fence in fences {
            self.bytes.extend_from_slice(&fence.replica.0.to_le_bytes());
            put_i64s(&mut self.bytes, &[fence.base]);
        }
    }

    pub(crate) fn index(&mut self, index: &IndexRecord) {
        self.bytes.push(INDEX);
        self.bytes.extend_from_slice(&index.nonce.to_le_bytes());
        self.bytes.extend_from_slice(&index.pages.to_le_bytes());
        self.bytes.extend_from_slice(&index.extents.to_le_bytes());
        self.bytes
            .extend_from_slice(&index.next_replica.to_le_bytes());
    }

    /// Records that `encode_slot` made.
    pub(crate) fn records(&mut self, records: &mut Vec<u8>) {
        self.bytes.append(records);
    }

    pub(crate) fn gone(&mut self, replica: ReplicaId) {
        self.bytes.push(GONE);
        self.bytes.extend_from_slice(&replica.0.to_le_bytes());
    }

    pub(crate) fn cold(&mut self, replica: ReplicaId, page: &[u8]) {
        self.bytes.push(COLD);
        self.bytes.extend_from_slice(&replica.0.to_le_bytes());
        self.bytes
            .extend_from_slice(&(page.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(page);
    }

    /// Cold pages of a base follow: the next record begins a page. All pieces are taken.
    pub(crate) fn begin_cold(&mut self) {
        assert!(self.bytes.is_empty(), "pieces are taken first");
        self.cold_first = self.page;
    }

    /// Where cold pages lie in the file, once all pieces are taken.
    pub(crate) fn cold_base(&self, bytes: u64) -> ColdBase {
        ColdBase {
            number: self.number,
            nonce: self.nonce,
            first: self.cold_first as u32,
            pages: self.page as u32,
            bytes,
        }
    }

    pub(crate) fn damage(&mut self, replica: ReplicaId, first: i64, last: i64) {
        self.bytes.push(DAMAGE);
        self.bytes.extend_from_slice(&replica.0.to_le_bytes());
        put_i64s(&mut self.bytes, &[first, last]);
    }

    pub(crate) fn end(&mut self) {
        self.bytes.push(END);
    }

    /// The next pages, at most `PIECE_BYTES`, and where they belong. After `end`, until nothing is left.
    pub(crate) fn take_piece(&mut self) -> Option<(u64, AlignedBuffer)> {
        let content = self.bytes.len().min(PIECE_PAGES * PAGE_CONTENT_BYTES);
        if content == 0 {
            return None;
        }
        let pages = content.div_ceil(PAGE_CONTENT_BYTES);
        let total = content + pages * PAGE_HEADER_BYTES;
        let position = BLOCK_BYTES + self.page * PAGE_BYTES;
        let mut piece = AlignedBuffer::new(total.next_multiple_of(BLOCK_BYTES));
        piece[total..].fill(0);
        for (index, content) in self.bytes[..content].chunks(PAGE_CONTENT_BYTES).enumerate() {
            let at = index * PAGE_BYTES;
            let end = at + PAGE_HEADER_BYTES + content.len();
            let page = &mut piece[at..end];
            page[..4].copy_from_slice(&PAGE_MAGIC.to_le_bytes());
            page[4..8].copy_from_slice(&(self.page as u32).to_le_bytes());
            page[8..12].copy_from_slice(&(content.len() as u32).to_le_bytes());
            page[12..16].fill(0);
            page[PAGE_HEADER_BYTES..].copy_from_slice(content);
            let crc = placed(self.nonce, (position + at) as u64, page);
            page[12..16].copy_from_slice(&crc.to_le_bytes());
            self.page += 1;
        }
        self.bytes.drain(..content);
        Some((position as u64, piece))
    }

    /// The block at the start of the file, once all pieces are taken.
    pub(crate) fn header(&self) -> AlignedBuffer {
        let mut block = AlignedBuffer::new(BLOCK_BYTES);
        block.fill(0);
        block[..8].copy_from_slice(&MAGIC);
        block[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        block[10] = u8::from(self.base);
        block[12..16].copy_from_slice(&self.number.to_le_bytes());
        block[16..24].copy_from_slice(&self.nonce.to_le_bytes());
        block[24..32].copy_from_slice(&self.lsn.to_le_bytes());
        block[32..36].copy_from_slice(&(self.page as u32).to_le_bytes());
        block[36..40].copy_from_slice(&(self.cold_first as u32).to_le_bytes());
        let crc = placed(self.nonce, 0, &block[..HEADER_BYTES - 4]);
        block[60..64].copy_from_slice(&crc.to_le_bytes());
        block
    }
}

/// The record of one replica, as it is now.
pub(crate) fn encode_slot(
    bytes: &mut Vec<u8>,
    replica: ReplicaId,
    slot: &Slot,
    epochs: Option<&Epochs>,
) {
    bytes.push(SLOT);
    bytes.extend_from_slice(&replica.0.to_le_bytes());
    bytes.extend_from_slice(&slot.topic_id.0);
    bytes.extend_from_slice(&slot.partition.to_le_bytes());
    bytes.extend_from_slice(&slot.last_epoch.to_le_bytes());
    put_i64s(
        bytes,
        &[
            slot.log_start,
            slot.log_end,
            slot.high_watermark,
            slot.last_stable,
            slot.metadata_offset,
            slot.epoch_start,
        ],
    );
    bytes.extend_from_slice(&slot.bytes.to_le_bytes());
    let newest = slot.newest();
    bytes.push(u8::from(newest.is_some()) | u8::from(slot.is_unsettled()) << 1);
    if let Some(extent) = newest {
        encode_extent(bytes, &extent);
    }
    bytes.extend_from_slice(&(epochs.map_or(0, |epochs| epochs.len()) as u32).to_le_bytes());
    for (epoch, start) in epochs.into_iter().flat_map(|epochs| epochs.iter()) {
        bytes.extend_from_slice(&epoch.to_le_bytes());
        bytes.extend_from_slice(&start.to_le_bytes());
    }
}

fn encode_extent(bytes: &mut Vec<u8>, extent: &Extent) {
    put_i64s(bytes, &[extent.base, extent.end, extent.max_timestamp]);
    bytes.extend_from_slice(&extent.segment.to_le_bytes());
    bytes.extend_from_slice(&extent.bytes.to_le_bytes());
}

/// What the uppermost layer has of a replica, as it is now.
pub(crate) fn encode_entry(bytes: &mut Vec<u8>, replica: ReplicaId, entry: &Entry) {
    bytes.push(ENTRY);
    bytes.extend_from_slice(&replica.0.to_le_bytes());
    bytes.push(u8::from(entry.gone));
    put_i64s(bytes, &[entry.start, entry.clip]);
    bytes.extend_from_slice(&(entry.moves.len() as u32).to_le_bytes());
    for moved in &entry.moves {
        put_i64s(bytes, &[moved.base, moved.end]);
        for value in [moved.old, moved.new, moved.bytes, moved.held] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
    }
    entry.extents.encode(bytes);
}

/// What is wrong with a checkpoint file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Some byte of it is damaged, or it is another file.
    Damaged,
    /// It has this version.
    Newer(u16),
    /// The disk failed.
    Io(IoFailure),
}

/// What of a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// All but the cold pages of a base.
    BeforeCold,
    /// Only these.
    Cold,
}

/// Reads a file's records one after another, and answers where its cold pages lie. On an error some may have been given already.
pub(crate) fn read_checkpoint(
    disk: &mut dyn Disk,
    file: FileName,
    part: Part,
    mut take: impl FnMut(Record),
) -> Result<ColdBase, Unreadable> {
    let (number, base) = match file {
        FileName::CheckpointBase(number) => (number, true),
        FileName::CheckpointDelta(number) => (number, false),
        _ => return Err(Unreadable::Damaged),
    };
    let length = disk.length(file).map_err(Unreadable::Io)?;
    let length = length.unwrap_or(0) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    if length < BLOCK_BYTES as u64 {
        return Err(Unreadable::Damaged);
    }
    let mut block = AlignedBuffer::new(BLOCK_BYTES);
    disk.read_at(file, 0, &mut block).map_err(Unreadable::Io)?;
    let (nonce, pages, cold_first) = read_header(&block, number, base)?;
    let cold = ColdBase {
        number,
        nonce,
        first: if cold_first == 0 { pages } else { cold_first } as u32,
        pages: pages as u32,
        bytes: length,
    };
    let range = match part {
        Part::Cold => cold_first..pages,
        Part::BeforeCold if cold_first > 0 => 0..cold_first,
        Part::Whole | Part::BeforeCold => 0..pages,
    };
    let end = range.end;
    let mut stream = Vec::new();
    let mut buffer = AlignedBuffer::new(PIECE_BYTES);
    for first in range.step_by(PIECE_PAGES) {
        let position = (BLOCK_BYTES + first * PAGE_BYTES) as u64;
        let left = usize::try_from(length.saturating_sub(position)).unwrap_or(usize::MAX);
        let piece = &mut buffer[..left.min(PIECE_BYTES)];
        if piece.is_empty() {
            return Err(Unreadable::Damaged);
        }
        disk.read_at(file, position, piece)
            .map_err(Unreadable::Io)?;
        for page in first..end.min(first + PIECE_PAGES) {
            let content = read_page(piece, (page - first) * PAGE_BYTES, nonce, position, page)
                .ok_or(Unreadable::Damaged)?;
            stream.extend_from_slice(content);
        }
        // A record may go on in the next piece: what does not decode yet is kept.
        let mut rest = &stream[..];
        loop {
            let mut tried = rest;
            match read_record(&mut tried) {
                Some(Record::End) => return Ok(cold),
                Some(record) => take(record),
                None => break,
            }
            rest = tried;
        }
        let used = stream.len() - rest.len();
        stream.drain(..used);
    }
    if part == Part::BeforeCold && stream.is_empty() {
        return Ok(cold);
    }
    Err(Unreadable::Damaged)
}

/// Nonce, pages, and where cold pages begin.
fn read_header(block: &[u8], number: u32, base: bool) -> Result<(u64, usize, usize), Unreadable> {
    let nonce = get_u64(block, 16);
    if block[..8] != MAGIC || get_u32(block, 60) != placed(nonce, 0, &block[..HEADER_BYTES - 4]) {
        return Err(Unreadable::Damaged);
    }
    let version = get_u16(block, 8);
    if version > FORMAT_VERSION {
        return Err(Unreadable::Newer(version));
    }
    if get_u32(block, 12) != number || (block[10] == 1) != base {
        return Err(Unreadable::Damaged);
    }
    let (pages, cold_first) = (get_u32(block, 32) as usize, get_u32(block, 36) as usize);
    if cold_first > pages {
        return Err(Unreadable::Damaged);
    }
    Ok((nonce, pages, cold_first))
}

/// The content of the page at `at` of a piece that lies at `position`.
fn read_page(piece: &[u8], at: usize, nonce: u64, position: u64, page: usize) -> Option<&[u8]> {
    let header = piece.get(at..at.checked_add(PAGE_HEADER_BYTES)?)?;
    let used = get_u32(header, 8) as usize;
    if get_u32(header, 0) != PAGE_MAGIC
        || get_u32(header, 4) as usize != page
        || used > PAGE_CONTENT_BYTES
    {
        return None;
    }
    let content = piece.get(at + PAGE_HEADER_BYTES..at + PAGE_HEADER_BYTES + used)?;
    let mut head = [0; PAGE_HEADER_BYTES];
    head[..12].copy_from_slice(&header[..12]);
    let crc = crc32c::crc32c_append(placed(nonce, position + at as u64, &head), content);
    (crc == get_u32(header, 12)).then_some(content)
}

/// The content of the page at place `at` of a piece that lies at `position`, which is page `number` of its file; `None` when it is damaged.
pub(crate) fn page_content(
    piece: &[u8],
    at: usize,
    nonce: u64,
    position: u64,
    number: u32,
) -> Option<&[u8]> {
    read_page(piece, at * PAGE_BYTES, nonce, position, number as usize)
}

pub(crate) fn read_record(rest: &mut &[u8]) -> Option<Record> {
    let tag = take(rest, 1)?[0];
    Some(match tag {
        META => {
            let bytes = take(rest, 80)?;
            Record::Meta(Meta {
                lsn: get_u64(bytes, 0),
                issued_lsn: get_u64(bytes, 8),
                next_replica: get_u64(bytes, 16),
                next_sequence: get_u64(bytes, 24),
                write_number: get_u64(bytes, 32),
                broker_epoch: get_i64(bytes, 40),
                metadata_offset_max: get_i64(bytes, 48),
                active_sequence: get_u64(bytes, 56),
                wall_ms: get_i64(bytes, 64),
                dead_bytes: get_u64(bytes, 72),
            })
        }
        SEGMENT => Record::Segment(SegmentRecord::decode(take(rest, SegmentRecord::BYTES)?)?),
        SLOT => read_slot(rest)?,
        ENTRY => read_entry(rest)?,
        SHARE => {
            let bytes = take(rest, 16)?;
            let share = Share {
                extents: get_u32(bytes, 4),
                bytes: get_u64(bytes, 8),
            };
            Record::Share(get_u32(bytes, 0), share)
        }
        FENCES => {
            let head = take(rest, 16)?;
            let bytes = take(rest, (get_u32(head, 12) as usize).checked_mul(16)?)?;
            let fences = bytes.chunks_exact(16).map(|bytes| FenceKey {
                replica: ReplicaId(get_u64(bytes, 0)),
                base: get_i64(bytes, 8),
            });
            Record::Fences(get_u32(head, 0), get_u64(head, 4), fences.collect())
        }
        INDEX => {
            let bytes = take(rest, 28)?;
            Record::Index(IndexRecord {
                nonce: get_u64(bytes, 0),
                pages: get_u32(bytes, 8),
                extents: get_u64(bytes, 12),
                next_replica: get_u64(bytes, 20),
            })
        }
        GONE => Record::Gone(ReplicaId(get_u64(take(rest, 8)?, 0))),
        COLD => {
            let head = take(rest, 12)?;
            let page = take(rest, get_u32(head, 8) as usize)?;
            Record::Cold(ReplicaId(get_u64(head, 0)), page.to_vec())
        }
        DAMAGE => {
            let bytes = take(rest, 24)?;
            Record::Damage(
                ReplicaId(get_u64(bytes, 0)),
                get_i64(bytes, 8),
                get_i64(bytes, 16),
            )
        }
        END => Record::End,
        _ => return None,
    })
}

fn read_slot(rest: &mut &[u8]) -> Option<Record> {
    let head = take(rest, 89)?;
    let mut topic_id = [0; 16];
    topic_id.copy_from_slice(&head[8..24]);
    let create = CreateReplica {
        topic_id: TopicId(topic_id),
        partition: get_i32(head, 24),
        metadata_offset: get_i64(head, 64),
    };
    let mut slot = Slot::new(&create);
    slot.last_epoch = get_i32(head, 28);
    slot.log_start = get_i64(head, 32);
    slot.log_end = get_i64(head, 40);
    slot.durable_end = slot.log_end;
    slot.high_watermark = get_i64(head, 48);
    slot.last_stable = get_i64(head, 56);
    slot.epoch_start = get_i64(head, 72);
    slot.bytes = get_u64(head, 80);
    if head[88] & 2 != 0 {
        slot.flags |= FLAG_UNSETTLED;
    }
    if head[88] & 1 != 0 {
        slot.set_newest(Some(read_extent(take(rest, EXTENT_BYTES)?)));
    }
    let mut epochs = Epochs::default();
    for _ in 0..get_u32(take(rest, 4)?, 0) {
        let bytes = take(rest, 12)?;
        epochs.push_back((get_i32(bytes, 0), get_i64(bytes, 4)));
    }
    slot.lists = NONE;
    slot.settle();
    Some(Record::Slot(
        ReplicaId(get_u64(head, 0)),
        Box::new(slot),
        epochs,
    ))
}

const EXTENT_BYTES: usize = 32;

fn read_extent(bytes: &[u8]) -> Extent {
    Extent {
        base: get_i64(bytes, 0),
        end: get_i64(bytes, 8),
        max_timestamp: get_i64(bytes, 16),
        segment: get_u32(bytes, 24),
        bytes: get_u32(bytes, 28),
    }
}

fn read_entry(rest: &mut &[u8]) -> Option<Record> {
    let head = take(rest, 29)?;
    let mut entry = Entry {
        gone: head[8] != 0,
        start: get_i64(head, 9),
        clip: get_i64(head, 17),
        ..Entry::default()
    };
    let moves = get_u32(head, 25) as usize;
    let bytes = take(rest, moves.checked_mul(Move::BYTES)?)?;
    entry.moves = bytes
        .chunks_exact(Move::BYTES)
        .map(|bytes| Move {
            base: get_i64(bytes, 0),
            end: get_i64(bytes, 8),
            old: get_u32(bytes, 16),
            new: get_u32(bytes, 20),
            bytes: get_u32(bytes, 24),
            held: get_u32(bytes, 28),
        })
        .collect();
    entry.extents = ExtentList::decode(rest)?;
    Some(Record::Entry(ReplicaId(get_u64(head, 0)), Box::new(entry)))
}
