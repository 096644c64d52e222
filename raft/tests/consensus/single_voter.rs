//! One voter: from a formatted directory to commits, snapshots, the log cut and a restart.

use bytes::Bytes;
use odradek_protocol::records;
use odradek_raft::consensus::{
    Action, Event, LogView, OffsetAndEpoch, Options, Persisted, ProposeRefusal, Raft, Request,
    Response, SnapshotView,
};

use crate::support::{Node, at, formatted, key, options};

fn became_leader(actions: &[Action]) -> Option<(i32, i64)> {
    actions.iter().find_map(|action| match action {
        Action::BecameLeader { epoch, start } => Some((*epoch, *start)),
        _ => None,
    })
}

fn committed(actions: &[Action]) -> Option<i64> {
    actions.iter().rev().find_map(|action| match action {
        Action::Committed { high_watermark } => Some(*high_watermark),
        _ => None,
    })
}

#[test]
fn leads_at_once_on_a_formatted_directory() {
    let mut node = Node::start(options(1), vec![formatted(&[1])]);
    let actions = node.step(0, Event::Tick);
    assert_eq!(became_leader(&actions), Some((1, 0)));
    // LeaderChange, KRaftVersion, Voters in one control batch.
    assert_eq!(committed(&actions), Some(3));
    assert_eq!(node.raft.voters(), formatted(&[1]).voters.as_ref().unwrap());
    assert_eq!(node.raft.kraft_version(), 1);
    let types: Vec<i16> = records::records(&node.log[0].2, 1 << 20)
        .unwrap()
        .map(|record| i16::from_be_bytes(record.unwrap().key.unwrap()[2..4].try_into().unwrap()))
        .collect();
    assert_eq!(types, [2, 5, 6]);
}

#[test]
fn nothing_is_written_before_the_epoch_is_durable() {
    let mut raft = Raft::recover(
        at(0),
        options(1),
        Persisted::Nothing,
        LogView::default(),
        vec![formatted(&[1])],
    )
    .unwrap();
    let mut actions = Vec::new();
    raft.step(at(0), Event::Tick, &mut actions);
    let counters: Vec<u64> = actions
        .iter()
        .filter_map(|action| match action {
            Action::PersistQuorumState { counter, .. } => Some(*counter),
            _ => None,
        })
        .collect();
    let appends = |actions: &[Action]| {
        actions
            .iter()
            .filter(|action| matches!(action, Action::AppendLog { .. }))
            .count()
    };
    assert_eq!(appends(&actions), 0);
    actions.clear();
    for counter in counters {
        assert_eq!(appends(&actions), 0);
        raft.step(at(0), Event::QuorumStateDurable { counter }, &mut actions);
    }
    assert_eq!(appends(&actions), 1);
}

#[test]
fn proposals_get_their_offsets_at_once_and_commit_when_durable() {
    let mut raft = Raft::recover(
        at(0),
        options(1),
        Persisted::Nothing,
        LogView::default(),
        vec![formatted(&[1])],
    )
    .unwrap();
    let mut actions = Vec::new();
    raft.step(at(0), Event::Tick, &mut actions);
    raft.step(
        at(0),
        Event::QuorumStateDurable { counter: 2 },
        &mut actions,
    );
    actions.clear();
    let records = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    let range = raft.propose(at(1), 1, &records, &mut actions).unwrap();
    assert_eq!(range, 3..5);
    assert_eq!(raft.high_watermark(), None);
    raft.step(at(2), Event::LogDurable { write: 1 }, &mut actions);
    assert_eq!(committed(&actions), Some(3));
    raft.step(at(3), Event::LogDurable { write: 2 }, &mut actions);
    assert_eq!(committed(&actions), Some(5));
}

#[test]
fn refusals_are_typed() {
    let mut node = Node::start(options(1), vec![formatted(&[1])]);
    node.step(0, Event::Tick);
    let mut actions = Vec::new();
    let one = [Bytes::from_static(b"x")];
    let refused = node.raft.propose(at(1), 7, &one, &mut actions);
    assert!(matches!(refused, Err(ProposeRefusal::NotLeader { .. })));
    let refused = node.raft.propose(at(1), 1, &[], &mut actions);
    assert_eq!(refused, Err(ProposeRefusal::Empty));
    let many = vec![Bytes::from_static(b"x"); 10_001];
    let refused = node.raft.propose(at(1), 1, &many, &mut actions);
    assert_eq!(refused, Err(ProposeRefusal::TooLarge));
    let large = [Bytes::from(vec![0u8; 8 * 1024 * 1024])];
    let refused = node.raft.propose(at(1), 1, &large, &mut actions);
    assert_eq!(refused, Err(ProposeRefusal::TooLarge));
    assert!(actions.is_empty());
}

#[test]
fn restart_leads_in_the_next_epoch_with_everything_committed() {
    let mut node = Node::start(options(1), vec![formatted(&[1])]);
    node.step(0, Event::Tick);
    assert_eq!(node.propose(1, 1, 4), 3..7);
    let mut again = Node::restart(
        options(1),
        node.persisted,
        node.log_view(),
        vec![formatted(&[1])],
        1000,
    );
    let actions = again.step(1000, Event::Tick);
    assert_eq!(became_leader(&actions), Some((2, 7)));
    // The voters stand in the log by now: LeaderChange alone.
    assert_eq!(committed(&actions), Some(8));
}

#[test]
fn snapshots_cut_the_log_and_a_restart_begins_behind_the_newest() {
    let mut node = Node::start(options(1), vec![formatted(&[1])]);
    node.step(0, Event::Tick);
    let mut ids = Vec::new();
    for round in 0..3 {
        let range = node.propose(round, 1, 5);
        assert_eq!(node.raft.snapshot_id_at(range.end - 1), None);
        let id = node.raft.snapshot_id_at(range.end).expect("a boundary");
        let size_bytes = 100;
        let actions = node.step(round, Event::SnapshotWritten { id, size_bytes });
        ids.push(id);
        let cut = actions
            .iter()
            .any(|action| matches!(action, Action::CutLog { .. }));
        assert_eq!(cut, round == 2, "two snapshots are kept");
        let removed = actions
            .iter()
            .any(|action| matches!(action, Action::RemoveSnapshot { id } if *id == ids[0]));
        assert_eq!(removed, round == 2);
    }
    assert_eq!(node.raft.log_start(), ids[1].offset);
    let stored = ids[1..]
        .iter()
        .map(|id| SnapshotView {
            id: *id,
            size_bytes: 100,
            kraft_version: 1,
            voters: formatted(&[1]).voters,
        })
        .collect();
    let again = Node::restart(options(1), node.persisted, node.log_view(), stored, 10);
    assert_eq!(again.raft.log_start(), ids[2].offset);
    assert_eq!(again.raft.log_end(), 18);
    assert_eq!(again.raft.high_watermark(), Some(18));
    assert_eq!(again.raft.last_epoch(), 1);
}

#[test]
fn memory_lets_go_of_most_of_the_log_that_a_snapshot_says() {
    let mut node = Node::start(options(1), vec![formatted(&[1])]);
    node.step(0, Event::Tick);
    let before = node.raft.log_bytes();
    node.propose(1, 1, 5);
    let batch_bytes = node.raft.log_bytes() - before;
    let mut again = Node::restart(
        Options {
            log_kept_bytes_max: batch_bytes * 2,
            ..options(1)
        },
        node.persisted,
        node.log_view(),
        vec![formatted(&[1])],
        10,
    );
    again.step(10, Event::Tick);
    let mut ends = Vec::new();
    for round in 11..21 {
        ends.push(again.propose(round, 2, 5).end);
    }
    let id = again.raft.snapshot_id_at(ends[7]).expect("a boundary");
    let size_bytes = 100;
    let actions = again.step(30, Event::SnapshotWritten { id, size_bytes });
    let on_disk = |action: &Action| matches!(action, Action::CutLog { .. });
    assert!(!actions.iter().any(on_disk), "the disk keeps what it has");
    // Two batches before the snapshot's end, and two behind it.
    assert_eq!(again.raft.log_start(), ends[5]);
    assert_eq!(again.raft.log_bytes(), batch_bytes * 4);
    assert_eq!(again.raft.high_watermark(), Some(ends[9]));
    again.propose(31, 2, 5);
    assert_eq!(again.raft.log_end(), ends[9] + 5);
}

#[test]
fn a_start_needs_no_more_of_the_log_than_from_the_end_of_the_newest_snapshot() {
    let mut node = Node::start(options(1), vec![formatted(&[1])]);
    node.step(0, Event::Tick);
    let ends: Vec<i64> = (1..7).map(|round| node.propose(round, 1, 5).end).collect();
    let stored = |end: i64| SnapshotView {
        id: node.raft.snapshot_id_at(end).expect("a boundary"),
        size_bytes: 100,
        kraft_version: 1,
        voters: formatted(&[1]).voters,
    };
    let snapshots = vec![stored(ends[0]), stored(ends[3])];
    let whole = node.log_view();
    let from = whole
        .batches
        .iter()
        .position(|batch| batch[..8] == ends[2].to_be_bytes());
    let read = LogView {
        start_offset: ends[0],
        batches: whole.batches[from.expect("the batch before the newest")..].to_vec(),
        damaged: false,
    };
    let mut again = Node::restart(options(1), node.persisted, read, snapshots, 10);
    assert_eq!(again.raft.log_start(), ends[3]);
    assert_eq!(again.raft.log_end(), ends[5]);
    let actions = again.step(10, Event::Tick);
    assert_eq!(became_leader(&actions), Some((2, ends[5])));
    let touches_disk = |action: &&Action| {
        matches!(
            action,
            Action::CutLog { .. } | Action::ResetLog { .. } | Action::RemoveSnapshot { .. }
        )
    };
    assert!(
        !actions.iter().any(|action| touches_disk(&action)),
        "all stays stored"
    );
}

#[test]
fn a_snapshot_past_the_log_replaces_it() {
    let id = OffsetAndEpoch::new(50, 4);
    let stored = SnapshotView {
        id,
        size_bytes: 10,
        kraft_version: 1,
        voters: formatted(&[1]).voters,
    };
    let mut node = Node::start(options(1), vec![formatted(&[1])]);
    node.step(0, Event::Tick);
    let mut again = Node::restart(
        options(1),
        node.persisted,
        node.log_view(),
        vec![formatted(&[1]), stored],
        10,
    );
    let actions = again.step(10, Event::Tick);
    assert!(matches!(actions[0], Action::ResetLog { to, .. } if to == id));
    assert_eq!(again.raft.log_start(), 50);
    assert_eq!(became_leader(&actions), Some((5, 50)));
}

#[test]
fn describes_the_quorum_with_observers() {
    let mut node = Node::start(options(1), vec![formatted(&[1])]);
    node.step(0, Event::Tick);
    let fetch = odradek_raft::consensus::FetchRequest {
        cluster_id: Some("cluster".to_owned()),
        replica: key(7),
        wait_max_ms: 500,
        bytes_max: 1 << 20,
        epoch: 1,
        fetch_offset: 0,
        last_fetched_epoch: 0,
        high_watermark: -1,
    };
    let listener = "CONTROLLER".to_owned();
    let request = Event::Request {
        token: 9,
        listener: listener.clone(),
        request: Request::Fetch(fetch.clone()),
    };
    let actions = node.step(5, request);
    let Some(Action::Reply { token: 9, response }) = actions.last() else {
        panic!("answered: {actions:?}");
    };
    let Response::Fetch(quorum, result) = response else {
        panic!("{response:?}");
    };
    assert_eq!(quorum.leader.leader_id, Some(1));
    assert_eq!(result.high_watermark, 3);
    assert_eq!(result.records.len(), 1);
    // At the log end with the high watermark known: parked until something is appended.
    let caught_up = odradek_raft::consensus::FetchRequest {
        fetch_offset: 3,
        last_fetched_epoch: 1,
        high_watermark: 3,
        ..fetch
    };
    let request = Event::Request {
        token: 10,
        listener,
        request: Request::Fetch(caught_up),
    };
    let replied = |actions: &[Action]| {
        actions
            .iter()
            .any(|action| matches!(action, Action::Reply { token: 10, .. }))
    };
    assert!(!replied(&node.step(6, request)));
    node.propose(7, 1, 1);
    assert!(replied(&node.actions));
    let described = node.raft.describe_quorum(at(8));
    assert_eq!(described.high_watermark, 4);
    assert_eq!(described.voters.len(), 1);
    assert_eq!(described.voters[0].log_end_offset, 4);
    assert_eq!(described.observers.len(), 1);
    assert_eq!(described.observers[0].key, key(7));
    assert_eq!(described.observers[0].log_end_offset, 3);
}
