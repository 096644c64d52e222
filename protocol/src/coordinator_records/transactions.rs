//! Records of `__transaction_state`.

use crate::codec::{MessageInfo, message};

pub use transaction_log_key::TransactionLogKey;
pub use transaction_log_value::TransactionLogValue;

/// Every message of this file.
pub(super) const MESSAGES: &[MessageInfo] =
    &[transaction_log_key::INFO, transaction_log_value::INFO];

message! {
    transaction_log_key, key 0, versions [0], flexible [none];

    /// Key of a record of type 0.
    TransactionLogKey {
        transactional_id: StrBytes [0],
    }
}

message! {
    transaction_log_value, key 0, versions [0..=1], flexible [1..];

    /// Value of a record of type 0.
    TransactionLogValue {
        producer_id: i64 [0..],
        producer_epoch: i16 [0..],
        transaction_timeout_ms: i32 [0..],
        transaction_status: i8 [0..],
        transaction_partitions: Option<Vec<PartitionsSchema>> [0.., nullable 0..],
        transaction_last_update_timestamp_ms: i64 [0..],
        transaction_start_timestamp_ms: i64 [0..],
        previous_producer_id: i64 [1..] tag 0 [1..] = -1,
        next_producer_id: i64 [1..] tag 1 [1..] = -1,
        client_transaction_version: i16 [1..] tag 2 [1..],
        next_producer_epoch: i16 [1..] tag 3 [1..] = -1,
    }

    /// An element of `transaction_partitions` in `TransactionLogValue`.
    PartitionsSchema {
        topic: StrBytes [0..],
        partition_ids: Vec<i32> [0..],
    }
}
