"""`--engine ray` beside the local engine: rows per second over many files, on one machine, after both have started.

    python bench/cluster.py --files 40 --rows 1000000 --workers 2 --repeats 3

Each repeat runs both once on fresh copies of the same files, in place, one after the other; ratios are taken within a
repeat. Ray is connected before the clock starts, and its workers have gaecli imported. The bytes are compared. On one
machine the ratio is what the cluster costs: at least 0.8 is wanted. Needs gaecli[ray]. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import os
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow
import ray
from rollout_files import write_rollouts

import gaecli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--normalize", default="none")
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    ray.init("local", num_cpus=options.workers, include_dashboard=False, log_to_driver=False)
    try:
        with tempfile.TemporaryDirectory(dir=options.directory) as name:
            compare(Path(name), options)
    finally:
        ray.shutdown()


def compare(folder: Path, options: argparse.Namespace) -> None:
    source = folder / "source"
    source.mkdir()
    for number in range(options.files):
        write_rollouts(source / f"{number:04d}.parquet", options.rows, wide=False, episode_steps=200)
    seconds: dict[str, list[float]] = {"local": [], "ray": []}
    cpu_seconds: dict[str, list[float]] = {"local": [], "ray": []}
    for repeat in range(options.repeats + 1):
        for engine, measured in seconds.items():
            place = folder / engine
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(source, place)
            os.sync()
            start, cpu_start = time.perf_counter(), cpu_seconds_so_far()
            gaecli.compute(place, engine=engine, jobs=options.workers, normalize=options.normalize)
            if repeat:  # the first imports gaecli in the workers
                measured.append(time.perf_counter() - start)
                cpu_seconds[engine].append(cpu_seconds_so_far() - cpu_start)
        names = [path.name for path in source.iterdir()]
        _, differing, missing = filecmp.cmpfiles(folder / "local", folder / "ray", names, shallow=False)
        if differing or missing:
            raise SystemExit(f"the engines differ in {differing or missing}")
    show(seconds, cpu_seconds, options)


def cpu_seconds_so_far() -> float:
    """Of this process and all that it began, Ray's own among them: other work on the machine counts for nothing."""
    ticks = 0
    children: dict[int, list[int]] = {}
    used: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(folder.name))
                used[int(folder.name)] = int(fields[11]) + int(fields[12])
    left = [os.getpid()]
    while left:
        number = left.pop()
        ticks += used.get(number, 0)
        left += children.get(number, [])
    return ticks / os.sysconf("SC_CLK_TCK")


def show(
    seconds: dict[str, list[float]], cpu_seconds: dict[str, list[float]], options: argparse.Namespace
) -> None:
    total = options.files * options.rows
    print(
        f"{options.files} files of {options.rows:,} rows, {options.workers} workers, {options.repeats} repeats"
    )
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ray {ray.__version__}, "
        f"numpy {np.__version__}, pyarrow {pyarrow.__version__}\n"
    )
    print("| engine | seconds (median) | rows/s | of the local rows/s (median, min-max) | CPU s (median) |")
    print("|---|---|---|---|---|")
    for engine, measured in seconds.items():
        ratios = [base / own for base, own in zip(seconds["local"], measured, strict=True)]
        span = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        median, cpu = statistics.median(measured), statistics.median(cpu_seconds[engine])
        print(f"| {engine} | {median:.2f} | {total / median:,.0f} | {span} | {cpu:.2f} |")


if __name__ == "__main__":
    main()
