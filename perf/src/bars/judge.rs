//! Held, missed, or not measured: a bar, what was measured, and the rules that decide. Pure: `produce`, `fetch` and `steady` bring the figures.

use crate::figures::{Figures, comparable};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is asked of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

/// What is to be said of a bar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The figure is within the bound.
    Held,
    /// It is not.
    Missed,
    /// It is shown, but another bar of the row counts in its place.
    NotCounted(String),
    /// There is no figure, and why.
    NotMeasured(String),
}

/// One bar of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Of what, such as `throughput / Kafka`.
    pub name: String,
    /// What is asked.
    pub bound: Bound,
    /// What of: `x`, `s`, `% of a core`.
    pub unit: String,
    /// What was measured.
    pub measured: Option<f64>,
    /// What that makes.
    pub verdict: Verdict,
}

impl Bar {
    /// Holds a figure, or the reason why there is none, against a bound.
    pub fn new(name: &str, bound: Bound, unit: &str, measured: Result<f64, String>) -> Bar {
        let (measured, verdict) = match measured {
            Err(why) => (None, Verdict::NotMeasured(why)),
            Ok(figure) if !figure.is_finite() => {
                (None, Verdict::NotMeasured("nothing to divide by".into()))
            }
            Ok(figure) => {
                let held = match bound {
                    Bound::AtLeast(least) => figure >= least,
                    Bound::AtMost(most) => figure <= most,
                };
                let verdict = if held { Verdict::Held } else { Verdict::Missed };
                (Some(figure), verdict)
            }
        };
        Bar {
            name: name.into(),
            bound,
            unit: unit.into(),
            measured,
            verdict,
        }
    }

    /// Shown, but not counted, since `why`; a bar that is held stays held.
    pub fn not_counted(mut self, why: &str) -> Bar {
        if self.verdict == Verdict::Missed {
            self.verdict = Verdict::NotCounted(why.into());
        }
        self
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, bound) = match self.bound {
            Bound::AtLeast(bound) => (">=", bound),
            Bound::AtMost(bound) => ("<=", bound),
        };
        let measured = self
            .measured
            .map_or("-".into(), |figure| format!("{figure:.3}"));
        let (word, why) = match &self.verdict {
            Verdict::Held => ("held", ""),
            Verdict::Missed => ("MISSED", ""),
            Verdict::NotCounted(why) => ("not counted", why.as_str()),
            Verdict::NotMeasured(why) => ("not measured", why.as_str()),
        };
        let unit = &self.unit;
        write!(
            to,
            "{:<44} {measured:>9} {sign} {bound:.3} {unit:<12} {word}{}{why}",
            self.name,
            if why.is_empty() { "" } else { ": " }
        )
    }
}

/// The four bars of a row of the throughput table.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct ThroughputBounds {
    pub throughput_of_kafka_min: f64,
    pub throughput_of_ring_floor_min: f64,
    pub cpu_of_kafka_max: f64,
    pub cpu_of_better_floor_max: f64,
}

/// The systems of that table, as far as they were measured.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Beside<'a> {
    pub odradek: Option<&'a Figures>,
    pub kafka: Option<&'a Figures>,
    pub ring: Option<&'a Figures>,
    pub sync: Option<&'a Figures>,
}

/// Finds a system among the figures.
pub fn of<'a>(all: &'a [Figures], system: &str) -> Option<&'a Figures> {
    all.iter().find(|figures| figures.system == system)
}

/// One figure of two systems divided, where that is fair.
///
/// # Errors
/// Why there is no ratio.
pub fn divided(
    ours: Option<&Figures>,
    theirs: Option<&Figures>,
    figure: impl Fn(&Figures) -> Option<f64>,
) -> Result<f64, String> {
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return Err("one of the two was not measured".into());
    };
    comparable(ours, theirs)?;
    let of = |figures: &Figures| {
        figure(figures).ok_or_else(|| format!("no such figure of {}", figures.system))
    };
    let below = of(theirs)?;
    if below == 0.0 {
        return Err(format!("the figure of {} is 0", theirs.system));
    }
    Ok(of(ours)? / below)
}

/// Small requests each second that the load must be able to send with one core.
const LOAD_REQUESTS_PER_CORE_MIN: f64 = 150_000.0;

fn throughput(figures: &Figures) -> Option<f64> {
    Some(figures.requests_per_second.median)
}

fn cpu(figures: &Figures) -> Option<f64> {
    Some(figures.cpu_seconds_per_gigabyte?.median)
}

/// Holds a row of the throughput table against its bars. Where 3 times Kafka lies above 0.85 times the ring floor, no server of this kind
/// could be 3 times Kafka: the floor's bar alone counts then.
pub fn throughput_bars(beside: Beside<'_>, bounds: ThroughputBounds) -> Vec<Bar> {
    let of_kafka = divided(beside.odradek, beside.kafka, throughput);
    let of_ring = divided(beside.odradek, beside.ring, throughput);
    let floor_alone = divided(beside.kafka, beside.ring, throughput)
        .is_ok_and(|kafka_of_ring| 3.0 * kafka_of_ring > 0.85);
    let kafka_bar = Bar::new(
        "throughput / Kafka",
        Bound::AtLeast(bounds.throughput_of_kafka_min),
        "x",
        of_kafka,
    );
    let kafka_bar = match floor_alone {
        true => kafka_bar.not_counted("3 x Kafka lies above 0.85 x the ring floor"),
        false => kafka_bar,
    };
    let better_floor = match (beside.ring.and_then(cpu), beside.sync.and_then(cpu)) {
        (Some(ring), Some(sync)) if sync < ring => beside.sync,
        (Some(_), Some(_)) => beside.ring,
        _ => None,
    };
    vec![
        kafka_bar,
        Bar::new(
            "throughput / ring floor",
            Bound::AtLeast(bounds.throughput_of_ring_floor_min),
            "x",
            of_ring,
        ),
        Bar::new(
            "server CPU s/GB / Kafka",
            Bound::AtMost(bounds.cpu_of_kafka_max),
            "x",
            divided(beside.odradek, beside.kafka, cpu),
        ),
        Bar::new(
            "server CPU s/GB / better floor",
            Bound::AtMost(bounds.cpu_of_better_floor_max),
            "x",
            divided(beside.odradek, better_floor, cpu),
        ),
    ]
}

/// What the load could do with a core of its own, beside the server that costs the least: it must be the server that is measured.
pub fn load_bar(ring: Option<&Figures>) -> Bar {
    let measured = match ring {
        None => Err("the ring floor was not measured".into()),
        Some(figures) if figures.load_cores.median > 0.0 => {
            Ok(figures.requests_per_second.median / figures.load_cores.median)
        }
        Some(_) => Err("too short to tell what the load took".into()),
    };
    Bar::new(
        "load beside the ring floor, requests/s per core of its own",
        Bound::AtLeast(LOAD_REQUESTS_PER_CORE_MIN),
        "",
        measured,
    )
}
