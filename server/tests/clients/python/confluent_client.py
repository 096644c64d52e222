"""confluent-kafka for Python (librdkafka): the scenarios of README.md."""

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType,
)

from common import BASE_TIMESTAMP_MS, CODECS, PARTITIONS, RECORDS, Record, Received, check, equal, main, until


def admin(options):
    return AdminClient({"bootstrap.servers": options.bootstrap})


def wait(futures):
    return {name: future.result(30) for name, future in futures.items()}


def create(options, topic, partitions=PARTITIONS, config=None):
    client = admin(options)  # the futures die with their client
    wait(client.create_topics([NewTopic(topic, partitions, 1, config=config or {})]))
    return topic


def produce(options, topic, first, last, partitions=PARTITIONS, **settings):
    """Writes records first..last, and checks the offset each was acknowledged with."""
    producer = Producer({"bootstrap.servers": options.bootstrap, "acks": "all", "linger.ms": 5, **{k.replace("_", "."): v for k, v in settings.items()}})
    errors, acknowledged = [], []

    def delivered(i):
        def report(error, message):
            if error:
                errors.append(f"record {i}: {error}")
            elif message.offset() != i // partitions:
                errors.append(f"record {i}: acknowledged at offset {message.offset()}, expected {i // partitions}")
            else:
                acknowledged.append(i)
        return report

    for i in range(first, last):
        record = Record(i)
        producer.produce(topic, key=record.key, value=record.value, headers=record.headers, timestamp=record.timestamp_ms,
                         partition=i % partitions, on_delivery=delivered(i))
        producer.poll(0)
    left = producer.flush(30)
    check(not errors, f"{len(errors)} not delivered as they should, the first: {errors[:1]}")
    equal((left, len(acknowledged)), (0, last - first), "records left and acknowledged")


def consumer(options, group, **settings):
    return Consumer({"bootstrap.servers": options.bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
                     "session.timeout.ms": 10000, "check.crcs": True, **{k.replace("_", "."): v for k, v in settings.items()}})


def take(message, received):
    if message is None:
        return
    if message.error():
        raise KafkaException(message.error())
    received.add(message.partition(), message.offset(), message.key(), message.value(), message.headers(), message.timestamp()[1])


def read_all(options, topic, count=RECORDS):
    reader, received = consumer(options, f"{topic}-alone"), Received(topic)
    reader.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    until(f"{count} records of {topic}", lambda: [take(message, received) for message in reader.consume(500, 0.2)] is None or len(received) >= count)
    equal(received.duplicates, 0, f"{topic}: records seen twice")
    reader.close()
    client = admin(options)  # the consumer's own get_watermark_offsets mixes the two up at times (librdkafka)
    for which, wanted in ((OffsetSpec.earliest(), 0), (OffsetSpec.latest(), count)):
        listed = wait(client.list_offsets({TopicPartition(topic, partition): which for partition in range(PARTITIONS)}))
        equal(sum(found.offset for found in listed.values()), wanted, f"{topic}: sum of the {which} offsets")


def topics(options):
    topic, client = f"{options.prefix}-topics", admin(options)
    wait(client.create_topics([NewTopic(topic, 5, 1, config={"retention.ms": "3600000"})]))
    try:
        wait(client.create_topics([NewTopic(topic, 5, 1)]))
        check(False, "creating a topic twice was accepted")
    except KafkaException as refusal:
        equal(refusal.args[0].code(), KafkaError.TOPIC_ALREADY_EXISTS, "creating a topic twice")
    listed = until("the new topic in the list", lambda: client.list_topics(timeout=10).topics.get(topic))
    equal(sorted(listed.partitions), list(range(5)), "partitions listed")
    for partition in listed.partitions.values():
        check(partition.leader >= 0 and partition.replicas == partition.isrs == [partition.leader], f"leader, replicas, isr: {partition.leader} {partition.replicas} {partition.isrs}")
    from confluent_kafka import TopicCollection
    described = wait(client.describe_topics(TopicCollection([topic])))[topic]
    equal(len(described.partitions), 5, "partitions described")
    configs = wait(client.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
    equal(next(iter(configs.values()))["retention.ms"].value, "3600000", "retention.ms described")
    wait(client.delete_topics([topic]))
    until("the topic to be gone", lambda: topic not in client.list_topics(timeout=10).topics)


def produce_every_codec(options, idempotent):
    kind = "idempotent" if idempotent else "produce"
    for codec in CODECS:
        topic = create(options, f"{options.prefix}-{kind}-{codec}")
        # without idempotence only one request in flight keeps order when one has to be sent again
        produce(options, topic, 0, RECORDS, enable_idempotence=idempotent, compression_type=codec, max_in_flight=5 if idempotent else 1)
        read_all(options, topic)
    return "codecs " + " ".join(CODECS)


def group(options):
    topic, name = create(options, f"{options.prefix}-group", 6), f"{options.prefix}-group"
    produce(options, topic, 0, 600, 6)
    received = Received(topic, 6)
    revocations = []

    def poll(*members):
        for member in members:
            for message in member.consume(200, 0.1):
                take(message, received)

    first = consumer(options, name)
    first.subscribe([topic], on_revoke=lambda member, partitions: revocations.append(len(partitions)) or received_positions(member))
    until("the first member to own all", lambda: poll(first) or len(first.assignment()) == 6)
    second = consumer(options, name)
    second.subscribe([topic], on_revoke=lambda member, partitions: received_positions(member))
    until("two members to share", lambda: poll(first, second) or (len(first.assignment()) == 3 and len(second.assignment()) == 3))
    owned = [{p.partition for p in member.assignment()} for member in (first, second)]
    equal(owned[0] | owned[1], set(range(6)), "partitions owned by both")
    produce(options, topic, 600, 1200, 6)
    until("1200 records", lambda: poll(first, second) or len(received) == 1200)
    for member in (first, second):
        member.commit(asynchronous=False)
    second.close()
    until("the first member to own all again", lambda: poll(first) or len(first.assignment()) == 6)
    produce(options, topic, 1200, 1500, 6)
    until("1500 records", lambda: poll(first) or len(received) == 1500)
    first.commit(asynchronous=False)
    committed = [p.offset for p in first.committed([TopicPartition(topic, p) for p in range(6)], timeout=10)]
    first.close()
    equal(committed, [250] * 6, "committed offsets")
    return f"{len(revocations)} revocations, {received.duplicates} redelivered"


def received_positions(member):
    """On revocation: what was read is committed, so that the next owner goes on there."""
    try:
        member.commit(asynchronous=False)
    except KafkaException as refusal:
        if refusal.args[0].code() not in (KafkaError._NO_OFFSET, KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION):
            raise


def time_seek(options):
    topic = create(options, f"{options.prefix}-time", 1)
    produce(options, topic, 0, RECORDS, 1)
    reader = consumer(options, f"{topic}-alone")
    for timestamp, wanted in ((BASE_TIMESTAMP_MS + 500_000, 500), (BASE_TIMESTAMP_MS + 500_001, 501), (0, 0)):
        equal(reader.offsets_for_times([TopicPartition(topic, 0, timestamp)], timeout=10)[0].offset, wanted, f"offset for time {timestamp}")
    beyond = reader.offsets_for_times([TopicPartition(topic, 0, BASE_TIMESTAMP_MS + 10_000_000)], timeout=10)[0]
    check(beyond.offset in (-1, RECORDS), f"offset for a time past the end: {beyond.offset}")
    reader.assign([TopicPartition(topic, 0, 500)])
    message = until("a record after the seek", lambda: reader.poll(0.2))
    equal((message.offset(), message.key()), (500, Record(500).key), "first record after the seek")
    reader.close()
    client = admin(options)
    listed = wait(client.list_offsets({TopicPartition(topic, 0): OffsetSpec.max_timestamp()}))
    equal(next(iter(listed.values())).offset, RECORDS - 1, "offset of the greatest timestamp")


def offsets(options):
    topic, name = create(options, f"{options.prefix}-offsets", 1), f"{options.prefix}-offsets"
    produce(options, topic, 0, RECORDS, 1)
    writer = consumer(options, name)
    writer.commit(offsets=[TopicPartition(topic, 0, 123, "a note")], asynchronous=False)
    writer.close()
    reader = consumer(options, name)
    back = reader.committed([TopicPartition(topic, 0)], timeout=10)[0]
    equal((back.offset, back.metadata), (123, "a note"), "committed offset and metadata")
    reader.subscribe([topic])
    message = until("a record after the committed offset", lambda: reader.poll(0.2))
    equal(message.offset(), 123, "first offset after the committed one")
    reader.close()
    client = admin(options)
    until("the group to be deleted", lambda: deleted(client, name), pause=0.5)
    gone = consumer(options, name)
    equal(gone.committed([TopicPartition(topic, 0)], timeout=10)[0].offset, -1001, "committed offset after the group is deleted")
    gone.close()


def deleted(client, name):
    try:
        wait(client.delete_consumer_groups([name]))
        return True
    except KafkaException as refusal:
        equal(refusal.args[0].code(), KafkaError.NON_EMPTY_GROUP, "deleting a group")
        return False


def administer(options):
    topic, client = create(options, f"{options.prefix}-admin", 2), admin(options)
    produce(options, topic, 0, RECORDS, 2)
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET)])
    wait(client.incremental_alter_configs([change]))
    until("the changed config", lambda: next(iter(wait(client.describe_configs([ConfigResource(ResourceType.TOPIC, topic)])).values()))["retention.ms"].value == "7200000")
    wait(client.create_partitions([NewPartitions(topic, 4)]))
    until("four partitions", lambda: len(client.list_topics(topic, timeout=10).topics[topic].partitions) == 4)
    low = next(iter(wait(client.delete_records([TopicPartition(topic, 0, 100)])).values()))
    equal(low.low_watermark, 100, "low watermark after deleting records")
    reader = consumer(options, f"{topic}-group")
    equal(reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=10), (100, 500), "watermarks after deleting records")
    reader.subscribe([topic])
    until("a record", lambda: reader.poll(0.2))
    described = wait(client.describe_consumer_groups([f"{topic}-group"]))[f"{topic}-group"]
    equal(len(described.members), 1, "members described")
    names = [listing.group_id for listing in client.list_consumer_groups().result(30).valid]
    check(f"{topic}-group" in names, f"the group is not listed: {names}")
    reader.commit(asynchronous=False)
    reader.close()
    listed = next(iter(wait(client.list_consumer_group_offsets([_group_offsets(f"{topic}-group")])).values()))
    check(any(p.offset >= 0 for p in listed.topic_partitions), "no committed offset is listed")
    cluster = client.describe_cluster().result(30)
    check(cluster.cluster_id and cluster.nodes, "the cluster has no id or no node")


def _group_offsets(name):
    from confluent_kafka import ConsumerGroupTopicPartitions
    return ConsumerGroupTopicPartitions(name)


def cross(options):
    names = [name for name in options.read.split(",") if name]
    for name in names:
        read_all(options, name)
    return f"{len(names)} topics of other clients"


if __name__ == "__main__":
    main("confluent-kafka", {
        "topics": topics, "produce": lambda o: produce_every_codec(o, False), "idempotent": lambda o: produce_every_codec(o, True),
        "group": group, "time": time_seek, "offsets": offsets, "admin": administer, "cross": cross,
    })
