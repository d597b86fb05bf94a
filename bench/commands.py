"""`gae inspect`, `check`, `explain` and `sweep` of a large file beside `gae compute`, as whole processes.

    python bench/commands.py --rows 10000000 --repeats 3
    python bench/commands.py --rows 10000000 --before /path/to/other/bin/gae

All commands in turn, and with `--before` those of another build between them, so that what else runs on the machine
meets all of them. Medians, as a Markdown table: wall and CPU seconds, peak memory of the process, and ratios of the
same repeat: to the command that a budget compares with, and to the other build.
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

from rollout_files import write_rollouts

#: Name -> (words, the command that it is compared with).
COMMANDS = {
    "compute": (("compute", "--quiet", "--force"), None),
    "inspect": (("inspect",), "compute"),
    "check": (("check", "--quiet"), "inspect"),
    "explain": (("explain", "--top", "5", "--row"), "compute"),
    "sweep": (("sweep", "--gamma", "0.99", "--lam", "0:1:0.05"), "compute"),
}


class Cost(NamedTuple):
    wall: float
    cpu: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--before", type=Path, default=None, help="the `gae` of another build")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    own = shutil.which("gae", path=str(Path(sys.executable).parent)) or "gae"
    builds = {"now": own} | ({} if options.before is None else {"before": str(options.before)})
    runs: dict[tuple[str, str], list[Cost]] = {}
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        path = Path(folder) / "rollouts.parquet"
        write_rollouts(path, options.rows)
        for _ in range(options.repeats):
            for name in options.commands:
                words = [*COMMANDS[name][0], *([str(options.rows // 2)] if name == "explain" else [])]
                for build, gae in builds.items():
                    runs.setdefault((build, name), []).append(run([gae, *words, str(path)]))
    show(runs, builds, options)


def run(command: list[str]) -> Cost:
    started = time.perf_counter()
    # Not subprocess: only wait4 tells the memory of this very child.
    silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    child = os.posix_spawn(command[0], command, os.environ, file_actions=silent)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def show(
    runs: dict[tuple[str, str], list[Cost]], builds: dict[str, str], options: argparse.Namespace
) -> None:
    versions = {name: output_of([gae, "--version"]) for name, gae in builds.items()}
    code = "import numpy, pyarrow; print('numpy', numpy.__version__, 'pyarrow', pyarrow.__version__)"
    packages = output_of([sys.executable, "-c", code])
    print(f"{options.rows:,} rows, {options.repeats} repeats; {versions}; {packages}")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, load {os.getloadavg()[0]:.1f}\n")
    print("| command | wall s | CPU s | peak MiB | wall, CPU / other | wall, CPU / build before |")
    print("|---|---|---|---|---|---|")
    for name in options.commands:
        costs, other = runs["now", name], COMMANDS[name][1]
        beside = runs.get(("now", other or ""))
        cells = [f"{statistics.median(column):.2f}" for column in (list(zip(*costs, strict=True))[:2])]
        cells.append(f"{max(cost.peak_mib for cost in costs):.0f}")
        cells.append("" if beside is None else f"{ratios(costs, beside)} of {other}")
        cells.append(ratios(costs, runs["before", name]) if ("before", name) in runs else "")
        print(f"| {name} | {' | '.join(cells)} |")


def output_of(command: list[str]) -> str:
    return subprocess.check_output(command, text=True).strip()


def ratios(costs: list[Cost], others: list[Cost]) -> str:
    pairs = list(zip(costs, others, strict=True))
    found = [statistics.median(one[index] / other[index] for one, other in pairs) for index in (0, 1)]
    return ", ".join(f"{ratio:.2f}" for ratio in found)


if __name__ == "__main__":
    main()
