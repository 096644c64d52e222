//! The command line of `odradek-perf`. Each command's work is in the library, in the file of its name.

use clap::{Parser, Subcommand};
use odradek_perf::PerfError;
use odradek_perf::fetch::{self, FetchOptions};
use odradek_perf::load::{self, LoadOptions};
use odradek_perf::metadata::{self, MetadataOptions};
use odradek_perf::partitions::{self, PartitionsOptions};
use odradek_perf::summary::{self, SummaryOptions};
use serde::Serialize;
use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Load for any server that speaks Kafka's protocol, and what it costs that server.
#[derive(Parser, Debug)]
#[command(name = "odradek-perf", version, about, long_about = LONG_ABOUT)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "Load for any server that speaks Kafka's protocol, and what it costs that server.\n\n\
Produce for 10 s:    odradek-perf load --bootstrap 127.0.0.1:9092 --topic t --batch-bytes 16384\n\
With the cost:       odradek-perf load --topic t --server-pid $(pidof odradek)\n\
Many small requests: odradek-perf load --topic t --batch-bytes 1024 --connections 8 --in-flight 32\n\
Read it all back:    odradek-perf fetch --topic t\n\
All the metadata:    odradek-perf metadata --partitions 100000 --server-pid $(pidof odradek)\n\
Very many partitions: odradek-perf partitions --partitions 100000\n\
Two servers:         scripts/perf-produce\n\n\
MB and GB are powers of ten. Bytes are those of record batches; what the protocol adds around them is not counted. \
Latency is from handing a request to its connection up to its answer, in a closed loop: a server that stalls is asked less, \
so compare throughput with it. Ctrl-C reports what was measured so far.";

#[derive(Subcommand, Debug)]
enum Command {
    /// Produce: throughput, latency, errors, and the server's CPU, memory and disk writes.
    Load(LoadOptions),
    /// Read a topic from its start to its end, and check every batch.
    Fetch(FetchOptions),
    /// Ask for the metadata of all topics, over many partitions: latency, and the server's CPU for each answer.
    Metadata(MetadataOptions),
    /// The timed shutdown: make very many partitions on a server of its own, then time its stops and starts and see what it takes.
    Partitions(PartitionsOptions),
    /// Make one table, and one results file, of many load reports.
    Summary(SummaryOptions),
}

fn main() -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second one ends the program at once.
        let armed =
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)));
        if let Err(error) = armed {
            eprintln!("odradek-perf: Ctrl-C will not report: {error}");
        }
    }
    match CommandLine::parse().command {
        Command::Load(options) => {
            let report = load::run(&options, &stop);
            let bad = report
                .as_ref()
                .is_ok_and(|report| !report.errors.is_empty());
            show(report, options.json, bad)
        }
        Command::Fetch(options) => {
            let report = fetch::run(&options, &stop);
            let bad = report.as_ref().is_ok_and(|report| report.problems > 0);
            show(report, options.json, bad)
        }
        Command::Metadata(options) => show(metadata::run(&options, &stop), options.json, false),
        Command::Partitions(options) => {
            let report = partitions::run(&options, &stop);
            let bad = report.as_ref().is_ok_and(|report| report.problems > 0);
            show(report, options.json, bad)
        }
        Command::Summary(options) => match summary::run(&options) {
            Ok(table) => {
                print!("{table}");
                ExitCode::SUCCESS
            }
            Err(error) => refuse(&error),
        },
    }
}

/// Prints a report; a run with errors ends with code 1 although its figures stand.
fn show<Report: Serialize + Display>(
    report: Result<Report, PerfError>,
    json: bool,
    bad: bool,
) -> ExitCode {
    match report {
        Ok(report) if json => match serde_json::to_string(&report) {
            Ok(line) => println!("{line}"),
            Err(error) => return refuse(&PerfError::codec("writing JSON", error)),
        },
        Ok(report) => println!("{report}"),
        Err(error) => return refuse(&error),
    }
    ExitCode::from(u8::from(bad))
}

fn refuse(error: &PerfError) -> ExitCode {
    eprintln!("odradek-perf: {error}");
    ExitCode::FAILURE
}
