//! ListTransactions, API key 66: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    list_transactions_request, key 66, versions [0..=2], flexible [0..];

    /// The request of ListTransactions.
    ListTransactionsRequest {
        state_filters: Vec<StrBytes> [0..],
        producer_id_filters: Vec<i64> [0..],
        duration_filter: i64 [1..] = -1,
        transactional_id_pattern: Option<StrBytes> [2.., nullable 2.., null],
    }
}

message! {
    list_transactions_response, key 66, versions [0..=2], flexible [0..];

    /// The response to ListTransactions.
    ListTransactionsResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        unknown_state_filters: Vec<StrBytes> [0..],
        transaction_states: Vec<TransactionState> [0..],
    }

    /// An element of `transaction_states` in `ListTransactionsResponse`.
    TransactionState {
        transactional_id: StrBytes [0..],
        producer_id: i64 [0..],
        transaction_state: StrBytes [0..],
    }
}
