//! Golden bytes of the layouts that `FORMAT.md` draws: a change here is a change of format.

use crate::checkpoint_file::{CheckpointWriter, Meta};
use crate::control::Control;
use crate::footer::{FooterWriter, IndexEntry};
use crate::index_file::IndexRecord;
use crate::io::{BLOCK_BYTES, FileName};
use crate::layers::{Entry, Move};
use crate::layout::*;
use crate::report::RecoveryError;
use crate::segments::{SegmentRecord, Share};
use crate::slot::{Extent, Slot};
use crate::types::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sample() -> FrameMeta {
    FrameMeta {
        replica: ReplicaId(0x0102),
        base_offset: Offset(1000),
        last_offset: Offset(1009),
        leader_epoch: LeaderEpoch(7),
        max_timestamp: 1_700_000_000_000,
        producer_id: 42,
        producer_epoch: 3,
        base_sequence: 11,
        flags: 0x10,
    }
}

#[test]
fn layouts_lie_where_format_says() {
    let mut frame = [0; FRAME_HEADER_BYTES];
    FrameHeader {
        meta: sample(),
        payload_bytes: 500,
        payload_crc: 0xDEAD_BEEF,
    }
    .encode(&mut frame);
    seal_frame(5, 4160, &mut frame);
    assert_eq!(
        hex(&frame[..60]),
        "4f460002f40100000201000000000000e80300000000000009000000070000000068e5cf8b0100002a000000000000000b00000003001000efbeadde"
    );
    assert!(FrameHeader::decode(5, 4160, &frame).is_some());
    assert!(
        FrameHeader::decode(5, 4168, &frame).is_none()
            && FrameHeader::decode(6, 4160, &frame).is_none()
    );

    let mut entry = [0; DIRECTORY_ENTRY_BYTES];
    DirectoryEntry {
        meta: sample(),
        position: 64,
        payload_bytes: 500,
    }
    .encode(&mut entry);
    assert_eq!(
        hex(&entry),
        "0201000000000000e8030000000000000068e5cf8b0100002a0000000000000009000000070000000b00000040000000f401000003001000"
    );

    let mut write = [0; WRITE_HEADER_BYTES];
    let header = WriteHeader {
        nonce: 5,
        write_number: 9,
        start_lsn: 8192,
        durable_lsn: 4096,
        length: 4096,
        frames: 1,
        frames_end: 632,
        directory_crc: 0x0BAD_CAFE,
        next_bytes_max: 0x0020_0000,
    };
    header.encode(4096, &mut write);
    assert_eq!(
        hex(&write[..60]),
        "4f44525702000000050000000000000009000000000000000020000000000000001000000000000000100000010000007802000000002000fecaad0b"
    );
    assert_eq!(WriteHeader::decode(5, 4096, &write), Some(header));
    assert_eq!(WriteHeader::decode(5, 8192, &write), None);
}

#[test]
fn control_records_lie_where_format_says() {
    let create = CreateReplica {
        topic_id: TopicId([0xAB; 16]),
        partition: 4,
        metadata_offset: 77,
    };
    let controls = [
        Control::Create {
            replica: ReplicaId(2),
            create,
        },
        Control::Truncate {
            replica: ReplicaId(2),
            to: Offset(5),
        },
        Control::LogStart {
            replica: ReplicaId(2),
            to: Offset(3),
        },
        Control::Delete {
            replica: ReplicaId(2),
        },
        Control::BrokerEpoch { epoch: 6 },
        Control::Cut {
            lsn: 4096,
            bytes: 512,
        },
    ];
    let mut bytes = Vec::new();
    controls
        .iter()
        .for_each(|control| control.encode(&mut bytes));
    let expected = [
        "010200000000000000abababababababababababababababab040000004d00000000000000",
        "0202000000000000000500000000000000",
        "0302000000000000000300000000000000",
        "040200000000000000",
        "060600000000000000",
        "0700100000000000000002000000000000",
    ];
    assert_eq!(hex(&bytes), expected.concat());
    assert_eq!(Control::decode_all(&bytes), Some(controls.to_vec()));
    assert_eq!(Control::decode_all(&bytes[..bytes.len() - 1]), None);
}

#[test]
fn an_index_page_lies_where_format_says() {
    let mut writer = FooterWriter::new(5);
    let entry = IndexEntry {
        base: 10,
        last: 14,
        max_timestamp: 100,
        position: 4160,
        payload_bytes: 300,
        epoch: 2,
    };
    writer.push(ReplicaId(3), &entry);
    let next = IndexEntry {
        base: 15,
        last: 15,
        max_timestamp: 90,
        position: 4528,
        payload_bytes: 60,
        epoch: 2,
    };
    writer.push(ReplicaId(3), &next);
    let (pages, index_pages, _) = writer.finish(8192);
    assert_eq!((index_pages, pages.len()), (1, 8192));
    assert_eq!(
        hex(&pages[..20]),
        "4f44524902003200050000000000000000000000"
    );
    assert_eq!(hex(&pages[32..50]), "0314048041ac02c80104000000e0053c1300");
}

/// The first bytes of a block, and whether the rest is zeroes.
fn head(block: &[u8], bytes: usize) -> (String, bool) {
    let rest = block[bytes..].iter().all(|byte| *byte == 0);
    (hex(&block[..bytes]), rest)
}

#[test]
fn the_superblock_lies_where_format_says() {
    let superblock = Superblock {
        version: 1,
        node_id: 7,
        directory_id: DirectoryId([0xD1; 16]),
        shard: 2,
        shards: 4,
        segment_bytes: 32 << 20,
        directory_bytes_max: 64 << 30,
        cluster_id: "4L6g3nShT-eMCtK--X86sw".into(),
    };
    let mut block = [0xFF; BLOCK_BYTES];
    block[SUPERBLOCK_BYTES..].fill(0);
    superblock.encode(&mut block);
    assert_eq!(head(&block, SUPERBLOCK_BYTES), (SUPERBLOCK.concat(), true));
    assert_eq!(Superblock::decode(&block), Some(superblock));
    block[90] ^= 1;
    assert_eq!(Superblock::decode(&block), None);
}

const SUPERBLOCK: [&str; 3] = [
    "4f445241535550520100000007000000d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1",
    "0200000004000000000000020000000000000000100000001600344c3667336e5368542d654d43744b2d2d5838367377",
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000016a07220",
];

#[test]
fn a_root_slot_lies_where_format_says() {
    let root = Root {
        version: 1,
        counter: 9,
        base: 3,
        deltas: vec![4, 6],
        clean: true,
    };
    let mut block = [0xFF; ROOT_SLOT_BYTES];
    root.encode(&mut block);
    assert_eq!(hex(&block[..40]), ROOT);
    assert!(block[40..4092].iter().all(|byte| *byte == 0));
    assert_eq!(hex(&block[4092..]), ROOT_CRC);
    assert_eq!(Root::decode(&block), Some(root));
}

const ROOT: &str =
    "4f445241524f4f540100010000000000090000000000000003000000020000000400000006000000";
const ROOT_CRC: &str = "5987cb1f";

#[test]
fn a_segment_header_lies_where_format_says() {
    let header = SegmentHeader {
        kind: SegmentKind::Log,
        file: 42,
        nonce: 0x0102_0304_0506_0708,
        sequence: 77,
        directory_id: DirectoryId([0xD1; 16]),
        shard: 2,
    };
    let mut block = [0; BLOCK_BYTES];
    header.encode(&mut block);
    assert_eq!(head(&block, SEGMENT_HEADER_BYTES), (SEGMENT.into(), true));
    assert_eq!(SegmentHeader::decode(&block), Some(header));
}

const SEGMENT: &str = "4f4452415345474d020001002a00000008070605040302014d00000000000000d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d10200000000000000000000002705c43a";

fn sample_extent(base: i64, end: i64, segment: u32) -> Extent {
    Extent {
        base,
        end,
        max_timestamp: 1_700_000_000_000,
        segment,
        bytes: 640,
    }
}

fn sample_entry() -> Entry {
    let moved = Move {
        base: 5,
        end: 20,
        old: 42,
        new: 44,
        bytes: Move::WHOLE,
        held: 640,
    };
    Entry {
        start: 5,
        moves: vec![moved],
        extents: [sample_extent(15, 20, 42)].into_iter().collect(),
        ..Entry::default()
    }
}

/// Every record, in the order in which a checkpoint has them.
fn checkpoint(base: bool) -> Vec<u8> {
    let mut writer = CheckpointWriter::new(7, base, 5, 8192);
    writer.meta(&Meta {
        lsn: 8192,
        issued_lsn: 4096,
        next_replica: 3,
        next_sequence: 12,
        write_number: 90,
        broker_epoch: 6,
        metadata_offset_max: 41,
        active_sequence: 11,
        wall_ms: 1_700_000_000_000,
        dead_bytes: 77,
    });
    writer.segment(&SegmentRecord {
        file: 42,
        rewritten: false,
        sealed: true,
        classes: 0,
        nonce: 0x0102_0304_0506_0708,
        sequence: 10,
        first_lsn: 0,
        end_lsn: 4096,
        data_end: 8192,
        footer_position: 8192,
        index_pages: 1,
    });
    writer.damage(ReplicaId(2), 10, 19);
    let mut slot = Slot::new(&CreateReplica {
        topic_id: TopicId([0xAB; 16]),
        partition: 4,
        metadata_offset: 41,
    });
    (slot.log_start, slot.log_end) = (5, 30);
    (slot.high_watermark, slot.last_stable) = (29, 28);
    (slot.last_epoch, slot.epoch_start) = (3, 20);
    slot.set_newest(Some(sample_extent(20, 30, 43)));
    slot.bytes = 1_280;
    let epochs = [(1, 5)].into_iter().collect();
    writer.slot(ReplicaId(2), &slot, Some(&epochs));
    if base {
        let share = Share {
            extents: 1,
            bytes: 640,
        };
        writer.share(42, &share);
        writer.index(&IndexRecord {
            nonce: 9,
            pages: 1,
            extents: 1,
            next_replica: 3,
        });
    } else {
        writer.entry(ReplicaId(2), &sample_entry());
        writer.gone(ReplicaId(1));
    }
    writer.cold(ReplicaId(2), b"page");
    writer.end();
    let mut file = vec![0; BLOCK_BYTES];
    while let Some((position, piece)) = writer.take_piece() {
        assert_eq!(position as usize, file.len());
        file.extend_from_slice(&piece);
    }
    file[..BLOCK_BYTES].copy_from_slice(&writer.header());
    file
}

#[test]
fn checkpoints_lie_where_format_says() {
    for (base, header, records) in [(true, BASE, BASE_RECORDS), (false, DELTA, DELTA_RECORDS)] {
        let file = checkpoint(base);
        assert_eq!(head(&file[..BLOCK_BYTES], 64), (header.into(), true));
        let used = records.concat().len() / 2;
        assert_eq!(head(&file[BLOCK_BYTES..], used), (records.concat(), true));
    }
}

const BASE: &str = "4f445241434b5054020001000700000005000000000000000020000000000000010000000000000000000000000000000000000000000000000000009f8e3d42";
const DELTA: &str = "4f445241434b505402000000070000000500000000000000002000000000000001000000000000000000000000000000000000000000000000000000d678c1a3";
const BASE_RECORDS: &[&str] = &[
    "4f4452500000000069010000a62f3a25010020000000000000001000000000000003000000000000000c000000000000",
    "005a00000000000000060000000000000029000000000000000b000000000000000068e5cf8b0100004d000000000000",
    "00022a0000000200000008070605040302010a0000000000000000000000000000000010000000000000002000000020",
    "0000010000000602000000000000000a000000000000001300000000000000030200000000000000abababababababab",
    "abababababababab040000000300000005000000000000001e000000000000001d000000000000001c00000000000000",
    "2900000000000000140000000000000000050000000000000114000000000000001e000000000000000068e5cf8b0100",
    "002b0000008002000001000000010000000500000000000000092a0000000100000080020000000000000a0900000000",
    "0000000100000001000000000000000300000000000000050200000000000000040000007061676507",
];
const DELTA_RECORDS: &[&str] = &[
    "4f44525000000000950100007658be50010020000000000000001000000000000003000000000000000c000000000000",
    "005a00000000000000060000000000000029000000000000000b000000000000000068e5cf8b0100004d000000000000",
    "00022a0000000200000008070605040302010a0000000000000000000000000000000010000000000000002000000020",
    "0000010000000602000000000000000a000000000000001300000000000000030200000000000000abababababababab",
    "abababababababab040000000300000005000000000000001e000000000000001d000000000000001c00000000000000",
    "2900000000000000140000000000000000050000000000000114000000000000001e000000000000000068e5cf8b0100",
    "002b0000008002000001000000010000000500000000000000080200000000000000000500000000000000ffffffffff",
    "ffff7f01000000050000000000000014000000000000002a0000002c000000ffffffff80020000010000000b0000001e",
    "0580a0abfef962548005040100000000000000050200000000000000040000007061676507",
];

#[test]
fn a_newer_format_is_refused_with_what_to_do() {
    let refusal = RecoveryError::NewerFormat {
        file: FileName::Superblock,
        version: 3,
        version_max: FORMAT_VERSION,
    };
    assert_eq!(
        refusal.to_string(),
        "superblock was written by a newer Odradek (format version 3; this one reads up to 2): start the newer one, or restore older data; nothing was changed"
    );
}
