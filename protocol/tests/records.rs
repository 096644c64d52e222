//! Record batches and compression: built and read back, patched, refused, bounded; and read and rebuilt by Kafka's own
//! classes when `ODRADEK_KAFKA_LIBS` names their folder (see `kafka_oracle`).

mod support;

use bytes::Bytes;
use odradek_protocol::compression::{CompressionError, compress, decompress};
use odradek_protocol::control_records::{ControlRecord, EndTxnMarker, LeaderChangeMessage};
use odradek_protocol::records::*;
use support::Random;

fn sample(compression: Compression, seed: u64) -> Bytes {
    let mut random = Random::of("batch", compression as i16, seed);
    let mut builder = BatchBuilder::new(1000 + seed as i64)
        .compression(compression, None)
        .producer(77, 3, i32::MAX - 1)
        .partition_leader_epoch(5)
        .transactional();
    for index in 0..1 + random.below(40) {
        let key = random.once_in(3).then(|| random.bytes(20));
        let value = (!random.once_in(5)).then(|| random.text(300).into_bytes());
        let header = random.text(6);
        let headers: Vec<HeaderRef<'_>> = match random.below(3) {
            0 => vec![],
            1 => vec![(header.as_bytes(), None)],
            _ => vec![(b"a", Some(b"1")), (header.as_bytes(), Some(b""))],
        };
        let timestamp = 1_700_000_000_000 + index as i64 * 7 - random.below(3) as i64;
        builder.push(timestamp, key.as_deref(), value.as_deref(), &headers);
    }
    builder.build().expect("it is built")
}

/// As the Java program lists a batch.
fn listing(batch: &Bytes) -> String {
    let hex = |bytes: Option<&Bytes>| {
        bytes.map_or("null".into(), |bytes| format!("x{}", support::hex(bytes)))
    };
    let header = BatchHeader::parse(batch).expect("a header");
    let mut text = format!(
        "batch {} {} {} {} {} {} {} {} {} {};",
        header.base_offset,
        header.last_offset(),
        header.max_timestamp,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.last_sequence(),
        header.partition_leader_epoch,
        header.is_transactional(),
        header.is_control()
    );
    for record in records(batch, 1 << 20).expect("records") {
        let record = record.expect("a record");
        text += &format!(
            "{} {} {} {}",
            record.offset,
            record.timestamp,
            hex(record.key.as_ref()),
            hex(record.value.as_ref())
        );
        for header in &record.headers {
            text += &format!(" {}={}", hex(Some(&header.key)), hex(header.value.as_ref()));
        }
        text += ";";
    }
    text
}

#[test]
fn batches_are_read_back_in_every_compression() {
    for compression in Compression::ALL {
        for seed in 0..20 {
            let batch = sample(compression, seed);
            verify_crc(&batch).expect("its checksum");
            let header = BatchHeader::parse(&batch).expect("its header");
            assert_eq!(header.size_bytes(), batch.len());
            assert_eq!(header.to_bytes(), batch[..HEADER_BYTES]);
            assert_eq!(header.compression(), Ok(compression));
            let read: Vec<Record> = records(&batch, 1 << 20)
                .expect("records")
                .collect::<Result<_, _>>()
                .expect("every record");
            assert_eq!(read.len() as i32, header.records_count);
            assert_eq!(
                read.last().map(|record| record.offset),
                Some(header.last_offset())
            );
            assert_eq!(
                read.iter().map(|record| record.timestamp).max(),
                Some(header.max_timestamp)
            );
            // Compressed or not, the records are the same.
            let listed = listing(&batch);
            assert!(
                listed
                    .split_once(';')
                    .is_some_and(|(_, rest)| rest.len() > 10)
            );
        }
    }
    let plain = listing(&sample(Compression::None, 3));
    assert!(plain.starts_with("batch 1003 "), "{plain}");
}

#[test]
fn streams_that_are_cut_anywhere_are_refused() {
    let input: Vec<u8> = (0..3_000_u32).flat_map(u32::to_le_bytes).collect();
    for compression in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
        let mut stream = Vec::new();
        compress(compression, None, &input, &mut stream).expect("it compresses");
        for end in 1..stream.len() {
            let cut = decompress(compression, &stream[..end], 1 << 20);
            assert!(cut.is_err(), "{compression:?} cut to {end} bytes");
        }
        assert_eq!(decompress(compression, &stream, 1 << 20), Ok(input.clone()));
    }
}

#[test]
fn a_leader_patches_without_touching_the_checksum() {
    let mut batch = sample(Compression::Lz4, 1).to_vec();
    set_base_offset(&mut batch, 123_456);
    set_partition_leader_epoch(&mut batch, 9);
    verify_crc(&batch).expect("base offset and leader epoch are outside of the checksum");
    set_log_append_time(&mut batch, 42);
    verify_crc(&batch).expect("the checksum was made anew");
    let batch = Bytes::from(batch);
    for record in records(&batch, 1 << 20).expect("records") {
        assert_eq!(record.expect("a record").timestamp, 42);
    }
    let header = BatchHeader::parse(&batch).expect("a header");
    assert_eq!(
        (header.base_offset, header.partition_leader_epoch),
        (123_456, 9)
    );
}

#[test]
fn damage_and_lies_are_named() {
    let good = sample(Compression::None, 2);
    let change = |at: usize, value: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = value;
        Bytes::from(bytes)
    };
    assert!(matches!(
        verify_crc(&change(70, good[70] ^ 1)),
        Err(BatchError::BadCrc { .. })
    ));
    assert_eq!(
        BatchHeader::parse(&change(16, 1)),
        Err(BatchError::UnsupportedMagic(1))
    );
    assert_eq!(
        BatchHeader::parse(&good[..17][..]),
        Err(BatchError::Truncated {
            needed: 61,
            have: 17
        })
    );
    let mut short = good.to_vec();
    short[8..12].copy_from_slice(&48i32.to_be_bytes());
    assert_eq!(BatchHeader::parse(&short), Err(BatchError::BadLength(48)));
    short[8..12].copy_from_slice(&(-1i32).to_be_bytes());
    assert_eq!(BatchHeader::parse(&short), Err(BatchError::BadLength(-1)));
    assert!(matches!(
        records(&change(22, 7), 1 << 20),
        Err(BatchError::UnknownCompression(7))
    ));
    assert!(matches!(
        records(&good.slice(..good.len() - 1), 1 << 20),
        Err(BatchError::Truncated { .. })
    ));
    let count = BatchHeader::parse(&good).expect("a header").records_count;
    let counted = |count: i32| {
        let mut bytes = good.to_vec();
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        records(&Bytes::from(bytes), 1 << 20)
            .and_then(|records| records.collect::<Result<Vec<_>, _>>())
    };
    assert!(counted(count).is_ok());
    for lie in [count - 1, count + 1, 0, -1, i32::MAX, i32::MIN] {
        assert!(
            matches!(counted(lie), Err(BatchError::BadCount { stored, .. }) if stored == lie),
            "{lie}"
        );
    }
    let mut mixed = good.to_vec();
    mixed.extend_from_slice(&good);
    mixed.extend_from_slice(&good[..100]);
    let whole: Vec<_> = Batches::new(Bytes::from(mixed)).collect();
    assert_eq!(whole.len(), 3);
    assert!(whole[0].is_ok() && whole[1].is_ok() && whole[2].is_err());
}

#[test]
fn decompression_stops_at_the_bound() {
    let bomb = vec![0u8; 50_000_000];
    for compression in Compression::ALL.into_iter().skip(1) {
        let mut packed = Vec::new();
        compress(compression, None, &bomb, &mut packed).expect("it compresses");
        assert_eq!(
            decompress(compression, &packed, 1_000_000),
            Err(CompressionError::TooLarge {
                bytes_max: 1_000_000
            }),
            "{}",
            compression.name()
        );
        assert_eq!(
            decompress(compression, &packed, bomb.len()).as_ref(),
            Ok(&bomb),
            "{}",
            compression.name()
        );
        let cut = decompress(compression, &packed[..packed.len() / 2], bomb.len());
        assert!(
            cut.is_err(),
            "{}: half of it is refused",
            compression.name()
        );
    }
}

#[test]
fn snappy_comes_framed_and_raw() {
    let text = b"one block without a frame, as librdkafka writes it".repeat(20);
    let raw = snap::raw::Encoder::new()
        .compress_vec(&text)
        .expect("it compresses");
    assert_eq!(
        decompress(Compression::Snappy, &raw, 1 << 20),
        Ok(text.clone())
    );
    let mut framed = Vec::new();
    compress(Compression::Snappy, None, &text, &mut framed).expect("it compresses");
    assert!(framed.starts_with(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"));
    let twice = [&framed[..], &framed[..]].concat();
    assert_eq!(
        decompress(Compression::Snappy, &twice, 1 << 20),
        Ok(text.repeat(2)),
        "two streams joined"
    );
    // A block that announces 4 GiB.
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    assert!(decompress(Compression::Snappy, &lie, usize::MAX).is_err());
}

#[test]
fn levels_are_checked() {
    let mut out = Vec::new();
    for (compression, level, good) in [
        (Compression::Gzip, 9, true),
        (Compression::Gzip, -1, true),
        (Compression::Gzip, 10, false),
        (Compression::Gzip, 0, false),
        (Compression::Lz4, 1, true),
        (Compression::Lz4, 17, true),
        (Compression::Lz4, 0, false),
        (Compression::Lz4, 18, false),
        (Compression::Zstd, 22, true),
        (Compression::Zstd, -5, true),
        (Compression::Zstd, 23, false),
    ] {
        let done = compress(compression, Some(level), b"text", &mut out);
        let bad = Err(CompressionError::BadLevel { compression, level });
        assert_eq!(done, if good { Ok(()) } else { bad });
    }
}

#[test]
fn levels_of_lz4_are_kafkas() {
    let mut random = Random::of("lz4 levels", 0, 0);
    let words: Vec<String> = (0..300).map(|_| random.text(12)).collect();
    let text: String = (0..30_000)
        .map(|_| words[random.below(words.len())].as_str())
        .collect();
    let packed_bytes = |level: Option<i32>| {
        let mut out = Vec::new();
        compress(Compression::Lz4, level, text.as_bytes(), &mut out).expect("it compresses");
        let unpacked = decompress(Compression::Lz4, &out, text.len()).expect("it unpacks");
        assert_eq!(unpacked, text.as_bytes(), "level {level:?}");
        out.len()
    };
    let fast = packed_bytes(None);
    assert_eq!(packed_bytes(Some(9)), fast, "the default level is speed");
    let high: Vec<usize> = [1, 3, 8, 12].map(|level| packed_bytes(Some(level))).into();
    assert!(high.is_sorted_by(|one, next| one > next), "{high:?}");
    assert!(high[0] < fast, "{high:?} against {fast}");
    assert_eq!(packed_bytes(Some(17)), high[3], "12 is the most there is");
}

#[test]
fn control_batches_carry_markers_and_kraft_messages() {
    let written = [
        ControlRecord::Commit(EndTxnMarker {
            coordinator_epoch: 4,
            ..Default::default()
        }),
        ControlRecord::LeaderChange(LeaderChangeMessage {
            leader_id: 2,
            ..Default::default()
        }),
    ];
    let mut builder = BatchBuilder::new(10).control();
    for record in &written {
        builder.push_control(5, record).expect("it encodes");
    }
    let batch = builder.build().expect("it is built");
    assert!(BatchHeader::parse(&batch).expect("a header").is_control());
    let read: Vec<ControlRecord> = records(&batch, 1 << 20)
        .expect("records")
        .map(|record| {
            let record = record.expect("a record");
            ControlRecord::decode(&record.key.expect("a key"), &record.value.expect("a value"))
                .expect("it decodes")
        })
        .collect();
    assert_eq!(read, written);
    let unknown = ControlRecord::decode(&Bytes::from_static(&[0, 0, 0, 99]), &Bytes::new());
    assert_eq!(unknown, Ok(ControlRecord::Unknown(99)));
}

#[test]
fn a_batch_is_rewritten_with_fewer_records() {
    let batch = sample(Compression::Zstd, 6);
    let header = BatchHeader::parse(&batch).expect("a header");
    let mut builder = BatchBuilder::like(&header).compression(Compression::Gzip, Some(1));
    let kept: Vec<Record> = records(&batch, 1 << 20)
        .expect("records")
        .map(|record| record.expect("a record"))
        .step_by(2)
        .collect();
    for record in &kept {
        let headers: Vec<HeaderRef<'_>> = record
            .headers
            .iter()
            .map(|header| (&header.key[..], header.value.as_deref()))
            .collect();
        let delta = (record.offset - header.base_offset) as i32;
        builder.push_at(
            delta,
            record.timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            &headers,
        );
    }
    let rewritten = builder.build().expect("it is built");
    let after = BatchHeader::parse(&rewritten).expect("a header");
    assert_eq!(
        after.last_offset(),
        header.last_offset(),
        "the last offset stays when its record goes"
    );
    assert_eq!(after.base_sequence, header.base_sequence);
    assert_eq!(after.compression(), Ok(Compression::Gzip));
    let read: Vec<Record> = records(&rewritten, 1 << 20)
        .expect("records")
        .map(|record| record.expect("one"))
        .collect();
    assert_eq!(read, kept);
}

#[test]
fn kafka_reads_our_batches_and_we_read_kafkas() {
    let Some(libs) = support::kafka::jars() else {
        return;
    };
    let batches: Vec<Bytes> = Compression::ALL
        .into_iter()
        .flat_map(|compression| (0..20).map(move |seed| sample(compression, seed)))
        .collect();
    let lines: String = batches
        .iter()
        .map(|batch| format!("@batch 0 {}\n", support::hex(batch)))
        .collect();
    let answers = support::kafka::run(&libs, &lines);
    assert_eq!(answers.len(), batches.len());
    for (batch, answer) in batches.iter().zip(&answers) {
        let columns: Vec<&str> = answer.split('\t').collect();
        let ["ok", rebuilt, "", listed] = columns[..] else {
            panic!("Kafka says {answer}")
        };
        assert_eq!(listed, listing(batch), "Kafka reads what we wrote");
        let rebuilt = Bytes::from(support::unhex(rebuilt.trim_start_matches('x')));
        verify_crc(&rebuilt).expect("Kafka's checksum");
        let header = BatchHeader::parse(&rebuilt).expect("Kafka's header");
        assert_eq!(
            header.compression(),
            BatchHeader::parse(batch).expect("a header").compression()
        );
        let only_records = |text: &str| text.split_once(';').expect("a batch").1.to_string();
        assert_eq!(
            only_records(&listing(&rebuilt)),
            only_records(listed),
            "we read what Kafka wrote"
        );
    }
}
