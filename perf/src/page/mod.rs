//! The command `report`: a Markdown page with plots of what lies in the results folder, for a person to read at a glance. Of each row the
//! newest measurement counts; each says which file it is from. `plots` draws, `designs`, `profiles` and `bound` write sections of their own;
//! `bars`, `compare`, `soak`, `profile` and `floor` measured.

mod bound;
mod designs;
mod plots;
mod profiles;

use crate::PerfError;
use crate::bars::judge::{Bar, Bound, Verdict};
use crate::bars::{BarsReport, Row};
use crate::compare::CompareReport;
use crate::figures::{Figures, Spread};
use crate::floor::FloorReport;
use crate::profile::ProfileReport;
use crate::results::{Taken, stamp};
use crate::soak::{Minute, SoakReport};
use serde::de::DeserializeOwned;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What to do.
#[derive(Clone, Debug, clap::Args)]
pub struct PageOptions {
    /// The folder with what `floor` and `bars` kept; the plots go there too.
    #[arg(long, value_name = "FOLDER", default_value = "perf/results")]
    pub results: PathBuf,
    /// The page to write.
    #[arg(long, value_name = "FILE", default_value = "perf/RESULTS.md")]
    pub page: PathBuf,
    /// A file of Markdown that people keep, to go at the page's end: what was tried for bars that are missed.
    #[arg(long, value_name = "FILE", default_value = "perf/TRIED.md")]
    pub tried: PathBuf,
}

/// A report with the name of its file.
struct Kept<Report> {
    file: String,
    report: Report,
}

/// A row with where it is from.
#[derive(Clone)]
pub(crate) struct KeptRow {
    file: String,
    origin: Taken,
    row: Row,
    /// Of a soak: minute by minute.
    minutes: Vec<Minute>,
}

/// Reads the results and writes page and plots. Gives what it wrote, in words.
///
/// # Errors
/// When a file cannot be read or written, or there are no results.
pub fn run(options: &PageOptions) -> Result<String, PerfError> {
    let floors: Vec<Kept<FloorReport>> = read_all(&options.results, "floor-")?;
    let profiles: Vec<Kept<ProfileReport>> = read_all(&options.results, "profile-")?;
    let profiles = profiles::newest(profiles);
    let (marked, results): (Vec<KeptRow>, Vec<KeptRow>) = all_rows(&options.results)?
        .into_iter()
        .partition(|kept| kept.origin.design.is_some());
    let rows = newest_rows(&results);
    if rows.is_empty() {
        return Err(PerfError::Options(format!(
            "{} holds no bars-*.json; run `odradek-perf bars --results {}` first",
            options.results.display(),
            options.results.display()
        )));
    }
    let plots = plots::draw(&options.results, &rows)?;
    let mut text = head(&rows);
    overview(&mut text, &rows);
    let folder = link(&options.page, &options.results);
    for (title, name) in &plots {
        let _ = writeln!(text, "\n![{title}]({folder}/{name})\n");
    }
    bound::section(&mut text, &rows);
    profiles::section(&mut text, &profiles, &folder);
    designs::table(&mut text, &marked, &results, &folder);
    let _ = writeln!(text, "\n## Row by row");
    for kept in &rows {
        detail(&mut text, kept, &folder);
        profiles::of_row(&mut text, &profiles, &kept.row.name);
    }
    if let Some(floor) = floors.last() {
        floor_lines(&mut text, floor, &folder);
    }
    if let Ok(tried) = std::fs::read_to_string(&options.tried) {
        let _ = write!(text, "\n{tried}");
    }
    write(&options.page, &text)?;
    Ok(format!(
        "{} with {} rows and {} plots",
        options.page.display(),
        rows.len(),
        plots.len()
    ))
}

/// The way from the page to the folder, as a link: a page that moves with its folder must not name the machine's own paths.
fn link(page: &Path, results: &Path) -> String {
    let page = page.parent().filter(|it| !it.as_os_str().is_empty());
    let page = page.unwrap_or(Path::new(".")).canonicalize();
    let results = results.canonicalize();
    let inside = page
        .ok()
        .zip(results.ok())
        .and_then(|(page, results)| Some(results.strip_prefix(page).ok()?.to_path_buf()));
    match inside {
        Some(path) if path.as_os_str().is_empty() => ".".into(),
        Some(path) => path.display().to_string(),
        None => "results".into(),
    }
}

fn write(path: &Path, text: &str) -> Result<(), PerfError> {
    std::fs::write(path, text)
        .map_err(|error| PerfError::Options(format!("{}: {error}", path.display())))
}

/// Every report of a kind, oldest first: their names sort by time.
fn read_all<Report: DeserializeOwned>(
    folder: &Path,
    prefix: &str,
) -> Result<Vec<Kept<Report>>, PerfError> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        PerfError::Options(format!("{}: {error}", path.display()))
    };
    let entries = std::fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix) && name.ends_with(".json"))
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|file| {
            let path = folder.join(&file);
            let text = std::fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
            let report = serde_json::from_str(&text).map_err(|error| failed(&path, &error))?;
            Ok(Kept { file, report })
        })
        .collect()
}

/// Every row in the folder, oldest first. A comparison is a row under the name that it was given; without one it belongs to none.
fn all_rows(folder: &Path) -> Result<Vec<KeptRow>, PerfError> {
    let mut rows = Vec::new();
    for Kept { file, report } in read_all::<BarsReport>(folder, "bars-")? {
        rows.extend(report.rows.into_iter().map(|row| KeptRow {
            file: file.clone(),
            origin: report.origin.clone(),
            row,
            minutes: Vec::new(),
        }));
    }
    for Kept { file, report } in read_all::<SoakReport>(folder, "soak-")? {
        rows.push(KeptRow {
            file,
            origin: report.origin,
            row: report.row,
            minutes: report.minutes,
        });
    }
    for Kept { file, report } in read_all::<CompareReport>(folder, "compare-")? {
        // A row has bars; a comparison of its own is no newer measurement of it.
        if let (Some(origin), Some(name)) = (report.origin, report.name) {
            if origin.design.is_none() {
                continue;
            }
            rows.push(KeptRow {
                file,
                origin,
                row: Row {
                    name,
                    figures: report.figures,
                    notes: report.failures,
                    ..Row::default()
                },
                minutes: Vec::new(),
            });
        }
    }
    rows.sort_by_key(|kept| kept.origin.at_unix_seconds);
    Ok(rows)
}

/// Of each row the newest measurement, in the order in which `bars` has them, the soak at the end.
fn newest_rows(results: &[KeptRow]) -> Vec<KeptRow> {
    let mut newest: Vec<KeptRow> = Vec::new();
    for kept in results.iter().cloned() {
        match newest.iter_mut().find(|it| it.row.name == kept.row.name) {
            Some(older) => *older = kept,
            None => newest.push(kept),
        }
    }
    let order: Vec<String> = crate::bars::names();
    newest.sort_by_key(|kept| {
        let place = order.iter().position(|name| *name == kept.row.name);
        place.unwrap_or(usize::MAX)
    });
    newest
}

fn head(rows: &[KeptRow]) -> String {
    let newest = rows
        .iter()
        .max_by_key(|kept| kept.origin.at_unix_seconds)
        .expect("there are rows");
    let origin = &newest.origin;
    let mut commits: Vec<&str> = rows
        .iter()
        .map(|kept| kept.origin.commit.as_str())
        .collect();
    commits.sort_unstable();
    commits.dedup();
    format!(
        "# Results\n\nWritten by `odradek-perf report` from the files in `perf/results/`; do not edit. {} has how to repeat it.\n\n\
         - Machine: {}; {}; kernel {}.\n\
         - Newest measurement: {}, commit `{}`, `{}`. Commits of all rows: `{}`.\n\
         - One server under load at a time, in turn, medians of the rounds; server, generator and JVM share all cores. \
         Odradek answers when a batch is on stable storage; Apache Kafka with its defaults does not wait for the disk. \
         The floors are the least code that could do the work (`odradek-perf floor-server`).\n",
        "`scripts/perf-full --help`",
        origin.machine,
        origin.file_system,
        origin.kernel,
        stamp(origin.at_unix_seconds),
        origin.commit,
        origin.command.trim(),
        commits.join("`, `"),
    )
}

fn bars_of(rows: &[KeptRow]) -> impl Iterator<Item = (&KeptRow, &Bar)> {
    rows.iter()
        .flat_map(|kept| kept.row.bars.iter().map(move |bar| (kept, bar)))
}

fn overview(text: &mut String, rows: &[KeptRow]) {
    let count = |wanted: fn(&Verdict) -> bool| {
        bars_of(rows)
            .filter(|(_, bar)| wanted(&bar.verdict))
            .count()
    };
    let _ = writeln!(
        text,
        "\n## Held or missed\n\n**{} held, {} missed, {} not measured, {} shown but not counted.**\n\n\
         | row | of what | measured | bar | |\n|---|---|---:|---:|---|",
        count(|verdict| *verdict == Verdict::Held),
        count(|verdict| *verdict == Verdict::Missed),
        count(|verdict| matches!(verdict, Verdict::NotMeasured(_))),
        count(|verdict| matches!(verdict, Verdict::NotCounted(_))),
    );
    for (kept, bar) in bars_of(rows) {
        let (sign, bound) = match bar.bound {
            Bound::AtLeast(bound) => ("≥", bound),
            Bound::AtMost(bound) => ("≤", bound),
        };
        let measured = bar.measured.map_or("-".into(), figure);
        let word = match &bar.verdict {
            Verdict::Held => "held".to_string(),
            Verdict::Missed => "**MISSED**".to_string(),
            Verdict::NotCounted(why) => format!("not counted: {}", cell(why)),
            Verdict::NotMeasured(why) => format!("*not measured*: {}", cell(why)),
        };
        let _ = writeln!(
            text,
            "| [{}](#{}) | {} | {measured} | {sign} {} {} | {word} |",
            kept.row.name,
            kept.row.name,
            bar.name,
            figure(bound),
            bar.unit,
        );
    }
}

/// Words that may hold what a table cannot.
fn cell(words: &str) -> String {
    let line = words.lines().next().unwrap_or_default();
    let line: String = line.chars().take(160).collect();
    line.replace('|', "/")
}

/// Three digits that say something.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn detail(text: &mut String, kept: &KeptRow, folder: &str) {
    let row = &kept.row;
    let _ = writeln!(
        text,
        "\n### {}\n\n{}. From [`{}`]({folder}/{}), commit `{}`.",
        row.name, row.title, kept.file, kept.file, kept.origin.commit
    );
    if !row.figures.is_empty() {
        figures_table(text, &row.figures);
    }
    if !row.values.is_empty() {
        let values = row
            .values
            .iter()
            .map(|(name, value)| format!("{name} {}", figure(*value)));
        let _ = writeln!(text, "\n{}.", values.collect::<Vec<_>>().join("; "));
    }
    minutes_table(text, &kept.minutes);
    for note in row.notes.iter().chain(&kept.origin.note) {
        let _ = writeln!(text, "\n> {}", cell(note));
    }
    if let Some(command) = row.commands.first() {
        let _ = writeln!(text, "\nWith `{}`.", cell(command));
    }
}

/// Lines of a soak that are shown: two hours have 120, which a plot shows better.
const MINUTES_SHOWN_MAX: usize = 12;

fn minutes_table(text: &mut String, minutes: &[Minute]) {
    if minutes.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n| minute | MB/s | refused | in use | folder GiB | % of a core | RSS MiB |\n|---:|---:|---:|---:|---:|---:|---:|"
    );
    let step = minutes.len().div_ceil(MINUTES_SHOWN_MAX);
    let last = minutes.len() - 1;
    let shown = minutes.iter().enumerate();
    for (_, it) in shown.filter(|(at, _)| at % step == 0 || *at == last) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.1} % | {} | {} | {} |",
            figure(it.at_minutes),
            figure(it.megabytes_per_second),
            it.refused,
            100.0 * it.used_share,
            figure(it.folder_gib),
            figure(it.core_percent),
            figure(it.resident_mib),
        );
    }
}

fn figures_table(text: &mut String, figures: &[Figures]) {
    let _ = writeln!(
        text,
        "\n| server | requests/s (range) | MB/s | p50 µs | p99 µs | max µs | CPU s/GB | disk B/B | RSS MiB |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    let median = |spread: Option<Spread>| spread.map_or("-".into(), |it| figure(it.median));
    for it in figures {
        let rate = it.requests_per_second;
        let spoiled = it
            .spoiled
            .as_ref()
            .map_or(String::new(), |why| format!(" ({})", cell(why)));
        let _ = writeln!(
            text,
            "| {}{spoiled} | {} ({}-{}) | {} | {} | {} | {} | {} | {} | {} |",
            it.system,
            figure(rate.median),
            figure(rate.lowest),
            figure(rate.highest),
            figure(it.megabytes_per_second.median),
            figure(it.p50_us.median),
            figure(it.p99_us.median),
            figure(it.max_us.median),
            median(it.cpu_seconds_per_gigabyte),
            median(it.disk_bytes_per_byte),
            it.resident_peak_bytes
                .map_or("-".into(), |bytes| (bytes >> 20).to_string()),
        );
    }
}

fn floor_lines(text: &mut String, floor: &Kept<FloorReport>, folder: &str) {
    let _ = writeln!(
        text,
        "\n## What this machine can do at best\n\nFrom [`{}`]({folder}/{}), commit `{}`, `{}`.\n\n| what | figures |\n|---|---|",
        floor.file, floor.file, floor.report.origin.commit, floor.report.origin.command
    );
    for line in &floor.report.lines {
        let figures = line
            .figures
            .iter()
            .map(|(unit, value)| format!("{} {unit}", figure(*value)));
        let _ = writeln!(
            text,
            "| {} | {} |",
            line.what,
            figures.collect::<Vec<_>>().join(", ")
        );
    }
}
