//! The command line of `odradek-perf`. Each command's work is in the library, in the file of its name.

use clap::{Parser, Subcommand};
use odradek_perf::PerfError;
use odradek_perf::bars::{self, BarsOptions};
use odradek_perf::compare::{self, CompareOptions};
use odradek_perf::fetch::{self, FetchOptions};
use odradek_perf::floor::server::{self as floor_server, FloorServerOptions};
use odradek_perf::floor::{self, FloorOptions};
use odradek_perf::load::{self, LoadOptions};
use odradek_perf::metadata::{self, MetadataOptions};
use odradek_perf::page::{self, PageOptions};
use odradek_perf::partitions::{self, PartitionsOptions};
use odradek_perf::profile::{self, ProfileOptions};
use odradek_perf::sessions::{self, SessionsOptions};
use odradek_perf::soak::{self, SoakOptions};
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
At a given rate:     odradek-perf load --topic t --rate 2000 --in-flight 64\n\
Many consumers:      odradek-perf sessions --server-pid $(pidof odradek)\n\
All the metadata:    odradek-perf metadata --partitions 100000 --server-pid $(pidof odradek)\n\
At best here:        odradek-perf floor\n\
Servers in turn:     odradek-perf compare --systems odradek,kafka,floor-ring --batch-bytes 65536\n\
Very many partitions: odradek-perf partitions --partitions 100000\n\
Every goal:          odradek-perf bars --list; odradek-perf bars --only produce-16k\n\
Where time goes:     odradek-perf profile --name produce-1k-deep\n\
For hours:           odradek-perf soak --minutes 120\n\n\
MB and GB are powers of ten. Bytes are those of record batches; what the protocol adds around them is not counted. \
Latency is from handing a request to its connection up to its answer, in a closed loop: a server that stalls is asked less, \
so compare throughput with it, or give a --rate: then it is from when the request was due. Ctrl-C reports what was measured so far.";

#[derive(Subcommand, Debug)]
enum Command {
    /// Produce: throughput, latency, errors, and the server's CPU, memory and disk writes.
    Load(LoadOptions),
    /// Read a topic, once or for a time, and check its batches: throughput, and the server's CPU and memory.
    Fetch(FetchOptions),
    /// Let many consumers wait on many mostly idle partitions: what fetch sessions cost the server.
    Sessions(SessionsOptions),
    /// Ask for the metadata of all topics, over many partitions: latency, and the server's CPU for each answer.
    Metadata(MetadataOptions),
    /// Serve as a produce floor: the least that a durable server can do, for `load` to drive.
    FloorServer(FloorServerOptions),
    /// Measure what this machine can do at best: network, memory, disk, and the produce floors.
    Floor(FloorOptions),
    /// Start servers, give all the same load in turn, and print medians, spread and ratios.
    Compare(CompareOptions),
    /// Measure every row of the goals beside Apache Kafka and the floors: held or missed.
    Bars(BarsOptions),
    /// Where a server's time goes under one load: system calls a request, and shares of its processor time by area.
    Profile(ProfileOptions),
    /// Hours at half of the peak in a directory that is nearly full: throughput, refusals and space over time.
    Soak(SoakOptions),
    /// Draw the page of results, with plots, from what the other commands kept.
    Report(PageOptions),
    /// The timed shutdown: make very many partitions on a server of its own, then time its stops and starts and see what it takes.
    Partitions(PartitionsOptions),
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
            let bad = report.as_ref().is_ok_and(|report| report.has_errors());
            show(report, options.json, bad)
        }
        Command::Fetch(options) => {
            let report = fetch::run(&options, &stop);
            let bad = report.as_ref().is_ok_and(|report| report.problems > 0);
            show(report, options.json, bad)
        }
        Command::Sessions(options) => show(sessions::run(&options, &stop), options.json, false),
        Command::Metadata(options) => show(metadata::run(&options, &stop), options.json, false),
        Command::FloorServer(options) => match floor_server::run(&options, &stop) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error),
        },
        Command::Floor(options) => show(floor::run(&options, &stop), options.json, false),
        Command::Compare(options) => {
            let report = compare::run(&options, &stop);
            let bad = report
                .as_ref()
                .is_ok_and(|report| !report.failures.is_empty());
            show(report, options.json, bad)
        }
        Command::Bars(options) if options.list => {
            print!("{}", bars::list());
            ExitCode::SUCCESS
        }
        Command::Bars(options) => show(bars::run(&options, &stop), options.json, false),
        Command::Profile(options) => show(profile::run(&options, &stop), options.json, false),
        Command::Soak(options) => show(soak::run(&options, &stop), options.json, false),
        Command::Partitions(options) => {
            let report = partitions::run(&options, &stop);
            let bad = report.as_ref().is_ok_and(|report| report.problems > 0);
            show(report, options.json, bad)
        }
        Command::Report(options) => show(page::run(&options), false, false),
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
