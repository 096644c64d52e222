//! The records that a snapshot has most of, parted where they lie: a start reads millions, and decoding each costs an allocation and more.

use super::FRAME_VERSION;
use crate::Uuid;

/// A record's version and message when its value is of this type; frame version, type and version are varints below 128, a byte each.
fn message_of(value: &[u8], wanted_type: u8) -> Option<(u8, &[u8])> {
    let (&[frame, record_type, version], message) = value.split_first_chunk()?;
    (u32::from(frame) == FRAME_VERSION && record_type == wanted_type).then_some((version, message))
}

/// A framed TopicRecord, read where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicRecordParts<'a> {
    /// The topic's name.
    pub name: &'a str,
    /// The topic's id.
    pub topic_id: Uuid,
}

impl<'a> TopicRecordParts<'a> {
    /// Parts a record's value; none when it is no topic record of version 0, is not whole, or has tagged fields.
    pub fn of(value: &'a [u8]) -> Option<TopicRecordParts<'a>> {
        const TOPIC_TYPE: u8 = 2;
        let (0, message) = message_of(value, TOPIC_TYPE)? else {
            return None;
        };
        // The name's length and one as a varint, at most two bytes for what a name may have.
        let (length, rest) = match *message {
            [low @ 0..0x80, ref rest @ ..] => (usize::from(low), rest),
            [low, high @ 0..0x80, ref rest @ ..] => {
                (usize::from(low & 0x7F) | usize::from(high) << 7, rest)
            }
            _ => return None,
        };
        let (name, rest) = rest.split_at_checked(length.checked_sub(1)?)?;
        let (topic_id, rest) = rest.split_first_chunk::<16>()?;
        (rest == [0]).then_some(TopicRecordParts {
            name: std::str::from_utf8(name).ok()?,
            topic_id: Uuid(*topic_id),
        })
    }
}

/// A framed PartitionRecord, parted without being read: two whose `version` and `rest` are equal say the same of their partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRecordParts<'a> {
    /// The message's version.
    pub version: u8,
    /// The partition's number.
    pub partition_id: i32,
    /// The topic's id.
    pub topic_id: Uuid,
    /// Everything after the topic's id, in the encoding of that version.
    pub rest: &'a [u8],
}

impl<'a> PartitionRecordParts<'a> {
    /// Parts a record's value; none when it is no partition record of a known version.
    pub fn of(value: &'a [u8]) -> Option<PartitionRecordParts<'a>> {
        const PARTITION_TYPE: u8 = 3;
        let (version @ 0..=2, message) = message_of(value, PARTITION_TYPE)? else {
            return None;
        };
        let (partition_id, rest) = message.split_first_chunk::<4>()?;
        let (topic_id, rest) = rest.split_first_chunk::<16>()?;
        Some(PartitionRecordParts {
            version,
            partition_id: i32::from_be_bytes(*partition_id),
            topic_id: Uuid(*topic_id),
            rest,
        })
    }
}
