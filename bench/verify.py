"""`gae verify` beside `gae compute` of the same file, as whole processes.

    python bench/verify.py [--rows 1000000 10000000] [--repeats 3] [--kinds raw normalised noise]

The column is one that `gae compute` writes: as it is, normalised, with one number in it that is wrong, or noise,
which no rule makes. Medians of interleaved repeats are printed as a Markdown table, with the peak memory of the
process; then the machine and the versions.
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
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rollout_files import write_rollouts

KINDS = ("raw", "normalised", "one wrong", "noise")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    arguments = parser.parse_args()
    gae = shutil.which("gae", path=str(Path(sys.executable).parent)) or "gae"
    print(
        "| rows | column | compute s | verify s | ratio | CPU s, compute | verify | peak MiB, compute | verify |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            bare = Path(folder) / "bare.parquet"
            write_rollouts(bare, rows, wide=False)
            for kind in arguments.kinds:
                report(gae, bare, kind, rows, arguments.repeats)
    print(
        f"\n{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"numpy {version('numpy')}, pyarrow {version('pyarrow')}, gaecli {version('gaecli')}"
    )


def report(gae: str, bare: Path, kind: str, rows: int, repeats: int) -> None:
    path = bare.with_name("with_column.parquet")
    written(gae, bare, path, kind)
    other = bare.with_name("computed.parquet")
    compute, verify = (
        [gae, "compute", str(bare), "-o", str(other), "--overwrite", "--force", "-q"],
        [gae, "verify", str(path), "-q"],
    )
    runs: dict[str, list[tuple[float, float, float]]] = {"compute": [], "verify": []}
    for _ in range(repeats):
        runs["compute"].append(run(compute))
        runs["verify"].append(run(verify))
    path.unlink()
    other.unlink()
    (wall, cpu, peak), (own_wall, own_cpu, own_peak) = (
        tuple(statistics.median(one[index] for one in runs[name]) for index in range(3)) for name in runs
    )
    print(
        f"| {rows:,} | {kind} | {wall:.2f} | {own_wall:.2f} | {own_wall / wall:.1f} | {cpu:.2f} | {own_cpu:.2f} "
        f"| {peak:.0f} | {own_peak:.0f} |",
        flush=True,
    )


def written(gae: str, bare: Path, path: Path, kind: str) -> None:
    """The file with a column of advantages, row group by row group."""
    more = ["--normalize", "all"] if kind == "normalised" else []
    subprocess.run([gae, "compute", str(bare), "-o", str(path), "--overwrite", "-q", *more], check=True)
    if kind in ("raw", "normalised"):
        return
    source, random = pq.ParquetFile(path), np.random.default_rng(0)
    changed = path.with_name("changed.parquet")
    with pq.ParquetWriter(changed, source.schema_arrow) as writer:
        for group in range(source.num_row_groups):
            table = source.read_row_group(group)
            column = table.column("advantage").to_numpy().copy()
            if kind == "noise":
                column = random.normal(size=len(column)).astype(np.float32)
            elif group == source.num_row_groups // 2:
                column[len(column) // 2] += 1.0
            place = table.schema.get_field_index("advantage")
            writer.write_table(table.set_column(place, "advantage", pa.array(column)))
    changed.replace(path)


def run(command: list[str]) -> tuple[float, float, float]:
    """(wall seconds, CPU seconds, peak resident MiB) of one process."""
    started = time.perf_counter()
    child = os.posix_spawn(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    )
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
