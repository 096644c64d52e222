//! Snapshots on the move: serving FetchSnapshot, downloading one, taking up a stored one, and the
//! log cut that follows an own one (kraft.md 2.5, 3.3). The bytes of the file are
//! `crate::snapshot`'s.

use bytes::Bytes;
use odradek_protocol::ErrorCode;

use super::event::{Action, SnapshotView};
use super::message::{FetchSnapshotRequest, FetchSnapshotResult, Response};
use super::raft::Raft;
use super::role::{Download, DownloadStep, Role};
use super::types::{Now, Peer, SnapshotId};

/// Most snapshot reads under way; more are answered with no bytes, and asked again.
const SNAPSHOT_READS_MAX: usize = 64;

/// A FetchSnapshot that waits for bytes of the file.
#[derive(Debug)]
pub(super) struct SnapshotRead {
    token: u64,
    listener: String,
    request: FetchSnapshotRequest,
}

impl Raft {
    pub(super) fn on_fetch_snapshot_request(
        &mut self,
        now: Now,
        token: u64,
        listener: &str,
        request: FetchSnapshotRequest,
        actions: &mut Vec<Action>,
    ) {
        if self.refuse_cluster(token, request.cluster_id.as_deref(), actions) {
            return;
        }
        let size = self.snapshots.get(&request.snapshot_id).copied();
        let error = match (self.check_leadership(request.epoch), size) {
            (Some(error), _) => error,
            (None, None) => ErrorCode::SnapshotNotFound,
            (None, Some(size)) if request.position < 0 || request.position as u64 >= size => {
                ErrorCode::PositionOutOfRange
            }
            (None, Some(_)) => ErrorCode::None,
        };
        let size = size.unwrap_or(0);
        if error != ErrorCode::None {
            return self.answer_snapshot(
                token,
                listener,
                &request,
                error,
                size,
                Bytes::new(),
                actions,
            );
        }
        self.note_fetch(now, &request.replica, None);
        if self.snapshot_reads.len() >= SNAPSHOT_READS_MAX {
            return self.answer_snapshot(
                token,
                listener,
                &request,
                error,
                size,
                Bytes::new(),
                actions,
            );
        }
        let wanted = request
            .bytes_max
            .clamp(1, self.options.snapshot_chunk_bytes_max.max(1)) as u64;
        let length = wanted.min(size - request.position as u64) as usize;
        let read = self.next_snapshot_read;
        self.next_snapshot_read += 1;
        actions.push(Action::ReadSnapshot {
            token: read,
            id: request.snapshot_id,
            position: request.position,
            length,
        });
        let listener = listener.to_owned();
        self.snapshot_reads.insert(
            read,
            SnapshotRead {
                token,
                listener,
                request,
            },
        );
    }

    pub(super) fn on_snapshot_read(
        &mut self,
        _now: Now,
        token: u64,
        bytes: Option<Bytes>,
        actions: &mut Vec<Action>,
    ) {
        let Some(read) = self.snapshot_reads.remove(&token) else {
            return;
        };
        let request = read.request;
        let size = self.snapshots.get(&request.snapshot_id).copied();
        let (error, bytes) = match (self.check_leadership(request.epoch), size, bytes) {
            (Some(error), _, _) => (error, Bytes::new()),
            (None, Some(_), Some(bytes)) => (ErrorCode::None, bytes),
            (None, _, _) => (ErrorCode::SnapshotNotFound, Bytes::new()),
        };
        let size = size.unwrap_or(0);
        self.answer_snapshot(
            read.token,
            &read.listener,
            &request,
            error,
            size,
            bytes,
            actions,
        );
    }

    #[allow(clippy::too_many_arguments)]
    fn answer_snapshot(
        &mut self,
        token: u64,
        listener: &str,
        request: &FetchSnapshotRequest,
        error: ErrorCode,
        size_bytes: u64,
        bytes: Bytes,
        actions: &mut Vec<Action>,
    ) {
        let result = FetchSnapshotResult {
            snapshot_id: request.snapshot_id,
            size_bytes: size_bytes as i64,
            position: request.position,
            bytes,
        };
        let response = Response::FetchSnapshot(self.quorum_response(error, listener), result);
        self.emit(Action::Reply { token, response }, actions);
    }

    /// An answer to our own FetchSnapshot for `asked`.
    pub(super) fn on_snapshot_result(
        &mut self,
        now: Now,
        peer: Peer,
        asked: (SnapshotId, i64),
        error: ErrorCode,
        result: FetchSnapshotResult,
        actions: &mut Vec<Action>,
    ) {
        let (id, position) = asked;
        let Some(download) = self.download_mut() else {
            return;
        };
        if (download.id, download.position) != asked || download.step != DownloadStep::Fetching {
            return;
        }
        if matches!(
            error,
            ErrorCode::SnapshotNotFound | ErrorCode::PositionOutOfRange
        ) {
            self.drop_download(actions);
            return self.back_off(now, peer);
        }
        let after = position.saturating_add(result.bytes.len() as i64);
        let wrong = result.snapshot_id != id
            || result.position != position
            || after > result.size_bytes
            || result.bytes.is_empty();
        if error != ErrorCode::None || wrong {
            return self.back_off(now, peer);
        }
        let complete = after == result.size_bytes;
        download.position = after;
        download.step = if complete {
            DownloadStep::Installing
        } else {
            DownloadStep::Writing
        };
        actions.push(Action::WriteSnapshotChunk {
            id,
            position,
            bytes: result.bytes,
        });
        if complete {
            actions.push(Action::InstallSnapshot { id });
        }
        self.note_good_answer(now);
    }

    pub(super) fn on_chunk_written(&mut self, id: SnapshotId, position: i64) {
        if let Some(download) = self.download_mut()
            && download.id == id
            && download.position == position
            && download.step == DownloadStep::Writing
        {
            download.step = DownloadStep::Fetching;
        }
    }

    /// A whole snapshot is stored: it replaces the log unless the log agrees with it already.
    pub(super) fn on_snapshot_installed(
        &mut self,
        now: Now,
        view: SnapshotView,
        actions: &mut Vec<Action>,
    ) {
        let id = view.id;
        if self
            .download_mut()
            .is_some_and(|download| download.id == id)
            && let Role::Follower(state) = &mut self.role
        {
            state.download = None;
        }
        let behind = self.high_watermark.is_none_or(|mark| mark < id.offset);
        let agrees = self.log.epoch_at_end(id.offset) == Some(id.epoch);
        if self.is_leader() || (!behind && !agrees) {
            // A leader has what is committed; a snapshot below the log is of no more use.
            if !self.snapshots.contains_key(&id) {
                actions.push(Action::RemoveSnapshot { id });
            }
            return;
        }
        self.snapshots.insert(id, view.size_bytes);
        if !agrees {
            self.reset_log(&view, actions);
            self.drop_snapshots_below_log_start(actions);
        }
        self.note_good_answer(now);
    }

    fn drop_snapshots_below_log_start(&mut self, actions: &mut Vec<Action>) {
        let start = self.log.start();
        let older: Vec<_> = self.snapshots.range(..start).map(|(id, _)| *id).collect();
        for id in older {
            self.snapshots.remove(&id);
            self.emit(Action::RemoveSnapshot { id }, actions);
        }
    }

    pub(super) fn on_snapshot_failed(&mut self, now: Now, id: SnapshotId) {
        let leader_id = self.leader().leader_id;
        if self
            .download_mut()
            .is_some_and(|download| download.id == id)
        {
            if let Role::Follower(state) = &mut self.role {
                state.download = None;
            }
            if let Some(leader_id) = leader_id {
                self.back_off(now, Peer::Node(leader_id));
            }
        }
    }

    /// An own snapshot is stored: with more than enough of them the start of the log on disk moves
    /// up, and memory lets go of most of what the snapshot says.
    pub(super) fn on_snapshot_written(
        &mut self,
        id: SnapshotId,
        size_bytes: u64,
        actions: &mut Vec<Action>,
    ) {
        let committed = self.high_watermark.is_some_and(|mark| mark >= id.offset);
        if self.log.epoch_at_end(id.offset) != Some(id.epoch) || !committed {
            // A downloaded snapshot took the log past it meanwhile.
            if !self.snapshots.contains_key(&id) {
                actions.push(Action::RemoveSnapshot { id });
            }
            return;
        }
        self.snapshots.insert(id, size_bytes);
        let retained = self.options.snapshots_retained.max(1);
        if self.snapshots.len() > retained {
            let oldest_kept = *self
                .snapshots
                .keys()
                .nth(self.snapshots.len() - retained)
                .expect("fewer are dropped than there are");
            self.cut_log(oldest_kept, actions);
        }
        self.log.trim(id.offset, self.options.log_kept_bytes_max);
    }

    fn drop_download(&mut self, actions: &mut Vec<Action>) {
        if let Role::Follower(state) = &mut self.role
            && let Some(download) = state.download.take()
        {
            actions.push(Action::DropSnapshotPart { id: download.id });
        }
    }

    fn download_mut(&mut self) -> Option<&mut Download> {
        match &mut self.role {
            Role::Follower(state) => state.download.as_mut(),
            _ => None,
        }
    }
}
