//! Faults on the real binary: killed at any moment, torn tails, flipped bits, a full disk, a stop. Nothing acknowledged may be lost.
//! The node as a process is in `node`, a blocking client in `client`, clients under load and their ledger in `load`, segment files in `disk`.

#[path = "faults/client.rs"]
mod client;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/load.rs"]
mod load;
#[path = "faults/node.rs"]
mod node;

use client::{Client, batch};
use load::{Consumer, Load, Place, Producer, compare, hash};
use node::{Node, Random};
use odradek_protocol::ErrorCode;
use rustix::process::Signal;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Overridden with `ODRADEK_FAULT_SEED`.
const SEED: u64 = 0x0d2a_dec0;
/// Overridden with `ODRADEK_FAULT_KILLS`.
const KILLS: u64 = 52;

fn seed() -> u64 {
    from_environment("ODRADEK_FAULT_SEED", SEED)
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// Creates the topics, and again after errors that pass; gives every partition.
fn create(client: &mut Client, topics: &[(&str, i32)]) -> Vec<Place> {
    let mut places = Vec::new();
    for (topic, partitions) in topics {
        let created = client.create_topic(topic, *partitions).expect("an answer");
        assert_eq!(created, ErrorCode::None, "creating {topic}");
        places.extend((0..*partitions).map(|partition| (topic.to_string(), partition)));
    }
    places
}

/// Kills and starts the node again and again while clients work.
fn storm(node: &mut Node, load: &Load, random: &mut Random, kills: u64) {
    for kill in 0..kills {
        let in_start = kill % 5 == 4;
        if in_start {
            node.kill();
            node.spawn();
            std::thread::sleep(Duration::from_millis(random.below(350)));
        } else {
            let before = load.acknowledged.load(Ordering::Relaxed);
            let begun = Instant::now();
            while load.acknowledged.load(Ordering::Relaxed) == before {
                assert!(
                    begun.elapsed() < Duration::from_secs(20),
                    "nothing is acknowledged after kill {kill}: {:?}",
                    load.wrong.lock().expect("nobody panics with it")
                );
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep(Duration::from_millis(random.below(200)));
        }
        node.kill();
        node.start();
        if !load.wrong.lock().expect("nobody panics with it").is_empty() {
            return;
        }
    }
}

#[test]
fn kill_9_loses_nothing_acknowledged() {
    let seed = seed();
    let kills = from_environment("ODRADEK_FAULT_KILLS", KILLS);
    println!("seed {seed}");
    let mut node = Node::new(
        2,
        &[
            "odradek.shards=2",
            "odradek.data.dir.bytes.max=8589934592",
            "group.initial.rebalance.delay.ms=0",
        ],
    );
    let mut client = node.start();
    let places = create(&mut client, &[("orders", 4), ("clicks", 3), ("audit", 1)]);
    drop(client);
    let load = Load::new(node.address(), seed);
    let mut random = Random::new(seed);
    let all: Vec<usize> = (0..places.len()).collect();
    let (promises, consumers) = std::thread::scope(|scope| {
        let producers: Vec<_> = [
            (vec![0, 1, 2, 7], true),
            (vec![3, 4, 5], true),
            (vec![2, 3, 6, 7], false),
            (vec![1, 6, 7], false),
        ]
        .into_iter()
        .enumerate()
        .map(|(number, (own, idempotent))| {
            let producer = Producer::new(&load, &places, own, (number as u32, idempotent));
            scope.spawn(move || producer.run())
        })
        .collect();
        let consumers: Vec<_> = [("simple", false), ("member", true)]
            .into_iter()
            .map(|group| {
                let consumer = Consumer::new(&load, &places, all.clone(), group);
                scope.spawn(move || consumer.run())
            })
            .collect();
        storm(&mut node, &load, &mut random, kills);
        load.over.store(true, Ordering::Relaxed);
        let promises: Vec<_> = producers
            .into_iter()
            .map(|thread| thread.join().expect("a producer ends"))
            .collect();
        let consumers: Vec<_> = consumers
            .into_iter()
            .map(|thread| thread.join().expect("a consumer ends"))
            .collect();
        (promises, consumers)
    });
    load.over.store(false, Ordering::Relaxed);
    node.kill();
    let mut client = node.start();
    for mut consumer in consumers {
        assert_eq!(
            client.find_coordinator(&consumer.group).ok(),
            Some(ErrorCode::None)
        );
        for place in all.clone() {
            let compared = consumer.compare_committed(&mut client, place);
            compared.expect("committed offsets come back");
        }
        verify_seen(&mut client, &places, &consumer);
    }
    for place in all {
        let (topic, partition) = &places[place];
        let read = client
            .read_all(topic, *partition)
            .expect("all is read back");
        let wrong = compare(place, &read, &promises, seed);
        assert!(
            wrong.is_empty(),
            "seed {seed}: {topic}-{partition}: {wrong:#?}"
        );
    }
    let wrong = load.wrong.lock().expect("nobody panics with it");
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    let resent: u64 = promises.iter().map(|one| one.resent).sum();
    println!(
        "{kills} kills, {} batches acknowledged, {resent} requests sent again, {} commits",
        load.acknowledged.load(Ordering::Relaxed),
        load.commits.load(Ordering::Relaxed)
    );
    assert!(load.commits.load(Ordering::Relaxed) > 0, "groups committed");
}

/// What a consumer was given once lies there still.
fn verify_seen(client: &mut Client, places: &[Place], consumer: &Consumer<'_>) {
    for (place, seen) in &consumer.seen {
        let (topic, partition) = &places[*place];
        let read = client
            .read_all(topic, *partition)
            .expect("all is read back");
        for (offset, expected) in seen {
            let found = read.get(*offset as usize).map(|(_, bytes)| hash(bytes));
            assert_eq!(
                found,
                Some(*expected),
                "{topic}-{partition} at {offset}, as {} saw it",
                consumer.group
            );
        }
    }
}

/// Values that can be found in a file: a text with a number, then bytes that do not repeat.
fn marked(text: &str, first: u64, count: u64, bytes: usize) -> Vec<Vec<u8>> {
    (first..first + count)
        .map(|number| {
            let mut value = format!("{text}-{number:06};").into_bytes();
            value.extend(Random::new(number ^ bytes as u64).bytes(bytes));
            value
        })
        .collect()
}

#[test]
fn a_clean_stop_is_quick_and_complete() {
    let mut node = Node::new(
        2,
        &["odradek.shards=2", "odradek.data.dir.bytes.max=4294967296"],
    );
    let mut client = node.start();
    let places = create(&mut client, &[("orders", 4)]);
    for round in 0..20 {
        for (topic, partition) in &places {
            let values = marked("stop", round * 3, 3, 500);
            let produced = client.produce(topic, *partition, batch(&values, None));
            let expected = (ErrorCode::None, round as i64 * 3);
            assert_eq!(produced.expect("an answer"), expected);
        }
    }
    assert_eq!(node.stop(), Some(0), "SIGTERM ends with code 0");
    let before = node.log().len();
    let mut client = node.start();
    for (topic, partition) in &places {
        let read = client
            .read_all(topic, *partition)
            .expect("all is read back");
        let expected = marked("stop", 0, 60, 500);
        let found: Vec<Vec<u8>> = read.iter().map(|(_, value)| value.to_vec()).collect();
        assert!(found == expected, "{topic}-{partition} is as it was");
    }
    let log = node.log_from(before);
    let recovered = log
        .lines()
        .filter(|line| line.contains("recovered") && line.contains("shard-"));
    for line in recovered {
        assert!(line.contains("after a clean stop"), "{line}");
    }
}

#[test]
fn a_first_start_that_is_killed_is_gone_on_with() {
    let settings = ["odradek.shards=2", "odradek.data.dir.bytes.max=4294967296"];
    let mut random = Random::new(seed());
    for _ in 0..3 {
        let mut node = Node::new(2, &settings);
        for _ in 0..3 {
            node.spawn();
            std::thread::sleep(Duration::from_millis(random.below(250)));
            node.kill();
        }
        let mut client = node.start();
        create(&mut client, &[("orders", 1)]);
    }
}

#[test]
fn a_second_signal_ends_at_once_and_loses_nothing() {
    let mut node = Node::new(
        1,
        &["odradek.shards=1", "odradek.data.dir.bytes.max=4294967296"],
    );
    let mut client = node.start();
    create(&mut client, &[("orders", 1)]);
    let produced = client.produce("orders", 0, batch(&marked("twice", 0, 5, 100), None));
    assert_eq!(produced.expect("an answer"), (ErrorCode::None, 0));
    // Held while both arrive, so that the second finds the first one's stop unfinished.
    node.signal(Signal::STOP);
    node.signal(Signal::TERM);
    node.signal(Signal::INT);
    node.signal(Signal::CONT);
    let code = node.wait_end().code();
    assert!(
        code == Some(130) || code == Some(143),
        "128 + the second signal, not {code:?}"
    );
    let mut client = node.start();
    let read = client.read_all("orders", 0).expect("all is read back");
    assert_eq!(read.len(), 5);
}

#[test]
fn a_flipped_bit_in_a_sealed_segment_is_found() {
    let mut node = Node::new(
        1,
        &["odradek.shards=1", "odradek.data.dir.bytes.max=4294967296"],
    );
    let mut client = node.start();
    create(&mut client, &[("victim", 1), ("other", 2)]);
    // More than a segment of 32 MiB, so that the first is sealed long before the stop.
    for round in 0..36 {
        let victims = marked("victim", round * 4, 4, 60_000);
        let others = marked("other", round * 4, 4, 120_000);
        for (topic, partition, values) in [
            ("victim", 0, &victims),
            ("other", 0, &others),
            ("other", 1, &others),
        ] {
            let produced = client.produce(topic, partition, batch(values, None));
            let expected = (ErrorCode::None, round as i64 * 4);
            assert_eq!(produced.expect("an answer"), expected);
        }
    }
    assert_eq!(node.stop(), Some(0));
    let (path, position) =
        disk::find(&node.segments(0, 0), b"victim-000005;").expect("the record lies in a segment");
    disk::flip(&path, position + 1_000);
    let before = node.log().len();
    let mut client = node.start();
    // Numbers 4 to 7 are one batch.
    for offset in 4..8 {
        let fetched = client.fetch("victim", 0, offset).expect("an answer");
        assert_eq!(fetched.error, ErrorCode::CorruptMessage, "at {offset}");
        assert!(fetched.records.is_empty());
    }
    let good = client.fetch("victim", 0, 0).expect("an answer");
    assert_eq!(good.error, ErrorCode::None, "what lies before it is served");
    assert_eq!(good.records.first().map(|(offset, _)| *offset), Some(0));
    assert!(good.records.iter().all(|(offset, _)| *offset < 4));
    let after = client.fetch("victim", 0, 8).expect("an answer");
    assert_eq!(
        after.error,
        ErrorCode::None,
        "what lies behind it is served"
    );
    assert_eq!(after.records.first().map(|(offset, _)| *offset), Some(8));
    for partition in 0..2 {
        let read = client
            .read_all("other", partition)
            .expect("others are not affected");
        assert_eq!(read.len(), 36 * 4);
    }
    let produced = client.produce("victim", 0, batch(&marked("victim", 144, 1, 10), None));
    assert_eq!(
        produced.expect("an answer"),
        (ErrorCode::None, 144),
        "it takes more"
    );
    let log = node.log_from(before);
    let file = path
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    // Found by the recovery, or by the first read where the segment was sealed long before.
    let named = log.lines().any(|line| {
        let partition = [
            "offsets 4 to 7 of victim partition 0",
            "offsets 4 to 7 of partition 0 of topic id",
        ];
        line.contains(&file) && partition.iter().any(|text| line.contains(text))
    });
    assert!(named, "the log names file, position and partition");
}

#[test]
fn case_19_a_damaged_metadata_log_stops_a_lone_voter_with_a_reason() {
    let mut node = Node::new(
        1,
        &["odradek.shards=1", "odradek.data.dir.bytes.max=4294967296"],
    );
    let mut client = node.start();
    create(&mut client, &[("a-committed-topic", 1)]);
    assert_eq!(node.stop(), Some(0));
    let (path, position) = disk::find(&node.metadata_segments(), b"a-committed-topic")
        .expect("its record lies in a segment");
    disk::flip(&path, position + 3);
    let before = node.log().len();
    node.spawn();
    assert_eq!(node.wait_end().code(), Some(1));
    let log = node.log_from(before);
    assert!(
        log.contains("the metadata log is damaged below what had been durable"),
        "the reason is named:\n{log}"
    );
    // Nothing was cut: with the bit put right the topic is there.
    disk::flip(&path, position + 3);
    let mut client = node.start();
    assert!(client.read_all("a-committed-topic", 0).is_ok());
}

#[test]
fn a_torn_tail_is_cut() {
    let mut node = Node::new(
        1,
        &["odradek.shards=1", "odradek.data.dir.bytes.max=4294967296"],
    );
    let mut client = node.start();
    create(&mut client, &[("orders", 1)]);
    let mut random = Random::new(seed());
    let mut known: u64 = 0;
    for round in 0..6u64 {
        for _ in 0..5 {
            let values = marked("torn", known, 2, 3_000);
            let produced = client.produce("orders", 0, batch(&values, None));
            assert_eq!(
                produced.expect("an answer"),
                (ErrorCode::None, known as i64)
            );
            known += 2;
        }
        node.kill();
        let segment = disk::newest(&node.segments(0, 0));
        disk::garble_behind_the_end(&segment, round, &mut random);
        let before = node.log().len();
        client = node.start();
        let read = client.read_all("orders", 0).expect("all is read back");
        let found: Vec<Vec<u8>> = read.iter().map(|(_, value)| value.to_vec()).collect();
        assert!(
            found == marked("torn", 0, known, 3_000),
            "round {round}: as acknowledged"
        );
        let log = node.log_from(before);
        assert!(
            !log.contains("damaged"),
            "round {round}: a torn tail is no damage:\n{log}"
        );
    }
}

/// Fills a topic until the node refuses, and sees that all else goes on and that deleting gives the space back.
fn fill_and_recover(node: &mut Node) {
    let mut client = node.start();
    create(&mut client, &[("fill", 1), ("keep", 1)]);
    let kept = client.produce("keep", 0, batch(&marked("keep", 0, 10, 1_000), None));
    assert_eq!(kept.expect("an answer"), (ErrorCode::None, 0));
    let filled = fill(&mut client);
    assert!(filled > 40, "some went in before: {filled}");
    let refused = client.produce("keep", 0, batch(&marked("keep", 10, 1, 900_000), None));
    let refused = refused.expect("an answer");
    assert_eq!(refused.0, ErrorCode::KafkaStorageError, "others too");
    check_kept(&mut client, 10);
    let read = client.read_all("fill", 0).expect("reads go on");
    assert_eq!(
        read.len() as u64,
        filled,
        "what was acknowledged is there, what was refused is not"
    );
    assert_eq!(
        client
            .commit("group", None, ("keep", 0), 5)
            .map(|_| ())
            .ok(),
        Some(())
    );
    let half = filled as i64 / 2;
    let deleted = client.delete_records("fill", 0, half).expect("an answer");
    assert_eq!(
        deleted,
        (ErrorCode::None, half),
        "deleting records needs no space"
    );
    await_space(&mut client, 10);
    let left = client.read_all("fill", 0).expect("reads go on");
    assert_eq!(left.first().map(|(offset, _)| *offset), Some(half));
    let again = fill(&mut client);
    assert!(again > 0, "the space that came back is used");
    let deleted = client.delete_topic("fill").expect("an answer");
    assert_eq!(deleted, ErrorCode::None, "deleting a topic needs no space");
    await_space(&mut client, 11);
    check_kept(&mut client, 12);
    node.kill();
    let mut client = node.start();
    check_kept(&mut client, 12);
}

/// Produces to `fill` until it is refused; how many records were acknowledged.
fn fill(client: &mut Client) -> u64 {
    for number in 0..2_000 {
        let values = marked("fill", number, 1, 900_000);
        match client
            .produce("fill", 0, batch(&values, None))
            .expect("an answer")
        {
            (ErrorCode::None, _) => {}
            (ErrorCode::KafkaStorageError, _) => return number,
            (other, _) => panic!("a full disk is answered with {other:?} after {number}"),
        }
    }
    panic!("the disk does not fill");
}

/// Produces record `number` of `keep` until it is taken.
fn await_space(client: &mut Client, number: u64) {
    let begun = Instant::now();
    loop {
        let values = marked("keep", number, 1, 1_000);
        match client
            .produce("keep", 0, batch(&values, None))
            .expect("an answer")
        {
            (ErrorCode::None, offset) => return assert_eq!(offset, number as i64),
            (ErrorCode::KafkaStorageError, _) => {}
            (other, _) => panic!("refused with {other:?}"),
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "no space comes back"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn check_kept(client: &mut Client, count: u64) {
    let read = client.read_all("keep", 0).expect("reads go on");
    let found: Vec<Vec<u8>> = read.iter().map(|(_, value)| value.to_vec()).collect();
    assert!(
        found == marked("keep", 0, count, 1_000),
        "`keep` is as acknowledged"
    );
}

#[test]
fn a_full_directory_refuses_produce_and_comes_back() {
    fill_and_recover(&mut Node::new(
        1,
        &["odradek.shards=1", "odradek.data.dir.bytes.max=268435456"],
    ));
}

#[test]
fn a_full_disk_refuses_produce_and_comes_back() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting a small file system needs root");
        return;
    }
    fill_and_recover(&mut Node::on_small_file_system(400, &["odradek.shards=1"]));
}

#[test]
fn a_write_torn_by_a_crash_is_cut() {
    let mut node = Node::new(
        1,
        &["odradek.shards=1", "odradek.data.dir.bytes.max=4294967296"],
    );
    let mut client = node.start();
    create(&mut client, &[("orders", 1)]);
    let mut random = Random::new(seed());
    let mut expected: Vec<Vec<u8>> = Vec::new();
    let mut torn = 0;
    for round in 0..8 {
        let promised = marked("promised", round * 2, 2, 2_000);
        let produced = client.produce("orders", 0, batch(&promised, None));
        let offset = expected.len() as i64;
        assert_eq!(produced.expect("an answer"), (ErrorCode::None, offset));
        expected.extend(promised);
        // Answers that nobody reads promise nothing: the last write may be one that never became durable.
        let hopes: Vec<Vec<u8>> = (0..60)
            .flat_map(|hope| marked("hope", round * 1_000 + hope, 1, 9_000))
            .collect();
        for hope in &hopes {
            let one = batch(std::slice::from_ref(hope), None);
            let request = client::produce_request(&[("orders", 0, one)]);
            let sent = client.send(
                odradek_protocol::ApiKey::Produce,
                client::PRODUCE_VERSION,
                &request,
            );
            sent.expect("a request leaves");
        }
        std::thread::sleep(Duration::from_millis(random.below(25)));
        node.kill();
        let segment = disk::newest(&node.segments(0, 0));
        torn += u32::from(disk::tear_last_write(&segment, b"promised-", &mut random));
        let before = node.log().len();
        client = node.start();
        let log = node.log_from(before);
        assert!(
            !log.contains("damaged"),
            "round {round}: a torn write is no damage:\n{log}"
        );
        let read = client.read_all("orders", 0).expect("all is read back");
        let found: Vec<Vec<u8>> = read.iter().map(|(_, value)| value.to_vec()).collect();
        let known = expected.len();
        assert!(
            found.len() >= known && found[..known] == expected[..],
            "round {round}: as promised"
        );
        assert!(
            hopes.starts_with(&found[known..]),
            "round {round}: then some of what was sent, in order"
        );
        expected = found;
    }
    println!("{torn} writes torn");
    assert!(torn > 0, "a write was under way at some kill");
}
