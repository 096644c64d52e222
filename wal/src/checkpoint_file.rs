//! Bytes of checkpoint files: a header block, then a stream of records cut into pages of 64 KiB, each with the file's nonce in its CRC.
//! A base holds every slot, a delta those that changed; both hold the whole segment table. What they mean: `checkpoint.rs`, `load.rs`.

use crate::buffer::AlignedBuffer;
use crate::checksum::placed;
use crate::control::take;
use crate::io::BLOCK_BYTES;
use crate::layout::{FORMAT_VERSION, get_i32, get_i64, get_u16, get_u32, get_u64};
use crate::segments::SegmentRecord;
use crate::slot::{Extent, Lists, NONE, Slot};
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
}

/// One record.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Meta(Meta),
    Segment(SegmentRecord),
    Slot(ReplicaId, Box<Slot>, Lists),
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

/// Gathers records, then makes the file.
#[derive(Debug, Default)]
pub(crate) struct CheckpointWriter {
    bytes: Vec<u8>,
}

impl CheckpointWriter {
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
    }

    pub(crate) fn segment(&mut self, record: &SegmentRecord) {
        self.bytes.push(SEGMENT);
        record.encode(&mut self.bytes);
    }

    pub(crate) fn slot(&mut self, replica: ReplicaId, slot: &Slot, lists: Option<&Lists>) {
        let bytes = &mut self.bytes;
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
        let extents = slot.newest().map_or(0, |_| 1) + lists.map_or(0, |lists| lists.extents.len());
        bytes.extend_from_slice(&(extents as u32).to_le_bytes());
        for extent in lists
            .into_iter()
            .flat_map(|lists| lists.extents.iter().copied())
            .chain(slot.newest())
        {
            put_i64s(bytes, &[extent.base, extent.end, extent.max_timestamp]);
            bytes.extend_from_slice(&extent.segment.to_le_bytes());
            bytes.extend_from_slice(&extent.bytes.to_le_bytes());
        }
        bytes
            .extend_from_slice(&(lists.map_or(0, |lists| lists.epochs.len()) as u32).to_le_bytes());
        for (epoch, start) in lists.into_iter().flat_map(|lists| lists.epochs.iter()) {
            bytes.extend_from_slice(&epoch.to_le_bytes());
            bytes.extend_from_slice(&start.to_le_bytes());
        }
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

    pub(crate) fn damage(&mut self, replica: ReplicaId, first: i64, last: i64) {
        self.bytes.push(DAMAGE);
        self.bytes.extend_from_slice(&replica.0.to_le_bytes());
        put_i64s(&mut self.bytes, &[first, last]);
    }

    /// The whole file, a multiple of 4096 bytes.
    pub(crate) fn finish(mut self, number: u32, base: bool, nonce: u64, lsn: u64) -> AlignedBuffer {
        self.bytes.push(END);
        let per_page = PAGE_BYTES - PAGE_HEADER_BYTES;
        let pages = self.bytes.len().div_ceil(per_page);
        let total = BLOCK_BYTES + self.bytes.len() + pages * PAGE_HEADER_BYTES;
        let mut file = AlignedBuffer::new(total);
        file.fill(0);
        file[..8].copy_from_slice(&MAGIC);
        file[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        file[10] = u8::from(base);
        file[12..16].copy_from_slice(&number.to_le_bytes());
        file[16..24].copy_from_slice(&nonce.to_le_bytes());
        file[24..32].copy_from_slice(&lsn.to_le_bytes());
        file[32..36].copy_from_slice(&(pages as u32).to_le_bytes());
        let crc = placed(nonce, 0, &file[..60]);
        file[60..64].copy_from_slice(&crc.to_le_bytes());
        for (page, content) in self.bytes.chunks(per_page).enumerate() {
            let at = BLOCK_BYTES + page * PAGE_BYTES;
            let end = at + PAGE_HEADER_BYTES + content.len();
            file[at..at + 4].copy_from_slice(&PAGE_MAGIC.to_le_bytes());
            file[at + 4..at + 8].copy_from_slice(&(page as u32).to_le_bytes());
            file[at + 8..at + 12].copy_from_slice(&(content.len() as u32).to_le_bytes());
            file[at + PAGE_HEADER_BYTES..end].copy_from_slice(content);
            let crc = placed(nonce, at as u64, &file[at..end]);
            file[at + 12..at + 16].copy_from_slice(&crc.to_le_bytes());
        }
        file
    }
}

/// Reads a whole file's records; `None` when any byte of it is damaged. `Err` with the version when it is newer.
pub(crate) fn read_checkpoint(
    file: &[u8],
    number: u32,
    base: bool,
) -> Result<Option<Vec<Record>>, u16> {
    if file.len() < BLOCK_BYTES || file[..8] != MAGIC {
        return Ok(None);
    }
    let version = get_u16(file, 8);
    let nonce = get_u64(file, 16);
    if get_u32(file, 60) != placed(nonce, 0, &file[..HEADER_BYTES - 4]) {
        return Ok(None);
    }
    if version > FORMAT_VERSION {
        return Err(version);
    }
    if get_u32(file, 12) != number || (file[10] == 1) != base {
        return Ok(None);
    }
    let Some(stream) = read_pages(file, nonce, get_u32(file, 32) as usize) else {
        return Ok(None);
    };
    let mut rest = &stream[..];
    let mut records = Vec::new();
    loop {
        match read_record(&mut rest) {
            Some(Record::End) => return Ok(Some(records)),
            Some(record) => records.push(record),
            None => return Ok(None),
        }
    }
}

fn read_pages(file: &[u8], nonce: u64, pages: usize) -> Option<Vec<u8>> {
    let mut stream = Vec::new();
    for page in 0..pages {
        let at = BLOCK_BYTES.checked_add(page.checked_mul(PAGE_BYTES)?)?;
        let header = file.get(at..at.checked_add(PAGE_HEADER_BYTES)?)?;
        let used = get_u32(header, 8) as usize;
        if get_u32(header, 0) != PAGE_MAGIC
            || get_u32(header, 4) as usize != page
            || used > PAGE_BYTES - PAGE_HEADER_BYTES
        {
            return None;
        }
        let content = file.get(at + PAGE_HEADER_BYTES..at + PAGE_HEADER_BYTES + used)?;
        let crc = {
            let mut head = [0; PAGE_HEADER_BYTES];
            head[..12].copy_from_slice(&header[..12]);
            crc32c::crc32c_append(placed(nonce, at as u64, &head), content)
        };
        if crc != get_u32(header, 12) {
            return None;
        }
        stream.extend_from_slice(content);
    }
    Some(stream)
}

fn read_record(rest: &mut &[u8]) -> Option<Record> {
    let tag = take(rest, 1)?[0];
    Some(match tag {
        META => {
            let bytes = take(rest, 72)?;
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
            })
        }
        SEGMENT => Record::Segment(SegmentRecord::decode(take(rest, SegmentRecord::BYTES)?)?),
        SLOT => read_slot(rest)?,
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
    let head = take(rest, 80)?;
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
    let mut lists = Lists::default();
    for _ in 0..get_u32(take(rest, 4)?, 0) {
        let bytes = take(rest, 32)?;
        let extent = Extent {
            base: get_i64(bytes, 0),
            end: get_i64(bytes, 8),
            max_timestamp: get_i64(bytes, 16),
            segment: get_u32(bytes, 24),
            bytes: get_u32(bytes, 28),
        };
        slot.bytes += u64::from(extent.bytes);
        lists.extents.push_back(extent);
    }
    slot.set_newest(lists.extents.pop_back());
    for _ in 0..get_u32(take(rest, 4)?, 0) {
        let bytes = take(rest, 12)?;
        lists
            .epochs
            .push_back((get_i32(bytes, 0), get_i64(bytes, 4)));
    }
    slot.lists = NONE;
    slot.settle();
    Some(Record::Slot(
        ReplicaId(get_u64(head, 0)),
        Box::new(slot),
        lists,
    ))
}
