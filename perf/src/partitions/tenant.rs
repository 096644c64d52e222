//! Somebody with 100 partitions and a little traffic: how long their produces take while others are made. An open loop, with
//! each latency counted from the moment when the request was due.

use super::population::{Draw, Population};
use crate::PerfError;
use crate::client::Client;
use crate::report::Latency;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// The tenant's partitions, in one topic.
const PARTITIONS: usize = 100;

/// Latencies of one phase.
#[derive(Clone, Debug, Serialize)]
pub struct TenantPhase {
    /// Requests answered.
    pub requests: u64,
    /// From the intended moment to the answer.
    pub latency: Latency,
}

/// Both phases.
#[derive(Clone, Debug, Serialize)]
pub struct TenantReport {
    /// Requests each second.
    pub rate: u32,
    /// While nobody else did anything.
    pub quiet: TenantPhase,
    /// While the other partitions were made.
    pub during_create: TenantPhase,
}

/// What the tenant is told to do.
pub struct Tenant {
    phase: AtomicU8,
}

const QUIET: u8 = 0;
const CREATING: u8 = 1;
const DONE: u8 = 2;

impl Tenant {
    /// One that begins in the quiet phase.
    pub fn new() -> Self {
        Tenant {
            phase: AtomicU8::new(QUIET),
        }
    }

    /// From now on others are made.
    pub fn creating(&self) {
        self.phase.store(CREATING, Ordering::Release);
    }

    /// The end.
    pub fn done(&self) {
        self.phase.store(DONE, Ordering::Release);
    }

    /// Produces at `rate` until told that it is done.
    ///
    /// # Errors
    /// When the connection breaks, or the server refuses a request or gives a wrong offset.
    pub fn run(
        &self,
        address: &str,
        rate: u32,
        batch_bytes: usize,
    ) -> Result<TenantReport, PerfError> {
        let mut client = Client::connect(address)?;
        let mut population = Population::new("tenant", PARTITIONS, PARTITIONS, batch_bytes);
        population.create_some(&mut client)?;
        for partition in 0..PARTITIONS {
            population.produce(&mut client, &[partition])?;
        }
        let empty =
            || Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("sound bounds");
        let mut latencies_ns = [empty(), empty()];
        let mut draw = Draw::new(7);
        let gap = Duration::from_secs(1) / rate.max(1);
        let mut due = Instant::now();
        loop {
            due += gap;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let phase = self.phase.load(Ordering::Acquire);
            if phase == DONE {
                break;
            }
            let partition = population.draw(&mut draw);
            population.produce(&mut client, &[partition])?;
            latencies_ns[usize::from(phase)].saturating_record(due.elapsed().as_nanos() as u64);
        }
        if let Some(problem) = population.first_problem {
            return Err(PerfError::Protocol(format!("the tenant: {problem}")));
        }
        let phase = |at: usize| TenantPhase {
            requests: latencies_ns[at].len(),
            latency: Latency::of(&latencies_ns[at]),
        };
        Ok(TenantReport {
            rate,
            quiet: phase(0),
            during_create: phase(1),
        })
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self::new()
    }
}
