//! AlterPartition, API key 56: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    alter_partition_request, key 56, versions [2..=3], flexible [0..];

    /// The request of AlterPartition.
    AlterPartitionRequest {
        broker_id: i32 [0..],
        broker_epoch: i64 [0..] = -1,
        topics: Vec<TopicData> [0..],
    }

    /// An element of `topics` in `AlterPartitionRequest`.
    TopicData {
        topic_id: Uuid [2.., ignorable],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `TopicData`.
    PartitionData {
        partition_index: i32 [0..],
        leader_epoch: i32 [0..],
        new_isr: Vec<i32> [0..=2],
        new_isr_with_epochs: Vec<BrokerState> [3..],
        leader_recovery_state: i8 [1..],
        partition_epoch: i32 [0..],
    }

    /// An element of `new_isr_with_epochs` in `PartitionData`.
    BrokerState {
        broker_id: i32 [3..],
        broker_epoch: i64 [3..] = -1,
    }
}

message! {
    alter_partition_response, key 56, versions [2..=3], flexible [0..];

    /// The response to AlterPartition.
    AlterPartitionResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        topics: Vec<TopicData> [0..],
    }

    /// An element of `topics` in `AlterPartitionResponse`.
    TopicData {
        topic_id: Uuid [2.., ignorable],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `TopicData`.
    PartitionData {
        partition_index: i32 [0..],
        error_code: i16 [0..],
        leader_id: i32 [0..],
        leader_epoch: i32 [0..],
        isr: Vec<i32> [0..],
        leader_recovery_state: i8 [1.., ignorable],
        partition_epoch: i32 [0..],
    }
}
