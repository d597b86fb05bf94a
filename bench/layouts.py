"""What layouts cost: the same steps contiguous, interleaved over 64 environments, and nested.

    python bench/layouts.py --rows 10000000 --repeats 3

Times reading, arranging and computing without writing (`dry_run`), in one process, in turn. Memory that is given
back is kept for what follows, as in the process of the command; with `--as-library` it is as glibc has it, which
clears each page anew. CPU time is what tells on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import gaecli
from gaecli.heap import keep_freed_memory

ENVIRONMENTS = 64
STEPS_PER_EPISODE = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--as-library", action="store_true")
    options = parser.parse_args()
    if not options.as_library:
        keep_freed_memory()
        pa.set_memory_pool(pa.system_memory_pool())
    with tempfile.TemporaryDirectory() as name:
        files = write(Path(name), options.rows)
        wall: dict[str, list[float]] = {layout: [] for layout in files}
        cpu: dict[str, list[float]] = {layout: [] for layout in files}
        for repeat in range(options.repeats + 1):
            for layout, path in files.items():
                began = time.process_time()
                summary = gaecli.compute(path, dry_run=True, jobs=1)
                if repeat:
                    wall[layout].append(summary.seconds.total)
                    cpu[layout].append(time.process_time() - began)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}\n"
    )
    print(
        "| layout | wall s | of long | CPU s | of long | CPU s, least | of long |\n|---|---|---|---|---|---|---|"
    )
    for layout in files:
        cells = []
        for measured, of in ((wall, statistics.median), (cpu, statistics.median), (cpu, min)):
            ratio = of(measured[layout]) / of(measured["long"])
            cells.append(f"{of(measured[layout]):.2f} | {ratio:.2f}")
        print(f"| {layout} | {' | '.join(cells)} |")


def write(folder: Path, num_rows: int) -> dict[str, Path]:
    num_rows -= num_rows % (ENVIRONMENTS * STEPS_PER_EPISODE)
    generator = np.random.default_rng(0)
    rewards = generator.standard_normal(num_rows, dtype=np.float32)
    values = generator.standard_normal(num_rows, dtype=np.float32)
    rows = np.arange(num_rows)
    envs = (rows % ENVIRONMENTS).astype(np.int32)
    times = rows // ENVIRONMENTS
    shuffled = envs.reshape(-1, ENVIRONMENTS).copy()
    generator.permuted(shuffled, axis=1, out=shuffled)
    tables = {
        "long": {"done": (rows + 1) % STEPS_PER_EPISODE == 0},
        "interleaved": {"env_id": envs, "done": (times + 1) % STEPS_PER_EPISODE == 0},
        "interleaved, in no fixed order": {
            "env_id": shuffled.reshape(-1),
            "done": (times + 1) % STEPS_PER_EPISODE == 0,
        },
    }
    files = {}
    for layout, columns in tables.items():
        files[layout] = folder / f"{layout}.parquet"
        table = pa.table({"reward": rewards, "value": values, **columns})
        pq.write_table(table, files[layout], row_group_size=1_000_000)
    offsets = pa.array(np.arange(0, num_rows + 1, STEPS_PER_EPISODE, dtype=np.int32))
    lists = {
        name: pa.ListArray.from_arrays(offsets, pa.array(items))
        for name, items in (("reward", rewards), ("value", values))
    }
    terminated = pa.array(np.ones(num_rows // STEPS_PER_EPISODE, np.bool_))
    files["nested"] = folder / "nested.parquet"
    pq.write_table(pa.table({**lists, "terminated": terminated}), files["nested"], row_group_size=10_000)
    return files


if __name__ == "__main__":
    main()
