//! Reading a push: OpenTelemetry's `MetricsData` in protobuf, as far as clients use it. What is kept of it is in `clients.rs`.
//!
//! Messages within messages are taken as bytes and read one after the other, so that a hostile push of many empty ones costs
//! little more memory than it has bytes. Numbers, histograms' and summaries' counts and sums are kept, at most
//! [`POINTS_MAX`] of a push.

use bytes::Bytes;
use prost::{DecodeError, Message};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Points kept of one push; the others are counted.
pub const POINTS_MAX: usize = 2_000;
/// Bytes of names and attributes kept of one push.
pub const TEXT_BYTES_MAX: usize = 256 << 10;

/// Why a push was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtlpFault {
    /// It does not unpack, or to more than is allowed.
    Compression(String),
    /// It is no `MetricsData`.
    Malformed(String),
    /// The work on it ended without a result.
    Lost,
}

impl fmt::Display for OtlpFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compression(reason) => write!(formatter, "it does not unpack: {reason}"),
            Self::Malformed(reason) => {
                write!(formatter, "it is no OpenTelemetry metrics data: {reason}")
            }
            Self::Lost => formatter.write_str("the work on it was lost"),
        }
    }
}

impl From<DecodeError> for OtlpFault {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Labels of a resource or a point.
pub type Attributes = BTreeMap<String, String>;

/// One value that a client told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Name of the metric.
    pub name: String,
    /// Empty where the client names none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// `gauge`, `sum (delta)`, `sum`, `histogram` or `summary`.
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// Milliseconds since 1970 by the client's clock.
    pub time_ms: u64,
    /// The number; of histograms and summaries the sum.
    pub value: f64,
    /// Of histograms and summaries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// What is kept of a push.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// What the client says of itself.
    pub resource: Attributes,
    pub points: Vec<Point>,
    /// Points beyond the bounds.
    pub points_left_out: usize,
    /// Bytes of names and attributes in `resource` and `points`.
    pub text_bytes: usize,
}

#[derive(Clone, PartialEq, Message)]
struct MetricsData {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    resource_metrics: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMetrics {
    #[prost(bytes = "bytes", optional, tag = "1")]
    resource: Option<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    scope_metrics: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    attributes: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeMetrics {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    metrics: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(bytes = "bytes", optional, tag = "5")]
    gauge: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "7")]
    sum: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "9")]
    histogram: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "11")]
    summary: Option<Bytes>,
}

/// Gauge, sum, histogram and summary alike: points first, for sums how they add up.
#[derive(Clone, PartialEq, Message)]
struct DataPoints {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    points: Vec<Bytes>,
    #[prost(int32, tag = "2")]
    aggregation_temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
struct NumberPoint {
    #[prost(fixed64, tag = "3")]
    time_unix_ns: u64,
    #[prost(double, optional, tag = "4")]
    as_double: Option<f64>,
    #[prost(sfixed64, optional, tag = "6")]
    as_int: Option<i64>,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    attributes: Vec<Bytes>,
}

/// Histograms have their attributes at 9, summaries at 7; the rest that is kept stands at the same tags.
#[derive(Clone, PartialEq, Message)]
struct DistributionPoint {
    #[prost(fixed64, tag = "3")]
    time_unix_ns: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, tag = "5")]
    sum: f64,
}

#[derive(Clone, PartialEq, Message)]
struct HistogramAttributes {
    #[prost(bytes = "bytes", repeated, tag = "9")]
    attributes: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryAttributes {
    #[prost(bytes = "bytes", repeated, tag = "7")]
    attributes: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "bytes", optional, tag = "2")]
    value: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    string: Option<String>,
    #[prost(bool, optional, tag = "2")]
    boolean: Option<bool>,
    #[prost(int64, optional, tag = "3")]
    integer: Option<i64>,
    #[prost(double, optional, tag = "4")]
    double: Option<f64>,
}

/// Reads a push, unpacked.
///
/// # Errors
/// [`OtlpFault::Malformed`].
pub fn read(bytes: Bytes) -> Result<Metrics, OtlpFault> {
    let mut metrics = Metrics::default();
    for of_resource in MetricsData::decode(bytes)?.resource_metrics {
        let of_resource = ResourceMetrics::decode(of_resource)?;
        if let Some(resource) = of_resource.resource {
            let told = attributes(Resource::decode(resource)?.attributes)?;
            let text_bytes = text_bytes(&told);
            if metrics.text_bytes + text_bytes <= TEXT_BYTES_MAX {
                metrics.text_bytes += text_bytes;
                metrics.resource.extend(told);
            }
        }
        for of_scope in of_resource.scope_metrics {
            for metric in ScopeMetrics::decode(of_scope)?.metrics {
                metrics.take(Metric::decode(metric)?)?;
            }
        }
    }
    Ok(metrics)
}

impl Metrics {
    fn take(&mut self, mut metric: Metric) -> Result<(), OtlpFault> {
        let (gauge, sum) = (metric.gauge.take(), metric.sum.take());
        let (histogram, summary) = (metric.histogram.take(), metric.summary.take());
        if let Some(gauge) = gauge {
            self.numbers(&metric, "gauge", DataPoints::decode(gauge)?)?;
        }
        if let Some(sum) = sum {
            let sum = DataPoints::decode(sum)?;
            let is_delta = sum.aggregation_temporality == 1;
            self.numbers(&metric, if is_delta { "sum (delta)" } else { "sum" }, sum)?;
        }
        if let Some(histogram) = histogram {
            for point in DataPoints::decode(histogram)?.points {
                let of_point = HistogramAttributes::decode(point.clone())?.attributes;
                self.distribution(&metric, "histogram", point, of_point)?;
            }
        }
        if let Some(summary) = summary {
            for point in DataPoints::decode(summary)?.points {
                let of_point = SummaryAttributes::decode(point.clone())?.attributes;
                self.distribution(&metric, "summary", point, of_point)?;
            }
        }
        Ok(())
    }

    fn numbers(
        &mut self,
        metric: &Metric,
        kind: &'static str,
        data: DataPoints,
    ) -> Result<(), OtlpFault> {
        for point in data.points {
            let point = NumberPoint::decode(point)?;
            let value = point.as_int.map(|number| number as f64);
            self.push(Point {
                name: metric.name.clone(),
                unit: metric.unit.clone(),
                kind,
                attributes: attributes(point.attributes)?,
                time_ms: point.time_unix_ns / 1_000_000,
                value: value.or(point.as_double).unwrap_or(0.0),
                count: None,
            });
        }
        Ok(())
    }

    fn distribution(
        &mut self,
        metric: &Metric,
        kind: &'static str,
        point: Bytes,
        of_point: Vec<Bytes>,
    ) -> Result<(), OtlpFault> {
        let point = DistributionPoint::decode(point)?;
        self.push(Point {
            name: metric.name.clone(),
            unit: metric.unit.clone(),
            kind,
            attributes: attributes(of_point)?,
            time_ms: point.time_unix_ns / 1_000_000,
            value: point.sum,
            count: Some(point.count),
        });
        Ok(())
    }

    fn push(&mut self, point: Point) {
        let text_bytes = point.name.len() + point.unit.len() + text_bytes(&point.attributes);
        if self.points.len() >= POINTS_MAX || self.text_bytes + text_bytes > TEXT_BYTES_MAX {
            self.points_left_out += 1;
        } else {
            self.text_bytes += text_bytes;
            self.points.push(point);
        }
    }
}

fn text_bytes(attributes: &Attributes) -> usize {
    let pairs = attributes.iter();
    pairs.map(|(key, value)| key.len() + value.len()).sum()
}

fn attributes(pairs: Vec<Bytes>) -> Result<Attributes, OtlpFault> {
    let mut found = Attributes::new();
    for pair in pairs {
        let pair = KeyValue::decode(pair)?;
        let value = AnyValue::decode(pair.value.unwrap_or_default())?;
        let text = value
            .string
            .or(value.boolean.map(|value| value.to_string()))
            .or(value.integer.map(|value| value.to_string()))
            .or(value.double.map(|value| value.to_string()));
        found.insert(pair.key, text.unwrap_or_default());
    }
    Ok(found)
}
