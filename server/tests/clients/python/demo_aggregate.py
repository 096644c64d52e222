"""Judges scripts/demo-flights: what the consumers wrote, against the table itself.

    demo_aggregate.py FILES...     exit code 0: all is there and equal; 3: records are missing so far; 1: something is wrong

Every offset of every partition is there from 0 on and holds one record, every flight is at exactly one offset (so no
producer's retry was written twice), and per carrier and per month the counts and the sums of distance and air time are
the table's own. A record that a consumer got again after a restart must be the same record."""

import collections
import sys
import zlib

from demo_rows import rows


def wrong(message):
    print(f"FAIL aggregate: {message}")
    sys.exit(1)


def read(files):
    """(partition, offset) -> line, and how many lines came again."""
    records, again = {}, 0
    for file in files:
        with open(file, encoding="utf-8") as lines:
            for line in lines:
                if not line.endswith("\n"):
                    continue  # being written
                partition, offset, rest = line.split("\t", 2)
                at = (int(partition), int(offset))
                if at in records:
                    again += 1
                    if records[at] != rest:
                        wrong(f"partition {partition} offset {offset} was two records: {records[at]!r} and {rest!r}")
                records[at] = rest
    return records, again


def sums(each):
    """Per carrier and per month: flights, distance, minutes in the air."""
    totals = collections.defaultdict(lambda: [0, 0, 0])
    for carrier, month, distance, air_time in each:
        for group in (("carrier", carrier), ("month", month)):
            for at, amount in enumerate((1, distance, air_time)):
                totals[group][at] += amount
    return totals


def main(files):
    table = list(rows())
    records, again = read(files)
    if len(records) < len(table):
        print(f"{len(records)} of {len(table)} records so far")
        sys.exit(3)
    partitions = collections.Counter(partition for partition, _ in records)
    for partition, count in sorted(partitions.items()):
        last = max(offset for own, offset in records if own == partition) if count else -1
        if last != count - 1:
            wrong(f"partition {partition}: {count} records up to offset {last}")
    seen, null_keys, got = set(), 0, []
    for rest in records.values():
        key, carrier, month, distance, air_time, number = rest.rstrip("\n").split("\t")
        flight = table[int(number)]
        if int(number) in seen:
            wrong(f"flight {number} is at two offsets: a retry was written twice")
        seen.add(int(number))
        wanted = "-" if flight["tailnum"] is None else format(zlib.crc32(flight["tailnum"].encode()), "08x")
        if key != wanted:
            wrong(f"flight {number}: key hash {key}, expected {wanted}")
        null_keys += key == "-"
        got.append((carrier, int(month), int(distance), int(air_time)))
    own = sums((flight["carrier"], flight["month"], flight["distance"], flight["air_time"] or 0) for flight in table)
    if sums(got) != own:
        wrong("counts or sums differ from the table's own: " + ", ".join(str(group) for group in own if own[group] != sums(got).get(group))[:500])
    print(f"{'':10}{'flights':>10}{'distance':>14}{'air time':>12}")
    for (kind, name), (count, distance, air_time) in sorted(own.items(), key=lambda item: (item[0][0], str(item[0][1]).zfill(3))):
        print(f"{kind} {name!s:<3}".ljust(10) + f"{count:>10}{distance:>14}{air_time:>12}")
    print(f"ok {len(records)} records in {len(partitions)} partitions, each once by offset; {null_keys} null keys; counts and sums equal the table's own, "
          f"per carrier ({sum(kind == 'carrier' for kind, _ in own)}) and per month (12); {again} redelivered to the group")


if __name__ == "__main__":
    main(sys.argv[1:])
