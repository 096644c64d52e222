//! The tables of the classic consumer protocol. Their version prefix is in the parent module.

use crate::codec::{MessageInfo, message};

pub use consumer_protocol_assignment::ConsumerProtocolAssignment;
pub use consumer_protocol_subscription::ConsumerProtocolSubscription;

/// Every message of this file.
pub const MESSAGES: &[MessageInfo] = &[
    consumer_protocol_assignment::INFO,
    consumer_protocol_subscription::INFO,
];

message! {
    consumer_protocol_assignment, versions [0..=3], flexible [none];

    /// What the classic consumer protocol puts into a group's assignments.
    ConsumerProtocolAssignment {
        assigned_partitions: Vec<TopicPartition> [0..],
        user_data: Option<Bytes> [0.., nullable 0.., null],
    }

    /// An element of `assigned_partitions` in `ConsumerProtocolAssignment`.
    TopicPartition {
        topic: StrBytes [0..],
        partitions: Vec<i32> [0..],
    }
}

message! {
    consumer_protocol_subscription, versions [0..=3], flexible [none];

    /// What the classic consumer protocol puts into a group's metadata.
    ConsumerProtocolSubscription {
        topics: Vec<StrBytes> [0..],
        user_data: Option<Bytes> [0.., nullable 0.., null],
        owned_partitions: Vec<TopicPartition> [1.., ignorable],
        generation_id: i32 [2.., ignorable] = -1,
        rack_id: Option<StrBytes> [3.., nullable 3.., null, ignorable],
    }

    /// An element of `owned_partitions` in `ConsumerProtocolSubscription`.
    TopicPartition {
        topic: StrBytes [1..],
        partitions: Vec<i32> [1..],
    }
}
