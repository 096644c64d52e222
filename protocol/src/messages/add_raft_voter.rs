//! AddRaftVoter, API key 80: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    add_raft_voter_request, key 80, versions [0..=1], flexible [0..];

    /// The request of AddRaftVoter.
    AddRaftVoterRequest {
        cluster_id: Option<StrBytes> [0.., nullable 0..],
        timeout_ms: i32 [0..],
        voter_id: i32 [0..],
        voter_directory_id: Uuid [0..],
        listeners: Vec<Listener> [0..],
        ack_when_committed: bool [1..] = true,
    }

    /// An element of `listeners` in `AddRaftVoterRequest`.
    Listener {
        name: StrBytes [0..],
        host: StrBytes [0..],
        port: u16 [0..],
    }
}

message! {
    add_raft_voter_response, key 80, versions [0..=1], flexible [0..];

    /// The response to AddRaftVoter.
    AddRaftVoterResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., ignorable],
    }
}
