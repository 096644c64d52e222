//! DeleteTopics, API key 20: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    delete_topics_request, key 20, versions [1..=6], flexible [4..];

    /// The request of DeleteTopics.
    DeleteTopicsRequest {
        topics: Vec<DeleteTopicState> [6..],
        topic_names: Vec<StrBytes> [0..=5, ignorable],
        timeout_ms: i32 [0..],
    }

    /// An element of `topics` in `DeleteTopicsRequest`.
    DeleteTopicState {
        name: Option<StrBytes> [6.., nullable 6.., null],
        topic_id: Uuid [6..],
    }
}

message! {
    delete_topics_response, key 20, versions [1..=6], flexible [4..];

    /// The response to DeleteTopics.
    DeleteTopicsResponse {
        throttle_time_ms: i32 [1.., ignorable],
        responses: Vec<DeletableTopicResult> [0..],
    }

    /// An element of `responses` in `DeleteTopicsResponse`.
    DeletableTopicResult {
        name: Option<StrBytes> [0.., nullable 6..],
        topic_id: Uuid [6.., ignorable],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [5.., nullable 5.., null, ignorable],
    }
}
