//! KRaft's consensus as a state machine without input or output (M1 of a metadata delta's way):
//! events in, actions out, time passed in. Whole for N voters and any number of observers.
//! `crate::controller` decides what is proposed, `crate::snapshot` knows the snapshot file,
//! `server/src/node` does the actions.

pub mod batch;
mod drive;
mod election;
mod event;
mod follower;
mod leader;
mod log;
mod message;
pub mod quorum_state;
mod raft;
mod recovery;
mod role;
mod snapshots;
mod transitions;
mod types;
mod voters;
pub mod wire;

pub use event::{Action, Event, FatalReason, SnapshotView};
pub use log::Batch;
pub use message::{
    BeginQuorumEpochRequest, EndQuorumEpochRequest, FetchRequest, FetchResult,
    FetchSnapshotRequest, FetchSnapshotResult, QuorumDescription, QuorumResponse,
    ReplicaDescription, Request, Response, VoteRequest, VoteResult,
};
pub use quorum_state::QuorumState;
pub use raft::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, ProposeRefusal, Raft};
pub use recovery::{Damage, LogView, Persisted, RecoveryError, Remedy};
pub use types::{
    Endpoint, LeaderAndEpoch, NO_DIRECTORY, Now, OffsetAndEpoch, Options, Peer, ReplicaKey,
    SnapshotId,
};
pub use voters::{Voter, VoterSet};
