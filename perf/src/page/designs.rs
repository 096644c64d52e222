//! The table "Designs tried" of the page: files whose origin names a design (`--design`), the figures without it and with it side by side. None of
//! them counts as a row's result. Where no file has what was before, the row's newest result until then stands in.

use super::{KeptRow, cell, figure};
use crate::bars::Row;
use crate::figures::Figures;
use crate::results::{Design, Side};
use crate::systems::System;
use std::fmt::Write as _;

/// Figures of a row that are compared, bars in place of them where nothing was put under load.
const BARS_SHOWN_MAX: usize = 4;

/// One design on one row.
struct Tried<'a> {
    design: &'a Design,
    before: Option<&'a KeptRow>,
    after: &'a KeptRow,
}

/// Writes the table, when there is something to go into it. `marked` are the rows of files that name a design, `results` all others; both oldest
/// first.
pub(super) fn table(text: &mut String, marked: &[KeptRow], results: &[KeptRow], folder: &str) {
    let all: Vec<Tried<'_>> = marked
        .iter()
        .filter_map(|after| tried(after, marked, results))
        .collect();
    if all.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n## Designs tried\n\nEach from a file marked with `--design`; ratios within one sitting say most, since others may be at work on the machine.\n\n\
         | design | row | before | after | kept | files |\n|---|---|---|---|---|---|"
    );
    for Tried {
        design,
        before,
        after,
    } in all
    {
        let kept = match design.kept {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not decided",
        };
        let note = after
            .origin
            .note
            .as_deref()
            .map_or(String::new(), |note| format!(": {}", cell(note)));
        let figures = |row: Option<&Row>| row.map_or("-".into(), figures);
        let link = |kept: &KeptRow| {
            format!(
                "[`{}`]({folder}/{}) at `{}`",
                kept.file, kept.file, kept.origin.commit
            )
        };
        let files = before.map_or(String::new(), |before| format!("{}, ", link(before)));
        let _ = writeln!(
            text,
            "| {}{note} | {} | {} | {} | {kept} | {files}{} |",
            cell(&design.name),
            after.row.name,
            figures(before.map(|it| &it.row)),
            figures(Some(&after.row)),
            link(after),
        );
    }
}

/// A row measured with a design, and what it is held beside: the last one of the same design without it, else the last result before.
fn tried<'a>(
    after: &'a KeptRow,
    marked: &'a [KeptRow],
    results: &'a [KeptRow],
) -> Option<Tried<'a>> {
    let design = after.origin.design.as_ref()?;
    if design.side != Side::After {
        return None;
    }
    let same_row = |it: &&KeptRow| it.row.name == after.row.name;
    let without = |it: &&KeptRow| {
        let other = it.origin.design.as_ref();
        other.is_some_and(|it| it.name == design.name && it.side == Side::Before)
    };
    let marked = marked.iter().filter(same_row).rfind(without);
    let earlier = |it: &&KeptRow| it.origin.at_unix_seconds < after.origin.at_unix_seconds;
    Some(Tried {
        design,
        before: marked.or_else(|| results.iter().filter(same_row).rfind(earlier)),
        after,
    })
}

/// What a row came to, in a few words.
fn figures(row: &Row) -> String {
    let ours = |it: &&Figures| it.system.starts_with(System::Odradek.name());
    let under_load = row.figures.iter().filter(ours).map(|it| {
        let cpu = it.cpu_seconds_per_gigabyte.map_or(String::new(), |cpu| {
            format!(", {} CPU s/GB", figure(cpu.median))
        });
        let rest = it
            .system
            .strip_prefix(System::Odradek.name())
            .unwrap_or_default();
        let named = match rest.trim_start_matches(", ") {
            "" => String::new(),
            what => format!("{}: ", cell(what)),
        };
        format!(
            "{named}{} requests/s, p99 {} µs{cpu}",
            figure(it.requests_per_second.median),
            figure(it.p99_us.median)
        )
    });
    let bars = row.bars.iter().filter_map(|bar| {
        let measured = figure(bar.measured?);
        Some(format!("{} {measured} {}", bar.name, bar.unit))
    });
    let mut words: Vec<String> = under_load.collect();
    match words.is_empty() {
        true => words = bars.collect(),
        false => words.extend(bars.take(BARS_SHOWN_MAX)),
    }
    match (words.is_empty(), row.notes.first()) {
        (false, _) => words.join("; "),
        (true, Some(note)) => cell(note),
        (true, None) => "nothing measured".into(),
    }
}
