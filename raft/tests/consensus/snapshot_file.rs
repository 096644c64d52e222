//! The snapshot file: what is written is read back, in pieces of any size, and damage is told.

use bytes::Bytes;
use odradek_raft::consensus::OffsetAndEpoch;
use odradek_raft::snapshot::{
    SnapshotError, SnapshotPart, SnapshotReader, SnapshotWriter, WriterOptions, file_name,
    parse_file_name, part_file_name, read_snapshot,
};

use crate::support::{WALL_MS, voters};

fn write(id: OffsetAndEpoch, records: &[Bytes], batch_bytes_max: usize) -> Vec<u8> {
    let (mut writer, header) = SnapshotWriter::new(WriterOptions {
        id,
        last_contained_log_timestamp_ms: WALL_MS,
        kraft_version: 1,
        voters: Some(voters(&[1, 2, 3])),
        now_ms: WALL_MS + 5,
        batch_bytes_max,
    });
    let mut file = header.to_vec();
    for record in records {
        if let Some(batch) = writer.push(record.clone()) {
            assert!(batch.len() <= batch_bytes_max.max(200) + 61);
            file.extend_from_slice(&batch);
        }
    }
    file.extend_from_slice(&writer.finish());
    file
}

fn sample() -> Vec<Bytes> {
    (0..500)
        .map(|index| Bytes::from(format!("record number {index}")))
        .collect()
}

#[test]
fn names() {
    let id = OffsetAndEpoch::new(1234, 7);
    let name = file_name(id);
    assert_eq!(name, "00000000000000001234-0000000007.checkpoint");
    assert_eq!(parse_file_name(&name), Some(id));
    assert_eq!(parse_file_name(&part_file_name(id)), None);
    assert_eq!(parse_file_name("bootstrap.checkpoint"), None);
    assert_eq!(
        parse_file_name("0000000000000000-234-0000000007.checkpoint"),
        None
    );
}

#[test]
fn reads_back_in_pieces_of_any_size() {
    let id = OffsetAndEpoch::new(1234, 7);
    for batch_bytes_max in [0, 300, 4096, 1 << 20] {
        let file = write(id, &sample(), batch_bytes_max);
        let (view, header, records) = read_snapshot(id, &file).unwrap();
        assert_eq!(records, sample());
        assert_eq!(header.last_contained_log_timestamp_ms, WALL_MS);
        assert_eq!(view.kraft_version, 1);
        assert_eq!(view.voters, Some(voters(&[1, 2, 3])));
        assert_eq!(view.size_bytes, file.len() as u64);
        for piece in [1, 61, 1000] {
            let mut reader = SnapshotReader::new(id);
            let mut parts = Vec::new();
            for bytes in file.chunks(piece) {
                reader.feed(bytes, &mut parts).unwrap();
            }
            reader.finish().unwrap();
            assert!(matches!(parts.first(), Some(SnapshotPart::Header(_))));
            assert_eq!(parts.last(), Some(&SnapshotPart::Footer));
        }
    }
    let empty = write(OffsetAndEpoch::BOOTSTRAP, &[], 4096);
    let (_, _, records) = read_snapshot(OffsetAndEpoch::BOOTSTRAP, &empty).unwrap();
    assert!(records.is_empty());
}

#[test]
fn damage_is_told() {
    let id = OffsetAndEpoch::new(1234, 7);
    let file = write(id, &sample()[..20], 300);
    for cut in [0, 1, 61, file.len() / 2, file.len() - 1] {
        let error = read_snapshot(id, &file[..cut]).unwrap_err();
        let expected = if cut < 100 {
            SnapshotError::HeaderMissing
        } else {
            SnapshotError::FooterMissing
        };
        assert_eq!(error, expected);
    }
    for position in 0..file.len() {
        let mut flipped = file.clone();
        flipped[position] ^= 0x10;
        assert!(
            read_snapshot(id, &flipped).is_err(),
            "a flipped bit at byte {position} goes unseen"
        );
    }
    let other = OffsetAndEpoch::new(1234, 8);
    assert!(matches!(
        read_snapshot(other, &file),
        Err(SnapshotError::Epoch { .. })
    ));
    let mut longer = file.clone();
    longer.extend_from_slice(&file);
    assert!(matches!(
        read_snapshot(id, &longer),
        Err(SnapshotError::AfterFooter { .. })
    ));
}
