"""Thousands of small files in one command: time per file after start-up, peak memory, and the second run.

    python bench/many_files.py --files 1000 10000
    python bench/many_files.py --files 1000 --repeats 5 --against OTHER/bin/gae

Start-up is a run over one of the files; the list goes through stdin (`--files-from -`). `--against` is the `gae` of
another build, which takes its turn on copies of its own; ratios are medians over the turns. CPU time is what tells
on a busy machine. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GAE = str(Path(sys.executable).with_name("gae"))
STEPS = 200
RUNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("first", ()),
    ("again, up to date", ()),
    ("--normalize all", ("--normalize", "all")),
)


class Cost(NamedTuple):
    """Of a process, or of one file of it."""

    wall: float
    cpu: float
    peak_mib: float


def write(folder: Path, count: int) -> list[Path]:
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        path = folder / f"{number % 100:02d}" / f"rollout-{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = {
            "observation": list(random.normal(size=(STEPS, 4)).astype(np.float32)),
            "reward": random.normal(size=STEPS).astype(np.float32),
            "value": random.normal(size=STEPS).astype(np.float32),
            "done": np.arange(STEPS) % 50 == 49,
        }
        pq.write_table(pa.table(table), path)
        paths.append(path)
    return paths


def measured(gae: str, paths: list[Path], *options: str) -> Cost:
    names = "\0".join(map(str, paths)).encode()
    start = time.perf_counter()
    with subprocess.Popen(
        [gae, "compute", "--quiet", "--files-from", "-", *options], stdin=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(names)
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{gae} compute ended with {process.returncode}")
    seconds = time.perf_counter() - start
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def turn(gae: str, original: Path, folder: Path, count: int) -> dict[str, Cost]:
    """Each of the runs, one after the other, over copies: what a file takes, and the peak of all."""
    shutil.copytree(original, folder)
    paths = sorted(folder.rglob("*.parquet"))
    once = measured(gae, paths[:1], "--dry-run", "--force")
    found = {}
    for title, options in RUNS:
        whole = measured(gae, paths, *options)
        found[title] = Cost((whole.wall - once.wall) / count, (whole.cpu - once.cpu) / count, whole.peak_mib)
    shutil.rmtree(folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--against", default=None)
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    builds = [GAE, *([options.against] if options.against else [])]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print(
        f"| files of {STEPS} steps | run | wall ms a file | CPU ms a file | peak MiB | CPU ratio | wall ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    for count in options.files:
        with tempfile.TemporaryDirectory(dir=options.directory) as name:
            original = Path(name) / "original"
            write(original, count)
            turns = [
                [turn(gae, original, Path(name) / "copy", count) for gae in builds]
                for _ in range(options.repeats)
            ]
        for title, _ in RUNS:
            ours = [pair[0][title] for pair in turns]
            wall, cpu, peak = (statistics.median(numbers) for numbers in zip(*ours, strict=True))
            ratios = [""] * 2
            if options.against:
                pairs = [(pair[0][title], pair[1][title]) for pair in turns]
                ratios = [
                    f"{statistics.median(getattr(one, what) / getattr(other, what) for one, other in pairs):.2f}"
                    for what in ("cpu", "wall")
                ]
            shown = f"{1e3 * wall:.1f} | {1e3 * cpu:.1f} | {peak:.0f} | {' | '.join(ratios)}"
            print(f"| {count:,} | {title} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
