//! Records of compressed batches read while they are unpacked, against the same records read whole; recompression step by
//! step; and the LZ4 frames that Kafka's reader takes, asked of that reader itself when `ODRADEK_KAFKA_LIBS` names its folder.

mod support;

use bytes::Bytes;
use lz4::liblz4::BlockChecksum;
use lz4::{BlockMode, BlockSize, ContentChecksum, EncoderBuilder};
use odradek_protocol::compression::{Decompressor, compress, decompress, recompress};
use odradek_protocol::records::*;
use std::io::Write;
use support::Random;

const BYTES_MAX: usize = 1 << 20;

/// The records of a batch without its header, and how many.
fn body(random: &mut Random) -> (Vec<u8>, i32) {
    let mut builder = BatchBuilder::new(0);
    for index in 0..1 + random.below(30) {
        let key = random.once_in(3).then(|| random.bytes(20));
        let value = (!random.once_in(5)).then(|| random.text(900).into_bytes());
        let headers: &[HeaderRef<'_>] = match random.below(3) {
            0 => &[],
            1 => &[(b"name", None)],
            _ => &[(b"", Some(b"1")), (b"other", Some(b""))],
        };
        builder.push(
            1000 + index as i64,
            key.as_deref(),
            value.as_deref(),
            headers,
        );
    }
    let count = builder.count();
    let batch = builder.build().expect("it is built");
    (batch[HEADER_BYTES..].to_vec(), count)
}

/// A batch around records that were compressed by hand.
fn batch_around(compression: Compression, packed: &[u8], count: i32) -> Bytes {
    let mut batch = BatchBuilder::new(0).build().expect("an empty one").to_vec();
    batch.extend_from_slice(packed);
    let length = (batch.len() - LOG_OVERHEAD_BYTES) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[22] = compression as u8;
    batch[23..27].copy_from_slice(&(count - 1).max(0).to_be_bytes());
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    recompute_crc(&mut batch);
    Bytes::from(batch)
}

fn pack(compression: Compression, body: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    compress(compression, None, body, &mut packed).expect("it compresses");
    packed
}

/// Outlines up to the first error, and whether there was one.
fn seen(
    outlines: impl Iterator<Item = Result<RecordOutline, BatchError>>,
) -> (Vec<RecordOutline>, bool) {
    let all: Vec<_> = outlines.collect();
    let good: Vec<_> = all
        .iter()
        .map_while(|outline| outline.as_ref().ok().copied())
        .collect();
    let failed = good.len() < all.len();
    assert!(good.len() + 1 >= all.len(), "nothing after an error");
    (good, failed)
}

#[test]
fn records_that_are_streamed_are_those_that_are_read_whole() {
    let mut random = Random::of("streamed", 0, 0);
    let mut failures = 0;
    for round in 0..400 {
        let (mut body, mut count) = body(&mut random);
        match random.below(4) {
            0 => {}
            1 => count += [-1, 1, 1000][random.below(3)],
            2 => body.truncate(random.below(body.len() + 1)),
            _ => {
                let at = random.below(body.len());
                body[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)];
            }
        }
        let plain = batch_around(Compression::None, &body, count);
        let whole = seen(outlines(&plain, 0).expect("a good header"));
        let views = records(&plain, 0).expect("a good header");
        let same = views.views().map_while(Result::ok);
        assert!(
            same.map(|view| (view.offset_delta, view.key.map(<[u8]>::len)))
                .eq(whole
                    .0
                    .iter()
                    .map(|outline| (outline.offset_delta, outline.key_bytes)))
        );
        failures += usize::from(whole.1);
        for compression in Compression::ALL.into_iter().skip(1) {
            let batch = batch_around(compression, &pack(compression, &body), count);
            for chunk_bytes in [1, 7, 600, 32 << 10] {
                let mut streamed =
                    outlines_by(&batch, BYTES_MAX, chunk_bytes).expect("a good header");
                assert_eq!(
                    seen(streamed.by_ref()),
                    whole,
                    "round {round}, {compression:?}, {chunk_bytes} bytes at a time"
                );
                if !whole.1 {
                    assert_eq!(streamed.decompressed_bytes(), body.len());
                }
            }
            if !whole.1 {
                let (short, failed) = seen(outlines(&batch, body.len() - 1).expect("a header"));
                assert!(failed && short.len() <= whole.0.len(), "the bound holds");
            }
        }
    }
    assert!(
        (100..300).contains(&failures),
        "{failures} of the batches are bad"
    );
}

#[test]
fn a_stream_that_is_cut_is_noticed_after_its_last_record() {
    let (body, count) = body(&mut Random::of("cut", 0, 1));
    for compression in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
        let packed = pack(compression, &body);
        let cut = batch_around(compression, &packed[..packed.len() - 1], count);
        let failed = match outlines(&cut, BYTES_MAX) {
            Ok(outlines) => seen(outlines).1,
            Err(_) => true,
        };
        assert!(failed, "{compression:?}");
    }
}

#[test]
fn any_compression_becomes_any_other_step_by_step() {
    let mut random = Random::of("recompressed", 0, 0);
    let mut plain = Vec::new();
    while plain.len() < 200_000 {
        plain.extend_from_slice(random.text(500).as_bytes());
    }
    for from in Compression::ALL {
        let packed = pack(from, &plain);
        for to in Compression::ALL {
            let mut source = Decompressor::new(from, &packed, plain.len()).expect("a start");
            let mut output = vec![1, 2, 3];
            recompress(&mut source, plain.len(), to, None, &mut output).expect("it goes through");
            assert_eq!(output[..3], [1, 2, 3], "appended");
            assert!(
                decompress(to, &output[3..], plain.len()).as_ref() == Ok(&plain),
                "{from:?} to {to:?}"
            );
            assert_eq!(source.bytes_read(), plain.len());
        }
    }
}

/// A frame as Kafka writes it, but for what is changed.
fn lz4_frame(plain: &[u8], change: impl Fn(&mut EncoderBuilder)) -> Vec<u8> {
    let mut frame = EncoderBuilder::new();
    frame
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent)
        .block_checksum(BlockChecksum::NoBlockChecksum)
        .checksum(ContentChecksum::NoChecksum);
    change(&mut frame);
    let mut encoder = frame.build(Vec::new()).expect("a frame");
    encoder.write_all(plain).expect("it is written");
    let (bytes, ended) = encoder.finish();
    ended.expect("it ends");
    bytes
}

/// Frames by hand: what they are called, and their bytes.
fn lz4_frames(plain: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let encode = |change: &dyn Fn(&mut EncoderBuilder)| lz4_frame(plain, change);
    let plainly = encode(&|_| {});
    let checked = encode(&|frame| {
        frame.checksum(ContentChecksum::ChecksumEnabled);
    });
    let changed = |at: usize, bits: u8| {
        let mut bytes = plainly.clone();
        bytes[at] ^= bits;
        // The header's checksum: the second byte of xxHash32 over flags and descriptor.
        bytes[6] = (xxh32(&bytes[4..6]) >> 8) as u8;
        bytes
    };
    vec![
        ("independent", plainly.clone()),
        (
            "large blocks",
            encode(&|frame| {
                frame.block_size(BlockSize::Max4MB);
            }),
        ),
        (
            "block checksums",
            encode(&|frame| {
                frame.block_checksum(BlockChecksum::BlockChecksumEnabled);
            }),
        ),
        ("content checksum", checked.clone()),
        (
            "content checksum cut off",
            checked[..checked.len() - 1].to_vec(),
        ),
        (
            "content size",
            encode(&|frame| {
                frame.content_size(plain.len() as u64);
            }),
        ),
        (
            "linked",
            encode(&|frame| {
                frame.block_mode(BlockMode::Linked);
            }),
        ),
        ("dictionary", changed(4, 0b01)),
        ("reserved flag", changed(4, 0b10)),
        ("reserved descriptor bit", changed(5, 0b1)),
        ("reserved high descriptor bit", changed(5, 0b1000_0000)),
        ("version 2", changed(4, 0b1100_0000)),
        ("another format's magic number", {
            let mut bytes = plainly.clone();
            bytes[..4].copy_from_slice(&0x184c_2102_u32.to_le_bytes());
            bytes
        }),
        (
            "skippable frame first",
            [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &plainly].concat(),
        ),
        ("bytes behind the frame", [&plainly[..], b"behind"].concat()),
        ("two frames", [&plainly[..], &plainly].concat()),
        ("no end mark", plainly[..plainly.len() - 4].to_vec()),
        ("bad header checksum", {
            let mut bytes = plainly.clone();
            bytes[6] ^= 1;
            bytes
        }),
    ]
}

/// xxHash32 of up to 3 bytes less than a lane, seed 0: all that a frame's header needs.
fn xxh32(bytes: &[u8]) -> u32 {
    const PRIMES: [u32; 5] = [
        2_654_435_761,
        2_246_822_519,
        3_266_489_917,
        668_265_263,
        374_761_393,
    ];
    let mut hash = PRIMES[4].wrapping_add(bytes.len() as u32);
    for byte in bytes {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIMES[4]));
        hash = hash.rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ hash >> 15).wrapping_mul(PRIMES[1]);
    hash = (hash ^ hash >> 13).wrapping_mul(PRIMES[2]);
    hash ^ hash >> 16
}

#[test]
fn lz4_frames_are_taken_as_kafkas_reader_takes_them() {
    let mut random = Random::of("lz4", 0, 0);
    let mut builder = BatchBuilder::new(0);
    for _ in 0..200 {
        let value = random.text(2000).into_bytes();
        builder.push(1000, None, Some(&value), &[]);
    }
    let count = builder.count();
    let plain = builder.build().expect("it is built")[HEADER_BYTES..].to_vec();
    assert!(plain.len() > 100 << 10, "several blocks");
    let frames = lz4_frames(&plain);
    let taken: Vec<bool> = frames
        .iter()
        .map(|(_, frame)| decompress(Compression::Lz4, frame, 4 * plain.len()).is_ok())
        .collect();
    for ((name, _), taken) in frames.iter().zip(&taken) {
        let good = [
            "independent",
            "large blocks",
            "block checksums",
            "content checksum",
            "content size",
            "bytes behind the frame",
            "two frames",
        ];
        assert_eq!(good.contains(name), *taken, "{name}");
    }
    let Some(libs) = support::kafka::jars() else {
        return;
    };
    let lines: String = frames
        .iter()
        .map(|(_, frame)| {
            let batch = batch_around(Compression::Lz4, frame, count);
            format!("@batch 0 {}\n", support::hex(&batch))
        })
        .collect();
    let answers = support::kafka::run(&libs, &lines);
    assert_eq!(answers.len(), frames.len());
    for (((name, _), taken), answer) in frames.iter().zip(&taken).zip(&answers) {
        let answer: String = answer.chars().take(200).collect();
        assert_eq!(
            answer.starts_with("ok\t"),
            *taken,
            "{name}: Kafka says {answer}"
        );
    }
}
