//! The plots of the page, as SVG: throughput against the ring floor, latency against load, partitions against time and memory, a soak over time.

use super::KeptRow;
use crate::PerfError;
use crate::soak::Minute;
use crate::systems::System;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

const WIDTH: u32 = 900;
const HEIGHT: u32 = 420;
/// Room at the right for the names.
const LEGEND_WIDTH: u32 = 165;
const COLOURS: [RGBColor; 4] = [
    RGBColor(0xD1, 0x49, 0x1B),
    RGBColor(0x4A, 0x6F, 0xA5),
    RGBColor(0x7A, 0x7A, 0x7A),
    RGBColor(0xB8, 0xB8, 0xB8),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// Draws what there are figures for. Gives title and file name of each plot.
///
/// # Errors
/// When a plot cannot be written.
pub(super) fn draw(
    folder: &Path,
    rows: &[KeptRow],
) -> Result<Vec<(&'static str, String)>, PerfError> {
    let mut plots = Vec::new();
    let mut plot = |name: &str, title: &'static str, paint: &dyn Fn(&Area<'_>) -> Drawn| {
        let path = folder.join(name);
        let area = SVGBackend::new(&path, (WIDTH, HEIGHT)).into_drawing_area();
        let drawn = area
            .fill(&WHITE)
            .map_err(Into::into)
            .and_then(|()| paint(&area))
            .and_then(|()| area.present().map_err(Into::into));
        drawn.map_err(|error| PerfError::Options(format!("{}: {error}", path.display())))?;
        drop(area);
        plots.push((title, name.to_string()));
        Ok::<(), PerfError>(())
    };
    let throughput = throughput_groups(rows);
    if !throughput.is_empty() {
        let title = "Throughput in percent of the ring floor";
        plot("throughput.svg", title, &|area| {
            groups(area, title, &throughput)
        })?;
    }
    let curve = latency_curves(rows);
    if !curve.is_empty() {
        let title = "p99 latency in ms against requests/s, open loop";
        plot("latency.svg", title, &|area| lines(area, title, &curve))?;
    }
    for (suffix, name, title) in [
        (
            " seconds",
            "partitions-time.svg",
            "Seconds against partitions on one node",
        ),
        (
            " resident MiB",
            "partitions-memory.svg",
            "Resident MiB against partitions on one node",
        ),
    ] {
        let series = partition_series(rows, suffix);
        if !series.is_empty() {
            plot(name, title, &|area| lines(area, title, &series))?;
        }
    }
    let soak = soak_series(rows);
    if !soak.is_empty() {
        let title = "The soak, minute by minute: MB/s, and percent of the directory in use";
        plot("soak.svg", title, &|area| over_time(area, title, &soak))?;
    }
    Ok(plots)
}

fn soak_series(rows: &[KeptRow]) -> Vec<Series> {
    let minutes = rows.iter().flat_map(|kept| &kept.minutes);
    let points: Vec<_> = minutes.collect();
    if points.len() < 2 {
        return Vec::new();
    }
    let of = |name: &str, value: fn(&Minute) -> f64| {
        let points = points.iter().map(|it| (it.at_minutes, value(it)));
        (name.to_string(), points.collect())
    };
    vec![
        of("MB/s", |it| it.megabytes_per_second),
        of("% in use", |it| 100.0 * it.used_share),
    ]
}

/// Lines from zero on, on plain axes.
fn over_time(area: &Area<'_>, title: &str, series: &[Series]) -> Drawn {
    let points = || series.iter().flat_map(|(_, points)| points);
    let right = points().map(|it| it.0).fold(0.0, f64::max);
    let high = 1.15 * points().map(|it| it.1).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .margin_right(LEGEND_WIDTH)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, 0.0..high)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .label_style(("sans-serif", 15))
        .draw()?;
    for (place, (name, points)) in series.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        chart.draw_series(LineSeries::new(
            points.iter().copied(),
            colour.stroke_width(2),
        ))?;
        legend(area, place, name, colour)?;
    }
    Ok(())
}

/// A row's name and each system's throughput in percent of the ring floor.
type Group = (String, Vec<(String, f64)>);

fn throughput_groups(rows: &[KeptRow]) -> Vec<Group> {
    let groups = rows.iter().filter_map(|kept| {
        let of = |system: System| {
            let mut all = kept.row.figures.iter();
            let found = all.find(|figures| figures.system == system.name())?;
            Some(found.requests_per_second.median)
        };
        let floor = of(System::FloorRing).filter(|floor| *floor > 0.0)?;
        let systems = [System::Odradek, System::Kafka, System::FloorSync];
        let shares = systems
            .iter()
            .filter_map(|system| Some((system.name().to_string(), 100.0 * of(*system)? / floor)));
        Some((kept.row.name.clone(), shares.collect()))
    });
    groups.collect()
}

fn groups(area: &Area<'_>, title: &str, groups: &[Group]) -> Drawn {
    let bars = groups.iter().flat_map(|(_, bars)| bars);
    let most = bars.map(|(_, share)| *share).fold(110.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .margin_right(LEGEND_WIDTH)
        .x_label_area_size(34)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..groups.len() as f64, 0.0..most)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .label_style(("sans-serif", 15))
        .y_desc("% of the ring floor")
        .draw()?;
    let floor = PathElement::new(vec![(0.0, 100.0), (groups.len() as f64, 100.0)], BLACK);
    chart.draw_series([floor])?;
    for (index, (name, bars)) in groups.iter().enumerate() {
        for (place, (_, share)) in bars.iter().enumerate() {
            let left = index as f64 + 0.12 + 0.25 * place as f64;
            let corners = [(left, 0.0), (left + 0.23, *share)];
            let colour = COLOURS[place % COLOURS.len()];
            chart.draw_series([Rectangle::new(corners, colour.filled())])?;
            let number = Text::new(
                format!("{share:.0}"),
                (left + 0.03, share + most * 0.035),
                ("sans-serif", 11),
            );
            chart.draw_series([number])?;
        }
        let below = Text::new(
            name.clone(),
            (index as f64 + 0.12, -most * 0.02),
            ("sans-serif", 13),
        );
        chart.plotting_area().draw(&below)?;
    }
    for (place, (name, _)) in groups[0].1.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        legend(area, place, name, colour)?;
    }
    Ok(())
}

fn legend(area: &Area<'_>, place: usize, name: &str, colour: RGBColor) -> Drawn {
    let left = (WIDTH - LEGEND_WIDTH) as i32 + 15;
    let top = 50 + 20 * place as i32;
    area.draw(&Rectangle::new(
        [(left, top), (left + 12, top + 11)],
        colour.filled(),
    ))?;
    area.draw(&Text::new(
        name.to_string(),
        (left + 18, top),
        ("sans-serif", 16),
    ))?;
    Ok(())
}

/// A name and its points.
type Series = (String, Vec<(f64, f64)>);

fn latency_curves(rows: &[KeptRow]) -> Vec<Series> {
    let Some(kept) = rows.iter().find(|kept| kept.row.name == "latency-curve") else {
        return Vec::new();
    };
    let mut series: Vec<Series> = Vec::new();
    for figures in &kept.row.figures {
        // Named "SYSTEM, 50 % of its peak"; the closed loop that found the peak is no point of an open one.
        let Some((system, what)) = figures.system.split_once(", ") else {
            continue;
        };
        if !what.contains('%') {
            continue;
        }
        let point = (
            figures.requests_per_second.median,
            figures.p99_us.median / 1e3,
        );
        match series.iter_mut().find(|(name, _)| name == system) {
            Some((_, points)) => points.push(point),
            None => series.push((system.into(), vec![point])),
        }
    }
    series
}

fn partition_series(rows: &[KeptRow], suffix: &str) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    let counts = [
        ("many-10k", 1e4),
        ("many-100k", 1e5),
        ("many-1m", 1e6),
        ("many-2m", 2e6),
    ];
    for (name, count) in counts {
        let Some(kept) = rows.iter().find(|kept| kept.row.name == name) else {
            continue;
        };
        for step in ["create", "shutdown", "clean_start", "killed_start"] {
            let Some(value) = kept.row.values.get(&format!("{step}{suffix}")) else {
                continue;
            };
            match series.iter_mut().find(|(name, _)| name == step) {
                Some((_, points)) => points.push((count, *value)),
                None => series.push((step.into(), vec![(count, *value)])),
            }
        }
    }
    series
}

/// Lines on axes that are both logarithmic.
fn lines(area: &Area<'_>, title: &str, series: &[Series]) -> Drawn {
    let points = || series.iter().flat_map(|(_, points)| points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let values = points().map(of).filter(|value| *value > 0.0);
        let (least, most) = values.fold((f64::MAX, f64::MIN_POSITIVE), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        (least.min(most) / 1.3, most * 1.3)
    };
    let ((left, right), (low, high)) = (range(|it| it.0), range(|it| it.1));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .margin_right(LEGEND_WIDTH)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d((left..right).log_scale(), (low..high).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .label_style(("sans-serif", 15))
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    for (place, (name, points)) in series.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let seen = points.iter().copied().filter(|(x, y)| *x > 0.0 && *y > 0.0);
        chart.draw_series(LineSeries::new(seen.clone(), colour.stroke_width(2)))?;
        chart.draw_series(seen.map(|point| Circle::new(point, 4, colour.filled())))?;
        legend(area, place, name, colour)?;
    }
    Ok(())
}

/// A number with few digits: 0.05, 20, 10k, 2M.
fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        million if million >= 1e6 => (million / 1e6, "M"),
        thousand if thousand >= 1e3 => (thousand / 1e3, "k"),
        small => (small, ""),
    };
    let digits = format!("{scaled:.3}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}{unit}")
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(0.05), "0.05");
        assert_eq!(short(20.0), "20");
        assert_eq!(short(10_000.0), "10k");
        assert_eq!(short(2e6), "2M");
    }
}
