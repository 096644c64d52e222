//! Counters, gauges and latency histograms: written without locks by whoever owns them, summed when somebody asks.
//!
//! Each core registers cells of its own under the same name and labels; a scrape (`http.rs`, on the background thread) adds them up and writes
//! Prometheus text. Registration locks and belongs to the start; updating a cell is one relaxed store of a value that one thread writes.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// Counts up. Clones share the cell.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds; any thread may.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// The count of this cell alone.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the count, for those kept elsewhere (a log's statistics).
    pub fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }
}

/// Goes up and down. Clones share the cell.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Adds, or takes away.
    pub fn add(&self, by: i64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Replaces the value.
    pub fn set(&self, to: i64) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// The value of this cell alone.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Steps of a histogram within one power of two.
const STEPS: usize = 4;
/// Powers of two covered: up to 2^32 µs, over an hour.
const POWERS: usize = 32;
const CELLS: usize = STEPS * (POWERS - 1) + 1;

/// A histogram of microseconds in steps of a quarter of a power of two: quantiles are off by at most a fifth. Clones share the cells.
#[derive(Clone)]
pub struct Histogram(Arc<HistogramCells>);

struct HistogramCells {
    counts: [AtomicU64; CELLS],
    sum_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self(Arc::new(HistogramCells {
            counts: [const { AtomicU64::new(0) }; CELLS],
            sum_us: AtomicU64::new(0),
        }))
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Histogram")
    }
}

fn cell_of(value_us: u64) -> usize {
    if value_us < STEPS as u64 {
        return value_us as usize;
    }
    let power = value_us.ilog2() as usize;
    let step = (value_us >> (power - 2)) as usize & (STEPS - 1);
    (STEPS * (power - 1) + step).min(CELLS - 1)
}

/// The largest value that a cell counts.
fn upper_bound_us(cell: usize) -> u64 {
    if cell < STEPS {
        return cell as u64;
    }
    let (power, step) = (cell / STEPS + 1, cell % STEPS);
    ((STEPS + step + 1) as u64) << (power - 2)
}

impl Histogram {
    /// Counts one value.
    pub fn record_us(&self, value_us: u64) {
        self.0.counts[cell_of(value_us)].fetch_add(1, Ordering::Relaxed);
        self.0.sum_us.fetch_add(value_us, Ordering::Relaxed);
    }
}

/// Labels of one cell, in the order they are to be written.
pub type Labels = Vec<(&'static str, String)>;

#[derive(Clone, Debug)]
enum Cells {
    Counter(Vec<(Labels, Counter)>),
    /// Counted in microseconds, shown in seconds.
    CounterOfTime(Vec<(Labels, Counter)>),
    Gauge(Vec<(Labels, Gauge)>),
    /// Kept in microseconds, shown in seconds.
    GaugeOfTime(Vec<(Labels, Gauge)>),
    Histogram(Vec<(Labels, Histogram)>),
}

#[derive(Clone, Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    cells: Cells,
}

/// All metrics of the process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<Vec<Family>>>);

impl Registry {
    fn with_family<T>(
        &self,
        name: &'static str,
        help: &'static str,
        empty: Cells,
        add: impl FnOnce(&mut Cells) -> T,
    ) -> T {
        let mut families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match families.iter().position(|family| family.name == name) {
            Some(index) => index,
            None => {
                families.push(Family {
                    name,
                    help,
                    cells: empty,
                });
                families.len() - 1
            }
        };
        add(&mut families[index].cells)
    }

    /// A new cell of a counter; cells of the same name and labels are added up. The text ends the name in `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: Labels) -> Counter {
        self.with_family(name, help, Cells::Counter(Vec::new()), |cells| {
            let cell = Counter::default();
            match cells {
                Cells::Counter(cells) => cells.push((labels, cell.clone())),
                _ => panic!("{name} is no counter"),
            }
            cell
        })
    }

    /// A new cell of a gauge; cells of the same name and labels are added up.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: Labels) -> Gauge {
        self.with_family(name, help, Cells::Gauge(Vec::new()), |cells| {
            let cell = Gauge::default();
            match cells {
                Cells::Gauge(cells) => cells.push((labels, cell.clone())),
                _ => panic!("{name} is no gauge"),
            }
            cell
        })
    }

    /// A new cell of a counter of time: counted in microseconds, shown in seconds, so name it `..._seconds`.
    pub fn counter_of_time(
        &self,
        name: &'static str,
        help: &'static str,
        labels: Labels,
    ) -> Counter {
        self.with_family(name, help, Cells::CounterOfTime(Vec::new()), |cells| {
            let cell = Counter::default();
            match cells {
                Cells::CounterOfTime(cells) => cells.push((labels, cell.clone())),
                _ => panic!("{name} is no counter of time"),
            }
            cell
        })
    }

    /// A new cell of a gauge of time: kept in microseconds, shown in seconds, so name it `..._seconds`.
    pub fn gauge_of_time(&self, name: &'static str, help: &'static str, labels: Labels) -> Gauge {
        self.with_family(name, help, Cells::GaugeOfTime(Vec::new()), |cells| {
            let cell = Gauge::default();
            match cells {
                Cells::GaugeOfTime(cells) => cells.push((labels, cell.clone())),
                _ => panic!("{name} is no gauge of time"),
            }
            cell
        })
    }

    /// A new cell of a histogram, recorded in microseconds and shown in seconds: name it `..._seconds`.
    pub fn histogram(&self, name: &'static str, help: &'static str, labels: Labels) -> Histogram {
        self.with_family(name, help, Cells::Histogram(Vec::new()), |cells| {
            let cell = Histogram::default();
            match cells {
                Cells::Histogram(cells) => cells.push((labels, cell.clone())),
                _ => panic!("{name} is no histogram"),
            }
            cell
        })
    }

    /// Everything as OpenMetrics text, which Prometheus reads.
    pub fn text(&self) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => text,
            Err(error) => format!("# writing the metrics failed: {error}\n"),
        }
    }
}

/// Adds up cells with the same labels, in the order of their first appearance.
fn merged<Cell, Sum: Default>(
    cells: &[(Labels, Cell)],
    add: impl Fn(&mut Sum, &Cell),
) -> Vec<(&Labels, Sum)> {
    let mut sums: Vec<(&Labels, Sum)> = Vec::new();
    let mut index = std::collections::HashMap::new();
    for (labels, cell) in cells {
        let at = *index.entry(labels).or_insert_with(|| {
            sums.push((labels, Sum::default()));
            sums.len() - 1
        });
        add(&mut sums[at].1, cell);
    }
    sums
}

#[derive(Default)]
struct HistogramSum {
    counts: Vec<u64>,
    sum_us: u64,
}

impl HistogramSum {
    fn add(&mut self, cell: &Histogram) {
        self.counts.resize(CELLS, 0);
        for (sum, count) in self.counts.iter_mut().zip(&cell.0.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        self.sum_us += cell.0.sum_us.load(Ordering::Relaxed);
    }

    /// One bucket per power of two, in seconds; finer ones would make every scrape long.
    fn buckets(&self) -> Vec<(f64, u64)> {
        let mut buckets = Vec::new();
        let mut count = 0;
        for (cell, cell_count) in self.counts.iter().enumerate() {
            count += cell_count;
            if cell % STEPS == STEPS - 1 && (4..=26 * STEPS).contains(&cell) {
                buckets.push((upper_bound_us(cell) as f64 / 1e6, count));
                count = 0;
            }
        }
        buckets.push((f64::MAX, count));
        buckets
    }
}

impl Collector for Registry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // A data loop that registers a cell meanwhile must not wait for the text.
        let families = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for family in &families {
            encode_family(&mut encoder, family)?;
        }
        Ok(())
    }
}

/// Writes one cell under its labels, without empty braces where it has none.
fn encode_cell(
    metric: &mut MetricEncoder<'_>,
    labels: &Labels,
    write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() {
        return write(metric);
    }
    write(&mut metric.encode_family(labels)?)
}

/// Exemplars have labels; we have none.
type NoLabels = [(&'static str, &'static str); 0];

fn encode_family(encoder: &mut DescriptorEncoder<'_>, family: &Family) -> fmt::Result {
    let kind = match family.cells {
        Cells::Counter(_) | Cells::CounterOfTime(_) => MetricType::Counter,
        Cells::Gauge(_) | Cells::GaugeOfTime(_) => MetricType::Gauge,
        Cells::Histogram(_) => MetricType::Histogram,
    };
    let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
    match &family.cells {
        Cells::Counter(cells) => {
            for (labels, sum) in merged(cells, |sum: &mut u64, cell| *sum += cell.get()) {
                encode_cell(&mut metric, labels, |cell| {
                    cell.encode_counter::<NoLabels, u64, u64>(&sum, None)
                })?;
            }
        }
        Cells::CounterOfTime(cells) => {
            for (labels, sum) in merged(cells, |sum: &mut u64, cell| *sum += cell.get()) {
                let seconds = sum as f64 / 1e6;
                encode_cell(&mut metric, labels, |cell| {
                    cell.encode_counter::<NoLabels, f64, u64>(&seconds, None)
                })?;
            }
        }
        Cells::GaugeOfTime(cells) => {
            for (labels, sum) in merged(cells, |sum: &mut i64, cell| *sum += cell.get()) {
                let seconds = sum as f64 / 1e6;
                encode_cell(&mut metric, labels, |cell| cell.encode_gauge(&seconds))?;
            }
        }
        Cells::Gauge(cells) => {
            for (labels, sum) in merged(cells, |sum: &mut i64, cell| *sum += cell.get()) {
                encode_cell(&mut metric, labels, |cell| cell.encode_gauge(&sum))?;
            }
        }
        Cells::Histogram(cells) => {
            for (labels, sum) in merged(cells, HistogramSum::add) {
                let count = sum.counts.iter().sum();
                let (seconds, buckets) = (sum.sum_us as f64 / 1e6, sum.buckets());
                encode_cell(&mut metric, labels, |cell| {
                    cell.encode_histogram::<NoLabels>(seconds, count, &buckets, None)
                })?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_cells_cover_every_value_in_order() {
        let mut last = 0;
        for value in (0..5000u64).chain((5..40).map(|power| (1 << power) - 1)) {
            let cell = cell_of(value);
            assert!(cell < CELLS && cell + CELLS > last);
            if cell < CELLS - 1 {
                assert!(
                    value < upper_bound_us(cell) || cell < STEPS,
                    "{value} in {cell}"
                );
            }
            last = cell;
        }
    }

    #[test]
    fn cells_of_two_cores_are_summed_by_labels() {
        let registry = Registry::default();
        let label = || vec![("api", "Produce".to_owned())];
        registry.counter("requests", "Requests", label()).add(3);
        registry.counter("requests", "Requests", label()).add(4);
        registry
            .counter("requests", "Requests", vec![("api", "Fetch".to_owned())])
            .add(1);
        let histogram = registry.histogram("wait_seconds", "Waiting", label());
        histogram.record_us(100);
        histogram.record_us(1_000_000);
        let text = registry.text();
        assert!(text.contains("requests_total{api=\"Produce\"} 7"), "{text}");
        assert!(text.contains("requests_total{api=\"Fetch\"} 1"), "{text}");
        assert!(
            text.contains("wait_seconds_count{api=\"Produce\"} 2"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"));
    }
}
