//! What goes into the state machine and what comes out of it: the whole contract with the caller
//! in `server/src/node`, who owns sockets, files and the clock.

use bytes::Bytes;

use super::message::{Request, Response};
use super::quorum_state::QuorumState;
use super::types::{Endpoint, LeaderAndEpoch, Peer, SnapshotId};
use super::voters::VoterSet;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed; due at [`super::Raft::next_deadline_us`] at the latest.
    Tick,
    /// A request came in.
    Request {
        /// Handed back in the [`Action::Reply`]; unique among unanswered requests.
        token: u64,
        /// Name of the listener it came in by: leader endpoints are given for it.
        listener: String,
        /// The request, from `wire`.
        request: Request,
    },
    /// An answer to a [`Action::Send`].
    Response {
        /// Who answered.
        peer: Peer,
        /// The correlation of the request.
        correlation: u64,
        /// The answer, from `wire`.
        response: Response,
    },
    /// The connection to a peer broke, or could not be made, or authentication failed.
    Disconnected {
        /// Which peer.
        peer: Peer,
    },
    /// The peer's connection ended and its listener refuses: its process is gone (case 5). When
    /// it leads us we stand soon, and grant pre-votes meanwhile.
    PeerGone {
        /// Which node.
        id: i32,
    },
    /// All log writes up to and including this number are on stable storage.
    LogDurable {
        /// Number of a write action.
        write: u64,
    },
    /// A [`Action::PersistQuorumState`] is on stable storage.
    QuorumStateDurable {
        /// Its counter.
        counter: u64,
    },
    /// A chunk of [`Action::WriteSnapshotChunk`] has been taken; the next may come.
    SnapshotChunkWritten {
        /// Which snapshot.
        id: SnapshotId,
        /// Position after the chunk.
        position: i64,
    },
    /// Answer to [`Action::InstallSnapshot`]: the file is complete, valid, durable and renamed.
    SnapshotInstalled {
        /// What it says of the quorum.
        view: SnapshotView,
    },
    /// The snapshot being downloaded could not be written or was found invalid; it is gone.
    SnapshotFailed {
        /// Which snapshot.
        id: SnapshotId,
    },
    /// This node wrote a snapshot of its own image, durable and renamed. The name must come from
    /// [`super::Raft::snapshot_id_at`].
    SnapshotWritten {
        /// Its name.
        id: SnapshotId,
        /// Its length.
        size_bytes: u64,
    },
    /// Answer to [`Action::ReadSnapshot`].
    SnapshotRead {
        /// Its token.
        token: u64,
        /// The bytes, none when the file is gone.
        bytes: Option<Bytes>,
    },
    /// The node is about to stop: a leader resigns so that another takes over at once.
    Resign,
    /// The metadata directory failed: nothing more can be made durable here.
    StorageFailed {
        /// What failed, for people.
        reason: String,
    },
}

/// Something to do. Actions are to be done in order. Log writes and snapshot removals may be
/// queued, but never overtake each other.
#[derive(Clone, Debug)]
pub enum Action {
    /// Append one record batch.
    AppendLog {
        /// Number to report in [`Event::LogDurable`]; rises by one with every log write.
        write: u64,
        /// The whole batch.
        bytes: Bytes,
        /// Its first offset.
        base: i64,
        /// Its last offset plus one.
        end: i64,
        /// Its leader epoch.
        epoch: i32,
    },
    /// Drop all batches at or above an offset.
    TruncateLog {
        /// Number of the write.
        write: u64,
        /// New log end.
        to: i64,
    },
    /// Drop all batches; the log starts anew at the end of a snapshot.
    ResetLog {
        /// Number of the write.
        write: u64,
        /// New log start and end, with the epoch before it.
        to: SnapshotId,
    },
    /// Drop all batches below an offset.
    CutLog {
        /// Number of the write.
        write: u64,
        /// New log start.
        log_start: i64,
    },
    /// Write one slot of quorum state ([`super::quorum_state::encode_slot`]), every counter, in
    /// order; all other actions that depend on it are held back by the state machine.
    PersistQuorumState {
        /// What to write.
        state: QuorumState,
        /// Rises by one each time; also tells which of the two slots to write.
        counter: u64,
    },
    /// Send a request.
    Send {
        /// Whom to.
        peer: Peer,
        /// Where it listens, as far as known.
        address: Option<Endpoint>,
        /// To be handed back with the answer.
        correlation: u64,
        /// What.
        request: Request,
    },
    /// Answer a request.
    Reply {
        /// Token of the request.
        token: u64,
        /// The answer.
        response: Response,
    },
    /// Records below the high watermark are committed.
    Committed {
        /// The new high watermark; rises only.
        high_watermark: i64,
    },
    /// This node leads. It may propose once it has applied everything below `start`.
    BecameLeader {
        /// Its epoch.
        epoch: i32,
        /// Log end before its first batch.
        start: i64,
    },
    /// This node leads no longer; what it proposed and has not seen committed may vanish.
    LostLeadership {
        /// The epoch it led.
        epoch: i32,
    },
    /// The known leader or the epoch changed.
    LeaderChanged {
        /// As known now.
        leader: LeaderAndEpoch,
    },
    /// Records that were appended from a leader are gone from `to` on; only ever uncommitted ones.
    LogTruncated {
        /// New log end.
        to: i64,
    },
    /// Write bytes of a snapshot at a position of a `.checkpoint.part` file (position 0 starts it
    /// anew); answer with SnapshotChunkWritten or SnapshotFailed.
    WriteSnapshotChunk {
        /// Which snapshot.
        id: SnapshotId,
        /// Where in the file.
        position: i64,
        /// What.
        bytes: Bytes,
    },
    /// Check, sync and rename the part file (unless the snapshot is stored already), load it, and
    /// answer with SnapshotInstalled or SnapshotFailed.
    InstallSnapshot {
        /// Which snapshot.
        id: SnapshotId,
    },
    /// The download of a snapshot ended early; its part file may go.
    DropSnapshotPart {
        /// Which snapshot.
        id: SnapshotId,
    },
    /// Read bytes of a stored snapshot and answer with SnapshotRead.
    ReadSnapshot {
        /// To be handed back.
        token: u64,
        /// Which snapshot.
        id: SnapshotId,
        /// Where in the file.
        position: i64,
        /// How many bytes.
        length: usize,
    },
    /// A stored snapshot is no longer needed: the log start lies past it, durably.
    RemoveSnapshot {
        /// Which snapshot.
        id: SnapshotId,
    },
    /// Nothing more may be done by this node: stop the process. All later events are ignored.
    Fatal {
        /// What happened, for people.
        reason: FatalReason,
    },
}

/// Why the state machine stops itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FatalReason {
    /// A leader told us to drop committed records.
    TruncationBelowHighWatermark {
        /// Where to.
        to: i64,
        /// What is committed.
        high_watermark: i64,
    },
    /// A leader offered a snapshot that ends below what is committed here.
    SnapshotBelowHighWatermark {
        /// Which.
        id: SnapshotId,
        /// What is committed.
        high_watermark: i64,
    },
    /// The caller reported that the metadata directory failed.
    StorageFailed {
        /// What failed.
        reason: String,
    },
}

impl std::fmt::Display for FatalReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FatalReason::TruncationBelowHighWatermark { to, high_watermark } => write!(
                formatter,
                "the metadata leader asked to truncate the metadata log to offset {to}, below the committed offset {high_watermark}: one of the two logs is not of this cluster or has lost data"
            ),
            FatalReason::SnapshotBelowHighWatermark { id, high_watermark } => write!(
                formatter,
                "the metadata leader offered a snapshot that ends at offset {} (epoch {}), below the committed offset {high_watermark}: one of the two logs is not of this cluster or has lost data",
                id.offset, id.epoch
            ),
            FatalReason::StorageFailed { reason } => {
                write!(formatter, "the metadata log directory failed: {reason}")
            }
        }
    }
}

/// What a snapshot file says of the quorum; from [`crate::snapshot`]'s reader.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotView {
    /// Its name.
    pub id: SnapshotId,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// kraft.version of its header batch, 0 when the record is absent.
    pub kraft_version: i16,
    /// Voters of its header batch; none means the static voters.
    pub voters: Option<VoterSet>,
}
