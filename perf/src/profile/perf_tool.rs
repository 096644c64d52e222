//! Linux's `perf` on a process for some seconds: its system calls by name, and its samples reduced by `areas`. Where it is missing or refused,
//! that is said in words, and the figure is not measured.

use super::areas::{self, Symbol};
use crate::PerfError;
use crate::systems::Scratch;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Samples each second and processor; an odd number, so that it keeps no step with timers.
const SAMPLES_PER_SECOND: &str = "999";
/// How much longer than its seconds `perf` may take to end, and to print what it has.
const PATIENCE: Duration = Duration::from_secs(60);
/// Symbols that are kept by name.
const SYMBOLS_MAX: usize = 40;

/// Samples by area, by module of ours, and by symbol: shares of all samples of the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    pub(super) count: u64,
    pub(super) areas: BTreeMap<String, f64>,
    pub(super) modules: BTreeMap<String, f64>,
    pub(super) symbols: Vec<(String, f64)>,
}

/// Counts the system calls of a process by name, over all its threads.
///
/// # Errors
/// Why they cannot be counted.
pub(super) fn system_calls(pid: u32, seconds: f64) -> Result<BTreeMap<String, u64>, String> {
    let output = run(
        Command::new("perf")
            .args(["trace", "-s", "-p", &pid.to_string(), "--", "sleep"])
            .arg(seconds.to_string()),
        seconds,
    )?;
    let calls = counted(&output);
    match calls.is_empty() {
        true => Err(format!(
            "perf trace printed no table: {}",
            first_line(&output)
        )),
        false => Ok(calls),
    }
}

/// Sums the tables that `perf trace -s` prints, one a thread: a name, calls, errors, and times.
fn counted(output: &str) -> BTreeMap<String, u64> {
    let mut calls = BTreeMap::new();
    for line in output.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, count, errors, time, ..] = words.as_slice() else {
            continue;
        };
        let table = errors.parse::<u64>().is_ok() && time.parse::<f64>().is_ok();
        if let (true, Ok(count)) = (table && words.len() >= 7, count.parse::<u64>()) {
            *calls.entry((*name).to_string()).or_insert(0) += count;
        }
    }
    calls
}

/// Samples a process and reduces what it was at. The samples lie in `folder` meanwhile.
///
/// # Errors
/// Why it cannot be sampled.
pub(super) fn samples(pid: u32, seconds: f64, folder: &Path) -> Result<Samples, String> {
    let scratch = Scratch::new(folder, "samples").map_err(|error| error.to_string())?;
    let file = scratch.path.join("perf.data");
    run(
        Command::new("perf")
            .args([
                "record",
                "-F",
                SAMPLES_PER_SECOND,
                "-g",
                "-p",
                &pid.to_string(),
                "-o",
            ])
            .arg(&file)
            .args(["--", "sleep"])
            .arg(seconds.to_string()),
        seconds,
    )?;
    let mut child = Command::new("perf")
        .args(["script", "-F", "comm,period,ip,sym,dso", "-i"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("perf script: {error}"))?;
    let out = child.stdout.take().ok_or("perf script has no output")?;
    let samples = reduced(BufReader::new(out));
    let ended = child
        .wait()
        .map_err(|error| format!("perf script: {error}"))?;
    match samples.count {
        0 => Err(format!("perf recorded no samples ({ended})")),
        _ => Ok(samples),
    }
}

/// Reads what `perf script` prints: a line of the thread's name and the sample's weight, a line for each symbol of its chain, an empty line.
fn reduced(lines: impl BufRead) -> Samples {
    let mut samples = Samples::default();
    let mut by_symbol: BTreeMap<String, f64> = BTreeMap::new();
    let (mut chain, mut weight, mut all) = (Vec::<Symbol>::new(), 0.0, 0.0);
    let mut take = |chain: &mut Vec<Symbol>, weight: f64| {
        if let Some(leaf) = chain.first() {
            let placed = areas::place(chain);
            *samples.areas.entry(placed.area).or_insert(0.0) += weight;
            if let Some(module) = placed.module {
                *samples.modules.entry(module).or_insert(0.0) += weight;
            }
            *by_symbol.entry(leaf.name.clone()).or_insert(0.0) += weight;
            samples.count += 1;
            all += weight;
        }
        chain.clear();
    };
    // A line that is no UTF-8 ends nothing: a symbol may hold anything.
    for line in lines.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        match line.trim() {
            "" => take(&mut chain, weight),
            _ if line.starts_with(char::is_whitespace) && !chain.is_empty() | is_frame(&line) => {
                chain.extend(symbol(&line));
            }
            head => {
                take(&mut chain, weight);
                let period = head.trim_end_matches(':').split_whitespace().last();
                weight = period.and_then(|it| it.parse().ok()).unwrap_or(1.0);
            }
        }
    }
    take(&mut chain, weight);
    let share = |shares: &mut BTreeMap<String, f64>| {
        shares.values_mut().for_each(|it| *it /= all.max(1.0));
    };
    share(&mut by_symbol);
    samples.symbols = by_symbol.into_iter().collect();
    samples.symbols.sort_by(|a, b| b.1.total_cmp(&a.1));
    samples.symbols.truncate(SYMBOLS_MAX);
    share(&mut samples.areas);
    share(&mut samples.modules);
    samples
}

/// Whether a line is a symbol of a chain: it ends with the file in brackets.
fn is_frame(line: &str) -> bool {
    line.trim_end().ends_with(')') && line.starts_with('\t')
}

/// `ffffffff8 name+0x10 (file)`: the name may hold spaces and brackets.
fn symbol(line: &str) -> Option<Symbol> {
    let (_, rest) = line.trim().split_once(' ')?;
    let (name, file) = rest.rsplit_once(" (")?;
    let kernel =
        file.starts_with("[kernel") || file.starts_with("[guest") || file.ends_with(".ko)");
    Some(Symbol {
        name: name.trim().to_string(),
        kernel: kernel || file.starts_with("[vmlinux") || file.contains("vmlinux"),
    })
}

fn run(command: &mut Command, seconds: f64) -> Result<String, String> {
    let named = format!(
        "perf {}",
        command
            .get_args()
            .next()
            .unwrap_or_default()
            .to_string_lossy()
    );
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                "Linux's perf is not installed (package linux-perf or linux-tools)".to_string()
            }
            _ => format!("{named}: {error}"),
        })?;
    let (ended, said) = wait(child, Duration::from_secs_f64(seconds) + PATIENCE)
        .map_err(|error| format!("{named}: {error}"))?;
    match ended {
        true => Ok(said),
        // Mostly: kernel.perf_event_paranoid, or tracepoints that are root's alone.
        false => Err(format!("{named} was refused: {}", first_line(&said))),
    }
}

/// Whether it ended well, and what it said on standard error, where `perf` prints.
fn wait(mut child: Child, longest: Duration) -> Result<(bool, String), PerfError> {
    let pipe = crate::runner::reader(child.stderr.take());
    let deadline = Instant::now() + longest;
    let ended = loop {
        if let Ok(Some(status)) = child.try_wait() {
            break status.success();
        }
        if Instant::now() > deadline {
            crate::systems::end_child(&mut child, Duration::from_secs(2));
            return Err(PerfError::Unanswered("not done in its time".into()));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    Ok((ended, pipe.join().unwrap_or_default()))
}

fn first_line(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim);
    lines
        .find(|line| !line.is_empty())
        .unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_all_threads_are_summed() {
        let output = "\n Summary of events:\n\n odradek (7), 10 events, 90.0%\n\n   syscall            calls  errors  total       min       avg       max       stddev\n   \
            --------------- --------  ------ -------- --------- --------- ---------     ------\n   io_uring_enter       100      0   7.5     0.0     1.8     7.3      5.60%\n   \
            futex                 2      1   7.5     0.0     1.8     7.3      5.60%\n\n odradek (8), 1 events\n   io_uring_enter        11      0   7.5     0.0     1.8     7.3      5.60%\n";
        let calls = counted(output);
        assert_eq!(calls["io_uring_enter"], 111);
        assert_eq!(calls["futex"], 2);
        assert_eq!(calls.len(), 2);
    }

    #[test]
    fn samples_become_shares_by_weight() {
        let text = "odradek    300 \n\tffff tcp_sendmsg ([kernel.kallsyms])\n\tffff do_syscall_64 ([kernel.kallsyms])\n\n\
                    a name    100 \n\t  55 odradek_wal::append::Log::append (/x/odradek (deleted))\n\n";
        let samples = reduced(text.as_bytes());
        assert_eq!(samples.count, 2);
        assert_eq!(samples.areas["kernel network"], 0.75);
        assert_eq!(samples.modules["wal::append"], 0.25);
        assert_eq!(samples.symbols[0], ("tcp_sendmsg".to_string(), 0.75));
    }
}
