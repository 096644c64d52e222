//! Snapshots of the metadata image (M4): when they are due, composed in the background from the immutable image while they are written, and what
//! consensus asks of the stored ones. Their bytes are `raft::snapshot`'s; quorum state in Kafka's form is exported beside them.

use super::{MetadataGroup, raft_now, with_group};
use crate::machine::{BackgroundResult, BackgroundWork, LogLevel, MachineAction, TakePiece};
use crate::node::Core;
use bytes::Bytes;
use odradek_raft::consensus::{Event, QuorumState, SnapshotId, VoterSet, quorum_state};
use odradek_raft::image::{MetadataImage, record_version, write_snapshot};
use odradek_raft::snapshot::{SnapshotWriter, WriterOptions, file_name};
use std::collections::{BTreeMap, VecDeque};

/// Bytes of records after which a batch of the file is closed and written: what is encoded in about a millisecond.
const BATCH_BYTES_MAX: usize = 128 << 10;
/// Kafka's name of the exported quorum state.
const QUORUM_STATE_FILE: &str = "quorum-state";

/// What a background token stands for.
enum Job {
    Write(SnapshotId),
    /// Token of consensus, and which bytes it wants: position and length.
    Read(u64, (i64, usize)),
    Other,
}

/// Snapshot state.
pub(super) struct Snapshots {
    last_bytes: u64,
    /// Committed bytes of the log since the newest snapshot was begun.
    new_bytes: u64,
    /// Batches not yet committed, by the offset behind them: a snapshot begun now does not hold them.
    uncommitted: VecDeque<(i64, u64)>,
    running: bool,
    jobs: BTreeMap<u64, Job>,
    next_token: u64,
}

impl Snapshots {
    pub fn new(last_bytes: u64, new_bytes: u64) -> Self {
        Self {
            last_bytes,
            new_bytes,
            uncommitted: VecDeque::new(),
            running: false,
            jobs: BTreeMap::new(),
            next_token: 0,
        }
    }

    /// The log grew, up to `end`.
    pub fn appended(&mut self, end: i64, bytes: usize) {
        self.uncommitted.push_back((end, bytes as u64));
    }

    /// What lies before `end` is committed.
    fn committed(&mut self, end: i64) {
        while let Some((_, bytes)) = self
            .uncommitted
            .pop_front_if(|(batch_end, _)| *batch_end <= end)
        {
            self.new_bytes += bytes;
        }
    }

    fn job(&mut self, job: Job) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        self.jobs.insert(token, job);
        token
    }
}

/// Starts a snapshot when one is due: after the configured bytes of new records, or half of the last one's where that is more
/// (case 23).
pub(super) fn tick(core: &mut Core, group: &mut MetadataGroup) {
    let end = group.controller.committed().offset + 1;
    group.snapshots.committed(end);
    let interval_bytes = core.options.snapshot_interval_bytes;
    let due_bytes = interval_bytes.max(group.snapshots.last_bytes / 2);
    if group.snapshots.running || group.snapshots.new_bytes < due_bytes {
        return;
    }
    let image = group.controller.committed().clone();
    let Some(id) = group.raft.snapshot_id_at(image.offset + 1) else {
        return;
    };
    group.snapshots.running = true;
    group.snapshots.new_bytes = 0;
    let options = WriterOptions {
        id,
        last_contained_log_timestamp_ms: group.raft.last_timestamp_ms_at(id.offset),
        kraft_version: group.raft.kraft_version_at(id.offset),
        voters: Some(group.raft.voters_at(id.offset).clone()),
        now_ms: core.now().wall_ms,
        batch_bytes_max: BATCH_BYTES_MAX,
    };
    let token = group.snapshots.job(Job::Write(id));
    core.out.push(MachineAction::Background {
        token,
        work: BackgroundWork::ComposeFile {
            path: group.folder.join(file_name(id)),
            compose: Box::new(move |take| compose(&image, options, take)),
        },
    });
}

/// Hands over the bytes of a `.checkpoint` file.
///
/// # Errors
/// The first one of `take`.
fn compose(
    image: &MetadataImage,
    options: WriterOptions,
    take: &mut TakePiece<'_>,
) -> std::io::Result<()> {
    let level = image.metadata_version();
    let (mut writer, header) = SnapshotWriter::new(options);
    take(&header)?;
    write_snapshot(image, &mut |record| {
        let bytes = record
            .to_bytes(record_version(&record, level))
            .expect("a record of the image encodes");
        writer.push(bytes).map_or(Ok(()), |batch| take(&batch))
    })?;
    take(&writer.finish())
}

/// Background work of the group ended.
pub fn on_background(core: &mut Core, token: u64, result: BackgroundResult) {
    with_group(core, |core, group| {
        match (group.snapshots.jobs.remove(&token), result) {
            (Some(Job::Write(id)), BackgroundResult::Composed(size_bytes)) => {
                group.snapshots.running = false;
                group.snapshots.last_bytes = size_bytes;
                core.log(
                    LogLevel::Info,
                    format!(
                        "wrote metadata snapshot {} of {size_bytes} bytes",
                        file_name(id)
                    ),
                );
                group.raft.step(
                    raft_now(core),
                    Event::SnapshotWritten { id, size_bytes },
                    &mut group.raft_actions,
                );
                // The log before it, and what composing it took.
                core.give_back_memory();
            }
            (Some(Job::Write(id)), BackgroundResult::Failed { message, .. }) => {
                group.snapshots.running = false;
                core.log(
                    LogLevel::Error,
                    format!(
                        "metadata snapshot {} was not written: {message}",
                        file_name(id)
                    ),
                );
            }
            (Some(Job::Read(token, piece)), result) => {
                let bytes = match result {
                    BackgroundResult::Data(bytes) => Some(piece_of(&bytes, piece)),
                    _ => None,
                };
                group.raft.step(
                    raft_now(core),
                    Event::SnapshotRead { token, bytes },
                    &mut group.raft_actions,
                );
            }
            (_, BackgroundResult::Failed { message, .. }) => core.log(LogLevel::Warn, message),
            _ => {}
        }
    });
}

/// A stored snapshot may go.
pub(super) fn remove(group: &mut MetadataGroup, core: &mut Core, id: SnapshotId) {
    let path = group.folder.join(file_name(id));
    let token = group.snapshots.job(Job::Other);
    core.out.push(MachineAction::Background {
        token,
        work: BackgroundWork::RemoveFile { path },
    });
}

/// Consensus wants bytes of a stored snapshot for a replica. The file is read whole and the piece cut from it.
pub(super) fn read(
    group: &mut MetadataGroup,
    core: &mut Core,
    token: u64,
    id: SnapshotId,
    piece: (i64, usize),
) {
    let path = group.folder.join(file_name(id));
    let job = group.snapshots.job(Job::Read(token, piece));
    core.out.push(MachineAction::Background {
        token: job,
        work: BackgroundWork::ReadFile {
            path,
            bytes_max: 1 << 30,
        },
    });
}

fn piece_of(file: &Bytes, (position, length): (i64, usize)) -> Bytes {
    let from = usize::try_from(position).map_or(file.len(), |from| from.min(file.len()));
    file.slice(from..from.saturating_add(length).min(file.len()))
}

/// Writes the quorum state as Kafka's tools read it. Ours are the slots; this is a copy.
pub(super) fn export_quorum_state(group: &mut MetadataGroup, core: &mut Core, state: &QuorumState) {
    let voters: &VoterSet = group.raft.voters();
    let text = quorum_state::kafka_text(state, group.raft.kraft_version(), voters);
    let path = group.folder.join(QUORUM_STATE_FILE);
    let token = group.snapshots.job(Job::Other);
    core.out.push(MachineAction::Background {
        token,
        work: BackgroundWork::WriteFile {
            path,
            contents: Bytes::from(text),
        },
    });
}
