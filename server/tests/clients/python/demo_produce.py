"""confluent-kafka's half of scripts/demo-flights: produces the lines whose number is even, with an idempotent producer."""

import argparse
import time

from confluent_kafka import Producer

parser = argparse.ArgumentParser()
parser.add_argument("--bootstrap", required=True)
parser.add_argument("--topic", required=True)
parser.add_argument("--rows", required=True)
parser.add_argument("--rate", type=int, default=0, help="rows a second; 0: as fast as it goes")
options = parser.parse_args()

# murmur2, as Java and franz-go do: a tail number has one partition, whoever writes it.
producer = Producer({"bootstrap.servers": options.bootstrap, "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 20,
                     "partitioner": "murmur2_random", "delivery.timeout.ms": 120000, "retry.backoff.max.ms": 500})
failures, sent, started = [], 0, time.monotonic()


def delivered(error, _message):
    if error:
        failures.append(str(error))


with open(options.rows, encoding="utf-8") as lines:
    for line in lines:
        number, key, value = line.rstrip("\n").split("\t", 2)
        if int(number) % 2:
            continue
        while True:
            try:
                producer.produce(options.topic, value=value.encode(), key=key.encode() or None, on_delivery=delivered)
                break
            except BufferError:  # the local queue is full: let deliveries make room
                producer.poll(0.1)
        sent += 1
        producer.poll(0)
        if options.rate and sent % 500 == 0:
            producer.poll(max(0.0, started + sent / options.rate - time.monotonic()))
left = producer.flush(120)
if left or failures:
    raise SystemExit(f"FAIL confluent-kafka: {left} rows not sent, {len(failures)} refused, the first: {failures[:1]}")
print(f"ok confluent-kafka produced {sent} rows in {time.monotonic() - started:.1f} s")
