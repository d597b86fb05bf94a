"""Thousands of small files in one command: time per file after start-up, peak memory, and the second run.

    python bench/many_files.py --files 1000 10000

Start-up is a run over one of the files; the list goes through stdin (`--files-from -`). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GAE = str(Path(sys.executable).with_name("gae"))
STEPS = 200


def write(folder: Path, count: int) -> list[Path]:
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        path = folder / f"{number % 100:02d}" / f"rollout-{number}.parquet"
        path.parent.mkdir(exist_ok=True)
        table = {
            "observation": list(random.normal(size=(STEPS, 4)).astype(np.float32)),
            "reward": random.normal(size=STEPS).astype(np.float32),
            "value": random.normal(size=STEPS).astype(np.float32),
            "done": np.arange(STEPS) % 50 == 49,
        }
        pq.write_table(pa.table(table), path)
        paths.append(path)
    return paths


def measured(paths: list[Path], *options: str) -> tuple[float, float]:
    """(wall seconds, peak MiB)."""
    names = "\0".join(map(str, paths)).encode()
    start = time.perf_counter()
    with subprocess.Popen(
        [GAE, "compute", "--quiet", "--files-from", "-", *options], stdin=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(names)
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"gae compute ended with {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| files of 200 steps | run | s | ms a file after start-up | peak MiB |\n|---|---|---|---|---|")
    for count in options.files:
        with tempfile.TemporaryDirectory(dir=options.directory) as name:
            paths = write(Path(name), count)
            once = min(measured(paths[:1], "--overwrite")[0] for _ in range(3))
            for title, more in (
                ("first", []),
                ("again, up to date", []),
                ("--normalize all", ["--normalize", "all"]),
            ):
                seconds, peak = measured(paths, *more)
                each = (seconds - once) / count * 1000
                print(f"| {count:,} | {title} | {seconds:.1f} | {each:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
