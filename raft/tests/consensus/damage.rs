//! Case 19: damaged or lost state never votes twice nor drops commits; the reason is named.

use odradek_raft::consensus::quorum_state::SlotDamage;
use odradek_raft::consensus::{
    Damage, Event, LogView, Options, Persisted, Raft, RecoveryError, Remedy, SnapshotView,
};

use crate::support::{Node, at, formatted, options, voters};

fn refused(
    options: Options,
    persisted: Persisted,
    log: LogView,
    snapshots: Vec<SnapshotView>,
) -> (Damage, Remedy, String) {
    match Raft::recover(at(0), options, persisted, log, snapshots) {
        Err(error @ RecoveryError::Damaged { .. }) => {
            let message = error.to_string();
            let RecoveryError::Damaged { damage, remedy } = error else {
                unreachable!("matched above");
            };
            (damage, remedy, message)
        }
        Err(other) => panic!("other error: {other}"),
        Ok(_) => panic!("recovered"),
    }
}

fn used() -> Node {
    let mut node = Node::start(options(1), vec![formatted(&[1])]);
    node.step(0, Event::Tick);
    node.propose(1, 1, 3);
    node
}

#[test]
fn the_only_voter_stops_with_a_named_reason() {
    let node = used();
    let view = vec![formatted(&[1])];
    let (damage, remedy, message) = refused(
        options(1),
        Persisted::Nothing,
        node.log_view(),
        view.clone(),
    );
    assert_eq!(damage, Damage::QuorumStateMissing);
    assert_eq!(remedy, Remedy::StopOnlyVoter);
    assert!(message.contains("only voter"), "{message}");

    let slots = Persisted::Damaged(SlotDamage::Slot { slot: 1 });
    let (damage, remedy, message) = refused(options(1), slots, node.log_view(), view.clone());
    assert!(matches!(damage, Damage::QuorumState(_)));
    assert_eq!(remedy, Remedy::StopOnlyVoter);
    assert!(message.contains("slot 1"), "{message}");

    let mut log = node.log_view();
    log.damaged = true;
    log.batches.pop();
    let (damage, remedy, _) = refused(options(1), node.persisted, log, view);
    assert_eq!((damage, remedy), (Damage::Log, Remedy::StopOnlyVoter));
}

#[test]
fn one_of_three_voters_rejoins_under_a_new_directory_id() {
    let slots = Persisted::Damaged(SlotDamage::Slot { slot: 0 });
    let (_, remedy, _) = refused(
        options(1),
        slots,
        LogView::default(),
        vec![formatted(&[1, 2, 3])],
    );
    assert_eq!(remedy, Remedy::RejoinUnderNewDirectoryId);
}

#[test]
fn a_static_voter_stops_and_an_observer_fetches_anew() {
    let slots = Persisted::Damaged(SlotDamage::Slot { slot: 0 });
    let static_options = Options {
        static_voters: voters(&[1, 2, 3]),
        ..options(1)
    };
    let (_, remedy, _) = refused(static_options, slots, LogView::default(), Vec::new());
    assert_eq!(remedy, Remedy::StopStaticVoter);
    let (_, remedy, _) = refused(
        options(9),
        slots,
        LogView::default(),
        vec![formatted(&[1, 2, 3])],
    );
    assert_eq!(remedy, Remedy::RefetchAsObserver);
}

#[test]
fn a_cut_log_without_its_snapshot_is_refused() {
    let log = LogView {
        start_offset: 10,
        ..LogView::default()
    };
    let error = Raft::recover(
        at(0),
        options(1),
        Persisted::Nothing,
        log,
        vec![formatted(&[1])],
    )
    .err();
    assert_eq!(
        error,
        Some(RecoveryError::SnapshotMissing { log_start: 10 })
    );
}
