"""aiokafka's third of scripts/demo-flights: consumes in the group and writes a line per record until the stop file is there."""

import argparse
import asyncio
import json
import os
import zlib

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

parser = argparse.ArgumentParser()
for name in ("--bootstrap", "--topic", "--group", "--out", "--stop"):
    parser.add_argument(name, required=True)
options = parser.parse_args()


async def consume():
    consumer = AIOKafkaConsumer(options.topic, bootstrap_servers=options.bootstrap, group_id=options.group, auto_offset_reset="earliest",
                                auto_commit_interval_ms=500, session_timeout_ms=10000, heartbeat_interval_ms=1000, retry_backoff_ms=200,
                                partition_assignment_strategy=(RangePartitionAssignor,))
    await consumer.start()
    count = 0
    with open(options.out, "w", encoding="utf-8") as out:
        while not os.path.exists(options.stop):
            try:
                batches = await consumer.getmany(timeout_ms=300)
            except KafkaError as failure:  # the server is away: the client connects again by itself
                print(f"aiokafka: {type(failure).__name__}: {failure}", flush=True)
                await asyncio.sleep(0.2)
                continue
            for partition, records in batches.items():
                for record in records:
                    flight = json.loads(record.value)
                    key = "-" if record.key is None else format(zlib.crc32(record.key), "08x")
                    out.write(f"{partition.partition}\t{record.offset}\t{key}\t{flight['carrier']}\t{flight['month']}\t{flight['distance']}\t{flight['air_time'] or 0}\t{flight['n']}\n")
                    count += 1
            out.flush()
    await consumer.stop()
    print(f"ok aiokafka consumed {count} records")


asyncio.run(consume())
