"""kafka-python: the scenarios of README.md."""

import threading

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import TopicAlreadyExistsError

from common import BASE_TIMESTAMP_MS, CODECS, PARTITIONS, RECORDS, Record, Received, check, equal, main, until


def admin(options):
    return KafkaAdminClient(bootstrap_servers=options.bootstrap)


def create(options, topic, partitions=PARTITIONS, config=None):
    client = admin(options)
    client.create_topics([NewTopic(topic, partitions, 1, topic_configs=config or {})])
    client.close()
    return topic


def produce(options, topic, first, last, partitions=PARTITIONS, **settings):
    settings.setdefault("enable_idempotence", False)
    producer = KafkaProducer(bootstrap_servers=options.bootstrap, acks="all", linger_ms=5, **settings)
    futures = []
    for i in range(first, last):
        record = Record(i)
        futures.append((i, producer.send(topic, key=record.key, value=record.value, headers=record.headers, partition=i % partitions, timestamp_ms=record.timestamp_ms)))
    producer.flush(30)
    for i, future in futures:
        equal(future.get(30).offset, i // partitions, f"offset of record {i}")
    producer.close()


def consumer(options, group=None, **settings):
    return KafkaConsumer(bootstrap_servers=options.bootstrap, group_id=group, auto_offset_reset="earliest", session_timeout_ms=10000,
                         heartbeat_interval_ms=1000, check_crcs=True, **{"enable_auto_commit": False, **settings})


def poll(received, *members):
    for member in members:
        for batch in member.poll(timeout_ms=100, max_records=500).values():
            for record in batch:
                received.add(record.partition, record.offset, record.key, record.value, record.headers, record.timestamp)


def read_all(options, topic, count=RECORDS):
    reader, received = consumer(options), Received(topic)
    partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    reader.assign(partitions)
    until(f"{count} records of {topic}", lambda: poll(received, reader) or len(received) >= count)
    equal(received.duplicates, 0, f"{topic}: records seen twice")
    equal(sum(reader.end_offsets(partitions).values()), count, f"{topic}: end offsets")
    reader.close()


def topics(options):
    topic, client = f"{options.prefix}-topics", admin(options)
    client.create_topics([NewTopic(topic, 5, 1, topic_configs={"retention.ms": "3600000"})])
    try:
        client.create_topics([NewTopic(topic, 5, 1)])
        check(False, "creating a topic twice was accepted")
    except TopicAlreadyExistsError:
        pass
    until("the new topic in the list", lambda: topic in [t if isinstance(t, str) else t["name"] for t in client.list_topics()])
    described = client.describe_topics([topic])[0]
    equal(len(described["partitions"]), 5, "partitions described")
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    check("3600000" in repr(client.describe_configs([resource])), "retention.ms is not described")
    client.delete_topics([topic])
    until("the topic to be gone", lambda: topic not in [t if isinstance(t, str) else t["name"] for t in client.list_topics()])
    client.close()


def produce_every_codec(options, idempotent):
    kind = "idempotent" if idempotent else "produce"
    for codec in CODECS:
        topic = create(options, f"{options.prefix}-{kind}-{codec}")
        # without idempotence only one request in flight keeps order when one has to be sent again
        produce(options, topic, 0, RECORDS, enable_idempotence=idempotent, compression_type=None if codec == "none" else codec,
                max_in_flight_requests_per_connection=5 if idempotent else 1)
        read_all(options, topic)
    return "codecs " + " ".join(CODECS)


class Member(threading.Thread):
    """A group member with a thread of its own: a KafkaConsumer blocks in the join until all members came. It commits by
    itself (on revocation too): in 3.0 a listener runs on the client's I/O thread and cannot wait for a commit."""

    def __init__(self, options, topic, name, received):
        super().__init__(daemon=True)
        self.consumer, self.received, self.owned, self.running, self.failure = consumer(options, name, enable_auto_commit=True, auto_commit_interval_ms=500), received, set(), True, None
        self.consumer.subscribe([topic])
        self.start()

    def run(self):
        try:
            while self.running:
                poll(self.received, self.consumer)
                self.owned = {partition.partition for partition in self.consumer.assignment()}
            self.consumer.commit()
            self.consumer.close()
        except Exception as failure:  # handed to the main thread, which fails the scenario with it
            self.failure = failure

    def leave(self):
        """Commits what was read and leaves the group."""
        self.running = False
        self.join(30)
        check(not self.is_alive(), "a member does not leave")
        if self.failure:
            raise self.failure


def sound(*members):
    for member in members:
        if member.failure:
            raise member.failure
    return True


def group(options):
    topic, name = create(options, f"{options.prefix}-group", 6), f"{options.prefix}-group"
    produce(options, topic, 0, 600, 6)
    received = Received(topic, 6)
    everything = set(range(6))
    first = Member(options, topic, name, received)
    until("the first member to own all", lambda: sound(first) and first.owned == everything)
    second = Member(options, topic, name, received)
    until("two members to share", lambda: sound(first, second) and len(first.owned) == len(second.owned) == 3 and first.owned | second.owned == everything)
    produce(options, topic, 600, 1200, 6)
    until("1200 records", lambda: sound(first, second) and len(received) == 1200)
    second.leave()
    until("the first member to own all again", lambda: sound(first) and first.owned == everything)
    produce(options, topic, 1200, 1500, 6)
    until("1500 records", lambda: sound(first) and len(received) == 1500)
    first.leave()
    back = consumer(options, name)
    equal([back.committed(TopicPartition(topic, p)) for p in range(6)], [250] * 6, "committed offsets")
    back.close()
    return f"{received.duplicates} redelivered"


def time_seek(options):
    topic = create(options, f"{options.prefix}-time", 1)
    produce(options, topic, 0, RECORDS, 1)
    reader, partition = consumer(options), TopicPartition(topic, 0)
    reader.assign([partition])
    for timestamp, wanted in ((BASE_TIMESTAMP_MS + 500_000, 500), (BASE_TIMESTAMP_MS + 500_001, 501), (0, 0)):
        equal(reader.offsets_for_times({partition: timestamp})[partition].offset, wanted, f"offset for time {timestamp}")
    beyond = reader.offsets_for_times({partition: BASE_TIMESTAMP_MS + 10_000_000})[partition]
    check(beyond is None or beyond.offset in (-1, RECORDS), f"offset for a time past the end: {beyond}")
    reader.seek(partition, 500)
    batch = until("a record after the seek", lambda: reader.poll(timeout_ms=200, max_records=1))
    equal((batch[partition][0].offset, batch[partition][0].key), (500, Record(500).key), "first record after the seek")
    reader.close()


def offsets(options):
    topic, name = create(options, f"{options.prefix}-offsets", 1), f"{options.prefix}-offsets"
    produce(options, topic, 0, RECORDS, 1)
    partition = TopicPartition(topic, 0)
    writer = consumer(options, name)
    writer.assign([partition])
    writer.commit({partition: OffsetAndMetadata(123, "a note", -1)})
    writer.close()
    reader = consumer(options, name)
    reader.assign([partition])
    back = reader.committed(partition, metadata=True)
    equal((back.offset, back.metadata), (123, "a note"), "committed offset and metadata")
    batch = until("a record after the committed offset", lambda: reader.poll(timeout_ms=200, max_records=1))
    equal(batch[partition][0].offset, 123, "first offset after the committed one")
    reader.close()
    client = admin(options)
    client.delete_groups([name])
    client.close()
    gone = consumer(options, name)
    equal(gone.committed(partition), None, "committed offset after the group is deleted")
    gone.close()


def administer(options):
    topic, client = create(options, f"{options.prefix}-admin", 2), admin(options)
    produce(options, topic, 0, RECORDS, 2)
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "7200000"})])
    until("the changed config", lambda: "7200000" in repr(client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])))
    client.create_partitions({topic: NewPartitions(4)})
    until("four partitions", lambda: len(client.describe_topics([topic])[0]["partitions"]) == 4)
    client.delete_records({TopicPartition(topic, 0): 100})
    reader = consumer(options, f"{topic}-group")
    equal(reader.beginning_offsets([TopicPartition(topic, 0)])[TopicPartition(topic, 0)], 100, "log start after deleting records")
    reader.subscribe([topic])
    until("a record", lambda: reader.poll(timeout_ms=200, max_records=1))
    reader.commit()
    described = client.describe_groups([f"{topic}-group"])
    check("'members': []" not in repr(described) and f"{topic}-group" in repr(described), f"the group is not described with its member: {described}")
    check(f"{topic}-group" in repr(client.list_groups()), "the group is not listed")
    listed = client.list_group_offsets([f"{topic}-group"])
    check("offset" in repr(listed).lower() and topic in repr(listed), f"no committed offset is listed: {listed}")
    reader.close()
    cluster = client.describe_cluster()
    check(cluster["cluster_id"] and cluster["brokers"], f"the cluster has no id or no node: {cluster}")
    client.close()


def cross(options):
    names = [name for name in options.read.split(",") if name]
    for name in names:
        read_all(options, name)
    return f"{len(names)} topics of other clients"


if __name__ == "__main__":
    main("kafka-python", {
        "topics": topics, "produce": lambda o: produce_every_codec(o, False), "idempotent": lambda o: produce_every_codec(o, True),
        "group": group, "time": time_seek, "offsets": offsets, "admin": administer, "cross": cross,
    })
