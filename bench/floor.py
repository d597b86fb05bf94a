"""Where the time of `gae compute` goes, beside what each part takes at least, all in one run.

    python bench/floor.py --rows 10000000 --repeats 5
    python bench/floor.py --rows 50000000 --repeats 3 --lean

The parts, each by itself: start Python with NumPy and pyarrow (and torch); read the three columns; copy the
bytes and sync them; scan; encode two columns. Start-up cannot overlap with anything; then one core can copy while
the other reads, scans and encodes. So the floor is start-up + max(copy and sync, read + scan + encode). Install
the package (not editable), so that its modules are compiled once and not at every start.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from machine import machine
from rollout_files import write_rollouts

from gaecli.estimators.recursion import gae_block

GAE = str(Path(sys.executable).with_name("gae"))
START = "import numpy, pyarrow, pyarrow.parquet"
COPY_BYTES = 64 << 20


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def python(code: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", code], check=True)


def compute(path: Path, *more: str) -> Callable[[], object]:
    return lambda: subprocess.run([GAE, "compute", "--quiet", *more, str(path)], check=True)


def copied(source: Path, target: Path, *, sync: bool) -> None:
    with source.open("rb") as reading, target.open("wb") as writing:
        left = source.stat().st_size
        while left:
            left -= os.copy_file_range(reading.fileno(), writing.fileno(), min(left, COPY_BYTES))
        if sync:
            os.fsync(writing.fileno())


def read(path: Path) -> pa.Table:
    return pq.read_table(path, columns=["reward", "value", "done"], use_threads=False)


def encoded(numbers: np.ndarray, path: Path) -> None:
    schema = pa.schema([("advantage", pa.float32()), ("return", pa.float32())])
    with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for start in range(0, len(numbers), 1_000_000):
            part = pa.array(numbers[start : start + 1_000_000])
            writer.write_table(pa.table([part, part], schema=schema))


def scanned(table: pa.Table) -> np.ndarray:
    rewards, values, done = (table.column(name).to_numpy() for name in table.column_names)
    parts = []
    for start in range(0, len(rewards), 1 << 20):
        rows = slice(start, start + (1 << 20))
        parts.append(
            gae_block(
                rewards[rows], values[rows], cuts=done[rows], terminated=done[rows], gamma=0.99, lam=0.95
            )
        )
    return np.concatenate(parts).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--lean", action="store_true")
    parser.add_argument("--one-episode", action="store_true")
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        show(measure(Path(name), options), options)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    source, copy, other = (folder / f"{name}.parquet" for name in ("source", "copy", "other"))
    steps = None if options.one_episode else 200
    write_rollouts(source, options.rows, wide=not options.lean, episode_steps=steps)
    table = read(source)
    numbers = scanned(table)
    found: dict[str, list[float]] = {}
    for repeat in range(options.repeats + 1):
        shutil.copyfile(source, copy)
        parts: dict[str, Callable[[], object]] = {
            "start": python(START),
            "start with torch": python(f"{START}, torch"),
            "read three columns": lambda: read(source),
            "scan": lambda: scanned(table),
            "encode two columns": lambda: encoded(numbers, other),
            "copy": lambda: copied(source, other, sync=False),
            "copy and sync": lambda: copied(source, other, sync=True),
            "gae compute": compute(copy),
            "gae compute --device cpu": compute(copy, "--device", "cpu", "--gamma", "0.98"),
        }
        for name, work in parts.items():
            os.sync()
            seconds = seconds_of(work)
            if repeat:  # the first warms the page cache
                found.setdefault(name, []).append(seconds)
    return found


def show(found: dict[str, list[float]], options: argparse.Namespace) -> None:
    print(f"{options.rows:,} rows, {'lean' if options.lean else 'wide'}, {options.repeats} repeats")
    print(f"{machine()}\n")
    print("| | s (median) | min-max |\n|---|---|---|")
    median = {name: statistics.median(seconds) for name, seconds in found.items()}
    for name, seconds in found.items():
        print(f"| {name} | {median[name]:.2f} | {min(seconds):.2f}-{max(seconds):.2f} |")
    work = max(
        median["copy and sync"],
        median["read three columns"] + median["scan"] + median["encode two columns"],
    )
    for command, start in (("gae compute", "start"), ("gae compute --device cpu", "start with torch")):
        floor = median[start] + work
        print(
            f"\n{command}: {median[command]:.2f} s, floor {floor:.2f} s, {median[command] / floor:.2f} of it"
        )


if __name__ == "__main__":
    main()
