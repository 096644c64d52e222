//! The produce that nearly all are, read and answered without the tables: one batch for one partition, no transaction, acks 1 or all,
//! versions 9 and later. What a frame says beyond that makes `read` give up, and the tables of `produce` take it.
//!
//! Why it exists: at 1 KiB batches half of a request's time went into the general reader, the general answer and what they allocate.
//! `server/tests/node/single_produce.rs` holds both ways together, byte for byte.

use bytes::Bytes;
use odradek_protocol::Uuid;
use odradek_shard::command::ProducePartitionReply;

use super::TOPIC_ID_VERSION;

/// From this version on requests and answers are flexible (KIP-482): lengths are variable and tagged fields may follow.
const FLEXIBLE_VERSION: i16 = 9;

/// How a topic is named in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicKey<'frame> {
    Name(&'frame str),
    Id(Uuid),
}

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SingleRequest<'frame> {
    pub correlation_id: i32,
    pub acks: i16,
    pub timeout_ms: i32,
    pub topic: TopicKey<'frame>,
    pub partition: i32,
    /// Where in the frame the batch begins and ends.
    pub records: (usize, usize),
}

/// Reads a whole frame (without its size) of this version; none when it is no such request, or none at all.
pub fn read(frame: &[u8], version: i16) -> Option<SingleRequest<'_>> {
    if version < FLEXIBLE_VERSION {
        return None;
    }
    let mut cursor = Cursor { frame, at: 4 };
    let correlation_id = i32::from_be_bytes(cursor.take()?);
    let client_id_bytes = i16::from_be_bytes(cursor.take()?);
    if let Ok(bytes) = usize::try_from(client_id_bytes) {
        let client_id = cursor.slice(bytes)?;
        // The administrators' client may write where others may not; and what is no plain text is for the general reader to judge.
        if !client_id.is_ascii() || client_id == super::ADMIN_CLIENT_ID.as_bytes() {
            return None;
        }
    }
    cursor.expect(0)?; // Tagged fields of the header.
    cursor.expect(0)?; // No transactional id.
    let acks = i16::from_be_bytes(cursor.take()?);
    let timeout_ms = i32::from_be_bytes(cursor.take()?);
    if !matches!(acks, -1 | 1) {
        return None;
    }
    cursor.expect(1 + 1)?; // One topic.
    let topic = if version >= TOPIC_ID_VERSION {
        TopicKey::Id(Uuid(cursor.take()?))
    } else {
        let bytes = cursor.length()?;
        TopicKey::Name(std::str::from_utf8(cursor.slice(bytes)?).ok()?)
    };
    cursor.expect(1 + 1)?; // One partition.
    let partition = i32::from_be_bytes(cursor.take()?);
    let bytes = cursor.length()?;
    let begin = cursor.at;
    cursor.slice(bytes)?;
    for _partition_topic_request in 0..3 {
        cursor.expect(0)?; // Their tagged fields.
    }
    Some(SingleRequest {
        correlation_id,
        acks,
        timeout_ms,
        topic,
        partition,
        records: (begin, begin + bytes),
    })
}

struct Cursor<'frame> {
    frame: &'frame [u8],
    at: usize,
}

impl<'frame> Cursor<'frame> {
    fn take<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        let taken = self.frame.get(self.at..)?.first_chunk::<BYTES>()?;
        self.at += BYTES;
        Some(*taken)
    }

    fn slice(&mut self, bytes: usize) -> Option<&'frame [u8]> {
        let taken = self.frame.get(self.at..self.at.checked_add(bytes)?)?;
        self.at += bytes;
        Some(taken)
    }

    /// One byte that must be this.
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.take::<1>()? == [byte]).then_some(())
    }

    /// A length, sent as one more; null and empty are for the general reader.
    fn length(&mut self) -> Option<usize> {
        let mut value: u64 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(value)
                    .ok()?
                    .checked_sub(1)
                    .filter(|bytes| *bytes > 0);
            }
        }
        None
    }
}

/// The whole frame of an answer without an error, its size included.
pub fn answer(correlation_id: i32, topic: TopicKey<'_>, reply: &ProducePartitionReply) -> Bytes {
    let topic_bytes = match topic {
        TopicKey::Id(_) => 16,
        TopicKey::Name(name) => name.len() + 2,
    };
    let mut frame = Vec::with_capacity(4 + 4 + 1 + 1 + topic_bytes + 1 + 30 + 2 + 1 + 1 + 4 + 1);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&correlation_id.to_be_bytes());
    frame.extend_from_slice(&[0, 1 + 1]); // No tagged fields of the header; one topic.
    match topic {
        TopicKey::Id(id) => frame.extend_from_slice(&id.0),
        TopicKey::Name(name) => {
            put_length(&mut frame, name.len());
            frame.extend_from_slice(name.as_bytes());
        }
    }
    frame.push(1 + 1); // One partition.
    frame.extend_from_slice(&reply.key.partition.to_be_bytes());
    frame.extend_from_slice(&[0, 0]); // No error.
    frame.extend_from_slice(&reply.base_offset.to_be_bytes());
    frame.extend_from_slice(&reply.log_append_time_ms.to_be_bytes());
    frame.extend_from_slice(&reply.log_start_offset.to_be_bytes());
    // No record errors, no message, no tagged fields of the partition and the topic.
    frame.extend_from_slice(&[1, 0, 0, 0]);
    let throttle_ms = reply.throttle_ms.min(i32::MAX as u32);
    frame.extend_from_slice(&throttle_ms.to_be_bytes());
    frame.push(0);
    let bytes = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&bytes.to_be_bytes());
    Bytes::from(frame)
}

fn put_length(frame: &mut Vec<u8>, bytes: usize) {
    let mut value = bytes + 1;
    while value >= 0x80 {
        frame.push(value as u8 | 0x80);
        value >>= 7;
    }
    frame.push(value as u8);
}
