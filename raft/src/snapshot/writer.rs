//! Makes the bytes of a snapshot, batch by batch. Reading is next door in `reader.rs`.

use bytes::Bytes;
use odradek_protocol::control_records::{SnapshotFooterRecord, SnapshotHeaderRecord};

use crate::consensus::batch;
use crate::consensus::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, SnapshotId, VoterSet};

/// What stands in the header batch, and how large data batches grow.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Name of the snapshot; its epoch is that of every batch.
    pub id: SnapshotId,
    /// Time of the newest record contained, in milliseconds
    /// ([`crate::consensus::Raft::last_timestamp_ms_at`]).
    pub last_contained_log_timestamp_ms: i64,
    /// kraft.version at its end; 1 adds KRaftVersion and Voters records.
    pub kraft_version: i16,
    /// Voters at its end; none for a node formatted without initial controllers.
    pub voters: Option<VoterSet>,
    /// Wall time put into the batches, in milliseconds.
    pub now_ms: i64,
    /// Bytes of records after which a data batch is closed; at most 8 MiB.
    pub batch_bytes_max: usize,
}

/// Writes a snapshot: `new`, then `push` for every record, then `finish`; each may hand out bytes
/// to be appended to the file, never more than one data batch plus a control batch.
#[derive(Debug)]
pub struct SnapshotWriter {
    options: WriterOptions,
    next_offset: i64,
    pending: Vec<Bytes>,
    pending_bytes: usize,
}

impl SnapshotWriter {
    /// Starts a snapshot; the bytes are its header batch.
    pub fn new(options: WriterOptions) -> (Self, Bytes) {
        let header = SnapshotHeaderRecord {
            version: 0,
            last_contained_log_timestamp: options.last_contained_log_timestamp_ms,
            ..Default::default()
        };
        let mut controls = vec![(batch::SNAPSHOT_HEADER, batch::control_value(&header))];
        if options.kraft_version >= 1 {
            let version = batch::kraft_version_value(options.kraft_version);
            controls.push((batch::KRAFT_VERSION, version));
            if let Some(voters) = &options.voters {
                controls.push((batch::KRAFT_VOTERS, batch::voters_value(voters)));
            }
        }
        let bytes = batch::control_batch(0, options.id.epoch, options.now_ms, &controls);
        let writer = Self {
            next_offset: controls.len() as i64,
            options,
            pending: Vec::new(),
            pending_bytes: 0,
        };
        (writer, bytes)
    }

    /// Adds one framed metadata record; gives a whole batch whenever one is full.
    pub fn push(&mut self, record: Bytes) -> Option<Bytes> {
        // 32 bytes cover the frame of any one record, 61 the batch header.
        let size = record.len() + 32;
        let limit = self.options.batch_bytes_max.min(BATCH_BYTES_MAX - 61);
        let full = !self.pending.is_empty()
            && (self.pending.len() >= BATCH_RECORDS_MAX || self.pending_bytes + size > limit);
        let batch = full.then(|| self.close_batch());
        self.pending_bytes += size;
        self.pending.push(record);
        batch
    }

    /// The last data batch and the footer.
    pub fn finish(mut self) -> Bytes {
        let mut bytes = Vec::new();
        if !self.pending.is_empty() {
            bytes.extend_from_slice(&self.close_batch());
        }
        let footer = SnapshotFooterRecord::default();
        let controls = [(batch::SNAPSHOT_FOOTER, batch::control_value(&footer))];
        let footer = batch::control_batch(
            self.next_offset,
            self.options.id.epoch,
            self.options.now_ms,
            &controls,
        );
        bytes.extend_from_slice(&footer);
        Bytes::from(bytes)
    }

    fn close_batch(&mut self) -> Bytes {
        let records = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let batch = batch::data_batch(
            self.next_offset,
            self.options.id.epoch,
            self.options.now_ms,
            &records,
        );
        self.next_offset += records.len() as i64;
        batch
    }
}
