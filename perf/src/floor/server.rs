//! The command `floor-server`: a produce floor as a process of its own, so that `load` drives it, and the kernel counts its CPU, exactly as
//! with any server. `sync_server` and `ring_server` are its two modes.

use super::store::ZeroedFile;
use super::wire::Wire;
use super::{ring_server, sync_server};
use crate::PerfError;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// Which floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Poll, read, one blocking write, answer, in turn.
    Sync,
    /// Receive, write and send overlap on one io_uring.
    Ring,
}

/// What to serve.
#[derive(Clone, Debug, clap::Args)]
pub struct FloorServerOptions {
    /// Which floor: `sync` waits least with one request in hand, `ring` does most with many.
    #[arg(long, value_enum)]
    pub mode: Mode,
    /// Where to listen.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:19092")]
    pub listen: String,
    /// The folder for the file that is written over and over; it stays there.
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: PathBuf,
    /// How long that file is.
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(4..=65_536))]
    pub file_mib: u64,
}

/// Prepares the file, listens, and serves until `stop`.
///
/// # Errors
/// When the folder, the address or the ring cannot be had, or the disk fails.
pub fn run(options: &FloorServerOptions, stop: &AtomicBool) -> Result<(), PerfError> {
    let folder = &options.data_dir;
    std::fs::create_dir_all(folder)
        .map_err(|error| PerfError::Options(format!("{}: {error}", folder.display())))?;
    let file = ZeroedFile::create(folder, "floor.blocks", options.file_mib << 20)?;
    let failed = |error| PerfError::network(format!("listening on {}", options.listen), error);
    let listener = TcpListener::bind(&options.listen).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let wire = Wire::new(&address.ip().to_string(), address.port());
    eprintln!(
        "floor-server: {:?} floor on {address}, pid {}",
        options.mode,
        std::process::id()
    );
    match options.mode {
        Mode::Sync => sync_server::serve(&listener, wire, file, stop),
        Mode::Ring => ring_server::serve(&listener, wire, file, stop),
    }
}
