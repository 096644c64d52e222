//! The background threads beside each data loop, for all that may wait: a glommio executor at low priority, and a thread that computes while no other
//! wants the processor.
//!
//! They are given jobs through a bounded queue and hand their results back, each side waking the other only when that sleeps.
//! Jobs with files run on glommio's blocking pool (two threads of the same priority: bulk, and small files), HTTP
//! (`http.rs`, on core 0) in a task queue; none of them touches the state of a shard. Where glommio cannot start (it wants 512 KiB of memlock
//! and io_uring), jobs with files run one after the other on a plain thread, and the start-up report says so.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{
    Receiver, SendError, Sender, SyncSender, TryRecvError, TrySendError, channel, sync_channel,
};
use std::thread::JoinHandle;

use glommio::{Latency, LocalExecutorBuilder, Placement, PoolPlacement, Shares};
use odradek_wal::{FileName, IoResult};
use tracing::warn;

use super::disk::{
    compose_file_atomically, create_file, eventfd_for_glommio, read_new, remove_file, sync_data,
    sync_folder, write_file_atomically, write_whole,
};
use super::http::{self, Pages};
use super::loop_disk::{DiskName, DiskWork};
use super::mailbox::Doorbell;
use super::ring::{lower_thread_priority, run_when_idle};
use crate::machine::{BackgroundResult, BackgroundWork};

/// Work for the background thread.
pub(super) enum Job {
    Disk { name: DiskName, work: DiskWork },
    Work { token: u64, work: BackgroundWork },
}

/// A job's end.
pub(super) enum JobEnd {
    Disk {
        name: DiskName,
        result: IoResult,
        /// A file that was made, still open.
        made: Option<(FileName, OwnedFd)>,
    },
    Work {
        token: u64,
        result: BackgroundResult,
    },
}

/// The data loop's side.
pub(super) struct BackgroundPort {
    jobs: Option<SyncSender<Job>>,
    /// Jobs that only compute.
    computations: Option<Sender<Job>>,
    bell: Arc<Doorbell>,
    waiting: VecDeque<Job>,
    ends: Receiver<JobEnd>,
    early: Option<JobEnd>,
    in_hand: usize,
    /// Of these, what only computes.
    computing: usize,
    in_hand_max: usize,
    given: bool,
    count: super::metrics::Counter,
    thread: Option<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
}

impl BackgroundPort {
    /// Hands a job over at the next [`BackgroundPort::flush`], in order.
    pub(super) fn give(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// Moves waiting jobs to the threads up to the bound, and wakes them.
    pub(super) fn flush(&mut self) {
        while self.in_hand < self.in_hand_max {
            let Some(job) = self.waiting.pop_front() else {
                break;
            };
            if let Err(job) = self.hand_over(job) {
                self.waiting.push_front(job);
                break;
            }
            self.in_hand += 1;
            self.count.add(1);
        }
        if std::mem::take(&mut self.given) {
            self.bell.wake_from_thread();
        }
    }

    fn hand_over(&mut self, job: Job) -> Result<(), Job> {
        let (Some(jobs), Some(computations)) = (&self.jobs, &self.computations) else {
            return Err(job);
        };
        if job.computes() {
            computations.send(job).map_err(|SendError(job)| job)?;
            self.computing += 1;
            return Ok(());
        }
        jobs.try_send(job)
            .map_err(|(TrySendError::Full(job) | TrySendError::Disconnected(job))| job)?;
        self.given = true;
        Ok(())
    }

    /// Jobs that have not been handed over.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Jobs with files that are not answered: what a loop that ends waits for.
    pub(super) fn files_in_hand(&self) -> usize {
        let waiting = self.waiting.iter().filter(|job| !job.computes());
        self.in_hand - self.computing + waiting.count()
    }

    /// The next result.
    pub(super) fn take(&mut self) -> Option<JobEnd> {
        let end = self.early.take().or_else(|| self.ends.try_recv().ok())?;
        self.in_hand -= 1;
        if let JobEnd::Work {
            result: BackgroundResult::Computed(_),
            ..
        } = end
        {
            self.computing -= 1;
        }
        Some(end)
    }

    /// The loop is about to end: long jobs break off.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether a result is there.
    pub(super) fn has_ended(&mut self) -> bool {
        if self.early.is_none() {
            self.early = self.ends.try_recv().ok();
        }
        self.early.is_some()
    }
}

impl Drop for BackgroundPort {
    fn drop(&mut self) {
        // The closed queues end the threads, once they look. What is being computed nobody waits for.
        (self.jobs, self.computations) = (None, None);
        self.stop();
        self.bell.ring_eventfd();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Side {
    jobs: Receiver<Job>,
    ends: Ends,
    bell: Arc<Doorbell>,
    /// The loop ends: long jobs break off.
    stopping: Arc<AtomicBool>,
}

/// Where results go.
#[derive(Clone)]
struct Ends {
    sender: Sender<JobEnd>,
    loop_bell: Arc<Doorbell>,
}

impl Ends {
    fn end(&self, end: JobEnd) {
        // A loop that is gone needs no results.
        if self.sender.send(end).is_ok() {
            self.loop_bell.wake_from_thread();
        }
    }
}

/// What a background thread is to be.
pub(super) struct BackgroundSetup {
    pub(super) core: u16,
    /// The processor it is pinned to.
    pub(super) processor: Option<usize>,
    pub(super) queue_max: usize,
    pub(super) loop_bell: Arc<Doorbell>,
    pub(super) count: super::metrics::Counter,
    /// Of core 0: where HTTP is served and what.
    pub(super) http: Option<(TcpListener, Pages)>,
}

/// How a background thread runs; the start-up report shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackgroundKind {
    /// On a glommio executor.
    Glommio,
    /// On a plain thread, for the reason given.
    Plain(String),
}

/// Starts the thread and waits until it says how it runs.
pub(super) fn start(setup: BackgroundSetup) -> io::Result<(BackgroundPort, BackgroundKind)> {
    let (jobs, jobs_end) = sync_channel(setup.queue_max);
    let (ends_start, ends) = channel();
    let bell = Arc::new(Doorbell::new_blocking()?);
    let (kind_start, kind) = channel();
    let stopping = Arc::new(AtomicBool::new(false));
    let ends_start = Ends {
        sender: ends_start,
        loop_bell: Arc::clone(&setup.loop_bell),
    };
    let computations = start_computing(setup.core, ends_start.clone(), Arc::clone(&stopping))?;
    let side = Side {
        jobs: jobs_end,
        ends: ends_start,
        bell: Arc::clone(&bell),
        stopping: Arc::clone(&stopping),
    };
    let (count, in_hand_max) = (setup.count.clone(), setup.queue_max);
    let thread = std::thread::Builder::new()
        .name(format!("background-{}", setup.core))
        .spawn(move || run(setup, side, &kind_start))?;
    let kind = kind
        .recv()
        .map_err(|_| io::Error::other("the background thread ended at its start"))?;
    let port = BackgroundPort {
        jobs: Some(jobs),
        computations: Some(computations),
        bell,
        waiting: VecDeque::new(),
        ends,
        early: None,
        in_hand: 0,
        computing: 0,
        in_hand_max,
        given: false,
        count,
        thread: Some(thread),
        stopping,
    };
    Ok((port, kind))
}

/// Starts the thread for what only computes, or frees much. It has the processor while nothing else wants it: otherwise it would keep from it the
/// kernel's threads that end durable writes, for a whole tick of its clock each time.
fn start_computing(core: u16, ends: Ends, stopping: Arc<AtomicBool>) -> io::Result<Sender<Job>> {
    let (start, jobs) = channel::<Job>();
    std::thread::Builder::new()
        .name(format!("compute-{core}"))
        .spawn(move || {
            run_when_idle();
            while let Ok(job) = jobs.recv() {
                ends.end(job.run(&stopping));
            }
        })?;
    Ok(start)
}

fn run(setup: BackgroundSetup, side: Side, kind: &Sender<BackgroundKind>) {
    lower_thread_priority();
    let placement = setup.processor.map_or(Placement::Unbound, Placement::Fixed);
    let executor = LocalExecutorBuilder::new(placement)
        .name("background")
        // Its own buffers are not used: jobs bring theirs.
        .io_memory(64 << 10)
        .ring_depth(64)
        // One thread per lane of jobs with files; they inherit this thread's processor and priority.
        .blocking_thread_pool_placement(PoolPlacement::Unbound(2))
        .make();
    match executor {
        Ok(executor) => {
            let _ = kind.send(BackgroundKind::Glommio);
            executor.run(serve(side, setup.http));
        }
        Err(error) => {
            let _ = kind.send(BackgroundKind::Plain(error.to_string()));
            if let Some((listener, pages)) = setup.http {
                // Serving HTTP blocks; this thread has other work.
                let spawned = std::thread::Builder::new()
                    .name("http".to_owned())
                    .spawn(move || http::serve_plainly(&listener, &pages));
                if let Err(error) = spawned {
                    warn!("no thread for HTTP: {error}; /metrics and /health are not served");
                }
            }
            serve_plainly(&side);
        }
    }
}

/// The job loop on glommio.
async fn serve(side: Side, http: Option<(TcpListener, Pages)>) {
    let executor = glommio::executor();
    let http_task = http.map(|(listener, pages)| {
        let queue = executor.create_task_queue(Shares::Static(100), Latency::NotImportant, "http");
        glommio::spawn_local_into(http::serve(listener, pages), queue)
    });
    let bell = eventfd_for_glommio(&side.bell);
    let side = Rc::new(side);
    // Jobs with files run in order of arrival within their lane: zeroing a segment must not hold up a vote that is to be persisted.
    let lanes: [Rc<Lane>; 2] = Default::default();
    loop {
        let job = match side.jobs.try_recv() {
            Ok(job) => job,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                side.bell.park();
                match side.jobs.try_recv() {
                    Ok(job) => {
                        side.bell.unpark();
                        job
                    }
                    Err(TryRecvError::Disconnected) => break,
                    Err(TryRecvError::Empty) => {
                        let woken = match &bell {
                            Ok(bell) => bell.read_at(0, 8).await.is_ok(),
                            Err(_) => false,
                        };
                        if !woken {
                            // Without the bell there is still the clock.
                            glommio::timer::sleep(std::time::Duration::from_millis(5)).await;
                        }
                        side.bell.unpark();
                        continue;
                    }
                }
            }
        };
        let lane = &lanes[usize::from(matches!(job, Job::Disk { .. }))];
        hand_to_pool(&side, lane, job);
    }
    if let Some(Ok(task)) = http_task {
        task.cancel().await;
    }
    for lane in &lanes {
        lane.finish().await;
    }
}

/// Jobs that run one after the other.
#[derive(Default)]
struct Lane {
    waiting: RefCell<VecDeque<Job>>,
    busy: Cell<bool>,
}

impl Lane {
    /// Drops what waits, and waits for what has begun: a thread of the pool panics when nobody is there to take its answer.
    async fn finish(&self) {
        self.waiting.borrow_mut().clear();
        while self.busy.get() {
            glommio::timer::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

/// Queues a job with files, and starts the task that works the lane off when none runs.
fn hand_to_pool(side: &Rc<Side>, lane: &Rc<Lane>, job: Job) {
    lane.waiting.borrow_mut().push_back(job);
    if lane.busy.replace(true) {
        return;
    }
    let (side, lane) = (Rc::clone(side), Rc::clone(lane));
    let worker = async move {
        loop {
            let job = lane.waiting.borrow_mut().pop_front();
            let Some(job) = job else { break };
            let stopping = Arc::clone(&side.stopping);
            let end = glommio::executor()
                .spawn_blocking(move || job.run(&stopping))
                .await;
            side.ends.end(end);
        }
        lane.busy.set(false);
    };
    glommio::spawn_local(worker).detach();
}

/// The job loop without glommio.
fn serve_plainly(side: &Side) {
    while let Ok(job) = side.jobs.recv() {
        side.ends.end(job.run(&side.stopping));
    }
}

impl Job {
    /// Whether it has nothing to do with files.
    fn computes(&self) -> bool {
        let Job::Work { work, .. } = self else {
            return false;
        };
        matches!(work, BackgroundWork::Compute(_))
    }

    /// Does the work, blocking.
    fn run(self, stopping: &AtomicBool) -> JobEnd {
        match self {
            Self::Disk { name, work } => {
                let (result, made) = run_disk(work, stopping);
                JobEnd::Disk { name, result, made }
            }
            Self::Work { token, work } => JobEnd::Work {
                token,
                result: run_work(work, stopping),
            },
        }
    }
}

fn run_disk(work: DiskWork, stopping: &AtomicBool) -> (IoResult, Option<(FileName, OwnedFd)>) {
    let mut made = None;
    let result = match work {
        DiskWork::Read {
            file,
            position,
            length,
        } => read_new(&file, position, length).map(IoResult::Data),
        DiskWork::Write {
            file,
            position,
            buffer,
            durable,
        } => write_whole(&file, position, &buffer, durable).map(|()| IoResult::Done),
        DiskWork::Create {
            folder,
            file,
            bytes,
            zero,
        } => create_file(&folder, file, (bytes, zero), stopping).map(|descriptor| {
            made = Some((file, descriptor));
            IoResult::Done
        }),
        DiskWork::Sync { file } => sync_data(&file).map(|()| IoResult::Done),
        DiskWork::Remove { folder, file } => remove_file(&folder, file).map(|()| IoResult::Done),
    };
    (result.unwrap_or_else(IoResult::Failed), made)
}

fn run_work(work: BackgroundWork, stopping: &AtomicBool) -> BackgroundResult {
    match work {
        BackgroundWork::WriteFile { path, contents } => {
            let written = write_file_atomically(&path, &contents);
            ended(&path, "write", written)
        }
        BackgroundWork::ComposeFile { path, compose } => {
            match compose_file_atomically(&path, compose, stopping) {
                Ok(bytes) => BackgroundResult::Composed(bytes),
                Err(error) => ended(&path, "write", Err(error)),
            }
        }
        BackgroundWork::RemoveFile { path } => ended(&path, "remove", remove_durably(&path)),
        BackgroundWork::ReadFile { path, bytes_max } => match read_bounded(&path, bytes_max) {
            Ok(contents) => BackgroundResult::Data(contents.into()),
            Err(error) => ended(&path, "read", Err(error)),
        },
        BackgroundWork::ListFolder { path } => match list(&path) {
            Ok(names) => BackgroundResult::Names(names),
            Err(error) => ended(&path, "list", Err(error)),
        },
        BackgroundWork::GiveBackMemory => {
            super::buffers::give_back_memory();
            BackgroundResult::Done
        }
        BackgroundWork::Compute(compute) => BackgroundResult::Computed(compute()),
    }
}

fn ended(path: &Path, what: &str, result: io::Result<()>) -> BackgroundResult {
    match result {
        Ok(()) => BackgroundResult::Done,
        Err(error) => BackgroundResult::Failed {
            kind: error.kind(),
            message: format!("cannot {what} {}: {error}", path.display()),
        },
    }
}

fn remove_durably(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    Ok(sync_folder(path.parent().unwrap_or(Path::new(".")))?)
}

fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let length = std::fs::metadata(path)?.len();
    if length > bytes_max {
        let message = format!("the file has {length} bytes, {bytes_max} are allowed");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    std::fs::read(path)
}

fn list(path: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
