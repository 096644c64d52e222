//! What the machines of different cores tell each other: commands to shards, calls to the controller, and the answers.
//! Batches inside are reference-counted slices; nothing is copied on the way.

use super::controller_call::{ControllerAnswer, ControllerCall};
use super::telemetry::{TelemetryAnswer, TelemetryCall};
use odradek_raft::image::{MetadataDelta, MetadataImage};
use odradek_shard::{Event as ShardEvent, Reply, RequestToken};
use std::sync::Arc;

/// An image and what changed since the one before.
#[derive(Clone)]
pub struct ImageUpdate {
    pub image: Arc<MetadataImage>,
    pub delta: Arc<MetadataDelta>,
    /// Whether this broker is unfenced in it, in this life of the process: strays may be judged (case 17).
    pub unfenced: bool,
    /// At a start: the image that comes right after this one, of a snapshot. What it does not name any more is not made first.
    pub followed_by: Option<Arc<MetadataImage>>,
}

/// A message between cores (or of a core to itself).
pub enum Mail {
    /// For a shard that the receiving core runs.
    Shard { shard: u16, event: ShardEvent },
    /// A shard's answer, to the core that owns the request.
    ShardReply { token: RequestToken, reply: Reply },
    /// For the controller, on the core of the metadata group.
    Controller {
        token: RequestToken,
        call: ControllerCall,
    },
    /// The controller's answer, once committed.
    ControllerReply {
        token: RequestToken,
        answer: ControllerAnswer,
    },
    /// What a client asks about telemetry, for the core that its instance belongs to.
    Telemetry {
        token: RequestToken,
        call: Box<TelemetryCall>,
    },
    /// What it is told.
    TelemetryReply {
        token: RequestToken,
        answer: TelemetryAnswer,
    },
    /// A newer image; the receiver works out what it means for its shards.
    Image(ImageUpdate),
    /// The sender serves from the image of this offset, for the core of the metadata group: what was asked for is answered once all do.
    Placed { core: u16, offset: i64 },
    /// The broker registered with this epoch: it goes into every shard's logs (case 8).
    BrokerEpoch(i64),
    /// The broker is unfenced: requests may be served.
    Serve,
    /// A log directory of the receiving core's shard went offline, for the heartbeat.
    DirectoryOffline { directory: usize },
    /// The receiving core counts its shards' logs as closed.
    ShardsClosed { core: u16 },
    /// Controlled shutdown is over: close the logs.
    CloseLogs,
    /// Everything is closed: this core ends.
    Exit,
}
