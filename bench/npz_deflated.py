"""`gae compute` on compressed archives, against `numpy.load`, a loop and `numpy.savez_compressed`.

    python bench/npz_deflated.py --mib 200 800 --repeats 3 --today /path/to/another/build/bin/gae

Whole processes, in turn, each on its own fresh copy of one archive of noise ([T, 64], float32), its source in the
page cache; ratios are taken within a repeat. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from end_to_end import run
from large_files import ENVIRONMENTS, EPISODE_STEPS, KINDS

from gaecli.formats.npz import deflate

SCRIPT = Path(__file__).parent / "scripts" / "numpy_savez.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, nargs="+", default=[200, 800])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--today", type=Path, default=None, help="`gae` of another build, to compare with")
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, ", end="")
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {deflate.name()}\n")
    print(
        "| MiB | million steps | contender | wall s | CPU s | peak MiB | gae compute: wall / its | CPU / its |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for mib in options.mib:
        with tempfile.TemporaryDirectory(dir=options.directory) as name:
            compare(Path(name), mib, options)


def compare(folder: Path, mib: int, options: argparse.Namespace) -> None:
    row_bytes, write = KINDS["npz-deflated"]
    num_rows = (mib << 20) // row_bytes
    num_rows -= num_rows % (ENVIRONMENTS * EPISODE_STEPS)
    source, copy = folder / "source.npz", folder / "copy.npz"
    write(source, num_rows)
    compute = ["compute", "--quiet", "--layout", "time-major"]
    commands = {"gae compute": [str(Path(sys.executable).with_name("gae")), *compute]}
    if options.today is not None:
        commands["another build"] = [str(options.today), *compute]
    commands["numpy.savez_compressed"] = [sys.executable, str(SCRIPT)]
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
    for _ in range(options.repeats):
        for name, command in commands.items():
            shutil.copyfile(source, copy)
            found[name].append(run(command, copy))
    size = source.stat().st_size >> 20
    for name, measured in found.items():
        walls, cpus, peaks = zip(*measured, strict=True)
        ratios = [
            statistics.median(
                ours[at] / theirs[at] for ours, theirs in zip(found["gae compute"], measured, strict=True)
            )
            for at in (0, 1)
        ]
        print(
            f"| {size} | {num_rows / 1e6:.0f} | {name} | {statistics.median(walls):.1f} | "
            f"{statistics.median(cpus):.1f} | {max(peaks):.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
