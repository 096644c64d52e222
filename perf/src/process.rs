//! What a process on this machine has used, as the kernel counts it in /proc. `load` reads it before and after.

use crate::PerfError;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Kernel ticks per second in /proc/PID/stat: fixed at 100 for user space on every architecture Rust's Linux targets serve.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process's use so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time in user and kernel mode, of all threads that ever were, seconds.
    pub cpu_seconds: f64,
    /// Memory resident now, bytes.
    pub resident_bytes: u64,
    /// The most memory ever resident, bytes.
    pub resident_peak_bytes: u64,
    /// Bytes caused to be written to storage (a page counts when it is made dirty), bytes.
    pub disk_write_bytes: u64,
}

/// Reads what process `pid` has used.
///
/// # Errors
/// When there is no such process, or its /proc/PID/io is not ours to read.
pub fn usage(pid: u32) -> Result<Usage, PerfError> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        fs::read_to_string(&path)
            .map_err(|error| PerfError::Options(format!("--server-pid {pid}: {path}: {error}")))
    };
    let missing =
        |what: &str| PerfError::Options(format!("--server-pid {pid}: no {what} in /proc"));
    let stat = read("stat")?;
    let ticks = cpu_ticks(&stat).ok_or_else(|| missing("processor time"))?;
    let status = read("status")?;
    let kib = |name: &str| number_after(&status, name).map(|kib| kib * 1024);
    Ok(Usage {
        cpu_seconds: ticks as f64 / TICKS_PER_SECOND,
        resident_bytes: kib("VmRSS:").ok_or_else(|| missing("VmRSS"))?,
        resident_peak_bytes: kib("VmHWM:").ok_or_else(|| missing("VmHWM"))?,
        disk_write_bytes: number_after(&read("io")?, "write_bytes:")
            .ok_or_else(|| missing("write_bytes"))?,
    })
}

/// How often threads of process `pid` have given their processor up to wait for something, all that run now together.
///
/// # Errors
/// When there is no such process.
pub fn waits(pid: u32) -> Result<u64, PerfError> {
    let path = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&path)
        .map_err(|error| PerfError::Options(format!("--server-pid {pid}: {path}: {error}")))?;
    // A thread may end while we read: then it counts no more.
    let waits = tasks.flatten().filter_map(|task| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        number_after(&status, "voluntary_ctxt_switches:")
    });
    Ok(waits.sum())
}

/// utime and stime: fields 14 and 15, counted after the program's name, which may hold spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line[name.len()..].split_whitespace().next()?.parse().ok()
}

/// Blocks of all files under a folder, bytes. A file that goes away meanwhile counts nothing.
pub fn disk_bytes(folder: &Path) -> u64 {
    let mut bytes = 0;
    each_file(folder, &mut |_, metadata| bytes += metadata.blocks() * 512);
    bytes
}

/// Lengths of the files under a folder whose names end with one of these, bytes.
pub fn file_bytes(folder: &Path, extensions: &[&str]) -> u64 {
    let mut bytes = 0;
    each_file(folder, &mut |path, metadata| {
        let extension = path.extension().and_then(|it| it.to_str());
        if extension.is_some_and(|it| extensions.contains(&it)) {
            bytes += metadata.len();
        }
    });
    bytes
}

fn each_file(folder: &Path, found: &mut dyn FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => each_file(&entry.path(), found),
            Ok(metadata) => found(&entry.path(), &metadata),
            Err(_) => {}
        }
    }
}

/// This machine in a few words, for the results: processor, cores, memory, kernel.
pub fn machine() -> String {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = text("/proc/cpuinfo");
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory_kib = number_after(&text("/proc/meminfo"), "MemTotal:").unwrap_or(0);
    format!("{model}, {cores} cores, {} MiB", memory_kib / 1024)
}

/// The running kernel's release.
pub fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_stands_after_a_name_with_brackets() {
        let stat = "7 (a b) c)) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20";
        assert_eq!(cpu_ticks(stat), Some(150));
    }

    #[test]
    fn our_own_use_can_be_read() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 0 && usage.resident_peak_bytes >= usage.resident_bytes);
    }
}
