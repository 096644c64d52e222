//! rdkafka (librdkafka, built from its vendored source): the scenarios of README.md.

use std::time::Duration;

use odradek_test_clients::{
    Options, Outcome, PARTITIONS, RECORDS, Received, Record, base_timestamp_ms, check, equal,
    finish, options, until,
};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const WAIT: Duration = Duration::from_secs(10);

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

struct Session {
    options: Options,
    admin: AdminClient<DefaultClientContext>,
}

impl Session {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.options.bootstrap);
        config
    }

    fn name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.options.prefix)
    }

    async fn create(&self, topic: &str, partitions: i32) -> Outcome<()> {
        let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1))
            .set("retention.ms", "3600000");
        for outcome in self
            .admin
            .create_topics([&wanted], &AdminOptions::new())
            .await
            .map_err(words)?
        {
            outcome.map_err(|(topic, code)| format!("creating {topic}: {code}"))?;
        }
        Ok(())
    }

    async fn produce(
        &self,
        topic: &str,
        range: std::ops::Range<usize>,
        partitions: usize,
        idempotent: bool,
        codec: &str,
    ) -> Outcome<()> {
        let producer: FutureProducer = self
            .config()
            .set("acks", "all")
            .set("linger.ms", "5")
            .set("enable.idempotence", idempotent.to_string())
            .set("compression.type", codec)
            // Without idempotence only one request in flight keeps order when one has to be sent again.
            .set("max.in.flight", if idempotent { "5" } else { "1" })
            .create()
            .map_err(words)?;
        let mut sent = Vec::new();
        for i in range {
            let record = Record::new(i);
            let mut headers = OwnedHeaders::new();
            for (name, value) in &record.headers {
                headers = headers.insert(Header {
                    key: name,
                    value: Some(value),
                });
            }
            let mut message: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic)
                .partition((i % partitions) as i32)
                .timestamp(record.timestamp_ms)
                .headers(headers);
            message.key = record.key.as_deref();
            message.payload = record.value.as_deref();
            sent.push((
                i,
                producer
                    .send_result(message)
                    .map_err(|(error, _)| words(error))?,
            ));
        }
        for (i, delivery) in sent {
            let delivered = delivery
                .await
                .map_err(words)?
                .map_err(|(error, _)| format!("record {i}: {error}"))?;
            equal(
                (delivered.partition, delivered.offset),
                ((i % partitions) as i32, (i / partitions) as i64),
                &format!("partition and offset of record {i}"),
            )?;
        }
        Ok(())
    }

    fn consumer(&self, group: &str) -> Outcome<BaseConsumer> {
        let mut config = self.config();
        config
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("session.timeout.ms", "10000");
        config
            .set("check.crcs", "true")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .create()
            .map_err(words)
    }

    fn all_of(topic: &str, partitions: usize, offset: Offset) -> Outcome<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition as i32, offset)
                .map_err(words)?;
        }
        Ok(list)
    }

    async fn read_all(&self, topic: &str) -> Outcome<()> {
        let consumer = self.consumer(&format!("{topic}-{}-alone", self.options.prefix))?;
        consumer
            .assign(&Self::all_of(topic, PARTITIONS, Offset::Beginning)?)
            .map_err(words)?;
        let mut received = Received::new(topic, PARTITIONS);
        drain_until(
            &format!("{RECORDS} records of {topic}"),
            &[&consumer],
            &mut received,
            |received| received.seen.len() >= RECORDS,
        )?;
        equal(
            received.duplicates,
            0,
            &format!("{topic}: records seen twice"),
        )?;
        let ends = consumer
            .offsets_for_times(
                Self::all_of(topic, PARTITIONS, Offset::Offset(base_timestamp_ms()))?,
                WAIT,
            )
            .map_err(words)?;
        equal(
            ends.elements().iter().map(|each| each.offset()).collect(),
            vec![Offset::Offset(0); PARTITIONS],
            &format!("{topic}: offsets of the first timestamp"),
        )
    }

    async fn topics(&self) -> Outcome<String> {
        let topic = self.name("topics");
        self.create(&topic, 5).await?;
        let again = self.create(&topic, 5).await;
        check(
            again.as_ref().is_err_and(|reason| {
                reason.contains("TopicAlreadyExists") || reason.contains("already exists")
            }),
            format!("creating a topic twice: {again:?}"),
        )?;
        let consumer = self.consumer(&topic)?;
        let partitions = || {
            consumer.fetch_metadata(None, WAIT).map_err(words).map(|m| {
                m.topics()
                    .iter()
                    .find(|t| t.name() == topic)
                    .map(|t| t.partitions().len())
            })
        };
        until("the new topic in the list", async || {
            Ok(partitions()? == Some(5))
        })
        .await?;
        equal(
            self.retention(&topic).await?,
            "3600000".to_string(),
            "retention.ms described",
        )?;
        for outcome in self
            .admin
            .delete_topics(&[&topic], &AdminOptions::new())
            .await
            .map_err(words)?
        {
            outcome.map_err(|(topic, code)| format!("deleting {topic}: {code}"))?;
        }
        until("the topic to be gone", async || Ok(partitions()?.is_none())).await?;
        Ok(String::new())
    }

    async fn retention(&self, topic: &str) -> Outcome<String> {
        let described = self
            .admin
            .describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new())
            .await
            .map_err(words)?;
        let config = described
            .into_iter()
            .next()
            .ok_or("nothing described")?
            .map_err(words)?;
        config
            .get("retention.ms")
            .and_then(|entry| entry.value.clone())
            .ok_or_else(|| "retention.ms is not described".to_string())
    }

    async fn produce_every_codec(&self, kind: &str, idempotent: bool) -> Outcome<String> {
        for codec in CODECS {
            let topic = self.name(&format!("{kind}-{codec}"));
            self.create(&topic, PARTITIONS as i32).await?;
            self.produce(&topic, 0..RECORDS, PARTITIONS, idempotent, codec)
                .await?;
            self.read_all(&topic).await?;
        }
        Ok(format!("codecs {}", CODECS.join(" ")))
    }

    async fn group(&self) -> Outcome<String> {
        let name = self.name("group");
        self.create(&name, 6).await?;
        self.produce(&name, 0..600, 6, true, "none").await?;
        let mut received = Received::new(&name, 6);
        let owned =
            |member: &BaseConsumer| member.assignment().map(|list| list.count()).unwrap_or(0);
        let first = self.consumer(&name)?;
        first.subscribe(&[&name]).map_err(words)?;
        drain_until(
            "the first member to own all",
            &[&first],
            &mut received,
            |_| owned(&first) == 6,
        )?;
        let second = self.consumer(&name)?;
        second.subscribe(&[&name]).map_err(words)?;
        drain_until(
            "two members to share",
            &[&first, &second],
            &mut received,
            |_| owned(&first) == 3 && owned(&second) == 3,
        )?;
        self.produce(&name, 600..1200, 6, true, "none").await?;
        drain_until(
            "1200 records",
            &[&first, &second],
            &mut received,
            |received| received.seen.len() == 1200,
        )?;
        first
            .commit_consumer_state(CommitMode::Sync)
            .map_err(words)?;
        second
            .commit_consumer_state(CommitMode::Sync)
            .map_err(words)?;
        drop(second);
        drain_until(
            "the first member to own all again",
            &[&first],
            &mut received,
            |_| owned(&first) == 6,
        )?;
        self.produce(&name, 1200..1500, 6, true, "none").await?;
        drain_until("1500 records", &[&first], &mut received, |received| {
            received.seen.len() == 1500
        })?;
        first
            .commit_consumer_state(CommitMode::Sync)
            .map_err(words)?;
        let committed = first
            .committed_offsets(Self::all_of(&name, 6, Offset::Invalid)?, WAIT)
            .map_err(words)?;
        equal(
            committed
                .elements()
                .iter()
                .map(|each| each.offset())
                .collect(),
            vec![Offset::Offset(250); 6],
            "committed offsets",
        )?;
        Ok(format!("{} redelivered", received.duplicates))
    }

    async fn time(&self) -> Outcome<String> {
        let topic = self.name("time");
        self.create(&topic, 1).await?;
        self.produce(&topic, 0..RECORDS, 1, true, "lz4").await?;
        let consumer = self.consumer(&topic)?;
        for (at, wanted) in [
            (base_timestamp_ms() + 500_000, 500),
            (base_timestamp_ms() + 500_001, 501),
            (0, 0),
        ] {
            let found = consumer
                .offsets_for_times(Self::all_of(&topic, 1, Offset::Offset(at))?, WAIT)
                .map_err(words)?;
            equal(
                found.elements()[0].offset(),
                Offset::Offset(wanted),
                &format!("offset for time {at}"),
            )?;
        }
        consumer
            .assign(&Self::all_of(&topic, 1, Offset::Offset(500))?)
            .map_err(words)?;
        let mut received = Received::new(&topic, 1);
        drain_until(
            "the records after the seek",
            &[&consumer],
            &mut received,
            |received| received.seen.len() >= 500,
        )?;
        check(
            received.seen.contains(&500) && !received.seen.contains(&499),
            "the seek went elsewhere",
        )?;
        Ok(String::new())
    }

    async fn offsets(&self) -> Outcome<String> {
        let name = self.name("offsets");
        self.create(&name, 1).await?;
        self.produce(&name, 0..RECORDS, 1, true, "none").await?;
        let wanted = Self::all_of(&name, 1, Offset::Offset(123))?;
        wanted
            .find_partition(&name, 0)
            .ok_or("no partition in the list")?
            .set_metadata("a note");
        self.consumer(&name)?
            .commit(&wanted, CommitMode::Sync)
            .map_err(words)?;
        let consumer = self.consumer(&name)?;
        let back = consumer
            .committed_offsets(Self::all_of(&name, 1, Offset::Invalid)?, WAIT)
            .map_err(words)?;
        equal(
            (back.elements()[0].offset(), back.elements()[0].metadata()),
            (Offset::Offset(123), "a note"),
            "committed offset and metadata",
        )?;
        consumer.subscribe(&[&name]).map_err(words)?;
        let mut received = Received::new(&name, 1);
        drain_until(
            "the records after the committed offset",
            &[&consumer],
            &mut received,
            |received| received.seen.len() >= RECORDS - 123,
        )?;
        check(
            received.seen.contains(&123) && !received.seen.contains(&122),
            "the group went on elsewhere",
        )?;
        drop(consumer);
        until("the group to be deleted", || self.delete_group(&name)).await?;
        let gone = self
            .consumer(&name)?
            .committed_offsets(Self::all_of(&name, 1, Offset::Invalid)?, WAIT)
            .map_err(words)?;
        equal(
            gone.elements()[0].offset(),
            Offset::Invalid,
            "committed offset after the group is deleted",
        )?;
        Ok(String::new())
    }

    async fn delete_group(&self, name: &str) -> Outcome<bool> {
        match self
            .admin
            .delete_groups(&[name], &AdminOptions::new())
            .await
            .map_err(words)?
            .remove(0)
        {
            Ok(_) => Ok(true),
            Err((_, RDKafkaErrorCode::NonEmptyGroup)) => Ok(false),
            Err((_, code)) => Err(format!("deleting the group: {code}")),
        }
    }

    async fn admin(&self) -> Outcome<String> {
        let name = self.name("admin");
        self.create(&name, 2).await?;
        self.produce(&name, 0..RECORDS, 2, true, "none").await?;
        let change =
            AlterConfig::new(ResourceSpecifier::Topic(&name)).set("retention.ms", "7200000");
        for outcome in self
            .admin
            .alter_configs([&change], &AdminOptions::new())
            .await
            .map_err(words)?
        {
            outcome.map_err(|(_, code)| format!("alter configs: {code}"))?;
        }
        until("the changed config", async || {
            Ok(self.retention(&name).await? == "7200000")
        })
        .await?;
        for outcome in self
            .admin
            .create_partitions([&NewPartitions::new(&name, 4)], &AdminOptions::new())
            .await
            .map_err(words)?
        {
            outcome.map_err(|(_, code)| format!("create partitions: {code}"))?;
        }
        let consumer = self.consumer(&name)?;
        until("four partitions", async || {
            Ok(consumer
                .fetch_metadata(Some(&name), WAIT)
                .map_err(words)?
                .topics()[0]
                .partitions()
                .len()
                == 4)
        })
        .await?;
        let mut before = TopicPartitionList::new();
        before
            .add_partition_offset(&name, 0, Offset::Offset(100))
            .map_err(words)?;
        self.admin
            .delete_records(&before, &AdminOptions::new())
            .await
            .map_err(words)?;
        consumer.subscribe(&[&name]).map_err(words)?;
        let mut received = Received::new(&name, 2);
        drain_until(
            "the records that are left",
            &[&consumer],
            &mut received,
            |received| received.seen.len() >= RECORDS - 100,
        )?;
        check(
            !received.seen.contains(&198) && received.seen.contains(&200),
            "deleted records came back",
        )?;
        let groups = consumer
            .fetch_group_list(Some(&name), WAIT)
            .map_err(words)?;
        equal(
            (
                groups.groups().len(),
                groups.groups()[0].state(),
                groups.groups()[0].members().len(),
            ),
            (1, "Stable", 1),
            "group described",
        )?;
        Ok(String::new())
    }

    async fn cross(&self) -> Outcome<String> {
        for topic in &self.options.read {
            self.read_all(topic).await?;
        }
        Ok(format!(
            "{} topics of other clients",
            self.options.read.len()
        ))
    }
}

fn take(message: &BorrowedMessage<'_>, received: &mut Received) -> Outcome<()> {
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|each| {
                (
                    each.key.to_string(),
                    each.value.unwrap_or_default().to_vec(),
                )
            })
            .collect()
    });
    let record = Record {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
    };
    received.add(message.partition(), message.offset(), record)
}

/// Polls the members until `enough`, for at most 30 s.
fn drain_until(
    what: &str,
    members: &[&BaseConsumer],
    received: &mut Received,
    enough: impl Fn(&Received) -> bool,
) -> Outcome<()> {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !enough(received) {
        check(
            std::time::Instant::now() < deadline,
            format!(
                "{what}: not within 30 s ({} records so far)",
                received.seen.len()
            ),
        )?;
        for member in members {
            for _ in 0..500 {
                match member.poll(Duration::from_millis(10)) {
                    None => break,
                    Some(Ok(message)) => take(&message, received)?,
                    Some(Err(KafkaError::MessageConsumption(code))) => {
                        return Err(format!("{what}: {code}"));
                    }
                    Some(Err(error)) => return Err(format!("{what}: {error}")),
                }
            }
        }
    }
    Ok(())
}

async fn run(options: Options) -> Outcome<String> {
    let admin = ClientConfig::new()
        .set("bootstrap.servers", &options.bootstrap)
        .create()
        .map_err(words)?;
    let session = Session { admin, options };
    match session.options.scenario.as_str() {
        "topics" => session.topics().await,
        "produce" => session.produce_every_codec("produce", false).await,
        "idempotent" => session.produce_every_codec("idempotent", true).await,
        "group" => session.group().await,
        "time" => session.time().await,
        "offsets" => session.offsets().await,
        "admin" => session.admin().await,
        "cross" => session.cross().await,
        _ => Err("this client has no such scenario".to_string()),
    }
}

#[tokio::main]
async fn main() {
    let options = options("rdkafka");
    let scenario = options.scenario.clone();
    let outcome = run(options).await;
    finish("rdkafka", &scenario, outcome)
}
