//! Hostile bytes into every decoder: good messages with bits flipped, counts blown up, ends cut off and pieces moved. No
//! panic, no memory beyond a constant times the input (counted by the allocator), and what does decode encodes to bytes that
//! decode to the same. Seeded: a failure prints message, version, seed and the bytes. The cargo-fuzz targets in `fuzz` go
//! further, by command.
//!
//! One test, since the allocator counts for the whole process.

mod support;

use bytes::Bytes;
use odradek_protocol::codec::{Reader, Writer};
use odradek_protocol::compression::{compress, decompress};
use odradek_protocol::control_records::ControlRecord;
use odradek_protocol::coordinator_records::{
    ConsumerOffsetsKey, ShareGroupStateKey, TransactionStateKey,
};
use odradek_protocol::metadata_records::MetadataRecord;
use odradek_protocol::records::{BatchBuilder, Batches, Compression, outlines, records};
use odradek_protocol::{consumer_protocol, registry};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use support::{Random, Shape, encode, hex, random_message};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A reader's budget: 128 bytes for each byte received, and 64 KiB. All else a decode takes is small.
const MESSAGE_FACTOR: usize = 128;
const MESSAGE_CONSTANT: usize = 72 << 10;
/// What decompressed records may be in these tests.
const RECORDS_BYTES_MAX: usize = 256 << 10;
/// Twice the output while it grows, the records on top, a window and tables of the library.
const RECORDS_CONSTANT: usize = 64 * RECORDS_BYTES_MAX + (24 << 20);

fn allocated<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let region = Region::new(ALLOCATOR);
    let result = work();
    (result, region.change().bytes_allocated)
}

fn mutate(good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..1 + random.below(3) {
        if bytes.is_empty() {
            bytes = random.bytes(16);
            continue;
        }
        let at = random.below(bytes.len());
        match random.below(9) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => bytes[at] = [0, 0x7f, 0x80, 0xff][random.below(4)],
            4 => {
                // A count or length blown up: int32, int16, or a varint.
                let blown: &[u8] = [
                    &[0x7f, 0xff, 0xff, 0xff][..],
                    &[0, 0xff, 0xff, 0xff],
                    &[0x7f, 0xff],
                    &[0xff, 0xff, 0xff, 0xff, 0x07],
                    &[0xff, 0xff, 0x03],
                    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                ][random.below(6)];
                let end = (at + blown.len()).min(bytes.len());
                bytes.splice(at..end, blown.iter().copied());
            }
            5 => {
                let from = random.below(bytes.len());
                let to = (from + random.below(40)).min(bytes.len());
                let piece = bytes[from..to].to_vec();
                bytes.splice(at..at, piece);
            }
            6 => {
                let end = (at + 1 + random.below(8)).min(bytes.len());
                bytes.drain(at..end);
            }
            7 => bytes.extend(std::iter::repeat_n(
                [0, 1, 2, 0xff][random.below(4)],
                random.below(300),
            )),
            _ => {
                let end = (at + random.below(64)).min(bytes.len());
                let fill = [0, 1, 2][random.below(3)];
                bytes[at..end].fill(fill);
            }
        }
    }
    bytes
}

fn messages() -> usize {
    let mut decoded = 0;
    for info in registry() {
        for version in info.versions.iter() {
            let mut random = Random::of(info.name, version, 99);
            for seed in 0..200 {
                let shape = Shape {
                    elements_max: 3,
                    length_max: 12,
                    unknown_tags: seed % 3 == 0,
                };
                let good = encode(
                    random_message(info, version, seed % 20, shape).as_ref(),
                    info,
                    version,
                );
                let bad = Bytes::from(mutate(&good, &mut random));
                let length = bad.len();
                let note = format!("{} version {version} seed {seed}", info.name);
                let (result, taken) = allocated(|| {
                    let mut reader = Reader::new(bad.clone());
                    (info.decode)(&mut reader, version)
                });
                // The box around the message is the test's own.
                let most = MESSAGE_FACTOR * length + MESSAGE_CONSTANT;
                assert!(
                    taken <= most,
                    "{note}: {taken} bytes taken for {length} received\n{}",
                    hex(&bad)
                );
                let Ok(message) = result else { continue };
                decoded += 1;
                let first = encode(message.as_ref(), info, version);
                let again = (info.decode)(&mut Reader::new(first.clone()), version)
                    .unwrap_or_else(|error| panic!("{note}: {error}\n{}", hex(&first)));
                assert_eq!(
                    encode(again.as_ref(), info, version),
                    first,
                    "{note}\n{}",
                    hex(&bad)
                );
            }
        }
    }
    decoded
}

/// Keys, values and frames that are not a bare message.
fn framed() {
    let mut random = Random::of("framed", 0, 0);
    let check = |note: &str, bytes: Vec<u8>, decode: &dyn Fn(Bytes)| {
        let most = MESSAGE_FACTOR * bytes.len() + MESSAGE_CONSTANT;
        let text = hex(&bytes);
        let ((), taken) = allocated(|| decode(Bytes::from(bytes)));
        assert!(taken <= most, "{note}: {taken} bytes taken\n{text}");
    };
    for info in registry() {
        let version = info.versions.last;
        for seed in 0..200 {
            let shape = Shape {
                elements_max: 3,
                length_max: 12,
                unknown_tags: false,
            };
            let body = encode(
                random_message(info, version, seed, shape).as_ref(),
                info,
                version,
            );
            let key = info.api_key.unwrap_or(seed as i16 % 8);
            let metadata = [&[1, key as u8, version as u8], &body[..]].concat();
            check(info.name, mutate(&metadata, &mut random), &|bytes| {
                if let Ok((record, version)) = MetadataRecord::decode(bytes) {
                    record
                        .encode(&mut Writer::new(), version)
                        .expect("what was read is written");
                }
            });
            let keyed = [&key.to_be_bytes(), &body[..]].concat();
            check(info.name, mutate(&keyed, &mut random), &|bytes| {
                let _ = ConsumerOffsetsKey::decode(bytes.clone());
                let _ = TransactionStateKey::decode(bytes.clone());
                let _ = ShareGroupStateKey::decode(bytes);
            });
            let versioned = [&version.to_be_bytes(), &body[..]].concat();
            check(info.name, mutate(&versioned, &mut random), &|bytes| {
                let _ = consumer_protocol::decode::<consumer_protocol::Subscription>(bytes.clone());
                let _ = consumer_protocol::decode::<consumer_protocol::Assignment>(bytes);
            });
            check(info.name, mutate(&versioned, &mut random), &|bytes| {
                let control_key = Bytes::from(vec![0, 0, 0, (seed % 8) as u8]);
                let _ = ControlRecord::decode(&control_key, &bytes);
            });
        }
    }
}

fn batches() -> usize {
    let mut decoded = 0;
    for compression in Compression::ALL {
        let mut random = Random::of("batches", compression as i16, 0);
        for seed in 0..1500 {
            let mut builder = BatchBuilder::new(5).compression(compression, None);
            for _ in 0..1 + random.below(20) {
                let (key, value) = (random.bytes(10), random.bytes(60));
                builder.push(
                    1000,
                    Some(&key),
                    Some(&value),
                    &[(b"k", Some(b"v")), (b"", None)],
                );
            }
            let bad = Bytes::from(mutate(&builder.build().expect("it is built"), &mut random));
            let (found, taken) = allocated(|| {
                let mut found = 0;
                for batch in Batches::new(bad.clone()) {
                    let Ok((header, batch)) = batch else { break };
                    let Ok(all) = records(&batch, RECORDS_BYTES_MAX) else {
                        continue;
                    };
                    found += all.filter(|record| record.is_ok()).count();
                    let outlined = outlines(&batch, RECORDS_BYTES_MAX).expect("its header is good");
                    assert!(outlined.count() <= 1 + header.records_count.max(0) as usize);
                }
                found
            });
            decoded += found;
            assert!(
                taken <= RECORDS_CONSTANT,
                "{} seed {seed}: {taken} bytes\n{}",
                compression.name(),
                hex(&bad)
            );
        }
    }
    decoded
}

fn compressed() {
    for compression in Compression::ALL {
        let mut random = Random::of("compressed", compression as i16, 0);
        for seed in 0..1500 {
            let plain = random.text(2000).into_bytes();
            let mut good = Vec::new();
            compress(compression, None, &plain, &mut good).expect("it compresses");
            let bad = mutate(&good, &mut random);
            let (result, taken) = allocated(|| decompress(compression, &bad, RECORDS_BYTES_MAX));
            if let Ok(output) = result {
                assert!(output.len() <= RECORDS_BYTES_MAX);
            }
            assert!(
                taken <= RECORDS_CONSTANT,
                "{} seed {seed}: {taken} bytes\n{}",
                compression.name(),
                hex(&bad)
            );
        }
    }
}

/// A batch that unpacks to far more than it is: checked without ever holding that much.
fn bombs() {
    const VALUE_BYTES: usize = 40 << 20;
    // A block of the format, the step, and what the library needs for its tables.
    const HELD_BYTES_MAX: usize = 1 << 20;
    for compression in Compression::ALL {
        let mut builder = BatchBuilder::new(0).compression(compression, None);
        builder.push(1, None, Some(b"small"), &[]);
        builder.push(1, None, Some(&vec![0; VALUE_BYTES]), &[]);
        let batch = builder.build().expect("it is built");
        let ((), taken) = allocated(|| {
            let mut outlines = outlines(&batch, VALUE_BYTES + 100).expect("a good header");
            let values = outlines.by_ref().map(|outline| {
                let outline = outline.unwrap_or_else(|error| panic!("{compression:?}: {error}"));
                outline.value_bytes
            });
            assert!(values.eq([Some(5), Some(VALUE_BYTES)]), "{compression:?}");
            assert!(outlines.decompressed_bytes() > VALUE_BYTES);
        });
        assert!(taken <= HELD_BYTES_MAX, "{compression:?}: {taken} bytes");
    }
}

#[test]
fn hostile_bytes_neither_panic_nor_take_memory() {
    let messages = messages();
    framed();
    let records = batches();
    compressed();
    bombs();
    println!("{messages} mutated messages and {records} mutated records still decoded");
    assert!(
        messages > 1000 && records > 1000,
        "the mutations leave something to decode"
    );
}
