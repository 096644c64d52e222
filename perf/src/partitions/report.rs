//! What a run of `partitions` found, for people and as JSON, and the bars it is held against.

use super::server::Footprint;
use super::tenant::TenantReport;
use crate::report::Latency;
use serde::Serialize;
use std::fmt;

/// One run. A step that was not reached is missing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PartitionsReport {
    /// Partitions made.
    pub partitions: usize,
    /// Partitions of a topic.
    pub topic_partitions: usize,
    /// Partitions that got a batch before each stop.
    pub written: usize,
    /// Bytes of a batch, about.
    pub batch_bytes: usize,
    /// Processor, cores and memory.
    pub machine: String,
    /// The kernel's release.
    pub kernel: String,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// The small tenant's latencies.
    pub tenant: Option<TenantReport>,
    /// Metadata of one topic, from the request's first byte to the answer's last.
    pub metadata_one: Option<Latency>,
    /// Metadata of all topics.
    pub metadata_all: Option<MetadataAll>,
    /// What was not as it must be.
    pub problems: u64,
    /// The first such thing.
    pub first_problem: Option<String>,
    /// The bars of this number of partitions, where there are some.
    pub bars: Vec<Bar>,
    /// Stopped before its end, by Ctrl-C.
    pub interrupted: bool,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Which: `empty`, `create`, `write`, `shutdown`, `clean_start`, `kill`, `killed_start`, `verify_...`, `delete`.
    pub name: &'static str,
    /// How long it took: of a start, until the listener answered; seconds.
    pub seconds: f64,
    /// Of a start: from the process's making to the acknowledged produce to partitions all over, the last made included.
    pub first_produce_seconds: Option<f64>,
    /// Of a start: the same to the first fetch of the same partitions.
    pub first_fetch_seconds: Option<f64>,
    /// What the server took afterwards, left alone.
    pub footprint: Option<Footprint>,
}

/// The metadata of all topics in one answer.
#[derive(Clone, Debug, Serialize)]
pub struct MetadataAll {
    /// Bytes of the answer.
    pub bytes: usize,
    /// Until its last byte, seconds.
    pub seconds: f64,
    /// By how much resident memory rose above what it was before, at most, bytes.
    pub resident_rise_bytes: u64,
}

/// A limit and what was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Bar {
    /// Of what.
    pub name: &'static str,
    /// What was measured.
    pub measured: f64,
    /// The most it may be.
    pub limit: f64,
    /// `s` or `MiB` or a ratio.
    pub unit: &'static str,
    /// Whether it is.
    pub held: bool,
}

/// Limits of one node by its number of partitions: create, shutdown, clean start, start after a kill (seconds), memory (MiB).
const BARS: [(usize, [f64; 5]); 4] = [
    (10_000, [1.0, 0.3, 0.5, 0.5, 16.0]),
    (100_000, [5.0, 0.3, 0.6, 0.8, 64.0]),
    (1_000_000, [30.0, 0.6, 1.5, 1.5, 512.0]),
    (2_000_000, [60.0, 1.0, 3.0, 3.0, 1024.0]),
];

const MIB: f64 = (1 << 20) as f64;

impl PartitionsReport {
    fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// Holds what was measured against the bars of this number of partitions.
    pub fn judge(&mut self) {
        let mut bars = Vec::new();
        let mut bar = |name, measured: Option<f64>, limit, unit| {
            bars.extend(measured.map(|measured| Bar {
                name,
                measured,
                limit,
                unit,
                held: measured <= limit,
            }));
        };
        if let Some((_, limits)) = BARS.iter().find(|(count, _)| *count == self.partitions) {
            let seconds = |name| self.step(name).map(|step| step.seconds);
            let produce = |name| self.step(name).and_then(|step| step.first_produce_seconds);
            let resident = |name| {
                let of = |name| self.step(name)?.footprint.map(|print| print.resident_bytes);
                Some((of(name)? as f64 - of("empty")? as f64) / MIB)
            };
            bar("create", seconds("create"), limits[0], "s");
            bar("controlled shutdown", seconds("shutdown"), limits[1], "s");
            let clean = produce("clean_start");
            bar("clean start to first produce", clean, limits[2], "s");
            let killed = produce("killed_start");
            bar("start after kill -9", killed, limits[3], "s");
            let created = resident("create");
            bar("memory after create", created, limits[4], "MiB");
            let started = resident("clean_start");
            bar("memory after clean start", started, limits[4], "MiB");
            let started = resident("killed_start");
            bar("memory after kill and start", started, limits[4], "MiB");
            bar("deletion of half", seconds("delete"), 10.0, "s");
            let one = self.metadata_one.as_ref().map(|one| one.p50_us / 1e3);
            bar("metadata of one topic, p50", one, 1.0, "ms");
            let tenant = self.tenant.as_ref().filter(|tenant| {
                // Of fewer requests than this a p99 says nothing.
                tenant.during_create.requests >= 500
            });
            let times = tenant.map(|tenant| {
                tenant.during_create.latency.p99_us / tenant.quiet.latency.p99_us.max(1.0)
            });
            bar("tenant's p99 while creating / quiet", times, 3.0, "times");
        }
        self.bars = bars;
    }
}

impl fmt::Display for PartitionsReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = if self.interrupted {
            " (interrupted)"
        } else {
            ""
        };
        writeln!(
            to,
            "{} partitions in topics of {}, {} written with {} bytes each before a stop{cut}\n\
             step                seconds  1st produce  1st fetch  resident MiB   peak  files  threads  disk MiB  idle %",
            self.partitions, self.topic_partitions, self.written, self.batch_bytes
        )?;
        let seconds = |time: Option<f64>| time.map_or("-".into(), |time| format!("{time:.3}"));
        for step in &self.steps {
            write!(
                to,
                "{:<18} {:>8.3} {:>12} {:>10}",
                step.name,
                step.seconds,
                seconds(step.first_produce_seconds),
                seconds(step.first_fetch_seconds),
            )?;
            if let Some(print) = &step.footprint {
                write!(
                    to,
                    " {:>13.1} {:>6.0} {:>6} {:>8} {:>9} {:>7.2}",
                    print.resident_bytes as f64 / MIB,
                    print.resident_peak_bytes as f64 / MIB,
                    print.open_files,
                    print.threads,
                    print.disk_bytes >> 20,
                    print.idle_cpu_share * 100.0,
                )?;
            }
            writeln!(to)?;
        }
        self.write_questions(to)?;
        for bar in &self.bars {
            writeln!(
                to,
                "{:<6} {:<36} {:>9.3} {} (at most {})",
                if bar.held { "held" } else { "MISSED" },
                bar.name,
                bar.measured,
                bar.unit,
                bar.limit
            )?;
        }
        match &self.first_problem {
            None => write!(
                to,
                "checked     every offset and every batch was what it must be"
            ),
            Some(first) => write!(to, "WRONG       {} times, first: {first}", self.problems),
        }
    }
}

impl PartitionsReport {
    fn write_questions(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(one) = &self.metadata_one {
            writeln!(
                to,
                "metadata    of one topic: p50 {:.0} us, p99 {:.0} us",
                one.p50_us, one.p99_us
            )?;
        }
        if let Some(all) = &self.metadata_all {
            writeln!(
                to,
                "metadata    of all: {:.1} MB in {:.3} s, memory rose by {:.1} MiB",
                all.bytes as f64 / 1e6,
                all.seconds,
                all.resident_rise_bytes as f64 / MIB
            )?;
        }
        let Some(tenant) = &self.tenant else {
            return Ok(());
        };
        for (name, phase) in [
            ("quiet", &tenant.quiet),
            ("while others are created", &tenant.during_create),
        ] {
            writeln!(
                to,
                "tenant      {name}: {} requests at {}/s, p50 {:.0} us, p99 {:.0} us, max {:.1} ms",
                phase.requests,
                tenant.rate,
                phase.latency.p50_us,
                phase.latency.p99_us,
                phase.latency.max_us / 1e3
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &'static str, seconds: f64, resident_mib: u64) -> Step {
        Step {
            name,
            seconds,
            first_produce_seconds: Some(seconds),
            first_fetch_seconds: Some(seconds),
            footprint: Some(Footprint {
                resident_bytes: resident_mib << 20,
                ..Footprint::default()
            }),
        }
    }

    #[test]
    fn bars_are_those_of_the_number_of_partitions_and_of_what_was_reached() {
        let mut report = PartitionsReport {
            partitions: 10_000,
            steps: vec![
                step("empty", 0.1, 30),
                step("create", 0.9, 47),
                step("shutdown", 0.2, 0),
            ],
            ..PartitionsReport::default()
        };
        report.judge();
        let judged: Vec<(&str, bool)> =
            report.bars.iter().map(|bar| (bar.name, bar.held)).collect();
        assert_eq!(
            judged,
            [
                ("create", true),
                ("controlled shutdown", true),
                ("memory after create", false)
            ]
        );
        report.partitions = 10_001;
        report.judge();
        assert!(report.bars.is_empty());
    }
}
