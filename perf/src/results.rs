//! Where a figure comes from, and the files it is kept in: commit, command, machine, kernel and time beside every report. `page` reads them back.

use crate::{PerfError, process};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What only the one who starts a run can say.
#[derive(Clone, Debug, clap::Args)]
pub struct Origin {
    /// The commit measured, to be kept with the figures.
    #[arg(long, default_value = "unknown")]
    pub commit: String,
    /// The command that a person would give to repeat the run; by default this one.
    #[arg(long, default_value = "")]
    pub command: String,
    /// Words to be kept with the figures, such as what was changed.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// The figures are of a design that was tried, of this name: the page shows them beside what was before under "Designs tried", and never
    /// as a row's result. --note says what the design is.
    #[arg(long, value_name = "NAME")]
    pub design: Option<String>,
    /// With --design: the figures are those without it. Where no file has them, the row's newest result until then stands in.
    #[arg(
        long,
        value_enum,
        value_name = "SIDE",
        default_value = "after",
        requires = "design"
    )]
    pub side: Side,
    /// With --design: whether it was kept. Known later, it may be written into the file by hand: "kept": true.
    #[arg(long, value_name = "true|false", requires = "design")]
    pub kept: Option<bool>,
}

/// Without the design that was tried, or with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Without it.
    Before,
    /// With it.
    After,
}

/// A design that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Design {
    /// What it is called: files of one name belong together.
    pub name: String,
    /// With it or without.
    pub side: Side,
    /// Whether it was kept, as far as it is known.
    #[serde(default)]
    pub kept: Option<bool>,
}

/// Everything that stands beside figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Taken {
    /// When, seconds since 1970.
    pub at_unix_seconds: u64,
    /// Of what.
    pub commit: String,
    /// How.
    pub command: String,
    /// Processor, cores, memory.
    pub machine: String,
    /// The file system of the data, as /proc/mounts names it.
    pub file_system: String,
    /// The kernel's release.
    pub kernel: String,
    /// How busy the machine was before: the kernel's load averages over 1, 5 and 15 minutes.
    pub load_average_before: String,
    /// Words of the person who measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Where the figures are of a design that was tried, and no result of the commit as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub design: Option<Design>,
}

impl Origin {
    /// With what the machine says of itself; `folder` is where the data lie.
    pub fn taken(&self, what: &str, folder: &Path) -> Taken {
        let command = match self.command.is_empty() {
            true => {
                let words = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
                format!("odradek-perf {words}")
            }
            false => self.command.clone(),
        };
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
        Taken {
            at_unix_seconds: unix_seconds(),
            commit: self.commit.clone(),
            command: if command.is_empty() {
                what.into()
            } else {
                command
            },
            machine: process::machine(),
            file_system: file_system(folder),
            kernel: process::kernel(),
            load_average_before: load,
            note: self.note.clone(),
            design: self.design.as_ref().map(|name| Design {
                name: name.clone(),
                side: self.side,
                kept: self.kept,
            }),
        }
    }
}

/// Type and device of the file system that a folder lies on: of the mounts above it, the deepest.
fn file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.into());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let above = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, point, kind) = (words.next()?, words.next()?, words.next()?);
        folder
            .starts_with(point)
            .then(|| (point.len(), format!("{kind} on {device}")))
    });
    above
        .max_by_key(|(depth, _)| *depth)
        .map_or("unknown".into(), |(_, named)| named)
}

fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Writes a report into `folder` as `KIND-TIME.json`, and says where.
///
/// # Errors
/// When it cannot be written.
pub fn keep(folder: &Path, kind: &str, report: &impl Serialize) -> Result<PathBuf, PerfError> {
    let path = folder.join(format!("{kind}-{}.json", stamp(unix_seconds())));
    let json = serde_json::to_string_pretty(report)
        .map_err(|error| PerfError::codec("writing JSON", error))?;
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, json + "\n"))
        .map_err(|error| PerfError::Options(format!("{}: {error}", path.display())))?;
    eprintln!("odradek-perf: kept in {}", path.display());
    Ok(path)
}

/// A time as `20261130T004500Z`, so that names sort by time.
pub fn stamp(unix_seconds: u64) -> String {
    let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    // Civil date of a day count, with years that begin in March, so that a leap day is the last one of its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_the_civil_date() {
        assert_eq!(stamp(0), "19700101T000000Z");
        assert_eq!(stamp(951_782_400), "20000229T000000Z");
        assert_eq!(stamp(1_795_493_829), "20261124T041709Z");
    }
}
