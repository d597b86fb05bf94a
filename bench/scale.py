"""Plan and combine of 100,000 and 1,000,000 blocks: what the one process does alone while a cluster waits for it.

    python bench/scale.py --blocks 100000 1000000

Each block is a file of 10^5 rows here, as 10^10 and 10^11 rows have them. Its summary is that of a small file, made
once by the installed package and renumbered; each goes on in the next, so that every border carries something over.
Prints a Markdown table: seconds and peak of making the descriptors, of combining, of taking the carries to them.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_OF_A_BLOCK = 100_000


def write(path: Path) -> None:
    """One trajectory that nothing ends."""
    random = np.random.default_rng(0)
    steps = 50
    numbers = {name: random.normal(size=steps).astype(np.float32) for name in ("reward", "value")}
    ids = np.zeros(steps, np.int64)
    pq.write_table(pa.table({**numbers, "done": np.zeros(steps, bool), "episode_id": ids}), path)


def measure(num_blocks: int) -> str:
    from gaecli.estimators.registry import make_estimator
    from gaecli.kernels.devices import choose_device
    from gaecli.pipeline.blocks import BlockAddress, BlockStore
    from gaecli.pipeline.combine import combine
    from gaecli.pipeline.opening import open_stream
    from gaecli.pipeline.tasks import MeasureUnit, SummariseUnit
    from gaecli.pipeline.worker import Worker
    from gaecli.settings import Settings
    from gaecli.sources.inputs import plan_streams

    settings = Settings(normalize="all")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rollout.parquet"
        write(path)
        opened = open_stream(plan_streams([path], None)[0], settings, 1 << 30)
        worker = Worker(make_estimator(settings, choose_device("auto", 0)), BlockStore(0))
        source = opened.source(0)
        (summary,) = SummariseUnit(source, 0)(worker)
    start = time.perf_counter()
    sources = [replace(source, index=index) for index in range(num_blocks)]
    planned = time.perf_counter()
    summaries = [
        replace(summary, address=BlockAddress(index, 0, 0), lanes=replace(summary.lanes))
        for index in range(num_blocks)
    ]
    made = time.perf_counter()
    before = time.process_time()
    combined = combine(summaries, "zero", [str(path)] * num_blocks)
    done, busy = time.perf_counter(), time.process_time() - before
    for summary, source, carry in zip(summaries, sources, combined.carries, strict=True):
        MeasureUnit(source, 0, {summary.address: carry}, ())
    told = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert num_blocks < 2 or combined.carries[0].head_chains[0] == -1
    assert all(carry.tail_chains[0] == 0 for carry in combined.carries[:-1]), "each goes on in the next"
    seconds = [planned - start, done - made, busy, told - done]
    return " | ".join(
        [
            f"{num_blocks:,}",
            f"{num_blocks * ROWS_OF_A_BLOCK:.0e}",
            *(f"{one:.2f}" for one in seconds),
            f"{peak:,.0f}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(f"| {measure(options.one)} |")
        return
    packages = ", ".join(f"{name} {version(name)}" for name in ("gaecli", "numpy", "pyarrow"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}\n")
    print(
        "| blocks | rows | descriptors s | combine s | of it CPU s | tasks with carries s | peak MiB |\n"
        "|---|---|---|---|---|---|---|",
        flush=True,
    )
    for count in options.blocks:  # each in a process of its own, whose peak it is
        subprocess.run([sys.executable, __file__, "--one", str(count)], check=True)


if __name__ == "__main__":
    main()
