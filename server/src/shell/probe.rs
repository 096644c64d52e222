//! What this machine gives: asked once at start, told in lines that an operator can read, and refused with a reason where it cannot work.
//!
//! The ring's own features come from `ring.rs`; opening files `O_DIRECT` is in `disk.rs`.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat, statfs};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::ring::{Ring, RingFeatures, RingOptions};
use super::{ShellOptions, StartError};

/// Processors this process may run on, in order.
pub(super) fn allowed_processors() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU)
            .filter(|one| set.is_set(*one))
            .collect(),
        Err(_) => (0..std::thread::available_parallelism().map_or(1, usize::from)).collect(),
    }
}

/// Pins the calling thread, and what it starts, to one processor.
pub(super) fn pin_thread(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}

/// Two numbers from the operating system.
pub fn random_numbers() -> [u64; 2] {
    let mut bytes = [0u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .expect("/dev/urandom can be read: without it no nonce is safe");
    let (first, second) = bytes.split_at(8);
    let number = |half: &[u8]| u64::from_ne_bytes(half.try_into().expect("half of 16 bytes"));
    [number(first), number(second)]
}

/// Explains a ring that the kernel refused.
pub(super) fn ring_refused(error: &io::Error) -> StartError {
    let advice = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring is forbidden here: allow the system calls io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile of \
             the container, and set the sysctl kernel.io_uring_disabled to 0"
        }
        Some(libc::ENOSYS) => {
            "this kernel, or the sandbox around it, has no io_uring: Linux 6.1 or later is wanted, with io_uring allowed in the seccomp profile"
        }
        Some(libc::ENOMEM) => {
            "the limit on locked memory (ulimit -l) is too small for it: allow at least 8 MiB"
        }
        Some(libc::EMFILE | libc::ENFILE) => "too many files are open: raise the limit (ulimit -n)",
        _ => "Linux 6.1 or later is wanted",
    };
    StartError(format!("cannot set up an io_uring: {error}. {advice}"))
}

/// Tries a ring on a thread of its own, since the kernel binds a ring to the thread that first uses it.
fn try_ring() -> Result<RingFeatures, StartError> {
    // A small one: its locked memory is given back only some time after it is closed.
    let options = RingOptions {
        entries: 16,
        receive_buffers: 8,
        receive_buffer_bytes: 4096,
    };
    let tried = std::thread::spawn(move || Ring::new(&options).map(|ring| ring.features()));
    match tried.join() {
        Ok(Ok(features)) => Ok(features),
        Ok(Err(error)) => Err(ring_refused(&error)),
        Err(_) => Err(StartError("setting up an io_uring failed".to_owned())),
    }
}

/// What holds for the whole machine; refuses where there is no io_uring.
pub fn system_report(options: &ShellOptions) -> Result<Vec<String>, StartError> {
    let features = try_ring()?;
    let mut lines = vec![
        kernel_line(),
        processor_line(options),
        ring_line(features),
        memory_line(),
        open_files_line(),
    ];
    lines.extend(huge_page_line());
    Ok(lines)
}

fn kernel_line() -> String {
    let name = rustix::system::uname();
    format!(
        "kernel: {} {}",
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy()
    )
}

fn processor_line(options: &ShellOptions) -> String {
    let allowed = allowed_processors();
    let pinned: Vec<String> = options
        .cores
        .iter()
        .map(|core| core.map_or("any".to_owned(), |processor| processor.to_string()))
        .collect();
    format!(
        "processors: {} usable; data loops: {}, on {}",
        allowed.len(),
        options.cores.len(),
        pinned.join(", ")
    )
}

fn ring_line(features: RingFeatures) -> String {
    let all = [
        (features.defer_taskrun, "deferred completions"),
        (features.single_issuer, "single issuer"),
        (features.message_ring, "ring messages"),
        (features.multishot_receive, "multishot receive"),
        (features.zero_copy_send, "zero-copy send"),
    ];
    let name = |has| {
        let names: Vec<&str> = all
            .iter()
            .filter(|one| one.0 == has)
            .map(|one| one.1)
            .collect();
        names.join(", ")
    };
    let missing = name(false);
    if missing.is_empty() {
        return format!("io_uring: {}", name(true));
    }
    format!(
        "io_uring: {}; MISSING: {missing} (works, slower; Linux 6.2 or later has them)",
        name(true)
    )
}

fn size(bytes: Option<u64>) -> String {
    match bytes {
        None => "unlimited".to_owned(),
        Some(bytes) if bytes >= 1 << 30 => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
        Some(bytes) => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

/// Bytes that zero-copy sends may lend to the kernel, which counts them as locked memory: a quarter of what may be locked.
pub(super) fn zero_copy_bytes() -> usize {
    match getrlimit(Resource::Memlock).current {
        Some(bytes) => usize::try_from(bytes / 4).unwrap_or(ZERO_COPY_BYTES_MAX),
        None => ZERO_COPY_BYTES_MAX,
    }
    .min(ZERO_COPY_BYTES_MAX)
}

/// Beyond this a slow network would pin too much of the caches.
const ZERO_COPY_BYTES_MAX: usize = 256 << 20;

fn memory_line() -> String {
    let locked = getrlimit(Resource::Memlock).current;
    let note = match locked {
        Some(bytes) if bytes < 512 << 10 => {
            "; TOO LITTLE for the background executor: plain threads take its place"
        }
        Some(bytes) if bytes < 64 << 20 => {
            "; zero-copy sends use a quarter of it, further ones are copied (ulimit -l)"
        }
        _ => "",
    };
    format!("memory that may be locked: {}{note}", size(locked))
}

/// Descriptors that connections may take: three quarters of the limit, the rest is for data files.
pub(super) fn descriptors_for_connections() -> i32 {
    let limit = raise_open_files().unwrap_or(u64::MAX);
    i32::try_from(limit - limit / 4).unwrap_or(i32::MAX)
}

/// Raises the limit on open files to what is allowed; gives what it is, `None` for unlimited.
fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // Unlimited may be refused where a sysctl bounds it; the old limit stays then.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    getrlimit(Resource::Nofile).current
}

fn open_files_line() -> String {
    let now = raise_open_files();
    let shown = now.map_or("unlimited".to_owned(), |count| count.to_string());
    let note = match now {
        Some(count) if count < 10_000 => "; FEW for many connections (ulimit -n)",
        _ => "",
    };
    format!("files and connections that may be open: {shown}{note}")
}

fn huge_page_line() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    let chosen = text.split('[').nth(1)?.split(']').next()?;
    let note = match chosen {
        "never" => {
            " (large writes then cost about 40 us more each, and a killed process with many GiB takes long to die; \"madvise\" is enough)"
        }
        _ => "",
    };
    Some(format!("huge pages: {chosen}{note}"))
}

/// What a data directory lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryFacts {
    /// Name of the file system, or its magic number.
    pub file_system: String,
    /// Bytes that it holds and bytes free for this user.
    pub bytes_total: u64,
    pub bytes_free: u64,
    /// Whether files can be opened `O_DIRECT`.
    pub direct_io: bool,
    /// False for memory, overlays and user-space file systems: what is acknowledged there may be lost with the machine.
    pub durable: bool,
    /// Of the device: largest of its logical and physical block sizes, when known.
    pub block_bytes: Option<u64>,
    /// "write back" or "write through".
    pub write_cache: Option<String>,
    /// Forced unit access: a durable write need not flush the whole cache.
    pub forced_unit_access: Option<bool>,
}

/// Asks the file system and the device of a directory. Never fails: what cannot be found out is left open.
pub fn probe_directory(directory: &Path) -> DirectoryFacts {
    let (file_system, durable, bytes_total, bytes_free) = match statfs(directory) {
        Ok(facts) => {
            let (name, durable) = file_system_name(facts.f_type as u64);
            let block = facts.f_bsize as u64;
            (
                name,
                durable,
                facts.f_blocks * block,
                facts.f_bavail * block,
            )
        }
        Err(error) => (format!("unknown ({error})"), true, 0, 0),
    };
    let queue = fs::metadata(directory)
        .ok()
        .and_then(|facts| device_queue(facts.dev()));
    let read = |name: &str| {
        let queue = queue.as_ref()?;
        let text = fs::read_to_string(queue.join(name)).ok()?;
        Some(text.trim().to_owned())
    };
    let number = |name: &str| read(name).and_then(|text| text.parse::<u64>().ok());
    DirectoryFacts {
        file_system,
        bytes_total,
        bytes_free,
        direct_io: takes_direct_io(directory),
        durable,
        block_bytes: number("physical_block_size").max(number("logical_block_size")),
        write_cache: read("write_cache"),
        forced_unit_access: number("fua").map(|fua| fua == 1),
    }
}

fn file_system_name(magic: u64) -> (String, bool) {
    let known = [
        (0xEF53, "ext4", true),
        (0x5846_5342, "xfs", true),
        (0x9123_683E, "btrfs", true),
        (0x2FC1_2FC1, "zfs", true),
        (0xF2F5_2010, "f2fs", true),
        (0x0102_1994, "tmpfs", false),
        (0x8584_58F6, "ramfs", false),
        (0x794C_7630, "overlayfs", false),
        (0x6573_5546, "FUSE", false),
        (0x6969, "NFS", false),
        (0xFF53_4D42, "CIFS", false),
        (0x0102_1997, "9p", false),
    ];
    match known.iter().find(|one| one.0 == magic & 0xffff_ffff) {
        Some((_, name, durable)) => ((*name).to_owned(), *durable),
        None => (format!("file system {magic:#x}"), true),
    }
}

/// The `queue` folder of the block device, of the whole disk for a partition.
fn device_queue(device: u64) -> Option<std::path::PathBuf> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let folder = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    [folder.join("queue"), folder.parent()?.join("queue")]
        .into_iter()
        .find(|queue| queue.is_dir())
}

fn takes_direct_io(directory: &Path) -> bool {
    let path = directory.join(".odradek-probe");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::DIRECT;
    let opened = openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR);
    let _ = fs::remove_file(&path);
    opened.is_ok()
}

impl DirectoryFacts {
    /// Lines for the start-up report.
    pub fn lines(&self, directory: &Path) -> Vec<String> {
        let mut facts = vec![
            self.file_system.clone(),
            format!(
                "{} free of {}",
                size(Some(self.bytes_free)),
                size(Some(self.bytes_total))
            ),
        ];
        facts.push(if self.direct_io {
            "direct I/O".to_owned()
        } else {
            "NO direct I/O: the page cache lies between".to_owned()
        });
        facts.extend(self.block_bytes.map(|bytes| format!("blocks of {bytes}")));
        if let Some(cache) = &self.write_cache {
            let forced = match self.forced_unit_access {
                Some(true) => ", forced unit access",
                Some(false) => ", no forced unit access: durable writes flush the cache",
                None => "",
            };
            facts.push(format!("device cache {cache}{forced}"));
        }
        let mut lines = vec![format!(
            "data directory {}: {}",
            directory.display(),
            facts.join("; ")
        )];
        if !self.durable {
            lines.push(format!(
                "NOT DURABLE: {} lies on {}; what is acknowledged may be lost when the machine goes down. Give log.dirs a directory on a disk",
                directory.display(),
                self.file_system
            ));
        }
        if let Some(bytes) = self.block_bytes.filter(|bytes| *bytes > 4096) {
            lines.push(format!(
                "{}: the device's blocks of {bytes} bytes are larger than the 4096 the log is written in: durable writes will be slow",
                directory.display()
            ));
        }
        lines
    }
}
