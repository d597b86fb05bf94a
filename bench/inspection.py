"""`gae inspect` and `gae check` of a large file, as whole processes.

    python bench/inspection.py [--rows 10000000] [--repeats 5]

What a process takes is less than what it takes with a file of a thousand rows: that is start-up. The
median of interleaved repeats is printed as a Markdown table, with the peak memory of the process.
(Not `inspect.py`: a script of that name would hide the module that dataclasses import.)
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rollout_files import write_rollouts

COMMANDS = (("inspect",), ("inspect", "--json"), ("check", "--quiet"))
FEW_ROWS = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    gae = shutil.which("gae", path=str(Path(sys.executable).parent)) or "gae"
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name, rows, wide in (
            ("few", FEW_ROWS, False),
            ("lean", arguments.rows, False),
            ("wide", arguments.rows, True),
        ):
            files[name] = Path(folder) / f"{name}.parquet"
            write_rollouts(files[name], rows, wide=wide)
        runs: dict[tuple[str, tuple[str, ...]], list[tuple[float, float]]] = {}
        for _ in range(arguments.repeats):
            for command in COMMANDS:
                for name, path in files.items():
                    runs.setdefault((name, command), []).append(run([gae, *command, str(path)]))
    print(f"{arguments.rows:,} rows, median of {arguments.repeats}\n")
    print("| command | start-up s | lean s | wide s | lean, less start-up | wide, less start-up | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    for command in COMMANDS:
        seconds = {name: statistics.median(s for s, _ in runs[name, command]) for name in files}
        peak = max(memory for name in files for _, memory in runs[name, command])
        start, lean, wide = seconds["few"], seconds["lean"], seconds["wide"]
        cells = [f"{number:.2f}" for number in (start, lean, wide, lean - start, wide - start)]
        print(f"| `gae {' '.join(command)}` | {' | '.join(cells)} | {peak:.0f} |")


def run(command: list[str]) -> tuple[float, float]:
    """(wall seconds, peak resident MiB) of one process."""
    started = time.perf_counter()
    # Not subprocess: only wait4 tells the memory of this very child.
    child = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
