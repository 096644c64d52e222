//! Reading a partition from inside, in order: how a coordinator loads its state. Appending from inside is in
//! `produce`.

use odradek_protocol::ErrorCode;
use odradek_wal::{Offset, ReadAnswer, ReadData, ReadRefusal};

use crate::command::{FetchPartitionReply, InternalRead, PartitionKey, Reply, RequestToken};
use crate::shard::{Shard, Ticket};

impl Shard {
    pub(crate) fn internal_read(&mut self, command: &InternalRead) {
        let InternalRead {
            token,
            key,
            from,
            max_bytes,
        } = *command;
        let mut reply = self.internal_reply(&key);
        let Some(slot) = self.slot_of(&key) else {
            return self.reply(token, Reply::InternalRead(reply));
        };
        let partition = self.partition(slot);
        let (now, replica) = (self.now, partition.replica);
        let from = Offset(from).max(partition.offsets.log_start());
        let bound = partition.offsets.high_watermark();
        if from >= bound {
            return self.reply(token, Reply::InternalRead(reply));
        }
        let ticket = self.ticket(Ticket::Internal { token, key });
        let answer = self
            .directory_mut(slot)
            .call(|log, out| log.read(now, replica, from, bound, max_bytes, true, ticket, out));
        if answer == ReadAnswer::Pending {
            return;
        }
        self.tickets.remove(&ticket);
        match answer {
            ReadAnswer::Ready(data) => reply.records = data.slices,
            ReadAnswer::Damaged { .. } => reply.error = ErrorCode::CorruptMessage,
            ReadAnswer::Empty => {}
            _ => reply.error = ErrorCode::KafkaStorageError,
        }
        self.reply(token, Reply::InternalRead(reply));
    }

    pub(crate) fn internal_read_done(
        &mut self,
        token: RequestToken,
        key: PartitionKey,
        result: Result<ReadData, ReadRefusal>,
    ) {
        let mut reply = self.internal_reply(&key);
        match result {
            Ok(data) => reply.records = data.slices,
            Err(ReadRefusal::Damaged { .. }) => reply.error = ErrorCode::CorruptMessage,
            Err(ReadRefusal::Empty) => {}
            Err(_) => reply.error = ErrorCode::KafkaStorageError,
        }
        self.reply(token, Reply::InternalRead(reply));
    }

    fn internal_reply(&self, key: &PartitionKey) -> FetchPartitionReply {
        let Some(slot) = self.slot_of(key) else {
            return FetchPartitionReply::refused(*key, ErrorCode::NotLeaderOrFollower);
        };
        let partition = self.partition(slot);
        let mut reply = FetchPartitionReply::refused(*key, ErrorCode::None);
        reply.high_watermark = partition.offsets.high_watermark().0;
        reply.last_stable_offset = partition.offsets.last_stable().0;
        reply.log_start_offset = partition.offsets.log_start().0;
        reply.leader_epoch = partition.leader_epoch;
        reply
    }
}
