//! The command line of `odradek`: what each command takes. Each command's work is in its own file beside this one.

pub mod dev;
pub mod dump;
pub mod format;
pub mod probe;
pub mod start;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Kafka without ZooKeeper, and without the JVM.
#[derive(Parser, Debug)]
#[command(name = "odradek", version, about, long_about = LONG_ABOUT)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Command,
}

const LONG_ABOUT: &str = "Odradek is a streaming storage server that Kafka's clients and tools talk to unchanged.\n\n\
Try it:         odradek dev\n\
Run a node:     odradek format -t $(odradek format --random-uuid) -c server.properties --standalone\n\
                odradek start --config server.properties\n\
Look at a node: odradek probe --config server.properties, odradek dump --config server.properties";

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Format (on the first start) and run one combined node for development; data stays between starts.
    Dev(DevArguments),
    /// Prepare the directories of a node, as kafka-storage format does.
    Format(FormatArguments),
    /// Run a formatted node.
    Start(StartArguments),
    /// Say what this machine and the configured directories offer, and what Odradek would do with it.
    Probe(ProbeArguments),
    /// Show what a stopped node's directories hold.
    Dump(DumpArguments),
}

#[derive(clap::Args, Debug)]
pub struct DevArguments {
    /// Folder for the data; made when it is not there.
    #[arg(long, value_name = "DIR", default_value_os_t = default_data_folder())]
    pub data_dir: PathBuf,
    /// Further data directories, made when they are not there.
    #[arg(long, value_name = "DIR")]
    pub more_data_dir: Vec<PathBuf>,
    /// Where clients connect. Port 0 is not taken: clients must know it.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub listen: String,
    /// Where controllers and controller tools connect (default: the port after the clients').
    #[arg(long, value_name = "HOST:PORT")]
    pub controller_listen: Option<String>,
    /// Where /metrics and /health are served (default: the clients' port plus 372, so 9464 for 9092).
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics_listen: Option<String>,
    /// A configuration key and value, as in server.properties; may be repeated.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

#[derive(clap::Args, Debug)]
pub struct FormatArguments {
    /// The cluster's id: 22 characters, the same for every node. `--random-uuid` prints a fresh one.
    #[arg(
        short = 't',
        long,
        value_name = "ID",
        required_unless_present = "random_uuid"
    )]
    pub cluster_id: Option<String>,
    /// The node's server.properties.
    #[arg(
        short = 'c',
        long,
        value_name = "FILE",
        required_unless_present = "random_uuid"
    )]
    pub config: Option<PathBuf>,
    /// This node alone is the first controller of a new cluster.
    #[arg(short = 's', long, conflicts_with_all = ["initial_controllers", "no_initial_controllers"])]
    pub standalone: bool,
    /// The first controllers of a new cluster: id@host:port:directory-id, comma separated, the same on each of them.
    #[arg(
        short = 'I',
        long,
        value_name = "LIST",
        conflicts_with = "no_initial_controllers"
    )]
    pub initial_controllers: Option<String>,
    /// This controller joins an existing quorum later.
    #[arg(short = 'N', long)]
    pub no_initial_controllers: bool,
    /// A feature and its level, such as eligible.leader.replicas.version=1; may be repeated.
    #[arg(short = 'f', long = "feature", value_name = "NAME=LEVEL")]
    pub features: Vec<String>,
    /// Leave directories that are formatted already as they are.
    #[arg(short = 'g', long)]
    pub ignore_formatted: bool,
    /// Print a random id for `-t` and do nothing else.
    #[arg(long)]
    pub random_uuid: bool,
}

#[derive(clap::Args, Debug)]
pub struct StartArguments {
    /// The node's server.properties.
    #[arg(short = 'c', long, value_name = "FILE")]
    pub config: PathBuf,
    /// A key and value that win over the file; may be repeated.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

#[derive(clap::Args, Debug)]
pub struct ProbeArguments {
    /// Look at the directories this server.properties names.
    #[arg(short = 'c', long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
pub struct DumpArguments {
    /// The node's server.properties.
    #[arg(
        short = 'c',
        long,
        value_name = "FILE",
        required_unless_present = "data_dir"
    )]
    pub config: Option<PathBuf>,
    /// A data directory of a stopped node.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

fn default_data_folder() -> PathBuf {
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    base.unwrap_or_else(std::env::temp_dir).join("odradek")
}

/// Parses the process's arguments and runs the command they name.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    match line.command {
        Command::Dev(arguments) => dev::run(&arguments),
        Command::Format(arguments) => format::run(&arguments),
        Command::Start(arguments) => start::run(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Dump(arguments) => dump::run(&arguments),
    }
}

/// Prints why a command cannot go on; exit code 1, as every deliberate refusal has.
pub fn refuse(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("odradek: {message}");
    ExitCode::from(1)
}
