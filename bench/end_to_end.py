"""`gae compute` against the scripts people write: whole processes, in turn, with peak memory.

    python bench/end_to_end.py --rows 10000000 --repeats 5

Each repeat runs every contender once on its own fresh copy of one file; ratios are taken within a
repeat, so that a machine that changes speed changes both sides. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import machine
from rollout_files import write_rollouts

SCRIPTS = Path(__file__).parent / "scripts"


def contenders(device: str) -> dict[str, list[str]]:
    gae = [str(Path(sys.executable).with_name("gae")), "compute", "--quiet", "--device"]
    return {
        "gae compute": [*gae, "auto"],
        f"gae compute --device {device}": [*gae, device],
        "polars + numba": [sys.executable, str(SCRIPTS / "polars_numba.py")],
        "pyarrow + numba": [sys.executable, str(SCRIPTS / "pyarrow_numba.py")],
    }


#: In a process of its own, that is small: what Linux tells of the peak of a child includes that of its parent.
_WATCH = """
import os, sys, time
start = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - start
print(status, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""


def run(command: list[str], file: Path) -> tuple[float, float, float]:
    """(wall seconds, CPU seconds, peak MiB) of one process."""
    watching = [sys.executable, "-S", "-c", _WATCH, *command, str(file)]
    told = subprocess.run(watching, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    status, seconds, cpu_seconds, peak = map(float, told.split())
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed with status {status:.0f}")
    return seconds, cpu_seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--lean", action="store_true", help="only the columns that GAE needs")
    parser.add_argument("--one-episode", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        compare(Path(name), options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    source, copy = folder / "source.parquet", folder / "copy.parquet"
    steps = None if options.one_episode else 200
    write_rollouts(source, options.rows, wide=not options.lean, episode_steps=steps)
    commands = contenders(options.device)
    results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
    for repeat in range(options.repeats + 1):
        for name, command in commands.items():
            shutil.copyfile(source, copy)
            os.sync()
            measured = run(command, copy)
            if repeat:  # the first warms the page cache and the scripts' import caches
                results[name].append(measured)
    show(results, options, source.stat().st_size)


def show(
    results: dict[str, list[tuple[float, float, float]]], options: argparse.Namespace, size: int
) -> None:
    print(f"{options.rows:,} rows, {size / options.rows:.0f} bytes each, {options.repeats} repeats")
    print(f"{machine()}\n")
    print("| contender | wall s (median) | CPU s | peak MiB | wall / polars + numba (median, min-max) |")
    print("|---|---|---|---|---|")
    base = [seconds for seconds, _, _ in results["polars + numba"]]
    for name, measured in results.items():
        ratios = [seconds / other for (seconds, _, _), other in zip(measured, base, strict=True)]
        walls, cpus, peaks = zip(*measured, strict=True)
        print(
            f"| {name} | {statistics.median(walls):.2f} | {statistics.median(cpus):.2f} | {max(peaks):.0f} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |"
        )


if __name__ == "__main__":
    main()
