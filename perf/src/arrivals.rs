//! The consumers of an end-to-end run: they fetch what the load writes, and tell from the time in each batch how long it took
//! to arrive. `load` starts them, `patch` wrote the times.

use crate::PerfError;
use crate::client::{Client, Topic, refuse};
use crate::driver::{Shared, latency_histogram};
use crate::fetching::{FetchLimits, Fetcher};
use crate::frames::PartitionRing;
use hdrhistogram::Histogram;
use odradek_protocol::messages::fetch_response::PartitionData;
use odradek_protocol::records::Batches;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Kafka's timestamp for the end of a partition.
pub const LATEST: i64 = -1;

/// What has arrived.
#[derive(Debug)]
pub struct Arrivals {
    /// Batches, from the start on.
    pub batches: u64,
    /// Fetch requests, from the start on.
    pub fetches: u64,
    /// From when the request was due up to its batch's arrival, nanoseconds, of those due while measuring.
    pub latency_ns: Histogram<u64>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Arrivals {
            batches: 0,
            fetches: 0,
            latency_ns: latency_histogram(),
        }
    }
}

impl Arrivals {
    /// Adds what another consumer got.
    pub fn add(&mut self, other: &Arrivals) {
        self.batches += other.batches;
        self.fetches += other.fetches;
        let added = self.latency_ns.add(&other.latency_ns);
        added.expect("histograms of the same bounds");
    }
}

/// What the consumers and those who wait for them share.
#[derive(Debug, Default)]
pub struct Progress {
    /// Batches that arrived at any consumer.
    pub batches: AtomicU64,
    /// Nothing more will come that is waited for.
    pub over: AtomicBool,
    /// A consumer ended with an error.
    pub failed: AtomicBool,
}

/// One consumer, at the end of its partitions.
#[derive(Debug)]
pub struct Consumer {
    fetcher: Fetcher,
    stamp_at: usize,
    arrivals: Arrivals,
}

impl Consumer {
    /// The `index`th `of` so many, which share the topic's partitions out. `stamp_at` is where the time stands in each batch.
    ///
    /// # Errors
    /// When the server cannot be reached or does not tell where the partitions end.
    pub fn connect(topic: &Topic, index: u32, of: u32, stamp_at: usize) -> Result<Self, PerfError> {
        let partitions = topic.partitions as u32;
        let ring = PartitionRing::share(partitions, index, of);
        let limits = FetchLimits {
            max_wait_ms: 500,
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            session: true,
        };
        let named = Fetcher::partitions(ring, partitions);
        let ends = Client::connect(&topic.leader)?.offsets(topic, &named, LATEST)?;
        Ok(Consumer {
            fetcher: Fetcher::connect(topic, ring, ends, limits)?,
            stamp_at,
            arrivals: Arrivals::default(),
        })
    }

    /// Fetches until it is over.
    ///
    /// # Errors
    /// When the connection breaks, the server refuses, or a batch is none of the load's.
    pub fn run(mut self, shared: &Shared, progress: &Progress) -> Result<Arrivals, PerfError> {
        while !progress.over.load(Ordering::Acquire) {
            if let Err(error) = self.round(shared, progress) {
                progress.failed.store(true, Ordering::Release);
                return Err(error);
            }
        }
        Ok(self.arrivals)
    }

    fn round(&mut self, shared: &Shared, progress: &Progress) -> Result<(), PerfError> {
        let before = self.arrivals.batches;
        let (arrivals, stamp_at) = (&mut self.arrivals, self.stamp_at);
        self.fetcher.round(|fetcher, step, partition| {
            take(arrivals, stamp_at, fetcher, step, partition, shared)
        })?;
        self.arrivals.fetches += 1;
        let came = self.arrivals.batches - before;
        progress.batches.fetch_add(came, Ordering::Release);
        Ok(())
    }
}

fn take(
    arrivals: &mut Arrivals,
    stamp_at: usize,
    fetcher: &mut Fetcher,
    step: u32,
    partition: &PartitionData,
    shared: &Shared,
) -> Result<(), PerfError> {
    let index = partition.partition_index;
    let what = || format!("Fetch of partition {index}");
    refuse(&what(), partition.error_code, None)?;
    let now_ns = shared.now_ns();
    let since_ns = shared.measuring_since_ns.load(Ordering::Acquire);
    let until_ns = shared.draining_since_ns.load(Ordering::Acquire);
    let mut position = fetcher.position(step);
    for batch in Batches::new(partition.records.clone().unwrap_or_default()) {
        // The last batch may be cut: the next request begins with it.
        let Ok((header, bytes)) = batch else { break };
        let stamp = bytes.get(stamp_at..).and_then(|rest| rest.first_chunk());
        let stamp_ns = stamp.map_or(u64::MAX, |stamp| u64::from_be_bytes(*stamp));
        if stamp_ns > now_ns {
            return Err(PerfError::Protocol(format!(
                "{}: the batch at offset {} was not sent by this run; is another load writing the topic?",
                what(),
                header.base_offset
            )));
        }
        if (since_ns..until_ns).contains(&stamp_ns) {
            let waited = now_ns.saturating_sub(stamp_ns);
            arrivals.latency_ns.saturating_record(waited);
        }
        arrivals.batches += 1;
        position = header.next_offset();
    }
    if position != fetcher.position(step) {
        fetcher.seek(step, position);
    }
    Ok(())
}
