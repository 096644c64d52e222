//! How long a record takes, printed and not judged: a test machine's time proves nothing. `ODRADEK_IMAGE_PARTITIONS=2000000 cargo test
//! --release --test image speed -- --nocapture` is the size of a large cluster; without it the run is small.

use std::time::Instant;

use super::{change, partition, topic};
use odradek_raft::image::{BuilderOptions, MetadataBuilder, MetadataImage, write_snapshot};

#[test]
fn records_are_applied_and_published() {
    let partitions: usize = std::env::var("ODRADEK_IMAGE_PARTITIONS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_000);
    let per_topic = 100;
    let topics = partitions / per_topic;
    let mut builder = MetadataBuilder::new(MetadataImage::empty(), BuilderOptions::default());
    let mut records = Vec::new();
    for number in 1..=topics as u128 {
        records.push(topic(&format!("topic-{number:08}"), number));
        for index in 0..per_topic as i32 {
            let first = (number as i32 + index) % 30;
            records.push(partition(
                number,
                index,
                &[first, (first + 1) % 30, (first + 2) % 30],
            ));
        }
    }
    let tell = |what: &str, count: usize, begun: Instant| {
        let taken = begun.elapsed();
        println!(
            "{what}: {count} in {taken:?}, {} ns each",
            taken.as_nanos() / count as u128
        );
    };
    let begun = Instant::now();
    for (offset, record) in (0..).zip(&records) {
        builder.apply(record, offset, 1).expect("the records fit");
    }
    tell("records that create", records.len(), begun);
    let begun = Instant::now();
    let (first, delta) = builder.publish().expect("no transaction is open");
    tell("changes published", delta.topics.partitions.len(), begun);
    let changes: Vec<_> = (1..=topics as u128)
        .flat_map(|number| (0..per_topic as i32).map(move |index| change(number, index, 7)))
        .collect();
    let begun = Instant::now();
    for (offset, record) in (records.len() as i64..).zip(&changes) {
        builder.apply(record, offset, 1).expect("the records fit");
    }
    tell(
        "records that change, each chunk copied",
        changes.len(),
        begun,
    );
    let begun = Instant::now();
    let (second, _) = builder.publish().expect("no transaction is open");
    tell("changes published", changes.len(), begun);
    let mut written = 0;
    let begun = Instant::now();
    let Ok(()) = write_snapshot(&second, &mut |_| {
        written += 1;
        Ok::<(), std::convert::Infallible>(())
    });
    tell("records of a snapshot", written, begun);
    let each = second.topics_bytes() / second.topics.partition_count();
    println!("{each} bytes a partition");
    assert_eq!(written, records.len());
    let view = |image: &MetadataImage| {
        let topic = image
            .topics
            .by_name("topic-00000001")
            .expect("the first topic");
        topic.partition(0).expect("its first partition").leader()
    };
    assert_eq!((view(&first), view(&second)), (1, 7));
}
