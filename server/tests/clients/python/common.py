"""What the Python client programs share: the records every client writes, the checks on what comes back, and the
command line (--bootstrap, --scenario, --topic-prefix, --read). README.md beside the folders describes the scenarios."""

import argparse
import os
import sys
import time
import traceback

RECORDS = 1000
PARTITIONS = 3
# Of record 0. A run gives all its programs the same recent time: a server may remove what is older than its retention.
BASE_TIMESTAMP_MS = int(os.environ.get("TEST_BASE_TIMESTAMP_MS", "1700000000000"))
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


class Failure(Exception):
    """What a scenario found wrong, in words."""


class Record:
    """Record number `i` of every test topic: the same in every language."""

    def __init__(self, i):
        self.i = i
        self.key = None if i % 7 == 0 else b"key-%06d" % i
        self.value = None if i % 13 == 0 and i % 7 else b"value-%06d-" % i + bytes([97 + i % 26]) * (i % 200)
        self.headers = [] if i % 5 == 0 else [("n", b"%d" % i), ("raw", bytes([0, 255, i % 256]))]
        self.timestamp_ms = BASE_TIMESTAMP_MS + i * 1000


def check(condition, message):
    if not condition:
        raise Failure(message)


def equal(got, wanted, what):
    if got != wanted:
        raise Failure(f"{what}: got {got!r}, expected {wanted!r}")


def until(what, attempt, seconds=30.0, pause=0.05):
    """Calls `attempt` until it gives something true, which is returned."""
    deadline = time.monotonic() + seconds
    while True:
        result = attempt()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


class Received:
    """Collects (partition, offset) -> record and compares with what was written (record i at offset i // partitions)."""

    def __init__(self, topic, partitions=PARTITIONS):
        self.topic, self.partitions, self.seen, self.duplicates = topic, partitions, set(), 0

    def add(self, partition, offset, key, value, headers, timestamp_ms):
        i = offset * self.partitions + partition
        wanted = Record(i)
        where = f"{self.topic}-{partition} offset {offset}"
        equal(key, wanted.key, f"{where} key")
        equal(value, wanted.value, f"{where} value")
        equal([(name, bytes(raw)) for name, raw in headers or []], wanted.headers, f"{where} headers")
        equal(timestamp_ms, wanted.timestamp_ms, f"{where} timestamp")
        if (partition, offset) in self.seen:
            self.duplicates += 1
        self.seen.add((partition, offset))

    def __len__(self):
        return len(self.seen)


def main(client, scenarios):
    """Runs one scenario: a dict of name -> function(options); prints `ok CLIENT SCENARIO` or the reason."""
    parser = argparse.ArgumentParser(prog=client)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--scenario", required=True)
    parser.add_argument("--topic-prefix", required=True)
    parser.add_argument("--read", default="", help="cross: topics that other clients filled, with commas")
    options = parser.parse_args()
    options.prefix = f"{options.topic_prefix}-{client}"
    if options.scenario not in scenarios:
        print(f"FAIL {client} {options.scenario}: this client has only {', '.join(scenarios)}")
        sys.exit(2)
    try:
        note = scenarios[options.scenario](options)
    except Failure as failure:
        print(f"FAIL {client} {options.scenario}: {failure}")
        sys.exit(1)
    except Exception as failure:  # a client's own error is a failed scenario, told with its trace
        traceback.print_exc()
        print(f"FAIL {client} {options.scenario}: {type(failure).__name__}: {failure}")
        sys.exit(1)
    print(f"ok {client} {options.scenario}" + (f" ({note})" if note else ""))
    sys.stdout.flush()
