//! What the log's tests share: small options, batches that can be told apart, short calls.
#![allow(dead_code, clippy::result_large_err)]

pub mod planning;

use odradek_wal::simulation::{Driver, SimulatedDisk};
use odradek_wal::*;

/// 128 KiB segments, small caches.
pub fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 128 << 10,
        directory_bytes_max: 128 * (128 << 10),
        seed: 11,
        write_bytes_max: 32 << 10,
        pending_bytes_max: 128 << 10,
        tail_cache_bytes: 64 << 10,
        frame_cache_bytes: 64 << 10,
        index_cache_bytes: 64 << 10,
        read_ahead_bytes_min: 8 << 10,
        read_ahead_bytes_max: 32 << 10,
        checkpoint_interval_bytes: 256 << 10,
        // A batch of 2,000 bytes in a write of its own is half padding, which a rewrite would squeeze out.
        rewrite_dead_percent_min: 60,
        ..LogOptions::default()
    }
}

/// A payload that says whose it is: `replica:base:` and filling.
pub fn payload(replica: ReplicaId, base: i64, bytes: usize) -> Vec<u8> {
    let mut payload = format!("{replica}:{base}:").into_bytes();
    let filling = (replica.0 as u8).wrapping_mul(31).wrapping_add(base as u8);
    payload.resize(bytes.max(payload.len()), filling);
    payload
}

pub fn meta(replica: ReplicaId, base: i64, records: i64, epoch: i32, timestamp: i64) -> FrameMeta {
    FrameMeta {
        replica,
        base_offset: Offset(base),
        last_offset: Offset(base + records - 1),
        leader_epoch: LeaderEpoch(epoch),
        max_timestamp: timestamp,
        producer_id: 7,
        producer_epoch: 0,
        base_sequence: base as i32,
        flags: 0,
    }
}

pub fn create(driver: &mut Driver, partition: i32) -> ReplicaId {
    let create = CreateReplica {
        topic_id: TopicId([3; 16]),
        partition,
        metadata_offset: i64::from(partition),
    };
    driver
        .call(|log, now, out| log.create_replica(now, create, out))
        .expect("room for a replica")
}

/// Appends at the log end; the base offset and the LSN to wait for.
pub fn append(
    driver: &mut Driver,
    replica: ReplicaId,
    records: i64,
    bytes: usize,
) -> Result<(i64, Lsn), AppendRefusal> {
    append_at(driver, replica, records, bytes, 0, 1_000)
}

pub fn append_at(
    driver: &mut Driver,
    replica: ReplicaId,
    records: i64,
    bytes: usize,
    epoch: i32,
    timestamp: i64,
) -> Result<(i64, Lsn), AppendRefusal> {
    let base = driver
        .log
        .replica(replica)
        .ok_or(AppendRefusal::UnknownReplica)?
        .log_end
        .0;
    let bytes = payload(replica, base, bytes);
    let meta = meta(replica, base, records, epoch, timestamp);
    let (head, body) = bytes.split_at(bytes.len().min(21));
    let lsn = driver.call(|log, now, out| log.append(now, &meta, head, body, None, out))?;
    Ok((base, lsn))
}

/// Reads through, waiting for the disk.
pub fn read(
    driver: &mut Driver,
    replica: ReplicaId,
    from: i64,
    bytes_max: usize,
) -> Result<ReadData, ReadAnswer> {
    let bound = Offset(i64::MAX);
    let answer = driver.call(|log, now, out| {
        log.read(now, replica, Offset(from), bound, bytes_max, true, 99, out)
    });
    wait(driver, answer)
}

pub fn wait(driver: &mut Driver, answer: ReadAnswer) -> Result<ReadData, ReadAnswer> {
    match answer {
        ReadAnswer::Ready(data) => Ok(data),
        ReadAnswer::Pending => {
            driver.settle();
            let at = driver
                .outputs
                .iter()
                .position(|output| matches!(output, Output::ReadDone { ticket: 99, .. }));
            let Output::ReadDone { result, .. } = driver
                .outputs
                .remove(at.expect("a pending read is answered"))
            else {
                unreachable!("found above")
            };
            result.map_err(|refusal| match refusal {
                ReadRefusal::Empty => ReadAnswer::Empty,
                ReadRefusal::BelowLogStart => ReadAnswer::BelowLogStart,
                ReadRefusal::AboveEnd => ReadAnswer::AboveEnd,
                ReadRefusal::Damaged { first, last } => ReadAnswer::Damaged { first, last },
                ReadRefusal::UnknownReplica => ReadAnswer::UnknownReplica,
                ReadRefusal::Offline => ReadAnswer::Offline,
            })
        }
        other => Err(other),
    }
}

/// Every payload from `from` on.
pub fn read_all(driver: &mut Driver, replica: ReplicaId, from: i64) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut next = from;
    loop {
        match read(driver, replica, next, 10_000) {
            Ok(data) => {
                next = data.next_offset.0;
                all.extend(data.slices.iter().map(|slice| slice.to_vec()));
            }
            Err(ReadAnswer::Empty) => return all,
            Err(other) => panic!("reading {replica} at {next}: {other:?}"),
        }
    }
}

pub fn checkpoint(driver: &mut Driver) {
    driver.call(|log, now, out| log.begin_checkpoint(now, Vec::new(), out));
    driver.settle();
}

/// Kills the process and recovers.
pub fn restart(driver: Driver) -> (Driver, RecoveryReport) {
    let (mut options, now) = (driver.log.options().clone(), driver.now);
    options.seed = options.seed.wrapping_mul(31).wrapping_add(7);
    Driver::open(driver.crash(), options, now, &mut IgnoreAll)
        .map_err(|(_, error)| error)
        .expect("the log recovers")
}

pub fn durable_lsn(outputs: &[Output]) -> Option<Lsn> {
    outputs.iter().rev().find_map(|output| match output {
        Output::DurableTo { lsn } => Some(*lsn),
        _ => None,
    })
}

/// Reopens after the test changed the disk.
pub fn reopen(disk: SimulatedDisk, now: Now) -> (Driver, RecoveryReport) {
    let options = LogOptions {
        seed: 4_711,
        ..options()
    };
    Driver::open(disk, options, now, &mut IgnoreAll)
        .map_err(|(_, error)| error)
        .expect("the log recovers")
}

/// Where `needle` lies in a segment file.
pub fn find(disk: &SimulatedDisk, needle: &[u8]) -> (FileName, u64) {
    for file in disk.file_names() {
        if let FileName::Segment(_) = file
            && let Some(at) = disk
                .bytes(file)
                .unwrap()
                .windows(needle.len())
                .position(|window| window == needle)
        {
            return (file, at as u64);
        }
    }
    panic!("the payload is on no segment");
}

pub fn damaged_outputs(driver: &mut Driver) -> Vec<(Option<ReplicaId>, Offset, Offset)> {
    let outputs = driver.take_outputs();
    let damaged = outputs.into_iter().filter_map(|output| match output {
        Output::Damaged {
            replica,
            first,
            last,
            ..
        } => Some((replica, first, last)),
        _ => None,
    });
    damaged.collect()
}
