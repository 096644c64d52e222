//! ListOffsets and OffsetForLeaderEpoch.
//!
//! Sentinels: -1 latest, -2 earliest, -3 largest time stamp, -4 earliest local, -5 latest tiered, -6 earliest
//! pending upload. Nothing is tiered here, so that -4 is -2, and -5 and -6 find nothing, as with a Kafka
//! broker without remote storage. A time stamp is looked up by the log to a batch, and here to the record.

use odradek_protocol::ErrorCode;
use odradek_wal::{Offset, ReadAnswer, ReadData, ReadRefusal};

use crate::command::{
    EpochPartitionReply, EpochsCommand, Isolation, ListOffsetsCommand, ListOffsetsPartition,
    ListOffsetsPartitionReply, PartitionKey, Reply, RequestToken,
};
use crate::partition::Partition;
use crate::scan;
use crate::shard::{Shard, Ticket};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// A ListOffsets that waits for the disk.
#[derive(Debug)]
pub(crate) struct PendingList {
    token: RequestToken,
    asked: Vec<ListOffsetsPartition>,
    isolation: Isolation,
    replies: Vec<ListOffsetsPartitionReply>,
    outstanding: usize,
}

impl Shard {
    pub(crate) fn list_offsets(&mut self, command: ListOffsetsCommand) {
        let ListOffsetsCommand {
            token,
            isolation,
            partitions,
        } = command;
        let pending = PendingList {
            token,
            replies: partitions
                .iter()
                .map(|part| ListOffsetsPartitionReply::nothing(part.key, ErrorCode::None))
                .collect(),
            outstanding: partitions.len() + 1,
            asked: partitions.clone(),
            isolation,
        };
        let list = self.lists.insert(pending) as u32;
        for (position, part) in partitions.iter().enumerate() {
            if let Some(reply) = self.list_one(list, position as u32, isolation, part) {
                self.lists[list as usize].replies[position] = reply;
                self.list_release(list);
            }
        }
        self.list_release(list);
    }

    /// The answer for one partition, or none while the disk is asked.
    fn list_one(
        &mut self,
        list: u32,
        position: u32,
        isolation: Isolation,
        part: &ListOffsetsPartition,
    ) -> Option<ListOffsetsPartitionReply> {
        let nothing = ListOffsetsPartitionReply::nothing(part.key, ErrorCode::None);
        let refused = |error| Some(ListOffsetsPartitionReply { error, ..nothing });
        let Some(slot) = self.slot_of(&part.key) else {
            return refused(ErrorCode::NotLeaderOrFollower);
        };
        let partition = self.partition(slot);
        if let Some(error) = partition.epoch_error(part.current_leader_epoch) {
            return refused(error);
        }
        let directory = &self.directories[usize::from(partition.directory)];
        if !directory.online {
            return refused(ErrorCode::KafkaStorageError);
        }
        let leader_epoch = partition.leader_epoch;
        let at = |offset: Offset, leader_epoch| {
            Some(ListOffsetsPartitionReply {
                offset: offset.0,
                leader_epoch,
                ..nothing
            })
        };
        match part.timestamp {
            LATEST => at(partition.latest(isolation), leader_epoch),
            EARLIEST | EARLIEST_LOCAL => {
                let start = partition.offsets.log_start();
                let epoch = directory.log.epoch_for(partition.replica, start);
                at(start, epoch.map_or(leader_epoch, |epoch| epoch.0))
            }
            LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Some(nothing),
            MAX_TIMESTAMP | 0.. => self.look_up(list, position, isolation, part, slot),
            _ => refused(ErrorCode::UnsupportedVersion),
        }
    }

    /// Asks the log for the batch that holds a time stamp.
    fn look_up(
        &mut self,
        list: u32,
        position: u32,
        isolation: Isolation,
        part: &ListOffsetsPartition,
        slot: u32,
    ) -> Option<ListOffsetsPartitionReply> {
        let (now, replica) = (self.now, self.partition(slot).replica);
        let ticket = self.ticket(Ticket::List { list, position });
        let timestamp_ms = part.timestamp;
        let answer = self
            .directory_mut(slot)
            .call(|log, out| match timestamp_ms {
                MAX_TIMESTAMP => log.find_max_timestamp(now, replica, ticket, out),
                _ => log.find_timestamp(now, replica, timestamp_ms, ticket, out),
            });
        if answer == ReadAnswer::Pending {
            return None;
        }
        self.tickets.remove(&ticket);
        let nothing = ListOffsetsPartitionReply::nothing(part.key, ErrorCode::None);
        let refused = |error| ListOffsetsPartitionReply { error, ..nothing };
        Some(match answer {
            ReadAnswer::Ready(data) => self.look_in_batch(part, isolation, &data),
            ReadAnswer::Damaged { .. } => refused(ErrorCode::CorruptMessage),
            ReadAnswer::Busy | ReadAnswer::Offline => refused(ErrorCode::KafkaStorageError),
            ReadAnswer::UnknownReplica => refused(ErrorCode::NotLeaderOrFollower),
            ReadAnswer::Pending
            | ReadAnswer::Empty
            | ReadAnswer::BelowLogStart
            | ReadAnswer::AboveEnd => nothing,
        })
    }

    /// The first record in the batch found that is late enough; nothing when it is not readable yet.
    fn look_in_batch(
        &self,
        part: &ListOffsetsPartition,
        isolation: Isolation,
        data: &ReadData,
    ) -> ListOffsetsPartitionReply {
        let nothing = ListOffsetsPartitionReply::nothing(part.key, ErrorCode::None);
        let (Some(batch), Some(slot)) = (data.slices.first(), self.slot_of(&part.key)) else {
            return nothing;
        };
        let bytes_max = self.options.decompressed_batch_bytes_max;
        let from = self.partition(slot).offsets.log_start().0;
        let found = match part.timestamp {
            MAX_TIMESTAMP => scan::max_timestamp(batch, from, bytes_max),
            timestamp => scan::first_at_or_after(batch, from, timestamp, bytes_max),
        };
        match found {
            Err(_) => ListOffsetsPartitionReply {
                error: ErrorCode::CorruptMessage,
                ..nothing
            },
            Ok(Some(found)) if found.offset < self.partition(slot).latest(isolation).0 => {
                ListOffsetsPartitionReply {
                    timestamp: found.timestamp_ms,
                    offset: found.offset,
                    leader_epoch: found.leader_epoch,
                    ..nothing
                }
            }
            Ok(_) => nothing,
        }
    }

    pub(crate) fn list_read_done(
        &mut self,
        list: u32,
        position: u32,
        result: Result<ReadData, ReadRefusal>,
    ) {
        let Some(pending) = self.lists.get(list as usize) else {
            return;
        };
        let part = pending.asked[position as usize];
        let nothing = ListOffsetsPartitionReply::nothing(part.key, ErrorCode::None);
        let reply = match result {
            Ok(data) => self.look_in_batch(&part, pending.isolation, &data),
            Err(ReadRefusal::Damaged { .. }) => ListOffsetsPartitionReply {
                error: ErrorCode::CorruptMessage,
                ..nothing
            },
            Err(ReadRefusal::Offline) => ListOffsetsPartitionReply {
                error: ErrorCode::KafkaStorageError,
                ..nothing
            },
            Err(ReadRefusal::UnknownReplica) => ListOffsetsPartitionReply {
                error: ErrorCode::NotLeaderOrFollower,
                ..nothing
            },
            Err(ReadRefusal::Empty | ReadRefusal::BelowLogStart | ReadRefusal::AboveEnd) => nothing,
        };
        self.lists[list as usize].replies[position as usize] = reply;
        self.list_release(list);
    }

    fn list_release(&mut self, list: u32) {
        let pending = &mut self.lists[list as usize];
        pending.outstanding -= 1;
        if pending.outstanding == 0 {
            let pending = self.lists.remove(list as usize);
            self.reply(pending.token, Reply::ListOffsets(pending.replies));
        }
    }

    pub(crate) fn offset_for_leader_epoch(&mut self, command: &EpochsCommand) {
        let mut replies = Vec::with_capacity(command.partitions.len());
        for part in &command.partitions {
            let mut reply = EpochPartitionReply {
                key: part.key,
                error: ErrorCode::None,
                leader_epoch: -1,
                end_offset: -1,
            };
            match self.slot_of(&part.key).map(|slot| self.partition(slot)) {
                None => reply.error = ErrorCode::NotLeaderOrFollower,
                Some(partition) => match partition.epoch_error(part.current_leader_epoch) {
                    Some(error) => reply.error = error,
                    None => {
                        (reply.leader_epoch, reply.end_offset) =
                            self.end_of_epoch(partition, part.leader_epoch)
                    }
                },
            }
            replies.push(reply);
        }
        self.reply(command.token, Reply::OffsetForLeaderEpoch(replies));
    }
}

impl Partition {
    /// First offset that a reader of this isolation does not see.
    pub(crate) fn latest(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.offsets.high_watermark(),
            Isolation::ReadCommitted => self.offsets.last_stable(),
        }
    }
}

impl ListOffsetsPartitionReply {
    fn nothing(key: PartitionKey, error: ErrorCode) -> Self {
        ListOffsetsPartitionReply {
            key,
            error,
            timestamp: -1,
            offset: -1,
            leader_epoch: -1,
        }
    }
}
