//! rskafka: the scenarios of README.md that it has. It knows no groups, no idempotence, no topic configs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use odradek_test_clients::{
    Options, Outcome, PARTITIONS, RECORDS, Received, Record, base_timestamp_ms, check, equal,
    finish, options, until,
};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, error::Error, error::ProtocolError};

const CODECS: [(&str, Compression); 5] = [
    ("none", Compression::NoCompression),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).expect("a time within chrono's range")
}

struct Session {
    client: Client,
    options: Options,
}

impl Session {
    async fn partition(&self, topic: &str, partition: usize) -> Outcome<Arc<PartitionClient>> {
        Ok(Arc::new(
            self.client
                .partition_client(topic, partition as i32, UnknownTopicHandling::Retry)
                .await
                .map_err(words)?,
        ))
    }

    async fn create(&self, topic: &str, partitions: usize) -> Outcome<()> {
        self.client
            .controller_client()
            .map_err(words)?
            .create_topic(topic, partitions as i32, 1, 10_000)
            .await
            .map_err(words)
    }

    /// Batches of 100 records a partition, so that several batches are written.
    async fn produce(
        &self,
        topic: &str,
        partitions: usize,
        compression: Compression,
    ) -> Outcome<()> {
        for partition in 0..partitions {
            let client = self.partition(topic, partition).await?;
            let own: Vec<usize> = (partition..RECORDS).step_by(partitions).collect();
            for (batch, numbers) in own.chunks(100).enumerate() {
                let records =
                    numbers
                        .iter()
                        .map(|i| Record::new(*i))
                        .map(|r| rskafka::record::Record {
                            key: r.key,
                            value: r.value,
                            headers: r.headers,
                            timestamp: time(r.timestamp_ms),
                        });
                let offsets = client
                    .produce(records.collect(), compression)
                    .await
                    .map_err(words)?;
                let wanted: Vec<i64> = (0..numbers.len() as i64)
                    .map(|at| batch as i64 * 100 + at)
                    .collect();
                equal(
                    offsets,
                    wanted,
                    &format!("offsets of batch {batch} in {topic}-{partition}"),
                )?;
            }
        }
        Ok(())
    }

    async fn read_all(&self, topic: &str) -> Outcome<()> {
        let mut received = Received::new(topic, PARTITIONS);
        let mut ends = 0;
        for partition in 0..PARTITIONS {
            let client = self.partition(topic, partition).await?;
            let end = client.get_offset(OffsetAt::Latest).await.map_err(words)?;
            ends += end;
            let mut at = client.get_offset(OffsetAt::Earliest).await.map_err(words)?;
            while at < end {
                let (records, _high_watermark) = client
                    .fetch_records(at, 1..1_000_000, 1_000)
                    .await
                    .map_err(words)?;
                for fetched in records {
                    let record = fetched.record;
                    at = fetched.offset + 1;
                    let record = Record {
                        key: record.key,
                        value: record.value,
                        headers: record.headers,
                        timestamp_ms: record.timestamp.timestamp_millis(),
                    };
                    received.add(partition as i32, fetched.offset, record)?;
                }
            }
        }
        equal(
            (received.seen.len(), received.duplicates, ends),
            (RECORDS, 0, RECORDS as i64),
            &format!("{topic}: records, duplicates, end offsets"),
        )
    }

    async fn topics(&self) -> Outcome<String> {
        let topic = format!("{}-topics", self.options.prefix);
        self.create(&topic, 5).await?;
        let controller = self.client.controller_client().map_err(words)?;
        match controller.create_topic(&topic, 5, 1, 10_000).await {
            Err(Error::ServerError {
                protocol_error: ProtocolError::TopicAlreadyExists,
                ..
            }) => {}
            other => return Err(format!("creating a topic twice: {other:?}")),
        }
        until("the new topic in the list", || self.listed(&topic, Some(5))).await?;
        controller
            .delete_topic(&topic, 10_000)
            .await
            .map_err(words)?;
        until("the topic to be gone", || self.listed(&topic, None)).await?;
        Ok(String::new())
    }

    async fn listed(&self, topic: &str, partitions: Option<usize>) -> Outcome<bool> {
        let topics: BTreeMap<String, usize> = self
            .client
            .list_topics()
            .await
            .map_err(words)?
            .into_iter()
            .map(|t| (t.name, t.partitions.len()))
            .collect();
        Ok(topics.get(topic).copied() == partitions)
    }

    async fn produce_every_codec(&self) -> Outcome<String> {
        for (name, compression) in CODECS {
            let topic = format!("{}-produce-{name}", self.options.prefix);
            self.create(&topic, PARTITIONS).await?;
            self.produce(&topic, PARTITIONS, compression).await?;
            self.read_all(&topic).await?;
        }
        Ok("codecs none gzip snappy lz4 zstd".to_string())
    }

    async fn time(&self) -> Outcome<String> {
        let topic = format!("{}-time", self.options.prefix);
        self.create(&topic, 1).await?;
        self.produce(&topic, 1, Compression::Lz4).await?;
        let client = self.partition(&topic, 0).await?;
        for (at, wanted) in [
            (base_timestamp_ms() + 500_000, 500),
            (base_timestamp_ms() + 500_001, 501),
            (1, 0),
        ] {
            equal(
                client
                    .get_offset(OffsetAt::Timestamp(time(at)))
                    .await
                    .map_err(words)?,
                wanted,
                &format!("offset for time {at}"),
            )?;
        }
        let (records, high_watermark) = client
            .fetch_records(500, 1..10_000, 1_000)
            .await
            .map_err(words)?;
        equal(
            (records.first().map(|first| first.offset), high_watermark),
            (Some(500), RECORDS as i64),
            "first record and high watermark after the seek",
        )?;
        match client
            .fetch_records(RECORDS as i64 + 10, 1..10_000, 100)
            .await
        {
            Err(Error::ServerError {
                protocol_error: ProtocolError::OffsetOutOfRange,
                ..
            }) => Ok(String::new()),
            other => Err(format!("fetch past the end: {other:?}")),
        }
    }

    async fn admin(&self) -> Outcome<String> {
        let topic = format!("{}-admin", self.options.prefix);
        self.create(&topic, 1).await?;
        self.produce(&topic, 1, Compression::NoCompression).await?;
        let client = self.partition(&topic, 0).await?;
        client.delete_records(100, 10_000).await.map_err(words)?;
        equal(
            client.get_offset(OffsetAt::Earliest).await.map_err(words)?,
            100,
            "log start after deleting records",
        )?;
        check(
            client.fetch_records(99, 1..10_000, 100).await.is_err(),
            "a deleted record is still served",
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

async fn run(options: Options) -> Outcome<String> {
    let scenario = options.scenario.clone();
    let connecting = ClientBuilder::new(vec![options.bootstrap.clone()]).build();
    let client = tokio::time::timeout(Duration::from_secs(15), connecting)
        .await
        .map_err(|_| "no connection within 15 s")?
        .map_err(words)?;
    let session = Session { client, options };
    match scenario.as_str() {
        "topics" => session.topics().await,
        "produce" => session.produce_every_codec().await,
        "time" => session.time().await,
        "admin" => session.admin().await,
        "cross" => session.cross().await,
        _ => Err("this client has no such scenario".to_string()),
    }
}

#[tokio::main]
async fn main() {
    let options = options("rskafka");
    let scenario = options.scenario.clone();
    let outcome = run(options).await;
    finish("rskafka", &scenario, outcome)
}
