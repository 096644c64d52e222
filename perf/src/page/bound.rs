//! The formula of the page for what bounds the count of partitions: base + slope x partitions, fitted to the rows of 10,000 to 2,000,000, held
//! against each of them, and turned round: how many the machine's memory and the bars of the last column would allow.

use super::{KeptRow, figure};
use std::fmt::Write as _;

/// The rows, and how many partitions they have.
const COLUMNS: [(&str, f64); 4] = [
    ("many-10k", 1e4),
    ("many-100k", 1e5),
    ("many-1m", 1e6),
    ("many-2m", 2e6),
];

/// Where a quantity stands in a row.
enum Found {
    Bar(&'static str),
    Value(&'static str),
}

/// A quantity that grows with partitions, and what bounds it.
struct Quantity {
    name: &'static str,
    unit: &'static str,
    found: Found,
    limit: Limit,
}

enum Limit {
    /// The machine's memory, MiB, besides what the empty server takes.
    Memory,
    /// So much, in the unit.
    At(f64),
    /// It bounds nothing by itself.
    None,
}

const QUANTITIES: [Quantity; 8] = [
    quantity(
        "memory after create",
        "MiB",
        Found::Bar("memory after create"),
        Limit::Memory,
    ),
    quantity(
        "memory after clean start",
        "MiB",
        Found::Bar("memory after clean start"),
        Limit::Memory,
    ),
    quantity(
        "memory after kill and start",
        "MiB",
        Found::Bar("memory after kill and start"),
        Limit::Memory,
    ),
    quantity(
        "checkpoint",
        "MiB",
        Found::Value("clean_start checkpoint MiB"),
        Limit::None,
    ),
    quantity(
        "image snapshot",
        "MiB",
        Found::Value("clean_start image MiB"),
        Limit::None,
    ),
    quantity(
        "controlled shutdown",
        "s",
        Found::Bar("controlled shutdown"),
        Limit::At(1.0),
    ),
    quantity(
        "clean start",
        "s",
        Found::Bar("clean start to first produce"),
        Limit::At(3.0),
    ),
    quantity(
        "start after kill -9",
        "s",
        Found::Bar("start after kill -9"),
        Limit::At(3.0),
    ),
];

const fn quantity(name: &'static str, unit: &'static str, found: Found, limit: Limit) -> Quantity {
    Quantity {
        name,
        unit,
        found,
        limit,
    }
}

/// A straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    base: f64,
    slope: f64,
}

impl Line {
    /// The line of the least relative errors: of ten thousand partitions as much is asked as of two million. The base is no less than nothing:
    /// where it would be, the line goes through zero.
    fn through(points: &[(f64, f64)]) -> Option<Line> {
        if points.len() < 2 || points.iter().any(|(_, y)| *y <= 0.0) {
            return None;
        }
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            // The weight of a point is that of its relative error.
            points.iter().map(|(x, y)| of(*x, *y) / (y * y)).sum()
        };
        let (w, wx, wy) = (sum(&|_, _| 1.0), sum(&|x, _| x), sum(&|_, y| y));
        let (wxx, wxy) = (sum(&|x, _| x * x), sum(&|x, y| x * y));
        let slope = (w * wxy - wx * wy) / (w * wxx - wx * wx);
        let base = (wy - slope * wx) / w;
        match base >= 0.0 {
            true => Some(Line { base, slope }),
            false => Some(Line {
                base: 0.0,
                slope: wxy / wxx,
            }),
        }
    }

    fn at(self, x: f64) -> f64 {
        self.base + self.slope * x
    }

    /// Where it reaches `limit`.
    fn reaches(self, limit: f64) -> Option<f64> {
        (self.slope > 0.0).then(|| ((limit - self.base) / self.slope).max(0.0))
    }
}

/// Writes the section, when at least three of the rows were measured.
pub(super) fn section(text: &mut String, rows: &[KeptRow]) {
    let columns = COLUMNS.map(|(name, _)| rows.iter().find(|kept| kept.row.name == name));
    let Some(newest) = columns.iter().flatten().last() else {
        return;
    };
    if columns.iter().flatten().count() < 3 {
        return;
    }
    let _ = writeln!(
        text,
        "\n## What bounds the count of partitions\n\nEach quantity as base + slope × partitions, the line of the least relative errors through the \
         rows measured; of each row: by the line / measured (difference).\n\n\
         | quantity | base | for 1,000,000 more | 10,000 | 100,000 | 1,000,000 | 2,000,000 | it would allow |\n|---|---:|---:|---:|---:|---:|---:|---|"
    );
    let memory_mib = memory_mib(&newest.origin.machine);
    let mut allowed: Vec<(&str, f64)> = Vec::new();
    for quantity in &QUANTITIES {
        let measured = columns.map(|kept| of(kept?, &quantity.found));
        if let Some((line, count)) = fitted(quantity, &measured, memory_mib) {
            let _ = writeln!(text, "{line}");
            allowed.extend(count.map(|count| (quantity.name, count)));
        }
    }
    let least = allowed.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((name, count)) = least {
        let _ = writeln!(
            text,
            "\nWhat bounds the count first is *{name}*: about {} partitions on one node of this machine ({}). Memory is what was measured \
             above the empty server, held against all of the machine's; times are held against the bars of the last column.",
            millions(*count),
            newest.origin.machine,
        );
    }
}

/// The line of a table for one quantity, and how many partitions it would allow.
fn fitted(
    quantity: &Quantity,
    measured: &[Option<f64>; 4],
    memory_mib: Option<f64>,
) -> Option<(String, Option<f64>)> {
    let points = COLUMNS.iter().zip(measured);
    let points: Vec<(f64, f64)> = points
        .filter_map(|((_, count), measured)| Some((*count, (*measured)?)))
        .collect();
    let line = Line::through(&points)?;
    let limit = match quantity.limit {
        Limit::Memory => memory_mib,
        Limit::At(limit) => Some(limit),
        Limit::None => None,
    };
    let count = limit.and_then(|limit| line.reaches(limit));
    let cells = COLUMNS.iter().zip(measured).map(|((_, count), measured)| {
        let by_line = line.at(*count);
        match measured {
            None => format!("{} / -", figure(by_line)),
            Some(measured) => format!(
                "{} / {} ({:+.0} %)",
                figure(by_line),
                figure(*measured),
                100.0 * (by_line - measured) / measured
            ),
        }
    });
    let allows = match (limit, count) {
        (Some(limit), Some(count)) => format!(
            "{} within {} {}",
            millions(count),
            figure(limit),
            quantity.unit
        ),
        _ => "-".into(),
    };
    let words = format!(
        "| {}, {} | {} | {} | {} | {allows} |",
        quantity.name,
        quantity.unit,
        figure(line.base),
        figure(line.slope * 1e6),
        cells.collect::<Vec<_>>().join(" | "),
    );
    Some((words, count))
}

fn of(kept: &KeptRow, found: &Found) -> Option<f64> {
    match found {
        Found::Value(name) => kept.row.values.get(*name).copied(),
        Found::Bar(name) => kept.row.bars.iter().find(|bar| bar.name == *name)?.measured,
    }
}

/// The machine's memory out of its words: "..., 24576 MiB".
fn memory_mib(machine: &str) -> Option<f64> {
    let words = machine.strip_suffix(" MiB")?;
    words.rsplit(' ').next()?.parse().ok()
}

fn millions(count: f64) -> String {
    format!("{} million", figure(count / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_turned_round() {
        let points = [1e4, 1e5, 1e6, 2e6].map(|count| (count, 8.0 + 4e-4 * count));
        let line = Line::through(&points).unwrap();
        assert!((line.base - 8.0).abs() < 1e-6 && (line.slope - 4e-4).abs() < 1e-12);
        assert!((line.reaches(1_208.0).unwrap() - 3e6).abs() < 1.0);
    }

    #[test]
    fn a_base_is_no_less_than_nothing() {
        let line = Line::through(&[(1.0, 1.0), (10.0, 100.0)]).unwrap();
        assert_eq!(line.base, 0.0);
        assert!(Line::through(&[(1.0, 1.0)]).is_none());
        assert!(Line::through(&[(1.0, 0.0), (2.0, 1.0)]).is_none());
    }

    #[test]
    fn the_machine_says_its_memory() {
        assert_eq!(
            memory_mib("a processor, 2 cores, 24104 MiB"),
            Some(24_104.0)
        );
        assert_eq!(memory_mib("something else"), None);
    }
}
