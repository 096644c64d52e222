//! UpdateRaftVoter, API key 82: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    update_raft_voter_request, key 82, versions [0], flexible [0..];

    /// The request of UpdateRaftVoter.
    UpdateRaftVoterRequest {
        cluster_id: Option<StrBytes> [0.., nullable 0..],
        current_leader_epoch: i32 [0..],
        voter_id: i32 [0..],
        voter_directory_id: Uuid [0..],
        listeners: Vec<Listener> [0..],
        kraft_version_feature: KRaftVersionFeature [0..],
    }

    /// An element of `listeners` in `UpdateRaftVoterRequest`.
    Listener {
        name: StrBytes [0..],
        host: StrBytes [0..],
        port: u16 [0..],
    }

    /// The value of `kraft_version_feature` in `UpdateRaftVoterRequest`.
    KRaftVersionFeature {
        min_supported_version: i16 [0..],
        max_supported_version: i16 [0..],
    }
}

message! {
    update_raft_voter_response, key 82, versions [0], flexible [0..];

    /// The response to UpdateRaftVoter.
    UpdateRaftVoterResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        current_leader: CurrentLeader [0..] tag 0 [0..],
    }

    /// The value of `current_leader` in `UpdateRaftVoterResponse`.
    CurrentLeader {
        leader_id: i32 [0..] = -1,
        leader_epoch: i32 [0..] = -1,
        host: StrBytes [0..],
        port: i32 [0..],
    }
}
