//! Readers of a cold history: stretches that many want are not read for each of them, what comes next is there before it is asked for, damage stays one frame
//! wide, and memory keeps its bound. `cases.rs` has single cold reads; the driver is in `common`.

mod common;

use common::*;
use odradek_wal::simulation::Driver;
use odradek_wal::{Event, Io, IoClass, LogOptions, Offset, Output, ReadAnswer, ReplicaId};

const PARTITIONS: i32 = 16;
const ROUNDS: i64 = 400;
const FRAME_BYTES: usize = 3_000;

/// Histories of 16 partitions, written in turn, and read by nobody since the start.
fn interleaved() -> (Driver, Vec<ReplicaId>) {
    let options = LogOptions {
        directory_bytes_max: 128 << 20,
        frame_cache_bytes: 4 << 20,
        read_ahead_bytes_min: 16 << 10,
        read_ahead_bytes_max: 64 << 10,
        ..options()
    };
    let mut driver = Driver::new(21, options);
    let replicas: Vec<_> = (0..PARTITIONS)
        .map(|partition| create(&mut driver, partition))
        .collect();
    for _ in 0..ROUNDS {
        for (index, replica) in replicas.iter().enumerate() {
            append(&mut driver, *replica, 1, FRAME_BYTES).unwrap();
            if index % 4 == 3 {
                driver.settle();
            }
        }
    }
    driver.quiesce();
    checkpoint(&mut driver);
    let (mut driver, _) = restart(driver);
    driver.quiesce();
    driver.take_outputs();
    (driver, replicas)
}

/// Runs until nothing is left, and counts the bytes of segments that were asked for.
fn settle_counting(driver: &mut Driver) -> usize {
    let mut bytes = 0;
    let mut seen = std::collections::BTreeSet::new();
    loop {
        for io in &driver.waiting {
            if let Io::Read { id, length, .. } = io
                && seen.insert(id.0)
            {
                bytes += length;
            }
        }
        if !driver.run_one() {
            return bytes;
        }
    }
}

#[test]
fn sixteen_readers_of_one_log_do_not_each_read_all_of_it() {
    let (mut driver, replicas) = interleaved();
    let mut next = vec![0_i64; replicas.len()];
    let mut read_bytes = 0;
    while next.iter().any(|next| *next < ROUNDS) {
        for (index, replica) in replicas.iter().enumerate() {
            if next[index] == ROUNDS {
                continue;
            }
            let (from, bound) = (Offset(next[index]), Offset(ROUNDS));
            let answer = driver
                .call(|log, now, out| log.read(now, *replica, from, bound, 40_000, true, 99, out));
            read_bytes += settle_counting(&mut driver);
            let data = match answer {
                ReadAnswer::Ready(data) => data,
                ReadAnswer::Pending => finished(&mut driver),
                other => panic!("{replica} at {from}: {other:?}"),
            };
            for (slice, offset) in data.slices.iter().zip(next[index]..) {
                assert_eq!(*slice, payload(*replica, offset, FRAME_BYTES));
            }
            assert_eq!(data.next_offset.0, next[index] + data.slices.len() as i64);
            next[index] = data.next_offset.0;
            let statistics = driver.log.statistics();
            assert!(statistics.frame_cache_bytes <= 4 << 20);
        }
    }
    let written = PARTITIONS as usize * ROUNDS as usize * FRAME_BYTES;
    assert!(
        read_bytes < written * 2,
        "{read_bytes} bytes read of {written} written"
    );
}

fn finished(driver: &mut Driver) -> odradek_wal::ReadData {
    let mut found = None;
    for output in driver.take_outputs() {
        if let Output::ReadDone { ticket: 99, result } = output {
            found = Some(result.expect("nothing is damaged"));
        }
    }
    found.expect("a pending read is answered")
}

#[test]
fn a_reader_that_goes_on_finds_the_next_in_memory() {
    let (mut driver, replicas) = interleaved();
    let mut next = 0;
    let mut waited = 0;
    let mut reads = 0;
    while next < ROUNDS {
        let answer = driver.call(|log, now, out| {
            let (from, bound) = (Offset(next), Offset(ROUNDS));
            log.read(now, replicas[3], from, bound, 10_000, true, 99, out)
        });
        waited += u32::from(answer == ReadAnswer::Pending);
        reads += 1;
        next = wait(&mut driver, answer).unwrap().next_offset.0;
        // What was to be read ahead is there before the reader comes again.
        driver.settle();
    }
    assert!(reads > 100 && waited * 5 < reads, "{waited} of {reads}");
}

#[test]
fn a_reader_that_went_away_leaves_nothing_waiting() {
    let (mut driver, replicas) = interleaved();
    for from in [0, 3, 6] {
        let answer = driver.call(|log, now, out| {
            let (from, bound) = (Offset(from), Offset(ROUNDS));
            log.read(now, replicas[5], from, bound, 10_000, true, 99, out)
        });
        wait(&mut driver, answer).unwrap();
    }
    driver.settle();
    let statistics = driver.log.statistics();
    assert_eq!(statistics.reads_waiting, 0);
    assert_eq!(statistics.reads_outstanding, 0);
    let now = driver.now;
    let mut outputs = Vec::new();
    driver.log.step(now, Event::Tick, &mut outputs);
    assert!(
        !outputs
            .iter()
            .any(|output| matches!(output, Output::Io(Io::Read { .. })))
    );
}

/// The reads for clients that are with the disk.
fn reads_for_clients(driver: &Driver) -> usize {
    let reads = driver.waiting.iter();
    reads
        .filter(|io| matches!(io, Io::Read { class, .. } if *class == IoClass::ClientRead))
        .count()
}

#[test]
fn beside_a_write_each_read_is_followed_by_a_rest() {
    let (mut driver, replicas) = interleaved();
    append(&mut driver, replicas[0], 1, 100).unwrap();
    let write = driver.waiting.pop_front().unwrap();
    assert!(matches!(write, Io::Write { durable: true, .. }));
    let answer = driver.call(|log, now, out| {
        let bound = Offset(ROUNDS);
        log.read(now, replicas[3], Offset(0), bound, 900_000, true, 99, out)
    });
    assert_eq!(answer, ReadAnswer::Pending);
    let mut rests = 0;
    while !driver
        .outputs
        .iter()
        .any(|output| matches!(output, Output::ReadDone { ticket: 99, .. }))
    {
        assert!(reads_for_clients(&driver) > 0, "a read stands still");
        driver.now.monotonic_us += 200;
        driver.run_one();
        let Some(due_us) = driver.log.reads_due_us() else {
            continue;
        };
        assert!(due_us > driver.now.monotonic_us + 200, "as long as it took");
        assert_eq!(reads_for_clients(&driver), 0);
        driver.now.monotonic_us = due_us - 1;
        driver.tick(0);
        assert_eq!(reads_for_clients(&driver), 0, "it rests still");
        driver.now.monotonic_us = due_us;
        driver.tick(0);
        rests += 1;
    }
    assert!(rests > 0, "the page of an index comes before the frames");
    // The write ends, and a while later nothing is in the way any more.
    let result = driver.disk.run(&write);
    driver.done(write.id(), result);
    driver.settle();
    driver.now.monotonic_us += 30_000;
    driver.tick(0);
    let answer = driver.call(|log, now, out| {
        let bound = Offset(ROUNDS);
        log.read(now, replicas[9], Offset(200), bound, 500_000, true, 99, out)
    });
    assert_eq!(answer, ReadAnswer::Pending);
    while reads_for_clients(&driver) > 0 {
        driver.now.monotonic_us += 200;
        driver.run_one();
        assert_eq!(driver.log.reads_due_us(), None);
    }
}
