//! Equal events at equal times give equal actions, whatever the look-up tables' hash seed (case 21).

mod common;

use common::*;
use odradek_shard::command::*;
use odradek_shard::{Event, ShardOptions, TopicConfig};
use odradek_wal::IoFailureKind;

fn trace_of(hash_seed: u64) -> Vec<String> {
    let options = ShardOptions {
        hash_seed,
        stray_rest_ms: 1_000,
        ..ShardOptions::default()
    };
    let mut node = Node::with(options, 2);
    node.trace = Some(Vec::new());
    let mut random = Random(9);
    let keys: Vec<_> = (0..40).map(|index| key((index % 7) as u8, index)).collect();
    node.metadata(
        keys.iter()
            .map(|key| creation(*key, TopicConfig::default()))
            .collect(),
    );
    node.settle();
    for core in 0..4 {
        let session = FetchSession::Open(SessionKey { core, id: 3 });
        let wants = keys.iter().map(|key| want(*key, 0)).collect();
        let command = FetchCommand {
            session,
            ..node.fetch_command(wants)
        };
        node.step(Event::Fetch(command));
        let session = SessionKey { core, id: 3 };
        let again = FetchSession::Incremental {
            session,
            forgotten: vec![],
        };
        let command = FetchCommand {
            session: again,
            max_wait_ms: 5_000,
            min_bytes: 200,
            ..node.fetch_command(vec![])
        };
        node.step(Event::Fetch(command));
    }
    for sequence in 0..60 {
        let key = keys[random.below(40) as usize];
        node.send(key, batch_of(i64::from(sequence), 0, 0, &["value"]), -1);
        for _ in 0..random.below(3) {
            node.one_io();
        }
        if sequence % 20 == 19 {
            let token = node.token();
            node.step(Event::DescribeLogDirs(token));
            let partitions = keys.clone();
            let command = DescribeProducersCommand {
                token: node.token(),
                partitions,
            };
            node.step(Event::DescribeProducers(command));
        }
    }
    let token = node.token();
    let partitions = keys.iter().map(|key| (*key, -1)).collect();
    node.step(Event::DeleteRecords(DeleteRecordsCommand {
        token,
        partitions,
    }));
    node.pass_ms(2_000);
    node.send(keys[0], batch(&["last"]), 1);
    node.fail_io(IoFailureKind::Device);
    node.trace.take().unwrap_or_default()
}

#[test]
fn case_21_hash_seeds_do_not_reach_the_actions() {
    let first = trace_of(1);
    let second = trace_of(0xdead_beef);
    assert!(first.len() > 100, "{} actions", first.len());
    for (position, (one, other)) in first.iter().zip(&second).enumerate() {
        assert_eq!(one, other, "action {position}");
    }
    assert_eq!(first.len(), second.len());
}
