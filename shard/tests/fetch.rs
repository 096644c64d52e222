//! Fetch as a client sees it: limits, errors, waiting, sessions (case 12, hostile 46 and 47).

mod common;

use common::*;
use odradek_protocol::ErrorCode;
use odradek_shard::command::*;
use odradek_shard::{Durability, Event, ShardOptions, TopicConfig};

#[test]
fn hostile_46_and_47_wrong_epochs_and_offsets() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    node.produce(key, batch(&["a"]));
    node.metadata(vec![PartitionChange::LeaderEpoch {
        key,
        leader_epoch: 3,
    }]);
    let mut error_of = |want: FetchPartition| {
        let command = node.fetch_command(vec![want]);
        node.run_fetch(command).partitions.remove(0).error
    };
    assert_eq!(
        error_of(FetchPartition {
            current_leader_epoch: 2,
            ..want(key, 0)
        }),
        ErrorCode::FencedLeaderEpoch
    );
    assert_eq!(
        error_of(FetchPartition {
            current_leader_epoch: 4,
            ..want(key, 0)
        }),
        ErrorCode::UnknownLeaderEpoch
    );
    assert_eq!(
        error_of(FetchPartition {
            current_leader_epoch: 3,
            ..want(key, 0)
        }),
        ErrorCode::None
    );
    assert_eq!(error_of(want(key, 2)), ErrorCode::OffsetOutOfRange);
    assert_eq!(error_of(want(key, -1)), ErrorCode::OffsetOutOfRange);
    assert_eq!(
        error_of(want(common::key(7, 0), 0)),
        ErrorCode::NotLeaderOrFollower
    );
}

#[test]
fn a_diverging_epoch_is_told_instead_of_records() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    node.produce(key, batch(&["a", "b"]));
    node.metadata(vec![PartitionChange::LeaderEpoch {
        key,
        leader_epoch: 2,
    }]);
    node.produce(key, batch(&["c", "d"]));
    let ask = |offset, last_fetched_epoch| FetchPartition {
        last_fetched_epoch,
        ..want(key, offset)
    };
    let command = node.fetch_command(vec![ask(3, 0)]);
    let reply = node.run_fetch(command).partitions.remove(0);
    assert_eq!(
        (reply.error, reply.diverging_epoch),
        (ErrorCode::None, Some((0, 2)))
    );
    assert!(reply.records.is_empty());
    let command = node.fetch_command(vec![ask(4, 1)]);
    assert_eq!(
        node.run_fetch(command).partitions[0].diverging_epoch,
        Some((0, 2))
    );
    let command = node.fetch_command(vec![ask(2, 0)]);
    let reply = node.run_fetch(command).partitions.remove(0);
    assert_eq!((reply.diverging_epoch, values(&reply).len()), (None, 2));
}

#[test]
fn the_first_batch_comes_whole_and_later_ones_obey_the_limits() {
    let mut node = Node::new();
    let keys: Vec<_> = (0..3)
        .map(|partition| node.create(1, partition, TopicConfig::default()))
        .collect();
    let long = "x".repeat(1_000);
    for key in &keys {
        for _ in 0..4 {
            node.produce(*key, batch(&[&long]));
        }
    }
    let wants = |max_bytes| {
        keys.iter()
            .map(|key| FetchPartition {
                max_bytes,
                ..want(*key, 0)
            })
            .collect::<Vec<_>>()
    };
    let counts = |reply: FetchReply| {
        reply
            .partitions
            .iter()
            .map(|part| part.records.len())
            .collect::<Vec<_>>()
    };
    let command = FetchCommand {
        max_bytes: 10,
        ..node.fetch_command(wants(10))
    };
    assert_eq!(counts(node.run_fetch(command)), vec![1, 0, 0]);
    let command = FetchCommand {
        max_bytes: 10,
        at_least_one: false,
        ..node.fetch_command(wants(10))
    };
    assert_eq!(counts(node.run_fetch(command)), vec![0, 0, 0]);
    let command = FetchCommand {
        max_bytes: 3_500,
        ..node.fetch_command(wants(2_300))
    };
    assert_eq!(counts(node.run_fetch(command)), vec![2, 1, 0]);
}

#[test]
fn a_waiting_fetch_is_woken_by_durable_bytes_and_not_before() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    let command = FetchCommand {
        max_wait_ms: 10_000,
        min_bytes: 150,
        ..node.fetch_command(vec![want(key, 0)])
    };
    let token = command.token;
    node.step(Event::Fetch(command));
    assert_eq!(node.shard.statistics().fetches_parked, 1);
    node.send(key, batch(&["a"]), 1);
    assert!(
        node.fetched(token).is_none(),
        "woken by what is not durable"
    );
    node.settle();
    assert!(
        node.fetched(token).is_none(),
        "woken by less than it asked for"
    );
    node.produce(key, batch(&["b"]));
    node.produce(key, batch(&["c"]));
    let reply = node.fetched(token).expect("enough is there");
    assert!(values(&reply.partitions[0]).len() >= 2);
    assert_eq!(node.shard.statistics().fetches_parked, 0);
    assert_eq!(
        node.shard.next_deadline_us(),
        None,
        "its deadline is gone with it"
    );
}

#[test]
fn a_waiting_fetch_answers_at_its_deadline_when_unparked_and_when_its_partition_goes() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    let park = |node: &mut Node| {
        let command = FetchCommand {
            max_wait_ms: 500,
            ..node.fetch_command(vec![want(key, 0)])
        };
        let token = command.token;
        node.step(Event::Fetch(command));
        assert!(node.fetched(token).is_none());
        token
    };
    let token = park(&mut node);
    node.now.monotonic_us += 499_000;
    node.step(Event::Tick);
    assert!(node.fetched(token).is_none());
    node.now.monotonic_us += 1_000;
    node.step(Event::Tick);
    assert_eq!(
        node.fetched(token).expect("the deadline").partitions[0].error,
        ErrorCode::None
    );
    let token = park(&mut node);
    node.step(Event::Unpark(token));
    assert_eq!(
        node.fetched(token).expect("unparked").partitions[0].high_watermark,
        0
    );
    let token = park(&mut node);
    node.step(Event::Cancel(token));
    node.produce(key, batch(&["a"]));
    assert!(
        node.fetched(token).is_none(),
        "nobody waits for that answer any more"
    );
    let command = FetchCommand {
        max_wait_ms: 500,
        ..node.fetch_command(vec![want(key, 1)])
    };
    let token = command.token;
    node.step(Event::Fetch(command));
    node.metadata(vec![PartitionChange::Delete { key }]);
    assert_eq!(
        node.fetched(token)
            .expect("the partition is gone")
            .partitions[0]
            .error,
        ErrorCode::NotLeaderOrFollower
    );
}

#[test]
fn an_error_is_answered_at_once_however_long_the_wait() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    let wants = vec![want(key, 0), want(common::key(7, 0), 0)];
    let command = FetchCommand {
        max_wait_ms: 10_000,
        ..node.fetch_command(wants)
    };
    assert_eq!(node.run_fetch(command).partitions.len(), 2);
}

fn session(id: i32) -> SessionKey {
    SessionKey { core: 0, id }
}

fn incremental(
    node: &mut Node,
    partitions: Vec<FetchPartition>,
    forgotten: Vec<PartitionKey>,
) -> FetchReply {
    let session = FetchSession::Incremental {
        session: session(1),
        forgotten,
    };
    let command = FetchCommand {
        session,
        ..node.fetch_command(partitions)
    };
    node.run_fetch(command)
}

#[test]
fn case_12_an_incremental_fetch_costs_what_moved_and_lists_what_changed() {
    let mut node = Node::new();
    let changes = (0..2_000)
        .map(|partition| creation(key(1, partition), TopicConfig::default()))
        .collect();
    node.metadata(changes);
    node.settle();
    let wants = (0..2_000)
        .map(|partition| want(key(1, partition), 0))
        .collect();
    let command = FetchCommand {
        session: FetchSession::Open(session(1)),
        ..node.fetch_command(wants)
    };
    let reply = node.run_fetch(command);
    assert_eq!(
        (reply.partitions.len(), reply.session_partitions),
        (2_000, 2_000)
    );
    let before = node.shard.statistics().members_evaluated;
    assert!(incremental(&mut node, vec![], vec![]).partitions.is_empty());
    node.produce(key(1, 77), batch(&["a"]));
    let reply = incremental(&mut node, vec![], vec![]);
    assert_eq!(
        reply
            .partitions
            .iter()
            .map(|part| part.key.partition)
            .collect::<Vec<_>>(),
        vec![77]
    );
    // The client has it now, and says so.
    let reply = incremental(&mut node, vec![want(key(1, 77), 1)], vec![]);
    assert!(reply.partitions.is_empty());
    let evaluated = node.shard.statistics().members_evaluated - before;
    assert!(
        evaluated <= 4,
        "{evaluated} members looked at for one that moved"
    );
}

#[test]
fn a_session_repeats_what_was_not_taken_forgets_what_it_is_told_and_closes() {
    let mut node = Node::new();
    let keys: Vec<_> = (0..3)
        .map(|partition| node.create(1, partition, TopicConfig::default()))
        .collect();
    let wants = keys.iter().map(|key| want(*key, 0)).collect();
    let command = FetchCommand {
        session: FetchSession::Open(session(1)),
        ..node.fetch_command(wants)
    };
    node.run_fetch(command);
    node.produce(keys[0], batch(&["a"]));
    node.produce(keys[1], batch(&["b"]));
    for _ in 0..2 {
        let mut told: Vec<_> = incremental(&mut node, vec![], vec![])
            .partitions
            .iter()
            .map(|part| part.key)
            .collect();
        told.sort_unstable();
        assert_eq!(told, keys[..2].to_vec(), "what was not taken comes again");
    }
    let reply = incremental(&mut node, vec![], vec![keys[0]]);
    assert_eq!(reply.session_partitions, 2);
    assert_eq!(
        reply
            .partitions
            .iter()
            .map(|part| part.key)
            .collect::<Vec<_>>(),
        vec![keys[1]]
    );
    let gone = incremental(&mut node, vec![want(key(9, 0), 0)], vec![]);
    assert!(
        gone.partitions
            .iter()
            .any(|part| part.error == ErrorCode::NotLeaderOrFollower)
    );
    node.step(Event::CloseSession(session(1)));
    assert_eq!(node.shard.statistics().session_parts, 0);
    node.produce(keys[1], batch(&["c"]));
}

#[test]
fn a_session_serves_its_partitions_in_turn() {
    let mut node = Node::new();
    let keys: Vec<_> = (0..3)
        .map(|partition| node.create(1, partition, TopicConfig::default()))
        .collect();
    for key in &keys {
        node.produce(*key, batch(&["a"]));
    }
    let wants: Vec<_> = keys.iter().map(|key| want(*key, 0)).collect();
    let command = FetchCommand {
        max_bytes: 1,
        session: FetchSession::Open(session(1)),
        ..node.fetch_command(wants)
    };
    let mut served = vec![served_by(&node.run_fetch(command))];
    for _ in 0..3 {
        let session = FetchSession::Incremental {
            session: session(1),
            forgotten: vec![],
        };
        let command = FetchCommand {
            max_bytes: 1,
            session,
            ..node.fetch_command(vec![])
        };
        served.push(served_by(&node.run_fetch(command)));
    }
    assert_eq!(served, vec![vec![0], vec![1], vec![2], vec![0]]);
}

fn served_by(reply: &FetchReply) -> Vec<i32> {
    reply
        .partitions
        .iter()
        .filter(|part| !part.records.is_empty())
        .map(|part| part.key.partition)
        .collect()
}

#[test]
fn a_waiting_session_is_woken_and_a_second_fetch_on_it_answers_the_first() {
    let mut node = Node::new();
    let key = node.create(1, 0, TopicConfig::default());
    let command = FetchCommand {
        session: FetchSession::Open(session(1)),
        ..node.fetch_command(vec![want(key, 0)])
    };
    node.run_fetch(command);
    let wait = |node: &mut Node| {
        let session = FetchSession::Incremental {
            session: session(1),
            forgotten: vec![],
        };
        let command = FetchCommand {
            max_wait_ms: 10_000,
            session,
            ..node.fetch_command(vec![])
        };
        let token = command.token;
        node.step(Event::Fetch(command));
        token
    };
    let first = wait(&mut node);
    let second = wait(&mut node);
    assert!(
        node.fetched(first)
            .is_some_and(|reply| reply.partitions.is_empty())
    );
    node.produce(key, batch(&["a"]));
    assert_eq!(node.fetched(second).expect("woken").partitions.len(), 1);
}

#[test]
fn with_durability_off_readers_see_records_at_once() {
    let mut node = Node::with(
        ShardOptions {
            durability: Durability::None,
            ..ShardOptions::default()
        },
        1,
    );
    let key = node.create(1, 0, TopicConfig::default());
    node.send(key, batch(&["a"]), 1);
    assert_eq!(node.fetch(key, 0).high_watermark, 1);
}

#[test]
fn at_most_so_many_fetches_wait() {
    let mut node = Node::with(
        ShardOptions {
            waiting_requests_max: 2,
            ..ShardOptions::default()
        },
        1,
    );
    let key = node.create(1, 0, TopicConfig::default());
    for _ in 0..2 {
        let command = FetchCommand {
            max_wait_ms: 10_000,
            ..node.fetch_command(vec![want(key, 0)])
        };
        node.step(Event::Fetch(command));
    }
    assert!(node.replies.is_empty());
    let command = FetchCommand {
        max_wait_ms: 10_000,
        ..node.fetch_command(vec![want(key, 0)])
    };
    assert!(node.run_fetch(command).partitions[0].records.is_empty());
}
