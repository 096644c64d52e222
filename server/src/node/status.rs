//! How the node is, for `/health`: written by the machines and at start, read by whoever asks. Cells are atomics of their own; a reader may
//! see one change before another.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8, AtomicUsize, Ordering};

/// How far the node has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Checks are made; no log has been opened.
    Starting,
    /// Logs are read from their checkpoints on.
    Recovering,
    /// The logs are open; the broker waits for the controller to register and unfence it.
    Joining,
    /// Clients are served.
    Serving,
    /// The node was asked to stop.
    Stopping,
}

impl Stage {
    /// As `/health` and `odradek_node_state` name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Recovering => "recovering",
            Self::Joining => "joining",
            Self::Serving => "serving",
            Self::Stopping => "stopping",
        }
    }

    fn from_number(number: u8) -> Self {
        let stages = [
            Self::Starting,
            Self::Recovering,
            Self::Joining,
            Self::Serving,
        ];
        let found = stages.into_iter().find(|stage| *stage as u8 == number);
        found.unwrap_or(Self::Stopping)
    }
}

/// The metadata log as this node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataState {
    /// Node id of the leader; none while an election runs.
    pub leader_id: Option<i32>,
    pub epoch: i32,
    /// End of what is committed; none before it is known.
    pub high_watermark: Option<i64>,
}

/// See the module.
#[derive(Debug)]
pub struct NodeStatus {
    stage: AtomicU8,
    logs: AtomicUsize,
    logs_recovered: AtomicUsize,
    /// By data directory.
    offline: Vec<AtomicBool>,
    leader_id: AtomicI32,
    epoch: AtomicI32,
    high_watermark: AtomicI64,
}

impl NodeStatus {
    /// Of a node with so many data directories, all online.
    pub fn new(directories: usize) -> Self {
        Self {
            stage: AtomicU8::new(Stage::Starting as u8),
            logs: AtomicUsize::new(0),
            logs_recovered: AtomicUsize::new(0),
            offline: (0..directories).map(|_| AtomicBool::new(false)).collect(),
            leader_id: AtomicI32::new(-1),
            epoch: AtomicI32::new(-1),
            high_watermark: AtomicI64::new(-1),
        }
    }

    pub fn stage(&self) -> Stage {
        Stage::from_number(self.stage.load(Ordering::Acquire))
    }

    /// Moves on; a stage never comes back, whatever order cores say it in.
    pub fn reach(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
    }

    /// So many logs are to be recovered.
    pub fn begin_recovery(&self, logs: usize) {
        self.logs.store(logs, Ordering::Release);
        self.reach(Stage::Recovering);
    }

    /// One of them is; with the last one the node goes on to join.
    pub fn log_recovered(&self) {
        let recovered = self.logs_recovered.fetch_add(1, Ordering::AcqRel) + 1;
        if recovered >= self.logs.load(Ordering::Acquire) {
            self.reach(Stage::Joining);
        }
    }

    /// Logs recovered, of how many.
    pub fn recovery(&self) -> (usize, usize) {
        (
            self.logs_recovered.load(Ordering::Acquire),
            self.logs.load(Ordering::Acquire),
        )
    }

    /// A data directory failed; it stays so until the next start.
    pub fn directory_offline(&self, directory: usize) {
        self.offline[directory].store(true, Ordering::Release);
    }

    /// By data directory, whether it is in use.
    pub fn directories_online(&self) -> Vec<bool> {
        let online = |offline: &AtomicBool| !offline.load(Ordering::Acquire);
        self.offline.iter().map(online).collect()
    }

    pub fn set_metadata(&self, state: MetadataState) {
        self.leader_id
            .store(state.leader_id.unwrap_or(-1), Ordering::Relaxed);
        self.epoch.store(state.epoch, Ordering::Relaxed);
        self.high_watermark
            .store(state.high_watermark.unwrap_or(-1), Ordering::Relaxed);
    }

    pub fn metadata(&self) -> MetadataState {
        let known = |number: i64| (number >= 0).then_some(number);
        MetadataState {
            leader_id: known(self.leader_id.load(Ordering::Relaxed).into()).map(|id| id as i32),
            epoch: self.epoch.load(Ordering::Relaxed),
            high_watermark: known(self.high_watermark.load(Ordering::Relaxed)),
        }
    }

    /// Whether the controller keeps this broker out of the cluster: so it is before it serves, and again when it leaves.
    pub fn fenced(&self) -> bool {
        self.stage() != Stage::Serving
    }

    /// Whether clients are served.
    pub fn well(&self) -> bool {
        self.stage() == Stage::Serving && self.directories_online().contains(&true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_go_forward_only() {
        let status = NodeStatus::new(2);
        assert_eq!(status.stage().name(), "starting");
        status.begin_recovery(2);
        status.log_recovered();
        assert_eq!(
            (status.stage(), status.recovery()),
            (Stage::Recovering, (1, 2))
        );
        status.log_recovered();
        assert_eq!(status.stage(), Stage::Joining);
        status.reach(Stage::Serving);
        assert!(status.well() && !status.fenced());
        status.directory_offline(0);
        assert!(status.well());
        status.directory_offline(1);
        assert!(!status.well());
        status.reach(Stage::Stopping);
        status.reach(Stage::Serving);
        assert_eq!(status.stage(), Stage::Stopping);
    }
}
