//! RemoveRaftVoter, API key 81: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    remove_raft_voter_request, key 81, versions [0], flexible [0..];

    /// The request of RemoveRaftVoter.
    RemoveRaftVoterRequest {
        cluster_id: Option<StrBytes> [0.., nullable 0..],
        voter_id: i32 [0..],
        voter_directory_id: Uuid [0..],
    }
}

message! {
    remove_raft_voter_response, key 81, versions [0], flexible [0..];

    /// The response to RemoveRaftVoter.
    RemoveRaftVoterResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., ignorable],
    }
}
