//! DeleteRecords, DescribeProducers and DescribeLogDirs.

use odradek_protocol::ErrorCode;
use odradek_wal::{AppendRefusal, Offset};

use crate::command::{
    DeleteRecordsCommand, DeleteRecordsPartitionReply, DescribeProducersCommand,
    DescribeProducersPartitionReply, LogDirectoryReply, PartitionKey, Reply, RequestToken,
};
use crate::config::Durability;
use crate::directory::{Directory, Wait};
use crate::partition::OffsetMove;
use crate::shard::Shard;

/// The offset of a DeleteRecords that means the high watermark.
const HIGH_WATERMARK: i64 = -1;

/// A DeleteRecords whose log starts are not durable yet.
#[derive(Debug)]
pub(crate) struct PendingDelete {
    token: RequestToken,
    replies: Vec<DeleteRecordsPartitionReply>,
    outstanding: usize,
}

impl Shard {
    /// Raises log starts. The answer waits until they are durable: a leader never goes back (case 17).
    pub(crate) fn delete_records(&mut self, command: &DeleteRecordsCommand) {
        let nothing = |key| DeleteRecordsPartitionReply {
            key,
            error: ErrorCode::None,
            low_watermark: -1,
        };
        let pending = PendingDelete {
            token: command.token,
            replies: command
                .partitions
                .iter()
                .map(|(key, _)| nothing(*key))
                .collect(),
            outstanding: command.partitions.len() + 1,
        };
        let delete = self.deletes.insert(pending) as u32;
        for (position, (key, offset)) in command.partitions.iter().enumerate() {
            match self.delete_one(delete, position as u32, key, *offset) {
                Ok(Some(low_watermark)) => {
                    self.deletes[delete as usize].replies[position].low_watermark = low_watermark.0;
                    self.delete_done(delete, position as u32, None);
                }
                Ok(None) => {}
                Err(error) => self.delete_done(delete, position as u32, Some(error)),
            }
        }
        self.delete_release(delete);
    }

    /// The new log start when it is certain at once; none when the answer waits for the disk.
    fn delete_one(
        &mut self,
        delete: u32,
        position: u32,
        key: &PartitionKey,
        offset: i64,
    ) -> Result<Option<Offset>, ErrorCode> {
        let slot = self.slot_of(key).ok_or(ErrorCode::NotLeaderOrFollower)?;
        if !self.topic_of(slot).config.cleanup.delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let partition = self.partition(slot);
        let offsets = partition.offsets;
        let to = match offset {
            HIGH_WATERMARK => offsets.high_watermark(),
            offset if offset < 0 => return Err(ErrorCode::OffsetOutOfRange),
            offset => Offset(offset),
        };
        if to > offsets.high_watermark() {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let (now, replica) = (self.now, partition.replica);
        if !self.directories[usize::from(partition.directory)].online {
            return Err(ErrorCode::KafkaStorageError);
        }
        let ahead = self.options.durability == Durability::None;
        if to <= offsets.log_start() {
            // Raised before, perhaps a moment ago: wait for that one.
            let directory = self.directory_mut(slot);
            let lsn = directory.last_lsn;
            if lsn <= directory.log.durable_lsn() {
                return Ok(Some(offsets.log_start()));
            }
            directory
                .waiting
                .push_back((lsn, Wait::LogStart { delete, position }));
            self.deletes[delete as usize].replies[position as usize].low_watermark =
                offsets.log_start().0;
            return Ok(None);
        }
        let directory = self.directory_mut(slot);
        let lsn = match directory.call(|log, out| log.set_log_start(now, replica, to, out)) {
            Ok(lsn) => lsn,
            Err(AppendRefusal::OutOfRange) => return Err(ErrorCode::OffsetOutOfRange),
            Err(AppendRefusal::UnknownReplica) => return Err(ErrorCode::NotLeaderOrFollower),
            Err(_) => return Err(ErrorCode::KafkaStorageError),
        };
        directory.last_lsn = directory.last_lsn.max(lsn);
        directory
            .waiting
            .push_back((lsn, Wait::LogStart { delete, position }));
        self.deletes[delete as usize].replies[position as usize].low_watermark = to.0;
        self.partition_mut(slot)
            .offsets
            .advance(OffsetMove::LogStart(to), ahead);
        self.tell_watchers(slot, 0);
        Ok(None)
    }

    pub(crate) fn delete_done(&mut self, delete: u32, position: u32, error: Option<ErrorCode>) {
        if let Some(error) = error {
            let reply = &mut self.deletes[delete as usize].replies[position as usize];
            reply.error = error;
            reply.low_watermark = -1;
        }
        self.delete_release(delete);
    }

    fn delete_release(&mut self, delete: u32) {
        let pending = &mut self.deletes[delete as usize];
        pending.outstanding -= 1;
        if pending.outstanding == 0 {
            let pending = self.deletes.remove(delete as usize);
            self.reply(pending.token, Reply::DeleteRecords(pending.replies));
        }
    }

    pub(crate) fn describe_producers(&mut self, command: &DescribeProducersCommand) {
        let mut replies = Vec::with_capacity(command.partitions.len());
        for key in &command.partitions {
            let partition = self.slot_of(key).map(|slot| self.partition(slot));
            replies.push(DescribeProducersPartitionReply {
                key: *key,
                error: partition.map_or(ErrorCode::NotLeaderOrFollower, |_| ErrorCode::None),
                producers: partition
                    .and_then(|partition| partition.producers.as_deref())
                    .map_or_else(Vec::new, |producers| producers.describe()),
            });
        }
        self.reply(command.token, Reply::DescribeProducers(replies));
    }

    pub(crate) fn describe_log_dirs(&mut self, token: RequestToken) {
        let of_directory = |directory: &Directory| Vec::with_capacity(directory.partitions);
        let mut all: Vec<Vec<_>> = self.directories.iter().map(of_directory).collect();
        for partition in self.partitions.iter() {
            let directory = usize::from(partition.directory);
            let state = self.directories[directory].log.replica(partition.replica);
            let bytes = state.map_or(0, |state| state.bytes);
            all[directory].push((partition.key, i64::try_from(bytes).unwrap_or(i64::MAX)));
        }
        let mut directories = Vec::with_capacity(all.len());
        for (directory, mut replicas) in self.directories.iter().zip(all) {
            replicas.sort_unstable();
            directories.push(LogDirectoryReply {
                directory: directory.id,
                error: if directory.online {
                    ErrorCode::None
                } else {
                    ErrorCode::KafkaStorageError
                },
                replicas,
            });
        }
        self.reply(token, Reply::DescribeLogDirs(directories));
    }
}
