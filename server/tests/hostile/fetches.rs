//! Cases 45 to 47: fetches out of sessions that are not, in epochs that are not, at offsets that are not.
//! What a restart does to epochs (46) is in `damage.rs`; an epoch of the past needs a second replica, or the shard's own tests.

use super::kafka::{self, FETCH_BY_NAME, append, create_topic, fetch, fetch_request};
use super::support::Node;
use odradek_protocol::messages::FetchRequest;
use odradek_protocol::messages::fetch_response::FetchResponse;
use odradek_protocol::{ApiKey, ErrorCode};

pub fn sessions(node: &Node) {
    let mut client = node.client();
    let topic_id = create_topic(&mut client, "sessions", 1, &[]);
    append(&mut client, "sessions", &[b"value"]);
    let with = |session_id: i32, session_epoch: i32| FetchRequest {
        session_id,
        session_epoch,
        ..fetch_request("sessions", 0)
    };
    let answer: FetchResponse = client.call(ApiKey::Fetch, FETCH_BY_NAME, &with(12_345, 1));
    assert_eq!(answer.error_code, ErrorCode::FetchSessionIdNotFound.code());
    let answer: FetchResponse = client.call(ApiKey::Fetch, FETCH_BY_NAME, &with(0, 0));
    assert_eq!(answer.error_code, 0);
    let session = answer.session_id;
    assert_ne!(session, 0, "a session was made");
    let answer: FetchResponse = client.call(ApiKey::Fetch, FETCH_BY_NAME, &with(session, 5));
    assert_eq!(
        answer.error_code,
        ErrorCode::InvalidFetchSessionEpoch.code()
    );
    // The session goes on where it was; then it may not change from names to ids.
    let answer: FetchResponse = client.call(ApiKey::Fetch, FETCH_BY_NAME, &with(session, 1));
    assert_eq!(answer.error_code, 0);
    let mut by_id = with(session, 2);
    by_id.topics[0].topic_id = topic_id;
    let answer: FetchResponse = client.call(ApiKey::Fetch, 13, &by_id);
    assert_eq!(
        answer.error_code,
        ErrorCode::FetchSessionTopicIdError.code()
    );
}

pub fn future_epoch(node: &Node) {
    let mut client = node.client();
    create_topic(&mut client, "future-epoch", 1, &[]);
    append(&mut client, "future-epoch", &[b"value"]);
    let mut request = fetch_request("future-epoch", 0);
    request.topics[0].partitions[0].current_leader_epoch = 1_000;
    let answer: FetchResponse = client.call(ApiKey::Fetch, FETCH_BY_NAME, &request);
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(partition.error_code, ErrorCode::UnknownLeaderEpoch.code());
}

pub fn out_of_range(node: &Node) {
    let mut client = node.client();
    create_topic(&mut client, "range", 1, &[]);
    append(&mut client, "range", &[b"one", b"two"]);
    for offset in [3, i64::MAX, -1, -5, i64::MIN] {
        let found = fetch(&mut client, "range", offset).error_code;
        assert_eq!(found, ErrorCode::OffsetOutOfRange.code(), "offset {offset}");
    }
    assert_eq!(kafka::read_all(&mut client, "range").len(), 2);
    assert_eq!(
        fetch(&mut client, "range", 2).error_code,
        0,
        "the end waits"
    );
}
