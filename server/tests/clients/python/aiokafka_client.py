"""aiokafka: the scenarios of README.md. It has no call to delete a group."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata

from common import BASE_TIMESTAMP_MS, CODECS, PARTITIONS, RECORDS, Failure, Record, Received, check, equal, main


async def until(what, attempt, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (result := await attempt()):
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(0.02)
    return result


class Admin:
    """`async with Admin(options) as client`."""

    def __init__(self, options):
        self.client = AIOKafkaAdminClient(bootstrap_servers=options.bootstrap)

    async def __aenter__(self):
        await self.client.start()
        return self.client

    async def __aexit__(self, *_):
        await self.client.close()


async def create(options, topic, partitions=PARTITIONS, config=None):
    async with Admin(options) as client:
        response = await client.create_topics([NewTopic(topic, partitions, 1, topic_configs=config or {})])
        equal([error[1] for error in response.topic_errors], [0], f"error code of creating {topic}")
    return topic


async def produce(options, topic, first, last, partitions=PARTITIONS, **settings):
    producer = AIOKafkaProducer(bootstrap_servers=options.bootstrap, acks="all", linger_ms=5, **settings)
    await producer.start()
    try:
        futures = []
        for i in range(first, last):
            record = Record(i)
            futures.append((i, await producer.send(topic, key=record.key, value=record.value, headers=record.headers, partition=i % partitions, timestamp_ms=record.timestamp_ms)))
        for i, future in futures:
            equal((await asyncio.wait_for(future, 30)).offset, i // partitions, f"offset of record {i}")
    finally:
        await producer.stop()


async def consumer(options, group=None, topics=()):
    reader = AIOKafkaConsumer(*topics, bootstrap_servers=options.bootstrap, group_id=group, auto_offset_reset="earliest",
                              enable_auto_commit=False, session_timeout_ms=10000, heartbeat_interval_ms=1000, check_crcs=True)
    await reader.start()
    return reader


async def poll(received, *members):
    for member in members:
        for batch in (await member.getmany(timeout_ms=100, max_records=500)).values():
            for record in batch:
                received.add(record.partition, record.offset, record.key, record.value, record.headers, record.timestamp)


async def read_all(options, topic, count=RECORDS):
    reader, received = await consumer(options), Received(topic)
    try:
        partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        reader.assign(partitions)

        async def enough():
            await poll(received, reader)
            return len(received) >= count
        await until(f"{count} records of {topic}", enough)
        equal(received.duplicates, 0, f"{topic}: records seen twice")
        equal(sum((await reader.end_offsets(partitions)).values()), count, f"{topic}: end offsets")
    finally:
        await reader.stop()


async def topics(options):
    topic = await create(options, f"{options.prefix}-topics", 5, {"retention.ms": "3600000"})
    async with Admin(options) as client:
        again = await client.create_topics([NewTopic(topic, 5, 1)])
        equal([error[1] for error in again.topic_errors], [36], "error code of creating a topic twice")

        async def listed():
            return topic in await client.list_topics()
        await until("the new topic in the list", listed)
        described = (await client.describe_topics([topic]))[0]
        equal(len(described["partitions"]), 5, "partitions described")
        check("3600000" in repr(await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])), "retention.ms is not described")
        await client.delete_topics([topic])

        async def gone():
            return not await listed()
        await until("the topic to be gone", gone)


async def produce_every_codec(options, idempotent):
    kind = "idempotent" if idempotent else "produce"
    for codec in CODECS:
        topic = await create(options, f"{options.prefix}-{kind}-{codec}")
        await produce(options, topic, 0, RECORDS, enable_idempotence=idempotent, compression_type=None if codec == "none" else codec)
        await read_all(options, topic)
    return "codecs " + " ".join(CODECS)


class CommitOnRevoke(ConsumerRebalanceListener):
    """The next owner goes on where this one stopped."""

    def __init__(self, member):
        self.member = member

    async def on_partitions_revoked(self, revoked):
        if revoked:
            await self.member.commit()

    async def on_partitions_assigned(self, assigned):
        pass


async def group(options):
    topic, name = await create(options, f"{options.prefix}-group", 6), f"{options.prefix}-group"
    await produce(options, topic, 0, 600, 6)
    received = Received(topic, 6)

    async def join():
        member = await consumer(options, name)
        member.subscribe([topic], listener=CommitOnRevoke(member))
        return member

    def owning(members, counts):
        async def attempt():
            await poll(received, *members)
            return [len(member.assignment()) for member in members] == counts
        return attempt

    def holding(members, count):
        async def attempt():
            await poll(received, *members)
            return len(received) == count
        return attempt

    first = await join()
    await until("the first member to own all", owning([first], [6]))
    second = await join()
    await until("two members to share", owning([first, second], [3, 3]))
    equal({p.partition for p in first.assignment() | second.assignment()}, set(range(6)), "partitions owned by both")
    await produce(options, topic, 600, 1200, 6)
    await until("1200 records", holding([first, second], 1200))
    await first.commit()
    await second.commit()
    await second.stop()
    await until("the first member to own all again", owning([first], [6]))
    await produce(options, topic, 1200, 1500, 6)
    await until("1500 records", holding([first], 1500))
    await first.commit()
    equal([await first.committed(TopicPartition(topic, p)) for p in range(6)], [250] * 6, "committed offsets")
    await first.stop()
    return f"{received.duplicates} redelivered"


async def time_seek(options):
    topic = await create(options, f"{options.prefix}-time", 1)
    await produce(options, topic, 0, RECORDS, 1)
    reader, partition = await consumer(options), TopicPartition(topic, 0)
    try:
        reader.assign([partition])
        for timestamp, wanted in ((BASE_TIMESTAMP_MS + 500_000, 500), (BASE_TIMESTAMP_MS + 500_001, 501), (0, 0)):
            equal((await reader.offsets_for_times({partition: timestamp}))[partition].offset, wanted, f"offset for time {timestamp}")
        beyond = (await reader.offsets_for_times({partition: BASE_TIMESTAMP_MS + 10_000_000}))[partition]
        check(beyond is None or beyond.offset in (-1, RECORDS), f"offset for a time past the end: {beyond}")
        reader.seek(partition, 500)
        record = await asyncio.wait_for(reader.getone(), 30)
        equal((record.offset, record.key), (500, Record(500).key), "first record after the seek")
    finally:
        await reader.stop()


async def offsets(options):
    topic, name = await create(options, f"{options.prefix}-offsets", 1), f"{options.prefix}-offsets"
    await produce(options, topic, 0, RECORDS, 1)
    partition = TopicPartition(topic, 0)
    writer = await consumer(options, name)
    writer.assign([partition])
    await writer.commit({partition: OffsetAndMetadata(123, "a note")})
    await writer.stop()
    reader = await consumer(options, name)
    reader.assign([partition])
    equal(await reader.committed(partition), 123, "committed offset")
    record = await asyncio.wait_for(reader.getone(), 30)
    equal(record.offset, 123, "first offset after the committed one")
    await reader.stop()
    async with Admin(options) as client:
        equal((await client.list_consumer_group_offsets(name))[partition].metadata, "a note", "committed metadata")


async def administer(options):
    topic = await create(options, f"{options.prefix}-admin", 2)
    await produce(options, topic, 0, RECORDS, 2)
    async with Admin(options) as client:
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "7200000"})])

        async def changed():
            return "7200000" in repr(await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
        await until("the changed config", changed)
        await client.create_partitions({topic: NewPartitions(4)})

        async def four():
            return len((await client.describe_topics([topic]))[0]["partitions"]) == 4
        await until("four partitions", four)
        await client.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=100)})
        reader = await consumer(options, f"{topic}-group", [topic])
        equal((await reader.beginning_offsets([TopicPartition(topic, 0)]))[TopicPartition(topic, 0)], 100, "log start after deleting records")
        await asyncio.wait_for(reader.getone(), 30)
        await reader.commit()
        described = (await client.describe_consumer_groups([f"{topic}-group"]))[0]
        check(topic in repr(described), f"the group is not described with its member: {described}")
        check(f"{topic}-group" in repr(await client.list_consumer_groups()), "the group is not listed")
        check(await client.list_consumer_group_offsets(f"{topic}-group"), "no committed offset is listed")
        await reader.stop()
        cluster = await client.describe_cluster()
        check(cluster["cluster_id"] and cluster["brokers"], f"the cluster has no id or no node: {cluster}")


async def cross(options):
    names = [name for name in options.read.split(",") if name]
    for name in names:
        await read_all(options, name)
    return f"{len(names)} topics of other clients"


def run(scenario, *more):
    return lambda options: asyncio.run(scenario(options, *more))


if __name__ == "__main__":
    main("aiokafka", {
        "topics": run(topics), "produce": run(produce_every_codec, False), "idempotent": run(produce_every_codec, True),
        "group": run(group), "time": run(time_seek), "offsets": run(offsets), "admin": run(administer), "cross": run(cross),
    })
