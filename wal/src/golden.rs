//! Golden bytes of the layouts that `FORMAT.md` draws: a change here is a change of format.

use crate::control::Control;
use crate::footer::{FooterWriter, IndexEntry};
use crate::layout::*;
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
        "4f460001f40100000201000000000000e80300000000000009000000070000000068e5cf8b0100002a000000000000000b00000003001000efbeadde"
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
        "4f44525701000000050000000000000009000000000000000020000000000000001000000000000000100000010000007802000000002000fecaad0b"
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
    let mut writer = FooterWriter::new(5, 8192);
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
    let (pages, index_pages, _) = writer.finish();
    assert_eq!((index_pages, pages.len()), (1, 8192));
    assert_eq!(
        hex(&pages[..20]),
        "4f44524902003200050000000000000000000000"
    );
    assert_eq!(hex(&pages[32..50]), "0314048041ac02c80104000000e0053c1300");
}
