//! Where time goes, of the page: the newest profile of each name (`odradek-perf profile`), side by side by area, and a few lines for a row.

use super::{Kept, cell, figure};
use crate::profile::ProfileReport;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Modules and symbols shown of each.
const SHOWN_MAX: usize = 8;
/// System calls that are rarer than this for each request are left out.
const CALLS_SHOWN_MIN: f64 = 1e-4;

/// The newest profile of each name that is a result; those of designs that were tried are not.
pub(super) fn newest(all: Vec<Kept<ProfileReport>>) -> Vec<Kept<ProfileReport>> {
    let mut newest: Vec<Kept<ProfileReport>> = Vec::new();
    for kept in all {
        if kept.report.origin.design.is_some() {
            continue;
        }
        match newest
            .iter_mut()
            .find(|it| it.report.name == kept.report.name)
        {
            Some(older) => *older = kept,
            None => newest.push(kept),
        }
    }
    let order = crate::bars::names();
    newest.sort_by_key(|kept| {
        let place = order.iter().position(|name| *name == kept.report.name);
        place.unwrap_or(usize::MAX)
    });
    newest
}

/// Writes the section, when there are profiles.
pub(super) fn section(text: &mut String, all: &[Kept<ProfileReport>], folder: &str) {
    if all.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "\n## Where time goes\n\nShares of the server's processor time under load, by `perf record`, and what one request takes; \
         `odradek-perf profile --help` says how. *our scheduler* is the loop itself: finding out what is to be done next, and waiting for it.\n\n| |"
    );
    for kept in all {
        let _ = write!(text, " {} |", kept.report.name);
    }
    let _ = writeln!(text, "\n|---|{}", "---:|".repeat(all.len()));
    let mut line = |name: &str, of: &dyn Fn(&ProfileReport) -> Option<String>| {
        let cells = all
            .iter()
            .map(|kept| of(&kept.report).unwrap_or("-".into()));
        let _ = writeln!(
            text,
            "| {name} | {} |",
            cells.collect::<Vec<_>>().join(" | ")
        );
    };
    line("requests/s", &|it| Some(figure(it.requests_per_second)));
    line("CPU µs a request", &|it| {
        Some(figure(it.cpu_us_per_request))
    });
    line("system calls a request", &|it| {
        let calls = &it.system_calls_per_request;
        (!calls.is_empty()).then(|| format!("{:.3}", calls.values().sum::<f64>()))
    });
    for name in ["entries of the ring", "sends", "durable writes"] {
        line(&format!("{name} a request"), &|it| {
            Some(format!("{:.3}", it.loop_per_request.get(name)?))
        });
    }
    let mut areas: BTreeMap<&str, f64> = BTreeMap::new();
    for (area, share) in all.iter().flat_map(|kept| &kept.report.areas) {
        *areas.entry(area).or_insert(0.0) += share;
    }
    let mut areas: Vec<_> = areas.into_iter().collect();
    areas.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (area, _) in areas {
        line(area, &|it| {
            Some(format!("{:.1} %", 100.0 * it.areas.get(area)?))
        });
    }
    for kept in all {
        let report = &kept.report;
        let _ = writeln!(
            text,
            "\n- {}: `{}`; commit `{}`, [`{}`]({folder}/{}).",
            report.name,
            cell(&report.work),
            report.origin.commit,
            kept.file,
            kept.file
        );
        for why in &report.not_measured {
            let _ = writeln!(text, "  *Not measured*: {}", cell(why));
        }
    }
}

/// The lines of a row, when it was profiled.
pub(super) fn of_row(text: &mut String, all: &[Kept<ProfileReport>], name: &str) {
    let Some(kept) = all.iter().find(|kept| kept.report.name == name) else {
        return;
    };
    let report = &kept.report;
    let listed = |shares: Vec<(&str, f64)>| {
        let words = shares
            .into_iter()
            .take(SHOWN_MAX)
            .map(|(name, share)| format!("{} {:.1} %", cell(name), 100.0 * share));
        words.collect::<Vec<_>>().join(", ")
    };
    if !report.areas.is_empty() {
        let _ = writeln!(text, "\nWhere its time goes: {}.", listed(report.shares()));
    }
    let modules = report.modules.iter();
    let mut modules: Vec<_> = modules
        .map(|(name, share)| (name.as_str(), *share))
        .collect();
    modules.sort_by(|a, b| b.1.total_cmp(&a.1));
    if !modules.is_empty() {
        let _ = writeln!(text, "Ours by module: {}.", listed(modules));
    }
    let calls = report.system_calls_per_request.iter();
    let mut calls: Vec<_> = calls
        .filter(|(_, each)| **each >= CALLS_SHOWN_MIN)
        .collect();
    calls.sort_by(|a, b| b.1.total_cmp(a.1));
    if !calls.is_empty() {
        let words = calls
            .into_iter()
            .take(SHOWN_MAX)
            .map(|(name, each)| format!("{name} {each:.4}"));
        let _ = writeln!(
            text,
            "System calls a request: {}.",
            words.collect::<Vec<_>>().join(", ")
        );
    }
}
