//! The shell: threads, rings, sockets, files, clock and HTTP around one sans-IO [`Machine`] per core.
//!
//! How a node uses it:
//!
//! ```text
//! let shell = Shell::prepare(options)?;        // limits raised, io_uring tried, directories locked, ports bound: nothing written yet
//! for line in shell.report() { info!("{line}") }
//! // ... read meta.properties, decide which core owns which log ...
//! let exit = shell.run(logs, pages, builders); // blocks; each builder runs on its core's thread and recovers that core's logs there
//! std::process::exit(exit.code.into());
//! ```
//!
//! Threads: per core a data loop (`data_loop.rs`, on its own ring, `ring.rs`) and a background executor (`background.rs`); the caller's thread
//! waits for them; one more waits for signals, and one per core touches memory ahead of it (`memory.rs`). Core 0 accepts for all listeners and hands
//! each socket to the core with fewest connections; its background executor serves HTTP. SIGTERM and SIGINT become `ShutdownRequested` for every
//! machine; a second signal ends the process at once.
//!
//! Where to look: connections and their limits in `connections.rs` and `connection.rs`, frames in `frames.rs`, mail and doorbells in
//! `mailbox.rs`, files in `disk.rs` and `loop_disk.rs`, what the machine has in `probe.rs`, numbers in `metrics.rs`, pages in `http.rs`.

mod background;
mod buffers;
mod clock;
mod completion;
mod connection;
mod connections;
mod data_loop;
mod disk;
mod frames;
mod http;
mod limits;
mod loop_disk;
mod loop_metrics;
mod mailbox;
mod memory;
mod metrics;
mod probe;
mod process;
mod ring;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tracing::{error, info, warn};

pub use background::BackgroundKind;
pub use buffers::AlignedBuffer;
pub use completion::{RingFeatures, RingOptions};
pub use data_loop::LoopEnd;
pub use disk::{
    DirectoryLock, LockError, RealDisk, file_path, io_failure, shard_folder, sync_folder,
    write_file_atomically,
};
pub use http::{Health, Page, PageByPath, Pages};
pub use limits::{ConnectionLimits, ZeroCopyLimits};
pub use loop_metrics::log_labels;
pub use memory::use_memory_of;
pub use metrics::{Counter, Gauge, Histogram, Labels, Registry};
pub use probe::{DirectoryFacts, probe_directory, random_numbers, system_report};
pub use process::ProcessMetrics;

use crate::machine::{Machine, Now};
use background::{BackgroundPort, BackgroundSetup};
use connections::Connections;
use data_loop::{Acceptor, DataLoop, Shared, Work};
use limits::ConnectionCounts;
use loop_disk::LoopDisk;
use loop_metrics::{LoopMetrics, SocketMetrics};
use mailbox::{Doorbell, Order, OrderSender, Ports};
use ring::Ring;

/// What the shell is to build.
#[derive(Clone, Debug)]
pub struct ShellOptions {
    /// One data loop per entry: the processor it and its background thread are pinned to, or none. At most 65,535.
    pub cores: Vec<Option<usize>>,
    /// Addresses to listen on; `ConnectionOpened::listener` is an index into these. Port 0 takes a free one.
    pub listeners: Vec<SocketAddr>,
    /// Where HTTP is served, if at all.
    pub http: Option<SocketAddr>,
    /// Data directories: locked (`.lock`) and reported on. They must exist.
    pub directories: Vec<PathBuf>,
    pub limits: ConnectionLimits,
    pub ring: RingOptions,
    /// Mail that may lie between two cores.
    pub mailbox_letters_max: usize,
    /// Jobs that may lie with a background thread.
    pub background_jobs_max: usize,
    /// Log files one core keeps open.
    pub open_files_max: usize,
    /// Turn SIGTERM and SIGINT into `ShutdownRequested`. Off in tests.
    pub handle_signals: bool,
}

impl Default for ShellOptions {
    fn default() -> Self {
        Self {
            cores: vec![None],
            listeners: Vec::new(),
            http: None,
            directories: Vec::new(),
            limits: ConnectionLimits::default(),
            ring: RingOptions::default(),
            mailbox_letters_max: 4096,
            background_jobs_max: 256,
            open_files_max: 1024,
            handle_signals: false,
        }
    }
}

/// Where `count` data loops run, fewer when there are fewer processors: each pinned to its own when they take them all; otherwise the scheduler
/// places them, since it knows which processors others leave free.
pub fn processors(count: usize) -> Vec<Option<usize>> {
    let allowed = probe::allowed_processors();
    if count < allowed.len() {
        return vec![None; count];
    }
    allowed.into_iter().map(Some).collect()
}

/// How many processors this process may run on.
pub fn processors_allowed() -> usize {
    probe::allowed_processors().len()
}

/// Why the node cannot start. The text says what, where and what to do; nothing was changed.
#[derive(Debug)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// How the node ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The process's exit code.
    pub code: u8,
    /// Why, for the last line of the log.
    pub reason: String,
}

/// What a machine's builder is given, on the thread of its core.
pub struct CoreContext {
    pub core: u16,
    pub cores: u16,
    /// Folders of the logs this core owns, by the index that `MachineAction::Disk` names.
    pub logs: Vec<PathBuf>,
    /// Where metrics are registered.
    pub registry: Registry,
    /// The time of the build.
    pub now: Now,
    /// From the operating system: for hash seeds and segment nonces.
    pub random: [u64; 2],
    /// Addresses the listeners got.
    pub listeners: Vec<SocketAddr>,
}

impl CoreContext {
    /// The time now; recovery may take long.
    pub fn read_clock(&self) -> Now {
        clock::Clock.now()
    }
}

/// Makes a core's machine on that core's thread, where it may block: recovery reads its logs through [`RealDisk`].
pub type MachineBuilder<M> = Box<dyn FnOnce(CoreContext) -> Result<M, StartError> + Send>;

/// Reaches a running node from other threads.
#[derive(Clone)]
pub struct ShellHandle {
    orders: Arc<std::sync::OnceLock<OrderSender>>,
}

impl ShellHandle {
    /// Asks every machine to shut down. Nothing happens before the loops run.
    pub fn shut_down(&self, immediately: bool) {
        if let Some(orders) = self.orders.get() {
            orders.send_all(Order::ShutDown { immediately });
        }
    }
}

/// Everything that could fail early, done; ready to run.
pub struct Shell {
    options: ShellOptions,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    http: Option<TcpListener>,
    http_address: Option<SocketAddr>,
    report: Vec<String>,
    registry: Registry,
    orders: Arc<std::sync::OnceLock<OrderSender>>,
    _locks: Vec<DirectoryLock>,
}

impl Shell {
    /// Tries io_uring, raises the limit on open files, locks the directories and binds the ports.
    pub fn prepare(options: ShellOptions) -> Result<Self, StartError> {
        assert!(!options.cores.is_empty() && options.cores.len() <= usize::from(u16::MAX));
        let mut report = probe::system_report(&options)?;
        let mut locks = Vec::new();
        for directory in &options.directories {
            let lock = DirectoryLock::acquire(directory, Duration::from_secs(2));
            locks.push(lock.map_err(|error| StartError(error.to_string()))?);
            report.extend(probe::probe_directory(directory).lines(directory));
        }
        let listeners = options
            .listeners
            .iter()
            .map(|address| bind(*address, "listeners"))
            .collect::<Result<Vec<_>, _>>()?;
        let http = options
            .http
            .map(|address| bind(address, "odradek.metrics.listener"))
            .transpose()?;
        let local = |listener: &TcpListener| {
            let address = listener.local_addr();
            address.map_err(|error| StartError(format!("a bound port has no address: {error}")))
        };
        let addresses = listeners.iter().map(local).collect::<Result<_, _>>()?;
        let http_address = http.as_ref().map(local).transpose()?;
        Ok(Self {
            options,
            listeners,
            addresses,
            http,
            http_address,
            report,
            registry: Registry::default(),
            orders: Arc::default(),
            _locks: locks,
        })
    }

    /// What was found of the machine, a line each.
    pub fn report(&self) -> &[String] {
        &self.report
    }

    /// Addresses the listeners got, in the order of the options.
    pub fn listener_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// The metrics of this node.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// For other threads.
    pub fn handle(&self) -> ShellHandle {
        ShellHandle {
            orders: Arc::clone(&self.orders),
        }
    }

    /// Runs one machine per core until all have exited or one has failed. `logs[core]` are the folders of that core's logs.
    ///
    /// # Panics
    /// When there is not one builder and one list of folders per core.
    pub fn run<M: Machine + 'static>(
        mut self,
        logs: Vec<Vec<PathBuf>>,
        pages: Pages,
        builders: Vec<MachineBuilder<M>>,
    ) -> Exit {
        let cores = self.options.cores.len();
        assert!(builders.len() == cores && logs.len() == cores);
        let (ports, orders) = match mailbox::connect(cores, self.options.mailbox_letters_max) {
            Ok(connected) => connected,
            Err(error) => return failed(format!("cannot make an eventfd: {error}")),
        };
        let _ = self.orders.set(orders.clone());
        if self.options.handle_signals
            && let Err(error) = watch_signals(orders.clone())
        {
            return failed(format!("cannot watch for signals: {error}"));
        }
        let shared = Arc::new(Shared {
            counts: Arc::new(ConnectionCounts::new(cores)),
            ready: AtomicUsize::new(0),
            cores,
        });
        let acceptor_bell = Arc::clone(&ports[0].doorbell);
        let mut http = self.http.take().map(|listener| (listener, pages));
        let mut listeners: Vec<OwnedFd> = self.listeners.drain(..).map(OwnedFd::from).collect();
        let (ends_start, ends) = channel();
        let parts = ports.into_iter().zip(logs).zip(builders).enumerate();
        for (core, ((ports, logs), builder)) in parts {
            let seat = Seat {
                core: core as u16,
                processor: self.options.cores[core],
                options: self.options.clone(),
                addresses: self.addresses.clone(),
                registry: self.registry.clone(),
                shared: Arc::clone(&shared),
                acceptor_bell: Arc::clone(&acceptor_bell),
                listeners: std::mem::take(&mut listeners),
                http: http.take(),
                ports,
                logs,
            };
            if let Err(error) = start_core(seat, builder, ends_start.clone()) {
                orders.send_all(Order::Stop);
                return failed(format!("cannot start the thread of core {core}: {error}"));
            }
        }
        drop(ends_start);
        wait_for_ends(&ends, &orders, cores)
    }
}

fn failed(reason: String) -> Exit {
    Exit { code: 1, reason }
}

/// Collects how every loop ended. After a failure the others have two seconds.
fn wait_for_ends(ends: &Receiver<LoopEnd>, orders: &OrderSender, cores: usize) -> Exit {
    let mut exit: Option<Exit> = None;
    for _ in 0..cores {
        let end = match &exit {
            Some(exit) if exit.code != 0 => ends.recv_timeout(Duration::from_secs(2)).ok(),
            _ => ends.recv().ok(),
        };
        let Some(LoopEnd { code, reason }) = end else {
            break;
        };
        let first_failure = code != 0 && exit.as_ref().is_none_or(|exit| exit.code == 0);
        if first_failure {
            error!("{reason}");
            orders.send_all(Order::Stop);
        }
        if first_failure || exit.is_none() {
            exit = Some(Exit { code, reason });
        }
    }
    exit.unwrap_or_else(|| failed("the data loops ended without saying why".to_owned()))
}

fn bind(address: SocketAddr, key: &str) -> Result<TcpListener, StartError> {
    let build = || -> io::Result<TcpListener> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        Ok(socket.into())
    };
    bind_patiently(build).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "Another program listens there: stop it, or choose another port"
            }
            io::ErrorKind::PermissionDenied => {
                "Ports below 1024 need the right to bind them: choose a higher one"
            }
            io::ErrorKind::AddrNotAvailable => {
                "This machine has no such address: choose one it has, or 0.0.0.0"
            }
            _ => "Choose another address or port",
        };
        StartError(format!(
            "cannot listen on {address}: {error}. {advice} ({key})"
        ))
    })
}

/// Tries for as long as a predecessor that was just killed may take to let go of its port.
fn bind_patiently(build: impl Fn() -> io::Result<TcpListener>) -> io::Result<TcpListener> {
    const TRIES: u32 = 40;
    const PAUSE: Duration = Duration::from_millis(50);
    for _ in 1..TRIES {
        match build() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    build()
}

/// SIGTERM and SIGINT once: shut down. Again: go at once, as a shell counts it (128 + signal).
fn watch_signals(orders: OrderSender) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut asked = false;
            for signal in signals.forever() {
                if asked {
                    error!("a second signal: leaving at once; what was acknowledged is safe");
                    std::process::exit(128 + signal);
                }
                info!("signal {signal}: shutting down (a second one leaves at once)");
                asked = true;
                orders.send_all(Order::ShutDown { immediately: false });
            }
        })?;
    Ok(())
}

/// What a core's thread takes with it.
struct Seat<Mail> {
    core: u16,
    processor: Option<usize>,
    options: ShellOptions,
    addresses: Vec<SocketAddr>,
    registry: Registry,
    shared: Arc<Shared>,
    acceptor_bell: Arc<Doorbell>,
    /// Of core 0 only.
    listeners: Vec<OwnedFd>,
    http: Option<(TcpListener, Pages)>,
    ports: Ports<Mail>,
    logs: Vec<PathBuf>,
}

/// Ends the process when a data loop panics: its state may be half changed, and recovery is the way back.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

fn start_core<M: Machine + 'static>(
    seat: Seat<M::Mail>,
    builder: MachineBuilder<M>,
    ends: Sender<LoopEnd>,
) -> io::Result<()> {
    std::thread::Builder::new()
        .name(format!("core-{}", seat.core))
        .spawn(move || {
            let _guard = AbortOnPanic;
            let end = match build_loop(seat, builder) {
                Ok(data_loop) => data_loop.run(),
                Err(StartError(reason)) => LoopEnd { code: 1, reason },
            };
            let _ = ends.send(end);
        })
        .map(drop)
}

fn build_loop<M: Machine>(
    seat: Seat<M::Mail>,
    builder: MachineBuilder<M>,
) -> Result<DataLoop<M>, StartError> {
    let core = seat.core;
    if let Some(processor) = seat.processor
        && let Err(error) = probe::pin_thread(processor)
    {
        warn!("core {core} is not pinned to processor {processor}: {error}");
    }
    ring::wake_on_time();
    memory::use_memory_of(core);
    let ring = Ring::new(&seat.options.ring).map_err(|error| probe::ring_refused(&error))?;
    let clock = clock::Clock;
    let disk = LoopDisk::new(seat.logs.clone(), seat.options.open_files_max)
        .map_err(|error| StartError(format!("core {core} has no memory for reads: {error}")))?;
    let metrics = LoopMetrics::new(&seat.registry, core, &seat.logs);
    // First, so that /health tells of a recovery while it runs.
    let place = (core, seat.processor, seat.http);
    let background = start_background(&seat.options, &seat.ports.doorbell, &metrics, place)?;
    let context = CoreContext {
        core,
        cores: seat.options.cores.len() as u16,
        logs: seat.logs.clone(),
        registry: seat.registry.clone(),
        now: clock.now(),
        random: probe::random_numbers(),
        listeners: seat.addresses,
    };
    let machine = builder(context)?;
    let counts = Arc::clone(&seat.shared.counts);
    let mut limits = seat.options.limits;
    limits.zero_copy.bytes_max /= seat.options.cores.len();
    let sockets = SocketMetrics::new(&seat.registry, core);
    seat.ports.doorbell.set_ring(ring.descriptor());
    seat.shared.ready.fetch_add(1, Ordering::AcqRel);
    seat.acceptor_bell.wake_from_thread();
    Ok(DataLoop {
        core,
        machine,
        ring,
        clock,
        connections: Connections::new(core, limits, counts, sockets),
        disk,
        ports: seat.ports,
        background,
        acceptor: Acceptor::new(seat.listeners),
        shared: seat.shared,
        metrics,
        work: Work::new(clock.now()),
    })
}

/// Starts the background thread of a core, which serves HTTP too where it is given a port for it.
fn start_background(
    options: &ShellOptions,
    loop_bell: &Arc<Doorbell>,
    metrics: &LoopMetrics,
    (core, processor, http): (u16, Option<usize>, Option<(TcpListener, Pages)>),
) -> Result<BackgroundPort, StartError> {
    let setup = BackgroundSetup {
        core,
        processor,
        queue_max: options.background_jobs_max,
        loop_bell: Arc::clone(loop_bell),
        count: metrics.background_jobs.clone(),
        http,
    };
    let (background, kind) = background::start(setup).map_err(|error| {
        StartError(format!(
            "cannot start the background thread of core {core}: {error}"
        ))
    })?;
    if let BackgroundKind::Plain(reason) = kind {
        warn!(
            "core {core}: background work runs on a plain thread, since glommio cannot start: {reason}"
        );
    }
    Ok(background)
}
