//! Files of a log: through the loop's ring, through the background thread, and blocking.

use std::path::Path;

use bytes::Bytes;
use odradek_server::machine::{
    BackgroundResult, BackgroundWork, Machine, MachineAction, MachineEvent, Now,
};
use odradek_server::shell::{AlignedBuffer, DirectoryLock, RealDisk};
use odradek_wal::{Disk, FileName, Io, IoClass, IoFailureKind, IoId, IoResult};

use super::support::{Node, options};

const SEGMENT: FileName = FileName::Segment(1);
const SEGMENT_BYTES: u64 = 4 << 20;

fn aligned(bytes: &[u8]) -> Bytes {
    let mut buffer = AlignedBuffer::with_capacity(bytes.len());
    buffer.extend_from_slice(bytes);
    buffer.into_bytes()
}

fn pattern(seed: u8, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at as u8).wrapping_mul(31) ^ seed)
        .collect()
}

/// Goes through a fixed list of operations, one after the other, and checks each result.
struct Script {
    step: u64,
    class: IoClass,
}

impl Script {
    fn next(&mut self) -> Io {
        let (id, class) = (IoId(self.step), self.class);
        let write = |position, seed, durable| Io::Write {
            id,
            file: SEGMENT,
            position,
            buffer: aligned(&pattern(seed, 64 << 10)),
            durable,
            class,
        };
        let read = |file, position, length| Io::Read {
            id,
            file,
            position,
            length,
            class,
        };
        match self.step {
            0 => Io::Create {
                id,
                file: SEGMENT,
                bytes: SEGMENT_BYTES,
                zero: true,
            },
            1 => write(0, 1, true),
            2 => write(64 << 10, 2, false),
            3 => Io::Sync { id, file: SEGMENT },
            4 => read(SEGMENT, 0, 128 << 10),
            5 => read(SEGMENT, 128 << 10, 4096),
            6 => read(SEGMENT, SEGMENT_BYTES - 4096, 8192),
            7 => read(FileName::Segment(2), 0, 4096),
            8 => Io::Remove { id, file: SEGMENT },
            _ => read(SEGMENT, 0, 4096),
        }
    }

    fn check(&self, result: IoResult) {
        let kind = match &result {
            IoResult::Failed(failure) => Some(failure.kind),
            _ => None,
        };
        match (self.step, result) {
            (0..=3 | 8, IoResult::Done) => {}
            (4, IoResult::Data(data)) => {
                assert!(data[..64 << 10] == pattern(1, 64 << 10));
                assert!(data[64 << 10..] == pattern(2, 64 << 10));
                assert_eq!(data.as_ptr() as usize % 4096, 0);
            }
            (5, IoResult::Data(data)) => assert!(data.iter().all(|byte| *byte == 0)),
            (6, IoResult::Failed(_)) => assert_eq!(kind, Some(IoFailureKind::Short)),
            (7 | 9, IoResult::Failed(_)) => assert_eq!(kind, Some(IoFailureKind::NotFound)),
            (step, result) => panic!("step {step} ended with {result:?}"),
        }
    }
}

impl Machine for Script {
    type Mail = ();

    fn step(&mut self, _now: Now, event: MachineEvent<()>, actions: &mut Vec<MachineAction<()>>) {
        match event {
            MachineEvent::Tick if self.step == 0 => {}
            MachineEvent::Disk { log, id, result } => {
                assert_eq!((log, id), (0, IoId(self.step)));
                self.check(result);
                self.step += 1;
            }
            _ => return,
        }
        actions.push(match self.step {
            10 => super::support::exit(),
            _ => MachineAction::Disk {
                log: 0,
                io: self.next(),
            },
        });
    }

    fn next_deadline_us(&self) -> Option<u64> {
        None
    }
}

#[test]
fn what_is_written_is_read_back_on_the_ring_and_in_the_background() {
    for class in [IoClass::Commit, IoClass::ClientRead, IoClass::Background] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let logs = vec![vec![folder.path().to_owned()]];
        let mut options = options(1);
        options.listeners.clear();
        let node = Node::start(options, logs, move |_| Script { step: 0, class });
        assert_eq!(node.wait().code, 0, "{class:?}");
        assert_eq!(folder.path().read_dir().expect("it is there").count(), 0);
    }
}

/// Writes, reads, lists and removes small files, and computes.
struct SmallFiles {
    folder: std::path::PathBuf,
    step: u64,
}

impl SmallFiles {
    fn next(&self) -> BackgroundWork {
        let path = self.folder.join("meta.properties");
        let contents = Bytes::from_static(b"node.id=1\n");
        match self.step {
            0 => BackgroundWork::WriteFile { path, contents },
            1 => BackgroundWork::ListFolder {
                path: self.folder.clone(),
            },
            2 => BackgroundWork::ReadFile {
                path,
                bytes_max: 10,
            },
            3 => BackgroundWork::ReadFile { path, bytes_max: 9 },
            4 => BackgroundWork::RemoveFile { path },
            5 => BackgroundWork::ReadFile {
                path,
                bytes_max: 10,
            },
            6 => BackgroundWork::WriteFile {
                path: self.folder.join("no/such"),
                contents,
            },
            _ => BackgroundWork::Compute(Box::new(|| Box::new(6 * 7))),
        }
    }

    fn check(&self, result: BackgroundResult) {
        use std::io::ErrorKind::{FileTooLarge, NotFound};
        match (self.step, result) {
            (0 | 4, BackgroundResult::Done) => {}
            (1, BackgroundResult::Names(names)) => assert_eq!(names, ["meta.properties"]),
            (2, BackgroundResult::Data(data)) => assert_eq!(data, "node.id=1\n"),
            (3, BackgroundResult::Failed { kind, .. }) => assert_eq!(kind, FileTooLarge),
            (5 | 6, BackgroundResult::Failed { kind, .. }) => assert_eq!(kind, NotFound),
            (7, BackgroundResult::Computed(number)) => {
                assert_eq!(number.downcast_ref::<i32>(), Some(&42));
            }
            (step, result) => panic!("step {step} ended with {result:?}"),
        }
    }
}

impl Machine for SmallFiles {
    type Mail = ();

    fn step(&mut self, _now: Now, event: MachineEvent<()>, actions: &mut Vec<MachineAction<()>>) {
        match event {
            MachineEvent::Tick if self.step == 0 => {}
            MachineEvent::Background { token, result } => {
                assert_eq!(token, self.step);
                self.check(result);
                self.step += 1;
            }
            _ => return,
        }
        actions.push(match self.step {
            8 => super::support::exit(),
            token => MachineAction::Background {
                token,
                work: self.next(),
            },
        });
    }

    fn next_deadline_us(&self) -> Option<u64> {
        None
    }
}

#[test]
fn small_files_and_computations_in_the_background() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_owned();
    let mut options = options(1);
    options.listeners.clear();
    let node = Node::start(options, vec![Vec::new()], move |_| SmallFiles {
        folder: path.clone(),
        step: 0,
    });
    assert_eq!(node.wait().code, 0);
}

#[test]
fn the_blocking_disk_makes_writes_reads_and_lists() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shard = folder.path().join("shard-0");
    let mut disk = RealDisk::open(&shard).expect("the parent is there");
    disk.create(SEGMENT, 1 << 20, true).expect("there is space");
    disk.create(FileName::Superblock, 4096, false)
        .expect("there is space");
    let block = aligned(&pattern(3, 8192));
    disk.write_at(SEGMENT, 4096, &block, true)
        .expect("it is inside");
    std::fs::write(shard.join("README"), "not ours").expect("the folder is ours");
    // A second start sees the same.
    let mut disk = RealDisk::open(&shard).expect("it is there");
    let names = disk.list().expect("it can be listed");
    assert_eq!(names, [FileName::Superblock, SEGMENT]);
    assert_eq!(disk.length(SEGMENT), Ok(Some(1 << 20)));
    assert_eq!(disk.length(FileName::Root), Ok(None));
    // Neither the address nor the length of a test's buffer has to be a multiple of anything on the caller's stack.
    let mut read = vec![7; 8192 + 1];
    disk.read_at(SEGMENT, 4096, &mut read[1..])
        .expect("it was written");
    assert!(read[1..] == pattern(3, 8192));
    let mut beyond = vec![0; 8192];
    let failure = disk
        .read_at(SEGMENT, (1 << 20) - 4096, &mut beyond)
        .expect_err("the file ends");
    assert_eq!(failure.kind, IoFailureKind::Short);
    disk.remove(SEGMENT).expect("it is there");
    assert_eq!(disk.list(), Ok(vec![FileName::Superblock]));
}

fn lock(directory: &Path) -> Result<DirectoryLock, String> {
    DirectoryLock::acquire(directory, std::time::Duration::ZERO).map_err(|error| error.to_string())
}

#[test]
fn a_directory_has_one_owner() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = lock(folder.path()).expect("nobody has it");
    let refused = lock(folder.path()).expect_err("it is taken");
    assert!(
        refused.contains("another process") && refused.contains(".lock"),
        "{refused}"
    );
    drop(first);
    // A program that another test starts holds what this process had open until it runs.
    DirectoryLock::acquire(folder.path(), std::time::Duration::from_secs(10))
        .expect("it was given back");
    let absent = lock(&folder.path().join("absent")).expect_err("there is no such folder");
    assert!(absent.contains("absent"), "{absent}");
}

const CHILD: &str = "ODRADEK_TEST_LEAVES_EARLY";

/// Asks for a large file and fails at once.
struct Hasty;

impl Machine for Hasty {
    type Mail = ();

    fn step(&mut self, _now: Now, event: MachineEvent<()>, actions: &mut Vec<MachineAction<()>>) {
        let MachineEvent::Tick = event else { return };
        let io = Io::Create {
            id: IoId(1),
            file: SEGMENT,
            bytes: 1 << 30,
            zero: true,
        };
        actions.push(MachineAction::Disk { log: 0, io });
    }

    fn next_deadline_us(&self) -> Option<u64> {
        None
    }

    fn end_turn(&mut self, _now: Now, actions: &mut Vec<MachineAction<()>>) {
        let reason = "it failed".to_owned();
        actions.push(MachineAction::Exit { code: 1, reason });
    }
}

/// The child of the next test. Does nothing when run as a test.
#[test]
fn node_that_fails_in_the_middle_of_a_large_file() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let mut options = options(1);
    options.listeners.clear();
    let node = Node::start(options, vec![vec![folder.into()]], |_| Hasty);
    assert_eq!(node.wait().code, 1);
}

#[test]
fn a_failing_node_breaks_off_a_large_file_and_no_thread_panics() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let program = std::env::current_exe().expect("we run from a file");
    let child = std::process::Command::new(program)
        .args([
            "--exact",
            "disk::node_that_fails_in_the_middle_of_a_large_file",
            "--nocapture",
        ])
        .env(CHILD, folder.path())
        .output()
        .expect("we can run ourselves");
    let text = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    let left = std::fs::read_dir(folder.path()).expect("it is ours");
    assert_eq!(left.count(), 0, "what was begun is removed");
}
