//! The metadata image against a naive model: random records, transactions and publications under seeds; snapshots; deltas; what one
//! partition costs. Records that do not fit must stop the node by name.

mod image_support;

use bytes::Bytes;
use image_support::{Model, Random, change, partition, topic};
use odradek_protocol::metadata_records::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord,
    MetadataRecord, RemoveTopicRecord, UnregisterBrokerRecord,
};
use odradek_protocol::records::{self, BatchBuilder};
use odradek_protocol::{StrBytes, Uuid};
use odradek_raft::image::{
    ApplyError, BuilderOptions, LoadError, MetadataBuilder, MetadataDelta, MetadataImage,
    SnapshotLoader, record_version,
};

fn builder() -> MetadataBuilder {
    MetadataBuilder::new(MetadataImage::empty(), BuilderOptions::default())
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

#[test]
fn random_records_give_what_a_naive_model_gives() {
    for seed in 0..60 {
        run_random(seed, 400);
    }
}

fn run_random(seed: u64, steps: usize) {
    let mut random = Random::new(seed);
    let mut model = Model::default();
    // What a reader that only ever saw deltas knows.
    let mut reader = Model::default();
    let mut waiting: Option<MetadataDelta> = None;
    let mut builder = builder();
    let mut kept: Vec<(MetadataImage, Vec<MetadataRecord>)> = Vec::new();
    let mut before_transaction: Option<Model> = None;
    for step in 0..steps {
        let offset = step as i64;
        let record = match (random.below(20), before_transaction.is_some()) {
            (0, false) => {
                before_transaction = Some(model.clone());
                BeginTransactionRecord::default().into()
            }
            (0, true) => {
                before_transaction = None;
                EndTransactionRecord::default().into()
            }
            (1, true) => {
                model = before_transaction.take().expect("a transaction is open");
                AbortTransactionRecord::default().into()
            }
            _ => {
                let record = model.random_record(&mut random);
                model.apply(&record);
                record
            }
        };
        builder
            .apply(&record, offset, 1)
            .unwrap_or_else(|error| panic!("seed {seed} step {step}: {error}\n{record:?}"));
        if random.below(4) != 0 {
            continue;
        }
        let Some((image, delta)) = builder.publish() else {
            assert!(before_transaction.is_some(), "seed {seed} step {step}");
            continue;
        };
        model.check(&image, &format!("seed {seed} step {step}"));
        match &mut waiting {
            Some(waiting) => waiting.merge(delta),
            None => waiting = Some(delta),
        }
        if random.below(2) == 0 {
            let delta = waiting.take().expect("one was just put there");
            reader.follow(&image, &delta);
            reader.check(
                &image,
                &format!("reader of deltas, seed {seed} step {step}"),
            );
        }
        if random.below(10) == 0 {
            kept.push((image.clone(), image.records()));
        }
    }
    for (image, records) in &kept {
        assert_eq!(
            &image.records(),
            records,
            "seed {seed}: a published image changed"
        );
        check_snapshot(image, records, seed);
    }
    for pair in kept.windows(2) {
        let delta = MetadataDelta::between(&pair[0].0, &pair[1].0);
        let mut reader = Model::of(&pair[0].0);
        reader.follow(&pair[1].0, &delta);
        reader.check(
            &pair[1].0,
            &format!("difference of two images, seed {seed}"),
        );
    }
}

fn check_snapshot(image: &MetadataImage, records: &[MetadataRecord], seed: u64) {
    let options = BuilderOptions { hash_seed: seed };
    let mut loaded = MetadataBuilder::from_snapshot(records, image.offset, image.epoch, options)
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let (loaded, _) = loaded
        .publish()
        .expect("a snapshot holds no open transaction");
    assert!(
        loaded.has_same_content(image),
        "seed {seed}: a snapshot gives another image"
    );
    assert_eq!((loaded.offset, loaded.epoch), (image.offset, image.epoch));
    let by_bytes = load(records, image.offset, image.epoch, options);
    let by_bytes = by_bytes.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(
        by_bytes.has_same_content(image) && by_bytes.offset == image.offset,
        "seed {seed}: a snapshot's bytes give another image"
    );
    for record in records {
        let version = record_version(record, 30);
        let bytes = record
            .to_bytes(version)
            .expect("a snapshot's record can be written");
        let (read, read_version) = MetadataRecord::decode(bytes).expect("and read");
        assert_eq!((&read, read_version), (record, version));
    }
}

fn load(
    records: &[MetadataRecord],
    offset: i64,
    epoch: i32,
    options: BuilderOptions,
) -> Result<MetadataImage, LoadError> {
    let mut loader = SnapshotLoader::new(offset, options);
    for record in records {
        let value = value_of(record);
        loader.take(&value, &value)?;
    }
    loader.finish(epoch).map(|(image, _)| image)
}

#[test]
fn a_snapshot_may_have_its_topics_and_partitions_in_any_order_but_no_id_twice() {
    let options = BuilderOptions::default();
    let records = [
        topic("b", 2),
        topic("a", 1),
        partition(2, 0, &[1]),
        topic("c", 3),
        partition(1, 0, &[1]),
        partition(3, 0, &[1]),
    ];
    let image = load(&records, 9, 1, options).expect("each partition's topic comes before it");
    for (name, id) in [("a", 1), ("b", 2), ("c", 3)] {
        let topic = image.topics.by_id(Uuid::from_u128(id));
        let topic = topic.expect("it is found by its id");
        assert_eq!((&**topic.name(), topic.partition_count()), (name, 1));
    }
    let refused = |records: &[MetadataRecord]| load(records, 9, 1, options).map(drop);
    let apply_error = |refused| match refused {
        Err(LoadError::Apply(error)) => error,
        other => panic!("not refused: {other:?}"),
    };
    let missing = apply_error(refused(&[topic("a", 1), partition(2, 0, &[1])]));
    assert!(matches!(missing, ApplyError::UnknownTopic { .. }));
    for others in [0, 500] {
        let mut records = vec![topic("twice", 7)];
        records.extend((0..others).map(|id| topic(&format!("t{id}"), 100 + id)));
        records.push(topic("again", 7));
        let twice = apply_error(refused(&records));
        let told =
            matches!(&twice, ApplyError::TopicExists { id, .. } if *id == Uuid::from_u128(7));
        assert!(told, "{twice}");
    }
    let named = apply_error(refused(&[topic("a", 1), topic("a", 2)]));
    assert!(matches!(named, ApplyError::TopicExists { .. }));
}

/// Topics of some partitions each, most of them alike, and changes of some.
fn many_records() -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for number in 0..40 {
        records.push(topic(&format!("t{number}"), number));
        for part in 0..5 {
            let replicas: &[i32] = if number % 7 == 3 { &[2, 1] } else { &[1, 2] };
            records.push(partition(number, part, replicas));
        }
        if number % 3 == 0 {
            records.push(change(number, 1, 2));
        }
    }
    records
}

#[test]
fn the_pieces_of_a_snapshot_name_all_of_it_in_its_order() {
    let options = BuilderOptions::default();
    let records = many_records();
    let whole = load(&records, 900, 1, options).expect("the records fit");
    for every in [1, 2, 7, 50, 1_000] {
        let mut loader = SnapshotLoader::new(900, options);
        let mut seen = Vec::new();
        let mut take = |loader: &mut SnapshotLoader| {
            let (image, delta) = loader.piece().expect("no transaction is open");
            for change in delta.topics.partitions {
                let topic = image.topics.by_index(change.topic_index).expect("named");
                let view = image.topics.by_slot(change.slot).expect("it is there");
                assert_eq!(
                    view.to_partition(),
                    topic.partition(change.partition).unwrap().to_partition()
                );
                seen.push((change.topic_index, change.partition, change.slot));
            }
        };
        for (number, record) in records.iter().enumerate() {
            let value = value_of(record);
            loader.take(&value, &value).expect("it fits");
            if number % every == every - 1 {
                assert!(loader.partitions_gathered() <= every);
                take(&mut loader);
                assert_eq!(loader.partitions_gathered(), 0);
            }
        }
        take(&mut loader);
        let (image, delta) = loader.finish(1).expect("nothing is open");
        Model::of(&whole).check(&image, "made of pieces");
        let named = delta.topics.partitions.iter();
        let named: Vec<_> = named
            .map(|change| (change.topic_index, change.partition, change.slot))
            .collect();
        // One that changed after its piece was given out is in two of them.
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, named, "pieces of {every} records");
        assert!(
            delta
                .topics
                .partitions
                .iter()
                .all(|change| change.is_created())
        );
    }
}

#[test]
fn a_batch_as_it_lies_comes_to_what_its_records_come_to() {
    let records = many_records();
    let (mut one, mut other) = (builder(), builder());
    let mut offset = 0;
    for part in records.chunks(23) {
        let mut batch = BatchBuilder::new(offset);
        for (record, at) in part.iter().zip(offset..) {
            one.apply(record, at, 1).expect("it fits");
            batch.push(0, None, Some(&value_of(record)), &[]);
        }
        let batch = batch.build().expect("it is small");
        let batch = records::records(&batch, 1 << 20).expect("it is sound");
        other.apply_batch(&batch, offset, 1).expect("it fits");
        offset += part.len() as i64;
    }
    let ((one, delta), (other, other_delta)) = (one.publish().unwrap(), other.publish().unwrap());
    Model::of(&one).check(&other, "made of batches");
    assert_eq!((one.offset, delta), (other.offset, other_delta));
    let mut builder = MetadataBuilder::new(one, BuilderOptions::default());
    let mut again = BatchBuilder::new(0);
    again.push(0, None, Some(&value_of(&records[0])), &[]);
    let again = again.build().expect("it is small");
    let again = records::records(&again, 1 << 20).expect("it is sound");
    let refused = builder
        .apply_batch(&again, 0, 1)
        .expect_err("it came before");
    assert!(matches!(
        refused,
        LoadError::Apply(ApplyError::OutOfOrder { .. })
    ));
}

fn value_of(record: &MetadataRecord) -> Bytes {
    let value = record.to_bytes(record_version(record, 30));
    value.expect("it can be written")
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    let mut builder = builder();
    builder.apply(&topic("before", 1), 0, 1).unwrap();
    let (before, _) = builder.publish().unwrap();
    builder
        .apply(&BeginTransactionRecord::default().into(), 1, 1)
        .unwrap();
    builder.apply(&topic("inside", 2), 2, 1).unwrap();
    builder.apply(&partition(2, 0, &[1]), 3, 1).unwrap();
    assert!(builder.publish().is_none());
    builder
        .apply(&AbortTransactionRecord::default().into(), 4, 1)
        .unwrap();
    let (after, delta) = builder.publish().unwrap();
    assert!(after.has_same_content(&before));
    assert!(delta.is_empty(), "{delta:?}");
    assert_eq!(after.offset, 4);
    builder
        .apply(&BeginTransactionRecord::default().into(), 5, 1)
        .unwrap();
    builder.apply(&topic("inside", 2), 6, 1).unwrap();
    builder.apply(&partition(2, 0, &[1]), 7, 1).unwrap();
    builder
        .apply(&EndTransactionRecord::default().into(), 8, 1)
        .unwrap();
    let (after, delta) = builder.publish().unwrap();
    assert_eq!(after.topics.by_name("inside").unwrap().partition_count(), 1);
    assert_eq!(delta.topics.created.len(), 1);
    assert_eq!(delta.topics.partitions.len(), 1);
    assert!(delta.topics.partitions[0].is_created());
}

#[test]
fn records_that_do_not_fit_stop_the_node_by_name() {
    let refusal = |records: &[MetadataRecord]| {
        let mut builder = builder();
        let mut last = Ok(());
        for (offset, record) in (0..).zip(records) {
            last = builder.apply(record, offset, 1);
        }
        last.expect_err("the last record does not fit")
    };
    let unknown_partition = refusal(&[topic("a", 1), change(1, 0, 1)]);
    assert!(matches!(
        unknown_partition,
        ApplyError::UnknownPartition { offset: 1, .. }
    ));
    let twice = refusal(&[topic("a", 1), topic("a", 2)]);
    assert!(matches!(twice, ApplyError::TopicExists { .. }));
    let unknown = refusal(&[partition(9, 0, &[1])]);
    assert!(matches!(unknown, ApplyError::UnknownTopic { .. }));
    let broker = UnregisterBrokerRecord {
        broker_id: 3,
        ..Default::default()
    };
    assert!(matches!(
        refusal(&[broker.into()]),
        ApplyError::UnknownBroker { broker: 3, .. }
    ));
    let end = EndTransactionRecord::default();
    assert!(matches!(
        refusal(&[end.into()]),
        ApplyError::Transaction { .. }
    ));
    let text = unknown_partition.to_string();
    assert!(
        text.contains("offset 1") && text.contains("cannot follow the metadata log"),
        "{text}"
    );
}

#[test]
fn a_topic_takes_its_configs_with_it() {
    let mut builder = builder();
    let config = ConfigRecord {
        resource_type: 2,
        resource_name: "a".into(),
        name: "retention.ms".into(),
        value: Some(StrBytes::from("1")),
        ..Default::default()
    };
    builder.apply(&topic("a", 1), 0, 1).unwrap();
    builder.apply(&config.into(), 1, 1).unwrap();
    let (with, _) = builder.publish().unwrap();
    assert_eq!(with.topic_config("a").unwrap()["retention.ms"], *"1");
    let remove = RemoveTopicRecord {
        topic_id: id(1),
        ..Default::default()
    };
    builder.apply(&remove.into(), 2, 1).unwrap();
    builder.apply(&topic("a", 2), 3, 1).unwrap();
    let (without, delta) = builder.publish().unwrap();
    assert!(without.topic_config("a").is_none());
    assert_eq!(delta.configs.len(), 1);
    assert_eq!(delta.topics.deleted[0].id, id(1));
    assert!(delta.topics.created.contains(&id(2)));
}

#[test]
fn deltas_part_by_shard_and_name_slots_of_the_image() {
    let mut builder = builder();
    builder.apply(&topic("a", 1), 0, 1).unwrap();
    for number in 0..10 {
        builder
            .apply(&partition(1, number, &[1, 2]), 1 + i64::from(number), 1)
            .unwrap();
    }
    let (image, delta) = builder.publish().unwrap();
    let parts = delta
        .topics
        .split(&image.topics, 3, |_, partition| partition as usize % 3);
    let counts: Vec<usize> = parts.iter().map(Vec::len).collect();
    assert_eq!(counts, [4, 3, 3]);
    for (shard, part) in parts.iter().enumerate() {
        for change in part {
            assert_eq!(change.partition as usize % 3, shard);
            let view = image.topics.by_slot(change.slot).unwrap();
            assert_eq!(
                view.slot(),
                image
                    .topics
                    .partition(id(1), change.partition)
                    .unwrap()
                    .slot()
            );
        }
    }
}

#[test]
fn a_partition_costs_less_than_a_hundred_bytes() {
    // Rows: topics, partitions each, bytes a partition may cost with everything of its topic.
    for (topics, partitions, bytes_max) in [(200, 100, 64), (20_000, 1, 400)] {
        let mut builder = builder();
        let mut offset = 0;
        for number in 0..topics {
            let number = number as u128 + 1;
            builder
                .apply(&topic(&format!("topic-{number:08}"), number), offset, 1)
                .unwrap();
            offset += 1;
            for index in 0..partitions {
                let first = (index + number as i32) % 30;
                let replicas = [first, (first + 1) % 30, (first + 2) % 30];
                builder
                    .apply(&partition(number, index, &replicas), offset, 1)
                    .unwrap();
                offset += 1;
            }
        }
        let (image, _) = builder.publish().unwrap();
        let each = image.topics_bytes() / image.topics.partition_count();
        println!("{topics} topics x {partitions}: {each} bytes a partition");
        assert!(
            each <= bytes_max,
            "{topics} x {partitions}: {each} bytes a partition"
        );
    }
}
