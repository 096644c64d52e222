//! The following side, case by case: appending, truncation that undoes voters, snapshots from a leader, a leader that
//! cannot be right, and nodes too old for pre-votes. Node 1 of voters 1, 2, 3 follows node 2.

use bytes::Bytes;
use odradek_protocol::ErrorCode;
use odradek_raft::consensus::{
    Action, Event, FatalReason, FetchResult, FetchSnapshotResult, LeaderAndEpoch, OffsetAndEpoch,
    Peer, QuorumResponse, Request, Response, SnapshotView, VoterSet, batch,
};
use odradek_raft::snapshot::{SnapshotWriter, WriterOptions};

use crate::support::{Node, endpoint, formatted, options, voters};

struct Following {
    node: Node,
    ms: u64,
    actions: Vec<Action>,
}

fn begin(epoch: i32) -> Event {
    Event::Request {
        token: epoch as u64,
        listener: "CONTROLLER".to_owned(),
        request: Request::BeginQuorumEpoch(odradek_raft::consensus::BeginQuorumEpochRequest {
            cluster_id: None,
            voter: None,
            leader_id: 2,
            epoch,
            endpoints: vec![endpoint(2)],
        }),
    }
}

impl Following {
    fn epoch(epoch: i32) -> Following {
        let node = Node::start(options(1), vec![formatted(&[1, 2, 3])]);
        let mut following = Following {
            node,
            ms: 0,
            actions: Vec::new(),
        };
        following.step(begin(epoch));
        assert_eq!(following.node.raft.role_name(), "Follower");
        following
    }

    fn step(&mut self, event: Event) {
        self.ms += 1;
        self.actions = self.node.step(self.ms, event);
    }

    /// The request under way to the leader.
    fn asked(&self) -> (u64, Request) {
        let mut sent = self.node.actions.iter().rev();
        let found = sent.find_map(|action| match action {
            Action::Send {
                peer: Peer::Node(2),
                correlation,
                request,
                ..
            } => Some((*correlation, request.clone())),
            _ => None,
        });
        found.expect("asks the leader")
    }

    fn fetch_offset(&self) -> (i64, i32) {
        match self.asked().1 {
            Request::Fetch(fetch) => (fetch.fetch_offset, fetch.last_fetched_epoch),
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, response: Response) {
        let (correlation, _) = self.asked();
        self.step(Event::Response {
            peer: Peer::Node(2),
            correlation,
            response,
        });
    }

    fn answer_fetch(&mut self, result: FetchResult) {
        let quorum = self.quorum();
        self.answer(Response::Fetch(quorum, Box::new(result)));
    }

    fn quorum(&self) -> QuorumResponse {
        QuorumResponse {
            error: ErrorCode::None,
            leader: LeaderAndEpoch {
                leader_id: Some(2),
                epoch: self.node.raft.leader().epoch,
            },
            leader_endpoint: None,
        }
    }
}

fn records(base: i64, epoch: i32, count: usize) -> Bytes {
    batch::data_batch(base, epoch, 5, &vec![Bytes::from_static(b"r"); count])
}

fn result(high_watermark: i64, records: Vec<Bytes>) -> FetchResult {
    FetchResult {
        high_watermark,
        records,
        ..FetchResult::default()
    }
}

#[test]
fn appends_and_commits_what_the_leader_says() {
    let mut following = Following::epoch(1);
    assert_eq!(following.fetch_offset(), (0, 0));
    following.answer_fetch(result(-1, vec![records(0, 1, 3), records(3, 1, 1)]));
    assert_eq!(following.fetch_offset(), (4, 1));
    assert_eq!(following.node.raft.high_watermark(), None);
    following.answer_fetch(result(3, vec![records(4, 1, 2)]));
    assert_eq!(following.node.raft.high_watermark(), Some(3));
    following.answer_fetch(result(99, vec![]));
    assert_eq!(following.node.raft.high_watermark(), Some(6));
}

#[test]
fn batches_out_of_place_or_broken_are_not_appended() {
    let mut flipped = records(0, 1, 1).to_vec();
    flipped[65] ^= 1;
    let bad = [
        records(1, 1, 1),
        records(0, 2, 1),
        Bytes::from(flipped),
        records(0, 1, 1).slice(..50),
        Bytes::from_static(b"not a batch"),
    ];
    for bytes in bad {
        let mut following = Following::epoch(1);
        following.answer_fetch(result(1, vec![bytes]));
        assert_eq!(following.node.raft.log_end(), 0);
        assert_eq!(following.node.raft.high_watermark(), None);
        assert_eq!(following.node.raft.role_name(), "Follower");
    }
}

/// A control batch at offset 0 that holds a Voters record.
fn batch_with_voters(ids: &[i32]) -> Bytes {
    let (_, header) = SnapshotWriter::new(WriterOptions {
        id: OffsetAndEpoch::new(0, 1),
        last_contained_log_timestamp_ms: 0,
        kraft_version: 1,
        voters: Some(voters(ids)),
        now_ms: 0,
        batch_bytes_max: 1 << 20,
    });
    header
}

#[test]
fn voters_count_when_appended_and_truncation_undoes_them() {
    let mut following = Following::epoch(1);
    let three: VoterSet = voters(&[1, 2, 3]);
    assert_eq!(following.node.raft.voters(), &three);
    following.answer_fetch(result(0, vec![batch_with_voters(&[1, 2, 3, 4])]));
    assert_eq!(following.node.raft.voters(), &voters(&[1, 2, 3, 4]));
    let end = following.node.raft.log_end();
    following.step(begin(2));
    assert_eq!(following.fetch_offset(), (end, 1));
    following.answer_fetch(FetchResult {
        diverging: Some(OffsetAndEpoch::new(0, 0)),
        ..result(-1, vec![])
    });
    assert_eq!(following.node.raft.log_end(), 0);
    assert_eq!(following.node.raft.voters(), &three);
    assert!(following.node.log.is_empty());
}

#[test]
fn truncation_below_the_high_watermark_is_fatal() {
    let mut following = Following::epoch(1);
    following.answer_fetch(result(3, vec![records(0, 1, 3)]));
    following.step(begin(2));
    following.answer_fetch(FetchResult {
        diverging: Some(OffsetAndEpoch::new(1, 1)),
        ..result(-1, vec![])
    });
    let fatal = FatalReason::TruncationBelowHighWatermark {
        to: 1,
        high_watermark: 3,
    };
    let told = following
        .actions
        .iter()
        .any(|action| matches!(action, Action::Fatal { reason } if *reason == fatal));
    assert!(told, "{:?}", following.actions);
    following.step(Event::Tick);
    assert!(
        following.actions.is_empty(),
        "a failed node does nothing more"
    );
}

#[test]
fn a_snapshot_replaces_the_log() {
    let id = OffsetAndEpoch::new(40, 1);
    let mut following = Following::epoch(1);
    following.answer_fetch(result(-1, vec![records(0, 1, 2)]));
    following.answer_fetch(FetchResult {
        snapshot_id: Some(id),
        ..result(-1, vec![])
    });
    let file = Bytes::from(vec![7u8; 250]);
    let mut written = Vec::new();
    for position in [0usize, 100, 200] {
        let (_, request) = following.asked();
        let Request::FetchSnapshot(asked) = request else {
            panic!("{request:?}");
        };
        assert_eq!((asked.snapshot_id, asked.position), (id, position as i64));
        let bytes = file.slice(position..(position + 100).min(250));
        let quorum = following.quorum();
        following.answer(Response::FetchSnapshot(
            quorum,
            FetchSnapshotResult {
                snapshot_id: id,
                size_bytes: 250,
                position: position as i64,
                bytes,
            },
        ));
        for action in following.actions.clone() {
            if let Action::WriteSnapshotChunk {
                position, bytes, ..
            } = action
            {
                assert_eq!(position as usize, written.len());
                written.extend_from_slice(&bytes);
            }
        }
        let position = written.len() as i64;
        following.step(Event::SnapshotChunkWritten { id, position });
    }
    assert_eq!(written, file);
    let installs = |action: &Action| matches!(action, Action::InstallSnapshot { .. });
    assert!(following.node.actions.iter().any(installs));
    let view = SnapshotView {
        id,
        size_bytes: 250,
        kraft_version: 1,
        voters: Some(voters(&[1, 2, 3])),
    };
    following.step(Event::SnapshotInstalled { view });
    assert_eq!(following.node.raft.log_start(), 40);
    assert_eq!(following.node.raft.high_watermark(), Some(40));
    assert_eq!(following.fetch_offset(), (40, 1));
}

#[test]
fn a_lost_snapshot_is_fetched_anew() {
    let id = OffsetAndEpoch::new(40, 1);
    let mut following = Following::epoch(1);
    following.answer_fetch(FetchResult {
        snapshot_id: Some(id),
        ..result(-1, vec![])
    });
    let mut quorum = following.quorum();
    quorum.error = ErrorCode::SnapshotNotFound;
    following.answer(Response::FetchSnapshot(
        quorum,
        FetchSnapshotResult {
            snapshot_id: id,
            size_bytes: 0,
            position: 0,
            bytes: Bytes::new(),
        },
    ));
    let dropped = |action: &Action| matches!(action, Action::DropSnapshotPart { .. });
    assert!(following.actions.iter().any(dropped));
    // The leader is left alone for a moment: another node is asked for the log at once.
    let fetches = |action: &Action| {
        matches!(action, Action::Send { peer: Peer::Node(3), request: Request::Fetch(fetch), .. }
            if fetch.fetch_offset == 0)
    };
    assert!(following.actions.iter().any(fetches));
}

#[test]
fn a_voter_too_old_for_pre_votes_makes_a_candidate() {
    let mut node = Node::start(options(1), vec![formatted(&[1, 2, 3])]);
    node.step(0, Event::Tick);
    let mut ms = 0;
    while node.raft.role_name() != "Prospective" {
        ms += 100;
        node.step(ms, Event::Tick);
    }
    let asked = node.actions.iter().rev().find_map(|action| match action {
        Action::Send {
            peer,
            correlation,
            request: Request::Vote(vote),
            ..
        } => Some((*peer, *correlation, vote.pre_vote)),
        _ => None,
    });
    let (peer, correlation, pre_vote) = asked.expect("asks for pre-votes");
    assert!(pre_vote);
    let response = Response::Refused {
        error: ErrorCode::UnsupportedVersion,
    };
    node.step(
        ms + 1,
        Event::Response {
            peer,
            correlation,
            response,
        },
    );
    assert_eq!(node.raft.role_name(), "Candidate");
    assert_eq!(node.raft.leader().epoch, 1);
}

#[test]
fn a_leader_seen_dying_is_replaced_soon() {
    let mut following = Following::epoch(1);
    following.answer_fetch(result(-1, vec![records(0, 1, 3)]));
    let at_ms = following.ms;
    following.step(Event::PeerGone { id: 2 });
    let due_ms = following.node.raft.next_deadline_us().div_ceil(1000);
    assert!(
        due_ms <= at_ms + 152,
        "stands within 150 ms, not {}",
        due_ms - at_ms
    );
    following.ms = at_ms + 151;
    following.step(Event::Tick);
    assert_eq!(following.node.raft.role_name(), "Prospective");
}
